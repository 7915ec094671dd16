"""Check facts that the program names itself: ``{{the best}}`` becomes "the best val_loss (0.312)".

What is said of such a fact cannot call it what it is not; it can only stand in a wrong place: as the value of another
run, or as what another figure "is". Pure; leaves out words, names and claims (see ``wording``, ``naming``,
``verifier``). Invariant: in a sentence without problems two such figures stand side by side or are compared, and
what is told together with a run, between two conjunctions, is of that run.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Sequence
from itertools import pairwise

from advisor.documents.clauses import is_slot, name_type, run_of
from advisor.documents.content import PLACEHOLDER
from advisor.documents.fact import Fact, FactSheet
from advisor.documents.lexicon import COPULAS, COUNTED, NEUTRAL

SPEAKABLE = frozenset({"count", "value", "delta", "share", "rank", "duration", "importance", "setting", "name"})
"""Kinds of facts that may be named so; what is missing has a sentence of its own."""
_CONJUNCTION = re.compile(r"\b(?:and|but|while|whereas)\b|\{\{claim\}\}")
_PUNCTUATION = re.compile(r"[,;:()\u2013\u2014]| - ")
_TOKEN = re.compile(r"\{[A-Za-z_][A-Za-z0-9_]*\}|[a-z]+")
_EXPLAINED = re.compile(r"\{\{(?P<one>\w+)\}\} ?(?:[:(\u2013\u2014]| - ) ?\{\{(?P<other>\w+)\}\}")
"""One figure that explains another: "{{a}} ({{b}})"."""
_APPOSED = re.compile(
    r", \{\{(?P<id>\w+)\}\},(?! (?:and|but|while|whereas|with|among)\b| \{\{| (?:is|was|are|were) \{\{claim\}\})"
)

_BESIDE = frozenset({"with", "alongside", "beside"})
"""Words by which one figure stands beside another without being it."""
_AMONG = frozenset("among over after across during of".split())
"""Such words before a number of things or a length of time."""
_MADE = frozenset("recorded reported found seen obtained".split())
_OPENING = _BESIDE | _AMONG | {"at", "for", "in", "out", "the"}
_GOING_ON = COPULAS | _MADE | frozenset("there came have has had holds reached it the this run runs experiment".split())
"""What may stand after "Across {{the n_runs}}" and before the next figure, besides the name of a run."""
_AT = COPULAS | _MADE | {"reached", "came", "set"}
_ACTS = frozenset("took takes take lasted alongside beside".split())
"""Verbs and the like that may stand before a figure, besides neutral words."""
_INVERTED = _MADE | {"also", "there"}
"""How a sentence begins whose subject follows: "Recorded are …"."""

_OF_ONE = frozenset({"it", "its", "they", "their"})
_ONES = frozenset({"run", "configuration"})
_MANY = frozenset({"runs", "configurations", "they"})
_AMONG_MANY = _AMONG - {"after"} | frozenset("in include includes contain contains cover covers there".split())
_POINTS_BACK = frozenset("from by in of which that belongs belong came as it its this them".split())


def spoken_problems(text: str, spoken: Container[str], claims: Container[str], sheet: FactSheet) -> Iterator[str]:
    """Yield facts named by the program that stand where something else than what they are is said of them.

    Parameters
    ----------
    text
        The sentence, with ``{{id}}`` for each placeholder.
    spoken
        Ids of the facts that the program names.
    """
    marked = PLACEHOLDER.sub(lambda match: "{{claim}}" if match[1] in claims else f"{{{{{match[1]}}}}}", text)
    yield from (f"apposition:{match['id']}" for match in _APPOSED.finditer(marked) if match["id"] in spoken)
    for match in _EXPLAINED.finditer(marked):
        one, other = sheet.get(match["one"]), sheet.get(match["other"])
        if one and other and other.id in spoken and not other.label.startswith(f"{one.label}, "):
            yield f"beside:{other.id}"
    lowered = re.sub(r"\{\{\w+\}\}|[^{}]+", lambda match: match[0] if match[0][0] == "{" else match[0].lower(), marked)
    statements = _CONJUNCTION.split(lowered)
    last: Fact | None = None
    for statement in statements:
        for part in map(_TOKEN.findall, _PUNCTUATION.split(statement)):
            yield from _misplaced(part, spoken, sheet)
        tokens = _TOKEN.findall(statement)
        facts = [fact for _, fact in _facts(tokens, sheet)]
        figures = [fact for fact in facts if fact.kind != "name"]
        named = [fact for fact in figures if fact.id in spoken and not _counts_what_is_chosen_from(fact, tokens)]
        runs = [fact for fact in facts if name_type(fact) == "run"]
        yield from _misattributed(named, runs, tokens, sheet)
        yield from _of_another_name(named, facts)
        if runs and not figures and last is not None and not _POINTS_BACK.isdisjoint(tokens):
            said = last.id in spoken or tokens[0] in _POINTS_BACK
            if said and not any(_is_of(last, run, sheet) for run in runs):
                yield f"whose:{last.id}"
        last = figures[-1] if figures else last


def _facts(tokens: Sequence[str], sheet: FactSheet) -> list[tuple[int, Fact]]:
    return [(at, sheet[token[1:-1]]) for at, token in enumerate(tokens) if is_slot(token) and token[1:-1] in sheet]


def _counts_what_is_chosen_from(fact: Fact, tokens: Sequence[str]) -> bool:
    """Return whether it is a number of things that something is one of: "among {{the n_runs}}"."""
    at = list(tokens).index(f"{{{fact.id}}}")
    return fact.kind == "count" and not (_AMONG - {"of"}).isdisjoint(tokens[max(at - 2, 0) : at])


def _misplaced(part: Sequence[str], spoken: Container[str], sheet: FactSheet) -> Iterator[str]:
    """Yield figures of one part of a sentence that are said to be something, or by which several are said to be."""
    figures = [(at, fact) for at, fact in _facts(part, sheet) if fact.kind != "name"]
    for (at, one), (to, other) in pairwise(figures):
        if (one.id in spoken or other.id in spoken) and not _stand_apart(one, at, other, to, part, sheet):
            yield f"beside:{other.id}"
    figure_slots = {f"{{{fact.id}}}" for _, fact in figures}
    runs = {fact.source for _, fact in _facts(part, sheet) if name_type(fact) == "run"}
    own = run_of(sheet)
    if own is not None and (("this", "run") in pairwise(part) or not _OF_ONE.isdisjoint(part)):
        runs.add(own.source)
    for at, fact in figures:
        if fact.id not in spoken:
            if runs and fact.kind == "value" and fact.source.startswith("run ") and fact.source not in runs:
                yield f"whose:{fact.id}"
            if fact.kind == "value" and part[at - 1 : at] == ["of"] and {*part[max(at - 2, 0) : at - 1]} & figure_slots:
                yield f"unit:{fact.id}"
            continue
        before = [word for word in part[:at] if word != "the"]
        settings = fact.kind == "setting" and not {"values", "settings"}.isdisjoint(before)
        follows = settings or "there" in before or before[:1] == [] or before[0] in _INVERTED | _AMONG
        if before[-1:] and before[-1] in COPULAS and not follows:
            yield f"kind:{fact.id}"
        yield from _no_place_for_a_noun(fact, at, part, figure_slots)
        if part[at - 1 : at] == ["run"] and part[at - 2 : at - 1] != ["this"]:  # as if it were a run's name
            yield f"kind:{fact.id}"
        many = not _MANY.isdisjoint(before) and _AMONG_MANY.isdisjoint(before)
        many &= not ("runs" in fact.label and {*before[-1:]} <= {"have", "had"})  # it is theirs together
        if many and fact.kind in ("value", "setting", "rank"):
            yield f"kind:{fact.id}"


def _no_place_for_a_noun(fact: Fact, at: int, part: Sequence[str], figures: Container[str]) -> Iterator[str]:
    """Yield a figure with its name where a bare number would stand: "{{the best}} runs", "a rank of {{the rank}}"."""
    after = [word for word in part[at + 1 : at + 3] if word not in _MADE | {"finished"}]
    if after and after[0] in COUNTED and part[at + 1] not in COPULAS:
        yield f"unit:{fact.id}"
    previous = part[at - 1] if at else "the"
    noun = part[at - 2] if at > 1 and previous == "of" else ""
    if noun and noun != "out" and noun not in figures:
        yield f"kind:{fact.id}"
    if previous == "between" or not (is_slot(previous) or previous in NEUTRAL or previous in _ACTS):
        yield f"kind:{fact.id}"


def _stand_apart(one: Fact, at: int, other: Fact, to: int, part: Sequence[str], sheet: FactSheet) -> bool:
    """Return whether a figure is said beside another, and not to be it or to be over it."""
    between = [word for word in part[at + 1 : to] if word != "the"]
    verbs, link = between[:-1], between[-1:]
    if link and link[0] in _BESIDE:
        return True
    if link == ["at"]:
        return _is_at(one, other, sheet) and {*verbs} <= _AT
    if link and link[0] in _AMONG and other.kind in ("count", "duration"):
        if one.kind in ("count", "duration"):
            return not verbs and _is_part(one, link[0], other)
        made = verbs[-1:] and verbs[-1] in _MADE and {*verbs} <= _MADE | COPULAS | {"has", "have"}
        return link != ["of"] and (not verbs or bool(made) or (verbs == ["stands"] and link != ["over"]))
    opens = (
        part[0] in _OPENING and {*part[:at]} <= _OPENING and (one.kind in ("count", "duration") or part[0] == "with")
    )
    return opens and bool(between) and {word for word in between if not is_slot(word)} <= _GOING_ON


def _is_part(one: Fact, link: str, other: Fact) -> bool:
    """Return whether things that are counted may be among those that another number counts, or spread across them."""
    if link in ("among", "of"):
        return one.unit == other.unit and (one.number or 0.0) <= (other.number or 0.0)
    return link in ("across", "over") and one.unit != other.unit


def _is_at(one: Fact, other: Fact, sheet: FactSheet) -> bool:
    """Return whether a value of a curve was reached at a step: the last at the last, the best at that of the best."""
    if one.kind != "value" or other.unit != "steps" or " of run " not in one.source:
        return False
    if other.label.startswith("last step"):
        return one.label.startswith("last ")
    direction = next((fact.direction for fact in sheet if fact.about == one.about and fact.direction), None)
    best = {"minimize": "lowest", "maximize": "highest"}.get(direction or "", "best")
    return other.label.startswith(f"step of the best {one.about}") and one.label == f"{best} {one.about}"


def _misattributed(named: Sequence[Fact], runs: list[Fact], tokens: Sequence[str], sheet: FactSheet) -> Iterator[str]:
    """Yield figures that are told together with a run that they are not of."""
    own = run_of(sheet)
    unnamed = any(word in _ONES and not is_slot(after) for word, after in pairwise([*tokens, ""]))
    for fact in named:
        about = list(runs)
        suggested = fact.kind == "setting" and fact.source.startswith("suggestion")  # "for the next run"
        if (unnamed and not suggested) or not _OF_ONE.isdisjoint(tokens):
            if own is None:
                yield f"whose:{fact.id}"
            else:
                about.append(own)
        if any(not _is_of(fact, run, sheet) for run in about):
            yield f"whose:{fact.id}"


def _of_another_name(named: Sequence[Fact], facts: Sequence[Fact]) -> Iterator[str]:
    """Yield names of parameters and metrics that a figure told together with them is not of."""
    for name in facts:
        if name_type(name) in ("parameter", "metric") and any(
            name.text != fact.about and name.text not in fact.label for fact in named
        ):
            yield f"name:{name.id}"


def _is_of(fact: Fact, run: Fact, sheet: FactSheet) -> bool:
    """Return whether a figure is one run's own: its value, or how that differs from another's."""
    if run.source in (fact.source, f"run {fact.source.rpartition(' of run ')[2]}"):
        return True
    first = sheet.get(fact.source.partition(", ")[0])
    if first is not None and first.source == run.source:
        return True
    # what the sheet has of one run without naming it is of the run that the sheet is of
    return run.label == "run" and (fact.kind == "rank" or fact.source.startswith("findings"))

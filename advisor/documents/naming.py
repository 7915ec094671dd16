"""Check that the names of runs, parameters and metrics in a sentence stand for what they name, never for a value.

Pure; leaves out figures (see ``wording``). Invariant: a name that fits is introduced as a run, a parameter, a
metric or a state, or is the subject of its clause.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from advisor.documents.clauses import WORD, Clause, head_of, is_slot, label_words, name_type, run_of, until_slot
from advisor.documents.fact import Fact, FactSheet
from advisor.documents.lexicon import COPULAS, COUNTED, MARKS, STATES, canonical

_ARTICLES = frozenset({"the", "a", "an", "its"})
_PRONOUNS = frozenset({"it", "its", "they", "their", "this"})
_OPENINGS = frozenset({"the", "a", "an", "of", "after", "over", "among", "across", "there"})
"""How a clause begins that does not speak of the run named before it."""
_ADJECTIVES = MARKS | {"lower", "upper", "forecast", "forecasts", "mean", "other", "first", "up", "next", "suggested"}
_HEADS = {
    "run": frozenset({"run", "it", "best", "baseline", "up", "configuration"}),
    "state": frozenset({"run", "it", "state"}),
    "metric": frozenset({"metric", "objective", "target"}),
    "parameter": frozenset({"parameter", "hyperparameter"}),
}
_INTRODUCED_BY = {
    "run": frozenset({"run", "by", "from", "configuration", "baseline", "up"}),
    "state": frozenset({"state", "as"}),
    "metric": frozenset({"of", "in", "on", "by", "for", "metric", "objective"}),
    "parameter": frozenset({"parameter", "of", "for", "on", "sets", "set", "the", "suggested"}),
}


def name_fits(name: Fact, place: int, clause: Clause, sheet: FactSheet) -> bool:
    """Return whether a name stands where its run, parameter or metric is meant, and not for a value."""
    kind, tokens = name_type(name), clause.tokens
    after, heads = tokens[place + 1 : place + 2], _HEADS[kind]
    if after and (after[0] in COUNTED or (after[0] == "of" and kind == "run")):
        return False
    if place == 0:
        return bool(after) or not clause.before or clause.before[-1] in heads
    previous = tokens[place - 1]
    if previous == "between":
        return False
    spelled = {canonical(word) for word in WORD.findall(name.text.lower())}
    whose = tokens[place - 2] if place > 1 and previous == "of" else ""
    if previous == "of" and (not after or is_slot(whose) or canonical(whose) in spelled):
        return False
    if kind == "parameter" and any(_sets(name, token, sheet) for token in tokens[place + 1 : place + 4]):
        return True
    if kind == "metric" and _has_value(tokens[place + 1 :], sheet, marked=previous in MARKS):
        return True
    at = place - 1
    while at >= 0 and (tokens[at] in _ARTICLES or tokens[at] in _ADJECTIVES or tokens[at] in heads - {"it"}):
        at -= 1
    if at >= 0 and tokens[at] in COPULAS:
        subject = ["run" if is_slot(word) and name_type(sheet[word[1:-1]]) == "run" else word for word in tokens[:at]]
        return head_of(subject) in heads and (kind != "run" or _is_told_apart(name, subject, sheet))
    if kind == "metric":
        return at < place - 1 or previous in _INTRODUCED_BY[kind] or bool(after and is_slot(after[0]))
    return previous in _INTRODUCED_BY[kind]


def _has_value(after: Sequence[str], sheet: FactSheet, *, marked: bool) -> bool:
    """Return whether a figure follows a metric's name, as in "the median {metric} of {median}".

    Where a mark stands before the name, words may stand between: "the best {metric} of the other runs at {best_other}".
    """
    words = until_slot(after)
    value = len(words) < len(after) and sheet[after[len(words)][1:-1]].kind == "value"
    return value and (marked or words in ([], ["of"], ["at"]))


def _is_told_apart(name: Fact, subject: Sequence[str], sheet: FactSheet) -> bool:
    """Return whether a subject says which run it is: a bare "the run" is the one that the sheet is of."""
    if name.label == "run" or run_of(sheet) is None:
        return True
    return not {*subject}.isdisjoint(label_words(name) - {"run", "finished", "the", "with"})


def _sets(name: Fact, token: str, sheet: FactSheet) -> bool:
    return is_slot(token) and sheet[token[1:-1]].kind == "setting" and sheet[token[1:-1]].about == name.text


def names_alone(clause: Clause, sheet: FactSheet) -> Iterator[str]:
    """Yield what is said of a parameter or a metric that only a run can do, and of an experiment as of a run."""
    names = [name_type(fact) for _, fact in clause.places(sheet)]
    first = clause.tokens[0]
    subject = name_type(sheet[first[1:-1]]) if is_slot(first) else ""
    if "run" in names and ("parameter" in names or (subject == "metric" and "" not in names)):
        yield "subject:name"
    if "state" in names and not {*clause.words}.isdisjoint(MARKS | {"other"}):
        yield "subject:state"
    if any(a == "experiment" and canonical(b) in STATES for a, b in pairwise(clause.tokens)):
        yield "subject:experiment"


def of_another(fact: Fact, place: int, clause: Clause, named: Sequence[Fact], sheet: FactSheet) -> Iterator[str]:
    """Yield a figure of the experiment that is said of one run of it."""
    run_sheet = run_of(sheet) is not None
    parts = {part.source for part_id in fact.source.split(", ") if (part := sheet.get(part_id)) is not None}
    if run_sheet or fact.source.startswith("run ") or parts:
        return
    if _PRONOUNS & {a for a, b in pairwise([*clause.words, ""]) if (a, b) != ("this", "experiment")}:
        yield f"whose:{fact.id}"
    if not named:
        return
    if any(name_type(name) == "run" for _, name in clause.places(sheet)):
        back = [token for token in clause.tokens[:place] if token != "the"][-1:]
        if fact.kind != "count" or not back or back[0] not in ("of", "among", "after"):
            yield f"whose:{fact.id}"
    elif not is_slot(clause.tokens[0]) and clause.tokens[0] not in _OPENINGS:
        among = fact.kind == "count" and clause.tokens[:place][-1:] == ("among",)
        yield from () if among else (f"whose:{fact.id}",)

"""Check that the words of a sentence belong to the facts beside them: every word is neutral or licensed by a label.

Pure; leaves out figures in words, judgements and claims (see ``verifier``). Invariant: in a sentence without
problems each figure is called what its label calls it, and a name stands where a name belongs.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from itertools import pairwise

from advisor.documents.clauses import (
    WORD,
    Clause,
    head_of,
    is_slot,
    joined,
    label_words,
    licensed_words,
    name_type,
    raw_clauses,
    until_slot,
)
from advisor.documents.fact import Fact, FactSheet
from advisor.documents.lexicon import COPULAS, COUNTED, MARKS, NEUTRAL, RELATED, STATES, canonical
from advisor.documents.naming import name_fits, names_alone, of_another

_BARE_HEADS = frozenset("run runs experiment experiments configuration configurations finding findings it they".split())
"""Subjects that are no quantity and so have no value."""
_CARRIED = frozenset("importance suggestion next forecast finding other duration".split())
"""Words that a sentence need not repeat for a second figure that is called by them."""
_COUNT_HEADS = frozenset({"there", "number", "improvement", "rank"})
_PLURAL_ACTS = frozenset("reached reaches reach achieved had have has ended obtained gave came with".split())


def wording_problems(
    text: str, claims: Container[str], sheet: FactSheet, *, spoken: Container[str] = ()
) -> Iterator[str]:
    """Yield words that no fact beside them licenses, and figures and names that are not called what they are.

    Parameters
    ----------
    spoken
        Ids of facts that the program names: they need no words.
    """
    raw = raw_clauses(text, claims)
    clauses = joined(raw, sheet)
    words = [word for clause in clauses for word in clause.words]
    used = [token for clause in raw for token in clause.tokens if is_slot(token)]
    yield from (f"repeated:{token[1:-1]}" for token in sorted(set(used)) if _too_often(token, used, sheet, spoken))
    named = [fact for clause in clauses for _, fact in clause.places(sheet) if name_type(fact) == "run"]
    before: list[Fact] = []
    for clause in clauses:
        yield from _unlicensed(clause, sheet, spoken)
        yield from names_alone(clause, sheet)
        for place, fact in clause.places(sheet):
            if fact.kind == "absence":
                yield f"absence:{fact.id}"
            elif fact.id in spoken:
                before.append(fact)
            elif fact.kind != "name":
                yield from _changed_subject(fact, place, clause, before[-1:])
                if not _goes_on(fact, before):
                    yield from _uncalled(fact, clause, words, _last_run(used, fact, sheet), sheet)
                before.append(fact)
                yield from _misplaced(fact, place, clause, words, sheet)
                yield from of_another(fact, place, clause, named, sheet)
    for clause in raw:
        for place, fact in clause.places(sheet):
            if fact.kind == "name" and fact.id not in spoken and not name_fits(fact, place, clause, sheet):
                yield f"name-as-value:{fact.id}"


def _too_often(token: str, used: Sequence[str], sheet: FactSheet, spoken: Container[str]) -> bool:
    """Return whether a figure is repeated; one that the program names may be compared with two others."""
    return sheet[token[1:-1]].kind != "name" and used.count(token) > (2 if token[1:-1] in spoken else 1)


def _last_run(used: Sequence[str], fact: Fact, sheet: FactSheet) -> str:
    """Return the source of the last run named before a figure, of the first one after it, empty where none is."""
    names = [sheet[token[1:-1]] for token in used]
    at = names.index(fact)
    runs = [name.source for name in names[:at] if name_type(name) == "run"][-1:]
    return (runs or [name.source for name in names[at:] if name_type(name) == "run"] or [""])[0]


def _goes_on(fact: Fact, before: Sequence[Fact]) -> bool:
    """Return whether a figure is the one before it in other terms, which has been called what it is."""
    return bool(before) and fact.label.startswith(f"{before[-1].label}, ") and fact.kind in ("delta", "share")


def _changed_subject(fact: Fact, place: int, clause: Clause, before: Sequence[Fact]) -> Iterator[str]:
    """Yield a figure that goes on from one of another subject without saying so: "findings, in {n_runs} runs"."""
    if not before:
        return
    if fact.unit == "runs" and before[0].unit == "findings" and clause.tokens[:place][-1:] == ("in",):
        if "finding" not in label_words(fact):
            yield f"counted-noun:{fact.id}"
    elif fact.kind == "value" and before[0].kind in ("duration", "importance", "share"):
        called = {*clause.words} | {token[1:-1] for token in clause.tokens if is_slot(token)}
        if not {*WORD.findall(fact.about.lower()), "metric", "value"} & called:
            yield f"unnamed:{fact.id}"


def _unlicensed(clause: Clause, sheet: FactSheet, spoken: Container[str]) -> Iterator[str]:
    """Yield words that neither the figure before nor the one after, nor a name on the way, has in its label."""
    words: list[str] = []
    licensed: frozenset[str] = frozenset()
    everything: frozenset[str] = frozenset()
    for token in clause.tokens:
        if not is_slot(token):
            words.append(token)
            continue
        fact = sheet[token[1:-1]]
        label = licensed_words(fact, spoken=fact.id in spoken)
        licensed |= label
        everything |= label
        if fact.kind != "name":
            yield from (f"unlicensed-word:{word}" for word in words if not _stands(word, licensed))
            words, licensed = [], label
    yield from (f"unlicensed-word:{word}" for word in words if not _stands(word, everything))


def _stands(word: str, licensed: frozenset[str]) -> bool:
    return word in NEUTRAL or canonical(word) in licensed


def _needs(fact: Fact) -> list[frozenset[str]]:
    """Return what a figure must be called: of each set, one word."""
    label = (
        fact.label.replace(fact.about, " ") if fact.kind in ("value", "delta", "share") and fact.about else fact.label
    )
    words = [canonical(word) for word in WORD.findall(label.lower())]
    has = frozenset(words)
    if fact.kind == "count":
        return _needs_of_count(has)
    if fact.kind in ("importance", "rank"):
        return [frozenset({fact.kind})]
    if fact.kind == "duration":
        return [frozenset({"duration"}), *(frozenset({word}) for word in ("median", "together") if word in has)]
    if "earlier" in has and fact.kind == "value":
        return [frozenset({"earlier", "closest"})]
    if "later" in has:
        return [frozenset({"later"})]
    if fact.kind in ("delta", "share"):
        head = next((word for word in words if word in ("gain", "gap", "noise")), words[0] if words else "")
        if head == "noise":
            return [frozenset({"noise", "deviation"}), frozenset({"noise", "repeats"})]
        return [frozenset({head, *RELATED.get(head, ())})]
    if fact.kind == "setting":
        return [frozenset({"suggestion", "next"})] if "suggestion" in has else []
    ends = [frozenset({word, "between"}) for word in ("lower", "upper") if word in has]
    for head in ("forecast", "quartile"):
        if head in has:
            return [frozenset({head}), *([frozenset({"mean"})] if "mean" in has else []), *ends]
    mark = next((word for word in words if word in MARKS), None)
    if mark is None:
        return []
    by_name = {
        "best": {"lowest", "highest", "reached", "achieved"},
        "worst": {"lowest", "highest"},
        "baseline": {"first"},
    }
    return [frozenset({mark, *by_name.get(mark, ())}), *([frozenset({"other"})] if "other" in has else [])]


def _needs_of_count(has: frozenset[str]) -> list[frozenset[str]]:
    if "times" in has:
        return [frozenset({"improvement"}), frozenset({"best"})]
    for word, others in (
        ("without", ("unranked",)),
        ("finite", ("rank",)),
        ("since", RELATED["since"]),
        ("learned", RELATED["learned"]),
        ("changed", ()),
        ("severity", ()),
        ("finding", ("flagged",)),
        ("repeats", ()),
    ):
        if word in has:
            grave = has & {"error", "warning", "info"}
            return [grave if word == "severity" and grave else frozenset({word, *others})]
    states = has & (STATES | {"last"})
    return [states] if states else []


def _uncalled(fact: Fact, clause: Clause, earlier: Sequence[str], run: str, sheet: FactSheet) -> Iterator[str]:
    """Yield a figure whose clause lacks the words that tell it from others."""
    said = {canonical(word) for word in clause.words}
    said |= {canonical(word) for word in earlier} & _CARRIED
    names = [name for _, name in clause.places(sheet) if name.kind == "name"]
    own = fact.kind == "value" and fact.source == run
    ago = "ago" in said and "improvement" not in said
    if ago or any(not said & need and not own for need in _needs(fact)):
        yield f"unnamed:{fact.id}"
    if fact.kind in ("setting", "importance") or (fact.kind == "value" and fact.direction is None):
        subject = fact.label.removeprefix("importance of the parameter ") if fact.kind == "importance" else fact.about
        spelled = {canonical(word) for word in WORD.findall(subject.lower())}
        longer = {other for word in spelled for other in RELATED.get(word, ())}
        called = spelled <= said or (longer and longer <= said) or any(name.text == subject for name in names)
        if not called:
            yield f"unnamed:{fact.id}"
    if "gain" in label_words(fact) and fact.kind in ("delta", "share"):
        yield from _backwards(fact, clause.tokens)


def _backwards(fact: Fact, tokens: Sequence[str]) -> Iterator[str]:
    """Yield a gain that is said to be the baseline's, or one over the best."""
    for place, word in enumerate(tokens):
        before = [token for token in tokens[:place] if token not in ("the", "first", "run")][-1:]
        over = before and before[0] in ("over", "on", "from", "to")
        if (word in ("baseline", "first") and not over) or (word == "best" and over):
            yield f"backwards:{fact.id}"


def _misplaced(fact: Fact, place: int, clause: Clause, sentence: Sequence[str], sheet: FactSheet) -> Iterator[str]:
    """Yield a figure beside a noun that it does not count, or given as the value of what has none."""
    tokens = clause.tokens
    after = until_slot(tokens[place + 1 :])
    back = list(reversed(until_slot(tokens[place - 1 :: -1]))) if place else []
    names = [name_type(name) for _, name in clause.places(sheet)]
    measured = fact.kind not in ("importance", "setting")
    if back[-1:] == ["run"] or (measured and "parameter" in names) or _of_a_name(fact, place, clause, sheet):
        yield f"kind:{fact.id}"
    if fact.kind == "count":
        if _miscounted(fact, place, clause, sentence, after, back, sheet):
            yield f"counted-noun:{fact.id}"
        return
    noun = next((word for word in after if word not in ("of", "the", "out")), "")
    if noun in COUNTED and not (noun == "run" and after[0] != "run"):
        yield f"unit:{fact.id}"
    marked = fact.kind in ("delta", "share") and bool(MARKS & {*back[-1:]})
    marked |= fact.kind == "value" and not (MARKS & {*back[-1:]}) <= label_words(fact)
    bare = list(tokens[:place]) in (["the"], ["a"])  # "the {best} at the baseline": a figure where a noun belongs
    if fact.kind in ("value", "delta") and (back[-1:] == ["in"] or bare):
        yield f"kind:{fact.id}"
    if marked or (fact.kind in ("share", "importance") and after[:1] == ["of"]):
        yield f"unit:{fact.id}"
    subject = _subject(tokens, place, sheet)
    if subject and subject[-1] in COPULAS and head_of(subject[:-1]) in _BARE_HEADS:
        yield f"kind:{fact.id}"
    plural = any(a in ("runs", "configurations") and b in _PLURAL_ACTS for a, b in pairwise(back))
    if plural and fact.source.startswith("run "):
        yield f"kind:{fact.id}"


def _miscounted(
    fact: Fact,
    place: int,
    clause: Clause,
    sentence: Sequence[str],
    after: Sequence[str],
    back: Sequence[str],
    sheet: FactSheet,
) -> bool:
    """Return whether a count stands beside a noun that it does not count, or says what the counted ones did."""
    tokens, called = clause.tokens, label_words(fact)
    own = {fact.unit} | ({"repeats"} if fact.label.startswith("number of repeats") else set())
    follow = [COUNTED[word] for word in after if word in COUNTED]
    lead = [COUNTED[word] for word in back if word in COUNTED]
    last = [COUNTED[back[-2]]] if back[-1:] == ["of"] and back[-2:-1] and back[-2] in COUNTED else []
    nearest = (follow[:1] or last or lead)[:1]
    somewhere = bool(_needs(fact)) and any(COUNTED.get(word) in own for word in sentence)
    if nearest[0] not in own if nearest else not somewhere:
        return True
    if [word for word in after if word not in ("out", "the")] == ["of"] and not _part_of(fact, tokens, place, sheet):
        return True
    act = after[1] if len(after) > 1 and after[0] in ("runs", "configurations") else ""
    ended = act in ("have", "had") and bool({canonical(word) for word in after[2:3]} & {*STATES, "been"})
    with_findings = act in ("have", "had", "with") and after[2:3] == ["findings"] and "finding" in called
    acts = act in _PLURAL_ACTS and not ended and not with_findings
    some_act = after[:1] == ["of"] and bool({*after} & {*_PLURAL_ACTS, "has"})
    states = {canonical(word) for word in after[:3]} & STATES - called - _part_before(tokens, place, sheet)
    return acts or some_act or bool(states) or back[-1:] == ["rank"]


def _subject(tokens: Sequence[str], place: int, sheet: FactSheet) -> list[str]:
    """Return what stands before a figure, back to the figure before it; names are part of it."""
    out: list[str] = []
    for token in reversed(tokens[:place]):
        if is_slot(token) and sheet[token[1:-1]].kind != "name":
            break
        out.insert(0, token)
    return out


def _of_a_name(fact: Fact, place: int, clause: Clause, sheet: FactSheet) -> bool:
    """Return whether a figure is said to be what a name, or another quantity, is."""
    tokens = clause.tokens
    if place == 0 or tokens[place - 1] not in COPULAS:
        return False
    subject = list(tokens[: place - 1])
    while subject and subject[-1] in ("have", "has", "had"):
        subject.pop()
    head = head_of(subject)
    if fact.kind == "count":
        return bool(head) and head not in COUNTED and canonical(head) not in _COUNT_HEADS
    return is_slot(head) and name_type(sheet[head[1:-1]]) in ("run", "parameter", "state") and place - 1 == 1


def _part_before(tokens: Sequence[str], place: int, sheet: FactSheet) -> frozenset[str]:
    """Return what the part is called where a figure is the whole: of ``failed`` in "{n_failed} of {n_runs} runs"."""
    back = [token for token in tokens[:place] if token not in ("the", "out")]
    if back[-1:] != ["of"] or len(back) < 2 or not is_slot(back[-2]):
        return frozenset()
    return label_words(sheet[back[-2][1:-1]])


def _part_of(fact: Fact, tokens: Sequence[str], place: int, sheet: FactSheet) -> bool:
    """Return whether the things that one figure counts are among those that the next one counts."""
    whole = next((sheet[token[1:-1]] for token in tokens[place + 1 :] if is_slot(token)), None)
    if whole is None or whole.kind != "count" or whole.number is None or fact.number is None:
        return False
    own = label_words(fact)
    return fact.number <= whole.number and set(WORD.findall(whole.label)) <= {*own, *WORD.findall(fact.label)}

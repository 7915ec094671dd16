"""Claims of a sentence that a run is the best, lowest, highest or worst of its experiment, held against the ranking.

Leaves out figures (``prose``). Invariant: a claim is called true or wrong only if the sentence says of which run it is
and that it is meant among the runs of an experiment; every other one is unsure, so that its figures are unknown.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Literal

from advisor.documents import numbers
from advisor.documents.prose_values import Known, Place
from advisor.documents.standing import Standing, value_of
from advisor.documents.untrusted import one_line

if TYPE_CHECKING:
    from storage.records import Run

MAX_CLAIMS: Final = 8
"""Of one sentence; one that claims more is none that people write."""
_SUPERLATIVE: Final = re.compile(
    r"\b(?:(?P<best>best|top|winner|winning|leading|optimal|optimum|(?:outperform\w*|beats?|better than|ahead of) "
    r"(?:every|all|any)|no (?:other )?(?:run|trial) (?:beats|is better|outperform\w*))|"
    r"(?P<lowest>lowest|smallest|minimal|minimum)|"
    r"(?P<highest>highest|largest|maximal|maximum)|(?P<worst>worst))\b(?!\s+(?:practice|known|guess))",
    re.IGNORECASE,
)
_QUALIFIED: Final = re.compile(
    r"(?:\b(?:second|third|fourth|2nd|3rd|next|not|never|previous|former|old|among|one of)[\s-]+|n't\s+)(?:\w+\s+)?$",
    re.IGNORECASE,
)
_BESIDE: Final = re.compile(
    r"\b(?:behind|than|versus|vs\.?|against|from|beyond|under|above|below|near|over|unlike|trails?|misses)\s+(?:the\s+)?"
    r"(?:\w+\s+)?$",
    re.IGNORECASE,
)
"""What a run is compared with, and so is not."""
_OF_SOME: Final = re.compile(
    r"\b(?:among|of|for|in|at|under|using|from) (?:the )?(?!all\b|runs\b|trials\b|experiment\b|them\b|\d+ runs)\w+ "
    r"(?:\w+ )?(?:runs|trials|ones|models)\b",
    re.IGNORECASE,
)
_WITH: Final = re.compile(
    r"\b(?:with|using|under|at|for) (?!an?\b|the\b|its\b|value|objective)(?=[a-z])", re.IGNORECASE
)
_OF_ITS_OWN: Final = re.compile(r"(?:\b(?:its|their|at|own)|'s|’s)\s+(?:\w+\s+)?$", re.IGNORECASE)
_SINCE: Final = re.compile(r"\W+(?:so far|until|till|before|yet|to date|except|after|but)\b", re.IGNORECASE)
_AMONG_RUNS: Final = re.compile(
    r"\s+(?:one\b|(?:run|trial|model|configuration|config|result|setting|objective)s?\b|overall\b|"
    r"of\s+(?:all|the)\b|among\b|in\s+all\b|(?:is|was)\b)",
    re.IGNORECASE,
)
_ALL: Final = re.compile(r"\b(?:among|of all|overall|all (?:the )?(?:\w+ )?runs|any run|all trials)\b", re.IGNORECASE)
_IS: Final = re.compile(
    r"\b(?:is|was|are|remains|came out|ended up|ranks?)\s+(?:\w+\s+)?(?:the|as)?\s*$", re.IGNORECASE
)
_CLAUSE: Final = re.compile(r"[;()]|,\s|\b(?:and|while|whereas|but|against|versus|vs|than|where)\b")
_SAID_OF: Final = re.compile(r"\b(?:is|was|comes|came)\b", re.IGNORECASE)
_IN_BRACKETS: Final = re.compile(r"[^;(),]{0,80}\(\s*(?:run\s*)?")
_DIGIT: Final = re.compile(r"\d")
_OF: Final = re.compile(r"[\w\s/.\-`*]*?\b(?:of|for|in|from)\s+(?:the\s+)?(?:run\s+)?[\s`*]*", re.IGNORECASE)

Outcome = Literal["true", "wrong", "unsure"]


@dataclass(frozen=True, slots=True)
class Claim:
    """That a run is the best, or the like, of its experiment."""

    start: int
    end: int
    """Of the stretch whose figures it is about."""
    run: Place
    outcome: Outcome
    about: str
    expected: str
    why: str


def claims_of(
    known: Known, text: str, runs: Sequence[Place], named: Sequence[Place], labels: Sequence[Place]
) -> list[Claim]:
    """Return the claims of a sentence; names of runs and experiments are blanks in ``text``."""
    present = [place for place in runs if place.what is not None]
    found: list[Claim] = []
    for match in islice(_SUPERLATIVE.finditer(text), MAX_CLAIMS):
        run, sure = _run_of(match, present, text)
        kind = str(match.lastgroup)
        metric = _metric(match, labels, text)
        if run is None or metric is False or _is_of_curve(match, run, text) or _BESIDE.search(text[: match.start()]):
            continue
        low, high = (0, len(text)) if len(present) == 1 else _clause(match, text)
        sure = sure and not _QUALIFIED.search(text[: match.start()]) and not _SINCE.match(text, match.end())
        certain = sure and _among_runs(match, run, text, named) and not _is_of_some(match, run, text, labels)
        outcome, best = _holds(known, run.what, kind, metric)
        inner, outer = _clause(match, text)
        if outcome == "wrong" and not inner <= run.start < outer:
            begin = max((each.end() for each in _CLAUSE.finditer(text, 0, run.start)), default=0)
            end = next((each.start() for each in _CLAUSE.finditer(text, run.end)), len(text))
            if _DIGIT.search(text, begin, end):  # the run has a figure of its own; the best is another
                if _DIGIT.search(text, inner, outer):
                    continue
                certain = False
        if not sure or (outcome == "wrong" and not certain):
            outcome = "unsure"
        called = one_line(run.what.experiment, limit=60)
        told = f"the {kind} of {called} is {best}" if best else f"which run is the {kind} is not known"
        why = told if outcome == "wrong" else f"whether the {kind} of {called} is meant cannot be told"
        found.append(Claim(min(low, run.start), max(high, run.end), run, outcome, f"{kind} of {called}",
                           best if outcome == "wrong" else "", one_line(why)))  # fmt: skip
    return found


def _clause(match: re.Match[str], text: str) -> tuple[int, int]:
    low = max((found.end() for found in _CLAUSE.finditer(text, 0, match.start())), default=0)
    return low, next((found.start() for found in _CLAUSE.finditer(text, match.end())), len(text))


def _run_of(match: re.Match[str], runs: Sequence[Place], text: str) -> tuple[Place | None, bool]:
    """Return the run of which something is claimed, and whether that is sure."""
    if len(runs) < 2:
        return (runs[0], True) if runs else (None, False)
    low, high = _clause(match, text)
    inside = [place for place in runs if low <= place.start < high]
    if len(inside) == 1:
        return inside[0], True
    after = next((place for place in runs if place.start >= match.end()), None)
    between = "" if after is None else text[match.end() : after.start]
    if not inside and after is not None and (not between.strip(" ,:(`*_") or _IN_BRACKETS.fullmatch(between)):
        return after, True
    return (inside or [after or runs[-1]])[0], False


def _metric(match: re.Match[str], labels: Sequence[Place], text: str) -> str | Literal[False]:
    """Return the metric that is the best or lowest; empty for the objective, False where it is none of a run."""
    near = next((place for place in labels if place.start >= match.end()), None)
    between = "" if near is None else text[match.end() : near.start]
    if near is not None and re.fullmatch(r"\s+(?:final\s+|last\s+|value of\s+|of\s+)?[`*_]*", between):
        return str(near.what.name) if near.what.kind == "metric" else False
    if match.lastgroup in ("best", "worst"):
        return ""
    named = [place for place in labels if place.what.kind == "metric"]
    follows = re.match(r"\s+([a-z]+)", text[match.end() :])
    if follows and follows[1] not in ("of", "in", "with", "at", "is", "was", "among", "run", "trial", "value"):
        return False  # the lowest of something else: a learning rate, a temperature
    return str(named[0].what.name) if named else False


def _is_of_curve(match: re.Match[str], run: Place, text: str) -> bool:
    """Return whether the superlative is of the run's own curve: ``its best``, ``the lowest loss of digits#3``."""
    if _OF_ITS_OWN.search(text[: match.start()]):
        return True
    between = text[match.end() : run.start] if run.start >= match.end() else None
    if between is None or _AMONG_RUNS.match(between) or _SAID_OF.search(between) or _ALL.search(text):
        return False
    return len(between.split()) <= 5 and bool(_OF.fullmatch(between))


def _among_runs(match: re.Match[str], run: Place, text: str, named: Sequence[Place]) -> bool:
    """Return whether it is certain that the superlative is among the runs of the experiment."""
    whole = any(place.what == run.what.experiment for place in named)
    whole = whole or bool(_SAID_OF.search(text[match.end() : max(run.start, match.end())]))
    return bool(
        whole
        or _AMONG_RUNS.match(text, match.end())
        or _ALL.search(text)
        or " " in match[0]
        or _IS.search(text[: match.start()])
    )


def _is_of_some(match: re.Match[str], run: Place, text: str, labels: Sequence[Place]) -> bool:
    """Return whether the superlative may be among some runs only: ``of the sgd runs``, ``with adam``."""
    end = run.start if run.start >= match.end() else min(match.end() + 10, len(text))
    metrics = {place.start for place in labels if place.what.kind == "metric"}
    with_what = [found.end() for found in _WITH.finditer(text, match.end()) if found.start() < end]
    return bool(_OF_SOME.search(text)) or any(at not in metrics for at in with_what)


def _holds(known: Known, run: Run, kind: str, metric: str) -> tuple[Outcome, str]:
    """Return whether a run is what it is claimed to be, and which one is."""
    where = known.standing(run.experiment)
    objective = where.objective
    if objective is None or where.best is None:
        return "unsure", ""
    if metric and metric != objective.metric:
        return _of_other(where, run, kind, metric), ""
    choose: Callable[[Any], Run] = {
        "best": lambda runs: runs[0],
        "worst": lambda runs: runs[-1],
        "lowest": lambda runs: min(runs, key=value_of),
        "highest": lambda runs: max(runs, key=value_of),
    }[kind]
    chosen = choose(where.ranked)
    text = f"{one_line(f'{chosen.experiment}#{chosen.number}', limit=80)} with {numbers.figure(value_of(chosen))}"
    is_ranked = run.id in where.places
    if is_ranked and value_of(run) == value_of(chosen):
        return "true", text
    record = known.experiment(run.experiment)
    several = len(record.objectives) > 1 or bool(record.problem.get("constraints"))
    is_known = not several and (is_ranked or kind == "best")
    return ("wrong" if is_known else "unsure"), text


def _of_other(where: Standing, run: Run, kind: str, metric: str) -> Outcome:
    """Return whether a run has the lowest or highest last value of a metric that is not the objective."""
    values = [each.metrics[metric] for each in where.runs if metric in each.metrics]
    own = run.metrics.get(metric)
    if own is None or not values:
        return "unsure"
    ends = {"lowest": [min(values)], "highest": [max(values)]}.get(kind, [min(values), max(values)])
    return "true" if own in ends else "unsure"

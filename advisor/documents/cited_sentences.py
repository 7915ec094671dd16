"""Hold the sentence around a citation against it: whether it speaks of the same run, experiment and metric.

A figure may be its fact's, and the sentence still false: it says of one run what was cited of another. Leaves out
whether the figure is the fact's (``citations``). Invariant: nothing becomes supported here; a citation is contradicted
only where the sentence names exactly one run, experiment or, right before the figure, one metric, and that is another.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from advisor.documents.citations import CITATION, Cited, Read
from advisor.documents.fact import Fact
from advisor.documents.fact_paths import FactNotFoundError, experiment_at, parts_of
from advisor.documents.prose_values import Known
from advisor.documents.untrusted import one_line
from storage.errors import StorageError

if TYPE_CHECKING:
    from storage.records import Run
    from storage.store import RunStore

MAX_SENTENCE: Final = 400
"""Characters on either side of a citation that are looked at."""
_BREAK: Final = re.compile(r"(?<=[.!?;])\s+(?=[A-Z#*`_(\[|{])|\n[ \t]*\n|\n(?=[ \t]*(?:[-*|#>]|\d+[.)]\s))")
_SOURCE: Final = re.compile(r"\bruns? (\S+?)(?: and (\S+))?\Z")
_NUMBER: Final = re.compile(r"(?:\brun\s+#?|(?<![\w#&])#)(\d{1,7})\b", re.IGNORECASE)
_NO_RUN: Final = re.compile(r"\b(?:issue|pr|pull request|ticket|step|epoch|figure|table|section)\s*$", re.IGNORECASE)
_HEX: Final = re.compile(r"\b(?=[0-9a-f]*[a-f])(?=[0-9a-f]*\d)[0-9a-f]{6,32}\b")
_CLAUSE: Final = re.compile(r"[;()]|,\s|\b(?:and|while|whereas|but|against|versus|vs|than|where)\b")
_IN_ORDER: Final = re.compile(r"\b(?:respectively|in (?:this|that) order)\b", re.IGNORECASE)
_COMPARED: Final = re.compile(
    r"\b(?:best|baseline|median|worst|lowest|highest|than|behind|ahead|first|second|others?|versus|vs|against|from|"
    r"one of)\b",
    re.IGNORECASE,
)
_OF_ANOTHER: Final = re.compile(
    r"\b(?:from|than|over|earlier|previous|prior|former|against|versus|vs|baseline|baseline's)\W+(?:\w+\W+)?$",
    re.IGNORECASE,
)
_BETWEEN: Final = frozenset(
    "of for in at to a an the run was is were are be reached had has with value ended equals final last came went got "
    "gave its so on by being".split()
)
_COMMON: Final = re.compile(
    r"\b(accuracy|acc|loss|f1|auc|auroc|precision|recall|rmse|mae|mse|perplexity|error|bleu|rouge|iou|reward|duration|"
    r"learning rate|batch size|dropout|momentum|weight decay|rank|seed)\b",
    re.IGNORECASE,
)
_NO_NAMES: Final = frozenset(
    {"up", "on", "in", "at", "to", "by", "the", "a", "is", "was", "of", "step", "value", "run"}
)


@dataclass(frozen=True, slots=True)
class _Named:
    """A run that a sentence names; the experiment is None where only a number is written."""

    start: int
    end: int
    experiment: str | None
    number: int

    def is_run(self, run: Run) -> bool:
        return self.number == run.number and self.experiment in (None, run.experiment)


def checked(store: RunStore, found: Read) -> tuple[Cited, ...]:
    """Return the citations of a text, those that their sentence uses for something else no longer supported."""
    known = Known(store)
    bare = CITATION.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), found.filled)
    breaks = [(match.start(), match.end()) for match in _BREAK.finditer(bare)]
    return tuple(_checked(known, store, bare, breaks, one, found.facts.get(one.fact_id)) for one in found.cited)


def _checked(
    known: Known, store: RunStore, text: str, breaks: Sequence[tuple[int, int]], one: Cited, fact: Fact | None
) -> Cited:
    if one.verdict != "supported" or fact is None:
        return one
    place = bisect_right(breaks, (one.at, len(text)))
    low = max(breaks[place - 1][1] if place else 0, one.at - MAX_SENTENCE)
    end = one.at + len(one.written)
    high = min(next((start for start, _ in breaks[place:] if start >= end), len(text)), end + MAX_SENTENCE)
    sentence = text[low:high]
    for verdict, why in _doubts(known, store, sentence, one.at - low, fact):
        return replace(one, verdict=verdict, expected="", why=one_line(why, limit=300))  # type: ignore[arg-type]  # one of two
    return one


def _doubts(known: Known, store: RunStore, sentence: str, at: int, fact: Fact) -> Iterator[tuple[str, str]]:
    """Yield why a sentence is not about a fact, with the verdict that follows."""
    try:
        kind, about, *rest = parts_of(fact.id)
    except FactNotFoundError:
        return
    if kind == "suggestion":
        return
    runs = _runs_of(store, fact)
    experiment = runs[0].experiment if runs else _experiment_of(store, kind, about)
    if experiment is None:
        return
    named, masked = _named(known, sentence, experiment)
    yield from _of_runs(kind, sentence, at, runs, named)
    yield from _of_experiment(known, kind, sentence, experiment, named)
    yield from _of_metric(known, masked, at, experiment, _metric(store, kind, experiment, rest[-1], fact), kind)


def _runs_of(store: RunStore, fact: Fact) -> list[Run]:
    found = _SOURCE.search(fact.source)
    try:
        return [store.run(run_id) for run_id in found.groups() if run_id] if found else []
    except StorageError:
        return []


def _experiment_of(store: RunStore, kind: str, about: str) -> str | None:
    try:
        return experiment_at(store, about).name if kind == "experiment" else None
    except StorageError:
        return None


def _named(known: Known, sentence: str, experiment: str) -> tuple[list[_Named], str]:
    """Return the runs that a sentence names, and the sentence with blanks for names of runs and experiments."""
    found = [_Named(start, end, name, number) for name, number, start, end in known.numbered_in(sentence)]
    for match in _HEX.finditer(sentence):
        run = known.run_by_id(match[0])
        if run is not None:
            found.append(_Named(match.start(), match.end(), run.experiment, run.number))
    for match in _NUMBER.finditer(sentence):
        inside = any(one.start < match.end() and match.start() < one.end for one in found)
        if (
            not inside
            and not _NO_RUN.search(sentence[: match.start()])
            and known.run_by_number(experiment, int(match[1]))
        ):
            found.append(_Named(match.start(), match.end(), None, int(match[1])))
    masked = sentence
    places = [(one.start, one.end) for one in found] + [(a, b) for _, a, b in known.experiments_in(sentence)]
    for start, end in places:
        masked = masked[:start] + " " * (end - start) + masked[end:]
    return sorted(found, key=lambda one: one.start), masked


def _called(runs: Sequence[Run]) -> str:
    return " and ".join(f"{run.experiment}#{run.number}" for run in runs)


def _of_runs(
    kind: str, sentence: str, at: int, runs: Sequence[Run], named: Sequence[_Named]
) -> Iterator[tuple[str, str]]:
    if not runs or not named:
        return
    distinct = {(one.experiment or runs[0].experiment, one.number) for one in named}
    fitting = [one for one in named if any(one.is_run(run) for run in runs)]
    said = " and ".join(sentence[one.start : one.end] for one in named[:3])
    why = f"cites {_called(runs)}, the text says {said}"
    if kind not in ("run", "difference") and _COMPARED.search(sentence):
        return
    if not fitting:
        is_certain = len(distinct) == 1 and kind != "document" and not _OF_ANOTHER.search(sentence[:at])
        yield ("contradicted" if is_certain else "unknown"), why
    elif len(distinct) > 1 and kind == "run" and not _IN_ORDER.search(sentence):
        low = max((each.end() for each in _CLAUSE.finditer(sentence, 0, at)), default=0)
        high = next((each.start() for each in _CLAUSE.finditer(sentence, at)), len(sentence))
        inside = [one for one in named if low <= one.start < high]
        if len({one.number for one in inside}) == 1 and not any(one.is_run(runs[0]) for one in inside):
            yield "unknown", why


def _of_experiment(
    known: Known, kind: str, sentence: str, experiment: str, named: Sequence[_Named]
) -> Iterator[tuple[str, str]]:
    spoken = {name for name, _, _ in known.experiments_in(sentence)} | {one.experiment for one in named} - {None}
    if spoken and experiment not in spoken and not any(one.experiment is None for one in named):
        why = f"cites {experiment}, the text says {' and '.join(sorted(map(str, spoken))[:3])}"
        yield ("contradicted" if kind == "experiment" and len(spoken) == 1 else "unknown"), why


def _metric(store: RunStore, kind: str, experiment: str, field: str, fact: Fact) -> str | None:
    """Return the metric or parameter that a fact is of; empty for a count or time, None where that is not known."""
    if kind == "document":
        return fact.about or None
    plain = field.removeprefix("share.").removeprefix("best.")
    objectives = store.experiment(experiment).objectives
    if plain == "objective":
        return objectives[0].metric if objectives else None
    key, _, name = plain.partition(".")
    if key == "values" and name.isdecimal() and 1 <= int(name) <= len(objectives):
        return objectives[int(name) - 1].metric
    if key in ("findings", "ledger", "stop_advice") or key.startswith("forecast"):
        return None
    return unquote(name)


def _of_metric(
    known: Known, masked: str, at: int, experiment: str, own: str | None, kind: str
) -> Iterator[tuple[str, str]]:
    """Yield why the name right before a figure is not that of the fact."""
    if own is None:
        return
    labels = [(label.name, start, end) for label, start, end in known.labels_in(masked[:at], experiment)
              if label.kind in ("metric", "parameter") and label.name.lower() not in _NO_NAMES]  # fmt: skip
    said = next((name for name, _, end in reversed(labels) if _is_right_before(masked[end:at])), None)
    if said is not None:
        if said != own:
            what = own or "a count or another figure"
            yield ("unknown" if kind == "document" else "contradicted"), f"cites {what}, the text says {said}"
        return
    for match in reversed(list(_COMMON.finditer(masked[:at]))):
        word = match[1].lower()
        if own and _is_right_before(masked[match.end() : at]) and not _is_part(word, own.lower()):
            yield "unknown", f"cites {own}, the text says {word}"


def _is_right_before(between: str) -> bool:
    return len(between) < 160 and all(word in _BETWEEN for word in re.findall(r"[^\s`*_:=(|,]+", between.lower()))


def _is_part(word: str, name: str) -> bool:
    """Return whether a word may stand for a name: a part of it, or the beginning of a part, or longer than that."""
    own = [part for part in re.split(r"[^a-z0-9]+", name) if part]
    words = [part for part in re.split(r"[^a-z0-9]+", word) if part]
    initials = "".join(part[0] for part in words)
    return name == initials or any(one.startswith(part) or part.startswith(one) for part in words for one in own)

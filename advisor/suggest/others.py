"""Which past experiments can teach an experiment something, and what of them can be carried over.

Found by what is said of their questions (name, description, objective; never their results) and by their spaces.
Parameters are matched by name, or by the experiment's ``renamed``, which may change the unit as well:
``{"dropout": "dropout_percent * 0.01"}``. A match that is merely likely is not made but said, so that a person decides.

Text is compared through hashed character n-grams (``storage.embed.HashingEmbedder``) unless vectors of a better encoder
are handed in: an ask must not wait for a language model to load.

Invariant: what comes out depends on what was known when the runs given ended, and on nothing that came later.
"""

from __future__ import annotations

import functools
import math
import operator
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from shlex import quote
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from advisor.suggest.dimensions import Choice, Dimension, Float, Int
from advisor.suggest.elsewhere import Task
from advisor.suggest.infer import infer_space
from advisor.suggest.keyed import Keyed
from advisor.suggest.outcome import says_nothing
from advisor.suggest.space import Space
from advisor.suggest.surface import milestone
from storage.describe import words
from storage.records import Experiment, Run, RunState

if TYPE_CHECKING:
    from storage.journal import State

MIN_RUNS: Final = 8
"""Runs below which a past experiment says too little."""
MIN_OVERLAP: Final = 0.1
"""Part of the space that it has to cover at least."""
UNNAMED: Final = "no-name-"
"""What the names that Optuna gives begin with; the rest is drawn by chance and says nothing."""
MAX_OTHERS: Final = 48
"""Other experiments that are looked at, the most alike by what is said of them."""
MAX_OTHER_RUNS: Final = 20_000
"""Runs of other experiments that are read at most; the most alike come first."""
MAX_KEPT: Final = 256
"""Past experiments that are kept in memory in the terms of some space."""
MAX_NOTES: Final = 6
"""Sentences about what could not be carried over; of more the number is said."""
FACTORS: Final = (100.0, 0.01, 1000.0, 0.001, 1e6, 1e-6, 60.0, 1 / 60, 1024.0, 1 / 1024)
"""Changes of unit that are thought of: percent, thousands, millions, minutes, kibi."""
_SCALED: Final = re.compile(r"^(?P<name>.+?)\s*\*\s*(?P<factor>[0-9.eE+-]+)$")

Vectors = Callable[[Sequence[str]], NDArray[np.float32]]
"""Turns texts into vectors of length 1, shape (n, dimension)."""


@dataclass(frozen=True, slots=True)
class Past:
    """Another experiment with its runs."""

    experiment: Experiment
    runs: Sequence[Run]
    """In the order of their numbers."""


@dataclass(frozen=True, slots=True)
class Found:
    """What can be learned from, and what cannot."""

    tasks: tuple[Task, ...]
    _: KW_ONLY
    notes: tuple[str, ...]
    """In plain words: what could not be carried over, and what would help."""


def question(experiment: Experiment) -> str:
    """Return what is said of an experiment's question, as text to compare; nothing of it is a result.

    >>> from datetime import UTC, datetime
    >>> question(Experiment("digits-mlp", number=0, created=datetime.now(UTC), description="MLP on the UCI digits"))
    'digits mlp. MLP on the UCI digits. '
    """
    metric = "" if experiment.objective is None else words(experiment.objective.metric)
    name = "" if experiment.name.startswith(UNNAMED) else words(experiment.name)
    return f"{name}. {experiment.description}. {metric}"


def likeness(experiment: Experiment, others: Sequence[Experiment], vectors: Vectors | None = None) -> list[float]:
    """Return how alike each other question is, in [0, 1]: the cosine between the texts' vectors, at least 0."""
    records = [experiment, *others]
    if vectors is None:
        found = np.vstack([_hashed(Keyed(id(record), record)) for record in records])
    else:
        found = vectors([question(record) for record in records])
    return [float(value) for value in np.clip(found[1:] @ found[0], 0.0, 1.0)]


@functools.lru_cache(maxsize=4096)
def _hashed(record: Keyed[Experiment]) -> NDArray[np.float32]:
    from storage.embed import HashingEmbedder

    vector: NDArray[np.float32] = HashingEmbedder().embed([question(record.value)])[0]
    return vector


def past_of(state: State, record: Experiment) -> list[Past]:
    """Return the experiments of a store that are most alike by what is said of them, with their runs."""
    others = [other for other in state.experiments.values() if other.name != record.name and other.objectives]
    alike = likeness(record, others) if others else []
    ordered = sorted(zip(alike, others, strict=True), key=lambda pair: (-pair[0], pair[1].number))
    counts = state.n_runs_each() if others else {}
    chosen: list[Experiment] = []
    n_runs = 0
    for _, other in ordered[:MAX_OTHERS]:
        n_runs += counts[other.name]
        if n_runs > MAX_OTHER_RUNS and chosen:
            break
        if counts[other.name] >= MIN_RUNS:
            chosen.append(other)
    runs = state.runs_of_each([other.name for other in chosen])
    return [Past(other, runs[other.name]) for other in chosen]


def find(
    experiment: Experiment,
    space: Space,
    others: Sequence[Past],
    *,
    renamed: Mapping[str, Sequence[str]] | None = None,
    vectors: Vectors | None = None,
) -> Found:
    """Return the past experiments that can be learned from, seen from ``space``.

    Parameters
    ----------
    others
        Other experiments; the one that is advised is passed over.
    renamed
        Parameter of the space → what it is called elsewhere, or ``"NAME * FACTOR"``.
    vectors
        Encoder of the questions; by default hashed n-grams.
    """
    candidates = [past for past in others if past.experiment.name != experiment.name]
    alike = likeness(experiment, [past.experiment for past in candidates], vectors)
    tasks, notes = [], []
    terms = (repr(space), repr(sorted((renamed or {}).items())))
    for past, similarity in zip(candidates, alike, strict=True):
        task, why_not = _task(space, past, similarity, renamed or {}, terms)
        if task is not None:
            tasks.append(task)
        notes += why_not
    shown = notes[:MAX_NOTES]
    if len(notes) > MAX_NOTES:
        shown.append(f"{len(notes) - MAX_NOTES} more could not be carried over")
    return Found(tuple(tasks), notes=tuple(shown))


def over(runs: Sequence[Run]) -> list[Run]:
    """Return the runs that are learned from: over, oldest end first, up to the last milestone of their number."""
    ended = sorted((run for run in runs if run.state.is_over), key=_end)
    return ended[: milestone(len(ended))]


def _end(run: Run) -> tuple[float, str]:
    return ((run.ended or run.created).timestamp(), run.id)


@dataclass(frozen=True, slots=True, eq=False)
class _Kept:
    """What was made of a past experiment, and of which records."""

    experiment: Experiment
    runs: tuple[Run, ...]
    task: Task | None
    notes: list[str]


_kept: OrderedDict[tuple[str, str, str], _Kept] = OrderedDict()
_keeping = threading.Lock()


def _task(
    space: Space, past: Past, similarity: float, renamed: Mapping[str, Sequence[str]], terms: tuple[str, str]
) -> tuple[Task | None, list[str]]:
    """Return a past experiment in the terms of a space, or None and why; made once of the same records."""
    key = (past.experiment.name, *terms)
    with _keeping:
        found = _kept.get(key)
    runs = tuple(past.runs)
    same = found is not None and found.experiment == past.experiment and len(found.runs) == len(runs)
    if found is None or not same or any(map(operator.is_not, found.runs, runs)):
        task, notes = _carried(space, past, renamed)
        if found is not None and found.experiment == past.experiment:
            task = _older(found.task, task)
        found = _Kept(past.experiment, runs, task, notes)
        with _keeping:
            _kept[key] = found
            while len(_kept) > MAX_KEPT:
                _kept.popitem(last=False)
    task = None if found.task is None else replace(found.task, similarity=similarity)
    return task, found.notes


def _older(before: Task | None, now: Task | None) -> Task | None:
    """Return the earlier one of two equal tasks, so that models of it are found again."""
    if before is None or now is None or before.run_ids != now.run_ids or before.rows != now.rows:
        return now
    return before if np.array_equal(before.outcomes, now.outcomes, equal_nan=True) else now


def _carried(space: Space, past: Past, renamed: Mapping[str, Sequence[str]]) -> tuple[Task | None, list[str]]:
    """Return a past experiment in the terms of a space, its likeness left open, or None and why."""
    name, record = past.experiment.name, past.experiment
    runs = [run for run in over(past.runs) if _says_something(record, run)]
    if len(record.objectives) != 1 or len(runs) < MIN_RUNS:
        return None, []
    theirs = Space.from_json(record.space) if record.space else infer_space(runs).space
    links = {own: _link(own, theirs, renamed.get(own, ())) for own in space}
    known = {own: link for own, link in links.items() if link is not None}
    overlap = sum(_common(space[own], theirs[link.name], link.factor) for own, link in known.items()) / len(space)
    notes = _hints(name, space, theirs, known)
    if overlap < MIN_OVERLAP:
        return None, notes
    outcomes = _outcomes(record, runs)
    if np.unique(outcomes[np.isfinite(outcomes)]).size < 2:
        return None, notes
    rows = [
        {own: link.carry(run.params[link.name]) for own, link in known.items() if link.name in run.params}
        for run in runs
    ]
    ids = [run.id for run in runs]
    numbers = [run.number for run in runs]
    made = Task(name, rows=rows, outcomes=outcomes, run_ids=ids, numbers=numbers, similarity=1.0, overlap=overlap)
    return made, notes


@dataclass(frozen=True, slots=True)
class _Link:
    """What a parameter is called elsewhere, and by what its value is multiplied."""

    name: str
    factor: float = 1.0

    def carry(self, value: Any) -> Any:
        if self.factor == 1.0 or isinstance(value, (bool, str)) or not isinstance(value, (int, float)):
            return value
        return value * self.factor


def _link(own: str, theirs: Space, renamed: Sequence[str]) -> _Link | None:
    for other in renamed:
        scaled = _SCALED.match(other)
        name, factor = (scaled["name"], float(scaled["factor"])) if scaled else (other, 1.0)
        if name in theirs:
            return _Link(name, factor)
    return _Link(own) if own in theirs else None


def _says_something(experiment: Experiment, run: Run) -> bool:
    if says_nothing(run):
        return False
    return experiment.went_wrong(run) or len(run.values) == len(experiment.objectives) > 0


def _outcomes(experiment: Experiment, runs: Sequence[Run]) -> NDArray[np.float64]:
    """Return the first objective with the sign that makes higher better; NaN where a run went wrong."""
    sign = 1.0 if experiment.objectives[0].direction == "maximize" else -1.0
    values = [math.nan if experiment.went_wrong(run) else sign * run.values[0] for run in runs]
    out = np.array(values, dtype=np.float64)
    finished = out[[run.state is RunState.FINISHED for run in runs]]
    if np.isfinite(finished).any():
        middle = float(np.nanmedian(finished))
        stopped = np.array([run.state is RunState.PRUNED for run in runs])
        out[stopped] = np.minimum(out[stopped], middle)  # NaN stays NaN
    return out


def _common(own: Dimension, theirs: Dimension, factor: float) -> float:
    """Return which part of two ranges is common, in [0, 1]: the Jaccard index on the scale of the first."""
    if isinstance(own, Choice) or isinstance(theirs, Choice):
        if not (isinstance(own, Choice) and isinstance(theirs, Choice)):
            return 0.0
        both = sum(theirs.index(choice) is not None for choice in own.choices)
        return both / (len(own.choices) + len(theirs.choices) - both)
    ends = [end for end in (own.unit(theirs.low * factor), own.unit(theirs.high * factor)) if end is not None]
    low, high = min(ends, default=0.0), max(ends, default=0.0)
    if low == high:
        return 0.0
    return max(0.0, min(1.0, high) - max(0.0, low)) / (max(1.0, high) - min(0.0, low))


def _hints(name: str, space: Space, theirs: Space, known: Mapping[str, _Link]) -> list[str]:
    """Return what looks as if it were the same parameter by another name, or in another unit."""
    notes = []
    for own, dimension in space.items():
        if own not in known:
            likely = next((other for other in theirs if other not in space and _sounds_alike(own, other)), None)
            if likely is not None:
                notes.append(f"{name!r} has {likely!r}, perhaps what is {own!r} here; {_say_renamed(own, likely)}")
            continue
        link = known[own]
        other = theirs[link.name]
        if link.factor == 1.0 and not isinstance(other, Choice) and not isinstance(dimension, Choice):
            factor = _unit_change(dimension, other)
            if factor is not None:
                notes.append(
                    f"{own} of {name!r} lies in another range, perhaps in another unit; "
                    f"{_say_renamed(own, f'{link.name} * {factor:g}')}"
                )
    return notes


def _say_renamed(own: str, other: str) -> str:
    """Return how to say it, in Python and on the command line."""
    return f"say renamed={{{own!r}: {other!r}}}, or --rename {quote(f'{other}={own}')}, to learn from it"


def _sounds_alike(own: str, other: str) -> bool:
    return words(own).casefold().replace(" ", "") == words(other).casefold().replace(" ", "")


def _unit_change(own: Float | Int, theirs: Float | Int) -> float | None:
    """Return the factor that would bring a range elsewhere into this one, None where the ranges meet as they are."""
    if _common(own, theirs, 1.0) > 0.0 or theirs.high <= 0:
        return None
    fitting = [factor for factor in FACTORS if _common(own, theirs, factor) > 0.5]
    return max(fitting, key=lambda factor: _common(own, theirs, factor)) if fitting else None

"""What pictures of an experiment are drawn from: columns of all its runs, the best so far, groups along a parameter.

Pure: the caller reads the columns (``RunStore.columns``) and draws. Leaves out models: what is here was measured.

Invariant: a value that is not finite is never ranked and never averaged, but counted; and of more runs than can be
drawn the best ones, and those that were the best once, always stay.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from enum import IntEnum
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from advisor.suggest.infer import LOG_RATIO
from advisor.suggest.problem import Problem
from storage.query import Names, spelled
from storage.records import Experiment, RunState

FIELDS: Final = ("id", "number", "state", "objective", "ranks")
"""Columns that are always read."""
MAX_AXES: Final = 30
"""Parameters that are looked at; those of the space first."""
MAX_LABELS: Final = 12
"""Values of a parameter that is chosen among words; with more it tells runs apart rather than settings."""
KEPT_BEST: Final = 200
"""Best runs that are always drawn."""
N_GROUPS: Final = 5
"""Groups of equal numbers of runs along a parameter that is a number."""

Floats = NDArray[np.float64]


class Fate(IntEnum):
    """What became of a run, as far as a picture tells it."""

    RANKED = 0
    """Finished with finite values, and keeps all constraints."""
    PRUNED = 1
    """Stopped early on purpose."""
    BREAKS = 2
    """Finished with finite values, and is not known to keep all constraints."""
    DIVERGED = 3
    """Ended by itself without a finite value."""
    FAILED = 4
    """Failed or crashed."""
    OPEN = 5
    """Waits, or goes on."""


_FATES: Final = {
    RunState.PRUNED: Fate.PRUNED,
    RunState.FAILED: Fate.FAILED,
    RunState.CRASHED: Fate.FAILED,
    RunState.WAITING: Fate.OPEN,
    RunState.RUNNING: Fate.OPEN,
}


@dataclass(frozen=True, slots=True)
class Axis:
    """One parameter of all runs."""

    name: str
    _: KW_ONLY
    values: Floats
    """Of shape (n,): the value, or the place of its label; NaN where a run has none."""
    labels: tuple[str, ...] = ()
    """The words, where it is chosen among words."""
    log: bool = False
    """Whether ratios matter rather than differences."""
    whole: bool = False
    """Whether all values are whole numbers."""


@dataclass(frozen=True, slots=True)
class Group:
    """Runs with like values of a parameter."""

    label: str
    """A word; empty for numbers."""
    _: KW_ONLY
    low: float
    high: float
    n_runs: int
    """That ended, whether they rank or not."""
    n_ranked: int
    median: float | None
    """Of the objective over those that rank; None where none does."""
    best: float | None
    n_wrong: int
    """Failed, crashed or diverged."""


@dataclass(frozen=True, slots=True)
class Landscape:
    """All runs of an experiment as columns of the same length n, in the order of their numbers."""

    metric: str | None
    _: KW_ONLY
    maximize: bool
    ids: NDArray[np.object_]
    numbers: NDArray[np.int64]
    objective: Floats
    """NaN where there is none."""
    fates: NDArray[np.int8]
    axes: tuple[Axis, ...]
    left_out: tuple[str, ...] = ()
    """Parameters that are not looked at: the same everywhere, or of too many words."""

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def ranked(self) -> NDArray[np.int64]:
        """Positions of the runs that may be called better than others, in the order of their numbers."""
        return np.flatnonzero(self.fates == Fate.RANKED)

    @property
    def losses(self) -> Floats:
        """The objective such that smaller is better."""
        return -self.objective if self.maximize else self.objective

    def steps(self) -> NDArray[np.int64]:
        """Return the positions of the runs that were better than every one before them."""
        ranked = self.ranked
        if not ranked.size:
            return ranked
        losses = self.losses[ranked]
        before = np.concatenate([[np.inf], np.minimum.accumulate(losses)[:-1]])
        return ranked[losses < before]

    def best(self, n: int) -> NDArray[np.int64]:
        """Return the positions of the best runs, the best first."""
        ranked = self.ranked
        return ranked[np.argsort(self.losses[ranked], kind="stable")[:n]]

    def drawn(self, n_most: int) -> NDArray[np.int64]:
        """Return the positions of the runs to draw: all, or the best, those once best, and evenly many of the rest."""
        if len(self) <= n_most:
            return np.arange(len(self))
        kept = np.union1d(self.best(min(KEPT_BEST, n_most // 2)), self.steps()[-n_most // 4 :])
        rest = np.setdiff1d(np.arange(len(self)), kept, assume_unique=True)
        even = rest[np.linspace(0, rest.size - 1, n_most - kept.size).astype(np.int64)]
        return np.union1d(kept, even)

    def axis(self, name: str) -> Axis | None:
        """Return an axis by its name."""
        return next((axis for axis in self.axes if axis.name == name), None)

    def groups(self, axis: Axis) -> list[Group]:
        """Return what the runs along a parameter came to, from its lowest value to its highest, or by word."""
        known = np.flatnonzero(np.isfinite(axis.values) & (self.fates != Fate.OPEN))
        if axis.labels:
            split = [known[axis.values[known] == place] for place in range(len(axis.labels))]
        else:
            ordered = known[np.argsort(axis.values[known], kind="stable")]
            split = _apart(ordered, axis.values[ordered])
        return [
            self._group(axis, at, axis.labels[place] if axis.labels else "")
            for place, at in enumerate(split)
            if at.size
        ]

    def _group(self, axis: Axis, at: NDArray[np.int64], label: str) -> Group:
        values = self.objective[at[self.fates[at] == Fate.RANKED]]
        best = None if not values.size else float(values.max() if self.maximize else values.min())
        return Group(
            label,
            low=float(axis.values[at].min()),
            high=float(axis.values[at].max()),
            n_runs=int(at.size),
            n_ranked=int(values.size),
            median=float(np.median(values)) if values.size else None,
            best=best,
            n_wrong=int(np.isin(self.fates[at], (Fate.DIVERGED, Fate.FAILED)).sum()),
        )

    def cells(self, across: Axis, down: Axis) -> list[list[Group | None]]:
        """Return what the runs came to for groups of one parameter (columns) by groups of another (rows)."""
        columns, rows = self.groups(across), self.groups(down)
        ended = self.fates != Fate.OPEN
        out: list[list[Group | None]] = []
        for row in rows:
            inside = ended & (down.values >= row.low) & (down.values <= row.high)
            line: list[Group | None] = []
            for column in columns:
                at = np.flatnonzero(inside & (across.values >= column.low) & (across.values <= column.high))
                line.append(self._group(across, at, column.label) if at.size else None)
            out.append(line)
        return out


def wanted(record: Experiment, names: Names) -> list[str]:
    """Return the columns to read for ``landscape``, as ``RunStore.columns`` takes them."""
    params = [spelled("params", name) for name in parameters(record, names)]
    return [*FIELDS, *params, *constraint_columns(record, names)]


def constraint_columns(record: Experiment, names: Names) -> list[str]:
    """Return the columns that tell whether a run keeps the constraints."""
    metrics = dict.fromkeys(each.metric for each in Problem.of(record.problem).constraints)
    return [spelled("metrics", metric) for metric in metrics if metric in names.metrics]


def kept(record: Experiment, columns: Mapping[str, NDArray[Any]], n: int) -> NDArray[np.bool_]:
    """Return which of n runs are known to keep all constraints."""
    out = np.ones(n, dtype=bool)
    for each in Problem.of(record.problem).constraints:
        column = columns.get(spelled("metrics", each.metric))
        if column is None or column.dtype == object:
            return np.zeros(n, dtype=bool)
        out &= np.array([each.violation(value) <= 0 for value in column.tolist()], dtype=bool)
    return out


def parameters(record: Experiment, names: Names) -> list[str]:
    """Return the parameters that are looked at: those of the declared space first, then those that runs have."""
    declared = [name for name in record.space or () if name in names.params]
    return [*declared, *sorted(names.params - set(declared))][:MAX_AXES]


def landscape(record: Experiment, names: Names, columns: Mapping[str, NDArray[Any]]) -> Landscape:
    """Return columns as pictures need them.

    Parameters
    ----------
    columns
        What ``RunStore.columns`` gave for ``wanted``.
    """
    axes, left_out = [], []
    for name in parameters(record, names):
        declared = (record.space or {}).get(name, {})
        axis = _axis(name, columns[spelled("params", name)], declared)
        if axis is None:
            left_out.append(name)
        else:
            axes.append(axis)
    objective = record.objective
    ranks = columns["ranks"] == 1
    finite = np.isfinite(columns["objective"])
    fates = [_FATES.get(RunState(state), Fate.DIVERGED) for state in columns["state"]]
    fate = np.where(ranks & finite, int(Fate.RANKED), np.array(fates, dtype=np.int8)).astype(np.int8)
    fate[(fate == Fate.RANKED) & ~kept(record, columns, len(fate))] = Fate.BREAKS
    return Landscape(
        None if objective is None else objective.metric,
        maximize=objective is not None and objective.direction == "maximize",
        ids=columns["id"],
        numbers=columns["number"].astype(np.int64),
        objective=np.asarray(columns["objective"], dtype=np.float64),
        fates=fate,
        axes=tuple(axes),
        left_out=tuple(left_out),
    )


def _axis(name: str, column: NDArray[Any], declared: Mapping[str, Any]) -> Axis | None:
    """Return one parameter, None where it tells nothing: one value everywhere, or too many words."""
    is_choice = declared.get("type") == "choice" or "choices" in declared
    if column.dtype == object or is_choice:
        texts = [None if value is None else _label(value) for value in _present(column)]
        labels = sorted({text for text in texts if text is not None}, key=_natural)
        if not 1 < len(labels) <= MAX_LABELS:
            return None
        place = {label: float(at) for at, label in enumerate(labels)}
        return Axis(name, values=np.array([math.nan if t is None else place[t] for t in texts]), labels=tuple(labels))
    values = np.asarray(column, dtype=np.float64)
    finite = values[np.isfinite(values)]
    if not finite.size or finite.min() == finite.max():
        return None
    low, high = float(finite.min()), float(finite.max())
    log = bool(declared["log"]) if "log" in declared else low > 0 and high / low >= LOG_RATIO
    return Axis(name, values=values, log=log and low > 0, whole=bool(np.all(finite == np.floor(finite))))


def _present(column: NDArray[Any]) -> Iterable[Any]:
    return column if column.dtype == object else (None if math.isnan(value) else value for value in column.tolist())


def _label(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _natural(label: str) -> tuple[float, str]:
    """Order labels that are numbers by size, before words."""
    try:
        return float(label), ""
    except ValueError:
        return math.inf, label


def _apart(ordered: NDArray[np.int64], values: Floats) -> list[NDArray[np.int64]]:
    """Cut positions into groups of about equal size; equal values stay together."""
    if np.unique(values).size <= N_GROUPS:
        return [ordered[values == value] for value in np.unique(values)]
    edges = np.unique(np.quantile(values, np.linspace(0, 1, N_GROUPS + 1)[1:-1]))
    return [part for part in _split(ordered, np.searchsorted(edges, values, side="right")) if part.size]


def _split(ordered: NDArray[np.int64], group: NDArray[np.int64]) -> Sequence[NDArray[np.int64]]:
    return [ordered[group == each] for each in np.unique(group)]

"""What the columns of a table mean: stated by a person, or guessed from their names and first values.

A table has **one row a step** where a column names steps (``step``, ``epoch`` …), unless a column names another run in
each row. It has **one row a run** where no column names steps and something tells rows apart as runs: a column of names
of runs that hardly repeat, a column of a parameter (``config/…``, ``param…``, ``lr`` …), or a column of text. Anything
else is refused with the columns to state.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from advisor.errors import SourceError
from advisor.sources.table_cells import is_absent, is_number_column, is_text, numbers, seconds
from advisor.sources.table_files import Chunk

STEPS: Final = (
    "global_step",
    "trainer/global_step",
    "step",
    "steps",
    "_step",
    "iteration",
    "iterations",
    "iter",
    "timesteps",
    "total_timesteps",
    "time/total_timesteps",
    "num_timesteps",
    "update",
    "epoch",
    "epochs",
    "round",
    "generation",
    "episode",
)
"""Names of columns of steps, most telling first; upper and lower case are the same."""
INDEXES: Final = ("index", "unnamed: 0")
"""Columns that data frames are written with: steps where nothing else is, and never a metric."""
SPLITS: Final = ("split", "phase", "mode", "subset", "stage")
"""Columns that say which data a row is about, if they hold only ``SPLIT_WORDS``, which then begins its metrics."""
SPLIT_WORDS: Final = frozenset("train training fit val valid validation eval evaluation dev test holdout".split())
METRIC_NAMES: Final = ("metric", "metric_name", "tag", "key", "variable", "name")
METRIC_VALUES: Final = ("value", "metric_value")
"""Columns of tables with one value a row."""
TIMES: Final = (
    "timestamp",
    "_timestamp",
    "wall_time",
    "wall time",
    "walltime",
    "datetime",
    "date",
    "created_at",
    "time",
    "time_s",
    "elapsed",
    "time/time_elapsed",
    "_runtime",
    "wall",
)
RUNS: Final = ("run_id", "run", "run_name", "trial_id", "trial", "experiment_id", "job_id", "name", "exp", "id")
SEED: Final = "seed"
STATES: Final = ("state", "status")
PARAMETER_PREFIXES: Final = tuple(
    f"{word}{mark}" for word in ("config", "param", "params", "hparam", "hparams", "hp", "args", "cfg") for mark in "/."
)
LOOSE_PREFIXES: Final = ("param", "hparam")
"""As in ``param_lr``; ``param_norm`` changes from row to row and is a metric."""
PARAMETER_NAMES: Final = re.compile(
    r"(?:.*[._/])?(?:lr|learning_?rate|batch_?size|weight_?decay|wd|dropout|momentum|optimi[sz]er|hidden(?:_?size|_?dim)?"
    r"|n_?layers|num_?layers|layers|depth|width|warmup(?:_?steps)?|beta_?[12]|eps(?:ilon)?|gamma|temperature|max_?epochs"
    r"|epochs|seed|n_?heads|num_?heads|label_?smoothing|grad_?clip)",
    re.IGNORECASE,
)
"""Columns of a results table that say what was tried, not what came of it."""
ROLES: Final = ("step", "time", "run", "param", "metric", "ignore")
STATE_ROLES: Final = "state what a column is with --column NAME=ROLE, where ROLE is " + ", ".join(ROLES)


ROWS_A_RUN: Final = 3
"""In a table of results, rows that a name of a run may have on average: a run that was repeated. With more of them, the
rows of a run are most likely its steps."""


NAMES_SAID: Final = 6
"""Columns that are named in a sentence."""


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name[:40]) for name in names[:NAMES_SAID])
    return shown if len(names) <= NAMES_SAID else f"{shown} and {len(names) - NAMES_SAID} more"


@dataclass(frozen=True, slots=True)
class Roles:
    """What the columns of one table are."""

    step: str | None
    """None where rows are counted."""
    time: str | None
    runs: tuple[str, ...]
    """Columns that together tell runs apart; none where the table is one run."""
    params: frozenset[str] = frozenset()
    metrics: frozenset[str] = frozenset()
    """Stated ones, which are metrics whatever their names."""
    ignored: frozenset[str] = frozenset()
    is_row_a_run: bool = False
    names: tuple[str, ...] = field(default=(), compare=False)
    split: str | None = None
    """The column that says which data a row is about."""
    value: tuple[str, str] | None = None
    """In a table with one value a row, the columns of its metric's name and of the value."""
    epochs: tuple[str, int, int] | None = None
    """Where steps count anew each epoch: the column of epochs, the first one, and how many steps one has."""
    has_params: bool = True
    """False where all columns but the steps are metrics, whatever their names."""
    said: Mapping[str, str] = field(default_factory=dict)
    """Of a form that is known: columns that are neither parameters nor metrics → what they say of the run."""
    is_export: bool = False
    """Whether ``advisor export`` wrote the table."""

    def in_words(self, params: Sequence[str], metrics: Sequence[str]) -> str:
        """Return what the columns were taken for, in one line, given the parameters and metrics that came of them."""
        counted = "each row is a run" if self.is_row_a_run else "rows are counted as steps"
        parts = [counted if self.step is None else f"steps are in {self.step!r}"]
        if self.runs:
            parts.append(f"runs are told apart by {_some(self.runs)}")
        parts.append(f"parameters are {_some(params)}" if params else "no column is a parameter")
        if self.value is not None:
            parts.append(f"metrics are named in {self.value[0]!r}")
        else:
            parts.append(f"metrics are {_some(metrics)}" if metrics else "no column is a metric yet")
        return "; ".join(parts)

    def is_plain(self, name: str) -> bool:
        """Return whether a column may hold a metric or a parameter, and has no other meaning."""
        return name not in (self.step, self.time, self.split, *self.runs, *self.ignored, *self.said)

    def is_param(self, name: str) -> bool:
        """Return whether a column holds a parameter, by what was stated or by its name."""
        if name in self.metrics or name in self.said or not self.has_params:
            return False
        return name in self.params or name.lower().startswith(PARAMETER_PREFIXES)


def roles_of(head: Chunk, stated: Mapping[str, str]) -> Roles:
    """Return what the columns are.

    Raises
    ------
    SourceError
        If that cannot be told, with the columns to state.
    """
    names = tuple(head.columns)
    known = _stated(names, stated)
    if not known:
        _refuse_text(head)
    free = [name for name in names if name not in known]
    step = next((name for name in names if known.get(name) == "step"), None) or _first(free, STEPS, head, _is_step)
    time = next((name for name in names if known.get(name) == "time"), None)
    time = time or _first([name for name in free if name != step], TIMES, head, _is_time)
    free = [name for name in free if name not in (step, time)]
    split = None if step is None else _first(free, SPLITS, head, _is_split)
    value = _long(free, head, METRIC_NAMES if step is not None else METRIC_NAMES[:2])
    runs = tuple(name for name in names if known.get(name) == "run")
    is_stated = bool(runs)
    if not runs:
        named = _first([name for name in free if name != split and name not in (value or ())], RUNS, head, _is_run)
        runs = (named,) if named else ()
    loose = {
        name for name in free if name.lower().startswith(LOOSE_PREFIXES) and (step is None or _is_constant(head, name))
    }
    roles = Roles(
        step,
        time,
        runs,
        params=frozenset(name for name, role in known.items() if role == "param") | loose,
        metrics=frozenset(name for name, role in known.items() if role == "metric"),
        ignored=frozenset(name for name, role in known.items() if role == "ignore")
        | {name for name in free if name.lower() in INDEXES},
        names=names,
        split=split,
        value=value,
        epochs=_epochs(step, split, free, head),
    )
    roles = _by_rows(roles, head, is_stated=is_stated, is_step_stated="step" in known.values())
    if not known:
        _refuse_empty(roles, head)
    return roles


def _refuse_text(head: Chunk) -> None:
    """Refuse a file that only looks like a table: any text has lines, and so one column."""
    names = tuple(head.columns)
    if len(names) == 1:
        raise SourceError(
            f"has one column only ({names[0][:60]!r}), so it is no table of runs, or its columns are separated by "
            f"something else than a comma, tab, semicolon or |; {STATE_ROLES}"
        )


def _refuse_empty(roles: Roles, head: Chunk) -> None:
    """Refuse a table of which nothing would become a curve."""
    no_values = {roles.step, roles.time, roles.split, *roles.runs, *roles.ignored}
    rest = [cells for name, cells in head.columns.items() if name not in no_values]
    # A run that has just begun may have written nothing but steps.
    if (
        head.n_rows
        and not any(is_number_column(cells) for cells in rest)
        and (roles.is_row_a_run or not rest or any(map(is_text, rest)))
    ):
        raise SourceError(f"has no column of numbers to be curves (it has {_listed(roles.names)}); {STATE_ROLES}")


def _by_rows(roles: Roles, head: Chunk, *, is_stated: bool, is_step_stated: bool) -> Roles:
    """Decide between one row a step and one row a run."""
    if roles.step is None and roles.value is not None:
        rest = set(roles.names) - {*roles.value, *roles.runs, *roles.ignored, *roles.params, roles.time}
        if not roles.runs and rest:
            raise SourceError(
                f"has one value a row (of the metric in {roles.value[0]!r}) and no column of steps or of runs that is "
                f"known (it has {_listed(roles.names)}); {STATE_ROLES}"
            )
        return roles
    labels = [label for label in labels_of(head, roles.runs) if label]
    if roles.step is not None:
        steps, _ = numbers(head.columns[roles.step])
        is_named = len(labels) == head.n_rows and head.n_rows > 1 and not is_step_stated
        is_table = is_named and roles.value is None and not _goes_on(labels, steps) and not _is_counting(steps)
        seeds = _named(roles.names, (SEED,))
        if is_table:
            return replace(roles, step=None, is_row_a_run=True, split=None, value=None)
        if not roles.runs and seeds and seeds not in roles.metrics | roles.ignored | roles.params:
            return replace(roles, runs=(seeds,))  # several runs only where it varies
        return roles
    if labels and not is_step_stated and head.n_rows <= ROWS_A_RUN * len(set(labels)):
        return replace(roles, is_row_a_run=True)
    if is_stated:
        return roles
    taken = (roles.time, *roles.ignored)
    texts = [name for name in roles.names if name not in taken and is_text(head.columns[name])]
    tells = texts or [name for name in roles.names if roles.is_param(name) or PARAMETER_NAMES.fullmatch(name)]
    if tells and not roles.runs:
        return replace(roles, is_row_a_run=True)
    index = _first(roles.names, INDEXES, head, lambda cells: _is_counting(numbers(cells)[0]))
    if index is not None and not roles.runs:
        return replace(roles, step=index)
    raise SourceError(
        f"has no column of steps that is known (it has {_listed(roles.names)}), and nothing says that each row is "
        f"a run; {STATE_ROLES}"
    )


def _stated(names: Sequence[str], stated: Mapping[str, str]) -> dict[str, str]:
    wrong = [role for role in stated.values() if role not in ROLES]
    if wrong:
        raise SourceError(f"cannot be read with the role {wrong[0]!r}; allowed are {', '.join(ROLES)}")
    known = {name: role for name, role in stated.items() if name in names}
    missing = [name for name in stated if name not in names]
    if missing and not known:
        raise SourceError(f"has no column {missing[0]!r}; it has {_listed(names)}")
    return known


def with_stated(roles: Roles, stated: Mapping[str, str]) -> Roles:
    """Return the roles of a form that is known, with what a person stated of further columns.

    Raises
    ------
    SourceError
        If there is no such role, or none of the columns.
    """
    known = _stated(roles.names, stated)
    by_role = {role: frozenset(name for name in known if known[name] == role) for role in ROLES}
    return replace(
        roles,
        params=by_role["param"],
        metrics=by_role["metric"],
        ignored=by_role["ignore"],
        runs=tuple(name for name in roles.names if name in by_role["run"]) or roles.runs,
        said={name: what for name, what in roles.said.items() if name not in known},
    )


def _listed(names: Sequence[str], most: int = 8) -> str:
    return ", ".join(name[:40] for name in names[:most]) + (
        f" and {len(names) - most} more" if len(names) > most else ""
    )


def _named(names: Sequence[str], wanted: Sequence[str]) -> str | None:
    by_lower = {name.lower(): name for name in reversed(names)}
    return next((by_lower[name] for name in wanted if name in by_lower), None)


def _first(names: Sequence[str], wanted: Sequence[str], head: Chunk, fits: Any) -> str | None:
    by_lower = {name.lower(): name for name in reversed(names)}
    return next((by_lower[w] for w in wanted if w in by_lower and fits(head.columns[by_lower[w]])), None)


def _is_step(cells: Sequence[Any]) -> bool:
    values, there = numbers(cells)
    some = values[there]
    return bool(some.size) and bool(np.isfinite(some).all()) and bool((some == np.floor(some)).all())


def _is_time(cells: Sequence[Any]) -> bool:
    return seconds(cells) is not None


def _is_run(cells: Sequence[Any]) -> bool:
    return any(not is_absent(cell) for cell in cells) and not any(isinstance(cell, float) for cell in cells)


def _goes_on(labels: Sequence[str], steps: NDArray[np.float64]) -> bool:
    """Return whether steps go up within any run; elsewise the column says how many steps each run had."""
    last: dict[str, float] = {}
    for label, step in zip(labels, steps.tolist(), strict=True):
        if step > last.get(label, math.inf):
            return True
        last[label] = step
    return False


def _is_constant(head: Chunk, name: str) -> bool:
    return len({str(cell) for cell in head.columns[name] if not is_absent(cell)}) <= 1


def _is_split(cells: Sequence[Any]) -> bool:
    some = {str(cell).strip().lower() for cell in cells if not is_absent(cell)}
    return bool(some) and some <= SPLIT_WORDS


def _epochs(step: str | None, split: str | None, free: Sequence[str], head: Chunk) -> tuple[str, int, int] | None:
    """Return how steps that count anew each epoch are counted on, as in the logs of MMDetection 2."""
    epoch = _named(free, ("epoch",))
    if step is None or step.lower() not in ("iter", "iteration") or epoch is None:
        return None
    steps, there = numbers(head.columns[step])
    epochs, has_epoch = numbers(head.columns[epoch])
    rows = there & has_epoch & np.isfinite(steps) & np.isfinite(epochs)
    if split is not None:
        rows &= np.array([is_training(cell) for cell in head.columns[split]], dtype=bool)
    steps, epochs = steps[rows], epochs[rows]
    if not ((np.diff(steps) < 0) & (np.diff(epochs) > 0)).any():
        return None
    return epoch, int(epochs[0]), int(steps[epochs == epochs[0]].max())


def is_training(cell: Any) -> bool:
    """Return whether a row is about the data that is trained on."""
    return str(cell).strip().lower() in ("train", "training", "fit")


def _long(free: Sequence[str], head: Chunk, wanted: Sequence[str]) -> tuple[str, str] | None:
    """Return the columns of a metric's name and value, where a table has one value a row."""
    name, value = _named(free, wanted), _named(free, METRIC_VALUES)
    if name is None or value is None or not is_text(head.columns[name]) or is_text(head.columns[value]):
        return None
    return name, value


def _is_counting(steps: NDArray[np.float64]) -> bool:
    """Return whether steps go up row by row: then a column that never repeats is a label of rows, not of runs."""
    return steps.size > 2 and bool((np.diff(steps) > 0).all())


def labels_of(chunk: Chunk, columns: Sequence[str]) -> list[str]:
    """Return what run each row is of, empty where it does not say."""
    there = [name for name in columns if name in chunk.columns]
    if not there:
        return [""] * chunk.n_rows
    if len(there) == 1 and there[0].lower() != SEED:
        return ["" if is_absent(cell) else str(cell).strip() for cell in chunk.columns[there[0]]]
    rows = zip(*(chunk.columns[name] for name in there), strict=True)
    return [" ".join(f"{n}={c}" for n, c in zip(there, row, strict=True) if not is_absent(c)) for row in rows]

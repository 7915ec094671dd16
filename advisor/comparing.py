"""Runs beside each other: in which parameters, metrics, code, environment and data they differ.

For up to ``MAX_RUNS`` runs, of different experiments too; every difference is that of a run against the baseline, with
its sign. Leaves out wording and layout (``advisor.web``), and the written comparison of two (``advisor.documents``).
Invariant: a run is called the best only among runs of one objective, and only if its experiment ranks it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any, Final

from advisor.errors import ConfigError
from advisor.findings.roles import role_of
from advisor.references import find_run
from storage.curves import is_of_machine
from storage.errors import RunNotFoundError
from storage.records import Direction, Experiment, Objective, Run
from storage.store import RunStore

MAX_RUNS: Final = 100
"""Runs that are compared at once: as many curves as can be told apart in a picture, and more."""
_APART: Final = frozenset({"git", "pid", "absent", "gpus"})
"""Parts of what was captured that are no part of the environment: told as code, or different in every run."""
_FINGERPRINTS: Final = ("sha256", "fingerprint", "hash", "digest")


@dataclass(frozen=True, slots=True)
class Cell:
    """What one run has."""

    value: Any = None
    _: KW_ONLY
    is_recorded: bool = True
    delta: float | None = None
    """Difference against the baseline; None where there is none, or where one of the two is no finite number."""
    is_better: bool | None = None
    """Whether that is a change for the better; None where that is unknown, or nothing changed."""
    step: int | None = None
    """Where the value was reached."""
    last_finite: float | None = None
    """Of a run that ended in NaN or an infinity: what came before it."""
    is_final: bool = True
    """Whether the run is over."""


NOTHING: Final = Cell(is_recorded=False)
"""Of a run of which it was not recorded."""


@dataclass(frozen=True, slots=True)
class Row:
    """One thing, and what each run has of it."""

    name: str
    _: KW_ONLY
    cells: tuple[Cell, ...]
    """One a run, in the order of the runs."""
    of: str = ""
    """Which figure of a metric: ``last``, ``best``, or ``objective``, which its experiment makes of the curve."""
    direction: Direction | None = None
    """Which way is better; None where that is not known."""

    @property
    def differs(self) -> bool:
        """Whether the runs do not all have the same."""
        return len({_key(cell) for cell in self.cells}) > 1


@dataclass(frozen=True, slots=True)
class Comparison:
    """Some runs, and what they are held against."""

    runs: tuple[Run, ...]
    """In the order in which they were asked for, each once."""
    _: KW_ONLY
    base: Run
    """The baseline; one of them."""
    experiments: Mapping[str, Experiment]
    """Those of the runs, by name."""
    missing: tuple[str, ...] = ()
    """Of each reference that finds no run: why, and what may have been meant."""

    @property
    def objective(self) -> Objective | None:
        """The objective that all the experiments have in common; None where they differ or have none."""
        found = {experiment.objective for experiment in self.experiments.values()}
        return found.pop() if len(found) == 1 else None

    @property
    def best(self) -> Run | None:
        """The best of the runs; of equal ones the first. None where none can be ranked, or there is only one run."""
        objective = self.objective
        able = [run for run in self.runs if self.experiments[run.experiment].ranks(run)]
        if objective is None or not able or len(self.runs) < 2:
            return None
        return min(able, key=lambda run: _signed(run.objective, objective.direction))


def compare(store: RunStore, references: Sequence[str], *, base: str | None = None) -> Comparison:
    """Return the runs that are called so, ready to be compared.

    Parameters
    ----------
    references
        Ids, beginnings of ids, ``EXPERIMENT#NUMBER`` or names of runs. What finds no run is told in ``missing``.
    base
        The baseline, one of the runs; the first where None.

    Raises
    ------
    ConfigError
        If there are more than ``MAX_RUNS``.
    RunNotFoundError
        If none is found.
    """
    given = list(dict.fromkeys(reference.strip() for reference in references if reference.strip()))
    if len(given) > MAX_RUNS:
        raise ConfigError(f"{len(given)} runs are too many to compare at once; choose {MAX_RUNS} at most")
    found: dict[str, Run] = {}
    missing: list[str] = []
    for reference in given:
        try:
            run = find_run(store, reference)
        except RunNotFoundError as error:
            missing.append(str(error.args[0] if error.args else error))
        else:
            found.setdefault(run.id, run)
    if not found:
        raise RunNotFoundError(missing[0] if missing else "no run is given; name some to compare")
    runs = tuple(found.values())
    return Comparison(
        runs,
        base=_base(runs, base),
        experiments={name: store.experiment(name) for name in dict.fromkeys(run.experiment for run in runs)},
        missing=tuple(missing),
    )


def _base(runs: Sequence[Run], base: str | None) -> Run:
    fitting = [run for run in runs if base and (run.id.startswith(base) or f"{run.experiment}#{run.number}" == base)]
    return fitting[0] if fitting else runs[0]


# -- parameters


def parameters(compared: Comparison) -> tuple[list[Row], list[Row]]:
    """Return the parameters in which the runs differ, and those that all have in common, as they occur."""
    return _apart(_rows(compared, [run.params for run in compared.runs]))


def environment(compared: Comparison) -> tuple[list[Row], list[Row]]:
    """Return what differs in versions, machine, command and variables, and what does not, by name."""
    known = [dict(_flat(run.environment)) for run in compared.runs]
    return _apart(sorted(_rows(compared, known), key=lambda row: row.name))


def data(compared: Comparison) -> tuple[list[Row], list[Row]]:
    """Return the data sets whose fingerprints differ, and those that are the same, by name."""
    known = [{str(item.get("name", "data")): item for item in run.data} for run in compared.runs]
    return _apart(_rows(compared, known))


def _rows(compared: Comparison, known: Sequence[Mapping[str, Any]]) -> list[Row]:
    at = compared.runs.index(compared.base)
    rows = []
    for name in dict.fromkeys(name for one in known for name in one):
        held = known[at].get(name)
        cells = tuple(_cell(one[name], held) if name in one else NOTHING for one in known)
        rows.append(Row(name, cells=cells))
    return rows


def _apart(rows: Iterable[Row]) -> tuple[list[Row], list[Row]]:
    found = list(rows)
    return [row for row in found if row.differs], [row for row in found if not row.differs]


def _cell(value: Any, held: Any, *, direction: Direction | None = None, step: int | None = None) -> Cell:
    if not _is_finite(value) or not _is_finite(held) or value == held:
        return Cell(value, step=step)
    delta = float(value) - float(held)
    if not math.isfinite(delta):
        return Cell(value, step=step)
    better = None if direction is None else (delta < 0) == (direction == "minimize")
    return Cell(value, delta=delta, is_better=better, step=step)


def _is_finite(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an int beyond any float
        return False


def _key(cell: Cell) -> str:
    """Return what makes two values the same: 1 and 1.0 are, 1 and "1" are not."""
    value = cell.value
    if not cell.is_recorded:
        return "absent"
    if isinstance(value, Mapping) and any(value.get(name) for name in _FINGERPRINTS):
        return "data:" + str(next(value[name] for name in _FINGERPRINTS if value.get(name)))
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return json.dumps(value, sort_keys=True, default=str)
    return repr(float(value)) if _is_finite(value) or isinstance(value, float) else repr(value)


def _flat(known: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in known.items():
        name = f"{above}{key}"
        if not above and key in _APART:
            continue
        if isinstance(value, Mapping) and len(above) < 80:
            yield from _flat(value, f"{name}.")
        elif isinstance(value, (list, tuple)):
            yield name, " ".join(map(str, value))
        elif value is not None:
            yield name, value


# -- metrics


def metrics(compared: Comparison) -> list[Row]:
    """Return the last value of each metric, and its best where it is known which way is better.

    The objective comes first, then what most runs have; what was measured of the machine is left out.
    """
    counts: dict[str, int] = {}
    for run in compared.runs:
        for name in {*run.metrics, *run.summary}:
            counts[name] = counts.get(name, 0) + 1
    objective = compared.objective
    first = {each.objective.metric for each in compared.experiments.values() if each.objective}
    names = [name for name in counts if not is_of_machine(name)]
    rows: list[Row] = []
    for name in sorted(names, key=lambda name: (name not in first, -counts[name], name)):
        direction = role_of(name, objective).direction
        rows.append(_metric(compared, name, "last", direction))
        if direction is not None:
            rows.append(_metric(compared, name, "best", direction))
    return rows


@dataclass(frozen=True, slots=True)
class Standing:
    """What a run is worth as people should read it."""

    value: float | None
    _: KW_ONLY
    last_finite: float | None = None
    """What came before, where the run ended in NaN or an infinity: no worth of the run."""
    is_final: bool = True
    """Whether the run is over."""


def standing(experiment: Experiment, run: Run, at: int = 0) -> Standing:
    """Return where a run stands by one of its experiment's objectives.

    Of a run that goes on that is what it has logged last; of one that ended in NaN or an infinity, this and not the
    finite value before it, by which its experiment does not rank it.
    """
    value = run.values[at] if at < len(run.values) else None
    if at >= len(experiment.objectives):
        return Standing(value)
    last = run.metrics.get(experiment.objectives[at].metric)
    if not run.state.is_over:
        return Standing(value, is_final=True) if value is not None else Standing(last, is_final=last is None)
    if last is not None and not math.isfinite(last):
        return Standing(last, last_finite=value if value is not None and math.isfinite(value) else None)
    return Standing(value)


def outcome(compared: Comparison) -> Row | None:
    """Return what the runs are worth: the value of the objective that they have in common, None where there is none."""
    objective = compared.objective
    if objective is None:
        return None
    held = standing(compared.experiments[compared.base.experiment], compared.base)
    cells = tuple(
        _outcome(standing(compared.experiments[run.experiment], run), held, objective) for run in compared.runs
    )
    return Row(objective.metric, cells=cells, of="objective", direction=objective.direction)


def _outcome(own: Standing, held: Standing, objective: Objective) -> Cell:
    """Return a run's worth; what is not final is no better and no worse than anything."""
    if own.value is None:
        return NOTHING
    if not own.is_final:
        return Cell(own.value, is_final=False)
    cell = _cell(own.value, held.value if held.is_final else None, direction=objective.direction)
    return replace(cell, last_finite=own.last_finite)


def _metric(compared: Comparison, name: str, of: str, direction: Direction | None) -> Row:
    figures = [_figure(run, name, of, direction) for run in compared.runs]
    held = figures[compared.runs.index(compared.base)]
    cells = tuple(
        NOTHING if one is None else _cell(one[0], None if held is None else held[0], direction=direction, step=one[1])
        for one in figures
    )
    return Row(name, cells=cells, of=of, direction=direction)


def _figure(run: Run, name: str, of: str, direction: Direction | None) -> tuple[float, int | None] | None:
    """Return a figure of a run's metric and the step at which it is, None where there is none."""
    summary = run.summary.get(name, {})
    end = {"minimize": "min", "maximize": "max"}.get(direction or "", "") if of == "best" else "last"
    value = summary.get(end)
    if value is None and of == "last":
        value = run.metrics.get(name)
    step = summary.get(f"{end}_step")
    if not isinstance(value, (int, float)):
        return None
    return float(value), step if isinstance(step, int) else None


def _signed(value: float | None, direction: Direction) -> float:
    if value is None or math.isnan(value):
        return math.inf
    return value if direction == "minimize" else -value

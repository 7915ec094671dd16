"""What Optuna keeps of studies and trials, put in our words; the same for its databases and its journals."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from advisor.errors import SourceError
from advisor.sources.port import Cursor, Piece, SourceExperiment, SourceRun
from advisor.sources.reading import flat, number, parse_json, plain, whole
from advisor.sources.values import seed_of
from storage.records import RunState

METRIC_NAMES: Final = "study:metric_names"
"""Optuna's own key for the names that ``Study.set_metric_names`` gives to the objectives."""
FIXED: Final = "fixed_params"
"""Optuna's own key for the parameters of a trial that waits."""
NOTE: Final = "dashboard:note_str:"
"""Key of a piece of a study's note, as Optuna Dashboard keeps it; a trial's has its number before ``note_str``."""
PASSED_OVER: Final = ("cma:", "dashboard:", "nsga2:", "nsga3:", "tpe:")
"""Beginnings of attributes in which samplers and the dashboard keep their own state."""
NOTE_PIECES: Final = 200
STATES: Final[Mapping[Any, RunState]] = {
    "RUNNING": RunState.RUNNING,
    "COMPLETE": RunState.FINISHED,
    "PRUNED": RunState.PRUNED,
    "FAIL": RunState.FAILED,
    "WAITING": RunState.WAITING,
    0: RunState.RUNNING,
    1: RunState.FINISHED,
    2: RunState.PRUNED,
    3: RunState.FAILED,
    4: RunState.WAITING,
}
"""By name, as databases write them, and by number, as journals do."""
DIRECTIONS: Final[Mapping[Any, str]] = {
    "MINIMIZE": "minimize",
    "MAXIMIZE": "maximize",
    1: "minimize",
    2: "maximize",
}
OLD_DISTRIBUTIONS: Final[Mapping[str, tuple[str, bool]]] = {
    "UniformDistribution": ("FloatDistribution", False),
    "LogUniformDistribution": ("FloatDistribution", True),
    "DiscreteUniformDistribution": ("FloatDistribution", False),
    "IntUniformDistribution": ("IntDistribution", False),
    "IntLogUniformDistribution": ("IntDistribution", True),
}
"""Distributions before release 3: today's name, and whether it is logarithmic."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """A study as Optuna keeps it."""

    id: int
    name: str
    directions: Sequence[Any] = ()
    user_attrs: Mapping[str, Any] = field(default_factory=dict)
    system_attrs: Mapping[str, Any] = field(default_factory=dict)

    @property
    def metrics(self) -> list[str]:
        """Names of the objectives: those that were set, else ``value``, or ``value_0``, ``value_1`` … of several."""
        n = len(self.directions)
        names = self.system_attrs.get(METRIC_NAMES)
        if isinstance(names, list) and len(names) == n and all(isinstance(name, str) for name in names):
            return list(names)
        return ["value"] if n == 1 else [f"value_{i}" for i in range(n)]

    @property
    def curve(self) -> str:
        """Name of the curve that intermediate values are.

        Optuna defines them as values of the objective on the way (``Trial.report``), so it is the objective's own: what
        reads the objective's curve (forecasts, pruning, findings) then works at once. Final values are kept apart.
        """
        return self.metrics[0] if len(self.directions) == 1 else "intermediate_value"

    def about(self) -> SourceExperiment:
        """Return what is said of the study beside its trials."""
        directions = [DIRECTIONS.get(d) if isinstance(d, (str, int)) else None for d in self.directions]
        known = [direction for direction in directions if direction is not None]
        return SourceExperiment(
            objectives=list(zip(self.metrics, known, strict=True)) if len(known) == len(directions) else (),
            description=_note(self.system_attrs, NOTE),
            attributes=_attributes(self.user_attrs),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A trial as Optuna keeps it."""

    number: int
    id: int
    """Among all trials of the storage."""
    state: Any
    """A key of ``STATES``."""
    values: Sequence[float] | None = None
    params: Mapping[str, tuple[Any, str]] = field(default_factory=dict)
    """By name: the value as Optuna stores it, and its distribution's JSON."""
    user_attrs: Mapping[str, Any] = field(default_factory=dict)
    system_attrs: Mapping[str, Any] = field(default_factory=dict)
    started: datetime | None = None
    ended: datetime | None = None
    active: datetime | None = None
    """Last sign of life."""


def source_run(
    trial: Trial, study: Study, about: SourceExperiment, path: str, read: Callable[[Cursor | None], Piece]
) -> SourceRun:
    """Return a trial in our words.

    Raises
    ------
    SourceError
        If its state is none of Optuna's.
    """
    state = STATES.get(trial.state) if isinstance(trial.state, (str, int)) else None
    if state is None:
        raise SourceError(f"trial {trial.number} has the state {plain(trial.state)!r}, which is none of Optuna's")
    params, distributions = _params(trial.params)
    if state is RunState.WAITING and isinstance(trial.system_attrs.get(FIXED), Mapping):
        params = {**flat(trial.system_attrs[FIXED]), **params}
    note = _note(study.system_attrs, f"dashboard:{trial.id}:note_str:")
    attributes = _attributes(trial.user_attrs)
    seed = seed_of(params)
    return SourceRun(
        key=f"{path}#{study.id}/{study.name}/{trial.number}",
        experiment=study.name,
        about=about,
        read=read,
        name=f"trial {trial.number}",
        state=state,
        active=(trial.active or trial.started) if state is RunState.RUNNING else None,
        params=params,
        notes=[note] if note else (),
        seed=seed if seed is not None else seed_of(attributes),
        started=trial.started,
        ended=trial.ended if state.is_over else None,
        values=trial.values if state in (RunState.FINISHED, RunState.PRUNED) else None,
        meta={"trial": trial.number, **_attributes(trial.system_attrs)},
        attributes=attributes,
        distributions=distributions,
    )


def external(stored: Any, distribution: str) -> tuple[Any, str]:
    """Return a parameter's value as the training saw it, and its distribution as releases from 3 on write it.

    Categorical parameters are stored as the place of the choice, whole numbers as floats.

    Raises
    ------
    SourceError
        If value and distribution do not fit.
    """
    found = parse_json(distribution) if isinstance(distribution, str) else None
    name = found.get("name") if isinstance(found, dict) else None
    about = found.get("attributes") if isinstance(found, dict) else None
    if not isinstance(name, str) or not isinstance(about, dict):
        raise SourceError("has a distribution that is none of Optuna's")
    if name == "CategoricalDistribution":
        choices, i = about.get("choices"), whole(stored)
        if not isinstance(choices, list) or i is None or not 0 <= i < len(choices):
            raise SourceError("is none of its choices")
        return plain(choices[i]), distribution
    if name in OLD_DISTRIBUTIONS:
        name, is_log = OLD_DISTRIBUTIONS[name]
        step = about.get("q", about.get("step"))
        about = {"step": step, "low": about.get("low"), "high": about.get("high"), "log": is_log}
        distribution = json.dumps({"name": name, "attributes": about})
    value = whole(stored) if name == "IntDistribution" else number(stored)
    if value is None or name not in ("IntDistribution", "FloatDistribution"):
        raise SourceError("is no number")
    return value, distribution


def json_values(rows: Iterable[tuple[Any, Any]]) -> dict[str, Any]:
    """Return attributes, names and JSON texts, as values; what is no JSON stays text."""
    out: dict[str, Any] = {}
    for name, text in rows:
        try:
            out[str(name)] = parse_json(text) if isinstance(text, (str, bytes)) else text
        except SourceError:
            out[str(name)] = plain(text)
    return out


def _params(stored: Mapping[str, tuple[Any, str]]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return values and distributions; a value that does not fit its distribution is kept as it is stored."""
    params, distributions = {}, {}
    for name, (value, distribution) in stored.items():
        try:
            params[name], distributions[name] = external(value, distribution)
        except SourceError:
            params[name] = plain(value)
    return params, distributions


def _attributes(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return flat({name: value for name, value in attributes.items() if not name.startswith((*PASSED_OVER, "study:"))})


def _note(attributes: Mapping[str, Any], beginning: str) -> str:
    pieces = [attributes.get(f"{beginning}{i}") for i in range(NOTE_PIECES)]
    return "".join(piece for piece in pieces if isinstance(piece, str))

"""Runs and experiments as Optuna sees them: trials and studies.

Imports Optuna as it loads; only ``optuna_storage`` loads it.

Invariant: a trial is complete in Optuna's view only if it has one value, not NaN, for each objective, and there is one.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    distribution_to_json,
    json_to_distribution,
)
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from storage.records import Curve, Event, Experiment, Objective, Run, RunState

METRIC_NAMES: Final = "study:metric_names"
"""Optuna's own key for the names that ``Study.set_metric_names`` gives to the objectives."""

TO_RUN_STATE: Final[Mapping[TrialState, RunState]] = {
    TrialState.WAITING: RunState.WAITING,
    TrialState.RUNNING: RunState.RUNNING,
    TrialState.COMPLETE: RunState.FINISHED,
    TrialState.PRUNED: RunState.PRUNED,
    TrialState.FAIL: RunState.FAILED,
}

_TO_TRIAL_STATE: Final[Mapping[RunState, TrialState]] = {
    RunState.WAITING: TrialState.WAITING,
    RunState.RUNNING: TrialState.RUNNING,
    RunState.FINISHED: TrialState.COMPLETE,
    RunState.PRUNED: TrialState.PRUNED,
    RunState.FAILED: TrialState.FAIL,
    RunState.CRASHED: TrialState.FAIL,
}


def default_metric_names(n: int) -> list[str]:
    """Return the names of objectives to which an Optuna program gave none."""
    return ["value"] if n == 1 else [f"value_{i}" for i in range(n)]


def directions_of(experiment: Experiment) -> list[StudyDirection]:
    """Return the direction of each objective; ``NOT_SET`` where the experiment has no objective yet."""
    return [StudyDirection[objective.direction.upper()] for objective in experiment.objectives] or [
        StudyDirection.NOT_SET
    ]


def objectives_json(names: list[str], directions: list[StudyDirection]) -> list[dict[str, str]]:
    """Return objectives as the journal keeps them."""
    return [
        {"metric": name, "direction": "maximize" if direction == StudyDirection.MAXIMIZE else "minimize"}
        for name, direction in zip(names, directions, strict=True)
    ]


def system_attrs_of(experiment: Experiment) -> dict[str, Any]:
    """Return a study's system attributes; objectives that have names of their own show as metric names."""
    attrs: dict[str, Any] = copy.deepcopy(dict(experiment.system_attrs))
    names = [objective.metric for objective in experiment.objectives]
    if names and names != default_metric_names(len(names)):
        attrs.setdefault(METRIC_NAMES, names)
    return attrs


def trial_body(template: FrozenTrial) -> dict[str, Any]:
    """Return the body of ``run.created`` for a trial that Optuna hands over."""
    body: dict[str, Any] = {
        "state": str(TO_RUN_STATE[template.state]),
        "params": dict(template.params),
        "distributions": {name: distribution_to_json(found) for name, found in template.distributions.items()},
        "source": "optuna",
        "user_attrs": dict(template.user_attrs),
        "system_attrs": dict(template.system_attrs),
        "reports": {str(step): value for step, value in template.intermediate_values.items()},
        "started": _iso(template.datetime_start),
        "ended": _iso(template.datetime_complete),
    }
    if template.state.is_finished():
        body["values"] = list(template.values or ())
    return body


def frozen_trial(
    run: Run, objectives: tuple[Objective, ...], distributions: Mapping[str, BaseDistribution], curve: Curve | None
) -> FrozenTrial:
    """Return a run as a trial; nothing in it is shared with the record.

    Parameters
    ----------
    distributions
        Of the run's parameters; a parameter without one is left out, since Optuna could not place it.
    curve
        The first objective's curve, for a run that was tracked; None takes what was reported through Optuna.
    """
    state = _TO_TRIAL_STATE[run.state]
    values: list[float] | None = list(run.values)
    if not objectives or len(run.values) != len(objectives) or any(math.isnan(value) for value in run.values):
        values = None
    if state is TrialState.COMPLETE and values is None:
        state = TrialState.FAIL
    if state not in (TrialState.COMPLETE, TrialState.PRUNED):
        values = None
    reports = dict(run.reports)
    if not reports and curve is not None:
        reports = dict(zip(curve.steps.tolist(), curve.values.tolist(), strict=True))
    return FrozenTrial(
        number=run.number,
        trial_id=run.ordinal,
        state=state,
        value=None,
        values=values,
        datetime_start=_local(run.started),
        datetime_complete=_local(run.ended),
        params={name: copy.deepcopy(run.params[name]) for name in run.params if name in distributions},
        distributions={name: distributions[name] for name in run.params if name in distributions},
        user_attrs=copy.deepcopy(dict(run.user_attrs)),
        system_attrs=copy.deepcopy(dict(run.system_attrs)),
        intermediate_values=reports,
    )


def with_changes(trial: FrozenTrial, changes: Iterable[Event]) -> FrozenTrial:
    """Return a copy of a trial as it is after some events of its run: parameters, reported values, attributes."""
    out = copy.copy(trial)
    params, distributions, reports = dict(trial.params), dict(trial.distributions), dict(trial.intermediate_values)
    attrs = {"user": dict(trial.user_attrs), "system": dict(trial.system_attrs)}
    for event in changes:
        body = event.body
        if event.kind == "run.param":
            params[body["name"]] = body["value"]
            distributions[body["name"]] = distribution_of(body["distribution"])
        elif event.kind == "run.reported":
            reports[int(body["step"])] = float(body["value"])
        else:
            attrs[body["scope"]][body["key"]] = copy.deepcopy(body["value"])
    out.params, out.distributions, out.intermediate_values = params, distributions, reports
    out.user_attrs, out.system_attrs = attrs["user"], attrs["system"]
    return out


def merged(changes: Iterable[Event]) -> list[Event]:
    """Return the same changes in fewer events: the values that a run reported as one.

    It names the last step and value as an event of one does, for readers that know no others, and has all of them in
    ``reports``.
    """
    out: list[Event] = []
    reported: dict[str, dict[str, float]] = {}
    last: dict[str, Event] = {}
    for event in changes:
        if event.kind == "run.reported":
            reported.setdefault(event.run_id, {})[str(event.body["step"])] = event.body["value"]
            last[event.run_id] = event
        else:
            out.append(event)
    for run_id, event in last.items():
        several = reported[run_id]
        out.append(event if len(several) == 1 else replace(event, body={**event.body, "reports": several}))
    return out


@lru_cache(maxsize=4_096)
def distribution_of(text: str) -> BaseDistribution:
    """Return the distribution that Optuna wrote as JSON; equal texts give one object, so do not change it."""
    return json_to_distribution(text)


def fits(distribution: BaseDistribution, value: Any) -> bool:
    """Whether Optuna can work with ``value`` under ``distribution``: a number out of range yes, a new choice no."""
    if isinstance(distribution, CategoricalDistribution):
        return any(choice == value for choice in distribution.choices)
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _iso(time: datetime | None) -> str | None:
    """Return Optuna's naive local time in UTC."""
    return None if time is None else time.astimezone(UTC).isoformat()


def _local(time: datetime | None) -> datetime | None:
    """Return a time as Optuna has it: local, without a zone."""
    return None if time is None else time.astimezone().replace(tzinfo=None)

"""A run that was trained elsewhere: what was told of it, checked, as one run of the store.

Leaves out runs that this process trains (``advisor.tracking``) and other tools' files (``advisor.sources``).
Invariants: what makes no sense is refused before anything is written; and a suggestion is followed by one run, so that
whoever tells a result twice, not knowing whether the first time came through, does not count it twice. Of several that
tell at the same moment the first in the journal's order is kept, because they all name the run by the suggestion.
"""

from __future__ import annotations

import hashlib
import itertools
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from datetime import datetime
from numbers import Real
from typing import Any, Final

import numpy as np

from advisor.asking import called, following
from advisor.errors import ConfigError, SpaceError
from advisor.notes import NOTE_MAX_CHARS
from advisor.redact import scrub
from advisor.suggest.space import Space
from advisor.tracking.run import as_values, ended_state
from advisor.tracking.values import plain
from storage.curves import summaries
from storage.errors import AlreadyThereError, NothingCalledSoError
from storage.records import Curve, CurveChunk, Event, Experiment, Run, RunState, new_id
from storage.store import RunStore

log = logging.getLogger(__name__)

SAME: Final = 1e-9
"""Relative distance up to which two values of a parameter are the same: JSON was written and read in between."""
SHORT_ID: Final = 8


@dataclass(frozen=True, slots=True)
class Told:
    """What was told of a run."""

    params: Mapping[str, Any] | None
    """None: those of the suggestion that it followed."""
    value: float | Sequence[float] | None
    _: KW_ONLY
    state: RunState | str
    seed: int | None
    suggestion_id: str | None
    notes: Sequence[str]
    error: str | None = None

    def record(
        self,
        store: RunStore,
        experiment: Experiment,
        metrics: Mapping[str, float],
        curves: Mapping[str, Curve | Sequence[float]],
        *,
        now: datetime,
    ) -> Run:
        """Write the run into the store and return it; errors are those of ``Experiment.tell``."""
        over = ended_state(self.state)
        error = self._error(over)
        suggestion_id, params = followed(store, experiment.name, self.suggestion_id, self.params)
        if experiment.space:
            space = Space.from_json(experiment.space)
            space.check({**space.active(params, fill=True), **params})  # a default stands for what is left out
        elif suggestion_id not in store.state().suggestions:  # what was suggested need not fit what is known today
            _check_declared(store, experiment.name, params)
        kept = curves_of(metrics, curves)
        values = self._values(experiment, over)
        _refuse_other_values(experiment, values, metrics)
        event = Event.new(
            "run.created",
            experiment.name,
            _run_id(store, experiment.name, suggestion_id),
            time=now,
            actor="tell",
            state=over,
            params=params,
            values=values,
            seed=self.seed,
            notes=[scrub(note) for note in self.notes],
            source="told",
            suggestion_id=suggestion_id,
            error=error,
            **({"summary": summaries(kept)} if kept else {}),
        )
        store.append([event])
        if event.id in store.state().refused and suggestion_id is not None:  # somebody else was faster
            raise _told_already(suggestion_id, store.run(event.run_id))
        if kept:
            store.append_curves([_chunk(event.run_id, curve) for curve in kept.values()])
        return store.run(event.run_id)

    def _error(self, over: RunState) -> str | None:
        if self.error is None or not self.error.strip():
            return None
        if over is RunState.FINISHED:
            raise ConfigError("a finished run has no error; give state='failed', or tell it as a note")
        return scrub(self.error.strip())[-NOTE_MAX_CHARS:]

    def _values(self, experiment: Experiment, over: RunState) -> list[float] | None:
        if self.value is None and over is RunState.FINISHED:
            raise ConfigError("a finished run needs a value; give one, or state='failed' if there is none")
        if not experiment.objectives:
            raise ConfigError(
                f"experiment {experiment.name!r} has no objective that a value could be of; set one with "
                f"'advisor experiment {experiment.name} --objective val_loss --direction minimize'"
            )
        values = as_values(self.value, refused=ConfigError)
        if values is None:
            return None
        if len(values) != len(experiment.objectives):
            raise ConfigError(
                f"{len(values)} values were given for {len(experiment.objectives)} objectives; give one for each"
            )
        return values


def _refuse_other_values(experiment: Experiment, values: list[float] | None, metrics: Mapping[str, float]) -> None:
    """Refuse a last value of an objective's metric that is not the value told: a run has one of them."""
    for objective, value in zip(experiment.objectives, values or (), strict=False):
        name = objective.metric
        if name in metrics and metrics[name] != value and not (math.isnan(metrics[name]) and math.isnan(value)):
            raise ConfigError(
                f"metric {name!r} = {metrics[name]:g} is an objective, and its value was told as {value:g}; "
                "tell it once, as the value"
            )


def _check_declared(store: RunStore, experiment: str, params: Mapping[str, Any]) -> None:
    """Hold parameters against what the Optuna programs of the runs declare; what is new altogether is said.

    Raises
    ------
    SpaceError
        If one is missing, outside its range, or without a meaning.
    """
    from advisor.suggest.told import check_told

    runs = list(store.state().runs_of(experiment))
    try:
        check_told(runs, params)
    except SpaceError as error:
        raise SpaceError(
            f"{error} (no space is declared, so this is what the Optuna programs of {experiment!r} say; "
            f"'advisor experiment {experiment} --space FILE' declares another)"
        ) from error
    if any(run.distributions for run in runs):
        known = {name for run in runs for name in run.params}
        for name in (name for name in params if name not in known):
            log.warning("no run of %r had a parameter %r before; it is kept", experiment, name)


def _run_id(store: RunStore, experiment: str, suggestion_id: str | None) -> str:
    """Return the id of a new run: one that follows a suggestion is called after it, so that there can be only one.

    Where runs that were called so have been deleted or moved, the suggestion may be followed anew.

    Raises
    ------
    AlreadyThereError
        If the run is there, however the clocks of who told it and of who tells it now differ.
    """
    state = store.state()
    if suggestion_id is None or suggestion_id not in state.suggestions:
        return new_id()
    for nth in itertools.count():
        run_id = _named_after(suggestion_id, nth)
        entry = state.entry(run_id)
        if entry is None:
            break
        if not entry.hidden and entry.run.experiment == experiment:
            raise _told_already(suggestion_id, store.run(run_id))
    return run_id


def _named_after(suggestion_id: str, nth: int) -> str:
    about = f"told {nth} of suggestion {suggestion_id}"
    return hashlib.blake2b(about.encode(), digest_size=16).hexdigest()


def followed(
    store: RunStore, experiment: str, suggestion_id: str | None, params: Mapping[str, Any] | None
) -> tuple[str | None, dict[str, Any]]:
    """Return the whole id of the suggestion that a run followed, and the run's parameters.

    Parameters
    ----------
    suggestion_id
        It, or its beginning. One that was never kept is taken as it is, where there are parameters.
    params
        What the run was trained with; None: what was suggested.

    Raises
    ------
    ConfigError
        If neither is given, or the parameters are others than those suggested.
    NothingCalledSoError
        If the experiment has no such suggestion.
    AlreadyThereError
        If a run followed it already.
    """
    if suggestion_id is None:
        if params is None:
            raise ConfigError("give params, or the suggestion_id that the run followed")
        return None, plain(params)
    made = store.state().suggestions
    whole = called(made, suggestion_id)
    if whole is None and params is not None:
        return suggestion_id, plain(params)
    body = made[whole] if whole is not None else {}
    if whole is None or body["experiment"] != experiment:
        where = "" if whole is None else f"; {suggestion_id[:80]!r} is for experiment {body['experiment'][:80]!r}"
        raise NothingCalledSoError(
            f"no suggestion of {experiment[:80]!r} begins with {suggestion_id[:80]!r}{where}; suggest_params and "
            "'advisor suggest' give their ids"
        )
    _refuse_twice(store, experiment, whole, body)
    suggested = dict(body["params"])
    return whole, suggested if params is None else _as_suggested(suggested, plain(params), whole)


def _refuse_twice(store: RunStore, experiment: str, suggestion_id: str, body: Mapping[str, Any]) -> None:
    for run in following(store, experiment, body["time"]):
        if run.suggestion_id == suggestion_id and run.state is not RunState.WAITING:
            raise _told_already(suggestion_id, run)


def _told_already(suggestion_id: str, run: Run) -> AlreadyThereError:
    came_to = str(run.state) if run.objective is None else f"{run.objective:.4g}"
    how = "told already as" if run.source == "told" else "followed already by"
    return AlreadyThereError(
        f"suggestion {suggestion_id[:SHORT_ID]} was {how} {run.experiment}#{run.number} ({came_to}); for another run, "
        "tell its params and no suggestion"
    )


def _as_suggested(suggested: Mapping[str, Any], params: dict[str, Any], suggestion_id: str) -> dict[str, Any]:
    """Return the parameters of a run; further ones than were suggested may be among them."""
    for name, value in suggested.items():
        if name not in params or not _is_same(params[name], value):
            was = f"{params[name]!r:.60}" if name in params else "left out"
            raise ConfigError(
                f"suggestion {suggestion_id[:SHORT_ID]} has {name[:80]} = {value!r:.60}, and in params it is {was}: "
                "leave params out if the run followed the suggestion, else leave suggestion_id out"
            )
    return params


def _is_same(a: Any, b: Any) -> bool:
    numbers = all(isinstance(each, Real) and not isinstance(each, bool) for each in (a, b))
    return math.isclose(a, b, rel_tol=SAME, abs_tol=0.0) if numbers else bool(a == b) and type(a) is type(b)


def curves_of(metrics: Mapping[str, float], curves: Mapping[str, Curve | Sequence[float]]) -> dict[str, Curve]:
    """Return what was told of metrics as curves; last values as curves of one point.

    Raises
    ------
    ConfigError
        If a metric was told twice, or is no number.
    """
    both = sorted(set(metrics) & set(curves))
    if both:
        raise ConfigError(f"metric {both[0]!r} was told twice, as a last value and as a curve; leave one out")
    kept = {name: Curve.of(name, [0], [_number(name, value)]) for name, value in metrics.items()}
    for name, told in curves.items():
        if isinstance(told, Curve):
            kept[name] = Curve.of(name, told.steps, told.values, told.times)
        else:
            kept[name] = Curve.of(name, range(len(told)), [_number(name, value) for value in told])
    return {name: curve for name, curve in kept.items() if len(curve)}


def _chunk(run_id: str, curve: Curve) -> CurveChunk:
    times = () if np.isnan(curve.times).all() else curve.times
    return CurveChunk(
        run_id, metric=curve.metric, chunk=0, through=len(curve), steps=curve.steps, values=curve.values, times=times
    )


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise ConfigError(f"metric {name!r} = {value!r:.60} is no number; give its last value, nan and inf included")
    return float(value)

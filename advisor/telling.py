"""A run that was trained elsewhere: what was told of it, checked, as one run of the store.

Leaves out runs that this process trains (``advisor.tracking``) and other tools' files (``advisor.sources``). Invariant:
what makes no sense is refused before anything is written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from datetime import datetime
from numbers import Real
from typing import Any

import numpy as np

from advisor.errors import ConfigError
from advisor.redact import scrub
from advisor.suggest.space import Space
from advisor.tracking.run import ended_state
from advisor.tracking.values import plain
from storage.curves import summaries
from storage.records import Curve, CurveChunk, Event, Experiment, Run, RunState, new_id
from storage.store import RunStore


@dataclass(frozen=True, slots=True)
class Told:
    """What was told of a run."""

    params: Mapping[str, Any]
    value: float | Sequence[float] | None
    _: KW_ONLY
    state: RunState | str
    seed: int | None
    suggestion_id: str | None
    notes: Sequence[str]

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
        params = plain(self.params)
        if experiment.space:
            Space.from_json(experiment.space).check(params)
        kept = curves_of(metrics, curves)
        event = Event.new(
            "run.created",
            experiment.name,
            new_id(),
            time=now,
            actor="tell",
            state=over,
            params=params,
            values=self._values(experiment, over),
            seed=self.seed,
            notes=[scrub(note) for note in self.notes],
            source="told",
            suggestion_id=self.suggestion_id,
            **({"summary": summaries(kept)} if kept else {}),
        )
        store.append([event])
        if kept:
            store.append_curves([_chunk(event.run_id, curve) for curve in kept.values()])
        return store.run(event.run_id)

    def _values(self, experiment: Experiment, over: RunState) -> list[float] | None:
        if self.value is None and over is RunState.FINISHED:
            raise ConfigError("a finished run needs a value; give one, or state='failed' if there is none")
        if not experiment.objectives:
            raise ConfigError(
                f"experiment {experiment.name!r} has no objective that a value could be of; set one with "
                f"'advisor experiment {experiment.name} --objective val_loss --direction minimize'"
            )
        if self.value is None:
            return None
        values = [float(each) for each in (self.value if isinstance(self.value, Sequence) else [self.value])]
        if len(values) != len(experiment.objectives):
            raise ConfigError(
                f"{len(values)} values were given for {len(experiment.objectives)} objectives; give one for each"
            )
        return values


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

"""How runs that go on are doing: the last step, the value so far, how long they have been silent.

A run's curve is read again only when something of it has come, and reading is given a small share of the time, so that
a run of a million points does not keep a page busy. Threads may share a ``Pulses``.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

import numpy as np

from advisor.findings.pace import stalled
from storage.curves import of_training
from storage.downsample import downsample
from storage.errors import CurveDamagedError
from storage.records import Curve, Experiment, Run
from storage.store import RunStore

POINTS: Final = 40
"""Of the curve beside a run: as many as a line of 8 em can show."""
READING_SHARE: Final = 0.2
"""Most of the time that reading curves of runs that go on may take."""


@dataclass(frozen=True, slots=True)
class Pulse:
    """A run that goes on, as it is now."""

    run: Run
    _: KW_ONLY
    n_calls: int = 0
    """Log calls that have reached the store."""
    metric: str | None = None
    """The objective, or what comes nearest to one; None where nothing has come."""
    step: int | None = None
    """The last one."""
    value: float | None = None
    """The last one, NaN and ±inf included."""
    best: float | None = None
    """The best finite one so far, by the objective's direction; None without an objective."""
    values: tuple[float, ...] = ()
    """The curve so far, few points."""
    heard: datetime | None = None
    """When it logged last."""
    silent_s: float | None = None
    """How long ago that is."""
    rhythm_s: float | None = None
    """Its usual long pause; None before it has a rhythm."""
    is_silent: bool = False
    """Whether it has been silent for much longer than its own rhythm."""
    is_behind: bool = False
    """Whether more has come than was read yet: ask again soon."""

    def as_json(self) -> dict[str, Any]:
        """Return the public JSON form."""
        names = ("n_calls", "metric", "step", "value", "best", "heard", "silent_s", "rhythm_s")
        about = {"run_id": self.run.id, "experiment": self.run.experiment, "number": self.run.number}
        return about | {name: getattr(self, name) for name in names} | {"silent": self.is_silent}


@dataclass(slots=True)
class _Kept:
    pulse: Pulse
    pauses: np.ndarray[Any, np.dtype[np.float64]] = field(default_factory=lambda: np.empty(0))


class Pulses:
    """Follows the runs of one store that go on."""

    def __init__(self, store: RunStore) -> None:
        self._store = store
        self._kept: dict[str, _Kept] = {}
        self._not_before = 0.0
        self._lock = threading.Lock()

    def of(self, runs: Sequence[Run], experiments: Mapping[str, Experiment], *, now: datetime) -> list[Pulse]:
        """Return how some runs are doing, in the same order."""
        with self._lock:
            n_calls = self._store.delivered_of([run.id for run in runs])
            self._kept = {run.id: self._kept.get(run.id, _Kept(Pulse(run))) for run in runs}
            behind = [run for run in runs if self._kept[run.id].pulse.n_calls != n_calls.get(run.id, 0)]
            begun = time.monotonic()
            if behind and begun >= self._not_before:
                self._read(behind, experiments, n_calls)
                ended = time.monotonic()
                self._not_before = ended + (ended - begun) * (1 / READING_SHARE - 1)
            return [_as_of_now(self._kept[run.id], run, n_calls.get(run.id, 0), now) for run in runs]

    def _read(self, runs: Sequence[Run], experiments: Mapping[str, Experiment], n_calls: Mapping[str, int]) -> None:
        wanted = {run.id: _objective(experiments.get(run.experiment)) for run in runs}
        metrics = sorted({metric for metric in wanted.values() if metric is not None})
        curves = self._curves([run_id for run_id, metric in wanted.items() if metric is not None], metrics)
        without = [
            run_id for run_id, metric in wanted.items() if metric is None or metric not in curves.get(run_id, {})
        ]
        curves |= self._curves(without, None)
        for run in runs:
            curve = _telling(curves.get(run.id, {}), wanted[run.id])
            self._kept[run.id] = _kept(run, curve, experiments.get(run.experiment), n_calls.get(run.id, 0))

    def _curves(self, run_ids: Sequence[str], metrics: Sequence[str] | None) -> dict[str, dict[str, Curve]]:
        if not run_ids:
            return {}
        try:
            found = self._store.curves(run_ids, metrics=metrics)
        except CurveDamagedError:  # 'store verify' says so
            return {}
        return {run_id: dict(of_training(own)) for run_id, own in found.items()}


def _objective(experiment: Experiment | None) -> str | None:
    return None if experiment is None or experiment.objective is None else experiment.objective.metric


def _telling(curves: Mapping[str, Curve], objective: str | None) -> Curve | None:
    """Return the curve that tells most of how a run is doing."""
    if objective is not None and objective in curves:
        return curves[objective]
    likely = sorted(curves, key=lambda name: ("loss" not in name.lower(), "val" not in name.lower(), name))
    return curves[likely[0]] if likely else None


def _kept(run: Run, curve: Curve | None, experiment: Experiment | None, n_calls: int) -> _Kept:
    if curve is None or not len(curve):
        return _Kept(Pulse(run, n_calls=n_calls))
    times = curve.times[np.isfinite(curve.times)]
    heard = None
    if times.size and run.started is not None:
        heard = run.started + timedelta(seconds=float(times.max()))
    pauses = np.diff(np.maximum.accumulate(times)) if times.size > 1 else np.empty(0)
    pulse = Pulse(
        run,
        n_calls=n_calls,
        metric=curve.metric,
        step=int(curve.steps[-1]),
        value=float(curve.values[-1]),
        best=_best(curve, experiment),
        values=tuple(downsample(curve, POINTS).values.tolist()),
        heard=heard,
    )
    return _Kept(pulse, pauses[pauses > 0])


def _best(curve: Curve, experiment: Experiment | None) -> float | None:
    objective = None if experiment is None else experiment.objective
    finite = curve.values[np.isfinite(curve.values)]
    if objective is None or objective.metric != curve.metric or not finite.size:
        return None
    return float(finite.min() if objective.direction == "minimize" else finite.max())


def _as_of_now(kept: _Kept, run: Run, n_calls: int, now: datetime) -> Pulse:
    is_behind = n_calls > kept.pulse.n_calls
    pulse = replace(kept.pulse, run=run, n_calls=max(n_calls, kept.pulse.n_calls), is_behind=is_behind)
    if pulse.heard is None:
        return pulse
    silent_s = max((now - pulse.heard).total_seconds(), 0.0)
    symptom = None if is_behind else stalled(silent_s, kept.pauses)
    rhythm_s = float(np.percentile(kept.pauses, 90)) if kept.pauses.size else None
    return replace(pulse, silent_s=silent_s, rhythm_s=rhythm_s, is_silent=symptom is not None)

"""Findings of one run while it trains: the rules, applied as the values come in.

Runs in a thread of the training process: numpy only, constant work a value on average, bounded memory. What is
loud (values that are not finite, spikes, divergence, slow steps) is followed point by point, and seen as soon as it is
there; what needs the whole curve (plateaus, overfitting) is looked at each time the curve has grown by a fifth.
Leaves out the comparison with siblings. Invariant: each (code, metric) is raised once a run, and again only where its
severity changes or it passed, and at the end where its words changed; a metric with a value that is not finite raises
nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from advisor.findings import codes, pace, rules
from advisor.findings.roles import gradient_norm, role_of, training_loss
from advisor.findings.trail import GRADIENT_SPIKE_NATS, SPIKE_NATS, Trail
from storage.records import Curve, Finding, Objective, Severity

MAX_POINTS = 4096
"""Values kept of a metric; beyond, every second is dropped, so a rule sees the whole run at half the detail."""
FIRST_LOOK = 20
"""Values before the rules about plateaus look for the first time."""
GROWTH = 1.2
"""They look again each time the curve has grown by a fifth: the total work stays proportional to the length."""
NOT_LIVE = frozenset({codes.STOPPED_LEARNING.code})
"""A pause at the beginning of a run is not the end of learning: said when the run is checked, not while it runs."""
MIN_NEVER_LEARNED = 50
"""Values before "never learned" or "oscillating" is said of a run that still trains: warm-up takes its time."""


class Monitor:
    """Watches one live run.

    Parameters
    ----------
    run_id, experiment
        The run, and the name of its experiment.
    objective
        The metric that counts most; None where none is set.
    clock
        Returns the time now, UTC.
    """

    def __init__(
        self, run_id: str, experiment: str, objective: Objective | None, *, clock: Callable[[], datetime]
    ) -> None:
        self._run_id, self._experiment, self._objective, self._clock = run_id, experiment, objective, clock
        self._kept: dict[str, _Kept] = {}
        self._raised: dict[tuple[str, str], tuple[Severity, bool]] = {}
        self._broken: dict[str, codes.Symptom] = {}
        self._heard: datetime | None = None
        self._pauses: list[float] = []
        self._last_time = math.nan

    def observe(
        self,
        metric: str,
        steps: Sequence[int] | NDArray[np.int64],
        values: Sequence[float] | NDArray[np.float64],
        times: Sequence[float] | NDArray[np.float64] = (),
    ) -> list[Finding]:
        """Take new values of one metric and return what they show for the first time.

        Parameters
        ----------
        steps, values
            Shape (T,), in the order in which they were logged.
        times
            Shape (T,), seconds since the run's start; empty where unknown.

        Returns
        -------
        list of Finding
            Also one that was returned before, under the same id, whose severity changed or which passed.
        """
        now = self._clock()
        self._heard = now
        at = np.asarray(steps, dtype=np.int64)
        seen = np.asarray(values, dtype=np.float64)
        seconds = np.asarray(times, dtype=np.float64)
        self._listen(seconds)
        kept = self._kept.setdefault(metric, _Kept(metric, self._objective))
        found = self._new(self._look_at_pace(kept, at, seen, seconds), now)
        changed = kept.add(at, seen)
        if kept.n_bad:
            return found + self._new(self._bad(kept), now)
        found += self._new(self._masked(kept), now)
        if metric in self._broken:
            return found
        if changed or kept.due():
            found += self._new(self._look(metric), now)
        return found

    def tick(self, now: datetime) -> list[Finding]:
        """Return a finding where the run has been silent for too long; call it every few seconds."""
        if self._heard is None:
            return []
        silent = (now - self._heard).total_seconds()
        symptom = pace.stalled(silent, np.array(self._pauses))
        return self._new([symptom] if symptom else [], now)

    def failed(self, error: str | None, now: datetime) -> list[Finding]:
        """Return the finding that the run failed; call it once, at its end."""
        return self._new([rules.failed(error)], now)

    def ended(self, now: datetime) -> list[Finding]:
        """Return what was raised as it reads with all values in; call it once, when the last were taken.

        Raises nothing new: what only the whole curve shows is a check's to say.
        """
        metrics = {metric for _, metric in self._raised}
        symptoms = self._slowed()
        for metric, kept in self._kept.items():
            if kept.n_bad:
                symptoms += self._bad(kept)
            elif metric in self._broken:
                symptoms += self._masked_in_all(metric)
            elif metric in metrics:
                symptoms += self._look(metric)
        raised = [each for each in symptoms if (each.code.code, each.metric or "") in self._raised]
        return [each.finding(self._run_id, self._experiment, now) for each in raised]

    def _listen(self, times: NDArray[np.float64]) -> None:
        at = times[~np.isnan(times)]
        if not at.size:
            return
        before = at[0] if math.isnan(self._last_time) else self._last_time
        reached = np.maximum.accumulate(np.concatenate(([before], at)))
        pauses = at - reached[:-1]
        self._pauses += pauses[pauses > 0].tolist()
        self._last_time = float(reached[-1])
        if len(self._pauses) > MAX_POINTS:
            del self._pauses[: -MAX_POINTS // 2]

    def _bad(self, kept: _Kept) -> list[codes.Symptom]:
        """Return what is known of the values of a metric that are not finite."""
        assert kept.first_bad is not None
        step, value = kept.first_bad
        symptom = rules.bad_values(
            kept.metric,
            self._objective,
            step=step,
            value=value,
            n_bad=kept.n_bad,
            n=kept.n,
            n_bad_at_end=kept.n_bad_at_end,
        )
        self._broken[kept.metric] = symptom
        return [symptom]

    def _masked(self, kept: _Kept) -> list[codes.Symptom]:
        """Return a loss of exactly 0 beside a gradient norm that is not finite."""
        loss = role_of(kept.metric, self._objective).role == "loss"
        if kept.metric in self._broken or not (loss and (kept.tail_curve().values == 0).any()):
            return []
        tails = {name: other.tail_curve() for name, other in self._kept.items() if other.n}
        symptom = rules.non_finite(tails, kept.metric, self._objective)
        if symptom is None:
            return []
        self._broken[kept.metric] = symptom
        return [symptom]

    def _masked_in_all(self, metric: str) -> list[codes.Symptom]:
        """Return the same of all values of a metric, where all are there."""
        if not all(kept.is_whole for kept in self._kept.values()):
            return []
        curves = {name: kept.curve() for name, kept in self._kept.items() if kept.n}
        symptom = rules.non_finite(curves, metric, self._objective)
        return [symptom] if symptom else []

    def _look(self, metric: str) -> list[codes.Symptom]:
        """Return what the shape of a metric shows, with the curves that it must be seen with."""
        names = [name for name, kept in self._kept.items() if name not in self._broken and kept.n]
        none = Curve.of("", [], [])
        if role_of(metric).role == "grad":
            if metric != gradient_norm(dict.fromkeys(names, none)):
                return []
            return rules.gradient_symptoms({metric: self._kept[metric].curve()}, metric, trail=self._kept[metric].trail)
        if role_of(metric, self._objective).direction is None:
            return []
        curves = {
            name: self._kept[name].curve() for name in names if role_of(name, self._objective).direction is not None
        }
        train = training_loss(curves, self._objective)
        if metric not in rules.watched(curves, self._objective):
            return []
        if metric != train and role_of(metric, self._objective).split == "validation" and self._train_is_broken():
            return []
        seen = rules.shape_symptoms(curves, metric, self._objective, trail=self._kept[metric].trail)
        return [
            s
            for s in seen
            if s.code.code not in NOT_LIVE
            and not (s.code in (codes.NEVER_LEARNED, codes.OSCILLATING) and self._kept[metric].n < MIN_NEVER_LEARNED)
        ]

    def _train_is_broken(self) -> bool:
        curves = {name: kept.tail_curve() for name, kept in self._kept.items() if kept.n}
        train = training_loss(curves, self._objective)
        return train is not None and train in self._broken

    def _look_at_pace(
        self, kept: _Kept, steps: NDArray[np.int64], values: NDArray[np.float64], times: NDArray[np.float64]
    ) -> list[codes.Symptom]:
        kept.said.extend(pace.said_times(kept.metric, values))
        kept.pace.extend(kept.between(steps, times))
        most = max(self._kept.values(), key=lambda one: (one.pace.n, one.metric))
        if kept is not most and not kept.said.n:
            return []
        return self._slowed()

    def _slowed(self) -> list[codes.Symptom]:
        if not self._kept:
            return []
        most = max(self._kept.values(), key=lambda one: (one.pace.n, one.metric))
        symptom = pace.slowed({**{one.metric: one.said for one in self._kept.values() if one.said.n}, "": most.pace})
        return [symptom] if symptom else []

    def _new(self, symptoms: Sequence[codes.Symptom], now: datetime) -> list[Finding]:
        """Return findings of what was not said before, or otherwise."""
        found = []
        for symptom in symptoms:
            key = (symptom.code.code, symptom.metric or "")
            said = (symptom.severity or symptom.code.severity, bool(symptom.evidence.get("recovered")))
            if self._raised.get(key) != said:
                self._raised[key] = said
                found.append(symptom.finding(self._run_id, self._experiment, now))
        return found


class _Kept:
    """The values of one metric, thinned out evenly where they are too many, and what was seen of each."""

    def __init__(self, metric: str, objective: Objective | None) -> None:
        self.metric, self.n, self.n_bad = metric, 0, 0
        self.n_bad_at_end = 0
        """Values at the end, one after another, that are not finite."""
        self.first_bad: tuple[int, float] | None = None
        known = role_of(metric, objective)
        gradient = known.role == "grad"
        way = "minimize" if gradient else known.direction
        self.trail = None if way is None else Trail(way, min_nats=GRADIENT_SPIKE_NATS if gradient else SPIKE_NATS)
        self.pace, self.said = pace.Pace(), pace.Pace()
        self._steps: list[int] = []
        self._values: list[float] = []
        self._every = 1
        self._next_look = FIRST_LOOK
        self._fresh = (np.empty(0, np.int64), np.empty(0))
        self._last: tuple[int, float] | None = None

    def add(self, steps: NDArray[np.int64], values: NDArray[np.float64]) -> bool:
        """Take further values and return whether they show something loud that the ones before did not."""
        self._fresh = (steps, values)
        first = -self.n % self._every
        self._steps += steps[first :: self._every].tolist()
        self._values += values[first :: self._every].tolist()
        self.n += values.size
        bad = ~np.isfinite(values)
        if bad.any():
            at = int(np.argmax(bad))
            self.first_bad = self.first_bad or (int(steps[at]), float(values[at]))
        self.n_bad += int(bad.sum())
        good = np.flatnonzero(~bad)
        self.n_bad_at_end = values.size - 1 - int(good[-1]) if good.size else self.n_bad_at_end + values.size
        while len(self._values) > MAX_POINTS:
            self._steps, self._values, self._every = self._steps[::2], self._values[::2], self._every * 2
        if self.trail is None:
            return False
        before = self.trail.state
        self.trail.extend(steps, values)
        return self.trail.state != before

    def between(self, steps: NDArray[np.int64], times: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the seconds a step up to each of further points, the first counted from the last point before."""
        if times.size != steps.size or not times.size:
            return np.empty(0)
        last, self._last = self._last, (int(steps[-1]), float(times[-1]))
        if last is not None:
            steps, times = np.concatenate(([last[0]], steps)), np.concatenate(([last[1]], times))
        return pace.between(steps, times)

    def due(self) -> bool:
        """Return whether it is time for the rules to look."""
        if self.n < self._next_look:
            return False
        self._next_look = max(math.ceil(self.n * GROWTH), self.n + 1)
        return True

    @property
    def is_whole(self) -> bool:
        """Whether no value was left out."""
        return self._every == 1

    def curve(self) -> Curve:
        return Curve.of(self.metric, self._steps, self._values)

    def tail_curve(self) -> Curve:
        """Return the values that came last, none left out."""
        return Curve.of(self.metric, *self._fresh)

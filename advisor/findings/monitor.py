"""Findings of one run while it trains: the rules, applied as the values come in.

Runs in a thread of the training process: numpy only, constant work a value on average, bounded memory.
Leaves out the comparison with siblings. Invariant: each (code, metric) is raised once a run, and a metric
with a value that is not finite raises nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from advisor.findings import codes, pace, rules
from advisor.findings.roles import role_of
from storage.records import Curve, Finding, Objective

MAX_POINTS = 4096
"""Values kept of a metric; beyond, every second is dropped, so a rule sees the whole run at half the detail."""
FIRST_LOOK = 20
"""Values before the rules about shape look for the first time."""
GROWTH = 1.2
"""They look again each time the curve has grown by a fifth: the total work stays proportional to the length."""
NOT_LIVE = frozenset({codes.STOPPED_LEARNING.code})
"""A pause at the beginning of a run is not the end of learning: said when the run is checked, not while it runs."""
MIN_NEVER_LEARNED = 50
"""Values before "never learned" is said of a run that still trains: warm-up takes its time."""


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
        self._raised: set[tuple[str, str]] = set()
        self._broken: set[str] = set()
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
        """
        now = self._clock()
        self._heard = now
        self._listen(times)
        kept = self._kept.setdefault(metric, _Kept(metric))
        bad_before = kept.n_bad
        kept.add(steps, values)
        found: list[Finding] = []
        if kept.n_bad > bad_before and metric not in self._broken:
            self._broken.add(metric)
            symptom = rules.non_finite({metric: kept.tail_curve()}, metric, self._objective)
            found += self._new([symptom] if symptom else [], now)
        if metric not in self._broken and kept.due():
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

    def _listen(self, times: Sequence[float] | NDArray[np.float64]) -> None:
        at = np.asarray(times, dtype=np.float64)
        at = at[~np.isnan(at)]
        if not at.size:
            return
        before = at[0] if math.isnan(self._last_time) else self._last_time
        reached = np.maximum.accumulate(np.concatenate(([before], at)))
        pauses = at - reached[:-1]
        self._pauses += pauses[pauses > 0].tolist()
        self._last_time = float(reached[-1])
        if len(self._pauses) > MAX_POINTS:
            del self._pauses[: -MAX_POINTS // 2]

    def _look(self, metric: str) -> list[codes.Symptom]:
        """Return what the shape of a metric shows, with the curves that it must be seen with."""
        if role_of(metric, self._objective).direction is None and role_of(metric).role != "grad":
            return []
        curves = {name: kept.curve() for name, kept in self._kept.items() if name not in self._broken and kept.n}
        seen = [s for s in rules.curve_symptoms(curves, self._objective) if s.metric == metric]
        return [
            s
            for s in seen
            if s.code.code not in NOT_LIVE
            and not (s.code is codes.NEVER_LEARNED and self._kept[metric].n < MIN_NEVER_LEARNED)
        ]

    def _new(self, symptoms: Sequence[codes.Symptom], now: datetime) -> list[Finding]:
        fresh = [s for s in symptoms if (s.code.code, s.metric or "") not in self._raised]
        self._raised |= {(s.code.code, s.metric or "") for s in fresh}
        return [s.finding(self._run_id, self._experiment, now) for s in fresh]


class _Kept:
    """The values of one metric, thinned out evenly where they are too many."""

    def __init__(self, metric: str) -> None:
        self.metric, self.n, self.n_bad = metric, 0, 0
        self._steps: list[int] = []
        self._values: list[float] = []
        self._every = 1
        self._next_look = FIRST_LOOK
        self._best = math.inf
        self._fresh = (np.empty(0, np.int64), np.empty(0))

    def add(self, steps: Sequence[int] | NDArray[np.int64], values: Sequence[float] | NDArray[np.float64]) -> None:
        self._fresh = (np.asarray(steps, dtype=np.int64), np.asarray(values, dtype=np.float64))
        first = -self.n % self._every
        self._steps += self._fresh[0][first :: self._every].tolist()
        self._values += self._fresh[1][first :: self._every].tolist()
        self.n += len(self._fresh[1])
        self.n_bad += int((~np.isfinite(self._fresh[1])).sum())
        while len(self._values) > MAX_POINTS:
            self._steps, self._values, self._every = self._steps[::2], self._values[::2], self._every * 2

    def due(self) -> bool:
        """Return whether it is time for the rules to look."""
        if self.n < self._next_look:
            return False
        self._next_look = max(math.ceil(self.n * GROWTH), self.n + 1)
        return True

    def curve(self) -> Curve:
        return Curve.of(self.metric, self._steps, self._values)

    def tail_curve(self) -> Curve:
        """Return the values that came last, none left out."""
        return Curve.of(self.metric, *self._fresh)

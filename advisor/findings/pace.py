"""Rules about time: a run that has gone silent, and a run that has become or is slow.

Pure functions; thresholds as in ``rules``. Leaves out the shape of curves. Invariant: without times
nothing is said.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from advisor.findings import codes
from advisor.findings.codes import Symptom
from advisor.findings.medians import median, medians, robust_sigma
from advisor.findings.roles import measures_steps
from advisor.findings.trail import Stretch, Sustained
from storage.records import Curve, Severity

Floats = NDArray[np.float64]

MIN_PAUSES = 10
"""A rhythm is known after 10 pauses."""
MIN_STEPS = 20
"""A pace is known after 20 timed steps."""
STALLED_PAUSES = 20.0
"""Silence of 20 of the run's own long pauses (90th percentile): evaluation and checkpoints are shorter."""
STALLED_MIN_S = 120.0
"""Nobody is called for less than 2 minutes."""
SLOW_RATIO = 1.35
"""Steps 1.35 times as long as the run's own early ones: a slow-down of 1.5 times is seen through the noise …"""
SLOW_SIGMAS = 3.0
"""… and 3 robust sigmas of the early ones above them: steps of milliseconds vary by themselves."""
SLOW_STEP_S = 0.05
"""Steps shorter than this depend on what else the machine does: their slowing down is information …"""
SLOW_SIBLINGS_RATIO = 4.0
"""Steps 4 times as long as the siblings' median: widths and batch sizes within one sweep differ by less, mostly."""
SLOW_MIN_S = 30.0
"""… until it has cost 30 s in all; being slower than siblings is not worth a line before."""
SLOW_SHORT_STEPS = 100
"""… and nothing at all before 100 of them are known, or once they are fast again: a shared machine does that."""
PACE_START = 12
"""The run's own beginning: its first 12 blocks, 5 to 10 % of a run of more than 128 steps."""
PACE_BLOCKS = 256
"""Steps are taken together in at most 256 blocks of equal size, so that memory stays bounded …"""
MIN_STEP_S = 1e-6
"""… by the mean of their logarithms, in which one long step among many counts little; none is shorter than 1 µs."""
MIN_SIBLINGS_TIME = 5
"""The siblings' step time is the median of at least 5."""
OF_SIBLINGS = "the siblings' median"
"""What a run that is slower than its siblings is compared with, in words."""


@dataclass(frozen=True, slots=True)
class Siblings:
    """What a rule needs to know of the other runs of the experiment."""

    n: int
    """How many there are."""
    _: KW_ONLY
    step_time_s: float | None = None
    """Median over siblings of the median seconds a step; None where fewer than ``MIN_SIBLINGS_TIME`` tell."""
    values: Sequence[float] = ()
    """Their values of the objective, those that are finite."""


class Pace:
    """Follows how long steps take; the same whether they come one by one or all at once.

    Steps are taken together in blocks of one, later of two, four and so on. Steps are slow where
    the running median of three blocks stays above the limit for as long as ``trail.Sustained`` says.
    """

    def __init__(self) -> None:
        self.n = 0
        """Steps so far."""
        self.total_s = 0.0
        self.slow: Stretch | None = None
        """The blocks that are slow now."""
        self.was_slow: Stretch | None = None
        """The last that were slow for long enough, and are over."""
        self.seconds = math.nan
        """Typical step of the slow blocks."""
        self._size = 1
        self._blocks: Floats = np.empty(0)
        self._rest: Floats = np.empty(0)

    def extend(self, seconds: Floats) -> None:
        """Take how long further steps took, shape (T,), seconds."""
        self.n += seconds.size
        self.total_s += float(seconds.sum())
        rest = np.concatenate((self._rest, np.log(np.maximum(seconds, MIN_STEP_S))))
        while rest.size >= self._size:
            n = min(rest.size // self._size, PACE_BLOCKS - self._blocks.size)
            taken, rest = rest[: n * self._size], rest[n * self._size :]
            self._blocks = np.concatenate((self._blocks, taken.reshape(-1, self._size).mean(axis=1)))
            self._look()
            if self._blocks.size == PACE_BLOCKS:
                self._blocks = self._blocks.reshape(-1, 2).mean(axis=1)
                self._size *= 2
                self._look()
        self._rest = rest

    @property
    def start_s(self) -> float:
        """Typical step of the run's beginning, NaN while it is not known."""
        return math.exp(median(self._blocks[:PACE_START])) if self._blocks.size > PACE_START else math.nan

    @property
    def cost_s(self) -> float:
        """Seconds that the run took longer than at the pace of its beginning, at least 0."""
        lost = self.total_s - self.start_s * self.n
        return max(lost, 0.0)

    def _look(self) -> None:
        if self._blocks.size < MIN_STEPS:
            return
        early = self._blocks[:PACE_START]
        start = median(early)
        sigma = robust_sigma(early)
        later = self._blocks[PACE_START - 2 :]
        smooth = medians(np.stack((later[:-2], later[1:-1], later[2:]), axis=-1))
        high = smooth > start + max(math.log(SLOW_RATIO), SLOW_SIGMAS * sigma)
        seen = Sustained()
        places = np.arange(PACE_START, PACE_START + high.size, dtype=np.int64)
        seen.extend(high, places * self._size, PACE_START)
        if self.slow is not None and seen.now is None and seen.last is None:
            self.was_slow = self.slow  # seen in smaller blocks
        self.slow, self.was_slow = seen.now, seen.last or self.was_slow
        since = self.slow or self.was_slow
        if since is not None:
            n = max(1, since.first - PACE_START)
            self.seconds = math.exp(np.median(smooth[n - 1 : n - 1 + since.n])) if smooth.size >= n else self.seconds


def step_times(curves: Mapping[str, Curve]) -> Floats:
    """Return the seconds a step between the points of the curve that was logged most often; may be empty."""
    timed = [curve for curve in curves.values() if len(curve) > 1 and np.isfinite(curve.times).all()]
    if not timed:
        return np.empty(0)
    curve = max(timed, key=lambda c: (len(c), c.metric))
    return between(curve.steps, curve.times)


def between(steps: NDArray[np.int64], times: Floats) -> Floats:
    """Return the seconds a step between neighbours of increasing steps, shape (at most T - 1,)."""
    ahead, seconds = np.diff(steps), np.diff(times)
    forward = (ahead > 0) & (seconds >= 0)
    per_step: Floats = seconds[forward] / ahead[forward]
    return per_step


def said_times(metric: str, values: Floats) -> Floats:
    """Return the seconds a step that a metric itself states, from a duration or a rate; empty for others."""
    kind = measures_steps(metric)
    if kind is None:
        return np.empty(0)
    sound = values[np.isfinite(values) & (values > 0)]
    return sound if kind == "time" else 1.0 / sound


def stalled(silent_s: float, pauses_s: Floats) -> Symptom | None:
    """ADV107: silent for many of the run's own long pauses (seconds)."""
    if pauses_s.size < MIN_PAUSES:
        return None
    rhythm = float(np.percentile(pauses_s, 90))
    limit = max(STALLED_MIN_S, STALLED_PAUSES * rhythm)
    if silent_s <= limit:
        return None
    return Symptom(codes.STALLED, None, None, {"silent_s": silent_s, "rhythm_s": rhythm, "threshold_s": limit})


def slow(curves: Mapping[str, Curve], siblings: Siblings | None) -> Iterator[Symptom]:
    """ADV108: steps take much longer than at the run's beginning, or than the siblings'."""
    paces = {}
    for name, seconds in {
        **{metric: said_times(metric, curve.values) for metric, curve in curves.items()},
        "": step_times(curves),
    }.items():
        paces[name] = Pace()
        paces[name].extend(seconds)
    own_pace = slowed(paces)
    if own_pace is not None:
        yield own_pace
        return
    seconds = step_times(curves)
    if seconds.size < MIN_STEPS:
        return
    total = _total_seconds(curves)
    usual, own = siblings.step_time_s if siblings else None, float(np.median(seconds))
    if usual and own > SLOW_SIBLINGS_RATIO * usual and total * (1 - usual / own) > SLOW_MIN_S:
        evidence = _slow(own, usual, OF_SIBLINGS, SLOW_SIBLINGS_RATIO)
        yield Symptom(codes.SLOW, None, None, evidence | {"verb": "take"})


def slowed(paces: Mapping[str, Pace]) -> Symptom | None:
    """ADV108: steps take longer than at the run's own beginning; information where that passed or cost little."""
    found = [pace for _, pace in sorted(paces.items()) if (pace.slow or pace.was_slow) and not _is_noise(pace)]
    if not found:
        return None
    pace = min(found, key=lambda p: (p.slow is None, -p.cost_s))
    since = pace.slow or pace.was_slow
    assert since is not None
    evidence = _slow(pace.seconds, pace.start_s, "its own beginning", SLOW_RATIO)
    evidence |= {"since_timed_step": since.step, "cost_s": pace.cost_s, "recovered": pace.slow is None}
    grave = pace.slow is not None and (pace.start_s >= SLOW_STEP_S or pace.cost_s > SLOW_MIN_S)
    evidence["verb"] = "take" if pace.slow is not None else "took, for a while,"
    return Symptom(codes.SLOW, None, None, evidence, Severity.WARNING if grave else Severity.INFO)


def _is_noise(pace: Pace) -> bool:
    cheap = pace.start_s < SLOW_STEP_S and pace.cost_s <= SLOW_MIN_S
    return cheap and (pace.slow is None or pace.n < SLOW_SHORT_STEPS)


def _slow(seconds: float, reference_s: float, reference: str, threshold: float) -> dict[str, Any]:
    ratio = seconds / reference_s
    return {
        "seconds": seconds,
        "reference_s": reference_s,
        "ratio": ratio,
        "reference": reference,
        "threshold_ratio": threshold,
    }


def _total_seconds(curves: Mapping[str, Curve]) -> float:
    return max(
        (float(np.nanmax(c.times)) for c in curves.values() if len(c) and np.isfinite(c.times).any()), default=0.0
    )

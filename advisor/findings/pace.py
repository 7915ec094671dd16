"""Rules about time: a run that has gone silent, and a run that has become or is slow.

Pure functions; thresholds as in ``rules``. Leaves out the shape of curves. Invariant: without times
nothing is said.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from advisor.findings import codes
from advisor.findings.codes import Symptom
from storage.records import Curve

Floats = NDArray[np.float64]

MIN_PAUSES = 10
"""A rhythm is known after 10 pauses."""
MIN_STEPS = 20
"""A pace is known after 20 timed steps."""
STALLED_PAUSES = 20.0
"""Silence of 20 of the run's own long pauses (90th percentile): evaluation and checkpoints are shorter."""
STALLED_MIN_S = 120.0
"""Nobody is called for less than 2 minutes."""
SLOW_RATIO = 2.5
"""Steps 2.5 times as long as the run's own early ones; on a shared machine healthy runs reach 1.8."""
SLOW_SIBLINGS_RATIO = 4.0
"""Steps 4 times as long as the siblings' median: widths and batch sizes within one sweep differ by less, mostly."""
SLOW_MIN_S = 30.0
"""A slow-down that cost less than 30 s in all is not worth a line."""
MIN_SIBLINGS_TIME = 5
"""The siblings' step time is the median of at least 5."""


@dataclass(frozen=True, slots=True)
class Siblings:
    """What a rule needs to know of the other runs of the experiment."""

    n: int
    """How many there are."""
    _: KW_ONLY
    step_time_s: float | None = None
    """Median over siblings of the median seconds a step; None where fewer than ``MIN_SIBLINGS_TIME`` tell."""


def step_times(curves: Mapping[str, Curve]) -> Floats:
    """Return the seconds a step between the points of the curve that was logged most often; may be empty."""
    timed = [curve for curve in curves.values() if len(curve) > 1 and np.isfinite(curve.times).all()]
    if not timed:
        return np.empty(0)
    curve = max(timed, key=lambda c: (len(c), c.metric))
    steps, seconds = np.diff(curve.steps), np.diff(curve.times)
    forward = (steps > 0) & (seconds >= 0)
    per_step: Floats = seconds[forward] / steps[forward]
    return per_step


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
    seconds = step_times(curves)
    if seconds.size < MIN_STEPS:
        return
    n = seconds.size // 5
    early, late = float(np.median(seconds[:n])), float(np.median(seconds[-n:]))
    total = _total_seconds(curves)
    if early > 0 and late > SLOW_RATIO * early and total * (1 - early / float(seconds.mean())) > SLOW_MIN_S:
        yield Symptom(codes.SLOW, None, None, _slow(late, early, "its own beginning", SLOW_RATIO))
        return
    usual, own = siblings.step_time_s if siblings else None, float(np.median(seconds))
    if usual and own > SLOW_SIBLINGS_RATIO * usual and total * (1 - usual / own) > SLOW_MIN_S:
        yield Symptom(codes.SLOW, None, None, _slow(own, usual, "the siblings' median", SLOW_SIBLINGS_RATIO))


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

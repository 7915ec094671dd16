"""Decide how values are laid out in a picture: scale, limits, which points of a long curve are kept.

Pure arrays in, numbers out; leaves out drawing. Invariant: thinning keeps the lowest and the highest
point of every stretch and every border to a value that is not finite, so no spike disappears.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from advisor.documents import numbers

LOG_RATIO = 20.0
"""Positive values whose bulk spans more than this factor are drawn on a log scale."""
BEYOND = 0.8
"""A value further from the bulk than this share of the bulk's height is drawn at the picture's edge."""
MAX_DECADES = 6.0
"""A log scale shows at most about this many powers of ten."""
MAX_COLUMNS = 10
"""Choices that get a column of their own."""

_LARGEST = 1e200
"""Larger values stand at the edge: limits around them would not be finite."""


@dataclass(frozen=True, slots=True)
class Scale:
    """How the values of a picture map to its height."""

    log: bool
    low: float
    high: float
    low_draw: float
    """Lines are cut here, a little beyond the edge, so that a leaving curve is seen to leave."""
    high_draw: float
    subs: tuple[float, ...] = (1.0,)
    """Multiples of the powers of ten that get a tick."""


def choose(values: NDArray[np.float64], *, must_show: NDArray[np.float64], focus: bool = False) -> Scale:
    """Return a scale that shows the bulk of the values, and all of ``must_show``.

    Values that are not finite are ignored: they have no place on a scale. With ``focus``, a log scale stays close to
    the middle half of the values: where runs are compared, those that exploded would press the others into one line.
    """
    finite = np.clip(values[np.isfinite(values)], -_LARGEST, _LARGEST)
    if not finite.size:
        return Scale(False, 0.0, 1.0, 0.0, 1.0)
    log = spans_decades(finite)
    work = np.log10(finite) if log else finite
    must = np.clip(must_show[np.isfinite(must_show)], -_LARGEST, _LARGEST)
    if log:
        must = np.log10(must[must > 0])
    low, high = _limits(work, must)
    if log and (focus or high - low > MAX_DECADES):
        room = 1.0 if focus else MAX_DECADES / 3
        first, third = (float(edge) for edge in np.quantile(work, [0.25, 0.75]))
        low = max(low, min([first - room, *map(float, must)]))
        high = max([min(high, low + MAX_DECADES, third + room), *map(float, must)])
    pad = 0.05 * (high - low) or 0.05 * abs(high) or 0.5
    low, high = low - pad, high + pad
    if log:
        edges = [
            10.0 ** float(np.clip(edge, -300, 300)) for edge in (low, high, low - (high - low), high + (high - low))
        ]
        return Scale(True, edges[0], edges[1], edges[2], edges[3], log_subs(high - low))
    return Scale(False, low, high, low - (high - low), high + (high - low))


def whole(values: NDArray[np.float64]) -> Scale:
    """Return a scale that shows every finite value, the odd ones that ``choose`` leaves at the edge among them."""
    scale = choose(values, must_show=values)
    finite = np.clip(values[np.isfinite(values)], -_LARGEST, _LARGEST)
    if not finite.size or (scale.low <= finite.min() and finite.max() <= scale.high):
        return scale
    log = bool(finite.min() > 0 and finite.max() > LOG_RATIO * finite.min())
    work = np.log10(finite) if log else finite
    pad = 0.05 * float(np.ptp(work))
    low, high = float(work.min()) - pad, float(work.max()) + pad
    if not log:
        return Scale(False, low, high, low, high)
    low, high = max(low, -300.0), min(high, 300.0)
    return Scale(True, 10.0**low, 10.0**high, 10.0**low, 10.0**high, log_subs(high - low))


def _limits(work: NDArray[np.float64], must: NDArray[np.float64]) -> tuple[float, float]:
    bottom, top = (float(edge) for edge in np.quantile(work, [0.02, 0.95]))
    room = max(top - bottom, 1e-12 * max(abs(top), abs(bottom)))
    low = max(float(work.min()), bottom - BEYOND * room)
    high = min(float(work.max()), top + BEYOND * room)
    if must.size:
        # a wild beginning of the best curve must not flatten the rest of the picture
        low = min(low, float(must.min()))
        high = max(high, min(float(must.max()), top + 2 * BEYOND * room))
    return low, high


def log_subs(decades: float) -> tuple[float, ...]:
    """Return which multiples of the powers of ten get a tick on a log axis that is so many decades long."""
    return (1.0,) if decades > 3 else (1.0, 3.0) if decades > 1.6 else (1.0, 2.0, 5.0)


def spans_decades(values: NDArray[np.float64]) -> bool:
    """Return whether positive values span so much that a log scale shows them better."""
    finite = values[np.isfinite(values)]
    if finite.size < 2 or finite.min() <= 0:
        return False
    low, high = np.quantile(finite, [0.02, 0.98])
    return bool(np.log10(high) - np.log10(low) > np.log10(LOG_RATIO))


def thin(
    steps: NDArray[np.int64], values: NDArray[np.float64], points: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return at most about ``points`` points of a curve: the extremes of each stretch, its ends, its gaps.

    Minimum and maximum per bucket (M4 without the first and last, Jugel et al., VLDB 2014).
    """
    n = values.size
    if n <= points:
        return steps, values
    keep = {0, n - 1}
    for bucket in np.array_split(np.arange(n), max(points // 2, 1)):
        piece = values[bucket]
        finite = np.isfinite(piece)
        if not finite.all():
            keep.add(int(bucket[int(np.argmin(finite))]))
        if finite.any():
            keep.add(int(bucket[int(np.argmin(np.where(finite, piece, np.inf)))]))
            keep.add(int(bucket[int(np.argmax(np.where(finite, piece, -np.inf)))]))
    order = np.array(sorted(keep))
    return steps[order], values[order]


def tick(value: float) -> str:
    """Return the text of a tick on a log axis."""
    return numbers.figure(value, digits=3)


def step_tick(value: float) -> str:
    """Return the text of a tick of steps, short enough that neighbours do not touch.

    >>> step_tick(500), step_tick(20_000), step_tick(2_500_000)
    ('500', '20k', '2.5M')
    """
    for size, unit in ((1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return f"{value / (1e6 if unit == 'M' else 1e3):g}{unit}"
    return f"{value:g}"


def choice(value: Any) -> str:
    """Return the name of a choice's column."""
    return numbers.parameter(value, limit=14)


def spread(place: int) -> float:
    """Return where the n-th dot of a column stands, in (-0.3, 0.3): a golden-ratio sequence, no chance in it."""
    return 0.6 * ((place * 0.618033988749895) % 1.0 - 0.5)

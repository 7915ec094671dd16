"""Small pictures of curves as SVG text: a sparkline for a table, a chart with axes for one curve. No drawing library.

Pure: arrays in, markup out. Colours are the page's: lines in its accent, everything else in the colour of its text.
Leaves out interaction. Invariant: no picture grows with the number of points, the lowest and the highest value of each
stretch stay visible, and where values are not finite there is a mark.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

import numpy as np
from numpy.typing import NDArray

from storage.figures import figure, one_line
from storage.thinning import chosen

Floats = NDArray[np.float64]

ACCENT: Final = "var(--advisor-accent, #2f6fde)"
FLAG: Final = "var(--advisor-flag, #d9482b)"
WIDTH, HEIGHT = 640, 240
"""Of a chart, in units of its own: it is as wide as there is room."""
LEFT, RIGHT, TOP, BOTTOM = 62, 12, 12, 30
"""Room around the plot for figures."""
LOG_RATIO: Final = 50.0
"""Positive values that span more than this factor are drawn on a log scale."""
MOST_MARKS: Final = 60
"""Marks of values that are not finite: beyond it neighbours would touch."""
BULK: Final = 0.98
"""A chart's height fits this share of the values where the rest would press them into one line."""
BEYOND: Final = 6.0
"""… which it does from this many times their height on."""
_LARGEST: Final = 1e200


@dataclass(frozen=True, slots=True)
class _Axis:
    """How values become places from 0 to 1."""

    low: float
    high: float
    log: bool = False

    def place(self, values: Floats) -> Floats:
        work = np.clip(values, -_LARGEST, _LARGEST)
        if self.log:
            low, high = math.log10(self.low), math.log10(self.high)
            with np.errstate(divide="ignore", invalid="ignore"):
                return (np.log10(np.maximum(work, self.low * 1e-9)) - low) / (high - low)
        return (work - self.low) / (self.high - self.low)


def sparkline(values: Floats, *, width: int = 96, height: int = 20, label: str = "") -> str:
    """Return a curve as a small line without axes; empty where there is nothing to draw."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return ""
    axis = _value_axis(finite)
    at = np.arange(values.size, dtype=np.float64) / max(values.size - 1, 1)
    keep = chosen(values, 2 * width)
    xs = 2 + at[keep] * (width - 4)
    ys = height - 2 - np.clip(axis.place(values[keep]), 0, 1) * (height - 4)
    marks = _bad_marks(2 + at * (width - 4), values, height - 1.5, size=1.4)
    shown = escape(one_line(label, limit=200))
    return (
        f'<svg class="spark" width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{shown}">{_line(xs, ys, width=1.3)}{marks}</svg>'
    )


def chart(steps: NDArray[np.int64], values: Floats, *, label: str, best: int | None = None, dots: bool = False) -> str:
    """Return a curve with axes.

    Parameters
    ----------
    label
        What the picture shows, for who cannot see it.
    best
        Position of a value to be marked.
    dots
        Whether each value is a dot of its own, not a point of a line.
    """
    finite = values[np.isfinite(values)]
    y_axis = _value_axis(finite) if finite.size else _Axis(0.0, 1.0)
    first, last = (float(steps.min()), float(steps.max())) if steps.size else (0.0, 1.0)
    apart = 1.0 + 1e-9 * abs(first)  # more than two neighbouring floats are
    x_axis = _Axis(first, last) if last - first >= apart else _Axis(first - apart, last + apart)
    xs = LEFT + x_axis.place(steps.astype(np.float64)) * (WIDTH - LEFT - RIGHT)
    ys = HEIGHT - BOTTOM - np.clip(y_axis.place(values), -0.02, 1.02) * (HEIGHT - TOP - BOTTOM)
    keep = chosen(values, 2 * WIDTH)
    drawn = _dots(xs[keep], ys[keep]) if dots else _line(xs[keep], ys[keep], width=1.6)
    marks = _bad_marks(xs, values, HEIGHT - BOTTOM, size=3.2)
    if best is not None and np.isfinite(values[best]):
        marks += (
            f'<circle cx="{xs[best]:.1f}" cy="{ys[best]:.1f}" r="4.5" fill="none" stroke="{ACCENT}" stroke-width="2"/>'
        )
    return (
        f'<svg class="chart" width="{WIDTH}" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(one_line(label, limit=300))}" font-size="11" fill="currentColor">'
        f"{_grid(x_axis, y_axis)}{drawn}{marks}</svg>"
    )


def ticks(low: float, high: float, *, about: int = 5) -> list[float]:
    """Return round values between two others.

    >>> ticks(0.0, 1.0), ticks(3.0, 97.0)
    ([0.0, 0.2, 0.4, 0.6, 0.8, 1.0], [20.0, 40.0, 60.0, 80.0])
    """
    raw = (high - low) / about
    if not (raw > 1e-290 and math.isfinite(raw)):
        return [low]
    power = 10.0 ** math.floor(math.log10(raw))
    pace = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * 0.8)
    first, last = math.ceil(low / pace - 1e-9), math.floor(high / pace + 1e-9)
    return [round(i * pace, 12 - math.floor(math.log10(pace))) for i in range(first, last + 1)]


def _value_axis(finite: Floats) -> _Axis:
    finite = np.clip(finite, -_LARGEST, _LARGEST)
    low, high = float(finite.min()), float(finite.max())
    inner_low, inner_high = (float(edge) for edge in np.quantile(finite, [(1 - BULK) / 2, (1 + BULK) / 2]))
    log = low > 0 and high > LOG_RATIO * low
    if not log and inner_high > inner_low:  # a wild beginning must not flatten the rest
        room = BEYOND * (inner_high - inner_low)
        low, high = max(low, inner_low - room), min(high, inner_high + room)
    if log:
        return _Axis(low / 1.1, high * 1.1, log=True)
    size = max(abs(low), abs(high))
    pad = 0.04 * (high - low) if high - low > 1e-9 * size else 0.05 * size
    pad = pad if pad > 1e-290 else 0.5
    return _Axis(low - pad, high + pad)


def _grid(x_axis: _Axis, y_axis: _Axis) -> str:
    """Return the axes: lines across at round values, figures beside and below."""
    right, foot = WIDTH - RIGHT, HEIGHT - BOTTOM
    out = [f'<line x1="{LEFT}" y1="{foot}" x2="{right}" y2="{foot}" stroke="currentColor" stroke-opacity=".45"/>']
    at = _decades(y_axis) if y_axis.log else ticks(y_axis.low, y_axis.high)
    for value, place in zip(at, y_axis.place(np.array(at, dtype=np.float64)), strict=True):
        y = foot - float(place) * (HEIGHT - TOP - BOTTOM)
        out.append(
            f'<line x1="{LEFT}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}" stroke="currentColor" stroke-opacity=".14"/>'
        )
        out.append(f'<text x="{LEFT - 7}" y="{y + 4:.1f}" text-anchor="end" opacity=".75">{figure(value)}</text>')
    across = [value for value in ticks(x_axis.low, x_axis.high, about=6) if float(value).is_integer()]
    for value, place in zip(across, x_axis.place(np.array(across, dtype=np.float64)), strict=True):
        x = LEFT + float(place) * (WIDTH - LEFT - RIGHT)
        anchor = "end" if x > right - 12 else "middle"
        text = f"{value:,.0f}" if abs(value) < 1e7 else figure(value)
        out.append(f'<text x="{x:.1f}" y="{foot + 18}" text-anchor="{anchor}" opacity=".75">{text}</text>')
    return "".join(out)


def _decades(axis: _Axis) -> Sequence[float]:
    """Return powers of ten inside a log axis, few of many; where there is at most one, values between them too."""
    low, high = math.ceil(math.log10(axis.low)), math.floor(math.log10(axis.high))
    apart = max(math.ceil((high - low + 1) / 6), 1)
    powers = [10.0**k for k in range(low, high + 1, apart)]
    if len(powers) > 2:
        return powers
    return [m * 10.0**k for k in range(low - 1, high + 1) for m in (1, 2, 5) if axis.low <= m * 10.0**k <= axis.high]


def _line(xs: Floats, ys: Floats, *, width: float) -> str:
    """Return a line that breaks where a value is not finite; a value alone between two of these is a dot."""
    parts, start = [], None
    there = np.isfinite(ys)
    for i in range(len(ys) + 1):
        if i < len(ys) and there[i]:
            start = i if start is None else start
        elif start is not None:
            parts.append((start, i))
            start = None
    path = "".join("M" + "L".join(f"{xs[i]:.1f} {ys[i]:.1f}" for i in range(a, b)) for a, b in parts if b - a > 1)
    alone = "".join(
        f'<circle cx="{xs[a]:.1f}" cy="{ys[a]:.1f}" r="{width * 1.4:.1f}" fill="{ACCENT}"/>'
        for a, b in parts
        if b - a == 1
    )
    line = f'<path d="{path}" fill="none" stroke="{ACCENT}" stroke-width="{width}" stroke-linejoin="round"/>'
    return (line if path else "") + alone


def _dots(xs: Floats, ys: Floats) -> str:
    there = np.flatnonzero(np.isfinite(ys))
    return "".join(
        f'<circle cx="{xs[i]:.1f}" cy="{ys[i]:.1f}" r="3" fill="{ACCENT}" fill-opacity=".65"/>' for i in there
    )


def _bad_marks(xs: Floats, values: Floats, foot: float, *, size: float) -> str:
    """Return a cross at the foot for values that are not finite: of many, some; the first one always."""
    bad = np.flatnonzero(~np.isfinite(values))
    if bad.size > MOST_MARKS:
        bad = bad[np.linspace(0, bad.size - 1, MOST_MARKS).astype(np.intp)]
    s = size
    path = "".join(f"M{xs[i] - s:.1f} {foot - s:.1f}l{2 * s} {2 * s}m0 {-2 * s}l{-2 * s} {2 * s}" for i in bad)
    return f'<path d="{path}" stroke="{FLAG}" stroke-width="1.4" fill="none"/>' if path else ""

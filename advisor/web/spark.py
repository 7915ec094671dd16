"""A curve as a line of a few letters' size, for tables: points of an SVG polyline. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

WIDTH: Final = 100.0
HEIGHT: Final = 24.0
MARGIN: Final = 2.0


def spark(values: Sequence[float]) -> list[str]:
    """Return the points of each unbroken part of a curve; values that are not finite leave gaps.

    >>> spark([0.0, 1.0, float("nan"), 0.5, 0.0])
    ['0,22 25,2', '75,12 100,22']
    """
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return []
    low, high = min(finite), max(finite)
    span = high - low
    wide = WIDTH / max(len(values) - 1, 1)
    parts: list[list[str]] = [[]]
    for i, value in enumerate(values):
        if not math.isfinite(value):
            parts.append([])
            continue
        share = (value - low) / span if 0 < span < math.inf else 0.5
        parts[-1].append(f"{i * wide:.4g},{HEIGHT - MARGIN - share * (HEIGHT - 2 * MARGIN):.4g}")
    return [" ".join(part if len(part) > 1 else part * 2) for part in parts if part]

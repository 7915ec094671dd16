"""Fewer points of a curve, chosen so that a picture of it looks the same. Pure.

Only chooses among the points that there are: no value is averaged or made up, and what is NaN or ±inf stays visible.
"""

from __future__ import annotations

from storage.records import Curve
from storage.thinning import FEWEST, chosen


def downsample(curve: Curve, max_points: int) -> Curve:
    """Return a curve of at most ``max_points`` of its points, in their order; itself if it has no more.

    Raises
    ------
    RecordError
        If ``max_points`` is below 8.
    """
    if len(curve) <= max_points and max_points >= FEWEST:
        return curve
    kept = chosen(curve.values, max_points)
    return Curve.of(curve.metric, curve.steps[kept], curve.values[kept], curve.times[kept])

"""Which values of a long row to keep, so that a picture of them looks the same. Pure.

Only chooses among the values that there are: none is averaged or made up. Leaves out what the values belong to: curves
(``storage.downsample``), small pictures (``storage.svg``).
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from storage.errors import RecordError

FEWEST: Final = 8
"""A budget below this cannot hold what one bucket may have to show."""
ORDINARY, AT_MOST = 4, 7
"""Points kept of a bucket: of finite values; where NaN, +inf and -inf all occur as well."""

Positions = NDArray[np.intp]


def chosen(values: NDArray[np.float64], max_points: int) -> Positions:
    """Return the positions of at most ``max_points`` values, rising.

    Of each bucket the first and the last value are kept, the lowest and the highest finite one, and the first
    NaN, +inf and -inf. So a spike of one point survives wherever it is the extreme of its bucket, which the
    curve's own extremes always are, and no bucket hides that something in it was not finite.

    First, last, lowest and highest are M4 (Jugel, Jerzak, Hackenbroich and Markl 2014, "M4: A
    Visualization-Oriented Time Series Data Aggregation", https://doi.org/10.14778/2732951.2732953). Its
    buckets are equal stretches of time; these hold equally many points, because a curve's steps
    may repeat, go back or grow apart.

    Raises
    ------
    RecordError
        If ``max_points`` is below 8.
    """
    if max_points < FEWEST:
        raise RecordError(f"max_points = {max_points} is too few to show a curve; give {FEWEST} or more")
    if values.size <= max_points:
        return np.arange(values.size)
    for in_bucket in range(ORDINARY, AT_MOST):
        kept = _of_buckets(values, max_points // in_bucket)
        if kept.size <= max_points:
            return kept
    return _of_buckets(values, max_points // AT_MOST)


def _of_buckets(values: NDArray[np.float64], n_buckets: int) -> Positions:
    edges = np.linspace(0, values.size, n_buckets + 1).astype(np.intp)
    starts, sizes = edges[:-1], np.diff(edges)
    bucket = np.repeat(np.arange(n_buckets), sizes)

    def first_where(true: NDArray[np.bool_]) -> Positions:
        at = np.flatnonzero(true)
        return at[np.unique(bucket[at], return_index=True)[1]]

    finite = np.isfinite(values)
    low = np.minimum.reduceat(np.where(finite, values, np.inf), starts)
    high = np.maximum.reduceat(np.where(finite, values, -np.inf), starts)
    return np.unique(
        np.concatenate(
            [
                starts,
                edges[1:] - 1,
                first_where(finite & (values == low[bucket])),
                first_where(finite & (values == high[bucket])),
                first_where(np.isnan(values)),
                first_where(values == np.inf),
                first_where(values == -np.inf),
            ]
        )
    )

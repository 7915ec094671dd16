"""Medians of few values, several times faster than numpy's own, which spends its time on checks for NaN.

Invariant: equal to numpy's for values that are numbers; whoever may hold NaN must not come here.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SIGMA: Final = 1.4826
"""A normal distribution's standard deviation is this many median absolute deviations."""


def medians(values: Floats) -> Floats:
    """Return medians over the last axis, which must not be empty.

    >>> medians(np.array([[3.0, 1.0, 2.0], [1.0, 1.0, 9.0]])).tolist()
    [2.0, 1.0]
    """
    ordered = np.sort(values, axis=-1)
    n = ordered.shape[-1]
    return np.asarray((ordered[..., (n - 1) // 2] + ordered[..., n // 2]) / 2)


def median(values: Floats) -> float:
    """Return the median of values, shape (n,), n >= 1."""
    return float(medians(values))


def robust_sigma(values: Floats) -> float:
    """Return ``SIGMA`` times the median absolute deviation of values, shape (n,), n >= 1."""
    return SIGMA * median(np.abs(values - median(values)))

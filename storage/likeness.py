"""How like two runs are: in their parameters and in the shape of their curves; pure.

Left out: what was written of them (``storage.searching``) and how good they were.

Invariant: a likeness lies in [0, 1], is 1 of a run with itself, and is the same both ways.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from storage.records import Curve

POINTS: Final = 32
"""At which two curves are compared, by their share of the run."""
MOST_METRICS: Final = 4
WIDE: Final = 10.0
"""Ratio of highest to lowest from which a positive parameter is compared by its logarithm."""
STEEP: Final = 100.0
"""The same of a curve."""
HUGE: Final = 1e100
"""Beyond that values are as good as infinite, and their differences overflow."""
NON_FINITE_SHARE: Final = 0.5
"""What is left of the likeness of curves of which one is finite and the other is not."""

Scale = tuple[float, float, bool]
"""Lowest, highest, whether by logarithms."""


def scales(several: Sequence[Mapping[str, Any]]) -> dict[str, Scale]:
    """Return, for each numeric parameter, over which range runs differ.

    >>> scales([{"lr": 0.001, "n": 2}, {"lr": 0.1, "n": 4}])
    {'lr': (-3.0, -1.0, True), 'n': (2.0, 4.0, False)}
    """
    values: dict[str, list[float]] = {}
    for params in several:
        for name, value in params.items():
            if _is_number(value):
                values.setdefault(name, []).append(float(value))
    out = {}
    for name, found in values.items():
        low, high = min(found), max(found)
        wide = low > 0 and high / low >= WIDE
        out[name] = (math.log10(low), math.log10(high), True) if wide else (low, high, False)
    return out


def of_parameters(one: Mapping[str, Any], other: Mapping[str, Any], *, scales: Mapping[str, Scale]) -> float:
    """Return how like two configurations are: 1 minus Gower's distance (1971), wide positive ranges by logarithms.

    A parameter that only one of them has counts as different. 0 where neither has any.

    >>> of_parameters({"lr": 0.001, "opt": "sgd"}, {"lr": 0.01, "opt": "sgd"}, scales={"lr": (-3.0, -1.0, True)})
    0.75
    """
    names = one.keys() | other.keys()
    if not names:
        return 0.0
    return sum(_of_values(one.get(name), other.get(name), scales.get(name)) for name in names) / len(names)


def _of_values(one: Any, other: Any, scale: Scale | None) -> float:
    if one == other or (one != one and other != other):  # both NaN
        return 1.0
    if scale is None or not (_is_number(one) and _is_number(other)):
        return 0.0
    low, high, by_logarithm = scale
    if by_logarithm:
        one, other = math.log10(one), math.log10(other)
    return max(0.0, 1.0 - abs(one - other) / (high - low)) if high > low else 0.0


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and _is_finite(value)


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond 1e308
        return False


def of_curves(one: Mapping[str, Curve], other: Mapping[str, Curve], *, first: str | None = None) -> tuple[float, str]:
    """Return how like the curves of two runs are in shape, and the metric in which they are most alike; 0 for none.

    Parameters
    ----------
    first
        The metric that matters most, compared before others.
    """
    shared = sorted(one.keys() & other.keys(), key=lambda name: (name != first, name))[:MOST_METRICS]
    found = [(of_shapes(one[name].values, other[name].values), name) for name in shared]
    if not found:
        return 0.0, ""
    return sum(like for like, _ in found) / len(found), max(found, key=lambda pair: pair[0])[1]


def of_shapes(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Return how like two curves are: 1 minus their mean distance, in shares of the range that both cover.

    Each is stretched over its run, so that a short run may be like a long one. How much of them is finite is compared
    too.
    """
    a, b = _stretched(one), _stretched(other)
    if a is None or b is None:
        return 1.0 if a is None and b is None else 0.0
    low, high = float(min(a.min(), b.min())), float(max(a.max(), b.max()))
    if low > 0 and high / low > STEEP:
        a, b, low, high = np.log(a), np.log(b), math.log(low), math.log(high)
    apart = float(np.abs(a - b).mean()) / (high - low) if high > low else 0.0
    broken = [float(np.mean(~np.isfinite(values))) for values in (one, other)]
    agree = 1.0 - abs(broken[0] - broken[1])
    if (broken[0] > 0) != (broken[1] > 0):
        agree *= NON_FINITE_SHARE
    return (1.0 - apart) * agree


def _stretched(values: NDArray[np.float64]) -> NDArray[np.float64] | None:
    finite = np.flatnonzero(np.isfinite(values))
    if not finite.size:
        return None
    at = finite / max(values.size - 1, 1)
    values = np.clip(values, -HUGE, HUGE)
    return np.asarray(np.interp(np.linspace(0.0, 1.0, POINTS), at, values[finite]))

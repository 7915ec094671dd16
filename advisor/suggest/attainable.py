"""Which values a metric can take at all: a share lies between 0 and 1, a squared error is not negative. Pure.

Guessed from the words in the metric's name and from what was seen of it, since nobody declares it. Leaves out which way
is better (the objective says it).

Invariant: what was seen lies in the range that is returned; where the name says nothing, the range is without end.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

from advisor.metric_names import LOSSES, SCORES, TIMES, words_of
from storage.records import Objective

Range = tuple[float, float]
"""Least and largest value, infinite where that is not known."""

UNKNOWN: Final[Range] = (-math.inf, math.inf)
SHARES: Final = SCORES - {"r2", "psnr", "ssim", "reward", "return"}
"""Between 0 and 1, or between 0 and 100 where one was seen above 1."""
NOT_NEGATIVE: Final = (LOSSES - {"nll"}) | TIMES | {"bytes"}
"""0 or more, if none was seen below 0: of a loss nobody can tell (an evidence bound, a density's likelihood)."""
AT_MOST_ONE: Final = frozenset({"r2"})
OF_OTHER_RANGE: Final = frozenset(
    "log minus delta diff difference change gain gap improvement relative ratio normalized normalised scaled".split()
)
"""Words that say that something was done to a metric, after which its range is another one."""
NEGATED: Final = frozenset({"neg", "negative"})


def attainable(metric: str, seen: Iterable[float]) -> Range:
    """Return the least and the largest value that a metric can take.

    Parameters
    ----------
    metric
        Its name.
    seen
        Values of it; those that are not finite are passed over.

    Examples
    --------
    >>> attainable("val_loss", [0.3, 0.1]), attainable("val_loss", [0.3, -0.1])
    ((0.0, inf), (-inf, inf))
    >>> attainable("val_acc", [0.8, 0.9]), attainable("val_acc", [80.0, 90.0])
    ((0.0, 1.0), (0.0, 100.0))
    """
    values = [value for value in seen if math.isfinite(value)]
    if not values:
        return UNKNOWN
    words = words_of(metric)
    if words & NEGATED:  # scikit-learn's scores of errors
        low, high = _range(words - NEGATED, min(-value for value in values), max(-value for value in values))
        return -high, -low
    return _range(words, min(values), max(values))


def is_last(best: float, possible: Range, objective: Objective) -> bool:
    """Return whether no value that the objective can take is better than the best one.

    >>> is_last(1.0, (0.0, 1.0), Objective("val_acc", "maximize")), is_last(1.0, (0.0, 1.0), Objective("val_error"))
    (True, False)
    """
    return best >= possible[1] if objective.direction == "maximize" else best <= possible[0]


def _range(words: frozenset[str], least: float, largest: float) -> Range:
    if words & OF_OTHER_RANGE and not words >= {"log", "loss"}:
        return UNKNOWN
    if words & NOT_NEGATIVE:
        return (0.0, math.inf) if least >= 0 else UNKNOWN
    if words & SHARES and least >= 0 and largest <= 100:
        return 0.0, 1.0 if largest <= 1 else 100.0
    if words & AT_MOST_ONE and largest <= 1:
        return -math.inf, 1.0
    return UNKNOWN

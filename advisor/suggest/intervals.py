"""How sure a share or a mean is: intervals that the ledger, the importances and the stop advice give with each figure.

Pure. Invariant: an interval holds its estimate, and nothing is said where there is nothing to count.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from statistics import NormalDist
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

LEVEL: Final = 0.95
"""How often an interval is meant to hold the truth."""
N_RESAMPLES: Final = 2000
"""Bootstrap resamples of a mean: the ends move by about a fiftieth of the width from seed to seed."""


@dataclass(frozen=True, slots=True)
class Share:
    """How many of some things had a property."""

    n_hits: int
    _: KW_ONLY
    n: int

    @property
    def value(self) -> float | None:
        """The share in [0, 1], None of nothing."""
        return self.n_hits / self.n if self.n else None

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval by Wilson's score, (0, 1) of nothing.

        It keeps its level for small numbers and shares near 0 or 1, where the usual one fails
        (E. B. Wilson, "Probable inference", 1927; L. D. Brown et al., "Interval estimation for a binomial
        proportion", 2001). It takes the things as independent.
        """
        if not self.n:
            return 0.0, 1.0
        z = NormalDist().inv_cdf(0.5 + LEVEL / 2)
        share, spread = self.n_hits / self.n, z * z / self.n
        centre = (share + spread / 2) / (1 + spread)
        half = math.sqrt(share * (1 - share) * spread + spread * spread / 4) / (1 + spread)
        return max(0.0, min(centre - half, share)), min(1.0, max(centre + half, share))

    def as_json(self) -> dict[str, Any]:
        """Return the public JSON form."""
        low, high = self.interval
        return {"share": self.value, "low": low, "high": high, "n_hits": self.n_hits, "n": self.n}


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean with its interval, in the unit of what was averaged."""

    value: float
    _: KW_ONLY
    low: float
    high: float
    n: int
    """Values that it is the mean of."""

    @property
    def sign(self) -> int:
        """-1 or 1 where the whole interval lies on that side of 0, otherwise 0."""
        return (self.low > 0) - (self.high < 0)

    def as_json(self) -> dict[str, Any]:
        """Return the public JSON form."""
        return {"value": self.value, "low": self.low, "high": self.high, "n": self.n}


def mean_of(values: Sequence[float] | NDArray[np.float64], *, seed: int = 0) -> Estimate | None:
    """Return the mean of finite values with its 95 % percentile-bootstrap interval; None below two values.

    B. Efron, R. J. Tibshirani, "An introduction to the bootstrap", 1993. With a handful of values it is
    too narrow by a fifth or so: it says how much the mean hangs on single values, not more.
    """
    given = np.asarray(values, dtype=np.float64)
    if given.size < 2 or not np.isfinite(given).all():
        return None
    scale = float(np.abs(given).max()) or 1.0  # huge values must not overflow in their sum
    scaled, rng = given / scale, np.random.default_rng(seed)
    means = [float(rng.choice(scaled, scaled.size).mean()) for _ in range(N_RESAMPLES)]
    mean = float(scaled.mean()) * scale
    low, high = (float(end) * scale for end in np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]))
    return Estimate(mean, low=min(low, mean), high=max(high, mean), n=int(given.size))

"""The model of an experiment's own runs: a Gaussian process on what past experiments leave unexplained.

A Gaussian process with the covariance of ``kernel``. Its prior mean is what past experiments say, times a slope that
is fitted to the runs here and clipped to [0, 1.5]: where the past misleads, the slope falls to 0 and the model is a
cold one. Lengths are the most probable ones under a prior that is centred on those that the past has, so that five
runs do not overturn what hundreds showed.

Invariant: equal data give an equal model. Whoever keeps lengths fits them to the first so many runs (``milestone``), so
that they do not depend on what was asked in between.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from advisor.suggest.kernel import Kernel, Posterior, Prior, learn

Array = NDArray[np.float64]

SLOPE_MAX: Final = 1.5
"""The past may be believed a little more than it says, since it smooths."""
SLOPE_RIDGE: Final = 2.0
"""Belief in a slope of 1 before any run, in units of squared normal scores."""
WARM_SD: Final = 0.5
"""How far lengths may differ from those of the past, in natural logarithms (one standard deviation)."""
COLD_SD: Final = 0.75
"""The same where there is no past."""
OWN_NOISE: Final = 0.02
"""Centre of the prior over the noise of the runs here. What past experiments leave unexplained is no measure of it."""
NOISE_SD: Final = 1.0
SIGNAL_SD: Final = 0.3
"""How far noise and signal may differ from their centres; the signal's is the variance that is seen."""
VARIANCE_MIN: Final = 0.1
"""Least variance that is assumed to be unexplained, of scores that vary by 1: the past never knows everything."""
EXACT_UNTIL: Final = 32
"""Runs up to which each new one refits everything."""
GROWTH: Final = 1.1
"""Beyond, everything is refitted when there are a tenth more."""


def milestone(n: int, *, exact_until: int = EXACT_UNTIL, growth: float = GROWTH) -> int:
    """Return the largest number of runs, at most ``n``, at which models are refitted.

    >>> [milestone(n) for n in (5, 32, 34, 36, 1000)]
    [5, 32, 32, 35, 924]
    """
    if n <= exact_until:
        return n
    at = exact_until
    while (following := max(at + 1, int(at * growth))) <= n:
        at = following
    return at


@dataclass(frozen=True, slots=True, eq=False)
class Surface:
    """What the runs here and the past say of any point, as normal scores: higher is better."""

    slope: float
    """How far the past is believed, in [0, 1.5]."""
    kernel: Kernel
    evidence: float
    """Log density of each run here given all others, summed: which of two models foretells better."""
    _posterior: Posterior
    _constant: float
    _said_mean: float

    def predict(self, columns: Array, said: Array) -> tuple[Array, Array]:
        """Return mean and standard deviation at points with columns (n, D) of which the past says ``said`` (n,)."""
        mean, variance = self._posterior.predict(columns)
        return mean + self._constant + self.slope * (said - self._said_mean), np.maximum(np.sqrt(variance), 1e-6)


def fit(
    columns: Array,
    scores: Array,
    said: Array,
    prior: Kernel,
    *,
    cold: bool,
    foretold: Array | None = None,
    kernel: Kernel | None = None,
) -> Surface:
    """Fit the model.

    Parameters
    ----------
    columns, scores, said
        Of the runs here: shape (n, D); (n,), higher is better; (n,), what the past says of them.
    prior
        Covariance to start from.
    cold
        Whether there is no past.
    foretold
        Shape (n,): what the past said of each run before it was over; by default ``said``. The slope is fitted to
        these, since what is said afterwards has been chosen to fit.
    kernel
        Covariance that was fitted before; None fits it.
    """
    foretold = said if foretold is None else foretold
    slope = 0.0 if cold else slope_of(foretold, scores)
    residual = scores - slope * (said - said.mean())
    constant = float(residual.mean())
    residual = residual - constant
    if kernel is None:
        kernel = fit_kernel(columns, residual, prior, cold=cold)
    posterior = Posterior(kernel, columns, residual)
    before = scores - slope * (foretold - foretold.mean())
    evidence = posterior.left_out(before - before.mean())
    return Surface(slope, kernel, evidence, posterior, constant, float(said.mean()))


def slope_of(said: Array, scores: Array) -> float:
    """Return the slope of outcomes on what the past said of them: ridge towards 1, clipped to [0, 1.5]."""
    centred = said - said.mean()
    above = float(centred @ (scores - scores.mean())) + SLOPE_RIDGE
    return float(np.clip(above / (float(centred @ centred) + SLOPE_RIDGE), 0.0, SLOPE_MAX))


def fit_kernel(columns: Array, residual: Array, center: Kernel, *, cold: bool) -> Kernel:
    """Return the most probable covariance of the residuals, under a prior centred on another one's lengths."""
    signal = max(float(residual.var()), VARIANCE_MIN)
    prior = Prior(
        Kernel(center.lengths, noise=OWN_NOISE, signal=signal),
        lengths_sd=COLD_SD if cold else WARM_SD,
        noise_sd=NOISE_SD,
        signal_sd=SIGNAL_SD,
    )
    return learn([(columns, residual)], prior)

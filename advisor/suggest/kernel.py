"""The Gaussian process that all models of this package share, and how its lengths are learned from the past.

Matérn 5/2 with one length a column. It gives what scikit-learn's ``GaussianProcessRegressor`` with ``Matern(nu=2.5)``
gives, which the tests compare; that one is not used because importing scikit-learn takes longer than a suggestion may.

Learning one set of lengths over many past experiments follows Z. Wang et al., "Pre-trained Gaussian processes for
Bayesian optimization" (arXiv 2109.08215): the sum of their log marginal likelihoods is maximised. A log-normal prior
keeps columns of which the runs say nothing where they were.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

LENGTH: Final = 0.6
"""Centre of the prior over lengths: a little more than half of a parameter's range."""
LENGTH_BOUNDS: Final = (0.05, 20.0)
"""From a twentieth of the range, which no few runs resolve, to no influence at all."""
NOISE: Final = 0.1
"""Variance of the noise that is assumed where nothing is known, of outcomes that vary by 1."""
NOISE_BOUNDS: Final = (1e-3, 2.0)
SIGNAL_BOUNDS: Final = (0.1, 10.0)
BLOCK: Final = 128
"""Points whose correlations are worked out at once; those with a few hundred others stay in a core's cache."""
MAX_ITERATIONS: Final = 25
"""Of the optimiser; more move the lengths by less than a tenth."""


@dataclass(frozen=True, slots=True, eq=False)
class Kernel:
    """Matérn 5/2 covariance with one length a column, and independent noise."""

    lengths: Array
    """Shape (D,), in shares of a parameter's range."""
    signal: float = 1.0
    """Variance of the outcome."""
    noise: float = NOISE
    """Variance of the noise."""

    @classmethod
    def default(cls, n_columns: int) -> Kernel:
        """Return the covariance that is assumed where nothing is known."""
        return cls(np.full(n_columns, LENGTH))

    def between(self, a: Array, b: Array) -> Array:
        """Return the correlations, shape (n, m), of points with columns (n, D) and (m, D)."""
        scale = math.sqrt(5.0) / self.lengths
        a, b = a * scale, b * scale
        # |a - b|² as one product: of (-2a, |a|², 1) and (b, 1, |b|²).
        left = np.hstack([-2.0 * a, np.einsum("ij,ij->i", a, a)[:, None], np.ones((len(a), 1))])
        right = np.vstack([b.T, np.ones((1, len(b))), np.einsum("ij,ij->i", b, b)])
        out, roots = np.empty((len(a), len(b))), np.empty((min(BLOCK, len(a)), len(b)))
        for start in range(0, len(a), BLOCK):  # in place: memory is the bottleneck
            found = out[start : start + BLOCK]
            root = roots[: len(found)]
            np.matmul(left[start : start + BLOCK], right, out=root)
            np.sqrt(np.maximum(root, 0.0, out=root), out=root)
            np.multiply(root, 1.0 / 3.0, out=found)
            found += 1.0
            found *= root
            found += 1.0
            found *= np.exp(np.negative(root, out=root), out=root)
        return out  # (1 + r + r² / 3) exp(-r) with r² = 5 d²


class Posterior:
    """A Gaussian process of mean 0, given values at points (C. E. Rasmussen and C. Williams, 2006, algorithm 2.1).

    Parameters
    ----------
    kernel
        Its covariance.
    columns
        Shape (n, D): the points.
    values
        Shape (n,): what was seen there, with noise.
    """

    def __init__(self, kernel: Kernel, columns: Array, values: Array) -> None:
        self._kernel, self._columns = kernel, columns
        covariance = kernel.signal * kernel.between(columns, columns) + kernel.noise * np.eye(values.size)
        self._factor = _cholesky(covariance)
        self._weights = _solve(self._factor, values)

    def mean(self, columns: Array) -> Array:
        """Return the expected values at points with columns (m, D), shape (m,)."""
        return np.asarray(self._kernel.signal * self._kernel.between(columns, self._columns) @ self._weights)

    def predict(self, columns: Array) -> tuple[Array, Array]:
        """Return mean and variance, without noise, at points with columns (m, D), shape (m,) each."""
        from scipy.linalg.lapack import dtrtrs

        cross = self._kernel.between(columns, self._columns)
        cross *= self._kernel.signal
        mean = cross @ self._weights
        known, _ = dtrtrs(self._factor, cross.T, lower=True, overwrite_b=True)
        variance = np.maximum(self._kernel.signal - np.einsum("ij,ij->j", known, known), 0.0)
        return np.asarray(mean), np.asarray(variance)

    def left_out(self, values: Array) -> float:
        """Return the log density of each of other values there, given all others, summed (ibid., section 5.4.2)."""
        inverse = _inverse(self._factor)
        precision = np.diag(inverse)
        errors = (inverse @ values) / precision
        return float(0.5 * (np.log(precision) - precision * errors**2 - np.log(2 * np.pi)).sum())


@dataclass(frozen=True, slots=True, eq=False)
class Prior:
    """Log-normal beliefs about a covariance: a centre, and standard deviations in natural logarithms."""

    center: Kernel
    _: KW_ONLY
    lengths_sd: float
    noise_sd: float
    signal_sd: float


def learn(tasks: Sequence[tuple[Array, Array]], prior: Prior) -> Kernel:
    """Return the most probable covariance of several experiments at once.

    Parameters
    ----------
    tasks
        Of each experiment the columns of its runs, shape (n, D), and their outcomes, shape (n,), of mean 0.
    """
    center = prior.center
    tasks = [(columns, values) for columns, values in tasks if values.size]
    if not tasks:
        return center
    from scipy.optimize import minimize

    gaps = [Gaps.of(columns) for columns, _ in tasks]
    outcomes = [values for _, values in tasks]
    middle = np.log(np.concatenate([center.lengths, [center.noise, center.signal]]))
    spread = np.concatenate([np.full(center.lengths.size, prior.lengths_sd), [prior.noise_sd, prior.signal_sd]])

    def loss(theta: Array) -> tuple[float, Array]:
        value, gradient = negative_log_likelihood(theta, gaps, outcomes)
        gap = (theta - middle) / spread
        return value + 0.5 * float(gap @ gap), gradient + gap / spread

    limits = [LENGTH_BOUNDS] * center.lengths.size + [NOISE_BOUNDS, SIGNAL_BOUNDS]
    bounds = [(math.log(low), math.log(high)) for low, high in limits]
    found = minimize(loss, middle, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": MAX_ITERATIONS})
    theta = np.exp(found.x)
    return Kernel(theta[:-2], noise=float(theta[-2]), signal=float(theta[-1]))


class Gaps(NamedTuple):
    """The pairs of an experiment's runs, each once."""

    first: NDArray[np.intp]
    second: NDArray[np.intp]
    """Shape (p,): rows of the two."""
    at: NDArray[np.intp]
    """Shape (p,): where a pair is in the covariance, shape (n, n), read row by row."""
    squares: Array
    """Shape (p, D): squared distance along each column."""

    @classmethod
    def of(cls, columns: Array) -> Self:
        """Return the pairs of runs with columns (n, D)."""
        first, second = np.triu_indices(len(columns), 1)
        return cls(first, second, first * len(columns) + second, (columns[first] - columns[second]) ** 2)


def negative_log_likelihood(theta: Array, gaps: Sequence[Gaps], outcomes: Sequence[Array]) -> tuple[float, Array]:
    """Return the loss of several experiments and its gradient by the logarithms of lengths, noise and signal.

    Each pair is worked out once: a covariance is symmetric, and LAPACK reads one half of it.
    """
    from scipy.linalg.lapack import dpotri

    lengths, noise, signal = np.exp(theta[:-2]), float(np.exp(theta[-2])), float(np.exp(theta[-1]))
    total, gradient = 0.0, np.zeros(theta.size)
    for pairs, values in zip(gaps, outcomes, strict=True):
        n = values.size
        root = np.sqrt(5.0 * (pairs.squares @ lengths**-2))
        decay = np.exp(-root)
        correlation = (1.0 + root + root * root / 3.0) * decay
        covariance = np.zeros(n * n)
        covariance[pairs.at] = signal * correlation
        covariance[:: n + 1] = signal + noise
        factor = _cholesky(covariance.reshape(n, n))  # one triangle is all that it reads
        weights = _solve(factor, values)
        total += 0.5 * float(values @ weights) + float(np.log(np.diag(factor)).sum())
        inverse, _ = dpotri(factor, lower=True)
        pull = weights[pairs.first] * weights[pairs.second] - inverse.T.ravel()[pairs.at]
        trace = float(weights @ weights) - float(np.trace(inverse))
        slope = pull * (signal * 5.0 / 3.0 * (1.0 + root) * decay)
        gradient[:-2] -= (slope @ pairs.squares) / lengths**2
        gradient[-2] -= 0.5 * noise * trace
        gradient[-1] -= signal * (float(pull @ correlation) + 0.5 * trace)
    return total, gradient


# LAPACK's own routines: scipy.linalg's spend longer on checks than these do on sixty equations.


def _cholesky(matrix: Array) -> Array:
    """Return the lower Cholesky factor of a symmetric matrix, of which what is above the diagonal is read."""
    from scipy.linalg.lapack import dpotrf

    # A transposed view is what Fortran takes without a copy.
    factor, info = dpotrf(matrix.T, lower=True, clean=True)
    if info:
        raise np.linalg.LinAlgError(f"the covariance is not positive definite (minor {info})")
    return np.asarray(factor)


def _solve(factor: Array, values: Array) -> Array:
    """Return the solution, for values of shape (n,), of the system whose lower Cholesky factor is given."""
    from scipy.linalg.lapack import dpotrs

    solution, _ = dpotrs(factor, values, lower=True)
    return np.asarray(solution)


def _inverse(factor: Array) -> Array:
    """Return the inverse of the matrix whose lower Cholesky factor is given."""
    from scipy.linalg.lapack import dpotri

    lower, _ = dpotri(factor, lower=True)
    inverse = lower + lower.T
    np.fill_diagonal(inverse, np.diag(lower))
    return np.asarray(inverse)

"""What is usual for a run: figures of its curves beside its siblings', after what its hyperparameters explain.

Three steps: what other experiments taught of hyperparameters is taken off (``Effects``: the curve of a run with three
times the siblings' learning rate falls faster anywhere), then what the siblings themselves show, by kernel ridge
regression on all their parameters, then the rest is measured in robust sigmas. Leaves out forests and p-values.
Invariant: no regression that says what is expected of a run has learned from it (leave-one-out); it is one of all in
the centre and in the spread, which one run among many cannot move.

Source: leave-one-out residuals of ridge regression, C. E. Rasmussen, C. K. I. Williams, "Gaussian Processes for Machine
Learning", 2006, section 5.4.2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from advisor.findings.design import as_numbers, family_of
from advisor.findings.hyperparameters import known_columns
from advisor.findings.medians import SIGMA

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

MIN_SIBLINGS: Final = 8
"""Fewer sound siblings give no usable context (measured: 8 usable, 20 nearly full value)."""
MIN_REGRESSION: Final = 16
"""Siblings from which on their own hyperparameters are regressed out, where that predicts better than their median."""
MAX_LEARNED: Final = 600
"""Siblings that a regression learns from: its cost grows with their cube, and more add little."""
MAD_FLOOR: Final = 0.3
"""A spread is at least this share of what it is in other experiments: else one tiny spread decides."""
SPREAD_FLOOR: Final = 0.05
"""Smallest spread of any feature: differences of 5 % are never remarkable."""
Z_LIMIT: Final = 12.0
"""Robust z beyond this says nothing more."""
CLIPPED_SIGMAS: Final = 4.0
"""What lies further off counts as this far off where a regression learns: faults among siblings teach little."""
RIDGES: Final = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
"""Share of noise against signal, tried by leave-one-out for each feature."""
LINEAR: Final = 0.1
"""Weight of a straight line in each parameter beside a smooth function of all."""
LEAST_GAIN: Final = 0.03
"""A regression is used where it lowers the squared error by 3 %."""


@dataclass(frozen=True, slots=True, eq=False)
class Effects:
    """How figures of curves follow from hyperparameters, learned from sound runs of other experiments.

    A ridge regression of each feature, relative to the runs beside it, on the columns of ``hyperparameters`` and their
    products.
    """

    mean: Floats
    """Shape (terms,): subtracted from each term."""
    scale: Floats
    """Shape (terms,): what the rest is divided by."""
    weights: Floats
    """Shape (terms, n_features)."""
    spread: Floats
    """Shape (n_features,): robust sigma of what is left within an experiment."""

    @classmethod
    def learn(cls, groups: Sequence[tuple[Floats, Sequence[Mapping[str, Any]]]], *, ridge: float = 0.03) -> Self:
        """Return the effects in experiments, each the features (n, n_features) and the parameters of its runs."""
        terms = np.concatenate([_terms(params) for _, params in groups])
        targets = np.concatenate([_clipped(_centred(values)) for values, _ in groups])
        mean, scale = terms.mean(axis=0), terms.std(axis=0) + 1e-9
        z = (terms - mean) / scale
        weights = np.linalg.solve(z.T @ z + ridge * len(z) * np.eye(z.shape[1]), z.T @ targets)
        left = targets - z @ weights
        return cls(mean, scale, weights, SIGMA * np.median(np.abs(left), axis=0))

    def expected(self, params: Sequence[Mapping[str, Any]]) -> Floats:
        """Return what the parameters let expect of each feature beside the other runs, shape (n, n_features)."""
        return np.asarray(((_terms(params) - self.mean) / self.scale) @ self.weights)


def deviations(
    features: Floats,
    params: Sequence[Mapping[str, Any]],
    learned: Mask,
    *,
    effects: Effects | None,
    regress: bool = True,
    seed: int = 0,
) -> Floats:
    """Return by how many robust sigmas each figure is off what is usual, shape (n, n_features); 0 where unknown.

    Parameters
    ----------
    features
        Shape (n, n_features); NaN where a figure does not exist.
    params
        Of each run.
    learned
        Shape (n,): the runs that define what is usual; at least one.
    """
    left = features - _nanmedian(features[learned])
    if effects is not None:
        left = left - effects.expected(params)
    left = _within_families(left, params, learned)
    if regress and learned.sum() >= MIN_REGRESSION:
        left = _regressed(left, as_numbers(params), learned, seed=seed)
    centre, spread = _centre_and_spread(left[learned])
    floor = np.full(spread.shape, SPREAD_FLOOR)
    if effects is not None:
        floor = np.fmax(floor, MAD_FLOOR * effects.spread)
    return np.asarray(np.nan_to_num(np.clip((left - centre) / np.fmax(spread, floor), -Z_LIMIT, Z_LIMIT)))


def beside_reference(features: Floats, centre: Floats, spread: Floats) -> Floats:
    """Return by how many robust sigmas each figure is off what it is in any experiment, shape (n, n_features).

    For runs with hardly a sibling: without a scale of their own, levels and all that varies from one experiment to the
    next says little.
    """
    z = np.clip((features - centre) / np.fmax(spread, SPREAD_FLOOR), -Z_LIMIT, Z_LIMIT)
    return np.asarray(np.nan_to_num(z))


def _terms(params: Sequence[Mapping[str, Any]]) -> Floats:
    columns = known_columns(params)
    first, second = np.triu_indices(columns.shape[1])
    return np.asarray(np.column_stack([columns, columns[:, first] * columns[:, second]]))


def _centred(values: Floats) -> Floats:
    return np.asarray(values - _nanmedian(values))


def _clipped(values: Floats) -> Floats:
    """Return centred values with those far off brought nearer, 0 where unknown."""
    limit = CLIPPED_SIGMAS * SIGMA * _nanmedian(np.abs(values)) + 1e-6
    return np.asarray(np.clip(np.nan_to_num(values), -np.nan_to_num(limit), np.nan_to_num(limit)))


def _within_families(values: Floats, params: Sequence[Mapping[str, Any]], learned: Mask) -> Floats:
    """Return values beside the median of the learned runs with the same categories, where there are many of them."""
    families, out = family_of(params), values.copy()
    for family in np.unique(families):
        rows = families == family
        if (rows & learned).sum() >= MIN_SIBLINGS:
            centre = _nanmedian(values[rows & learned])
            out[rows] = values[rows] - np.nan_to_num(centre)
    return out


def _regressed(values: Floats, design: Floats, learned: Mask, *, seed: int) -> Floats:
    """Return what the siblings' hyperparameters do not explain, feature by feature, where they explain anything."""
    rows = np.flatnonzero(learned)
    if rows.size > MAX_LEARNED:
        rows = np.sort(np.random.default_rng(seed).choice(rows, MAX_LEARNED, replace=False))
    spread = design[rows].std(axis=0)
    design = (design - design[rows].mean(axis=0))[:, spread > 0] / spread[spread > 0]
    if not design.shape[1]:
        return values
    kernel = _kernel(design, design[rows])
    centre = _nanmedian(values[rows])
    targets = _clipped(values[rows] - centre)
    usual = SIGMA * np.median(np.abs(targets), axis=0) + 1e-6
    levels, vectors = np.linalg.eigh(kernel[rows])
    turned = vectors.T @ targets
    out, best = values - centre, _error(targets, usual) * (1.0 - LEAST_GAIN)
    for ridge in RIDGES:
        inverse = 1.0 / (np.maximum(levels, 0.0) + ridge)
        weights = vectors @ (inverse[:, None] * turned)
        left_out = weights / (vectors**2 @ inverse)[:, None]
        error = _error(left_out, usual)
        better = error < best
        if better.any():
            rest = values - centre - kernel @ weights
            rest[rows] = values[rows] - centre - (targets - left_out)
            out[:, better], best[better] = rest[:, better], error[better]
    return out


def _kernel(one: Floats, other: Floats) -> Floats:
    """Return a smooth function of how near parameters are, and a straight one for what goes on beyond them."""
    n = one.shape[1]
    straight = one @ other.T / n
    apart = (one**2).sum(axis=1)[:, None] / n + (other**2).sum(axis=1)[None, :] / n - 2.0 * straight
    return np.asarray(np.exp(-np.maximum(apart, 0.0) / 2.0) + LINEAR * straight)


def _error(left: Floats, usual: Floats) -> Floats:
    return np.asarray(np.mean(np.minimum(np.abs(left) / usual, 3.0) ** 2, axis=0))


def _centre_and_spread(values: Floats) -> tuple[Floats, Floats]:
    centre = _nanmedian(values)
    return centre, SIGMA * _nanmedian(np.abs(values - centre))


def _nanmedian(values: Floats) -> Floats:
    """Return medians by column, NaN (without a warning) where a column holds nothing."""
    out = np.full(values.shape[1], np.nan)
    some = ~np.isnan(values).all(axis=0)
    if len(values):
        out[some] = np.nanmedian(values[:, some], axis=0)
    return out

"""A model of where curves end: finished runs that look alike at the same progress, weighed by a forest.

One of the importers of scikit-learn. Extremely randomised trees place runs by the first part of their curves and their
parameters. What a run may become is what the finished runs in its leaves became, in two readings that count
the same: the value that they ended with, and the run's own last value plus what they gained from there. Training
curves need both: with a schedule that decays to the end, who leads early says little, without one nearly all.

Invariant: the errors that the interval is made of are those of trees that never saw the run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from advisor.suggest.curve_features import CLIP, Floats

if TYPE_CHECKING:
    from sklearn.ensemble import ExtraTreesRegressor

N_TREES: Final = 100
"""Each run is out of bag in about 37 of them."""
FEATURES_TRIED: Final = 1.0
"""Share of the features that a split may choose from."""
SPREAD_FLOOR: Final = 0.5
"""Smallest spread of a forecast, as a share of the usual one: the residual of a run in a narrow leaf
would otherwise be divided by almost nothing."""
TAIL: Final = 0.1
"""Share of the possible ends left out at each side where their spread is measured."""


@dataclass(frozen=True, slots=True, eq=False)
class CurveModel:
    """A forest over finished runs, with its errors on runs that its trees never saw. All values are scaled."""

    finals: Floats
    """Shape (n,)."""
    gains: Floats
    """Shape (n,): final minus last value seen, both cut off."""
    centres: Floats
    """Shape (n,): each run's forecast by trees that never saw it."""
    scores: Floats
    """Shape (n,): final minus centre, as a share of the forecast's spread."""
    spreads: Floats
    """Shape (n,): the spread of each of these forecasts, never below its floor."""
    _forest: ExtraTreesRegressor
    _leaves: NDArray[np.int64]
    """Shape (n, trees)."""
    _counts: Floats
    """Shape (n, trees): how often a tree drew a run."""
    _usual_spread: float

    def outcomes(self, row: Floats, last: float) -> tuple[float, Floats]:
        """Return the centre of a run's possible ends, and as many of them as there are finished runs.

        Each finished run's error, as a share of the spread that was expected of it, times the spread expected here,
        is added to the centre (split-conformal with normalised residuals: J. Lei et al., "Distribution-free
        predictive inference for regression", 2018; residuals out of bag: B. Kim, C. Xu, R. F. Barber, "Predictive
        inference is free with the jackknife+-after-bootstrap", 2020).

        Parameters
        ----------
        row
            Shape (features,).
        last
            The run's last value, scaled.
        """
        same = _leaves(self._forest, row[None]) == self._leaves
        weights = _weights(same * self._counts, np.ones(self._counts.shape[1], dtype=bool))
        centre, spread = _middle(self.finals, self.gains, last, weights)
        return centre, centre + self.scores * max(spread, SPREAD_FLOOR * self._usual_spread)


def fit_curve_model(rows: Floats, last: Floats, finals: Floats, *, seed: int = 0) -> CurveModel:
    """Fit the forest to finished runs.

    Parameters
    ----------
    rows
        Shape (n, features): each run's features at the progress that is to be forecast from.
    last
        Shape (n,): last value seen by then, scaled.
    finals
        Shape (n,): final value, scaled.
    """
    from sklearn.ensemble import ExtraTreesRegressor

    capped = np.clip(last, *CLIP)
    gains = np.clip(finals, *CLIP) - capped
    forest = ExtraTreesRegressor(
        n_estimators=N_TREES, max_features=FEATURES_TRIED, bootstrap=True, random_state=seed, n_jobs=1
    )
    # Ranks, because one diverged run must not decide where the trees split.
    forest.fit(rows, np.column_stack([_standard_ranks(gains), _standard_ranks(finals)]))
    n = finals.size
    counts = np.column_stack([np.bincount(sample, minlength=n) for sample in forest.estimators_samples_]).astype(float)
    leaves = _leaves(forest, rows)
    centres, spreads = np.empty(n), np.empty(n)
    for i in range(n):
        weights = _weights((leaves[i][None] == leaves) * counts, counts[i] == 0)
        centres[i], spreads[i] = _middle(finals, gains, float(capped[i]), weights)
    usual = float(np.median(spreads)) or float(np.abs(finals - centres).mean()) or 1e-12
    spreads = np.maximum(spreads, SPREAD_FLOOR * usual)
    return CurveModel(finals, gains, centres, (finals - centres) / spreads, spreads, forest, leaves, counts, usual)


def _leaves(forest: ExtraTreesRegressor, rows: Floats) -> NDArray[np.int64]:
    """Return the leaf that each tree puts each row in, shape (n, trees).

    As ``forest.apply``, without its checks and its thread pool, which take ten times as long for one row.
    """
    narrow = np.ascontiguousarray(rows, dtype=np.float32)
    return np.column_stack([tree.tree_.apply(narrow) for tree in forest.estimators_]).astype(np.int64)


def _weights(shared: Floats, trees: NDArray[np.bool_]) -> Floats:
    """Return how much each finished run counts: its mean share of the leaves, shape (n,), over the trees chosen.

    Where no tree was left to judge by, all count the same.
    """
    chosen = shared[:, trees]
    sizes = chosen.sum(axis=0)
    weights: Floats = (chosen / np.maximum(sizes, 1e-12)).sum(axis=1)
    return weights / weights.sum() if weights.sum() > 0 else np.full(len(shared), 1 / len(shared))


def _middle(finals: Floats, gains: Floats, last: float, weights: Floats) -> tuple[float, float]:
    """Return the median of the possible ends, and half the distance between their outer tenths."""
    ends = np.concatenate([finals, min(max(last, CLIP[0]), CLIP[1]) + gains])
    order = ends.argsort()
    passed = np.concatenate([weights, weights])[order].cumsum() / 2
    low, centre, high = (
        ends[order[min(int(np.searchsorted(passed, share)), order.size - 1)]] for share in (TAIL, 0.5, 1 - TAIL)
    )
    return float(centre), float(high - low) / 2


def _standard_ranks(values: Floats) -> Floats:
    """Return ranks with mean 0 and standard deviation 1; ties share one."""
    ordered = np.sort(values)
    ranks = (np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")) / 2
    standard: Floats = (ranks - ranks.mean()) / max(float(ranks.std()), 1e-12)
    return standard

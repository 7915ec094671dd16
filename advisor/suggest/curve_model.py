"""A model of where curves end: finished runs that look alike at the same progress, weighed by two forests.

One of the importers of scikit-learn. Extremely randomised trees place runs by the first part of their curves and their
parameters, half of the trees by the values, half by their ranks. What a run may become is what the finished runs in its
leaves became, in two readings that count the same: the value that they ended with, and the run's own last value plus
what they gained from there. Training curves need both: with a schedule that decays to the end, who leads early says
little, without one nearly all. A run that is behind all of them is placed by what they gained alone, since the other
reading would put it among their ends; its interval is as wide as both readings are apart.

Invariant: the errors that the interval is made of are those of trees that never saw the run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from advisor.suggest.beyond import Departure
from advisor.suggest.curve_features import CLIP, Floats

if TYPE_CHECKING:
    from sklearn.ensemble import ExtraTreesRegressor

N_TREES: Final = 50
"""In each of two forests, one of which looks at features as they are and one at their ranks among the finished runs:
a split is drawn between the extremes of a feature, which one outlier can move. Each run is out of bag in about 37
of all."""
FEATURES_TRIED: Final = 1.0
"""Share of the features that a split may choose from."""
SPREAD_FLOOR: Final = 0.5
"""Smallest spread of a forecast, as a share of the usual one: the residual of a run in a narrow leaf
would otherwise be divided by almost nothing."""
OUT_OF_BAG: Final = 0.93
"""What errors out of bag are multiplied with. They are those of a third of the trees and of one finished run fewer, so
larger than the errors of the whole (S. Janitza, R. Hornung, "On the overestimation of random forest's out-of-bag
error", 2018). Chosen so that intervals hold 80 % of runs on draws that are not reported."""
TAIL: Final = 0.1
"""Share of the possible ends left out at each side where their spread is measured."""


@dataclass(frozen=True, slots=True, eq=False)
class CurveModel:
    """Two forests over finished runs, with its errors on runs that its trees never saw. All values are scaled."""

    finals: Floats
    """Shape (n,)."""
    gains: Floats
    """Shape (n,): final minus last value seen, both cut off."""
    centres: Floats
    """Shape (n,): each run's forecast by trees that never saw it."""
    scores: Floats
    """Shape (n,): final minus centre, as a share of the forecast's spread, times ``OUT_OF_BAG``."""
    spreads: Floats
    """Shape (n,): the spread of each of these forecasts, never below its floor."""
    _rows: Floats
    """Shape (n, features)."""
    _forests: tuple[ExtraTreesRegressor, ExtraTreesRegressor]
    """The first looks at features as they are, the second at their ranks."""
    _leaves: NDArray[np.int64]
    """Shape (n, trees)."""
    _counts: Floats
    """Shape (n, trees): how often a tree drew a run."""
    _usual_spread: float

    def outcomes(self, row: Floats, last: float, departure: Departure) -> tuple[float, Floats]:
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
        departure
            In what the run goes beyond the finished runs.
        """
        same = _leaves(self._forests, row[None], self._rows) == self._leaves
        weights = _weights(same * self._counts, np.ones(self._counts.shape[1], dtype=bool))
        centre, spread = _middle(self.finals, self.gains, last, weights, is_behind=departure.is_behind)
        return centre, centre + self.scores * max(spread, SPREAD_FLOOR * self._usual_spread) * departure.spread


def fit_curve_model(
    rows: Floats, last: Floats, finals: Floats, departures: Sequence[Departure], *, seed: int = 0
) -> CurveModel:
    """Fit the forests to finished runs.

    Parameters
    ----------
    rows
        Shape (n, features): each run's features at the progress that is to be forecast from.
    last
        Shape (n,): last value seen by then, scaled.
    finals
        Shape (n,): final value, scaled.
    departures
        In what each run goes beyond the others, n of them.
    """
    from sklearn.ensemble import ExtraTreesRegressor

    capped = np.clip(last, *CLIP)
    gains = np.clip(finals, *CLIP) - capped
    # Ranks, because one diverged run must not decide where the trees split.
    targets = np.column_stack([_standard_ranks(gains), _standard_ranks(finals)])
    as_they_are, by_rank = (
        ExtraTreesRegressor(
            n_estimators=N_TREES, max_features=FEATURES_TRIED, bootstrap=True, random_state=state, n_jobs=1
        ).fit(view, targets)
        for state, view in ((seed, rows), (seed + 1, _ranks(rows, rows)))
    )
    forests = (as_they_are, by_rank)
    n = finals.size
    drawn = [sample for forest in forests for sample in forest.estimators_samples_]
    counts = np.column_stack([np.bincount(sample, minlength=n) for sample in drawn]).astype(float)
    leaves = _leaves(forests, rows, rows)
    centres, spreads = np.empty(n), np.empty(n)
    for i, departure in enumerate(departures):
        weights = _weights((leaves[i][None] == leaves) * counts, counts[i] == 0)
        centres[i], spreads[i] = _middle(finals, gains, float(capped[i]), weights, is_behind=departure.is_behind)
    usual = float(np.median(spreads)) or float(np.abs(finals - centres).mean()) or 1e-12
    spreads = np.maximum(spreads, SPREAD_FLOOR * usual) * np.array([departure.spread for departure in departures])
    scores = OUT_OF_BAG * (finals - centres) / spreads
    return CurveModel(finals, gains, centres, scores, spreads, rows, forests, leaves, counts, usual)


def _ranks(rows: Floats, known: Floats) -> Floats:
    """Return how many of the known values of each feature are smaller, ties counting half; shape of ``rows``."""
    return np.array([((known < row).sum(axis=0) + (known <= row).sum(axis=0)) / 2 for row in rows])


def _leaves(forests: tuple[ExtraTreesRegressor, ExtraTreesRegressor], rows: Floats, known: Floats) -> NDArray[np.int64]:
    """Return the leaf that each tree puts each row in, shape (n, trees).

    As ``forest.apply``, without its checks and its thread pool, which take ten times as long for one row.
    """
    found = []
    for forest, view in zip(forests, (rows, _ranks(rows, known)), strict=True):
        narrow = np.ascontiguousarray(view, dtype=np.float32)
        found += [tree.tree_.apply(narrow) for tree in forest.estimators_]
    return np.column_stack(found).astype(np.int64)


def _weights(shared: Floats, trees: NDArray[np.bool_]) -> Floats:
    """Return how much each finished run counts: its mean share of the leaves, shape (n,), over the trees chosen.

    Where no tree was left to judge by, all count the same.
    """
    chosen = shared[:, trees]
    sizes = chosen.sum(axis=0)
    weights: Floats = (chosen / np.maximum(sizes, 1e-12)).sum(axis=1)
    return weights / weights.sum() if weights.sum() > 0 else np.full(len(shared), 1 / len(shared))


def _middle(finals: Floats, gains: Floats, last: float, weights: Floats, *, is_behind: bool) -> tuple[float, float]:
    """Return the median of the possible ends, and half the distance between their outer tenths.

    The median of a run behind all others is that of one reading, what they gained; the distance is that of both. A run
    that is further behind than the scale goes starts at its end: to follow such runs all the way made the error on
    AlgoPerf at 30 % a tenth larger.
    """
    gained = min(max(last, CLIP[0]), CLIP[1]) + gains
    low, centre, high = _quantiles(np.concatenate([finals, gained]), np.concatenate([weights, weights]) / 2)
    if is_behind:
        centre = _quantiles(gained, weights)[1]
    return centre, (high - low) / 2


def _quantiles(ends: Floats, weights: Floats) -> tuple[float, float, float]:
    """Return the outer tenths and between them the median, of ends whose weights add up to 1."""
    order = ends.argsort()
    passed = weights[order].cumsum()
    low, centre, high = (
        float(ends[order[min(int(np.searchsorted(passed, share)), order.size - 1)]]) for share in (TAIL, 0.5, 1 - TAIL)
    )
    return low, centre, high


def _standard_ranks(values: Floats) -> Floats:
    """Return ranks with mean 0 and standard deviation 1; ties share one."""
    ordered = np.sort(values)
    ranks = (np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")) / 2
    standard: Floats = (ranks - ranks.mean()) / max(float(ranks.std()), 1e-12)
    return standard

"""What past experiments say of a search space: one model each, on one scale, with one covariance.

The outcomes of each experiment are replaced by the normal quantiles of their ranks, so that an accuracy and a loss, or
an easy and a hard data set, speak one language; runs that went wrong rank last. What an experiment says of a
point is the mean of a Gaussian process on its runs, with a covariance that was learned from all of them
(``kernel.learn``). The model of each is a sum over the same inducing points (subset of regressors,
J. Quiñonero-Candela and C. E. Rasmussen, JMLR 2005), so that asking a thousand points of a hundred experiments is one
matrix product.

How far each experiment is to be believed is worked out as outcomes come in (``weights``): by how alike the questions
are, and by the share of pairs of the runs here that it orders rightly, as in the ranking-weighted ensemble of M. Feurer
et al., "Practical transfer learning for Bayesian optimization" (arXiv 1802.02219).

Invariant: nothing here depends on outcomes of the experiment that is advised, except through ``weights``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from advisor.suggest.encoding import Encoder
from advisor.suggest.kernel import Kernel, Prior, learn

Array = NDArray[np.float64]

N_INDUCING: Final = 256
"""Inducing points; with twice as many the orders of candidates hardly change."""
MAX_TASKS: Final = 48
"""Past experiments that are modelled, the most alike first."""
MAX_RUNS: Final = 120
"""Runs of one of them: the better half of these are its best, the others are spread over the rest."""
MAX_LEARNED: Final = 24
"""Experiments, of ``LEARN_RUNS`` runs each, from which the covariance is learned."""
LEARN_RUNS: Final = 60
N_TOP: Final = 3
"""Runs of each experiment that may open another one, …"""
N_CANDIDATES: Final = 9
"""… and more of each where that makes fewer than so many: those that wait to be started are not proposed again."""
AGREEMENT: Final = 16.0
"""How fast belief moves to the experiments that order the runs here best: at 10 runs, one that orders a tenth more of
the pairs rightly is believed e^1.6, five times as much."""
CHANCE: Final = 0.5
"""Share of pairs that an experiment with nothing to say orders rightly."""
FAMILIAR: Final = 0.6
"""Relevance at which a past experiment is trusted as far as any before there are runs; below, by the square of its
share of this: pasts of half of it were seen to help no more often than they mislead."""
TRUST: Final = (0.1, 0.9)
"""Bounds of the trust in the past as a whole before any run."""
SHARPNESS: Final = 8.0
"""How fast belief falls with relevance: an experiment of relevance 0.7 is believed a tenth as much as one of 0.99."""


@dataclass(frozen=True, slots=True)
class Task:
    """One past experiment, seen from the space of another."""

    name: str
    _: KW_ONLY
    rows: Sequence[Mapping[str, Any]]
    """Parameters of its runs under the names and in the units of the other space; those it lacks are absent."""
    outcomes: Array
    """Shape (n,): objective with the sign that makes higher better; NaN where the run went wrong."""
    run_ids: Sequence[str]
    numbers: Sequence[int] = ()
    """Of its runs in their experiment; empty where nobody knows."""
    similarity: float
    """Of its question, in [0, 1], from what is said of it, never from its results."""
    overlap: float
    """How much of the other space it covers, in (0, 1]: the mean over its parameters of what ranges share."""

    @property
    def relevance(self) -> float:
        """How much is expected of it before any run: how alike the questions are, times how alike the spaces."""
        return self.similarity * self.overlap


@dataclass(frozen=True, slots=True)
class Opening:
    """The run elsewhere that a configuration for an opening was taken from."""

    task: int
    """Place of its experiment among the tasks."""
    _: KW_ONLY
    run_id: str
    number: int | None
    """In its experiment; None where nobody knows."""
    drawn: tuple[str, ...] = ()
    """Parameters that it did not have, which got a value by chance."""


def normal_scores(outcomes: Array) -> Array:
    """Return the normal quantiles of the ranks, (rank - 1/2) / n; ties share their mean rank, NaN rank last."""
    from scipy.special import ndtri  # scipy.stats, with its rankdata, takes a second to import

    if not outcomes.size:
        return outcomes.astype(np.float64)
    filled = np.where(np.isnan(outcomes), -np.inf, outcomes)
    _, which, n_equal = np.unique(filled, return_inverse=True, return_counts=True)
    mean_rank = np.cumsum(n_equal) - 0.5 * (n_equal - 1)
    return np.asarray(ndtri((mean_rank[which] - 0.5) / outcomes.size))


class Elsewhere:
    """Models of past experiments over one space.

    Parameters
    ----------
    encoder
        Of the space that is advised.
    tasks
        Past experiments; the order does not matter.
    """

    def __init__(self, encoder: Encoder, tasks: Sequence[Task]) -> None:
        ordered = sorted(tasks, key=lambda task: (-task.relevance, task.name))[:MAX_TASKS]
        self.encoder = encoder
        self.tasks = tuple(ordered)
        parts = [_part(encoder, task) for task in ordered]
        prior = Prior(Kernel.default(encoder.n_columns), lengths_sd=1.0, noise_sd=1.0, signal_sd=1.0)
        self.kernel: Kernel = learn(
            [_standardised(c[:LEARN_RUNS], z[:LEARN_RUNS]) for _, c, z, _ in parts[:MAX_LEARNED]], prior
        )
        self.kernels: dict[tuple[bytes, bool, bool], Kernel] = {}
        """Covariances of runs here, by what they were fitted to; kept by ``engine``."""
        self.belief = _belief(np.array([task.relevance for task in ordered]))
        self._inducing, self._weights = self._fit([(columns, scores) for _, columns, scores, _ in parts])
        self.opening_points, self.opening = self._candidates(parts)
        every = [coordinates for coordinates, *_ in parts]
        points = encoder.snap(np.vstack(every)) if every else self.opening_points
        self.run_points: Array = encoder.complete(np.random.default_rng(1), points)
        """Coordinates of the runs elsewhere that are modelled, inside today's space."""
        self.run_said: Array = self.say(encoder.columns(self.run_points))
        """Shape (tasks, runs): what each experiment says of them."""

    def __bool__(self) -> bool:
        return bool(self.tasks)

    def say(self, columns: Array) -> Array:
        """Return what each experiment says of points with columns (n, D), as normal scores, shape (tasks, n)."""
        if not self.tasks or not len(columns):
            return np.zeros((len(self.tasks), len(columns)))
        return np.asarray((self.kernel.between(columns, self._inducing) @ self._weights).T)

    def mean(self, columns: Array, weights: Array) -> Array:
        """Return the weighted mean of what experiments say of points, shape (n,)."""
        if not self.tasks or not len(columns):
            return np.zeros(len(columns))
        return np.asarray(self.kernel.between(columns, self._inducing) @ (self._weights @ weights))

    def weights(self, said: Array, scores: Array) -> Array:
        """Return how far each experiment is believed, shape (n + 1, tasks), after none, one, … all of the runs here.

        What is missing to 1 believes none.

        Parameters
        ----------
        said
            Shape (tasks, n): what they said of the points that were run here.
        scores
            Shape (n,): how these came out; any scale, higher is better.
        """
        n = scores.size
        if not self.tasks:
            return np.zeros((n + 1, 0))
        n_right, n_pairs = np.zeros((n + 1, len(self.tasks))), np.zeros((n + 1, 1))
        by_run = np.ascontiguousarray(said.T, dtype=np.float64)

        def count(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
            return mask.astype(np.float32)  # a product of these counts, one of booleans does not

        for i in range(1, n):  # pairs with an earlier run: what could be told when so many runs were over
            better, worse = scores[:i] > scores[i], scores[:i] < scores[i]
            told_better, told_worse = by_run[:i] > by_run[i], by_run[:i] < by_run[i]
            n_right[i + 1] = count(better) @ count(told_better) + count(worse) @ count(told_worse)
            n_pairs[i + 1] = np.count_nonzero(better) + np.count_nonzero(worse)
        n_right, n_pairs = n_right.cumsum(axis=0), n_pairs.cumsum(axis=0)
        chance = np.full((n + 1, 1), CHANCE)
        agreement = np.hstack([np.where(n_pairs > 0, n_right / np.maximum(n_pairs, 1), CHANCE), chance])
        sharpness = AGREEMENT * np.sqrt(np.arange(n + 1) / 10.0)[:, None]
        prior = np.append(self.belief, 1.0 - self.belief.sum())
        weights = prior * np.exp(sharpness * (agreement - agreement.max(axis=1, keepdims=True)))
        return np.asarray(weights[:, :-1] / weights.sum(axis=1, keepdims=True))

    def _fit(self, parts: Sequence[tuple[Array, Array]]) -> tuple[Array, Array]:
        """Return inducing points' columns, shape (m, D), and each experiment's weights on them, shape (m, tasks)."""
        from scipy.linalg import cho_factor, cho_solve

        if not parts:
            return np.zeros((0, self.encoder.n_columns)), np.zeros((0, 0))
        rng = np.random.default_rng(0)
        every = np.vstack([columns for columns, _ in parts])
        chosen = every[rng.permutation(len(every))[: N_INDUCING // 2]]
        inducing = np.vstack([chosen, self.encoder.columns(self.encoder.draw(rng, N_INDUCING - len(chosen)))])
        kernel = self.kernel
        prior = kernel.between(inducing, inducing) + 1e-6 * np.eye(len(inducing))
        ratio = kernel.noise / kernel.signal
        solved = []
        for columns, scores in parts:
            cross = kernel.between(columns, inducing)
            solved.append(cho_solve(cho_factor(cross.T @ cross + ratio * prior), cross.T @ scores))
        return inducing, np.column_stack(solved)

    def _candidates(self, parts: Sequence[tuple[Array, Array, Array, list[int]]]) -> tuple[Array, list[Opening]]:
        """Return the best configurations of each experiment: coordinates in today's space, and whose they are."""
        points, found = [], []
        n_each = max(N_TOP, math.ceil(N_CANDIDATES / max(len(parts), 1)))
        for k, (coordinates, columns, _, rows) in enumerate(parts):
            task = self.tasks[k]
            came = np.isfinite(task.outcomes[rows])
            said = np.where(came, self.say(columns)[k], -np.inf)
            seen: set[bytes] = set()
            for i in np.argsort(-said, kind="stable")[: int(came.sum())]:
                configuration = np.nan_to_num(coordinates[i], nan=-1.0).tobytes()
                if configuration in seen:  # a repeat opens nothing more
                    continue
                seen.add(configuration)
                points.append(coordinates[i])
                number = task.numbers[rows[i]] if task.numbers else None
                found.append(Opening(k, run_id=str(task.run_ids[rows[i]]), number=number))
                if len(seen) == n_each:
                    break
        if not points:
            return np.zeros((0, len(self.encoder.names))), []
        known = self.encoder.snap(np.array(points))
        # What an experiment did not have gets a value by chance, another one for each run.
        whole = self.encoder.complete(np.random.default_rng(0), known)
        drawn = np.isnan(known) & ~np.isnan(whole)
        names = (tuple(n for n, is_drawn in zip(self.encoder.names, row, strict=True) if is_drawn) for row in drawn)
        return whole, [replace(each, drawn=lacked) for each, lacked in zip(found, names, strict=True)]


def _belief(relevance: Array) -> Array:
    """Return the belief in each experiment before any run; what is missing to 1 believes none."""
    if not relevance.size:
        return relevance
    shares = np.exp(SHARPNESS * (relevance - relevance.max()))
    return np.asarray(np.clip((relevance.max() / FAMILIAR) ** 2, *TRUST) * shares / shares.sum())


def _part(encoder: Encoder, task: Task) -> tuple[Array, Array, Array, list[int]]:
    """Return coordinates, columns and scores of the runs that are modelled, and which rows these are."""
    scores = normal_scores(task.outcomes)
    rows = _chosen(scores)
    coordinates = encoder.coordinates([task.rows[i] for i in rows])
    return coordinates, encoder.columns(coordinates), scores[rows], rows


def _chosen(scores: Array) -> list[int]:
    """Return which runs stand for all: the best ones, and some of the others evenly down the ranks; shuffled."""
    n = scores.size
    order = np.argsort(-scores, kind="stable")
    if n > MAX_RUNS:
        best, rest = order[: MAX_RUNS // 2], order[MAX_RUNS // 2 :]
        spread = rest[np.linspace(0, rest.size - 1, MAX_RUNS - best.size).round().astype(int)]
        order = np.concatenate([best, spread])
    return [int(i) for i in np.random.default_rng(n).permutation(order)]


def _standardised(columns: Array, scores: Array) -> tuple[Array, Array]:
    spread = float(scores.std()) or 1.0
    return columns, (scores - scores.mean()) / spread

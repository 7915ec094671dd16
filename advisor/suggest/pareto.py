"""Trade-offs: the runs that no other run beats in every objective at once.

Invariant: a point is on the front exactly if no other one is at least as good in all objectives and better in one;
equal points are on it together.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from advisor.suggest.outcome import measured
from advisor.suggest.problem import Problem
from storage.records import Experiment, Run


def non_dominated(losses: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which points no other one dominates, as an array of shape (n,).

    In O(n log n) for up to two objectives (H. T. Kung, F. Luccio and F. P. Preparata, "On finding the maxima of a set
    of vectors", 1975), in O(n · size of the front) for more.

    Parameters
    ----------
    losses
        Finite values of shape (n, m), smaller is better.
    """
    n, m = losses.shape
    if n == 0 or m == 0:
        return np.ones(n, dtype=bool)
    distinct, place = np.unique(losses, axis=0, return_inverse=True)  # sorted by the first objective, then the next
    if m <= 2:
        lowest = np.minimum.accumulate(distinct[:, -1])
        kept = distinct[:, -1] < np.concatenate([[np.inf], lowest[:-1]])
    else:
        kept = np.zeros(len(distinct), dtype=bool)
        for i, point in enumerate(distinct):  # whatever dominates a point comes before it
            kept[i] = not np.any(np.all(distinct[:i][kept[:i]] <= point, axis=1))
    out: NDArray[np.bool_] = kept[place.reshape(-1)]
    return out


def front(experiment: Experiment, runs: Iterable[Run]) -> list[Run]:
    """Return the runs on the Pareto front, the best of the first objective first.

    Only runs that may be ranked (``Experiment.ranks``) and keep all constraints. With one objective these are the
    best run and those that equal it.
    """
    problem = Problem.of(experiment.problem)
    known = [run for run in measured(experiment, runs) if problem.feasible(run)]
    if not known or not experiment.objectives:
        return []
    losses = as_losses(experiment, known)
    kept = np.flatnonzero(non_dominated(losses))
    return [known[i] for i in sorted(kept, key=lambda i: (*losses[i], known[i].number))]


def as_losses(experiment: Experiment, runs: Sequence[Run]) -> NDArray[np.float64]:
    """Return the objectives' values of runs that may be ranked, of shape (n, m), such that smaller is better."""
    signs = np.array([1.0 if objective.direction == "minimize" else -1.0 for objective in experiment.objectives])
    values: NDArray[np.float64] = np.array([run.values for run in runs], dtype=np.float64).reshape(-1, len(signs))
    values *= signs
    return values


def best_feasible(experiment: Experiment, runs: Iterable[Run]) -> Run | None:
    """Return the best run by the first objective among those that keep all constraints, the earliest of equals.

    None where no run that may be ranked keeps them all, or where none is known to.
    """
    problem = Problem.of(experiment.problem)
    known = [run for run in measured(experiment, runs) if problem.feasible(run)]
    if not known or not experiment.objectives:
        return None
    losses = as_losses(experiment, known)[:, 0]
    return known[min(range(len(known)), key=lambda i: (losses[i], known[i].number))]

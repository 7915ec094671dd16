"""Forests as arrays: walked in numpy, kept without pickles, equal to scikit-learn's.

A row that is scored alone takes a fraction of a millisecond; scikit-learn's own ``score_samples`` takes 20 to 30,
nearly all of it on checks and scheduling. Nothing here imports scikit-learn: whoever has fitted a forest hands it over.

Invariant: a forest gives the same answers after ``save`` and ``load``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

EULER: Final = 0.5772156649015329
BLOCK: Final = 512
"""Rows walked at once: their places in all trees stay in a core's cache."""


@dataclass(frozen=True, slots=True, eq=False)
class Trees:
    """Binary trees, one after the other in flat arrays."""

    roots: NDArray[np.int32]
    """Shape (trees,): where each tree begins."""
    feature: NDArray[np.int16]
    """Shape (nodes,): the feature that a node splits on; 0 at a leaf."""
    threshold: NDArray[np.float64]
    """Shape (nodes,): rows at or below go left; +inf at a leaf."""
    left: NDArray[np.int32]
    right: NDArray[np.int32]
    """Shape (nodes,): the next nodes; a leaf leads to itself."""
    value: NDArray[np.float64]
    """Shape (nodes,): what a leaf says."""
    depth: int
    """Steps from any root to any leaf, at most."""

    @classmethod
    def of(cls, estimators: Sequence[Any], values: Sequence[Floats]) -> Self:
        """Return scikit-learn trees with the values that their nodes have, shape (nodes,) each."""
        parts: dict[str, list[Any]] = {name: [] for name in ("feature", "threshold", "left", "right")}
        roots, start, depth = [], 0, 0
        for estimator in estimators:
            tree = estimator.tree_
            own = np.arange(tree.node_count)
            leaf = tree.children_left < 0
            parts["feature"].append(np.where(leaf, 0, tree.feature))
            parts["threshold"].append(np.where(leaf, np.inf, tree.threshold))
            parts["left"].append(start + np.where(leaf, own, tree.children_left))
            parts["right"].append(start + np.where(leaf, own, tree.children_right))
            roots.append(start)
            start += tree.node_count
            depth = max(depth, int(tree.max_depth))
        joined = {name: np.concatenate(arrays) for name, arrays in parts.items()}
        return cls(
            np.array(roots, dtype=np.int32),
            joined["feature"].astype(np.int16),
            joined["threshold"].astype(np.float64),
            joined["left"].astype(np.int32),
            joined["right"].astype(np.int32),
            np.concatenate(values).astype(np.float64),
            depth,
        )

    def mean(self, rows: Floats) -> Floats:
        """Return the mean over the trees of what their leaves say of rows (n, features), shape (n,)."""
        # scikit-learn compares in single precision; a value between two floats must go the same way.
        narrow = np.asarray(rows, dtype=np.float32).astype(np.float64)
        return np.concatenate(
            [self._mean(narrow[i : i + BLOCK]) for i in range(0, len(narrow), BLOCK)] or [np.zeros(0)]
        )

    def _mean(self, rows: Floats) -> Floats:
        at = np.repeat(self.roots[None, :], len(rows), axis=0)
        which = np.arange(len(rows))[:, None]
        for _ in range(self.depth):
            goes_left = rows[which, self.feature[at]] <= self.threshold[at]
            at = np.where(goes_left, self.left[at], self.right[at])
        return np.asarray(self.value[at].mean(axis=1))

    def as_arrays(self) -> dict[str, NDArray[Any]]:
        """Return what ``load`` makes the same forest of."""
        return {
            "roots": self.roots,
            "feature": self.feature,
            "threshold": self.threshold,
            "left": self.left,
            "right": self.right,
            "value": self.value,
            "depth": np.array(self.depth),
        }

    @classmethod
    def load(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Return the forest that ``as_arrays`` gave.

        Raises
        ------
        KeyError
            If an array is missing.
        """
        return cls(
            arrays["roots"],
            arrays["feature"],
            arrays["threshold"],
            arrays["left"],
            arrays["right"],
            arrays["value"],
            int(arrays["depth"]),
        )


def isolation(forest: Any) -> tuple[Trees, float]:
    """Return a fitted ``IsolationForest`` as trees that say path lengths, and the length that they are compared to.

    ``isolation_score`` of both is minus scikit-learn's ``score_samples`` (F. T. Liu, K. M. Ting, Z.-H. Zhou, "Isolation
    forest", ICDM 2008). Every feature must be drawn for every tree, which is the default.
    """
    values = []
    for estimator in forest.estimators_:
        tree = estimator.tree_
        values.append(_depths(tree) + _usual_path(tree.n_node_samples.astype(np.float64)))
    usual = float(_usual_path(np.array([float(forest.max_samples_)]))[0])
    return Trees.of(forest.estimators_, values), usual


def isolation_score(trees: Trees, usual: float, rows: Floats) -> Floats:
    """Return the anomaly score in (0, 1) of rows (n, features), shape (n,): higher is more anomalous."""
    return np.asarray(2.0 ** (-trees.mean(rows) / usual)) if usual > 0 else np.full(len(rows), 0.5)


def _depths(tree: Any) -> Floats:
    """Return the number of splits above each node."""
    depths = np.zeros(tree.node_count)
    for node in range(tree.node_count):  # children come after their parents
        left, right = tree.children_left[node], tree.children_right[node]
        if left >= 0:
            depths[left] = depths[right] = depths[node] + 1
    return depths


def _usual_path(n: Floats) -> Floats:
    """Return the mean path length of an unsuccessful search in a binary tree of n rows (Liu et al., equation 1)."""
    out = np.where(n == 2, 1.0, 0.0)
    many = n > 2
    out[many] = 2.0 * (np.log(n[many] - 1.0) + EULER) - 2.0 * (n[many] - 1.0) / n[many]
    return out

"""Points of a search space as numbers: coordinates, distances, and a design matrix for models.

Every numeric parameter is measured on its own scale (logarithmic where the space says so) so that its
range has length 1. A category has no order: two different ones are at distance 1.

Invariant: a value that is missing, or has no meaning or makes no sense in the space, is NaN, never a guess; only
a default that the space declares stands for a missing one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from advisor.suggest.space import Choice, Space

MISSING = -1.0
"""Stands for a missing value in a design matrix: outside [0, 1], so that a tree can split it off."""


N_LONELY: Final = 16
"""Random points of which the loneliest is taken; many more would only favour corners of the space."""


def coordinates(space: Space, rows: Sequence[Mapping[str, Any]]) -> NDArray[np.float64]:
    """Return the rows as an array of shape (n, d): position on the scale, index of a choice, or NaN."""
    out = np.full((len(rows), len(space)), np.nan)
    if space.is_conditional or space.has_defaults:
        rows = [space.active(params, fill=True) for params in rows]
    for j, (name, dimension) in enumerate(space.items()):
        for i, params in enumerate(rows):
            if name in params:
                value = params[name]
                found = dimension.index(value) if isinstance(dimension, Choice) else dimension.unit(value)
                out[i, j] = np.nan if found is None else found
    return out


def distances(
    space: Space, points: NDArray[np.float64], to: NDArray[np.float64], *, wrap: bool = False
) -> NDArray[np.float64]:
    """Return Gower's distance in [0, 1] of each point, shape (n, d), to one point, shape (d,).

    The mean over the parameters of the difference on the scale, at most 1; for a choice 0 or 1; 1 where
    either value is missing. A parameter that has a meaning only under a condition is equal, 0, where both points
    lack it (J. C. Gower, "A general coefficient of similarity", Biometrics 1971).

    Parameters
    ----------
    wrap
        Whether the ends of a scale touch, which takes away the pull of the borders when points are spread out.
    """
    gaps = np.abs(points - to)
    categorical = np.array([isinstance(dimension, Choice) for dimension in space.values()], dtype=bool)
    scaled = np.minimum(gaps, 1.0)
    if wrap:
        scaled = 2 * np.minimum(scaled, 1.0 - scaled)
    each = np.where(categorical, (gaps > 0).astype(np.float64), scaled)
    each[np.isnan(gaps)] = 1.0
    conditional = np.array([bool(dimension.when) for dimension in space.values()], dtype=bool)
    each[conditional & np.isnan(points) & np.isnan(to)] = 0.0
    means: NDArray[np.float64] = each.mean(axis=1) if each.shape[1] else np.zeros(len(points))
    return means


def loneliness(space: Space, known: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how far each point, shape (m, d), is from all known ones, shape (n, d); 1 where none is known.

    Of ``N_LONELY`` random points, the one farthest from all others spreads better than independent draws and needs no
    memory (best-candidate sampling: D. P. Mitchell, "Spectrally optimal sampling for distribution ray tracing", 1991).
    Distances wrap around, so borders have no pull.
    """
    if not len(known):
        return np.ones(len(points))
    return np.array([distances(space, known, point, wrap=True).min() for point in points])


def design(space: Space, rows: Sequence[Mapping[str, Any]]) -> NDArray[np.float64]:
    """Return the rows as a matrix for a model: choices one-hot, missing values ``MISSING``."""
    points = coordinates(space, rows)
    columns: list[NDArray[np.float64]] = []
    for j, dimension in enumerate(space.values()):
        if isinstance(dimension, Choice):
            columns += [(points[:, j] == k).astype(np.float64) for k in range(len(dimension.choices))]
        else:
            columns.append(np.where(np.isnan(points[:, j]), MISSING, points[:, j]))
    return np.column_stack(columns) if columns else np.zeros((len(rows), 0))


def columns_of(space: Space) -> dict[str, slice]:
    """Return which columns of the design matrix belong to each parameter."""
    out: dict[str, slice] = {}
    start = 0
    for name, dimension in space.items():
        width = len(dimension.choices) if isinstance(dimension, Choice) else 1
        out[name] = slice(start, start + width)
        start += width
    return out

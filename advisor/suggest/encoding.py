"""Points of a search space as arrays: coordinates to vary, and columns for a kernel.

A coordinate is the position on a parameter's own scale in [0, 1], the index of a choice, or NaN for a parameter that
is absent or has no meaning in that point. Columns are what a Gaussian process measures distances in.

Invariant: what ``draw``, ``vary`` and ``snap`` return are coordinates of allowed values; what ``draw``, ``vary`` and
``complete`` return lacks no parameter that has a meaning.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from advisor.suggest.dimensions import Choice, Dimension, Float, Int, plain
from advisor.suggest.geometry import coordinates
from advisor.suggest.space import Space

ABSENT: Final = 0.5
"""Column of a parameter that is absent: the middle, from where no value is far."""
MOVES: Final = (0.02, 0.05, 0.1, 0.2)
"""Standard deviations of local moves, as shares of the range: fine adjustment and wider steps alike."""
SHARE_MOVED: Final = 0.5
"""Chance of each parameter to be moved; most improvements change a few parameters only."""

Array = NDArray[np.float64]


class Encoder:
    """Translates between parameters, coordinates, shape (n, d), and columns, shape (n, D)."""

    def __init__(self, space: Space) -> None:
        self.space = space
        self.names = tuple(space)
        self._dimensions = tuple(space.values())
        self.columns_of: dict[str, slice] = {}
        """Which columns belong to each parameter."""
        start = 0
        for name, dimension in space.items():
            width = _width(dimension)
            self.columns_of[name] = slice(start, start + width)
            start += width
        self.n_columns = start

    def coordinates(self, rows: Sequence[Mapping[str, Any]]) -> Array:
        """Return the coordinates of points; values outside a range keep their position outside [0, 1]."""
        return coordinates(self.space, rows)

    def columns(self, points: Array) -> Array:
        """Return the columns of coordinates: numbers as they are, a choice of two as 0 or 1, of more one-hot."""
        out = np.empty((len(points), self.n_columns))
        for j, (name, dimension) in enumerate(zip(self.names, self._dimensions, strict=True)):
            where, values = self.columns_of[name], points[:, j]
            absent = np.isnan(values)
            if isinstance(dimension, Choice) and len(dimension.choices) > 2:
                hot = np.sqrt(0.5) * (values[:, None] == np.arange(len(dimension.choices)))
                out[:, where] = np.where(absent[:, None], 0.5 * np.sqrt(0.5), hot)
            else:
                out[:, where] = np.where(absent, ABSENT, values)[:, None]
        return out

    def draw(self, rng: np.random.Generator, n: int) -> Array:
        """Return ``n`` random points, uniform on each parameter's scale."""
        return self._without_inactive(self._draw_all(rng, n))

    def _draw_all(self, rng: np.random.Generator, n: int) -> Array:
        """Return random coordinates of all parameters, those without a meaning included."""
        points = rng.random((n, len(self.names)))
        for j, dimension in enumerate(self._dimensions):
            if isinstance(dimension, Choice):
                points[:, j] = np.floor(points[:, j] * len(dimension.choices))
            else:
                points[:, j] = _snapped(dimension, points[:, j], equal_shares=True)
        return points

    def vary(self, rng: np.random.Generator, centers: Array, n: int) -> Array:
        """Return ``n`` points near some centers, shape (m, d): a few parameters moved, each on its scale."""
        points = centers[rng.integers(len(centers), size=n)].copy()
        points = np.where(np.isnan(points), self._draw_all(rng, n), points)  # what is absent may get a meaning
        moved = rng.random(points.shape) < SHARE_MOVED
        steps = rng.standard_normal(points.shape) * rng.choice(MOVES, size=(n, 1))
        for j, dimension in enumerate(self._dimensions):
            if isinstance(dimension, Choice):
                other = rng.integers(len(dimension.choices), size=n)
                points[:, j] = np.where(moved[:, j] & (rng.random(n) < SHARE_MOVED), other, np.floor(points[:, j]))
            else:
                shifted = np.clip(points[:, j] + moved[:, j] * steps[:, j], 0.0, 1.0)
                points[:, j] = _snapped(dimension, shifted, equal_shares=False)
        return self._without_inactive(points)

    def redraw_each(self, rng: np.random.Generator, point: Array, n: int) -> Array:
        """Return a point, shape (d,), with one parameter drawn anew, ``n`` times each in turn, shape (d · n, d)."""
        d = len(self.names)
        points = np.tile(point, (d * n, 1))
        drawn = self._draw_all(rng, d * n)
        for j in range(d):
            points[j * n : (j + 1) * n, j] = drawn[j * n : (j + 1) * n, j]
        return self._without_inactive(points)

    def snap(self, points: Array) -> Array:
        """Return the nearest allowed coordinates; absent ones stay absent."""
        out = points.copy()
        for j, dimension in enumerate(self._dimensions):
            if not isinstance(dimension, Choice):
                out[:, j] = _snapped(dimension, np.clip(points[:, j], 0.0, 1.0), equal_shares=False)
        return out

    def complete(self, rng: np.random.Generator, points: Array) -> Array:
        """Return points with random values for what is absent though it has a meaning."""
        return self._without_inactive(np.where(np.isnan(points), self._draw_all(rng, len(points)), points))

    def params(self, point: Array) -> dict[str, Any]:
        """Return the parameters at coordinates, shape (d,), as plain Python values."""
        out: dict[str, Any] = {}
        for j, (name, at) in enumerate(zip(self.names, point.tolist(), strict=True)):
            if not math.isnan(at):
                out[name] = self._value(j, at)
        return out

    def _without_inactive(self, points: Array) -> Array:
        """Make parameters absent that have no meaning, those that decide first."""
        if not self.space.is_conditional:
            return points
        for name in self.space.order:
            j = self.names.index(name)
            for condition in self.space[name].when:
                k = self.names.index(condition.name)
                found, where = np.unique(points[:, k], return_inverse=True)
                holds = [not math.isnan(at) and condition.holds(self._value(k, float(at))) for at in found]
                points[~np.array(holds, dtype=bool)[where], j] = np.nan
        return points

    def _value(self, j: int, at: float) -> Any:
        dimension = self._dimensions[j]
        return dimension.choices[int(at)] if isinstance(dimension, Choice) else _value(dimension, at)


def _width(dimension: Dimension) -> int:
    return len(dimension.choices) if isinstance(dimension, Choice) and len(dimension.choices) > 2 else 1


def _value(dimension: Float | Int, at: float) -> Any:
    """Return the allowed value at a coordinate: the inverse of ``dimension.unit``."""
    low, high = dimension.low, dimension.high
    number = low * (high / low) ** at if dimension.log else low + at * (high - low)
    return plain(dimension, dimension.nearest(number))


def _snapped(dimension: Float | Int, at: Array, *, equal_shares: bool) -> Array:
    """Return the coordinates of the nearest allowed values.

    With ``equal_shares``, a uniform position gives each whole number of a linear scale the same chance.
    """
    low, high = float(dimension.low), float(dimension.high)
    step = float(dimension.step or 0)
    if low == high:
        return np.where(np.isnan(at), at, 0.0)
    if step == 0:
        return at
    if dimension.log:
        values = low * (high / low) ** at
    elif equal_shares:
        values = low - 0.5 * step + at * (high - low + step)
    else:
        values = low + at * (high - low)
    values = np.clip(low + np.round((values - low) / step) * step, low, high)
    return np.log(values / low) / math.log(high / low) if dimension.log else (values - low) / (high - low)

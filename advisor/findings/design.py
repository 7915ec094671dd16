"""Parameters of sibling runs as numbers, how far apart they are, and the families that their categories make.

Distances are those of J. C. Gower, "A general coefficient of similarity and some of its properties", Biometrics 27
(1971): differences of numbers as shares of their range, of logarithms where it spans more than a decade; anything else
is equal or not. Invariant: no gaps and nothing infinite, whatever the parameters are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from advisor.references import SEED_NAMES

Floats = NDArray[np.float64]

MIN_FAMILY: Final = 20
"""A group of the same categorical parameters stands alone from this size on."""
MAX_LEVELS: Final = 10
"""A parameter with more values than this is no family."""
WIDE: Final = 10.0
"""Ratio of highest to lowest above which a positive parameter counts by its logarithm."""
LARGEST: Final = float(np.finfo(np.float32).max)


def family_of(params: Sequence[Mapping[str, Any]]) -> NDArray[np.int64]:
    """Return a family number a run: runs that share all categorical parameters; 0 for those in small groups.

    >>> family_of([{"opt": "sgd"}] * 20 + [{"opt": "adam"}] * 20).tolist() == [1] * 20 + [2] * 20
    True
    """
    names = [name for name in sorted({key for p in params for key in p}) if _is_category([p.get(name) for p in params])]
    keys = [tuple(str(p.get(name)) for name in names) for p in params]
    sizes: dict[tuple[str, ...], int] = {}
    for key in keys:
        sizes[key] = sizes.get(key, 0) + 1
    numbers: dict[tuple[str, ...], int] = {}
    for key in keys:
        if sizes[key] >= MIN_FAMILY:
            numbers.setdefault(key, len(numbers) + 1)
    return np.array([numbers.get(key, 0) for key in keys], dtype=np.int64)


def as_numbers(params: Sequence[Mapping[str, Any]]) -> Floats:
    """Return the parameters as numbers, shape (n, columns): logarithms over wide ranges, one column a category."""
    columns: list[Floats] = []
    for name in sorted({key for p in params for key in p}):
        values = [p.get(name) for p in params]
        if all(value is None or is_number(value) for value in values):
            columns.append(_numeric(values))
        elif _is_category(values):
            levels = sorted({str(value) for value in values})
            columns += [np.array([float(str(value) == level) for value in values]) for level in levels]
    return np.column_stack(columns) if columns else np.zeros((len(params), 1))


def differences(values: Sequence[Any], own: Any) -> Floats:
    """Return how far each of some values of a parameter is from one, shape (n,): 0 for equal, 1 for the whole range.

    >>> differences([0.001, 0.01, 0.1], 0.001).round(1).tolist(), differences(["sgd", "adam"], "sgd").tolist()
    ([0.0, 0.5, 1.0], [0.0, 1.0])
    """
    if not all(is_number(value) for value in (*values, own)):
        return np.array([float(repr(value) != repr(own)) for value in values])
    column = np.array([_as_float(value) for value in values])
    seen, at = column[np.isfinite(column)], _as_float(own)
    if seen.size and seen.min() > 0 and seen.max() / WIDE > seen.min() and at > 0:
        column, seen, at = np.log(np.maximum(column, 5e-324)), np.log(seen), float(np.log(at))
    width = float(np.ptp(seen)) if seen.size else 0.0
    with np.errstate(invalid="ignore"):
        apart = np.abs(column - at) / (width or 1.0)
    return np.where(np.isfinite(apart), apart, np.where(column == at, 0.0, 1.0))


def nearest(params: Sequence[Mapping[str, Any]], row: int, *, among: NDArray[np.bool_]) -> int | None:
    """Return the run with the parameters most like those of a row, itself left out; the first of several, None of none.

    >>> nearest([{"lr": 0.1}, {"lr": 0.2}, {"lr": 0.9}], 2, among=np.array([True, True, True]))
    1
    """
    others = np.flatnonzero(among & (np.arange(len(params)) != row))
    if not others.size:
        return None
    apart = np.zeros(len(params))
    for name in {key for run in params for key in run if key.lower() not in SEED_NAMES}:
        apart += differences([run.get(name) for run in params], params[row].get(name))
    return int(others[np.argmin(apart[others])])


def is_number(value: Any) -> bool:
    """Return whether a parameter is a number; a truth value is none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_category(values: Sequence[Any]) -> bool:
    known = [value for value in values if value is not None]
    words = any(isinstance(value, str | bool) for value in known)
    return words and 2 <= len({str(value) for value in values}) <= MAX_LEVELS


def _numeric(values: Sequence[float | None]) -> Floats:
    """Return a column without gaps: the median for what is missing, the nearest finite value for what is infinite."""
    column = np.array([np.nan if value is None else _as_float(value) for value in values])
    seen = column[np.isfinite(column)]
    if not seen.size:
        return np.zeros(len(values))
    column = np.where(np.isnan(column), np.median(seen), np.clip(column, seen.min(), seen.max()))
    column = np.log(column) if seen.min() > 0 and seen.max() / WIDE > seen.min() else column
    return np.asarray(np.clip(column, -LARGEST, LARGEST))


def _as_float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:  # an int beyond the largest float
        return math.inf if value > 0 else -math.inf

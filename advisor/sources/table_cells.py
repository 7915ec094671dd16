"""Cells of a table: which are empty, which columns are text, and columns as numbers and as times."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from advisor.sources.reading import from_iso, number

ABSENT: Final = frozenset({"", "none", "null", "na", "n/a", "-", "<na>"})
"""How programs write a cell without a value; NaN is a value."""


def is_number_column(cells: Sequence[Any]) -> bool:
    """Return whether a column holds any number, and rather numbers than text."""
    return not is_text(cells) and any(not is_absent(cell) for cell in cells)


def is_absent(cell: Any) -> bool:
    """Return whether a cell has no value."""
    return cell is None or (isinstance(cell, str) and cell.strip().lower() in ABSENT)


def is_text(cells: Sequence[Any]) -> bool:
    """Return whether a column holds text rather than numbers, by its first values."""
    some = [cell for cell in cells if not is_absent(cell)][:100]
    return bool(some) and sum(number(cell) is None for cell in some) * 2 > len(some)


def numbers(cells: Sequence[Any]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return a column as numbers, and which cells hold one: shape (n,) each."""
    try:
        values = np.array([float(cell) for cell in cells], dtype=np.float64)
        return values, np.ones(len(values), dtype=bool)
    except (ValueError, TypeError, OverflowError):
        pass
    try:
        there = np.array([cell is not None and cell != "" for cell in cells], dtype=bool)
        values = np.array([float(cell) if has else math.nan for cell, has in zip(cells, there, strict=True)])
        return values, there
    except (ValueError, TypeError, OverflowError):
        found = [None if is_absent(cell) else number(cell) for cell in cells]
    return (
        np.array([math.nan if value is None else value for value in found], dtype=np.float64),
        np.array([value is not None for value in found], dtype=bool),
    )


def seconds(cells: Sequence[Any]) -> tuple[NDArray[np.float64], bool] | None:
    """Return a column of times as seconds, NaN where there is none, and whether they count from 1970.

    Otherwise they count from the run's start. None where the column holds no times.
    """
    values, there = numbers(cells)
    if there.any():
        some = values[there & np.isfinite(values)]
        typical = float(np.median(some)) if some.size else math.nan
        for unit in (1e9, 1e6, 1e3):
            if typical > 1e8 * unit:
                return values / unit, True
        return (values, typical > 1e8) if typical >= 0 else None
    moments = [None if is_absent(cell) else from_iso(cell) for cell in cells]
    if not any(moments):
        return None
    return np.array([math.nan if moment is None else moment.timestamp() for moment in moments]), True

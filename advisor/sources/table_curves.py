"""Rows of a table, one a step, as curves: rows stay in their order, and an empty cell is no point."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from advisor.sources.points import METRICS_AT_MOST
from advisor.sources.port import Cursor, Piece, Points
from advisor.sources.reading import from_seconds, plain
from advisor.sources.table_cells import is_absent, is_text, numbers, seconds
from advisor.sources.table_columns import PARAMETER_NAMES, Roles, is_training
from advisor.sources.table_files import Chunk, Form, TableFile, look
from advisor.sources.values import from_text

STEP_MOST: Final = 2.0**62
PARAMETER_CHARACTERS: Final = 1_000
_BARE: Final = re.compile(
    r"[+-]?(?:\.[0-9]{1,40}(?:[eE][+-]?[0-9]{1,3})?|[0-9]{1,40}\.?[0-9]{0,40}[eE][+-][0-9]{1,3})"
    r"|\+[0-9]{1,40}\.?[0-9]{0,40}(?:[eE][+-]?[0-9]{1,3})?"
)
"""Numbers that Python would not write so, and that are hardly a version or an id."""
_ANY: Final = re.compile(r"[+-]?(?:[0-9]{1,40}\.?[0-9]{0,40}|\.[0-9]{1,40})(?:[eE][+-]?[0-9]{1,3})?")
_LIST: Final = re.compile(r"\[.*\]", re.DOTALL)


class Curves:
    """Takes rows, gives points.

    Parameters
    ----------
    started_s
        What absolute times count from, seconds since 1970; None where there are none.
    n_rows
        Rows that came before, for tables in which rows are counted.
    """

    def __init__(self, roles: Roles, *, started_s: float | None, n_rows: int = 0) -> None:
        self.n_rows = n_rows
        self.n_without_step = 0
        self.n_ragged = 0
        self.n_unreadable = 0
        self.n_no_number = 0
        self._roles, self._started_s = roles, started_s
        self._parts: dict[str, list[Points]] = {}
        self._texts: set[str] = set()
        self._n_of: Counter[str] = Counter()

    def add(self, chunk: Chunk) -> None:
        """Take some rows."""
        self.n_ragged += chunk.n_ragged
        self.n_unreadable += chunk.n_unreadable
        for prefix, some in labelled(chunk, self._roles):
            if some.n_rows:
                self._add(prefix, some)

    def _add(self, prefix: str, chunk: Chunk) -> None:
        steps, has_step = self._steps(chunk)
        if self._roles.step is None and self._roles.value is not None:  # then each metric counts its own rows
            metric = f"{prefix}{list(chunk.columns)[-1]}"
            steps = np.arange(self._n_of[metric], self._n_of[metric] + chunk.n_rows)
            self._n_of[metric] += chunk.n_rows
        times = self._times(chunk)
        self.n_rows += chunk.n_rows
        self.n_without_step += int((~has_step).sum())
        for column, cells in chunk.columns.items():
            if not self._is_metric(column) or len(self._parts) >= METRICS_AT_MOST + 1:
                continue
            name = f"{prefix}{column}"
            if name not in self._parts and is_text(cells):
                self._texts.add(column)
                continue
            values, there = numbers(cells)
            self.n_no_number += sum(
                not has and not is_absent(c) for c, has in zip(cells, there, strict=True) if not has
            )
            mask = there & has_step
            if mask.any():
                points = Points(steps[mask], values[mask], times[mask] if times.size else times)
                self._parts.setdefault(name, []).append(points)

    def curves(self) -> dict[str, Points]:
        """Return the curves."""
        return {name: _joined(parts) for name, parts in self._parts.items()}

    def notes(self) -> list[str]:
        """Return what was left out."""
        left_out = [
            _left_out(self.n_without_step, "row has no step", "rows have no step"),
            *notes_of_rows(self.n_ragged, self.n_unreadable),
            _left_out(self.n_no_number, "cell holds no number", "cells hold no number"),
        ]
        return [note for note in left_out if note]

    def _is_metric(self, name: str) -> bool:
        roles = self._roles
        if name in (roles.step, roles.time, roles.split, *roles.runs, *roles.ignored, *roles.said, *self._texts):
            return False
        return not roles.is_param(name)

    def _steps(self, chunk: Chunk) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        step = self._roles.step
        if step is None:
            return np.arange(self.n_rows, self.n_rows + chunk.n_rows), np.ones(chunk.n_rows, dtype=bool)
        if step not in chunk.columns:
            return np.zeros(chunk.n_rows, dtype=np.int64), np.zeros(chunk.n_rows, dtype=bool)
        values, there = numbers(chunk.columns[step])
        if self._roles.epochs is not None:
            values = self._counted_on(values, chunk)
        fits = there & np.isfinite(values) & (np.abs(np.nan_to_num(values)) < STEP_MOST)
        return np.where(fits, np.floor(np.where(fits, values, 0)), 0).astype(np.int64), fits

    def _counted_on(self, steps: NDArray[np.float64], chunk: Chunk) -> NDArray[np.float64]:
        """Return steps that count anew each epoch as steps of the run; validation is at the end of its epoch."""
        assert self._roles.epochs is not None
        name, first, n = self._roles.epochs
        epochs, _ = numbers(chunk.columns.get(name, [None] * chunk.n_rows))
        split = chunk.columns.get(self._roles.split, ()) if self._roles.split is not None else ()
        is_validation = bool(split) and not is_training(split[0])
        return (epochs - first) * n + (n if is_validation else steps)

    def _times(self, chunk: Chunk) -> NDArray[np.float64]:
        if self._roles.time is None:
            return np.empty(0)
        found = seconds(chunk.columns.get(self._roles.time, ()))
        if found is None:
            return np.full(chunk.n_rows, math.nan)
        values, is_absolute = found
        return values - self._started_s if is_absolute and self._started_s is not None else values


def notes_of_rows(n_ragged: int, n_unreadable: int) -> list[str]:
    """Return what of rows was left out: what goes beyond the header, and lines that are no rows."""
    out = []
    if n_ragged:
        rows = "1 row is" if n_ragged == 1 else f"{n_ragged:,} rows are"
        out.append(f"{rows} longer than the header; what goes beyond it was left out")
    return out + [note for note in [_left_out(n_unreadable, "line is no row", "lines are no rows")] if note]


def _left_out(n: int, one: str, many: str) -> str:
    """Return a note on ``n`` things that were left out, empty where there are none."""
    return "" if not n else f"1 {one}; it was left out" if n == 1 else f"{n:,} {many}; they were left out"


def labelled(chunk: Chunk, roles: Roles) -> Iterator[tuple[str, Chunk]]:
    """Yield the rows of each kind of data, with what comes before its metrics' names.

    Of a table with one value a row, the rows of each metric, its values under its name.
    """
    columns = [name for name in (roles.split, roles.value[0] if roles.value else None) if name in chunk.columns]
    if not columns:
        yield "", chunk
        return
    groups: dict[tuple[str, ...], list[int]] = {}
    for i, row in enumerate(zip(*(chunk.columns[name] for name in columns if name is not None), strict=True)):
        groups.setdefault(tuple("" if is_absent(cell) else str(cell).strip() for cell in row), []).append(i)
    for labels, rows in groups.items():
        by_column = dict(zip(columns, labels, strict=True))
        split = by_column.get(roles.split, "")
        some = {name: [cells[i] for i in rows] for name, cells in chunk.columns.items()}
        if roles.value:
            kept = {roles.step, roles.time, *roles.runs}
            metric = by_column.get(roles.value[0]) or roles.value[1]
            values = some.get(roles.value[1], [None] * len(rows))
            some = {name: cells for name, cells in some.items() if name in kept} | {metric: values}
        yield f"{split}/" if split else "", Chunk(some, len(rows))


def _joined(parts: list[Points]) -> Points:
    if len(parts) == 1:
        return parts[0]
    return Points(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("steps", "values", "times")))


def start_of(head: Chunk, roles: Roles) -> float | None:
    """Return when the first row was written, seconds since 1970; None where the table does not say."""
    found = None if roles.time is None else seconds(head.columns.get(roles.time, ()))
    if found is None or not found[1]:
        return None
    finite = found[0][np.isfinite(found[0])]
    first = float(finite[0]) if finite.size else math.nan
    return first if from_seconds(first) is not None else None


def constants(head: Chunk, roles: Roles) -> dict[str, Any]:
    """Return the parameters that a table itself holds: stated or named so, and text that is the same in each row."""
    out: dict[str, Any] = {}
    for name, cells in head.columns.items():
        if name in (roles.step, roles.time, roles.split, *roles.runs, *(roles.value or ())):
            continue
        if name in roles.ignored or name in roles.metrics:
            continue
        some = [cell for cell in cells if not is_absent(cell)]
        if not some:
            continue
        is_named = roles.is_param(name)
        if is_named or (is_text(cells) and len(set(map(str, some))) == 1):
            out[without_prefix(name)] = value_of(some[0], name)
    return out


def without_prefix(name: str) -> str:
    """Return a parameter's own name: ``lr`` of ``config/lr``."""
    for prefix in ("config", "params", "param", "hparams", "hparam", "hp", "args", "cfg"):
        for mark in ("/", "."):
            if name.lower().startswith(prefix + mark) and len(name) > len(prefix) + 1:
                return name[len(prefix) + 1 :]
    return name


def value_of(cell: Any, name: str = "") -> Any:
    """Return a cell as a parameter's value.

    Numbers as no program writes them are numbers where they can be nothing else, and elsewhere where the column's name
    says so: ``3.10`` is a version, but not a learning rate.

    >>> [value_of(cell) for cell in (".1", "-.5e-2", "1.E-3", "+1e4", "3.10", "1.2.3", "[0.9, 1]")]
    [0.1, -0.005, 0.001, 10000.0, '3.10', '1.2.3', [0.9, 1]]
    >>> [value_of(cell, "optimizer.lr") for cell in ("0.10", "+1", "cosine")]
    [0.1, 1, 'cosine']
    """
    if not isinstance(cell, str):
        return plain(cell)
    text = cell.strip()
    if len(text) > PARAMETER_CHARACTERS:
        return text[:PARAMETER_CHARACTERS] + "…"
    value = from_text(text)
    if not isinstance(value, str):
        return value
    if _LIST.fullmatch(text):
        return _list_of(text)
    is_named = PARAMETER_NAMES.fullmatch(without_prefix(name)) is not None
    if _BARE.fullmatch(text) or (is_named and _ANY.fullmatch(text)):
        found = float(text)
        return int(text) if text.lstrip("+-").isdigit() and abs(found) < 2**63 else found
    return value


def _list_of(text: str) -> Any:
    try:
        return plain(json.loads(text))
    except (ValueError, RecursionError):
        return plain(text)


def read_table(
    path: Path, roles: Roles, started_s: float | None, cursor: Cursor | None, *, form: Form | None = None
) -> Piece:
    """Return the curves of a table that is one run, whole or from a cursor on.

    Raises
    ------
    SourceError
        If it cannot be read.
    """
    form = form or look(path)[0]
    key = [roles.step, roles.time, *(roles.epochs or ())]
    fits = cursor is not None and cursor.get("roles") == key and isinstance(cursor.get("rows"), int)
    n_rows = int(cursor["rows"]) if fits and cursor is not None else 0
    with TableFile(path, form, cursor.get("table") if fits and cursor is not None else None) as table:
        curves = Curves(roles, started_s=started_s, n_rows=n_rows if table.goes_on else 0)
        for chunk in table.chunks():
            curves.add(chunk)
        mark = table.mark()
        is_counted = roles.step is None and roles.value is not None  # by metric, which a cursor does not hold
        again = None if mark is None or is_counted else {"table": mark, "rows": curves.n_rows, "roles": key}
        return Piece(curves.curves(), is_whole=not table.goes_on, cursor=again, notes=tuple(curves.notes()))


def reading(path: Path, roles: Roles, started_s: float | None) -> Any:
    """Return ``SourceRun.read`` of a table that is one run."""
    return partial(read_table, path, roles, started_s)

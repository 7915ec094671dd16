"""MLflow's files of metrics, lines ``milliseconds value step``, as curves.

The first releases wrote no step, and points about a data set have two words more. Files only grow, so a reading goes on
where the last one ended.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from advisor.errors import SourceError
from advisor.sources.folders import files_below, shown
from advisor.sources.growing import GrowingFile
from advisor.sources.port import Cursor, Piece, Points
from advisor.sources.reading import number, whole
from advisor.sources.values import counted

_REGULAR: Final = re.compile(rb"(?:[0-9]++ \S++ -?[0-9]++\n)*+")


def read_curves(folder: Path, start_ms: int | None, cursor: Cursor | None) -> Piece:
    """Return the curves below a run's ``metrics``.

    Parameters
    ----------
    start_ms
        Of the run, milliseconds since 1970; None or 0 where unknown, then times are left out.
    cursor
        Of an earlier reading. If one of its files is not the one that was read then, everything is read again.
    """
    marks = _marks(cursor)
    if marks is not None:
        piece = _read_files(folder, start_ms, marks)
        if piece is not None:
            return piece
    whole_piece = _read_files(folder, start_ms, {})
    assert whole_piece is not None  # nothing to go on from, nothing to disagree with
    return whole_piece


def _marks(cursor: Cursor | None) -> dict[str, Any] | None:
    files = cursor.get("files") if isinstance(cursor, Mapping) else None
    return dict(files) if isinstance(files, Mapping) and files else None


def _read_files(folder: Path, start_ms: int | None, marks: dict[str, Any]) -> Piece | None:
    """Return what follows some marks; None where a file is missing or another one than when they were made."""
    curves: dict[str, Points] = {}
    notes: list[str] = []
    done: dict[str, Any] = {}
    paths = list(files_below(folder, notes))
    if not marks.keys() <= {shown(name) for name, _ in paths}:
        return None
    for name, path in paths:
        metric = shown(name)
        try:
            with GrowingFile(path) as file:
                if metric in marks and not file.goes_on_from(marks[metric]):
                    return None
                points, n_lost = _points(file, start_ms)
                done[metric] = file.mark()
        except SourceError as error:
            notes.append(f"metric {metric!r} {error}")
            continue
        if n_lost:
            notes.append(
                counted(
                    n_lost,
                    f"line of metric {metric!r} is no point and was left out",
                    f"lines of metric {metric!r} are no points and were left out",
                )
            )
        if len(points):
            curves[metric] = points
    return Piece(curves, is_whole=not marks, cursor={"files": done} if done else None, notes=tuple(notes))


def _points(file: GrowingFile, start_ms: int | None) -> tuple[Points, int]:
    """Return a file's points from where it stands, and how many lines were none."""
    parts: list[tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]] = []
    n_lost = 0
    for block in file.blocks():
        part = _regular(block)
        if part is None:
            part, lost = _irregular(block)
            n_lost += lost
        parts.append(part)
    steps = np.concatenate([np.empty(0, np.int64), *(part[0] for part in parts)])
    values = np.concatenate([np.empty(0), *(part[1] for part in parts)])
    times = np.concatenate([np.empty(0), *(part[2] for part in parts)])
    return Points(steps, values, (times - start_ms) / 1000 if start_ms else np.empty(0)), n_lost


def _regular(block: bytes) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]] | None:
    """Return steps, values and times where all lines have the form of today, None otherwise."""
    if not _REGULAR.fullmatch(block):
        return None
    words = block.split()
    try:
        steps = np.array([int(word) for word in words[2::3]], dtype=np.int64)
        values = np.array([float(word) for word in words[1::3]])
        times = np.array([int(word) for word in words[0::3]], dtype=np.float64)
    except (ValueError, OverflowError):
        return None
    return steps, values, times


def _irregular(block: bytes) -> tuple[tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]], int]:
    rows, n_lost = [], 0
    for line in block.decode(errors="replace").split("\n")[:-1]:
        words = line.split()
        if not words:
            continue
        step = whole(words[2]) if len(words) > 2 else 0
        value = number(words[1]) if len(words) > 1 else None
        time = whole(words[0])
        if step is None or value is None or time is None:
            n_lost += 1
        else:
            rows.append((step, value, time))
    steps = np.array([row[0] for row in rows], dtype=np.int64)
    values = np.array([row[1] for row in rows], dtype=np.float64)
    return (steps, values, np.array([row[2] for row in rows], dtype=np.float64)), n_lost

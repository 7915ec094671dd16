"""Points of curves as they were read: bounded, and what of them is new beside what was read before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from advisor.sources.port import Piece, Points
from storage.records import Run, valid_text

METRICS_AT_MOST: Final = 10_000
"""Of one run; more are data, not curves."""


def bounded(piece: Piece) -> Piece:
    """Return a piece without metrics beyond the limit, and with names that any table can hold."""
    names = list(piece.curves)
    notes = piece.notes
    if len(names) > METRICS_AT_MOST:
        notes = (*notes, f"{len(names) - METRICS_AT_MOST:,} metrics beyond {METRICS_AT_MOST:,} were left out")
    curves = {valid_text(name)[:500]: piece.curves[name] for name in names[:METRICS_AT_MOST] if len(piece.curves[name])}
    return replace(piece, curves=curves, notes=notes)


def after(piece: Piece, lengths: Mapping[str, tuple[int, int]]) -> dict[str, Points] | None:
    """Return the points beyond those that are known; None where the curves do not begin as the known ones do."""
    if not piece.is_whole:
        return dict(piece.curves)
    out = {}
    if lengths and not any(metric in piece.curves for metric in lengths):
        return None
    for metric, (n, checksum) in lengths.items():
        points = piece.curves.get(metric)
        if points and (len(points) < n or checksum_of(points.steps[:n], points.values[:n]) != checksum):
            return None
    for metric, points in piece.curves.items():
        n = lengths.get(metric, (0, 0))[0]
        if len(points) > n:
            out[metric] = Points(points.steps[n:], points.values[n:], points.times[n:])
    return out


def goes_on(piece: Piece, known: Run) -> bool:
    """Return whether all curves of a whole reading begin after what is known of them."""
    last = {metric: figures.get("last_step") for metric, figures in known.summary.items()}
    pairs = [(int(points.steps[0]), last.get(metric)) for metric, points in piece.curves.items()]
    return any(step is not None for _, step in pairs) and all(step is None or first > step for first, step in pairs)


def lengths_of(piece: Piece, before: Mapping[str, tuple[int, int]]) -> dict[str, tuple[int, int]]:
    """Return how many points of each metric there are now, and their checksum."""
    out = dict(before)
    for metric, points in piece.curves.items():
        n, checksum = out.get(metric, (0, 0))
        out[metric] = (n + len(points), checksum_of(points.steps, points.values, checksum))
    return out


def checksum_of(steps: NDArray[np.int64], values: NDArray[np.float64], before: int = 0) -> int:
    """Return a checksum that can be continued: of step and value, point by point; every NaN counts as the same."""
    pairs = np.empty((len(steps), 2), dtype=np.int64)
    pairs[:, 0] = steps
    pairs[:, 1] = np.where(np.isnan(values), np.nan, values).astype(np.float64).view(np.int64)
    return crc32(pairs.tobytes(), before)

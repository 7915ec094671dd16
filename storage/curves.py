"""Log calls in, curve chunks out; curve chunks in, whole curves out. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from storage.records import Curve, CurveChunk

Point = tuple[int, float, Mapping[str, float]]
"""One log call: step, seconds since the run's start, values by metric."""


def chunks_of(run_id: str, points: Sequence[Point], *, first: int) -> list[CurveChunk]:
    """Return the chunks for consecutive log calls, one a metric.

    Parameters
    ----------
    first
        Position of ``points[0]`` among the run's log calls, from 0.
    """
    columns: dict[str, tuple[list[int], list[float], list[float]]] = {}
    for step, time_s, metrics in points:
        for metric, value in metrics.items():
            steps, values, times = columns.setdefault(metric, ([], [], []))
            steps.append(step)
            values.append(value)
            times.append(time_s)
    through = first + len(points)
    return [
        CurveChunk(run_id, metric=metric, chunk=first, through=through, steps=steps, values=values, times=times)
        for metric, (steps, values, times) in columns.items()
    ]


def assemble(chunks: Iterable[CurveChunk]) -> dict[str, dict[str, Curve]]:
    """Put chunks together: ``{run_id: {metric: curve}}``.

    A chunk that occurs twice counts once; the order of the chunks given does not matter.
    """
    pieces: dict[tuple[str, str], dict[int, CurveChunk]] = {}
    for chunk in chunks:
        pieces.setdefault((chunk.run_id, chunk.metric), {}).setdefault(chunk.chunk, chunk)
    out: dict[str, dict[str, Curve]] = {}
    for (run_id, metric), by_position in pieces.items():
        parts = [by_position[position] for position in sorted(by_position)]
        out.setdefault(run_id, {})[metric] = Curve.of(
            metric,
            np.concatenate([np.asarray(part.steps, dtype=np.int64) for part in parts]),
            np.concatenate([np.asarray(part.values, dtype=np.float64) for part in parts]),
            np.concatenate([_times(part) for part in parts]),
        )
    return out


def _times(part: CurveChunk) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    if len(part.times):
        return np.asarray(part.times, dtype=np.float64)
    return np.full(len(part.steps), np.nan)

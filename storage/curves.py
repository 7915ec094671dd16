"""Log calls in, curve chunks out; curve chunks in, whole curves out. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Protocol, TypeVar

import numpy as np

from storage.records import Curve, CurveChunk

Point = tuple[int, float, Mapping[str, float]]
"""One log call: step, seconds since the run's start, values by metric."""


def chunks_of(run_id: str, points: Sequence[Point], *, first: int) -> list[CurveChunk]:
    """Return the chunks for consecutive log calls, one a metric.

    Times are kept to the microsecond, which is about what asking a clock takes: finer digits tell
    nothing and cost three more bytes a step.

    Parameters
    ----------
    first
        Position of ``points[0]`` among the run's log calls, from 0.
    """
    columns: dict[str, tuple[list[int], list[float], list[float]]] = {}
    for step, exact_s, metrics in points:
        time_s = round(exact_s, 6)
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

    Points that occur in several chunks count once, see ``counted``; the order of the chunks given does not matter.
    """
    pieces: dict[tuple[str, str], list[CurveChunk]] = {}
    for chunk in chunks:
        pieces.setdefault((chunk.run_id, chunk.metric), []).append(chunk)
    out: dict[str, dict[str, Curve]] = {}
    for (run_id, metric), several in pieces.items():
        parts = counted(several)
        out.setdefault(run_id, {})[metric] = Curve.of(
            metric,
            np.concatenate([np.asarray(part.steps, dtype=np.int64) for part in parts]),
            np.concatenate([np.asarray(part.values, dtype=np.float64) for part in parts]),
            np.concatenate([_times(part) for part in parts]),
        )
    return out


class Span(Protocol):
    """Part of one curve: the points of the log calls from ``chunk`` up to, not including, ``through``."""

    @property
    def chunk(self) -> int:
        """Position of the first log call."""
        ...

    @property
    def through(self) -> int:
        """Position after the last log call."""
        ...


SpanT = TypeVar("SpanT", bound=Span)


def counted(spans: Sequence[SpanT]) -> list[SpanT]:
    """Return those parts of one curve that count, in their order: none whose log calls another one covers.

    So a part that was delivered twice counts once, and so do the parts that were merged into a larger
    one and are still there; which of several equal ones is taken makes no difference.
    """
    if len(spans) == 1:
        return list(spans)
    kept: list[SpanT] = []
    for span in sorted(spans, key=lambda span: (span.chunk, -span.through)):
        if not kept or (span.chunk > kept[-1].chunk and span.through > kept[-1].through):
            kept.append(span)
    return kept


def windows(
    spans: Iterable[SpanT], n_of: Callable[[SpanT], int], key: Callable[[SpanT], str], *, most: int
) -> list[list[SpanT]]:
    """Divide the parts of one run's curves into groups that may be merged.

    A group covers its log calls without a gap, so a part that arrives after the merge is either one
    that was in it or lies outside; and no curve has more than ``most`` points in it, unless one part has.
    """
    out: list[list[SpanT]] = []
    reach, sizes = -1, Counter[str]()
    for span in sorted(spans, key=lambda span: (span.chunk, span.through)):
        full = sizes[key(span)] + n_of(span) > most and span.chunk >= reach
        if not out or span.chunk > reach or full:
            out.append([])
            sizes.clear()
        out[-1].append(span)
        sizes[key(span)] += n_of(span)
        reach = max(reach, span.through)
    return out


def mean_last_k(reduce: str) -> int | None:
    """Return K of ``mean-last-K``, None for another way to reduce a curve."""
    k = reduce.removeprefix("mean-last-")
    return int(k) if k != reduce and k.isdecimal() and int(k) > 0 else None


_OF_MACHINE: Final = tuple(
    f"system/{what}_" for what in ("cpu", "memory", "process", "disk", "network", *(f"gpu_{i}" for i in range(16)))
)


def is_of_machine(metric: str) -> bool:
    """Return whether a metric is what the machine did, as ``advisor.tracking.system`` records it.

    >>> is_of_machine("system/gpu_0_percent"), is_of_machine("system/loss")
    (True, False)
    """
    return metric.startswith(_OF_MACHINE)


def of_training(curves: Mapping[str, Curve]) -> dict[str, Curve]:
    """Return the curves that a training logged, without what the machine did meanwhile."""
    return {metric: curve for metric, curve in curves.items() if not is_of_machine(metric)}


def summaries(curves: Mapping[str, Curve], *, reduce: str = "last") -> dict[str, Any]:
    """Return the figures of each curve of a training, as the journal keeps them when a run ends.

    The value that ``reduce`` asks for is among them.
    """
    curves = of_training(curves)
    out = {metric: curve.summary() for metric, curve in curves.items()}
    k = mean_last_k(reduce)
    if k is not None:
        for metric, curve in curves.items():
            out[metric][reduce] = mean_last(curve, k)
    return out


def mean_last(curve: Curve, k: int) -> float | None:
    """Return the mean of the last ``k`` finite values, None where there is none."""
    finite = curve.values[np.isfinite(curve.values)][-k:]
    return float(finite.mean()) if finite.size else None


def _times(part: CurveChunk) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    if len(part.times):
        return np.asarray(part.times, dtype=np.float64)
    return np.full(len(part.steps), np.nan)

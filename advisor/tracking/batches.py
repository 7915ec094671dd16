"""Log calls as columns: what the delivering thread looks at, keeps in memory and hands to the store. Pure.

A batch is an unbroken piece of a run's log calls. Its arrays take a tenth of the memory of the calls themselves, and
everything that looks at the points (figures, rules, the store) looks at the same arrays.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from itertools import chain, pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from storage.records import CurveChunk
from storage.spool import Call

Steps = NDArray[np.int64]
Values = NDArray[np.float64]

_OVERHEAD_BYTES: Final = 400  # of the objects around each array, as sys.getsizeof counts them


@dataclass(frozen=True, slots=True)
class Batch:
    """Consecutive log calls, by metric."""

    first: int
    """Number of the first call in the run."""
    _: KW_ONLY
    steps: Steps
    """Step of each call, shape (n,)."""
    curves: Mapping[str, tuple[Steps, Values, Values]]
    """Steps, values and seconds since the run's start, shape (T,) each, by metric."""
    offset: int = 0
    """Where in the write-ahead log its calls begin, or a little before."""

    @property
    def n(self) -> int:
        """Calls in it."""
        return len(self.steps)

    @property
    def end(self) -> int:
        """Number of the call that follows."""
        return self.first + self.n

    @property
    def n_bytes(self) -> int:
        """Memory that it takes, about."""
        return self.steps.nbytes + sum(
            _OVERHEAD_BYTES + sum(array.nbytes for array in arrays) for arrays in self.curves.values()
        )

    def chunks(self, run_id: str) -> list[CurveChunk]:
        """Return it as the store takes it: a chunk for each metric."""
        return [
            CurveChunk(
                run_id, metric=metric, chunk=self.first, through=self.end, steps=steps, values=values, times=times
            )
            for metric, (steps, values, times) in self.curves.items()
        ]


def batches_of(calls: Sequence[Call], *, offset: int = 0) -> list[Batch]:
    """Return log calls as unbroken batches, one where no number is missing."""
    if not calls:
        return []
    numbers = np.fromiter((call[0] for call in calls), np.int64, len(calls))
    if (np.diff(numbers) != 1).any():
        calls = sorted(dict(zip(numbers.tolist(), calls, strict=True)).values())
        numbers = np.fromiter((call[0] for call in calls), np.int64, len(calls))
    cuts = [0, *(np.flatnonzero(np.diff(numbers) != 1) + 1).tolist(), len(calls)]
    return [_batch(int(numbers[a]), calls[a:b], offset) for a, b in pairwise(cuts)]


def merged(batches: Sequence[Batch]) -> Batch:
    """Return batches that follow one another without a hole as one."""
    if len(batches) == 1:
        return batches[0]
    pieces: dict[str, list[tuple[Steps, Values, Values]]] = {}
    for batch in batches:
        for metric, arrays in batch.curves.items():
            pieces.setdefault(metric, []).append(arrays)
    curves = {
        metric: (
            np.concatenate([steps for steps, _, _ in parts]),
            np.concatenate([values for _, values, _ in parts]),
            np.concatenate([times for _, _, times in parts]),
        )
        for metric, parts in pieces.items()
    }
    return Batch(batches[0].first, steps=np.concatenate([batch.steps for batch in batches]), curves=curves)


def _batch(first: int, calls: Sequence[Call], offset: int) -> Batch:
    n = len(calls)
    steps = np.fromiter((call[1] for call in calls), np.int64, n)
    times = np.fromiter((call[2] for call in calls), np.float64, n)
    logged = [call[3] for call in calls]
    names = tuple(logged[0])
    if not all(map(names.__eq__, map(tuple, logged))):
        return Batch(first, steps=steps, curves=_sparse_columns(steps, times, logged), offset=offset)
    # The usual case: every call has the same metrics in the same order.
    flat = np.fromiter(chain.from_iterable(map(dict.values, logged)), np.float64, n * len(names))
    table = np.ascontiguousarray(flat.reshape(n, len(names)).T)
    curves = {metric: (steps, table[i], times) for i, metric in enumerate(names)}
    return Batch(first, steps=steps, curves=curves, offset=offset)


def _sparse_columns(
    steps: Steps, times: Values, logged: Iterable[Mapping[str, float]]
) -> dict[str, tuple[Steps, Values, Values]]:
    found: dict[str, tuple[list[int], list[float]]] = {}
    for position, metrics in enumerate(logged):
        for metric, value in metrics.items():
            positions, values = found.setdefault(metric, ([], []))
            positions.append(position)
            values.append(value)
    return {
        metric: (steps[positions], np.array(values, np.float64), times[positions])
        for metric, (positions, values) in found.items()
    }

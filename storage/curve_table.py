"""The table of curves: pieces appended, whole curves read, pieces of ended runs merged.

A row holds the values of one piece of one curve, packed by ``storage.codec``. Their steps and times, the axis, are
in a row of their own, whose metric is null: pieces of one run that were logged in the same calls share it, and
whoever reads one metric of many runs reads no other's values. A live run appends small pieces; merging writes its
curves anew, each in one row for up to a million points. Rows of schema 1 hold plain lists and are read as well.

Invariant: rows are never changed, and which rows count follows from the rows alone
(``storage.curves.counted``). Merging first appends and then deletes exactly the batches that it read: a reader in
between sees points twice and counts them once, and whoever is killed in between leaves nothing that the
next merge does not clean up.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from storage import codec
from storage.curves import counted, windows
from storage.errors import CurveDamagedError, RecordError
from storage.lance import Database, among
from storage.migrations import CURVES, PACKED
from storage.records import Curve, CurveChunk

log = logging.getLogger(__name__)

TABLE: Final = "curves"
COLUMNS: Final = {name: kind for name, kind in {**CURVES, **PACKED}.items() if name not in ("steps", "values", "times")}
"""What is written; the lists of schema 1 stay null."""
MERGED_POINTS: Final = 1_000_000
"""Most points of a curve in one row: 5 to 8 MB, decoded in about 0.05 s."""
AT_ONCE_POINTS: Final = 2_000_000
"""Points that one commit of a merge rewrites, unless one run has more: some 100 MB of memory."""
AT_ONCE_RUNS: Final = 256
"""Runs that one filter names."""
FILTER_RUNS: Final = 2_000
"""Runs up to which a read asks for them by name; beyond it reads the table and chooses itself."""
INDEX_FROM_ROWS: Final = 20_000
"""Below this a scan finds the rows of a run as fast as an index does."""


@dataclass(frozen=True, slots=True)
class Damage:
    """A piece of a curve that cannot be read."""

    run_id: str
    metric: str | None
    """None: an axis, which several metrics share."""
    chunk: int
    """Position of the piece's first log call in the run."""
    reason: str


@dataclass(slots=True)
class Row:
    """One row as it lies in the table, its fields in the order of ``COLUMNS``."""

    run_id: str
    metric: str | None
    chunk: int
    through: int
    n: int | None
    axis: bytes | None
    packed: bytes | None
    batch: int | None
    shared: int | None
    steps: NDArray[np.int64] | None = None
    values: NDArray[np.float64] | None = None
    times: NDArray[np.float64] | None = None

    @property
    def size(self) -> int:
        """Number of points."""
        return self.n if self.n is not None else len(self.steps) if self.steps is not None else 0


class Extent(NamedTuple):
    """What a row holds, without it."""

    chunk: int
    through: int
    n: int


Arrays = tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]
"""Steps, values, times."""


class CurveTable:
    """The curves of a store.

    Parameters
    ----------
    database
        Where the table is; its migrations have made it.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._delivered: tuple[tuple[int, frozenset[str]], dict[str, int]] | None = None  # asked last, and the answer

    def version(self) -> int:
        """Return the commit that the table is at; merging makes commits too."""
        return self._database.version(TABLE)

    # -- writing

    def append(self, chunks: Sequence[CurveChunk]) -> int:
        """Append pieces in one commit; return the version that it made.

        Raises
        ------
        RecordError
            If a piece's steps, values and times are not equally many.
        StoreUnavailableError
            If it could not be committed.
        """
        by_run: dict[str, list[CurveChunk]] = {}
        for chunk in chunks:
            by_run.setdefault(chunk.run_id, []).append(chunk)
        batch = _new_batch()
        return self._write([row for run_id, pieces in by_run.items() for row in _packed(run_id, pieces, batch)])

    def delete_runs(self, run_ids: Iterable[str]) -> None:
        """Remove all pieces of runs for good."""
        for some in _portions(sorted(set(run_ids))):
            self._database.delete(TABLE, among("run_id", some))

    def merge(self, run_ids: Collection[str], *, min_commits: int = 2) -> int:
        """Write the curves of runs anew, few rows for many; return how many runs that took.

        What a read returns stays the same, and what is appended meanwhile or later is kept.
        Safe beside readers and writers; one process at a time should do it, because two do it twice.

        Parameters
        ----------
        min_commits
            Commits from which a run's rows come, below which it is left alone. Merging takes as long as the run is
            long: one that goes on is better merged seldom.

        Raises
        ------
        StoreUnavailableError
            If a commit failed; what was merged before stays merged.
        """
        sizes: Counter[str] = Counter()
        for run_id, _, extent in self._extents(self._unmerged(min_commits) & set(run_ids)):
            sizes[run_id] += extent.n
        return sum(self._merge_together(some) for some in _groups(sizes))

    # -- reading

    def read(
        self,
        run_ids: Collection[str] | None = None,
        metrics: Collection[str] | None = None,
        *,
        damaged: list[CurveDamagedError] | None = None,
    ) -> dict[str, dict[str, Curve]]:
        """Return ``{run_id: {metric: curve}}`` in one scan; None means all.

        Parameters
        ----------
        damaged
            Where given, a curve with a damaged piece is left out, and what is wrong is added here.

        Raises
        ------
        CurveDamagedError
            If a piece is not what was written; it names run, metric and position.
        """
        axes = _Axes()
        wanted = None if run_ids is None else set(run_ids)
        pieces: dict[tuple[str, str], list[Row]] = {}
        for row in self._rows(_where(wanted, metrics)):
            if row.metric is None:
                axes.add(row)
            elif wanted is None or row.run_id in wanted:
                pieces.setdefault((row.run_id, row.metric), []).append(row)
        out: dict[str, dict[str, Curve]] = {}
        for (run_id, metric), rows in pieces.items():
            try:
                out.setdefault(run_id, {})[metric] = _curve(metric, [axes.decoded(row) for row in counted(rows)])
            except CurveDamagedError as error:
                if damaged is None:
                    raise
                damaged.append(error)
        return out

    def delivered(self, run_id: str) -> int:
        """Return how many of a run's log calls are kept."""
        batches = self._database.batches(TABLE, ("through",), where=among("run_id", [run_id]))
        return max((through for batch in batches for through in batch["through"]), default=0)

    def delivered_of(self, run_ids: Collection[str]) -> dict[str, int]:
        """Return how many log calls of each of some runs are kept; runs without any are left out.

        Asked again for the same runs while nothing was appended, it costs a look at the table's version.
        """
        wanted = frozenset(run_ids)
        if not wanted:
            return {}
        asked, last = (self._database.version(TABLE), wanted), self._delivered
        if last is not None and last[0] == asked:
            return dict(last[1])
        found: dict[str, int] = {}
        # One axis a commit says it for all metrics; rows of schema 1 have none.
        limited = _where(wanted, None)
        where = " and ".join(["(metric is null or batch is null)", *([limited] if limited else [])])
        for batch in self._database.batches(TABLE, ("run_id", "through"), where=where):
            for run_id, through in zip(batch["run_id"], batch["through"], strict=True):
                if run_id in wanted:
                    found[run_id] = max(through, found.get(run_id, 0))
        self._delivered = (asked, found)
        return dict(found)

    def counts(self, run_ids: Collection[str] | None = None) -> dict[str, dict[str, int]]:
        """Return the number of points by run and metric, without decoding any; None means of all runs."""
        extents: dict[tuple[str, str], list[Extent]] = {}
        for run_id, metric, extent in self._extents(run_ids):
            extents.setdefault((run_id, metric), []).append(extent)
        out: dict[str, dict[str, int]] = {}
        for (run_id, metric), several in extents.items():
            out.setdefault(run_id, {})[metric] = sum(extent.n for extent in counted(several))
        return out

    def n_points(self, run_ids: Collection[str]) -> int:
        """Return the number of points of runs: quickly where they are merged."""
        unmerged = self._unmerged()
        merged = set(run_ids) - unmerged
        n = sum(sum(by_metric.values()) for by_metric in self.counts(unmerged & set(run_ids)).values())
        for batch in self._database.batches(TABLE, ("run_id", "n"), where="metric is not null and n is not null"):
            n += sum(size for run_id, size in zip(batch["run_id"], batch["n"], strict=True) if run_id in merged)
        return n

    # -- care

    def verify(self) -> list[Damage]:
        """Decode every piece and return what cannot be read, in the order of the table."""
        damaged: list[Damage] = []
        n_of_axis: dict[tuple[str, int | None, int | None], int] = {}
        wanting: list[Row] = []
        for row in self._rows(None):
            try:
                n = _check(row)
            except CurveDamagedError as error:
                damaged.append(Damage(row.run_id, row.metric, row.chunk, str(error)))
                continue
            if row.metric is None:
                n_of_axis[_axis_key(row)] = n
            elif row.batch is not None:
                row.packed = None  # has been looked at
                wanting.append(row)
        for row in wanting:
            n_axis = n_of_axis.get(_axis_key(row))
            if n_axis != row.n:
                damaged.append(Damage(row.run_id, row.metric, row.chunk, _no_axis(row, n_axis)))
        return damaged

    def index(self) -> None:
        """Make the index by run, once the table is large enough for one to help."""
        if self._database.count(TABLE) >= INDEX_FROM_ROWS:
            self._database.index_column(TABLE, "run_id")

    # -- inner workings

    def _write(self, rows: Sequence[Row]) -> int:
        return self._database.append(TABLE, {name: [getattr(row, name) for row in rows] for name in COLUMNS}, COLUMNS)

    def _rows(self, where: str | None) -> Iterator[Row]:
        names = (*COLUMNS, "steps", "values", "times")
        for batch in self._database.batches(TABLE, names, where=where):
            for fields in zip(*(batch[name] for name in names), strict=True):
                yield Row(*fields)

    def _extents(self, run_ids: Collection[str] | None) -> Iterator[tuple[str, str, Extent]]:
        """Yield run, metric and extent of the rows that hold values."""
        wanted = None if run_ids is None else set(run_ids)
        limited = _where(wanted, None)
        for sized in (True, False):  # rows of schema 1 have no number of points: their steps are counted
            where = f"metric is not null and n is {'not ' if sized else ''}null"
            where += f" and {limited}" if limited else ""
            names = ("run_id", "metric", "chunk", "through", "n" if sized else "steps")
            for batch in self._database.batches(TABLE, names, where=where):
                for run_id, metric, chunk, through, n in zip(*(batch[name] for name in names), strict=True):
                    if wanted is None or run_id in wanted:
                        yield run_id, metric, Extent(chunk, through, n if sized else len(n))

    def _unmerged(self, min_commits: int = 2) -> set[str]:
        """Return the runs whose rows come from that many commits or more, or from schema 1."""
        out: set[str] = set()
        for batch in self._database.batches(TABLE, ("run_id",), where="batch is null"):
            out.update(batch["run_id"])
        commits: Counter[str] = Counter()
        for batch in self._database.batches(TABLE, ("run_id",), where="metric is null and shared = 0"):
            commits.update(batch["run_id"])  # one row a commit
        return out | {run_id for run_id, n in commits.items() if n >= min_commits}

    def _merge_together(self, run_ids: Sequence[str]) -> int:
        by_run: dict[str, list[Row]] = {}
        for row in self._rows(among("run_id", run_ids)):
            by_run.setdefault(row.run_id, []).append(row)
        batch = _new_batch()
        new: list[Row] = []
        old: list[Row] = []
        n_merged = 0
        for run_id, rows in by_run.items():
            try:
                new += _merged(run_id, rows, batch)
            except CurveDamagedError as error:
                log.warning("the curves of run %s stay as they are: %s", run_id, error)
                continue
            old += rows
            n_merged += 1
        if new:
            self._write(new)
            self._database.delete(TABLE, _exactly(old))
        return n_merged


# -- rows and arrays


class _Axes:
    """Axes of rows, each packed or decoded once."""

    def __init__(self) -> None:
        self._blobs: dict[tuple[str, int | None, int | None], bytes] = {}
        self._decoded: dict[bytes, tuple[NDArray[np.int64], NDArray[np.float64]]] = {}
        self._packed: dict[tuple[bytes, bytes], bytes] = {}

    def add(self, row: Row) -> None:
        """Take note of the row of an axis."""
        if row.axis is not None:
            self._blobs[_axis_key(row)] = row.axis

    def forget(self) -> None:
        """Let go of what was packed and decoded, which is as large as the curves themselves."""
        self._decoded.clear()
        self._packed.clear()

    def blob(self, row: Row) -> bytes:
        """Return the packed axis of a row of values."""
        found = self._blobs.get(_axis_key(row))
        if found is None:
            raise CurveDamagedError(_named(row, _no_axis(row, None)))
        return found

    def packed(self, steps: Any, times: Any) -> bytes:
        """Return steps and times packed."""
        step, time = np.asarray(steps, dtype=np.int64), np.asarray(times, dtype=np.float64)
        key = (step.tobytes(), time.tobytes())
        if key not in self._packed:
            self._packed[key] = codec.pack_axis(step, time)
        return self._packed[key]

    def decoded(self, row: Row) -> Arrays:
        """Return what a row of values stands for."""
        if row.batch is None:
            return _listed(row)
        blob = self.blob(row)
        try:
            if blob not in self._decoded:
                self._decoded[blob] = codec.unpack_axis(blob)
            steps, times = self._decoded[blob]
            values = codec.unpack_values(row.packed or b"")
        except CurveDamagedError as error:
            raise CurveDamagedError(_named(row, str(error))) from error
        if not steps.size == values.size == row.n:
            raise CurveDamagedError(_named(row, f"{steps.size} steps, {values.size} values, {row.n} points announced"))
        return steps, values, times


def _listed(row: Row) -> Arrays:
    """Return the arrays of a row of schema 1."""
    if row.steps is None or row.values is None or len(row.steps) != len(row.values):
        raise CurveDamagedError(_named(row, "it holds no values, or not as many as steps"))
    times = row.times if row.times is not None and len(row.times) else np.full(len(row.steps), np.nan)
    return row.steps, row.values, times


def _curve(metric: str, parts: Sequence[Arrays]) -> Curve:
    """Return a curve of parts; arrays that came as they should be are not copied."""
    arrays = parts[0] if len(parts) == 1 else tuple(np.concatenate(column) for column in zip(*parts, strict=True))
    for array in arrays:
        array.flags.writeable = False
    return Curve(metric, *arrays)


Packed = tuple[str, int, int, int, bytes, bytes]
"""Metric, first log call, last, number of points, axis, values."""


def _packed(run_id: str, chunks: Sequence[CurveChunk], batch: int) -> list[Row]:
    """Return the rows of pieces of one run."""
    axes = _Axes()
    by_metric: dict[str, list[CurveChunk]] = {}
    for chunk in chunks:
        by_metric.setdefault(chunk.metric, []).append(chunk)
    return _rows_of(run_id, batch, (_pack(chunk, axes) for several in by_metric.values() for chunk in counted(several)))


def _pack(chunk: CurveChunk, axes: _Axes) -> Packed:
    n = len(chunk.steps)
    if len(chunk.values) != n:
        raise RecordError(
            f"a piece of {chunk.metric!r} has {n} steps and {len(chunk.values)} values; they must be equally many"
        )
    axis, values = axes.packed(chunk.steps, chunk.times), codec.pack_values(chunk.values)
    return chunk.metric, chunk.chunk, chunk.through, n, axis, values


def _merged(run_id: str, rows: Sequence[Row], batch: int) -> list[Row]:
    """Return the rows that stand for all rows of one run."""
    axes = _Axes()
    by_metric: dict[str, list[Row]] = {}
    for row in rows:
        if row.metric is None:
            axes.add(row)
        else:
            by_metric.setdefault(row.metric, []).append(row)
    count = [row for several in by_metric.values() for row in counted(several)]
    groups = windows(count, lambda row: row.size, lambda row: str(row.metric), most=MERGED_POINTS)
    return _rows_of(run_id, batch, (packed for group in groups for packed in _merged_group(group, axes)))


def _merged_group(group: Sequence[Row], axes: _Axes) -> Iterator[Packed]:
    axes.forget()
    by_metric: dict[str, list[Row]] = {}
    for row in group:
        by_metric.setdefault(str(row.metric), []).append(row)
    for metric, parts in by_metric.items():
        first, through = parts[0], parts[-1].through
        arrays = [axes.decoded(part) for part in parts]  # also of a single one: damage is not written on
        if len(parts) == 1 and first.packed is not None:
            yield metric, first.chunk, through, first.size, axes.blob(first), first.packed
        else:
            curve = _curve(metric, arrays)
            axis, values = axes.packed(curve.steps, curve.times), codec.pack_values(curve.values)
            yield metric, first.chunk, through, len(curve), axis, values


def _rows_of(run_id: str, batch: int, pieces: Iterable[Packed]) -> list[Row]:
    """Return rows of values, and before them one row for each axis that there is among them."""
    axes: dict[bytes, Row] = {}
    values: list[Row] = []
    for metric, chunk, through, n, axis, packed in pieces:
        if axis not in axes:
            axes[axis] = Row(run_id, None, chunk, through, n, axis, None, batch, len(axes))
        values.append(Row(run_id, metric, chunk, through, n, None, packed, batch, axes[axis].shared))
    return [*axes.values(), *values]


def _check(row: Row) -> int:
    """Read all that is in a row; return the number of points."""
    if row.batch is None:
        return len(_listed(row)[0])
    if row.metric is None:
        n = codec.unpack_axis(row.axis or b"")[0].size
    else:
        n = codec.unpack_values(row.packed or b"").size
    if n != row.n:
        raise CurveDamagedError(f"it should hold {row.n} points and holds {n}")
    return n


def _axis_key(row: Row) -> tuple[str, int | None, int | None]:
    return row.run_id, row.batch, row.shared


def _no_axis(row: Row, n: int | None) -> str:
    return f"its steps are missing ({row.n} points)" if n is None else f"it has {row.n} values and {n} steps"


def _named(row: Row, reason: str) -> str:
    return (
        f"the piece of {row.metric!r} of run {row.run_id!r} at log call {row.chunk} cannot be read: {reason}; "
        "'advisor store verify' lists what is damaged"
    )


# -- filters and portions


def _new_batch() -> int:
    return int.from_bytes(os.urandom(8)) >> 1


def _where(run_ids: Collection[str] | None, metrics: Collection[str] | None) -> str | None:
    clauses = []
    if run_ids is not None and len(run_ids) <= FILTER_RUNS:
        clauses.append(among("run_id", run_ids))
    if metrics is not None:
        clauses.append(f"({among('metric', metrics)} or metric is null)")
    return " and ".join(clauses) or None


def _exactly(rows: Iterable[Row]) -> str:
    """Return the filter for rows that were read and no others."""
    batches: set[int] = set()
    runs: set[str] = set()
    listed: dict[str, tuple[set[str], set[int]]] = {}
    for row in rows:
        if row.batch is not None:
            batches.add(row.batch)
            runs.add(row.run_id)
        else:  # schema 1 knew no batches
            metrics, chunks = listed.setdefault(row.run_id, (set(), set()))
            metrics.add(str(row.metric))
            chunks.add(row.chunk)
    clauses = [
        f"(batch is null and {among('run_id', [run_id])} and {among('metric', sorted(metrics))}"
        f" and chunk in ({', '.join(map(str, sorted(chunks)))}))"
        for run_id, (metrics, chunks) in listed.items()
    ]
    if batches:
        clauses.append(f"({among('run_id', sorted(runs))} and batch in ({', '.join(map(str, sorted(batches)))}))")
    return " or ".join(clauses)


def _portions(run_ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(run_ids), AT_ONCE_RUNS):
        yield run_ids[start : start + AT_ONCE_RUNS]


def _groups(sizes: Mapping[str, int]) -> Iterator[list[str]]:
    """Yield runs that are merged together, none so many that memory would notice."""
    group: list[str] = []
    n = 0
    for run_id, size in sizes.items():
        if group and (n + size > AT_ONCE_POINTS or len(group) >= AT_ONCE_RUNS):
            yield group
            group, n = [], 0
        group.append(run_id)
        n += size
    if group:
        yield group

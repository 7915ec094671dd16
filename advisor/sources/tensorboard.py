"""TensorBoard's event files as runs: one a folder, named as TensorBoard names it.

Scalars are curves, the plugin for parameters and the files beside give parameters; images, histograms, audio and graphs
are left out and counted. Whether a run still goes on is told by the process that its file's name holds, where that
process was on this machine.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from advisor.errors import SourceError
from advisor.sources import sidecars
from advisor.sources.naming import experiment_of, root_of, run_name, shown
from advisor.sources.port import Cursor, Entry, Found, Listing, Options, Piece, Reader, Source, SourceRun
from advisor.sources.reading import from_seconds
from advisor.sources.tensorboard_events import Scalars
from advisor.sources.tensorboard_folders import PARAMETERS, TWINS, RunFolder, claimed, is_events, run_folders
from advisor.sources.tensorboard_head import Head, is_written, order_of, read_head, writer_of
from advisor.sources.tfrecord import RecordFile
from advisor.sources.values import counted, seed_of
from storage.records import RunState

REMEMBERED_AT_MOST: Final = 2_000
"""Tags that are no scalars, in a cursor; with more of them, a run is read whole each time."""


class TensorBoardReader(Reader):
    """Knows event files by their names."""

    tool = "tensorboard"
    title = "TensorBoard"

    def find(self, at: Listing) -> Sequence[Found]:
        """Claim event files, what lies beside them, and folders below that are runs and nothing else."""
        names = claimed(at.path, at.folders, at.files)
        return [Found(self.tool, str(at.path), what="event files", claims=names)] if names else ()

    def find_file(self, path: Path) -> Found | None:
        """Return the run that an event file is of."""
        return Found(self.tool, str(path), n_runs=1, what="event file") if is_events(path.name) else None

    def open(self, found: Found, options: Options) -> Source:
        """Open a folder, or the folder of an event file for that run alone."""
        return TensorBoardSource(Path(found.path), options)


class TensorBoardSource(Source):
    """Runs of a folder."""

    def __init__(self, path: Path, options: Options) -> None:
        super().__init__()
        self._is_file = path.is_file()
        self._folder = path.parent if self._is_file else path
        self._root = root_of(self._folder, options)
        self._heads: dict[Path, tuple[str, Head]] = {}

    def entries(self) -> Iterator[Entry]:
        """Yield runs, oldest first by the times in their files' names."""
        self.notes.clear()
        runs = sorted(run_folders(self._folder, with_below=not self._is_file), key=lambda run: order_of(run.files[0]))
        for run in runs:
            place = shown(os.path.relpath(run.path, self._folder))
            yield Entry(place, stamp=run.stamp, load=partial(self._load, run))
        twins = sorted(name for name in TWINS if (self._folder / name).is_file())
        if runs and twins:
            self.notes.append(f"{', '.join(twins)} was not read beside event files of the same run")

    def _load(self, run: RunFolder) -> SourceRun:
        head = self._head(run)
        if head.first_s is None:
            raise SourceError("holds no event file with a whole record")
        inherited: dict[str, Any] = {}
        for folder in run.above:
            above = next(run_folders(folder, with_below=False), None)
            inherited |= self._head(above).params if above else {}
        beside = sidecars.read_beside(run.path, names=PARAMETERS)
        params = {**inherited, **beside.params, **head.params}
        state = head.state or _state(run)
        host = writer_of(run.files[-1])[0]
        return SourceRun(
            key=str(run.path),
            experiment=experiment_of(self._root),
            read=partial(read_curves, run.paths, head.first_s),
            name=run_name(run.path, self._root),
            state=state,
            active=from_seconds(head.last_s) if state in (None, RunState.RUNNING) else None,
            params=params,
            notes=head.notes,
            seed=seed_of(params),
            started=from_seconds(head.first_s),
            ended=from_seconds(head.ended_s or head.last_s) if state is not None and state.is_over else None,
            environment={} if host is None else {"hostname": host},
            attributes=head.figures,
            meta=beside.meta | ({"group": head.group} if head.group else {}),
        )

    def _head(self, run: RunFolder) -> Head:
        """Return what a run's files say, kept for the runs below it."""
        known = self._heads.get(run.path)
        if known is None or known[0] != run.stamp:
            head = read_head(run.paths)
            if run.added is not None:
                added = next(run_folders(run.added, with_below=False), None)
                if added is not None:
                    head.params = {**head.params, **read_head(added.paths).params}
                    head.figures = _last_values(added.paths)
            known = run.stamp, head
            self._heads[run.path] = known
        return known[1]


def _last_values(paths: Sequence[Path]) -> dict[str, float]:
    try:
        curves = read_curves(paths, 0.0, None).curves
    except SourceError:
        return {}
    return {tag: float(points.values[-1]) for tag, points in curves.items()}


def _state(run: RunFolder) -> RunState | None:
    is_going_on = is_written(run.files[-1], _written(run) or 0.0)
    if is_going_on is None:
        return None
    return RunState.RUNNING if is_going_on else RunState.FINISHED


def _written(run: RunFolder) -> float | None:
    """Return when something was written last, seconds since 1970."""
    times = []
    for path in run.paths:
        try:
            times.append(path.stat().st_mtime)
        except OSError:
            continue
    return max(times, default=None)


# -- curves


def _one(kind: str) -> str:
    """Return what was left out as one of it: ``histogram`` of ``histograms``, ``point of …`` of ``points of …``."""
    return re.sub(r"^(\w+)s\b", r"\1", kind)


def read_curves(paths: Sequence[Path], started_s: float, cursor: Cursor | None) -> Piece:
    """Return the scalars of a run's files, which are read in this order.

    Parameters
    ----------
    started_s
        Seconds since 1970 that the curves' times count from.

    Raises
    ------
    SourceError
        If none of the files can be read.
    """
    piece = _go_on(paths, started_s, cursor) if cursor else None
    return piece or _read(paths, started_s, {}, Scalars(), is_whole=True)


def _go_on(paths: Sequence[Path], started_s: float, cursor: Cursor) -> Piece | None:
    """Return what is new; None where what was read before is no longer what a whole reading would begin with."""
    marks, largest = cursor.get("files"), cursor.get("largest")
    if not isinstance(marks, dict) or not isinstance(largest, int) or not marks.keys() <= {p.name for p in paths}:
        return None
    scalars = Scalars(cursor.get("memory"))
    scalars.largest_step = largest
    try:
        piece = _read(paths, started_s, marks, scalars, is_whole=False)
    except _Replaced:
        return None
    if scalars.purged_step is not None and scalars.purged_step <= largest:
        return None
    return piece


class _Replaced(Exception):
    """A file is not the one that was read before."""


def _read(
    paths: Sequence[Path], started_s: float, marks: Mapping[str, Any], scalars: Scalars, *, is_whole: bool
) -> Piece:
    notes: list[str] = []
    ends: dict[str, Any] = {}
    n_damaged = n_long = 0
    for path in paths:
        try:
            with RecordFile(path) as file:
                if path.name in marks and not file.goes_on_from(marks[path.name]):
                    raise _Replaced
                for block in file.records():
                    scalars.feed(block)
                ends[path.name] = file.mark()
                n_damaged, n_long = n_damaged + file.n_damaged, n_long + file.n_long
                if file.is_broken:
                    notes.append(f"{shown(path.name)} is damaged at byte {file.offset:,}; what follows was left out")
        except SourceError as error:
            notes.append(f"{shown(path.name)} {error}")
    if not ends:
        raise SourceError("; ".join(notes) or "has no event file any more")
    n_damaged += scalars.n_damaged
    if n_damaged:
        notes.append(
            counted(
                n_damaged,
                "damaged record was left out",
                "damaged records were left out",
            )
        )
    if n_long:
        notes.append(
            counted(
                n_long, "record of more than 64 MiB was passed over", "records of more than 64 MiB were passed over"
            )
        )
    if scalars.left_out:
        notes.append(
            "left out: " + ", ".join(counted(n, _one(kind), kind) for kind, n in sorted(scalars.left_out.items()))
        )
    cursor: dict[str, Any] = {"files": ends, "memory": scalars.memory(), "largest": scalars.largest_step}
    is_small = len(cursor["memory"]["others"]) <= REMEMBERED_AT_MOST
    return Piece(scalars.curves(started_s), is_whole=is_whole, cursor=cursor if is_small else None, notes=tuple(notes))

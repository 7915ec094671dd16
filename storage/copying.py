"""Whole stores: copied to another place and back, or one taken into another.

A copy is made of files, so it is the same store to the last event: order, numbers, hashes. It may be made while the
store is written: of each table the newest version is looked up first and the files are listed later, so that all that
version needs is in the copy. Merging appends what the other store's runs and experiments were told, event by event
with its own id, so that repeating it adds nothing.

Left out: write-ahead logs of live runs, which belong to processes of one machine, and locks.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from storage.artifacts import files_at
from storage.errors import RecordError, StoreNotFoundError
from storage.lance import mapped
from storage.lance_store import LanceRunStore
from storage.provenance import JOINED, PURGED
from storage.records import CurveChunk, Event, utc_now
from storage.store import RunStore

if TYPE_CHECKING:
    from pyarrow import fs

    from storage.journal import State

Progress = Callable[[int, int], None]

TABLES: Final = ("events", "curves", "runs", "migrations")
"""In the order in which they are copied. A run that the journal calls finished has all its points in the copy; the
table that makes a folder a store comes last."""
EVENTS_AT_ONCE: Final = 5_000
RUNS_AT_ONCE: Final = 200
BLOCK: Final = 2**22


@dataclass(frozen=True, slots=True)
class Copied:
    """What was copied."""

    n_files: int
    n_bytes: int


@dataclass(frozen=True, slots=True)
class Merged:
    """What another store had that this one had not."""

    n_runs: int
    _: KW_ONLY
    n_experiments: int
    n_events: int
    n_points: int
    n_files: int
    notes: tuple[str, ...]
    """What was different in the two stores, and what was made of it."""


def copy_store(source: str, target: str, *, progress: Progress | None = None) -> Copied:
    """Copy a store to an address where nothing is.

    Parameters
    ----------
    source, target
        Folders, or addresses of object storage.

    Raises
    ------
    StoreNotFoundError
        If there is no store at ``source``.
    RecordError
        If something is at ``target`` already.
    StoreUnavailableError
        If a file cannot be read or written; what was copied until then stays, and is no store yet.
    """
    with mapped(source, "copy"):
        (come, root), (go, to) = files_at(source), files_at(target)
        if come.type_name == go.type_name and f"{to}/".startswith(f"{root}/"):
            raise RecordError(f"{target!r} is within the store itself; give a place outside of it")
        if go.get_file_info(to).is_file or _listed(go, to, recursive=False):
            raise RecordError(f"there is something at {target!r} already; give a new address, or merge into the store")
        if not _listed(come, f"{root}/migrations.lance", recursive=False):
            raise StoreNotFoundError(f"no store at {source!r}; check the address")
        files = list(_files(come, root))
        copied = []
        for done, (path, size) in enumerate(files, start=1):
            try:
                _copy_file(come, path, go, to + path[len(root) :])
                copied.append(size)
            except FileNotFoundError:
                if path.endswith(".manifest"):
                    raise
                # A file that an older version needed, or that was being written: the newest listed version never does.
            if progress is not None:
                progress(done, len(files))
    return Copied(len(copied), sum(copied))


def _files(come: fs.FileSystem, root: str) -> Iterator[tuple[str, int]]:
    """Yield the files of a store in an order in which they can be copied, with their sizes."""
    for name in TABLES:
        folder = f"{root}/{name}.lance"
        versions = [file for file in _listed(come, f"{folder}/_versions") if _number(file[0]).isdecimal()]
        if name == TABLES[-1]:  # saved files, before the folder becomes a store
            yield from _listed(come, f"{root}/artifacts")
        newest = min(versions, default=None, key=_age)
        if newest is not None:
            yield from (file for file in _listed(come, folder) if "/_versions/" not in file[0])
            yield newest


def _age(manifest: tuple[str, int]) -> int:
    """Return the number by which manifests are named; Lance counts it down from 2**64 - 1, so newer is smaller."""
    number = int(_number(manifest[0]))
    return number if number > 2**63 else 2**64 - number  # names of an older scheme count up


def _number(path: str) -> str:
    name, mark, _ = path.rpartition("/")[2].partition(".manifest")
    return name if mark else ""


def _listed(files: fs.FileSystem, folder: str, *, recursive: bool = True) -> list[tuple[str, int]]:
    from pyarrow import fs

    found = files.get_file_info(fs.FileSelector(folder, recursive=recursive, allow_not_found=True))
    whole = [entry for entry in found if not entry.base_name.startswith(".")]  # what begins with a dot is being written
    return sorted((entry.path, int(entry.size or 0)) for entry in whole if entry.is_file or not recursive)


def _copy_file(come: fs.FileSystem, path: str, go: fs.FileSystem, to: str) -> None:
    from pyarrow import fs

    if isinstance(go, fs.LocalFileSystem):
        go.create_dir(to.rpartition("/")[0], recursive=True)
    with come.open_input_stream(path) as source, go.open_output_stream(to) as target:
        while block := source.read(BLOCK):
            target.write(block)


# -- one store into another


def merge_store(store: RunStore, another: RunStore, *, progress: Progress | None = None) -> Merged:
    """Append to a store what another one holds: experiments of the same name become one, runs get the next numbers.

    What was deleted there stays there. Where both know an experiment, this store's objective, space and
    description stand. A run that both know keeps its number here and gets what only the other was told.

    Raises
    ------
    StoreUnavailableError
        If either cannot be read or written; merging again goes on where it ended.
    """
    into, other = _readable(store), _readable(another)
    if into.same_place(other):
        raise RecordError(f"{other.uri!r} is this store itself; give another one")
    state = other.state()
    names, new = _names_here(into.state(), state)
    gone = {run_id for event in into.state().of_kind(PURGED) for run_id in event.body.get("runs", ())}
    visible = [entry for entry in state.entries_of(None) if not entry.hidden and entry.run.id not in gone]
    wanted = {entry.run.id: names[entry.exp] for entry in visible}
    known = set(into.state().all_ids())
    notes = _differences(into.state(), state, names)
    n_gone = sum(run_id in gone for run_id in state.all_ids())
    if n_gone:
        notes.append(f"{n_gone} runs were removed for good here, and are not taken in again")
    events = list(_events(other, wanted, names, new))
    known_events = {event.id for event in into.journal()}
    fresh = [event for event in events if event.id not in known_events]
    n_points = _take_curves(into, other, list(wanted), progress)
    n_files = _take_files(into, other, list(wanted))
    for start in range(0, len(fresh), EVENTS_AT_ONCE):
        into.append(fresh[start : start + EVENTS_AT_ONCE])
    n_runs = len(wanted.keys() - known)
    if fresh:
        body: dict[str, Any] = {"source": other.uri, "n_events": len(fresh), "n_runs": n_runs}
        into.append([Event.new("store.merged", "", time=utc_now(), actor="store", **body)])
    return Merged(
        n_runs,
        n_experiments=len(new),
        n_events=len(fresh),
        n_points=n_points,
        n_files=n_files,
        notes=tuple(notes),
    )


def _readable(store: RunStore) -> LanceRunStore:
    if not isinstance(store, LanceRunStore):
        raise RecordError(f"only stores on LanceDB can be merged, and {store.uri!r} is a {type(store).__name__}")
    return store


def _names_here(here: State, there: State) -> tuple[dict[int, str], set[int]]:
    """Return, for each experiment there by its number, the name that it has here, and which are new here.

    Two are the same if they share an event, as in two branches of one store, whatever they are called by now; or
    else if they are called the same.
    """
    names: dict[int, str] = {}
    new = set()
    for number, book in there.books().items():
        if book.deleted is not None:
            continue
        same = [mine for mine in here.books().values() if mine.deleted is None and mine.seen & book.seen]
        names[number] = same[0].record.name if same else book.record.name
        if names[number] not in here.experiments:
            new.add(number)
    return names, new


def _differences(here: State, there: State, names: Mapping[int, str]) -> list[str]:
    """Return in words where both stores know an experiment and say different things of it."""
    notes = []
    for number, name in names.items():
        mine, record = here.experiments.get(name), there.book(number).record
        if mine is None:
            continue
        differing = [
            part
            for part in ("objectives", "reduce", "space", "problem")
            if getattr(mine, part) != getattr(record, part)
        ]
        if differing:
            notes.append(f"{name!r} differs in {' and '.join(differing)} there; what is said here stands")
        if record.name != name:
            notes.append(f"{name!r} is called {record.name!r} there; the name here stands")
    return notes


def _events(
    other: LanceRunStore, wanted: Mapping[str, str], names: Mapping[int, str], new: Collection[int]
) -> Iterator[Event]:
    """Yield the events to take, under the names that things have here."""
    state = other.state()
    for event in other.events():
        if event.kind == JOINED or event.kind.startswith(("journal.", "store.", "alert.")) or event.kind in _NOT_TAKEN:
            continue
        if event.run_id:
            if event.run_id in wanted:
                yield replace(event, experiment=wanted[event.run_id])
            continue
        number = state.number_at(event.experiment, event.version)
        own = event.kind.startswith("experiment.")
        if number in names and (number in new or not own):
            yield replace(event, experiment=names[number])


_NOT_TAKEN: Final = frozenset({"experiment.renamed", "experiment.deleted", "experiment.restored", "run.moved"})


def _take_curves(into: LanceRunStore, other: LanceRunStore, run_ids: Sequence[str], progress: Progress | None) -> int:
    """Append the curves that this store lacks; return the number of points."""
    n_points = 0
    for start in range(0, len(run_ids), RUNS_AT_ONCE):
        some = run_ids[start : start + RUNS_AT_ONCE]
        chunks = []
        for run_id, curves in other.curve_table.read(some).items():
            delivered = into.delivered(run_id)
            if delivered:
                continue  # a run that both know: its own machine delivers to the store that it logs to
            through = max(other.delivered(run_id), 1)
            for metric, curve in curves.items():
                times = () if not len(curve) or bool((curve.times != curve.times).all()) else curve.times
                chunks.append(
                    CurveChunk(
                        run_id,
                        metric=metric,
                        chunk=0,
                        through=through,
                        steps=curve.steps,
                        values=curve.values,
                        times=times,
                    )
                )
                n_points += len(curve)
        into.append_curves(chunks)
        if progress is not None:
            progress(min(start + RUNS_AT_ONCE, len(run_ids)), len(run_ids))
    return n_points


def _take_files(into: LanceRunStore, other: LanceRunStore, run_ids: Sequence[str]) -> int:
    """Copy the saved files that this store lacks; return how many."""
    there = {kept.sha256 for kept in into.artifacts.kept()}
    named = {str(file["sha256"]) for entry in other.state().entries(run_ids) for file in entry.run.artifacts}
    with tempfile.TemporaryDirectory() as folder:
        for sha256 in sorted(named - there):
            path = Path(folder) / sha256
            with other.artifacts.open(sha256) as source, path.open("wb") as target:
                while block := source.read(BLOCK):
                    target.write(block)
            into.artifacts.put(path)
            path.unlink()
    return len(named - there)

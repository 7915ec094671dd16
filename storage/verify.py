"""Is a store what was written to it? Every table, chain, curve, log, saved file and derived row is looked at.

What is derived is built again where it does not fit. What cannot be repaired is named, never dropped: a table of which
files are missing is taken back to its newest complete version only where the user asks for it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Final, Literal

from storage.entries import encode
from storage.errors import SpoolError, StorageError, StoreUnavailableError
from storage.index import RUNS_ONLY, TABLE, KeptFold, rows_of
from storage.journal import State
from storage.provenance import verify as verify_chains
from storage.spool import owner_is_gone, read_header, read_spool

if TYPE_CHECKING:
    from storage.lance_store import LanceRunStore

log = logging.getLogger(__name__)

Part = Literal["table", "journal", "curves", "log", "files", "index"]
COMPARED: Final = ("experiment", "exp", "number", "ordinal", "state", "hidden", "ranks", "source", "objective", "seed")
"""Columns of the derived table that are compared beside the records; the others follow from them as text."""
TABLES: Final = ("migrations", "events", "curves")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is not as it should be."""

    part: Part
    _: KW_ONLY
    where: str
    """Table, event, run and metric, file: as precisely as is known."""
    what: str
    """What is wrong, in words."""
    repaired: bool = False


@dataclass(frozen=True, slots=True)
class Verified:
    """What a verification looked at, and what it found."""

    problems: tuple[Problem, ...]
    _: KW_ONLY
    n_events: int
    n_writers: int
    n_checkpoints: int
    """Recorded hashes of a whole prefix that were compared."""
    n_curve_rows: int
    n_logs: int
    n_files: int
    n_runs: int

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong that was not repaired."""
        return all(problem.repaired for problem in self.problems)


def verify(
    store: LanceRunStore,
    *,
    repair: bool = True,
    step_back: bool = False,
    progress: Callable[[str], None] | None = None,
) -> Verified:
    """Look at everything; build again what is derived, if ``repair``.

    Parameters
    ----------
    step_back
        Whether a table of which files are missing is taken back to the newest version that is complete. Rows that
        were committed after that version are not read any more, so nobody but the user decides this.
    progress
        Told what is looked at next.
    """
    tell = progress or (lambda _: None)
    problems: list[Problem] = []
    tell("tables")
    problems += _tables(store, step_back=step_back)
    tell("journal")
    if not _readable("events", problems) or not _readable("migrations", problems):
        return _stopped(problems)
    events = store.journal()
    problems += [Problem("journal", where=broken.where, what=broken.detail) for broken in verify_chains(events)]
    tell("curves")
    if _readable("curves", problems):
        problems += _curves(store)
    tell("write-ahead logs")
    n_logs, found = _logs(store)
    problems += found
    tell("saved files")
    n_files, found = _files(store)
    problems += found
    tell("index")
    problems += _index(store, repair=repair)
    return Verified(
        tuple(problems),
        n_events=len(events),
        n_writers=len({event.writer for event in events if event.writer}),
        n_checkpoints=sum(event.kind == "journal.checkpoint" for event in events),
        n_curve_rows=store.database.count("curves") if _readable("curves", problems) else 0,
        n_logs=n_logs,
        n_files=n_files,
        n_runs=store.state().n_runs(),
    )


def _stopped(problems: Sequence[Problem]) -> Verified:
    """Return what was found where the journal cannot be read, without which nothing else can be judged."""
    return Verified(
        tuple(problems), n_events=0, n_writers=0, n_checkpoints=0, n_curve_rows=0, n_logs=0, n_files=0, n_runs=0
    )


def _tables(store: LanceRunStore, *, step_back: bool) -> Iterator[Problem]:
    for name in TABLES:
        try:
            store.database.read_through(name)
        except StoreUnavailableError as error:
            what, went_back = str(error), 0
            if store.database.is_incomplete(name):
                went_back = store.step_back(name) if step_back else 0
                what += (
                    f"; it was taken back to version {went_back}, the newest that is complete"
                    if went_back
                    else "; if this is a copy that was taken while the store was written, 'advisor store verify "
                    "--step-back' takes the table back to its newest complete version"
                )
            yield Problem("table", where=f"table {name}", what=what, repaired=bool(went_back))


def _readable(table: str, found: Sequence[Problem]) -> bool:
    return not any(problem.where == f"table {table}" and not problem.repaired for problem in found)


def _curves(store: LanceRunStore) -> Iterator[Problem]:
    for each in store.curve_table.verify():
        where = f"run {each.run_id}, {each.metric or 'steps'}, from log call {each.chunk}"
        yield Problem("curves", where=where, what=each.reason)
    yield from _fewer_points(store)


def _fewer_points(store: LanceRunStore) -> Iterator[Problem]:
    """Compare how many points a run had when it ended with how many there are."""
    counts = store.curve_table.counts()
    for entry in store.state().entries_of(None):
        run = entry.run
        for metric, figures in run.summary.items() if run.state.is_over and not run.reports else ():
            n, said = counts.get(run.id, {}).get(metric, 0), int(figures.get("n") or 0)
            if n < said:
                what = f"it had {said:,} points when the run ended, and has {n:,}"
                yield Problem("curves", where=f"run {run.id}, {metric}", what=what)


def _logs(store: LanceRunStore) -> tuple[int, list[Problem]]:
    """Look at write-ahead logs: those that wait, and those that were put aside."""
    folder, problems = store.spool_folder(), []
    waiting = sorted(folder.glob("*.spool")) if folder.is_dir() else []
    aside = sorted((folder / "damaged").glob("*.spool")) if folder.is_dir() else []
    for path in waiting:
        try:
            lives = not owner_is_gone(read_header(path))
            damage = None if lives else read_spool(path).damage  # the end of a log that is written may be torn
        except SpoolError as error:
            problems.append(Problem("log", where=str(path), what=str(error)))
            continue
        if damage is not None:
            problems.append(Problem("log", where=str(path), what=f"{damage}"))
    problems += [
        Problem(
            "log", where=str(path), what="parts of it could not be read when its run was recovered; it is kept here"
        )
        for path in aside
    ]
    return len(waiting) + len(aside), problems


def _files(store: LanceRunStore) -> tuple[int, list[Problem]]:
    """Compare each saved file with the hash that it is kept by, and look for those that are gone."""
    problems, intact = [], set()
    for kept in store.artifacts.kept():
        if store.artifacts.verify(kept.sha256):
            intact.add(kept.sha256)
        else:
            problems.append(Problem("files", where=f"file {kept.sha256}", what="its content is not what was saved"))
            intact.add(kept.sha256)  # told once
    for entry in store.state().entries_of(None):
        for file in entry.run.artifacts:
            if file.get("sha256") not in intact:
                where = f"run {entry.run.id}, {file.get('name')!r}"
                problems.append(Problem("files", where=where, what=f"the saved file {file.get('sha256')} is not there"))
    return len(intact), problems


def _index(store: LanceRunStore, *, repair: bool) -> Sequence[Problem]:
    """Compare the kept fold with one from the journal's start."""
    try:
        if store.database.has(TABLE):
            store.database.read_through(TABLE)
        what = _difference(store)
    except StorageError as error:
        what = str(error)
    if not what:
        return ()
    if repair:
        store.reindex()
    return (Problem("index", where="the derived table of runs", what=what, repaired=repair),)


def _difference(store: LanceRunStore) -> str:
    kept = store.kept_fold()
    if kept is None:
        return ""
    state = State()
    through = kept.checkpoint()["version"]
    state.fold(event for event in store.journal() if event.version <= through)
    there = {entry.run.id: entry for entry in kept.entries_of(None)}
    should = {entry.run.id: entry for entry in state.entries_of(None)}
    if there.keys() != should.keys():
        return f"it holds {len(there):,} runs, the journal tells of {len(should):,}"
    differing = [run_id for run_id, entry in should.items() if encode(entry) != encode(there[run_id])]
    if differing:
        return f"{len(differing):,} of {len(there):,} runs differ from what the journal tells, {differing[0]} for one"
    differing = _differing_columns(kept, state)
    if differing:
        return f"its columns {', '.join(differing)} differ from what the journal tells"
    if _comparable(kept) != _comparable_state(state):
        return "its checkpoint differs from what the journal tells"
    return ""


def _differing_columns(kept: KeptFold, state: State) -> list[str]:
    """Return the columns, of those that filters and sorting look at, that are not what the fold says."""
    over = [entry for entry in state.entries_of(None) if entry.run.state.is_over]  # others change without an event
    should = rows_of(over, state, live=list, described=False)
    there = kept.columns({name: name for name in ("run_id", *COMPARED)}, where=RUNS_ONLY)
    at = {run_id: i for i, run_id in enumerate(there["run_id"])}
    places = [at[run_id] for run_id in should["run_id"]]
    return [name for name in COMPARED if not all(map(_same, should[name], (there[name][i] for i in places)))]


def _same(one: object, other: object) -> bool:
    return one == other or ((one is None or one != one) and (other is None or other != other))


def _comparable(kept: KeptFold) -> dict[str, object]:
    return {name: kept.checkpoint()[name] for name in ("n_rows", "prefix", "n_ordinals", "n_experiments")}


def _comparable_state(state: State) -> dict[str, object]:
    return {name: state.checkpoint()[name] for name in ("n_rows", "prefix", "n_ordinals", "n_experiments")}

"""Physical removal of what was deleted long enough ago: events, curves, rows of the index, files.

Numbers of other runs and experiments never change, and the journal can still be verified: an event
(``store.purged``) records, for each event that is removed, its place, its hash, and which numbers it had taken.
Whoever folds or verifies the journal later finds a stub there.

Invariants: that record is in the journal before anything is removed, and a last one (``done``) after everything is,
so nobody sees half of a removal, and one that was interrupted is finished by the next. A saved file goes only if a run
that goes named it, no other run does, and nobody saved the same content since.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import KW_ONLY, dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from storage.journal import State
from storage.provenance import PURGED, REMOVED, hash_of
from storage.records import Event

if TYPE_CHECKING:
    from storage.lance_store import LanceRunStore

GRACE: Final = timedelta(days=30)
"""How long a deleted run or experiment can be restored."""
AT_ONCE: Final = 5_000
"""Links in one event: some 100 bytes each."""
TAKES_PLACES: Final = frozenset({"experiment.created", "run.created", "run.moved"})


@dataclass(frozen=True, slots=True)
class Purged:
    """What was physically removed."""

    n_runs: int
    _: KW_ONLY
    n_experiments: int
    n_events: int
    n_files: int
    """Saved files that no run names any more."""


@dataclass(frozen=True, slots=True)
class _Victims:
    runs: frozenset[str]
    experiments: frozenset[int]
    files: frozenset[str]
    """SHA-256 of the files that these runs saved."""


def purge(store: LanceRunStore, *, grace: timedelta, now: datetime) -> Purged:
    """Remove what was deleted before ``now - grace``. The caller holds the lease ``compact``.

    Raises
    ------
    StoreUnavailableError
        If it could not be done to the end; the next purge goes on.
    """
    victims = _victims(store.state(), now - grace)
    if victims.runs or victims.experiments:
        placed, _ = store.journal_table.placed()
        store.append(list(_records(_links(placed, victims), victims, now)))
    records = _unfinished(store)
    if not records:
        return Purged(0, n_experiments=0, n_events=0, n_files=0)
    runs, experiments, files, links = (
        [each for record in records for each in record.body.get(what, ())]
        for what in ("runs", "experiments", "files", "links")
    )
    for run_id in runs:  # a log left behind would bring its run back
        (store.spool_folder() / f"{run_id}.spool").unlink(missing_ok=True)
    n_events = store.remove_physically(run_ids=runs, places={(version, pos) for version, pos, *_ in links})
    n_files = _remove_files(store, files, before=now - grace)
    store.append([Event.new(PURGED, "", time=now, actor="store", links=[], done=True)])
    return Purged(len(runs), n_experiments=len(experiments), n_events=n_events, n_files=n_files)


def _unfinished(store: LanceRunStore) -> list[Event]:
    """Return the records of removals of which nobody has said that they are done."""
    records = store.state().of_kind(PURGED)
    n_done = max((i + 1 for i, record in enumerate(records) if record.body.get("done")), default=0)
    return records[n_done:]


def _victims(state: State, before: datetime) -> _Victims:
    hidden = state.hidden()
    busy = {entry.exp for entry in hidden if not entry.run.state.is_over}
    experiments = {
        exp
        for exp, book in state.books().items()
        if book.deleted is not None and book.deleted <= before and exp not in busy
    }
    runs = [
        entry.run
        for entry in hidden
        if entry.run.state.is_over  # what still runs would come back with its next delivery; it goes once it ended
        if entry.exp in experiments or (entry.deleted is not None and entry.deleted <= before)
    ]
    files = {str(file.get("sha256")) for run in runs for file in run.artifacts}
    return _Victims(frozenset(run.id for run in runs), frozenset(experiments), frozenset(files))


def _links(placed: Sequence[tuple[Event, int]], victims: _Victims) -> list[list[Any]]:
    """Return, for each event to remove, what stays of it: its place first."""
    state, links = State(), []
    for event, pos in placed:
        falls = event.kind != REMOVED and _falls(event, state, victims)
        before = state.places() if falls and event.kind in TAKES_PLACES else None
        state.apply(event)
        if event.kind == "experiment.created" and _created(event, state, victims):
            falls, before = True, (state.places()[0] - 1, state.places()[1], state.places()[2])
        if falls:
            places = {} if before is None else _taken(before, state.places())
            links.append([event.version, pos, event.writer, event.seq, hash_of(event).hex(), places])
    return links


def _falls(event: Event, state: State, victims: _Victims) -> bool:
    if event.run_id:
        return event.run_id in victims.runs
    return bool(event.experiment) and state.number_of(event.experiment) in victims.experiments


def _created(event: Event, state: State, victims: _Victims) -> bool:
    """Return whether an event has just created an experiment that falls."""
    number = state.number_of(event.experiment)
    return number in victims.experiments and state.book(number).seen == {event.id}


def _taken(before: tuple[int, int, dict[int, int]], after: tuple[int, int, dict[int, int]]) -> dict[str, Any]:
    """Return which numbers an event used up."""
    out: dict[str, Any] = {"experiment": True} if after[0] > before[0] else {}
    if after[1] > before[1]:
        out["ordinal"] = True
    for exp, number in after[2].items():
        if number > before[2].get(exp, number):
            out["number_of"] = exp
    return out


def _records(links: Sequence[list[Any]], victims: _Victims, now: datetime) -> Iterator[Event]:
    for start in range(0, max(len(links), 1), AT_ONCE):
        body: dict[str, Any] = {"links": links[start : start + AT_ONCE]}
        if start == 0:
            body |= {name: sorted(getattr(victims, name)) for name in ("runs", "experiments", "files")}
        yield Event.new(PURGED, "", time=now, actor="store", **body)


def _remove_files(store: LanceRunStore, files: Sequence[str], *, before: datetime) -> int:
    """Remove saved files, but what a run names, deleted ones that can still be restored included.

    One that was saved since the cut-off stays too: what says which run saved it may still be on its way.
    """
    if not files:
        return 0
    named = {str(file.get("sha256")) for entry in store.state().entries_of(None) for file in entry.run.artifacts}
    n_removed = 0
    for sha256 in sorted(set(files) - named):
        saved = store.artifacts.last_put(sha256)
        if saved is not None and saved <= before:
            store.artifacts.delete(sha256)
            n_removed += 1
    return n_removed

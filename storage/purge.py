"""Physical removal of what was deleted long enough ago: events, curves, rows of the index, files.

Numbers of other runs and experiments never change, and the journal can still be verified: an event
(``store.purged``) records, for each event that is removed, its place, its hash, and which numbers it had taken.
Whoever folds or verifies the journal later finds a stub there.

Invariant: that record is in the journal before anything is removed, so a removal that was interrupted is
finished by the next one, and nobody sees half of it.
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
AT_ONCE: Final = 500
"""Ids in one delete, links in one event at most some ten times as many."""
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


def purge(store: LanceRunStore, *, grace: timedelta, now: datetime) -> Purged:
    """Remove what was deleted before ``now - grace``. The caller holds the lease ``compact``.

    Raises
    ------
    StoreUnavailableError
        If it could not be done to the end; the next purge goes on.
    """
    victims = _victims(store.state(), now - grace)
    if not victims.runs and not victims.experiments:
        return Purged(0, n_experiments=0, n_events=0, n_files=0)
    placed, _ = store.placed()
    links, ids = _links(placed, victims)
    store.append(list(_records(links, victims, now)))
    for run_id in victims.runs:  # a log left behind would bring its run back
        (store.spool_folder() / f"{run_id}.spool").unlink(missing_ok=True)
    store.remove_physically(run_ids=sorted(victims.runs), event_ids=ids)
    return Purged(
        len(victims.runs),
        n_experiments=len(victims.experiments),
        n_events=len(ids),
        n_files=_remove_files(store),
    )


def _victims(state: State, before: datetime) -> _Victims:
    hidden = state.hidden()
    busy = {entry.exp for entry in hidden if not entry.run.state.is_over}
    experiments = {
        exp
        for exp, book in state.books().items()
        if book.deleted is not None and book.deleted <= before and exp not in busy
    }
    runs = {
        entry.run.id
        for entry in hidden
        if entry.run.state.is_over  # what still runs would come back with its next delivery; it goes once it ended
        if entry.exp in experiments or (entry.deleted is not None and entry.deleted <= before)
    }
    return _Victims(frozenset(runs), frozenset(experiments))


def _links(placed: Sequence[tuple[Event, int]], victims: _Victims) -> tuple[list[list[Any]], list[str]]:
    """Return, for each event to remove, what stays of it, and the ids of these events."""
    state, links, ids = State(), [], []
    for event, pos in placed:
        falls = event.kind != REMOVED and _falls(event, state, victims)
        before = state.places() if falls and event.kind in TAKES_PLACES else None
        state.apply(event)
        if event.kind == "experiment.created" and _created(event, state, victims):
            falls, before = True, (state.places()[0] - 1, state.places()[1], state.places()[2])
        if falls:
            places = {} if before is None else _taken(before, state.places())
            links.append([event.version, pos, event.writer, event.seq, hash_of(event).hex(), places])
            ids.append(event.id)
    return links, ids


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
    size = 10 * AT_ONCE
    for start in range(0, max(len(links), 1), size):
        body: dict[str, Any] = {"links": links[start : start + size]}
        if start == 0:
            body |= {"runs": sorted(victims.runs), "experiments": sorted(victims.experiments)}
        yield Event.new(PURGED, "", time=now, actor="store", **body)


def _remove_files(store: LanceRunStore) -> int:
    """Remove saved files that no run names, deleted runs that can still be restored included."""
    named = {str(file.get("sha256")) for entry in store.state().entries_of(None) for file in entry.run.artifacts}
    unnamed = [kept.sha256 for kept in store.artifacts.kept() if kept.sha256 not in named]
    for sha256 in unnamed:
        store.artifacts.delete(sha256)
    return len(unnamed)

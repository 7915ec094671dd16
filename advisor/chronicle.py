"""The history of an experiment, of a run, or of a whole store, read from the journal.

Here is decided which events belong to it: a run's events go with the run, before and after it was moved or its
experiment renamed; an experiment's own are those that were written while it had the name that they say. What they
say is in ``advisor.history``. Invariant: the database filters, and where few lines are asked for few events are read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from advisor.history import Context, Line, lines, name_of
from advisor.references import find_even_deleted
from storage.entries import Entry
from storage.journal import State
from storage.provenance import REMOVED
from storage.records import Event
from storage.store import RunStore

EVENTS_A_LINE: Final = 4
"""Events that are read first for each line that is asked for; four times as many each time that is not enough."""
SHORT_ID: Final = 8

Read = Callable[[int | None], list[Event]]
"""Given how many, returns the last events, or all."""


def tell(store: RunStore, what: str | None, *, limit: int | None, folded: bool) -> list[Line]:
    """Return a history, the newest line last; see ``Advisor.history``."""
    subject = None if what is None else find_even_deleted(store, what)
    read = _reader(store, subject)
    last = None if limit is None else EVENTS_A_LINE * limit
    while True:
        events = read(last)
        told = _told(store, events, exp=subject, folded=folded)
        if limit is None or last is None or len(events) < last:
            return told if limit is None else told[max(0, len(told) - limit) :]
        if len(told) > limit:  # the oldest of them may lack a part that was not read
            return told[len(told) - limit :]
        last *= 4


def _reader(store: RunStore, subject: int | Entry | None) -> Read:
    if subject is None:
        return lambda last: store.journal(last=last)
    if isinstance(subject, Entry):
        return lambda last: store.journal(run_ids=[subject.run.id], last=last)
    state = store.state()
    names = state.names_of(subject)
    moves = [event.run_id for event in store.journal(kinds=["run.moved"])]
    moved = [entry.run.id for entry in state.entries(list(dict.fromkeys(moves))) if entry.exp == subject]
    return lambda last: store.journal(experiments=names, run_ids=moved, last=last)


def _own(state: State, events: Sequence[Event], exp: int) -> list[Event]:
    """Return those of some events that are an experiment's: names are given anew, and runs are moved."""
    entries = {entry.run.id: entry for entry in state.entries(list({event.run_id for event in events if event.run_id}))}

    def belongs(event: Event) -> bool:
        entry = entries.get(event.run_id)
        if entry is not None and event.kind != "run.moved":
            return entry.exp == exp
        return (entry is not None and entry.exp == exp) or state.number_at(event.experiment, event.version) == exp

    return [event for event in events if belongs(event)]


def _told(store: RunStore, events: Sequence[Event], *, exp: int | Entry | None, folded: bool) -> list[Line]:
    if isinstance(exp, int):
        events = _own(store.state(), events, exp)
    once = {event.id: event for event in reversed(events) if event.kind != REMOVED}
    listed = list(reversed(once.values()))
    state = store.state()
    state.entries(list({event.run_id for event in listed if event.run_id}))  # in one query
    writers = store.writers({event.writer for event in listed if event.writer})
    return lines(listed, lambda event: _context(state, event, writers, alone=exp is not None), writers, folded=folded)


def _context(state: State, event: Event, writers: Mapping[str, Mapping[str, Any]], *, alone: bool) -> Context:
    by, refused = name_of(writers.get(event.writer, {})), event.id in state.refused
    entry = state.entry(event.run_id) if event.run_id else None
    if entry is None:
        return Context(f"run {event.run_id[:SHORT_ID]}", by=by, refused=refused)
    run, record = entry.run, state.book(entry.exp).record
    return Context(
        f"run #{run.number}" if alone else f"run #{run.number} of {record.name}",
        objective=None if record.objective is None else record.objective.metric,
        by=by,
        number=run.number,
        experiment=record.name,
        codes={finding.id: finding.code for finding in run.findings},
        refused=refused,
    )

"""What waits for somebody: suggestions that nobody has started, documents that were just written."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from advisor.asking import PENDING_FOR_S
from storage.journal import State
from storage.records import Event
from storage.store import RunStore

DOCUMENTS: Final = 2_000
"""Documents, the newest, of which is known what they are about; their texts are not kept."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A suggestion that somebody may start yet."""

    id: str
    _: KW_ONLY
    experiment: str
    params: Mapping[str, Any]
    why: str
    forecast: Mapping[str, float] | None
    made: datetime
    until: datetime
    """When it is given up: others are made without minding it."""

    def as_json(self) -> dict[str, Any]:
        """Return the public JSON form."""
        names = ("experiment", "params", "why", "forecast", "made", "until")
        return {"suggestion_id": self.id} | {name: getattr(self, name) for name in names}


@dataclass(frozen=True, slots=True)
class Written:
    """A document, without its text."""

    id: str
    _: KW_ONLY
    kind: str
    title: str
    experiment: str
    run_id: str
    finding_id: str
    """Of an incident note: the finding that it is about."""
    time: datetime
    version: int

    def as_json(self) -> dict[str, Any]:
        """Return the public JSON form."""
        names = ("kind", "title", "experiment", "run_id", "time", "version")
        return {"document_id": self.id} | {name: getattr(self, name) for name in names}


class Shelf:
    """What the journal says of documents and of started suggestions, read on from where it was read before."""

    def __init__(self, store: RunStore) -> None:
        self._store = store
        self._written: deque[Written] = deque(maxlen=DOCUMENTS)
        self._documents_through = 0
        self._started: set[str] = set()
        self._started_from: int | None = None
        self._started_through = 0
        self._lock = threading.Lock()

    def documents(self, state: State) -> list[Written]:
        """Return the newest documents of experiments that exist, and of the store as a whole, the newest first."""
        with self._lock:
            if state.version != self._documents_through:
                after = min(self._documents_through, state.version)
                known = {each.id for each in self._written}
                events = self._store.journal(after=after, kinds=("document.written",), last=DOCUMENTS)
                self._written.extend(each for each in map(_written, events) if each.id not in known)
                self._documents_through = state.version
            found = list(self._written)
        named = {name: _name_now(state, name) for name in {each.experiment for each in found}}
        return [
            replace(each, experiment=home) for each in reversed(found) if (home := named[each.experiment]) is not None
        ]

    def suggestions(self, state: State, *, now: datetime) -> list[Waiting]:
        """Return the suggestions that nobody has started or taken back and that are not given up, the newest first."""
        since = now - timedelta(seconds=PENDING_FOR_S)
        recent = [event for event in state.of_kind("suggestion.made") if event.time > since]
        if not recent:
            return []
        closed, started = state.closed_suggestions, self._started_since(state, recent[0].version)
        found = []
        for event in recent:
            book = state.books().get(state.number_at(event.experiment, event.version))
            suggestion_id = str(event.body["suggestion_id"])
            if book is None or book.deleted is not None or suggestion_id in closed or suggestion_id in started:
                continue
            found.append(_waiting(event, book.record.name))
        return found[::-1]

    def _started_since(self, state: State, version: int) -> set[str]:
        with self._lock:
            if self._started_from is None or version < self._started_from:
                self._started_from, self._started_through = version, max(version - 1, 0)
            if state.version != self._started_through:
                events = self._store.journal(after=self._started_through, kinds=("run.created",))
                self._started |= {str(e.body["suggestion_id"]) for e in events if e.body.get("suggestion_id")}
                self._started_through = state.version
            return set(self._started)


def _name_now(state: State, name: str) -> str | None:
    """Return what an experiment is called now, None where it is gone; the store as a whole has no name."""
    number = state.number_of(name) if name else None
    book = None if number is None else state.books().get(number)
    return name if not name else None if book is None or book.deleted is not None else book.record.name


def _written(event: Event) -> Written:
    body = event.body
    origin = body.get("origin")
    about = origin.get("about") if isinstance(origin, Mapping) else None
    return Written(
        str(body.get("document_id") or event.id),
        kind=str(body.get("kind") or ""),
        title=str(body.get("title") or ""),
        experiment=event.experiment,
        run_id=event.run_id,
        finding_id=str(about.get("finding") or "") if isinstance(about, Mapping) else "",
        time=event.time,
        version=int(body.get("version") or 1),
    )


def _waiting(event: Event, experiment: str) -> Waiting:
    body = event.body
    forecast = body.get("forecast")
    return Waiting(
        str(body["suggestion_id"]),
        experiment=experiment,
        params=dict(body.get("params") or {}),
        why=str(body.get("why") or ""),
        forecast=dict(forecast) if isinstance(forecast, Mapping) else None,
        made=event.time,
        until=event.time + timedelta(seconds=PENDING_FOR_S),
    )

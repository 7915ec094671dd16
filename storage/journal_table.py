"""The table of events: the journal as it lies in the database, which only ever grows at its end.

It signs what it appends (``storage.provenance``) and reads events in their total order: by commit, then by position
in it. It leaves out what they add up to; that is ``storage.journal``.

Invariant: a row changes never. It may be removed for good (``storage.purge``); readers of the whole order find a stub
in its place.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from storage.events import decode_body, encode_body
from storage.lance import Database, among
from storage.migrations import EVENTS
from storage.provenance import JOINED, PURGED, REMOVED, Writer
from storage.records import Event

NAME: Final = "events"
COLUMNS: Final = ("id", "experiment", "run_id", "kind", "time", "actor", "body", "writer", "seq", "hash")
VERSION: Final = "_row_created_at_version"
DELETE_AT_ONCE: Final = 500
"""Ids in one delete."""
ASK_FOR_AT_MOST: Final = 1_000
"""Writers that are asked for by their ids; of more all are read, which is cheaper than so long a filter."""

Placed = tuple[Event, int]
"""An event and its position in its commit."""


class JournalTable:
    """Not thread-safe by itself where it appends: its caller holds a lock."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._writer = Writer()

    def version(self) -> int:
        """Return the commit that the table is at; a compaction is a commit without events."""
        return self._database.version(NAME)

    def append(self, events: Sequence[Event]) -> tuple[int, Iterator[Event]]:
        """Append events in one commit; return it, and the events as every reader will see them."""
        signed = self._writer.sign([(event, encode_body(event.body)) for event in events])
        rows: dict[str, list[Any]] = {
            name: [getattr(event, name) for event, _ in signed] for name in COLUMNS if name != "body"
        }
        rows |= {"body": [body for _, body in signed], "pos": list(range(len(signed)))}
        try:
            version = self._database.append(NAME, rows, EVENTS)
        except BaseException:
            self._writer.lost()
            raise
        self._writer.landed()
        return version, (replace(event, body=decode_body(body), version=version) for event, body in signed)

    def read(self, *, after: int = 0, where: str | None = None) -> list[Event]:
        """Return the events since a commit that fit a filter, without stubs."""
        rows, _ = self._database.tail(NAME, (*COLUMNS, "pos"), after=after, where=where)
        return [_event(row) for row in rows]

    def placed(self, *, after: int = 0) -> tuple[list[Placed], int]:
        """Return all events since a commit, stubs included, with their positions in it; and the commit reached."""
        rows, reached = self._database.tail(NAME, (*COLUMNS, "pos"), after=after)
        return with_stubs([(_event(row), int(row["pos"])) for row in rows], after=after), reached

    def of_kind(self, kind: str) -> list[Event]:
        """Return the events of a kind."""
        return self.read(where=among("kind", [kind]))

    def last(self, n: int, *, after: int = 0, where: str | None = None) -> list[Event]:
        """Return the last ``n`` events of those that fit a filter: where they are is cheap to read."""
        wanted = {"version": VERSION, "pos": "pos"}
        found = self._database.columns(NAME, wanted, where=f"{VERSION} > {after} and ({where or 'true'})")
        first = np.lexsort((found["pos"], found["version"]))[-n:][:1]
        if not first.size:
            return []
        version, pos = int(found["version"][first[0]]), int(found["pos"][first[0]])
        return self.read(after=version - 1, where=f"({VERSION} > {version} or pos >= {pos}) and ({where or 'true'})")

    def writers(self, ids: Collection[str]) -> dict[str, Mapping[str, Any]]:
        """Return what some writers said of themselves when they joined, by their ids."""
        where = among("kind", [JOINED])
        if len(ids) <= ASK_FOR_AT_MOST:
            where += f" and {among('writer', ids)}"
        wanted = set(ids)
        return {event.writer: event.body for event in self.read(where=where) if event.writer in wanted}

    def remove(self, places: Collection[tuple[int, int]]) -> int:
        """Remove the events at some places, as commit and position; return how many were still there."""
        wanted = frozenset(places)
        found = self._database.columns(NAME, {"id": "id", "version": VERSION, "pos": "pos"})
        at = zip(found["version"].tolist(), found["pos"].tolist(), strict=True)
        ids = [str(event_id) for event_id, place in zip(found["id"], at, strict=True) if place in wanted]
        for start in range(0, len(ids), DELETE_AT_ONCE):
            self._database.delete(NAME, among("id", ids[start : start + DELETE_AT_ONCE]))
        return len(ids)


def with_stubs(rows: Sequence[Placed], *, after: int) -> list[Placed]:
    """Return events and positions in their order, with a stub where one was physically removed.

    Parameters
    ----------
    rows
        Events with their position in their commit, in their order.
    after
        The commit after which they begin: removed events from before it are no business of theirs.
    """
    removed: dict[tuple[int, int], Event] = {}
    for event, _ in rows:
        if event.kind == PURGED:
            for version, pos, writer, seq, hash_, places in event.body["links"]:
                if version > after:
                    removed[version, pos] = Event(
                        f"{event.id}:{version}:{pos}",
                        kind=REMOVED,
                        experiment="",
                        time=event.time,
                        body=places,
                        writer=writer,
                        seq=seq,
                        hash=bytes.fromhex(hash_),
                        version=version,
                    )
    if not removed:
        return list(rows)
    placed = {(event.version, pos): event for event, pos in rows} | removed
    return [(placed[place], place[1]) for place in sorted(placed)]


def _event(row: dict[str, Any]) -> Event:
    try:
        body, whole = decode_body(row["body"]), True
    except ValueError:  # a flipped bit: of a kind that nobody knows, it has no effect, and verification names it
        body, whole = {}, False
    return Event(
        row["id"],
        kind=row["kind"] if whole else f"{row['kind']}, damaged",
        experiment=row["experiment"],
        run_id=row["run_id"],
        time=row["time"],
        actor=row["actor"],
        body=body,
        writer=row["writer"] or "",
        seq=-1 if row["seq"] is None else row["seq"],
        hash=row["hash"] or b"",
        version=row[VERSION],
    )

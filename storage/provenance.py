"""Who wrote what: hash chains of events, and the hash of a whole prefix. Pure.

Each writer (one store object in one process) numbers its events from 0, and the hash of each covers the event's content
and the hash before it. The first event of a writer says who it is: user, host, process, program and version; the
others name the writer. A writer that is not sure whether a batch landed begins a new chain, so a gap is never its
own doing.

The chains cannot tell that a chain's end was cut off, or that two writers' events changed places. Hence the hash of
the prefix: it runs over the hashes of all events in their one order, and is written into the journal from time to
time (``journal.checkpoint``).

What this shows: a changed, removed or reordered event, to whoever holds an untouched later part. What it cannot
show: that the whole journal was written anew by somebody who recomputed all of it; for that, keep a checkpoint's hash
somewhere else.
"""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import socket
import sys
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

from storage.events import encode_body
from storage.records import Event, new_id

START: Final = b"\0" * 32
"""What stands for the hash before the first event."""

JOINED: Final = "writer.joined"
CHECKPOINT: Final = "journal.checkpoint"
PURGED: Final = "store.purged"


def content_hash(event: Event, body: str, before: bytes) -> bytes:
    """Return the SHA-256 of an event, which covers the hash before it in its writer's chain.

    Parameters
    ----------
    body
        The body as it is written down (``storage.events.encode_body``).
    before
        Hash of the writer's event before this one; ``START`` for its first, and for events of a version that
        kept no chain.
    """
    micros = (event.time - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    fields = [event.id, event.kind, event.experiment, event.run_id, micros, event.actor, event.writer, event.seq, body]
    return hashlib.sha256(before + json.dumps(fields, separators=(",", ":")).encode()).digest()


def prefix_hash(before: bytes, event_hash: bytes) -> bytes:
    """Return the hash of a prefix that is one event longer."""
    return hashlib.sha256(before + event_hash).digest()


@cache
def program() -> str:
    """Return the name and version of the program that writes."""
    try:
        return f"experiment-advisor {version('experiment-advisor')}"
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "experiment-advisor"


def origin() -> dict[str, Any]:
    """Return who writes: user, host, process, program and Python version."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container's user may have no name
        user = str(os.getuid()) if hasattr(os, "getuid") else ""
    return {
        "user": user,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "program": program(),
        "python": ".".join(map(str, sys.version_info[:3])),
    }


class Writer:
    """One chain that grows. Not thread-safe: its store calls it under its lock.

    Examples
    --------
    >>> writer, note = Writer(), Event.new("run.noted", "exp", "r", text="x")
    >>> [(event.kind, event.seq) for event, _ in writer.sign([(note, '{"text":"x"}')])]
    [('writer.joined', 0), ('run.noted', 1)]
    >>> writer.landed()
    >>> [event.seq for event, _ in writer.sign([(note, '{"text":"x"}')])]
    [2]
    """

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self.id = new_id()
        self._seq, self._hash = 0, START
        self._next = (self._seq, self._hash)

    def sign(self, events: Sequence[tuple[Event, str]]) -> list[tuple[Event, str]]:
        """Return events and their bodies as links of the chain, with the one that says who writes in front of all."""
        seq, before = self._seq, self._hash
        signed: list[tuple[Event, str]] = []
        first = [] if seq else [_with_body(Event.new(JOINED, "", actor="store", **origin()))]
        for event, body in (*first, *events):
            link = replace(event, writer=self.id, seq=seq)
            before = content_hash(link, body, before)
            signed.append((replace(link, hash=before), body))
            seq += 1
        self._next = (seq, before)
        return signed

    def landed(self) -> None:
        """Hear that what was signed last is in the journal."""
        self._seq, self._hash = self._next

    def lost(self) -> None:
        """Hear that nobody knows whether it is; begin a new chain."""
        self._begin()


def _with_body(event: Event) -> tuple[Event, str]:
    return event, encode_body(event.body)


@dataclass(frozen=True, slots=True)
class Break:
    """A place where the journal is not what its writers wrote."""

    what: str
    """``changed``, ``missing``, ``reordered`` or ``prefix``."""
    where: str
    """The event, in words."""
    detail: str
    """What does not fit."""


REMOVED: Final = "journal.removed"
"""Kind of the stub that stands where an event was physically removed; never in the journal itself."""


def verify(events: Sequence[Event]) -> Iterator[Break]:
    """Check chains and checkpoints of a whole journal, given in its order, repetitions included.

    Events that were removed on purpose stand as stubs of the kind ``REMOVED``, with the hash that they had.
    """
    who = {event.writer: event.body for event in events if event.kind == JOINED}
    claims = [event for event in events if event.kind == CHECKPOINT]
    reached: dict[int, tuple[int, bytes]] = {0: (0, b"")}
    chains: dict[str, list[bytes]] = {}
    prefix = START
    for n, event in enumerate(events, start=1):
        if event.writer:
            yield from _chain_breaks(event, chains.setdefault(event.writer, []), who.get(event.writer, {}))
        prefix = prefix_hash(prefix, hash_of(event))
        reached[event.version] = (n, prefix)  # the last event of a commit stays
    commits = sorted(reached)
    for claim in claims:
        through = max(int(claim.body.get("through", 0)), 0)  # perhaps a compaction: a commit without events
        yield from _checkpoint_breaks(claim, *reached[commits[bisect_right(commits, through) - 1]])


def hash_of(event: Event) -> bytes:
    """Return an event's hash; of one from before there were chains, the hash of its content."""
    return event.hash or content_hash(event, encode_body(event.body), START)


def _chain_breaks(event: Event, chain: list[bytes], who: Mapping[str, Any]) -> Iterator[Break]:
    """Look at one event in the light of its chain, ``chain[i]`` being the hash of the i-th; extend the chain."""
    n = len(chain)
    if event.seq < n:  # a commit that was repeated is there twice, in full
        if chain[event.seq] != event.hash:
            yield Break("reordered", _place(event), f"it stands behind number {n - 1} of its writer{_named(who)}")
        return
    if event.seq > n:
        yield Break("missing", _place(event), f"{event.seq - n} of its writer{_named(who)} before it are not there")
        chain.extend([b""] * (event.seq - n))
    elif event.kind != REMOVED:
        before = chain[-1] if chain else START
        if event.hash != content_hash(event, encode_body(event.body), before):
            yield Break("changed", _place(event), "its content is not what was written")
    chain.append(event.hash)


def _checkpoint_breaks(claim: Event, n: int, prefix: bytes) -> Iterator[Break]:
    if claim.body.get("n") != n:
        yield Break(
            "prefix",
            _place(claim),
            f"{claim.body.get('n')} events had come up to commit {claim.body.get('through')}; now there are {n}",
        )
    elif claim.body.get("hash") != prefix.hex():
        yield Break("prefix", _place(claim), "the events before it, or their order, are not what they were")


def _place(event: Event) -> str:
    return f"event {event.id} ({event.kind}, {event.time:%Y-%m-%d %H:%M:%S})"


def _named(who: Mapping[str, Any]) -> str:
    return f" ({who.get('user')}@{who.get('host')})" if who else ""

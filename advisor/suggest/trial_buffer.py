"""What running trials have said and the store has not been told yet: parameters, reported values, attributes.

One append a value would make a trial of 5 parameters and 20 reports 27 commits; kept here, they ride along with the
change of state that ends it. A thread writes down what has waited for ``FLUSH_AFTER_S``, so that other processes and
dashboards follow a long training, and what is left when the interpreter ends is written then.

Knows nothing of Optuna. Invariant: a change is either here or in the journal, and leaves only once it is in the journal
or its run is over.
"""

from __future__ import annotations

import atexit
import logging
import multiprocessing.util
import os
import threading
import time
import weakref
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

from storage.entries import Entry
from storage.errors import StorageError
from storage.records import Event, Run

log = logging.getLogger(__name__)

FLUSH_AFTER_S: Final = 0.3
"""How long a change may wait: what a killed process loses at most, and others see late. A commit takes some 10 ms."""
FLUSH_AT: Final = 1_000
"""Changes of one trial that are written down at once, however fast they come: some 300 bytes each."""
TRY_AGAIN_AFTER_S: Final = 2.0
"""Pause after a commit that failed, as while the store's disk is full."""
FORK_WAITS_S: Final = 5.0
"""How long a fork waits for a commit that goes on; without it the child might find the lock taken for ever."""

Seen = TypeVar("Seen")


@dataclass(slots=True)
class LiveTrial(Generic[Seen]):
    """A running trial that this object works on."""

    run: Run
    """As the store had it when it was last looked at."""
    exp: int
    """Number of its experiment."""
    seen: Seen
    """What the owner made of ``run``."""
    looked: float
    """When that was, on the monotonic clock; minus infinity where it is known to be outdated."""
    changes: dict[Hashable, Event] = field(default_factory=dict)
    """By what is set, the last one wins: not in the store yet."""
    since: float = 0.0
    """When the oldest of them came, on the monotonic clock."""


class TrialBuffer(Generic[Seen]):
    """Changes of running trials, by trial id.

    Parameters
    ----------
    lock
        Held by the owner around each call, and by the thread that writes.
    append
        Writes events to the store in one commit; raises ``StorageError`` where it could not.
    """

    def __init__(self, lock: threading.RLock, append: Callable[[Sequence[Event]], None]) -> None:
        self._lock, self._append = lock, append
        self._live: dict[int, LiveTrial[Seen]] = {}
        self._writer: threading.Thread | None = None
        self._not_before = 0.0
        _register(self)

    def live(self, trial_id: int) -> LiveTrial[Seen] | None:
        """Return a running trial, if it is known here."""
        return self._live.get(trial_id)

    def look(self, entry: Entry, seen: Seen) -> LiveTrial[Seen]:
        """Keep how the store has a running trial now; changes that wait go on waiting."""
        fresh = LiveTrial(entry.run, entry.exp, seen, time.monotonic())
        before = self._live.get(entry.run.ordinal)
        if before is not None:
            fresh.changes, fresh.since = before.changes, before.since
        self._live[entry.run.ordinal] = fresh
        return fresh

    def put(self, live: LiveTrial[Seen], slot: Hashable, event: Event) -> None:
        """Let a change wait; one that waits in the same slot is replaced.

        Raises
        ------
        StorageError
            If there are too many and they cannot be written down.
        """
        if not live.changes:
            live.since = time.monotonic()
        live.changes[slot] = event
        if len(live.changes) >= FLUSH_AT:
            self.flush()
        elif self._writer is None:
            self._writer = threading.Thread(target=self._write_when_due, name="advisor-optuna-writer", daemon=True)
            self._writer.start()

    def changes(self, trial_id: int) -> list[Event]:
        """Return a trial's changes that wait."""
        live = self._live.get(trial_id)
        return [] if live is None else list(live.changes.values())

    def waiting(self) -> list[LiveTrial[Seen]]:
        """Return the trials that have changes that wait."""
        return [live for live in self._live.values() if live.changes]

    def drop(self, trial_id: int) -> None:
        """Forget a trial: its changes are in the store, or it is over."""
        self._live.pop(trial_id, None)

    def flush(self) -> None:
        """Write down everything that waits, in one commit.

        Raises
        ------
        StorageError
            If it could not be committed; it goes on waiting then.
        """
        waiting = self.waiting()
        if waiting:
            self._append([event for live in waiting for event in live.changes.values()])
            for live in waiting:
                live.changes.clear()
                live.looked = float("-inf")

    # -- inner workings

    def _write_when_due(self) -> None:
        while True:
            with self._lock:
                waiting = self.waiting()
                if not waiting:
                    self._writer = None
                    return
                due = max(min(live.since for live in waiting) + FLUSH_AFTER_S, self._not_before)
                if due <= time.monotonic():
                    self.try_flush()
                    continue
            time.sleep(max(0.0, due - time.monotonic()))

    def try_flush(self) -> None:
        """Write down what waits; where that fails, say so and try again later."""
        try:
            self.flush()
        except StorageError as error:
            self._not_before = time.monotonic() + TRY_AGAIN_AFTER_S
            log.warning("what running trials reported is not in the store yet: %s", error)

    def flush_at_end(self) -> None:
        """Write down what waits before the interpreter ends."""
        with self._lock:
            self.try_flush()

    def before_fork(self) -> bool:
        """Write down what waits, and keep the writing thread still; return whether that could be had."""
        if not self._lock.acquire(timeout=FORK_WAITS_S):
            return False
        self.try_flush()
        return True

    def after_fork(self, *, child: bool) -> None:
        """Let go of what ``before_fork`` took; a child forgets everything, since it is the parent's."""
        if child:
            self._live, self._writer = {}, None
        self._lock.release()


# -- hooks of the process

_buffers: weakref.WeakSet[TrialBuffer[Any]] = weakref.WeakSet()
_held: list[TrialBuffer[Any]] = []
"""Buffers that stand still while the process forks."""
_registered = False


def _register(buffer: TrialBuffer[Any]) -> None:
    """Have a buffer written down at the end of the process; a process killed by a signal runs no hook."""
    global _registered
    _buffers.add(buffer)
    if not _registered:
        _registered = True
        atexit.register(_flush_all)
        # Children of multiprocessing may end without the former.
        multiprocessing.util.Finalize(None, _flush_all, exitpriority=0)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(
                before=_before_fork,
                after_in_parent=lambda: _after_fork(child=False),
                after_in_child=lambda: _after_fork(child=True),
            )


def _flush_all() -> None:
    for buffer in list(_buffers):
        buffer.flush_at_end()


def _before_fork() -> None:
    _held.extend(buffer for buffer in list(_buffers) if buffer.before_fork())


def _after_fork(*, child: bool) -> None:
    while _held:
        _held.pop().after_fork(child=child)

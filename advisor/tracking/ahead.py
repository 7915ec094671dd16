"""A live run's write-ahead log, whatever becomes of the disk under it.

``storage.spool`` writes records and says what went wrong; here it is decided what that means for a training: it is
said once, the training goes on, and which log calls the file lacks is remembered. What the file lacks is in
memory only, until the store has it; who holds it there is ``advisor.tracking.delivery``.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from advisor.config import Fsync
from storage.errors import RecordError, SpoolError
from storage.records import Event
from storage.spool import Call, Spool, encode_event

log = logging.getLogger(__name__)

SYNC_EVERY_S: Final = 1.0
"""With ``fsync="interval"``: how much a power cut may take, about."""


class WriteAhead:
    """What a run writes before anything else.

    Parameters
    ----------
    path
        The file; it must not exist.
    header
        Whose it is, see ``storage.spool.owner_header``.
    events
        What it begins with.
    fsync
        ``always`` waits at each write until a power cut would not take it, ``interval`` does so in a thread about
        each second, ``never`` leaves it to the system.
    strict
        Whether a write that fails raises ``SpoolError``.
    """

    def __init__(
        self, path: Path, header: Mapping[str, Any], events: Sequence[Event], *, fsync: Fsync, strict: bool
    ) -> None:
        self.path = path
        self.files = path.parent / "files" / path.stem
        """Folder of files that the run saved and the store does not have."""
        self.lock = threading.RLock()
        """Guards the file; the run holds it while it numbers and writes a call."""
        self.concluded = -1
        """Number of the last call of which it is known whether the file has it."""
        self._beginning = (dict(header), list(events))
        self._always = fsync == "always"
        self._strict = strict
        self._closed = False
        self._spool: Spool | None = None
        self._trouble: str | None = None
        # The training appends numbers; who asks turns them into ranges, under a lock that the training never takes.
        self._new_missing: deque[int] = deque()
        self._missing: list[list[int]] = []
        self._lock = threading.RLock()
        self._stop = threading.Event()
        self._create()
        if fsync == "interval":
            threading.Thread(target=self._sync_until_closed, name="advisor-sync", daemon=True).start()

    # -- writing

    def call(self, number: int, record: bytes) -> None:
        """Write a log call, the caller holding ``lock``; where that fails, remember that the file lacks it.

        Raises
        ------
        SpoolError
            Where it fails and ``strict`` was asked for.
        """
        spool = self._spool
        if spool is not None:
            try:
                spool.write_held(record)
                if self._always:
                    spool.sync()
                if self._trouble is not None:
                    self._passed()
                self.concluded = number
                return
            except SpoolError as error:
                self._fail(error)
        if not self._closed:  # by a signal handler that ended the run: then the store has the call
            self._new_missing.append(number)
        self.concluded = number
        if self._strict:
            raise SpoolError(self._trouble or f"there is no write-ahead log at {self.path}")

    def event(self, event: Event) -> bool:
        """Write an event and return whether the file has it.

        Raises
        ------
        SpoolError
            Where it fails and ``strict`` was asked for.
        """
        try:
            if self._spool is not None:
                self._spool.write(encode_event(event))
                if self._always:
                    self._spool.sync()
                return True
        except SpoolError as error:
            self._fail(error)
        if self._strict:
            raise SpoolError(self._trouble or f"there is no write-ahead log at {self.path}")
        return False

    def reserve(self, content: Mapping[str, Any]) -> bool:
        """Write down the little that must be known of a run's end where the disk takes nothing more."""
        try:
            if self._spool is not None:
                self._spool.write_reserve(content)
                return True
        except (SpoolError, RecordError) as error:
            log.debug("%s", error)
        return False

    def mend(self) -> None:
        """Make the file where there is none yet, and anew where somebody deleted it."""
        with self._lock:
            if self._closed:
                return
            if self._spool is None:
                self._create()
            elif not self._spool.is_there():
                try:
                    self._spool.restore()
                except SpoolError as error:
                    self._fail(error)
                else:
                    log.warning("the write-ahead log %s had been deleted; all of it was written anew", self.path)

    # -- what the file holds

    def size(self) -> int:
        """Return the bytes in the file."""
        return 0 if self._spool is None else self._spool.size()

    def lacking(self, first: int, end: int) -> list[tuple[int, int]]:
        """Return the ranges of call numbers, of those from ``first`` to before ``end``, that the file lacks."""
        with self._lock:
            return [(max(a, first), min(b, end)) for a, b in self._ranges() if a < end and b > first]

    def forget_before(self, number: int) -> None:
        """Forget what the file lacks of calls that the store has."""
        with self._lock:
            self._missing = [[max(a, number), b] for a, b in self._ranges() if b > number]

    def calls(self, offset: int) -> Iterator[Call]:
        """Read back log calls from an offset on; see ``Spool.calls``."""
        return iter(()) if self._spool is None else self._spool.calls(offset)

    # -- the end

    def close(self) -> None:
        """Close the file and leave it for recovery."""
        self._closed = True
        self._stop.set()
        if self._spool is not None:
            self._spool.close()

    def discard(self) -> None:
        """Delete the file, once the store has all of it."""
        self.close()
        with contextlib.suppress(OSError):
            if self._spool is not None:
                self.path.unlink(missing_ok=True)
            if self.files.is_dir():
                self.files.rmdir()

    # -- inner workings

    def _create(self) -> None:
        header, events = self._beginning
        try:
            self._spool = Spool.create(self.path, header, events=events, reserve=True, lock=self.lock)
            if self._always:
                self._spool.sync()
        except SpoolError as error:
            self._fail(error)
            if self._strict:
                raise

    def _ranges(self) -> list[list[int]]:
        for _ in range(len(self._new_missing)):
            number = self._new_missing.popleft()
            if self._missing and self._missing[-1][1] == number:
                self._missing[-1][1] = number + 1
            else:
                self._missing.append([number, number + 1])
        return self._missing

    def _fail(self, error: SpoolError) -> None:
        if self._closed:
            return
        said, self._trouble = self._trouble, str(error)
        if said is None:
            log.warning(
                "%s; the training goes on, and what is logged now is in memory only until the store has it", error
            )

    def _passed(self) -> None:
        self._trouble = None
        log.warning("the write-ahead log %s can be written to again", self.path)

    def _sync_until_closed(self) -> None:
        synced = -1
        while not self._stop.wait(SYNC_EVERY_S):
            size = self.size()
            if self._spool is None or size == synced:
                continue
            try:
                self._spool.sync()
                synced = size
            except SpoolError as error:
                self._fail(error)

"""The right to do something that one process at a time should do: compact, index, recover.

On a local store it is a file lock, which the operating system takes back when its holder dies. On object storage
it is a row in an append-only table: the total order of commits decides who of several takers came first, and the
holder says again every few seconds that it lives. Invariant: who holds a lease is a pure function of the rows;
a clock only tells a taker when a silent holder may be succeeded.

A lease is no fence: a holder that was stopped for longer than the expiry, and wakes, does not know yet that it was
succeeded. What leases guard here stays right when done twice (an index is derived, a compaction that lost is refused
by the database, a recovery repeats events that are known by their ids).
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Protocol

from filelock import FileLock, Timeout

from storage.errors import StoreUnavailableError
from storage.migrations import Columns
from storage.records import new_id

if TYPE_CHECKING:
    from storage.lance import Database

log = logging.getLogger(__name__)

TABLE: Final = "leases"
LEASES: Final[Columns] = MappingProxyType(
    {
        "name": "string",
        "holder": "string",
        "nonce": "string",
        "kind": "string",  # taken, renewed or released
        "id": "string",
        "over": "string",  # of a taken lease: id of the row whose silence is succeeded
        "time": "float64",  # seconds since 1970, by the writer's clock
        "pos": "int32",
    }
)
EXPIRES_AFTER_S: Final = 45.0
"""A holder silent for this long is taken for dead. Clocks of machines may differ by half of it."""
RENEWED_EVERY: Final = 1 / 4
"""Share of the expiry after which a holder speaks: three may get lost."""
TIDY_EVERY: Final = 64
"""Rows between two clean-ups of the table; reading it costs one request a fragment."""
KEPT_FOR_S: Final = 3600.0


class Leases(Protocol):
    """Gives leases by name."""

    def hold(self, name: str, *, wait_s: float = 0.0) -> AbstractContextManager[bool]:
        """Try for a lease for some seconds; the context says whether it was got, and gives it back at its end."""


class FileLeases:
    """Leases of processes that share a folder.

    Parameters
    ----------
    folder
        Where the lock files are.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextlib.contextmanager
    def hold(self, name: str, *, wait_s: float = 0.0) -> Iterator[bool]:
        """See ``Leases``."""
        lock = FileLock(self._folder / f"{name}.lock", poll_interval=0.01)
        try:
            lock.acquire(timeout=wait_s)
        except (Timeout, OSError):
            yield False
            return
        try:
            yield True
        finally:
            lock.release()


@dataclass(frozen=True, slots=True)
class Held:
    """A lease that somebody holds."""

    nonce: str
    """Tells one holding from another by the same process."""
    last_id: str
    """Id of the holder's last row."""
    time: float
    """When that was, by the holder's clock."""


def fold(holders: Mapping[str, Held], rows: Iterable[Mapping[str, Any]]) -> dict[str, Held]:
    """Return who holds what after some more rows, given in their order."""
    after = dict(holders)
    for row in rows:
        name, held = row["name"], after.get(row["name"])
        mine = held is not None and held.nonce == row["nonce"]
        free = held is None or (row["kind"] == "taken" and row["over"] == held.last_id)
        if row["kind"] == "released" and mine:
            del after[name]
        elif (row["kind"] == "renewed" and mine) or (row["kind"] == "taken" and free):
            after[name] = Held(row["nonce"], row["id"], row["time"])
    return after


class TableLeases:
    """Leases of processes on many machines that share a database.

    Parameters
    ----------
    database
        Where the table is; it is created when the first lease is taken.
    expires_after_s
        Silence after which a holder is taken for dead.
    clock
        Seconds since 1970.
    """

    def __init__(
        self,
        database: Database,
        *,
        expires_after_s: float = EXPIRES_AFTER_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._expires_after_s = expires_after_s
        self._clock = clock
        self._lock = threading.Lock()
        self._holders: dict[str, Held] = {}
        self._version = 0
        self._tidying_is_due = False
        self._holder = f"{socket.gethostname()}:{os.getpid()}"

    @contextlib.contextmanager
    def hold(self, name: str, *, wait_s: float = 0.0) -> Iterator[bool]:
        """See ``Leases``."""
        nonce = new_id()
        if not self._acquire(name, nonce, wait_s):
            yield False
            return
        done = threading.Event()
        voice = threading.Thread(target=self._renew, args=(name, nonce, done), name=f"lease-{name}", daemon=True)
        # An interpreter that ends starts no thread any more; what is done then is soon over.
        with contextlib.suppress(RuntimeError):
            voice.start()
        try:
            yield True
        finally:
            done.set()
            if voice.ident is not None:
                voice.join(timeout=1.0)  # what it still says after the release counts for nothing
            self._release(name, nonce)

    def take(self, name: str, nonce: str) -> bool:
        """Try once for a lease; return whether it is held under ``nonce`` now."""
        with self._lock:
            self._read()
            held = self._holders.get(name)
            if held is not None and not self._silent(held):
                return False
            self._write(name, nonce, "taken", over=held.last_id if held else "")
            return self._is_held(name, nonce)

    def renew(self, name: str, nonce: str) -> bool:
        """Say that the holder lives; return whether it still holds the lease."""
        with self._lock:
            self._read()
            if not self._is_held(name, nonce):
                return False
            self._write(name, nonce, "renewed")
            return self._is_held(name, nonce)

    def release(self, name: str, nonce: str) -> None:
        """Give a lease back."""
        with self._lock:
            self._write(name, nonce, "released")
            if self._tidying_is_due:
                self._tidying_is_due = False
                self._tidy()

    # -- inner workings

    def _acquire(self, name: str, nonce: str, wait_s: float) -> bool:
        give_up = time.monotonic() + wait_s
        while True:
            try:
                if self.take(name, nonce):
                    return True
            except StoreUnavailableError as error:  # a half-taken lease expires
                log.info("the lease %r cannot be had: %s", name, error)
                return False
            if time.monotonic() >= give_up:
                return False
            time.sleep(min(0.25, max(0.0, give_up - time.monotonic())))

    def _renew(self, name: str, nonce: str, done: threading.Event) -> None:
        while not done.wait(self._expires_after_s * RENEWED_EVERY):
            try:
                if not self.renew(name, nonce):
                    log.warning("the lease %r went to another process, because this one was silent for too long", name)
                    return
            except StoreUnavailableError as error:
                log.info("the lease %r could not be renewed and may expire: %s", name, error)

    def _release(self, name: str, nonce: str) -> None:
        try:
            self.release(name, nonce)
        except StoreUnavailableError as error:
            log.info("the lease %r could not be given back and expires by itself: %s", name, error)

    def _silent(self, held: Held) -> bool:
        # A time far in the future is a clock that is wrong; believing it would block everybody until then.
        return abs(self._clock() - held.time) > self._expires_after_s

    def _is_held(self, name: str, nonce: str) -> bool:
        held = self._holders.get(name)
        return held is not None and held.nonce == nonce

    def _read(self) -> None:
        if not self._version:  # a table that another process is just creating is listed before it can be opened
            self._database.create(TABLE, LEASES, stable_row_ids=True)
        if self._database.version(TABLE) != self._version:
            columns = [name for name in LEASES if name != "pos"]
            rows, reached = self._database.tail(TABLE, columns, after=self._version)
            self._holders = fold(self._holders, rows)
            self._version = reached

    def _write(self, name: str, nonce: str, kind: str, *, over: str = "") -> None:
        row: dict[str, Any] = {
            "name": name,
            "holder": self._holder,
            "nonce": nonce,
            "kind": kind,
            "id": new_id(),
            "over": over,
            "time": self._clock(),
            "pos": 0,
        }
        version = self._database.append(TABLE, {column: [value] for column, value in row.items()}, LEASES)
        self._tidying_is_due |= version % TIDY_EVERY == 0  # of many writers one makes that commit
        if version == self._version + 1:  # nobody else wrote: no need to read
            self._holders = fold(self._holders, [row])
            self._version = version
        else:
            self._read()

    def _tidy(self) -> None:
        """Let go of rows that decide nothing any more, and merge what is left into one file."""
        living = ", ".join(f"'{held.nonce}'" for held in self._holders.values()) or "''"
        try:
            self._database.delete(TABLE, f"time < {self._clock() - KEPT_FOR_S:.3f} and nonce not in ({living})")
            self._database.optimize(TABLE)
        except StoreUnavailableError as error:  # a later release will have another chance
            log.info("the leases were not tidied: %s", error)

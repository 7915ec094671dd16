"""A store that is opened when somebody needs it, so that a training can start without waiting for the database.

``Opening`` knows the address at once and the store later. What must land before anything else (an experiment that is
new, a run that was started) is announced to it, and is delivered in that order as soon as the store can be had.
Whoever asks for the store waits for both, so a program reads what it has written. Announcements are kept in memory;
who needs them to survive the process writes them down first (a live run does, in its write-ahead log).

Invariant: announcements reach the store in the order in which they were made, each at least once; the store counts
what lands twice once.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from storage.errors import RecordError, StorageError, StoreUnavailableError
from storage.place import Place, read_catalog, write_catalog
from storage.records import Event, Experiment
from storage.store import RunStore, open_store

if TYPE_CHECKING:
    from storage.embed import Embedder

log = logging.getLogger(__name__)

SHARE_EVERY_S: Final = 0.0005
"""How long the import of the library keeps Python's lock when a training wants it."""
FORK_WAITS_S: Final = 60.0
"""How long a fork waits for the database library to be loaded: a child whose parent was in the middle of an import
would wait for it forever."""

Announcement = Callable[[RunStore], Sequence[Event]]
"""Given the store, returns the events that are to be appended."""

_loading: set[int] = set()
"""Threads that are loading the database library now."""
_guarded = False


class _Attempt:
    """One try to open a store, and what came of it."""

    def __init__(self) -> None:
        self.over = threading.Event()
        self.store: RunStore | None = None
        self.error: StorageError | None = None


class Opening:
    """The way to one store. Threads may share it; forked processes may not.

    Parameters
    ----------
    uri
        A folder or an address that LanceDB understands.
    create
        Whether to make a store where there is none.
    embedder
        Text encoder for search; chosen when it is needed if None.
    store
        The store, where it is open already.

    Raises
    ------
    StoreNotFoundError, StoreUnavailableError, SchemaTooNewError
        If the address is certainly no store's, as far as that can be told without opening it.
    """

    def __init__(
        self, uri: str, *, create: bool = True, embedder: Embedder | None = None, store: RunStore | None = None
    ) -> None:
        self.uri = uri
        self.place = Place(uri)
        self._create = create
        self._embedder = embedder
        self._store = store
        self._pid = os.getpid()
        self._waiting: deque[tuple[Announcement, bool]] = deque()
        self._lock = threading.RLock()  # guards the attempt
        self._attempt: _Attempt | None = None
        self._soon: threading.Thread | None = None
        self._delivered = threading.Event()
        # Re-entrant: a signal handler may ask for the store while its thread delivers.
        self._deliver_lock = threading.RLock()
        self._known: Mapping[str, Experiment] | None = None
        if store is None:
            self.place.check(create=create)
            self._known = read_catalog(self.place)

    @property
    def opened(self) -> RunStore | None:
        """The store, if it is open; what was announced may not be in it yet."""
        return self._store

    @property
    def waits(self) -> bool:
        """Whether something announced has not been delivered."""
        return bool(self._waiting)

    def catalog(self) -> Mapping[str, Experiment] | None:
        """Return the experiments that are known without the store; None where nothing is known.

        For a store on this machine an experiment that is not listed did not exist when the list was written; on
        another machine that says nothing.
        """
        return {} if self.place.holds_tables() is False else self._known

    def announce(self, announcement: Announcement, *, defines: bool = False) -> object:
        """Have something delivered, after all that was announced before; returns at once.

        Parameters
        ----------
        defines
            Whether it says what an experiment is, so that the catalog may change.

        Returns
        -------
        object
            What ``withdraw`` takes.
        """
        announced = (announcement, defines)
        self._delivered.clear()
        self._waiting.append(announced)
        return announced

    def withdraw(self, announced: object) -> None:
        """Take back what was announced, where it has not been delivered."""
        with self._deliver_lock:
            kept = [one for one in self._waiting if one is not announced]
            self._waiting.clear()
            self._waiting.extend(kept)

    def soon(self, after_s: float) -> None:
        """Deliver what was announced after a while, should nobody ask for the store before."""
        with self._lock:
            if self._soon is not None and self._soon.is_alive():
                return
            _prepare()
            # Not a daemon: a script that does nothing but declare an experiment ends when that is done.
            self._soon = threading.Thread(target=self._deliver_at_last, args=(after_s,), name="advisor-soon")
            self._soon.start()

    def get(self, timeout_s: float | None = None) -> RunStore:
        """Return the store once it is open and everything announced so far is in it.

        Parameters
        ----------
        timeout_s
            How long to wait at most.

        Raises
        ------
        StorageError
            If the store cannot be opened or does not take what was announced; asking again tries again.
        """
        self.check_process()
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        store = self._store or self._open(timeout_s)
        if self._waiting:
            left_s = None if deadline is None else max(deadline - time.monotonic(), 0.0)
            self._deliver_within(store, left_s)
        return store

    def check_process(self) -> None:
        """Refuse to be used in a forked process.

        Raises
        ------
        StoreUnavailableError
        """
        if os.getpid() != self._pid:
            raise StoreUnavailableError(
                f"cannot use the store at {self.uri!r} in process {os.getpid()}, which was forked from one that uses "
                "it; start processes with multiprocessing's 'spawn' or 'forkserver' method"
            )

    def close(self) -> None:
        """Deliver what was announced and let go of the store; what cannot be delivered is said."""
        if self._waiting and os.getpid() == self._pid:
            try:
                self.get()
            except StorageError as error:
                log.warning("%s; what was said of experiments without a run is not kept", error)
        if self._store is not None:
            self._store.close()

    # -- inner workings

    def _open(self, timeout_s: float | None) -> RunStore:
        """Have a thread of its own open the store: whoever waits can be interrupted, the opening goes on."""
        with self._lock:
            attempt = self._attempt
            if attempt is None:
                attempt = self._attempt = _Attempt()
                _prepare()
                # Not a daemon: an interpreter that ends must let the library finish what it starts.
                thread = threading.Thread(target=self._open_in_thread, args=(attempt,), name="advisor-open")
                try:
                    thread.start()
                except RuntimeError:  # the interpreter ends, and starts no thread any more
                    self._open_in_thread(attempt)
        if not attempt.over.wait(timeout_s):
            raise StoreUnavailableError(f"the store at {self.uri!r} has not been opened within {timeout_s:g} s")
        if attempt.store is None:
            raise attempt.error or StoreUnavailableError(f"the store at {self.uri!r} could not be opened")
        return attempt.store

    def _deliver_within(self, store: RunStore, timeout_s: float | None) -> None:
        """Deliver; the main thread has another thread do it, so that a signal handler never finds it in the middle."""
        if threading.current_thread() is not threading.main_thread():
            if not self._deliver_lock.acquire(timeout=-1.0 if timeout_s is None else timeout_s):
                raise StoreUnavailableError(f"the store at {self.uri!r} has not answered within {timeout_s:g} s")
            try:
                self._deliver(store)
            finally:
                self._deliver_lock.release()
            return
        attempt = _Attempt()
        try:
            threading.Thread(target=self._deliver_for, args=(store, attempt), name="advisor-announce").start()
        except RuntimeError:  # the interpreter ends, and starts no thread any more
            self._deliver_for(store, attempt)
        if not attempt.over.wait(timeout_s):
            raise StoreUnavailableError(f"the store at {self.uri!r} has not answered within {timeout_s:g} s")
        if attempt.error is not None:
            raise attempt.error

    def _deliver_for(self, store: RunStore, attempt: _Attempt) -> None:
        try:
            with self._deliver_lock:
                self._deliver(store)
        except StorageError as error:
            attempt.error = error
        except Exception as error:
            attempt.error = StoreUnavailableError(
                f"the store at {self.uri!r} does not take what was said: {error!r:.300}"
            )
            log.debug("what was announced to %r was not delivered", self.uri, exc_info=True)
        finally:
            attempt.over.set()

    def _open_in_thread(self, attempt: _Attempt) -> None:
        try:
            _load_library()
            store = open_store(self.uri, create=self._create, embedder=self._embedder)
            if self._known is None:
                self._write_catalog(store)
            attempt.store = self._store = store
        except StorageError as error:
            attempt.error = error
        except Exception as error:
            attempt.error = StoreUnavailableError(f"the store at {self.uri!r} could not be opened: {error!r:.300}")
            log.debug("the store at %r could not be opened", self.uri, exc_info=True)
        finally:
            if attempt.store is None:
                self._attempt = None  # who asks again tries again
            attempt.over.set()

    def _deliver(self, store: RunStore) -> None:
        """Append what was announced; where the store refuses a part, the rest goes in without it."""
        announced = [self._waiting[i] for i in range(len(self._waiting))]
        events: list[Event] = []
        for announcement, defines in announced:
            events += announcement(store)
            if defines:  # whatever comes next must see it in the store
                append_each(store, events)
                events = []
        append_each(store, events)
        if any(defines for _, defines in announced):
            self._write_catalog(store)
        for one in announced:
            if self._waiting and self._waiting[0] is one:  # a signal handler may have delivered meanwhile
                self._waiting.popleft()
        if not self._waiting:
            self._delivered.set()

    def _deliver_at_last(self, after_s: float) -> None:
        if self._delivered.wait(after_s):
            return
        try:
            self.get()
        except StorageError as error:
            log.warning("%s; what was said of experiments is kept with their runs only", error)

    def _write_catalog(self, store: RunStore) -> None:
        try:
            known = {experiment.name: experiment for experiment in store.experiments()}
        except StorageError as error:
            log.debug("the catalog of %r was not written: %s", self.uri, error)
            return
        if known != self._known:
            write_catalog(self.place, list(known.values()))
        self._known = known


def append_each(store: RunStore, events: Sequence[Event]) -> None:
    """Append events together; where the store refuses one of them, append the others and say which it was."""
    try:
        store.append(events)
    except RecordError:
        for event in events:
            try:
                store.append([event])
            except RecordError as error:
                log.error("an event of kind %r of run %s was left out: %s", event.kind, event.run_id, error)


# -- loading the database library beside a training


def _prepare() -> None:
    """Do what must be done before a library is loaded in a thread, while the interpreter is whole."""
    global _guarded
    # The library starts a thread pool, whose module cannot be loaded once the interpreter begins to end; for a short
    # script that may be while the library is still being loaded.
    import concurrent.futures.thread  # noqa: F401

    if not _guarded and hasattr(os, "register_at_fork"):
        _guarded = True
        os.register_at_fork(before=_wait_for_library)


def _load_library() -> None:
    """Load the database library, and have forks wait for it meanwhile."""
    from storage.lance import load_library

    _loading.add(threading.get_ident())
    before = sys.getswitchinterval()
    # A training that logs gives Python's lock away at each write; the import, which never waits, would then keep it
    # for 5 ms, the usual interval. With a shorter one a log() beside the import waits a tenth of that.
    sys.setswitchinterval(min(before, SHARE_EVERY_S))
    try:
        load_library()
    finally:
        sys.setswitchinterval(before)
        _loading.discard(threading.get_ident())


def _wait_for_library() -> None:
    deadline = time.monotonic() + FORK_WAITS_S
    while _loading - {threading.get_ident()} and time.monotonic() < deadline:
        time.sleep(0.01)


def let_go() -> None:
    """See ``storage.lance.let_go``; does nothing where no store was opened."""
    if "storage.lance" in sys.modules:
        from storage.lance import let_go as let_go_of_library

        let_go_of_library()

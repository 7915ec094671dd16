"""The present fold of a store's journal: begun where the kept one ends, brought up to date, kept again.

One object of it belongs to one store object. What a fold is, is in ``storage.journal``; how it lies in the derived
table of runs, in ``storage.index``.

Invariant: what is handed out has everything that was in the journal when it was asked for. Keeping the fold is never
needed for an answer: where it fails, it is tried again after some more events.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any, Final

from storage.errors import StoreUnavailableError
from storage.index import TABLE, BaseDamagedError, BaseGoneError, KeptFold, LiveMetrics, RunIndex
from storage.journal import SWEEPING, Base, State, passed_over
from storage.journal_table import JournalTable
from storage.lance import Database
from storage.provenance import CHECKPOINT, hash_of
from storage.records import CurveLoader, Event

log = logging.getLogger(__name__)

KEEP_EVERY: Final = 1_000
"""Events that are folded anew at each opening, some 10 µs each, before the fold is kept again, which costs 0.1 s."""
KEEP_DIRTY: Final = 200
"""Runs that a filter judges apart, before the fold is kept again."""
TRY_AGAIN_AFTER: Final = 100
"""Events before a fold that could not be kept is tried again: a read-only store would try at every read."""
MOVE_AFTER_S: Final = 600.0
"""How long a fold may stand on an old version of the table of runs; those are removed after ``lance.KEEP_VERSIONS``."""
OPTIMIZE_EVERY: Final = 64
"""Commits of the table of runs between two looks at its fragments."""
CLAIM_EVERY: Final = 256
"""Events between two checkpoints in the journal, which tell whether what came before is as it was."""
FROM_ITS_START: Final = "the journal is read from its start, 'advisor store verify' builds the table again"


class Folding:
    """Keeps one fold current.

    Parameters
    ----------
    load_curves
        Given to each run, so that a reader can ask it for its curves.
    live
        Fills in what runs that go on have logged so far.
    """

    def __init__(
        self,
        database: Database,
        table: JournalTable,
        index: RunIndex,
        *,
        load_curves: CurveLoader,
        live: LiveMetrics,
    ) -> None:
        self._database, self._table, self._index = database, table, index
        self._load_curves, self._live = load_curves, live
        self.lock = threading.RLock()
        """Guards the fold. Whoever needs several answers of the same instant holds it."""
        self.index_lock = threading.RLock()
        """Guards the index, which may take seconds; never wait for it while holding ``lock``."""
        self._state: State | None = None
        self._moved_at = 0.0
        self._keep_at = 0  # events after which the fold is kept again
        self._keep_dirty = KEEP_DIRTY
        self._distrusted = False  # whether the kept fold was found damaged
        self._writing_down = False
        """While the fold is written down it stands still: what came in meanwhile would be in the checkpoint only."""

    # -- the present fold

    def state(self) -> State:
        """Return the current fold.

        Raises
        ------
        BaseGoneError
            If another process has made the table of runs anew: begin anew, see ``forget``.
        """
        with self.lock:
            state = self._begun()
            if not self._writing_down and self._table.version() != state.version:
                placed, reached = self._table.placed(after=state.version)
                try:
                    state.fold(event for event, _ in placed)
                except BaseException:
                    self._state = None  # half a batch may be folded
                    raise
                state.version = max(state.version, reached)  # a compaction is a commit without rows
                state.trim()
                if any(event.kind in SWEEPING for event, _ in placed):
                    self.keep_if_many_changed()
                    state = self._begun()
            if state.n_rows > self._keep_at:
                self.keep()
                return self._begun()
            return state

    def append(self, events: Sequence[Event]) -> int:
        """Append events to the journal, fold them where nobody wrote in between, and return their commit."""
        with self.lock:
            version, landed = self._table.append(events)
            if self._state is not None and version == self._state.version + 1:  # nobody else wrote: no need to read
                try:
                    self._state.fold(landed)
                    self._state.trim()
                except StoreUnavailableError:  # the commit stands; the next read folds it
                    self._state = None
            return version

    def forget(self, *, why: BaseGoneError | None = None) -> None:
        """Forget the fold; the next read begins at the one that is kept now, at the first event if that is damaged."""
        with self.lock:
            self._state = None
            if isinstance(why, BaseDamagedError) and not self._distrusted:
                self._distrusted = True
                log.warning("%s; %s", why, FROM_ITS_START)

    # -- keeping it

    def kept(self) -> KeptFold | None:
        """Return the fold that the derived table holds, None where it lacks what an earlier version passed over.

        Raises
        ------
        StoreUnavailableError
            If it cannot be read.
        """
        base = self._index.kept(load_curves=self._load_curves)
        if base is None:
            return None
        through = base.checkpoint()["version"]
        lacks = any(self._events_of_kind(kind, through) for kind in passed_over(base.checkpoint()))
        return None if lacks else base

    def keep(self) -> bool:
        """Keep the fold in the table of runs, unless another process is at it; return whether it is kept."""
        if not self.index_lock.acquire(blocking=False):
            return False
        kept = False
        try:
            with self._database.lease("index") as mine:
                if mine:
                    with self.lock:
                        self._keep()
                        kept = True
        except StoreUnavailableError as error:  # what is derived can wait
            log.info("the table of runs is not brought up to date: %s", error)
        finally:
            self.index_lock.release()
            state = self._state
            if not kept and state is not None:
                self._keep_at = state.n_rows + TRY_AGAIN_AFTER
                self._keep_dirty = len(state.dirty()) + TRY_AGAIN_AFTER
        return kept

    def keep_if_many_changed(self) -> None:
        """Keep the fold where many runs changed: each opening would fold that again, each filter judge them apart."""
        if self._state is not None and len(self._state.dirty()) > self._keep_dirty:
            self.keep()

    def rebuild(self) -> int:
        """Fold the whole journal and write the table of runs anew; return how many runs there are.

        The caller holds the lease ``index``.
        """
        with self.lock:
            state = State(load_curves=self._load_curves, load_kind=self._events_of_kind)
            placed, _ = self._table.placed()
            state.fold(event for event, _ in placed)
            self._state, self._keep_at = state, 2**62
            with self._standing_still():
                self._index.rebuild(state, live=self._live)
            self._distrusted = False
            self._index.refresh_indices()
            self._state = None
            return state.n_runs()

    # -- inner workings

    def _begun(self) -> State:
        """Return the fold, begun where the kept one ends, and moved to a newer one before that is removed."""
        state = self._state
        if state is not None and not self._must_move(state):
            return state
        base, since, reached = self._base_and_since()
        self._moved_at = time.monotonic()
        self._state = state = State(load_curves=self._load_curves, base=base, load_kind=self._events_of_kind)
        self._keep_at, self._keep_dirty = state.n_rows + KEEP_EVERY, KEEP_DIRTY
        state.fold(since)
        state.version = max(state.version, reached)
        return state

    def _trusted(self) -> KeptFold | None:
        return None if self._distrusted else self.kept()

    def _must_move(self, state: State) -> bool:
        base = state.base
        return isinstance(base, KeptFold) and (base.gone or time.monotonic() - self._moved_at > MOVE_AFTER_S)

    def _base_and_since(self) -> tuple[KeptFold | None, list[Event], int]:
        """Return the kept fold, the events since, and the commit reached.

        None and nothing where there is none, or where it is of another history than the journal's, as after a back-up.
        """
        try:
            base = self._trusted()
        except StoreUnavailableError as error:
            log.warning("%s; %s", error, FROM_ITS_START)
            base, self._distrusted = None, not error.passing
        if base is None:
            return None, [], 0
        through, (version, last) = base.checkpoint()["version"], base.checkpoint()["last"]
        placed, reached = self._table.placed(after=max(version - 1, 0))
        known = [hash_of(event).hex() for event, _ in placed if event.version == version]
        if reached < through or (version and known[-1:] != [last]):
            return None, [], 0
        return base, [event for event, _ in placed if event.version > through], reached

    def _events_of_kind(self, kind: str, through: int) -> list[Event]:
        return [event for event in self._table.of_kind(kind) if event.version <= through]

    def _keep(self) -> None:
        state = self._begun()
        if _n_rows(self._trusted()) > _n_rows(state.base):
            self._state = None  # another process kept a newer one: begin there
        self._keep_at = 2**62  # so that the read does not keep the fold in its turn
        state = self.state()
        if state.dirty() or state.n_rows > _n_rows(state.base):
            self._claim(state)
            state = self.state()
            with self._standing_still():
                if self._index.save(state, live=self._live) % OPTIMIZE_EVERY == 0:
                    self._database.optimize(TABLE)
                self._distrusted = False
                self._index.refresh_indices()
                base = self.kept()
                if base is not None:
                    state.stand_on(base)
                    self._moved_at = time.monotonic()
        self._keep_at, self._keep_dirty = state.n_rows + KEEP_EVERY, KEEP_DIRTY

    def _claim(self, state: State) -> None:
        """Write into the journal what all of it up to here hashes to, if enough has come since the last time."""
        if state.n_rows - state.claimed < CLAIM_EVERY:
            return
        claim: dict[str, Any] = {"through": state.version, "n": state.n_rows, "hash": state.prefix.hex()}
        self.append([Event.new(CHECKPOINT, "", actor="store", **claim)])

    @contextlib.contextmanager
    def _standing_still(self) -> Iterator[None]:
        self._writing_down = True
        try:
            yield
        finally:
            self._writing_down = False


def _n_rows(base: Base | None) -> int:
    return -1 if base is None else int(base.checkpoint()["n_rows"])

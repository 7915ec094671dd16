"""Moves what a live run logged into the store, in a thread of its own, and looks at it on the way.

The training hands in log calls and events and goes on; the store's troubles are this thread's: it says them once,
tries again with growing pauses, and delivers in the order of logging. What waits is kept as columns in bounded
memory. Beyond the bound the oldest calls that are also in the write-ahead log leave memory and are read back from
there; where the log could not take them either, the oldest of them are given up, counted, and told at the end.

Invariant: a call is in memory, in the write-ahead log, in the store, or counted as not kept.
"""

from __future__ import annotations

import logging
import queue
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import KW_ONLY, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np

from advisor.tracking.ahead import WriteAhead
from advisor.tracking.batches import Batch, batches_of, merged
from advisor.tracking.values import Tally
from storage.curves import is_of_machine
from storage.errors import SpoolError, StorageError, StoreUnavailableError
from storage.events import finding_opened
from storage.opening import Opening, append_each
from storage.records import Event, Finding
from storage.recovery import not_kept_words
from storage.spool import Call
from storage.store import RunStore

log = logging.getLogger(__name__)

FLUSH_EVERY_S: Final = 1.0
"""How long what was logged may wait for the store. A commit costs about 3 ms, whatever its size."""
RETRY_AT_MOST_S: Final = 30.0
"""Longest pause between two tries to reach a store that cannot be reached, but for the jitter."""
RAW_CALLS_AT_MOST: Final = 50_000
"""Log calls that may wait to become columns before a thread is asked to make them such out of turn."""
TAKEN_WITHIN_S: Final = 10.0
"""How long the training waits for figures; 50,000 calls take about 30 ms."""
WAITING_BYTES_AT_MOST: Final = 64 * 2**20
"""Memory for log calls that the store has not taken: about 1.3 million calls of four metrics."""
CALLS_AT_ONCE: Final = 200_000
"""Log calls in one commit."""
WARNINGS_AT_MOST: Final = 3
"""Different troubles that are told between two deliveries; a retry repeats none of them."""


class Watch(Protocol):
    """What looks at the points of a live run, see ``advisor.findings.Monitor``."""

    def observe(
        self, metric: str, steps: Sequence[int], values: Sequence[float], times: Sequence[float]
    ) -> Sequence[Finding]:
        """Look at new points; return what is wrong."""
        ...

    def tick(self, now: datetime) -> Sequence[Finding]:
        """Look at the time; return what is wrong."""
        ...

    def failed(self, error: str | None, now: datetime) -> Sequence[Finding]:
        """Hear that the run failed; return what is wrong."""
        ...

    def ended(self, now: datetime) -> Sequence[Finding]:
        """Hear that no points come any more; return what was found as it reads now."""
        ...


@dataclass
class NotKept:
    """Log calls that are nowhere."""

    calls: int = 0
    first_step: int | None = None
    last_step: int | None = None

    def add(self, steps: np.ndarray[Any, Any]) -> None:
        """Count calls that are given up, by their steps."""
        if len(steps):
            low, high = int(steps.min()), int(steps.max())
            self.first_step = low if self.first_step is None else min(self.first_step, low)
            self.last_step = high if self.last_step is None else max(self.last_step, high)
            self.calls += len(steps)

    def as_json(self) -> dict[str, int | None]:
        """Return it as it is kept with the run's end."""
        return {"calls": self.calls, "first_step": self.first_step, "last_step": self.last_step}

    def __str__(self) -> str:
        return not_kept_words(self.as_json())


@dataclass
class _Gap:
    """Calls that left memory and are read back from the write-ahead log."""

    first: int
    end: int
    offset: int
    """Where in the file they begin, or a little before."""
    n_counted: int
    """Calls of it that were counted as not kept when it was made."""
    n_left: int = 0
    """Calls that are still to be read, once there is a reader."""
    reader: Iterator[Call] | None = None


@dataclass(frozen=True, slots=True)
class Looking:
    """What is done with the points besides delivering them."""

    watch: Callable[[], Watch] | None = None
    """Makes what looks for trouble; called when the store is open, because what it looks for depends on it."""
    notify: Callable[[], None] | None = None
    """Called when the store has something to tell; returns at once."""
    capture: Callable[[], Event | None] | None = None
    """Returns the event that describes code and machine; may take seconds."""
    _: KW_ONLY
    clock: Callable[[], datetime]


class Delivery:
    """What waits for the store, and the thread that brings it there."""

    def __init__(self, run_id: str, opening: Opening, ahead: WriteAhead, looking: Looking) -> None:
        self.run_id = run_id
        self.calls: deque[Call] = deque()
        """Log calls as they came; the training appends, ``take`` removes, neither waits for the other."""
        self.events: deque[Event] = deque()
        self.tallies: dict[str, Tally] = {}
        self.not_kept = NotKept()
        self._found: dict[str, Finding] = {}
        self.trouble: StorageError | None = None
        """Why the last try to deliver failed; None where it did not."""
        self._reduce = "last"
        self._objective: str | None = None
        self._objective_curve: list[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]] = []
        self._opening, self._ahead, self._looking = opening, ahead, looking
        self._watch: Watch | None = None
        self._watching = looking.watch is not None
        self._is_up_to_date = False
        """Whether the findings were brought up to date at the end."""
        self._take_lock = threading.RLock()  # guards what follows; held while arrays are made, never for the store
        self._waiting: deque[Batch | _Gap] = deque()
        self._attempt: Batch | None = None
        self._unseen: deque[Batch] = deque()
        self._held: list[Event] = []
        self._n_bytes = 0
        self._size_at_take = 0
        self._asked: queue.SimpleQueue[threading.Event | None] = queue.SimpleQueue()
        self._told: set[str] = set()
        self._give_up_at = float("inf")
        self._wake = threading.Event()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"advisor-{run_id[:8]}", daemon=True)
        # Beside the first, which may wait for the store: memory stays bounded, and the end of a run need not wait.
        self._taking = threading.Thread(target=self._take_when_asked, name=f"advisor-take-{run_id[:8]}", daemon=True)

    def start(self, *, reduce: str, objective: str | None) -> None:
        """Begin to deliver.

        Parameters
        ----------
        reduce, objective
            How curves become values, and the metric whose whole curve is kept in memory for advice.
        """
        self._reduce, self._objective = reduce, objective
        self._taking.start()
        self._thread.start()

    def wake(self) -> None:
        """Deliver soon."""
        self._wake.set()

    def take(self) -> None:
        """Turn the calls that came in into columns, and take their figures.

        Never called by the training itself: a signal handler that ends a run waits for the threads of this object,
        so the thread that it interrupted must not hold a lock that they need.
        """
        with self._take_lock:
            size = self._ahead.size()
            calls = [self.calls.popleft() for _ in range(len(self.calls))]
            for batch in batches_of(calls, offset=self._size_at_take):
                self._tally(batch)
                self._waiting.append(batch)
                self._n_bytes += batch.n_bytes
                if self._watching:
                    self._unseen.append(batch)
            self._bound_memory()
            self._size_at_take = size

    def take_soon(self) -> threading.Event:
        """Have a thread take what came in; the event says when it has."""
        taken = threading.Event()
        self._asked.put(taken)
        return taken

    def objective_curve(self) -> dict[int, float]:
        """Return the objective's values so far by step."""
        self.take_soon().wait(TAKEN_WITHIN_S)
        out: dict[int, float] = {}
        for steps, values in self._objective_curve:
            out.update(zip(steps.tolist(), values.tolist(), strict=True))
        return out

    @property
    def findings(self) -> list[Finding]:
        """What was found so far, in that order; one that was said anew stays in its place."""
        return list(self._found.values())

    @property
    def pending(self) -> bool:
        """Whether something waits for the store."""
        return bool(self._attempt or self._waiting or self.calls or self.events or self._held or self._opening.waits)

    @property
    def n_not_on_disk(self) -> int:
        """Log calls that would be lost if the process died now."""
        with self._take_lock:
            return sum(len(self._lacked(batch)) for batch in self._in_memory())

    def take_findings(self, found: Sequence[Finding]) -> list[Finding]:
        """Take findings of the training's own thread.

        Returns those that say something new; the caller keeps their events.
        """
        return self._remember(found)

    def failed(self, error: str | None, now: datetime) -> None:
        """Have the watch hear that the run failed."""
        if self._watch is None and self._looking.watch is not None:
            self._watch = self._looking.watch()
        if self._watch is not None:
            self._raise_findings(self._watch.failed(error, now))

    def finish(self, within_s: float) -> bool:
        """Deliver what is left, for some time; return whether the store has everything."""
        self._give_up_at = time.monotonic() + within_s
        self._over.set()
        self._wake.set()
        self._thread.join(within_s + 5.0)
        self._asked.put(None)
        return not self.pending

    def give_up(self) -> None:
        """Count what is in memory only: nobody will deliver it any more."""
        with self._take_lock:
            self.take()
            for batch in self._in_memory():
                self.not_kept.add(self._lacked(batch))

    # -- the thread

    def _run(self) -> None:
        if self._looking.capture is not None:
            try:  # the store is opened beside it
                threading.Thread(target=self._open_early, name="advisor-open-early", daemon=True).start()
            except RuntimeError:
                pass  # the interpreter ends already
            self._capture()
        n_failed = 0
        while True:
            over = self._over.is_set()
            n_failed = self._deliver_or_say(n_failed)
            if over and (not self.pending or time.monotonic() > self._give_up_at):
                return
            if not (over and self.pending and not n_failed):
                pause_s = min(FLUSH_EVERY_S * 2**n_failed, RETRY_AT_MOST_S)
                if n_failed:  # many workers that lost the same store do not come back at the same moment
                    pause_s *= random.uniform(0.5, 1.5)
                self._wake.wait(min(pause_s, max(self._give_up_at - time.monotonic(), 0.01)))
                self._wake.clear()

    def _take_when_asked(self) -> None:
        while (taken := self._asked.get()) is not None:
            try:
                self.take()
            except Exception:  # a thread's edge: whoever waits goes on
                log.exception("what run %s logged could not be looked at; it is in %s", self.run_id, self._ahead.path)
            taken.set()

    def _open_early(self) -> None:
        try:
            self._opening.get()
        except StorageError as error:
            log.debug("%s", error)  # the delivering thread says it

    def _deliver_or_say(self, n_failed: int) -> int:
        """Try once; return how many tries have failed since the last one that did not."""
        self._ahead.mend()
        try:
            try:
                store = self._opening.get()
            finally:
                self._look()
            self._deliver(store)
        except StorageError as error:
            self.trouble = error
            if str(error) not in self._told and len(self._told) < WARNINGS_AT_MOST:
                self._told.add(str(error))
                log.warning("%s; what is logged is kept at %s and is tried again", error, self._ahead.path)
            return n_failed + 1
        except Exception as error:  # a thread's edge: whatever it is, what comes later is delivered too
            self.trouble = StoreUnavailableError(f"run {self.run_id} could not be delivered: {error!r:.300}")
            if repr(error) not in self._told and len(self._told) < WARNINGS_AT_MOST:
                self._told.add(repr(error))
                log.exception("run %s could not be delivered; it is tried again", self.run_id)
            return n_failed + 1
        if n_failed:
            log.info("the store at %s takes run %s again", self._opening.uri, self.run_id)
        self.trouble = None
        self._told.clear()
        return 0

    def _deliver(self, store: RunStore) -> None:
        """Move what gathered into the store.

        A batch whose commit failed is repeated as it was: should the commit have gone through
        all the same, the store knows its chunks and ignores the second.
        """
        while True:
            if self._attempt is None:
                self._attempt = self._next()
            if self._attempt is None:
                break
            store.append_curves(self._attempt.chunks(self.run_id))
            with self._take_lock:
                self._ahead.forget_before(self._attempt.end)
                self._n_bytes -= self._attempt.n_bytes
                self._attempt = None
        self._deliver_events(store)

    def _next(self) -> Batch | None:
        """Return what is to be delivered next, as much as one commit takes."""
        with self._take_lock:
            if not self._waiting:
                return None
            head = self._waiting[0]
            if isinstance(head, _Gap):
                return self._read_back(head)
            together: list[Batch] = []
            n_calls = 0
            while self._waiting and n_calls < CALLS_AT_ONCE:
                batch = self._waiting[0]
                if isinstance(batch, _Gap) or (together and together[-1].end != batch.first):
                    break
                together.append(batch)
                n_calls += batch.n
                self._waiting.popleft()
            before = sum(batch.n_bytes for batch in together)
            batch = merged(together)
            self._n_bytes += batch.n_bytes - before
            return batch

    def _deliver_events(self, store: RunStore) -> None:
        """Deliver events; one that speaks of a file waits until the store has the file."""
        arrived = [self.events[i] for i in range(len(self.events))]
        ready, held = [], []
        trouble: StorageError | None = None
        for event in [*self._held, *arrived]:
            try:
                if event.kind == "run.artifact":
                    deliver_file(store, self._ahead.files, str(event.body["sha256"]))
                ready.append(event)
            except StorageError as error:
                held.append(event)
                trouble = error
        if ready:
            append_each(store, ready)
        self._held = held
        for _ in arrived:
            self.events.popleft()
        if self._looking.notify is not None and any(self._is_news(event) for event in ready):
            self._looking.notify()
        if trouble is not None:
            raise trouble

    def _is_news(self, event: Event) -> bool:
        """Return whether there is something to tell: a run that is over is believed what would wait to be confirmed."""
        return event.kind == "finding.opened" or (event.kind == "run.state" and bool(self._found))

    def _tally(self, batch: Batch) -> None:
        for metric, (steps, values, _) in batch.curves.items():
            if is_of_machine(metric):
                continue
            tally = self.tallies.get(metric)
            if tally is None:
                tally = self.tallies[metric] = Tally(self._reduce)
            tally.extend(steps, values)
            if metric == self._objective:
                self._objective_curve.append((steps, values))

    # -- memory

    def _in_memory(self) -> list[Batch]:
        there = [batch for batch in self._waiting if isinstance(batch, Batch)]
        return there if self._attempt is None else [self._attempt, *there]

    def _lacked(self, batch: Batch) -> np.ndarray[Any, Any]:
        """Return the steps of those calls of a batch that are not in the write-ahead log."""
        ranges = self._ahead.lacking(batch.first, batch.end)
        parts = [batch.steps[a - batch.first : b - batch.first] for a, b in ranges]
        return np.concatenate(parts) if parts else batch.steps[:0]

    def _bound_memory(self) -> None:
        while self._n_bytes > WAITING_BYTES_AT_MOST:
            known = self._ahead.concluded + 1  # what is being written right now stays
            there = [i for i, one in enumerate(self._waiting) if isinstance(one, Batch) and one.end <= known]
            if not there:
                return
            safe = (i for i in there if not self._ahead.lacking(self._waiting[i].first, self._waiting[i].end))
            at = next(safe, there[0])
            batch = self._waiting[at]
            assert isinstance(batch, Batch)
            lost = self._lacked(batch)
            self.not_kept.add(lost)
            self._n_bytes -= batch.n_bytes
            self._waiting[at] = _Gap(batch.first, batch.end, batch.offset, len(lost))
            before = self._waiting[at - 1] if at else None
            if isinstance(before, _Gap) and before.end == batch.first and before.reader is None:
                before.end = batch.end
                before.n_counted += len(lost)
                del self._waiting[at]
            if self._unseen:  # the rules see the run at less detail rather than not at all
                self._unseen.popleft()

    def _read_back(self, gap: _Gap) -> Batch | None:
        """Read the next calls of a gap; what the file does not have any more is counted as not kept."""
        found: list[Call] = []
        try:
            if gap.reader is None:
                n_lacking = sum(b - a for a, b in self._ahead.lacking(gap.first, gap.end))
                gap.reader, gap.n_left = self._ahead.calls(gap.offset), gap.end - gap.first - n_lacking
                # A write that failed just when its call left memory.
                self.not_kept.calls += n_lacking - gap.n_counted
                gap.n_counted = n_lacking
            n_wanted = min(gap.n_left, CALLS_AT_ONCE)
            while len(found) < n_wanted:
                call = next(gap.reader)
                if gap.first <= call[0] < gap.end:
                    found.append(call)
        except StopIteration:
            self.not_kept.calls += gap.n_left - len(found)
            gap.n_left = len(found)
        except (SpoolError, OSError) as error:
            gap.reader = None  # what was read is read again, and counts once
            raise StoreUnavailableError(f"what run {self.run_id} has logged cannot be read back: {error}") from error
        gap.n_left -= len(found)
        if not gap.n_left:
            self._waiting.popleft()
        batches = batches_of(found)
        self._waiting.extendleft(reversed(batches[1:]))
        self._n_bytes += sum(batch.n_bytes for batch in batches)
        return batches[0] if batches else self._next()

    # -- looking

    def _look(self) -> None:
        over = self._over.is_set()  # asked first: what was logged before the end is taken with what follows
        self.take()
        if not self._watching:
            return
        try:
            if self._watch is None and self._looking.watch is not None:
                self._watch = self._looking.watch()
            if self._watch is not None:
                self._raise_findings(self._watched(self._watch))
                if over and not self._is_up_to_date:
                    self._is_up_to_date = True
                    self._say_anew(self._watch.ended(self._looking.clock()))
        except Exception:  # the training and its delivery go on, whatever the watching does
            log.exception("run %s is no longer watched; its points are kept as before", self.run_id)
            self._watch, self._watching = None, False
            self._unseen.clear()

    def _watched(self, watch: Watch) -> list[Finding]:
        found: list[Finding] = []
        while self._unseen:
            with self._take_lock:
                if not self._unseen:
                    break
                batch = self._unseen.popleft()
            for metric, (steps, values, times) in batch.curves.items():
                if is_of_machine(metric):  # else a training that fell silent would seem to go on
                    continue
                found += watch.observe(metric, steps, values, times)  # type: ignore[arg-type]  # arrays are sequences
        found += watch.tick(self._looking.clock())
        return found

    def _raise_findings(self, found: Sequence[Finding]) -> None:
        for finding in self._remember(found):
            # Not through the spool, whose lock a log() that a signal interrupted may hold: after a crash, a check
            # finds it again.
            self.events.append(finding_opened(finding))

    def _say_anew(self, found: Sequence[Finding]) -> None:
        """Bring what was found up to date: a finding that was raised in the middle of a run counted what there was."""
        for finding in found:
            known = self._found.get(finding.id)
            if known is not None and known.detector == finding.detector and _words(known) != _words(finding):
                self._found[finding.id] = finding
                self.events.append(finding_opened(finding))

    def _remember(self, found: Sequence[Finding]) -> list[Finding]:
        """Add findings to the run's and return those that say something new."""
        fresh = []
        for finding in found:
            known = self._found.get(finding.id)
            if known is None or _said(known) != _said(finding):
                self._found[finding.id] = finding
                fresh.append(finding)
        return fresh

    def _capture(self) -> None:
        if self._looking.capture is None:
            return
        try:
            event = self._looking.capture()
            if event is not None:
                self.events.append(event)
        except Exception:  # a thread's edge: a run without its environment is still a run
            log.exception("the environment of run %s could not be captured", self.run_id)


def _said(finding: Finding) -> tuple[object, ...]:
    """Return what makes it worth saying again."""
    return (
        finding.severity,
        bool(finding.evidence.get("recovered")),
        finding.title if finding.detector == "state" else "",
    )


def _words(finding: Finding) -> tuple[object, ...]:
    """Return what is read of a finding; NaN among its figures is the same as another NaN."""
    return finding.title, finding.severity, repr(dict(finding.evidence))


def deliver_file(store: RunStore, folder: Path, sha256: str) -> None:
    """Give the store a file that a run saved while the store did not take it.

    Raises
    ------
    StorageError
        If the store does not take it now either.
    """
    file = folder / sha256
    if not file.is_file():
        return  # the store took it at once
    try:
        store.put_artifact(file)
    except OSError as error:
        raise StoreUnavailableError(f"the store does not take the file {file}: {error.strerror}") from error
    try:
        file.unlink()
        folder.rmdir()
    except OSError:
        pass  # other files wait there, or recovery sweeps it up

"""A run that is being written: log calls in, and nothing that was logged is lost.

``log()`` writes to the run's write-ahead log (one local file) and returns; a background thread moves
what gathered there into the store, looks for trouble and hands findings to the notifier. The store's
troubles are that thread's: the training never waits for them. Reading runs back is another type
(``storage.Run``).
"""

from __future__ import annotations

import logging
import math
import operator
import os
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

from advisor.redact import redact, scrub
from advisor.tracking import exits
from advisor.tracking.values import Tally
from storage.curves import chunks_of
from storage.errors import RecordError, RunFinishedError, StorageError, StoreUnavailableError, did_you_mean
from storage.events import check_event, decode_body, encode_body, finding_opened
from storage.records import Event, Experiment, Finding, RunState
from storage.recovery import append_each
from storage.spool import Point, Spool, owner_header
from storage.store import RunStore

if TYPE_CHECKING:
    from advisor.suggest import StopAdvice

log = logging.getLogger(__name__)

FLUSH_EVERY_S: Final = 1.0
"""How long what was logged may wait for the store. A commit costs about 3 ms, whatever its size."""
RETRY_AT_MOST_S: Final = 30.0
"""Longest pause between two tries to reach a store that cannot be reached."""
FINISH_WITHIN_S: Final = 30.0
"""How long ``finish`` waits for the store; after that the write-ahead log is left for recovery."""
NOTE_MAX_CHARS: Final = 100_000


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


@dataclass(frozen=True)
class Collaborators:
    """What a live run works with; ``advisor.app`` puts it together."""

    store: RunStore
    watch: Watch | None = None
    notify: Callable[[Sequence[Finding]], None] | None = None
    advise: Callable[[str, Mapping[int, float]], StopAdvice] | None = None
    """Given the run's id and its objective's values by step, says whether to stop."""
    capture: Callable[[], Mapping[str, Any]] | None = None
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)


class LiveRun:
    """One training that goes on in this process.

    Made by ``Experiment.start`` or ``advisor.init``; used as a context manager, an exception marks
    the run failed and keeps its traceback, and is raised on.

    Attributes
    ----------
    id, number, experiment
        Which run of which experiment.
    params
        Its parameters, as plain values.
    state
        ``running`` until it ends.
    """

    def __init__(self, experiment: Experiment, created: Event, collaborators: Collaborators) -> None:
        self._with = collaborators
        self._watch = collaborators.watch
        self._record = experiment
        self.id = created.run_id
        self.experiment = experiment.name
        self.params: dict[str, Any] = dict(created.body.get("params") or {})
        self.seed: int | None = created.body.get("seed")
        self.suggestion_id: str | None = created.body.get("suggestion_id")
        self.started = created.time
        self.state = RunState.RUNNING
        self._origin = time.perf_counter()
        self._pid = os.getpid()
        # Re-entrant, because a signal handler may note and finish while its thread is in the middle of log().
        self._lock = threading.RLock()
        # The delivering thread takes from the left of these without the lock, so that it never waits for log().
        self._points: deque[Point] = deque()
        self._events: deque[Event] = deque()
        self._batch: list[Point] = []
        self._give_up_at = math.inf
        self._n_delivered = 0
        self._next_step = 0
        self._tallies: dict[str, Tally] = {}
        self._objective: dict[int, float] = {}
        self._advised_stop = False
        self.findings: list[Finding] = []

        header = {"run_id": self.id, "experiment": self.experiment, "store": collaborators.store.uri, **owner_header()}
        created = checked(created)
        self._spool = Spool.create(collaborators.store.spool_folder() / f"{self.id}.spool", header)
        self._spool.event(created)
        self.number = self._create(created)
        self._wake = threading.Event()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._deliver_until_over, name=f"advisor-{self.id[:8]}", daemon=True)
        self._thread.start()
        exits.remember(self)

    # -- while it trains

    def log(self, metrics: Mapping[str, Any] | None = None, *, step: int | None = None, **more: Any) -> None:
        """Keep values of some metrics at one step.

        Returns once the values are in the write-ahead log: the process may be killed afterwards and
        they are still there. NaN and infinite values are kept.

        Parameters
        ----------
        metrics
            Values by metric name; anything that ``float`` takes.
        step
            Number of the step; counts up from 0 by itself when None.

        Raises
        ------
        RunFinishedError
            If the run has ended.
        RecordError
            If a value is not a number, or the call comes from a forked process.
        """
        self._check_alive("log to")
        values = {**(metrics or {}), **more}
        try:
            floats = {str(name): as_float(value) for name, value in values.items()}
        except (TypeError, ValueError, OverflowError):
            raise RecordError(_not_a_number(values)) from None
        if not floats:
            return
        if "" in floats:
            raise RecordError("a metric needs a name, not ''")
        try:
            given = None if step is None else operator.index(step)
        except TypeError:
            raise RecordError(f"step {step!r:.60} is a {type(step).__name__}; log() takes a whole number") from None
        with self._lock:
            at = self._next_step if given is None else given
            since_s = time.perf_counter() - self._origin
            self._spool.log(at, since_s, floats)
            self._next_step = at + 1
            self._points.append((at, since_s, floats))
            self._tally(at, floats)
        self._advised_stop = False  # whoever goes on logging has not followed the advice

    def note(self, text: str) -> None:
        """Add a note in plain words; it is searched later."""
        self._add("run.noted", text=scrub(str(text))[:NOTE_MAX_CHARS])

    def tag(self, *tags: str | Sequence[str]) -> None:
        """Add tags, one by one or in lists."""
        flat = [word for tag in tags for word in ([tag] if isinstance(tag, str) else tag)]
        self._add("run.tagged", tags=[scrub(str(tag)) for tag in flat])

    def use_data(self, name: str, data: Any) -> dict[str, Any]:
        """Keep the fingerprint (content hash, shape, schema) of data that the run uses; the data itself is not kept.

        Parameters
        ----------
        data
            A path, an array, a data frame, or plain lists and mappings.

        Raises
        ------
        RecordError
            If it is none of these or cannot be read.
        """
        from advisor.tracking.fingerprint import fingerprint

        print_ = fingerprint(name, data)
        self._add("run.data", **print_)
        return print_

    def save(self, path: str | Path, *, name: str | None = None) -> str:
        """Keep a copy of a file with the run; return its SHA-256.

        Raises
        ------
        RecordError
            If there is no such file.
        StoreUnavailableError
            If the store cannot keep it.
        """
        self._check_alive("save to")
        source = Path(path)
        if not source.is_file():
            raise RecordError(f"cannot save {str(path)!r}: there is no such file")
        sha256, size = self._with.store.put_artifact(source)
        self._add("run.artifact", name=name or source.name, sha256=sha256, size=size)
        return sha256

    def should_stop(self) -> bool:
        """Return whether other runs of the experiment were so much better by now that going on is hardly worth it.

        False where nobody can tell: no objective, or too few finished runs. ``stop_reason`` says why.
        """
        self._check_alive("ask")
        advise = self._with.advise
        if advise is None or not self._objective:
            return False
        advice = advise(self.id, dict(self._objective))
        self.stop_reason = advice.reason
        self._advised_stop = advice.stop
        return advice.stop

    stop_reason: str = ""
    """Reason of the last advice of ``should_stop``."""

    # -- the end

    def finish(
        self, *, value: float | Sequence[float] | None = None, state: RunState | str = RunState.FINISHED
    ) -> None:
        """End the run and wait until the store has it.

        Parameters
        ----------
        value
            The objective's value (one each, for several), where it is not to be read off the curve.
            NaN is accepted, and never best.
        state
            ``finished``, ``pruned``, ``failed``.

        Raises
        ------
        RunFinishedError
            If the run has ended already, by this or another process.
        RecordError
            If ``state`` is none in which a run is over, or the values are not as many as the objectives.
        """
        values = None if value is None else [as_float(v) for v in (value if isinstance(value, Sequence) else [value])]
        self._end(ended_state(state), values=values)

    def fail(self, reason: str | BaseException) -> None:
        """End the run as failed, for a reason or with an exception's traceback."""
        if isinstance(reason, BaseException):
            reason = "".join(traceback.format_exception(reason))
        self._end(RunState.FAILED, error=scrub(reason)[-NOTE_MAX_CHARS:])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.state.is_over:
            return
        if isinstance(error, SystemExit) and not error.code:
            error = None  # sys.exit(0) is a good end
        if error is not None:
            self.fail(error)
        else:
            self.finish(state=RunState.PRUNED if self._advised_stop else RunState.FINISHED)

    def __repr__(self) -> str:
        return f"<LiveRun {self.experiment}#{self.number} {self.id} {self.state}>"

    # -- inner workings

    def _end(self, state: RunState, *, values: Sequence[float] | None = None, error: str | None = None) -> None:
        self._check_alive("end")
        # Objectives and the way to reduce a curve may have changed since the start.
        record = self._with.store.state().experiments.get(self.experiment, self._record)
        n = len(record.objectives)
        if values is not None and n and len(values) != n:
            raise RecordError(f"{len(values)} values were given for {n} objectives; give one for each")
        event = self._event(
            "run.state",
            state=state,
            values=values,
            error=error,
            summary={metric: tally.summary(record.reduce) for metric, tally in self._tallies.items()},
        )
        if state is RunState.FINISHED and values is None:
            self._warn_of_missing(record)
        with self._lock:
            self.state = state
            self._spool.event(event)
            self._events.append(event)
        if state is RunState.FAILED and self._watch is not None:
            self._raise_findings(self._watch.failed(error, self._now()))
        exits.forget(self)
        self._give_up_at = time.perf_counter() + FINISH_WITHIN_S
        self._over.set()
        self._wake.set()
        self._thread.join(FINISH_WITHIN_S + 5.0)
        if self._pending():
            log.warning(
                "run %s ended, but the store at %s did not take all of it; the rest is safe in %s and is delivered "
                "when another process opens the store",
                self.id,
                self._with.store.uri,
                self._spool.path,
            )
            self._spool.close()
            return
        self._discard_spool()
        if event.id in self._with.store.state().refused:
            ended = self._with.store.run(self.id).state
            raise RunFinishedError(f"run {self.id} was ended as {ended!s} by another process; that stands")

    def _warn_of_missing(self, record: Experiment) -> None:
        for objective in record.objectives:
            if objective.metric not in self._tallies:
                log.warning(
                    "run #%d of %s ended without %r, its objective; %s",
                    self.number,
                    self.experiment,
                    objective.metric,
                    did_you_mean(objective.metric, self._tallies) if self._tallies else "nothing was logged.",
                )

    def _add(self, kind: str, **body: Any) -> None:
        self._check_alive("add to")
        event = self._event(kind, **body)
        with self._lock:
            self._spool.event(event)
            self._events.append(event)
        self._wake.set()

    def _check_alive(self, doing: str) -> None:
        if self.state.is_over:
            raise RunFinishedError(f"cannot {doing} run {self.id}: it has ended ({self.state!s}); start a new run")
        if os.getpid() != self._pid:
            raise RecordError(
                f"cannot {doing} run {self.id} from process {os.getpid()}: it belongs to process {self._pid}; "
                "log there, or start processes by 'spawn', each with a run of its own"
            )

    def _now(self) -> datetime:
        return self.started + timedelta(seconds=time.perf_counter() - self._origin)

    def _tally(self, step: int, floats: Mapping[str, float]) -> None:
        for metric, value in floats.items():
            tally = self._tallies.get(metric)
            if tally is None:
                tally = self._tallies[metric] = Tally(self._record.reduce)
            tally.add(step, value)
        objective = self._record.objective
        if objective is not None and objective.metric in floats:
            self._objective[step] = floats[objective.metric]

    def _deliver_until_over(self) -> None:
        self._capture()
        n_failed = 0
        while True:
            over = self._over.is_set()
            try:
                self._deliver()
                n_failed = 0
            except StoreUnavailableError as error:
                level = logging.INFO if n_failed else logging.WARNING
                log.log(level, "%s; what is logged is safe in %s and is tried again", error, self._spool.path)
                n_failed += 1
            except Exception:  # a thread's edge: whatever it is, what comes later is delivered too
                log.exception("run %s could not be delivered; it is tried again", self.id)
                n_failed += 1
            if over and (not self._pending() or time.perf_counter() > self._give_up_at):
                return
            if not (over and self._pending() and not n_failed):
                left_s = max(self._give_up_at - time.perf_counter(), 0.01)
                self._wake.wait(min(FLUSH_EVERY_S * 2**n_failed, RETRY_AT_MOST_S, left_s))
                self._wake.clear()

    def _pending(self) -> bool:
        return bool(self._batch or self._points or self._events)

    def _deliver(self) -> None:
        """Move what gathered into the store, and look at it on the way.

        A batch whose commit failed is repeated as it was: should the commit have gone through
        all the same, the store knows its chunks and ignores the second.
        """
        if not self._batch:
            self._batch = [self._points.popleft() for _ in range(len(self._points))]
            self._look_at(self._batch)
        if self._batch:
            self._with.store.append_curves(chunks_of(self.id, self._batch, first=self._n_delivered))
            self._n_delivered += len(self._batch)
            self._batch = []
        events = [self._events[i] for i in range(len(self._events))]
        if events:
            append_each(self._with.store, events)
            for _ in events:
                self._events.popleft()

    def _look_at(self, points: Sequence[Point]) -> None:
        if self._watch is None:
            return
        try:
            self._raise_findings(self._watched(self._watch, points))
        except Exception:  # the training and its delivery go on, whatever the watching does
            log.exception("run %s is no longer watched; its points are kept as before", self.id)
            self._watch = None

    def _watched(self, watch: Watch, points: Sequence[Point]) -> list[Finding]:
        found: list[Finding] = []
        for chunk in chunks_of(self.id, points, first=0):
            found += watch.observe(chunk.metric, list(chunk.steps), list(chunk.values), list(chunk.times))
        found += watch.tick(self._with.clock())
        return found

    def _raise_findings(self, found: Sequence[Finding]) -> None:
        for finding in found:
            self.findings.append(finding)
            # Not through the spool, whose lock a log() that a signal interrupted may hold: after a crash, a check
            # finds it again.
            self._events.append(finding_opened(finding))
        if found and self._with.notify is not None:
            self._with.notify(found)

    def _capture(self) -> None:
        if self._with.capture is None:
            return
        try:
            event = self._event("run.captured", **redact(self._with.capture()))
            if not self.state.is_over:
                self._spool.event(event)
            self._events.append(event)
        except Exception:  # a thread's edge: a run without its environment is still a run
            log.exception("the environment of run %s could not be captured", self.id)

    def _event(self, kind: str, **body: Any) -> Event:
        """Return an event of this run as every reader will see it, or refuse it before anything is written."""
        return checked(Event.new(kind, self.experiment, self.id, time=self._now(), actor="run", **body))

    def _create(self, created: Event) -> int:
        """Put the run into the store and return its number."""
        store = self._with.store
        try:
            store.append([created])
            return store.run(self.id).number
        except StorageError:
            try:  # the commit may have gone through all the same
                return store.run(self.id).number
            except StorageError:
                self._discard_spool()
            raise

    def _discard_spool(self) -> None:
        self._spool.close()
        self._spool.path.unlink(missing_ok=True)


def checked(event: Event) -> Event:
    """Return an event with its body as plain JSON values, as every reader will see it.

    Raises
    ------
    RecordError
        If it could not be kept or understood.
    """
    plain_event = replace(event, body=decode_body(encode_body(event.body)))
    check_event(plain_event)
    return plain_event


def ended_state(state: RunState | str) -> RunState:
    """Return a state in which a run is over.

    Raises
    ------
    RecordError
        If it is none.
    """
    over = [one for one in RunState if one.is_over]
    if state not in over:
        raise RecordError(f"a run cannot end as {str(state)!r}; allowed are {', '.join(over)}")
    return RunState(state)


def as_float(value: Any) -> float:
    """Return a number as a float; a tensor that carries gradients is detached, which would otherwise warn."""
    if type(value) is float:
        return value
    return float(value.detach() if hasattr(value, "detach") else value)


def _not_a_number(values: Mapping[str, Any]) -> str:
    for name, value in values.items():
        try:
            as_float(value)
        except (TypeError, ValueError):
            return (
                f"metric {name!r} is {value!r:.60}, a {type(value).__name__}; log() takes numbers (a note takes text)"
            )
        except OverflowError:
            return f"metric {name!r} is too large for a 64-bit float; log its logarithm"
    return "log() takes numbers"

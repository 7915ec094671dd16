"""A run that is being written: log calls in, and nothing that was logged is lost.

``log()`` writes to the run's write-ahead log (one local file) and returns; a background thread moves
what gathered there into the store, looks for trouble and hands findings to the notifier. The store's
troubles are that thread's: the training never waits for them. Reading runs back is another type
(``storage.Run``).
"""

from __future__ import annotations

import logging
import math
import os
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

from advisor.tracking import exits
from advisor.tracking.redact import redact, scrub
from storage.curves import chunks_of
from storage.errors import RecordError, RunFinishedError, StorageError, StoreUnavailableError
from storage.records import Event, Experiment, Finding, RunState
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
        self._lock = threading.Lock()
        self._points: list[Point] = []
        self._batch: list[Point] = []
        self._give_up_at = math.inf
        self._events: list[Event] = []
        self._n_delivered = 0
        self._next_step = 0
        self._tallies: dict[str, Tally] = {}
        self._objective: dict[int, float] = {}
        self._advised_stop = False
        self.findings: list[Finding] = []

        header = {"run_id": self.id, "experiment": self.experiment, "store": collaborators.store.uri, **owner_header()}
        self._spool = Spool.create(collaborators.store.spool_folder() / f"{self.id}.spool", header)
        self._spool.event(created)
        try:
            collaborators.store.append([created])
            self.number = collaborators.store.run(self.id).number
        except StorageError:
            self._discard_spool()
            raise
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
            floats = {str(name): float(value) for name, value in values.items()}
        except (TypeError, ValueError):
            raise RecordError(_not_a_number(values)) from None
        if not floats:
            return
        with self._lock:
            at = self._next_step if step is None else int(step)
            since_s = time.perf_counter() - self._origin
            self._spool.log(at, since_s, floats)
            self._next_step = at + 1
            self._points.append((at, since_s, floats))
            self._tally(at, floats)
        self._advised_stop = False  # whoever goes on logging has not followed the advice

    def note(self, text: str) -> None:
        """Add a note in plain words; it is searched later."""
        self._add("run.noted", text=scrub(str(text))[:NOTE_MAX_CHARS])

    def tag(self, *tags: str) -> None:
        """Add tags."""
        self._add("run.tagged", tags=[str(tag) for tag in tags])

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
        """
        values = None if value is None else [float(v) for v in (value if isinstance(value, Sequence) else [value])]
        self._end(RunState(state), values=values)

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
        if error is not None:
            self.fail(error)
        else:
            self.finish(state=RunState.PRUNED if self._advised_stop else RunState.FINISHED)

    def __repr__(self) -> str:
        return f"<LiveRun {self.experiment}#{self.number} {self.id} {self.state}>"

    # -- inner workings

    def _end(self, state: RunState, *, values: Sequence[float] | None = None, error: str | None = None) -> None:
        self._check_alive("end")
        n = len(self._record.objectives)
        if values is not None and n and len(values) != n:
            raise RecordError(f"{len(values)} values were given for {n} objectives; give one for each")
        event = Event.new(
            "run.state",
            self.experiment,
            self.id,
            time=self._now(),
            actor="run",
            state=state,
            values=values,
            error=error,
            summary={metric: tally.summary() for metric, tally in self._tallies.items()},
        )
        with self._lock:
            self.state = state
            self._spool.event(event)
            self._events.append(event)
        exits.forget(self)
        self._give_up_at = time.perf_counter() + FINISH_WITHIN_S
        self._over.set()
        self._wake.set()
        self._thread.join(FINISH_WITHIN_S + RETRY_AT_MOST_S)
        if self._pending():
            log.warning(
                "run %s ended, but the store at %s did not take all of it; the rest is safe in %s and is delivered "
                "when the store is next opened",
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

    def _add(self, kind: str, **body: Any) -> None:
        self._check_alive("add to")
        event = Event.new(kind, self.experiment, self.id, time=self._now(), actor="run", **body)
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
                "log there, or start a run here"
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
            if over and (not self._pending() or time.perf_counter() > self._give_up_at):
                return
            if not (over and self._pending() and not n_failed):
                self._wake.wait(min(FLUSH_EVERY_S * 2**n_failed, RETRY_AT_MOST_S))
                self._wake.clear()

    def _pending(self) -> bool:
        with self._lock:
            return bool(self._batch or self._points or self._events)

    def _deliver(self) -> None:
        """Move what gathered into the store, and look at it on the way.

        A batch whose commit failed is repeated as it was: should the commit have gone through
        all the same, the store knows its chunks and ignores the second.
        """
        if not self._batch:
            with self._lock:
                self._batch, self._points = self._points, []
            self._look_at(self._batch)
        if self._batch:
            self._with.store.append_curves(chunks_of(self.id, self._batch, first=self._n_delivered))
            self._n_delivered += len(self._batch)
            self._batch = []
        with self._lock:
            events = self._events[:]
        if events:
            self._with.store.append(events)
            with self._lock:
                del self._events[: len(events)]

    def _look_at(self, points: Sequence[Point]) -> None:
        if self._watch is None:
            return
        try:
            found = self._watched(self._watch, points)
            if found and self._with.notify is not None:
                self._with.notify(found)
        except Exception:  # the training and its delivery go on, whatever the watching does
            log.exception("run %s is no longer watched; its points are kept as before", self.id)
            self._watch = None

    def _watched(self, watch: Watch, points: Sequence[Point]) -> list[Finding]:
        found: list[Finding] = []
        for chunk in chunks_of(self.id, points, first=0):
            found += watch.observe(chunk.metric, list(chunk.steps), list(chunk.values), list(chunk.times))
        found += watch.tick(self._with.clock())
        for finding in found:
            self.findings.append(finding)
            event = opened(finding)
            with self._lock:
                self._spool.event(event)
                self._events.append(event)
        return found

    def _capture(self) -> None:
        if self._with.capture is None:
            return
        event = Event.new("run.captured", self.experiment, self.id, actor="capture", **redact(self._with.capture()))
        with self._lock:
            if not self.state.is_over:
                self._spool.event(event)
            self._events.append(event)

    def _discard_spool(self) -> None:
        self._spool.close()
        self._spool.path.unlink(missing_ok=True)


class Tally:
    """Figures of a curve that grows, in constant memory; see ``Curve.summary``."""

    def __init__(self, reduce: str) -> None:
        self._figures: dict[str, Any] = {"n": 0, "n_nonfinite": 0, "first": None, "last": None, "last_finite": None}
        self._figures |= {"min": None, "max": None, "min_step": None, "max_step": None, "last_step": None}
        self._reduce = reduce
        self._recent: deque[float] = deque(
            maxlen=int(reduce.rsplit("-", 1)[1]) if reduce.startswith("mean-last-") else 1
        )

    def add(self, step: int, value: float) -> None:
        """Take one more point in."""
        figures = self._figures
        if not figures["n"]:
            figures["first"] = value
        figures["n"] += 1
        figures["last"] = value
        figures["last_step"] = step
        if not math.isfinite(value):
            figures["n_nonfinite"] += 1
            return
        figures["last_finite"] = value
        self._recent.append(value)
        if figures["min"] is None or value < figures["min"]:
            figures["min"], figures["min_step"] = value, step
        if figures["max"] is None or value > figures["max"]:
            figures["max"], figures["max_step"] = value, step

    def summary(self) -> dict[str, Any]:
        """Return the figures so far."""
        out = dict(self._figures)
        if self._reduce.startswith("mean-last-"):
            out[self._reduce] = sum(self._recent) / len(self._recent) if self._recent else None
        return out


def opened(finding: Finding) -> Event:
    """Return the event that puts a finding into the journal."""
    return Event.new(
        "finding.opened",
        finding.experiment,
        finding.run_id,
        actor=finding.detector,
        time=finding.time,
        finding_id=finding.id,
        code=finding.code,
        title=finding.title,
        severity=str(finding.severity),
        detector=finding.detector,
        metric=finding.metric,
        step=finding.step,
        p_value=finding.p_value,
        score=finding.score,
        evidence=dict(finding.evidence),
    )


def _not_a_number(values: Mapping[str, Any]) -> str:
    for name, value in values.items():
        try:
            float(value)
        except (TypeError, ValueError):
            return (
                f"metric {name!r} is {value!r:.60}, a {type(value).__name__}; log() takes numbers (a note takes text)"
            )
    return "log() takes numbers"


def plain(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters as values that can be kept: secrets redacted, objects by their text.

    Nested mappings stay nested; numpy scalars become Python's.
    """
    return redact({str(name): _plain_value(value) for name, value in params.items()})


def _plain_value(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain_value(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain_value(item) for item in value]
    if hasattr(value, "tolist") and getattr(value, "size", 0) <= 1_000:  # numpy and torch scalars and small arrays
        return _plain_value(value.tolist())
    return str(value)[:1_000]

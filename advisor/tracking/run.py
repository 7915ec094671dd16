"""A run that is being written: log calls in, and nothing that was logged is lost.

``log()`` writes to the run's write-ahead log (one local file) and returns; another thread
(``advisor.tracking.delivery``) moves what gathered there into the store, looks for trouble and has it told. The store's
troubles are that thread's: the training never waits for them. Reading runs back is another type (``storage.Run``).
"""

from __future__ import annotations

import hashlib
import itertools
import logging
import operator
import os
import shutil
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from advisor.config import Fsync
from advisor.findings.instant import Guard, not_all_finite
from advisor.redact import redact, scrub
from advisor.tracking import exits
from advisor.tracking.ahead import WriteAhead
from advisor.tracking.delivery import RAW_CALLS_AT_MOST, TAKEN_WITHIN_S, Delivery, Looking, Watch
from advisor.tracking.values import plain
from storage.errors import RecordError, RunFinishedError, StorageError, StoreUnavailableError, did_you_mean
from storage.events import check_event, decode_body, encode_body, finding_opened
from storage.opening import Opening
from storage.records import Event, Experiment, Finding, RunState
from storage.spool import are_floats, encode_floats, owner_header

if TYPE_CHECKING:
    from advisor.findings.state import Checks
    from advisor.suggest import StopAdvice
    from advisor.tracking.system import Sampler
    from storage.store import RunStore

log = logging.getLogger(__name__)

FINISH_WITHIN_S: Final = 30.0
"""How long ``finish`` waits for the store; after that the write-ahead log is left for recovery."""
ADVICE_WITHIN_S: Final = 5.0
"""How long ``should_stop`` waits for a store that is still being opened."""
NOTE_MAX_CHARS: Final = 100_000

_process = object()  # this process; asking the system for its number costs log() 0.3 µs


def _forked() -> None:
    global _process
    _process = object()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


@dataclass(frozen=True)
class Collaborators:
    """What a live run works with; ``advisor.app`` puts it together."""

    opening: Opening
    watch: Callable[[], Watch] | None = None
    """Makes what looks for trouble, once the store is open."""
    notify: Callable[[], None] | None = None
    """Called when the store has a finding of this run, or the end of a run that has some; returns at once."""
    advise: Callable[[str, Mapping[int, float]], StopAdvice] | None = None
    """Given the run's id and its objective's values by step, says whether to stop."""
    ended: Callable[[], None] | None = None
    """Called when the store has all of the run; must not block."""
    capture: Callable[[], Mapping[str, Any]] | None = None
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    fsync: Fsync = "never"
    strict: bool = False


class LiveRun:
    """One training that goes on in this process.

    Made by ``Experiment.start`` or ``advisor.init``; used as a context manager, an exception marks
    the run failed and keeps its traceback, and is raised on.

    Attributes
    ----------
    id, experiment
        Which run of which experiment.
    params
        Its parameters, as plain values.
    state
        ``running`` until it ends.
    """

    def __init__(
        self,
        experiment: Experiment,
        created: Event,
        collaborators: Collaborators,
        *,
        definitions: Sequence[Event] = (),
    ) -> None:
        self._with = collaborators
        self._opening = collaborators.opening
        self._record = experiment
        self._number: int | None = None
        self.id = created.run_id
        self.experiment = experiment.name
        self.params: dict[str, Any] = dict(created.body.get("params") or {})
        self.seed: int | None = created.body.get("seed")
        self.suggestion_id: str | None = created.body.get("suggestion_id")
        self.started = created.time
        self.state = RunState.RUNNING
        self._origin = time.perf_counter()
        self._pid, self._process = os.getpid(), _process
        self._calls = itertools.count()
        self._next_step = 0
        self._advised_stop = False
        self._kept_stop = False
        self.ends_within_s = FINISH_WITHIN_S
        """How long its end waits for the store."""
        self.at_exit: Callable[[], object] = self.finish
        """Ends it, where the interpreter ends before anybody did, and by no exception."""

        header = {"run_id": self.id, "experiment": self.experiment, "store": self._opening.uri, **owner_header()}
        created = checked(created)
        path = self._opening.place.spool_folder() / f"{self.id}.spool"
        # What it is a run of comes first, should the store not know yet.
        beginning = [*definitions, created]
        self._ahead = WriteAhead(path, header, beginning, fsync=collaborators.fsync, strict=collaborators.strict)
        # Re-entrant, because a signal handler may note and finish while its thread is in the middle of log().
        self._lock = self._ahead.lock
        announced = self._opening.announce(partial(_begin, created=created, record=experiment))
        looking = Looking(collaborators.watch, collaborators.notify, self._captured(), clock=collaborators.clock)
        self._delivery = Delivery(self.id, self._opening, self._ahead, looking)
        self._guard = Guard(self.id, self.experiment, experiment.objective) if collaborators.watch else None
        if collaborators.strict:
            self._reach_store(announced)
        objective = experiment.objective.metric if experiment.objective and collaborators.advise else None
        self._delivery.start(reduce=experiment.reduce, objective=objective)
        exits.remember(self)

    # -- what it is

    @property
    def number(self) -> int:
        """Which run of its experiment it is, from 0; waits until the store has the run.

        Raises
        ------
        StorageError
            If the store cannot be reached.
        """
        if self._number is None:
            self._number = self._opening.get().run(self.id).number
        return self._number

    @property
    def findings(self) -> list[Finding]:
        """What was found wrong so far."""
        return self._delivery.findings

    @property
    def n_not_kept(self) -> int:
        """Log calls that neither the write-ahead log nor the store took, and that memory had no room for."""
        return self._delivery.not_kept.calls

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
        StorageError
            Only with the setting ``strict``: if the write-ahead log or the store has trouble.
        """
        if self.state is not RunState.RUNNING or self._process is not _process:
            self._check_alive("log to")
        # A copy: what the caller does with its own afterwards is no business of the delivering thread.
        values = metrics.copy() if type(metrics) is dict and not more else {**(metrics or {}), **more}
        if are_floats(values):
            floats = values
        else:
            try:
                floats = {str(name): as_float(value) for name, value in values.items()}
            except (TypeError, ValueError, OverflowError):
                raise RecordError(not_a_number(values)) from None
            if not floats:
                return
        if "" in floats:
            raise RecordError("a metric needs a name, not ''")
        if step is not None and (step.__class__ is not int or not -(2**63) <= step < 2**63):
            step = whole_step(step)
        with self._lock:
            at = self._next_step if step is None else step
            since_s = time.perf_counter() - self._origin
            number = next(self._calls)
            record = encode_floats(number, at, since_s, floats)
            self._next_step = at + 1
            # First for the delivering thread: a signal handler that ends the run now delivers this call too.
            self._delivery.calls.append((number, at, since_s, floats))
            self._ahead.call(number, record)
        if not_all_finite(floats) and self._guard is not None:
            self._raise(self._guard.look(at, floats, number + 1, self._now()))
        self._advised_stop = False  # whoever goes on logging has not followed the advice
        if number % RAW_CALLS_AT_MOST == RAW_CALLS_AT_MOST - 1:
            self._delivery.take_soon()
        if self._with.strict and self._delivery.trouble is not None:
            raise self._delivery.trouble

    def _log_aside(self, metrics: Mapping[str, float], step: int) -> None:
        """Keep values that are not the training's own: its steps, its last values and its advice stay as they are."""
        with self._lock:
            if self.state.is_over or self._process is not _process:
                return
            since_s = time.perf_counter() - self._origin
            number = next(self._calls)
            record = encode_floats(number, step, since_s, dict(metrics))
            self._delivery.calls.append((number, step, since_s, dict(metrics)))
            self._ahead.call(number, record)

    def sample_machine(self, every_s: float) -> None:
        """Have the machine's figures recorded beside the run's own, every so many seconds; 0 ends that.

        See ``advisor.tracking.system``; the setting ``system_metrics`` does it for every run.
        """
        if self._sampler is not None:
            self._sampler.stop()
            self._sampler = None
        if every_s > 0:
            from advisor.tracking.system import Sampler

            self._sampler = Sampler(self, every_s)

    _sampler: Sampler | None = None

    def checks(self) -> Checks:
        """Return the state checks of this run: plain calls that look at optimizer, model and batches.

        Opt-in, for what curves cannot show; what they find is in ``findings`` at once. See docs/findings.md.

        >>> checks = run.checks()  # doctest: +SKIP
        >>> checks.batch(x, y); checks.before_eval(model); checks.epoch_end()  # doctest: +SKIP
        """
        if self._checks is None:
            from advisor.findings.state import Checks

            self._checks = Checks(self.id, self.experiment, clock=self._now, raised=self._raise)
        return self._checks

    _checks: Checks | None = None

    def add_params(self, params: Mapping[str, Any]) -> None:
        """Add parameters that became known after the start, or say anew what one is; they are not checked."""
        for name, value in plain(params).items():
            if name not in self.params or self.params[name] != value:
                self._add("run.param", name=name, value=value)
                self.params[name] = value

    def set_attribute(self, name: str, value: Any) -> None:
        """Keep something that is said of the run and is no parameter of it; ``Run.user_attrs`` has it.

        Raises
        ------
        RecordError
            If the value is not plain numbers, text, lists and mappings.
        """
        self._add("run.attr", key=name, value=redact({name: value})[name])

    def note(self, text: str) -> None:
        """Add a note in plain words; it is searched later."""
        self._add("run.noted", text=scrub(str(text))[:NOTE_MAX_CHARS])

    def tag(self, *tags: str | Sequence[str]) -> None:
        """Add tags, one by one or in lists."""
        flat = [word for tag in tags for word in ([tag] if isinstance(tag, str) else tag)]
        self._add("run.tagged", tags=[scrub(str(tag)) for tag in flat])

    def set_params(self, params: Mapping[str, Any]) -> None:
        """Say more of what the run was started with; of a name that has a value the new one counts.

        They are not checked against a search space: a training that is under way is a fact.
        """
        for name, value in plain(params).items():
            self._add("run.param", name=name, value=value)
            self.params[name] = value

    def set_attributes(self, attributes: Mapping[str, Any]) -> None:
        """Say something of the run that is no parameter, tag or metric, by name; filters find it as ``meta.NAME``."""
        for name, value in plain(attributes).items():
            self._add("run.attr", key=name, value=value)

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

        Where the store does not take the file now, a copy waits beside the write-ahead log and is delivered later.

        Raises
        ------
        RecordError
            If there is no such file.
        StorageError
            Only with the setting ``strict``: if the store cannot keep it.
        """
        self._check_alive("save to")
        source = Path(path)
        if not source.is_file():
            raise RecordError(f"cannot save {str(path)!r}: there is no such file")
        try:
            sha256, size = self._keep_file(source)
        except OSError as error:
            log.warning("the file %s was not kept with run %s: %s", source, self.id, error.strerror or error)
            return ""
        self._add("run.artifact", name=name or source.name, sha256=sha256, size=size)
        return sha256

    def _keep_file(self, source: Path) -> tuple[str, int]:
        store = self._opening.opened
        if store is not None and self._delivery.trouble is None:
            try:
                return store.put_artifact(source)
            except (StorageError, OSError) as error:
                if self._with.strict:
                    raise
                log.warning("%s; a copy waits in %s", error, self._ahead.files)
        elif self._with.strict:
            return self._opening.get().put_artifact(source)
        self._ahead.files.mkdir(parents=True, exist_ok=True)
        copy = self._ahead.files / f"{os.getpid()}-{threading.get_ident()}.part"
        try:
            shutil.copyfile(source, copy)
            with copy.open("rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            size = copy.stat().st_size
            os.replace(copy, self._ahead.files / sha256)
        finally:
            copy.unlink(missing_ok=True)
        return sha256, size

    def should_stop(self) -> bool:
        """Return whether the run, by now worse than the median, has hardly a chance of becoming the best.

        The first advice to stop is kept with the run. False where nobody can tell: no objective, or too few finished
        runs. ``stop_reason`` says why.
        """
        self._check_alive("ask")
        advise = self._with.advise
        values = self._delivery.objective_curve() if advise is not None else {}
        if advise is None or not values:
            return False
        try:
            if self._delivery.trouble is not None:
                raise self._delivery.trouble
            self._opening.get(ADVICE_WITHIN_S)
            advice = advise(self.id, values)
        except StorageError as error:
            if self._with.strict:
                raise
            self.stop_reason = f"other runs cannot be looked at: {error}"
            return False
        self.stop_reason = advice.reason
        self._advised_stop = advice.stop
        if advice.stop and not self._kept_stop:
            self._kept_stop = True
            self._add("stop.advised", **advice.as_json())
        return advice.stop

    stop_reason: str = ""
    """Reason of the last advice of ``should_stop``."""

    # -- the end

    def finish(self, *, value: float | Sequence[float] | None = None, state: RunState | str | None = None) -> None:
        """End the run and wait until the store has it.

        Parameters
        ----------
        value
            The objective's value (one each, for several), where it is not to be read off the curve.
            NaN is accepted, and never best.
        state
            ``finished``, ``pruned``, ``failed``. None is ``pruned`` where the last ``should_stop`` was True and nothing
            was logged since, otherwise ``finished``: as at the end of a ``with`` block.

        Raises
        ------
        RunFinishedError
            If the run has ended already, by this or another process.
        RecordError
            If ``state`` is none in which a run is over, a value is no number, or the values are not as many as the
            objectives.
        """
        values = as_values(value)
        if state is None:
            state = RunState.PRUNED if self._advised_stop else RunState.FINISHED
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
            self.finish()

    def __repr__(self) -> str:
        number = "" if self._number is None else f"#{self._number}"
        return f"<LiveRun {self.experiment}{number} {self.id} {self.state}>"

    def _repr_html_(self) -> str:
        from advisor import notebook

        return notebook.live_run(self, number=self._number)

    # -- inner workings

    def _end(
        self,
        state: RunState,
        *,
        values: Sequence[float] | None = None,
        error: str | None = None,
    ) -> None:
        self._check_alive("end")
        deadline = time.monotonic() + self.ends_within_s
        # Objectives and the way to reduce a curve may have changed since the start.
        record = self._current_record(self.ends_within_s)
        n = len(record.objectives)
        if values is not None and n and len(values) != n:
            raise RecordError(f"{len(values)} values were given for {n} objectives; give one for each")
        event = self._ending(state, record, values, error)
        if state is RunState.FINISHED and values is None:
            self._warn_of_missing(record)
        with self._lock:
            if self.state.is_over:  # a signal handler has ended the run meanwhile
                return
            self.state = state
            self.sample_machine(0)
            kept = self._write(event)
            self._delivery.events.append(event)
        if state is RunState.FAILED:
            self._delivery.failed(error, self._now())
        exits.forget(self)
        if self._delivery.finish(max(deadline - time.monotonic(), 1.0)):
            self._settle(event)
            if self._with.ended is not None:
                self._with.ended()
        else:
            self._leave(event, kept)

    def _ending(self, state: RunState, record: Experiment, values: Sequence[float] | None, error: str | None) -> Event:
        """Return the event that ends the run, with the figures of all that was logged."""
        self._delivery.take_soon().wait(TAKEN_WITHIN_S)
        body: dict[str, Any] = {"state": state, "values": values, "error": error}
        body["summary"] = {m: tally.summary(record.reduce) for m, tally in self._delivery.tallies.items()}
        if self.n_not_kept:
            body["not_kept"] = self._delivery.not_kept.as_json()
            self._delivery.events.append(self._event("run.noted", text=str(self._delivery.not_kept)))
            log.warning("run %s: %s", self.id, self._delivery.not_kept)
        return self._event("run.state", **body)

    def _settle(self, event: Event) -> None:
        """Let go of the write-ahead log, and say where somebody else had ended the run."""
        if self._with.fsync != "never" and hasattr(os, "sync"):
            os.sync()  # the store's files are in the system's hands only, and the log goes
        self._ahead.discard()
        try:
            store = self._opening.get()
            refused, ended = event.id in store.state().refused, store.run(self.id).state
        except StorageError as error:
            log.debug("%s", error)
            return
        if refused:
            raise RunFinishedError(f"run {self.id} was ended as {ended!s} by another process; that stands")

    def _leave(self, event: Event, kept: bool) -> None:
        """Leave to recovery what the store did not take, and say what is nowhere."""
        self._delivery.give_up()
        small = {key: value for key, value in event.body.items() if key != "summary"}
        small["error"] = None if small["error"] is None else str(small["error"])[-500:]
        ending = {"id": event.id, "time": event.time.isoformat(), "body": small}
        not_kept = self._delivery.not_kept.as_json() if self.n_not_kept else None
        written = self._ahead.reserve({"ending": ending, "not_kept": not_kept}) or kept
        self._ahead.close()
        if not_kept is not None:
            log.warning("run %s: %s", self.id, self._delivery.not_kept)
        if written:
            message = (
                "run %s ended, but the store at %s did not take all of it; the rest is safe in %s and is delivered "
                "when another process opens the store"
            )
        else:
            message = "run %s ended, but neither the store at %s nor its write-ahead log %s took all of it"
        log.warning(message, self.id, self._opening.uri, self._ahead.path)
        if self._with.strict:
            raise self._delivery.trouble or StoreUnavailableError(f"run {self.id} was not delivered in time")

    def _current_record(self, within_s: float) -> Experiment:
        try:
            if self._delivery.trouble is None:
                store = self._opening.get(within_s)
                return store.state().experiments.get(self.experiment, self._record)
        except StorageError as error:
            log.debug("%s", error)  # the delivering thread says it
        return self._record

    def _warn_of_missing(self, record: Experiment) -> None:
        tallies = self._delivery.tallies
        for objective in record.objectives:
            if objective.metric not in tallies:
                log.warning(
                    "run %s of %s ended without %r, its objective; %s",
                    self.id if self._number is None else f"#{self._number}",
                    self.experiment,
                    objective.metric,
                    did_you_mean(objective.metric, tallies) if tallies else "nothing was logged.",
                )

    def _add(self, kind: str, **body: Any) -> None:
        self._check_alive("add to")
        event = self._event(kind, **body)
        with self._lock:
            self._write(event)
            self._delivery.events.append(event)
        self._delivery.wake()
        if self._with.strict and self._delivery.trouble is not None:
            raise self._delivery.trouble

    def _raise(self, found: Sequence[Finding]) -> None:
        """Keep findings that the training's own thread made, so that they outlive a crash of the next moment."""
        fresh = self._delivery.take_findings(found)
        for finding in fresh:
            event = checked(finding_opened(finding))
            with self._lock:
                self._write(event)
                self._delivery.events.append(event)
        if fresh:
            self._delivery.wake()

    def _write(self, event: Event) -> bool:
        return self._ahead.event(event)

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

    def _captured(self) -> Callable[[], Event | None] | None:
        capture = self._with.capture
        if capture is None:
            return None

        def captured() -> Event | None:
            event = self._event("run.captured", **redact(capture()))
            if not self.state.is_over:
                self._write(event)
            return event

        return captured

    def _reach_store(self, announced: object) -> None:
        """Wait until the store has the run, or leave nothing of it."""
        try:
            self._opening.get()
        except StorageError:
            self._opening.withdraw(announced)
            self._ahead.discard()
            raise

    def _event(self, kind: str, **body: Any) -> Event:
        """Return an event of this run as every reader will see it, or refuse it before anything is written."""
        return checked(Event.new(kind, self.experiment, self.id, time=self._now(), actor="run", **body))


def _begin(store: RunStore, *, created: Event, record: Experiment) -> list[Event]:
    """Return the events that begin a run, with its experiment where the store has lost it or never knew it."""
    if record.name in store.state().experiments:
        return [created]
    body: dict[str, Any] = {"reduce": record.reduce, "description": record.description}
    body["objectives"] = [{"metric": o.metric, "direction": o.direction} for o in record.objectives]
    if record.problem:
        body["problem"] = dict(record.problem)
    if record.space is not None:
        body["space"] = {name: dict(dimension) for name, dimension in record.space.items()}
    return [Event.new("experiment.created", record.name, time=created.time, actor="advisor", **body), created]


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


def whole_step(step: Any) -> int:
    """Return a step as an integer of 64 bits, or refuse it."""
    try:
        given = operator.index(step)
    except TypeError:
        raise RecordError(f"step {step!r:.60} is a {type(step).__name__}; log() takes a whole number") from None
    if not -(2**63) <= given < 2**63:
        raise RecordError(f"step {given} does not fit a signed 64-bit integer")
    return given


def as_float(value: Any) -> float:
    """Return a number as a float; a tensor that carries gradients is detached, which would otherwise warn."""
    if type(value) is float:
        return value
    return float(value.detach() if hasattr(value, "detach") else value)


def as_values(value: Any, *, refused: Callable[[str], Exception] = RecordError) -> list[float] | None:
    """Return the objective's value, or those of several objectives, as floats, or refuse what is no number."""
    if value is None:
        return None
    several = isinstance(value, Sequence) and not isinstance(value, str)
    try:
        return [as_float(one) for one in (value if several else [value])]
    except (TypeError, ValueError, OverflowError):
        raise refused(
            f"value {value!r:.60} is a {type(value).__name__}; give a number, or a list of them, one for each of "
            "several objectives (a note takes text)"
        ) from None


def not_a_number(values: Mapping[str, Any]) -> str:
    """Return the sentence that says which value is no number."""
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

"""One attempt: a command runs, what it says is logged, it is ended when it must, and its run ends as it did.

One thread follows one command: it alone reads its pipes and writes its run. Leaves out which parameters and how many
attempts, see ``advisor.running.sweep``.

Invariant: when ``follow`` returns, the run is over and no process of the command is left.
"""

from __future__ import annotations

import itertools
import json
import logging
import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from selectors import EVENT_READ, DefaultSelector
from typing import IO, Any, Final

from advisor.redact import scrub
from advisor.running.channel import Channel, Connection
from advisor.running.guard import Guard
from advisor.running.metrics import Lines, looks_meant, read_line
from advisor.running.plan import Plan
from advisor.running.process import Process, signal_of
from advisor.suggest.outcome import INTERRUPTED, KILLED
from advisor.tracking.attached import answer, end
from advisor.tracking.run import LiveRun
from storage.errors import RecordError, RunFinishedError, StorageError
from storage.records import ENDED_BY_HAND, RunState

log = logging.getLogger(__name__)

POLL_S: Final = 0.1
"""How soon a signal, a time limit or an end is noticed."""
SOON_S: Final = 0.01
"""The same, once the command has closed its output, and is about to end."""
DRAIN_S: Final = 2.0
"""How long processes that a command left behind may take to end once it is over."""
CHUNK: Final = 2**16
"""What a pipe holds on Linux."""
TAIL_CHARS: Final = 4_000
"""How much of the end of standard error is kept with a run that failed: a traceback, and what led to it."""
LAST_LINE_CHARS: Final = 200
"""How much of standard error's last line, which names the exception of a Python program, a reason repeats."""
ASK_EVERY_S: Final = 0.2
"""Least time between two looks at whether a command is worth going on with."""
ASK_SHARE: Final = 0.1
"""Most of the time that such looks may take."""


class Ending(StrEnum):
    """Why a command was told to end."""

    INTERRUPTED = "interrupted"
    TIMEOUT = "timeout"
    PRUNED = "pruned"


@dataclass
class Orders:
    """What the sweep tells all of its trials; written by a signal handler, read by their threads."""

    stop: str = ""
    """Why they have to end now; empty while they need not."""
    kill: bool = False
    """Whether they have to end without a grace."""
    is_objective_known: bool = False
    """Whether some run of the experiment has said the objective: then a command that does not is to blame."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What all trials of a sweep share."""

    plan: Plan
    objectives: tuple[str, ...]
    """Metrics that a run must have logged to count as finished."""
    environ: Mapping[str, str]
    """Variables that every command gets."""
    logs: Path
    sockets: Path
    guard: Guard
    orders: Orders


class Trial:
    """One attempt at one suggestion; what it shows may be read in any thread."""

    _ids = itertools.count()

    def __init__(self, run: LiveRun, arguments: Sequence[str], setting: Setting, *, number: int = 1) -> None:
        self.run = run
        self.number = number
        """1 for the first attempt with these parameters."""
        self.log = setting.logs / f"{run.id}.log"
        self.last: dict[str, float] = {}
        """Each metric's last value."""
        self.step: int | None = None
        self.began = time.monotonic()
        self.ending: Ending | None = None
        self.exit_code: int | None = None
        self.reason = ""
        self.killed = False
        self.is_misnamed = False
        """Whether the command said metrics, but not the objective, which no run has said: the name must be wrong."""
        self._arguments, self._in = list(arguments), setting
        self._selector = DefaultSelector()
        # Short: the address of a Unix socket has room for about 100 characters.
        self._channel = Channel(setting.sockets / f"{next(self._ids)}.sock", self._selector)
        self._n_attached = 0
        self._lines = {"stdout": Lines(), "stderr": Lines(returns=True)}
        self._tail = ""
        self._meant = ""
        self._kill_at = 0.0
        self._ask_at = 0.0
        self._worth_asking = False
        self._file: IO[bytes] | None = None

    # -- from start to end

    def follow(self) -> None:
        """Run the command to its end, and end the run as it ended."""
        process = None
        self._in.guard.expect(self.run.id)
        try:
            self._file = _opened(self.log)
            process = self._start()
            if process is not None:
                self._in.guard.watch(self.run.id, process.group)
                self._read_on(process)
                self.exit_code = process.exit_code
        except Exception as error:  # a thread's edge: the sweep goes on with the others
            log.exception("run %s could not be followed to its end", self.run.id)
            self.reason = f"the advisor could not follow the command: {error!r:.300}"
        finally:
            if process is not None:
                process.close()
            self._channel.close()
            self._selector.close()
            if self._file is not None:
                self._file.close()
            self._in.guard.forget(self.run.id, None if process is None else process.group)
            self._settle()

    def _start(self) -> Process | None:
        environ = {**self._in.environ, "ADVISOR_CHANNEL": str(self._channel.address), "ADVISOR_RUN_ID": self.run.id}
        environ |= {"ADVISOR_PARAMS": json.dumps(self.run.params), "ADVISOR_TRIAL_SEED": str(self.run.seed)}
        try:
            return Process(self._arguments, environ)
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            self.reason = f"the command could not be started: {self._arguments[0]!r:.200}: {why}"
            return None

    def _read_on(self, process: Process) -> None:
        """Read what the command says until it is over, and end it when it must."""
        pipes = {"stdout": process.stdout, "stderr": process.stderr}
        for name, pipe in pipes.items():
            os.set_blocking(pipe.fileno(), False)
            self._selector.register(pipe, EVENT_READ, name)
        over_at: float | None = None
        while True:
            for key, _ in self._selector.select(POLL_S if pipes or over_at is not None else SOON_S):
                if isinstance(key.data, Channel):
                    key.data.accept()
                    self._n_attached += 1
                elif isinstance(key.data, Connection):
                    self._hear(key.data)
                elif not self._take(key.data, pipes[key.data]):
                    self._selector.unregister(pipes.pop(key.data))
            if over_at is None and process.exit_code is not None:
                over_at = time.monotonic()
                process.send(signal.SIGTERM)  # to what it has left behind
            if over_at is None:
                self._decide(process)
            elif (not pipes and not process.group_lives) or time.monotonic() - over_at > DRAIN_S:
                break
        for name in self._lines:
            self._note_lines(name, self._lines[name].close())
        for key in list(self._selector.get_map().values()):  # what an attached process said last
            if isinstance(key.data, Connection):
                key.data.wait_no_more()
                self._hear(key.data, all_of_it=True)

    def _decide(self, process: Process) -> None:
        """Tell the command to end where it must, and make it end where it does not."""
        now, plan, orders = time.monotonic(), self._in.plan, self._in.orders
        if self.ending is None:
            if orders.stop:
                self._tell_to_end(process, Ending.INTERRUPTED, signal.SIGINT)
            elif plan.timeout_s is not None and now - self.began > plan.timeout_s:
                self._tell_to_end(process, Ending.TIMEOUT, signal.SIGTERM)
            elif plan.prune and self._hopeless(now):
                self._tell_to_end(process, Ending.PRUNED, signal.SIGTERM)
        elif orders.kill or now > self._kill_at:
            process.send(signal.SIGKILL)

    def _tell_to_end(self, process: Process, ending: Ending, number: int) -> None:
        self.ending = ending
        self._kill_at = time.monotonic() + self._in.plan.grace_s
        if ending is Ending.INTERRUPTED and not self.run.state.is_over:
            self.run.tag(INTERRUPTED)  # first: a training that hears of it may end its run by itself
        process.send(number)

    def _hopeless(self, now: float) -> bool:
        """Return whether a command that cannot ask by itself had better stop."""
        if self._n_attached or not self._worth_asking or now < self._ask_at or self.run.state.is_over:
            return False
        self._worth_asking = False
        stop = self.run.should_stop()
        took_s = time.monotonic() - now
        self._ask_at = now + max(ASK_EVERY_S, took_s / ASK_SHARE)
        return stop

    # -- what it says

    def _take(self, name: str, pipe: IO[bytes]) -> bool:
        """Read from a pipe; return whether there may be more."""
        try:
            data = os.read(pipe.fileno(), CHUNK)
        except BlockingIOError:
            return True
        self._note_lines(name, self._lines[name].feed(data))
        return bool(data)

    def _note_lines(self, name: str, lines: Iterator[tuple[bytes, bool]]) -> None:
        for piece, whole in lines:
            self._write(piece)
            text = piece.decode(errors="replace")
            if name == "stderr":
                self._tail = (self._tail + text)[-TAIL_CHARS:]
            elif whole and not self._n_attached:
                self._note_metrics(text)
        if self._file is not None:
            self._file.flush()

    def _note_metrics(self, text: str) -> None:
        objectives = self._in.objectives
        said = read_line(text, objectives[0] if len(objectives) == 1 else None)
        if said is None:
            self._meant = self._meant or (text.strip()[:200] if looks_meant(text) else "")
            return
        self._keep(said.metrics, said.step)

    def _keep(self, metrics: Mapping[str, float], step: int | None) -> None:
        if self.run.state.is_over:
            return
        self.run.log(metrics, step=step)
        self.last.update(metrics)
        self.step = step
        self._worth_asking |= any(name in metrics for name in self._in.objectives)
        self._in.orders.is_objective_known |= not self._missing()

    def _write(self, data: bytes) -> None:
        if self._file is None:
            return
        try:
            self._file.write(data)
        except OSError as error:
            log.warning("the output of run %s is no longer kept in %s: %s", self.run.id, self.log, error.strerror)
            self._file = None

    def _hear(self, connection: Connection, *, all_of_it: bool = False) -> None:
        """Take what an attached process says, and answer."""
        messages = connection.read()
        while messages is not None:
            for message in messages:
                heard = self._answered(message)
                if heard is not None and "question" in message:
                    connection.reply({"question": message["question"], **heard})
            if not all_of_it:
                return
            messages = connection.read()
        self._channel.drop(connection)

    def _answered(self, message: Mapping[str, Any]) -> dict[str, Any] | None:
        op = message.get("op")
        try:
            if op == "log":
                self._keep(message["metrics"], message["step"])
                return None
            if op == "should_stop" and self._in.plan.prune is False:
                return {"stop": False, "reason": "this sweep stops nothing (--no-prune)"}
            if op == "end":
                self._about_to_end(message)
                if message.get("state") == RunState.FINISHED and message.get("values") is None and self._missing():
                    return {}  # ends once the command is over, with a reason
            return answer(self.run, message)
        except (StorageError, OSError) as error:
            return {"error": type(error).__name__, "message": str(error)}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            return {"error": RecordError.__name__, "message": f"the message {op!r:.40} is not understood: {error}"}

    def _about_to_end(self, message: Mapping[str, Any]) -> None:
        if message.get("state") == RunState.PRUNED and self.run.stop_reason:
            self.run.note(f"pruned: {self.run.stop_reason}")

    # -- the end

    def _missing(self) -> list[str]:
        return [name for name in self._in.objectives if name not in self.last]

    def _settle(self) -> None:
        """End the run as the command ended."""
        name = None if self.exit_code is None else signal_of(self.exit_code)
        self.killed = self.ending is Ending.TIMEOUT or (name is not None and self.ending is None)
        try:
            if self.run.state.is_over:  # the training has ended it by itself
                return
            if self.ending is Ending.PRUNED:
                self.run.note(f"pruned: {self.run.stop_reason}")
                self.run.finish(state=RunState.PRUNED)
                return
            state, self.reason = self._verdict(name)
            if state is RunState.FINISHED:
                self.run.finish()
            else:
                tail = f"\n{self._tail.strip()}" if self._tail.strip() else ""
                end(self.run, state, error=scrub(self.reason + tail))
        except RunFinishedError as error:
            self.reason = str(error)
        except StorageError as error:
            log.warning("run %s: %s", self.run.id, error)

    def _verdict(self, killed_by: str | None) -> tuple[RunState, str]:
        """Return how the run ends, and why where it went wrong."""
        if self.ending is Ending.INTERRUPTED:
            return RunState.FAILED, f"{ENDED_BY_HAND}{self._in.orders.stop}"
        if self.ending is Ending.TIMEOUT:
            self.run.tag("timeout")
            return RunState.FAILED, f"the command took longer than {self._in.plan.timeout_s:g} s and was ended"
        if self.reason:
            return RunState.FAILED, self.reason
        if killed_by is not None:
            self.run.tag(KILLED)
            return RunState.CRASHED, f"the command was killed by {killed_by}"
        if self.exit_code:
            lines = self._tail.strip().splitlines()
            last = f": {lines[-1].strip()[:LAST_LINE_CHARS]}" if lines else ""
            return RunState.FAILED, scrub(f"the command ended with exit code {self.exit_code}{last}")
        missing = self._missing()
        if missing:
            self.is_misnamed = bool(self.last) and not self._in.orders.is_objective_known
            if self.is_misnamed:
                self.run.tag(INTERRUPTED)  # says nothing of these parameters, and is not one of those wanted
            return RunState.FAILED, self._never_said(missing[0])
        return RunState.FINISHED, ""

    def _never_said(self, objective: str) -> str:
        said = f"the command ended well, but never said its objective {objective!r}"
        if self._meant:
            return f"{said}; it printed {self._meant!r}, which is no JSON: print(json.dumps(…))"
        if self.last:
            return f"{said}, only {', '.join(sorted(self.last)[:8])}"
        return f'{said}: print a line such as {{"{objective}": 0.41}}, or call advisor.log({{"{objective}": 0.41}})'


def _opened(path: Path) -> IO[bytes] | None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("wb")
    except OSError as error:
        log.warning("the output of a command is not kept in %s: %s", path, error.strerror)
        return None

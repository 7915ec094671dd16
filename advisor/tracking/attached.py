"""A run that another process owns: the trainings that ``advisor optimize`` starts log into it.

The owner, which started the training, has the run's write-ahead log and the store; it listens at a Unix socket that an
environment variable names. What the training says goes there as JSON, one message a line, and what it asks is
answered there, so one process alone writes. ``attach`` is the training's side, ``answer`` the owner's. Leaves out who
listens, see ``advisor.running``.

Invariant: a process attaches once; a second run that it starts is its own.
"""

from __future__ import annotations

import itertools
import json
import logging
import math
import os
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from advisor.config import resolve
from advisor.errors import AdvisorError, ConfigError
from advisor.tracking import run
from advisor.tracking.run import LiveRun, as_float, not_a_number, whole_step
from advisor.tracking.values import plain
from storage.errors import RecordError, RunFinishedError, StorageError, StoreUnavailableError
from storage.records import Finding, FindingState, RunState, Severity

log = logging.getLogger(__name__)

CHANNEL: Final = "ADVISOR_CHANNEL"
"""Variable that names the owner's socket."""
RUN_ID: Final = "ADVISOR_RUN_ID"
"""Variable that names the run."""
SAME: Final = 1e-6
"""How far a parameter may be from what was suggested, relatively: single precision passes, another value does not."""
ADDED: Final = ("run.noted", "run.tagged", "run.data", "run.param", "run.attr")
"""Kinds of events that a training may add to a run that another process owns."""

_attached_in = 0  # the process that has attached, or owns its runs itself


def own_runs() -> None:
    """From now on this process attaches to no run: each that it starts is its own."""
    global _attached_in
    _attached_in = os.getpid()


def attach(
    experiment: str,
    *,
    any_experiment: bool = False,
    params: Mapping[str, Any] | None = None,
    tags: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> LiveRun | None:
    """Return the run that this process was started for; None where there is none, or it was returned before.

    Parameters
    ----------
    experiment
        The experiment that a run is wanted of; of another one only with ``any_experiment``.
    params
        What the training says that it uses. Names that the run lacks are added to it.
    tags, notes
        Words to add to the run.

    Raises
    ------
    ConfigError
        If the training says that it uses other values than the suggested ones.
    AdvisorError
        If the owner is gone.
    """
    address, run_id = os.environ.get(CHANNEL), os.environ.get(RUN_ID)
    if not address or not run_id or _attached_in == os.getpid():
        return None
    link = Link(address)
    hello = link.ask("hello")
    if hello["experiment"] != experiment:
        if not any_experiment:
            log.warning(
                "this process was started for a run of %r; the run of %r is another one",
                hello["experiment"],
                experiment,
            )
            link.close()
            return None
        if experiment != "default":
            log.warning("the run is logged to %r, for which this process was started", hello["experiment"])
    own_runs()
    attached = AttachedRun(link, hello)
    attached.take_over(params or {}, tags=tags, notes=notes)
    attached.sample_machine(resolve().system_metrics)
    return attached


class Link:
    """The connection of a training to the owner of its run; safe in any thread.

    A signal may interrupt a message, and its handler end the run: each message begins on a line of its own, and an
    answer says which question it is for.
    """

    def __init__(self, address: str) -> None:
        self._lock = threading.RLock()
        self._questions = itertools.count()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.connect(address)
        except OSError as error:
            self._socket.close()
            raise AdvisorError(
                f"the program that started this one for a run is gone ({error.strerror}); start it again, or unset "
                f"{CHANNEL} to track a run of your own"
            ) from error
        self._answers = self._socket.makefile("r", encoding="utf-8")

    def tell(self, op: str, **fields: Any) -> None:
        """Say something that has no answer.

        Raises
        ------
        RunFinishedError
            If the owner is gone.
        """
        try:
            with self._lock:
                self._socket.sendall(_line({"op": op, **fields}))
        except OSError as error:
            raise _gone() from error

    def ask(self, op: str, **fields: Any) -> dict[str, Any]:
        """Return the answer to a question.

        Raises
        ------
        RunFinishedError
            If the owner is gone, or says that the run has ended.
        StorageError
            What the owner's own call raised.
        """
        answer: dict[str, Any] = {}
        try:
            with self._lock:
                number = next(self._questions)
                self._socket.sendall(_line({"op": op, "question": number, **fields}))
                while answer.get("question") != number:
                    line = self._answers.readline()
                    if not line:
                        raise _gone()
                    answer = json.loads(line)
        except (OSError, ValueError) as error:
            raise _gone() from error
        if "error" in answer:
            raise _ERRORS.get(answer["error"], StoreUnavailableError)(answer["message"])
        return answer

    def close(self) -> None:
        """Hang up."""
        self._answers.close()
        self._socket.close()


_ERRORS: Final[Mapping[str, type[StorageError]]] = {
    "RunFinishedError": RunFinishedError,
    "RecordError": RecordError,
}


def _line(message: Mapping[str, Any]) -> bytes:
    return b"\n" + json.dumps(message, default=str).encode() + b"\n"


def _gone() -> RunFinishedError:
    return RunFinishedError("the program that owns this run is gone, and the run counts as crashed")


class AttachedRun(LiveRun):
    """A run of which another process keeps the write-ahead log; everything of ``LiveRun`` works.

    Made by ``Experiment.start`` and ``advisor.init`` in a process that ``advisor optimize`` started. Where the process
    ends without ending it, the owner does, by the exit code.
    """

    def __init__(self, link: Link, hello: Mapping[str, Any]) -> None:
        # Not the base's: a write-ahead log, a store and two threads are what the owner has.
        self._link = link
        self._number = None
        self.id = str(hello["run_id"])
        self.experiment = str(hello["experiment"])
        self.params = dict(hello["params"])
        self.seed = hello["seed"]
        self.suggestion_id = hello["suggestion_id"]
        self.started = datetime.fromisoformat(hello["started"])
        self.state = RunState.RUNNING
        self._origin = time.perf_counter()
        self._pid, self._process = os.getpid(), run._process
        self._advised_stop = False
        self.ends_within_s = run.FINISH_WITHIN_S
        self.at_exit = self.finish

    @property
    def number(self) -> int:
        """Which run of its experiment it is, from 0."""
        if self._number is None:
            self._number = int(self._link.ask("number")["number"])
        return self._number

    @property
    def findings(self) -> list[Finding]:
        """What was found wrong so far."""
        return [_finding(each) for each in self._link.ask("findings")["findings"]]

    @property
    def n_not_kept(self) -> int:
        """Log calls that the owner could not keep."""
        return int(self._link.ask("n_not_kept")["n_not_kept"])

    def take_over(self, params: Mapping[str, Any], *, tags: Sequence[str], notes: Sequence[str]) -> None:
        """Take what the training says when it starts the run.

        Raises
        ------
        ConfigError
            If a parameter differs from the suggested one.
        """
        for name, value in plain(params).items():
            if name not in self.params:
                self._add("run.param", name=name, value=value)
                self.params[name] = value
            elif not _same(self.params[name], value):
                raise ConfigError(
                    f"this run was suggested {name} = {self.params[name]!r}, but the program says {name} = {value!r}; "
                    f"use the value on its command line ({{{name}}}), or run.params[{name!r}]"
                )
        if tags:
            self.tag(tags)
        for note in [notes] if isinstance(notes, str) else notes:
            self.note(note)

    def log(self, metrics: Mapping[str, Any] | None = None, *, step: int | None = None, **more: Any) -> None:
        """Keep values of some metrics at one step; see ``LiveRun.log``.

        Returns once the values are handed to the owner: this process may be killed afterwards.

        Raises
        ------
        RunFinishedError
            If the run has ended, or its owner is gone.
        RecordError
            If a value is not a number, or the call comes from a forked process.
        """
        self._check_alive("log to")
        values = {**(metrics or {}), **more}
        try:
            floats = {str(name): as_float(value) for name, value in values.items()}
        except (TypeError, ValueError, OverflowError):
            raise RecordError(not_a_number(values)) from None
        if "" in floats:
            raise RecordError("a metric needs a name, not ''")
        if floats:
            self._advised_stop = False
            self._link.tell("log", metrics=floats, step=None if step is None else whole_step(step))

    def _log_aside(self, metrics: Mapping[str, float], step: int) -> None:
        if not self.state.is_over and os.getpid() == self._pid:
            self._link.tell("aside", metrics=dict(metrics), step=step)

    def save(self, path: str | Path, *, name: str | None = None) -> str:
        """Keep a copy of a file with the run; return its SHA-256. See ``LiveRun.save``."""
        self._check_alive("save to")
        return str(self._link.ask("save", path=str(Path(path).absolute()), name=name)["sha256"])

    def should_stop(self) -> bool:
        """Return whether going on is hardly worth it; see ``LiveRun.should_stop``."""
        self._check_alive("ask")
        answer = self._link.ask("should_stop")
        self.stop_reason = str(answer["reason"])
        self._advised_stop = bool(answer["stop"])
        return self._advised_stop

    def _raise(self, found: Sequence[Finding]) -> None:
        if found:
            self._link.ask("raise", findings=[finding.as_json() for finding in found])

    def _add(self, kind: str, **body: Any) -> None:
        self._check_alive("add to")
        self._link.ask("add", kind=kind, body=body)

    def _end(self, state: RunState, *, values: Sequence[float] | None = None, error: str | None = None) -> None:
        self._check_alive("end")
        values = None if values is None else list(values)
        self._link.ask("end", state=str(state), values=values, error=error)
        self.state = state
        self.sample_machine(0)
        self._link.close()


def _same(suggested: Any, used: Any) -> bool:
    """Return whether a program uses what was suggested, perhaps after it went through a command line."""
    if isinstance(suggested, float) and isinstance(used, int | float):
        return math.isclose(suggested, used, rel_tol=SAME)
    return bool(suggested == used) or str(suggested) == str(used)


def _finding(fields: dict[str, Any]) -> Finding:
    known = {**fields, "severity": Severity(fields["severity"]), "state": FindingState(fields["state"])}
    return Finding(known.pop("finding_id"), **known)


# -- the owner's side


def answer(owned: LiveRun, message: Mapping[str, Any]) -> dict[str, Any] | None:
    """Do what a training says, and return what it hears; None where it waits for nothing.

    Raises
    ------
    RunFinishedError, RecordError, StorageError
        As the run's own methods do.
    """
    op = message.get("op")
    if op == "log":
        owned.log(message["metrics"], step=message["step"])
        return None
    if op == "aside":
        owned._log_aside({str(name): float(value) for name, value in message["metrics"].items()}, int(message["step"]))
        return None
    if op == "hello":
        about = {"run_id": owned.id, "experiment": owned.experiment, "params": owned.params, "seed": owned.seed}
        return {**about, "suggestion_id": owned.suggestion_id, "started": owned.started.isoformat()}
    if op == "number":
        return {"number": owned.number}
    if op == "findings":
        return {"findings": [finding.as_json() for finding in owned.findings]}
    if op == "raise":
        owned._raise([replace(_finding(dict(each)), time=owned._now()) for each in message["findings"]])
        return {}
    if op == "n_not_kept":
        return {"n_not_kept": owned.n_not_kept}
    if op == "save":
        return {"sha256": owned.save(message["path"], name=message["name"])}
    if op == "should_stop":
        return {"stop": owned.should_stop(), "reason": owned.stop_reason}
    if op == "add" and message["kind"] in ADDED:
        owned._add(message["kind"], **message["body"])
        return {}
    if op == "end":
        end(owned, RunState(message["state"]), values=message["values"], error=message["error"])
        return {}
    raise RecordError(f"{str(op)[:60]!r} is nothing that a training may ask of the owner of its run")


def end(owned: LiveRun, state: RunState, *, values: Sequence[float] | None = None, error: str | None = None) -> None:
    """End a run in any state in which one is over, with the reason where it went wrong."""
    owned._end(state, values=values, error=error)

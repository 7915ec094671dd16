"""What is asked of a sweep, and what it gives back: ``Plan``, ``Attempt``, ``Summary``.

Records without any I/O.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from advisor.errors import ConfigError
from storage.records import Run, RunState

if TYPE_CHECKING:
    from advisor.running.trial import Trial

MAX_FAILURES: Final = 10
"""So many failures in a row are no chance: at a true failure rate of one half it happens once in a thousand sweeps."""
GRACE_S: Final = 10.0
"""Time to write a checkpoint after SIGTERM or SIGINT, until SIGKILL."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How a command is run.

    Raises
    ------
    ConfigError
        If a number is out of its range, or nothing says when to stop.
    """

    command: tuple[str, ...]
    """The program and its arguments, with ``{name}`` for parameters."""
    _: KW_ONLY
    n_runs: int | None = None
    """Trials that the command shall have in all, earlier calls and other machines included; None for no bound."""
    more: bool = False
    """Whether ``n_runs`` comes on top of what there is."""
    jobs: int = 1
    """Trials at the same time."""
    timeout_s: float | None = None
    """Seconds that one attempt may take."""
    retries: int = 0
    """Further attempts with the same parameters after one that was killed by a signal or took too long."""
    max_failures: int = MAX_FAILURES
    """Failures in a row after which no more is started."""
    total_time_s: float | None = None
    """Seconds after which no more is started; what runs by then goes on to its end."""
    prune: bool | None = None
    """True ends hopeless commands with SIGTERM, False tells those that ask to go on; None only answers those that ask
    (``run.should_stop()``)."""
    grace_s: float = GRACE_S
    """Seconds between SIGTERM or SIGINT and SIGKILL."""
    sampler: Any = None
    """An Optuna sampler by name or as an object; None takes the advisor's own rule."""
    seed: int | None = None
    """The i-th trial gets ``seed + i`` for its suggestion and its training; drawn afresh where None."""
    logs: Path | None = None
    """Folder of the commands' output; by default ``logs`` in the store's folder."""

    def __post_init__(self) -> None:
        if self.n_runs is None and self.total_time_s is None:
            raise ConfigError("say how many trials (-n 50) or for how long (--total-time 3600)")
        if self.more and self.n_runs is None:
            raise ConfigError("--more adds to a number of trials; say how many: -n 20 --more")
        for name, least in (("n_runs", 1), ("jobs", 1), ("retries", 0), ("max_failures", 1)):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
                raise ConfigError(f"{name} must be a whole number of at least {least}, not {value!r}")
        for name in ("timeout_s", "total_time_s", "grace_s"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, int | float) and 0 < value < math.inf):
                raise ConfigError(f"{name} must be a number of seconds above 0, not {value!r}")


@dataclass(frozen=True, slots=True)
class Attempt:
    """One execution of the command, which is one run."""

    run: Run
    """The run as the store has it."""
    _: KW_ONLY
    number: int
    """1 for the first attempt with these parameters, 2 for the first retry, …"""
    exit_code: int | None
    """What the command returned, negative for a signal, None where it could not be started."""
    reason: str
    """Why it did not finish, in one sentence; empty where it did."""
    log: Path
    """File with its standard output and standard error."""
    killed: bool
    """Whether a signal that nobody here sent, or the time limit, ended it: such ones are retried."""
    interrupted: bool
    """Whether the sweep was interrupted while it ran."""
    retried: bool
    """Whether another attempt with the same parameters follows: the trial is not over."""

    @property
    def failed(self) -> bool:
        """Whether it failed or crashed, and not because the sweep was interrupted."""
        return self.run.state in (RunState.FAILED, RunState.CRASHED) and not self.interrupted


@dataclass(frozen=True, slots=True)
class Summary:
    """What a sweep did."""

    experiment: str
    _: KW_ONLY
    sweep: str
    """Tag of the sweep's runs."""
    attempts: tuple[Attempt, ...]
    """Those of this call, in the order of their ends."""
    n_done: int
    """Trials of the sweep that are over, earlier calls and other machines included."""
    n_wanted: int | None
    """Trials that it shall have; None where there is no bound."""
    best: Run | None
    """The experiment's best run."""
    elapsed_s: float
    stopped: str
    """Why it ended before the wanted number, in one sentence; empty where it did not."""
    interrupted: bool
    too_many_failures: bool

    def count(self, *states: RunState) -> int:
        """Return how many attempts of this call ended in one of some states."""
        return sum(attempt.run.state in states for attempt in self.attempts)

    @property
    def ok(self) -> bool:
        """Whether it went well: failures did not stop it, and unless nothing was left to do, some run came through."""
        good = self.count(RunState.FINISHED, RunState.PRUNED)
        return not self.too_many_failures and (good > 0 or not self.attempts)


class SweepInterrupted(KeyboardInterrupt):
    """A signal ended a sweep; all commands are over, and their runs are in the store.

    Attributes
    ----------
    summary
        What it did until then.
    """

    def __init__(self, summary: Summary) -> None:
        super().__init__(summary.stopped)
        self.summary = summary


class Watcher(Protocol):
    """Hears what happens in a sweep, in the thread that called it."""

    def begin(self, *, n_done: int, n_wanted: int | None, trials: Sequence[Trial]) -> None:
        """Hear how much is done already; ``trials`` are those that run, and change as they do."""
        ...

    def started(self, trial: Trial) -> None:
        """Hear that a command runs."""
        ...

    def ended(self, attempt: Attempt) -> None:
        """Hear how one ended."""
        ...

    def said(self, text: str) -> None:
        """Hear something in plain words."""
        ...

"""Runs a command once a suggestion, several at a time, until there are as many trials as were wanted.

The thread that calls ``run_sweep`` suggests, starts and counts; each command is followed by a thread of its own
(``advisor.running.trial``). The runs of one command on one experiment share a tag, the sweep: by it the same command
line goes on where it stopped, and several machines share the work, with no coordination but the store.

Invariant: when ``run_sweep`` returns or raises, no command that it started is running, and every run is over.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import queue
import secrets
import shlex
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

from advisor.errors import ConfigError, NotEnoughRunsError, SpaceError
from advisor.running.guard import Guard, end_orphans
from advisor.running.plan import Attempt, Plan, Summary, SweepInterrupted, Watcher
from advisor.running.template import Template
from advisor.running.trial import Ending, Orders, Setting, Trial
from advisor.suggest.outcome import INTERRUPTED, KILLED, SWEEP
from advisor.tracking.attached import own_runs
from storage.records import Run, RunState

if TYPE_CHECKING:
    from advisor.app import Advisor
    from advisor.experiment import Experiment
    from advisor.suggest import Space, Suggestion
    from advisor.tracking.run import LiveRun

log = logging.getLogger(__name__)

WAIT_S: Final = 0.5
"""How soon a signal that came while nothing ended is said."""
ONE_SIGNAL_S: Final = 0.5
"""Signals so close together are one: ``timeout`` sends its own twice, to the program and to its group."""
ATTEMPT: Final = "attempt:"
"""How the tag of a retry begins; its number follows."""
UNIX_ADDRESS_MAX: Final = 90
"""Characters that the folder of sockets may have; the address of one has room for 104 on macOS."""


def run_sweep(advisor: Advisor, experiment: Experiment, plan: Plan, *, watcher: Watcher | None = None) -> Summary:
    """Run a command once a suggestion.

    In the main thread, SIGINT, SIGTERM and SIGHUP end it: the commands get SIGINT, after the plan's grace SIGKILL; a
    second signal kills at once.

    Raises
    ------
    ConfigError, SpaceError, NotEnoughRunsError
        If the command or the experiment is not fit for it; then nothing is started.
    SweepInterrupted
        On a signal, once everything is over.
    """
    template, unused, space = _checked(experiment, plan)
    own_runs()
    place = advisor.opening.place
    for run_id in end_orphans(place.work_folder("processes")):
        _say(watcher, f"the command of run {run_id} was still running, its advisor was killed: it is ended now")
    if unused:
        _say(watcher, f"not in the command, but in $ADVISOR_PARAMS and advisor.init().params: {', '.join(unused)}")
    orders = Orders(is_objective_known=_is_said(experiment))
    with (
        _sockets() as sockets,
        closing(Guard(place.work_folder("processes"), str(sockets))) as guard,
        _signals(orders),
    ):
        setting = Setting(
            plan,
            objectives=tuple(objective.metric for objective in experiment.record.objectives),
            environ=_environ(advisor, experiment),
            logs=(plan.logs or place.work_folder("logs")).absolute(),
            sockets=sockets,
            guard=guard,
            orders=orders,
        )
        sweep = _Sweep(experiment, template, setting, watcher, space=space)
        try:
            sweep.go()
        finally:
            sweep.end_all()
        summary = sweep.summary()
    if summary.interrupted:
        raise SweepInterrupted(summary)
    return summary


def tag_of(experiment: Experiment, command: Sequence[str]) -> str:
    """Return the tag that the runs of a command on an experiment share, whoever starts them and whenever."""
    about = json.dumps([experiment.record.number, list(command)])
    return f"{SWEEP}{hashlib.sha256(about.encode()).hexdigest()[:8]}"


# -- before anything starts


def _checked(experiment: Experiment, plan: Plan) -> tuple[Template, list[str], Space]:
    if not experiment.record.objectives:
        raise ConfigError(
            f"experiment {experiment.name!r} has no objective to improve; add --objective METRIC and --direction "
            "minimize or maximize"
        )
    space = experiment.space()[0]
    conditional = [name for name, dimension in space.items() if dimension.when]
    template = Template.parse(plan.command, list(space), conditional=conditional)
    _check_program(template)
    return template, template.unused(list(space)), space


def _is_said(experiment: Experiment) -> bool:
    """Return whether some run has said all objectives."""
    names = {objective.metric for objective in experiment.record.objectives}
    return any(names <= run.summary.keys() for run in experiment.runs())


def _check_program(template: Template) -> None:
    """Refuse a program or a Python script that is not there, where its name holds no parameter."""
    program = template.arguments[0]
    if "{" in program:
        return
    if shutil.which(program) is None:
        what = "is not an executable file" if os.path.exists(program) else "was not found"
        raise ConfigError(f"the program {program!r} {what}; give its path, or the name of one that is installed")
    script = template.arguments[1] if len(template.arguments) > 1 else ""
    is_script = Path(program).name.startswith("python") and script.endswith(".py") and "{" not in script
    if is_script and not os.path.exists(script):
        raise ConfigError(f"there is no script {script!r} in {os.getcwd()}; check its name")


def _environ(advisor: Advisor, experiment: Experiment) -> dict[str, str]:
    folder = advisor.opening.place.folder
    ours = {
        "ADVISOR_STORE": advisor.opening.uri if folder is None else str(folder),
        "ADVISOR_EXPERIMENT": experiment.name,
        # Lines must arrive when they are printed, not when the program ends.
        "PYTHONUNBUFFERED": os.environ.get("PYTHONUNBUFFERED") or "1",
    }
    return {**os.environ, **ours}


@contextmanager
def _sockets() -> Iterator[Path]:
    """Yield a folder of this user's alone, with a short path."""
    folder = tempfile.gettempdir()
    with tempfile.TemporaryDirectory(
        prefix="advisor-", dir=folder if len(folder) < UNIX_ADDRESS_MAX else "/tmp", ignore_cleanup_errors=True
    ) as made:
        yield Path(made)


@contextmanager
def _signals(orders: Orders) -> Iterator[None]:
    """Turn signals into orders while this lasts; outside of the main thread they are left alone."""
    first_at = 0.0

    def ordered(number: int, frame: FrameType | None) -> None:
        nonlocal first_at
        if orders.stop:
            orders.kill |= time.monotonic() - first_at > ONE_SIGNAL_S
        else:
            first_at = time.monotonic()
            orders.stop = f"{signal.Signals(number).name} ended the sweep"

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:  # nohup, and what a shell starts in the background
            signal.signal(number, ordered)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


# -- the sweep


class _Sweep:
    """The state of one call; only the calling thread touches it, trials report through a queue."""

    def __init__(
        self, experiment: Experiment, template: Template, setting: Setting, watcher: Watcher | None, *, space: Space
    ) -> None:
        self._experiment, self._template, self._in, self._watcher = experiment, template, setting, watcher
        self._plan, self._orders, self._space = setting.plan, setting.orders, space
        self._tag = tag_of(experiment, template.arguments)
        self._began = time.monotonic()
        self._over: queue.SimpleQueue[Trial] = queue.SimpleQueue()
        self._trials: list[Trial] = []
        self._threads: dict[Trial, threading.Thread] = {}
        self._tried: dict[Trial, Suggestion | Mapping[str, Any]] = {}
        self._attempts: list[Attempt] = []
        self._reasons: list[str] = []  # of the failures since the last success
        self._stopped = ""
        self._too_many = False
        n_before = self._n_done()
        self._wanted = None if self._plan.n_runs is None else self._plan.n_runs + (n_before if self._plan.more else 0)
        if self._watcher is not None:
            self._watcher.begin(n_done=n_before, n_wanted=self._wanted, trials=self._trials)

    def go(self) -> None:
        """Start and settle until nothing is left to do."""
        self._fill()
        while self._trials:
            try:
                trial = self._over.get(timeout=WAIT_S)
            except queue.Empty:
                self._say_interrupt()
                continue
            self._settle(trial)
            self._fill()
        self._say_interrupt()

    def end_all(self) -> None:
        """End the commands that still run, where an error ended the sweep."""
        if self._trials and not self._orders.stop:
            self._orders.stop = "an error ended the sweep"
        for thread in self._threads.values():
            thread.join()

    def summary(self) -> Summary:
        """Return what was done."""
        return Summary(
            self._experiment.name,
            sweep=self._tag,
            attempts=tuple(self._attempts),
            n_done=self._n_done(),
            n_wanted=self._wanted,
            best=self._experiment.best(),
            elapsed_s=time.monotonic() - self._began,
            stopped=self._stopped,
            interrupted=bool(self._orders.stop),
            too_many_failures=self._too_many,
        )

    # -- starting

    def _fill(self) -> None:
        """Start trials while there is room for them and a reason to."""
        while len(self._trials) < self._plan.jobs and not self._done():
            try:
                if self._take_up():
                    continue
                suggestion = self._suggested()
            except (ConfigError, SpaceError, NotEnoughRunsError) as error:
                if not self._attempts and not self._trials:
                    raise
                self._stop(str(error))
                return
            if self._orders.stop:  # a suggestion may take seconds
                return
            self._start(suggestion)

    def _done(self) -> bool:
        """Return whether no more is to be started."""
        if self._orders.stop or self._stopped:
            return True
        total_s = self._plan.total_time_s
        if total_s is not None and time.monotonic() - self._began >= total_s:
            self._stop(f"the time of {total_s:g} s is over")
            return True
        return self._wanted is not None and self._n_done(with_running=True) >= self._wanted

    def _suggested(self) -> Suggestion:
        seed = None if self._plan.seed is None else self._plan.seed + self._n_done(with_running=True)
        suggestion = self._experiment.suggest(sampler=self._plan.sampler, seed=seed)[0]
        self._arguments(suggestion.params)
        return suggestion

    def _arguments(self, params: Mapping[str, Any], *, run_id: str = "", seed: int = 0) -> list[str]:
        """Return the command with parameters; asked before there is a run, so that none fails for want of a value.

        Raises
        ------
        ConfigError
            If one that it asks for is missing.
        """
        inactive = [name for name in self._template.options if not self._space.is_active(name, params)]
        return self._template.fill(params, run_id=run_id, seed=seed, inactive=inactive)

    def _start(self, suggestion: Suggestion | Mapping[str, Any], *, number: int = 1, seed: int | None = None) -> None:
        if seed is None:
            own = None if self._plan.seed is None or isinstance(suggestion, Mapping) else suggestion.seed
            seed = secrets.randbelow(2**31) if own is None else own
        tags = [self._tag] if number == 1 else [self._tag, f"{ATTEMPT}{number}"]
        self._train(self._experiment.start(suggestion, seed=seed, tags=tags), suggestion, seed=seed, number=number)

    def _take_up(self) -> bool:
        """Start the run that has waited longest; return whether one waited.

        Raises
        ------
        ConfigError
            If the command asks for a parameter that it was queued without; it goes on waiting.
        """
        for waiting in self._experiment.waiting(limit=1):
            try:
                self._arguments(waiting.params)
            except ConfigError as error:
                called = f"{waiting.experiment}#{waiting.number}"
                raise ConfigError(
                    f"run {called} waits to be started first, with parameters of its own: {error}; or take it away: "
                    f"advisor delete {shlex.quote(called)}"
                ) from error
        drawn = secrets.randbelow(2**31)
        seed = drawn if self._plan.seed is None else self._plan.seed + self._n_done(with_running=True)
        run = self._experiment.take_up(seed=seed, tags=[self._tag])
        if run is None:
            return False
        self._train(run, run.params, seed=seed if run.seed is None else run.seed, number=1)
        return True

    def _train(self, run: LiveRun, tried: Suggestion | Mapping[str, Any], *, seed: int, number: int) -> None:
        run.sample_machine(0)  # this process does not train; one that attaches to the run samples its own
        try:
            arguments = self._arguments(run.params, run_id=run.id, seed=seed)
            trial = Trial(run, arguments, self._in, number=number)
        except (ConfigError, OSError) as error:
            run.tag(INTERRUPTED)  # nothing was trained: samplers must not learn that these parameters fail
            run.fail(str(error))
            raise
        # The thread that starts a command stays until it is over: what dies with its parent may mean the thread.
        thread = threading.Thread(target=self._follow, args=(trial,), name=f"advisor-trial-{run.id[:8]}")
        self._trials.append(trial)
        self._threads[trial], self._tried[trial] = thread, tried
        thread.start()
        if self._watcher is not None:
            self._watcher.started(trial)

    def _follow(self, trial: Trial) -> None:
        try:
            trial.follow()
        finally:
            self._over.put(trial)

    # -- settling

    def _settle(self, trial: Trial) -> None:
        """Count how a trial ended, and try again where that is asked for."""
        self._trials.remove(trial)
        self._threads.pop(trial).join()
        tried = self._tried.pop(trial)
        run = self._experiment.run(trial.run.id)
        attempt = Attempt(
            run,
            number=trial.number,
            exit_code=trial.exit_code,
            reason=_reason(trial, run),
            log=trial.log,
            killed=trial.killed,
            interrupted=trial.ending is Ending.INTERRUPTED,
            retried=False,
        )
        attempt = replace(attempt, retried=self._is_retried(trial, attempt))
        self._attempts.append(attempt)
        if self._watcher is not None:
            self._watcher.ended(attempt)
        if not attempt.failed:
            self._reasons = [] if not attempt.interrupted else self._reasons
            return
        self._reasons.append(attempt.reason)
        if trial.is_misnamed:
            self._give_up_misnamed(attempt)
        elif len(self._reasons) >= self._plan.max_failures:
            self._give_up(attempt)
        elif attempt.retried:
            _say(self._watcher, f"run #{run.number} is tried again with the same parameters: {attempt.reason}")
            self._start(tried, number=trial.number + 1, seed=run.seed)

    def _is_retried(self, trial: Trial, attempt: Attempt) -> bool:
        """Return whether an attempt that has just ended is followed by another one."""
        if not (attempt.failed and attempt.killed and attempt.number <= self._plan.retries):
            return False
        gives_up = trial.is_misnamed or len(self._reasons) + 1 >= self._plan.max_failures
        return not (gives_up or self._orders.stop or self._stopped)

    def _give_up(self, last: Attempt) -> None:
        n = len(self._reasons)
        alike = "each time" if len(set(self._reasons)) == 1 else "the last time"
        what = f"{n} failures in a row" if n > 1 else "a failure"
        self._too_many = True
        self._stop(f"{what}, {alike}: {last.reason}; its output is in {last.log}", said=what)

    def _give_up_misnamed(self, last: Attempt) -> None:
        """End what would fail each time: whatever the parameters, the objective is called otherwise."""
        self._too_many = True
        what = "neither did any other run of the experiment, so the next ones are not tried"
        how = "give the objective the name that the command says (--objective NAME), or let the command say it"
        self._stop(f"{last.reason}; {what}: {how}", said="the objective is never said")

    def _stop(self, why: str, *, said: str = "") -> None:
        if not self._stopped:
            self._stopped = why
            _say(self._watcher, f"no more is started: {said or why}")

    def _say_interrupt(self) -> None:
        if self._orders.stop and self._stopped != self._orders.stop:
            self._stopped = self._orders.stop
            if self._trials:
                waiting = f"waiting up to {self._plan.grace_s:g} s for {len(self._trials)} to end; once more kills them"
                _say(self._watcher, f"{self._stopped}: {waiting}")

    # -- counting

    def _n_done(self, *, with_running: bool = False) -> int:
        """Return how many trials of the sweep are over, whoever ran them; retries of one count once.

        What was interrupted does not count, nor what ended because its advisor was killed.
        """
        mine = [run for run in self._experiment.runs() if self._tag in run.tags and not _repeats_own(run)]
        return len({run.suggestion_id or run.id for run in mine if _counts(run, with_running=with_running)})


def _repeats_own(run: Run) -> bool:
    """Return whether a run is the retry of one with parameters that nobody suggested, which counts by itself."""
    return not run.suggestion_id and any(tag.startswith(ATTEMPT) for tag in run.tags)


def _counts(run: Run, *, with_running: bool) -> bool:
    if not run.state.is_over:
        return with_running
    if run.state is RunState.CRASHED:
        return KILLED in run.tags  # recovery says crashed as well, of runs whose advisor was killed
    return run.state is not RunState.FAILED or INTERRUPTED not in run.tags


def _reason(trial: Trial, run: Run) -> str:
    """Return in one sentence why a trial did not finish."""
    if trial.reason or run.state is RunState.FINISHED:
        return trial.reason
    if run.state is RunState.PRUNED:
        return trial.run.stop_reason or "its training ended it as pruned"
    lines = (run.error or "").strip().splitlines()
    return lines[-1] if lines else f"its training ended it as {run.state}"


def _say(watcher: Watcher | None, text: str) -> None:
    if watcher is None:
        log.info("%s", text)
    else:
        watcher.said(text)

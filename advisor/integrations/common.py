"""What the callbacks of all frameworks share: how a run begins, is fed and ends, and who of many processes logs.

A callback holds a ``Session``: the run, and whether the callback began it. Leaves out what a framework calls things.
Invariant: only who began a run ends it, and no trouble with the store ends a training.
"""

from __future__ import annotations

import logging
import math
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from advisor.errors import MissingExtraError, SpaceError
from advisor.integrations.flat import as_param, flat, scalars, whole
from advisor.integrations.processes import RANKS, SilentRun, agreed, process_rank
from advisor.tracking.attached import AttachedRun, attach
from advisor.tracking.run import LiveRun
from storage.errors import RunFinishedError, StoreUnavailableError
from storage.records import Direction, Finding, RunState, Severity

if TYPE_CHECKING:
    from advisor.app import Advisor
    from advisor.experiment import Experiment

__all__ = [
    "RANKS",
    "MissingFrameworkError",
    "Session",
    "SilentRun",
    "agreed",
    "as_param",
    "begin",
    "flat",
    "framework",
    "process_rank",
    "scalars",
    "trains_now",
]

log = logging.getLogger(__name__)

EXPERIMENT: Final = "ADVISOR_EXPERIMENT"
"""Variable that names the experiment where the program does not."""
LOOK_EVERY_S: Final = 1.0
"""Findings are asked for this often at most while a training logs; at once after a value that is not finite."""

LINGERS_S: Final = 30.0
"""How long a run stays open after its training, for an evaluation that follows."""

_handles: dict[tuple[Any, ...], Advisor] = {}
_open: dict[int, Session] = {}
"""Thread → the session of its training, where the framework does not say that an exception ended it, or it lingers."""


class MissingFrameworkError(MissingExtraError, ImportError):
    """The framework that a module is for is not installed."""


def framework(what: str, *names: str, pip: str | None = None) -> Any:
    """Return one of some modules: one that is imported already, or the first that is installed.

    Parameters
    ----------
    what
        The module of this package that needs it, for the message.
    pip
        What to install; the first name where None.

    Raises
    ------
    MissingFrameworkError
        If none is installed.
    """
    for name in sorted(names, key=lambda name: name not in sys.modules):
        if name in sys.modules or find_spec(name.partition(".")[0]) is not None:
            return import_module(name)
    package = pip or names[0].partition(".")[0]
    raise MissingFrameworkError(f"advisor.integrations.{what} needs {package}: pip install {package}")


class Session:
    """A run as a callback holds it.

    Attributes
    ----------
    run
        The run; in processes that are not to log, one that does nothing.
    mine
        Whether the callback began it, and so has to end it.
    why_stopped
        Why the callback stopped the training; empty where it did not.
    """

    def __init__(
        self,
        run: LiveRun,
        *,
        mine: bool,
        on_finding: Callable[[Finding], object] | None = None,
        stop_on_error: bool = False,
    ) -> None:
        self.run, self.mine = run, mine
        self.why_stopped = ""
        self._on_finding = on_finding or say
        self.stop_on_error = stop_on_error
        self._told = {finding.id for finding in run.findings}
        self._look_at = 0.0
        self._error: Finding | None = None
        self._late = False
        self._timer: threading.Timer | None = None
        self._no_end = ""
        self._training: object = None
        if mine:
            run.at_exit = self.finish

    @property
    def findings(self) -> list[Finding]:
        """What was found wrong so far."""
        return self.run.findings

    def add_params(self, params: Mapping[str, Any]) -> None:
        """Add parameters. Of a run that others began, or that follows a suggestion, what is there already stays."""
        fresh = dict(params)
        if not self.mine or isinstance(self.run, AttachedRun) or self.run.suggestion_id:
            for name in self.run.params.keys() & fresh.keys():
                given = fresh.pop(name)
                if given != self.run.params[name]:
                    message = "run %s has %s = %r; that the framework says %r is not kept"
                    log.warning(message, self.run.id, name, self.run.params[name], given)
        if not self._over():
            self.run.add_params(fresh)

    def log(self, metrics: Mapping[str, Any], *, step: int | None = None) -> None:
        """Log the numbers among some values at one step, and tell of findings; says once if the run is over."""
        if self._over():
            return
        values = scalars(metrics)
        try:
            if values:
                self.run.log(values, step=whole(step))
        except RunFinishedError as error:  # it was ended meanwhile, by whoever owns it or after it had lingered
            log.warning("%s", error)
            return
        at_once = not all(map(math.isfinite, values.values()))
        if at_once or time.monotonic() >= self._look_at:
            self.tell_findings()

    def tell_findings(self) -> None:
        """Give what was found since the last time to whoever wants to know."""
        self._look_at = time.monotonic() + LOOK_EVERY_S
        for finding in self.run.findings:
            if finding.id not in self._told:
                self._told.add(finding.id)
                if finding.severity is Severity.ERROR:
                    self._error = self._error or finding
                self._on_finding(finding)

    def should_stop(self, *, advice: bool = True) -> bool:
        """Return whether to stop the training: by the run's advice, or for a finding where that was asked for.

        Parameters
        ----------
        advice
            Whether to ask ``run.should_stop()``, which looks at other runs.
        """
        if self.run.state.is_over:
            return False
        self.why_stopped = ""  # a framework need not follow, a least number of epochs for one
        self.tell_findings()
        if self.stop_on_error and self._error is not None:
            self.why_stopped = f"{self._error.code} {self._error.title}"
            return True
        if advice and self.run.should_stop():
            self.why_stopped = self.run.stop_reason
            return True
        return False

    def resumed(self, run_id: str | None, step: int) -> None:
        """Say that the run goes on from a checkpoint of an earlier one, which cannot be opened again."""
        if run_id == self.run.id or self._over():
            return
        self.run.set_attribute("resumed_from", run_id or "")
        self.run.set_attribute("resumed_at_step", step)
        self.run.note(f"resumed from {f'run {run_id}' if run_id else 'a checkpoint of an unknown run'} at step {step}")

    def unguarded(self, why: str, *, training: object = None) -> None:
        """Have the run fail, for this reason, unless ``finish`` or ``linger`` is called.

        For frameworks that do not say that an exception ended a training. It fails when the same thread begins its
        next one (a thread trains one thing at a time), or when the interpreter ends.

        Parameters
        ----------
        training
            What all callbacks of this training are given, and those of no other one; see ``trains_now``.
        """
        self._training = training
        if self.mine:
            self._no_end = why
            self.run.at_exit = partial(self.fail, why)
            _open[threading.get_ident()] = self

    def linger(self, within_s: float = LINGERS_S) -> None:
        """End the run soon: when another one begins in this thread, the program ends or this time is over.

        What is logged by then, by an evaluation after the training, still belongs to it; see ``stay``.
        """
        self.tell_findings()
        if not self.mine or self.run.state.is_over:
            return
        self.stay()
        self._no_end, self.run.at_exit = "", self.finish
        if isinstance(self.run, AttachedRun) and self.why_stopped:
            self.finish()  # its owner knows only how the program ended
            return
        _open[threading.get_ident()] = self
        self._timer = threading.Timer(within_s, self.finish)
        self._timer.daemon = True
        self._timer.start()

    def stay(self) -> None:
        """Go on: whatever runs now ends the run, or lets it linger again."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def finish(self, *, pruned: bool = False) -> None:
        """End the run: as pruned where its advice to stop was followed, as failed where a finding stopped it."""
        self._let_go()
        if self.run.state.is_over:
            return
        self.tell_findings()
        if not self.mine:
            return
        if self.stop_on_error and self._error is not None and self.why_stopped:
            self.run.fail(f"stopped by the callback: {self.why_stopped}")
        else:
            self.run.finish(state=RunState.PRUNED if pruned or self.why_stopped else RunState.FINISHED)

    def fail(self, reason: str | BaseException) -> None:
        """End the run as failed; of a run that somebody else began, this is somebody else's business."""
        self._let_go()
        if not self.run.state.is_over:
            self.tell_findings()
            if self.mine:
                self.run.fail(reason)

    def end(self, error: BaseException | None) -> None:
        """End the run as the end of a ``with`` block does: failed by an exception, unless it is a good end."""
        if error is None or (isinstance(error, SystemExit) and not error.code):
            self.finish()
        else:
            self.fail(error)

    def _let_go(self) -> None:
        self.stay()
        for thread in [thread for thread, session in list(_open.items()) if session is self]:
            del _open[thread]

    def _over(self) -> bool:
        if not self.run.state.is_over:
            return False
        if not self._late:
            self._late = True
            message = "run %s has ended (%s); what is logged now is not kept: to log longer, begin the run yourself"
            log.warning(message, self.run.id, self.run.state)
        return True


def say(finding: Finding) -> None:
    """Say a finding where warnings go."""
    level = logging.INFO if finding.severity is Severity.INFO else logging.WARNING
    log.log(level, "run %s: %s %s", finding.run_id, finding.code, finding.title)


def begin(
    experiment: str | Experiment | None = None,
    *,
    run: LiveRun | None = None,
    params: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | None = None,
    store: str | Path | None = None,
    objective: str | Sequence[str] | None = None,
    direction: Direction | Sequence[Direction] | None = None,
    seed: int | None = None,
    tags: Sequence[str] = (),
    notes: Sequence[str] = (),
    adopt: bool = True,
    all_ranks: bool = False,
    rank: int | None = None,
    on_finding: Callable[[Finding], object] | None = None,
    stop_on_error: bool = False,
    **settings: Any,
) -> Session:
    """Begin a run, or take one over that goes on already.

    Taken over are, in this order: ``run``; the run of ``advisor.init``, unless another experiment is named; the run
    that ``advisor optimize`` started this process for.

    Parameters
    ----------
    experiment
        By name, or as ``advisor.open(…).experiment(…)`` returned it; by default ``$ADVISOR_EXPERIMENT`` or
        ``default``.
    params
        Parameters that the user gives.
    config
        What the framework knows of the training, already flat. Where both say something, ``params`` count.
    store, objective, direction, settings
        As for ``advisor.init``.
    adopt
        Whether to take over a run of ``advisor.init``; a search that trains again and again needs a run each.
    all_ranks
        Whether each process of a distributed training has a run; by default only the first one.
    rank
        Which process this is for the framework, where it may know more than ``process_rank``.
    on_finding
        Called once with each finding, in the training's thread; by default it is a warning in the log.
    stop_on_error
        Whether ``Session.should_stop`` is true once there is a finding of severity error.

    Raises
    ------
    ConfigError
        If a setting makes no sense, or this process was started with other parameters than ``params``.
    """
    told: dict[str, Any] = {"on_finding": on_finding, "stop_on_error": stop_on_error}
    given, known = flat(params or {}), dict(config or {})
    name = experiment if isinstance(experiment, str | None) else experiment.name
    _end_before()
    if not all_ranks and max(process_rank(), rank or 0) > 0:
        return Session(SilentRun(name or "", {**known, **given}), mine=False, **told)
    taken = run or (_current(name) if adopt else None)
    if taken is not None:
        session = Session(taken, mine=False, **told)
    else:
        handle = None if isinstance(experiment, str | None) else experiment
        chosen = name or os.environ.get(EXPERIMENT, "").strip() or "default"
        attached = attach(chosen, any_experiment=name is None, params=given, tags=tags, notes=notes)
        if attached is None:
            words: dict[str, Any] = {"seed": seed, "tags": tags, "notes": notes}
            goal = {"objective": objective, "direction": direction}
            return Session(
                _started(handle or chosen, {**known, **given}, words, goal, store, settings), mine=True, **told
            )
        session = Session(attached, mine=True, **told)
    session.add_params({**known, **given})
    return session


def _end_before() -> None:
    """End what this thread trained before: it lingers, or an exception that nobody told of has ended it."""
    session = _open.pop(threading.get_ident(), None)
    if session is None or session.run.state.is_over:
        return
    session.run.at_exit()


def trains_now(training: object) -> bool:
    """Return whether this thread trains just this, and a run has begun for it: what a second callback asks first."""
    session = _open.get(threading.get_ident())
    return session is not None and session._training is training and bool(session._no_end)


def _current(name: str | None) -> LiveRun | None:
    from advisor.compat import current

    run = current.going_on()
    return run if run is not None and name in (None, run.experiment) else None


def _started(
    experiment: str | Experiment,
    params: Mapping[str, Any],
    words: Mapping[str, Any],
    goal: Mapping[str, Any],
    store: str | Path | None,
    settings: Mapping[str, Any],
) -> LiveRun:
    try:
        handle = _handle(store, settings).experiment(experiment, **goal) if isinstance(experiment, str) else experiment
        try:
            return handle.start(params=dict(params), **words)
        except SpaceError as error:  # what a framework knows is more than a declared space has, and not to be refused
            log.debug("%s", error)
            started = handle.start(params={}, **words)
            started.add_params(params)
            return started
    except StoreUnavailableError as error:
        if settings.get("strict"):
            raise
        log.error("%s; the training goes on and is NOT tracked", error)
        return SilentRun(experiment if isinstance(experiment, str) else experiment.name, params)


def _handle(store: str | Path | None, settings: Mapping[str, Any]) -> Advisor:
    """Return the store's handle, one for all runs that this process begins in it."""
    from advisor import config
    from advisor.app import open as open_advisor

    given = dict(settings) if store is None else {**settings, "store": str(store)}
    resolved = config.resolve(**given)
    key = (os.getpid(), os.getcwd(), repr(resolved))
    if key not in _handles:
        _handles[key] = open_advisor(store, **settings)
    return _handles[key]

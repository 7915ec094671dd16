"""A run in the hands of a callback: fed, told of, and ended by whoever began it.

A callback holds a ``Session``. Leaves out how a run begins (``common``). Invariant: no trouble with the store ends a
training.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from advisor.integrations.flat import scalars, whole
from advisor.tracking.attached import AttachedRun
from advisor.tracking.run import LiveRun
from storage.errors import RunFinishedError
from storage.records import Finding, RunState, Severity

log = logging.getLogger(__name__)

LOOK_EVERY_S: Final = 1.0
"""Findings are asked for this often at most while a training logs; at once after a value that is not finite."""

LINGERS_S: Final = 30.0
"""How long a run stays open after its training, for an evaluation that follows."""

_open: dict[int, Session] = {}
"""Thread → the session of its training, where the framework does not say that an exception ended it, or it lingers."""


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


def end_before() -> None:
    """End what this thread trained before: it lingers, or an exception that nobody told of has ended it."""
    session = _open.pop(threading.get_ident(), None)
    if session is None or session.run.state.is_over:
        return
    session.run.at_exit()


def trains_now(training: object) -> bool:
    """Return whether this thread trains just this, and a run has begun for it: what a second callback asks first."""
    session = _open.get(threading.get_ident())
    return session is not None and session._training is training and bool(session._no_end)


class HoldsSession:
    """What every callback tells of the run that it feeds; a base beside the framework's own class."""

    _session: Session | None = None

    @property
    def run(self) -> LiveRun | None:
        """The run, None before it begins."""
        return None if self._session is None else self._session.run

    @property
    def findings(self) -> list[Finding]:
        """What was found wrong so far."""
        return [] if self._session is None else self._session.findings

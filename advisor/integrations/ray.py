"""Ray Tune's callback: a run for each trial, logged by the process that drives the trials.

``tune.Tuner(train, run_config=tune.RunConfig(callbacks=[AdvisorLoggerCallback("churn")])).fit()``

The processes that train need nothing of this package. Invariant: each result that Tune hands over is logged once, at
its ``training_iteration``; a trial that is tried again goes on in its run, one that is restored by another program in a
new run that names the former one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from advisor.integrations.common import Session, begin, flat, framework, scalars
from storage.records import Finding

framework("ray", "ray.tune", pip="'ray[tune]'")

from ray.tune.logger import LoggerCallback  # noqa: E402 - what is missing is said in one sentence first
from ray.tune.stopper import Stopper  # noqa: E402

if TYPE_CHECKING:
    from ray.tune.experiment import Trial

ITERATION: Final = "training_iteration"
NOT_METRICS: Final = frozenset(
    {
        ITERATION,
        "iterations_since_restore",
        "time_since_restore",
        "timesteps_since_restore",
        "timestamp",
        "pid",
        "done",
        "should_checkpoint",
        "config",
    }
)
"""What Tune adds to each result for its own book-keeping."""

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class AdvisorLoggerCallback(LoggerCallback, Stopper):
    """Logs each trial of Ray Tune into a run of its own; given as ``stop``, too, it stops those with no prospects.

    A trial that Tune stopped before others counts as pruned, as does one that our advice stopped; one that raised
    counts as failed. Tune does not tell whether a scheduler stopped a trial that was complete: give ``max_t`` where the
    scheduler has one.

    Parameters
    ----------
    experiment
        Name of the experiment, or what ``Advisor.experiment`` returned.
    max_t
        ``training_iteration`` at which a trial is complete, as for ``ASHAScheduler``; None takes the longest so far.
    how
        ``store``, ``objective``, ``direction``, ``on_finding``, ``stop_on_error``, ``tags`` and more: see
        ``advisor.integrations.common.begin``.

    Examples
    --------
    >>> from advisor.integrations.ray import AdvisorLoggerCallback  # doctest: +SKIP
    >>> callback = AdvisorLoggerCallback("churn", objective="loss")  # doctest: +SKIP
    >>> tune.Tuner(train, run_config=tune.RunConfig(callbacks=[callback], stop=callback)).fit()  # doctest: +SKIP
    """

    def __init__(self, experiment: Any = None, *, max_t: int | None = None, **how: Any) -> None:
        self._experiment, self._max_t, self._how = experiment, max_t, how
        self._sessions: dict[str, Session] = {}
        self._run_ids: dict[str, str] = {}
        """Trial → its run, also of programs before this one."""
        self._over: list[Finding] = []
        self._longest = 0
        self._stopped: dict[str, int] = {}
        """Trial → the iteration at which Tune stopped it."""

    @property
    def findings(self) -> list[Finding]:
        """What was found wrong with the trials so far."""
        return [*self._over, *(finding for session in self._sessions.values() for finding in session.findings)]

    # -- what Tune calls

    def log_trial_start(self, trial: Trial) -> None:
        """Begin the run of a trial; one that is tried again goes on."""
        if trial.trial_id in self._sessions:
            return
        how = {"adopt": False, **self._how}
        session = begin(self._experiment, params=flat(trial.config), **how)
        session.run.set_attribute("trial_id", trial.trial_id)
        former = self._run_ids.get(trial.trial_id)
        if former is not None:
            session.resumed(former, int((trial.last_result or {}).get(ITERATION, 0)))
        if session.mine:
            session.run.at_exit = partial(session.fail, "the program ended before the trial did")
        self._sessions[trial.trial_id] = session
        self._run_ids[trial.trial_id] = session.run.id

    def log_trial_result(self, iteration: int, trial: Trial, result: Mapping[str, Any]) -> None:
        """Log the numbers of a result."""
        if trial.trial_id not in self._sessions:
            self.log_trial_start(trial)
        step = int(result.get(ITERATION, iteration))
        values = scalars({name: value for name, value in result.items() if name not in NOT_METRICS})
        self._sessions[trial.trial_id].log(values, step=step)
        if result.get("done") and not _met(trial, {**values, ITERATION: step}):
            self._stopped[trial.trial_id] = step
        self._longest = max(self._longest, step)

    def log_trial_end(self, trial: Trial, failed: bool = False) -> None:
        """End the run of a trial."""
        session = self._sessions.pop(trial.trial_id, None)
        if session is None:
            return
        if failed:
            session.fail(_error(trial))
        else:
            stopped = self._stopped.pop(trial.trial_id, None)
            complete = self._max_t or self._longest
            session.finish(pruned=stopped is not None and stopped < complete)
        self._over += session.findings

    def on_trial_recover(self, iteration: int, trials: Sequence[Trial], trial: Trial, **info: Any) -> None:
        """Note that a trial failed and is tried again."""
        if trial.trial_id in self._sessions:
            self._sessions[trial.trial_id].run.note(f"failed and is tried again: {_error(trial)[-2_000:]}")

    def on_experiment_end(self, trials: Sequence[Trial], **info: Any) -> None:
        """End the runs of trials that the experiment left unfinished, as by a limit of its time."""
        for trial in trials:
            if trial.trial_id in self._sessions:
                self._stopped.setdefault(trial.trial_id, -1)
                self.log_trial_end(trial, failed=trial.status == "ERROR")

    def get_state(self) -> dict[str, Any]:
        """Return which run each trial has, for a program that restores the experiment."""
        return {"run_ids": dict(self._run_ids)}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Take over what ``get_state`` gave."""
        self._run_ids = dict(state["run_ids"])

    def __call__(self, trial_id: str, result: Mapping[str, Any]) -> bool:
        """Return whether to stop a trial: what its run is advised after the results before this one."""
        session = self._sessions.get(trial_id)
        return session is not None and session.should_stop()

    def stop_all(self) -> bool:
        """Return False: the experiment goes on."""
        return False

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy begins with: Tune keeps one to restore the experiment from."""
        state = {**self.__dict__, "_sessions": {}, "_over": [], "_stopped": {}, "_how": dict(self._how)}
        if self._experiment is not None and not isinstance(self._experiment, str):
            state["_experiment"] = self._experiment.name
            state["_how"]["store"] = self._experiment._advisor.opening.uri
        return state


def _met(trial: Trial, result: Mapping[str, float]) -> bool:
    """Return whether a result meets a criterion that was given as ``stop={"loss": …}``: the trial is complete then."""
    return any(result[name] >= limit for name, limit in trial.stopping_criterion.items() if name in result)


def _error(trial: Trial) -> str:
    """Return why a trial failed, in the words that Tune writes beside it."""
    file = trial.error_file
    text = Path(file).read_text(encoding="utf-8", errors="replace") if file and Path(file).is_file() else ""
    return _COLOURS.sub("", text) or "the trial failed, and Ray Tune wrote no error beside it"

"""Optuna's callback: each trial of a study, whatever it is stored in, becomes a run.

``study.optimize(objective, n_trials=50, callbacks=[AdvisorCallback(store="experiments")])``

For a study that stays where it is. To keep the study itself in the store, where trackers, samplers and several
processes share it, use ``advisor.optuna.AdvisorStorage`` instead, and no callback. A run is written when its trial is
over. Invariant: a trial is known by its study, its number and its start, so it is recorded once, whoever records it.
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from advisor.errors import ConfigError
from advisor.integrations.common import framework, say
from advisor.integrations.recorded import Recorded, experiment_for, look_at, record_runs
from advisor.tracking.values import plain
from storage.errors import StoreUnavailableError
from storage.records import Finding, Run

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial

    from advisor.experiment import Experiment

log = logging.getLogger(__name__)

NAMESPACE: Final = uuid.UUID("5b1d1c52-9a35-4b53-8a3c-6f1c9d6b0a11")
"""Under which the ids of trials' runs are made."""


class AdvisorCallback:
    """Records every trial that ends, and on its first call those that had ended before.

    Parameters
    ----------
    experiment
        Name of the experiment, or one; by default the study's name.
    store
        Address of the store; by default as for ``advisor.open``.
    import_existing
        Whether trials that the study had before are recorded, too.
    stop_study
        Whether to end ``study.optimize`` once further trials are not worth while (``Experiment.stop_advice``). It
        counts the runs of the experiment, and says nothing before 50 of them.
    on_finding
        Called with each finding.

    Attributes
    ----------
    findings
        What was found wrong with the trials that this callback recorded.
    stop_reason
        The last advice in words, where ``stop_study`` asked for it.

    Raises
    ------
    ConfigError
        When called, if the study is kept in this very store, or has other directions than the experiment.

    Examples
    --------
    >>> import optuna
    >>> from advisor.integrations.optuna import AdvisorCallback
    >>> study = optuna.create_study(study_name="bowl")  # doctest: +SKIP
    >>> study.optimize(objective, n_trials=20, callbacks=[AdvisorCallback(store="experiments")])  # doctest: +SKIP
    """

    def __init__(
        self,
        experiment: str | Experiment | None = None,
        *,
        store: str | Path | None = None,
        import_existing: bool = True,
        stop_study: bool = False,
        on_finding: Callable[[Finding], object] | None = None,
        **settings: Any,
    ) -> None:
        self._given, self._store, self._settings = experiment, store, settings
        self._import_existing, self._stop_study, self._on_finding = import_existing, stop_study, on_finding or say
        self._lock = threading.Lock()  # study.optimize(n_jobs=…) calls from several threads
        self._experiments: dict[str, Experiment] = {}  # by study
        self._missed: dict[str, list[FrozenTrial]] = {}  # by study, what the store did not take
        self.findings: list[Finding] = []
        self.stop_reason = ""

    def __call__(self, study: Study, trial: FrozenTrial) -> None:
        """Record a trial that is over; Optuna calls this. Trouble with the store does not end the study."""
        name = study.study_name
        with self._lock:
            trials = [*self._missed.pop(name, ()), trial]
            if name not in self._experiments and self._import_existing:
                trials = study.get_trials(deepcopy=False)
            try:
                experiment = self._of(study)
                self._record(study, experiment, trials)
                if self._stop_study:
                    self._stop_where_advised(study, experiment)
            except StoreUnavailableError as error:
                if self._settings.get("strict"):
                    raise
                self._missed[name] = trials
                log.error("trial %d is not recorded: %s; it is tried again after the next one", trial.number, error)

    def _stop_where_advised(self, study: Study, experiment: Experiment) -> None:
        advice = experiment.stop_advice()
        self.stop_reason = advice.reason
        if advice.stop:
            study.stop()

    def record(self, study: Study) -> list[Run]:
        """Record all trials of a study that are over and not in the store yet; return their runs.

        For a study that was optimised without the callback, and for a trial that raised: Optuna calls no callback then.
        """
        with self._lock:
            return self._record(study, self._of(study), study.get_trials(deepcopy=False))

    def _record(self, study: Study, experiment: Experiment, trials: Iterable[FrozenTrial]) -> list[Run]:
        over = {trial.number: trial for trial in trials if trial.state.is_finished()}
        runs = record_runs(experiment, [_recorded(study.study_name, trial) for trial in over.values()])
        found = look_at(experiment, runs)
        self.findings += found
        for finding in found:
            self._on_finding(finding)
        return runs

    def _of(self, study: Study) -> Experiment:
        """Return the experiment of a study, made where there is none."""
        known = self._experiments.get(study.study_name)
        if known is None:
            from advisor.suggest.trials import default_metric_names, objectives_json

            names = study.metric_names or default_metric_names(len(study.directions))
            goals: Any = objectives_json(names, study.directions)
            known = experiment_for(
                self._given or study.study_name,
                objectives=[(goal["metric"], goal["direction"]) for goal in goals],
                store=self._store,
                settings=self._settings,
            )
            _refuse_same_store(study, known)
            self._experiments[study.study_name] = known
        return known


def _recorded(study: str, trial: FrozenTrial) -> Recorded:
    """Return a trial as a run; what Optuna keeps of it is all there."""
    from advisor.suggest.trials import TO_RUN_STATE

    state = TO_RUN_STATE[trial.state]
    body: dict[str, Any] = {
        "state": str(state),
        "params": plain(trial.params),
        "distributions": _distributions(trial),
        "values": list(trial.values or ()),
        "source": "optuna",
        "user_attrs": plain(trial.user_attrs),
        "system_attrs": plain(trial.system_attrs),
        "reports": {str(step): value for step, value in trial.intermediate_values.items()},
        "started": _utc(trial.datetime_start),
        "ended": _utc(trial.datetime_complete),
        "meta": {"study": study, "trial": trial.number},
    }
    if trial.state.name == "FAIL":
        body["error"] = "the trial failed; Optuna keeps no reason"
    return Recorded(_run_id(study, trial), body=body)


def _run_id(study: str, trial: FrozenTrial) -> str:
    # The start tells studies apart that have a name in common, as those in memory do each time a program runs.
    # It is taken as Optuna keeps it, without a zone: the same for programs in different zones.
    return uuid.uuid5(NAMESPACE, f"{study}\n{trial.number}\n{trial.datetime_start}").hex


def _distributions(trial: FrozenTrial) -> dict[str, str]:
    """Return distributions as Optuna writes them; choices that are no JSON have none."""
    distributions = framework("optuna", "optuna.distributions")
    found: dict[str, str] = {}
    for name, distribution in trial.distributions.items():
        try:
            found[name] = distributions.distribution_to_json(distribution)
        except TypeError:
            continue
    return found


def _refuse_same_store(study: Study, experiment: Experiment) -> None:
    from advisor.suggest.optuna_storage import AdvisorStorage

    storage = study._storage
    if isinstance(storage, AdvisorStorage) and storage._store.uri == experiment._advisor.store.uri:
        raise ConfigError(
            f"study {study.study_name!r} is kept in {storage._store.uri} already, where each trial is a run; leave the "
            "callback out, or give it another store=…"
        )


def _utc(time: datetime | None) -> str | None:
    """Return Optuna's naive local time in UTC."""
    return None if time is None else time.astimezone(UTC).isoformat()

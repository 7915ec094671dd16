"""An experiment as a study in another storage of Optuna's.

Imports Optuna as it loads; only the export loads it. A trial is made of a run as ``AdvisorStorage`` shows it, so Optuna
programs see the same through the store and in the copy.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import optuna
from optuna.exceptions import DuplicatedStudyError, OptunaError
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy.exc import SQLAlchemyError

from advisor.errors import ConfigError
from advisor.suggest.optuna_storage import AdvisorStorage
from advisor.suggest.trials import METRIC_NAMES
from storage.records import Experiment, Run
from storage.store import RunStore

RUN_ID: Final = "advisor:run_id"
SUGGESTION: Final = "advisor:suggestion_id"


@dataclass
class Written:
    """What became of one experiment."""

    n_waiting: int = 0
    """Open suggestions that are enqueued trials now."""
    left_out: Counter[str] = field(default_factory=Counter)
    """Sentence with ``{n}`` → how often."""


@contextmanager
def open_storage(where: str) -> Iterator[BaseStorage]:
    """Open a storage of Optuna's by its address, or a journal file by its path.

    Raises
    ------
    ConfigError
        If it cannot be opened.
    """
    try:
        if "://" in where:
            storage: BaseStorage = optuna.storages.RDBStorage(where)
        else:
            storage = JournalStorage(JournalFileBackend(where))
    except (OptunaError, SQLAlchemyError, ImportError, OSError, ValueError) as error:
        raise ConfigError(
            f"{where!r} cannot be opened as a storage of Optuna's: {' '.join(str(error).split())[:200]}; "
            "give a folder, a journal file (….log), or an address such as sqlite:///study.db"
        ) from error
    try:
        yield storage
    finally:
        if isinstance(storage, optuna.storages.RDBStorage):
            storage.remove_session()
            storage.engine.dispose()


def write_study(
    storage: BaseStorage,
    store: RunStore,
    record: Experiment,
    runs: Sequence[Run],
    waiting: Sequence[tuple[str, Mapping[str, Any]]],
) -> Written:
    """Write an experiment's runs as trials, and its open suggestions as enqueued ones.

    Raises
    ------
    ConfigError
        If the storage has a study of that name with other directions.
    """
    out = Written()
    source = AdvisorStorage(store)
    study_id = source.get_study_id_from_name(record.name)
    directions = source.get_study_directions(study_id)
    if directions == [optuna.study.StudyDirection.NOT_SET]:
        directions = [optuna.study.StudyDirection.MINIMIZE]
        out.left_out["experiments without an objective are minimised in Optuna, which needs a direction: {n}"] += 1
    with _quiet():
        study = _study(storage, record.name, directions)
        for key, value in source.get_study_user_attrs(study_id).items():
            study.set_user_attr(key, value)
        if record.objectives:
            names = [objective.metric for objective in record.objectives]
            storage.set_study_system_attr(study._study_id, METRIC_NAMES, names)  # as Study.set_metric_names does
        known = {
            trial.user_attrs.get(key) for trial in study.get_trials(deepcopy=False) for key in (RUN_ID, SUGGESTION)
        }
        trials = {trial.number: trial for trial in source.get_all_trials(study_id, deepcopy=False)}
        for run in runs:
            if run.id not in known and run.number in trials:
                trial = _trial(run, trials[run.number], out)
                if trial is not None:
                    study.add_trial(trial)
        for suggestion_id, params in waiting:
            if suggestion_id not in known:
                study.enqueue_trial(dict(params), user_attrs={SUGGESTION: suggestion_id})
                out.n_waiting += 1
    return out


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Optuna from announcing each study and each enqueued trial."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


def _study(storage: BaseStorage, name: str, directions: Sequence[Any]) -> optuna.Study:
    try:
        return optuna.create_study(storage=storage, study_name=name, directions=directions)
    except DuplicatedStudyError:
        study = optuna.load_study(storage=storage, study_name=name)
        if list(study.directions) != list(directions):
            raise ConfigError(
                f"there is a study {name!r} with other directions; export to another place, or delete that study"
            ) from None
        return study


def _trial(run: Run, shown: FrozenTrial, out: Written) -> FrozenTrial | None:
    """Return a trial that another storage takes; None of a run that goes on, which nobody there would end."""
    if shown.state is TrialState.RUNNING:
        out.left_out["{n} runs still go on and were left out: in Optuna nobody would end them"] += 1
        return None
    attrs = {**shown.user_attrs, RUN_ID: run.id, "advisor:state": str(run.state)}
    if any(math.isnan(value) for value in run.values):
        attrs["advisor:values"] = [str(value) for value in run.values]
        out.left_out["{n} runs with a NaN objective are failed trials, since Optuna takes no NaN for a value"] += 1
    lost = [name for name in run.params if name not in shown.params]
    if lost:
        attrs["advisor:params"] = {name: run.params[name] for name in lost}
        out.left_out["{n} runs have parameters that no distribution of Optuna's holds; they are attributes"] += 1
    if run.tags or run.notes:
        attrs |= {"advisor:tags": list(run.tags), "advisor:notes": list(run.notes)}
    if run.seed is not None:
        attrs["advisor:seed"] = run.seed
    trial = create_trial(
        state=shown.state,
        values=shown.values,
        params=dict(shown.params),
        distributions=dict(shown.distributions),
        user_attrs=attrs,
        system_attrs=dict(shown.system_attrs),
        intermediate_values=dict(shown.intermediate_values),
    )
    trial.datetime_start, trial.datetime_complete = shown.datetime_start, shown.datetime_complete
    return trial

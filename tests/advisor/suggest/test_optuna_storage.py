from __future__ import annotations

import math
import pickle
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from optuna.exceptions import UpdateFinishedTrialError
from optuna.study import StudyDirection
from optuna.testing.pytest_storages import StorageTestCase
from optuna.trial import TrialState

from advisor.optuna import AdvisorStorage
from storage import open_store
from storage.records import Curve, CurveChunk, Event, RunState
from storage.store import RunStore


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RunStore]:
    opened = open_store(tmp_path / "store")
    yield opened
    opened.close()


class TestOptunasContract(StorageTestCase):
    @pytest.fixture
    def storage(self, store: RunStore) -> AdvisorStorage:
        return AdvisorStorage(store)


def _objective(trial: optuna.Trial) -> float:
    x = trial.suggest_float("x", -5, 5)
    kind = trial.suggest_categorical("kind", ["a", "b"])
    trial.report(x**2, 0)
    if kind == "b" and x > 4:
        raise optuna.TrialPruned
    return x**2 + (kind == "b")


def test_an_optuna_program_runs_on_a_folder_and_leaves_runs_in_the_store(tmp_path: Path) -> None:
    storage = AdvisorStorage(tmp_path / "store")
    study = optuna.create_study(storage=storage, study_name="demo", sampler=optuna.samplers.TPESampler(seed=0))
    study.optimize(_objective, n_trials=15)
    store = open_store(tmp_path / "store")
    runs = store.runs("demo")
    assert len(runs) == 15
    assert {run.source for run in runs} == {"optuna"}
    assert min(run.values[0] for run in runs if run.state is RunState.FINISHED) == study.best_value
    assert [objective.metric for objective in store.experiment("demo").objectives] == ["value"]
    store.close()


def test_runs_of_a_failing_or_nan_objective_are_failed_trials(store: RunStore) -> None:
    study = optuna.create_study(storage=AdvisorStorage(store), study_name="demo")
    study.optimize(lambda trial: math.nan, n_trials=1)
    study.optimize(lambda trial: 1 / 0, n_trials=1, catch=ZeroDivisionError)
    assert [trial.state for trial in study.trials] == [TrialState.FAIL, TrialState.FAIL]
    assert {run.state for run in store.runs("demo")} == {RunState.FAILED}


def _tracked(store: RunStore, n: int, *, space: bool) -> None:
    declared = {"lr": {"type": "float", "low": 1e-5, "high": 1.0, "log": True, "step": None}} if space else None
    store.append(
        [
            Event.new(
                "experiment.created",
                "tracked",
                objectives=[{"metric": "loss", "direction": "minimize"}],
                reduce="last",
                space=declared,
            )
        ]
    )
    for i in range(n):
        run_id = f"run{i}"
        store.append_curves(
            [CurveChunk(run_id, metric="loss", chunk=0, through=2, steps=[0, 1], values=[2.0, 1.0 + i])]
        )
        summary = {"loss": Curve.of("loss", [0, 1], [2.0, 1.0 + i]).summary()}
        store.append(
            [
                Event.new("run.created", "tracked", run_id, state="running", params={"lr": 10.0 ** -(i % 5)}),
                Event.new("run.state", "tracked", run_id, state="finished", summary=summary),
            ]
        )


@pytest.mark.parametrize("space", [True, False])
def test_tracked_runs_are_trials_to_learn_from(store: RunStore, space: bool) -> None:
    _tracked(store, 12, space=space)
    study = optuna.load_study(study_name="tracked", storage=AdvisorStorage(store))
    assert study.best_value == 1.0
    assert study.metric_names == ["loss"]
    assert study.trials[3].intermediate_values == {0: 2.0, 1: 4.0}
    assert len({str(trial.distributions["lr"]) for trial in study.trials}) == 1
    found = study.ask(fixed_distributions={"lr": study.trials[0].distributions["lr"]})
    assert 1e-6 < found.params["lr"] < 10
    assert study.tell(found, 0.5).state == TrialState.COMPLETE


def test_a_finished_run_with_a_nan_objective_is_a_failed_trial_and_keeps_its_nan(store: RunStore) -> None:
    _tracked(store, 1, space=True)
    store.append([Event.new("run.created", "tracked", "odd", state="finished", params={"lr": 0.1}, values=[math.nan])])
    study = optuna.load_study(study_name="tracked", storage=AdvisorStorage(store))
    assert study.trials[1].state == TrialState.FAIL
    assert math.isnan(store.run("odd").values[0])


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_metric_names_become_the_names_of_the_objectives(store: RunStore) -> None:
    study = optuna.create_study(storage=AdvisorStorage(store), study_name="two", directions=["minimize", "maximize"])
    assert [objective.metric for objective in store.experiment("two").objectives] == ["value_0", "value_1"]
    study.set_metric_names(["loss", "accuracy"])
    objectives = store.experiment("two").objectives
    assert [(each.metric, each.direction) for each in objectives] == [("loss", "minimize"), ("accuracy", "maximize")]


def test_only_one_of_two_claims_a_waiting_trial(store: RunStore) -> None:
    one, two = AdvisorStorage(store), pickle.loads(pickle.dumps(AdvisorStorage(store)))
    study_id = one.create_new_study([StudyDirection.MINIMIZE], "queue")
    trial_id = one.create_new_trial(study_id, optuna.trial.create_trial(state=TrialState.WAITING))
    assert [each.set_trial_state_values(trial_id, TrialState.RUNNING) for each in (one, two)] == [True, False]
    one.set_trial_state_values(trial_id, TrialState.COMPLETE, [1.0])
    with pytest.raises(UpdateFinishedTrialError, match="is finished and cannot change"):
        two.set_trial_state_values(trial_id, TrialState.COMPLETE, [2.0])


def test_an_experiment_without_an_objective_has_trials_and_no_best_one(store: RunStore) -> None:
    store.append([Event.new("experiment.created", "aimless")])
    store.append([Event.new("run.created", "aimless", run_id, state="finished", params={"x": 1}) for run_id in "ab"])
    study = optuna.load_study(study_name="aimless", storage=AdvisorStorage(store))
    assert [(trial.state, trial.values) for trial in study.trials] == [(TrialState.FAIL, None)] * 2
    with pytest.raises(ValueError, match="No trials are completed yet"):
        _ = study.best_trial


def test_threads_share_one_storage(store: RunStore) -> None:
    study = optuna.create_study(storage=AdvisorStorage(store), study_name="threads")
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=16, n_jobs=4)
    assert [trial.number for trial in study.trials] == list(range(16))
    assert len({trial.params["x"] for trial in study.trials}) == 16


def test_attributes_whose_names_look_secret_are_redacted(tmp_path: Path) -> None:
    study = optuna.create_study(storage=AdvisorStorage(tmp_path / "store"), study_name="s")
    study.set_user_attr("api_token", "canary")
    trial = study.ask()
    trial.set_user_attr("password", "canary")
    assert study.user_attrs == {"api_token": "[redacted]"}
    assert study.trials[0].user_attrs == {"password": "[redacted]"}

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

import advisor
from advisor.errors import ConfigError
from advisor.integrations.optuna import AdvisorCallback
from advisor.optuna import AdvisorStorage
from storage.records import Run, RunState


@pytest.fixture(autouse=True)
def quiet() -> Any:
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    yield
    optuna.logging.set_verbosity(before)


def objective(trial: optuna.Trial) -> float:
    x = trial.suggest_float("x", 1e-3, 10, log=True)
    kind = trial.suggest_categorical("kind", ["a", "b", None])
    n = trial.suggest_int("n", 1, 9, step=2)
    for step in range(4):
        trial.report(x + n / (step + 1), step)
    trial.set_user_attr("note", {"kind": kind})
    if trial.number == 3:
        raise optuna.TrialPruned
    if trial.number == 4:
        raise ValueError("no luck")
    if trial.number == 5:
        return math.nan
    return x + n


def study_of(**given: Any) -> optuna.Study:
    return optuna.create_study(**{"study_name": "bowl", "sampler": optuna.samplers.RandomSampler(seed=0), **given})


def runs_in(store: Path, experiment: str = "bowl") -> list[Run]:
    with advisor.open(store) as adv:
        return adv.experiment(experiment, create=False).runs()


STATES = {
    TrialState.COMPLETE: RunState.FINISHED,
    TrialState.PRUNED: RunState.PRUNED,
    TrialState.FAIL: RunState.FAILED,
}


def assert_same(run: Run, trial: FrozenTrial) -> None:
    assert run.state is STATES[trial.state]
    assert dict(run.params) == trial.params
    assert {name: optuna.distributions.json_to_distribution(text) for name, text in run.distributions.items()} == (
        trial.distributions
    )
    assert list(run.values) == list(trial.values or ())
    reported = dict(run.reports)
    assert list(reported) == list(trial.intermediate_values)
    assert all(
        value == reported[step] or (math.isnan(value) and math.isnan(reported[step]))
        for step, value in trial.intermediate_values.items()
    )
    assert run.user_attrs == trial.user_attrs
    assert run.system_attrs == trial.system_attrs
    assert run.started is not None
    assert trial.datetime_start is not None
    assert run.started.timestamp() == trial.datetime_start.timestamp()
    assert run.duration_s == trial.duration.total_seconds()  # type: ignore[union-attr]


def test_each_trial_becomes_a_run_with_all_that_optuna_keeps_of_it(tmp_path: Path) -> None:
    study = study_of(direction="maximize")
    study.optimize(objective, n_trials=8, callbacks=[AdvisorCallback(store=tmp_path)], catch=ValueError)
    runs = runs_in(tmp_path)
    assert len(runs) == 8
    assert {run.state for run in runs} == {RunState.FINISHED, RunState.PRUNED, RunState.FAILED}
    for run, trial in zip(runs, study.trials, strict=True):
        assert_same(run, trial)
    with advisor.open(tmp_path) as adv:
        experiment = adv.experiment("bowl", create=False)
        (goal,) = experiment.record.objectives
        assert (goal.metric, goal.direction) == ("value", "maximize")
        best = experiment.best()
        assert best is not None
        assert best.number == study.best_trial.number
        assert best.curve("value").values.tolist() == list(study.best_trial.intermediate_values.values())


def test_trials_that_were_there_before_are_recorded_once(tmp_path: Path) -> None:
    file = optuna.storages.journal.JournalFileBackend(str(tmp_path / "study.log"))
    storage = optuna.storages.JournalStorage(file)
    study = study_of(storage=storage)
    study.optimize(objective, n_trials=3)
    for _ in range(2):  # as if the program were started twice
        again = study_of(storage=storage, load_if_exists=True)
        again.optimize(objective, n_trials=2, callbacks=[AdvisorCallback(store=tmp_path / "store")], catch=ValueError)
    runs = runs_in(tmp_path / "store")
    assert len(runs) == 7
    for run, trial in zip(runs, study.trials, strict=True):
        assert_same(run, trial)


def test_without_import_existing_only_new_trials_are_recorded(tmp_path: Path) -> None:
    study = study_of()
    study.optimize(objective, n_trials=2)
    callback = AdvisorCallback(store=tmp_path, import_existing=False)
    study.optimize(objective, n_trials=1, callbacks=[callback])
    assert [run.meta["trial"] for run in runs_in(tmp_path)] == [2]
    assert [run.meta["trial"] for run in callback.record(study)] == [0, 1]
    assert callback.record(study) == []


def test_studies_in_memory_that_share_a_name_add_up(tmp_path: Path) -> None:
    for _ in range(2):
        study_of().optimize(objective, n_trials=2, callbacks=[AdvisorCallback(store=tmp_path)])
    assert len(runs_in(tmp_path)) == 4


def test_a_trial_whose_error_ends_the_study_is_recorded_on_request(tmp_path: Path) -> None:
    study = study_of()
    callback = AdvisorCallback(store=tmp_path)
    with pytest.raises(ValueError, match="no luck"):
        study.optimize(objective, n_trials=8, callbacks=[callback])
    assert len(runs_in(tmp_path)) == 4
    (run,) = callback.record(study)
    assert run.state is RunState.FAILED
    assert run.error is not None


def test_several_objectives_keep_their_names_and_directions(tmp_path: Path) -> None:
    study = study_of(directions=["minimize", "maximize"])
    with pytest.warns(optuna.exceptions.ExperimentalWarning):
        study.set_metric_names(["loss", "speed"])
    study.optimize(
        lambda trial: (trial.suggest_float("x", 0, 1), trial.number),
        n_trials=3,
        callbacks=[AdvisorCallback("tradeoff", store=tmp_path)],
    )
    runs = runs_in(tmp_path, "tradeoff")
    assert [list(run.values) for run in runs] == [trial.values for trial in study.trials]
    with advisor.open(tmp_path) as adv:
        goals = adv.experiment("tradeoff").record.objectives
    assert [(goal.metric, goal.direction) for goal in goals] == [("loss", "minimize"), ("speed", "maximize")]


def test_a_reported_value_that_is_no_number_is_kept_and_told_with_its_trial(tmp_path: Path) -> None:
    def diverges(trial: optuna.Trial) -> float:
        trial.report(1.0, 0)
        trial.report(math.nan if trial.number == 1 else 0.5, 1)
        return math.nan if trial.number == 1 else 0.5

    told: list[tuple[str, str]] = []
    study = study_of()
    callback = AdvisorCallback(store=tmp_path, on_finding=lambda finding: told.append((finding.code, finding.run_id)))
    study.optimize(diverges, n_trials=3, callbacks=[callback])
    runs = runs_in(tmp_path)
    for run, trial in zip(runs, study.trials, strict=True):
        assert_same(run, trial)
    assert ("ADV101", runs[1].id) in told
    assert {run_id for _, run_id in told} == {runs[1].id}
    assert [finding.code for finding in runs[1].findings] == [finding.code for finding in callback.findings]


def test_threads_of_one_study_record_each_trial_once(tmp_path: Path) -> None:
    study = study_of()
    study.optimize(objective, n_trials=12, n_jobs=4, callbacks=[AdvisorCallback(store=tmp_path)], catch=ValueError)
    runs = runs_in(tmp_path)
    assert sorted(run.meta["trial"] for run in runs) == list(range(12))


def test_a_store_that_cannot_be_reached_does_not_end_the_study_and_gets_the_trials_later(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    in_the_way = tmp_path / "disk"
    in_the_way.write_text("not mounted yet")

    def repaired_later(trial: optuna.Trial) -> float:
        if trial.number == 2:
            in_the_way.unlink()
        return 1.0

    study = study_of()
    study.optimize(
        repaired_later, n_trials=4, callbacks=[AdvisorCallback(store=in_the_way / "store", import_existing=False)]
    )
    assert [run.meta["trial"] for run in runs_in(in_the_way / "store")] == [0, 1, 2, 3]
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]
    assert "trial 1 is not recorded" in caplog.text


def test_attributes_and_choices_that_are_no_json_do_not_stop_the_study(tmp_path: Path) -> None:
    def odd(trial: optuna.Trial) -> float:
        trial.set_user_attr("api_key", "sk-123")
        trial.set_user_attr("model", object())
        trial.suggest_categorical("activation", [math.sin, math.cos])  # type: ignore[list-item]
        return 1.0

    with pytest.warns(UserWarning, match="Choices for a categorical distribution"):
        study_of().optimize(odd, n_trials=1, callbacks=[AdvisorCallback(store=tmp_path)])
    (run,) = runs_in(tmp_path)
    assert "sin" in run.params["activation"] or "cos" in run.params["activation"]
    assert run.user_attrs["api_key"] == "[redacted]"
    assert not run.distributions


def test_a_study_that_lives_in_the_store_needs_no_callback_and_is_told_so(tmp_path: Path) -> None:
    study = study_of(storage=AdvisorStorage(tmp_path))
    with pytest.raises(ConfigError, match="leave the callback out"):
        study.optimize(objective, n_trials=1, callbacks=[AdvisorCallback(store=tmp_path)])


def test_an_experiment_with_another_direction_is_not_mixed_up(tmp_path: Path) -> None:
    with advisor.open(tmp_path) as adv:
        experiment = adv.experiment("bowl", objective="accuracy", direction="maximize")
        with pytest.raises(ConfigError, match="about maximize"):
            study_of().optimize(objective, n_trials=1, callbacks=[AdvisorCallback(experiment)])


def test_a_search_that_is_not_worth_while_any_more_ends_the_study(tmp_path: Path) -> None:
    callback = AdvisorCallback(store=tmp_path, stop_study=True, import_existing=True)
    study = study_of()
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1) * 0 + 1.0, n_trials=55)
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1) * 0 + 1.0, n_trials=20, callbacks=[callback])
    assert len(study.trials) < 75
    assert callback.stop_reason
    assert len(runs_in(tmp_path)) == len(study.trials)

"""Optuna programs as people write them, each run for a few trials on ``AdvisorStorage``, none changed for it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.pruners import (
    BasePruner,
    HyperbandPruner,
    MedianPruner,
    PatientPruner,
    PercentilePruner,
    SuccessiveHalvingPruner,
    ThresholdPruner,
    WilcoxonPruner,
)
from optuna.samplers import (
    BaseSampler,
    BruteForceSampler,
    CmaEsSampler,
    GPSampler,
    GridSampler,
    NSGAIIISampler,
    NSGAIISampler,
    PartialFixedSampler,
    QMCSampler,
    RandomSampler,
    TPESampler,
)
from optuna.trial import FrozenTrial, TrialState

import advisor
from advisor.errors import MissingExtraError
from advisor.optuna import AdvisorStorage, TransferSampler

pytestmark = pytest.mark.filterwarnings(
    "ignore::optuna.exceptions.ExperimentalWarning", "ignore::DeprecationWarning:optuna", "ignore::FutureWarning:optuna"
)


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[AdvisorStorage]:
    opened = AdvisorStorage(tmp_path / "store")
    yield opened
    opened.close()


def _again(storage: AdvisorStorage) -> AdvisorStorage:
    """Return what another process would see."""
    storage.flush()
    return AdvisorStorage(storage._store.uri)


def _bowl(trial: optuna.Trial) -> float:
    x, y = trial.suggest_float("x", -5, 5), trial.suggest_int("y", -3, 3)
    return x**2 + y**2


def _grid_bowl(trial: optuna.Trial) -> float:
    return float(trial.suggest_float("x", 0, 1, step=0.5) ** 2 + trial.suggest_int("y", 0, 1))


@pytest.mark.parametrize(
    ("make", "n_trials", "objective"),
    [
        (lambda: TPESampler(seed=0, n_startup_trials=3), 7, _bowl),
        (lambda: TPESampler(seed=0, n_startup_trials=3, multivariate=True, group=True, constant_liar=True), 7, _bowl),
        (lambda: CmaEsSampler(seed=0, popsize=4), 10, _bowl),
        (lambda: CmaEsSampler(seed=0, popsize=4, with_margin=True), 10, _bowl),
        (lambda: NSGAIISampler(seed=0, population_size=4), 9, _bowl),
        (lambda: NSGAIIISampler(seed=0, population_size=4), 9, _bowl),
        (lambda: GPSampler(seed=0, n_startup_trials=3), 5, _bowl),
        (lambda: QMCSampler(seed=0, scramble=True), 5, _bowl),
        (lambda: GridSampler({"x": [0, 0.5, 1], "y": [0, 1]}, seed=0), 10, _grid_bowl),
        (lambda: BruteForceSampler(seed=0), 10, _grid_bowl),
        (lambda: PartialFixedSampler({"y": 1}, RandomSampler(seed=0)), 4, _bowl),
    ],
    ids=["tpe", "tpe-group", "cma-es", "cma-es-margin", "nsga-2", "nsga-3", "gp", "qmc", "grid", "brute", "fixed"],
)
def test_samplers_choose_as_they_do_on_optunas_own_storage(
    storage: AdvisorStorage, make: Callable[[], BaseSampler], n_trials: int, objective: Callable[[optuna.Trial], float]
) -> None:
    ours = optuna.create_study(storage=storage, study_name="s", sampler=make())
    ours.optimize(objective, n_trials=n_trials)
    theirs = optuna.create_study(study_name="s", sampler=make())
    theirs.optimize(objective, n_trials=n_trials)
    assert [trial.params for trial in ours.trials] == [trial.params for trial in theirs.trials]
    assert [trial.values for trial in ours.trials] == [trial.values for trial in theirs.trials]
    assert ours.best_params == theirs.best_params


def _curve(trial: optuna.Trial) -> float:
    x = trial.suggest_float("x", 0, 1)
    for step in range(1, 9):
        trial.report(x + 1 / step, step)
        if trial.should_prune():
            raise optuna.TrialPruned
    return x


@pytest.mark.parametrize(
    ("make", "prunes"),
    [
        (lambda: MedianPruner(n_startup_trials=2), True),
        (lambda: PercentilePruner(25.0, n_startup_trials=2), True),
        (lambda: SuccessiveHalvingPruner(min_resource=1, reduction_factor=2), True),
        (lambda: HyperbandPruner(min_resource=1, max_resource=8, reduction_factor=2), True),
        (lambda: PatientPruner(MedianPruner(n_startup_trials=2), patience=1), False),
        (lambda: ThresholdPruner(upper=1.5), True),
        (lambda: WilcoxonPruner(p_threshold=0.3, n_startup_steps=2), True),
    ],
    ids=["median", "percentile", "halving", "hyperband", "patient", "threshold", "wilcoxon"],
)
def test_pruners_stop_the_same_trials_as_on_optunas_own_storage(
    storage: AdvisorStorage, make: Callable[[], BasePruner], prunes: bool
) -> None:
    found = []
    for where in (storage, None):
        sampler = RandomSampler(seed=3)
        study = optuna.create_study(storage=where, study_name="s", sampler=sampler, pruner=make())
        study.optimize(_curve, n_trials=10)
        found.append([(trial.state, trial.params, trial.intermediate_values, trial.value) for trial in study.trials])
    assert found[0] == found[1]
    assert any(state == TrialState.PRUNED for state, *_ in found[0]) == prunes


def test_several_objectives_with_constraints_have_a_pareto_front(storage: AdvisorStorage) -> None:
    def objective(trial: optuna.Trial) -> tuple[float, float]:
        x = trial.suggest_float("x", 0, 1)
        trial.set_user_attr("over", x - 0.7)
        return x, 1 - x

    def constraints(trial: FrozenTrial) -> tuple[float]:
        return (float(trial.user_attrs["over"]),)

    sampler = NSGAIISampler(seed=0, population_size=4, constraints_func=constraints)
    study = optuna.create_study(storage=storage, study_name="s", directions=["minimize", "minimize"], sampler=sampler)
    study.optimize(objective, n_trials=10)
    feasible = {trial.number for trial in study.trials if trial.params["x"] <= 0.7}
    seen = optuna.load_study(study_name="s", storage=_again(storage))
    assert {trial.number for trial in seen.best_trials} == feasible
    assert 0 < len(feasible) < 10


def test_a_constraint_that_a_trial_sets_decides_what_is_best(storage: AdvisorStorage) -> None:
    def objective(trial: optuna.Trial) -> float:
        x = trial.suggest_float("x", 0, 1)
        trial.set_constraint("enough", 0.5 - x)
        return x

    study = optuna.create_study(storage=storage, study_name="s", sampler=TPESampler(seed=0, n_startup_trials=3))
    study.optimize(objective, n_trials=8)
    seen = optuna.load_study(study_name="s", storage=_again(storage))
    assert seen.best_value == min(trial.params["x"] for trial in study.trials if trial.params["x"] >= 0.5)


def _constrained(storage: AdvisorStorage | None, sampler: BaseSampler, *, named: bool) -> optuna.Study:
    """Return a study of x, the smaller the better, that must be 0.5 or more."""

    def objective(trial: optuna.Trial) -> float:
        x = trial.suggest_float("x", 0, 1)
        trial.set_user_attr("lacks", 0.5 - x)
        if named:
            trial.set_constraint("enough", 0.5 - x)
        return x

    study = optuna.create_study(storage=storage, study_name="s", sampler=sampler)
    study.optimize(objective, n_trials=20)
    return study


@pytest.mark.parametrize("named", [True, False])
def test_constraints_that_trials_tell_of_count_for_what_is_best_and_suggested(tmp_path: Path, named: bool) -> None:
    told = None if named else lambda trial: (trial.user_attrs["lacks"],)
    with advisor.open(tmp_path / "store", capture=False) as adv:
        storage = AdvisorStorage(adv.store)
        study = _constrained(storage, TPESampler(seed=1, constraints_func=told), named=named)
        exp = adv.experiment("s")
        best = exp.best()
        assert best is not None
        assert best.number == study.best_trial.number
        assert [run.number for run in exp.front()] == [best.number]
        assert exp.runs(order_by="objective")[0].objective < 0.5
        assert list(best.constraints) == ["enough" if named else "0"]
        (made,) = exp.suggest(seed=2)
        assert made.params["x"] > 0.4
        assert made.p_feasible is not None
        assert adv.store.verify().problems == ()


def test_constraints_are_heeded_in_studies_that_the_transfer_sampler_serves() -> None:
    study = _constrained(None, TransferSampler(seed=1), named=True)
    assert 0.5 <= study.best_value < 0.505
    assert np.mean([trial.params["x"] > 0.49 for trial in study.trials[8:]]) > 0.8


def test_studies_without_a_name_are_served_alike_from_the_same_seed(tmp_path: Path) -> None:
    """Optuna draws their names by chance, which say nothing of the question."""
    with advisor.open(tmp_path / "store", capture=False) as adv:
        for name, best in (("digits", 0.2), ("letters", 0.7)):
            exp = adv.experiment(name, objective="loss", space={"x": advisor.Float(0, 1)})
            for i in range(8):
                exp.tell({"x": i / 8}, abs(i / 8 - best))
        found = []
        for _ in range(2):
            sampler = TransferSampler(adv.store, description="a toy", seed=0)
            study = optuna.create_study(sampler=sampler)
            study.optimize(lambda trial: (trial.suggest_float("x", 0, 1) - 0.5) ** 2, n_trials=6)
            found.append([trial.params["x"] for trial in study.trials])
        assert found[0] == found[1]


def test_a_sampler_that_lacks_a_package_says_which(tmp_path: Path) -> None:
    class Lacking(RandomSampler):
        def infer_relative_search_space(self, study: Any, trial: Any) -> Any:
            raise ModuleNotFoundError("No module named 'torch'", name="torch")

    with advisor.open(tmp_path / "store", capture=False) as adv:
        exp = adv.experiment("toy", objective="loss", space={"x": advisor.Float(0, 1)})
        with pytest.raises(MissingExtraError, match="Lacking needs a package that is not installed"):
            exp.suggest(sampler=Lacking())


def test_why_a_trial_failed_is_kept(tmp_path: Path) -> None:
    def objective(trial: optuna.Trial) -> Any:
        x = trial.suggest_float("x", 0, 1)
        if trial.number == 1:
            raise RuntimeError("no space left, token=sk-0123456789abcdefghijklmnop")
        if trial.number == 4:
            raise KeyboardInterrupt
        return {2: math.nan, 3: "text"}.get(trial.number, x)

    with advisor.open(tmp_path / "store", capture=False) as adv:
        study = optuna.create_study(storage=AdvisorStorage(adv.store), study_name="s", sampler=RandomSampler(seed=0))
        with pytest.raises(KeyboardInterrupt):
            study.optimize(objective, n_trials=9, catch=(RuntimeError,))
        with pytest.warns(UserWarning, match="not acceptable"):
            study.tell(study.ask(), math.nan)
        study.tell(study.ask(), state=TrialState.FAIL)
        fine, raised, no_number, text, ended, told, unknown = adv.experiment("s").runs()
        assert fine.error is None
        assert raised.error is not None
        assert "in objective" in raised.error
        assert raised.error.rstrip().endswith("RuntimeError: no space left, token=[redacted]")
        assert no_number.error == told.error == "the value of the objective was NaN, which Optuna takes for a failure"
        assert text.error == "the value of the objective was of type str, which is no number"
        assert ended.error is not None
        assert (ended.error.rstrip().endswith("KeyboardInterrupt"), ended.tags) == (True, ("interrupted",))
        assert unknown.error is None
        found = {f.run_id: (f.title, str(f.severity)) for f in adv.experiment("s").check().findings}
        assert found[raised.id] == ("it failed: RuntimeError: no space left, token=[redacted]", "error")
        assert found[ended.id] == ("it failed: KeyboardInterrupt", "info")
        assert found[unknown.id][0].startswith("it failed: Optuna told no reason")


def test_queued_trials_are_run_first_and_with_their_own_parameters(storage: AdvisorStorage) -> None:
    study = optuna.create_study(storage=storage, study_name="s", sampler=RandomSampler(seed=0))
    study.enqueue_trial({"x": 1.5, "y": 2}, user_attrs={"why": "a hunch"})
    study.enqueue_trial({"x": 0.5})
    study.enqueue_trial({"x": 0.5}, skip_if_exists=True)
    assert [trial.state for trial in study.trials] == [TrialState.WAITING] * 2
    other = optuna.load_study(study_name="s", storage=_again(storage), sampler=RandomSampler(seed=1))
    other.optimize(_bowl, n_trials=3)
    assert study.trials[0].params == {"x": 1.5, "y": 2}
    assert study.trials[0].user_attrs == {"why": "a hunch"}
    assert study.trials[1].params["x"] == 0.5
    assert len(study.trials) == 3


def test_trials_are_added_and_a_study_is_copied_there_and_back(storage: AdvisorStorage) -> None:
    source = optuna.create_study(study_name="memory", sampler=RandomSampler(seed=0), direction="maximize")
    source.optimize(_curve, n_trials=3)
    source.set_user_attr("team", "blue")
    memory = source._storage
    optuna.copy_study(from_study_name="memory", from_storage=memory, to_storage=storage)
    copied = optuna.load_study(study_name="memory", storage=_again(storage))
    assert copied.trials == source.trials
    assert (copied.user_attrs, copied.direction) == (source.user_attrs, source.direction)
    copied.add_trials(source.trials)
    assert [trial.params for trial in copied.trials] == [trial.params for trial in source.trials] * 2
    optuna.copy_study(from_study_name="memory", from_storage=storage, to_storage=memory, to_study_name="back")
    assert len(optuna.load_study(study_name="back", storage=memory).trials) == 6


def test_callbacks_see_each_trial_and_can_stop_the_study(storage: AdvisorStorage) -> None:
    seen: list[tuple[int, float | None, TrialState]] = []

    def callback(study: optuna.Study, trial: FrozenTrial) -> None:
        seen.append((trial.number, trial.value, trial.state))
        study.set_user_attr("last", trial.number)
        if len(seen) == 3:
            study.stop()

    study = optuna.create_study(storage=storage, study_name="s", sampler=RandomSampler(seed=0))
    study.optimize(_bowl, n_trials=10, callbacks=[callback])
    assert seen == [(trial.number, trial.value, TrialState.COMPLETE) for trial in study.trials]
    assert study.user_attrs == {"last": 2}
    study.optimize(_bowl, callbacks=[optuna.study.MaxTrialsCallback(5)])
    assert len(study.trials) == 5


def test_a_data_frame_holds_parameters_values_and_attributes(storage: AdvisorStorage) -> None:
    def objective(trial: optuna.Trial) -> float:
        trial.set_user_attr("kind", "bowl")
        return _bowl(trial)

    study = optuna.create_study(storage=storage, study_name="s", sampler=RandomSampler(seed=0))
    study.optimize(objective, n_trials=3)
    frame = optuna.load_study(study_name="s", storage=_again(storage)).trials_dataframe()
    assert list(frame["number"]) == [0, 1, 2]
    assert list(frame["params_x"]) == [trial.params["x"] for trial in study.trials]
    assert list(frame["value"]) == [trial.value for trial in study.trials]
    assert set(frame["user_attrs_kind"]) == {"bowl"}
    assert (frame["datetime_complete"] >= frame["datetime_start"]).all()


def test_a_failed_trial_is_queued_again_by_optunas_own_callback(storage: AdvisorStorage) -> None:
    again = optuna.storages.RetryHeartbeatStaleTrialCallback(max_retry=2)

    def objective(trial: optuna.Trial) -> float:
        x = trial.suggest_float("x", 0, 1)
        trial.report(x, 0)
        raise OSError("the network is gone")

    study = optuna.create_study(storage=storage, study_name="s", sampler=RandomSampler(seed=0))
    for number in range(3):
        study.optimize(objective, n_trials=1, catch=(OSError,))
        again(study, study.trials[number])
    first, second, third = study.trials
    assert [trial.state for trial in study.trials] == [TrialState.FAIL] * 3
    assert first.params == second.params == third.params
    assert type(again).retry_history(third) == [0, 1]
    assert type(again).retried_trial_number(third) == 0


def test_artifacts_are_listed_from_the_attributes_of_trials_and_studies(
    storage: AdvisorStorage, tmp_path: Path
) -> None:
    (tmp_path / "files").mkdir()
    kept = optuna.artifacts.FileSystemArtifactStore(tmp_path / "files")
    (tmp_path / "model.json").write_text(json.dumps({"w": 1}))
    study = optuna.create_study(storage=storage, study_name="s")
    trial = study.ask()
    file = str(tmp_path / "model.json")
    optuna.artifacts.upload_artifact(artifact_store=kept, file_path=file, study_or_trial=trial)
    optuna.artifacts.upload_artifact(artifact_store=kept, file_path=file, study_or_trial=study)
    study.tell(trial, 1.0)
    seen = optuna.load_study(study_name="s", storage=_again(storage))
    for thing in (seen, seen.trials[0]):
        (meta,) = optuna.artifacts.get_all_artifact_meta(thing, storage=storage)
        assert meta.filename == "model.json"
        target = str(tmp_path / f"{type(thing).__name__}.json")
        optuna.artifacts.download_artifact(artifact_store=kept, artifact_id=meta.artifact_id, file_path=target)
        assert json.loads(Path(target).read_text()) == {"w": 1}


def test_studies_are_asked_told_summarised_and_deleted(storage: AdvisorStorage) -> None:
    study = optuna.create_study(storage=storage, study_name="s", direction="maximize")
    space = {"x": FloatDistribution(0, 1), "kind": CategoricalDistribution([None, True, 2, "three", 4.5])}
    asked = [study.ask(space) for _ in range(3)]
    for trial in asked[:2]:
        study.tell(trial, trial.params["x"])
    study.tell(asked[2].number, state=TrialState.FAIL)
    with pytest.raises(optuna.exceptions.UpdateFinishedTrialError):
        storage.set_trial_user_attr(asked[0]._trial_id, "late", 1)
    with pytest.raises(ValueError, match="COMPLETE"):
        study.tell(asked[0].number, 2.0)
    (summary,) = optuna.get_all_study_summaries(storage)
    assert (summary.study_name, summary.n_trials) == ("s", 3)
    assert summary.best_trial is not None
    assert summary.best_trial.number == max(asked[:2], key=lambda trial: trial.params["x"]).number
    assert optuna.get_all_study_names(_again(storage)) == ["s"]
    optuna.delete_study(study_name="s", storage=storage)
    assert optuna.get_all_study_names(storage) == []
    with pytest.raises(KeyError):
        optuna.load_study(study_name="s", storage=storage)
    assert optuna.create_study(storage=storage, study_name="s").trials == []


def test_importances_are_computed(storage: AdvisorStorage) -> None:
    study = optuna.create_study(storage=storage, study_name="s", sampler=RandomSampler(seed=0))
    study.optimize(_bowl, n_trials=12)
    assert set(optuna.importance.get_param_importances(study)) == {"x", "y"}


def test_there_is_no_heartbeat(storage: AdvisorStorage) -> None:
    study = optuna.create_study(storage=storage, study_name="s")
    study.ask()
    optuna.storages.fail_stale_trials(study)
    assert [trial.state for trial in study.trials] == [TrialState.RUNNING]

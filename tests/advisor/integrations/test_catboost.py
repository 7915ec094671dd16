from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import advisor
from advisor.integrations.catboost import AdvisorCallback
from storage.records import Run, RunState

catboost = pytest.importorskip("catboost")


# CatBoost says so wherever a metric of one's own is not compiled.
pytestmark = pytest.mark.filterwarnings("ignore:Failed to import numba:UserWarning")


def samples() -> tuple[Any, Any, tuple[Any, Any]]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(150, 4))
    y = 2 * x[:, 0] + 0.1 * rng.normal(size=150)
    return x[:100], y[:100], (x[100:], y[100:])


def regressor(**given: Any) -> Any:
    fixed = {"verbose": False, "thread_count": 1, "allow_writing_files": False, "random_seed": 0}
    return catboost.CatBoostRegressor(**{"iterations": 6, "depth": 2, "learning_rate": 0.3, **fixed, **given})


def runs_in(store: Path, experiment: str = "trees") -> list[Run]:
    with advisor.open(store) as adv:
        return adv.experiment(experiment, create=False).runs()


def values(run: Run, metric: str) -> list[float]:
    return run.curve(metric).values.tolist()


def test_a_training_becomes_a_run_with_the_values_that_catboost_recorded(tmp_path: Path) -> None:
    x, y, valid = samples()
    model = regressor(custom_metric=["MAE"])
    with AdvisorCallback("trees", params=model, store=tmp_path, objective="validation/RMSE") as callback:
        model.fit(x, y, eval_set=valid, callbacks=[callback])
    (run,) = runs_in(tmp_path)
    assert run.state is RunState.FINISHED
    expected = {"estimator": "CatBoostRegressor", "iterations": 6, "depth": 2, "learning_rate": 0.3, "random_seed": 0}
    assert {name: run.params[name] for name in expected} == expected
    assert {f"{name}/{metric}" for name, metrics in model.evals_result_.items() for metric in metrics} == set(
        run.curves
    )
    for name, metrics in model.evals_result_.items():
        for metric, scores in metrics.items():
            assert values(run, f"{name}/{metric}") == scores
    assert run.curve("validation/RMSE").steps.tolist() == list(range(6))
    assert run.user_attrs["best_iteration"] == model.best_iteration_


def test_values_of_every_second_iteration_keep_their_iterations(tmp_path: Path) -> None:
    x, y, valid = samples()
    model = regressor(metric_period=2)
    with AdvisorCallback("trees", params=model, store=tmp_path) as callback:
        model.fit(x, y, eval_set=[valid, (x, y)], callbacks=[callback])
    (run,) = runs_in(tmp_path)
    for name in ("learn", "validation_0", "validation_1"):
        assert values(run, f"{name}/RMSE") == model.evals_result_[name]["RMSE"]
        assert run.curve(f"{name}/RMSE").steps.tolist() == [0, 2, 4, 5]


def test_advice_to_stop_reaches_catboost(tmp_path: Path) -> None:
    x, y, valid = samples()

    def fit(rate: float) -> tuple[Any, Any]:
        model = regressor(iterations=20, learning_rate=rate)
        with AdvisorCallback(
            "trees", params=model, store=tmp_path, objective="validation/RMSE", prune=True
        ) as callback:
            model.fit(x, y, eval_set=valid, callbacks=[callback])
        return callback, model

    for rate in (0.3, 0.32, 0.34, 0.36, 0.38):
        fit(rate)
    callback, model = fit(0.001)
    run = runs_in(tmp_path)[-1]
    assert len(model.evals_result_["validation"]["RMSE"]) < 20
    assert values(run, "validation/RMSE") == model.evals_result_["validation"]["RMSE"]
    assert run.state is RunState.PRUNED
    assert "worse than the median" in callback.why_stopped


def test_a_value_that_is_no_number_is_kept_and_told_at_once_though_catboost_gives_up(tmp_path: Path) -> None:
    x, y, valid = samples()
    told: list[str] = []

    class Odd:
        def is_max_optimal(self) -> bool:
            return False

        def evaluate(self, approxes: Any, target: Any, weight: Any) -> tuple[float, float]:
            return math.nan, 1.0

        def get_final_error(self, error: float, weight: float) -> float:
            return error

    callback = AdvisorCallback("trees", store=tmp_path, on_finding=lambda finding: told.append(finding.code))
    with pytest.raises(catboost.CatBoostError), callback:
        regressor(eval_metric=Odd()).fit(x, y, eval_set=valid, callbacks=[callback])
    (run,) = runs_in(tmp_path)
    assert all(math.isnan(value) for value in values(run, "validation/Odd"))
    assert told[0] == "ADV101"
    assert run.state is RunState.FAILED


def test_a_training_that_raises_is_a_failed_run(tmp_path: Path) -> None:
    x, y, valid = samples()

    class Broken:
        def after_iteration(self, info: Any) -> bool:
            raise RuntimeError("the disk is full")

    callback = AdvisorCallback("trees", store=tmp_path)
    with pytest.raises(catboost.CatBoostError), callback:
        regressor().fit(x, y, eval_set=valid, callbacks=[callback, Broken()])
    (run,) = runs_in(tmp_path)
    assert run.state is RunState.FAILED
    assert "the disk is full" in str(run.error)
    assert len(run.curve("validation/RMSE")) == 1


def test_a_training_that_goes_on_from_a_snapshot_has_the_values_before_it(tmp_path: Path) -> None:
    x, y, valid = samples()
    place = {"save_snapshot": True, "snapshot_file": str(tmp_path / "snapshot"), "snapshot_interval": 0}
    where: dict[str, Any] = {"allow_writing_files": True, "train_dir": str(tmp_path / "info")}
    regressor(iterations=3, **where).fit(x, y, eval_set=valid, **place)
    model = regressor(iterations=5, **where)
    with AdvisorCallback("trees", params=model, store=tmp_path / "store") as callback:
        model.fit(x, y, eval_set=valid, callbacks=[callback], **place)
    (run,) = runs_in(tmp_path / "store")
    assert values(run, "validation/RMSE") == model.evals_result_["validation"]["RMSE"]
    assert run.curve("validation/RMSE").steps.tolist() == list(range(5))


def test_one_callback_serves_one_training_after_the_other(tmp_path: Path) -> None:
    x, y, valid = samples()
    with AdvisorCallback("trees", store=tmp_path) as callback:
        for _ in range(2):
            regressor(iterations=3).fit(x, y, eval_set=valid, callbacks=[callback])
    runs = runs_in(tmp_path)
    assert [len(run.curve("validation/RMSE")) for run in runs] == [3, 3]
    assert {run.state for run in runs} == {RunState.FINISHED}

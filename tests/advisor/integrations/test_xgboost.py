from __future__ import annotations

import copy
import json
import math
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import advisor
from storage.records import Run, RunState

xgboost = pytest.importorskip("xgboost")

from advisor.integrations.xgboost import AdvisorCallback, booster_params  # noqa: E402 - it needs the framework

PARAMS = {"eta": 0.3, "max_depth": 2, "nthread": 1, "objective": "reg:squarederror"}


@pytest.fixture(scope="module")
def data() -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 4))
    y = 2 * x[:, 0] + 0.1 * rng.normal(size=120)
    return xgboost.DMatrix(x[:80], y[:80]), xgboost.DMatrix(x[80:], y[80:])


def runs_in(store: Path, experiment: str = "trees") -> list[Run]:
    with advisor.open(store) as adv:
        return adv.experiment(experiment, create=False).runs()


def values(run: Run, metric: str) -> list[float]:
    return run.curve(metric).values.tolist()


def test_a_training_becomes_a_run_with_the_values_that_xgboost_recorded(data: tuple[Any, Any], tmp_path: Path) -> None:
    train, valid = data
    recorded: dict[str, Any] = {}
    callback = AdvisorCallback("trees", params=PARAMS, store=tmp_path, objective="validation/rmse")
    evals = [(train, "train"), (valid, "validation")]
    xgboost.train(
        {**PARAMS, "eval_metric": ["rmse", "mae"]},
        train,
        6,
        evals=evals,
        evals_result=recorded,
        callbacks=[callback],
        verbose_eval=False,
    )
    (run,) = runs_in(tmp_path)
    assert run.state is RunState.FINISHED
    assert run.params == {"eta": 0.3, "max_depth": 2, "objective": "reg:squarederror"}
    assert {f"{name}/{metric}" for name in recorded for metric in recorded[name]} == set(run.curves)
    for name, metrics in recorded.items():
        for metric, scores in metrics.items():
            assert values(run, f"{name}/{metric}") == scores
            assert run.curve(f"{name}/{metric}").steps.tolist() == list(range(6))
    assert run.objective == recorded["validation"]["rmse"][-1]


def test_without_parameters_the_booster_says_its_own(data: tuple[Any, Any], tmp_path: Path) -> None:
    train, _ = data
    callback = AdvisorCallback("trees", store=tmp_path)
    booster = xgboost.train(PARAMS, train, 2, callbacks=[callback])
    (run,) = runs_in(tmp_path)
    assert run.params["eta"] == 0.3
    assert run.params["max_depth"] == 2
    assert run.params["booster"] == "gbtree"
    assert run.params["subsample"] == 1
    assert "learning_rate" not in run.params
    assert dict(run.params) == booster_params(booster)


def test_early_stopping_keeps_its_last_iteration_and_the_best_one(data: tuple[Any, Any], tmp_path: Path) -> None:
    train, valid = data
    stop = xgboost.callback.EarlyStopping(rounds=2)
    recorded: dict[str, Any] = {}
    callback = AdvisorCallback("trees", store=tmp_path)
    booster = xgboost.train(
        {**PARAMS, "eta": 1.0, "max_depth": 8, "lambda": 0},
        train,
        60,
        evals=[(valid, "validation")],
        evals_result=recorded,
        callbacks=[stop, callback],  # early stopping first: XGBoost does not call ours any more when it stops
        verbose_eval=False,
    )
    (run,) = runs_in(tmp_path)
    assert len(recorded["validation"]["rmse"]) < 60
    assert values(run, "validation/rmse") == recorded["validation"]["rmse"]
    assert run.curve("validation/rmse").steps.tolist() == list(range(len(recorded["validation"]["rmse"])))
    assert run.user_attrs["best_iteration"] == booster.best_iteration
    assert run.user_attrs["best_score"] == booster.best_score
    assert run.state is RunState.FINISHED


def test_cross_validation_is_one_run_with_means_and_spreads(data: tuple[Any, Any], tmp_path: Path) -> None:
    table = xgboost.cv(
        PARAMS, data[0], 4, nfold=3, callbacks=[AdvisorCallback("trees", store=tmp_path)], as_pandas=False, seed=0
    )
    (run,) = runs_in(tmp_path)
    for name in ("train", "test"):
        assert values(run, f"{name}/rmse") == table[f"{name}-rmse-mean"]
        assert values(run, f"{name}/rmse_std") == table[f"{name}-rmse-std"]
    assert run.params["max_depth"] == 2


def test_an_estimator_of_scikit_learn_gives_its_parameters(data: tuple[Any, Any], tmp_path: Path) -> None:
    x, y = data[0].get_data().toarray(), data[0].get_label()
    model = xgboost.XGBRegressor(n_estimators=3, max_depth=2, learning_rate=0.5, n_jobs=1)
    model.set_params(callbacks=[AdvisorCallback("trees", params=model, store=tmp_path)])
    model.fit(x, y, eval_set=[(x, y)], verbose=False)
    (run,) = runs_in(tmp_path)
    expected = {"estimator": "XGBRegressor", "n_estimators": 3, "max_depth": 2, "learning_rate": 0.5}
    assert {name: run.params[name] for name in expected} == expected
    assert "callbacks" not in run.params
    assert "subsample" not in run.params  # None: XGBoost chooses
    assert values(run, "validation_0/rmse") == model.evals_result()["validation_0"]["rmse"]


def test_a_search_clones_the_callback_and_each_fit_is_a_run(data: tuple[Any, Any], tmp_path: Path) -> None:
    from sklearn.model_selection import GridSearchCV

    x, y = data[0].get_data().toarray(), data[0].get_label()
    model = xgboost.XGBRegressor(n_estimators=2, n_jobs=1, callbacks=[AdvisorCallback("trees", store=tmp_path)])
    GridSearchCV(model, {"max_depth": [1, 2]}, cv=2).fit(x, y)
    runs = runs_in(tmp_path)
    assert len(runs) == 2 * 2 + 1
    assert {run.state for run in runs} == {RunState.FINISHED}
    assert {run.params["max_depth"] for run in runs} == {1, 2}


def test_a_search_over_an_estimator_that_gives_its_parameters_has_those_of_each_fit(
    data: tuple[Any, Any], tmp_path: Path
) -> None:
    from sklearn.model_selection import GridSearchCV

    x, y = data[0].get_data().toarray(), data[0].get_label()
    model = xgboost.XGBRegressor(n_estimators=2, n_jobs=1)
    model.set_params(callbacks=[AdvisorCallback("trees", params=model, store=tmp_path)])
    GridSearchCV(model, {"max_depth": [1, 2]}, cv=2, refit=False).fit(x, y)
    assert sorted(run.params["max_depth"] for run in runs_in(tmp_path)) == [1, 1, 2, 2]


def test_advice_to_stop_reaches_xgboost(data: tuple[Any, Any], tmp_path: Path) -> None:
    train, valid = data

    def fit(eta: float) -> Any:
        callback = AdvisorCallback(
            "trees", params={"eta": eta}, store=tmp_path, objective="validation/rmse", prune=True
        )
        recorded: dict[str, Any] = {}
        xgboost.train(
            {**PARAMS, "eta": eta},
            train,
            20,
            evals=[(valid, "validation")],
            evals_result=recorded,
            callbacks=[callback],
            verbose_eval=False,
        )
        return callback, recorded["validation"]["rmse"]

    for eta in (0.3, 0.32, 0.34, 0.36, 0.38):
        fit(eta)
    callback, recorded = fit(0.001)
    assert len(recorded) < 20
    run = runs_in(tmp_path)[-1]
    assert run.state is RunState.PRUNED
    assert values(run, "validation/rmse") == recorded
    assert "worse than the median" in callback.why_stopped


def test_a_value_that_is_no_number_is_kept_and_told_at_once(data: tuple[Any, Any], tmp_path: Path) -> None:
    train, valid = data
    told: list[tuple[int, str]] = []
    calls: list[int] = []

    def odd(_: Any, __: Any) -> tuple[str, float]:
        calls.append(1)
        return "odd", math.nan if len(calls) >= 3 else 1.0

    callback = AdvisorCallback(
        "trees", store=tmp_path, on_finding=lambda finding: told.append((len(calls), finding.code))
    )
    xgboost.train(
        {**PARAMS, "disable_default_eval_metric": 1},
        train,
        5,
        evals=[(valid, "validation")],
        custom_metric=odd,
        callbacks=[callback],
        verbose_eval=False,
    )
    (run,) = runs_in(tmp_path)
    assert np.isnan(values(run, "validation/odd")).tolist() == [False, False, True, True, True]
    assert told == [(3, "ADV101")]
    assert [finding.code for finding in callback.findings] == ["ADV101"]


def test_a_training_that_raises_is_a_failed_run(data: tuple[Any, Any], tmp_path: Path) -> None:
    class Broken(xgboost.callback.TrainingCallback):
        def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
            if epoch == 1:
                raise RuntimeError("the disk is full")
            return False

    callback = AdvisorCallback("trees", store=tmp_path)
    with pytest.raises(RuntimeError, match="disk"), callback:
        xgboost.train(PARAMS, data[0], 5, evals=[(data[1], "v")], callbacks=[callback, Broken()], verbose_eval=False)
    (run,) = runs_in(tmp_path)
    assert run.state is RunState.FAILED
    assert "the disk is full" in str(run.error)
    assert len(values(run, "v/rmse")) == 2


def test_a_callback_may_be_used_again_after_a_training_broke_off(data: tuple[Any, Any], tmp_path: Path) -> None:
    callback = AdvisorCallback("trees", store=tmp_path)
    with pytest.raises(xgboost.core.XGBoostError):
        xgboost.train({"eta": 0.1, "objective": "reg:nonsense"}, data[0], 1, callbacks=[callback])
    callback.before_training(xgboost.Booster(PARAMS, [data[0]]))
    xgboost.train(PARAMS, data[0], 1, callbacks=[callback])
    assert [run.state for run in runs_in(tmp_path)] == [RunState.FAILED, RunState.FINISHED]


def test_a_run_that_goes_on_is_taken_over_and_left_open(data: tuple[Any, Any], tmp_path: Path) -> None:
    with advisor.open(tmp_path) as adv:
        run = adv.experiment("own").start(params={"depth": 2})
        xgboost.train(
            PARAMS, data[0], 2, evals=[(data[0], "t")], callbacks=[AdvisorCallback(run=run)], verbose_eval=False
        )
        assert run.state is RunState.RUNNING
        assert run.params["depth"] == 2
        run.finish()
        assert len(adv.run(run.id).curve("t/rmse")) == 2


def test_a_callback_can_be_pickled_while_it_trains(data: tuple[Any, Any], tmp_path: Path) -> None:
    with advisor.open(tmp_path) as adv:
        callback = AdvisorCallback(adv.experiment("trees"), run=adv.experiment("trees").start(params={}))
        callback.before_training(xgboost.Booster(PARAMS, [data[0]]))
        again, twin = pickle.loads(pickle.dumps(callback)), copy.deepcopy(callback)
        assert again.run is None
        assert twin.run is None
        assert callback.run is not None
        callback.run.finish()


def test_of_two_workers_one_logs_and_both_stop(repository: Path, tmp_path: Path) -> None:
    program = Path(__file__).with_name("xgboost_workers.py")
    done = subprocess.run(
        [sys.executable, str(program), str(tmp_path)],
        env=os.environ | {"PYTHONPATH": str(repository), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    (_, lengths, scores), (_, other_lengths, other_scores) = json.loads(done.stdout.splitlines()[-1])
    assert lengths == other_lengths
    assert lengths[:5] == [15] * 5
    assert lengths[5] < 15
    assert scores == other_scores
    runs = runs_in(tmp_path, "shared")
    assert [len(run.curve("train/rmse")) for run in runs] == lengths
    assert runs[-1].state is RunState.PRUNED
    assert values(runs[-1], "train/rmse") == scores

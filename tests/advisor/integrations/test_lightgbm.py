from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import advisor
from advisor.integrations.lightgbm import advisor_callback
from storage.records import Run, RunState

lightgbm = pytest.importorskip("lightgbm")


PARAMS = {"objective": "l2", "learning_rate": 0.3, "num_leaves": 4, "verbosity": -1, "num_threads": 1}


def samples() -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(150, 4))
    return x, 2 * x[:, 0] + 0.1 * rng.normal(size=150)


def data() -> tuple[Any, Any]:
    x, y = samples()
    train = lightgbm.Dataset(x[:100], y[:100])
    return train, lightgbm.Dataset(x[100:], y[100:], reference=train)


def runs_in(store: Path, experiment: str = "trees") -> list[Run]:
    with advisor.open(store) as adv:
        return adv.experiment(experiment, create=False).runs()


def values(run: Run, metric: str) -> list[float]:
    return run.curve(metric).values.tolist()


def test_a_training_becomes_a_run_with_the_values_that_lightgbm_recorded(tmp_path: Path) -> None:
    train, valid = data()
    recorded: dict[str, Any] = {}
    lightgbm.train(
        {**PARAMS, "metric": ["l2", "l1"]},
        train,
        6,
        valid_sets=[train, valid],
        valid_names=["train", "validation"],
        callbacks=[
            lightgbm.record_evaluation(recorded),
            advisor_callback("trees", store=tmp_path, objective="validation/l2"),
        ],
    )
    (run,) = runs_in(tmp_path)
    assert run.state is RunState.FINISHED
    expected = {"objective": "l2", "learning_rate": 0.3, "num_leaves": 4, "num_iterations": 6, "metric": "['l2', 'l1']"}
    assert run.params == expected
    assert len(run.curves) == 4
    for name, metrics in recorded.items():
        for metric, scores in metrics.items():
            assert values(run, f"{name}/{metric}") == scores
            assert run.curve(f"{name}/{metric}").steps.tolist() == list(range(6))
    assert run.user_attrs["best_iteration"] == int(np.argmin(recorded["validation"]["l2"]))
    assert run.user_attrs["best_score"] == min(recorded["validation"]["l2"])


def test_early_stopping_of_lightgbm_works_beside_it_and_the_best_iteration_is_lightgbms(tmp_path: Path) -> None:
    train, valid = data()
    recorded: dict[str, Any] = {}
    with advisor_callback("trees", store=tmp_path) as callback:
        booster = lightgbm.train(
            {**PARAMS, "learning_rate": 1.0, "min_data_in_leaf": 1, "num_leaves": 31},
            train,
            80,
            valid_sets=[valid],
            callbacks=[
                callback,
                lightgbm.early_stopping(2, verbose=False),
                lightgbm.record_evaluation(recorded),
            ],
        )
    (run,) = runs_in(tmp_path)
    scores = recorded["valid_0"]["l2"]
    assert len(scores) < 80
    assert values(run, "valid_0/l2") == scores
    assert run.user_attrs["best_iteration"] == booster.best_iteration - 1
    assert run.state is RunState.FINISHED


def test_cross_validation_is_one_run_with_means_and_spreads(tmp_path: Path) -> None:
    train, _ = data()
    table = lightgbm.cv(
        PARAMS, train, 5, nfold=3, stratified=False, callbacks=[advisor_callback("trees", store=tmp_path)]
    )
    (run,) = runs_in(tmp_path)
    assert values(run, "valid/l2") == table["valid l2-mean"]
    assert values(run, "valid/l2_std") == table["valid l2-stdv"]
    assert run.state is RunState.FINISHED


def test_cross_validation_that_stops_early_has_the_best_iteration_that_lightgbm_chose(tmp_path: Path) -> None:
    train, _ = data()
    fast = {**PARAMS, "learning_rate": 1.0, "min_data_in_leaf": 1, "num_leaves": 31}
    with advisor_callback("trees", store=tmp_path) as callback:
        stop = lightgbm.early_stopping(2, verbose=False)
        table = lightgbm.cv(fast, train, 80, nfold=3, stratified=False, callbacks=[callback, stop])
    (run,) = runs_in(tmp_path)
    n_best = len(table["valid l2-mean"])  # LightGBM cuts its record there; the run keeps what came after
    assert run.user_attrs["best_iteration"] == n_best - 1
    assert values(run, "valid/l2")[:n_best] == table["valid l2-mean"]
    assert len(run.curve("valid/l2")) > n_best


def test_an_estimator_of_scikit_learn_is_logged_as_its_evals_result_says(tmp_path: Path) -> None:
    x, y = samples()
    model = lightgbm.LGBMRegressor(n_estimators=4, num_leaves=4, learning_rate=0.2, verbosity=-1, n_jobs=1)
    model.fit(x[:100], y[:100], eval_X=x[100:], eval_y=y[100:], callbacks=[advisor_callback("trees", store=tmp_path)])
    (run,) = runs_in(tmp_path)
    assert values(run, "valid_0/l2") == model.evals_result_["valid_0"]["l2"]
    assert {name: run.params[name] for name in ("learning_rate", "num_leaves", "num_iterations")} == {
        "learning_rate": 0.2,
        "num_leaves": 4,
        "num_iterations": 4,
    }


def test_advice_to_stop_reaches_lightgbm_with_the_best_iteration_so_far(tmp_path: Path) -> None:
    def fit(rate: float) -> tuple[Any, Any, list[float]]:
        train, valid = data()
        recorded: dict[str, Any] = {}
        callback = advisor_callback(
            "trees", params={"learning_rate": rate}, store=tmp_path, objective="valid_0/l2", prune=True
        )
        booster = lightgbm.train(
            {**PARAMS, "learning_rate": rate},
            train,
            20,
            valid_sets=[valid],
            callbacks=[callback, lightgbm.record_evaluation(recorded)],
        )
        return callback, booster, recorded["valid_0"]["l2"]

    for rate in (0.2, 0.22, 0.24, 0.26, 0.28):
        fit(rate)
    callback, booster, scores = fit(0.001)
    assert len(scores) < 20
    run = runs_in(tmp_path)[-1]
    assert run.state is RunState.PRUNED
    assert values(run, "valid_0/l2") == scores
    assert booster.best_iteration == int(np.argmin(scores)) + 1
    assert booster.best_score["valid_0"]["l2"] == min(scores)
    assert "worse than the median" in callback.why_stopped


def test_a_value_that_is_no_number_is_kept_and_told_at_once(tmp_path: Path) -> None:
    train, valid = data()
    told: list[tuple[int, str]] = []
    calls: list[int] = []

    def odd(_: Any, __: Any) -> tuple[str, float, bool]:
        calls.append(1)
        return "odd", math.inf if len(calls) == 2 else math.nan if len(calls) > 2 else 1.0, False

    callback = advisor_callback("trees", store=tmp_path, on_finding=lambda found: told.append((len(calls), found.code)))
    lightgbm.train({**PARAMS, "metric": "None"}, train, 4, valid_sets=[valid], feval=odd, callbacks=[callback])
    (run,) = runs_in(tmp_path)
    assert np.array_equal(values(run, "valid_0/odd"), [1.0, math.inf, math.nan, math.nan], equal_nan=True)
    assert told[0] == (2, "ADV101")
    assert {finding.code for finding in callback.findings} == {"ADV101"}


def test_a_training_that_raises_is_a_failed_run(tmp_path: Path) -> None:
    train, valid = data()

    def broken(env: Any) -> None:
        if env.iteration == 2:
            raise RuntimeError("the disk is full")

    callback = advisor_callback("trees", store=tmp_path)
    with pytest.raises(RuntimeError, match="disk"), callback:
        lightgbm.train(PARAMS, train, 5, valid_sets=[valid], callbacks=[callback, broken])
    (run,) = runs_in(tmp_path)
    assert run.state is RunState.FAILED
    assert "the disk is full" in str(run.error)
    assert 2 <= len(run.curve("valid_0/l2")) <= 3


def test_one_callback_serves_one_training_after_the_other(tmp_path: Path) -> None:
    callback = advisor_callback("trees", store=tmp_path)
    for _ in range(2):
        train, valid = data()
        lightgbm.train(PARAMS, train, 3, valid_sets=[valid], callbacks=[callback])
    runs = runs_in(tmp_path)
    assert [len(run.curve("valid_0/l2")) for run in runs] == [3, 3]
    assert {run.state for run in runs} == {RunState.FINISHED}


def test_continued_training_goes_on_with_its_iterations(tmp_path: Path) -> None:
    train, valid = data()
    first = lightgbm.train(PARAMS, train, 3, valid_sets=[valid], keep_training_booster=True)
    train, valid = data()
    lightgbm.train(
        PARAMS, train, 2, init_model=first, valid_sets=[valid], callbacks=[advisor_callback("trees", store=tmp_path)]
    )
    (run,) = runs_in(tmp_path)
    assert run.curve("valid_0/l2").steps.tolist() == [3, 4]
    assert run.params["num_iterations"] == 2

from __future__ import annotations

import math
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import make_classification
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestClassifier
from sklearn.exceptions import FitFailedWarning
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.linear_model import LinearRegression, LogisticRegression, SGDClassifier, SGDRegressor
from sklearn.model_selection import GridSearchCV, HalvingGridSearchCV, HalvingRandomSearchCV, RandomizedSearchCV
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

import advisor
from advisor.errors import ConfigError
from advisor.integrations.sklearn import fit_steps, log_search
from storage.records import Run, RunState

X, Y = make_classification(n_samples=120, random_state=0)


def runs_in(store: Path, experiment: str) -> list[Run]:
    with advisor.open(store) as adv:
        return adv.experiment(experiment, create=False).runs()


def figures(results: dict[str, Any]) -> list[str]:
    return [name for name in results if not name.startswith(("param", "iter", "n_resources"))]


def test_each_candidate_of_a_grid_becomes_a_run_with_all_of_cv_results(tmp_path: Path) -> None:
    search = GridSearchCV(DecisionTreeClassifier(random_state=0), {"max_depth": [1, 2, None]}, cv=3)
    search.fit(X, Y)
    runs = log_search(search, "trees", store=tmp_path)
    assert [dict(run.params) for run in runs] == search.cv_results_["params"]
    assert {run.state for run in runs} == {RunState.FINISHED}
    for row, run in enumerate(runs):
        assert set(run.curves) == set(figures(search.cv_results_))
        for name in figures(search.cv_results_):
            assert run.curve(name).values.tolist() == [search.cv_results_[name][row]]
    assert runs[0].meta["estimator"] == "DecisionTreeClassifier"
    assert runs[0].meta["estimator_params"]["criterion"] == "gini"
    with advisor.open(tmp_path) as adv:
        best = adv.experiment("trees").best()
        assert best is not None
        assert dict(best.params) == search.best_params_
        assert best.objective == search.best_score_


def test_a_search_that_is_recorded_twice_is_there_once(tmp_path: Path) -> None:
    search = GridSearchCV(DecisionTreeClassifier(random_state=0), {"max_depth": [1, 2]}, cv=2).fit(X, Y)
    assert len(log_search(search, store=tmp_path)) == 2
    assert log_search(search, store=tmp_path) == []
    assert len(log_search(search.fit(X, Y), store=tmp_path)) == 2
    assert len(runs_in(tmp_path, "DecisionTreeClassifier")) == 4


def test_several_metrics_keep_their_names_and_the_one_refitted_by_is_the_objective(tmp_path: Path) -> None:
    search = RandomizedSearchCV(
        make_pipeline(StandardScaler(), SVC()),
        {"svc__C": [0.1, 1.0, 10.0], "svc__kernel": ["rbf", "linear"]},
        n_iter=4,
        scoring=["accuracy", "f1"],
        refit="f1",
        return_train_score=True,
        cv=2,
        random_state=0,
    ).fit(X, Y)
    runs = log_search(search, "svm", store=tmp_path)
    assert [dict(run.params) for run in runs] == search.cv_results_["params"]
    assert [run.objective for run in runs] == search.cv_results_["mean_test_f1"].tolist()
    assert [run.metrics["mean_train_accuracy"] for run in runs] == search.cv_results_["mean_train_accuracy"].tolist()
    assert runs[0].meta["estimator"] == "Pipeline"
    assert runs[0].meta["estimator_params"]["svc"] == "SVC"
    assert "steps" not in runs[0].meta["estimator_params"]


def test_estimators_as_candidates_are_told_by_their_class(tmp_path: Path) -> None:
    pipeline = make_pipeline(StandardScaler(), SVC())
    search = GridSearchCV(pipeline, {"svc": [SVC(), DecisionTreeClassifier(random_state=0)]}, cv=2).fit(X, Y)
    assert [run.params["svc"] for run in log_search(search, store=tmp_path)] == ["SVC", "DecisionTreeClassifier"]


def test_fits_that_fail_are_failed_runs_whose_scores_stay_nan(tmp_path: Path) -> None:
    search = GridSearchCV(DecisionTreeClassifier(), {"max_depth": [2, -1]}, cv=2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FitFailedWarning)
        warnings.simplefilter("ignore", UserWarning)
        search.fit(X, Y)
    good, bad = log_search(search, "trees", store=tmp_path)
    assert (good.state, bad.state) == (RunState.FINISHED, RunState.FAILED)
    assert bad.error == "2 of 2 fits or scores failed and gave no number"
    assert math.isnan(bad.curve("split0_test_score").last)
    assert math.isnan(bad.metrics["mean_test_score"])
    with advisor.open(tmp_path) as adv:
        assert adv.experiment("trees").best() == good


def test_halving_is_a_run_for_each_candidate_and_prunes_what_it_dropped(tmp_path: Path) -> None:
    grid = {"max_depth": [1, 2, 3, 4], "criterion": ["gini", "entropy"]}
    search = HalvingGridSearchCV(DecisionTreeClassifier(random_state=0), grid, cv=2, factor=2, random_state=0)
    search.fit(X, Y)
    runs = log_search(search, "halving", store=tmp_path)
    results = search.cv_results_
    assert len(runs) == 8
    for run in runs:
        rows = [row for row, params in enumerate(results["params"]) if params == dict(run.params)]
        assert run.curve("mean_test_score").steps.tolist() == [int(results["n_resources"][row]) for row in rows]
        assert np.array_equal(run.curve("mean_test_score").values, results["mean_test_score"][rows])
        survived = results["iter"][rows[-1]] == search.n_iterations_ - 1
        assert run.state is (RunState.FINISHED if survived else RunState.PRUNED)
    with advisor.open(tmp_path) as adv:
        best = adv.experiment("halving").best()
        assert best is not None
        assert dict(best.params) == search.best_params_


def test_a_parameter_that_is_the_resource_of_halving_does_not_split_a_candidate(tmp_path: Path) -> None:
    search = HalvingRandomSearchCV(
        RandomForestClassifier(random_state=0),
        {"max_depth": [1, 2, 3]},
        n_candidates=3,
        resource="n_estimators",
        min_resources=1,
        max_resources=4,
        factor=2,
        cv=2,
        random_state=0,
    ).fit(X, Y)
    runs = log_search(search, "forest", store=tmp_path)
    assert len(runs) == 3
    assert sum(len(run.curve("mean_test_score")) for run in runs) == len(search.cv_results_["params"])
    best = max((run for run in runs if run.state is RunState.FINISHED), key=lambda run: run.objective or 0.0)
    assert dict(best.params) == search.best_params_


def test_what_cannot_be_recorded_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="fit it first"):
        log_search(GridSearchCV(SVC(), {"C": [1]}), store=tmp_path)
    with advisor.open(tmp_path) as adv:
        experiment = adv.experiment("down", objective="loss", direction="minimize")
        search = GridSearchCV(DecisionTreeClassifier(), {"max_depth": [1]}, cv=2).fit(X, Y)
        with pytest.raises(ConfigError, match="is about minimize"):
            log_search(search, experiment)


def test_partial_fit_logs_the_scores_that_the_estimator_has_after_each_step(tmp_path: Path) -> None:
    model = SGDClassifier(random_state=0)
    run = fit_steps(model, X[:80], Y[:80], n_steps=5, validation=(X[80:], Y[80:]), experiment="sgd", store=tmp_path)
    twin = SGDClassifier(random_state=0)
    expected = []
    for _ in range(5):
        twin.partial_fit(X[:80], Y[:80], classes=[0, 1])
        expected.append((twin.score(X[:80], Y[:80]), twin.score(X[80:], Y[80:])))
    (kept,) = runs_in(tmp_path, "sgd")
    assert kept.id == run.id
    assert kept.state is RunState.FINISHED
    assert kept.curve("train/score").values.tolist() == [train for train, _ in expected]
    assert kept.curve("validation/score").values.tolist() == [valid for _, valid in expected]
    assert kept.params["alpha"] == 0.0001
    assert kept.params["estimator"] == "SGDClassifier"


def test_a_forest_grows_to_the_size_it_says_and_is_the_same_forest(tmp_path: Path) -> None:
    model = RandomForestClassifier(n_estimators=10, random_state=0, oob_score=False)
    fit_steps(
        model, X, Y, n_steps=4, validation=(X, Y), scoring=["accuracy", "neg_log_loss"], experiment="f", store=tmp_path
    )
    (run,) = runs_in(tmp_path, "f")
    assert run.curve("validation/accuracy").steps.tolist() == [3, 5, 8, 10]
    assert set(run.curves) == {
        f"{part}/{name}" for part in ("train", "validation") for name in ("accuracy", "neg_log_loss")
    }
    assert len(model.estimators_) == 10
    assert (model.n_estimators, model.warm_start) == (10, False)


def test_boosting_by_histograms_grows_by_its_iterations(tmp_path: Path) -> None:
    model = HistGradientBoostingRegressor(max_iter=6, random_state=0)
    fit_steps(model, X, Y, n_steps=3, experiment="h", store=tmp_path, scoring="r2")
    (run,) = runs_in(tmp_path, "h")
    whole = HistGradientBoostingRegressor(max_iter=6, random_state=0).fit(X, Y)
    assert run.curve("train/r2").steps.tolist() == [2, 4, 6]
    assert run.metrics["train/r2"] == pytest.approx(whole.score(X, Y))


def test_a_network_tells_its_loss_as_well(tmp_path: Path) -> None:
    model = MLPClassifier(hidden_layer_sizes=(4,), random_state=0)
    fit_steps(model, X, Y, n_steps=3, experiment="mlp", store=tmp_path)
    (run,) = runs_in(tmp_path, "mlp")
    assert run.curve("train/loss").values.tolist() == model.loss_curve_
    assert run.params["hidden_layer_sizes"] == "(4,)"


def test_a_step_that_raises_fails_the_run_and_leaves_the_estimator_as_it_was(tmp_path: Path) -> None:
    model = RandomForestClassifier(n_estimators=4, random_state=0)
    with pytest.raises(ValueError, match="inconsistent numbers"):
        fit_steps(model, X, Y[:50], n_steps=2, experiment="f", store=tmp_path)
    (run,) = runs_in(tmp_path, "f")
    assert run.state is RunState.FAILED
    assert "inconsistent numbers" in str(run.error)
    assert (model.n_estimators, model.warm_start) == (4, False)


def test_advice_to_stop_ends_the_steps(tmp_path: Path) -> None:
    def train(rate: float) -> Any:
        return fit_steps(
            SGDRegressor(learning_rate="constant", eta0=rate, random_state=0),
            X,
            Y,
            n_steps=20,
            experiment="sgd",
            store=tmp_path,
            objective="train/score",
            direction="maximize",
            prune=True,
        )

    for rate in (0.001, 0.0011, 0.0012, 0.0013, 0.0014):
        train(rate)
    run = train(1e-7)
    assert run.state is RunState.PRUNED
    assert "worse than the median" in run.stop_reason
    assert len(runs_in(tmp_path, "sgd")[-1].curve("train/score")) < 20


def test_an_estimator_without_steps_is_refused_with_a_way_out(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"LinearRegression cannot be trained in steps.*grow="):
        fit_steps(LinearRegression(), X, Y, n_steps=3, store=tmp_path)
    with pytest.raises(ConfigError, match="at least 1 step"):
        fit_steps(SGDClassifier(), X, Y, n_steps=0, store=tmp_path)
    assert not (tmp_path / "tables").exists()


def test_another_parameter_may_grow(tmp_path: Path) -> None:
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        fit_steps(LogisticRegression(max_iter=4), X, Y, n_steps=2, grow="max_iter", experiment="l", store=tmp_path)
    (run,) = runs_in(tmp_path, "l")
    assert run.curve("train/score").steps.tolist() == [2, 4]


@pytest.mark.parametrize("module", ["", ".sklearn", ".optuna", ".lightgbm", ".catboost"])
def test_importing_loads_no_framework(module: str, repository: Path) -> None:
    code = (
        f"import sys, advisor.integrations{module}\n"
        "heavy = 'sklearn xgboost lightgbm catboost ray optuna torch keras lightning'.split()\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

from __future__ import annotations

import math

import numpy as np
import optuna
import pytest

from advisor.suggest import Forecast, should_stop
from storage.records import Direction
from tests.advisor.suggest.helpers import curve, experiment

SIBLINGS = [curve([1.0 / (step + 1) + 0.01 * i for step in range(20)]) for i in range(6)]


def test_a_run_worse_than_the_median_should_stop() -> None:
    advice = should_stop(experiment(), curve([2.0] * 10), SIBLINGS)
    assert advice.stop
    assert advice
    assert "best loss up to step 9 is 2, worse than the median 0.125 of 6 finished runs" in advice.reason


def test_a_run_as_good_as_others_goes_on() -> None:
    assert not should_stop(experiment(), curve([0.05] * 10), SIBLINGS)


def test_a_good_start_that_got_worse_goes_on_as_its_best_counts() -> None:
    assert not should_stop(experiment(), curve([0.05, *[2.0] * 9]), SIBLINGS)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_value_that_is_not_finite_means_stop(value: float) -> None:
    advice = should_stop(experiment(), curve([0.5, value]), [])
    assert advice.stop
    assert "it will not recover" in advice.reason


def test_steps_need_not_match() -> None:
    every_third = [curve(each.values[::3].tolist(), each.steps[::3].tolist()) for each in SIBLINGS]
    assert should_stop(experiment(), curve([2.0] * 9), every_third)


def test_diverged_siblings_count_as_bad_ones() -> None:
    diverged = [curve([math.nan] * 20)] * 7
    assert not should_stop(experiment(), curve([0.13] * 10), SIBLINGS + diverged)


@pytest.mark.parametrize(
    ("directions", "own", "siblings", "reason"),
    [
        (("minimize",), [2.0] * 10, SIBLINGS[:4], "too few runs to compare with"),
        (("minimize",), [2.0], SIBLINGS, "too early to tell"),
        (("minimize",), [], SIBLINGS, "has not been logged yet"),
        (("minimize", "maximize"), [2.0] * 10, SIBLINGS, "exactly one objective"),
        (("minimize",), [2.0] * 40, SIBLINGS, "too few runs to compare with"),
    ],
)
def test_where_nobody_can_tell_the_run_goes_on(directions, own, siblings, reason) -> None:  # type: ignore[no-untyped-def]
    advice = should_stop(experiment(*directions), curve(own), siblings)
    assert not advice.stop
    assert reason in advice.reason


def test_with_maximisation_lower_is_worse() -> None:
    rising = [curve([0.1 * step + 0.01 * i for step in range(20)]) for i in range(6)]
    assert should_stop(experiment("maximize"), curve([0.0] * 10), rising)
    assert not should_stop(experiment("maximize"), curve([5.0] * 10), rising)


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_the_median_rule_is_the_one_of_optuna(direction: Direction) -> None:
    rng = np.random.default_rng(5)
    for n_steps in (4, 9, 15):
        siblings = [curve(rng.normal(size=20).cumsum().tolist()) for _ in range(7)]
        own = curve(rng.normal(size=n_steps).cumsum().tolist())
        study = optuna.create_study(
            direction=direction, pruner=optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=0)
        )
        study.add_trials(
            [
                optuna.create_trial(value=each.last, intermediate_values=dict(enumerate(each.values.tolist())))
                for each in siblings
            ]
        )
        trial = study.ask()
        for step, value in enumerate(own.values.tolist()):
            trial.report(value, step)
        assert should_stop(experiment(direction), own, siblings).stop == trial.should_prune()


def _foretold(p_best: float) -> Forecast:
    return Forecast(1.9, low=1.8, high=2.0, p_best=p_best, n_runs=12, method="curve-model")


def test_a_run_worse_than_the_median_goes_on_while_it_may_become_the_best() -> None:
    advice = should_stop(experiment(), curve([2.0] * 10), SIBLINGS, forecast=lambda _: _foretold(0.2))
    assert not advice.stop
    assert "but its chance of becoming the best is 20.0% (forecast 1.9, 80 % interval 1.8 to 2)" in advice.reason
    advice = should_stop(experiment(), curve([2.0] * 10), SIBLINGS, forecast=lambda _: _foretold(0.01))
    assert advice.stop
    assert advice.as_json() == {
        "reason": advice.reason,
        "step": 9,
        "value": 2.0,
        "p_best": 0.01,
        "forecast": {"mean": 1.9, "low": 1.8, "high": 2.0},
    }


def test_the_forecast_is_asked_at_tenths_of_the_training_and_only_about_runs_worse_than_the_median() -> None:
    asked: list[float] = []

    def forecast(at: float) -> Forecast:
        asked.append(at)
        return _foretold(0.2)

    for n in range(1, 20):
        should_stop(experiment(), curve([0.001] * n), SIBLINGS, forecast=forecast)
    assert asked == []
    for n in range(1, 20):
        should_stop(experiment(), curve([2.0] * n), SIBLINGS, forecast=forecast)
    assert set(asked) <= {k / 10 for k in range(1, 11)}
    assert len(set(asked)) >= 8


def test_where_nothing_can_be_foretold_only_the_worst_of_all_stops() -> None:
    worse_than_median = 0.5 * (SIBLINGS[3].values[9] + SIBLINGS[4].values[9])
    middling = should_stop(experiment(), curve([worse_than_median] * 10), SIBLINGS, forecast=lambda _: None)
    assert not middling.stop
    assert "too little is known to forecast its end" in middling.reason
    worst = should_stop(experiment(), curve([2.0] * 10), SIBLINGS, forecast=lambda _: None)
    assert worst.stop
    assert "and than each of them" in worst.reason

from __future__ import annotations

import logging
import math

import optuna
import pytest
from optuna.trial import TrialState

from advisor.suggest.outcome import worse_than_all
from advisor.suggest.space import Float, Space
from advisor.suggest.study import build_study, gather
from storage.records import Objective, Run, RunState
from tests.advisor.suggest.helpers import experiment, run

LINE = Space.of({"x": Float(0, 1)})


def _study(runs: list[Run], *directions: str) -> optuna.Study:
    exp = experiment(*directions)  # type: ignore[arg-type]
    return build_study(exp, gather(exp, runs, LINE), LINE, sampler=optuna.samplers.RandomSampler(seed=0))


def test_runs_that_went_wrong_count_as_worse_than_every_finite_one() -> None:
    runs = [
        run(0, {"x": 0.1}, 1.0),
        run(1, {"x": 0.2}, 3.0),
        run(2, {"x": 0.3}, math.nan),
        run(3, {"x": 0.4}, -math.inf),
        run(4, {"x": 0.5}, state=RunState.FAILED),
        run(5, {"x": 0.6}, 0.5, state=RunState.CRASHED),
        run(6, {"x": 0.7}, 0.2, metrics={"loss": math.nan}),
    ]
    values = [trial.value for trial in _study(runs).trials]
    assert values[:2] == [1.0, 3.0]
    assert values[2:] == [pytest.approx(3.2)] * 5
    assert _study(runs).best_value == 1.0


def test_with_maximisation_worse_is_lower() -> None:
    runs = [run(0, {"x": 0.1}, 1.0), run(1, {"x": 0.2}, 3.0), run(2, {"x": 0.3}, math.inf)]
    assert _study(runs, "maximize").trials[2].value == pytest.approx(0.8)


def test_pruned_runs_are_pruned_trials_and_going_ones_running_trials() -> None:
    runs = [
        run(0, {"x": 0.1}, 1.0, state=RunState.PRUNED),
        run(1, {"x": 0.2}, state=RunState.RUNNING),
        run(2, {"x": 0.3}, state=RunState.WAITING),
    ]
    assert [trial.state for trial in _study(runs).trials] == [TrialState.PRUNED, TrialState.RUNNING, TrialState.RUNNING]


def test_what_lies_outside_todays_space_is_clipped_or_left_out_and_counted() -> None:
    runs = [
        run(0, {"x": 1.05}, 1.0),
        run(1, {"x": 5.0}, 1.0),
        run(2, {"y": 1.0}, 1.0),
        run(3, {"x": 0.5}),
        run(4, {"x": 0.5}, 2.0),
    ]
    knowledge = gather(experiment(), runs, LINE)
    assert [dict(params) for params in knowledge.params] == [{"x": 1.0}, {"x": 0.5}]
    counts = (knowledge.n_clipped, knowledge.n_outside, knowledge.n_incomplete, knowledge.n_unmeasured)
    assert counts == (1, 1, 1, 1)
    assert len(knowledge.notes()) == 4


def test_a_parameter_added_later_does_not_make_old_runs_worthless() -> None:
    space = Space.of({"x": Float(0, 1), "new": Float(0, 1)})
    old = [run(i, {"x": i / 10}, 1.0) for i in range(5)]
    knowledge = gather(experiment(), [*old, run(5, {"x": 0.5, "new": 0.5}, 1.0)], space)
    assert len(knowledge.used) == 6


def test_building_a_study_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    optuna.logging.enable_propagation()
    try:
        with caplog.at_level(logging.INFO):
            _study([run(0, {"x": 0.1}, 1.0)])
    finally:
        optuna.logging.disable_propagation()
    assert caplog.text == ""


def test_huge_values_do_not_overflow() -> None:
    worst = worse_than_all(Objective("loss"), [-1.7e308, 1.7e308])
    assert math.isfinite(worst)
    assert worst >= 1.7e308


def test_a_run_that_goes_on_has_not_gone_wrong() -> None:
    assert not experiment().went_wrong(run(0, {"x": 0.1}, state=RunState.RUNNING, metrics={"loss": math.nan}))

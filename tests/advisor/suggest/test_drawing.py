"""Runs as arrays, and points by chance."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from advisor.suggest.drawing import elsewhere_of, own_runs
from advisor.suggest.elsewhere import Task
from advisor.suggest.encoding import Encoder
from advisor.suggest.engine import Own
from advisor.suggest.problem import Problem
from advisor.suggest.space import Float, Space
from advisor.suggest.study import gather
from storage.records import Direction, Run, RunState
from tests.advisor.suggest.helpers import NOW, experiment, run

SPACE = Space.of({"x": Float(0, 10)})


def arrays(runs: list[Run], direction: Direction = "minimize", **problem: Any) -> Own:
    about = replace(experiment(direction), problem=problem)
    knowledge = gather(about, runs, SPACE, pending=[{"x": 9.0}])
    return own_runs(about, Problem.of(problem), knowledge, Encoder(SPACE), waiting=[{"x": 8.0}])


def test_runs_are_sorted_into_what_came_through_what_went_wrong_and_what_goes_on() -> None:
    own = arrays(
        [
            run(0, {"x": 1.0}, 0.5),
            run(1, {"x": 2.0}, math.nan),
            run(2, {"x": 3.0}, state=RunState.CRASHED),
            run(3, {"x": 4.0}, state=RunState.FAILED),
            run(4, {"x": 5.0}, 0.7, state=RunState.PRUNED),
            run(5, {"x": 6.0}, state=RunState.RUNNING),
            run(6, {"x": 7.0}, -math.inf),
        ]
    )
    assert own.points[:, 0].tolist() == [0.1, 0.5]
    assert own.outcomes.tolist() == [-0.5, -0.7]
    assert own.pruned.tolist() == [False, True]
    assert own.wrong[:, 0].tolist() == pytest.approx([0.2, 0.3, 0.4, 0.7])
    assert own.pending[:, 0].tolist() == pytest.approx([0.9, 0.6, 0.8])
    assert len(own.points) + len(own.wrong) + len(own.pending) == 9


def test_a_higher_outcome_is_better_whatever_the_direction() -> None:
    assert arrays([run(0, {"x": 1.0}, 0.5)], "maximize").outcomes.tolist() == [0.5]


def test_runs_are_in_the_order_in_which_they_ended() -> None:
    late, early = (replace(run(i, {"x": float(i)}, 1.0), ended=NOW + timedelta(hours=2 - i)) for i in range(2))
    assert arrays([late, early]).points[:, 0].tolist() == [0.1, 0.0]


def test_costs_and_constraints_are_nan_where_nobody_measured_them() -> None:
    limits = [{"metric": "latency", "op": "<=", "bound": 50.0}]
    runs = [run(0, {"x": 1.0}, 0.5, metrics={"latency": 60.0, "price": 2.0}), run(1, {"x": 2.0}, 0.5)]
    own = arrays(runs, constraints=limits, cost="price")
    assert own.costs is not None
    np.testing.assert_array_equal(own.costs, [2.0, math.nan])
    np.testing.assert_array_equal(own.violations, [[10.0], [math.nan]])
    assert arrays(runs).costs is None
    assert arrays(runs).violations.size == 0


def test_the_same_past_is_modelled_once() -> None:
    def tasks(last: float) -> list[Task]:
        rows = [{"x": float(i)} for i in range(9)]
        ids = [str(i) for i in range(9)]
        return [Task("a", rows=rows, outcomes=np.r_[np.arange(8.0), last], run_ids=ids, similarity=0.5, overlap=1.0)]

    same = tasks(3.5)
    assert elsewhere_of(SPACE, same) is elsewhere_of(Space.of({"x": Float(0, 10)}), list(same))
    assert elsewhere_of(SPACE, same) is not elsewhere_of(SPACE, tasks(4.5))

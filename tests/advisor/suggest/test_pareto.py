from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from advisor.suggest.pareto import best_feasible, front, non_dominated
from storage.records import RunState
from tests.advisor.suggest.helpers import experiment, run


@given(m=st.integers(1, 4), data=st.data())
@settings(deadline=None)
def test_the_front_is_what_comparing_all_pairs_gives(m: int, data: st.DataObject) -> None:
    rows = data.draw(st.lists(st.lists(st.integers(0, 4), min_size=m, max_size=m), max_size=25))
    losses = np.array(rows, dtype=float).reshape(-1, m)
    expected = [not any((other <= row).all() and (other < row).any() for other in losses) for row in losses]
    assert non_dominated(losses).tolist() == expected


def test_the_front_of_two_directions_keeps_equals_and_leaves_out_what_went_wrong() -> None:
    exp = experiment("minimize", "maximize")
    runs = [
        run(0, {}, 1.0, 1.0),
        run(1, {}, 2.0, 3.0),
        run(2, {}, 2.0, 2.0),
        run(3, {}, 1.0, 1.0),
        run(4, {}, math.nan, 9.0),
        run(5, {}, 0.0, 9.0, state=RunState.FAILED),
        run(6, {}, 0.1),
    ]
    assert [each.number for each in front(exp, runs)] == [0, 3, 1]
    assert front(exp, []) == []


def test_what_another_tool_calls_constraints_is_no_constraint() -> None:
    asked, one = experiment(), run(0, {}, 1.0)
    assert asked.ranks(replace(one, meta={"tool": "wandb", "constraints": [3.0], "constraints:size": 3.0}))
    assert not asked.ranks(replace(one, meta={"tool": "optuna", "constraints": [3.0]}))
    assert not asked.ranks(replace(one, system_attrs={"constraints:size": 3.0}))
    assert asked.ranks(replace(one, system_attrs={"constraints": [-1.0, 0.0]}))


def test_with_constraints_only_runs_that_keep_them_are_best_or_on_the_front() -> None:
    bound = [{"metric": "ms", "op": "<=", "bound": 50.0}]
    exp = replace(experiment(), problem={"constraints": bound})
    runs = [
        run(0, {}, 0.1, metrics={"ms": 80}),
        run(1, {}, 0.3, metrics={"ms": 20}),
        run(2, {}, 0.2),
        run(3, {}, 0.3, metrics={"ms": 10}),
    ]
    best = best_feasible(exp, runs)
    assert best is not None
    assert best.number == 1
    assert [each.number for each in front(exp, runs)] == [1, 3]
    assert best_feasible(exp, runs[:1]) is None
    assert front(exp, runs[:1]) == []


@pytest.mark.parametrize("n", [3000])
def test_a_large_front_of_two_objectives_is_found(n: int) -> None:
    angle = np.linspace(0, np.pi / 2, n)
    assert non_dominated(np.column_stack([1 - np.cos(angle), 1 - np.sin(angle)])).all()

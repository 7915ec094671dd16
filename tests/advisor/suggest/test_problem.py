from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisor.errors import ConfigError, SpaceError
from advisor.suggest.problem import Constraint, Prior, Problem
from advisor.suggest.space import Choice, Float, Space
from storage.records import Objective
from tests.advisor.suggest.helpers import NOW, SPACE, run

LOSS = (Objective("loss", "minimize"),)


@pytest.mark.parametrize(
    "written",
    [
        "latency ms <= 50",
        ["latency ms<=50"],
        {"latency ms": "<= 50"},
        [{"latency ms": "<=50.0"}],
        [{"metric": "latency ms", "op": "<=", "bound": 50}],
        [Constraint("latency ms", "<=", 50.0)],
    ],
)
def test_a_constraint_may_be_written_in_several_ways(written: Any) -> None:
    problem = Problem.checked({"constraints": written})
    assert problem.constraints == (Constraint("latency ms", "<=", 50.0),)
    assert str(problem.constraints[0]) == "latency ms <= 50"


def test_all_parts_are_understood_and_come_back_from_their_stored_form() -> None:
    problem = Problem.checked(
        {
            "constraints": ["latency_ms <= 50", "acc >= 0.9", "acc <= 1"],
            "try_first": [{"lr": 0.1}, {"lr": 0.01, "hidden": 64, "optimizer": "sgd"}],
            "fixed": {"hidden": 64.0},
            "renamed": {"lr": "learning_rate", "hidden": ["width", "units"]},
            "priors": {"lr": 1e-2, "hidden": {"center": 100, "spread": 0.1}},
            "cost": "duration",
            "repeats": 3,
        },
        SPACE,
        LOSS,
    )
    assert problem.fixed == {"hidden": 64}
    assert isinstance(problem.fixed["hidden"], int)
    assert problem.renamed == {"lr": ("learning_rate",), "hidden": ("width", "units")}
    assert problem.priors == {"lr": Prior(0.01), "hidden": Prior(100, 0.1)}
    assert Problem.of(problem.to_json()) == problem
    assert Problem.checked(problem.to_json(), SPACE, LOSS) == problem
    assert Problem.checked({}) == Problem()
    assert Problem().to_json() == {}


@given(
    bounds=st.dictionaries(
        st.text("abc_/ ", min_size=1).map(str.strip).filter(bool), st.floats(allow_nan=False, allow_infinity=False)
    )
)
def test_a_bound_is_kept_to_the_last_digit(bounds: Mapping[str, float]) -> None:
    problem = Problem.checked({"constraints": {metric: f"<= {bound!r}" for metric, bound in bounds.items()}})
    assert {c.metric: c.bound for c in problem.constraints} == bounds
    assert Problem.of(problem.to_json()) == problem


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"constraint": ["a <= 1"]}, "a problem has no part 'constraint'; did you mean 'constraints'?"),
        ({"constraints": "latency_ms"}, "constraint 'latency_ms' cannot be understood"),
        ({"constraints": "latency_ms < 50"}, "allowed are <= and >="),
        ({"constraints": "latency_ms <= fast"}, "allowed are <= and >="),
        ({"constraints": {"latency_ms": 50}}, "allowed are <= and >="),
        ({"constraints": "a <= inf"}, "finite number"),
        ({"constraints": 3}, "cannot be understood"),
        ({"constraints": ["a <= 1", "a <= 2"]}, "a <= has two bounds"),
        ({"constraints": ["a >= 2", "a <= 1"]}, "no a is both >= 2 and <= 1"),
        ({"try_first": [{"lrr": 1}]}, "point 1 of try_first: unknown parameter 'lrr'"),
        ({"try_first": [{"lr": 3}]}, "point 1 of try_first: lr = 3 is outside"),
        ({"try_first": [3]}, "holds something else than points"),
        ({"try_first": [{}]}, "point 1 of try_first is empty"),
        ({"fixed": {"optimizer": "lion"}}, "fixed: optimizer = 'lion' is not one of"),
        ({"fixed": ["lr"]}, "maps no parameters to values"),
        ({"fixed": {"lr": [1]}}, "is no finite number, text, truth value or null"),
        ({"renamed": {"lrr": "x"}}, "the space has no parameter 'lrr'; did you mean 'lr'?"),
        ({"renamed": {"lr": 3}}, "is no name"),
        ({"renamed": {"lr": "x", "hidden": "x"}}, "'x' cannot stand for 'hidden' and for 'lr' too"),
        ({"priors": {"optimizer": "sgd"}}, "the prior of 'optimizer' is 'sgd'"),
        ({"priors": {"optimizer": 1}}, "optimizer is a choice; only a numeric parameter has a prior"),
        ({"priors": {"lr": 3}}, "lr = 3 is outside"),
        ({"priors": {"lr": {"center": 0.1, "spread": 0}}}, "has a spread of 0; give a share"),
        ({"priors": {"lr": {"centre": 0.1}}}, "give a number"),
        ({"cost": 3}, "cost = 3 is no metric"),
        ({"cost": "loss"}, "is the objective itself"),
        ({"repeats": 0}, "repeats = 0 is no count"),
        ({"repeats": True}, "repeats = True is no count"),
    ],
)
def test_a_part_that_makes_no_sense_is_refused_in_one_sentence(data: dict[str, Any], message: str) -> None:
    with pytest.raises((ConfigError, SpaceError)) as caught:
        Problem.checked(data, SPACE, LOSS)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_without_a_space_names_and_values_are_taken_as_they_come() -> None:
    problem = Problem.checked({"fixed": {"anything": 3}, "renamed": {"a": "b"}, "priors": {"x": 1}})
    assert problem.fixed == {"anything": 3}


def test_a_run_is_feasible_if_it_is_known_to_keep_all_bounds() -> None:
    problem = Problem.checked({"constraints": ["ms <= 50", "acc >= 0.9"]})
    runs = [
        run(0, {}, 1.0, metrics={"ms": 50, "acc": 0.9}),
        run(1, {}, 1.0, metrics={"ms": 51.5, "acc": 0.8}),
        run(2, {}, 1.0, metrics={"ms": 10}),
        run(3, {}, 1.0, metrics={"ms": 60}),
        run(4, {}, 1.0, metrics={"ms": math.nan, "acc": 1}),
    ]
    assert [problem.feasible(each) for each in runs] == [True, False, None, False, False]
    assert problem.violations(runs[1]) == pytest.approx((1.5, 0.1))
    assert math.isnan(problem.violations(runs[2])[1])
    assert problem.violated(runs[4]) == {"ms <= 50": math.inf, "acc >= 0.9": pytest.approx(-0.1)}
    assert Problem().feasible(runs[4]) is True


def test_what_a_run_costs_is_its_duration_or_a_metric() -> None:
    done = replace(
        run(0, {}, 1.0, metrics={"kwh": 0.5, "odd": math.nan}), started=NOW, ended=NOW + timedelta(minutes=1)
    )
    assert Problem(cost="duration").cost_of(done) == 60
    assert Problem(cost="kwh").cost_of(done) == 0.5
    assert [Problem(cost=cost).cost_of(done) for cost in ("odd", "absent", None)] == [None, None, None]


def test_what_no_longer_fits_a_changed_space_is_passed_over_and_told() -> None:
    said = {
        "fixed": {"lr": 0.1, "hidden": 64},
        "try_first": [{"optimizer": "sgd"}, {"optimizer": "adam"}],
        "priors": {"lr": 0.1, "hidden": 20},
        "renamed": {"hidden": "width", "lr": "rate"},
    }
    problem = Problem.checked(said, SPACE)
    left, notes = problem.fitting(Space.of({"lr": Float(0.05, 1), "optimizer": Choice("adam")}))
    assert left == Problem(
        fixed={"lr": 0.1}, try_first=({"optimizer": "adam"},), priors={"lr": Prior(0.1)}, renamed={"lr": ("rate",)}
    )
    assert [note.split(" no longer")[0] for note in notes[:2]] == [
        "hidden, which is fixed,",
        "the point to try first {optimizer: 'sgd'}",
    ]
    assert notes[2] == "the prior of hidden lies outside the search space and is passed over"
    assert problem.fitting(SPACE) == (problem, ())

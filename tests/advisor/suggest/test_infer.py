from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
)

from advisor.suggest.conditions import Condition
from advisor.suggest.infer import infer_space
from advisor.suggest.space import Choice, Float, Int
from advisor.suggest.study import gather
from storage.records import Run, RunState
from tests.advisor.suggest.helpers import experiment, random_runs, run


def _space_of(rows: list[dict[str, Any]]) -> Any:
    return infer_space([run(i, row, 0.5) for i, row in enumerate(rows)])


def test_every_run_with_all_parameters_lies_inside_the_inferred_space() -> None:
    runs = random_runs(40)
    space = infer_space(runs).space
    problems = [space[name].problem(each.params[name]) for each in runs for name in space]
    assert problems == [None] * (len(runs) * len(space))


def test_values_over_two_decades_get_a_log_scale_with_a_margin() -> None:
    space = _space_of([{"lr": value} for value in (0.0001, 0.01, 1.0)]).space
    assert isinstance(space["lr"], Float)
    assert space["lr"].log
    assert 2e-5 < space["lr"].low < 1e-4
    assert 1 < space["lr"].high < 5


def _trial(number: int, params: dict[str, Any], state: RunState = RunState.FINISHED, **ranges: BaseDistribution) -> Run:
    """A run whose program asked for those of its parameters that have a range here."""
    declared = {name: distribution_to_json(ranges[name]) for name in params if name in ranges}
    return replace(
        run(number, params, *([0.5] if state is RunState.FINISHED else []), state=state), distributions=declared
    )


def test_what_the_optuna_programs_declare_is_taken_where_they_agree() -> None:
    def tried(*bounds: tuple[float, float]) -> list[Run]:
        ranges = [FloatDistribution(low, high, log=True) for low, high in bounds]
        return [_trial(i, {"lr": 0.01 * (i + 1)}, lr=one) for i, one in enumerate(ranges)]

    found = infer_space(tried((1e-5, 10), (1e-5, 10), (1e-5, 10)))
    assert found.space == {"lr": Float(1e-5, 10, log=True)} == found.declared
    assert found.notes == ("lr: [1e-05, 10] on a log scale, as the runs' Optuna programs declare it",)
    others = tried((1e-5, 10), (1e-4, 10), (1e-5, 10))
    assert infer_space(others).space["lr"] == _space_of([dict(one.params) for one in others]).space["lr"]
    assert not infer_space(others).declared


def test_one_range_written_in_two_ways_is_one_range() -> None:
    first, second = _trial(0, {"n": 3}, n=IntDistribution(1, 6)), _trial(1, {"n": 4}, n=IntDistribution(1, 6))
    spaced = second.distributions["n"].replace(" ", "  ").replace('": ', '" : ')
    assert infer_space([first, replace(second, distributions={"n": spaced})]).space == {"n": Int(1, 6)}


def test_a_declared_range_holds_whatever_other_runs_have_and_a_note_says_what_becomes_of_those() -> None:
    ranges = {"d": IntDistribution(1, 6), "b": IntDistribution(1, 9), "m": FloatDistribution(0, 1)}
    trials = [_trial(i, {"d": 1 + i % 6, "b": 1 + i % 9, "m": i / 20}, **ranges) for i in range(20)]
    told = [run(20, {"d": 99, "b": "two", "m": 1.05}, 0.5), run(21, {"d": 98, "b": 3, "m": 0.5}, 0.5)]
    found = infer_space([*trials, *told])
    assert found.space == {"d": Int(1, 6), "b": Int(1, 9), "m": Float(0, 1)}
    assert found.notes == (
        "d: [1, 6], as the runs' Optuna programs declare it; 2 runs have d = 99, 98, outside of that, and suggestions "
        "learn nothing from them",
        "b: [1, 9], as the runs' Optuna programs declare it; 1 run has b = 'two', outside of that, and suggestions "
        "learn nothing from it",
        "m: [0, 1], as the runs' Optuna programs declare it; 1 run has m = 1.05, outside of that, which counts as the "
        "nearest value inside",
    )
    knowledge = gather(experiment(), [*trials, *told], found.space)
    assert knowledge.used == tuple(trials)
    assert (knowledge.n_outside, knowledge.n_incomplete) == (2, 0)


def test_a_null_that_is_declared_is_a_value_and_what_is_declared_as_one_value_is_left_out() -> None:
    weight: tuple[str | None, ...] = (None, "balanced")
    ranges = {"weight": CategoricalDistribution(weight), "k": IntDistribution(3, 3)}
    found = infer_space([_trial(i, {"weight": weight[i % 2], "k": 3}, **ranges) for i in range(12)])
    assert found.space == {"weight": Choice(None, "balanced")}
    assert found.notes[1] == "k: left out, always 3"


CLASSIFIER = {
    "clf": CategoricalDistribution(("svc", "rf")),
    "n": IntDistribution(5, 30),
    "depth": IntDistribution(2, 32, log=True),
    "C": FloatDistribution(1e-3, 1e3, log=True),
    "kernel": CategoricalDistribution(("rbf", "poly")),
    "degree": IntDistribution(2, 5),
}
"""A program with branches, one within the other."""


def _classified(number: int, state: RunState = RunState.FINISHED, *, n_asked: int = 9) -> Run:
    params: dict[str, Any] = {"clf": "rf", "n": 5 + number % 20, "depth": 2 + number % 9}
    if number % 3:
        params = {"clf": "svc", "C": 0.01 * (number + 1), "kernel": ("rbf", "poly")[number % 2]}
        params |= {"degree": 2 + number % 4} if number % 2 else {}
    return _trial(number, dict(list(params.items())[:n_asked]), state, **CLASSIFIER)


def test_a_conditional_parameter_has_its_declared_range_also_within_a_branch() -> None:
    found = infer_space([_classified(i) for i in range(30)])
    svc = Condition("clf", ("svc",))
    assert found.space == {
        "clf": Choice("svc", "rf"),
        "n": Int(5, 30, when={"clf": "rf"}),
        "depth": Int(2, 32, log=True, when={"clf": "rf"}),
        "C": Float(1e-3, 1e3, log=True, when={"clf": "svc"}),
        "kernel": Choice("rbf", "poly", when={"clf": "svc"}),
        "degree": Int(2, 5, when={"kernel": "poly"}),
    }
    assert found.space["C"].when == (svc,)
    assert found.notes[1] == (
        "n: [5, 30], as the runs' Optuna programs declare it; exactly the 10 runs with clf = 'rf' have it"
    )


def test_runs_that_were_told_do_not_change_which_parameters_the_programs_have() -> None:
    trials = [_classified(i) for i in range(30)]
    told = [run(30, {"clf": "rf", "C": 3.0}, 0.5), run(31, {"clf": "knn", "n": 7}, 0.5)]
    found = infer_space([*trials, *told])
    assert found.space == infer_space(trials).space
    assert found.notes[1] == (
        "n: [5, 30], as the runs' Optuna programs declare it; of the 30 runs that can tell exactly the 10 with "
        "clf = 'rf' have it"
    )


@pytest.mark.parametrize("state", [RunState.FAILED, RunState.CRASHED, RunState.RUNNING, RunState.WAITING])
def test_a_run_that_did_not_come_through_takes_no_parameter_away(state: RunState) -> None:
    ranges = {"a": FloatDistribution(0, 1), "b": FloatDistribution(0, 1)}
    trials = [_trial(i, {"a": i / 20, "b": i / 30}, **ranges) for i in range(17)]
    early = [_trial(17, {}, state), _trial(18, {"a": 0.1}, state, **ranges), _trial(19, {"a": 0.3}, state, **ranges)]
    for runs in ([*early, *trials], [replace(one, distributions={}) for one in (*early, *trials)]):
        found = infer_space(runs)
        assert list(found.space) == ["a", "b"]
        said = (
            "3 runs did not come through and have only a part of the parameters of others, so they are not counted in "
            "this"
        )
        assert (found.notes[-1] == said) == state.is_over
    branches = [_classified(i) for i in range(30)]
    early = [_classified(30 + i, state, n_asked=i % 3) for i in range(9)]
    assert infer_space([*branches, *early]).space == infer_space(branches).space


def test_what_only_runs_have_that_failed_takes_no_parameter_away() -> None:
    runs = [run(i, {"lr": 0.1 * (i + 1)}, 0.5) for i in range(10)]
    wrong = [run(10 + i, {"learning_rate": 0.1 * (i + 1)}, state=RunState.FAILED) for i in range(5)]
    found = infer_space([*runs, *wrong])
    assert list(found.space) == ["lr"]
    assert found.notes[1].startswith("learning_rate: left out, only 5 of 15 runs have it")


def test_a_branch_in_which_every_run_fails_is_a_branch() -> None:
    runs = [_classified(i, RunState.FINISHED if i % 3 else RunState.FAILED) for i in range(30)]
    assert infer_space(runs).space == infer_space([_classified(i) for i in range(30)]).space
    few = infer_space([_classified(i, RunState.FINISHED if i % 3 else RunState.FAILED) for i in range(9)])
    assert "C" not in few.space


def test_where_no_run_came_through_those_count_that_came_furthest() -> None:
    early = [run(i, {"a": 0.1 * (i + 1)} | ({"b": i} if i > 1 else {}), state=RunState.FAILED) for i in range(8)]
    assert list(infer_space(early).space) == ["a", "b"]


def test_whole_numbers_words_and_truth_values_are_told_apart() -> None:
    rows = [{"n": n, "act": act, "bn": n > 2} for n, act in ((1, "relu"), (2, "tanh"), (5, "relu"))]
    space = _space_of(rows).space
    assert space == {"n": Int(1, 5), "act": Choice("relu", "tanh"), "bn": Choice(False, True)}


def test_the_margin_does_not_cross_zero_or_reach_a_one_that_was_not_tried() -> None:
    space = _space_of([{"dropout": 0.0, "momentum": 0.5}, {"dropout": 0.5, "momentum": 0.99}]).space
    assert space["dropout"].low == 0
    assert 0.99 < space["momentum"].high < 1


def test_what_cannot_be_tuned_is_left_out_with_the_reason() -> None:
    rows: list[dict[str, Any]] = [
        {"lr": 0.1 * (i + 1), "batch": 128, "wd": None, "seed": i, "path": f"/runs/{i}", "layers": [i]}
        for i in range(12)
    ]
    for row in rows[:5]:
        row["beta1"] = row["lr"]
    inferred = _space_of(rows)
    assert list(inferred.space) == ["lr"]
    notes = dict(note.split(": ", 1) for note in inferred.notes)
    assert notes["batch"] == "left out, always 128"
    assert notes["wd"] == "left out, no run gives it a value"
    assert notes["seed"] == "left out, a seed is not something to tune"
    assert notes["path"] == "left out, 12 different words in 12 runs look like text, not a choice"
    assert notes["layers"] == "left out, its values are not all numbers or words"
    assert notes["beta1"] == "left out, only 5 of 12 runs have it, so it depends on another parameter"


def test_what_exactly_the_runs_with_one_value_have_depends_on_it() -> None:
    rows: list[dict[str, Any]] = [{"lr": 0.1 * (i + 1), "opt": ("sgd", "adam", "lion")[i % 3]} for i in range(18)]
    for i, row in enumerate(rows):
        row |= {"momentum": i / 20} if row["opt"] == "sgd" else {"beta": 0.9 + i / 200}
    inferred = _space_of(rows)
    assert inferred.space["momentum"].when == (Condition("opt", ("sgd",)),)
    assert inferred.space["beta"].when == (Condition("opt", ("adam", "lion")),)
    assert "exactly the 6 runs with opt = 'sgd' have it" in next(n for n in inferred.notes if n.startswith("momentum"))
    assert all(inferred.space.includes(row) for row in rows)


@pytest.mark.parametrize("n_runs", [12, 18])
def test_too_few_runs_or_one_exception_make_no_condition(n_runs: int) -> None:
    rows: list[dict[str, Any]] = [{"lr": 0.1 * (i + 1), "opt": ("sgd", "adam", "lion")[i % 3]} for i in range(n_runs)]
    for i, row in enumerate(rows):
        row |= {"momentum": i / 20} if row["opt"] == "sgd" else {}
    if n_runs == 18:
        rows[1]["momentum"] = 0.5
    assert "momentum" not in _space_of(rows).space


def test_without_runs_the_space_is_empty() -> None:
    assert len(infer_space([]).space) == 0

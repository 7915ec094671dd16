from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from optuna.distributions import FloatDistribution, distribution_to_json

from advisor.suggest.conditions import Condition
from advisor.suggest.infer import infer_space
from advisor.suggest.space import Choice, Float, Int
from tests.advisor.suggest.helpers import random_runs, run


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


def test_what_an_optuna_program_declares_is_taken_where_it_agrees_with_all_runs() -> None:
    def tried(*ranges: tuple[float, float]) -> Any:
        texts = [distribution_to_json(FloatDistribution(low, high, log=True)) for low, high in ranges]
        runs = [run(i, {"lr": 0.01 * (i + 1)}, 0.5) for i in range(len(texts))]
        return [replace(one, distributions={"lr": text}) for one, text in zip(runs, texts, strict=True)]

    found = infer_space(tried((1e-5, 10), (1e-5, 10), (1e-5, 10)))
    assert found.space == {"lr": Float(1e-5, 10, log=True)}
    assert found.notes == ("lr: as the runs' Optuna programs declare it",)
    for others in (tried((1e-5, 10), (1e-4, 10), (1e-5, 10)), tried((1e-5, 0.02), (1e-5, 0.02), (1e-5, 0.02))):
        assert (
            infer_space(others).space["lr"]
            == infer_space([replace(one, distributions={}) for one in others]).space["lr"]
        )


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

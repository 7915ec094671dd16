from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from advisor.errors import SpaceError
from advisor.suggest.geometry import coordinates, design, distances
from advisor.suggest.space import Choice, ChoiceValue, Dimension, Float, Int, Space

SPACE = Space.of(
    {
        "nesterov": Choice(True, False, when={"momentum": "> 0.5"}),
        "optimizer": Choice("sgd", "adam", "rmsprop"),
        "momentum": Float(0, 0.99, when={"optimizer": ["sgd", "rmsprop"]}),
        "layers": Int(1, 8),
        "skip": Choice("add", "cat", when={"layers": ">= 2"}),
        "width": Int(16, 64, when={"layers": ">= 3, < 6", "optimizer": "sgd"}),
    }
)


VALUES: tuple[ChoiceValue, ...] = ("a", True, None, 3, 2.5)


@st.composite
def spaces(draw: st.DrawFn, kinds: tuple[str, ...] = ("float", "int", "choice")) -> Space:
    """Draw a space of up to six parameters, some of which depend on earlier ones in ways that can hold."""
    dimensions: dict[str, Dimension] = {}
    for i in range(draw(st.integers(1, 6))):
        when: dict[str, Any] = {}
        for parent in (
            draw(st.lists(st.sampled_from(sorted(dimensions)), max_size=2, unique=True)) if dimensions else ()
        ):
            above = dimensions[parent]
            if isinstance(above, Choice):
                when[parent] = draw(st.lists(st.sampled_from(above.choices), min_size=1, unique=True))
            else:
                bound = above.at(draw(st.floats(0.1, 0.9)))
                when[parent] = f"{draw(st.sampled_from(['>=', '<=', '==']))} {bound}"
        kind, low = draw(st.sampled_from(kinds)), draw(st.integers(1, 5))
        given: dict[str, Any] = {"when": when or None}
        dimension: Dimension
        if kind == "float":
            dimension = Float(low, low + draw(st.integers(1, 9)), log=draw(st.booleans()), **given)
        elif kind == "int":
            dimension = Int(low, low + draw(st.integers(1, 9)), log=draw(st.booleans()), **given)
        else:
            dimension = Choice(*VALUES[: draw(st.integers(1, 5))], **given)
        try:
            Space({**dimensions, f"p{i}": dimension})
        except SpaceError:  # two conditions that a chain brings together and that exclude each other
            dimension = dimension.depending_on(())
        dimensions[f"p{i}"] = dimension
    names = draw(st.permutations(sorted(dimensions)))
    return Space({name: dimensions[name] for name in names})


@given(space=spaces(), seed=st.integers(0, 2**32 - 1))
@settings(deadline=None)
def test_a_random_point_lies_in_its_space_and_the_space_comes_back_from_its_stored_form(
    space: Space, seed: int
) -> None:
    point = space.draw(np.random.default_rng(seed))
    space.check(point)
    assert space.includes(point)
    assert space.active(point) == point
    assert all(space.is_active(name, point) == (name in point) for name in space)
    again = Space.of(space.to_json())
    assert (again, list(again), again.to_json()) == (space, list(space), space.to_json())


@given(space=spaces(), seed=st.integers(0, 2**32 - 1), data=st.data())
@settings(deadline=None)
def test_what_is_left_when_parameters_are_fixed_completes_to_points_of_the_space(
    space: Space, seed: int, data: st.DataObject
) -> None:
    rng = np.random.default_rng(seed)
    other = space.draw(rng)
    names = data.draw(st.lists(st.sampled_from(sorted(other)), unique=True))
    fixed = {name: other[name] for name in names}
    point = space.complete(space.without(fixed).draw(rng), fixed)
    space.check(point)
    assert all(point[name] == fixed[name] for name in fixed if space.is_active(name, point))
    assert list(point) == [name for name in space if name in point]


@given(space=spaces(kinds=("int", "choice")))
@settings(deadline=None, max_examples=40)
def test_the_points_that_are_counted_are_those_that_are_gone_through(space: Space) -> None:
    n_points = space.n_points
    assert n_points is not None
    if n_points < 3000:
        keys = [space.key(point) for point in space.points()]
        assert len(keys) == len(set(keys)) == n_points


def test_points_of_a_continuum_are_not_counted() -> None:
    assert SPACE.n_points is None
    with pytest.raises(SpaceError, match="no end of values"):
        next(SPACE.points())


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (
            {"optimizer": "adam", "momentum": 0.9, "layers": 1},
            "momentum has no meaning with optimizer = 'adam'; leave it",
        ),
        ({"optimizer": "adam", "layers": 1, "nesterov": True}, "nesterov has no meaning with optimizer = 'adam'"),
        ({"optimizer": "sgd", "momentum": 0.2, "layers": 1, "nesterov": True}, "nesterov has no meaning with momentum"),
        ({"optimizer": "sgd", "layers": 1}, "parameter 'momentum' is missing; with what is given the space needs"),
        ({"optimizer": "adam", "layers": 2}, "'skip' is missing"),
        ({"optimizer": "sgd", "momentum": 1.5, "layers": 1}, "momentum = 1.5 is outside [0, 0.99]"),
    ],
)
def test_a_parameter_without_a_meaning_is_refused_and_one_with_a_meaning_is_asked_for(
    params: dict[str, Any], message: str
) -> None:
    with pytest.raises(SpaceError) as caught:
        SPACE.check(params)
    assert message in str(caught.value)


def test_points_without_what_has_no_meaning_pass() -> None:
    SPACE.check({"optimizer": "adam", "layers": 1})
    SPACE.check({"optimizer": "sgd", "momentum": 0.9, "nesterov": True, "layers": 4, "skip": "add", "width": 32})
    SPACE.check({"momentum": 0.9}, partial=True)
    assert SPACE.missing({"optimizer": "sgd", "layers": 1}) == ["momentum"]
    assert SPACE.missing({"optimizer": "adam", "layers": 2}) == ["skip"]
    assert SPACE.missing({"momentum": 0.9}) == ["optimizer", "layers"]


def test_what_a_run_was_given_without_a_meaning_is_left_out() -> None:
    stored = {"optimizer": "adam", "momentum": 0.9, "nesterov": True, "layers": 1, "note": "old"}
    assert SPACE.active(stored) == {"optimizer": "adam", "layers": 1, "note": "old"}
    assert SPACE.includes(stored)
    assert SPACE.key(stored) == SPACE.key({"optimizer": "adam", "layers": 1})
    assert SPACE.key(stored) != SPACE.key({"optimizer": "adam", "layers": 2, "skip": "add"})


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Space.of({"a": Int(1, 2, when={"b": 1})}), "'a' depends on 'b', which the space does not have"),
        (lambda: Space.of({"a": Int(1, 2, when={"a": 1})}), "'a' depends on itself"),
        (
            lambda: Space.of({"a": Int(1, 2, when={"b": 1}), "b": Int(1, 2, when={"a": 1})}),
            "wait for each other in a circle",
        ),
        (lambda: Space.of({"o": ["x", "y"], "a": Int(1, 2, when={"o": "z"})}), "o = 'z', which is not one of 'x', 'y'"),
        (lambda: Space.of({"n": Int(1, 4), "a": Int(1, 2, when={"n": "> 4"})}), "never has a meaning"),
        (lambda: Space.of({"n": Float(0, 1), "a": Int(1, 2, when={"n": "< 0.5, > 0.5"})}), "never has a meaning"),
        (lambda: Space.of({"n": Int(1, 9, step=4), "a": Int(1, 2, when={"n": "> 5, < 9"})}), "never has a meaning"),
        (
            lambda: Space.of(
                {"o": ["x", "y"], "m": Int(1, 2, when={"o": "x"}), "a": Int(1, 2, when={"o": "y", "m": 1})}
            ),
            "'a' never has a meaning",
        ),
        (lambda: Float(0, 1, when={}), "maps no other parameter"),
        (lambda: Float(0, 1, when={"o": []}), "empty list"),
        (lambda: Float(0, 1, when={"n": ">= many"}), "compares with no number"),
        (lambda: Float(0, 1, when={"o": {"x": 1}}), "cannot be compared"),
        (lambda: Float(0, 1, default=2), "default = 2 is outside [0, 1]"),
    ],
)
def test_a_condition_that_makes_no_sense_is_refused_in_one_sentence(build: Callable[[], Any], message: str) -> None:
    with pytest.raises(SpaceError) as caught:
        build()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_conditions_are_read_from_yaml_and_kept_only_where_there_are_some(tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    path.write_text(
        "optimizer: [sgd, adam]\n"
        "momentum: {low: 0, high: 0.99, when: {optimizer: sgd}}\n"
        "layers: {low: 1, high: 8}\n"
        "skip: {choices: [add, cat], when: {layers: '>= 2'}, default: add}\n"
    )
    space = Space.from_yaml(path)
    assert space["momentum"] == Float(0, 0.99, when={"optimizer": "sgd"})
    assert space["momentum"] != Float(0, 0.99)
    assert space["skip"] == Choice("add", "cat", when={"layers": ">= 2"}, default="add")
    assert space["layers"].to_json() == {"type": "int", "low": 1, "high": 8, "log": False, "step": 1}
    assert space["skip"].to_json()["when"] == {"layers": ">= 2"}


def test_true_is_not_one_and_a_choice_may_look_like_a_comparison() -> None:
    space = Space.of({"deep": [True, False], "op": [">= 2", "x"], "n": Int(1, 2, when={"deep": True, "op": [">= 2"]})})
    assert space.is_active("n", {"deep": True, "op": ">= 2"})
    assert not space.is_active("n", {"deep": 1, "op": ">= 2"})
    assert Space.of(space.to_json()) == space


def test_two_points_that_lack_a_conditional_parameter_are_equal_in_it() -> None:
    space = Space.of({"optimizer": ["sgd", "adam"], "momentum": Float(0, 1, when={"optimizer": "sgd"})})
    rows: list[dict[str, Any]] = [
        {"optimizer": "adam", "momentum": 0.3},
        {"optimizer": "adam"},
        {"optimizer": "sgd", "momentum": 0.5},
    ]
    points = coordinates(space, rows)
    assert np.isnan(points[:2, 1]).all()
    assert distances(space, points, points[0]).tolist() == [0.0, 0.0, 1.0]
    assert design(space, rows)[:, 2].tolist() == [-1.0, -1.0, 0.5]


def test_a_parameter_that_is_simply_missing_stays_far_from_everything() -> None:
    space = Space.of({"a": Float(0, 1), "b": Float(0, 1)})
    points = coordinates(space, [{"a": 0.5}, {"a": 0.5}])
    assert distances(space, points, points[0]).tolist() == [0.5, 0.5]


def test_a_default_stands_for_a_parameter_that_was_added_later() -> None:
    space = Space.of({"lr": Float(0, 1), "decay": Float(0, 0.5, default=0.25)})
    assert space.active({"lr": 0.5}) == {"lr": 0.5}
    assert space.active({"lr": 0.5}, fill=True) == {"lr": 0.5, "decay": 0.25}
    assert coordinates(space, [{"lr": 0.5}]).tolist() == [[0.5, 0.5]]
    assert space.key({"lr": 0.5}) == space.key({"lr": 0.5, "decay": 0.25})
    with pytest.raises(SpaceError, match="'decay' is missing"):
        space.check({"lr": 0.5})


@pytest.mark.parametrize(
    "sampler",
    [
        optuna.samplers.RandomSampler(seed=0),
        optuna.samplers.TPESampler(seed=0, n_startup_trials=5),
        optuna.samplers.NSGAIISampler(seed=0, population_size=5),
    ],
    ids=lambda sampler: type(sampler).__name__,
)
def test_optunas_samplers_walk_through_a_conditional_space(sampler: optuna.samplers.BaseSampler) -> None:
    study = optuna.create_study(sampler=sampler)
    seen: set[str] = set()
    for i in range(20):
        trial = study.ask()
        params = SPACE.suggest(trial, fixed={"layers": 4})
        SPACE.check(params)
        assert params["layers"] == 4
        assert "layers" not in trial.params
        seen |= set(params)
        study.tell(trial, float(i))
    assert seen == set(SPACE)


def test_a_changed_space_is_told_sentence_by_sentence() -> None:
    before = Space.of({"lr": Float(1e-4, 1, log=True), "opt": ["sgd", "lion"], "n": Int(1, 8), "old": [1, 2]})
    after = Space.of(
        {
            "lr": Float(1e-5, 1, log=True),
            "opt": ["sgd", "adam"],
            "n": Int(2, 4, when={"opt": "sgd"}),
            "decay": Float(0, 0.1, default=0),
        }
    )
    assert before.difference(after) == [
        "lr widened from [0.0001, 1] to [1e-05, 1]",
        "opt gained 'adam'",
        "opt lost 'lion'",
        "n narrowed from [1, 8] to [2, 4]",
        "n has a meaning now only where opt = 'sgd'",
        "old was removed",
        "decay was added: [0, 0.1]; runs without it count as 0.0",
    ]
    assert before.difference(before) == []
    assert Space.of({"a": [1, 2]}).difference(Space.of({"a": Int(1, 2)})) == [
        "a changed from a choice of (1, 2) to whole numbers [1, 2]"
    ]

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisor.errors import SpaceError
from advisor.suggest.space import Choice, Float, Int, Space
from tests.advisor.suggest.helpers import SPACE

POINT = {"lr": 0.1, "hidden": 64, "optimizer": "adam"}


def test_a_point_inside_the_space_passes() -> None:
    SPACE.check(POINT)
    assert [SPACE[name].problem(value) for name, value in POINT.items()] == [None, None, None]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({**POINT, "lr": 3.0}, "lr = 3.0 is outside [1e-05, 1]; choose a value inside, or widen the space"),
        ({**POINT, "lrr": 1}, "unknown parameter 'lrr'; did you mean 'lr'?"),
        ({"lr": 0.1, "hidden": 64}, "parameter 'optimizer' is missing; the space has lr, hidden, optimizer"),
        ({**POINT, "hidden": 64.5}, "hidden = 64.5 is not a whole number; give one in [16, 512]"),
        ({**POINT, "optimizer": "lion"}, "optimizer = 'lion' is not one of 'sgd', 'adam'"),
        ({**POINT, "lr": math.nan}, "lr = nan is not a number; give one in [1e-05, 1]"),
        ({**POINT, "lr": True}, "lr = True is not a number; give one in [1e-05, 1]"),
        ({**POINT, "hidden": 10**400}, "is not a whole number"),
    ],
)
def test_a_mistake_is_one_sentence(params: dict[str, Any], message: str) -> None:
    with pytest.raises(SpaceError) as caught:
        SPACE.check(params)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Float(2, 1), "low must not be above high"),
        (lambda: Float(0, 1, log=True), "a log scale needs low > 0"),
        (lambda: Float(0.1, 1, log=True, step=0.1), "step and log=True exclude each other"),
        (lambda: Float(0, 1, step=-1), "step must be a number above 0"),
        (lambda: Float(0, math.inf), "both bounds must be finite"),
        (lambda: Int(0, 8, log=True), "a log scale needs low >= 1"),
        (lambda: Int(1, 8, log=True, step=2), "step and log=True exclude each other"),
        (lambda: Int(1.5, 8), "bounds must be whole numbers"),  # type: ignore[arg-type]
        (lambda: Choice(), "at least one value"),
        (lambda: Choice("a", "a"), "equal to a choice before it"),
        (lambda: Choice(1, True), "equal to a choice before it"),
        (lambda: Choice(["a", "b"]), "one by one"),  # type: ignore[arg-type]
        (lambda: Space.of({}), "search space is empty"),
        (lambda: Space.of({"lr": 3}), "parameter 'lr': 3 is not a range"),
        (lambda: Space.of({"lr": {"low": 1, "high": 2, "logg": True}}), "unknown key 'logg'"),
        (lambda: Space.of({"lr": {"low": 1}}), "'high' is missing"),
        (lambda: Space.of({"lr": {"type": "foo"}}), "unknown type 'foo'"),
        (lambda: Space.of({"lr": {"low": "x", "high": 1}}), "both bounds must be finite numbers"),
    ],
)
def test_a_space_that_makes_no_sense_is_refused(build: Any, message: str) -> None:
    with pytest.raises(SpaceError) as caught:
        build()
    assert message in str(caught.value)


def test_the_stored_form_comes_back_equal() -> None:
    space = Space.of({**SPACE, "step": Float(0, 1, step=0.25), "odd": Int(1, 9, step=2), "mix": Choice(None, True, 2)})
    assert Space.from_json(space.to_json()) == space
    assert list(Space.from_json(space.to_json())) == list(space)


def test_optunas_distributions_are_understood_and_given_back() -> None:
    given = {
        "lr": optuna.distributions.FloatDistribution(1e-5, 1, log=True),
        "n": optuna.distributions.IntDistribution(1, 9, step=2),
        "act": optuna.distributions.CategoricalDistribution(["relu", "tanh"]),
    }
    space = Space.of(given)
    assert space == {"lr": Float(1e-5, 1, log=True), "n": Int(1, 9, step=2), "act": Choice("relu", "tanh")}
    assert space.to_distributions() == given


def test_a_yaml_file_may_use_short_forms(tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    path.write_text(
        "lr: {low: 1e-5, high: 1, log: true}\n"
        "hidden: {min: 16, max: 512}\n"
        "optimizer: [sgd, adam]\n"
        "dropout: {type: float, low: 0, high: 0.5, step: 0.1}\n"
    )
    assert Space.from_yaml(path) == {
        "lr": Float(1e-5, 1, log=True),
        "hidden": Int(16, 512),
        "optimizer": Choice("sgd", "adam"),
        "dropout": Float(0, 0.5, step=0.1),
    }


@pytest.mark.parametrize(("text", "message"), [("[1, 2]", "must map"), ("a: [", "is not YAML"), (None, "cannot read")])
def test_a_file_that_holds_no_space_is_refused_in_one_line(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "space.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(SpaceError, match=message) as caught:
        Space.from_yaml(path)
    assert "\n" not in str(caught.value)


@given(unit=st.floats(0, 1), low=st.integers(-50, 50), width=st.integers(0, 60), step=st.integers(1, 7))
def test_every_position_on_a_scale_is_an_allowed_value(unit: float, low: int, width: int, step: int) -> None:
    for dimension in (
        Int(low, low + width, step=step),
        Float(low, low + width),
        Float(low, low + width, step=0.3 * step),
        Int(abs(low) + 1, abs(low) + 1 + width, log=True),
        Float(10.0**-6, 10.0 ** (width / 20), log=True),
        Choice("a", None, 3),
    ):
        assert dimension.problem(dimension.at(unit)) is None


def test_the_number_of_points_of_a_discrete_space_is_known() -> None:
    assert Space.of({"n": Int(1, 9, step=2), "act": ["a", "b"], "p": Float(0, 1, step=0.5)}).n_points == 5 * 2 * 3
    assert SPACE.n_points is None

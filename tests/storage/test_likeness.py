"""How like two runs are."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.likeness import of_curves, of_parameters, of_shapes, scales
from storage.records import Curve

VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3)
PARAMS = st.dictionaries(st.sampled_from("abcd"), VALUES, max_size=4)
SERIES = st.lists(st.floats(), max_size=12).map(lambda values: np.array(values, dtype=np.float64))


@given(PARAMS, PARAMS, PARAMS)
def test_likeness_of_parameters_is_symmetric_and_between_zero_and_one(one: dict, other: dict, third: dict) -> None:
    ranges = scales([one, other, third])
    like = of_parameters(one, other, scales=ranges)
    assert 0 <= like <= 1
    assert like == pytest.approx(of_parameters(other, one, scales=ranges))
    assert of_parameters(one, one, scales=ranges) == (1.0 if one else 0.0)


def test_a_learning_rate_is_compared_by_its_logarithm() -> None:
    ranges = scales([{"lr": 1e-4}, {"lr": 1.0}])
    near = of_parameters({"lr": 1e-4}, {"lr": 1e-3}, scales=ranges)
    far = of_parameters({"lr": 1e-4}, {"lr": 1e-1}, scales=ranges)
    assert (near, far) == (pytest.approx(0.75), pytest.approx(0.25))


def test_what_one_run_lacks_counts_as_different() -> None:
    assert of_parameters({"lr": 0.1, "nesterov": True}, {"lr": 0.1}, scales={}) == 0.5


@given(SERIES, SERIES)
def test_likeness_of_shapes_is_symmetric_and_between_zero_and_one(one: np.ndarray, other: np.ndarray) -> None:
    with np.errstate(all="ignore"):
        like = of_shapes(one, other)
        assert 0 <= like <= 1
        assert like == pytest.approx(of_shapes(other, one))
        assert of_shapes(one, one) == pytest.approx(1.0)


def test_a_short_run_may_be_like_a_long_one_and_a_broken_one_is_not() -> None:
    falling, longer, rising = np.geomspace(10, 0.1, 20), np.geomspace(10, 0.1, 90), np.geomspace(0.1, 10, 20)
    assert of_shapes(falling, longer) > 0.98
    assert of_shapes(falling, rising) < 0.65
    broken = falling.copy()
    broken[12:] = math.nan
    assert of_shapes(falling, broken) < 0.5 < of_shapes(broken, broken)


def test_curves_are_compared_by_shared_metrics() -> None:
    def curve(metric: str, *values: float) -> Curve:
        return Curve.of(metric, range(len(values)), values)

    one = {"loss": curve("loss", 3, 2, 1), "acc": curve("acc", 0, 1, 1)}
    assert of_curves(one, {"loss": curve("loss", 3, 2, 1)}, first="loss") == (1.0, "loss")
    assert of_curves(one, {"other": curve("other", 1)}) == (0.0, "")

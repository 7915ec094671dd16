from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from storage.downsample import downsample
from storage.errors import RecordError
from storage.records import Curve
from storage.thinning import chosen

Floats = NDArray[np.float64]

VALUES = st.lists(
    st.one_of(st.floats(-100, 100), st.sampled_from([np.nan, np.inf, -np.inf, 0.0])), min_size=1, max_size=400
).map(lambda values: np.array(values, dtype=np.float64))
BUDGET = st.integers(8, 200)


@given(VALUES, BUDGET)
def test_what_is_kept_is_within_the_budget_and_in_order(values: Floats, budget: int) -> None:
    kept = chosen(values, budget)
    assert kept.size <= budget
    assert (np.diff(kept) > 0).all()
    assert set(kept.tolist()) <= set(range(values.size))


@given(VALUES, BUDGET)
def test_a_curve_that_fits_stays_as_it_is(values: Floats, budget: int) -> None:
    curve = Curve.of("loss", np.arange(values.size), values)
    assert (downsample(curve, budget) is curve) == (len(curve) <= budget)
    assert downsample(curve, max(budget, len(curve))) is curve


@given(VALUES, BUDGET)
def test_first_last_lowest_and_highest_are_kept(values: Floats, budget: int) -> None:
    kept = chosen(values, budget)
    assert (kept[0], kept[-1]) == (0, values.size - 1)
    finite = values[np.isfinite(values)]
    if finite.size:
        assert {finite.min(), finite.max()} <= set(values[kept].tolist())


@given(VALUES, BUDGET, st.data())
def test_a_spike_of_one_point_survives_wherever_it_is(values: Floats, budget: int, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, values.size - 1))
    values[at] = data.draw(st.sampled_from([1e6, -1e6]))
    assert at in chosen(values, budget)


@given(st.integers(1, 400), BUDGET, st.data())
def test_a_single_value_that_is_not_finite_survives_wherever_it_is(n: int, budget: int, data: st.DataObject) -> None:
    values = np.linspace(1, 0, n)
    at = data.draw(st.integers(0, n - 1))
    values[at] = data.draw(st.sampled_from([np.nan, np.inf, -np.inf]))
    assert at in chosen(values, budget)


@given(VALUES, BUDGET)
def test_every_kind_of_value_near_a_place_is_shown_near_it(values: Floats, budget: int) -> None:
    kept = chosen(values, budget)
    width = -(-values.size // (budget // 7))
    for kind in (np.isnan, np.isposinf, np.isneginf, np.isfinite):
        for at in np.flatnonzero(kind(values)):
            near = kept[np.abs(kept - at) < width]
            assert kind(values[near]).any()


def test_a_curve_of_nothing_but_changes_between_finite_and_not_stays_within_the_budget() -> None:
    values = np.tile([1.0, np.nan, np.inf, -np.inf], 2500)
    kept = chosen(values, 100)
    assert 50 < kept.size <= 100
    assert {str(value) for value in values[kept]} == {"1.0", "nan", "inf", "-inf"}


def test_steps_and_times_go_with_their_values() -> None:
    values = np.zeros(1000)
    values[617] = 9.0
    curve = Curve.of("loss", np.arange(0, 2000, 2), values, np.arange(1000) / 10)
    found = downsample(curve, 20)
    at = int(np.argmax(found.values))
    assert (found.metric, found.steps[at], found.values[at], found.times[at]) == ("loss", 1234, 9.0, 61.7)


def test_a_budget_that_cannot_show_a_curve_is_refused() -> None:
    with pytest.raises(RecordError, match="max_points = 7 is too few to show a curve; give 8 or more"):
        downsample(Curve.of("loss", [1], [1.0]), 7)

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from advisor.findings.pace import Pace
from advisor.findings.trail import Trail
from tests.advisor.findings.made import a_loss


def followed(values: object, *, cuts: tuple[int, ...] = ()) -> Trail:
    array = np.asarray(values, dtype=np.float64)
    steps, trail = np.arange(array.size), Trail("minimize")
    places = sorted({0, array.size, *(cut % (array.size + 1) for cut in cuts)})
    for low, high in itertools.pairwise(places):
        trail.extend(steps[low:high], array[low:high])
    return trail


def seen(trail: Trail) -> tuple[object, ...]:
    return (trail.n, trail.followed, trail.spikes, trail.largest, trail.open, *vars(trail.diverged).values())


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(0, 1e6) | st.sampled_from([1.0, 30.0, float("nan"), -1.0]), max_size=200),
    st.lists(st.integers(0, 200), max_size=6),
)
def test_how_points_are_cut_into_batches_changes_nothing(values: list[float], cuts: list[int]) -> None:
    assert seen(followed(values, cuts=tuple(cuts))) == seen(followed(values))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(0, 10), max_size=700), st.lists(st.integers(0, 700), max_size=4))
def test_how_steps_are_cut_into_batches_changes_no_pace(seconds: list[float], cuts: list[int]) -> None:
    array = np.asarray(seconds, dtype=np.float64)
    whole, pieces = Pace(), Pace()
    whole.extend(array)
    places = sorted({0, array.size, *(cut % (array.size + 1) for cut in cuts)})
    for low, high in itertools.pairwise(places):
        pieces.extend(array[low:high])
    assert (whole.slow, whole.was_slow, whole.n) == (pieces.slow, pieces.was_slow, pieces.n)
    np.testing.assert_allclose(whole.start_s, pieces.start_s, equal_nan=True)


def test_a_spike_is_open_until_half_of_it_is_undone() -> None:
    values = a_loss(200)
    values[120:128] = 1.5
    during, after = followed(values[:124]), followed(values)
    assert during.open is not None
    assert during.open.at == 120
    assert after.open is None
    assert after.largest is not None
    assert after.largest.recovered_after == 8


def test_a_spike_of_a_nat_is_seen_at_its_own_point() -> None:
    values = a_loss(400, noise=0.03)
    values[300] *= np.e
    assert followed(values[:300]).largest is None
    assert followed(values[:301]).largest is not None


def test_a_level_that_stays_high_has_diverged_within_a_twentieth_of_the_run() -> None:
    values = a_loss(400, floor=0.02)
    values[300:] = 3.5
    assert followed(values[:302]).diverged.now is None
    assert followed(values[:320]).diverged.now is not None


@pytest.mark.parametrize("seed", range(5))
def test_steps_half_again_as_long_are_slow_within_a_twentieth_of_the_run(seed: int) -> None:
    rng = np.random.default_rng(seed)
    seconds = 0.2 * np.exp(0.05 * rng.standard_normal(1000))
    seconds[600:] *= 1.5
    pace = Pace()
    pace.extend(seconds[:650])
    assert pace.slow is not None
    assert pace.seconds / pace.start_s == pytest.approx(1.5, rel=0.1)
    before = Pace()
    before.extend(seconds[:600])
    assert before.slow is None
    assert before.was_slow is None


def test_rare_long_steps_are_no_slowing_down() -> None:
    seconds = np.full(2000, 0.1)
    seconds[::100] = 5.0  # evaluation and checkpoints
    pace = Pace()
    pace.extend(seconds)
    assert pace.slow is None
    assert pace.was_slow is None


def test_a_start_of_any_size_hides_no_spike() -> None:
    values = np.concatenate(([6e13, 40.0], a_loss(200)))
    values[120] *= np.e**1.5
    trail = followed(values)
    assert trail.largest is not None
    assert trail.largest.at == 120
    assert not trail.is_small(trail.largest)


def test_a_start_that_the_next_values_bear_out_is_the_first_value() -> None:
    values = np.array([2.4, 1.6, 1.1, 0.9, *np.geomspace(0.7, 0.01, 40)])
    values[30] *= 10
    trail = followed(values)
    assert trail.largest is not None
    assert trail.is_small(trail.largest) == (values[30] < 0.24)

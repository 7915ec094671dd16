from __future__ import annotations

import math

import pytest

from advisor.suggest import should_stop
from tests.advisor.suggest.helpers import curve, experiment

SIBLINGS = [curve([1.0 / (step + 1) + 0.01 * i for step in range(20)]) for i in range(6)]


def test_a_run_worse_than_the_median_should_stop() -> None:
    advice = should_stop(experiment(), 7, curve([2.0] * 10), SIBLINGS)
    assert advice.stop
    assert advice
    assert "best loss up to step 9 is 2, worse than the median 0.125 of 6 finished runs" in advice.reason


def test_a_run_as_good_as_others_goes_on() -> None:
    assert not should_stop(experiment(), 7, curve([0.05] * 10), SIBLINGS)


def test_a_good_start_that_got_worse_goes_on_as_its_best_counts() -> None:
    assert not should_stop(experiment(), 7, curve([0.05, *[2.0] * 9]), SIBLINGS)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_value_that_is_not_finite_means_stop(value: float) -> None:
    advice = should_stop(experiment(), 7, curve([0.5, value]), [])
    assert advice.stop
    assert "it will not recover" in advice.reason


def test_steps_need_not_match() -> None:
    every_third = [curve(each.values[::3].tolist(), each.steps[::3].tolist()) for each in SIBLINGS]
    assert should_stop(experiment(), 7, curve([2.0] * 9), every_third)


def test_diverged_siblings_count_as_bad_ones() -> None:
    diverged = [curve([math.nan] * 20)] * 7
    assert not should_stop(experiment(), 7, curve([0.13] * 10), SIBLINGS + diverged)


@pytest.mark.parametrize(
    ("directions", "own", "siblings", "reason"),
    [
        (("minimize",), [2.0] * 10, SIBLINGS[:4], "too few runs to compare with"),
        (("minimize",), [2.0], SIBLINGS, "too early to tell"),
        (("minimize",), [], SIBLINGS, "has not been logged yet"),
        (("minimize", "maximize"), [2.0] * 10, SIBLINGS, "exactly one objective"),
        (("minimize",), [2.0] * 40, SIBLINGS, "too few runs to compare with"),
    ],
)
def test_where_nobody_can_tell_the_run_goes_on(directions, own, siblings, reason) -> None:  # type: ignore[no-untyped-def]
    advice = should_stop(experiment(*directions), 7, curve(own), siblings)
    assert not advice.stop
    assert reason in advice.reason


def test_with_maximisation_lower_is_worse() -> None:
    rising = [curve([0.1 * step + 0.01 * i for step in range(20)]) for i in range(6)]
    assert should_stop(experiment("maximize"), 7, curve([0.0] * 10), rising)
    assert not should_stop(experiment("maximize"), 7, curve([5.0] * 10), rising)

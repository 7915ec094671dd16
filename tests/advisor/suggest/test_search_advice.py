"""Whether to go on searching is said from what the runs gained, beside their noise and their cost."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from advisor.suggest import Int, SearchAdvice, Space, advise_search
from advisor.suggest.search_advice import EARLIEST, PATIENCE
from storage.records import Direction, Objective, Run
from tests.advisor.suggest.helpers import NOW, experiment, run


def searched(values: Sequence[float]) -> list[Run]:
    return [
        replace(run(i, {"x": i}, value), started=NOW, ended=NOW + timedelta(seconds=90))
        for i, value in enumerate(values)
    ]


def flat(n: int) -> list[float]:
    """A search that found the best early and then tries poor points only."""
    rng = np.random.default_rng(0)
    return [3.0, 0.0, *(rng.uniform(2, 3, n - 2)).tolist()]


def falling(n: int) -> list[float]:
    return [10.0 - 0.1 * i for i in range(n)]


def test_a_search_that_stands_still_is_advised_to_stop() -> None:
    advice = advise_search(experiment(), searched(flat(70)))
    assert advice
    assert advice.expected_gain is not None
    assert advice.noise is not None
    assert advice.expected_gain <= advice.noise
    assert (advice.n_runs, advice.n_since_best, advice.cost_s) == (70, 68, 1800.0)
    assert advice.reason.startswith("stop: the next 20 runs are expected to improve loss by ")
    assert "20 more take about 30 min" in advice.reason


@pytest.mark.parametrize("way", ["minimize", "maximize"])
def test_a_search_that_improves_goes_on(way: Direction) -> None:
    sign = 1.0 if way == "minimize" else -1.0
    advice = advise_search(experiment(way), searched([sign * value for value in falling(70)]))
    assert not advice
    assert advice.expected_gain == pytest.approx(2.0, abs=1.0)
    assert advice.reason.startswith("go on: ")


def test_what_the_first_runs_gained_on_each_other_is_not_expected_again() -> None:
    values = [9.0, 8.2, *(1.0 + 0.01 * (i % 7) for i in range(20))]
    advice = advise_search(experiment(), searched(values))
    assert advice.expected_gain is not None
    assert 0 < advice.expected_gain < 0.05


def test_a_search_must_stand_still_for_a_while_and_not_at_its_beginning() -> None:
    values = flat(EARLIEST + PATIENCE)
    assert not advise_search(experiment(), searched(values[: EARLIEST + PATIENCE - 2]))
    assert advise_search(experiment(), searched(values[: EARLIEST + PATIENCE - 1]))


def test_few_runs_cannot_tell() -> None:
    advice = advise_search(experiment(), searched(flat(19)))
    assert not advice
    assert advice.reason == "not enough runs to tell: 19 finished, 20 are needed"
    assert (advice.expected_gain, advice.noise, advice.gain_per_hour) == (None, None, None)
    assert advise_search(replace(experiment(), objectives=()), []).reason == "experiment 'digits' has no objective"


def test_noise_comes_from_repeats_where_there_are_any() -> None:
    runs = searched(flat(60))
    runs += [replace(run(60 + i, {"x": 5, "seed": i}, value), ended=NOW) for i, value in enumerate((2.0, 2.4))]
    advice = advise_search(experiment(), runs)
    repeated = [one.values[0] for one in runs if one.params["x"] == 5]
    assert advice.noise == pytest.approx(float(np.std(repeated, ddof=1)))
    assert advice.noise_basis == "the standard deviation between repeats (3 runs)"


@pytest.mark.parametrize("shift", [0.0, 1e-17])
def test_repeats_that_agree_tell_no_noise(shift: float) -> None:
    runs = searched(flat(60))
    value = next(one.values[0] for one in runs if one.params["x"] == 5)
    runs += [replace(run(60 + i, {"x": 5, "seed": i}, value * (1 + shift)), ended=NOW) for i in range(2)]
    advice = advise_search(experiment(), runs)
    losses = [one.values[0] for one in runs]
    assert advice.noise == pytest.approx(0.02 * (float(np.median(losses)) - min(losses)))
    assert (
        "2% of the distance from the median run to the best (3 repeated runs agree, which tells no noise)"
        in advice.reason
    )
    assert not advice.noise_from_repeats


def test_what_suggestions_expect_of_themselves_keeps_a_search_going() -> None:
    runs = searched([20.0 + value for value in flat(70)])
    hopeful = [{"expected_improvement": 0.5}] * PATIENCE
    advice = advise_search(experiment(), runs, suggestions=hopeful)
    assert not advice
    assert advice.from_model == advice.expected_gain == pytest.approx(10.0)
    hopeless = [{"expected_improvement": 0.0}, {"expected_improvement": math.nan}, {"why": "…"}] * PATIENCE
    assert advise_search(experiment(), runs, suggestions=hopeless)


@pytest.mark.parametrize(
    ("way", "metric", "best", "left", "end"),
    [("minimize", "val_loss", 0.1, 0.1, "0"), ("maximize", "val_acc", 0.97, 0.03, "1"),
     ("maximize", "accuracy", 97.0, 3.0, "100"), ("maximize", "reward", 0.97, None, "")],
)  # fmt: skip
def test_no_more_gain_is_expected_than_the_objective_can_take(
    way: Direction, metric: str, best: float, left: float | None, end: str
) -> None:
    sign = 1.0 if way == "minimize" else -1.0
    asked = replace(experiment(), objectives=(Objective(metric, way),))
    runs = searched([best + sign * 0.3 * (1 - i / 49) for i in range(50)])
    advice = advise_search(asked, runs, suggestions=[{"expected_improvement": 0.2}] * PATIENCE)
    if left is None:
        assert advice.expected_gain == advice.from_model == pytest.approx(4.0)
        assert "at most" not in advice.reason
        return
    assert advice.expected_gain == advice.from_model == pytest.approx(left)
    assert advice.from_runs is not None
    assert advice.from_runs <= left + 1e-12
    assert f"to improve {metric} by {left:.3g} at most, to {end}, which it cannot better, where " in advice.reason


def test_a_search_that_has_reached_the_end_of_its_metric_is_advised_to_stop() -> None:
    asked = replace(experiment(), objectives=(Objective("accuracy", "maximize"),))
    runs = searched([0.9, 1.0, *np.random.default_rng(0).uniform(0.7, 0.99, 68).tolist()])
    advice = advise_search(asked, runs, suggestions=[{"expected_improvement": 0.2}] * PATIENCE)
    assert (advice.stop, advice.expected_gain) == (True, 0.0)


def test_what_an_hour_must_be_worth_ends_a_search_that_gains_less() -> None:
    runs = searched(falling(70))
    rate = advise_search(experiment(), runs).gain_per_hour
    assert rate is not None
    assert not advise_search(experiment(), runs, worth=rate * 0.9)
    stopped = advise_search(experiment(), runs, worth=rate * 1.1)
    assert stopped
    assert "an hour is less than" in stopped.reason


def test_a_finite_space_that_was_tried_whole_ends_the_search() -> None:
    space = Space({"x": Int(0, 29)})
    runs = searched(falling(30))
    advice = advise_search(experiment(), runs, space=space)
    assert advice.reason.startswith("stop: all 30 points of the space")
    assert advice.expected_gain == 0.0
    assert not advise_search(experiment(), runs[:29], space=space)


def test_the_cost_of_runs_that_were_told_is_unknown() -> None:
    told = [replace(one, ended=one.started) for one in searched(falling(30))]
    advice = advise_search(experiment(), told)
    assert (advice.cost_s, advice.gain_per_hour) == (None, None)


def test_equal_outcomes_and_odd_values_break_nothing() -> None:
    assert advise_search(experiment(), searched([1.0] * 60))
    odd = advise_search(experiment(), searched([math.nan, math.inf, -math.inf, *flat(60)]))
    assert odd.n_runs == 60
    json.dumps(odd.as_json(), allow_nan=False)
    assert isinstance(odd, SearchAdvice)


def test_two_bad_repeats_far_from_all_others_do_not_end_a_search() -> None:
    values = falling(40)
    runs = [*searched(values), *(replace(run(40 + i, {"x": 99}, bad)) for i, bad in enumerate((3410.0, 3710.0)))]
    advice = advise_search(experiment(), runs)
    assert not advice
    assert advice.noise is not None
    assert advice.noise < 1
    assert "between repeats" not in advice.reason

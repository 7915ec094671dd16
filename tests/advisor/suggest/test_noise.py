from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from advisor.suggest.noise import averaged, noise
from advisor.suggest.space import Float, Space
from storage.records import Direction, Finding, FindingState, RunState, Severity
from tests.advisor.suggest.helpers import experiment, run

SPACE = Space.of({"optimizer": ["sgd", "adam"], "momentum": Float(0, 1, when={"optimizer": "sgd"})})
ADAM, SGD = {"optimizer": "adam"}, {"optimizer": "sgd", "momentum": 0.9}
RUNS = [
    run(0, {**ADAM, "momentum": 0.1}, 1.0),  # a momentum that has no meaning, and does not tell it from run 1
    run(1, ADAM, 3.0),
    run(2, SGD, 10.0),
    run(3, {**SGD, "workers": 4}, 10.0),
    run(4, SGD, 13.0),
    run(5, {**SGD, "momentum": 0.5}, 100.0),
    run(6, ADAM, 99.0, state=RunState.FAILED),
    run(7, ADAM, float("nan")),
]


def test_repeats_tell_how_noisy_the_objective_is() -> None:
    found = noise(experiment(), RUNS, SPACE)
    assert (found.df, found.n_points) == (3, 2)
    assert found.sd == pytest.approx(np.sqrt((2 + 6) / 3))
    # Quantiles of chi-square with 3 degrees of freedom: 9.348 and 0.2158.
    assert found.low == pytest.approx(np.sqrt(8 / 9.3484), rel=1e-4)
    assert found.high == pytest.approx(np.sqrt(8 / 0.215795), rel=1e-4)
    assert "standard deviation of 1.63 (95 % interval 0.925 to 6.09, from 5 runs of 2 points)" in str(found)


def test_a_run_in_which_an_error_was_found_is_no_repeat() -> None:
    error = Finding(
        "f", run_id="run-4", experiment="exp", code="ADV102", title="", severity=Severity.ERROR, detector="rules"
    )
    broken = [replace(each, findings=(error,)) if each.id == "run-4" else each for each in RUNS]
    assert noise(experiment(), broken, SPACE).sd == pytest.approx(1.0)
    healed = [replace(each, findings=(replace(error, state=FindingState.RESOLVED),)) for each in RUNS]
    assert noise(experiment(), healed, SPACE) == noise(experiment(), RUNS, SPACE)


@pytest.mark.parametrize("way", ["minimize", "maximize"])
def test_repeats_far_worse_than_the_other_runs_say_nothing_of_the_noise(way: Direction) -> None:
    sign = 1.0 if way == "minimize" else -1.0
    usual = [run(i, {"optimizer": "sgd", "momentum": i / 40}, sign * (1 + i / 40)) for i in range(20)]
    far = [run(20 + i, ADAM, sign * value) for i, value in enumerate((341.0, 371.0))]
    assert noise(experiment(way), [*usual, *far], SPACE).sd is None
    near = [run(22 + i, {**SGD, "momentum": 0.99}, sign * value) for i, value in enumerate((1.1, 1.3))]
    assert noise(experiment(way), [*usual, *far, *near], SPACE).sd == pytest.approx(0.2 / np.sqrt(2))


def test_repeats_that_agree_have_no_deviation_and_say_what_that_does_not_tell() -> None:
    same = [replace(one, values=(0.1 + 0.2,) if i else (0.3,)) for i, one in enumerate(RUNS[:3])]
    found = noise(experiment(), same, SPACE)
    assert found.sd == 0
    assert "does not tell how large chance is" in str(found)


def test_without_repeats_nothing_is_claimed() -> None:
    found = noise(experiment(), RUNS[:1] + RUNS[5:], SPACE)
    assert (found.sd, found.low, found.high, found.df) == (None, None, None, 0)
    assert str(found).startswith("not enough repeats to tell how noisy loss is")


def test_repeats_are_one_observation_with_the_error_of_its_mean() -> None:
    points = averaged(experiment(), RUNS, SPACE)
    assert [(point.params, point.mean, point.n) for point in points] == [
        (ADAM, 2.0, 2),
        (SGD, 11.0, 3),
        ({**SGD, "momentum": 0.5}, 100.0, 1),
    ]
    assert points[1].run_ids == ("run-2", "run-3", "run-4")
    assert points[2].sem == pytest.approx(np.sqrt(8 / 3))
    assert points[1].sem == pytest.approx(np.sqrt(8 / 9))
    assert averaged(experiment(), RUNS[:1], SPACE)[0].sem is None


def test_each_objective_has_its_own_noise() -> None:
    runs = [run(0, ADAM, 1.0, 5.0), run(1, ADAM, 1.0, 7.0)]
    both = experiment("minimize", "maximize")
    assert noise(both, runs, SPACE).sd == 0
    assert noise(both, runs, SPACE, objective=1).sd == pytest.approx(np.sqrt(2))
    assert averaged(both, runs, SPACE)[0].values == (1.0, 6.0)


def test_huge_values_do_not_overflow() -> None:
    found = noise(experiment(), [run(0, ADAM, 1e300), run(1, ADAM, 3e300)], SPACE)
    assert found.sd == pytest.approx(np.sqrt(2) * 1e300)


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    n_covered = 0
    for _ in range(400):
        runs = [
            run(3 * i + j, {"optimizer": "sgd", "momentum": i / 4}, rng.normal(i)) for i in range(4) for j in range(3)
        ]
        found = noise(experiment(), runs, SPACE)
        assert found.low is not None
        assert found.high is not None
        n_covered += found.low <= 1 <= found.high
    assert 0.92 <= n_covered / 400 <= 0.98

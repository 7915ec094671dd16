from __future__ import annotations

import numpy as np

from advisor.suggest.kernel import Kernel
from advisor.suggest.survival import PRIOR_SHARE, Survival


def survival(crashed: list[list[float]], fine: list[list[float]] = ()) -> Survival:  # type: ignore[assignment]
    columns = np.array([*crashed, *fine], dtype=float).reshape(-1, 2)
    came = np.r_[np.zeros(len(crashed), bool), np.ones(len(fine), bool)]
    return Survival(columns, came, Kernel.default(2))


HERE, FAR = np.array([[0.5, 0.5]]), np.array([[0.0, 1.0]])


def test_where_nothing_went_wrong_nearly_everything_is_expected_to_come_through() -> None:
    assert survival([], [[0.5, 0.5]]).probability(HERE)[0] == PRIOR_SHARE
    assert survival([]).probability(HERE)[0] == PRIOR_SHARE


def test_one_crash_leaves_a_third_of_its_place_three_a_tenth_and_far_away_little_changes() -> None:
    assert 0.2 < survival([[0.5, 0.5]]).probability(HERE)[0] < 0.5
    assert survival([[0.5, 0.5]] * 3).probability(HERE)[0] < 0.15
    assert survival([[0.5, 0.5]]).probability(FAR)[0] > 0.8


def test_runs_that_came_through_weigh_against_a_crash() -> None:
    alone = survival([[0.5, 0.5]]).probability(HERE)[0]
    beside = survival([[0.5, 0.5]], [[0.45, 0.5], [0.5, 0.55]]).probability(HERE)[0]
    assert alone < beside < PRIOR_SHARE


def test_probability_rises_with_the_distance_from_a_crash() -> None:
    line = np.column_stack([np.linspace(0.5, 1.0, 6), np.full(6, 0.5)])
    found = survival([[0.5, 0.5]]).probability(line)
    assert (np.diff(found) > 0).all()
    assert ((found > 0) & (found <= 1)).all()


def test_a_parameter_without_influence_on_the_objective_still_tells_crashes_apart() -> None:
    """A batch size may not matter to the loss and yet exhaust the memory: its length here is bounded."""
    crashed = Survival(HERE, np.zeros(1, bool), Kernel(np.array([20.0, 20.0])))
    assert crashed.probability(FAR)[0] > 0.8

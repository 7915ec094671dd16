from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import groupby
from typing import Any

import numpy as np

from advisor.suggest.elsewhere import Elsewhere
from advisor.suggest.encoding import Encoder
from advisor.suggest.engine import Own, Setting, propose
from advisor.suggest.kernel import Kernel
from advisor.suggest.space import Choice, Float, Int, Space
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


# -- failures teach: a space of which about two thirds do not fit into the memory, where wider is better

SPACE = Space.of(
    {
        "batch": Int(16, 1024, log=True),
        "width": Int(16, 1024, log=True),
        "lr": Float(1e-5, 1, log=True),
        "act": Choice("relu", "tanh"),
    }
)
N_RUNS = 40


def too_big(params: Mapping[str, Any]) -> bool:
    return bool(params["batch"] * params["width"] > 2**13)


def loss(params: Mapping[str, Any]) -> float:
    slow = 0.1 * np.log2(params["batch"]) - 0.3 * np.log2(params["width"])
    return float((np.log10(params["lr"]) + 2.5) ** 2 + slow + 0.3 * (params["act"] == "tanh"))


def searched(crashes: Callable[[Mapping[str, Any]], bool], seed: int) -> list[dict[str, Any]]:
    """Return the points of a search, in their order."""
    encoder = Encoder(SPACE)
    elsewhere = Elsewhere(encoder, [])
    points: list[dict[str, Any]] = []
    for i in range(N_RUNS):
        fine, wrong = [p for p in points if not crashes(p)], [p for p in points if crashes(p)]
        own = Own(
            encoder.coordinates(fine),
            np.array([-loss(params) for params in fine]),
            wrong=encoder.coordinates(wrong),
            pending=np.zeros((0, len(SPACE))),
            pruned=np.zeros(len(fine), bool),
        )
        (found,) = propose(Setting(encoder, own, elsewhere), taken=lambda _: False, seed=1000 * seed + i)
        points.append(encoder.params(found.point))
    return points


def n_crashed_by_optuna(seed: int) -> int:
    """Count the crashes of Optuna's TPE, which is told of them as failed trials."""
    import optuna
    from optuna.trial import TrialState

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
    n_crashed = 0
    for _ in range(N_RUNS):
        trial = study.ask(SPACE.to_distributions())
        if too_big(trial.params):
            n_crashed += 1
            study.tell(trial, state=TrialState.FAIL)
        else:
            study.tell(trial, loss(trial.params))
    return n_crashed


def test_crashes_teach_where_not_to_go() -> None:
    shares, optuna_shares = [], []
    for seed in range(4):
        crashed = [too_big(params) for params in searched(too_big, seed)]
        longest = max(len(list(group)) for wrong, group in groupby(crashed) if wrong)
        assert longest <= 10
        shares.append(sum(crashed) / N_RUNS)
        optuna_shares.append(n_crashed_by_optuna(seed) / N_RUNS)
    assert np.mean(shares) < 0.55
    assert np.mean(shares) < np.mean(optuna_shares)


def test_where_everything_crashes_suggestions_stay_distinct_and_spread() -> None:
    points = searched(lambda _: True, 0)
    encoder = Encoder(SPACE)
    columns = encoder.columns(encoder.coordinates(points))
    gaps = np.linalg.norm(columns[:, None] - columns[None], axis=2) + 9 * np.eye(N_RUNS)
    assert gaps.min() > 0.1
    assert np.linalg.norm(np.diff(columns, axis=0), axis=1).min() > 0.2


def test_one_crash_among_runs_that_came_through_does_not_close_their_place() -> None:
    encoder = Encoder(Space.of({"x": Float(0, 1)}))
    points = np.linspace(0, 1, 15)[:, None]
    own = Own(
        points,
        -((points[:, 0] - 0.4) ** 2),
        wrong=np.array([[0.41]]),
        pending=np.zeros((0, 1)),
        pruned=np.zeros(15, bool),
    )
    (found,) = propose(Setting(encoder, own, Elsewhere(encoder, [])), taken=lambda _: False, seed=0)
    assert 0.2 < found.point[0] < 0.6

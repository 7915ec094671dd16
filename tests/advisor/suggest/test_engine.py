"""The engine on arrays, without runs, words or a store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.stats import norm

from advisor.suggest.elsewhere import Elsewhere, Task
from advisor.suggest.encoding import Encoder
from advisor.suggest.engine import MAX_OWN, N_SPREAD, Own, Proposal, Setting, lead, log_improvement, propose
from advisor.suggest.kernel import Array
from advisor.suggest.space import Choice, Float, Int, Space

SQUARE = Space.of({"x": Float(0, 1), "y": Float(0, 1)})


def own(encoder: Encoder, points: Array | None = None, outcomes: Any = (), **more: Any) -> Own:
    none = np.zeros((0, len(encoder.names)))
    n = len(outcomes)
    options = {"wrong": none, "pending": none, "pruned": np.zeros(n, bool)} | more
    return Own(none if points is None else points, np.asarray(outcomes, dtype=float), **options)


def setting(encoder: Encoder, mine: Own | None = None, tasks: Any = (), **more: Any) -> Setting:
    return Setting(encoder, own(encoder) if mine is None else mine, Elsewhere(encoder, tasks), **more)


def free(_point: Array) -> bool:
    return False


def bowl(points: Array) -> Array:
    return -((points[:, 0] - 0.3) ** 2) - (points[:, 1] - 0.7) ** 2


def past(name: str, value: Callable[[Array], Array] = bowl, *, n: int = 30, seed: int = 0) -> Task:
    points = np.random.default_rng(seed).random((n, 2))
    rows = [{"x": float(x), "y": float(y)} for x, y in points]
    ids = [f"{name}-{i}" for i in range(n)]
    return Task(name, rows=rows, outcomes=value(points), run_ids=ids, similarity=0.9, overlap=1.0)


def searched(encoder: Encoder, value: Callable[[Array], Array], n: int, *, tasks: Any = (), seed: int = 0) -> Array:
    """Return the points of a search in which each outcome is known before the next point is proposed."""
    elsewhere = Elsewhere(encoder, tasks)
    points = np.zeros((0, len(encoder.names)))
    for i in range(n):
        mine = own(encoder, points, value(points))
        (found,) = propose(Setting(encoder, mine, elsewhere), taken=free, seed=seed + i)
        points = np.vstack([points, found.point])
    return points


def test_one_run_that_nearly_diverged_leaves_the_others_apart() -> None:
    usual = np.linspace(0.5, 0.9, 20)
    alone, beside = lead(usual), lead(np.append(usual, -1e6))
    assert np.ptp(beside[:-1]) > 0.1 * np.ptp(alone)
    assert beside[-1] == beside.min()
    assert list(np.argsort(beside[:-1])) == list(range(20))


def test_what_lags_a_little_behind_counts_in_full() -> None:
    outcomes = np.array([0.0, 4.0, 5.0, 5.5, 6.0, 6.5, 7.0])
    found = lead(outcomes)
    assert np.allclose(np.diff(found) / np.diff(outcomes), (found[1] - found[0]) / 4.0)


@pytest.mark.parametrize("gap", [-30.0, -5.0, -1.0, 0.0, 2.0])
def test_the_expected_improvement_is_right_where_floats_can_tell_and_stable_where_they_cannot(gap: float) -> None:
    found = float(log_improvement(np.array([gap]))[0])
    if gap >= -5:
        assert found == pytest.approx(float(np.log(norm.pdf(gap) + gap * norm.cdf(gap))), rel=1e-6)
    assert np.isfinite(found)


def test_the_expected_improvement_rises_all_the_way() -> None:
    assert (np.diff(log_improvement(np.linspace(-25, 5, 400))) > 0).all()


def test_without_a_past_the_first_points_are_spread_and_then_the_model_proposes() -> None:
    encoder = Encoder(SQUARE)
    found = propose(setting(encoder), taken=free, seed=0, n=N_SPREAD)
    assert {each.source for each in found} == {"random-startup"}
    gaps = [float(np.linalg.norm(a.point - b.point)) for i, a in enumerate(found) for b in found[:i]]
    assert min(gaps) > 0.15
    points = np.random.default_rng(0).random((N_SPREAD, 2))
    assert propose(setting(encoder, own(encoder, points, bowl(points))), taken=free, seed=0)[0].source == "gp"


def test_a_bowl_is_found_in_twenty_runs() -> None:
    points = searched(Encoder(SQUARE), bowl, 20)
    assert bowl(points).max() > -0.005


def test_the_best_choice_is_found() -> None:
    encoder = Encoder(Space.of({"x": Float(0, 1), "act": Choice("a", "b", "c", "d")}))
    points = searched(encoder, lambda at: -((at[:, 0] - 0.5) ** 2) + 0.3 * (at[:, 1] == 2), 20)
    assert (points[-5:, 1] == 2).sum() >= 3


def test_ten_points_of_one_call_keep_away_from_each_other_and_from_what_is_pending() -> None:
    encoder = Encoder(SQUARE)
    points = np.random.default_rng(0).random((12, 2))
    (first,) = propose(setting(encoder, own(encoder, points, bowl(points))), taken=free, seed=0)
    (second,) = propose(
        setting(encoder, own(encoder, points, bowl(points), pending=first.point[None])), taken=free, seed=0
    )
    assert np.linalg.norm(first.point - second.point) > 0.02
    many = [
        each.point for each in propose(setting(encoder, own(encoder, points, bowl(points))), taken=free, seed=0, n=10)
    ]
    gaps = [float(np.linalg.norm(a - b)) for i, a in enumerate(many) for b in many[:i]]
    assert min(gaps) > 0.0001
    assert np.median(gaps) > 0.01


def test_what_is_taken_is_never_proposed_and_an_exhausted_space_gives_fewer() -> None:
    encoder = Encoder(Space.of({"n": Int(1, 4), "on": Choice(False, True)}))
    points = encoder.coordinates([{"n": n, "on": on} for n in (1, 2) for on in (False, True)])
    tried = {tuple(point) for point in points}
    mine = own(encoder, points, [0.0, 1.0, 2.0, 3.0])
    found = propose(setting(encoder, mine), taken=lambda point: tuple(point) in tried, seed=0, n=10)
    assert len({tuple(each.point) for each in found}) == len(found) == 4
    assert not tried & {tuple(each.point) for each in found}


def test_the_first_point_with_a_past_was_one_of_its_best_runs() -> None:
    encoder = Encoder(SQUARE)
    task = past("before")
    (found,) = propose(setting(encoder, tasks=[task]), taken=free, seed=0)
    assert found.source == "portfolio"
    assert found.opening is not None
    assert found.opening.run_id in task.run_ids
    assert bowl(found.point[None])[0] >= np.quantile(task.outcomes, 0.85)
    assert 0 < found.weights.sum() <= 1


def test_a_portfolio_serves_different_experiments_in_turn() -> None:
    encoder = Encoder(SQUARE)
    left = [past(f"left-{i}", lambda at: -((at[:, 0] - 0.1) ** 2), seed=i) for i in range(2)]
    right = [past(f"right-{i}", lambda at: -((at[:, 0] - 0.9) ** 2), seed=9 + i) for i in range(2)]
    first, second = propose(setting(encoder, tasks=[*left, *right]), taken=free, seed=0, n=2)
    assert {first.point[0] < 0.5, second.point[0] < 0.5} == {True, False}


def test_a_portfolio_heeds_the_first_results() -> None:
    """What opened badly speaks against the experiment that it came from."""
    encoder = Encoder(SQUARE)
    tasks = [
        past("left", lambda at: -((at[:, 0] - 0.1) ** 2)),
        past("right", lambda at: -((at[:, 0] - 0.9) ** 2), seed=9),
    ]
    points = np.array([[0.1, 0.5], [0.9, 0.5]])
    for k, best in enumerate((0.1, 0.9)):
        (found,) = propose(
            setting(encoder, own(encoder, points, -np.abs(points[:, 0] - best)), tasks), taken=free, seed=0
        )
        assert found.weights[k] > 0.8 > 0.01 > found.weights[1 - k]


def test_opening_points_that_all_crash_here_are_left_alone_after_a_few() -> None:
    """Twenty experiments were best in one place, where nothing runs any more: say, on a smaller device."""
    encoder = Encoder(SQUARE)
    elsewhere = Elsewhere(encoder, [past(f"t{i}", seed=i, n=40) for i in range(20)])
    wrong = np.zeros((0, 2))
    for i in range(15):
        (found,) = propose(Setting(encoder, own(encoder, wrong=wrong), elsewhere), taken=free, seed=i)
        wrong = np.vstack([wrong, found.point])
    near = np.linalg.norm(wrong - [0.3, 0.7], axis=1) < 0.25
    assert near.sum() <= 8
    assert not near[-4:].all()


def test_a_past_that_misleads_is_overcome() -> None:
    points = searched(Encoder(SQUARE), lambda at: -bowl(at), 22, tasks=[past("wrong", seed=1), past("too", seed=2)])
    corner = np.array([[1.0, 0.0]])
    assert -bowl(points).min() > 0.0
    assert (-bowl(points)).max() > 0.95 * float(-bowl(corner)[0])


def test_an_unrelated_past_does_not_hurt() -> None:
    """The mean over ten seeds of the best of twelve runs, with a past that is best elsewhere and without one."""
    encoder = Encoder(SQUARE)
    tasks = [past(f"other-{i}", lambda at: -bowl(at), seed=i) for i in range(3)]
    warm, cold = (
        np.mean([bowl(searched(encoder, bowl, 12, tasks=t, seed=100 * seed)).max() for seed in range(10)])
        for t in (tasks, [])
    )
    assert warm > cold - 0.03


def test_the_model_without_a_past_proposes_what_it_would_if_there_were_none() -> None:
    """What it knows of the runs, their lengths and the numbers that it draws owe nothing to the past."""
    encoder = Encoder(SQUARE)
    points = np.random.default_rng(0).random((9, 2))
    mine = own(encoder, points, np.exp(20 * bowl(points)))  # far from normal: ranks would say something else
    tasks = [past(f"other-{i}", lambda at: -bowl(at), seed=i) for i in range(3)]
    with_past, alone = setting(encoder, mine, tasks), setting(encoder, mine)
    n_cold = 0
    for seed in range(12):
        (found,), (expected,) = (propose(each, taken=free, seed=seed) for each in (with_past, alone))
        if found.slope is None:
            n_cold += 1
            np.testing.assert_array_equal(found.point, expected.point)
    assert n_cold >= 3


@pytest.mark.parametrize(
    ("similarity", "n_portfolio", "n_spread"), [(0.9, 3, 0), (0.465, 2, 2), (0.36, 1, 3), (0.27, 0, 5)]
)
def test_the_less_is_expected_of_the_past_the_more_first_points_are_spread_out(
    similarity: float, n_portfolio: int, n_spread: int
) -> None:
    encoder = Encoder(SQUARE)
    elsewhere = Elsewhere(encoder, [replace(past("other"), similarity=similarity)])
    points, sources = np.zeros((0, 2)), []
    for seed in range(6):
        (found,) = propose(Setting(encoder, own(encoder, points, bowl(points)), elsewhere), taken=free, seed=seed)
        points, sources = np.vstack([points, found.point]), [*sources, found.source]
    n_first = n_portfolio + n_spread
    assert sources == ["portfolio"] * n_portfolio + ["random-startup"] * n_spread + ["gp"] * (6 - n_first)


def test_a_past_that_is_alike_finds_more_in_seven_runs_than_none() -> None:
    encoder = Encoder(SQUARE)
    alike = [past(f"alike-{i}", seed=i) for i in range(3)]
    warm, cold = (
        np.mean([bowl(searched(encoder, bowl, 7, tasks=tasks, seed=100 * seed)).max() for seed in range(4)])
        for tasks in (alike, [])
    )
    assert warm > cold


def test_beside_a_border_behind_which_runs_crash_few_more_go_there_and_the_best_is_found() -> None:
    """The objective rises towards a border, x = 0.5, behind which every run crashes."""
    encoder = Encoder(SQUARE)
    good, wrong = np.zeros((0, 2)), np.zeros((0, 2))
    for seed in range(24):
        mine = own(encoder, good, good.sum(axis=1), wrong=wrong)
        (found,) = propose(Setting(encoder, mine, Elsewhere(encoder, ())), taken=free, seed=seed)
        if found.point[0] > 0.5:
            wrong = np.vstack([wrong, found.point])
        else:
            good = np.vstack([good, found.point])
    assert len(wrong) <= 10
    assert good.sum(axis=1).max() > 1.2


def test_equal_arguments_give_equal_proposals_whatever_was_asked_before() -> None:
    encoder = Encoder(SQUARE)
    points = np.random.default_rng(0).random((40, 2))
    mine = own(encoder, points, bowl(points))
    fresh, used = (Elsewhere(encoder, [past("a")]) for _ in range(2))
    propose(Setting(encoder, own(encoder, points[:35], bowl(points[:35])), used), taken=free, seed=9)
    first, second = (propose(Setting(encoder, mine, each), taken=free, seed=1)[0].point for each in (fresh, used))
    np.testing.assert_array_equal(first, second)


def test_equal_arguments_give_equal_proposals() -> None:
    encoder = Encoder(SQUARE)
    points = np.random.default_rng(0).random((10, 2))

    def ask(seed: int) -> list[Proposal]:
        return propose(setting(encoder, own(encoder, points, bowl(points)), [past("a")]), taken=free, seed=seed, n=3)

    np.testing.assert_array_equal([a.point for a in ask(4)], [a.point for a in ask(4)])
    assert not np.array_equal(ask(4)[0].point, ask(5)[0].point)


def test_more_points_of_one_call_leave_the_first_ones_as_they_were() -> None:
    encoder = Encoder(SQUARE)
    points = np.random.default_rng(0).random((10, 2))
    mine = setting(encoder, own(encoder, points, bowl(points)), [past("a")])
    short, long = (propose(mine, taken=free, seed=1, n=n) for n in (2, 4))
    np.testing.assert_array_equal([a.point for a in short], [a.point for a in long[:2]])


def test_of_two_equal_regions_the_cheaper_is_preferred() -> None:
    encoder = Encoder(Space.of({"x": Float(0, 1)}))
    points = np.linspace(0, 1, 13)[:, None]
    outcomes = -np.minimum(np.abs(points[:, 0] - 0.25), np.abs(points[:, 0] - 0.75))
    for cheap_is_left in (True, False):
        left = points[:, 0] < 0.5
        costs = np.where(left == cheap_is_left, 1.0, 50.0)
        costs[0] = np.nan  # one that nobody measured
        mine = own(encoder, points, outcomes, costs=costs)
        found = [propose(setting(encoder, mine), taken=free, seed=seed)[0].point[0] < 0.5 for seed in range(4)]
        assert found == [cheap_is_left] * 4


def test_a_constraint_moves_proposals_to_where_it_is_kept() -> None:
    encoder = Encoder(SQUARE)
    points = np.random.default_rng(0).random((20, 2))
    violations = (points[:, :1] - 0.5) * 10  # x <= 0.5 is kept
    mine = own(encoder, points, points[:, 0], violations=violations)  # and larger x is better
    found = [propose(setting(encoder, mine), taken=free, seed=seed)[0] for seed in range(4)]
    assert all(0.3 < each.point[0] < 0.58 for each in found)
    assert all(each.p_feasible is not None and 0 <= each.p_feasible <= 1 for each in found)


def test_nothing_is_promised_where_nothing_is_known_of_a_constraint() -> None:
    encoder = Encoder(SQUARE)
    points = np.random.default_rng(0).random((12, 2))
    violations = np.stack([points[:, 0] - 0.5, np.full(12, np.nan)], axis=1)
    mine = own(encoder, points, points[:, 0], violations=violations)
    assert propose(setting(encoder, mine), taken=free, seed=0)[0].p_feasible is None


def test_an_exact_constraint_is_not_broken_again_and_again() -> None:
    encoder = Encoder(SQUARE)
    points = np.random.default_rng(0).random((8, 2))
    broken = []
    for turn in range(10):
        mine = own(encoder, points, -points[:, 0], violations=0.5 - points[:, :1])  # the best lie beyond it
        point = propose(setting(encoder, mine), taken=free, seed=turn)[0].point
        broken.append(point[0] < 0.5)
        points = np.vstack([points, point])
    assert sum(broken) <= 6
    assert 0.5 <= points[points[:, 0] >= 0.5, 0].min() < 0.51


def test_several_proposals_are_not_all_sent_beyond_a_constraint() -> None:
    encoder = Encoder(SQUARE)
    points = np.random.default_rng(0).random((12, 2))
    mine = own(encoder, points, -points[:, 0], violations=0.5 - points[:, :1])
    found = propose(setting(encoder, mine), taken=free, seed=0, n=6)
    assert sum(each.point[0] >= 0.5 for each in found) >= 2


def test_a_constraint_that_no_run_has_kept_is_approached() -> None:
    encoder = Encoder(SQUARE)
    points = np.random.default_rng(0).random((12, 2)) * [0.4, 1.0] + [0.6, 0.0]
    mine = own(encoder, points, points[:, 0], violations=(points[:, :1] - 0.3) * 10)
    found = [propose(setting(encoder, mine), taken=free, seed=seed)[0].point[0] for seed in range(4)]
    assert np.median(found) < 0.45


def test_a_belief_pulls_at_first_and_fades_with_runs() -> None:
    encoder = Encoder(SQUARE)

    def at_left(points: Array) -> Array:
        return np.asarray(-0.5 * ((points[:, 0] - 0.1) / 0.1) ** 2)

    opening = propose(setting(encoder, log_prior=at_left), taken=free, seed=0, n=4)
    assert np.mean([each.point[0] for each in opening]) < 0.3
    points = np.random.default_rng(0).random((60, 2))
    late = setting(encoder, own(encoder, points, -((points[:, 0] - 0.8) ** 2)), log_prior=at_left)
    assert propose(late, taken=free, seed=0)[0].point[0] > 0.6


def test_runs_stopped_early_count_as_no_better_than_the_median() -> None:
    encoder = Encoder(Space.of({"x": Float(0, 1)}))
    points = np.linspace(0, 1, 12)[:, None]
    outcomes, pruned = -np.abs(points[:, 0] - 0.2), points[:, 0] > 0.7
    outcomes[pruned] = 1.0  # they look best, since they were measured early
    found = [
        propose(setting(encoder, own(encoder, points, outcomes, pruned=pruned)), taken=free, seed=s) for s in range(3)
    ]
    assert all(each[0].point[0] < 0.5 for each in found)


def test_of_many_runs_the_model_holds_some_and_still_knows_the_best_place() -> None:
    encoder = Encoder(SQUARE)
    points = np.random.default_rng(0).random((MAX_OWN + 100, 2))
    (found,) = propose(setting(encoder, own(encoder, points, bowl(points))), taken=free, seed=0)
    assert np.linalg.norm(found.point - [0.3, 0.7]) < 0.2


@pytest.mark.parametrize("outcomes", [[1.0, 1.0, 1.0, 1.0, 1.0, 1.0], [1.0, 2.0], [1e308, -1e308, 0.0, 1.0, 2.0, 3.0]])
def test_few_constant_and_huge_outcomes_are_no_trouble(outcomes: list[float]) -> None:
    encoder = Encoder(SQUARE)
    points = np.random.default_rng(0).random((len(outcomes), 2))
    (found,) = propose(setting(encoder, own(encoder, points, outcomes)), taken=free, seed=0)
    assert np.isfinite(found.point).all()

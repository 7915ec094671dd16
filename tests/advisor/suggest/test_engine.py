"""The core of suggestions: arrays, models of the past and of the runs here, the next point."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from advisor.suggest.elsewhere import Elsewhere, Task, normal_scores
from advisor.suggest.encoding import Encoder
from advisor.suggest.engine import Own, Setting, log_improvement, propose
from advisor.suggest.kernel import Kernel, Prior, learn
from advisor.suggest.space import Choice, Float, Int, Space
from advisor.suggest.surface import fit, milestone, slope_of
from advisor.suggest.survival import Survival

MIXED = Space.of(
    {
        "lr": Float(1e-5, 1, log=True),
        "drop": Float(0, 0.9, step=0.1),
        "width": Int(16, 1024, log=True),
        "layers": Int(1, 9, step=2),
        "act": Choice("relu", "gelu", "tanh"),
        "bias": Choice(True, False),
        "momentum": Float(0, 0.99, when={"act": ["relu", "gelu"]}),
    }
)
PLANE = Space.of({"x": Float(0, 1), "y": Float(0, 1)})


def own(points: Any = (), outcomes: Any = (), *, wrong: Any = (), pending: Any = (), d: int = 2, **more: Any) -> Own:
    def shaped(rows: Any) -> np.ndarray:
        return np.array(rows, dtype=float).reshape(-1, d)

    values = np.array(outcomes, dtype=float)
    more.setdefault("pruned", np.zeros(values.size, dtype=bool))
    return Own(shaped(points), values, wrong=shaped(wrong), pending=shaped(pending), **more)


def task(name: str, best: float, *, n: int = 40, seed: int = 0, similarity: float = 0.9) -> Task:
    """An experiment on the plane whose best point is (best, best)."""
    points = np.random.default_rng(seed).random((n, 2))
    rows = [{"x": float(x), "y": float(y)} for x, y in points]
    outcomes = -((points - best) ** 2).sum(axis=1)
    ids = [f"{name}-{i}" for i in range(n)]
    return Task(name, rows=rows, outcomes=outcomes, run_ids=ids, similarity=similarity, overlap=1.0)


def search(objective: Any, tasks: list[Task], n: int, *, seed: int = 0) -> list[float]:
    """Return what a search on the plane found, run by run; None is a crash."""
    encoder = Encoder(PLANE)
    past = Elsewhere(encoder, tasks)
    good: list[tuple[np.ndarray, float]] = []
    wrong: list[np.ndarray] = []
    found = []
    for i in range(n):
        here = own([p for p, _ in good], [v for _, v in good], wrong=wrong)
        tried = {tuple(p) for p in [*(p for p, _ in good), *wrong]}
        point = propose(Setting(encoder, here, past), taken=lambda p: tuple(p) in tried, seed=seed + i)[0].point  # noqa: B023
        value = objective(point)
        found.append(value)
        if value is None:
            wrong.append(point)
        else:
            good.append((point, value))
    return found


# -- arrays


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_points_that_are_drawn_or_varied_lie_in_the_space(seed: int) -> None:
    encoder, rng = Encoder(MIXED), np.random.default_rng(seed)
    drawn = encoder.draw(rng, 6)
    for point in np.vstack([drawn, encoder.vary(rng, drawn, 12), encoder.snap(drawn)]):
        params = encoder.params(point)
        MIXED.check(params)
        assert encoder.params(encoder.coordinates([params])[0]) == {n: pytest.approx(v) for n, v in params.items()}
    assert np.isfinite(encoder.columns(drawn)).all()


def test_whole_numbers_are_drawn_with_equal_chances() -> None:
    encoder = Encoder(Space.of({"layers": Int(1, 4)}))
    drawn = [encoder.params(point)["layers"] for point in encoder.draw(np.random.default_rng(0), 4000)]
    assert all(0.22 < drawn.count(value) / 4000 < 0.28 for value in (1, 2, 3, 4))


# -- models


def test_correlations_are_those_of_scikit_learn() -> None:
    from sklearn.gaussian_process.kernels import Matern

    rng = np.random.default_rng(0)
    a, b, lengths = rng.random((5, 3)), rng.random((4, 3)), np.array([0.2, 1.0, 3.0])
    assert Kernel(lengths).between(a, b) == pytest.approx(Matern(lengths, nu=2.5)(a, b))


def test_a_parameter_that_does_not_matter_gets_a_longer_length() -> None:
    points = np.random.default_rng(0).random((40, 2))
    values = np.sin(6 * points[:, 0])
    prior = Prior(Kernel.default(2), lengths_sd=1.0, noise_sd=1.0, signal_sd=1.0)
    learned = learn([(points, values - values.mean())], prior)
    assert learned.lengths[1] > 3 * learned.lengths[0]
    assert learn([], prior) is prior.center


def test_ranks_become_normal_scores_with_ties_and_failures_last() -> None:
    scores = normal_scores(np.array([3.0, math.nan, 3.0, 5.0, -math.inf]))
    assert scores[0] == scores[2]
    assert scores.argmax() == 3
    assert scores[1] == scores[4] == scores.min()


def test_belief_moves_to_the_experiment_that_orders_the_runs_rightly() -> None:
    past = Elsewhere(Encoder(PLANE), [task("left", 0.2), task("right", 0.8)])
    points = np.random.default_rng(1).random((8, 2))
    path = past.weights(past.say(points), -((points - 0.8) ** 2).sum(axis=1))
    names = [each.name for each in past.tasks]
    assert path[0] == pytest.approx(path[0][::-1])  # before any run both are equally believed
    assert path[-1][names.index("right")] > 0.9
    assert (path.sum(axis=1) <= 1).all()


def test_the_order_of_past_experiments_does_not_matter() -> None:
    tasks = [task("a", 0.2), task("b", 0.8, seed=1), task("c", 0.5, seed=2)]
    points = np.random.default_rng(1).random((5, 2))
    first, second = (Elsewhere(Encoder(PLANE), order) for order in (tasks, tasks[::-1]))
    assert first.say(points) == pytest.approx(second.say(points))


def test_the_slope_falls_where_the_past_is_contradicted() -> None:
    said = np.linspace(-1, 1, 20)
    assert slope_of(said, said) == pytest.approx(1.0)
    assert slope_of(said, -said) == 0.0
    assert slope_of(said, np.zeros(20)) < 0.5


def test_a_model_leaves_out_runs_one_by_one_to_tell_how_well_it_foretells() -> None:
    rng = np.random.default_rng(0)
    points = rng.random((15, 1))
    smooth, noise = np.sin(4 * points[:, 0]), rng.standard_normal(15)
    zeros = np.zeros(15)
    models = [fit(points, values / values.std(), zeros, Kernel.default(1), cold=True) for values in (smooth, noise)]
    assert models[0].evidence > models[1].evidence + 5


def test_models_are_refitted_at_milestones() -> None:
    at = [milestone(n) for n in range(1, 400)]
    assert at[:32] == list(range(1, 33))
    assert all(n / 1.11 - 1 < m <= n for n, m in enumerate(at, start=1))
    assert at == sorted(at)


def test_crashes_lower_the_chance_of_their_neighbourhood_only() -> None:
    def chance(n: int) -> tuple[float, float]:
        columns = np.vstack([np.zeros((n, 2)), np.ones((3, 2))])
        fates = np.array([False] * n + [True] * 3)
        there, far = Survival(columns, fates, Kernel.default(2)).probability(np.array([[0.0, 0.0], [1.0, 1.0]]))
        return float(there), float(far)

    assert 0.2 < chance(1)[0] < 0.5
    assert chance(3)[0] < 0.15
    assert chance(5)[1] > 0.9
    assert chance(0)[0] == pytest.approx(0.95)


@given(st.floats(-30, 30))
def test_the_logarithm_of_the_improvement_is_stable(gap: float) -> None:
    from scipy.stats import norm

    found = float(log_improvement(np.array([gap]))[0])
    assert math.isfinite(found)
    if gap > -6:
        assert found == pytest.approx(math.log(norm.pdf(gap) + gap * norm.cdf(gap)), rel=1e-4, abs=1e-6)


# -- the next point


def test_a_past_that_is_alike_opens_near_its_best_point() -> None:
    encoder = Encoder(PLANE)
    past = Elsewhere(encoder, [task(f"t{i}", 0.7, seed=i) for i in range(4)])
    first = propose(Setting(encoder, own(), past), taken=lambda _: False, seed=0)[0]
    assert first.source == "portfolio"
    assert np.abs(first.point - 0.7).max() < 0.15
    assert first.opened_from is not None


def test_a_past_that_is_alike_beats_none_and_one_that_misleads_does_little_harm() -> None:
    def regret(best_elsewhere: float | None, seed: int, n: int = 7) -> float:
        tasks = [] if best_elsewhere is None else [task(f"t{i}", best_elsewhere, seed=i) for i in range(3)]
        return -max(search(lambda p: float(-((p - 0.7) ** 2).sum()), tasks, n, seed=100 * seed))

    cold, alike = (np.mean([regret(best, seed) for seed in range(4)]) for best in (None, 0.68))
    assert alike < cold
    assert np.mean([regret(0.1, seed, 14) for seed in range(3)]) < 0.05


def test_where_runs_crash_few_more_go() -> None:
    found = search(lambda p: None if p[0] > 0.5 else float(p[0] + p[1]), [], 24)
    assert sum(value is None for value in found) <= 10
    assert max(value for value in found if value is not None) > 1.2


def test_where_everything_crashes_points_stay_apart() -> None:
    encoder = Encoder(PLANE)
    wrong: list[np.ndarray] = []
    for i in range(12):
        wrong.append(
            propose(Setting(encoder, own(wrong=wrong), Elsewhere(encoder, ())), taken=lambda _: False, seed=i)[0].point
        )
    gaps = [np.abs(a - b).max() for i, a in enumerate(wrong) for b in wrong[:i]]
    assert min(gaps) > 0.05


def test_several_points_at_once_keep_apart_and_away_from_what_waits() -> None:
    encoder, rng = Encoder(PLANE), np.random.default_rng(0)
    points = rng.random((8, 2))
    here = own(points, -((points - 0.5) ** 2).sum(axis=1), pending=[[0.5, 0.5]])
    found = [
        each.point
        for each in propose(Setting(encoder, here, Elsewhere(encoder, ())), taken=lambda _: False, seed=0, n=5)
    ]
    every = [np.array([0.5, 0.5]), *found]
    assert min(np.abs(a - b).max() for i, a in enumerate(every) for b in every[:i]) > 0.001


def test_equal_arguments_give_equal_points_whatever_was_asked_before() -> None:
    encoder, rng = Encoder(PLANE), np.random.default_rng(0)
    points = rng.random((40, 2))
    here = own(points, -((points - 0.5) ** 2).sum(axis=1))
    fresh = [Elsewhere(encoder, [task("t", 0.4)]) for _ in range(2)]
    propose(Setting(encoder, own(points[:35], here.outcomes[:35]), fresh[1]), taken=lambda _: False, seed=9)
    first, second = (propose(Setting(encoder, here, past), taken=lambda _: False, seed=1)[0].point for past in fresh)
    assert first == pytest.approx(second)


def test_constraints_and_costs_count() -> None:
    encoder, rng = Encoder(PLANE), np.random.default_rng(0)
    points = rng.random((16, 2))
    outcomes = points[:, 0]  # better to the right, where the constraint x <= 0.5 is broken
    bound = own(points, outcomes, violations=(points[:, :1] - 0.5))
    found = propose(Setting(encoder, bound, Elsewhere(encoder, ())), taken=lambda _: False, seed=0)[0]
    assert found.point[0] < 0.65
    assert found.p_feasible is not None
    level = own(points, np.zeros(16) + rng.normal(0, 0.01, 16), costs=np.exp(4 * points[:, 1]))
    cheap = [
        propose(Setting(encoder, level, Elsewhere(encoder, ())), taken=lambda _: False, seed=s)[0].point[1]
        for s in range(4)
    ]
    assert np.mean(cheap) < 0.4

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import Matern

from advisor.suggest.elsewhere import MAX_RUNS, N_CANDIDATES, N_TOP, Elsewhere, Task, normal_scores
from advisor.suggest.encoding import Encoder
from advisor.suggest.space import Float, Space

SPACE = Space.of({"x": Float(0, 1), "y": Float(0, 1)})
ENCODER = Encoder(SPACE)


def task(
    name: str,
    value: Callable[[float, float], float],
    *,
    n: int = 30,
    similarity: float = 0.8,
    seed: int = 0,
    **more: Any,
) -> Task:
    rows = [dict(zip("xy", point, strict=True)) for point in np.random.default_rng(seed).random((n, 2)).tolist()]
    outcomes = np.array([value(row["x"], row["y"]) for row in rows])
    ids = [f"{name}-{i}" for i in range(n)]
    options: dict[str, Any] = {"rows": rows, "outcomes": outcomes, "run_ids": ids, "overlap": 1.0} | more
    return Task(name, similarity=similarity, **options)


def bowl(x: float, y: float) -> float:
    return -((x - 0.3) ** 2) - (y - 0.7) ** 2


def upside_down(x: float, y: float) -> float:
    return -bowl(x, y)


def test_normal_scores_share_ranks_between_ties_and_put_what_went_wrong_last() -> None:
    found = normal_scores(np.array([3.0, math.nan, 1.0, 3.0]))
    assert found.tolist() == pytest.approx(norm.ppf([0.75, 0.125, 0.375, 0.75]).tolist())
    assert normal_scores(np.array([math.nan, math.nan])).tolist() == [0.0, 0.0]
    assert normal_scores(np.zeros(0)).size == 0
    assert normal_scores(np.array([5.0])).tolist() == [0.0]


def test_normal_scores_know_order_alone() -> None:
    values = np.random.default_rng(0).standard_normal(20)
    np.testing.assert_array_equal(normal_scores(values), normal_scores(np.exp(values) * 1e6 - 3))


def test_what_is_said_is_what_an_exact_gaussian_process_says() -> None:
    one = task("one", bowl, n=40)
    elsewhere = Elsewhere(ENCODER, [one])
    kernel = elsewhere.kernel
    exact = GaussianProcessRegressor(Matern(kernel.lengths, nu=2.5), alpha=kernel.noise / kernel.signal, optimizer=None)
    exact.fit(ENCODER.columns(ENCODER.coordinates(one.rows)), normal_scores(one.outcomes))
    grid = np.random.default_rng(1).random((50, 2))
    np.testing.assert_allclose(elsewhere.say(grid)[0], exact.predict(grid), atol=0.02)


def test_the_order_of_tasks_does_not_matter() -> None:
    tasks = [task("a", bowl), task("b", upside_down, seed=1), task("c", lambda x, y: x, seed=2, similarity=0.5)]
    grid = np.random.default_rng(1).random((10, 2))
    first, second = Elsewhere(ENCODER, tasks), Elsewhere(ENCODER, tasks[::-1])
    assert [each.name for each in first.tasks] == [each.name for each in second.tasks]
    np.testing.assert_array_equal(first.say(grid), second.say(grid))
    assert first.opening == second.opening


def test_belief_moves_to_the_experiment_that_orders_the_runs_rightly() -> None:
    elsewhere = Elsewhere(ENCODER, [task("right", bowl), task("wrong", upside_down, seed=1)])
    points = np.random.default_rng(2).random((12, 2))
    path = elsewhere.weights(elsewhere.say(points), np.array([bowl(*point) for point in points]))
    right = [each.name for each in elsewhere.tasks].index("right")
    assert path.shape == (13, 2)
    assert path[0, 0] == path[0, 1]
    assert path[-1, right] > 0.9
    assert path[-1, 1 - right] < 0.001
    assert (path >= 0).all()
    assert (path.sum(axis=1) <= 1 + 1e-12).all()


def test_a_past_that_misleads_loses_all_belief() -> None:
    elsewhere = Elsewhere(ENCODER, [task("wrong", upside_down)])
    points = np.random.default_rng(2).random((15, 2))
    weights = elsewhere.weights(elsewhere.say(points), np.array([bowl(*point) for point in points]))
    assert weights[-1, 0] < 0.02 < weights[0, 0]


def test_ties_and_constant_outcomes_move_no_belief() -> None:
    elsewhere = Elsewhere(ENCODER, [task("a", bowl), task("b", upside_down, seed=1)])
    points = np.random.default_rng(2).random((6, 2))
    path = elsewhere.weights(elsewhere.say(points), np.zeros(6))
    np.testing.assert_allclose(path, np.tile(path[0], (7, 1)))


def test_what_was_believed_then_does_not_depend_on_what_came_later() -> None:
    elsewhere = Elsewhere(ENCODER, [task("a", bowl), task("b", upside_down, seed=1)])
    points = np.random.default_rng(2).random((20, 2))
    scores = np.array([bowl(*point) for point in points])
    said = elsewhere.say(points)
    np.testing.assert_allclose(elsewhere.weights(said, scores)[:8], elsewhere.weights(said[:, :7], scores[:7]))


def test_experiments_more_alike_are_believed_more_before_any_run() -> None:
    tasks = [task("near", bowl, similarity=0.9), task("far", bowl, seed=1, similarity=0.2)]
    weights = Elsewhere(ENCODER, tasks).weights(np.zeros((2, 0)), np.zeros(0))[0]
    assert weights[0] > weights[1]
    assert 0 < weights.sum() < 1


def test_a_point_to_open_with_is_a_good_run_of_the_past() -> None:
    one = task("one", bowl, n=60)
    elsewhere = Elsewhere(ENCODER, [one])
    assert {each.run_id for each in elsewhere.opening} <= set(one.run_ids)
    values = [bowl(*point) for point in elsewhere.opening_points]
    assert min(values) >= float(np.quantile(one.outcomes, 0.85))


def test_a_run_that_went_wrong_opens_nothing_however_good_its_neighbours_are() -> None:
    one = task("one", bowl)
    best = int(np.argmax(one.outcomes))
    one.outcomes[best] = math.nan
    assert one.run_ids[best] not in [each.run_id for each in Elsewhere(ENCODER, [one]).opening]


def test_a_configuration_that_was_run_several_times_opens_once() -> None:
    one = task("a", bowl, n=12)
    ids = [f"a-{i}" for i in range(24)]
    twice = task("a", bowl, rows=[*one.rows, *one.rows], outcomes=np.tile(one.outcomes, 2), run_ids=ids)
    found = Elsewhere(ENCODER, [twice]).opening_points
    assert len(found) == len(np.unique(found, axis=0)) == N_CANDIDATES


def test_a_single_experiment_has_more_points_to_open_with_than_each_of_many() -> None:
    many = [task(f"t{i}", bowl, seed=i) for i in range(6)]
    assert len(Elsewhere(ENCODER, many[:1]).opening) == N_CANDIDATES
    assert len(Elsewhere(ENCODER, many).opening) == 6 * N_TOP


def test_it_is_known_what_a_point_to_open_with_got_by_chance() -> None:
    one = task("one", bowl)
    half = replace(one, rows=[{"x": row["x"]} for row in one.rows])
    assert {each.drawn for each in Elsewhere(ENCODER, [one]).opening} == {()}
    assert {each.drawn for each in Elsewhere(ENCODER, [half]).opening} == {("y",)}


def test_runs_that_went_wrong_count_as_the_worst() -> None:
    def crashing(x: float, y: float) -> float:
        return math.nan if x > 0.5 else y

    elsewhere = Elsewhere(ENCODER, [task("one", crashing, n=60)])
    there, here = elsewhere.say(np.array([[0.9, 0.9], [0.1, 0.9]]))[0]
    assert there < 0 < here


def test_of_a_long_experiment_a_part_stands_for_all_and_the_best_is_in_it() -> None:
    long = task("long", bowl, n=3 * MAX_RUNS)
    elsewhere = Elsewhere(ENCODER, [long])
    assert long.run_ids[int(np.argmax(long.outcomes))] in [each.run_id for each in elsewhere.opening]
    grid = np.random.default_rng(1).random((60, 2))
    truth = np.array([bowl(*point) for point in grid])
    assert np.corrcoef(elsewhere.say(grid)[0], truth)[0, 1] > 0.9


def test_a_parameter_that_the_past_lacks_makes_no_difference_to_what_it_says() -> None:
    whole = task("one", lambda x, y: -((x - 0.3) ** 2))
    lacking = task("one", lambda x, y: -((x - 0.3) ** 2), rows=[{"x": row["x"]} for row in whole.rows], overlap=0.5)
    elsewhere = Elsewhere(ENCODER, [lacking])
    near, far = elsewhere.say(np.array([[0.3, 0.5], [0.9, 0.5]]))[0]
    assert near > far


def test_without_a_past_nothing_is_said() -> None:
    nobody = Elsewhere(ENCODER, [])
    assert not nobody
    assert nobody.say(np.zeros((3, 2))).shape == (0, 3)
    assert nobody.mean(np.zeros((3, 2)), np.zeros(0)).tolist() == [0.0] * 3
    assert nobody.weights(np.zeros((0, 4)), np.arange(4.0)).shape == (5, 0)


def test_belief_of_many_runs_takes_little_memory() -> None:
    """Pairs are not all held at once: 24 experiments and 800 runs make 15 million of them."""
    import tracemalloc

    tasks = [task(f"t{i}", bowl, n=8, seed=i) for i in range(24)]
    elsewhere = Elsewhere(ENCODER, tasks)
    rng = np.random.default_rng(0)
    said, scores = rng.standard_normal((24, 800)), rng.standard_normal(800)
    tracemalloc.start()
    elsewhere.weights(said, scores)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10e6

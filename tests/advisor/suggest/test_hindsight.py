"""Other searches are compared only where real runs tell what they would have found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest

from advisor.suggest import Choice, Float, Int, Space
from advisor.suggest.hindsight import Hindsight, best_of_k, chance_of, in_hindsight
from storage.records import Direction, Run, RunState
from tests.advisor.suggest.helpers import experiment, run

GRID = Space({"depth": Int(1, 8), "rule": Choice("a", "b", "c", "d", "e")})


def outcome(params: Mapping[str, Any]) -> float:
    return float((params["depth"] - 6) ** 2 + "abcde".index(params["rule"]))


def all_points() -> list[dict[str, Any]]:
    return [{"depth": depth, "rule": rule} for depth in range(1, 9) for rule in "abcde"]


def hindsight(
    runs: Sequence[Run], *, space: Space | None = GRID, way: Direction = "minimize", tpe: int = 0, **bodies: str
) -> Hindsight:
    given = {key: {"suggestion_id": key, "source": source} for key, source in bodies.items()}
    return in_hindsight(experiment(way), runs, given, space, n_tpe_seeds=tpe)


def searched(points: Sequence[Mapping[str, Any]], n_ours: int, *, sign: float = 1.0) -> list[Run]:
    """Return runs of points in their order, the first ones suggested."""
    runs = [run(i, params, sign * outcome(params)) for i, params in enumerate(points)]
    return [replace(one, suggestion_id=f"s{i}" if i < n_ours else None) for i, one in enumerate(runs)]


def test_a_search_that_finds_the_best_at_once_beats_random_search_on_its_grid() -> None:
    points = sorted(all_points(), key=outcome)
    found = hindsight(searched(points, 40), tpe=3)
    assert [(each.rival, each.k) for each in found.versus] == [
        (rival, k) for k in (5, 10, 20) for rival in ("random search", "Optuna TPE")
    ]
    first = found.versus[0]
    assert (first.ours, first.regret, first.basis) == (0.0, 0.0, "grid")
    assert first.theirs.low > 0
    assert first.their_regret == pytest.approx(first.theirs.value)
    assert first.as_good == pytest.approx(5 / 40, abs=0.08)
    assert "40 of the 40 points" in found.notes[0]
    assert "200 seeds" in found.notes[0]


def test_random_search_is_replayed_without_bias() -> None:
    points = sorted(all_points(), key=outcome, reverse=True)  # ours finds the worst first
    found = hindsight(searched(points, 40))
    losses = np.array([outcome(params) for params in points])
    for each in found.versus:
        assert each.theirs.low <= best_of_k(losses, each.k).value <= each.theirs.high
        assert each.as_good == 1.0


def test_direction_is_respected() -> None:
    points = sorted(all_points(), key=outcome)
    found = hindsight(searched(points, 40, sign=-1.0), way="maximize")
    assert (found.versus[0].ours, found.versus[0].regret) == (0.0, 0.0)
    assert found.versus[0].theirs.value < 0


def test_runs_that_went_wrong_are_points_without_an_outcome() -> None:
    runs = searched(sorted(all_points(), key=outcome), 40)
    runs[0] = replace(runs[0], values=(), state=RunState.FAILED)
    assert hindsight(runs).versus[0].ours == 1.0


def test_a_space_that_was_not_searched_whole_is_not_replayed() -> None:
    found = hindsight(searched(all_points()[:30], 30))
    assert found.versus == ()
    assert found.notes[0].startswith("cannot be told: 30 of the 40 points of the space have been run, and")
    no_grid = hindsight(searched(all_points(), 40), space=Space({"lr": Float(0, 1)}))
    assert no_grid.notes[0].startswith("cannot be told: the space is no small grid")


def test_a_conditional_grid_is_replayed_with_the_points_that_it_has() -> None:
    of_sgd = {"type": "int", "low": 1, "high": 8, "when": {"opt": "sgd"}}
    space = Space.of({"opt": ["sgd", "adam"], "momentum": of_sgd, "depth": {"type": "int", "low": 1, "high": 3}})
    points = list(space.points())
    runs = [run(i, params, float(params.get("momentum", 5) + params["depth"])) for i, params in enumerate(points)]
    runs = [replace(one, suggestion_id=f"s{one.number}") for one in runs]
    found = hindsight(runs, space=space, tpe=2)
    assert found.notes[0].startswith("27 of the 27 points of the space have been run")
    assert {(each.rival, each.k) for each in found.versus} >= {("Optuna TPE", 10), ("random search", 10)}


def test_random_runs_of_the_same_experiment_stand_for_random_search() -> None:
    values = [5.0, 4.0, 3.0, 6.0, 7.0, 9.0, 2.0, 2.5, 4.5, 1.0]
    runs = [replace(run(i, {"lr": 0.1}, value), suggestion_id=f"s{i}") for i, value in enumerate(values)]
    sources = {f"s{i}": "random-startup" if i < 6 else "tpe" for i in range(10)}
    (versus,) = hindsight(runs, space=None, **sources).versus
    assert (versus.basis, versus.k, versus.ours) == ("random runs", 3, 2.0)
    assert versus.theirs.value == pytest.approx(np.mean([min(each) for each in combinations(values[:6], 3)]))
    assert (versus.as_good, versus.regret) == (0.0, None)
    too_few = hindsight(runs[:8], space=None, **sources)
    assert too_few.notes[0].endswith("6 random and 2 other suggested runs have finished, 6 and 3 are needed")


def test_without_suggested_runs_there_is_nothing_to_compare() -> None:
    assert hindsight([run(0, {}, 1.0)]).notes == ("cannot be told: no suggested run has ended",)


@pytest.mark.parametrize("k", [1, 2, 4, 7])
def test_the_expected_best_of_k_is_that_over_all_subsets(k: int) -> None:
    losses = np.random.default_rng(3).normal(size=7)
    subsets = [min(each) for each in combinations(losses.tolist(), k)]
    found = best_of_k(losses, k)
    assert found.value == pytest.approx(np.mean(subsets))
    assert found.low <= found.value <= found.high
    assert chance_of(losses, k, 0.0) == pytest.approx(np.mean([each <= 0 for each in subsets]))


def test_more_draws_than_runs_are_refused() -> None:
    with pytest.raises(ValueError, match="k is between 1 and 3"):
        best_of_k(np.zeros(3), 4)

"""The evaluation of suggestions: what it says of searches. ``make evals-suggest`` tries its measuring."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[1] / "evals" / "suggest_transfer"


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Import the module by name, and forget it afterwards: its name is a plain word."""
    monkeypatch.syspath_prepend(FOLDER)
    yield import_module("figures")
    del sys.modules["figures"]


@dataclass(frozen=True)
class Search:
    method: str
    task: str
    seed: int
    regret: tuple[float, ...]
    benchmark: str = "arlbench"
    group: str = "brax"


def searches(method: str, *ends: float, n: int = 30, start: float = 1.0) -> list[Search]:
    """Return one search a task that gets better after its first half."""
    return [Search(method, f"t{i}", 0, (start,) * (n // 2) + (end,) * (n - n // 2)) for i, end in enumerate(ends)]


def test_seeds_of_a_task_count_as_one_task(figures: Any) -> None:
    found = [Search("cold", "a", 0, (0.0,)), Search("cold", "a", 1, (0.4,)), Search("cold", "b", 0, (0.6,))]
    mean = figures.regret(found, 1)
    assert (mean.mean, mean.n_tasks) == (pytest.approx(0.4), 2)
    assert mean.error == pytest.approx(0.2)
    assert (mean.low, mean.high) == (pytest.approx(0.2), pytest.approx(0.6))


def test_differences_are_taken_on_the_same_task_and_seed_only(figures: Any) -> None:
    ours = [Search("transfer", "a", 0, (0.1,)), Search("transfer", "b", 0, (0.2,)), Search("transfer", "c", 0, (9.0,))]
    other = [Search("cold", "b", 0, (0.5,)), Search("cold", "a", 0, (0.2,)), Search("cold", "c", 1, (0.0,))]
    gap = figures.difference(ours, other, 1)
    assert (gap.mean, gap.n_tasks) == (pytest.approx(-0.2), 2)


def test_runs_needed_are_counted_on_the_mean_of_all_searches(figures: Any) -> None:
    found = searches("transfer", 0.0, 0.2, n=10)
    assert figures.runs_needed(found, 0.1) == 6
    assert figures.runs_needed(found, 1.0) == 1
    assert figures.runs_needed(found, 0.05) is None


def test_a_target_is_judged_only_where_the_searches_are_long_enough(figures: Any) -> None:
    aims = [target.aim for target in figures.targets(searches("transfer", 0.1, n=10) + searches("cold", 0.1, n=10))]
    assert aims == []


def test_a_group_that_the_past_makes_worse_misses_its_target(figures: Any) -> None:
    worse = searches("transfer", 0.30, 0.32, 0.34) + searches("cold", 0.10, 0.11, 0.12)
    same = searches("transfer", 0.10, 0.32, 0.10) + searches("cold", 0.11, 0.30, 0.11)
    judged = [next(t for t in figures.targets(found) if "brax" in t.aim).holds for found in (worse, same)]
    assert judged == [False, True]


def test_a_misleading_past_is_judged_at_every_checkpoint(figures: Any) -> None:
    misled = searches("least", 0.1, 0.1, start=1.0) + searches("cold", 0.1, 0.1, start=0.8)
    target = next(t for t in figures.targets(misled) if "least" in t.aim)
    assert not target.holds
    assert "missed after [1, 3, 5, 10]" in target.found


def test_searches_of_one_method_alone_meet_no_target(figures: Any) -> None:
    for method in ("transfer", "cold", "tpe", "random", "least"):
        for benchmark in ("lcbench", "arlbench"):
            found = [Search(method, "a", 0, (0.5,) * 50, benchmark), Search(method, "b", 0, (0.5,) * 50, benchmark)]
            assert all(benchmark in target.aim for target in figures.targets(found))

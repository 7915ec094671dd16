"""What pictures are drawn from: columns, the best so far, groups, and which runs are drawn."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from advisor.suggest.landscape import KEPT_BEST, Fate, Landscape, landscape, wanted
from storage.query import Names
from storage.records import Experiment, Objective

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def experiment(direction: Any = "minimize", **more: Any) -> Experiment:
    return Experiment("e", number=0, objectives=(Objective("loss", direction),), created=NOW, **more)


def of(
    values: list[float], *, direction: Any = "minimize", states: list[str] | None = None, **params: list[Any]
) -> Landscape:
    """Return a landscape of finished runs with these values and parameters."""
    n = len(values)
    objective = np.array(values, dtype=np.float64)
    said = states or ["finished"] * n
    columns: dict[str, Any] = {
        "id": np.array([f"r{i}" for i in range(n)], dtype=object),
        "number": np.arange(n, dtype=np.float64),
        "state": np.array(said, dtype=object),
        "objective": objective,
        "ranks": np.array(
            [s == "finished" and math.isfinite(v) for s, v in zip(said, values, strict=True)], dtype=float
        ),
    }
    for name, column in params.items():
        is_text = any(isinstance(value, str) for value in column)
        columns[f"params.{name}"] = np.array(column, dtype=object if is_text else np.float64)
    return landscape(experiment(direction), Names(params=frozenset(params)), columns)


def test_the_columns_that_are_read_are_spelled_as_a_filter_takes_them() -> None:
    names = Names(params=frozenset({"lr", "batch size"}))
    assert wanted(experiment(), names)[5:] == ["params.`batch size`", "params.lr"]


def test_declared_parameters_come_first_with_their_scale() -> None:
    record = experiment(space={"wd": {"type": "float", "low": 1, "high": 2, "log": True}})
    columns: dict[str, Any] = {name: np.array([], dtype=object) for name in ("id", "state")}
    columns |= {name: np.array([]) for name in ("number", "objective", "ranks")}
    columns |= {"params.wd": np.array([1.0, 2.0]), "params.a": np.array([1.0, 5.0])}
    found = landscape(record, Names(params=frozenset({"a", "wd"})), columns)
    assert [(axis.name, axis.log) for axis in found.axes] == [("wd", True), ("a", False)]


@pytest.mark.parametrize(("direction", "steps"), [("minimize", [0, 2, 5]), ("maximize", [0, 1])])
def test_the_best_so_far_changes_only_where_a_ranked_run_is_better(direction: Any, steps: list[int]) -> None:
    values, states = [3.0, 4.0, 2.0, math.nan, 0.5, 1.0], ["finished"] * 4 + ["failed", "finished"]
    assert of(values, direction=direction, states=states).steps().tolist() == steps


def test_each_run_has_one_fate() -> None:
    found = of([1.0, math.nan, math.inf, 1.0, 1.0, math.nan, math.nan], states=[
        "finished", "finished", "finished", "pruned", "failed", "running", "waiting"])  # fmt: skip
    expected = [Fate.RANKED, Fate.DIVERGED, Fate.DIVERGED, Fate.PRUNED, Fate.FAILED, Fate.OPEN, Fate.OPEN]
    assert found.fates.tolist() == expected


def test_groups_hold_equal_numbers_of_runs_and_count_what_went_wrong() -> None:
    values = [float(i) for i in range(20)]
    values[19] = math.nan
    groups = of(values, x=[float(i) for i in range(20)]).groups(of(values, x=[float(i) for i in range(20)]).axes[0])
    assert [each.n_runs for each in groups] == [4] * 5
    assert [(each.low, each.high, each.median) for each in groups[:2]] == [(0, 3, 1.5), (4, 7, 5.5)]
    assert (groups[-1].n_wrong, groups[-1].n_ranked, groups[-1].best) == (1, 3, 16.0)


def test_words_are_groups_of_their_own_and_words_that_are_numbers_are_ordered_by_size() -> None:
    found = of([1.0, 2.0, 3.0], depth=["10", "9", "auto"])
    assert found.axes[0].labels == ("9", "10", "auto")
    assert [(each.label, each.median) for each in found.groups(found.axes[0])] == [("9", 2), ("10", 1), ("auto", 3)]


def test_a_parameter_that_is_the_same_everywhere_or_tells_every_run_apart_is_left_out() -> None:
    n = 40
    found = of([1.0] * n, same=[3.0] * n, path=[f"/data/{i}" for i in range(n)], lr=[10.0**-i for i in range(n)])
    assert ([axis.name for axis in found.axes], found.left_out) == (["lr"], ("path", "same"))
    assert found.axes[0].log


def test_cells_are_groups_of_both_parameters_and_empty_where_no_run_is() -> None:
    found = of([1.0, 2.0, 3.0], x=[0.0, 0.0, 1.0], y=["a", "b", "a"])
    cells = found.cells(found.axes[0], found.axes[1])
    assert [[None if cell is None else cell.median for cell in row] for row in cells] == [[1.0, 3.0], [2.0, None]]


def test_of_very_many_runs_the_best_and_those_once_best_are_always_drawn() -> None:
    rng = np.random.default_rng(0)
    found = of(rng.normal(size=50_000).tolist())
    drawn = set(found.drawn(2_000).tolist())
    assert 1_900 <= len(drawn) <= 2_000
    assert set(found.steps().tolist()) <= drawn
    assert set(found.best(KEPT_BEST).tolist()) <= drawn
    assert of([1.0, 2.0]).drawn(2_000).tolist() == [0, 1]


def test_nothing_at_all_is_no_trouble() -> None:
    found = of([])
    assert (len(found), found.steps().tolist(), found.drawn(10).tolist(), found.axes) == (0, [], [], ())

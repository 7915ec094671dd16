"""Importances come with intervals, and say where the order cannot be told."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from advisor.errors import ConfigError
from advisor.suggest import Float, Importances, Space, importances
from tests.advisor.suggest.helpers import SPACE, experiment, random_runs, run

METHODS = ("total-effects", "ped-anova")


@pytest.mark.parametrize("method", METHODS)
def test_the_parameter_that_matters_is_first_with_an_interval_around_its_share(method: str) -> None:
    found, note = importances(experiment(), random_runs(60), SPACE, method=method)
    assert found is not None
    assert next(iter(found.shares)) == "lr"
    assert sum(found.shares.values()) == pytest.approx(1.0)
    assert all(0 <= found.low[name] <= share <= found.high[name] <= 1 for name, share in found.shares.items())
    assert found.ends["lr"] == (found.low["lr"], found.high["lr"])
    assert "60 finished runs" in note


@pytest.mark.parametrize("method", METHODS)
def test_a_parameter_that_was_not_varied_has_no_importance(method: str) -> None:
    runs = [replace(one, params={**one.params, "batch": 32}) for one in random_runs(60)]
    space = Space({**SPACE, "batch": Float(16, 64)})
    found, note = importances(experiment(), runs, space, method=method)
    assert found is not None
    assert set(found.shares) == set(SPACE) == set(found.low) == set(found.high)
    assert sum(found.shares.values()) == pytest.approx(1.0)
    assert note.endswith("; not varied, so what they matter cannot be told: batch")
    one = Space({"lr": SPACE["lr"], "batch": Float(16, 64)})
    found, why = importances(experiment(), runs, one, method=method)
    assert found is None
    assert "fewer than two parameters that vary" in why


@pytest.mark.parametrize("method", METHODS)
def test_the_same_seed_gives_the_same_intervals(method: str) -> None:
    runs = random_runs(30)
    once, again = (importances(experiment(), runs, SPACE, method=method, seed=3) for _ in range(2))
    assert once == again


def test_where_intervals_overlap_the_order_is_not_claimed() -> None:
    rng = np.random.default_rng(0)
    space = Space({name: Float(0, 1) for name in "abcd"})
    rows = [{name: float(rng.random()) for name in space} for _ in range(60)]
    runs = [run(i, row, 5 * row["a"] + row["b"] + row["c"]) for i, row in enumerate(rows)]
    found, note = importances(experiment(), runs, space)
    assert found is not None
    assert next(iter(found.shares)) == "a"
    assert any(set(pair) == {"b", "c"} for pair in found.ties)
    assert all("a" not in pair for pair in found.ties)
    assert "the order cannot be told, since intervals overlap, among: " in note
    assert found.as_json()["order_unknown"] == [list(pair) for pair in found.ties]


def test_intervals_that_all_overlap_are_said_in_one_sentence() -> None:
    found = Importances({"a": 0.6, "b": 0.4}, low={"a": 0.3, "b": 0.1}, high={"a": 0.9, "b": 0.7}, method="m", n_runs=9)
    assert found.ties == (("a", "b"),)
    assert found.first_in_words == "m puts a first (60%, 30% to 90%), not told apart from b"


def test_ped_anova_needs_runs_and_respects_the_direction() -> None:
    assert importances(experiment(), random_runs(19), SPACE, method="ped-anova")[0] is None
    runs = random_runs(60)
    turned = [replace(one, values=(-one.values[0],)) for one in runs]
    down, _ = importances(experiment("minimize"), runs, SPACE, method="ped-anova")
    up, _ = importances(experiment("maximize"), turned, SPACE, method="ped-anova")
    assert down is not None
    assert up is not None
    assert down.shares == pytest.approx(dict(up.shares))


def test_ped_anova_leaves_out_what_lies_outside_the_space_or_diverged() -> None:
    odd = [run(90, {"lr": 1e9, "hidden": 32, "optimizer": "sgd"}, 0.0), run(91, {"lr": 0.1}, 0.0)]
    odd.append(run(92, {"lr": 0.1, "hidden": 32, "optimizer": "sgd"}, math.nan))
    found, note = importances(experiment(), [*random_runs(30), *odd], SPACE, method="ped-anova")
    assert found is not None
    assert "30 finished runs" in note
    same = [replace(one, values=(1.0,)) for one in random_runs(30)]
    assert importances(experiment(), same, SPACE, method="ped-anova") == (
        None,
        "nothing to tell: all 30 finished runs have the same loss",
    )


def test_an_unknown_method_is_refused_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match="'fanova' is unknown; allowed are 'total-effects' and 'ped-anova'"):
        importances(experiment(), random_runs(30), SPACE, method="fanova")


def test_ped_anova_takes_parameters_that_have_a_meaning_under_a_condition() -> None:
    momentum = {"type": "float", "low": 0, "high": 1, "when": {"opt": "sgd"}}
    space = Space.of({"opt": ["sgd", "adam"], "momentum": momentum, "width": {"type": "float", "low": 0, "high": 1}})
    rng = np.random.default_rng(0)
    rows = [space.draw(rng) for _ in range(40)]
    runs = [run(i, row, row["width"] + row.get("momentum", 0.5)) for i, row in enumerate(rows)]
    found, note = importances(experiment(), runs, space, method="ped-anova")
    assert found is not None, note
    assert set(found.shares) == {"opt", "momentum", "width"}

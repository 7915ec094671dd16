from __future__ import annotations

import math
import warnings
from typing import Any

import optuna
import pytest

from advisor.errors import AdvisorError, ConfigError, SpaceError
from advisor.suggest import Suggestion, suggest
from advisor.suggest.samplers import N_STARTUP, choose_sampler
from advisor.suggest.space import Choice, Float, Int, Space
from storage.records import Run, RunState
from tests.advisor.suggest.helpers import NOW, SPACE, experiment, loss_of, random_runs, run


def ask(runs: list[Run], space: Space = SPACE, **options: Any) -> list[Suggestion]:
    options.setdefault("seed", 0)
    return suggest(options.pop("experiment", experiment()), runs, space, now=NOW, **options)


def test_suggestions_lie_in_the_space_and_are_plain_values() -> None:
    for suggestion in ask([], n=5) + ask(random_runs(15), n=5):
        SPACE.check(suggestion.params)
        assert {type(value) for value in suggestion.params.values()} == {float, int, str}


def test_the_first_points_are_spread_out_and_then_the_model_proposes() -> None:
    early, late = ask(random_runs(2))[0], ask(random_runs(8))[0]
    assert (early.source, early.sampler) == ("random-startup", "TransferSampler")
    assert (late.source, late.sampler) == ("gp", "TransferSampler")


def test_several_objectives_begin_with_startup_draws_and_go_on_with_tpe() -> None:
    two = experiment("minimize", "maximize")
    runs = [run(i, each.params, each.values[0], float(i % 5)) for i, each in enumerate(random_runs(N_STARTUP))]
    early, late = ask(runs[:-1], experiment=two)[0], ask(runs, experiment=two)[0]
    assert (early.source, early.sampler) == ("random-startup", "SpreadSampler")
    assert (late.source, late.sampler) == ("tpe", "TPESampler")


def test_startup_draws_keep_away_from_each_other() -> None:
    space = Space.of({"x": Float(0, 1), "y": Float(0, 1)})
    points = [suggestion.params for suggestion in ask([], space, n=8)]
    gaps = [math.dist(a.values(), b.values()) for i, a in enumerate(points) for b in points[:i]]
    assert min(gaps) > 0.15


def test_the_same_runs_and_seed_give_the_same_parameters() -> None:
    runs = random_runs(20)
    assert ask(runs, seed=3)[0].params == ask(runs, seed=3)[0].params
    assert ask(runs, seed=3)[0].params != ask(runs, seed=4)[0].params


def test_one_seed_for_a_whole_loop_still_gives_new_points() -> None:
    runs: list[Run] = []
    for i in range(25):
        params = ask(runs, seed=7)[0].params
        runs.append(run(i, params, loss_of(params)))
    assert len({tuple(each.params.values()) for each in runs}) == 25
    assert min(each.values[0] for each in runs) < 0.5


def test_the_reasons_name_figures_runs_and_what_is_missing() -> None:
    runs = [*random_runs(12), run(12, {"lr": 0.9, "hidden": 20, "optimizer": "sgd"}, state=RunState.CRASHED)]
    runs.append(run(13, {"lr": 0.8, "hidden": 30, "optimizer": "sgd"}, math.nan))
    suggestion = ask(runs)[0]
    assert "14 runs here, of which 2 failed or diverged" in suggestion.why
    assert suggestion.learned_from == tuple(each.id for each in runs)
    assert f"#{suggestion.nearest[0].number}" in suggestion.why
    assert suggestion.nearest == tuple(sorted(suggestion.nearest, key=lambda near: near.distance))
    first = ask(runs[:3])[0]
    assert first.forecast is None
    assert "3 finished, 8 are needed" in first.why
    assert first.as_json()["forecast"] is None


def test_a_forecast_comes_with_the_suggestion_when_runs_can_tell() -> None:
    suggestion = ask(random_runs(40))[0]
    assert suggestion.forecast is not None
    assert suggestion.forecast.low <= suggestion.forecast.mean <= suggestion.forecast.high
    assert set(suggestion.as_json()["forecast"]) == {"mean", "low", "high"}


def test_points_tried_or_pending_are_not_suggested_again_and_exhaustion_is_said() -> None:
    space = Space.of({"act": Choice("relu", "tanh"), "n": Int(1, 3)})
    runs = [run(i, {"act": "relu", "n": i + 1}, 0.5) for i in range(3)]
    pending = [{"act": "tanh", "n": 1}]
    found = [suggestion.params for suggestion in ask(runs, space, n=2, pending=pending)]
    assert sorted(params["n"] for params in found) == [2, 3]
    assert {params["act"] for params in found} == {"tanh"}
    with pytest.raises(SpaceError, match="all 6 combinations of the space have been tried or suggested"):
        ask(runs, space, n=3, pending=pending)


def test_a_crashed_runs_parameters_are_not_proposed_again() -> None:
    space = Space.of({"bs": Choice(32, 64, 128, 4096)})
    runs = [run(i, {"bs": 4096}, state=RunState.FAILED) for i in range(30)]
    assert ask(runs, space)[0].params["bs"] != 4096


def test_fixed_parameters_keep_their_value_and_must_fit() -> None:
    for suggestion in ask(random_runs(20), n=3, fixed={"optimizer": "sgd"}):
        assert suggestion.params["optimizer"] == "sgd"
        assert list(suggestion.params) == list(SPACE)
    with pytest.raises(SpaceError, match="outside"):
        ask([], fixed={"lr": 3.0})
    everything = {"lr": 0.1, "hidden": 64, "optimizer": "sgd"}
    assert ask([], fixed=everything)[0].source == "fixed"


@pytest.mark.parametrize("name", ["random", "TPESampler", "tpe", "QMCSampler", "NSGAIISampler"])
def test_a_sampler_can_be_chosen_by_name(name: str) -> None:
    (suggestion,) = ask(random_runs(12), sampler=name)
    SPACE.check(suggestion.params)
    assert suggestion.sampler.lower().startswith(name.lower().removesuffix("sampler"))


def test_a_sampler_can_be_given_as_an_object() -> None:
    sampler = optuna.samplers.RandomSampler(seed=1)
    suggestion = ask(random_runs(12), sampler=sampler)[0]
    assert suggestion.source == "random"
    assert "RandomSampler was asked for" in suggestion.why


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sampler": "tpee"}, "unknown sampler 'tpee'; did you mean 'tpe'"),
        ({"sampler": "grid"}, "needs arguments of its own"),
        ({"n": 0}, "ask for at least 1"),
    ],
)
def test_mistakes_are_one_sentence(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        ask(random_runs(3), **options)
    assert message in str(caught.value)


def test_an_empty_space_and_a_missing_objective_are_said() -> None:
    with pytest.raises(SpaceError, match="no parameter to vary"):
        ask([], Space({}))
    bare = experiment()
    bare = type(bare)(bare.name, number=0, created=bare.created)
    with pytest.raises(AdvisorError, match="has no objective; set one with"):
        ask([], experiment=bare)


def test_several_objectives_are_supported() -> None:
    runs = [run(i, each.params, each.values[0], float(i % 5)) for i, each in enumerate(random_runs(20))]
    runs.append(run(20, runs[0].params | {"lr": 0.5}, math.nan, 1.0))
    suggestion = ask(runs, experiment=experiment("minimize", "maximize"))[0]
    SPACE.check(suggestion.params)
    assert len(suggestion.learned_from) == 21


def test_choosing_a_sampler_warns_nobody() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert choose_sampler(SPACE, 50, seed=0, n_objectives=2).name == "TPESampler"


def test_an_inferred_space_is_mentioned() -> None:
    assert "Lr was guessed." in ask(random_runs(3), space_notes=("lr was guessed",))[0].why

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import optuna
import pytest

from advisor.errors import AdvisorError, ConfigError, SpaceError
from advisor.suggest import Suggestion, suggest
from advisor.suggest.engine import N_SPREAD
from advisor.suggest.others import Past
from advisor.suggest.samplers import N_STARTUP, choose_sampler
from advisor.suggest.space import Choice, Float, Int, Space
from storage.records import Experiment, Objective, Run, RunState
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


def test_without_a_past_the_first_five_are_spread_out_and_then_the_model_proposes() -> None:
    early, late = ask(random_runs(N_SPREAD - 1))[0], ask(random_runs(N_SPREAD))[0]
    assert (early.source, early.sampler) == ("random-startup", "TransferSampler")
    assert (late.source, late.sampler) == ("gp", "TransferSampler")


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
    assert "14 runs here, of which 2 failed or diverged and count as worst" in suggestion.why
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
    with pytest.raises(AdvisorError, match="has no objective to improve; set one with"):
        ask([], experiment=bare)


def test_several_objectives_go_to_tpe() -> None:
    runs = [run(i, each.params, each.values[0], float(i % 5)) for i, each in enumerate(random_runs(20))]
    runs.append(run(20, runs[0].params | {"lr": 0.5}, math.nan, 1.0))
    suggestion = ask(runs, experiment=experiment("minimize", "maximize"))[0]
    SPACE.check(suggestion.params)
    assert suggestion.source == "tpe"
    assert len(suggestion.learned_from) == 21


def test_choosing_a_sampler_warns_nobody() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert choose_sampler(SPACE, 50, seed=0, n_objectives=2).name == "TPESampler"
        assert choose_sampler(SPACE, 50, seed=0).is_own


def test_an_inferred_space_is_mentioned() -> None:
    note = "no space is declared, so it was inferred from the runs (lr: guessed)"
    assert "No space is declared, so it was inferred" in ask(random_runs(3), space_notes=(note,))[0].why


# -- what else is said of a question


CONDITIONAL = Space.of(
    {
        "opt": Choice("sgd", "adam"),
        "lr": Float(1e-5, 1, log=True),
        "momentum": Float(0, 0.99, when={"opt": "sgd"}),
        "beta": Float(0.8, 0.999, when={"opt": "adam"}),
    }
)
EVERY_KIND = Space.of(
    {
        "x": Float(-1, 1),
        "lr": Float(1e-5, 1, log=True),
        "dropout": Float(0, 0.5, step=0.1),
        "layers": Int(1, 4),
        "width": Int(16, 256, step=16),
        "batch": Int(8, 1024, log=True),
        "on": Choice(False, True),
        "act": Choice("relu", "tanh", "gelu"),
    }
)
SQUARE = Space.of({"x": Float(0, 1), "y": Float(0, 1)})


def told(*directions: Any, **problem: Any) -> Experiment:
    return replace(experiment(*directions), problem=problem)


def drawn_runs(space: Space, value: Callable[[Mapping[str, Any]], float], n: int, *, seed: int = 0) -> list[Run]:
    rng = np.random.default_rng(seed)
    rows = [space.draw(rng) for _ in range(n)]
    return [run(i, params, value(params)) for i, params in enumerate(rows)]


def conditional_loss(params: Mapping[str, Any]) -> float:
    return (math.log10(params["lr"]) + 2) ** 2 + abs(params.get("momentum", 0.5) - 0.9) + params.get("beta", 0.9)


def square_loss(params: Mapping[str, Any]) -> float:
    return (params["x"] - 0.3) ** 2 + (params["y"] - 0.7) ** 2


@pytest.mark.parametrize("space", [EVERY_KIND, CONDITIONAL], ids=["every kind", "conditional"])
@pytest.mark.parametrize("n_runs", [0, 2, 12])
def test_ten_at_once_are_distinct_points_of_the_space(space: Space, n_runs: int) -> None:
    runs = drawn_runs(space, lambda params: params["lr"], n_runs)
    found = ask(runs, space, n=10)
    for suggestion in found:
        space.check(suggestion.params)
    assert len({space.key(suggestion.params) for suggestion in found}) == 10


def test_a_discrete_space_is_gone_through_once_and_then_one_sentence_says_so() -> None:
    space = Space.of(
        {"n": Int(1, 3), "opt": Choice("sgd", "adam"), "nesterov": Choice(False, True, when={"opt": "sgd"})}
    )
    runs: list[Run] = []
    for i in range(9):
        params = ask(runs, space)[0].params
        runs.append(run(i, params, float(i)))
    assert len({space.key(each.params) for each in runs}) == 9
    with pytest.raises(SpaceError, match="all 9 combinations of the space have been tried or suggested; widen"):
        ask(runs, space)


@pytest.mark.parametrize("opt", ["sgd", "adam"])
def test_a_fixed_parent_decides_which_children_there_are(opt: str) -> None:
    child = {"sgd": "momentum", "adam": "beta"}[opt]
    for runs in ([], drawn_runs(CONDITIONAL, conditional_loss, 12)):
        for suggestion in ask(runs, CONDITIONAL, n=3, fixed={"opt": opt}):
            CONDITIONAL.check(suggestion.params)
            assert list(suggestion.params) == ["opt", "lr", child]
            assert suggestion.params["opt"] == opt


def test_what_an_experiment_keeps_fixed_is_kept_and_what_a_call_fixes_goes_before() -> None:
    kept = told(fixed={"optimizer": "sgd"})
    assert ask([], experiment=kept)[0].params["optimizer"] == "sgd"
    assert ask([], experiment=kept, fixed={"optimizer": "adam"})[0].params["optimizer"] == "adam"


def test_what_a_call_fixes_leaves_out_what_the_experiment_keeps_fixed_where_that_has_no_meaning() -> None:
    kept = told(fixed={"momentum": 0.5})
    (adam,) = ask([], CONDITIONAL, experiment=kept, fixed={"opt": "adam"})
    assert "momentum" not in adam.params
    assert "Fixed: opt = adam." in adam.why
    found = ask([], CONDITIONAL, experiment=kept, n=6)
    assert {each.params.get("momentum") for each in found} == {None, 0.5}
    assert all(("Fixed: momentum = 0.5." in each.why) == ("momentum" in each.params) for each in found)
    idle = "Fixed as well, but without a meaning here: momentum = 0.5."
    assert all((idle in each.why) == ("momentum" not in each.params) for each in found)


def test_of_two_fixed_parameters_that_exclude_each_other_the_one_that_is_left_out_is_named() -> None:
    space = Space.of({
        "clf": Choice("svc", "rf"),
        "C": Float(0.1, 10, log=True, when={"clf": "svc"}),
        "n": Int(10, 100, when={"clf": "rf"}),
    })  # fmt: skip
    found = ask([], space, fixed={"C": 1.0, "n": 20}, n=2)
    assert {each.params["clf"] for each in found} == {"svc", "rf"}
    for each in found:
        kept, left = ("C = 1", "n = 20") if each.params["clf"] == "svc" else ("n = 20", "C = 1")
        assert f"Fixed: {kept}. Fixed as well, but without a meaning here: {left}." in each.why


@pytest.mark.parametrize(
    ("fixed", "error", "message"),
    [
        ({"lr": 3.0}, SpaceError, "fixed: lr = 3.0 is outside [1e-05, 1]; choose a value inside, or widen the space"),
        ({"lrr": 3.0}, SpaceError, "fixed: unknown parameter 'lrr'; did you mean 'lr'?"),
        ({"opt": "adm"}, SpaceError, "fixed: opt = 'adm' is not one of 'sgd', 'adam'"),
        ({"momentum": 0.5}, SpaceError,
         "fixed: momentum has no meaning with opt = 'adam'; leave it out (the experiment keeps opt fixed)"),
        ({"lr": [0.1, 0.2]}, ConfigError, "fixed: lr = [0.1, 0.2] is no finite number, text, truth value or null"),
        (["lr"], ConfigError, "fixed = ['lr'] maps no parameters to values; give {'lr': 0.1}"),
    ],
)  # fmt: skip
def test_what_cannot_be_fixed_is_one_sentence(fixed: Any, error: type[AdvisorError], message: str) -> None:
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        ask([], CONDITIONAL, experiment=told(fixed={"opt": "adam"}), fixed=fixed)


def test_where_all_is_fixed_there_is_one_suggestion() -> None:
    everything = {"lr": 0.1, "hidden": 64, "optimizer": "sgd"}
    tried = [run(0, everything, 1.0)]
    with pytest.raises(SpaceError, match=r"^the one combination of the space with lr, .* fixed has been tried .*; fix"):
        ask(tried, fixed=everything)


def test_a_point_to_try_first_waits_while_another_value_is_fixed() -> None:
    asked = told(try_first=[{"hidden": 64, "lr": 0.5}, {"lr": 0.25}], fixed={"hidden": 32})
    first, second = ask([], n=2, experiment=asked)
    assert (first.params["lr"], first.params["hidden"], first.source) == (0.25, 32, "first")
    assert (second.params["hidden"], second.source) == (32, "random-startup")
    assert "The point to try first {hidden: 64, lr: 0.5} waits while hidden is fixed at 32." in first.why
    assert ask([], experiment=asked, fixed={"hidden": 64})[0].params["lr"] == 0.5


def test_a_point_to_try_first_has_no_value_that_is_fixed_but_has_no_meaning_in_it() -> None:
    asked = told(try_first=[{"opt": "adam"}], fixed={"momentum": 0.5})
    (first,) = ask([], CONDITIONAL, experiment=asked)
    CONDITIONAL.check(first.params)
    assert (first.params["opt"], first.source) == ("adam", "first")


def test_points_to_try_first_come_first_and_what_they_lack_is_chosen() -> None:
    whole = {"lr": 0.01, "hidden": 64, "optimizer": "adam"}
    asked = told(try_first=[whole, {"lr": 0.5}])
    first, second, third = ask([], n=3, experiment=asked)
    assert (dict(first.params), first.source) == (whole, "first")
    assert (second.params["lr"], second.source) == (0.5, "first")
    SPACE.check(second.params)
    assert third.source == "random-startup"
    runs = [run(0, whole, 1.0), run(1, second.params, 2.0)]
    assert ask(runs, experiment=asked)[0].source == "random-startup"


def test_what_a_point_to_try_first_leaves_out_is_the_samplers_choice() -> None:
    asked = told(try_first=[{"hidden": 77}])
    for seed in range(3):
        first, second = ask(random_runs(20), n=2, seed=seed, experiment=asked)
        assert (first.params["hidden"], first.source, second.source) == (77, "first", "gp")
        assert abs(math.log10(first.params["lr"]) + 2.5) < 0.8  # the best is at 10^-2.5, the range five decades wide
        assert first.p_ok is not None


def test_points_are_repeated_as_often_as_asked_before_new_ones_come() -> None:
    asked = told(repeats=3)
    runs = [run(0, {"lr": 0.01, "hidden": 64, "optimizer": "adam"}, 1.0)]
    again, once_more, new = ask(runs, n=3, experiment=asked)
    assert [again.source, once_more.source] == ["repeat", "repeat"]
    assert again.params == once_more.params == runs[0].params
    assert new.params != runs[0].params
    assert "Run #0 once more with another seed" in again.why


def test_a_repeat_that_was_ended_by_hand_or_with_its_sweep_is_run_again() -> None:
    asked, point = told(repeats=2), {"lr": 0.01, "hidden": 64, "optimizer": "adam"}
    for state, tags in ((RunState.FAILED, ("interrupted",)), (RunState.CRASHED, ("sweep:0123abcd",))):
        runs = [run(0, point, 1.0), replace(run(1, point, state=state), tags=tags)]
        assert ask(runs, experiment=asked)[0].source == "repeat"
    crashed = [run(0, point, 1.0), run(1, point, state=RunState.CRASHED)]
    assert ask(crashed, experiment=asked)[0].source != "repeat"
    assert ask(crashed, experiment=asked, retry=True)[0].source == "repeat"


def test_a_run_that_died_with_its_sweep_teaches_nothing_and_one_that_was_killed_does() -> None:
    runs, point = random_runs(12), {"lr": 0.5, "hidden": 64, "optimizer": "adam"}
    for tags, said in ((("sweep:a",), "with their sweep"), (("sweep:a", "killed"), "1 failed or diverged")):
        (found,) = ask([*runs, replace(run(12, point, state=RunState.CRASHED), tags=tags)])
        assert said in found.why


def test_an_experiment_that_is_hardly_believed_lends_no_point_and_is_not_named() -> None:
    far = past("xyzzy", lambda p: (p["x"] - 0.9) ** 2, seed=9)
    words = {"description": "folding of viral proteins", "objectives": (Objective("rmsd"),)}
    far = Past(replace(far.experiment, **words), far.runs)
    found = ask([], SQUARE, others=[*similar(), far], experiment=ABOUT, n=5)
    told_of = {teacher.experiment for each in found for teacher in each.teachers}
    assert "xyzzy" not in told_of
    assert not any("xyzzy" in each.why for each in found)


def test_an_experiment_with_several_objectives_teaches_nothing() -> None:
    other = similar()[0]
    two = replace(other.experiment, name="two", objectives=(Objective("a"), Objective("b", "maximize")))
    runs = [replace(each, experiment="two", id=f"two-{each.number}", values=(*each.values, 1.0)) for each in other.runs]
    (found,) = ask([], SQUARE, others=[Past(two, runs)], experiment=ABOUT)
    assert found.teachers == ()


def test_a_belief_pulls_the_first_suggestions() -> None:
    asked = told(priors={"lr": {"center": 1e-4, "spread": 0.05}})
    found = [math.log10(each.params["lr"]) for each in ask([], n=5, experiment=asked)]
    assert max(abs(each + 4) for each in found) < 1.5
    assert np.mean(found) == pytest.approx(-4, abs=0.6)


def test_of_two_equal_places_the_cheaper_is_suggested() -> None:
    space = Space.of({"x": Float(0, 1)})
    asked = told(cost="price")
    points = np.linspace(0, 1, 11).tolist()

    def runs(cheap_is_left: bool) -> list[Run]:
        price = [1.0 if (x < 0.5) == cheap_is_left else 60.0 for x in points]
        return [
            run(i, {"x": x}, round(abs(abs(x - 0.5) - 0.25), 6), metrics={"price": price[i]})
            for i, x in enumerate(points)
        ]

    for cheap_is_left in (True, False):
        assert (ask(runs(cheap_is_left), space, experiment=asked)[0].params["x"] < 0.5) == cheap_is_left


def test_constraints_move_suggestions_to_where_they_are_kept() -> None:
    asked = told(constraints=[{"metric": "latency", "op": "<=", "bound": 50.0}])
    rows = drawn_runs(SQUARE, lambda p: 1 - p["x"], 20)
    runs = [replace(each, metrics={"latency": 100 * each.params["x"]}) for each in rows]
    for suggestion in ask(runs, SQUARE, n=3, experiment=asked):
        assert 0.25 < suggestion.params["x"] < 0.6
        assert suggestion.p_feasible is not None
        assert "keeps all constraints with a probability of" in suggestion.why


def test_a_constraint_of_which_nothing_is_known_is_named() -> None:
    bounds = [{"metric": "latency", "op": "<=", "bound": 50.0}, {"metric": "acc", "op": ">=", "bound": 0.9}]
    rows = drawn_runs(SQUARE, lambda p: 1 - p["x"], 20)
    runs = [replace(each, metrics={"latency": 100 * each.params["x"]}) for each in rows]
    (made,) = ask(runs, SQUARE, experiment=told(constraints=bounds))
    assert made.p_feasible is None
    assert "No run has logged acc, so whether it keeps acc >= 0.9 cannot be told." in made.why
    assert "latency <= 50" not in made.why
    runs[0] = replace(runs[0], metrics={**runs[0].metrics, "acc": 0.9})
    (made,) = ask(runs, SQUARE, experiment=told(constraints=bounds))
    assert "Only one run that this was learned from has a finite acc, so whether it keeps" in made.why


def test_maximising_mirrors_minimising() -> None:
    runs = drawn_runs(SQUARE, square_loss, 12)
    mirrored = [replace(each, values=(-each.values[0],)) for each in runs]
    less = ask(runs, SQUARE, n=2, experiment=experiment("minimize"))
    more = ask(mirrored, SQUARE, n=2, experiment=experiment("maximize"))
    assert [each.params for each in less] == [each.params for each in more]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_place_whose_runs_are_not_finite_is_avoided(value: float) -> None:
    runs = drawn_runs(SQUARE, square_loss, 20)
    runs = [replace(each, values=(value,)) if each.params["x"] < 0.5 else each for each in runs]
    found = [ask(runs, SQUARE, seed=seed)[0] for seed in range(4)]
    assert sum(each.params["x"] < 0.45 for each in found) <= 1
    assert all(each.p_ok is not None and 0 < each.p_ok <= 1 for each in found)


@pytest.mark.parametrize("values", [[1.0, 2.0], [3.0] * 7, [math.nan] * 7, [1e300, -1e300, 1.0, 2.0, 3.0, 4.0]])
def test_few_constant_undefined_and_huge_outcomes_are_no_trouble(values: list[float]) -> None:
    rows = drawn_runs(SQUARE, square_loss, len(values))
    (suggestion,) = ask([replace(each, values=(v,)) for each, v in zip(rows, values, strict=True)], SQUARE)
    SQUARE.check(suggestion.params)
    assert all(suggestion.params != each.params for each in rows)


def test_one_parameter_is_enough() -> None:
    space = Space.of({"x": Float(0, 1)})
    runs: list[Run] = []
    for i in range(14):
        params = ask(runs, space)[0].params
        runs.append(run(i, params, (params["x"] - 0.37) ** 2))
    assert min(each.values[0] for each in runs) < 1e-3


def test_with_many_parameters_tpe_proposes() -> None:
    space = Space.of({f"x{i}": Float(0, 1) for i in range(45)})
    runs = drawn_runs(space, lambda params: sum(params.values()), 12)
    (suggestion,) = ask(runs, space)
    space.check(suggestion.params)
    assert (suggestion.source, suggestion.sampler) == ("tpe", "TPESampler")


@pytest.mark.parametrize(
    "sampler", ["tpe", "random", "transfer", "TransferSampler", optuna.samplers.RandomSampler(seed=1)]
)
def test_any_sampler_takes_a_conditional_space(sampler: Any) -> None:
    found = ask(drawn_runs(CONDITIONAL, conditional_loss, 14), CONDITIONAL, n=3, sampler=sampler)
    for suggestion in found:
        CONDITIONAL.check(suggestion.params)
    assert len({CONDITIONAL.key(suggestion.params) for suggestion in found}) == 3


def test_the_own_sampler_can_be_named_and_takes_one_objective() -> None:
    assert ask(random_runs(12), sampler="transfer")[0].source == "gp"
    with pytest.raises(ConfigError, match="takes one objective, the experiment has 2; leave sampler out"):
        ask([], sampler="transfer", experiment=experiment("minimize", "maximize"))


# -- a space that changes


@pytest.mark.parametrize(
    "later",
    [
        {"x": Float(-1, 2), "y": Float(0, 1)},
        {"x": Float(0, 1), "y": Float(0, 1), "new": Float(0, 1)},
        {"x": Float(0.2, 1), "y": Float(0.3, 1)},
    ],
    ids=["widened", "one more", "narrowed"],
)
def test_what_was_learned_outlives_a_change_of_the_space(later: dict[str, Any]) -> None:
    runs = drawn_runs(SQUARE, square_loss, 25)
    space = Space.of(later)
    found = ask(runs, space, n=4)
    for suggestion in found:
        space.check(suggestion.params)
        assert suggestion.source == "gp"
    assert min(square_loss(each.params) for each in found) < 0.08


def test_a_choice_that_was_removed_is_not_suggested_and_the_others_still_teach() -> None:
    runs = drawn_runs(Space.of({"x": Float(0, 1), "act": Choice("a", "b", "c")}), lambda p: (p["x"] - 0.3) ** 2, 24)
    space = Space.of({"x": Float(0, 1), "act": Choice("a", "b")})
    found = ask(runs, space, n=3)
    assert {each.params["act"] for each in found} <= {"a", "b"}
    assert min(abs(each.params["x"] - 0.3) for each in found) < 0.15
    assert "lay far outside today's space and taught nothing" in found[0].why


# -- what other experiments teach


def past(
    name: str, value: Callable[[Mapping[str, Any]], float], *, seed: int, space: Space = SQUARE, n: int = 25
) -> Past:
    runs = [replace(each, id=f"{name}-{each.number}") for each in drawn_runs(space, value, n, seed=seed)]
    record = replace(experiment(), name=name, number=seed + 1, space=space.to_json(), description="MLP on digits")
    return Past(record, runs)


def similar(n: int = 5) -> list[Past]:
    """Return experiments whose optima lie around (0.3, 0.7), one a little beside the other."""

    def shifted(i: int) -> Callable[[Mapping[str, Any]], float]:
        return lambda p: (1 + i) * ((p["x"] - 0.26 - 0.02 * i) ** 2 + (p["y"] - 0.66 - 0.02 * i) ** 2)

    return [past(f"digits-{i}", shifted(i), seed=i) for i in range(n)]


ABOUT = replace(experiment(), name="digits", description="MLP on digits")


def test_with_five_similar_experiments_the_first_suggestion_is_near_their_optimum() -> None:
    others = similar()
    (first,) = ask([], SQUARE, others=others, experiment=ABOUT)
    assert first.source == "portfolio"
    assert square_loss(first.params) < 0.02
    assert len(first.learned_from) == 1
    taught_by = {each.id: each for other in others for each in other.runs}
    assert taught_by[first.learned_from[0]].params == pytest.approx(dict(first.params))
    assert sum(each.weight for each in first.teachers) <= 1
    assert [each.weight for each in first.teachers] == sorted((t.weight for t in first.teachers), reverse=True)
    assert "Learned from 5 other experiments" in first.why


def test_what_the_run_that_opens_did_not_have_is_said() -> None:
    wider = Space.of({**SQUARE, "z": Float(0, 1)})
    (first,) = ask([], wider, others=similar(), experiment=ABOUT)
    assert first.source == "portfolio"
    assert first.why.startswith("As in digits-")
    assert " had no z: drawn by chance." in first.why
    assert "drawn by chance" not in ask([], SQUARE, others=similar(), experiment=ABOUT)[0].why


def test_the_same_runs_others_and_seed_give_the_same_parameters_in_any_order_of_others() -> None:
    runs = drawn_runs(SQUARE, square_loss, 6)
    one, other = (ask(runs, SQUARE, others=o, experiment=ABOUT, seed=5, n=2) for o in (similar(), similar()[::-1]))
    assert [each.params for each in one] == [each.params for each in other]


def test_a_past_that_covers_a_part_of_the_space_helps_there() -> None:
    others = [
        past(f"digits-{i}", lambda p: (p["x"] - 0.3) ** 2, seed=i, space=Space.of({"x": Float(0, 1)})) for i in range(4)
    ]
    found = ask([], SQUARE, others=others, experiment=ABOUT, n=3)
    for suggestion in found:
        SQUARE.check(suggestion.params)
    assert abs(found[0].params["x"] - 0.3) < 0.15
    assert found[0].teachers[0].overlap == pytest.approx(0.5)


def test_a_past_under_other_names_and_units_helps_once_it_is_told_and_is_hinted_at_before() -> None:
    theirs = Space.of({"X": Float(0, 100), "y": Float(0, 1)})
    others = [
        past(f"digits-{i}", lambda p: square_loss({"x": p["X"] / 100, "y": p["y"]}), seed=i, space=theirs)
        for i in range(4)
    ]
    hinted = ask([], SQUARE, others=others, experiment=ABOUT)[0]
    assert "perhaps what is 'x' here" in hinted.why
    explicit = replace(ABOUT, problem={"renamed": {"x": ["X * 0.01"]}})
    first = ask([], SQUARE, others=others, experiment=explicit)[0]
    assert square_loss(first.params) < 0.04
    assert "perhaps" not in first.why

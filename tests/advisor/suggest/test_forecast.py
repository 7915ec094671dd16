from __future__ import annotations

import math
import re
from dataclasses import replace

import numpy as np
import pytest

from advisor.suggest import forecast_params, forecast_run, importances
from advisor.suggest.forecast import from_outcomes
from advisor.suggest.space import Choice, Float, Space
from advisor.suggest.surrogate import fit_params_model, kept_params_model
from storage.records import Curve, Objective, Run, RunState
from tests.advisor.suggest.helpers import SPACE, curve, experiment, random_runs, run


def _noisy(n: int, seed: int) -> list[Run]:
    rng = np.random.default_rng(seed)
    return [
        run(each.number, each.params, each.values[0] + float(rng.normal(0, 0.2))) for each in random_runs(n, seed=seed)
    ]


def test_eight_in_ten_unseen_runs_fall_into_the_interval() -> None:
    hits = []
    for seed in range(12):
        runs = _noisy(40, seed)
        model, _ = fit_params_model(experiment(), runs[:30], SPACE)
        assert model is not None
        forecasts = [(model.forecast(held_out.params), held_out.values[0]) for held_out in runs[30:]]
        hits += [forecast.low <= value <= forecast.high for forecast, value in forecasts]
    assert 0.72 <= np.mean(hits) <= 0.92


def _coverage(n: int, n_sets: int) -> tuple[float, int]:
    """Return the share of unseen runs inside the interval, and how many were forecast."""
    space = Space.of({name: Float(0, 1) for name in "abcd"})
    rng = np.random.default_rng(1)
    hits = []
    for seed in range(n_sets):
        points = rng.random((n + 30, 4))
        values = 2 * points[:, 0] + points[:, 1] ** 2 + rng.normal(0, 0.3, n + 30)
        rows = [dict(zip("abcd", map(float, point), strict=True)) for point in points]
        runs = [run(i, params, float(value)) for i, (params, value) in enumerate(zip(rows, values, strict=True))]
        model, _ = fit_params_model(experiment(), runs[:n], space, seed=seed)
        if model is not None:
            forecasts = [(model.forecast(held_out.params), held_out.values[0]) for held_out in runs[n:]]
            hits += [forecast.low <= value <= forecast.high for forecast, value in forecasts]
    return float(np.mean(hits)), len(hits)


@pytest.mark.parametrize(("n", "n_sets"), [(20, 10), (50, 6)])
def test_the_interval_is_no_wider_than_it_claims(n: int, n_sets: int) -> None:
    share, n_forecast = _coverage(n, n_sets)
    assert n_forecast >= 120
    assert 0.7 <= share <= 0.9


def _near_its_end(n: int = 40) -> list[Run]:
    rng = np.random.default_rng(3)
    points = rng.random((n, 2))
    values = np.clip(1.05 - 0.2 * points[:, 0] + rng.normal(0, 0.03, n), 0, 1)
    rows = [{"a": float(a), "b": float(b)} for a, b in points]
    return [run(i, params, float(value)) for i, (params, value) in enumerate(zip(rows, values, strict=True))]


@pytest.mark.parametrize(("metric", "is_bounded"), [("val_acc", True), ("reward", False)])
def test_nothing_is_foretold_that_the_objective_cannot_become(metric: str, is_bounded: bool) -> None:
    asked = replace(experiment("maximize"), objectives=(Objective(metric, "maximize"),))
    model, _ = fit_params_model(asked, _near_its_end(), Space.of({name: Float(0, 1) for name in "ab"}))
    assert model is not None
    best = {"a": 0.0, "b": 0.5}
    assert (model.outcomes(best).max() <= 1.0) == (model.forecast(best).high <= 1.0) == is_bounded
    gain = model.improvement_on_best(best)
    assert gain is not None
    assert (gain == 0.0) == is_bounded  # the best has 1


def test_a_curve_is_not_foretold_to_end_beyond_what_the_objective_can_become() -> None:
    rng = np.random.default_rng(1)
    runs, curves = [], {}
    for i in range(12):
        ends = float(rng.uniform(0.1, 1.0))
        runs.append(run(i, {"x": i}, ends))
        curves[f"run-{i}"] = {"loss": curve(np.linspace(ends + 2, ends, 20).tolist())}
    mine = run(12, {"x": 3}, state=RunState.RUNNING)
    curves["run-12"] = {"loss": curve([1.5, 1.4, 1.3, 1.2, 1.1])}  # where its siblings lost 1.6 more
    found, _ = forecast_run(experiment(), mine, curves, runs)
    assert found is not None
    assert 0 <= found.low <= found.mean <= found.high


def test_nothing_becomes_the_best_where_the_best_is_as_good_as_can_be() -> None:
    objective = Objective("val_acc", "maximize")
    outcomes = np.linspace(0.5, 1.0, 9)
    for best, possible, p_best in ((1.0, (0.0, 1.0), 0.0), (0.9, (0.0, 1.0), 0.25), (1.0, (0.0, 100.0), 0.05)):
        forecast = from_outcomes(outcomes, best=best, objective=objective, method="curve", possible=possible)
        assert forecast.p_best == pytest.approx(p_best)


def test_a_chance_that_so_many_runs_cannot_tell_from_none_is_given_as_the_most_it_may_be() -> None:
    objective, outcomes = Objective("val_acc", "maximize"), np.linspace(0.17, 0.41, 15)
    far = from_outcomes(outcomes, best=0.967, objective=objective, method="curve")
    assert (far.is_floor, far.chance) == (True, "3% or less")
    near = from_outcomes(outcomes, best=0.35, objective=objective, method="curve")
    assert (near.is_floor, near.chance) == (False, "28%")
    done = from_outcomes(outcomes, best=1.0, objective=objective, method="curve", possible=(0.0, 1.0))
    assert (done.is_floor, done.chance) == (False, "0%")
    assert from_outcomes(outcomes, best=None, objective=objective, method="curve").chance == ""


def test_a_small_experiment_is_foretold_from_all_its_runs() -> None:
    for n in (17, 23, 39):
        model, _ = kept_params_model(experiment(), random_runs(n), SPACE)
        assert model is not None
        assert model.n_runs == n


def test_the_centre_lies_in_the_interval_whatever_the_outcomes() -> None:
    rng = np.random.default_rng(0)
    for n in (1, 2, 8, 9, 19, 50):
        forecast = from_outcomes(rng.exponential(size=n) ** 3, best=0.1, objective=Objective("loss"), method="curve")
        assert forecast.low <= forecast.mean <= forecast.high
        assert forecast.n_runs == n


def test_pure_noise_seldom_looks_like_a_model() -> None:
    made = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        noise = [run(each.number, each.params, float(rng.normal())) for each in random_runs(12, seed=seed)]
        made += fit_params_model(experiment(), noise, SPACE, seed=seed)[0] is not None
    assert made <= 2


def test_few_runs_noise_and_equal_values_give_a_reason_instead_of_a_forecast() -> None:
    params = random_runs(1)[0].params
    forecast, note = forecast_params(experiment(), random_runs(7), SPACE, params)
    assert (forecast, note) == (None, "not enough runs to tell: 7 finished, 8 are needed")
    rng = np.random.default_rng(0)
    noise = [run(each.number, each.params, float(rng.normal())) for each in random_runs(30)]
    forecast, note = forecast_params(experiment(), noise, SPACE, params)
    assert forecast is None
    assert "no better than its mean" in note
    same = [run(each.number, each.params, 1.0) for each in random_runs(30)]
    assert "all 30 finished runs have the same loss" in forecast_params(experiment(), same, SPACE, params)[1]


def test_failed_and_diverged_runs_do_not_enter_the_forecast() -> None:
    runs = random_runs(20)
    wrong = [run(20 + i, runs[i].params, math.nan) for i in range(5)]
    wrong += [run(30 + i, runs[i].params, 1e9, state=RunState.FAILED) for i in range(5)]
    params = random_runs(1, seed=9)[0].params
    assert forecast_params(experiment(), runs + wrong, SPACE, params) == forecast_params(
        experiment(), runs, SPACE, params
    )


def _decaying(n: int, length: int = 50) -> tuple[list[Run], dict[str, dict[str, Curve]]]:
    rng = np.random.default_rng(1)
    runs, curves = [], {}
    for i in range(n):
        values = 1 + rng.random() + np.exp(-np.arange(length) / 10) + rng.normal(0, 0.01, length)
        runs.append(run(i, {}, float(values[-1])))
        curves[f"run-{i}"] = {"loss": curve(values.tolist())}
    return runs, curves


def test_the_first_part_of_a_curve_foretells_its_end() -> None:
    runs, curves = _decaying(60)
    hits, errors, naive = [], [], []
    for held_out in runs[20:]:
        forecast, _ = forecast_run(experiment(), held_out, curves, runs[:20], at=0.3)
        assert forecast is not None
        assert forecast.p_best is not None
        hits.append(forecast.low <= held_out.values[0] <= forecast.high)
        errors.append(abs(forecast.mean - held_out.values[0]))
        naive.append(abs(curves[held_out.id]["loss"].values[14] - held_out.values[0]))
    assert 0.65 <= np.mean(hits) <= 0.95
    assert np.mean(errors) < np.mean(naive) / 3


def test_a_run_that_goes_on_is_compared_at_the_same_progress() -> None:
    runs, curves = _decaying(12)
    live = run(99, {}, state=RunState.RUNNING)
    curves[live.id] = {"loss": curve(curves["run-0"]["loss"].values[:25].tolist())}
    forecast, note = forecast_run(experiment(), live, curves, runs)
    assert forecast is not None
    assert "after 50% of the training" in note
    assert forecast.low <= runs[0].values[0] <= forecast.high


def test_a_fraction_that_was_not_reached_is_lowered_and_the_note_says_so() -> None:
    runs, curves = _decaying(12)
    live = run(99, {}, state=RunState.RUNNING)
    curves[live.id] = {"loss": curve(curves["run-0"]["loss"].values[:5].tolist())}
    all_there_is, _ = forecast_run(experiment(), live, curves, runs)
    for at in (0.5, 1.0):
        forecast, note = forecast_run(experiment(), live, curves, runs, at=at)
        assert forecast == all_there_is
        assert f"after 10% of the training (no more was logged, {at:.0%} was asked for)" in note
    early, note = forecast_run(experiment(), live, curves, runs, at=0.04)
    assert early != all_there_is
    assert "after 4% of the training, and" in note


@pytest.mark.parametrize("state", [RunState.PRUNED, RunState.FAILED, RunState.CRASHED])
def test_the_whole_of_a_run_that_broke_off_is_what_its_siblings_took(state: RunState) -> None:
    runs, curves = _decaying(12)
    short = run(99, {}, state=state)
    curves[short.id] = {"loss": curve(curves["run-0"]["loss"].values[:10].tolist())}
    forecast, note = forecast_run(experiment(), short, curves, runs)
    assert forecast is not None
    assert "after 20% of the training" in note
    assert forecast.mean < curves[short.id]["loss"].last


def test_the_whole_of_a_finished_run_is_its_own_length() -> None:
    runs, curves = _decaying(12)
    short = run(99, {}, 1.5)
    curves[short.id] = {"loss": curve(curves["run-0"]["loss"].values[:10].tolist())}
    assert "after 100% of the training" in forecast_run(experiment(), short, curves, runs)[1]


def _scheduled(n: int, length: int = 40) -> tuple[list[Run], dict[str, dict[str, Curve]]]:
    """Curves that look alike until a schedule ends; what they end with depends on lr, and leading early is no help."""
    rng = np.random.default_rng(3)
    runs, curves = [], {}
    for i in range(n):
        lr = float(10 ** rng.uniform(-4, -1))
        end = 1 + abs(math.log10(lr) + 2.5)
        t = np.linspace(0, 1, length)
        values = end + (3.5 - 0.5 * end) * (1 - t) + rng.normal(0, 0.02, length)
        runs.append(run(i, {"lr": lr, "optimizer": "sgd", "seed": i}, float(values[-1])))
        curves[f"run-{i}"] = {"loss": curve(values.tolist())}
    return runs, curves


def test_with_parameters_and_siblings_the_model_beats_the_last_value() -> None:
    runs, curves = _scheduled(60)
    errors, naive, hits, p_best = [], [], [], []
    for held_out in runs[30:]:
        forecast, note = forecast_run(experiment(), held_out, curves, runs[:30], at=0.3)
        assert forecast is not None
        assert forecast.method == "curve-model"
        assert "on runs left out the model's error is" in note
        seen = curves[held_out.id]["loss"].values[11]
        gain = np.median([r.values[0] - curves[r.id]["loss"].values[11] for r in runs[:30]])
        errors.append(abs(forecast.mean - held_out.values[0]))
        naive.append(abs(seen + gain - held_out.values[0]))
        hits.append(forecast.low <= held_out.values[0] <= forecast.high)
        p_best.append(forecast.p_best)
    assert np.mean(errors) < np.mean(naive) / 2
    assert 0.6 <= np.mean(hits) <= 0.97
    assert 0 < np.mean(p_best) < 0.12  # 1 in 31 where runs come at random


def _parallel(starts: list[float], optimizer: str = "adam") -> tuple[list[Run], dict[str, dict[str, Curve]]]:
    """Curves that all fall by about 1, wherever they start."""
    rng = np.random.default_rng(5)
    runs, curves = [], {}
    for i, start in enumerate(starts):
        values = start - np.linspace(0, 1, 40) + rng.normal(0, 0.02, 40)
        runs.append(run(i, {"optimizer": optimizer}, float(values[-1])))
        curves[f"run-{i}"] = {"loss": curve(values.tolist())}
    return runs, curves


def test_a_run_far_behind_all_others_is_not_foretold_to_end_among_them() -> None:
    runs, curves = _parallel([*np.linspace(2, 3, 20).tolist(), 4.0, 2.5])
    behind, note = forecast_run(experiment(), runs[20], curves, runs[:20], at=0.3)
    among, usual = forecast_run(experiment(), runs[21], curves, runs[:20], at=0.3)
    assert behind is not None
    assert among is not None
    assert behind.method == among.method == "curve-model"
    assert behind.mean > max(one.values[0] for one in runs[:20])
    assert behind.low <= runs[20].values[0] <= behind.high
    assert behind.high - behind.low > 2 * (among.high - among.low)
    assert "; it was worse than all of them by then, so this goes beyond what was seen" in note
    assert "beyond" not in usual


def test_of_a_run_whose_last_value_is_not_finite_nothing_is_foretold() -> None:
    runs, curves = _parallel([*np.linspace(2, 3, 20).tolist(), 2.5])
    values = curves["run-20"]["loss"].values.copy()
    values[10:] = np.nan
    curves["run-20"] = {"loss": curve(values.tolist())}
    assert forecast_run(experiment(), runs[20], curves, runs[:20], at=0.2)[0] is not None
    found, why = forecast_run(experiment(), runs[20], curves, runs[:20], at=0.5)
    assert found is None
    assert "loss is nan at step 19" in why


@pytest.mark.parametrize("start", [30.0, 371.0])
def test_of_a_run_further_behind_than_the_scale_goes_it_is_said_what_it_counts_as(start: float) -> None:
    runs, curves = _parallel([*np.linspace(2, 3, 20).tolist(), start])
    found, note = forecast_run(experiment(), runs[20], curves, runs[:20], at=0.3)
    assert found is not None
    assert found.mean > max(one.values[0] for one in runs[:20])
    told = re.search(r"so far off that it counts as ([0-9.]+): take this for a guess", note)
    assert told is not None
    assert max(one.values[0] for one in runs[:20]) < float(told[1]) < start


def test_a_word_that_no_finished_run_had_widens_the_interval_and_is_named() -> None:
    runs, curves = _scheduled(31)
    other = run(30, runs[30].params | {"optimizer": "lion"}, runs[30].values[0])
    known, usual = forecast_run(experiment(), runs[30], curves, runs[:30], at=0.3)
    new, note = forecast_run(experiment(), other, curves, runs[:30], at=0.3)
    assert known is not None
    assert new is not None
    assert new.mean == pytest.approx(known.mean)
    assert new.high - new.low == pytest.approx(1.5 * (known.high - known.low))
    assert "none of them had optimizer=lion, so this goes beyond what was seen and the interval is wider" in note
    assert "none of them had" not in usual


def _decades(n: int, seed: int) -> tuple[list[Run], dict[str, dict[str, Curve]]]:
    """Curves that begin alike; where they end depends on the decade of a learning rate, and nine are tried."""
    rng = np.random.default_rng(seed)
    runs, curves = [], {}
    for i in range(n):
        decade = rng.uniform(-9, 0)
        level = np.r_[np.full(12, 5.0), np.full(28, 1 + abs(decade + 6))]
        values = level + rng.normal(0, 0.05, 40)
        runs.append(run(i, {"lr": float(10**decade)}, float(values[-1])))
        curves[f"run-{i}"] = {"loss": curve(values.tolist())}
    return runs, curves


def test_decades_of_a_parameter_are_told_apart() -> None:
    errors = []
    for seed in range(4):
        runs, curves = _decades(60, seed)
        for held_out in runs[45:]:
            forecast, _ = forecast_run(experiment(), held_out, curves, runs[:45], at=0.3)
            assert forecast is not None
            errors.append(abs(forecast.mean - held_out.values[0]))
    assert np.mean(errors) < 0.6  # runs end between 1 and 7


def test_the_direction_does_not_matter() -> None:
    runs, curves = _scheduled(30)
    turned = [run(each.number, each.params, -each.values[0]) for each in runs]
    mirrored = {run_id: {"loss": curve((-found["loss"].values).tolist())} for run_id, found in curves.items()}
    down, _ = forecast_run(experiment(), runs[-1], curves, runs[:-1], at=0.3)
    up, _ = forecast_run(experiment("maximize"), turned[-1], mirrored, turned[:-1], at=0.3)
    assert down is not None
    assert up is not None
    assert (up.mean, up.low, up.high) == pytest.approx((-down.mean, -down.high, -down.low))
    assert up.p_best == pytest.approx(down.p_best)


def test_nothing_after_the_fraction_is_looked_at() -> None:
    runs, curves = _scheduled(30)
    known, _ = forecast_run(experiment(), runs[-1], curves, runs[:-1], at=0.3)
    other_end = run(runs[-1].number, runs[-1].params, 1e6)
    values = curves[other_end.id]["loss"].values.copy()
    values[20:] = 1e6
    changed = curves | {other_end.id: {"loss": curve(values.tolist())}}
    assert forecast_run(experiment(), other_end, changed, runs[:-1], at=0.3)[0] == known


def test_diverging_starts_equal_ends_and_odd_parameters_are_no_obstacle() -> None:
    runs, curves = _decaying(12)
    odd: list[object] = [None, math.nan, math.inf, 10**400, "a", "b", True, [1], {"x": 1}, 1e300, -1.0, 0]
    runs = [run(each.number, {"p": value}, each.values[0]) for each, value in zip(runs, odd, strict=True)]
    for i, value in enumerate([math.nan, math.inf, 1e300, -1e300]):
        values = curves[f"run-{i}"]["loss"].values.copy()
        values[:10] = value
        curves[f"run-{i}"] = {"loss": curve(values.tolist())}
    for held_out in runs:
        forecast, _ = forecast_run(experiment(), held_out, curves, [r for r in runs if r is not held_out], at=0.6)
        assert forecast is not None
        assert forecast.low <= forecast.mean <= forecast.high
        assert math.isfinite(forecast.mean)
    same = [run(i, {"p": i}, 1.0) for i in range(12)]
    forecast, _ = forecast_run(experiment(), same[0], curves, same[1:], at=0.6)
    assert forecast is not None


def test_a_run_that_goes_on_is_compared_with_siblings_at_the_same_step() -> None:
    runs, curves = _decaying(20)
    for each in runs[:10]:  # these trained half as long
        short = curves[each.id]["loss"].values[:25]
        curves[each.id] = {"loss": curve(short.tolist())}
    runs[:10] = [run(each.number, {}, float(curves[each.id]["loss"].last)) for each in runs[:10]]
    live = run(99, {}, state=RunState.RUNNING)
    curves[live.id] = {"loss": curve(curves["run-15"]["loss"].values[:30].tolist())}
    forecast, note = forecast_run(experiment(), live, curves, runs)
    assert forecast is not None
    assert "how 10 finished runs went on" in note


@pytest.mark.parametrize(
    ("n", "own", "reason"),
    [
        (7, [1.0], "not enough runs to tell: 7 finished with a curve, 8 are needed"),
        (12, [], "loss has not been logged yet"),
        (12, [math.nan], "loss has no finite value yet"),
    ],
)
def test_without_enough_to_go_on_there_is_a_reason(n: int, own: list[float], reason: str) -> None:
    runs, curves = _decaying(n)
    live = run(99, {}, state=RunState.RUNNING)
    curves[live.id] = {"loss": curve(own)}
    assert forecast_run(experiment(), live, curves, runs) == (None, reason)


def test_a_run_that_is_over_has_no_curve_rather_than_none_yet() -> None:
    runs, curves = _decaying(12)
    told = run(99, {}, 1.0)
    found, why = forecast_run(experiment(), told, curves, [*runs, told], at=0.3)
    assert (found, why) == (None, "the run has no curve of loss, and a forecast begins with its first part")


def test_a_fraction_outside_the_training_is_refused() -> None:
    with pytest.raises(ValueError, match="not a fraction"):
        forecast_run(experiment(), run(0, {}, 1.0), {}, [], at=1.5)


def test_the_parameter_that_matters_comes_first() -> None:
    found, _ = importances(experiment(), random_runs(40), SPACE)
    assert found is not None
    assert next(iter(found.shares)) == "lr"
    assert found.shares["lr"] > 0.7
    assert sum(found.shares.values()) == pytest.approx(1.0)
    assert found.n_runs == 40


def test_a_learning_rate_that_spans_decades_of_loss_outweighs_three_optimizers() -> None:
    space = Space.of({"optimizer": Choice("a", "b", "c"), "lr": Float(1e-5, 100, log=True)})
    rows = random_runs(135, space=space)
    runs = [run(each.number, each.params, 0.3 * (1 + each.params["lr"] * 5)) for each in rows]
    found, _ = importances(experiment(), runs, space)
    assert found is not None
    assert found.shares["lr"] > 0.9


def test_importances_are_not_made_up() -> None:
    assert importances(experiment(), random_runs(9), SPACE)[0] is None
    rng = np.random.default_rng(0)
    noise = [run(each.number, each.params, float(rng.normal())) for each in random_runs(30)]
    found, note = importances(experiment(), noise, SPACE)
    assert found is None
    assert "no better than its mean" in note


def _with_one_value(n: int) -> tuple[list[Run], dict[str, dict[str, Curve]]]:
    runs = random_runs(n)
    return runs, {each.id: {"loss": curve([each.values[0]])} for each in runs}


@pytest.mark.parametrize("state", [RunState.FINISHED, RunState.RUNNING])
def test_one_value_is_no_curve_to_forecast_from(state: RunState) -> None:
    runs, curves = _with_one_value(20)
    asked = replace(runs[19], state=state)
    found, why = forecast_run(experiment(), asked, curves, runs[:19], at=0.3)
    assert found is None
    assert "one value is no curve" in why


def test_siblings_with_one_value_do_not_count_as_runs_with_a_curve() -> None:
    runs, curves = _with_one_value(20)
    for each in runs[:5]:
        curves[each.id]["loss"] = curve(np.linspace(each.values[0] + 2, each.values[0], 20).tolist())
    live = run(20, runs[0].params, state=RunState.RUNNING)
    curves[live.id] = {"loss": curve([2.5])}
    assert forecast_run(experiment(), live, curves, runs) == (
        None,
        "not enough runs to tell: 5 finished with a curve, 8 are needed",
    )


def test_a_training_with_one_value_so_far_is_foretold_among_longer_curves() -> None:
    runs, curves = _with_one_value(20)
    for each in runs:
        curves[each.id]["loss"] = curve(np.linspace(each.values[0] + 2, each.values[0], 20).tolist())
    live = run(20, runs[0].params, state=RunState.RUNNING)
    curves[live.id] = {"loss": curve([2.5])}
    found, note = forecast_run(experiment(), live, curves, runs)
    assert found is not None
    assert found.low < found.high
    assert "from loss = 2.5 after 5% of the training" in note

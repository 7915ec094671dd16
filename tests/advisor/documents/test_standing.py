"""Who is best, and whether that can be told from chance."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisor.documents.standing import cause, constant, standing, value_of, varied
from storage.records import Direction, Objective, RunState


@pytest.mark.parametrize(
    "state", [RunState.FAILED, RunState.CRASHED, RunState.PRUNED, RunState.RUNNING, RunState.WAITING]
)
def test_only_a_finished_run_can_be_best(make: Any, state: RunState) -> None:
    runs = [make.run(0, 0.5), make.run(1, 0.001, state=state)]
    assert standing(make.experiment(), runs).best == runs[0]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_is_never_best(make: Any, value: float) -> None:
    runs = [make.run(0, 0.5), make.run(1, value)]
    for direction in ("minimize", "maximize"):
        where = standing(make.experiment(objectives=(Objective("val_loss", direction),)), runs)
        assert where.ranked == (runs[0],)
        assert where.unranked_finished == (runs[1],)
        assert where.breaking == ()


def test_the_direction_decides_who_is_best_and_equals_share_a_rank(make: Any) -> None:
    runs = [make.run(n, value) for n, value in enumerate((0.2, 0.9, 0.9, 0.5))]
    where = standing(make.experiment(objectives=(Objective("val_loss", "maximize"),)), runs)
    assert where.best == runs[1]
    assert [where.rank(run) for run in runs] == [4, 1, 1, 3]
    assert where.best_so_far == (runs[0], runs[1])


def test_without_an_objective_nobody_is_ranked(make: Any) -> None:
    where = standing(make.experiment(objectives=()), [make.run(0, 0.5)])
    assert (where.best, where.baseline, where.noise, where.gap) == (None, None, None, None)


def test_runs_that_differ_in_their_seed_only_are_repeats(make: Any) -> None:
    runs = [make.run(n, 0.5 + n / 100, params={"lr": 0.1, "seed": n}) for n in range(3)]
    where = standing(make.experiment(), [*runs, make.run(3, 0.9, params={"lr": 0.2})])
    assert where.noise == pytest.approx(0.01)
    assert where.best_repeats is not None
    assert where.best_repeats.mean == pytest.approx(0.51)
    assert where.beyond_noise is True


def test_a_lead_smaller_than_repeats_differ_by_is_not_beyond_noise(make: Any) -> None:
    runs = [make.run(n, value, params={"lr": 0.1}) for n, value in enumerate((0.5, 0.6, 0.7))]
    assert standing(make.experiment(), [*runs, make.run(3, 0.55, params={"lr": 0.2})]).beyond_noise is False


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_repeats_far_worse_than_the_other_runs_tell_no_noise(make: Any, direction: Direction) -> None:
    sign = 1 if direction == "minimize" else -1
    near = [make.run(i, sign * (0.5 + i / 100), params={"lr": i}) for i in range(12)]
    far = [make.run(20 + i, sign * (341.0 + 30 * i), params={"lr": 99}) for i in range(2)]
    experiment = make.experiment(objectives=(Objective("val_loss", direction),))
    where = standing(experiment, [*near, *far])
    assert len(where.repeats) == 1
    assert (where.noise, where.near_repeats) == (None, ())
    again = make.run(30, sign * 0.54, params={"lr": 3})
    assert standing(experiment, [*near, *far, again]).noise == pytest.approx(0.01 / 2**0.5)


def test_repeats_that_agree_but_for_rounding_tell_no_noise(make: Any) -> None:
    alike = [make.run(n, value, params={"lr": 0.1}) for n, value in enumerate((0.3, 0.1 + 0.2, 0.3))]
    other = make.run(3, 0.4, params={"lr": 1.0})
    where = standing(make.experiment(), [*alike, other])
    assert (where.noise, where.beyond_noise, where.repeats_agree) == (None, None, True)
    again = [make.run(n, value, params={"lr": 2.0}) for n, value in ((4, 0.41), (5, 0.43))]
    where = standing(make.experiment(), [*alike, other, *again])
    assert where.noise == pytest.approx(0.02 / 6**0.5)  # of three degrees of freedom, two agree
    assert not where.repeats_agree


def test_the_noise_is_pooled_as_the_ledger_and_the_advice_on_the_search_pool_it(make: Any) -> None:
    from advisor.suggest.noise import noise
    from advisor.suggest.search_advice import advise_search
    from advisor.suggest.space import Float, Space

    rows = [(0.1, 0.50), (0.1, 0.504), (0.2, 0.52), (0.2, 0.526), (0.3, 0.51), (0.3, 0.61), (0.3, 0.57)]
    rows += [(1 + n, 0.55 + n / 100) for n in range(20)]
    runs = [make.run(n, value, params={"lr": lr, "seed": n}) for n, (lr, value) in enumerate(rows)]
    record, space = make.experiment(), Space({"lr": Float(0.01, 100.0)})
    where, advice = standing(record, runs), advise_search(record, runs)
    assert where.noise is not None
    assert where.noise == pytest.approx(noise(record, runs, space).sd)
    assert advice.noise_from_repeats
    assert advice.noise == pytest.approx(where.noise)


def test_without_repeats_the_noise_is_unknown(make: Any) -> None:
    where = standing(make.experiment(), [make.run(0, 0.5), make.run(1, 0.6)])
    assert where.noise is None
    assert where.beyond_noise is None


def test_parameters_are_told_apart_into_varied_and_constant(make: Any) -> None:
    runs = [
        make.run(0, 1.0, params={"lr": 0.1, "batch": 32}),
        make.run(1, 1.0, params={"lr": 0.2, "batch": 32, "wd": 0}),
    ]
    assert varied(runs) == ("lr", "wd")
    assert constant(runs) == {"batch": 32}


def test_the_cause_is_the_last_line_of_the_traceback(make: Any) -> None:
    error = "Traceback (most recent call last):\n  File x\nValueError: bad shape\n\n"
    assert cause(make.run(0, None, state=RunState.FAILED, error=error)) == "ValueError: bad shape"
    assert cause(make.run(0, None)) == ""


values = st.one_of(st.floats(), st.none())
states = st.sampled_from(list(RunState))


@given(st.lists(st.tuples(values, states), max_size=12), st.sampled_from(["minimize", "maximize"]))
def test_the_best_is_at_least_as_good_as_every_ranked_run(
    rows: list[tuple[float | None, RunState]], direction: Any
) -> None:
    from storage.records import Experiment, Run, utc_now

    objective = Objective("loss", direction)
    experiment = Experiment("e", number=0, objectives=(objective,), created=utc_now())
    runs = [
        Run(str(n), number=n, experiment="e", state=state, values=() if value is None else (value,), created=utc_now())
        for n, (value, state) in enumerate(rows)
    ]
    where = standing(experiment, runs)
    assert len(where.ranked) == sum(
        run.state is RunState.FINISHED and run.objective is not None and math.isfinite(run.objective) for run in runs
    )
    if where.best is not None:
        assert not any(objective.better(value_of(run), value_of(where.best)) for run in where.ranked)

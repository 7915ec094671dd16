"""Which past experiments are learned from, and what of them is carried over."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from advisor.suggest.infer import infer_space
from advisor.suggest.others import MAX_NOTES, MIN_RUNS, Found, Past, find, likeness, over
from advisor.suggest.outcome import INTERRUPTED
from advisor.suggest.space import Choice, Float, Int, Space
from storage.records import Direction, Experiment, Objective, Run, RunState
from tests.advisor.suggest.helpers import NOW, run

SPACE = Space.of({"lr": Float(1e-4, 1, log=True), "dropout": Float(0, 0.5)})


def named(
    name: str, space: Space | None = SPACE, *, direction: Direction = "minimize", description: str = "MLP on digits"
) -> Experiment:
    return Experiment(
        name,
        number=0,
        objectives=(Objective("loss", direction),),
        space=None if space is None else space.to_json(),
        description=description,
        created=NOW,
    )


def past(
    name: str,
    space: Space | None = SPACE,
    *,
    n: int = 12,
    value: Callable[[Mapping[str, Any]], float] = lambda params: float(sum(map(hash, params.values())) % 97),
    declared: bool = True,
    **more: Any,
) -> Past:
    assert space is not None
    rng = np.random.default_rng(0)
    rows = [space.draw(rng) for _ in range(n)]
    runs = [run(i, params, value(params)) for i, params in enumerate(rows)]
    return Past(named(name, space if declared else None, **more), sorted(runs, key=lambda each: each.id))


def found(others: list[Past], space: Space = SPACE, **options: Any) -> Found:
    return find(named("mine", space), space, others, **options)


def test_a_similar_experiment_is_carried_over_as_it_is() -> None:
    other = past("digits-cnn")
    (task,) = found([other]).tasks
    assert task.name == "digits-cnn"
    assert task.overlap == pytest.approx(1.0)
    assert 0 < task.similarity <= 1
    assert list(task.rows) == [dict(each.params) for each in other.runs]
    assert task.outcomes.tolist() == [-each.values[0] for each in other.runs]
    assert found([other]).notes == ()


def test_the_advised_experiment_itself_is_passed_over() -> None:
    assert found([past("mine")]).tasks == ()


def test_maximised_and_minimised_objectives_are_put_the_same_way_round() -> None:
    less = found([past("a", value=lambda p: p["lr"])]).tasks[0]
    more = found([past("a", value=lambda p: -p["lr"], direction="maximize")]).tasks[0]
    np.testing.assert_array_equal(less.outcomes, more.outcomes)


def test_what_went_wrong_counts_as_nan_and_what_was_stopped_as_no_better_than_the_median() -> None:
    runs = [run(i, {"lr": 0.1, "dropout": 0.01 * i}, float(i)) for i in range(10)]
    runs.append(run(10, {"lr": 0.9, "dropout": 0.1}, math.nan))
    runs.append(run(11, {"lr": 0.9, "dropout": 0.2}, state=RunState.CRASHED))
    runs.append(run(12, {"lr": 0.2, "dropout": 0.2}, -50.0, state=RunState.PRUNED))
    runs.append(run(13, {"lr": 0.2, "dropout": 0.2}, state=RunState.RUNNING))
    (task,) = found([Past(named("a"), runs)]).tasks
    assert len(task.rows) == 13
    at = dict(zip(task.run_ids, task.outcomes.tolist(), strict=True))
    assert math.isnan(at["run-10"])
    assert math.isnan(at["run-11"])
    assert at["run-12"] == -4.5


@pytest.mark.parametrize(
    "other",
    [
        past("few", n=MIN_RUNS - 1),
        past("constant", value=lambda _: 1.0),
        past("elsewhere", Space.of({"alpha": Float(0, 1)})),
        past("other kinds", Space.of({"lr": Choice("low", "high"), "dropout": Choice(0.1, 0.2)})),
    ],
    ids=lambda other: other.experiment.name,
)
def test_what_says_too_little_is_left_out(other: Past) -> None:
    assert found([other]).tasks == ()


def test_what_was_ended_by_hand_says_nothing_of_its_parameters() -> None:
    other = past("b", value=lambda p: p["lr"])
    first, *rest = other.runs
    stopped = replace(first, state=RunState.FAILED, values=(), tags=(INTERRUPTED,))
    (task,) = found([Past(other.experiment, [stopped, *rest])]).tasks
    assert first.id not in task.run_ids
    assert len(task.run_ids) == len(rest)


def test_an_experiment_without_objective_or_with_crashes_only_is_left_out() -> None:
    plain = past("a")
    nothing = Past(Experiment("a", number=0, created=NOW, space=SPACE.to_json()), plain.runs)
    crashes = Past(plain.experiment, [run(i, {"lr": 0.1, "dropout": 0.1}, state=RunState.CRASHED) for i in range(20)])
    assert found([nothing, crashes]).tasks == ()


@pytest.mark.parametrize(
    ("theirs", "overlap"),
    [
        ({"lr": Float(1e-4, 1, log=True)}, 0.5),
        ({"lr": Float(1e-2, 1, log=True), "dropout": Float(0, 0.5)}, 0.75),
        ({"lr": Float(1e-2, 100, log=True), "dropout": Float(0, 0.25)}, (1 / 3 + 0.5) / 2),
    ],
)
def test_overlap_is_the_share_of_ranges_in_common(theirs: dict[str, Any], overlap: float) -> None:
    (task,) = found([past("a", Space.of(theirs))]).tasks
    assert task.overlap == pytest.approx(overlap)
    assert all(set(row) <= set(theirs) for row in task.rows)


def test_choices_overlap_by_what_they_share() -> None:
    space = Space.of({"act": Choice("relu", "tanh", "gelu")})
    (task,) = found([past("a", Space.of({"act": Choice("relu", "tanh", "elu", "selu")}))], space).tasks
    assert task.overlap == pytest.approx(2 / 5)


def test_a_space_that_nobody_declared_is_inferred() -> None:
    other = past("a", declared=False)
    assert infer_space(other.runs).space
    assert found([other]).tasks[0].overlap > 0.5


def test_a_parameter_is_carried_over_under_its_other_name_if_told() -> None:
    other = past("a", Space.of({"learning_rate": Float(1e-4, 1, log=True)}))
    assert found([other]).tasks == ()
    (task,) = found([other], renamed={"lr": ("eta", "learning_rate")}).tasks
    assert [row["lr"] for row in task.rows] == [each.params["learning_rate"] for each in other.runs]


def test_a_parameter_is_carried_over_in_another_unit_if_told() -> None:
    other = past("a", Space.of({"dropout_percent": Float(0, 50)}))
    (task,) = found([other], renamed={"dropout": ("dropout_percent * 0.01",)}).tasks
    assert [row["dropout"] for row in task.rows] == pytest.approx(
        [each.params["dropout_percent"] / 100 for each in other.runs]
    )
    assert task.overlap == pytest.approx(0.5)


def test_a_likely_other_name_is_said_and_not_assumed() -> None:
    space = Space.of({"batch_size": Int(8, 64), "lr": Float(1e-4, 1, log=True)})
    other = past("a", Space.of({"batchSize": Int(8, 64), "lr": Float(1e-4, 1, log=True)}))
    told = found([other], space)
    assert all("batch_size" not in row for row in told.tasks[0].rows)
    assert told.notes == (
        "'a' has 'batchSize', perhaps what is 'batch_size' here; say renamed={'batch_size': 'batchSize'}, "
        "or --rename batchSize=batch_size, to learn from it",
    )


def test_a_likely_other_unit_is_said_and_not_assumed() -> None:
    space = Space.of({"dropout": Float(0.01, 0.5), "lr": Float(1e-4, 1, log=True)})
    other = past("a", Space.of({"dropout": Float(1, 50), "lr": Float(1e-4, 1, log=True)}))
    (note,) = found([other], space).notes
    assert (
        "perhaps in another unit; say renamed={'dropout': 'dropout * 0.01'}, or --rename 'dropout * 0.01=dropout',"
        in note
    )
    assert found([other], space, renamed={"dropout": ("dropout * 0.01",)}).notes == ()


def test_of_many_notes_some_are_shown_and_the_rest_is_counted() -> None:
    space = Space.of({"batch_size": Int(8, 64), "lr": Float(1e-4, 1, log=True)})
    theirs = Space.of({"batchSize": Int(8, 64), "lr": Float(1e-4, 1, log=True)})
    notes = found([past(f"a{i}", theirs) for i in range(MAX_NOTES + 3)], space).notes
    assert len(notes) == MAX_NOTES + 1
    assert notes[-1] == "3 more could not be carried over"


def test_questions_are_compared_by_what_is_said_of_them() -> None:
    mine = named("digits-mlp", description="MLP on the UCI digits")
    near = named("digits-mlp-2", description="a wider MLP on the UCI digits")
    far = named("protein-folding", description="transformer for residue contacts")
    close, distant = likeness(mine, [near, far])
    assert 0 <= distant < close <= 1
    assert close > 0.5


def test_a_better_encoder_is_used_where_one_is_given() -> None:
    def vectors(texts: Any) -> Any:
        return np.array([[1.0, 0.0], *([[0.6, 0.8]] * (len(texts) - 1))], dtype=np.float32)

    assert found([past("a")], vectors=vectors).tasks[0].similarity == pytest.approx(0.6)


def test_runs_that_came_after_do_not_change_what_was_over_then() -> None:
    runs: list[Run] = [run(i, {"lr": 0.1, "dropout": 0.1}, 1.0) for i in range(9)]
    assert over([*runs, run(9, {}, state=RunState.RUNNING)]) == over(runs)


def test_results_say_nothing_of_how_alike_questions_are() -> None:
    one, other = past("a", value=lambda p: p["lr"]), past("a", value=lambda p: -p["lr"])
    assert found([one]).tasks[0].relevance == found([other]).tasks[0].relevance

"""What a question asks beside objective and space: said, shown and used on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import advisor


def test_the_problem_is_said_shown_and_taken_back(program, store: Path) -> None:
    call = ("--store", store, "experiment", "digits")
    said = (
        "--constraint",
        "train_loss <= 0.2",
        "--try-first",
        '{"lr": 0.1}',
        "--fix",
        "opt=adam",
        "--cost",
        "duration",
    )
    more = ("--rename", "learning_rate=lr", "--rename", "eta=lr", "--prior", "lr=1e-2", "--repeats", "3")
    out = program(*call, *said, *more).out
    for line in (
        ["constraints", "train_loss <= 0.2"],
        ["to try first", "lr = 0.1"],
        ["fixed", "opt = adam"],
        ["elsewhere", "lr is learning_rate or eta"],
        ["priors", "lr near 0.01"],
        ["cost of a run", "duration"],
        ["repeats", "3"],
    ):
        assert any(all(part in row for part in line) for row in out.splitlines()), line
    assert program(*call, "--json").data["problem"] == {
        "constraints": [{"metric": "train_loss", "op": "<=", "bound": 0.2}],
        "try_first": [{"lr": 0.1}],
        "fixed": {"opt": "adam"},
        "renamed": {"lr": ["learning_rate", "eta"]},
        "priors": {"lr": {"center": 0.01, "spread": 0.2}},
        "cost": "duration",
        "repeats": 3,
    }
    assert program(*call, "--fix", "lr=0.5", "--unfix", "opt", "--json").data["problem"]["fixed"] == {"lr": 0.5}
    empty = ("--constraint", "", "--try-first", "", "--rename", "", "--prior", "", "--cost", "", "--repeats", 1)
    assert program(*call, *empty, "--unfix", "lr", "--json").data["problem"] == {}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--constraint", "loss < 1"), "allowed are <= and >="),
        (("--fix", "lr"), "--fix 'lr' names no value; write --fix name=value"),
        (("--fix", "lr=0.1", "--fix", "lr=0.2"), "--fix gives lr twice, 0.1 and 0.2; give it once"),
        (("--fix", "lrr=0.1"), "fixed: unknown parameter 'lrr'; did you mean 'lr'?"),
        (("--fix", "lr=7"), "fixed: lr = 7 is outside [0.0001, 1]"),
        (("--unfix", "lr"), "--unfix 'lr': it is not fixed; fixed are no parameters"),
        (("--try-first", "lr"), "--try-first is not JSON"),
        (("--try-first", "[1]"), "--try-first is a JSON list"),
        (("--rename", "eta0"), "--rename 'eta0' names no parameter; write --rename OTHER=NAME"),
        (("--rename", "x=lrr"), "the space has no parameter 'lrr'; did you mean 'lr'?"),
        (("--rename", "lr=eta"), "no parameter 'eta'; 'lr' is the name here, so say it the other way round: 'eta' is"),
        (("--prior", "opt=sgd"), "the prior of 'opt' is 'sgd'"),
        (("--cost", "val_loss"), "is the objective itself"),
        (
            ("--constraint", "train_los<=1"),
            "no run of experiment 'digits' logs 'train_los'; did you mean 'train_loss'?",
        ),
        (
            ("--objective", "val_loss", "--objective", "val_loss"),
            "objective 'val_loss' is named twice; name each metric once",
        ),
        (("--prior", "lrr=x"), "priors: the space has no parameter 'lrr'; did you mean 'lr'?"),
        (("--cost", "durration"), "no run of experiment 'digits' logs 'durration'; did you mean 'duration'?"),
    ],
)
def test_a_mistake_is_one_line(program, made_store: Path, arguments: tuple[str, ...], message: str) -> None:
    assert message in program("--store", made_store, "experiment", "digits", *arguments).error


def test_a_metric_that_no_run_logs_yet_is_said(program, store: Path) -> None:
    call = ("--store", store, "experiment")
    done = program(*call, "digits", "--constraint", "latency_ms <= 50", "--cost", "price")
    assert done.code == 0
    assert "no run of experiment 'digits' logs 'latency_ms' yet; until one does, whether a run keeps" in done.err
    assert "no run of experiment 'digits' logs 'price' yet; until one does, all runs count as costing" in done.err
    assert "logs" not in program(*call, "digits", "--constraint", "train_loss <= 1", "--cost", "duration").err
    assert "logs" not in program(*call, "empty", "--constraint", "latency_ms <= 50", "--cost", "price").err


@pytest.mark.parametrize(("text", "number"), [(".02", 0.02), ("+.5", 0.5), ("1.", 1.0), ("5.e-2", 0.05)])
def test_a_decimal_number_may_be_written_as_people_do(program, store: Path, text: str, number: float) -> None:
    call = ("--store", store, "experiment", "digits", "--prior", f"lr={text}", "--fix", f"lr={text}", "--json")
    problem = program(*call).data["problem"]
    assert (problem["fixed"]["lr"], problem["priors"]["lr"]["center"]) == (number, number)


@pytest.mark.parametrize("text", ["nan", "inf", "1_000", "0x1", "."])
def test_what_is_no_decimal_number_stays_text(program, store: Path, text: str) -> None:
    assert repr(text) in program("--store", store, "experiment", "digits", "--fix", f"lr={text}").error


def test_points_that_have_been_tried_say_by_which_run(program, store: Path) -> None:
    call = ("--store", store, "experiment", "digits", "--try-first", '{"lr": 0.123}', "--try-first", '{"lr": 0.2}')
    program(*call)
    program("--store", store, "tell", "digits", "--params", '{"lr": 0.2, "opt": "sgd"}', "--value", 1)
    assert "lr = 0.123; lr = 0.2 (run #16)" in program("--store", store, "experiment", "digits").out


def test_a_conditional_space_is_shown_with_its_conditions(program, tmp_path: Path) -> None:
    (tmp_path / "space.yaml").write_text(
        "optimizer: [sgd, adam]\nmomentum: {low: 0, high: 0.99, when: {optimizer: sgd}}\n"
    )
    call = ("--store", tmp_path / "new", "experiment", "toy", "--objective", "loss")
    out = program(*call, "--space", "space.yaml").out
    header = next(line for line in out.splitlines() if line.startswith("parameter"))
    assert header.split()[-2:] == ["only", "where"]
    assert next(line for line in out.splitlines() if line.startswith("momentum")).endswith("optimizer = 'sgd'")
    told = program("--store", tmp_path / "new", "tell", "toy", "--params", '{"optimizer": "adam", "momentum": 0.5}')
    assert "momentum has no meaning with optimizer = 'adam'; leave it out" in told.error


def test_a_told_run_has_the_metrics_that_a_constraint_is_about(program, store: Path) -> None:
    program("--store", store, "experiment", "digits", "--constraint", "ms <= 5")
    call = ("--store", store, "tell", "digits", "--params", '{"lr": 0.25, "opt": "sgd"}', "--value", "0.5")
    told = program(*call, "--metric", "ms=4", "--metric", "odd=nan", "--json").data
    assert told["metrics"] == {"val_loss": 0.5, "ms": 4.0, "odd": "NaN"}
    assert program("--store", store, "experiment", "digits", "--json").data["best_run_id"] == told["run_id"]
    assert "--metric ms='fast' is no number" in program(*call, "--metric", "ms=fast").error


def test_every_objective_of_a_trade_off_is_filtered_sorted_and_shown(program, tmp_path: Path) -> None:
    with advisor.open(tmp_path / "new", capture=False) as adv:
        exp = adv.experiment("toy", objective=["loss", "leaves"], direction=["minimize", "maximize"])
        for loss, leaves in ((1.0, 3.0), (2.0, 1.0), (2.0, 5.0)):
            exp.tell({"lr": loss / 10}, [loss, leaves])
        exp.tell({"lr": 7}, None, state="failed")
        adv.experiment("other", objective="loss").tell({"lr": 0.1}, 0.5)

    def asked(*arguments: object):
        return program("--store", tmp_path / "new", *arguments)

    assert [one["number"] for one in asked("runs", "toy", "--where", "leaves <= 3", "--json").data] == [0, 1]
    done = asked("runs", "toy", "--sort", "leaves")
    assert [row.split()[0] for row in done.out.splitlines()[1:]] == ["1", "0", "2", "3"]
    assert "the smallest leaves first; --desc lists the best first" in done.err
    assert done.out.splitlines()[0].split()[3:7] == ["loss", "(min)", "leaves", "(max)"]
    assert done.out.count("leaves") == 1
    assert "best by loss, see --front" in done.err
    assert asked("runs", "other").out.count("loss") == 1
    rows = [line.split() for line in asked("show", "toy#2").out.splitlines()]
    assert ["loss", "2"] in rows
    assert ["leaves", "5"] in rows
    assert asked("show", "toy#2", "--json").data["metrics"] == {"loss": 2.0, "leaves": 5.0}
    about = asked("experiment", "toy").out
    assert "objectives      minimize loss, maximize leaves" in about
    assert "best by loss" in about
    assert "2 runs; advisor runs toy --front" in about
    assert "best run" in asked("experiment", "other").out
    assert "1 (loss)" in asked("experiment").out


def test_the_front_of_a_trade_off_is_listed(program, tmp_path: Path) -> None:
    with advisor.open(tmp_path / "new", capture=False) as adv:
        exp = adv.experiment("toy", objective=["loss", "seconds"])
        for loss, seconds in ((1.0, 5.0), (2.0, 1.0), (2.0, 5.0)):
            exp.tell({"lr": loss / 10}, [loss, seconds])
        adv.experiment("none", objective="loss", constraints="ms <= 1")
    call = ("--store", tmp_path / "new", "runs", "toy", "--front")
    assert [one["number"] for one in program(*call, "--json").data] == [0, 1]
    assert [one["values"] for one in program(*call, "--json").data] == [[1.0, 5.0], [2.0, 1.0]]
    done = program(*call)
    assert done.out.splitlines()[0].split()[:5] == ["#", "run", "loss", "(min)", "seconds"]
    assert "2 runs that no other one beats in every objective" in done.err
    none = program("--store", tmp_path / "new", "runs", "none", "--front")
    assert (none.code, none.out) == (0, "")
    assert "keeps all constraints" in none.err
    assert json.loads(program("--store", tmp_path / "new", "runs", "none", "--front", "--json").out) == []
    assert "--front" in program("--store", tmp_path / "new", "runs", "--front").error

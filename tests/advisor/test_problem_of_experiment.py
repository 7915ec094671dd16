from __future__ import annotations

import logging
import math
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import advisor
from advisor.app import Advisor
from advisor.errors import ConfigError, SpaceError
from storage.errors import ExperimentNotFoundError

SPACE = {
    "lr": advisor.Float(1e-5, 1, log=True),
    "optimizer": advisor.Choice("sgd", "adam"),
    "momentum": advisor.Float(0, 0.99, when={"optimizer": "sgd"}),
}


@pytest.fixture
def adv(tmp_path: Path) -> Iterator[Advisor]:
    with advisor.open(tmp_path / "store", capture=False) as opened:
        yield opened


def problem_of(adv: Advisor, name: str = "toy") -> dict[str, object]:
    return dict(adv.experiment(name, create=False).record.problem)


def test_what_is_given_replaces_its_part_and_an_empty_value_takes_it_back(adv: Advisor) -> None:
    adv.experiment("toy", objective="loss", space=SPACE, constraints="ms <= 50", fixed={"lr": 0.1}, repeats=3)
    bound = {"metric": "ms", "op": "<=", "bound": 50.0}
    assert problem_of(adv) == {"constraints": [bound], "fixed": {"lr": 0.1}, "repeats": 3}
    adv.experiment("toy", fixed={"optimizer": "sgd"}, cost="duration", try_first={"lr": 0.01})
    assert problem_of(adv) == {
        "constraints": [bound],
        "fixed": {"optimizer": "sgd"},
        "repeats": 3,
        "cost": "duration",
        "try_first": [{"lr": 0.01}],
    }
    adv.experiment("toy", constraints=[], fixed={}, repeats=1, cost="", try_first=[], priors={}, renamed={})
    assert problem_of(adv) == {}


def test_the_same_said_again_writes_nothing(adv: Advisor) -> None:
    for _ in range(3):
        adv.experiment("toy", objective="loss", space=SPACE, constraints={"ms": "<= 50"}, priors={"lr": 0.01})
        adv.experiment("toy", objective="loss", space=SPACE)
    assert adv.store.info().n_events == 1


def test_what_was_said_before_the_store_was_open_joins_what_the_store_holds(tmp_path: Path) -> None:
    with advisor.open(tmp_path / "store", capture=False) as first:
        first.experiment("toy", objective="loss", space=SPACE, constraints="ms <= 50")
    with advisor.open(tmp_path / "store", capture=False) as second:
        assert second.opening.opened is None
        exp = second.experiment("toy", space=SPACE, fixed={"lr": 0.1})
        exp.start(params={"lr": 0.1, "optimizer": "adam"}).finish()
        assert set(problem_of(second)) == {"constraints", "fixed"}
    with advisor.open(tmp_path / "store", capture=False) as third:
        assert set(problem_of(third)) == {"constraints", "fixed"}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"constraints": "ms < 50"}, "allowed are <= and >="),
        ({"fixed": {"lrr": 1}}, "fixed: unknown parameter 'lrr'"),
        ({"fixed": {"optimizer": "adam", "momentum": 0.5}}, "momentum has no meaning with optimizer = 'adam'"),
        ({"cost": "loss"}, "is the objective itself"),
        ({"repeats": 0}, "is no count"),
    ],
)
def test_a_problem_that_makes_no_sense_is_refused_and_nothing_is_kept(
    adv: Advisor, given: dict[str, object], message: str
) -> None:
    with pytest.raises((ConfigError, SpaceError), match=message):
        adv.experiment("toy", objective="loss", space=SPACE, **given)  # type: ignore[arg-type]
    with pytest.raises(ExperimentNotFoundError):
        adv.experiment("toy", create=False)


def test_the_best_run_keeps_the_constraints(adv: Advisor) -> None:
    exp = adv.experiment("toy", objective=["loss", "acc"], direction=["minimize", "maximize"], constraints="ms <= 50")
    for loss, acc, ms in ((0.1, 0.9, 80), (0.5, 0.95, 40), (0.3, 0.8, 30), (0.4, 0.7, 20), (math.nan, 1.0, 1)):
        with exp.start(params={"lr": 0.1}) as run:
            run.log({"loss": loss, "acc": acc, "ms": ms})
    best = exp.best()
    assert best is not None
    assert best.number == 2
    assert [run.number for run in exp.front()] == [2, 1]
    exp = adv.experiment("toy", constraints="ms <= 10")
    assert exp.best() is None
    assert exp.front() == []
    assert adv.experiment("toy", constraints=[]).best().number == 0  # type: ignore[union-attr]


def test_a_run_has_no_parameter_without_a_meaning(adv: Advisor) -> None:
    exp = adv.experiment("toy", objective="loss", space=SPACE)
    exp.start(params={"lr": 0.1, "optimizer": "adam"}).finish()
    exp.tell({"lr": 0.1, "optimizer": "sgd", "momentum": 0.9}, 0.5)
    with pytest.raises(SpaceError, match="momentum has no meaning with optimizer = 'adam'; leave it out"):
        exp.start(params={"lr": 0.1, "optimizer": "adam", "momentum": 0.9})
    assert [set(run.params) for run in exp.runs()] == [{"lr", "optimizer"}, {"lr", "optimizer", "momentum"}]


def test_a_changed_space_is_told_with_how_many_runs_lie_inside(adv: Advisor, caplog: pytest.LogCaptureFixture) -> None:
    exp = adv.experiment("toy", objective="loss", space={"lr": advisor.Float(1e-4, 1, log=True)})
    for lr in (1e-3, 1e-1, 0.9):
        exp.tell({"lr": lr}, lr)
    caplog.clear()
    with caplog.at_level(logging.INFO):
        adv.experiment(
            "toy", space={"lr": advisor.Float(1e-5, 0.5, log=True), "decay": advisor.Float(0, 1, default=0.0)}
        )
    assert (
        "the search space of 'toy' changes: lr changed from [0.0001, 1] to [1e-05, 0.5]; "
        "decay was added: [0, 1]; runs without it count as 0.0; 2 of its 3 runs lie inside"
    ) in caplog.text
    assert len(exp.runs()) == 3
    told = adv.history("toy")[-1].text
    assert "search space changed: lr changed from [0.0001, 1] to [1e-05, 0.5], decay was added" in told


def test_a_run_that_is_told_brings_the_metrics_that_constraints_are_about(adv: Advisor) -> None:
    exp = adv.experiment("toy", objective="loss", constraints="ms <= 50")
    exp.tell({"lr": 0.1}, 0.1, metrics={"ms": 80})
    told = exp.tell({"lr": 0.2}, 0.2, metrics={"ms": 40.0, "odd": math.nan})
    assert told.metrics["ms"] == 40
    assert math.isnan(told.metrics["odd"])
    assert told.curve("ms").values.tolist() == [40]
    assert told.values == (0.2,)
    assert exp.best().number == 1  # type: ignore[union-attr]
    assert adv.store.verify().ok
    with pytest.raises(ConfigError, match="metric 'ms' = 'fast' is no number"):
        exp.tell({"lr": 0.1}, 0.1, metrics={"ms": "fast"})  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"fixed": {"lrr": 1}}, "fixed: unknown parameter 'lrr'; did you mean 'lr'?"),
        (
            {"try_first": [{"lr": 0.1}, {"zz": 3}]},
            "point 2 of try_first: unknown parameter 'zz'; there are 'epochs', 'lr'.",
        ),
        ({"priors": {"zz": 3}}, "priors: the space has no parameter 'zz'; there are 'epochs', 'lr'."),
        ({"renamed": {"learning_rate": "lr"}}, "renamed: the space has no parameter 'learning_rate'; 'lr' is the name"),
    ],
)
def test_without_a_space_what_no_run_has_is_refused(adv: Advisor, given: dict[str, object], message: str) -> None:
    exp = adv.experiment("free", objective="loss", priors={"zz": 2})  # there is no run that could tell
    for i in range(3):
        exp.tell({"lr": 0.1 + 0.1 * i, "epochs": 5}, 0.5)
    with pytest.raises(SpaceError, match=re.escape(message)):
        adv.experiment("free", **given)  # type: ignore[arg-type]
    adv.experiment("free", priors={"zz": 2})  # as before
    adv.experiment("free", fixed={"epochs": 7}, try_first={"lr": 5}, priors={"lr": 5})
    assert problem_of(adv, "free")["fixed"] == {"epochs": 7}


def test_without_a_space_what_an_optuna_program_cannot_ask_for_is_refused(adv: Advisor) -> None:
    exp = adv.experiment("asked", objective="loss")
    for _ in range(3):
        trial = exp.ask()
        n, act = trial.suggest_int("n", 5, 30), trial.suggest_categorical("act", ["relu", "tanh"])
        exp.start(trial, notes=f"{n} {act}").finish()
    exp.tell({"n": 7, "act": "relu", "warmup": 3}, 0.5)
    for given, message in (
        ({"fixed": {"n": 2}}, "fixed: n = 2 is outside [5, 30]; choose a value inside, or widen the space"),
        ({"try_first": {"n": 7, "warmup": 9, "act": "gelu"}}, "act = 'gelu' is not one of 'relu', 'tanh'"),
        ({"priors": {"act": 1}}, "priors: act is a choice; only a numeric parameter has a prior"),
    ):
        with pytest.raises(SpaceError, match=re.escape(message)):
            adv.experiment("asked", **given)  # type: ignore[arg-type]
    adv.experiment("asked", fixed={"n": 7, "warmup": 9})
    assert problem_of(adv, "asked")["fixed"] == {"n": 7, "warmup": 9}

"""A suggestion is told once, also where several tell it at the same moment."""

from __future__ import annotations

import logging
import multiprocessing
from collections.abc import Iterator
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import optuna
import pytest

import advisor
from advisor.app import Advisor
from advisor.errors import ConfigError, SpaceError
from advisor.experiment import Experiment
from advisor.optuna import AdvisorStorage
from storage.errors import AlreadyThereError
from storage.records import RunState

SPACE = {"lr": advisor.Float(1e-5, 1, log=True)}


@pytest.fixture(autouse=True)
def hashing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADVISOR_EMBEDDER", "hashing")


@pytest.fixture
def adv(tmp_path: Path) -> Iterator[Advisor]:
    with advisor.open(tmp_path / "store", capture=False, system_metrics="off") as opened:
        yield opened


@pytest.fixture
def exp(adv: Advisor) -> Experiment:
    return adv.experiment("digits", objective="loss", space=SPACE)


def _tell(store: Path, suggestion_ids: list[str], value: float, together: Barrier, said: Any) -> None:
    with advisor.open(store, capture=False, system_metrics="off") as adv:
        exp = adv.experiment("digits", create=False)
        for suggestion_id in suggestion_ids:
            together.wait(60)
            try:
                run = exp.tell(None, value, suggestion_id=suggestion_id, curves={f"curve_{value:g}": [value]})
                said.put((suggestion_id, value, run.number, ""))
            except AlreadyThereError as error:
                said.put((suggestion_id, value, None, str(error)))


@pytest.mark.parametrize("value", ["good", [0.1, "good"], {"loss": 0.1}])
def test_a_value_that_is_no_number_is_refused_in_one_sentence(exp: Experiment, value: Any) -> None:
    with pytest.raises(ConfigError, match=r"^value .* is a (str|list|dict); give a number") as refused:
        exp.tell({"lr": 0.1}, value)
    assert "\n" not in str(refused.value)
    assert exp.runs() == []


def test_of_two_processes_that_tell_a_suggestion_at_once_the_first_is_kept_and_the_second_is_told(
    tmp_path: Path, adv: Advisor, exp: Experiment
) -> None:
    made = [suggestion.id for suggestion in exp.suggest(8, seed=1)]
    context = multiprocessing.get_context("spawn")
    together, said = context.Barrier(2), context.Queue()
    tellers = [context.Process(target=_tell, args=(tmp_path / "store", made, v, together, said)) for v in (1.0, 2.0)]
    for teller in tellers:
        teller.start()
    answers = [said.get(timeout=120) for _ in range(2 * len(made))]
    for teller in tellers:
        teller.join()
    runs = {run.suggestion_id: run for run in exp.runs()}
    assert len(exp.runs()) == len(made) == len(runs)
    for suggestion_id in made:
        (kept,) = [each for each in answers if each[0] == suggestion_id and each[2] is not None]
        (refused,) = [each for each in answers if each[0] == suggestion_id and each[2] is None]
        run = runs[suggestion_id]
        assert (run.number, run.objective) == (kept[2], kept[1])
        assert list(run.metrics) == ["loss", f"curve_{kept[1]:g}"]  # nothing of the second one's is mixed in
        assert refused[3] == (
            f"suggestion {suggestion_id[:8]} was told already as digits#{run.number} ({kept[1]:.4g}); for another run, "
            "tell its params and no suggestion"
        )


def test_a_suggestion_made_before_the_space_grew_is_told_as_it_was(adv: Advisor, exp: Experiment) -> None:
    made = exp.suggest(seed=1)[0]
    grown = {**SPACE, "alpha": advisor.Float(1e-6, 1, log=True, default=1e-4)}
    exp = adv.experiment("digits", space=grown)
    told = exp.tell(None, 0.5, suggestion_id=made.id)
    assert dict(told.params) == dict(made.params)
    exp = adv.experiment("digits", space={**SPACE, "alpha": advisor.Float(1e-6, 1, log=True)})
    with pytest.raises(SpaceError, match="'alpha' is missing"):
        exp.tell({"lr": 0.1}, 0.5)


def test_a_suggestion_whose_told_run_was_deleted_can_be_told_anew(adv: Advisor, exp: Experiment) -> None:
    (made,) = exp.suggest(seed=1)
    wrong = exp.tell(None, 17.0, suggestion_id=made.id)
    adv.delete(wrong.id)
    right = exp.tell(None, 0.17, suggestion_id=made.id, metrics={"acc": 0.9})
    assert (right.objective, right.metrics["acc"], right.state) == (0.17, 0.9, RunState.FINISHED)
    assert [run.id for run in exp.runs()] == [right.id]
    with pytest.raises(AlreadyThereError, match="told already as digits#1 "):
        exp.tell(None, 0.17, suggestion_id=made.id)


def _branches(trial: optuna.Trial) -> float:
    if trial.suggest_categorical("clf", ["svc", "rf"]) == "rf":
        return 0.1 * trial.suggest_int("n", 5, 30) + trial.suggest_float("sub", 0, 1)
    return trial.suggest_float("C", 1e-3, 1e3, log=True)


@pytest.fixture
def branches(tmp_path: Path, adv: Advisor) -> Experiment:
    """Runs of an Optuna program; no space is declared."""
    storage = AdvisorStorage(tmp_path / "store")
    sampler = optuna.samplers.RandomSampler(seed=1)
    optuna.create_study(study_name="branches", storage=storage, sampler=sampler).optimize(_branches, n_trials=24)
    storage.close()
    return adv.experiment("branches", create=False)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"clf": "rf", "n": 7, "sub": 7}, r"^sub = 7 is outside \[0, 1\]; choose a value inside, or widen the space"),
        ({"clf": "rf", "n": "two", "sub": 0.5}, r"^n = 'two' is not a whole number; give one in \[5, 30\]"),
        ({"clf": "rf", "n": 2, "sub": 0.5}, r"^n = 2 is outside \[5, 30\]"),
        ({"clf": "svm", "C": 1}, "^clf = 'svm' is not one of 'svc', 'rf'"),
        ({"clf": "rf", "n": 7}, "^parameter 'sub' is missing; with what is given the space needs clf, n, sub"),
        ({"C": 1}, "^parameter 'clf' is missing"),
        ({"clf": "svc", "C": 1, "n": 7}, "^n has no meaning with clf = 'svc'; leave it out"),
        ({"clf": "svc", "c": 1}, "^no run of 'branches' has a parameter 'c'; did you mean 'C'?"),
        ({"clf": "rf", "n": 7, "subs": 0.5}, "^no run of 'branches' has a parameter 'subs'; did you mean 'sub'?"),
        ({"clf": "svc", "C": None}, "^C = None is not a number"),
    ],
)
def test_what_optuna_programs_declare_holds_for_what_is_told_where_no_space_is_declared(
    branches: Experiment, params: dict[str, Any], message: str
) -> None:
    with pytest.raises(SpaceError, match=message) as refused:
        branches.tell(params, 0.5)
    if "no run of" not in message:
        assert str(refused.value).endswith(
            "(no space is declared, so this is what the Optuna programs of 'branches' say; "
            "'advisor experiment branches --space FILE' declares another)"
        )
    assert len(branches.runs()) == 24


def test_a_point_of_the_programs_is_told_and_so_is_a_suggestion_and_a_parameter_that_is_new(
    branches: Experiment, caplog: pytest.LogCaptureFixture
) -> None:
    assert branches.tell({"clf": "rf", "n": 5.0, "sub": 1}, 0.5).number == 24
    made = branches.suggest(seed=1)[0]
    assert dict(branches.tell(None, 0.5, suggestion_id=made.id).params) == dict(made.params)
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        told = branches.tell({"clf": "svc", "C": 1, "warmup": 100}, 0.4)
    assert told.params["warmup"] == 100
    assert [each.getMessage() for each in caplog.records] == [
        "no run of 'branches' had a parameter 'warmup' before; it is kept"
    ]


def test_an_unseen_branch_needs_nothing_of_the_others(tmp_path: Path, adv: Advisor) -> None:
    storage = AdvisorStorage(tmp_path / "store")
    study = optuna.create_study(study_name="branches", storage=storage)
    for _ in range(6):
        study.enqueue_trial({"clf": "svc"})
    study.optimize(_branches, n_trials=6)
    storage.close()
    exp = adv.experiment("branches", create=False)
    with pytest.raises(SpaceError, match="parameter 'C' is missing"):
        exp.tell({"clf": "svc"}, 0.5)
    assert exp.tell({"clf": "rf", "n": 7, "sub": 0.5}, 0.5).number == 6


def test_where_no_program_declares_anything_everything_is_told(adv: Advisor) -> None:
    exp = adv.experiment("free", objective="loss")
    for i in range(8):
        exp.tell({"a": 0.1 * i, "b": i}, 0.5)
    assert dict(exp.tell({"a": 7, "b": "two", "zz": 1}, 0.5).params) == {"a": 7, "b": "two", "zz": 1}
    assert dict(exp.tell({"a": 7}, 0.5).params) == {"a": 7}
    with pytest.raises(SpaceError, match="did you mean 'a'"):
        exp.tell({"A": 7, "b": 1}, 0.5)

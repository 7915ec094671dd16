"""A suggestion is told once, also where several tell it at the same moment."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import pytest

import advisor
from advisor.app import Advisor
from advisor.errors import SpaceError
from advisor.experiment import Experiment
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

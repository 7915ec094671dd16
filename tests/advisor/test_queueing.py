"""Runs that wait: queued by a person, taken up by whoever starts next, each once."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import optuna
import pytest

import advisor
from advisor.app import Advisor
from advisor.errors import SpaceError
from advisor.experiment import Experiment
from advisor.optuna import AdvisorStorage
from storage.errors import RecordError
from storage.records import Event, RunState
from storage.verify import Verified

SPACE = {"lr": advisor.Float(1e-5, 1, log=True), "act": advisor.Choice("relu", "tanh")}
POINT = {"lr": 0.25, "act": "tanh"}


@pytest.fixture
def adv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Advisor]:
    monkeypatch.setenv("ADVISOR_EMBEDDER", "hashing")
    with advisor.open(tmp_path / "store", capture=False, system_metrics="off") as opened:
        yield opened


@pytest.fixture
def exp(adv: Advisor) -> Experiment:
    return adv.experiment("digits", objective="loss", space=SPACE)


def test_an_accepted_suggestion_is_a_waiting_run_with_its_parameters(exp: Experiment) -> None:
    suggestion = exp.suggest(seed=1)[0]
    run = exp.accept(suggestion.id)
    assert (run.state, run.suggestion_id, dict(run.params)) == (RunState.WAITING, suggestion.id, suggestion.params)
    assert (run.started, run.source) == (None, "queued")
    assert [each.id for each in exp.waiting()] == [run.id]
    assert exp.unanswered() == []


def test_the_ledger_counts_an_accepted_suggestion_as_waiting_however_long_it_waits(
    adv: Advisor, exp: Experiment
) -> None:
    suggestion = exp.suggest(seed=1)[0]
    exp.accept(suggestion.id)
    later = Advisor(adv.opening, adv.settings, clock=lambda: suggestion.created + timedelta(hours=2))
    counted = later.experiment("digits").ledger().suggested
    assert (counted.n_waiting, counted.n_started, counted.n_expired) == (1, 0, 0)


def test_a_suggestion_is_accepted_or_rejected_by_the_beginning_of_its_id(exp: Experiment) -> None:
    first, second = exp.suggest(2, seed=1)
    assert exp.accept(first.id[:8]).suggestion_id == first.id
    exp.reject(second.id[:8])
    assert exp.unanswered() == []
    with pytest.raises(RecordError, match="has no suggestion"):
        exp.accept("")


def test_accepting_twice_queues_once(exp: Experiment) -> None:
    suggestion = exp.suggest(seed=1)[0]
    assert exp.accept(suggestion.id).id == exp.accept(suggestion.id).id
    assert len(exp.runs()) == 1


def test_whoever_starts_next_takes_up_what_waits_the_first_one_first(exp: Experiment) -> None:
    first = exp.queue(POINT, tags=["mine"], notes=["try this"])
    exp.queue({"lr": 0.5, "act": "relu"})
    with exp.start(seed=7) as run:
        assert (run.id, run.params, run.seed) == (first.id, POINT, 7)
        run.log(loss=0.5)
    ended = exp.run(first.id)
    assert (ended.state, ended.seed, ended.tags, ended.objective) == (RunState.FINISHED, 7, ("mine",), 0.5)
    assert ended.started is not None
    assert ended.started >= first.created
    assert [run.params["lr"] for run in exp.optimize(1)] == [0.5]
    assert exp.waiting() == []


def test_a_loop_goes_on_with_suggestions_once_nothing_waits(exp: Experiment) -> None:
    exp.queue(POINT)
    tried = []
    for run in exp.optimize(3, seed=1):
        tried.append((run.params == POINT, run.suggestion_id is not None))
        run.log(loss=run.params["lr"])
    assert tried == [(True, False), (False, True), (False, True)]


def test_own_parameters_do_not_touch_the_queue(exp: Experiment) -> None:
    exp.queue(POINT)
    exp.start(params={"lr": 0.1, "act": "relu"}).finish()
    assert len(exp.waiting()) == 1


def test_of_many_who_take_up_the_same_run_one_gets_it(exp: Experiment) -> None:
    for _ in range(3):
        exp.queue(POINT)
    taken: list[str] = []

    def take() -> None:
        run = exp.take_up()
        if run is not None:
            taken.append(run.id)
            run.finish()

    threads = [threading.Thread(target=take) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(taken), len(set(taken))) == (3, 3)


def test_a_run_that_was_taken_up_counts_once_and_the_journal_still_verifies(adv: Advisor, exp: Experiment) -> None:
    exp.queue(POINT)
    run = exp.start()
    run.log(loss=1.0)
    run.finish()
    assert [(each.number, each.id) for each in exp.runs()] == [(0, run.id)]
    kinds = [event.kind for event in adv.store.events(run_id=run.id)]
    assert kinds.count("run.created") == 1
    found: Verified = adv.store.verify()
    assert found.ok, found


def test_suggestions_keep_away_from_what_waits(adv: Advisor) -> None:
    small = adv.experiment("small", objective="loss", space={"n": advisor.Int(1, 2)})
    small.queue({"n": 1})
    assert small.suggest(seed=0)[0].params == {"n": 2}


def test_what_does_not_fit_the_space_is_not_queued(exp: Experiment) -> None:
    with pytest.raises(SpaceError, match="outside"):
        exp.queue({"lr": 3.0, "act": "relu"})


def test_what_another_tool_left_waiting_is_not_taken_up(adv: Advisor, exp: Experiment) -> None:
    created = Event.new("run.created", "digits", "f" * 32, state="waiting", params=POINT, source="import")
    adv.store.append([created])
    assert exp.take_up() is None


def test_a_rejected_suggestion_is_closed_and_cannot_be_accepted(exp: Experiment) -> None:
    suggestion = exp.suggest(seed=1)[0]
    exp.reject(suggestion.id, reason="too costly")
    assert exp.unanswered() == []
    with pytest.raises(RecordError, match="too costly"):
        exp.accept(suggestion.id)
    assert exp.ledger().suggested.n_taken_back == 1


def test_a_suggestion_that_has_a_run_is_neither_accepted_nor_rejected(exp: Experiment) -> None:
    suggestion = exp.suggest(seed=1)[0]
    exp.start(suggestion).finish()
    with pytest.raises(RecordError, match="started already: run #0"):
        exp.accept(suggestion.id)
    with pytest.raises(RecordError, match="has a run"):
        exp.reject(suggestion.id)


def test_an_unknown_suggestion_is_refused_and_so_is_one_of_another_experiment(adv: Advisor, exp: Experiment) -> None:
    elsewhere = adv.experiment("other", objective="loss", space=SPACE).suggest()[0]
    for unknown in ("nothing", elsewhere.id):
        with pytest.raises(RecordError, match="has no suggestion"):
            exp.accept(unknown)


def test_a_suggestion_that_expired_is_still_shown_and_can_be_accepted(adv: Advisor, exp: Experiment) -> None:
    suggestion = exp.suggest(seed=1)[0]
    later = Advisor(adv.opening, adv.settings, clock=lambda: suggestion.created + timedelta(hours=2))
    shown = later.experiment("digits").unanswered()
    assert [(each["suggestion_id"], each["expired"]) for each in shown] == [(suggestion.id, True)]
    assert later.experiment("digits").accept(suggestion.id).state is RunState.WAITING


def test_optuna_takes_up_what_waits_with_its_parameters(adv: Advisor, exp: Experiment, tmp_path: Path) -> None:
    queued = exp.queue(POINT)
    study = optuna.load_study(study_name="digits", storage=AdvisorStorage(tmp_path / "store"))
    seen = []

    def objective(trial: optuna.Trial) -> float:
        seen.append((trial.suggest_float("lr", 1e-5, 1, log=True), trial.suggest_categorical("act", ["relu", "tanh"])))
        return 1.0

    study.optimize(objective, n_trials=1)
    assert seen == [(0.25, "tanh")]
    assert exp.run(queued.id).state is RunState.FINISHED


def test_a_sweep_trains_what_waits_first_and_counts_it(exp: Experiment, tmp_path: Path) -> None:
    queued = exp.accept(exp.suggest(seed=1)[0].id)
    script = tmp_path / "train.py"
    script.write_text("import json, sys\nprint(json.dumps({'loss': float(sys.argv[1])}))\n")
    command = [sys.executable, str(script), "{lr}", "{act}"]
    done = exp.optimize_command(command, n_runs=2, seed=3, logs=tmp_path / "logs")
    assert [attempt.run.id == queued.id for attempt in done.attempts] == [True, False]
    first = exp.run(queued.id)
    assert (first.state, first.objective) == (RunState.FINISHED, queued.params["lr"])
    assert first.seed is not None
    assert done.n_done == 2

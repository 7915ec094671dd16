"""A training that ``advisor optimize`` started logs into the run that it was started for."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

import advisor
from advisor.errors import AdvisorError
from advisor.running import Summary
from advisor.tracking.attached import attach
from storage.records import RunState

HEAD = "import advisor, os, sys, json, signal, time\n"
SPACE = {"lr": advisor.Float(1e-4, 1, log=True), "opt": advisor.Choice("sgd", None)}


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, repository: Path) -> None:
    """Work in an empty folder; commands find this checkout."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ADVISOR_EMBEDDER", "hashing")
    monkeypatch.setenv("ADVISOR_CAPTURE", "no")
    monkeypatch.setenv("PYTHONPATH", str(repository))


@pytest.fixture
def exp(tmp_path: Path) -> advisor.Experiment:
    """Return an experiment with two parameters."""
    return advisor.open(tmp_path / "store").experiment("digits", objective="loss", space=SPACE)


def optimize(exp: advisor.Experiment, program: str, *arguments: str, **options: Any) -> Summary:
    text = (HEAD + program).replace("{", "{{").replace("}", "}}")
    command = [sys.executable, "-c", text, *arguments]
    return exp.optimize_command(command, **{"n_runs": 1, "sampler": "random", "grace_s": 5.0, **options})


def test_the_functions_that_people_know_log_into_the_run(exp: advisor.Experiment) -> None:
    program = """
run = advisor.init("whatever", params={"lr": sys.argv[1], "opt": sys.argv[2], "epochs": 3}, tags=["child"], notes="hi")
print('{"loss": 99}')  # what is printed is output once the training has attached
assert run.id == os.environ["ADVISOR_RUN_ID"] and run.number == 0 and run.experiment == "digits"
assert str(run.seed) == os.environ["ADVISOR_TRIAL_SEED"]
for epoch in range(3):
    advisor.log({"loss": 1 / (epoch + 1), "odd": float("nan")})
    assert run.should_stop() is False, run.stop_reason
open("model.bin", "wb").write(b"abc")
assert run.save("model.bin") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
run.use_data("train", [[1, 2], [3, 4]])
run.note("a note")
assert all(finding.metric == "odd" for finding in run.findings) and run.n_not_kept == 0
advisor.finish()
try: advisor.log({"loss": 1})
except advisor.StorageError as error: print(error)
"""
    attempt = optimize(exp, program, "{lr}", "{opt}").attempts[0]
    run = attempt.run
    assert run.state is RunState.FINISHED, run.error
    assert run.curve("loss").values.tolist() == pytest.approx([1, 1 / 2, 1 / 3])
    assert run.curve("odd").steps.tolist() == [0, 1, 2]
    assert run.params["epochs"] == 3
    assert {"child"} < set(run.tags)
    assert run.notes == ("hi", "a note")
    assert [dict(each)["name"] for each in run.artifacts] == ["model.bin"]
    assert [dict(each)["name"] for each in run.data] == ["train"]
    assert "it has ended (finished)" in attempt.log.read_text()
    assert len(exp.runs()) == 1


def test_only_the_first_run_of_the_experiment_is_the_one_that_was_asked_for(exp: advisor.Experiment) -> None:
    program = """
adv = advisor.open()
with adv.experiment("other", objective="loss").start(params={}) as run:
    run.log({"loss": 3})
exp = adv.experiment("digits")
with exp.start() as run:
    run.log({"loss": run.params["lr"]}, step=7)
with exp.start(params={"lr": 0.5, "opt": "sgd"}, tags=["own"]) as own:
    own.log({"loss": 5})
"""
    attempt = optimize(exp, program).attempts[0]
    assert attempt.run.state is RunState.FINISHED, attempt.run.error
    assert attempt.run.objective == attempt.run.params["lr"]
    assert attempt.run.curve("loss").steps.tolist() == [7]
    assert "the run of 'other' is another one" in attempt.log.read_text()
    assert [(run.number, run.objective) for run in exp.runs("tag = 'own'")] == [(1, 5.0)]
    assert [run.objective for run in advisor.open("store").experiment("other").runs()] == [3.0]


def test_an_exception_fails_the_run_with_its_traceback(exp: advisor.Experiment) -> None:
    program = "with advisor.init() as run:\n    run.log(loss=1)\n    raise ValueError('the weights are not finite')"
    attempt = optimize(exp, program).attempts[0]
    assert attempt.run.state is RunState.FAILED
    assert attempt.reason == "ValueError: the weights are not finite"
    assert "Traceback" in (attempt.run.error or "")


def test_the_exit_code_decides_where_the_training_does_not_end_its_run(exp: advisor.Experiment) -> None:
    for code, state in ((0, RunState.FINISHED), (3, RunState.FAILED)):
        attempt = optimize(exp, f"advisor.init()\nadvisor.log(loss=1)\nsys.exit({code})").attempts[0]
        assert (attempt.run.state, attempt.exit_code) == (state, code)


def test_a_training_that_uses_other_parameters_is_refused(exp: advisor.Experiment) -> None:
    attempt = optimize(exp, "advisor.init(params={'lr': 42})").attempts[0]
    assert attempt.run.state is RunState.FAILED
    assert "but the program says lr = 42; use the value on its command line ({lr})" in attempt.reason


def test_a_training_that_finishes_without_its_objective_failed(exp: advisor.Experiment) -> None:
    attempt = optimize(exp, "with advisor.init() as run: run.log(acc=1)").attempts[0]
    assert attempt.run.state is RunState.FAILED
    assert "never said its objective 'loss', only acc" in attempt.reason


def test_values_may_be_given_at_the_end(exp: advisor.Experiment) -> None:
    assert optimize(exp, "advisor.init()\nadvisor.finish(value=2)").attempts[0].run.objective == 2
    refused = optimize(exp, "advisor.init()\nadvisor.finish(value=[1, 2])").attempts[0]
    assert "2 values were given for 1 objectives" in (refused.run.error or "")


@pytest.mark.parametrize(("prune", "state"), [(None, "pruned"), (False, "finished")])
def test_a_training_asks_whether_to_stop(exp: advisor.Experiment, prune: bool | None, state: str) -> None:
    for value in range(6):
        with exp.start(params={"lr": 0.1, "opt": "sgd"}) as run:
            for step in range(10):
                run.log({"loss": value}, step=step)
    program = """
with advisor.init() as run:
    for step in range(10):
        run.log({"loss": 100}, step=step)
        if run.should_stop(): break
"""
    run = optimize(exp, program, prune=prune).attempts[0].run
    assert run.state == state
    assert (len(run.curve("loss")) < 10) is (state == "pruned")
    assert [note.startswith("pruned: best loss up to step") for note in run.notes] == [True] * (state == "pruned")


def test_nothing_that_was_logged_before_a_kill_is_lost(exp: advisor.Experiment) -> None:
    program = """
advisor.init()
for step in range(2000): advisor.log({"loss": step})
os.kill(os.getpid(), signal.SIGKILL)
"""
    attempt = optimize(exp, program).attempts[0]
    assert attempt.run.state is RunState.CRASHED
    assert len(attempt.run.curve("loss")) == 2000


def test_a_program_whose_owner_is_gone_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ADVISOR_RUN_ID", "r")
    monkeypatch.setenv("ADVISOR_CHANNEL", str(tmp_path / "no.sock"))
    monkeypatch.setattr("advisor.tracking.attached._attached_in", 0)
    with pytest.raises(AdvisorError, match="is gone"):
        attach("digits")
    monkeypatch.delenv("ADVISOR_CHANNEL")
    assert attach("digits") is None
    assert os.environ["ADVISOR_RUN_ID"] == "r"

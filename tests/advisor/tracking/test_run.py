from __future__ import annotations

import math
import multiprocessing
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import advisor
from advisor.app import Advisor
from advisor.errors import ConfigError, SpaceError
from advisor.experiment import Experiment
from advisor.tracking.run import LiveRun
from storage.errors import RecordError, RunFinishedError, StoreUnavailableError
from storage.records import Event, RunState


@pytest.fixture
def adv(tmp_path: Path) -> Iterator[Advisor]:
    with advisor.open(tmp_path / "store", capture=False) as opened:
        yield opened


def test_what_was_logged_is_read_back(adv: Advisor) -> None:
    exp = adv.experiment("toy", objective="loss")
    with exp.start(params={"lr": 0.1}, seed=3, tags=["a"], notes=["first try"]) as run:
        for step in range(50):
            run.log({"loss": 1.0 / (step + 1)}, step=step)
        run.log(accuracy=np.float32(0.5))
        run.note("went well")
        run.tag("b", "a")
    read = exp.run(0)
    assert (read.state, read.seed, read.tags) == (RunState.FINISHED, 3, ("a", "b"))
    assert read.notes == ("first try", "went well")
    assert read.objective == 0.02
    np.testing.assert_array_equal(read.curve("loss").steps, np.arange(50))
    np.testing.assert_array_equal(read.curve("accuracy").steps, [50])
    assert np.all(np.diff(read.curve("loss").times) >= 0)
    assert read.metrics == {"loss": 0.02, "accuracy": 0.5}
    assert not list(adv.store.spool_folder().glob("*.spool"))


def test_points_reach_the_store_while_the_run_goes_on(adv: Advisor) -> None:
    exp = adv.experiment("toy", objective="loss")
    run = exp.start(params={})
    run.log({"loss": 2.0})
    deadline = time.monotonic() + 10
    while not exp.run(0).curves and time.monotonic() < deadline:
        time.sleep(0.02)
    assert exp.run(0).metrics == {"loss": 2.0}
    assert exp.run(0).state is RunState.RUNNING
    run.finish()


def test_an_exception_marks_the_run_failed_keeps_the_traceback_and_is_raised_on(adv: Advisor) -> None:
    exp = adv.experiment("toy", objective="loss")
    with pytest.raises(ZeroDivisionError), exp.start(params={}) as run:
        run.log({"loss": 1.0})
        raise ZeroDivisionError("batch size")
    read = exp.run(0)
    assert read.state is RunState.FAILED
    assert "ZeroDivisionError: batch size" in str(read.error)
    assert len(read.curve("loss")) == 1
    assert exp.best() is None


def test_nothing_is_logged_after_the_end(adv: Advisor) -> None:
    run = adv.experiment("toy").start(params={})
    run.finish()
    for late in (lambda: run.log({"loss": 1.0}), lambda: run.note("late"), run.finish):
        with pytest.raises(RunFinishedError, match=r"has ended \(finished\); start a new run"):
            late()


def test_of_two_processes_that_end_a_run_the_second_is_told(adv: Advisor) -> None:
    exp = adv.experiment("toy")
    run = exp.start(params={})
    adv.store.append([Event.new("run.state", "toy", run.id, state="failed", error="by somebody else")])
    with pytest.raises(RunFinishedError, match="ended as failed by another process"):
        run.finish()
    assert exp.run(0).error == "by somebody else"


def test_nan_as_objective_is_accepted_and_never_best(adv: Advisor) -> None:
    exp = adv.experiment("toy", objective="loss")
    exp.start(params={}).finish(value=math.nan)
    with exp.start(params={}) as run:
        run.log({"loss": 5.0})
    with exp.start(params={}) as run:  # its last finite value is the lowest, but it ended in NaN
        run.log({"loss": 1.0})
        run.log({"loss": math.nan})
    runs = exp.runs()
    assert math.isnan(runs[0].values[0])
    assert runs[0].state is RunState.FINISHED
    best = exp.best()
    assert best is not None
    assert best.number == 1


@pytest.mark.parametrize("value", ["much", None, [1, 2], object()])
def test_a_value_that_is_no_number_is_refused_in_one_sentence(adv: Advisor, value: object) -> None:
    run = adv.experiment("toy").start(params={})
    with pytest.raises(RecordError, match=r"metric 'loss' is .* log\(\) takes numbers"):
        run.log({"loss": value})
    run.finish()


def test_parameters_are_checked_against_the_declared_space(adv: Advisor) -> None:
    exp = adv.experiment("toy", objective="loss", space={"lr": advisor.Float(1e-4, 1, log=True)})
    with pytest.raises(SpaceError, match="lr"):
        exp.start(params={"lr": 3.0})
    with pytest.raises(SpaceError, match="did you mean 'lr'"):
        exp.start(params={"lrr": 0.1})
    assert exp.runs() == []


def test_secrets_among_parameters_and_notes_never_reach_the_store(adv: Advisor, tmp_path: Path) -> None:
    exp = adv.experiment("toy")
    canary = "sk-" + "c4n4ry" * 8
    with pytest.raises(RuntimeError), exp.start(params={"api_key": canary, "lr": 0.1}) as run:
        run.note(f"OPENAI_API_KEY={canary}")
        raise RuntimeError(f"401 for Bearer {canary}")
    kept = b"".join(path.read_bytes() for path in (tmp_path / "store").rglob("*") if path.is_file())
    assert canary.encode() not in kept
    assert exp.run(0).params == {"api_key": "[redacted]", "lr": 0.1}


def test_data_and_files_are_kept_by_content(adv: Advisor, tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"weights")
    exp = adv.experiment("toy")
    with exp.start(params={}) as run:
        run.use_data("train", np.arange(6.0).reshape(3, 2))
        sha256 = run.save(tmp_path / "model.bin")
        with pytest.raises(RecordError, match="no such file"):
            run.save(tmp_path / "nothing.bin")
    read = exp.run(0)
    assert read.data[0]["shape"] == [3, 2]
    assert read.artifacts[0] == {"name": "model.bin", "sha256": sha256, "size": 7}
    with adv.store.open_artifact(sha256) as file:
        assert file.read() == b"weights"


def test_environment_is_captured_without_being_asked(tmp_path: Path) -> None:
    adv = advisor.open(tmp_path / "store")
    with adv.experiment("toy").start(params={}):
        pass
    environment = adv.experiment("toy").run(0).environment
    assert environment["python"]["version"].count(".") == 2
    assert environment["libraries"]["numpy"] == np.__version__


def test_a_value_that_is_not_finite_is_a_finding_when_the_log_call_returns(adv: Advisor) -> None:
    run = adv.experiment("toy", objective="loss").start(params={})
    run.log({"loss": 1.0, "grad_norm": 3.0})
    run.log({"loss": 1e308, "other": 1e308})  # finite, though their sum is not
    assert run.findings == []
    run.log({"loss": math.nan, "grad_norm": 2.0}, step=7)
    (finding,) = run.findings
    assert (finding.code, finding.metric, finding.step, finding.severity) == ("ADV101", "loss", 7, "error")
    run.finish()
    assert [(f.code, f.metric) for f in adv.experiment("toy").findings()] == [("ADV101", "loss")]


def test_a_loss_of_zero_beside_a_gradient_that_is_not_finite_is_found_at_once(adv: Advisor) -> None:
    run = adv.experiment("toy", objective="loss").start(params={})
    run.log({"loss": 0.0, "grad_norm": 1.0})
    run.log({"loss": 0.0, "grad_norm": math.inf})
    found = {finding.metric: finding for finding in run.findings}
    assert (found["loss"].severity, found["loss"].evidence["masked_by"]) == ("error", "grad_norm")
    assert found["grad_norm"].severity == "info"
    run.finish()


DIES_AT_A_NAN = """
import os, sys, advisor
run = advisor.open(sys.argv[1], capture=False).experiment("toy", objective="loss").start(params={})
run.number
run.log({"loss": 1.0})
run.log({"loss": float("nan")})
os.kill(os.getpid(), 9)
"""


def test_a_finding_of_a_log_call_outlives_the_death_of_the_next_moment(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", DIES_AT_A_NAN, str(tmp_path / "store")], check=False, timeout=60)
    with advisor.open(tmp_path / "store", capture=False) as adv:
        (run,) = adv.experiment("toy").runs()
        assert run.state is RunState.CRASHED
        assert [(finding.code, finding.step) for finding in run.findings] == [("ADV101", 1)]


def test_a_finding_is_raised_while_the_run_trains(adv: Advisor) -> None:
    exp = adv.experiment("toy", objective="loss")
    with exp.start(params={}) as run:
        for step in range(20):
            run.log({"loss": math.nan if step > 10 else 1.0}, step=step)
    (finding,) = exp.findings()
    assert (finding.run_id, finding.metric, finding.step) == (run.id, "loss", 11)


def test_a_finding_of_a_run_in_training_counts_all_values_when_the_run_is_over(adv: Advisor) -> None:
    exp = adv.experiment("toy", objective="loss")
    run = exp.start(params={})
    for step in range(12):
        run.log({"loss": math.nan if step > 10 else 1.0}, step=step)
    assert run.findings[0].evidence["n"] == 12
    for step in range(12, 20):
        run.log({"loss": math.nan}, step=step)
    run.finish()
    (finding,) = exp.findings()
    assert finding.title == "loss is not finite from step 11 on (9 of 20 values)"
    assert (finding.evidence["n_nonfinite"], finding.evidence["n"]) == (9, 20)
    assert run.findings[0].title == finding.title
    opened = [event for event in adv.store.events(run_id=run.id) if event.kind == "finding.opened"]
    assert len(opened) == 2


def test_a_finding_that_reads_the_same_at_the_end_is_not_said_again(adv: Advisor) -> None:
    exp = adv.experiment("toy", objective="loss")
    with exp.start(params={}) as run:
        run.log({"loss": 1.0})
        run.log({"loss": math.nan})
    opened = [event for event in adv.store.events(run_id=run.id) if event.kind == "finding.opened"]
    assert len(opened) == 1


def test_a_forked_process_cannot_log_into_its_parents_run(adv: Advisor) -> None:
    run = adv.experiment("toy").start(params={})
    context = multiprocessing.get_context("fork")
    queue = context.Queue()

    def child() -> None:
        try:
            run.log({"loss": 1.0})
        except RecordError as error:
            queue.put(str(error))

    process = context.Process(target=child)
    process.start()
    assert "belongs to process" in queue.get(timeout=20)
    process.join()
    run.finish()


SCRIPT = """
    import advisor, sys
    run = advisor.init("script", params={"lr": 0.1}, store=sys.argv[1], objective="loss", capture=False)
    advisor.log({"loss": 0.5})
    if sys.argv[2] == "fails":
        raise ValueError("by design")
    if sys.argv[2] == "finishes":
        advisor.finish()
"""


@pytest.mark.parametrize(("ending", "state"), [("finishes", "finished"), ("forgets", "finished"), ("fails", "failed")])
def test_a_script_that_does_not_finish_its_run_ends_it_with_the_interpreter(
    tmp_path: Path, ending: str, state: str
) -> None:
    script = [sys.executable, "-c", textwrap.dedent(SCRIPT), str(tmp_path / "store"), ending]
    done = subprocess.run(script, capture_output=True, text=True, check=False)
    assert ("ValueError: by design" in done.stderr) == (ending == "fails")
    (run,) = advisor.open(tmp_path / "store").runs()
    assert run.state == state
    assert ("by design" in str(run.error)) == (ending == "fails")
    assert run.objective == 0.5


def test_optimize_starts_what_was_suggested_and_ends_what_the_loop_left(adv: Advisor) -> None:
    exp = adv.experiment("toy", objective="loss", space={"x": advisor.Float(-1, 1)})
    for run in exp.optimize(n_runs=3, seed=1):
        run.log({"loss": run.params["x"] ** 2})
    for run in exp.optimize(n_runs=3):
        run.log({"loss": 9.0})
        break
    runs = exp.runs()
    assert [run.state for run in runs] == ["finished"] * 3 + ["failed"]
    assert len({run.params["x"] for run in runs}) == 4
    assert all(run.suggestion_id for run in runs)


def test_stopping_is_advised_for_a_hopeless_run_with_the_reason(adv: Advisor) -> None:
    exp = adv.experiment("toy", objective="loss")
    for _ in range(6):
        with exp.start(params={}) as run:
            for step in range(20):
                run.log({"loss": 1.0 / (step + 1)}, step=step)
    with exp.start(params={}) as run:
        for step in range(20):
            run.log({"loss": 10.0}, step=step)
            if run.should_stop():
                break
    assert exp.run(6).state is RunState.PRUNED
    assert "worse than the median" in run.stop_reason
    (kept,) = adv.store.state().of_kind("stop.advised")
    assert kept.run_id == run.id
    assert kept.body["reason"] == run.stop_reason
    assert kept.body["value"] == 10.0


def test_a_final_value_that_is_no_number_is_refused_and_the_run_goes_on(adv: Advisor) -> None:
    run = adv.experiment("toy", objective="loss").start(params={})
    with pytest.raises(RecordError, match="value 'good' is a str; give a number"):
        run.finish(value="good")  # type: ignore[arg-type]  # what a user may write
    run.finish(value=1.0)
    assert run.state is RunState.FINISHED


def advised_to_stop(exp: Experiment) -> LiveRun:
    """Return a run that goes on and has just been advised to stop."""
    run = exp.start(params={})
    run.log({"loss": float("nan")}, step=0)
    assert run.should_stop()
    return run


def test_a_run_that_followed_advice_ends_the_same_way_by_finish_as_by_its_with_block(adv: Advisor) -> None:
    exp = adv.experiment("toy", objective="loss")
    with advised_to_stop(exp):
        pass
    advised_to_stop(exp).finish()
    advised_to_stop(exp).finish(value=2.0)
    assert [run.state for run in exp.runs()] == ["pruned"] * 3
    assert exp.run(2).values == (2.0,)
    assert exp.ledger().stops.n_followed == 3


def test_a_state_that_is_given_wins_over_advice_that_was_followed(adv: Advisor) -> None:
    exp = adv.experiment("toy", objective="loss")
    advised_to_stop(exp).finish(state="finished")
    advised_to_stop(exp).finish(state="failed")
    going_on = advised_to_stop(exp)
    going_on.log({"loss": 1.0}, step=1)
    going_on.finish()
    assert [run.state for run in exp.runs()] == ["finished", "failed", "finished"]


def test_advice_that_is_not_followed_is_kept_once(adv: Advisor) -> None:
    exp = adv.experiment("toy", objective="loss")
    with exp.start(params={}) as run:
        for step in range(3):
            run.log({"loss": float("nan")}, step=step)
            assert run.should_stop()
    assert [event.body["step"] for event in adv.store.state().of_kind("stop.advised")] == [0]


def test_values_must_be_as_many_as_objectives(adv: Advisor) -> None:
    exp = adv.experiment("two", objective=["loss", "size"], direction=["minimize", "minimize"])
    run = exp.start(params={})
    with pytest.raises(RecordError, match="2 objectives"):
        run.finish(value=1.0)
    run.finish(value=[1.0, 2.0])
    assert exp.run(0).values == (1.0, 2.0)
    with pytest.raises(ConfigError, match="2 objectives"):
        exp.tell({}, 1.0)


def test_a_store_is_not_used_in_a_forked_process(adv: Advisor) -> None:
    context = multiprocessing.get_context("fork")
    queue = context.Queue()

    def child() -> None:
        try:
            adv.experiment("toy")
        except StoreUnavailableError as error:
            queue.put(str(error))

    process = context.Process(target=child)
    process.start()
    assert "'spawn' or 'forkserver'" in queue.get(timeout=20)
    process.join()


def test_what_cannot_be_kept_is_refused_at_once_and_the_run_goes_on(adv: Advisor) -> None:
    exp = adv.experiment("toy", objective="loss")
    with exp.start(params={}) as run:
        with pytest.raises(RecordError, match="too large"):
            run.tag("x" * 17_000_000)
        with pytest.raises(RecordError, match="too large for a 64-bit float"):
            run.log({"loss": 10**400})
        for step in ("abc", math.nan, 2.7):
            with pytest.raises(RecordError, match="takes a whole number"):
                run.log({"loss": 1.0}, step=step)  # type: ignore[arg-type]
        with pytest.raises(RecordError, match="a run cannot end as 'running'; allowed are finished"):
            run.finish(state="running")
        run.log({"loss": 0.5}, step=np.int64(7))
    assert exp.run(0).objective == 0.5
    assert list(exp.run(0).curve("loss").steps) == [7]


def test_seeds_and_tags_are_taken_as_they_are_meant(adv: Advisor) -> None:
    exp = adv.experiment("toy", objective="loss")
    exp.start(params={}, seed=np.int64(3), tags="baseline").finish()
    assert (exp.run(0).seed, exp.run(0).tags) == (3, ("baseline",))
    with pytest.raises(ConfigError, match="a seed is a whole number"):
        exp.start(params={}, seed="abc")  # type: ignore[arg-type]
    assert len(exp.runs()) == 1


@pytest.mark.parametrize("kept", ["mean-last-3", "best"])
def test_a_change_of_the_reduction_while_a_run_goes_on_is_followed(adv: Advisor, kept: str) -> None:
    exp = adv.experiment("toy", objective="loss")
    with exp.start(params={}) as run:
        for value in (5.0, 1.0, 2.0, 3.0):
            run.log({"loss": value})
        adv.experiment("toy", reduce=kept)
        run.log({"loss": 4.0})
    assert exp.run(0).objective == {"mean-last-3": 3.0, "best": 1.0}[kept]


def test_a_run_ended_by_sys_exit_tells_good_from_bad(adv: Advisor) -> None:
    exp = adv.experiment("toy")
    for code in (0, 1):
        with pytest.raises(SystemExit), exp.start(params={}):
            sys.exit(code)
    assert [run.state for run in exp.runs()] == ["finished", "failed"]


SIGNALLED = """
    import signal, sys, advisor
    adv = advisor.open(sys.argv[1], capture=False)
    run = adv.experiment("toy", objective="loss").start(params={})
    def preempted(signum, frame):
        run.note("preempted")
        run.finish()
        sys.exit(0)
    signal.signal(signal.SIGTERM, preempted)
    print("ready", flush=True)
    step = 0
    while True:
        run.log({"loss": 1.0}, step=step)
        step += 1
"""


def test_a_signal_handler_may_note_and_finish(tmp_path: Path) -> None:
    command = [sys.executable, "-c", textwrap.dedent(SIGNALLED), str(tmp_path / "store")]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    child.stdout.readline()
    time.sleep(0.3)
    child.terminate()
    assert child.wait(timeout=30) == 0
    child.stdout.close()
    (run,) = advisor.open(tmp_path / "store").runs()
    assert (run.state, run.notes) == (RunState.FINISHED, ("preempted",))
    assert len(run.curve("loss")) > 0


def test_what_a_state_check_finds_is_the_runs_and_stays_after_a_check(adv: Advisor) -> None:
    exp = adv.experiment("toy", objective="loss")
    run = exp.start(params={})
    checks = run.checks()
    assert run.checks() is checks
    for _ in range(4):
        checks.batch(np.ones((4, 2)))
    run.log({"loss": 1.0})
    assert [(f.code, f.detector) for f in run.findings] == [("ADV122", "state")]
    run.finish()
    exp.check()
    assert [(f.code, str(f.state)) for f in exp.findings()] == [("ADV122", "open")]


def test_parameters_that_become_known_late_are_added(adv: Advisor) -> None:
    exp = adv.experiment("toy", objective="loss")
    with exp.start(params={"lr": 0.1}) as run:
        run.add_params({"lr": 0.2, "api_key": "secret", "width": np.int64(3)})
        run.add_params({"width": 3})
        assert run.params == {"lr": 0.2, "api_key": "[redacted]", "width": 3}
    assert exp.run(0).params == run.params


def test_what_is_said_of_a_run_and_is_no_parameter_is_an_attribute(adv: Advisor) -> None:
    exp = adv.experiment("toy", objective="loss")
    with exp.start(params={}) as run:
        run.set_attribute("resumed_from", "abc")
        run.set_attribute("arguments", {"epochs": 3, "hub_token": "secret"})
        with pytest.raises(RecordError, match="cannot keep this value"):
            run.set_attribute("odd", object())
    assert exp.run(0).user_attrs == {"resumed_from": "abc", "arguments": {"epochs": 3, "hub_token": "[redacted]"}}

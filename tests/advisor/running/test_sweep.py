"""A command runs once a suggestion, and its runs end as it did."""

from __future__ import annotations

import math
import os
import sys
import time
from pathlib import Path

import pytest

import advisor
from advisor.errors import ConfigError
from storage.records import RunState
from tests.advisor.running.conftest import Optimize, python, wait_for


def test_parameters_arrive_and_metrics_come_back(exp: advisor.Experiment, optimize: Optimize) -> None:
    program = """
params = json.loads(os.environ["ADVISOR_PARAMS"])
assert sys.argv[1:] == [str(params["lr"]), "--opt=" + params["opt"]], sys.argv
names = ("ADVISOR_RUN_ID", "ADVISOR_EXPERIMENT", "ADVISOR_STORE", "ADVISOR_TRIAL_SEED")
print([os.environ[name] for name in names])
for step in range(3): say(step=step, loss=params["lr"] / (step + 1), acc=step)
"""
    summary = optimize(program, "{lr}", "--opt={opt}", n_runs=2)
    assert [attempt.run.state for attempt in summary.attempts] == ["finished"] * 2, summary
    run, log = summary.attempts[0].run, summary.attempts[0].log.read_text()
    assert run.objective == pytest.approx(run.params["lr"] / 3)
    assert run.curve("loss").steps.tolist() == [0, 1, 2]
    assert set(run.metrics) == {"loss", "acc"}
    assert run.suggestion_id
    assert str([run.id, "digits", str(Path("store").absolute()), str(run.seed)]) in log
    assert (summary.n_done, summary.n_wanted, summary.ok) == (2, 2, True)
    assert summary.best is not None
    assert summary.best.id == min(summary.attempts, key=lambda a: a.run.objective or math.inf).run.id


def test_the_way_to_reduce_holds(tmp_path: Path) -> None:
    exp = advisor.open(tmp_path / "s").experiment(
        "e", objective="loss", reduce="best", space={"x": advisor.Float(0, 1)}
    )
    command = python("for v in (3, 1, 2): say(value=v)")
    assert exp.optimize_command(command, n_runs=1).attempts[0].run.objective == 1


def test_a_value_that_is_not_finite_is_kept_and_never_best(optimize: Optimize) -> None:
    summary = optimize("print('{\"loss\": NaN}')")
    run = summary.attempts[0].run
    assert run.state is RunState.FINISHED
    assert math.isnan(run.metrics["loss"])
    assert summary.best is None


def test_commands_run_at_the_same_time(optimize: Optimize, tmp_path: Path) -> None:
    program = """
open(os.path.join(sys.argv[1], str(os.getpid())), "w").close()
until = time.time() + 20
while len(os.listdir(sys.argv[1])) < 3 and time.time() < until: time.sleep(0.01)
say(loss=len(os.listdir(sys.argv[1])))
"""
    meet = tmp_path / "meet"
    meet.mkdir()
    summary = optimize(program, str(meet), n_runs=3, jobs=3)
    assert [attempt.run.objective for attempt in summary.attempts] == [3, 3, 3]
    assert len({attempt.run.params["lr"] for attempt in summary.attempts}) == 3


def test_a_failure_keeps_the_end_of_standard_error(optimize: Optimize) -> None:
    summary = optimize("say(loss=1)\nprint('first', file=sys.stderr)\nraise KeyError('no such ünït')")
    attempt = summary.attempts[0]
    assert (attempt.run.state, attempt.exit_code) == (RunState.FAILED, 1)
    assert attempt.run.error is not None
    assert attempt.reason == "the command ended with exit code 1: KeyError: 'no such ünït'"
    assert attempt.run.error.startswith(attempt.reason)
    assert "first\nTraceback" in attempt.run.error
    assert "first" in attempt.log.read_text()
    assert not summary.ok


def test_secrets_in_standard_error_are_not_kept(optimize: Optimize) -> None:
    attempt = optimize("print('api_key=sk-abcdefghijklmnopqrstuvwxyz123456', file=sys.stderr)\nsys.exit(2)").attempts[0]
    assert "sk-abcdefghijklmnop" not in f"{attempt.run.error} {attempt.reason}"


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("", 'print a line such as {"loss": 0.41}'),
        ("print({'loss': 1})", "json.dumps"),
        ("say(acc=1)", "only acc"),
    ],
)
def test_a_command_that_never_says_its_objective_failed(optimize: Optimize, program: str, reason: str) -> None:
    attempt = optimize(program).attempts[0]
    assert attempt.run.state is RunState.FAILED
    assert "never said its objective 'loss'" in attempt.reason
    assert reason in attempt.reason


def test_a_sweep_whose_objective_is_called_otherwise_ends_at_once_and_goes_on_under_the_right_name(
    exp: advisor.Experiment, optimize: Optimize
) -> None:
    summary = optimize("say(los=1)", n_runs=5)
    assert (len(summary.attempts), summary.n_done, summary.ok) == (1, 0, False)
    assert summary.stopped.startswith(
        "the command ended well, but never said its objective 'loss', only los; neither did any other run of the "
        "experiment, so the next ones are not tried: give the objective the name that the command says"
    )
    right = optimize("say(loss=1)", n_runs=2)
    assert (right.n_done, right.ok) == (2, True)
    late = optimize("say(los=1)", n_runs=3)  # it is known now: the command may have its reasons
    assert len(late.attempts) == 3


def test_a_killed_command_crashed_and_is_tried_again_with_the_same_parameters(
    exp: advisor.Experiment, optimize: Optimize, tmp_path: Path
) -> None:
    program = """
say(loss=1)
if not os.path.exists("been"):
    open("been", "w").close()
    os.kill(os.getpid(), signal.SIGKILL)
"""
    first, second = optimize(program, retries=1).attempts
    assert (first.run.state, first.exit_code, first.killed) == (RunState.CRASHED, -9, True)
    assert first.reason == "the command was killed by SIGKILL"
    assert first.run.metrics == {"loss": 1}
    assert (second.run.state, second.number) == (RunState.FINISHED, 2)
    assert second.run.params == first.run.params
    assert second.run.seed == first.run.seed
    again = optimize(program)
    assert (again.attempts, again.n_done, again.ok) == ((), 1, True)  # two attempts are one trial


def test_the_retries_of_a_queued_run_are_one_trial_with_it(exp: advisor.Experiment, optimize: Optimize) -> None:
    exp.queue({"lr": 0.1, "opt": "sgd"})
    summary = optimize("os.kill(os.getpid(), signal.SIGSEGV)", retries=2)
    assert [(a.number, a.retried) for a in summary.attempts] == [(1, True), (2, True), (3, False)]
    assert summary.n_done == 1


def test_retries_are_bounded_and_not_for_errors(optimize: Optimize) -> None:
    kill = "os.kill(os.getpid(), signal.SIGSEGV)"
    assert [a.number for a in optimize(kill, retries=2).attempts] == [1, 2, 3]
    assert len(optimize("sys.exit(1)", retries=2).attempts) == 1


def test_a_shell_that_says_who_was_killed_is_understood(exp: advisor.Experiment) -> None:
    attempt = exp.optimize_command(["sh", "-c", "sh -c 'kill -9 $$'; exit $?"], n_runs=1).attempts[0]
    assert (attempt.run.state, attempt.exit_code, attempt.killed) == (RunState.CRASHED, 137, True)


def test_a_command_that_takes_too_long_is_ended_with_its_children(optimize: Optimize, tmp_path: Path) -> None:
    program = """
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0: os.setsid()
open(f"pid-{os.getpid()}", "w").close()
time.sleep(60)
"""
    begin = time.monotonic()
    attempt = optimize(program, timeout_s=0.7, grace_s=0.2).attempts[0]
    assert time.monotonic() - begin < 20
    assert attempt.run.state is RunState.FAILED
    assert "timeout" in attempt.run.tags
    assert attempt.reason == "the command took longer than 0.7 s and was ended"
    pids = [int(path.name[4:]) for path in tmp_path.glob("pid-*")]
    assert len(pids) == 2
    wait_for(lambda: not any(_lives(pid) for pid in pids))


def test_what_a_command_leaves_behind_is_ended(optimize: Optimize, tmp_path: Path) -> None:
    program = """
child = os.fork()
if child == 0:
    time.sleep(60)
say(loss=1, child=child)
"""
    begin = time.monotonic()
    attempt = optimize(program).attempts[0]
    assert time.monotonic() - begin < 20
    assert attempt.run.state is RunState.FINISHED
    wait_for(lambda: not _lives(int(attempt.run.metrics["child"])))


def test_failures_in_a_row_stop_the_sweep(optimize: Optimize) -> None:
    summary = optimize("sys.exit(3)", n_runs=30, max_failures=3)
    assert (len(summary.attempts), summary.n_done, summary.ok) == (3, 3, False)
    assert summary.too_many_failures
    assert summary.stopped.startswith(
        "3 failures in a row, each time: the command ended with exit code 3; its output is in"
    )


def test_a_success_in_between_begins_the_count_of_failures_anew(optimize: Optimize) -> None:
    program = """
n = len(os.listdir("seen"))
open(f"seen/{n}", "w").close()
if n % 2 == 0: say(loss=1)
"""
    os.mkdir("seen")
    summary = optimize(program, n_runs=5, max_failures=2)
    assert [a.run.state for a in summary.attempts] == ["finished", "failed"] * 2 + ["finished"]
    assert summary.ok


def test_the_same_command_goes_on_where_it_stopped(optimize: Optimize) -> None:
    assert len(optimize("say(loss=1)", n_runs=2).attempts) == 2
    later = optimize("say(loss=1)", n_runs=3)
    assert (len(later.attempts), later.n_done, later.n_wanted) == (1, 3, 3)
    more = optimize("say(loss=1)", n_runs=1, more=True)
    assert (len(more.attempts), more.n_done, more.n_wanted) == (1, 4, 4)
    other = optimize("say(loss=2)", n_runs=1)
    assert (len(other.attempts), other.n_done) == (1, 1)


def test_time_stops_the_sweep_but_not_what_runs(optimize: Optimize) -> None:
    summary = optimize("time.sleep(0.3)\nsay(loss=1)", n_runs=None, total_time_s=0.1)
    assert [a.run.state for a in summary.attempts] == ["finished"]
    assert "0.1 s is over" in summary.stopped


def test_a_space_that_has_been_tried_ends_it_well(tmp_path: Path) -> None:
    exp = advisor.open(tmp_path / "s").experiment("e", objective="loss", space={"x": advisor.Choice(1, 2)})
    summary = exp.optimize_command(python("say(loss=1)"), n_runs=5)
    assert (len(summary.attempts), summary.ok) == (2, True)
    assert summary.stopped


def test_hopeless_commands_are_pruned_where_that_is_asked_for(exp: advisor.Experiment, optimize: Optimize) -> None:
    for value in range(6):
        with exp.start(params={"lr": 0.1, "opt": "sgd"}) as run:
            for step in range(20):
                run.log({"loss": value + 1 / (step + 1)}, step=step)
    program = "for step in range(20):\n say(step=step, loss=100)\n time.sleep(0.0 if step < 10 else 60)"
    attempt = optimize(program, prune=True).attempts[0]
    assert attempt.run.state is RunState.PRUNED
    assert attempt.reason.startswith("best loss up to step")
    assert attempt.run.notes[-1] == f"pruned: {attempt.reason}"


def test_all_output_is_kept_as_it_came(optimize: Optimize, tmp_path: Path) -> None:
    program = r"""
for i in range(5000):
    print(i, "x" * 50)
    if i % 1000 == 0: say(step=i, loss=i)
sys.stdout.flush()
os.write(1, b"\xff\xfe \x1b[31m" + b"y" * 3_000_000 + b"\n")
os.write(2, b"e" * 300_000 + b"\rend")
"""
    attempt = optimize(program, logs=tmp_path / "out").attempts[0]
    assert attempt.run.state is RunState.FINISHED, attempt.reason
    assert attempt.run.curve("loss").steps.tolist() == [0, 1000, 2000, 3000, 4000]
    assert attempt.log.parent == tmp_path / "out"
    data = attempt.log.read_bytes()
    assert data.count(b"\n") == 5006
    assert b"\xff\xfe \x1b[31m" in data
    assert (data.count(b"y"), data.count(b"\rend")) == (3_000_000, 1)


def test_a_command_that_cannot_be_started_failed(exp: advisor.Experiment) -> None:
    attempt = exp.optimize_command(["./{opt}"], n_runs=1, max_failures=1).attempts[0]
    assert attempt.run.state is RunState.FAILED
    assert "could not be started" in attempt.reason
    assert attempt.exit_code is None


@pytest.mark.parametrize(
    ("command", "options", "message"),
    [
        (["no-such-program"], {}, "'no-such-program' was not found"),
        (["./data.txt"], {}, "not an executable"),
        ([sys.executable, "trian.py"], {}, "no script 'trian.py'"),
        (["true", "{lrr}"], {}, "did you mean 'lr'"),
        (["true"], {"n_runs": None}, "say how many"),
        (["true"], {"n_runs": 0}, "n_runs must be a whole number of at least 1, not 0"),
        (["true"], {"jobs": 1.5}, "jobs must be"),
        (["true"], {"timeout_s": 0}, "seconds above 0"),
    ],
)
def test_a_mistake_is_said_before_anything_starts(
    exp: advisor.Experiment, command: list[str], options: dict[str, object], message: str
) -> None:
    Path("data.txt").write_text("")
    with pytest.raises(ConfigError, match=message):
        exp.optimize_command(command, **{"n_runs": 1, **options})  # type: ignore[arg-type]
    assert exp.runs() == []


def test_an_experiment_without_an_objective_is_refused(tmp_path: Path) -> None:
    exp = advisor.open(tmp_path / "s").experiment("e", space={"x": advisor.Float(0, 1)})
    with pytest.raises(ConfigError, match="no objective"):
        exp.optimize_command(["true"], n_runs=1)


def test_nothing_is_left_of_a_sweep_but_logs(optimize: Optimize, tmp_path: Path) -> None:
    optimize("say(loss=1)")
    assert list((tmp_path / "store" / "processes").iterdir()) == []
    assert len(list((tmp_path / "store" / "logs").iterdir())) == 1


def test_a_seed_makes_it_repeatable(tmp_path: Path) -> None:
    seen = []
    for name in ("a", "b"):
        exp = advisor.open(tmp_path / name).experiment("e", objective="loss", space={"x": advisor.Float(0, 1)})
        command = python("say(loss=float(os.environ['ADVISOR_TRIAL_SEED']))")
        summary = exp.optimize_command(command, n_runs=2, seed=5)
        seen.append([(a.run.params["x"], a.run.seed, a.run.objective) for a in summary.attempts])
    assert seen[0] == seen[1]
    assert [seed for _, seed, _ in seen[0]] == [5, 6]


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


CONDITIONAL = {"opt": advisor.Choice("adam", "sgd"), "momentum": advisor.Float(0.1, 0.9, when={"opt": "sgd"})}


def test_an_option_is_left_out_where_its_parameter_has_no_meaning(tmp_path: Path) -> None:
    exp = advisor.open(tmp_path / "s").experiment("e", objective="loss", space=CONDITIONAL)
    command = python("say(loss=len(sys.argv))", "--opt={opt}", "--momentum", "{momentum}")
    for opt in ("adam", "sgd"):
        exp.queue({"opt": opt} | ({"momentum": 0.5} if opt == "sgd" else {}))
    runs = [attempt.run for attempt in exp.optimize_command(command, n_runs=6, sampler="random", seed=1).attempts]
    assert {(run.params["opt"], run.state, run.objective) for run in runs} == {
        ("adam", "finished", 2),
        ("sgd", "finished", 4),
    }


def test_a_place_that_cannot_be_left_out_is_refused_before_there_is_a_run(tmp_path: Path) -> None:
    exp = advisor.open(tmp_path / "s").experiment("e", objective="loss", space=CONDITIONAL)
    with pytest.raises(ConfigError, match="make it an option of its own"):
        exp.optimize_command(python("say(loss=1)", "{momentum}"), n_runs=1)
    assert exp.runs() == []


def test_a_queued_run_without_a_value_that_is_asked_for_goes_on_waiting(tmp_path: Path) -> None:
    exp = advisor.open(tmp_path / "s").experiment("e", objective="loss")
    for lr in (0.1, 0.2, 0.3):
        exp.start({"lr": lr}).finish(value=lr)
    exp.queue({"depth": 3})
    with pytest.raises(ConfigError, match=r"asks for \{lr\}"):
        exp.optimize_command(python("say(loss=1)", "{lr}"), n_runs=1)
    assert [run.state for run in exp.runs()] == [*["finished"] * 3, "waiting"]

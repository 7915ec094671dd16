"""``advisor optimize``: what it prints, and its exit codes."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

SPACE = "lr: {low: 0.0001, high: 1, log: true}\nopt: [sgd, adam]\n"
PRINT = 'import sys, json; print(json.dumps({{"val_loss": float(sys.argv[1])}}))'
QUICK = ("--sampler", "random")


def python(program: str, *arguments: str) -> list[str]:
    return ["--", sys.executable, "-I", "-S", "-c", program, *arguments]


@pytest.fixture(autouse=True)
def space() -> None:
    Path("space.yaml").write_text(SPACE)


NEW = ("--objective", "val_loss", "--space", "space.yaml")


def test_an_experiment_is_made_and_its_runs_are_shown(program, tmp_path: Path) -> None:
    done = program("--store", "new", "optimize", "digits", "-n", 2, *NEW, *QUICK, *python(PRINT, "{lr}"))
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert lines[0].split() == ["run", "state", "val_loss", "lr", "opt", "time"]
    assert [line.split()[1] for line in lines[1:3]] == ["finished"] * 2
    assert lines[3].startswith("best: run #")
    assert "not in the command, but in $ADVISOR_PARAMS" in done.err
    assert "opt" in done.err
    assert "[2/2] run #1 finished in" in done.err
    assert "2 of 2 done, 2 runs in" in done.err
    again = program("--store", "new", "optimize", "digits", "-n", 2, *QUICK, *python(PRINT, "{lr}"))
    assert (again.code, len(again.out.splitlines())) == (0, 1)
    assert "nothing was left to do" in again.err


def test_of_several_objectives_all_are_shown_and_the_front_is_counted(program) -> None:
    both = ("--objective", "acc", "--direction", "max", "--objective", "ms", "--direction", "min")
    prints = python('import sys; x = float(sys.argv[1]); print(\'{{"acc": %f, "ms": %f}}\' % (x, 10 * x))', "{lr}")
    space = ("--space", "space.yaml")
    done = program("--store", "new", "optimize", "two", "-n", 3, *both, *space, *QUICK, *prints)
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert lines[0].split() == ["run", "state", "acc", "ms", "lr", "opt", "time"]
    best, front = lines[-2:]
    assert re.match(r"best by acc: run #\d \w+, acc [\d.e-]+, ms [\d.e-]+, lr = ", best)
    assert front == "front: 3 runs; advisor runs two --front lists what no other run beats"
    hint = program("--store", "new", "suggest", "two").err
    assert re.search(r"advisor tell two --suggestion \w+ --value X1 --value X2, where X1 is acc, X2 is ms", hint)


def test_json_is_a_list_of_runs(program) -> None:
    command = python("print('{{\"val_loss\": NaN}}')")
    found = program("--store", "new", "optimize", "digits", "-n", 1, *NEW, *QUICK, "--json", *command).data
    assert [(run["state"], run["objective"], run["attempt"], run["exit_code"]) for run in found] == [
        ("finished", "NaN", 1, 0)
    ]
    assert json.loads(Path(found[0]["log"]).read_text()) is not None


def test_no_run_that_came_through_is_a_failure(program) -> None:
    done = program("--store", "new", "optimize", "digits", "-n", 1, *NEW, *QUICK, *python("raise SystemExit(3)"))
    assert done.code == 1
    assert "failed in" in done.err
    assert done.err.splitlines()[-1] == "error: no run finished"


def test_progress_counts_trials_that_are_over_and_names_attempts(program) -> None:
    killed = python("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    done = program("--store", "new", "optimize", "digits", "-n", 2, "--retries", 1, *NEW, *QUICK, *killed)
    ends = [line.split(" crashed in")[0] for line in done.err.splitlines() if line.startswith("[")]
    assert ends == ["[0/2] run #0", "[1/2] run #1 (attempt 2)", "[1/2] run #2", "[2/2] run #3 (attempt 2)"]
    assert "run #1 (attempt 2) started: lr=" in done.err
    assert "2 of 2 done, 4 runs in" in done.err


def test_failures_in_a_row_are_a_failure(program) -> None:
    options = ("-n", 9, "--max-failures", 2, *NEW, *QUICK)
    done = program("--store", "new", "optimize", "digits", *options, *python("raise SystemExit(3)"))
    assert done.code == 1
    assert done.err.splitlines()[-1].startswith("error: 2 failures in a row, each time: the command ended with exit")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("digits", "-n", 1), "missing argument"),
        (("digits", "--", "true"), "say how many trials (-n 50) or for how long (--total-time 3600)"),
        (("digits", "-n", 1, "--", "no-such-program"), "was not found"),
        (("digits", "-n", 1, "--", "true", "{lrr}"), "did you mean 'lr'"),
        (("digits", "-n", 1, "true", "--lr", "{lr}"), "no such option: --lr"),
        (("digits", "-n", 1, "true", "--lr", "{lr}"), "what belongs to the command comes after --, as in -- py"),
        (("digts", "-n", 1, "--", "true"), "did you mean 'digits'? To make 'digts', add --objective"),
        (("bare", "-n", 1, "--", "true"), "no objective"),
        (("empty", "-n", 1, "--", "true"), "declare one: advisor experiment empty --space"),
    ],
)
def test_a_mistake_is_one_line(program, store: Path, arguments: tuple[object, ...], message: str) -> None:
    assert message in program("--store", store, "optimize", *arguments).error


def test_a_store_that_is_not_there_is_not_made(program, tmp_path: Path) -> None:
    error = program("--store", tmp_path / "none", "optimize", "digits", "-n", 1, "--", "true").error
    assert "no store at" in error
    assert "add --objective METRIC" in error
    assert not (tmp_path / "none").exists()

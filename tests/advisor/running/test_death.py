"""Signals to the advisor, its commands and its watchdog: nothing is lost, and nothing goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

import advisor
from advisor.running.guard import end_orphans
from advisor.running.sweep import ONE_SIGNAL_S
from advisor.running.watchdog import __file__ as watchdog
from storage.records import RunState
from storage.spool import owner_header
from tests.advisor.running.conftest import Optimize, python, wait_for

TRAINING = """
say(step=0, loss=1)
open(f"pid-{os.getpid()}", "w").close()
if os.path.exists("quick"): sys.exit(0)
if "stubborn" in sys.argv: signal.signal(signal.SIGINT, signal.SIG_IGN)
time.sleep(120)
"""


@pytest.fixture
def started(exp: advisor.Experiment, tmp_path: Path) -> Iterator[Any]:
    """Return what starts ``advisor optimize`` in a process of its own, once its two commands run."""
    exp.record  # noqa: B018  # the store has it now
    begun: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        words = [sys.executable, "-m", "advisor.cli", "--store", "store", "optimize", "digits", "--sampler", "random"]
        words += ["-n", "5", "-j", "2", *arguments]
        process = subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        begun.append(process)
        wait_for(lambda: len(pids(tmp_path)) == 2, 60)
        return process

    yield start
    for process in begun:
        process.kill()
        process.communicate()
    for pid in pids(tmp_path):
        if psutil.pid_exists(pid):
            os.kill(pid, signal.SIGKILL)


def pids(folder: Path) -> list[int]:
    return [int(path.name[4:]) for path in folder.glob("pid-*")]


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def watchdog_of(process: subprocess.Popen[str]) -> psutil.Process:
    children = psutil.Process(process.pid).children()
    return next(child for child in children if watchdog in child.cmdline())


def test_an_interrupt_ends_everything_and_the_same_command_goes_on(
    started: Any, exp: advisor.Experiment, optimize: Optimize, tmp_path: Path
) -> None:
    process = started("--", *python(TRAINING))
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "SIGINT ended the sweep" in err
    assert "the same command line goes on where it stopped" in err
    assert not any(alive(pid) for pid in pids(tmp_path))
    runs = exp.runs()
    assert [(run.state, "interrupted" in run.tags) for run in runs] == [(RunState.FAILED, True)] * 2
    assert all((run.error or "").startswith("interrupted: SIGINT ended the sweep") for run in runs)
    assert all(run.metrics == {"loss": 1} for run in runs)
    Path("quick").touch()
    later = optimize(TRAINING, n_runs=1)
    assert (later.n_done, len(later.attempts)) == (1, 1)  # the interrupted ones do not count


def test_a_second_signal_kills_at_once(started: Any, exp: advisor.Experiment, tmp_path: Path) -> None:
    process = started("--grace", "60", "--json", "--", *python(TRAINING, "stubborn"))
    process.send_signal(signal.SIGTERM)
    wait_for(lambda: "once more kills" in process.stderr.readline(), 30)
    time.sleep(ONE_SIGNAL_S)
    assert all(alive(pid) for pid in pids(tmp_path))
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    assert not any(alive(pid) for pid in pids(tmp_path))
    assert [run["state"] for run in json.loads(out)] == ["failed"] * 2


def test_commands_die_with_a_killed_advisor_and_their_runs_are_recovered(
    started: Any, exp: advisor.Experiment, optimize: Optimize, tmp_path: Path
) -> None:
    process = started("--", *python(TRAINING))
    guarding = watchdog_of(process)
    sockets = Path(guarding.cmdline()[-1])
    assert sockets.is_dir()
    process.kill()
    process.communicate()
    wait_for(lambda: not any(alive(pid) for pid in pids(tmp_path)))
    wait_for(lambda: not alive(guarding.pid))
    assert not sockets.exists()
    again = advisor.open(tmp_path / "store").experiment("digits")
    assert [run.state for run in again.runs()] == [RunState.CRASHED] * 2
    assert all(run.metrics == {"loss": 1} for run in again.runs())
    Path("quick").touch()
    summary = again.optimize_command(python(TRAINING), n_runs=1)
    assert (summary.n_done, len(summary.attempts)) == (1, 1)  # what died with the advisor does not count
    assert list((tmp_path / "store" / "processes").iterdir()) == []


def test_what_even_the_watchdog_left_is_ended_by_the_next_advisor(
    started: Any, exp: advisor.Experiment, tmp_path: Path
) -> None:
    process = started("--", *python(TRAINING))
    watchdog_of(process).kill()
    process.kill()
    process.communicate()
    left = pids(tmp_path)
    assert all(alive(pid) for pid in left)
    ended = end_orphans(tmp_path / "store" / "processes")
    assert len(ended) == 2
    assert not any(alive(pid) for pid in left)
    assert end_orphans(tmp_path / "store" / "processes") == []


def test_only_orphans_are_ended(tmp_path: Path) -> None:
    folder = tmp_path / "processes"
    folder.mkdir()
    environ = {**os.environ, "ADVISOR_RUN_ID": "mine"}
    sleeper = subprocess.Popen(["sleep", "60"], env=environ, start_new_session=True)
    other = subprocess.Popen(["sleep", "60"])
    born = psutil.Process(other.pid).create_time()
    here, dead = owner_header(), {**owner_header(), "birth_s": 1.0}
    try:
        (folder / "mine.json").write_text(json.dumps({"owner": here}))  # its advisor lives
        (folder / "reused.json").write_text(json.dumps({"owner": dead, "group": other.pid, "born": born - 100}))
        (folder / "far.json").write_text(json.dumps({"owner": {**dead, "host": "elsewhere"}}))
        (folder / "torn.json").write_text('{"owner": {')
        assert end_orphans(folder) == []
        assert (sleeper.poll(), other.poll()) == (None, None)
        assert sorted(path.stem for path in folder.iterdir()) == ["far", "mine", "torn"]
        (folder / "mine.json").write_text(json.dumps({"owner": dead}))
        assert end_orphans(folder) == ["mine"]
        assert not alive(sleeper.pid)
        assert other.poll() is None
    finally:
        for process in (sleeper, other):
            process.kill()
            process.wait()

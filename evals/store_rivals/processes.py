"""Starts the workers, and sees to it that none is left: not by a time-out, not by Ctrl-C.

Some tools start processes of their own, in sessions of their own. Every process carries a mark in its environment,
by which the last of them is found.
"""

from __future__ import annotations

import itertools
import json
import os
import secrets
import select
import signal
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import psutil
from environments import Environment, variables

WORKER = Path(__file__).with_name("worker.py")
MARK = secrets.token_hex(8)
_numbers = itertools.count()


class TaskError(Exception):
    """A worker did not deliver; the message is what the table shows."""


class TooLongError(TaskError):
    """A worker was stopped because its time was over."""


def run_task(environment: Environment, task: str, folder: Path, timeout_s: float = 300.0, **given: Any) -> Any:
    """Run one task in the tool's interpreter and return its result.

    Raises
    ------
    TaskError
        If it takes too long or fails.
    """
    result = folder / f"result-{next(_numbers)}.json"
    given |= {"folder": str(folder), "result": str(result), "spawned_ns": time.monotonic_ns()}
    process = start(environment, [str(WORKER), environment.tool, task, json.dumps(given)], folder)
    try:
        code = process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        raise TooLongError(f"over {timeout_s:.0f} s") from None
    finally:
        stop_all()
    if code:
        lines = (folder / "output.txt").read_text(errors="replace").strip().splitlines()
        raise TaskError(f"failed: {lines[-1] if lines else code}")
    return json.loads(result.read_text())


def start(environment: Environment, arguments: list[str], folder: Path, **more: Any) -> subprocess.Popen[bytes]:
    """Start the tool's interpreter; what it prints goes to ``output.txt``, unless ``stdout`` is given."""
    template = import_module(f"tools.{environment.tool}").ENVIRONMENT
    env = variables(environment.tool, template, folder, MARK)
    with (folder / "output.txt").open("wb") as output:
        more = {"stdout": output, "stderr": output, **more}
        return subprocess.Popen(
            [environment.interpreter, *arguments], cwd=folder, env=env, stdin=subprocess.DEVNULL, **more
        )


def until_first_step(environment: Environment, script: str, folder: Path) -> float:
    """Return the seconds from starting an interpreter until its script reaches the first step of training."""
    began = time.monotonic_ns()
    process = start(environment, ["-c", script], folder, stdout=subprocess.PIPE)
    try:
        printed, _ = process.communicate(timeout=120)
    except subprocess.TimeoutExpired:
        raise TooLongError("over 120 s") from None
    finally:
        stop_all()
    marks = [line for line in printed.decode(errors="replace").splitlines() if line.startswith("STEP ")]
    if process.returncode or not marks:
        raise TaskError(f"failed: {(folder / 'output.txt').read_text(errors='replace').strip()[-200:]}")
    return (int(marks[0].split()[1]) - began) / 1e9


def kill_while_logging(environment: Environment, folder: Path, after_s: float, every_s: float) -> int:
    """Send SIGKILL to a training that logs, ``after_s`` after its first call; return the calls it acknowledged."""
    reader, writer = os.pipe()
    given = {"folder": str(folder), "result": str(folder / "none"), "pipe": writer, "every_s": every_s}
    try:
        process = start(
            environment, [str(WORKER), environment.tool, "killed", json.dumps(given)], folder, pass_fds=[writer]
        )
        os.close(writer)
        ready, _, _ = select.select([reader], [], [], 120)
        acknowledged = len(os.read(reader, 1)) if ready else 0
        if not acknowledged:
            raise TaskError("logged nothing within 120 s")
        time.sleep(after_s)
        process.send_signal(signal.SIGKILL)
        process.wait()
        while chunk := os.read(reader, 65536):
            acknowledged += len(chunk)
        wait_for_helpers(10)
        return acknowledged
    finally:
        os.close(reader)
        stop_all()


def wait_for_helpers(timeout_s: float) -> None:
    """Give the processes that a killed training leaves behind the time to write what they have."""
    give_up = time.monotonic() + timeout_s
    while marked() and time.monotonic() < give_up:
        time.sleep(0.1)


def marked() -> list[psutil.Process]:
    """Return the processes that carry our mark."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("STORE_RIVALS") == MARK and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def stop_all() -> None:
    """Kill whatever carries our mark, by its id; a tool's own helpers first get a second to end by themselves."""
    if not marked():
        return
    wait_for_helpers(1)
    for process in marked():
        try:
            process.kill()
        except psutil.Error as error:
            print(f"process {process.pid} could not be ended: {error}", file=sys.stderr)

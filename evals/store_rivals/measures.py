"""What is measured, tool by tool: each function runs workers and returns figures, a pure function of their results."""

from __future__ import annotations

import random
import shutil
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import work
from environments import Environment
from processes import TaskError, TooLongError, kill_while_logging, run_task, until_first_step

EVERY_S = 0.005
EMPTY = 'import sys, time\nprint("STEP", time.monotonic_ns(), flush=True)\n'
STEP = 'import time; print("\\nSTEP", time.monotonic_ns(), flush=True)\n'


@dataclass(frozen=True)
class Plan:
    """How much work is done."""

    calls: int
    rounds: int
    log_budget_s: float
    """Longest that one run logs; a slower tool does fewer calls, and rates are of what it did."""
    paced_calls: int
    startups: int
    kills: int
    runs: tuple[int, ...]
    curves: int
    points: int
    fill_budget_s: float
    query_budget_s: float
    seed: int = 0


@contextmanager
def scratch() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="store-rivals-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def offered(tool: str, what: str) -> None:
    reason = import_module(f"tools.{tool}").NOT_OFFERED.get(what)
    if reason:
        raise TaskError(f"not offered: {reason}")


def size(folder: Path) -> int:
    """Return the bytes of what the tool keeps: not its home, not this benchmark's own files."""
    return sum(
        path.lstat().st_size
        for path in folder.rglob("*")
        if path.is_file() and path.relative_to(folder).parts[0] not in ("home", "output.txt") and path.suffix != ".json"
    )


def logging(environment: Environment, plan: Plan) -> dict[str, Any]:
    """Log in a tight loop, finish, look at what is there, weigh it."""
    with scratch() as folder:
        limits = {"calls": plan.calls, "budget_s": plan.log_budget_s}
        out: dict[str, Any] = run_task(environment, "throughput", folder, **limits)
        out["bytes"] = size(folder)  # before anything else touches it
        out["found"] = run_task(environment, "count", folder)["n_calls"]
        compacts = hasattr(import_module(f"tools.{environment.tool}"), "compact")
        if compacts:
            run_task(environment, "compact", folder)
            out["bytes_compacted"] = size(folder)
    with scratch() as folder:
        run_task(environment, "throughput", folder, **limits | {"calls": 1})
        out["bytes_of_one_call"] = size(folder)
        if compacts:
            run_task(environment, "compact", folder)
            out["bytes_of_one_call_compacted"] = size(folder)
    return out


def paced(environment: Environment, plan: Plan) -> dict[str, Any]:
    """Log at a training's pace."""
    with scratch() as folder:
        out: dict[str, Any] = run_task(
            environment, "paced", folder, calls=plan.paced_calls, budget_s=plan.log_budget_s, every_s=EVERY_S
        )
    return out


def startup(environment: Environment, plan: Plan) -> dict[str, Any]:
    """Time scripts up to their first step: with nothing, in a new store, in a store that has a run."""
    offered(environment.tool, "startup")
    module = import_module(f"tools.{environment.tool}")
    with scratch() as folder:
        empty = [until_first_step(environment, EMPTY, folder) for _ in range(plan.startups)]
    new, again = [], []
    for i in range(plan.startups):
        with scratch() as folder:
            script = module.STARTUP.format(folder=str(folder), store=str(folder / "store")) + STEP + module.STARTUP_END
            first = until_first_step(environment, script, folder)
            if i or plan.startups == 1:  # the first one compiles and fills the system's file cache
                new.append(first)
            again.append(until_first_step(environment, script, folder))
    base = statistics.median(empty)
    return {
        "empty_s": base,
        "new_store_s": statistics.median(new) - base,
        "existing_store_s": statistics.median(again) - base,
        "all": {"empty": empty, "new": new, "existing": again},
    }


def kills(environment: Environment, plan: Plan) -> dict[str, Any]:
    """Kill trainings that log, at seeded instants, and count what a new process finds."""
    rng = random.Random(plan.seed)
    each = []
    for _ in range(plan.kills):
        after_s = rng.uniform(0.2, 2.2)
        with scratch() as folder:
            acknowledged = kill_while_logging(environment, folder, after_s, EVERY_S)
            found = run_task(environment, "count", folder)["n_calls"]
        each.append({"after_s": round(after_s, 4), "acknowledged": acknowledged, "found": found})
    return {
        "acknowledged": sum(one["acknowledged"] for one in each),
        "found": sum(min(one["found"], one["acknowledged"]) for one in each),
        "lost_at_most": max(max(one["acknowledged"] - one["found"], 0) for one in each),
        "each": each,
    }


def runs(environment: Environment, plan: Plan, n: int) -> dict[str, Any]:
    """Fill a store with ``n`` runs; list them all; filter, sort and limit."""
    offered(environment.tool, "runs")
    with scratch() as folder:
        grace_s = 60.0  # one slow run, and an index that is built at the end
        budget_s = plan.fill_budget_s
        too_slow = TaskError(f"not run: filling took over {budget_s:.0f} s")
        try:
            filled = run_task(environment, "fill", folder, budget_s + grace_s, runs=n, budget_s=budget_s)
        except TooLongError:
            raise too_slow from None
        if filled["n_runs"] < n:
            raise too_slow
        out: dict[str, Any] = {"fill_s": filled["took_s"], "bytes": size(folder)}
        for task in ("top", "listing"):
            try:
                out[task] = run_task(environment, task, folder, plan.query_budget_s)
            except TaskError as error:
                out[task] = {"error": str(error)}
    answer, count = out["top"].get("answer"), out["listing"].get("n_runs")
    if answer is not None and answer != work.best(n):
        out["top"] = {"error": f"wrong answer: {answer[:3]}…"}
    if count is not None and count != n:
        out["listing"] = {"error": f"{count} of {n} runs listed"}
    return out


def curves(environment: Environment, plan: Plan) -> dict[str, Any]:
    """Fill a store with long curves and read them; of a tool that fills slowly, as many as the budget allows."""
    offered(environment.tool, "curves")
    with scratch() as folder:
        limits = {"curves": plan.curves, "points": plan.points, "budget_s": plan.fill_budget_s}
        filled = run_task(environment, "fill_curves", folder, plan.fill_budget_s + 120, **limits)
        out: dict[str, Any] = run_task(environment, "read_curves", folder, plan.query_budget_s)
        out |= {"fill_s": filled["took_s"], "n_curves": filled["n_curves"], "bytes": size(folder)}
    expected = filled["n_curves"] * plan.points
    if out["n_points"] != expected:
        raise TaskError(f"{out['n_points']} of {expected} points read")
    out["for_all_s"] = out["took_s"] * plan.curves / filled["n_curves"]
    return out

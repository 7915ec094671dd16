"""One task of one tool, in the interpreter that the tool is installed in: ``worker.py TOOL TASK JSON``.

The task's result is written as JSON into the file that the arguments name, because tools print what they like.
Standard library only, beside the tool itself.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from array import array
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import work

WARM_REPEATS, WARM_WITHIN_S = 3, 20.0


def throughput(tool: Any, folder: Path, given: dict[str, Any]) -> dict[str, Any]:
    """Log as fast as it goes, until ``calls`` are done or ``budget_s`` is over; then finish."""
    todo = work.calls(given["calls"])
    run = tool.Live(folder, work.params(0))
    log, clock, took = run.log, time.perf_counter_ns, array("q")
    began = before = clock()
    give_up = began + int(given["budget_s"] * 1e9)
    for step, metrics in enumerate(todo):
        log(metrics, step)
        after = clock()
        took.append(after - before)
        if after > give_up:
            break
        before = after
    calls_s = (clock() - began) / 1e9
    run.finish()
    all_s = (clock() - began) / 1e9
    return {"n_calls": len(took), "calls_s": calls_s, "all_s": all_s, **quantiles(took)}


def paced(tool: Any, folder: Path, given: dict[str, Any]) -> dict[str, Any]:
    """Log every ``every_s`` seconds, as a training does, and time the calls."""
    todo = work.calls(given["calls"])
    run = tool.Live(folder, work.params(0))
    clock, took = time.perf_counter_ns, array("q")
    give_up = clock() + int(given["budget_s"] * 1e9)
    for step, metrics in enumerate(todo):
        before = clock()
        run.log(metrics, step)
        took.append(clock() - before)
        if clock() > give_up:
            break
        time.sleep(given["every_s"])
    run.finish()
    return {"n_calls": len(took), **quantiles(took)}


def killed(tool: Any, folder: Path, given: dict[str, Any]) -> dict[str, Any]:
    """Log every 5 ms and acknowledge each call by one byte on a pipe, until killed."""
    todo = work.calls(10_000)
    run = tool.Live(folder, work.params(0))
    for step, metrics in enumerate(todo):
        run.log(metrics, step)
        os.write(given["pipe"], b".")
        time.sleep(given["every_s"])
    raise SystemExit("nobody killed this process")


def count(tool: Any, folder: Path, given: dict[str, Any]) -> dict[str, Any]:
    """Count the log calls that a process which knows nothing of the writer finds."""
    return {"n_calls": tool.count(folder)}


def compact(tool: Any, folder: Path, given: dict[str, Any]) -> dict[str, Any]:
    """Let the tool compact its store."""
    tool.compact(folder)
    return {}


def fill(tool: Any, folder: Path, given: dict[str, Any]) -> dict[str, Any]:
    """Fill a store with runs."""
    began = time.monotonic()
    n = tool.fill(folder, given["runs"], began + given["budget_s"])
    return {"n_runs": n, "took_s": time.monotonic() - began}


def top(tool: Any, folder: Path, given: dict[str, Any]) -> dict[str, Any]:
    """Filter, sort and limit: first from the start of the process, then again in it."""
    store = tool.Reader(folder)
    answer, figures = asked(store.top, given["spawned_ns"])
    return {"answer": answer, **figures}


def listing(tool: Any, folder: Path, given: dict[str, Any]) -> dict[str, Any]:
    """List all runs."""
    store = tool.Reader(folder)
    n, figures = asked(store.list_all, given["spawned_ns"])
    return {"n_runs": n, **figures}


def fill_curves(tool: Any, folder: Path, given: dict[str, Any]) -> dict[str, Any]:
    """Fill a store with long curves."""
    began = time.monotonic()
    n = tool.fill_curves(folder, given["curves"], given["points"], began + given["budget_s"])
    return {"n_curves": n, "took_s": time.monotonic() - began}


def read_curves(tool: Any, folder: Path, given: dict[str, Any]) -> dict[str, Any]:
    """Read all long curves, once: the second time a cache might answer."""
    store = tool.Reader(folder)
    began = time.perf_counter()
    n_points = store.read_curves()
    return {"n_points": n_points, "took_s": time.perf_counter() - began, "peak_mb": peak_mb()}


def asked(call: Callable[[], Any], spawned_ns: int) -> tuple[Any, dict[str, float]]:
    """Return the answer, and how long it took from the start of the process and in a process that has asked before.

    What takes longer than ``WARM_WITHIN_S`` is not asked again: its first time stands for the later ones.
    """
    took: list[float] = []
    answer = cold_s = None
    while len(took) < 1 + WARM_REPEATS and sum(took) < WARM_WITHIN_S:
        began = time.perf_counter()
        answer = call()
        took.append(time.perf_counter() - began)
        if cold_s is None:
            cold_s = (time.monotonic_ns() - spawned_ns) / 1e9
    later = sorted(took[1:] or took)
    return answer, {"cold_s": cold_s or 0.0, "warm_s": later[(len(later) - 1) // 2], "peak_mb": peak_mb()}


def quantiles(nanoseconds: array[int]) -> dict[str, float]:
    ordered = sorted(nanoseconds)

    def at(q: float) -> float:
        return ordered[min(int(q * len(ordered)), len(ordered) - 1)] / 1e3

    return {"p50_us": at(0.5), "p99_us": at(0.99), "max_us": ordered[-1] / 1e3}


def peak_mb() -> float:
    kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kib / (1024 * 1024 if sys.platform == "darwin" else 1024)


TASKS = {
    task.__name__: task
    for task in (throughput, paced, killed, count, compact, fill, top, listing, fill_curves, read_curves)
}


def main() -> None:
    name, task, text = sys.argv[1:]
    given = json.loads(text)
    tool = import_module(f"tools.{name}")
    result = TASKS[task](tool, Path(given["folder"]), given)
    part = Path(given["result"] + ".part")
    part.write_text(json.dumps(result))
    part.rename(given["result"])


if __name__ == "__main__":
    main()

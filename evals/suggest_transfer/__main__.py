"""How much sooner good runs are found with a past: suggestions on 34 + 17 tasks, each time the others being the past.

Our sampler with the other tasks as the past, without it, random search, and Optuna's samplers, at equal budgets and
seeds, through the public ``suggest``. Reads ``yahpo/lcbench`` (a surrogate of 34 OpenML tasks) and ``arlbench`` (real
runs of 17 environments) under $ADVISOR_EVAL_DATA or ../shared/data; docs/benchmarks-suggest.md says what is measured.

The design of the sampler was chosen on the tasks of lcbench with an even index and seeds 100 and up, and on arlbench
with seeds 100 to 139; how little an unlike past is trusted, with a look at seeds 0 to 29 of arlbench; from where
outcomes count as far behind, with a look at all tasks of lcbench, seeds 100 to 107. Here seeds start at 0, and the
other half of the tasks of lcbench ("unseen") has its own table.

    python evals/suggest_transfer [--quick] [--only lcbench,arlbench] [--methods transfer,tpe] [--jobs 2] [--out PATH]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import report
from methods import METHODS
from play import Cell, Result, play_all
from problems import ROOT, benchmark, missing

BENCHMARKS = ("lcbench", "arlbench")
MOST, MANY, FEW = tuple(range(60)), tuple(range(5)), (0,)
"""Seeds. Searches of one environment of ARLBench differ by more than methods do: five seeds leave errors of 0.03."""
FULL = (
    *(Cell("lcbench", method, 50, MANY) for method in ("transfer", "cold", "random", "tpe")),
    *(Cell("lcbench", method, 30, FEW) for method in ("naive", "neighbour", "shuffled", "five", "twenty", "least")),
    Cell("lcbench", "gp", 30, FEW),
    *(Cell("arlbench", method, 50, MOST) for method in ("transfer", "cold", "random", "tpe", "least")),
    *(Cell("arlbench", method, 30, FEW) for method in ("naive", "neighbour", "shuffled", "five", "group")),
    Cell("arlbench", "whole", 30, MANY),
    Cell("arlbench", "gp", 30, FEW),
)
QUICK = (
    *(Cell("lcbench", method, 30, FEW) for method in ("transfer", "cold", "random", "tpe", "naive")),
    *(Cell("arlbench", method, 30, FEW) for method in ("transfer", "cold", "random", "tpe", "least")),
)
QUICK_EVERY = {"lcbench": slice(1, None, 6), "arlbench": slice(1, None, 4)}
"""Tasks, in their order, that the quick mode takes: six unseen ones of lcbench, one of each group of arlbench."""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few tasks, one seed, 30 runs: under 5 minutes")
    parser.add_argument("--only", help=f"benchmarks, by comma: {', '.join(BENCHMARKS)}")
    parser.add_argument("--methods", help=f"by comma: {', '.join(METHODS)}")
    parser.add_argument("--seeds", type=int, metavar="N", help="at most so many seeds, from 0")
    parser.add_argument("--budget", type=int, metavar="N", help="at most so many runs a search")
    parser.add_argument("--jobs", type=int, default=2, help="processes; 2 by default")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "evals" / "suggest_transfer.json")
    return parser.parse_args()


def listed(text: str | None, allowed: Sequence[str]) -> list[str]:
    names = list(allowed) if text is None else text.split(",")
    unknown = [name for name in names if name not in allowed]
    if unknown:
        raise SystemExit(f"{unknown[0]!r} is not one of {', '.join(allowed)}")
    return names


def cells_of(given: argparse.Namespace) -> list[Cell]:
    benchmarks, methods = listed(given.only, BENCHMARKS), listed(given.methods, tuple(METHODS))
    cells = [cell for cell in (QUICK if given.quick else FULL) if cell.benchmark in benchmarks]
    cells = [
        replace(cell, seeds=cell.seeds[: given.seeds], budget=min(cell.budget, given.budget or cell.budget))
        for cell in cells
        if cell.method in methods
    ]
    skipped = {name: why for name in benchmarks if (why := missing(name)) is not None}
    for why in skipped.values():
        print(why)
    return [cell for cell in cells if cell.benchmark not in skipped]


def tasks_of(cells: Sequence[Cell], *, quick: bool) -> Mapping[str, Sequence[str]]:
    """Return the tasks of each benchmark; what is worked out once for all processes is worked out here."""
    names = {cell.benchmark for cell in cells}
    return {name: benchmark(name).tasks[QUICK_EVERY[name] if quick else slice(None)] for name in names}


def main() -> int:
    given = arguments()
    cells = cells_of(given)
    if not cells:
        return 0
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, "1")  # for the processes to be started: more threads make small matrices slower
    began, load = time.monotonic(), os.getloadavg()
    tasks = tasks_of(cells, quick=given.quick)
    results: list[Result] = []
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    code = 0
    try:
        results.extend(play_all(cells, tasks, given.jobs))  # what was found stays when this is interrupted
    except KeyboardInterrupt:
        code = 130
        print("\ninterrupted; what was found until then:", file=sys.stderr)
        if not results:
            return code
    results.sort(key=lambda one: (one.benchmark, one.method, one.task, one.seed))
    took_s = time.monotonic() - began
    if given.quick:
        for name, chosen in tasks.items():
            print(f"{name}: only {len(chosen)} of {len(benchmark(name).tasks)} tasks, {', '.join(chosen)}")
        print("so few tasks and one seed tell whether something broke, not whether a target holds")
    print(report.text(results))
    print(f"\n{took_s / 60:.1f} minutes; load {load[0]:.1f} before, {os.getloadavg()[0]:.1f} after")
    given.out.parent.mkdir(parents=True, exist_ok=True)
    machine = {"cpus": os.cpu_count(), "python": platform.python_version(), "system": platform.platform()}
    head = {
        "complete": code == 0,
        "quick": given.quick,
        "machine": machine,
        "load_before": load,
        "took_s": took_s,
        "tasks": tasks,
    }
    given.out.write_text(json.dumps({**head, **report.content(results)}, indent=1) + "\n")
    return code


if __name__ == "__main__":
    sys.exit(main())

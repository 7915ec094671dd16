"""Our store beside trackio, wandb (offline), MLflow (SQLite) and Aim: same work, one table and JSON.

Each tool runs in an environment of its own (under build/rivals, made on first use) and in processes of its own, with
its defaults, offline. Logged are four metrics a call; the values, the parameters and the questions are the same.

    python evals/store_rivals [--only advisor,trackio] [--measures logging,kills] [--quick] [--out PATH]

What the lines mean
    calls/s durable       until the calls survive SIGKILL of the process: when log() returned, for a tool of which
                          the kills below lost nothing; when finish returned, for any other
    log() each 5 ms       the same calls at the pace of a training, not in a tight loop
    start-up added        from starting Python to the first step, less that of an empty script; files in cache
    bytes/point           growth per value between a run of one call and the long one; file sizes
    calls lost by a kill  acknowledged but not found by a new process: worst kill, and found/acknowledged of all
    filter+sort+20        params.optimizer = 'adam', by final val_loss, the answer is checked
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import measures
import report
from environments import OURS, ROOT, Environment, pinned, prepare
from measures import Plan
from processes import TaskError, stop_all

DEFAULTS = Plan(
    calls=20_000,
    rounds=3,
    log_budget_s=5.0,
    paced_calls=600,
    startups=4,
    kills=5,
    runs=(1_000, 10_000, 100_000),
    curves=100,
    points=10_000,
    fill_budget_s=120.0,
    query_budget_s=90.0,
)
QUICK = Plan(
    calls=1_000,
    rounds=1,
    log_budget_s=2.0,
    paced_calls=100,
    startups=1,
    kills=1,
    runs=(100, 1_000),
    curves=5,
    points=1_000,
    fill_budget_s=30.0,
    query_budget_s=30.0,
)
MEASURES = ("logging", "paced", "startup", "kills", "runs", "curves")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help=f"tools, by comma: {', '.join((*OURS, *pinned()))}")
    parser.add_argument("--measures", help=f"by comma: {', '.join(MEASURES)}")
    parser.add_argument("--calls", type=int, help=f"log calls of a run, at most; {DEFAULTS.calls} by default")
    parser.add_argument("--runs", help="sizes of the stores that are listed, by comma: 1000,10000,100000")
    parser.add_argument("--kills", type=int, help=f"trainings killed for each tool; {DEFAULTS.kills} by default")
    parser.add_argument("--fill-budget", type=float, metavar="S", help="seconds that filling a store may take")
    parser.add_argument("--seed", type=int, default=0, help="of the instants of the kills")
    parser.add_argument("--quick", action="store_true", help="little of everything, to see that it works")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "evals" / "store_rivals.json")
    parser.add_argument("--environments", type=Path, default=ROOT / "build" / "rivals")
    return parser.parse_args()


def plan_of(given: argparse.Namespace) -> Plan:
    base = vars(QUICK if given.quick else DEFAULTS)
    sizes = given.runs and tuple(int(text) for text in given.runs.replace("_", "").split(","))
    over = {
        "calls": given.calls,
        "runs": sizes,
        "kills": given.kills,
        "fill_budget_s": given.fill_budget,
        "seed": given.seed,
    }
    return Plan(**base | {name: value for name, value in over.items() if value is not None})


def chosen(text: str | None, allowed: tuple[str, ...]) -> list[str]:
    names = list(allowed) if text is None else text.split(",")
    unknown = [name for name in names if name not in allowed]
    if unknown:
        raise SystemExit(f"{unknown[0]!r} is not one of {', '.join(allowed)}")
    return [name for name in allowed if name in names]


def measure_all(environments: list[Environment], wanted: list[str], plan: Plan, raw: dict[str, dict[str, Any]]) -> None:
    """Fill ``raw`` measure by measure, so that an interrupted benchmark still shows what it has."""

    def each(name: str, measure: Callable[[Environment, Plan], Any], tools: list[Environment] = environments) -> None:
        for environment in tools:
            began = time.monotonic()
            raw.setdefault(name, {})[environment.tool] = guarded(measure, environment, plan)
            print(f"{name}: {environment.tool}, {time.monotonic() - began:.0f} s", file=sys.stderr)

    if "logging" in wanted:
        for i in range(plan.rounds):  # one round of all tools after the other: noise of the machine meets all of them
            each(f"logging round {i}", measures.logging)
        parts = [raw.pop(f"logging round {i}") for i in range(plan.rounds)]
        raw["logging"] = {tool: together([part[tool] for part in parts]) for tool in parts[0]}
    for name in ("paced", "startup", "kills"):
        if name in wanted:
            each(name, getattr(measures, name))
    if "curves" in wanted:
        each("curves", measures.curves)
    if "runs" in wanted:
        slow: dict[str, str] = {}
        for n in plan.runs:
            tools = [environment for environment in environments if environment.tool not in slow]
            each(f"runs {n}", lambda environment, plan, n=n: measures.runs(environment, plan, n), tools)
            raw[f"runs {n}"] |= {tool: {"error": error} for tool, error in slow.items()}
            slow |= {tool: r["error"] for tool, r in raw[f"runs {n}"].items() if "error" in r}


def guarded(measure: Callable[[Environment, Plan], Any], environment: Environment, plan: Plan) -> Any:
    """Return what is measured, or why it is not: a tool's trouble is a cell of the table."""
    if environment.error:
        return {"error": environment.error}
    try:
        return measure(environment, plan)
    except TaskError as error:
        return {"error": str(error)}


def together(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    failed = [one["error"] for one in rounds if "error" in one]
    return {"error": failed[0]} if failed else {"rounds": rounds}


def main() -> int:
    given = arguments()
    plan = plan_of(given)
    tools, wanted = chosen(given.only, (*OURS, *pinned())), chosen(given.measures, MEASURES)
    environments = [prepare(tool, given.environments) for tool in tools]
    began, load = time.monotonic(), os.getloadavg()
    raw: dict[str, dict[str, Any]] = {}
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    code = 0
    try:
        measure_all(environments, wanted, plan, raw)
    except KeyboardInterrupt:
        code = 130
        print("interrupted; what was measured until then:", file=sys.stderr)
    finally:
        stop_all()
    rows = report.rows(raw, plan.runs, plan.curves)
    behind = report.lost(rows) if report.OURS in tools else []
    show(environments, rows, behind, raw)
    took_s = time.monotonic() - began
    machine = {
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "system": platform.platform(),
        "load_before": load,
        "load_after": os.getloadavg(),
    }
    print(f"\n{took_s / 60:.1f} minutes; load {load[0]:.1f} before, {os.getloadavg()[0]:.1f} after")
    given.out.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "complete": code == 0,
        "machine": machine,
        "took_s": took_s,
        "plan": vars(plan),
        "tools": {e.tool: {"version": e.version, "error": e.error} for e in environments},
        "table": [vars(row) for row in rows],
        "where_we_lose": behind,
        "raw": raw,
    }
    given.out.write_text(json.dumps(content, indent=1))
    return code


def show(environments: list[Environment], rows: list[report.Row], behind: list[str], raw: report.Raw) -> None:
    print(", ".join(f"{e.tool} {e.version}" for e in environments))
    print(report.table(rows, [e.tool for e in environments]))
    print("\n* best of the line, the bare record aside; – not measured for this tool")
    for reason in report.reasons(raw):
        print(f"  {reason}")
    if report.OURS not in {e.tool for e in environments}:
        return
    print("\nWhere we lose")
    for text in behind or ["in nothing that was measured"]:
        print(f"  {text}")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)

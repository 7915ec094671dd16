"""Advice to stop, replayed on real trainings as if they ran one after another: what it saves, and what it costs.

    python evals/stopping.py [--quick] [--only deepobs,algoperf,arlbench,lcbench] [--out PATH]

Of each experiment, runs are drawn in random order, and each asks after every tenth of the siblings' usual length
what ``Experiment._advise`` asks: ``should_stop`` with the forecast. A run that is advised to stop ends there and
teaches nothing; all others end and are siblings of those to come. Nothing of a run's future is looked at.

What is printed, each over all replays of a source: the share of the stopped runs whose true end would have been better
than every run that had finished by then ("best so far"; Wilson interval, and a bootstrap over replays), and than every
run of the replay ("best of all"); computation saved, in steps; and the regret: how far the best finished run is behind
what it would have been with nothing stopped, as a share of the distance from the median to the best end. Runs that are
stopped because their objective is not finite are left out: there nothing is foretold.
Rivals: Optuna's MedianPruner alone with the same start-up and warm-up; never stopping saves 0 and regrets 0.
No threshold was chosen on these figures: the chance of 1 in 20 is what the advice promises.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from curve_tasks import SOURCES, Task, tasks_of
from scipy.stats import binomtest

from advisor.suggest import forecast_run, should_stop
from advisor.suggest.curve_features import first_part, length_of
from storage.records import Curve, Run, RunState

N_RUNS = 40
N_BOOTSTRAP = 2000
POLICIES = ("forecast", "median rule")


def replay(task: Task, seed: int, policy: str) -> dict[str, Any]:
    """Return what became of one random order of runs under one policy."""
    order = np.random.default_rng([seed, len(task.name)]).permutation(len(task.runs))[:N_RUNS]
    runs, finished = [task.runs[i] for i in order], list[Run]()
    out: dict[str, Any] = {"source": task.source, "task": task.name, "seed": seed, "policy": policy}
    stopped: list[tuple[Run, bool]] = []
    used = total = 0.0
    for run in runs:
        curve = task.curve(run)
        whole = length_of(curve)
        at = _stops_at(task, run, curve, finished, policy)
        total += whole
        used += whole if at is None else at
        if at is None:
            finished.append(run)
        else:
            best = max((task.sign * other.values[0] for other in finished), default=-math.inf)
            stopped.append((run, task.sign * run.values[0] > best))
    ends = np.array([task.sign * run.values[0] for run in runs])
    best_kept = max(task.sign * run.values[0] for run in finished)
    out |= {"n": len(runs), "stopped": len(stopped), "best_so_far": sum(was for _, was in stopped)}
    out["best_of_all"] = sum(task.sign * run.values[0] >= ends.max() for run, _ in stopped)
    out["saved"] = 1 - used / total
    out["regret"] = float((ends.max() - best_kept) / ((ends.max() - np.median(ends)) or 1.0))
    return out


def _stops_at(task: Task, run: Run, curve: Curve, finished: Sequence[Run], policy: str) -> float | None:
    """Return the length after which a run is stopped, None if it never is."""
    if not finished:
        return None
    usual = float(np.median([length_of(task.curve(other)) for other in finished]))
    live = replace(run, state=RunState.RUNNING, values=())
    others = [task.curve(other) for other in finished]
    for k in range(1, 10):
        length = math.ceil(usual * k / 10 - 1e-9)
        if length >= length_of(curve):
            return None
        part = first_part(curve, length)
        if not math.isfinite(part.last):  # counted neither way: the rule for values that are not finite is no forecast
            continue
        known = {other.id: task.curves[other.id] for other in finished}
        known[live.id] = {task.objective.metric: part}

        def forecast(at: float, known: Any = known) -> Any:
            return forecast_run(task.experiment, live, known, finished, at=at)[0]

        if should_stop(task.experiment, part, others, forecast=forecast if policy == "forecast" else None):
            return length_of(part)
    return None


def figures(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    stopped, wrong = np.array([r["stopped"] for r in rows]), np.array([r["best_so_far"] for r in rows])
    n, k = int(stopped.sum()), int(wrong.sum())
    ends = binomtest(k, max(n, 1)).proportion_ci(method="wilson")
    rng = np.random.default_rng(0)
    drawn = rng.integers(len(rows), size=(N_BOOTSTRAP, len(rows)))
    shares = wrong[drawn].sum(axis=1) / np.maximum(stopped[drawn].sum(axis=1), 1)
    return {
        "replays": len(rows),
        "stopped": n,
        "stopped_share": n / sum(r["n"] for r in rows),
        "best_so_far": k / max(n, 1),
        "wilson": [float(ends.low), float(ends.high)],
        "bootstrap": np.quantile(shares, [0.025, 0.975]).tolist(),
        "best_of_all": sum(r["best_of_all"] for r in rows) / max(n, 1),
        "saved": float(np.mean([r["saved"] for r in rows])),
        "regret": float(np.mean([r["regret"] for r in rows])),
        "replays_without_regret": float(np.mean([r["regret"] <= 0 for r in rows])),
    }


def show(source: str, policy: str, f: dict[str, Any]) -> None:
    print(
        f"{source:10s}{policy:13s}{f['stopped']:6d} of {f['replays']:3d} replays ({f['stopped_share']:4.0%})  "
        f"best so far {f['best_so_far']:.3f} [{f['wilson'][0]:.3f}, {f['wilson'][1]:.3f}] "
        f"bootstrap [{f['bootstrap'][0]:.3f}, {f['bootstrap'][1]:.3f}]  of all {f['best_of_all']:.3f}  "
        f"saved {f['saved']:4.0%}  regret {f['regret']:.3f}, none in {f['replays_without_regret']:.0%}"
    )
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one seed instead of five")
    parser.add_argument("--only", default=",".join(SOURCES))
    parser.add_argument("--out", type=Path, help="write the figures here as JSON")
    args = parser.parse_args()
    seeds, every = range(1 if args.quick else 5), list[dict[str, Any]]()
    summary: dict[str, Any] = {}
    for source in args.only.split(","):
        tasks = tasks_of(source)
        for policy in POLICIES if tasks else ():
            rows = [replay(task, seed, policy) for task in tasks for seed in seeds]
            every += rows
            summary[f"{source}, {policy}"] = figures(rows)
            show(source, policy, summary[f"{source}, {policy}"])
    for policy in POLICIES:
        rows = [row for row in every if row["policy"] == policy]
        if rows:
            summary[f"all, {policy}"] = figures(rows)
            show("all", policy, summary[f"all, {policy}"])
    if args.out:
        args.out.write_text(json.dumps({"summary": summary, "rows": every}, indent=1, default=float), encoding="utf-8")
        print(f"written to {args.out}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

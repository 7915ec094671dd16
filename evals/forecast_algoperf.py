"""How well the end of real trainings is foretold from their first part, on AlgoPerf and three other sources.

    python evals/forecast_algoperf.py [--quick] [--only algoperf,deepobs,arlbench,lcbench] [--out PATH]

In each repeat 20 finished runs of an experiment, drawn at random, are known, and others are forecast from 10 %, 30 %
and 50 % of their own length with ``advisor.suggest.forecast_run``. Nothing is learned from other experiments, so no
variant of a workload can leak into another: this is leaving out the family, and more. Scale, ranks and parameters come
from the 20 known runs. Errors are reported on a scale that uses the whole task, for the report only: 0 is the median
first value, 1 the best final one, cut off to [0, 1].

The design (what a leaf of the forest tells, and its size) was chosen on AlgoPerf's librispeech and ogbg with seeds from
100 on. One choice came later, after a look at all figures: by how much the plain rule must be better to be taken. It
was made on librispeech, ogbg and DeepOBS, seeds 100-105. What is done with runs beyond the finished ones, the ranks and
the share of errors out of bag were chosen on librispeech, ogbg, DeepOBS, six tasks of ARLBench and three of LCBench,
seeds 100-109; that runs behind alone are read by their gain was settled there after one look at seeds 0-14. The seeds
here are 0-14, and 0-4 of the sources with many tasks.

Rivals: the last value seen, the limit of the best power law, and the last value plus the siblings' median gain.
Differences are paired by task and seed; their intervals are a bootstrap over families, then rows of a family.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from curve_tasks import SOURCES, Task, tasks_of
from scipy.stats import rankdata, spearmanr

from advisor.suggest import forecast_run
from advisor.suggest.curve_features import extrapolated, first_part, length_of, reduced
from storage.records import Run

N_KNOWN = 20
N_ASKED = 100
N_SEEDS = {"algoperf": 15, "deepobs": 15}
"""Repeats of the sources with few tasks, of which single repeats differ by a tenth; 5 of the others."""
AT = (0.1, 0.3, 0.5)
N_BOOTSTRAP = 2000
RIVALS = ("last", "power law", "gain")
LABELS = ("source", "family", "task", "seed", "at")


class Report:
    """The scale of one task that errors are told on: 0 the median first value, 1 the best final one."""

    def __init__(self, task: Task) -> None:
        ends = task.sign * np.array([run.values[0] for run in task.runs])
        curves = [task.curve(run).values for run in task.runs]
        zero = float(np.median([task.sign * values[np.isfinite(values)][0] for values in curves]))
        self.sign, self.one = task.sign, float(ends.max())
        self.zero = zero if zero < self.one else float(ends.min())

    def __call__(self, values: Any) -> Any:
        return np.clip((self.sign * np.asarray(values, dtype=float) - self.zero) / (self.one - self.zero), 0, 1)


def measure(task: Task, seed: int, at: float, n_asked: int) -> dict[str, Any]:
    """Return the figures of one task, seed and fraction, by method."""
    order = np.random.default_rng([seed, len(task.name)]).permutation(len(task.runs))
    known = [task.runs[i] for i in order[:N_KNOWN]]
    asked = [task.runs[i] for i in order[N_KNOWN : N_KNOWN + n_asked]]
    gain = np.median([run.values[0] - seen(task, run, at) for run in known])
    made, took = [], []
    for run in asked:
        began = time.perf_counter()
        forecast = forecast_run(task.experiment, run, task.curves, known, at=at)[0]
        took.append(time.perf_counter() - began)
        if forecast is not None:
            made.append((run, forecast))
    y = np.array([run.values[0] for run, _ in made])
    last = np.array([seen(task, run, at) for run, _ in made])
    guesses = {
        "forecast": np.array([forecast.mean for _, forecast in made]),
        "last": last,
        "power law": np.array([power_law(task, run, at) for run, _ in made]),
        "gain": last + gain,
    }
    report = Report(task)
    top = task.sign * y >= np.quantile(task.sign * y, 0.9)
    beats = task.sign * y > max(task.sign * run.values[0] for run in known)
    inside = [forecast.low <= run.values[0] <= forecast.high for run, forecast in made]
    constant = float(((1 / (len(known) + 1) - beats) ** 2).mean())  # what is known before: one of n + 1 is the best
    p_best = np.array([forecast.p_best for _, forecast in made], dtype=float)
    out: dict[str, Any] = dict(zip(LABELS, (task.source, task.family, task.name, seed, at), strict=True))
    out |= {"n": len(made), "share_forecast": len(made) / len(asked)}
    out |= {"cold_s": max(took), "warm_s": float(np.median(took)), "coverage": float(np.mean(inside))}
    out["width"] = float(np.mean([abs(report(forecast.high) - report(forecast.low)) for _, forecast in made]))
    out["model_share"] = float(np.mean([forecast.method == "curve-model" for _, forecast in made]))
    out |= {"brier": float(((p_best - beats) ** 2).mean()), "brier_base": constant}
    for name, guess in guesses.items():
        out[f"mae {name}"] = float(np.abs(report(guess) - report(y)).mean())
        out[f"rho {name}"] = float(spearmanr(guess, y)[0]) if np.ptp(guess) > 0 and np.ptp(y) > 0 else 0.0
        out[f"auc {name}"] = auc(task.sign * guess, top)
    return out


def seen(task: Task, run: Run, at: float) -> float:
    """Return the last finite value by then, the first finite one of all where there is none."""
    curve = task.curve(run)
    value = reduced(first_part(curve, at * length_of(curve)), "last", task.objective)
    return float(curve.values[np.isfinite(curve.values)][0]) if value is None else value


def power_law(task: Task, run: Run, at: float) -> float:
    """Return the limit of the best power law, fitted to values scaled to their own range."""
    curve = task.curve(run)
    part = first_part(curve, at * length_of(curve))
    values = part.values[np.isfinite(part.values)]
    if values.size < 4 or not np.ptp(values) > 0:
        return seen(task, run, at)
    times = (part.steps[np.isfinite(part.values)] - part.steps[0] + 1.0) / (part.steps[-1] - part.steps[0] + 1.0)
    return float(extrapolated(times, (values - values.min()) / np.ptp(values)) * np.ptp(values) + values.min())


def auc(score: Any, top: Any) -> float:
    n_top = int(top.sum())
    if n_top in (0, len(top)):
        return float("nan")
    return float((rankdata(score)[top].sum() - n_top * (n_top + 1) / 2) / (n_top * (len(top) - n_top)))


def difference(rows: Sequence[Mapping[str, Any]], ours: str, theirs: str) -> tuple[float, float, float]:
    """Return the mean paired difference and its 95 % bootstrap interval over families, then rows of a family."""
    by_family: dict[str, list[float]] = {}
    for row in rows:
        by_family.setdefault(row["family"], []).append(row[ours] - row[theirs])
    rng, groups = np.random.default_rng(0), [np.array(values) for values in by_family.values()]
    means = []
    for _ in range(N_BOOTSTRAP):
        chosen = [groups[k] for k in rng.integers(len(groups), size=len(groups))]
        means.append(np.concatenate([group[rng.integers(len(group), size=len(group))] for group in chosen]).mean())
    low, high = np.quantile(means, [0.025, 0.975])
    return float(np.concatenate(groups).mean()), float(low), float(high)


def table(source: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    print(f"\n{source}: {len({r['task'] for r in rows})} tasks, {len({r['seed'] for r in rows})} seeds")
    print(f"{'seen':>5s} {'method':10s}{'MAE':>8s}{'rho':>8s}{'AUC':>8s}   forecast minus it: MAE [95 %], rho [95 %]")
    out: dict[str, Any] = {}
    for at in AT:
        here = [row for row in rows if row["at"] == at]
        mean: dict[str, Any] = {k: float(np.nanmean([row[k] for row in here])) for k in here[0] if k not in LABELS}
        for name in ("forecast", *RIVALS):
            line = f"{at:5.0%} {name:10s}" + "".join(f"{mean[f'{what} {name}']:8.3f}" for what in ("mae", "rho", "auc"))
            for what in ("mae", "rho") if name != "forecast" else ():
                found = difference(here, f"{what} forecast", f"{what} {name}")
                mean[f"difference {what} {name}"] = found
                line += "   {:+.3f} [{:+.3f}, {:+.3f}]".format(*found)
            print(line)
        print(
            f"      coverage {mean['coverage']:.3f}, width {mean['width']:.3f}; Brier of P(best) {mean['brier']:.4f}, "
            f"of 1 / (known + 1) {mean['brier_base']:.4f}; model used in {mean['model_share']:.0%}; "
            f"warm {1e3 * mean['warm_s']:.1f} ms, cold {mean['cold_s']:.2f} s"
        )
        out[f"{at:.0%}"] = mean
    for name in dict.fromkeys(row["task"] for row in rows):
        mine = [row for row in rows if row["task"] == name and row["at"] == AT[1]]
        keys = ("mae forecast", "mae gain", "rho forecast", "rho last", "coverage")
        print(
            f"  {AT[1]:.0%} {name:32s}" + ", ".join(f"{key} {np.nanmean([r[key] for r in mine]):.3f}" for key in keys)
        )
    return out


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two seeds, 40 runs asked instead of 100")
    parser.add_argument("--only", default=",".join(SOURCES))
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="write the figures here as JSON")
    args = parser.parse_args()
    summary, every = {}, []
    for source in args.only.split(","):
        tasks = tasks_of(source)
        seeds = range(args.first_seed, args.first_seed + (2 if args.quick else N_SEEDS.get(source, 5)))
        rows = [measure(task, s, at, 40 if args.quick else N_ASKED) for task in tasks for s in seeds for at in AT]
        if rows:
            summary[source] = table(source, rows)
            every += rows
            sys.stdout.flush()
    if args.out:
        args.out.write_text(json.dumps({"summary": summary, "rows": every}, indent=1), encoding="utf-8")
        print(f"written to {args.out}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

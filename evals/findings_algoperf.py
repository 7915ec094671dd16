"""False alarms on some 2,000 real trainings of which hardly any is broken, and what it costs to score 10,000.

    python evals/findings_algoperf.py [--quick] [--out PATH]

AlgoPerf's submissions: workloads, tuned by their authors, no cause is labelled. Runs of one workload are siblings. What
is told here is mostly a false alarm; runs that are visibly broken (NaN, or end well above their best) are left out.
No choice about unusual curves was made on these runs; thresholds of the spike rule were. Reads ``algoperf/`` under
$ADVISOR_EVAL_DATA or ../shared/data.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from advisor.findings import check_experiment
from advisor.findings.features import features
from advisor.findings.forest import Population, isolate
from advisor.findings.learned import shipped
from storage.records import Curve, Experiment, Objective, Run, RunState

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LEVELS = (0.01, 0.05, 0.10)
N_BOOTSTRAP = 2000
N_SCALE, N_POINTS = 10_000, 100
QUICK = 3
"""Workloads in the quick mode."""


def groups(folder: Path) -> dict[str, list[Run]]:
    """Return runs by workload."""
    import pandas as pd

    out: dict[str, list[Run]] = {}
    for row in pd.read_parquet(folder / "runs.parquet").itertuples(index=False):
        mine = out.setdefault(row.experiment, [])
        run = Run(
            row.run_id,
            number=len(mine),
            experiment=row.experiment,
            state=RunState(row.state),
            params=json.loads(row.params),
            created=NOW,
        )
        mine.append(run)
    return out


def curves_of(folder: Path) -> dict[str, dict[str, Curve]]:
    import pandas as pd

    out: dict[str, dict[str, Curve]] = {}
    for run_id, metric, steps, values in pd.read_parquet(folder / "curves.parquet")[
        ["run_id", "metric", "steps", "values"]
    ].itertuples(index=False):
        out.setdefault(run_id, {})[metric] = Curve.of(metric, steps, values)
    return out


def is_broken(curves: dict[str, Curve]) -> bool:
    """Return whether anybody sees it: values that are not finite, or a validation loss that ends far above its best."""
    for name, curve in curves.items():
        if "loss" not in name or not len(curve):
            continue
        if not np.isfinite(curve.values).all():
            return True
        if "val" in name and curve.values[-1] > 1.5 * curve.values.min() > 0:
            return True
    return False


def false_alarms(folder: Path, n_groups: int | None) -> dict[str, Any]:
    curves = curves_of(folder)
    known = sorted(groups(folder).items())[:n_groups]
    told: Counter[str] = Counter()
    p_values: list[tuple[int, float, bool]] = []  # workload, p, whether a rule warns of the run
    n_runs = n_compared = n_broken = 0
    began = time.perf_counter()
    for which, (name, runs) in enumerate(known):
        mine = {run.id: curves.get(run.id, {}) for run in runs}
        metrics = Counter(metric for one in mine.values() for metric in one)
        objective = next((m for m in ("validation/loss", "loss") if metrics[m] > len(runs) / 2), None)
        objectives = (Objective(objective, "minimize"),) if objective else ()
        checked = check_experiment(Experiment(name, number=0, objectives=objectives, created=NOW), runs, mine, now=NOW)
        broken = {run.id for run in runs if is_broken(mine[run.id])}
        n_runs, n_broken = n_runs + len(runs), n_broken + len(broken)
        entries = [e for e in checked.scores if e.p_value is not None and e.run_id not in broken]
        warned = {f.run_id for f in checked.findings if f.detector == "rules" and f.severity.rank > 0}
        p_values += [(which, e.p_value, e.run_id in warned) for e in entries if e.p_value is not None]
        n_compared += len(entries)
        by_run: dict[str, set[str]] = {}
        for finding in checked.findings:
            if finding.run_id not in broken:
                kind = "rules" if finding.detector == "rules" else "unusual"
                by_run.setdefault(finding.run_id, set()).add(f"{kind}: {finding.severity.value}")
        told.update(kind for kinds in by_run.values() for kind in kinds)
    took = time.perf_counter() - began
    print(
        f"{n_runs} runs of {len(known)} workloads, {n_broken} visibly broken and left out, "
        f"{n_compared} compared; {took:.0f} s"
    )
    out: dict[str, Any] = {"n_runs": n_runs, "n_broken": n_broken, "n_compared": n_compared, "seconds": took}
    n_sound = n_runs - n_broken
    for kind, n in sorted(told.items()):
        out[kind] = n / n_sound
        print(f"{kind:22s}{n:6d} of {n_sound} runs ({n / n_sound:.1%})")
    for label, chosen in (("compared", p_values), ("of which no rule warns", [p for p in p_values if not p[2]])):
        for level in LEVELS:
            realised, (low, high) = realised_rate(chosen, level)
            out[f"{label}: p <= {level}"] = {"value": realised, "interval": (low, high)}
            times = f"{realised / level:.2f} times what is promised"
            print(f"p <= {level:.2f}: {realised:.3f} [{low:.3f}, {high:.3f}] of {len(chosen)} {label}, {times}")
    return out


def realised_rate(p_values: Sequence[tuple[int, float, bool]], level: float) -> tuple[float, tuple[float, float]]:
    """Return the share of p-values of at most ``level``, and its 95 % bootstrap interval over workloads."""
    workload, small = np.array([p[0] for p in p_values]), np.array([p[1] <= level for p in p_values])
    counts = np.array([(small[workload == w].sum(), (workload == w).sum()) for w in np.unique(workload)])
    drawn = counts[np.random.default_rng(0).integers(len(counts), size=(N_BOOTSTRAP, len(counts)))].sum(axis=1)
    low, high = np.quantile(drawn[:, 0] / drawn[:, 1], [0.025, 0.975])
    return float(small.mean()), (float(low), float(high))


def scale() -> dict[str, Any]:
    """Print and return the seconds of one core to score many runs of one experiment."""
    rng = np.random.default_rng(0)
    steps = np.arange(N_POINTS)
    seen, params = [], []
    for _ in range(N_SCALE):
        lr = float(10 ** rng.uniform(-4, -1))
        fall = np.exp(-np.linspace(0, 1 + np.log10(lr / 1e-5) / 2, N_POINTS))
        noise = np.exp(0.03 * rng.standard_normal((2, N_POINTS)))
        seen.append(
            {
                name: Curve.of(name, steps, fall * part)
                for name, part in zip(("train_loss", "val_loss"), noise, strict=True)
            }
        )
        params.append({"lr": lr, "width": int(rng.integers(16, 512))})
    objective = Objective("val_loss", "minimize")
    began = time.process_time()
    figures = np.array([features(one, objective=objective) for one in seen])
    middle = time.process_time()
    population = Population(figures, params=params, sound=np.ones(N_SCALE, dtype=bool))
    isolate(population, shipped().views[1.0])
    ended = time.process_time()
    # The limit that no scoring passes: reading each value once, here by numpy's sort of the same curves.
    for one in seen:
        for curve in one.values():
            np.sort(curve.values)
    floor = time.process_time() - ended
    print(
        f"{N_SCALE} runs of {N_POINTS} points and 2 curves: figures {middle - began:.1f} s, context, forests, head "
        f"{ended - middle:.1f} s of one core; together {(ended - began) / floor:.0f} times sorting each curve once"
    )
    return {"figures_s": middle - began, "scores_s": ended - middle, "sort_s": floor}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few groups of siblings only")
    parser.add_argument("--out", type=Path, help="write the figures here as JSON")
    given = parser.parse_args()
    folder = (
        Path(os.environ.get("ADVISOR_EVAL_DATA", Path(__file__).parents[1] / ".." / "shared" / "data")) / "algoperf"
    )
    report: dict[str, Any] = {"scale": scale()}
    if (folder / "runs.parquet").is_file():
        report["false_alarms"] = false_alarms(folder, QUICK if given.quick else None)
    else:
        print(f"skipped: there is no {folder}/runs.parquet; set ADVISOR_EVAL_DATA to the folder that holds algoperf/")
    if given.out:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        print(f"written to {given.out}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

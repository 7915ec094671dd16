"""How well findings tell a learning rate that is too high, on 540 real trainings whose cause is known.

    python evals/findings_deepobs.py --out findings.json

Reads ``deepobs/`` under $ADVISOR_EVAL_DATA or ../shared/data. The label is the cause, not the curve: healthy is
0.1-2.6 times the best learning rate of the problem and optimizer, too high >= 10 times, too low <= 1/100; the
rest is left out. "Best" is ambiguous, so both readings are reported: the one that the authors repeated with
further seeds, and the one with the lowest final test loss. The head learned from other trainings
(``findings_injected``). Nothing is fitted to these labels, but which runs define what is usual was chosen while
looking at them, so unseen problems may come out lower. Recall is that at 5 % false alarms, of the finite ones.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from advisor.findings import check_experiment
from advisor.findings.features import features
from storage.records import Curve, Experiment, Objective, Run, RunState

NOW = datetime(2026, 1, 1, tzinfo=UTC)
OBJECTIVE = Objective("test_loss", "minimize")
N_BOOTSTRAP = 1000
MIX = 0.125
"""Share of faults in the mixed reading: few faults among many healthy runs, as in most sweeps."""
N_MIXES = 5


def data_folder() -> Path:
    return Path(os.environ.get("ADVISOR_EVAL_DATA", Path(__file__).parents[1] / ".." / "shared" / "data")) / "deepobs"


def load(folder: Path) -> tuple[dict[str, list[Run]], dict[str, dict[str, Curve]]]:
    import pandas as pd

    curves: dict[str, dict[str, Curve]] = {}
    for run_id, metric, steps, values in pd.read_parquet(folder / "curves.parquet").itertuples(index=False):
        curves.setdefault(run_id, {})[metric] = Curve.of(metric, steps, values)
    runs: dict[str, list[Run]] = {}
    for row in pd.read_parquet(folder / "runs.parquet").itertuples(index=False):
        mine = runs.setdefault(row.experiment, [])
        mine.append(
            Run(
                row.run_id,
                number=len(mine),
                experiment=row.experiment,
                state=RunState(row.state),
                params=json.loads(row.params),
                created=NOW,
            )
        )
    return runs, curves


def labels(runs: Sequence[Run], curves: Mapping[str, Mapping[str, Curve]], *, by: str) -> dict[str, str]:
    """Return healthy, high or low by run; runs between are left out."""
    out: dict[str, str] = {}
    for optimizer in {run.params["optimizer"] for run in runs}:
        group = [run for run in runs if run.params["optimizer"] == optimizer]
        best = _repeated(group) if by == "repeated" else _lowest(group, curves)
        for run in group:
            ratio = run.params["lr"] / best
            if 0.0999 <= ratio <= 2.6:
                out[run.id] = "healthy"
            elif ratio >= 9.99:
                out[run.id] = "high"
            elif ratio <= 0.01001:
                out[run.id] = "low"
    return out


def _repeated(group: Sequence[Run]) -> float:
    rates = [round(float(run.params["lr"]), 12) for run in group]
    return max(sorted(set(rates)), key=rates.count)


def _lowest(group: Sequence[Run], curves: Mapping[str, Mapping[str, Curve]]) -> float:
    ends = {run.id: curves[run.id][OBJECTIVE.metric].last for run in group}
    best = min((run for run in group if np.isfinite(ends[run.id])), key=lambda run: ends[run.id])
    return float(best.params["lr"])


def scores_of(runs: Sequence[Run], curves: Mapping[str, Mapping[str, Curve]]) -> tuple[dict[str, Any], float]:
    """Return every detector's scores by run, and the seconds of the check."""
    experiment = Experiment(runs[0].experiment, number=0, objectives=(OBJECTIVE,), created=NOW)
    began = time.perf_counter()
    checked = check_experiment(experiment, runs, curves, now=NOW)
    took = time.perf_counter() - began
    score = {entry.run_id: entry.score for entry in checked.scores}
    forest = {entry.run_id: entry.forest or 0.0 for entry in checked.scores}
    head = {entry.run_id: entry.head or 0.0 for entry in checked.scores}
    ruled = {f.run_id for f in checked.findings if f.severity.rank > 0 and f.detector == "rules"}
    unusual = {f.run_id for f in checked.findings if f.detector == "isolation-forest"}
    z = sibling_z(np.array([features(curves[run.id], objective=OBJECTIVE) for run in runs]), runs)
    ids = [run.id for run in runs]
    ends = [curves[i][OBJECTIVE.metric].last for i in ids]
    return {
        "full stack (rules, forests, head)": score,
        "isolation forests alone": forest,
        "learned head alone": head,
        "plain forest on sibling z": dict(zip(ids, plain_forest(z), strict=True)),
        "max |z|": dict(zip(ids, np.abs(z).max(axis=1), strict=True)),
        "LOF": dict(zip(ids, local_outliers(z), strict=True)),
        "ECOD": dict(zip(ids, empirical_tails(z), strict=True)),
        "final objective": dict(zip(ids, np.where(np.isfinite(ends), ends, np.inf), strict=True)),
        "ruled": ruled,
        "unusual": unusual,
    }, took


def sibling_z(values: np.ndarray, runs: Sequence[Run]) -> np.ndarray:
    """Return plain robust z within the optimizer, floored; what the baselines see."""
    values = values[:, ~np.isnan(values).all(axis=0)]  # no gradient norms here
    out = np.zeros_like(values)
    optimizers = np.array([run.params["optimizer"] for run in runs])
    pooled = np.nanmedian(np.abs(values - np.nanmedian(values, axis=0)), axis=0)
    for optimizer in np.unique(optimizers):
        rows = optimizers == optimizer
        centre = np.nanmedian(values[rows], axis=0)
        spread = 1.4826 * np.nanmedian(np.abs(values[rows] - centre), axis=0)
        scale = np.fmax(np.fmax(spread, 0.3 * pooled), 0.05)
        out[rows] = np.clip((values[rows] - centre) / scale, -12, 12)
    return np.asarray(np.nan_to_num(out))


def plain_forest(z: np.ndarray) -> np.ndarray:
    from sklearn.ensemble import IsolationForest

    return np.asarray(-IsolationForest(n_estimators=200, random_state=0).fit(z).score_samples(z))


def local_outliers(z: np.ndarray) -> np.ndarray:
    from sklearn.neighbors import LocalOutlierFactor

    return np.asarray(-LocalOutlierFactor(n_neighbors=20).fit(z).negative_outlier_factor_)


def empirical_tails(z: np.ndarray) -> np.ndarray:
    """Return ECOD (Z. Li et al., IEEE TKDE 2022): sums of -log tail probabilities, either tail or the one by skew."""
    n = len(z)
    ranks = np.apply_along_axis(lambda column: np.searchsorted(np.sort(column), column, side="right"), 0, z)
    below = -np.log(ranks / (n + 1))
    above = -np.log(
        (n + 1 - np.apply_along_axis(lambda c: np.searchsorted(np.sort(c), c, side="left"), 0, z)) / (n + 1)
    )
    skew = ((z - z.mean(axis=0)) ** 3).mean(axis=0)
    automatic = np.where(skew < 0, below, above)
    return np.asarray(np.maximum.reduce([below.sum(axis=1), above.sum(axis=1), automatic.sum(axis=1)]))


def auc(healthy: np.ndarray, faulty: np.ndarray) -> float:
    """Return the share of pairs in which the fault scores higher; ties count half."""
    if not healthy.size or not faulty.size:
        return float("nan")
    return float((faulty[:, None] > healthy[None, :]).mean() + 0.5 * (faulty[:, None] == healthy[None, :]).mean())


def interval(healthy: np.ndarray, faulty: np.ndarray, rng: np.random.Generator) -> tuple[float, float]:
    if not healthy.size or not faulty.size:
        return float("nan"), float("nan")
    drawn = [auc(rng.choice(healthy, healthy.size), rng.choice(faulty, faulty.size)) for _ in range(N_BOOTSTRAP)]
    low, high = np.percentile(drawn, [2.5, 97.5])
    return float(low), float(high)


def measure(
    scores: Mapping[str, Any], label: Mapping[str, str], keep: Callable[[str], bool], rng: np.random.Generator
) -> dict[str, Any]:
    """Return AUC by detector, and what the findings catch, over the runs to keep."""
    healthy = [run_id for run_id, kind in label.items() if kind == "healthy" and keep(run_id)]
    high = [run_id for run_id, kind in label.items() if kind == "high" and keep(run_id)]
    low = [run_id for run_id, kind in label.items() if kind == "low" and keep(run_id)]
    out: dict[str, Any] = {"n_healthy": len(healthy), "n_high": len(high), "n_low": len(low), "auc": {}}
    for name, by_run in scores.items():
        if isinstance(by_run, dict):
            a, b = (np.array([by_run[run_id] for run_id in ids]) for ids in (healthy, high))
            out["auc"][name] = {"value": auc(a, b), "interval": interval(a, b, rng)}
            out["auc"][name]["recall at 5 %"] = float((b > np.quantile(a, 0.95)).mean()) if b.size else float("nan")
    for name in ("ruled", "unusual"):
        hits = scores[name]
        out[name] = {kind: len(hits & set(ids)) for kind, ids in (("healthy", healthy), ("high", high), ("low", low))}
    return out


def mixed(
    runs: Sequence[Run], curves: Mapping[str, Mapping[str, Curve]], label: Mapping[str, str]
) -> dict[str, list[float]]:
    """Return AUC where only one run in eight is faulty, over several draws of the faults."""
    out: dict[str, list[float]] = {}
    for draw in range(N_MIXES):
        rng = np.random.default_rng(draw)
        healthy = [run for run in runs if label.get(run.id) == "healthy"]
        high = [run for run in runs if label.get(run.id) == "high"]
        n = min(len(high), round(len(healthy) * MIX / (1 - MIX)))
        cast = healthy + [high[i] for i in rng.permutation(len(high))[:n]]
        scores, _ = scores_of(cast, curves)
        for name, by_run in scores.items():
            if isinstance(by_run, dict):
                a, b = (
                    np.array([by_run[run.id] for run in cast if label[run.id] == kind]) for kind in ("healthy", "high")
                )
                out.setdefault(name, []).append(auc(a, b))
    return out


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, help="write the figures here as JSON")
    args = parser.parse_args()
    folder = data_folder()
    if not (folder / "runs.parquet").is_file():
        print(f"skipped: there is no {folder}/runs.parquet; set ADVISOR_EVAL_DATA to the folder that holds deepobs/")
        return 0
    runs, curves = load(folder)
    rng = np.random.default_rng(0)
    report: dict[str, Any] = {}
    for experiment, mine in sorted(runs.items()):
        scores, took = scores_of(mine, curves)
        entry: dict[str, Any] = {"seconds": took}
        finite = {run.id for run in mine if all(np.isfinite(c.values).all() for c in curves[run.id].values())}
        for by in ("repeated", "lowest"):
            label = labels(mine, curves, by=by)
            entry[by] = {
                "all": measure(scores, label, lambda _: True, rng),
                "finite": measure(scores, label, finite.__contains__, rng),
            }
        entry["mixed"] = mixed(mine, curves, labels(mine, curves, by="repeated"))
        report[experiment] = entry
        show(experiment, entry)
    total(report)
    if args.out:
        args.out.write_text(json.dumps(report, indent=1), encoding="utf-8")
        print(f"written to {args.out}", file=sys.stderr)
    return 0


def show(experiment: str, entry: Mapping[str, Any]) -> None:
    part = entry["repeated"]["all"]
    print(f"\n{experiment}: {part['n_healthy']} healthy, {part['n_high']} too high, {part['n_low']} too low; ", end="")
    print(f"check took {entry['seconds']:.1f} s")
    print(f"{'ROC-AUC, too high against healthy':34s}{'all':>20s}{'finite only':>20s}{'other best':>12s}{'1 in 8':>8s}")
    for name in part["auc"]:
        cells = []
        for sub in ("all", "finite"):
            figures = entry["repeated"][sub]["auc"][name]
            low, high = figures["interval"]
            cells.append(f"{figures['value']:.3f} [{low:.2f}, {high:.2f}]")
        other = entry["lowest"]["all"]["auc"][name]["value"]
        print(f"{name:34s}{cells[0]:>20s}{cells[1]:>20s}{other:12.3f}{np.mean(entry['mixed'][name]):8.3f}")


def total(report: Mapping[str, Any]) -> None:
    for what, words in (("ruled", "rules: a warning or error"), ("unusual", "forest: an unusual curve")):
        counts = {"healthy": [0, 0], "high": [0, 0], "low": [0, 0]}
        for entry in report.values():
            for kind, pair in counts.items():
                pair[0] += entry["repeated"]["all"][what][kind]
                pair[1] += entry["repeated"]["all"][f"n_{kind}"]
        cells = [f"{kind} {hit} of {n} ({hit / max(n, 1):.1%})" for kind, (hit, n) in counts.items()]
        print(f"{words:28s}" + " · ".join(cells))
    for name in next(iter(report.values()))["mixed"]:
        means = [
            np.nanmean([entry[by][sub]["auc"][name]["value"] for entry in report.values()])
            for by, sub in (("repeated", "all"), ("repeated", "finite"), ("lowest", "all"))
        ]
        mix = np.mean([np.mean(entry["mixed"][name]) for entry in report.values()])
        recalls = [entry["repeated"]["finite"]["auc"][name]["recall at 5 %"] for entry in report.values()]
        print(
            f"mean {name:34s} all {means[0]:.3f} · finite {means[1]:.3f}, recall at 5 % {np.nanmean(recalls):.2f}"
            f" · other best {means[2]:.3f} · 1 in 8 {mix:.3f}"
        )


if __name__ == "__main__":
    raise SystemExit(main())

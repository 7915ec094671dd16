"""Which real runs meet the condition of a topic, from their curves and parameters alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

FOLDERS = ("algoperf", "deepobs")
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Real:
    """One real run."""

    run_id: str
    experiment: str
    params: Mapping[str, Any]
    curves: Mapping[str, Values]

    def first(self, *metrics: str) -> Values:
        return next((self.curves[name] for name in metrics if name in self.curves), np.empty(0))

    @property
    def train(self) -> Values:
        return self.first("train/loss", "train/ctc_loss", "train_loss")

    @property
    def held_out(self) -> Values:
        return self.first("validation/loss", "validation/ctc_loss", "test_loss")

    @property
    def lr(self) -> float:
        return float(self.params.get("lr") or self.params.get("learning_rate") or np.nan)


def load(data: Path) -> list[Real]:
    """Read the runs of both folders, in the order of their ids."""
    out = []
    for folder in FOLDERS:
        table = pq.read_table(data / folder / "curves.parquet", columns=["run_id", "metric", "values"])
        curves: dict[str, dict[str, Values]] = {}
        for run_id, metric, values in zip(*(table.column(i).to_pylist() for i in range(3)), strict=True):
            curves.setdefault(run_id, {})[metric] = np.array(values, dtype=np.float64)
        for row in pq.read_table(data / folder / "runs.parquet").to_pylist():
            params = json.loads(row["params"])
            out.append(Real(row["run_id"], row["experiment"], params, curves.get(row["run_id"], {})))
    return sorted(out, key=lambda run: run.run_id)


def candidates(runs: list[Real]) -> dict[str, list[str]]:
    """Return, by topic, the ids of the runs that meet its condition."""
    ranks = _ranks(runs)
    durations = {name: _median_duration(runs, name) for name in {run.experiment for run in runs}}
    best_lr = _best_lr(runs)
    decay = np.nanquantile([float(run.params.get("weight_decay") or np.nan) for run in runs], 0.75)

    def finite(run: Real) -> bool:
        return run.held_out.size >= 5 and bool(np.isfinite(run.held_out).all())

    def share_up(run: Real) -> float:
        return float(np.mean(np.diff(run.held_out) > 0))

    def best_at(run: Real) -> float:
        return float(np.argmin(run.held_out)) / max(len(run.held_out) - 1, 1)

    meets: dict[str, Callable[[Real], bool]] = {
        "nan": lambda r: any(not np.isfinite(v).all() for v in r.curves.values()),
        "diverged": lambda r: finite(r) and r.held_out[-1] > 1.2 * r.held_out[0],
        "overfit": lambda r: finite(r) and r.held_out[-1] > 1.03 * r.held_out.min() and 0.05 < best_at(r) < 0.9,
        "never learned": lambda r: finite(r) and r.held_out.min() > 0.95 * r.held_out[0],
        "plateau": lambda r: finite(r) and best_at(r) < 0.5 and r.held_out[-1] < 1.1 * r.held_out.min(),
        "spike": lambda r: finite(r) and bool((np.diff(np.log(np.maximum(r.held_out, 1e-9))) > 0.4).any()),
        "oscillating": lambda r: finite(r) and share_up(r) > 0.42,
        "undertrained": lambda r: finite(r) and best_at(r) >= 0.98,
        "slow": lambda r: _duration(r) > 1.2 * durations[r.experiment],
        "winner": lambda r: ranks.get(r.run_id, 1.0) < 0.12,
        "poor": lambda r: finite(r) and ranks.get(r.run_id, 0.0) > 0.75,
        "lr too high": lambda r: r.lr > 10 * best_lr[r.experiment],
        "lr too low": lambda r: r.lr < best_lr[r.experiment] / 20,
        "gradients": lambda r: _grows(r.first("grad_norm")),
        "test gap": lambda r: _gap(r) > 0.02,
        "short": lambda r: 0 < r.first("score", "train_loss").size <= 12,
        "regularised": lambda r: float(r.params.get("weight_decay") or 0) >= decay,
        "fast": lambda r: (
            finite(r) and bool((r.held_out[: max(len(r.held_out) // 5, 2)] < 1.1 * r.held_out.min()).any())
        ),
        "seeds": lambda r: "trial" in r.run_id or "study" in r.run_id,
        "warmup": lambda r: float(r.params.get("warmup_factor") or r.params.get("warmup_steps_fraction") or 0) >= 0.05,
    }
    return {topic: [run.run_id for run in runs if condition(run)] for topic, condition in meets.items()}


def _ranks(runs: list[Real]) -> dict[str, float]:
    """Return each run's place by its lowest held-out loss within its experiment: 0 the best, 1 the worst."""
    out: dict[str, float] = {}
    for name in {run.experiment for run in runs}:
        of = [run for run in runs if run.experiment == name and np.isfinite(run.held_out).any()]
        of.sort(key=lambda run: float(np.nanmin(run.held_out[np.isfinite(run.held_out)])))
        out |= {run.run_id: i / max(len(of) - 1, 1) for i, run in enumerate(of)}
    return out


def _best_lr(runs: list[Real]) -> dict[str, float]:
    ranks = _ranks(runs)
    out = {}
    for name in {run.experiment for run in runs}:
        of = [run for run in runs if run.experiment == name and np.isfinite(run.lr)]
        out[name] = min(of, key=lambda run: ranks.get(run.run_id, 1.0)).lr if of else float("nan")
    return out


def _duration(run: Real) -> float:
    values = run.first("total_duration")
    return float(values[-1]) if values.size else float("nan")


def _median_duration(runs: list[Real], name: str) -> float:
    known = [_duration(run) for run in runs if run.experiment == name]
    known = [each for each in known if np.isfinite(each)]
    return float(np.median(known)) if known else float("inf")


def _grows(norms: Values) -> bool:
    norms = norms[np.isfinite(norms)]
    return norms.size > 10 and norms[-norms.size // 4 :].mean() > 2 * norms[: norms.size // 4].mean()


def _gap(run: Real) -> float:
    validation = run.first("validation/accuracy", "validation/mean_average_precision")
    test = run.first("test/accuracy", "test/mean_average_precision")
    return float(validation[-1] - test[-1]) if validation.size and test.size else float("nan")

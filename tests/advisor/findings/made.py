"""Curves and runs for the tests of findings, made from formulas with fixed seeds."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from storage.records import Curve, Experiment, Objective, Run, RunState

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
OBJECTIVE = Objective("val_loss", "minimize")
EXPERIMENT = Experiment("made", number=0, objectives=(OBJECTIVE,), created=NOW)


def a_run(run_id: str = "r0", *, state: RunState = RunState.FINISHED, **params: Any) -> Run:
    return Run(
        run_id,
        number=0,
        experiment="made",
        state=state,
        params=params,
        created=NOW - timedelta(hours=1),
        started=NOW - timedelta(hours=1),
    )


def a_curve(metric: str, values: Any, *, seconds: float | None = None) -> Curve:
    array = np.asarray(values, dtype=np.float64)
    times = None if seconds is None else (np.arange(array.size) + 1) * seconds
    return Curve.of(metric, np.arange(array.size), array, times)


def a_loss(n: int = 60, *, rate: float = 3.0, floor: float = 0.1, noise: float = 0.01, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    clean = floor + 2.3 * np.exp(-rate * np.arange(n) / n)
    return clean * np.exp(noise * rng.standard_normal(n))


def healthy(seed: int = 0, *, n: int = 60) -> Mapping[str, Curve]:
    rate = 2.5 + 0.2 * np.random.default_rng(seed).standard_normal()
    return {
        "train_loss": a_curve("train_loss", a_loss(n, rate=rate, seed=seed)),
        "val_loss": a_curve("val_loss", a_loss(n, rate=rate, floor=0.2, seed=seed + 1000)),
    }

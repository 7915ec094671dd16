"""Trainings as the store would give them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np
from population import Row

from storage.records import Curve, Objective, Run, RunState

NOW: Final = datetime(2026, 1, 1, tzinfo=UTC)
OBJECTIVE: Final = Objective("val_loss", "minimize")
SHARE: Final = 0.125
"""Of faulty runs in a sweep."""
COLUMNS: Final = {"loss": "train_loss", "grad_norm": "grad_norm", "val_loss": "val_loss", "val_score": "val_accuracy"}


def as_run(row: Row) -> tuple[Run, dict[str, Curve]]:
    """Return a training as the store would give it."""
    seconds = np.cumsum(row.curves["seconds"], dtype=np.float64)
    n = seconds.size
    curves = {}
    for kept, metric in COLUMNS.items():
        values = row.curves[kept].astype(np.float64)
        steps = np.arange(n // values.size - 1, n, n // values.size)
        curves[metric] = Curve.of(metric, steps, values, seconds[steps])
    run = Run(
        f"{row.task}-{row.number}",
        number=row.number,
        experiment=row.task,
        state=RunState.FINISHED,
        params=row.params,
        values=(float(curves[OBJECTIVE.metric].values[-1]),),
        created=NOW,
        started=NOW,
        ended=NOW + timedelta(seconds=float(seconds[-1])),
    )
    return run, curves

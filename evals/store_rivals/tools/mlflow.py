"""MLflow on SQLite, its default since 3.7: one commit a call.

Stores are filled by inserts into its own tables, since its API takes milliseconds a call; reading uses the client.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import work

ENVIRONMENT = {
    "MLFLOW_TRACKING_URI": "sqlite:///{folder}/mlflow.db",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "GIT_PYTHON_REFRESH": "quiet",
}
STARTUP = """
import mlflow
mlflow.set_experiment("bench")
run = mlflow.start_run()
mlflow.log_params({{"lr": 0.1, "optimizer": "adam"}})
"""
STARTUP_END = "mlflow.end_run()"
NOT_OFFERED: dict[str, str] = {}
RUNS_AT_ONCE = 1000


class Live:
    def __init__(self, folder: Path, params: Mapping[str, object]) -> None:
        import mlflow

        self._mlflow = mlflow
        mlflow.set_experiment(work.PROJECT)
        mlflow.start_run()
        mlflow.log_params(dict(params))

    def log(self, metrics: dict[str, float], step: int) -> None:
        self._mlflow.log_metrics(metrics, step=step)

    def finish(self) -> None:
        self._mlflow.end_run()


def count(folder: Path) -> int:
    reader = Reader(folder)
    found = reader.client.search_runs([reader.experiment_id])
    if not found:
        return 0
    (run,) = found
    steps = [{m.step for m in reader.client.get_metric_history(run.info.run_id, name)} for name in work.METRICS]
    return len(set.intersection(*steps))


def fill(folder: Path, n: int, deadline: float) -> int:
    return _insert(((k, work.short_curve(k)) for k in range(n)), deadline, at_once=RUNS_AT_ONCE)


def fill_curves(folder: Path, n: int, points: int, deadline: float) -> int:
    return _insert(((k, list(work.long_curve(k, points))) for k in range(n)), deadline, at_once=1)


def _insert(runs: Iterator[tuple[int, list[float]]], deadline: float, *, at_once: int) -> int:
    """Insert rows as the tracking store leaves them, some runs a commit."""
    import mlflow
    from mlflow.store.tracking.dbmodels import models
    from sqlalchemy import create_engine

    experiment_id = int(mlflow.set_experiment(work.PROJECT).experiment_id)
    engine = create_engine(mlflow.get_tracking_uri())
    tables = (models.SqlRun, models.SqlParam, models.SqlTag, models.SqlMetric, models.SqlLatestMetric)
    now, n, over = int(time.time() * 1000), 0, False
    while not over:
        rows: dict[Any, list[dict[str, Any]]] = {table: [] for table in tables}
        for _ in range(at_once):
            k, values = next(runs, (-1, []))
            if k < 0 or over:
                over = True
                break
            for table, of_run in zip(tables, _rows(k, values, experiment_id, now), strict=True):
                rows[table] += of_run
            n += 1
        with engine.begin() as db:
            for table, found in rows.items():
                if found:
                    db.execute(table.__table__.insert(), found)
        over = over or time.monotonic() > deadline
    engine.dispose()
    return n


def _rows(k: int, values: list[float], experiment_id: int, now: int) -> tuple[list[dict[str, Any]], ...]:
    run_id = f"{k:032x}"
    run = {
        "run_uuid": run_id,
        "name": f"run-{k}",
        "source_type": "LOCAL",
        "source_name": "train.py",
        "entry_point_name": "",
        "user_id": "user",
        "status": "FINISHED",
        "start_time": now + k,
        "end_time": now + k,
        "source_version": "",
        "lifecycle_stage": "active",
        "artifact_uri": f"mlruns/{experiment_id}/{run_id}/artifacts",
        "experiment_id": experiment_id,
    }
    params = [{"run_uuid": run_id, "key": key, "value": str(value)} for key, value in work.params(k).items()]
    tags = [
        {"run_uuid": run_id, "key": key, "value": value}
        for key, value in (
            ("mlflow.runName", f"run-{k}"),
            ("mlflow.user", "user"),
            ("mlflow.source.name", "train.py"),
            ("mlflow.source.type", "LOCAL"),
        )
    ]
    metrics = [
        {"run_uuid": run_id, "key": "val_loss", "value": value, "timestamp": now + i, "step": i, "is_nan": False}
        for i, value in enumerate(values)
    ]
    return [run], params, tags, metrics, metrics[-1:]


class Reader:
    def __init__(self, folder: Path) -> None:
        from mlflow import MlflowClient

        self.client = MlflowClient()
        experiment = self.client.get_experiment_by_name(work.PROJECT)
        self.experiment_id = experiment.experiment_id

    def top(self) -> list[float]:
        found = self.client.search_runs(
            [self.experiment_id],
            filter_string="params.optimizer = 'adam'",
            order_by=["metrics.val_loss ASC"],
            max_results=work.LIMIT,
        )
        return [run.data.metrics["val_loss"] for run in found]

    def _runs(self) -> Iterator[Any]:
        token = None
        while True:
            page = self.client.search_runs([self.experiment_id], max_results=10_000, page_token=token)
            yield from page
            token = page.token
            if not token:
                return

    def list_all(self) -> int:
        return sum(1 for _ in self._runs())

    def read_curves(self) -> int:
        return sum(len(self.client.get_metric_history(run.info.run_id, "val_loss")) for run in self._runs())

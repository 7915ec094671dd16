"""Write the fixtures of MLflow with MLflow itself, and what its own client then says of them.

In an environment of its own, once a release (``-P``, since this file has the name of the package)::

    python -m venv mlflow-env && mlflow-env/bin/pip install mlflow==3.18.0
    MLFLOW_ALLOW_FILE_STORE=true mlflow-env/bin/python -P tests/data/sources/make/mlflow.py files tests/data/sources
    mlflow-env/bin/python -P tests/data/sources/make/mlflow.py sqlite tests/data/sources
    mlflow-env/bin/python -P tests/data/sources/make/mlflow.py server tests/data/sources

The last one makes ``served.db`` where it is run, see ``mlflow_server.py``. Folders:
``mlflow-<release>-files`` (3.18.0, 1.30.1) and ``mlflow-<release>-sqlite`` (3.18.0, 2.3.2),
``mlflow-3.18.0-server``.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import sqlite3
import sys
from pathlib import Path
from typing import Any

import mlflow
from mlflow.entities import Metric, Param, RunTag, ViewType
from mlflow.tracking import MlflowClient

START_MS = 1_760_000_000_000


def main(kind: str, out: str) -> None:
    """Write one folder of fixtures."""
    served = f"sqlite:///{Path.cwd()}/served.db"
    folder = Path(out).resolve() / f"mlflow-{mlflow.__version__}-{kind}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    os.chdir(folder)
    uri = {"sqlite": "sqlite:///mlflow.db", "server": served}.get(kind, (folder / "mlruns").as_uri())
    client = MlflowClient(tracking_uri=uri)
    mlflow.set_tracking_uri(uri)
    deleted = write(client, n_points=2_500 if kind == "files" and mlflow.__version__.startswith("3") else 200)
    (folder / "expected.json").write_text(json.dumps(said(client), ensure_ascii=False))
    for path in folder.rglob("artifacts"):
        shutil.rmtree(path, ignore_errors=True)
    shutil.rmtree(folder / "mlartifacts", ignore_errors=True)
    print(folder, "deleted", deleted)
    if kind == "sqlite":
        shrink(folder / "mlflow.db")
        shutil.rmtree(folder / "mlruns", ignore_errors=True)
    elif kind == "files":
        relative(folder)


def write(client: MlflowClient, n_points: int) -> str:
    """Log runs of all kinds; return the id of a deleted one."""
    first = (
        client.create_experiment("Überraschung: 1 #x", tags={"mlflow.note.content": "what for", "team": "vision"})
        if hasattr(client, "search_experiments")
        else client.create_experiment("Überraschung: 1 #x")
    )
    client.set_experiment_tag(first, "mlflow.experiment.primaryMetric.name", "val/loss")
    client.set_experiment_tag(first, "mlflow.experiment.primaryMetric.greaterIsBetter", "False")
    parent = start(client, first, "parent", {})
    client.set_terminated(parent, "FINISHED", START_MS + 9_000_000)

    full = start(
        client,
        first,
        "long run",
        {
            "mlflow.parentRunId": parent,
            "mlflow.source.git.commit": "a" * 40,
            "mlflow.user": "ann",
            "mlflow.source.name": "train.py",
            "mlflow.source.type": "LOCAL",
            "mlflow.note.content": "first try\nof many",
            "baseline": "true",
            "team": "vision",
            "empty": "",
            "api_key": "abc123secret",
            "long": "x" * 300,
        },
    )
    params = {
        "lr": 0.1,
        "batch_size": 32,
        "nesterov": True,
        "schedule": None,
        "opt": "adam",
        "eps": 1e-8,
        "wd": "1e-3",
        "version": "3.10",
        "leading": "007",
        "model.depth": 3,
        "model.seed": 7,
        "unicode ü": "日本語 \u202e",
        "list": [1, 2, 3],
        "hostile": "'; DROP TABLE runs; --",
        "big": 2**70,
        "nan": math.nan,
    }
    client.log_batch(full, params=[Param(name, str(value)) for name, value in params.items()])
    points = [Metric("train/loss", round(1 / (1 + i), 5), START_MS + 10 * i, i) for i in range(n_points)]
    for begin in range(0, n_points, 500):
        client.log_batch(full, metrics=points[begin : begin + 500])
    odd = (1.0, math.nan, math.inf, -math.inf, 5e-324, -0.0, 1e300)
    client.log_batch(full, metrics=[Metric("val/loss", v, START_MS + 1000 * i, 100 * i) for i, v in enumerate(odd)])
    client.log_batch(full, metrics=[Metric("a b-c.d", 2.0, START_MS, 0), Metric("train/deep/er", -1.5, START_MS, -3)])
    client.set_terminated(full, "FINISHED", START_MS + 60_000)

    resumed = start(client, first, "resumed", {})
    client.log_batch(resumed, metrics=[Metric("loss", 3.0 - i, START_MS + i, i) for i in range(5)])
    client.log_batch(resumed, metrics=[Metric("loss", 9.0 - i, START_MS + 100 + i, 3 + i) for i in range(5)])
    client.set_terminated(resumed, "FINISHED", START_MS + 10)

    other = client.create_experiment("other")
    for status in ("FAILED", "KILLED", None):
        run = start(client, other, f"run {status}", {})
        client.log_batch(run, metrics=[Metric("loss", 0.5, START_MS + 5, 1)], params=[Param("lr", "0.2")])
        if status:
            client.set_terminated(run, status, START_MS + 7_000)
    deleted = start(client, other, "deleted", {})
    client.delete_run(deleted)
    gone = client.create_experiment("gone")
    start(client, gone, "in a deleted experiment", {})
    client.delete_experiment(gone)
    with_data(client, other)
    return deleted


def start(client: MlflowClient, experiment: str, name: str, tags: dict[str, str]) -> str:
    """Create a run."""
    tags = {"mlflow.runName": name, **tags}
    return client.create_run(experiment, start_time=START_MS, tags=tags).info.run_id


def with_data(client: MlflowClient, experiment: str) -> None:
    """Log a run with a data set and metrics about it, where this release knows data sets."""
    try:
        from mlflow.entities import Dataset, DatasetInput, InputTag
    except ImportError:
        return
    run = start(client, experiment, "with data", {})
    dataset = Dataset("iris", "8d0f1d8e", "local", "{}", schema="{}", profile="{}")
    client.log_inputs(run, [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])])
    try:
        told = [
            Metric("acc", 0.5 + i / 10, START_MS + i, i, dataset_name="iris", dataset_digest="8d0f1d8e")
            for i in range(3)
        ]
    except TypeError:
        told = [Metric("acc", 0.5 + i / 10, START_MS + i, i) for i in range(3)]
    client.log_batch(run, metrics=told, tags=[RunTag("k", "v")])
    client.set_terminated(run, "FINISHED", START_MS + 5)


def said(client: MlflowClient) -> dict[str, Any]:
    """Return what MLflow's client says of all runs that are not deleted."""
    known = client.search_experiments() if hasattr(client, "search_experiments") else client.list_experiments()
    names = {each.experiment_id: each.name for each in known}
    runs = client.search_runs(list(names), run_view_type=ViewType.ACTIVE_ONLY, max_results=1000)
    return {"tool": f"mlflow {mlflow.__version__}", "runs": [one(client, run, names) for run in runs]}


def one(client: MlflowClient, run: Any, names: dict[str, str]) -> dict[str, Any]:
    """Return one run as JSON."""
    curves = {}
    for metric in run.data.metrics:
        history = client.get_metric_history(run.info.run_id, metric)
        curves[metric] = {
            "steps": [point.step for point in history],
            "values": [point.value for point in history],
            "times": [(point.timestamp - START_MS) / 1000 for point in history],
        }
    inputs = getattr(getattr(run, "inputs", None), "dataset_inputs", [])
    return {
        "id": run.info.run_id,
        "experiment": names[run.info.experiment_id],
        "name": run.data.tags.get("mlflow.runName"),
        "status": run.info.status,
        "end_ms": run.info.end_time,
        "params": dict(run.data.params),
        "tags": {k: v for k, v in run.data.tags.items() if not k.startswith("mlflow.log")},
        "datasets": [[each.dataset.name, each.dataset.digest] for each in inputs],
        "curves": curves,
    }


def shrink(path: Path) -> None:
    """Make a database of hundreds of kB smaller: tables of other things are dropped, as an older schema lacks them."""
    keep = {
        "experiments",
        "runs",
        "metrics",
        "latest_metrics",
        "params",
        "tags",
        "experiment_tags",
        "datasets",
        "inputs",
        "input_tags",
        "alembic_version",
    }
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA foreign_keys=OFF")
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type='table'")]
        for name in tables:
            if name not in keep and not name.startswith("sqlite_"):
                database.execute(f'DROP TABLE "{name}"')
        database.execute("UPDATE runs SET artifact_uri = 'file:///data/mlruns/' || run_uuid || '/artifacts'")
        database.execute("UPDATE experiments SET artifact_location = 'file:///data/mlruns/' || experiment_id")
        database.execute("DELETE FROM latest_metrics WHERE 0")
    database = sqlite3.connect(path)
    database.execute("PRAGMA page_size = 1024")
    database.execute("VACUUM")
    database.close()


def relative(folder: Path) -> None:
    """Write a neutral place into files that name the folder they were made in."""
    for path in folder.rglob("meta.yaml"):
        path.write_text(path.read_text(encoding="utf-8").replace(folder.as_uri(), "file:///data"), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])

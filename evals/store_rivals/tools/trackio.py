"""Trackio, local: one SQLite file a project, filled by a thread every half second.

Reading goes through what its command line and dashboard use: ``query_project`` (SQL), run records and configs.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import work

ENVIRONMENT = {
    "TRACKIO_DIR": "{folder}/trackio",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "GRADIO_ANALYTICS_ENABLED": "False",
}
STARTUP = """
import trackio
run = trackio.init(project="bench", config={{"lr": 0.1, "optimizer": "adam"}})
"""
STARTUP_END = "run.finish()"
NOT_OFFERED: dict[str, str] = {}
TOP = f"""
SELECT json_extract(CAST(m.metrics AS TEXT), '$.val_loss') AS value
FROM configs c JOIN metrics m ON m.run_id = c.run_id
WHERE json_extract(CAST(c.config AS TEXT), '$.optimizer') = 'adam'
  AND m.step = (SELECT MAX(x.step) FROM metrics x WHERE x.run_id = c.run_id)
ORDER BY value LIMIT {work.LIMIT}
"""


class Live:
    def __init__(self, folder: Path, params: Mapping[str, object]) -> None:
        import trackio

        self._run = trackio.init(project=work.PROJECT, config=dict(params))

    def log(self, metrics: dict[str, float], step: int) -> None:
        self._run.log(metrics, step=step)

    def finish(self) -> None:
        self._run.finish()


def count(folder: Path) -> int:
    from trackio.sqlite_storage import SQLiteStorage

    records = SQLiteStorage.get_run_records(work.PROJECT)
    if not records:
        return 0
    (record,) = records
    logs = SQLiteStorage.get_logs(work.PROJECT, record["name"], run_id=record["id"])
    return len({row["step"] for row in logs if all(name in row for name in work.METRICS)})


def _insert(runs: Iterator[tuple[int, list[float]]], deadline: float) -> int:
    """Insert rows as ``SQLiteStorage.bulk_log`` does, without checking the schema anew for each run."""
    import sqlite3

    from trackio.sqlite_storage import SQLiteStorage

    path = SQLiteStorage.init_db(work.PROJECT)
    now = datetime.now(UTC).isoformat()
    n = 0
    with sqlite3.connect(path) as db:
        for k, values in runs:
            run_id, name = f"{k:032x}", f"run-{k}"
            points = [
                (now, run_id, name, i, json.dumps({"val_loss": value}).encode(), f"{k:016x}{i:016x}", None)
                for i, value in enumerate(values)
            ]
            db.executemany(
                "INSERT INTO metrics (timestamp, run_id, run_name, step, metrics, log_id, space_id) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                points,
            )
            config = work.params(k) | {"_Username": None, "_Created": now, "_Group": None}
            db.execute(
                "INSERT INTO configs (run_id, run_name, config, created_at) VALUES (?, ?, ?, ?)",
                (run_id, name, json.dumps(config).encode(), now),
            )
            n += 1
            if time.monotonic() > deadline:
                break
    db.close()
    return n


def fill(folder: Path, n: int, deadline: float) -> int:
    return _insert(((k, work.short_curve(k)) for k in range(n)), deadline)


def fill_curves(folder: Path, n: int, points: int, deadline: float) -> int:
    return _insert(((k, list(work.long_curve(k, points))) for k in range(n)), deadline)


class Reader:
    def __init__(self, folder: Path) -> None:
        import trackio
        from trackio.sqlite_storage import SQLiteStorage

        self._storage, self._api = SQLiteStorage, trackio.Api()

    def top(self) -> list[float]:
        return [row["value"] for row in self._storage.query_project(work.PROJECT, TOP)["rows"]]

    def list_all(self) -> int:
        """Return runs with their parameters; final values are not among what it lists."""
        configs = self._storage.get_all_run_configs(work.PROJECT)
        return sum(run.id in configs for run in self._api.runs(work.PROJECT))

    def read_curves(self) -> int:
        runs = [{"run": run.name, "run_id": run.id} for run in self._api.runs(work.PROJECT)]
        found = self._storage.get_logs_batch(work.PROJECT, runs, scalar_only=True)
        return sum("val_loss" in row for run in found for row in run["logs"])

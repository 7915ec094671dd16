"""Write the fixture ``neptune-exporter-8d3f44a``: the Parquet files of Neptune's exporter, without Neptune's server.

The server is gone, so the answers of ``neptune_query`` are stood in for, in the shapes that it documents; everything
after them is the exporter's own code (``ExportManager``, ``Neptune3Exporter``, ``ParquetWriter``), and so is the reader
that ``expected.json`` comes from. Files (``--export files``) are left out. Run it in an environment with pandas,
pyarrow, rich, click, tqdm, neptune and neptune-query, and a checkout of neptune-ai/neptune-exporter::

    python neptune.py CHECKOUT OUT
"""

from __future__ import annotations

import json
import math
import shutil
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

sys.path.insert(0, str(Path(sys.argv[1]) / "src"))

import pandas as pd
from neptune_exporter.export_manager import ExportManager
from neptune_exporter.exporters import neptune3
from neptune_exporter.exporters.error_reporter import ErrorReporter
from neptune_exporter.progress.listeners import NoopProgressListener
from neptune_exporter.storage.parquet_reader import ParquetReader
from neptune_exporter.storage.parquet_writer import ParquetWriter

PROJECT = "größe-lab/toy"
BEGUN = datetime(2025, 3, 1, 12, 0, tzinfo=UTC)


def at(seconds):
    return BEGUN + timedelta(seconds=seconds)


def system(run_id, name, **more):
    return {
        "sys/id": f"TOY-{len(run_id)}",
        "sys/custom_run_id": run_id,
        "sys/name": name,
        "sys/creation_time": BEGUN,
        "sys/modification_time": at(500),
        "sys/ping_time": at(400),
        "sys/owner": "ann",
        "sys/failed": False,
    } | more


RUNS = {
    "good-run/1": {
        "attributes": system("good-run/1", "baseline", **{"sys/tags": {"base", "größe"}, "sys/description": "tried"})
        | {
            "parameters/lr": 3e-4,
            "parameters/batch_size": 128,
            "parameters/seed": 7,
            "parameters/optimizer/name": "adamw <b>",
            "parameters/amp": True,
            "best/accuracy": 0.75,
            "evaluated": at(450),
        },
        "metrics": {
            "train/loss": [(step, 2.0 / (step + 1)) for step in range(2_050)],
            "val/loss": [(0, 1.0), (10, math.nan), (20, math.inf), (30, -math.inf)],
            "верх": [(3, 5.0)],
            "fractional": [(0.25, 1.0), (0.5, 2.0), (1.0, 3.0)],
            "monitoring/cpu": [(0, 50.0)],
        },
        "series": {"words": [(0, "one"), (1, "two")]},
    },
    "failed": {
        "attributes": system("failed", "fails", **{"sys/failed": True}) | {"parameters/lr": 10.0},
        "metrics": {"train/loss": [(step, math.exp(step)) for step in range(30)]},
        "series": {},
    },
}
TYPES = {bool: "bool", int: "int", float: "float", str: "string", datetime: "datetime", set: "string_set"}


def list_runs(project, runs):
    return list(RUNS)


def fetch_runs_table(*, project, runs, attributes, type_suffix_in_column_names, **_):
    """One row a run; a column ``path:type`` for each attribute that any of them has."""
    if "float" not in attributes.type:
        paths = {path for run in runs for path in RUNS[run]["series"]}
        return pd.DataFrame({f"{path}:string_series": ["…"] * len(runs) for path in paths}, index=list(runs))
    rows = {
        run: {
            f"{path}:{TYPES[type(value)]}": sorted(value) if isinstance(value, set) else value
            for path, value in RUNS[run]["attributes"].items()
        }
        for run in runs
    }
    columns = list(dict.fromkeys(name for row in rows.values() for name in row))
    table = pd.DataFrame([[row.get(name) for name in columns] for row in rows.values()], columns=columns, dtype=object)
    table.index = pd.Index(list(rows), name="run")
    return table


def list_attributes(*, project, runs, attributes):
    return sorted({path for run in runs for path in RUNS[run]["metrics"]})


def table_of(kind, runs, paths):
    """Rows (run, step), columns (path, absolute_time | value)."""
    rows = {}
    for run in runs:
        for path in paths:
            for i, (step, value) in enumerate(RUNS[run][kind].get(path, ())):
                rows.setdefault((run, float(step)), {}).update(
                    {(path, "absolute_time"): at(1 + i / 10), (path, "value"): value}
                )
    table = pd.DataFrame.from_dict(rows, orient="index").sort_index()
    table.index = pd.MultiIndex.from_tuples(table.index, names=["run", "step"])
    table.columns = pd.MultiIndex.from_tuples(table.columns)
    return table


def fetch_metrics(*, project, runs, attributes, include_time, **_):
    return table_of("metrics", runs, attributes)


def fetch_series(*, project, runs, attributes, include_time, **_):
    return table_of("series", runs, attributes)


class Listeners:
    def create_live(self):
        from contextlib import nullcontext

        return nullcontext()

    def create_listener(self, live):
        return NoopProgressListener()


def main(out):
    shutil.rmtree(out, ignore_errors=True)
    data = out / "data"
    for name in ("list_runs", "fetch_runs_table", "list_attributes", "fetch_metrics", "fetch_series"):
        setattr(neptune3.nq_runs, name, globals()[name])
    errors = ErrorReporter(out / "errors.jsonl")
    exporter = neptune3.Neptune3Exporter(error_reporter=errors)
    reader = ParquetReader(data)
    ExportManager(exporter, reader, ParquetWriter(data), errors, out / "files", Listeners()).run(
        [PROJECT], export_classes={"parameters", "metrics", "series"}
    )
    runs = {}
    (folder,) = reader.list_project_directories()
    for prefix in reader.list_run_files(folder):
        for table in reader.read_run_data(folder, prefix, attribute_types=["float_series"]):
            for row in table.to_pylist():
                curve = runs.setdefault(row["run_id"], {}).setdefault(
                    row["attribute_path"], {"steps": [], "values": []}
                )
                curve["steps"].append(float(row["step"]))
                value = row["float_value"]
                curve["values"].append(math.nan if value is None else value)  # the exporter writes NaN as nothing
    (out / "expected.json").write_text(
        json.dumps({"runs": [{"id": run, "curves": curves} for run, curves in runs.items()]}, ensure_ascii=False)
    )
    for name in ("errors.jsonl", "files"):
        path = out / name
        print(name, path.read_text() if path.is_file() else list(path.rglob("*")))
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


if __name__ == "__main__":
    main(Path(sys.argv[2]))

"""How fast other tools' runs come into the store, with how much memory, and what a second import costs.

    python evals/sources_import.py [--runs 10000] [--quick] [--out import.json]

Folders are made first: a folder and a database of MLflow's with many short runs, event files of TensorBoard's with few
long ones, and tables. Each import runs in a process of its own: `advisor import` into a new store, then the same once
more, and once after one run in a hundred has grown. Beside it, in the same run, the plainest peer there is reads the
same files without keeping anything: EventAccumulator of TensorBoard, fetchall of sqlite3, pandas.read_csv, or the mere
opening and reading of all files. Peak memory is the import's process, libraries included.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
DATABASE = ROOT / "tests" / "data" / "sources" / "mlflow-3.18.0-sqlite" / "mlflow.db"
METRICS = ("loss", "val_loss", "val_acc")
EXPERIMENTS = 20
META = """artifact_uri: file:///gone/{run}
end_time: {end}
entry_point_name: ''
experiment_id: '{experiment}'
lifecycle_stage: active
run_id: {run}
run_name: run-{i}
run_uuid: {run}
source_name: ''
source_type: 4
source_version: ''
start_time: {start}
status: 3
tags: []
user_id: someone
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--points", type=int, default=50, help="of each of the three metrics of a short run")
    parser.add_argument("--only", help="cases whose name holds this")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        print(json.dumps(measured(*args.worker)))
        return
    if args.quick:
        args.runs = 500
    rows = []
    print(
        f"{'what':26} {'runs':>7} {'points':>11} {'s':>7} {'points/s':>9} {'peer s':>7} {'MiB':>5} "
        f"{'again s':>8} {'share':>6} {'grown s':>8}"
    )
    for name, (make, grow, peer) in CASES.items():
        if args.only and args.only not in name:
            continue
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place) / "data"
            folder.mkdir()
            make(folder, args.runs, args.points)
            row = case(name, folder, Path(place) / "store", grow, peer)
        rows.append(row)
        share = row["again_s"] / row["first_s"]
        print(
            f"{name:26} {row['runs']:>7,} {row['points']:>11,} {row['first_s']:>7.1f} "
            f"{row['points'] / row['first_s']:>9,.0f} {row['peer_s']:>7.1f} {row['peak_mib']:>5.0f} "
            f"{row['again_s']:>8.2f} {share:>6.1%} {row['grown_s']:>8.2f}"
        )
    if args.out:
        args.out.write_text(json.dumps({"rows": rows}, indent=1))


def case(
    name: str, folder: Path, store: Path, grow: Callable[[Path], None], peer: Callable[[Path], int]
) -> dict[str, Any]:
    first = in_own_process(folder, store)
    again = in_own_process(folder, store)
    assert again["points"] == 0, again
    begun = time.perf_counter()
    peer(folder)
    peer_s = time.perf_counter() - begun
    grow(folder)
    grown = in_own_process(folder, store)
    return {
        "what": name,
        "runs": first["runs"],
        "points": first["points"],
        "first_s": first["seconds"],
        "again_s": again["seconds"],
        "grown_s": grown["seconds"],
        "grown_points": grown["points"],
        "peer_s": round(peer_s, 3),
        "peak_mib": first["peak_mib"],
    }


def in_own_process(folder: Path, store: Path) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, __file__, "--worker", str(folder), str(store)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    return dict(json.loads(done.stdout.splitlines()[-1]))


def measured(folder: str, store: str) -> dict[str, Any]:
    """Import in this process, as the command does; the seconds are those from opening the store on."""
    import advisor
    from advisor.sources.importing import Importer

    begun = time.perf_counter()
    with advisor.open(store, notify=()) as adv, Importer(adv, folder) as importer:
        done = importer.sync()
    return {
        "runs": done.n_added,
        "points": done.n_points,
        "seconds": round(time.perf_counter() - begun, 3),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


# -- data


def run_id(i: int) -> str:
    return f"{i:032x}"


def values(i: int, n: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(i)
    falling = np.exp(-np.linspace(0, 3, n)) + 0.01 * rng.standard_normal(n)
    return dict(zip(METRICS, (falling, falling + 0.1, 1 - falling), strict=True))


def mlflow_folder(folder: Path, n_runs: int, n: int) -> None:
    root = folder / "mlruns"
    for experiment in range(1, EXPERIMENTS + 1):
        (root / str(experiment)).mkdir(parents=True)
        (root / str(experiment) / "meta.yaml").write_text(
            f"artifact_location: file:///gone/{experiment}\ncreation_time: 1760000000000\n"
            f"experiment_id: '{experiment}'\n"
            f"last_update_time: 1760000000000\nlifecycle_stage: active\nname: experiment {experiment}\n"
        )
    for i in range(n_runs):
        experiment, start = i % EXPERIMENTS + 1, 1_760_000_000_000 + i * 1000
        run = root / str(experiment) / run_id(i)
        for part in ("params", "metrics", "tags"):
            (run / part).mkdir(parents=True)
        (run / "meta.yaml").write_text(
            META.format(run=run_id(i), experiment=experiment, i=i, start=start, end=start + 60_000)
        )
        for key, value in params(i).items():
            (run / "params" / key).write_text(str(value))
        for key, value in {"mlflow.runName": f"run-{i}", "mlflow.user": "someone"}.items():
            (run / "tags" / key).write_text(value)
        for metric, several in values(i, n).items():
            lines = (f"{start + 1000 * step} {value!r} {step}\n" for step, value in enumerate(several.tolist()))
            (run / "metrics" / metric).write_text("".join(lines))


def params(i: int) -> dict[str, Any]:
    return {"lr": 10 ** (-i % 5), "hidden": 16 * (1 + i % 8), "optimizer": ("sgd", "adam")[i % 2], "seed": i, "l2": 0.1}


def grow_mlflow_folder(folder: Path) -> None:
    for metric in sorted(folder.glob("mlruns/*/*/metrics/loss"))[::100]:
        with metric.open("a") as file:
            file.write("1760009999999 0.5 9999\n")


def read_everything(folder: Path) -> int:
    n = 0
    for base, _, names in os.walk(folder):
        for name in names:
            with open(os.path.join(base, name), "rb") as file:
                n += len(file.read())
    return n


def mlflow_database(folder: Path, n_runs: int, n: int) -> None:
    """Fill the tables of a database that MLflow itself made."""
    path = folder / "mlflow.db"
    source = sqlite3.connect(DATABASE)
    db = sqlite3.connect(path)
    source.backup(db)
    source.close()
    for table in ("metrics", "latest_metrics", "params", "tags", "runs"):
        db.execute(f"DELETE FROM {table}")
    (experiment,) = db.execute("SELECT min(experiment_id) FROM experiments WHERE lifecycle_stage = 'active'").fetchone()
    for i in range(n_runs):
        start = 1_760_000_000_000 + i * 1000
        db.execute(
            "INSERT INTO runs (run_uuid, name, status, start_time, end_time, lifecycle_stage, experiment_id) "
            "VALUES (?, ?, 'FINISHED', ?, ?, 'active', ?)",
            (run_id(i), f"run-{i}", start, start + 60_000, experiment),
        )
        db.executemany(
            "INSERT INTO params (key, value, run_uuid) VALUES (?, ?, ?)",
            [(key, str(value), run_id(i)) for key, value in params(i).items()],
        )
        db.executemany(
            "INSERT INTO metrics (key, value, timestamp, run_uuid, step, is_nan) VALUES (?, ?, ?, ?, ?, 0)",
            [
                (metric, value, start + 1000 * step, run_id(i), step)
                for metric, several in values(i, n).items()
                for step, value in enumerate(several.tolist())
            ],
        )
    db.commit()
    db.close()


def grow_mlflow_database(folder: Path) -> None:
    db = sqlite3.connect(folder / "mlflow.db")
    ids = [row[0] for row in db.execute("SELECT run_uuid FROM runs ORDER BY run_uuid")][::100]
    db.executemany(
        "INSERT INTO metrics (key, value, timestamp, run_uuid, step, is_nan) VALUES (?, .5, 1760009999999, ?, 9999, 0)",
        [("loss", one) for one in ids],
    )
    db.commit()
    db.close()


def fetch_all(folder: Path) -> int:
    db = sqlite3.connect(folder / "mlflow.db")
    n = sum(len(db.execute(f"SELECT * FROM {table}").fetchall()) for table in ("metrics", "params", "runs", "tags"))
    db.close()
    return n


def event_files(folder: Path, n_runs: int, n: int) -> None:
    """Few runs of many points, the same number in all."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.record_writer import RecordWriter

    several = max(n_runs // 100, 1)
    for i in range(several):
        run = folder / f"run-{i:04}"
        run.mkdir()
        with (run / f"events.out.tfevents.{1_760_000_000 + i}.host.1.0").open("wb") as file:
            writer = RecordWriter(file)
            writer.write(Event(wall_time=1_760_000_000 + i, file_version="brain.Event:2").SerializeToString())
            curves = values(i, 100 * n)
            for step in range(100 * n):
                for metric, curve in curves.items():
                    value = Summary.Value(tag=metric, simple_value=float(curve[step]))
                    event = Event(wall_time=1_760_000_000 + i + step, step=step, summary=Summary(value=[value]))
                    writer.write(event.SerializeToString())
            writer.flush()


def grow_event_files(folder: Path) -> None:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.record_writer import RecordWriter

    for path in sorted(folder.glob("*/events*"))[::100]:
        with path.open("ab") as file:
            value = Summary.Value(tag="loss", simple_value=0.5)
            RecordWriter(file).write(
                Event(wall_time=1_760_999_999, step=999_999, summary=Summary(value=[value])).SerializeToString()
            )


def accumulate(folder: Path) -> int:
    with contextlib.redirect_stderr(io.StringIO()):
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    n = 0
    for run in sorted(folder.iterdir()):
        read = EventAccumulator(str(run), size_guidance={"scalars": 0, "tensors": 0})
        read.Reload()
        n += sum(len(read.Scalars(tag)) for tag in read.Tags()["scalars"])
    return n


def tables(folder: Path, n_runs: int, n: int) -> None:
    """As many runs as event files, as comma-separated tables."""
    for i in range(max(n_runs // 100, 1)):
        curves = values(i, 100 * n)
        lines = ["step," + ",".join(METRICS)]
        lines += [
            f"{step}," + ",".join(map(repr, row))
            for step, row in enumerate(zip(*(c.tolist() for c in curves.values()), strict=True))
        ]
        run = folder / f"run-{i:04}"
        run.mkdir()
        (run / "metrics.csv").write_text("\n".join(lines) + "\n")


def grow_tables(folder: Path) -> None:
    for path in sorted(folder.glob("*/metrics.csv"))[::100]:
        with path.open("a") as file:
            file.write("999999,0.5,0.5,0.5\n")


def read_csv(folder: Path) -> int:
    import pandas as pd

    return sum(pd.read_csv(path).size for path in sorted(folder.glob("*/metrics.csv")))


CASES: dict[str, tuple[Callable[[Path, int, int], None], Callable[[Path], None], Callable[[Path], int]]] = {
    "MLflow, folder": (mlflow_folder, grow_mlflow_folder, read_everything),
    "MLflow, SQLite": (mlflow_database, grow_mlflow_database, fetch_all),
    "TensorBoard, event files": (event_files, grow_event_files, accumulate),
    "tables, CSV": (tables, grow_tables, read_csv),
}


if __name__ == "__main__":
    main()

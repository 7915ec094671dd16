"""Write the fixtures ``trackio-<release>``: databases of the real tool, and what it says itself as ``expected.json``.

Run it in an environment that has one release of trackio (0.43.0 or 0.5.0), from a folder at a neutral place::

    python trackio.py OUT

Points, times and configurations in ``expected.json`` are what ``SQLiteStorage.get_logs`` and ``get_run_config`` return.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

os.environ["TRACKIO_DIR"] = str(Path.cwd() / "trackio")
os.environ["HF_HOME"] = str(Path.cwd())  # where releases before TRACKIO_DIR have their folder ``trackio``
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")

import trackio
from trackio.sqlite_storage import SQLiteStorage

RELEASE = tuple(int(part) for part in trackio.__version__.split(".")[:2])
PROJECT = "toy" if RELEASE > (0, 24) else "größe & co"  # an empty database of the later one has 100 kB
LONG = 200 if RELEASE > (0, 24) else 2_050
QUIET = {"auto_log_gpu": False} if RELEASE > (0, 30) else {}


def finished():
    config = {"lr": 3e-4, "seed": 7, "opt": {"name": "adamw", "betas": [0.9, 0.99]}}
    trackio.init(project=PROJECT, name="first <one>", config=config, group="sweep-a", **QUIET)
    for step in range(LONG):
        trackio.log({"loss": 2.0 / (step + 1)}, step=step)
    trackio.log({"loss": math.nan, "größe/верх": math.inf, "epoch": 1}, step=2_100)
    trackio.log({"loss": -math.inf, "eval": {"f1": 0.25, "inner": {"auc": 1}}, "text": "words"}, step=2_101)
    trackio.log({"flag": True, "huge": 2**70 if RELEASE > (0, 24) else 2**60, "tiny": 5e-324}, step=2_102)
    trackio.log({"table": table()}, step=2_103)
    if RELEASE > (0, 30):
        trackio.alert("Loss is low", text="below 0.01", level=trackio.AlertLevel.WARN)
        trackio.log_system({"cpu": 12.5})
    trackio.finish()


def table():
    import pandas

    return trackio.Table(dataframe=pandas.DataFrame({"a": [1]}))


def resumed(part):
    trackio.init(project="toy", name="goes-on", config={"part": part}, resume="allow", **QUIET)
    for step in range(20):
        trackio.log({"loss": part + step / 100})
    trackio.finish()


def killed():
    trackio.init(project="toy", name="is-killed", **QUIET)
    for step in range(50):
        trackio.log({"loss": 1.0 / (step + 1)})
    time.sleep(3)
    os.kill(os.getpid(), signal.SIGKILL)


def same_name():
    """Two runs of one name: later releases tell them apart by an id."""
    for i in range(2):
        trackio.init(project="toy", name="twin" if RELEASE > (0, 24) else f"twin-{i}", config={"i": i}, **QUIET)
        trackio.log({"loss": float(i)})
        trackio.finish()


def say(project):
    storage = SQLiteStorage
    runs = []
    if RELEASE > (0, 24):
        for record in storage.get_run_records(project):
            name, run_id = record.get("name") or record.get("run_name"), record.get("id") or record.get("run_id")
            runs.append((name, run_id, storage.get_logs(project, name, run_id=run_id)))
    else:
        runs = [(name, None, storage.get_logs(project, name)) for name in storage.get_runs(project)]
    out = []
    for name, run_id, logs in runs:
        curves = {}
        for log in logs:
            step, stamp = log.pop("step"), log.pop("timestamp")
            for metric, value in leaves("", log):
                curve = curves.setdefault(metric, {"steps": [], "values": [], "stamps": []})
                curve["steps"].append(step)
                curve["values"].append(float(value))
                curve["stamps"].append(stamp)
        for metric, curve in curves.items():
            if metric != "eval.f1":
                del curve["stamps"]
        out.append({"project": project, "name": name, "id": run_id, "curves": curves})
    return out


def leaves(prefix, row):
    for name, value in row.items():
        if isinstance(value, dict) and "_type" not in value:
            yield from leaves(f"{prefix}{name}.", value)
        elif isinstance(value, (int, float)):
            yield prefix + name, value


def smaller(path):
    """Rewrite a database with pages of 1 KiB, so that 40 nearly empty tables and indices take less."""
    connection = sqlite3.connect(path)
    for statement in ("journal_mode=DELETE", "page_size=1024"):
        connection.execute(f"PRAGMA {statement}")
    connection.execute("VACUUM")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.close()


def main(out):
    folder, out = Path(os.environ["TRACKIO_DIR"]), Path(out)
    shutil.rmtree(folder, ignore_errors=True)
    shutil.rmtree(out, ignore_errors=True)
    for scenario in ("finished", "resumed 0", "resumed 1", "killed", "same_name"):
        subprocess.run([sys.executable, __file__, "--scenario", *scenario.split()], check=scenario != "killed")
    projects = SQLiteStorage.get_projects()
    runs = [run for project in projects for run in say(project)]
    out.mkdir(parents=True)
    for path in folder.rglob("*"):
        print(path.relative_to(folder), path.stat().st_size)
    shutil.copytree(folder, out / "trackio", ignore=shutil.ignore_patterns("media", "*.lock", "*-shm"))
    for path in (out / "trackio").glob("*.db"):
        smaller(path)
    (out / "expected.json").write_text(json.dumps({"release": trackio.__version__, "runs": runs}, ensure_ascii=False))


if __name__ == "__main__":
    if sys.argv[1] == "--scenario":
        globals()[sys.argv[2]](*map(int, sys.argv[3:]))
    else:
        main(sys.argv[1])

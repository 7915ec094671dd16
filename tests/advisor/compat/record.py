"""Run the scripts of this folder with the real trackers and write down what they recorded, as ``recorded/*.json``.

Not part of the tests, which need neither tracker: in an environment that has wandb 0.31 and mlflow-skinny 3.17,

    python tests/advisor/compat/record.py
"""

from __future__ import annotations

import json
import math
import os
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent


def records(path: Path) -> Iterator[bytes]:
    """Yield the records of a ``.wandb`` file: blocks of 32 KiB, pieces with a header of 7 bytes."""
    data, at, whole = path.read_bytes(), 7, b""
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        _, size, kind = struct.unpack_from("<IHB", data, at)
        whole += data[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in (1, 4):
            yield whole
            whole = b""


def plain(value: Any) -> Any:
    """Return a value as JSON has it everywhere."""
    if isinstance(value, float) and not math.isfinite(value):
        return {math.inf: "Infinity", -math.inf: "-Infinity"}.get(value, "NaN")
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


def flat(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from flat(f"{name}.{key}", item)
    else:
        yield name, value


def wandb_run(path: Path) -> dict[str, Any]:
    from wandb.proto import wandb_internal_pb2 as pb

    out: dict[str, Any] = {"config": {}, "curves": {}, "summary": {}}
    for raw in records(path):
        record = pb.Record()
        record.ParseFromString(raw)
        kind = record.WhichOneof("record_type")
        if kind == "run":
            run = record.run
            config = {u.key: json.loads(u.value_json) for u in run.config.update if u.key != "_wandb"}
            out["config"] |= config
            out |= {"name": run.display_name, "project": run.project, "tags": list(run.tags), "notes": run.notes}
            out |= {"group": run.run_group, "job_type": run.job_type}
        elif kind == "config":
            for update in record.config.update:
                if update.key != "_wandb":
                    out["config"][update.key or ".".join(update.nested_key)] = json.loads(update.value_json)
        elif kind == "history":
            row = {}
            for item in record.history.item:
                row |= dict(flat(item.key or ".".join(item.nested_key), json.loads(item.value_json)))
            for name, value in row.items():
                if not name.startswith("_"):
                    out["curves"].setdefault(name, []).append([row.get("_step", record.history.step.num), value])
        elif kind == "summary":
            for item in record.summary.update:
                out["summary"] |= dict(flat(item.key or ".".join(item.nested_key), json.loads(item.value_json)))
        elif kind == "exit":
            out["exit_code"] = record.exit.exit_code
    out["summary"] = {k: v for k, v in out["summary"].items() if not k.startswith("_")}
    return plain(out)


def with_wandb(script: Path) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        environ = {**os.environ, "TRACKER": "wandb", "WANDB_MODE": "offline", "WANDB_SILENT": "true"}
        done = subprocess.run(
            [sys.executable, str(script)], cwd=folder, env=environ, capture_output=True, text=True, check=True
        )
        paths = sorted(Path(folder).glob("wandb/offline-run-*/*.wandb"), key=lambda path: path.stat().st_ctime)
        return {"printed": done.stdout.splitlines(), "runs": [wandb_run(path) for path in paths]}


def with_mlflow(script: Path) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        environ = {**os.environ, "TRACKER": "mlflow", "MLFLOW_ALLOW_FILE_STORE": "true"}
        environ["MLFLOW_TRACKING_URI"] = f"file:{folder}/mlruns"
        done = subprocess.run(
            [sys.executable, str(script)], cwd=folder, env=environ, capture_output=True, text=True, check=True
        )
        os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
        from mlflow.tracking import MlflowClient

        client = MlflowClient(environ["MLFLOW_TRACKING_URI"])
        runs = []
        for experiment in sorted(client.search_experiments(), key=lambda e: e.creation_time):
            for run in reversed(client.search_runs([experiment.experiment_id])):
                curves = {
                    name: [[m.step, m.value] for m in client.get_metric_history(run.info.run_id, name)]
                    for name in run.data.metrics
                }
                tags = {k: v for k, v in run.data.tags.items() if not k.startswith(("mlflow.source", "mlflow.user"))}
                if "mlflow.parentRunId" in tags:
                    tags["mlflow.parentRunId"] = client.get_run(tags["mlflow.parentRunId"]).info.run_name
                files = sorted(
                    path.relative_to(run.info.artifact_uri.removeprefix("file://")).as_posix()
                    for path in Path(run.info.artifact_uri.removeprefix("file://")).rglob("*")
                    if path.is_file()
                )
                runs.append(
                    {
                        "experiment": experiment.name,
                        "name": run.info.run_name,
                        "status": run.info.status,
                        "params": run.data.params,
                        "tags": tags,
                        "curves": curves,
                        "files": files,
                    }
                )
        return plain({"printed": done.stdout.splitlines(), "runs": runs})


if __name__ == "__main__":
    for script in sorted((HERE / "scripts").glob("*.py")):
        recorded = (with_wandb if script.name.startswith("wandb") else with_mlflow)(script)
        (HERE / "recorded" / f"{script.stem}.json").write_text(json.dumps(recorded, indent=1) + "\n")
        print(script.stem, recorded["printed"])

"""Runs as MLflow's folder (``mlruns``): the files that its file store writes, as it writes them.

mlflow 3.17 opens it with ``MLFLOW_ALLOW_FILE_STORE=true``, and ``mlflow migrate-filestore`` moves it into a database. A
metric file has a line ``milliseconds value step`` a value, with ``nan``, ``inf`` and ``-inf`` as Python writes them.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from advisor.exporting.taken import Exported, Tally, open_suggestions, plain_id, records, runs_of, said_of
from advisor.nested import flat
from storage.records import Curve, Experiment, Run, RunState

if TYPE_CHECKING:
    from advisor.app import Advisor

STATUS: Final[Mapping[RunState, int]] = {
    RunState.RUNNING: 1,
    RunState.WAITING: 2,
    RunState.FINISHED: 3,
    RunState.PRUNED: 3,
    RunState.FAILED: 4,
    RunState.CRASHED: 5,
}
"""``RunStatus`` of MLflow: running, scheduled, finished, failed, killed. A pruned run has a tag that says so."""
PARAM_MAX: Final = 6_000
TAG_MAX: Final = 8_000
"""Characters that MLflow takes."""
LOCAL: Final = 4
"""``SourceType.LOCAL``."""


def write(adv: Advisor, folder: Path, *, experiment: str | None) -> Exported:
    """Write a folder for each experiment, with a folder for each run; files of an earlier export are replaced."""
    tally = Tally()
    for record in records(adv, experiment):
        number = experiment_id(record.name)
        home = folder / number
        home.mkdir(parents=True, exist_ok=True)
        _write_yaml(home / "meta.yaml", _experiment(record, home, number))
        (home / "tags").mkdir(exist_ok=True)
        for tag, value in _experiment_tags(record).items():
            _write_text(home / "tags" / tag, _cut(value, TAG_MAX, tally))
        runs = []
        for run, curves in runs_of(adv, record):
            tally.saw(curves)
            runs.append(run)
            _write_run(home / plain_id(run.id), run, curves, number, tally)
        n_open = len(open_suggestions(adv, record, runs))
        tally.left_out["{n} open suggestions have no place in MLflow and were left out"] += n_open
        tally.left_out["files that runs saved were not copied: {n} files"] += sum(len(run.artifacts) for run in runs)
    return tally.exported(folder)


def experiment_id(name: str) -> str:
    """Return an experiment's id: 18 digits, as MLflow makes them, but the same at each export."""
    return str(int(hashlib.sha256(name.encode(errors="replace")).hexdigest()[:15], 16))[:18].rjust(18, "1")


def _experiment(record: Experiment, home: Path, number: str) -> dict[str, Any]:
    created = _milliseconds(record.created)
    return {
        "artifact_location": home.absolute().as_uri(),
        "creation_time": created,
        "effective_trace_archival_retention": None,
        "experiment_id": number,
        "last_update_time": created,
        "lifecycle_stage": "active",
        "name": record.name,
        "trace_location": None,
        "workspace": "default",
    }


def _experiment_tags(record: Experiment) -> dict[str, str]:
    """Return what MLflow has tags for: the description, and the objective where there is exactly one."""
    tags = {"mlflow.note.content": record.description} if record.description else {}
    if len(record.objectives) == 1:
        (objective,) = record.objectives
        tags["mlflow.experiment.primaryMetric.name"] = objective.metric
        is_greater_better = objective.direction == "maximize"
        tags["mlflow.experiment.primaryMetric.greaterIsBetter"] = str(is_greater_better).lower()
    return tags


def _write_run(home: Path, run: Run, curves: Mapping[str, Curve], number: str, tally: Tally) -> None:
    for part in ("metrics", "params", "tags", "artifacts"):
        (home / part).mkdir(parents=True, exist_ok=True)
    started = run.started or run.created
    attributes = said_of(run)
    name = str(attributes.pop("name", f"{run.experiment}#{run.number}"))
    about: dict[str, Any] = {
        "artifact_uri": (home / "artifacts").absolute().as_uri(),
        "end_time": None if run.ended is None else _milliseconds(run.ended),
        "entry_point_name": "",
        "experiment_id": number,
        "lifecycle_stage": "active",
        "run_id": home.name,
        "run_name": name,
        "source_name": "",
        "source_type": LOCAL,
        "source_version": "",
        "start_time": _milliseconds(started),
        "status": STATUS[run.state],
        "tags": [],
        "user_id": "",
    }
    _write_yaml(home / "meta.yaml", about)
    for metric, curve in curves.items():
        _write_lines(_place(home / "metrics", metric, tally), curve, _milliseconds(started))
    seed = {} if run.seed is None or "seed" in run.params else {"seed": run.seed}
    for param, value in flat({**run.params, **seed}).items():
        _write_text(_place(home / "params", param, tally), _cut(value, PARAM_MAX, tally))
    tags = {"mlflow.runName": name, "mlflow.source.type": "LOCAL", "advisor.run_id": run.id}
    tags |= {"advisor.state": str(run.state), "advisor.number": str(run.number)}
    if run.notes:
        tags["mlflow.note.content"] = "\n\n".join(run.notes)
    if "parent_run" in attributes:
        tags["mlflow.parentRunId"] = str(attributes.pop("parent_run"))
    for tag, value in {**flat(attributes), **tags}.items():
        _write_text(_place(home / "tags", tag, tally), _cut(value, TAG_MAX, tally))


def _write_lines(path: Path, curve: Curve, started_ms: int) -> None:
    times = np.where(np.isnan(curve.times), np.arange(len(curve)) / 1000, curve.times)
    stamps = (started_ms + np.round(np.clip(times, 0, 1e9) * 1000)).astype(np.int64)
    points = zip(stamps.tolist(), curve.values.tolist(), curve.steps.tolist(), strict=True)
    _write_text(path, "".join(f"{stamp} {value} {step}\n" for stamp, value, step in points))


def _place(folder: Path, key: str, tally: Tally) -> Path:
    """Return the file of a key as MLflow takes keys: characters are replaced, and none leads out of the folder."""
    name = re.sub(r"[^\w.\- :/]", "_", key)
    name = "/".join(part if part.strip(". ") else "_" for part in name.split("/"))[:250]
    if name != key:
        tally.left_out["{n} names hold characters that MLflow does not take; '_' stands for them"] += 1
    path = folder / name
    while path.is_dir():  # a key 'a' beside a key 'a/b' cannot both be files
        path = path.with_name(f"{path.name}_")
    for parent in path.relative_to(folder).parents:
        if (folder / parent).is_file():
            path = folder / name.replace("/", "_")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _cut(value: Any, most: int, tally: Tally) -> str:
    text = str(value)
    if len(text) > most:
        tally.left_out[f"{{n}} values are longer than MLflow's {most:,} characters and were cut"] += 1
    return text[:most]


def _write_text(path: Path, text: str) -> None:
    path.write_bytes(text.encode(errors="replace"))


def _write_yaml(path: Path, content: Mapping[str, Any]) -> None:
    import yaml

    path.write_text(yaml.safe_dump(dict(content), default_flow_style=False, allow_unicode=True), encoding="utf-8")


def _milliseconds(time: datetime) -> int:
    return math.floor(time.timestamp() * 1000)

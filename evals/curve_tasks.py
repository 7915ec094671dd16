"""Real training curves as experiments for evals: AlgoPerf, DeepOBS, ARLBench, and LCBench's surrogate.

Reads the folders under $ADVISOR_EVAL_DATA or ../shared/data; what is absent is skipped and named. Left out are runs
with fewer points than a task needs, without a finite end, and copies of another run's curve (AlgoPerf's logs hold
some twice), and tasks with fewer than 40 runs.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from findings_deepobs import data_folder

from storage.records import Curve, Experiment, Objective, Run, RunState

NOW = datetime(2026, 1, 1, tzinfo=UTC)
MIN_TASK = 40
ALGOPERF = {
    "criteo1tb": Objective("validation/loss", "minimize"),
    "imagenet_resnet": Objective("validation/accuracy", "maximize"),
    "librispeech_conformer": Objective("validation/wer", "minimize"),
    "ogbg": Objective("validation/mean_average_precision", "maximize"),
}
"""Objective by family of workloads: a variant of a workload, in either framework, belongs to its family."""
Row = tuple[str, Mapping[str, Any], Mapping[str, Curve]]


@dataclass(frozen=True)
class Task:
    """Runs of one experiment with their curves; ``family`` is what a bootstrap must not split."""

    source: str
    family: str
    name: str
    objective: Objective
    runs: Sequence[Run]
    curves: Mapping[str, Mapping[str, Curve]]

    @property
    def experiment(self) -> Experiment:
        return Experiment(self.name, number=0, objectives=(self.objective,), created=NOW)

    @property
    def sign(self) -> float:
        return 1.0 if self.objective.direction == "maximize" else -1.0

    def curve(self, run: Run) -> Curve:
        return self.curves[run.id][self.objective.metric]


def tasks_of(source: str) -> list[Task]:
    """Return a source's tasks, none where its data is absent."""
    folder = data_folder().parent / FOLDERS[source]
    if not folder.is_dir():
        print(f"{source} skipped: there is no {folder}; set ADVISOR_EVAL_DATA to what holds it", file=sys.stderr)
        return []
    return [task for task in SOURCES[source](folder) if len(task.runs) >= MIN_TASK]


def algoperf(folder: Path) -> Iterator[Task]:
    for name, rows in sorted(interchange(folder).items()):
        family = next(family for family in ALGOPERF if name.startswith(family))
        yield task("algoperf", family, name, ALGOPERF[family], rows)


def deepobs(folder: Path) -> Iterator[Task]:
    for name, rows in sorted(interchange(folder).items()):
        yield task("deepobs", name, name, Objective("test_loss", "minimize"), rows)


def arlbench(folder: Path) -> Iterator[Task]:
    """Two of the ten seeds of each configuration; 10 checkpoints a run."""
    import pandas as pd

    for path in sorted(folder.glob("*.parquet")):
        frame = pd.read_parquet(path).sort_values("budget")
        hyper = [c for c in frame.columns if c not in ("config_id", "seed", "budget", "performance", "run_id")]
        rng, rows = np.random.default_rng(0), []
        for config, group in frame.groupby("config_id"):
            for seed in rng.choice(sorted(group["seed"].unique()), size=2, replace=False):
                mine = group[group["seed"] == seed]
                given = mine.iloc[0][hyper].dropna().to_dict()
                params = {name: value.item() if hasattr(value, "item") else value for name, value in given.items()}
                curve = Curve.of("performance", range(len(mine)), mine["performance"].to_numpy(dtype=float))
                rows.append((f"{path.stem}-{config}-{seed}", params, {"performance": curve}))
        domain, algorithm = path.stem.split("_")[0], path.stem.rsplit("_", 1)[-1]
        yield task("arlbench", f"{domain}-{algorithm}", path.stem, Objective("performance", "maximize"), rows, least=5)


def lcbench(folder: Path) -> Iterator[Task]:
    """120 random configurations on each of 12 data sets, as a surrogate of the real runs gives them; 52 epochs."""
    try:
        import onnxruntime
    except ImportError:
        print("lcbench skipped: onnxruntime is not installed", file=sys.stderr)
        return
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    codes = json.loads((folder / "encoding.json").read_text(encoding="utf-8"))["OpenML_task_id"]
    epochs = np.arange(1, 53)
    for name, code in sorted(codes.items())[1:36:3]:
        rng, rows = np.random.default_rng(int(code)), []
        for i in range(120):
            u = rng.random(7)
            params = {
                "batch_size": 16 * 32 ** u[0],
                "learning_rate": 1e-4 * 1000 ** u[1],
                "momentum": 0.1 + 0.89 * u[2],
            }
            params |= {"weight_decay": 1e-5 + (0.1 - 1e-5) * u[3], "num_layers": 1.0 + int(5 * u[4])}
            params |= {"max_units": 64 * 16 ** u[5], "max_dropout": u[6]}
            x = np.column_stack([epochs, np.tile(list(params.values()), (52, 1))]).astype(np.float32)
            feed = {"x_cat": np.full((52, 1), code, dtype=np.int32), "x_cont": x}
            values = session.run(None, feed)[0][:, 1]
            curve = Curve.of("val_accuracy", epochs, values)
            rows.append((f"{name}-{i}", {k: float(v) for k, v in params.items()}, {"val_accuracy": curve}))
        yield task("lcbench", name, f"lcbench-{name}", Objective("val_accuracy", "maximize"), rows)


def interchange(folder: Path) -> dict[str, list[Row]]:
    """Return the rows of an interchange folder by experiment."""
    import pandas as pd

    curves: dict[str, dict[str, Curve]] = {}
    for run_id, metric, steps, values in pd.read_parquet(folder / "curves.parquet").itertuples(index=False):
        curves.setdefault(run_id, {})[metric] = Curve.of(metric, steps, values)
    out: dict[str, list[Row]] = {}
    for row in pd.read_parquet(folder / "runs.parquet").itertuples(index=False):
        out.setdefault(row.experiment, []).append((row.run_id, json.loads(row.params), curves.get(row.run_id, {})))
    return out


def task(source: str, family: str, name: str, objective: Objective, rows: Sequence[Row], *, least: int = 10) -> Task:
    runs: list[Run] = []
    curves: dict[str, dict[str, Curve]] = {}
    known: set[bytes] = set()
    for run_id, params, own in rows:
        curve = own.get(objective.metric)
        if curve is None or len(curve) < least or not np.isfinite(curve.last) or curve.values.tobytes() in known:
            continue
        known.add(curve.values.tobytes())
        runs.append(
            Run(
                run_id,
                number=len(runs),
                experiment=name,
                state=RunState.FINISHED,
                params=params,
                values=(curve.last,),
                created=NOW,
            )
        )
        curves[run_id] = {objective.metric: curve}
    return Task(source, family, name, objective, runs, curves)


SOURCES: dict[str, Callable[[Path], Iterator[Task]]] = {
    "algoperf": algoperf,
    "deepobs": deepobs,
    "arlbench": arlbench,
    "lcbench": lcbench,
}
FOLDERS = {"algoperf": "algoperf", "deepobs": "deepobs", "arlbench": "arlbench", "lcbench": "yahpo/lcbench"}

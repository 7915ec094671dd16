"""Write the fixtures of Ray Tune with Ray itself, and what its own ``ResultGrid`` then says of them.

In an environment of its own, once a release (``-P``, since this file has the name of the package)::

    python -m venv ray-env && ray-env/bin/pip install 'ray[tune]==2.60.0'
    ray-env/bin/python -P tests/data/sources/make/ray.py tests/data/sources

Folders: ``ray-<release>`` (2.60.0, 2.7.2) with the experiments ``sweep``, ``population`` and ``restored``.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "0"
os.environ["RAY_AIR_NEW_OUTPUT"] = "0"

import ray
from ray import tune

try:
    from ray.train import RunConfig
except ImportError:
    from ray.air import RunConfig
LONG = 40


RECENT = tuple(map(int, ray.__version__.split(".")[:2])) >= (2, 40)
if RECENT:
    from ray.tune import Checkpoint, get_checkpoint, report
else:
    from ray.train import Checkpoint, get_checkpoint, report


def train(config: dict[str, Any]) -> None:
    """Train nothing, in one of several ways."""
    kind = config["kind"]
    for i in range(LONG if kind == "long" else 4):
        report(
            {
                "loss": config["lr"] / (1 + i),
                "eval": {"acc": 0.25 * i, "odd": (math.nan, math.inf, -math.inf)[i % 3]},
                "épreuve/x": i,
            }
            if kind != "long"
            else {"loss": round(1 / (1 + i), 4)}
        )
        if kind == "fails" and i == 1:
            raise ValueError("boom \u202e")


def step(config: dict[str, Any]) -> None:
    """Train with a rate that the population changes."""
    at = 0
    if get_checkpoint():
        with get_checkpoint().as_directory() as folder:
            at = int(Path(folder, "at").read_text())
    for i in range(at, 6):
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "at").write_text(str(i + 1))
            report({"score": config["lr"], "lr": config["lr"]}, checkpoint=Checkpoint.from_directory(folder))


def main(out: str) -> None:
    """Write one folder of fixtures."""
    folder = Path(out).resolve() / f"ray-{ray.__version__}"
    shutil.rmtree(folder, ignore_errors=True)
    ray.init(num_cpus=1, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
    trainable = tune.with_resources(train, {"cpu": 1})
    space = {
        "kind": tune.grid_search(["plain", "fails", "long"]),
        "lr": tune.choice([0.5]),
        "seed": 7,
        "model": {"depth": 3, "opt": "adam", "dims": [1, 2]},
        "hostile/'; --": "\u202e",
        "call": len,
        "nothing": None,
        "flag": True,
    }
    run = RunConfig(name="sweep", storage_path=str(folder), verbose=0)
    tuner = tune.Tuner(
        trainable,
        param_space=space,
        run_config=run,
        tune_config=tune.TuneConfig(metric="loss", mode="min", max_concurrent_trials=1),
    )
    grids = {"sweep": tuner.fit()}
    scheduler = tune.schedulers.PopulationBasedTraining(
        time_attr="training_iteration",
        metric="score",
        mode="max",
        perturbation_interval=2,
        hyperparam_mutations={"lr": tune.uniform(0.1, 1.0)},
        synch=False,
    )
    run = RunConfig(name="population", storage_path=str(folder), verbose=0)
    space = {"lr": tune.grid_search([0.25, 0.75])}
    grids["population"] = tune.Tuner(
        tune.with_resources(step, {"cpu": 1}),
        param_space=space,
        run_config=run,
        tune_config=tune.TuneConfig(scheduler=scheduler),
    ).fit()
    shutil.copytree(folder / "sweep", folder / "restored")
    restored = tune.Tuner.restore(str(folder / "restored"), trainable, restart_errored=True, param_space=None)
    grids["restored"] = restored.fit() if RECENT else grids["sweep"]
    if not RECENT:
        del grids["restored"]
        shutil.rmtree(folder / "restored")
    runs = [one(name, result) for name, grid in grids.items() for result in grid]
    told = {"tool": f"ray {ray.__version__}", "runs": runs}
    text = json.dumps(told, ensure_ascii=False, default=str)
    (folder / "expected.json").write_text(text.replace(str(folder), "/data"))
    clean(folder)


def one(name: str, result: Any) -> dict[str, Any]:
    """Return one trial as JSON."""
    frame = result.metrics_dataframe
    frame = None if frame is None or "training_iteration" not in frame else frame
    metrics = (
        []
        if frame is None
        else [c for c in frame.columns if c in ("loss", "eval/acc", "eval/odd", "score", "épreuve/x", "lr")]
    )
    curves = {m: frame[m].tolist() for m in metrics}
    steps = [] if frame is None else frame["training_iteration"].tolist()
    return {
        "experiment": name,
        "folder": Path(result.path).name,
        "error": None if result.error is None else type(result.error).__name__,
        "config": {k: v for k, v in (result.config or {}).items() if k != "call"},
        "steps": steps,
        "curves": curves,
    }


def clean(folder: Path) -> None:
    """Leave out what no fixture needs: event files, checkpoints, the machine's names."""
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_file() and path.name.startswith("events.out"):
            path.unlink()
        elif path.is_dir() and path.name.startswith("checkpoint"):
            shutil.rmtree(path)
        elif path.is_file():
            try:
                text = path.read_text()
            except UnicodeDecodeError:
                path.write_bytes(b"a pickle\n")
                continue
            text = re.sub(r'File "[^"]*/(site-packages|make)/', 'File "', text.replace(str(folder), "/data"))
            text = re.sub(r"[0-9a-f]{64,}", "80054e2e", text)  # pickles, in which this machine's paths stand
            path.write_text(text.replace(os.uname().nodename, "host"))


if __name__ == "__main__":
    main(*sys.argv[1:])

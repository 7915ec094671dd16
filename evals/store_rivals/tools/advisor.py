"""Our own store, by its public names: open, experiment, start, log, finish, runs."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import work

ENVIRONMENT: dict[str, str] = {}
STARTUP = """
import advisor
adv = advisor.open({store!r})
run = adv.experiment("bench", objective="val_loss").start(params={{"lr": 0.1, "optimizer": "adam"}})
"""
STARTUP_END = "run.finish(); adv.close()"
NOT_OFFERED: dict[str, str] = {}


class Live:
    def __init__(self, folder: Path, params: Mapping[str, object]) -> None:
        import advisor

        self._advisor = advisor.open(folder / "store")
        self._run = self._advisor.experiment(work.PROJECT, objective="val_loss").start(params=params)
        # The others import their libraries before they return; ours does so beside the training, which is a line of
        # its own in log_latency.py. Here all are measured once they are ready.
        assert self._run.number == 0

    def log(self, metrics: dict[str, float], step: int) -> None:
        self._run.log(metrics, step=step)

    def finish(self) -> None:
        self._run.finish()
        self._advisor.close()


def count(folder: Path) -> int:
    import advisor

    with advisor.open(folder / "store", create=False) as adv:
        (run,) = adv.experiment(work.PROJECT, create=False).runs()
        curves = run.curves
        return min(len(set(curves[name].steps.tolist())) if name in curves else 0 for name in work.METRICS)


def compact(folder: Path) -> None:
    _command("--store", str(folder / "store"), "store", "compact")


def fill(folder: Path, n: int, deadline: float) -> int:
    """Write an interchange folder and import it: the way of a user who comes with many runs."""
    import advisor
    from storage.interchange import write_folder

    steps = range(work.POINTS_OF_A_RUN)
    rows, curves = [], {}
    for k in range(n):
        run_id, values = f"{k:032x}", work.short_curve(k)
        rows.append(
            {
                "run_id": run_id,
                "experiment": work.PROJECT,
                "state": "finished",
                "params": json.dumps(work.params(k)),
                "seed": 0,
                "meta": "{}",
                "objective": values[-1],
            }
        )
        curves[run_id] = {"val_loss": advisor.Curve.of("val_loss", steps, values)}
    write_folder(folder / "import", rows, curves)
    with advisor.open(folder / "store") as adv:
        adv.experiment(work.PROJECT, objective="val_loss")
    try:
        _command(
            "--store", str(folder / "store"), "import", str(folder / "import"), timeout=deadline - time.monotonic()
        )
    except subprocess.TimeoutExpired:
        return 0
    return n


def fill_curves(folder: Path, n: int, points: int, deadline: float) -> int:
    """Log them live, each run by itself, so that what is read is as trainings leave it."""
    import advisor

    with advisor.open(folder / "store") as adv:
        experiment = adv.experiment(work.PROJECT, objective="val_loss")
        for k in range(n):
            with experiment.start(params=work.params(k)) as run:
                for step, value in enumerate(work.long_curve(k, points)):
                    run.log({"val_loss": value}, step=step)
            if time.monotonic() > deadline:
                return k + 1
    return n


class Reader:
    def __init__(self, folder: Path) -> None:
        import advisor

        self._experiment = advisor.open(folder / "store", create=False).experiment(work.PROJECT, create=False)

    def top(self) -> list[float]:
        found = self._experiment.runs("params.optimizer = 'adam'", order_by="val_loss", limit=work.LIMIT)
        return [run.metrics["val_loss"] for run in found]

    def list_all(self) -> int:
        return len(self._experiment.runs())

    def read_curves(self) -> int:
        return sum(len(run.curve("val_loss").values) for run in self._experiment.runs())


def _command(*arguments: str, timeout: float | None = None) -> None:
    subprocess.run([sys.executable, "-m", "advisor.cli", *arguments], check=True, timeout=timeout)

"""What a search is measured on: a set of tuning tasks, each of which may be the new one while the others are the past.

A ``Benchmark`` says of each task what a user would say (an experiment, a space), gives past runs of it, answers what
a run with given parameters brings, and how far a value is from the best. Methods see nothing else.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

from advisor.suggest import Space
from advisor.suggest.others import Past
from storage.records import Experiment, Run, RunState

ROOT = Path(__file__).parents[2]
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)

Answer = Callable[[Mapping[str, Any]], tuple[Mapping[str, Any], float]]
"""Parameters that are suggested → those that are run, and the value; NaN where the run diverges."""


class Benchmark(Protocol):
    """Tuning tasks that are alike."""

    name: str
    tasks: Sequence[str]

    def group(self, task: str) -> str:
        """Return what tasks are reported together."""

    def experiment(self, task: str) -> Experiment:
        """Return what a user would say of the question."""

    def space(self, task: str) -> Space:
        """Return the search space."""

    def past(self, task: str, seed: int, n_runs: int) -> Past:
        """Return the task with random runs, as the past of another one."""

    def answering(self, task: str) -> Answer:
        """Return what runs the parameters that are suggested in one search."""

    def regret(self, task: str, value: float) -> float:
        """Return how far a value is from the best, in the unit of the benchmark; at least 0 but for rounding."""


def data_folder() -> Path:
    return Path(os.environ.get("ADVISOR_EVAL_DATA", ROOT / ".." / "shared" / "data"))


@functools.cache
def benchmark(name: str) -> Benchmark:
    """Return a benchmark by name, once a process."""
    if name == "lcbench":
        from lcbench import LCBench

        return LCBench(data_folder() / "yahpo" / "lcbench", cache=ROOT / "build" / "evals" / "lcbench_scales.json")
    from arlbench import ARLBench

    return ARLBench(data_folder() / "arlbench")


def missing(name: str) -> str | None:
    """Return why a benchmark cannot be run here, None where it can."""
    import importlib.util

    wanted = {"lcbench": data_folder() / "yahpo" / "lcbench" / "model.onnx", "arlbench": data_folder() / "arlbench"}
    if not wanted[name].exists():
        return f"{name} was skipped: there is no {wanted[name].name} under $ADVISOR_EVAL_DATA or ../shared/data"
    if name == "lcbench" and importlib.util.find_spec("onnxruntime") is None:
        return "lcbench was skipped: its surrogate needs onnxruntime; pip install onnxruntime"
    return None


def finished(experiment: str, batch: str, number: int, params: Mapping[str, Any], value: float) -> Run:
    """Return a run that is over; each ends a minute after the one before.

    The batch keeps apart the ids of runs that were drawn or searched in different ways.
    """
    ended = BEGIN + timedelta(minutes=number + 1)
    return Run(
        f"{experiment}-{batch}-{number}",
        number=number,
        experiment=experiment,
        state=RunState.FINISHED,
        params=params,
        values=(value,),
        created=ended - timedelta(seconds=50),
        started=ended - timedelta(seconds=50),
        ended=ended,
    )

"""Aim, local: a RocksDB a run, and an index over them that only its server or ``aim storage reindex`` updates.

Without that index its query finds no parameters, so filling and counting reindex first, as its documentation asks.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import work

ENVIRONMENT: dict[str, str] = {}
STARTUP = """
import aim
run = aim.Run(repo={folder!r}, experiment="bench")
run["hparams"] = {{"lr": 0.1, "optimizer": "adam"}}
"""
STARTUP_END = "run.close()"
NOT_OFFERED: dict[str, str] = {}
QUIET = {"system_tracking_interval": None, "log_system_params": False, "capture_terminal_logs": False}
"""Filling is not measured, so it leaves out what a training would have: the more runs fit the budget."""


class Live:
    def __init__(self, folder: Path, params: Mapping[str, object]) -> None:
        import aim

        self._run = aim.Run(repo=str(folder), experiment=work.PROJECT)
        self._run["hparams"] = dict(params)

    def log(self, metrics: dict[str, float], step: int) -> None:
        self._run.track(metrics, step=step)

    def finish(self) -> None:
        self._run.close()


def count(folder: Path) -> int:
    reindex(folder)
    runs = list(Reader(folder).runs())
    if not runs:
        return 0
    (run,) = runs
    counts = []
    for name in work.METRICS:
        metric = _metric(run, name)
        counts.append(0 if metric is None else len(metric.values.sparse_numpy()[0]))
    return min(counts)


def reindex(folder: Path) -> None:
    import aim

    aim.Repo(str(folder))._recreate_index()  # what `aim storage reindex` calls


def fill(folder: Path, n: int, deadline: float) -> int:
    return _fill(folder, ((k, work.short_curve(k)) for k in range(n)), deadline)


def fill_curves(folder: Path, n: int, points: int, deadline: float) -> int:
    return _fill(folder, ((k, work.long_curve(k, points)) for k in range(n)), deadline)


def _fill(folder: Path, runs: Iterator[tuple[int, Any]], deadline: float) -> int:
    import aim

    n = 0
    for k, values in runs:
        run = aim.Run(repo=str(folder), experiment=work.PROJECT, **QUIET)
        run["hparams"] = work.params(k)
        for step, value in enumerate(values):
            run.track(value, name="val_loss", step=step)
        run.close()
        n += 1
        if time.monotonic() > deadline:
            break
    reindex(folder)
    return n


class Reader:
    def __init__(self, folder: Path) -> None:
        import aim

        self._repo = aim.Repo(str(folder))

    def runs(self, query: str = "") -> Iterator[Any]:
        from aim.sdk.types import QueryReportMode

        found = self._repo.query_runs(query, report_mode=QueryReportMode.DISABLED)
        return (each.run for each in found.iter_runs())

    def top(self) -> list[float]:
        """Filter by its query; sorting by a metric is left to the caller."""
        values = [_last(run) for run in self.runs("run.hparams.optimizer == 'adam'")]
        return sorted(values)[: work.LIMIT]

    def list_all(self) -> int:
        """Return runs with their parameters and final values."""
        return sum(run["hparams"] is not None and _last(run) is not None for run in self.runs())

    def read_curves(self) -> int:
        return sum(len(_metric(run, "val_loss").values.sparse_numpy()[1]) for run in self.runs())


def _metric(run: Any, name: str) -> Any:
    from aim.storage.context import Context

    return run.get_metric(name, Context({}))


def _last(run: Any) -> float:
    """Return the final value from the run's summary, where Aim keeps it, without opening its series."""
    (info,) = run.collect_sequence_info(("metric",))["metric"]
    return float(info["values"]["last"])

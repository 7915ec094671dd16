"""The trainings as a table: healthy runs, faulty ones, and whether the fault did any harm; made once and kept.

python evals/findings_injected/population.py [--lessons] [--healthy 90] [--each 60] [--jobs 2] [--out PATH]
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from faults import CLASSES, HARM_ACCURACY, HARM_NATS, Fault, draw
from numpy.typing import NDArray

ROOT: Final = Path(__file__).resolve().parents[2]
KEPT: Final = ROOT / "build" / "evals" / "injected.parquet"
N_HEALTHY: Final = 90
"""Of each experiment."""
N_EACH: Final = 60
"""Of each class of faults, over all experiments."""
LESSONS_KEPT: Final = KEPT.with_stem("lessons")
LESSONS: Final = (60, 44)
"""Healthy runs an experiment and faulty ones a class in the experiments that are learned from alone."""
TAIL: Final = 3
"""Evaluations at the end that are averaged to tell harm."""


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """One run."""

    task: str
    number: int
    """Within its experiment."""
    _: KW_ONLY
    params: Mapping[str, Any]
    curves: Mapping[str, NDArray[np.float32]]
    fault: str | None = None
    severity: Mapping[str, Any] | None = None
    onset: float = 0.0
    harmful: bool = False


def _one(job: tuple[str, int, str | None]) -> Row:
    import torch
    from trainings import LESSONS, TASKS, draw_params, train

    torch.set_num_threads(1)
    name, number, kind = job
    tasks = {**TASKS, **LESSONS}
    task = tasks[name]
    seed = int(np.random.SeedSequence([list(tasks).index(name), number]).generate_state(1)[0] % 2**31)
    params = draw_params(np.random.default_rng([seed, 4]), task)
    if kind is None:
        return Row(name, number, params=params, curves=train(task, params, seed, None))
    fault = draw(kind, np.random.default_rng([seed, 5]))
    curves, twin = train(task, params, seed, fault), train(task, params, seed, None)
    return Row(
        name,
        number,
        params=params,
        curves=curves,
        fault=kind,
        severity=dict(fault.severity),
        onset=fault.onset,
        harmful=_harmed(fault, curves, twin),
    )


def _harmed(fault: Fault, curves: Mapping[str, Any], twin: Mapping[str, Any]) -> bool:
    if fault.name == "slow_step":
        return True
    losses = [float(np.mean(each["val_loss"][-TAIL:])) for each in (curves, twin)]
    scores = [float(np.mean(each["val_score"][-TAIL:])) for each in (curves, twin)]
    if not all(map(math.isfinite, (*losses, *scores))):
        return True
    off = abs(math.log(max(losses[0], 1e-4) / max(losses[1], 1e-4)))
    return off > HARM_NATS or abs(scores[0] - scores[1]) > HARM_ACCURACY


def make(n_healthy: int = N_HEALTHY, n_each: int = N_EACH, jobs: int = 2, *, lessons: bool = False) -> Iterator[Row]:
    """Train and yield all runs; faults go round the experiments, so that each has its share of every class."""
    import trainings

    names = list(trainings.LESSONS if lessons else trainings.TASKS)
    work: list[tuple[str, int, str | None]] = [(name, i, None) for name in names for i in range(n_healthy)]
    next_number = dict.fromkeys(names, n_healthy)
    for k, kind in enumerate(CLASSES):
        for i in range(n_each):
            name = names[(i + k) % len(names)]
            work.append((name, next_number[name], kind))
            next_number[name] += 1
    began = time.monotonic()
    with ProcessPoolExecutor(jobs) as pool:
        for done, row in enumerate(pool.map(_one, work, chunksize=4), 1):
            if done % 20 == 0:
                print(f"\r{done}/{len(work)} runs, {time.monotonic() - began:.0f} s", end="", file=sys.stderr)
            yield row
    print(file=sys.stderr)


def write(rows: list[Row], path: Path) -> None:
    import json

    import pyarrow as pa
    import pyarrow.parquet as pq

    columns: dict[str, list[Any]] = {
        "task": [row.task for row in rows],
        "number": [row.number for row in rows],
        "params": [json.dumps(row.params) for row in rows],
        "fault": [row.fault for row in rows],
        "severity": [json.dumps(row.severity) for row in rows],
        "onset": [row.onset for row in rows],
        "harmful": [row.harmful for row in rows],
    }
    for name in rows[0].curves:
        columns[name] = [row.curves[name] for row in rows]
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path, compression="zstd")


def read(path: Path = KEPT) -> list[Row]:
    """Return the runs that were kept."""
    import json

    import pyarrow.parquet as pq

    names = ("loss", "grad_norm", "seconds", "val_loss", "val_score")
    return [
        Row(
            one["task"],
            one["number"],
            params=json.loads(one["params"]),
            curves={name: np.array(one[name], dtype=np.float32) for name in names},
            fault=one["fault"],
            severity=json.loads(one["severity"]),
            onset=one["onset"],
            harmful=one["harmful"],
        )
        for one in pq.read_table(path).to_pylist()
    ]


def kept(*, lessons: bool) -> list[Row]:
    """Return the trainings that are measured on, or the lessons; made now where there are none."""
    path = LESSONS_KEPT if lessons else KEPT
    if not path.is_file():
        write(list(make(*LESSONS, lessons=True) if lessons else make()), path)
    return read(path)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--healthy", type=int, default=N_HEALTHY, help="runs of each experiment")
    parser.add_argument("--each", type=int, default=N_EACH, help="runs of each class of faults")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--lessons", action="store_true", help="the experiments that are learned from alone")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    rows = list(make(given.healthy, given.each, given.jobs, lessons=given.lessons))
    out = given.out or (LESSONS_KEPT if given.lessons else KEPT)
    write(rows, out)
    for kind in CLASSES:
        of_kind = [row for row in rows if row.fault == kind]
        print(f"{kind:16s}{len(of_kind):5d} runs, {np.mean([row.harmful for row in of_kind]):.0%} harmful")
    print(f"{sum(row.fault is None for row in rows)} healthy; written to {out}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""How long a search takes: warm in a store of 100,000 runs, and cold from the command line with the text encoder.

    python evals/search_latency.py [--quick] [--out build/evals/search_latency.json]

The runs are the real ones of ``algoperf`` and ``deepobs``, repeated with other parameters and with notes of other
numbers, so that texts differ; their vectors are chance, questions are encoded in earnest. Times are of this machine as
it is, loaded or not: CPU time and the load are reported beside them.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from storage import open_store
from storage.embed import choose_embedder
from storage.records import Event

QUESTIONS = (
    "loss blew up",
    "overfitts on smal data",
    "learning rate too high optimizer Adam",
    "runs that never learned anything state:finished",
    "plateau params.lr<{:.4g}",
    "params.lr>{:.4g} diverged experiment:mnist_vae",
)
"""Of conditions, each is asked with another number, since the answer to one is remembered."""
NOTES = (
    "went to nan in epoch {}", "overfits after step {}, stop early", "bounces around since {}",
    "best so far, {} points ahead", "slow: {} seconds a step", "plateau since {}, cut the budget",
)  # fmt: skip
WARM_MS = 50.0
COLD_S = 3.0
NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Quick:
    """Vectors of chance in the name of the real encoder, for the texts of the store: only time is measured here."""

    def __init__(self) -> None:
        real = choose_embedder()
        self.identity, self.dimension = real.identity, real.dimension
        self._rng = np.random.default_rng(0)

    def embed(self, texts: Any) -> Any:
        vectors = self._rng.normal(size=(len(texts), self.dimension)).astype(np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--quick", action="store_true", help="10,000 runs")
    arguments = parser.parse_args()
    data = Path(os.environ.get("ADVISOR_EVAL_DATA", Path(__file__).parents[1] / ".." / "shared" / "data"))
    if not (data / "algoperf").is_dir():
        print(f"skipped: there is no {data / 'algoperf'}; set ADVISOR_EVAL_DATA")
        return 0
    report: dict[str, Any] = {"load_average": os.getloadavg()[0]}
    with tempfile.TemporaryDirectory() as folder:
        for n_runs in (3_000, 10_000 if arguments.quick else 100_000):
            report[str(n_runs)] = measure(Path(folder) / str(n_runs), data, n_runs)
            show(n_runs, report[str(n_runs)])
    print(
        f"load average {report['load_average']:.1f} on {os.cpu_count()} cores; "
        f"asked: warm {WARM_MS:.0f} ms, cold {COLD_S:.0f} s"
    )
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps(report, indent=1) + "\n")
    return 0


def measure(path: Path, data: Path, n_runs: int) -> dict[str, Any]:
    store = open_store(path, embedder=Quick())
    fill(store, data, n_runs)
    started = time.perf_counter()
    store.reindex()
    indexed_s = time.perf_counter() - started
    store.close()
    store = open_store(path, create=False, embedder=choose_embedder())
    started = time.perf_counter()
    store.search("loss")
    first_s = time.perf_counter() - started
    warm = {
        text: np.median([timed(store, text.format(value)) for value in np.geomspace(1e-4, 1e-2, 9)], axis=0)
        for text in QUESTIONS
    }
    run_id = store.search("plateau")[0].run.id
    started = time.perf_counter()
    store.similar(run_id)
    like_s = time.perf_counter() - started
    store.close()
    return {
        "reindex_s": indexed_s,
        "first_s": first_s,
        "warm_ms": {text: [float(wall), float(cpu)] for text, (wall, cpu) in warm.items()},
        "like_s": like_s,
        "cold": [cold(path) for _ in range(3)],
    }


def timed(store: Any, text: str) -> tuple[float, float]:
    """Return wall and CPU milliseconds of one search."""
    started, cpu = time.perf_counter(), time.process_time()
    store.search(text)
    return 1_000 * (time.perf_counter() - started), 1_000 * (time.process_time() - cpu)


def cold(path: Path) -> dict[str, float]:
    """Return wall and CPU seconds of one call of the program."""
    command = [sys.executable, "-m", "advisor", "--store", str(path), "search", "loss blew up", "--json"]
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return {"wall_s": time.perf_counter() - started, "cpu_s": cpu}


def fill(store: Any, data: Path, n_runs: int) -> None:
    """Write runs as imports do, without curves, which no search reads."""
    rows = [row for name in ("algoperf", "deepobs") for row in pq.read_table(data / name / "runs.parquet").to_pylist()]
    rng = np.random.default_rng(0)
    names = sorted({row["experiment"] for row in rows})
    store.append([Event.new("experiment.created", name, time=NOW, objectives=[], description="") for name in names])
    for first in range(0, n_runs, 5_000):
        events: list[Event] = []
        for i in range(first, min(first + 5_000, n_runs)):
            row = rows[i % len(rows)]
            params = {
                name: value * float(rng.uniform(0.5, 2)) if isinstance(value, float) else value
                for name, value in json.loads(row["params"]).items()
            }
            values = {"val_loss": float(rng.lognormal()), "train_loss": float(rng.lognormal())}
            body: dict[str, Any] = {
                "params": params,
                "state": "finished",
                "source": "import",
                "summary": {name: {"n": 1, "last": value, "last_finite": value} for name, value in values.items()},
            }
            if i % 5 == 0:
                body["notes"] = [NOTES[int(rng.integers(len(NOTES)))].format(int(rng.integers(500)))]
            when = NOW + timedelta(seconds=i)
            events.append(Event.new("run.created", row["experiment"], f"{row['run_id']}-{i}", time=when, **body))
        store.append(events)


def show(n_runs: int, found: dict[str, Any]) -> None:
    print(
        f"{n_runs:,} runs: index with vectors {found['reindex_s']:.1f} s, first search {found['first_s']:.2f} s, "
        f"like one {found['like_s']:.2f} s"
    )
    for text, (wall, cpu) in found["warm_ms"].items():
        print(f"  {'met ' if wall <= WARM_MS else 'MISS'} warm {wall:6.1f} ms wall, {cpu:5.1f} ms CPU  {text}")
    for each in found["cold"]:
        met = "met " if each["wall_s"] <= COLD_S else "MISS"
        print(f"  {met} cold {each['wall_s']:.2f} s wall, {each['cpu_s']:.2f} s CPU")


if __name__ == "__main__":
    raise SystemExit(main())

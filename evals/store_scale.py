"""What a large store answers, and how fast: 100,000 runs of three experiments, opened, asked and listed.

The store is filled through the store's own appends, two events a run, as an import would. Each question is timed in
this process (warm: the median of several) and as a command of its own (cold: a new interpreter, imports included);
the least that a cold command can take, an interpreter that imports the database library, is printed beside.

    python evals/store_scale.py [--runs 100000] [--keep FOLDER] [--out PATH]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from storage import Event, open_store
from storage.embed import HashingEmbedder

EXPERIMENTS = ("mlp", "cnn", "transformer")
AT_ONCE = 5_000
WHERE = "params.lr < 0.01 and state = 'finished' and val_loss < 0.9"


def fill(uri: str, n_runs: int) -> float:
    """Write the runs; return the seconds that it took."""
    rng = random.Random(0)
    store = open_store(uri, embedder=HashingEmbedder())
    objectives = [{"metric": "val_loss", "direction": "minimize"}]
    store.append([Event.new("experiment.created", name, objectives=objectives) for name in EXPERIMENTS])
    began, batch = time.perf_counter(), []
    for i in range(n_runs):
        name, run_id = EXPERIMENTS[i % 3], f"{rng.getrandbits(128):032x}"
        params = {"lr": 10 ** rng.uniform(-5, 0), "batch_size": 2 ** rng.randint(4, 9), "optimizer": "adam"}
        batch.append(Event.new("run.created", name, run_id, params=params, seed=i, tags=["sweep"]))
        loss = rng.random()
        summary = {"val_loss": {"n": 100, "last": loss, "last_finite": loss, "min": loss, "max": 2.0}}
        batch.append(Event.new("run.state", name, run_id, state="finished", summary=summary))
        if len(batch) >= AT_ONCE:
            store.append(batch)
            batch = []
    store.append(batch)
    store.compact()
    return time.perf_counter() - began


def median_ms(call: Callable[[], object], n: int = 7) -> float:
    call()
    seconds = []
    for _ in range(n):
        began = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - began)
    return round(statistics.median(seconds) * 1e3, 1)


def command_s(*arguments: str, n: int = 5) -> float:
    """Return the median time of a whole command."""
    seconds = []
    for _ in range(n):
        began = time.perf_counter()
        subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
        seconds.append(time.perf_counter() - began)
    return round(statistics.median(seconds), 2)


def peak_mib(*arguments: str) -> int:
    """Return the largest resident set of a command, in MiB."""
    code = (
        "import resource, subprocess, sys\n"
        "subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)\n"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, sys.executable, *arguments], check=True, capture_output=True, text=True
    )
    return int(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--keep", type=Path, help="folder for the store; used as it is if it holds one")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        uri = str(given.keep or Path(scratch) / "store")
        filled_s = None if Path(uri, "events.lance").exists() else round(fill(uri, given.runs), 1)
        rows: dict[str, float | int | None] = {"filling, s": filled_s}

        store = open_store(uri, create=False, embedder=HashingEmbedder())
        run = store.runs("cnn", limit=1)[0]

        def opened_and_asked() -> object:
            return open_store(uri, create=False, embedder=HashingEmbedder()).run(run.id)

        rows["open and ask for one run, ms"] = median_ms(opened_and_asked)
        rows["one run, ms"] = median_ms(lambda: store.run(run.id))
        rows["best run, ms"] = median_ms(lambda: store.best("cnn"))
        rows["filter, sort, 20 runs of an experiment, ms"] = median_ms(
            lambda: store.runs("cnn", where=WHERE, order_by="val_loss", limit=20)
        )
        rows["sort all of an experiment, 20 runs, ms"] = median_ms(
            lambda: store.runs("cnn", order_by="val_loss", descending=True, limit=20)
        )
        rows["filter, sort, 20 runs of the store, ms"] = median_ms(
            lambda: store.runs(where=WHERE, order_by="val_loss", limit=20)
        )
        rows["newest 20, ms"] = median_ms(lambda: store.runs("cnn", descending=True, limit=20))
        rows["count by a filter, ms"] = median_ms(lambda: store.count("cnn", where=WHERE))
        rows["append an event and read it back, ms"] = median_ms(
            lambda: (store.append([Event.new("run.tagged", "cnn", run.id, tags=["x"])]), store.run(run.id))
        )
        listing = (
            "-m",
            "advisor",
            "--store",
            uri,
            "runs",
            "cnn",
            "--where",
            WHERE,
            "--sort",
            "val_loss",
            "--limit",
            "20",
        )
        rows["command: advisor runs --where --sort --limit 20, s"] = command_s(*listing)
        rows["command: import the database library, s"] = command_s("-c", "import lancedb")
        rows["peak memory of the command, MiB"] = peak_mib(*listing)
        rows["peak memory: import the database library, MiB"] = peak_mib("-c", "import lancedb")
        began = time.perf_counter()
        n = len(store.runs("cnn"))
        rows[f"all {n:,} runs of an experiment, s"] = round(time.perf_counter() - began, 2)
        rows["peak memory of this process, MiB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        n_bytes = sum(file.stat().st_size for file in Path(uri).rglob("*") if file.is_file())
        rows["bytes on disk a run"] = n_bytes // store.count()
    print(f"{given.runs:,} runs, {os.cpu_count()} cores")
    for name, value in rows.items():
        print(f"{name:55}{value if value is not None else '-':>10}")
    if given.out:
        given.out.write_text(json.dumps({"n_runs": given.runs, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()

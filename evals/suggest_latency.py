"""How long a suggestion takes: in a process that has asked before, in a store, and as a command of its own.

- ``suggest()`` with 1,000 and with 10,000 runs of the experiment and 10,000 of 100 others, each ask after one more run.
- ``Experiment.suggest`` on a store of the same sizes, each ask after one told run; with and without keeping.
- CPU seconds of ``advisor suggest`` in a new process, on a small store and on the large one.

The first ask of a process loads libraries and models the other experiments; it is a figure of its own. Beside the wall
time stands the CPU time of an ask, which other work on the machine disturbs less.

    python evals/suggest_latency.py [--asks 40] [--quick] [--profile] [--out PATH]
"""

from __future__ import annotations

import argparse
import cProfile
import json
import math
import os
import pstats
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

import advisor
from advisor.suggest import Choice, Float, Int, Space, suggest
from advisor.suggest.others import Past
from storage import Event, open_store
from storage.embed import HashingEmbedder
from storage.records import Experiment, Objective, Run, RunState

SPACE = Space.of(
    {
        "lr": Float(1e-5, 1.0, log=True),
        "weight_decay": Float(1e-6, 1e-1, log=True),
        "dropout": Float(0.0, 0.6),
        "batch_size": Int(16, 512, log=True),
        "layers": Int(1, 8),
        "optimizer": Choice("sgd", "adam", "adamw"),
    }
)
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
N_OTHERS, RUNS_EACH = 100, 100
AT_ONCE = 5_000
LIMITS = {1_000: 50.0, 10_000: 300.0}
"""Median of a warm ask, ms, by runs of the experiment; what is kept waits for the disk as well, and is shown only."""
TARGETS = {
    label: limit for n, limit in LIMITS.items() for label in (f"suggest, {n:,} runs", f"store, {n:,} runs, not kept")
}
COMMAND_CPU_S = 3.0


def outcome(params: Mapping[str, Any], which: int, rng: np.random.Generator) -> float:
    """Return a loss with its optimum a little elsewhere in each experiment, and noise."""
    shift = math.sin(which) / 2
    loss = (math.log10(params["lr"]) + 2.5 + shift) ** 2 / 4 + (params["dropout"] - 0.2 - shift / 5) ** 2
    loss += (math.log10(params["weight_decay"]) + 4) ** 2 / 40 + abs(params["layers"] - 4) / 20
    return loss + 0.1 * (params["optimizer"] == "sgd") + 0.02 * rng.standard_normal()


def experiment(which: int) -> Experiment:
    return Experiment(
        f"convnet-{which:03d}",
        number=which,
        objectives=(Objective("val_loss"),),
        space=SPACE.to_json(),
        description=f"convolutional network on data set {which}",
        created=BEGIN,
    )


def run(which: int, number: int, params: Mapping[str, Any], rng: np.random.Generator) -> Run:
    ended = BEGIN + timedelta(minutes=number)
    return Run(
        f"{which:03d}-{number:05d}",
        number=number,
        experiment=f"convnet-{which:03d}",
        state=RunState.FINISHED,
        params=params,
        values=(outcome(params, which, rng),),
        created=ended,
        started=ended,
        ended=ended,
    )


def runs_of(which: int, n: int) -> list[Run]:
    rng = np.random.default_rng([which, 1])
    return [run(which, number, SPACE.draw(rng), rng) for number in range(n)]


def asking(n_own: int) -> Callable[[], None]:
    """Return what asks with all records at hand, and then adds the run that was suggested."""
    others = [Past(experiment(which), runs_of(which, RUNS_EACH)) for which in range(1, N_OTHERS + 1)]
    record, runs, rng = experiment(0), runs_of(0, n_own), np.random.default_rng(2)

    def ask() -> None:
        made = suggest(record, runs, SPACE, seed=1, now=runs[-1].created, others=others)[0]
        runs.append(run(0, len(runs), made.params, rng))

    return ask


def timed(ask: Callable[[], None], n: int, between: Callable[[], None] = lambda: None) -> dict[str, Any]:
    """Return milliseconds of the first ask, and of those that follow."""
    wall, cpu = [], []
    for _ in range(n + 1):
        between()
        began, used = time.perf_counter(), time.process_time()
        ask()
        wall.append(1e3 * (time.perf_counter() - began))
        cpu.append(1e3 * (time.process_time() - used))
    p50, p95 = np.quantile(wall[1:], [0.5, 0.95])
    return {
        "first_ms": wall[0],
        "median_ms": float(p50),
        "p95_ms": float(p95),
        "max_ms": max(wall[1:]),
        "cpu_median_ms": float(np.median(cpu[1:])),
        "n": n,
    }


def fill(uri: str, sizes: Mapping[int, int]) -> None:
    """Write experiments, number → runs, as an import would."""
    store = open_store(uri, embedder=HashingEmbedder())
    batch = []
    for which, n in sizes.items():
        record = experiment(which)
        said = {"objectives": [{"metric": "val_loss", "direction": "minimize"}], "description": record.description}
        batch.append(Event.new("experiment.created", record.name, space=dict(record.space or {}), **said))
        for one in runs_of(which, n):
            run_id, loss = f"{which:08x}{one.number:024x}", one.values[0]
            figures = {"n": 1, "last": loss, "last_finite": loss, "min": loss, "max": loss}
            batch.append(Event.new("run.created", record.name, run_id, time=one.created, params=dict(one.params)))
            body = {"state": "finished", "summary": {"val_loss": figures}}
            batch.append(Event.new("run.state", record.name, run_id, time=one.created, **body))
        if len(batch) >= AT_ONCE:
            store.append(batch)
            batch = []
    store.append(batch)
    store.compact()


def in_store(uri: str, n_asks: int, *, keep: bool) -> dict[str, Any]:
    """Time asks on a store, each after one told run."""
    rng = np.random.default_rng(3)
    with advisor.open(uri, capture=False) as adv:
        searched = adv.experiment("convnet-000")
        params: list[Mapping[str, Any]] = [SPACE.draw(rng)]

        def tell() -> None:
            searched.tell(params[-1], outcome(params[-1], 0, rng))

        def ask() -> None:
            params.append(searched.suggest(seed=1, keep=keep)[0].params)

        return timed(ask, n_asks, between=tell)


def command_cpu_s(uri: str, n: int = 5) -> dict[str, float]:
    """Return the median CPU seconds, user and system, and wall seconds of a command that suggests."""
    command = [sys.executable, "-m", "advisor.cli", "--store", uri, "suggest", "convnet-000"]
    cpu, wall = [], []
    for _ in range(n):
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        wall.append(time.perf_counter() - began)
        cpu.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return {"cpu_s": statistics.median(cpu), "wall_s": statistics.median(wall), "n": n}


def profiled(n_own: int, n_asks: int, n_lines: int = 25) -> None:
    """Print where the time of warm asks goes."""
    ask = asking(n_own)
    ask()
    with cProfile.Profile() as profile:
        for _ in range(n_asks):
            ask()
    for order in ("cumulative", "tottime"):
        print(f"\n{n_own:,} runs, {n_asks} warm asks, by {order}")
        pstats.Stats(profile).strip_dirs().sort_stats(order).print_stats(n_lines)


def measure(n_asks: int, sizes: tuple[int, ...]) -> tuple[dict[str, Any], dict[str, Any]]:
    rows: dict[str, Any] = {}
    commands: dict[str, Any] = {}
    for n in sizes:
        rows[f"suggest, {n:,} runs"] = timed(asking(n), n_asks)
    others = dict.fromkeys(range(1, N_OTHERS + 1), RUNS_EACH)
    with tempfile.TemporaryDirectory() as folder:
        small = str(Path(folder) / "small")
        fill(small, {0: 20, 1: 20, 2: 20})
        commands["small store: 60 runs"] = command_cpu_s(small)
        for n in sizes:
            uri = str(Path(folder) / str(n))
            fill(uri, {0: n, **others})
            for keep in (False, True):
                label = f"store, {n:,} runs, {'kept' if keep else 'not kept'}"
                rows[label] = in_store(uri, n_asks, keep=keep)
            commands[f"large store: {n + N_OTHERS * RUNS_EACH:,} runs"] = command_cpu_s(uri)
    return rows, commands


def show(rows: Mapping[str, Any], commands: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Print the tables; return which targets hold."""
    print(f"an ask after one more run, ms{'':14}{'first':>9}{'median':>9}{'p95':>9}{'largest':>9}{'CPU':>9}")
    for label, row in rows.items():
        figures = (row[key] for key in ("first_ms", "median_ms", "p95_ms", "max_ms", "cpu_median_ms"))
        print(f"{label:42}" + "".join(f"{figure:>9.0f}" for figure in figures))
    print(f"\n{'advisor suggest, a new process':42}{'CPU s':>9}{'wall s':>9}")
    for label, row in commands.items():
        print(f"{label:42}{row['cpu_s']:>9.2f}{row['wall_s']:>9.2f}")
    judged = [
        {"aim": f"{label}: median at most {limit:.0f} ms", "found": rows[label]["median_ms"], "limit": limit}
        for label, limit in TARGETS.items()
        if label in rows
    ]
    judged += [
        {"aim": f"{label}: at most {COMMAND_CPU_S:g} CPU s", "found": row["cpu_s"], "limit": COMMAND_CPU_S}
        for label, row in commands.items()
    ]
    print("\nTargets")
    for target in judged:
        target["holds"] = target["found"] <= target["limit"]
        share = target["found"] / target["limit"]
        verdict = "holds " if target["holds"] else "MISSED"
        print(f"  {verdict}  {target['aim']}: {target['found']:.4g} ({share:.2f} of it)")
    return judged


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--asks", type=int, default=40, help="timed asks of each kind")
    parser.add_argument("--quick", action="store_true", help="15 asks, only the smaller experiment")
    parser.add_argument("--profile", action="store_true", help="only say where the time of suggest() goes")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    n_asks, sizes = (15, (1_000,)) if given.quick else (given.asks, (1_000, 10_000))
    if given.profile:
        for n in sizes:
            profiled(n, n_asks)
        return
    load = os.getloadavg()
    rows, commands = measure(n_asks, sizes)
    judged = show(rows, commands)
    print(f"load {load[0]:.1f} before, {os.getloadavg()[0]:.1f} after; {os.cpu_count()} CPUs")
    if given.out:
        content = {"load": load, "asks": rows, "commands": commands, "targets": judged}
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()

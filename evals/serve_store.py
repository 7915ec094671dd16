"""A store as large as the page has to bear: 100,000 runs as people leave them, and 10 runs of 1,000,000 points.

Left out: measuring. The store is filled through its own appends, as an import would; what the runs hold is drawn with
a fixed seed. Each ordinary run has parameters, a captured environment, a curve of 30 points and its end; some failed,
some ended in NaN, some have open findings, and each experiment has suggestions. The long runs have an experiment of
their own, whose curves have spikes of one point and stretches of NaN.

    python evals/serve_store.py FOLDER [--runs 100000] [--long 10] [--points 1000000]
"""

from __future__ import annotations

import argparse
import json
import math
import random
import shutil
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np

from storage import open_store
from storage.embed import HashingEmbedder
from storage.records import Curve, CurveChunk, Event
from storage.store import RunStore

EXPERIMENTS: Final = ("mlp", "cnn", "transformer")
LONG: Final = "long"
"""The experiment of the runs with very many points."""
AT_ONCE: Final = 2_500
"""Runs in one commit."""
N_POINTS: Final = 30
"""Of an ordinary run's curve."""
P_FAILED, P_NAN, P_WARNING, P_ERROR = 0.02, 0.01, 0.03, 0.005
BEGAN: Final = datetime(2026, 1, 1, tzinfo=UTC)
FILLED: Final = "filled.json"
"""Lies beside the tables once the store is whole, and says what it was filled with."""
FORM: Final = 1
"""Goes up when what is filled in changes, so that older stores are filled anew."""


def cached(folder: Path, *, n_runs: int, n_long: int, n_points: int) -> float | None:
    """Make sure that a folder holds the store; return the seconds that filling it took, None where it was there."""
    wanted = {"form": FORM, "n_runs": n_runs, "n_long": n_long, "n_points": n_points}
    note = folder / FILLED
    if note.exists() and json.loads(note.read_text()) == wanted:
        return None
    if folder.exists():
        if any(folder.iterdir()) and not (folder / "events.lance").exists():
            raise SystemExit(f"{folder} holds something else than a store; name another folder")
        shutil.rmtree(folder)
    began = time.perf_counter()
    fill(folder, n_runs=n_runs, n_long=n_long, n_points=n_points)
    note.write_text(json.dumps(wanted))
    return time.perf_counter() - began


def fill(folder: Path, *, n_runs: int, n_long: int, n_points: int) -> None:
    """Write everything."""
    store = open_store(folder, embedder=HashingEmbedder())
    rng = random.Random(0)
    space = {
        "lr": {"type": "float", "low": 1e-5, "high": 1.0, "log": True},
        "batch_size": {"type": "int", "low": 16, "high": 512, "log": True},
        "optimizer": {"type": "choice", "choices": ["sgd", "adam", "adamw"]},
    }
    about: dict[str, Any] = {"objectives": [{"metric": "val_loss", "direction": "minimize"}], "space": space}
    made = [
        Event.new("experiment.created", name, time=BEGAN, description=f"{name}: how low does the loss get?", **about)
        for name in (*EXPERIMENTS, LONG)
    ]
    store.append(made)
    for start in range(0, n_runs, AT_ONCE):
        _append_runs(store, rng, range(start, min(start + AT_ONCE, n_runs)))
    for name in EXPERIMENTS:
        store.append([_suggested(rng, name, i) for i in range(100)])
    for i in range(n_long):
        _append_long(store, rng, i, n_points)
    store.compact()


def _append_runs(store: RunStore, rng: random.Random, numbers: range) -> None:
    events, chunks = [], []
    for i in numbers:
        run_id, name, at = f"{rng.getrandbits(128):032x}", EXPERIMENTS[i % 3], BEGAN + timedelta(minutes=i)
        params = _params(rng)
        wild = rng.random()
        values = _values(rng, params["lr"], ends_in_nan=P_FAILED < wild < P_FAILED + P_NAN)
        events.append(
            Event.new("run.created", name, run_id, time=at, params=params, seed=i, tags=[f"sweep-{i // 999}"])
        )
        events.append(Event.new("run.captured", name, run_id, time=at, **_environment(i)))
        curve = Curve.of("val_loss", np.arange(N_POINTS), values)
        chunks.append(
            CurveChunk(run_id, metric="val_loss", chunk=0, through=N_POINTS, steps=curve.steps, values=values)
        )
        end: dict[str, Any] = {"state": "finished", "summary": {"val_loss": curve.summary()}}
        if wild < P_FAILED:
            end |= {"state": "failed", "error": "RuntimeError: CUDA out of memory. Tried to allocate 2.00 GiB"}
        events.append(Event.new("run.state", name, run_id, time=at + timedelta(minutes=rng.uniform(1, 90)), **end))
        finding = rng.random()
        if finding < P_WARNING:
            events.append(_finding(rng, name, run_id, at, "error" if finding < P_ERROR else "warning"))
    store.append(events)
    store.append_curves(chunks)


def _params(rng: random.Random) -> dict[str, Any]:
    return {
        "lr": 10 ** rng.uniform(-5, 0),
        "batch_size": 2 ** rng.randint(4, 9),
        "optimizer": rng.choice(("sgd", "adam", "adamw")),
        "weight_decay": 10 ** rng.uniform(-6, -2),
        "dropout": round(rng.uniform(0, 0.5), 3),
        "n_layers": rng.randint(2, 12),
    }


def _values(rng: random.Random, lr: float, *, ends_in_nan: bool) -> list[float]:
    floor = 0.1 + 0.05 * abs(math.log10(lr) + 2.5) + rng.gauss(0, 0.01)
    values = [floor + math.exp(-step / 6) + rng.gauss(0, 0.005) for step in range(N_POINTS)]
    return [*values[:-5], *[math.nan] * 5] if ends_in_nan else values


def _environment(i: int) -> dict[str, Any]:
    """Return what a capture holds, about as large as most."""
    return {
        "command": ["python", "train.py", "--config", f"configs/sweep-{i // 999}.yaml"],
        "python": {"version": "3.11.9", "implementation": "CPython", "executable": "/opt/conda/bin/python"},
        "libraries": {"numpy": "2.1.0", "torch": "2.6.0", "transformers": "4.48.0", "experiment-advisor": "0.1.0"},
        "platform": {"system": "Linux", "release": "6.8.0"},
        "hardware": {"cpus": 64, "memory_bytes": 540_000_000_000, "gpus": [{"name": "NVIDIA H100", "count": 8}]},
        "host": f"node-{i % 40:03d}",
        "git": {"commit": f"{i // 500:040x}", "branch": "main", "dirty": False},
    }


def _finding(rng: random.Random, name: str, run_id: str, at: datetime, severity: str) -> Event:
    body = {
        "finding_id": f"{rng.getrandbits(128):032x}",
        "code": "ADV101" if severity == "error" else "ADV103",
        "title": "val_loss is NaN from step 25 on" if severity == "error" else "val_loss rose for 12 steps",
        "severity": severity,
        "detector": "rules",
        "metric": "val_loss",
        "step": 25,
        "evidence": {"value": 0.4, "threshold": 0.3},
    }
    return Event.new("finding.opened", name, run_id, time=at + timedelta(minutes=2), actor="rules", **body)


def _suggested(rng: random.Random, name: str, i: int) -> Event:
    body = {
        "suggestion_id": f"{rng.getrandbits(128):032x}",
        "params": {key: value for key, value in _params(rng).items() if key in ("lr", "batch_size", "optimizer")},
        "why": "Close to the 12 best runs, where few have been.",
        "source": "gp",
        "sampler": "GPSampler",
        "seed": i,
        "forecast": {"mean": 0.13, "low": 0.11, "high": 0.16},
    }
    return Event.new("suggestion.made", name, time=BEGAN + timedelta(hours=i), actor="suggest", **body)


def _append_long(store: RunStore, rng: random.Random, i: int, n_points: int) -> None:
    run_id, at, noise = f"{rng.getrandbits(128):032x}", BEGAN + timedelta(days=70, hours=i), np.random.default_rng(i)
    steps = np.arange(n_points)
    train = 0.2 + 0.02 * i + 2 * np.exp(-steps / (n_points / 8)) + noise.normal(0, 0.01, n_points)
    train[noise.integers(0, n_points, 5)] = 50.0  # spikes of one point, which every zoom has to show
    train[n_points // 3 : n_points // 3 + 3] = math.nan
    val = train[:: max(n_points // 10_000, 1)] + 0.1
    curves = [
        Curve.of("train_loss", steps, train, steps * 0.05),
        Curve.of("val_loss", steps[:: max(n_points // 10_000, 1)], val, steps[:: max(n_points // 10_000, 1)] * 0.05),
    ]
    store.append_curves(
        [
            CurveChunk(
                run_id, metric=c.metric, chunk=0, through=n_points, steps=c.steps, values=c.values, times=c.times
            )
            for c in curves
        ]
    )
    summary = {curve.metric: curve.summary() for curve in curves}
    ended = at + timedelta(hours=14)
    store.append(
        [
            Event.new("run.created", LONG, run_id, time=at, params=_params(rng), seed=i, tags=["long"]),
            Event.new("run.captured", LONG, run_id, time=at, **_environment(i)),
            Event.new("run.state", LONG, run_id, time=ended, state="finished", summary=summary),
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--long", type=int, default=10)
    parser.add_argument("--points", type=int, default=1_000_000)
    given = parser.parse_args()
    took = cached(given.folder, n_runs=given.runs, n_long=given.long, n_points=given.points)
    print("it was there" if took is None else f"filled in {took:.0f} s")


if __name__ == "__main__":
    main()

"""Kills a training with SIGKILL at random instants, many times, and counts what is missing afterwards.

A child opens a store, starts runs, logs, notes and finishes them; it acknowledges each call over a pipe once the call
has returned. It is killed at a seeded random instant: after a random number of acknowledgements, or after a random
time, which hits the start, a flush, a compaction (a second process compacts the same store in a loop) and the end. Then
the store is opened again and compared with what was acknowledged: every point and note is there, nothing is there
twice, run numbers are consecutive, and every run is finished or crashed.

    python evals/sigkill.py [--kills 200] [--seed 0] [--out PATH]
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

WRITER = """
import os, sys, time
import advisor

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

uri, steps, pause_s, wait = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), sys.argv[4] == "wait"
say("up")
adv = advisor.open(uri, capture=False)
exp = adv.experiment("killed", objective="loss", description="to be killed")
if wait:
    adv.store
while True:
    run = exp.start(params={"lr": 0.1})
    say("run", run.id)
    for step in range(steps):
        run.log({"loss": 1.0 / (step + 1), "grad": float(step)}, step=step)
        say("step", step)
        if step % 50 == 20:
            run.note(f"note {step}")
            say("note", step)
        if pause_s:
            time.sleep(pause_s)
    run.finish()
    say("finished")
"""
COMPACTOR = """
import sys, time
from storage import open_store
from storage.errors import StorageError
while True:
    try:
        store = open_store(sys.argv[1])
        while True:
            store.compact()
            time.sleep(0.05)
    except StorageError:
        time.sleep(0.05)
"""


@dataclass(frozen=True)
class Plan:
    """One kill."""

    where: str
    wait: bool
    """Whether the child waits for the store before its first run."""
    steps: int
    pause_s: float
    acknowledged: int
    """Kill after so many acknowledgements of the kind that `where` says."""
    delay_s: float
    """And then this much later."""


def planned(rng: random.Random) -> Plan:
    where = rng.choice(["start", "log", "log", "flush", "finish"])
    if where == "start":
        return Plan(where, wait=False, steps=50, pause_s=0.0, acknowledged=1, delay_s=rng.uniform(0.0, 1.5))
    if where == "log":
        return Plan(where, rng.random() < 0.5, steps=5000, pause_s=0.0, acknowledged=rng.randint(2, 3000), delay_s=0.0)
    if where == "flush":  # the thread delivers about once a second, and at each note
        return Plan(where, wait=True, steps=5000, pause_s=0.001, acknowledged=2, delay_s=rng.uniform(0.8, 2.2))
    steps = rng.randint(1, 60)
    n = 2 + steps + (steps > 20) + (steps > 50)
    return Plan(where, wait=True, steps=steps, pause_s=0.0, acknowledged=n, delay_s=rng.uniform(0.0, 0.08))


def killed(uri: Path, plan: Plan) -> dict[str, dict[str, list[int]]]:
    """Run the writer, kill it as planned, and return what it acknowledged, by run."""
    wait = "wait" if plan.wait else "no"
    command = [sys.executable, "-c", WRITER, str(uri), str(plan.steps), str(plan.pause_s), wait]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert child.stdout is not None
    lines = []
    for _ in range(plan.acknowledged):
        line = child.stdout.readline()
        if not line:
            raise RuntimeError("the writer ended by itself")
        lines.append(line)
    time.sleep(plan.delay_s)
    child.send_signal(signal.SIGKILL)
    rest = child.stdout.read()
    child.wait()
    child.stdout.close()
    if rest and not rest.endswith(b"\n"):
        rest = rest[: rest.rfind(b"\n") + 1]  # a torn acknowledgement is none
    out: dict[str, dict[str, list[int]]] = {}
    run: dict[str, list[int]] = {}
    for line in [*lines, *rest.splitlines(keepends=True)]:
        kind, _, value = line.decode().strip().partition(" ")
        if kind == "run":
            run = out.setdefault(value, {"step": [], "note": [], "finished": []})
        elif kind in ("step", "note"):
            run[kind].append(int(value))
        elif kind == "finished":
            run["finished"].append(1)
    return out


def missing(uri: Path, expected: dict[str, dict[str, list[int]]]) -> dict[str, int]:
    """Open the store again and count what is not as it should be."""
    from storage import open_store

    faults: Counter[str] = Counter()
    store = open_store(uri, create=False)
    runs = {run.id: run for run in store.runs("killed")} if store.experiments() else {}
    curves = store.curves(list(runs))
    for run_id, said in expected.items():
        run = runs.get(run_id)
        if run is None:
            faults["run lost"] += 1
            continue
        curve = curves.get(run_id, {}).get("loss")
        steps = np.asarray(curve.steps) if curve is not None else np.empty(0, np.int64)
        faults["points lost"] += len(set(said["step"]) - set(steps.tolist()))
        faults["points twice"] += len(steps) - len(set(steps.tolist()))
        if curve is not None:
            faults["points wrong"] += int((np.asarray(curve.values) != 1.0 / (steps + 1)).sum())
        notes = Counter(run.notes)
        faults["notes lost"] += sum(f"note {step}" not in notes for step in said["note"])
        faults["notes twice"] += sum(n - 1 for n in notes.values())
        faults["runs neither finished nor crashed"] += str(run.state) not in ("finished", "crashed")
        faults["finish lost"] += bool(said["finished"]) and str(run.state) != "finished"
    faults["numbers not consecutive"] += sorted(run.number for run in runs.values()) != list(range(len(runs)))
    faults["logs left"] += len(list(store.spool_folder().glob("*.spool")))
    store.close()
    return {name: n for name, n in faults.items() if n}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-compaction", action="store_true", help="no second process that compacts meanwhile")
    parser.add_argument("--per-store", type=int, default=20, help="kills that share a store")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    rng = random.Random(given.seed)
    rows: dict[str, Counter[str]] = {}
    plans = []
    compactor: subprocess.Popen[bytes] | None = None
    with tempfile.TemporaryDirectory() as folder:
        for i in range(given.kills):
            plan = planned(rng)
            uri = Path(folder) / f"store-{i // given.per_store}"
            if not given.no_compaction and i % given.per_store == given.per_store // 4:
                compactor = subprocess.Popen([sys.executable, "-c", COMPACTOR, str(uri)], stderr=subprocess.DEVNULL)
            said = killed(uri, plan)
            faults = missing(uri, said) if said or uri.exists() else {}
            if compactor is not None and (i == given.kills - 1 or i % given.per_store == given.per_store * 3 // 4):
                compactor.kill()  # it too dies in the middle
                compactor.wait()
                compactor = None
            row = rows.setdefault(plan.where, Counter())
            row["kills"] += 1
            row["runs"] += len(said)
            row["points"] += sum(len(one["step"]) for one in said.values())
            row["notes"] += sum(len(one["note"]) for one in said.values())
            for name, n in faults.items():
                row[name] += n
            plans.append(asdict(plan) | {"faults": faults})
            if faults:
                print(f"kill {i}: {plan}: {faults}", file=sys.stderr, flush=True)
    names = ["kills", "runs", "points", "notes"]
    print(f"{'killed during':16}" + "".join(f"{name:>10}" for name in names) + "   wrong")
    for where, row in sorted(rows.items()):
        wrong = {name: n for name, n in row.items() if name not in names}
        print(f"{where:16}" + "".join(f"{row[name]:>10,}" for name in names) + f"   {wrong or 'nothing'}")
    n_faulty = sum(bool(one["faults"]) for one in plans)
    print(f"{given.kills} kills, {n_faulty} with something wrong")
    if given.out:
        given.out.write_text(json.dumps({"seed": given.seed, "rows": rows, "kills": plans}, indent=1))
    return int(bool(n_faulty))


if __name__ == "__main__":
    sys.exit(main())

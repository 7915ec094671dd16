"""Fills the disk in the middle of a training, and says what became of it.

The store lies on a small file system of its own (a tmpfs, where mounting is allowed) or under a limit on the size of
files. Midway a file eats all that is left; the training goes on. Once with room again before the end, once with room
only after the training has ended. Then the store is opened again and everything is compared with what was logged.

    python evals/disk_full.py [--calls 4000] [--out PATH]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

WRITER = """
import logging, os, sys, time
import advisor
logging.basicConfig(level=logging.WARNING, format="%(message)s")
folder, calls, freed = sys.argv[1], int(sys.argv[2]), sys.argv[3]
filler = os.path.join(folder, "filler")
adv = advisor.open(os.path.join(folder, "store"), capture=False)
run = adv.experiment("full", objective="loss").start(params={"lr": 0.1})
run.number
began = time.perf_counter()
slowest = 0.0
for step in range(calls):
    if step == calls // 3:
        with open(filler, "wb", buffering=0) as file:
            block = bytes(1 << 16)
            while block:
                try:
                    while True:
                        file.write(block)
                except OSError:
                    block = block[: len(block) // 2]
    if step == calls * 2 // 3 and freed == "before":
        os.unlink(filler)
    t = time.perf_counter()
    run.log({"loss": 1.0 / (step + 1), "grad": float(step)}, step=step)
    slowest = max(slowest, time.perf_counter() - t)
    time.sleep(0.001)
run.finish()
print(run.id, run.n_not_kept, slowest)
"""


@contextlib.contextmanager
def small_disk(megabytes: int) -> Iterator[Path]:
    """Give a file system of a few megabytes.

    Raises
    ------
    PermissionError
        If this user may not mount one.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", folder]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            raise PermissionError("a small file system cannot be mounted here")
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", "-l", folder], check=True)


def tried(calls: int, freed: str) -> dict[str, Any]:
    """Train into a disk that is full for a while, and compare."""
    from storage import open_store

    with small_disk(16) as folder:
        command = [sys.executable, "-c", WRITER, str(folder), str(calls), freed]
        began = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        row: dict[str, Any] = {"freed": freed, "exit code": done.returncode, "s": time.perf_counter() - began}
        row["said"] = done.stderr.strip().splitlines()
        if done.returncode:
            return row
        run_id, n_not_kept, slowest = done.stdout.split()
        (folder / "filler").unlink(missing_ok=True)
        store = open_store(folder / "store", create=False)
        run = store.run(run_id)
        steps = run.curve("loss").steps.tolist() if run.curves else []
        row |= {
            "state": str(run.state),
            "points": len(steps),
            "missing": calls - len(set(steps)),
            "said not kept": int(n_not_kept),
            "slowest log() ms": float(slowest) * 1e3,
            "notes": list(run.notes),
        }
        row["exact"] = row["missing"] == row["said not kept"] and len(steps) == len(set(steps))
        store.close()
        return row


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=4000)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    rows = [tried(given.calls, freed) for freed in ("before", "after")]
    for row in rows:
        print(f"room again {row['freed']} the end of the training:")
        for name, value in row.items():
            if isinstance(value, list):
                print("".join(f"  {name}: {line}\n" for line in value), end="")
            elif name != "freed":
                print(f"  {name}: {value:.3g}" if isinstance(value, float) else f"  {name}: {value}")
    if given.out:
        given.out.write_text(json.dumps({"calls": given.calls, "rows": rows}, indent=1))
    return int(not all(row.get("exact") for row in rows))


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())

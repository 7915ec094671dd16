"""What tracking adds to a script before its first training step, and what is loaded by then.

Each repetition is a fresh Python process. The same script runs without the advisor and with it: in a new store, in a
store that is there, and by ``advisor.init``. The clock runs from the script's first line to its first step; numpy is
loaded by the script in every case, as a training would. "steps" is what a step costs while the database is loaded
in the background, beside the same steps of the bare script.

    python evals/start_cost.py [--repeat 7] [--out PATH]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HEAVY = ("lancedb", "optuna", "pyarrow", "pandas", "sklearn", "scipy", "filelock", "asyncio", "torch")

SCRIPT = """
import time
began = time.perf_counter()
import json, sys
import numpy as np
{start}
first_step_s = time.perf_counter() - began
loaded = [name for name in {heavy!r} if name in sys.modules]
rng = np.random.default_rng(0)
a = rng.normal(size=(400, 400))
steps, until = [], time.perf_counter() + {steps_s}
while time.perf_counter() < until:
    t = time.perf_counter()
    for _ in range(4):
        a = np.tanh(a @ a.T / 400)
    {log}
    steps.append(time.perf_counter() - t)
print(json.dumps(dict(first_step_s=first_step_s, loaded=loaded, step_p50_ms=float(np.median(steps)) * 1e3,
                      step_p99_ms=float(np.percentile(steps, 99)) * 1e3)))
"""
OPEN = """
import advisor
adv = advisor.open(sys.argv[1])
exp = adv.experiment("start", objective="loss", space={"lr": advisor.Float(1e-5, 1, log=True)}, description="start-up")
run = exp.start(params={"lr": 0.1})
"""
INIT = """
import advisor
run = advisor.init("start", params={"lr": 0.1}, store=sys.argv[1], objective="loss")
"""
SUGGESTED = OPEN.replace('exp.start(params={"lr": 0.1})', "exp.start()")


def measured(start: str, store: Path, *, steps_s: float) -> dict[str, Any]:
    """Run one script in a process of its own."""
    log = "run.log({'loss': float(a[0, 0])})" if start else "pass"
    code = SCRIPT.format(start=start, heavy=HEAVY, steps_s=steps_s, log=log)
    done = subprocess.run([sys.executable, "-c", code, str(store)], capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=7)
    parser.add_argument("--steps-s", type=float, default=4.0, help="seconds of steps after the start")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    cases = {
        "without": ("", True),
        "open, new store": (OPEN, True),
        "open, store is there": (OPEN, False),
        "init, store is there": (INIT, False),
        "a suggestion is asked for": (SUGGESTED, False),
    }
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in cases}
    with tempfile.TemporaryDirectory() as folder:
        there = Path(folder) / "there"
        measured(OPEN, there, steps_s=0.1)
        for i in range(given.repeat):  # in turn, so that a busy moment of the machine meets all of them
            for name, (start, new) in cases.items():
                store = Path(folder) / f"new-{i}" if new else there
                found[name].append(measured(start, store, steps_s=given.steps_s))
    bare_s = statistics.median(one["first_step_s"] for one in found["without"])
    rows = {}
    print(f"{'':28}{'first step s':>13}{'added s':>9}{'step p50 ms':>13}{'p99 ms':>9}   loaded by then")
    for name, each in found.items():
        keys = ("first_step_s", "step_p50_ms", "step_p99_ms")
        row: dict[str, Any] = {key: statistics.median(one[key] for one in each) for key in keys}
        row |= {"added_s": row["first_step_s"] - bare_s, "loaded": each[-1]["loaded"]}
        rows[name] = row
        print(
            f"{name:28}{row['first_step_s']:>13.3f}{row['added_s']:>9.3f}{row['step_p50_ms']:>13.2f}"
            f"{row['step_p99_ms']:>9.2f}   {', '.join(row['loaded']) or 'none of the heavy'}"
        )
    worst = max(rows[name]["added_s"] for name in list(cases)[1:4])
    verdict = "holds" if worst < 0.3 else "MISSED"
    print(f"added before the first step, own parameters: {worst:.3f} s (to hold: below 0.3): {verdict}")
    if given.out:
        given.out.write_text(json.dumps({"repeat": given.repeat, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()

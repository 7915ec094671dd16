"""Many processes that start, log and finish runs at once in one store: is anything lost, doubled or late?

Every process opens the store by itself and all begin together. Afterwards a fresh process of the store is asked for
every run and every point. Retries are those of our own commits; the database's client makes more, silently.

    python evals/many_writers.py [--processes 16] [--runs 20] [--steps 200] [--compacting] [--s3] [--out PATH]

``--s3`` uses the loopback server of the tests, where ``--faults`` of all requests fail.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # as a script only its own folder would be looked in

import advisor  # noqa: E402
from storage import StorageError  # noqa: E402
from storage.lance import Database  # noqa: E402

TROUBLE = (advisor.AdvisorError, StorageError)

# ---------------------------------------------------------------- the processes


class Retries(logging.Handler):
    """Counts what the store's log says about tries that failed in passing."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.reasons: Counter[str] = Counter()

    def emit(self, record: logging.LogRecord) -> None:
        if record.name == "storage.remote":
            self.reasons[record.getMessage().rpartition(": ")[2][:60]] += 1


def counting() -> Retries:
    retries, logger = Retries(), logging.getLogger("storage.remote")
    logger.setLevel(logging.DEBUG)
    logger.addHandler(retries)
    return retries


def value_at(number: int, step: int) -> float:
    """Return what run ``number`` logs at a step, so that a mixed-up point is noticed."""
    return number + step / 1000


def write(uri: str, worker: int, n_runs: int, n_steps: int) -> None:
    """Run in a process of its own: wait for the word, then do all runs; tell how long each part took."""
    retries, seconds, errors, seen = counting(), [], [], {}
    print("ready", flush=True)
    sys.stdin.readline()
    with advisor.open(uri, capture=False) as adv:
        experiment = adv.experiment("many", objective="loss")
        for i in range(n_runs):
            began = time.perf_counter()
            try:
                run = experiment.start(params={"worker": worker, "i": i})
                started = time.perf_counter()
                for step in range(n_steps):
                    run.log({"loss": value_at(i, step), "acc": -value_at(i, step)}, step=step)
                logged = time.perf_counter()
                run.finish()
                seen[run.id] = i
            except TROUBLE as error:
                errors.append(f"{type(error).__name__}: {error}")
                continue
            ended = time.perf_counter()
            seconds.append((started - began, logged - started, ended - logged))
    print(json.dumps({"seconds": seconds, "errors": errors, "runs": seen, "retries": retries.reasons}), flush=True)


def compact(uri: str) -> None:
    """Run in a process of its own: compact again and again until told to end."""
    import threading

    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    done: Counter[str] = Counter()
    with advisor.open(uri) as adv:
        print("ready", flush=True)
        while not ended.wait(0.2):
            try:
                adv.store.compact()
                done["done"] += 1
            except TROUBLE as error:
                done[str(error)[-80:]] += 1
    print(json.dumps(done), flush=True)


# ---------------------------------------------------------------- their parent


def child(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, __file__, *map(str, arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def last_line(process: subprocess.Popen[str]) -> dict[str, Any]:
    lines = process.communicate("go\n")[0].splitlines() if process.stdin else []
    return cast("dict[str, Any]", json.loads(lines[-1])) if lines and not process.returncode else {}


def ready(processes: Sequence[subprocess.Popen[str]]) -> None:
    for process in processes:
        assert process.stdout is not None
        if process.stdout.readline() != "ready\n":
            raise SystemExit("a process did not start; what it said is above")


def check(uri: str, told: list[dict[str, Any]], n_steps: int) -> dict[str, Any]:
    """Ask the store, opened anew, for everything; return what is wrong, by kind."""
    wanted = {run_id: number for worker in told for run_id, number in worker.get("runs", {}).items()}
    steps = np.arange(n_steps)
    with advisor.open(uri, create=False) as adv:
        runs = adv.experiment("many").runs()
        curves = adv.store.curves([run.id for run in runs])
        info = adv.store.info()
        created = {event.run_id for event in adv.store.events() if event.kind == "run.created"}
    whole = 0
    for run_id, number in wanted.items():
        expected = number + steps / 1000
        loss, acc = (curves.get(run_id, {}).get(name) for name in ("loss", "acc"))
        whole += all(
            curve is not None and np.array_equal(curve.steps, steps) and np.array_equal(curve.values, sign * expected)
            for curve, sign in ((loss, 1), (acc, -1))
        )
    return {
        "runs": len(runs),
        "numbers are consecutive": [run.number for run in runs] == list(range(len(runs))),
        "runs lost": len(wanted.keys() - {run.id for run in runs}),
        "runs in the journal": len(created),
        "runs nobody made": len({run.id for run in runs} - wanted.keys()),
        "runs not finished": sum(run.state != "finished" for run in runs),
        "runs with every point": whole,
        "logs not delivered": len(info.spools),
        "points": info.n_points,
        "fragments": dict(info.n_fragments),
    }


def versions(uri: str) -> dict[str, int]:
    database = Database(uri, create=False)
    return {name: database.version(name) for name in database.names()}


@contextlib.contextmanager
def place(*, s3: bool, faults: float, stall_s: float) -> Iterator[tuple[str, Any]]:
    """Yield the address of a new store, and the loopback server it is on, if any."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        os.environ["XDG_STATE_HOME"] = folder  # write-ahead logs of stores in a bucket
        if not s3:
            yield f"{folder}/store", None
            return
        from tests.storage.s3 import BUCKET, running

        server = stack.enter_context(running())
        os.environ.update(server.environment())
        os.environ.setdefault("AWS_TIMEOUT", "5s")
        server.faults(faults, stall_s=stall_s)
        yield f"s3://{BUCKET}/store", server


def measure(given: argparse.Namespace) -> dict[str, Any]:
    with place(s3=given.s3, faults=given.faults, stall_s=6.0) as (uri, server):
        with advisor.open(uri, capture=False) as adv:
            adv.experiment("many", objective="loss", direction="minimize")
        before = versions(uri)
        writers = [
            child("--as", "writer", "--uri", uri, "--worker", n, "--runs", given.runs, "--steps", given.steps)
            for n in range(given.processes)
        ]
        compactor = child("--as", "compactor", "--uri", uri) if given.compacting else None
        ready([*writers, *([compactor] if compactor else [])])
        began = time.perf_counter()
        for writer in writers:
            assert writer.stdin is not None
            writer.stdin.write("go\n")
            writer.stdin.flush()
        told = [last_line(writer) for writer in writers]
        wall_s = time.perf_counter() - began
        compactions = last_line(compactor) if compactor else {}
        asked = server.counts() if server else {}
        if server:
            server.faults(0.0)
        after = versions(uri)
        result = {
            "where": "loopback S3" if given.s3 else "local folder",
            "processes": given.processes,
            "processes that failed": sum(writer.returncode != 0 for writer in writers),
            "errors": [error for worker in told for error in worker.get("errors", [])],
            "wall s": round(wall_s, 1),
            "commits": {name: after[name] - before.get(name, 0) for name in after},
            "retries": dict(sum((Counter(worker.get("retries", {})) for worker in told), Counter())),
            "compactions": compactions,
            "requests": dict(sorted(asked.items())),
            **timings(told),
            **check(uri, told, given.steps),
        }
    wanted = given.processes * given.runs
    result["passed"] = (
        not result["errors"]
        and result["runs"] == result["runs with every point"] == wanted
        and result["numbers are consecutive"]
        and not (result["processes that failed"] or result["runs not finished"] or result["logs not delivered"])
    )
    return result


def timings(told: list[dict[str, Any]]) -> dict[str, list[float]]:
    rows = np.array([row for worker in told for row in worker.get("seconds", [])]).reshape(-1, 3)
    if not len(rows):
        return {}
    names = ("start s", "all log() s", "finish s")
    return {
        f"{name} (p50, p99, max)": [round(float(x), 3) for x in (*np.percentile(column, [50, 99]), column.max())]
        for name, column in zip(names, rows.T, strict=True)
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=16)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--compacting", action="store_true", help="with a process beside that compacts all the time")
    parser.add_argument("--s3", action="store_true", help="on the loopback server of the tests")
    parser.add_argument("--faults", type=float, default=0.05, help="share of the requests that fail (with --s3)")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--as", dest="role", help=argparse.SUPPRESS)
    parser.add_argument("--uri", help=argparse.SUPPRESS)
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.role == "writer":
        return write(given.uri, given.worker, given.runs, given.steps)
    if given.role == "compactor":
        return compact(given.uri)
    result = measure(given)
    for name, value in result.items():
        shown = ", ".join(f"{key} {n}" for key, n in value.items()) if isinstance(value, dict) else value
        print(f"{name:32}{shown}")
    if given.out:
        given.out.write_text(json.dumps(result, indent=1))
    return sys.exit(0 if result["passed"] else 1)


if __name__ == "__main__":
    main()

"""Whether people who look slow a training down: ``log()`` with no viewer and with 50, in interleaved rounds.

A training in a process of its own logs four metrics a call as fast as it can, a new run each round. The page is served
by another process from the same store. A viewer holds a connection to ``/live`` and, when an event concerns a part of
his page, loads that part anew as the browser's script does: at most once a second each. All viewers are one process.
They stand for browsers on other machines, but here they share the training's cores, as the server does. So a third
kind of round, without viewers but with one process that only burns time, tells how much of a difference comes of
shared cores and not of the store.

Said are p50 and p99 of a round's calls, their medians over rounds, and the ratio of neighbouring rounds with a 95 %
interval by the bootstrap over pairs of rounds.

    python evals/serve_viewers.py [--viewers 50] [--rounds 8] [--seconds 6] [--out PATH]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import unescape
from pathlib import Path
from typing import IO, Any, Final

import numpy as np

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "evals")]  # as a script only its own folder would be looked in

from serve_scale import get, served  # noqa: E402

METRICS: Final = {"train_loss": 0.5, "val_loss": 0.7, "accuracy": 0.8, "grad_norm": 1.5}
EXPERIMENT: Final = "watched"
MOST_CALLS: Final = 2_000_000
WARM_CALLS: Final = 2_000
"""Calls at a round's beginning that are not counted: the run is still being made known to the store."""
REFETCH_S: Final = 1.0
RESAMPLES: Final = 5_000
KINDS: Final = ("nobody", "viewers", "busy process")

# ---------------------------------------------------------------- the training's process


def train(store: str) -> None:
    """Answer each line ``SECONDS`` with the latencies of a round."""
    import advisor

    with advisor.open(store, capture=False, system_metrics="off") as adv:
        exp = adv.experiment(EXPERIMENT, objective="val_loss")
        print("ready", flush=True)
        for line in sys.stdin:
            run = exp.start(params={"lr": 0.1})
            print(run.id, flush=True)
            sys.stdin.readline()  # whoever wants to look is looking now
            seconds = logged(run, float(line))
            run.finish()
            p50, p99, p999 = np.percentile(seconds, [50, 99, 99.9]) * 1e6
            row = {"n": int(seconds.size), "p50_us": float(p50), "p99_us": float(p99), "p999_us": float(p999)}
            print(json.dumps(row | {"max_us": float(seconds.max() * 1e6)}), flush=True)


def logged(run: Any, for_s: float) -> np.ndarray[Any, Any]:
    """Log as fast as it goes, and return the seconds of each call."""
    took = np.empty(MOST_CALLS)
    end = time.perf_counter() + for_s
    for step in range(MOST_CALLS):
        began = time.perf_counter()
        run.log(METRICS, step=step)
        took[step] = time.perf_counter() - began
        if began > end and step > WARM_CALLS:
            break
    return took[WARM_CALLS : step + 1]


# ---------------------------------------------------------------- the viewers' process


@dataclass
class Seen:
    """What all viewers together have got."""

    n_events: int = 0
    n_bytes: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Part:
    """A part of a page that is loaded anew."""

    target: str
    about: str
    url: str


def parts_of(page: str) -> list[Part]:
    """Return the live parts of a page as its script finds them."""
    found = []
    for tag in re.findall(r"<[a-z]+\b[^>]*\bdata-live-url=[^>]*>", page):
        attributes = {name: unescape(text) for name, text in re.findall(r'([\w-]+)="([^"]*)"', tag)}
        found.append(Part(attributes.get("id", ""), attributes.get("data-live", "all"), attributes["data-live-url"]))
    return found


def concerns(part: Part, change: dict[str, Any]) -> bool:
    kind, _, name = part.about.partition(":")
    if kind == "all" or change.get("all"):
        return True
    if kind == "journal":
        return bool(change.get("journal", True))
    return name in change.get({"experiment": "experiments", "run": "runs"}.get(kind, ""), ())


async def fetch(port: int, path: str, seen: Seen, **headers: str) -> str:
    """Load an address over a connection of its own, as bytes that a browser would take compressed."""
    began = time.perf_counter()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    lines = [f"GET {path} HTTP/1.1", f"host: 127.0.0.1:{port}", "connection: close"]
    lines += [f"{name}: {text}" for name, text in headers.items()]
    writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
    answer = await reader.read()
    writer.close()
    seen.statuses[int(answer.split(b" ", 2)[1])] += 1
    seen.n_bytes += len(answer)
    seen.seconds.append(time.perf_counter() - began)
    return answer.partition(b"\r\n\r\n")[2].decode("utf-8", "replace")


async def view(port: int, path: str, seen: Seen, looking: asyncio.Event) -> None:
    """Look at a page for as long as the process lives."""
    parts = parts_of(await fetch(port, path, Seen()))
    due: dict[Part, float] = {}
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**20)
    writer.write(f"GET /live HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\naccept: text/event-stream\r\n\r\n".encode())
    status = int((await reader.readline()).split(b" ")[1])
    if status != 200:
        seen.statuses[status] += 1
        looking.set()
        return
    looking.set()
    kind = b""
    while line := await reader.readline():
        if line.startswith(b"event:"):
            kind = line[6:].strip()
        if not line.startswith(b"data:") or kind != b"changed":
            continue
        seen.n_events += 1
        change = json.loads(line[5:])
        now = time.monotonic()
        for part in parts:
            if concerns(part, change) and now >= due.get(part, 0.0):
                due[part] = now + REFETCH_S
                headers = {"hx-request": "true", "hx-target": part.target, "accept-encoding": "gzip"}
                await fetch(port, part.url, seen, **headers)


async def look(port: int, paths: list[str]) -> None:
    """Say ``ready`` once everybody looks; end at the end of the input, and say what was seen."""
    seen, looking = Seen(), [asyncio.Event() for _ in paths]
    tasks = [asyncio.create_task(view(port, path, seen, each)) for path, each in zip(paths, looking, strict=True)]
    for each in looking:
        await each.wait()
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    took = np.percentile(seen.seconds, [50, 99]).tolist() if seen.seconds else [None, None]
    row = {"n_events": seen.n_events, "n_parts": len(seen.seconds), "n_bytes": seen.n_bytes}
    print(json.dumps(row | {"part_p50_s": took[0], "part_p99_s": took[1], "statuses": seen.statuses}), flush=True)


# ---------------------------------------------------------------- rounds


def start(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, __file__, *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise SystemExit("a process of this measurement ended early; its error is above")
    return line.strip()


def tell(process: subprocess.Popen[str], line: str) -> None:
    stdin: IO[str] | None = process.stdin
    assert stdin is not None
    stdin.write(line + "\n")
    stdin.flush()


@contextlib.contextmanager
def beside(kind: str, port: int, paths: list[str], seen: list[Any]) -> Iterator[None]:
    """Have somebody look, or something burn time, while a round is measured."""
    if kind == "nobody":
        yield
        return
    if kind == "busy process":
        busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
        try:
            yield
        finally:
            busy.kill()
            busy.wait()
        return
    viewers = start("--look", str(port), *paths)
    assert said(viewers) == "ready"
    yield
    tell(viewers, "over")
    seen.append(json.loads(said(viewers)))
    viewers.wait(20)


def pages_of(address: str, run_id: str, n: int) -> list[str]:
    """Return what each viewer looks at: the first page, the run and its experiment, as far as they are there."""
    wanted = ["/", f"/runs/{run_id}", "/", f"/runs/{run_id}", f"/experiments/{EXPERIMENT}"]
    there = [path for path in wanted if get(address + path)[0] == 200]
    return [there[i % len(there)] for i in range(n)]


def one_round(kind: str, training: Any, address: str, given: argparse.Namespace, seen: list[Any]) -> dict[str, Any]:
    tell(training, str(given.seconds))
    run_id = said(training)
    port = int(address.rpartition(":")[2])
    paths = pages_of(address, run_id, given.viewers) if kind == "viewers" else []
    with beside(kind, port, paths, seen):
        tell(training, "go")
        row: dict[str, Any] = json.loads(said(training))
    return row | {"kind": kind, "load": os.getloadavg()[0]}


def ratio(rows: list[dict[str, Any]], kind: str, name: str) -> dict[str, float]:
    """Return the ratio to nobody's rounds, pair by pair, with an interval over pairs."""
    mine = np.array([row[name] for row in rows if row["kind"] == kind])
    base = np.array([row[name] for row in rows if row["kind"] == "nobody"])
    ratios = mine / base
    rng = np.random.default_rng(0)
    drawn = np.median(ratios[rng.integers(0, ratios.size, (RESAMPLES, ratios.size))], axis=1)
    low, high = np.percentile(drawn, [2.5, 97.5])
    return {"median": float(np.median(ratios)), "low": float(low), "high": float(high)}


def filled(store: str) -> None:
    """Put finished runs beside those that are watched."""
    import advisor

    with advisor.open(store, capture=False, system_metrics="off") as adv:
        exp = adv.experiment(EXPERIMENT, objective="val_loss", direction="minimize")
        for i in range(100):
            exp.tell({"lr": 10 ** (-4 + i / 25)}, 0.1 + (i % 17) / 20)


def show(report: dict[str, Any]) -> None:
    rows = report["rounds"]
    print(f"{report['n_viewers']} viewers, {os.cpu_count()} cores, load average {rows[0]['load']:.1f} at first")
    print(f"{'beside the training':24}{'p50, µs':>10}{'p99, µs':>10}{'p99.9, µs':>12}{'calls a round':>15}")
    for kind in KINDS:
        mine = [row for row in rows if row["kind"] == kind]
        p50, p99, p999 = (np.median([row[name] for row in mine]) for name in ("p50_us", "p99_us", "p999_us"))
        print(f"{kind:24}{p50:>10.1f}{p99:>10.1f}{p999:>12.1f}{int(np.median([row['n'] for row in mine])):>15,}")
    for kind, found in report["ratios"].items():
        for name, each in found.items():
            print(f"{kind}, {name[:-3]}: {each['median']:.2f} × nobody's [{each['low']:.2f}, {each['high']:.2f}]")
    seen = report["seen"]
    events, parts = sum(each["n_events"] for each in seen), sum(each["n_parts"] for each in seen)
    statuses: Counter[str] = Counter()
    for each in seen:
        statuses.update(each["statuses"])
    print(f"seen: {events:,} events, {parts:,} parts loaded, answers {dict(statuses)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--viewers", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--train", metavar="STORE", help=argparse.SUPPRESS)
    parser.add_argument("--look", nargs="+", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.train:
        train(given.train)
        return
    if given.look:
        asyncio.run(look(int(given.look[0]), given.look[1:]))
        return
    report: dict[str, Any] = {"n_viewers": given.viewers, "rounds": [], "seen": []}
    with tempfile.TemporaryDirectory() as folder:
        store = str(Path(folder) / "store")
        filled(store)
        with served(Path(store)) as (address, _, _):
            training = start("--train", store)
            assert said(training) == "ready"
            one_round("nobody", training, address, given, [])  # the database is loaded and everything is warm
            for i in range(given.rounds):
                for kind in KINDS if i % 2 == 0 else KINDS[::-1]:
                    report["rounds"].append(one_round(kind, training, address, given, report["seen"]))
            assert training.stdin is not None
            training.stdin.close()
            training.wait(60)
    report["ratios"] = {
        kind: {name: ratio(report["rounds"], kind, name) for name in ("p50_us", "p99_us")} for kind in KINDS[1:]
    }
    show(report)
    if given.out:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()

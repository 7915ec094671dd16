"""A storm of trouble, a channel that fails half the time, and a watcher that is killed: what arrives?

Simulated runs of several experiments go on beside each other; some become NaN, diverge, spike, go silent or fail.
A real watcher process looks at the store and tells a real HTTP receiver on loopback, which fails half the time: 4 in 10
requests are refused, and of 1 in 10 the message is taken but the answer lost. The watcher is killed with SIGKILL at
seeded random instants, just after it has sent something, and started again. Then the receiver's book is compared with
what was done to the runs:

- every group of trouble (experiment and code) is reported, and every faulty run is named in a message;
- nothing is reported twice: what arrives again has a key that the receiver knows, and it drops it;
- no more messages than the caps allow;
- no healthy run is reported.

With ``--trainers``, as many processes of trainings tell beside the watcher, of one experiment for a moment, then of
another, by the same address; they are killed when the watcher is.

Time is the machine's; the policy's pauses are shortened, and so is the hour of the cap (20 s), so that the cap bites.

    python evals/watch_storm.py [--runs 1000] [--faults 200] [--kills 3] [--trainers 0] [--seed 0] [--out PATH]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import socketserver
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import numpy as np

N_EXPERIMENTS = 5
POINTS = 60
PER_HOUR, HOUR_S = 8, 20.0
PER_RUN = 5
FAULTS = ("nan", "diverged", "spike", "stalled", "failed")
CODES = {"nan": "ADV101", "diverged": "ADV102", "spike": "ADV103", "stalled": "ADV107", "failed": "ADV111"}

WATCHER = """
import sys
from datetime import UTC, datetime
import advisor, advisor.notify.teller, advisor.watching
from advisor.findings.alerting import Policy
from advisor.notify import open_channel
from advisor.notify.desk import Desk
import advisor.findings.alerts as alerts
alerts.FIRST_RETRY_S, alerts.MAX_RETRY_S = 0.1, 0.5
advisor.notify.teller.RETRY_DELIVERY_S = 0.05
uri, address, per_hour, hour_s, per_run = sys.argv[1], sys.argv[2], *map(float, sys.argv[3:6])
adv = advisor.open(uri, create=False, notify=())
policy = Policy(pending_s=1.0, group_wait_s=1.0, group_window_s=4.0, digest_after_s=5.0,
                per_hour=int(per_hour), hour_s=hour_s, per_run_a_day=int(per_run))
desk = Desk(adv.store, [open_channel(address)], policy=policy, clock=lambda: datetime.now(UTC))
watcher = advisor.watching.Watcher(adv, desk, compare=False)
for seen in watcher.watch(0.5):
    print(f"{seen.seconds:.3f} {seen.n_judged} {seen.n_firing} {seen.n_waiting}", flush=True)
"""


TRAINER = """
import random, sys, time
from datetime import UTC, datetime
from advisor.findings.alerting import Policy
from advisor.notify import open_channel
from advisor.notify.desk import Desk
import advisor.notify.teller as teller
import advisor.findings.alerts as alerts
from storage import open_store
alerts.FIRST_RETRY_S, alerts.MAX_RETRY_S = 0.1, 0.5
teller.RETRY_DELIVERY_S, teller.LOOK_EVERY_S = 0.05, 0.5
uri, address, per_hour, hour_s, per_run, seed, n_experiments = sys.argv[1], sys.argv[2], *map(float, sys.argv[3:8])
rng = random.Random(int(seed))
policy = Policy(pending_s=1.0, group_wait_s=1.0, group_window_s=4.0, digest_after_s=5.0,
                per_hour=int(per_hour), hour_s=hour_s, per_run_a_day=int(per_run))
store = open_store(uri, create=False)
while True:
    told = teller.Teller(lambda: store, [open_channel(address)], desk=lambda of, to, experiments: Desk(
        of, to, policy=policy, clock=lambda: datetime.now(UTC), experiments=experiments, actor="notify"))
    told.start()
    told.tell(f"exp{rng.randrange(int(n_experiments))}")
    time.sleep(rng.uniform(0.2, 2.0))
    told.close(1.0)
"""


@dataclass
class Receiver:
    """Takes messages, drops those whose key it knows, and fails half the time."""

    rng: random.Random
    lock: threading.Lock = field(default_factory=threading.Lock)
    n_requests: int = 0
    n_refused: int = 0
    n_repeated: int = 0
    n_lost_answers: int = 0
    messages: dict[str, dict[str, Any]] = field(default_factory=dict)
    times: dict[str, float] = field(default_factory=dict)

    def take(self, body: dict[str, Any], key: str) -> int:
        """Return the status to answer with; 0 breaks the connection without an answer."""
        with self.lock:
            self.n_requests += 1
            dice = self.rng.random()
            if dice < 0.4:
                self.n_refused += 1
                return self.rng.choice([500, 502, 503, 429])
            self.n_repeated += key in self.messages
            self.messages.setdefault(key, body)
            self.times.setdefault(key, time.monotonic())
            if dice < 0.5:  # taken, but nobody hears of it
                self.n_lost_answers += 1
                return 0
            return 200


def serve(receiver: Receiver) -> socketserver.ThreadingTCPServer:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status = receiver.take(body, self.headers["Idempotency-Key"])
            if not status:
                self.close_connection = True
                return
            self.send_response(status)
            self.send_header("Content-Length", "0")
            if status == 429:
                self.send_header("Retry-After", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            return

    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    return server


def curve(fault: str, at: int, rng: np.random.Generator) -> np.ndarray[Any, Any]:
    """Return a calm loss, or one with a fault from a point on."""
    steps = np.arange(POINTS)
    loss = np.exp(-steps / 15) + 0.1 + rng.normal(0, 0.003, POINTS)
    if fault == "nan":
        loss[at:] = np.nan
    elif fault == "diverged":
        loss[at:] = 3.0 + 0.1 * np.arange(POINTS - at)
    elif fault == "spike":
        loss[at] = 50.0
    return loss


def make_store(uri: Path, n_runs: int, n_faults: int, seed: int) -> dict[str, str]:
    """Make a store in which all runs go on and none has logged yet; return the fault of each run, "" for none."""
    from storage import open_store
    from storage.records import Event

    rng = random.Random(seed)
    faulty = set(rng.sample(range(n_runs), n_faults))
    order = [FAULTS[i % len(FAULTS)] for i in range(n_faults)]
    rng.shuffle(order)
    faults = {f"run{i:05d}": (order.pop() if i in faulty else "") for i in range(n_runs)}
    store = open_store(uri)
    objectives = [{"metric": "loss", "direction": "minimize"}]
    events = [Event.new("experiment.created", f"exp{e}", objectives=objectives) for e in range(N_EXPERIMENTS)]
    began = datetime.now(UTC) - timedelta(seconds=POINTS)
    for i, (run_id, fault) in enumerate(faults.items()):
        time_ = began - timedelta(hours=1) if fault == "stalled" else began
        body = {"state": "running", "params": {"lr": 0.1}, "started": time_.isoformat()}
        events.append(Event.new("run.created", f"exp{i % N_EXPERIMENTS}", run_id, time=time_, **body))
    store.append(events)
    store.close()
    return faults


def train(uri: Path, faults: dict[str, str], seed: int, *, batches: int, pause_s: float) -> None:
    """Let all runs log, a part at a time, as their processes would."""
    from storage import open_store
    from storage.records import CurveChunk, Event

    rng = np.random.default_rng(seed)
    values = {
        run_id: curve(fault, int(rng.integers(POINTS // 3, POINTS - 15)), rng) for run_id, fault in faults.items()
    }
    store = open_store(uri, create=False)
    size = POINTS // batches
    for batch in range(batches):
        steps = np.arange(batch * size, (batch + 1) * size)
        store.append_curves(
            [
                CurveChunk(
                    run_id,
                    metric="loss",
                    chunk=int(steps[0]),
                    through=int(steps[-1]) + 1,
                    steps=steps,
                    values=loss[steps],
                    times=steps * 1.0,
                )
                for run_id, loss in values.items()
            ]
        )
        time.sleep(pause_s)
    numbers = {run_id: i for i, run_id in enumerate(faults)}
    ends = []
    for run_id, fault in faults.items():
        if fault not in ("stalled",):
            body = {"state": "failed", "error": "RuntimeError: out of memory"} if fault == "failed" else {}
            body = body or {"state": "finished"}
            ends.append(Event.new("run.state", f"exp{numbers[run_id] % N_EXPERIMENTS}", run_id, **body))
    store.append(ends)
    store.close()


def storm(
    n_runs: int,
    n_faults: int,
    kills: int,
    seed: int,
    *,
    batches: int = 6,
    settle_s: float = 90.0,
    after_s: float = 6.0,
    trainers: int = 0,
) -> dict[str, Any]:
    """Run it all once and return what was counted."""
    rng = random.Random(seed)
    receiver = Receiver(random.Random(seed + 1))
    server = serve(receiver)
    rounds: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        uri = Path(folder) / "store"
        faults = make_store(uri, n_runs, n_faults, seed)
        address = f"http://127.0.0.1:{server.server_address[1]}/hook"
        command = [sys.executable, "-c", WATCHER, str(uri), address, *map(str, (PER_HOUR, HOUR_S, PER_RUN))]
        log = Path(folder) / "rounds"

        def start() -> subprocess.Popen[bytes]:
            with log.open("ab") as out:
                return subprocess.Popen(command, stdout=out, stderr=subprocess.PIPE)

        training = threading.Thread(target=train, args=(uri, faults, seed), kwargs={"batches": batches, "pause_s": 2.0})
        begun = time.monotonic()
        watcher = start()
        others = [Trainer(command[3:], seed + i) for i in range(trainers)]
        training.start()
        for _ in range(kills):
            n_before = len(receiver.messages)
            give_up = time.monotonic() + 60  # in the middle of its work: it has just sent something
            while len(receiver.messages) == n_before and time.monotonic() < give_up:
                time.sleep(0.01)
            time.sleep(rng.uniform(0.0, 0.3))
            watcher.kill()
            watcher.communicate()
            watcher = start()
            for other in others:
                other.killed()
        training.join()
        expected = {run_id for run_id, fault in faults.items() if fault}
        give_up = time.monotonic() + settle_s
        while expected - named(receiver) and time.monotonic() < give_up:
            time.sleep(0.2)
        time.sleep(after_s)  # would it say something again?
        seconds = time.monotonic() - begun
        watcher.terminate()
        errors = watcher.communicate()[1].decode() + "".join(other.ended() for other in others)
        rounds = log.read_text().splitlines()
        kept = journal_of(uri)
    server.shutdown()
    server.server_close()
    return judged(faults, receiver, kept) | {
        "runs": n_runs,
        "faults": n_faults,
        "kills": kills,
        "trainers": trainers,
        "seconds": round(seconds, 1),
        "rounds": len(rounds),
        "median_round_s": float(np.median([float(line.split()[0]) for line in rounds])) if rounds else None,
        "slowest_round_s": max((float(line.split()[0]) for line in rounds), default=None),
        "errors": errors[-2000:] if "Traceback" in errors else "",
    }


class Trainer:
    """A process that speaks for the trainings of one experiment, then of another, and is killed now and then."""

    def __init__(self, arguments: list[str], seed: int) -> None:
        self._arguments, self._seed = arguments, seed
        self._errors = ""
        self._start()

    def _start(self) -> None:
        self._seed += 1000
        command = [sys.executable, "-c", TRAINER, *self._arguments, str(self._seed), str(N_EXPERIMENTS)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def killed(self) -> None:
        """SIGKILL, and another one in its place."""
        self.ended()
        self._start()

    def ended(self) -> str:
        """Kill it and return all that was complained of so far."""
        self._process.kill()
        self._errors += self._process.communicate()[1].decode()
        return self._errors


def named(receiver: Receiver) -> set[str]:
    with receiver.lock:
        return {run_id for body in receiver.messages.values() for run_id in body["run_ids"]}


def journal_of(uri: Path) -> dict[str, int]:
    from advisor.silencing import read_book
    from storage import open_store

    store = open_store(uri, create=False)
    book = read_book(store)
    messages = [message for line in book.lines.values() for message in line.messages.values()]
    store.close()
    return dict(Counter(str(message.state) for message in messages))


def judged(faults: dict[str, str], receiver: Receiver, kept: dict[str, int]) -> dict[str, Any]:
    """Compare what arrived with what was done."""
    numbers = {run_id: i for i, run_id in enumerate(faults)}
    wanted = {(f"exp{numbers[r] % N_EXPERIMENTS}", CODES[fault]) for r, fault in faults.items() if fault}
    told: Counter[tuple[str, str]] = Counter()
    first: Counter[str] = Counter()
    per_run: Counter[str] = Counter()
    for body in receiver.messages.values():
        told.update((each["experiment"], each["code"]) for each in body["groups"])
        if body["kind"] != "repeat":  # each run has one fault
            first.update(body["run_ids"])
        if body["kind"] != "digest":
            per_run.update(body["run_ids"])
    arrived = named(receiver)
    expected = {run_id for run_id, fault in faults.items() if fault}
    return {
        "groups": len(wanted),
        "groups_missed": sorted(" ".join(group) for group in wanted if group not in told),
        "faulty_runs_missed": len(expected - arrived),
        "healthy_runs_named": len(arrived - expected),
        "runs_told_twice": sum(n - 1 for n in first.values() if n > 1),
        "messages": len(receiver.messages),
        "by_kind": dict(Counter(body["kind"] for body in receiver.messages.values())),
        "most_within_an_hour": max((within(receiver, time_) for time_ in receiver.times.values()), default=0),
        "cap_per_hour": PER_HOUR,
        "most_about_one_run": max(per_run.values(), default=0),
        "cap_per_run": PER_RUN,
        "requests": receiver.n_requests,
        "refused": receiver.n_refused,
        "answers_lost": receiver.n_lost_answers,
        "repetitions_dropped_by_key": receiver.n_repeated,
        "journal": kept,
        "undelivered": kept.get("waiting", 0) + kept.get("sending", 0) + kept.get("dropped", 0),
    }


def within(receiver: Receiver, end: float) -> int:
    """Return how many messages arrived for the first time within the shortened hour before some instant."""
    return sum(end - HOUR_S < time_ <= end for time_ in receiver.times.values())


def wrong(result: dict[str, Any]) -> list[str]:
    """Return what is not as it should be."""
    zero = ("faulty_runs_missed", "healthy_runs_named", "runs_told_twice", "undelivered")
    found = [f"{name} = {result[name]}" for name in zero if result[name]]
    found += [f"not reported: {group}" for group in result["groups_missed"]]
    if result["most_within_an_hour"] > result["cap_per_hour"] or result["most_about_one_run"] > result["cap_per_run"]:
        found.append("more messages than the caps")
    return [*found, result["errors"]] if result["errors"] else found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--faults", type=int, default=200)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--trainers", type=int, default=0, help="processes of trainings that tell beside the watcher")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="200 runs, 40 faults, one kill")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    if given.quick:
        given.runs, given.faults, given.kills = 200, 40, 1
    os.environ.setdefault("ADVISOR_EMBEDDER", "hashing")
    result = storm(given.runs, given.faults, given.kills, given.seed, trainers=given.trainers)
    result["wrong"] = wrong(result)
    for name, value in result.items():
        print(f"{name:28} {value if value not in ([], '', {}) else 'nothing'}")
    if given.out:
        given.out.write_text(json.dumps({"seed": given.seed} | result, indent=1))
    return int(bool(result["wrong"]))


if __name__ == "__main__":
    sys.exit(main())

"""How long after a training's loss breaks somebody knows, where it writes to TensorBoard and knows nothing of us.

    python evals/watch_latency.py [--repeats 10] [--others 0] [--out latency.json]

A process trains a linear model and writes event files; at step 60 its learning rate is far too high. `advisor watch`
follows the folder in another process and tells a webhook on the loopback. Counted is the time from the moment at which
the step that broke it was on disk to the request's arrival, and how often it was told. With --others, so many finished
runs of 1,000 points lie in the same folder.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
TRAINING = ROOT / "tests" / "advisor" / "sources" / "diverging.py"
WAIT_S = 60.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--others", type=int, default=0)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    told: list[float] = []
    server = _server(told)
    url = f"http://127.0.0.1:{server.server_address[1]}/"
    rows = []
    for _ in range(args.repeats):
        with tempfile.TemporaryDirectory() as place:
            told.clear()
            rows.append(_once(Path(place), url, told, args.others))
    server.shutdown()
    late = [row["seconds"] for row in rows if row["seconds"] is not None]
    times = [row["n_told"] for row in rows]
    print(f"told of {len(late)} of {len(rows)} trainings; times told: {sorted(set(times))}")
    if late:
        low, middle, high = np.percentile(late, [0, 50, 100])
        print(f"seconds after the broken step was on disk: {middle:.1f} in the median, {low:.1f} to {high:.1f}")
    if args.out:
        args.out.write_text(json.dumps({"others": args.others, "rows": rows}, indent=1))


def _once(place: Path, url: str, told: list[float], others: int) -> dict[str, float | int | None]:
    logs = place / "logs"
    logs.mkdir()
    if others:
        sys.path.insert(0, str(ROOT / "evals"))
        from sources_import import event_files

        event_files(logs, others * 100, 10)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "advisor", "--store", place / "store", "watch", logs, "--notify", url]
    watching = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    assert watching.stderr is not None
    while "watching" not in watching.stderr.readline():
        assert watching.poll() is None
    time.sleep(3.0 + 0.02 * others)  # what is there already has been read
    training = subprocess.Popen([sys.executable, TRAINING, logs / "run"], env=environment, stdout=subprocess.PIPE)
    assert training.stdout is not None
    broke = float(training.stdout.readline())
    until = time.monotonic() + WAIT_S
    while not told and time.monotonic() < until:
        time.sleep(0.02)
    time.sleep(5.0)
    for process in (training, watching):
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    return {"seconds": told[0] - broke if told else None, "n_told": len(told)}


def _server(told: list[float]) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.append(time.time())
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


if __name__ == "__main__":
    main()

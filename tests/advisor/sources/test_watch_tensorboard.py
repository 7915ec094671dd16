"""A training in another process writes event files, and diverges; nothing of it knows of us."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("tensorboard")

TRAINING = Path(__file__).with_name("diverging.py")


@pytest.fixture
def webhook() -> Iterator[Any]:
    told: list[tuple[float, dict[str, Any]]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            told.append((time.time(), json.loads(body)))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    server.told = told  # type: ignore[attr-defined]
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_training_that_diverges_is_told_of_once(tmp_path: Path, webhook: Any) -> None:
    logs = tmp_path / "logs" / "first"
    logs.mkdir(parents=True)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"}
    url = f"http://127.0.0.1:{webhook.server_address[1]}/hook"
    watching = subprocess.Popen(
        [sys.executable, "-m", "advisor", "--store", tmp_path / "store", "watch", logs.parent, "--notify", url],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    training = None
    try:
        assert watching.stderr is not None
        while "watching" not in watching.stderr.readline():
            assert watching.poll() is None
        training = subprocess.Popen(
            [sys.executable, TRAINING, logs], env=environment, stdout=subprocess.PIPE, text=True
        )
        assert training.stdout is not None
        broke = float(training.stdout.readline())
        until = time.monotonic() + 60
        while not webhook.told and time.monotonic() < until:
            time.sleep(0.05)
        assert webhook.told, "nothing was told"
        time.sleep(3)
        assert len(webhook.told) == 1
        text = json.dumps(webhook.told[0][1])
        assert "train/loss" in text
        print(f"told {webhook.told[0][0] - broke:.1f} s after the step that broke it")
    finally:
        for process in (training, watching):
            if process is not None and process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in (training, watching):
            if process is not None:
                process.communicate(timeout=30)

"""A real receiver of messages on loopback."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest


@dataclass
class Receiver:
    """What a webhook got, and what it shall answer: one status a request, the last for all further ones."""

    port: int = 0
    statuses: list[int] = field(default_factory=lambda: [200])
    headers: dict[str, str] = field(default_factory=dict)
    requests: list[tuple[str, dict[str, str], Any]] = field(default_factory=list)
    """Path, headers and JSON body of each request."""
    accepted: list[Any] = field(default_factory=list)
    """Bodies of the requests that were answered with 2xx."""
    may_answer: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook/s3cret-canary"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    state = Receiver()
    state.may_answer.set()
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            state.may_answer.wait(30)
            with lock:
                status = state.statuses.pop(0) if len(state.statuses) > 1 else state.statuses[0]
                state.requests.append((self.path, dict(self.headers), body))
                if status < 300:
                    state.accepted.append(body)
            self.send_response(status)
            for name, value in state.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield state
    state.may_answer.set()
    server.shutdown()
    thread.join()
    server.server_close()

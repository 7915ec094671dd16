"""The other end of a webhook, on this machine: receives what the advisor sends, so that the demo can show it.

Leaves out everything that a real receiver would do. Invariant: it listens on the loopback address only.
"""

from __future__ import annotations

import json
import os
import queue
import socketserver
import threading
from http.server import BaseHTTPRequestHandler
from types import TracebackType
from typing import Any, Final, Self

HOST: Final = "127.0.0.1"
MAX_BYTES: Final = 100_000
"""Longest body that is read; the advisor's messages are bounded far below."""


class Inbox:
    """Listens while the ``with`` block lasts.

    Examples
    --------
    >>> with Inbox() as inbox:
    ...     inbox.address.startswith("http://127.0.0.1:"), inbox.take()
    (True, [])
    """

    def __init__(self) -> None:
        self._messages: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        # Not http.server's own class: it asks for the host's name, which takes seconds on some machines.
        self._server = socketserver.ThreadingTCPServer((HOST, 0), _handler(self._messages))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def address(self) -> str:
        """Where to send to."""
        return f"http://{HOST}:{self._server.server_address[1]}/hook"

    def take(self) -> list[dict[str, Any]]:
        """Return the messages that have come since the last call."""
        messages = []
        while not self._messages.empty():
            messages.append(self._messages.get())
        return messages

    def __enter__(self) -> Self:
        # Where a proxy is set for all addresses, this one must not go there.
        spared = {os.environ.get("no_proxy"), os.environ.get("NO_PROXY"), HOST}
        os.environ["no_proxy"] = ",".join(sorted(filter(None, spared)))
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


def _handler(messages: queue.SimpleQueue[dict[str, Any]]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = min(int(self.headers.get("Content-Length", 0)), MAX_BYTES)
            try:
                messages.put(dict(json.loads(self.rfile.read(length))))
            except ValueError:  # not from the advisor
                self.send_error(400)
                return
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # the library's name
            return

    return Handler

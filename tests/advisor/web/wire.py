"""The page served as ``advisor serve`` does it, and requests as bytes, which no client would send."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from advisor.app import Advisor
from advisor.web import Options, create_app
from advisor.web.serving import bind, config_of


@contextmanager
def listening(app: ASGIApp, sock: socket.socket, *, http: type[H11Protocol] | None = None) -> Iterator[None]:
    """Serve an application on a socket, with the limits of ``advisor serve``."""
    config = config_of(app)  # type: ignore[arg-type]  # any application can be served
    config.http = http or config.http
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]}, daemon=True)
    thread.start()
    end = time.monotonic() + 20
    while not server.started:
        assert time.monotonic() < end, "nothing was served"
        time.sleep(0.01)
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(10)
        sock.close()


@contextmanager
def wired(adv: Advisor, *, http: type[H11Protocol] | None = None, **options: Any) -> Iterator[int]:
    """Serve an advisor; yields the port."""
    sock, chosen = bind(Options(port=0, **options))
    with listening(create_app(adv, chosen), sock, http=http):
        yield chosen.port


def said(port: int, request: bytes, *, within_s: float = 15.0) -> bytes:
    """Send bytes, and return what comes back until the other side closes or says nothing more for a while."""
    with socket.create_connection(("127.0.0.1", port), timeout=within_s) as sock:
        try:
            sock.sendall(request)
        except OSError:
            pass  # refused before all of it was read
        parts = []
        try:
            while part := sock.recv(65_536):
                parts.append(part)
                if b"\r\n\r\n" in b"".join(parts):
                    sock.settimeout(0.3)
        except OSError:
            pass  # it has said what it says
        return b"".join(parts)


def status_of(answer: bytes) -> int:
    """Return the status of an answer, 0 where there is none."""
    first = answer.split(b"\r\n", 1)[0].split(b" ")
    return int(first[1]) if len(first) > 1 and first[0].startswith(b"HTTP/") else 0

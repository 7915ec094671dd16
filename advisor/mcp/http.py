"""The server over HTTP: the protocol's streamable transport at ``/mcp``, behind the guard of the page.

Every request stands for itself and is answered as JSON: no session is kept, so a restart is not noticed and nobody can
fill the memory with sessions. Leaves out who may ask (``advisor.web.security``) and what is listened on
(``advisor.web.serving``). Invariant: nothing gets to the protocol but through the guard.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from mcp.server.streamable_http_manager import StreamableHTTPASGIApp, StreamableHTTPSessionManager
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from advisor.web.limits import MAX_BODY
from advisor.web.options import Options
from advisor.web.security import Guard
from advisor.web.serving import serve_app

if TYPE_CHECKING:
    from mcp.server.lowlevel import Server

PATH: Final = "/mcp"
PROGRAM: Final = "advisor mcp --http"


def create_app(server: Server[Any], options: Options) -> Starlette:
    """Return the server as an ASGI application.

    Parameters
    ----------
    options
        Who may ask. ``read_only`` must not be set: here everything is a POST, and what writes is left out by the
        server itself.
    """
    manager = StreamableHTTPSessionManager(server, json_response=True, stateless=True, max_request_body_size=MAX_BODY)

    @asynccontextmanager
    async def alive(app: Starlette) -> AsyncIterator[None]:
        async with manager.run():
            yield

    return Starlette(
        routes=[
            Route(PATH, _only_posted, methods=["GET", "DELETE"]),
            Route(PATH, StreamableHTTPASGIApp(manager)),
        ],
        middleware=[Middleware(Guard, options=replace(options, program=PROGRAM))],
        exception_handlers={404: _elsewhere},
        lifespan=alive,
    )


def serve(
    server: Server[Any], options: Options, *, sock: socket.socket, started: Callable[[], None] | None = None
) -> None:
    """Serve until the process is told to end (SIGINT, SIGTERM).

    Parameters
    ----------
    started
        Called once requests are answered.
    """
    serve_app(create_app(server, options), sock=sock, started=started)


def _only_posted(request: Request) -> Response:
    """Refuse a stream that nothing would ever come through, and the end of a session that was never begun."""
    return PlainTextResponse("there are no sessions here; POST a request\n", 405, {"allow": "POST"})


def _elsewhere(request: Request, error: Exception) -> Response:
    return PlainTextResponse(f"nothing is here; the protocol is at {PATH}\n", 404)

"""Serve the application: a socket, uvicorn, and a clean end.

Leaves out what is served. Invariant: nothing but loopback is listened on without a token.
"""

from __future__ import annotations

import logging
import secrets
import signal
import socket
from collections.abc import Callable
from dataclasses import replace
from types import FrameType
from typing import TYPE_CHECKING, Final

from advisor.errors import ConfigError, MissingExtraError
from advisor.web.memory import be_frugal
from advisor.web.options import Options

if TYPE_CHECKING:
    import uvicorn
    from starlette.applications import Starlette

    from advisor.app import Advisor

log = logging.getLogger(__name__)

AT_ONCE: Final = 200
"""Connections that are served together; the next one is told to come again."""
MAX_HEAD: Final = 64 * 1024
"""Bytes of a request's first line and headers."""
MIN_TOKEN: Final = 16
END_WITHIN_S: Final = 3
"""How long requests under way are waited for at the end."""


def bind(options: Options) -> tuple[socket.socket, Options]:
    """Listen on the address; port 0 takes a free one. Return the socket and the options as they hold now.

    An address that others can reach gets a token where none was given.

    Raises
    ------
    ConfigError
        If the address cannot be listened on, or the token is too short.
    """
    if options.token is not None and len(options.token) < MIN_TOKEN:
        raise ConfigError(
            f"the token has {len(options.token)} characters; give {MIN_TOKEN} or more that nobody can guess"
        )
    if not options.is_loopback and options.token is None:
        options = replace(options, token=secrets.token_urlsafe(24))
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((options.host.strip("[]"), options.port))
    except (OSError, OverflowError) as error:
        sock.close()
        raise ConfigError(
            f"{options.host}:{options.port} cannot be listened on ({error}); give another --port, or 0 for a free one"
        ) from error
    return sock, replace(options, port=sock.getsockname()[1])


def serve(adv: Advisor, options: Options, *, sock: socket.socket, started: Callable[[], None] | None = None) -> None:
    """Serve the page until the process is told to end (SIGINT, SIGTERM).

    Parameters
    ----------
    started
        Called once requests are answered.

    Raises
    ------
    MissingExtraError
        If what serves is not installed.
    """
    try:
        from advisor.web.app import create_app
    except ImportError as error:
        raise MissingExtraError.of("the page", "web") from error
    app = create_app(adv, options)
    # Who listens for changes would be waited for otherwise.
    serve_app(app, sock=sock, started=started, ending=app.state.web.live.close)


def serve_app(
    app: Starlette,
    *,
    sock: socket.socket,
    started: Callable[[], None] | None = None,
    ending: Callable[[], None] | None = None,
) -> None:
    """Serve an application until the process is told to end; then whoever called goes on, and closes what is open.

    Parameters
    ----------
    started
        Called once requests are answered.
    ending
        Called when no more are taken, before those under way are waited for.
    """
    import uvicorn

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if started is not None:
                started()

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            if ending is not None:
                ending()
            await super().shutdown(sockets)

    be_frugal()
    before = signal.signal(signal.SIGTERM, _end)  # uvicorn hands the signal on when it has ended
    try:
        Server(config_of(app)).run(sockets=[sock])
    finally:
        signal.signal(signal.SIGTERM, before)


def _end(number: int, frame: FrameType | None) -> None:
    """End the process as its main part ends, so that the store is closed."""
    raise SystemExit(0)


def config_of(app: Starlette) -> uvicorn.Config:
    """Return how an application is served: in private, with limits on connections."""
    import uvicorn

    from advisor.web.connection import Connection

    return uvicorn.Config(
        app,
        http=Connection,
        log_level="warning",
        access_log=False,  # addresses hold what people search for
        server_header=False,
        date_header=False,
        limit_concurrency=AT_ONCE,
        timeout_graceful_shutdown=END_WITHIN_S,
        h11_max_incomplete_event_size=MAX_HEAD,
        proxy_headers=False,
        ws="none",
    )

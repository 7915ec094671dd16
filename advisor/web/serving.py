"""Serve the application: a socket, uvicorn, and a clean end.

Leaves out what is served. Invariant: nothing but loopback is listened on without a token.
"""

from __future__ import annotations

import errno
import logging
import os
import secrets
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from types import FrameType
from typing import TYPE_CHECKING, Final

from advisor.errors import ConfigError, MissingExtraError
from advisor.web.memory import be_frugal
from advisor.web.options import Options, is_loopback
from advisor.web.security import EVERYWHERE, HOST

if TYPE_CHECKING:
    import uvicorn
    from starlette.applications import Starlette

    from advisor.app import Advisor

log = logging.getLogger(__name__)

AT_ONCE: Final = 200
"""Connections that are served together; the next one is told to come again."""
MAX_HEAD: Final = 64 * 1024
"""Bytes of a request's first line and headers."""
NICENESS: Final = 5
"""A third of what a training gets, where both want the same core."""
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
        raise ConfigError(_not_listened_on(options, error)) from error
    return sock, replace(options, port=sock.getsockname()[1])


def _not_listened_on(options: Options, error: OSError | OverflowError) -> str:
    """Return why an address cannot be listened on and what to do, in one sentence without numbers of errors."""
    number = error.errno if isinstance(error, OSError) else None
    if number == errno.EADDRINUSE:
        return (
            f"port {options.port} of {options.host} is in use, perhaps by another 'advisor serve'; give another "
            "--port, or 0 for a free one"
        )
    if number in (errno.EACCES, errno.EPERM):
        return f"port {options.port} is not for this user; give a --port of 1024 or more, or 0 for a free one"
    if number == errno.EADDRNOTAVAIL or isinstance(error, socket.gaierror):
        return f"{options.host!r} is no address of this machine; give another --host, 0.0.0.0 for all that it has"
    why = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return f"{options.host}:{options.port} cannot be listened on ({why}); give another --port, or 0 for a free one"


def own_names(host: str) -> tuple[str, ...]:
    """Return what this machine is called by others, where all of its addresses are listened on; nothing elsewise."""
    name = socket.gethostname()
    return (name,) if host.strip("[]") in EVERYWHERE and HOST.fullmatch(name) else ()


def reachable(options: Options) -> list[str]:
    """Return the addresses under which the page can be opened, those for other machines first.

    Where all of the machine's addresses are listened on, these are the one by which it reaches others, its name where
    the page is asked for under it, and its own loopback.
    """
    if options.host.strip("[]") not in EVERYWHERE:
        return [options.address]
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    names = [_outward(family), *(name for name in own_names(options.host) if name in options.names), "localhost"]
    return list(dict.fromkeys(replace(options, host=name).address for name in names if name))


def _outward(family: socket.AddressFamily) -> str | None:
    """Return the address of this machine on its way to others, None where there is no way; nothing is sent."""
    # Of the blocks that are kept for documentation (RFC 5737, RFC 3849), so nobody's.
    elsewhere = "2001:db8::1" if family == socket.AF_INET6 else "192.0.2.1"
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.connect((elsewhere, 9))
            found: str = sock.getsockname()[0]
    except OSError:
        return None
    return None if found in EVERYWHERE or is_loopback(found) else found


def give_way() -> None:
    """Let other processes of this machine go first, where it knows how: looking on must not slow a training down."""
    with suppress(AttributeError, OSError):
        os.nice(NICENESS)


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

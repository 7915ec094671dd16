"""The application: routes put together, errors turned into pages, the guard around all of it."""

from __future__ import annotations

import mimetypes
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from copy import copy
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

from anyio.to_thread import current_default_thread_limiter
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Scope

from advisor.errors import AdvisorError
from advisor.web.api import routes_of
from advisor.web.limits import Bulkhead, Places
from advisor.web.options import Options
from advisor.web.pages import ROUTES
from advisor.web.problems import API, problem, status_of, words_of
from advisor.web.render import STATIC
from advisor.web.security import UNBOUND, Guard
from advisor.web.web import Web
from storage.errors import StorageError

if TYPE_CHECKING:
    from advisor.app import Advisor

MAX_THREADS: Final = 200
"""As many as there are connections (``serving.AT_ONCE``)."""
FILE_NAME: Final = re.compile(r"[\w-][\w.-]{0,99}", re.ASCII)
"""What our files are called; no step up, no other separator, nothing that a file system would not look up."""
FOR_GOOD: Final = "public, max-age=31536000, immutable"
"""Files of ours have their hash in their address."""


def create_app(adv: Advisor, options: Options | None = None) -> Starlette:
    """Return the page as an ASGI application over an open advisor.

    Parameters
    ----------
    adv
        Stays open for as long as the application serves; closing it is the caller's.
    options
        By default loopback without a token.
    """
    chosen = options or Options()
    web = Web(adv, chosen)

    def broken(scope: Scope, why: str) -> Response:
        return web.page(Request(scope), "error.html.j2", status=500, status_code=500, why=why)

    app = Starlette(
        routes=[Route("/static/{path:path}", static), *routes_of(web), *map(_walled, ROUTES)],
        middleware=[
            Middleware(Guard, options=chosen, broken=broken),
            Middleware(GZipMiddleware, minimum_size=1000),
        ],
        exception_handlers={HTTPException: _http_error, AdvisorError: _known_error, StorageError: _known_error},
        lifespan=_alive,
    )
    app.state.web = web
    return app


def static(request: Request) -> Response:
    """Return a file of ours; nothing outside their folder can be named."""
    parts = PurePosixPath(request.path_params["path"]).parts
    if not parts or not all(FILE_NAME.fullmatch(part) for part in parts):
        raise HTTPException(404)
    found = STATIC.joinpath(*parts)
    if not found.is_file():
        raise HTTPException(404)
    kind = mimetypes.guess_type(parts[-1])[0] or "text/plain"
    keep = FOR_GOOD if request.query_params.get("v") else "no-cache"
    return Response(found.read_bytes(), media_type=kind, headers={"cache-control": keep})


def _known_error(request: Request, error: Exception) -> Response:
    status = status_of(error)
    if not request.url.path.startswith(API) and status in (409, 422):
        status = 400  # to people the difference says nothing
    return _error(request, status, words_of(error))


def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    why = "There is no such page." if error.status_code == 404 else error.detail
    return _error(request, error.status_code, why, error.headers)


def _error(request: Request, status: int, why: str, headers: Mapping[str, str] | None = None) -> Response:
    if request.url.path.startswith(API):
        return problem(status, why, headers)
    answer = Web.of(request).page(request, "error.html.j2", status=status, status_code=status, why=why)
    answer.headers.update(headers or {})
    return answer


def _walled(route: Route) -> Route:
    """Return a route that many requests to it cannot take the threads of others through."""
    walled = copy(route)
    if route.path not in UNBOUND:
        walled.app = Bulkhead(route.app, Places())
    return walled


@asynccontextmanager
async def _alive(app: Starlette) -> AsyncIterator[None]:
    # Bulkheads bound the threads of each address; the pool must not bound them together at 40.
    current_default_thread_limiter().total_tokens = MAX_THREADS
    yield

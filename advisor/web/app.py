"""The application: routes put together, errors turned into pages, the guard around all of it."""

from __future__ import annotations

import logging
import mimetypes
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from advisor.errors import AdvisorError, MissingExtraError
from advisor.web.options import Options
from advisor.web.pages import ROUTES
from advisor.web.render import STATIC
from advisor.web.security import Guard
from advisor.web.web import Web
from storage.errors import (
    ExperimentNotFoundError,
    RunNotFoundError,
    StorageError,
    StoreUnavailableError,
)

if TYPE_CHECKING:
    from advisor.app import Advisor

log = logging.getLogger(__name__)

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
    app = Starlette(
        routes=[Route("/static/{path:path}", static), *ROUTES],
        middleware=[Middleware(Guard, options=chosen), Middleware(GZipMiddleware, minimum_size=1000)],
        exception_handlers={
            HTTPException: _http_error,
            AdvisorError: _known_error,
            StorageError: _known_error,
            Exception: _defect,
        },
    )
    app.state.web = Web(adv, chosen)
    return app


def static(request: Request) -> Response:
    """Return a file of ours; nothing outside their folder can be named."""
    parts = PurePosixPath(request.path_params["path"]).parts
    if not parts or any(part in ("..", "/", "") or "\\" in part or "\0" in part for part in parts):
        raise HTTPException(404)
    found = STATIC.joinpath(*parts)
    if not found.is_file():
        raise HTTPException(404)
    kind = mimetypes.guess_type(parts[-1])[0] or "text/plain"
    keep = FOR_GOOD if request.query_params.get("v") else "no-cache"
    return Response(found.read_bytes(), media_type=kind, headers={"cache-control": keep})


def status_of(error: Exception) -> int:
    """Return the HTTP status that stands for an error of ours."""
    if isinstance(error, (ExperimentNotFoundError, RunNotFoundError)):
        return 404
    if isinstance(error, StoreUnavailableError):
        return 503
    if isinstance(error, MissingExtraError):
        return 501
    return 400


def _known_error(request: Request, error: Exception) -> Response:
    why = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    return _error_page(request, status_of(error), why)


def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    why = "There is no such page." if error.status_code == 404 else error.detail
    return _error_page(request, error.status_code, why)


def _defect(request: Request, error: Exception) -> Response:
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return _error_page(request, 500, "Something is broken in the advisor itself; its log has the details.")


def _error_page(request: Request, status: int, why: str) -> Response:
    return Web.of(request).page(request, "error.html.j2", status=status, status_code=status, why=why)

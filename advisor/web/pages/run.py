"""One run: what became of it, its curves with findings on them, what it was made from, and what can be said of it."""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from advisor.web.web import Web


def run(request: Request) -> Response:
    """Show one run."""
    web = Web.of(request)
    found = web.adv.store.run(request.path_params["run_id"])
    return web.page(request, "run.html.j2", run=found)


ROUTES: Final = (Route("/runs/{run_id}", run),)

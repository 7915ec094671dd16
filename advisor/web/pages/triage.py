"""What needs a person now, across all experiments. The first page."""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from advisor.web.live import live
from advisor.web.web import Web

SHOWN: Final = 40
"""Causes that the page lists; beyond, the command line does."""


def triage(request: Request) -> Response:
    """Show what needs a person now."""
    web = Web.of(request)
    return web.page(request, "triage.html.j2", now=web.triage(), shown=SHOWN)


ROUTES: Final = (Route("/", triage), Route("/live", live))

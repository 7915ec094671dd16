"""What needs a person now, across all experiments. The first page."""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from advisor.web.web import Web


def triage(request: Request) -> Response:
    """Show what needs a person now."""
    web = Web.of(request)
    experiments = [
        {"record": each.record, "n_runs": web.adv.store.count(each.name), "best": each.best()}
        for each in web.adv.experiments()[::-1]
    ]
    return web.page(request, "triage.html.j2", experiments=experiments)


ROUTES: Final = (Route("/", triage),)

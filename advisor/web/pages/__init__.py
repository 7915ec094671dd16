"""The pages, one module a view; each has its ``ROUTES``.

A view reads the request, asks the advisor's public calls, and renders a template. It runs in a thread of its own, so it
may wait for the store.
"""

from __future__ import annotations

from typing import Final

from starlette.routing import Route

from advisor.web.pages import (
    actions,
    compare,
    curves,
    documents,
    experiment,
    experiments,
    run,
    search,
    triage,
    verifying,
)

ROUTES: Final[tuple[Route, ...]] = (
    *triage.ROUTES,
    *actions.ROUTES,
    *experiments.ROUTES,
    *experiment.ROUTES,
    *curves.ROUTES,
    *run.ROUTES,
    *compare.ROUTES,
    *search.ROUTES,
    *verifying.ROUTES,  # before the documents, whose ids would take its address
    *documents.ROUTES,
)

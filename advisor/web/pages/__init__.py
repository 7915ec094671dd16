"""The pages, one module a view; each has its ``ROUTES``.

A view reads the request, asks the advisor's public calls, and renders a template. It runs in a thread of its own, so it
may wait for the store.
"""

from __future__ import annotations

from typing import Final

from starlette.routing import Route

from advisor.web.pages import actions, curves, experiment, experiments, run, triage

ROUTES: Final[tuple[Route, ...]] = (
    *triage.ROUTES,
    *actions.ROUTES,
    *experiments.ROUTES,
    *experiment.ROUTES,
    *curves.ROUTES,
    *run.ROUTES,
)

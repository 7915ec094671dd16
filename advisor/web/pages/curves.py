"""The curves of runs as JSON, for the charts: ``/runs/{run_id}/curves.json`` and ``/compare/curves.json``.

What is answered is written down in ``advisor.web.curves``; NaN and ±inf are the words "NaN", "Infinity", "-Infinity".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, cast

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from advisor.comparing import MAX_RUNS
from advisor.errors import AdvisorError, ConfigError
from advisor.relatives import best_other, nearest_healthy
from advisor.web.curves import Beside, Role, Window, run_label
from advisor.web.problems import problem, status_of, words_of
from advisor.web.web import Web
from storage.errors import StorageError

MAX_BESIDE: Final = 20


def of_run(request: Request) -> Response:
    """Answer with a run's curves, and those of the runs that ``with`` names.

    ``with`` holds ``best``, ``sibling`` (the nearest healthy one), or ``ROLE:ID`` for a run that the page knows.
    ``own`` names metrics of which only the run's own curve is wanted.
    """
    return _answered(request, _beside)


def compared(request: Request) -> Response:
    """Answer with the curves of the runs that ``runs`` names."""
    return _answered(request, _listed)


def _answered(request: Request, chosen: Callable[[Request], list[Beside]]) -> Response:
    try:
        metrics = [*request.query_params.getlist("metric"), *_split(request, "metrics")]
        own = request.query_params.getlist("own")
        window = Window.asked(request.query_params)
        found = Web.of(request).curves.payload(chosen(request), [*metrics, *own], window, own=own)
    except (AdvisorError, StorageError) as error:  # to a script, so no page as elsewhere
        return problem(status_of(error), words_of(error))
    return Response(msgspec.json.encode(found), media_type="application/json")


def _beside(request: Request) -> list[Beside]:
    adv = Web.of(request).adv
    run = adv.store.run(request.path_params["run_id"])
    out = [Beside(run, role="this", label=f"this run {run_label(run)}")]
    for asked in _split(request, "with")[:MAX_BESIDE]:
        role, _, run_id = asked.partition(":")
        if role not in ("best", "sibling", "other"):
            raise ConfigError(f"with = {asked!r:.60} is not known; give best, sibling, or other:RUN_ID")
        if run_id:
            other = adv.store.run(run_id)
        else:
            found = {"best": best_other, "sibling": nearest_healthy}.get(role, lambda _adv, _run: None)(adv, run)
            if found is None:
                continue
            other = found
        if all(other.id != each.run.id for each in out):
            words = {"best": "best ", "sibling": "nearest sound ", "other": ""}[role]
            out.append(Beside(other, role=cast(Role, role), label=words + run_label(other)))
    return out


def _listed(request: Request) -> list[Beside]:
    adv = Web.of(request).adv
    ids = list(dict.fromkeys(_split(request, "runs")))
    if not ids:
        raise ConfigError("no run is named; give runs=ID,ID,…")
    if len(ids) > MAX_RUNS:
        raise ConfigError(f"{len(ids)} runs are too many to compare; give at most {MAX_RUNS}")
    runs = [adv.store.run(each) for each in ids]
    several = len({run.experiment for run in runs}) > 1
    return [Beside(run, role="other", label=(f"{run.experiment} " if several else "") + run_label(run)) for run in runs]


def _split(request: Request, name: str) -> list[str]:
    return [part for part in request.query_params.get(name, "").split(",") if part]


ROUTES: Final = (Route("/runs/{run_id:path}/curves.json", of_run), Route("/compare/curves.json", compared))

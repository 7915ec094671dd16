"""Runs beside each other: ``/compare?runs=ID,ID,…``; whatever is chosen is in the address.

What differs is worked out by ``advisor.comparing``; curves are drawn by ``static/charts.js``. Invariant: an address
with ids shows the same runs for as long as they exist; runs that are gone are named, and the others shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final
from urllib.parse import quote, urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from advisor import comparing
from advisor.code_states import Code, code_difference, code_states
from advisor.comparing import Comparison, Row
from advisor.documents import numbers
from advisor.documents.provenance import data_line
from advisor.documents.untrusted import block
from advisor.errors import ConfigError
from advisor.references import find_run
from advisor.web.web import Web
from storage.errors import RunNotFoundError
from storage.records import FindingState

MOST_COLUMNS: Final = 6
"""Runs up to which each is a column; of more each is a row, since a page is read downwards."""
MOST_CHARTS: Final = 12
OPEN_CHARTS: Final = 4
"""Charts that are there from the start; further metrics are asked for."""
MOST_THINGS: Final = 40
"""Columns of a table of which each run is a row."""
MAX_LINE: Final = 400
"""Characters of a line of code that are shown."""
MOST_CODES: Final = 6
"""States of the code whose differences are written out."""


@dataclass(frozen=True)
class CodePart:
    """A state of the code, and how it differs from that of the baseline."""

    code: Code
    is_base: bool
    same_commit: bool
    lines: Sequence[tuple[str, str]]
    """Kind of a line (``added``, ``removed``, ``place``, ``same``) and the line."""
    is_whole: bool


def compare(request: Request) -> Response:
    """Show some runs beside each other."""
    web = Web.of(request)
    asked = references(request.query_params.getlist("runs"))
    added, base = request.query_params.get("add", "").strip(), request.query_params.get("base")
    trouble = ""
    if added:
        try:
            run = find_run(web.adv.store, added)
        except RunNotFoundError as error:
            trouble = str(error.args[0] if error.args else error)
        else:
            return RedirectResponse(address([*asked, run.id], base), 303)
    if not asked:
        return web.page(request, "compare.html.j2", compared=None, trouble=trouble, added=added, asked=asked)
    try:
        compared = comparing.compare(web.adv.store, asked, base=base)
    except (ConfigError, RunNotFoundError) as error:
        why = str(error.args[0] if error.args else error)
        status = 404 if isinstance(error, RunNotFoundError) else 400
        return web.page(
            request, "compare.html.j2", status=status, compared=None, trouble=why, added=added, asked=asked[:200]
        )
    return web.page(
        request, "compare.html.j2", compared=compared, trouble=trouble, added=added, asked=asked, **_parts(compared)
    )


def references(given: Iterable[str]) -> list[str]:
    """Return the runs that an address names: one parameter with commas between them, or one a run.

    >>> references(["a,b", "digits#3"])
    ['a', 'b', 'digits#3']
    """
    return list(dict.fromkeys(part.strip() for text in given for part in text.split(",") if part.strip()))


def address(ids: Sequence[str], base: str | None = None) -> str:
    """Return where runs are compared.

    >>> address(["a", "b"], "b")
    '/compare?runs=a,b&base=b'
    """
    listed = ",".join(quote(each, safe="") for each in dict.fromkeys(ids))
    kept = base if base and base != next(iter(ids), None) else None
    return f"/compare?runs={listed}" + (f"&{urlencode({'base': kept})}" if kept else "")


def _parts(compared: Comparison) -> dict[str, Any]:
    ids = [run.id for run in compared.runs]
    base = compared.base.id
    differing, same = comparing.parameters(compared)
    metrics = comparing.metrics(compared)
    surroundings, shared = comparing.environment(compared)
    data, same_data = comparing.data(compared)
    return {
        "wide": len(ids) > MOST_COLUMNS,
        "best": compared.best,
        "several": len(compared.experiments) > 1,
        "differing": differing,
        "same": same,
        "outcome": comparing.outcome(compared),
        "metrics": metrics,
        "charts": _charts(compared, metrics),
        "open_charts": OPEN_CHARTS,
        "surroundings": surroundings,
        "shared": shared,
        "data": data,
        "same_data": same_data,
        "codes": _codes(compared),
        "found": {run.id: [f for f in run.findings if f.state is not FindingState.RESOLVED] for run in compared.runs},
        "curves": f"/compare/curves.json?runs={','.join(map(quote, ids))}",
        "without": {each: address([i for i in ids if i != each], base if base != each else None) for each in ids},
        "against": {each: address(ids, each) for each in ids},
        "most": MOST_THINGS,
        "signed": numbers.signed,
        "data_line": data_line,
    }


def _charts(compared: Comparison, metrics: Sequence[Row]) -> list[str]:
    """Return the metrics that are worth a chart: those with two points or more, in the order of the table."""
    names = [name for name, _ in groupby(metrics, key=lambda row: row.name)]
    able = [name for name in names if any((run.summary.get(name, {}).get("n") or 0) > 1 for run in compared.runs)]
    running = [name for name in names if any(not run.state.is_over and name in run.metrics for run in compared.runs)]
    return [name for name in names if name in able or name in running][:MOST_CHARTS]


def _codes(compared: Comparison) -> list[CodePart]:
    groups = code_states(compared.runs, base=compared.base)
    if not any(group.is_recorded for group in groups):
        return []
    base = groups[0]
    parts = [CodePart(base, is_base=True, same_commit=True, lines=(), is_whole=True)]
    for group in groups[1:]:
        lines, is_whole = code_difference(base, group) if len(parts) < MOST_CODES else ([], False)
        same = group.commit == base.commit
        shown = [(_kind(line), block(line, limit=MAX_LINE)) for line in lines]
        parts.append(CodePart(group, is_base=False, same_commit=same, lines=shown, is_whole=is_whole))
    return parts


def _kind(line: str) -> str:
    return {"+": "added", "-": "removed", "@": "place"}.get(line[:1], "same")


ROUTES: Final = (Route("/compare", compare),)

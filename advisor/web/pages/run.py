"""One run: what became of it, its curves with findings on them, what it was made from, and what is said of it.

What takes long (similar runs, the summary, the history, the machine's curves) is a part with an address of its own,
which the page asks for when it is looked at, and which is a page of its own without a script.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, BinaryIO, Final
from urllib.parse import quote

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from advisor.comparing import standing
from advisor.errors import AdvisorError
from advisor.findings import CODES
from advisor.references import find_run
from advisor.relatives import MANY, Relatives, around, relatives
from advisor.reports.lead import lead
from advisor.web import run_details as details
from advisor.web.forms import Fields, posted
from advisor.web.web import Web
from storage.curves import is_of_machine
from storage.errors import CurveDamagedError, StorageError
from storage.evidence import worded
from storage.records import Experiment, Finding, FindingState, Run, RunState

MANY_CHARTS: Final = 12
"""Charts from which on a field to choose among them helps."""
N_SIMILAR: Final = 8
N_LINES: Final = 60
"""Lines of a run's history that are shown."""
CHUNK: Final = 1 << 16


@dataclass(frozen=True)
class RunView:
    """A run as its page shows it; what a part of the page does not need is not worked out."""

    web: Web
    run: Run
    request: Request

    @cached_property
    def record(self) -> Experiment:
        """The experiment that it belongs to."""
        return self.web.adv.store.experiment(self.run.experiment)

    @cached_property
    def relatives(self) -> Relatives:
        """The runs that it is held against."""
        return relatives(self.web.adv, self.run, self.around)

    @cached_property
    def around(self) -> Sequence[Run]:
        """Runs that were started around the same time."""
        return around(self.web.adv, self.run)

    @cached_property
    def trouble(self) -> str:
        """Why its curves cannot be read; empty where they can."""
        return self._metrics[1]

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the curves of the training."""
        return tuple(metric for metric in self._metrics[0] if not is_of_machine(metric))

    @cached_property
    def _metrics(self) -> tuple[tuple[str, ...], str]:
        try:
            return (tuple(self.run.summary) if self._is_told else self.web.curves.names(self.run)), ""
        except CurveDamagedError as error:
            return tuple(self.run.summary), str(error)

    @property
    def _is_told(self) -> bool:
        return self.run.state.is_over and bool(self.run.summary)

    @cached_property
    def only(self) -> str:
        """What the names of the metrics shown have to hold."""
        return self.request.query_params.get("only", "")[:200]

    @cached_property
    def _charts(self) -> list[details.Chart]:
        wanted = [metric for metric in self.metrics if self.only.lower() in metric.lower()]
        first = self.record.objective.metric if self.record.objective else None
        beside = ["best", *([f"sibling:{self.relatives.sibling.id}"] if self.relatives.sibling else [])]
        return details.charts(self.run.id, wanted, first=first, beside=beside)

    @property
    def charts(self) -> list[details.Chart]:
        """What is drawn of it, that of the objective first."""
        return self._charts[: details.MAX_CHARTS]

    @property
    def n_charts(self) -> int:
        """How many charts there are, those not shown included."""
        return len(self._charts)

    @property
    def has_many_charts(self) -> bool:
        """Whether one may want to choose among the metrics."""
        return self.n_charts > MANY_CHARTS or bool(self.only)

    @cached_property
    def beside(self) -> list[tuple[str, Run]]:
        """The runs whose parameters stand beside its own, each with what it is."""
        known = self.relatives
        words = (
            ("parent" if known.parent_is_recorded else "closest earlier", known.parent),
            ("best", known.best),
            ("nearest sound", known.sibling),
        )
        out: dict[str, tuple[str, Run]] = {}
        for word, other in words:
            if other is not None:
                before = out.get(other.id)
                out[other.id] = (f"{before[0]}, {word}" if before else word, other)
        return list(out.values())

    @cached_property
    def parameters(self) -> list[details.Row]:
        """Its parameters beside those of the runs that it is held against."""
        return details.parameters(self.run, [other for _, other in self.beside])

    @cached_property
    def n_changed(self) -> list[tuple[str, Run, int]]:
        """From how many parameters each of these runs differs."""
        return [
            (word, other, sum(row.others[i].differs for row in self.parameters))
            for i, (word, other) in enumerate(self.beside)
        ]

    @property
    def open_findings(self) -> list[Finding]:
        """Findings that hold, the gravest first."""
        found = [one for one in self.run.findings if one.state is not FindingState.RESOLVED]
        return sorted(found, key=lambda one: (-one.severity.rank, one.step or 0))

    @property
    def resolved_findings(self) -> list[Finding]:
        """Findings that no longer hold."""
        return [one for one in self.run.findings if one.state is FindingState.RESOLVED]

    def neighbour(self, by: int) -> Run | None:
        """Return the run before (-1) or after (1) it, past those that were deleted."""
        state = self.web.adv.store.state()
        for number in range(self.run.number + by, self.run.number + 60 * by, by):
            run_id = state.id_of(self.run.experiment, number) if number >= 0 else None
            if run_id is not None:
                return self.web.adv.store.run(run_id)
        return None

    @property
    def last_step(self) -> int | None:
        """The last step that was logged, as far as that was summed up."""
        steps = [int(f["last_step"]) for f in self.run.summary.values() if f.get("last_step") is not None]
        return max(steps, default=None)


def run(request: Request) -> Response:
    """Show one run; the beginning of an id, or a name, leads to the address with the whole id."""
    view = _view(request)
    if isinstance(view, Response):
        return view
    return _page(view, "run.html.j2")


def part(request: Request) -> Response:
    """Show what takes long to work out: similar runs, the summary, the forecast, the history, the machine's curves."""
    view = _view(request)
    if isinstance(view, Response):
        return view
    name = request.url.path.rpartition("/")[2]
    return _page(view, "run_part.html.j2", part=name, **PARTS[name](view))


def artifact(request: Request) -> Response:
    """Send a file that the run saved, to be kept and never shown: what is in it is anybody's."""
    web, sha256 = Web.of(request), request.path_params["sha256"]
    found = web.adv.store.run(request.path_params["run_id"])
    listed = next((each for each in found.artifacts if each.get("sha256") == sha256), None)
    if listed is None:
        raise HTTPException(404)
    file = web.adv.store.open_artifact(sha256)
    name = "".join(
        char for char in str(listed.get("name") or sha256).replace("\\", "/").split("/")[-1] if char.isprintable()
    )
    headers = {
        "content-disposition": f"attachment; filename*=UTF-8''{quote(name[:150] or sha256, safe='')}",
        "content-encoding": "identity",  # or a model of gigabytes would be compressed on the way
        "content-security-policy": "sandbox; default-src 'none'",
        "x-content-type-options": "nosniff",
    }
    return StreamingResponse(_chunks(file), media_type="application/octet-stream", headers=headers)


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while chunk := file.read(CHUNK):
            yield chunk


def add_note(request: Request, fields: Fields) -> Response:
    """Add a note."""
    run, experiment = _found(request)
    experiment.note(run, fields.get("text", ""))
    return _said(request, run, "notes")


def set_tags(request: Request, fields: Fields) -> Response:
    """Add the tags of the field ``add``, parted by commas, and take off that of ``remove``."""
    run, experiment = _found(request)
    new = [tag.strip() for tag in fields.get("add", "").split(",") if tag.strip()]
    if fields.get("remove"):
        experiment.untag(run, fields["remove"])
    if new:
        experiment.tag(run, *new)
    return _said(request, run, "tags")


def write_summary(request: Request, fields: Fields) -> Response:
    """Write the run's summary and keep it, then show it."""
    run, experiment = _found(request)
    document = experiment.summarize(run)
    return RedirectResponse(f"/documents/{quote(str(document.id), safe='')}", 303)


def _said(request: Request, run: Run, part: str) -> Response:
    """Show the run as it is now: in place for htmx, by a new page otherwise."""
    web = Web.of(request)
    if request.headers.get("hx-request"):
        return _page(RunView(web, web.adv.store.run(run.id), request), "run.html.j2")
    return RedirectResponse(details.run_address(run.id) + f"#{part}", 303)


def _found(request: Request) -> tuple[Run, Any]:
    adv = Web.of(request).adv
    found = adv.store.run(request.path_params["run_id"])
    return found, adv.experiment(found.experiment, create=False)


def _view(request: Request) -> RunView | Response:
    web, asked = Web.of(request), request.path_params["run_id"]
    found = find_run(web.adv.store, asked)
    if found.id != asked:
        query = f"?{request.url.query}" if request.url.query else ""
        end = request.url.path.rpartition("/")[2]
        return RedirectResponse(details.run_address(found.id, end if end in PARTS else "") + query, 307)
    return RunView(web, found, request)


def _page(view: RunView, template: str, **given: Any) -> Response:
    return view.web.page(
        view.request,
        template,
        view=view,
        run=view.run,
        address=details.run_address(view.run.id),
        details=details,
        codes=CODES,
        worded=worded,
        standing=standing,
        **given,
    )


def _similar(view: RunView) -> Mapping[str, Any]:
    return {"hits": view.web.adv.similar(view.run.id, limit=N_SIMILAR)}


def _summary(view: RunView) -> Mapping[str, Any]:
    return {"sentences": lead(view.web.adv, view.run)}


def _history(view: RunView) -> Mapping[str, Any]:
    return {"lines": view.web.adv.history(view.run.id, limit=N_LINES)[::-1], "n_lines": N_LINES}


def _forecast(view: RunView) -> Mapping[str, Any]:
    adv = view.web.adv
    if view.run.state is not RunState.RUNNING:
        return {"forecast": None, "why": "Only of a run that goes on the end is forecast."}
    if adv.store.count(view.run.experiment) > MANY:
        command = view.web.shell.command(f"forecast {view.run.id[:8]}")
        return {"forecast": None, "why": f"Of more than {MANY:,} runs it takes long; {command} does it."}
    try:
        found, why = adv.experiment(view.run.experiment, create=False).explain_forecast(view.run)
    except (AdvisorError, StorageError) as error:
        found, why = None, str(error)
    return {"forecast": found, "why": why}


def _machine(view: RunView) -> Mapping[str, Any]:
    names = [metric for metric in view.web.curves.names(view.run) if is_of_machine(metric)]
    return {"charts": [chart for name in names for chart in details.charts(view.run.id, [name], first=None)]}


PARTS: Final[Mapping[str, Callable[[RunView], Mapping[str, Any]]]] = {
    "similar": _similar,
    "summary": _summary,
    "history": _history,
    "forecast": _forecast,
    "machine": _machine,
}
_PART: Final = "/runs/{run_id:path}/"

ROUTES: Final = (
    Route(_PART + "artifacts/{sha256}", artifact),
    Route(_PART + "notes", posted(add_note), methods=["POST"]),
    Route(_PART + "tags", posted(set_tags), methods=["POST"]),
    Route(_PART + "summary", posted(write_summary), methods=["POST"]),
    *(Route(_PART + name, part) for name in PARTS),
    Route("/runs/{run_id:path}", run),
)

"""One experiment: its runs, what they show, what to try next, and how good the advice was.

What costs seconds is asked for by the page itself once it stands (``now=1``), one part after the other. What the parts
are made of is in the modules beside: ``experiment_table``, ``experiment_charts``, ``experiment_suggestions``.
"""

from __future__ import annotations

import json
import shlex
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from advisor.comparing import standing
from advisor.operations.checking import CheckAsked, check_experiment
from advisor.suggest.search_advice import NEWEST
from advisor.web import addresses
from advisor.web.addresses import address_of
from advisor.web.forms import Fields, posted
from advisor.web.pages import experiment_charts as charts
from advisor.web.pages import experiment_suggestions as answers
from advisor.web.pages import experiment_table as tables
from advisor.web.pages.experiments import overview
from advisor.web.web import Web
from storage.errors import FilterError
from storage.records import Experiment

TEMPLATE: Final = "experiment.html.j2"
ELEMENTS: Final = {
    "runs": {"panel", "runs"},
    "analysis": {"analysis", "improved", "importances", "interaction"},
    "suggestions": {"suggestions", "waiting", "unanswered"},
    "ledger": {"ledger"},
}
"""By tab, the elements that are asked for by themselves: blocks of the tab's own template."""
TABS: Final = {"runs": "Runs", "analysis": "Analysis", "suggestions": "Suggestions", "ledger": "Ledger"}
PARTS: Final = frozenset({"runs.csv", "runs.json", "plots.json", "suggestions", "check"})
"""What an address may name behind an experiment."""
WORDS: Final = {"minimize": "lower is better", "maximize": "higher is better"}


def experiment(request: Request) -> Response:
    """Show an experiment, or give a part of it away."""
    web = Web.of(request)
    record, part = _found(web, request.path_params["name"])
    if record is None:
        return _moved(web, request.path_params["name"])
    if part in ("runs.csv", "runs.json"):
        return _download(web, record, request, part)
    if part == "plots.json":
        return _plots(web, record, request)
    if part:
        return RedirectResponse(address_of(record, tab=part if part in TABS else "runs"), 303)
    asked = request.query_params.get("tab", "runs")
    return _page(web, record, request, asked if asked in TABS else "runs")


def _found(web: Web, path: str) -> tuple[Experiment | None, str]:
    return addresses.found(web.adv.store.state().experiments, path, PARTS)


def _moved(web: Web, name: str) -> Response:
    """Lead to an experiment that was renamed, or say that there is none."""
    state = web.adv.store.state()
    number = state.number_of(name)
    if number is not None and state.book(number).deleted is None:
        return RedirectResponse(address_of(state.book(number).record), 307)
    web.adv.store.experiment(name)  # says which names are close
    raise HTTPException(404)


def _page(web: Web, record: Experiment, request: Request, tab: str, **more: Any) -> Response:
    given, target = _common(web, record, tab) | more, request.headers.get("hx-target")
    is_part = answers.is_partial(request) and target in ELEMENTS[tab]
    if not (answers.is_partial(request) and target == "head"):
        given |= _TAB_CONTENT[tab](web, record, request)
    return web.page(request, f"experiment_{tab}.html.j2" if is_part else TEMPLATE, **given)


def _common(web: Web, record: Experiment, tab: str) -> dict[str, Any]:
    return {
        "record": record,
        "overview": overview(web, record),
        "tab": tab,
        "tabs": [(key, label, address_of(record, tab=key)) for key, label in TABS.items()],
        "home": address_of(record),
        "better": None if record.objective is None else WORDS[record.objective.direction],
        "words": WORDS,
        "commands": _commands(web, record),
        "now": False,
    }


def _commands(web: Web, record: Experiment) -> list[tuple[str, str]]:
    """Return what can be done with an experiment on the command line, and how."""
    name, command = shlex.quote(record.name), web.shell.command
    if not record.objectives:
        words = f"experiment {name} --objective val_loss --direction minimize"
        return [("Say what is to be improved", command(words))]
    return [
        ("Run more trials", answers.optimize_command(web, record, n=20)),
        ("Write a report", command(f"report {name}")),
        ("Look for trouble", command(f"check {name}")),
    ]


# -- what the tabs show


def _runs(web: Web, record: Experiment, request: Request) -> dict[str, Any]:
    asked = tables.Asked.of(record, request.query_params)
    table = tables.table(web.adv.store, asked)
    best = overview(web, record).best
    return {"table": table, "asked": table.asked, "standing": standing, "best_id": None if best is None else best[0]}


def _analysis(web: Web, record: Experiment, request: Request) -> dict[str, Any]:
    query, part = request.query_params, request.headers.get("hx-target", "")
    where = query.get("where", "").strip()
    given: dict[str, Any] = {"where": where, "error": None, "across": query.get("x", ""), "down": query.get("y", "")}
    given["address"] = lambda **more: address_of(
        record, tab="analysis", **({"where": where, "x": given["across"], "y": given["down"]} | more)
    )
    given["plots"] = address_of(record, "plots.json", where=where)
    if "now" not in query:
        return given
    try:
        found = charts.landscape_of(web, record, where)
    except FilterError as error:
        return given | {"error": str(error), "now": True, "found": None}
    if part == "importances":
        told, why = charts.importances_of(web, record, found)
        return given | {"now": True, "importances": told, "why": why, "newest": NEWEST, "found": found}
    pair = charts.interaction(found, given["across"], given["down"])
    return (
        given
        | {"now": True, "found": found, "pair": pair}
        | ({} if part == "interaction" else _beside(web, record, found))
    )


def _beside(web: Web, record: Experiment, found: Any) -> dict[str, Any]:
    """Return what stands beside the pictures."""
    constraints = bool(record.problem.get("constraints"))
    runs = charts.newest_of(web, record) if constraints or len(record.objectives) > 1 else []
    steps = found.steps()
    return {
        "noise": charts.noise_of(web, record, found),
        "n_drawn": min(len(found), charts.DRAWN),
        "steps": [
            (str(found.ids[i]), int(found.numbers[i]), float(found.objective[i])) for i in steps[-charts.N_STEPS :]
        ],
        "n_steps": len(steps),
        "effects": [(axis, found.groups(axis)) for axis in found.axes],
        "best": [
            (str(found.ids[i]), int(found.numbers[i]), float(found.objective[i]), int(i))
            for i in found.best(charts.N_BEST)
        ],
        "trade_off": charts.trade_off(record, runs),
        "constraints": charts.constraints_of(record, runs),
        "n_newest": len(runs),
        "importances": None,
        "why": "",
        "newest": NEWEST,
    }


def _suggestions(web: Web, record: Experiment, request: Request) -> dict[str, Any]:
    return {"next": answers.next_of(web, record), "at_most": answers.ASKED_AT_MOST, "ask_up_to": answers.ASK_UP_TO}


def _ledger(web: Web, record: Experiment, request: Request) -> dict[str, Any]:
    if "now" not in request.query_params:
        return {}
    from advisor.suggest.ledger_words import in_words, percent

    kept, advice = charts.ledger_of(web, record, charts.landscape_of(web, record))
    told = [] if kept is None else in_words(kept)
    reason = advice.reason.removeprefix("stop: ").removeprefix("go on: ")
    given: dict[str, Any] = {"ledger": kept, "sentences": told, "advice": advice, "percent": percent}
    given["reason"] = reason[:1].upper() + reason[1:]
    return given | {"now": True, "newest": NEWEST, "up_to": charts.LEDGER_UP_TO}


_TAB_CONTENT: Final = {"runs": _runs, "analysis": _analysis, "suggestions": _suggestions, "ledger": _ledger}


# -- data


def _plots(web: Web, record: Experiment, request: Request) -> Response:
    found = charts.landscape_of(web, record, request.query_params.get("where", "").strip())
    return JSONResponse(charts.plots(found, charts.noise_of(web, record, found)))


def _download(web: Web, record: Experiment, request: Request, part: str) -> Response:
    """Give away all runs that fit the filter, read some at a time while they are sent."""
    store, asked = web.adv.store, tables.Asked.of(record, request.query_params)
    found = tables.pages(store, asked)
    if part == "runs.json":
        text, kind = tables.as_json(found), "application/json"
    else:
        text, kind = tables.as_csv(record, store.names(record.name), found), "text/csv; charset=utf-8"
    disposition = f'attachment; filename="{part}"'
    return StreamingResponse(text, media_type=kind, headers={"content-disposition": disposition})


# -- changes


def change(request: Request, fields: Fields) -> Response:
    """Ask for suggestions, or look at all runs for trouble."""
    web = Web.of(request)
    record, part = _found(web, request.path_params["name"])
    if record is not None and part == "check":
        return _checked(web, record, request)
    if record is None or part != "suggestions":
        raise HTTPException(404 if record is None else 405)
    return _answered(web, record, request, answers.ask(web, record, fields))


def _checked(web: Web, record: Experiment, request: Request) -> Response:
    """Look at all runs for trouble, and tell how much of it is new."""
    found = check_experiment(web.adv, CheckAsked(experiment=record.name))
    if not answers.is_partial(request):
        return RedirectResponse(address_of(record), 303)
    answer = _page(web, record, request, "runs")
    told = f"{found.n_runs} runs looked at: {found.n_new or 'nothing'} new"
    answer.headers["hx-trigger"] = json.dumps({"advisor:tell": told})
    return answer


def accept(request: Request) -> Response:
    """Queue a suggestion."""
    return _answer(request, answers.accept)


def reject(request: Request) -> Response:
    """Close a suggestion."""
    return _answer(request, answers.reject)


def withdraw(request: Request) -> Response:
    """Take a run out of the queue."""
    web = Web.of(request)
    run = web.adv.store.run(request.path_params["run_id"])
    said = answers.withdraw(web, run)
    return _answered(web, web.adv.store.experiment(run.experiment), request, said)


def _answer(request: Request, act: Any) -> Response:
    web, suggestion_id = Web.of(request), request.path_params["id"]
    record = answers.owner_of(web, suggestion_id)
    said = act(web.adv.experiment(record.name, create=False), suggestion_id)
    return _answered(web, record, request, said)


def _answered(web: Web, record: Experiment, request: Request, said: str) -> Response:
    """Say what was done: in place of the suggestions, in place of whatever another page asked for, or by a new page."""
    if not answers.is_partial(request):
        return RedirectResponse(address_of(record, tab="suggestions"), 303)
    if request.headers.get("hx-target") == "suggestions":
        return _page(web, record, request, "suggestions", said=said)
    return web.page(request, "experiment_said.html.j2", said=said)


ROUTES: Final = (
    Route("/experiments/{name:path}", experiment),
    Route("/experiments/{name:path}", posted(change), methods=["POST"]),
    Route("/suggestions/{id}/accept", accept, methods=["POST"]),
    Route("/suggestions/{id}/reject", reject, methods=["POST"]),
    Route("/queue/{run_id}/withdraw", withdraw, methods=["POST"]),
)

"""How experiments, suggestions, forecasts and the ledger show themselves in a notebook: the user's whole flow in cells.

Pieces and style are in ``storage.markup``, records in ``storage.notebook``. Leaves out text: each of these has its own.
Invariant: of an experiment of any size some hundred runs are read at most.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from storage import svg
from storage.figures import figure
from storage.markup import MOST_ROWS, MOST_TEXT, dot, frame, head, pairs, plural, soft, table, text, value
from storage.notebook import MOST_PARAMS, findings_table, runs_table

if TYPE_CHECKING:
    from advisor.findings import Checked
    from advisor.suggest import Forecast, Ledger, Suggestion
    from advisor.suggest.importance import Importances
    from advisor.suggest.search_advice import SearchAdvice
    from advisor.tracking.run import LiveRun
    from storage.records import Experiment, Run
    from storage.store import RunStore

SHOWN_RUNS: Final = 10
"""Best runs in the table of an experiment."""
DRAWN_RUNS: Final = 200
"""Newest runs in its picture."""
MOST_NEIGHBOURS: Final = 5
COUNTED: Final = (("running", "state = 'running'"), ("failed or crashed", "state in ('failed', 'crashed')"))


def experiment(record: Experiment, store: RunStore, *, space: Mapping[str, object] | None) -> str:
    """Return an experiment as an output: its question, the best runs, how the search went."""
    n = store.count(record.name)
    said = [f"<b>{text(record.name)}</b>", plural(n, "run")]
    said += [f"{count:,} {word}" for word, where in COUNTED if n and (count := store.count(record.name, where=where))]
    goals = ", ".join(f"{escape(each.direction)} {text(each.metric)}" for each in record.objectives)
    lines = head(*said, goals) + (f"<p>{text(record.description, limit=300)}</p>" if record.description else "")
    if not n:
        return frame(lines, _space(space), f"<p>{soft('no runs yet; exp.start(params={…}) begins one')}</p>")
    metric = None if record.objective is None else record.objective.metric
    shown, order = _best_first(record, store)
    picture = _picture(record, store) if metric else ""
    return frame(lines, _space(space), f"<p>{soft(order)}</p>", runs_table(shown, n=n, metric=metric), picture)


def _best_first(record: Experiment, store: RunStore) -> tuple[list[Run], str]:
    """Return the runs to be shown, and in which order they are."""
    if record.objective is not None:
        descending = record.objective.direction == "maximize"
        finished = "state = 'finished'"
        order: Mapping[str, Any] = {"where": finished, "order_by": "objective", "descending": descending}
        best = store.runs(record.name, limit=SHOWN_RUNS, **order)
        if best:
            return best, f"finished runs, best {record.objective.metric} first"
    return store.runs(record.name, limit=SHOWN_RUNS, descending=True), "newest runs first"


def _picture(record: Experiment, store: RunStore) -> str:
    """Return the objective of the newest runs, by their numbers."""
    runs = store.runs(record.name, limit=DRAWN_RUNS, descending=True)[::-1]
    measured = [run for run in runs if run.objective is not None]
    if len(measured) < 3 or record.objective is None:
        return ""
    values = np.array([run.objective for run in measured], dtype=np.float64)
    ranked = [math.nan if not record.ranks(run) else float(run.objective or 0.0) for run in measured]
    pick = np.nanargmin if record.objective.direction == "minimize" else np.nanargmax
    best = int(pick(ranked)) if np.isfinite(ranked).any() else None
    numbers = np.array([run.number for run in measured], dtype=np.int64)
    label = f"{record.objective.metric} of {plural(len(measured), 'run')} by number"
    drawn = svg.chart(numbers, values, label=label, best=best, dots=True)
    which = "each run" if len(runs) < DRAWN_RUNS else f"the newest {DRAWN_RUNS} runs"
    return f"<p>{text(record.objective.metric)} {soft(f'of {which}, by number; the best of them is ringed')}</p>{drawn}"


def _space(space: Mapping[str, object] | None) -> str:
    """Return the search space on one line that opens."""
    if not space:
        return ""
    rows = [(text(name), text(repr(each), limit=120)) for name, each in list(space.items())[:40]]
    inside = table(["parameter", "range"], rows, n=len(space))
    return f"<details><summary>{plural(len(space), 'parameter')} to search</summary>{inside}</details>"


def store(opened: RunStore, uri: str) -> str:
    """Return a store as an output: its experiments, the newest first."""
    found = opened.experiments()[::-1]
    rows = []
    for record in found[:MOST_ROWS]:
        best = None if record.problem.get("constraints") else opened.best(record.name)
        goal = "" if record.objective is None else text(record.objective.metric)
        rows.append((text(record.name), f"{opened.count(record.name):,}", goal, value(best and best.objective)))
    title = head(f"<b>{text(uri)}</b>", plural(len(found), "experiment"))
    return frame(
        title, table(["experiment", "runs", "objective", "best"], rows, numbers=[1, 3], n=len(found)) if rows else ""
    )


def trouble(what: str, error: Exception) -> str:
    """Return what is said where something cannot be shown."""
    return frame(head(f"<b>{text(what)}</b>"), f"<p>{dot('error')}: {text(error, limit=300)}</p>")


# -- suggestions and forecasts


def suggestions(found: Sequence[Suggestion]) -> str:
    """Return suggestions as an output; a single one in full."""
    if len(found) == 1:
        return suggestion(found[0])
    names = list(dict.fromkeys(name for each in found[:MOST_ROWS] for name in each.params))[:MOST_PARAMS]
    rows = [
        (
            str(place),
            *(value(each.params.get(name)) for name in names),
            "–" if each.forecast is None else figure(each.forecast.mean),
            "" if each.forecast is None else _range(each.forecast),
            text(each.source),
            text(each.why, limit=90),
        )
        for place, each in enumerate(found[:MOST_ROWS])
    ]
    headers = ["", *map(text, names), "forecast (median)", "80% interval", "from", "why"]
    numbers = {len(names) + 1, len(names) + 2}
    numbers |= {
        at
        for at, name in enumerate(names, 1)
        if not any(isinstance(s.params.get(name), str) for s in found[:MOST_ROWS])
    }
    title = head(f"<b>{plural(len(found), 'suggestion')}</b>", text(found[0].experiment) if found else "")
    return frame(title, table(headers, rows, numbers=numbers, n=len(found)) if rows else "")


def suggestion(one: Suggestion) -> str:
    """Return a suggestion as an output: parameters and what each is expected to do, reasons, forecast, neighbours."""
    said = [
        f"<b>Suggestion for {text(one.experiment)}</b>",
        f"from {text(one.source)}",
        soft(f"<code>{text(one.id)}</code>"),
    ]
    rows = [
        (text(name), value(each), _signed(one.effects.get(name)) if one.effects else "")
        for name, each in list(one.params.items())[:40]
    ]
    effect = '<span title="the objective with this value, less that with a random one">effect</span>'
    headers = ["parameter", "value", effect if one.effects else ""]
    params = table(headers, rows, numbers=[1, 2], n=len(one.params))
    near = [
        (f"#{each.number}", dot(str(each.state)), value(each.objective), figure(each.distance, digits=2))
        for each in one.nearest[:MOST_NEIGHBOURS]
    ]
    beside = table(["nearest", "state", "objective", "distance"], near, numbers=[2, 3]) if near else ""
    chances = [
        f"{word} {value_of:.0%}"
        for word, value_of in (
            ("chance that it neither fails nor diverges", one.p_ok),
            ("chance that it keeps the constraints", one.p_feasible),
        )
        if value_of is not None
    ]
    told = _forecast(one.forecast) if one.forecast is not None else soft(text(one.forecast_note, limit=300))
    return frame(
        head(*said),
        f"<p>{text(one.why, limit=600)}</p>",
        f'<div class="side">{params}{beside}</div>',
        f"<p>forecast {told}</p>",
        f"<p>{soft(' · '.join(chances))}</p>" if chances else "",
    )


def forecast(one: Forecast) -> str:
    """Return a forecast as an output."""
    return frame(head("<b>Forecast</b>", _forecast(one)), _bar(one), f"<p>{soft(_basis(one))}</p>")


def _forecast(one: Forecast) -> str:
    best = "" if one.p_best is None else f" · chance to be the best {one.chance}"
    at_end = one.low < one.high and one.mean in (one.low, one.high)
    why = soft(" (at its end, because many of the possible outcomes are the same)") if at_end else ""
    return f"median <b>{figure(one.mean)}</b>, 80% interval {_range(one)}{why}{best}"


def _basis(one: Forecast) -> str:
    return f"from {plural(one.n_runs, 'finished run')}, by {escape(one.method)}"


def _range(one: Forecast) -> str:
    return f"{figure(one.low)} to {figure(one.high)}"


def _signed(effect: float | None) -> str:
    return "" if effect is None else f"{'+' if effect > 0 else ''}{figure(effect, digits=3)}"


def _bar(one: Forecast) -> str:
    """Return the interval as a line with a dot at the median."""
    if not all(map(math.isfinite, (one.low, one.mean, one.high))) or one.high <= one.low:
        return ""
    at = 12 + 276 * (one.mean - one.low) / (one.high - one.low)
    label = escape(f"from {figure(one.low)} to {figure(one.high)}, median {figure(one.mean)}")
    return (
        f'<svg width="300" height="16" viewBox="0 0 300 16" role="img" aria-label="{label}">'
        f'<path d="M12 8H288M12 3V13M288 3V13" stroke="currentColor" stroke-opacity=".5" fill="none"/>'
        f'<circle cx="{at:.1f}" cy="8" r="5" fill="{svg.ACCENT}"/></svg>'
    )


# -- a check, a run that trains, advice


def checked(one: Checked, reasons: Sequence[str]) -> str:
    """Return a check as an output: what was found, and the reasons why something was not judged."""
    unsure = len({each.run_id for each in one.not_judged})
    said = f"not everything could be judged in {plural(unsure, 'run')}" if unsure else "every check was applied"
    title = head(f"<b>{plural(len(one.findings), 'finding')}</b> in {plural(len(one.numbers), 'run')}", said)
    told = "".join(f"<p>{soft('not judged')} {text(line, limit=MOST_TEXT)}</p>" for line in reasons[:MOST_ROWS])
    more = f"<p>{soft(f'… and {len(reasons) - MOST_ROWS:,} more reasons')}</p>" if len(reasons) > MOST_ROWS else ""
    return frame(title, findings_table(one.findings, runs_too=True, numbers=one.numbers), told, more)


def live_run(one: LiveRun, *, number: int | None) -> str:
    """Return a run of this process as an output; the store is not asked, which may be out of reach."""
    name = text(one.experiment) + ("" if number is None else f" #{number}")
    title = head(f"<b>{name}</b>", dot(str(one.state)), soft(f"<code>{escape(one.id[:12])}</code>"))
    return frame(title, pairs(one.params, title="parameter"), findings_table(one.findings))


def importances(one: Importances) -> str:
    """Return what each parameter matters as an output."""
    rows = [
        (text(name), f"{share:.0%}", f"{one.low[name]:.0%} to {one.high[name]:.0%}")
        for name, share in list(one.shares.items())[:MOST_ROWS]
    ]
    title = head("<b>Importances</b>", text(one.method), f"from {plural(one.n_runs, 'finished run')}")
    shown = table(["parameter", "share", "95% interval"], rows, numbers=[1, 2], n=len(one.shares)) if rows else ""
    ties = ", ".join(f"{text(a)} and {text(b)}" for a, b in one.ties[:MOST_ROWS])
    return frame(title, shown, f"<p>{soft(f'order not told apart: {ties}')}</p>" if ties else "")


def search_advice(one: SearchAdvice) -> str:
    """Return advice on a search as an output."""
    title = head(f"<b>{'Stop searching' if one.stop else 'No reason to stop'}</b>", plural(one.n_runs, "finished run"))
    return frame(title, f"<p>{text(one.reason, limit=600)}</p>")


# -- the ledger


def ledger(one: Ledger, sentences: Sequence[str]) -> str:
    """Return the ledger as an output: its sentences, and suggestions by where they came from."""
    said = "".join(f"<p>{escape(sentence)}</p>" for sentence in sentences[:30])
    rows = [
        (
            text(each.source),
            *(f"{count:,}" for count in (each.n_made, each.n_started, each.n_finished, each.n_failed)),
            f"{each.gains.improved.n_hits:,} of {each.gains.improved.n:,}",
        )
        for each in one.by_source[:MOST_ROWS]
    ]
    headers = ["suggested by", "made", "started", "finished", "failed", "became the best"]
    shown = table(headers, rows, numbers=range(1, 6), n=len(one.by_source)) if rows else ""
    return frame(head(f"<b>Ledger of {text(one.experiment)}</b>", plural(one.n_runs, "run")), said, shown)

"""All experiments: how many runs in which state, the best, what was found, when something happened last."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from advisor.suggest.landscape import constraint_columns, kept
from advisor.triage import Pulse
from advisor.web.addresses import address_of
from advisor.web.web import Web
from storage.records import Experiment, FindingState, RunState
from storage.store import RunStore

COLUMNS: Final = ("id", "number", "experiment", "state", "objective", "ranks", "created", "started", "ended")
LOOKED_AT: Final = 2_000
"""Runs with findings whose findings are counted one by one."""
HAS_FINDINGS: Final = "finding is not null"


@dataclass(frozen=True, slots=True)
class Overview:
    """One experiment, as a line of the list and as the head of its page."""

    record: Experiment
    _: KW_ONLY
    address: str
    n_runs: int
    states: tuple[tuple[str, int], ...]
    """State and number of runs in it, in the order of a run's life; only those that occur."""
    best: tuple[str, int, float] | None
    """Id, number and objective of the best run that keeps all constraints."""
    n_findings: int
    """Open findings, of the newest ``LOOKED_AT`` runs that have any."""
    is_partial: bool
    """Whether more runs have findings than were looked at."""
    last: datetime | None
    """When a run was created, started, ended or logged last."""
    so_far: tuple[str, int, float] | None = None
    """Id and number of the newest run that goes on, and the last value it logged of the objective."""

    def n_in(self, state: str) -> int:
        """Return how many runs are in a state."""
        return dict(self.states).get(state, 0)


def overviews(web: Web) -> list[Overview]:
    """Return all experiments in the order of their creation; kept until something happens in the store."""
    store = web.adv.store
    found = web.memo.get(("overviews", store.state().version), lambda: _overviews(store))
    going_on = _going_on(web)
    return [_as_of_now(each, going_on.get(each.record.name, ())) for each in found]


def overview(web: Web, record: Experiment) -> Overview:
    """Return one experiment; what does not come from runs that go on is kept until something happens in the store."""
    store = web.adv.store
    key = ("overview", record.number, store.state().version)

    def make() -> Overview:
        return _overview(record, _columns(store, record), _open(store, record.name))

    return _as_of_now(web.memo.get(key, make), _going_on(web).get(record.name, ()))


def _going_on(web: Web) -> dict[str, list[Pulse]]:
    """Return how runs that go on are doing, by experiment, the newest first."""
    found: dict[str, list[Pulse]] = {}
    for pulse in web.triage().running:
        found.setdefault(pulse.run.experiment, []).append(pulse)
    return found


def _as_of_now(known: Overview, pulses: Sequence[Pulse]) -> Overview:
    """Return an overview with what runs that go on have logged since; that is no change of the journal."""
    heard = [pulse.heard for pulse in pulses if pulse.heard is not None]
    metric = None if known.record.objective is None else known.record.objective.metric
    values = [(p.run.id, p.run.number, p.value) for p in pulses if p.metric == metric and p.value is not None]
    last = max([*heard, *([known.last] if known.last is not None else [])], default=None)
    newest = max(values, key=lambda each: each[1], default=None)
    return replace(known, last=last, so_far=newest if metric is not None else None)


def _columns(store: RunStore, record: Experiment) -> Mapping[str, Any]:
    return store.columns(record.name, [*COLUMNS, *constraint_columns(record, store.names(record.name))])


def _overviews(store: RunStore) -> list[Overview]:
    columns = store.columns(None, COLUMNS)
    findings = _open(store, None)
    places: dict[str, list[int]] = {}
    for at, name in enumerate(columns["experiment"].tolist()):
        places.setdefault(name, []).append(at)
    parts = {name: np.array(found, dtype=np.int64) for name, found in places.items()}
    return [
        _overview(
            each,
            _columns(store, each) if each.problem.get("constraints") else _part(columns, parts.get(each.name)),
            findings,
        )
        for each in store.experiments()
    ]


def _part(columns: Mapping[str, Any], at: NDArray[np.int64] | None) -> Mapping[str, Any]:
    return {name: column[:0] if at is None else column[at] for name, column in columns.items()}


def _overview(record: Experiment, columns: Any, findings: tuple[Counter[str], bool]) -> Overview:
    states = Counter(columns["state"].tolist())
    moments = np.concatenate([columns[name] for name in ("created", "started", "ended")])
    moments = moments[np.isfinite(moments)]
    opened, is_partial = findings
    return Overview(
        record,
        address=address_of(record),
        n_runs=len(columns["id"]),
        states=tuple((str(state), states[state]) for state in RunState if states[state]),
        best=_best(record, columns),
        n_findings=opened[record.name],
        is_partial=is_partial,
        last=datetime.fromtimestamp(float(moments.max()), UTC) if moments.size else None,
    )


def _best(record: Experiment, columns: Any) -> tuple[str, int, float] | None:
    ranks = (columns["ranks"] == 1) & np.isfinite(columns["objective"])
    ranked = np.flatnonzero(ranks & kept(record, columns, len(ranks)))
    if record.objective is None or not ranked.size:
        return None
    values = columns["objective"][ranked]
    at = ranked[values.argmax() if record.objective.direction == "maximize" else values.argmin()]
    return str(columns["id"][at]), int(columns["number"][at]), float(columns["objective"][at])


def _open(store: RunStore, name: str | None) -> tuple[Counter[str], bool]:
    """Return how many open findings each experiment has, and whether that is not all of them."""
    runs, n = store.page(name, where=HAS_FINDINGS, descending=True, limit=LOOKED_AT)
    found = Counter(run.experiment for run in runs for each in run.findings if each.state is FindingState.OPEN)
    return found, n > len(runs)


# -- the list

KEYS: Final[dict[str, tuple[str, Callable[[Overview], Any]]]] = {
    "name": ("Experiment", lambda each: each.record.name.lower()),
    "runs": ("Runs", lambda each: each.n_runs),
    "findings": ("Open findings", lambda each: each.n_findings),
    "last": ("Last activity", lambda each: each.last),
}
"""By what the list can be sorted: the heading, and the value; what has none comes last."""


def ordered(found: Sequence[Overview], sort: str, *, desc: bool) -> list[Overview]:
    """Return experiments in order; what has no value comes last in either direction."""
    value = KEYS[sort][1]
    known = [each for each in found if value(each) is not None]
    return sorted(known, key=value, reverse=desc) + [each for each in found if value(each) is None]


def experiments(request: Request) -> Response:
    """Show all experiments."""
    web = Web.of(request)
    sort = request.query_params.get("sort", "last")
    sort = sort if sort in KEYS else "last"
    desc = request.query_params.get("desc", "1" if sort == "last" else "0") == "1"
    found = ordered(overviews(web), sort, desc=desc)
    return web.page(request, "experiments.html.j2", experiments=found, sort=sort, desc=desc, keys=KEYS)


ROUTES: Final = (Route("/experiments", experiments),)

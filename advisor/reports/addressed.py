"""Look up any fact by its id: what records hold, what models work out anew, and the facts of documents.

Leaves out what a record holds (``advisor.documents.fact_paths``). Invariant: nothing is remembered between two calls of
``resolve_fact``; a fact of a document is looked up by deriving the document again at the commit that its id names.

A document's facts have ids like ``document/DOCUMENT_ID/best`` where it is kept, else
``document/KIND:COMMIT:ABOUT/best`` with everything that it takes to write it once more.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, unquote

from advisor.documents import numbers
from advisor.documents.fact import Fact, FactSheet
from advisor.documents.fact_paths import (
    SHORT_ID,
    FactNotFoundError,
    experiment_at,
    experiment_path,
    look_up,
    parts_of,
    run_path,
    short,
)
from advisor.documents.untrusted import one_line
from advisor.errors import AdvisorError
from advisor.references import find_run
from advisor.suggest.search_advice import NEWEST
from storage.errors import StorageError, did_you_mean

if TYPE_CHECKING:
    from advisor.app import Advisor
    from advisor.documents import Origin
    from advisor.suggest import Forecast
    from storage.records import Experiment, Run

FORECAST_KEYS: Final = ("mean", "low", "high", "p_best")
WORKED_OUT: Final = ("ledger", "stop_advice")
MAX_LEAVES: Final = 400


@dataclass
class Resolver:
    """Looks up facts for one text: what is worked out for one of them serves the others."""

    adv: Advisor
    _sheets: dict[str, FactSheet] = field(default_factory=dict)
    _worked_out: dict[str, Mapping[str, Fact]] = field(default_factory=dict)

    def __call__(self, fact_id: str) -> Fact:
        """Return the fact of an id.

        Raises
        ------
        FactNotFoundError, StorageError, AdvisorError
            If there is none, or it cannot be worked out.
        """
        kind, about, *rest = parts_of(fact_id)
        key = rest[-1].partition(".")[0]
        if kind == "document":
            return self._of_document(fact_id, about, rest[-1])
        if kind == "experiment" and key in WORKED_OUT:
            record = experiment_at(self.adv.store, about)
            return self._of(fact_id, f"{about}/{key}", lambda: worked_out_facts(self.adv, record, key))
        if kind == "run" and key.partition("@")[0] == "forecast":
            run = find_run(self.adv.store, unquote(about))
            return self._of(fact_id, f"{about}/{key}", lambda: _forecast_of(self.adv, run, rest[-1]))
        return look_up(self.adv.store, fact_id)

    def _of(self, fact_id: str, key: str, make: Any) -> Fact:
        if key not in self._worked_out:
            self._worked_out[key] = {fact.id.rpartition("/")[2]: fact for fact in make()}
        known = self._worked_out[key]
        wanted = fact_id.rpartition("/")[2]
        if wanted not in known:
            raise FactNotFoundError(f"there is no fact {wanted!r:.80}; {did_you_mean(wanted, known, show=6)}")
        return replace(known[wanted], id=fact_id)

    def _of_document(self, fact_id: str, about: str, wanted: str) -> Fact:
        if about not in self._sheets:
            self._sheets[about] = _sheet_of(self.adv, about)
        found = self._sheets[about].get(wanted)
        if found is None:
            known = did_you_mean(wanted, (fact.id for fact in self._sheets[about]), show=6)
            raise FactNotFoundError(f"the document has no fact {wanted!r:.80}; {known}")
        return replace(found, id=fact_id)


def resolve_fact(adv: Advisor, fact_id: str) -> Fact:
    """Return the fact that an id names, as the store has it now.

    Raises
    ------
    FactNotFoundError, StorageError, AdvisorError
        If there is none, or it cannot be worked out.
    """
    return Resolver(adv)(fact_id)


# -- what is worked out anew


def worked_out_facts(adv: Advisor, record: Experiment, what: str) -> list[Fact]:
    """Return the figures of an experiment's ``ledger`` or ``stop_advice`` as facts."""
    experiment = adv.experiment(record.name, create=False)
    told = (experiment.ledger() if what == "ledger" else experiment.stop_advice(newest=NEWEST)).as_json()
    return ledger_facts(record, told, what)


def ledger_facts(record: Experiment, told: Mapping[str, Any], what: str) -> list[Fact]:
    """Return each figure in a JSON form as a fact whose id ends in the keys that lead to it."""
    path, called = f"{experiment_path(record)}/{what}", one_line(record.name, limit=80)
    return [
        Fact(
            f"{path}.{keys}",
            value=value,
            label=f"{keys.replace('_', ' ').replace('.', ', ')}, {what.replace('_', ' ')} of {called}",
            text=numbers.parameter(value),
            kind="account",
            source=f"experiment {called}",
        )
        for keys, value in islice(_leaves(told), MAX_LEAVES)
    ]


def _leaves(told: Any, keys: str = "") -> Iterator[tuple[str, int | float]]:
    if isinstance(told, Mapping):
        for key, value in told.items():
            yield from _leaves(value, f"{keys}.{quote(str(key), safe='')}".lstrip("."))
    elif isinstance(told, list | tuple):
        for place, value in enumerate(told):
            yield from _leaves(value, f"{keys}.{place}".lstrip("."))
    elif isinstance(told, int | float) and not isinstance(told, bool):
        yield keys, told


def forecast_facts(run: Run, found: Forecast, *, at: float | None) -> list[Fact]:
    """Return the figures of a forecast as facts."""
    called = one_line(f"{run.experiment}#{run.number}", limit=80)
    path = f"{run_path(run)}/forecast{'' if at is None else f'@{at:g}'}"
    told = found.as_json()
    return [
        Fact(f"{path}.{key}", value=told[key], label=f"forecast ({key.replace('_', ' ')}) of {called}",
             text=numbers.figure(told[key]), kind="value", source=f"run {run.id}")
        for key in FORECAST_KEYS
        if told[key] is not None
    ]  # fmt: skip


def _forecast_of(adv: Advisor, run: Run, wanted: str) -> list[Fact]:
    _, _, share = wanted.partition("@")
    key = next((key for key in FORECAST_KEYS if share.endswith(f".{key}")), "")
    try:
        at = float(share.removesuffix(f".{key}")) if share else None
    except ValueError:
        raise FactNotFoundError(f"{wanted!r:.80} is no share of a training; write forecast@0.3.mean") from None
    found, why = adv.experiment(run.experiment, create=False).explain_forecast(run, at=at)
    if found is None:
        raise FactNotFoundError(f"there is no forecast: {why}")
    return forecast_facts(run, found, at=at)


# -- documents


def document_path(origin: Origin, *, at_rest: bool = False) -> str:
    """Return how the ids of a document's facts begin; parameters as for ``document_facts``."""
    if origin.id:
        return f"document/{short(origin.id)}"
    about = {"e": origin.experiment, "r": origin.run_id, "a": dict(origin.about)}
    about |= {} if at_rest and not origin.about else {"t": origin.generated}
    told = json.dumps({key: value for key, value in about.items() if value}, separators=(",", ":"))
    return f"document/{origin.kind}:{origin.commit}:{quote(told, safe='')}"


def document_facts(origin: Origin, sheet: FactSheet, *, at_rest: bool = False) -> list[Fact]:
    """Return a sheet's facts under ids that can be looked up again; what was not recorded is no fact to cite.

    Parameters
    ----------
    at_rest
        Whether time alone changes nothing of it any more: then the moment is left out of the ids, and they stay the
        same until the store changes.
    """
    path = document_path(origin, at_rest=at_rest)
    return [replace(fact, id=f"{path}/{fact.id}") for fact in sheet if fact.kind != "absence"]


def kept_facts(adv: Advisor, document_id: str) -> list[Fact]:
    """Return the facts of a document that was kept, computed again; none where that cannot be done any more."""
    try:
        origin = _origin_of(adv, document_id)
        return document_facts(origin, _sheet_of(adv, document_id))
    except (StorageError, AdvisorError):
        return []


def _sheet_of(adv: Advisor, about: str) -> FactSheet:
    from advisor.reports.verify import sheet_again

    try:
        return sheet_again(adv, _origin_of(adv, about))
    except (KeyError, ValueError, OverflowError, TypeError) as error:
        if isinstance(error, StorageError | AdvisorError):
            raise
        raise FactNotFoundError(f"the document {one_line(about, limit=80)!r} cannot be derived again") from error


def _origin_of(adv: Advisor, about: str) -> Origin:
    from advisor.documents import Origin
    from advisor.reports.keep import kept_events

    kind, mark, rest = about.partition(":")
    if mark:
        commit, _, told = rest.partition(":")
        given = json.loads(unquote(told))
        return Origin.from_json({"kind": kind, "commit": int(commit), "experiment": given.get("e", ""),
                                 "run_id": given.get("r", ""), "about": given.get("a", {}),
                                 "generated": given.get("t") or adv.clock().isoformat()})  # fmt: skip
    fitting = [event for event in kept_events(adv.store) if str(event.body.get("document_id", "")).startswith(about)]
    if len(fitting) != 1 or not isinstance(fitting[0].body.get("origin"), Mapping):
        raise FactNotFoundError(f"no document is called {one_line(about, limit=SHORT_ID)!r}; list_documents names them")
    return Origin.from_json(fitting[0].body["origin"])

"""Calls that can be copied and run as they stand, with what the store holds: its experiment, its runs, a finding.

Invariant: they run as they stand. Those of operations that write do write: a note, a failed run that says that it is an
example, a verdict on and an acknowledgement of the newest finding, a mute for an hour; tags stay what they are.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from advisor.app import Advisor
    from storage.records import Run

MOST_NAME: Final = 80
MOST_PARAMS: Final = 400
"""Letters of a run's parameters that an example shows."""
ELSEWHERE: Final = "0" * 8
"""Stands for the id of something of which the store has none yet."""


def of_store(adv: Advisor) -> Mapping[str, Mapping[str, Any]]:
    """Return arguments for each operation that needs some, by its name."""
    name, runs = _experiment(adv)
    first, second = (f"{name}#{number}" for number in ([run.number for run in runs] + [0, 1])[:2])
    n_runs = f"experiment/{_encoded(name)}/n_runs"
    params = dict(runs[0].params) if runs else {"lr": 0.1}
    finding, document = _finding(adv) or f"{first}:ADV103", _document(adv) or ELSEWHERE
    of_run = ("get_run", "get_curves", "similar_runs", "diagnose_run", "get_forecast")
    of_experiment = (
        "get_experiment", "define_experiment", "suggest_params", "stop_advice", "get_ledger", "check_experiment",
        "get_report", "write_report",
    )  # fmt: skip
    return {
        **{each: {"experiment": name} for each in of_experiment},
        **{each: {"run": first} for each in of_run},
        "list_runs": {"experiment": name, "limit": 5},
        "search_runs": {"text": "failed", "limit": 5},
        "compare_runs": {"runs": [first, second]},
        "tell_result": {
            "experiment": name,
            "params": params if len(json.dumps(params)) <= MOST_PARAMS else {},
            "state": "failed",
            "error": "an example of a call, not a training",
        },
        "add_note": {"run": first, "text": "looked at it"},
        "set_tags": {"run": first, "tags": list(runs[0].tags) if runs else []},
        "get_document": {"document": document},
        "verify_text": {"text": f"There are {{{{{n_runs}}}}} runs."},
        "get_facts": {"ids": [n_runs]},
        "acknowledge": {"findings": [finding]},
        "judge_finding": {"finding": finding, "verdict": "real"},
        "mute": {"what": ["spike"], "for": "1h"},
        "unmute": {"what": ["spike"]},
    }


def _experiment(adv: Advisor) -> tuple[str, list[Run]]:
    """Return the first experiment with two runs, its name and these; else what would be the first."""
    fitting = [
        record.name
        for record in adv.store.experiments()
        if len(record.name) <= MOST_NAME and record.name.isprintable() and record.objectives
    ]
    for name in fitting:
        runs = adv.store.runs(name, order_by="number", limit=2)
        if len(runs) == 2:
            return name, runs
    return (fitting[0] if fitting else "digits"), []


def _encoded(name: str) -> str:
    from advisor.documents.fact_paths import encoded

    return encoded(name)


def _finding(adv: Advisor) -> str | None:
    with adv.alerts.reading() as book:
        return next(reversed(book.findings), None)


def _document(adv: Advisor) -> str | None:
    from advisor.reports import kept_documents

    kept = kept_documents(adv.store)
    return kept[-1].id if kept else None

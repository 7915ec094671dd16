"""What can be asked of the advisor and done with it from outside; the JSON API and agents' tools are made from it."""

from __future__ import annotations

from typing import Final

from advisor.operations.annotating import ADD_NOTE, SET_TAGS
from advisor.operations.checking import CHECK_EXPERIMENT
from advisor.operations.comparing import COMPARE_RUNS
from advisor.operations.curves import GET_CURVES
from advisor.operations.defining import DEFINE_EXPERIMENT
from advisor.operations.diagnosing import DIAGNOSE_RUN
from advisor.operations.documents import GET_DOCUMENT, GET_REPORT, LIST_DOCUMENTS, WRITE_REPORT
from advisor.operations.experiments import GET_EXPERIMENT, GET_LEDGER, LIST_EXPERIMENTS, STOP_ADVICE
from advisor.operations.findings import ACKNOWLEDGE, JUDGE_FINDING, LIST_FINDINGS, LIST_MUTES, MUTE, UNMUTE
from advisor.operations.operation import Answer, Asked, Number, Operation, call, number, untrusted_fields
from advisor.operations.runs import GET_RUN, LIST_RUNS, SEARCH_RUNS, SIMILAR_RUNS
from advisor.operations.suggesting import GET_FORECAST, SUGGEST_PARAMS, TELL_RESULT
from advisor.operations.verifying import GET_FACTS, VERIFY_TEXT, resolve_fact

OPERATIONS: Final[tuple[Operation, ...]] = (
    LIST_EXPERIMENTS,
    GET_EXPERIMENT,
    DEFINE_EXPERIMENT,
    SEARCH_RUNS,
    LIST_RUNS,
    GET_RUN,
    GET_CURVES,
    COMPARE_RUNS,
    SIMILAR_RUNS,
    DIAGNOSE_RUN,
    SUGGEST_PARAMS,
    TELL_RESULT,
    GET_FORECAST,
    STOP_ADVICE,
    GET_LEDGER,
    GET_REPORT,
    WRITE_REPORT,
    LIST_DOCUMENTS,
    GET_DOCUMENT,
    VERIFY_TEXT,
    GET_FACTS,
    CHECK_EXPERIMENT,
    LIST_FINDINGS,
    ACKNOWLEDGE,
    JUDGE_FINDING,
    LIST_MUTES,
    MUTE,
    UNMUTE,
    ADD_NOTE,
    SET_TAGS,
)
"""All of them, in the order in which they are listed."""

__all__ = [
    "OPERATIONS",
    "Answer",
    "Asked",
    "Number",
    "Operation",
    "call",
    "number",
    "resolve_fact",
    "untrusted_fields",
]

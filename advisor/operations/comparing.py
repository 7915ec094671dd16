"""The operation that holds several runs against each other: parameters, results, environment, code and data."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final

from msgspec import Meta

from advisor.documents.fact_paths import difference_fact, encoded
from advisor.operations import bounds, find
from advisor.operations.operation import Answer, Asked, Number, Operation, Told, number, untrusted
from advisor.operations.told import MAX_FACTS, Brief, RunName, RunTold, WithFacts, facts_of, facts_told, runs_told
from advisor.strict_json import plain
from storage.errors import RecordError

if TYPE_CHECKING:
    from advisor.app import Advisor
    from storage.records import Objective, Run

MOST: Final = 100
N_ROWS: Final = 100
"""Differences of one kind in an answer."""
N_AGAINST: Final = 20
"""Runs whose difference to the first one is a fact."""
CODE: Final = ("git", "command", "entry_point", "code")
"""First part of what an environment says of the code that ran."""
_ABSENT: Final = object()


class CompareAsked(Asked, frozen=True, kw_only=True):
    """Which runs."""

    runs: Annotated[
        list[RunName], Meta(min_length=2, max_length=MOST, description="The runs; differences are against the first.")
    ]
    brief: Brief = False
    with_facts: WithFacts = True


class RowTold(Told, frozen=True, kw_only=True):
    """One thing in which the runs differ."""

    name: Annotated[str, untrusted("What differs.")]
    values: Annotated[list[Any], untrusted("Its value in each run, in their order; null where a run has none.")]


class MetricTold(Told, frozen=True, kw_only=True):
    """One metric in all runs."""

    name: Annotated[str, untrusted("Its name.")]
    values: Annotated[list[Number | None], Meta(description="Last value in each run, in their order.")]
    best_run_id: Annotated[
        str | None, Meta(description="The run with the best finite value; null where no direction is declared.")
    ]


class ComparedTold(Answer, frozen=True, kw_only=True):
    """Runs beside each other."""

    runs: list[RunTold]
    params: Annotated[list[RowTold], Meta(description="Parameters that differ.")]
    same_params: Annotated[dict[str, Any], untrusted("Parameters that are the same in all.")]
    metrics: list[MetricTold]
    code: Annotated[list[RowTold], Meta(description="What differs of the code: commit, changes, command.")]
    environment: Annotated[list[RowTold], Meta(description="What else differs of the environment.")]
    data: Annotated[list[RowTold], Meta(description="What differs of the data's fingerprints.")]
    left_out: Annotated[dict[str, int], Meta(description="Rows that this answer has no room for, by list.")]


def compare_runs(adv: Advisor, asked: CompareAsked) -> ComparedTold:
    """Hold runs against each other."""
    runs = list({run.id: run for run in (find.run(adv, reference) for reference in asked.runs)}.values())
    if len(runs) < 2:
        raise RecordError(f"all of these are run {bounds.name(runs[0].id)!r}; name two runs that differ")
    environments = [dict(_flat(run.environment)) for run in runs]
    kinds: dict[str, list[RowTold]] = {
        "params": _differing([run.params for run in runs]),
        "code": _differing([_part(each, of_code=True) for each in environments]),
        "environment": _differing([_part(each, of_code=False) for each in environments]),
        "data": _differing([dict(_flat(_data(run))) for run in runs]),
    }
    metrics = list(_metrics(adv, runs))
    left_out = {kind: len(rows) - N_ROWS for kind, rows in kinds.items() if len(rows) > N_ROWS}
    if len(metrics) > N_ROWS:
        left_out["metrics"] = len(metrics) - N_ROWS
    return ComparedTold(
        runs=runs_told(runs, brief=asked.brief),
        params=kinds["params"][:N_ROWS],
        same_params={} if asked.brief else bounds.mapping(_same([run.params for run in runs])),
        metrics=metrics[:N_ROWS],
        code=kinds["code"][:N_ROWS],
        environment=kinds["environment"][:N_ROWS],
        data=kinds["data"][:N_ROWS],
        left_out=left_out,
        facts=_facts(adv, runs) if asked.with_facts else [],
    )


def _facts(adv: Advisor, runs: Sequence[Run]) -> list[Any]:
    """Return what each run came to, and by how much the others differ from the first one."""
    metrics = dict.fromkeys(name for run in runs for name in run.metrics)
    fields = ["objective", "share.objective", "duration_s", *(f"metrics.{encoded(name)}" for name in list(metrics)[:3])]
    differ = [
        fact
        for field in fields
        for other in runs[1:N_AGAINST]
        if (fact := difference_fact(adv.store, runs[0], other, field)) is not None
    ]
    own = facts_of(adv, runs)
    told = facts_told(differ, most=MAX_FACTS // 3)
    return [*own[: MAX_FACTS - len(told)], *told]


def _differing(several: Sequence[Mapping[str, Any]]) -> list[RowTold]:
    names = dict.fromkeys(name for each in several for name in each)
    rows = []
    for name in names:
        values = [each.get(name, _ABSENT) for each in several]
        if len({_key(value) for value in values}) > 1:
            shown = [None if value is _ABSENT else _shown(value) for value in values]
            rows.append(RowTold(name=bounds.name(name), values=shown))
    return rows


def _same(several: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        name: value
        for name, value in several[0].items()
        if len({_key(each.get(name, _ABSENT)) for each in several}) == 1
    }


def _key(value: Any) -> str:
    """Return what makes two values the same: NaN is NaN, 1 is not true."""
    return "absent" if value is _ABSENT else json.dumps(plain(value), sort_keys=True)


def _shown(value: Any) -> Any:
    """Return a value; of a long text the beginning and its hash, so that two that differ look different."""
    if isinstance(value, str) and len(value) > bounds.VALUE:
        digest = hashlib.sha256(value.encode("utf-8", "replace")).hexdigest()[:12]
        return f"{bounds.name(value)} ({value.count(chr(10)) + 1} lines, SHA-256 {digest})"
    return bounds.value(value)


def _flat(mapping: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in mapping.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _part(environment: Mapping[str, Any], *, of_code: bool) -> dict[str, Any]:
    return {name: value for name, value in environment.items() if (name.partition(".")[0] in CODE) is of_code}


def _data(run: Run) -> dict[str, Any]:
    """Return a run's fingerprints by the name of what was fingerprinted."""
    return {str(entry.get("name", place)): dict(entry) for place, entry in enumerate(run.data)}


def _metrics(adv: Advisor, runs: Sequence[Run]) -> Iterator[MetricTold]:
    objectives: dict[str, Objective] = {}
    for name in {run.experiment for run in runs}:
        objectives |= {each.metric: each for each in adv.store.experiment(name).objectives}
    names = dict.fromkeys([*objectives, *(name for run in runs for name in run.metrics)])
    for name in names:
        values = [run.metrics.get(name) for run in runs]
        if any(value is not None for value in values):
            best = _best(runs, values, objectives[name]) if name in objectives else None
            yield MetricTold(name=bounds.name(name), values=[number(value) for value in values], best_run_id=best)


def _best(runs: Sequence[Run], values: Sequence[float | None], objective: Objective) -> str | None:
    finite = [
        (value, run.id) for value, run in zip(values, runs, strict=True) if value is not None and math.isfinite(value)
    ]
    if not finite:
        return None
    return (min if objective.direction == "minimize" else max)(finite)[1]


COMPARE_RUNS: Final = Operation(
    "compare_runs",
    title="Compare runs",
    about="Hold 2 to 100 runs against each other: which parameters differ, what they came to, and what differs of "
    "code, environment and data.",
    asks=CompareAsked,
    answers=ComparedTold,
    does=compare_runs,
    path="/compare",
)

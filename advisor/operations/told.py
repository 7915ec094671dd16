"""What several answers are made of: a run, a finding, a fact, as JSON, bounded.

The names of a run's fields are those of ``advisor.shapes``, of a finding's those of ``Finding.as_json``: a contract.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from msgspec import Meta
from msgspec.structs import replace

from advisor.documents.fact import Fact
from advisor.documents.fact_paths import run_facts
from advisor.documents.standing import varied
from advisor.documents.untrusted import one_line
from advisor.operations import bounds
from advisor.operations.operation import FactTold, Number, Told, number, untrusted
from advisor.shapes import run_json
from storage.records import FindingState

if TYPE_CHECKING:
    from advisor.app import Advisor
    from storage.records import Finding, Run

MAX_FACTS: Final = 200
"""Facts of one answer: what an agent can still read; every other figure has its id all the same."""
N_NOTES: Final = 20
State = Literal["waiting", "running", "finished", "pruned", "failed", "crashed"]
Severity = Literal["info", "warning", "error"]
RunName = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=2_000,
        description="A run: its id, the beginning of its id, or EXPERIMENT#NUMBER.",
        examples=["digits#3"],
    ),
]
ExperimentName = Annotated[
    str, Meta(min_length=1, max_length=2_000_000, description="Name of an experiment.", examples=["digits"])
]
Brief = Annotated[
    bool, Meta(description="Of each run the objective and the parameters in which they differ, without the rest.")
]
WithFacts = Annotated[bool, Meta(description="Whether the figures come once more as facts, with ids to cite.")]
Where = Annotated[
    str,
    Meta(
        max_length=20_000,
        description="A filter: comparisons (= != < <= > >=, in, like, between, is null) of params.NAME, metrics.NAME, "
        "meta.NAME, env.NAME, state, objective, seed, number, tag, note, finding (a code), created, started, ended, "
        "duration_s, experiment; joined with and, or, not and parentheses.",
        examples=["params.lr < 0.01 and state = 'finished'"],
    ),
]


class RunTold(Told, frozen=True, kw_only=True):
    """One run."""

    run_id: str
    experiment: Annotated[str, untrusted("Name of its experiment.")]
    number: Annotated[int, Meta(description="Position in its experiment, from 0.")]
    state: State
    params: Annotated[dict[str, Any], untrusted("What it was started with.")]
    metrics: Annotated[
        dict[str, Number],
        untrusted("Last value of each curve, as logged; of an objective without a curve what was told."),
    ]
    objective: Annotated[Number | None, Meta(description="The first objective's value; null where there is none yet.")]
    seed: int | None
    tags: Annotated[list[str], untrusted("Words to find it by.")]
    started: datetime | None
    ended: datetime | None
    duration_s: Annotated[float | None, Meta(description="Seconds from start to end; null while it runs.")]
    name: Annotated[str | None, untrusted("What another tool or a person calls it.")]
    n_findings: Annotated[int, Meta(description="Findings that are not resolved.")]


class FindingTold(Told, frozen=True, kw_only=True):
    """Something wrong or notable in a run."""

    finding_id: str
    run_id: str
    experiment: Annotated[str, untrusted("Name of the run's experiment.")]
    code: Annotated[str, Meta(description="Stable code, ADV and three digits.", examples=["ADV103"])]
    title: Annotated[str, untrusted("The finding in one line, figures included.")]
    severity: Severity
    state: Literal["open", "acknowledged", "resolved"]
    metric: Annotated[str | None, untrusted("The curve in which it shows.")]
    step: Annotated[int | None, Meta(description="Where it begins.")]
    p_value: Annotated[float | None, Meta(description="Among sibling runs; small is unusual. Null for rules.")]
    score: Annotated[Number | None, Meta(description="Anomaly score; higher is more anomalous. Null for rules.")]
    evidence: Annotated[dict[str, Any], untrusted("The figures it rests on: observed values, threshold, steps.")]
    detector: str
    verdict: Annotated[
        Literal["ok", "real"] | None,
        Meta(description="What a person said of it: ok is a false alarm, real is trouble."),
    ]
    raised: datetime | None


def run_told(run: Run) -> RunTold:
    """Return a run as an answer has it."""
    found = run_json(run)
    n_findings = sum(finding.state is not FindingState.RESOLVED for finding in run.findings)
    return RunTold(
        run_id=bounds.name(found["run_id"]),
        experiment=bounds.name(found["experiment"]),
        number=found["number"],
        state=found["state"],
        params=bounds.mapping(found["params"]),
        metrics=metrics_told(run),
        objective=number(found["objective"]),
        seed=found["seed"],
        tags=bounds.names(found["tags"]),
        started=found["started"],
        ended=found["ended"],
        duration_s=found["duration_s"],
        name=None if run.name is None else bounds.name(run.name),
        n_findings=n_findings,
    )


def runs_told(runs: Sequence[Run], *, brief: bool) -> list[RunTold]:
    """Return runs as an answer has them; in brief only with the parameters in which they differ."""
    told = [run_told(run) for run in runs]
    if not brief:
        return told
    differ = {bounds.name(name) for name in varied(runs)}
    return [
        replace(one, params={name: value for name, value in one.params.items() if name in differ}, metrics={}, tags=[])
        for one in told
    ]


def metrics_told(run: Run) -> dict[str, Number]:
    """Return the last value of each curve, and the objectives that were told."""
    names = list(run.metrics)[: bounds.ENTRIES]
    return {bounds.name(name): told for name in names if (told := number(run.metrics[name])) is not None}


def finding_told(finding: Finding, *, experiment: str | None = None, state: FindingState | None = None) -> FindingTold:
    """Return a finding as an answer has it.

    Parameters
    ----------
    experiment, state
        What they are by now, where that may not be what the record says.
    """
    found = finding.as_json()
    return FindingTold(
        finding_id=found["finding_id"],
        run_id=bounds.name(found["run_id"]),
        experiment=bounds.name(experiment or found["experiment"]),
        code=found["code"],
        title=one_line(found["title"], limit=bounds.VALUE),
        severity=found["severity"],
        state=found["state"] if state is None else str(state),  # type: ignore[arg-type]  # the same three words
        metric=None if found["metric"] is None else bounds.name(found["metric"]),
        step=found["step"],
        p_value=found["p_value"],
        score=number(found["score"]),
        evidence=bounds.mapping(found["evidence"]),
        detector=found["detector"],
        verdict=found["verdict"],
        raised=finding.time,
    )


# -- facts


def facts_told(facts: Iterable[Fact], *, most: int = MAX_FACTS) -> list[FactTold]:
    """Return facts as an answer has them, each id once, a bounded number of them."""
    found: dict[str, FactTold] = {}
    for fact in facts:
        if len(found) >= most:
            break
        found.setdefault(fact.id, fact_told(fact))
    return list(found.values())


def fact_told(fact: Fact) -> FactTold:
    """Return one fact as an answer has it."""
    return FactTold(
        id=fact.id,
        label=one_line(fact.label, limit=bounds.VALUE),
        value=bounds.value(fact.value),
        unit=fact.unit,
        text=one_line(fact.text, limit=bounds.VALUE),
    )


def facts_of(adv: Advisor, runs: Sequence[Run], *, curves: bool = False) -> list[FactTold]:
    """Return the facts of some runs: all objectives first, then what varies between them, then the rest."""
    first = varied(runs) if len(runs) > 1 else ()
    experiments = {name: adv.store.experiment(name) for name in {run.experiment for run in runs}}
    sheets = [list(run_facts(experiments[run.experiment], run, first=first, curves=curves)) for run in runs]
    ranked = [(_rank(fact, first), place, fact) for place, sheet in enumerate(sheets) for fact in sheet]
    ranked.sort(key=lambda each: each[:2])
    return facts_told(fact for _, _, fact in ranked)


def _rank(fact: Fact, first: Sequence[str]) -> int:
    field = fact.id.split("/", 2)[2]
    if field == "objective":
        return 0
    if field.startswith("params."):
        return 1 if fact.about in {one_line(name, limit=60) for name in first} else 3
    return 2 if field.startswith(("metrics.", "duration_s")) else 4

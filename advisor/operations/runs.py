"""Operations that find and show runs."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from msgspec import Meta

from advisor.documents.fact_paths import experiment_fact, finding_facts, run_facts
from advisor.errors import ConfigError
from advisor.operations import bounds, find
from advisor.operations.operation import Answer, Asked, Number, Operation, Told, number, untrusted
from advisor.operations.told import (
    N_NOTES,
    Brief,
    ExperimentName,
    FindingTold,
    RunName,
    RunTold,
    State,
    Where,
    WithFacts,
    facts_of,
    facts_told,
    finding_told,
    run_told,
    runs_told,
)
from storage.records import FindingState

if TYPE_CHECKING:
    from advisor.app import Advisor
    from storage.hits import SearchResults

MOST: Final = 100
"""Runs in one answer."""
DEEPEST: Final = 10_000
"""Runs that a search may leave out: words are ranked anew for each page."""
FLOOR: Final = 0.1
"""Share of the best hit's score below which a hit is left out."""
N_CURVES: Final = 200
Limit = Annotated[int, Meta(ge=1, le=MOST, description="How many at most.")]
Sort = Annotated[
    str,
    Meta(
        max_length=2_000,
        description="A name that a filter accepts: objective, number, started, duration_s, params.NAME, metrics.NAME. "
        "Runs without a finite value come last.",
    ),
]


class RunsAsked(Asked, frozen=True, kw_only=True):
    """Which runs are listed."""

    experiment: Annotated[ExperimentName | None, Meta(description="Only its runs; all where null.")] = None
    where: Where | None = None
    sort: Sort | None = None
    descending: bool = False
    brief: Brief = False
    with_facts: WithFacts = True
    limit: Limit = 20
    offset: Annotated[int, Meta(ge=0, le=10**9, description="How many are left out before the first.")] = 0


class RunsTold(Answer, frozen=True, kw_only=True):
    """Runs, and how many fit in all."""

    runs: list[RunTold]
    n_fitting: Annotated[int, Meta(description="Runs that fit, those that are not in this answer included.")]
    offset: int


def list_runs(adv: Advisor, asked: RunsAsked) -> RunsTold:
    """List runs by filter and order, one page."""
    name = None if asked.experiment is None else find.experiment(adv, asked.experiment).name
    if asked.sort and asked.sort.startswith("-"):
        raise ConfigError(f"sort = {asked.sort!r:.80}: leave the minus out and give descending=true")
    found, n_fitting = adv.store.page(
        name,
        where=asked.where or None,
        order_by=asked.sort or None,
        descending=asked.descending,
        limit=asked.limit,
        offset=asked.offset,
    )
    return RunsTold(
        runs=runs_told(found, brief=asked.brief),
        n_fitting=n_fitting,
        offset=asked.offset,
        facts=facts_of(adv, found) if asked.with_facts else [],
    )


LIST_RUNS: Final = Operation(
    "list_runs",
    title="List runs",
    about="List runs by a filter and in an order, page by page; numbers are found this way.",
    asks=RunsAsked,
    answers=RunsTold,
    does=list_runs,
    path="/runs",
)


# -- search


class SearchAsked(Asked, frozen=True, kw_only=True):
    """What to search for."""

    text: Annotated[
        str,
        Meta(
            max_length=4_000,
            description="Words, misspelt ones too, and conditions among them: overfits params.lr<1e-3 state:failed. "
            "Empty: all runs that fit the filter.",
        ),
    ] = ""
    experiment: Annotated[ExperimentName | None, Meta(description="Only its runs; all where null.")] = None
    where: Where | None = None
    sort: Annotated[Sort | None, Meta(description="Only where text is empty; else the best hits come first.")] = None
    descending: bool = False
    brief: Brief = False
    with_facts: WithFacts = True
    limit: Limit = 10
    offset: Annotated[int, Meta(ge=0, le=DEEPEST, description="How many are left out before the first.")] = 0


class ReasonTold(Told, frozen=True, kw_only=True):
    """One thing for which a run was found."""

    kind: Annotated[str, Meta(description="Where it is said: note, finding, error, tag, configuration, curve, …")]
    text: Annotated[str, untrusted("What is said there.")]
    how: Literal["words", "spelling", "synonym", "meaning", "parameters", "curve", "filter"]


class HitTold(Told, frozen=True, kw_only=True):
    """One run that was found."""

    run: RunTold
    score: Annotated[float | None, Meta(description="Relevance from 0 to 1; null where nothing was ranked.")]
    reasons: Annotated[list[ReasonTold], Meta(description="Why it was found, the strongest first.")]


class SearchTold(Answer, frozen=True, kw_only=True):
    """Runs that were found."""

    hits: list[HitTold]
    n_fitting: Annotated[
        int,
        Meta(
            description="Of words: runs at least half as good as the best hit; weaker hits are listed after them, "
            "so it is not where the list ends: has_more says that. Of a filter alone: runs that fit."
        ),
    ]
    has_more: Annotated[bool, Meta(description="Whether there are hits after those in this answer.")]
    offset: int
    facets: Annotated[dict[str, dict[str, int]], untrusted("How many fit by experiment, state and finding code.")]
    documents: Annotated[list[dict[str, Any]], untrusted("Documents that fit the words.")]


def search_runs(adv: Advisor, asked: SearchAsked) -> SearchTold:
    """Find runs by words and by meaning, and by conditions."""
    if asked.text.strip():
        where = find.narrowed(adv, asked.experiment, asked.where)
        found = adv.search(asked.text, where=where, limit=asked.offset + asked.limit + 1)  # one more: is there more
        return _searched(adv, found, asked)
    listed = RunsAsked(
        experiment=asked.experiment, where=asked.where, sort=asked.sort, descending=asked.descending,
        limit=asked.limit, offset=asked.offset, brief=asked.brief, with_facts=asked.with_facts,
    )  # fmt: skip
    told = list_runs(adv, listed)
    hits = [HitTold(run=run, score=None, reasons=[]) for run in told.runs]
    return SearchTold(
        hits=hits,
        n_fitting=told.n_fitting,
        has_more=asked.offset + len(hits) < told.n_fitting,
        offset=asked.offset,
        facets={},
        documents=[],
        facts=told.facts,
    )


def _searched(adv: Advisor, found: SearchResults, asked: SearchAsked) -> SearchTold:
    """Return a page of hits as an answer has them, but those that have next to nothing of what was asked."""
    offset, limit = asked.offset, asked.limit
    worth = [hit for hit in found if hit.score >= FLOOR * found[0].score]  # the best come first
    page = worth[offset : offset + limit]
    return SearchTold(
        hits=[
            HitTold(
                run=told,
                score=round(hit.score, 4),
                reasons=[
                    ReasonTold(kind=each.kind, text=bounds.value(each.text), how=each.how) for each in hit.reasons[:8]
                ],
            )
            for hit, told in zip(page, runs_told([hit.run for hit in page], brief=asked.brief), strict=True)
        ],
        n_fitting=found.n_fitting,
        has_more=len(worth) > offset + limit,
        offset=offset,
        facets={
            kind: {bounds.name(key): n for key, n in list(counts.items())[:20]} for kind, counts in found.facets.items()
        },
        documents=[bounds.mapping(document.as_json()) for document in found.documents[:20]],
        facts=facts_of(adv, [hit.run for hit in page]) if asked.with_facts else [],
    )


SEARCH_RUNS: Final = Operation(
    "search_runs",
    title="Search runs",
    about="Find runs by words, by meaning and by conditions, or by a filter alone (sorted, page by page). "
    "Looks in notes, tags, errors, findings, configurations and shapes of curves, and says why each run was found.",
    asks=SearchAsked,
    answers=SearchTold,
    does=search_runs,
    path="/search",
)


class SimilarAsked(Asked, frozen=True, kw_only=True):
    """Runs like which one."""

    run: RunName
    where: Where | None = None
    limit: Annotated[int, Meta(ge=1, le=50, description="How many at most.")] = 10


def similar_runs(adv: Advisor, asked: SimilarAsked) -> SearchTold:
    """Return the runs most like one: in parameters, in the shape of their curves and in what was written of them."""
    found = adv.similar(find.run(adv, asked.run).id, where=asked.where or None, limit=asked.limit + 1)
    return _searched(adv, found, SearchAsked(limit=asked.limit))


SIMILAR_RUNS: Final = Operation(
    "similar_runs",
    title="Runs like this one",
    about="Find the runs most like one, in parameters, shapes of curves and what was written of them, with reasons.",
    asks=SimilarAsked,
    answers=SearchTold,
    does=similar_runs,
    path="/runs/{run}/similar",
)


# -- one run


class RunAsked(Asked, frozen=True, kw_only=True):
    """Which run."""

    run: RunName


class CurveFigures(Told, frozen=True, kw_only=True):
    """What a curve comes to."""

    n: Annotated[int | None, Meta(description="Points.")]
    n_nonfinite: int | None
    first: Number | None
    last: Annotated[Number | None, Meta(description="As logged; may be NaN.")]
    min: Annotated[Number | None, Meta(description="Of the finite values.")]
    max: Number | None
    min_step: int | None
    max_step: int | None
    last_step: int | None


class OneRunTold(Answer, frozen=True, kw_only=True):
    """Everything that is known of one run but its curves' points."""

    run_id: str
    experiment: Annotated[str, untrusted("Name of its experiment.")]
    number: Annotated[int, Meta(description="Position in its experiment, from 0.")]
    name: Annotated[str | None, untrusted("What another tool or a person calls it.")]
    state: State
    params: Annotated[dict[str, Any], untrusted("What it was started with.")]
    metrics: Annotated[dict[str, Number], untrusted("Last value of each curve, as logged.")]
    objective: Annotated[Number | None, Meta(description="The first objective's value; null where there is none yet.")]
    values: Annotated[list[Number], Meta(description="One value an objective.")]
    seed: int | None
    tags: Annotated[list[str], untrusted("Words to find it by.")]
    notes: Annotated[list[str], untrusted(f"What people wrote of it, the last {N_NOTES}.")]
    created: datetime
    started: datetime | None
    ended: datetime | None
    duration_s: Annotated[float | None, Meta(description="Seconds from start to end; null while it runs.")]
    error: Annotated[str | None, untrusted("Why it ended, where it did not end well: the end of the traceback.")]
    source: str
    suggestion_id: str | None
    curves: Annotated[dict[str, CurveFigures], untrusted("Figures of each curve, by its name; get_curves has points.")]
    findings: list[FindingTold]
    environment: Annotated[dict[str, Any], untrusted("Code, versions, hardware, command line.")]
    data: Annotated[list[dict[str, Any]], untrusted("Fingerprints of the data it used.")]
    artifacts: Annotated[list[dict[str, Any]], untrusted("Files it saved: name, sha256, size.")]
    meta: Annotated[dict[str, Any], untrusted("What another tool said of it.")]
    user_attrs: Annotated[dict[str, Any], untrusted("What an Optuna program or a script keeps with it.")]


def get_run(adv: Advisor, asked: RunAsked) -> OneRunTold:
    """Return everything that is known of one run but the points of its curves."""
    run = find.run(adv, asked.run)
    record = adv.store.experiment(run.experiment)
    open_ = [finding for finding in run.findings if finding.state is not FindingState.RESOLVED]
    about = experiment_fact(adv.store, record, "best.objective")
    facts = [
        *run_facts(record, run),
        *([] if about is None else [about]),
        *(fact for finding in open_ for fact in finding_facts(run, finding)),
    ]
    told = run_told(run)
    return OneRunTold(
        **{name: getattr(told, name) for name in RunTold.__struct_fields__ if name != "n_findings"},
        values=[value for each in run.values if (value := number(each)) is not None],
        notes=[bounds.prose(note) for note in run.notes[-N_NOTES:]],
        created=run.created,
        error=None if run.error is None else bounds.end_of(run.error),
        source=run.source,
        suggestion_id=run.suggestion_id,
        curves={bounds.name(name): _figures(run.summary[name]) for name in list(run.summary)[:N_CURVES]},
        findings=[finding_told(finding) for finding in run.findings[:N_CURVES]],
        environment=bounds.mapping(run.environment),
        data=[bounds.mapping(entry) for entry in run.data[:50]],
        artifacts=[bounds.mapping(entry) for entry in run.artifacts[:N_CURVES]],
        meta=bounds.mapping(run.meta),
        user_attrs=bounds.mapping(run.user_attrs),
        facts=facts_told(facts),
    )


def _figures(figures: Any) -> CurveFigures:
    told = {name: figures.get(name) for name in CurveFigures.__struct_fields__}
    return CurveFigures(**{name: number(value) for name, value in told.items()})  # type: ignore[arg-type]  # whole numbers stay so


GET_RUN: Final = Operation(
    "get_run",
    title="Look at a run",
    about="Tell everything of one run: parameters, results, figures of its curves, findings, environment, notes.",
    asks=RunAsked,
    answers=OneRunTold,
    does=get_run,
    path="/runs/{run}",
)

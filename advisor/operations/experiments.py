"""Operations on experiments: which there are, what they ask, how good our advice was, whether to go on."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

from msgspec import Meta

from advisor.documents.fact_paths import experiment_fact, experiment_facts, run_facts
from advisor.operations import bounds, find
from advisor.operations.operation import Answer, Asked, Number, Operation, Told, number, untrusted
from advisor.operations.told import ExperimentName, RunTold, facts_told, run_told
from advisor.suggest.search_advice import NEWEST
from storage.records import Direction, RunState

if TYPE_CHECKING:
    from advisor.app import Advisor
    from storage.records import Experiment as Record

MOST: Final = 500
"""Experiments in one answer."""
N_METRICS: Final = 200


class ExperimentsAsked(Asked, frozen=True, kw_only=True):
    """Which experiments are listed."""

    limit: Annotated[int, Meta(ge=1, le=MOST, description="How many at most, the newest first.")] = 50
    offset: Annotated[int, Meta(ge=0, le=10**9, description="How many are left out before the first.")] = 0


class ObjectiveTold(Told, frozen=True, kw_only=True):
    """One objective."""

    metric: Annotated[str, untrusted("The curve that it is about.")]
    direction: Annotated[Direction, Meta(description="Which way is better.")]


class ExperimentTold(Told, frozen=True, kw_only=True):
    """One experiment in a list."""

    experiment: Annotated[str, untrusted("Its name.")]
    number: Annotated[int, Meta(description="Position among all experiments of the store, from 0.")]
    description: Annotated[str, untrusted("What it asks.")]
    objectives: list[ObjectiveTold]
    n_runs: int
    best_run_id: str | None
    best_objective: Number | None
    created: datetime


class ExperimentsTold(Answer, frozen=True, kw_only=True):
    """Experiments, and how many there are in all."""

    experiments: list[ExperimentTold]
    n_experiments: int


def list_experiments(adv: Advisor, asked: ExperimentsAsked) -> ExperimentsTold:
    """List experiments, the newest first."""
    found = adv.store.experiments()[::-1]
    page = found[asked.offset : asked.offset + asked.limit]
    facts = [
        fact for field in ("n_runs", "best.objective") for record in page
        if (fact := experiment_fact(adv.store, record, field)) is not None
    ]  # fmt: skip
    return ExperimentsTold(
        experiments=[_told(adv, record) for record in page], n_experiments=len(found), facts=facts_told(facts)
    )


def _told(adv: Advisor, record: Record) -> ExperimentTold:
    best = adv.experiment(record.name, create=False).best()
    return ExperimentTold(
        experiment=bounds.name(record.name),
        number=record.number,
        description=bounds.prose(record.description),
        objectives=_objectives(record),
        n_runs=adv.store.count(record.name),
        best_run_id=None if best is None else bounds.name(best.id),
        best_objective=None if best is None else number(best.objective),
        created=record.created,
    )


def _objectives(record: Record) -> list[ObjectiveTold]:
    return [ObjectiveTold(metric=bounds.name(o.metric), direction=o.direction) for o in record.objectives]


LIST_EXPERIMENTS: Final = Operation(
    "list_experiments",
    title="List experiments",
    about="List the experiments of the store, the newest first, with their objectives and best values. Begin here.",
    asks=ExperimentsAsked,
    answers=ExperimentsTold,
    does=list_experiments,
    path="/experiments",
)


# -- one experiment


class ExperimentAsked(Asked, frozen=True, kw_only=True):
    """Which experiment."""

    experiment: ExperimentName


class OneExperimentTold(Answer, frozen=True, kw_only=True):
    """One experiment."""

    experiment: Annotated[str, untrusted("Its name.")]
    number: Annotated[int, Meta(description="Position among all experiments of the store, from 0.")]
    description: Annotated[str, untrusted("What it asks.")]
    objectives: list[ObjectiveTold]
    reduce: Annotated[str, Meta(description="How a curve becomes one value: last, best or mean-last-K.")]
    space: Annotated[dict[str, Any] | None, untrusted("The declared search space, null where none is declared.")]
    problem: Annotated[dict[str, Any], untrusted("Constraints, first points, fixed values, priors, cost, repeats.")]
    metrics: Annotated[list[str], untrusted("Curves that the newest and the best run have.")]
    n_runs: int
    n_by_state: Annotated[dict[str, int], Meta(description="Runs in each state that occurs.")]
    best: Annotated[RunTold | None, Meta(description="The best run; null where none may be called so.")]
    created: datetime


def get_experiment(adv: Advisor, asked: ExperimentAsked) -> OneExperimentTold:
    """Return one experiment: what it asks, its search space, how many runs in which state, the best one."""
    found = find.experiment(adv, asked.experiment)
    record, best = found.record, found.best()
    newest = adv.store.runs(record.name, order_by="number", descending=True, limit=1)
    counts = {str(state): adv.store.count(record.name, where=f"state = '{state}'") for state in RunState}
    facts = [*experiment_facts(adv.store, record), *(() if best is None else run_facts(record, best, curves=False))]
    seen = dict.fromkeys(metric for run in (*([best] if best else []), *newest) for metric in run.metrics)
    return OneExperimentTold(
        experiment=bounds.name(record.name),
        number=record.number,
        description=bounds.prose(record.description),
        objectives=_objectives(record),
        reduce=record.reduce,
        space=None if record.space is None else bounds.mapping(record.space),
        problem=bounds.mapping(record.problem),
        metrics=bounds.names(seen, most=N_METRICS),
        n_runs=adv.store.count(record.name),
        n_by_state={state: n for state, n in counts.items() if n},
        best=None if best is None else run_told(best),
        created=record.created,
        facts=facts_told(facts),
    )


GET_EXPERIMENT: Final = Operation(
    "get_experiment",
    title="Look at an experiment",
    about="Tell what one experiment asks: objectives, search space, constraints; how many runs it has, and the best.",
    asks=ExperimentAsked,
    answers=OneExperimentTold,
    does=get_experiment,
    path="/experiments/{experiment}",
)


# -- the ledger


class LedgerTold(Answer, frozen=True, kw_only=True):
    """Our own track record in one experiment."""

    experiment: Annotated[str, untrusted("Its name.")]
    words: Annotated[list[str], untrusted("The record in sentences.")]
    ledger: Annotated[
        dict[str, Any],
        untrusted("What was suggested, forecast, advised and found, and what then happened, with intervals."),
    ]


def get_ledger(adv: Advisor, asked: ExperimentAsked) -> LedgerTold:
    """Account for what was suggested, forecast, advised and found in an experiment, and what then happened."""
    from advisor.reports.addressed import ledger_facts
    from advisor.suggest.ledger_words import in_words

    found = find.experiment(adv, asked.experiment)
    kept = found.ledger()
    told = kept.as_json()
    return LedgerTold(
        experiment=bounds.name(found.name),
        words=[bounds.prose(line) for line in in_words(kept)],
        ledger=bounds.value(told, depth=8),
        facts=facts_told(ledger_facts(found.record, told, "ledger")),
    )


GET_LEDGER: Final = Operation(
    "get_ledger",
    title="How good the advice was",
    about="Account for suggestions, forecasts, stop advice and findings of an experiment, and what then happened. "
    "Ask it before trusting a suggestion or a forecast. Reads all runs of the experiment.",
    asks=ExperimentAsked,
    answers=LedgerTold,
    does=get_ledger,
    path="/experiments/{experiment}/ledger",
)


class StopAsked(Asked, frozen=True, kw_only=True):
    """Whether to go on searching."""

    experiment: ExperimentName
    worth: Annotated[
        Annotated[float, Meta(ge=0)] | None,
        Meta(description="Gain an hour of training that makes going on worth it, in the objective's unit."),
    ] = None


class StopTold(Answer, frozen=True, kw_only=True):
    """Advice on a search."""

    experiment: Annotated[str, untrusted("Its name.")]
    stop: bool
    reason: Annotated[str, untrusted("One or two sentences with the figures.")]
    expected_gain: Annotated[Number | None, Meta(description="Expected improvement in the next horizon runs.")]
    from_runs: Number | None
    from_model: Number | None
    noise: Annotated[Number | None, Meta(description="Below this a gain means nothing.")]
    noise_basis: str
    n_runs: Annotated[int, Meta(description="Finished runs with a finite objective.")]
    n_since_best: int | None
    horizon: int
    cost_s: Annotated[Number | None, Meta(description="What the next horizon runs take, in seconds.")]
    gain_per_hour: Number | None


def stop_advice(adv: Advisor, asked: StopAsked) -> StopTold:
    """Advise whether to stop looking for better parameters."""
    from advisor.reports.addressed import ledger_facts

    found = find.experiment(adv, asked.experiment)
    told = found.stop_advice(worth=asked.worth, newest=NEWEST).as_json()
    facts = ledger_facts(found.record, told, "stop_advice")
    figures: dict[str, Any] = {
        key: number(value) if isinstance(value, float) else value for key, value in told.items() if key != "reason"
    }
    return StopTold(
        experiment=bounds.name(found.name), reason=bounds.prose(told["reason"]), facts=facts_told(facts), **figures
    )


STOP_ADVICE: Final = Operation(
    "stop_advice",
    title="Whether to go on searching",
    about="Advise whether to stop looking for better parameters: expected gain of the next runs beside the noise and "
    f"the cost. Ask it every ten runs or so. Looks at the newest {NEWEST} runs.",
    asks=StopAsked,
    answers=StopTold,
    does=stop_advice,
    path="/experiments/{experiment}/stop-advice",
)

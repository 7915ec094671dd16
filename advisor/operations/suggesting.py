"""Operations of a tuning loop: what to try next, how it went, how a run will end."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from msgspec import Meta, field

from advisor.documents.fact_paths import experiment_fact, run_facts, suggestion_facts
from advisor.errors import ConfigError
from advisor.operations import bounds, find
from advisor.operations.operation import Answer, Asked, Number, Operation, Told, number, numeric, untrusted
from advisor.operations.told import ExperimentName, RunName, RunTold, facts_told, run_told
from storage.errors import NothingCalledSoError

if TYPE_CHECKING:
    from advisor.app import Advisor
    from advisor.suggest import Forecast, Suggestion

MOST: Final = 20
N_LEARNED_FROM: Final = 100
MOST_CURVES: Final = 20
MOST_POINTS: Final = 10_000
"""Values of one curve in one request, which may be a megabyte."""
Seed = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Params = Annotated[dict[str, Any], Meta(description="Parameter → value.", examples=[{"lr": 0.1}])]


class ForecastTold(Told, frozen=True, kw_only=True):
    """The distribution of a run's final objective, in the objective's unit."""

    mean: Annotated[Number, Meta(description="Central estimate.")]
    low: Annotated[Number, Meta(description="Lower end of the central 80 % interval.")]
    high: Annotated[Number, Meta(description="Upper end of it.")]
    p_best: Annotated[float | None, Meta(description="Probability of being better than the best finished run.")]


def forecast_told(found: Forecast) -> ForecastTold:
    """Return a forecast as an answer has it."""
    mean, low, high = (number(each) for each in (found.mean, found.low, found.high))
    assert mean is not None and low is not None and high is not None  # noqa: PT018  # numbers all three
    return ForecastTold(mean=mean, low=low, high=high, p_best=found.p_best)


# -- suggestions


class SuggestAsked(Asked, frozen=True, kw_only=True):
    """What to suggest."""

    experiment: ExperimentName
    n: Annotated[int, Meta(ge=1, le=MOST, description="How many.")] = 1
    seed: Annotated[Seed | None, Meta(description="The same runs and seed give the same; null: drawn.")] = None
    fixed: Annotated[Params, Meta(description="Parameters to keep at a value.")] = field(default_factory=dict)
    retry: Annotated[bool, Meta(description="First propose again what runs had whose process died.")] = False
    transfer: Annotated[bool, Meta(description="Learn from the other experiments of the store, too.")] = True


class SuggestionTold(Told, frozen=True, kw_only=True):
    """Parameters proposed for the next run, and what they rest on."""

    suggestion_id: Annotated[str, Meta(description="Give it to tell_result once the run has ended.")]
    params: Annotated[dict[str, Any], untrusted("What to train with.")]
    why: Annotated[str, untrusted("The reasons in plain words, figures included.")]
    source: Annotated[str, Meta(description="Where the parameters come from: first, gp, portfolio, tpe, …")]
    sampler: str
    seed: int
    learned_from: Annotated[
        list[str], Meta(description=f"Ids of the runs it was learned from, the last {N_LEARNED_FROM}.")
    ]
    n_learned_from: int
    forecast: Annotated[ForecastTold | None, Meta(description="What to expect if the run finishes.")]
    forecast_note: Annotated[str, untrusted("What the forecast rests on, or why there is none.")]
    expected_improvement: Number | None
    p_ok: Annotated[float | None, Meta(description="Probability that the run neither fails nor diverges.")]
    p_feasible: Annotated[float | None, Meta(description="Probability that all constraints are kept.")]
    effects: Annotated[dict[str, Number], untrusted("Parameter → what its value does to the objective.")]


class SuggestionsTold(Answer, frozen=True, kw_only=True):
    """Suggestions."""

    experiment: Annotated[str, untrusted("Name of the experiment.")]
    suggestions: list[SuggestionTold]


def suggest_params(adv: Advisor, asked: SuggestAsked) -> SuggestionsTold:
    """Propose parameters for the next runs, with the reasons; they count as taken for an hour."""
    experiment = find.experiment(adv, asked.experiment)
    found = experiment.suggest(
        asked.n, seed=asked.seed, fixed=dict(asked.fixed) or None, retry=asked.retry, transfer=asked.transfer
    )
    facts = [fact for each in found for fact in suggestion_facts(each.as_json())]
    best = experiment_fact(adv.store, experiment.record, "best.objective")
    return SuggestionsTold(
        experiment=bounds.name(experiment.name),
        suggestions=[_told(each) for each in found],
        facts=facts_told([*([] if best is None else [best]), *facts]),
    )


def _told(found: Suggestion) -> SuggestionTold:
    return SuggestionTold(
        suggestion_id=found.id,
        params=bounds.mapping(found.params),
        why=bounds.prose(found.why),
        source=found.source,
        sampler=found.sampler,
        seed=found.seed,
        learned_from=list(found.learned_from[-N_LEARNED_FROM:]),
        n_learned_from=len(found.learned_from),
        forecast=None if found.forecast is None else forecast_told(found.forecast),
        forecast_note=bounds.prose(found.forecast_note),
        expected_improvement=number(found.expected_improvement),
        p_ok=found.p_ok,
        p_feasible=found.p_feasible,
        effects={bounds.name(name): told for name, each in found.effects.items() if (told := number(each)) is not None},
    )


SUGGEST_PARAMS: Final = Operation(
    "suggest_params",
    title="What to try next",
    about="Propose parameters for the next runs, with reasons and a forecast. Each counts as taken for an hour; train "
    "with it, then tell_result with its suggestion_id.",
    asks=SuggestAsked,
    answers=SuggestionsTold,
    does=suggest_params,
    method="POST",
    writes=True,
    repeatable=False,
    path="/experiments/{experiment}/suggestions",
)


# -- results


class ResultAsked(Asked, frozen=True, kw_only=True):
    """How a run went that was trained elsewhere."""

    experiment: ExperimentName
    suggestion_id: Annotated[
        Annotated[str, Meta(max_length=200)] | None,
        Meta(description="The suggestion that the run followed; then leave params out. It is told once."),
    ] = None
    params: Annotated[Params | None, Meta(description="What it was trained with.")] = None
    value: Annotated[Number | None, Meta(description="The objective's final value; NaN where it is not a number.")] = (
        None
    )
    values: Annotated[
        list[Number], Meta(max_length=20, description="One value an objective, where there are several.")
    ] = field(default_factory=list)
    state: Annotated[Literal["finished", "failed", "pruned", "crashed"], Meta(description="How it ended.")] = "finished"
    error: Annotated[
        Annotated[str, Meta(max_length=20_000)] | None,
        Meta(description="Why it failed or crashed, the end of a traceback for instance."),
    ] = None
    metrics: Annotated[dict[str, Number], Meta(description="Last values of other metrics.")] = field(
        default_factory=dict
    )
    curves: Annotated[
        dict[str, Annotated[list[Number], Meta(max_length=MOST_POINTS)]],
        Meta(
            description="Metric → its values in the order of the training, one a step from 0; without curves a run "
            "cannot be checked for trouble.",
            examples=[{"val_loss": [0.9, 0.5, 0.4]}],
        ),
    ] = field(default_factory=dict)
    seed: Annotated[Seed | None, Meta(description="Seed of the training.")] = None
    note: Annotated[Annotated[str, Meta(max_length=20_000)] | None, Meta(description="Words to find it by.")] = None


class ResultTold(Answer, frozen=True, kw_only=True):
    """The run that was recorded, and how it stands."""

    run: RunTold
    is_best: Annotated[bool, Meta(description="Whether it is the best run now.")]
    best_run_id: str | None
    best_objective: Number | None


def tell_result(adv: Advisor, asked: ResultAsked) -> ResultTold:
    """Record a run that was trained elsewhere."""
    experiment = find.experiment(adv, asked.experiment)
    if asked.value is not None and asked.values:
        raise ConfigError("give value or values, not both; values is for several objectives")
    values = [numeric(each) for each in (asked.values or ([] if asked.value is None else [asked.value]))]
    if asked.state in ("failed", "crashed") and any(map(math.isfinite, values)):
        raise ConfigError(f"a {asked.state} run has no value that counts; leave value out, and tell figures as metrics")
    _refuse_unknown(adv, asked)
    run = experiment.tell(
        asked.params,
        values or None,
        state=asked.state,
        error=asked.error,
        seed=asked.seed,
        suggestion_id=asked.suggestion_id,
        notes=[asked.note] if asked.note else (),
        metrics={name: numeric(each) for name, each in asked.metrics.items()},
        curves={name: [numeric(each) for each in values] for name, values in _curves(asked).items()},
    )
    best = experiment.best()
    return ResultTold(
        run=run_told(run),
        is_best=best is not None and best.id == run.id,
        best_run_id=None if best is None else bounds.name(best.id),
        best_objective=None if best is None else number(best.objective),
        facts=facts_told(_facts(adv, experiment.record, run)),
    )


def _curves(asked: ResultAsked) -> Mapping[str, list[Number]]:
    if len(asked.curves) > MOST_CURVES:
        raise ConfigError(f"{len(asked.curves)} curves were given; at most {MOST_CURVES} are taken at once")
    return asked.curves


def _facts(adv: Advisor, record: Any, run: Any) -> list[Any]:
    best = experiment_fact(adv.store, record, "best.objective")
    return [*run_facts(record, run), *([] if best is None else [best])]


def _refuse_unknown(adv: Advisor, asked: ResultAsked) -> None:
    """Refuse a suggestion that was never made, also where parameters are given: an agent has its ids from us."""
    given = asked.suggestion_id
    if given is not None and not (given and any(key.startswith(given) for key in adv.store.state().suggestions)):
        raise NothingCalledSoError(f"no suggestion begins with {given!r:.80}; suggest_params gives their ids")


TELL_RESULT: Final = Operation(
    "tell_result",
    title="Record a result",
    about="Record a run that was trained elsewhere: the suggestion it followed or its parameters, and the objective's "
    "value, or how it failed. Say failures too: they are learned from.",
    asks=ResultAsked,
    answers=ResultTold,
    does=tell_result,
    method="POST",
    writes=True,
    repeatable=False,
    path="/experiments/{experiment}/results",
)


# -- forecasts


class ForecastAsked(Asked, frozen=True, kw_only=True):
    """Of which run."""

    run: RunName
    at: Annotated[
        Annotated[float, Meta(gt=0, le=1)] | None,
        Meta(description="Share of the training that may be looked at; null: all that was logged."),
    ] = None


class ForeseenTold(Answer, frozen=True, kw_only=True):
    """A forecast, or why there is none."""

    run_id: str
    forecast: Annotated[ForecastTold | None, Meta(description="Null where nobody can tell.")]
    why: Annotated[str, untrusted("What it rests on, or why there is none.")]
    asked: datetime


def get_forecast(adv: Advisor, asked: ForecastAsked) -> ForeseenTold:
    """Forecast a run's final objective from the first part of its curve."""
    from advisor.reports.addressed import forecast_facts

    run = find.run(adv, asked.run)
    found, why = adv.experiment(run.experiment, create=False).explain_forecast(run, at=asked.at)
    facts = [] if found is None else forecast_facts(run, found, at=asked.at)
    return ForeseenTold(
        run_id=bounds.name(run.id),
        forecast=None if found is None else forecast_told(found),
        why=bounds.prose(why),
        asked=adv.clock(),
        facts=facts_told(facts),
    )


GET_FORECAST: Final = Operation(
    "get_forecast",
    title="How a run will end",
    about="Forecast a run's final objective from its parameters and the first part of its curves, with an 80 % "
    "interval. Reads all runs of its experiment.",
    asks=ForecastAsked,
    answers=ForeseenTold,
    does=get_forecast,
    path="/runs/{run}/forecast",
)

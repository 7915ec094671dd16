"""Operations on experiments."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Final

from msgspec import Meta

from advisor.operations.operation import Answer, Asked, Number, Operation, number
from storage.records import Direction

if TYPE_CHECKING:
    from advisor.app import Advisor

MOST: Final = 500
"""Experiments in one answer."""


class ExperimentsAsked(Asked, frozen=True):
    """Which experiments are listed."""

    limit: Annotated[int, Meta(ge=1, le=MOST, description="How many at most, the newest first.")] = 50
    offset: Annotated[int, Meta(ge=0, description="How many are left out before the first.")] = 0


class ObjectiveTold(Answer, frozen=True):
    """One objective."""

    metric: str
    direction: Direction


class ExperimentTold(Answer, frozen=True):
    """One experiment in a list."""

    experiment: Annotated[str, Meta(description="Its name.")]
    description: str
    objectives: list[ObjectiveTold]
    n_runs: int
    best_run_id: str | None
    best_objective: Number | None
    created: datetime


class ExperimentsTold(Answer, frozen=True):
    """Experiments, and how many there are in all."""

    experiments: list[ExperimentTold]
    n_experiments: int


def list_experiments(adv: Advisor, asked: ExperimentsAsked) -> ExperimentsTold:
    """List experiments, the newest first."""
    found = adv.experiments()[::-1]
    told = []
    for each in found[asked.offset : asked.offset + asked.limit]:
        record, best = each.record, each.best()
        told.append(
            ExperimentTold(
                experiment=record.name,
                description=record.description,
                objectives=[ObjectiveTold(metric=o.metric, direction=o.direction) for o in record.objectives],
                n_runs=adv.store.count(record.name),
                best_run_id=None if best is None else best.id,
                best_objective=None if best is None else number(best.objective),
                created=record.created,
            )
        )
    return ExperimentsTold(experiments=told, n_experiments=len(found))


LIST_EXPERIMENTS: Final = Operation(
    "list_experiments",
    title="List experiments",
    about="List the experiments of the store, the newest first, with their objectives and best values.",
    asks=ExperimentsAsked,
    answers=ExperimentsTold,
    does=list_experiments,
    path="/experiments",
)

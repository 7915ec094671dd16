"""The operation that says what an experiment is about: objectives, search space, constraints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

from msgspec import Meta

from advisor.operations.experiments import ExperimentAsked, OneExperimentTold, get_experiment
from advisor.operations.operation import Asked, Operation
from advisor.operations.told import ExperimentName
from storage.records import Direction

if TYPE_CHECKING:
    from advisor.app import Advisor

MOST: Final = 20


class DefineAsked(Asked, frozen=True, kw_only=True):
    """What an experiment is about; what is left out stays as it is."""

    experiment: ExperimentName
    objectives: Annotated[
        list[Annotated[str, Meta(min_length=1, max_length=1000)]] | None,
        Meta(description="Metrics that it is about, the first the main one.", examples=[["val_loss"]]),
    ] = None
    directions: Annotated[
        list[Direction] | None, Meta(description="One for each objective.", examples=[["minimize"]])
    ] = None
    space: Annotated[
        dict[str, Any] | None,
        Meta(
            description="Parameter → {low, high, log, step, type: float or int}, or a list of choices; it replaces the "
            "space that was declared before.",
            examples=[{"lr": {"low": 1e-4, "high": 1, "log": True}, "optimizer": ["sgd", "adam"]}],
        ),
    ] = None
    description: Annotated[
        Annotated[str, Meta(max_length=20_000)] | None, Meta(description="What it asks, in plain words.")
    ] = None
    constraints: Annotated[
        Annotated[list[Annotated[str, Meta(max_length=1000)]], Meta(max_length=MOST)] | None,
        Meta(description="Bounds that a run's last values have to keep.", examples=[["latency_ms <= 50"]]),
    ] = None


def define_experiment(adv: Advisor, asked: DefineAsked) -> OneExperimentTold:
    """Create an experiment, or change what one is about."""
    adv.experiment(
        asked.experiment,
        objective=asked.objectives,
        direction=asked.directions,
        space=asked.space,
        description=asked.description,
        constraints=asked.constraints,
    )
    return get_experiment(adv, ExperimentAsked(experiment=asked.experiment))


DEFINE_EXPERIMENT: Final = Operation(
    "define_experiment",
    title="Say what an experiment asks",
    about="Create an experiment with its objectives and search space, or change what one that exists is about; what is "
    "left out stays. Do so before the first suggest_params, and with the person's consent for one that has runs.",
    asks=DefineAsked,
    answers=OneExperimentTold,
    does=define_experiment,
    method="POST",
    writes=True,
    path="/experiments",
)

"""The operation that gives points of curves, bounded: so many curves and points, chosen so that spikes survive."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import numpy as np
from msgspec import Meta, field

from advisor.documents.fact_paths import encoded, run_fact
from advisor.operations import bounds, find
from advisor.operations.operation import Answer, Asked, Number, Operation, Told, number, untrusted
from advisor.operations.told import RunName, facts_told
from storage.curves import is_of_machine
from storage.downsample import downsample
from storage.errors import RecordError, did_you_mean
from storage.records import Curve
from storage.thinning import FEWEST

if TYPE_CHECKING:
    from collections.abc import Iterator

    from advisor.app import Advisor
    from advisor.documents.fact import Fact
    from storage.records import Run

MOST_POINTS: Final = 2_000
"""Of one curve."""
MOST_CURVES: Final = 20
Step = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
_FACTS: Final = ("metrics", "min", "max", "min_step", "max_step", "last_step", "n_points", "n_nonfinite")


class CurvesAsked(Asked, frozen=True, kw_only=True):
    """Which curves."""

    run: RunName
    metrics: Annotated[
        list[str],
        Meta(
            max_length=MOST_CURVES,
            description="Names of curves; empty: all that the training logged, the objective first.",
        ),
    ] = field(default_factory=list)
    max_points: Annotated[
        int,
        Meta(ge=FEWEST, le=MOST_POINTS, description="Most points of one curve; spikes, NaN and infinities survive."),
    ] = 200
    from_step: Annotated[Step | None, Meta(description="Only points from this step on.")] = None
    to_step: Annotated[Step | None, Meta(description="Only points up to this step, this one included.")] = None


class CurveTold(Told, frozen=True, kw_only=True):
    """One metric of one run: step, value and time of each point, in the order in which they were logged."""

    metric: Annotated[str, untrusted("Its name.")]
    n_points: Annotated[int, Meta(description="Points that the whole curve has.")]
    n_in_range: Annotated[int, Meta(description="Points in the range of steps that was asked for.")]
    n_nonfinite: Annotated[int, Meta(description="Points in that range that are NaN or infinite.")]
    is_whole: Annotated[bool, Meta(description="Whether every point of that range is here; else some were chosen.")]
    steps: list[int]
    values: list[Number]
    times: Annotated[list[float | None], Meta(description="Seconds since the run's start; null where unknown.")]


class CurvesTold(Answer, frozen=True, kw_only=True):
    """Curves of one run."""

    run_id: str
    experiment: Annotated[str, untrusted("Name of its experiment.")]
    curves: list[CurveTold]
    left_out: Annotated[list[str], untrusted("Curves that the run has and this answer has not; ask for them by name.")]


def get_curves(adv: Advisor, asked: CurvesAsked) -> CurvesTold:
    """Return points of a run's curves."""
    if asked.from_step is not None and asked.to_step is not None and asked.from_step > asked.to_step:
        raise RecordError(
            f"from_step = {asked.from_step} is after to_step = {asked.to_step}; give a range that begins before it ends"
        )
    run = find.run(adv, asked.run)
    known = _names(adv, run)
    chosen = _chosen(run, known, asked.metrics)
    told = [_told(curve, asked) for metric in chosen if (curve := _read(adv, run, metric)) is not None]
    return CurvesTold(
        run_id=bounds.name(run.id),
        experiment=bounds.name(run.experiment),
        curves=told,
        left_out=bounds.names(name for name in known if name not in chosen),
        facts=facts_told(_facts(adv, run, chosen)),
    )


def _names(adv: Advisor, run: Run) -> list[str]:
    """Return the curves that a run has, its objectives first and what the machine did last."""
    record = adv.store.experiment(run.experiment)
    objectives = [objective.metric for objective in record.objectives]
    return sorted(run.summary, key=lambda name: (name not in objectives, is_of_machine(name), name))


def _chosen(run: Run, known: list[str], asked: list[str]) -> list[str]:
    if not asked:
        return [name for name in known if not is_of_machine(name)][:MOST_CURVES]
    shown = {bounds.name(name): name for name in known}
    found = [name if name in known else shown.get(name, name) for name in dict.fromkeys(asked)]
    for name in found:
        if name not in known and not is_of_machine(name):
            raise RecordError(f"run {bounds.name(run.id)!r} has no curve {name!r:.80}; {did_you_mean(name, shown)}")
    return found


def _read(adv: Advisor, run: Run, metric: str) -> Curve | None:
    """Read one curve; one after the other, so that never more than one of a million points is in memory."""
    return adv.store.curves([run.id], metrics=[metric]).get(run.id, {}).get(metric)


def _told(curve: Curve, asked: CurvesAsked) -> CurveTold:
    inside = np.ones(len(curve), dtype=bool)
    if asked.from_step is not None:
        inside &= curve.steps >= asked.from_step
    if asked.to_step is not None:
        inside &= curve.steps <= asked.to_step
    part = (
        curve
        if inside.all()
        else Curve.of(curve.metric, *(a[inside] for a in (curve.steps, curve.values, curve.times)))
    )
    shown = downsample(part, asked.max_points)
    return CurveTold(
        metric=bounds.name(curve.metric),
        n_points=len(curve),
        n_in_range=len(part),
        n_nonfinite=int((~np.isfinite(part.values)).sum()),
        is_whole=len(shown) == len(part),
        steps=shown.steps.tolist(),
        values=[value for each in shown.values.tolist() if (value := number(each)) is not None],
        times=[each if np.isfinite(each) else None for each in shown.times.tolist()],
    )


def _facts(adv: Advisor, run: Run, metrics: list[str]) -> Iterator[Fact]:
    record = adv.store.experiment(run.experiment)
    for name in ["objective", *(f"{key}.{encoded(metric)}" for key in _FACTS for metric in metrics)]:
        fact = run_fact(record, run, name)
        if fact is not None:
            yield fact


GET_CURVES: Final = Operation(
    "get_curves",
    title="Points of curves",
    about="Give the points of a run's curves, down-sampled so that spikes and non-finite values survive. Narrow the "
    "range of steps to see more of it.",
    asks=CurvesAsked,
    answers=CurvesTold,
    does=get_curves,
    path="/runs/{run}/curves",
)

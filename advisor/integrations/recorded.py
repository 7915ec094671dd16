"""Runs that are over when the store hears of them: a search that was made, a study that was optimised.

Leaves out live runs. Invariant: a run is known by its id, so what is recorded twice is there once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from advisor.errors import ConfigError
from advisor.integrations import common
from storage.curves import summaries
from storage.events import finding_opened
from storage.records import Curve, CurveChunk, Direction, Event, Finding, Run

if TYPE_CHECKING:
    from advisor.experiment import Experiment

RUNS_AT_ONCE: Final = 2_000
"""Runs in one commit, with their curves."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """One run to be recorded."""

    id: str
    _: KW_ONLY
    body: Mapping[str, Any]
    """Body of ``run.created``: state, params, values and the rest."""
    curves: Mapping[str, Curve] = field(default_factory=dict)
    """By metric."""


def experiment_for(
    given: str | Experiment,
    *,
    objectives: Sequence[tuple[str, Direction]],
    store: str | Path | None,
    settings: Mapping[str, Any],
) -> Experiment:
    """Return the experiment that runs are to be recorded in; where it has no objective yet, it gets these.

    Raises
    ------
    ConfigError
        If it has objectives that values in these directions cannot be of.
    """
    experiment = common._handle(store, settings).experiment(given) if isinstance(given, str) else given
    has = [objective.direction for objective in experiment.record.objectives]
    wanted = [direction for _, direction in objectives]
    if not has:
        metrics = [metric for metric, _ in objectives]
        return experiment._advisor.experiment(experiment.name, objective=metrics, direction=wanted)
    if has != wanted:
        raise ConfigError(
            f"experiment {experiment.name!r} is about {', '.join(has)}, and what is to be recorded about "
            f"{', '.join(wanted)}; give another experiment, or the same directions"
        )
    return experiment


def record_runs(experiment: Experiment, runs: Sequence[Recorded]) -> list[Run]:
    """Write runs and their curves, without those that the store has already; return the ones that were written."""
    store, reduce = experiment._advisor.store, experiment.record.reduce
    state, now = store.state(), experiment._advisor.clock()
    new = [run for run in runs if state.entry(run.id) is None]
    for start in range(0, len(new), RUNS_AT_ONCE):
        some = new[start : start + RUNS_AT_ONCE]
        store.append([_created(experiment.name, run, now, reduce) for run in some])
        chunks = [
            CurveChunk(run.id, metric=name, chunk=0, through=len(curve), steps=curve.steps, values=curve.values)
            for run in some
            for name, curve in run.curves.items()
            if len(curve)
        ]
        if chunks:
            store.append_curves(chunks)
    return [entry.run for entry in store.state().entries([run.id for run in new]) if not entry.hidden]


def _created(experiment: str, run: Recorded, now: datetime, reduce: str) -> Event:
    summary = {"summary": summaries(run.curves, reduce=reduce)} if run.curves else {}
    return Event.new("run.created", experiment, run.id, time=now, actor="import", **run.body, **summary)


def look_at(experiment: Experiment, runs: Sequence[Run]) -> list[Finding]:
    """Apply the rules to each of some runs by itself; what they find is kept, sent to the channels and returned."""
    from advisor.findings.rules import judge

    if not runs:
        return []
    advisor = experiment._advisor
    objective, now = experiment.record.objective, advisor.clock()
    curves = advisor.store.curves([run.id for run in runs])
    found: list[Finding] = []
    for run in runs:
        found += judge(run, curves.get(run.id, {}), objective=objective, siblings=None, now=now).findings
    if found:
        advisor.store.append([finding_opened(finding) for finding in found])
        if advisor.settings.notify:
            advisor.notify(experiment.name)
    return found

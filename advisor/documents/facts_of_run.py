"""Compute the facts of one run from its record and its siblings'.

Leaves out wording and layout. Invariant: the same material gives the same sheet, in the same order, with the same hash.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence

from advisor.documents import absences, numbers
from advisor.documents.fact import Fact, FactSheet, counted, measured, metric_of, named, run_name, setting, timed
from advisor.documents.facts import MAX_SETTINGS, absence_facts, finding_facts, suggestion_facts, time_facts
from advisor.documents.facts_beside import beside_facts, curve_facts, forecast_facts, own_findings
from advisor.documents.material import RunMaterial
from advisor.documents.standing import Standing, standing, value_of
from advisor.documents.untrusted import one_line
from storage.records import Objective, Run

MAX_METRICS = 8
"""Metrics of a run that have facts; its table shows more."""


def run_facts(material: RunMaterial) -> FactSheet:
    """Return all facts of one run, the outcome first."""
    run = material.run
    others = [other for other in material.siblings if other.id != run.id]
    where = standing(material.experiment, [*others, run])
    return FactSheet(
        (
            Fact("run", value=run.id, label="run", text=run_name(run), kind="name", source=f"run {run.id}"),
            Fact(
                "state", value=str(run.state), label="state of the run", text=str(run.state), kind="name", source=run.id
            ),
            *_own_outcome(run, where),
            *beside_facts(material, where),
            *_own_metrics(run, where.objective),
            *curve_facts(material, where),
            *forecast_facts(material.forecast, where),
            *finding_facts(material.findings),
            *own_findings(material),
            *_settings(run),
            *suggestion_facts(material.suggestions, where.objective),
            *_own_time(run, others),
            *absence_facts(absences.of_run(run, material.experiment)),
        )
    )


def _own_outcome(run: Run, where: Standing) -> Iterator[Fact]:
    objective = where.objective
    if objective is None or run.objective is None:
        return
    metric = metric_of(objective)
    yield Fact(
        "metric", value=metric, label="objective metric", text=metric, kind="name", source="experiment.objectives"
    )
    yield measured("objective", run.objective, f"{metric} of this run", objective, f"run {run.id}")
    yield counted("n_ranked", len(where.ranked), "number of runs finished with a finite objective", "runs", "runs")
    place = where.rank(run)
    if place is None:
        return
    yield Fact(
        "rank",
        value=place,
        label="rank of this run",
        text=numbers.count(place),
        kind="rank",
        source="runs",
        about="rank",
    )
    others = [other for other in where.ranked if other.id != run.id]
    if not others:
        return
    yield measured(
        "best_other", value_of(others[0]), f"best {metric} of the other runs", objective, f"run {others[0].id}"
    )
    yield named("best_other_run", others[0], f"other run with the best {metric}")
    middle = statistics.median(value_of(other) for other in others)
    yield measured("median_other", middle, f"median {metric} of the other runs", objective, f"{len(others)} runs")
    baseline = min(others, key=lambda other: other.number)
    if baseline.number < run.number:
        label = f"{metric} of the baseline, the first run"
        yield measured("baseline", value_of(baseline), label, objective, f"run {baseline.id}")
    if where.noise is not None:
        label = f"noise of {metric}, the standard deviation between repeats"
        yield measured(
            "noise", where.noise, label, objective, f"{len(where.near_repeats)} configurations", kind="delta"
        )


def _own_metrics(run: Run, objective: Objective | None) -> Iterator[Fact]:
    first = objective.metric if objective else ""
    names = sorted(run.summary, key=lambda name: (name != first, name))[:MAX_METRICS]
    for place, name in enumerate(names, start=1):
        figures, shown = run.summary[name], one_line(name, limit=60)
        source = f"curve {shown} of run {run.id}"
        for key, word in (("last", "last"), ("min", "lowest"), ("max", "highest")):
            value = figures.get(key)
            if isinstance(value, (int, float)):
                label = f"{word} {shown}"
                text = numbers.figure(float(value))
                yield Fact(
                    f"{key}_{place}",
                    value=float(value),
                    label=label,
                    text=text,
                    kind="value",
                    source=source,
                    about=shown,
                )
        if figures.get("n_nonfinite"):
            label = f"number of points of {shown} that are not finite"
            yield counted(f"n_nonfinite_{place}", int(figures["n_nonfinite"]), label, "points", source)
    steps = [figures["last_step"] for figures in run.summary.values() if figures.get("last_step") is not None]
    if steps:
        yield counted("last_step", int(max(steps)), "last step of the run", "steps", f"curves of run {run.id}")


def _settings(run: Run) -> Iterator[Fact]:
    for place, (name, value) in enumerate(list(run.params.items())[:MAX_SETTINGS], start=1):
        shown = one_line(name, limit=60)
        yield setting(f"set_{place}", value, f"parameter {shown}", numbers.parameter(value), f"run {run.id}", shown)
    if run.seed is not None:
        yield setting("seed", run.seed, "seed", str(run.seed), f"run {run.id}", "seed")


def _own_time(run: Run, others: Sequence[Run]) -> Iterator[Fact]:
    if run.duration_s is not None:
        yield timed("duration", run.duration_s, "duration of the run", f"run {run.id}")
    yield from (fact for fact in time_facts(others) if fact.id == "duration_median")

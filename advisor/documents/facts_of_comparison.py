"""Compute the facts of two runs, or of two experiments, beside each other.

Every difference is that of the second against the first, with its sign. Leaves out wording and layout. Invariant: a
share of a difference is only given where the first value is of the same sign and not almost nothing.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence

from advisor.documents import numbers
from advisor.documents.absences import of_experiment_pair, of_run_pair
from advisor.documents.fact import (
    Fact,
    FactSheet,
    counted,
    differing,
    measured,
    metric_of,
    setting,
    share_of,
    timed,
)
from advisor.documents.facts import absence_facts
from advisor.documents.material import ExperimentComparison, RunComparison
from advisor.documents.standing import Standing, standing, value_of
from advisor.documents.untrusted import one_line
from storage.records import Experiment, FindingState, Objective, Run, RunState

MAX_METRICS = 12
MAX_CHANGES = 24
"""Parameters with different values that have facts; the table says how many more there are."""
_SIDES = ("a", "b")


def differing_parameters(a: Run, b: Run) -> list[str]:
    """Return the parameters whose values differ, or that one of two runs lacks, in the order in which they occur."""
    names = dict.fromkeys([*a.params, *b.params])
    return [key for key in names if (key in a.params) != (key in b.params) or a.params[key] != b.params[key]]


def metrics_of(a: Run, b: Run, objective: Objective | None) -> list[str]:
    """Return the metrics of two runs: the objective first, then those that both have, then the rest."""
    first = objective.metric if objective else ""
    names = {*a.summary, *b.summary}
    both = a.summary.keys() & b.summary.keys()
    return sorted(names, key=lambda name: (name != first, name not in both, name))[:MAX_METRICS]


def run_comparison_facts(material: RunComparison) -> FactSheet:
    """Return all facts of two runs, the outcome first."""
    a, b = material.a, material.b
    where = standing(material.experiment, material.siblings)
    return FactSheet(
        (
            *_names(material),
            *_outcomes(material, where),
            *_metrics(a, b, where.objective),
            *_changes(a, b),
            *_durations(a, b),
            *_findings(a, b),
            *absence_facts(of_run_pair(material, where)),
        )
    )


def name_in(run: Run, *, alone: bool) -> str:
    """Return a run's name, with its experiment where that is not clear."""
    return f"#{run.number}" if alone else one_line(f"{run.experiment}#{run.number}", limit=80)


def _names(material: RunComparison) -> Iterator[Fact]:
    for side, run, word in zip(_SIDES, (material.a, material.b), ("first", "second"), strict=True):
        text = name_in(run, alone=not material.is_across)
        yield Fact(f"{side}_run", value=run.id, label=f"{word} run", text=text, kind="name", source=f"run {run.id}")
        label = f"state of the {word} run"
        yield Fact(f"{side}_state", value=str(run.state), label=label, text=str(run.state), kind="name", source=run.id)


def _outcomes(material: RunComparison, where: Standing) -> Iterator[Fact]:
    a, b, objective = material.a, material.b, where.objective
    if objective is None or objective not in material.other.objectives[:1]:
        return
    metric = metric_of(objective)
    yield Fact(
        "metric", value=metric, label="objective metric", text=metric, kind="name", source="experiment.objectives"
    )
    beside = standing(material.other, material.other_siblings) if material.is_across else where
    for side, run, own, word in zip(_SIDES, (a, b), (where, beside), ("first", "second"), strict=True):
        if run.objective is not None:
            yield measured(f"{side}_value", run.objective, f"{metric} of the {word} run", objective, f"run {run.id}")
        place = own.rank(run)
        if place is not None:
            text = numbers.count(place)
            label = f"rank of the {word} run" + (" in its experiment" if material.is_across else "")
            yield Fact(f"{side}_rank", value=place, label=label, text=text, kind="rank", source="runs", about="rank")
    if where.ranked and not material.is_across:
        yield counted("n_ranked", len(where.ranked), "number of runs finished with a finite objective", "runs", "runs")
    if a.objective is not None and b.objective is not None:
        label = f"difference in {metric} of the second run against the first"
        yield from differing("delta", a.objective, b.objective, label, metric, "a_value, b_value")
    if where.noise is not None and not material.is_across:  # of one of two experiments it says nothing of a difference
        label = f"noise of {metric}, the standard deviation between repeats"
        yield measured(
            "noise", where.noise, label, objective, f"{len(where.near_repeats)} configurations", kind="delta"
        )


def _metrics(a: Run, b: Run, objective: Objective | None) -> Iterator[Fact]:
    for place, metric in enumerate(metrics_of(a, b, objective), start=1):
        shown = one_line(metric, limit=60)
        ends: list[float] = []
        for side, run, word in zip(_SIDES, (a, b), ("first", "second"), strict=True):
            value = run.summary.get(metric, {}).get("last")
            if not isinstance(value, (int, float)):
                continue
            ends.append(float(value))
            label, source = f"last {shown} of the {word} run", f"curve {shown} of run {run.id}"
            text = numbers.figure(float(value))
            yield Fact(
                f"{side}_last_{place}", value=float(value), label=label, text=text, kind="value", source=source,
                about=shown,
            )  # fmt: skip
        if len(ends) == 2:
            label = f"difference in last {shown} of the second run against the first"
            yield from differing(
                f"delta_last_{place}", ends[0], ends[1], label, shown, f"a_last_{place}, b_last_{place}"
            )


def _changes(a: Run, b: Run) -> Iterator[Fact]:
    names = differing_parameters(a, b)
    same = len(dict.fromkeys([*a.params, *b.params])) - len(names)
    yield counted("n_changed", len(names), "number of parameters that differ", "parameters", "runs.params")
    yield counted("n_same", same, "number of parameters that are the same", "parameters", "runs.params")
    for place, key in enumerate(names[:MAX_CHANGES], start=1):
        shown = one_line(key, limit=60)
        for side, run, word in zip(_SIDES, (a, b), ("first", "second"), strict=True):
            if key in run.params:
                text = numbers.parameter(run.params[key])
                label = f"parameter {shown} of the {word} run"
                yield setting(f"{side}_set_{place}", run.params[key], label, text, f"run {run.id}", shown)


def _durations(a: Run, b: Run) -> Iterator[Fact]:
    for side, run, word in zip(_SIDES, (a, b), ("first", "second"), strict=True):
        if run.duration_s is not None:
            yield timed(f"{side}_duration", run.duration_s, f"duration of the {word} run", f"run {run.id}")
    if a.duration_s and b.duration_s is not None:
        label = "duration of the second run relative to the first"
        yield share_of("duration_share", b.duration_s / a.duration_s, label, "a_duration, b_duration")


def _findings(a: Run, b: Run) -> Iterator[Fact]:
    for side, run, word in zip(_SIDES, (a, b), ("first", "second"), strict=True):
        active = [finding for finding in run.findings if finding.state is not FindingState.RESOLVED]
        label = f"number of findings in the {word} run"
        yield counted(f"{side}_n_findings", len(active), label, "findings", f"run {run.id}")


# -- two experiments


def experiment_comparison_facts(material: ExperimentComparison) -> FactSheet:
    """Return all facts of two experiments, the outcome first."""
    sides = [standing(record, runs) for record, runs in _sides(material)]
    return FactSheet(
        (
            *_experiment_names(material),
            *_bests(sides),
            *_against(sides),
            *_counts(sides),
            *absence_facts(of_experiment_pair(material)),
        )
    )


def comparable(sides: Sequence[Standing]) -> bool:
    """Return whether both experiments are about the same metric in the same direction."""
    return sides[0].objective is not None and sides[0].objective == sides[1].objective


def _sides(material: ExperimentComparison) -> list[tuple[Experiment, Sequence[Run]]]:
    return [(material.a, material.runs_a), (material.b, material.runs_b)]


def _experiment_names(material: ExperimentComparison) -> Iterator[Fact]:
    for side, record, word in zip(_SIDES, (material.a, material.b), ("first", "second"), strict=True):
        text = one_line(record.name, limit=80)
        label = f"{word} experiment"
        yield Fact(f"{side}_name", value=text, label=label, text=text, kind="name", source="experiment")


def _bests(sides: Sequence[Standing]) -> Iterator[Fact]:
    for side, where, word in zip(_SIDES, sides, ("first", "second"), strict=True):
        best, objective = where.best, where.objective
        if best is None or objective is None:
            continue
        metric = metric_of(objective)
        tail = f"of the {word} experiment"
        values = [value_of(run) for run in where.ranked]
        yield measured(f"{side}_best", values[0], f"best {metric} {tail}", objective, f"run {best.id}")
        yield Fact(
            f"{side}_best_run",
            value=best.id,
            label=f"run with the best {metric} {tail}",
            text=one_line(f"{best.experiment}#{best.number}", limit=80),
            kind="name",
            source=f"run {best.id}",
        )
        source = f"{len(values)} ranked runs"
        middle = statistics.median(values)
        yield measured(f"{side}_median", middle, f"median {metric} {tail}", objective, source)
        if where.noise is not None:
            label = f"noise of {metric} {tail}, the standard deviation between repeats"
            yield measured(f"{side}_noise", where.noise, label, objective, source, kind="delta")


def _against(sides: Sequence[Standing]) -> Iterator[Fact]:
    a, b = sides
    if not comparable(sides) or not a.ranked or not b.ranked or a.objective is None:
        return
    metric = metric_of(a.objective)
    yield Fact(
        "metric", value=metric, label="objective metric", text=metric, kind="name", source="experiment.objectives"
    )
    ends = [(value_of(a.ranked[0]), value_of(b.ranked[0]))]
    ends.append((statistics.median(map(value_of, a.ranked)), statistics.median(map(value_of, b.ranked))))
    for key, (before, after) in zip(("best", "median"), ends, strict=True):
        label = f"difference in {key} {metric} of the second experiment against the first"
        yield from differing(f"delta_{key}", before, after, label, metric, f"a_{key}, b_{key}")
    yield from _at_equal_length(sides, a.objective)
    wins = sum(_wins(value_of(one), value_of(other), a.objective) for one in b.ranked for other in a.ranked)
    label = "share of pairs in which the run of the second experiment is better"
    yield share_of("superiority", wins / (len(a.ranked) * len(b.ranked)), label, "all pairs of ranked runs")


def _wins(one: float, other: float, objective: Objective) -> float:
    return 0.5 if one == other else float(objective.better(one, other))


def _at_equal_length(sides: Sequence[Standing], objective: Objective) -> Iterator[Fact]:
    """Return the best of each after as many ranked runs as the shorter one has: more tries find better ones."""
    n = min(len(where.ranked) for where in sides)
    if n == max(len(where.ranked) for where in sides):
        return
    metric = metric_of(objective)
    yield counted("n_equal", n, "number of runs of the shorter experiment that can be ranked", "runs", "runs")
    for side, where, word in zip(_SIDES, sides, ("first", "second"), strict=True):
        early = sorted(where.ranked, key=lambda run: run.number)[:n]
        best = min(early, key=lambda run: where.places[run.id])
        label = f"best {metric} of the {word} experiment after as many runs"
        yield measured(f"{side}_best_early", value_of(best), label, objective, f"run {best.id}")


def _counts(sides: Sequence[Standing]) -> Iterator[Fact]:
    for side, where, word in zip(_SIDES, sides, ("first", "second"), strict=True):
        tail = f"of the {word} experiment"
        n = len(where.runs)
        yield counted(f"{side}_n_runs", n, f"number of runs {tail}", "runs", "runs")
        finished = where.by_state.get(RunState.FINISHED, 0)
        yield counted(f"{side}_n_finished", finished, f"number of runs finished {tail}", "runs", "runs.state")
        bad = len(where.ended_badly) + len(where.unranked_finished)
        yield counted(f"{side}_n_bad", bad, f"number of runs failed, crashed or diverged {tail}", "runs", "runs.state")
        if n:
            yield share_of(f"{side}_bad_share", bad / n, f"share of runs failed, crashed or diverged {tail}", "runs")
        active = [f for run in where.runs for f in run.findings if f.state is not FindingState.RESOLVED]
        yield counted(f"{side}_n_findings", len(active), f"number of findings {tail}", "findings", "findings")
        spans = [run.duration_s for run in where.runs if run.duration_s is not None]
        if spans:
            yield timed(f"{side}_duration", math.fsum(spans), f"duration of all runs {tail} together", "runs")

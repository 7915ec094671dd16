"""Compute the facts of an experiment, and those that a run's sheet shares with it.

Leaves out wording and layout. Invariant: the same material gives the same sheet, in the same order,
with the same hash; what was not recorded is a fact as well ("seed: not recorded").
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from typing import Any

from advisor.documents import absences, numbers
from advisor.documents.advice import advice_facts
from advisor.documents.fact import (
    Fact,
    FactSheet,
    counted,
    measured,
    metric_of,
    named,
    relative,
    setting,
    share_of,
    timed,
)
from advisor.documents.material import ExperimentMaterial
from advisor.documents.standing import Standing, standing, value_of
from advisor.documents.untrusted import one_line
from storage.records import Finding, FindingState, Objective, Run, RunState, Severity

MAX_SPREAD_RUNS = 4
"""Quartiles are said from this many ranked runs on."""
MAX_OBJECTIVES = 4
"""Objectives that have facts."""
MAX_SETTINGS = 8
"""Parameters of a suggestion or a run that have facts."""


def experiment_facts(material: ExperimentMaterial) -> FactSheet:
    """Return all facts of an experiment, the outcome first."""
    where = standing(material.experiment, material.runs)
    return FactSheet(
        (
            *_outcome(where),
            *_front(where),
            *_states(where),
            *_spread(where),
            *_noise(where),
            *_progress(where),
            *finding_facts(material.findings),
            *_importances(material),
            *suggestion_facts(material.suggestions, where.objective),
            *time_facts(material.runs),
            *absence_facts(absences.of_experiment(material)),
            *advice_facts(material),
        )
    )


def _outcome(where: Standing) -> Iterator[Fact]:
    best, baseline, objective = where.best, where.baseline, where.objective
    if best is None or baseline is None or objective is None:
        return
    metric = metric_of(objective)
    yield Fact(
        "metric", value=metric, label="objective metric", text=metric, kind="name", source="experiment.objectives"
    )
    yield measured("best", value_of(best), f"best {metric}", objective, f"run {best.id}")
    yield named("best_run", best, f"run with the best {metric}")
    yield measured(
        "baseline", value_of(baseline), f"{metric} of the baseline, the first run", objective, f"run {baseline.id}"
    )
    yield named("baseline_run", baseline, "baseline, the first run")
    if baseline.id != best.id:
        yield from _gain(value_of(best), value_of(baseline), objective)
    second = where.runner_up
    if second is not None and where.gap is not None:
        yield measured(
            "runner_up", value_of(second), f"{metric} of the runner-up configuration", objective, f"run {second.id}"
        )
        yield named("runner_up_run", second, "run of the runner-up configuration")
        label = f"gap in {metric} between best and runner-up"
        yield measured("gap", where.gap, label, objective, "best, runner_up", kind="delta")


def _front(where: Standing) -> Iterator[Fact]:
    """Return how many runs no other one beats, where there are several objectives, and the best by each other one."""
    if not where.has_several or not where.ranked:
        return
    label = "number of runs on the front, that no other run beats in every objective"
    yield counted("n_front", len(where.front), label, "runs", "runs.values")
    for place, objective in enumerate(where.experiment.objectives[1:MAX_OBJECTIVES], start=2):
        metric, sign = metric_of(objective), 1.0 if objective.direction == "minimize" else -1.0
        yield Fact(
            f"metric_{place}", value=metric, label=f"objective metric {metric}", text=metric, kind="name",
            source="experiment.objectives",
        )  # fmt: skip
        best = min(where.ranked, key=lambda run: (sign * run.values[place - 1], run.number))
        yield measured(f"best_{place}", best.values[place - 1], f"best {metric}", objective, f"run {best.id}")
        yield named(f"best_{place}_run", best, f"run with the best {metric}")


def _gain(best: float, baseline: float, objective: Objective) -> Iterator[Fact]:
    metric = metric_of(objective)
    gain = abs(best - baseline)
    label = f"gain in {metric} of the best over the baseline"
    yield measured("gain", gain, label, objective, "best, baseline", kind="delta")
    share = relative(gain, baseline, other=best)
    if share is not None:
        yield share_of("gain_share", share, f"{label}, relative to the baseline", "best, baseline")


def _states(where: Standing) -> Iterator[Fact]:
    n_runs = len(where.runs)
    yield counted("n_runs", n_runs, "number of runs", "runs", "runs")
    for state in RunState:
        number = where.by_state.get(state, 0)
        if number or state in (RunState.FINISHED, RunState.FAILED):
            yield counted(f"n_{state}", number, f"number of runs {state}", "runs", "runs.state")
    if where.objective is not None:
        yield counted("n_ranked", len(where.ranked), "number of runs finished with a finite objective", "runs", "runs")
        if where.unranked_finished:
            label = "number of runs finished diverged or without an objective"
            yield counted("n_unranked", len(where.unranked_finished), label, "runs", "runs.objective")
        if where.breaking:
            label = "number of runs finished that break a constraint"
            yield counted("n_breaking", len(where.breaking), label, "runs", "runs.constraints")
    bad = len(where.ended_badly) + len(where.unranked_finished)
    if bad:
        label = "share of the runs that failed, crashed or diverged"
        yield share_of("bad_share", bad / n_runs, label, "runs.state")


def _spread(where: Standing) -> Iterator[Fact]:
    objective = where.objective
    if objective is None or not where.ranked:
        return
    metric = metric_of(objective)
    values = [value_of(run) for run in where.ranked]
    source = f"{len(values)} ranked runs"
    yield measured("median", statistics.median(values), f"median {metric} of the finished runs", objective, source)
    yield measured("worst", values[-1], f"worst {metric} of the finished runs", objective, source)
    if len(values) >= MAX_SPREAD_RUNS:
        lower, _, upper = statistics.quantiles(values, n=4, method="inclusive")
        yield measured("quartile_low", lower, f"lower quartile of {metric}", objective, source)
        yield measured("quartile_high", upper, f"upper quartile of {metric}", objective, source)


def _noise(where: Standing) -> Iterator[Fact]:
    objective = where.objective
    if objective is None or not where.near_repeats:
        return
    metric = metric_of(objective)
    label = f"noise of {metric}, the standard deviation between repeats"
    source = f"{len(where.near_repeats)} repeated configurations"
    if where.noise is not None:
        yield measured("noise", where.noise, label, objective, source, kind="delta")
    yield counted(
        "n_repeated", len(where.near_repeats), "number of repeated configurations", "configurations", "runs.params"
    )
    own = where.best_repeats
    if own is not None:
        label = "number of repeats of the best configuration"
        yield counted("n_best_repeats", len(own.runs), label, "runs", "runs.params")
        label = f"mean {metric} over the repeats of the best configuration"
        yield measured("best_mean", own.mean, label, objective, f"{len(own.runs)} runs")


def _progress(where: Standing) -> Iterator[Fact]:
    records, objective = where.best_so_far, where.objective
    if len(records) < 2 or objective is None:
        return
    metric = metric_of(objective)
    yield counted("n_records", len(records) - 1, f"number of times the best {metric} was improved", "times", "runs")
    yield from _late_gain(where, objective, metric)
    last = max(run.number for run in where.runs)
    label = "number of runs since the last improvement of the best"
    yield counted("n_since_best", last - records[-1].number, label, "runs", "runs.number")


def _late_gain(where: Standing, objective: Objective, metric: str) -> Iterator[Fact]:
    """Return what the later half of the ranked runs improved on the earlier half's best: the slope of the search."""
    ordered = sorted(where.ranked, key=lambda run: run.number)
    half = len(ordered) // 2
    if half < 2:
        return
    early = min(ordered[:half], key=lambda run: where.places[run.id])
    best = where.ranked[0]
    gain = 0.0 if best.id in {run.id for run in ordered[:half]} else abs(value_of(best) - value_of(early))
    label = f"gain in {metric} of the later half of the runs over the best of the earlier half"
    yield measured("late_gain", gain, label, objective, "runs by number", kind="delta")


def finding_facts(findings: Sequence[Finding]) -> Iterator[Fact]:
    """Return how many findings there are, by severity."""
    open_ones = [finding for finding in findings if finding.state is not FindingState.RESOLVED]
    yield counted("n_findings", len(open_ones), "number of findings", "findings", "findings")
    if open_ones:
        label = "number of runs with findings"
        yield counted("n_flagged", len({finding.run_id for finding in open_ones}), label, "runs", "findings.run_id")
    for severity in reversed(Severity):
        number = sum(finding.severity is severity for finding in open_ones)
        if number:
            label = f"number of findings with severity {severity}"
            yield counted(f"n_{severity}", number, label, "findings", "findings.severity")


def _importances(material: ExperimentMaterial) -> Iterator[Fact]:
    if not material.importances:
        return
    ordered = sorted(material.importances.items(), key=lambda item: (-item[1], item[0]))
    for place, (name, share) in enumerate(ordered[:MAX_SETTINGS], start=1):
        shown = one_line(name, limit=60)
        yield Fact(
            f"parameter_{place}",
            value=shown,
            label=f"parameter {shown}, by importance",
            text=shown,
            kind="name",
            source="importances",
            about=shown,
        )
        yield Fact(
            f"importance_{place}",
            value=share,
            unit="share",
            label=f"importance of the parameter {shown}",
            text=numbers.percent(share),
            kind="importance",
            source=one_line(material.importances_note, limit=160) or "importances",
            about="importance",
        )
        for end, value in zip(("low", "high"), material.importance_ends.get(name, ()), strict=False):
            yield Fact(
                f"importance_{end}_{place}",
                value=value,
                unit="share",
                label=f"importance of the parameter {shown}, {end} end of its interval",
                text=numbers.percent(value),
                kind="account",
                source="importances, resampled runs",
            )


def suggestion_facts(suggestions: Sequence[Any], objective: Objective | None) -> Iterator[Fact]:
    """Return the first suggestion, value by value, and its forecast."""
    if not suggestions:
        return
    first = suggestions[0]
    source = "suggestion 1"
    for place, (name, value) in enumerate(list(first.get("params", {}).items())[:MAX_SETTINGS], start=1):
        shown = one_line(str(name), limit=60)
        text = numbers.parameter(value)
        yield setting(f"next_{place}", value, f"suggested {shown} for the next run", text, source, shown)
    learned = first.get("learned_from") or ()
    yield counted("n_learned_from", len(learned), "number of runs the suggestion was learned from", "runs", source)
    forecast = first.get("forecast")
    if forecast and objective is not None:
        metric = metric_of(objective)
        for key, word in (("mean", "mean"), ("low", "lower end"), ("high", "upper end")):
            if forecast.get(key) is not None:
                label = f"forecast {metric} of the suggestion, {word}"
                yield measured(f"forecast_{key}", float(forecast[key]), label, objective, source)


def time_facts(runs: Sequence[Run]) -> Iterator[Fact]:
    """Return how long the runs took."""
    spans = [run.duration_s for run in runs if run.duration_s is not None]
    if not spans:
        return
    total, middle = math.fsum(spans), statistics.median(spans)
    for fact_id, value, label in (
        ("duration_total", total, f"duration of {len(spans)} runs together"),
        ("duration_median", middle, "median duration of a run"),
    ):
        yield timed(fact_id, value, label, "runs")


def absence_facts(missing: Sequence[absences.Absence]) -> Iterator[Fact]:
    """Return what was not recorded."""
    for item in missing:
        yield Fact(
            f"absent_{item.id}",
            value=None,
            label=f"{item.what}: not recorded",
            text=item.text,
            kind="absence",
            source=item.source,
        )

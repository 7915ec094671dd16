"""Compute the facts of a span of time: what was started, what ended how, what got better, what was found.

Leaves out wording and layout. Invariant: a run counts in the span in which it ended; what was best before is taken
from runs that had ended before it began.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass
from datetime import datetime

from advisor.documents import numbers
from advisor.documents.fact import (
    Fact,
    FactSheet,
    counted,
    differing,
    measured,
    metric_of,
    share_of,
    timed,
)
from advisor.documents.material import Activity, DigestMaterial
from advisor.documents.standing import standing, value_of
from advisor.documents.untrusted import one_line
from storage.records import Finding, FindingState, Run, RunState, Severity

MAX_EXPERIMENTS = 12
"""Experiments whose figures are facts; the busiest ones."""


@dataclass(frozen=True, slots=True)
class Happened:
    """What happened in one experiment within the span."""

    activity: Activity
    _: KW_ONLY
    started: tuple[Run, ...]
    ended: tuple[Run, ...]
    best_before: Run | None
    best: Run | None
    """The best of all that had ended by the end of the span."""
    found: tuple[Finding, ...]
    """Findings raised within the span, resolved ones included."""

    @property
    def improved(self) -> bool:
        """Whether the best changed within the span."""
        return self.best is not None and (self.best_before is None or self.best.id != self.best_before.id)

    @property
    def is_new(self) -> bool:
        """Whether nothing had ended before the span."""
        return self.best_before is None


def happened(material: DigestMaterial) -> list[Happened]:
    """Return what happened by experiment, the busiest first; those in which nothing did are left out."""
    found = [_of(each, material.since, material.until) for each in material.activities]
    busy = [each for each in found if each.started or each.ended or each.found]
    return sorted(busy, key=lambda each: (-len(each.ended), -len(each.found), each.activity.experiment.number))


def digest_facts(material: DigestMaterial) -> FactSheet:
    """Return all facts of a span of time, the totals first."""
    told = happened(material)
    return FactSheet((*_span(material), *_totals(material, told), *_findings(told), *_by_experiment(told)))


def ended_at(run: Run) -> datetime:
    """Return when a run ended, or was written down where that is not known."""
    return run.ended or run.created


def _of(activity: Activity, since: datetime, until: datetime) -> Happened:
    ended = [run for run in activity.runs if run.state.is_over]
    before = [run for run in ended if ended_at(run) < since]
    upto = [run for run in ended if ended_at(run) < until]
    return Happened(
        activity,
        started=tuple(run for run in activity.runs if since <= (run.started or run.created) < until),
        ended=tuple(run for run in upto if ended_at(run) >= since),
        best_before=standing(activity.experiment, before).best,
        best=standing(activity.experiment, upto).best,
        found=tuple(each for run in activity.runs for each in run.findings if each.time and since <= each.time < until),
    )


def _span(material: DigestMaterial) -> Iterator[Fact]:
    for key, time in (("since", material.since), ("until", material.until)):
        text = numbers.moment(time)
        label = "beginning of the span" if key == "since" else "end of the span"
        yield Fact(key, value=time.isoformat(), label=label, text=text, kind="name", source="the question")
    yield timed("span", (material.until - material.since).total_seconds(), "duration of the span", "the question")


def _totals(material: DigestMaterial, told: list[Happened]) -> Iterator[Fact]:
    ended = [run for each in told for run in each.ended]
    yield counted(
        "n_started", sum(len(each.started) for each in told), "number of runs started", "runs", "runs.started"
    )
    yield counted("n_ended", len(ended), "number of runs ended", "runs", "runs.ended")
    for state in (RunState.FINISHED, RunState.PRUNED, RunState.FAILED, RunState.CRASHED):
        number = sum(run.state is state for run in ended)
        if number or state in (RunState.FINISHED, RunState.FAILED):
            yield counted(f"n_{state}", number, f"number of runs {state}", "runs", "runs.state")
    bad = sum(run.state in (RunState.FAILED, RunState.CRASHED) for run in ended)
    if ended:
        yield share_of("bad_share", bad / len(ended), "share of the ended runs failed or crashed", "runs.state")
    going_on = [run for each in material.activities for run in each.runs if run.state is RunState.RUNNING]
    yield counted("n_running", len(going_on), "number of runs still running", "runs", "runs.state")
    yield counted(
        "n_experiments", len(told), "number of experiments in which something happened", "experiments", "runs"
    )
    improved = sum(each.improved for each in told)
    yield counted("n_improved", improved, "number of experiments with a better best", "experiments", "runs")
    spans = [run.duration_s for run in ended if run.duration_s is not None]
    if spans:
        yield timed("duration_total", math.fsum(spans), f"duration of {len(spans)} ended runs together", "runs")


def _findings(told: list[Happened]) -> Iterator[Fact]:
    found = [finding for each in told for finding in each.found]
    yield counted("n_found", len(found), "number of findings raised", "findings", "findings.time")
    for severity in reversed(Severity):
        number = sum(finding.severity is severity for finding in found)
        if number:
            label = f"number of findings raised with severity {severity}"
            yield counted(f"n_found_{severity}", number, label, "findings", "findings.severity")
    open_ones = [finding for finding in found if finding.state is FindingState.OPEN]
    yield counted("n_open", len(open_ones), "number of these findings that are open", "findings", "findings.state")
    if found:
        n_runs = len({finding.run_id for finding in found})
        yield counted("n_flagged", n_runs, "number of runs with findings", "runs", "findings.run_id")


def _by_experiment(told: list[Happened]) -> Iterator[Fact]:
    for place, each in enumerate(told[:MAX_EXPERIMENTS], start=1):
        record = each.activity.experiment
        text = one_line(record.name, limit=80)
        label = f"experiment {text}"
        yield Fact(f"exp_{place}", value=text, label=label, text=text, kind="name", source="experiment", about=text)
        tail = f"of {text}"
        yield counted(f"exp_{place}_ended", len(each.ended), f"number of runs ended {tail}", "runs", "runs.ended")
        bad = sum(run.state in (RunState.FAILED, RunState.CRASHED) for run in each.ended)
        yield counted(f"exp_{place}_bad", bad, f"number of runs failed or crashed {tail}", "runs", "runs.state")
        yield counted(
            f"exp_{place}_found", len(each.found), f"number of findings raised {tail}", "findings", "findings"
        )
        objective = record.objective
        if objective is None or each.best is None:
            continue
        metric = metric_of(objective)
        best = value_of(each.best)
        yield measured(f"exp_{place}_best", best, f"best {metric} {tail}", objective, f"run {each.best.id}")
        text_of_run = one_line(f"{record.name}#{each.best.number}", limit=80)
        label = f"run with the best {metric} {tail}"
        yield Fact(
            f"exp_{place}_best_run", value=each.best.id, label=label, text=text_of_run, kind="name",
            source=f"run {each.best.id}",
        )  # fmt: skip
        if each.best_before is not None:
            before = value_of(each.best_before)
            label, source = f"best {metric} {tail} before the span", f"run {each.best_before.id}"
            yield measured(f"exp_{place}_before", before, label, objective, source)
            if each.improved:
                label = f"difference in best {metric} {tail} within the span"
                ids = f"exp_{place}_before, exp_{place}_best"
                yield from differing(f"exp_{place}_delta", before, best, label, metric, ids)

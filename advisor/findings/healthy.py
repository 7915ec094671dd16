"""Which runs may be shown as healthy beside one in trouble: nothing was found in them, and they came out well enough.

A run that nobody flagged is not sound for that: one that swings and ends at chance level may lie below every
threshold. So the objective has a say too. Leaves out which of them is nearest.
Invariant: where no run is good enough there is none, rather than the least bad.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence

from storage.records import Experiment, Finding, FindingState, Objective, Run, RunState, Severity


def usual(values: Iterable[float | None]) -> float | None:
    """Return the median of the objectives that are finite numbers, None where there is none.

    >>> usual([3.0, None, float("nan"), 1.0, 2.0])
    2.0
    """
    finite = [value for value in values if value is not None and math.isfinite(value)]
    return statistics.median(finite) if finite else None


def at_least_usual(objective: Objective | None, value: float | None, median: float | None) -> bool:
    """Return whether a value is at least as good as the median; true where there is nothing to go by."""
    if objective is None or median is None:
        return True
    return value is not None and math.isfinite(value) and not objective.better(median, value)


def without_trouble(run_ids: Iterable[str], findings: Mapping[str, Sequence[Finding]]) -> set[str]:
    """Return the runs in which nothing was found; where there are none, those in which only remarks were.

    Parameters
    ----------
    findings
        By run; those that are resolved count for nothing.
    """
    grave: dict[str, set[Severity]] = {
        run_id: {each.severity for each in findings.get(run_id, ()) if each.state is not FindingState.RESOLVED}
        for run_id in run_ids
    }
    spotless = {run_id for run_id, severities in grave.items() if not severities}
    return spotless or {run_id for run_id, severities in grave.items() if severities == {Severity.INFO}}


def healthy(experiment: Experiment, runs: Sequence[Run], *, median: float | None) -> list[Run]:
    """Return the runs that may stand for what a healthy run of an experiment looks like, in their order.

    Parameters
    ----------
    median
        Of the objectives of finished runs, see ``usual``; None to leave the objective out.
    """
    good = {
        run.id: run.findings
        for run in runs
        if run.state is RunState.FINISHED
        and not experiment.went_wrong(run)
        and at_least_usual(experiment.objective, run.objective, median)
    }
    kept = without_trouble(good, good)
    return [run for run in runs if run.id in kept]


def median_of(runs: Iterable[Run]) -> float | None:
    """Return the median objective of those runs that finished."""
    return usual(run.objective for run in runs if run.state is RunState.FINISHED)

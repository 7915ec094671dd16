"""Verdicts become labels; which runs could be compared is told from what the journal holds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from advisor.findings.check import MIN_SHAPE_POINTS
from advisor.findings.verdicts import Label, compared, labels
from storage.records import Finding, Run, RunState, Severity, Verdict
from tests.advisor.findings.made import EXPERIMENT, a_run


def judged(run: Run, *verdicts: tuple[str, str, Verdict | None]) -> Run:
    """Return the run with findings: (code, detector, verdict)."""
    found = [
        Finding(
            f"{run.id}-{place}",
            run_id=run.id,
            experiment=run.experiment,
            code=code,
            title="t",
            severity=Severity.WARNING,
            detector=detector,
            verdict=verdict,
        )
        for place, (code, detector, verdict) in enumerate(verdicts)
    ]
    return replace(run, findings=tuple(found))


def test_each_judged_run_code_and_detector_has_one_label() -> None:
    runs = [
        judged(
            a_run("r0"), ("ADV103", "rules", "ok"), ("ADV109", "isolation-forest", "real"), ("ADV106", "rules", None)
        ),
        judged(a_run("r1"), ("ADV103", "rules", "real"), ("ADV103", "rules", "ok")),
        judged(a_run("r2"), ("ADV103", "rules", "ok"), ("ADV103", "rules", "real")),
        a_run("r3"),
        judged(replace(a_run("r4"), experiment="elsewhere"), ("ADV103", "rules", "ok")),
    ]
    found = labels(EXPERIMENT, runs)
    assert found == [
        ("r0", "ADV103", "rules", "ok"),
        ("r0", "ADV109", "isolation-forest", "real"),
        ("r1", "ADV103", "rules", "real"),
        ("r2", "ADV103", "rules", "real"),
    ]
    assert isinstance(found[0], Label)


def long(number: int, n: int = MIN_SHAPE_POINTS, **fields: Any) -> Run:
    assert EXPERIMENT.objective is not None
    figures = {"n": n, "last": 0.1, "last_finite": 0.1}
    about: dict[str, Any] = {
        "values": (0.1,),
        "metrics": {EXPERIMENT.objective.metric: 0.1},
        "state": RunState.FINISHED,
    }
    about |= {"summary": {EXPERIMENT.objective.metric: figures, "other": {"n": 1000}}}
    return replace(a_run(f"r{number}"), **about | fields)


def test_a_run_can_be_compared_if_it_finished_with_enough_values_among_enough_siblings() -> None:
    able = [long(i) for i in range(20)]
    others = [long(20, n=MIN_SHAPE_POINTS - 1), long(21, state=RunState.FAILED), long(22, values=(float("nan"),))]
    assert compared(EXPERIMENT, [*able, *others]) == {run.id for run in able}
    assert compared(EXPERIMENT, able[1:]) == frozenset()


@pytest.mark.parametrize("summary", [{}, {"grad_norm": {"n": 50}}])
def test_without_the_objective_the_longest_curve_counts(summary: dict[str, dict[str, int]]) -> None:
    runs = [long(i, summary=summary) for i in range(20)]
    assert len(compared(EXPERIMENT, runs)) == (20 if summary else 0)

"""Compute the facts of one finding: what was seen, where, how often among siblings, and what became of the run.

Leaves out wording and layout. Invariant: each figure of the evidence is a fact of its own, under the name that the
detector gave it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from advisor.documents import absences, numbers
from advisor.documents.fact import Fact, FactSheet, counted, measured, metric_of, named, run_name, setting, share_of
from advisor.documents.facts import absence_facts
from advisor.documents.material import IncidentMaterial
from advisor.documents.standing import Standing, standing, value_of
from advisor.documents.untrusted import one_line
from storage.records import FindingState, Run, RunState

MAX_EVIDENCE = 24
MAX_CHANGES = 16


def evidence_of(evidence: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return what a detector wrote down, one figure or word a line; lists and mappings are spread out.

    >>> evidence_of({"peak": 3.5, "range": [1, 9], "of": {"n": 4}})
    [('peak', 3.5), ('range 1', 1), ('range 2', 9), ('of n', 4)]
    """
    found: list[tuple[str, Any]] = []
    for key, value in evidence.items():
        name = str(key).replace("_", " ")
        if isinstance(value, Mapping):
            found.extend((f"{name} {str(inner).replace('_', ' ')}", each) for inner, each in value.items())
        elif isinstance(value, (list, tuple)):
            found.extend((f"{name} {place}", each) for place, each in enumerate(value[:8], start=1))
        else:
            found.append((name, value))
    return [(one_line(name, limit=60), value) for name, value in found][:MAX_EVIDENCE]


def reference_run(material: IncidentMaterial, where: Standing) -> Run | None:
    """Return the run that the flagged one is held against: the best one without this kind of finding, else the best."""
    flagged = {one.run_id for one in material.others if one.code == material.finding.code}
    others = [run for run in where.ranked if run.id != material.run.id]
    return next((run for run in others if run.id not in flagged), others[0] if others else None)


def incident_facts(material: IncidentMaterial) -> FactSheet:
    """Return all facts of a finding, what was seen first."""
    siblings = [run for run in material.siblings if run.id != material.run.id]
    where = standing(material.experiment, [*siblings, material.run])
    return FactSheet(
        (
            *_finding(material),
            *_evidence(material),
            *_spread(material, where),
            *_run(material, where),
            *_reference(material, where),
            *absence_facts(absences.of_run(material.run, material.experiment)),
        )
    )


def _finding(material: IncidentMaterial) -> Iterator[Fact]:
    one, run = material.finding, material.run
    source = f"finding {one.id}"
    yield Fact("run", value=run.id, label="run", text=run_name(run), kind="name", source=f"run {run.id}")
    for key, value in (("code", one.code), ("severity", str(one.severity)), ("finding_state", str(one.state))):
        label = f"{key.replace('_', ' ')} of the finding"
        yield Fact(key, value=value, label=label, text=one_line(value, limit=60), kind="name", source=source)
    title = one_line(one.title, limit=300)
    yield Fact("title", value=title, label="finding in one line", text=title, kind="name", source=source)
    if one.metric:
        shown = one_line(one.metric, limit=60)
        yield Fact("curve", value=shown, label="metric of the finding", text=shown, kind="name", source=source)
    if one.step is not None:
        yield counted("step", one.step, "step at which the finding begins", "steps", source)
        last = run.summary.get(one.metric or "", {}).get("last_step")
        if isinstance(last, int) and last > 0 and 0 <= one.step <= last:
            yield share_of("step_share", one.step / last, "share of the run before the finding", source)
            yield counted("last_step", last, "last step of the run", "steps", f"run {run.id}")
    for key, figure in (("p_value", one.p_value), ("score", one.score)):
        if figure is not None:
            label, text = f"{key.replace('_', ' ')} of the finding", numbers.figure(figure)
            yield Fact(key, value=figure, label=label, text=text, kind="value", source=source, about=key)


def _evidence(material: IncidentMaterial) -> Iterator[Fact]:
    source = f"finding {material.finding.id}"
    for place, (name, value) in enumerate(evidence_of(material.finding.evidence), start=1):
        text = numbers.parameter(value, limit=160)
        yield setting(f"seen_{place}", value, f"evidence, {name}", text, source, name)


def _spread(material: IncidentMaterial, where: Standing) -> Iterator[Fact]:
    code = material.finding.code
    alike = {one.run_id for one in material.others if one.code == code and one.state is not FindingState.RESOLVED}
    if material.finding.state is not FindingState.RESOLVED:
        alike.add(material.run.id)
    n = len(where.runs)
    yield counted("n_runs", n, "number of runs of the experiment", "runs", "runs")
    yield counted("n_alike", len(alike), "number of runs with a finding of this kind", "runs", "findings.code")
    yield share_of("alike_share", len(alike) / n, "share of runs with a finding of this kind", "findings.code")
    own = [one for one in material.others if one.run_id == material.run.id and one.state is not FindingState.RESOLVED]
    yield counted("n_findings", len(own), "number of findings in the run", "findings", f"run {material.run.id}")


def _run(material: IncidentMaterial, where: Standing) -> Iterator[Fact]:
    run, objective = material.run, where.objective
    yield Fact("state", value=str(run.state), label="state of the run", text=str(run.state), kind="name", source=run.id)
    if objective is not None:
        metric = metric_of(objective)
        yield Fact(
            "metric", value=metric, label="objective metric", text=metric, kind="name", source="experiment.objectives"
        )
        if run.objective is not None:
            yield measured("objective", run.objective, f"{metric} of this run", objective, f"run {run.id}")
    place = where.rank(run)
    if place is not None:
        text = numbers.count(place)
        yield Fact("rank", value=place, label="rank of this run", text=text, kind="rank", source="runs", about="rank")
        yield counted("n_ranked", len(where.ranked), "number of runs finished with a finite objective", "runs", "runs")
    for fact_id, state in (("n_failed", RunState.FAILED), ("n_crashed", RunState.CRASHED)):
        yield counted(fact_id, where.by_state.get(state, 0), f"number of runs {state}", "runs", "runs.state")


def changes_against(run: Run, other: Run) -> list[str]:
    """Return the parameters in which two runs differ."""
    return [key for key in dict.fromkeys([*run.params, *other.params]) if run.params.get(key) != other.params.get(key)]


def _reference(material: IncidentMaterial, where: Standing) -> Iterator[Fact]:
    other, run = reference_run(material, where), material.run
    if other is None or where.objective is None:
        return
    metric = metric_of(where.objective)
    yield named("other_run", other, "best run without a finding of this kind")
    label = f"{metric} of the best run without a finding of this kind"
    yield measured("other_value", value_of(other), label, where.objective, f"run {other.id}")
    for place, key in enumerate(changes_against(run, other)[:MAX_CHANGES], start=1):
        shown = one_line(key, limit=60)
        for side, one in (("own", run), ("other", other)):
            if key in one.params:
                text, source = numbers.parameter(one.params[key]), f"run {one.id}"
                yield setting(f"{side}_set_{place}", one.params[key], f"parameter {shown}", text, source, shown)

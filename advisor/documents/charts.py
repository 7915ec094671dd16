"""Choose what is worth drawing of an experiment or a run, and say in words what each picture shows.

Leaves out drawing itself. Invariant: what is left out of a picture is said in its caption.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from advisor.documents import numbers, pictures
from advisor.documents.content import Picture
from advisor.documents.fact import metric_of, run_name
from advisor.documents.material import Curves, ExperimentMaterial, RunMaterial
from advisor.documents.pictures import CurveLine, Dot, Role
from advisor.documents.standing import Standing, value_of, varied
from advisor.documents.untrusted import one_line
from storage.records import Curve, Finding, FindingState, Run, Severity

MAX_CURVES = 40
"""Curves in one picture: more cannot be told apart."""
MAX_FLAGGED = 10
MAX_DOTS = 1000
"""Runs in one picture of runs: more only cover each other."""
MAX_FAMILIES = 4
_SPLIT = re.compile(r"^(train|training|val|valid|validation|test|eval|dev)[_/. -]", re.IGNORECASE)
_SPLIT_END = re.compile(r"[_/. -](train|training|val|valid|validation|test|eval|dev)$", re.IGNORECASE)


def flagged_runs(findings: Sequence[Finding]) -> set[str]:
    """Return the runs with an open or acknowledged finding that is more than a remark."""
    return {
        finding.run_id
        for finding in findings
        if finding.state is not FindingState.RESOLVED and finding.severity is not Severity.INFO
    }


def main_metric(runs: Sequence[Run], curves: Curves, preferred: str | None) -> str | None:
    """Return the metric to draw: the objective's if it has curves, otherwise the one that most runs have."""
    counts = Counter(metric for run in runs for metric, curve in curves.get(run.id, {}).items() if len(curve))
    if preferred in counts:
        return preferred
    return min(counts, key=lambda metric: (-counts[metric], metric)) if counts else None


def experiment_curves(material: ExperimentMaterial, where: Standing) -> Picture | None:
    """Return the picture of the runs' curves, None where there are none."""
    preferred = where.objective.metric if where.objective else None
    metric = main_metric(material.runs, material.curves, preferred)
    if metric is None:
        return None
    able = [run for run in where.runs if len(material.curves.get(run.id, {}).get(metric, ()))]
    best = where.best if where.best in able else None
    drawn = _sample(able, where, flagged_runs(material.findings))
    lines = [
        _line(run, material.curves[run.id][metric], role, marks=_marks(material.findings, run, metric, role))
        for run, role in drawn
    ]
    shown = one_line(metric, limit=60)
    alt = f"{shown} over the steps of {len(lines)} runs" + (f"; run {run_name(best)} is the best." if best else ".")
    caption = (
        f"{len(lines)} of {numbers.count(len(able))} runs with this curve are drawn: the best, flagged ones, "
        "and others evenly by rank."
        if len(lines) < len(able)
        else ""
    )
    return pictures.draw_curves(
        "curves", lines, metric=shown, alt=alt, title=f"{shown} during training", caption=caption
    )


def experiment_progress(material: ExperimentMaterial, where: Standing) -> Picture | None:
    """Return the picture of the best so far, None where nothing is ranked."""
    if where.objective is None or where.best is None:
        return None
    metric = metric_of(where.objective)
    dots, caption = _dots(material, where, None)
    records = [(run.number, value_of(run)) for run in where.best_so_far]
    alt = (
        f"{metric} of each run by its number, and the best so far, which is {numbers.figure(value_of(where.best))} "
        f"since run {run_name(where.best)}."
    )
    return pictures.draw_progress(
        "progress",
        dots,
        records,
        metric=metric,
        alt=alt,
        title=f"Best {metric} so far" if where.has_several else "Best so far",
        caption=caption,
    )


def parameter_pictures(material: ExperimentMaterial, where: Standing) -> tuple[Picture, ...]:
    """Return the objective against the one or two parameters that matter most."""
    if where.objective is None or len(where.ranked) < 3:
        return ()
    metric = metric_of(where.objective)
    out = []
    for place, name in enumerate(leading_parameters(material, where)[:2], start=1):
        dots, caption = _dots(material, where, name)
        shown = one_line(name, limit=60)
        out.append(
            pictures.draw_parameter(
                f"parameter-{place}",
                dots,
                parameter=shown,
                metric=metric,
                alt=f"{metric} of each run against its {shown}.",
                title=f"{metric} by {shown}",
                caption=caption,
            )
        )
    return tuple(out)


def leading_parameters(material: ExperimentMaterial, where: Standing) -> list[str]:
    """Return the parameters that vary, the most important first where that is known."""
    moving = list(varied(where.ranked))
    shares: Mapping[str, float] = material.importances or {}
    return sorted(moving, key=lambda name: (-shares.get(name, -1.0), moving.index(name)))


def run_curves(material: RunMaterial, where: Standing) -> tuple[Picture, ...]:
    """Return the run's curves: the main metric before its siblings, the others by family (train and val together)."""
    run = material.run
    own = {metric: curve for metric, curve in material.curves.get(run.id, {}).items() if len(curve)}
    if not own:
        return ()
    preferred = where.objective.metric if where.objective else None
    main = preferred if preferred in own else None
    out = [before_siblings(material.curves, where, material.findings, run, main, own[main])] if main else []
    families: dict[str, list[str]] = {}
    for metric in sorted(own):
        families.setdefault(family(metric), []).append(metric)
    ordered = sorted(families.values(), key=lambda metrics: (main not in metrics, -len(metrics), metrics))
    wanted = [metrics for metrics in ordered if metrics != [main]]
    for place, metrics in enumerate(wanted[:MAX_FAMILIES], start=1):
        out.append(_family_picture(material, f"own-{place}", metrics[:4], own))
    return tuple(out)


def family(metric: str) -> str:
    """Return a metric's name without the split of the data: ``val_loss`` and ``train_loss`` are one family."""
    return _SPLIT_END.sub("", _SPLIT.sub("", metric)).lower()


def before_siblings(
    curves: Curves, where: Standing, findings: Sequence[Finding], run: Run, metric: str, curve: Curve
) -> Picture:
    """Return the picture of a run's curve before those of its siblings."""
    others = [other for other in where.runs if other.id != run.id and metric in curves.get(other.id, {})]
    beside, label = _beside(findings, where, run, others)
    chosen = _evenly([other for other in others if other is not beside], MAX_CURVES - 2)
    lines = [_line(other, curves[other.id][metric], "other") for other in chosen]
    if beside is not None:
        lines.append(_line(beside, curves[beside.id][metric], "second", label=f"{label} {run_name(beside)}"))
    marks = _marks(findings, run, metric, "flagged")
    lines.append(_line(run, curve, "best", label=f"this run {run_name(run)}", marks=marks))
    shown = one_line(metric, limit=60)
    return pictures.draw_curves(
        "curves",
        lines,
        metric=shown,
        alt=f"{shown} over the steps of run {run_name(run)}, before {len(lines) - 1} other runs.",
        title=f"{shown} beside the other runs" if len(lines) > 1 else shown,
        caption=f"{len(lines) - 1} of {len(others)} other runs are drawn." if len(lines) - 1 < len(others) else "",
    )


def _beside(findings: Sequence[Finding], where: Standing, run: Run, others: Sequence[Run]) -> tuple[Run | None, str]:
    """Return the run to compare with, and what it is: where a run is unusual, a sound one with similar parameters."""
    named = {finding.evidence.get("nearest_sibling") for finding in findings if finding.run_id == run.id}
    similar = next((other for other in others if other.id in named), None)
    if similar is not None:
        return similar, "similar parameters"
    best = next((other for other in where.ranked if other.id != run.id and other in others), None)
    return best, "best other run"


def _family_picture(material: RunMaterial, name: str, metrics: Sequence[str], own: Mapping[str, Curve]) -> Picture:
    roles: tuple[Role, ...] = ("best", "second", "other", "other")
    ordered = sorted(metrics, key=lambda metric: metric.lower().startswith("train"))
    lines = [
        CurveLine(
            metric,
            steps=own[metric].steps,
            values=own[metric].values,
            role=roles[place],
            marks=_marks(material.findings, material.run, metric, "flagged"),
        )
        for place, metric in enumerate(ordered)
    ]
    shown = [one_line(metric, limit=40) for metric in ordered]
    return pictures.draw_curves(
        name,
        lines,
        metric=shown[0] if len(shown) == 1 else one_line(family(metrics[0]), limit=40),
        alt=f"{' and '.join(shown)} over the steps of run {run_name(material.run)}.",
        title=" and ".join(shown),
    )


def _sample(able: Sequence[Run], where: Standing, flagged: set[str]) -> list[tuple[Run, Role]]:
    """Return the runs to draw: the best, flagged ones, and the rest evenly by rank."""
    best = where.best
    chosen: dict[str, tuple[Run, Role]] = {best.id: (best, "best")} if best in able and best is not None else {}
    for run in _evenly([run for run in able if run.id in flagged and run.id not in chosen], MAX_FLAGGED):
        chosen[run.id] = (run, "flagged")
    order = {run.id: place for place, run in enumerate(where.ranked)}
    rest = sorted(
        (run for run in able if run.id not in chosen), key=lambda run: (order.get(run.id, len(order)), run.number)
    )
    for run in _evenly(rest, MAX_CURVES - len(chosen)):
        chosen[run.id] = (run, "flagged" if run.id in flagged else "other")
    return list(chosen.values())


def _evenly(runs: Sequence[Run], n: int) -> list[Run]:
    if len(runs) <= n:
        return list(runs)
    return [runs[round(place * (len(runs) - 1) / max(n - 1, 1))] for place in range(n)]


def _marks(findings: Sequence[Finding], run: Run, metric: str, role: Role) -> tuple[int, ...]:
    if role == "other":
        return ()
    steps = {
        finding.step
        for finding in findings
        if finding.run_id == run.id and finding.metric == metric and finding.state is not FindingState.RESOLVED
    }
    return tuple(sorted(step for step in steps if step is not None))


def _line(run: Run, curve: Curve, role: Role, *, label: str = "", marks: tuple[int, ...] = ()) -> CurveLine:
    words = label or (f"best run {run_name(run)}" if role == "best" else run_name(run))
    return CurveLine(words, steps=curve.steps, values=curve.values, role=role, marks=marks)


def _dots(material: ExperimentMaterial, where: Standing, parameter: str | None) -> tuple[list[Dot], str]:
    """Return one dot a run that has ended, and what the picture leaves out."""
    flagged = flagged_runs(material.findings)
    ranked = {run.id for run in where.ranked}
    ended = [run for run in where.runs if run.state.is_over and (parameter is None or parameter in run.params)]
    kept = ended
    if len(ended) > MAX_DOTS:
        best = [run for run in ended if run is where.best]
        kept = [*best, *(run for run in _evenly(ended, MAX_DOTS) if run is not where.best)]
    dots = []
    for run in kept:
        value: Any = run.number if parameter is None else run.params[parameter]
        role: Role = "best" if run is where.best and parameter else "flagged" if run.id in flagged else "other"
        dots.append(Dot(value, y=run.objective if run.id in ranked else None, role=role))
    caption = (
        f"{numbers.count(len(kept))} of {numbers.count(len(ended))} runs are drawn." if len(kept) < len(ended) else ""
    )
    return dots, caption

"""Compute how a run stands against others, and how its own curve ends: differences, shares, slopes, findings, forecast.

Leaves out wording and layout. Invariant: every difference is that of the run against the other, with its sign, and is
only given where both have a finite value.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np

from advisor.documents import numbers
from advisor.documents.fact import Fact, counted, differing, measured, metric_of, named, share_of
from advisor.documents.material import RunMaterial
from advisor.documents.standing import Standing, value_of
from advisor.documents.untrusted import one_line
from advisor.references import SEED_NAMES
from storage.records import Curve, FindingState, Run

MAX_FINDINGS: Final = 6
MIN_POINTS: Final = 10
"""Points of a curve from which on its last tenth is looked at."""
_PARENT_KEYS: Final = ("parent", "parent_run", "parent_run_id", "resumed_from")
_VALIDATION: Final = re.compile(r"(^|[_/. -])(val|valid|validation|eval|dev|test)([_/. -]|$)", re.IGNORECASE)


def recorded_parent(run: Run, others: Sequence[Run]) -> Run | None:
    """Return the run that a run says it continues or was made from; None where it says none that is known."""
    for known in (run.meta, run.user_attrs):
        for key in _PARENT_KEYS:
            given = str(known.get(key) or "")
            if given:
                return next((one for one in others if given in (one.id, f"#{one.number}", str(one.number))), None)
    return None


def closest_earlier(run: Run, others: Sequence[Run]) -> Run | None:
    """Return the earlier run from which the fewest parameters were changed, of equals the latest; None for none."""
    earlier = [one for one in others if one.number < run.number]
    return min(earlier, key=lambda one: (len(changed(run, one)), -one.number), default=None)


def parent_of(run: Run, others: Sequence[Run]) -> tuple[Run | None, str]:
    """Return what a run is held against first, and what that is called."""
    parent = recorded_parent(run, others)
    if parent is not None:
        return parent, "parent run"
    return closest_earlier(run, others), "closest earlier run"


def changed(run: Run, other: Run) -> list[str]:
    """Return the parameters in which two runs differ, seeds left out."""
    names = dict.fromkeys([*run.params, *other.params])
    return [key for key in names if key.lower() not in SEED_NAMES and run.params.get(key) != other.params.get(key)]


def beside_facts(material: RunMaterial, where: Standing) -> Iterator[Fact]:
    """Return how a run stands against its parent, the baseline, the best other run and the median."""
    run, objective = material.run, where.objective
    others = [other for other in where.runs if other.id != run.id]
    parent, called = parent_of(run, others)
    if parent is not None:
        yield named("parent_run", parent, called)
        label = f"number of parameters changed from the {called}"
        yield counted("n_changed", len(changed(run, parent)), label, "parameters", f"params of run {run.id}")
    if objective is None or run.objective is None or not math.isfinite(run.objective):
        return
    metric, own = metric_of(objective), run.objective
    if parent is not None and parent.objective is not None and math.isfinite(parent.objective):
        yield measured("parent_value", parent.objective, f"{metric} of the {called}", objective, f"run {parent.id}")
        label = f"difference in {metric} against the {called}"
        yield from differing("delta_parent", parent.objective, own, label, metric, "objective, parent_value")
    ranked = [other for other in where.ranked if other.id != run.id]
    if not ranked:
        return
    first = min(ranked, key=lambda other: other.number)
    middle = float(np.median([value_of(other) for other in ranked]))
    for key, value, words in (
        ("baseline", value_of(first), "the baseline, the first run"),
        ("best_other", value_of(ranked[0]), "the best other run"),
        ("median_other", middle, "the median of the other runs"),
    ):
        if key != "baseline" or first.number < run.number:
            label = f"difference in {metric} against {words}"
            yield from differing(f"delta_{key}", value, own, label, metric, f"objective, {key}")
    if where.rank(run) is not None:
        beaten = sum(objective.better(own, value_of(other)) for other in ranked) / len(ranked)
        yield share_of("beaten_share", beaten, "share of the other ranked runs that it beats", f"rank of run {run.id}")


def curve_facts(material: RunMaterial, where: Standing) -> Iterator[Fact]:
    """Return how the objective's curve ends: since when it was not better, its last slope, its gap to training."""
    run, objective = material.run, where.objective
    if objective is None:
        return
    figures = run.summary.get(objective.metric, {})
    metric, source = metric_of(objective), f"curve {metric_of(objective)} of run {run.id}"
    best_step = figures.get("min_step" if objective.direction == "minimize" else "max_step")
    if isinstance(best_step, int) and isinstance(figures.get("last_step"), int):
        yield counted("best_step", best_step, f"step of the best {metric} of the run", "steps", source)
        label = f"number of steps since the best {metric} of the run"
        yield counted("steps_after_best", figures["last_step"] - best_step, label, "steps", source)
    own = material.curves.get(run.id, {})
    change = last_tenth(own.get(objective.metric))
    if change is not None:
        label = f"change in {metric} over the last tenth of the run"
        text = numbers.signed(change)
        yield Fact("slope", value=change, label=label, text=text, kind="delta", source=source, about=metric)
    yield from _gap_to_training(run, objective.metric, metric)


def last_tenth(curve: Curve | None) -> float | None:
    """Return the change of a curve over the last tenth of its points, between medians; None for a short one."""
    if curve is None or len(curve) < MIN_POINTS:
        return None
    n = max(len(curve) // 10, 2)
    before, after = curve.values[-2 * n : -n], curve.values[-n:]
    before, after = before[np.isfinite(before)], after[np.isfinite(after)]
    return float(np.median(after) - np.median(before)) if before.size and after.size else None


def _gap_to_training(run: Run, metric: str, shown: str) -> Iterator[Fact]:
    """Return how far validation is from training at the end, where the two have the same name but for the split."""
    if not _VALIDATION.search(metric):
        return
    for word in ("train", "training"):
        twin = _VALIDATION.sub(lambda match, word=word: f"{match[1]}{word}{match[3]}", metric, count=1)  # type: ignore[misc]  # bound now
        ends = [run.summary.get(name, {}).get("last_finite") for name in (twin, metric)]
        if isinstance(ends[0], (int, float)) and isinstance(ends[1], (int, float)):
            label = f"difference in {shown} at the end against training"
            value = float(ends[1]) - float(ends[0])
            source = f"curves {one_line(twin, limit=60)} and {shown} of run {run.id}"
            text = numbers.signed(value)
            yield Fact("train_gap", value=value, label=label, text=text, kind="delta", source=source, about=shown)
            return


def own_findings(material: RunMaterial) -> Iterator[Fact]:
    """Return the run's findings one by one, in the detector's words, which a model may not use."""
    active = [one for one in material.findings if one.state is not FindingState.RESOLVED]
    ordered = sorted(active, key=lambda one: (-one.severity.rank, one.code, one.metric or ""))
    for place, one in enumerate(ordered[:MAX_FINDINGS], start=1):
        text = one_line(f"{one.code}: {one.title}", limit=240)
        source = f"finding {one.id}"
        yield Fact(f"finding_{place}", value=text, label="finding", text=text, kind="account", source=source)


def forecast_facts(forecast: Mapping[str, Any] | None, where: Standing) -> Iterator[Fact]:
    """Return where a run that goes on is expected to end."""
    if not forecast or where.objective is None:
        return
    metric = metric_of(where.objective)
    for key, word in (("mean", "mean"), ("low", "lower end"), ("high", "upper end")):
        if forecast.get(key) is not None:
            label = f"forecast {metric} of this run, {word}"
            yield measured(f"own_forecast_{key}", float(forecast[key]), label, where.objective, "forecast")
    if forecast.get("p_best") is not None:
        yield share_of("p_best", float(forecast["p_best"]), "forecast chance that it becomes the best", "forecast")

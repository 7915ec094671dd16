"""Deterministic rules over whole curves, or over any beginning of them; pure functions, numpy only.

Leaves out what needs many siblings (``forest``). Invariant: a rule that cannot be applied says why; it
never passes a curve that it could not judge. A metric whose better direction is unknown is checked for
values that are not finite, and for nothing else.

Every threshold is a named constant with its reason; docs/findings.md states the same values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from advisor.findings import codes
from advisor.findings.codes import Symptom
from advisor.findings.features import oriented
from advisor.findings.pace import MIN_SIBLINGS_TIME, MIN_STEPS, Siblings, slow, stalled, step_times
from advisor.findings.roles import gradient_norm, primary, role_of, training_loss, validation_loss
from storage.records import Curve, Finding, Objective, Run, RunState, Severity

Floats = NDArray[np.float64]

MIN_POINTS = 10
"""Fewer points are too short for any rule about shape: one in ten would be a tenth of the run."""
MIN_POINTS_PLATEAU = 20
"""A plateau in fewer points is patience, not a plateau; half of them must be flat."""
DIVERGED_NATS = 0.25
"""An end this far above the start (28 %) is no noise: warm-up bumps and dropout stay below."""
DIVERGED_RETURN = 0.5
"""Half of the way back from the best value to the start counts as diverged …"""
DIVERGED_RETURN_NATS = 1.386
"""… where the end is also 4 times the best value: log(4)."""
SPIKE_SIGMAS = 20.0
"""A jump of 20 robust sigmas; 12 fired on a fifth of healthy sweeps, 20 on about 2 %."""
SPIKE_NATS = 1.2
"""A spike must also climb 1.2 nats (3.3 times) above the best so far: small losses are noisy on a log scale."""
GRADIENT_SPIKE_NATS = 3.912
"""Gradient norms are heavy-tailed: only a factor of 50 counts, log(50)."""
NEVER_LEARNED_NATS = 0.02
"""A best value within 2 % of the first is no learning."""
STOPPED_SHARE = 0.5
"""No new best for half of the run."""
STOPPED_NATS = 0.01
"""A new best is one per cent lower."""
OVERFITTING_NATS = 0.182
"""A validation loss 20 % above its best, log(1.2), is worth saying."""
OVERFITTING_WARN_NATS = 2.079
"""8 times its best, log(8), is a warning: below, early stopping repairs it and healthy runs do it too."""
OVERFITTING_TRAIN_NATS = 0.05
"""The training loss must have fallen by a further 5 % meanwhile; otherwise it is divergence."""
ERROR_MAX_CHARS = 160
"""Of an exception's last line in a title."""
MAX_SMOOTHED = 2_000
"""Longer curves are smoothed by the medians of this many equal stretches."""
TAIL_SHARE = 0.1
"""The end of a curve is the median of its last tenth, so one lucky point decides nothing."""


@dataclass(frozen=True, slots=True)
class NotJudged:
    """A check that could not be applied to a run: not passed, not failed."""

    run_id: str
    _: KW_ONLY
    check: str
    """Code of the check, ``ADV…``."""
    reason: str
    """Why, in words."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the rules say of one run."""

    findings: tuple[Finding, ...]
    not_judged: tuple[NotJudged, ...]


def judge(
    run: Run,
    curves: Mapping[str, Curve],
    *,
    objective: Objective | None,
    siblings: Siblings | None,
    now: datetime,
) -> Judgement:
    """Apply every rule to one run.

    Parameters
    ----------
    curves
        The run's curves, whole or the first part of them.
    objective
        The metric that counts most; its direction is certain, others are guessed from their names.
    siblings
        The rest of the experiment; None where nothing is known of it.
    now
        UTC; for the silence of a running run, and as the time of the findings.
    """
    not_judged = [
        NotJudged(run.id, check=code, reason=why) for code, why in _not_applicable(curves, objective, siblings)
    ]
    symptoms = [
        *curve_symptoms(curves, objective),
        *slow(curves, siblings),
        *_state_symptoms(run, curves, now),
    ]
    return Judgement(tuple(s.finding(run.id, run.experiment, now) for s in symptoms), tuple(not_judged))


def curve_symptoms(curves: Mapping[str, Curve], objective: Objective | None) -> list[Symptom]:
    """Return what the shapes of the curves show; a metric with values that are not finite shows only that."""
    found = [symptom for metric in sorted(curves) if (symptom := non_finite(curves, metric, objective)) is not None]
    broken = {symptom.metric for symptom in found}
    train = training_loss(curves, objective)
    for metric in watched(curves, objective):
        if metric in broken:
            continue
        if metric != train and role_of(metric, objective).split == "validation" and train in broken:
            continue  # the cause is named already
        for rule in _RULES:
            symptom = rule(curves, metric, objective)
            if symptom is not None:
                found.append(symptom)
                break  # from grave to mild: the gravest names the trouble
    gradients = gradient_norm(curves)
    if gradients is not None and gradients not in broken:
        symptom = spike(curves, gradients, objective, min_nats=GRADIENT_SPIKE_NATS)
        found += [symptom] if symptom else []
    return found


def watched(curves: Mapping[str, Curve], objective: Objective | None) -> list[str]:
    """Return the curves whose shape is judged: training loss, validation loss, and the one that counts most."""
    names = (training_loss(curves, objective), validation_loss(curves, objective), primary(curves, objective))
    return list(dict.fromkeys(name for name in names if name is not None))


def non_finite(curves: Mapping[str, Curve], metric: str, objective: Objective | None) -> Symptom | None:
    """ADV101: a value is NaN or infinite, or a loss is exactly 0 while the gradient norm is not finite."""
    curve, role = curves[metric], role_of(metric, objective).role
    bad = ~np.isfinite(curve.values)
    if not bad.any():
        return _masked_nan(curves, metric, role)
    first = int(np.argmax(bad))
    severity = Severity.ERROR if bad[-1] and role in ("loss", "score", "grad") else Severity.WARNING
    if role == "grad" and not bad[-1]:
        severity = Severity.INFO  # mixed-precision training overflows and rescales by design
    evidence = {
        "n_nonfinite": int(bad.sum()),
        "n": len(curve),
        "value": float(curve.values[first]),
        "recovered": not bool(bad[-1]),
    }
    return Symptom(codes.NON_FINITE, metric, int(curve.steps[first]), evidence, severity)


def _masked_nan(curves: Mapping[str, Curve], metric: str, role: str) -> Symptom | None:
    # Some trainers write 0 for a loss that is NaN (transformers: logging_nan_inf_filter); the gradient tells.
    gradients = gradient_norm(curves)
    if role != "loss" or gradients is None:
        return None
    bad_steps = curves[gradients].steps[~np.isfinite(curves[gradients].values)]
    curve = curves[metric]
    masked = (curve.values == 0) & np.isin(curve.steps, bad_steps)
    if not masked.any():
        return None
    first = int(np.argmax(masked))
    evidence = {"n_nonfinite": int(masked.sum()), "n": len(curve), "value": 0.0, "masked_by": gradients}
    return Symptom(codes.NON_FINITE, metric, int(curve.steps[first]), evidence)


def diverged(curves: Mapping[str, Curve], metric: str, objective: Objective | None) -> Symptom | None:
    """ADV102: the end lies above the start, or most of the way back to it."""
    y = _levels(curves, metric, objective)
    if y is None:
        return None
    start, best, end = _start(y), float(y.min()), _end(y)
    back = end - best > DIVERGED_RETURN_NATS and end - best > DIVERGED_RETURN * (start - best)
    if end - start <= DIVERGED_NATS and not back:
        return None
    if _is_overfitting(curves, metric, objective):
        return None  # the training loss is fine: a matter of generalisation
    at = int(np.argmin(y))
    evidence = _figures(curves[metric], y) | {"above_start_nats": end - start, "above_best_nats": end - best}
    return Symptom(codes.DIVERGED, metric, int(curves[metric].steps[at]), evidence)


def spike(
    curves: Mapping[str, Curve], metric: str, objective: Objective | None, *, min_nats: float = SPIKE_NATS
) -> Symptom | None:
    """ADV103: an upward jump of many robust sigmas that is also large on a log scale."""
    curve = curves[metric]
    y = _levels(curves, metric, objective)
    if y is None:
        return None
    jumps = np.diff(y)
    noise = 1.4826 * float(np.median(np.abs(jumps - np.median(jumps)))) + 1e-3
    height = y[1:] - np.minimum.accumulate(y)[:-1]
    hit = (jumps > SPIKE_SIGMAS * noise) & (height > min_nats) & (jumps > min_nats / 2)
    if not hit.any():
        return None
    at = int(np.argmax(np.where(hit, jumps, -np.inf))) + 1
    evidence = {
        "before": float(curve.values[at - 1]),
        "peak": float(curve.values[at]),
        "sigmas": float(jumps[at - 1] / noise),
        "nats": float(jumps[at - 1]),
        "n_spikes": int(hit.sum()),
        "threshold_sigmas": SPIKE_SIGMAS,
        "threshold_nats": min_nats,
    }
    return Symptom(codes.SPIKE, metric, int(curve.steps[at]), evidence)


def never_learned(curves: Mapping[str, Curve], metric: str, objective: Objective | None) -> Symptom | None:
    """ADV104: no real improvement on the first value in the whole run."""
    y = _levels(curves, metric, objective)
    if y is None or y.size < MIN_POINTS_PLATEAU or float(y[0] - _smooth(y).min()) > NEVER_LEARNED_NATS:
        return None
    evidence = _figures(curves[metric], y) | {"threshold_nats": NEVER_LEARNED_NATS}
    return Symptom(codes.NEVER_LEARNED, metric, int(curves[metric].steps[0]), evidence)


def overfitting(curves: Mapping[str, Curve], metric: str, objective: Objective | None) -> Symptom | None:
    """ADV106: the validation loss ends above its best while the training loss still fell."""
    y = _levels(curves, metric, objective)
    if y is None or not _is_overfitting(curves, metric, objective):
        return None
    at, rise = int(np.argmin(y)), _end(y) - float(y.min())
    evidence = _figures(curves[metric], y) | {
        "train": training_loss(curves, objective),
        "above_best_nats": rise,
        "threshold_nats": OVERFITTING_NATS,
    }
    severity = Severity.WARNING if rise > OVERFITTING_WARN_NATS else Severity.INFO
    return Symptom(codes.OVERFITTING, metric, int(curves[metric].steps[at]), evidence, severity)


def stopped_learning(curves: Mapping[str, Curve], metric: str, objective: Objective | None) -> Symptom | None:
    """ADV105: no new best value for most of the run."""
    y = _levels(curves, metric, objective)
    if y is None or y.size < MIN_POINTS_PLATEAU:
        return None
    best = np.minimum.accumulate(_smooth(y))
    at = int(np.argmax(best <= best[-1] + STOPPED_NATS))
    if (y.size - 1 - at) / (y.size - 1) < STOPPED_SHARE:
        return None
    evidence = _figures(curves[metric], y) | {
        "share": (y.size - 1 - at) / (y.size - 1),
        "threshold_share": STOPPED_SHARE,
    }
    return Symptom(codes.STOPPED_LEARNING, metric, int(curves[metric].steps[at]), evidence)


Rule = Callable[[Mapping[str, Curve], str, Objective | None], Symptom | None]
_RULES: Sequence[Rule] = (diverged, spike, never_learned, overfitting, stopped_learning)


def failed(error: str | None) -> Symptom:
    """ADV111: the run says itself that it failed."""
    lines = [line.strip() for line in (error or "").splitlines() if line.strip()]
    return Symptom(codes.FAILED, None, None, {"error": lines[-1][:ERROR_MAX_CHARS] if lines else "no reason was kept"})


def _state_symptoms(run: Run, curves: Mapping[str, Curve], now: datetime) -> Iterator[Symptom]:
    if run.state is RunState.CRASHED:
        n = sum(len(curve) for curve in curves.values())
        yield Symptom(codes.CRASHED, None, None, {"n": n, "error": run.error})
    if run.state is RunState.FAILED:
        yield failed(run.error)
    if run.state is RunState.RUNNING and run.started is not None:
        every = np.sort(np.concatenate([np.empty(0), *(c.times[np.isfinite(c.times)] for c in curves.values())]))
        if every.size:
            silent = (now - run.started).total_seconds() - float(every[-1])
            symptom = stalled(silent, np.diff(np.unique(every)))
            if symptom is not None:
                yield symptom


def _not_applicable(
    curves: Mapping[str, Curve], objective: Objective | None, siblings: Siblings | None
) -> Iterator[tuple[str, str]]:
    shape = (codes.DIVERGED, codes.SPIKE, codes.NEVER_LEARNED, codes.STOPPED_LEARNING)
    names = watched(curves, objective)
    if not names:
        why = "no curve whose better direction is known; set the experiment's objective" if curves else "no curves"
        for code in (*shape, codes.OVERFITTING):
            yield code.code, why
    for metric in names:
        n = int(np.isfinite(curves[metric].values).sum())
        for code in shape:
            least = MIN_POINTS_PLATEAU if code in shape[2:] else MIN_POINTS
            if n < least:
                yield code.code, f"too short: {metric} has {n} finite values, at least {least} are needed"
    if names and (training_loss(curves, objective) is None or validation_loss(curves, objective) is None):
        yield codes.OVERFITTING.code, "needs a training loss and a validation loss, told apart by their names"
    if curves and step_times(curves).size < MIN_STEPS:
        yield codes.SLOW.code, f"fewer than {MIN_STEPS} timed steps"
    elif curves and (siblings is None or siblings.step_time_s is None):
        yield (
            codes.SLOW.code,
            f"fewer than {MIN_SIBLINGS_TIME} siblings with timed steps; compared with its own start only",
        )


def _levels(curves: Mapping[str, Curve], metric: str, objective: Objective | None) -> Floats | None:
    """Return the values as nats with lower better, None where too short, broken or of unknown direction."""
    curve, known = curves[metric], role_of(metric, objective)
    way = "minimize" if known.role == "grad" else known.direction
    if way is None or len(curve) < MIN_POINTS or not np.isfinite(curve.values).all():
        return None
    return oriented(curve.values, way)


def _start(y: Floats) -> float:
    return float(y[0])


def _end(y: Floats) -> float:
    return float(np.median(y[-max(1, int(TAIL_SHARE * y.size)) :]))


def _smooth(y: Floats) -> Floats:
    """Return running medians over about a tenth of the curve: noise alone makes no new best."""
    if y.size > MAX_SMOOTHED:  # the windows of a million points would not fit into memory
        size = -(-y.size // MAX_SMOOTHED)
        n_parts = -(-y.size // size)
        # As np.array_split cuts: the first stretches are one longer than the rest. Two calls, not one for each.
        length, n_longer = divmod(y.size, n_parts)
        cut = n_longer * (length + 1)
        stretches = [y[:cut].reshape(-1, length + 1), y[cut:].reshape(-1, length)]
        smoothed = _smooth(np.concatenate([np.median(part, axis=1) for part in stretches if part.size]))
        return np.repeat(smoothed, [length + 1] * n_longer + [length] * (n_parts - n_longer))
    width = max(1, int(TAIL_SHARE * y.size) // 2 * 2 - 1)
    if width < 3:
        return y
    padded = np.pad(y, width // 2, mode="edge")
    return np.median(np.lib.stride_tricks.sliding_window_view(padded, width), axis=1).astype(np.float64)


def _is_overfitting(curves: Mapping[str, Curve], metric: str, objective: Objective | None) -> bool:
    train = training_loss(curves, objective)
    if train is None or train == metric or role_of(metric, objective).split != "validation":
        return False
    y, fit = _levels(curves, metric, objective), _levels(curves, train, objective)
    if y is None or fit is None or role_of(metric, objective).role != "loss":
        return False
    at = int(np.argmin(y)) / (y.size - 1)
    fell = float(fit[round(at * (fit.size - 1))]) - _end(fit)
    return _end(y) - float(y.min()) > OVERFITTING_NATS and fell > OVERFITTING_TRAIN_NATS


def _figures(curve: Curve, y: Floats) -> dict[str, Any]:
    n = max(1, int(TAIL_SHARE * y.size))
    return {
        "start": float(curve.values[0]),
        "best": float(curve.values[int(np.argmin(y))]),
        "best_step": int(curve.steps[int(np.argmin(y))]),
        "end": float(np.median(curve.values[-n:])),
        "n": len(curve),
    }

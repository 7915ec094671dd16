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
from advisor.findings.codes import Code, Symptom
from advisor.findings.features import oriented
from advisor.findings.medians import medians, robust_sigma
from advisor.findings.pace import (
    MIN_SIBLINGS_TIME,
    MIN_STEPS,
    OF_SIBLINGS,
    SLOW_SHORT_STEPS,
    SLOW_STEP_S,
    Siblings,
    slow,
    stalled,
    step_times,
)
from advisor.findings.roles import gradient_norm, primary, role_of, training_loss, validation_loss
from advisor.findings.trail import (
    BATCH_POINTS,
    BATCH_SIGMAS,
    DIVERGED_NATS,
    DIVERGED_RETURN,
    DIVERGED_RETURN_NATS,
    GRADIENT_SPIKE_NATS,
    MIN_POINTS,
    SPIKE_JUMP_NATS,
    SPIKE_NATS,
    SPIKE_SIGMAS,
    UNRECOVERED_SHARE,
    Jump,
    Stretch,
    Sustained,
    Trail,
)
from storage.records import (
    ENDED_BY_HAND,
    UNRECORDED_END,
    Curve,
    Direction,
    Finding,
    Objective,
    Run,
    RunState,
    Severity,
)

Floats = NDArray[np.float64]

MIN_POINTS_PLATEAU = 20
"""A plateau in fewer points is patience, not a plateau; half of them must be flat."""
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
OSCILLATION_NATS = 0.25
"""Neighbours that differ by 28 %, in the middle, over the second half; the largest of 2,495 sound curves: 15 % …"""
OSCILLATION_FLIPS = 0.55
"""… of which more than half turn back: a curve that only falls steeply does not …"""
OSCILLATION_SMALL = 0.05
"""… while it is above 5 % of its start: losses near zero are noisy on a log scale …"""
OSCILLATION_FALL = 1.0
"""… and falls by less than one such difference from the third quarter to the last: a noisy descent is a descent."""
EXPLODED_NATS = 3.0
"""A gradient norm that stays 20 times above its first values; the highest of 665 sound trainings reached 11 times."""
GRADIENT_POINTS = 5
"""Gradient norms are far from the first ones for 5 points in a row …"""
GRADIENT_SHARE = 0.05
"""… that are 5 % of the run so far: after a restart of the learning rate sound ones are so for a while."""
VANISHED_NATS = 11.5
"""One that stays 100,000 times below: sound ones fell 4,000 times."""
VANISHED_BELOW = 1e-7
"""Or one below the precision of 32-bit floats, whatever it was at first."""
ODD_SPIKE_SIGMAS = 20.0
"""A curve without a logarithm (a reward, a negative loss) is judged as a whole, by its own spread: 20 sigmas …"""
ODD_SPIKE_NATS = 1.2
"""… and 1.2 times that spread."""
GRADIENT_BAD_VALUES = 3
"""Mixed precision overflows now and then by design: 3 gradient norms in a row that are not finite are an error."""
TOO_GOOD_SIBLINGS = 8
"""Fewer siblings say nothing of what is too good."""
TOO_GOOD_SIGMAS = 6.0
"""Robust sigmas better than the median sibling …"""
TOO_GOOD_LEADS = 3.0
"""… and ahead of the best sibling by 3 times what that one is ahead of the better quarter's edge …"""
TOO_GOOD_NATS = 0.7
"""… and by a factor of 2: the best run of a sweep is close to the next best, a leak is not."""
ERROR_MAX_CHARS = 160
"""Of an exception's last line in a title."""
NO_REASON_OF_OPTUNA = "Optuna told no reason: the objective raised, or its value was no number"
"""What is known of a trial that Optuna says has failed."""
MAX_SMOOTHED = 2_000
"""Longer curves are smoothed by the medians of this many equal stretches."""
TAIL_SHARE = 0.1
"""The end of a curve is the median of its last tenth, so one lucky point decides nothing."""


Trails = Mapping[str, Trail]


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
        *too_good(curves, objective, siblings),
        *_state_symptoms(run, curves, now),
    ]
    return Judgement(tuple(s.finding(run.id, run.experiment, now) for s in symptoms), tuple(not_judged))


def curve_symptoms(
    curves: Mapping[str, Curve], objective: Objective | None, *, trails: Trails | None = None
) -> list[Symptom]:
    """Return what the shapes of the curves show; a metric with values that are not finite shows only that.

    Parameters
    ----------
    trails
        What was seen of each curve point by point, where somebody has followed it; made from the curve otherwise.
    """
    found = [symptom for metric in sorted(curves) if (symptom := non_finite(curves, metric, objective)) is not None]
    broken = {symptom.metric for symptom in found}
    train = training_loss(curves, objective)
    for metric in watched(curves, objective):
        if metric in broken:
            continue
        if metric != train and role_of(metric, objective).split == "validation" and train in broken:
            continue  # the cause is named already
        found += shape_symptoms(curves, metric, objective, trail=(trails or {}).get(metric))
    gradients = gradient_norm(curves)
    if gradients is not None and gradients not in broken:
        found += gradient_symptoms(curves, gradients, trail=(trails or {}).get(gradients))
    return found


def shape_symptoms(
    curves: Mapping[str, Curve], metric: str, objective: Objective | None, *, trail: Trail | None = None
) -> list[Symptom]:
    """Return what the shape of one finite curve shows: spikes and divergence, or else the gravest of the milder."""
    trail = trail or trail_of(curves[metric], role_of(metric, objective).direction)
    found = [diverged(curves, metric, objective, trail=trail), spike(curves, metric, objective, trail=trail)]
    loud = [symptom for symptom in found if symptom is not None]
    if loud:
        return loud
    for rule in _RULES:
        symptom = rule(curves, metric, objective)
        if symptom is not None:
            return [symptom]  # from grave to mild: the gravest names the trouble
    return []


def gradient_symptoms(curves: Mapping[str, Curve], metric: str, *, trail: Trail | None = None) -> list[Symptom]:
    """Return what a finite curve of gradient norms shows."""
    trail = trail or trail_of(curves[metric], "minimize", min_nats=GRADIENT_SPIKE_NATS)
    found = (spike(curves, metric, None, trail=trail), exploded(curves[metric]), vanished(curves[metric]))
    return [symptom for symptom in found if symptom is not None]


def trail_of(curve: Curve, direction: Direction | None, *, min_nats: float = SPIKE_NATS) -> Trail | None:
    """Follow a whole curve; None where its better direction is unknown."""
    if direction is None:
        return None
    trail = Trail(direction, min_nats=min_nats)
    trail.extend(curve.steps, curve.values)
    return trail


def watched(curves: Mapping[str, Curve], objective: Objective | None) -> list[str]:
    """Return the curves whose shape is judged: training loss, validation loss, and the one that counts most."""
    names = (training_loss(curves, objective), validation_loss(curves, objective), primary(curves, objective))
    return list(dict.fromkeys(name for name in names if name is not None))


def non_finite(curves: Mapping[str, Curve], metric: str, objective: Objective | None) -> Symptom | None:
    """ADV101: a value is NaN or infinite, or a loss is exactly 0 while the gradient norm is not finite."""
    curve = curves[metric]
    bad = ~np.isfinite(curve.values)
    if not bad.any():
        return _masked_nan(curves, metric, role_of(metric, objective).role)
    first = int(np.argmax(bad))
    good = np.flatnonzero(~bad)
    return bad_values(
        metric,
        objective,
        step=int(curve.steps[first]),
        value=float(curve.values[first]),
        n_bad=int(bad.sum()),
        n=len(curve),
        n_bad_at_end=len(curve) - 1 - int(good[-1]) if good.size else len(curve),
    )


def bad_values(
    metric: str, objective: Objective | None, *, step: int, value: float, n_bad: int, n: int, n_bad_at_end: int
) -> Symptom:
    """ADV101, given how many values of a metric are not finite in all and at its end, and the first of them."""
    role = role_of(metric, objective).role
    severity = Severity.ERROR if n_bad_at_end and role in ("loss", "score", "grad") else Severity.WARNING
    if role == "grad" and n_bad_at_end < GRADIENT_BAD_VALUES:
        severity = Severity.INFO  # mixed-precision training overflows and rescales by design
    evidence = {"n_nonfinite": n_bad, "n": n, "value": value, "recovered": not n_bad_at_end}
    return Symptom(codes.NON_FINITE, metric, step, evidence, severity)


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


def diverged(
    curves: Mapping[str, Curve], metric: str, objective: Objective | None, *, trail: Trail | None
) -> Symptom | None:
    """ADV102: the curve stays above the start, or most of the way back to it; information where that passed."""
    y = _levels(curves, metric, objective)
    if y is None:
        return None
    if trail is not None and trail.followed:
        now = trail.diverged.now
        since = now or trail.diverged.last
    else:
        since = now = _ends_high(y, curves[metric])
    if since is None or _is_overfitting(curves, metric, objective):
        return None  # the training loss is fine: a matter of generalisation
    evidence = _figures(curves[metric], y) | {
        "above_start_nats": _end(y) - _start(y),
        "above_best_nats": _end(y) - float(y.min()),
        "high_since_step": since.step,
        "n_high": since.n,
        "recovered": now is None,
        "outcome": "at the end" if now is not None else f"at the end, after {since.n} high values",
        "threshold_nats": DIVERGED_NATS,
    }
    at = since.step if now is None else int(curves[metric].steps[int(np.argmin(y))])
    return Symptom(codes.DIVERGED, metric, at, evidence, None if now is not None else Severity.INFO)


def _ends_high(y: Floats, curve: Curve) -> Stretch | None:
    """Return the end of a curve that has no logarithm, where it lies above the start or most of the way back."""
    start, best, end = _start(y), float(y.min()), _end(y)
    back = end - best > DIVERGED_RETURN_NATS and end - best > DIVERGED_RETURN * (start - best)
    if end - start <= DIVERGED_NATS and not back:
        return None
    n = max(1, int(TAIL_SHARE * y.size))
    return Stretch(y.size - n, step=int(curve.steps[-n]), n=n)


def spike(
    curves: Mapping[str, Curve], metric: str, objective: Objective | None, *, trail: Trail | None
) -> Symptom | None:
    """ADV103: an upward jump of many robust sigmas that is also large on a log scale."""
    curve = curves[metric]
    if trail is None or len(curve) < MIN_POINTS:
        return None
    gradient = role_of(metric, objective).role == "grad"
    if trail.followed:
        n_spikes, n, least, overdue = trail.spikes, trail.n, trail.min_nats, trail.overdue
        worst = trail.open if overdue else trail.largest
        small = worst is not None and trail.is_small(worst)
    else:
        least, small = GRADIENT_SPIKE_NATS if gradient else SPIKE_NATS, False
        worst, n_spikes = _jump_of(curves, metric, objective, least, after_zero=not gradient)
        n, overdue = len(curve), False
    if worst is None:
        return None
    outcome = f"and recovered within {_values(worst.recovered_after or 0)}"
    if worst.recovered_after is None:
        outcome = f"and has not recovered {_values(n - 1 - worst.at)} later"
    evidence = {
        "before": worst.before,
        "peak": worst.peak,
        "sigmas": worst.sigmas,
        "nats": worst.nats,
        "n_spikes": n_spikes,
        "recovered": worst.recovered_after is not None,
        "recovered_after": worst.recovered_after,
        "outcome": outcome,
        "threshold_sigmas": SPIKE_SIGMAS,
        "threshold_nats": least,
        "threshold_unrecovered_share": UNRECOVERED_SHARE,
    }
    # Clipping makes a passing gradient spike harmless, and heavy tails make it common.
    harmless = small or (gradient and worst.recovered_after is not None)
    if trail.followed and not gradient and _is_of_batches(metric, objective):
        lasted = worst.recovered_after or n - worst.at
        harmless |= worst.sigmas < BATCH_SIGMAS and lasted <= BATCH_POINTS and trail.below_start(worst)
    severity = Severity.INFO if harmless else Severity.WARNING
    if overdue and not gradient and not (small and _is_of_batches(metric, objective)):
        severity = Severity.WARNING if small else Severity.ERROR
    return Symptom(codes.SPIKE, metric, worst.step, evidence, severity)


def _values(n: int) -> str:
    return "1 value" if n == 1 else f"{n} values"


def _is_of_batches(metric: str, objective: Objective | None) -> bool:
    """Return whether a curve may hold the losses of single batches: what decides about the run does not."""
    return role_of(metric, objective).split != "validation" and (objective is None or metric != objective.metric)


def _jump_of(
    curves: Mapping[str, Curve], metric: str, objective: Objective | None, least: float, *, after_zero: bool
) -> tuple[Jump | None, int]:
    """Return the largest spike of a curve that has no logarithm, and how many there are.

    As in a ``Trail``, a value before the ``MIN_POINTS``-th is none: there is no level yet that it could leave. A steady
    rise is no jump either, however alike its steps are.

    Parameters
    ----------
    after_zero
        Whether a jump up from exactly 0 counts. A gradient norm of 0 says that there was no gradient, not how large one
        is, and any norm is many times as large.
    """
    y, curve = _levels(curves, metric, objective), curves[metric]
    if y is None:
        return None, 0
    jumps = np.diff(y)
    noise, rise = robust_sigma(jumps) + 1e-3, max(0.0, float(np.median(jumps)))
    height = y[1:] - np.minimum.accumulate(y)[:-1]
    hit = (jumps - rise > ODD_SPIKE_SIGMAS * noise) & (height > max(ODD_SPIKE_NATS, least)) & (jumps > SPIKE_JUMP_NATS)
    hit[: MIN_POINTS - 2] = False
    hit &= after_zero | (curve.values[:-1] != 0)
    if not hit.any():
        return None, 0
    at = int(np.argmax(np.where(hit, jumps, -np.inf))) + 1
    nats, base = float(jumps[at - 1]), float(y[at - 1])
    below = np.flatnonzero(y[at:] <= base + nats / 2)
    jump = Jump(
        at,
        step=int(curve.steps[at]),
        before=float(curve.values[at - 1]),
        peak=float(curve.values[at]),
        nats=nats,
        sigmas=nats / noise,
        base=base,
        recovered_after=int(below[0]) if below.size else None,
    )
    return jump, int(hit.sum())


def exploded(curve: Curve) -> Symptom | None:
    """ADV114: the gradient norm stays many times above its first values."""
    return _far(curve, codes.EXPLODED, lambda nats, _: nats > EXPLODED_NATS, EXPLODED_NATS)


def vanished(curve: Curve) -> Symptom | None:
    """ADV115: the gradient norm stays far below its first values, or below the precision of a float."""
    return _far(
        curve, codes.VANISHED, lambda nats, values: (nats < -VANISHED_NATS) | (values < VANISHED_BELOW), VANISHED_NATS
    )


def _far(
    curve: Curve, code: Code, holds: Callable[[Floats, Floats], NDArray[np.bool_]], threshold: float
) -> Symptom | None:
    """Return a symptom where gradient norms are far from the first ones, for long enough."""
    if len(curve) < MIN_POINTS_PLATEAU or curve.values.min() < 0:
        return None
    start = float(np.median(curve.values[:MIN_POINTS]))
    nats = np.log(np.maximum(curve.values, 1e-300) / max(start, 1e-300))
    far = Sustained(GRADIENT_POINTS, GRADIENT_SHARE)
    far.extend(holds(nats, curve.values), curve.steps, 0)
    since = far.now or far.last
    if since is None:
        return None
    evidence = {
        "start": start,
        "value": float(np.median(curve.values[since.first : since.first + since.n])),
        "n": since.n,
        "recovered": far.now is None,
        "threshold_nats": threshold,
    }
    return Symptom(code, curve.metric, since.step, evidence, Severity.INFO if far.now is None else None)


def too_good(curves: Mapping[str, Curve], objective: Objective | None, siblings: Siblings | None) -> Iterator[Symptom]:
    """ADV113: the objective is better than every sibling's by far more than siblings differ."""
    if objective is None or siblings is None or objective.metric not in curves:
        return
    own, others = end_value(curves[objective.metric]), np.asarray(siblings.values, dtype=np.float64)
    if own is None or others.size < TOO_GOOD_SIBLINGS:
        return
    nats, scale = _better(np.append(others, own), objective.direction)
    ranked, mine = np.sort(nats[:-1]), float(nats[-1])
    middle, edge, best = float(np.median(ranked)), float(np.percentile(ranked, 25)), float(ranked[0])
    sigma = robust_sigma(ranked) + scale
    sigmas, ahead = (middle - mine) / sigma, best - mine
    if sigmas > TOO_GOOD_SIGMAS and ahead > TOO_GOOD_NATS and ahead > TOO_GOOD_LEADS * (edge - best):
        yield Symptom(
            codes.TOO_GOOD,
            objective.metric,
            int(curves[objective.metric].steps[-1]),
            {
                "value": own,
                "best_sibling": float(others[int(np.argmin(nats[:-1]))]),
                "median_sibling": float(np.median(others)),
                "n_siblings": int(others.size),
                "sigmas": sigmas,
                "ahead_nats": ahead,
                "threshold_sigmas": TOO_GOOD_SIGMAS,
                "threshold_nats": TOO_GOOD_NATS,
            },
        )


def needs_siblings(finding: Finding) -> bool:
    """Return whether a finding by rules is one that the run's own curves alone do not show."""
    return finding.code == codes.TOO_GOOD.code or finding.evidence.get("reference") == OF_SIBLINGS


def end_value(curve: Curve) -> float | None:
    """Return the median of the last tenth of a curve, None where it is too short or not finite there."""
    tail = curve.values[-max(1, int(TAIL_SHARE * len(curve))) :] if len(curve) else curve.values
    return float(np.median(tail)) if tail.size and np.isfinite(tail).all() else None


def _better(values: Floats, direction: Direction) -> tuple[Floats, float]:
    """Return values as nats where lower is better, and the least spread that counts."""
    if direction == "maximize":
        values = 1.0 - values if values.min() >= 0 and values.max() <= 1 else -values
    if values.min() >= 0:
        middle = float(np.median(values)) or 1.0
        return np.log(values + 1e-4 * middle), 0.05
    spread = float(np.subtract(*np.percentile(values, [75, 25]))) or 1.0
    return (values - float(np.median(values))) / spread, 0.05


def oscillating(curves: Mapping[str, Curve], metric: str, objective: Objective | None) -> Symptom | None:
    """ADV112: over the second half the curve goes up and down by much, and nowhere."""
    y = _levels(curves, metric, objective)
    if y is None or y.size < MIN_POINTS_PLATEAU:
        return None
    half = y[y.size // 2 :]
    jumps = np.diff(half)
    nats = float(np.median(np.abs(jumps)))
    flips = float(np.mean(np.sign(jumps[1:]) * np.sign(jumps[:-1]) < 0))
    fell = float(np.median(half[: half.size // 2]) - np.median(half[half.size // 2 :]))
    small = float(np.median(half)) - float(y[0]) < np.log(OSCILLATION_SMALL)
    if nats <= OSCILLATION_NATS or flips <= OSCILLATION_FLIPS or fell > OSCILLATION_FALL * nats or small:
        return None
    values = curves[metric].values[y.size // 2 :]
    evidence = {
        "low": float(np.percentile(values, 25)),
        "high": float(np.percentile(values, 75)),
        "nats": nats,
        "flips": flips,
        "n": len(curves[metric]),
        "threshold_nats": OSCILLATION_NATS,
        "threshold_flips": OSCILLATION_FLIPS,
    }
    return Symptom(codes.OSCILLATING, metric, int(curves[metric].steps[y.size // 2]), evidence)


def never_learned(curves: Mapping[str, Curve], metric: str, objective: Objective | None) -> Symptom | None:
    """ADV104: no real improvement on the first value in the whole run."""
    y = _levels(curves, metric, objective)
    if y is None or y.size < MIN_POINTS_PLATEAU or float(y[0] - _smooth(y).min()) > NEVER_LEARNED_NATS:
        return None
    evidence = _figures(curves[metric], y)
    seen = (f"{evidence['start']:.4g}", f"{evidence['best']:.4g}")  # as the title gives them
    evidence |= {"extent": "never" if seen[0] == seen[1] else "hardly", "threshold_nats": NEVER_LEARNED_NATS}
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
_RULES: Sequence[Rule] = (never_learned, oscillating, overfitting, stopped_learning)


def failed(error: str | None) -> Symptom:
    """ADV111: the run says itself that it failed; information where a person ended it, or what had started it."""
    if error is not None and error.startswith(ENDED_BY_HAND):
        said, by_hand = error.splitlines()[0][:ERROR_MAX_CHARS], True
    else:
        said = _last_line(error) or "no reason was kept"
        by_hand = said.split(":")[0] == "KeyboardInterrupt"
    severity = Severity.INFO if by_hand else None
    return Symptom(codes.FAILED, None, None, {"error": said}, severity)


def said_of(run: Run) -> str | None:
    """Return why a run did not end well: its error, the last note of one that was told, what Optuna leaves."""
    told = run.source == "told" and run.state in (RunState.FAILED, RunState.CRASHED)
    of_optuna = NO_REASON_OF_OPTUNA if run.source == "optuna" and run.state is RunState.FAILED else None
    return run.error or (run.notes[-1] if told and run.notes else of_optuna)


def _last_line(error: str | None) -> str:
    lines = [line.strip() for line in (error or "").splitlines() if line.strip()]
    return lines[-1][:ERROR_MAX_CHARS] if lines else ""


def _state_symptoms(run: Run, curves: Mapping[str, Curve], now: datetime) -> Iterator[Symptom]:
    if run.state is RunState.CRASHED:
        n = sum(len(curve) for curve in curves.values())
        recorded = _last_line(said_of(run)) if run.source in ("import", "followed", "told") else ""
        how = recorded or "its process vanished without a word"
        yield Symptom(codes.CRASHED, None, None, {"n": n, "error": run.error, "how": how})
    if run.state is RunState.FAILED:
        yield failed(said_of(run))
    if run.state is RunState.RUNNING and run.started is not None and not run.meta.get(UNRECORDED_END):
        every = np.sort(np.concatenate([np.empty(0), *(c.times[np.isfinite(c.times)] for c in curves.values())]))
        if every.size:
            silent = (now - run.started).total_seconds() - float(every[-1])
            symptom = stalled(silent, np.diff(np.unique(every)))
            if symptom is not None:
                yield symptom


def _not_applicable(
    curves: Mapping[str, Curve], objective: Objective | None, siblings: Siblings | None
) -> Iterator[tuple[str, str]]:
    shape = (codes.DIVERGED, codes.SPIKE, codes.NEVER_LEARNED, codes.STOPPED_LEARNING, codes.OSCILLATING)
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
    if objective is None:
        yield codes.TOO_GOOD.code, "no objective"
    elif objective.metric not in curves:
        yield codes.TOO_GOOD.code, f"no curve of {objective.metric}, its objective" if curves else "no curves"
    elif siblings is None or len(siblings.values) < TOO_GOOD_SIBLINGS:
        why = f"fewer than {TOO_GOOD_SIBLINGS} finished siblings with a curve of {objective.metric}, its objective"
        yield codes.TOO_GOOD.code, why
    if gradient_norm(curves) is None:
        for code in (codes.EXPLODED, codes.VANISHED):
            yield code.code, "needs a curve of gradient norms, told by its name"
    seconds = step_times(curves)
    if curves and seconds.size < MIN_STEPS:
        yield codes.SLOW.code, f"fewer than {MIN_STEPS} timed steps"
    elif seconds.size and seconds.size < SLOW_SHORT_STEPS and float(np.median(seconds[:MIN_STEPS])) < SLOW_STEP_S:
        yield (
            codes.SLOW.code,
            f"steps that begin with less than {SLOW_STEP_S:g} s are judged from {SLOW_SHORT_STEPS} of them on",
        )
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
        smoothed = _smooth(np.concatenate([medians(part) for part in stretches if part.size]))
        return np.repeat(smoothed, [length + 1] * n_longer + [length] * (n_parts - n_longer))
    width = max(1, int(TAIL_SHARE * y.size) // 2 * 2 - 1)
    if width < 3:
        return y
    padded = np.pad(y, width // 2, mode="edge")
    return medians(np.lib.stride_tricks.sliding_window_view(padded, width))


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

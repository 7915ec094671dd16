"""What a metric is, guessed from its name: its role, its split, and which way is better.

A guess that cannot be made is None, and rules that need it say so; the experiment's objective is the
one direction that is known for sure and overrides the guess. Nothing here looks at values.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import Literal

from advisor.metric_names import LOSSES, SCORES, TIMES, words_of
from storage.records import Curve, Direction, Objective

Role = Literal["loss", "score", "grad", "time", "rate", "other"]
"""``loss``: lower is better. ``score``: higher is better. ``grad``: size of a gradient. ``time``: how
long something takes. ``rate``: how much is done a second. ``other``: cannot be told."""
Split = Literal["train", "validation", "unknown"]

_RATES = {"throughput", "ips", "fps"}
_STEPS = {"step", "steps", "iter", "iteration", "batch"}
_WHOLE = {"total", "accumulated", "elapsed", "cumulative"}
_TRAIN = {"train", "training", "minibatch", "batch", "fit"}
_VALIDATION = {"val", "valid", "validation", "test", "eval", "evaluation", "dev", "holdout"}


@dataclass(frozen=True, slots=True)
class MetricRole:
    """What a metric's name says about it."""

    role: Role
    split: Split
    direction: Direction | None
    """Which way is better; None where neither the name nor the objective says."""


@functools.lru_cache(maxsize=4096)
def role_of(metric: str, objective: Objective | None = None) -> MetricRole:
    """Guess what a metric is from the words in its name.

    The objective's own direction is taken as given.

    >>> role_of("val_loss")
    MetricRole(role='loss', split='validation', direction='minimize')
    >>> role_of("temperature").direction is None
    True
    """
    words = words_of(metric)
    split: Split = "validation" if words & _VALIDATION else "train" if words & _TRAIN else "unknown"
    role = _role(metric, words)
    direction: Direction | None = {"loss": "minimize", "score": "maximize"}.get(role)  # type: ignore[assignment]  # the two literals
    if objective is not None and metric == objective.metric:
        direction = objective.direction
        if role == "other":
            role = "loss" if direction == "minimize" else "score"
    return MetricRole(role, split, direction)


def measures_steps(metric: str) -> Literal["time", "rate"] | None:
    """Return whether a metric states how long one step takes or how many are done a second; None for others.

    >>> measures_steps("step_time_s"), measures_steps("throughput"), measures_steps("total_time")
    ('time', 'rate', None)
    """
    role, words = role_of(metric).role, words_of(metric)
    if role == "rate":
        return "rate"
    return "time" if role == "time" and words & _STEPS and not words & _WHOLE else None


def _role(metric: str, words: Set[str]) -> Role:
    if words & {"grad", "gradient", "gradients"}:
        return "grad"
    if words & _RATES or re.search(r"/s(ec|econd)?$", metric.lower()):
        return "rate"
    if words & TIMES:
        return "time"
    if words & LOSSES:
        return "loss"
    return "score" if words & SCORES else "other"


def primary(curves: Mapping[str, Curve], objective: Objective | None) -> str | None:
    """Return the curve that counts most: the objective's, else a validation loss, else any loss, else a score."""
    if objective is not None and objective.metric in curves:
        return objective.metric
    for role in ("loss", "score"):
        for split in ("validation", "train", "unknown"):
            found = _pick(curves, role, split, objective)
            if found is not None:
                return found
    return None


def training_loss(curves: Mapping[str, Curve], objective: Objective | None) -> str | None:
    """Return the name of the curve of the training loss, None where no name says so."""
    return _pick(curves, "loss", "train", objective) or _pick(curves, "loss", "unknown", objective)


def validation_loss(curves: Mapping[str, Curve], objective: Objective | None) -> str | None:
    """Return the name of the curve of the validation loss; the objective's where it is one."""
    if objective is not None and objective.metric in curves:
        known = role_of(objective.metric, objective)
        if known.split == "validation" and known.role == "loss":
            return objective.metric
    return _pick(curves, "loss", "validation", objective)


def second_score(curves: Mapping[str, Curve], main: str | None, objective: Objective | None) -> str | None:
    """Return the name of a validation score that is recorded beside the metric that counts most."""
    rest = {name: curve for name, curve in curves.items() if name != main}
    return _pick(rest, "score", "validation", objective)


def gradient_norm(curves: Mapping[str, Curve]) -> str | None:
    """Return the name of the curve of the gradient's size, None where no name says so."""
    found = [name for name in curves if role_of(name).role == "grad"]
    return min(found, key=lambda name: (len(name), name)) if found else None


def _pick(curves: Mapping[str, Curve], role: Role, split: Split, objective: Objective | None) -> str | None:
    found = [
        name
        for name in curves
        if (known := role_of(name, objective)).role == role and known.split == split and len(curves[name])
    ]
    # Decisions are made on validation, a test set is looked at last. Then the shortest name is the plain one:
    # "train_loss" before "minibatch_train_loss" or "train_loss_ema".
    return min(found, key=lambda name: ("test" in words_of(name), len(name), name)) if found else None

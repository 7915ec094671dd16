"""The shape of a run's curves as about twenty figures that do not depend on the scale of the loss.

Works on any beginning of a run. Leaves out step time, which has its own rule: a joint forest ignores
a fault that shows in one feature only. Invariant: a figure that the curves do not allow is NaN, never
a number that looks healthy; values that are not finite count as worse than anything seen.

Source: features of section 3 of the project's notes on training-curve anomalies, on 40 bins of
log(loss + 0.001 first loss), where a few of them are kept for levels and used relative to siblings only.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from advisor.findings.roles import gradient_norm, primary, role_of, training_loss
from storage.records import Curve, Direction, Objective

Floats = NDArray[np.float64]

N_BINS = 40
"""Points that a curve is brought to: enough to see a spike of a fortieth of the run."""
MIN_POINTS = 5
"""A shorter curve has no shape to speak of."""
BROKEN_NATS = 3.0
"""What a value that is not finite counts as: this many nats (a factor of 20) above the worst finite one."""
NEW_MINIMUM_NATS = 0.01
"""One per cent lower is a new minimum."""
_FLOOR = 1e-3
"""Share of the first loss below which differences no longer matter."""

_SHAPE = (
    "drop",
    "slope_early",
    "slope_middle",
    "slope_late",
    "roughness",
    "jump",
    "draw_up",
    "above_best",
    "plateau",
    "best_position",
    "end",
)
FEATURE_NAMES: tuple[str, ...] = (
    *(f"primary_{name}" for name in _SHAPE),
    *(f"train_{name}" for name in _SHAPE),
    "gap_end",
    "gap_trend",
    "grad_trend",
    "grad_jump",
    "nonfinite_share",
)
"""Names in the order of ``features``."""

WORDS: Mapping[str, str] = {
    "drop": "total fall (nats)",
    "slope_early": "slope in the first fifth",
    "slope_middle": "slope in the middle",
    "slope_late": "slope in the last two fifths",
    "roughness": "point-to-point noise (log)",
    "jump": "largest upward jump (log of robust sigmas)",
    "draw_up": "largest climb above the best so far (nats)",
    "above_best": "end above the best value (nats)",
    "plateau": "share of the run without a new best",
    "best_position": "position of the best value",
    "end": "value at the end (log)",
    "gap_end": "gap between validation and training loss at the end (nats)",
    "gap_trend": "growth of that gap (nats)",
    "grad_trend": "gradient norm at the end against the start (nats)",
    "grad_jump": "largest upward jump of the gradient norm (log of robust sigmas)",
    "nonfinite_share": "share of values that are not finite",
}
"""What each figure is, without the channel in front."""


def feature_words(name: str) -> str:
    """Return what a feature is in plain words.

    >>> feature_words("train_draw_up")
    'training loss: largest climb above the best so far (nats)'
    """
    for prefix, channel in (("primary_", "objective"), ("train_", "training loss")):
        if name.startswith(prefix):
            return f"{channel}: {WORDS[name.removeprefix(prefix)]}"
    return WORDS[name]


def features(curves: Mapping[str, Curve], *, objective: Objective | None) -> Floats:
    """Return the shape of a run's curves.

    Parameters
    ----------
    curves
        The run's curves by name, whole or the first part of them.
    objective
        The metric that counts most; guessed from the names when None.

    Returns
    -------
    array of shape (n_features,)
        In the order of ``FEATURE_NAMES``; NaN where the curves do not allow the figure.
    """
    main, train = primary(curves, objective), training_loss(curves, objective)
    main_y = _oriented(curves, main, objective)
    train_y = main_y if train == main else _oriented(curves, train, objective)
    grad_y = _oriented(curves, gradient_norm(curves), None, "minimize")
    return np.concatenate(
        [
            _shape(main_y),
            _shape(train_y),
            _gap(curves, main, train, objective),
            _grad(grad_y),
            [_nonfinite_share(curves, objective)],
        ]
    )


LARGEST = 1e150
"""Largest magnitude of a value that is told from larger ones."""


def oriented(values: Floats, direction: Direction) -> Floats:
    """Return values on a scale where lower is better and a difference of 0.1 means about 10 per cent.

    Positive losses become their logarithm, scores within [0, 1] the logarithm of what is missing to 1,
    anything else a multiple of its own spread. Values that are not finite stay where they are but count
    as ``BROKEN_NATS`` above the worst.
    """
    finite = np.isfinite(values)
    if not finite.any():
        return np.full(values.shape, np.nan)
    # Beyond these a double's squares and ratios overflow, and no curve's shape depends on them.
    values = np.clip(values, -LARGEST, LARGEST)
    seen = values[finite]
    if direction == "maximize":
        values, seen = (1.0 - values, 1.0 - seen) if seen.min() >= 0 and seen.max() <= 1 else (-values, -seen)
    first = abs(float(seen[0]))
    if seen.min() >= 0 and seen.max() > 0:
        # A first value of 0 says nothing about the scale: take the median of what is positive.
        scale = first if first > 0 else float(np.median(seen[seen > 0]))
        floor = max(_FLOOR * scale, 1 / LARGEST)
        out = np.log(np.where(finite, np.maximum(values, 0.0), 0.0) + floor)
    else:
        spread = float(np.subtract(*np.percentile(seen, [75, 25]))) or float(np.ptp(seen)) or first or 1.0
        out = np.arcsinh(np.where(finite, values - seen[0], 0.0) / max(spread, 1 / LARGEST))
    return np.where(finite, out, out[finite].max() + BROKEN_NATS)


def _oriented(
    curves: Mapping[str, Curve], metric: str | None, objective: Objective | None, direction: Direction | None = None
) -> Floats | None:
    if metric is None or len(curves[metric]) < MIN_POINTS:
        return None
    way = direction or role_of(metric, objective).direction
    if way is None:
        return None
    values = oriented(curves[metric].values, way)
    return None if np.isnan(values).all() else values


def _bins(values: Floats) -> Floats:
    """Return the medians of ``N_BINS`` equal stretches, or the values where there are fewer."""
    if values.size <= N_BINS:
        return values
    edges = np.linspace(0, values.size, N_BINS + 1).astype(int)
    return np.array([np.median(values[low:high]) for low, high in pairwise(edges)])


def _shape(values: Floats | None) -> Floats:
    if values is None:
        return np.full(len(_SHAPE), np.nan)
    bins = _bins(values)
    best_so_far = np.minimum.accumulate(bins)
    new_best = np.flatnonzero(bins[1:] < best_so_far[:-1] - NEW_MINIMUM_NATS)
    n_fifth, n_half = max(1, bins.size // 5), max(2, 3 * bins.size // 5)
    noise, jump = _noise(values)
    raw_best = np.minimum.accumulate(values)
    return np.array(
        [
            values[0] - bins[-1],
            _slope(bins[: n_fifth + 1]),
            _slope(bins[n_fifth : n_half + 1]),
            _slope(bins[n_half:]),
            noise,
            jump,
            float((values - raw_best).max()),
            bins[-1] - best_so_far[-1],
            1.0 - new_best.size / (bins.size - 1),
            float(np.argmin(bins)) / (bins.size - 1),
            bins[-1],
        ]
    )


def _slope(values: Floats) -> float:
    """Return the change over the stretch, by least squares."""
    if values.size < 2:
        return float("nan")
    x = np.linspace(-0.5, 0.5, values.size)
    return float(x @ (values - values.mean()) / (x @ x))


def _noise(values: Floats) -> tuple[float, float]:
    """Return (log of the noise between neighbours, log of the largest upward jump in units of it)."""
    steps = np.diff(values)
    noise = 1.4826 * float(np.median(np.abs(steps - np.median(steps)))) + 1e-4
    return float(np.log(noise)), float(np.log1p(max(float(steps.max()), 0.0) / noise))


def _gap(
    curves: Mapping[str, Curve], main: str | None, train: str | None, objective: Objective | None
) -> tuple[float, float]:
    """Return the gap between validation and training loss at the end, and its growth since the first fifth."""
    if main is None or train is None or main == train or role_of(main, objective).role != "loss":
        return float("nan"), float("nan")
    low, high = curves[train].values, curves[main].values
    if min(low.size, high.size) < MIN_POINTS:
        return float("nan"), float("nan")
    with np.errstate(all="ignore"):
        gap = _at_bins(high) - _at_bins(low)
    if not np.isfinite(gap[[7, -1]]).all():
        return float("nan"), float("nan")
    return float(gap[-1]), float(gap[-1] - gap[7])


def _at_bins(values: Floats) -> Floats:
    """Return log values at ``N_BINS`` places, NaN where they have no logarithm."""
    at = values[np.linspace(0, values.size - 1, N_BINS).astype(int)]
    return np.where(np.isfinite(at) & (at > 0), np.log(np.where(at > 0, at, 1.0)), np.nan)


def _grad(values: Floats | None) -> tuple[float, float]:
    if values is None:
        return float("nan"), float("nan")
    n = max(1, values.size // 10)
    return float(np.median(values[-n:]) - np.median(values[:n])), _noise(values)[1]


def _nonfinite_share(curves: Mapping[str, Curve], objective: Objective | None) -> float:
    """Return the largest share of values that are not finite among the curves that measure quality."""
    shares = [
        float(np.mean(~np.isfinite(curve.values)))
        for name, curve in curves.items()
        if len(curve) and role_of(name, objective).role in ("loss", "score", "grad")
    ]
    return max(shares, default=float("nan"))

"""The shape of a run's curves as figures that do not depend on the scale of the loss, channel by channel.

Works on any beginning of a run. A channel is what people look at apart: the training loss, the validation, the
gradient norm, the time of a step. Leaves out what is usual (``context``). Invariant: a figure that the curves do not
allow is NaN, never a number that looks healthy; values that are not finite count as worse than anything seen.

Figures come from 40 stretches of log(loss + 0.001 first loss); levels (start, end) say something beside siblings only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from advisor.findings.medians import medians, robust_sigma
from advisor.findings.pace import SLOW_STEP_S, step_times
from advisor.findings.roles import gradient_norm, primary, role_of, second_score, training_loss
from advisor.findings.trail import start_of
from storage.records import Curve, Direction, Objective

Floats = NDArray[np.float64]
Channel = Literal["loss", "validation", "gradient", "time"]
CHANNELS: Final[tuple[Channel, ...]] = get_args(Channel)

N_BINS = 40
"""Stretches that a curve is brought to: enough to see a spike of a fortieth of the run."""
MIN_POINTS = 5
"""A shorter curve has no shape to speak of."""
WINDOW = 4
"""Stretches before and after a place that are compared to find a step."""
BROKEN_NATS = 3.0
"""What a value that is not finite counts as: this many nats (a factor of 20) above the worst finite one."""
NEW_MINIMUM_NATS = 0.01
"""One per cent lower is a new minimum."""
_FLOOR = 1e-3
"""Share of the first loss below which differences no longer matter."""

_SHAPE: Final = {
    "start": "first value (log)",
    "end": "value at the end (log)",
    "drop": "total fall (nats)",
    "slope_early": "slope in the first fifth",
    "slope_middle": "slope in the middle",
    "slope_late": "slope in the last two fifths",
    "roughness": "point-to-point noise (log)",
    "late_roughness": "point-to-point noise late against early (nats)",
    "jump": "largest upward jump (log of robust sigmas)",
    "step_up": "largest lasting rise (nats)",
    "draw_up": "largest climb above the best so far (nats)",
    "above_best": "end above the best value (nats)",
    "plateau": "share of the run without a new best",
    "best_position": "position of the best value",
}
_GAP: Final = {
    "gap_end": "gap between validation and training loss at the end (nats)",
    "gap_trend": "growth of that gap (nats)",
    "gap_step": "largest lasting rise of that gap (nats)",
}
_BESIDE: Final = {"noise_ratio": "point-to-point noise beside the training loss's (nats)"}
_SCORE: Final = {
    "score_end": "score at the end (log of what is missing)",
    "score_best": "best score (log of what is missing)",
    "score_roughness": "noise of the score (log)",
}
_GRADIENT: Final = {
    "start": "at the start (log)",
    "end": "at the end (log)",
    "trend": "at the end against the start (nats)",
    "roughness": "point-to-point noise (log)",
    "jump": "largest upward jump (log of robust sigmas)",
    "per_loss": "at the start beside the loss (nats)",
    "tail": "largest values against the usual (nats)",
    "step_up": "largest lasting rise (nats)",
    "step_down": "largest lasting fall (nats)",
}
_TIME: Final = {
    "level": "typical seconds a step (log)",
    "trend": "late against early (nats)",
    "spread": "slow steps against typical ones (nats)",
    "step_up": "largest lasting rise (nats)",
}
_WORDS: Final[Mapping[Channel, tuple[str, Mapping[str, str]]]] = {
    "loss": ("training loss", _SHAPE | {"nonfinite": "share of values that are not finite"}),
    "validation": (
        "validation",
        _SHAPE | _GAP | _BESIDE | _SCORE | {"nonfinite": "share of values that are not finite"},
    ),
    "gradient": ("gradient norm", _GRADIENT),
    "time": ("step time", _TIME),
}
FEATURE_NAMES: Final[tuple[str, ...]] = tuple(
    f"{channel}_{name}" for channel, (_, names) in _WORDS.items() for name in names
)
"""Names in the order of ``features``."""
CHANNEL_OF: Final[tuple[Channel, ...]] = tuple(channel for channel, (_, names) in _WORDS.items() for _ in names)
"""The channel of each feature."""


def feature_words(name: str) -> str:
    """Return what a feature is in plain words.

    >>> feature_words("loss_draw_up")
    'training loss: largest climb above the best so far (nats)'
    """
    channel, _, figure = name.partition("_")
    subject, words = next(known for key, known in _WORDS.items() if key == channel)
    return f"{subject}: {words[figure]}"


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
        In the order of ``FEATURE_NAMES``; NaN where the curves do not allow the figure. Where the metric that counts
        most is the training loss itself, the channel of the validation holds nothing.
    """
    main, train = primary(curves, objective), training_loss(curves, objective)
    train = main if train is None else train
    train_y = _oriented(curves, train, objective)
    main_y = None if train == main else _oriented(curves, main, objective)
    return np.concatenate(
        [
            _shape(train_y),
            [_nonfinite(curves, train)],
            _shape(main_y),
            _gap(curves, main, train, objective),
            [np.nan if main_y is None or train_y is None else _noise(main_y)[0] - _noise(_bins(train_y))[0]],
            _score(curves, main, objective),
            [_nonfinite(curves, main) if main_y is not None else np.nan],
            _gradient(_oriented(curves, gradient_norm(curves), None, "minimize"), train_y),
            _time(step_times(curves)),
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
        scale = start_of(seen) if first > 0 else float(np.median(seen[seen > 0]))
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
    width = -(-values.size // N_BINS)
    starts = _PLACES * (values.size - width) // (N_BINS - 1)
    return medians(values[starts[:, None] + np.arange(width)])


_PLACES: Final = np.arange(N_BINS)


def _shape(values: Floats | None) -> Floats:
    if values is None:
        return np.full(len(_SHAPE), np.nan)
    bins = _bins(values)
    best_so_far = np.minimum.accumulate(bins)
    n_new_best = int((bins[1:] < best_so_far[:-1] - NEW_MINIMUM_NATS).sum())
    n_fifth, n_half = max(1, bins.size // 5), max(2, 3 * bins.size // 5)
    noise, jump = _noise(values)
    raw_best = np.minimum.accumulate(values)
    third = max(values.size // 3, 2)
    return np.array(
        [
            values[0],
            bins[-1],
            values[0] - bins[-1],
            _slope(bins[: n_fifth + 1]),
            _slope(bins[n_fifth : n_half + 1]),
            _slope(bins[n_half:]),
            noise,
            _noise(values[-third:])[0] - _noise(values[:third])[0],
            jump,
            _step(bins),
            float((values - raw_best).max()),
            bins[-1] - best_so_far[-1],
            1.0 - n_new_best / (bins.size - 1),
            float(np.argmin(bins)) / (bins.size - 1),
        ]
    )


def _slope(values: Floats) -> float:
    """Return the change over the stretch, by least squares."""
    if values.size < 2:
        return float("nan")
    n = values.size
    x = np.arange(n) - (n - 1) / 2
    return float(x @ values) / (n * (n + 1) / 12)


def _noise(values: Floats) -> tuple[float, float]:
    """Return (log of the noise between neighbours, log of the largest upward jump in units of it)."""
    steps = np.diff(values)
    if not steps.size:
        return float("nan"), float("nan")
    noise = robust_sigma(steps) + 1e-4
    return float(np.log(noise)), float(np.log1p(max(float(steps.max()), 0.0) / noise))


def _step(bins: Floats) -> float:
    """Return by how much the median of a few stretches lies above that of the few before, at most; at least 0."""
    n = min(WINDOW, bins.size // 2)
    windows = medians(bins[np.arange(bins.size - n + 1)[:, None] + np.arange(n)])
    return max(float((windows[n:] - windows[:-n]).max()), 0.0) if windows.size > n else float("nan")


def _gap(curves: Mapping[str, Curve], main: str | None, train: str | None, objective: Objective | None) -> Floats:
    """Return the gap between validation and training loss at the end, its growth, and its largest step."""
    none = np.full(len(_GAP), np.nan)
    if main is None or train is None or main == train or role_of(main, objective).role != "loss":
        return none
    low, high = curves[train].values, curves[main].values
    if min(low.size, high.size) < MIN_POINTS:
        return none
    gap = _at_bins(high) - _at_bins(low)
    gap = gap[np.isfinite(gap)]
    if gap.size < N_BINS // 2:
        return none
    return np.array([medians(gap[-3:]), medians(gap[-3:]) - medians(gap[:5]), _step(gap)])


def _at_bins(values: Floats) -> Floats:
    """Return log values at ``N_BINS`` places, medians of what lies between; NaN where they have no logarithm."""
    bins = _bins(values)
    at = bins[_PLACES * (bins.size - 1) // (N_BINS - 1)]
    good = np.isfinite(at) & (at > 0)
    return np.where(good, np.log(np.where(good, at, 1.0)), np.nan)


def _score(curves: Mapping[str, Curve], main: str | None, objective: Objective | None) -> Floats:
    """Return end, best and noise of a score that is recorded beside the metric that counts most."""
    values = _oriented(curves, second_score(curves, main, objective), objective)
    if values is None:
        return np.full(len(_SCORE), np.nan)
    bins = _bins(values)
    return np.array([medians(bins[-3:]), bins.min(), _noise(values)[0]])


def _gradient(values: Floats | None, loss: Floats | None) -> Floats:
    if values is None:
        return np.full(len(_GRADIENT), np.nan)
    n = max(1, values.size // 10)
    start, end = float(medians(values[:n])), float(medians(values[-n:]))
    bins = _bins(values)
    ordered = np.sort(values)
    middle, top = ordered[values.size // 2], ordered[int(0.99 * (values.size - 1))]
    beside = float("nan") if loss is None else start - float(medians(loss[: max(1, loss.size // 10)]))
    return np.array([start, end, end - start, *_noise(values), beside, top - middle, _step(bins), _step(-bins)])


def _time(seconds: Floats) -> Floats:
    """Return what the seconds of each step tell; nothing of few steps, or of short ones, which the machine decides."""
    if seconds.size < 4 * WINDOW or float(np.median(seconds)) < SLOW_STEP_S:
        return np.full(len(_TIME), np.nan)
    values = np.log(np.maximum(seconds, 1e-6))
    n = max(1, values.size // 5)
    ordered = np.sort(values)
    middle, slow = ordered[values.size // 2], ordered[int(0.9 * (values.size - 1))]
    return np.array([middle, medians(values[-n:]) - medians(values[:n]), slow - middle, _step(_bins(values))])


def _nonfinite(curves: Mapping[str, Curve], metric: str | None) -> float:
    if metric is None or not len(curves[metric]):
        return float("nan")
    return float(np.mean(~np.isfinite(curves[metric].values)))

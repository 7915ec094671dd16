"""The first part of training curves as numbers: what a model of their ends looks at.

Knows nothing of models. Values are turned so that higher is better, put on a log scale where finished runs differ by
a decade, and scaled by what finished runs began and ended with.

Invariant: a feature of a run rests on the first part of its own curve, on its parameters, and on runs that had
finished; never on its own end.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from advisor.references import SEED_NAMES
from advisor.suggest.infer import MAX_CHOICES
from storage.curves import mean_last
from storage.records import Curve, Objective, Run

Floats = NDArray[np.float64]

N_GRID: Final = 8
"""Points at which the first part is read, evenly spaced; more did not change the errors."""
EXPONENTS: Final = (0.25, 0.5, 1.0, 2.0)
"""Of the power laws that are tried; their ratio is what distinguishes slow from fast convergence."""
LOG_RATIO: Final = 10.0
"""Positive objectives whose finals span a decade are looked at by their logarithm, as for parameters."""
CLIP: Final = (-0.5, 1.5)
"""Scaled values beyond are cut off: a diverging start says no more than that it is bad."""
MISSING: Final = -1e6
"""Stands for a parameter that a run does not have; a tree can split it off from every value that was seen."""


def length_of(curve: Curve) -> float:
    """Return the progress at the end of a curve, at least 1: its last step counted from its first."""
    return float(curve.steps.max()) - float(curve.steps.min()) + 1.0


def first_part(curve: Curve, length: float) -> Curve:
    """Return the first ``length`` steps of a curve, at least one."""
    kept = (curve.steps - curve.steps.min()) < max(length, 1.0)
    return Curve.of(curve.metric, curve.steps[kept], curve.values[kept])


def reduced(part: Curve, reduce: str, objective: Objective) -> float | None:
    """Return the objective as a curve gives it by the experiment's ``reduce``; None without a finite value."""
    finite = part.values[np.isfinite(part.values)]
    if not finite.size:
        return None
    if reduce == "best":
        return float(finite.min() if objective.direction == "minimize" else finite.max())
    if reduce.startswith("mean-last-"):
        return mean_last(part, int(reduce.rsplit("-", 1)[1]))
    return float(finite[-1])


@dataclass(frozen=True, slots=True)
class Scale:
    """Objective values to a scale where 0 is a usual beginning and 1 the best end of finished runs."""

    sign: float
    """1 where higher is better, -1 where lower is."""
    is_log: bool
    zero: float
    """Turned value that becomes 0: the median first value, or the worst final where that is no worse than the best."""
    unit: float
    """Length of the scale in turned values, above 0."""
    floor: float
    """Smallest value whose logarithm is taken."""

    @classmethod
    def of(cls, objective: Objective, firsts: Floats, finals: Floats) -> Scale:
        """Return the scale for finished runs' first and final values, shape (n,) each, all finite."""
        sign = -1.0 if objective.direction == "minimize" else 1.0
        low, high = float(finals.min()), float(finals.max())
        is_log = low > 0 and high / low >= LOG_RATIO
        raw = cls(sign, is_log, 0.0, 1.0, low * 1e-6 if is_log else -math.inf)
        ends, begins = raw(finals), raw(firsts)
        best, zero = float(ends.max()), float(np.median(begins))
        if not zero < best:
            zero = float(ends.min())
        unit = best - zero
        if not (math.isfinite(unit) and unit > 0):
            unit = max(abs(best), 1.0)
        return cls(sign, is_log, zero, unit, raw.floor)

    def __call__(self, values: Floats) -> Floats:
        """Return values on the scale."""
        turned = self.sign * (np.log(np.maximum(values, self.floor)) if self.is_log else np.asarray(values, float))
        scaled: Floats = (turned - self.zero) / self.unit
        return scaled

    def back(self, scaled: Floats) -> Floats:
        """Return scaled values in the objective's own unit."""
        turned = self.sign * (scaled * self.unit + self.zero)
        own: Floats = np.exp(np.minimum(turned, 700.0)) if self.is_log else turned  # exp(710) overflows
        return own


def shape(part: Curve, seen: float, scale: Scale) -> Floats:
    """Return the features of a curve's first part, shape (N_GRID + 9,), on ``scale`` and cut off at its ends.

    The value at evenly spaced points; first, best and reduced value; the typical difference of neighbours; the
    gain over the last quarter and half; what the best power law expects to come, share of rising steps, and
    how early the best was.
    """
    finite = np.isfinite(part.values)
    values = np.clip(scale(part.values[finite]), *CLIP)
    times = (part.steps[finite] - part.steps[0] + 1.0) / (part.steps[-1] - part.steps[0] + 1.0)
    grid = np.interp(np.arange(1, N_GRID + 1) / N_GRID, times, values)
    differences = np.diff(values) if values.size > 1 else np.zeros(1)
    last = float(np.clip(scale(np.array([seen])), *CLIP)[0])
    best = float(values.max())
    more = [
        float(values[0]),
        best,
        last,
        float(differences.std()),
        last - float(grid[N_GRID * 3 // 4 - 1]),
        last - float(grid[N_GRID // 2 - 1]),
        extrapolated(times, values) - last,
        float((differences > 0).mean()),
        float(values.argmax()) / max(values.size - 1, 1),
    ]
    return np.array([*grid, *more])


def extrapolated(times: Floats, values: Floats) -> float:
    """Return the limit of the power law ``a + b·t^-p`` that fits best; the last value with fewer than four.

    Parameters
    ----------
    times
        Shape (T,), in (0, 1].
    values
        Shape (T,), finite. The first quarter is left out.
    """
    if values.size < 4:
        return float(values[-1])
    t, v = times[values.size // 4 :], values[values.size // 4 :]
    best_error, limit = math.inf, float(v[-1])
    for exponent in EXPONENTS:
        x = t**-exponent
        spread = x - x.mean()
        slope = float(spread @ v) / max(float(spread @ spread), 1e-12)
        level = float(v.mean() - slope * x.mean())
        error = float(((level + slope * x - v) ** 2).sum())
        if error < best_error:
            best_error, limit = error, level + slope
    return float(np.clip(limit, *CLIP))


def percentile(value: float, others: Floats) -> float:
    """Return the share of ``others`` that are lower, ties counting half; 0.5 where there is none."""
    if not others.size:
        return 0.5
    return float(((others < value).sum() + 0.5 * (others == value).sum()) / others.size)


@dataclass(frozen=True, slots=True)
class ParamColumns:
    """Parameters as columns for trees: numbers as they are, words one-hot, what varies only."""

    numbers: tuple[str, ...]
    words: tuple[tuple[str, str], ...]
    """Name and value of each indicator."""

    @classmethod
    def of(cls, runs: Sequence[Run]) -> ParamColumns:
        """Return the columns that tell ``runs`` apart; seeds, texts and nested values are left out."""
        numbers, words = [], []
        for name in sorted({name for run in runs for name in run.params}):
            if name.lower() in SEED_NAMES:
                continue
            values = [run.params.get(name) for run in runs]
            given = [value for value in values if value is not None]
            if all(_is_number(value) for value in given):
                if len({_number(value) for value in values}) > 1:
                    numbers.append(name)
            else:
                distinct = sorted({str(value) for value in given if isinstance(value, (str, bool, int, float))})
                if 1 < len(distinct) <= MAX_CHOICES:
                    words += [(name, word) for word in distinct]
        return cls(tuple(numbers), tuple(words))

    def row(self, params: Mapping[str, Any]) -> Floats:
        """Return one run's parameters, shape (columns,)."""
        numbers = [_number(params.get(name)) for name in self.numbers]
        return np.array(numbers + [float(str(params.get(name)) == word) for name, word in self.words])


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float))


def _number(value: object) -> float:
    if isinstance(value, (int, float)) and math.isfinite(value) and abs(value) < -MISSING:
        return float(value)
    return MISSING

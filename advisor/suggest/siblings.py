"""Finished runs of an experiment at one progress: what a run that has come this far is compared with.

Fits the model of curves, judges it against the plain rule on runs that neither saw, and keeps the fits that were
asked for last. Fits are keyed by what they rest on, so that a run that finishes meanwhile makes a new one.

Invariant: a forecast comes from the model unless the plain rule was better on the finished runs at hand, by more than
the standard error of that difference.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, Final

import numpy as np

from advisor.suggest.beyond import Bounds, Departure
from advisor.suggest.curve_features import CLIP, Floats, ParamColumns, Scale, first_part, percentile, reduced, shape
from advisor.suggest.curve_model import CurveModel, fit_curve_model
from storage.records import Curve, Objective, Run

MAX_RUNS: Final = 500
"""The most recent finished runs that are modelled; keeps a fit below a second."""
MARGIN: Final = 1.0
"""Standard errors of the paired difference by which the plain rule must be better to be taken instead of the model."""
MAX_SHIFT: Final = 10.0
"""Log-odds beyond which a chance of 1 in 2 becomes 1 in 22,000: more than a few hundred runs can tell."""
KEPT_FITS: Final = 32
"""Fits in memory: a run in training asks for about 20, one each 5 % of its length."""

_fits: OrderedDict[tuple[object, ...], Siblings] = OrderedDict()
_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class Cut:
    """A run of which the first part is looked at."""

    run: Run
    part: Curve
    seen: float
    """The objective as the first part gives it, finite."""


@dataclass(frozen=True, slots=True, eq=False)
class Siblings:
    """Finished runs cut at one progress, and what can be learned from them."""

    seen: Floats
    """Shape (n,): the objective by then, in its own unit."""
    finals: Floats
    """Shape (n,): the final objective, in its own unit."""
    _: KW_ONLY
    model: CurveModel | None
    """None where the plain rule was better."""
    error_of_model: float
    """Mean absolute error on unseen runs, scaled; infinite where no model could be fitted."""
    error_of_rule: float
    """The same for the last value plus the median gain of the others."""
    scale: Scale
    columns: ParamColumns
    bounds: Bounds
    shift: float
    """Added to the log-odds of a new best, so that what is foretold of the finished runs adds up to one best."""

    @property
    def best(self) -> float:
        """The best final objective, in its own unit."""
        return float(self.finals.max() if self.scale.sign > 0 else self.finals.min())

    def p_best(self, outcomes: Floats) -> float:
        """Return the chance in (0, 1) that a run with these possible ends becomes the best of all.

        The share of ends that are better than the best, moved by ``shift``. Runs that come in are exchangeable
        with those that finished or nearly so, and of these exactly one is the best: without that, crowded tops
        (runs that stop at a target) make every second run look like a new best.
        """
        share = ((self.scale.sign * outcomes > self.scale.sign * self.best).sum() + 0.5) / (outcomes.size + 1)
        return float(_expit(_logit(share) + self.shift))

    def departure(self, cut: Cut) -> Departure:
        """Return in what a run that has not ended goes beyond the finished ones."""
        return self.bounds.departure(cut.run.params, float(self.scale(np.array([cut.seen]))[0]))

    def counts_as(self, cut: Cut) -> float | None:
        """Return the value that a run is taken to have where it is further behind than the scale goes, else None."""
        is_off = self.model is not None and float(self.scale(np.array([cut.seen]))[0]) < CLIP[0]
        return float(self.scale.back(np.array([CLIP[0]]))[0]) if is_off else None

    def outcomes(self, cut: Cut) -> tuple[float, Floats]:
        """Return the centre of a run's possible final objectives, and one of them a finished run."""
        if self.model is None:
            ends = cut.seen + (self.finals - self.seen)
            return float(np.median(ends)), ends
        last = float(self.scale(np.array([cut.seen]))[0])
        row = _row(cut, self.scale, self.columns, self.bounds.lasts)
        centre, ends = self.model.outcomes(row, last, self.departure(cut))
        return float(self.scale.back(np.array([centre]))[0]), self.scale.back(ends)


def cut_at(run: Run, curve: Curve, length: float, reduce: str, objective: Objective) -> Cut | None:
    """Return a run's first ``length`` steps, None if they hold no finite value."""
    part = first_part(curve, length)
    seen = reduced(part, reduce, objective)
    return None if seen is None else Cut(run, part, seen)


def siblings_at(objective: Objective, reduce: str, cuts: Sequence[Cut]) -> Siblings:
    """Return the finished runs' fit, from memory where the same was asked for before.

    Parameters
    ----------
    cuts
        Finished runs with a finite objective, at least ``forecast.MIN_RUNS``.
    """
    cuts = cuts[-MAX_RUNS:]
    key = (objective, reduce, tuple((cut.run.id, cut.run.values[0], cut.seen, len(cut.part)) for cut in cuts))
    with _lock:
        if key in _fits:
            _fits.move_to_end(key)
            return _fits[key]
    fitted = _fit(objective, cuts)
    with _lock:
        _fits[key] = fitted
        while len(_fits) > KEPT_FITS:
            _fits.popitem(last=False)
    return fitted


def _fit(objective: Objective, cuts: Sequence[Cut]) -> Siblings:
    seen = np.array([cut.seen for cut in cuts])
    finals = np.array([cut.run.values[0] for cut in cuts])
    firsts = np.array([cut.part.values[np.isfinite(cut.part.values)][0] for cut in cuts])
    scale = Scale.of(objective, firsts, finals)
    columns = ParamColumns.of([cut.run for cut in cuts])
    lasts, ends = scale(seen), scale(finals)
    rows = np.array([_row(cut, scale, columns, np.delete(lasts, i)) for i, cut in enumerate(cuts)])
    bounds = Bounds.of([cut.run for cut in cuts], lasts)
    departures = [
        bounds.departure(cut.run.params, float(last), is_one_of_them=True)
        for cut, last in zip(cuts, lasts, strict=True)
    ]
    model = fit_curve_model(rows, lasts, ends, departures)
    rule = scale(_rule(seen, finals))
    of_model, of_rule = (np.abs(np.clip(guess, *CLIP) - np.clip(ends, *CLIP)) for guess in (model.centres, rule))
    worse_by = of_model - of_rule
    is_better = float(worse_by.mean()) <= MARGIN * float(worse_by.std(ddof=1)) / math.sqrt(worse_by.size)
    if is_better:
        shift = _shift(model.centres[:, None] + model.spreads[:, None] * model.scores, ends)
    else:
        shift = _shift(scale.sign * (seen[:, None] + (finals - seen)), scale.sign * finals)
    return Siblings(
        seen,
        finals,
        model=model if is_better else None,
        error_of_model=float(of_model.mean()),
        error_of_rule=float(of_rule.mean()),
        scale=scale,
        columns=columns,
        bounds=bounds,
        shift=shift,
    )


def _shift(possible: Floats, ends: Floats) -> float:
    """Return what to add to the log-odds of "better than all others", so that they add up to one over the runs.

    Parameters
    ----------
    possible
        Shape (n, n): possible ends of each run, one by the error of each run; its own error is left out.
    ends
        Shape (n,): what the runs came to; higher is better, in the same unit.
    """
    n = ends.size
    best_of_others = np.where(np.arange(n) == ends.argmax(), np.sort(ends)[-2], ends.max())
    better = possible > best_of_others[:, None]
    np.fill_diagonal(better, False)
    odds = _logit((better.sum(axis=1) + 0.5) / n)
    low, high = -MAX_SHIFT, MAX_SHIFT
    for _ in range(40):  # halving the range 40 times is exact to float32
        middle = (low + high) / 2
        low, high = (low, middle) if _expit(odds + middle).sum() > 1 else (middle, high)
    return (low + high) / 2


def _logit(share: Any) -> Any:
    return np.log(share / (1 - share))


def _expit(odds: Any) -> Any:
    return 1 / (1 + np.exp(-odds))


def _rule(seen: Floats, finals: Floats) -> Floats:
    """Return each run's last value plus the median gain of the others."""
    gains = finals - seen
    medians = [float(np.median(np.delete(gains, i))) for i in range(gains.size)]
    guesses: Floats = seen + np.array(medians)
    return guesses


def _row(cut: Cut, scale: Scale, columns: ParamColumns, others: Floats) -> Floats:
    """Return a run's features; ``others`` are the scaled last values that it is ranked among."""
    last = float(scale(np.array([cut.seen]))[0])
    ranked = percentile(last, others)
    return np.concatenate([shape(cut.part, cut.seen, scale), [ranked], columns.row(cut.run.params)])

"""The final objective of a run, foretold: the value type, and the forecast from the first part of a curve.

The forecast from parameters alone is in ``surrogate``, the fit to finished runs' curves in ``siblings``; scikit-learn
is loaded when one of them is fitted. Where the runs at hand cannot tell, there is no forecast but a sentence that says
so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from advisor.suggest.attainable import UNKNOWN, Range, attainable, is_last
from advisor.suggest.curve_features import length_of
from advisor.suggest.outcome import measured
from advisor.suggest.siblings import Cut, Siblings, cut_at, siblings_at
from storage.records import Curve, Experiment, Objective, Run, RunState

COVERAGE: Final = 0.8
"""How often the interval is meant to hold the final value: with 8 runs, which is the fewest, 0.78."""
MIN_RUNS: Final = 8
"""Finished runs below which nothing is foretold: the interval between the smallest and the largest of n
residuals covers (n - 1) / (n + 1), which reaches 0.78 at 8."""
MIN_POINTS: Final = 2
"""Values of a curve that has a first part; where there is one only, it is the final value itself."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """The distribution of a run's final objective, in the objective's own unit."""

    mean: float
    """Central estimate."""
    _: KW_ONLY
    low: float
    high: float
    """Ends of the central 80 % interval; ``low <= mean <= high``."""
    p_best: float | None = None
    """Probability in [0, 1] of being better than the best finished run; None where there is none."""
    is_floor: bool = False
    """Whether ``p_best`` is the least that so many runs can tell: none of the possible outcomes is a new best."""
    n_runs: int
    """Finished runs that it rests on."""
    method: str
    """``parameters``, ``curve-model`` (curves and parameters of finished runs), or ``curve`` (the plain rule)."""

    @property
    def chance(self) -> str:
        """The chance of a new best in words; empty where there is none."""
        return "" if self.p_best is None else f"{self.p_best:.0%}{' or less' if self.is_floor else ''}"

    def as_json(self) -> dict[str, Any]:
        """Return the public JSON form."""
        return {"mean": self.mean, "low": self.low, "high": self.high, "p_best": self.p_best}

    def _repr_html_(self) -> str:
        from advisor import notebook

        return notebook.forecast(self)


def from_outcomes(
    outcomes: NDArray[np.float64],
    *,
    best: float | None,
    objective: Objective,
    method: str,
    possible: Range = UNKNOWN,
) -> Forecast:
    """Return the forecast that ``n`` possible outcomes make up.

    The centre is their median; the ends of the interval are the outcomes at the places 0.1 (n + 1) from below and from
    above, at least the first, so the centre lies between them. Between two outcomes it is interpolated (definition 6 of
    R. J. Hyndman and Y. Fan, "Sample quantiles in statistical packages", 1996), since the next place outwards, which
    split-conformal prediction takes, holds 0.89 with 18 runs where 0.8 is meant.

    Parameters
    ----------
    outcomes
        Shape (n,): one possible final objective a past run.
    best
        The best objective so far.
    possible
        Least and largest value that the objective can take at all: nothing betters a best at its end.
    """
    n = outcomes.size
    ordered = np.sort(outcomes)
    place = max((n + 1) * (1 - COVERAGE) / 2, 1.0) - 1.0
    low, high = _at(ordered, place), _at(ordered, n - 1 - place)
    p_best, is_floor = None, False
    if best is not None:
        n_better = _n_better(outcomes, best, objective)
        p_best, is_floor = (n_better + 0.5) / (n + 1), n_better == 0  # never a flat 0 or 1 from a handful of runs
        if is_last(best, possible, objective):
            p_best, is_floor = 0.0, False
    return Forecast(
        float(np.clip(np.median(ordered), low, high)),
        low=low,
        high=high,
        p_best=p_best,
        is_floor=is_floor,
        n_runs=n,
        method=method,
    )


def _n_better(outcomes: NDArray[np.float64], best: float, objective: Objective) -> int:
    return int((outcomes < best).sum() if objective.direction == "minimize" else (outcomes > best).sum())


def _at(ordered: NDArray[np.float64], place: float) -> float:
    """Return the value at a place from 0, between two values in proportion; infinite ones are left alone."""
    before = int(place)
    share = place - before
    if share < 1e-9 or before + 1 >= ordered.size:
        return float(ordered[before])
    return float(ordered[before] * (1.0 - share) + ordered[before + 1] * share)


def forecast_run(
    experiment: Experiment,
    run: Run,
    curves: Mapping[str, Mapping[str, Curve]],
    siblings: Sequence[Run],
    *,
    at: float | None = None,
) -> tuple[Forecast | None, str]:
    """Forecast a run's final objective from the first part of its curve and its parameters.

    By a model of finished siblings (``curve_model``), or, where that was worse on siblings that it had not seen by
    more than the standard error, by the plain rule: the last value seen, plus the median of what siblings gained from
    there. The interval is conformal in both (J. Lei et al., "Distribution-free predictive inference for regression",
    2018).

    A finished run is compared with siblings at the same fraction of their own length, any other run with siblings at
    the same step; where fewer than ``MIN_RUNS`` came that far, at the same fraction too.

    Parameters
    ----------
    curves
        ``{run_id: {metric: curve}}`` of the run and its siblings, as ``RunStore.curves`` gives them.
    siblings
        Other runs, known when the forecast is made; only those that finished with a finite objective count.
    at
        Fraction of the training, in (0, 1], after which to forecast; None uses all that was logged. The whole
        is a finished run's own length, and for any other run the usual length of the finished siblings.
        A fraction that the run has not reached is lowered to what was logged, which the note then says.

    Returns
    -------
    tuple of (Forecast or None, str)
        The forecast, and what it rests on or why there is none.

    Raises
    ------
    ValueError
        If ``at`` is outside (0, 1].
    """
    if at is not None and not 0 < at <= 1:
        raise ValueError(f"at = {at!r} is not a fraction of the training; give a number above 0 and at most 1")
    objective = experiment.objective
    if objective is None:
        return None, f"experiment {experiment.name!r} has no objective"
    own = curves.get(run.id, {}).get(objective.metric)
    if own is None or len(own) == 0:
        if run.state.is_over:
            return None, f"the run has no curve of {objective.metric}, and a forecast begins with its first part"
        return None, f"{objective.metric} has not been logged yet"
    if run.state.is_over and len(own) < MIN_POINTS:
        return (
            None,
            f"the run has a single value of {objective.metric}: one value is no curve, so there is no first part",
        )
    others = _finished(experiment, run, curves, siblings)
    if not others and any(curves.get(other.id, {}).get(objective.metric) for other in measured(experiment, siblings)):
        what = f"the finished runs have a single value of {objective.metric} each"
        return None, f"{what}: one value is no curve, so there is no first part to compare with"
    if len(others) < MIN_RUNS:
        return None, f"not enough runs to tell: {len(others)} finished with a curve, {MIN_RUNS} are needed"
    whole, fraction, progress = _progress(run, own, others, at)
    mine = cut_at(run, own, fraction * whole, experiment.reduce, objective)
    if mine is None:
        return None, f"{objective.metric} has no finite value yet"
    if not np.isfinite(mine.part.values[-1]):
        what = f"{objective.metric} is {mine.part.values[-1]:g} at step {int(mine.part.steps[-1])}"
        return None, f"{what}; nothing is foretold of a run whose last value is not finite"
    same_step = None if run.state is RunState.FINISHED else fraction * whole
    cuts = _cuts(others, fraction, same_step, experiment.reduce, objective)
    if len(cuts) < MIN_RUNS:
        return None, f"not enough runs to tell: {len(cuts)} had a value this early, {MIN_RUNS} are needed"
    known = siblings_at(objective, experiment.reduce, cuts)
    centre, outcomes = known.outcomes(mine)
    possible = attainable(objective.metric, [mine.seen, *known.finals.tolist()])
    outcomes = np.clip(outcomes, *possible)
    method = "curve" if known.model is None else "curve-model"
    forecast = from_outcomes(outcomes, best=None, objective=objective, method=method)
    centre = min(max(centre, forecast.low), forecast.high)
    is_over = is_last(known.best, possible, objective)
    p_best = 0.0 if is_over else known.p_best(outcomes)
    is_floor = not is_over and _n_better(outcomes, known.best, objective) == 0
    forecast = replace(forecast, mean=centre, p_best=p_best, is_floor=is_floor)
    seen = f"from {objective.metric} = {mine.seen:.6g} after {progress}"
    return (
        forecast,
        f"{seen}, and how {len(cuts)} finished runs went on from there{_judged(known)}{_beyond(known, mine)}",
    )


def _judged(known: Siblings) -> str:
    """Return in words why the model or the plain rule was taken."""
    if known.model is None:
        return "; a model of curves and parameters did worse on runs left out"
    saved = known.error_of_rule - known.error_of_model
    if saved <= 0:
        return "; on runs left out the model is about as good as the plain rule"
    return f"; on runs left out the model's error is {saved / known.error_of_rule:.0%} below that of the plain rule"


def _beyond(known: Siblings, mine: Cut) -> str:
    """Return in words where the run goes beyond what it is compared with; empty where it does not."""
    told = known.departure(mine).told()
    if not told:
        return ""
    wider = "" if known.model is None else " and the interval is wider"
    instead = known.counts_as(mine)
    off = "" if instead is None else f"; it is so far off that it counts as {instead:.4g}: take this for a guess"
    return f"; {told}, so this goes beyond what was seen{wider}{off}"


def _finished(
    experiment: Experiment, run: Run, curves: Mapping[str, Mapping[str, Curve]], siblings: Sequence[Run]
) -> list[tuple[Run, Curve]]:
    """Return the other runs that may be ranked and have a curve of the objective, each with it."""
    metric = experiment.objectives[0].metric
    return [
        (other, curves[other.id][metric])
        for other in measured(experiment, siblings)
        if other.id != run.id and len(curves.get(other.id, {}).get(metric, ())) >= MIN_POINTS
    ]


def _progress(run: Run, own: Curve, others: Sequence[tuple[Run, Curve]], at: float | None) -> tuple[float, float, str]:
    """Return the length of the whole training, the fraction of it to forecast from, and that in words."""
    whole = length_of(own) if run.state is RunState.FINISHED else float(np.median([length_of(c) for _, c in others]))
    logged = min(length_of(own) / whole, 1.0)
    if at is None or at <= logged:
        fraction = logged if at is None else at
        return whole, fraction, f"{fraction:.0%} of the training"
    return whole, logged, f"{logged:.0%} of the training (no more was logged, {at:.0%} was asked for)"


def _cuts(
    others: Sequence[tuple[Run, Curve]], fraction: float, same_step: float | None, reduce: str, objective: Objective
) -> list[Cut]:
    """Return the siblings at the step that the run has come to, or after the same fraction of their own curves."""
    if same_step is not None:
        far = [(run, curve) for run, curve in others if length_of(curve) >= same_step]
        if len(far) >= MIN_RUNS:
            found = [cut_at(run, curve, same_step, reduce, objective) for run, curve in far]
            return [cut for cut in found if cut is not None]
    found = [cut_at(run, curve, fraction * length_of(curve), reduce, objective) for run, curve in others]
    return [cut for cut in found if cut is not None]

"""The final objective of a run, foretold: the value type, and the forecast from the first part of a curve.

The forecast from parameters alone is in ``surrogate``, which needs scikit-learn; nothing here does.
Where the runs at hand cannot tell, there is no forecast but a sentence that says so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from advisor.suggest.outcome import best_of, measured
from storage.records import Curve, Experiment, Objective, Run
from storage.store import mean_last

COVERAGE: Final = 0.8
"""How often the interval is meant to hold the final value."""
MIN_RUNS: Final = 8
"""Finished runs below which nothing is foretold: the interval between the smallest and the largest of n
residuals covers (n - 1) / (n + 1), which reaches 0.78 at 8."""


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
    n_runs: int
    """Finished runs that it rests on."""
    method: str
    """``parameters`` or ``curve``."""

    def as_json(self) -> dict[str, Any]:
        """Return the public JSON form."""
        return {"mean": self.mean, "low": self.low, "high": self.high, "p_best": self.p_best}


def from_outcomes(
    centre: float, lower: NDArray[np.float64], upper: NDArray[np.float64], outcomes: NDArray[np.float64], **known: Any
) -> Forecast:
    """Return the forecast that ``n`` possible outcomes make up.

    The interval's ends are the conformal quantiles: of n values the ⌊(n + 1)·0.1⌋-th smallest of ``lower`` and
    the same from above of ``upper``, the extreme ones where n is too small for that.

    Parameters
    ----------
    known
        ``n_runs``, ``method``, ``best`` (the best objective so far or None) and ``objective``.
    """
    n = lower.size
    k = max(int((n + 1) * (1 - COVERAGE) / 2 + 1e-9), 1)
    low, high = float(np.sort(lower)[k - 1]), float(np.sort(upper)[n - k])
    best, objective = known["best"], known["objective"]
    p_best = None
    if best is not None:
        n_better = int((outcomes < best).sum() if objective.direction == "minimize" else (outcomes > best).sum())
        p_best = (n_better + 0.5) / (n + 1)  # never a flat 0 or 1 from a handful of runs
    return Forecast(
        centre,
        low=min(low, centre),
        high=max(high, centre),
        p_best=p_best,
        n_runs=known["n_runs"],
        method=known["method"],
    )


def forecast_run(
    experiment: Experiment,
    run: Run,
    curves: Mapping[str, Mapping[str, Curve]],
    siblings: Sequence[Run],
    *,
    at: float | None = None,
) -> tuple[Forecast | None, str]:
    """Forecast a run's final objective from the first part of its curve.

    The last value seen, plus what finished siblings still gained from the same fraction of their own
    curves on: the median gain gives the centre, its split-conformal quantiles the 80 % interval (J. Lei et al.,
    "Distribution-free predictive inference for regression", 2018). For a single curve this is a hard
    baseline: extrapolating power laws ranks runs worse.

    Parameters
    ----------
    curves
        ``{run_id: {metric: curve}}`` of the run and its siblings, as ``RunStore.curves`` gives them.
    siblings
        Other runs of the experiment; only those that finished with a finite objective count. Give those
        that were known at the moment of the forecast.
    at
        Fraction of the training, in (0, 1], after which to forecast; None uses all that was logged.

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
        return None, f"{objective.metric} has not been logged yet"
    others = [
        (other, curves[other.id][objective.metric])
        for other in measured(experiment, siblings)
        if other.id != run.id and len(curves.get(other.id, {}).get(objective.metric, ()))
    ]
    if len(others) < MIN_RUNS:
        return None, f"not enough runs to tell: {len(others)} finished with a curve, {MIN_RUNS} are needed"
    full = float(np.median([_length(curve) for _, curve in others]))
    if run.state.is_over:
        full = max(_length(own), 1.0)
    fraction = at if at is not None else min(_length(own) / max(full, 1.0), 1.0)
    seen = _seen(own, fraction * full, experiment.reduce, objective)
    if seen is None:
        return None, f"{objective.metric} has no finite value yet"
    found = [
        (other.values[0], then)
        for other, curve in others
        if (then := _seen(curve, fraction * max(_length(curve), 1.0), experiment.reduce, objective)) is not None
    ]
    if len(found) < MIN_RUNS:
        return None, f"not enough runs to tell: {len(found)} had a value this early, {MIN_RUNS} are needed"
    gains = np.array([final - then for final, then in found])
    outcomes = seen + gains
    forecast = from_outcomes(
        seen + float(np.median(gains)),
        outcomes,
        outcomes,
        outcomes,
        n_runs=len(found),
        method="curve",
        best=best_of(objective, [final for final, _ in found]),
        objective=objective,
    )
    so_far = f"{objective.metric} = {seen:.6g} after {fraction:.0%} of the training"
    return forecast, f"from {so_far}, and how {len(found)} finished runs went on from there"


def _length(curve: Curve) -> float:
    """Return the progress at the end of a curve: its last step counted from its first, or its points."""
    spread = float(curve.steps.max() - curve.steps.min()) + 1.0
    return spread if math.isfinite(spread) else float(len(curve))


def _seen(curve: Curve, length: float, reduce: str, objective: Objective) -> float | None:
    """Return the objective as the first ``length`` steps would have given it, None without a finite value."""
    first = curve.steps.min()
    kept = (curve.steps - first) < max(length, 1.0)
    part = Curve.of(curve.metric, curve.steps[kept], curve.values[kept])
    if reduce == "best":
        return best_of(objective, part.values.tolist())
    if reduce.startswith("mean-last-"):
        return mean_last(part, int(reduce.rsplit("-", 1)[1]))
    return part.last_finite

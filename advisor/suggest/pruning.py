"""Whether a run is worth going on with: Optuna's median rule, checked by the forecast, and a reason in plain words.

The rule is computed here, without loading Optuna in the middle of a training; a test holds it against Optuna's pruner.
The median rule alone stops runs that lead late; the forecast has to agree that the run will hardly become the best.
With several objectives nothing is advised.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, Final

import numpy as np

from advisor.suggest.curve_features import length_of
from advisor.suggest.forecast import Forecast
from advisor.suggest.outcome import best_of
from storage.records import Curve, Experiment, Objective

MIN_SIBLINGS: Final = 5
"""Finished runs that must have come this far; Optuna's own default for the median rule."""
WARMUP: Final = 0.1
"""Share of the siblings' usual length during which a run is left alone: first steps say little."""
P_BEST_MAX: Final = 0.05
"""Chance of becoming the best from which on a run goes on: of those stopped, at most 1 in 20 would have."""
MARKS: Final = 10
"""Parts of a training after each of which a forecast is made; it is fitted once a part, not once a step."""


@dataclass(frozen=True, slots=True)
class StopAdvice:
    """Advice on a run that goes on. It is true in a condition if the run had better stop."""

    stop: bool
    reason: str
    """One sentence with the figures."""
    _: KW_ONLY
    step: int | None = None
    """The last step that it rests on; None where nothing was logged."""
    value: float | None = None
    """The objective's value at that step."""
    forecast: Forecast | None = None
    """What was foretold, where that was asked for."""

    def as_json(self) -> dict[str, Any]:
        """Return the body of the event ``stop.advised``."""
        foretold = self.forecast
        figures = None if foretold is None else {"mean": foretold.mean, "low": foretold.low, "high": foretold.high}
        p_best = None if foretold is None else foretold.p_best
        return {"reason": self.reason, "step": self.step, "value": self.value, "p_best": p_best, "forecast": figures}

    def __bool__(self) -> bool:
        return self.stop


def should_stop(
    experiment: Experiment,
    own: Curve | None,
    siblings: Sequence[Curve],
    *,
    forecast: Callable[[float], Forecast | None] | None = None,
) -> StopAdvice:
    """Advise whether a run should stop now.

    It should if the objective is no longer finite, or if its best value so far is worse than the median of what
    finished siblings had at the same step (Optuna's ``MedianPruner``; D. Golovin et al., "Google Vizier", 2017) and the
    forecast gives it a chance below ``P_BEST_MAX`` of becoming the best. Where no forecast can be made yet, it has to
    be worse than every sibling instead. A sibling without a value at exactly that step counts with its last one before;
    one that was not finite then counts as bad as the worst.

    Parameters
    ----------
    own
        The objective's curve so far; None if nothing was logged.
    siblings
        The objective's curves of the runs that finished.
    forecast
        Forecasts the run's end from a fraction of the training in (0, 1]; it is asked only about runs worse than the
        median, at multiples of 1 / ``MARKS``. None leaves the decision to the median rule.
    """
    if len(experiment.objectives) != 1:
        return StopAdvice(False, "stopping is advised for experiments with exactly one objective only")
    objective = experiment.objectives[0]
    if own is None or len(own) == 0:
        return StopAdvice(False, f"{objective.metric} has not been logged yet")
    step, last = int(own.steps[-1]), own.last
    if not math.isfinite(last):
        return StopAdvice(
            True, f"{objective.metric} is {last} at step {step}; it will not recover", step=step, value=last
        )
    reached = [curve for curve in siblings if len(curve) and curve.steps[-1] >= step]
    if len(reached) < MIN_SIBLINGS:
        count = f"{len(reached)} finished runs came to step {step}, {MIN_SIBLINGS} are needed"
        return StopAdvice(False, f"too few runs to compare with: {count}", step=step, value=last)
    usual = float(np.median([int(curve.steps[-1]) for curve in siblings if len(curve)]))
    warmup = math.ceil(WARMUP * usual)
    if step < warmup:
        reason = f"step {step} is too early to tell; runs are compared from step {warmup} on"
        return StopAdvice(False, reason, step=step, value=last)
    values = _values_at(objective, reached, step)
    best = best_of(objective, own.values.tolist())
    assert best is not None  # the last value is finite
    median = float(np.median(values))
    worse = best > median if objective.direction == "minimize" else best < median  # NaN, where all diverged: no
    reason = (
        f"best {objective.metric} up to step {step} is {best:.6g}, {'worse than' if worse else 'no worse than'} the "
        f"median {median:.6g} of {len(values)} finished runs at that step"
    )
    if not worse or forecast is None:
        return StopAdvice(worse, reason, step=step, value=last)
    mark = math.floor(min(length_of(own) / (usual + 1), 1.0) * MARKS + 1e-9) / MARKS
    foretold = forecast(mark) if mark > 0 else None
    if foretold is None or foretold.p_best is None:
        last_of_all = _is_worst(objective, best, values)
        reason += ", and than each of them" if last_of_all else ", but too little is known to forecast its end"
        return StopAdvice(last_of_all, reason, step=step, value=last)
    return _checked(reason, foretold, foretold.p_best, step, last)


def _is_worst(objective: Objective, best: float, values: Sequence[float]) -> bool:
    """Return whether a value is worse than every finite one of the others."""
    finite = [value for value in values if math.isfinite(value)]
    return all(best > value if objective.direction == "minimize" else best < value for value in finite)


def _checked(reason: str, foretold: Forecast, p_best: float, step: int, last: float) -> StopAdvice:
    """Return the median rule's advice to stop if the forecast agrees, else the advice to go on."""
    stop = p_best < P_BEST_MAX
    reason += (
        f", {'and' if stop else 'but'} its chance of becoming the best is {p_best:.1%} (forecast "
        f"{foretold.mean:.6g}, 80 % interval {foretold.low:.6g} to {foretold.high:.6g})"
    )
    return StopAdvice(stop, reason, step=step, value=last, forecast=foretold)


def _values_at(objective: Objective, curves: Sequence[Curve], step: int) -> list[float]:
    """Return each curve's last value up to ``step``, the worst finite one for those not finite there."""
    values = [float(curve.values[curve.steps <= step][-1]) for curve in curves if (curve.steps <= step).any()]
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return values
    worst = max(finite) if objective.direction == "minimize" else min(finite)
    return [value if math.isfinite(value) else worst for value in values]

"""Whether a run is worth going on with: Optuna's median rule, and a reason in plain words.

The rule sees only the objective's curve. With several objectives nothing is advised.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from advisor.suggest.outcome import best_of
from storage.records import Curve, Experiment, Objective

MIN_SIBLINGS: Final = 5
"""Finished runs that must have come this far; Optuna's own default for the median rule."""
WARMUP: Final = 0.1
"""Share of the siblings' usual length during which a run is left alone: first steps say little."""


@dataclass(frozen=True, slots=True)
class StopAdvice:
    """Advice on a run that goes on. It is true in a condition if the run had better stop."""

    stop: bool
    reason: str
    """One sentence with the figures."""

    def __bool__(self) -> bool:
        return self.stop


def should_stop(experiment: Experiment, run_number: int, own: Curve | None, siblings: Sequence[Curve]) -> StopAdvice:
    """Advise whether a run should stop now.

    It should if the objective is no longer finite, or if its best value so far is worse than the
    median of what finished siblings had at the same step (Optuna's ``MedianPruner``; D. Golovin et al.,
    "Google Vizier", 2017). A sibling without a value at exactly that step counts with its last one before; one
    that was not finite then counts as bad as the worst.

    Parameters
    ----------
    own
        The objective's curve so far; None if nothing was logged.
    siblings
        The objective's curves of the runs that finished.
    """
    if len(experiment.objectives) != 1:
        return StopAdvice(False, "stopping is advised for experiments with exactly one objective only")
    objective = experiment.objectives[0]
    if own is None or len(own) == 0:
        return StopAdvice(False, f"{objective.metric} has not been logged yet")
    step, last = int(own.steps[-1]), own.last
    if not math.isfinite(last):
        return StopAdvice(True, f"{objective.metric} is {last} at step {step}; it will not recover")
    reached = [curve for curve in siblings if len(curve) and curve.steps[-1] >= step]
    if len(reached) < MIN_SIBLINGS:
        count = f"{len(reached)} finished runs came to step {step}, {MIN_SIBLINGS} are needed"
        return StopAdvice(False, f"too few runs to compare with: {count}")
    warmup = math.ceil(WARMUP * float(np.median([int(curve.steps[-1]) for curve in siblings if len(curve)])))
    if step < warmup:
        return StopAdvice(False, f"step {step} is too early to tell; runs are compared from step {warmup} on")
    values = _values_at(objective, reached, step)
    best = best_of(objective, own.values.tolist())
    assert best is not None  # the last value is finite
    stop = _prunes(objective, run_number, own, best, values, step)
    median = float(np.median(values))
    verdict = "worse than" if stop else "no worse than"
    return StopAdvice(
        stop,
        f"best {objective.metric} up to step {step} is {best:.6g}, {verdict} the median {median:.6g} "
        f"of {len(values)} finished runs at that step",
    )


def _values_at(objective: Objective, curves: Sequence[Curve], step: int) -> list[float]:
    """Return each curve's last value up to ``step``, the worst finite one for those not finite there."""
    values = [float(curve.values[curve.steps <= step][-1]) for curve in curves if (curve.steps <= step).any()]
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return values
    worst = max(finite) if objective.direction == "minimize" else min(finite)
    return [value if math.isfinite(value) else worst for value in values]


def _prunes(objective: Objective, run_number: int, own: Curve, best: float, values: Sequence[float], step: int) -> bool:
    import optuna
    from optuna.trial import FrozenTrial, TrialState, create_trial

    from advisor.suggest.study import no_study_announcement

    finite = [value for value in values if math.isfinite(value)]
    if len(finite) < MIN_SIBLINGS:
        return False
    with no_study_announcement():
        study = optuna.create_study(direction=objective.direction)
    study.add_trials(
        [create_trial(state=TrialState.COMPLETE, value=value, intermediate_values={step: value}) for value in finite]
    )
    trial = FrozenTrial(
        number=run_number,
        trial_id=-1,
        state=TrialState.RUNNING,
        value=None,
        datetime_start=None,
        datetime_complete=None,
        params={},
        distributions={},
        user_attrs={},
        system_attrs={},
        # The rule needs the best value and the last step, not the whole curve.
        intermediate_values={step - 1: best, step: own.last},
    )
    return bool(optuna.pruners.MedianPruner(n_startup_trials=MIN_SIBLINGS, n_warmup_steps=0).prune(study, trial))

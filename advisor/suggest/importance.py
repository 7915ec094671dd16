"""Which parameters the objective depends on: variance decomposition of the model in ``surrogate``.

Optuna's fANOVA is not used: on 135 real trainings (DeepOBS, Fashion-MNIST) whose loss spans four decades along
the learning rate and hardly differs between optimizers, it gave the optimizer 0.83 and the learning rate 0.17.
PED-ANOVA looks at the best tenth, which is two or three runs in most experiments.

Where the runs cannot tell, there are no importances but a sentence that says so: a ranking of noise is worse
than none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Final

from advisor.suggest.space import Space
from advisor.suggest.surrogate import fit_params_model
from storage.records import Experiment, Run

MIN_RUNS: Final = 10
"""Finished runs below which nothing is said."""


@dataclass(frozen=True, slots=True)
class Importances:
    """What each parameter contributes to the differences between runs, largest first."""

    shares: Mapping[str, float]
    """Parameter → share in [0, 1]; they add up to 1."""
    _: KW_ONLY
    method: str
    """How they were found, in words."""
    n_runs: int
    """Finished runs that it rests on."""


def importances(
    experiment: Experiment, runs: Sequence[Run], space: Space, *, seed: int = 0
) -> tuple[Importances | None, str]:
    """Say which parameters mattered for the first objective, over the whole space.

    Sobol's total effects in the model of the finished runs (``surrogate.ParamsModel.total_effects``), scaled to
    add up to 1. An objective that spans a decade is taken by its logarithm.

    Returns
    -------
    tuple of (Importances or None, str)
        The importances, and what they rest on or why there are none.
    """
    if len(space) < 2:
        return None, "with fewer than two parameters there is nothing to compare"
    model, note = fit_params_model(experiment, runs, space, seed=seed)
    if model is None:
        return None, note
    if model.n_runs < MIN_RUNS:
        return None, f"not enough runs to tell: {model.n_runs} finished, {MIN_RUNS} are needed"
    effects = model.total_effects(seed=seed)
    total = sum(effects.values())
    if total <= 0:
        return None, "not enough runs to tell: the model is flat over the space"
    shares = {name: effect / total for name, effect in sorted(effects.items(), key=lambda item: -item[1])}
    return Importances(shares, method="total effects", n_runs=model.n_runs), note

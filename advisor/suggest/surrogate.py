"""A model of the objective over the search space: what parameters alone say about a run's outcome.

Sole importer of scikit-learn among the suggestions. Extremely randomised trees, grown on bootstrap samples,
so that each run is judged by the trees that never saw it.

Invariant: a model exists only if it predicts runs that it has not seen better than their mean does, by more
than the standard error of that difference.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from advisor.suggest.forecast import MIN_RUNS, Forecast, from_outcomes
from advisor.suggest.geometry import columns_of, design
from advisor.suggest.keyed import Keyed
from advisor.suggest.outcome import best_of, measured
from advisor.suggest.remembered import remembered
from advisor.suggest.space import Space
from advisor.suggest.surface import milestone
from storage.records import Experiment, Objective, Run, RunState

if TYPE_CHECKING:
    from sklearn.ensemble import ExtraTreesRegressor

N_TREES: Final = 100
"""Each run is out of bag in about 37 of them, enough for a stable mean."""
MAX_RUNS: Final = 400
"""The most recent runs that are modelled; keeps a fit below half a second."""
GROWTH: Final = 1.25
"""A forecast is made from a new forest when there are a quarter more runs."""
N_EFFECT: Final = 24
"""Values of a parameter over which its effect is averaged; repeats differ by a tenth of the effect."""
N_DRAWS: Final = 2000
"""Points of the space over which effects are averaged; repeats differ by about 0.02."""
LOG_RATIO: Final = 10.0
"""Positive objectives that span a decade are modelled by their logarithm."""


@dataclass(frozen=True, slots=True, eq=False)
class ParamsModel:
    """Trees that predict the first objective from parameters, with their errors on runs they never saw."""

    space: Space
    objective: Objective
    n_runs: int
    improvement: float
    """Share of the mean's error that the model takes away on unseen runs, in (0, 1]."""
    best: float | None
    """The best objective among the runs."""
    is_log: bool
    """Whether the logarithm of the objective is modelled."""
    _forest: ExtraTreesRegressor
    _unseen: NDArray[np.bool_]
    """Shape (n, trees): whether the tree never saw the run."""
    _errors: NDArray[np.float64]
    """Shape (n,): observed minus predicted out of bag, on the model's scale."""

    def outcomes(self, params: Mapping[str, Any]) -> NDArray[np.float64]:
        """Return the possible outcomes at one point, one a past run, shape (n,), in the objective's unit."""
        row = design(self.space, [params]).astype(np.float32)
        each = np.array([tree.tree_.predict(row).ravel()[0] for tree in self._forest.estimators_])
        found = (self._unseen @ each) / self._unseen.sum(axis=1) + self._errors
        return np.asarray(np.exp(found) if self.is_log else found)

    def improvement_on_best(self, params: Mapping[str, Any]) -> float | None:
        """Return by how much the best run is expected to be bettered, in the objective's unit; None without a best."""
        if self.best is None:
            return None
        sign = 1.0 if self.objective.direction == "maximize" else -1.0
        return float(np.maximum(sign * (self.outcomes(params) - self.best), 0.0).mean())

    def effects(self, params: Mapping[str, Any], *, seed: int = 0) -> dict[str, float]:
        """Return for each parameter what its value does: predicted objective less that with random values of it."""
        rng = np.random.default_rng(seed)
        rows = [dict(params)]
        for name, dimension in self.space.items():
            if name in params:
                rows += [{**params, name: dimension.at(float(u))} for u in rng.random(N_EFFECT)]
        matrix = design(self.space, rows).astype(np.float32)
        # Tree by tree: the forest's own predict spends ten times as long on scheduling so few rows.
        predicted = np.mean([tree.tree_.predict(matrix).ravel() for tree in self._forest.estimators_], axis=0)
        if self.is_log:
            predicted = np.exp(predicted)
        means = predicted[1:].reshape(-1, N_EFFECT).mean(axis=1)
        names = [name for name in self.space if name in params]
        return {name: float(predicted[0] - mean) for name, mean in zip(names, means, strict=True)}

    def forecast(self, params: Mapping[str, Any]) -> Forecast:
        """Forecast one point: jackknife+ after bootstrap, with signed residuals.

        For each past run, the trees that never saw it predict the point, and that run's own error is added, with
        its sign: these are the possible outcomes, and the interval leaves out a tenth of them at each end.
        It aims at 80 %; theory promises 60 % for exchangeable runs (B. Kim, C. Xu, R. F. Barber, "Predictive
        inference is free with the jackknife+-after-bootstrap", 2020; signed residuals: R. F. Barber et al.,
        "Predictive inference with the jackknife+", 2021), and runs that a sampler proposed are not quite
        exchangeable with the next. ``evals/forecast_coverage.py`` measures what comes of it.
        """
        return from_outcomes(self.outcomes(params), best=self.best, objective=self.objective, method="parameters")

    def total_effects(self, *, seed: int = 0) -> dict[str, float]:
        """Return the share of the model's variance over the space that each parameter has a part in.

        Sobol's total effect by Jansen's estimator: half the mean squared change when one parameter is drawn
        anew (A. Saltelli et al., "Variance based sensitivity analysis of model output", 2010). What
        parameters do together counts for each of them, so the shares may add up to more than 1.
        """
        rng = np.random.default_rng(seed)
        first, second = (design(self.space, _draws(self.space, rng)) for _ in range(2))
        before = self._forest.predict(first)
        variance = float(before.var()) or 1.0
        effects = {}
        for name, columns in columns_of(self.space).items():
            changed = first.copy()
            changed[:, columns] = second[:, columns]
            effects[name] = float(((self._forest.predict(changed) - before) ** 2).mean()) / (2 * variance)
        return effects


def fit_params_model(
    experiment: Experiment, runs: Sequence[Run], space: Space, *, seed: int = 0
) -> tuple[ParamsModel | None, str]:
    """Fit the model to the finished runs of an experiment.

    Runs that failed or diverged are left out: the model foretells the objective of a run that finishes.

    Returns
    -------
    tuple of (ParamsModel or None, str)
        The model, and what it rests on or why there is none: fewer than 8 finished runs, or on runs left out
        not better than predicting the mean by more than the standard error of the improvement.
    """
    objective = experiment.objective
    if objective is None:
        return None, f"experiment {experiment.name!r} has no objective"
    known = [run for run in measured(experiment, runs) if any(name in run.params for name in space)][-MAX_RUNS:]
    if len(known) < MIN_RUNS:
        return None, f"not enough runs to tell: {len(known)} finished, {MIN_RUNS} are needed"
    values = np.array([run.values[0] for run in known])
    if values.min() == values.max():
        return None, f"nothing to tell: all {len(known)} finished runs have the same {objective.metric}"
    is_log = bool(values.min() > 0 and values.max() / values.min() >= LOG_RATIO)
    target = np.log(values) if is_log else values
    forest, unseen, errors = _fit(design(space, [run.params for run in known]), target, seed)
    judged = np.asarray(unseen.any(axis=1))
    improvement, margin = _improvement(target, errors, judged)
    if not improvement > margin:  # NaN too
        return None, (
            f"not enough runs to tell: from {len(known)} finished runs the parameters predict {objective.metric} "
            "no better than its mean does, beyond the standard error"
        )
    best = best_of(objective, values.tolist())
    model = ParamsModel(space, objective, len(known), improvement, best, is_log, forest, unseen[judged], errors)
    return model, f"from {len(known)} finished runs; on runs left out its error is {improvement:.0%} below the mean's"


def kept_params_model(experiment: Experiment, runs: Sequence[Run], space: Space) -> tuple[ParamsModel | None, str]:
    """Return ``fit_params_model`` of the runs up to the last milestone of their number, fitted once.

    It is fitted anew when there are a quarter more (``surface.milestone``), so that equal runs give an equal model in
    every process; the best run is that of all of them.
    """
    places = remembered(experiment, space)
    n_values = len(experiment.objectives)
    over = (run for run in runs if run.state is RunState.FINISHED and len(run.values) == n_values)
    known = [run for run in over if not places.place(experiment, run).wrong]  # as ``measured``, looked up
    fitted = known[: milestone(len(known), exact_until=MIN_RUNS, growth=GROWTH)][-MAX_RUNS:]
    key = (experiment.objectives, tuple(map(id, fitted)), repr(space))
    model, note = _kept(Keyed(key, (experiment, tuple(fitted), space)))
    if model is not None and experiment.objective is not None:
        best = best_of(experiment.objective, [run.values[0] for run in known])
        model = replace(model, best=best)
    return model, note


@functools.lru_cache(maxsize=16)
def _kept(about: Keyed[tuple[Experiment, tuple[Run, ...], Space]]) -> tuple[ParamsModel | None, str]:
    return fit_params_model(*about.value)


def forecast_params(
    experiment: Experiment, runs: Sequence[Run], space: Space, params: Mapping[str, Any], *, seed: int = 0
) -> tuple[Forecast | None, str]:
    """Forecast the final objective of ``params``; see ``fit_params_model`` and ``ParamsModel.forecast``.

    Returns
    -------
    tuple of (Forecast or None, str)
        The forecast, and what it rests on or why there is none.
    """
    model, note = fit_params_model(experiment, runs, space, seed=seed)
    return (None if model is None else model.forecast(params)), note


def _improvement(
    target: NDArray[np.float64], errors: NDArray[np.float64], judged: NDArray[np.bool_]
) -> tuple[float, float]:
    """Return the share of the mean's absolute error that the model takes away, and its standard error.

    Both predict each judged run without it, and are compared run by run. Were they equally good, the gain would
    exceed its standard error by chance in one case of six. Where the parameters say nothing the model is worse
    than the mean, and the chance smaller: 3-4 % of sets of 10 to 30 runs.
    """
    of_mean = np.abs(target - (target.sum() - target) / (target.size - 1))[judged]
    gains = (of_mean - np.abs(errors)) / of_mean.mean()
    return float(gains.mean()), float(gains.std(ddof=1) / math.sqrt(gains.size))


def _draws(space: Space, rng: np.random.Generator) -> list[dict[str, Any]]:
    positions = rng.random((N_DRAWS, len(space)))
    return [{name: dim.at(float(u)) for (name, dim), u in zip(space.items(), row, strict=True)} for row in positions]


def _fit(
    matrix: NDArray[np.float64], target: NDArray[np.float64], seed: int
) -> tuple[ExtraTreesRegressor, NDArray[np.bool_], NDArray[np.float64]]:
    """Return the trees, which of them never saw which run, and the errors of the runs that some never saw."""
    from sklearn.ensemble import ExtraTreesRegressor

    forest = ExtraTreesRegressor(n_estimators=N_TREES, bootstrap=True, random_state=seed, n_jobs=1)
    forest.fit(matrix, target)
    unseen = np.ones((target.size, N_TREES), dtype=bool)
    for k, sample in enumerate(forest.estimators_samples_):
        unseen[sample, k] = False
    each = np.column_stack([tree.predict(matrix) for tree in forest.estimators_])
    judged = unseen.any(axis=1)
    predicted = (each * unseen).sum(axis=1)[judged] / unseen[judged].sum(axis=1)
    return forest, unseen, target[judged] - predicted

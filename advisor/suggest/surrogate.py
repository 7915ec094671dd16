"""A model of the objective over the search space: what parameters alone say about a run's outcome.

Gaussian processes with the covariance of ``kernel``: one for each fold of the runs, fitted without that fold, lengths
included, so that every run is judged by a model that has never seen it.

Invariant: a model exists only if it predicts runs that it has not seen better than their mean does, by more
than the standard error of that difference.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from advisor.suggest.attainable import Range, attainable
from advisor.suggest.encoding import Encoder
from advisor.suggest.forecast import MIN_RUNS, Forecast, from_outcomes
from advisor.suggest.kernel import Kernel, Posterior, Prior, learn
from advisor.suggest.keyed import Keyed
from advisor.suggest.outcome import best_of, measured
from advisor.suggest.remembered import remembered
from advisor.suggest.space import Space
from advisor.suggest.surface import milestone
from advisor.suggest.threads import one_thread
from storage.records import Experiment, Objective, Run, RunState

Array = NDArray[np.float64]

N_FOLDS: Final = 8
"""With fewer, models see too little of few runs; each costs one fit."""
MAX_RUNS: Final = 400
"""The most recent runs that are modelled."""
MAX_LEARNED: Final = 100
"""The most recent runs of a fold from which lengths are learned; keeps a fit below a quarter of a second."""
LENGTHS_SD: Final = 0.75
"""How far lengths may differ from the usual ones, in natural logarithms (one standard deviation)."""
NOISE: Final = 0.3
"""Centre of the prior over the noise: what the parameters leave open, of outcomes that vary by 1."""
NOISE_SD: Final = 1.0
SIGNAL_SD: Final = 0.5
EXACT_UNTIL: Final = 40
"""Finished runs up to which each new one makes a new model: the newest, near which the next one lies, teach most."""
GROWTH: Final = 1.25
"""Beyond, a forecast is made from a new model when there are a quarter more."""
N_EFFECT: Final = 24
"""Values of a parameter over which its effect is averaged; repeats differ by a tenth of the effect."""
LOG_RATIO: Final = 10.0
"""Positive objectives that span a decade are modelled by their logarithm."""


@dataclass(frozen=True, slots=True, eq=False)
class _Fit:
    """A Gaussian process of some runs."""

    posterior: Posterior
    mean: float
    spread: float
    """Standard deviation of the outcomes that it was fitted to."""

    def predict(self, columns: Array) -> Array:
        return self.mean + self.spread * self.posterior.mean(columns)


@dataclass(frozen=True, slots=True, eq=False)
class ParamsModel:
    """Gaussian processes that predict the first objective from parameters, with their errors on runs they never saw."""

    encoder: Encoder
    objective: Objective
    n_runs: int
    improvement: float
    """Share of the mean's error that the model takes away on unseen runs, in (0, 1]."""
    best: float | None
    """The best objective among the runs."""
    is_log: bool
    """Whether the logarithm of the objective is modelled."""
    _whole: _Fit
    """The model of all runs."""
    _folds: tuple[_Fit, ...]
    """The models of all runs but those of one fold."""
    _fold_of: NDArray[np.intp]
    """Shape (n,): the fold of each run."""
    _errors: Array
    """Shape (n,): observed minus predicted without the run's fold, on the model's scale."""
    _limits: tuple[float, float]
    """Least and largest outcome, beyond which nothing is predicted, on the model's scale."""
    _possible: Range
    """Least and largest value that the objective can take at all, in its unit."""

    def outcomes(self, params: Mapping[str, Any]) -> Array:
        """Return the possible outcomes at one point, one a past run, shape (n,), in the objective's unit."""
        columns = self.encoder.columns(self.encoder.coordinates([params]))
        each = np.clip([fold.predict(columns)[0] for fold in self._folds], *self._limits)
        found = each[self._fold_of] + self._errors
        return np.asarray(np.clip(np.exp(found) if self.is_log else found, *self._possible))

    def improvement_on_best(self, params: Mapping[str, Any]) -> float | None:
        """Return by how much the best run is expected to be bettered, in the objective's unit; None without a best."""
        if self.best is None:
            return None
        sign = 1.0 if self.objective.direction == "maximize" else -1.0
        return float(np.maximum(sign * (self.outcomes(params) - self.best), 0.0).mean())

    def effects(self, params: Mapping[str, Any], *, seed: int = 0) -> dict[str, float]:
        """Return for each parameter what its value does: predicted objective less that with random values of it."""
        point = self.encoder.coordinates([params])
        redrawn = self.encoder.redraw_each(np.random.default_rng(seed), point[0], N_EFFECT)
        predicted = self._whole.predict(self.encoder.columns(np.vstack([point, redrawn])))
        predicted = np.clip(predicted, *self._limits)
        if self.is_log:
            predicted = np.exp(predicted)
        means = predicted[1:].reshape(-1, N_EFFECT).mean(axis=1)
        each = zip(self.encoder.names, means, strict=True)
        return {name: float(predicted[0] - mean) for name, mean in each if name in params}

    def forecast(self, params: Mapping[str, Any]) -> Forecast:
        """Forecast one point: CV+ with signed residuals.

        For each past run, the model that never saw it predicts the point, and that run's own error is added, with
        its sign: these are the possible outcomes, and the interval leaves out a tenth of them at each end.
        It aims at 80 %; theory promises 60 % for exchangeable runs (R. F. Barber et al., "Predictive inference with
        the jackknife+", 2021), and runs that a sampler proposed are not quite exchangeable with the next.
        ``evals/forecast_coverage.py`` measures what comes of it.
        """
        return from_outcomes(
            self.outcomes(params),
            best=self.best,
            objective=self.objective,
            method="parameters",
            possible=self._possible,
        )


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
    encoder = Encoder(space)
    target = np.log(values) if is_log else values
    columns = encoder.columns(encoder.coordinates([run.params for run in known]))
    fold_of = np.random.default_rng(seed).permutation(len(known)) % N_FOLDS
    with one_thread():
        whole = _fitted(columns, target)
        folds = tuple(_fitted(columns[fold_of != k], target[fold_of != k]) for k in range(N_FOLDS))
    limits = float(target.min()), float(target.max())
    predicted, means = np.empty(target.size), np.empty(target.size)
    for k, fold in enumerate(folds):
        predicted[fold_of == k], means[fold_of == k] = np.clip(fold.predict(columns[fold_of == k]), *limits), fold.mean
    errors = target - predicted
    improvement, margin = _improvement(np.abs(target - means), np.abs(errors))
    if not improvement > margin:  # NaN too
        return None, (
            f"not enough runs to tell: from {len(known)} finished runs the parameters predict {objective.metric} "
            "no better than its mean does, beyond the standard error"
        )
    model = ParamsModel(
        encoder,
        objective,
        n_runs=len(known),
        improvement=improvement,
        best=best_of(objective, values.tolist()),
        is_log=is_log,
        _whole=whole,
        _folds=folds,
        _fold_of=fold_of,
        _errors=errors,
        _limits=limits,
        _possible=attainable(objective.metric, values.tolist()),
    )
    return model, f"from {len(known)} finished runs; on runs left out its error is {improvement:.0%} below the mean's"


def kept_params_model(experiment: Experiment, runs: Sequence[Run], space: Space) -> tuple[ParamsModel | None, str]:
    """Return ``fit_params_model`` of the runs up to the last milestone of their number, fitted once.

    Beyond ``EXACT_UNTIL`` it is fitted anew when there are a quarter more (``surface.milestone``), so that equal runs
    give an equal model in every process; the best run is that of all of them.
    """
    n_values = len(experiment.objectives)
    sound = (place.run for place in remembered(experiment, space).places(experiment, runs) if not place.wrong)
    # As ``measured``, looked up.
    known = [run for run in sound if run.state is RunState.FINISHED and len(run.values) == n_values]
    fitted = known[: milestone(len(known), exact_until=EXACT_UNTIL, growth=GROWTH)][-MAX_RUNS:]
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


def _improvement(of_mean: Array, of_model: Array) -> tuple[float, float]:
    """Return the share of the mean's absolute error that the model takes away, and its standard error.

    Both predict each run without its fold, shape (n,), and are compared run by run. Were they equally good, the gain
    would exceed its standard error by chance in one case of six. Where the parameters say nothing the model is worse
    than the mean, and the chance smaller: 1 in 40 of sets of 10 to 50 runs.
    """
    gains = (of_mean - of_model) / of_mean.mean()
    return float(gains.mean()), float(gains.std(ddof=1) / math.sqrt(gains.size))


def _fitted(columns: Array, target: Array) -> _Fit:
    mean, spread = float(target.mean()), float(target.std()) or 1.0
    scores = (target - mean) / spread
    usual = replace(Kernel.default(columns.shape[1]), noise=NOISE)
    prior = Prior(usual, lengths_sd=LENGTHS_SD, noise_sd=NOISE_SD, signal_sd=SIGNAL_SD)
    kernel = learn([(columns[-MAX_LEARNED:], scores[-MAX_LEARNED:])], prior)
    return _Fit(Posterior(kernel, columns, scores), mean, spread)

"""LightGBM's callback: a run for each training, its evaluation metrics as curves.

``lightgbm.train(params, data, valid_sets=[valid], callbacks=[advisor_callback("churn")])``

Works with ``lightgbm.train``, ``lightgbm.cv`` and the scikit-learn estimators. LightGBM tells no callback that a
training is over, so a run ends with the last planned iteration, with ``finish(model)``, with a ``with`` block, when the
next training begins, or with the program. Invariant: each value that LightGBM records is logged once, at its iteration,
as ``data set/metric``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from advisor.integrations.boosting import BoostingCallback
from advisor.integrations.common import framework
from advisor.integrations.estimators import params_of

if TYPE_CHECKING:
    from lightgbm.callback import CallbackEnv

ORDER: Final = 25
"""After LightGBM's own recorders (10 and 20), and before its early stopping (30), which keeps later ones from being
called in the iteration in which it stops."""


class AdvisorCallback(BoostingCallback):
    """What ``advisor_callback`` returns: LightGBM calls it after each iteration; see there."""

    def __init__(self, experiment: Any = None, **how: Any) -> None:
        super().__init__(experiment, **how)
        # Of the instance: where it has none of its own, LightGBM gives it one that comes first.
        self.order, self.before_iteration = ORDER, False
        self._model: Any = None
        self._best: tuple[float, int, Any] = (math.nan, 0, [])

    def __call__(self, env: CallbackEnv) -> None:
        """Log what was evaluated; end the run after the last iteration, or raise to stop the training."""
        if env.iteration == env.begin_iteration:
            self._best = (math.nan, env.iteration, [])
            self.begin(_params(env))
        self._model = env.model  # early stopping will write the best iteration into it, and nobody tells
        results = env.evaluation_result_list or []
        self.log(_values(results), step=env.iteration)
        self._remember_best(env.iteration, results, is_train=_is_train(env))
        if self.advised_stop():
            self.finish(env.model)
            raise _early_stop()(self._best[1], self._best[2] or results)
        if env.iteration == env.end_iteration - 1:
            self.finish(env.model)

    def _remember_best(self, iteration: int, results: Sequence[Any], *, is_train: Callable[[str], bool]) -> None:
        """Follow the first metric of the first data set that is not trained on, as early stopping does."""
        for name, _, value, larger_is_better, *_ in results:
            if is_train(name):
                continue
            best = self._best[0]
            if math.isnan(best) or (value > best if larger_is_better else value < best):
                self._best = (value, iteration, results)
            return

    def best_of(self, model: Any) -> dict[str, Any]:
        """Return the best iteration, from 0: what early stopping chose, else where the first validation was best."""
        model = model or self._model
        self._model = None
        value, iteration, results = self._best
        for name in ("best_iteration_", "best_iteration"):  # of an estimator; of a booster
            chosen = getattr(model, name, None)  # the boosters of cross-validation have whatever is asked for
            if isinstance(chosen, int) and chosen > 0:  # LightGBM counts it from 1
                return {"best_iteration": chosen - 1}
        return {"best_iteration": iteration, "best_score": value} if results else {}


def advisor_callback(experiment: Any = None, *, params: Any = None, prune: bool = False, **how: Any) -> AdvisorCallback:
    """Return a callback that logs trainings of LightGBM into runs, which it begins.

    Parameters
    ----------
    experiment
        Name of the experiment, or what ``Advisor.experiment`` returned.
    params
        Parameters to keep instead of those that LightGBM was given.
    prune
        Whether to stop the training when ``run.should_stop()`` advises it, by LightGBM's ``EarlyStopException``: the
        booster's ``best_iteration`` is the best one so far, and the run ends as pruned.
    how
        ``run``, ``store``, ``objective``, ``direction``, ``on_finding``, ``stop_on_error``, ``tags`` and more: see
        ``advisor.integrations.common.begin``.

    Raises
    ------
    MissingFrameworkError
        If LightGBM is not installed.

    Examples
    --------
    >>> from advisor.integrations.lightgbm import advisor_callback  # doctest: +SKIP
    >>> with advisor_callback("churn", objective="valid_0/l2") as callback:  # doctest: +SKIP
    ...     lightgbm.train(params, data, valid_sets=[valid], callbacks=[callback])
    """
    framework("lightgbm", "lightgbm")
    return AdvisorCallback(experiment, params=params, prune=prune, **how)


def _early_stop() -> Any:
    from lightgbm.callback import EarlyStopException

    return EarlyStopException


def _params(env: CallbackEnv) -> dict[str, Any]:
    """Return what LightGBM was given, and how many iterations were planned."""
    given = {name: value for name, value in params_of(env.params).items() if value is not None}
    return {**given, "num_iterations": env.end_iteration - env.begin_iteration}


def _values(results: Sequence[Any]) -> dict[str, float]:
    """Return values by ``data set/metric``; of cross-validation, the spread over the folds as well."""
    values: dict[str, float] = {}
    for name, metric, value, _, *spread in results:
        values[f"{name}/{metric}"] = float(value)
        values |= {f"{name}/{metric}_std": float(each) for each in spread if each is not None}
    return values


def _is_train(env: CallbackEnv) -> Callable[[str], bool]:
    trained_on = getattr(env.model, "_train_data_name", "train")  # a booster of cross-validation has none
    return lambda name: name == trained_on if isinstance(trained_on, str) else name == "train"

"""XGBoost's callback: a run for each training, its evaluation metrics as curves.

``xgboost.train(params, data, evals=[(valid, "validation")], callbacks=[AdvisorCallback("churn", params=params)])``

Works with ``xgboost.train``, ``xgboost.cv`` and the scikit-learn estimators. Invariant: each value of ``evals_result``
is logged once, at its iteration, as ``data set/metric``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final

from advisor.integrations.boosting import BoostingCallback
from advisor.integrations.common import framework

framework("xgboost", "xgboost")

from xgboost import collective  # noqa: E402 - what is missing is said in one sentence first
from xgboost.callback import TrainingCallback  # noqa: E402

if TYPE_CHECKING:
    from xgboost import Booster

ALIASES: Final = frozenset({"learning_rate", "min_split_loss", "reg_alpha", "reg_lambda"})
"""Second names of eta, gamma, alpha and lambda in a booster's configuration."""
NOT_CHOSEN: Final = frozenset({"generic_param", "learner_model_param", "gbtree_model_param", "hist_train_param"})
"""Parts of a booster's configuration that follow from the data or the machine."""


class AdvisorCallback(BoostingCallback, TrainingCallback):
    """Logs a training of XGBoost into a run, which it begins and ends.

    Parameters
    ----------
    experiment
        Name of the experiment, or what ``Advisor.experiment`` returned.
    params
        The parameters given to ``xgboost.train``, or the scikit-learn estimator; without them the run has those that
        the booster says of itself, defaults included.
    prune
        Whether to stop the training when ``run.should_stop()`` advises it; the run ends as pruned then.
    how
        ``run``, ``store``, ``objective``, ``direction``, ``on_finding``, ``stop_on_error``, ``tags`` and more: see
        ``advisor.integrations.common.begin``.

    Examples
    --------
    >>> from advisor.integrations.xgboost import AdvisorCallback  # doctest: +SKIP
    >>> callback = AdvisorCallback("churn", params=params, objective="validation/rmse")  # doctest: +SKIP
    >>> xgboost.train(params, data, evals=[(valid, "validation")], callbacks=[callback])  # doctest: +SKIP
    """

    TOLD_OF_END: ClassVar[bool] = True

    def before_training(self, model: Any) -> Any:
        """Begin the run; XGBoost calls this."""
        self._logged: dict[str, int] = {}
        self._history: Mapping[str, Any] = {}
        self._iteration = -1
        booster = model.cvfolds[0].bst if hasattr(model, "cvfolds") else model
        known = booster_params(booster) if self._params is None else None
        self.begin(known, rank=collective.get_rank() if collective.is_distributed() else None)
        return model

    def before_iteration(self, model: Any, epoch: int, evals_log: Mapping[str, Any]) -> bool:
        """Remember where XGBoost keeps what it evaluates; go on."""
        self._history = evals_log
        return False

    def after_iteration(self, model: Any, epoch: int, evals_log: Mapping[str, Any]) -> bool:
        """Log what was evaluated; return whether to stop."""
        self._log_new(epoch)
        stop = self.advised_stop()
        if collective.is_distributed():  # all stop or none: who goes on alone waits for ever
            stop = bool(collective.broadcast(stop, 0))
        return stop

    def after_training(self, model: Any) -> Any:
        """Log what is left, keep the best iteration and end the run."""
        # An earlier callback that stops the training keeps XGBoost from calling the later ones of that iteration.
        self._log_new(self._iteration + 1)
        self.finish(model)
        return model

    def best_of(self, model: Any) -> dict[str, Any]:
        """Return what early stopping wrote into the booster."""
        if not callable(getattr(model, "attr", None)):
            return {}
        iteration, score = model.attr("best_iteration"), model.attr("best_score")
        known: dict[str, Any] = {} if iteration is None else {"best_iteration": int(iteration)}
        return known if score is None else {**known, "best_score": float(score)}

    def _log_new(self, iteration: int) -> None:
        """Log the values that came since the last time; the newest are of this iteration."""
        values: dict[str, float] = {}
        for name, scores in _named(self._history):
            if len(scores) > self._logged.get(name, 0):
                self._logged[name] = len(scores)
                newest = scores[-1]
                mean, *spread = newest if isinstance(newest, tuple) else (newest,)  # cross-validation has both
                values[name] = float(mean)
                values |= {f"{name}_std": float(each) for each in spread}
        if values:
            self._iteration = iteration
            self.log(values, step=iteration)


def booster_params(booster: Booster) -> dict[str, Any]:
    """Return the parameters that a booster says of itself, defaults included, under XGBoost's first names for them."""
    found: dict[str, Any] = {}
    for name, value in _chosen(json.loads(booster.save_config())["learner"]):
        if name not in ALIASES and value not in ("", "()"):
            found[name] = _number(value)
    return found


def _chosen(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, part in config.items():
        if not isinstance(part, Mapping) or name in NOT_CHOSEN:
            continue
        if name.endswith("_param"):
            yield from ((key, value) for key, value in part.items() if isinstance(value, str))
        else:
            yield from _chosen(part)


def _number(text: str) -> Any:
    """Return a number as it was given: the configuration has 0.3 in single precision, 0.300000012."""
    import numpy as np

    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(str(np.float32(text)))
    except ValueError:
        return text


def _named(history: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for data, metrics in history.items():
        for metric, scores in metrics.items():
            yield f"{data}/{metric}", scores

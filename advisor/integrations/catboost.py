"""CatBoost's callback: a run for a training, its evaluation metrics as curves.

``with AdvisorCallback("churn", params=model) as callback: model.fit(X, y, eval_set=valid, callbacks=[callback])``

CatBoost tells a callback the number of the iteration and the values of the metrics, and nothing else: neither
parameters nor the beginning or the end. So the parameters are those of the model that is given, and the run ends with
the ``with`` block, with ``finish(model)``, when the next training begins, or with the program. CatBoost has no
callbacks on GPUs, nor in ``catboost.cv``. Imports no framework: CatBoost asks of a callback only ``after_iteration``.

Invariant: each value of ``evals_result_`` is logged once, at its iteration, as ``data set/metric``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from advisor.integrations.boosting import BoostingCallback


class Info(Protocol):
    """What CatBoost hands over."""

    iteration: int
    """From 1."""
    metrics: Mapping[str, Mapping[str, Sequence[float]]]
    """All values so far by data set and metric; with ``metric_period`` fewer than there were iterations."""


class AdvisorCallback(BoostingCallback):
    """Logs a training of CatBoost into a run, which it begins; leave the ``with`` block to end it.

    Parameters
    ----------
    experiment
        Name of the experiment, or what ``Advisor.experiment`` returned.
    params
        The model, or its parameters.
    prune
        Whether to stop the training when ``run.should_stop()`` advises it; the run ends as pruned then.
    how
        ``run``, ``store``, ``objective``, ``direction``, ``on_finding``, ``stop_on_error``, ``tags`` and more: see
        ``advisor.integrations.common.begin``.

    Examples
    --------
    >>> from advisor.integrations.catboost import AdvisorCallback  # doctest: +SKIP
    >>> with AdvisorCallback("churn", params=model, objective="validation/RMSE") as callback:  # doctest: +SKIP
    ...     model.fit(X, y, eval_set=valid, callbacks=[callback])
    """

    _iteration = 0

    def after_iteration(self, info: Info) -> bool:
        """Log what was evaluated; return whether to go on, as CatBoost wants to know."""
        if self._session is None or info.iteration <= self._iteration:
            self.begin()
            self._logged: dict[str, int] = {}
        self._iteration = info.iteration
        values: dict[str, float] = {}
        for data, metrics in info.metrics.items():
            for metric, scores in metrics.items():
                name = f"{data}/{metric}"
                if len(scores) > self._logged.get(name, 0):
                    self._take_restored(name, scores, info.iteration)
                    values[name] = scores[-1]
                    self._logged[name] = len(scores)
        self.log(values, step=info.iteration - 1)
        return not self.advised_stop()

    def _take_restored(self, name: str, scores: Sequence[float], iteration: int) -> None:
        """Log values that a snapshot brought back, where it is plain which iterations they are of."""
        if name not in self._logged and len(scores) == iteration:
            for step, score in enumerate(scores[:-1]):
                self.log({name: score}, step=step)

    def best_of(self, model: Any) -> dict[str, Any]:
        """Return the best iteration, from 0, where the model says it; by default of the model given at first."""
        model = self._params if model is None else model
        iteration = getattr(model, "best_iteration_", None)
        return {} if iteration is None else {"best_iteration": int(iteration)}

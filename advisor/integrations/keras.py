"""Keras 3: a callback of ``fit``, whatever the backend.

``model.fit(…, callbacks=[AdvisorCallback("digits", objective="val_loss")])``. Metrics are called as Keras calls them.
Leaves out the model's file. Invariant: each call of ``fit`` is a run, and an epoch's values have the epoch as step.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from advisor.errors import ConfigError
from advisor.integrations.checking import tried
from advisor.integrations.common import Session, agreed, begin, flat, framework, trains_now
from advisor.integrations.session import HoldsSession
from advisor.tracking.run import as_float
from storage.records import Finding

if TYPE_CHECKING:
    from advisor.tracking.run import LiveRun

_keras: Any = framework("keras", "keras")

NO_END: Final = "Keras never said that the training had ended, so an exception ended it"


class AdvisorCallback(HoldsSession, _keras.callbacks.Callback):  # type: ignore[misc]  # without the framework, of no known type
    """Logs ``fit`` into a run.

    The run begins with ``fit`` and is ended half a minute after it, at the next training or at the program's end, so
    that ``evaluate(…, callbacks=[callback])`` after it belongs to it. Keras does not tell callbacks of an exception: a
    run whose ``fit`` raised is failed when the program ends or the thread trains again; used as a context manager
    around ``fit``, the callback fails it at once and keeps the traceback.

    Parameters
    ----------
    experiment
        By name, or as ``advisor.open(…).experiment(…)`` returned it.
    run
        A run that goes on already; whoever began it ends it. So several calls of ``fit`` are one run.
    params
        Parameters beyond what the model and its optimizer say.
    every_batches
        Log each n-th batch, too, as ``batch/loss`` and so on, with the number of the batch as step; never where None.
        Keras gives means over the epoch so far.
    resumed_from
        Id of the run that this one goes on from; that a training resumes is known by ``initial_epoch``.
    prune
        Whether to stop the training when ``run.should_stop()`` says so; the run ends as pruned.
    stop_on_error
        Whether to stop it once there is a finding of severity error, NaN for one; the run ends as failed.
    checks
        Whether to look at each epoch's end at how much of the model is trained, and whether the optimizer goes on.
    on_finding
        Called once with each finding; by default it is a warning in the log.
    options
        Anything else that ``advisor.integrations.common.begin`` takes: ``store``, ``objective``, ``tags``, …

    Examples
    --------
    >>> model.fit(x, y, epochs=3, callbacks=[AdvisorCallback("digits", objective="val_loss")])  # doctest: +SKIP
    """

    def __init__(
        self,
        experiment: Any = None,
        *,
        run: LiveRun | None = None,
        params: Mapping[str, Any] | None = None,
        every_batches: int | None = None,
        resumed_from: str | None = None,
        prune: bool = False,
        stop_on_error: bool = False,
        checks: bool = False,
        on_finding: Callable[[Finding], object] | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        self._experiment = experiment
        self._options = {"run": run, "params": params, "on_finding": on_finding, **options}
        self._options["stop_on_error"] = stop_on_error
        self._every, self._resumed_from = every_batches, resumed_from
        self._prune, self._stops, self._wants_checks = prune, prune or stop_on_error, checks
        self._session: Session | None = None
        self._fitting = self._first = False
        self._epoch = self._n_batches = 0

    def __enter__(self) -> AdvisorCallback:
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if self._session is not None:
            self._session.end(error)

    def finish(self) -> None:
        """End the run now."""
        if self._session is not None:
            self._session.finish()

    # -- what Keras calls

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Begin a run.

        Raises
        ------
        ConfigError
            If ``fit`` was given another callback of this kind.
        """
        if trains_now(self.params):
            raise ConfigError("this call of fit has two AdvisorCallbacks, and each would begin a run; give one")
        config = flat({"epochs": self.params.get("epochs"), **_optimizer(self.model), **_model(self.model)})
        self._session = session = begin(self._experiment, config=config, **self._options)
        session.unguarded(NO_END, training=self.params)
        whole = _config(self.model)
        if whole and not session.run.state.is_over:
            session.run.set_attribute("model_config", flat(whole))
        self._fitting = self._first = True
        self._n_batches = 0
        if self._wants_checks:
            tried(session.run.checks().model, self.model)

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Say where the training goes on from, where its first epoch is not the first one."""
        self._epoch = epoch
        if self._first and self._session is not None:
            self._first = False
            if epoch > 0 or self._resumed_from is not None:
                self._session.resumed(self._resumed_from, epoch)
                self._n_batches = epoch * int(self.params.get("steps") or 0)

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Log the batch, where that is asked for."""
        number, self._n_batches = self._n_batches, self._n_batches + 1
        if self._every and number % self._every == 0 and self._session is not None:
            self._session.log({f"batch/{name}": value for name, value in (logs or {}).items()}, step=number)
            self._ask(prune=False)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Log the epoch's values and the learning rate, and ask for advice."""
        if self._session is None:
            return
        values = {**_learning_rate(self.model), **(logs or {})}
        self._session.log(values, step=epoch)
        if self._wants_checks:
            checks = self._session.run.checks()
            tried(checks.epoch_end, self.model)
            tried(checks.optimizer, self.model.optimizer)
        self._ask(prune=self._prune)

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """Let the run end."""
        self._fitting = False
        if self._session is not None:
            self._session.linger()

    def on_test_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Keep the run open for an evaluation after ``fit``."""
        if self._session is not None and not self._fitting:
            self._session.stay()

    def on_test_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """Log an evaluation after ``fit`` as ``test_loss`` and so on."""
        if self._session is not None and not self._fitting:
            self._session.log({f"test_{name}": value for name, value in (logs or {}).items()}, step=self._epoch)
            self._session.linger()

    def _ask(self, *, prune: bool) -> None:
        if self._session is not None and self._stops and agreed(self._session.should_stop(advice=prune)):
            self.model.stop_training = True


def _optimizer(model: Any) -> dict[str, Any]:
    optimizer = getattr(model, "optimizer", None)
    if optimizer is None:
        return {}
    known = {"name": type(optimizer).__name__, **optimizer.get_config()}
    known["name"] = type(optimizer).__name__
    schedule = known.get("learning_rate")
    if isinstance(schedule, Mapping):  # a schedule: its class, and what that was made with
        known["learning_rate"] = {"schedule": schedule.get("class_name"), **dict(schedule.get("config") or {})}
    loss = getattr(model, "loss", None)
    named = getattr(loss, "name", None) or getattr(loss, "__name__", None) or loss
    return {"optimizer": {k: v for k, v in known.items() if v is not None}, "loss": named}


def _model(model: Any) -> dict[str, Any]:
    known: dict[str, Any] = {"class": type(model).__name__, "n_layers": len(model.layers)}
    known["layers"] = ", ".join(type(layer).__name__ for layer in model.layers)
    if model.built:
        known["n_parameters"] = model.count_params()
        known["n_trainable"] = sum(math.prod(weight.shape) for weight in model.trainable_weights)
    return {"model": known}


def _config(model: Any) -> Mapping[str, Any]:
    try:
        given = model.get_config()
    except NotImplementedError:  # a subclass of Model need not say what it is made of
        return {}
    return given if isinstance(given, Mapping) else {}


def _learning_rate(model: Any) -> dict[str, float]:
    rate = getattr(getattr(model, "optimizer", None), "learning_rate", None)
    if rate is None:
        return {}
    return {"learning_rate": as_float(getattr(rate, "value", rate))}

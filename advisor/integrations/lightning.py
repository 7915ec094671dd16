"""PyTorch Lightning: a logger for the curves, and a callback for what a logger does not see.

``Trainer(logger=AdvisorLogger("digits"), callbacks=[AdvisorPruning()])``; with ``lightning`` as with
``pytorch_lightning``. Leaves out checkpoints' files. Invariant: one logger is one run.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from advisor.integrations.checking import inputs_and_labels, tried
from advisor.integrations.common import Session, agreed, begin, flat, framework
from storage.records import Finding

if TYPE_CHECKING:
    from argparse import Namespace

    from advisor.findings.state import Checks
    from advisor.tracking.run import LiveRun

_pl: Any = framework("lightning", "lightning.pytorch", "pytorch_lightning")
_loggers: Any = framework("lightning", f"{_pl.__name__}.loggers")
_rank_zero_only: Any = framework("lightning", f"{_pl.__name__}.utilities").rank_zero_only

log = logging.getLogger(__name__)

IN_CHECKPOINT: Final = "advisor"
"""Key of a checkpoint under which the callback keeps the run's id."""


class AdvisorLogger(_loggers.Logger):  # type: ignore[misc]  # of whichever Lightning is installed
    """Logs the metrics and hyperparameters of a Lightning training into a run.

    The run begins when the training is set up. It is ended half a minute after ``fit``, at the next training or at the
    program's end, so that ``trainer.test`` after ``fit`` belongs to it; an exception ends it as failed at once. To say
    when it ends, use the logger as a context manager, or call ``finish``.

    Parameters
    ----------
    experiment
        By name, or as ``advisor.open(…).experiment(…)`` returned it.
    run
        A run that goes on already; whoever began it ends it.
    params
        Parameters beyond what ``save_hyperparameters`` gives.
    on_finding
        Called once with each finding; by default it is a warning in the log.
    options
        Anything else that ``advisor.integrations.common.begin`` takes: ``store``, ``objective``, ``tags``, …

    Examples
    --------
    >>> Trainer(logger=AdvisorLogger("digits", objective="val_loss"))  # doctest: +SKIP
    """

    def __init__(
        self,
        experiment: Any = None,
        *,
        run: LiveRun | None = None,
        params: Mapping[str, Any] | None = None,
        on_finding: Callable[[Finding], object] | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        self._options = {"run": run, "params": params, "on_finding": on_finding, **options}
        self._experiment = experiment
        self._session: Session | None = None

    @property
    def session(self) -> Session:
        """The run as the callbacks hold it; begun when it is first asked for."""
        if self._session is None:
            rank = getattr(_rank_zero_only, "rank", None)
            self._session = begin(self._experiment, **{"rank": rank, **self._options})
        self._session.stay()
        return self._session

    @property
    def experiment(self) -> LiveRun:
        """The run; in other processes than the first one that takes everything and does nothing."""
        return self.session.run

    @property
    def name(self) -> str:
        """Name of the experiment."""
        if self._session is not None:
            return self._session.run.experiment
        return str(getattr(self._experiment, "name", self._experiment) or "default")

    @property
    def version(self) -> str | None:
        """Id of the run, None before it begins."""
        return self._session.run.id if self._session is not None else None

    @property
    def findings(self) -> list[Finding]:
        """What was found wrong so far."""
        return [] if self._session is None else self._session.findings

    def log_hyperparams(self, params: Mapping[str, Any] | Namespace | None = None, *args: Any, **more: Any) -> None:
        """Add parameters; nested ones get names with dots."""
        self.session.add_params(flat({**flat(params or {}), **more}))

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log values at a step; what is no number is left out."""
        self.session.log(metrics, step=step)

    def finalize(self, status: str) -> None:
        """Hear from the trainer that it is done: ``success``, ``failed`` or ``finished``."""
        if self._session is None:
            return
        if status == "failed":
            self._session.fail(sys.exception() or "Lightning ended the training as failed")
        elif status == "success":
            self._session.linger()
        else:
            self._session.finish()

    def finish(self) -> None:
        """End the run now."""
        if self._session is not None:
            self._session.finish()

    def __enter__(self) -> AdvisorLogger:
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if self._session is not None:
            self._session.end(error)

    def __getstate__(self) -> dict[str, Any]:
        """Leave the run behind when the logger is sent to another process, which begins its own."""
        return {**self.__dict__, "_session": None}


class AdvisorCallback(_pl.Callback):  # type: ignore[misc]
    """Sees what a logger does not: checkpoints, exceptions, and where asked for the state of model and data.

    Needs an ``AdvisorLogger`` in the trainer. Keeps the run's id in each checkpoint, so that a training that resumes
    from it says in its own run where it goes on from.

    Parameters
    ----------
    prune
        Whether to stop the training when ``run.should_stop()`` says so; the run ends as pruned.
    stop_on_error
        Whether to stop it once there is a finding of severity error, NaN for one; the run ends as failed.
    checks
        Whether to make the state checks of docs/findings.md: modes, trained share, optimizer, order and labels of data.
    """

    def __init__(self, *, prune: bool = False, stop_on_error: bool = False, checks: bool = False) -> None:
        super().__init__()
        self._prune, self._stop_on_error, self._checks = prune, stop_on_error, checks
        self._session: Session | None = None
        self._from_checkpoint: Mapping[str, Any] | None = None

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Find the logger."""
        found = [one for one in trainer.loggers if isinstance(one, AdvisorLogger)]
        self._session = found[0].session if found else None
        if self._session is not None:
            self._session.stop_on_error |= self._stop_on_error
        elif not trainer.fast_dev_run:
            log.warning("there is no AdvisorLogger in this trainer, so %s does nothing", type(self).__name__)

    # -- stopping

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """Ask for advice once the validation's metrics are logged."""
        if not trainer.sanity_checking:
            self._ask(trainer)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Ask for advice, and compare the epoch with the one before."""
        checks = self._run_checks()
        if checks is not None:
            tried(checks.epoch_end, pl_module)
            for optimizer in trainer.optimizers[:1]:
                tried(checks.optimizer, optimizer)
        self._ask(trainer)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *args: Any, **more: Any) -> None:
        """Stop at once after an error, where that is asked for."""
        if self._stop_on_error and not trainer.should_stop:
            self._ask(trainer, prune=False)

    def _ask(self, trainer: Any, *, prune: bool = True) -> None:
        if self._session is None or not (self._prune or self._stop_on_error):
            return
        stop = self._session.should_stop(advice=prune and self._prune)
        if agreed(stop):
            trainer.should_stop = True

    # -- checkpoints

    def on_save_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Keep the run's id in the checkpoint."""
        if self._session is None or not self._session.run.id:
            return
        checks = self._run_checks()
        optimizer = tried(checks.optimizer, trainer.optimizers[0]) if checks and trainer.optimizers else None
        checkpoint[IN_CHECKPOINT] = {"run_id": self._session.run.id, "optimizer": optimizer}

    def on_load_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Remember which run the checkpoint is of."""
        self._from_checkpoint = checkpoint.get(IN_CHECKPOINT) or {}

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Say where the training goes on from, and look at the model."""
        if self._session is None:
            return
        checks, before = self._run_checks(), self._from_checkpoint
        if before is not None and trainer.global_step > 0:
            self._session.resumed(before.get("run_id"), trainer.global_step)
        if checks is not None:
            for optimizer in trainer.optimizers[:1]:
                tried(checks.model, pl_module, optimizer if len(trainer.optimizers) == 1 else None)
                tried(checks.optimizer, optimizer, before=(before or {}).get("optimizer"))

    # -- state

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Look at the batch, and at the model's mode where an epoch begins."""
        checks = self._run_checks()
        if checks is not None:
            if batch_idx == 0:
                tried(checks.before_train, pl_module)
            tried(checks.batch, *inputs_and_labels(batch))

    def on_validation_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Look at the model's mode where a validation begins."""
        checks = self._run_checks()
        if checks is not None and batch_idx == 0 and not trainer.sanity_checking:
            tried(checks.before_eval, pl_module)

    def _run_checks(self) -> Checks | None:
        return self._session.run.checks() if self._checks and self._session is not None else None


class AdvisorPruning(AdvisorCallback):
    """Stops a training that has hardly a chance of becoming the best, by ``run.should_stop()``.

    Everything else is as in ``AdvisorCallback``.
    """

    def __init__(self, *, prune: bool = True, stop_on_error: bool = False, checks: bool = False) -> None:
        super().__init__(prune=prune, stop_on_error=stop_on_error, checks=checks)

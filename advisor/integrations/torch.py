"""Plain PyTorch: a loop that logs gradient norm and learning rate, and looks at the state of model and data.

``with track("digits", model=model, optimizer=optimizer, loader=loader) as run: for epoch in run.epochs(30): …``.
Leaves out the training itself: nothing is stepped, moved or cast. Invariant: a step is one ``optimizer.step()``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from advisor.integrations.checking import inputs_and_labels, tried
from advisor.integrations.common import Session, agreed, begin, flat, framework
from storage.records import Finding

if TYPE_CHECKING:
    from advisor.findings.state import Checks
    from advisor.tracking.run import LiveRun

_torch: Any = framework("torch", "torch")


class TrackedLoop:
    """A training loop and its run; made by ``track``.

    Attributes
    ----------
    step
        Steps that the optimizer has made, those before a resumption included.
    epoch
        Number of the epoch that goes on, from 0.
    """

    def __init__(
        self,
        session: Session,
        *,
        model: Any = None,
        optimizer: Any = None,
        loader: Any = None,
        every: int = 1,
        prune: bool = False,
        checks: bool = True,
        resume: Mapping[str, Any] | None = None,
    ) -> None:
        self._session = session
        self._model, self._optimizer, self._loader, self._every = model, optimizer, loader, every
        self._prune, self._stops = prune, prune or session.stop_on_error
        self._checks: Checks | None = session.run.checks() if checks else None
        before = dict(resume or {})
        self.step, self.epoch = int(before.get("step", 0)), int(before.get("epoch", 0))
        if resume is not None:
            session.resumed(before.get("run_id"), self.step)
        self._stepped = False
        self._hooks: list[Any] = []
        if optimizer is not None:
            self._hooks = [
                optimizer.register_step_pre_hook(self._before_step),
                optimizer.register_step_post_hook(self._after_step),
            ]
        self._check("optimizer", optimizer, before=before.get("optimizer"))
        if model is not None and self._checks is not None:
            tried(self._checks.model, model, optimizer)

    @property
    def run(self) -> LiveRun:
        """The run, for notes, tags, files and data."""
        return self._session.run

    @property
    def findings(self) -> list[Finding]:
        """What was found wrong so far."""
        return self._session.findings

    def epochs(self, n: int) -> Iterator[int]:
        """Yield the numbers of the epochs up to ``n``, from where the training goes on; fewer where it is to stop."""
        for epoch in range(self.epoch, n):
            self.epoch, self._stepped = epoch, False
            yield epoch
            self.epoch = epoch + 1
            if self._checks is not None:
                tried(self._checks.epoch_end, self._model)
            self._check("optimizer", self._optimizer)
            self._session.tell_findings()
            if self.should_stop():
                return

    def batches(self, loader: Any = None) -> Iterator[Any]:
        """Yield the batches of a loader, by default the one that ``track`` was given, and look at each."""
        for batch in self._loader if loader is None else loader:
            if self._checks is not None:
                tried(self._checks.batch, *inputs_and_labels(batch))
            yield batch

    def log(self, metrics: Mapping[str, Any] | None = None, *, step: int | None = None, **more: Any) -> None:
        """Log values, by default at the number of steps that the optimizer has made."""
        self._session.log({**(metrics or {}), **more}, step=self.step if step is None else step)

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Have the model in evaluation mode and without gradients, and as it was afterwards."""
        trained = self._model.training
        self._model.eval()
        try:
            with _torch.no_grad():
                yield
        finally:
            self._model.train(trained)

    def should_stop(self) -> bool:
        """Return whether to stop: by the run's advice or after an error, where ``track`` was told so."""
        return self._stops and agreed(self._session.should_stop(advice=self._prune))

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint has to keep, so that ``track(…, resume=…)`` goes on from there; plain values."""
        told = tried(self._checks.optimizer, self._optimizer) if self._checks and self._optimizer else None
        return {"run_id": self.run.id, "step": self.step, "epoch": self.epoch, "optimizer": told}

    def close(self) -> None:
        """Take the hooks off the optimizer."""
        while self._hooks:
            self._hooks.pop().remove()

    # -- inner workings

    def _before_step(self, optimizer: Any, *_: Any) -> None:
        if self._checks is not None and self._model is not None and not self._stepped:
            tried(self._checks.before_train, self._model)
        self._stepped = True
        if self.step % self._every:
            return
        gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        values = {"lr": optimizer.param_groups[0]["lr"]}
        if gradients:
            values["grad_norm"] = _torch.nn.utils.get_total_norm(gradients)
        self._session.log(values, step=self.step)

    def _after_step(self, *_: Any) -> None:
        self.step += 1

    def _check(self, name: str, subject: Any, **more: Any) -> None:
        if self._checks is not None and subject is not None:
            tried(getattr(self._checks, name), subject, **more)


@contextmanager
def track(
    experiment: Any = None,
    *,
    params: Mapping[str, Any] | None = None,
    model: Any = None,
    optimizer: Any = None,
    loader: Any = None,
    every: int = 1,
    prune: bool = False,
    stop_on_error: bool = False,
    checks: bool = True,
    resume: Mapping[str, Any] | None = None,
    on_finding: Callable[[Finding], object] | None = None,
    **options: Any,
) -> Iterator[TrackedLoop]:
    """Track a training loop; an exception fails the run and keeps its traceback.

    Parameters
    ----------
    experiment
        By name, or as ``advisor.open(…).experiment(…)`` returned it.
    params
        Parameters beyond what model, optimizer and loader say.
    model, optimizer, loader
        What is trained. Each may be None; then what needs it is left out.
    every
        Log ``grad_norm``, the 2-norm of all gradients, and ``lr`` before each n-th step of the optimizer.
    prune
        Whether ``epochs`` stops when ``run.should_stop()`` says so; the run ends as pruned.
    stop_on_error
        Whether it stops once there is a finding of severity error, NaN for one; the run ends as failed.
    checks
        Whether to make the state checks of docs/findings.md.
    resume
        What ``state_dict`` of an earlier process's loop returned; load model and optimizer before.
    on_finding
        Called once with each finding; by default it is a warning in the log.
    options
        Anything else that ``advisor.integrations.common.begin`` takes: ``run``, ``store``, ``objective``, ``tags``, …

    Examples
    --------
    >>> with track("digits", model=model, optimizer=optimizer, loader=loader) as run:  # doctest: +SKIP
    ...     for epoch in run.epochs(30):
    ...         for x, y in run.batches():
    ...             loss = criterion(model(x), y)
    ...             optimizer.zero_grad(); loss.backward(); optimizer.step()
    ...             run.log(train_loss=loss)
    """
    session = begin(
        experiment,
        params=params,
        config=_config(model, optimizer, loader),
        on_finding=on_finding,
        stop_on_error=stop_on_error,
        **options,
    )
    loop = TrackedLoop(
        session,
        model=model,
        optimizer=optimizer,
        loader=loader,
        every=every,
        prune=prune,
        checks=checks,
        resume=resume,
    )
    try:
        yield loop
    except BaseException as error:
        session.end(error)
        raise
    finally:
        loop.close()
    session.finish()


def _config(model: Any, optimizer: Any, loader: Any) -> dict[str, Any]:
    known: dict[str, Any] = {}
    if optimizer is not None:
        group = {name: value for name, value in optimizer.param_groups[0].items() if name in optimizer.defaults}
        known["optimizer"] = {"name": type(optimizer).__name__, **{k: v for k, v in group.items() if v is not None}}
    if model is not None:
        sizes = [(parameter.numel(), parameter.requires_grad) for parameter in model.parameters()]
        n_trainable = sum(n for n, trained in sizes if trained)
        known["model"] = {"class": type(model).__name__, "n_parameters": sum(n for n, _ in sizes)}
        known["model"]["n_trainable"] = n_trainable
    if getattr(loader, "batch_size", None) is not None:
        known["batch_size"] = loader.batch_size
    return flat(known)

"""``advisor.init``, ``log`` and ``finish``: the shape that people know, one run at a time in a process.

The same as ``open → experiment → start → log → finish``; whoever wants more than one run at a time uses that.
Called as ``wandb.init`` is, with ``project=``, ``config=`` and the like, or with no experiment at all, ``init`` gives a
run that scripts written for W&B can use: ``import advisor as wandb`` (``advisor.compat.wandb`` has its other names).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from advisor.compat import current
from advisor.tracking.attached import attach
from advisor.tracking.run import LiveRun
from storage.records import Direction

if TYPE_CHECKING:
    from advisor.compat.wandb_run import WandbRun


@overload
def init(experiment: str, *, params: Mapping[str, Any] | None = ..., **more: Any) -> LiveRun: ...
@overload
def init(*, params: Mapping[str, Any], **more: Any) -> LiveRun: ...
@overload
def init(*, config: Any = ..., project: str | None = ..., **more: Any) -> WandbRun: ...
def init(
    experiment: str | None = None,
    *,
    params: Mapping[str, Any] | None = None,
    store: str | Path | None = None,
    objective: str | Sequence[str] | None = None,
    direction: Direction | Sequence[Direction] | None = None,
    seed: int | None = None,
    tags: Sequence[str] | None = None,
    notes: str | None = None,
    **more: Any,
) -> LiveRun:
    """Start a run; ``log`` and ``finish`` refer to it from now on.

    A run that still goes on is finished first. A run that nobody finishes is finished when the
    interpreter ends, or marked failed if an exception ended it. In a process that ``advisor optimize`` started, this
    is the run that it was started for, and ``params`` are checked against the suggested ones.

    Parameters
    ----------
    experiment
        Its experiment, ``default`` where nothing says another.
    params
        Its parameters.
    store, objective, direction, seed, tags, notes
        As for ``advisor.open``, ``Advisor.experiment`` and ``Experiment.start``.
    **more
        Settings, see ``advisor.config.Settings``; or arguments of ``wandb.init``, see ``advisor.compat.wandb_init``.
        With one of these, or with neither experiment nor params, everything is as W&B has it: ``WANDB_PROJECT``,
        ``WANDB_NAME``, ``WANDB_MODE``, ``WANDB_NOTES``, ``WANDB_TAGS`` and ``WANDB_RUN_GROUP`` hold, a run that goes on
        is returned, and what a run was suggested wins over ``config``.

    Raises
    ------
    StorageError, AdvisorError
        As ``advisor.open`` and ``Advisor.experiment`` do.
    """
    from advisor.app import open as open_advisor
    from advisor.compat import wandb_init

    theirs = {name: more.pop(name) for name in list(more) if name in wandb_init.ARGUMENTS}
    asked: dict[str, Any] = {"objective": objective, "direction": direction}
    if theirs or (experiment is None and params is None):
        started: LiveRun = wandb_init.start(
            experiment, theirs, params=params, store=store, seed=seed, tags=tags, notes=notes, **asked, **more
        )
        current.put(started)
        return started
    before = current.going_on()
    if before is not None:
        before.finish()
    name = experiment or "default"
    words = [notes] if notes else []
    attached = attach(name, any_experiment=True, params=params, tags=tags or (), notes=words)
    if attached is None:
        handle = open_advisor(store, **more).experiment(name, objective=objective, direction=direction)
        attached = handle.start(params=dict(params or {}), seed=seed, tags=tags or (), notes=words)
    current.put(attached)
    return attached


def log(metrics: Mapping[str, Any] | None = None, step: int | None = None, **more: Any) -> None:
    """Keep values of some metrics at one step of the current run; see ``LiveRun.log``.

    Of a run in W&B's shape also ``commit=False``, which leaves the step where it is; see ``WandbRun.log``.
    """
    current.needed("log").log(metrics, step=step, **more)


def finish(*exit_code: int | None, **how: Any) -> None:
    """End the current run; see ``LiveRun.finish``. Of a run in W&B's shape also by its ``exit_code``."""
    run = current.needed("finish")
    run.finish(*exit_code, **how)

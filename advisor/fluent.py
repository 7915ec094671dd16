"""``advisor.init``, ``log`` and ``finish``: the shape that people know, one run at a time in a process.

The same as ``open → experiment → start → log → finish``; whoever wants more than one run at a time uses that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from advisor.errors import AdvisorError
from advisor.tracking.attached import attach
from advisor.tracking.run import LiveRun
from storage.records import Direction

_current: LiveRun | None = None


def init(
    experiment: str = "default",
    *,
    params: Mapping[str, Any] | None = None,
    store: str | Path | None = None,
    objective: str | Sequence[str] | None = None,
    direction: Direction | Sequence[Direction] | None = None,
    seed: int | None = None,
    tags: Sequence[str] = (),
    notes: str | None = None,
    **settings: Any,
) -> LiveRun:
    """Start a run; ``log`` and ``finish`` refer to it from now on.

    A run that still goes on is finished first. A run that nobody finishes is finished when the
    interpreter ends, or marked failed if an exception ended it. In a process that ``advisor optimize`` started, this
    is the run that it was started for, and ``params`` are checked against the suggested ones.

    Raises
    ------
    StorageError, AdvisorError
        As ``advisor.open`` and ``Advisor.experiment`` do.
    """
    global _current
    from advisor.app import open as open_advisor

    if _current is not None and not _current.state.is_over:
        _current.finish()
    words = [notes] if notes else []
    attached = attach(experiment, any_experiment=True, params=params, tags=tags, notes=words)
    if attached is not None:
        _current = attached
        return attached
    handle = open_advisor(store, **settings).experiment(experiment, objective=objective, direction=direction)
    _current = handle.start(params=dict(params or {}), seed=seed, tags=tags, notes=words)
    return _current


def log(metrics: Mapping[str, Any] | None = None, *, step: int | None = None, **more: Any) -> None:
    """Keep values of some metrics at one step of the current run; see ``LiveRun.log``."""
    _run("log").log(metrics, step=step, **more)


def finish(**how: Any) -> None:
    """End the current run; see ``LiveRun.finish``."""
    _run("finish").finish(**how)


def current() -> LiveRun | None:
    """Return the run that ``log`` refers to, None where none goes on."""
    return _current if _current is not None and not _current.state.is_over else None


def _run(doing: str) -> LiveRun:
    if _current is None:
        raise AdvisorError(f"there is no run to {doing}; call advisor.init(…) first")
    return _current

"""The run that ``advisor.init`` started last: what module-level functions refer to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from advisor.errors import AdvisorError

if TYPE_CHECKING:
    from advisor.tracking.run import LiveRun

_run: LiveRun | None = None


def get() -> LiveRun | None:
    """Return the run that was started last, ended or not; None before any."""
    return _run


def put(run: LiveRun) -> None:
    """Make a run the current one."""
    global _run
    _run = run


def going_on() -> LiveRun | None:
    """Return the current run if it still goes on."""
    return None if _run is None or _run.state.is_over else _run


def needed(doing: str) -> LiveRun:
    """Return the current run.

    Raises
    ------
    AdvisorError
        If none was started.
    """
    if _run is None:
        raise AdvisorError(f"there is no run to {doing}; call advisor.init(…) first")
    return _run

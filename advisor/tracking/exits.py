"""Ends live runs that the script itself did not end, when the interpreter does.

The first live run of a process registers the hooks, nothing happens at import. An exception that
ends the script ends its runs as failed; a plain end ends them as finished, and so does ``sys.exit(1)``
outside of a ``with run:``, because the exit code is not known to a hook. A killed process runs no hook: its
runs are recovered by whoever opens the store next.
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Final

from storage.opening import let_go

if TYPE_CHECKING:
    from advisor.tracking.run import LiveRun

log = logging.getLogger(__name__)

ALL_WITHIN_S: Final = 30.0
"""How long all runs that a script left open may keep it from ending, where the store cannot be reached."""

_lock = threading.Lock()
_live: dict[str, LiveRun] = {}
_closing: list[Callable[[], object]] = []
_registered = False
_pid = 0
_uncaught: BaseException | None = None


def remember(run: LiveRun) -> None:
    """End this run when the interpreter ends, unless it is forgotten before."""
    with _lock:
        _live[run.id] = run
    _register()


def close_at_end(close: Callable[[], object]) -> None:
    """Call this when the interpreter ends, after all runs have ended."""
    with _lock:
        _closing.append(close)
    _register()


def _register() -> None:
    global _registered, _pid
    with _lock:
        if not _registered:
            _registered, _pid = True, os.getpid()
            atexit.register(_end_all)
            _watch_exceptions()


def forget(run: LiveRun) -> None:
    """The run has ended."""
    with _lock:
        _live.pop(run.id, None)


def _watch_exceptions() -> None:
    before = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        global _uncaught
        if not hasattr(sys, "ps1"):  # at an interactive prompt an exception ends nothing
            _uncaught = error
        before(kind, error, trace)

    sys.excepthook = hook


def _end_all() -> None:
    if os.getpid() != _pid:  # a forked child: the runs are its parent's
        return
    deadline = time.monotonic() + ALL_WITHIN_S
    for run in list(_live.values()):
        run.ends_within_s = min(run.ends_within_s, max(deadline - time.monotonic(), 1.0))
        try:
            if _uncaught is not None:
                run.fail(_uncaught)
            else:
                run.at_exit()
        except Exception:  # the interpreter ends: say it and let the next run end too
            log.exception("run %s could not be ended; it is recovered when the store is next opened", run.id)
    for close in _closing:
        close()
    let_go()

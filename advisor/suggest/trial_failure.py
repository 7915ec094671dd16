"""Why a trial failed: Optuna tells its storage that it did, and keeps what the objective raised to itself.

While the storage is told, the function that ran the trial is still on the stack and holds the exception, or the value
that was no number. So the stack is looked at. Where another release has it otherwise, nothing is known or fails.
"""

from __future__ import annotations

import math
import sys
import traceback
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Any, Final

from advisor.redact import scrub

RUNS_TRIALS: Final = "optuna.study._optimize"
TELLS: Final = "optuna.study._tell"
MAX_FRAMES: Final = 20
"""Between the storage and whoever runs the trial lie four, and some of samplers."""
MAX_CHARS: Final = 20_000
"""As of a tracked run's error."""
KEYS: Final = "KeyboardInterrupt"


def reason_of_failure() -> str | None:
    """Return the traceback of what the objective raised, or a sentence about its value; None where neither is known."""
    for frame in _frames():
        module, known = frame.f_globals.get("__name__"), frame.f_locals
        if module == RUNS_TRIALS and isinstance(known.get("func_err"), BaseException):
            raised: BaseException = known["func_err"]
            return scrub("".join(traceback.format_exception(raised)))[-MAX_CHARS:]
        if module in (RUNS_TRIALS, TELLS) and (said := _no_value(known.get("value_or_values"))):
            return said
    return None


def was_interrupted(reason: str | None) -> bool:
    """Return whether somebody ended the trial by Ctrl-C: that says nothing of its parameters."""
    return reason is not None and reason.rstrip().rpartition("\n")[2].startswith(KEYS)


def _frames() -> Iterator[FrameType]:
    frame: FrameType | None = sys._getframe(2)
    for _ in range(MAX_FRAMES):
        if frame is None:
            return
        yield frame
        frame = frame.f_back


def _no_value(given: Any) -> str | None:
    """Return what to say of a value that Optuna takes for none."""
    values = given if isinstance(given, Sequence) and not isinstance(given, str) else [given]
    for value in values:
        if value is None:
            continue
        try:
            if math.isnan(float(value)):
                return "the value of the objective was NaN, which Optuna takes for a failure"
        except (TypeError, ValueError):
            return f"the value of the objective was of type {type(value).__name__}, which is no number"
    return None

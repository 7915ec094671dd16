"""Values on their way into a run: parameters made plain, and the figures of a curve that grows.

Pure. ``Tally`` gives what ``Curve.summary`` would of the whole curve, without keeping it.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from advisor.redact import redact
from storage.curves import mean_last_k

N_RECENT: Final = 100
"""Finite values that a tally remembers: what an average asked for in the middle of a run may reach back to."""


def plain(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters as values that can be kept: secrets redacted, objects by their text.

    Nested mappings stay nested; numpy scalars become Python's.
    """
    return redact({str(name): _plain_value(value) for name, value in params.items()})


def _plain_value(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain_value(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain_value(item) for item in value]
    if hasattr(value, "tolist") and getattr(value, "size", 0) <= 1_000:  # numpy and torch scalars and small arrays
        return _plain_value(value.tolist())
    return str(value)[:1_000]


class Tally:
    """Figures of a curve that grows, in constant memory; see ``Curve.summary``."""

    def __init__(self, reduce: str = "last") -> None:
        self._figures: dict[str, Any] = {"n": 0, "n_nonfinite": 0, "first": None, "last": None, "last_finite": None}
        self._figures |= {"min": None, "max": None, "min_step": None, "max_step": None, "last_step": None}
        self._recent: deque[float] = deque(maxlen=max(N_RECENT, mean_last_k(reduce) or 0))

    def add(self, step: int, value: float) -> None:
        """Take one more point in."""
        figures = self._figures
        if not figures["n"]:
            figures["first"] = value
        figures["n"] += 1
        figures["last"] = value
        figures["last_step"] = step
        if not math.isfinite(value):
            figures["n_nonfinite"] += 1
            return
        figures["last_finite"] = value
        self._recent.append(value)
        if figures["min"] is None or value < figures["min"]:
            figures["min"], figures["min_step"] = value, step
        if figures["max"] is None or value > figures["max"]:
            figures["max"], figures["max_step"] = value, step

    def extend(self, steps: NDArray[np.int64], values: NDArray[np.float64]) -> None:
        """Take in points that follow each other, as many calls of ``add`` would; shape (T,) each."""
        figures = self._figures
        if not len(values):
            return
        if not figures["n"]:
            figures["first"] = float(values[0])
        figures["n"] += len(values)
        figures["last"] = float(values[-1])
        figures["last_step"] = int(steps[-1])
        good = np.isfinite(values)
        if not good.all():
            figures["n_nonfinite"] += int(len(values) - good.sum())
            steps, values = steps[good], values[good]
            if not len(values):
                return
        figures["last_finite"] = float(values[-1])
        self._recent.extend(values[-(self._recent.maxlen or 0) :].tolist())
        low, high = int(values.argmin()), int(values.argmax())
        if figures["min"] is None or values[low] < figures["min"]:
            figures["min"], figures["min_step"] = float(values[low]), int(steps[low])
        if figures["max"] is None or values[high] > figures["max"]:
            figures["max"], figures["max_step"] = float(values[high]), int(steps[high])

    def summary(self, reduce: str) -> dict[str, Any]:
        """Return the figures so far, with the one that ``reduce`` asks for."""
        out = dict(self._figures)
        k = mean_last_k(reduce)
        if k is not None:
            last = list(self._recent)[-k:]
            out[reduce] = math.fsum(value / len(last) for value in last) if last else None  # the sum may overflow
        return out

"""Points of many metrics as they come, one at a time, made into curves at the end.

Holds 24 bytes a point, and no more metrics than a run may have.
"""

from __future__ import annotations

from array import array
from typing import Final

import numpy as np

from advisor.sources.port import Points

METRICS_AT_MOST: Final = 10_000
"""Of one run. W&B advises against more in a whole project; what has more logs its data, not its training."""

NAN: Final = float("nan")


class Gathered:
    """Curves that grow.

    Parameters
    ----------
    most
        How many metrics are kept; points of further ones are dropped, and counted in ``n_dropped``.
    """

    def __init__(self, most: int = METRICS_AT_MOST) -> None:
        self.n_dropped = 0
        self._most = most
        self._curves: dict[str, tuple[array[int], array[float], array[float]]] = {}

    def add(self, metric: str, step: int, value: float, time: float = NAN) -> None:
        """Add a point; ``time`` in seconds since the run's start, NaN where unknown."""
        curve = self._curves.get(metric)
        if curve is None:
            if len(self._curves) >= self._most:
                self.n_dropped += 1
                return
            curve = self._curves[metric] = (array("q"), array("d"), array("d"))
        curve[0].append(step)
        curve[1].append(value)
        curve[2].append(time)

    def curves(self) -> dict[str, Points]:
        """Return what was gathered so far."""
        out = {}
        for metric, (steps, values, times) in self._curves.items():
            time = np.array(times, dtype=np.float64)
            out[metric] = Points(
                np.array(steps, dtype=np.int64),
                np.array(values, dtype=np.float64),
                np.empty(0) if np.isnan(time).all() else time,
            )
        return out

    def notes(self) -> list[str]:
        """Return what was dropped, as sentences."""
        if not self.n_dropped:
            return []
        return [f"{self.n_dropped:,} points of metrics beyond the first {self._most:,} were left out"]

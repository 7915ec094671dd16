from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from storage.records import Run

HERE = Path(__file__).resolve().parent
Play = Callable[[str], list[str]]


def recorded(name: str) -> dict[str, Any]:
    """Return what the real tracker recorded for a script, see ``record.py``."""
    found: dict[str, Any] = json.loads((HERE / "recorded" / f"{name}.json").read_text())
    return found


def plain(value: Any) -> Any:
    """Return a value as the recordings have it."""
    if isinstance(value, float) and not math.isfinite(value):
        return {math.inf: "Infinity", -math.inf: "-Infinity"}.get(value, "NaN")
    return value


def points(run: Run) -> dict[str, list[list[Any]]]:
    """Return the curves of a run as the recordings have them."""
    return {
        name: [[step, plain(value)] for step, value in zip(curve.steps.tolist(), curve.values.tolist(), strict=True)]
        for name, curve in run.curves.items()
    }

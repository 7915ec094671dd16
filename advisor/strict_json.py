"""Values as strict JSON can say them: NaN and infinities are the words "NaN", "Infinity" and "-Infinity"."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any


def plain(value: Any) -> Any:
    """Return a value as what strict JSON can say.

    Raises
    ------
    TypeError
        If something in it has no form in JSON.

    Examples
    --------
    >>> plain({"loss": float("nan"), "at": (1, float("-inf"))})
    {'loss': 'NaN', 'at': [1, '-Infinity']}
    """
    if isinstance(value, str | Path):
        return str(value)
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else word(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(inner) for inner in value]
    if hasattr(value, "tolist"):  # numpy's scalars and arrays
        return plain(value.tolist())
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def word(value: float) -> str:
    """Return what stands for a value that is not finite."""
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"

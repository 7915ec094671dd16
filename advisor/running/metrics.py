"""What a command says on its standard output: lines that are JSON objects with numbers are metrics.

``{"step": 3, "val_loss": 0.41}`` is one log call. Leaves out where the lines come from and where metrics go.
Invariant: whatever a line holds, it is metrics or it is not; nothing in it raises.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

LINE_MAX_BYTES: Final = 2**20
"""A longer line is passed on in pieces, and is no metrics."""
STEP: Final = "step"
VALUE: Final = "value"
"""The name that stands for the objective, whatever it is called."""

_NOT_FINITE: Final = {
    "nan": "nan", "inf": "inf", "infinity": "inf", "+inf": "inf", "+infinity": "inf", "-inf": "-inf",
    "-infinity": "-inf",
}  # fmt: skip
_PYTHON_DICT: Final = re.compile(r"\{\s*'")


@dataclass(frozen=True, slots=True)
class Said:
    """One log call."""

    metrics: dict[str, float]
    step: int | None


def read_line(line: str, objective: str | None) -> Said | None:
    """Return what a line says, None where it is no metrics.

    Numbers count, NaN and Infinity among them, also as the texts "NaN", "Infinity" and "-Infinity"; booleans, other
    texts, lists and mappings are passed over.

    Parameters
    ----------
    line
        One line, without its end.
    objective
        What ``value`` stands for where the line does not name it; None where there is not exactly one.
    """
    text = line.strip()
    if not (text.startswith("{") and text.endswith("}")):
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    step = found.pop(STEP, None)
    if isinstance(step, float) and step.is_integer():
        step = int(step)
    if step is not None and (isinstance(step, bool) or not isinstance(step, int) or not -(2**63) <= step < 2**63):
        return None
    metrics = {name: number for name, value in found.items() if name and (number := _number(value)) is not None}
    if objective is not None and VALUE in metrics and objective not in metrics:
        metrics[objective] = metrics.pop(VALUE)
    return Said(metrics, step) if metrics else None


def _number(value: object) -> float | None:
    if isinstance(value, str):
        word = _NOT_FINITE.get(value.strip().lower())
        return None if word is None else float(word)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return None


def looks_meant(line: str) -> bool:
    """Return whether a line that is no metrics was probably meant to be: a Python dict, printed as it is."""
    return bool(_PYTHON_DICT.match(line.strip()))


class Lines:
    """Puts bytes together to lines.

    Parameters
    ----------
    returns
        Whether what a carriage return ends is passed on too, as progress bars write it; then several lines may come
        as one piece.
    """

    def __init__(self, *, returns: bool = False) -> None:
        self._rest = b""
        self._returns = returns

    def feed(self, data: bytes) -> Iterator[tuple[bytes, bool]]:
        """Yield what is complete: pieces with their ends, and whether each is a whole line."""
        data, self._rest = self._rest + data, b""
        if self._returns:
            end = max(data.rfind(b"\n"), data.rfind(b"\r")) + 1
            if end:
                yield data[:end], False
            self._rest = data[end:]
        else:
            *whole, self._rest = data.split(b"\n")
            for line in whole:
                yield line + b"\n", True
        if len(self._rest) > LINE_MAX_BYTES:
            rest, self._rest = self._rest, b""
            yield rest, False

    def close(self) -> Iterator[tuple[bytes, bool]]:
        """Yield what is left at the end."""
        if self._rest:
            yield self._rest, True
            self._rest = b""

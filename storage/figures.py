"""How figures and texts from runs are written: digits, units, the words for NaN and ∞; one line, nothing invisible.

Pure, and below everything else, so that a record shows itself with the same digits as a document. Leaves out escaping,
which each format does for itself. Invariant: the same value is written in the same way everywhere; a value that is
not a finite number is written as such; what comes out of ``one_line`` holds no control character, no bidirectional
override and no zero-width character.
"""

from __future__ import annotations

import json
import math
import unicodedata
from typing import Any, Final

DIGITS: Final = 4
"""Significant digits of a measured value: enough to tell runs apart, few enough to read."""

_SCIENTIFIC_FROM: Final = 1e7
_SCIENTIFIC_BELOW: Final = 1e-4
_GROUPED_FROM: Final = 1000
_HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode categories that show nothing, or change how the text around them shows."""


def figure(value: float, *, digits: int = DIGITS) -> str:
    """Return a measured value as text.

    >>> [figure(x) for x in (0.229513, 12, 1.5848931e-05, 123456.7, float("nan"), float("-inf"))]
    ['0.2295', '12', '1.585e-5', '123,457', 'NaN', '-∞']
    """
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    size = abs(value)
    if size == 0:
        return "0"
    if size >= _SCIENTIFIC_FROM or size < _SCIENTIFIC_BELOW:
        mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
        if "." in mantissa:
            mantissa = mantissa.rstrip("0").rstrip(".")
        return f"{mantissa}e{int(exponent)}"
    text = f"{value:.{digits}g}"
    return f"{value:,.0f}" if abs(float(text)) >= _GROUPED_FROM else text


def duration(seconds: float) -> str:
    """Return a time span in the units a person would use.

    >>> duration(0.42), duration(12.34), duration(200), duration(7500), duration(100_000)
    ('0.42 s', '12.3 s', '3 min 20 s', '2 h 5 min', '1 d 3 h')
    """
    if not math.isfinite(seconds):
        return figure(seconds)
    if seconds < 59.95:
        return f"{figure(seconds, digits=3)} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3600} h"


def parameter(value: Any, *, limit: int = 60) -> str:
    """Return a parameter's value as short text without control characters.

    >>> parameter(0.00010000000001), parameter("adam"), parameter(None), parameter([1, 2])
    ('0.0001', 'adam', 'none', '[1, 2]')
    """
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value) if abs(value) < 10**15 else figure(float(value))
    if isinstance(value, float):
        return figure(value)
    if isinstance(value, str):
        return one_line(value, limit=limit) or '""'
    return one_line(json.dumps(value, default=str, ensure_ascii=False), limit=limit)


def one_line(text: str, *, limit: int = 200) -> str:
    r"""Return the text on one line, cut after ``limit`` characters with an ellipsis.

    >>> one_line("a\n\tb \u202e c")
    'a b c'
    """
    line = " ".join(visible(text[: limit * 4]).split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def visible(text: str, *, keep: str = "") -> str:
    """Return the text with a blank for each character that shows nothing or changes how others show."""
    return "".join(char if char in keep or unicodedata.category(char) not in _HIDDEN else " " for char in text)

"""How figures are written: the only place that decides digits, units and the words for NaN and ∞.

Leaves out what a figure means. Invariant: the same value is written in the same way everywhere,
and a value that is not a finite number is written as such, never as a number.
"""

from __future__ import annotations

import json
import math
import re
from datetime import UTC, datetime
from typing import Any

from advisor.documents.untrusted import one_line

DIGITS = 4
"""Significant digits of a measured value: enough to tell runs apart, few enough to read."""

_SCIENTIFIC_FROM = 1e7
_SCIENTIFIC_BELOW = 1e-4
_GROUPED_FROM = 1000


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


def signed(value: float, *, digits: int = DIGITS) -> str:
    """Return a difference with its sign.

    >>> signed(0.25), signed(-3), signed(0.0)
    ('+0.25', '-3', '0')
    """
    text = figure(value, digits=digits)
    return f"+{text}" if value > 0 else text


def count(value: int) -> str:
    """Return a number of things, in groups of three.

    >>> count(12), count(2486)
    ('12', '2,486')
    """
    return f"{value:,}"


def percent(share: float) -> str:
    """Return a share of one as a percentage with up to three digits.

    >>> percent(0.1234), percent(1), percent(0.5)
    ('12.3%', '100%', '50%')
    """
    if not math.isfinite(share):
        return figure(share)
    return f"{figure(share * 100, digits=3)}%"


def signed_percent(share: float) -> str:
    """Return a change as a percentage with its sign.

    >>> signed_percent(0.1234), signed_percent(-0.5), signed_percent(0.0)
    ('+12.3%', '-50%', '0%')
    """
    text = percent(share)
    return f"+{text}" if share > 0 else text


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


def moment(time: datetime) -> str:
    """Return a point in time, in UTC, to the minute.

    >>> moment(datetime(2026, 3, 1, 9, 5, tzinfo=UTC))
    '2026-03-01 09:05 UTC'
    """
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def size(n_bytes: int) -> str:
    """Return a number of bytes.

    >>> size(812), size(20_480), size(3_400_000)
    ('812 B', '20.5 kB', '3.4 MB')
    """
    amount = float(n_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000 or unit == "GB":
            break
        amount /= 1000
    return f"{figure(amount, digits=3)} {unit}"


_WRITTEN = re.compile(r"[-+]?(\d[\d,]*)(?:\.(\d+))?(?:e([-+]?\d+))?(%?)")


def precision(text: str) -> float | None:
    """Return what the last digit of a written figure stands for, in the figure's own unit; None for other texts.

    >>> precision("0.2295"), precision("123,457"), precision("1.585e-5"), precision("65.6%"), precision("3 min 20 s")
    (0.0001, 1.0, 1e-08, 0.001, None)
    """
    found = _WRITTEN.fullmatch(text)
    if found is None:
        return None
    exponent = int(found[3] or 0) - len(found[2] or "") - (2 if found[4] else 0)
    return float(f"1e{exponent}")


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

"""How figures are written: the only place of a document that decides digits, units and the words for NaN and ∞.

Leaves out what a figure means. Invariant: the same value is written in the same way everywhere,
and a value that is not a finite number is written as such, never as a number. What records write of themselves is
decided in ``storage.figures``, and is the same here.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime

from storage.figures import DIGITS, duration, figure, parameter

__all__ = [
    "DIGITS",
    "count",
    "duration",
    "figure",
    "moment",
    "parameter",
    "percent",
    "precision",
    "signed",
    "signed_percent",
    "size",
]


_ROUNDING = 1e-12
"""What comes so near to 1 is 1: sums of shares do not come out exactly."""


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
    """Return a share of one as a percentage with up to three digits, or more where only all of it is 100%.

    >>> percent(0.1234), percent(1), percent(0.5), percent(0.9997), percent(-0.99999999)
    ('12.3%', '100%', '50%', '99.97%', '-99.999999%')
    """
    if not math.isfinite(share):
        return figure(share)
    is_all = math.isclose(abs(share), 1.0, rel_tol=_ROUNDING)
    texts = (figure(share * 100, digits=digits) for digits in range(3, 18))
    return f"{next(text for text in texts if is_all or text.lstrip('-') != '100')}%"


def signed_percent(share: float) -> str:
    """Return a change as a percentage with its sign.

    >>> signed_percent(0.1234), signed_percent(-0.5), signed_percent(0.0)
    ('+12.3%', '-50%', '0%')
    """
    text = percent(share)
    return f"+{text}" if share > 0 else text


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

"""Lengths of time as people write them."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Final

from advisor.errors import ConfigError

_UNITS: Final = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400, "w": 604_800}


def seconds(text: str, what: str) -> float:
    """Return a length of time, ``90s``, ``30m``, ``2h``, ``1d`` or ``1w``, in seconds.

    >>> seconds("2h", "--for")
    7200.0

    Raises
    ------
    ConfigError
        If it is none, or not longer than nothing.
    """
    found = re.fullmatch(r"(\d{1,6}(?:\.\d+)?)\s*([a-z]+)", text.strip().lower())
    if found is None or found[2] not in _UNITS or float(found[1]) == 0:
        raise ConfigError(f"{what} {text!r:.80} is no length of time; write it like 90s, 30m, 2h, 1d or 1w")
    return float(found[1]) * _UNITS[found[2]]


def until(length: str | None, now: datetime, what: str) -> datetime | None:
    """Return when a length of time from now is over; None, for good, where there is none."""
    return None if length is None else now + timedelta(seconds=seconds(length, what))

"""Values that other programs wrote as text, and what is told by the names of parameters."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from advisor.redact import REDACTED, looks_secret
from advisor.sources.reading import NON_FINITE, plain, whole

_INTEGER: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,18})")
_FLOAT: Final = re.compile(r"-?[0-9]{1,40}(?:\.[0-9]{1,40})?(?:[eE][+-]?[0-9]{1,3})?")
_SCIENTIFIC: Final = re.compile(r"-?[0-9](?:\.[0-9]{1,17})?[eE][+-]?[0-9]{1,2}")
_WORDS: Final[Mapping[str, Any]] = {"True": True, "False": False, "None": None}
SEED_NAMES: Final = ("seed", "random_seed", "random_state", "manual_seed", "rng_seed", "seed_everything")
"""What programs call the seed, most telling first; also as the last part of a nested name."""


def from_text(text: str) -> Any:
    """Return the value that a program most likely meant where it wrote all values as text.

    A number, truth value or None where the text is exactly what Python writes for it (``0.1``, ``1e-05``, ``nan``,
    ``True``, ``None``), and a number where it is scientific notation (``1e-3``), as people write learning rates.
    Everything else is text: ``0.10`` and ``3.10`` are versions as often as numbers.

    Examples
    --------
    >>> [from_text(text) for text in ("3", "0.1", "1e-3", "inf", "True", "None", "3.10", "007", "adam")]
    [3, 0.1, 0.001, inf, True, None, '3.10', '007', 'adam']
    """
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return plain(int(text))
    if text in ("nan", "inf", "-inf"):
        return NON_FINITE[text]
    if _FLOAT.fullmatch(text) and (_SCIENTIFIC.fullmatch(text) or repr(float(text)) == text):
        return float(text)
    return plain(text)


def seed_of(params: Mapping[str, Any]) -> int | None:
    """Return the seed that parameters hold, None where they name none."""
    for name in SEED_NAMES:
        if name in params:
            return _seed(params[name])
    for name, value in params.items():
        if re.split(r"[./]", name)[-1] in SEED_NAMES:
            return _seed(value)
    return None


def _seed(value: Any) -> int | None:
    return None if isinstance(value, (bool, str)) else whole(value)


def counted(n: int, one: str, many: str = "") -> str:
    """Return a number with what it counts; ``many`` is ``one`` with an s where it is not given.

    >>> counted(1, "image"), counted(2_000, "image"), counted(1, "run was left out", "runs were left out")
    ('1 image', '2,000 images', '1 run was left out')
    """
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def tag(name: str, value: str) -> str:
    """Return a tag that has a name and a value as one text, ``team=vision``; just the name where the value is none."""
    if value in ("", "true", "True"):
        return name
    return f"{name}={REDACTED if looks_secret(name) else value}"

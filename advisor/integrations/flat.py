"""What frameworks say of a training, as parameters and metrics: flat names, plain values. Pure.

Leaves out which of it a framework's callback keeps.
"""

from __future__ import annotations

import itertools
import math
import os
import re
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any, Final

from advisor.redact import redact

MAX_PARAMS: Final = 300
"""A configuration of more names than this is cut: it is a data structure, not a choice of parameters."""
MAX_DEPTH: Final = 6
MAX_TEXT: Final = 200
"""Characters of a text parameter."""

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")  # of an object: another one in each process


def flat(config: Any, *, limit: int = MAX_PARAMS) -> dict[str, Any]:
    """Return a configuration as parameters: nested names joined by dots, values plain.

    Numbers, texts, booleans and None stay what they are; anything else becomes its short text. Secrets are redacted
    by their full names. What is more than ``limit`` names is left out.

    Parameters
    ----------
    config
        A mapping, a Namespace, a dataclass, or what has ``to_dict()``.

    Examples
    --------
    >>> flat({"optimizer": {"lr": 0.1, "betas": (0.9, 0.99)}, "amp": True, "loss": len})
    {'optimizer.lr': 0.1, 'optimizer.betas': '(0.9, 0.99)', 'amp': True, 'loss': 'len'}
    """
    mapping = _mapping(config)
    if mapping is None:
        raise TypeError(f"parameters are a mapping of names to values, not a {type(config).__name__}")
    return redact(dict(itertools.islice(_leaves(mapping, "", MAX_DEPTH), limit)))


def _leaves(mapping: Mapping[Any, Any], prefix: str, depth: int) -> Iterator[tuple[str, Any]]:
    for name, value in mapping.items():
        inner = _mapping(value) if depth > 1 else None
        if inner is not None and not isinstance(value, type):
            yield from _leaves(inner, f"{prefix}{name}.", depth - 1)
        else:
            yield f"{prefix}{name}", as_param(value)


def _mapping(value: Any) -> Mapping[Any, Any] | None:
    if isinstance(value, Mapping):
        return value
    if isinstance(value, type) or callable(getattr(value, "item", None)):
        return None
    if callable(getattr(value, "to_dict", None)):
        given = value.to_dict()
        return given if isinstance(given, Mapping) else None
    is_record = hasattr(value, "__dataclass_fields__") or type(value).__name__ == "Namespace"
    return {k: v for k, v in vars(value).items() if not k.startswith("_")} if is_record else None


def as_param(value: Any) -> Any:
    """Return a value as a parameter: a number, a text, a boolean or None, or else its short text.

    >>> as_param(3), as_param([1, 2]), as_param(abs)
    (3, '[1, 2]', 'abs')
    """
    if isinstance(value, Enum):
        value = value.value
    if value is None or isinstance(value, (bool, int, float)):
        return value
    number = _number(value)
    if number is not None:
        return number
    if callable(value) and hasattr(value, "__qualname__"):
        value = value.__qualname__
    text = str(value) if isinstance(value, (str, os.PathLike)) else _ADDRESS.sub("", repr(value))
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"


def _number(value: Any) -> Any:
    """Return what numpy, torch and others keep as one number; None where it is none."""
    if not callable(getattr(value, "item", None)) or getattr(value, "shape", ()) not in ((), (1,)):
        return None
    try:
        item = value.item()
    except (TypeError, ValueError, RuntimeError):
        return None
    return item if isinstance(item, (bool, int, float)) else None


def scalars(metrics: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """Return the numbers among what a framework logs as floats, whoever keeps them; nested names joined by ``/``.

    >>> scalars({"loss": 1, "eval": {"f1": 0.5}, "text": "none"})
    {'loss': 1.0, 'eval/f1': 0.5}
    """
    found: dict[str, float] = {}
    for name, value in metrics.items():
        number = value if isinstance(value, (bool, int, float)) else _number(value)
        if isinstance(value, Mapping):
            found |= scalars(value, f"{prefix}{name}/")
        elif number is not None:
            try:
                found[f"{prefix}{name}"] = float(number)
            except OverflowError:  # a whole number beyond what a float holds
                found[f"{prefix}{name}"] = math.inf if number > 0 else -math.inf
    return found


def whole(step: Any) -> int | None:
    """Return a step as frameworks give it, a float or a tensor for instance, as a whole number; None where it is none.

    >>> whole(3.0), whole(None), whole(float("nan"))
    (3, None, None)
    """
    number = step if isinstance(step, (bool, int, float)) else _number(step)
    return int(number) if number is not None and math.isfinite(number) else None

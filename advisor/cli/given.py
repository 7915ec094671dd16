"""Values that people type: ``name=value`` pairs and JSON objects. A mistake is one sentence that names the option."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from advisor.errors import ConfigError

if TYPE_CHECKING:
    from advisor.suggest.space import Space


_DECIMAL: Final = re.compile(r"[+-]?(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
"""Numbers that people write, among them those that JSON does not know: ``.9``, ``1.``, ``+0.5``."""


def pairs(given: Sequence[str], option: str, *, form: str = "name=value") -> list[tuple[str, str]]:
    """Return the two sides of each ``name=value``; texts that are empty are left out.

    Raises
    ------
    ConfigError
        If one has no ``=``, or nothing before it.
    """
    found = []
    for item in given:
        name, mark, text = item.partition("=")
        if item.strip() and not (mark and name.strip()):
            missing = "value" if form.endswith("value") else "parameter"
            raise ConfigError(f"{option} {item!r} names no {missing}; write {option} {form}")
        if item.strip():
            found.append((name.strip(), text.strip()))
    return found


def _once(given: Sequence[str], option: str) -> list[tuple[str, str]]:
    """Return ``pairs``, of which no two may have the same name."""
    found = pairs(given, option)
    seen: dict[str, str] = {}
    for name, text in found:
        if name in seen:
            raise ConfigError(f"{option} gives {name} twice, {seen[name]} and {text}; give it once")
        seen[name] = text
    return found


def assigned(given: Sequence[str], option: str, space: Space | None) -> dict[str, Any]:
    """Return parameters by name: a value is JSON or a decimal number where that fits the space, else the text itself.

    Raises
    ------
    ConfigError
        If something is no ``name=value``, or a name is given twice.
    """
    out: dict[str, Any] = {}
    for name, text in _once(given, option):
        value = _value(text)
        dimension = None if space is None else space.get(name)
        if dimension is not None and dimension.problem(value) is not None and dimension.problem(text) is None:
            value = text
        out[name] = value
    return out


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return float(text) if _DECIMAL.fullmatch(text) else text


def numbers(given: Sequence[str], option: str) -> dict[str, float]:
    """Return numbers by name, nan and inf included.

    Raises
    ------
    ConfigError
        If something is no ``name=number``, or a name is given twice.
    """
    out: dict[str, float] = {}
    for name, text in _once(given, option):
        try:
            out[name] = float(text)
        except ValueError:
            raise ConfigError(f"{option} {name}={text!r} is no number; write {option} {name}=0.5") from None
    return out


def objects(given: Sequence[str], option: str) -> list[Mapping[str, Any]]:
    """Return JSON objects; texts that are empty are left out.

    Raises
    ------
    ConfigError
        If one is no JSON object.
    """
    return [json_object(text, option) for text in given if text.strip()]


def json_object(text: str, option: str) -> dict[str, Any]:
    """Return a JSON object.

    Raises
    ------
    ConfigError
        If it is none.
    """
    try:
        value = json.loads(text)
    except ValueError as error:
        raise ConfigError(f"{option} is not JSON ({error}); give an object such as '{{\"lr\": 0.1}}'") from error
    if not isinstance(value, dict):
        raise ConfigError(f"{option} is a JSON {type(value).__name__}; give an object such as '{{\"lr\": 0.1}}'")
    return value

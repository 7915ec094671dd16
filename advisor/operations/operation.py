"""An operation: one thing that can be asked of the advisor or done with it, described once for every door.

The JSON API (``advisor.web``) and the tools of agents (``advisor.mcp``) are made from these descriptions, so both take
the same arguments, check them the same way and give the same answers. What is asked and what is answered are msgspec
structs; their JSON schemas are what OpenAPI and MCP publish.

Invariant: what ``call`` returns is plain JSON; NaN and ±inf are the strings "NaN", "Infinity" and "-Infinity".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

import msgspec

from advisor.errors import ConfigError
from advisor.strict_json import plain, word

if TYPE_CHECKING:
    from advisor.app import Advisor

NonFinite = Literal["NaN", "Infinity", "-Infinity"]
Number = float | int | NonFinite
"""A figure as JSON can hold it."""


class Asked(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, frozen=True):
    """What an operation is asked with; one field an argument."""


class Answer(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=False):
    """What an operation answers; fields are added, never renamed."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing that can be asked or done."""

    name: str
    """What agents call it, ``get_run``."""
    _: KW_ONLY
    title: str
    """What people call it, three or four words."""
    about: str
    """What it does, and when to use it."""
    asks: type[Asked]
    answers: type[Answer]
    does: Callable[[Advisor, Any], Answer]
    method: Literal["GET", "POST"] = "GET"
    path: str
    """Where the JSON API has it, under its root: ``/runs/{run}``. What braces name is a field of ``asks``."""

    @property
    def writes(self) -> bool:
        """Whether it changes the store; left out where only reading is allowed."""
        return self.method == "POST"


def call(operation: Operation, adv: Advisor, arguments: Mapping[str, Any], *, strict: bool = True) -> dict[str, Any]:
    """Check the arguments, do it, and return the answer as plain JSON.

    Parameters
    ----------
    strict
        Whether texts are refused where numbers are asked for; a query string has texts only.

    Raises
    ------
    ConfigError
        If the arguments are not what the operation asks.
    AdvisorError, StorageError
        What the operation itself raises.
    """
    try:
        asked = msgspec.convert(dict(arguments), operation.asks, strict=strict)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{operation.name} was asked with what it does not take: {_worded(error)}") from None
    found = plain(msgspec.to_builtins(operation.does(adv, asked)))
    assert isinstance(found, dict)  # of a struct
    return found


def number(value: float | int | None) -> Number | None:
    """Return a figure as JSON can hold it."""
    if value is None or isinstance(value, int) or math.isfinite(value):
        return value
    return cast(NonFinite, word(value))


def _worded(error: msgspec.ValidationError) -> str:
    """Return msgspec's sentence with the name of the argument as people wrote it."""
    return str(error).replace("`$.", "`").replace("Object", "it")

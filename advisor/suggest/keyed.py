"""Arguments of cached functions that are told apart by a key of their own: they cannot be hashed, or it costs too much.

``functools.lru_cache`` keeps the value together with the key, so a key may hold the ``id`` of what the value holds.
"""

from __future__ import annotations

from typing import Any, Generic, TypeVar

Value = TypeVar("Value")


class Keyed(Generic[Value]):
    """A value that counts as equal to another one where their keys are."""

    __slots__ = ("key", "value")

    def __init__(self, key: Any, value: Value) -> None:
        self.key, self.value = key, value

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Keyed) and bool(self.key == other.key)

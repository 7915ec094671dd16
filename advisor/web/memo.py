"""What was worked out for one viewer and serves the next: values by a key that says what they rest on.

Leaves out when something is out of date: the key holds the store's version, or a hash of the figures, so that a value
is never wrong, only no longer asked for. Invariant: of several who ask for the same at once, one works it out.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar, cast

Value = TypeVar("Value")

N_KEPT: Final = 48
"""Values that are kept; the columns of 100,000 runs are some 10 MB."""


@dataclass
class _Slot:
    lock: threading.Lock = field(default_factory=threading.Lock)
    is_known: bool = False
    value: Any = None


class Memo:
    """Keeps the values that were asked for last."""

    def __init__(self, n_kept: int = N_KEPT) -> None:
        self._n_kept = n_kept
        self._slots: OrderedDict[Hashable, _Slot] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """Return the value of a key, worked out where it is not known; what raises is not kept."""
        with self._lock:
            slot = self._slots.setdefault(key, _Slot())
            self._slots.move_to_end(key)
            while len(self._slots) > self._n_kept:
                self._slots.popitem(last=False)
        with slot.lock:
            if not slot.is_known:
                slot.value, slot.is_known = make(), True
            return cast("Value", slot.value)

"""Work that may take long, done beside the requests that wait for it; whoever asks for the same gets the same.

A request waits a moment, and says that the work goes on where that was not enough; the page asks again. Leaves out what
the work is. Invariant: the same key is never worked at twice at once, and nothing here keeps the process from ending.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from starlette.requests import Request

T = TypeVar("T")
Advance = Callable[[int, int], None]
"""Told how much of how much is done."""

AT_ONCE: Final = 3
"""Pieces of work under way together: they compete for one interpreter with the requests that wait for them."""
_MAKING: Final = threading.Lock()


@dataclass
class Work(Generic[T]):
    """One piece of work, under way or done."""

    future: Future[T] = field(default_factory=Future)
    done: int = 0
    total: int = 0
    """How much there is to do; 0 where that is not known."""

    def advance(self, done: int, total: int) -> None:
        """Say how far it is."""
        self.done, self.total = done, total

    def result(self, within_s: float) -> T:
        """Return what came of it.

        Raises
        ------
        TimeoutError
            If it is not done within that time. What the work raised is raised as it was.
        """
        return self.future.result(timeout=within_s)


class Waiting(Generic[T]):
    """Pieces of work by key; of those done, the latest are kept."""

    def __init__(self, *, keeps: int) -> None:
        self._keeps = keeps
        self._known: OrderedDict[Hashable, Work[T]] = OrderedDict()
        self._lock = threading.Lock()
        self._free = threading.BoundedSemaphore(AT_ONCE)

    @classmethod
    def of(cls, request: Request, name: str, *, keeps: int) -> Waiting[T]:
        """Return the one of that name that belongs to the application of a request."""
        state = request.app.state
        with _MAKING:
            if not hasattr(state, name):
                setattr(state, name, cls(keeps=keeps))
        found: Waiting[T] = getattr(state, name)
        return found

    def ask(self, key: Hashable, do: Callable[[Advance], T]) -> Work[T]:
        """Return the work of a key, begun now unless it is known; what failed is begun anew."""
        with self._lock:
            known = self._known.get(key)
            if known is not None and not (known.future.done() and known.future.exception()):
                self._known.move_to_end(key)
                return known
            work: Work[T] = Work()
            self._known[key] = work
            self._forget_old()
        threading.Thread(target=self._do, args=(work, do), name="advisor-work", daemon=True).start()
        return work

    def get(self, key: Hashable) -> Work[T] | None:
        """Return the work of a key, None where it is not known."""
        with self._lock:
            return self._known.get(key)

    def forget(self, key: Hashable) -> None:
        """Let go of the work of a key; the next to ask begins it anew."""
        with self._lock:
            self._known.pop(key, None)

    def _forget_old(self) -> None:
        done = [key for key, work in self._known.items() if work.future.done()]
        for key in done[: max(0, len(self._known) - self._keeps)]:
            del self._known[key]

    def _do(self, work: Work[T], do: Callable[[Advance], T]) -> None:
        with self._free:
            try:
                work.future.set_result(do(work.advance))
            except BaseException as error:  # noqa: BLE001  # raised again to whoever waits
                work.future.set_exception(error)

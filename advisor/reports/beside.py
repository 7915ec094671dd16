"""Write documents beside a training: one thread, one wish at a time for each experiment.

Leaves out what is written (see ``automatic``). Invariant: asking never blocks; after ``close`` no new piece is begun,
and none is under way: the database must not be in use when the interpreter ends, which would wait for it forever.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

from advisor.errors import AdvisorError
from storage.errors import StorageError

log = logging.getLogger(__name__)

WITHIN_S: Final = 5.0
"""How long a program that ends begins further documents; the one under way is ended, the others are due for whoever
looks next."""


class Beside:
    """A thread that does something for experiments, each once however often it was asked meanwhile.

    ``do`` is given an experiment and a function that says whether it may begin one more piece.
    """

    def __init__(self, do: Callable[[str, Callable[[], bool]], object]) -> None:
        self._do = do
        self._ends_at = float("inf")
        self._asked: dict[str, None] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def ask(self, experiment: str) -> None:
        """Have it done soon."""
        with self._lock:
            self._asked[experiment] = None
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="documents", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Wait until nothing is asked for any more, or time is up and the piece under way is done."""
        self._ends_at = time.monotonic() + WITHIN_S
        while (thread := self._thread) is not None:
            thread.join()
        if self._asked:
            log.warning("documents of %s are left for the next look at the store", ", ".join(self._asked))

    def _may_go_on(self) -> bool:
        return time.monotonic() < self._ends_at

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._asked or not self._may_go_on():
                    self._thread = None
                    return
                experiment = next(iter(self._asked))
                del self._asked[experiment]
            try:
                self._do(experiment, self._may_go_on)
            except (AdvisorError, StorageError) as error:
                log.warning("documents of %s are not written: %s", experiment, error)
            except Exception:  # a thread's edge: a training must not end with its documents
                log.exception("documents of %s are not written", experiment)

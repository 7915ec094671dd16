"""Write documents beside a training: one thread, one wish at a time for each experiment.

Leaves out what is written (see ``automatic``). Invariant: asking never blocks, and what was asked for is written before
``close`` returns, unless that takes longer than ``WITHIN_S``.
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

WITHIN_S: Final = 60.0
"""How long the end of a program waits for its documents."""


class Beside:
    """A thread that does something for experiments, each once however often it was asked meanwhile."""

    def __init__(self, do: Callable[[str], object]) -> None:
        self._do = do
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
        """Wait until nothing is asked for any more."""
        deadline = time.monotonic() + WITHIN_S
        while (thread := self._thread) is not None:
            thread.join(max(deadline - time.monotonic(), 0.0))
            if time.monotonic() >= deadline:
                log.warning("documents of %s were not written in time", ", ".join(self._asked) or "the last runs")
                return

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._asked:
                    self._thread = None
                    return
                experiment = next(iter(self._asked))
                del self._asked[experiment]
            try:
                self._do(experiment)
            except (AdvisorError, StorageError) as error:
                log.warning("documents of %s are not written: %s", experiment, error)
            except Exception:  # a thread's edge: a training must not end with its documents
                log.exception("documents of %s are not written", experiment)

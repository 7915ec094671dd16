"""A connection that is closed when whoever asks is too slow, in asking or in taking the answer.

uvicorn closes connections on which nothing happens after an answer. What it lets be are requests whose headers come
byte by byte or never, and answers that nobody reads; each would hold one of the connections that are served together
for ever. How long a body may take is in ``limits``, which can answer. It is always h11 that reads requests: it bounds
their headers, the faster parser does not.

Invariant: a connection on which no request is being worked on lives for ``head_within_s`` at most.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, ClassVar

from uvicorn.protocols.http.h11_impl import H11Protocol

log = logging.getLogger(__name__)


class Connection(H11Protocol):
    """One HTTP connection."""

    head_within_s: ClassVar[float] = 10.0
    """Until the headers of a request are there; a local one needs a millisecond, a bad mobile line a second."""
    taken_within_s: ClassVar[float] = 30.0
    """How long an answer may lie unread, once the buffers are full."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._head: asyncio.TimerHandle | None = None
        self._taken: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Take a part of a request; while one is worked on, nothing is waited for."""
        super().data_received(data)
        if self._is_answering():
            _stop(self._head)
            self._head = None
        else:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        _stop(self._head)
        _stop(self._taken)
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Wait for the other side to read."""
        super().pause_writing()
        _stop(self._taken)
        self._taken = self.loop.call_later(self.taken_within_s, self._abort)

    def resume_writing(self) -> None:
        """Go on: it has read."""
        _stop(self._taken)
        super().resume_writing()

    def _wait(self) -> None:
        if self._head is None:
            self._head = self.loop.call_later(self.head_within_s, self._close_if_idle)

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _close_if_idle(self) -> None:
        self._head = None
        if not self._is_answering():
            self._abort()

    def _abort(self) -> None:
        log.info("a connection was closed: whoever asked was too slow")
        self.transport.abort()


def _stop(timer: asyncio.TimerHandle | None) -> None:
    """Stop a timer, where there is one."""
    if timer is not None:
        timer.cancel()

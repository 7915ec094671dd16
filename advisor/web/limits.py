"""Limits on every request: how large, how long, how many at once.

A view runs in a thread, which cannot be stopped. So a request that takes too long is answered (503) while its thread
goes on, and keeps its place until it is done: whoever asks for something expensive again and again waits for their own
places and takes nobody else's.

Invariant: after ``answer_within_s`` each request has an answer, and no address has more than ``AT_ONCE`` threads.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from advisor.web.problems import Refusal

log = logging.getLogger(__name__)

MAX_BODY: Final = 1 << 20
"""Bytes that a request may bring: a note of a million letters."""
MAX_DIGITS: Final = 12
"""Digits of a length that is still looked at."""
TOO_LARGE: Final = f"the request is too large: at most {MAX_BODY:,} bytes are read"
MAX_TARGET: Final = 16_384
"""Bytes of path and query: a comparison of 100 runs names them in 3,300."""
MAX_HEADERS: Final = 32_768
"""Bytes of a request's headers: cookies of all that runs on this machine are among them."""
AT_ONCE: Final = 4
"""Requests to one address, such as ``/runs/{run_id}``, that are worked on together."""
WAIT_S: Final = 20.0
"""How long one more of them waits for its turn."""
COME_AGAIN_S: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long a request may take."""

    body_within_s: float = 15.0
    """Until all of it is there; for a megabyte that is a slow mobile line."""
    answer_within_s: float = 60.0
    """Until its answer begins; a download may take longer, and what listens for changes is not bound by it."""


class Exchange:
    """One request and its answer.

    Parameters
    ----------
    headers
        What the answer carries unless it says otherwise.
    """

    def __init__(self, receive: Receive, send: Send, *, headers: Mapping[str, str], limits: Limits) -> None:
        self.began = False
        """Whether the answer has begun, so that no other can be given."""
        self._receive, self._send, self._headers = receive, send, headers
        self._given_up = False
        self._n_bytes, self._whole = 0, False
        self._limits = limits
        self._read_by = asyncio.get_running_loop().time() + limits.body_within_s

    def expect(self, headers: Headers) -> None:
        """Look at what the request announces.

        Raises
        ------
        Refusal
            If that is more than it may bring.
        """
        announced = headers.get("content-length", "0")
        if not (announced.isascii() and announced.isdigit()):
            raise Refusal(400, "the Content-Length of the request is no number")
        if len(announced) > MAX_DIGITS or int(announced) > MAX_BODY:
            raise Refusal(413, TOO_LARGE)

    async def receive(self) -> Message:
        """Return the next part of the request; once it is whole, the end of the connection.

        Raises
        ------
        Refusal
            If the request is too large or too slow.
        """
        if self._whole:
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._read_by):
                message = await self._receive()
        except TimeoutError:
            why = f"the request did not come within {self._limits.body_within_s:g} s"
            raise Refusal(408, why, Connection="close") from None
        self._n_bytes += len(message.get("body", b""))
        if self._n_bytes > MAX_BODY:
            raise Refusal(413, TOO_LARGE, Connection="close")
        self._whole = not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        """Send a part of the application's answer; nothing once it was given up."""
        if not self._given_up:
            await self.reply(message)

    async def reply(self, message: Message) -> None:
        """Send a part of an answer, whosever it is."""
        if message["type"] == "http.response.start":
            self.began = True
            headers = MutableHeaders(scope=message)
            for name, value in self._headers.items():
                headers.setdefault(name, value)
        await self._send(message)

    def give_up(self) -> None:
        """Let go of what the application will still answer."""
        self._given_up = True


class Deadline:
    """Has each request answered in time. What is late goes on, unheard, until it is done."""

    def __init__(self, within_s: float) -> None:
        self._within_s = within_s
        self._late: set[asyncio.Task[None]] = set()  # the loop itself holds tasks weakly

    async def keep(self, app: ASGIApp, scope: Scope, exchange: Exchange) -> None:
        """Have a request answered.

        Raises
        ------
        Refusal
            If no answer began in time; also what the application itself raises.
        """
        loop = asyncio.get_running_loop()
        work = loop.create_task(_answer(app, scope, exchange))
        over: asyncio.Future[None] = loop.create_future()
        timer = loop.call_later(
            self._within_s, lambda: None if exchange.began or over.done() else over.set_result(None)
        )
        try:
            await asyncio.wait({work, over}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            work.cancel()
            raise
        finally:
            timer.cancel()
        if work.done():
            return work.result()
        exchange.give_up()
        self._late.add(work)
        work.add_done_callback(self._ended)
        log.warning("%s %.200r took longer than %g s and was given up", scope["method"], scope["path"], self._within_s)
        why = f"no answer within {self._within_s:g} s; ask for less"
        raise Refusal(503, why, **{"Retry-After": str(COME_AGAIN_S)})

    def _ended(self, work: asyncio.Task[None]) -> None:
        self._late.discard(work)
        if not work.cancelled() and work.exception() is not None:
            log.info("a request that was given up failed later: %s", type(work.exception()).__name__)


class Places:
    """So many things at once; the others wait for their turn."""

    def __init__(self, at_once: int = AT_ONCE, *, wait_s: float = WAIT_S) -> None:
        self._free, self._wait_s = asyncio.Semaphore(at_once), wait_s

    async def __aenter__(self) -> None:
        """Wait for a turn.

        Raises
        ------
        Refusal
            If it did not come in time.
        """
        try:
            async with asyncio.timeout(self._wait_s):
                await self._free.acquire()
        except TimeoutError:
            why = "too much of this is asked for at once; come again later"
            raise Refusal(503, why, **{"Retry-After": str(COME_AGAIN_S)}) from None

    async def __aexit__(self, *error: object) -> None:
        self._free.release()


class Bulkhead:
    """Lets so many requests to an application be worked on at once."""

    def __init__(self, app: ASGIApp, places: Places) -> None:
        self.app, self._places = app, places

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request in its turn."""
        async with self._places:
            await self.app(scope, receive, send)


async def _answer(app: ASGIApp, scope: Scope, exchange: Exchange) -> None:
    await app(scope, exchange.receive, exchange.send)

"""What changes, told to everybody who looks: server-sent events from one poller for all viewers.

While somebody looks, the store is asked twice a second what came: commits of the journal, and log calls of runs that go
on. Each viewer has one mailbox in which changes come together until he takes them, so a slow reader costs no memory and
one that reads nothing is let go. Nobody looks: nothing is asked.

Invariant: what was committed after a viewer's first event reaches him, in this event's successors or as ``all``.

Sources: the HTML standard, section "Server-sent events".
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from storage.errors import StorageError

if TYPE_CHECKING:
    from storage.journal import State
    from storage.store import RunStore

log = logging.getLogger(__name__)

EVERY_S: Final = 0.5
"""Between two looks at the store: with a training that writes once a second, news is on the page within 2 s."""
HEARTBEAT_S: Final = 15.0
"""Between two signs of life, so that proxies keep the connection and a dead one is noticed."""
SEND_WITHIN_S: Final = 30.0
"""How long a viewer may take to read what was sent, before he is let go; his browser comes back."""
MOST_VIEWERS: Final = 150
"""More would leave no connections to load pages with (``serving.AT_ONCE``)."""
MOST_NAMED: Final = 500
"""Runs, experiments or events of one change that are named; of more, everything counts as changed."""
COME_BACK_MS: Final = 2_000
"""When a browser that lost the connection tries again."""
HEADERS: Final = ((b"content-type", b"text/event-stream; charset=utf-8"), (b"x-accel-buffering", b"no"))


@dataclass(slots=True)
class Change:
    """What has changed since a viewer heard last."""

    version: int = 0
    """The journal's last commit."""
    experiments: set[str] = field(default_factory=set)
    runs: set[str] = field(default_factory=set)
    journal: bool = False
    """Whether anything but curves has changed."""
    everything: bool = False
    """Whether too much has changed to name it."""

    def add(self, other: Change) -> None:
        """Take in what came later."""
        self.version = max(self.version, other.version)
        self.experiments |= other.experiments
        self.runs |= other.runs
        self.journal |= other.journal
        self.everything |= other.everything or max(len(self.experiments), len(self.runs)) > MOST_NAMED
        if self.everything:
            self.experiments, self.runs = set(), set()

    def __bool__(self) -> bool:
        return bool(self.experiments or self.runs or self.journal or self.everything)

    def event(self) -> bytes:
        """Return it as the event ``changed``."""
        data = {"version": self.version, "experiments": sorted(self.experiments), "runs": sorted(self.runs)}
        return _event("changed", data | {"journal": self.journal, "all": self.everything})


@dataclass(eq=False, slots=True)
class _Viewer:
    """One who looks: his mailbox."""

    news: Change = field(default_factory=Change)
    wake: asyncio.Event = field(default_factory=asyncio.Event)

    def take(self) -> Change:
        taken, self.news = self.news, Change(self.news.version)
        self.wake.clear()
        return taken


class Looker:
    """Asks a store what has changed since it was asked last."""

    def __init__(self, store: Callable[[], RunStore]) -> None:
        self._store = store
        self.version = -1
        self._calls: dict[str, int] = {}

    def begin(self) -> None:
        """Take the store as it is now for known."""
        store = self._store()
        state = store.state()
        self.version, self._calls = state.version, store.delivered_of(list(state.running))

    def look(self) -> Change:
        """Return what has changed.

        Raises
        ------
        StorageError
            If the store cannot be read; what has changed is told the next time.
        """
        store = self._store()
        state = store.state()
        change = Change(state.version)
        if state.version != self.version:
            change = self._committed(store, state)
        calls = store.delivered_of(list(state.running))
        change.runs |= {run_id for run_id, n in calls.items() if n != self._calls.get(run_id)}
        change.experiments |= {entry.run.experiment for entry in state.entries(list(change.runs))}
        self.version, self._calls = state.version, calls
        return change

    def _committed(self, store: RunStore, state: State) -> Change:
        change = Change(state.version)
        events = store.journal(after=self.version, last=MOST_NAMED + 1)
        if len(events) > MOST_NAMED or state.version < self.version:
            change.journal = change.everything = True
            return change
        change.runs = {event.run_id for event in events if event.run_id}
        for name in {event.experiment for event in events if event.experiment}:
            number = state.number_of(name)
            book = None if number is None else state.books().get(number)
            change.experiments |= {name} if book is None else {name, book.record.name}
        change.journal = bool(events)
        return change


class Live:
    """Tells viewers what changes; belongs to one event loop while somebody looks."""

    def __init__(self, store: Callable[[], RunStore], *, every_s: float = EVERY_S) -> None:
        self._looker = Looker(store)
        self._every_s = every_s
        self._viewers: set[_Viewer] = set()
        self._poller: asyncio.Task[None] | None = None
        self._closed = False
        self.n_changes = 0
        """How often something had changed: what was worked out at the same number still holds for who looks."""

    @property
    def n_viewers(self) -> int:
        """How many look."""
        return len(self._viewers)

    def close(self) -> None:
        """Let all viewers go, and begin with none again; called in the loop when serving ends."""
        self._closed = True
        for viewer in self._viewers:
            viewer.wake.set()

    async def events(self) -> AsyncGenerator[bytes, None]:
        """Yield what a viewer is to read, until the end of serving."""
        viewer = _Viewer()
        self._viewers.add(viewer)
        try:
            await self._begun()
            yield f"retry: {COME_BACK_MS}\n".encode() + _event("hello", {"version": self._looker.version})
            while not self._closed:
                try:
                    await asyncio.wait_for(viewer.wake.wait(), HEARTBEAT_S)
                except TimeoutError:
                    yield b": still here\n\n"
                    continue
                news = viewer.take()
                if news:
                    yield news.event()
        finally:
            self._viewers.discard(viewer)

    async def _begun(self) -> None:
        """Make sure that the poller runs, and that it knows from where on it looks."""
        if self._poller is None or self._poller.done():
            with contextlib.suppress(StorageError):
                await asyncio.to_thread(self._looker.begin)
        if self._poller is None or self._poller.done():  # another viewer may have come meanwhile
            self._poller = asyncio.create_task(self._poll(), name="advisor-live")

    async def _poll(self) -> None:
        """Look while somebody is there; trouble with the store is said once, and tried again."""
        told = False
        while self._viewers and not self._closed:
            await asyncio.sleep(self._every_s)
            try:
                change = await asyncio.to_thread(self._looker.look)
                told = False
            except StorageError as error:
                log.log(logging.DEBUG if told else logging.WARNING, "%s; it is tried again", error)
                told = True
                continue
            if change:
                self.n_changes += 1
                for viewer in self._viewers:
                    viewer.news.add(change)
                    viewer.wake.set()


class _Stream(Response):
    """An answer that goes on until the viewer or the server leaves."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        sending = asyncio.create_task(self._send(scope, send))
        leaving = asyncio.create_task(_left(receive))
        try:
            await asyncio.wait((sending, leaving), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (sending, leaving):
                task.cancel()
            await asyncio.gather(sending, leaving, return_exceptions=True)

    async def _send(self, scope: Scope, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": list(HEADERS)})
        if scope["method"] != "HEAD":
            async with contextlib.aclosing(self._live.events()) as events:
                async for event in events:
                    message = {"type": "http.response.body", "body": event, "more_body": True}
                    try:
                        await asyncio.wait_for(send(message), SEND_WITHIN_S)
                    except TimeoutError:
                        log.info("a viewer has read nothing for %.0f s and was let go", SEND_WITHIN_S)
                        break
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def live(request: Request) -> Response:
    """Tell what changes, for as long as somebody listens."""
    from advisor.web.web import Web

    found = Web.of(request).live
    if found.n_viewers >= MOST_VIEWERS:
        return PlainTextResponse("too many pages are open; close some\n", 503, {"retry-after": "30"})
    return _Stream(found)


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _event(name: str, data: object) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()

"""The server over this process's stdin and stdout, as agents' programs start it.

The SDK keeps stdout for the protocol and sends everything else that is printed to stderr. Reading is ours: the SDK's
reader waits for a line however the program is told to end. Invariant: the end of stdin, SIGINT and SIGTERM end the
server at once, and what it was working on is finished first.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Final, cast

import anyio
from mcp.server.stdio import stdio_server

if TYPE_CHECKING:
    from mcp.server.lowlevel import Server

CTRL_C: Final = signal.SIGINT
"""What tells that a person ended it."""
AHEAD: Final = 16
"""Lines that are read before the one under way is taken."""


def serve(server: Server[Any]) -> signal.Signals | None:
    """Serve until stdin ends or the process is told to end; return the signal that told it."""
    return anyio.run(_serve, server)


async def _serve(server: Server[Any]) -> signal.Signals | None:
    told: signal.Signals | None = None

    async def listen() -> None:
        nonlocal told
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            told = await anext(aiter(signals))
        tasks.cancel_scope.cancel()  # a second signal ends the process the hard way

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(listen)
        lines = cast("anyio.AsyncFile[str]", _lines(_taken_stdin()))  # only iterated over
        async with stdio_server(stdin=lines) as (read, write):
            await server.run(read, write, server.create_initialization_options())
        tasks.cancel_scope.cancel()
    return told


def _taken_stdin() -> int:
    """Return a descriptor of what stdin was; whoever else reads stdin from now on finds its end."""
    wire = os.dup(sys.stdin.fileno())
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), sys.stdin.fileno())
    return wire


async def _lines(descriptor: int) -> AsyncIterator[str]:
    """Yield the lines of a descriptor, read by a thread that nobody waits for."""
    loop, queue = asyncio.get_running_loop(), asyncio.Queue[str | None](AHEAD)

    def read() -> None:
        try:
            with os.fdopen(descriptor, encoding="utf-8", errors="replace") as stream:
                for line in stream:
                    asyncio.run_coroutine_threadsafe(queue.put(line), loop).result()
            asyncio.run_coroutine_threadsafe(queue.put(None), loop).result()
        except RuntimeError:  # the loop has ended before stdin
            return

    threading.Thread(target=read, name="stdin", daemon=True).start()
    while (line := await queue.get()) is not None:
        yield line

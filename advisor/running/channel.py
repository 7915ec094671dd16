"""The owner's end of the socket that a training reports to: connections, and messages out of bytes.

Leaves out what messages mean, see ``advisor.tracking.attached``. Invariant: nothing that arrives raises; what is no
message is passed over.
"""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import Iterator
from pathlib import Path
from selectors import EVENT_READ, BaseSelector
from typing import Any, Final

log = logging.getLogger(__name__)

MESSAGE_MAX_BYTES: Final = 32 * 2**20
"""Twice what an event may hold; whoever sends more is no training of ours."""
CHUNK: Final = 2**18


class Connection:
    """One process that has attached to the run."""

    def __init__(self, link: socket.socket) -> None:
        self._link = link
        self._rest = b""

    def fileno(self) -> int:
        """Return the number that a selector waits for."""
        return self._link.fileno()

    def read(self) -> list[dict[str, Any]] | None:
        """Return the messages that have arrived, None where the other side has hung up."""
        try:
            data = self._link.recv(CHUNK)
        except OSError:
            data = b""
        if not data or len(self._rest) > MESSAGE_MAX_BYTES:
            return None
        *lines, self._rest = (self._rest + data).split(b"\n") if b"\n" in data else [self._rest + data]
        return list(_messages(lines))

    def reply(self, answer: dict[str, Any]) -> None:
        """Answer a question; whoever has hung up meanwhile misses it."""
        try:
            self._link.sendall(json.dumps(answer, default=str).encode() + b"\n")
        except OSError as error:
            log.debug("an answer was not heard: %s", error)

    def wait_no_more(self) -> None:
        """From now on ``read`` returns what has arrived, and takes the other side to have hung up after that."""
        self._link.setblocking(False)

    def close(self) -> None:
        """Hang up."""
        self._link.close()


def _messages(lines: list[bytes]) -> Iterator[dict[str, Any]]:
    for line in lines:
        if not line:
            continue
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            log.debug("no message: %r", line[:200])
            continue
        if isinstance(message, dict):
            yield message


class Channel:
    """A socket in the file system that the processes of one run connect to."""

    def __init__(self, address: Path, selector: BaseSelector) -> None:
        self.address = address
        self._selector = selector
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.bind(str(address))
        self._socket.listen()
        self._connections: list[Connection] = []
        selector.register(self._socket, EVENT_READ, self)

    def accept(self) -> None:
        """Take in a process that connects; the selector has it from now on."""
        connection = Connection(self._socket.accept()[0])
        self._connections.append(connection)
        self._selector.register(connection, EVENT_READ, connection)

    def drop(self, connection: Connection) -> None:
        """Let go of a process that has hung up."""
        self._selector.unregister(connection)
        self._connections.remove(connection)
        connection.close()

    def close(self) -> None:
        """Hang up on all, and remove the socket."""
        for connection in list(self._connections):
            self.drop(connection)
        self._selector.unregister(self._socket)
        self._socket.close()
        self.address.unlink(missing_ok=True)

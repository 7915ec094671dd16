"""How a page is served: address, token, what may be done. Checked once; whoever holds one need not look again."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import Final

LOOPBACK_NAMES: Final = ("localhost", "127.0.0.1", "[::1]")
"""What this machine is called by itself."""

PAGE: Final = "advisor serve"
"""What serves the page to browsers; other programs serve under the same guard."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What ``advisor serve`` was told."""

    host: str = "127.0.0.1"
    """Address that is listened on."""
    port: int = 8517
    token: str | None = field(default=None, repr=False)
    """What every request has to bring; None asks for nothing, which only loopback allows."""
    read_only: bool = False
    """Whether everything that writes is refused."""
    program: str = PAGE
    """What people call the program that serves."""
    names: tuple[str, ...] = ()
    """Further host names under which the page may be asked for, such as that of a proxy before it."""

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the address."""
        return is_loopback(self.host)

    @property
    def hosts(self) -> frozenset[str]:
        """Host names, without ports, that a request may be addressed to."""
        bound = f"[{self.host}]" if ":" in self.host else self.host
        return frozenset(name.lower() for name in (*LOOPBACK_NAMES, bound, *self.names))

    @property
    def address(self) -> str:
        """Where people find the page."""
        name = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{name}:{self.port}/"


def is_loopback(host: str) -> bool:
    """Return whether an address to listen on is this machine's own only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False

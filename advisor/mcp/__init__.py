"""The door that agents use: ``advisor mcp``, a server of the Model Context Protocol over the official SDK.

Its tools are made from ``advisor.operations``, so an agent asks what the JSON API asks and gets the same answers.
Leaves out what is answered. Invariants: nothing but the protocol goes to stdout; text from runs is marked as data
wherever an agent reads it; a read-only server has no tool that writes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from advisor.mcp.server import create_server

__all__ = ["create_server"]


def __getattr__(name: str) -> Any:
    if name == "create_server":
        from advisor.mcp.server import create_server

        return create_server
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

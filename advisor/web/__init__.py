"""The page: what ``advisor serve`` shows. An ASGI application over the advisor's public calls.

Leaves out what it shows: findings, suggestions, documents come from the packages that make them. Invariant: whatever a
page shows or does, a command of the command line shows or does too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from advisor.web.app import create_app
    from advisor.web.options import Options

__all__ = ["Options", "create_app"]


def __getattr__(name: str) -> Any:
    if name == "create_app":
        from advisor.web.app import create_app

        return create_app
    if name == "Options":
        from advisor.web.options import Options

        return Options
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

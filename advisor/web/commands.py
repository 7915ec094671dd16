"""Commands and lines of Python that people copy from a page: they find the store that the page shows.

Invariant: where a shell in the folder and with the environment of the server would find another store, the store is
named; a relative one is named from the root, since nobody knows where a command will be pasted.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from advisor.config import resolve
from advisor.documents.untrusted import one_line
from advisor.errors import ConfigError

MAX_STORE = 400
"""Characters of a store's address in a command."""


@dataclass(frozen=True, slots=True)
class Shell:
    """What a command has to say so that it is about this store."""

    store: str
    """The store's address, empty where a shell finds it by itself."""

    @classmethod
    def of(cls, uri: str) -> Shell:
        """Return the shell of whoever started the server."""
        try:
            is_found = _whole(resolve().store) == _whole(uri)
        except ConfigError:  # the server has been told its store, and needs no settings
            is_found = False
        return cls("" if is_found else _whole(uri))

    def command(self, words: str) -> str:
        """Return a command of ours; what comes from runs is quoted by who asks.

        >>> Shell("/data/my runs").command("check digits")
        "advisor --store '/data/my runs' check digits"
        >>> Shell("").command("check digits")
        'advisor check digits'
        """
        return (
            f"advisor --store {shlex.quote(one_line(self.store, limit=MAX_STORE))} {words}"
            if self.store
            else f"advisor {words}"
        )

    @property
    def opened(self) -> str:
        """What opens the store in Python, after ``import advisor``.

        >>> Shell("s3://bucket/runs").opened
        "advisor.open('s3://bucket/runs')"
        """
        return f"advisor.open({one_line(self.store, limit=MAX_STORE)!r})" if self.store else "advisor.open()"


def _whole(uri: str) -> str:
    return uri if "://" in uri else str(Path(uri).expanduser().resolve())

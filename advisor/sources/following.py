"""Follows what another tool writes, while it writes: an import, again and again, at little cost.

Polls, since network file systems tell nobody that a file has grown. What is deleted, cut off or written anew meanwhile
is survived: what came into the store stays, and trouble is said once, not every second.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from advisor.errors import ImportFormatError
from advisor.sources.importing import Importer
from advisor.sources.port import Options

if TYPE_CHECKING:
    from advisor.app import Advisor

log = logging.getLogger(__name__)

DETECT_EVERY_S: Final = 2.0
"""Between two searches for further folders and files; more where a search takes long, see ``SHARE``."""
SHARE: Final = 0.2
"""Most of the time that searching and reading may take."""
QUIET_S: Final = 600.0
"""A run whose tool does not record its end is taken as finished after ten minutes without a word: epochs may be long,
and until then it can be told of."""


class Follower:
    """Called, brings what is new at one place into a store and returns the ids of the runs that it belongs to.

    Parameters
    ----------
    adv, target, tools, experiment, options
        As for ``Importer``.
    tell
        Takes a sentence about what could not be read, each once.

    Raises
    ------
    ImportFormatError, ConfigError
        If there is nothing at the place, or a tool is unknown.
    """

    def __init__(
        self,
        adv: Advisor,
        target: str,
        *,
        tools: Sequence[str] = (),
        experiment: str | None = None,
        options: Options | None = None,
        tell: Callable[[str], None] = log.warning,
    ) -> None:
        self._tell, self._told = tell, set[str]()
        self.importer = Importer(
            adv, target, tools=tools, experiment=experiment, options=options, quiet_s=QUIET_S, is_followed=True
        )
        self._detected = time.monotonic()
        self._detect_every_s = DETECT_EVERY_S
        self._rest_until = 0.0

    def __call__(self) -> frozenset[str]:
        """Bring in what is new.

        Raises
        ------
        StorageError
            If the store cannot be written; the next call tries again.
        """
        begun = time.monotonic()
        if begun < self._rest_until:
            return frozenset()
        self._look_again(begun)
        done = self.importer.sync()
        for tally in done.tallies:
            for line in [*(f"{place}: {reason}" for place, reason in tally.left_out.items()), *tally.notes]:
                self._say(line)
        end = time.monotonic()
        self._rest_until = end + (end - begun) * (1 / SHARE - 1) if end - begun > SHARE else 0.0
        return done.news

    def _look_again(self, now: float) -> None:
        if now - self._detected < self._detect_every_s:
            return
        try:
            self.importer.look_again()
        except ImportFormatError as error:  # deleted, or a disk that is away
            self._say(f"{error}; it is looked for again")
        self._detected = time.monotonic()
        self._detect_every_s = max(DETECT_EVERY_S, (self._detected - now) / SHARE)

    def _say(self, line: str) -> None:
        if line not in self._told and len(self._told) < 1_000:
            self._told.add(line)
            self._tell(line)

    def close(self) -> None:
        """Let go of files. Closing twice is fine."""
        self.importer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

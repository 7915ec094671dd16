"""How far the data of other tools has been read: a file in the store's cache, derived and safe to delete.

With it, an import that finds nothing new reads nothing. Without it, everything is read again, compared with what the
store holds, and again nothing comes twice.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from advisor.sources.port import Cursor

log = logging.getLogger(__name__)

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS marks (
    source TEXT NOT NULL, place TEXT NOT NULL, stamp TEXT NOT NULL, run_id TEXT NOT NULL, mark TEXT NOT NULL,
    PRIMARY KEY (source, place)
) WITHOUT ROWID
"""
WAIT_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Mark:
    """How far one run has been read."""

    stamp: str
    run_id: str
    """Empty for one that could not be read, until its stamp changes."""
    through: int = 0
    """Log calls that the store had of it then, see ``CurveChunk.through``."""
    lengths: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """By metric: points read, and their checksum."""
    cursor: Cursor | None = None
    head: str = ""
    """Hash of what was known of it beside its curves."""
    look_at: float | None = None
    """When to look at it again even where its files stay as they are, seconds since 1970: a run that nobody ends is
    finished when it has been quiet for long enough. None: never."""
    reason: str = ""
    """Why it was left out, where it was."""


class Marks:
    """The marks of one store, on this machine. A cache that cannot be read or written is none."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._db: sqlite3.Connection | None = None
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(file, timeout=WAIT_S, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.execute(SCHEMA)
        except (sqlite3.Error, OSError) as error:
            log.debug("no marks of earlier imports at %s: %s", file, error)
            self._forget()

    def of(self, source: str) -> dict[str, Mark]:
        """Return the marks of one source, by place."""
        if self._db is None:
            return {}
        try:
            rows = self._db.execute(
                "SELECT place, stamp, run_id, mark FROM marks WHERE source = ?", (source,)
            ).fetchall()
            return {place: _read(stamp, run_id, text) for place, stamp, run_id, text in rows}
        except (sqlite3.Error, ValueError, TypeError, KeyError) as error:
            log.debug("marks of earlier imports at %s cannot be read: %s", self._file, error)
            return {}

    def keep(self, source: str, marks: Iterable[tuple[str, Mark]]) -> None:
        """Keep marks by place, all or none."""
        if self._db is None:
            return
        rows = [(source, place, mark.stamp, mark.run_id, _write(mark)) for place, mark in marks]
        try:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany("INSERT OR REPLACE INTO marks VALUES (?, ?, ?, ?, ?)", rows)
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            log.debug("marks at %s cannot be written: %s", self._file, error)
            with contextlib.suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")

    def close(self) -> None:
        """Let go of the file. Closing twice is fine."""
        self._forget()

    def _forget(self) -> None:
        if self._db is not None:
            self._db.close()
        self._db = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _write(mark: Mark) -> str:
    content: dict[str, Any] = {"t": mark.through, "l": mark.lengths, "h": mark.head}
    if mark.cursor is not None:
        content["c"] = mark.cursor
    if mark.look_at is not None:
        content["o"] = mark.look_at
    if mark.reason:
        content["r"] = mark.reason
    return json.dumps(content, separators=(",", ":"))


def _read(stamp: str, run_id: str, text: str) -> Mark:
    content = json.loads(text)
    lengths = {metric: (int(n), int(crc)) for metric, (n, crc) in content["l"].items()}
    return Mark(
        stamp,
        run_id,
        int(content["t"]),
        lengths,
        content.get("c"),
        content["h"],
        look_at=content.get("o"),
        reason=content.get("r", ""),
    )

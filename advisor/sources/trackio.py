"""Trackio: one SQLite database a project, in ``$TRACKIO_DIR`` or wherever it was copied to.

Its schema gained columns and tables within months; what is missing is done without. Before release 0.24 a run is known
by its name only, later by an id of its own. Nothing says how a run ended, or that it did. Parquet files that the tool
keeps beside a database, for Spaces, are copies of it and passed over.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Final

from advisor.errors import SourceError
from advisor.sources import reading
from advisor.sources.databases import SUFFIXES, Database, tables_of
from advisor.sources.gathered import NAN, Gathered
from advisor.sources.port import Cursor, Entry, Found, Listing, Options, Piece, Reader, Source, SourceRun
from advisor.sources.values import seed_of

COLUMNS: Final = frozenset({"timestamp", "run_name", "step", "metrics"})
"""Of the table ``metrics``, in every release; MLflow has a table of that name with others."""
PARAMS_OF_TOOL: Final = {"_Username": "user", "_Created": "created", "_Group": "group"}
"""What the tool writes into a run's configuration."""
ALERTS_AT_MOST: Final = 100
CHECKED_ROWS: Final = 50
"""Before a cursor, by which the rows that were read are known again."""


class TrackioReader(Reader):
    """Reads folders with databases, and single databases."""

    tool: ClassVar[str] = "trackio"
    title: ClassVar[str] = "Trackio"

    def find(self, at: Listing) -> Sequence[Found]:
        """Return each project's database in a folder."""
        names = sorted(name for name in at.files if name.endswith(SUFFIXES))
        found = [self.find_file(at.path / name) for name in names]
        return [one for one in found if one is not None]

    def find_file(self, path: Path) -> Found | None:
        """Return a file that is a database with Trackio's table of metrics."""
        if not path.name.endswith(SUFFIXES) or not tables_of(path).get("metrics", frozenset()) >= COLUMNS:
            return None
        return Found(self.tool, str(path), what="SQLite database", claims=frozenset({path.name}))

    def open(self, found: Found, options: Options) -> Source:
        """Open a project's database."""
        del options
        return DatabaseSource(Path(found.path))


class DatabaseSource(Source):
    """Runs of one project.

    Raises
    ------
    SourceError
        If it is no database, or lacks the table of metrics.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._open: Database | None = None
        if not self._database(again=True).has("metrics", *COLUMNS):
            self.close()
            raise SourceError("it is no database of Trackio's: the table of metrics is missing")

    def close(self) -> None:
        """Let go of the file. Closing twice is fine."""
        if self._open is not None:
            self._open.close()
            self._open = None

    def entries(self) -> Iterator[Entry]:
        """Yield runs in the order in which they were first logged to.

        A run's stamp is made of the number and the last row of its points, its alerts and its configurations.
        """
        database = self._database(again=True)
        column = _identity(database, "metrics")
        # All at once: a question that is still open would keep the training from writing.
        found = list(
            database.rows(
                f"SELECT {column}, max(run_name), count(*), max(rowid), min(rowid) FROM metrics "
                f"GROUP BY {column} ORDER BY min(rowid)"
            )
        )
        beside = {table: _stamps(database, table) for table in ("configs", "alerts")}
        for identity, name, n, last, _ in found:
            stamps = [beside[table].get(identity) for table in beside]
            yield Entry(_text(identity), stamp=f"{n}.{last} {stamps}", load=partial(self._load, identity, _text(name)))

    def _database(self, *, again: bool = False) -> Database:
        if again or self._open is None:
            self.close()
            self._open = Database(self._path)
        return self._open

    def _load(self, identity: Any, name: str) -> SourceRun:
        database = self._database()
        config = _config(database, identity)
        own = {ours: config.pop(theirs, None) for theirs, ours in PARAMS_OF_TOOL.items()}
        params = reading.flat(config)
        first, last = _times(database, identity)
        started = min((at for at in (_time(own["created"]), first) if at), default=None)
        has_id = _identity(database, "metrics") == "run_id"
        project = self._path.stem
        place = _text(identity) if has_id else f"{self._path.absolute()}:{name}"
        return SourceRun(
            key=place,
            experiment=project,
            read=partial(self._read, identity, 0.0 if started is None else started.timestamp()),
            name=name or None,
            state=None,
            active=last,
            params=params,
            notes=_alerts(database, identity),
            seed=seed_of(params),
            started=started,
            environment={"user": own["user"]} if isinstance(own["user"], str) else {},
            meta={"group": own["group"]} if isinstance(own["group"], str) else {},
        )

    def _read(self, identity: Any, started_s: float, cursor: Cursor | None) -> Piece:
        """Return a run's curves, from a cursor where its rows are still there."""
        database = self._database()
        column = _identity(database, "metrics")
        after = _resumed(database, column, identity, cursor)
        gathered, left_out = Gathered(), Counter[str]()
        last = after
        statement = (
            f"SELECT rowid, step, timestamp, metrics FROM metrics WHERE {column} = ? AND rowid > ? ORDER BY rowid"
        )
        for row, step, stamp, content in database.rows(statement, (identity, after)):
            last = row
            at = reading.whole(step)
            values = _object(content)
            if at is None or values is None:
                left_out["unreadable row"] += 1
                continue
            time = _time(stamp)
            _keep(values, "", at, NAN if time is None else time.timestamp() - started_s, gathered, left_out, 0)
        notes = gathered.notes()
        if left_out:
            kinds = ", ".join(f"{n:,} of type {kind}" for kind, n in sorted(left_out.items())[:10])
            notes.append(f"values that are no numbers were left out: {kinds}")
        mark = _mark(database, column, identity, last)
        return Piece(gathered.curves(), is_whole=after < 0, cursor={"row": last, "mark": mark}, notes=tuple(notes))


def _identity(database: Database, table: str) -> str:
    """Return the column by which a table tells runs apart."""
    return "run_id" if database.has(table, "run_id") else "run_name"


def _stamps(database: Database, table: str) -> dict[Any, str]:
    """Return by run what changes with its rows in a table; empty where there is none."""
    column = _identity(database, table)
    if not database.has(table, column):
        return {}
    content = "config" if database.has(table, "config") else "NULL"
    statement = f"SELECT {column}, count(*), max(rowid), max({content}) FROM {table} GROUP BY {column}"
    return {
        identity: f"{n}.{last}.{zlib.crc32(_text(content).encode(errors='replace')):x}"
        for identity, n, last, content in database.rows(statement)
    }


def _config(database: Database, identity: Any) -> dict[str, Any]:
    column = _identity(database, "configs")
    if not database.has("configs", column, "config"):
        return {}
    statement = f"SELECT config FROM configs WHERE {column} = ? ORDER BY rowid DESC LIMIT 1"
    for (content,) in database.rows(statement, (identity,)):
        return _finite_words(_object(content) or {}, 0)
    return {}


def _finite_words(values: Mapping[str, Any], depth: int) -> dict[str, Any]:
    """Return settings with NaN and infinity as numbers; the tool writes them as text."""
    out: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict) and depth < reading.DEPTH_AT_MOST:
            out[name] = _finite_words(value, depth + 1)
        else:
            out[name] = WORDS.get(value, value) if isinstance(value, str) else value
    return out


WORDS: Final[Mapping[str, float]] = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}
"""As the tool writes them, letter for letter."""


def _times(database: Database, identity: Any) -> tuple[datetime | None, datetime | None]:
    """Return when a run was logged to first and last."""
    column = _identity(database, "metrics")
    statement = f"SELECT min(timestamp), max(timestamp) FROM metrics WHERE {column} = ?"
    for first, last in database.rows(statement, (identity,)):
        return _time(first), _time(last)
    return None, None


def _time(text: Any) -> datetime | None:
    """Return a time; old releases wrote it without a zone, in that of the machine."""
    try:
        return datetime.fromisoformat(str(text)).astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _alerts(database: Database, identity: Any) -> tuple[str, ...]:
    column = _identity(database, "alerts")
    if not database.has("alerts", column, "title"):
        return ()
    wanted = database.columns("alerts", ("level", "title", "text", "step"))
    statement = f"SELECT {wanted} FROM alerts WHERE {column} = ? ORDER BY rowid LIMIT {ALERTS_AT_MOST}"
    out = []
    for level, title, text, step in database.rows(statement, (identity,)):
        where = f", step {step}" if reading.whole(step) is not None else ""
        out.append(
            f"alert ({_text(level) or 'warn'}{where}): {_text(title)}{f': {_text(text)}' if text else ''}"[:2_000]
        )
    return tuple(out)


def _resumed(database: Database, column: str, identity: Any, cursor: Cursor | None) -> int:
    """Return the row after which to go on, -1 where all must be read again."""
    row, mark = ((cursor or {}).get(name) for name in ("row", "mark"))
    if not isinstance(row, int) or row < 0 or not -(2**63) <= row < 2**63:
        return -1
    return row if _mark(database, column, identity, row) == mark else -1


def _mark(database: Database, column: str, identity: Any, row: int) -> list[int]:
    """Return what tells the rows of a run up to one of them: how many there are, and a checksum of the last."""
    statement = f"SELECT count(*) FROM metrics WHERE {column} = ? AND rowid <= ?"
    n = next((n for (n,) in database.rows(statement, (identity, row))), 0)
    crc = 0
    statement = (
        f"SELECT rowid, step, timestamp, metrics FROM metrics WHERE {column} = ? AND rowid <= ? "
        f"ORDER BY rowid DESC LIMIT {CHECKED_ROWS}"
    )
    for one in database.rows(statement, (identity, row)):
        crc = zlib.crc32(repr(one).encode(errors="replace"), crc)
    return [n, crc]


def _keep(
    values: Mapping[str, Any],
    prefix: str,
    step: int,
    time: float,
    gathered: Gathered,
    left_out: Counter[str],
    depth: int,
) -> None:
    """Keep the numbers of a log call, nested ones by their path, and count what is none."""
    for name, value in values.items():
        found = WORDS.get(value) if isinstance(value, str) else reading.number(value)
        if found is not None:
            gathered.add(prefix + name, step, found, time)
        elif isinstance(value, dict) and "_type" not in value and depth < reading.DEPTH_AT_MOST:
            _keep(value, f"{prefix}{name[:500]}.", step, time, gathered, left_out, depth + 1)
        elif value is not None:
            left_out[_kind(value)] += 1


def _kind(value: Any) -> str:
    if isinstance(value, dict):
        return str(value.get("_type", "mapping"))[:40]
    return "text" if isinstance(value, str) else "list"


def _object(content: Any) -> dict[str, Any] | None:
    """Return a column of JSON, which releases wrote as text or as bytes; None for what is no JSON object."""
    if not isinstance(content, (str, bytes)):
        return None
    try:
        value = reading.parse_json(content)
    except SourceError:
        return None
    return value if isinstance(value, dict) else None


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return "" if value is None else str(reading.plain(value))

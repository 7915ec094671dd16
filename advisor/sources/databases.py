"""SQLite databases of other programs, read only: nothing is written to them or beside them.

A database with a write-ahead log that nobody has open is not opened where it lies, because SQLite would then make files
beside it: it is read as it is where its log is empty, and from a temporary copy where it is not.

A database may be hostile. Views and virtual tables are passed over, since reading one runs what its maker wrote, and
a statement that takes far too long is stopped.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import quote, unquote

from advisor.errors import SourceError
from advisor.sources.reading import open_file

MAGIC: Final = b"SQLite format 3\x00"
SUFFIXES: Final = (".db", ".sqlite", ".sqlite3", ".db3")
WAIT_S: Final = 10.0
"""For a writer to finish."""
STATEMENT_S: Final = 120.0
"""A statement that takes longer is stopped."""
COPY_MAX_BYTES: Final = 4 * 2**30
VALUE_MAX_BYTES: Final = 64 * 2**20
ROWS_AT_ONCE: Final = 20_000


def is_database(path: Path) -> bool:
    """Return whether a file begins as an SQLite database does."""
    try:
        with open_file(path) as file:
            return file.read(16) == MAGIC
    except (SourceError, OSError):
        return False


def tables_of(path: Path) -> dict[str, frozenset[str]]:
    """Return a database's tables and their columns; empty for what is no database that can be read."""
    if not is_database(path):
        return {}
    try:
        with Database(path) as database:
            return database.tables
    except SourceError:
        return {}


def path_of_address(address: str) -> Path | None:
    """Return the file that an SQLAlchemy address (``sqlite:///studies.db``) means; None for any other address."""
    scheme, _, rest = address.partition("://")
    if scheme.split("+")[0].lower() != "sqlite" or not rest.startswith("/"):
        return None
    return Path(unquote(rest[1:].partition("?")[0])).expanduser().absolute()


class Database:
    """An open database. A context manager.

    Raises
    ------
    SourceError
        Everywhere, where it cannot be opened or read.
    """

    def __init__(self, path: Path) -> None:
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._until = 0.0
        self._connection: sqlite3.Connection | None = None
        self.tables: dict[str, frozenset[str]] = {}
        """Plain tables and their columns."""
        try:
            self._connection, self.tables = self._opened(path)
        except (sqlite3.Error, UnicodeError) as error:  # messages and names of columns that are no UTF-8
            self.close()
            raise SourceError(_sentence(error)) from error
        except (OSError, SourceError) as error:
            self.close()
            raise SourceError(f"cannot be opened: {getattr(error, 'strerror', None) or error}") from error

    def rows(self, statement: str, values: Sequence[Any] = ()) -> Iterator[tuple[Any, ...]]:
        """Yield a query's rows."""
        for block in self.blocks(statement, values):
            yield from block

    def blocks(self, statement: str, values: Sequence[Any] = ()) -> Iterator[list[tuple[Any, ...]]]:
        """Yield a query's rows, many at a time."""
        if self._connection is None:
            raise SourceError("is closed")
        try:
            self._until = time.monotonic() + STATEMENT_S
            cursor = self._connection.execute(statement, values)
            while block := cursor.fetchmany(ROWS_AT_ONCE):
                yield block
                self._until = time.monotonic() + STATEMENT_S
        except (sqlite3.Error, UnicodeError, OverflowError, MemoryError) as error:
            raise SourceError(_sentence(error)) from error

    def has(self, table: str, *columns: str) -> bool:
        """Return whether there is a table with some columns."""
        return table in self.tables and self.tables[table].issuperset(columns)

    def columns(self, table: str, wanted: Sequence[str]) -> str:
        """Return columns to select, NULL in place of those that this version of the schema lacks."""
        there = self.tables.get(table, frozenset())
        return ", ".join(f'"{name}"' if name in there else "NULL" for name in wanted)

    def close(self) -> None:
        """Let go of the file. Closing twice is fine."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _opened(self, path: Path) -> tuple[sqlite3.Connection, dict[str, frozenset[str]]]:
        with open_file(path) as file:
            head = file.read(20)
        if head[:16] != MAGIC:
            raise SourceError("it is no SQLite database")
        log, shared = _beside(path, "-wal"), _beside(path, "-shm")
        if head[18:20] != b"\x02\x02":
            try:
                return self._begun(path, "mode=ro")
            except sqlite3.OperationalError as error:
                if _is_busy(error) or not _size(_beside(path, "-journal")):
                    raise
                return self._copied(path)  # a writer died in the middle: its journal is rolled back in a copy
        if not _size(log) and not shared.exists():
            return self._begun(path, "mode=ro&immutable=1")  # whoever has it open keeps a log beside it
        if not shared.exists():
            return self._copied(path)
        try:
            return self._begun(path, "mode=ro")
        except sqlite3.OperationalError as error:
            if _is_busy(error):
                raise
            return self._copied(path)  # as in a folder that cannot be written

    def _copied(self, path: Path) -> tuple[sqlite3.Connection, dict[str, frozenset[str]]]:
        beside = [path, _beside(path, "-wal"), _beside(path, "-journal")]
        there = [each for each in beside if each == path or (each.is_file() and not each.is_symlink())]
        if sum(map(_size, there)) > COPY_MAX_BYTES:
            raise SourceError("was left in the middle of writing; open it once with the program that wrote it")
        self._folder = tempfile.TemporaryDirectory(prefix="advisor-")
        copy = Path(self._folder.name) / "copy.db"
        for each in there:
            shutil.copyfile(each, copy.with_name(copy.name + each.name[len(path.name) :]))
        return self._begun(copy, "mode=rw")

    def _begun(self, path: Path, options: str) -> tuple[sqlite3.Connection, dict[str, frozenset[str]]]:
        address = f"file:{quote(str(path))}?{options}"
        connection = sqlite3.connect(address, uri=True, timeout=WAIT_S, isolation_level=None, check_same_thread=False)
        try:
            connection.text_factory = _as_text
            connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, VALUE_MAX_BYTES)
            connection.set_progress_handler(lambda: time.monotonic() > self._until, 200_000)
            self._until = time.monotonic() + STATEMENT_S
            for setting in ("query_only=ON", "trusted_schema=OFF", "cell_size_check=ON"):
                connection.execute(f"PRAGMA {setting}")
            return connection, _tables(connection)
        except BaseException:
            connection.close()
            raise


def _tables(connection: sqlite3.Connection) -> dict[str, frozenset[str]]:
    """Return plain tables and their columns; generated columns are passed over, since they compute."""
    made = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table' LIMIT 1000").fetchall()
    names = [str(name) for name, sql in made if isinstance(sql, str) and not sql.upper().startswith("CREATE VIRTUAL")]
    return {
        name: frozenset(
            str(column)
            for (column,) in connection.execute("SELECT name FROM pragma_table_xinfo(?) WHERE hidden = 0", (name,))
        )
        for name in names
    }


def _as_text(content: bytes) -> str:
    return content.decode(errors="replace")


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:
        return 0


def _is_busy(error: BaseException) -> bool:
    return "locked" in str(error) or "busy" in str(error)


def _sentence(error: BaseException) -> str:
    if _is_busy(error):
        return f"is locked by another program for more than {WAIT_S:.0f} s; try again later"
    if "interrupted" in str(error):
        return f"took more than {STATEMENT_S:.0f} s to answer"
    return f"cannot be read as an SQLite database: {' '.join(str(error).split())[:200]}"

"""Optuna: SQLite databases and journal files, read without Optuna. A study is an experiment, a trial a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from advisor.errors import SourceError
from advisor.sources import databases
from advisor.sources.folders import look
from advisor.sources.optuna_journal import JournalSource
from advisor.sources.optuna_sqlite import TABLES, SqliteSource
from advisor.sources.port import Found, Listing, Options, Reader, Source

DATABASE: Final = "SQLite database"
JOURNAL: Final = "journal"
JOURNAL_SUFFIXES: Final = (".log", ".journal", ".jsonl")
SERVERS: Final = ("postgresql", "mysql", "mariadb", "mssql", "oracle", "redis")


class OptunaReader(Reader):
    """Reads what Optuna kept."""

    tool = "optuna"
    title = "Optuna"

    def find(self, at: Listing) -> Sequence[Found]:
        """Return databases and journals in a folder."""
        found = []
        for name in sorted(at.files):
            path = at.path / name
            if name.endswith(databases.SUFFIXES) and _is_database(path):
                beside = {name, *(f"{name}{ending}" for ending in ("-wal", "-shm", "-journal"))} & at.files
                found.append(Found(self.tool, str(path), what=DATABASE, claims=frozenset(beside)))
            elif name.endswith(JOURNAL_SUFFIXES) and _is_journal(path):
                found.append(Found(self.tool, str(path), what=JOURNAL, claims=frozenset({name})))
        return found

    def find_file(self, path: Path) -> Found | None:
        """Return a database or a journal, whatever its name."""
        if _is_database(path):
            return Found(self.tool, str(path), what=DATABASE)
        return Found(self.tool, str(path), what=JOURNAL) if _is_journal(path) else None

    def find_address(self, address: str) -> Found | None:
        """Return the file that an address of a storage (``sqlite:///studies.db``) means.

        Raises
        ------
        SourceError
            If it is that of a database server.
        """
        path = databases.path_of_address(address)
        if path is not None:
            return self.find_file(path)
        if address.split("://")[0].split("+")[0].lower() in SERVERS:
            raise SourceError(
                "a database server is not read; copy an Optuna study into a file first, with "
                "optuna.copy_study(…, to_storage='sqlite:///studies.db'), and give that"
            )
        return None

    def open(self, found: Found, options: Options) -> Source:
        """Open what was found."""
        del options
        path = Path(found.path)
        return SqliteSource(path) if found.what == DATABASE else JournalSource(path)


def _is_database(path: Path) -> bool:
    tables = databases.tables_of(path)
    return tables.keys() >= TABLES and "study_name" in tables["studies"]


def _is_journal(path: Path) -> bool:
    seen = look(str(path))
    return seen is not None and seen[0][:200].replace(b" ", b"").startswith(b'{"op_code":0,"worker_id":')

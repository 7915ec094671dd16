"""The only door to LanceDB: tables of plain rows, appended, filtered and searched.

Knows nothing of runs. Errors of the library are mapped to ``storage.errors`` here and nowhere else.
Commits to a local store queue behind a file lock, because measured on two busy cores colliding writers
otherwise fail for good; on object storage conditional writes decide and the loser tries again, first inside the
library (20 times, in slots that grow as others collide), then here until its time is over.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import logging
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from storage.errors import (
    FilterError,
    SchemaTooNewError,
    StorageError,
    StoreNotFoundError,
    StoreUnavailableError,
)
from storage.lease import FileLeases, Leases, TableLeases
from storage.light_import import left_out, put_off_init, unchecked
from storage.migrations import MIGRATIONS, MIGRATIONS_TABLE, SCHEMA_VERSION, Columns
from storage.place import Place
from storage.ranking import Coded
from storage.remote import explain, is_remote, persist, table_options
from storage.whole import cut_short, data_files

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger(__name__)

LOCK_TIMEOUT_S: Final = 60.0
"""A commit takes milliseconds; who waits a minute for the lock has a dead file system before him."""
LET_GO_S: Final = 0.05
"""How long the end of the interpreter waits for the library's threads to let go of it; they need microseconds."""
BATCH_ROWS: Final = 16_384
"""Rows that the library hands over at once: with fewer the handing over costs more than the query."""
FEW_ROWS: Final = 20_000
"""Rows whose text is coded in Python: loading the library's own functions for it takes 0.2 s, coding so many 0.3 s."""
POLITE_FOR_S: Final = 5.0
"""How long a process waits for others of its machine before it commits to object storage all the same."""
KEEP_VERSIONS: Final = timedelta(days=7)
"""Nobody reads for longer than that, and who made a mistake may find out on Monday."""
ZSTD: Final = {"lance-encoding:compression": "zstd"}
"""How a column of long texts is told to be compressed; it is read off the table, not off what is appended."""

Rows = Mapping[str, Sequence[Any]]
"""Column name → values."""

Column = NDArray[Any]
"""Shape (n,): numbers with NaN for null, or objects with None for null."""


class Database:
    """Tables at one address.

    Parameters
    ----------
    uri
        A folder or an address that LanceDB understands.
    create
        Whether to create the tables where there are none.

    Raises
    ------
    StoreNotFoundError, StoreUnavailableError, SchemaTooNewError
    """

    def __init__(self, uri: str | Path, *, create: bool) -> None:
        self.uri = str(uri)
        self.folder = None if is_remote(self.uri) else Path(self.uri).expanduser().absolute()
        self._tables: dict[str, Any] = {}
        self._pinned: dict[str, tuple[int, Any]] = {}
        self._thread_lock = threading.RLock()
        self._leases: Leases = TableLeases(self) if self.folder is None else FileLeases(self.folder / "locks")
        Place(self.uri).refuse_wrong_folder(create=create)
        with mapped(self.uri, "open"):
            if self.folder is not None and create:
                (self.folder / "locks").mkdir(parents=True, exist_ok=True)
            self._connection = _connect(self.uri if self.folder is None else str(self.folder))
            present = self.names()
        if "migrations" not in present:
            if not create:
                raise StoreNotFoundError(f"no store at {self.uri!r}; check the address, or track a first run there")
            present = []
        self._migrate(present)

    # -- tables

    def names(self) -> list[str]:
        """Return the names of the tables."""
        with mapped(self.uri, "list the tables of"):
            return sorted(self._connection.list_tables().tables)

    def create(self, name: str, columns: Columns, *, stable_row_ids: bool = False, dimension: int = 0) -> None:
        """Create a table, unless there is one."""
        options = {"new_table_enable_stable_row_ids": "true"} if stable_row_ids else None

        def once() -> None:
            try:
                with mapped(self.uri, f"create the table {name!r} in"):
                    self._tables[name] = self._connection.create_table(
                        name, schema=_schema(columns, dimension), exist_ok=True, storage_options=options
                    )
            except StoreUnavailableError as error:
                # Said where the answer to the creating request got lost, and by the loser of two that create at once.
                error.passing |= "was not found" in str(error)
                raise

        persist(once)

    def add_columns(self, name: str, columns: Columns) -> None:
        """Add the columns that a table lacks, null in the rows that are there, in one commit."""
        with mapped(self.uri, f"extend the table {name!r} of"):
            present = set(self._table(name).schema.names)
            missing = {column: kind for column, kind in columns.items() if column not in present}
            if missing:
                self._table(name).add_columns(list(_schema(missing)))

    def drop(self, name: str) -> None:
        """Drop a table, if there is one."""
        self.unpin(name)

        def once() -> None:
            with mapped(self.uri, f"drop the table {name!r} of"):
                self._connection.drop_table(name, ignore_missing=True)

        persist(once)

    def pin(self, name: str) -> int:
        """Hold on to a table as it is now, for reads ``at`` the version that is returned."""
        with mapped(self.uri, "read"):
            _check_process(self.uri)
            table = self._connection.open_table(name)
            version = int(table.version)
            table.checkout(version)
            self._pinned[name] = (version, table)
        return version

    def unpin(self, name: str) -> None:
        """Let go of the older version of a table that is being read, and of what is known of the table."""
        self._pinned.pop(name, None)
        self._tables.pop(name, None)

    def has(self, name: str) -> bool:
        """Return whether a table exists."""
        return name in self._tables or name in self.names()

    def version(self, name: str) -> int:
        """Return the number of the last commit to a table."""
        with mapped(self.uri, "read"):
            return int(self._table(name).version)

    def count(self, name: str, where: str | None = None) -> int:
        """Return the number of rows, of those that fit a filter."""
        with mapped(self.uri, "read"):
            return int(self._table(name).count_rows(where))

    def column_names(self, name: str, *, at: int | None = None) -> list[str]:
        """Return the names of a table's columns."""
        with mapped(self.uri, "read"):
            return list(self._table(name, at=at).schema.names)

    # -- writing

    def append(self, name: str, rows: Rows, columns: Columns, *, dimension: int = 0) -> int:
        """Append rows in one commit and return the version that it made.

        Raises
        ------
        StoreUnavailableError
            If it could not be committed; no row of it is visible then, except where the
            connection broke after the commit, which is why rows carry ids.
        """
        data = _arrow(rows, columns, dimension)

        def commit() -> int:
            return self._whole(name, self._table(name).add(data).version)

        return self._commit(commit, f"append to {name!r} in")

    def upsert(self, name: str, rows: Rows, columns: Columns, *, key: str) -> int:
        """Insert rows, or replace those with the same key, and return the version that it made.

        For tables with one writer at a time. A condition on which rows to replace is not offered: the library
        panics (0.40) when it meets one on a table with JSON columns.
        """
        data = _arrow(rows, columns)

        def commit() -> int:
            merge = self._table(name).merge_insert(key).when_matched_update_all()
            return self._whole(name, merge.when_not_matched_insert_all().execute(data).version)

        return self._commit(commit, f"update {name!r} in")

    def delete(self, name: str, where: str) -> None:
        """Delete the rows that fit a filter."""

        def commit() -> int:
            self._table(name).delete(where)
            return 0

        self._commit(commit, f"delete from {name!r} in")

    def optimize(self, name: str, *, keep: timedelta = KEEP_VERSIONS) -> None:
        """Merge small files of a table, bring its indices up to date, and let go of old versions.

        Parameters
        ----------
        keep
            Age up to which old versions stay, for whoever still reads them.

        Raises
        ------
        StoreUnavailableError
            If it did not go through. The table is then as it was before; only where a file was cut short and others
            have added rows since, it is left as it is, and the error says so.
        """
        before = self.version(name)
        with mapped(self.uri, "compact"):
            self._table(name).optimize(cleanup_older_than=keep)
            short = self._cut_short(name, since=before, version=self.version(name))
            if short:
                with self._queue():
                    self._go_behind(name, short, rows_stay=True)

    def read_through(self, name: str, *, at: int | None = None) -> None:
        """Read every value of a table, whatever it is.

        Raises
        ------
        StoreUnavailableError
            If a part of it cannot be read.
        """
        with mapped(self.uri, f"read the table {name!r} of"):
            for _ in self._table(name, at=at).search().to_batches():
                pass

    def is_incomplete(self, name: str) -> bool:
        """Return whether files of a table are missing, not only damaged."""
        try:
            self.read_through(name)
        except StoreUnavailableError as error:
            return "not found" in str(error).lower()
        return False

    def step_back(self, name: str) -> int:
        """Make the newest version of a table that can be read through its present one; return it, 0 for none.

        Versions go on from the last number, so what was committed after that version keeps its numbers to itself.
        """
        with mapped(self.uri, f"read the table {name!r} of"):
            numbers = sorted((int(each["version"]) for each in self._table(name).list_versions()), reverse=True)
        for number in numbers:
            try:
                self.unpin(name)
                self.read_through(name, at=number)
            except StoreUnavailableError:
                continue
            with mapped(self.uri, f"restore the table {name!r} of"), self._queue():
                self._table(name, at=number).restore()
            self.unpin(name)
            return number
        return 0

    @contextlib.contextmanager
    def lease(self, name: str, *, wait_s: float = 0.0) -> Iterator[bool]:
        """Hold the right to do something that one process at a time should do; yields whether it was got."""
        with self._leases.hold(name, wait_s=wait_s) as mine:
            yield mine

    def give_back(self) -> None:
        """Give memory that is free back to the system, after something large: allocators keep it for themselves."""
        import pyarrow as pa

        pa.default_memory_pool().release_unused()
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
        if trim is not None:  # glibc's
            trim(0)

    # -- reading

    def tail(
        self, name: str, columns: Sequence[str], *, after: int, through: int | None = None, where: str | None = None
    ) -> tuple[list[dict[str, Any]], int]:
        """Return the rows committed after a version, in their total order, and the version reached."""
        clauses = [f"_row_created_at_version > {int(after)}"]
        clauses += [] if through is None else [f"_row_created_at_version <= {int(through)}"]
        clauses += [] if where is None else [where]
        with mapped(self.uri, "read"):
            table = self._table(name)
            reached = int(table.version)
            query = table.search().select([*dict.fromkeys((*columns, "pos")), "_row_created_at_version"])
            rows = _all_of(query.where(" and ".join(clauses))).to_pylist()
        rows.sort(key=lambda row: (row["_row_created_at_version"], row["pos"]))
        return rows, max(reached, rows[-1]["_row_created_at_version"] if rows else 0)

    def select(
        self,
        name: str,
        columns: Sequence[str],
        *,
        where: str | None = None,
        limit: int | None = None,
        at: int | None = None,
    ) -> list[dict[str, Any]]:
        """Return rows, of those that fit a filter; of an older version of the table, where ``at`` names one.

        Raises
        ------
        FilterError
            If the database refuses the filter.
        """
        with mapped(self.uri, "read", where=where):
            query = self._table(name, at=at).search().select(list(columns))
            if where:
                query = query.where(where)
            if limit is not None:
                query = query.limit(limit)
            rows: list[dict[str, Any]] = _all_of(query).to_pylist()
        return rows

    def columns(
        self, name: str, wanted: Mapping[str, str], *, where: str | None = None, at: int | None = None
    ) -> dict[str, Column]:
        """Return columns, or expressions of columns, of the rows that fit a filter; names → what to read.

        Raises
        ------
        FilterError
            If the database refuses the filter.
        """
        with mapped(self.uri, "read", where=where):
            return _columns(self._table(name, at=at), wanted, where)

    def columns_among(
        self, rows: Rows, columns: Columns, wanted: Mapping[str, str], *, where: str | None
    ) -> dict[str, Column]:
        """Return the same of given rows, with the database's own semantics."""
        with mapped("memory", "read", where=where):
            table = _connect("memory://").create_table("rows", schema=_schema(columns))
            table.add(_arrow(rows, columns))
            return _columns(table, wanted, where)

    def batches(self, name: str, columns: Sequence[str], *, where: str | None = None) -> Iterator[Rows]:
        """Yield the rows that fit a filter some thousand at a time, all of them as of one commit.

        A list of numbers comes as a view on the database's own memory, None where it is null.
        """
        with mapped(self.uri, "read"):
            query = self._table(name).search().select(list(columns))
            for batch in (query.where(where) if where else query).to_batches():
                yield {column: _plain(batch.column(column)) for column in columns}

    def coded(
        self, name: str, wanted: Mapping[str, str | None], *, where: str | None = None, at: int | None = None
    ) -> dict[str, Coded]:
        """Return columns of text with each different text once.

        Parameters
        ----------
        wanted
            By column, what divides its parts; None where the column is a list, or is not divided.

        Raises
        ------
        FilterError
            If the database refuses the filter.
        """
        with mapped(self.uri, "read", where=where):
            query = self._table(name, at=at).search().select(list(wanted))
            data = _all_of(query.where(where) if where else query)
            return {column: _coded(data.column(column), divider) for column, divider in wanted.items()}

    def vectors(self, name: str) -> tuple[list[str], list[str], NDArray[np.float32]]:
        """Return hashes, encoders and vectors of a table of vectors; the latter as one matrix, shape (n, dimension)."""
        with mapped(self.uri, "read"):
            data = _all_of(self._table(name).search().select(["hash", "encoder", "vector"]))
            vectors = data.column("vector").combine_chunks()
            width = vectors.type.list_size
            matrix = vectors.flatten().to_numpy(zero_copy_only=False).reshape(-1, width)
            return data.column("hash").to_pylist(), data.column("encoder").to_pylist(), matrix

    def index_column(self, name: str, column: str, kind: str = "BTREE") -> None:
        """Make an index for looking up values of a column, unless there is one; ``optimize`` keeps it fresh.

        ``kind`` is BTREE, or BITMAP for few different values.
        """
        from lancedb.index import Bitmap, BTree

        with mapped(self.uri, "index"):
            table = self._table(name)
            if not any(index.columns == [column] for index in table.list_indices()):
                table.create_index(column, config={"BTREE": BTree, "BITMAP": Bitmap}[kind]())

    def n_fragments(self, name: str) -> int:
        """Return the number of data files of a table."""
        with mapped(self.uri, "read"):
            return int(self._table(name).stats()["fragment_stats"]["num_fragments"])

    def schema_version(self) -> int:
        """Return the number of the last migration applied."""
        return max((row["number"] for row in self.select("migrations", ["number"])), default=0)

    def spool_folder(self) -> Path:
        """Return where live runs of this machine keep their write-ahead logs."""
        return Place(self.uri).spool_folder()

    # -- inner workings

    def _table(self, name: str, *, at: int | None = None) -> Any:
        _check_process(self.uri)
        if at is not None:
            pinned = self._pinned.get(name)
            if pinned is None or pinned[0] != at:
                table = self._connection.open_table(name)
                table.checkout(at)
                pinned = self._pinned[name] = (at, table)
            return pinned[1]
        if name not in self._tables:
            self._tables[name] = self._connection.open_table(name)
        return self._tables[name]

    def _commit(self, commit: Callable[[], int], doing: str) -> int:
        """Run a commit behind the lock; try again with jitter where another writer was faster or the service tired."""

        def once() -> int:
            with mapped(self.uri, doing), self._queue():
                return commit()

        return persist(once)

    def _whole(self, name: str, version: int) -> int:
        """Return the version that a commit made, or take it back if not all of it was written.

        Called while the lock is held, so that nobody has built on it.
        """
        short = self._cut_short(name, since=version - 1, version=version)
        if short:
            self._go_behind(name, short)
        return int(version)

    def _cut_short(self, name: str, *, since: int, version: int) -> frozenset[str]:
        if self.folder is None:  # object stores take a file whole or not at all
            return frozenset()
        return cut_short(self.folder / f"{name}.lance", since=since, version=version)

    def _go_behind(self, name: str, short: frozenset[str], *, rows_stay: bool = False) -> None:
        """Make the newest version without certain files the present one, and say so by an error.

        Parameters
        ----------
        rows_stay
            Whether only a version with as many rows will do: what others have added since is not given up.

        Raises
        ------
        OSError
            Always. It says which version was restored, or that none was.
        """
        assert self.folder is not None
        folder, table = self.folder / f"{name}.lance", self._table(name)
        why = "the file system cut a data file short (is the disk full, or a quota or a limit on file sizes reached?)"
        for number in sorted((int(each["version"]) for each in table.list_versions()), reverse=True):
            if data_files(folder, number) & short:
                continue
            try:
                older = self._table(name, at=number)
                if not rows_stay or older.count_rows() == table.count_rows():
                    older.restore()
                    raise OSError(f"{why}; nothing of it was kept")
            finally:
                self.unpin(name)
            break
        raise OSError(f"{why}, and the table could not be taken back to what it was before; see 'advisor store verify'")

    @contextlib.contextmanager
    def _queue(self) -> Iterator[None]:
        with self._thread_lock:
            if self.folder is None:
                with self._queue_of_this_machine():
                    yield
                return
            with FileLock(self.folder / "locks" / "commit.lock", timeout=LOCK_TIMEOUT_S, poll_interval=0.002):
                yield

    @contextlib.contextmanager
    def _queue_of_this_machine(self) -> Iterator[None]:
        """Let the processes of one machine commit to object storage one after the other, as far as that goes.

        It is no lock: who waited for long goes on, and other machines know nothing of it. Conditional writes decide;
        this only spares processes of one machine from racing one another.
        """
        lock = FileLock(self.spool_folder() / "commit.lock", poll_interval=0.005)
        try:
            lock.acquire(timeout=POLITE_FOR_S)
        except (Timeout, OSError):
            yield
            return
        try:
            yield
        finally:
            lock.release()

    def _migrate(self, present: Sequence[str]) -> None:
        """Apply what the store lacks; refuse a store that is ahead of this program."""
        if "migrations" in present and self.count("migrations") == SCHEMA_VERSION:
            return  # one row each; counting them is the quickest question that a table answers
        done = self.schema_version() if "migrations" in present else 0
        if done > SCHEMA_VERSION:
            raise SchemaTooNewError(
                f"the store at {self.uri!r} has schema {done}, this program knows up to {SCHEMA_VERSION}; "
                "upgrade: pip install -U experiment-advisor"
            )
        if done == SCHEMA_VERSION:
            return
        self._commit(lambda: self._apply_migrations(done), "prepare")

    def _apply_migrations(self, done: int) -> int:
        if "migrations" in self.names():
            done = self.schema_version()
        for number, migration in enumerate(MIGRATIONS[done:], start=done + 1):
            migration(self)
            self.create("migrations", MIGRATIONS_TABLE)
            row: Rows = {
                "number": [number],
                "name": [migration.__name__],
                "time": [datetime.now(UTC)],
                "program": [_program()],
            }
            self._whole("migrations", self._table("migrations").add(_arrow(row, MIGRATIONS_TABLE)).version)
        return SCHEMA_VERSION


def _program() -> str:
    """Return the name and version of the program that writes, for whoever must find out later."""
    try:
        return f"experiment-advisor {version('experiment-advisor')}"
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "experiment-advisor"


def quoted(text: str) -> str:
    """Return text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def among(column: str, values: Iterable[str]) -> str:
    """Return the filter for some values of a column; of none it fits nothing."""
    return f"{column} in ({', '.join(map(quoted, values)) or 'NULL'})"


@contextlib.contextmanager
def mapped(uri: str, doing: str, *, where: str | None = None) -> Iterator[None]:
    """Turn the library's errors into ours, the most specific first."""
    try:
        yield
    except StorageError:
        raise
    except Timeout as error:
        raise StoreUnavailableError(
            f"cannot {doing} the store at {uri!r}: another process has held its lock for {LOCK_TIMEOUT_S:.0f} s"
        ) from error
    except (OSError, RuntimeError, ValueError) as error:
        trouble = explain(str(error), uri) if is_remote(uri) else None
        if trouble is not None:
            unavailable = StoreUnavailableError(f"cannot {doing} the store at {uri!r}: {trouble.reason}")
            unavailable.passing = trouble.passing
            raise unavailable from error
        if isinstance(error, OSError):
            raise StoreUnavailableError(f"cannot {doing} the store at {uri!r}: {error.strerror or error}") from error
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        reason = re.sub(r",?\s*/\S+\.rs:\d+(:\d+)?", "", reason)  # where in the library's build it happened
        if where is not None and not _is_io(reason):
            raise FilterError(f"the database cannot apply this filter: {reason[:300]}") from error
        unavailable = StoreUnavailableError(f"cannot {doing} the store at {uri!r}: {reason[:300]}")
        unavailable.passing = _passing(reason.replace(uri, ""))
        raise unavailable from error
    except BaseException as error:
        if type(error).__name__ not in ("PanicException", "RustPanic"):  # the library's, over a damaged file
            raise
        raise StoreUnavailableError(f"cannot {doing} the store at {uri!r}: the database broke down over it") from error


def _is_io(reason: str) -> bool:
    """Whether the library's words speak of what is stored, not of a filter; it panics over a damaged file."""
    words = ("IO error", "LanceError(IO)", "Not found", "not found", "object store", "no longer exists", "corrupt file")
    return any(word in reason for word in (*words, "panicked with message"))


def _passing(reason: str) -> bool:
    """Whether the library's own words say that trying again may help."""
    words = ("conflict", "concurrent", "retry", "timeout", "timed out", "throttl", "503")
    return any(word in reason.lower() for word in words)


_connected_in: int | None = None
"""Process that used the library first; its threads do not exist in a forked child, where calls would hang."""


def _check_process(uri: str) -> None:
    global _connected_in
    if _connected_in is None:
        _connected_in = os.getpid()
    elif _connected_in != os.getpid():
        raise StoreUnavailableError(
            f"cannot use the store at {uri!r} in process {os.getpid()}, which was forked from one that uses a store; "
            "start processes with multiprocessing's 'spawn' or 'forkserver' method"
        )


def _import_library() -> Any:
    """Import LanceDB without what is not needed of it, and let go of it before the interpreter ends."""
    if "lancedb" not in sys.modules:
        atexit.register(let_go)
        put_off_init("lance_namespace_urllib3_client")
    with unchecked():
        import lancedb

    return lancedb


def let_go() -> None:
    """Give the library's threads a moment to let go of the interpreter, before that ends.

    A worker of the library that has just handed over a result may still hold Python's lock; an interpreter that ends in
    this instant aborts (seen in 1 of 20 short scripts: "PyGILState_Release: thread state must be current"). This runs
    at exit, but before what was registered earlier: who uses a store even later calls it afterwards.
    """
    if "lancedb" in sys.modules:
        time.sleep(LET_GO_S)


def load_lean() -> None:
    """Load the library without pandas, which pyarrow would load for its own use: 0.4 of 1.7 s. For commands only."""
    with left_out("pandas"):
        import pyarrow.dataset  # noqa: F401
    _import_library()


def load_library() -> None:
    """Load LanceDB, which takes seconds; whoever opens a store in the background does it there."""
    _import_library()


def _connect(uri: str) -> Any:
    _check_process(uri)
    lancedb = _import_library()

    # An interval of zero makes each read look for commits of other processes first.
    return lancedb.connect(uri, read_consistency_interval=timedelta(0), storage_options=table_options(uri) or None)


def _arrow_type(name: str, dimension: int) -> pa.DataType:
    import pyarrow as pa

    if name.startswith("list<"):
        return pa.list_(_arrow_type(name[5:-1], dimension))
    simple = {
        "string": pa.string,
        "text": pa.string,
        "blob": pa.binary,
        "bool": pa.bool_,
        "binary": pa.binary,
        "int32": pa.int32,
        "int64": pa.int64,
        "float64": pa.float64,
        "json": pa.json_,
        "time": lambda: pa.timestamp("us", "UTC"),
        "vector": lambda: pa.list_(pa.float32(), dimension),
    }
    return simple[name]()


def _schema(columns: Columns, dimension: int = 0) -> pa.Schema:
    import pyarrow as pa

    return pa.schema(
        [
            pa.field(name, _arrow_type(kind, dimension), metadata=ZSTD if kind in ("text", "blob") else None)
            for name, kind in columns.items()
        ]
    )


def _arrow(rows: Rows, columns: Columns, dimension: int = 0) -> pa.Table:
    import pyarrow as pa

    schema = _schema(columns, dimension)
    arrays = []
    for field in schema:
        values = rows[field.name]
        if isinstance(field.type, pa.BaseExtensionType):
            arrays.append(pa.ExtensionArray.from_storage(field.type, pa.array(values, type=field.type.storage_type)))
        else:
            arrays.append(pa.array(values, type=field.type))
    return pa.Table.from_arrays(arrays, schema=schema)


def _all_of(query: Any) -> Any:
    """Return all rows of a query as an Arrow table; its own ``to_arrow`` is half as fast, a thousand rows at a time."""
    return query.to_batches(BATCH_ROWS).read_all()


def _columns(table: Any, wanted: Mapping[str, str], where: str | None) -> dict[str, Column]:
    query = table.search().select(dict(wanted))
    data = _all_of(query.where(where) if where else query)
    return {name: _numpy(data.column(name)) for name in wanted}


def _numpy(column: Any) -> Column:
    import pyarrow as pa

    if pa.types.is_floating(column.type) or pa.types.is_integer(column.type):
        return np.asarray(column.to_numpy(zero_copy_only=False))
    out = np.empty(len(column), dtype=object)
    out[:] = column.to_pylist()
    return out


def _coded(column: Any, divider: str | None) -> Coded:
    if len(column) <= FEW_ROWS:
        values = column.to_pylist()
        if divider is not None:
            return Coded.of((value or "").split(divider) for value in values)
        return Coded.of(value if isinstance(value, list) else [value or ""] for value in values)
    import pyarrow as pa
    import pyarrow.compute as pc

    column = column.combine_chunks()
    if divider is not None:
        column = pc.split_pattern(pc.fill_null(column, ""), divider)
    if not pa.types.is_list(column.type):
        offsets, flat = np.arange(len(column) + 1), pc.fill_null(column, "")
    else:
        offsets, flat = (
            np.concatenate([[0], np.cumsum(pc.fill_null(pc.list_value_length(column), 0))]),
            column.flatten(),
        )
    coded = flat.dictionary_encode()
    codes = coded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    return Coded(coded.dictionary.to_pylist(), codes, offsets.astype(np.int64))


def _plain(column: Any) -> Sequence[Any]:
    import pyarrow as pa

    if not pa.types.is_list(column.type):
        values: list[Any] = column.to_pylist()
        return values
    view, there = list_view(column), column.is_valid().to_pylist()
    return [view(i) if there[i] else None for i in range(len(column))]


def list_view(column: Any) -> Callable[[int], Any]:
    """Return a function from row to its list as a numpy view."""
    flat = column.values.to_numpy(zero_copy_only=False)
    offsets = column.offsets.to_numpy(zero_copy_only=False)
    return lambda i: flat[offsets[i] : offsets[i + 1]]

"""The only door to LanceDB: tables of plain rows, appended, filtered and searched.

Knows nothing of runs. Errors of the library are mapped to ``storage.errors`` here and nowhere else.
Commits to a local store queue behind a file lock, because measured on two busy cores colliding writers
otherwise fail for good; on object storage conditional writes decide and the loser tries again.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import re
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from filelock import FileLock, Timeout

from storage.errors import (
    FilterError,
    SchemaTooNewError,
    StoreNotFoundError,
    StoreUnavailableError,
)
from storage.migrations import MIGRATIONS, MIGRATIONS_TABLE, SCHEMA_VERSION, Columns
from storage.place import Place
from storage.records import CurveChunk

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger(__name__)

LOCK_TIMEOUT_S: Final = 60.0
"""A commit takes milliseconds; who waits a minute for the lock has a dead file system before him."""
N_ATTEMPTS: Final = 6
"""Tries of one commit; with jitter this spreads over about three seconds."""
Rows = Mapping[str, Sequence[Any]]
"""Column name → values."""


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
        self.folder = None if "://" in self.uri else Path(self.uri).expanduser().absolute()
        self._tables: dict[str, Any] = {}
        self._thread_lock = threading.RLock()
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
        return sorted(self._connection.list_tables().tables)

    def create(self, name: str, columns: Columns, *, stable_row_ids: bool = False, dimension: int = 0) -> None:
        """Create a table, unless there is one."""
        options = {"new_table_enable_stable_row_ids": "true"} if stable_row_ids else None
        with mapped(self.uri, f"create the table {name!r} in"):
            self._tables[name] = self._connection.create_table(
                name, schema=_schema(columns, dimension), exist_ok=True, storage_options=options
            )

    def drop(self, name: str) -> None:
        """Drop a table, if there is one."""
        self._tables.pop(name, None)
        with mapped(self.uri, f"drop the table {name!r} of"):
            self._connection.drop_table(name, ignore_missing=True)

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

    def dimension(self, name: str) -> int:
        """Return the dimension of a table's vectors."""
        with mapped(self.uri, "read"):
            return int(self._table(name).schema.field("vector").type.list_size)

    # -- writing

    def append(self, name: str, rows: Rows, columns: Columns) -> int:
        """Append rows in one commit and return the version that it made.

        Raises
        ------
        StoreUnavailableError
            If it could not be committed; no row of it is visible then, except where the
            connection broke after the commit, which is why rows carry ids.
        """
        data = _arrow(rows, columns)

        def commit() -> int:
            return int(self._table(name).add(data).version)

        return self._commit(commit, f"append to {name!r} in")

    def upsert(self, name: str, rows: Rows, columns: Columns, *, key: str, dimension: int) -> None:
        """Insert rows, or replace those with the same key. For tables with one writer at a time."""
        data = _arrow(rows, columns, dimension)

        def commit() -> int:
            merge = self._table(name).merge_insert(key).when_matched_update_all()
            # A row without a vector is not a bad one: it has not been embedded yet.
            merge.when_not_matched_insert_all().execute(data, on_bad_vectors="null")
            return 0

        self._commit(commit, f"update {name!r} in")

    def delete(self, name: str, where: str) -> None:
        """Delete the rows that fit a filter."""

        def commit() -> int:
            self._table(name).delete(where)
            return 0

        self._commit(commit, f"delete from {name!r} in")

    def optimize(self, name: str) -> None:
        """Merge small files of a table and let go of versions older than a week."""
        with mapped(self.uri, "compact"):
            self._table(name).optimize(cleanup_older_than=timedelta(days=7))

    @contextlib.contextmanager
    def lease(self, name: str, *, wait_s: float = 0.0) -> Iterator[bool]:
        """Hold the right to do something that one process at a time should do; yields whether it was got."""
        if self.folder is None:
            yield True  # on object storage a lost race costs a repeated, not a wrong, derivation
            return
        lock = FileLock(self.folder / "locks" / f"{name}.lock", poll_interval=0.01)
        try:
            lock.acquire(timeout=wait_s)
        except (Timeout, OSError):
            yield False
            return
        try:
            yield True
        finally:
            lock.release()

    # -- reading

    def tail(self, name: str, columns: Sequence[str], *, after: int) -> tuple[list[dict[str, Any]], int]:
        """Return the rows committed after a version, in their total order, and the version reached."""
        with mapped(self.uri, "read"):
            table = self._table(name)
            reached = int(table.version)
            query = table.search().select([*columns, "pos", "_row_created_at_version"])
            rows = query.where(f"_row_created_at_version > {int(after)}").to_arrow().to_pylist()
        rows.sort(key=lambda row: (row["_row_created_at_version"], row["pos"]))
        return rows, max(reached, rows[-1]["_row_created_at_version"] if rows else 0)

    def select(
        self, name: str, columns: Sequence[str], *, where: str | None = None, limit: int | None = None
    ) -> list[dict[str, Any]]:
        """Return rows, of those that fit a filter.

        Raises
        ------
        FilterError
            If the database refuses the filter.
        """
        with mapped(self.uri, "read", where=where):
            query = self._table(name).search().select(list(columns))
            if where:
                query = query.where(where)
            if limit is not None:
                query = query.limit(limit)
            rows: list[dict[str, Any]] = query.to_arrow().to_pylist()
        return rows

    def select_among(self, rows: Rows, columns: Columns, *, where: str, dimension: int, key: str) -> list[str]:
        """Return the keys of those of the given rows that fit a filter, with the database's own semantics."""
        with mapped("memory", "read", where=where):
            table = _connect("memory://").create_table("rows", schema=_schema(columns, dimension))
            table.add(_arrow(rows, columns, dimension), on_bad_vectors="null")
            found = table.search().select([key]).where(where).to_arrow()
        return [str(value) for value in found.column(key).to_pylist()]

    def curve_chunks(self, run_ids: Sequence[str] | None, metrics: Sequence[str] | None) -> list[CurveChunk]:
        """Return chunks of curves; arrays are views on the database's own memory, without a copy."""
        clauses = []
        if run_ids is not None:
            clauses.append(f"run_id in ({', '.join(map(quoted, run_ids)) or 'NULL'})")
        if metrics is not None:
            clauses.append(f"metric in ({', '.join(map(quoted, metrics)) or 'NULL'})")
        with mapped(self.uri, "read"):
            query = self._table("curves").search()
            data = (query.where(" and ".join(clauses)) if clauses else query).to_arrow()
        out: list[CurveChunk] = []
        for batch in data.to_batches():
            steps, values, times = (list_view(batch.column(name)) for name in ("steps", "values", "times"))
            heads = zip(*(batch.column(n).to_pylist() for n in ("run_id", "metric", "chunk", "through")), strict=True)
            for i, (run_id, metric, chunk, through) in enumerate(heads):
                out.append(
                    CurveChunk(
                        run_id,
                        metric=metric,
                        chunk=chunk,
                        through=through,
                        steps=steps(i),
                        values=values(i),
                        times=times(i),
                    )
                )
        return out

    def match_words(self, name: str, column: str, text: str, *, where: str, limit: int) -> list[tuple[str, float]]:
        """Return ``(run_id, BM25 score)`` of the rows whose words fit best; higher is better."""
        from lancedb.query import MatchQuery

        with mapped(self.uri, "search", where=where):
            words: Any = MatchQuery
            query = self._table(name).search(words(text, column), query_type="fts").select(["run_id", "_score"])
            found = query.where(where).limit(limit).to_arrow()
        return list(zip(found.column("run_id").to_pylist(), found.column("_score").to_pylist(), strict=True))

    def nearest(self, name: str, vector: Sequence[float], *, where: str, limit: int) -> list[tuple[str, float]]:
        """Return ``(run_id, cosine similarity)`` of the rows whose vectors are nearest."""
        with mapped(self.uri, "search", where=where):
            query = self._table(name).search(list(vector), vector_column_name="vector").distance_type("cosine")
            found = query.select(["run_id", "_distance"]).where(where).limit(limit).to_arrow()
        pairs = zip(found.column("run_id").to_pylist(), found.column("_distance").to_pylist(), strict=True)
        return [(run_id, 1.0 - float(distance)) for run_id, distance in pairs]

    def index_words(self, name: str, column: str) -> None:
        """Make or refresh the full-text index of a column."""
        from lancedb.index import FTS

        with mapped(self.uri, "index"), warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # raised inside the library itself
            table = self._table(name)
            if any(column in index.columns for index in table.list_indices()):
                table.optimize()
            else:
                table.create_index(column, config=FTS(), replace=True)

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

    def _table(self, name: str) -> Any:
        _check_process(self.uri)
        if name not in self._tables:
            self._tables[name] = self._connection.open_table(name)
        return self._tables[name]

    def _commit(self, commit: Any, doing: str) -> int:
        """Run a commit behind the lock; try again with jitter where another writer was faster."""
        for attempt in range(N_ATTEMPTS):
            try:
                with mapped(self.uri, doing), self._queue():
                    return int(commit())
            except StoreUnavailableError as error:
                if attempt == N_ATTEMPTS - 1 or not error.passing:
                    raise
                time.sleep(random.uniform(0.5, 1.5) * 0.05 * 2**attempt)
        raise AssertionError("unreachable")

    @contextlib.contextmanager
    def _queue(self) -> Iterator[None]:
        with self._thread_lock:
            if self.folder is None:
                yield
                return
            with FileLock(self.folder / "locks" / "commit.lock", timeout=LOCK_TIMEOUT_S, poll_interval=0.002):
                yield

    def _migrate(self, present: Sequence[str]) -> None:
        """Apply what the store lacks; refuse a store that is ahead of this program."""
        done = self.schema_version() if "migrations" in present else 0
        if done > SCHEMA_VERSION:
            raise SchemaTooNewError(
                f"the store at {self.uri!r} has schema {done}, this program knows up to {SCHEMA_VERSION}; "
                "upgrade: pip install -U experiment-advisor"
            )
        if done == SCHEMA_VERSION:
            return
        with mapped(self.uri, "prepare"), self._queue():
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
                self._table("migrations").add(_arrow(row, MIGRATIONS_TABLE))


def _program() -> str:
    """Return the name and version of the program that writes, for whoever must find out later."""
    try:
        return f"experiment-advisor {version('experiment-advisor')}"
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "experiment-advisor"


def quoted(text: str) -> str:
    """Return text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


@contextlib.contextmanager
def mapped(uri: str, doing: str, *, where: str | None = None) -> Iterator[None]:
    """Turn the library's errors into ours, the most specific first."""
    try:
        yield
    except Timeout as error:
        raise StoreUnavailableError(
            f"cannot {doing} the store at {uri!r}: another process has held its lock for {LOCK_TIMEOUT_S:.0f} s"
        ) from error
    except OSError as error:
        raise StoreUnavailableError(f"cannot {doing} the store at {uri!r}: {error.strerror or error}") from error
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        reason = re.sub(r",?\s*/\S+\.rs:\d+(:\d+)?", "", reason)  # where in the library's build it happened
        if where is not None and not _is_io(reason):
            raise FilterError(f"the database cannot apply this filter: {reason[:300]}") from error
        unavailable = StoreUnavailableError(f"cannot {doing} the store at {uri!r}: {reason[:300]}")
        unavailable.passing = _passing(reason.replace(uri, ""))
        raise unavailable from error


def _is_io(reason: str) -> bool:
    return any(word in reason for word in ("IO error", "LanceError(IO)", "Not found", "not found", "object store"))


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


def load_library() -> None:
    """Load LanceDB, which takes seconds; whoever opens a store in the background does it there."""
    import lancedb  # noqa: F401


def _connect(uri: str) -> Any:
    _check_process(uri)
    import lancedb

    # An interval of zero makes each read look for commits of other processes first.
    return lancedb.connect(uri, read_consistency_interval=timedelta(0))


def _arrow_type(name: str, dimension: int) -> pa.DataType:
    import pyarrow as pa

    if name.startswith("list<"):
        return pa.list_(_arrow_type(name[5:-1], dimension))
    simple = {
        "string": pa.string,
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

    return pa.schema([pa.field(name, _arrow_type(kind, dimension)) for name, kind in columns.items()])


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


def list_view(column: Any) -> Callable[[int], Any]:
    """Return a function from row to its list as a numpy view."""
    flat = column.values.to_numpy(zero_copy_only=False)
    offsets = column.offsets.to_numpy(zero_copy_only=False)
    return lambda i: flat[offsets[i] : offsets[i + 1]]

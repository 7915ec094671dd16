"""MLflow's database as SQLite, read without MLflow.

NaN is stored as 0 with a flag, ±inf as the largest and smallest number that a double holds. Points come in the order in
which they were written, that of their row numbers, from where the last reading ended.
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from advisor.errors import SourceError
from advisor.sources.databases import Database
from advisor.sources.mlflow_run import ACTIVE, FINITE_MAX, Record, about_experiment, from_ms, may_go_on, source_run
from advisor.sources.port import Cursor, Entry, Piece, Points, Source, SourceExperiment, SourceRun
from advisor.sources.reading import number, plain, whole
from advisor.sources.values import counted

TABLES: Final = frozenset({"experiments", "runs", "metrics", "params", "tags"})
"""What makes a database one of MLflow's."""
RUN: Final = (
    *("run_uuid", "name", "status", "start_time", "end_time", "user_id", "source_version", "artifact_uri"),
    *("experiment_id", "lifecycle_stage"),
)
METRICS_AT_MOST: Final = 20_000


class SqliteSource(Source):
    """Runs of a database file."""

    def __init__(self, path: Path) -> None:
        """Open a database.

        Raises
        ------
        SourceError
            If it is none, or none of MLflow's.
        """
        super().__init__()
        self._path = path
        self._open: Database | None = None
        self._experiments: dict[Any, tuple[str, SourceExperiment]] = {}
        if not self._database(again=True).tables.keys() >= TABLES:
            self.close()
            raise SourceError("it is no database of MLflow's: tables are missing")

    def close(self) -> None:
        """Let go of the file. Closing twice is fine."""
        if self._open is not None:
            self._open.close()
            self._open = None

    def entries(self) -> Iterator[Entry]:
        """Yield runs, oldest first; what MLflow calls deleted is left out and counted.

        A run's stamp is made of its row, its tags, and the number and last row of its parameters and points.
        """
        self.notes.clear()
        database = self._database(again=True)
        # All at once: a question that is still open would keep the training from writing.
        names = database.columns("runs", RUN)
        rows = list(database.rows(f"SELECT {names} FROM runs ORDER BY start_time, rowid"))
        self._experiments, deleted = self._read_experiments(database)
        stamps = _stamps(database)
        n_deleted = 0
        for row in rows:
            run = dict(zip(RUN, row, strict=True))
            if run["experiment_id"] in deleted or run["lifecycle_stage"] not in (ACTIVE, None):
                n_deleted += 1
                continue
            place = str(run["run_uuid"])
            about = self._experiments.get(run["experiment_id"])
            head = zlib.crc32(repr((row, about)).encode(errors="replace"))
            yield Entry(place, stamp=f"{head:x}{stamps[run['run_uuid']]}", load=partial(self._load, run))
        if n_deleted:
            self.notes.append(
                counted(
                    n_deleted,
                    "run that was deleted in MLflow was left out",
                    "runs that were deleted in MLflow were left out",
                )
            )

    def _database(self, *, again: bool = False) -> Database:
        if again or self._open is None:
            self.close()
            self._open = Database(self._path)
        return self._open

    def _read_experiments(self, database: Database) -> tuple[dict[Any, tuple[str, SourceExperiment]], set[Any]]:
        """Return experiments by their number, and the numbers of those that were deleted."""
        tags: defaultdict[Any, dict[str, str]] = defaultdict(dict)
        if database.has("experiment_tags", "experiment_id", "key", "value"):
            for known, key, value in database.rows("SELECT experiment_id, key, value FROM experiment_tags"):
                tags[known][str(key)] = _text(value)
        names = database.columns("experiments", ("experiment_id", "name", "lifecycle_stage", "artifact_location"))
        out, deleted = {}, set()
        for known, name, stage, location in database.rows(f"SELECT {names} FROM experiments"):
            if stage not in (ACTIVE, None):
                deleted.add(known)
            about = about_experiment(str(known), tags[known], _text(location) or None)
            out[known] = _text(name) or str(known), about
        return out, deleted

    def _load(self, run: Mapping[str, Any]) -> SourceRun:
        run_id, experiment = run["run_uuid"], run["experiment_id"]
        name, about = self._experiments.get(experiment) or (str(experiment), SourceExperiment())
        database = self._database()
        start = from_ms(run["start_time"])
        last: list[tuple[Any, ...]] = []
        if may_go_on(run["status"]):
            last = list(database.rows("SELECT max(timestamp) FROM metrics WHERE run_uuid = ?", (run_id,)))
        record = Record(
            run_id=str(run_id),
            experiment=name,
            about=about,
            name=_text(run["name"]) or None,
            status=run["status"],
            start_ms=run["start_time"],
            end_ms=run["end_time"],
            active=(from_ms(last[0][0]) if last else None) or start,
            user=_text(run["user_id"]) or None,
            source_version=_text(run["source_version"]) or None,
            artifact_uri=_text(run["artifact_uri"]) or None,
            params=_pairs(database, "params", run_id),
            tags=_pairs(database, "tags", run_id),
            datasets=_datasets(database, run_id),
        )
        return source_run(record, partial(self._read, run_id, whole(run["start_time"])))

    def _read(self, run_id: Any, start_ms: int | None, cursor: Cursor | None) -> Piece:
        """Return a run's curves, from a cursor where its rows are still there."""
        database = self._database()
        row, n = _resumed(database, run_id, cursor)
        collected = _Collected()
        step, is_nan = (name if name in database.tables["metrics"] else "0" for name in ("step", "is_nan"))
        statement = (
            f"SELECT key, value, timestamp, {step}, {is_nan}, rowid FROM metrics "
            "WHERE run_uuid = ? AND rowid > ? ORDER BY rowid"
        )
        for block in database.blocks(statement, (run_id, row)):
            collected.add(block)
        n_read = n + collected.n_rows
        after = {"row": collected.last, "n": n_read, "crc": collected.crc} if collected.n_rows else cursor
        return Piece(collected.curves(start_ms), is_whole=row < 0, cursor=after, notes=tuple(collected.notes()))


class _Collected:
    """Points of all metrics of a run, as they come out of the database."""

    def __init__(self) -> None:
        self.n_rows = 0
        self.last = -1
        self.crc = 0
        self._numbers: dict[Any, int] = {}
        self._parts: list[tuple[Any, Any, Any, Any]] = []
        self._n_lost = 0

    def add(self, rows: Sequence[tuple[Any, ...]]) -> None:
        self.n_rows += len(rows)
        self.last = rows[-1][5]
        self.crc = _crc(rows[-1])
        try:
            part = self._columns(rows)
        except (ValueError, TypeError, OverflowError):
            good = [row for row in rows if _is_point(row)]
            self._n_lost += len(rows) - len(good)
            part = self._columns([(key, number(v), whole(t), whole(s), flag) for key, v, t, s, flag, _ in good])
        self._parts.append(part)

    def curves(self, start_ms: int | None) -> dict[str, Points]:
        """Return points by metric, in the order of their rows."""
        if not self._parts:
            return {}
        which, values, times, steps = (np.concatenate(column) for column in zip(*self._parts, strict=True))
        order = np.argsort(which, kind="stable")
        ends = np.searchsorted(which[order], np.arange(len(self._numbers) + 1))
        out = {}
        for name, i in list(self._numbers.items())[:METRICS_AT_MOST]:
            own = order[ends[i] : ends[i + 1]]
            if own.size:
                since = (times[own] - start_ms) / 1000 if start_ms else np.empty(0)
                out[_text(name)] = Points(steps[own], values[own], since)
        return out

    def notes(self) -> Iterator[str]:
        """Yield what was left out."""
        if self._n_lost:
            yield counted(
                self._n_lost,
                "row of the table of metrics is no point and was left out",
                "rows of the table of metrics are no points and were left out",
            )
        if len(self._numbers) > METRICS_AT_MOST:
            yield f"metrics beyond the first {METRICS_AT_MOST:,} were left out"

    def _columns(self, rows: Sequence[tuple[Any, ...]]) -> tuple[Any, Any, Any, Any]:
        if not rows:
            return np.empty(0, np.int64), np.empty(0), np.empty(0), np.empty(0, np.int64)
        keys, values, times, steps, flags = list(zip(*rows, strict=True))[:5]
        value = np.array(values, dtype=np.float64)
        value[np.array([flag == 1 for flag in flags])] = np.nan
        value[value == FINITE_MAX] = np.inf
        value[value == -FINITE_MAX] = -np.inf
        time = np.array(times, dtype=np.float64)
        step = np.array(steps, dtype=np.int64)
        known = self._numbers
        return np.array([known.setdefault(key, len(known)) for key in keys]), value, time, step


def _is_point(row: Sequence[Any]) -> bool:
    key, value, time, step = row[:4]
    return isinstance(key, str) and number(value) is not None and whole(time) is not None and whole(step) is not None


def _resumed(database: Database, run_id: Any, cursor: Cursor | None) -> tuple[int, int]:
    """Return the row after which to go on and how many were read; (-1, 0) where all must be read again."""
    cursor = cursor if isinstance(cursor, Mapping) else {}
    row, n, crc = (cursor.get(name) for name in ("row", "n", "crc"))
    if not (isinstance(row, int) and isinstance(n, int) and isinstance(crc, int)):
        return -1, 0
    counted = list(
        database.rows("SELECT count(*), max(rowid) FROM metrics WHERE run_uuid = ? AND rowid <= ?", (run_id, row))
    )
    if counted != [(n, row)]:
        return -1, 0
    step, is_nan = (name if name in database.tables["metrics"] else "0" for name in ("step", "is_nan"))
    last = list(
        database.rows(f"SELECT key, value, timestamp, {step}, {is_nan}, rowid FROM metrics WHERE rowid = ?", (row,))
    )
    return (row, n) if last and _crc(last[0]) == crc else (-1, 0)


def _crc(row: Sequence[Any]) -> int:
    return zlib.crc32(repr(tuple(row)).encode(errors="replace"))


def _stamps(database: Database) -> defaultdict[Any, str]:
    """Return by run what changes with its tags, parameters and points."""
    out: defaultdict[Any, str] = defaultdict(str)
    crcs: defaultdict[Any, int] = defaultdict(int)
    for run_id, key, value in database.rows("SELECT run_uuid, key, value FROM tags ORDER BY rowid"):
        crcs[run_id] = zlib.crc32(f"{key}={value}".encode(errors="replace"), crcs[run_id])
    for run_id, crc in crcs.items():
        out[run_id] = f" {crc:x}"
    for table in ("params", "metrics"):
        statement = f"SELECT run_uuid, count(*), max(rowid) FROM {table} GROUP BY run_uuid"
        for run_id, n, row in database.rows(statement):
            out[run_id] += f" {table[0]}{n}.{row}"
    return out


def _pairs(database: Database, table: str, run_id: Any) -> dict[str, str]:
    rows = database.rows(f"SELECT key, value FROM {table} WHERE run_uuid = ? ORDER BY key LIMIT 20000", (run_id,))
    return {_text(key): _text(value) for key, value in rows}


def _datasets(database: Database, run_id: Any) -> list[dict[str, Any]]:
    """Return a run's data sets; none where the database is older than these."""
    if not (
        database.has("inputs", "input_uuid", "source_type", "source_id", "destination_type", "destination_id")
        and database.has("datasets", "dataset_uuid", "name", "digest")
    ):
        return []
    kind = database.columns("datasets", ("dataset_source_type",))
    statement = (
        f"SELECT name, digest, {kind}, input_uuid FROM inputs JOIN datasets ON source_id = dataset_uuid "
        "WHERE source_type = 'DATASET' AND destination_type = 'RUN' AND destination_id = ? LIMIT 200"
    )
    out = []
    for name, digest, source_type, known in list(database.rows(statement, (run_id,))):
        found = {"name": _text(name), "digest": _text(digest), "source_type": _text(source_type)}
        if database.has("input_tags", "input_uuid", "name", "value"):
            contexts = database.rows(
                "SELECT value FROM input_tags WHERE input_uuid = ? AND name = 'mlflow.data.context'", (known,)
            )
            found["context"] = next((_text(value) for (value,) in contexts), "")
        out.append(found)
    return out


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return "" if value is None else str(plain(value))

"""Optuna's database as SQLite, read without Optuna.

Categorical parameters are stored as places of choices, ±inf and NaN as words beside an empty number (before release 3
as they are). Times are UTC in databases that release 5 made or upgraded, and those of the machine's zone in older ones.
"""

from __future__ import annotations

import math
import zlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from advisor.errors import SourceError
from advisor.sources.databases import Database
from advisor.sources.optuna_trial import Study, Trial, json_values, source_run
from advisor.sources.port import Cursor, Entry, Piece, Points, Source, SourceExperiment, SourceRun
from advisor.sources.reading import number, whole

TABLES: Final = frozenset({"studies", "trials", "trial_params", "trial_intermediate_values"})
"""What makes a database one of Optuna's."""
TRIAL: Final = ("trial_id", "number", "study_id", "state", "datetime_start", "datetime_complete")
PARTS: Final = (
    ("trial_params", "param_id"),
    ("trial_values", "trial_value_id"),
    ("trial_intermediate_values", "trial_intermediate_value_id"),
    ("trial_user_attributes", "trial_user_attribute_id"),
    ("trial_system_attributes", "trial_system_attribute_id"),
)
"""Tables with rows of trials, and their keys, which grow."""
WORDS: Final[Mapping[Any, float]] = {"INF_POS": math.inf, "INF_NEG": -math.inf, "NAN": math.nan}
UTC_SINCE: Final = 5
"""Major release that began to write UTC."""


class SqliteSource(Source):
    """Trials of all studies of a database file."""

    def __init__(self, path: Path) -> None:
        """Open a database.

        Raises
        ------
        SourceError
            If it is none, or none of Optuna's.
        """
        super().__init__()
        self._path = path
        self._open: Database | None = None
        if not self._database(again=True).tables.keys() >= TABLES:
            self.close()
            raise SourceError("it is no database of Optuna's: tables are missing")

    def close(self) -> None:
        """Let go of the file. Closing twice is fine."""
        if self._open is not None:
            self._open.close()
            self._open = None

    def entries(self) -> Iterator[Entry]:
        """Yield trials in the order in which they were created.

        A trial's stamp is made of its row, of numbers and last keys of the rows that belong to it, of the
        study's notes, and of its attributes as long as it goes on; Optuna changes nothing of one that is over.
        """
        database = self._database(again=True)
        # All at once: a question that is still open would keep the study from writing.
        rows = list(database.rows(f"SELECT {database.columns('trials', TRIAL)} FROM trials ORDER BY trial_id"))
        studies = _studies(database)
        stamps = _stamps(database)
        is_utc = _is_utc(database)
        numbers: defaultdict[Any, int] = defaultdict(int)
        for row in rows:
            trial = dict(zip(TRIAL, row, strict=True))
            if trial["number"] is None:  # a release that counted when it read
                trial["number"] = numbers[trial["study_id"]]
            numbers[trial["study_id"]] += 1
            study, about, crc = studies.get(trial["study_id"]) or _unknown(trial["study_id"])
            head = zlib.crc32(repr((row, is_utc)).encode(errors="replace"), crc)
            load = partial(self._load, trial, study, about, is_utc)
            yield Entry(str(trial["trial_id"]), stamp=f"{head:x}{stamps[trial['trial_id']]}", load=load)

    def _database(self, *, again: bool = False) -> Database:
        if again or self._open is None:
            self.close()
            self._open = Database(self._path)
        return self._open

    def _load(self, row: Mapping[str, Any], study: Study, about: SourceExperiment, is_utc: bool) -> SourceRun:
        database, trial_id = self._database(), row["trial_id"]
        params = database.rows(
            "SELECT param_name, param_value, distribution_json FROM trial_params WHERE trial_id = ? ORDER BY param_id",
            (trial_id,),
        )
        trial = Trial(
            number=whole(row["number"]) or 0,
            id=whole(trial_id) or 0,
            state=row["state"],
            values=_values(database, trial_id, len(study.directions)),
            params={str(name): (value, distribution) for name, value, distribution in params},
            user_attrs=_attributes(database, "trial_user_attributes", "trial_id", trial_id),
            system_attrs=_attributes(database, "trial_system_attributes", "trial_id", trial_id),
            started=_time(row["datetime_start"], is_utc=is_utc),
            ended=_time(row["datetime_complete"], is_utc=is_utc),
            active=_last_sign(database, trial_id),
        )
        read = partial(self._read, trial_id, study.curve)
        return source_run(trial, study, about, str(self._path.absolute()), read)

    def _read(self, trial_id: Any, metric: str, cursor: Cursor | None) -> Piece:
        """Return a trial's intermediate values in the order of writing, from a cursor where its rows are there."""
        rows = list(self._database().rows(_intermediate(self._database()), (trial_id,)))
        n, is_whole = _resumed(rows, cursor)
        points, n_lost = _points(rows[n:])
        notes = (f"{n_lost} intermediate values are no points and were left out",) if n_lost else ()
        after = {"n": len(rows), "crc": _crc(rows)}
        return Piece({metric: points} if len(points) else {}, is_whole=is_whole, cursor=after, notes=notes)


def _studies(database: Database) -> dict[Any, tuple[Study, SourceExperiment, int]]:
    """Return studies by their key, with what is said of them, and a checksum of it."""
    directions: defaultdict[Any, list[Any]] = defaultdict(list)
    if database.has("study_directions", "study_id", "direction", "objective"):
        found = database.rows("SELECT study_id, direction FROM study_directions ORDER BY study_id, objective")
        for known, direction in found:
            directions[known].append(direction)
    elif database.has("studies", "direction"):  # before release 2.4
        for known, direction in database.rows("SELECT study_id, direction FROM studies"):
            directions[known].append(direction)
    out = {}
    for known, name in list(database.rows("SELECT study_id, study_name FROM studies")):
        study = Study(
            id=whole(known) or 0,
            name=str(name),
            directions=directions[known],
            user_attrs=_attributes(database, "study_user_attributes", "study_id", known),
            system_attrs=_attributes(database, "study_system_attributes", "study_id", known),
        )
        about = study.about()
        notes = sorted((name, str(text)) for name, text in study.system_attrs.items() if "note_str" in name)
        out[known] = study, about, zlib.crc32(repr((study.name, about, notes)).encode(errors="replace"))
    return out


def _unknown(known: Any) -> tuple[Study, SourceExperiment, int]:
    study = Study(id=whole(known) or 0, name=f"study {known}")
    return study, study.about(), 0


def _attributes(database: Database, table: str, column: str, known: Any) -> dict[str, Any]:
    if not database.has(table, column, "key", "value_json"):
        return {}
    return json_values(database.rows(f"SELECT key, value_json FROM {table} WHERE {column} = ? LIMIT 20000", (known,)))


def _stamps(database: Database) -> defaultdict[Any, str]:
    """Return by trial what changes with its rows."""
    out: defaultdict[Any, str] = defaultdict(str)
    for table, key in PARTS:
        if not database.has(table, "trial_id", key):
            continue
        for trial_id, n, last in database.rows(f"SELECT trial_id, count(*), max({key}) FROM {table} GROUP BY trial_id"):
            out[trial_id] += f" {n}.{last}"
        if table.endswith("attributes"):
            crcs: defaultdict[Any, int] = defaultdict(int)
            going_on = "SELECT trial_id FROM trials WHERE state IN ('RUNNING', 'WAITING')"
            statement = f"SELECT trial_id, key, value_json FROM {table} WHERE trial_id IN ({going_on}) ORDER BY {key}"
            for trial_id, name, text in database.rows(statement):
                crcs[trial_id] = zlib.crc32(f"{name}={text}".encode(errors="replace"), crcs[trial_id])
            for trial_id, crc in crcs.items():
                out[trial_id] += f" {crc:x}"
    return out


def _is_utc(database: Database) -> bool:
    if not database.has("version_info", "library_version"):
        return False
    for (version,) in database.rows("SELECT library_version FROM version_info LIMIT 1"):
        major = str(version).split(".")[0]
        return major.isdigit() and len(major) < 6 and int(major) >= UTC_SINCE
    return False


def _time(text: Any, *, is_utc: bool) -> datetime | None:
    try:
        found = datetime.fromisoformat(str(text))
        return (found.replace(tzinfo=UTC) if is_utc else found.astimezone()).astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _last_sign(database: Database, trial_id: Any) -> datetime | None:
    """Return a running trial's last heartbeat, which databases write as UTC."""
    if not database.has("trial_heartbeats", "trial_id", "heartbeat"):
        return None
    beats = [at for (at,) in database.rows("SELECT heartbeat FROM trial_heartbeats WHERE trial_id = ?", (trial_id,))]
    return _time(max(map(str, beats)), is_utc=True) if beats else None


def _values(database: Database, trial_id: Any, n: int) -> list[float] | None:
    """Return the values of all objectives; None unless there is one each."""
    if not database.has("trial_values", "trial_id", "objective", "value"):
        return None
    kind = database.columns("trial_values", ("value_type",))
    statement = f"SELECT value, {kind} FROM trial_values WHERE trial_id = ? ORDER BY objective"
    values = [_value(value, word) for value, word in database.rows(statement, (trial_id,))]
    found = [value for value in values if value is not None]
    return found if found and len(found) == len(values) == n else None


def _value(value: Any, word: Any) -> float | None:
    return WORDS[word] if isinstance(word, str) and word in WORDS else number(value)


def _intermediate(database: Database) -> str:
    kind = database.columns("trial_intermediate_values", ("intermediate_value_type",))
    return (
        f"SELECT step, intermediate_value, {kind} FROM trial_intermediate_values "
        "WHERE trial_id = ? ORDER BY trial_intermediate_value_id"
    )


def _resumed(rows: Sequence[Any], cursor: Cursor | None) -> tuple[int, bool]:
    """Return how many rows were read before, and whether all must be read again."""
    n, crc = (cursor.get(name) for name in ("n", "crc")) if isinstance(cursor, Mapping) else (None, None)
    if isinstance(n, int) and 0 <= n <= len(rows) and crc == _crc(rows[:n]):
        return n, False
    return 0, True


def _crc(rows: Sequence[Any]) -> int:
    return zlib.crc32(repr(rows).encode(errors="replace"))


def _points(rows: Sequence[tuple[Any, Any, Any]]) -> tuple[Points, int]:
    read = [(whole(step), _value(value, word)) for step, value, word in rows]
    good = [(step, value) for step, value in read if step is not None and value is not None]
    steps = np.array([step for step, _ in good], dtype=np.int64)
    return Points(steps, np.array([value for _, value in good], dtype=np.float64)), len(read) - len(good)

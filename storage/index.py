"""The derived ``runs`` table: one row a run, for filters and search, and the fold of the journal, kept.

Nothing in it is the truth: it is safe to drop and is built again from the journal. One process at a time writes it,
whoever gets the lease; a reader evaluates what the table lacks apart, with the same filter in the same engine.

Each row holds the run as the fold has it, and one more row (number -1) everything else of the fold, so a process
begins where the table ends instead of at the journal's first event. A save is one commit, and whoever stands on it
reads the table at that version: what it sees never changes under it.

Left out: vectors (``storage.vectors``) and what a search makes of the texts (``storage.searching``).
"""

from __future__ import annotations

import json
import logging
import math
import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from storage.describe import configuration, describe, told_codes, written
from storage.entries import Entry, book_in, decode, encode, sealed, unsealed
from storage.errors import RecordError, StoreUnavailableError
from storage.lance import Column, Database, among, quoted
from storage.migrations import Columns
from storage.query import Conditions, Names, Order, Threshold
from storage.ranking import Coded
from storage.records import CurveLoader, Experiment, Run, valid_text

if TYPE_CHECKING:
    from storage.journal import State

log = logging.getLogger(__name__)

TABLE: Final = "runs"
COLUMNS: Final[Columns] = MappingProxyType(
    {
        "run_id": "string",
        "experiment": "string",
        "exp": "int64",  # number of the experiment
        "number": "int64",  # -1 in the one row that holds the checkpoint
        "ordinal": "int64",
        "state": "string",
        "hidden": "bool",  # deleted, by itself or with its experiment
        "ranks": "bool",  # may be called better or worse than others
        "source": "string",
        "objective": "float64",
        "seed": "int64",
        "created": "time",
        "started": "time",
        "ended": "time",
        "duration_s": "float64",
        "params": "json",
        "metrics": "json",
        "environment": "json",
        "meta": "json",
        "tags": "list<string>",
        "notes": "list<string>",
        "codes": "list<string>",  # of findings
        "text": "text",  # all that is told of the run
        "config": "text",  # what is encoded of its configuration
        "written": "list<string>",  # what is encoded of what was written of it: kind and text of each passage
        "folded": "int64",  # commit of the journal up to which the row is folded
        "record": "blob",  # the run as ``storage.entries`` writes it
    }
)
RUNS_ONLY: Final = "number >= 0"
VISIBLE: Final = "number >= 0 and not hidden"
CHECKPOINT_ID: Final = ""
"""What stands for a run's id in the row of the checkpoint; no run is called so."""
FORM: Final = 2
"""What the rows say, kept with the checkpoint. A table of another form, also one that an earlier version of the program
wrote to since, is made anew. In 2, objectives that were told are among a run's metrics."""
LOOK_UP: Final = 500
"""Ids that one query looks up."""
REMEMBERED_ROWS: Final = 400_000
"""Rows of answers that are remembered, of all questions together: some 150 bytes each. Whoever looks at a sorted table
page by page asks the same question again and again, and what was kept does not change."""
LOOK_UP_RUNS: Final = 2_000
"""Runs of an experiment that are looked up one by one. Of more, all rows are read and the others left out: in a table
of 100,000, a filter on findings took 1.4 s by looking up 33,000 rows, and reads all in 0.03 s."""
FEW_COLUMNS: Final = 4
"""Columns of which it costs little to read and to remember those of runs that do not fit."""
LiveMetrics = Callable[[Iterable[Run]], list[Run]]
"""Fills in what runs that still go on have logged so far."""


class BaseGoneError(StoreUnavailableError):
    """What a fold stands on is not there any more; whoever reads begins anew. It does not leave the store."""


class BaseDamagedError(BaseGoneError):
    """What a fold stands on is damaged; whoever reads begins at the first event. It does not leave the store."""


class KeptFold:
    """A fold that was kept in the table, read at one version of it; see ``storage.journal.Base``."""

    def __init__(self, database: Database, *, at: int, load_curves: CurveLoader) -> None:
        self._database = database
        self.at = at
        """Version of the table; it stays readable for as long as old versions are kept."""
        self.gone = False
        """Whether that version is there no more: whoever stands on it must move."""
        self._load_curves = load_curves
        self._kept = _read_checkpoint(database, at)
        books = self._kept["state"]["books"]
        self._objectives = {book["number"]: book_in(book).record.objectives for book in books}
        self._answers: dict[tuple[str, ...], dict[str, Column]] = {}
        self._answering = threading.Lock()

    def checkpoint(self) -> Mapping[str, Any]:
        """Return everything but the runs."""
        state: Mapping[str, Any] = self._kept["state"]
        return state

    @property
    def form(self) -> int:
        """What its rows say, see ``FORM``."""
        return int(self._kept.get("form", 1))

    def names(self) -> dict[int, Names]:
        """Return, by experiment, the names that its runs' parameters, metrics and so on have."""
        return {
            int(exp): Names(**{family: frozenset(found) for family, found in families.items()})
            for exp, families in self._kept["names"].items()
        }

    def entries(self, run_ids: Sequence[str]) -> dict[str, Entry]:
        """Return the entries of some runs."""
        out: dict[str, Entry] = {}
        for start in range(0, len(run_ids), LOOK_UP):
            where = f"{among('run_id', run_ids[start : start + LOOK_UP])} and {RUNS_ONLY}"
            out |= {entry.run.id: entry for entry in self._read(where)}
        return out

    def entries_of(self, exp: int | None) -> list[Entry]:
        """Return the entries of an experiment's runs, or of all."""
        return self._read(_all(self.of(exp), RUNS_ONLY))

    def entries_of_each(self, exps: Collection[int]) -> list[Entry]:
        """Return the entries of several experiments' runs."""
        return self._read(_all(self._of_any(exps), RUNS_ONLY)) if exps else []

    def ids_of(self, exp: int | None) -> list[tuple[int, str]]:
        """Return ``(number, id)`` of an experiment's runs, or ``(ordinal, id)`` of all."""
        found = self.answer(
            {"run_id": "run_id", "place": "ordinal" if exp is None else "number"}, where=_all(self.of(exp), RUNS_ONLY)
        )
        return list(zip(found["place"].tolist(), found["run_id"].tolist(), strict=True))

    def id_at(self, ordinal: int) -> str | None:
        """Return the id of the run with an ordinal."""
        found = self.columns({"run_id": "run_id"}, where=f"ordinal = {ordinal} and {RUNS_ONLY}")["run_id"]
        return str(found[0]) if found.size else None

    def hidden(self) -> list[Entry]:
        """Return the entries of the runs that are hidden."""
        return self._read(f"hidden and {RUNS_ONLY}")

    def n_visible(self) -> dict[int, int]:
        """Return how many runs each experiment has that are not hidden."""
        numbers, counts = np.unique(self.answer({"exp": "exp"}, where=VISIBLE)["exp"], return_counts=True)
        return dict(zip(numbers.tolist(), counts.tolist(), strict=True))

    def of(self, exp: int | None) -> str | None:
        """Return the filter that leaves the runs of an experiment; None for all."""
        if exp is None:
            return None
        return self._of_any([exp])

    def _of_any(self, exps: Collection[int]) -> str:
        counts = self.n_visible()
        is_small = sum(counts.get(exp, 0) for exp in exps) <= LOOK_UP_RUNS
        column = "exp" if is_small else "exp + 0"  # which no index answers
        return f"{column} in ({', '.join(map(str, sorted(exps)))})"

    def starting_with(self, prefix: str) -> list[str]:
        """Return the ids of the runs that begin so."""
        where = f"starts_with(run_id, {quoted(prefix)}) and {VISIBLE}"
        return [str(run_id) for run_id in self.columns({"run_id": "run_id"}, where=where)["run_id"]]

    def answer(self, wanted: Mapping[str, str], *, where: str) -> Mapping[str, Column]:
        """Return what ``columns`` does, remembered: for few bytes a row, never to be written to."""
        key = (where, *wanted, *wanted.values())
        with self._answering:
            known = self._answers.pop(key, None)
            if known is not None:
                self._answers[key] = known  # the one asked for last stays longest
                return known
        found = self.columns(wanted, where=where)
        with self._answering:
            self._answers[key] = found
            n_rows = sum(map(_n_rows, self._answers.values()))
            while n_rows > REMEMBERED_ROWS:
                n_rows -= _n_rows(self._answers.pop(next(iter(self._answers))))
        return found

    def columns(self, wanted: Mapping[str, str], *, where: str) -> dict[str, Column]:
        """Return columns, or expressions of columns, of the rows that fit a filter."""
        try:
            return self._database.columns(TABLE, wanted, where=where, at=self.at)
        except StoreUnavailableError:
            pass  # the table may have been made anew meanwhile
        try:
            self._move()
            return self._database.columns(TABLE, wanted, where=where, at=self.at)
        except BaseGoneError:
            raise
        except StoreUnavailableError as error:
            if error.passing:
                raise
            raise BaseDamagedError(f"the derived table of runs cannot be read: {error}") from error

    def coded(self, wanted: Mapping[str, str | None], *, where: str) -> dict[str, Coded]:
        """Return columns of text of the rows that fit a filter, each different text once; see ``Database.coded``."""
        return self._database.coded(TABLE, wanted, where=where, at=self.at)

    def _read(self, where: str) -> list[Entry]:
        records = self.columns({"record": "record"}, where=where)["record"]
        try:
            return [decode(record, load_curves=self._load_curves, objectives=self._objectives) for record in records]
        except _UNREADABLE as error:
            raise BaseDamagedError(f"a row of the derived table of runs is damaged: {error!r:.200}") from error

    def _move(self) -> None:
        """Read on in the present table, if it was made anew with the same content."""
        self._database.unpin(TABLE)
        at = self._database.version(TABLE)
        try:
            self.gone = _read_checkpoint(self._database, at) != self._kept
        except RecordError:
            self.gone = True
        if self.gone:
            raise BaseGoneError("the index of runs was made anew by another process just now; try again")
        self.at = at


def _read_checkpoint(database: Database, at: int) -> dict[str, Any]:
    rows = database.select(TABLE, ["record"], where=f"run_id = {quoted(CHECKPOINT_ID)}", at=at)
    if not rows:
        raise RecordError("the derived table of runs has no checkpoint")
    try:
        kept: dict[str, Any] = json.loads(unsealed(rows[0]["record"]))
    except ValueError as error:
        raise BaseDamagedError("the checkpoint of the derived table of runs is damaged") from error
    return kept


_UNREADABLE: Final = (msgspec.MsgspecError, ValueError, KeyError, TypeError, AttributeError, IndexError)


def _n_rows(columns: Mapping[str, Column]) -> int:
    return max((column.size for column in columns.values()), default=0)


class RunIndex:
    """Keeps the ``runs`` table in step with a folded state.

    Not thread-safe by itself: its store calls it under a lock.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    # -- keeping up

    def kept(self, *, load_curves: CurveLoader) -> KeptFold | None:
        """Return the fold that the table holds, None where there is none that this version can read."""
        if not self._database.has(TABLE):
            return None
        at = self._database.pin(TABLE)
        if not self._is_current(at=at):
            return None
        try:
            kept = KeptFold(self._database, at=at, load_curves=load_curves)
        except RecordError:
            return None
        return kept if kept.form == FORM else None

    def save(self, state: State, *, live: LiveMetrics) -> int:
        """Write what the table lacks, in one commit, and return its version. The caller holds the lease ``index``.

        Parameters
        ----------
        state
            A fold whose base is what the table holds, or that has none.
        """
        dirty = state.dirty()
        if state.base is None or not self._database.has(TABLE):
            self._database.drop(TABLE)
            self._database.create(TABLE, COLUMNS)
        rows = rows_of(dirty, state, live=live)
        names = state.base.names() if isinstance(state.base, KeptFold) else {}
        for exp, found in names_by_experiment(dirty, live=live).items():
            names[exp] = names.get(exp, Names()) | found
        _add_checkpoint(rows, state, names)
        return self._database.upsert(TABLE, rows, COLUMNS, key="run_id")

    def refresh_indices(self) -> None:
        """Make or refresh the indices that look-ups use."""
        for column, kind in (("run_id", "BTREE"), ("exp", "BITMAP"), ("ordinal", "BTREE")):
            self._database.index_column(TABLE, column, kind)

    def _is_intact(self) -> bool:
        """Return whether the table is there and every value of it can be read."""
        try:
            if not self._database.has(TABLE):
                return False
            self._database.read_through(TABLE)
        except StoreUnavailableError as error:
            log.warning("the derived table of runs is made anew: %s", error)
            return False
        return True

    def _is_current(self, *, at: int | None = None) -> bool:
        return set(COLUMNS) <= set(self._database.column_names(TABLE, at=at))

    def rebuild(self, state: State, *, live: LiveMetrics) -> None:
        """Write all rows anew; the caller holds the lease ``index``, and the state has no base."""
        fitting = self._is_intact() and self._is_current()
        entries = state.entries_of(None)
        rows = rows_of(entries, state, live=live)
        _add_checkpoint(rows, state, names_by_experiment(entries, live=live))
        if not fitting:
            self._database.drop(TABLE)
            self._database.create(TABLE, COLUMNS)
        stale = set(self._database.columns(TABLE, {"run_id": "run_id"}, where=RUNS_ONLY)["run_id"].tolist())
        stale -= {entry.run.id for entry in entries}
        self._database.upsert(TABLE, rows, COLUMNS, key="run_id")
        self.forget(sorted(stale))

    def forget(self, run_ids: Sequence[str]) -> None:
        """Remove the rows of runs that were physically removed."""
        for start in range(0, len(run_ids), LOOK_UP):
            self._database.delete(TABLE, among("run_id", run_ids[start : start + LOOK_UP]))

    # -- asking

    def find(self, question: Question, state: State, *, live: LiveMetrics) -> list[str]:
        """Return the ids of the runs that fit a question, in its order.

        What the table does not have yet, and runs that go on (they change without an event), are judged apart, with
        the same filter in the same engine.
        """
        return question.ordered(self._found(question, question.columns(), state, live=live))

    def columns(
        self, question: Question, wanted: Mapping[str, Order], state: State, *, live: LiveMetrics
    ) -> dict[str, Column]:
        """Return columns of the runs that fit a question, in its order; see ``RunStore.columns``."""
        asked = question.columns()
        for place, order in enumerate(wanted.values()):
            asked |= {f"{place}.{form}": sql for form, sql in _readings(order).items()}
        found = self._found(question, asked, state, live=live)
        if not found:
            nothing = np.empty(0, dtype=np.float64)
            return {name: nothing if _is_number(order) else nothing.astype(object) for name, order in wanted.items()}
        at = question.positions(found)
        return {
            name: _plain(order, {form: found[f"{place}.{form}"][at] for form in _readings(order)})
            for place, (name, order) in enumerate(wanted.items())
        }

    def _found(
        self, question: Question, wanted: Mapping[str, str], state: State, *, live: LiveMetrics
    ) -> dict[str, Column]:
        """Return columns of the runs that fit, from the table and from what is judged apart."""
        exp = question.exp
        # A run that was moved away is still among its former siblings in the table: all are left out there.
        apart = {entry.run.id: entry for entry in [*state.dirty(), *state.entries(list(state.running))]}
        parts: list[Mapping[str, Column]] = []
        kept = state.base if isinstance(state.base, KeptFold) else None
        if kept is not None:
            parts.append(_without(_kept_columns(question, wanted, kept), apart))
        visible = [entry for entry in apart.values() if not entry.hidden and (exp is None or entry.exp == exp)]
        if visible:
            rows = rows_of(visible, state, live=live, described=question.asks_text)
            parts.append(self._database.columns_among(rows, COLUMNS, wanted, where=question.sql))
        return {name: np.concatenate([part[name] for part in parts]) for name in wanted} if parts else {}


def _kept_columns(question: Question, wanted: Mapping[str, str], kept: KeptFold) -> Mapping[str, Column]:
    """Return columns of the kept runs that fit.

    Numbers that are on one side of a threshold are found among those that are remembered: reading them out of JSON is
    most of what a filter over 100,000 runs costs, and who moves a threshold asks for the same numbers again. Where
    much is read of each run that fits, the database leaves out the others first.
    """
    if not question.thresholds or len(wanted) > FEW_COLUMNS:
        return kept.answer(wanted, where=_all(question.sql, VISIBLE, kept.of(question.exp)))
    numbers = {f"threshold {i}": each.number for i, each in enumerate(question.thresholds)}
    found = kept.answer({**wanted, **numbers}, where=_all(question.rest, VISIBLE, kept.of(question.exp)))
    met = np.logical_and.reduce(
        [each.met(found[name].astype(np.float64)) for name, each in zip(numbers, question.thresholds, strict=True)]
    )
    return {name: found[name][met] for name in wanted}


@dataclass(frozen=True, slots=True)
class Question:
    """Which runs, and in which order."""

    sql: str | None = None
    """A compiled filter; None for all."""
    _: KW_ONLY
    rest: str | None = None
    """The filter without its thresholds, where it has any."""
    thresholds: tuple[Threshold, ...] = ()
    exp: int | None = None
    """Number of an experiment; None for all."""
    order: Order | None = None
    """By what; None is the order of creation."""
    descending: bool = False
    asks_text: bool = False
    """Whether the filter looks at the described text."""

    @classmethod
    def of(cls, conditions: Conditions | None, **fields: Any) -> Question:
        """Ask for the runs that meet a filter, for all where it is None."""
        if conditions is None:
            return cls(**fields)
        return cls(conditions.sql, rest=conditions.rest, thresholds=conditions.thresholds, **fields)

    def columns(self) -> dict[str, str]:
        """Return what must be read of each run, as names and expressions."""
        out = {"run_id": "run_id", "ordinal": "ordinal" if self.exp is None else "number"}
        return out if self.order is None else out | _readings(self.order)

    def ordered(self, found: Mapping[str, Column]) -> list[str]:
        """Return the ids in order: numbers before text, and what has no finite value last in either direction."""
        return list(found["run_id"][self.positions(found)]) if found else []

    def positions(self, found: Mapping[str, Column]) -> NDArray[np.int64]:
        """Return where the runs stand in what was found, in order."""
        place = found["ordinal"].astype(np.int64)
        if self.order is None:
            at = np.argsort(place, kind="stable")
            return at[::-1] if self.descending else at
        number = found["number"].astype(np.float64) if "number" in found else np.full(place.shape, np.nan)
        numeric = np.flatnonzero(np.isfinite(number))
        sign = -1.0 if self.descending else 1.0
        first = numeric[np.lexsort((place[numeric], sign * number[numeric]))]
        words = self._words(found, number, place)
        taken = np.concatenate([words, first] if self.descending else [first, words]).astype(np.int64)
        left = np.ones(place.size, dtype=bool)
        left[taken] = False
        rest = np.flatnonzero(left)
        rest = rest[np.argsort(place[rest], kind="stable")]
        return np.concatenate([taken, rest]).astype(np.int64)

    def _words(self, found: Mapping[str, Column], number: Column, place: Column) -> NDArray[np.int64]:
        """Return the positions of values that are text, in order."""
        if "text" not in found:
            return np.empty(0, dtype=np.int64)
        text = found["text"]
        at = [i for i in np.flatnonzero(~np.isfinite(number)) if text[i] is not None and text[i] not in NON_FINITE]
        at.sort(key=lambda i: place[i])
        at.sort(key=lambda i: str(text[i]), reverse=self.descending)
        return np.array(at, dtype=np.int64)


def _readings(order: Order) -> dict[str, str]:
    """Return how a column is read: as ``number``, as ``text``, or as both where either may stand there."""
    if order.key is not None:
        text = f"json_get_string({order.column}, {quoted(order.key)})"
        return {"number": f"try_cast({text} as double)", "text": text}
    if not _is_number(order):
        return {"text": order.column}
    kind = COLUMNS[order.column]
    return {"number": f"cast({order.column} as bigint)" if kind in ("time", "bool") else order.column}


def _is_number(order: Order) -> bool:
    return order.key is None and COLUMNS[order.column] not in ("string", "text")


def _plain(order: Order, found: Mapping[str, Column]) -> Column:
    """Return a column as numbers, NaN where there is none, or as texts, None where there is none."""
    if "number" not in found:
        return found["text"]
    number = found["number"].astype(np.float64)
    if COLUMNS[order.column] == "time":
        return number / 1e6  # since 1970, from microseconds
    if "text" in found and any(
        text is not None and text not in NON_FINITE for text in found["text"][~np.isfinite(number)]
    ):
        return found["text"]
    return number


NON_FINITE: Final = frozenset({"NaN", "Infinity", "-Infinity"})


def _all(*clauses: str | None) -> str:
    return " and ".join(f"({clause})" for clause in clauses if clause)


def _without(found: Mapping[str, Column], apart: Mapping[str, Entry]) -> Mapping[str, Column]:
    if not apart:
        return found
    stays = np.array([run_id not in apart for run_id in found["run_id"]], dtype=bool)
    return {name: column[stays] for name, column in found.items()}


def rows_of(
    entries: Sequence[Entry],
    state: State,
    *,
    live: LiveMetrics,
    described: bool = True,
) -> dict[str, list[Any]]:
    """Return the rows of some runs as columns, with or without what is told of them in words."""
    out: dict[str, list[Any]] = {name: [] for name in COLUMNS}
    for entry, run in zip(entries, live([entry.run for entry in entries]), strict=True):
        row = _row(run, state.book(entry.exp).record, described=described)
        row |= {
            "exp": entry.exp,
            "hidden": entry.hidden,
            "folded": state.version,
            "record": encode(entry) if described else b"",
        }
        for name, values in out.items():
            values.append(row[name])
    return out


def _add_checkpoint(rows: dict[str, list[Any]], state: State, names: Mapping[int, Names]) -> None:
    """Add the row that holds everything but the runs."""
    kept = {
        "state": state.checkpoint(),
        "names": {exp: found.as_json() for exp, found in names.items()},
        "form": FORM,
    }
    row = {"run_id": CHECKPOINT_ID, "number": -1, "folded": state.version, "record": sealed(json.dumps(kept).encode())}
    for name, values in rows.items():
        values.append(row.get(name))


def names_by_experiment(entries: Sequence[Entry], *, live: LiveMetrics) -> dict[int, Names]:
    """Return the names that the runs of each experiment have."""
    runs: dict[int, list[Run]] = {}
    for entry, run in zip(entries, live([entry.run for entry in entries]), strict=True):
        runs.setdefault(entry.exp, []).append(run)
    return {exp: names_in(found) for exp, found in runs.items()}


def names_in(runs: Iterable[Run]) -> Names:
    """Return the names that a filter on these runs may use."""
    params: set[str] = set()
    metrics: set[str] = set()
    environment: set[str] = set()
    meta: set[str] = set()
    for run in runs:
        params.update(flat(run.params))
        metrics.update(run.metrics)
        environment.update(flat(run.environment))
        meta.update(flat({**run.meta, **run.user_attrs}))
    return Names(
        params=frozenset(params), metrics=frozenset(metrics), environment=frozenset(environment), meta=frozenset(meta)
    )


def flat(mapping: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested mappings as one level of dotted names; lists become their JSON text.

    Only scalars can be filtered by the database, which refuses a whole query over one list.
    """
    out: dict[str, Any] = {}
    for key, value in mapping.items():
        name = valid_text(f"{prefix}{key}")
        if isinstance(value, Mapping):
            out |= flat(value, f"{name}.")
        elif isinstance(value, float) and not math.isfinite(value):
            out[name] = "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
        elif isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 2**63:
            out[name] = str(value)
        elif isinstance(value, str):
            out[name] = valid_text(value)
        elif value is None or isinstance(value, (bool, int, float)):
            out[name] = value
        else:
            out[name] = json.dumps(value, default=str)
    return out


def _row(run: Run, experiment: Experiment, *, described: bool) -> dict[str, Any]:
    seed = run.seed if isinstance(run.seed, int) and abs(run.seed) < 2**63 else None
    return {
        "run_id": run.id,
        "experiment": run.experiment,
        "number": run.number,
        "ordinal": run.ordinal,
        "state": str(run.state),
        "ranks": experiment.ranks(run),
        "source": run.source,
        "objective": run.objective,
        "seed": seed,
        "created": run.created,
        "started": run.started,
        "ended": run.ended,
        "duration_s": run.duration_s,
        "params": json.dumps(flat(run.params)),
        "metrics": json.dumps(flat(run.metrics)),
        "environment": json.dumps(flat(run.environment)),
        "meta": json.dumps(flat({**run.meta, **run.user_attrs})),
        "tags": [valid_text(tag) for tag in run.tags],
        "notes": [valid_text(note) for note in run.notes],
        "codes": told_codes(run),
        "text": valid_text(describe(run, experiment)) if described else "",
        "config": valid_text(configuration(run, experiment)) if described else "",
        "written": [valid_text(passage) for passage in written(run)] if described else [],
    }

"""The table of an experiment's runs: what an address asks for, its columns, its rows. No HTML.

Invariant: everything that the table shows is in its address, so a link shows the same again; what an address asks for
and cannot be had (an unknown name, a page too far) is said or mended, never an error page.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from functools import cached_property
from typing import Any, Final

from starlette.datastructures import QueryParams

from advisor.exporting.csv_tables import cell
from advisor.nested import flat
from advisor.strict_json import plain
from advisor.web.addresses import address_of
from storage.errors import FilterError
from storage.query import COLUMNS, Names, spelled
from storage.records import Experiment, FindingState, Run
from storage.store import RunStore

PER_PAGE: Final = 50
MAX_COLUMNS: Final = 60
"""Chosen columns that are shown; an address may name more."""
DEFAULT_PARAMS: Final = 6
DEFAULT_METRICS: Final = 2
"""Parameters, and metrics beside the objective, that have a column unless others are chosen."""
FIELDS: Final = {
    "name": "Name",
    "started": "Started",
    "duration_s": "Duration",
    "seed": "Seed",
    "tags": "Tags",
    "source": "Source",
}
"""Further columns that can be chosen, and their headings."""
DEFAULT_FIELDS: Final = ("started", "duration_s", "tags")
SORTABLE: Final = frozenset({"number", "state", "objective", "started", "duration_s", "seed", "source"})
NEWEST: Final = ("number", True)
"""By what the table is sorted unless the address says otherwise, and whether it is turned round."""
CHOICES: Final = 400
"""Columns that can be ticked."""
OFFERED: Final = 400
"""Names that are offered while a filter is typed."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column that can be shown."""

    key: str
    """As the address has it, and as a filter or a sort order takes it where it can be sorted by."""
    label: str
    _: KW_ONLY
    family: str
    """``params``, ``metrics``, or empty."""
    name: str = ""
    """Within the family."""

    @property
    def is_sortable(self) -> bool:
        """Whether the table can be sorted by it."""
        return bool(self.family) or self.key in SORTABLE

    @property
    def right(self) -> bool:
        """Whether it stands to the right: figures and lengths of time."""
        return bool(self.family) or self.key in ("duration_s", "seed")

    def value(self, run: Run, params: Mapping[str, Any]) -> Any:
        """Return a run's value, None where it has none."""
        if self.family == "params":
            return params.get(self.name)
        if self.family == "metrics":
            return run.metrics.get(self.name)
        return getattr(run, self.key)


@dataclass(frozen=True)
class Asked:
    """What an address asks of the table."""

    record: Experiment
    _: KW_ONLY
    where: str = ""
    sort: str = NEWEST[0]
    desc: bool = NEWEST[1]
    page: int = 1
    columns: tuple[str, ...] = ()
    """Keys of the chosen columns; empty for the usual ones."""

    @classmethod
    def of(cls, record: Experiment, query: QueryParams) -> Asked:
        """Read an address."""
        sort = query.get("sort") or NEWEST[0]
        desc = query["desc"] == "1" if "desc" in query else NEWEST[1] and "sort" not in query
        page = query.get("page", "1")
        return cls(
            record,
            where=query.get("where", "").strip(),
            sort=sort,
            desc=desc,
            page=max(int(page), 1) if page.isdecimal() and len(page) < 9 else 1,
            columns=tuple(dict.fromkeys(key for key in query.getlist("columns") if key))[:MAX_COLUMNS],
        )

    def address(self, part: str = "", **changes: Any) -> str:
        """Return the address of the table with something else asked for; page 1 unless a page is."""
        new = replace(self, **{"page": 1, **changes})
        by_default = (new.sort, new.desc) == NEWEST
        return address_of(
            self.record,
            part,
            tab="" if part else "runs",
            where=new.where,
            sort="" if by_default else new.sort,
            desc="" if by_default else int(new.desc),
            page="" if new.page == 1 else new.page,
            columns=new.columns,
        )

    def sorted_by(self, key: str) -> str:
        """Return the address that a click on a column's heading leads to: its order, then the other way round."""
        return self.address(sort=key, desc=not self.desc if key == self.sort else False)

    def direction(self, key: str) -> str:
        """Return ``aria-sort`` of a column."""
        return "none" if key != self.sort else "descending" if self.desc else "ascending"


@dataclass(frozen=True)
class Table:
    """What the table shows."""

    asked: Asked
    _: KW_ONLY
    names: Names
    runs: tuple[Run, ...]
    n_fitting: int
    error: str | None = None
    """Why the filter or the order cannot be understood, in a sentence."""

    @property
    def first(self) -> int:
        """Position of the first row, from 1."""
        return (self.asked.page - 1) * PER_PAGE + 1 if self.runs else 0

    @property
    def last(self) -> int:
        """Position of the last row."""
        return self.first + len(self.runs) - 1 if self.runs else 0

    @property
    def n_pages(self) -> int:
        """How many pages there are, at least one."""
        return max(math.ceil(self.n_fitting / PER_PAGE), 1)

    @cached_property
    def offered(self) -> list[Column]:
        """All columns that can be chosen."""
        return offered(self.asked.record, self.names)

    @property
    def choices(self) -> list[Column]:
        """The columns that can be ticked: the shown ones, and of the others not too many, metrics among them."""
        shown = set(self.columns)
        others = [column for column in self.offered if column not in shown]
        metrics = [column for column in others if column.family == "metrics"]
        rest = [column for column in others if column.family != "metrics"]
        n = max(CHOICES - len(shown), 0)
        n_metrics = min(len(metrics), max(n // 2, n - len(rest)))
        ticked = shown.union(rest[: n - n_metrics], metrics[:n_metrics])
        return [column for column in self.offered if column in ticked]

    @cached_property
    def columns(self) -> list[Column]:
        """The columns that are shown beside number, state, objective and findings."""
        by_key = {column.key: column for column in self.offered}
        if self.asked.columns:
            return [by_key[key] for key in self.asked.columns if key in by_key]
        return usual(self.asked.record, self.offered)

    def rows(self) -> Iterator[tuple[Run, list[Any], int]]:
        """Yield each run, the values of the shown columns, and how many of its findings are open."""
        for run in self.runs:
            params = flat(run.params)
            values = [column.value(run, params) for column in self.columns]
            yield run, values, sum(finding.state is FindingState.OPEN for finding in run.findings)

    def words(self) -> list[str]:
        """Return the names that a filter may use, for completion."""
        return [*COLUMNS, *(column.key for column in self.offered if column.family)][:OFFERED]


def offered(record: Experiment, names: Names) -> list[Column]:
    """Return all columns that can be chosen: fields, then parameters, those of the space first, then metrics."""
    own = {objective.metric for objective in record.objectives[:1]}
    declared = [name for name in record.space or () if name in names.params]
    params = [*declared, *sorted(names.params - set(declared))]
    return [
        *(Column(key, label, family="") for key, label in FIELDS.items()),
        *(Column(spelled("params", name), name, family="params", name=name) for name in params),
        *(Column(spelled("metrics", name), name, family="metrics", name=name) for name in sorted(names.metrics - own)),
    ]


def usual(record: Experiment, columns: Sequence[Column]) -> list[Column]:
    """Return the columns that are shown where none are chosen; further objectives are among them."""
    further = {objective.metric for objective in record.objectives[1:]}
    params = [column for column in columns if column.family == "params"][:DEFAULT_PARAMS]
    metrics = [column for column in columns if column.family == "metrics" and "/" not in column.name]
    leading = [column for column in metrics if column.name in further]
    metrics = [*leading, *(column for column in metrics if column not in leading)][: max(DEFAULT_METRICS, len(leading))]
    return [*params, *metrics, *(column for column in columns if column.key in DEFAULT_FIELDS)]


def table(store: RunStore, asked: Asked) -> Table:
    """Return a page of the table; the last one where the address asks for one beyond it."""
    names = store.names(asked.record.name)

    def read(page: int) -> tuple[list[Run], int]:
        return store.page(
            asked.record.name,
            where=asked.where or None,
            order_by=None if asked.sort == "number" else asked.sort,
            descending=asked.desc,
            limit=PER_PAGE,
            offset=(page - 1) * PER_PAGE,
        )

    try:
        runs, n = read(asked.page)
        if not runs and n:
            asked = replace(asked, page=math.ceil(n / PER_PAGE))
            runs, n = read(asked.page)
    except FilterError as error:
        return Table(asked, names=names, runs=(), n_fitting=0, error=str(error))
    return Table(asked, names=names, runs=tuple(runs), n_fitting=n)


# -- taking it away

RUNS_AT_ONCE: Final = 1_000
"""Runs that are in memory together while they are written."""
ABOUT: Final = ("run_id", "number", "name", "state", "objective", "seed", "started", "ended", "duration_s")
LAST: Final = ("tags", "notes", "error")


def pages(store: RunStore, asked: Asked) -> Iterator[list[Run]]:
    """Yield all runs that fit the filter, in the table's order, some at a time; the first ones are read at once.

    Raises
    ------
    FilterError
        If the filter or the order cannot be understood, before anything is yielded.
    """

    def read(offset: int) -> list[Run]:
        return store.runs(
            asked.record.name,
            where=asked.where or None,
            order_by=None if asked.sort == "number" else asked.sort,
            descending=asked.desc,
            limit=RUNS_AT_ONCE,
            offset=offset,
        )

    first = read(0)

    def rest() -> Iterator[list[Run]]:
        found, n = first, 0
        while found:
            yield found
            n += len(found)
            found = read(n) if len(found) == RUNS_AT_ONCE else []

    return rest()


def as_csv(record: Experiment, names: Names, found: Iterator[list[Run]]) -> Iterator[str]:
    """Yield lines of a CSV file, guarded against formulas as ``advisor export`` does it."""
    columns = offered(record, names)
    params = [column.name for column in columns if column.family == "params"]
    metrics = sorted(names.metrics)
    text = io.StringIO()
    writer = csv.writer(text)
    heads = [*ABOUT, *(f"params.{name}" for name in params), *(f"metrics.{name}" for name in metrics), *LAST]
    writer.writerow(map(cell, heads))
    for runs in found:
        for run in runs:
            own = flat(run.params)
            row = [*_about(run).values(), *map(own.get, params), *map(run.metrics.get, metrics)]
            row += ["; ".join(run.tags), "\n\n".join(run.notes), run.error]
            writer.writerow(map(cell, row))
        yield text.getvalue()
        text.seek(0)
        text.truncate()
    yield text.getvalue()


def as_json(found: Iterator[list[Run]]) -> Iterator[str]:
    """Yield a JSON array of runs, NaN and infinities as the words that all our JSON has."""
    start = "[\n"
    for runs in found:
        rows = [
            _about(run) | {"params": run.params, "metrics": run.metrics, "tags": run.tags, "error": run.error}
            for run in runs
        ]
        yield start + ",\n".join(json.dumps(plain(row), allow_nan=False) for row in rows)
        start = ",\n"
    yield "[]\n" if start == "[\n" else "\n]\n"


def _about(run: Run) -> dict[str, Any]:
    row: dict[str, Any] = {"run_id": run.id} | {name: getattr(run, name) for name in ABOUT[1:]}
    moments = {name: None if row[name] is None else row[name].isoformat() for name in ("started", "ended")}
    return row | moments | {"state": str(run.state)}

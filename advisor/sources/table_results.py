"""Tables of many runs: results, one row a run, or steps of several runs told apart by a column.

Such a table is held in memory whole, since rows of a run may stand anywhere in it.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np

from advisor.errors import SourceError
from advisor.sources.port import Piece
from advisor.sources.reading import from_iso, from_seconds, whole
from advisor.sources.table_cells import is_absent, is_number_column, is_text, seconds
from advisor.sources.table_columns import PARAMETER_NAMES, STATES, Roles, labels_of
from advisor.sources.table_curves import Curves, notes_of_rows, value_of, without_prefix
from advisor.sources.table_files import Chunk, Form, TableFile
from advisor.sources.table_forms import duration_of, unescaped
from storage.records import RunState

TABLE_MAX_BYTES: Final = 256 * 2**20
RUNS_AT_MOST: Final = 200_000
NOTES: Final = ("description", "note", "notes", "comment", "comments", "remark", "remarks")
COMMITS: Final = ("commit", "git_commit", "sha", "git_sha", "commit_hash")
STATES_OF: Final[Mapping[str, RunState]] = {
    **dict.fromkeys(("crash", "crashed", "killed", "oom", "timeout"), RunState.CRASHED),
    **dict.fromkeys(("fail", "failed", "failure", "error", "diverged"), RunState.FAILED),
    **dict.fromkeys(("pruned", "stopped"), RunState.PRUNED),
    **dict.fromkeys(("running", "active"), RunState.RUNNING),
}
"""What a column of states may say; anything else is a finished run, and a tag."""
NAME_CHARACTERS: Final = 80


@dataclass(slots=True)
class Row:
    """What a table says of one run."""

    label: str
    """Unique in the table and stable while it grows."""
    name: str | None
    rows: list[int]
    params: dict[str, Any] = field(default_factory=dict)
    tags: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    state: RunState | None = None
    started_s: float | None = None
    commit: str | None = None
    duration: timedelta | None = None
    ended: datetime | None = None
    experiment: str | None = None
    error: str | None = None
    seed: int | None = None
    meta: dict[str, Any] = field(default_factory=dict)


class Results:
    """A table of runs, read whole.

    Raises
    ------
    SourceError
        If it cannot be read, or is too large.
    """

    def __init__(self, path: Path, form: Form, roles: Roles) -> None:
        if path.stat().st_size > TABLE_MAX_BYTES:
            raise SourceError(f"is a table of many runs of more than {TABLE_MAX_BYTES:,} bytes; write one file a run")
        self._roles = roles
        self._all = _whole(path, form)
        if roles.is_export:
            cells = {name: unescaped(cells) for name, cells in self._all.columns.items()}
            self._all = replace(self._all, columns=cells)
        self._texts = {name for name, cells in self._all.columns.items() if is_text(cells)}
        time = roles.time if roles.time in self._all.columns else None
        self._times = seconds(self._all.columns[time]) if time is not None else None
        self.n_unnamed = 0
        self._groups = self._labelled()
        if len(self._groups) > RUNS_AT_MOST:
            raise SourceError(f"names {len(self._groups):,} runs; {RUNS_AT_MOST:,} are read at most")
        self._fixed = {name for name in self._all.columns if self._is_fixed(name)}

    def labels(self) -> list[str]:
        """Return the labels of all runs, in the order in which they begin."""
        return list(self._groups)

    def has_metrics(self) -> bool:
        """Return whether any row has a value of any metric."""
        roles = self._roles
        known = {roles.step, roles.time, roles.split, *roles.runs, *roles.ignored, *roles.said}
        return any(
            is_number_column(cells)
            for name, cells in self._all.columns.items()
            if name not in known and not self._is_param(name)
        )

    def notes(self) -> list[str]:
        """Return what of the table was left out, whichever run it is of."""
        notes = notes_of_rows(self._all.n_ragged, self._all.n_unreadable)
        if self.n_unnamed:
            rows = (
                "1 row names no run and was" if self.n_unnamed == 1 else f"{self.n_unnamed:,} rows name no run and were"
            )
            notes.append(f"{rows} left out")
        return notes

    def stamp(self, label: str) -> str:
        """Return a text that changes when anything of a run does."""
        crc = 0
        for i in self._groups[label]:
            crc = zlib.crc32(repr([cells[i] for cells in self._all.columns.values()]).encode(errors="replace"), crc)
        return f"{len(self._groups[label])}.{crc}"

    def row(self, label: str) -> Row:
        """Return what the table says of a run beside its curves."""
        rows = self._groups[label]
        row = Row(label, self._name(label, rows[0]), rows)
        for name, cells in self._all.columns.items():
            roles = self._roles
            if name in (roles.time, roles.split, *roles.runs, *(roles.value or ())) or name in roles.ignored:
                continue
            # Ours is empty only where there is nothing: a parameter may well be "none".
            some = [cells[i] for i in rows if (cells[i] != "" if roles.is_export else not is_absent(cells[i]))]
            if some and name in roles.said:
                _take_said(row, name, roles.said[name], some[0])
            elif some:
                self._take(row, name, some)
        if row.started_s is not None and row.ended is None and row.duration is not None:
            row.ended = _later(row.started_s, row.duration)
        if self._times is not None and self._times[1]:
            found = self._times[0][rows]
            finite = found[np.isfinite(found)]
            row.started_s = float(finite[0]) if finite.size else None
        return row

    def piece(self, label: str, started_s: float | None) -> Piece:
        """Return a run's curves."""
        rows = self._groups[label]
        columns = {
            name: [cells[i] for i in rows] for name, cells in self._all.columns.items() if not self._is_param(name)
        }
        curves = Curves(self._roles, started_s=started_s)
        curves.add(Chunk(columns, len(rows)))
        return Piece(curves.curves(), notes=tuple(curves.notes()))

    def _labelled(self) -> dict[str, list[int]]:
        """Return the rows of each run."""
        labels = labels_of(self._all, self._roles.runs)
        groups: dict[str, list[int]] = {}
        if not self._roles.is_row_a_run:
            for i, label in enumerate(labels):
                if label or not self._roles.runs or self._is_seed_only():
                    groups.setdefault(label, []).append(i)
            self.n_unnamed = len(labels) - sum(map(len, groups.values()))
            return groups
        seen: Counter[str] = Counter()
        for i, label in enumerate(labels):
            label = label or f"row {i + 1}"
            seen[label] += 1
            groups[label if seen[label] == 1 else f"{label}~{seen[label]}"] = [i]
        return groups

    def _is_seed_only(self) -> bool:
        return [name.lower() for name in self._roles.runs] == ["seed"]

    def _name(self, label: str, first: int) -> str | None:
        if self._roles.is_export and self._roles.is_row_a_run:
            return None  # its label is an id; a name is among what was said
        if self._roles.runs and self._roles.said and self._roles.is_row_a_run:
            cell = self._all.columns[self._roles.runs[0]][first]  # its label has a number where names repeat
            return None if is_absent(cell) else str(cell).strip()[:NAME_CHARACTERS]
        if self._roles.runs:
            return label or None
        for name, cells in self._all.columns.items():
            if (
                name in self._texts
                and name not in self._roles.said
                and name.lower() not in (*STATES, *NOTES)
                and not is_absent(cells[first])
            ):
                return str(cells[first])[:NAME_CHARACTERS]
        return label

    def _take(self, row: Row, name: str, some: Sequence[Any]) -> None:
        """Take the values that a column has for a run."""
        lower, first = name.lower(), some[0]
        is_text_column = name in self._texts
        if is_text_column and lower in STATES:
            row.state = STATES_OF.get(str(some[-1]).strip().lower())
            if row.state is None:
                row.state = RunState.FINISHED
                row.tags.append(f"{name}={some[-1]}"[:200])
        elif is_text_column and lower in NOTES:
            row.notes += [str(cell) for cell in dict.fromkeys(some)]
        elif is_text_column and lower in COMMITS:
            row.commit = str(first)
        elif self._is_param(name) or (is_text_column and len(set(map(str, some))) == 1):
            row.params[without_prefix(name)] = value_of(first, name)

    def _is_param(self, name: str) -> bool:
        if self._roles.is_param(name):
            return True
        is_named = PARAMETER_NAMES.fullmatch(name) is not None and name not in self._roles.metrics
        is_of_runs = self._roles.is_row_a_run or self._roles.value is not None
        is_set = is_of_runs or name in self._fixed or name.lower() == "seed"
        return is_named and name not in self._roles.said and is_set

    def _is_fixed(self, name: str) -> bool:
        """Return whether a column that is called like a parameter keeps its value in each of several runs.

        A learning rate that changes within a run is a schedule, so a curve; of a run of one row nobody can tell.
        """
        if not self._roles.runs or self._roles.is_row_a_run or PARAMETER_NAMES.fullmatch(name) is None:
            return False
        cells = self._all.columns[name]
        several = [rows for rows in self._groups.values() if len(rows) > 1]
        return bool(several) and all(len({str(cells[i]) for i in rows}) == 1 for rows in several)


def _take_said(row: Row, name: str, what: str, cell: Any) -> None:
    """Take what a column of a form that is known says of a run."""
    text = str(cell).strip()
    match what:
        case "name":
            row.name = text[:NAME_CHARACTERS]
        case "state":
            known = STATES_OF.get(text.lower())
            row.state = known or (RunState(text) if text in frozenset(RunState) else RunState.FINISHED)
        case "notes":
            row.notes += [note for note in text.split("\n\n") if note]
        case "tags;" | "tags,":
            row.tags += [tag.strip() for tag in text.split("; " if what == "tags;" else ",") if tag.strip()]
        case "started":
            started = from_iso(text)
            row.started_s = None if started is None else started.timestamp()
        case "ended":
            row.ended = from_iso(text)
        case "duration":
            row.duration = duration_of(cell)
        case "seed":
            row.seed = whole(text)
        case "experiment" | "error":
            setattr(row, what, text)
        case "meta":
            row.meta[name.removeprefix("meta.")] = value_of(cell)
    if name == "meta.name":
        row.name = text[:NAME_CHARACTERS]


def _later(started_s: float, duration: timedelta) -> datetime | None:
    started = from_seconds(started_s)
    try:
        return None if started is None else started + duration
    except OverflowError:
        return None


def _whole(path: Path, form: Form) -> Chunk:
    columns: dict[str, list[Any]] = {}
    n_rows = n_ragged = n_unreadable = 0
    with TableFile(path, form) as table:
        for chunk in table.chunks():
            for name in chunk.columns.keys() - columns.keys():
                columns[name] = [None] * n_rows
            for name, cells in columns.items():
                cells += chunk.columns.get(name) or [None] * chunk.n_rows
            n_rows, n_ragged = n_rows + chunk.n_rows, n_ragged + chunk.n_ragged
            n_unreadable += chunk.n_unreadable
    return Chunk(columns, n_rows, n_ragged, n_unreadable)

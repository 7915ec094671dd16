"""Runs as two CSV files: ``runs.csv``, one line a run, and ``curves.csv``, one line a value.

Numbers are written so that they read back as the same 64-bit floats, NaN as ``NaN`` and infinities as ``inf`` and
``-inf``, which pandas and numpy understand. Text that a spreadsheet would take for a formula gets an apostrophe before
it (CWE-1236), since names and notes come from anywhere.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from advisor.exporting.taken import Exported, Tally, records, runs_of, said_of
from advisor.nested import flat
from storage.records import Run

if TYPE_CHECKING:
    from advisor.app import Advisor

ABOUT: Final = ("run_id", "experiment", "number", "state", "objective", "seed", "started", "ended", "duration_s")
CURVE_COLUMNS: Final = ("run_id", "experiment", "metric", "step", "value", "time_s")
FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "|")
"""What a formula may begin with, or what spreadsheets strip before they look."""


def write(adv: Advisor, folder: Path, *, experiment: str | None) -> Exported:
    """Write both files, replacing those of an earlier export."""
    folder.mkdir(parents=True, exist_ok=True)
    tally, rows = Tally(), []
    with (folder / "curves.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(CURVE_COLUMNS)
        for record in records(adv, experiment):
            for run, curves in runs_of(adv, record):
                tally.saw(curves)
                rows.append(_row(run))
                about = (cell(run.id), cell(run.experiment))
                for metric, curve in curves.items():
                    name = cell(metric)
                    points = zip(curve.steps.tolist(), curve.values.tolist(), curve.times.tolist(), strict=True)
                    table.writerows((*about, name, step, cell(value), _or_empty(time)) for step, value, time in points)
    _write_runs(folder / "runs.csv", rows)
    return tally.exported(folder)


def _row(run: Run) -> dict[str, Any]:
    row: dict[str, Any] = {name: getattr(run, name) for name in ABOUT if name != "run_id"}
    row = {"run_id": run.id, **row, "state": str(run.state)}
    row |= {name: None if row[name] is None else row[name].isoformat() for name in ("started", "ended")}
    row |= {f"params.{name}": value for name, value in flat(run.params).items()}
    row |= {f"metrics.{name}": value for name, value in run.metrics.items()}
    row |= {f"meta.{name}": value for name, value in flat(said_of(run)).items() if name not in run.tags}
    return row | {"tags": "; ".join(run.tags), "notes": "\n\n".join(run.notes), "error": run.error}


def _write_runs(path: Path, rows: list[dict[str, Any]]) -> None:
    last = ("tags", "notes", "error")
    named = dict.fromkeys(name for row in rows for name in row if name not in ABOUT and name not in last)
    columns = [*ABOUT, *sorted(named, key=lambda name: name.partition(".")[0] == "meta"), *last]
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(map(cell, columns))
        table.writerows(_cells(row, columns) for row in rows)


def _cells(row: Mapping[str, Any], columns: Iterable[str]) -> list[Any]:
    return [cell(row.get(name)) for name in columns]


def cell(value: Any) -> Any:
    """Return a value as a cell: numbers as they read back, text without a formula.

    >>> [cell(value) for value in (0.1, float("nan"), float("-inf"), "=1+1", "-0.5", "- item", None, True)]
    ['0.1', 'NaN', '-inf', "'=1+1", '-0.5', "'- item", '', 'True']
    """
    if value is None:
        return ""
    if isinstance(value, float):
        return "NaN" if math.isnan(value) else repr(value)
    if isinstance(value, (bool, int)):
        return str(value)
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    text = text.encode(errors="replace").decode()
    return f"'{text}" if text.lstrip(" ").startswith(FORMULA) and not _is_number(text) else text


def _or_empty(time: float) -> str:
    return "" if math.isnan(time) else repr(time)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return text == text.strip()

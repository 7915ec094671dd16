"""Tables whose columns are known beforehand: of ``advisor export --format csv``, and as W&B's page exports them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from advisor.errors import SourceError
from advisor.sources.table_columns import Roles, with_stated
from advisor.sources.table_files import Chunk, look

EXPORT_RUNS: Final = "runs.csv"
EXPORT_CURVES: Final = "curves.csv"
OF_EXPORT: Final[Mapping[str, str]] = {
    "experiment": "experiment",
    "number": "nothing",
    "state": "state",
    "objective": "nothing",
    "seed": "seed",
    "started": "started",
    "ended": "ended",
    "duration_s": "duration",
    "tags": "tags;",
    "notes": "notes",
    "error": "error",
}
"""Column of ``runs.csv`` → what it says of its run, beside ``run_id``, ``params.…``, ``metrics.…`` and ``meta.…``."""
CURVE_COLUMNS: Final = frozenset({"run_id", "experiment", "metric", "step", "value", "time_s"})
OF_WANDB: Final[Mapping[str, str]] = {
    "State": "state",
    "Notes": "notes",
    "User": "meta",
    "Tags": "tags,",
    "Created": "started",
    "Runtime": "duration",
    "Sweep": "meta",
    "Group": "meta",
    "Job Type": "meta",
    "Hostname": "meta",
    "Updated": "nothing",
    "End Time": "ended",
}
_TELLS_WANDB: Final = frozenset({"Name", "State", "Created", "Runtime"})
_ESCAPED: Final = re.compile(r"' *[=+\-@\t\r\n|]")
_DURATION: Final = re.compile(r"(?:(\d+)d)? *(?:(\d+)h)? *(?:(\d+)m)? *(?:(\d+(?:\.\d+)?)s)?")


def known_roles(head: Chunk, stated: Mapping[str, str]) -> Roles | None:
    """Return what the columns are where the header is one of those known, None elsewise."""
    names = tuple(head.columns)
    if _is_export_of_runs(names):
        said = {name: OF_EXPORT[name] for name in names if name in OF_EXPORT}
        said |= {name: "meta" for name in names if name.startswith("meta.")}
        roles = Roles(None, None, ("run_id",), is_row_a_run=True, names=names, said=said, is_export=True)
    elif set(names) >= CURVE_COLUMNS:
        said = {"experiment": "experiment"}
        value = ("metric", "value")
        roles = Roles("step", "time_s", ("run_id",), names=names, value=value, said=said, is_export=True)
    elif set(names) >= _TELLS_WANDB:
        said = {name: OF_WANDB[name] for name in names if name in OF_WANDB}
        label = "ID" if "ID" in names else "Name"
        said |= {"Name": "name"} if label == "ID" else {}
        roles = Roles(None, None, (label,), is_row_a_run=True, names=names, said=said)
    else:
        return None
    return with_stated(roles, stated)


def is_export(folder: Path, files: frozenset[str]) -> bool:
    """Return whether a folder holds both files of an export."""
    if not {EXPORT_RUNS, EXPORT_CURVES} <= files:
        return False
    try:
        heads = [look(folder / name)[1] for name in (EXPORT_RUNS, EXPORT_CURVES)]
    except SourceError:
        return False
    return _is_export_of_runs(tuple(heads[0].columns)) and set(heads[1].columns) >= CURVE_COLUMNS


def curves_beside(path: Path) -> Path | None:
    """Return the curves of an export's runs, None where a file is not the runs of one."""
    beside = path.parent / EXPORT_CURVES
    if path.name != EXPORT_RUNS or not beside.is_file() or beside.is_symlink():
        return None
    return beside if is_export(path.parent, frozenset({EXPORT_RUNS, EXPORT_CURVES})) else None


def unescaped(cells: Sequence[Any]) -> Sequence[Any]:
    """Return cells without the apostrophe that keeps spreadsheets from running them as formulas."""
    return [cell[1:] if isinstance(cell, str) and _ESCAPED.match(cell) else cell for cell in cells]


def duration_of(cell: Any) -> timedelta | None:
    """Return a duration: seconds, or as W&B's page shows it.

    >>> [str(duration_of(cell)) for cell in ("90", 1.5, "1h 2m 3s", "soon", "")]
    ['0:01:30', '0:00:01.500000', '1:02:03', 'None', 'None']
    """
    text = str(cell).strip()
    found = _DURATION.fullmatch(text)
    try:
        if found is not None and any(found.groups()):
            days, hours, minutes, seconds = (float(part or 0) for part in found.groups())
            return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
        return timedelta(seconds=float(text))
    except (ValueError, OverflowError):
        return None


def _is_export_of_runs(names: Sequence[str]) -> bool:
    return names[:4] == ("run_id", "experiment", "number", "state") and {"started", "ended", "tags"} <= set(names)

"""How the command line writes: data to stdout as tables or JSON, notes and progress to stderr.

Text that comes from runs is not trusted: it is shown on one line, without control characters, and nothing in
it is taken as markup. JSON is strict and ASCII; NaN and infinities are the words "NaN", "Infinity", "-Infinity".
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from advisor.strict_json import plain

CELL_MAX: Final = 200
"""Most characters of one cell."""
ABSENT: Final = "-"
"""What stands where there is no value."""


def print_json(value: Any) -> None:
    """Print one JSON document: spread out for a person, compact for a program."""
    indent = 2 if sys.stdout.isatty() else None
    sys.stdout.write(json.dumps(plain(value), allow_nan=False, indent=indent) + "\n")


# -- words


def one_line(text: str, *, limit: int) -> str:
    """Return a text on one line, with nothing in it that could steer a terminal."""
    from advisor.documents.untrusted import one_line as made_safe  # loads numpy, which the help does not need

    return made_safe(text, limit=limit)


def shown(value: Any) -> str:
    r"""Return a value as one short line.

    >>> [shown(value) for value in (0.000123456, float("nan"), None, True, "a\nb", 12)]
    ['0.00012346', 'NaN', '-', 'true', 'a b', '12']
    """
    if value is None:
        return ABSENT
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.5g}".replace("nan", "NaN")
    if isinstance(value, datetime):
        return value.astimezone().strftime("%Y-%m-%d %H:%M")
    if isinstance(value, str | int | Path):
        return one_line(str(value), limit=CELL_MAX)
    return one_line(json.dumps(plain(value), ensure_ascii=False), limit=CELL_MAX)


def duration(seconds: float | None) -> str:
    """Return a length of time in its two largest units.

    >>> [duration(value) for value in (0.25, 75, 7260, None)]
    ['0.25 s', '1 min 15 s', '2 h 01 min', '-']
    """
    if seconds is None:
        return ABSENT
    if not 0 <= seconds < math.inf:
        return shown(float(seconds))
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


def count(n: int, one: str, many: str | None = None) -> str:
    """Return a number with its noun.

    >>> count(1, "run"), count(2, "run")
    ('1 run', '2 runs')
    """
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def note(text: str) -> None:
    """Say something beside the data."""
    sys.stderr.write(one_line(text, limit=2000) + "\n")


def say(text: str = "") -> None:
    """Print a line of the answer."""
    sys.stdout.write(one_line(text, limit=4000) + "\n")


# -- tables


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table."""

    header: str
    _: KW_ONLY
    right: bool = False
    """Whether it is flush right, as numbers are."""
    optional: bool = False
    """Whether it may be left out where the terminal is too narrow; the last such column goes first."""
    folds: bool = False
    """Whether it may take several lines."""


def print_table(columns: Sequence[Column], rows: Sequence[Sequence[Any]], *, title: str | None = None) -> None:
    """Print a table as wide as the terminal; where there is no terminal, as wide as it is."""
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(markup=False, highlight=False, emoji=False, soft_wrap=False)
    cells = [[shown(value) for value in row] for row in rows]
    widths = [
        max(cell_len(text) for text in (shown(column.header), *(row[i] for row in cells))) + 2
        for i, column in enumerate(columns)
    ]
    if not console.is_terminal:
        console.width = max(sum(widths), 80)
    kept = _fitting(columns, widths, console.width)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for i in kept:
        column = columns[i]
        table.add_column(
            Text(shown(column.header)), justify="right" if column.right else "left", no_wrap=not column.folds
        )
    for row in cells:
        table.add_row(*(Text(row[i]) for i in kept))
    if title is not None:
        console.print(Text(shown(title), style="bold"))
    console.print(table)
    left_out = [column.header for i, column in enumerate(columns) if i not in kept]
    if left_out:
        note(f"too narrow for {', '.join(left_out)}; a wider terminal or --json shows all")


def _fitting(columns: Sequence[Column], widths: Sequence[int], width: int) -> list[int]:
    kept = list(range(len(columns)))
    for i in reversed(range(len(columns))):
        if sum(widths[k] for k in kept) <= width:
            break
        if columns[i].optional:
            kept.remove(i)
    return kept


def print_pairs(title: str | None, pairs: Mapping[str, Any]) -> None:
    """Print names and values, under a title if there is one; nothing where there are none."""
    if not pairs:
        return
    if title is not None:
        say(title)
    width = min(max(len(shown(name)) for name in pairs), 40)
    for name, value in pairs.items():
        say_indented(f"{shown(name):<{width}}  {shown(value)}")


def say_indented(text: str) -> None:
    """Print a line two blanks to the right; the text must have been made safe."""
    sys.stdout.write(f"  {text}\n")


# -- progress


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """Draw a bar on stderr, where that is a terminal; yields what takes (done, total)."""
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def status(what: str) -> Iterator[Callable[[str], None]]:
    """Show on stderr what goes on, where that is a terminal; yields what takes the next words."""
    if not sys.stderr.isatty():
        yield lambda words: None
        return
    from rich.console import Console

    with Console(stderr=True).status(what) as shown:
        yield lambda words: shown.update(f"{what}: {words}")

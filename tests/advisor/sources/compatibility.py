"""The compatibility table of docs/compatibility.md, made from the fixtures that the tools themselves wrote.

python -m tests.advisor.sources.compatibility      # from the repository's root; rewrites the page's table
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from advisor.sources.port import Piece, Reader, SourceRun
from advisor.sources.registry import readers
from storage.records import RunState
from tests.advisor.sources.recorded import DATA, read_all

PAGE = Path(__file__).resolve().parents[3] / "docs" / "compatibility.md"
BEGIN, END = "<!-- table: made from the tests -->", "<!-- end of table -->"
KEPT = ("name", "params", "tags", "notes", "state", "times", "code", "links", "goes on")
HEAD = ("tool", "written by", "runs", "values", "NaN, ±inf", *KEPT)


@dataclass
class Row:
    """What one folder of fixtures showed."""

    tool: str
    release: str
    n_runs: int = 0
    n_values: int = 0
    kept: set[str] = field(default_factory=set)

    def take(self, run: SourceRun, piece: Piece) -> None:
        self.n_runs += 1
        values = [points.values for points in piece.curves.values()]
        self.n_values += sum(each.size for each in values)
        times = any(np.isfinite(points.times).any() for points in piece.curves.values() if points.times.size)
        seen: dict[str, Any] = {
            "NaN": any(np.isnan(each).any() for each in values),
            "inf": any(np.isinf(each).any() for each in values),
            "name": run.name,
            "params": run.params,
            "tags": run.tags,
            "notes": run.notes,
            "state": run.state not in (None, RunState.FINISHED),
            "times": run.started or times,
            "code": run.environment.get("git_commit"),
            "links": run.artifacts,
            "goes on": piece.cursor is not None,
        }
        self.kept |= {what for what, there in seen.items() if there}

    def cells(self) -> list[str]:
        infinite = {("NaN", "inf"): "yes", ("NaN",): "NaN", ("inf",): "±inf"}
        found = tuple(what for what in ("NaN", "inf") if what in self.kept)
        cells = [self.tool, self.release, str(self.n_runs), f"{self.n_values:,}", infinite.get(found, "–")]
        return cells + ["yes" if what in self.kept else "–" for what in KEPT]


def rows() -> Iterator[Row]:
    """Yield a row a folder of fixtures, in the order in which readers are asked."""
    for reader in readers():
        for folder in sorted(DATA.glob(f"{reader.tool}-*"), key=_version):
            row = _row(reader, folder)
            if row.n_runs:  # answers of a server are no folder
                yield row


def _row(reader: Reader, folder: Path) -> Row:
    row = Row(reader.title, folder.name.removeprefix(f"{reader.tool}-").replace("-", " ", 1))
    for run, piece in read_all(reader, folder):
        row.take(run, piece)
    return row


def _version(folder: Path) -> tuple[list[int], str]:
    return [int(number) for number in re.findall(r"\d+", folder.name)], folder.name


def table() -> str:
    """Return the table as Markdown."""
    lines = ["| " + " | ".join(HEAD) + " |", "|" + "---|" * len(HEAD)]
    lines += ["| " + " | ".join(row.cells()) + " |" for row in rows()]
    return "\n".join(lines)


def written() -> str:
    """Return the table as the page has it."""
    return PAGE.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0].strip()


def main() -> None:
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    PAGE.write_text(f"{before}{BEGIN}\n\n{table()}\n\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()

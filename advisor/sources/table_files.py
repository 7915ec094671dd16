"""Tables in files, as columns of some rows at a time: CSV and its kin, JSON lines, Parquet.

What separates cells, whether decimals have commas, and how text is encoded is told by the beginning. Text files are
read from where a reading ended, whole lines only. Nothing here knows what a column means.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Literal

from advisor.errors import SourceError
from advisor.sources.growing import LINE_MAX_BYTES, GrowingFile
from advisor.sources.reading import as_text, flat, open_file, stamp_of
from storage import interchange
from storage.errors import RecordError

Kind = Literal["csv", "jsonl", "parquet"]

HEAD_BYTES: Final = 256 * 2**10
ROWS_LOOKED_AT: Final = 200
LINES_COMPARED: Final = 30
"""Of the beginning, to tell by which character columns are separated."""
QUIET_S: Final = 10.0
"""A last line without an end counts as whole once nothing has been written for so long."""
COLUMNS_AT_MOST: Final = 10_000
UTF16_MAX_BYTES: Final = 64 * 2**20
DELIMITERS: Final = (",", "\t", ";", "|")
_DECIMAL_COMMA: Final = re.compile(r"-?[0-9]+,[0-9]+(?:[eE][+-]?[0-9]+)?")
_DECIMAL_POINT: Final = re.compile(r"-?[0-9]*\.[0-9]+(?:[eE][+-]?[0-9]+)?")
_NUMBER: Final = re.compile(r"\s*[+-]?(?:[0-9]+[.,]?[0-9]*|[.,][0-9]+)(?:[eE][+-]?[0-9]+)?\s*")
PARQUET: Final = b"PAR1"


@dataclass(frozen=True, slots=True)
class Form:
    """How a table is written."""

    kind: Kind
    delimiter: str = ","
    encoding: str = "utf-8"
    has_decimal_commas: bool = False
    names: tuple[str, ...] = ()
    """Of a CSV file's columns."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some rows, column by column; a cell that is missing is None, or empty text."""

    columns: Mapping[str, Sequence[Any]]
    n_rows: int
    n_ragged: int = 0
    """Rows with more cells than there are columns."""
    n_unreadable: int = 0
    """Lines that are no rows at all."""


def look(path: Path) -> tuple[Form, Chunk]:
    """Return how a table is written, and its first rows.

    Raises
    ------
    SourceError
        If it is no table.
    """
    return _looked_at(path, stamp_of(path))


@lru_cache(maxsize=16)
def _looked_at(path: Path, stamp: str) -> tuple[Form, Chunk]:
    """Return what ``look`` does; each reader asks about the same file, one after another."""
    with open_file(path) as file:
        try:
            head = file.read(HEAD_BYTES)
        except OSError as error:
            raise SourceError(f"cannot be read: {error.strerror}") from error
    if head[:4] == PARQUET:
        first = next(_parquet(path, rows=ROWS_LOOKED_AT), Chunk({}, 0))
        return Form("parquet"), first
    form = replace(Form("csv"), encoding=_encoding(head))
    text = _whole_lines(_decoded(head, form.encoding), len(head) < HEAD_BYTES)
    start = text.lstrip()
    if start.startswith("{"):
        form = replace(form, kind="jsonl")
        if path.suffix.lower() == ".json" and not _is_json_line(start.partition("\n")[0]):
            raise SourceError("is JSON of another form than one object a line")
        return form, _json_chunk(text)
    if start.startswith("["):
        raise SourceError("is a JSON list; write one object a line")
    if "\0" in text:
        raise SourceError("is no text")
    return _look_at_csv(path, text, form)


def _look_at_csv(path: Path, text: str, form: Form) -> tuple[Form, Chunk]:
    lines = [line for line in text.split("\n")[:ROWS_LOOKED_AT] if line.strip()]
    while lines and lines[0].startswith("#"):
        del lines[0]
    if not lines:
        raise SourceError("holds no row")
    delimiter = _delimiter(lines[:LINES_COMPARED], path.suffix.lower())
    rows = list(_rows(io.StringIO("\n".join(lines)), delimiter))
    names = _header(rows[0])
    decimals = delimiter != "," and _has_decimal_commas(rows[1:])
    form = replace(form, delimiter=delimiter, has_decimal_commas=decimals, names=names)
    return form, _Columns(form).chunk(rows[1:])


class TableFile:
    """An open table. A context manager by its ``close``.

    Parameters
    ----------
    form
        As ``look`` returned it.
    mark
        What ``mark`` returned, to go on from there; ignored where the file is not the one that was read.
    """

    def __init__(self, path: Path, form: Form, mark: Any = None) -> None:
        self._path, self._form = path, form
        self._columns = _Columns(form)
        self._lines = None if form.kind == "parquet" or form.encoding == "utf-16" else GrowingFile(path)
        self.goes_on = False
        """Whether reading goes on from the mark."""
        if self._lines is not None and isinstance(mark, dict) and _are_names(mark.get("names")):
            self.goes_on = self._lines.goes_on_from(mark.get("file"))
            if self.goes_on:
                self._columns.names = tuple(mark["names"])

    def chunks(self) -> Iterator[Chunk]:
        """Yield what follows.

        Raises
        ------
        SourceError
            If it cannot be read.
        """
        if self._form.kind == "parquet":
            yield from _parquet(self._path)
        elif self._form.kind == "jsonl":
            for text in self._texts():
                yield _json_chunk(text)
        else:
            is_first = not self.goes_on
            for text in self._texts():
                rows = [row for row in _rows(io.StringIO(text, newline=""), self._form.delimiter) if row]
                while is_first and rows:
                    is_first = rows[0][0].startswith("#")
                    del rows[0]
                yield from self._columns.chunks(rows)

    def mark(self) -> dict[str, Any] | None:
        """Return where reading has come to, as JSON; None where it can only begin anew."""
        if self._lines is None:
            return None
        return {"file": self._lines.mark(), "names": list(self._columns.names)}

    def _texts(self) -> Iterator[str]:
        if self._lines is None:
            yield _read_utf16(self._path)
            return
        kept = b""
        for block in self._lines.blocks():
            block = kept + block
            if block.count(b'"') % 2 and len(block) < LINE_MAX_BYTES and self._form.kind == "csv":
                kept = block  # a cell goes on over the end of the block
                continue
            kept = b""
            yield _decoded(block, self._form.encoding)
        kept += self._lines.last_line(quiet_s=QUIET_S)
        if kept:
            yield _decoded(kept, self._form.encoding)

    def close(self) -> None:
        """Let go of the file."""
        if self._lines is not None:
            self._lines.__exit__(None, None, None)

    def __enter__(self) -> TableFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


# -- CSV


class _Columns:
    """Makes columns of rows, under the names that the latest header gave."""

    def __init__(self, form: Form) -> None:
        self.names = form.names
        self._known = frozenset(form.names)
        self._has_decimal_commas = form.has_decimal_commas

    def chunks(self, rows: list[list[str]]) -> Iterator[Chunk]:
        """Yield rows as columns; a header within begins further ones."""
        first = 0
        for i, row in enumerate(rows):
            if row[0] in self._known or row[-1] in self._known:
                header = self._new_header(row)
                if header:
                    yield self.chunk(rows[first:i])
                    self.names, self._known, first = header, frozenset(header), i + 1
        yield self.chunk(rows[first:])

    def chunk(self, rows: list[list[str]]) -> Chunk:
        """Return rows as columns; cells beyond the last column are left out, missing ones are empty."""
        n, ragged = len(self.names), 0
        if any(len(row) != n for row in rows):
            ragged = sum(len(row) > n and any(cell.strip() for cell in row[n:]) for row in rows)
            rows = [row[:n] + [""] * (n - len(row)) for row in rows]
        cells: list[tuple[str, ...]] = list(zip(*rows, strict=True)) if rows else [()] * n
        columns = dict(zip(self.names, cells, strict=True))
        if self._has_decimal_commas:
            columns = {name: tuple([_with_point(cell) for cell in column]) for name, column in columns.items()}
        return Chunk(columns, len(rows), ragged)

    def _new_header(self, row: Sequence[str]) -> tuple[str, ...] | None:
        """Return the names in a row that is another header; None for a row of values."""
        known = sum(cell.strip() in self._known for cell in row)
        is_header = 2 * known >= len(row) and not any(_NUMBER.fullmatch(cell) for cell in row)
        return _header(row) if is_header else None


def _rows(lines: io.StringIO, delimiter: str) -> Iterator[list[str]]:
    try:
        yield from csv.reader(lines, delimiter=delimiter, skipinitialspace=True)
    except csv.Error as error:
        raise SourceError(f"is no CSV: {error}") from error


def _header(row: Sequence[str]) -> tuple[str, ...]:
    """Return the names of columns: stripped, none empty, none twice.

    Raises
    ------
    SourceError
        If they are no names.
    """
    names = [cell.strip()[:500] for cell in row]
    while names and not names[-1]:
        names.pop()
    if not names or all(_NUMBER.fullmatch(name) for name in names if name):
        raise SourceError("has no line of column names at its beginning")
    if len(names) > COLUMNS_AT_MOST:
        raise SourceError(f"has {len(names):,} columns; {COLUMNS_AT_MOST:,} are read at most")
    out: list[str] = []
    taken: Counter[str] = Counter()
    for i, name in enumerate(names):
        name = name or (f"column {i + 1}" if i else "index")
        taken[name] += 1
        out.append(name if taken[name] == 1 else f"{name}~{taken[name]}")
    return tuple(out)


def _delimiter(lines: Sequence[str], ending: str) -> str:
    """Return what separates cells: what splits the most lines into as many cells as the first one has, several."""
    if ending == ".tsv" and "\t" in lines[0]:
        return "\t"
    best, best_rank = ",", (0.0, 0)
    for delimiter in DELIMITERS:
        widths = [len(row) for row in _rows(io.StringIO("\n".join(lines)), delimiter)]
        if widths and widths[0] > 1:
            rank = (sum(width == widths[0] for width in widths) / len(widths), widths[0])
            if rank[0] > best_rank[0] + 0.2 or (rank[0] > best_rank[0] - 0.2 and rank[1] > best_rank[1]):
                best, best_rank = delimiter, rank
    return best


def _has_decimal_commas(rows: Sequence[Sequence[str]]) -> bool:
    cells = [cell.strip() for row in rows for cell in row]
    commas = sum(_DECIMAL_COMMA.fullmatch(cell) is not None for cell in cells)
    return commas > 0 and not any(_DECIMAL_POINT.fullmatch(cell) for cell in cells)


def _with_point(cell: str) -> str:
    return cell.replace(",", ".") if _DECIMAL_COMMA.fullmatch(cell.strip()) else cell


# -- JSON lines, Parquet


def _json_chunk(text: str) -> Chunk:
    """Return lines of JSON objects as columns; other lines are left out and counted."""
    rows, bad = [], 0
    for line in text.split("\n"):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if isinstance(row, dict):
            rows.append(flat(row) if any(isinstance(value, (dict, list)) for value in row.values()) else row)
        else:
            bad += 1
    names = list(dict.fromkeys(name for row in rows for name in row))[:COLUMNS_AT_MOST]
    return Chunk({name: [row.get(name) for row in rows] for name in names}, len(rows), n_unreadable=bad)


def _is_json_line(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _parquet(path: Path, *, rows: int = 65_536) -> Iterator[Chunk]:
    try:
        for batch in interchange.read_batches(path, rows=rows):
            columns = dict(list(batch.items())[:COLUMNS_AT_MOST])
            yield Chunk(columns, len(next(iter(columns.values()), ())))
    except RecordError as error:
        raise SourceError(str(error)) from error


# -- text


def _encoding(head: bytes) -> str:
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    try:
        head[: head.rfind(b"\n") + 1].decode()
    except UnicodeDecodeError:
        return "cp1252"  # what spreadsheets on Windows write
    return "utf-8"


def _decoded(content: bytes, encoding: str) -> str:
    if encoding == "cp1252":
        return content.decode(encoding, errors="replace")
    return as_text(content)


def _whole_lines(text: str, is_all: bool) -> str:
    end = text.rfind("\n") + 1
    return text if is_all or not end else text[:end]


def _read_utf16(path: Path) -> str:
    with open_file(path) as file:
        if os.fstat(file.fileno()).st_size > UTF16_MAX_BYTES:
            raise SourceError(f"is UTF-16 of more than {UTF16_MAX_BYTES:,} bytes; write it as UTF-8")
        text = as_text(file.read(UTF16_MAX_BYTES))
    return _whole_lines(text, False)


def _are_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)

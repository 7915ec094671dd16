"""Cells and rows of tables whose figures are facts.

Leaves out which tables there are. Invariant: a cell of a fact that the sheet does not have says so with a dash.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from advisor.documents.content import Cell, Column, Row, Span, Table, Tone, fill, name, plain
from advisor.documents.fact import FactSheet
from advisor.documents.untrusted import one_line

NOTHING = "—"
"""What stands where there is no value."""


def of_fact(sheet: FactSheet, fact_id: str, *, tone: Tone = "plain") -> Cell:
    """Return the cell of a fact."""
    fact = sheet.get(fact_id)
    if fact is None:
        return Cell(plain(NOTHING))
    return Cell((Span(fact.text, kind="figure", fact=fact, tone=tone),))


def of_words(sentence: str, sheet: FactSheet) -> Cell:
    """Return a cell of words with placeholders."""
    return Cell(fill(sentence, sheet))


def of_text(text: str, *, limit: int = 200) -> Cell:
    """Return a cell of untrusted text."""
    return Cell(plain(one_line(text, limit=limit) or NOTHING))


def of_name(text: str, *, limit: int = 60) -> Cell:
    """Return a cell of the name of a metric or parameter."""
    return Cell(name(one_line(text, limit=limit)))


def table(caption: str, columns: Sequence[Column], rows: Iterable[Sequence[Cell]], *, note: str = "") -> Table:
    """Return a table from its cells."""
    return Table(caption, columns=tuple(columns), rows=tuple(Row(tuple(row)) for row in rows), note=note)

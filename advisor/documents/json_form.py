"""Render a page as JSON: its facts, its sentences with the facts that they rest on, its tables.

Leaves out pictures but for what they show in words. Invariant: strict JSON; NaN and ±inf are strings.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from advisor.documents.content import (
    Block,
    Bullets,
    Code,
    Gallery,
    Line,
    Page,
    Paragraph,
    Quote,
    Section,
    Table,
    Tiles,
    text_of,
)
from advisor.documents.fact import FactSheet
from advisor.documents.untrusted import block as lines_of
from advisor.documents.untrusted import one_line

MAX_TEXT = 4000


def content(page: Page, sheet: FactSheet) -> dict[str, Any]:
    """Return a page as JSON values."""
    found: dict[str, Any] = {
        "title": _text(page.title),
        "kind": page.kicker,
        "subtitle": _text(page.subtitle),
        "sentences": [each for part in page.opening for each in _sentences(part)],
        "facts": [fact.as_json() for fact in sheet],
        "absences": [fact.text for fact in sheet.absent()],
        "opening": [_block(part) for part in page.opening],
        "sections": [_section(section) for section in page.sections],
        "footer": [_text(item) for item in page.footer],
    }
    if page.front_matter:
        found["front_matter"] = page.front_matter
    return found


def _sentences(part: Block) -> Iterator[dict[str, Any]]:
    if isinstance(part, Paragraph):
        yield _line(part.line) | {"role": part.role}


def _section(section: Section) -> dict[str, Any]:
    return {
        "title": _text(section.title),
        "anchor": section.anchor,
        "unverified": section.unverified,
        "blocks": [_block(part) for part in section.blocks],
    }


def _block(part: Block) -> dict[str, Any]:
    match part:
        case Paragraph(line=line, role=role):
            return {"kind": "paragraph", "role": role, **_line(line)}
        case Bullets(items=items):
            return {"kind": "bullets", "items": [_line(item) for item in items]}
        case Tiles(tiles=tiles):
            rows = [{"label": _text(t.label), "value": _text(t.value), "detail": _text(t.detail)} for t in tiles]
            return {"kind": "tiles", "tiles": rows}
        case Table():
            return _table(part)
        case Gallery(pictures=pictures):
            drawn = [{"title": _text(p.title), "alt": _text(p.alt), "caption": _text(p.caption)} for p in pictures]
            return {"kind": "pictures", "pictures": drawn}
        case Code(text=text, caption=caption, language=language):
            return {
                "kind": "code",
                "text": lines_of(text, limit=20_000),
                "caption": _text(caption),
                "language": language,
            }
        case Quote(text=text, by=by):
            return {"kind": "quote", "text": lines_of(text), "by": _text(by)}


def _table(part: Table) -> dict[str, Any]:
    return {
        "kind": "table",
        "caption": _text(part.caption),
        "columns": [_text(column.title) for column in part.columns],
        "rows": [[_line(cell.line) for cell in row.cells] for row in part.rows],
        "note": _text(part.note),
    }


def _line(line: Line) -> dict[str, Any]:
    facts = [span.fact.id for span in line if span.fact is not None]
    return {"text": _text(text_of(line))} | ({"facts": facts} if facts else {})


def _text(text: str) -> str:
    return one_line(text, limit=MAX_TEXT)

"""What all documents share: the opening that a reader sees first, and the footer that says where it comes from.

Leaves out sections. Invariant: the lead and the caution are the program's, whatever a model wrote.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from advisor.documents import numbers
from advisor.documents.content import (
    Block,
    Gallery,
    Paragraph,
    Picture,
    Tile,
    Tiles,
    fill,
    plain,
)
from advisor.documents.fact import FactSheet
from advisor.documents.untrusted import one_line
from advisor.documents.writer import Narrative


def opening(
    lead: str,
    caution: str,
    tiles: Sequence[Tile],
    description: str,
    sheet: FactSheet,
    text: Narrative,
    pictures: Sequence[Picture],
) -> tuple[Block, ...]:
    """Return what a reader sees first: lead, headline figures, running text, caution, pictures."""
    blocks: list[Block] = []
    if description:
        blocks.append(Paragraph(plain(one_line(description, limit=600)), role="quiet"))
    blocks.append(Paragraph(fill(lead, sheet), role="lead"))
    blocks.append(Tiles(tuple(tiles)))
    if text.paragraph:
        blocks.append(Paragraph(text.paragraph))
    if caution:
        blocks.append(Paragraph(fill(caution, sheet), role="caveat"))
    if pictures:
        blocks.append(Gallery(tuple(pictures)))
    return tuple(blocks)


class Dated(Protocol):
    """What every material says of when and from where it is written."""

    @property
    def generated(self) -> datetime:
        """When it is written."""
        ...

    @property
    def version(self) -> str:
        """Version of the program."""
        ...

    @property
    def store_uri(self) -> str:
        """Address of the store."""
        ...


def footer(material: Dated, sheet: FactSheet, text: Narrative) -> tuple[str, ...]:
    """Return where the document comes from."""
    return (
        f"written by {one_line(text.writer, limit=80)}",
        f"{len(sheet)} facts, SHA-256 {sheet.hash}",
        f"{numbers.moment(material.generated)}",
        f"advisor {material.version}",
        f"store {one_line(material.store_uri, limit=200)}",
        *text.notes,
    )


def findings_tile(sheet: FactSheet) -> Tile:
    """Return the number of findings as a headline figure."""
    words = [
        f"{sheet[key].text} {word}" + ("s" if sheet[key].value != 1 and word != "info" else "")
        for key, word in (("n_error", "error"), ("n_warning", "warning"), ("n_info", "info"))
        if key in sheet
    ]
    tone = "bad" if "n_error" in sheet else "warn" if "n_warning" in sheet else "plain"
    return Tile("findings", value=sheet["n_findings"].text, detail=", ".join(words) or "none open", tone=tone)  # type: ignore[arg-type]  # one of three literals

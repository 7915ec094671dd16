"""The content of a document, before it is Markdown or HTML: sections of a few kinds of block.

Leaves out escaping and layout. Invariant: text in here is plain text, untrusted unless it is our own;
each renderer escapes all of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from advisor.documents.fact import Fact, FactSheet

Tone = Literal["plain", "good", "bad", "warn", "quiet"]

PLACEHOLDER = re.compile(r"\{\{\s*([A-Za-z_][A-Za-z0-9_]*)\s*\}\}")
"""How a sentence refers to a fact."""
SPOKEN = re.compile(r"\{\{\s*the\s+([A-Za-z_][A-Za-z0-9_]*)\s*\}\}")
"""How it refers to a fact that the program names as well as fills in."""
_EITHER = re.compile(f"{PLACEHOLDER.pattern}|{SPOKEN.pattern}")
_ARTICLE = re.compile(r"\b(?:the|an?) $", re.IGNORECASE)
_WHOSE = re.compile(r"\b(?:its|their) $", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of a line."""

    text: str
    _: KW_ONLY
    kind: Literal["plain", "figure", "name", "strong"] = "plain"
    fact: Fact | None = None
    """The fact that a figure or name comes from."""
    tone: Tone = "plain"


Line = tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Running text."""

    line: Line
    _: KW_ONLY
    role: Literal["plain", "lead", "caveat", "quiet"] = "plain"
    kind: Literal["paragraph"] = field(default="paragraph", init=False)


@dataclass(frozen=True, slots=True)
class Bullets:
    """A list."""

    items: tuple[Line, ...]
    kind: Literal["bullets"] = field(default="bullets", init=False)


@dataclass(frozen=True, slots=True)
class Tile:
    """One headline figure."""

    label: str
    _: KW_ONLY
    value: str
    detail: str = ""
    tone: Tone = "plain"


@dataclass(frozen=True, slots=True)
class Tiles:
    """The headline figures, side by side."""

    tiles: tuple[Tile, ...]
    kind: Literal["tiles"] = field(default="tiles", init=False)


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table."""

    title: str
    _: KW_ONLY
    align: Literal["left", "right"] = "left"
    nowrap: bool = False
    """Whether its cells stay on one line however narrow the page is."""
    bar: bool = False
    """Whether its cells are shares of one that are drawn as bars beside their text."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of a table."""

    line: Line
    _: KW_ONLY
    share: float | None = None
    """Length of the bar in [0, 1], for a column of bars."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a table; its first cell is its heading."""

    cells: tuple[Cell, ...]
    _: KW_ONLY
    highlight: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """A table with its caption."""

    caption: str
    _: KW_ONLY
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    note: str = ""
    """What is not shown, and why."""
    stacks: bool = False
    """Whether a narrow page shows each row as a block of its own: for cells of running text."""
    kind: Literal["table"] = field(default="table", init=False)


@dataclass(frozen=True, slots=True)
class Picture:
    """A drawing; its colours are left to the page (see ``pictures.standalone`` and ``pictures.inline``)."""

    name: str
    """File name without its ending."""
    _: KW_ONLY
    title: str
    alt: str
    """What the picture shows, for who cannot see it."""
    caption: str = ""
    svg: str


@dataclass(frozen=True, slots=True)
class Gallery:
    """Pictures side by side where there is room."""

    pictures: tuple[Picture, ...]
    kind: Literal["gallery"] = field(default="gallery", init=False)


@dataclass(frozen=True, slots=True)
class Code:
    """Text to copy: a command, parameters, the end of a traceback."""

    text: str
    _: KW_ONLY
    caption: str = ""
    language: str = ""
    kind: Literal["code"] = field(default="code", init=False)


@dataclass(frozen=True, slots=True)
class Quote:
    """What a person or a program wrote, word for word."""

    text: str
    _: KW_ONLY
    by: str = ""
    kind: Literal["quote"] = field(default="quote", init=False)


Block = Paragraph | Bullets | Tiles | Table | Gallery | Code | Quote


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and what stands under it."""

    title: str
    _: KW_ONLY
    anchor: str
    blocks: tuple[Block, ...]
    unverified: bool = False
    """Whether it holds opinion that was not checked."""


@dataclass(frozen=True, slots=True)
class Page:
    """A whole document."""

    title: str
    _: KW_ONLY
    subtitle: str
    kicker: str
    """What kind of document it is."""
    opening: tuple[Block, ...]
    """What a reader sees first, without a heading."""
    sections: tuple[Section, ...]
    footer: tuple[str, ...]
    """Where it comes from: facts hash, writer, time, version."""
    front_matter: str = ""
    """Metadata as YAML that a Markdown file begins with; trusted to be valid YAML."""

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """All pictures in their order."""
        blocks = [*self.opening, *(block for section in self.sections for block in section.blocks)]
        return tuple(picture for block in blocks if isinstance(block, Gallery) for picture in block.pictures)


def plain(text: str) -> Line:
    """Return a line of one plain piece."""
    return (Span(text),)


def strong(text: str, *, tone: Tone = "plain") -> Line:
    """Return a line of one emphasised piece."""
    return (Span(text, kind="strong", tone=tone),)


def name(text: str) -> Line:
    """Return a line of one name: a metric, a parameter, a run."""
    return (Span(text, kind="name"),)


def fill(sentence: str, sheet: FactSheet) -> Line:
    """Return a sentence with its placeholders filled from the sheet.

    ``{{best}}`` becomes "0.312", ``{{the best}}`` becomes "the best val_loss (0.312)", ``{{the n_failed}}`` "2 runs
    failed".

    Raises
    ------
    KeyError
        If a placeholder names no fact.
    """
    spans: list[Span] = []
    end = 0
    for match in _EITHER.finditer(sentence):
        fact, before = sheet[match[1] or match[2]], sentence[end : match.start()]
        figure = Span(fact.text, kind="name" if fact.kind == "name" else "figure", fact=fact)
        if match[1]:
            spans += [Span(before), figure]
        else:
            lead, tail = _called(fact)
            lead = lead.removeprefix("the ") if _WHOSE.search(before) else lead
            before = _ARTICLE.sub("", before)
            opens = not spans and not before
            spans += [Span(before), Span(lead[:1].upper() + lead[1:] if opens else lead), figure, Span(tail)]
        end = match.end()
    spans.append(Span(sentence[end:]))
    return tuple(span for span in spans if span.text)


def _called(fact: Fact) -> tuple[str, str]:
    """Return what stands before and after a fact: "the best val_loss (" and ")", or nothing and " runs failed"."""
    if fact.kind == "name" and fact.label.startswith("parameter "):  # its label has the name already
        return "the parameter ", ""
    counted = fact.label.removeprefix("number of ")
    if fact.kind != "count" or counted == fact.label:
        return f"the {fact.label} (", ")"
    if fact.text == "1":
        counted = re.sub(rf"\b{re.escape(fact.unit)}\b", fact.unit.removesuffix("s"), counted, count=1)
    return "", f" {counted}"


def text_of(line: Iterable[Span]) -> str:
    """Return a line's text without its marks."""
    return "".join(span.text for span in line)

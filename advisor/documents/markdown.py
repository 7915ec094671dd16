"""Render a page as Markdown that any viewer shows in the same way, and escape what came from runs.

Leaves out the content itself. Invariant: no untrusted text can become a link, a picture, HTML, a heading,
a table cell or emphasis; it is shown as it was written.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from advisor.documents.content import (
    Block,
    Bullets,
    Cell,
    Code,
    Gallery,
    Line,
    Page,
    Paragraph,
    Picture,
    Quote,
    Row,
    Section,
    Span,
    Table,
    Tiles,
)
from advisor.documents.untrusted import block, one_line

_ALWAYS = re.compile(r"([\\`*\[\]<>|~$])")
_ENTITY = re.compile(r"&(?=[#\w])")
_EDGE_UNDERSCORE = re.compile(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
_AUTOLINK = re.compile(r"(?i)\b(https?|ftp|mailto|xmpp)(?=:)|\bwww(?=\.)")
_MAIL = re.compile(r"@(?=[\w-])")
_LINE_START = re.compile(r"^([-+=#]|\d{1,9}(?=[.)]\s))")
_BREAK = "&#8203;"
"""A zero-width space between the parts of what a viewer would otherwise turn into a link."""


def escape(text: str) -> str:
    r"""Return untrusted text on one line so that Markdown shows it as it is.

    >>> print(escape("a|b <i> [x](http://y) `c`"))
    a\|b \<i\> \[x\](http&#8203;://y) \`c\`
    """
    line = _ALWAYS.sub(r"\\\1", _ENTITY.sub("&amp;", one_line(text, limit=4000)))
    line = _EDGE_UNDERSCORE.sub(r"\\_", line)
    line = _AUTOLINK.sub(lambda match: match[0] + _BREAK, line)
    return _MAIL.sub("@" + _BREAK, line)


def code_span(text: str) -> str:
    """Return untrusted text on one line as a code span, fit for a table cell as well."""
    line = one_line(text, limit=4000).replace("|", "¦")
    longest = max((len(run) for run in re.findall("`+", line)), default=0)
    fence = "`" * (longest + 1)
    pad = " " if line.startswith("`") or line.endswith("`") or not line else ""
    return f"{fence}{pad}{line}{pad}{fence}"


def fenced(text: str, language: str = "") -> str:
    """Return untrusted text as a fenced block that it cannot close."""
    body = block(text, limit=20_000)
    longest = max((len(run) for run in re.findall("`+", body)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{body}\n{fence}"


def render(page: Page, *, picture_folder: str = "") -> str:
    """Return the page as Markdown; its pictures are referred to as ``{picture_folder}{name}.svg``."""
    parts = [f"# {_start(escape(page.title))}", f"*{escape(page.kicker)}* · {escape(page.subtitle)}"]
    for part in page.opening:
        parts.extend(_block(part, picture_folder))
    for section in page.sections:
        parts.extend(_section(section, picture_folder))
    parts.append("---")
    parts.append("<sub>" + " · ".join(escape(item) for item in page.footer) + "</sub>")
    head = f"---\n{page.front_matter.rstrip()}\n---\n\n" if page.front_matter else ""
    return head + "\n\n".join(part for part in parts if part) + "\n"


def _start(line: str) -> str:
    """Return a line that begins no heading, list or rule."""
    return _LINE_START.sub(lambda match: f"{match[1]}{_BREAK}" if match[1].isdigit() else f"\\{match[1]}", line)


def _section(section: Section, folder: str) -> Iterator[str]:
    yield f"## {_start(escape(section.title))}"
    for part in section.blocks:
        yield from _block(part, folder)


def _block(part: Block, folder: str) -> Iterator[str]:
    match part:
        case Paragraph(line=line, role="caveat"):
            yield "> " + _start(_line(line))
        case Paragraph(line=line):
            yield _start(_line(line))
        case Bullets(items=items):
            yield "\n".join(f"- {_start(_line(item))}" for item in items)
        case Tiles(tiles=tiles):
            yield "\n".join(
                f"- {escape(tile.label)}: **{escape(tile.value)}**"
                + (f" ({escape(tile.detail)})" if tile.detail else "")
                for tile in tiles
            )
        case Table():
            yield from _table(part)
        case Gallery(pictures=pictures):
            yield from (_picture(picture, folder) for picture in pictures)
        case Code(text=text, caption=caption, language=language):
            if caption:
                yield escape(caption) + ":"
            yield fenced(text, language)
        case Quote(text=text, by=by):
            lines = [_start(escape(line)) for line in block(text).split("\n")]
            if by:
                lines.append(f"({escape(by)})")
            yield "\n".join(f"> {line}  " if line else ">" for line in lines)


def _table(table: Table) -> Iterator[str]:
    yield f"**{escape(table.caption)}**"
    head = " | ".join(escape(column.title) or " " for column in table.columns)
    rule = " | ".join("---:" if column.align == "right" else "---" for column in table.columns)
    yield "\n".join([f"| {head} |", f"| {rule} |", *(_row(row) for row in table.rows)])
    if table.note:
        yield f"*{escape(table.note)}*"


def _row(row: Row) -> str:
    return "| " + " | ".join(_cell(cell, bold=row.highlight and not at) for at, cell in enumerate(row.cells)) + " |"


def _cell(cell: Cell, *, bold: bool) -> str:
    text = _line(cell.line)
    return f"**{text}**" if bold and text and "*" not in text else text


def _picture(picture: Picture, folder: str) -> str:
    caption = f"\n\n*{escape(picture.caption)}*" if picture.caption else ""
    return f"**{escape(picture.title)}**\n\n![{escape(picture.alt)}]({folder}{picture.name}.svg){caption}"


def _line(line: Line) -> str:
    return "".join(_span(span) for span in line)


def _span(span: Span) -> str:
    if span.kind == "name" and not span.text.startswith("#"):
        return code_span(span.text)
    lead = span.text[: len(span.text) - len(span.text.lstrip())]
    tail = span.text[len(span.text.rstrip()) :]
    body = escape(span.text)
    if not body:
        return " " if span.text else ""
    body = f"**{body}**" if span.kind == "strong" else body
    return (" " if lead else "") + body + (" " if tail else "")

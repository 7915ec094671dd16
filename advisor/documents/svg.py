"""Make matplotlib's SVG ours: colours that the page decides, ids of their own, words for who cannot see it.

Leaves out drawing. Invariant: the bytes depend on the figure and its name only.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from advisor.documents.content import Picture
from advisor.documents.untrusted import one_line

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Stand-ins that a page replaces by its own colours; the values beside them serve where there is no page.
INK, GRID, BEST, FLAG, OTHER, SECOND = "#010203", "#010204", "#010205", "#010206", "#010207", "#010208"
_THEME: Mapping[str, tuple[str, str]] = {
    INK: ("--ink-soft", "#767d88"),
    GRID: ("--grid", "#b9bec6"),
    BEST: ("--best", "#2f6fde"),
    FLAG: ("--flag", "#d9482b"),
    OTHER: ("--other", "#8d949f"),
    SECOND: ("--second", "#c98a1b"),
}
FIXED: Mapping[str, str] = {stand_in: fallback for stand_in, (_, fallback) in _THEME.items()}
"""The colours where no page decides: of a file, of a picture in a message."""


def inline(picture: Picture) -> str:
    """Return the SVG for an HTML page whose style sheet defines the colours."""
    svg = picture.svg
    for stand_in, (variable, fallback) in _THEME.items():
        svg = svg.replace(stand_in, f"var({variable},{fallback})")
    return svg[svg.index("<svg") :]


def standalone(picture: Picture) -> bytes:
    """Return the SVG as a file of its own, in colours that can be read on light and dark pages."""
    svg = picture.svg
    for stand_in, fallback in FIXED.items():
        svg = svg.replace(stand_in, fallback)
    return svg.encode()


_LONG_DECIMAL = re.compile(r"(-?\d+\.\d\d)\d+")
_COORDINATES = re.compile(r'\b(?:d|x|y|transform)="[^"]*"')
"""Where digits may be dropped: never in text, whose figures are read."""
_REFERENCE = re.compile(r'(\bid="|"#|url\(#)([A-Za-z][^")]*)')
"""Where an id is given, or referred to."""


def finished(figure: Figure, name: str, alt: str) -> str:
    """Return the figure as SVG without a date, with ids of its own and no size but its proportions."""
    from xml.sax.saxutils import escape, quoteattr

    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue()
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!DOCTYPE[^>]*>\s*", "", svg)
    svg = re.sub(r"<!--.*?-->\s*", "", svg, flags=re.DOTALL)
    svg = _COORDINATES.sub(lambda match: _LONG_DECIMAL.sub(r"\1", match[0]), svg)
    svg = svg.replace("'DejaVu Sans'", "system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif")
    svg = _REFERENCE.sub(lambda match: f"{match[1]}{name}-{match[2]}", svg)
    opening = re.compile(r'<svg[^>]*?(viewBox="[^"]*")[^>]*>')
    spoken = quoteattr(one_line(alt, limit=600))
    head = (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        rf'{{}} role="img" aria-label={spoken}><title>{escape(one_line(alt, limit=600))}</title>'
    )
    return opening.sub(lambda match: head.replace("{}", match[1], 1), svg, count=1)


_SVG = "{http://www.w3.org/2000/svg}"
_LINK = "{http://www.w3.org/1999/xlink}href"
_ELEMENTS = frozenset({"svg", "g", "defs", "path", "clipPath", "rect", "text", "tspan", "use", "title"})
_GEOMETRY = frozenset(
    {"id", "d", "x", "y", "width", "height", "transform", "clip-path", "viewBox", "role", "aria-label"}
)
_STYLES = frozenset({
    "fill", "fill-opacity", "fill-rule", "stroke", "stroke-width", "stroke-opacity", "stroke-dasharray",
    "stroke-dashoffset", "stroke-linecap", "stroke-linejoin", "stroke-miterlimit", "opacity", "font-size",
    "font-family", "font-weight", "font-style", "text-anchor",
})  # fmt: skip
_OUTWARD = re.compile(r"url\(\s*[^#\s]|javascript:", re.IGNORECASE)


def attributed(picture: Picture) -> str:
    """Return the SVG for a page whose policy lets no inline style: each style is an attribute.

    Only elements and attributes that pictures of ours have are let through, and only references within the picture.
    """
    from xml.etree import ElementTree

    return _attributed(ElementTree.fromstring(inline(picture)))  # drawn by us, without a document type


def _attributed(element: Any) -> str:
    from xml.sax.saxutils import escape, quoteattr

    name = element.tag.removeprefix(_SVG) if isinstance(element.tag, str) else ""
    if name not in _ELEMENTS:
        return ""
    given = {key: value for key, value in element.attrib.items() if key in _GEOMETRY}
    if element.get(_LINK, "").startswith("#"):
        given["href"] = element.get(_LINK)
    for declaration in element.get("style", "").split(";"):
        key, _, value = declaration.partition(":")
        if key.strip() in _STYLES:
            given[key.strip()] = value.strip()
    shown = "".join(f" {key}={quoteattr(value)}" for key, value in given.items() if not _OUTWARD.search(value))
    if name == "svg":
        shown = ' xmlns="http://www.w3.org/2000/svg"' + shown
    inner = "".join(_attributed(child) + escape((child.tail or "").strip("\n")) for child in element)
    return f"<{name}{shown}>{escape((element.text or '').strip(chr(10)))}{inner}</{name}>"

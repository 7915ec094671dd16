"""Render a page as one self-contained HTML file: no script, no request, readable in light, dark and print.

Leaves out the content itself; the layout is in ``templates/page.html.j2``. Invariant: all text is escaped by the
template engine; the only markup that is let through is that of our own pictures.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from advisor.documents import svg
from advisor.documents.content import Page, Picture, Span
from advisor.documents.untrusted import block, one_line

if TYPE_CHECKING:
    from jinja2 import Template
    from markupsafe import Markup


def render(page: Page) -> str:
    """Return the page as HTML."""
    return _template().render(page=page)


@cache
def _template() -> Template:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("advisor.documents", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(svg=_svg, shown=shown, block=block, origin=origin)
    return environment.get_template("page.html.j2")


def _svg(picture: Picture) -> Markup:
    from markupsafe import Markup

    return Markup(svg.inline(picture))


def shown(text: str) -> str:
    """Return text on one line with the spaces at its ends kept."""
    lead = " " if text[:1].isspace() else ""
    tail = " " if text[-1:].isspace() else ""
    line = one_line(text, limit=4000)
    return f"{lead}{line}{tail}" if line else lead


def origin(span: Span) -> str:
    """Return what a figure is and where it comes from, for who points at it."""
    return "" if span.fact is None else f"{span.fact.label} · {span.fact.source}"

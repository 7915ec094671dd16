"""What came from a run cannot become markup."""

from __future__ import annotations

import html
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from advisor.documents.markdown import code_span, escape, fenced
from advisor.documents.untrusted import one_line

PARSER = MarkdownIt("gfm-like", {"linkify": False})
NASTY = [
    "[click](http://evil.example)",
    "![x](http://evil.example/x.png)",
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "http://evil.example",
    "www.evil.example",
    "mail me@evil.example",
    "`code`",
    "**bold** _em_ ~~gone~~",
    "a | b | c",
    "&lt;b&gt; &#60;",
    "$x^2$",
    "\\[escaped\\]",
    "\u202etxt.exe",
    "<!-- hidden -->",
    "[ref]: http://evil.example",
]


def words(rendered: str) -> str:
    text = html.unescape(re.sub(r"<[^>]+>", "", rendered))
    return " ".join(text.replace("\u200b", "").split())


@pytest.mark.parametrize("text", NASTY)
def test_nasty_text_is_shown_as_it_was_written(text: str) -> None:
    rendered = PARSER.render("note: " + escape(text))
    assert words(rendered) == "note: " + one_line(text)
    assert set(re.findall(r"<(\w+)", rendered)) <= {"p"}


@pytest.mark.parametrize("text", NASTY)
def test_nasty_text_does_not_leave_its_table_cell(text: str) -> None:
    for cell in (escape(text), code_span(text)):
        rendered = PARSER.render(f"| a | b |\n| --- | --- |\n| {cell} | end |\n")
        assert rendered.count("<td>") == 2
        assert set(re.findall(r"<(\w+)", rendered)) <= {"table", "thead", "tbody", "tr", "th", "td", "code"}


@given(st.text(max_size=60))
def test_any_text_survives_escaping(text: str) -> None:
    rendered = PARSER.render("note: " + escape(text))
    assert words(rendered) == " ".join(("note: " + one_line(text, limit=4000)).split())


@pytest.mark.parametrize(
    "address", ["http://evil.example", "HTTPS://evil.example", "www.evil.example", "a@evil.example"]
)
def test_addresses_are_broken_so_that_no_viewer_links_them(address: str) -> None:
    assert not re.search(r"://(?<!;://)|www\.|@\w", escape(address).replace("&#8203;://", ""))


def test_a_fence_cannot_be_closed_from_inside() -> None:
    rendered = PARSER.render(fenced("a\n```\n# not a heading\n````\nb"))
    assert rendered.count("<pre>") == 1
    assert "<h1>" not in rendered

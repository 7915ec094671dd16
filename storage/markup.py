"""The pieces of what a notebook shows: one scoped style, tables, names, states. Pure, and below the records.

Markup that Jupyter, VS Code, Colab and marimo all take: no script, colours of the page's theme where it names them.
Where a notebook is not trusted the style is taken away, and plain tables are left. Leaves out what is shown, see
``storage.notebook`` and ``advisor.notebook``.

Invariant: whatever comes from a run is escaped, on one line, and bounded.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from html import escape
from typing import Any, Final

from storage.figures import one_line, parameter

MOST_ROWS: Final = 15
"""Rows of a table; what there is beyond is counted."""
MOST_LETTERS: Final = 60
"""Letters of a name that are shown; the whole of it is in the tooltip, up to ``MOST_TEXT``."""
MOST_TEXT: Final = 400

STYLE: Final = (
    "<style>.advisor-out{--advisor-accent:var(--jp-brand-color1,var(--vscode-charts-blue,#3d7be0));"
    "--advisor-flag:var(--jp-error-color1,var(--vscode-charts-red,#d9482b));"
    "--advisor-warn:var(--jp-warn-color1,var(--vscode-charts-yellow,#d9960b));"
    "--advisor-good:var(--jp-success-color1,var(--vscode-charts-green,#3a9d5d));"
    "font-family:var(--jp-ui-font-family,system-ui,-apple-system,'Segoe UI',sans-serif);"
    "font-size:13px;line-height:1.45;color:var(--jp-content-font-color1,var(--vscode-foreground,inherit));"
    "max-width:64rem;overflow-x:auto;padding:2px 0}"
    ".advisor-out .head{margin:0 0 .35em;font-size:14px}.advisor-out .head b{font-weight:600}"
    ".advisor-out .soft{opacity:.7}.advisor-out p{margin:.25em 0}"
    ".advisor-out table{border-collapse:collapse;border:0;margin:.3em 0 .5em;font-size:13px;table-layout:auto;"
    "color:inherit;background:none;width:auto}"
    ".advisor-out table tr,.advisor-out table tr:nth-child(odd),.advisor-out table tr:hover{background:none}"
    ".advisor-out td,.advisor-out th{padding:.18em .9em .18em 0;border:0;border-bottom:1px solid rgba(128,128,128,.22);"
    "text-align:left;vertical-align:middle;white-space:nowrap;font-weight:400;max-width:26rem;overflow:hidden;"
    "text-overflow:ellipsis;color:inherit}"
    ".advisor-out th{opacity:.72;font-size:12px}.advisor-out tbody th{opacity:1;font-size:13px}"
    ".advisor-out .n{text-align:right;font-variant-numeric:tabular-nums}.advisor-out td.w{white-space:normal}"
    ".advisor-out .dot{display:inline-block;width:.55em;height:.55em;border-radius:50%;margin-right:.45em;"
    "background:rgba(128,128,128,.75)}"
    ".advisor-out .warn{background:var(--advisor-warn);border-radius:1px;transform:rotate(45deg)}"
    ".advisor-out .good{background:var(--advisor-good)}"
    ".advisor-out .bad{background:var(--advisor-flag)}.advisor-out .now{background:var(--advisor-accent)}"
    ".advisor-out .side{display:flex;flex-wrap:wrap;gap:.2em 2.5em;align-items:flex-start}"
    ".advisor-out svg{display:block;max-width:100%;height:auto}.advisor-out svg.spark{display:inline-block}"
    ".advisor-out summary{cursor:pointer;opacity:.75}.advisor-out code{font-size:12px;background:none;color:inherit}"
    # What stands in a frame asks for the scheme of the frame, and goes with the notebook's rather than the system's.
    "[data-jp-theme-light=true] .advisor-out iframe,.vscode-light .advisor-out iframe{color-scheme:light}"
    "[data-jp-theme-light=false] .advisor-out iframe,.vscode-dark .advisor-out iframe{color-scheme:dark}"
    "</style>"
)
_DOTS: Final[Mapping[str, str]] = {
    "finished": "good", "running": "now", "failed": "bad", "crashed": "bad", "error": "bad", "open": "bad",
    "warning": "warn",
}  # fmt: skip


def frame(*parts: str) -> str:
    """Return parts as one output of a cell."""
    return f'{STYLE}<div class="advisor-out">{"".join(parts)}</div>'


def head(*parts: str) -> str:
    """Return the line above everything; the parts are markup."""
    return f'<p class="head">{" · ".join(part for part in parts if part)}</p>'


def text(value: object, *, limit: int = MOST_LETTERS) -> str:
    """Return a text from a run as markup: one line, bounded, apart from the direction of the text around it."""
    raw = str(value)
    shown, whole = one_line(raw, limit=limit), one_line(raw, limit=MOST_TEXT)
    title = f' title="{escape(whole)}"' if shown != whole else ""
    return f"<bdi{title}>{escape(shown)}</bdi>"


def value(any_value: object) -> str:
    """Return the value of a parameter or a metric as markup; a dash where there is none."""
    if any_value is None:
        return "–"
    if isinstance(any_value, (bool, int, float)):
        return escape(parameter(any_value))
    return text(any_value if isinstance(any_value, str) else parameter(any_value, limit=MOST_TEXT))


def dot(word: str) -> str:
    """Return a state or a severity with its colour beside it; the word says it without the colour."""
    return f'<span class="dot {_DOTS.get(word, "")}"></span>{escape(word)}'


def soft(words: str) -> str:
    """Return markup in the background."""
    return f'<span class="soft">{words}</span>'


def moment(time: datetime | None) -> str:
    """Return a time in UTC."""
    return "–" if time is None else f"{time:%Y-%m-%d %H:%M} UTC"


def table(headers: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Iterable[int] = (), n: int = 0) -> str:
    """Return a table of markup.

    Parameters
    ----------
    headers
        Markup; the first column names its row.
    numbers
        Columns of figures.
    n
        How many rows there are in all, where not all are shown.
    """
    right = frozenset(numbers)

    def cell(tag: str, at: int, content: str, scope: str = "") -> str:
        return f"<{tag}{scope}{' class=n' if at in right else ''}>{content}</{tag}>"

    top = "".join(cell("th", at, content, ' scope="col"') for at, content in enumerate(headers))
    shown = ["".join(cell("th" if at == 0 else "td", at, each) for at, each in enumerate(row)) for row in rows]
    body = "".join(f"<tr>{row}</tr>" for row in shown)
    more = f"<p>{soft(f'… and {n - len(shown):,} more')}</p>" if n > len(shown) else ""
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>{more}"


def pairs(mapping: Mapping[str, Any], *, title: str, most: int = 40) -> str:
    """Return names and values as a table of two columns; nothing where there are none."""
    if not mapping:
        return ""
    some = list(mapping.items())[:most]
    right = [1] if all(is_figure(each) for _, each in some) else []
    return table([escape(title), ""], [(text(key), value(each)) for key, each in some], numbers=right, n=len(mapping))


def plural(n: int, noun: str) -> str:
    """Return a number of things.

    >>> plural(1, "run"), plural(2000, "run")
    ('1 run', '2,000 runs')
    """
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def is_figure(any_value: object) -> bool:
    """Return whether a value may stand in a column of figures: a number, or nothing."""
    return any_value is None or (isinstance(any_value, (int, float)) and not isinstance(any_value, bool))

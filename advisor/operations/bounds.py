"""Text from runs as an answer may hold it: bounded, visible, on as many lines as it may have.

Leaves out figures. Invariant: whatever a run holds, what comes out has a bounded size and no invisible character.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from advisor.documents.untrusted import block, one_line

NAME: Final = 200
"""Characters of a name: of an experiment, a parameter, a metric, a tag."""
VALUE: Final = 400
"""Characters of a text that is a value."""
TEXT: Final = 2_000
"""Characters of a note or a description."""
TRACE: Final = 4_000
"""Characters of a traceback, its end: there it says what happened."""
ENTRIES: Final = 200
"""Entries of a mapping, and values of a list within it."""
DEPTH: Final = 4


def name(text: str) -> str:
    """Return a name on one line."""
    return one_line(text, limit=NAME)


def names(texts: Iterable[str], *, most: int = ENTRIES) -> list[str]:
    """Return names, a bounded number of them."""
    return [name(text) for _, text in zip(range(most), texts, strict=False)]


def prose(text: str, *, limit: int = TEXT) -> str:
    """Return a text of several lines."""
    return block(text, limit=limit)


def end_of(text: str) -> str:
    """Return the end of a traceback."""
    return block(text if len(text) <= TRACE else f"…{text[-TRACE + 1 :]}", limit=TRACE)


def value(given: Any, *, depth: int = DEPTH) -> Any:
    """Return a JSON value with its texts, lists and mappings bounded."""
    if isinstance(given, str):
        return one_line(given, limit=VALUE)
    if given is None or isinstance(given, bool | int | float | datetime):
        return given
    if depth == 0:
        return "…"
    if isinstance(given, Mapping):
        return {
            name(str(key)): value(given[key], depth=depth - 1) for _, key in zip(range(ENTRIES), given, strict=False)
        }
    if isinstance(given, list | tuple):
        return [value(each, depth=depth - 1) for each in given[:ENTRIES]]
    return one_line(str(given), limit=VALUE)


def mapping(given: Mapping[str, Any], *, first: Iterable[str] = ()) -> dict[str, Any]:
    """Return a mapping with its names and values bounded; those of ``first`` are kept before others."""
    order = [*(key for key in first if key in given), *given]
    return {name(key): value(given[key]) for key in list(dict.fromkeys(order))[:ENTRIES]}

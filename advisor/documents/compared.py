"""Hold a document against the same one derived again: which figures, words and pictures differ, and where.

Pure; leaves out deriving it. Invariant: two texts that differ in one character have at least one difference.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import KW_ONLY, dataclass
from difflib import SequenceMatcher
from typing import Any, Final

from advisor.documents.origin import MARK
from advisor.documents.untrusted import one_line

MAX_DIFFERENCES: Final = 200
MAX_ALIGNED: Final = 1_500
"""Lines that are aligned where a document has more or fewer of them than the one derived again."""
_TOKEN: Final = re.compile(r"[-+]?\d[\d.,]*(?:e[-+]?\d+)?%?|\s+|[^\W\d]+|.", re.IGNORECASE)
_FIGURE: Final = re.compile(r"\d[\d.,:]*(?:e[-+]?\d+)?%?")
_SVG: Final = re.compile(r"<(svg|style|title)\b.*?</\1>", re.DOTALL)
_TAG: Final = re.compile(r"<[^>]*>")
_BLOCK: Final = re.compile(rf"<!-- {MARK} .*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Difference:
    """One place at which a document is not what the store says."""

    line: int
    """In the file, from 1; 0 for the file as a whole."""
    _: KW_ONLY
    written: str
    expected: str
    """What the store says; empty where it says nothing of it."""
    why: str

    def as_json(self) -> dict[str, Any]:
        """Return the public form."""
        return {"line": self.line, "written": self.written, "expected": self.expected, "why": self.why}


def differences(written: str, expected: str) -> list[Difference]:
    """Return where a text differs from the same one derived again, in the order of its lines."""
    if written == expected:
        return []
    mine, other = written.split("\n"), expected.split("\n")
    found: list[Difference] = []
    for at, (own, derived) in _pairs(mine, other):
        found.extend(_of_line(at, own, derived))
        if len(found) >= MAX_DIFFERENCES:
            break
    return found or [Difference(0, written="", expected="", why="the texts differ in their line ends")]


def n_figures(text: str) -> int:
    """Return how many figures a reader sees in a document; those inside of pictures are not counted."""
    return len(_FIGURE.findall(_TAG.sub(" ", _SVG.sub(" ", _BLOCK.sub("", text)))))


def _pairs(mine: Sequence[str], other: Sequence[str]) -> Iterator[tuple[int, tuple[str, str]]]:
    """Yield the lines that differ, each with its counterpart."""
    start = 0
    while start < min(len(mine), len(other)) and mine[start] == other[start]:
        start += 1
    end = 0
    while end < min(len(mine), len(other)) - start and mine[-1 - end] == other[-1 - end]:
        end += 1
    left, right = mine[start : len(mine) - end], other[start : len(other) - end]
    if len(left) == len(right):
        for place, pair in enumerate(zip(left, right, strict=True), start=start + 1):
            if pair[0] != pair[1]:
                yield place, pair
        return
    if max(len(left), len(right)) > MAX_ALIGNED:
        yield start + 1, ("\n".join(left[:3]), "\n".join(right[:3]))
        return
    for tag, a, b, c, d in SequenceMatcher(None, left, right, autojunk=False).get_opcodes():
        if tag != "equal":
            for place in range(max(b - a, d - c)):
                own = left[a + place] if a + place < b else ""
                derived = right[c + place] if c + place < d else ""
                yield start + 1 + min(a + place, max(b - 1, a)), (own, derived)


def _of_line(at: int, own: str, derived: str) -> Iterator[Difference]:
    if MARK in own or MARK in derived:
        yield Difference(at, written="", expected="", why="what the file says of its origin is not so")
        return
    a, b = _TOKEN.findall(own), _TOKEN.findall(derived)
    if len(a) != len(b):
        if own.strip() or derived.strip():
            why = "the store says nothing of this line" if not derived else "the line is not what the store says"
            yield Difference(at, written=one_line(own), expected=one_line(derived), why=why)
        return
    for place, (one, other) in enumerate(zip(a, b, strict=True)):
        if one != other:
            is_figure = any(char.isdigit() for char in one + other)
            why = "the figure is not what the store says" if is_figure else "the word is not what the store says"
            near = one_line("".join(a[max(0, place - 12) : place + 13]), limit=120)
            yield Difference(at, written=one_line(one), expected=one_line(other), why=f"{why}: …{near}…")

"""Find which kept document a text is, as it is read from the journal: whole, and without its origin.

Whoever reads a kept document gets its text without the block that says where it comes from; such a text is recognised
by its lines. Leaves out deriving it again (``verify``). Invariant: a text that equals a kept one is recognised as it;
one that shares fewer than four of five lines with every kept one is none of them.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from advisor.reports.keep import kept_events
from advisor.reports.shelf import Kept, kept_of

if TYPE_CHECKING:
    from storage.records import Event
    from storage.store import RunStore

SHARED: Final = 0.8
"""Share of the lines of both that a text has in common with the document that it was made from."""
MIN_LINES: Final = 5
MAX_LONGER: Final = 0.1
"""By which share of its length a document may have been made longer or shorter."""


def recognised(store: RunStore, text: str) -> Kept | None:
    """Return the kept document that a text is, or was made from by few changes; the newest of several."""
    plain = normal(text)
    lines = _lines(plain)
    if lines.total() < MIN_LINES:
        return None
    best: tuple[float, Event] | None = None
    for event in reversed(kept_events(store)):
        kept = normal(str(event.body.get("text") or ""))
        if kept == plain:
            return kept_of(event)
        if abs(len(kept) - len(plain)) <= MAX_LONGER * len(plain):
            share = _shared(lines, _lines(kept))
            if share >= SHARED and (best is None or share > best[0]):
                best = share, event
    return None if best is None else kept_of(best[1])


def normal(text: str) -> str:
    """Return a text as it is compared: with plain line ends, and without blanks around it."""
    return text.replace("\r\n", "\n").strip()


def _lines(text: str) -> Counter[str]:
    return Counter(line.strip() for line in text.split("\n") if line.strip())


def _shared(one: Counter[str], other: Counter[str]) -> float:
    return (one & other).total() / max(one.total(), other.total(), 1)

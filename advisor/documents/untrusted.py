"""Make text that came from a run fit to be shown: bounded, on as many lines as it may have, nothing invisible.

Leaves out escaping, which each format does for itself. Invariant: what comes out holds no control
character, no bidirectional override and no zero-width character, so it reads as it is stored.
"""

from __future__ import annotations

from storage.figures import one_line, visible

__all__ = ["block", "middle_cut", "one_line"]


def block(text: str, *, limit: int = 2000) -> str:
    """Return the text with its line breaks, cut after ``limit`` characters with an ellipsis."""
    shown = visible(text[: limit * 4].replace("\r\n", "\n").replace("\t", "    "), keep="\n").strip("\n")
    return shown if len(shown) <= limit else shown[: limit - 1].rstrip() + "…"


def middle_cut(text: str, *, limit: int = 28) -> str:
    """Return a long name with its middle left out: the ends are what tells names apart.

    >>> middle_cut("deepobs-fmnist_2c2d-AdamOptimizer-1-585", limit=20)
    'deepobs-fm…zer-1-585'
    """
    line = one_line(text, limit=max(len(text), 1))
    if len(line) <= limit:
        return line
    head = limit // 2
    return f"{line[:head]}…{line[len(line) - (limit - head - 1) :]}"

"""The command line: each command parses, asks one public function, and shows the answer.

``main`` is what the program ``advisor`` runs. Heavy libraries are loaded by the command that needs them, so
that ``advisor --help`` costs little.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Parameters
    ----------
    arguments
        What follows the program's name; that of this process by default.

    Returns
    -------
    int
        0 fine, 1 a check did not hold, 2 the user's mistake, 70 a defect of the program, 130 interrupted,
        141 the reader of the output went away.
    """
    from advisor.cli.app import run

    return run(arguments)

"""``advisor verify``: whether a document, or any text about runs, says what the store says."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from advisor.cli.output import count, note, print_json, say
from advisor.cli.session import Session, command
from advisor.cli.writing import STDOUT

if TYPE_CHECKING:
    from advisor.reports import Verified

MAX_SHOWN = 20


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(app, "verify", panel="Write")
    def verify(
        session: Session,
        file: Annotated[
            str, typer.Argument(metavar="FILE", help="A document, or any text that names runs; - reads stdin.")
        ],
    ) -> int:
        """Derive every figure of a document again; of any other text, look up the figures of the runs it names.

        Exit code 1 where the store contradicts it, or a document cannot be derived again.
        """
        with session.open() as adv:
            found = adv.verify(sys.stdin.read() if file == STDOUT else Path(file))
        if session.as_json:
            print_json(found.as_json())
        else:
            _tell(found)
        return 0 if found.ok else 1


def _tell(found: Verified) -> None:
    for one in found.failures[:MAX_SHOWN]:
        where = f"line {one.line}: " if one.line else ""
        wrote = f"{one.written!r}, the store says {one.expected!r}; " if one.expected else ""
        if found.kind == "text" and one.expected:  # there the reason names what the store says, and of what
            wrote = f"{one.written!r}, "
        say(f"{where}{wrote}{one.why}")
    if len(found.failures) > MAX_SHOWN:
        say(f"and {len(found.failures) - MAX_SHOWN} more; --json shows all")
    for line in found.notes:
        note(line)
    figures = count(found.n_figures, "figure")
    if found.kind == "text":
        counts = [f"{found.n(word)} {word}" for word in ("supported", "contradicted", "unknown")]
        say(f"{figures}: {', '.join(counts)}")
        for one_figure in [each for each in found.told if each.verdict == "unknown"][:MAX_SHOWN]:
            note(f"line {one_figure.line}: {one_figure.written}: {one_figure.why}")
    else:
        say(f"{found.kind} with {figures}: " + ("all as the store says" if found.ok else "not as the store says"))

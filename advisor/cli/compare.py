"""``advisor compare``: two runs, or two experiments, beside each other."""

from __future__ import annotations

from typing import Annotated

import typer

from advisor.cli.session import Session, command
from advisor.cli.writing import (
    STDOUT,
    FormatOption,
    ModelOption,
    OutputOption,
    chosen_format,
    chosen_path,
    tell,
)


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(app, "compare", panel="Write")
    def compare(
        session: Session,
        a: Annotated[str, typer.Argument(metavar="A", help="What the other is held against: a run or an experiment.")],
        b: Annotated[str, typer.Argument(metavar="B", help="The other: also a run, or also an experiment.")],
        format: FormatOption = None,
        output: OutputOption = None,
        llm: ModelOption = None,
    ) -> None:
        """Write what B has against A: difference and noise first, then what changed; prints the path."""
        kind, path = chosen_format(format, output), chosen_path(output)
        with session.open() as adv:
            document = adv.compare(a, b, format=kind, path=path, llm=llm, write=output != STDOUT)
        tell(session, document, output)

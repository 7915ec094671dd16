"""``advisor digest``: what happened in a day, a week, or since some time."""

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

    @command(app, "digest", panel="Write")
    def digest(
        session: Session,
        experiment: Annotated[
            str | None, typer.Argument(metavar="[EXP]", help="Only this experiment. Default: all.")
        ] = None,
        since: Annotated[
            str, typer.Option("--since", metavar="WHEN", help="7d, 24h, 2w, or a day like 2026-03-01.")
        ] = "7d",
        format: FormatOption = None,
        output: OutputOption = None,
        llm: ModelOption = None,
    ) -> None:
        """Write what ended how, what got better and what needs a look; prints the path."""
        kind, path = chosen_format(format, output), chosen_path(output)
        with session.open() as adv:
            document = adv.digest(experiment, since=since, format=kind, path=path, llm=llm, write=output != STDOUT)
        tell(session, document, output)

"""``advisor log``: what happened to an experiment, a run or a whole store, in words."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from advisor.cli.output import Column, note, print_json, print_table
from advisor.cli.session import Session, command

if TYPE_CHECKING:
    from advisor.history import Line

SHOWN: Final = 50
"""Lines unless ``--limit`` says otherwise."""


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(app, "log", panel="Look")
    def log(
        session: Session,
        what: Annotated[
            str | None,
            typer.Argument(metavar="EXP|RUN", help="An experiment or a run, deleted ones too. Default: the store."),
        ] = None,
        limit: Annotated[
            int | None,
            typer.Option(
                "--limit", min=1, metavar="N", help=f"Most lines, the newest. Default: {SHOWN} as text, all in JSON."
            ),
        ] = None,
        verbose: Annotated[
            bool,
            typer.Option("--verbose", "-v", help="Say program and process, and leave nothing out."),
        ] = False,
    ) -> None:
        """Show the history: what happened, when, and who did it."""
        most = limit if limit is not None or session.as_json else SHOWN
        with session.open() as adv:
            # One more than is shown, to know whether there are more.
            told = adv.history(
                what, limit=None if most is None else most + 1, folded=not verbose and not session.as_json
            )
        kept = told if most is None else told[max(0, len(told) - most) :]
        if session.as_json:
            print_json([line.as_json() for line in kept])
            return
        _print(kept, verbose=verbose)
        if len(kept) < len(told):
            note(f"the newest {len(kept)} lines; --limit {4 * len(kept)} shows more")


def _print(told: Sequence[Line], *, verbose: bool) -> None:
    if not told:
        note("nothing has happened yet")
        return
    columns = [Column("time (UTC)"), Column("who"), *([Column("with"), Column("part")] if verbose else [])]
    rows = [[_time(line.event.time), line.who, *(_process(line) if verbose else []), line.text] for line in told]
    print_table([*columns, Column("what", folds=True)], rows)


def _time(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def _process(line: Line) -> list[Any]:
    writer = line.writer
    return [f"{writer['program']}, process {writer.get('pid')}" if "program" in writer else None, line.event.actor]

"""``advisor search``: runs by what they are like, in words."""

from __future__ import annotations

from typing import Annotated

import typer

from advisor.cli.output import Column, note, print_json, print_table, progress
from advisor.cli.session import Session, command
from advisor.cli.shapes import short_ids


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(app, "search", panel="Look")
    def search(
        session: Session,
        text: Annotated[str, typer.Argument(metavar="TEXT", help="What the runs should be like, in your own words.")],
        where: Annotated[
            str | None, typer.Option("--where", metavar="FILTER", help="Only among these; see 'advisor runs --where'.")
        ] = None,
        limit: Annotated[int, typer.Option("--limit", min=1, metavar="N", help="Most runs.")] = 10,
    ) -> None:
        """Find runs by words and by meaning; numbers are found by --where."""
        with session.open() as adv:
            with progress("reading runs") as advance:
                hits = adv.search(text, where=where, limit=limit, progress=advance)
            if session.as_json:
                print_json(
                    [
                        {"run_id": hit.run.id, "experiment": hit.run.experiment, "score": hit.score, "text": hit.text}
                        for hit in hits
                    ]
                )
            elif not hits:
                note("no run fits")
            else:
                ids = short_ids(run.id for run in adv.store.runs())
                columns = [Column("run"), Column("experiment"), Column("score", right=True), Column("text", folds=True)]
                print_table(columns, [[ids[h.run.id], h.run.experiment, round(h.score, 3), h.text] for h in hits])

"""``advisor import``: runs from elsewhere."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from advisor.cli.output import Column, count, note, print_json, print_table, progress, say
from advisor.cli.session import Session, command


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(app, "import", panel="Keep")
    def import_(
        session: Session,
        path: Annotated[Path, typer.Argument(metavar="PATH", help="A folder with runs.parquet and curves.parquet.")],
    ) -> None:
        """Bring runs of another program into the store; doing so twice adds nothing the second time."""
        from advisor.sources import import_path

        with session.open(create=True) as adv:
            with progress("importing curves") as advance:
                done = import_path(adv, path, progress=advance)
            for line in done.notes:
                note(line)
            if session.as_json:
                print_json(asdict(done))
                return
            records = {record.name: record for record in adv.store.experiments()}
            if done.experiments:
                columns = [Column("experiment"), Column("runs added", right=True), Column("objective")]
                rows = [
                    [name, n, ", ".join(each.metric for each in records[name].objectives) or None]
                    for name, n in done.experiments.items()
                ]
                print_table(columns, rows)
            known = f"; {count(done.n_known, 'run')} the store had already" if done.n_known else ""
            say(
                f"{count(done.n_runs, 'run')}, {count(done.n_curves, 'curve')} and {count(done.n_points, 'value')} "
                f"imported{known}"
            )
            bare = [name for name in done.experiments if not records[name].objectives]
            if bare:
                note(f"say what it is about: advisor experiment {bare[0]} --objective METRIC --direction minimize")

"""``advisor export``: runs to elsewhere."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from advisor.cli.output import count, note, print_json
from advisor.cli.session import Session, command


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(app, "export", panel="Keep")
    def export(
        session: Session,
        folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder for runs.parquet and curves.parquet.")],
        experiment: Annotated[
            str | None, typer.Option("--experiment", metavar="EXP", help="Only this one. Default: all.")
        ] = None,
    ) -> None:
        """Write runs and curves as two Parquet files, replacing those of an earlier export."""
        from advisor.sources import export_folder

        with session.open() as adv:
            done = export_folder(adv, folder, experiment=experiment)
        if session.as_json:
            print_json(asdict(done))
        else:
            sys.stdout.write(f"{done.path}\n")
            note(f"{count(done.n_runs, 'run')} and {count(done.n_curves, 'curve')} exported")

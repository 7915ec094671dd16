"""``advisor export``: runs to another program's files."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Annotated

import typer

from advisor.cli.output import count, note, print_json
from advisor.cli.session import Session, command


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(app, "export", panel="Keep")
    def export(
        session: Session,
        folder: Annotated[
            str, typer.Argument(metavar="DIR", help="Folder to write to; for optuna also sqlite:///FILE or FILE.log.")
        ],
        format: Annotated[
            str,
            typer.Option("--format", metavar="FORMAT", help="parquet, csv, mlflow, wandb, tensorboard or optuna."),
        ] = "parquet",
        experiment: Annotated[
            str | None, typer.Option("--experiment", metavar="EXP", help="Only this one. Default: all.")
        ] = None,
    ) -> None:
        """Write runs and curves for another program, replacing those of an earlier export."""
        from advisor.exporting import export as write

        with session.open() as adv:
            done = write(adv, folder, format=format, experiment=experiment)
        if session.as_json:
            print_json(asdict(done))
            return
        sys.stdout.write(f"{done.path}\n")
        for line in done.notes:
            note(line)
        suggested = f" and {count(done.n_suggestions, 'open suggestion')}" if done.n_suggestions else ""
        note(f"{count(done.n_runs, 'run')} and {count(done.n_curves, 'curve')}{suggested} exported")

"""``advisor tell``: a run that was trained elsewhere."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from advisor.cli.given import json_object
from advisor.cli.output import print_json, say
from advisor.cli.session import Session, command
from advisor.shapes import run_json


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(app, "tell", panel="Keep")
    def tell(
        session: Session,
        experiment: Annotated[str, typer.Argument(metavar="EXP", help="Name of an experiment.")],
        params: Annotated[
            str | None,
            typer.Option("--params", metavar="JSON", help="For instance '{\"lr\": 0.1}'. Default: the suggestion's."),
        ] = None,
        value: Annotated[
            list[float] | None,
            typer.Option("--value", metavar="X", help="The objective's value, nan and inf included; one an objective."),
        ] = None,
        state: Annotated[
            Literal["finished", "failed", "pruned", "crashed"], typer.Option("--state", help="How the run ended.")
        ] = "finished",
        seed: Annotated[int | None, typer.Option("--seed", metavar="N", help="Seed of the training.")] = None,
        suggestion: Annotated[
            str | None, typer.Option("--suggestion", metavar="ID", help="The suggestion that the run followed.")
        ] = None,
        metric: Annotated[
            list[str] | None,
            typer.Option("--metric", metavar="NAME=X", help="Another metric's last value; repeated for more."),
        ] = None,
        error: Annotated[str | None, typer.Option("--error", metavar="TEXT", help="Why the run failed.")] = None,
        note: Annotated[list[str] | None, typer.Option("--note", metavar="TEXT", help="Words to find it by.")] = None,
    ) -> None:
        """Record a run that was trained elsewhere: its parameters and its objective."""
        from advisor.cli.given import numbers

        with session.open() as adv:
            told = adv.experiment(experiment, create=False).tell(
                None if params is None else json_object(params, "--params"),
                value or None,
                state=state,
                error=error,
                seed=seed,
                suggestion_id=suggestion,
                notes=note or (),
                metrics=numbers(metric or (), "--metric"),
            )
            if session.as_json:
                print_json(run_json(told))
            else:
                say(f"run #{told.number} {told.id}")

"""``advisor forecast``: where a run will end, from what it has logged so far."""

from __future__ import annotations

from typing import Annotated

import typer

from advisor.cli.output import Column, note, print_json, print_table
from advisor.cli.session import Session, command, find_run
from advisor.cli.show import RunArgument

FIELDS = ("mean", "low", "high", "p_best")


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(app, "forecast", panel="Ask")
    def forecast(
        session: Session,
        run: RunArgument,
        at: Annotated[
            float | None,
            typer.Option("--at", metavar="FRACTION", help="Look at this share of the training only. Default: all."),
        ] = None,
    ) -> None:
        """Forecast the final objective of a run, with an interval; says so where nobody can tell."""
        from advisor.errors import ConfigError

        if at is not None and not 0 < at <= 1:
            raise ConfigError(f"--at {at:g} is not a share of the training; give a number above 0 and at most 1")
        with session.open() as adv:
            found = find_run(adv, run)
            experiment = adv.experiment(found.experiment, create=False)
            # Of a run that has ended nothing remains to be foretold, so what is asked about it is not kept.
            foretold, why = experiment.explain_forecast(found, at=at, keep=not found.state.is_over)
            figures = dict.fromkeys(FIELDS) if foretold is None else foretold.as_json()
            if session.as_json:
                print_json(figures)
            elif foretold is not None:
                columns = ("forecast", "low (10 %)", "high (90 %)", "chance of a new best")
                chance = f"{figures['p_best']:.5g} or less" if foretold.is_floor else figures["p_best"]
                row = [*(figures[name] for name in FIELDS[:-1]), chance]
                print_table([Column(name, right=True) for name in columns], [row])
            note(why if foretold is not None else f"no forecast: {why}")

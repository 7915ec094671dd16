"""``advisor suggest``: what to try next, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from advisor.cli.output import Column, note, print_json, print_table, say
from advisor.cli.session import Session, command

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from advisor.suggest import Suggestion
    from advisor.suggest.space import Space


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(app, "suggest", panel="Ask")
    def suggest(
        session: Session,
        experiment: Annotated[str, typer.Argument(metavar="EXP", help="Name of an experiment.")],
        n: Annotated[int, typer.Option("-n", min=1, max=1000, metavar="N", help="How many suggestions.")] = 1,
        sampler: Annotated[
            str | None,
            typer.Option("--sampler", metavar="NAME", help="An Optuna sampler. Default: a stated rule chooses."),
        ] = None,
        seed: Annotated[
            int | None, typer.Option("--seed", min=0, metavar="N", help="Of the random numbers. Default: drawn afresh.")
        ] = None,
        fix: Annotated[
            list[str] | None,
            typer.Option("--fix", metavar="NAME=VALUE", help="Keep a parameter at a value; may be repeated."),
        ] = None,
    ) -> None:
        """Propose parameters for the next runs, with the reasons and a forecast."""
        with session.open() as adv:
            exp = adv.experiment(experiment, create=False)
            fixed = None
            if fix:
                fixed = _fixed(fix, exp.space()[0])
            found = exp.suggest(n, sampler=sampler, seed=seed, fixed=fixed)
            if session.as_json:
                print_json([suggestion.as_json() for suggestion in found])
            else:
                _print(found)
                note("kept as taken for an hour, so that nobody is given the same point twice")
                note(f"when it is trained: advisor tell {experiment} --params JSON --value X")


def _fixed(given: Sequence[str], space: Space) -> Mapping[str, Any]:
    """Read ``name=value``: a value is JSON where that fits the space, otherwise the text itself."""
    import json

    from advisor.errors import SpaceError

    fixed: dict[str, Any] = {}
    for item in given:
        name, mark, text = item.partition("=")
        if not mark or not name:
            raise SpaceError(f"--fix {item!r} names no value; write --fix name=value")
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        if name in space and space[name].problem(value) is not None and space[name].problem(text) is None:
            value = text
        fixed[name] = value
    return fixed


def _print(found: Sequence[Suggestion]) -> None:
    names = list(dict.fromkeys(name for suggestion in found for name in suggestion.params))
    columns = [Column("", right=True), *(Column(name, right=True) for name in names)]
    columns += [Column("forecast", right=True), Column("80 % interval", optional=True), Column("source", optional=True)]
    rows = []
    for i, suggestion in enumerate(found, start=1):
        forecast = suggestion.forecast
        mean = None if forecast is None else forecast.mean
        interval = None if forecast is None else f"{forecast.low:.4g} to {forecast.high:.4g}"
        rows.append([i, *(suggestion.params.get(name) for name in names), mean, interval, suggestion.source])
    print_table(columns, rows)
    for i, suggestion in enumerate(found, start=1):
        say(f"{i}. {suggestion.why}" if len(found) > 1 else suggestion.why)

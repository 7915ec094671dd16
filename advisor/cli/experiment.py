"""``advisor experiment``: what an experiment is about; set it, show it, or list all."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from advisor.cli.output import Column, note, print_json, print_pairs, print_table, say, shown
from advisor.cli.session import Session, command
from advisor.cli.shapes import experiment_json

if TYPE_CHECKING:
    from advisor.app import Advisor
    from advisor.experiment import Experiment


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(app, "experiment", panel="Keep")
    def experiment(
        session: Session,
        name: Annotated[
            str | None, typer.Argument(metavar="EXP", help="Name of an experiment. Default: list all.")
        ] = None,
        objective: Annotated[
            list[str] | None,
            typer.Option("--objective", metavar="METRIC", help="What it is about; repeated for a trade-off."),
        ] = None,
        direction: Annotated[
            list[str] | None,
            typer.Option(
                "--direction",
                metavar="minimize|maximize",
                help="Which way is better, one for each objective. Default: minimize.",
            ),
        ] = None,
        reduce: Annotated[
            str | None,
            typer.Option("--reduce", metavar="HOW", help="How a curve becomes one value: best, last or mean-last-K."),
        ] = None,
        space: Annotated[
            Path | None, typer.Option("--space", metavar="FILE", help="Search space, a YAML file.")
        ] = None,
        description: Annotated[
            str | None, typer.Option("--description", metavar="TEXT", help="What it asks, in plain words.")
        ] = None,
    ) -> None:
        """Set or show an experiment's objective, search space and description; without a name, list all."""
        given = (objective, direction, reduce, space, description)
        setting = any(value is not None for value in given)
        if name is None and setting:
            raise typer.BadParameter("say which experiment these are for", param_hint="EXP")
        with session.open(create=setting) as adv:
            if name is None:
                _list(adv, session)
                return
            if setting:
                _set(adv, name, objective, direction, reduce=reduce, space=space, description=description)
            exp = adv.experiment(name, create=False)
            if session.as_json:
                print_json(experiment_json(exp))
            else:
                _print(exp)


def _set(
    adv: Advisor,
    name: str,
    objective: list[str] | None,
    direction: list[Any] | None,
    *,
    space: Path | None,
    **given: Any,
) -> None:
    from advisor.suggest.space import Space

    dimensions = None if space is None else Space.from_yaml(space)
    is_new = all(each.name != name for each in adv.experiments())
    if objective and not is_new:
        _check_logged(adv.experiment(name, create=False), objective)
    adv.experiment(name, objective=objective or None, direction=direction or None, space=dimensions, **given)
    if is_new:
        note(f"a new experiment: {name}")
    if objective and not direction:
        _say_direction(objective)


def _check_logged(exp: Experiment, objective: list[str]) -> None:
    """Refuse an objective that no run logs; where no run logs anything, any will do.

    Raises
    ------
    ConfigError
        If the runs log other metrics.
    """
    from advisor.errors import ConfigError
    from storage.errors import did_you_mean

    logged = {metric for run in exp.runs() for metric in run.metrics}
    known = logged | {each.metric for each in exp.record.objectives}
    for metric in objective:
        if logged and metric not in known:
            raise ConfigError(f"no run of experiment {exp.name!r} logs {metric!r}; {did_you_mean(metric, logged)}")


def _say_direction(objective: list[str]) -> None:
    """Point at metrics that by their names are better when higher, since lower is the default."""
    from advisor.findings.roles import role_of

    for metric in objective:
        if role_of(metric).direction == "maximize":
            note(f"{metric} is minimized; if higher is better, say --direction maximize")


def _list(adv: Advisor, session: Session) -> None:
    found = [experiment_json(each) for each in adv.experiments()]
    if session.as_json:
        print_json(found)
        return
    if not found:
        note("there are no experiments yet")
        return
    columns = [Column("experiment"), Column("objective"), Column("runs", right=True), Column("best", right=True)]
    columns += [Column("created", optional=True), Column("description", optional=True)]
    print_table(
        columns,
        [
            [e["experiment"], _objectives(e), e["n_runs"], e["best_objective"], e["created"], e["description"]]
            for e in found
        ],
    )


def _objectives(entry: dict[str, Any]) -> str | None:
    return ", ".join(f"{each['direction']} {each['metric']}" for each in entry["objectives"]) or None


def _print(exp: Experiment) -> None:
    entry = experiment_json(exp)
    best, value = entry["best_run_id"], entry["best_objective"]
    say(f"experiment {exp.name}")
    about = {
        "objective": _objectives(entry),
        "value of a run": {"last": "last finite value", "best": "best value"}.get(entry["reduce"], entry["reduce"]),
        "runs": entry["n_runs"],
        "best run": None if best is None else f"{best} ({shown(value)})",
        "description": entry["description"] or None,
        "created": entry["created"],
    }
    print_pairs(None, {name: value for name, value in about.items() if value is not None})
    if not entry["objectives"]:
        note(f"no objective is set: advisor experiment {exp.name} --objective METRIC --direction minimize")
    if entry["space"]:
        columns = [Column("parameter"), Column("type"), Column("low", right=True), Column("high", right=True)]
        columns += [Column("scale"), Column("step", right=True), Column("choices")]
        rows = [_row(name, dimension) for name, dimension in entry["space"].items()]
        print_table(columns, rows, title="search space")
    elif entry["n_runs"]:
        space, notes = exp.space()
        for line in (f"no search space is declared; from the runs {len(space)} parameters can be searched", *notes):
            note(line)


def _row(name: str, dimension: Any) -> list[Any]:
    scale = None if dimension["type"] == "choice" else "log" if dimension["log"] else "linear"
    choices = ", ".join(shown(choice) for choice in dimension.get("choices", ()))
    return [name, dimension["type"], dimension.get("low"), dimension.get("high"), scale, dimension.get("step"), choices]

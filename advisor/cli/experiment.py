"""``advisor experiment``: what an experiment is about; set it, show it, or list all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer

from advisor.cli.options import DirectionOption, ObjectiveOption, ReduceOption, SpaceOption
from advisor.cli.output import Column, count, note, print_json, print_pairs, print_table, say, shown
from advisor.cli.session import Session, command
from advisor.cli.shapes import experiment_json

if TYPE_CHECKING:
    from advisor.app import Advisor
    from advisor.experiment import Experiment
    from advisor.suggest.conditions import Condition
    from advisor.suggest.space import Space
    from storage.records import Experiment as ExperimentRecord


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(app, "experiment", panel="Keep")
    def experiment(
        session: Session,
        name: Annotated[
            str | None, typer.Argument(metavar="EXP", help="Name of an experiment. Default: list all.")
        ] = None,
        objective: ObjectiveOption = None,
        direction: DirectionOption = None,
        reduce: ReduceOption = None,
        space: SpaceOption = None,
        description: Annotated[
            str | None, typer.Option("--description", metavar="TEXT", help="What it asks, in plain words.")
        ] = None,
        constraint: Annotated[
            list[str] | None,
            typer.Option("--constraint", metavar="BOUND", help="For instance 'latency_ms <= 50'; repeated for more."),
        ] = None,
        try_first: Annotated[
            list[str] | None,
            typer.Option("--try-first", metavar="JSON", help="A point to suggest first: '{\"lr\": 0.1}'; repeated."),
        ] = None,
        fix: Annotated[
            list[str] | None,
            typer.Option("--fix", metavar="NAME=VALUE", help="A parameter that is not varied for now; repeated."),
        ] = None,
        unfix: Annotated[
            list[str] | None, typer.Option("--unfix", metavar="NAME", help="Vary a parameter again; repeated.")
        ] = None,
        rename: Annotated[
            list[str] | None,
            typer.Option("--rename", metavar="OTHER=NAME", help="What other experiments call a parameter; repeated."),
        ] = None,
        prior: Annotated[
            list[str] | None,
            typer.Option("--prior", metavar="NAME=VALUE", help="Where you believe the best value to be; repeated."),
        ] = None,
        cost: Annotated[
            str | None, typer.Option("--cost", metavar="METRIC", help="What a run costs: duration, or a metric.")
        ] = None,
        repeats: Annotated[
            int | None, typer.Option("--repeats", min=1, metavar="N", help="Runs of each point. Default: 1.")
        ] = None,
    ) -> None:
        """Set or show what an experiment is about; without a name, list all.

        Constraints, points to try first, other names and priors replace those said before; '' takes them back.
        """
        given = (objective, direction, reduce, space, description)
        asked: dict[str, Any] = {
            "constraint": constraint,
            "try_first": try_first,
            "fix": fix,
            "unfix": unfix,
            "rename": rename,
        }
        asked |= {"prior": prior, "cost": cost, "repeats": repeats}
        setting = any(value is not None for value in (*given, *asked.values()))
        if name is None and setting:
            raise typer.BadParameter("say which experiment these are for", param_hint="EXP")
        with session.open(create=setting) as adv:
            if name is None:
                _list(adv, session)
                return
            if setting:
                _set(adv, name, objective, direction, reduce=reduce, space=space, description=description, asked=asked)
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
    asked: Mapping[str, Any],
    **given: Any,
) -> None:
    from advisor.suggest.space import Space

    dimensions = None if space is None else Space.from_yaml(space)
    record = next((each.record for each in adv.experiments() if each.name == name), None)
    is_new = record is None
    given |= _problem(asked, record, dimensions)
    if objective and not is_new:
        _check_logged(adv.experiment(name, create=False), objective)
    unlogged = [] if is_new else _unlogged(adv.experiment(name, create=False), given)
    adv.experiment(name, objective=objective or None, direction=direction or None, space=dimensions, **given)
    for line in unlogged:
        note(line)
    if is_new:
        note(f"a new experiment: {name}")
    if objective and not direction:
        kept = adv.experiment(name, create=False).record.objectives
        _say_direction([each.metric for each in kept if each.direction == "minimize"])


def _problem(asked: Mapping[str, Any], record: ExperimentRecord | None, space: Space | None) -> dict[str, Any]:
    """Return what the options say of the problem, in the words of ``Advisor.experiment``."""
    from advisor.cli.given import assigned, objects, pairs
    from advisor.errors import ConfigError
    from advisor.suggest.space import Space

    if space is None and record is not None and record.space:
        space = Space.from_json(record.space)
    given: dict[str, Any] = {"cost": asked["cost"], "repeats": asked["repeats"]}
    if asked["constraint"] is not None:
        given["constraints"] = [text for text in asked["constraint"] if text.strip()]
    if asked["try_first"] is not None:
        given["try_first"] = objects(asked["try_first"], "--try-first")
    if asked["prior"] is not None:
        given["priors"] = assigned(asked["prior"], "--prior", space)
    if asked["rename"] is not None:
        given["renamed"] = {}
        for other, name in pairs(asked["rename"], "--rename", form="OTHER=NAME"):
            given["renamed"].setdefault(name, []).append(other)
    if asked["fix"] is not None or asked["unfix"] is not None:
        fixed = dict({} if record is None else record.problem.get("fixed", {}))
        for name in asked["unfix"] or ():
            if name not in fixed:
                raise ConfigError(f"--unfix {name!r}: it is not fixed; fixed are {', '.join(fixed) or 'no parameters'}")
            del fixed[name]
        given["fixed"] = fixed | assigned(asked["fix"] or (), "--fix", space)
    return given


def _check_logged(exp: Experiment, objective: list[str]) -> None:
    """Refuse an objective that no run logs; where no run logs anything, any will do.

    Raises
    ------
    ConfigError
        If the runs log other metrics.
    """
    from advisor.errors import ConfigError
    from storage.errors import did_you_mean

    logged = {metric for run in exp.runs() for metric in run.summary}
    known = logged | {each.metric for each in exp.record.objectives}
    for metric in objective:
        if logged and metric not in known:
            raise ConfigError(f"no run of experiment {exp.name!r} logs {metric!r}; {did_you_mean(metric, logged)}")


def _unlogged(exp: Experiment, given: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each constraint, and for a cost, on a metric that no run logs yet.

    It may be logged by runs to come. Where no run logs anything, there is nothing to say.

    Raises
    ------
    ConfigError
        If it is a misspelt name of a metric that runs log, unless it was said before.
    """
    from advisor.errors import ConfigError
    from advisor.metric_names import misspelt
    from advisor.suggest.problem import DURATION, Problem
    from storage.errors import did_you_mean

    asked = Problem.checked(
        {"constraints": given.get("constraints"), "cost": given["cost"]}, None, exp.record.objectives
    )
    before = Problem.of(exp.record.problem)
    said = {each.metric for each in before.constraints} | {before.cost}
    logged = {metric for run in exp.runs() for metric in (*run.summary, *run.metrics)}
    wanted = {each.metric: f"whether a run keeps {each} cannot be told" for each in asked.constraints}
    if asked.cost is not None:
        wanted.setdefault(asked.cost, "all runs count as costing the same")
    lines = []
    for metric, meanwhile in wanted.items():
        known = logged | ({DURATION} if metric == asked.cost else set())
        if not logged or metric in known:
            continue
        if metric not in said and any(misspelt(metric, each) for each in known):
            raise ConfigError(f"no run of experiment {exp.name!r} logs {metric!r}; {did_you_mean(metric, known)}")
        lines.append(f"no run of experiment {exp.name!r} logs {metric!r} yet; until one does, {meanwhile}")
    return lines


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
        [[e["experiment"], _objectives(e), e["n_runs"], _best(e), e["created"], e["description"]] for e in found],
    )


def _objectives(entry: dict[str, Any]) -> str | None:
    return ", ".join(f"{each['direction']} {each['metric']}" for each in entry["objectives"]) or None


def _best(entry: dict[str, Any]) -> str | None:
    """Return the best value, by which objective where there are several."""
    value, objectives = entry["best_objective"], entry["objectives"]
    if value is None:
        return None
    return f"{shown(value)} ({objectives[0]['metric']})" if len(objectives) > 1 else shown(value)


def front(exp: Experiment) -> str:
    """Return how many runs no other one beats, and how to see them."""
    return f"{count(len(exp.front()), 'run')}; advisor runs {quote(exp.name)} --front lists what no other run beats"


def _print(exp: Experiment) -> None:
    from advisor.suggest.space import Space

    entry = experiment_json(exp)
    best, value, several = entry["best_run_id"], entry["best_objective"], len(entry["objectives"]) > 1
    say(f"experiment {exp.name}")
    about = {
        ("objectives" if several else "objective"): _objectives(entry),
        "value of a run": {"last": "last finite value", "best": "best value"}.get(entry["reduce"], entry["reduce"]),
        "runs": entry["n_runs"],
        f"best by {entry['objectives'][0]['metric']}" if several else "best run": (
            None if best is None else f"{best} ({shown(value)})"
        ),
        "front": front(exp) if several and best is not None else None,
        "description": entry["description"] or None,
        **_said(exp),
        "created": entry["created"],
    }
    print_pairs(None, {name: value for name, value in about.items() if value is not None})
    if not entry["objectives"]:
        note(f"no objective is set: advisor experiment {exp.name} --objective METRIC --direction minimize")
    if entry["space"]:
        columns = [Column("parameter"), Column("type"), Column("low", right=True), Column("high", right=True)]
        columns += [Column("scale"), Column("step", right=True), Column("choices")]
        conditional = any("when" in dimension for dimension in entry["space"].values())
        columns += [Column("only where")] if conditional else []
        space = Space.from_json(entry["space"])
        rows = [_row(name, each, space[name].when)[: len(columns)] for name, each in entry["space"].items()]
        print_table(columns, rows, title="search space")
    elif entry["n_runs"]:
        space, notes = exp.space()
        searched = count(len(space), "parameter")
        for line in (f"no search space is declared; from the runs {searched} can be searched", *notes):
            note(line)


def _said(exp: Experiment) -> dict[str, str]:
    """Return what is said of the problem, in words."""
    from advisor.suggest.problem import Problem

    problem = Problem.of(exp.record.problem)
    said = {
        "constraints": ", ".join(map(str, problem.constraints)),
        "to try first": "; ".join(_values(point) + _tried(exp, point) for point in problem.try_first),
        "fixed": _values(problem.fixed),
        "elsewhere": ", ".join(f"{name} is {' or '.join(others)}" for name, others in problem.renamed.items()),
        "priors": ", ".join(f"{name} near {prior.center:g}" for name, prior in problem.priors.items()),
        "cost of a run": problem.cost or "",
        "repeats": str(problem.repeats) if problem.repeats > 1 else "",
    }
    return {what: words for what, words in said.items() if words}


def _tried(exp: Experiment, point: Mapping[str, Any]) -> str:
    """Return, in brackets, which run has had the parameters of a point; nothing where none has."""
    for run in exp.runs() if point else ():
        if all(run.params.get(name) == value for name, value in point.items()):
            return f" (run #{run.number})"
    return ""


def _values(params: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} = {shown(value)}" for name, value in params.items())


def _row(name: str, dimension: Any, when: Sequence[Condition]) -> list[Any]:
    scale = None if dimension["type"] == "choice" else "log" if dimension["log"] else "linear"
    choices = ", ".join(shown(choice) for choice in dimension.get("choices", ()))
    where = " and ".join(map(str, when))
    step = dimension.get("step")
    return [name, dimension["type"], dimension.get("low"), dimension.get("high"), scale, step, choices, where]

"""``advisor runs``: the runs of an experiment, or of all, as a table or as JSON."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from advisor.cli.output import Column, count, duration, note, print_json, print_table, shown
from advisor.cli.session import Session, command
from advisor.cli.shapes import SHORT_ID, short_ids
from advisor.shapes import run_json

if TYPE_CHECKING:
    from advisor.app import Advisor
    from advisor.experiment import Experiment
    from storage.records import Experiment as Record
    from storage.records import Objective, Run

SHOWN: Final = 50
"""Rows of a table unless ``--limit`` says otherwise."""
MAX_PARAMS: Final = 6
"""Parameters that get a column; those that vary come first."""
MAX_NAME: Final = 32
"""Characters of a run's name; its end tells runs of one folder apart."""
MAX_METRICS: Final = 3
"""Metrics beside the objective that get a column; those that most runs have come first."""
BEST: Final = "*"
"""Stands after the best objective of an experiment."""
DIVERGED: Final = "!"
"""Stands after the objective of a run whose last value is not finite, where an earlier one stands for it."""
BROKEN: Final = "~"
"""Stands after the objective of a run that breaks a constraint."""
SO_FAR: Final = "…"
"""Stands after the last value of a run that goes on."""
ARROWS: Final = {"minimize": "min", "maximize": "max"}


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(app, "runs", panel="Look")
    def runs(
        session: Session,
        experiment: Annotated[
            str | None, typer.Argument(metavar="EXP", help="Name of an experiment. Default: all.")
        ] = None,
        where: Annotated[
            str | None,
            typer.Option("--where", metavar="FILTER", help="For instance \"params.lr < 0.01 and state = 'finished'\"."),
        ] = None,
        sort: Annotated[
            str | None, typer.Option("--sort", metavar="NAME", help="A metric, parameter or column to sort by.")
        ] = None,
        desc: Annotated[bool, typer.Option("--desc", help="Largest first; without --sort, newest first.")] = False,
        limit: Annotated[
            int | None,
            typer.Option(
                "--limit",
                min=1,
                metavar="N",
                help=f"Most runs, without --sort the newest. Default: {SHOWN} in a table, all in JSON.",
            ),
        ] = None,
        offset: Annotated[
            int, typer.Option("--offset", min=0, metavar="N", help="Runs to leave out before the first, for paging.")
        ] = 0,
        front: Annotated[
            bool, typer.Option("--front", help="Only the runs that no other one beats in every objective at once.")
        ] = False,
    ) -> None:
        """List runs: parameters, objective, state, findings."""
        if front and (experiment is None or where or sort or desc or limit or offset):
            raise typer.BadParameter("takes the name of an experiment and no other option", param_hint="--front")
        with session.open() as adv:
            if front:
                _print_front(adv, adv.experiment(experiment or "", create=False), session)
                return
            most = limit if limit is not None or session.as_json else SHOWN
            newest_last = sort is None and not desc and not session.as_json
            found, n_runs = adv.store.page(
                experiment, where=where, order_by=sort, descending=desc or newest_last, limit=most, offset=offset
            )
            kept = found[::-1] if newest_last else found
            if session.as_json:
                print_json([run_json(run) for run in kept])
            elif not kept:
                note("no run fits the filter" if where else "there are no runs yet" if not offset else "no more runs")
            else:
                _print(adv, kept, single=experiment is not None)
                if experiment is not None and sort is not None and not desc:
                    _note_direction(adv.experiment(experiment, create=False).record.objectives, sort)
                if len(kept) < n_runs:
                    note(f"{len(kept)} of {n_runs} runs shown; --limit {n_runs} shows all, --offset the next ones")


def _print_front(adv: Advisor, exp: Experiment, session: Session) -> None:
    found, objectives = exp.front(), exp.record.objectives
    if session.as_json:
        print_json([run_json(run) | {"values": list(run.values)} for run in found])
        return
    if not found:
        what = " and keeps all constraints" if exp.record.problem.get("constraints") else ""
        note(f"no run has finished with a finite value for each objective{what}")
        return
    ids = short_ids(adv.store.alike([run.id for run in found], n_chars=SHORT_ID))
    params = varying_first(found)[:MAX_PARAMS]
    columns = [Column("#", right=True), Column("run")]
    columns += [Column(_titled(each), right=True) for each in objectives]
    columns += [Column(name, right=True, optional=True) for name in params]
    rows = [[run.number, ids[run.id], *run.values, *(run.params.get(name) for name in params)] for run in found]
    print_table(columns, rows)
    note(f"{count(len(found), 'run')} that no other one beats in every objective")


def _titled(objective: Objective) -> str:
    return f"{objective.metric} ({ARROWS[objective.direction]})"


def _note_direction(objectives: Sequence[Objective], sort: str) -> None:
    """Say that the worst stand first, where larger is better."""
    for place, each in enumerate(objectives):
        if each.direction == "maximize" and (sort == each.metric or (sort == "objective" and not place)):
            note(f"the smallest {each.metric} first; --desc lists the best first")


def _value(run: Run, record: Record) -> float | None:
    """Return the objective; of a run that goes on what it logged of it last."""
    if run.state.is_over or run.objective is not None or record.objective is None:
        return run.objective
    return run.metrics.get(record.objective.metric)


def _further(run: Run, place: int, objective: Objective) -> float | None:
    """Return the value of another objective than the first; of a run that goes on what it logged of it last."""
    return run.values[place] if place < len(run.values) else run.metrics.get(objective.metric)


def _mark(run: Run, record: Record, *, is_best: bool) -> str:
    from advisor.suggest.problem import Problem
    from storage.records import RunState

    if is_best:
        return BEST
    if not run.state.is_over and _value(run, record) is not None:
        return SO_FAR
    if Problem.of(record.problem).feasible(run) is False:
        return BROKEN
    is_finite = run.objective is not None and math.isfinite(run.objective)
    return DIVERGED if is_finite and run.state is RunState.FINISHED and record.went_wrong(run) else " "


def _print(adv: Advisor, runs: Sequence[Run], *, single: bool) -> None:
    ids = short_ids(adv.store.alike([run.id for run in runs], n_chars=SHORT_ID))
    experiments = {name: adv.experiment(name, create=False) for name in dict.fromkeys(run.experiment for run in runs)}
    best = {found.id for each in experiments.values() if (found := each.best()) is not None}
    objectives = {name: each.record.objective for name, each in experiments.items()}
    objective = objectives[runs[0].experiment] if single else None
    further = experiments[runs[0].experiment].record.objectives[1:] if single else ()
    marks = {run.id: _mark(run, experiments[run.experiment].record, is_best=run.id in best) for run in runs}
    params = _params(runs, experiments[runs[0].experiment].record.space if single else None)
    apart = {each.metric for each in further}
    metrics = [name for name in _metrics(runs, objectives) if name not in apart][:MAX_METRICS]
    named = any(run.name for run in runs)
    columns = [
        Column("#", right=True),
        Column("run"),
        *((Column("name", optional=True),) if named else ()),
        *(() if single else (Column("experiment"),)),
        Column("state"),
        Column("objective" if objective is None else _titled(objective), right=True),
        *(Column(_titled(each), right=True) for each in further),
        *(Column(name, right=True, optional=True) for name in params),
        *(Column(name, right=True, optional=True) for name in metrics),
        Column("started", optional=True),
        Column("duration", right=True, optional=True),
        Column("findings", right=True),
    ]
    rows = [
        [
            run.number,
            ids[run.id],
            *((_shortened(run.name),) if named else ()),
            *(() if single else (run.experiment,)),
            run.state,
            shown(_value(run, experiments[run.experiment].record)) + marks[run.id],
            *(_further(run, place, each) for place, each in enumerate(further, start=1)),
            *(run.params.get(name) for name in params),
            *(run.metrics.get(name) for name in metrics),
            run.started,
            duration(run.duration_s),
            len(run.findings) or "",
        ]
        for run in runs
    ]
    print_table(columns, rows)
    if any(run.id in best for run in runs):
        by = f"best by {objective.metric}, see --front" if objective is not None and further else "best run"
        note(f"{BEST} {by}; {count(len(runs), 'run')}")
    if DIVERGED in marks.values():
        note(f"{DIVERGED} it ended with a value that is not finite; shown is the last one that was")
    if BROKEN in marks.values():
        note(f"{BROKEN} it breaks a constraint")
    if SO_FAR in marks.values():
        note(f"{SO_FAR} it goes on; shown is the last value that it logged")


def _params(runs: Sequence[Run], space: Mapping[str, Any] | None) -> list[str]:
    """Return the parameters that get a column: as the space has them, those that vary where not all have room."""
    names = varying_first(runs)[:MAX_PARAMS]
    place = {name: i for i, name in enumerate(space or ())}
    return sorted(names, key=lambda name: (place.get(name, len(place)), name))


def _shortened(name: str | None) -> str | None:
    return name if name is None or len(name) <= MAX_NAME else f"…{name[1 - MAX_NAME :]}"


def varying_first(runs: Sequence[Run]) -> list[str]:
    """Return the names of all parameters: first those whose values differ, in the order in which they came."""
    seen: dict[str, set[str]] = {}
    for run in runs:
        for name, value in run.params.items():
            seen.setdefault(name, set()).add(repr(value))
    n_having: Mapping[str, int] = Counter(name for run in runs for name in run.params)
    return sorted(seen, key=lambda name: len(seen[name]) == 1 and n_having[name] == len(runs))


def _metrics(runs: Sequence[Run], objectives: Mapping[str, Objective | None]) -> list[str]:
    """Return the names of the metrics beside the objectives, those that most runs have first."""
    leading: set[Any] = {objective.metric for objective in objectives.values() if objective is not None}
    having = Counter(name for run in runs for name in run.metrics if len(objectives) > 1 or name not in leading)
    return sorted(having, key=lambda name: -having[name])

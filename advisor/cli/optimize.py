"""``advisor optimize``: run a command once a suggestion."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from advisor.cli.experiment import front
from advisor.cli.options import DirectionOption, ObjectiveOption, ReduceOption, SamplerOption, SpaceOption
from advisor.cli.output import Column, count, duration, note, print_json, print_table, say, shown
from advisor.cli.session import Session, command
from advisor.shapes import run_json

if TYPE_CHECKING:
    from advisor.app import Advisor
    from advisor.experiment import Experiment
    from advisor.running import Summary
    from storage.records import Experiment as ExperimentRecord
    from storage.records import Run

FAILED: Final = 1
"""Exit code where no run came through, or too many failed in a row."""
INTERRUPTED: Final = 130
AFTER_DASHES: Final = "what belongs to the command comes after --, as in -- python train.py --lr {lr}"
"""What is said of an option that ``advisor optimize`` does not have, since it may be the command's."""
LISTED: Final = 10
"""Runs that the summary shows, the best first."""


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(app, "optimize", panel="Ask")
    def optimize(
        session: Session,
        experiment: Annotated[str, typer.Argument(metavar="EXP", help="Name of an experiment.")],
        program: Annotated[
            list[str],
            typer.Argument(
                metavar="COMMAND",
                help="After --: what to run, with {name} for a value, {run_id} and {seed}. No shell reads it.",
            ),
        ],
        n: Annotated[
            int | None,
            typer.Option(
                "-n",
                min=1,
                metavar="N",
                help="Trials that this command shall have in all: the same command line again goes on where it "
                "stopped, also on other machines.",
            ),
        ] = None,
        more: Annotated[
            bool, typer.Option("--more", help="N more than there are by now, instead of N in all.")
        ] = False,
        jobs: Annotated[
            int, typer.Option("-j", "--jobs", min=1, metavar="JOBS", help="How many at the same time.")
        ] = 1,
        timeout: Annotated[
            float | None,
            typer.Option("--timeout", metavar="SECONDS", help="End one that takes longer; it counts as failed."),
        ] = None,
        retries: Annotated[
            int,
            typer.Option(
                "--retries",
                min=0,
                metavar="N",
                help="Try again, with the same parameters, what a signal or --timeout ended.",
            ),
        ] = 0,
        max_failures: Annotated[
            int, typer.Option("--max-failures", min=1, metavar="N", help="Stop after so many failures in a row.")
        ] = 10,
        total_time: Annotated[
            float | None,
            typer.Option(
                "--total-time", metavar="SECONDS", help="Start no more after this; what runs goes on to its end."
            ),
        ] = None,
        prune: Annotated[
            bool | None,
            typer.Option(
                "--prune/--no-prune",
                help="End commands that do worse than the others did by then, by SIGTERM. Default: answer those that "
                "ask, by run.should_stop().",
            ),
        ] = None,
        grace: Annotated[
            float, typer.Option("--grace", metavar="SECONDS", help="Time to end by itself, before SIGKILL.")
        ] = 10.0,
        logs: Annotated[
            Path | None,
            typer.Option(
                "--logs", metavar="DIR", help="Where each run's output goes. Default: logs in the store's folder."
            ),
        ] = None,
        sampler: SamplerOption = None,
        seed: Annotated[
            int | None,
            typer.Option("--seed", min=0, metavar="N", help="Trial i gets seed N + i. Default: drawn afresh."),
        ] = None,
        objective: ObjectiveOption = None,
        direction: DirectionOption = None,
        reduce: ReduceOption = None,
        space: SpaceOption = None,
    ) -> int:
        """Run a command once a suggestion, and read its metrics.

        advisor optimize digits -n 50 -j 4 -- python train.py --lr {lr} --layers {layers}

        The command prints lines such as {"step": 3, "val_loss": 0.41}, or calls advisor.init() and advisor.log().
        Exit code 0: fine; 1: no run finished, or too many failed in a row; 2: a mistake; 130: interrupted.
        """
        from advisor.cli.trials import shown_on_stderr
        from advisor.running import SweepInterrupted

        options: dict[str, Any] = {"more": more, "retries": retries, "max_failures": max_failures, "prune": prune}
        options |= {"total_time_s": total_time, "timeout_s": timeout, "grace_s": grace, "logs": logs}
        about = {"objective": objective or None, "direction": direction or None, "reduce": reduce}
        with _opened(session, experiment, about, space) as adv:
            exp = _defined(adv, experiment, about, space)
            try:
                with shown_on_stderr(exp) as watcher:
                    summary = exp.optimize_command(
                        program, n_runs=n, jobs=jobs, sampler=sampler, seed=seed, watcher=watcher, **options
                    )
            except SweepInterrupted as interrupt:
                summary = interrupt.summary
            if session.as_json:
                print_json(
                    [
                        run_json(a.run)
                        | {"attempt": a.number, "exit_code": a.exit_code, "reason": a.reason or None, "log": a.log}
                        for a in summary.attempts
                    ]
                )
            else:
                _print(exp, summary)
            return _told(summary, more=more)


def _opened(session: Session, experiment: str, about: dict[str, Any], space: Path | None) -> Advisor:
    from advisor.errors import ConfigError
    from storage.errors import StoreNotFoundError

    creating = _creating(about, space)
    try:
        return session.open(create=creating)
    except StoreNotFoundError as error:
        if creating:
            raise
        raise ConfigError(f"{error}. {_how(experiment)}") from error


def _defined(adv: Advisor, experiment: str, about: dict[str, Any], space: Path | None) -> Experiment:
    """Return the experiment, made or changed where options say what it is about."""
    from advisor.errors import ConfigError
    from advisor.suggest.space import Space
    from storage.errors import ExperimentNotFoundError

    dimensions = None if space is None else Space.from_yaml(space)
    try:
        return adv.experiment(experiment, space=dimensions, create=_creating(about, space), **about)
    except ExperimentNotFoundError as error:
        raise ConfigError(f"{' '.join(map(str, error.args))} {_how(experiment)}") from error


def _creating(about: dict[str, Any], space: Path | None) -> bool:
    return space is not None or any(value is not None for value in about.values())


def _how(experiment: str) -> str:
    return f"To make {experiment!r}, add --objective METRIC --direction minimize --space space.yaml"


# -- what came of it


def _print(exp: Experiment, summary: Summary) -> None:
    record = exp.record
    objective, several = record.objectives[0], len(record.objectives) > 1
    ranked = sorted(
        summary.attempts,
        key=lambda a: (not record.ranks(a.run), _rank(a.run.objective, objective.direction), a.run.number),
    )
    names = list(dict.fromkeys(name for attempt in ranked for name in attempt.run.params))
    if ranked:
        columns = [
            Column("run", right=True),
            Column("state"),
            *(Column(o.metric, right=True) for o in record.objectives),
        ]
        columns += [Column(name, right=True) for name in names]
        columns += [Column("time", right=True, optional=True)]
        print_table(
            columns,
            [
                [
                    f"#{a.run.number}",
                    str(a.run.state),
                    *_reached(a.run, record),
                    *(a.run.params.get(name) for name in names),
                    duration(a.run.duration_s),
                ]
                for a in ranked[:LISTED]
            ],
        )
        if len(ranked) > LISTED:
            turned = " --desc" if objective.direction == "maximize" else ""
            note(f"and {len(ranked) - LISTED} more: advisor runs {exp.name} --sort {objective.metric}{turned}")
    best = summary.best
    if best is not None:
        params = ", ".join(f"{name} = {shown(value)}" for name, value in best.params.items())
        figures = zip(record.objectives, _reached(best, record), strict=True)
        reached = ", ".join(f"{each.metric} {shown(value)}" for each, value in figures)
        title = f"best by {objective.metric}" if several else "best"
        say(f"{title}: run #{best.number} {best.id[:8]}, {reached}, {params}")
        if several:
            say(f"front: {front(exp)}")


def _reached(run: Run, record: ExperimentRecord) -> list[float | None]:
    """Return a run's value of each objective; None where it has none."""
    return [*run.values, *[None] * len(record.objectives)][: len(record.objectives)]


def _rank(value: float | None, direction: str) -> float:
    if value is None or value != value:
        return float("inf")
    return value if direction == "minimize" else -value


def _told(summary: Summary, *, more: bool) -> int:
    """Say how it ended, and return the exit code."""
    from storage.records import RunState

    of = "" if summary.n_wanted is None else f" of {summary.n_wanted}"
    n_failed = sum(attempt.failed for attempt in summary.attempts)
    n_interrupted = sum(attempt.interrupted for attempt in summary.attempts)
    words = [f"{summary.n_done}{of} done", f"{count(len(summary.attempts), 'run')} in {duration(summary.elapsed_s)}"]
    words += [f"{n_failed} failed"] * bool(n_failed)
    words += [f"{n_interrupted} interrupted"] * bool(n_interrupted)
    words += [f"{summary.count(RunState.PRUNED)} pruned"] * bool(summary.count(RunState.PRUNED))
    note(", ".join(words))
    if summary.interrupted:
        instead = f", with -n {summary.n_wanted} in place of --more" if more else ""
        note(f"interrupted ({summary.stopped}); the same command line goes on where it stopped{instead}")
        return INTERRUPTED
    if summary.n_wanted is not None and summary.n_done < summary.n_wanted and not summary.stopped:
        note(f"{summary.n_wanted - summary.n_done} more run elsewhere, or did when their machine was last heard of")
    elif not summary.attempts:
        note(f"nothing was left to do: {summary.stopped or 'a larger -n, or --more, adds to them'}")
    if not summary.ok:
        note(f"error: {summary.stopped}" if summary.too_many_failures else "error: no run finished")
    return 0 if summary.ok else FAILED

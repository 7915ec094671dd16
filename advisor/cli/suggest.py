"""``advisor suggest``: what to try next, and why."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any

import typer

from advisor.cli.explained import draw
from advisor.cli.given import assigned
from advisor.cli.options import SamplerOption
from advisor.cli.output import Column, note, print_json, print_table, say
from advisor.cli.session import Session, command
from advisor.cli.shapes import SHORT_ID

if TYPE_CHECKING:
    from collections.abc import Sequence

    from advisor.experiment import Experiment
    from advisor.suggest import Suggestion


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(app, "suggest", panel="Ask")
    def suggest(
        session: Session,
        experiment: Annotated[str, typer.Argument(metavar="EXP", help="Name of an experiment.")],
        n: Annotated[int, typer.Option("-n", min=1, max=1000, metavar="N", help="How many suggestions.")] = 1,
        sampler: SamplerOption = None,
        seed: Annotated[
            int | None, typer.Option("--seed", min=0, metavar="N", help="Of the random numbers. Default: drawn afresh.")
        ] = None,
        fix: Annotated[
            list[str] | None,
            typer.Option("--fix", metavar="NAME=VALUE", help="Keep a parameter at a value; may be repeated."),
        ] = None,
        retry: Annotated[
            bool, typer.Option("--retry", help="First propose again what runs had whose process died.")
        ] = False,
        alone: Annotated[
            bool, typer.Option("--alone", help="Learn from this experiment only, not from the others of the store.")
        ] = False,
        dry_run: Annotated[
            bool, typer.Option("--dry-run", help="Show them without keeping them: nothing counts as taken.")
        ] = False,
        explain: Annotated[
            bool, typer.Option("--explain", help="Draw the forecast, what each parameter does, and who taught it.")
        ] = False,
        again: Annotated[
            str | None,
            typer.Option("--again", metavar="ID", help="Make an earlier suggestion again; exit code 1 if it differs."),
        ] = None,
        accept: Annotated[
            str | None,
            typer.Option("--accept", metavar="ID", help="Queue a suggestion for whoever starts the next run."),
        ] = None,
        reject: Annotated[
            str | None, typer.Option("--reject", metavar="ID", help="Close a suggestion: its point is free again.")
        ] = None,
    ) -> int:
        """Propose parameters for the next runs, with the reasons and a forecast."""
        with session.open() as adv:
            exp = adv.experiment(experiment, create=False)
            if again is not None:
                return _again(session, exp, again)
            if accept is not None or reject is not None:
                return _answered(session, exp, accept, reject)
            fixed = assigned(fix, "--fix", exp.space()[0]) if fix else None
            asked: dict[str, Any] = {"sampler": sampler, "seed": seed, "fixed": fixed, "retry": retry}
            found = exp.suggest(n, **asked, transfer=not alone, keep=not dry_run)
            if session.as_json:
                print_json([suggestion.as_json() for suggestion in found])
            else:
                _print(found)
                if explain:
                    best = exp.best()
                    draw(found, exp.record.objectives[0], None if best is None else best.objective)
                if dry_run:
                    note("not kept: the next who asks may be given the same, and the ledger does not know of it")
                    return 0
                note("kept as taken for an hour, so that nobody is given the same point twice")
                ids = ", ".join(suggestion.id for suggestion in found)
                note(f"made again later by: advisor suggest {experiment} --again ID, here {ids}")
                for one in found[:1]:
                    told = f"advisor tell {experiment} --suggestion {one.id[:SHORT_ID]}"
                    note(f"when it is trained: {told} {_values(exp)}")
            return 0


def _values(exp: Experiment) -> str:
    """Return the options of ``advisor tell`` that say what a run came to: one for each objective, in their order."""
    metrics = [objective.metric for objective in exp.record.objectives]
    if len(metrics) == 1:
        return "--value X"
    options = " ".join(f"--value X{i}" for i in range(1, len(metrics) + 1))
    return f"{options}, where {', '.join(f'X{i} is {metric}' for i, metric in enumerate(metrics, start=1))}"


def _again(session: Session, exp: Experiment, suggestion_id: str) -> int:
    """Print a suggestion that was made anew from what the store held then; return 1 if it is not the same."""
    made, same = exp.suggest_again(suggestion_id)
    if session.as_json:
        print_json({"same": same, "suggestion": made.as_json()})
    else:
        _print([made])
        note(
            "the same parameters as then" if same else "other parameters than then: another version or library made it"
        )
    return 0 if same else 1


def _answered(session: Session, exp: Experiment, accept: str | None, reject: str | None) -> int:
    """Queue or close suggestions that were made earlier."""
    if reject is not None:
        exp.reject(reject)
        note(f"suggestion {reject} is closed; nobody is to start it")
    if accept is not None:
        run = exp.accept(accept)
        if session.as_json:
            print_json({"run_id": run.id, "number": run.number, "state": str(run.state), "params": dict(run.params)})
        else:
            say(f"run #{run.number} ({run.id[:8]}) waits with these parameters")
            note(f"taken up by the next: advisor optimize {exp.name} -n 1 -- COMMAND, or exp.start() in Python")
    return 0


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
    shared, own = _reasons([suggestion.why for suggestion in found])
    if shared:
        say(shared)
    for i, reasons in enumerate(own, start=1):
        if reasons:
            say(f"{i}. {reasons}" if len(found) > 1 else reasons)


def _reasons(texts: Sequence[str]) -> tuple[str, list[str]]:
    """Return the sentences that all of some paragraphs hold, and what is left of each."""
    if len(texts) == 1:
        return "", list(texts)
    sentences = [re.split(r"(?<=\.) (?=[A-Z])", text) for text in texts]
    shared = [each for each in sentences[0] if all(each in others for others in sentences)]
    return " ".join(shared), [" ".join(each for each in own if each not in shared) for own in sentences]

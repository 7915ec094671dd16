"""``advisor delete``, ``restore``, ``rename`` and ``move``: what becomes of experiments and runs."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from advisor.cli.output import Column, count, note, print_json, print_table, say
from advisor.cli.session import Session, command
from advisor.shapes import run_json

if TYPE_CHECKING:
    from advisor.lifecycle import Deleted

PANEL = "Keep"
REFERENCES = "Names of experiments; ids of runs, beginnings of ids, or EXPERIMENT#NUMBER."
RUNS = "Ids of runs, beginnings of ids, or EXPERIMENT#NUMBER."


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for function in (delete, restore, rename, move):
        command(app, function.__name__, panel=PANEL)(function)


def delete(
    session: Session,
    what: Annotated[list[str], typer.Argument(metavar="EXP|RUN...", help=REFERENCES)],
    force: Annotated[bool, typer.Option("--force", help="Delete runs that are still running, too.")] = False,
) -> None:
    """Delete experiments and runs; they can be restored until they are removed for good."""
    with session.open() as adv:
        gone = adv.delete(what, force=force)
    if session.as_json:
        print_json([_as_json(one) for one in gone])
    else:
        say(f"deleted {_listed(gone)}")
        references = " ".join(shlex.quote(_reference(one)) for one in gone)
        note(f"'advisor restore {references}' brings {'it' if len(gone) == 1 else 'them'} back")


def restore(
    session: Session,
    what: Annotated[
        list[str] | None,
        typer.Argument(metavar="EXP|RUN...", help=f"{REFERENCES} Default: list what can be restored."),
    ] = None,
) -> None:
    """Bring back what was deleted, or list what can be."""
    with session.open() as adv:
        found = adv.restore(what) if what else adv.deleted()
    if session.as_json:
        print_json([_as_json(one) for one in found])
    elif what:
        say(f"restored {_listed(found)}")
    else:
        _print(found)


def rename(
    session: Session,
    experiment: Annotated[str, typer.Argument(metavar="EXP", help="Name of an experiment.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="Its new name.")],
) -> None:
    """Give an experiment another name; its runs keep their numbers."""
    with session.open() as adv:
        renamed = adv.experiment(experiment, create=False)
        renamed.rename(new)
    if session.as_json:
        print_json({"experiment": renamed.name, "was": experiment})
    else:
        say(f"experiment {experiment} is now {renamed.name}")


def move(
    session: Session,
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help=RUNS)],
    to: Annotated[str, typer.Option("--to", metavar="EXP", help="The experiment to move them to.")],
) -> None:
    """Move runs to another experiment, where each gets the next number."""
    with session.open() as adv:
        moved = adv.move(runs, to)
    if session.as_json:
        print_json([run_json(run) for run in moved])
    else:
        say(f"moved {', '.join(f'{run.id} to {run.experiment} as #{run.number}' for run in moved)}")


def _listed(found: Sequence[Deleted]) -> str:
    return ", ".join(map(str, found))


def _reference(one: Deleted) -> str:
    return one.experiment if one.run_id is None else one.run_id


def _as_json(one: Deleted) -> dict[str, Any]:
    return {
        "experiment": one.experiment,
        "run_id": one.run_id,
        "number": one.number,
        "n_runs": one.n_runs,
        "deleted": one.time,
    }


def _print(found: Sequence[Deleted]) -> None:
    if not found:
        note("nothing is deleted")
        return
    columns = [Column("deleted"), Column("experiment"), Column("#", right=True), Column("run")]
    rows = [
        [one.time, one.experiment, None, f"all of it, {count(one.n_runs, 'run')}"]
        if one.run_id is None
        else [one.time, one.experiment, one.number, one.run_id]
        for one in found
    ]
    print_table(columns, rows)

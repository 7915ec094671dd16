"""``advisor note`` and ``advisor tag``: what people say of a run after the fact."""

from __future__ import annotations

from typing import Annotated

import typer

from advisor.cli.output import print_json, say, shown
from advisor.cli.session import Session, command, find_run
from advisor.cli.show import RunArgument


def register(app: typer.Typer) -> None:
    """Add the commands."""

    @command(app, "note", panel="Keep")
    def note(
        session: Session,
        run: RunArgument,
        text: Annotated[str, typer.Argument(metavar="TEXT", help="The note, in plain words; it is searched later.")],
    ) -> None:
        """Add a note to a run, also to one that is over."""
        with session.open() as adv:
            found = find_run(adv, run)
            found = adv.experiment(found.experiment, create=False).note(found, text)
        if session.as_json:
            print_json({"run_id": found.id, "notes": list(found.notes)})
        else:
            say(f"noted of run #{found.number} of {found.experiment}: {shown(found.notes[-1])}")

    @command(app, "tag", panel="Keep")
    def tag(
        session: Session,
        run: RunArgument,
        tags: Annotated[list[str], typer.Argument(metavar="TAG…", help="Words to find the run by.")],
        remove: Annotated[bool, typer.Option("--remove", help="Take these tags off the run.")] = False,
    ) -> None:
        """Add tags to a run, or take them off; also of one that is over."""
        with session.open() as adv:
            found = find_run(adv, run)
            experiment = adv.experiment(found.experiment, create=False)
            found = (experiment.untag if remove else experiment.tag)(found, *tags)
        if session.as_json:
            print_json({"run_id": found.id, "tags": list(found.tags)})
        else:
            has = ", ".join(shown(each) for each in found.tags) or "no tags"
            say(f"run #{found.number} of {found.experiment}: {has}")

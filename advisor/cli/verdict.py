"""``advisor verdict``: whether a finding was right, in the words of whoever knows."""

from __future__ import annotations

from typing import Annotated, Final, Literal

import typer

from advisor.cli.output import print_json, say
from advisor.cli.session import Session, command

MEANING: Final = {"ok": "a false alarm, resolved for good", "real": "real trouble"}


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(app, "verdict", panel="Keep")
    def verdict(
        session: Session,
        finding: Annotated[
            str,
            typer.Argument(
                metavar="FINDING", help="The beginning of a finding's id, or RUN:CODE such as digits#3:ADV103."
            ),
        ],
        word: Annotated[
            Literal["ok", "real"],
            typer.Argument(metavar="ok|real", help="ok: the run was sound, a false alarm; real: there was trouble."),
        ],
        why: Annotated[str | None, typer.Option("--note", metavar="TEXT", help="Why, for the history.")] = None,
    ) -> None:
        """Say whether a finding was right; the ledger counts it, and the last word holds."""
        from advisor.references import find_finding

        with session.open() as adv:
            found = find_finding(adv.store, finding)
            judged = adv.experiment(found.experiment, create=False).verdict(found.id, word, why)
            number = adv.store.run(judged.run_id).number
        if session.as_json:
            print_json(judged.as_json())
        else:
            say(f"finding {judged.code} on run #{number} of {judged.experiment}: {MEANING[word]}")

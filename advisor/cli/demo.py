"""``advisor demo``: the whole story on real trainings."""

from __future__ import annotations

import typer

from advisor.cli.session import Session, command


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(app, "demo", panel="Start")
    def demo(session: Session) -> int:
        """Train, break, check, suggest and report on real data, offline, in about a minute."""
        from advisor.demo import main

        return main(session.store)

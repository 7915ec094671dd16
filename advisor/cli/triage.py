"""``advisor triage``: what needs a person now, across experiments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import typer

from advisor.cli.output import Column, count, duration, note, print_json, print_table, say
from advisor.cli.session import Session, command

if TYPE_CHECKING:
    from advisor.triage import Triage
    from advisor.triage.groups import Group

N_NAMED: Final = 3
"""Runs of a group that are named, the newest."""


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(app, "triage", panel="Look")
    def triage(
        session: Session,
        all_: Annotated[
            bool, typer.Option("--all", help="Mild findings and experiments in figures, too; JSON holds all.")
        ] = False,
    ) -> None:
        """Show what needs a person now: open findings by cause and sweep, silent runs, what waits."""
        from advisor.triage import Overview

        with session.open() as adv:
            now = Overview(adv.store, book=adv.alerts).look(adv.clock())
            if session.as_json:
                print_json(now.as_json())
                return
            _tell(now, all_=all_)


def _what(group: Group) -> str:
    """Return what is wrong, with the runs that it is about: 'advisor verdict' and 'advisor ack' want one named."""
    numbers = [f"#{member.run.number}" for member in group.members[:N_NAMED]]
    if group.n_runs == 1:
        return f"{numbers[0]}: {group.title}" if numbers else group.title
    more = ", …" if group.n_runs > len(numbers) else ""
    return f"{group.title} ({', '.join(numbers)}{more})"


def _tell(now: Triage, *, all_: bool) -> None:
    groups = now.groups if all_ else now.urgent
    if groups:
        columns = [
            Column("severity"),
            Column("code"),
            Column("experiment"),
            Column("what", folds=True),
            Column("since", optional=True),
        ]
        print_table(columns, [[g.severity.value, g.code, g.experiment, _what(g), g.since] for g in groups])
    if now.is_calm:
        waits = ("", "; a suggestion waits", "; suggestions wait")[min(len(now.suggestions), 2)]  # the newest only
        note(f"no trouble is open{waits}")
    for pulse in now.silent:
        name = f"{pulse.run.experiment}#{pulse.run.number}"
        say(f"silent: {name}, nothing logged for {duration(pulse.silent_s)}, usually {duration(pulse.rhythm_s)}")
    if now.running:
        print_table(
            [Column("going on"), Column("metric"), Column("step", right=True), Column("last", right=True),
             Column("best", right=True), Column("heard", optional=True)],
            [[f"{p.run.experiment}#{p.run.number}", p.metric, p.step, p.value, p.best, p.heard] for p in now.running],
        )  # fmt: skip
    for each in now.suggestions:
        say(f"suggestion {each.id[:8]} for {each.experiment} waits until {each.until.astimezone():%H:%M}")
    for document in now.documents:
        say(f"written {document.time.astimezone():%Y-%m-%d %H:%M}: {document.kind} {document.title}")
    if now.muted:
        note(f"{count(len(now.muted), 'mute')} hold; 'advisor mute' lists them")
    if all_:
        columns = [Column("experiment"), *(Column(name, right=True) for name in ("runs", "going on", "open findings"))]
        print_table(columns, [[e.record.name, e.n_runs, e.n_running, e.n_findings] for e in now.experiments])

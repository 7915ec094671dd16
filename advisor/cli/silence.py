"""``advisor ack``, ``mute`` and ``unmute``: what people say to alerts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from advisor.cli.output import Column, note, print_json, print_table, say
from advisor.cli.session import Session, command
from advisor.times import until

if TYPE_CHECKING:
    from advisor.silencing import Silenced

ForOption = Annotated[
    str | None, typer.Option("--for", metavar="TIME", help="Only for a while: 90s, 30m, 2h, 1d or 1w.")
]
TARGETS = "Codes (ADV103 or spike), experiments and runs."


def register(app: typer.Typer) -> None:
    """Add the commands."""
    command(app, "ack", panel="Look")(ack)
    command(app, "mute", panel="Look")(mute)
    command(app, "unmute", panel="Look")(unmute)


def ack(
    session: Session,
    findings: Annotated[
        list[str],
        typer.Argument(metavar="FINDING...", help="Findings or messages, as messages name them, or runs."),
    ],
    for_: ForOption = None,
    undo: Annotated[bool, typer.Option("--undo", help="Take it back: the findings are open again.")] = False,
) -> None:
    """Say that somebody has seen it: nothing more is sent until it is gone and comes back."""
    from advisor.silencing import acknowledge, reopen

    with session.open() as adv:
        now = adv.clock()
        if undo:
            _tell(session, reopen(adv.store, findings, now=now), "open again")
            return
        done = acknowledge(adv.store, findings, now=now, until=until(for_, now, "--for"))
    _tell(session, done, "acknowledged")


def mute(
    session: Session,
    what: Annotated[list[str] | None, typer.Argument(metavar="[WHAT...]", help=TARGETS)] = None,
    for_: ForOption = None,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why, for others.")] = "",
) -> None:
    """Send nothing about a code, an experiment or a run; without a name, list what is muted."""
    from advisor.redact import scrub
    from advisor.silencing import mute as muted
    from advisor.silencing import mutes

    with session.open() as adv:
        now = adv.clock()
        if what:
            _tell(
                session, muted(adv.store, what, now=now, until=until(for_, now, "--for"), reason=scrub(reason)), "muted"
            )
            return
        found = mutes(adv.store, now=now)
    if session.as_json:
        print_json([{"scope": m.scope, "target": m.target, "until": m.until, "reason": m.reason} for m in found])
    elif not found:
        note("nothing is muted")
    else:
        columns = [Column("scope"), Column("target"), Column("until"), Column("reason", folds=True)]
        print_table(columns, [[m.scope, m.target, m.until or "for good", m.reason] for m in found])


def unmute(
    session: Session,
    what: Annotated[list[str], typer.Argument(metavar="WHAT...", help=TARGETS + " Findings, too.")],
) -> None:
    """End mutes."""
    from advisor.silencing import unmute as unmuted

    with session.open() as adv:
        done = unmuted(adv.store, what, now=adv.clock())
    _tell(session, done, "no longer muted")


def _tell(session: Session, done: Sequence[Silenced], verb: str) -> None:
    if session.as_json:
        print_json([_as_json(one) for one in done])
        return
    for one in done:
        until = "" if one.until is None else f" until {one.until.astimezone():%Y-%m-%d %H:%M}"
        say(f"{verb}{until}: {one.words}")


def _as_json(one: Silenced) -> dict[str, Any]:
    return {"scope": one.scope, "target": one.target, "until": one.until}

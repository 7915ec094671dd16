"""``advisor watch``: look at all runs of a store, again and again, and tell channels what is wrong.

Invariant: it ends when it is told to, and whatever ends it, the next one goes on where it stood.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from advisor.cli.importing import roles
from advisor.cli.output import Column, count, note, print_json, print_table, say
from advisor.cli.session import Session, command

if TYPE_CHECKING:
    from advisor.app import Advisor
    from advisor.config import Settings
    from advisor.notify.desk import Desk
    from advisor.sources.following import Follower
    from advisor.watching import Round, Watcher

NOTE_EVERY_S = 3600.0
"""Between two lines that say that the watcher lives."""


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(app, "watch", panel="Look")
    def watch(
        session: Session,
        target: Annotated[
            str | None,
            typer.Argument(
                metavar="EXP|PATH",
                help="An experiment, a store, or a folder, file or address that another tool writes to.",
            ),
        ] = None,
        notify: Annotated[
            list[str] | None,
            typer.Option("--notify", metavar="URL", help="Where to send; repeated for several. Default: the setting."),
        ] = None,
        once: Annotated[bool, typer.Option("--once", help="One round, for instance for cron.")] = False,
        every: Annotated[
            float | None,
            typer.Option("--every", min=1.0, max=86_400.0, metavar="SECONDS", help="Between two rounds. Default: 30."),
        ] = None,
        tools: Annotated[
            list[str] | None,
            typer.Option("--from", metavar="TOOL", help="Of another tool's folder: only this tool's data."),
        ] = None,
        into: Annotated[
            str | None,
            typer.Option("--experiment", metavar="EXP", help="Of another tool's folder: where its runs go."),
        ] = None,
        columns: Annotated[
            list[str] | None,
            typer.Option("--column", metavar="NAME=ROLE", help="Of a table: what a column is, as for import."),
        ] = None,
    ) -> int:
        """Watch all runs of all processes; each trouble is told once, grouped, and tried until it arrives."""
        from advisor.config import resolve
        from advisor.errors import ConfigError
        from advisor.sources.port import Options
        from advisor.watching import Watcher

        if once and every is not None:
            raise ConfigError("--once and --every exclude each other; leave one out")
        experiment = target
        if target is not None and _is_store(target):
            if session.store is not None:
                raise ConfigError("the store is named twice, as an argument and by --store; leave one out")
            session, experiment = session.later(target, as_json=False), None
        settings = resolve(store=session.store)
        follows = experiment is not None and _holds_runs(session, experiment)
        with session.open(notify=(), create=follows) as adv, contextlib.ExitStack() as stack:
            follower = None
            if follows and experiment is not None:
                how = {"tools": tools or (), "experiment": into, "options": Options(columns=roles(columns or ()))}
                follower, experiment = stack.enter_context(_follower(adv, experiment, how)), None
            elif experiment is not None:
                experiment = adv.experiment(experiment, create=False).record.name
            desk = _desk(adv, settings, notify or list(settings.notify) or ["console"], experiment)
            watcher = Watcher(adv, desk, experiment=experiment, feed=follower)
            if once:
                _show(watcher.once(), as_json=session.as_json)
                _write_due(adv)
                return 0
            of = f", experiment {experiment}" if experiment else f", fed from {target}" if follower else ""
            where = ", ".join(channel.describe() for channel in desk.channels)
            note(f"watching {adv.store.uri}{of}; telling {where}")
            _go_on(adv, watcher, every, as_json=session.as_json)
        return 0


def _desk(adv: Advisor, settings: Settings, addresses: Sequence[str], experiment: str | None) -> Desk:
    """Return what decides what is told, and tells it."""
    from advisor.notify import open_channel
    from advisor.notify.desk import Desk, policy_of
    from advisor.watching import picture_of

    return Desk(
        adv.store,
        [open_channel(address) for address in addresses],
        policy=policy_of(settings),
        clock=adv.clock,
        experiments=None if experiment is None else {experiment},
        picture=lambda finding: picture_of(adv.store, finding),
    )


def _go_on(adv: Advisor, watcher: Watcher, every: float | None, *, as_json: bool) -> None:
    """Watch until a signal ends it, and say now and then that it lives."""
    from advisor.watching import EVERY_S

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: watcher.stop())
    last = -float("inf")
    for seen in watcher.watch(EVERY_S if every is None else every):
        _write_due(adv)
        if as_json:
            print_json(_as_json(seen))
        elif seen.time.timestamp() - last >= NOTE_EVERY_S:
            last = seen.time.timestamp()
            note(f"{seen.time.astimezone():%Y-%m-%d %H:%M} {_words(seen)}")


def _write_due(adv: Advisor) -> None:
    """Write the documents that are due; the next round tries again what cannot be written."""
    from storage.errors import StorageError

    try:
        for document in adv.write_due():
            note(f"{document.kind} written: {document.path}")
    except StorageError as error:
        note(str(error))


def _is_store(target: str) -> bool:
    """Return whether something is the address of a store rather than an experiment's name or another tool's place."""
    if "://" in target:
        from advisor.sources.registry import readers

        return not any(reader.find_address(target) for reader in readers())
    path = Path(target).expanduser()
    if any((path / part).exists() for part in ("migrations.lance", "spool")):
        return True
    return target.startswith((".", "~", os.sep)) and not path.exists()


def _holds_runs(session: Session, target: str) -> bool:
    """Return whether something is a place that another tool writes to rather than the name of an experiment.

    An experiment is often called like the folder that it came from; then both are watched, since all of the store is.
    """
    from advisor.sources.detect import detect
    from advisor.sources.registry import readers
    from storage.errors import ExperimentNotFoundError, StoreNotFoundError

    if "://" in target:
        return True
    if not Path(target).expanduser().exists():
        return False
    if detect(target, readers()).found:
        return True
    try:
        with session.open(notify=()) as adv:
            adv.experiment(target, create=False)
    except (ExperimentNotFoundError, StoreNotFoundError):
        return True
    return False


def _follower(adv: Advisor, target: str, how: dict[str, Any]) -> Follower:
    """Return what brings in what another tool writes; say what was found."""
    from advisor.cli.importing import tell_found
    from advisor.sources.following import Follower

    follower = Follower(adv, target, tell=note, **how)
    if follower.importer.detected.found:
        tell_found(target, follower.importer.detected)
    else:
        note(f"nothing is recognised in {target!r} yet; waiting for something to be written there")
    return follower


def _words(seen: Round) -> str:
    waiting = f", {count(seen.n_waiting, 'message')} waiting" if seen.n_waiting else ""
    return f"{count(seen.n_running, 'run')} going on, {count(seen.n_firing, 'alert')} firing{waiting}"


def _as_json(seen: Round) -> dict[str, Any]:
    return {
        "time": seen.time,
        "n_running": seen.n_running,
        "n_judged": seen.n_judged,
        "n_found": seen.n_found,
        "n_firing": seen.n_firing,
        "n_waiting": seen.n_waiting,
        "alerts": [
            alert.lead.as_json() | {"alert": str(alert.state), "fires_at": alert.fires_at} for alert in seen.alerts
        ],
    }


def _show(seen: Round, *, as_json: bool) -> None:
    if as_json:
        print_json(_as_json(seen))
        return
    if seen.alerts:
        columns = [
            Column("finding"),
            Column("state"),
            Column("severity"),
            Column("experiment"),
            Column("#", right=True),
        ]
        columns.append(Column("what", folds=True))
        rows: Sequence[Sequence[Any]] = [
            [a.lead.id[:8], a.state, a.lead.severity, a.run.experiment, a.run.number, a.lead.title] for a in seen.alerts
        ]
        print_table(columns, rows)
    say(f"{_words(seen)}; {count(seen.n_judged, 'run')} looked at")

"""``advisor store``: what the store holds, and its care."""

from __future__ import annotations

from dataclasses import asdict, fields
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from advisor.cli.output import count, note, print_json, print_pairs, progress, say, status
from advisor.cli.session import Session, command, remember

if TYPE_CHECKING:
    from storage.verify import Verified


def register(app: typer.Typer) -> None:
    """Add the family of commands."""
    family = typer.Typer(name="store", help="What the store holds, and its care.", rich_markup_mode="rich")
    family.callback(invoke_without_command=True)(remember)
    app.add_typer(family, rich_help_panel="Care")
    for function in (info, verify, compact, copy, merge, reindex):
        command(family, function.__name__)(function)


def info(session: Session) -> None:
    """Show what the store holds and how it is."""
    with session.open() as adv:
        found = adv.store.info()
    figures: dict[str, Any] = {field.name: getattr(found, field.name) for field in fields(found)}
    if session.as_json:
        print_json(figures)
        return
    say(f"store {found.uri}")
    figures["n_fragments"] = ", ".join(f"{name} {n}" for name, n in found.n_fragments.items())
    figures["spools"] = ", ".join(found.spools) or None
    del figures["uri"]
    print_pairs(None, {_WORDS[name]: value for name, value in figures.items()})


def verify(
    session: Session,
    repair: Annotated[
        bool, typer.Option("--repair/--no-repair", help="Build again what is derived, where it does not fit.")
    ] = True,
    step_back: Annotated[
        bool,
        typer.Option("--step-back", help="Take a table with missing files back to its newest complete version."),
    ] = False,
) -> int:
    """Look at every table, hash, curve, log and saved file; exit 1 if something is wrong and not repaired."""
    with session.open() as adv, status("looking at the store") as now:
        found = adv.store.verify(repair=repair, step_back=step_back, progress=now)
    if session.as_json:
        print_json(asdict(found) | {"ok": found.ok})
        return 0 if found.ok else 1
    for problem in found.problems:
        say(f"{problem.part}: {problem.where}: {problem.what}{' (repaired)' if problem.repaired else ''}")
    say(
        f"looked at {count(found.n_events, 'event')} of {count(found.n_writers, 'writer')}, "
        f"{count(found.n_checkpoints, 'checkpoint')}, {count(found.n_runs, 'run')}, "
        f"{count(found.n_curve_rows, 'piece')} of curves, {count(found.n_logs, 'waiting log')}, "
        f"{count(found.n_files, 'saved file')}: {_verdict(found)}"
    )
    return 0 if found.ok else 1


def compact(
    session: Session,
    grace_days: Annotated[
        float,
        typer.Option("--grace-days", min=0.0, metavar="N", help="Remove for good what was deleted before that."),
    ] = 30.0,
) -> None:
    """Merge small data files and pieces of curves; remove for good what was deleted long ago."""
    with session.open() as adv:
        purged = adv.store.compact(grace=timedelta(days=grace_days))
        fragments = dict(adv.store.info().n_fragments)
    if session.as_json:
        print_json({"n_fragments": fragments, "purged": asdict(purged)})
        return
    say(f"data files now: {', '.join(f'{name} {n}' for name, n in fragments.items())}")
    if purged.n_runs or purged.n_experiments:
        say(f"removed for good: {count(purged.n_runs, 'run')}, {count(purged.n_experiments, 'experiment')}")


def copy(
    session: Session,
    target: Annotated[
        str, typer.Argument(metavar="TARGET", help="A new folder, or an address such as s3://bucket/runs.")
    ],
) -> None:
    """Copy the whole store to another place, while it may be in use."""
    from advisor.config import resolve
    from storage.copying import copy_store

    given: dict[str, Any] = {} if session.store is None else {"store": session.store}
    source = resolve(**given).store
    with progress("copying") as advance:
        copied = copy_store(source, target, progress=advance)
    if session.as_json:
        print_json({"target": target, **asdict(copied)})
    else:
        say(f"{count(copied.n_files, 'file')}, {copied.n_bytes:,} bytes copied to {target}")


def merge(
    session: Session,
    other: Annotated[str, typer.Argument(metavar="OTHER", help="Folder or address of the store to take in.")],
) -> None:
    """Take another store's experiments and runs into this one; doing it again adds nothing."""
    from storage.copying import merge_store
    from storage.store import open_store

    with session.open() as adv, progress("taking in") as advance:
        merged = merge_store(adv.store, open_store(other, create=False), progress=advance)
    if session.as_json:
        print_json(asdict(merged))
        return
    for line in merged.notes:
        note(line)
    say(
        f"{count(merged.n_runs, 'run')} and {count(merged.n_experiments, 'experiment')} taken in, "
        f"{count(merged.n_events, 'event')}, {count(merged.n_points, 'value')} of curves, "
        f"{count(merged.n_files, 'file')}"
    )


def reindex(
    session: Session,
    embedder: Annotated[
        str | None, typer.Option("--embedder", metavar="NAME", help="A text encoder: name, folder, or 'hashing'.")
    ] = None,
    download: Annotated[bool, typer.Option("--download", help="The encoder may be fetched from the hub.")] = False,
) -> None:
    """Build the search index again, for instance after a better text encoder was installed."""
    from storage.embed import choose_embedder

    with session.open() as adv:
        chosen = choose_embedder(embedder or adv.settings.embedder, allow_download=download)
        with progress("reading runs") as advance:
            n_runs = adv.store.reindex(embedder=chosen, progress=advance)
    if session.as_json:
        print_json({"n_runs": n_runs, "encoder": chosen.identity})
    else:
        say(f"{count(n_runs, 'run')} indexed with {chosen.identity}")
    if embedder is not None and embedder != adv.settings.embedder:
        note(f"to keep it, set ADVISOR_EMBEDDER={embedder}, or embedder in advisor.toml")


def _verdict(found: Verified) -> str:
    if not found.problems:
        return "all is as it was written"
    n_left = sum(not problem.repaired for problem in found.problems)
    return f"{count(n_left, 'problem')} that cannot be repaired here" if n_left else "what was wrong is repaired"


_WORDS = {
    "schema_version": "version of the schema",
    "n_experiments": "experiments",
    "n_runs": "runs",
    "n_events": "events",
    "n_points": "values in curves",
    "n_indexed": "runs in the index",
    "n_embedded": "of these with a vector",
    "encoder": "text encoder",
    "n_fragments": "data files",
    "n_bytes": "bytes on disk",
    "spools": "waiting logs",
}

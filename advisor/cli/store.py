"""``advisor store``: what the store holds, and its care."""

from __future__ import annotations

from dataclasses import fields
from typing import Annotated, Any

import typer

from advisor.cli.output import note, print_json, print_pairs, progress, say
from advisor.cli.session import Session, command, remember


def register(app: typer.Typer) -> None:
    """Add the family of commands."""
    family = typer.Typer(name="store", help="What the store holds, and its care.", rich_markup_mode="rich")
    family.callback(invoke_without_command=True)(remember)
    app.add_typer(family, rich_help_panel="Care")

    @command(family, "info")
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

    @command(family, "compact")
    def compact(session: Session) -> None:
        """Merge small data files; changes nothing that is read."""
        with session.open() as adv:
            adv.store.compact()
            fragments = dict(adv.store.info().n_fragments)
        if session.as_json:
            print_json({"n_fragments": fragments})
        else:
            say(f"data files now: {', '.join(f'{name} {n}' for name, n in fragments.items())}")

    @command(family, "reindex")
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
            say(f"{n_runs} runs indexed with {chosen.identity}")
        if embedder is not None and embedder != adv.settings.embedder:
            note(f"to keep it, set ADVISOR_EMBEDDER={embedder}, or embedder in advisor.toml")


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
    "spools": "logs that wait",
}

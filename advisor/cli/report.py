"""``advisor report``: an experiment, or one of its runs, written down."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from advisor.cli.output import note, print_json, status
from advisor.cli.session import Session, command, find_run

if TYPE_CHECKING:
    from storage.records import Document

STDOUT = "-"


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(app, "report", panel="Look")
    def report(
        session: Session,
        experiment: Annotated[str, typer.Argument(metavar="EXP", help="Name of an experiment.")],
        run: Annotated[
            str | None, typer.Option("--run", metavar="RUN", help="Summarize this run: id, its beginning, or number.")
        ] = None,
        format: Annotated[
            Literal["md", "html"] | None,
            typer.Option("--format", help="Markdown, or HTML in one file. Default: what -o ends in, or md."),
        ] = None,
        output: Annotated[
            str | None,
            typer.Option("-o", "--output", metavar="PATH", help="File or folder; - prints the document itself."),
        ] = None,
        llm: Annotated[
            str | None,
            typer.Option("--llm", metavar="MODEL", help="A language model that writes sentences around the facts."),
        ] = None,
    ) -> None:
        """Write a report with figures, pictures and findings; prints the path of what it wrote."""
        from advisor.documents.configured import Listener

        write = output != STDOUT
        path = Path(output) if output is not None and write else None
        kind = format or ("html" if path is not None and path.suffix.lower() in (".html", ".htm") else "md")
        with session.open() as adv, status("writing") as now:
            exp = adv.experiment(experiment, create=False)
            listener = Listener(note, now if sys.stderr.isatty() else None)
            if run is None:
                document = exp.report(format=kind, llm=llm, path=path, write=write, listener=listener)
            else:
                one = exp.run(int(run)) if run.isdecimal() and len(run) < 8 else exp.run(find_run(adv, run).id)
                document = exp.summarize(one, format=kind, llm=llm, path=path, write=write, listener=listener)
        for line in document.notes:
            note(line)
        if not write and kind == "md":
            note("the pictures are left out; write to a file, or use --format html, which holds them")
        _tell(session, document)


def _tell(session: Session, document: Document) -> None:
    path = document.path
    if session.as_json:
        print_json(
            {"path": path, "title": document.title, "writer": document.writer, "facts_hash": document.facts_hash}
        )
    elif path is None:
        sys.stdout.write(document.text if document.text.endswith("\n") else f"{document.text}\n")
    else:
        sys.stdout.write(f"{path}\n")

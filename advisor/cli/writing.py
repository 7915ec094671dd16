"""What the commands that write documents share: their options, and how they say what they wrote."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from advisor.cli.output import note, print_json

if TYPE_CHECKING:
    from advisor.cli.session import Session
    from storage.records import Document

STDOUT: Final = "-"
_BY_SUFFIX: Final = {".html": "html", ".htm": "html", ".json": "json"}

FormatOption = Annotated[
    Literal["md", "html", "json"] | None,
    typer.Option("--format", help="Markdown, HTML in one file, or facts and sentences. Default: md, or as -o ends."),
]
OutputOption = Annotated[
    str | None,
    typer.Option("-o", "--output", metavar="PATH", help="File or folder; - prints the document itself."),
]
ModelOption = Annotated[
    str | None,
    typer.Option("--llm", metavar="MODEL", help="A language model that writes sentences around the facts."),
]


def chosen_format(format: str | None, output: str | None) -> str:
    """Return the format that was asked for, or that the file's name says."""
    if format is not None or output is None or output == STDOUT:
        return format or "md"
    return _BY_SUFFIX.get(Path(output).suffix.lower(), "md")


def chosen_path(output: str | None) -> Path | None:
    """Return where the document goes; None for the usual folder, and for stdout."""
    return None if output in (None, STDOUT) else Path(str(output))


def tell(session: Session, document: Document, output: str | None) -> None:
    """Say where a document is, or print it."""
    for line in document.notes:
        note(line)
    if output == STDOUT and document.format == "md":
        note("the pictures are left out; write to a file, or use --format html, which holds them")
    if session.as_json:
        keys = ("path", "kind", "title", "writer", "facts_hash", "version")
        print_json({"document_id": document.id} | {key: getattr(document, key) for key in keys})
    elif document.path is None:
        sys.stdout.write(document.text if document.text.endswith("\n") else f"{document.text}\n")
    else:
        sys.stdout.write(f"{document.path}\n")

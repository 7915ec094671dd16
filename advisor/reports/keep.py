"""Keep a document: as a file, and as an event with its text, so that it is found, counted and derived again.

Leaves out what is written. Invariant: the journal holds the text and the facts' hash of every document that was kept;
a document about the same thing is its next version.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from advisor.documents import Origin, Written
from storage.errors import StoreUnavailableError
from storage.records import Document, Event, new_id

if TYPE_CHECKING:
    from advisor.app import Advisor
    from storage.store import RunStore

MAX_KEPT: Final = 400_000
"""Characters of a text that the journal keeps; a longer one is cut, its file is whole."""
_SUFFIXES: Final = {"report": "", "run-summary": ""}
_FIELDS: Final = ("kind", "title", "format", "facts_hash", "writer", "path", "version")


def keep(
    adv: Advisor,
    written: Written,
    *,
    path: str | Path | None,
    write: bool,
    actor: str = "report",
    subject: str = "",
) -> Document:
    """Write a document down and return it.

    Parameters
    ----------
    path
        File or folder to write to; None for the folder of the setting ``reports``.
    write
        Whether to keep it at all; otherwise it is only returned.
    actor
        Who had it written, for the history.
    subject
        What the subject's records were when it was written, as a hash; for who asks whether it is due again.

    Raises
    ------
    StoreUnavailableError
        If the file or the event cannot be written.
    """
    origin = written.origin
    folder = adv.settings.reports if path is None else Path(path)
    target = _target(folder, f"{file_name(origin)}.{origin.format}")
    if write:
        _write(target, written)
    document = Document(
        origin.id or new_id(),
        experiment=origin.experiment,
        run_id=origin.run_id,
        kind=written.kind,
        title=written.title,
        format=origin.format,
        text=written.text,
        facts_hash=written.facts.hash,
        writer=written.writer,
        notes=written.notes,
        path=str(target) if write else None,
        time=adv.clock(),
        version=1 + sum(is_about(event.body, origin) for event in versions(adv.store, origin)) if write else 1,
    )
    if write:
        adv.store.append([_event(document, written, actor, subject)])
    return document


def versions(store: RunStore, origin: Origin) -> list[Event]:
    """Return the events of the documents that were kept of a kind about one experiment and run, the first one first."""
    return [
        event
        for event in kept_events(store)
        if event.run_id == origin.run_id
        and event.experiment == origin.experiment
        and event.body.get("kind") == origin.kind
    ]


def is_about(body: Mapping[str, Any], origin: Origin) -> bool:
    """Return whether a kept document is about the same thing, beside the experiment and run that its event names."""
    kept = body.get("origin")
    about = kept.get("about", {}) if isinstance(kept, Mapping) else {}
    return dict(about) == dict(origin.about)


def kept_documents(store: RunStore) -> list[Document]:
    """Return all documents that the journal keeps, the first one first; those of earlier versions without a text."""
    return [document_of(event) for event in kept_events(store)]


def kept_events(store: RunStore) -> list[Event]:
    """Return the events of all documents: of experiments that exist, and of the store as a whole."""
    state = store.state()
    known = {event.id for event in state.documents}
    return [each for each in state.of_kind("document.written") if each.id in known or not each.experiment]


def digest_of(text: str) -> str:
    """Return the SHA-256 of a text as a file holds it."""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def _event(document: Document, written: Written, actor: str, subject: str) -> Event:
    body: dict[str, Any] = {field: getattr(document, field) for field in _FIELDS}
    body |= {
        "document_id": document.id,
        "origin": {**written.origin.as_json(), "about": dict(written.origin.about)},
        "sha256": digest_of(written.text),
        "text": written.plain[:MAX_KEPT],
        "n_facts": len(written.facts),
    }
    if subject:
        body["subject"] = subject
    about = (document.experiment, document.run_id)
    return Event.new("document.written", *about, time=document.time, actor=actor, **body)


def document_of(event: Event) -> Document:
    """Return the document that an event tells of."""
    body = event.body
    return Document(
        str(body.get("document_id", event.id)),
        experiment=event.experiment,
        run_id=event.run_id,
        kind=str(body.get("kind", "report")),
        title=str(body.get("title", "")),
        format=str(body.get("format", "md")),
        text=str(body.get("text", "")),
        facts_hash=str(body.get("facts_hash", "")),
        writer=str(body.get("writer", "")),
        path=body.get("path"),
        time=event.time,
        version=int(body.get("version") or 1),
    )


def file_name(origin: Origin) -> str:
    """Return a name that is safe on every file system; text from runs never becomes a path."""
    parts: Sequence[str] = (
        origin.experiment,
        origin.run_id,
        *(str(origin.about[key]) for key in ("a", "b", "finding") if key in origin.about),
    )
    if origin.kind == "digest":
        parts = (origin.experiment, str(origin.about.get("since", ""))[:10])
    safe = [_safe(part, limit=40 if place else 80) for place, part in enumerate(parts) if part]
    name = "-".join(part for part in safe if part) or "experiment"
    suffix = _SUFFIXES.get(origin.kind, f"-{origin.kind}")
    return f"{name}{suffix}"


def _safe(text: str, *, limit: int) -> str:
    """Return a part of a file's name; one that is cut ends in a hash of the whole, so that names stay apart."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip(".-")
    return plain if len(plain) <= limit else f"{plain[: limit - 7]}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"


def _target(path: Path, name: str) -> Path:
    """Return the file to write: ``path`` itself, or a file in it where it is or looks like a folder."""
    return path / name if path.is_dir() or not path.suffix else path


def _write(path: Path, written: Written) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for picture, content in written.pictures.items():
            (path.parent / picture).parent.mkdir(parents=True, exist_ok=True)
            (path.parent / picture).write_bytes(content)
        path.write_bytes(written.text.encode("utf-8", "replace"))
    except OSError as error:
        raise StoreUnavailableError(f"cannot write the report {str(path)!r}: {error.strerror}") from error

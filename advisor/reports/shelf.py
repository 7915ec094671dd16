"""The documents that are kept, as a reader looks for them: by subject, the newest version first.

Leaves out writing and deriving. Invariant: documents are versions of one another if they are of one kind about the same
thing, however they were written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any

from advisor.documents import Origin, OriginError
from advisor.errors import ConfigError
from advisor.reports.keep import document_of, kept_events
from storage.errors import NothingCalledSoError, did_you_mean
from storage.records import Document, Event

if TYPE_CHECKING:
    from storage.store import RunStore

MIN_BEGINNING = 6
"""Characters from which the beginning of an id may stand for it."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A document, and what the journal keeps beside its text."""

    document: Document
    _: KW_ONLY
    origin: Origin | None
    """What it was written from; None where an early version did not say, or what it says cannot be read."""
    sha256: str
    """Of the file as it was written; empty where it is not kept."""
    n_facts: int
    actor: str
    """Who had it written."""

    @property
    def subject(self) -> tuple[Any, ...]:
        """What it is about; documents of one subject are versions of one another."""
        about = {} if self.origin is None else dict(self.origin.about)
        key = tuple(sorted((name, str(value)) for name, value in about.items()))
        return (self.document.kind, self.document.experiment, self.document.run_id, key)

    def origin_or_refuse(self) -> Origin:
        """Return what it was written from.

        Raises
        ------
        ConfigError
            If that is not kept.
        """
        if self.origin is None:
            raise ConfigError("the journal does not keep from what it was written; an early version wrote it")
        return self.origin


def shelf(store: RunStore, *, kind: str | None = None, experiment: str | None = None) -> list[tuple[Kept, ...]]:
    """Return the documents by subject, that with the newest first; of each subject the newest version first."""
    by_subject: dict[tuple[Any, ...], list[Kept]] = {}
    for event in reversed(kept_events(store)):
        one = kept_of(event)
        if kind in (None, one.document.kind) and experiment in (None, one.document.experiment):
            by_subject.setdefault(one.subject, []).append(one)
    return [tuple(group) for group in by_subject.values()]


def find_kept(store: RunStore, document_id: str) -> tuple[Kept, Sequence[Kept]]:
    """Return a document by its id or the beginning of it, and all versions of it, the newest first.

    Raises
    ------
    NothingCalledSoError
        If no document, or more than one, fits.
    """
    groups = shelf(store)
    everything = {one.document.id: (one, group) for group in groups for one in group}
    if document_id in everything:
        return everything[document_id]
    fitting = [each for each in everything if len(document_id) >= MIN_BEGINNING and each.startswith(document_id)]
    if len(fitting) == 1:
        return everything[fitting[0]]
    if fitting:
        raise NothingCalledSoError(f"{len(fitting)} documents begin with {document_id!r:.80}; give more of the id")
    raise NothingCalledSoError(
        f"there is no document {document_id!r:.80}; {did_you_mean(document_id, everything, show=3)}"
    )


def kept_of(event: Event) -> Kept:
    """Return the document that an event tells of, with what stands beside its text."""
    given = event.body.get("origin")
    try:
        origin = Origin.from_json(given) if isinstance(given, Mapping) else None
    except OriginError:
        origin = None
    n_facts = event.body.get("n_facts")
    return Kept(
        document_of(event),
        origin=origin,
        sha256=str(event.body.get("sha256") or ""),
        n_facts=n_facts if isinstance(n_facts, int) else 0,
        actor=event.actor,
    )

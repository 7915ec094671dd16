"""Is a text what the store says? A document of ours is derived again; of any other text the figures are looked up.

A figure that cites a fact (``0.2295 [run/3f2a…/objective]``) is held against that fact, any other one against what
the text calls it. Leaves out comparing (``documents.compared``), citations (``documents.citations``) and
finding figures in prose (``advisor.documents.prose``).
Invariant: a document of ours is right only if the same document, derived from the store at the commit that it names,
is the same text; and a figure of another text is called right or wrong only if the text says what it is a figure of.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from advisor.documents import Origin, OriginError, Written, write_document
from advisor.documents.compared import Difference, differences, n_figures
from advisor.documents.origin import is_intact, origin_of
from advisor.errors import AdvisorError, ConfigError
from advisor.reports.gather import gather
from advisor.reports.keep import MAX_KEPT, digest_of, kept_events
from advisor.reports.recognised import normal, recognised
from advisor.reports.write import viewed
from storage.errors import StorageError
from storage.events import read_time
from storage.past import PastStore

if TYPE_CHECKING:
    from advisor.app import Advisor
    from advisor.documents import FactSheet, Material
    from advisor.documents.citations import Cited
    from advisor.documents.prose import Told
    from advisor.reports.shelf import Kept

MAX_CHARS: Final = 20_000_000
"""Of a text that is read."""
IN_WORDS: Final = "numbers in words are not checked: write figures in digits"
"""What is always said of a text that is not ours."""
CANNOT_DERIVE: Final = (StorageError, AdvisorError, KeyError, ValueError, OverflowError)
"""What is raised where a document cannot be derived again: its origin comes from a file or a shared journal."""


@dataclass(frozen=True, slots=True)
class Verified:
    """What became of the figures of a text."""

    ok: bool
    """Whether nothing is wrong: for a document of ours, also that nothing could be left out of account."""
    _: KW_ONLY
    kind: str
    """The kind of document, or ``text`` for any other text."""
    n_figures: int
    failures: tuple[Difference, ...] = ()
    """What the store contradicts."""
    told: tuple[Told | Cited, ...] = ()
    """Of another text: each figure, what the store says of it, and from where; first those that cite a fact."""
    filled: str = ""
    """Of another text: itself with the placeholders filled in."""
    notes: tuple[str, ...] = ()

    def n(self, verdict: str) -> int:
        """Return how many figures of another text have a verdict: ``supported``, ``contradicted``, ``unknown``."""
        return sum(one.verdict == verdict for one in self.told)

    def as_json(self) -> dict[str, Any]:
        """Return the public form."""
        found: dict[str, Any] = {
            "ok": self.ok,
            "kind": self.kind,
            "n_figures": self.n_figures,
            "failures": [one.as_json() for one in self.failures],
            "notes": list(self.notes),
        }
        if self.kind == "text":
            found["figures"] = [one.as_json() for one in self.told]
            found |= {f"n_{word}": self.n(word) for word in ("supported", "contradicted", "unknown")}
        return found


def verify_file(adv: Advisor, path: Path) -> Verified:
    """Verify a file, the pictures beside it included.

    Raises
    ------
    ConfigError
        If it cannot be read as text.
    """
    try:
        text = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError:
        raise ConfigError(f"{str(path)!r} is no text in UTF-8; give a Markdown, HTML, JSON or text file") from None
    return verify_text(adv, text, folder=path.parent)


def verify_text(adv: Advisor, text: str, *, folder: Path | None = None) -> Verified:
    """Verify a text.

    Parameters
    ----------
    folder
        Where the pictures of a Markdown document lie; None passes over them.
    """
    if len(text) > MAX_CHARS:
        raise ConfigError(f"the text has {len(text):,} characters; at most {MAX_CHARS:,} are read")
    try:
        origin = origin_of(text)
    except OriginError as error:
        lost = Difference(0, written="", expected="", why=str(error))
        return Verified(False, kind="document", n_figures=n_figures(text), failures=(lost,))
    if origin is None:
        kept = recognised(adv.store, text)
        return _verify_prose(adv, text) if kept is None else _verify_known(adv, text, kept)
    return _verify_own(adv, text, origin, folder)


def sheet_again(adv: Advisor, origin: Origin) -> FactSheet:
    """Return the facts of the document of an origin, computed anew from the store as it was at its commit.

    Raises
    ------
    StorageError, AdvisorError
        If what it is about cannot be read.
    """
    from advisor.documents.kinds import kind_of

    material, _ = _material_again(adv, origin)
    return kind_of(material).facts(material)


def derive_again(adv: Advisor, origin: Origin) -> str:
    """Return the text of the document of an origin, written anew; see ``written_again``."""
    return written_again(adv, origin).text


def written_again(adv: Advisor, origin: Origin) -> Written:
    """Return the document of an origin, written anew from the store as it was at its commit.

    Raises
    ------
    StorageError, AdvisorError
        If what it is about cannot be read.
    """
    material, dated = _material_again(adv, origin)
    return write_document(_as_of(material, dated), format=origin.format, origin=origin, replay=True)


def _material_again(adv: Advisor, origin: Origin) -> tuple[Material, dict[str, Any]]:
    if origin.commit is None:
        raise ConfigError("the document does not say at which commit of the journal it was written")
    past = PastStore(adv.store, origin.commit, lengths=origin.lengths)
    material = gather(viewed(adv, past, _moment(origin)), origin)
    return material, {"store_uri": origin.store, "version": origin.advisor}


def verify_kept(adv: Advisor, kept: Kept) -> Verified:
    """Verify a document that the journal keeps: its text and its file, whose hash is kept, are derived again."""
    return _held_to_kept(adv, kept.document.text, kept)


def _held_to_kept(adv: Advisor, text: str, kept: Kept) -> Verified:
    """Hold a text against the document that the journal keeps, derived again."""
    document = kept.document
    found: list[Difference] = []
    notes: list[str] = []
    try:
        again = written_again(adv, kept.origin_or_refuse())
    except CANNOT_DERIVE as error:
        return Verified(
            False,
            kind=document.kind,
            n_figures=n_figures(text),
            notes=(f"the document cannot be derived again: {error}",),
        )
    if document.text:
        found.extend(differences(text, again.plain[:MAX_KEPT]))
    else:
        notes.append("the journal keeps no text of it; an early version wrote it")
    if not found and kept.sha256 not in ("", digest_of(again.text)):
        why = "the file that was written has another hash than the one that is derived"
        found.append(Difference(0, written="", expected="", why=why))
    return Verified(
        not found,
        kind=document.kind,
        n_figures=n_figures(text or again.plain),
        failures=tuple(found),
        notes=tuple(notes),
    )


def _verify_known(adv: Advisor, text: str, kept: Kept) -> Verified:
    """Hold a text without an origin against the kept document that it was recognised as."""
    same = normal(text) == normal(kept.document.text)
    whole = kept.document.text if same else _framed(normal(text), kept.document.text)
    found = _held_to_kept(adv, whole, kept)
    note = f"the text was recognised as the document {kept.document.id} that the journal keeps"
    return replace(found, notes=(note, *found.notes))


def _framed(text: str, like: str) -> str:
    """Return a text with the blanks around it that a kept one has: they say nothing."""
    return like[: len(like) - len(like.lstrip())] + text + like[len(like.rstrip()) :]


def _verify_own(adv: Advisor, text: str, origin: Origin, folder: Path | None) -> Verified:
    found: list[Difference] = []
    notes: list[str] = []
    try:
        derived = derive_again(adv, origin)
        found.extend(differences(text, derived))
    except CANNOT_DERIVE as error:
        notes.append(f"the document cannot be derived again: {error}")
    if not is_intact(text):
        why = "the file is not the one that was written: its seal is broken"
        found.append(Difference(0, written="", expected="", why=why))
    found.extend(_against_kept(adv, text, origin, notes))
    if folder is not None:
        found.extend(_pictures(origin, folder, notes))
    ok = not found and not any(note.startswith("the document cannot") for note in notes)
    return Verified(ok, kind=origin.kind, n_figures=n_figures(text), failures=tuple(found), notes=tuple(notes))


def _against_kept(adv: Advisor, text: str, origin: Origin, notes: list[str]) -> Sequence[Difference]:
    """Hold a text against the hash that the journal kept when it was written."""
    if not origin.id:
        return ()
    kept = [event for event in kept_events(adv.store) if event.body.get("document_id") == origin.id]
    if not kept:
        notes.append("the journal keeps no document of this id; it may have been written from a copy of the store")
        return ()
    if kept[0].body.get("sha256") in (None, digest_of(text)):
        return ()
    return (Difference(0, written="", expected="", why="the journal keeps another text of this document"),)


def _pictures(origin: Origin, folder: Path, notes: list[str]) -> list[Difference]:
    found = []
    absent = 0
    for name, expected in origin.pictures.items():
        path = folder / name
        if ".." in Path(name).parts or Path(name).is_absolute() or not path.is_file():
            absent += 1
        elif hashlib.sha256(path.read_bytes()).hexdigest() != expected:
            found.append(Difference(0, written=name, expected="", why="the picture is not the one that was drawn"))
    if absent:
        notes.append(f"{absent} of {len(origin.pictures)} pictures do not lie beside the file and were not looked at")
    return found


def _verify_prose(adv: Advisor, text: str) -> Verified:
    """Look up what a text cites, and then every figure that it does not cite."""
    from advisor.documents import citations
    from advisor.documents.cited_sentences import checked
    from advisor.documents.prose import told_of
    from advisor.documents.prose_words import says_number
    from advisor.reports.addressed import Resolver

    found = citations.read(text, Resolver(adv))
    others = told_of(adv.store, found.rest) if says_number(found.rest) else ()
    told: tuple[Told | Cited, ...] = (*checked(adv.store, found), *others)
    wrong = tuple(
        Difference(one.line, written=one.written, expected=one.expected, why=one.why)
        for one in told
        if one.verdict == "contradicted"
    )
    notes = (IN_WORDS,) if told else ("the text holds no figure", IN_WORDS)
    return Verified(
        not wrong, kind="text", n_figures=len(told), failures=wrong, told=told, notes=notes, filled=found.filled
    )


def _moment(origin: Origin) -> datetime:
    try:
        moment = read_time(origin.generated)
    except ValueError:
        moment = None
    if moment is None:
        raise ConfigError(f"the document's time {origin.generated!r:.40} is not understood")
    return moment


def _as_of(material: Any, dated: dict[str, Any]) -> Any:
    """Return a material as if it had been read under the address, and by the version, that the document names."""
    inner = getattr(material, "of", None)
    return replace(material, **dated) if inner is None else replace(material, of=replace(inner, **dated))

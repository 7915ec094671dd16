"""From a subject to a kept document: reads at one commit, has it written, keeps it.

Leaves out what is read (``gather``), and the writing itself (``advisor.documents``). Invariant: all that a document is
written from was read at one commit of the journal, which the document names.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from advisor.documents import FORMATS, LanguageModel, Material, Origin, Written, write_document
from advisor.errors import ConfigError
from advisor.reports.gather import gather
from advisor.reports.keep import keep
from storage.past import PastStore
from storage.records import Document, new_id

if TYPE_CHECKING:
    from datetime import datetime

    from advisor.app import Advisor
    from advisor.documents.configured import Listener

MOVES: int = 3
"""How often the reading begins anew because the journal grew meanwhile, before the past is folded for it."""


def write(
    adv: Advisor,
    subject: Origin,
    *,
    format: str,
    llm: str | None,
    path: str | Path | None,
    write: bool,
    listener: Listener | None = None,
) -> Document:
    """Write the document about a subject and keep it, unless ``write`` is false.

    Raises
    ------
    ConfigError
        If the format is unknown.
    StorageError
        If the subject is not in the store, or the document cannot be written.
    """
    check_format(format)
    written = written_now(adv, replace(subject, format=format), model=model_of(adv, llm, listener), kept=write)
    return keep(adv, written, path=path, write=write)


def written_now(adv: Advisor, subject: Origin, *, model: LanguageModel | None, kept: bool = True) -> Written:
    """Return the document about a subject as the store is now, not kept anywhere."""
    now = adv.clock()
    material, origin = _read(adv, replace(subject, id=new_id() if kept else ""), now)
    return write_document(material, format=subject.format, model=model, origin=origin)


def check_format(format: str) -> None:
    """Refuse a format that there is not."""
    if format not in FORMATS:
        allowed = f"{', '.join(map(repr, FORMATS[:-1]))} and {FORMATS[-1]!r}"
        raise ConfigError(f"format {format!r} is unknown; allowed are {allowed}")


def viewed(adv: Advisor, past: PastStore, moment: datetime) -> Advisor:
    """Return an advisor that sees a store as it was, at a moment; it writes nothing and sends nothing."""
    return type(adv)(past, replace(adv.settings, notify=()), clock=lambda: moment)


def _read(adv: Advisor, subject: Origin, now: datetime) -> tuple[Material, Origin]:
    store = adv.store
    for _ in range(MOVES):
        past = PastStore(store, store.state().version)
        material = gather(viewed(adv, past, now), subject)
        if store.state().version == past.version:
            break
    else:  # others write all the time: read what was there before they did
        past.stand()
        material = gather(viewed(adv, past, now), subject)
    return material, replace(subject, commit=past.version, lengths=past.lengths)


def model_of(adv: Advisor, llm: str | None, listener: Listener | None = None) -> LanguageModel | None:
    """Return the language model of a name, or of the settings; None where neither names one."""
    from advisor.documents.configured import configured_model

    return configured_model(adv.settings, name=llm, clock=adv.clock, listener=listener)

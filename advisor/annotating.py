"""Write on runs, whoever trained them and whether or not they are over: notes, and the set of tags.

Invariant: what is given is redacted first; a tag that is taken away is named in the event, so the history says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from advisor.errors import ConfigError
from advisor.redact import scrub
from storage.records import Event, Run

if TYPE_CHECKING:
    from storage.store import RunStore


def add_note(store: RunStore, run: Run, text: str, *, now: datetime) -> Run:
    """Add a note to a run; return it as it is then.

    Raises
    ------
    ConfigError
        If the note says nothing.
    """
    if not text.strip():
        raise ConfigError("a note needs a text")
    store.append([Event.new("run.noted", run.experiment, run.id, time=now, actor="person", text=scrub(text.strip()))])
    return store.run(run.id)


def set_tags(store: RunStore, run: Run, tags: Sequence[str], *, now: datetime) -> Run:
    """Give a run these tags and no others; return it as it is then.

    Raises
    ------
    ConfigError
        If a tag is empty.
    """
    if any(not tag.strip() for tag in tags):
        raise ConfigError("a tag needs at least one character; leave empty ones out")
    wanted = list(dict.fromkeys(scrub(tag.strip()) for tag in tags))
    new = [tag for tag in wanted if tag not in run.tags]
    gone = [tag for tag in run.tags if tag not in wanted]
    if new or gone:
        body = {"tags": new} | ({"removed": gone} if gone else {})
        store.append([Event.new("run.tagged", run.experiment, run.id, time=now, actor="person", **body)])
    return store.run(run.id)

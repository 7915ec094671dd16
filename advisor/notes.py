"""What people say of a run after the fact: notes and tags, as events.

A training says them itself through ``LiveRun``. Leaves out finding the run. Invariant: what is said holds no secret, is
bounded, and changes nothing else of the run.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from advisor.errors import ConfigError
from advisor.redact import scrub
from storage.records import Event, Run, valid_text

if TYPE_CHECKING:
    from storage.store import RunStore

PERSON: Final = "person"
"""Who says it: nothing in the program does so by itself."""
NOTE_MAX_CHARS: Final = 100_000
TAG_MAX_CHARS: Final = 200
MAX_TAGS: Final = 100
"""Tags that are given at once."""


def note(store: RunStore, run: Run, text: str, *, now: datetime) -> Run:
    """Add a note; see ``Experiment.note``."""
    said = valid_text(scrub(text.strip()))[:NOTE_MAX_CHARS]
    if not said:
        raise ConfigError("a note needs some words")
    return _say(store, run, "run.noted", now, text=said)


def tag(store: RunStore, run: Run, tags: Sequence[str], *, now: datetime) -> Run:
    """Add tags; see ``Experiment.tag``."""
    new = [each for each in clean(tags) if each not in run.tags]
    return _say(store, run, "run.tagged", now, tags=new) if new else run


def untag(store: RunStore, run: Run, tags: Sequence[str], *, now: datetime) -> Run:
    """Take tags off; see ``Experiment.untag``."""
    gone = [each for each in dict.fromkeys(tags) if each in run.tags]
    return _say(store, run, "run.untagged", now, tags=gone) if gone else run


def clean(tags: Sequence[str]) -> list[str]:
    """Return tags on one line each, without secrets and repetitions.

    Raises
    ------
    ConfigError
        If one is empty or too long, or there are too many.
    """
    out = list(dict.fromkeys(valid_text(scrub(" ".join(each.split()))) for each in tags))
    if len(out) > MAX_TAGS:
        raise ConfigError(f"{len(out)} tags are too many to give at once; at most {MAX_TAGS} are taken")
    for each in out:
        if not each or len(each) > TAG_MAX_CHARS:
            raise ConfigError(f"a tag has 1 to {TAG_MAX_CHARS} characters, not {len(each)}: {each!r:.60}")
    return out


def _say(store: RunStore, run: Run, kind: str, now: datetime, **body: Any) -> Run:
    store.append([Event.new(kind, run.experiment, run.id, time=now, actor=PERSON, **body)])
    return store.run(run.id)

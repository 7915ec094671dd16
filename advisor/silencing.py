"""Acknowledge and mute: what people say to alerts, as events of the journal.

An acknowledged finding is seen by a person: nothing more is said of it until it is gone and comes back. What is muted
is not told while the mute holds; a mute of a code, a run or an experiment also holds for what is found later.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from weakref import WeakKeyDictionary

from advisor.errors import ConfigError
from advisor.findings.alerts import ALERT_EVENTS, Book, Mute, Queued, Scope, Seen
from advisor.findings.codes import CODES
from advisor.references import find, find_finding
from storage.errors import RecordError, StorageError, did_you_mean
from storage.provenance import PURGED
from storage.records import Event, FindingState, Run
from storage.store import RunStore

ID_FROM: Final = 4
"""Digits of an id that may stand for it."""


@dataclass(frozen=True, slots=True)
class Silenced:
    """What was acknowledged or muted."""

    scope: Scope
    target: str
    until: datetime | None
    words: str
    """What it is, for people."""


@dataclass(slots=True)
class _Kept:
    """The book of a store as it was read last."""

    version: int = -1
    """Commit up to which it was read."""
    book: Book = field(default_factory=Book)
    lock: threading.Lock = field(default_factory=threading.Lock)


_KEPT: WeakKeyDictionary[RunStore, _Kept] = WeakKeyDictionary()
_KEEPING: Final = threading.Lock()


def read_book(store: RunStore) -> Book:
    """Return the book of alerts as it is now; it belongs to who asked.

    Only events that came since the last time are read: with thousands of findings all of them take 0.3 s.
    """
    with _KEEPING:
        kept = _KEPT.setdefault(store, _Kept())
    with kept.lock:
        version = store.state().version
        if version < kept.version:  # another history, as after a back-up was brought back
            kept.version, kept.book = -1, Book()
        if version > kept.version:
            events = store.journal(kinds=ALERT_EVENTS | {PURGED}, after=max(kept.version, 0))
            if kept.version >= 0 and any(event.kind == PURGED for event in events):
                events, kept.book = store.journal(kinds=ALERT_EVENTS), Book()
            kept.book.fold(events)
            kept.version = version
        return kept.book.copy()


def acknowledge(store: RunStore, references: Sequence[str], *, now: datetime, until: datetime | None) -> list[Silenced]:
    """Acknowledge findings, until they are gone, or only for a time.

    Parameters
    ----------
    references
        Each a finding or a message (its id or the beginning of it), ``RUN:CODE``, or a run, which stands for its open
        findings.
    until
        None until they are gone.

    Raises
    ------
    StorageError
        If nothing, or more than one thing, is called so.
    """
    book = read_book(store)
    found: dict[str, Seen] = {}
    for reference in references:
        found |= {seen.finding.id: seen for seen in _meant(store, book, reference)}
    events = []
    for seen in found.values():
        finding = seen.finding
        run = store.state().entry(finding.run_id)
        experiment = finding.experiment if run is None else run.run.experiment
        if until is not None:
            body = {"scope": "finding", "target": finding.id, "until": until.isoformat()}
            events.append(Event.new("alert.muted", experiment, time=now, actor="person", **body))
        elif seen.state is FindingState.OPEN:
            body = {"finding_id": finding.id, "state": str(FindingState.ACKNOWLEDGED)}
            events.append(Event.new("finding.state", experiment, finding.run_id, time=now, actor="person", **body))
    store.append(events)
    return [Silenced("finding", seen.finding.id, until, seen.finding.title) for seen in found.values()]


def mute(
    store: RunStore, references: Sequence[str], *, now: datetime, until: datetime | None, reason: str = ""
) -> list[Silenced]:
    """Mute codes, experiments and runs, for good where ``until`` is None.

    Raises
    ------
    ConfigError, StorageError
        If nothing is called so.
    """
    targets = [_target(store, reference) for reference in references]
    events = []
    for scope, target, experiment in targets:
        body = {"scope": scope, "target": target, "until": None if until is None else until.isoformat()}
        body |= {"reason": reason} if reason else {}
        events.append(Event.new("alert.muted", experiment, time=now, actor="person", **body))
    store.append(events)
    return [Silenced(scope, target, until, f"{scope} {target}") for scope, target, _ in targets]


def unmute(store: RunStore, references: Sequence[str], *, now: datetime) -> list[Silenced]:
    """End mutes.

    Raises
    ------
    RecordError
        If something is not muted.
    """
    active = mutes(store, now=now)
    ended: list[Mute] = []
    for reference in references:
        fitting = [one for one in active if reference in (one.target, _called(store, one))]
        fitting = fitting or [
            one
            for one in active
            if one.scope in ("finding", "run") and len(reference) >= ID_FROM and one.target.startswith(reference)
        ]
        if not fitting:
            known = did_you_mean(reference, [one.target for one in active], show=5)
            raise RecordError(f"nothing that is muted is called {reference!r}; {known}")
        ended += fitting
    store.append(
        [
            Event.new("alert.unmuted", "", time=now, actor="person", scope=one.scope, target=one.target)
            for one in dict.fromkeys(ended)
        ]
    )
    return [Silenced(one.scope, one.target, None, f"{one.scope} {one.target}") for one in dict.fromkeys(ended)]


def mutes(store: RunStore, *, now: datetime) -> list[Mute]:
    """Return the mutes that hold."""
    return read_book(store).active_mutes(now)


def _meant(store: RunStore, book: Book, reference: str) -> list[Seen]:
    """Return the findings that a reference stands for."""
    if len(reference) >= ID_FROM:
        messages = {message.id: message for message in book.message(reference)}
        findings = {key: seen for key, seen in book.findings.items() if key.startswith(reference)}
        if len(messages) + len(findings) > 1:
            n = len(messages) + len(findings)
            raise RecordError(f"{n} findings and messages begin with {reference!r}; give more of the id")
        if messages or findings:
            return [*_of_messages(book, messages.values()), *findings.values()]
    if ":" in reference:  # RUN:CODE, as a verdict takes it
        named = find_finding(store, reference)
        return [book.findings[named.id]] if named.id in book.findings else []
    try:
        run = find(store, reference)
    except StorageError as error:
        raise RecordError(
            f"no finding, message or run is called {reference!r}; a message says what to acknowledge, "
            "and 'advisor check --json' lists findings"
        ) from error
    if not isinstance(run, Run):
        raise RecordError(f"{reference!r} is an experiment; 'advisor mute {reference}' silences all of it")
    found = [seen for seen in book.by_run.get(run.id, {}).values() if seen.state is FindingState.OPEN]
    if not found:
        raise RecordError(f"run {run.id!r} has no open finding")
    return found


def _of_messages(book: Book, messages: Iterable[Queued]) -> list[Seen]:
    ids = [finding_id for message in messages for finding_id in message.finding_ids]
    return [book.findings[finding_id] for finding_id in ids if finding_id in book.findings]


def _target(store: RunStore, reference: str) -> tuple[Scope, str, str]:
    """Return scope, target and experiment of what is to be muted; an experiment's name comes first."""
    if reference not in store.state().experiments:
        for code in CODES.values():
            if reference.upper() == code.code or reference.lower() == code.slug:
                return ("code", code.code, "")
    try:
        found = find(store, reference)
    except StorageError as error:
        names = [*CODES, *(code.slug for code in CODES.values()), *store.state().experiments]
        known = did_you_mean(reference, names, show=3)
        raise ConfigError(f"no code, experiment or run is called {reference!r}; {known}") from error
    if isinstance(found, Run):
        return ("run", found.id, found.experiment)
    return ("experiment", found.name, found.name)


def _called(store: RunStore, one: Mute) -> str:
    """Return what people call the target of a mute."""
    if one.scope == "code" and one.target in CODES:
        return CODES[one.target].slug
    entry = store.state().entry(one.target) if one.scope == "run" else None
    return one.target if entry is None else f"{entry.run.experiment}#{entry.run.number}"

"""Acknowledge, mute and judge: what people say to alerts, as events of the journal.

An acknowledged finding is seen by a person: nothing more is said of it until it is gone and comes back. What is muted
is not told while the mute holds; a mute of a code, a run or an experiment also holds for what is found later.

Commands read the book of alerts once (``read_book``); a process that lives keeps one current (``LiveBook``).
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from advisor.errors import ConfigError
from advisor.findings.alerts import ALERT_EVENTS, SCOPES, Book, Mute, Queued, Scope, Seen
from advisor.findings.codes import CODES
from advisor.redact import scrub
from advisor.references import find, find_finding
from storage.errors import NothingCalledSoError, RecordError, StorageError, did_you_mean
from storage.records import Event, Finding, FindingState, Run, Verdict
from storage.store import RunStore

ID_FROM: Final = 4
"""Digits of an id that may stand for it."""
PURGED: Final = "store.purged"
"""After an event of this kind a book may hold what is gone for good: it is read anew."""
MOVED: Final = "run.moved"


@dataclass(frozen=True, slots=True)
class Silenced:
    """What was acknowledged or muted."""

    scope: Scope
    target: str
    until: datetime | None
    words: str
    """What it is, for people."""


def read_book(store: RunStore) -> Book:
    """Return the book of alerts as it is now."""
    book = Book()
    book.fold(store.journal(kinds=ALERT_EVENTS))
    return book


class LiveBook:
    """A book of alerts that is kept current: the whole journal is read once, then only what came since.

    Threads may share it. The book belongs to whoever is in ``reading``, and must not be kept beyond.
    """

    def __init__(self, store: RunStore) -> None:
        self._store = store
        self.moved: dict[str, str] = {}
        """Experiments, as they were called then, to which runs were moved, by run id; findings name the first one."""
        self._book = Book()
        self._reached = 0
        self._lock = threading.RLock()

    @contextmanager
    def reading(self) -> Iterator[Book]:
        """Give the book as it is now; others wait meanwhile, so be quick."""
        with self._lock:
            version = self._store.state().version
            if version != self._reached:
                self._catch_up(version)
            yield self._book

    def _catch_up(self, version: int) -> None:
        wanted = ALERT_EVENTS | {PURGED, MOVED}
        events = self._store.journal(after=self._reached, kinds=wanted) if version > self._reached else []
        if version < self._reached or (self._reached and any(event.kind == PURGED for event in events)):
            self._book, self.moved, events = Book(), {}, self._store.journal(kinds=wanted)
        self._book.fold(events)  # what was committed after the version comes again, and counts once
        self.moved |= {event.run_id: str(event.body.get("to")) for event in events if event.kind == MOVED}
        self._reached = version


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
    return acknowledge_seen(store, list(found.values()), now=now, until=until)


def acknowledge_seen(
    store: RunStore, found: Sequence[Seen], *, now: datetime, until: datetime | None
) -> list[Silenced]:
    """Acknowledge findings of a book, as ``acknowledge`` does, in one commit."""
    events = []
    for seen in found:
        finding = seen.finding
        if until is not None:
            body = {"scope": "finding", "target": finding.id, "until": until.isoformat()}
            events.append(Event.new("alert.muted", _home(store, finding), time=now, actor="person", **body))
        elif seen.state is FindingState.OPEN:
            events.append(_becomes(store, finding, FindingState.ACKNOWLEDGED, now))
    store.append(events)
    return [Silenced("finding", seen.finding.id, until, seen.finding.title) for seen in found]


def reopen(store: RunStore, references: Sequence[str], *, now: datetime) -> list[Silenced]:
    """Take back that findings were acknowledged; a run stands for its acknowledged ones, else as ``acknowledge``.

    Raises
    ------
    StorageError
        If nothing, or more than one thing, is called so.
    """
    book = read_book(store)
    found: dict[str, Seen] = {}
    for reference in references:
        meant = _meant(store, book, reference, state=FindingState.ACKNOWLEDGED)
        found |= {seen.finding.id: seen for seen in meant}
    return reopen_seen(store, list(found.values()), now=now)


def reopen_seen(store: RunStore, found: Sequence[Seen], *, now: datetime) -> list[Silenced]:
    """Take back acknowledgements: the findings are open again."""
    again = [seen for seen in found if seen.state is FindingState.ACKNOWLEDGED]
    store.append([_becomes(store, seen.finding, FindingState.OPEN, now) for seen in again])
    return [Silenced("finding", seen.finding.id, None, seen.finding.title) for seen in again]


def judge(store: RunStore, found: Sequence[Finding], verdict: Verdict, *, note: str = "", now: datetime) -> None:
    """Say of findings whether they were right, see ``Experiment.verdict``, in one commit."""
    events = []
    for finding in found:
        body = {"finding_id": finding.id, "verdict": verdict} | ({"note": scrub(note)} if note else {})
        home = _home(store, finding)
        events.append(Event.new("finding.judged", home, finding.run_id, time=now, actor="person", **body))
    store.append(events)


def _becomes(store: RunStore, finding: Finding, state: FindingState, now: datetime) -> Event:
    body = {"finding_id": finding.id, "state": str(state)}
    return Event.new("finding.state", _home(store, finding), finding.run_id, time=now, actor="person", **body)


def _home(store: RunStore, finding: Finding) -> str:
    """Return the name of the experiment that a finding's run is in now."""
    entry = store.state().entry(finding.run_id)
    return finding.experiment if entry is None else entry.run.experiment


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
    return _mute(store, targets, now=now, until=until, reason=reason)


def mute_exactly(
    store: RunStore, targets: Sequence[tuple[Scope, str]], *, now: datetime, until: datetime | None, reason: str = ""
) -> list[Silenced]:
    """Mute what is named without a doubt: a scope, and the full id, name or code.

    Raises
    ------
    RecordError
        If there is nothing of that name.
    """
    known = {"code": CODES, "experiment": store.state().experiments}
    placed: list[tuple[Scope, str, str]] = []
    for scope, target in targets:
        entry = store.state().entry(target) if scope == "run" else None
        if scope not in SCOPES or (entry is None if scope == "run" else target not in known.get(scope, {target})):
            raise RecordError(f"there is no {scope} {target!r:.100} that could be muted; it may be gone meanwhile")
        home = target if scope == "experiment" else entry.run.experiment if entry is not None else ""
        placed.append((scope, target, home))
    return _mute(store, placed, now=now, until=until, reason=reason)


def _mute(
    store: RunStore,
    targets: Sequence[tuple[Scope, str, str]],
    *,
    now: datetime,
    until: datetime | None,
    reason: str,
) -> list[Silenced]:
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
            raise NothingCalledSoError(f"nothing that is muted is called {reference!r}; {known}")
        ended += fitting
    return unmute_exactly(store, [(one.scope, one.target) for one in dict.fromkeys(ended)], now=now)


def unmute_exactly(store: RunStore, targets: Sequence[tuple[Scope, str]], *, now: datetime) -> list[Silenced]:
    """End mutes that are named by scope and target; what is not muted stays so."""
    store.append(
        [
            Event.new("alert.unmuted", "", time=now, actor="person", scope=scope, target=target)
            for scope, target in targets
        ]
    )
    return [Silenced(scope, target, None, f"{scope} {target}") for scope, target in targets]


def mutes(store: RunStore, *, now: datetime) -> list[Mute]:
    """Return the mutes that hold."""
    return read_book(store).active_mutes(now)


def _meant(store: RunStore, book: Book, reference: str, *, state: FindingState = FindingState.OPEN) -> list[Seen]:
    """Return the findings that a reference stands for; of a run those in a state."""
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
        raise NothingCalledSoError(
            f"no finding, message or run is called {reference!r}; a message says what to acknowledge, "
            "and 'advisor check --json' lists findings"
        ) from error
    if not isinstance(run, Run):
        raise RecordError(f"{reference!r} is an experiment; 'advisor mute {reference}' silences all of it")
    found = [seen for seen in book.by_run.get(run.id, {}).values() if seen.state is state]
    if not found:
        raise RecordError(f"run {run.id!r} has no {state} finding")
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

"""What the journal says of alerts: which are open, what each channel was told, what waits to be delivered.

A fold of events, like the state of the store: it asks no clock and writes nothing. An alert is the trouble of one run
that one detector sees in one curve; what is said of it, and when, is decided in ``advisor.findings.alerting``.

Several processes may watch one store. A message counts only if, at its place in the journal, nothing was said to its
channel of any of its alerts beyond what its writer knew; so the order of the journal decides, no lock does.

Invariant: the same events give the same book, whoever folds them and however often he was killed in between.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final, Literal

from advisor.findings import codes
from storage.events import finding_in, read_time
from storage.records import Event, Finding, FindingState, Severity

log = logging.getLogger(__name__)

CLEAR_AFTER_S: Final = 120.0
"""A finding that comes back within this time was never gone: a value that flutters about a threshold is one trouble."""
FIRST_RETRY_S: Final = 5.0
"""Pause after a channel's first failure; each further one is twice as long."""
MAX_RETRY_S: Final = 300.0
"""Longest pause: the return of a channel is noticed within 5 minutes, and a day without it costs some 300 tries."""
REFUSALS_AT_MOST: Final = 3
"""Tries of a message that the channel refuses for good, before the next one gets its turn."""
FINAL_CODES: Final = frozenset({codes.CRASHED.code, codes.FAILED.code})
"""A run that is over is graver news than whatever went wrong on the way."""

AlertKey = tuple[str, str, str]
"""Run, detector, curve (empty where the trouble is in none)."""
Scope = Literal["finding", "run", "experiment", "code"]
SCOPES: Final[tuple[Scope, ...]] = ("finding", "run", "experiment", "code")
MessageKind = Literal["firing", "repeat", "digest"]


class DeliveryState(StrEnum):
    """Where a message is on its way through one channel."""

    WAITING = "waiting"
    """Written down; not tried, or tried in vain."""
    SENDING = "sending"
    """Somebody is sending it, or died while sending: whether it arrived is not known."""
    SENT = "sent"
    """The channel took it."""
    DROPPED = "dropped"
    """The channel refused it for good, several times."""


def key_of(finding: Finding) -> AlertKey:
    """Return the alert that a finding belongs to."""
    return (finding.run_id, finding.detector, finding.metric or "")


def gravity(severity: Severity, code: str) -> int:
    """Return how grave a finding is; a channel that was told of an alert is told again when it gets graver."""
    return 2 * severity.rank + (code in FINAL_CODES)


@dataclass(slots=True)
class Seen:
    """One finding through time."""

    finding: Finding
    """As it was said last."""
    state: FindingState
    since: datetime
    """When the present episode began."""
    open_since: datetime
    """Since when it has been open without a break."""
    changed: datetime
    """When it was last opened or closed."""
    episode: int = 1
    """How often it has come, breaks shorter than ``CLEAR_AFTER_S`` not counted."""
    is_false_alarm: bool = False
    """Whether somebody judged it so; then nothing opens it again but another verdict."""


@dataclass(slots=True)
class Told:
    """What one channel was told of one alert."""

    n: int = 0
    """Messages in which it was named."""
    last: datetime | None = None
    gravity: int = -1
    """The gravest that was told."""
    episodes: dict[str, int] = field(default_factory=dict)
    """Episode of each finding that was told, by finding id."""


@dataclass(slots=True)
class Queued:
    """One message for one channel."""

    id: str
    """Also its key for receivers that drop repetitions."""
    channel: str
    kind: MessageKind
    experiment: str
    code: str
    time: datetime
    """When it was written down."""
    alerts: tuple[Mapping[str, Any], ...]
    message: Mapping[str, Any]
    """What is to be sent, as JSON."""
    state: DeliveryState = DeliveryState.WAITING
    n_tries: int = 0
    n_refusals: int = 0
    doubtful: bool = False
    """Whether an earlier try may have arrived."""
    sent: datetime | None = None

    @property
    def is_open(self) -> bool:
        """Whether it still has to be delivered."""
        return self.state in (DeliveryState.WAITING, DeliveryState.SENDING)

    @property
    def run_ids(self) -> set[str]:
        """Runs that it speaks of."""
        return {str(alert["key"][0]) for alert in self.alerts}

    @property
    def finding_ids(self) -> list[str]:
        """Findings that it speaks of."""
        return [str(alert["finding_id"]) for alert in self.alerts]


@dataclass(slots=True)
class Line:
    """One channel: its messages in their order, and how it has behaved."""

    told: dict[AlertKey, Told] = field(default_factory=dict)
    messages: dict[str, Queued] = field(default_factory=dict)
    n_failed: int = 0
    """Failures since it last took a message."""
    not_before: datetime | None = None
    """When it may be tried again."""
    asked_for: bool = False
    """Whether that is the receiver's own wish."""

    def waiting(self) -> list[Queued]:
        """Return what is still to be delivered, in order."""
        return [message for message in self.messages.values() if message.is_open]


@dataclass(frozen=True, slots=True)
class Mute:
    """Something that nobody wants to hear of."""

    scope: Scope
    target: str
    """Id of a finding or a run, name of an experiment, or a code."""
    until: datetime | None
    """None for good."""
    reason: str = ""

    def holds(self, now: datetime) -> bool:
        """Return whether it still holds."""
        return self.until is None or now < self.until


class Book:
    """The fold of all alert events so far."""

    def __init__(self, *, clear_after_s: float = CLEAR_AFTER_S) -> None:
        self.findings: dict[str, Seen] = {}
        self.by_run: dict[str, dict[str, Seen]] = {}
        """Findings by run, then by id."""
        self.lines: dict[str, Line] = {}
        """What each channel was told, by channel id."""
        self.mutes: dict[tuple[str, str], Mute] = {}
        self.version = 0
        """Commit up to which the journal is folded."""
        self._known: set[str] = set()
        self._clear_after = timedelta(seconds=clear_after_s)

    def line(self, channel: str) -> Line:
        """Return what a channel was told."""
        return self.lines.setdefault(channel, Line())

    def message(self, message_id: str) -> list[Queued]:
        """Return the messages whose id begins so, of all channels."""
        return [m for line in self.lines.values() for m in line.messages.values() if m.id.startswith(message_id)]

    def active_mutes(self, now: datetime) -> list[Mute]:
        """Return the mutes that hold."""
        return [mute for mute in self.mutes.values() if mute.holds(now)]

    def fold(self, events: Iterable[Event]) -> None:
        """Apply events in their order; one that is known, or makes no sense, changes nothing."""
        for event in events:
            self.version = max(self.version, event.version)
            handler = _HANDLERS.get(event.kind)
            if handler is None or event.id in self._known:
                continue
            self._known.add(event.id)
            try:
                handler(self, event)
            except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
                log.warning("event %s of kind %r says nothing about alerts: %r", event.id, event.kind, error)

    # -- findings

    def _opened(self, event: Event) -> None:
        finding = finding_in(event)
        seen = self.findings.get(finding.id)
        if seen is not None:
            seen.finding = finding
            return
        seen = Seen(finding, FindingState.OPEN, since=event.time, open_since=event.time, changed=event.time)
        self.findings[finding.id] = seen
        self.by_run.setdefault(finding.run_id, {})[finding.id] = seen

    def _state(self, event: Event) -> None:
        seen = self.findings.get(str(event.body["finding_id"]))
        state = FindingState(event.body["state"])
        if seen is None or seen.is_false_alarm:
            return
        self._becomes(seen, state, event)

    def _judged(self, event: Event) -> None:
        seen = self.findings.get(str(event.body["finding_id"]))
        if seen is None:
            return
        was, seen.is_false_alarm = seen.is_false_alarm, event.body["verdict"] == "ok"
        if was is not seen.is_false_alarm:
            self._becomes(seen, FindingState.RESOLVED if seen.is_false_alarm else FindingState.OPEN, event)

    def _becomes(self, seen: Seen, state: FindingState, event: Event) -> None:
        if state is seen.state:
            return
        if state is FindingState.OPEN and seen.state is FindingState.RESOLVED:
            seen.open_since = event.time
            if event.time - seen.changed >= self._clear_after:
                seen.episode += 1
                seen.since = event.time
        seen.state, seen.changed = state, event.time

    def _notified(self, event: Event) -> None:
        """Hear that a finding was sent without a message of the outbox, once the way of those who train."""
        seen = self.findings.get(str(event.body["finding_id"]))
        if seen is None or event.body.get("message_id"):
            return
        told = self.line(str(event.body["channel"])).told.setdefault(key_of(seen.finding), Told())
        if told.episodes.get(seen.finding.id) != seen.episode:
            told.n += 1
        self._tell(told, seen.finding.id, seen.episode, gravity(seen.finding.severity, seen.finding.code), event.time)

    def _tell(self, told: Told, finding_id: str, episode: int, grave: int, time: datetime) -> None:
        told.last, told.gravity = time, max(told.gravity, grave)
        told.episodes[finding_id] = episode

    # -- messages

    def _queued(self, event: Event) -> None:
        body = event.body
        line = self.line(str(body["channel"]))
        alerts = tuple(body["alerts"])
        keys = [_key(alert) for alert in alerts]
        told = [line.told.get(key, Told()) for key in keys]
        if any(each.n != int(alert["n"]) for each, alert in zip(told, alerts, strict=True)):
            return  # somebody else was faster
        for key, each, alert in zip(keys, told, alerts, strict=True):
            each.n += 1
            self._tell(each, str(alert["finding_id"]), int(alert["episode"]), int(alert["gravity"]), event.time)
            line.told[key] = each
        line.messages[event.id] = Queued(
            event.id,
            channel=str(body["channel"]),
            kind=body["kind"],
            experiment=event.experiment,
            code=str(body.get("code") or ""),
            time=event.time,
            alerts=alerts,
            message=body["message"],
        )

    def _delivery(self, event: Event) -> None:
        body = event.body
        line = self.line(str(body["channel"]))
        message = line.messages.get(str(body["message_id"]))
        if message is None or not message.is_open:
            return
        state = body["state"]
        if state == "sending":
            # Who died while sending is succeeded; whether his try arrived is not known.
            message.doubtful |= message.state is DeliveryState.SENDING
            message.state = DeliveryState.SENDING
            message.n_tries += 1
        elif state == "sent":
            message.state, message.sent = DeliveryState.SENT, event.time
            line.n_failed, line.not_before = 0, None
        elif state in ("failed", "refused"):
            message.state = DeliveryState.WAITING
            message.doubtful |= bool(body.get("doubtful"))
            message.n_refusals += state == "refused"
            line.n_failed += 1
            pause_s = min(FIRST_RETRY_S * 2.0 ** min(line.n_failed - 1, 20), MAX_RETRY_S)
            asked_s = body.get("retry_after_s")
            line.not_before = event.time + timedelta(seconds=pause_s if asked_s is None else float(asked_s))
            line.asked_for = asked_s is not None
            if message.n_refusals >= REFUSALS_AT_MOST:
                message.state = DeliveryState.DROPPED
                line.n_failed, line.not_before = 0, None

    # -- mutes

    def _muted(self, event: Event) -> None:
        scope, target = event.body["scope"], str(event.body["target"])
        if scope in SCOPES:
            mute = Mute(scope, target, read_time(event.body.get("until")), str(event.body.get("reason") or ""))
            self.mutes[scope, target] = mute

    def _unmuted(self, event: Event) -> None:
        self.mutes.pop((str(event.body["scope"]), str(event.body["target"])), None)


_HANDLERS: Final = {
    "finding.opened": Book._opened,
    "finding.state": Book._state,
    "finding.judged": Book._judged,
    "finding.notified": Book._notified,
    "alert.queued": Book._queued,
    "alert.delivery": Book._delivery,
    "alert.muted": Book._muted,
    "alert.unmuted": Book._unmuted,
}
ALERT_EVENTS: Final = frozenset(_HANDLERS)
"""Kinds of events that the book folds."""


def _key(alert: Mapping[str, Any]) -> AlertKey:
    run_id, detector, curve = alert["key"]
    return (str(run_id), str(detector), str(curve))

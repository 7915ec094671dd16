"""Decides what a channel is told, and when: a pure function of the book of alerts, the runs and the time.

An alert is pending, then firing, then resolved. What fires is grouped: runs of one experiment with the same trouble
are one message. Inhibited, muted and acknowledged alerts are not told; what is mild, or beyond the caps, waits for a
digest.
Nothing is kept here: whoever asks again after a restart gets the same answer.

Invariant: an alert that fires is told, now or in a later message, until it is told, resolved, muted, acknowledged or
inhibited; and no channel gets more than ``Policy.per_hour`` messages in any hour.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from datetime import datetime, timedelta, tzinfo
from enum import StrEnum
from typing import Any, Final, Self

from advisor.findings import codes
from advisor.findings.alerts import AlertKey, Book, Line, MessageKind, Queued, Seen, Told, gravity, key_of
from advisor.findings.configuration import CONFIGURATION
from storage.records import Finding, FindingState, Run, RunState, Severity

PENDING_S: Final = 60.0
"""An alert fires when it has been seen for a minute: at least two looks of a watcher that looks every 30 s."""
GROUP_WAIT_S: Final = 30.0
"""The first message of a group waits this long for more runs, where other runs go on (Alertmanager's group_wait)."""
GROUP_WINDOW_S: Final = 300.0
"""Runs that join a group within five minutes of its last message share the next one (Alertmanager's group_interval)."""
REPEAT_AFTER_S: Final = 1800.0
"""What still fires is said again after half an hour, then each time after twice as long: 5 messages in 15 hours."""
PER_RUN_A_DAY: Final = 5
"""Messages about one run within 24 hours; more would be read no more."""
PER_HOUR: Final = 10
"""Messages to one channel within an hour, digests included."""
DIGEST_AFTER_S: Final = 3600.0
"""Between two digests that hold what the caps kept back."""
DIGEST_EVERY_S: Final = 86_400.0
"""Between two digests that hold mild findings only."""
STALE_AFTER_S: Final = 86_400.0
"""Trouble of runs that ended more than a day ago is no news: one digest tells it, where a watcher looks for the first
time at an old store or was away for long."""
WAITING_AT_MOST: Final = 3
"""Messages that wait for a channel that is down. Beyond, alerts gather, so that its return brings few messages that
hold all, not hundreds."""
DIGEST_AT_MOST: Final = 500
"""Alerts in one digest; the rest are in the next."""
DAY: Final = timedelta(days=1)
AT_ONCE: Final = frozenset(
    {codes.NON_FINITE.code, codes.DIVERGED.code, codes.STALLED.code, codes.CRASHED.code, codes.FAILED.code}
)
"""These need no second look: a NaN does not heal, divergence and silence have been waited for, over is over."""

_QUIET = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)\s*-\s*([01]?\d|2[0-3]):([0-5]\d)")


class AlertState(StrEnum):
    """Where an alert is."""

    PENDING = "pending"
    """Seen, not for long enough to be believed."""
    FIRING = "firing"
    """Holds; channels are told."""
    RESOLVED = "resolved"
    """Gone, for longer than a flutter."""


@dataclass(frozen=True, slots=True)
class Quiet:
    """Hours of the day in which nothing is sent.

    >>> Quiet.parse("22:00-07:00")
    Quiet(start_min=1320, end_min=420, zone=None)
    """

    start_min: int
    end_min: int
    zone: tzinfo | None = None
    """None is this machine's."""

    @classmethod
    def parse(cls, text: str, zone: tzinfo | None = None) -> Self:
        """Read ``HH:MM-HH:MM``.

        Raises
        ------
        ValueError
            If it is none, or begins and ends at the same time.
        """
        found = _QUIET.fullmatch(text.strip())
        if found is None:
            raise ValueError(f"quiet hours are written like 22:00-07:00, not {text!r}")
        hours = [int(part) for part in found.groups()]
        start, end = 60 * hours[0] + hours[1], 60 * hours[2] + hours[3]
        if start == end:
            raise ValueError(f"quiet hours {text!r} begin and end at the same time; leave them out to have none")
        return cls(start, end, zone)

    def holds(self, now: datetime) -> bool:
        """Return whether it is quiet now."""
        local = now.astimezone(self.zone)
        minute = 60 * local.hour + local.minute
        if self.start_min < self.end_min:
            return self.start_min <= minute < self.end_min
        return minute >= self.start_min or minute < self.end_min


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How patient and how talkative to be; times in seconds."""

    pending_s: float = PENDING_S
    group_wait_s: float = GROUP_WAIT_S
    group_window_s: float = GROUP_WINDOW_S
    repeat_after_s: float = REPEAT_AFTER_S
    per_run_a_day: int = PER_RUN_A_DAY
    per_hour: int = PER_HOUR
    hour_s: float = 3600.0
    """What "an hour" means in ``per_hour``; simulations shorten it."""
    digest_after_s: float = DIGEST_AFTER_S
    digest_every_s: float = DIGEST_EVERY_S
    stale_after_s: float = STALE_AFTER_S
    waiting_at_most: int = WAITING_AT_MOST
    min_severity: Severity = Severity.WARNING
    """Below it, and below a warning in any case, findings are in digests only."""
    quiet: Quiet | None = None


@dataclass(frozen=True, slots=True)
class Alert:
    """The trouble of one run that one detector sees in one curve, as it is now."""

    key: AlertKey
    _: KW_ONLY
    run: Run
    lead: Finding
    """The gravest finding of it."""
    episode: int
    state: AlertState
    fires_at: datetime
    """When it began to fire, or will."""

    @property
    def gravity(self) -> int:
        """How grave it is, see ``alerts.gravity``."""
        return gravity(self.lead.severity, self.lead.code)

    @property
    def group(self) -> tuple[str, str]:
        """What it shares a message with: experiment and code."""
        return (self.run.experiment, self.lead.code)


@dataclass(frozen=True, slots=True)
class Decision:
    """One message that one channel is to get."""

    channel: str
    _: KW_ONLY
    kind: MessageKind
    alerts: tuple[Alert, ...]
    """The gravest first."""
    n_before: int = 0
    """Runs of the same group of which the channel was told before."""
    resolved: tuple[Finding, ...] = ()
    """Of a digest: what it was told of before and is gone since the last one."""
    numbers: Mapping[AlertKey, int] = field(default_factory=dict)
    """How many messages the channel had of each alert, as known when this was decided."""

    @property
    def id(self) -> str:
        """Follows from what is told: two watchers that decide the same write the same event."""
        said = json.dumps([self.channel, self.kind, self.entries()], sort_keys=True)
        return hashlib.sha256(said.encode()).hexdigest()[:32]

    def entries(self) -> list[dict[str, Any]]:
        """Return its alerts as the journal keeps them."""
        return [
            {
                "key": list(alert.key),
                "finding_id": alert.lead.id,
                "episode": alert.episode,
                "gravity": alert.gravity,
                "n": self.numbers.get(alert.key, 0),
            }
            for alert in self.alerts
        ]


def open_alerts(book: Book, runs: Mapping[str, Run], *, now: datetime, policy: Policy) -> list[Alert]:
    """Return the alerts that are pending or firing and that somebody wants to hear of, the gravest first.

    Parameters
    ----------
    runs
        By id; alerts of runs that are not there (deleted), or were over when they were imported, are left out.
    """
    muted = {(mute.scope, mute.target) for mute in book.active_mutes(now)}
    found: list[Alert] = []
    for run_id, of_run in book.by_run.items():
        if not any(seen.state is FindingState.OPEN for seen in of_run.values()):
            continue
        run = runs.get(run_id)
        if run is None or run.was_over_when_imported or {("run", run_id), ("experiment", run.experiment)} & muted:
            continue
        found += _of_run(run, list(of_run.values()), muted, now=now, policy=policy)
    return sorted(found, key=lambda alert: (-alert.gravity, alert.fires_at, alert.run.ordinal, alert.key))


def decide(
    book: Book,
    channel: str,
    runs: Mapping[str, Run],
    *,
    n_running: Mapping[str, int],
    now: datetime,
    policy: Policy,
    alerts: Sequence[Alert] | None = None,
    is_configuration: Callable[[Alert], bool] = lambda _: False,
    leaving: bool = False,
) -> list[Decision]:
    """Return the messages that a channel is to get now.

    Parameters
    ----------
    channel
        Its id.
    n_running
        Runs that go on, by experiment; none may be left out.
    alerts
        What ``open_alerts`` gave, where it is at hand.
    is_configuration
        Whether an alert that has something new to say is the fault of a configuration, see
        ``advisor.findings.configuration``; asked of no other.
    leaving
        Whether whoever asks is about to end, so that nobody may be there to tell later. Then the first message of a
        group waits for nothing, and the next ones only where other runs go on, whose processes may tell them.
    """
    if policy.quiet is not None and policy.quiet.holds(now):
        return []
    line = book.line(channel)
    if len(line.waiting()) >= policy.waiting_at_most:
        return []
    slots = policy.per_hour - sum(1 for _ in _recent(line, now - timedelta(seconds=policy.hour_s)))
    if slots <= 0:
        return []
    if alerts is None:
        alerts = open_alerts(book, runs, now=now, policy=policy)
    sorting = _Sorting(line, now, policy, is_configuration, leaving=leaving)
    for alert in alerts:
        sorting.add(alert)
    may_digest = sorting.may_digest
    ready = sorting.ready(n_running)
    free = policy.waiting_at_most - len(line.waiting())
    decided: list[Decision] = []
    over: list[Alert] = []
    for at, (kind, group) in enumerate(ready):
        is_last = at == len(ready) - 1 and not over and not sorting.rest
        room = slots - len(decided)
        if len(decided) >= free:
            break  # the next look goes on where this one ends
        if room > 1 or (room == 1 and (is_last or not may_digest)):
            decided.append(_decision(line, channel, kind, group))
        elif kind == "firing":
            over += group
    if min(slots, free) - len(decided) > 0:
        digest = sorting.digest(over)
        if digest:
            gone = _resolved(book, line, since=sorting.last_digest)
            decided.append(_decision(line, channel, "digest", digest, resolved=gone))
    return decided


def may_be_pushed(finding: Finding, min_severity: Severity) -> bool:
    """Return whether a finding may have a message of its own, rather than a line in a digest."""
    least = max(min_severity.rank, Severity.WARNING.rank)
    return finding.severity.rank >= least and finding.evidence.get(CONFIGURATION) is not True


# -- alerts of one run


def _of_run(
    run: Run, seen: Sequence[Seen], muted: set[tuple[Any, str]], *, now: datetime, policy: Policy
) -> Iterator[Alert]:
    first = inhibitor(seen)
    by_key: dict[AlertKey, list[Seen]] = {}
    for each in seen:
        wanted = not ({("finding", each.finding.id), ("code", each.finding.code)} & muted)
        if each.state is FindingState.OPEN and wanted and first in (None, key_of(each.finding)):
            by_key.setdefault(key_of(each.finding), []).append(each)
    for key, members in by_key.items():
        timed = [(_fires_at(each, run, policy), each) for each in members]
        firing = [pair for pair in timed if pair[0] <= now]
        fires_at, lead = max(
            firing or timed,
            key=lambda pair: (gravity(pair[1].finding.severity, pair[1].finding.code), -pair[0].timestamp()),
        )
        state = AlertState.FIRING if firing else AlertState.PENDING
        yield Alert(key, run=run, lead=lead.finding, episode=lead.episode, state=state, fires_at=fires_at)


def inhibitor(seen: Sequence[Seen]) -> AlertKey | None:
    """Return the alert that mutes the rest of a run: the first value that was not finite, seen by a person or not."""
    broken = [
        each
        for each in seen
        if each.finding.code == codes.NON_FINITE.code
        and each.state is not FindingState.RESOLVED
        and each.finding.severity is not Severity.INFO
    ]
    if not broken:
        return None
    return key_of(min(broken, key=lambda each: (each.since, each.finding.metric or "")).finding)


def _fires_at(seen: Seen, run: Run, policy: Policy) -> datetime:
    """Return when a finding is believed; the curve of a run that is over changes no more."""
    if seen.finding.code in AT_ONCE or run.state.is_over:
        return seen.open_since
    return seen.open_since + timedelta(seconds=policy.pending_s)


# -- what a channel is told


class _Sorting:
    """Sorts the alerts of one moment: into groups, into what waits for a digest, and what needs no saying."""

    def __init__(
        self,
        line: Line,
        now: datetime,
        policy: Policy,
        is_configuration: Callable[[Alert], bool],
        *,
        leaving: bool,
    ) -> None:
        self._line, self._now, self._policy = line, now, policy
        self._is_configuration, self._leaving = is_configuration, leaving
        self._fresh: dict[tuple[str, str], list[Alert]] = {}
        self._again: dict[tuple[str, str], list[Alert]] = {}
        self.rest: list[Alert] = []
        """Grave enough, but beyond a cap or old."""
        self._mild: list[Alert] = []
        self._planned: dict[str, set[tuple[str, str]]] = {}
        self._per_run: Counter[str] = Counter()
        for message in _recent(line, now - DAY):
            if message.kind != "digest":
                self._per_run.update(message.run_ids)
        self.last_digest = max((m.time for m in line.messages.values() if m.kind == "digest"), default=None)

    @property
    def may_digest(self) -> bool:
        """Whether the last digest is long enough ago."""
        return self.last_digest is None or self._age_s(self.last_digest) >= self._policy.digest_after_s

    def add(self, alert: Alert) -> None:
        """Take an alert, if there is something to say of it."""
        if alert.state is not AlertState.FIRING:
            return
        kind = self._news(alert, self._line.told.get(alert.key))
        if kind is None:
            return
        planned = self._planned.setdefault(alert.run.id, set())
        n_others = self._per_run[alert.run.id] + len(planned - {alert.group})
        is_capped = n_others >= self._policy.per_run_a_day
        if not self._pushed(alert):
            self._mild += [alert] if kind == "firing" else []
        elif self._is_stale(alert.run) or is_capped:
            self.rest += [alert] if kind == "firing" else []
        else:
            planned.add(alert.group)
            (self._fresh if kind == "firing" else self._again).setdefault(alert.group, []).append(alert)

    def ready(self, n_running: Mapping[str, int]) -> list[tuple[MessageKind, list[Alert]]]:
        """Return the groups whose time has come, the gravest first, what is new before what is said again."""
        fresh: list[tuple[MessageKind, list[Alert]]] = [
            ("firing", group) for key, group in self._fresh.items() if self._may_go(key, group, n_running)
        ]
        again: list[tuple[MessageKind, list[Alert]]] = [
            ("repeat", group)
            for key, group in self._again.items()
            if key not in self._fresh and self._since_s(key) >= self._policy.repeat_after_s
        ]
        return [*sorted(fresh, key=_order), *sorted(again, key=_order)]

    def digest(self, over: Sequence[Alert]) -> list[Alert]:
        """Return what a digest holds, empty where it is not due."""
        urgent = [*over, *self.rest]
        if urgent and not self.may_digest:
            return []
        if not urgent:
            if not self._mild:
                return []
            waits_since = min(alert.fires_at for alert in self._mild)
            since = waits_since if self.last_digest is None else max(self.last_digest, waits_since)
            if self._age_s(since) < self._policy.digest_every_s:
                return []
        return [*urgent, *self._mild][:DIGEST_AT_MOST]

    def _news(self, alert: Alert, told: Told | None) -> MessageKind | None:
        if told is None or told.last is None or alert.gravity > told.gravity:
            return "firing"
        if told.episodes.get(alert.lead.id) != alert.episode:
            return "firing" if self._age_s(told.last) >= self._policy.repeat_after_s else None
        if alert.run.state.is_over:
            return None  # nothing will change any more
        due_s = self._policy.repeat_after_s * 2.0 ** min(told.n - 1, 20)
        return "repeat" if self._age_s(told.last) >= due_s else None

    def _pushed(self, alert: Alert) -> bool:
        return may_be_pushed(alert.lead, self._policy.min_severity) and not self._is_configuration(alert)

    def _is_stale(self, run: Run) -> bool:
        return run.state.is_over and self._age_s(run.ended or run.created) > self._policy.stale_after_s

    def _may_go(self, key: tuple[str, str], group: Sequence[Alert], n_running: Mapping[str, int]) -> bool:
        own = len({alert.run.id for alert in group if alert.run.state is RunState.RUNNING})
        nobody_could_join = n_running.get(key[0], 0) <= own
        if self._since_s(key) < self._policy.group_window_s:
            return self._leaving and nobody_could_join
        waited_s = self._age_s(min(alert.fires_at for alert in group))
        return nobody_could_join or self._leaving or waited_s >= self._policy.group_wait_s

    def _since_s(self, key: tuple[str, str]) -> float:
        """Return the seconds since the last message of a group."""
        times = [m.time for m in self._line.messages.values() if m.kind != "digest" and (m.experiment, m.code) == key]
        return self._age_s(max(times)) if times else float("inf")

    def _age_s(self, time: datetime) -> float:
        return (self._now - time).total_seconds()


def _order(item: tuple[MessageKind, Sequence[Alert]]) -> tuple[int, datetime]:
    return (-max(alert.gravity for alert in item[1]), min(alert.fires_at for alert in item[1]))


def _decision(
    line: Line, channel: str, kind: MessageKind, alerts: Sequence[Alert], *, resolved: tuple[Finding, ...] = ()
) -> Decision:
    numbers = {alert.key: line.told[alert.key].n for alert in alerts if alert.key in line.told}
    before: set[str] = set()
    if kind == "firing":
        same = [m for m in line.messages.values() if m.kind == "firing" and (m.experiment, m.code) == alerts[0].group]
        before = {run_id for message in same for run_id in message.run_ids} - {alert.run.id for alert in alerts}
    return Decision(channel, kind=kind, alerts=tuple(alerts), n_before=len(before), resolved=resolved, numbers=numbers)


def _recent(line: Line, since: datetime) -> Iterator[Queued]:
    """Yield the messages that were sent, or written down and not sent yet, after a time."""
    return (message for message in line.messages.values() if (message.sent or message.time) > since or message.is_open)


def _resolved(book: Book, line: Line, *, since: datetime | None) -> tuple[Finding, ...]:
    """Return what a channel was told of and what is gone since."""
    gone = []
    for run_id, *_ in dict.fromkeys(line.told):
        for seen in book.by_run.get(run_id, {}).values():
            told = line.told.get(key_of(seen.finding))
            was_told = told is not None and seen.finding.id in told.episodes
            if seen.state is FindingState.RESOLVED and was_told and (since is None or seen.changed > since):
                gone.append(seen.finding)
    return tuple({finding.id: finding for finding in gone}.values())

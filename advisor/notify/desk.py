"""The durable outbox: alerts in, messages out, all of it in the store's journal.

Whoever tells anything tells it here: a watcher, a training's own process, a check. Who writes what down, when, and in
which thread, is decided around it (``advisor.watching``, ``advisor.notify.teller``).

A message is written down before it is sent, each try before it is made, and what came of it after. So a channel that
is down for a day loses nothing, a sender that is killed at any instant is succeeded by the next one, and several
processes of one store, on several machines, send each message once. Addresses are never written down: a channel is
named by a hash.

One window cannot be closed: a sender that dies after the other side has taken a message, and before that is written
down, is succeeded by one that sends it again. It is one commit long (some 3 ms on a local disk). The second try has the
same ``Message.id``, so a receiver that remembers ids drops it; for others it says that it may be a repetition.

Invariant: nothing is sent that the journal does not hold.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from advisor.errors import NotificationError
from advisor.findings.alerting import Alert, Decision, Policy, Quiet, decide, open_alerts
from advisor.findings.alerts import ALERT_EVENTS, Book, DeliveryState, Queued
from advisor.findings.codes import CODES
from advisor.findings.configuration import CONFIGURATION, Neighbours, peers_of
from advisor.notify.channels import Channel, DeliveryError
from advisor.notify.render import Message, render_decision
from storage.errors import StorageError
from storage.records import Event, Finding, Run, Severity
from storage.store import RunStore

if TYPE_CHECKING:
    from advisor.config import Settings
    from storage.journal import State

log = logging.getLogger(__name__)

DOUBT: Final = "(sent again: an earlier try may have arrived)"
RECORD_TRIES: Final = 5
"""Tries to write down that a message was sent; the store may be away for a moment."""

DECIDE_WITHIN_S: Final = 2.0
"""How long a look waits for another process that is deciding; some milliseconds are usual."""

Picture = Callable[[Finding], bytes | None]
"""Draws the curve that a finding is about; None where there is nothing to draw."""


def policy_of(settings: Settings) -> Policy:
    """Return what the settings say of patience and caps."""
    return Policy(
        per_run_a_day=settings.notify_per_run,
        per_hour=settings.notify_per_hour,
        min_severity=Severity(settings.notify_severity),
        quiet=None if settings.notify_quiet is None else Quiet.parse(settings.notify_quiet),
    )


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at the alerts saw and did."""

    alerts: Sequence[Alert]
    """Those that are open, the gravest first."""
    n_due: int = 0
    """Messages that were due, and were written down unless another process was deciding."""


class Desk:
    """Decides, writes down, sends. Threads may share it; one for each channel keeps slow ones apart.

    Parameters
    ----------
    store
        What is watched, and where messages are kept.
    channels
        Where messages go; one that occurs twice (by its id) is used once.
    policy
        How patient and how talkative to be.
    clock
        The time now, UTC.
    experiments
        Names, also former ones, of the experiments that are spoken of; all where None. It may change meanwhile.
        What waits for a channel is delivered, whatever it is about.
    picture
        Draws curves for channels that take attachments.
    actor
        Who it is that tells, for the history.
    """

    def __init__(
        self,
        store: RunStore,
        channels: Sequence[Channel],
        *,
        policy: Policy,
        clock: Callable[[], datetime],
        experiments: Collection[str] | None = None,
        picture: Picture | None = None,
        actor: str = "watch",
    ) -> None:
        self.channels = list({channel.id: channel for channel in channels}.values())
        self._store, self._policy, self._clock = store, policy, clock
        self._experiments, self._picture, self._actor = experiments, picture, actor
        self._book = Book()
        self._lock = threading.Lock()
        self._complained: set[str] = set()

    def look(self, *, leaving: Collection[str] = ()) -> Look:
        """Write down the messages that are due; a lease keeps two processes from deciding at once.

        Parameters
        ----------
        leaving
            Ids of the channels that nobody may tell later, see ``alerting.decide``.

        Raises
        ------
        StorageError
            If the store cannot be read or written.
        """
        with self._lock:
            alerts, due = self._decided(leaving)
            if not due:
                return Look(alerts)
            with self._store.lease("notify", wait_s=DECIDE_WITHIN_S) as mine:
                if mine:
                    # Read again: whoever held the lease before may have said it, and that counts for the caps.
                    alerts, due = self._decided(leaving)
                    self._store.append([self._written(decision) for decision in due])
            return Look(alerts, n_due=len(due))

    def deliver(self, channel: Channel, *, stop: Callable[[], bool] = lambda: False, hurries: bool = False) -> int:
        """Send what waits for a channel, the oldest first, until nothing does or one try fails; return how many.

        Parameters
        ----------
        stop
            Asked before each message whether to send no more.
        hurries
            Whether a channel that failed a moment ago is tried again before its pause is over, unless it asked for it.

        Raises
        ------
        StorageError
            If the store cannot be read, or a try cannot be written down; then it is not made.
        """
        n_sent = 0
        while not stop() and self.next_message(channel, hurries=hurries) is not None:
            with self._store.lease(f"notify-{channel.id}") as mine:
                # Read again: whoever held the lease before may have sent it.
                message = self.next_message(channel, hurries=hurries) if mine else None
                if message is None or not self._try(channel, message):
                    return n_sent
                n_sent += 1
        return n_sent

    def next_message(self, channel: Channel, *, hurries: bool = False) -> Queued | None:
        """Return what may be sent to a channel now; None while it is quiet, or the channel is left alone."""
        with self._lock:
            self._catch_up()
            now, line = self._clock(), self._book.line(channel.id)
            quiet = self._policy.quiet is not None and self._policy.quiet.holds(now)
            rests = line.not_before is not None and now < line.not_before and (line.asked_for or not hurries)
            return None if quiet or rests else next(iter(line.waiting()), None)

    def n_waiting(self, channel: Channel | None = None) -> int:
        """Return how many messages wait for a channel, or for all of them, as far as is known here."""
        with self._lock:
            channels = self.channels if channel is None else [channel]
            return sum(len(self._book.line(each.id).waiting()) for each in channels)

    # -- inner workings

    def _catch_up(self) -> None:
        version = self._store.state().version
        if version > self._book.version:
            self._book.fold(self._store.journal(after=self._book.version, kinds=ALERT_EVENTS))
            self._book.version = max(self._book.version, version)

    def _decided(self, leaving: Collection[str]) -> tuple[list[Alert], list[Decision]]:
        """Return the alerts that are open, and the messages that are due."""
        self._catch_up()
        now, state = self._clock(), self._store.state()
        alerts = self._spoken_of(state, open_alerts(self._book, state.runs, now=now, policy=self._policy))
        n_running = self._n_running(state.runs, list(state.running))
        is_configuration = self._blame(state)
        due = [
            decision
            for channel in self.channels
            for decision in decide(
                self._book,
                channel.id,
                state.runs,
                n_running=n_running,
                now=now,
                policy=self._policy,
                alerts=alerts,
                is_configuration=is_configuration,
                leaving=channel.id in leaving,
            )
        ]
        return alerts, due

    def _spoken_of(self, state: State, alerts: list[Alert]) -> list[Alert]:
        if self._experiments is None:
            return alerts
        spoken_of = {state.number_of(name) for name in tuple(self._experiments)}
        return [alert for alert in alerts if state.number_of(alert.run.experiment) in spoken_of]

    def _blame(self, state: State) -> Callable[[Alert], bool]:
        """Return the function that says whether a configuration is to blame; it reads an experiment's runs once."""
        neighbours: dict[str, Neighbours] = {}

        def is_configuration(alert: Alert) -> bool:
            if alert.lead.code not in CODES or not CODES[alert.lead.code].may_be_configuration:
                return False
            name = alert.run.experiment
            if name not in neighbours:
                neighbours[name] = Neighbours(peers_of(state.runs_of(name)))
            return neighbours[name].explain(alert.lead, alert.run.params).evidence.get(CONFIGURATION) is True

        return is_configuration

    def _written(self, decision: Decision) -> Event:
        """Return the event that holds a message."""
        experiment, code = decision.alerts[0].group
        message = render_decision(decision, n_runs=self._store.state().n_runs_of(experiment))
        body: dict[str, Any] = {"channel": decision.channel, "kind": decision.kind, "title": message.title}
        body |= {"alerts": decision.entries(), "message": message.as_json()}
        if decision.kind != "digest":
            body["code"] = code
        event = Event.new("alert.queued", experiment, time=self._clock(), actor=self._actor, **body)
        return replace(event, id=decision.id)

    def _n_running(self, runs: Mapping[str, Run], running: Sequence[str]) -> Counter[str]:
        return Counter(runs[run_id].experiment for run_id in running if run_id in runs)

    def _try(self, channel: Channel, queued: Queued) -> bool:
        # Who holds the lease and finds a message being sent succeeds somebody who died while sending it.
        doubtful = queued.doubtful or queued.state is DeliveryState.SENDING
        self._record(channel, queued, "sending")
        message = self._message(channel, queued, doubtful=doubtful)
        try:
            channel.send(message)
        except NotificationError as error:
            self._failed(channel, queued, error)
            return False
        except Exception as exc:  # noqa: BLE001  # a channel of somebody else's; its text may hold an address
            self._failed(channel, queued, DeliveryError(type(exc).__name__, is_final=True))
            return False
        self._sent(channel, queued)
        if channel.id in self._complained:
            self._complained.discard(channel.id)
            log.info("notification by %s works again", channel.describe())
        return True

    def _message(self, channel: Channel, queued: Queued, *, doubtful: bool) -> Message:
        message = Message.from_json(queued.message, id=queued.id)
        if doubtful:
            message = replace(message, text=f"{DOUBT}\n{message.text}")
        if channel.takes_pictures and self._picture is not None and queued.kind != "digest":
            message = replace(message, picture=self._drawn(queued))
        return message

    def _drawn(self, queued: Queued) -> bytes | None:
        seen = self._book.findings.get(queued.finding_ids[0])
        try:
            return None if seen is None or self._picture is None else self._picture(seen.finding)
        except Exception:  # a message without its picture is still a message
            log.debug("no picture of finding %s", queued.finding_ids[0], exc_info=True)
            return None

    def _record(self, channel: Channel, queued: Queued, state: str, **more: Any) -> None:
        body = {"message_id": queued.id, "channel": channel.id, "state": state, **more}
        event = Event.new("alert.delivery", queued.experiment, time=self._clock(), actor=self._actor, **body)
        self._store.append([event])

    def _sent(self, channel: Channel, queued: Queued) -> None:
        """Write down that a message was sent, and of its findings that this channel was told of them."""
        now = self._clock()
        body: dict[str, Any] = {"message_id": queued.id, "channel": channel.id}
        events = [Event.new("alert.delivery", queued.experiment, time=now, actor=self._actor, **body, state="sent")]
        for alert in queued.alerts:
            about = {"finding_id": str(alert["finding_id"]), **body}
            run_id = str(alert["key"][0])
            event = Event.new("finding.notified", queued.experiment, run_id, time=now, actor=self._actor, **about)
            events.append(event)
        for n_tries in range(RECORD_TRIES):
            try:
                self._store.append(events)
                return
            except StorageError as error:
                if n_tries == RECORD_TRIES - 1:
                    log.warning("message %s was sent, but that could not be written down: %s", queued.id, error)
                    raise
                time.sleep(0.2 * 2**n_tries)

    def _failed(self, channel: Channel, queued: Queued, error: NotificationError) -> None:
        level = logging.DEBUG if channel.id in self._complained else logging.WARNING
        log.log(level, "notification by %s failed: %s; it is tried again", channel.describe(), error)
        self._complained.add(channel.id)
        more: dict[str, Any] = {"why": str(error)}
        is_final = False
        if isinstance(error, DeliveryError):
            is_final = error.is_final
            more |= {"doubtful": True} if error.is_doubtful else {}
            more |= {"retry_after_s": error.retry_after_s} if error.retry_after_s is not None else {}
        self._record(channel, queued, "refused" if is_final else "failed", **more)

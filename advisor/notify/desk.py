"""The durable outbox: alerts in, messages out, all of it in the store's journal.

A message is written down before it is sent, each try before it is made, and what came of it after. So a channel that
is down for a day loses nothing, a sender that is killed at any instant is succeeded by the next one, and several
watchers of one store, on several machines, send each message once. Addresses are never written down: a channel is named
by a hash.

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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from advisor.errors import NotificationError
from advisor.findings.alerting import Alert, Policy, decide, open_alerts
from advisor.findings.alerts import ALERT_EVENTS, Book, DeliveryState, Queued
from advisor.notify.channels import Channel, DeliveryError
from advisor.notify.render import Message, render_decision
from storage.errors import StorageError
from storage.records import Event, Finding, Run
from storage.store import RunStore

if TYPE_CHECKING:
    from storage.journal import State

log = logging.getLogger(__name__)

ACTOR: Final = "watch"
DOUBT: Final = "(sent again: an earlier try may have arrived)"
RECORD_TRIES: Final = 5
"""Tries to write down that a message was sent; the store may be away for a moment."""

Picture = Callable[[Finding], bytes | None]
"""Draws the curve that a finding is about; None where there is nothing to draw."""


def is_queued(state: State, finding_id: str, channel_id: str) -> bool:
    """Return whether a message about a finding was written down for a channel."""
    queued = state.of_kind("alert.queued")
    return any(
        event.body["channel"] == channel_id and any(alert["finding_id"] == finding_id for alert in event.body["alerts"])
        for event in queued
    )


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
    experiment
        The only experiment that is spoken of; all where None.
    picture
        Draws curves for channels that take attachments.
    """

    def __init__(
        self,
        store: RunStore,
        channels: Sequence[Channel],
        *,
        policy: Policy,
        clock: Callable[[], datetime],
        experiment: str | None = None,
        picture: Picture | None = None,
    ) -> None:
        self.channels = list({channel.id: channel for channel in channels}.values())
        self._store, self._policy, self._clock = store, policy, clock
        self._experiment, self._picture = experiment, picture
        self._book = Book()
        self._lock = threading.Lock()
        self._complained: set[str] = set()

    def look(self) -> list[Alert]:
        """Write down the messages that are due, and return the alerts that are open.

        Raises
        ------
        StorageError
            If the store cannot be read or written.
        """
        with self._lock:
            self._catch_up()
            now, state = self._clock(), self._store.state()
            alerts = open_alerts(self._book, state.runs, now=now, policy=self._policy)
            if self._experiment is not None:
                alerts = [alert for alert in alerts if alert.run.experiment == self._experiment]
            n_running = self._n_running(state.runs, list(state.running))
            queued = []
            for channel in self.channels:
                for decision in decide(
                    self._book,
                    channel.id,
                    state.runs,
                    n_running=n_running,
                    now=now,
                    policy=self._policy,
                    alerts=alerts,
                ):
                    experiment, code = decision.alerts[0].group
                    message = render_decision(decision, n_runs=state.n_runs_of(experiment))
                    body: dict[str, Any] = {"channel": channel.id, "kind": decision.kind, "title": message.title}
                    body |= {"alerts": decision.entries(), "message": message.as_json()}
                    if decision.kind != "digest":
                        body["code"] = code
                    event = Event.new("alert.queued", experiment, time=now, actor=ACTOR, **body)
                    queued.append(replace(event, id=decision.id))
            if queued:
                self._store.append(queued)
            return alerts

    def deliver(self, channel: Channel, *, stop: Callable[[], bool] = lambda: False) -> int:
        """Send what waits for a channel, the oldest first, until nothing does or one try fails; return how many.

        Raises
        ------
        StorageError
            If the store cannot be read, or a try cannot be written down; then it is not made.
        """
        n_sent = 0
        while not stop() and self.next_message(channel) is not None:
            with self._store.lease(f"notify-{channel.id}") as mine:
                # Read again: whoever held the lease before may have sent it.
                message = self.next_message(channel) if mine else None
                if message is None or not self._try(channel, message):
                    return n_sent
                n_sent += 1
        return n_sent

    def next_message(self, channel: Channel) -> Queued | None:
        """Return what may be sent to a channel now; None while it is quiet, or the channel is left alone."""
        with self._lock:
            self._catch_up()
            now, line = self._clock(), self._book.line(channel.id)
            quiet = self._policy.quiet is not None and self._policy.quiet.holds(now)
            if quiet or (line.not_before is not None and now < line.not_before):
                return None
            return next(iter(line.waiting()), None)

    def n_waiting(self) -> int:
        """Return how many messages wait for their channels, as far as is known here."""
        with self._lock:
            return sum(len(self._book.line(channel.id).waiting()) for channel in self.channels)

    # -- inner workings

    def _catch_up(self) -> None:
        version = self._store.state().version
        if version > self._book.version:
            self._book.fold(self._store.journal(after=self._book.version, kinds=ALERT_EVENTS))
            self._book.version = max(self._book.version, version)

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
        event = Event.new("alert.delivery", queued.experiment, time=self._clock(), actor=ACTOR, **body)
        self._store.append([event])

    def _sent(self, channel: Channel, queued: Queued) -> None:
        """Write down that a message was sent, and of its findings that this channel was told of them."""
        now = self._clock()
        body: dict[str, Any] = {"message_id": queued.id, "channel": channel.id}
        events = [Event.new("alert.delivery", queued.experiment, time=now, actor=ACTOR, **body, state="sent")]
        for alert in queued.alerts:
            about = {"finding_id": str(alert["finding_id"]), **body}
            run_id = str(alert["key"][0])
            event = Event.new("finding.notified", queued.experiment, run_id, time=now, actor=ACTOR, **about)
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

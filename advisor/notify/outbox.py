"""Decides what is sent, once, and keeps trying: findings in, messages out, in the background.

``notify`` only queues; a thread for each channel renders, sends, and tries again with growing pauses, so a slow or
broken channel delays neither the caller nor other channels. What has been sent is asked of and told to the journal
through two callbacks, so that other processes do not repeat it. What could not be sent is not marked, and is
sent by whoever looks at the open findings next; nothing is queued on disk here. A watcher's messages are
(``advisor.notify.desk``).

Invariant: ``notify`` never raises because of a channel and never waits for one.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from advisor.errors import NotificationError
from advisor.findings.alerting import may_be_pushed
from advisor.notify.channels import Channel, DeliveryError
from advisor.notify.render import render_group
from storage.records import Finding, FindingState, Run, Severity

_log = logging.getLogger(__name__)

Key = tuple[str, str, str]

_MAX_QUEUED = 1_000  # messages a channel; more than anyone would read, less than anyone would notice in memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How often a message is tried, and with which pauses."""

    first_retry_s: float = 1.0
    """Pause after the first failure, in seconds; each further pause is twice as long."""
    max_retry_s: float = 300.0
    """Longest pause, unless the receiver asked for a longer one."""
    max_tries: int = 12
    """Tries of one message; twelve with these pauses take about half an hour."""


@dataclass(frozen=True, slots=True)
class _Delivery:
    findings: tuple[Finding, ...]
    run: Run | None


class Notifier:
    """Sends each finding once to each channel. Threads may share it; close it at exit.

    Examples
    --------
    >>> from advisor.notify.channels import open_channel
    >>> notifier = Notifier([open_channel("console")], already_sent=lambda *_: False, record_sent=lambda *_: None)
    >>> notifier.notify([])
    >>> notifier.close()
    True
    """

    def __init__(
        self,
        channels: Sequence[Channel],
        *,
        already_sent: Callable[[str, str], bool],
        record_sent: Callable[[Finding, str], None],
        min_severity: Severity | str = Severity.WARNING,
        patience: Patience | None = None,
    ) -> None:
        """Prepare; no thread is started before there is something to send.

        Parameters
        ----------
        channels
            Where messages go. A channel that occurs twice (by its id) is used once.
        already_sent, record_sent
            Called from the channels' threads: whether any process has sent a finding (its id) to a channel (its id),
            and that a finding has now been sent. If they raise, the message is sent all the same.
        min_severity
            Findings below it are not sent; mere information, and what is a configuration's fault, is not in any case.
        patience
            How often to try.
        """
        self._min_severity = Severity(min_severity)
        distinct = {channel.id: channel for channel in channels}
        self._workers = [
            _Worker(channel, already_sent, record_sent, patience or Patience()) for channel in distinct.values()
        ]

    def notify(self, findings: Iterable[Finding], runs: Mapping[str, Run] | None = None) -> None:
        """Queue what is open, grave enough and not sent yet; findings of one run share a message.

        Parameters
        ----------
        findings
            Any findings; which of them are new is found out here.
        runs
            The runs by id, as far as they are at hand.
        """
        by_run: dict[str, list[Finding]] = {}
        for finding in findings:
            if finding.state is FindingState.OPEN and may_be_pushed(finding, self._min_severity):
                by_run.setdefault(finding.run_id, []).append(finding)
        for run_id, found in by_run.items():
            for worker in self._workers:
                worker.put(found, (runs or {}).get(run_id))

    def drain(self, timeout_s: float) -> bool:
        """Wait until everything queued has been sent or given up; return whether that happened in time.

        Messages that wait for another try are tried at once.
        """
        deadline = time.monotonic() + timeout_s
        for worker in self._workers:
            worker.hurry()
        n_late = sum(not worker.wait_until_empty(deadline - time.monotonic()) for worker in self._workers)
        return n_late == 0

    def start(self) -> None:
        """Start the threads now: from Python 3.12 on none can be started once the interpreter has begun to end."""
        for worker in self._workers:
            worker.start()

    def close(self, timeout_s: float = 5.0) -> bool:
        """Drain, then stop; what is left is dropped and stays unmarked. Closing twice is fine."""
        drained = self.drain(timeout_s)
        for worker in self._workers:
            worker.stop()
        return drained


class _Worker:
    """One channel, its queue and its thread."""

    def __init__(
        self,
        channel: Channel,
        already_sent: Callable[[str, str], bool],
        record_sent: Callable[[Finding, str], None],
        patience: Patience,
    ) -> None:
        self._channel = channel
        self._already_sent = already_sent
        self._record_sent = record_sent
        self._patience = patience
        self._changed = threading.Condition()
        self._queue: deque[_Delivery] = deque()
        self._seen: set[Key] = set()
        self._thread: threading.Thread | None = None
        self._stopped = False
        self._n_failures = 0
        self._in_hurry = False
        self._not_before = 0.0
        self._has_complained = False

    def put(self, findings: Sequence[Finding], run: Run | None) -> None:
        with self._changed:
            fresh = {finding.key: finding for finding in findings if finding.key not in self._seen}
            if not fresh or self._stopped:
                return
            if len(self._queue) >= _MAX_QUEUED:
                self._complain("its queue is full; further findings stay in the store")
                return
            self._seen.update(fresh)
            self._queue.append(_Delivery(tuple(fresh.values()), run))
            self.start()
            self._changed.notify_all()

    def start(self) -> None:
        with self._changed:
            if self._thread is None or not self._thread.is_alive():
                name = f"notify-{self._channel.id}"
                self._thread = threading.Thread(target=self._work, name=name, daemon=True)
                self._thread.start()

    def hurry(self) -> None:
        with self._changed:
            self._in_hurry = bool(self._queue)
            self._changed.notify_all()

    def wait_until_empty(self, timeout_s: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: not self._queue, max(timeout_s, 0.0))

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
            thread = self._thread
        if thread is not None and not self._queue:  # one that hangs in a send ends with the process
            thread.join(timeout=1.0)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._stopped)
                if self._stopped:
                    return
                delivery = self._queue[0]
            pause_s = self._attempt(delivery)
            with self._changed:
                if pause_s is None:
                    self._queue.popleft()
                    self._n_failures = 0
                    self._changed.notify_all()
                else:
                    self._changed.wait_for(lambda: self._in_hurry or self._stopped, pause_s)
                    self._in_hurry = False
                    asked_s = self._not_before - time.monotonic()
                    self._changed.wait_for(lambda: self._stopped, max(asked_s, 0.0))

    def _attempt(self, delivery: _Delivery) -> float | None:
        """Send what nobody has sent; return the pause before another try in seconds, None if there is none."""
        findings = [finding for finding in delivery.findings if not self._is_sent(finding)]
        if not findings:
            return None
        try:
            self._channel.send(render_group(findings, delivery.run))
        except NotificationError as error:
            return self._failed(delivery, error)
        except Exception as exc:  # noqa: BLE001  # a channel of somebody else's; its text may hold an address
            return self._failed(delivery, DeliveryError(f"{type(exc).__name__}", is_final=True))
        if self._has_complained:
            _log.info("notification by %s works again", self._channel.describe())
            self._has_complained = False
        for finding in findings:
            self._record(finding)
        return None

    def _failed(self, delivery: _Delivery, error: NotificationError) -> float | None:
        self._n_failures += 1
        is_final = isinstance(error, DeliveryError) and error.is_final
        if is_final or self._n_failures >= self._patience.max_tries:
            self._complain(f"{error}; not tried again for now, the findings stay open in the store")
            with self._changed:
                self._seen.difference_update(finding.key for finding in delivery.findings)
            return None
        self._complain(f"{error}; tried again in the background")
        pause_s = min(self._patience.first_retry_s * 2.0 ** (self._n_failures - 1), self._patience.max_retry_s)
        if isinstance(error, DeliveryError) and error.retry_after_s is not None:
            self._not_before = time.monotonic() + error.retry_after_s  # holds even when there is a hurry
        return pause_s

    def _complain(self, why: str) -> None:
        """Log the first of a row of failures; the rest would only bury the training's own output."""
        level = logging.DEBUG if self._has_complained else logging.WARNING
        _log.log(level, "notification by %s failed: %s", self._channel.describe(), why)
        self._has_complained = True

    def _is_sent(self, finding: Finding) -> bool:
        try:
            return self._already_sent(finding.id, self._channel.id)
        except Exception:  # noqa: BLE001  # better said twice than not at all
            _log.debug("cannot tell whether finding %s was sent", finding.id, exc_info=True)
            return False

    def _record(self, finding: Finding) -> None:
        try:
            self._record_sent(finding, self._channel.id)
        except Exception:  # noqa: BLE001  # the message is out; only another process may repeat it
            _log.warning("finding %s was sent, but that could not be recorded", finding.id, exc_info=True)

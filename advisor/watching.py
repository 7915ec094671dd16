"""Watches a store: looks at all runs of all processes, again and again, and tells channels what is wrong.

Each round brings home runs whose process died, applies the rules to every run that goes on or has just ended, lets the
isolation forest compare siblings now and then, and hands what was found to the desk (``advisor.notify.desk``). A thread
for each channel delivers beside it. Everything that matters is in the journal, so a watcher may be killed at any time.

Invariant: a round that fails changes nothing for the next one; what it had found is found again.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from advisor.findings import codes
from advisor.findings.alerting import STALE_AFTER_S, Alert, AlertState
from advisor.findings.keeping import reconcile
from advisor.findings.monitor import MIN_NEVER_LEARNED, NOT_LIVE
from advisor.findings.rules import judge, needs_siblings
from advisor.notify.desk import Desk
from advisor.notify.teller import LOOK_EVERY_S, Couriers
from storage.curves import of_training
from storage.errors import ExperimentNotFoundError, StorageError
from storage.place import Place
from storage.records import Curve, Event, Finding, Run, RunState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from advisor.app import Advisor
    from storage.journal import State
    from storage.store import RunStore

log = logging.getLogger(__name__)

EVERY_S: Final = LOOK_EVERY_S
"""Between two rounds; with ``alerting.PENDING_S`` an alert is seen at two looks before it fires."""
FEED_EVERY_S: Final = 1.0
"""Between two looks at what another tool writes; network file systems tell nobody that a file has grown."""
COMPARE_EVERY_S: Final = 600.0
"""Between two comparisons of an experiment's runs with each other, which cost more than all rules together."""
COMPARE_SHARE: Final = 0.1
"""Most of a watcher's time that comparing may take."""
RUNS_AT_ONCE: Final = 200
"""Runs whose curves are in memory together."""
LIVES_WITHIN_ROUNDS: Final = 3
"""Rounds within which a watcher that lives has said so."""
PICTURE_POINTS: Final = 1_000
"""Of a curve that is read to be drawn."""
STOP_WITHIN_S: Final = 5.0
"""How long a watcher that ends waits for the messages that are being sent."""


@dataclass(frozen=True, slots=True)
class Round:
    """What one round saw."""

    time: datetime
    n_running: int
    """Runs that go on."""
    n_judged: int
    """Runs to which the rules were applied."""
    n_found: int
    """Findings that were new, or came back."""
    alerts: Sequence[Alert]
    """Those that are open, the gravest first."""
    n_waiting: int
    """Messages that wait for their channels."""
    seconds: float
    """How long it took."""

    @property
    def n_firing(self) -> int:
        """Alerts that fire."""
        return sum(alert.state is AlertState.FIRING for alert in self.alerts)


@dataclass(slots=True)
class _Compared:
    """When an experiment's runs were compared last."""

    at: float = -float("inf")
    took_s: float = 0.0


class Watcher:
    """Watches one store.

    Parameters
    ----------
    adv
        What is watched; its own notifications must be off (``notify=()``), the desk sends.
    desk
        Decides what is told.
    experiment
        The only experiment to watch; all where None.
    compare
        Whether runs are also compared with each other, now and then.
    feed
        Called every second: brings what another tool has written since into the store, and returns the ids of the runs
        that it belongs to. They are looked at then and there.
    """

    def __init__(
        self,
        adv: Advisor,
        desk: Desk,
        *,
        experiment: str | None = None,
        compare: bool = True,
        feed: Callable[[], Collection[str]] | None = None,
    ) -> None:
        self._adv, self._desk, self._experiment, self._feed = adv, desk, experiment, feed
        self._fed: set[str] = set()
        self._compares = compare
        self._every_s = 0.0
        self._final: set[str] = set()
        self._mark: tuple[int, bytes] | None = None
        self._uncompared: dict[str, None] = {}
        self._compared: dict[str, _Compared] = {}
        self._stop = threading.Event()
        self._couriers = Couriers(desk.channels, lambda: desk)
        self._heartbeat = heartbeat_file(adv.store.uri)

    def stop(self) -> None:
        """End ``watch`` after the round that goes on; may be called by a signal handler."""
        self._stop.set()

    def look(self) -> Round:
        """Do one round, and write down the messages that are due; nothing is sent.

        Raises
        ------
        StorageError
            If the store cannot be reached.
        """
        begun, now = time.monotonic(), self._adv.clock()
        self._take_in()
        self._recover()
        state = self._adv.store.state()
        mark, runs = state.mark(), self._candidates(state, now)
        n_found = sum(self._judge(runs[at : at + RUNS_AT_ONCE], now) for at in range(0, len(runs), RUNS_AT_ONCE))
        self._final |= {run.id for run in runs if run.state.is_over}
        self._uncompared |= dict.fromkeys(run.experiment for run in runs)
        self._fed.clear()
        self._mark = mark  # only now: a round that failed begins anew
        alerts = self._desk.look().alerts
        n_running = sum(run.state is RunState.RUNNING for run in runs)
        seconds = time.monotonic() - begun
        seen = Round(now, n_running, len(runs), n_found, alerts, self._desk.n_waiting(), seconds)
        if self._every_s:  # one round for cron is no watcher that lives
            self._beat(seen)
        return seen

    def once(self) -> Round:
        """Do one round and send what is due; each channel is tried until it fails."""
        seen = self.look()
        self._deliver()
        while self._compare_one():
            pass
        alerts = self._desk.look().alerts
        self._deliver()
        return replace(seen, alerts=alerts, n_waiting=self._desk.n_waiting())

    def _deliver(self) -> None:
        for channel in self._desk.channels:
            self._desk.deliver(channel)

    def watch(self, every_s: float = EVERY_S) -> Iterable[Round]:
        """Yield what each round saw, until ``stop``; trouble with the store is said once and tried again."""
        self._every_s = every_s
        self._couriers.start()
        told = False
        try:
            while not self._stop.is_set():
                begun = time.monotonic()
                try:
                    yield self.look()
                    told = False
                    self._couriers.wake()
                    self._compare_one()  # what the rules found is on its way meanwhile
                except StorageError as error:
                    log.log(logging.DEBUG if told else logging.WARNING, "%s; it is tried again", error)
                    told = True
                self._wait(begun + every_s)
        finally:
            self.stop()
            with contextlib.suppress(OSError):
                self._heartbeat.unlink()
            self._couriers.stop(STOP_WITHIN_S)

    # -- inner workings

    def _take_in(self) -> None:
        """Bring in what another tool has written since."""
        if self._feed is not None:
            self._fed.update(self._feed())

    def _wait(self, until: float) -> None:
        """Wait for the next round, or until another tool has written something."""
        while not self._stop.is_set() and (left := until - time.monotonic()) > 0:
            self._stop.wait(left if self._feed is None else min(FEED_EVERY_S, left))
            try:
                self._take_in()
            except StorageError as error:  # the round says it
                log.debug("%s; it is tried again", error)
                return
            if self._fed:
                return

    def _recover(self) -> None:
        """Bring home runs whose process died on this machine."""
        from storage.lance_store import LanceRunStore
        from storage.recovery import recover

        if isinstance(self._adv.store, LanceRunStore):
            for found in recover(self._adv.store):
                log.info("run %s of %s: its process is gone, now %s", found.run_id, found.experiment, found.state)

    def _candidates(self, state: State, now: datetime) -> list[Run]:
        """Return the runs that go on, and those that ended since they were judged last and not too long ago."""
        changed = None if self._mark is None else state.changed_since(self._mark)
        ids = state.all_ids() if changed is None else [*state.running, *changed]
        ids += self._fed
        since = now - timedelta(seconds=STALE_AFTER_S)
        found = []
        for entry in state.entries(list(dict.fromkeys(ids))):
            run = entry.run
            if entry.hidden or run.was_over_when_imported or run.id in self._final - self._fed:
                continue
            if self._experiment is not None and run.experiment != self._experiment:
                continue
            is_recent = run.state.is_over and (run.ended or run.created) > since
            if run.state is RunState.RUNNING or is_recent or run.id in self._fed:
                found.append(run)
        return found

    def _judge(self, runs: Sequence[Run], now: datetime) -> int:
        """Apply the rules to some runs, and write down what changed; return how many findings are new or came back."""
        store = self._adv.store
        curves = store.curves([run.id for run in runs]) if runs else {}
        experiments = {record.name: record for record in store.experiments()}
        events: list[Event] = []
        n_found = 0
        for run in runs:
            own = of_training(curves.get(run.id, {}))
            record = experiments.get(run.experiment)
            if record is None:  # deleted since the round began
                continue
            found = judge(run, own, objective=record.objective, siblings=None, now=now).findings
            changes, n_new = self._changes(run, found, {f.id for f in found if _too_early(f, run, own)})
            events += changes
            n_found += n_new
        store.append(events)
        return n_found

    def _changes(self, run: Run, found: Sequence[Finding], early: set[str]) -> tuple[list[Event], int]:
        """Return the events that make a run's findings what its own curves show, and how many are new or came back.

        What it would be too early to say, and what only a comparison with siblings shows, is neither said nor taken
        back.
        """
        return reconcile(
            run.findings,
            [finding for finding in found if finding.id not in early],
            actor="watch",
            may_hold=lambda known: known.detector != "rules" or known.id in early or needs_siblings(known),
            # Of a run that goes on the figures change at every look; the first words stand until it gets graver.
            says_more=lambda now, was: run.state.is_over or now.severity != was.severity,
        )

    def _compare_one(self) -> bool:
        """Let the forest compare the runs of one experiment in which something happened; return whether one was due."""
        for name in self._uncompared if self._compares else ():
            last = self._compared.get(name, _Compared())
            pause_s = max(COMPARE_EVERY_S, last.took_s / COMPARE_SHARE)
            if time.monotonic() - last.at < pause_s or self._stop.is_set():
                continue
            begun = time.monotonic()
            del self._uncompared[name]
            try:
                self._adv.experiment(name, create=False).check()
            except ExperimentNotFoundError:
                log.debug("experiment %r was deleted or renamed meanwhile", name)
            self._compared[name] = _Compared(time.monotonic(), time.monotonic() - begun)
            return True
        return False

    def _beat(self, seen: Round) -> None:
        """Write down that the watcher lives; trouble with that is nobody's."""
        content = {
            "time": seen.time.isoformat(),
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "every_s": self._every_s,
            "experiment": self._experiment,
            "channels": [channel.id for channel in self._desk.channels],
            "n_running": seen.n_running,
            "n_firing": seen.n_firing,
            "n_waiting": seen.n_waiting,
            "round_s": round(seen.seconds, 3),
        }
        fresh = self._heartbeat.with_suffix(f".{os.getpid()}")
        with contextlib.suppress(OSError):
            self._heartbeat.parent.mkdir(parents=True, exist_ok=True)
            fresh.write_text(json.dumps(content), encoding="utf-8")
            os.replace(fresh, self._heartbeat)


def picture_of(store: RunStore, finding: Finding) -> bytes | None:
    """Draw the curve that a finding is about, its place marked; None where it is about none."""
    if finding.metric is None:
        return None
    curve = store.curves([finding.run_id], metrics=[finding.metric], max_points=PICTURE_POINTS).get(finding.run_id, {})
    if finding.metric not in curve:
        return None
    from advisor.documents.pictures import curve_png

    own = curve[finding.metric]
    return curve_png(finding.metric, own.steps, own.values, mark=finding.step)


def heartbeat_file(uri: str) -> Path:
    """Return where the watchers of a store say that they live."""
    return Place(uri).work_folder("cache") / "watch.json"


def leaves_to_watcher(uri: str, channel_id: str, *, now: datetime) -> bool:
    """Return whether a watcher on this machine lives that tells a channel of all experiments of a store.

    Then a process that ends leaves to it what waits for more runs of its group.
    """
    try:
        beat = json.loads(heartbeat_file(uri).read_text(encoding="utf-8"))
        silent_s = (now - datetime.fromisoformat(beat["time"])).total_seconds()
        is_alive = silent_s < LIVES_WITHIN_ROUNDS * max(float(beat["every_s"]), EVERY_S)
        return is_alive and beat["experiment"] is None and channel_id in beat["channels"]
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _too_early(finding: Finding, run: Run, curves: Mapping[str, Curve]) -> bool:
    """Return whether something is not to be said of a run that goes on, see ``advisor.findings.monitor``."""
    if run.state.is_over:
        return False
    is_young = finding.metric is not None and len(curves[finding.metric]) < MIN_NEVER_LEARNED
    return finding.code in NOT_LIVE or (finding.code == codes.NEVER_LEARNED.code and is_young)

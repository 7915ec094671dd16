"""The overview: everything that needs a person, put together from one store at one moment.

``Overview`` lives as long as its store is open and keeps what is costly to read; ``Triage`` is one look. Its parts are
worked out when somebody asks for them.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, Final

from advisor.findings.alerts import Mute, Scope, Seen
from advisor.findings.codes import CODES
from advisor.silencing import LiveBook
from advisor.triage.groups import Cause, Group, causes, grouped
from advisor.triage.pulses import Pulse, Pulses
from advisor.triage.waiting import Shelf, Waiting, Written
from storage.journal import State
from storage.records import Experiment, Finding, FindingState, Run
from storage.store import RunStore

MEMBERS: Final = 20
"""Runs of a group that are named."""
RUNNING: Final = 24
"""Runs that go on of which the curves are looked at, the newest."""
EXPERIMENTS: Final = 12
SUGGESTIONS: Final = 10
DOCUMENTS: Final = 8
ACKNOWLEDGED: Final = 20
NEW_FOR: Final = timedelta(days=7)
"""How long a document counts as just written."""


@dataclass(frozen=True, slots=True)
class Muted:
    """What is muted, with a name for people."""

    mute: Mute
    _: KW_ONLY
    called: str
    n_findings: int
    """Open findings that it keeps from sight."""

    def as_json(self) -> dict[str, Any]:
        """Return the public JSON form."""
        mute = self.mute
        about = {"scope": mute.scope, "target": mute.target, "until": mute.until, "reason": mute.reason}
        return about | {"called": self.called, "n_findings": self.n_findings}


@dataclass(frozen=True, slots=True)
class Counted:
    """An experiment in figures."""

    record: Experiment
    _: KW_ONLY
    n_runs: int
    n_running: int
    n_findings: int
    """Open ones that nobody has muted or acknowledged."""

    def as_json(self) -> dict[str, Any]:
        """Return the public JSON form."""
        about = {"experiment": self.record.name, "created": self.record.created, "n_runs": self.n_runs}
        return about | {"n_running": self.n_running, "n_findings": self.n_findings}


class Overview:
    """Looks at one store again and again; threads may share it.

    Parameters
    ----------
    book
        What is known of alerts, where the process keeps it already (``Advisor.alerts``); one of its own where None.
    """

    def __init__(self, store: RunStore, *, book: LiveBook | None = None) -> None:
        self.store = store
        self.book = book or LiveBook(store)
        self.pulses = Pulses(store)
        self.shelf = Shelf(store)
        self._hidden: tuple[int, frozenset[str]] = (-1, frozenset())
        self._lock = threading.Lock()

    def look(self, now: datetime) -> Triage:
        """Return what needs a person now."""
        return Triage(self, now)

    def hidden(self, state: State) -> frozenset[str]:
        """Return the ids of the runs that are deleted, or whose experiment is."""
        with self._lock:
            if self._hidden[0] != state.version:
                self._hidden = (state.version, frozenset(entry.run.id for entry in state.hidden()))
            return self._hidden[1]


class Triage:
    """What needs a person, as it is at one moment."""

    def __init__(self, overview: Overview, now: datetime) -> None:
        self._all, self.now = overview, now
        self._store = overview.store

    # -- findings

    @cached_property
    def groups(self) -> list[Group]:
        """Open findings by cause and sweep, what calls somebody first."""
        return grouped(self._causes, n_of=self._n_runs, runs_of=self._runs_of, n_members=MEMBERS)

    @property
    def urgent(self) -> list[Group]:
        """Those that call somebody."""
        return [group for group in self.groups if group.is_urgent]

    @property
    def mild(self) -> list[Group]:
        """Those that are only worth knowing."""
        return [group for group in self.groups if not group.is_urgent]

    def findings_of(self, experiment: str, code: str, *, through: datetime | None = None) -> list[Seen]:
        """Return the open findings of one group, all of them; of those only that had come by a time."""
        several = self._causes.get((experiment, code), [])
        return [seen for seen in several if through is None or seen.open_since <= through]

    @cached_property
    def acknowledged(self) -> list[tuple[Finding, Run, datetime]]:
        """Findings that somebody has seen and that are still there, the last seen first: finding, run, when."""
        with self._all.book.reading() as book:
            seen = [each for each in book.findings.values() if each.state is FindingState.ACKNOWLEDGED]
            seen = sorted(seen, key=lambda each: each.changed, reverse=True)[:ACKNOWLEDGED]
            found = [(each.finding, each.changed) for each in seen]
        runs = self._runs_of([finding.run_id for finding, _ in found])
        return [(finding, runs[finding.run_id], when) for finding, when in found if finding.run_id in runs]

    @cached_property
    def muted(self) -> list[Muted]:
        """What nobody wants to hear of."""
        with self._all.book.reading() as book:
            mutes = book.active_mutes(self.now)
            everything = causes(book, home=self._home, hidden=self._hidden) if mutes else {}
        return [Muted(mute, called=self._called(mute), n_findings=_n_kept(mute, everything)) for mute in mutes]

    @cached_property
    def _causes(self) -> dict[Cause, list[Seen]]:
        with self._all.book.reading() as book:
            mutes = book.active_mutes(self.now)
            return causes(book, home=self._home, hidden=self._hidden, mutes=mutes)

    # -- what goes on

    @cached_property
    def running(self) -> list[Pulse]:
        """Runs that go on, those that have gone silent first, then the newest; at most ``RUNNING``."""
        state = self._store.state()
        entries = [entry for entry in state.entries(list(state.running)) if not entry.hidden]
        runs = sorted((entry.run for entry in entries), key=lambda run: run.started or run.created, reverse=True)
        pulses = self._all.pulses.of(runs[:RUNNING], self._experiments, now=self.now)
        return sorted(pulses, key=lambda pulse: not pulse.is_silent)

    @cached_property
    def n_running(self) -> int:
        """How many runs go on."""
        return sum(self._n_running.values())

    @property
    def silent(self) -> list[Pulse]:
        """Runs that have gone silent, and of which no finding says so yet."""
        told = {m.finding.run_id for group in self.groups if group.slug == "stalled" for m in group.members}
        return [pulse for pulse in self.running if pulse.is_silent and pulse.run.id not in told]

    # -- what waits

    @cached_property
    def suggestions(self) -> list[Waiting]:
        """Suggestions that nobody has started, the newest first."""
        return self._all.shelf.suggestions(self._store.state(), now=self.now)[:SUGGESTIONS]

    @cached_property
    def documents(self) -> list[Written]:
        """Documents that were just written, the newest first."""
        found = self._all.shelf.documents(self._store.state())[:DOCUMENTS]
        return [each for each in found if self.now - each.time < NEW_FOR]

    @cached_property
    def incidents(self) -> dict[str, Written]:
        """The newest incident note of a finding, by the finding's id."""
        found = self._all.shelf.documents(self._store.state())
        return {each.finding_id: each for each in reversed(found) if each.finding_id}

    # -- experiments

    @cached_property
    def experiments(self) -> list[Counted]:
        """Experiments in figures: those in which something goes on or is wrong first, then the newest; not all."""
        n_findings: Counter[str] = Counter()
        for (name, _), several in self._causes.items():
            n_findings[name] += len(several)
        counted = [
            Counted(
                record,
                n_runs=self._n_runs.get(record.name, 0),
                n_running=self._n_running[record.name],
                n_findings=n_findings[record.name],
            )
            for record in self._experiments.values()
        ]
        counted.sort(key=lambda one: (one.n_running > 0, one.n_findings > 0, one.record.number), reverse=True)
        return counted[:EXPERIMENTS]

    @property
    def n_experiments(self) -> int:
        """How many experiments there are."""
        return len(self._experiments)

    @property
    def n_runs(self) -> int:
        """How many runs there are."""
        return sum(self._n_runs.values())

    @property
    def is_calm(self) -> bool:
        """Whether nothing calls for anybody."""
        return not self.urgent and not self.silent

    def as_json(self) -> dict[str, Any]:
        """Return the public JSON form."""
        return {
            "findings": [group.as_json() for group in self.groups],
            "silent": [pulse.as_json() for pulse in self.silent],
            "running": [pulse.as_json() for pulse in self.running],
            "n_running": self.n_running,
            "suggestions": [each.as_json() for each in self.suggestions],
            "documents": [each.as_json() for each in self.documents],
            "muted": [each.as_json() for each in self.muted],
            "experiments": [each.as_json() for each in self.experiments],
        }

    # -- inner workings

    @cached_property
    def _experiments(self) -> dict[str, Experiment]:
        return {record.name: record for record in self._store.experiments()}

    @cached_property
    def _n_runs(self) -> dict[str, int]:
        return self._store.state().n_runs_each()

    @cached_property
    def _n_running(self) -> Counter[str]:
        state = self._store.state()
        return Counter(e.run.experiment for e in state.entries(list(state.running)) if not e.hidden)

    @cached_property
    def _hidden(self) -> frozenset[str]:
        return self._all.hidden(self._store.state())

    @cached_property
    def _homes(self) -> dict[str, str | None]:
        return {}

    def _home(self, finding: Finding) -> str | None:
        """Return what the experiment of a finding is called now, None where it is gone."""
        name = self._all.book.moved.get(finding.run_id, finding.experiment)
        if name not in self._homes:
            state = self._store.state()
            number = state.number_of(name)
            book = None if number is None else state.books().get(number)
            self._homes[name] = None if book is None or book.deleted is not None else book.record.name
        return self._homes[name]

    def _runs_of(self, run_ids: Sequence[str]) -> dict[str, Run]:
        entries = self._store.state().entries(list(dict.fromkeys(run_ids)))
        return {entry.run.id: entry.run for entry in entries if not entry.hidden}

    def _called(self, mute: Mute) -> str:
        if mute.scope == "code" and mute.target in CODES:
            return f"{mute.target} {CODES[mute.target].slug}"
        if mute.scope == "run":
            run = self._runs_of([mute.target]).get(mute.target)
            return mute.target if run is None else f"{run.experiment}#{run.number}"
        if mute.scope == "finding":
            with self._all.book.reading() as book:
                seen = book.findings.get(mute.target)
            return mute.target if seen is None else seen.finding.title
        return mute.target


def _n_kept(mute: Mute, everything: dict[Cause, list[Seen]]) -> int:
    def fits(scope: Scope, cause: Cause, seen: Seen) -> bool:
        about = {"experiment": cause[0], "code": cause[1], "run": seen.finding.run_id, "finding": seen.finding.id}
        return about[scope] == mute.target

    return sum(fits(mute.scope, cause, seen) for cause, several in everything.items() for seen in several)

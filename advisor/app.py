"""The advisor: opens a store and hands out experiments. The only place where the parts are wired together.

What an experiment can do is in ``advisor.experiment``; here it gets what it works with: the store,
the notifier, the clock, the settings.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from advisor import config
from advisor.errors import ConfigError, SpaceError
from advisor.redact import scrub
from advisor.suggest.space import Space
from advisor.tracking import exits
from storage.curves import mean_last_k, summaries
from storage.errors import StoreUnavailableError
from storage.events import read_objectives
from storage.opening import Opening
from storage.records import DIRECTIONS, Direction, Event, Finding, Run, utc_now
from storage.records import Experiment as ExperimentRecord
from storage.store import RunStore, SearchHit

if TYPE_CHECKING:
    from advisor.experiment import Experiment
    from advisor.history import Line
    from advisor.lifecycle import Deleted
    from advisor.notify import Notifier
    from storage.store import Progress

log = logging.getLogger(__name__)

DEFINED_AFTER_S: Final = 1.0
"""An experiment that was declared and not used reaches the store after this; one that is used, before."""
CAPTURE_FOR_S: Final = 10.0
"""A capture of code and hardware serves all runs that this process starts within this time."""


class Advisor:
    """One store, and everything that can be asked of it.

    Made by ``advisor.open``, which does not wait for the store: the first thing that reads does, and finds everything
    in it that this program said before. Usable as a context manager; closing waits for notifications under way.
    """

    def __init__(
        self,
        store: RunStore | Opening,
        settings: config.Settings,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.opening = store if isinstance(store, Opening) else Opening(store.uri, store=store)
        self.settings = settings
        self.clock = clock
        self._notifier: Notifier | None = None
        self._captured: tuple[float, Mapping[str, Any]] | None = None
        self._lock = threading.Lock()
        self._known: dict[str, _Known] = {}
        self._undelivered: dict[str, list[Event]] = {}

    @property
    def store(self) -> RunStore:
        """The store, once it is open and everything said so far is in it.

        Raises
        ------
        StorageError
            If it cannot be opened.
        """
        return self.opening.get()

    # -- experiments

    def experiment(
        self,
        name: str,
        *,
        objective: str | Sequence[str] | None = None,
        direction: Direction | Sequence[Direction] | None = None,
        space: Mapping[str, Any] | None = None,
        description: str | None = None,
        reduce: str | None = None,
        create: bool = True,
    ) -> Experiment:
        """Create an experiment, or reopen it; what is given and differs is updated.

        Parameters
        ----------
        name
            Any text.
        objective
            Name of the metric that it is about; several for a trade-off.
        direction
            ``minimize`` or ``maximize``, one for each objective; by default what it was, at first ``minimize``.
        space
            Name → ``Float``, ``Int``, ``Choice`` or an Optuna distribution.
        description
            What the experiment asks, in plain words; it is searched.
        reduce
            How a curve becomes one value: ``last`` (last finite value, the default), ``best`` or ``mean-last-K``.
        create
            Whether to create it where there is none.

        Raises
        ------
        ExperimentNotFoundError
            If there is none and ``create`` is false.
        ConfigError, SpaceError
            If what is given makes no sense.
        """
        from advisor.experiment import Experiment

        if not isinstance(name, str) or not name.strip():
            raise ConfigError(f"an experiment needs a name, not {name!r}")
        self.opening.check_process()
        given: dict[str, Any] = {}
        if objective is not None or direction is not None:
            given["objectives"] = _asked(objective, direction)
        if space is not None:
            given["space"] = Space.of(space).to_json()
        if description is not None:
            given["description"] = scrub(description)
        if reduce is not None:
            given["reduce"] = checked_reduce(reduce)
        record, sure = self._look_up(name, given)
        if record is None and not create:
            self.store.experiment(name)  # it raises where there is none
        if record is None and not sure:
            record, sure = self.store.state().experiments.get(name), True
        self._define(name, given, record)
        return Experiment(self, name)

    def record_to_start(self, name: str, params: Mapping[str, Any]) -> ExperimentRecord:
        """Return what a run of the experiment starts with, from the store only where it must be asked.

        Raises
        ------
        SpaceError
            If the parameters do not fit the declared space.
        StorageError
            If the store must be asked and cannot be.
        """
        record = None
        if self.opening.opened is not None:
            try:
                record = self.store.experiment(name)
            except StoreUnavailableError as error:
                if self.settings.strict or name not in self._known:
                    raise
                log.warning("%s; a run of %r starts all the same", error, name)
        known = self._known.get(name)
        fresh = record is not None
        if record is None and known is not None and (known.space_is_known or not params):
            record = known.record
        if record is None:
            record, fresh = self.store.experiment(name), True
        if record.space and params:
            try:
                Space.from_json(record.space).check(params)
            except SpaceError:
                if fresh or (known is not None and known.space_is_given):
                    raise
                record = self.store.experiment(name)  # what was known may be old: the store has the last word
                if record.space:
                    Space.from_json(record.space).check(params)
        return record

    def latest(self, record: ExperimentRecord) -> ExperimentRecord:
        """Return what is known of an experiment by now, without asking the store."""
        known = self._known.get(record.name)
        return record if known is None else known.record

    def definitions(self, name: str) -> list[Event]:
        """Return what was said of an experiment and has not reached the store."""
        return list(self._undelivered.get(name, ())) if self.opening.waits else []

    def experiments(self) -> list[Experiment]:
        """Return all experiments in the order of their creation."""
        from advisor.experiment import Experiment

        return [Experiment(self, record.name) for record in self.store.experiments()]

    def _look_up(self, name: str, given: Mapping[str, Any]) -> tuple[ExperimentRecord | None, bool]:
        """Return what is known of an experiment, and whether that is enough to go on without the store.

        None and true: there is none of that name, or what there is gets what is given here.
        """
        if self.opening.opened is not None or self.settings.strict:
            try:
                return self.store.state().experiments.get(name), True
            except StoreUnavailableError as error:
                if self.settings.strict:
                    raise
                log.warning("%s; what is said of %r is delivered later", error, name)
        known = self._known.get(name)
        if known is not None:
            return known.record, True
        catalog = self.opening.catalog()
        if catalog is not None and name in catalog:
            self._known[name] = _Known(catalog[name], space_is_known=True)
            return catalog[name], True
        # On this machine, what the catalog does not list was not there when it was written.
        absent = catalog is not None and self.opening.place.folder is not None
        return None, absent or any(key in given for key in ("space", "description", "reduce")) or _names_metrics(given)

    def _define(self, name: str, given: Mapping[str, Any], record: ExperimentRecord | None) -> None:
        """Say what an experiment is: at once where the store is open, otherwise as soon as it is."""
        wanted = _resolved(name, given, record)
        changed = wanted if record is None else {k: v for k, v in wanted.items() if _differs(record, k, v)}
        if record is not None and not changed:
            self._remember(name, record, wanted)
            return
        kind = "experiment.created" if record is None else "experiment.updated"
        event = Event.new(kind, name, time=self.clock(), actor="advisor", **changed)
        self._remember(name, _with(record, name, changed), wanted)
        if not self.opening.waits:
            self._undelivered.clear()
        self._undelivered.setdefault(name, []).append(event)
        self.opening.announce(lambda store: self._defining(store, given, event), defines=True)
        if self.opening.opened is None and not self.settings.strict:
            self.opening.soon(DEFINED_AFTER_S)
            return
        try:
            self.opening.get()
        except StoreUnavailableError as error:
            if self.settings.strict:
                raise
            log.warning("%s; what is said of %r is delivered later", error, name)

    def _remember(self, name: str, record: ExperimentRecord, wanted: Mapping[str, Any]) -> None:
        """Keep what is known of an experiment, for starts that do not wait for the store."""
        catalog = self.opening.catalog()
        before = self._known.get(name)
        self._known[name] = _Known(
            record,
            space_is_given="space" in wanted or (before is not None and before.space_is_given),
            space_is_known="space" in wanted
            or (before is not None and before.space_is_known)
            or self.opening.opened is not None
            or (catalog is not None and (name in catalog or self.opening.place.folder is not None)),
        )

    def _defining(self, store: RunStore, given: Mapping[str, Any], event: Event) -> list[Event]:
        """Return the events that make an experiment what was said, given what the store holds."""
        name = event.experiment
        record = store.state().experiments.get(name)
        if record is None:
            body = _resolved(name, given, None)
            created = Event.new("experiment.created", name, time=event.time, actor="advisor", **body)
            return [event if event.kind == created.kind else created]
        changed = {k: v for k, v in _resolved(name, given, record).items() if _differs(record, k, v)}
        self._known[name] = _Known(_with(record, name, changed), space_is_known=True)
        if not changed:
            return []
        self._tell_what_changes(store, record, changed)
        return self._updating(store, record, changed)

    def _tell_what_changes(self, store: RunStore, record: ExperimentRecord, changed: Mapping[str, Any]) -> None:
        """Say it where runs that are there already will be valued anew."""
        n_runs = store.state().n_runs_of(record.name)
        if not n_runs or "objectives" not in changed or not record.objectives:
            return
        before, after = (
            ", ".join(f"{direction} {metric}" for metric, direction in pairs)
            for pairs in (
                [(o.metric, o.direction) for o in record.objectives],
                [(o["metric"], o["direction"]) for o in changed["objectives"]],
            )
        )
        log.warning(
            "the objective of %r changes from %s to %s; its %d runs are valued anew", record.name, before, after, n_runs
        )

    def _updating(self, store: RunStore, record: ExperimentRecord, changed: Mapping[str, Any]) -> list[Event]:
        """Return what says that it changed; where runs are valued by an average, work it out for those that ended."""
        events = [Event.new("experiment.updated", record.name, time=self.clock(), actor="advisor", **changed)]
        reduce = changed.get("reduce", record.reduce)
        if mean_last_k(reduce) is not None:
            ended = [run.id for run in store.runs(record.name) if run.state.is_over]
            for run_id, curves in store.curves(ended).items():
                summary = summaries(curves, reduce=reduce)
                events.append(Event.new("run.summarized", record.name, run_id, actor="advisor", summary=summary))
        return events

    # -- what becomes of them

    def delete(self, what: str | Sequence[str], *, force: bool = False) -> list[Deleted]:
        """Delete experiments and runs: they are hidden from every read, and removed for good after a grace period.

        Parameters
        ----------
        what
            Names of experiments; ids of runs, beginnings of ids, or ``EXPERIMENT#NUMBER``.
        force
            Whether to delete runs that still run, too. Their processes go on and notice nothing.

        Raises
        ------
        ExperimentNotFoundError, RunNotFoundError
            If something is not there; then nothing is deleted.
        RecordError
            If a run is still running and ``force`` is false, or another process was faster.
        """
        from advisor import lifecycle

        return lifecycle.delete(self.store, _listed(what), force=force, now=self.clock())

    def restore(self, what: str | Sequence[str]) -> list[Deleted]:
        """Bring back what was deleted; of several experiments that had a name, the one deleted last.

        Raises
        ------
        ExperimentNotFoundError, RunNotFoundError
            If nothing that is deleted is called so.
        ExperimentExistsError
            If another experiment has the name by now.
        RecordError
            If a run's experiment is deleted too, or another process was faster.
        """
        from advisor import lifecycle

        return lifecycle.restore(self.store, _listed(what), now=self.clock())

    def deleted(self) -> list[Deleted]:
        """Return what can be restored, the latest deletion last."""
        from advisor import lifecycle

        return lifecycle.deleted(self.store)

    def move(self, runs: str | Sequence[str], to: str) -> list[Run]:
        """Move runs to another experiment, where each gets the next number, and is valued by its objective.

        Raises
        ------
        ExperimentNotFoundError, RunNotFoundError
            If something is not there; then nothing is moved.
        ConfigError
            If a run is in that experiment already.
        RecordError
            If another process was faster.
        """
        from advisor import lifecycle

        return lifecycle.move(self.store, _listed(runs), to, now=self.clock())

    def history(self, what: str | None = None, *, limit: int | None = None, folded: bool = True) -> list[Line]:
        """Return what happened, in words, the newest last.

        Parameters
        ----------
        what
            An experiment or a run, deleted ones too, by what they are or were called; None tells of all.
        limit
            How many lines, of the newest; all where None.
        folded
            Whether what Optuna reports of a run, value by value, is one line, and the store's own book-keeping none.
        """
        from advisor import chronicle

        return chronicle.tell(self.store, what, limit=limit, folded=folded)

    # -- runs of all experiments

    def run(self, run_id: str) -> Run:
        """Return one run by its id or an unmistakable beginning of it.

        Raises
        ------
        RunNotFoundError
            If no run, or more than one, fits.
        """
        return self.store.run(run_id)

    def runs(
        self,
        *,
        where: str | None = None,
        order_by: str | None = None,
        descending: bool = False,
        limit: int | None = None,
    ) -> list[Run]:
        """Return runs of all experiments; see ``Experiment.runs``."""
        return self.store.runs(where=where, order_by=order_by, descending=descending, limit=limit)

    def search(
        self, text: str, *, where: str | None = None, limit: int = 10, progress: Progress | None = None
    ) -> list[SearchHit]:
        """Return the runs whose description fits ``text`` best, by words and by meaning.

        Numbers are found by ``where``, not by likeness.

        Raises
        ------
        FilterError
            If ``where`` cannot be understood.
        """
        return self.store.search(text, where=where, limit=limit, progress=progress)

    # -- what experiments work with

    def notify(self, findings: Sequence[Finding]) -> None:
        """Send findings to the configured channels, each once; returns at once."""
        notifier = self.ready_to_notify()
        known = self.store.state().runs
        notifier.notify(findings, {f.run_id: known[f.run_id] for f in findings if f.run_id in known})

    def ready_to_notify(self) -> Notifier:
        """Open the configured channels, unless they are open."""
        with self._lock:
            if self._notifier is None:
                self._notifier = self._make_notifier()
                self._notifier.start()
            return self._notifier

    def capture(self) -> Mapping[str, Any]:
        """Return what is known of code, environment and hardware; empty where capturing is switched off."""
        if not self.settings.capture:
            return {}
        with self._lock:
            if self._captured is None or time.monotonic() - self._captured[0] > CAPTURE_FOR_S:
                from advisor.tracking.capture import capture

                self._captured = (time.monotonic(), capture(diff_limit_bytes=self.settings.diff_limit_bytes))
            return self._captured[1]

    def _make_notifier(self) -> Notifier:
        from advisor.notify import Notifier, open_channel

        def record_sent(finding: Finding, channel_id: str) -> None:
            body = {"finding_id": finding.id, "channel": channel_id}
            event = Event.new(
                "finding.notified", finding.experiment, finding.run_id, time=self.clock(), actor="notify", **body
            )
            self.store.append([event])

        notifier = Notifier(
            [open_channel(address) for address in self.settings.notify],
            already_sent=lambda finding_id, channel_id: (finding_id, channel_id) in self.store.state().notified,
            record_sent=record_sent,
            min_severity=self.settings.notify_severity,
        )
        exits.close_at_end(notifier.close)  # a script's last message is on its way when the script is over
        return notifier

    def close(self) -> None:
        """Wait for notifications under way, and let go of the store."""
        if self._notifier is not None:
            self._notifier.close()
            self._notifier = None
        self.opening.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Advisor {self.opening.uri}>"


def open(uri: str | Path | None = None, *, create: bool = True, **settings: Any) -> Advisor:  # the public name
    """Open a store of runs, and make it where there is none.

    Returns at once: the database is loaded when something is read, or in the background while a run trains. Runs whose
    process died without a word are recovered on the way.

    Parameters
    ----------
    uri
        A folder or an address such as ``s3://bucket/runs``; by default ``$ADVISOR_STORE``, the setting
        ``store`` of advisor.toml or pyproject.toml, or ``./advisor-store``.
    create
        Whether to make a store where there is none.
    settings
        Any other setting, see ``advisor.config.Settings``.

    Raises
    ------
    StoreNotFoundError
        If there is no store and ``create`` is false.
    StoreUnavailableError, SchemaTooNewError
        If it is plain that the store cannot be opened; trouble that shows later is raised by what reads.
    ConfigError
        If a setting cannot be used.

    Examples
    --------
    >>> import advisor, tempfile
    >>> adv = advisor.open(tempfile.mkdtemp())
    >>> exp = adv.experiment("demo", objective="loss", space={"lr": advisor.Float(1e-4, 1, log=True)})
    >>> with exp.start(params={"lr": 0.1}) as run:
    ...     run.log({"loss": 0.5})
    >>> exp.best().params["lr"]
    0.1
    """
    if uri is not None:
        settings["store"] = str(uri)
    resolved = config.resolve(**settings)
    if resolved.notify:
        from advisor.notify.channels import check_address

        for address in resolved.notify:
            check_address(address)
    embedder = None
    if resolved.embedder is not None:
        from storage.embed import choose_embedder

        embedder = choose_embedder(resolved.embedder)
    return Advisor(Opening(resolved.store, create=create, embedder=embedder), resolved)


def checked_reduce(reduce: str) -> str:
    """Return the way a curve becomes one value, or refuse it.

    Raises
    ------
    ConfigError
        If it is none of ``last``, ``best``, ``mean-last-K``.
    """
    if reduce in ("last", "best") or mean_last_k(reduce) is not None:
        return reduce
    raise ConfigError(
        f"reduce = {reduce!r} is unknown; allowed are 'last', 'best' and 'mean-last-K', K a number like 5"
    )


def _listed(references: str | Sequence[str]) -> list[str]:
    return [references] if isinstance(references, str) else list(references)


# -- what was said of an experiment


@dataclass(frozen=True, slots=True)
class _Known:
    """What this process knows of an experiment without asking the store."""

    record: ExperimentRecord
    _: KW_ONLY
    space_is_given: bool = False
    """Whether this program said what the space is."""
    space_is_known: bool = False
    """Whether the store would not know of another space."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """Objectives as they were given; what was left out depends on what the experiment has."""

    metrics: tuple[str, ...] | None
    directions: tuple[str, ...] | None


def _asked(objective: str | Sequence[str] | None, direction: Direction | Sequence[Direction] | None) -> _Asked:
    for one in [direction] if isinstance(direction, str) else direction or ():
        if one not in DIRECTIONS:
            raise ConfigError(f"direction {one!r} is not one of {' and '.join(map(repr, DIRECTIONS))}")
    return _Asked(
        (objective,) if isinstance(objective, str) else None if objective is None else tuple(objective),
        (direction,) if isinstance(direction, str) else None if direction is None else tuple(direction),
    )


def _names_metrics(given: Mapping[str, Any]) -> bool:
    return "objectives" in given and given["objectives"].metrics is not None


def _resolved(name: str, given: Mapping[str, Any], record: ExperimentRecord | None) -> dict[str, Any]:
    """Return what is given as an event says it; a metric keeps the direction that it has unless another is given."""
    if "objectives" not in given:
        return dict(given)
    asked: _Asked = given["objectives"]
    known = {} if record is None else {o.metric: o.direction for o in record.objectives}
    if asked.metrics is None and not known:
        raise ConfigError(f"a direction was given for {name!r}, but no objective: objective='val_loss' for one")
    metrics = list(known) if asked.metrics is None else asked.metrics
    directions: Sequence[str] = asked.directions or [known.get(metric, "minimize") for metric in metrics]
    if len(directions) != len(metrics):
        raise ConfigError(f"{len(metrics)} objectives and {len(directions)} directions; give one for each")
    pairs = zip(metrics, directions, strict=True)
    return {**given, "objectives": [{"metric": metric, "direction": direction} for metric, direction in pairs]}


def _with(record: ExperimentRecord | None, name: str, changed: Mapping[str, Any]) -> ExperimentRecord:
    """Return an experiment as it will be."""
    if record is None:
        record = ExperimentRecord(name, number=-1, created=utc_now())
    changes = dict(changed)
    if "objectives" in changes:
        changes["objectives"] = read_objectives(changes["objectives"])
    return replace(record, **changes)


def _differs(record: ExperimentRecord, key: str, value: Any) -> bool:
    if key == "objectives":
        return read_objectives(value) != record.objectives
    if key == "space" and record.space is not None:
        return bool({name: dict(dim) for name, dim in record.space.items()} != value)
    return bool(getattr(record, key) != value)

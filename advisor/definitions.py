"""What a program says of its experiments, before the store has heard it: objectives, space, description.

A training can start without waiting for the database: what is said here is remembered, announced to the opening store
(``storage.opening``), and compared with what the store holds once that is there. Leaves out runs.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from datetime import datetime
from typing import Any, Final

from advisor.errors import ConfigError, SpaceError
from advisor.suggest.problem import Problem
from advisor.suggest.space import Space
from storage.curves import mean_last_k, summaries
from storage.errors import StoreUnavailableError
from storage.events import read_objectives
from storage.opening import Opening
from storage.records import DIRECTIONS, Direction, Event, Experiment, Run, utc_now
from storage.store import RunStore

log = logging.getLogger(__name__)

DEFINED_AFTER_S: Final = 1.0
"""An experiment that was declared and not used reaches the store after this; one that is used, before."""


@dataclass(frozen=True, slots=True)
class _Known:
    """What this process knows of an experiment without asking the store."""

    record: Experiment
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


class Definitions:
    """What one program knows and says of experiments.

    Parameters
    ----------
    opening
        The store, open or not.
    strict
        Whether trouble of the store is raised at once.
    clock
        Says when something was said.
    """

    def __init__(self, opening: Opening, *, strict: bool, clock: Callable[[], datetime]) -> None:
        self._opening, self._strict, self._clock = opening, strict, clock
        self._known: dict[str, _Known] = {}
        self._undelivered: dict[str, list[Event]] = {}

    def say(self, name: str, given: Mapping[str, Any], *, create: bool) -> None:
        """Say what an experiment is; what is given and differs from what it was is updated.

        Parameters
        ----------
        given
            ``objectives`` as from ``asked``, ``space`` as JSON, ``description``, ``reduce``, ``problem``; any may be
            missing. Of ``problem`` the parts that are given replace those that were said before (see ``_merged``).
        create
            Whether to create it where there is none.

        Raises
        ------
        ExperimentNotFoundError
            If there is none and ``create`` is false.
        ConfigError, SpaceError
            If the objectives or the problem make no sense.
        """
        record, sure = self._look_up(name, given)
        if record is None and not create:
            self._store.experiment(name)  # it raises where there is none
        if record is None and not sure:
            record, sure = self._store.state().experiments.get(name), True
        if "problem" in given:
            given = {**given, "problem": _checked(name, given, record, self._runs_of(record))}
        self._define(name, given, record)

    @property
    def _store(self) -> RunStore:
        return self._opening.get()

    def _runs_of(self, record: Experiment | None) -> list[Run]:
        """Return the runs of an experiment without a declared space, as far as the store is open."""
        if record is None or record.space or self._opening.opened is None:
            return []
        try:
            return list(self._store.state().runs_of(record.name))
        except StoreUnavailableError:
            return []

    def record_to_start(self, name: str, params: Mapping[str, Any]) -> Experiment:
        """Return what a run of the experiment starts with, from the store only where it must be asked.

        Raises
        ------
        SpaceError
            If the parameters do not fit the declared space.
        StorageError
            If the store must be asked and cannot be.
        """
        record = None
        if self._opening.opened is not None:
            try:
                record = self._store.experiment(name)
            except StoreUnavailableError as error:
                if self._strict or name not in self._known:
                    raise
                log.warning("%s; a run of %r starts all the same", error, name)
        known = self._known.get(name)
        fresh = record is not None
        if record is None and known is not None and (known.space_is_known or not params):
            record = known.record
        if record is None:
            record, fresh = self._store.experiment(name), True
        if record.space and params:
            try:
                Space.from_json(record.space).check(params)
            except SpaceError:
                if fresh or (known is not None and known.space_is_given):
                    raise
                record = self._store.experiment(name)  # what was known may be old: the store has the last word
                if record.space:
                    Space.from_json(record.space).check(params)
        return record

    def latest(self, record: Experiment) -> Experiment:
        """Return what is known of an experiment by now, without asking the store."""
        known = self._known.get(record.name)
        return record if known is None else known.record

    def undelivered(self, name: str) -> list[Event]:
        """Return what was said of an experiment and has not reached the store."""
        return list(self._undelivered.get(name, ())) if self._opening.waits else []

    def _look_up(self, name: str, given: Mapping[str, Any]) -> tuple[Experiment | None, bool]:
        """Return what is known of an experiment, and whether that is enough to go on without the store.

        None and true: there is none of that name, or what there is gets what is given here.
        """
        if self._opening.opened is not None or self._strict:
            try:
                return self._store.state().experiments.get(name), True
            except StoreUnavailableError as error:
                if self._strict:
                    raise
                log.warning("%s; what is said of %r is delivered later", error, name)
        known = self._known.get(name)
        if known is not None:
            return known.record, True
        catalog = self._opening.catalog()
        if catalog is not None and name in catalog:
            self._known[name] = _Known(catalog[name], space_is_known=True)
            return catalog[name], True
        # On this machine, what the catalog does not list was not there when it was written.
        absent = catalog is not None and self._opening.place.folder is not None
        return None, absent or any(key in given for key in ("space", "description", "reduce")) or _names_metrics(given)

    def _define(self, name: str, given: Mapping[str, Any], record: Experiment | None) -> None:
        """Say what an experiment is: at once where the store is open, otherwise as soon as it is."""
        wanted = _resolved(name, given, record)
        changed = wanted if record is None else {k: v for k, v in wanted.items() if _differs(record, k, v)}
        if record is not None and not changed:
            self._remember(name, record, wanted)
            return
        kind = "experiment.created" if record is None else "experiment.updated"
        event = Event.new(kind, name, time=self._clock(), actor="advisor", **changed)
        self._remember(name, _with(record, name, changed), wanted)
        if not self._opening.waits:
            self._undelivered.clear()
        self._undelivered.setdefault(name, []).append(event)
        self._opening.announce(lambda store: self._defining(store, given, event), defines=True)
        if self._opening.opened is None and not self._strict:
            self._opening.soon(DEFINED_AFTER_S)
            return
        try:
            self._opening.get()
        except StoreUnavailableError as error:
            if self._strict:
                raise
            log.warning("%s; what is said of %r is delivered later", error, name)

    def _remember(self, name: str, record: Experiment, wanted: Mapping[str, Any]) -> None:
        """Keep what is known of an experiment, for starts that do not wait for the store."""
        catalog = self._opening.catalog()
        before = self._known.get(name)
        self._known[name] = _Known(
            record,
            space_is_given="space" in wanted or (before is not None and before.space_is_given),
            space_is_known="space" in wanted
            or (before is not None and before.space_is_known)
            or self._opening.opened is not None
            or (catalog is not None and (name in catalog or self._opening.place.folder is not None)),
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

    def _tell_what_changes(self, store: RunStore, record: Experiment, changed: Mapping[str, Any]) -> None:
        """Say it where runs that are there already will be valued anew."""
        n_runs = store.state().n_runs_of(record.name)
        if n_runs and "space" in changed and record.space and changed["space"]:
            _tell_new_space(record, changed["space"], store.runs(record.name))
        if not n_runs or "objectives" not in changed or not record.objectives:
            return
        before, after = (
            ", ".join(f"{direction} {metric}" for metric, direction in pairs)
            for pairs in (
                [(o.metric, o.direction) for o in record.objectives],
                [(o["metric"], o["direction"]) for o in changed["objectives"]],
            )
        )
        anew = "its one run is" if n_runs == 1 else f"its {n_runs} runs are"
        log.warning("the objective of %r changes from %s to %s; %s valued anew", record.name, before, after, anew)

    def _updating(self, store: RunStore, record: Experiment, changed: Mapping[str, Any]) -> list[Event]:
        """Return what says that it changed; where runs are valued by an average, work it out for those that ended."""
        body = dict(changed)
        if record.space and changed.get("space"):  # so that a history need not look for the space before
            body["space_changes"] = Space.from_json(record.space).difference(Space.from_json(changed["space"]))
        events = [Event.new("experiment.updated", record.name, time=self._clock(), actor="advisor", **body)]
        reduce = changed.get("reduce", record.reduce)
        if mean_last_k(reduce) is not None:
            ended = [run.id for run in store.runs(record.name) if run.state.is_over]
            for run_id, curves in store.curves(ended).items():
                summary = summaries(curves, reduce=reduce)
                events.append(Event.new("run.summarized", record.name, run_id, actor="advisor", summary=summary))
        return events


def asked(objective: str | Sequence[str] | None, direction: Direction | Sequence[Direction] | None) -> _Asked:
    """Return objectives as they were given, or refuse an unknown direction, or a metric named twice."""
    for one in [direction] if isinstance(direction, str) else direction or ():
        if one not in DIRECTIONS:
            raise ConfigError(f"direction {one!r} is not one of {' and '.join(map(repr, DIRECTIONS))}")
    twice = [] if isinstance(objective, str) else [one for one, n in Counter(objective or ()).items() if n > 1]
    if twice:
        raise ConfigError(f"objective {twice[0]!r} is named twice; name each metric once, with one direction")
    return _Asked(
        (objective,) if isinstance(objective, str) else None if objective is None else tuple(objective),
        (direction,) if isinstance(direction, str) else None if direction is None else tuple(direction),
    )


def _names_metrics(given: Mapping[str, Any]) -> bool:
    return "objectives" in given and given["objectives"].metrics is not None


def _resolved(name: str, given: Mapping[str, Any], record: Experiment | None) -> dict[str, Any]:
    """Return what is given as an event says it.

    Unless another is given, a metric keeps the direction that it has, and one that takes the place of the only
    objective has the direction of that: whoever corrects a name has not changed which way is better.
    """
    given = dict(given)
    if "problem" in given:
        given["problem"] = _merged(given["problem"], record)
    if "objectives" not in given:
        return given
    asked: _Asked = given["objectives"]
    known = {} if record is None else {o.metric: o.direction for o in record.objectives}
    if asked.metrics is None and not known:
        raise ConfigError(f"a direction was given for {name!r}, but no objective: objective='val_loss' for one")
    metrics = list(known) if asked.metrics is None else asked.metrics
    usual = next(iter(known.values())) if len(known) == len(metrics) == 1 else "minimize"
    directions: Sequence[str] = asked.directions or [known.get(metric, usual) for metric in metrics]
    if len(directions) != len(metrics):
        raise ConfigError(f"{len(metrics)} objectives and {len(directions)} directions; give one for each")
    pairs = zip(metrics, directions, strict=True)
    return {**given, "objectives": [{"metric": metric, "direction": direction} for metric, direction in pairs]}


def _merged(given: Mapping[str, Any], record: Experiment | None) -> dict[str, Any]:
    """Return a problem in which the given parts replace those of the record; an empty one removes its part."""
    before = {} if record is None else dict(record.problem)
    return Problem.of({**before, **given}).to_json()


def _checked(name: str, given: Mapping[str, Any], record: Experiment | None, runs: Sequence[Run]) -> dict[str, Any]:
    """Return the parts of a problem that are given as the store keeps them, an empty part as an empty value."""
    declared = given.get("space", None if record is None else record.space)
    space = Space.from_json(declared) if declared else None
    objectives = () if record is None else record.objectives
    if "objectives" in given:
        objectives = read_objectives(_resolved(name, {"objectives": given["objectives"]}, record)["objectives"])
    parts = Problem.checked(given["problem"], space, objectives).to_json()
    if space is None and record is not None:
        before = Problem.of(record.problem).to_json()  # what was said before stays as it is
        _hold_against({key: value for key, value in parts.items() if value != before.get(key)}, runs)
    nothing: dict[str, Any] = {"constraints": [], "try_first": [], "cost": None, "repeats": 1}
    return {key: parts.get(key, nothing.get(key, {})) for key in given["problem"]}


def _hold_against(parts: Mapping[str, Any], runs: Sequence[Run]) -> None:
    """Refuse parts of a problem that name a parameter that no run has, or a value that Optuna programs cannot ask for.

    Any other value goes: the runs to come may have it.
    """
    from advisor.suggest.declared import declared

    known = {name for run in runs for name in run.params}
    if not known:
        return
    said = Problem.checked(parts, names=known)
    ranges = declared(runs)
    if ranges:
        Problem.checked(said.within(ranges).to_json(), Space(ranges))


def _tell_new_space(record: Experiment, space: Mapping[str, Any], runs: Sequence[Run]) -> None:
    """Say what a new search space changes, and how many runs lie inside it."""
    before, after = Space.from_json(record.space or {}), Space.from_json(space)
    inside = sum(after.includes(run.params) for run in runs)
    log.warning(
        "the search space of %r changes: %s; %d of its %d runs lie inside",
        *(record.name, "; ".join(before.difference(after)) or "in its order", inside, len(runs)),
    )


def _with(record: Experiment | None, name: str, changed: Mapping[str, Any]) -> Experiment:
    """Return an experiment as it will be."""
    if record is None:
        record = Experiment(name, number=-1, created=utc_now())
    changes = dict(changed)
    if "objectives" in changes:
        changes["objectives"] = read_objectives(changes["objectives"])
    return replace(record, **changes)


def _differs(record: Experiment, key: str, value: Any) -> bool:
    if key == "objectives":
        return read_objectives(value) != record.objectives
    if key == "space" and record.space is not None:
        return bool({name: dict(dim) for name, dim in record.space.items()} != value)
    if key == "problem":
        return Problem.of(record.problem) != Problem.of(value)
    return bool(getattr(record, key) != value)


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

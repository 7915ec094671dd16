"""Delete, restore, rename and move: what becomes of experiments and runs after they were recorded.

Nothing is lost here: a deletion hides, and the store removes physically only after a grace period. Each call checks
all that it was given before it writes anything, writes one commit, and looks whether another process was faster.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from advisor.errors import ConfigError
from advisor.redact import scrub
from advisor.references import find, find_deleted, find_run
from storage.curves import mean_last_k, summaries
from storage.errors import ExperimentExistsError, RecordError, SpoolError
from storage.records import Event, Experiment, Run, RunState
from storage.spool import owner_is_gone, read_header
from storage.store import RunStore

if TYPE_CHECKING:
    from storage.entries import Entry

PERSON: Final = "person"
"""Who does this, as events say it: nothing in the program does it by itself."""


@dataclass(frozen=True, slots=True)
class Deleted:
    """An experiment or a run that is deleted and can be restored."""

    experiment: str
    """Its name, or that of the run's experiment."""
    _: KW_ONLY
    run_id: str | None = None
    """None where it is the experiment itself."""
    number: int
    """The run's number in its experiment, or the experiment's own."""
    n_runs: int = 1
    """Runs that went with it; runs that were deleted before are not counted."""
    time: datetime
    """When it was deleted, UTC."""

    def __str__(self) -> str:
        if self.run_id is not None:
            return f"run #{self.number} of {self.experiment} ({self.run_id})"
        return f"experiment {self.experiment} with {self.n_runs} run{'' if self.n_runs == 1 else 's'}"


def delete(store: RunStore, what: Sequence[str], *, force: bool, now: datetime) -> list[Deleted]:
    """Hide experiments and runs; see ``Advisor.delete``."""
    found = list({_key(each): each for each in (find(store, reference) for reference in what)}.values())
    if not force:
        for each in found:
            _refuse_running(store, each)
    gone = [_deleted(store, each, now) for each in found]
    events = [
        Event.new("run.deleted", each.experiment, each.id, time=now, actor=PERSON)
        if isinstance(each, Run)
        else Event.new("experiment.deleted", each.name, time=now, actor=PERSON)
        for each in found
    ]
    _append(store, {event.id: str(one) for event, one in zip(events, gone, strict=True)}, events)
    return gone


def restore(store: RunStore, what: Sequence[str], *, now: datetime) -> list[Deleted]:
    """Show again what was deleted; see ``Advisor.restore``."""
    known = {one.run_id or one.number: one for one in deleted(store)}
    events: list[Event] = []
    back: list[Deleted] = []
    for reference in what:
        found = find_deleted(store, reference)
        one = known[found if isinstance(found, int) else found.run.id]
        if one in back:
            continue
        back.append(one)
        if one.run_id is not None:
            events.append(Event.new("run.restored", one.experiment, one.run_id, time=now, actor=PERSON))
            continue
        _refuse_taken(store, one)
        events.append(Event.new("experiment.restored", one.experiment, time=now, actor=PERSON, number=one.number))
    _refuse_hidden(store, back)
    _append(store, {event.id: str(one) for event, one in zip(events, back, strict=True)}, events)
    return back


def deleted(store: RunStore) -> list[Deleted]:
    """Return what can be restored, the latest deletion last."""
    state = store.state()
    hidden = state.hidden()
    gone = [
        Deleted(
            book.record.name,
            number=number,
            n_runs=sum(entry.exp == number and entry.deleted is None for entry in hidden),
            time=book.deleted,
        )
        for number, book in state.books().items()
        if book.deleted is not None
    ]
    gone += [
        Deleted(entry.run.experiment, run_id=entry.run.id, number=entry.run.number, time=entry.deleted)
        for entry in hidden
        if entry.deleted is not None
    ]
    return sorted(gone, key=lambda one: one.time)


def rename(store: RunStore, name: str, new: str, *, now: datetime) -> str:
    """Give an experiment another name; return it as it is kept. See ``Experiment.rename``."""
    if not isinstance(new, str) or not new.strip():
        raise ConfigError(f"an experiment needs a name, not {new!r}")
    present, to = store.experiment(name).name, scrub(new)
    if to == present:
        raise ConfigError(f"experiment {name!r} is called so already; give another name")
    if to in store.state().experiments:
        raise ExperimentExistsError(f"an experiment {to!r} exists already; choose another name, or rename that first")
    event = Event.new("experiment.renamed", present, time=now, actor=PERSON, to=to)
    store.append([event])
    if event.id in store.state().refused:
        if to in store.state().experiments:
            raise ExperimentExistsError(f"another process was faster: there is an experiment {to!r} by now")
        raise RecordError(f"another process was faster: {present!r} was renamed or deleted just now")
    return to


def move(store: RunStore, runs: Sequence[str], to: str, *, now: datetime) -> list[Run]:
    """Give runs to another experiment; see ``Advisor.move``."""
    target = store.experiment(to)
    found = list({run.id: run for run in (find_run(store, reference) for reference in runs)}.values())
    for run in found:
        if run.experiment == target.name:
            raise ConfigError(f"run #{run.number} ({run.id}) is in experiment {to!r} already; name another experiment")
    events = [Event.new("run.moved", run.experiment, run.id, time=now, actor=PERSON, to=target.name) for run in found]
    averages = _averages(store, found, target, now)
    names = {event.id: f"run #{run.number} of {run.experiment}" for event, run in zip(events, found, strict=True)}
    _append(store, names, [*events, *averages])
    return [store.run(run.id) for run in found]


# -- what is refused


def _refuse_running(store: RunStore, what: Experiment | Run) -> None:
    """Refuse to delete what some process may still write."""
    state = store.state()
    if isinstance(what, Run):
        running = [what] if what.state is RunState.RUNNING else []
    else:
        entries = [entry for entry in state.entries(list(state.running)) if not entry.hidden]
        running = [entry.run for entry in entries if entry.exp == what.number]
    for run in running:
        where = _still_in(store, run)
        if where is not None:
            raise RecordError(
                f"run #{run.number} of {run.experiment!r} ({run.id}) is running{where}; "
                "wait until it has ended, or delete it all the same with force"
            )


def _still_in(store: RunStore, run: Run) -> str | None:
    """Return where a run goes on, in words; None where its process is certainly gone."""
    path = store.spool_folder() / f"{run.id}.spool"
    try:
        header = read_header(path)
    except SpoolError:  # no write-ahead log here: it runs on another machine, or through Optuna
        return ", as far as this machine can tell"
    return None if owner_is_gone(header) else f" in process {header.get('pid')} on {header.get('host')}"


def _refuse_taken(store: RunStore, one: Deleted) -> None:
    if one.experiment in store.state().experiments:
        raise ExperimentExistsError(
            f"there is a new experiment {one.experiment!r}; rename it first: 'advisor rename {one.experiment} NEW'"
        )


def _refuse_hidden(store: RunStore, back: Sequence[Deleted]) -> None:
    """Refuse to restore a run that would stay hidden, because its experiment does."""
    state = store.state()
    with_runs = {one.number for one in back if one.run_id is None}
    for one in back:
        entry: Entry | None = None if one.run_id is None else state.entry(one.run_id)
        if entry is not None and state.book(entry.exp).deleted is not None and entry.exp not in with_runs:
            raise RecordError(
                f"experiment {one.experiment!r} of {one} is deleted too; restore both: "
                f"'advisor restore {one.experiment} {one.run_id}'"
            )


# -- inner workings


def _key(what: Experiment | Run) -> Any:
    return what.id if isinstance(what, Run) else what.number


def _deleted(store: RunStore, what: Experiment | Run, now: datetime) -> Deleted:
    if isinstance(what, Run):
        return Deleted(what.experiment, run_id=what.id, number=what.number, time=now)
    return Deleted(what.name, number=what.number, n_runs=store.count(what.name), time=now)


def _append(store: RunStore, names: Mapping[str, str], events: Sequence[Event]) -> None:
    """Append events; say which of them came too late.

    Raises
    ------
    RecordError
        If one of them had no effect, because another process had changed the same thing meanwhile.
    """
    store.append(events)
    refused = store.state().refused
    late = [names[event.id] for event in events if event.id in refused and event.id in names]
    if late:
        raise RecordError(
            f"another process was faster: {', '.join(late)} had changed already, and stays as that process left it"
        )


def _averages(store: RunStore, runs: Sequence[Run], target: Experiment, now: datetime) -> list[Event]:
    """Return the figures that runs which ended need in an experiment that values by the mean of the last K."""
    ended = [run.id for run in runs if run.state.is_over]
    if mean_last_k(target.reduce) is None or not ended:
        return []
    return [
        Event.new(
            "run.summarized",
            target.name,
            run_id,
            time=now,
            actor="advisor",
            summary=summaries(curves, reduce=target.reduce),
        )
        for run_id, curves in store.curves(ended).items()
    ]

"""Runs that wait to be started: a person says what shall be tried next, whoever has a machine free takes it up.

What is queued is a run in the state ``waiting``, in the journal like any other: it has its number and its parameters,
samplers count its point as taken, and Optuna takes it up as it does what ``enqueue_trial`` left. Leaves out who trains
it; ``Experiment.start``, ``Experiment.optimize``, ``advisor optimize`` and Optuna programs do.

Invariant: of all that take up the same run only one gets it, because the journal's order decides; and a suggestion is
queued once, however many accept it, because its run's id is made of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

from advisor.asking import PENDING_FOR_S, called, following
from storage.errors import RecordError
from storage.records import Event, Experiment, Run, RunState

if TYPE_CHECKING:
    from storage.store import RunStore

SOURCE: Final = "queued"
"""``Run.source`` of what was queued here; what another tool left waiting is not ours to start."""
WAITING: Final = f"state = '{RunState.WAITING}' and source = '{SOURCE}'"
KEPT_FOR: Final = timedelta(days=7)
"""How long after it was made a suggestion that nobody started is still shown."""


def queue(
    store: RunStore,
    record: Experiment,
    params: Mapping[str, Any],
    *,
    now: datetime,
    suggestion_id: str | None = None,
    run_id: str,
    tags: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> Run:
    """Keep a run that waits to be started, and return it."""
    event = Event.new(
        "run.created",
        record.name,
        run_id,
        time=now,
        actor="person",
        state=RunState.WAITING,
        params=dict(params),
        tags=list(tags),
        notes=list(notes),
        source=SOURCE,
        suggestion_id=suggestion_id,
        system_attrs={"fixed_params": dict(params)},  # Optuna's own word for a queued trial's parameters
    )
    store.append([event])
    return store.run(run_id)


def accept(store: RunStore, record: Experiment, suggestion_id: str, *, now: datetime) -> Run:
    """Queue a suggestion's parameters; one that was accepted before is not queued twice.

    Raises
    ------
    RecordError
        If there is no such suggestion here, or it was rejected, taken back or started.
    """
    suggestion_id, body = suggestion_of(store, record.name, suggestion_id)
    why = store.state().closed_suggestions.get(suggestion_id)
    if why is not None:
        raise RecordError(f"suggestion {suggestion_id} is closed ({why}); ask for another one")
    run_id = run_id_of(suggestion_id)
    for run in following(store, record.name, body["time"]):
        if run.suggestion_id == suggestion_id:
            if run.state is RunState.WAITING:
                return run
            raise RecordError(f"suggestion {suggestion_id} was started already: run #{run.number} ({run.state})")
    if store.state().entry(run_id) is not None:
        raise RecordError(
            f"suggestion {suggestion_id} was accepted and its run was deleted; 'advisor restore {run_id}'"
        )
    return queue(store, record, body["params"], now=now, suggestion_id=suggestion_id, run_id=run_id)


def reject(store: RunStore, name: str, suggestion_id: str, *, now: datetime, reason: str) -> None:
    """Close a suggestion, so that its point counts as free again.

    Raises
    ------
    RecordError
        If there is no such suggestion here, or a run follows it.
    """
    suggestion_id, body = suggestion_of(store, name, suggestion_id)
    for run in following(store, name, body["time"]):
        if run.suggestion_id == suggestion_id:
            raise RecordError(f"suggestion {suggestion_id} has a run, #{run.number} ({run.state}); delete that instead")
    if store.state().closed_suggestions.get(suggestion_id) is None:
        closed = {"suggestion_id": suggestion_id, "reason": reason}
        store.append([Event.new("suggestion.closed", name, time=now, actor="person", **closed)])


def suggestion_of(store: RunStore, name: str, beginning: str) -> tuple[str, Mapping[str, Any]]:
    """Return the id of a suggestion of an experiment and what was kept of it, by its id or the beginning of it.

    Raises
    ------
    RecordError
        If there is none, or several begin so.
    """
    made = store.state().suggestions
    suggestion_id = called(made, beginning)
    body = {} if suggestion_id is None else made[suggestion_id]
    if suggestion_id is None or body["experiment"] != name:
        raise RecordError(
            f"experiment {name!r} has no suggestion {beginning[:80]!r}; 'advisor suggest' says the id of each when "
            "it is made"
        )
    return suggestion_id, body


def unanswered(store: RunStore, name: str, *, now: datetime) -> list[Mapping[str, Any]]:
    """Return the suggestions of late that nobody has started, accepted or closed, the newest first.

    Each is what was kept of it, with ``time`` and with ``expired``: whether its point counts as free again.
    """
    state = store.state()
    closed = state.closed_suggestions
    late = [
        body
        for key, body in state.suggestions.items()
        if body["experiment"] == name and key not in closed and now - body["time"] < KEPT_FOR
    ]
    if not late:
        return []
    first = min(body["time"] for body in late)
    started = {run.suggestion_id for run in following(store, name, first)}
    return [
        {**body, "expired": (now - body["time"]).total_seconds() >= PENDING_FOR_S}
        for body in reversed(late)
        if body["suggestion_id"] not in started
    ]


def waiting(store: RunStore, name: str, *, limit: int | None = None) -> list[Run]:
    """Return the runs that were queued here and wait, the first one first."""
    return store.runs(name, where=WAITING, limit=limit)


def take_up(
    store: RunStore, name: str, *, now: datetime, seed: int | None, tags: Sequence[str] = (), notes: Sequence[str] = ()
) -> Event | None:
    """Take up the run that has waited longest; None where none waits.

    Parameters
    ----------
    seed
        Of the training, for a run that was queued without one.
    tags, notes
        Words to add to the run.

    Returns
    -------
    Event or None
        ``run.created`` as if the run began now, with the id that its event has in the journal, so that it counts once.
    """
    for run in waiting(store, name):
        own = seed if run.seed is None else run.seed
        claim = Event.new("run.state", name, run.id, time=now, actor="run", state=RunState.RUNNING, seed=own)
        store.append([claim])
        if claim.id in store.state().refused:  # somebody else was faster
            continue
        words: list[Event] = []
        if tags:
            words.append(Event.new("run.tagged", name, run.id, time=now, actor="run", tags=list(tags)))
        words += [Event.new("run.noted", name, run.id, time=now, actor="run", text=note) for note in notes]
        store.append(words)
        begun = store.journal(run_ids=[run.id], kinds=["run.created"])[0]
        return Event(
            begun.id,
            experiment=name,
            run_id=run.id,
            kind=begun.kind,
            time=now,
            actor="run",
            body={**begun.body, "state": str(RunState.RUNNING), "seed": own},
        )
    return None


def run_id_of(suggestion_id: str) -> str:
    """Return the id of the run that an accepted suggestion becomes."""
    return blake2b(f"suggestion {suggestion_id}".encode(), digest_size=16).hexdigest()

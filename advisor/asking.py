"""Suggestions from a store: what is read for one, how it is kept, and how it is made again later.

Any number of processes may ask at once. Each keeps its suggestions in the journal and then looks whether another one
had the same point earlier in the journal's order; whoever came later takes it back and asks again. A suggestion that
nobody starts within an hour no longer keeps its point free.

Invariant: a suggestion is made from a fold of the journal up to one commit, the time and the seed, all kept with it.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from advisor.errors import ConfigError, NotEnoughRunsError, SpaceError
from advisor.suggest.space import Space
from storage.errors import NothingCalledSoError, RecordError, StoreUnavailableError
from storage.records import Event, Experiment, Run

if TYPE_CHECKING:
    from advisor.suggest import Suggestion
    from storage.journal import State
    from storage.store import RunStore

log = logging.getLogger(__name__)

PENDING_FOR_S: Final = 3600.0
"""A suggestion that nobody has started after this long no longer keeps its place free."""
MAX_TRIES: Final = 20
"""How often a point that another process was faster to suggest is replaced; each time fewer processes collide."""
KEPT_IDS: Final = 100
"""Ids of runs learned from that the journal keeps with a suggestion, the latest; the rest follows from the version."""

MAX_FOLLOWING: Final = 5_000
"""Newest runs that are looked at for whether they follow a suggestion."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody asks for."""

    n: int = 1
    _: KW_ONLY
    sampler: Any = None
    fixed: Mapping[str, Any] | None = None
    retry: bool = False
    transfer: bool = True
    """Whether to learn from other experiments."""

    def as_json(self) -> dict[str, Any]:
        """Return what is needed to ask again; a sampler that was given as an object is named."""
        sampler = self.sampler if self.sampler is None or isinstance(self.sampler, str) else type(self.sampler).__name__
        fixed = None if self.fixed is None else dict(self.fixed)
        return {"n": self.n, "sampler": sampler, "fixed": fixed, "retry": self.retry, "transfer": self.transfer}


def ask(store: RunStore, name: str, wish: Wish, *, now: datetime, seed: int | None, keep: bool) -> list[Suggestion]:
    """Return suggestions for the next runs of an experiment, and keep them unless told otherwise.

    Raises
    ------
    ConfigError
        If the experiment has no objective.
    SpaceError, NotEnoughRunsError
        If there is no space, or all of it has been tried. Where that shows after some suggestions were kept, these are
        returned with a warning.
    StoreUnavailableError
        If other processes were faster each time.
    """
    drawn = secrets.randbelow(2**31) if seed is None else seed
    found: list[Suggestion] = []
    for attempt in range(MAX_TRIES):
        try:
            made = _suggested(store.state(), name, replace(wish, n=wish.n - len(found)), now=now, seed=drawn + attempt)
        except SpaceError as error:
            if not found:
                raise
            log.warning("%d of %d suggestions can be made: %s", len(found), wish.n, error)
            return found
        if not keep:
            return made
        try:
            store.append([_event(suggestion, wish, now) for suggestion in made])
        except StoreUnavailableError as error:  # an answer that cannot be kept is still an answer
            log.warning("the suggestion is not kept: %s", error)
            return found + made
        late = _overtaken(store.state(), name, made, now)
        found += [suggestion for suggestion in made if suggestion.id not in late]
        if not late:
            return found
        store.append([_taken_back(name, suggestion_id, now) for suggestion_id in sorted(late)])
    busy = f"other processes suggested the same points of {name!r} just before, {MAX_TRIES} times in a row; ask again"
    if not found:
        raise StoreUnavailableError(busy)
    log.warning("%d of %d suggestions: %s", len(found), wish.n, busy)
    return found


def again(store: RunStore, suggestion_id: str) -> tuple[Suggestion, bool]:
    """Make a suggestion again from what was known when it was made; return it, and whether it is the same.

    Its id may be given by its beginning. Reads the whole journal.

    Raises
    ------
    RecordError
        If there is no such suggestion, or its sampler was handed over as an object.
    NothingCalledSoError
        If several begin so.
    """
    made = store.state().suggestions
    whole = called(made, suggestion_id)
    kept = None if whole is None else made[whole]
    if kept is None or kept.get("store_version") is None:
        raise RecordError(
            f"there is no suggestion {suggestion_id!r} that could be made again; "
            "'advisor suggest' says the id of each when it is made"
        )
    asked = dict(kept["asked"])
    state = _state_at(store, int(kept["store_version"]))
    number = store.state().experiments[kept["experiment"]].number
    name = state.book(number).record.name  # it may have been renamed since
    try:
        found = _suggested(state, name, Wish(**asked), now=kept["time"], seed=int(kept["seed"]))
    except ConfigError as error:
        raise RecordError(f"suggestion {suggestion_id} cannot be made again: {error}") from error
    one = found[int(kept["place"])]
    return one, dict(one.params) == dict(kept["params"])


def following(store: RunStore, name: str, since: datetime) -> list[Run]:
    """Return the runs that may follow a suggestion that was made at a moment, the newest first."""
    where = f"created >= '{since.isoformat()}'"
    return store.runs(name, where=where, order_by="created", descending=True, limit=MAX_FOLLOWING)


def called(made: Mapping[str, Any], beginning: str) -> str | None:
    """Return the one suggestion that is called or begins so, None where there is none.

    Raises
    ------
    NothingCalledSoError
        If several do.
    """
    if beginning in made:
        return beginning
    fitting = [key for key in made if beginning and key.startswith(beginning)]
    if len(fitting) > 1:
        raise NothingCalledSoError(f"{len(fitting)} suggestions begin with {beginning[:80]!r}; give more of the id")
    return fitting[0] if fitting else None


def space_of(record: Experiment, runs: Sequence[Run]) -> tuple[Space, tuple[str, ...]]:
    """Return an experiment's search space, and notes on how it was inferred where none was declared.

    Raises
    ------
    NotEnoughRunsError
        If none is declared and there is no run to infer it from.
    """
    if record.space:
        return Space.from_json(record.space), ()
    from advisor.suggest import infer_space

    if not runs:
        raise NotEnoughRunsError(
            f"experiment {record.name!r} has neither a search space nor runs to infer one from; declare one: "
            f"advisor experiment {record.name} --space space.yaml"
        )
    inferred = infer_space(runs)
    return inferred.space, (f"no space is declared, so it was inferred from the runs ({'; '.join(inferred.notes)})",)


def _suggested(state: State, name: str, wish: Wish, *, now: datetime, seed: int) -> list[Suggestion]:
    """Return suggestions from what a state holds."""
    from advisor.suggest import suggest
    from advisor.suggest.others import past_of

    record = state.experiments[name]
    if not record.objectives:
        raise ConfigError.no_objective(name)
    runs = state.runs_of_each([name])[name]
    space, notes = space_of(record, runs)
    return suggest(
        record,
        runs,
        space,
        n=wish.n,
        seed=seed,
        now=now,
        sampler=wish.sampler,
        fixed=wish.fixed,
        pending=[params for _, params in open_suggestions(state, name, runs, now)],
        others=past_of(state, record) if wish.transfer and len(record.objectives) == 1 else (),
        retry=wish.retry,
        space_notes=notes,
        store_version=state.version,
    )


def open_suggestions(
    state: State, name: str, runs: Sequence[Run], now: datetime
) -> list[tuple[str, Mapping[str, Any]]]:
    """Return the suggestions that somebody may start yet: id and parameters, in the journal's order."""
    started = {run.suggestion_id for run in runs if run.suggestion_id}
    closed = state.closed_suggestions
    found = []
    for event in state.of_kind("suggestion.made"):
        suggestion_id = str(event.body["suggestion_id"])
        if (now - event.time).total_seconds() >= PENDING_FOR_S or suggestion_id in started or suggestion_id in closed:
            continue
        book = state.books().get(state.number_at(event.experiment, event.version))
        if book is not None and book.record.name == name:
            found.append((suggestion_id, event.body["params"]))
    return found


def _overtaken(state: State, name: str, made: Sequence[Suggestion], now: datetime) -> set[str]:
    """Return the ids of those suggestions whose point a run, or a suggestion earlier in the journal's order, has.

    When they were made no run had their points, so a run that has one now was started in between; only a point that
    is tried again has had a run before.
    """
    from advisor.suggest.remembered import remembered

    record, runs = state.experiments[name], list(state.runs_of(name))
    if int(record.problem.get("repeats", 1)) > 1:  # then points are to be run several times
        return set()
    space, _ = space_of(record, runs)
    mine = {suggestion.id: suggestion for suggestion in made}
    ran = {place.key for place in remembered(record, space).places(record, runs)}
    seen: set[str] = set()
    late: set[str] = set()
    for suggestion_id, params in open_suggestions(state, name, runs, now):
        key = space.key(params)
        one = mine.get(suggestion_id)
        if one is not None and (key in seen or (key in ran and one.source != "retry")):
            late.add(suggestion_id)
        seen.add(key)
    return late


def _state_at(store: RunStore, version: int) -> State:
    from storage.journal import State

    state = State()
    state.fold(event for event in store.journal() if event.version <= version)
    return state


def _event(suggestion: Suggestion, wish: Wish, now: datetime) -> Event:
    body = suggestion.as_json()
    body["n_learned_from"] = len(suggestion.learned_from)
    body["learned_from"] = list(suggestion.learned_from[-KEPT_IDS:])
    body["forecast_note"] = suggestion.forecast_note
    body["asked"] = wish.as_json()
    return Event.new("suggestion.made", suggestion.experiment, time=now, actor="suggest", **body)


def _taken_back(name: str, suggestion_id: str, now: datetime) -> Event:
    reason = "another process had suggested the same point just before"
    body = {"suggestion_id": suggestion_id, "reason": reason}
    return Event.new("suggestion.closed", name, time=now, actor="suggest", **body)

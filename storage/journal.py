"""The journal: how events fold into records.

Folding is pure: the same events in the same order give the same state, whoever folds them, and an event that occurs
twice counts once. A fold may begin at its first event, or at one that was kept (``Base``): then what was kept is read
piece by piece, when somebody asks for it. What events there are is in ``storage.events``, tables are in
``storage.lance``, where a fold is kept in ``storage.index``.
"""

from __future__ import annotations

import logging
import math
import threading
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from types import MappingProxyType
from typing import Any, Final, Protocol

from storage.entries import Book, Entry, book_in, book_out, frozen, last_values
from storage.events import finding_in, read_objectives, read_time
from storage.provenance import CHECKPOINT, JOINED, PURGED, REMOVED, START, hash_of, prefix_hash
from storage.records import (
    VERDICTS,
    Curve,
    CurveLoader,
    Event,
    Experiment,
    Finding,
    FindingState,
    Run,
    RunState,
    no_curves,
)

log = logging.getLogger(__name__)

MAX_CACHED: Final = 10_000
"""Runs that a fold with a base keeps in memory, some 10 kB each; what it has and the base has not is kept always."""
STAYS_FOR: Final = 1_000
"""Events for which runs that were read by ``State.runs_of_each`` stay in memory beyond ``MAX_CACHED``."""
N_RECENT: Final = 2_000
"""Ids of refused events, and of events that belong to no run or experiment, that are remembered, and kept with the
fold: whoever asks about one, or repeats it, does so right after the append."""

N_CHANGES: Final = 4_096
"""Events of which is known what they changed, for who follows a fold: some 150 trials of a study."""
SWEEPING: Final = frozenset({"experiment.updated", "experiment.renamed", "experiment.deleted", "experiment.restored"})
"""Kinds of events that may change every run of an experiment at once."""


class Base(Protocol):
    """A fold that was kept, up to one commit. It does not change while a state stands on it."""

    def checkpoint(self) -> Mapping[str, Any]:
        """Return what ``State.checkpoint`` gave when it was kept."""
        ...

    def entries(self, run_ids: Sequence[str]) -> dict[str, Entry]:
        """Return the entries of some runs; unknown ones are left out."""
        ...

    def entries_of(self, exp: int | None) -> list[Entry]:
        """Return the entries of an experiment's runs, or of all."""
        ...

    def entries_of_each(self, exps: Collection[int]) -> list[Entry]:
        """Return the entries of several experiments' runs."""
        ...

    def ids_of(self, exp: int | None) -> list[tuple[int, str]]:
        """Return ``(number, id)`` of an experiment's runs, or ``(ordinal, id)`` of all, hidden ones included."""
        ...

    def id_at(self, ordinal: int) -> str | None:
        """Return the id of the run with an ordinal."""
        ...

    def hidden(self) -> list[Entry]:
        """Return the entries of the runs that are hidden."""
        ...

    def n_visible(self) -> dict[int, int]:
        """Return how many runs each experiment has that are not hidden."""
        ...


LoadKind = Callable[[str, int], list[Event]]
"""Given a kind and a commit, returns the events of that kind up to it, in their order."""


class State:
    """What all events up to a point add up to.

    Owned by one store object. The records that it hands out are frozen. Reading it is safe in any thread.

    Parameters
    ----------
    load_curves
        Given to each run, so that a reader can ask it for its curves.
    base
        A kept fold to begin at.
    load_kind
        Reads events of one kind from the journal, for what is not folded but looked up.
    """

    def __init__(
        self, *, load_curves: CurveLoader = no_curves, base: Base | None = None, load_kind: LoadKind | None = None
    ) -> None:
        self.load_curves = load_curves
        self.version = 0
        """Commit up to which the journal is folded."""
        self.n_events = 0
        """Events folded, repetitions not counted."""
        self.n_rows = 0
        """Events folded, repetitions counted."""
        self.prefix = START
        """Hash of all events up to here, see ``storage.provenance``."""
        self.last = b""
        """Hash of the last event."""
        self.last_version = 0
        """Commit of the last event; later ones brought none."""
        self.claimed = 0
        """``n_rows`` at the last checkpoint that was written into the journal."""
        self.experiments: dict[str, Experiment] = {}
        """Experiments that exist, by name, in the order of their creation."""
        self.running: dict[str, None] = {}
        """Ids of the runs that go on."""
        self.refused: dict[str, None] = {}
        """Ids of late events that had no effect, because the run was over or was taken by somebody else."""
        self.base = base
        self._books: dict[int, Book] = {}
        self._numbers: dict[str, int] = {}
        self._aliases: dict[str, int] = {}
        self._named: list[tuple[int, str, int]] = []  # (commit, name, number), as names were given
        self._n_experiments = 0
        self._n_ordinals = 0
        self._entries: dict[str, Entry] = {}
        self._ids: dict[int | None, list[str]] = {}
        self._ordinals: dict[int, str] = {}
        self._gone: set[str] = set()  # purged runs that the base may still hold
        self._absent: frozenset[str] = frozenset()  # runs of the batch being folded that the base does not have
        self._in_use: dict[int, int] = {}  # by experiment: ``n_rows`` when all of its runs were asked for
        self._recent: dict[str, None] = {}
        self._kinds: dict[str, dict[str, Event]] = {}
        self._load_kind = load_kind
        self._lock = threading.RLock()
        self._changes: deque[tuple[bytes, str]] = deque(maxlen=N_CHANGES)  # prefix after an event, run it was about
        if base is not None:
            self._restore(base.checkpoint())

    # -- reading

    @property
    def runs(self) -> Mapping[str, Run]:
        """Runs that exist, by id, in the order of their creation."""
        return _Runs(self)

    def runs_of(self, experiment: str) -> Iterator[Run]:
        """Yield an experiment's runs in the order of their numbers."""
        exp = self._numbers.get(experiment)
        return iter(()) if exp is None else (entry.run for entry in self.entries_of(exp) if not entry.hidden)

    def runs_of_each(self, experiments: Collection[str]) -> dict[str, list[Run]]:
        """Return the runs of several experiments by name, each in the order of their numbers, read at once.

        For dozens of small experiments one read costs a third of what one for each does. They stay in memory for a
        while, however many they are: who asks so, asks again after the next run, and holds on to the records.
        """
        with self._lock:
            exps = {self._numbers[name] for name in experiments if name in self._numbers}
            self._in_use |= dict.fromkeys(exps, self.n_rows)
            if self.base is not None and exps - self._ids.keys():
                placed: dict[int, list[tuple[int, str]]] = {exp: [] for exp in exps - self._ids.keys()}
                for entry in self.base.entries_of_each(placed):
                    placed[entry.exp].append((entry.run.number, entry.run.id))
                    if entry.run.id not in self._entries:
                        self._take(entry)
                for exp, pairs in placed.items():
                    self._ids[exp] = self._listed(exp, pairs)
            return {name: list(self.runs_of(name)) for name in experiments}

    def all_ids(self) -> list[str]:
        """Return the ids of all runs in the order of their creation, deleted ones included."""
        with self._lock:
            return list(self._ids_of(None))

    def n_runs_of(self, experiment: str) -> int:
        """Return how many runs an experiment has."""
        return self._n_visible().get(self._numbers.get(experiment, -1), 0)

    def n_runs(self) -> int:
        """Return how many runs there are."""
        return sum(self._n_visible().values())

    def n_runs_each(self) -> dict[str, int]:
        """Return how many runs each experiment has, by its name."""
        counts = self._n_visible()
        return {record.name: counts.get(record.number, 0) for record in self.experiments.values()}

    def id_of(self, experiment: str, number: int) -> str | None:
        """Return the id of an experiment's run by its number, None where there is none."""
        exp = self._numbers.get(experiment)
        if exp is None or number < 0:
            return None
        with self._lock:
            ids = self._ids_of(exp)
            likely = self.entries(ids[number : number + 1])  # exact unless runs were moved away or removed
            entries = likely if likely and likely[0].run.number == number else self.entries_of(exp)
        return next((entry.run.id for entry in entries if entry.run.number == number and not entry.hidden), None)

    def id_at(self, ordinal: int) -> str | None:
        """Return the id of the run with an ordinal, deleted ones included; None where there is none."""
        with self._lock:
            known = self._ordinals.get(ordinal)
            if known is None and self.base is not None and 0 <= ordinal < self._n_ordinals:
                known = self.base.id_at(ordinal)
            return known

    @property
    def suggestions(self) -> dict[str, Mapping[str, Any]]:
        """Bodies of ``suggestion.made`` by suggestion id, with ``experiment`` and ``time``."""
        out: dict[str, Mapping[str, Any]] = {}
        for event in self.of_kind("suggestion.made"):
            book = self._books.get(self.number_at(event.experiment, event.version))
            if book is not None and book.deleted is None:
                body = {**event.body, "experiment": book.record.name, "time": event.time}
                out[str(event.body["suggestion_id"])] = MappingProxyType(body)
        return out

    @property
    def closed_suggestions(self) -> dict[str, str]:
        """Why suggestions were taken back, by suggestion id: nobody should start them."""
        return {str(e.body["suggestion_id"]): str(e.body["reason"]) for e in self.of_kind("suggestion.closed")}

    @property
    def documents(self) -> list[Event]:
        """Events of documents, in their order."""
        written = self.of_kind("document.written")
        books = [self._books.get(self.number_at(event.experiment, event.version)) for event in written]
        return [each for each, book in zip(written, books, strict=True) if book is not None and book.deleted is None]

    @property
    def notified(self) -> set[tuple[str, str]]:
        """``(finding id, channel id)`` of what was sent."""
        sent = self.of_kind("finding.notified")
        return {(str(event.body["finding_id"]), str(event.body["channel"])) for event in sent}

    def of_kind(self, kind: str) -> list[Event]:
        """Return the events of a kind that is looked up, not folded (``LOOKED_UP``), each once."""
        with self._lock:
            if kind not in self._kinds:
                found = [] if self._load_kind is None else self._load_kind(kind, self.version)
                known = self._kinds[kind] = {}
                for event in found:
                    known.setdefault(event.id, event)  # of equal ids the first counts
            return list(self._kinds[kind].values())

    def mark(self) -> tuple[int, bytes]:
        """Return the place up to which everything is folded, to be given to ``changed_since`` later."""
        with self._lock:
            return self.n_rows, self.prefix

    def changed_since(self, mark: tuple[int, bytes]) -> set[str] | None:
        """Return the ids of the runs that have changed since a mark, of this state or of one before it.

        None where that is not known, or where anything may have changed: read all anew.
        """
        with self._lock:
            n_rows, prefix = mark
            n_since = self.n_rows - n_rows
            if n_since == 0:
                return set() if prefix == self.prefix else None
            if not 0 < n_since < len(self._changes):  # one more is needed, to see that the mark is of this history
                return None
            since = list(islice(reversed(self._changes), n_since + 1))
            return {run_id for _, run_id in since[:-1] if run_id} if since[-1][0] == prefix else None

    def entry(self, run_id: str) -> Entry | None:
        """Return the entry of a run, hidden ones included."""
        with self._lock:
            found = self._entries.get(run_id)
            if found is None and self.base is not None and run_id not in self._gone and run_id not in self._absent:
                found = self.base.entries([run_id]).get(run_id)
                if found is not None:
                    self._take(found)
            return found

    def entries(self, run_ids: Sequence[str]) -> list[Entry]:
        """Return the entries of some runs, in the order asked for; unknown ones are left out."""
        with self._lock:
            self._preload(run_ids)
            return [self._entries[run_id] for run_id in run_ids if run_id in self._entries]

    def entries_of(self, exp: int | None) -> list[Entry]:
        """Return the entries of an experiment's runs by number, or of all by ordinal; hidden ones included."""
        with self._lock:
            ids = self._ids_of(exp)
            if self.base is not None and sum(run_id not in self._entries for run_id in ids) > len(ids) // 4:
                for entry in self.base.entries_of(exp):  # one scan is cheaper than many look-ups
                    if entry.run.id not in self._entries:
                        self._take(entry)
            return self.entries(ids)

    def hidden(self) -> list[Entry]:
        """Return the entries of deleted runs and of deleted experiments' runs, in the order of their creation."""
        with self._lock:
            for entry in [] if self.base is None else self.base.hidden():
                if entry.run.id not in self._entries:
                    self._take(entry)
            return sorted((e for e in self._entries.values() if e.hidden), key=lambda entry: entry.run.ordinal)

    def book(self, exp: int) -> Book:
        """Return an experiment, deleted ones included."""
        return self._books[exp]

    def books(self) -> Mapping[int, Book]:
        """Return all experiments by number, deleted ones included."""
        return self._books

    def number_of(self, name: str) -> int | None:
        """Return the number of the experiment that has a name now, or had it last."""
        number = self._numbers.get(name)
        return self._aliases.get(name) if number is None else number

    def names_of(self, exp: int) -> list[str]:
        """Return all names that an experiment has had, the first one first."""
        return list(dict.fromkeys(name for _, name, number in self._named if number == exp))

    def number_at(self, name: str, version: int) -> int:
        """Return the number of the experiment that had a name when a commit was made, -1 where none had."""
        given = [(commit, number) for commit, other, number in self._named if other == name]
        at = bisect_right([commit for commit, _ in given], version)
        return given[at - 1][1] if at else -1

    def dirty(self) -> list[Entry]:
        """Return the entries that the base does not have yet."""
        with self._lock:
            return [entry for entry in self._entries.values() if entry.dirty]

    def trim(self) -> None:
        """Let go of entries that the base has too, where there are many; see ``runs_of_each``."""
        with self._lock:
            if self.base is not None and len(self._entries) > MAX_CACHED:
                self._in_use = {exp: at for exp, at in self._in_use.items() if self.n_rows - at <= STAYS_FOR}
                kept = {
                    run_id: entry for run_id, entry in self._entries.items() if entry.dirty or entry.exp in self._in_use
                }
                self._entries = kept

    def places(self) -> tuple[int, int, dict[int, int]]:
        """Return how many experiments and runs there ever were, and the next number in each experiment."""
        return self._n_experiments, self._n_ordinals, {exp: book.next_number for exp, book in self._books.items()}

    def checkpoint(self) -> dict[str, Any]:
        """Return everything but the runs, as JSON values, for a base that is written from ``dirty()``."""
        with self._lock:
            return {
                "version": self.version,
                "n_events": self.n_events,
                "n_rows": self.n_rows,
                "prefix": self.prefix.hex(),
                "last": [self.last_version, self.last.hex()],
                "claimed": self.claimed,
                "n_experiments": self._n_experiments,
                "n_ordinals": self._n_ordinals,
                "running": list(self.running),
                "recent": list(self._recent),
                "refused": list(self.refused),
                "aliases": self._aliases,
                "named": self._named,
                "books": [book_out(book) for book in self._books.values()],
                "kinds": sorted(handled_kinds()),
            }

    def stand_on(self, base: Base) -> None:
        """Hear that everything up to here is in a new base; what is in memory stays."""
        with self._lock:
            self.base = base
            for entry in self._entries.values():
                entry.dirty = False
            self.trim()

    def _restore(self, kept: Mapping[str, Any]) -> None:
        self.version, self.n_events, self.n_rows = kept["version"], kept["n_events"], kept["n_rows"]
        self.prefix, self.claimed = bytes.fromhex(kept["prefix"]), kept["claimed"]
        self.last_version, self.last = kept["last"][0], bytes.fromhex(kept["last"][1])
        self._n_experiments, self._n_ordinals = kept["n_experiments"], kept["n_ordinals"]
        self.running = dict.fromkeys(kept["running"])
        self._recent = dict.fromkeys(kept.get("recent", ()))
        self.refused = dict.fromkeys(kept.get("refused", ()))
        self._aliases = dict(kept["aliases"])
        self._named = [(commit, name, number) for commit, name, number in kept["named"]]
        self._books = {book.record.number: book for book in map(book_in, kept["books"])}
        self._changes.append((self.prefix, ""))
        self._refresh()

    # -- folding

    def fold(self, events: Iterable[Event]) -> None:
        """Apply events in their order."""
        batch = list(events)
        with self._lock:
            named = dict.fromkeys(event.run_id for event in batch if event.run_id)
            self._preload(list(named))
            self._absent = frozenset(named.keys() - self._entries.keys())  # asked once for all, not one by one
            for event in batch:
                self.apply(event)
            self._absent = frozenset()

    def apply(self, event: Event) -> None:
        """Apply one event; one that is known already, or of an unknown kind, changes nothing."""
        with self._lock:
            self.last, self.last_version = hash_of(event), event.version
            self.prefix = prefix_hash(self.prefix, self.last)
            self.n_rows += 1
            if event.kind in SWEEPING or event.kind == PURGED:
                self._changes.clear()
            self._changes.append((self.prefix, event.run_id))
            self.version = max(self.version, event.version)
            if self._knows(event):
                return
            self.n_events += event.kind not in BOOKKEEPING
            # A new experiment may have the name that another one had: it is looked for when it is there.
            book = None if event.kind == "experiment.created" else self._book_of(event)
            try:
                handler = _HANDLERS.get(event.kind)
                effective = handler is None or handler(self, event)
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                # Events are checked before they are appended; one written by other means must not stop every reader.
                log.warning(
                    "event %s of kind %r cannot be understood and has no effect: %r", event.id, event.kind, error
                )
                effective = False
            self._remember(event, book or self._book_of(event))
            if not effective:
                _add_recent(self.refused, event.id)

    def _knows(self, event: Event) -> bool:
        """Return whether an event was applied before, under whatever name its experiment had then."""
        if event.id in self._recent:
            return True
        if event.kind in _OWN_ID:
            return False
        if event.run_id:
            entry = self.entry(event.run_id)
            return entry is not None and event.id in entry.seen
        return event.kind.startswith("experiment.") and any(event.id in book.seen for book in self._books.values())

    def _remember(self, event: Event, book: Book | None) -> None:
        """Keep the id of an event where it will be looked for: with its run, its experiment, or the recent ones."""
        entry = self.entry(event.run_id) if event.run_id and event.kind not in _OWN_ID else None
        if entry is not None:
            entry.seen.add(event.id)
            entry.dirty = True
        elif book is not None:
            book.seen.add(event.id)
        else:
            _add_recent(self._recent, event.id)

    def _book_of(self, event: Event) -> Book | None:
        """Return the experiment that an event of its own is about, None for other events."""
        number = self.number_of(event.experiment) if event.kind.startswith("experiment.") else None
        return None if number is None else self._books[number]

    # Each handler returns whether the event had an effect.

    def _experiment_created(self, event: Event) -> bool:
        if event.experiment in self._numbers:
            return False
        body = event.body
        record = Experiment(
            event.experiment,
            number=self._n_experiments,
            objectives=read_objectives(body.get("objectives") or ()),
            reduce=str(body.get("reduce") or "last"),
            space=body.get("space"),
            description=str(body.get("description") or ""),
            problem=frozen(body.get("problem")),
            created=event.time,
            user_attrs=frozen(body.get("user_attrs")),
            system_attrs=frozen(body.get("system_attrs")),
        )
        self._n_experiments += 1
        self._books[record.number] = Book(record)
        self._name(event, event.experiment, record.number)
        return True

    def _experiment_updated(self, event: Event) -> bool:
        book = self._own(event)
        if book is None:
            return False
        changes: dict[str, Any] = {
            name: event.body[name] for name in ("reduce", "space", "description") if name in event.body
        }
        if "problem" in event.body:
            changes["problem"] = frozen(event.body["problem"])
        if "objectives" in event.body:
            changes["objectives"] = read_objectives(event.body["objectives"] or ())
        before, book.record = book.record, replace(book.record, **changes)
        self._refresh()
        if (before.objectives, before.reduce) != (book.record.objectives, book.record.reduce):
            for entry in self.entries_of(before.number):
                self._put(entry)  # objective values follow from the objectives
        return True

    def _experiment_renamed(self, event: Event) -> bool:
        book, to = self._own(event), str(event.body["to"])
        if book is None or to in self._numbers:
            return False
        number = book.record.number
        self._aliases[self._unname(number)] = number
        book.record = replace(book.record, name=to)
        self._name(event, to, number)
        for entry in self.entries_of(number):
            findings = tuple(replace(finding, experiment=to) for finding in entry.run.findings)
            self._put(entry, experiment=to, findings=findings)
        return True

    def _experiment_deleted(self, event: Event) -> bool:
        book = self._own(event)
        if book is None:
            return False
        book.deleted = event.time
        self._unname(book.record.number)
        self._refresh()
        self._show_all(book)
        return True

    def _experiment_restored(self, event: Event) -> bool:
        gone = [book for book in self._books.values() if book.deleted and book.record.name == event.experiment]
        wanted = event.body.get("number")
        fitting = [book for book in gone if wanted is None or book.record.number == wanted]
        if not fitting or event.experiment in self._numbers:
            return False
        book = max(fitting, key=lambda book: book.deleted or book.record.created)
        book.deleted = None
        self._name(event, event.experiment, book.record.number)
        self._show_all(book)
        return True

    def _show_all(self, book: Book) -> None:
        """Hide or show an experiment's runs as the experiment is."""
        for entry in self.entries_of(book.record.number):
            entry.hidden = book.deleted is not None or entry.deleted is not None
            entry.dirty = True

    def _experiment_attr(self, event: Event) -> bool:
        book = self._own(event)
        if book is None:
            return False
        name = "system_attrs" if event.body.get("scope") == "system" else "user_attrs"
        attrs = {**getattr(book.record, name), str(event.body["key"]): event.body.get("value")}
        changes: dict[str, Any] = {name: MappingProxyType(attrs)}
        book.record = replace(book.record, **changes)
        self._refresh()
        return True

    def _run_created(self, event: Event) -> bool:
        exp = self.number_of(event.experiment)
        if exp is None or self.entry(event.run_id) is not None:
            return False
        body, book = event.body, self._books[exp]
        state = RunState(body.get("state", RunState.RUNNING))
        started = read_time(body.get("started"))
        if started is None and state is not RunState.WAITING and "started" not in body:
            started = event.time
        ended = read_time(body.get("ended"))
        if ended is None and state.is_over and "ended" not in body:
            ended = event.time
        run = Run(
            event.run_id,
            number=book.next_number,
            ordinal=self._n_ordinals,
            experiment=book.record.name,
            state=state,
            params=frozen(body.get("params")),
            tags=tuple(body.get("tags") or ()),
            notes=tuple(body.get("notes") or ()),
            seed=body.get("seed"),
            created=event.time,
            started=started,
            ended=ended,
            meta=frozen(body.get("meta")),
            error=body.get("error"),
            source=str(body.get("source") or "tracked"),
            suggestion_id=body.get("suggestion_id"),
            distributions=frozen(body.get("distributions")),
            user_attrs=frozen(body.get("user_attrs")),
            system_attrs=frozen(body.get("system_attrs")),
            reports=MappingProxyType({int(k): float(v) for k, v in (body.get("reports") or {}).items()}),
            summary=frozen(body.get("summary")),
            _load_curves=self.load_curves,
        )
        entry = Entry(run, exp=exp, told=_told(body), hidden=book.deleted is not None)
        book.next_number += 1
        self._n_ordinals += 1
        self._take(entry)
        self._list(entry, exp, None)
        self._put(entry)
        return True

    def _run_param(self, event: Event) -> bool:
        entry = self._live(event)
        if entry is None:
            return False
        run, name = entry.run, str(event.body["name"])
        distributions = run.distributions
        if event.body.get("distribution") is not None:
            distributions = MappingProxyType({**distributions, name: event.body["distribution"]})
        params = MappingProxyType({**run.params, name: event.body.get("value")})
        return self._put(entry, params=params, distributions=distributions)

    def _run_reported(self, event: Event) -> bool:
        entry = self._live(event)
        if entry is None:
            return False
        several = event.body.get("reports") or {event.body["step"]: event.body["value"]}
        reports = {**entry.run.reports, **{int(step): float(value) for step, value in several.items()}}
        return self._put(entry, reports=MappingProxyType(reports))

    def _run_attr(self, event: Event) -> bool:
        entry = self._live(event)
        if entry is None:
            return False
        name = "system_attrs" if event.body.get("scope") == "system" else "user_attrs"
        attrs = {**getattr(entry.run, name), str(event.body["key"]): event.body.get("value")}
        return self._put(entry, **{name: MappingProxyType(attrs)})

    def _run_state(self, event: Event) -> bool:
        entry = self._live(event)
        if entry is None:
            return False
        run, state = entry.run, RunState(event.body["state"])
        if state is RunState.WAITING or (state is RunState.RUNNING and run.state is not RunState.WAITING):
            return False
        changes: dict[str, Any] = {"state": state}
        if run.started is None and state is RunState.RUNNING:
            changes["started"] = event.time
        if run.seed is None and event.body.get("seed") is not None:  # of one that was queued without a seed
            changes["seed"] = event.body["seed"]
        if state.is_over:
            changes["ended"] = read_time(event.body.get("ended")) or event.time
            changes["error"] = event.body.get("error")
            if event.body.get("summary"):
                changes["summary"] = frozen({**run.summary, **event.body["summary"]})
            if event.body.get("not_kept"):
                changes["meta"] = frozen({**run.meta, "not_kept": event.body["not_kept"]})
            told = _told(event.body)
            entry.told = entry.told if told is None else told
        return self._put(entry, **changes)

    def _run_deleted(self, event: Event) -> bool:
        entry = self.entry(event.run_id)
        if entry is None or entry.deleted is not None:
            return False
        entry.deleted, entry.hidden = event.time, True
        return True

    def _run_restored(self, event: Event) -> bool:
        entry = self.entry(event.run_id)
        if entry is None or entry.deleted is None:
            return False
        entry.deleted, entry.hidden = None, self._books[entry.exp].deleted is not None
        return True

    def _run_moved(self, event: Event) -> bool:
        entry, to = self.entry(event.run_id), self.number_of(str(event.body["to"]))
        if entry is None or to is None or to == entry.exp or self._books[to].deleted is not None:
            return False
        book = self._books[to]
        if entry.exp in self._ids:
            self._ids[entry.exp].remove(event.run_id)
        entry.exp, entry.hidden = to, entry.deleted is not None
        name = book.record.name
        findings = tuple(replace(finding, experiment=name) for finding in entry.run.findings)
        entry.run = replace(entry.run, number=book.next_number, experiment=name, findings=findings)
        book.next_number += 1
        self._list(entry, to)
        return self._put(entry)

    def _run_captured(self, event: Event) -> bool:
        return self._grow(event, environment=lambda run: MappingProxyType({**run.environment, **event.body}))

    def _run_summarized(self, event: Event) -> bool:
        return self._grow(event, summary=lambda run: MappingProxyType({**run.summary, **event.body["summary"]}))

    def _run_noted(self, event: Event) -> bool:
        return self._grow(event, notes=lambda run: (*run.notes, str(event.body["text"])))

    def _run_tagged(self, event: Event) -> bool:
        new = [str(tag) for tag in event.body["tags"]]
        return self._grow(event, tags=lambda run: tuple(dict.fromkeys((*run.tags, *new))))

    def _run_untagged(self, event: Event) -> bool:
        gone = {str(tag) for tag in event.body["tags"]}
        return self._grow(event, tags=lambda run: tuple(tag for tag in run.tags if tag not in gone))

    def _run_data(self, event: Event) -> bool:
        return self._grow(event, data=lambda run: (*run.data, MappingProxyType(dict(event.body))))

    def _run_artifact(self, event: Event) -> bool:
        return self._grow(event, artifacts=lambda run: (*run.artifacts, MappingProxyType(dict(event.body))))

    def _finding_opened(self, event: Event) -> bool:
        entry = self.entry(event.run_id)
        if entry is None:
            return False
        said = finding_in(event)
        before = next((known for known in entry.run.findings if known.id == said.id), None)
        finding = replace(said, experiment=entry.run.experiment, evidence=frozen(said.evidence))
        if before is not None:
            finding = replace(finding, state=before.state, time=before.time, verdict=before.verdict)
        return self._show_finding(entry, finding)

    def _finding_state(self, event: Event) -> bool:
        entry, finding = self._finding_of(event)
        if entry is None or finding is None or finding.verdict == "ok":  # a false alarm stays resolved
            return False
        return self._show_finding(entry, replace(finding, state=FindingState(event.body["state"])))

    def _finding_judged(self, event: Event) -> bool:
        """Take a person's word: a false alarm is resolved, and open again where it is called real after all."""
        entry, finding = self._finding_of(event)
        verdict = event.body["verdict"]
        if entry is None or finding is None or verdict not in VERDICTS:
            return False
        state = finding.state
        if verdict == "ok":
            state = FindingState.RESOLVED
        elif finding.verdict == "ok":
            state = FindingState.OPEN
        return self._show_finding(entry, replace(finding, verdict=verdict, state=state))

    def _finding_of(self, event: Event) -> tuple[Entry | None, Finding | None]:
        """Return the run of an event, and the finding that it is about."""
        entry, wanted = self.entry(event.run_id), str(event.body["finding_id"])
        found = () if entry is None else entry.run.findings
        return entry, next((known for known in found if known.id == wanted), None)

    def _show_finding(self, entry: Entry, finding: Finding) -> bool:
        """Put a finding among its run's, in the place of what was said before under its id."""
        known = entry.run.findings
        if any(each.id == finding.id for each in known):
            return self._put(entry, findings=tuple(finding if each.id == finding.id else each for each in known))
        return self._put(entry, findings=(*known, finding))

    def _looked_up(self, event: Event) -> bool:
        if event.kind == CHECKPOINT:
            self.claimed = self.n_rows
        if event.kind in self._kinds:
            self._kinds[event.kind].setdefault(event.id, event)
        elif self._load_kind is None:
            self._kinds[event.kind] = {event.id: event}
        return True

    def _purged(self, event: Event) -> bool:
        """Forget what was physically removed: nothing brings it back."""
        for number in event.body.get("experiments", ()):
            self._books.pop(number, None)
            self._ids.pop(number, None)
        for run_id in event.body.get("runs", ()):
            self._gone.add(run_id)
            entry = self._entries.pop(run_id, None)
            if entry is not None and run_id in self._ids.get(entry.exp, ()):
                self._ids[entry.exp].remove(run_id)
        if None in self._ids:
            gone = set(event.body.get("runs", ()))
            self._ids[None] = [run_id for run_id in self._ids[None] if run_id not in gone]
        self._refresh()
        return self._looked_up(event)

    def _removed(self, event: Event) -> bool:
        """Leave the places free that a removed event had taken."""
        if event.body.get("experiment"):
            self._n_experiments += 1
        if event.body.get("ordinal"):
            self._n_ordinals += 1
        book = self._books.get(event.body.get("number_of", -1))
        if book is not None:
            book.next_number += 1
        return True

    # -- helpers

    def _own(self, event: Event) -> Book | None:
        """Return the experiment that exists under an event's name."""
        number = self.number_of(event.experiment)
        book = None if number is None else self._books[number]
        return None if book is None or book.deleted is not None else book

    def _name(self, event: Event, name: str, number: int) -> None:
        self._numbers[name] = number
        self._aliases.pop(name, None)
        self._named.append((event.version, name, number))
        self._refresh()

    def _unname(self, number: int) -> str:
        name = self._books[number].record.name
        self._numbers.pop(name, None)
        return name

    def _refresh(self) -> None:
        living = [book.record for book in self._books.values() if book.deleted is None]
        self.experiments = {record.name: record for record in living}
        self._numbers = {record.name: record.number for record in living}

    def _live(self, event: Event) -> Entry | None:
        entry = self.entry(event.run_id)
        return None if entry is None or entry.run.state.is_over else entry

    def _grow(self, event: Event, **changes: Callable[[Run], Any]) -> bool:
        """Change a run in a way that is allowed after its end too."""
        entry = self.entry(event.run_id)
        if entry is None:
            return False
        return self._put(entry, **{name: change(entry.run) for name, change in changes.items()})

    def _put(self, entry: Entry, **changes: Any) -> bool:
        """Replace a run's record by one with changes, and all that follows from them."""
        run = replace(entry.run, **changes) if changes else entry.run
        record = self._books[entry.exp].record
        summary, objective = run.summary, record.objective
        if run.reports and objective is not None and run.state.is_over and objective.metric not in summary:
            steps = list(run.reports)
            curve = Curve.of(objective.metric, steps, [run.reports[step] for step in steps])
            summary = MappingProxyType({**summary, objective.metric: curve.summary()})
        metrics = run.metrics
        if summary is not entry.run.summary or not metrics or entry.told is not None:
            metrics = last_values(summary, record.objectives, entry.told)
        values = entry.told if entry.told is not None else objective_values(record, summary, run.state)
        if (summary, metrics, values) != (run.summary, run.metrics, run.values):  # mostly they stay
            run = replace(run, summary=summary, metrics=metrics, values=values)
        entry.run = run
        entry.dirty = True
        if run.state is RunState.RUNNING:
            self.running[run.id] = None
        else:
            self.running.pop(run.id, None)
        return True

    # -- what is in memory and what is in the base

    def _take(self, entry: Entry) -> None:
        if entry.dirty:
            self._gone.discard(entry.run.id)  # created anew
        elif entry.run.id in self._gone:
            return
        self._entries[entry.run.id] = entry
        if self.base is None or entry.dirty:
            self._ordinals[entry.run.ordinal] = entry.run.id

    def _list(self, entry: Entry, *keys: int | None) -> None:
        """Add a run to those lists that are in memory; without a base all are."""
        for key in keys:
            if key in self._ids:
                self._ids[key].append(entry.run.id)
            elif self.base is None:
                self._ids[key] = [entry.run.id]

    def _preload(self, run_ids: Sequence[str]) -> None:
        missing = [run_id for run_id in run_ids if run_id not in self._entries]
        if missing and self.base is not None:
            for entry in self.base.entries(missing).values():
                self._take(entry)

    def _ids_of(self, exp: int | None) -> list[str]:
        if exp not in self._ids and self.base is not None:
            self._ids[exp] = self._listed(exp, self.base.ids_of(exp))
        return self._ids.get(exp, [])

    def _listed(self, exp: int | None, kept: Iterable[tuple[int, str]]) -> list[str]:
        """Return the ids of runs in their order: those that the base has, and what has changed since."""
        pairs = {run_id: place for place, run_id in kept if run_id not in self._gone}
        for run_id, entry in self._entries.items():
            if entry.dirty:
                pairs.pop(run_id, None)
                if exp is None or entry.exp == exp:
                    pairs[run_id] = entry.run.ordinal if exp is None else entry.run.number
        return sorted(pairs, key=pairs.__getitem__)

    def _n_visible(self) -> dict[int, int]:
        with self._lock:
            if self.base is None:
                counts: dict[int, int] = {}
                for entry in self._entries.values():
                    counts[entry.exp] = counts.get(entry.exp, 0) + (not entry.hidden)
                return counts
            counts = dict(self.base.n_visible())
            changed = [entry for entry in self._entries.values() if entry.dirty]
            for before in self.base.entries([entry.run.id for entry in changed]).values():
                counts[before.exp] = counts.get(before.exp, 0) - (not before.hidden)
            for entry in changed:
                counts[entry.exp] = counts.get(entry.exp, 0) + (not entry.hidden)
            return counts


class _Runs(Mapping[str, Run]):
    """The runs of a state that are not hidden."""

    def __init__(self, state: State) -> None:
        self._state = state

    def __getitem__(self, run_id: str) -> Run:
        entry = self._state.entry(run_id)
        if entry is None or entry.hidden:
            raise KeyError(run_id)
        return entry.run

    def __iter__(self) -> Iterator[str]:
        return (entry.run.id for entry in self._state.entries_of(None) if not entry.hidden)

    def __len__(self) -> int:
        return self._state.n_runs()

    def __repr__(self) -> str:
        return f"<{len(self)} runs>"


def _add_recent(ids: dict[str, None], event_id: str) -> None:
    """Add to a bounded set of ids, oldest out."""
    ids[event_id] = None
    if len(ids) > N_RECENT:
        ids.pop(next(iter(ids)))


def objective_values(
    experiment: Experiment, summary: Mapping[str, Mapping[str, Any]], state: RunState
) -> tuple[float, ...]:
    """Return one value an objective, read off the figures of a run's curves.

    Empty while the run goes on, and where a figure that is needed is missing. NaN where a curve has
    no finite value at all.
    """
    if not experiment.objectives or not state.is_over:
        return ()
    values: list[float] = []
    for objective in experiment.objectives:
        figures = summary.get(objective.metric)
        if not figures or not figures.get("n"):
            return ()
        key = {"last": "last_finite", "best": "min" if objective.direction == "minimize" else "max"}
        name = key.get(experiment.reduce, experiment.reduce)
        if name not in figures:
            return ()
        values.append(math.nan if figures[name] is None else float(figures[name]))
    return tuple(values)


LOOKED_UP: Final = frozenset(
    {
        "suggestion.made",
        "suggestion.closed",
        "forecast.made",
        "stop.advised",
        "document.written",
        "finding.notified",
        "alert.queued",
        "alert.delivery",
        "alert.muted",
        "alert.unmuted",
        JOINED,
        CHECKPOINT,
        PURGED,
        "store.merged",
    }
)
"""Kinds of events that change no record: who asks for them reads them."""
BOOKKEEPING: Final = frozenset({JOINED, CHECKPOINT})
"""Kinds of events that the store writes for itself; they are not counted."""
_OWN_ID: Final = LOOKED_UP - {"finding.notified"}

_HANDLERS: Final[Mapping[str, Callable[[State, Event], bool]]] = {
    "experiment.created": State._experiment_created,
    "experiment.updated": State._experiment_updated,
    "experiment.renamed": State._experiment_renamed,
    "experiment.deleted": State._experiment_deleted,
    "experiment.restored": State._experiment_restored,
    "experiment.attr": State._experiment_attr,
    "run.created": State._run_created,
    "run.param": State._run_param,
    "run.reported": State._run_reported,
    "run.attr": State._run_attr,
    "run.state": State._run_state,
    "run.deleted": State._run_deleted,
    "run.restored": State._run_restored,
    "run.moved": State._run_moved,
    "run.captured": State._run_captured,
    "run.summarized": State._run_summarized,
    "run.noted": State._run_noted,
    "run.tagged": State._run_tagged,
    "run.untagged": State._run_untagged,
    "run.data": State._run_data,
    "run.artifact": State._run_artifact,
    "finding.opened": State._finding_opened,
    "finding.state": State._finding_state,
    "finding.judged": State._finding_judged,
    REMOVED: State._removed,
    **dict.fromkeys(LOOKED_UP, State._looked_up),
    PURGED: State._purged,
}


def _told(body: Mapping[str, Any]) -> tuple[float, ...] | None:
    values = body.get("values")
    return None if values is None else tuple(float(value) for value in values)


def handled_kinds() -> frozenset[str]:
    """Return the kinds of events that change a state."""
    return frozenset(_HANDLERS) - {REMOVED}


NOT_SAID: Final = frozenset({"finding.judged", "run.untagged"})
"""Kinds that a fold may have passed over whose checkpoint does not say which ones it knew."""


def passed_over(checkpoint: Mapping[str, Any]) -> frozenset[str]:
    """Return the kinds of events that change a state, and that whoever kept a fold did not know.

    Such events are missing from the fold if there were any: an earlier version of the program passes over them.
    """
    known = checkpoint.get("kinds")
    return NOT_SAID if known is None else handled_kinds() - set(known)

"""What an import writes together: runs before their curves, and how far everything has been read last."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np

from advisor.redact import redact, scrub
from advisor.sources import heads
from advisor.sources.marks import Mark, Marks
from advisor.sources.points import lengths_of
from advisor.sources.port import Piece, Points
from storage.curves import summaries
from storage.records import UNRECORDED_END, Curve, CurveChunk, Event, Run, RunState, valid_text

if TYPE_CHECKING:
    from advisor.app import Advisor
    from storage.journal import State
    from storage.store import RunStore

POINTS_AT_ONCE: Final = 2_000_000
"""Points in memory before they are committed: 50 MB."""
RUNS_AT_ONCE: Final = 1_000
IMPORTED_OBJECTIVES: Final = "imported_objectives"
"""Attribute of an experiment: (metric, direction) as its tool said when it came."""
ENTRIES_AT_ONCE: Final = 500
"""Known runs that are looked up together."""


@dataclass(frozen=True, slots=True)
class Fresh:
    """Points of one run that the store does not have."""

    points: Mapping[str, Points]
    """By metric."""
    piece: Piece
    """The reading that they are from."""
    base: int
    """Log calls that the store has."""


@dataclass(frozen=True, slots=True)
class News:
    """What of one run is new to the store."""

    head: heads.Head
    known: Run | None
    """As the store has it; None where it does not."""
    curves: Mapping[str, Points]
    """Further points, by metric."""
    base: int
    """Log calls that the store has."""
    mark: Mark
    is_changed: bool
    """Whether something beside the curves differs from what was known."""
    notes: tuple[str, ...]

    @property
    def is_news(self) -> bool:
        """Whether anything is new."""
        return self.known is None or bool(self.curves) or self.is_changed

    @classmethod
    def of(cls, head: heads.Head, known: Run | None, fresh: Fresh, had: Mark | None) -> Self:
        """Put together what is new and how far that reaches."""
        piece, hashed = fresh.piece, head.hash()
        mark = Mark(
            "",
            head.run_id,
            fresh.base + max((len(points) for points in fresh.points.values()), default=0),
            lengths=lengths_of(piece, {} if had is None or piece.is_whole else had.lengths),
            cursor=piece.cursor,
            head=hashed,
        )
        is_changed = known is not None and (had is None or had.head != hashed) and _differs(head, known)
        return cls(head, known, fresh.points, fresh.base, mark, is_changed, piece.notes)

    def chunks(self) -> list[CurveChunk]:
        """Return the further points as pieces of curves that cover the same log calls."""
        return [
            CurveChunk(
                self.head.run_id,
                metric=metric,
                chunk=self.base,
                through=self.mark.through,
                steps=points.steps,
                values=points.values,
                times=np.round(points.times, 6),
            )
            for metric, points in self.curves.items()
        ]


class Batch:
    """What is written together: runs before their curves, and marks last."""

    def __init__(self, adv: Advisor, marks: Marks) -> None:
        self._adv, self._store = adv, marks
        self.marks: dict[str, dict[str, Mark]] = {}
        self.added: Counter[str] = Counter()
        self.news: set[str] = set()
        self.n_going_on = self.n_just_written = 0
        self.folders: dict[str, set[str]] = {}
        """Of an experiment's added runs, the folders that theirs lie in."""
        self._new: dict[str, News] = {}
        self._n_points = 0
        self._endings: list[Event] = []
        self._state: State | None = None
        self._ids: frozenset[str] = frozenset()
        self._expected: list[str] = []
        self._places: dict[str, int] = {}
        self._loaded: set[str] = set()
        # Marks go with a folder that is deleted, but not with a bucket.
        self._marks_are_sure = adv.opening.place.folder is not None

    def look(self) -> State:
        """Take in what the store holds now."""
        self._state = self._adv.store.state()
        self._ids = frozenset(self._state.all_ids())
        self._loaded.clear()
        return self._state

    def has(self, mark: Mark) -> bool:
        """Return whether the store has a run that was read before; does not open a store in a folder to tell."""
        if self._marks_are_sure:
            return True
        if self._state is None:
            self.look()
        return mark.run_id in self._ids

    def expect(self, run_ids: Sequence[str]) -> None:
        """Say which runs will be asked about, in about which order."""
        self._expected = list(dict.fromkeys(run_ids))
        self._places = {run_id: place for place, run_id in enumerate(self._expected)}

    def known(self, run_id: str) -> Run | None:
        """Return a run as the store has it, deleted ones too; None where it has none."""
        if run_id in self._new:  # two places hold the same run: the second goes on where the first ends
            self.flush()
        state = self._state or self.look()
        if run_id not in self._ids:
            return None
        place = self._places.get(run_id)
        if place is not None and run_id not in self._loaded:
            some = self._expected[place : place + ENTRIES_AT_ONCE]
            state.entries(some)  # one look-up for many instead of one each
            self._loaded.update(some)
        entry = state.entry(run_id)
        return None if entry is None else entry.run

    def ends(self, run: Run, **how: Any) -> None:
        """Take that a run that goes on in the store does so no longer."""
        if not run.state.is_over:
            self._endings.append(Event.new("run.state", run.experiment, run.id, actor="import", **how))

    def add(self, new: News) -> None:
        """Take what is new of a run; writes where much has gathered."""
        if new.is_news:
            self._new[new.head.run_id] = new
            self._n_points += sum(len(points) for points in new.curves.values())
        if self._n_points >= POINTS_AT_ONCE or len(self._new) >= RUNS_AT_ONCE:
            self.flush()

    def flush(self) -> None:
        """Write what has gathered."""
        if self._new or self._endings:
            self._write(list(self._new.values()))
        for source, marks in self.marks.items():
            self._store.keep(source, marks.items())
        self._new, self._n_points, self.marks = {}, 0, {}

    def _write(self, several: Sequence[News]) -> None:
        store, now = self._adv.store, self._adv.clock()
        fresh = [new for new in several if new.known is None]
        grown = [(new, new.known) for new in several if new.known is not None]
        self._create_experiments(fresh)
        reduce = {record.name: record.reduce for record in store.experiments()}
        events: list[Event] = []
        for new in fresh:
            curves = {metric: Curve.of(metric, p.steps, p.values, p.times) for metric, p in new.curves.items()}
            summary = summaries(curves, reduce=reduce.get(new.head.experiment, "last"))
            events += heads.created(new.head, summary, time=now)
        for new, known in grown:
            events += heads.changed(new.head, known, time=now)
        _append(store, events)
        chunks = [chunk for new in several for chunk in new.chunks()]
        if chunks:
            store.append_curves(chunks)
        _append(store, [*self._ends(grown, reduce, now), *self._endings])
        self._endings = []
        self.added.update(new.head.experiment for new in fresh)
        going_on = [new.head for new in several if new.head.state is RunState.RUNNING]
        self.n_going_on += len(going_on)
        self.n_just_written += sum(UNRECORDED_END in head.body["meta"] for head in going_on)
        self.news.update(new.head.run_id for new in several if new.known is not None or new.head.is_recent(now))
        self.look()

    def _ends(self, grown: Sequence[tuple[News, Run]], reduce: Mapping[str, str], now: datetime) -> list[Event]:
        """Return the events that say what the curves of known runs are now, and which of these ended."""
        if not grown:
            return []
        all_curves = self._adv.store.curves([new.head.run_id for new, _ in grown])
        events: list[Event] = []
        for new, known in grown:
            curves = all_curves.get(new.head.run_id, {})
            summary = summaries(curves, reduce=reduce.get(known.experiment, "last"))
            if any(known.summary.get(metric, {}).get("n") != figures["n"] for metric, figures in summary.items()):
                events.append(heads.summarized(new.head, summary, time=now))
            events += heads.ending(new.head, known, summary, time=now)
        return events

    def _create_experiments(self, fresh: Sequence[News]) -> None:
        there = {experiment.name for experiment in self._adv.store.experiments()}
        events = []
        for new in fresh:
            name = new.head.experiment
            if name in there:
                continue
            there.add(name)
            about = new.head.about
            objectives = [{"metric": valid_text(metric), "direction": way} for metric, way in about.objectives]
            objectives_said = [[each["metric"], each["direction"]] for each in objectives]
            events.append(
                Event.new(
                    "experiment.created",
                    name,
                    actor="import",
                    objectives=objectives,
                    description=scrub(valid_text(about.description)),
                    user_attrs=redact(about.attributes)
                    | ({IMPORTED_OBJECTIVES: objectives_said} if objectives else {}),
                )
            )
        _append(self._adv.store, events)


def _append(store: RunStore, events: Sequence[Event]) -> None:
    if events:
        store.append(events)


def _differs(head: heads.Head, known: Run) -> bool:
    """Return whether anything of a head would change a known run."""
    now = known.created
    return bool(heads.changed(head, known, time=now) or heads.ending(head, known, {}, time=now))

"""Other tools' runs into the store: only what is new, nothing twice, and what is left out is named with its reason.

A run's id follows from its tool and key, so importing again, from another machine too, meets the same run. Its curves
are compared by checksum with what was read before: what goes on is appended; a file that was replaced by another
training becomes a further run.

Invariant: what was written is complete without the marks (``advisor.sources.marks``). An import that was interrupted
is completed by repeating it.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from advisor.errors import AdvisorError, SourceError
from advisor.redact import environment_secrets
from advisor.sources import heads
from advisor.sources.batch import Batch, Fresh, News
from advisor.sources.detect import Detected, detect
from advisor.sources.interchange import OWN, import_path
from advisor.sources.marks import Mark, Marks
from advisor.sources.points import after, bounded, checksum_of, goes_on
from advisor.sources.port import Entry, Found, Options, Piece, Source, SourceRun
from advisor.sources.questions import Questions
from advisor.sources.registry import chosen, reader_of
from storage.errors import RecordError
from storage.records import Run, RunState

if TYPE_CHECKING:
    from advisor.app import Advisor


log = logging.getLogger(__name__)

Progress = Callable[[int, int], None]

QUIET_S: Final = 120.0
"""A run whose tool does not record its end is taken as finished when nothing was written for two minutes."""
TABLE_QUIET_S: Final = 60.0
"""The same of a table that is imported rather than followed: most of them were over long before."""
RECHECK_S: Final = 30.0
"""Between two looks at a run that its tool calls running: its process may be gone without having written anything."""
GENERATIONS_AT_MOST: Final = 1_000


@dataclass(slots=True)
class Tally:
    """What an import did with one source."""

    tool: str
    path: str
    n_added: int = 0
    """Runs that the store did not have."""
    n_grown: int = 0
    """Runs that the store had, of which something was new."""
    n_same: int = 0
    """Runs of which nothing was new."""
    n_curves: int = 0
    n_points: int = 0
    left_out: dict[str, str] = field(default_factory=dict)
    """Place → why it was left out."""
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Synced:
    """What one import did."""

    tallies: Sequence[Tally]
    experiments: Mapping[str, int]
    """Experiment → runs added."""
    news: frozenset[str]
    """Ids of runs that go on, or ended within a day, of which something was new."""

    mixed: Mapping[str, int] = field(default_factory=dict)
    """Experiment named after the folder given → how many folders its added runs are from, where these are several."""
    n_going_on: int = 0
    """Runs among those added or grown that may still go on."""
    n_just_written: int = 0
    """Those of them that say nothing of an end, and count as going on because they were written to just now."""

    @property
    def n_added(self) -> int:
        """Runs added."""
        return sum(tally.n_added for tally in self.tallies)

    @property
    def n_known(self) -> int:
        """Runs that the store had already."""
        return sum(tally.n_grown + tally.n_same for tally in self.tallies)

    @property
    def n_curves(self) -> int:
        """Curves that points were added to."""
        return sum(tally.n_curves for tally in self.tallies)

    @property
    def n_points(self) -> int:
        """Points added."""
        return sum(tally.n_points for tally in self.tallies)


def import_runs(
    adv: Advisor,
    target: str | Path,
    *,
    tools: Sequence[str] = (),
    experiment: str | None = None,
    options: Options | None = None,
    progress: Progress | None = None,
) -> Synced:
    """Bring other tools' runs into the store, only what is new: ``advisor import`` as a function.

    Parameters
    ----------
    adv, target, tools, experiment, options
        As for ``Importer``.
    progress
        Called with (runs done, runs in all) on the way.

    Raises
    ------
    ImportFormatError, ConfigError
        If there is nothing at the place, or a tool is unknown.
    StorageError
        If the store cannot be written; repeating completes what was begun.
    """
    with Importer(adv, target, tools=tools, experiment=experiment, options=options) as importer:
        return importer.sync(progress)


class Importer:
    """Brings what lies at one place into a store, once or again and again. A context manager.

    Parameters
    ----------
    adv
        Whose store it comes into.
    target
        A folder, a file or an address.
    tools
        Only data of these tools; all where empty.
    experiment
        The name that all runs' experiment gets; the tools' own names where None.
    options
        How to read; its ``root`` is filled in.
    quiet_s
        See ``QUIET_S``.
    is_followed
        Whether somebody watches: runs that go on or have just ended are told of like those tracked here.

    Raises
    ------
    ImportFormatError, ConfigError
        If there is nothing at the place, or a tool is unknown.
    """

    def __init__(
        self,
        adv: Advisor,
        target: str | Path,
        *,
        tools: Sequence[str] = (),
        experiment: str | None = None,
        options: Options | None = None,
        quiet_s: float = QUIET_S,
        is_followed: bool = False,
    ) -> None:
        self._adv, self._target, self._quiet_s = adv, str(target), quiet_s
        self._is_followed = is_followed
        self._readers = chosen(tools)
        self._experiment = experiment
        root = None if "://" in self._target else Path(self._target).expanduser().resolve()
        self._options = replace(options or Options(), root=root)
        self._sources: dict[tuple[str, str], Source] = {}
        self._marks: Marks | None = None
        self._seen: dict[str, dict[str, Mark]] = {}
        self._questions = Questions(adv)
        self._secrets = environment_secrets()
        self.detected = detect(self._target, self._readers)

    def look_again(self) -> Detected:
        """Find out anew what is there, for one who watches."""
        self.detected = detect(self._target, self._readers)
        return self.detected

    def sync(self, progress: Progress | None = None) -> Synced:
        """Bring what is new into the store.

        Raises
        ------
        StorageError
            If the store cannot be written; whatever was committed stays, and repeating completes it.
        """
        if self._marks is None:
            self._marks = Marks(self._adv.opening.place.work_folder("cache") / "imports.sqlite")
        total = sum(found.n_runs or 0 for found in self.detected.found)
        batch = Batch(self._adv, self._marks)
        tallies = []
        n_done = 0
        for found in self.detected.found:
            tally = Tally(found.tool, found.path)
            tallies.append(tally)
            for _ in self._sync_source(found, tally, batch):
                n_done += 1
                if progress is not None:
                    progress(n_done, max(total, n_done))
        there = {f"{found.tool} {found.path}" for found in self.detected.found}
        for name in self._seen.keys() - there:
            self._end_what_is_gone(self._seen[name], batch, name)
        batch.flush()
        return Synced(
            tallies,
            dict(batch.added),
            frozenset(batch.news),
            mixed=self._mixed(batch),
            n_going_on=batch.n_going_on,
            n_just_written=batch.n_just_written,
        )

    def plan(self) -> Synced:
        """Return what an import would bring, without reading curves and without writing: ``--dry-run``."""
        has_store = self._adv.opening.place.holds_tables() is not False
        ids = frozenset(self._adv.store.state().all_ids()) if has_store else frozenset()
        tallies, added = [], Counter[str]()
        for found in self.detected.found:
            tally = Tally(found.tool, found.path)
            tallies.append(tally)
            try:
                if found.tool == OWN:
                    continue
                source = self._open(found)
                for entry in source.entries():
                    self._plan_run(found, entry, ids, tally, added)
                tally.notes += source.notes
            except AdvisorError as error:
                tally.left_out[found.path] = str(error)
        return Synced(tallies, dict(added), frozenset())

    def _plan_run(self, found: Found, entry: Entry, ids: frozenset[str], tally: Tally, added: Counter[str]) -> None:
        try:
            run = entry.load()
        except SourceError as error:
            tally.left_out[entry.place] = str(error)
            return
        if heads.id_of(found.tool, run.key) in ids:
            tally.n_same += 1
            return
        tally.n_added += 1
        added[self._experiment or run.experiment] += 1

    def close(self) -> None:
        """Let go of sources and marks. Closing twice is fine."""
        for source in self._sources.values():
            source.close()
        self._sources.clear()
        if self._marks is not None:
            self._marks.close()
            self._marks = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- one source

    def _sync_source(self, found: Found, tally: Tally, batch: Batch) -> Iterator[None]:
        name = f"{found.tool} {found.path}"
        assert self._marks is not None
        if name not in self._seen:
            self._seen[name] = self._marks.of(name)
        marks = self._seen[name]
        batch.expect([mark.run_id for mark in marks.values() if mark.run_id])
        try:
            if found.tool == OWN:
                self._sync_own(found, tally, batch)
                return
            source = self._open(found)
            there = set()
            for entry in source.entries():
                there.add(entry.place)
                self._sync_run(found, entry, marks.get(entry.place), tally, batch, name)
                yield
            self._end_what_is_gone({place: mark for place, mark in marks.items() if place not in there}, batch, name)
            tally.notes += source.notes
            source.notes.clear()
        except (AdvisorError, RecordError) as error:  # also a reader's package that is not installed
            tally.left_out[found.path] = str(error)

    def _sync_own(self, found: Found, tally: Tally, batch: Batch) -> None:
        """Bring in an export of our own, which holds more than the port can say."""
        done = import_path(self._adv, Path(found.path))
        tally.n_added, tally.n_same = done.n_runs, done.n_known
        tally.n_curves, tally.n_points, tally.notes = done.n_curves, done.n_points, list(done.notes)
        batch.added.update(done.experiments)
        batch.look()

    def _end_what_is_gone(self, gone: Mapping[str, Mark], batch: Batch, name: str) -> None:
        """Finish runs that went on and whose files were deleted, once they have been quiet for long enough."""
        now = self._adv.clock().timestamp()
        for place, mark in list(gone.items()):
            if mark.look_at is not None and now >= mark.look_at and mark.run_id:
                known = batch.known(mark.run_id)
                if known is not None:
                    batch.ends(known, state="finished")
                self._remember(batch, name, place, replace(mark, look_at=None))

    def _open(self, found: Found) -> Source:
        key = (found.tool, found.path)
        if key not in self._sources:
            self._sources[key] = reader_of(found.tool).open(found, self._options)
        return self._sources[key]

    def _sync_run(self, found: Found, entry: Entry, mark: Mark | None, tally: Tally, batch: Batch, name: str) -> None:
        """Bring one run up to date."""
        due = mark is not None and mark.look_at is not None and self._adv.clock().timestamp() >= mark.look_at
        if mark is not None and mark.stamp == entry.stamp and not due:
            if not mark.run_id:
                tally.left_out[entry.place] = mark.reason
                return
            if batch.has(mark):
                tally.n_same += 1
                return
        try:
            run = entry.load()
            new = self._news_of(run, found, mark, batch)
        except SourceError as error:
            tally.left_out[entry.place] = str(error)
            self._remember(batch, name, entry.place, Mark(entry.stamp, "", reason=str(error)))
            return
        tally.notes += [f"{entry.place}: {note}" for note in new.notes]
        tally.n_added += new.known is None
        tally.n_grown += new.known is not None and new.is_news
        tally.n_same += new.known is not None and not new.is_news
        tally.n_curves += len(new.curves)
        tally.n_points += sum(len(points) for points in new.curves.values())
        mark = replace(new.mark, stamp=entry.stamp, look_at=self._look_at(run, new.head.state, found.tool))
        self._remember(batch, name, entry.place, mark)
        if new.known is None:
            batch.folders.setdefault(new.head.experiment, set()).add(str(Path(found.path, entry.place).parent))
        batch.add(new)

    def _quiet(self, tool: str) -> float:
        """Return for how long nothing must have been written to a run without a recorded end, for it to be over."""
        return min(self._quiet_s, TABLE_QUIET_S) if tool == "tables" and not self._is_followed else self._quiet_s

    def _look_at(self, run: SourceRun, state: RunState, tool: str) -> float | None:
        """Return when a run that goes on is looked at again, even where nothing was written meanwhile."""
        if state is not RunState.RUNNING:
            return None
        if run.state is None and run.active is not None:
            return run.active.timestamp() + self._quiet(tool)
        return self._adv.clock().timestamp() + RECHECK_S

    def _remember(self, batch: Batch, source: str, place: str, mark: Mark) -> None:
        self._seen[source][place] = mark
        batch.marks.setdefault(source, {})[place] = mark

    def _news_of(self, run: SourceRun, found: Found, mark: Mark | None, batch: Batch) -> News:
        """Return what of a run the store does not have yet."""
        run_id, known, had, fresh = self._fresh(run, found.tool, mark, batch)
        head = heads.head_of(
            run,
            tool=found.tool,
            run_id=run_id,
            experiment=self._experiment or self._questions.name_of(run, found),
            state=heads.state_of(run, now=self._adv.clock(), quiet_s=self._quiet(found.tool)),
            path=found.path,
            secrets=self._secrets,
        )
        if self._is_followed and known is None and head.is_recent(self._adv.clock()):
            head = head.followed()
        return News.of(head, known, fresh, had)

    def _mixed(self, batch: Batch) -> dict[str, int]:
        root = self._options.root
        if self._experiment is not None or root is None or root.name not in batch.added:
            return {}
        n_folders = len(batch.folders.get(root.name, ()))
        # where each run has a folder of its own, folders tell nothing
        return {root.name: n_folders} if 1 < n_folders <= batch.added[root.name] / 2 else {}

    def _fresh(
        self, run: SourceRun, tool: str, mark: Mark | None, batch: Batch
    ) -> tuple[str, Run | None, Mark | None, Fresh]:
        """Return a run's id, the run as the store has it, the mark that holds, and the points that are new."""
        whole: Piece | None = None
        for generation in range(1, GENERATIONS_AT_MOST):
            run_id = heads.id_of(tool, run.key, generation)
            known = batch.known(run_id)
            if known is None:
                whole = whole or bounded(run.read(None))
                return run_id, None, None, Fresh(whole.curves, whole, 0)
            had = mark if mark is not None and mark.run_id == run_id else None
            if had is not None:
                piece = bounded(run.read(had.cursor))
                whole = piece if piece.is_whole else whole
                points = after(piece, had.lengths)
                if points == {}:
                    return run_id, known, had, Fresh({}, piece, had.through)
                if self._adv.store.delivered(run_id) != had.through:
                    had = None  # something else wrote or did not: what the store has decides
            if had is None:
                whole = piece = whole or bounded(run.read(None))
                points = after(piece, self._lengths_in_store(run_id))
            if points is None and goes_on(piece, known):
                points = dict(piece.curves)  # a file that was begun anew by the same training
            if points is not None:
                return run_id, known, had, Fresh(points, piece, self._adv.store.delivered(run_id))
            batch.ends(known, state="crashed", error="its files were replaced by another training's")
        raise SourceError(f"was replaced more than {GENERATIONS_AT_MOST:,} times")

    def _lengths_in_store(self, run_id: str) -> dict[str, tuple[int, int]]:
        curves = self._adv.store.curves([run_id]).get(run_id, {})
        return {metric: (len(curve), checksum_of(curve.steps, curve.values)) for metric, curve in curves.items()}

"""``RunStore`` on LanceDB tables: every question and every care in one place, and little of its own.

Events are in ``storage.journal_table``, what they add up to in ``storage.folding``, curves in ``storage.curve_table``,
files in ``storage.artifacts``; filters, sorting and search go through the derived table of runs (``storage.index``).
"""

from __future__ import annotations

import functools
import logging
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from shlex import quote
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, BinaryIO, Final, TypeVar

from storage import likeness
from storage.artifacts import artifacts_at
from storage.curve_table import TABLE as CURVES
from storage.curve_table import CurveTable
from storage.curves import of_training
from storage.downsample import downsample
from storage.entries import Entry
from storage.errors import (
    CurveDamagedError,
    ExperimentNotFoundError,
    FilterError,
    RunNotFoundError,
    StoreUnavailableError,
    did_you_mean,
)
from storage.events import check_event
from storage.folding import Folding
from storage.hits import Reason, SearchHit, SearchResults
from storage.index import RUNS_ONLY, TABLE, BaseGoneError, KeptFold, Question, RunIndex, names_in
from storage.journal import SWEEPING, State
from storage.journal_table import JournalTable
from storage.lance import Column, Database, among, quoted
from storage.migrations import SCHEMA_VERSION
from storage.provenance import REMOVED
from storage.purge import GRACE, Purged, purge
from storage.query import Names, Order, compile_conditions, compile_filter, compile_order
from storage.question import Line, read_line
from storage.records import Curve, CurveChunk, Event, Experiment, Run, RunState, utc_now
from storage.searching import COUNTED, Searcher
from storage.store import Progress, RunStore, StoreInfo
from storage.vectors import Vectors
from storage.verify import Verified, verify

if TYPE_CHECKING:
    from storage.embed import Embedder

log = logging.getLogger(__name__)

COMPACT_EVERY: Final = 64
"""Commits between two looks at the fragments: reading a tail costs 3 ms on a fresh table, 25 ms at 300 fragments."""
MERGE_EVERY: Final = 8 * COMPACT_EVERY
"""Commits of curves between two looks at runs that ended, whose pieces can be merged."""
MERGE_LIVE_FROM: Final = 256
"""Commits of a run that goes on before its curves are merged: a live run makes about one a second."""
SEARCH_EMBEDS_FOR_S: Final = 10.0
"""How long one search computes vectors that are missing; after a large import the rest takes a reindex."""
MOVES: Final = 3
"""How often one read begins anew; more would mean that the table is made anew in a loop."""
GUESS_AMONG: Final = 2_000
"""Ids among which a close one is looked for when one is not found."""
ASK_FOR_AT_MOST: Final = 1_000
"""Beginnings of ids in one filter; for more all are read, which is cheaper than so long a filter."""


COMPARED_RUNS: Final = 3_000
"""Runs whose parameters are compared with one run's: of its experiment first, then those whose text is nearest."""
COMPARED_CURVES: Final = 40
"""Of these, runs whose curves are compared."""
COMPARED_POINTS: Final = 200
LIKE_PARAMETERS: Final = 0.5
LIKE_CURVES: Final = 0.3
LIKE_TEXT: Final = 0.2
"""What parameters, curves and text count in likeness; without curves the other two."""

Method = TypeVar("Method", bound=Callable[..., Any])


def moving_on(method: Method) -> Method:
    """Let a read begin anew where another process has made the table of runs anew under it."""

    @functools.wraps(method)
    def read(self: LanceRunStore, *given: Any, **named: Any) -> Any:
        for _ in range(MOVES):
            try:
                return method(self, *given, **named)
            except BaseGoneError as error:
                self._folding.forget(why=error)
        return method(self, *given, **named)

    return read  # type: ignore[return-value]  # wraps keeps the signature


class LanceRunStore(RunStore):
    """See ``RunStore``; open one with ``storage.open_store``."""

    def __init__(self, uri: str | Path, *, create: bool = True, embedder: Embedder | None = None) -> None:
        self.database = Database(uri, create=create)
        self.uri = self.database.uri
        self.journal_table = JournalTable(self.database)
        self.curve_table = CurveTable(self.database)
        self.artifacts = artifacts_at(self.uri, self.database.folder)
        self._embedder = embedder
        self._index = RunIndex(self.database)
        self._searcher = Searcher(self.database, Vectors(self.database, self._get_embedder))
        self._folding = Folding(
            self.database, self.journal_table, self._index, load_curves=self._curves_of, live=self._live
        )
        self._lock, self._index_lock = self._folding.lock, self._folding.index_lock
        self._figures_lock = threading.Lock()
        self._figures_version = -1
        self._figures: dict[str, Mapping[str, Mapping[str, Any]]] = {}

    # -- the journal

    def append(self, events: Sequence[Event]) -> None:
        if not events:
            return
        for event in events:
            check_event(event)
        version = self._folding.append(events)
        if version % COMPACT_EVERY == 0:
            self._compact_table("events")
            self._folding.keep()
        elif any(event.kind in SWEEPING for event in events):
            self._folding.keep_if_many_changed()

    @moving_on
    def events(self, *, experiment: str | None = None, run_id: str | None = None) -> list[Event]:
        unique: dict[str, Event] = {}
        for event in self.journal():
            unique.setdefault(event.id, event)  # of equal ids the first counts
        return [
            event
            for event in unique.values()
            if (experiment is None or event.experiment == experiment)
            and (run_id is None or event.run_id == run_id)
            and event.kind != REMOVED
        ]

    def journal(
        self,
        *,
        after: int = 0,
        experiments: Collection[str] = (),
        run_ids: Collection[str] = (),
        kinds: Collection[str] = (),
        last: int | None = None,
    ) -> list[Event]:
        where = _written_about(experiments, run_ids, kinds)
        if last is not None:
            return self.journal_table.last(last, after=after, where=where)
        if where is None:
            return [event for event, _ in self.journal_table.placed(after=after)[0]]
        return self.journal_table.read(after=after, where=where)

    def writers(self, ids: Collection[str]) -> dict[str, Mapping[str, Any]]:
        return self.journal_table.writers(ids)

    @moving_on
    def state(self) -> State:
        """Return the current fold. It belongs to the store: read it, do not keep or change it."""
        return self._folding.state()

    def stamp(self) -> str:
        return f"{self.journal_table.version()}.{self.curve_table.version()}"

    # -- experiments

    @moving_on
    def experiments(self) -> list[Experiment]:
        with self._lock:
            return list(self.state().experiments.values())

    @moving_on
    def experiment(self, name: str) -> Experiment:
        with self._lock:
            experiments = self.state().experiments
            if name not in experiments:
                raise ExperimentNotFoundError(_no_experiment(name, self.state()))
            return experiments[name]

    # -- runs

    @moving_on
    def run(self, run_id: str) -> Run:
        with self._lock:
            state = self.state()
            entry = state.entry(run_id)
            if entry is None or entry.hidden:
                fitting = self._starting_with(state, run_id) if run_id else []
                if len(fitting) != 1:
                    raise RunNotFoundError(_no_run(run_id, fitting, state))
                entry = state.entry(fitting[0])
            assert entry is not None  # its id has just been read
        return self._live([entry.run])[0]

    def _starting_with(self, state: State, beginning: str) -> list[str]:
        kept = state.base.starting_with(beginning) if isinstance(state.base, KeptFold) else []
        recent = [entry.run.id for entry in state.dirty() if entry.run.id.startswith(beginning)]
        return [entry.run.id for entry in state.entries(list(dict.fromkeys([*kept, *recent]))) if not entry.hidden]

    @moving_on
    def page(
        self,
        experiment: str | None = None,
        *,
        where: str | None = None,
        order_by: str | None = None,
        descending: bool = False,
        limit: int | None = None,
        offset: int = 0,
    ) -> tuple[list[Run], int]:
        _refuse_negative(limit=limit, offset=offset)
        with self._lock:
            exp = None if experiment is None else self.experiment(experiment).number
            end = None if limit is None else offset + limit
            if where or order_by or limit is not None:
                if limit is not None:  # whoever turns all pages reads all runs, and needs only the last of them
                    self.state().trim()
                ids = self._find(exp, where=where, order_by=order_by, descending=descending)
                found, n = [entry.run for entry in self.state().entries(ids[offset:end])], len(ids)
            else:  # all of them: no need to ask which
                fitting = [entry.run for entry in self.state().entries_of(exp) if not entry.hidden]
                found, n = (fitting[::-1] if descending else fitting)[offset:], len(fitting)
        return self._live(found), n

    @moving_on
    def alike(self, run_ids: Sequence[str], *, n_chars: int) -> list[str]:
        beginnings = sorted({run_id[:n_chars] for run_id in run_ids})
        if not beginnings:
            return []
        # Of many, all ids are read: a filter of hundreds of alternatives is slower, and the parser has a limit.
        sql = " or ".join(f"starts_with(run_id, {quoted(each)})" for each in beginnings)
        with self._lock:
            found = self._ask(Question(sql if len(beginnings) <= ASK_FOR_AT_MOST else None))
        return [run_id for run_id in found if run_id[:n_chars] in beginnings]

    @moving_on
    def count(self, experiment: str | None = None, *, where: str | None = None) -> int:
        with self._lock:
            state = self.state()
            if where:
                exp = None if experiment is None else self.experiment(experiment).number
                return len(self._find(exp, where=where))
            return state.n_runs() if experiment is None else state.n_runs_of(self.experiment(experiment).name)

    @moving_on
    def columns(
        self, experiment: str | None, names: Sequence[str], *, where: str | None = None
    ) -> Mapping[str, Column]:
        with self._lock:
            exp = None if experiment is None else self.experiment(experiment).number
            state = self.state()
            known = self._names(state, exp)
            wanted = {
                name: Order("ranks") if name == "ranks" else compile_order(name, names=known)
                for name in dict.fromkeys(names)
            }
            question = Question.of(
                compile_conditions(where, names=known) if where else None,
                exp=exp,
                asks_text="text" in (where or "").lower() or Order("text") in wanted.values(),
            )
            self._folding.keep_if_many_changed()
            return self._index.columns(question, wanted, self.state(), live=self._live)

    @moving_on
    def names(self, experiment: str) -> Names:
        with self._lock:
            return self._names(self.state(), self.experiment(experiment).number)

    @moving_on
    def best(self, experiment: str) -> Run | None:
        with self._lock:
            record = self.experiment(experiment)
            if record.objective is None:
                return None
            descending = record.objective.direction == "maximize"
            question = Question(
                "ranks", rest="ranks", exp=record.number, order=Order("objective"), descending=descending
            )
            ids = self._ask(question)
            best = self.state().entries(ids[:1])
        return best[0].run if best else None

    def _find(
        self, exp: int | None, *, where: str | None = None, order_by: str | None = None, descending: bool = False
    ) -> list[str]:
        state = self.state()
        names = self._names(state, exp) if where or order_by else Names()
        question = Question.of(
            compile_conditions(where, names=names) if where else None,
            exp=exp,
            order=compile_order(order_by, names=names) if order_by else None,
            descending=descending,
            asks_text=bool(where) and "text" in str(where).lower(),
        )
        return self._ask(question)

    def _ask(self, question: Question) -> list[str]:
        self.state()
        self._folding.keep_if_many_changed()
        return self._index.find(question, self.state(), live=self._live)

    def _names(self, state: State, exp: int | None) -> Names:
        """Return the names that runs of an experiment have, or of all, and those that it declares."""
        kept = state.base.names() if isinstance(state.base, KeptFold) else {}
        names = Names()
        for record in state.experiments.values():
            if exp is None or record.number == exp:
                declared = Names(
                    params=frozenset(record.space or ()), metrics=frozenset(each.metric for each in record.objectives)
                )
                names = names | declared | kept.get(record.number, Names())
        apart = [*state.dirty(), *state.entries(list(state.running))]
        return names | names_in(self._live([entry.run for entry in apart if exp is None or entry.exp == exp]))

    # -- curves

    def append_curves(self, chunks: Sequence[CurveChunk]) -> None:
        if not chunks:
            return
        version = self.curve_table.append(chunks)
        if version % COMPACT_EVERY == 0:
            self._compact_table("curves", merge=version % MERGE_EVERY == 0)

    @moving_on
    def curves(
        self,
        run_ids: Sequence[str] | None = None,
        *,
        metrics: Sequence[str] | None = None,
        max_points: int | None = None,
    ) -> dict[str, dict[str, Curve]]:
        several = run_ids is None or len(set(run_ids)) > 1
        found = self._read_curves(run_ids, metrics) if several else self.curve_table.read(run_ids, metrics)
        with self._lock:
            state = self.state()
            entries = state.entries_of(None) if run_ids is None else state.entries(list(dict.fromkeys(run_ids)))
            hidden = {entry.run.id for entry in entries if entry.hidden}
            known = {entry.run.id for entry in entries} - hidden
            if run_ids is None:
                found = {run_id: curves for run_id, curves in found.items() if run_id in known}
            found = {run_id: curves for run_id, curves in found.items() if run_id not in hidden}
            for run in (entry.run for entry in entries if not entry.hidden):
                curve = reported_curve(run, state.experiments[run.experiment]) if run.reports else None
                if curve is not None and (metrics is None or curve.metric in metrics):
                    found.setdefault(run.id, {}).setdefault(curve.metric, curve)
        if max_points is None:
            return found
        return {
            run_id: {metric: downsample(curve, max_points) for metric, curve in curves.items()}
            for run_id, curves in found.items()
        }

    def _read_curves(
        self, run_ids: Sequence[str] | None, metrics: Sequence[str] | None = None
    ) -> dict[str, dict[str, Curve]]:
        """Read curves of many runs; one that is damaged is left out, and said: the others can be worked with."""
        damaged: list[CurveDamagedError] = []
        found = self.curve_table.read(run_ids, metrics, damaged=damaged)
        for error in damaged:
            log.warning("%s; the curve is left out", error)
        return found

    def delivered(self, run_id: str) -> int:
        return self.curve_table.delivered(run_id)

    def delivered_of(self, run_ids: Collection[str]) -> dict[str, int]:
        return self.curve_table.delivered_of(run_ids)

    # -- search

    @moving_on
    def search(
        self, text: str, *, where: str | None = None, limit: int = 10, progress: Progress | None = None
    ) -> SearchResults:
        _refuse_negative(limit=limit)
        with self._index_lock:
            with self._lock:
                line, among = self._read_line(text, where)
                self._searcher.bring_up_to_date(self.state(), live=self._live)
            embedder = self._embedder_for(line.words, progress=progress)
            found, n_fitting, facets = self._searcher.find(line.words, embedder=embedder, among=among, limit=limit)
            documents = self._searcher.documents(
                line.words, self._documents(), embedder=embedder, limit=limit if among is None else 0
            )
        with self._lock:
            # What was deleted just now the corpus may still hold.
            listed = self.state().entries([each.run_id for each in found])
        runs = {run.id: run for run in self._live([entry.run for entry in listed if not entry.hidden])}
        hits = [
            SearchHit(runs[each.run_id], score=each.score, text=each.text, reasons=each.reasons)
            for each in found
            if each.run_id in runs
        ]
        return SearchResults(
            hits, words=line.words, where=line.where, n_fitting=n_fitting, facets=facets, documents=documents
        )

    @moving_on
    def similar(self, run_id: str, *, where: str | None = None, limit: int = 10) -> SearchResults:
        _refuse_negative(limit=limit)
        run = self.run(run_id)
        with self._index_lock:
            with self._lock:
                among = self._find(None, where=where) if where else None
                self._searcher.bring_up_to_date(self.state(), live=self._live)
            self._embedder_for("more like this", progress=None)
            near = self._searcher.near(run.id, among=among)
        with self._lock:
            siblings = set(self._find(self.experiment(run.experiment).number)) & near.keys()
        likely = sorted(near, key=lambda each: (each in siblings, near[each]), reverse=True)[:COMPARED_RUNS]
        with self._lock:
            others = self._live([entry.run for entry in self.state().entries(likely) if not entry.hidden])
            metric = self.experiment(run.experiment).objective
        ranges = likeness.scales([each.params for each in (run, *others)])
        params = {each.id: likeness.of_parameters(run.params, each.params, scales=ranges) for each in others}
        others.sort(key=lambda each: -(params[each.id] + near[each.id]))
        close = others[: max(COMPARED_CURVES, limit)]
        read = self.curves([run.id, *(each.id for each in close)], max_points=COMPARED_POINTS)
        curves = {run_id: of_training(own) for run_id, own in read.items()}
        first = None if metric is None else metric.metric
        shapes = {
            each.id: likeness.of_curves(curves.get(run.id, {}), curves.get(each.id, {}), first=first) for each in close
        }
        hits = [_alike(run, each, params[each.id], near[each.id], shapes[each.id]) for each in close]
        hits.sort(key=lambda hit: -hit.score)
        good = [hit for hit in hits if hit.score >= COUNTED * hits[0].score]
        return SearchResults(hits[:limit], where=where, n_fitting=len(good), facets=_counted(good))

    def _read_line(self, text: str, where: str | None) -> tuple[Line, list[str] | None]:
        """Return what a search asks for, and the ids of the runs that its filters leave; None for all."""
        names = self._names(self.state(), None)
        if where:
            compile_filter(where, names=names)
        line = read_line(text, names=names)
        both = " and ".join(f"({each})" for each in (where, line.where) if each)
        return line, self._find(None, where=both) if both else None

    def _embedder_for(self, words: str, *, progress: Progress | None) -> Embedder | None:
        """Return the encoder of the stored vectors, with those that are missing computed for some seconds."""
        if not words.strip() or not self._searcher.corpora:
            return None
        vectors = self._searcher.vectors
        try:
            if not vectors.compatible():
                log.warning(
                    "the store's vectors are of %s and this program has %s: searching by words only; "
                    "run 'advisor store reindex' to make them agree",
                    vectors.encoder(),
                    self._get_embedder().identity,
                )
                return None
            n_waiting = self._searcher.embed(budget_s=SEARCH_EMBEDS_FOR_S, progress=progress)
        except StoreUnavailableError as error:
            log.warning("new vectors cannot be written, those that are missing are done without: %s", error)
            return self._get_embedder()
        if n_waiting:
            log.warning(
                "%d texts have no vector yet and are found by words only; 'advisor store reindex' computes the rest",
                n_waiting,
            )
        return self._get_embedder()

    def _documents(self) -> list[dict[str, Any]]:
        with self._lock:
            written = self.state().documents
        about = [{"experiment": each.experiment, "run_id": each.run_id, "time": each.time} for each in written]
        return [{**each.body, **of} for each, of in zip(written, about, strict=True)]

    def reindex(self, *, embedder: Embedder | None = None, progress: Progress | None = None) -> int:
        with self._index_lock:
            if embedder is not None:
                self._embedder = embedder
            with self.database.lease("index", wait_s=10.0) as mine:
                if not mine:
                    raise StoreUnavailableError("another process is indexing this store; try again when it is done")
                n_runs = self._folding.rebuild()
            with self._lock:
                self._searcher.bring_up_to_date(self.state(), live=self._live)
            vectors = self._searcher.vectors
            if not vectors.compatible():
                vectors.drop()
            vectors.keep_only(self._searcher.texts())
            self._searcher.embed(progress=progress)
        return n_runs

    # -- files

    def put_artifact(self, path: Path) -> tuple[str, int]:
        kept = self.artifacts.put(path)
        return kept.sha256, kept.n_bytes

    def open_artifact(self, sha256: str) -> BinaryIO:
        return self.artifacts.open(sha256)

    # -- care

    def lease(self, name: str, *, wait_s: float = 0.0) -> AbstractContextManager[bool]:
        return self.database.lease(name, wait_s=wait_s)

    def spool_folder(self) -> Path:
        return self.database.spool_folder()

    @moving_on
    def info(self) -> StoreInfo:
        with self._lock:
            state = self.state()
            names = self.database.names()
            indexed = TABLE in names
            encoder = self._searcher.vectors.encoder()
            folder = self.database.folder
            return StoreInfo(
                self.uri,
                schema_version=SCHEMA_VERSION,
                n_experiments=len(state.experiments),
                n_runs=state.n_runs(),
                n_events=state.n_events,
                n_points=self._n_points(state),
                n_indexed=self.database.count(TABLE, RUNS_ONLY) if indexed else 0,
                n_embedded=self._n_embedded(state) if encoder else 0,
                encoder=encoder,
                n_fragments=MappingProxyType({name: self.database.n_fragments(name) for name in names}),
                n_bytes=_size(folder) if folder is not None else None,
                spools=tuple(sorted(path.name for path in self.spool_folder().glob("*.spool"))),
            )

    def _n_embedded(self, state: State) -> int:
        """Return how many runs have a vector of each of their texts."""
        self._searcher.bring_up_to_date(state, live=self._live)
        return self._searcher.n_embedded()

    def compact(self, *, grace: timedelta = GRACE) -> Purged:
        with self.database.lease("compact", wait_s=10.0) as mine:
            if not mine:
                raise StoreUnavailableError("another process is compacting this store; try again when it is done")
            purged = purge(self, grace=grace, now=utc_now())
            self._merge_curves()
            self.curve_table.index()
            self.artifacts.sweep()
            self._folding.keep()
            for name in self.database.names():
                self.database.optimize(name)
        return purged

    def verify(
        self, *, repair: bool = True, step_back: bool = False, progress: Callable[[str], None] | None = None
    ) -> Verified:
        return verify(self, repair=repair, step_back=step_back, progress=progress)

    # -- what care is made of: used by storage.purge, storage.verify and storage.copying

    def remove_physically(self, *, run_ids: Sequence[str], places: Collection[tuple[int, int]]) -> int:
        """Remove events by commit and position, curves and index rows; return how many events were still there.

        What they were is on record by now.
        """
        n_events = self.journal_table.remove(places)
        self.curve_table.delete_runs(run_ids)
        with self._index_lock, self._lock:
            if self.database.has(TABLE):
                self._index.forget(run_ids)
            self._folding.forget()
        return n_events

    def kept_fold(self) -> KeptFold | None:
        """Return the fold that the derived table holds."""
        return self._folding.kept()

    def same_place(self, other: LanceRunStore) -> bool:
        """Return whether another object is of the same store."""
        mine, theirs = self.database.folder, other.database.folder
        if mine is None or theirs is None:
            return self.uri.rstrip("/") == other.uri.rstrip("/")
        return mine.resolve() == theirs.resolve()

    def step_back(self, table: str) -> int:
        """Make the newest version of a table that can be read through its present one; return it, 0 for none."""
        with self._lock:
            self._folding.forget()
            return self.database.step_back(table)

    def _merge_curves(self) -> None:
        """Put the many small pieces of runs that are over together, and of those that go on for long."""
        with self._lock:
            state = self.state()
            running = set(state.running)
            over = set(state.all_ids()) - running
        self.curve_table.merge(over)
        self.curve_table.merge(running, min_commits=MERGE_LIVE_FROM)

    def close(self) -> None:
        self._folding.forget()
        self._searcher.forget()

    # -- inner workings

    def _get_embedder(self) -> Embedder:
        if self._embedder is None:
            from storage.embed import choose_embedder

            self._embedder = choose_embedder()
        return self._embedder

    def _n_points(self, state: State) -> int:
        """Return the number of points of all curves, of what was reported through Optuna too."""
        visible = set(self._ask(Question()))
        reporting = [entry.run for entry in state.entries_of(None) if entry.run.reports and not entry.hidden]
        asked = {run.id: state.experiments[run.experiment].objective for run in reporting}
        counts = self.curve_table.counts(list(asked)) if asked else {}
        n_reported = sum(
            len(run.reports)
            for run in reporting
            if (objective := asked[run.id]) is not None and objective.metric not in counts.get(run.id, {})
        )
        return self.curve_table.n_points(visible) + n_reported

    def _curves_of(self, run_id: str) -> dict[str, Curve]:
        return self.curves([run_id]).get(run_id, {})

    def _live(self, runs: Iterable[Run]) -> list[Run]:
        """Fill in what runs that go on have logged so far, in one scan; their end will write it down."""
        listed = list(runs)
        running = [run.id for run in listed if run.state is RunState.RUNNING]
        if not running:
            return listed
        figures = self._figures_of(running)
        return [_with_figures(run, figures[run.id]) if figures.get(run.id) else run for run in listed]

    def _figures_of(self, run_ids: Sequence[str]) -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
        """Return the figures of runs' curves, worked out once a commit of curves: many may look at one long run."""
        version = self.database.version(CURVES)
        with self._figures_lock:
            if self._figures_version != version:
                self._figures_version, self._figures = version, {}
            missing = [run_id for run_id in run_ids if run_id not in self._figures]
            if missing:
                found = self._read_curves(missing)
                for run_id in missing:
                    curves = found.get(run_id, {})
                    self._figures[run_id] = {metric: curve.summary() for metric, curve in curves.items()}
            return {run_id: self._figures[run_id] for run_id in run_ids}

    def _compact_table(self, name: str, *, merge: bool = False) -> None:
        """Merge small files of a table, if nobody else is at it; trouble with that is nobody's trouble now."""
        try:
            with self.database.lease("compact") as mine:
                if not mine:
                    return
                if merge:
                    self._merge_curves()
                    self.curve_table.index()
                self.database.optimize(name)
        except StoreUnavailableError as error:  # a later commit will have another chance
            log.info("compaction put off: %s", error)


def _with_figures(run: Run, summary: Mapping[str, Mapping[str, Any]]) -> Run:
    metrics = {metric: figures["last"] for metric, figures in summary.items() if figures["n"]}
    return replace(run, summary=MappingProxyType(dict(summary)), metrics=MappingProxyType(metrics))


def reported_curve(run: Run, experiment: Experiment) -> Curve | None:
    """Return what was reported through Optuna as a curve of the first objective."""
    if experiment.objective is None:
        return None
    steps = list(run.reports)
    return Curve.of(experiment.objective.metric, steps, [run.reports[step] for step in steps])


def _alike(run: Run, other: Run, params: float, near: float, shape: tuple[float, str]) -> SearchHit:
    """Return a run with how like it is to another: parameters, curves and text."""
    parts = [(LIKE_PARAMETERS, params), (LIKE_TEXT, near)] + ([(LIKE_CURVES, shape[0])] if shape[1] else [])
    score = sum(weight * part for weight, part in parts) / sum(weight for weight, _ in parts)
    same = [name for name in run.params if name in other.params and run.params[name] == other.params[name]]
    both = [(name, run.params[name], other.params.get(name)) for name in run.params if name not in same]
    changed = [f"{name} {_shown(mine)} → {_shown(theirs)}" for name, mine, theirs in both]
    told = f"{len(same)} of {len(run.params.keys() | other.params.keys())} parameters equal"
    reasons = [Reason("parameters", "; ".join([told, *changed[:3]]), how="parameters")]
    if shape[1]:
        reasons.append(Reason("curve", f"{shape[1]}: shape {shape[0]:.0%} alike", how="curve"))
    common = sorted({finding.code for finding in run.findings} & {finding.code for finding in other.findings})
    reasons += [Reason("finding", f"both have {', '.join(common)}", how="meaning")] if common else []
    text = "; ".join(reason.text for reason in reasons)
    return SearchHit(other, score=min(max(score, 0.0), 1.0), text=text, reasons=tuple(reasons))


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _counted(hits: Sequence[SearchHit]) -> dict[str, dict[str, int]]:
    counts = {
        "experiment": Counter(hit.run.experiment for hit in hits),
        "state": Counter(str(hit.run.state) for hit in hits),
        "finding": Counter(code for hit in hits for code in {finding.code for finding in hit.run.findings}),
    }
    return {name: dict(sorted(found.items(), key=lambda item: (-item[1], item[0]))) for name, found in counts.items()}


def _refuse_negative(**given: int | None) -> None:
    for name, value in given.items():
        if value is not None and value < 0:
            raise FilterError(f"{name} = {value} makes no sense; give 0 or more, or none for all")


def _no_run(run_id: str, fitting: Sequence[str], state: State) -> str:
    if fitting:
        return f"{len(fitting)} runs begin with {run_id!r}; give more of the id: {', '.join(fitting[:4])}"
    gone = [entry for entry in state.hidden() if run_id and entry.run.id.startswith(run_id)]
    gone = [entry for entry in gone if entry.run.id == run_id] or gone
    if len(gone) == 1:
        return f"run {gone[0].run.id!r} is deleted; {_how_to_restore(gone[0])}"
    n_runs = state.n_runs()
    close = did_you_mean(run_id, state.runs, show=3) if n_runs <= GUESS_AMONG else f"there are {n_runs:,} runs."
    return f"no run {run_id!r} in this store; {close}"


def _how_to_restore(entry: Entry) -> str:
    if entry.deleted is not None:
        return f"'advisor restore {entry.run.id}' brings it back"
    return f"it went with its experiment: 'advisor restore {quote(entry.run.experiment)}' brings both back"


def _no_experiment(name: str, state: State) -> str:
    number = state.number_of(name)
    if number is not None and state.book(number).deleted is None:
        return f"experiment {name!r} is called {state.book(number).record.name!r} now"
    if any(book.record.name == name for book in state.books().values()):
        return f"experiment {name!r} is deleted; 'advisor restore {quote(name)}' brings it back"
    return f"no experiment {name!r} in this store; {did_you_mean(name, state.experiments)}"


def _written_about(experiments: Collection[str], run_ids: Collection[str], kinds: Collection[str]) -> str | None:
    """Return the filter of the events of some experiments and runs, of some kinds; None where all are meant."""
    about = [among(column, values) for column, values in (("experiment", experiments), ("run_id", run_ids)) if values]
    parts = [f"({' or '.join(about)})"] if about else []
    parts += [among("kind", kinds)] if kinds else []
    return " and ".join(parts) or None


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())

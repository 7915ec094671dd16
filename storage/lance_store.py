"""``RunStore`` on LanceDB tables: appends events, folds what it has not seen, answers from the fold.

The fold is kept in memory and brought up to date before each read; a filter goes through the
derived index (``storage.index``), files go to ``storage.artifacts``. Nothing here asks whether the store is a folder or
a bucket, except for its size.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from storage.artifacts import artifacts_at
from storage.curves import assemble
from storage.errors import (
    ExperimentNotFoundError,
    FilterError,
    RunNotFoundError,
    StoreUnavailableError,
    did_you_mean,
)
from storage.events import check_event, decode_body, encode_body
from storage.index import TABLE, RunIndex, names_in
from storage.journal import State
from storage.lance import Database, quoted
from storage.migrations import CURVES, EVENTS, SCHEMA_VERSION
from storage.query import Order, compile_filter, compile_order
from storage.records import Curve, CurveChunk, Event, Experiment, Run, RunState
from storage.store import Progress, RunStore, SearchHit, StoreInfo

if TYPE_CHECKING:
    from storage.embed import Embedder

log = logging.getLogger(__name__)

COMPACT_EVERY: Final = 64
"""Commits between two looks at the fragments: reading a tail costs 3 ms on a fresh table, 25 ms at 300 fragments."""
SEARCH_EMBEDS_FOR_S: Final = 10.0
"""How long one search computes vectors that are missing; after a large import the rest takes a reindex."""
COLUMNS: Final = ("id", "experiment", "run_id", "kind", "time", "actor", "body")


class LanceRunStore(RunStore):
    """See ``RunStore``; open one with ``storage.open_store``."""

    def __init__(self, uri: str | Path, *, create: bool = True, embedder: Embedder | None = None) -> None:
        self._database = Database(uri, create=create)
        self.uri = self._database.uri
        self._lock = threading.RLock()  # guards the fold
        self._index_lock = threading.RLock()  # guards the index, which may take seconds; never wait for it with _lock
        self._state = State(load_curves=self._curves_of)
        self._version = 0
        self._embedder = embedder
        self._index = RunIndex(self._database, self._get_embedder)
        self.artifacts = artifacts_at(self.uri, self._database.folder)

    # -- the journal

    def append(self, events: Sequence[Event]) -> None:
        if not events:
            return
        for event in events:
            check_event(event)
        rows: dict[str, list[Any]] = {name: [getattr(event, name) for event in events] for name in COLUMNS[:-1]}
        rows["body"] = [encode_body(event.body) for event in events]
        rows["pos"] = list(range(len(events)))
        with self._lock:
            version = self._database.append("events", rows, EVENTS)
            if version == self._version + 1:  # nobody else wrote: no need to read
                bodies = map(decode_body, rows["body"])
                self._state.fold(replace(event, body=body) for event, body in zip(events, bodies, strict=True))
                self._version = version
        if version % COMPACT_EVERY == 0:
            self._compact_table("events")

    def events(self, *, experiment: str | None = None, run_id: str | None = None) -> list[Event]:
        rows, _ = self._database.tail("events", COLUMNS, after=0)
        unique: dict[str, dict[str, Any]] = {}
        for row in rows:
            unique.setdefault(row["id"], row)  # of equal ids the first counts
        return [
            _event(row)
            for row in unique.values()
            if (experiment is None or row["experiment"] == experiment) and (run_id is None or row["run_id"] == run_id)
        ]

    def state(self) -> State:
        """Return the current fold. It belongs to the store: read it, do not keep or change it."""
        with self._lock:
            if self._database.version("events") != self._version:
                rows, reached = self._database.tail("events", COLUMNS, after=self._version)
                self._state.fold(map(_event, rows))
                self._version = reached
            return self._state

    # -- experiments

    def experiments(self) -> list[Experiment]:
        with self._lock:
            return list(self.state().experiments.values())

    def experiment(self, name: str) -> Experiment:
        with self._lock:
            experiments = self.state().experiments
            if name not in experiments:
                raise ExperimentNotFoundError(
                    f"no experiment {name!r} in this store; {did_you_mean(name, experiments)}"
                )
            return experiments[name]

    # -- runs

    def run(self, run_id: str) -> Run:
        with self._lock:
            runs = self.state().runs
            run = runs.get(run_id)
            if run is None:
                fitting = [known for known in runs if known.startswith(run_id)] if run_id else []
                if len(fitting) != 1:
                    raise RunNotFoundError(_no_run(run_id, fitting, runs))
                run = runs[fitting[0]]
        return self._live([run])[0]

    def runs(
        self,
        experiment: str | None = None,
        *,
        where: str | None = None,
        order_by: str | None = None,
        descending: bool = False,
        limit: int | None = None,
    ) -> list[Run]:
        if limit is not None and limit < 0:
            raise FilterError(f"limit = {limit} makes no sense; give 0 or more, or none for all")
        with self._lock:
            state = self.state()
            if experiment is not None:
                self.experiment(experiment)
            found = list(state.runs.values() if experiment is None else state.runs_of(experiment))
            snapshot = state.snapshot() if where else None
        if not where and not order_by:
            return self._live((found[::-1] if descending else found)[:limit])
        found = self._live(found)
        names = names_in(found)
        if where and snapshot is not None:
            sql = compile_filter(where, names=names)
            with self._index_lock:
                fitting = self._index.matching(snapshot, sql, live=self._live)
            found = [run for run in found if run.id in fitting]
        if order_by:
            found = ordered(found, compile_order(order_by, names=names), descending=descending)
        elif descending:
            found.reverse()
        return found[:limit]

    # -- curves

    def append_curves(self, chunks: Sequence[CurveChunk]) -> None:
        if not chunks:
            return
        rows = {name: [getattr(chunk, name) for chunk in chunks] for name in CURVES}
        version = self._database.append("curves", rows, CURVES)
        if version % COMPACT_EVERY == 0:
            self._compact_table("curves")

    def curves(
        self, run_ids: Sequence[str] | None = None, *, metrics: Sequence[str] | None = None
    ) -> dict[str, dict[str, Curve]]:
        found = assemble(self._database.curve_chunks(run_ids, metrics))
        with self._lock:
            state = self.state()
            reporting = [state.runs[i] for i in (state.runs if run_ids is None else run_ids) if i in state.runs]
            if run_ids is None:
                found = {run_id: curves for run_id, curves in found.items() if run_id in state.runs}
            for run in reporting:
                curve = reported_curve(run, state.experiments[run.experiment]) if run.reports else None
                if curve is not None and (metrics is None or curve.metric in metrics):
                    found.setdefault(run.id, {}).setdefault(curve.metric, curve)
        return found

    def delivered(self, run_id: str) -> int:
        rows = self._database.select("curves", ["through"], where=f"run_id = {quoted(run_id)}")
        return max((row["through"] for row in rows), default=0)

    # -- search

    def search(
        self, text: str, *, where: str | None = None, limit: int = 10, progress: Progress | None = None
    ) -> list[SearchHit]:
        with self._lock:
            snapshot = self.state().snapshot()
        runs = self._live(snapshot.runs.values()) if where else []
        sql = compile_filter(where, names=names_in(runs)) if where else "run_id is not null"
        with self._index_lock:
            n_waiting = 0
            try:
                if not self._index.sync(snapshot, live=self._live):
                    log.info("another process is indexing; the newest runs may be missing from this search")
                n_waiting = self._index.embed(budget_s=SEARCH_EMBEDS_FOR_S, progress=progress)
                self._index.refresh_words()
            except StoreUnavailableError as error:
                if not self._database.has(TABLE):
                    raise
                log.warning("the search is limited to what the index holds, because it cannot be written: %s", error)
            hits = self._index.search(text, where=sql, limit=limit)
            texts = self._index.texts([run_id for run_id, _ in hits])
        if n_waiting:
            log.warning(
                "%d runs have no vector yet and are found by their words only; "
                "'advisor store reindex' computes the rest",
                n_waiting,
            )
        found = [(snapshot.runs[run_id], score) for run_id, score in hits if run_id in snapshot.runs]
        current = self._live([run for run, _ in found])
        return [
            SearchHit(run, score=score, text=texts.get(run.id, ""))
            for run, (_, score) in zip(current, found, strict=True)
        ]

    def reindex(self, *, embedder: Embedder | None = None, progress: Progress | None = None) -> int:
        with self._lock:
            snapshot = self.state().snapshot()
        with self._index_lock:
            if embedder is not None:
                self._embedder = embedder
            if not self._index.rebuild(snapshot, live=self._live):
                raise StoreUnavailableError("another process is indexing this store; try again when it is done")
            self._index.embed(progress=progress)
        return len(snapshot.runs)

    # -- files

    def put_artifact(self, path: Path) -> tuple[str, int]:
        kept = self.artifacts.put(path)
        return kept.sha256, kept.n_bytes

    def open_artifact(self, sha256: str) -> BinaryIO:
        return self.artifacts.open(sha256)

    # -- care

    def lease(self, name: str) -> AbstractContextManager[bool]:
        """Hold the right to do something that one process at a time should do; yields whether it was got."""
        return self._database.lease(name)

    def spool_folder(self) -> Path:
        return self._database.spool_folder()

    def info(self) -> StoreInfo:
        with self._lock:
            state = self.state()
            names = self._database.names()
            indexed = TABLE in names
            encoder = self._index.encoder()
            embedded = f"encoder = {quoted(encoder)}" if encoder else "false"
            folder = self._database.folder
            return StoreInfo(
                self.uri,
                schema_version=SCHEMA_VERSION,
                n_experiments=len(state.experiments),
                n_runs=len(state.runs),
                n_events=state.n_events,
                n_points=sum(len(curve) for curves in self.curves().values() for curve in curves.values()),
                n_indexed=self._database.count(TABLE) if indexed else 0,
                n_embedded=self._database.count(TABLE, embedded) if indexed and encoder else 0,
                encoder=encoder,
                n_fragments=MappingProxyType({name: self._database.n_fragments(name) for name in names}),
                n_bytes=_size(folder) if folder is not None else None,
                spools=tuple(sorted(path.name for path in self.spool_folder().glob("*.spool"))),
            )

    def compact(self) -> None:
        with self._database.lease("compact", wait_s=10.0) as mine:
            if not mine:
                raise StoreUnavailableError("another process is compacting this store; try again when it is done")
            for name in self._database.names():
                self._database.optimize(name)

    def close(self) -> None:
        with self._lock:
            self._state = State(load_curves=self._curves_of)
            self._version = 0

    # -- inner workings

    def _get_embedder(self) -> Embedder:
        if self._embedder is None:
            from storage.embed import choose_embedder

            self._embedder = choose_embedder()
        return self._embedder

    def _curves_of(self, run_id: str) -> dict[str, Curve]:
        return self.curves([run_id]).get(run_id, {})

    def _live(self, runs: Iterable[Run]) -> list[Run]:
        """Fill in what runs that go on have logged so far, in one scan; their end will write it down."""
        listed = list(runs)
        running = [run.id for run in listed if run.state is RunState.RUNNING]
        if not running:
            return listed
        curves = self.curves(running)
        return [_with_figures_of(run, curves.get(run.id, {})) if run.id in curves else run for run in listed]

    def _compact_table(self, name: str) -> None:
        with self._database.lease("compact") as mine:
            if not mine:
                return
            try:
                self._database.optimize(name)
            except StoreUnavailableError as error:  # a later commit will have another chance
                log.info("compaction put off: %s", error)


def _with_figures_of(run: Run, curves: Mapping[str, Curve]) -> Run:
    summary = {metric: curve.summary() for metric, curve in curves.items()}
    metrics = {metric: figures["last"] for metric, figures in summary.items() if figures["n"]}
    return replace(run, summary=MappingProxyType(summary), metrics=MappingProxyType(metrics))


def reported_curve(run: Run, experiment: Experiment) -> Curve | None:
    """Return what was reported through Optuna as a curve of the first objective."""
    if experiment.objective is None:
        return None
    steps = list(run.reports)
    return Curve.of(experiment.objective.metric, steps, [run.reports[step] for step in steps])


def ordered(runs: Sequence[Run], order: Order, *, descending: bool) -> list[Run]:
    """Return runs sorted by a name; those without a finite value come last in either direction."""
    from storage.index import flat

    def value_of(run: Run) -> Any:
        if order.key is not None:
            return flat(getattr(run, order.column)).get(order.key)
        return {"run_id": run.id, "state": str(run.state)}.get(order.column, getattr(run, order.column, None))

    def missing(value: Any) -> bool:
        return (
            value is None
            or value in ("NaN", "Infinity", "-Infinity")
            or (isinstance(value, float) and value - value != 0)
        )

    def rank(value: Any) -> tuple[int, Any]:  # numbers before text, so that mixed values can be compared
        return (0, value) if isinstance(value, (bool, int, float)) else (1, str(value))

    keyed = [(value_of(run), run) for run in runs]
    there = sorted((pair for pair in keyed if not missing(pair[0])), key=lambda pair: rank(pair[0]), reverse=descending)
    return [run for _, run in there] + [run for value, run in keyed if missing(value)]


def _event(row: dict[str, Any]) -> Event:
    return Event(
        row["id"],
        kind=row["kind"],
        experiment=row["experiment"],
        run_id=row["run_id"],
        time=row["time"],
        actor=row["actor"],
        body=decode_body(row["body"]),
    )


def _no_run(run_id: str, fitting: Sequence[str], runs: Any) -> str:
    if fitting:
        return f"{len(fitting)} runs begin with {run_id!r}; give more of the id: {', '.join(fitting[:4])}"
    return f"no run {run_id!r} in this store; {did_you_mean(run_id, runs, show=3)}"


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())

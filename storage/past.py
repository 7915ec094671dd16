"""A store as it was at one commit: the same reads, answered from the journal up to there.

Leaves out writing, filters and search. Curves carry no commit: those of runs that had ended are as they were then,
those of runs that went on are cut to the lengths that were noted. Invariant: whatever is appended later, the same
commit and the same lengths give the same answers.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn, TypeVar

from storage.downsample import downsample
from storage.errors import ExperimentNotFoundError, RecordError, RunNotFoundError, did_you_mean
from storage.journal import State
from storage.query import Names
from storage.records import Curve, CurveChunk, Event, Experiment, Run, RunState
from storage.store import Progress, RunStore, StoreInfo

if TYPE_CHECKING:
    from datetime import timedelta

    from numpy.typing import NDArray

    from storage.embed import Embedder
    from storage.hits import SearchResults
    from storage.purge import Purged
    from storage.verify import Verified

Lengths = Mapping[str, Mapping[str, int]]
"""``{run_id: {metric: number of points}}``."""
Answer = TypeVar("Answer")


class PastStore(RunStore):
    """What a store answered when its journal ended at ``version``.

    Parameters
    ----------
    store
        Where the journal and the curves are read.
    version
        The commit; while it is the newest one, the store itself answers.
    lengths
        How long the curves were of runs that went on; None notes them now.
    """

    def __init__(self, store: RunStore, version: int, *, lengths: Lengths | None = None) -> None:
        self._store, self.version = store, version
        self.uri = store.uri
        self._folded: State | None = None
        self.lengths: Lengths = self._noted() if lengths is None else lengths
        """Lengths of the curves of runs that went on."""

    def stand(self) -> None:
        """Fold the journal up to the commit now, so that no later event can be seen meanwhile."""
        if self._folded is None:
            folded = State(load_curves=lambda run_id: self.curves([run_id]).get(run_id, {}))
            folded.fold(event for event in self._store.journal() if event.version <= self.version)
            self._folded = folded

    # -- reads

    def state(self) -> State:
        """Return the fold up to the commit."""
        if self._folded is None:
            current = self._store.state()
            if current.version == self.version:
                return current
            self.stand()
        assert self._folded is not None  # it has just been made
        return self._folded

    def stamp(self) -> str:
        """Return the store's stamp and the commit: renamed experiments are looked up in the present."""
        return f"{self.version} of {self._store.stamp()}"

    def journal(
        self,
        *,
        after: int = 0,
        experiments: Collection[str] = (),
        run_ids: Collection[str] = (),
        kinds: Collection[str] = (),
        last: int | None = None,
    ) -> list[Event]:
        """Return events up to the commit; see ``RunStore.journal``."""
        found = self._store.journal(after=after, experiments=experiments, run_ids=run_ids, kinds=kinds)
        kept = [event for event in found if event.version <= self.version]
        return kept if last is None else kept[max(0, len(kept) - last) :]

    def events(self, *, experiment: str | None = None, run_id: str | None = None) -> list[Event]:
        """Return events up to the commit; see ``RunStore.events``."""
        found = self._store.events(experiment=experiment, run_id=run_id)
        return [event for event in found if event.version <= self.version]

    def writers(self, ids: Collection[str]) -> dict[str, Mapping[str, Any]]:
        """Return who wrote; see ``RunStore.writers``."""
        return self._store.writers(ids)

    def experiments(self) -> list[Experiment]:
        """Return the experiments of then."""
        return self._then_or_now(self._store.experiments, lambda: list(self.state().experiments.values()))

    def experiment(self, name: str) -> Experiment:
        """Return one experiment of then, by its name of then or its present one."""
        known = {record.name: record for record in self.experiments()}
        if name in known:
            return known[name]
        state = self.state()
        number = state.number_of(name)
        number = self._store.state().number_of(name) if number is None else number
        found = next((record for record in known.values() if record.number == number), None)
        if found is None:
            raise ExperimentNotFoundError(
                f"there was no experiment {name!r} at commit {self.version}; {did_you_mean(name, known)}"
            )
        return found

    def run(self, run_id: str) -> Run:
        """Return one run as it was, by its whole id."""
        entry = self.state().entry(run_id)
        if entry is None or entry.hidden:
            raise RunNotFoundError(f"there was no run {run_id!r} at commit {self.version}")
        return self._cut(entry.run)

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
        """Return all runs of then, or of an experiment; filters and orders are not offered."""
        if where or order_by:
            self._refuse("filters and orders runs")
        exp = None if experiment is None else self.experiment(experiment).number
        found = [entry.run for entry in self.state().entries_of(exp) if not entry.hidden]
        ordered = found[::-1] if descending else found
        kept = ordered[offset:] if limit is None else ordered[offset : offset + limit]
        return [self._cut(run) for run in kept], len(found)

    def count(self, experiment: str | None = None, *, where: str | None = None) -> int:
        """Return how many runs there were."""
        return self.page(experiment, where=where)[1]

    def columns(
        self, experiment: str | None, names: Sequence[str], *, where: str | None = None
    ) -> Mapping[str, NDArray[Any]]:
        """Refuse: there is an index of the present only."""
        self._refuse("gives columns")

    def names(self, experiment: str) -> Names:
        """Refuse: there is an index of the present only."""
        self._refuse("filters runs")

    def best(self, experiment: str) -> Run | None:
        """Return the best run of then; see ``RunStore.best``."""
        record = self.experiment(experiment)
        if record.objective is None:
            return None
        ranked = [run for run in self.page(record.name)[0] if record.ranks(run)]
        sign = 1.0 if record.objective.direction == "minimize" else -1.0
        return min(ranked, key=lambda run: (sign * run.values[0], run.number), default=None)

    def curves(
        self,
        run_ids: Sequence[str] | None = None,
        *,
        metrics: Sequence[str] | None = None,
        max_points: int | None = None,
    ) -> dict[str, dict[str, Curve]]:
        """Return curves as long as they were; see ``RunStore.curves``."""
        wanted = list(self.state().all_ids()) if run_ids is None else list(run_ids)
        found = self._store.curves(wanted, metrics=metrics)
        cut = {run_id: self._cut_curves(run_id, curves) for run_id, curves in found.items()}
        if max_points is None:
            return cut
        return {
            run_id: {metric: downsample(curve, max_points) for metric, curve in curves.items()}
            for run_id, curves in cut.items()
        }

    def delivered(self, run_id: str) -> int:
        """Return how many of a run's log calls are kept now."""
        return self._store.delivered(run_id)

    def delivered_of(self, run_ids: Collection[str]) -> dict[str, int]:
        """Return how many log calls of runs are kept now."""
        return self._store.delivered_of(run_ids)

    def open_artifact(self, sha256: str) -> BinaryIO:
        """Open a kept file."""
        return self._store.open_artifact(sha256)

    def close(self) -> None:
        """Let go of the fold; the store stays open."""
        self._folded = None

    # -- inner workings

    def _then_or_now(self, now: Callable[[], Answer], then: Callable[[], Answer]) -> Answer:
        if self._folded is None and self._store.state().version == self.version:
            answer = now()
            if self._store.state().version == self.version:
                return answer
        return then()

    def _noted(self) -> Lengths:
        going_on = list(self.state().running)
        found = self._store.curves(going_on) if going_on else {}
        return {run_id: {metric: len(curve) for metric, curve in curves.items()} for run_id, curves in found.items()}

    def _cut_curves(self, run_id: str, curves: Mapping[str, Curve]) -> dict[str, Curve]:
        entry = self.state().entry(run_id)
        if entry is None or entry.run.state is not RunState.RUNNING:
            return dict(curves)
        lengths = self.lengths.get(run_id, {})
        return {metric: _first(curve, lengths[metric]) for metric, curve in curves.items() if lengths.get(metric)}

    def _cut(self, run: Run) -> Run:
        """Fill in what a run that went on had logged."""
        if run.state is not RunState.RUNNING:
            return run
        curves = self.curves([run.id]).get(run.id, {})
        summary = {metric: curve.summary() for metric, curve in curves.items()}
        metrics = {metric: figures["last"] for metric, figures in summary.items() if figures["n"]}
        return replace(run, summary=MappingProxyType(summary), metrics=MappingProxyType(metrics))

    def _refuse(self, what: str) -> NoReturn:
        raise RecordError(f"the store as it was at commit {self.version} is only read, and never {what}")

    # -- what the past does not offer

    def append(self, events: Sequence[Event]) -> None:
        """Refuse: the past does not change."""
        if events:
            self._refuse("takes events")

    def append_curves(self, chunks: Sequence[CurveChunk]) -> None:
        """Refuse: the past does not change."""
        if chunks:
            self._refuse("takes curves")

    def alike(self, run_ids: Sequence[str], *, n_chars: int) -> list[str]:
        """Return ids that begin alike; see ``RunStore.alike``."""
        beginnings = {run_id[:n_chars] for run_id in run_ids}
        return [run_id for run_id in self.state().all_ids() if run_id[:n_chars] in beginnings]

    def search(
        self, text: str, *, where: str | None = None, limit: int = 10, progress: Progress | None = None
    ) -> SearchResults:
        """Refuse: there is an index of the present only."""
        self._refuse("searches")

    def similar(self, run_id: str, *, where: str | None = None, limit: int = 10) -> SearchResults:
        """Refuse: there is an index of the present only."""
        self._refuse("searches")

    def reindex(self, *, embedder: Embedder | None = None, progress: Progress | None = None) -> int:
        """Refuse: there is an index of the present only."""
        self._refuse("is indexed")

    def put_artifact(self, path: Path) -> tuple[str, int]:
        """Refuse: the past does not change."""
        self._refuse("takes files")

    def lease(self, name: str, *, wait_s: float = 0.0) -> AbstractContextManager[bool]:
        """Hold a lease of the store itself."""
        return self._store.lease(name, wait_s=wait_s)

    def spool_folder(self) -> Path:
        """Return the store's own folder."""
        return self._store.spool_folder()

    def info(self) -> StoreInfo:
        """Refuse: sizes are those of the present."""
        self._refuse("is measured")

    def compact(self, *, grace: timedelta = ...) -> Purged:  # type: ignore[assignment]  # as in the contract
        """Refuse: the past does not change."""
        self._refuse("is compacted")

    def verify(
        self, *, repair: bool = True, step_back: bool = False, progress: Callable[[str], None] | None = None
    ) -> Verified:
        """Refuse: files are those of the present."""
        self._refuse("is verified")


def _first(curve: Curve, n: int) -> Curve:
    return curve if n >= len(curve) else Curve.of(curve.metric, curve.steps[:n], curve.values[:n], curve.times[:n])

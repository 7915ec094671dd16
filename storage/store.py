"""The written contract of a store of runs, and how to open one.

``RunStore`` says what every back end promises; ``storage.testing.RunStoreContract`` checks it.
Nothing here knows of a database.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from storage.hits import SearchResults
from storage.place import Place
from storage.query import Names
from storage.records import Curve, CurveChunk, Event, Experiment, Run

if TYPE_CHECKING:
    from datetime import timedelta

    from numpy.typing import NDArray

    from storage.embed import Embedder
    from storage.journal import State
    from storage.purge import Purged
    from storage.recovery import Recovered
    from storage.verify import Verified

Progress = Callable[[int, int], None]
"""Called with (done, total) while something long goes on."""


@dataclass(frozen=True, slots=True)
class StoreInfo:
    """What a store holds and how it is."""

    uri: str
    _: KW_ONLY
    schema_version: int
    n_experiments: int
    n_runs: int
    n_events: int
    n_points: int
    n_indexed: int
    """Runs in the derived index."""
    n_embedded: int
    """Runs in the index whose text has a vector of the store's encoder."""
    encoder: str | None
    """Identity of the text encoder whose vectors the store holds."""
    n_fragments: Mapping[str, int]
    """Data files by table."""
    n_bytes: int | None
    """Size of a local store on disk; None elsewhere."""
    spools: tuple[str, ...]
    """Write-ahead logs that wait for delivery."""


class RunStore(abc.ABC):
    """A store of experiments, runs, curves and events.

    **The journal is the truth.** Everything about experiments, runs, findings and documents is an
    event; events are appended and never changed. What a read returns is the fold of all events
    in their order, so every process that reads the same events sees the same state.

    **Order.** Events have one total order that is the same for every reader and never changes:
    first the commit, then the position in the batch. Run numbers follow from it.

    **Atomicity.** One ``append`` is one commit: readers see all of its events or none.
    The same holds for one ``append_curves``.

    **Idempotence.** An event whose id is known is ignored, and so is a curve chunk whose
    ``(run_id, metric, chunk)`` is known; whoever is not sure whether a commit went through
    may repeat it.

    **Life of a run.** waiting → running → finished | pruned | failed | crashed. Events that would
    change a run that is over are kept in the journal and have no effect, with four exceptions:
    notes, tags, findings and summaries. Of two processes that end the same run the first in the order wins.

    **Deletion.** What is deleted is hidden from every read and keeps its number, until it is restored or, after a
    grace period, physically removed. An experiment is restored under its name, so not while another has that name.
    Numbers are never used twice. Events that a writer addresses to an experiment's old name, or that come late
    for a run that was deleted or moved, still reach it.

    **Reads are current.** A read that starts after an ``append`` returned, in any process,
    sees it. A read never aliases what the store holds: records are frozen and do not change.

    **Threads.** One store object may be shared by threads.
    """

    uri: str
    recovered: tuple[Recovered, ...] = ()
    """What opening the store brought home of runs whose process had died."""

    # -- the journal

    @abc.abstractmethod
    def append(self, events: Sequence[Event]) -> None:
        """Append events in one commit.

        Raises
        ------
        RecordError
            If an event's kind is unknown or its body is not JSON.
        StoreUnavailableError
            If it could not be committed, or the connection broke before that was known: all of the batch is
            visible then or nothing, and it may be repeated.
        """

    @abc.abstractmethod
    def events(self, *, experiment: str | None = None, run_id: str | None = None) -> list[Event]:
        """Return events in their order, without repetitions."""

    @abc.abstractmethod
    def journal(
        self,
        *,
        after: int = 0,
        experiments: Collection[str] = (),
        run_ids: Collection[str] = (),
        kinds: Collection[str] = (),
        last: int | None = None,
    ) -> list[Event]:
        """Return events as they stand in the journal: in their order, repetitions included.

        The database filters: only the events returned are read.

        Parameters
        ----------
        after
            The commit after which they begin.
        experiments, run_ids
            Only events that name one of these experiments or runs. An event names its experiment as it was called
            when the event was written.
        kinds
            Only events of these kinds.
        last
            Only so many, the last of them. Where nothing is left out, stubs of the kind ``journal.removed`` stand where
            events were physically removed.
        """

    @abc.abstractmethod
    def writers(self, ids: Collection[str]) -> dict[str, Mapping[str, Any]]:
        """Return who wrote, by ``Event.writer``: user, host, pid, program and python; unknown ones are left out."""

    @abc.abstractmethod
    def state(self) -> State:
        """Return the current fold of all events. It belongs to the store: read it, do not keep or change it."""

    @abc.abstractmethod
    def stamp(self) -> str:
        """Return a short text that is another one after every change that a read can show, at the cost of two look-ups.

        Who kept an answer and the stamp from before it was read has the present answer while the stamp is the same.
        It covers events and curves, not search, whose vectors are computed on the way. It may differ where nothing
        changed, as after a compaction.

        Raises
        ------
        StoreUnavailableError
            If the store cannot be read.
        """

    # -- experiments

    @abc.abstractmethod
    def experiments(self) -> list[Experiment]:
        """Return all experiments in the order of their creation."""

    @abc.abstractmethod
    def experiment(self, name: str) -> Experiment:
        """Return one experiment.

        Raises
        ------
        ExperimentNotFoundError
            If there is none of that name.
        """

    # -- runs

    @abc.abstractmethod
    def run(self, run_id: str) -> Run:
        """Return one run by its id, or by a beginning of it that no other run shares.

        Raises
        ------
        RunNotFoundError
            If no run, or more than one, fits.
        """

    def runs(
        self,
        experiment: str | None = None,
        *,
        where: str | None = None,
        order_by: str | None = None,
        descending: bool = False,
        limit: int | None = None,
        offset: int = 0,
    ) -> list[Run]:
        """Return runs, by default in the order of their numbers.

        Filter, order and page are worked out by the database: only the runs returned are read.

        Parameters
        ----------
        where
            A filter in the grammar of ``storage.query``.
        order_by
            A name that ``where`` would accept, for instance a metric. Runs without a finite
            value come last in either direction; runs of the same value in the order of their numbers.
        limit, offset
            How many at most, and how many before them are left out.

        Raises
        ------
        ExperimentNotFoundError
            If there is no experiment of that name.
        FilterError
            If ``where`` or ``order_by`` cannot be understood, or ``limit`` or ``offset`` is negative.
        """
        found, _ = self.page(
            experiment, where=where, order_by=order_by, descending=descending, limit=limit, offset=offset
        )
        return found

    @abc.abstractmethod
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
        """Return what ``runs`` would, and how many there are without ``limit`` and ``offset``."""

    @abc.abstractmethod
    def alike(self, run_ids: Sequence[str], *, n_chars: int) -> list[str]:
        """Return the ids of all runs whose first characters are those of one of some ids, these included."""

    @abc.abstractmethod
    def count(self, experiment: str | None = None, *, where: str | None = None) -> int:
        """Return how many runs there are, of those that fit a filter.

        Raises
        ------
        ExperimentNotFoundError, FilterError
        """

    @abc.abstractmethod
    def columns(
        self, experiment: str | None, names: Sequence[str], *, where: str | None = None
    ) -> Mapping[str, NDArray[Any]]:
        """Return some columns of an experiment's runs, one value a run, in the order of their numbers.

        For pictures and sums over very many runs: no run is read as a whole.

        Parameters
        ----------
        experiment
            None gives those of all experiments, in the order of creation.
        names
            What ``order_by`` of ``runs`` would accept, such as ``number``, ``state``, ``started``, ``params.lr`` or
            ``metrics.val_loss``, and ``ranks``: whether a run may be called better than others.
        where
            A filter in the grammar of ``storage.query``.

        Returns
        -------
        mapping of str to array of shape (n_runs,)
            Numbers as float64, NaN where a run has none (one that *is* NaN looks the same); truth as 0 and 1; times in
            seconds since 1970, UTC. Texts as objects, None where a run has none: so comes also a parameter of which
            one value is no number, all values of it then as text.

        Raises
        ------
        ExperimentNotFoundError
            If there is no experiment of that name.
        FilterError
            If a name or ``where`` cannot be understood.
        """

    @abc.abstractmethod
    def names(self, experiment: str) -> Names:
        """Return the names of parameters, metrics and so on that a filter on an experiment's runs may use.

        Raises
        ------
        ExperimentNotFoundError
        """

    @abc.abstractmethod
    def best(self, experiment: str) -> Run | None:
        """Return the best run by the first objective, None where none ranks (``Experiment.ranks``).

        Raises
        ------
        ExperimentNotFoundError
        """

    # -- curves

    @abc.abstractmethod
    def append_curves(self, chunks: Sequence[CurveChunk]) -> None:
        """Append pieces of curves in one commit.

        Raises
        ------
        RecordError
            If a piece has not as many values, or times where there are any, as steps.
        StoreUnavailableError
            If it could not be committed.
        """

    @abc.abstractmethod
    def curves(
        self,
        run_ids: Sequence[str] | None = None,
        *,
        metrics: Sequence[str] | None = None,
        max_points: int | None = None,
    ) -> dict[str, dict[str, Curve]]:
        """Return ``{run_id: {metric: curve}}`` in one scan; None means all.

        Runs without curves are left out.

        Parameters
        ----------
        max_points
            Most points of one curve, 8 or more. Of a longer one, points are chosen that keep its shape, its spikes
            and its non-finite values visible: see ``storage.downsample``.

        Raises
        ------
        CurveDamagedError
            If one run is asked for and a piece of its curves is not what was written. Of several runs, a curve that is
            damaged is left out, with a warning that names it.
        RecordError
            If ``max_points`` is below 8.
        """

    @abc.abstractmethod
    def delivered(self, run_id: str) -> int:
        """Return how many of a run's log calls have reached the store."""

    @abc.abstractmethod
    def delivered_of(self, run_ids: Collection[str]) -> dict[str, int]:
        """Return the same of several runs by id, those of which nothing is there left out.

        Cheap: who follows runs that go on asks several times a second, and reads the curves of those whose number grew.
        """

    # -- search

    @abc.abstractmethod
    def search(
        self, text: str, *, where: str | None = None, limit: int = 10, progress: Progress | None = None
    ) -> SearchResults:
        """Return the runs whose description fits ``text`` best, words and meaning together.

        Computes vectors that are missing, for some seconds at most. Filters are applied before ranking.

        Parameters
        ----------
        text
            Words, misspelt ones too, and conditions among them: ``overfits params.lr<1e-3 state:failed``; see
            ``storage.question``. Conditions alone list what fits them, the newest first.
        where
            A further filter.

        Raises
        ------
        FilterError
            If ``where`` or a condition cannot be understood.
        """

    @abc.abstractmethod
    def similar(self, run_id: str, *, where: str | None = None, limit: int = 10) -> SearchResults:
        """Return the runs most like one: in parameters, in the shape of their curves and in what was written of them.

        Raises
        ------
        RunNotFoundError
            If no run, or more than one, fits ``run_id``.
        FilterError
            If ``where`` cannot be understood.
        """

    @abc.abstractmethod
    def reindex(self, *, embedder: Embedder | None = None, progress: Progress | None = None) -> int:
        """Build the derived index anew, all vectors included; return the number of runs in it."""

    # -- files

    @abc.abstractmethod
    def put_artifact(self, path: Path) -> tuple[str, int]:
        """Keep a copy of a file by its content; return its SHA-256 and its size in bytes."""

    @abc.abstractmethod
    def open_artifact(self, sha256: str) -> BinaryIO:
        """Open a kept file.

        Raises
        ------
        RecordError
            If no file of that hash is kept.
        """

    # -- care

    @abc.abstractmethod
    def lease(self, name: str, *, wait_s: float = 0.0) -> AbstractContextManager[bool]:
        """Hold the right to do something that one process at a time should do; yields whether it was got."""

    @abc.abstractmethod
    def spool_folder(self) -> Path:
        """Return the local folder in which live runs keep their write-ahead logs."""

    @abc.abstractmethod
    def info(self) -> StoreInfo:
        """Return what the store holds."""

    @abc.abstractmethod
    def compact(self, *, grace: timedelta = ...) -> Purged:
        """Merge small data files and the chunks of runs; physically remove what was deleted longer ago than ``grace``.

        Changes nothing that a read returns. Tables look after themselves on the way; this does all of it now.

        Raises
        ------
        StoreUnavailableError
            If another process is doing so, or it failed.
        """

    @abc.abstractmethod
    def verify(
        self, *, repair: bool = True, step_back: bool = False, progress: Callable[[str], None] | None = None
    ) -> Verified:
        """Look at every table, chain, curve, log, saved file and derived row; build again what is derived.

        With ``step_back``, a table of which files are missing is taken back to its newest complete version.

        Raises
        ------
        StoreUnavailableError
            If the store cannot be reached at all.
        """

    @abc.abstractmethod
    def close(self) -> None:
        """Let go of what the object holds. Closing twice is fine."""


def open_store(uri: str | Path, *, create: bool = True, embedder: Embedder | None = None) -> RunStore:
    """Open the store at ``uri``, and make it where there is none.

    Runs that a dead process left behind are recovered; ``RunStore.recovered`` names them.

    Parameters
    ----------
    uri
        A folder, or an address that LanceDB understands (``s3://…``, ``gs://…``, ``az://…``, ``db://…``).
    create
        Whether to make a store where there is none.
    embedder
        Text encoder for search; chosen by ``storage.embed.choose_embedder`` when None.

    Raises
    ------
    StoreNotFoundError
        If there is none and ``create`` is false.
    StoreUnavailableError
        If the address cannot be read or written.
    SchemaTooNewError
        If the store was written by a newer version.
    """
    from storage.lance_store import LanceRunStore
    from storage.recovery import recover

    # A run may have died before its store was made: then its write-ahead log is all there is, and worth a store.
    create = create or Place(str(uri)).holds_spools()
    store = LanceRunStore(uri, create=create, embedder=embedder)
    store.recovered = recover(store)
    return store

"""The advisor: opens a store and hands out experiments. The only place where the parts are wired together.

What an experiment can do is in ``advisor.experiment``; here it gets what it works with: the store,
what notifies, the clock, the settings.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from advisor.config import Settings, resolve
from advisor.definitions import Definitions, asked, checked_reduce
from advisor.errors import ConfigError
from advisor.redact import scrub
from advisor.suggest.space import Space
from advisor.tracking import exits
from storage.errors import StorageError
from storage.hits import SearchResults
from storage.opening import Opening
from storage.records import Direction, Run, RunList
from storage.store import RunStore

if TYPE_CHECKING:
    from datetime import timedelta

    from advisor.experiment import Experiment
    from advisor.history import Line
    from advisor.lifecycle import Deleted
    from advisor.notify import Channel
    from advisor.notify.desk import Desk
    from advisor.notify.teller import Teller
    from advisor.reports import Verified
    from advisor.reports.beside import Beside
    from advisor.silencing import LiveBook
    from storage.records import Document
    from storage.store import Progress

log = logging.getLogger(__name__)

CAPTURE_FOR_S: Final = 10.0
"""A capture of code and hardware serves all runs that this process starts within this time."""


class Advisor:
    """One store, and everything that can be asked of it.

    Made by ``advisor.open``, which does not wait for the store: the first thing that reads does, and finds everything
    in it that this program said before. Usable as a context manager; closing waits for notifications under way.
    """

    def __init__(
        self,
        store: RunStore | Opening,
        settings: Settings,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.opening = store if isinstance(store, Opening) else Opening(store.uri, store=store)
        self.settings = settings
        self.clock = clock
        self._teller: Teller | None = None
        self._captured: tuple[float, Mapping[str, Any]] | None = None
        self._lock = threading.Lock()
        self._beside: Beside | None = None
        self._alerts: LiveBook | None = None
        self._since = clock()
        self.definitions = Definitions(self.opening, strict=settings.strict, clock=clock)
        """What this program says of experiments; ``Experiment`` asks it what a run starts with."""

    @property
    def store(self) -> RunStore:
        """The store, once it is open and everything said so far is in it.

        Raises
        ------
        StorageError
            If it cannot be opened.
        """
        return self.opening.get()

    @property
    def alerts(self) -> LiveBook:
        """What the journal says of findings and mutes, kept current for all threads of this process."""
        from advisor.silencing import LiveBook

        store = self.store
        with self._lock:
            if self._alerts is None:
                self._alerts = LiveBook(store)
            return self._alerts

    # -- experiments

    def experiment(
        self,
        name: str,
        *,
        objective: str | Sequence[str] | None = None,
        direction: Direction | Sequence[Direction] | None = None,
        space: Mapping[str, Any] | None = None,
        description: str | None = None,
        reduce: str | None = None,
        constraints: str | Sequence[str] | Mapping[str, str] | None = None,
        try_first: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
        fixed: Mapping[str, Any] | None = None,
        renamed: Mapping[str, str | Sequence[str]] | None = None,
        priors: Mapping[str, Any] | None = None,
        cost: str | None = None,
        repeats: int | None = None,
        create: bool = True,
    ) -> Experiment:
        """Create an experiment, or reopen it; what is given and differs is updated.

        Of ``constraints`` to ``repeats``, what is not given stays, and an empty value takes back what was said.

        Parameters
        ----------
        name
            Any text.
        objective
            Name of the metric that it is about; several for a trade-off.
        direction
            ``minimize`` or ``maximize``, one for each objective; by default what it was, also of an only objective
            that is called otherwise from now on; at first ``minimize``.
        space
            Name → ``Float``, ``Int``, ``Choice`` or an Optuna distribution.
        description
            What the experiment asks, in plain words; it is searched.
        reduce
            How a curve becomes one value: ``last`` (last finite value, the default), ``best`` or ``mean-last-K``.
        constraints
            Bounds that a run's last values have to keep: ``"latency_ms <= 50"``, several of those, or
            ``{"latency_ms": "<= 50"}``.
        try_first
            Points to suggest before anything else; parameters left out are chosen then.
        fixed
            Parameters that are not varied for now, with their values.
        renamed
            Parameter → what it is called in other experiments, one name or several.
        priors
            Numeric parameter → where you believe its best value to be, or ``{"center": 0.01, "spread": 0.2}``; the
            spread is a share of its range.
        cost
            What a run costs: ``"duration"``, or the name of a metric.
        repeats
            How often each point is to be run, where the objective is noisy.
        create
            Whether to create it where there is none.

        Raises
        ------
        ExperimentNotFoundError
            If there is none and ``create`` is false.
        ConfigError, SpaceError
            If what is given makes no sense.
        """
        from advisor.experiment import Experiment

        if not isinstance(name, str) or not name.strip():
            raise ConfigError(f"an experiment needs a name, not {name!r}")
        self.opening.check_process()
        given: dict[str, Any] = {}
        if objective is not None or direction is not None:
            given["objectives"] = asked(objective, direction)
        if space is not None:
            given["space"] = Space.of(space).to_json()
        if description is not None:
            given["description"] = scrub(description)
        if reduce is not None:
            given["reduce"] = checked_reduce(reduce)
        parts: dict[str, Any] = {"constraints": constraints, "try_first": try_first, "fixed": fixed, "renamed": renamed}
        parts |= {"priors": priors, "cost": cost, "repeats": repeats}
        problem = {key: part for key, part in parts.items() if part is not None}
        if problem:
            given["problem"] = problem
        self.definitions.say(name, given, create=create)
        return Experiment(self, name)

    def experiments(self) -> list[Experiment]:
        """Return all experiments in the order of their creation."""
        from advisor.experiment import Experiment

        return [Experiment(self, record.name) for record in self.store.experiments()]

    # -- what becomes of them

    def delete(self, what: str | Sequence[str], *, force: bool = False) -> list[Deleted]:
        """Delete experiments and runs: they are hidden from every read, and removed for good after a grace period.

        Parameters
        ----------
        what
            Names of experiments; ids of runs, beginnings of ids, or ``EXPERIMENT#NUMBER``.
        force
            Whether to delete runs that still run, too. Their processes go on and notice nothing.

        Raises
        ------
        ExperimentNotFoundError, RunNotFoundError
            If something is not there; then nothing is deleted.
        RecordError
            If a run is still running and ``force`` is false, or another process was faster.
        """
        from advisor import lifecycle

        return lifecycle.delete(self.store, _listed(what), force=force, now=self.clock())

    def restore(self, what: str | Sequence[str]) -> list[Deleted]:
        """Bring back what was deleted; of several experiments that had a name, the one deleted last.

        Raises
        ------
        ExperimentNotFoundError, RunNotFoundError
            If nothing that is deleted is called so.
        ExperimentExistsError
            If another experiment has the name by now.
        RecordError
            If a run's experiment is deleted too, or another process was faster.
        """
        from advisor import lifecycle

        return lifecycle.restore(self.store, _listed(what), now=self.clock())

    def deleted(self) -> list[Deleted]:
        """Return what can be restored, the latest deletion last."""
        from advisor import lifecycle

        return lifecycle.deleted(self.store)

    def move(self, runs: str | Sequence[str], to: str) -> list[Run]:
        """Move runs to another experiment, where each gets the next number, and is valued by its objective.

        Raises
        ------
        ExperimentNotFoundError, RunNotFoundError
            If something is not there; then nothing is moved.
        ConfigError
            If a run is in that experiment already.
        RecordError
            If another process was faster.
        """
        from advisor import lifecycle

        return lifecycle.move(self.store, _listed(runs), to, now=self.clock())

    def history(self, what: str | None = None, *, limit: int | None = None, folded: bool = True) -> list[Line]:
        """Return what happened, in words, the newest last.

        Parameters
        ----------
        what
            An experiment or a run, deleted ones too, by what they are or were called; None tells of all.
        limit
            How many lines, of the newest; all where None.
        folded
            Whether what Optuna reports of a run, value by value, is one line, and the store's own book-keeping none.
        """
        from advisor import chronicle

        return chronicle.tell(self.store, what, limit=limit, folded=folded)

    # -- runs of all experiments

    def run(self, run_id: str) -> Run:
        """Return one run by its id or an unmistakable beginning of it.

        Raises
        ------
        RunNotFoundError
            If no run, or more than one, fits.
        """
        return self.store.run(run_id)

    def runs(
        self,
        *,
        where: str | None = None,
        order_by: str | None = None,
        descending: bool = False,
        limit: int | None = None,
    ) -> list[Run]:
        """Return runs of all experiments; see ``Experiment.runs``."""
        return RunList(self.store.runs(where=where, order_by=order_by, descending=descending, limit=limit))

    def search(
        self, text: str, *, where: str | None = None, limit: int = 10, progress: Progress | None = None
    ) -> SearchResults:
        """Return the runs whose description fits ``text`` best, by words and by meaning, with reasons and counts.

        Numbers are found by conditions, not by likeness: in the text itself (``overfits params.lr<1e-3 state:failed``)
        or in ``where``. A list of hits that also has ``facets``, ``documents`` and ``n_fitting``.

        Raises
        ------
        FilterError
            If a condition cannot be understood.
        """
        return self.store.search(text, where=where, limit=limit, progress=progress)

    def similar(self, run_id: str, *, where: str | None = None, limit: int = 10) -> SearchResults:
        """Return the runs most like one: in parameters, in the shape of their curves and in what was written of them.

        Raises
        ------
        RunNotFoundError
            If no run, or more than one, fits.
        FilterError
            If ``where`` cannot be understood.
        """
        return self.store.similar(run_id, where=where, limit=limit)

    # -- writing down

    def compare(
        self,
        a: str | Run | Experiment,
        b: str | Run | Experiment,
        *,
        format: str = "md",
        llm: str | None = None,
        path: str | Path | None = None,
        write: bool = True,
    ) -> Document:
        """Write a comparison of two runs, or of two experiments: what the second has against the first.

        Parameters
        ----------
        a, b
            Names of experiments; ids of runs, beginnings of ids, or ``EXPERIMENT#NUMBER``.
        format, llm, path, write
            As for ``Experiment.report``.

        Raises
        ------
        ConfigError
            If one is a run and the other an experiment, or both are the same.
        ExperimentNotFoundError, RunNotFoundError
            If there is no such thing.
        """
        from advisor.documents import Origin
        from advisor.references import find
        from advisor.reports import write as written

        first, second = (find(self.store, _named(each)) for each in (a, b))
        if isinstance(first, Run) != isinstance(second, Run):
            raise ConfigError(
                f"{_named(a)!r} and {_named(b)!r} are a run and an experiment; compare two runs or two experiments"
            )
        keys = [each.id if isinstance(each, Run) else each.name for each in (first, second)]
        if keys[0] == keys[1]:
            raise ConfigError(f"{_named(a)!r} and {_named(b)!r} are the same; give two that differ")
        is_run = isinstance(first, Run)
        subject = Origin(
            "run-comparison" if is_run else "experiment-comparison",
            experiment=first.experiment if isinstance(first, Run) else first.name,
            about={"a": keys[0], "b": keys[1]},
        )
        return written(self, subject, format=format, llm=llm, path=path, write=write)

    def digest(
        self,
        experiment: str | None = None,
        *,
        since: str | datetime | timedelta = "7d",
        until: datetime | None = None,
        format: str = "md",
        llm: str | None = None,
        path: str | Path | None = None,
        write: bool = True,
    ) -> Document:
        """Write a digest of a span of time: what ended how, what got better, what was found.

        Parameters
        ----------
        experiment
            The only one to tell of; all where None.
        since
            A length of time back from ``until`` (``24h``, ``7d``, ``2w``), or when the span begins.
        until
            When the span ends; now where None.
        format, llm, path, write
            As for ``Experiment.report``.

        Raises
        ------
        ConfigError
            If the span is not understood.
        ExperimentNotFoundError
            If there is no such experiment.
        """
        from advisor.documents import Origin
        from advisor.reports import span
        from advisor.reports import write as written

        end = until or self.clock()
        about = {"since": span(since, end).isoformat(), "until": end.isoformat()}
        name = "" if experiment is None else self.store.experiment(experiment).name
        subject = Origin("digest", experiment=name, about=about)
        return written(self, subject, format=format, llm=llm, path=path, write=write)

    def verify(self, document: str | Path | Document) -> Verified:
        """Hold a text against the store: derive a document of ours again, look up the figures of any other.

        Parameters
        ----------
        document
            A file, a document, or a text.

        Raises
        ------
        ConfigError
            If it is no text, or too long a one.
        """
        from advisor.reports import verify_file, verify_text

        if isinstance(document, Path):
            return verify_file(self, document)
        return verify_text(self, str(document))

    def write_due(self, experiment: str | None = None) -> list[Document]:
        """Write the documents that ``on_finish`` and ``on_finding`` ask for and that are due; return them.

        Runs that ended, checks and watchers do so by themselves; call it for what ended in other ways.
        """
        from advisor.reports import write_due

        return write_due(self, experiment)

    def write_due_soon(self, experiment: str) -> None:
        """Do so beside the program for runs that ended since it began; at its end for ``beside.WITHIN_S`` seconds."""
        from advisor.reports import write_due
        from advisor.reports.beside import Beside

        with self._lock:
            if self._beside is None:
                self._beside = Beside(lambda name, go_on: write_due(self, name, since=self._since, go_on=go_on))
                exits.close_at_end(self._beside.close)
        self._beside.ask(experiment)

    def documents(self, *, kind: str | None = None, experiment: str | None = None) -> list[Document]:
        """Return the documents that were kept, the first one first, each version one."""
        from advisor.reports import kept_documents

        return [
            each
            for each in kept_documents(self.store)
            if kind in (None, each.kind) and experiment in (None, each.experiment)
        ]

    # -- what experiments work with

    def notify(self, experiment: str) -> None:
        """Have what is wrong with an experiment's runs told to the configured channels, each once; returns at once.

        Findings are told from the store, so write them down first. From now on this process also tells what other
        processes find in that experiment, unless they have told it themselves.
        """
        teller = self._teller
        if teller is None:  # without the lock later: a thread that delivers must not wait for the one that trains
            with self._lock:
                if self._teller is None:
                    made = self._make_teller()
                    made.start()
                    self._teller = made
                teller = self._teller
        teller.tell(experiment)

    def drain_notifications(self, within_s: float | None = None) -> bool:
        """Tell now what would wait for more runs with the same trouble, and wait for the channels.

        Closing does the same; a long program may do it between two parts.

        Parameters
        ----------
        within_s
            How long to wait at most; by default ``advisor.notify.teller.DRAIN_S``.

        Returns
        -------
        bool
            Whether every channel has everything; the rest is kept, and tried again.
        """
        from advisor.notify.teller import DRAIN_S

        return self._teller is None or self._teller.drain(DRAIN_S if within_s is None else within_s)

    def capture(self) -> Mapping[str, Any]:
        """Return what is known of code, environment and hardware; empty where capturing is switched off."""
        if not self.settings.capture:
            return {}
        with self._lock:
            if self._captured is None or time.monotonic() - self._captured[0] > CAPTURE_FOR_S:
                from advisor.tracking.capture import capture

                self._captured = (time.monotonic(), capture(diff_limit_bytes=self.settings.diff_limit_bytes))
            return self._captured[1]

    def _make_teller(self) -> Teller:
        from advisor.notify import open_channel
        from advisor.notify.desk import Desk, policy_of
        from advisor.notify.teller import Teller
        from advisor.watching import leaves_to_watcher, picture_of

        def desk(store: RunStore, channels: Sequence[Channel], experiments: Collection[str]) -> Desk:
            return Desk(
                store,
                channels,
                policy=policy_of(self.settings),
                clock=self.clock,
                experiments=experiments,
                picture=lambda finding: picture_of(store, finding),
                actor="notify",
            )

        teller = Teller(
            self.opening.get,
            [open_channel(address) for address in self.settings.notify],
            desk=desk,
            is_watched=lambda channel: leaves_to_watcher(self.opening.uri, channel, now=self.clock()),
        )
        exits.close_at_end(teller.close)  # a script's last message is on its way when the script is over
        return teller

    def close(self) -> None:
        """Tell what is to be told, for ``advisor.notify.teller.DRAIN_S`` seconds at most, and let go of the store.

        Documents under way are waited for.
        """
        if self._beside is not None:
            self._beside.close()
            self._beside = None
        if self._teller is not None:
            self._teller.close()
            self._teller = None
        self.opening.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Advisor {self.opening.uri}>"

    def _repr_html_(self) -> str:
        from advisor import notebook

        try:
            return notebook.store(self.store, self.opening.uri)
        except StorageError as error:
            return notebook.trouble(f"store {self.opening.uri}", error)


def open(uri: str | Path | None = None, *, create: bool = True, **settings: Any) -> Advisor:  # the public name
    """Open a store of runs, and make it where there is none.

    Returns at once: the database is loaded when something is read, or in the background while a run trains. Runs whose
    process died without a word are recovered on the way.

    Parameters
    ----------
    uri
        A folder or an address such as ``s3://bucket/runs``; by default ``$ADVISOR_STORE``, the setting
        ``store`` of advisor.toml or pyproject.toml, or ``./advisor-store``.
    create
        Whether to make a store where there is none.
    settings
        Any other setting, see ``advisor.config.Settings``.

    Raises
    ------
    StoreNotFoundError
        If there is no store and ``create`` is false.
    StoreUnavailableError, SchemaTooNewError
        If it is plain that the store cannot be opened; trouble that shows later is raised by what reads.
    ConfigError
        If a setting cannot be used.

    Examples
    --------
    >>> import advisor, tempfile
    >>> adv = advisor.open(tempfile.mkdtemp())
    >>> exp = adv.experiment("demo", objective="loss", space={"lr": advisor.Float(1e-4, 1, log=True)})
    >>> with exp.start(params={"lr": 0.1}) as run:
    ...     run.log({"loss": 0.5})
    >>> exp.best().params["lr"]
    0.1
    """
    if uri is not None:
        settings["store"] = str(uri)
    resolved = resolve(**settings)
    if resolved.notify:
        from advisor.notify.channels import check_address

        for address in resolved.notify:
            check_address(address)
    embedder = None
    if resolved.embedder is not None:
        from storage.embed import choose_embedder

        embedder = choose_embedder(resolved.embedder)
    return Advisor(Opening(resolved.store, create=create, embedder=embedder), resolved)


def _named(what: str | Run | Experiment) -> str:
    """Return what finds a run or an experiment."""
    if isinstance(what, str):
        return what
    return what.id if isinstance(what, Run) else what.name


def _listed(references: str | Sequence[str]) -> list[str]:
    return [references] if isinstance(references, str) else list(references)

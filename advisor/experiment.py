"""One experiment: start runs, ask what to try next, look at what happened, write it down.

A handle: it holds a name and reads the store whenever it is asked, so it never shows an old state.
"""

from __future__ import annotations

import logging
import operator
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from advisor.errors import ConfigError, NotEnoughRunsError, SpaceError
from advisor.redact import scrub
from advisor.references import find_finding, present_name
from advisor.suggest.space import Space
from advisor.tracking.attached import attach
from advisor.tracking.run import Collaborators, LiveRun
from advisor.tracking.values import plain
from storage.errors import (
    ExperimentNotFoundError,
    RecordError,
    RunNotFoundError,
    StorageError,
    StoreUnavailableError,
    did_you_mean,
)
from storage.records import (
    Curve,
    Document,
    Event,
    Finding,
    FindingList,
    FindingState,
    Run,
    RunList,
    RunState,
    new_id,
)
from storage.records import Experiment as ExperimentRecord

if TYPE_CHECKING:
    import pandas as pd
    from optuna.samplers import BaseSampler

    from advisor.app import Advisor
    from advisor.documents import Origin
    from advisor.documents.configured import Listener
    from advisor.findings import Checked
    from advisor.running import Summary, Watcher
    from advisor.suggest import Forecast, Importances, Ledger, SearchAdvice, StopAdvice, Suggestion
    from advisor.suggest.define_by_run import AskedTrial
    from advisor.suggest.noise import Noise
    from advisor.tracking.delivery import Watch
    from storage.records import Curve, Verdict
    from storage.store import RunStore

log = logging.getLogger(__name__)


class Experiment:
    """One named question: objectives, a search space, runs. Made by ``Advisor.experiment``."""

    def __init__(self, advisor: Advisor, name: str) -> None:
        self._advisor = advisor
        self.name = name
        self._read_curves: dict[str, dict[str, Mapping[str, Curve]]] = {}

    @property
    def _store(self) -> RunStore:
        return self._advisor.store

    @property
    def record(self) -> ExperimentRecord:
        """What the store says about the experiment now; a handle follows when another process renames it."""
        try:
            return self._store.experiment(self.name)
        except ExperimentNotFoundError:
            self.name = present_name(self._store, self.name)
            return self._store.experiment(self.name)

    def rename(self, new: str) -> None:
        """Give the experiment another name; runs, numbers and findings stay as they are.

        Programs that still know the old name go on writing to this experiment, until another one gets that name.

        Raises
        ------
        ExperimentExistsError
            If an experiment of that name exists.
        ConfigError
            If it is no name, or is the present one.
        """
        from advisor import lifecycle

        self.name = lifecycle.rename(self._store, self.name, new, now=self._advisor.clock())

    def __repr__(self) -> str:
        return f"<Experiment {self.name}>"

    def _repr_html_(self) -> str:
        from advisor import notebook

        try:
            return notebook.experiment(self.record, self._store, space=self._space_or_none())
        except StorageError as error:  # it is gone, or the store is: said in the cell, not as a traceback
            return notebook.trouble(f"experiment {self.name}", error)

    # -- running

    def ask(self, *, seed: int | None = None, sampler: Callable[..., BaseSampler] | None = None) -> AskedTrial:
        """Begin the next run's parameters, to be asked for one by one; a search space need not be declared.

        ``trial.suggest_float("lr", 1e-5, 1, log=True)`` and the like, in any order and behind any ``if``; then
        ``exp.start(trial)``. Nothing is written before that.

        Parameters
        ----------
        seed
            By default drawn afresh, so that processes that ask at the same time get different answers.
        sampler
            A class of Optuna's samplers, or what makes one given ``seed=``; by default its tree-structured Parzen
            estimator.

        Raises
        ------
        ConfigError
            If the experiment has no objective.
        """
        from advisor.suggest.define_by_run import AskedTrial

        given = _seed(seed)
        drawn = secrets.randbits(32) if given is None else given
        return AskedTrial(self.record, self.runs(), seed=drawn, sampler=sampler)

    def start(
        self,
        suggestion: Suggestion | AskedTrial | Mapping[str, Any] | None = None,
        *,
        params: Mapping[str, Any] | None = None,
        seed: int | None = None,
        tags: Sequence[str] = (),
        notes: Sequence[str] = (),
    ) -> LiveRun:
        """Start a run in this process.

        With parameters of your own it does not wait for the store: the run is in its write-ahead log when this
        returns, and reaches the store while it trains. In a process that ``advisor optimize`` started, the first one
        is the run that it was started for.

        Parameters
        ----------
        suggestion
            A suggestion to follow, or what was asked for with ``ask``. With neither this nor ``params``, the run that
            has waited longest is taken up (see ``queue`` and ``accept``); where none waits, a suggestion is asked for.
        params
            Your own parameters; where a space is declared they are checked against it.
        seed
            Seed of the training, to be kept with the run.
        tags, notes
            Words to find it by.

        Raises
        ------
        SpaceError
            If the parameters do not fit the declared space.
        ConfigError
            If a suggestion is needed and the experiment has no objective.
        """
        from advisor.suggest.define_by_run import AskedTrial

        suggestion_id = None
        asked: dict[str, Any] = {}
        if suggestion is not None and params is not None:
            raise ConfigError("give either a suggestion or params, not both")
        given = suggestion if suggestion is None or isinstance(suggestion, Mapping) else suggestion.params
        attached = attach(self.name, params=params if given is None else given, tags=_words(tags), notes=_words(notes))
        if attached is not None:
            return attached
        if isinstance(suggestion, Mapping):
            params = suggestion
        elif suggestion is None and params is None:
            waited = self.take_up(seed=seed, tags=tags, notes=notes)
            if waited is not None:
                return waited
            suggestion = self.suggest()[0]
        if isinstance(suggestion, AskedTrial):
            params, asked["distributions"] = suggestion.begin()
        elif suggestion is not None and not isinstance(suggestion, Mapping):
            params, suggestion_id = suggestion.params, suggestion.id
        clean = plain(params or {})
        record = self._advisor.definitions.record_to_start(self.name, clean)
        created = Event.new(
            "run.created",
            self.name,
            new_id(),
            time=self._advisor.clock(),
            actor="run",
            state=RunState.RUNNING,
            params=clean,
            seed=_seed(seed),
            tags=[scrub(tag) for tag in _words(tags)],
            notes=[scrub(note) for note in _words(notes)],
            source="tracked",
            suggestion_id=suggestion_id,
            **asked,
        )
        return self._begun(record, created)

    def _begun(self, record: ExperimentRecord, created: Event) -> LiveRun:
        definitions = self._advisor.definitions.undelivered(self.name)
        run = LiveRun(record, created, self._collaborators(created.run_id, record), definitions=definitions)
        run.sample_machine(self._advisor.settings.system_metrics)
        return run

    # -- the queue

    def queue(
        self,
        params: Mapping[str, Any],
        *,
        tags: Sequence[str] = (),
        notes: Sequence[str] = (),
    ) -> Run:
        """Have parameters of your own tried by whoever starts the next run; return the run, which waits.

        ``start()``, ``optimize``, ``advisor optimize`` and Optuna programs take up what waits before they ask for a
        suggestion, the first one first, and each run is taken up once.

        Raises
        ------
        SpaceError
            If the parameters do not fit the declared space.
        """
        from advisor import queueing

        record, clean = self.record, plain(params)
        self._refuse_typos(record, clean)
        if record.space:
            Space.from_json(record.space).check(clean)
        return queueing.queue(
            self._store,
            record,
            clean,
            now=self._advisor.clock(),
            run_id=new_id(),
            tags=[scrub(tag) for tag in _words(tags)],
            notes=[scrub(note) for note in _words(notes)],
        )

    def accept(self, suggestion_id: str) -> Run:
        """Queue a suggestion, to be trained by whoever starts the next run; return the run, which waits.

        Accepting it twice queues it once. ``start(suggestion)`` is for a process that trains it itself.

        Raises
        ------
        RecordError
            If there is no such suggestion, or it was rejected, taken back or started.
        """
        from advisor import queueing

        return queueing.accept(self._store, self.record, suggestion_id, now=self._advisor.clock())

    def reject(self, suggestion_id: str, *, reason: str = "rejected by a person") -> None:
        """Close a suggestion: nobody shall start it, and its point counts as free again.

        Raises
        ------
        RecordError
            If there is no such suggestion, or a run follows it already.
        """
        from advisor import queueing

        now = self._advisor.clock()
        queueing.reject(self._store, self.record.name, suggestion_id, now=now, reason=scrub(reason))

    def unanswered(self) -> list[Mapping[str, Any]]:
        """Return the suggestions of the last days that nobody has started, accepted or closed, the newest first.

        Each is its public JSON form (``Suggestion.as_json``) with ``time``, ``forecast_note`` and ``expired``: whether
        an hour has passed, so that its point counts as free again. An expired one can be accepted all the same.
        """
        from advisor import queueing

        return queueing.unanswered(self._store, self.record.name, now=self._advisor.clock())

    def waiting(self, *, limit: int | None = None) -> list[Run]:
        """Return the runs that were queued and wait to be taken up, the first one first."""
        from advisor import queueing

        return queueing.waiting(self._store, self.record.name, limit=limit)

    def take_up(
        self, *, seed: int | None = None, tags: Sequence[str] = (), notes: Sequence[str] = ()
    ) -> LiveRun | None:
        """Start the run that has waited longest in this process; None where none waits.

        In a process that ``advisor optimize`` started, the first one is the run that it was started for.

        Parameters
        ----------
        seed
            Seed of the training, for a run that was queued without one.
        tags, notes
            Words to find it by, beside those that it was queued with.
        """
        from advisor import queueing

        attached = attach(self.name, tags=_words(tags), notes=_words(notes))
        if attached is not None:
            return attached
        record = self.record
        words = {"tags": [scrub(tag) for tag in _words(tags)], "notes": [scrub(note) for note in _words(notes)]}
        begun = queueing.take_up(self._store, record.name, now=self._advisor.clock(), seed=_seed(seed), **words)
        return None if begun is None else self._begun(record, begun)

    # -- running many

    def optimize(self, n_runs: int, *, sampler: Any = None, seed: int | None = None) -> Iterator[LiveRun]:
        """Yield ``n_runs`` started runs, each with the parameters suggested by then; yours is the loop.

        Runs that were queued (``queue``, ``accept``) come first. A run that the loop did not end is finished before
        the next one is suggested. With ``seed``, the i-th suggestion is made with ``seed + i``.
        """
        for i in range(n_runs):
            run = self.take_up()
            if run is None:
                run = self.start(self.suggest(sampler=sampler, seed=None if seed is None else seed + i)[0])
            try:
                yield run
            except GeneratorExit:  # the loop was left: by an exception, by break, or by an interrupt
                if not run.state.is_over:
                    run.fail("the loop over optimize() was left before the run ended")
                raise
            if not run.state.is_over:
                run.finish()

    def optimize_command(
        self,
        command: Sequence[str],
        *,
        n_runs: int | None = None,
        jobs: int = 1,
        timeout_s: float | None = None,
        retries: int = 0,
        watcher: Watcher | None = None,
        **options: Any,
    ) -> Summary:
        """Run a command once a suggestion, and read its metrics; ``advisor optimize`` does this.

        Parameters
        ----------
        command
            The program and its arguments, with ``{name}`` where a parameter's value belongs.
        n_runs
            How many trials the command shall have in all, those of earlier calls included.
        jobs
            How many run at the same time.
        timeout_s
            Seconds that one may take.
        retries
            How often one that was killed or took too long is tried again.
        watcher
            Hears what happens.
        options
            Further fields of ``advisor.running.Plan``.

        Raises
        ------
        ConfigError, SpaceError, NotEnoughRunsError
            If the command or the experiment is not fit for it; then nothing is started.
        SweepInterrupted
            On SIGINT, SIGTERM or SIGHUP, once the commands are over and their runs are in the store.
        """
        from advisor.running import Plan, run_sweep

        plan = Plan(tuple(command), n_runs=n_runs, jobs=jobs, timeout_s=timeout_s, retries=retries, **options)
        return run_sweep(self._advisor, self, plan, watcher=watcher)

    def tell(
        self,
        params: Mapping[str, Any] | None = None,
        value: float | Sequence[float] | None = None,
        *,
        state: RunState | str = RunState.FINISHED,
        error: str | None = None,
        seed: int | None = None,
        suggestion_id: str | None = None,
        notes: Sequence[str] = (),
        metrics: Mapping[str, float] | None = None,
        curves: Mapping[str, Curve | Sequence[float]] | None = None,
    ) -> Run:
        """Record a run that was trained elsewhere: its parameters and its objective's value.

        NaN is accepted, and never best.

        Parameters
        ----------
        params
            What it was trained with; None: what the suggestion says.
        error
            Why a run failed, the end of a traceback for instance.
        suggestion_id
            The suggestion that it followed, or the beginning of its id.
        metrics
            Last values of other metrics, such as those that constraints are about; each becomes a curve of one point.
        curves
            Whole curves: values in the order of the training, one a step from 0, or a ``Curve``.

        Raises
        ------
        SpaceError
            If the parameters do not fit the declared space or, where there is none, the ranges that the Optuna
            programs of the runs declare.
        ConfigError
            If a finished run comes without a value, the values are not as many as the objectives, a value or a metric
            is no number, or the parameters are others than the suggestion's.
        RecordError
            If the state is none in which a run is over, there is no such suggestion, or a run followed it already.
        """
        from advisor.telling import Told

        told = Told(params, value, state=state, seed=_seed(seed), suggestion_id=suggestion_id, notes=_words(notes),
                    error=error)  # fmt: skip
        if params is not None:
            self._refuse_typos(self.record, plain(params))
        return told.record(self._store, self.record, metrics or {}, curves or {}, now=self._advisor.clock())

    # -- looking

    def runs(
        self,
        where: str | None = None,
        *,
        order_by: str | None = None,
        descending: bool = False,
        limit: int | None = None,
    ) -> list[Run]:
        """Return frozen runs.

        Parameters
        ----------
        where
            For instance ``params.lr < 0.01 and state = 'finished'``; the grammar is in ``storage.query``.
        order_by
            For instance ``val_loss``; runs without a finite value come last.

        Raises
        ------
        FilterError
            If ``where`` or ``order_by`` cannot be understood.
        """
        found = self._store.runs(self.name, where=where, order_by=order_by, descending=descending, limit=limit)
        return RunList(found)

    def run(self, which: str | int | LiveRun) -> Run:
        """Return one run of the experiment as it stands: by its id, the beginning of its id, its number, or itself."""
        if isinstance(which, LiveRun):
            which = which.id
        if isinstance(which, int):
            run_id = self._store.state().id_of(self.name, which)
            if run_id is None:
                n_runs = self._store.count(self.name)
                raise RunNotFoundError(f"experiment {self.name!r} has no run number {which}; it has {n_runs} runs")
            return self._store.run(run_id)
        run = self._store.run(which)
        if run.experiment != self.name:
            raise RunNotFoundError(f"run {run.id!r} belongs to experiment {run.experiment!r}, not to {self.name!r}")
        return run

    def best(self, *, newest: int | None = None) -> Run | None:
        """Return the best finished run by the first objective, None where there is none.

        Runs whose value, or whose objective's curve at its end, is not finite are never best. Where the experiment
        has constraints, only runs that are known to keep them all are; None where no run does.

        Parameters
        ----------
        newest
            Where there are constraints, how many runs to look at, the newest; None: all of them.
        """
        record = self.record
        if not record.problem.get("constraints"):
            return self._store.best(self.name)
        from advisor.suggest.pareto import best_feasible

        return best_feasible(record, self._newest(newest))

    def front(self, *, newest: int | None = None) -> list[Run]:
        """Return the runs that no other one beats in every objective at once, the best of the first objective first.

        Only finished runs with finite values count, and where there are constraints only those that keep them all.
        With one objective these are the best run and its equals.

        Parameters
        ----------
        newest
            How many runs to look at, the newest; None: all of them.
        """
        from advisor.suggest.pareto import front

        return RunList(front(self.record, self._newest(newest)))

    def findings(self, *, include_resolved: bool = False) -> list[Finding]:
        """Return the findings of all runs, the most severe first."""
        runs = self.runs()
        found = [
            finding
            for run in runs
            for finding in run.findings
            if include_resolved or finding.state is not FindingState.RESOLVED
        ]
        listed = FindingList(sorted(found, key=lambda finding: -finding.severity.rank))
        listed.numbers = {run.id: run.number for run in runs}
        return listed

    def check(self, *, seed: int = 0, keep: bool = True, head: bool | None = None) -> Checked:
        """Look at all runs for trouble, among their siblings; new findings are kept and notified.

        Parameters
        ----------
        seed
            Of the isolation forests.
        keep
            Whether to write new findings into the store and send them to the configured channels.
        head
            Whether the learned head has a say; as configured when None.
        """
        from advisor.findings import check_experiment

        runs = self.runs()
        curves = self._store.curves([run.id for run in runs])
        head = self._advisor.settings.learned_head if head is None else head
        checked = check_experiment(self.record, runs, curves, now=self._advisor.clock(), seed=seed, head=head)
        if keep:
            self._keep(checked.findings, [finding for run in runs for finding in run.findings])
        return checked

    def _keep(self, found: Sequence[Finding], known: Sequence[Finding]) -> None:
        """Write what is new or different; what no longer holds is resolved, what came back is open again."""
        from advisor.findings.keeping import reconcile

        # What a state check saw while the run trained, nobody can look at again.
        events, _ = reconcile(known, found, actor="check", may_hold=lambda finding: finding.detector == "state")
        self._store.append(events)
        if self._advisor.settings.notify:
            self._advisor.notify(self.name)
        if self._advisor.settings.on_finding or self._advisor.settings.on_finish:
            self._advisor.write_due(self.name)

    def _refuse_typos(self, record: ExperimentRecord, params: Mapping[str, Any]) -> None:
        """Where no space is declared, refuse a parameter that no run has but that looks like one that runs have."""
        if record.space:
            return
        known = {name for run in self._store.state().runs_of(self.name) for name in run.params}
        cases = {name.casefold() for name in known}
        for name in params:
            if name in known:
                continue
            if name.casefold() in cases or get_close_matches(name, known, n=1, cutoff=0.75):
                raise SpaceError(
                    f"no run of {self.name!r} has a parameter {name!r}; {did_you_mean(name, known)} "
                    "A new one is accepted once a search space is declared."
                )

    def acknowledge(self, finding_id: str) -> None:
        """Mark a finding as seen by a person; it stays until the trouble is gone.

        Raises
        ------
        RecordError
            If no run of this experiment has such a finding.
        """
        for finding in self.findings(include_resolved=True):
            if finding.id == finding_id:
                body: dict[str, Any] = {"finding_id": finding.id, "state": str(FindingState.ACKNOWLEDGED)}
                self._store.append([Event.new("finding.state", self.name, finding.run_id, actor="person", **body)])
                return
        raise RecordError(f"experiment {self.name!r} has no finding {finding_id!r}; 'advisor check' lists them")

    def verdict(self, finding_id: str, verdict: Verdict, note: str | None = None) -> Finding:
        """Say whether a finding was right; the latest word counts, and the ledger accounts for all of them.

        Parameters
        ----------
        finding_id
            Its id, the beginning of its id, or ``RUN:CODE`` such as ``digits#3:ADV103``.
        verdict
            ``ok``: the run was sound, a false alarm; the finding is resolved and no check opens it again.
            ``real``: there was trouble; the finding stays open until the trouble is gone.
        note
            Why, for the history.

        Raises
        ------
        RecordError
            If there is no such finding in this experiment, or no such verdict.
        RunNotFoundError
            If there is no such run.
        """
        from advisor import silencing

        finding = find_finding(self._store, finding_id, within=self.name)
        silencing.judge(self._store, [finding], verdict, note=note or "", now=self._advisor.clock())
        return next(f for f in self._store.run(finding.run_id).findings if f.id == finding.id)

    def note(self, run: Run | str | int, text: str) -> Run:
        """Add a note to a run, whatever became of it; it is searched later. Return the run as it is then.

        Parameters
        ----------
        run
            A run of this experiment, its id, the beginning of its id, or its number.

        Raises
        ------
        ConfigError
            If the note is empty.
        RunNotFoundError
            If there is no such run.
        """
        from advisor import notes

        return notes.note(self._store, self._meant(run), text, now=self._advisor.clock())

    def tag(self, run: Run | str | int, *tags: str) -> Run:
        """Add tags to a run, whatever became of it; those that it has stay. ``run`` and errors as for ``note``."""
        from advisor import notes

        return notes.tag(self._store, self._meant(run), tags, now=self._advisor.clock())

    def untag(self, run: Run | str | int, *tags: str) -> Run:
        """Take tags off a run, those that it does not have included. ``run`` and errors as for ``note``."""
        from advisor import notes

        return notes.untag(self._store, self._meant(run), tags, now=self._advisor.clock())

    def _meant(self, run: Run | str | int) -> Run:
        return self.run(run.id if isinstance(run, Run) else run)

    def to_pandas(self) -> pd.DataFrame:
        """Return one row a run: id, number, state, objective, then ``params.…`` and ``metrics.…``.

        Raises
        ------
        MissingExtraError
            If pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError as error:
            from advisor.errors import MissingExtraError

            raise MissingExtraError.of("a data frame", "pandas") from error
        rows = []
        for run in self.runs():
            row = {"run_id": run.id, "number": run.number, "state": str(run.state), "objective": run.objective}
            row |= {"seed": run.seed, "started": run.started, "duration_s": run.duration_s}
            row |= {f"params.{name}": value for name, value in run.params.items()}
            row |= {f"metrics.{name}": value for name, value in run.metrics.items()}
            rows.append(row)
        return pd.DataFrame(rows)

    # -- asking

    def space(self) -> tuple[Space, tuple[str, ...]]:
        """Return the search space, and notes on how it was inferred where none was declared.

        Raises
        ------
        NotEnoughRunsError
            If none is declared and there is no run to infer it from.
        """
        from advisor.asking import space_of

        return space_of(self.record, self.runs())

    def suggest(
        self,
        n: int = 1,
        *,
        sampler: Any = None,
        seed: int | None = None,
        fixed: Mapping[str, Any] | None = None,
        retry: bool = False,
        transfer: bool = True,
        keep: bool = True,
    ) -> list[Suggestion]:
        """Propose parameters for the next runs, with the reasons.

        Parameters
        ----------
        n
            How many.
        sampler
            An Optuna sampler by name or object; by default a stated rule chooses.
        seed
            By default drawn afresh, so that processes that ask at the same time get different answers;
            it is kept with the suggestion.
        fixed
            Parameters to keep at a value, beside those that the experiment keeps fixed.
        retry
            Whether parameters of runs whose process died are proposed again first.
        transfer
            Whether to learn from the other experiments of the store.
        keep
            Whether to write the suggestions into the store; those not started count as taken for an hour.

        Raises
        ------
        ConfigError
            If the experiment has no objective.
        SpaceError, NotEnoughRunsError
            If there is no space, or all of it has been tried.
        """
        from advisor.asking import Wish, ask
        from advisor.suggest.suggestion import SuggestionList

        wish = Wish(n, sampler=sampler, fixed=fixed, retry=retry, transfer=transfer)
        name = self.record.name
        return SuggestionList(ask(self._store, name, wish, now=self._advisor.clock(), seed=_seed(seed), keep=keep))

    def suggest_again(self, suggestion_id: str) -> tuple[Suggestion, bool]:
        """Make a suggestion again from what the store held when it was made; return it, and whether it is the same.

        Raises
        ------
        RecordError
            If there is none of that id, or its sampler was handed over as an object.
        NothingCalledSoError
            If the id's beginning was given, and several begin so.
        """
        from advisor.asking import again

        return again(self._store, suggestion_id)

    def forecast(
        self, run: Run | LiveRun | str | int, *, at: float | None = None, keep: bool = False
    ) -> Forecast | None:
        """Forecast a run's final objective from the first part of its curve; None where nobody can tell.

        Parameters
        ----------
        at
            Share of the siblings' usual length that may be looked at; by default all there is.
        keep
            Whether to write the forecast into the store, so that it can be held against what the run came to.

        Raises
        ------
        ConfigError
            If ``at`` is no number above 0 and at most 1.
        """
        return self.explain_forecast(run, at=at, keep=keep)[0]

    def explain_forecast(
        self, run: Run | LiveRun | str | int, *, at: float | None = None, keep: bool = False
    ) -> tuple[Forecast | None, str]:
        """Return the forecast, and what it rests on or why there is none; parameters as for ``forecast``."""
        from advisor.suggest import forecast_run
        from advisor.suggest.conditions import number

        if at is not None and not 0 < (number(at) or 0) <= 1:
            raise ConfigError(f"at = {at!r:.60} is no share of the training; give a number above 0 and at most 1")
        one = run if isinstance(run, Run) else self.run(run)
        if at is None and one.state.is_over:
            return None, f"run #{one.number} has ended ({one.state}); ask about its first part: at=0.3, or --at 0.3"
        runs = self.runs()
        metrics = [objective.metric for objective in self.record.objectives]
        curves = self._store.curves([each.id for each in runs], metrics=metrics)
        found, why = forecast_run(self.record, one, curves, [each for each in runs if each.id != one.id], at=at)
        if keep and found is not None:
            body = found.as_json() | {"method": found.method, "at": at, "n_runs": found.n_runs}
            now = self._advisor.clock()
            try:
                self._store.append([Event.new("forecast.made", self.name, one.id, time=now, actor="forecast", **body)])
            except StoreUnavailableError as error:  # an answer that cannot be kept is still an answer
                log.warning("the forecast is not kept: %s", error)
        return found, why

    def importances(
        self, *, method: str = "total-effects", newest: int | None = None
    ) -> tuple[Importances | None, str]:
        """Return which parameters mattered, or None and why that cannot be told.

        Parameters
        ----------
        method
            ``total-effects`` or ``ped-anova``; see ``advisor.suggest.importance``.
        newest
            How many runs to look at, the newest; None: all of them.
        """
        from advisor.asking import space_of
        from advisor.suggest import importances

        record, runs = self.record, self._newest(newest)
        return importances(record, runs, space_of(record, runs)[0], method=method)

    def ledger(self, *, n_tpe_seeds: int = 0) -> Ledger:
        """Account for what was suggested, forecast, advised and found, and what then happened.

        Parameters
        ----------
        n_tpe_seeds
            How often Optuna's TPE is replayed where the space is a grid that was run whole; 40 take seconds.
        """
        from advisor.findings.verdicts import compared
        from advisor.suggest import account_for

        record = self.record
        state, runs = self._store.state(), self.runs()
        own = {run.id for run in runs}
        return account_for(
            record,
            runs,
            suggestions=self._suggested(),
            closed=state.closed_suggestions,
            forecasts=[event for event in state.of_kind("forecast.made") if event.run_id in own],
            stops=[event for event in state.of_kind("stop.advised") if event.run_id in own],
            compared=compared(record, runs),
            space=self._space_or_none(),
            now=self._advisor.clock(),
            n_tpe_seeds=n_tpe_seeds,
        )

    def noise(self, *, newest: int | None = None) -> Noise | None:
        """Return how far runs with equal parameters lie apart; None where there is no objective or no space.

        Parameters
        ----------
        newest
            How many runs to look at, the newest; None: all of them.
        """
        from advisor.asking import space_of
        from advisor.suggest.noise import noise

        record, runs = self.record, self._newest(newest)
        if not record.objectives or not (record.space or runs):
            return None
        return noise(record, runs, space_of(record, runs)[0])

    def stop_advice(self, *, worth: float | None = None, newest: int | None = None) -> SearchAdvice:
        """Advise whether to stop looking for better parameters.

        Parameters
        ----------
        newest
            How many runs to look at, the newest; None: all of them.
        worth
            Gain an hour of training that makes going on worth it, in the objective's unit; None leaves the cost to
            the reader.

        Raises
        ------
        ConfigError
            If ``worth`` is no finite number.
        """
        from advisor.suggest import advise_search
        from advisor.suggest.conditions import number

        if worth is not None and number(worth) is None:
            raise ConfigError(
                f"worth = {worth!r:.60} is no finite number; give the gain an hour of training that makes going on "
                "worth it, in the objective's unit"
            )
        record = self.record
        return advise_search(
            record, self._newest(newest), suggestions=self._suggested(), space=self._space_or_none(), worth=worth
        )

    # -- writing down

    def report(
        self,
        *,
        kind: str = "report",
        format: str = "md",  # the word of the command line
        llm: str | None = None,
        path: str | Path | None = None,
        write: bool = True,
        listener: Listener | None = None,
    ) -> Document:
        """Write a document about the experiment.

        Parameters
        ----------
        kind
            ``report``, ``model-card`` (of what its best run trained) or ``checklist`` (reproducibility).
        format
            ``md``, ``html`` or ``json``.
        llm
            Name of a language model that may write sentences around the facts; by default the setting ``llm``.
        path
            File or folder to write to; by default the folder of the setting ``reports``, where the file is
            named after the experiment.
        write
            Whether to write files, and keep the text in the journal. Pictures of a Markdown report lie beside it.
        listener
            Who is told what the language model does; None tells nobody.

        Raises
        ------
        ConfigError
            If there is no such kind or format.
        NotEnoughRunsError
            If a model card is asked for and no run can be called the best.
        """
        from advisor.documents import EXPERIMENT_KINDS, Origin

        self._check_kind(kind, EXPERIMENT_KINDS)
        run_id = ""
        if kind == "model-card":
            best = self.best()
            if best is None:
                raise NotEnoughRunsError(
                    f"no run of {self.name!r} can be called the best, so there is no model to describe; name one with "
                    "--run, or set an objective"
                )
            run_id = best.id
        return self._write(Origin(kind, experiment=self.record.name, run_id=run_id), format, llm, path, write, listener)

    def summarize(
        self,
        run: Run | str | int,
        *,
        kind: str = "run-summary",
        format: str = "md",
        llm: str | None = None,
        path: str | Path | None = None,
        write: bool = True,
        listener: Listener | None = None,
    ) -> Document:
        """Write a document about one run: ``run-summary`` or ``model-card``; parameters as for ``report``."""
        from advisor.documents import RUN_KINDS, Origin

        self._check_kind(kind, RUN_KINDS)
        one = run if isinstance(run, Run) else self.run(run)
        return self._write(Origin(kind, experiment=self.record.name, run_id=one.id), format, llm, path, write, listener)

    def incident(
        self,
        finding: Finding | str,
        *,
        format: str = "md",
        llm: str | None = None,
        path: str | Path | None = None,
        write: bool = True,
        listener: Listener | None = None,
    ) -> Document:
        """Write an incident note about one finding; parameters as for ``report``.

        Parameters
        ----------
        finding
            A finding, its id, the beginning of its id, or ``RUN:CODE`` such as ``digits#3:ADV103``.
        """
        from advisor.documents import Origin

        one = finding if isinstance(finding, Finding) else find_finding(self._store, finding, within=self.name)
        subject = Origin("incident", experiment=self.record.name, run_id=one.run_id, about={"finding": one.id})
        return self._write(subject, format, llm, path, write, listener)

    def _check_kind(self, kind: str, allowed: Sequence[str]) -> None:
        if kind not in allowed:
            raise ConfigError(f"there is no document of kind {kind!r} here; {did_you_mean(kind, allowed, show=5)}")

    def _write(
        self,
        subject: Origin,
        format: str,
        llm: str | None,
        path: str | Path | None,
        write: bool,
        listener: Listener | None,
    ) -> Document:
        from advisor.reports import write as written

        return written(self._advisor, subject, format=format, llm=llm, path=path, write=write, listener=listener)

    # -- inner workings

    def _newest(self, n: int | None) -> list[Run]:
        """Return the newest runs in the order of their numbers, or all."""
        return self.runs() if n is None else self.runs(descending=True, limit=n)[::-1]

    def _suggested(self) -> list[Mapping[str, Any]]:
        return [body for body in self._store.state().suggestions.values() if body["experiment"] == self.name]

    def _space_or_none(self) -> Space | None:
        """Return the declared space; one that was inferred from runs says nothing of what was left to try."""
        record = self.record
        return Space.from_json(record.space) if record.space else None

    def _collaborators(self, run_id: str, record: ExperimentRecord) -> Collaborators:
        advisor, settings = self._advisor, self._advisor.settings
        if settings.notify:  # what earlier processes could not send is tried again now
            advisor.notify(self.name)

        def watch() -> Watch:
            from advisor.findings import Monitor

            return Monitor(run_id, self.name, advisor.definitions.latest(record).objective, clock=advisor.clock)

        return Collaborators(
            opening=advisor.opening,
            watch=watch,
            notify=partial(advisor.notify, self.name) if settings.notify else None,
            advise=self._advise,
            ended=(lambda: advisor.write_due_soon(self.name)) if settings.on_finish or settings.on_finding else None,
            capture=advisor.capture if settings.capture else None,
            clock=advisor.clock,
            fsync=settings.fsync,
            strict=settings.strict,
        )

    def _advise(self, run_id: str, values: Mapping[int, float]) -> StopAdvice:
        from advisor.suggest import StopAdvice, forecast_run, should_stop
        from storage.records import Curve

        record, state = self.record, self._store.state()
        runs = {run.id: run for run in state.runs_of(self.name)}
        run = runs.get(run_id)
        if run is None:
            return StopAdvice(stop=False, reason=f"the run is no longer in experiment {self.name!r}")
        metric = record.objectives[0].metric
        finished = [each for each in runs.values() if each.state is RunState.FINISHED and each.id != run_id]
        curves = self._finished_curves(metric, [each.id for each in finished])
        own = Curve.of(metric, list(values), list(values.values()))

        def forecast(at: float) -> Forecast | None:
            return forecast_run(record, run, {**curves, run_id: {metric: own}}, finished, at=at)[0]

        others = [found[metric] for found in curves.values() if metric in found]
        return should_stop(record, own, others, forecast=forecast)

    def _finished_curves(self, metric: str, run_ids: Sequence[str]) -> dict[str, Mapping[str, Curve]]:
        """Return one metric's curves of finished runs; those of a finished run are read once, as they stay."""
        known = self._read_curves.setdefault(metric, {})
        new = [run_id for run_id in run_ids if run_id not in known]
        if new:
            known.update(self._store.curves(new, metrics=[metric]))
        return {run_id: known[run_id] for run_id in run_ids if run_id in known}


def _words(words: Sequence[str]) -> list[str]:
    """Return words as a list; a single text is one word, not its letters."""
    return [words] if isinstance(words, str) else [str(word) for word in words]


def _seed(seed: Any) -> int | None:
    try:
        return None if seed is None else operator.index(seed)
    except TypeError:
        raise ConfigError(f"seed {seed!r:.60} is a {type(seed).__name__}; a seed is a whole number") from None

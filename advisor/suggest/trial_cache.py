"""Runs of a store as Optuna trials, made once and made anew only where something changed.

Imports Optuna as it loads; only ``optuna_storage`` loads it. Not safe for threads by itself: its owner holds a lock.

Invariant: what is handed out for a state was made from the records of that state, with the distributions that are
valid in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial

from advisor.suggest.infer import infer_space
from advisor.suggest.space import Space
from advisor.suggest.trials import distribution_of, fits, frozen_trial
from storage.records import Curve, Run

if TYPE_CHECKING:
    from storage.entries import Entry
    from storage.journal import State
    from storage.store import RunStore

Distributions = dict[str, BaseDistribution]


@dataclass(slots=True)
class StudyTrials:
    """The trials of one experiment, as of one place in the journal."""

    mark: tuple[int, bytes]
    """See ``State.mark``."""
    trials: list[FrozenTrial] = field(default_factory=list)
    """In the order of their numbers."""
    places: dict[str, int] = field(default_factory=dict)
    """Where in ``trials`` a run is, by run id."""
    declared: dict[str, tuple[int, BaseDistribution]] = field(default_factory=dict)
    """By parameter: the first run that was asked for it through Optuna, as number, and with what."""
    foreign: bool = False
    """Whether there are runs with parameters that were not asked for through Optuna."""
    fallback_basis: Any = None
    """What ``fallback`` was made from."""
    fallback: Distributions = field(default_factory=dict)
    """Distributions of the parameters of foreign runs, unless some run declares one that fits."""
    followed: set[str] = field(default_factory=set)
    """Tracked runs that go on: their curves grow without an event in the journal."""


class TrialCache:
    """Makes trials of runs, and follows a store's events to know which are no longer right.

    Parameters
    ----------
    store
        Where curves are read, for runs that were tracked rather than reported through Optuna.
    """

    def __init__(self, store: RunStore) -> None:
        self._store = store
        self._studies: dict[int, StudyTrials] = {}
        self._finished: dict[int, FrozenTrial] = {}  # asked for through Optuna and over, by trial id

    def study(self, state: State, exp: int) -> StudyTrials:
        """Return an experiment's trials, current as of a state. They are shared: do not change them."""
        mark = state.mark()  # first: what comes in from here on is looked at again next time
        known = self._studies.get(exp)
        changed = None if known is None else state.changed_since(known.mark)
        if known is None or changed is None:
            return self._anew(state, exp, mark)
        known.mark = mark
        entries = {entry.run.id: entry for entry in state.entries(sorted(changed | known.followed))}
        here = [entry.run for entry in entries.values() if entry.exp == exp and not entry.hidden]
        gone = any(entry.run.id in known.places for entry in entries.values() if entry.exp != exp or entry.hidden)
        if gone or (here and not self._took(known, state, exp, here)):
            return self._anew(state, exp, mark)
        return known

    def one(self, state: State, entry: Entry) -> FrozenTrial:
        """Return one run as a trial."""
        run, exp = entry.run, entry.exp
        if _is_foreign(run):  # it depends on the others
            study = self.study(state, exp)
            return study.trials[study.places[run.id]]
        trial = self._made(StudyTrials(state.mark()), state, exp, [run])[0]
        if run.state.is_over and run.source == "optuna":
            self._finished[trial._trial_id] = trial
        return trial

    def finished(self, trial_id: int) -> FrozenTrial | None:
        """Return a trial that was run through Optuna and is over: nothing about it changes any more."""
        return self._finished.get(trial_id)

    def declared(self, exp: int, name: str) -> tuple[int, BaseDistribution] | None:
        """Return which run was the first with a parameter, and its distribution, as far as has been read."""
        study = self._studies.get(exp)
        return None if study is None else study.declared.get(name)

    def forget(self, exp: int) -> None:
        """Drop what is kept about an experiment that is gone."""
        study = self._studies.pop(exp, None)
        for trial in [] if study is None else study.trials:
            self._finished.pop(trial._trial_id, None)

    # -- inner workings

    def _anew(self, state: State, exp: int, mark: tuple[int, bytes]) -> StudyTrials:
        study = self._studies[exp] = StudyTrials(mark)
        runs = list(state.runs_of(state.book(exp).record.name))
        study.foreign = any(map(_is_foreign, runs))
        if study.foreign:
            study.fallback_basis, study.fallback = self._fallback(state, exp)
        _learn(study, runs)
        self._take(study, runs, self._made(study, state, exp, runs))
        return study

    def _took(self, study: StudyTrials, state: State, exp: int, runs: Sequence[Run]) -> bool:
        """Take runs that are new or have changed; return False where that changes how others are to be read.

        An inferred space does as runs come in, and samplers model a parameter only over trials that agree about its
        distribution.
        """
        n_declared = len(study.declared)
        _learn(study, runs)
        foreign = any(map(_is_foreign, runs))
        if study.foreign or foreign:
            if not study.foreign or len(study.declared) > n_declared:
                return False
            inferred = state.book(exp).record.space is None
            if self._basis(state, exp) != study.fallback_basis or (foreign and inferred):
                study.fallback_basis, fallback = self._fallback(state, exp)
                if fallback != study.fallback:
                    return False
        self._take(study, runs, self._made(study, state, exp, runs))
        return True

    def _take(self, study: StudyTrials, runs: Sequence[Run], trials: Sequence[FrozenTrial]) -> None:
        last = study.trials[-1].number if study.trials else -1
        out_of_order = False
        for run, trial in zip(runs, trials, strict=True):
            place = study.places.get(run.id)
            if place is not None:
                study.trials[place] = trial
            else:
                out_of_order |= trial.number < last
                last = max(last, trial.number)
                study.places[run.id] = len(study.trials)
                study.trials.append(trial)
            if _grows_unseen(run):
                study.followed.add(run.id)
            else:
                study.followed.discard(run.id)
            if run.state.is_over and run.source == "optuna":
                self._finished[trial._trial_id] = trial
        if out_of_order:
            ids = sorted(study.places, key=lambda run_id: study.trials[study.places[run_id]].number)
            study.trials.sort(key=lambda trial: trial.number)
            study.places = {run_id: place for place, run_id in enumerate(ids)}

    def _made(self, study: StudyTrials, state: State, exp: int, runs: Sequence[Run]) -> list[FrozenTrial]:
        objectives = state.book(exp).record.objectives
        curves = self._tracked_curves(state, exp, runs)
        declared = {name: found for name, (_, found) in study.declared.items()}
        return [
            frozen_trial(run, objectives, _distributions(run, declared, study.fallback), curves.get(run.id))
            for run in runs
        ]

    def _tracked_curves(self, state: State, exp: int, runs: Sequence[Run]) -> dict[str, Curve]:
        """Return the first objective's curve of runs that were not reported through Optuna."""
        objective = state.book(exp).record.objective
        ids = [run.id for run in runs if not run.reports and run.source != "optuna"]
        if objective is None or not ids:
            return {}
        curves = self._store.curves(ids, metrics=[objective.metric])
        return {
            run_id: by_metric[objective.metric] for run_id, by_metric in curves.items() if objective.metric in by_metric
        }

    def _basis(self, state: State, exp: int) -> Any:
        book = state.book(exp)
        return book.next_number if book.record.space is None else book.record.space

    def _fallback(self, state: State, exp: int) -> tuple[Any, Distributions]:
        """Return the distributions of an experiment's declared space, or of the one that its runs suggest."""
        record = state.book(exp).record
        space = Space.of(record.space) if record.space else infer_space(list(state.runs_of(record.name))).space
        return self._basis(state, exp), dict(space.to_distributions())


def _learn(study: StudyTrials, runs: Sequence[Run]) -> None:
    """Take up the distributions that runs declare."""
    for run in runs:
        for name, text in run.distributions.items():
            if name not in study.declared or run.number < study.declared[name][0]:
                study.declared[name] = (run.number, distribution_of(text))


def _is_foreign(run: Run) -> bool:
    return len(run.distributions) < len(run.params)


def _grows_unseen(run: Run) -> bool:
    return not run.state.is_over and not run.reports and run.source != "optuna"


def _distributions(run: Run, *sources: Mapping[str, BaseDistribution]) -> Distributions:
    """Return the distribution of each parameter: the run's own, else the first source's that fits its value."""
    out: Distributions = {}
    for name, value in run.params.items():
        text = run.distributions.get(name)
        if text is not None:
            out[name] = distribution_of(text)
            continue
        fitting = [source[name] for source in sources if name in source and fits(source[name], value)]
        if fitting:
            out[name] = fitting[0]
    return out

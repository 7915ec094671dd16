"""Runs of a store as Optuna trials, kept for as long as they stay the same.

Imports Optuna as it loads; only ``optuna_storage`` loads it. Not safe for threads by itself: its owner holds a lock.

Invariant: a cached trial was made from the very record that the store holds now, with the distributions
that are valid now.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from optuna.distributions import BaseDistribution, json_to_distribution
from optuna.trial import FrozenTrial

from advisor.suggest.infer import infer_space
from advisor.suggest.space import Space
from advisor.suggest.trials import fits, frozen_trial
from storage.records import Curve, Run

if TYPE_CHECKING:
    from storage.journal import State
    from storage.store import RunStore


class TrialCache:
    """Makes trials of runs; those of runs that are over are made once.

    Parameters
    ----------
    store
        Where curves are read, for runs that were tracked rather than reported through Optuna.
    """

    def __init__(self, store: RunStore) -> None:
        self._store = store
        self._finished: dict[str, tuple[Run, FrozenTrial]] = {}  # by run id
        self._declared: dict[str, dict[str, BaseDistribution]] = {}  # by experiment and parameter
        self._fallback: dict[str, tuple[Any, dict[str, BaseDistribution]]] = {}  # by experiment: basis, result

    def of(self, runs: Sequence[Run]) -> list[FrozenTrial]:
        """Return runs as trials; those of runs that go on are made afresh for each caller."""
        state = self._store.state()
        foreign = {run.experiment for run in runs if len(run.distributions) < len(run.params)}
        declared = {name: self._declared_of(name, state) for name in foreign}
        fallback = {name: self._fallback_of(name, state) for name in foreign}  # may empty the cache, so first
        missing = [run for run in runs if self._cached(run) is None]
        curves = self._tracked_curves(missing, state)
        fresh: dict[str, FrozenTrial] = {}
        for run in missing:
            found = _distributions(run, declared.get(run.experiment, {}), fallback.get(run.experiment, {}))
            trial = frozen_trial(run, state.experiments[run.experiment].objectives, found, curves.get(run.id))
            fresh[run.id] = trial
            if run.state.is_over:
                self._finished[run.id] = (run, trial)
        return [fresh[run.id] if run.id in fresh else self._finished[run.id][1] for run in runs]

    def declared(self, experiment: str, name: str) -> BaseDistribution | None:
        """Return what the experiment's first run with this parameter was asked with through Optuna."""
        if name not in self._declared.get(experiment, {}):
            self._declared_of(experiment, self._store.state())
        return self._declared[experiment].get(name)

    def forget(self, experiment: str) -> None:
        """Drop what is kept about an experiment that is gone; another may take its name."""
        self._declared.pop(experiment, None)
        self._fallback.pop(experiment, None)
        self._finished = {key: kept for key, kept in self._finished.items() if kept[0].experiment != experiment}

    def _cached(self, run: Run) -> FrozenTrial | None:
        entry = self._finished.get(run.id)
        return entry[1] if entry is not None and entry[0] is run else None

    def _tracked_curves(self, runs: Sequence[Run], state: State) -> dict[str, Curve]:
        """Return the first objective's curve of runs that were not reported through Optuna."""
        wanted: dict[str, list[str]] = {}
        for run in runs:
            objective = state.experiments[run.experiment].objective
            if objective is not None and not run.reports and run.source != "optuna":
                wanted.setdefault(objective.metric, []).append(run.id)
        found: dict[str, Curve] = {}
        for metric, ids in wanted.items():
            curves = self._store.curves(ids, metrics=[metric])
            found |= {run_id: by_metric[metric] for run_id, by_metric in curves.items() if metric in by_metric}
        return found

    def _declared_of(self, experiment: str, state: State) -> dict[str, BaseDistribution]:
        known = self._declared.setdefault(experiment, {})
        for run in list(state.runs_of(experiment)):
            for name, text in run.distributions.items():
                if name not in known:
                    known[name] = json_to_distribution(text)
        return known

    def _fallback_of(self, name: str, state: State) -> dict[str, BaseDistribution]:
        """Return the distributions of an experiment's declared space, or of the one that its runs suggest.

        Where they change (an inferred space does as runs come in), finished trials are made anew: samplers
        model a parameter only over trials that agree about its distribution.
        """
        declared = state.experiments[name].space
        basis: Any = declared if declared is not None else state.book(state.experiments[name].number).next_number
        entry = self._fallback.get(name)
        if entry is not None and entry[0] == basis:
            return entry[1]
        space = Space.of(declared) if declared else infer_space(list(state.runs_of(name))).space
        found = space.to_distributions()
        if entry is not None and entry[1] != found:
            self._finished = {key: kept for key, kept in self._finished.items() if kept[0].experiment != name}
        self._fallback[name] = (basis, found)
        return found


def _distributions(run: Run, *sources: Mapping[str, BaseDistribution]) -> dict[str, BaseDistribution]:
    """Return the distribution of each parameter: the run's own, else the first source's that fits its value."""
    out: dict[str, BaseDistribution] = {}
    for name, value in run.params.items():
        text = run.distributions.get(name)
        if text is not None:
            out[name] = json_to_distribution(text)
            continue
        fitting = [source[name] for source in sources if name in source and fits(source[name], value)]
        if fitting:
            out[name] = fitting[0]
    return out

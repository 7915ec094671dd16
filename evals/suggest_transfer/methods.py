"""The ways to choose the next configuration that are compared: ours, with more or less of a past, and others' ways.

A method is made for one search (a task and a seed) and is then asked, run after run, with all runs so far. All of
ours go through the public ``advisor.suggest.suggest``.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import optuna
from arlbench import ARLBench
from numpy.typing import NDArray
from optuna.trial import TrialState
from problems import BEGIN, Benchmark

from advisor.suggest import Space, suggest
from advisor.suggest.others import Past, find, likeness
from storage.embed import HashingEmbedder
from storage.records import Run

Ask = Callable[[Sequence[Run]], Mapping[str, Any]]

N_PAST = 60
"""Random runs of each past task."""
N_SMALL_PAST = 20
N_FEW_TASKS = 5
N_LEAST = 3
N_NAIVE = 10
"""Runs of each past task that are added to Optuna's study."""


@dataclass(frozen=True)
class Search:
    """What a method is made for."""

    benchmark: Benchmark
    task: str
    seed: int

    @property
    def space(self) -> Space:
        return self.benchmark.space(self.task)

    def pasts(self, n_runs: int = N_PAST) -> list[Past]:
        """Return all other tasks as the past."""
        others = (task for task in self.benchmark.tasks if task != self.task)
        return [self.benchmark.past(task, self.seed, n_runs) for task in others]

    @property
    def drawn(self) -> int:
        """A seed of its own for each task and seed: one unlucky draw must not meet all tasks alike."""
        return int(np.random.SeedSequence([self.seed, self.benchmark.tasks.index(self.task)]).generate_state(1)[0])

    def rng(self) -> np.random.Generator:
        return np.random.default_rng([self.seed, self.benchmark.tasks.index(self.task), 9])


# -- ours


def _ours(search: Search, pasts: Sequence[Past], vectors: Any = None) -> Ask:
    experiment = search.benchmark.experiment(search.task)

    def ask(runs: Sequence[Run]) -> Mapping[str, Any]:
        now = BEGIN + timedelta(minutes=len(runs), seconds=5)
        return suggest(experiment, runs, search.space, seed=search.drawn, now=now, others=pasts, vectors=vectors)[
            0
        ].params

    return ask


def transfer(search: Search) -> Ask:
    return _ours(search, search.pasts())


def cold(search: Search) -> Ask:
    return _ours(search, ())


def transfer_small(search: Search) -> Ask:
    return _ours(search, search.pasts(N_SMALL_PAST))


def whole(search: Search) -> Ask:
    """Ours, told everything that there is to know of the other environments: a bound on what a past can give."""
    bench = search.benchmark
    assert isinstance(bench, ARLBench), "only a table can be told whole"
    return _ours(search, [bench.whole(task) for task in bench.tasks if task != search.task])


def few_tasks(search: Search) -> Ask:
    pasts = search.pasts()
    chosen = search.rng().choice(len(pasts), N_FEW_TASKS, replace=False)
    return _ours(search, [pasts[i] for i in chosen])


def neighbour(search: Search) -> Ask:
    """Ours with the most similar past task alone."""
    pasts = search.pasts()
    alike = likeness(search.benchmark.experiment(search.task), [past.experiment for past in pasts])
    return _ours(search, [pasts[int(np.argmax(alike))]])


def least(search: Search) -> Ask:
    """Ours with the past that misleads most: the least similar tasks of those that can be carried over at all."""
    pasts = search.pasts()
    found = find(search.benchmark.experiment(search.task), search.space, pasts).tasks
    names = {task.name for task in sorted(found, key=lambda task: (task.similarity, task.name))[:N_LEAST]}
    return _ours(search, [past for past in pasts if past.experiment.name in names])


def same_group(search: Search) -> Ask:
    group = search.benchmark.group(search.task)
    pairs = zip((t for t in search.benchmark.tasks if t != search.task), search.pasts(), strict=True)
    return _ours(search, [past for task, past in pairs if search.benchmark.group(task) == group])


def shuffled(search: Search) -> Ask:
    """Ours, where each past task is taken to be as similar as another one is."""
    order = search.rng().permutation(len(search.benchmark.tasks) - 1)
    embedder = HashingEmbedder()

    def vectors(texts: Sequence[str]) -> NDArray[np.float32]:
        found = np.asarray(embedder.embed(list(texts)))
        return np.vstack([found[:1], found[1:][order]])

    return _ours(search, search.pasts(), vectors)


# -- others' ways


def chance(search: Search) -> Ask:
    rng = search.rng()
    return lambda runs: search.space.draw(rng)


def tpe(search: Search) -> Ask:
    return _in_study(search, optuna.samplers.TPESampler(seed=search.drawn))


def gp(search: Search) -> Ask:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return _in_study(search, optuna.samplers.GPSampler(seed=search.drawn))


def _in_study(search: Search, sampler: optuna.samplers.BaseSampler) -> Ask:
    """Return an Optuna study that is told what was run, which need not be what it asked for."""
    study = optuna.create_study(direction="maximize", sampler=sampler)
    distributions = search.space.to_distributions()
    asked: list[optuna.Trial] = []

    def ask(runs: Sequence[Run]) -> Mapping[str, Any]:
        if runs:
            last, trial = runs[-1], asked.pop()
            value = last.values[0]
            if dict(trial.params) == dict(last.params):
                study.tell(trial, value) if np.isfinite(value) else study.tell(trial, state=TrialState.FAIL)
            else:
                study.tell(trial, state=TrialState.FAIL)
                study.add_trial(_trial(distributions, last.params, value))
        asked.append(study.ask())
        return search.space.suggest(asked[-1])

    return ask


def naive(search: Search) -> Ask:
    """What Optuna's users do: trials of other studies are added to the new one, each study's values standardised.

    The new study's values are standardised as well, anew at each turn. Runs outside the space cannot be added.
    """
    distributions = search.space.to_distributions()
    old = []
    for past in search.pasts():
        runs = [run for run in past.runs if search.space.includes(run.params)][:N_NAIVE]
        scores = _standardised([run.values[0] for run in runs])
        old += [
            _trial(distributions, {name: run.params[name] for name in search.space if name in run.params}, score)
            for run, score in zip(runs, scores, strict=True)
        ]

    def ask(runs: Sequence[Run]) -> Mapping[str, Any]:
        seed = int(np.random.SeedSequence([search.drawn, len(runs)]).generate_state(1)[0])
        study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
        study.add_trials(old)
        scores = _standardised([run.values[0] for run in runs])
        study.add_trials([_trial(distributions, run.params, score) for run, score in zip(runs, scores, strict=True)])
        return search.space.suggest(study.ask())

    return ask


def _standardised(values: Sequence[float]) -> list[float]:
    array = np.array(values, dtype=float)
    known = array[np.isfinite(array)]
    if known.size < 2 or known.std() == 0:
        return [0.0 if np.isfinite(value) else np.nan for value in array]
    return [float(value) for value in (array - known.mean()) / known.std()]


def _trial(distributions: Mapping[str, Any], params: Mapping[str, Any], value: float) -> optuna.trial.FrozenTrial:
    came = bool(np.isfinite(value))
    return optuna.trial.create_trial(
        state=TrialState.COMPLETE if came else TrialState.FAIL,
        value=float(value) if came else None,
        params=dict(params),
        distributions={name: distributions[name] for name in params},
    )


METHODS: Mapping[str, Callable[[Search], Ask]] = {
    "transfer": transfer,
    "cold": cold,
    "random": chance,
    "tpe": tpe,
    "gp": gp,
    "naive": naive,
    "neighbour": neighbour,
    "shuffled": shuffled,
    "five": few_tasks,
    "twenty": transfer_small,
    "group": same_group,
    "least": least,
    "whole": whole,
}

SAID = {
    "transfer": "ours, 60 random runs of each other task as the past",
    "cold": "ours, no past",
    "random": "random search",
    "tpe": "Optuna TPESampler, defaults",
    "gp": "Optuna GPSampler, defaults",
    "naive": "TPESampler, 10 standardised trials of each other task added",
    "neighbour": "ours, only the most similar task as the past",
    "shuffled": "ours, similarities of the tasks permuted",
    "five": "ours, five random tasks as the past",
    "twenty": "ours, 20 runs of each other task",
    "group": "ours, only tasks of the same group as the past",
    "least": "ours, only the three least similar tasks as the past",
    "whole": "ours, all configurations of each other task as the past, each the mean of all its seeds",
}

"""Parameters asked for one by one, as a training goes: the space is what the program asks, branch by branch.

Past runs teach a sampler of Optuna's through a study in memory. A parameter is known by its name: values of earlier
runs count wherever they fit the range that is asked for now, whether the runs were asked for in this way, suggested or
started with parameters of their own. Nothing is written; ``Experiment.start`` keeps the ranges with the run.

Invariant: every value lies in the range that was asked for, and a name has one value in one trial.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from advisor.errors import ConfigError, SpaceError
from advisor.suggest.dimensions import Choice, ChoiceValue, Dimension, Float, Int, plain
from advisor.suggest.infer import infer_space
from advisor.suggest.outcome import worse_than_all
from advisor.suggest.problem import Problem
from advisor.suggest.space import Space
from advisor.suggest.space_forms import dimension_of, distribution_of, suggested
from storage.records import Experiment, Run, RunState

if TYPE_CHECKING:
    import optuna
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial


class AskedTrial:
    """The next run's parameters, asked for one by one; made by ``Experiment.ask``.

    Parameters
    ----------
    experiment
        What is to be improved.
    runs
        All runs of the experiment, in any state.
    seed
        Of the random numbers; the same runs, seed and questions give the same values.
    sampler
        Makes a sampler of Optuna's, given ``seed=``; a class of samplers does. By default the tree-structured Parzen
        estimator, which models the parameters of each branch together (``multivariate``, ``group``) and takes runs
        that go on for poor ones (``constant_liar``).

    Raises
    ------
    ConfigError
        If the experiment has no objective.
    """

    def __init__(
        self,
        experiment: Experiment,
        runs: Sequence[Run],
        *,
        seed: int,
        sampler: Callable[..., BaseSampler] | None = None,
    ) -> None:
        if not experiment.objectives:
            raise ConfigError.no_objective(experiment.name)
        self._experiment, self._runs, self._sampler = experiment, runs, sampler or _default_sampler
        self._seed = [abs(seed), len(runs)]
        self._seen = {name for run in runs for name in run.params}
        self._known = _known_dimensions(experiment, runs)
        self._joint: optuna.Trial | None = None
        self._asked: dict[str, Dimension] = {}
        self._params: dict[str, Any] = {}
        self._begun = False

    @property
    def params(self) -> Mapping[str, Any]:
        """What was asked for so far."""
        return dict(self._params)

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """Return a real number between ``low`` and ``high``; see ``Float``.

        Raises
        ------
        SpaceError
            If the range makes no sense, or the name was asked for in another range before.
        ConfigError
            If the run has been started.
        """
        return cast(float, self._suggest(name, Float(low, high, log=log, step=step)))

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        """Return a whole number between ``low`` and ``high``; see ``Int``. Raises as ``suggest_float`` does."""
        return cast(int, self._suggest(name, Int(low, high, log=log, step=step)))

    def suggest_categorical(self, name: str, choices: Sequence[ChoiceValue]) -> ChoiceValue:
        """Return one of ``choices``; see ``Choice``. Raises as ``suggest_float`` does."""
        return cast(ChoiceValue, self._suggest(name, Choice(*choices)))

    def begin(self) -> tuple[Mapping[str, Any], Mapping[str, str]]:
        """Return the parameters, and the range of each as Optuna's JSON, for a run; from then on nothing can be asked.

        Raises
        ------
        ConfigError
            If nothing was asked for, or a run was started with it before.
        """
        from optuna.distributions import distribution_to_json

        self._refuse_begun()
        if not self._params:
            raise ConfigError(
                "nothing was asked of this trial; ask first: trial.suggest_float('lr', 1e-5, 1, log=True)"
            )
        self._begun = True
        ranges = {name: distribution_to_json(distribution_of(each)) for name, each in self._asked.items()}
        return self.params, ranges

    def __repr__(self) -> str:
        return f"<AskedTrial of {self._experiment.name} {self._params!r}>"

    # -- inner workings

    def _suggest(self, name: str, dimension: Dimension) -> Any:
        self._refuse_begun()
        before = self._asked.get(name)
        if before is not None:
            if before != dimension:
                raise SpaceError(
                    f"{name} was asked for in {before.span} and now in {dimension.span}; a run has one value of each "
                    "parameter, so give the second one another name"
                )
            return self._params[name]
        if name in self._seen and self._known.get(name) != dimension:
            # Another range than runs were asked in before: by itself now, with the others from the next run on.
            trial = self._trial({name: dimension})
        else:
            trial = self._joint = self._joint or self._trial(self._known)
        value = suggested(trial, name, dimension)
        self._asked[name], self._params[name] = dimension, value
        return value

    def _refuse_begun(self) -> None:
        if self._begun:
            raise ConfigError("a run was started with this trial; ask for the next one with exp.ask()")

    def _trial(self, known: Mapping[str, Dimension]) -> optuna.Trial:
        """Return a trial of a study in which the runs have these parameters, as far as they fit."""
        import optuna

        from advisor.suggest.samplers import quiet_about_experiments
        from advisor.suggest.study import no_study_announcement

        # The number of questions is part of the seed: two parameters must not get the same draws.
        seed = int(np.random.SeedSequence([*self._seed, len(self._asked)]).generate_state(1)[0])
        with quiet_about_experiments():
            sampler = self._sampler(seed=seed)
        with no_study_announcement():
            study = optuna.create_study(
                directions=[objective.direction for objective in self._experiment.objectives], sampler=sampler
            )
        study.add_trials(_trials(self._experiment, self._runs, known))
        return study.ask()


def _default_sampler(*, seed: int) -> BaseSampler:
    from optuna.samplers import TPESampler

    from advisor.suggest.samplers import N_STARTUP

    return TPESampler(seed=seed, n_startup_trials=N_STARTUP, multivariate=True, group=True, constant_liar=True)


def _known_dimensions(experiment: Experiment, runs: Sequence[Run]) -> dict[str, Dimension]:
    """Return the range of each parameter: what the latest run was asked with, else declared, else inferred."""
    from optuna.distributions import json_to_distribution

    known: dict[str, Dimension] = {}
    if any(set(run.params) - set(run.distributions) for run in runs):
        known |= infer_space(runs).space
    if experiment.space:
        known |= Space.from_json(experiment.space)
    texts = {name: text for run in sorted(runs, key=lambda r: r.number) for name, text in run.distributions.items()}
    for name, text in texts.items():
        try:
            known[name] = dimension_of(name, json_to_distribution(text))
        except SpaceError:  # choices that are no scalars: no program can ask for them here
            known.pop(name, None)
    return {name: dimension.depending_on(()) for name, dimension in known.items()}


def _trials(experiment: Experiment, runs: Sequence[Run], known: Mapping[str, Dimension]) -> list[FrozenTrial]:
    """Return the runs as trials, each with those of its parameters that fit the known ranges."""
    from optuna.trial import TrialState, create_trial

    problem = Problem.of(experiment.problem)
    distributions = {name: distribution_of(dimension) for name, dimension in known.items()}
    good = [run.values for run in runs if run.state.is_over and not experiment.went_wrong(run) and run.values]
    penalties = [
        worse_than_all(objective, [values[k] for values in good if k < len(values)])
        for k, objective in enumerate(experiment.objectives)
    ]
    trials = []
    for run in runs:
        params = {
            name: plain(dimension, run.params[name])
            for name, dimension in known.items()
            if name in run.params and dimension.problem(run.params[name]) is None
        }
        given: dict[str, Any] = {"params": params, "distributions": {name: distributions[name] for name in params}}
        if not run.state.is_over:
            trials.append(create_trial(state=TrialState.RUNNING, **given))
        elif experiment.went_wrong(run):
            trials.append(create_trial(values=penalties, **given))
        elif len(run.values) == len(experiment.objectives):
            if run.state is RunState.PRUNED and len(run.values) == 1:
                at = max(run.reports, default=0)
                given |= {"state": TrialState.PRUNED, "intermediate_values": {at: run.values[0]}}
            if (problem.constraints or run.constraints) and problem.feasible(run) is not None:
                given["constraints"] = problem.violated(run)
            trials.append(create_trial(values=list(run.values), **given))
    return trials

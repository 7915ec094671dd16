"""The advisor's own sampler for any Optuna study: it learns from the trials and from past experiments.

Imports Optuna as it loads; ``advisor.optuna`` loads it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.search_space import IntersectionSearchSpace
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from advisor.errors import ConfigError
from advisor.suggest.dimensions import plain
from advisor.suggest.drawing import elsewhere_of, from_engine
from advisor.suggest.others import Past, find, past_of
from advisor.suggest.outcome import INTERRUPTED
from advisor.suggest.question import Question
from advisor.suggest.space import Space
from storage.records import Experiment, Objective, Run, RunState

if TYPE_CHECKING:
    from storage.store import RunStore

_STATES: Mapping[TrialState, RunState] = {
    TrialState.COMPLETE: RunState.FINISHED,
    TrialState.PRUNED: RunState.PRUNED,
    TrialState.FAIL: RunState.FAILED,
    TrialState.RUNNING: RunState.RUNNING,
    TrialState.WAITING: RunState.WAITING,
}


class TransferSampler(BaseSampler):
    """Optuna sampler that opens with what was good in past experiments and goes on with a Gaussian process.

    Parameters
    ----------
    store
        Where past experiments are: a store, its address, or None for none.
    studies
        Past Optuna studies, beside those of the store: one, or several in a list.
    description
        What the study is about, in plain words; with the study's name it tells which past experiments are alike.
    space
        Search space, where it is known before the first trial. Without it the first trial follows the space of the most
        similar past experiment, parameter by parameter, and later ones the parameters that all trials have.
    seed
        Of the random numbers.

    Raises
    ------
    ConfigError
        If ``studies`` holds something else than studies.

    Notes
    -----
    Studies with several objectives are left to Optuna's ``TPESampler``, as are parameters that not all trials have. A
    failed trial lowers the probability of its neighbourhood. See ``advisor.suggest.engine`` for the method.

    Examples
    --------
    >>> import optuna
    >>> from advisor.optuna import TransferSampler
    >>> study = optuna.create_study(sampler=TransferSampler(seed=1))
    >>> study.optimize(lambda trial: trial.suggest_float("x", -1, 1) ** 2, n_trials=8)
    >>> bool(study.best_value < 0.1)
    True
    """

    def __init__(
        self,
        store: RunStore | str | Path | None = None,
        *,
        studies: Study | Sequence[Study] = (),
        description: str = "",
        space: Mapping[str, Any] | None = None,
        seed: int | None = None,
    ) -> None:
        if isinstance(store, (str, Path)):
            from storage.store import open_store

            store = open_store(store, create=False)
        self._store = store
        self._studies = _checked(studies)
        self._description = description
        self._space = None if space is None else Space.of(space)
        self._seed = int(np.random.SeedSequence(seed).generate_state(1)[0])
        self._independent = TPESampler(seed=seed)
        self._shared = IntersectionSearchSpace()
        self._opening: dict[int, Mapping[str, Any]] = {}

    def reseed_rng(self) -> None:
        """Draw a new seed, for a copy of the sampler in another process."""
        self._seed = int(np.random.SeedSequence().generate_state(1)[0])
        self._independent.reseed_rng()

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return the declared space, or the parameters that all trials have."""
        if len(study.directions) != 1:
            return {}
        if self._space is not None:
            return {} if self._space.is_conditional else self._space.to_distributions()
        return {name: found for name, found in self._shared.calculate(study).items() if not found.single()}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: Mapping[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return the next point of the space that is known."""
        if search_space:
            return dict(self._point(study, trial, Space.of(dict(search_space))) or {})
        if len(study.directions) == 1:
            space = self._space or self._space_of_the_past(study)
            if space is not None:
                self._opening = {trial.number: self._point(study, trial, space) or {}}
        return {}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Return a parameter by itself: of the point that the trial follows where it fits, else from TPE."""
        value = self._opening.get(trial.number, {}).get(param_name)
        if value is not None:
            dimension = Space.of({param_name: param_distribution})[param_name]
            if dimension.problem(value) is None:
                return plain(dimension, value)
        return self._independent.sample_independent(study, trial, param_name, param_distribution)

    # -- inner workings

    def _point(self, study: Study, trial: FrozenTrial, space: Space) -> Mapping[str, Any] | None:
        record = _record(study, self._description)
        trials = [each for each in study.get_trials(deepcopy=False) if each.number != trial.number]
        runs = [_run(each, record) for each in trials if each.params or each.state.is_finished()]
        question, _ = Question.pose(record, runs, space, seed=self._seed)
        past = find(record, question.free, self._past(record))
        found = from_engine(question, elsewhere_of(question.free, past.tasks), (), 1)
        return found[0].params if found else None

    def _past(self, record: Experiment) -> list[Past]:
        found = [] if self._store is None else past_of(self._store.state(), record)
        for study in self._studies:
            other = _record(study, "")
            found.append(Past(other, [_run(trial, other) for trial in study.get_trials(deepcopy=False)]))
        return found

    def _space_of_the_past(self, study: Study) -> Space | None:
        """Return the space of the past experiment that is most alike, before the study has shown its own."""
        from advisor.suggest.infer import infer_space
        from advisor.suggest.others import likeness

        record = _record(study, self._description)
        past = self._past(record)
        alike = likeness(record, [each.experiment for each in past]) if past else []
        for _, each in sorted(zip(alike, past, strict=True), key=lambda pair: -pair[0]):
            space = Space.of(each.experiment.space) if each.experiment.space else infer_space(each.runs).space
            if space:
                return space
        return None


def _checked(studies: Any) -> tuple[Study, ...]:
    """Return past studies, or refuse what is none before the first trial asks for it."""
    found = tuple(studies) if isinstance(studies, Iterable) and not isinstance(studies, str) else (studies,)
    for each in found:
        if not isinstance(each, Study):
            raise ConfigError(
                f"studies holds {each!r:.60}, a {type(each).__name__}; give Optuna studies, for instance "
                "[optuna.load_study(study_name=…, storage=…)]"
            )
    return found


def _record(study: Study, description: str) -> Experiment:
    """Return a study as an experiment."""
    objectives = tuple(
        Objective(f"value_{i}" if i else "value", "maximize" if direction.name == "MAXIMIZE" else "minimize")
        for i, direction in enumerate(study.directions)
    )
    return Experiment(
        study.study_name, number=0, objectives=objectives, description=description, created=datetime.now(UTC)
    )


def _run(trial: FrozenTrial, record: Experiment) -> Run:
    """Return a trial as a run."""
    values = () if trial.values is None else tuple(float(value) for value in trial.values)
    if trial.state is TrialState.PRUNED and not values and trial.intermediate_values:
        values = (float(trial.intermediate_values[max(trial.intermediate_values)]),)
    started = trial.datetime_start or datetime.now()  # noqa: DTZ005  # Optuna's times are local and have no zone
    return Run(
        f"{record.name}/{trial.number}",
        number=trial.number,
        experiment=record.name,
        state=_STATES[trial.state],
        params=dict(trial.params),
        values=values,
        system_attrs=trial.system_attrs,
        tags=(INTERRUPTED,) if trial.user_attrs.get(INTERRUPTED) else (),
        created=started.astimezone(UTC),
        ended=None if trial.datetime_complete is None else trial.datetime_complete.astimezone(UTC),
    )

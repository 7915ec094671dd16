"""Past runs as an Optuna study in memory: built anew for each suggestion, from today's space.

Nothing of Optuna's is kept: change the space and the study changes with it.

Invariant: every trial's parameters lie inside the space that was given, and no value is NaN or infinite.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any

from advisor.errors import ConfigError
from advisor.suggest.outcome import says_nothing, worse_than_all
from advisor.suggest.problem import Problem
from advisor.suggest.remembered import Place, place, remembered
from advisor.suggest.space import Space
from storage.records import Experiment, Run, RunState

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial

_quiet = threading.Lock()


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What of the runs a sampler can learn from, before it is a study."""

    places: tuple[Place, ...]
    """Runs that are over and enter the study, and where they lie in today's space."""
    _: KW_ONLY
    pending: tuple[Mapping[str, Any], ...]
    """Parameters of runs that go on or wait, and of suggestions that nobody has started."""
    n_wrong: int
    """How many of ``used`` failed, crashed or diverged."""
    n_clipped: int
    """How many of ``used`` lay a little outside the space and count as its border."""
    n_outside: int
    """Runs left out: a value far outside the space, or a choice that it no longer has."""
    n_incomplete: int
    """Runs left out: they lack a parameter of the space."""
    n_unmeasured: int
    """Runs left out: over, but without a value for each objective."""

    @property
    def used(self) -> tuple[Run, ...]:
        """Runs that are over and enter the study."""
        return tuple(each.run for each in self.places)

    @property
    def params(self) -> tuple[Mapping[str, Any], ...]:
        """Their parameters, inside today's space."""
        return tuple(each.params or {} for each in self.places)

    def notes(self) -> list[str]:
        """Return in plain words what was not taken as it is."""
        reasons = (
            (self.n_clipped, "lay just outside today's space and counted as its border"),
            (self.n_outside, "lay far outside today's space and taught nothing"),
            (self.n_incomplete, "lacked a parameter of the space and taught nothing"),
            (self.n_unmeasured, "ended without an objective value, by hand or with their sweep, and taught nothing"),
        )
        return [f"{count} run{'' if count == 1 else 's'} {what}" for count, what in reasons if count]


def gather(
    experiment: Experiment, runs: Sequence[Run], space: Space, *, pending: Sequence[Mapping[str, Any]] = ()
) -> Knowledge:
    """Sort the runs into what can be learned from in ``space`` and what cannot.

    A run that lacks a parameter of the space is left out, because it would keep the sampler from
    modelling the others together; where such runs outnumber the complete ones (a parameter was added
    in the middle of an experiment) they are kept with what they have.
    """
    complete: list[Place] = []
    partial: list[Place] = []
    n_outside = n_unmeasured = n_empty = 0
    waiting: list[Mapping[str, Any] | None] = [place(space, params)[0] for params in pending]
    n_values = len(experiment.objectives)
    for placed in remembered(experiment, space).places(experiment, runs):
        run = placed.run
        if not placed.over:
            waiting.append(placed.params)
        elif says_nothing(run) or (not placed.wrong and len(run.values) != n_values):
            n_unmeasured += 1  # what somebody ended says nothing of its parameters either
        elif placed.params is None:
            n_outside += 1
        elif not placed.params:
            n_empty += 1
        else:
            (complete if placed.complete else partial).append(placed)
    kept = complete
    n_incomplete = n_empty + len(partial)
    if len(partial) > len(complete):
        kept = sorted(complete + partial, key=lambda placed: placed.run.number)
        n_incomplete = n_empty
    return Knowledge(
        tuple(kept),
        pending=tuple(params for params in waiting if params),
        n_wrong=sum(placed.wrong for placed in kept),
        n_clipped=sum(placed.clipped for placed in kept),
        n_outside=n_outside,
        n_incomplete=n_incomplete,
        n_unmeasured=n_unmeasured,
    )


def build_study(
    experiment: Experiment,
    knowledge: Knowledge,
    space: Space,
    *,
    sampler: BaseSampler,
    waiting: Sequence[Mapping[str, Any]] = (),
) -> optuna.Study:
    """Return a study in memory that holds what is known, ready to be asked.

    - A finished run is a complete trial.
    - A run that failed, crashed or diverged is a complete trial whose values are a little worse than every
      finite one (``outcome.worse_than_all``): Optuna's samplers overlook failed trials, and would
      propose the same parameters again.
    - A pruned run is a pruned trial with the value it had reached; with several objectives, which Optuna
      does not prune, a complete one.
    - What goes on or waits is a running trial.

    Raises
    ------
    ConfigError
        If the experiment has no objective.
    """
    if not experiment.objectives:
        raise ConfigError.no_objective(experiment.name)
    import optuna
    from optuna.trial import TrialState, create_trial

    distributions = space.to_distributions()
    trials = _finished_trials(experiment, knowledge, distributions)
    trials += [
        create_trial(state=TrialState.RUNNING, params=dict(params), distributions=_of(distributions, params))
        for params in (*knowledge.pending, *waiting)
    ]
    with no_study_announcement():
        study = optuna.create_study(
            directions=[objective.direction for objective in experiment.objectives], sampler=sampler
        )
    study.add_trials(trials)
    return study


def _finished_trials(
    experiment: Experiment, knowledge: Knowledge, distributions: Mapping[str, BaseDistribution]
) -> list[FrozenTrial]:
    from optuna.trial import TrialState, create_trial

    good = [run.values for run in knowledge.used if not experiment.went_wrong(run)]
    penalties = [
        worse_than_all(objective, [values[k] for values in good]) for k, objective in enumerate(experiment.objectives)
    ]
    single = len(experiment.objectives) == 1
    problem = Problem.of(experiment.problem)
    trials = []
    for run, params in zip(knowledge.used, knowledge.params, strict=True):
        wrong = experiment.went_wrong(run)
        pruned = run.state is RunState.PRUNED and single and not wrong
        trials.append(
            create_trial(
                state=TrialState.PRUNED if pruned else TrialState.COMPLETE,
                values=penalties if wrong else list(run.values),
                params=dict(params),
                distributions=_of(distributions, params),
                user_attrs={"run_id": run.id},
                constraints=_violated(problem, run),
                intermediate_values={_last_step(run, experiment): run.values[0]} if pruned else {},
            )
        )
    return trials


def _violated(problem: Problem, run: Run) -> dict[str, float] | None:
    """Return by how much a run breaks each constraint, as Optuna takes it; None where that cannot be told."""
    some = problem.constraints or run.constraints
    return problem.violated(run) if some and problem.feasible(run) is not None else None


def _of(distributions: Mapping[str, BaseDistribution], params: Mapping[str, Any]) -> dict[str, BaseDistribution]:
    return {name: distributions[name] for name in params}


def _last_step(run: Run, experiment: Experiment) -> int:
    """Return how far a pruned run got; Optuna ranks pruned trials by it."""
    figures = run.summary.get(experiment.objectives[0].metric, {})
    return int(figures.get("last_step") or max(run.reports, default=0))


@contextmanager
def no_study_announcement() -> Iterator[None]:
    """Keep Optuna from announcing a study that its user never asked for."""
    logger = logging.getLogger("optuna.storages._in_memory")
    with _quiet:
        before = logger.level
        logger.setLevel(logging.WARNING)
        try:
            yield
        finally:
            logger.setLevel(before)

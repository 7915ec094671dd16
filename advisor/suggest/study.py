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
from typing import TYPE_CHECKING, Any, Final

from advisor.errors import ConfigError
from advisor.suggest.outcome import worse_than_all
from advisor.suggest.problem import Problem
from advisor.suggest.space import Choice, Space, plain
from storage.records import Experiment, Run, RunState

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial

CLIP_MARGIN: Final = 0.1
"""How far outside today's range, as a share of it on its scale, a value may be to count as its border."""

INTERRUPTED: Final = "interrupted"
"""Tag of a run that was ended by hand, with the program that had started it."""

_quiet = threading.Lock()


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What of the runs a sampler can learn from, before it is a study."""

    used: tuple[Run, ...]
    """Runs that are over and enter the study."""
    params: tuple[Mapping[str, Any], ...]
    """Their parameters, inside today's space."""
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

    def notes(self) -> list[str]:
        """Return in plain words what was not taken as it is."""
        reasons = (
            (self.n_clipped, "lay just outside today's space and counted as its border"),
            (self.n_outside, "lay far outside today's space and taught nothing"),
            (self.n_incomplete, "lacked a parameter of the space and taught nothing"),
            (self.n_unmeasured, "ended without an objective value and taught nothing"),
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
    complete: list[tuple[Run, dict[str, Any], bool]] = []
    partial: list[tuple[Run, dict[str, Any], bool]] = []
    n_outside = n_unmeasured = n_empty = 0
    waiting = [dict(params) for params in pending]
    for run in runs:
        if not run.state.is_over:
            waiting.append(dict(run.params))
            continue
        if INTERRUPTED in run.tags:  # somebody ended it; that says nothing of its parameters
            n_unmeasured += 1
            continue
        if not experiment.went_wrong(run) and len(run.values) != len(experiment.objectives):
            n_unmeasured += 1
            continue
        placed = _place(space, run.params)
        if placed is None:
            n_outside += 1
            continue
        params, clipped = placed
        if not params:
            n_empty += 1
        else:
            (partial if space.missing(params) else complete).append((run, params, clipped))
    kept = complete
    n_incomplete = n_empty + len(partial)
    if len(partial) > len(complete):
        kept = sorted(complete + partial, key=lambda item: item[0].number)
        n_incomplete = n_empty
    placed_waiting = [placed[0] for params in waiting if (placed := _place(space, params)) is not None and placed[0]]
    return Knowledge(
        tuple(run for run, _, _ in kept),
        tuple(params for _, params, _ in kept),
        pending=tuple(placed_waiting),
        n_wrong=sum(experiment.went_wrong(run) for run, _, _ in kept),
        n_clipped=sum(clipped for _, _, clipped in kept),
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
        raise ConfigError(
            f"experiment {experiment.name!r} has no objective; set one with "
            f"'advisor experiment {experiment.name} --objective METRIC --direction minimize'"
        )
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
    return problem.violated(run) if problem.constraints and problem.feasible(run) is not None else None


def _of(distributions: Mapping[str, BaseDistribution], params: Mapping[str, Any]) -> dict[str, BaseDistribution]:
    return {name: distributions[name] for name in params}


def _last_step(run: Run, experiment: Experiment) -> int:
    """Return how far a pruned run got; Optuna ranks pruned trials by it."""
    figures = run.summary.get(experiment.objectives[0].metric, {})
    return int(figures.get("last_step") or max(run.reports, default=0))


def _place(space: Space, params: Mapping[str, Any]) -> tuple[dict[str, Any], bool] | None:
    """Return the parameters that the space knows, brought inside it, and whether any had to be moved.

    None where a value is too far outside to stand for the border.
    """
    placed: dict[str, Any] = {}
    clipped = False
    params = space.active(params, fill=True)
    for name, dimension in space.items():
        value = params.get(name)
        if isinstance(dimension, Choice):
            if name not in params:
                continue
            if dimension.index(value) is None:
                return None
            placed[name] = dimension.nearest(value)
            continue
        position = dimension.unit(value)
        if position is None:  # absent, null, NaN or text
            continue
        if not -CLIP_MARGIN <= position <= 1 + CLIP_MARGIN or (dimension.low == dimension.high != value):
            return None
        clipped |= dimension.problem(value) is not None
        placed[name] = plain(dimension, dimension.nearest(value))
    return placed, clipped


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

"""New points of a space: from the engine that learns from other experiments, from Optuna's samplers, or by chance.

Invariant: no point comes out that has been run or suggested.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from advisor.errors import SpaceError
from advisor.suggest.keyed import Keyed
from advisor.suggest.problem import Problem
from advisor.suggest.samplers import saying_what_is_missing
from advisor.suggest.space import Choice, Space
from advisor.suggest.study import Knowledge, build_study
from storage.records import Experiment, RunState

if TYPE_CHECKING:
    import optuna
    from numpy.typing import NDArray

    from advisor.suggest.elsewhere import Elsewhere, Task
    from advisor.suggest.encoding import Encoder
    from advisor.suggest.engine import Own, Proposal
    from advisor.suggest.question import Question
    from advisor.suggest.samplers import Chosen

DIGITS: Final = 7
"""Decimals of a coordinate to which two points are the same."""
MAX_REDRAWS: Final = 20
"""How often a sampler is asked again for a point that was tried before, until chance takes over."""
MAX_RANDOM: Final = 1000
"""Random draws in search of a new point, until a small space is searched point by point."""
MAX_ENUMERATED: Final = 200_000
"""Points of a discrete space that are gone through one by one."""


@dataclass(frozen=True, slots=True)
class Point:
    """Parameters, and where they come from."""

    params: Mapping[str, Any]
    source: str
    """See ``Suggestion.source``."""
    proposal: Proposal | None = None
    """The figures behind it, where it is the engine's."""
    elsewhere: Elsewhere | None = None
    """The past that the engine learned from."""
    about: str | None = None
    """Id of the run that it repeats."""


# -- the engine


def elsewhere_of(space: Space, tasks: Sequence[Task]) -> Elsewhere:
    """Return the model of past experiments over a space; the same ones are modelled once."""
    # ``others`` keeps the arrays of the same runs, so that they are known by their identity.
    key = (repr(space), tuple((task.name, id(task.outcomes), task.relevance) for task in tasks))
    return _elsewhere(Keyed(key, (space, tuple(tasks))))


@functools.lru_cache(maxsize=32)
def _elsewhere(about: Keyed[tuple[Space, tuple[Task, ...]]]) -> Elsewhere:
    from advisor.suggest.elsewhere import Elsewhere
    from advisor.suggest.encoding import Encoder
    from advisor.suggest.threads import one_thread

    space, tasks = about.value
    with one_thread():
        return Elsewhere(Encoder(space), tasks)


def from_engine(question: Question, elsewhere: Elsewhere, waiting: Sequence[Mapping[str, Any]], n: int) -> list[Point]:
    """Return up to ``n`` points of the engine."""
    from advisor.suggest.engine import Setting, propose
    from advisor.suggest.threads import one_thread

    encoder, space, taken = elsewhere.encoder, question.space, question.taken
    own = own_runs(question.experiment, question.problem, question.knowledge, encoder, waiting)
    setting = Setting(encoder, own, elsewhere, log_prior=_log_prior(question.problem, encoder))

    known = set(_rounded(np.vstack([own.points, own.wrong, own.pending])))

    def is_taken(point: NDArray[np.float64]) -> bool:
        return _rounded(point[None, :])[0] in known or bool(taken[space.key(question.complete(encoder.params(point)))])

    with one_thread():
        proposals = propose(setting, taken=is_taken, seed=question.draw_seed, n=n)
    found = []
    for proposal in proposals:
        params = question.complete(encoder.params(proposal.point))
        taken[space.key(params)] += 1
        found.append(Point(params, proposal.source, proposal, elsewhere=elsewhere))
    return found


def _rounded(points: NDArray[np.float64]) -> list[bytes]:
    """Return of coordinates, shape (n, d), what is equal for points that differ by the rounding of decimals only."""
    rounded = np.ascontiguousarray(np.round(np.nan_to_num(points, nan=-1.0), DIGITS) + 0.0)  # no -0.0
    width = rounded.shape[1] * rounded.itemsize
    content = rounded.tobytes()
    return [content[start : start + width] for start in range(0, len(content), width)]


def own_runs(
    experiment: Experiment,
    problem: Problem,
    knowledge: Knowledge,
    encoder: Encoder,
    waiting: Sequence[Mapping[str, Any]] = (),
) -> Own:
    """Return an experiment's runs as arrays; the order is that in which they ended."""
    from advisor.suggest.engine import Own

    sign = 1.0 if experiment.objectives[0].direction == "maximize" else -1.0
    ordered = sorted(knowledge.places, key=lambda each: (each.ended, each.run.number))
    good = [each for each in ordered if not each.wrong]
    bad = [each for each in ordered if each.wrong]
    runs = [each.run for each in good]
    width = len(encoder.names)
    told = sorted({name for run in runs for name in run.constraints})
    violations = np.zeros((0, 0))
    if problem.constraints or told:
        found = [(*problem.violations(run), *(run.constraints.get(name, 0.0) for name in told)) for run in runs]
        violations = np.array(found).reshape(len(runs), len(problem.constraints) + len(told))
    costs = None
    if problem.cost is not None:
        known = [problem.cost_of(run) for run in runs]
        costs = np.array([np.nan if cost is None else cost for cost in known], dtype=np.float64)
    return Own(
        np.array([each.coordinates for each in good]).reshape(-1, width),
        np.array([sign * run.values[0] for run in runs], dtype=np.float64),
        wrong=np.array([each.coordinates for each in bad]).reshape(-1, width),
        pending=encoder.coordinates([*knowledge.pending, *waiting]),
        pruned=np.array([run.state is RunState.PRUNED for run in runs], dtype=bool),
        costs=costs,
        violations=violations,
    )


def _log_prior(problem: Problem, encoder: Encoder) -> Any:
    """Return the logarithm of what the user believes of coordinates, None where nothing was said."""
    found = []
    for name, prior in problem.priors.items():
        if name in encoder.names and not isinstance(dimension := encoder.space[name], Choice):
            center = dimension.unit(prior.center)
            if center is not None:
                found.append((encoder.names.index(name), center, prior.spread))
    if not found:
        return None

    def log_prior(points: NDArray[np.float64]) -> NDArray[np.float64]:
        gaps = [(np.nan_to_num(points[:, j] - center, nan=0.0) / spread) ** 2 for j, center, spread in found]
        return np.asarray(-0.5 * np.sum(gaps, axis=0))

    return log_prior


# -- Optuna's samplers, and chance


def from_optuna(question: Question, chosen: Chosen, waiting: Sequence[Mapping[str, Any]], n: int) -> list[Point]:
    """Return up to ``n`` points of an Optuna sampler, or random ones where it has no new ones."""
    assert chosen.sampler is not None  # its own sampler has the engine
    study = build_study(question.experiment, question.knowledge, question.free, sampler=chosen.sampler, waiting=waiting)
    found: list[Point] = []
    for _ in range(n):
        for params in _asked(study, question.free):
            whole = question.complete(params)
            key = question.space.key(whole)
            if not question.taken[key]:
                question.taken[key] += 1
                found.append(Point(whole, chosen.source if question.free else "fixed"))
                break
        else:
            return found
    return found


def _asked(study: optuna.Study, free: Space) -> Iterator[dict[str, Any]]:
    from optuna.trial import TrialState

    if not free:
        yield {}
        return
    for _ in range(MAX_REDRAWS):
        with saying_what_is_missing(type(study.sampler).__name__):
            trial = study.ask() if free.is_conditional else study.ask(fixed_distributions=free.to_distributions())
            params = free.suggest(trial)
        yield params
        study.tell(trial, state=TrialState.FAIL)  # reached only if it was not new: nobody will run it


def any_new(question: Question, n: int) -> list[Point]:
    """Return ``n`` random points that are new; of a small space, any that is left.

    Raises
    ------
    SpaceError
        If there are not as many.
    """
    rng = np.random.default_rng([question.draw_seed, 1])
    found: list[Point] = []
    for params in _by_chance(question.free, rng):
        whole = question.complete(params)
        key = question.space.key(whole)
        if not question.taken[key]:
            question.taken[key] += 1
            found.append(Point(whole, "random-new" if question.free else "fixed"))
            if len(found) == n:
                return found
    raise _exhausted(question.space, question.fixed)


def _by_chance(free: Space, rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    if not free:
        yield {}
        return
    for _ in range(MAX_RANDOM):
        yield free.draw(rng)
    if free.n_points is not None and free.n_points <= MAX_ENUMERATED:
        points = list(free.points())
        for i in rng.permutation(len(points)):
            yield points[int(i)]


def _exhausted(space: Space, fixed: Mapping[str, Any]) -> SpaceError:
    n_points = space.without(fixed).n_points
    with_fixed = f" with {', '.join(fixed)} fixed" if fixed else ""
    if n_points is None:
        return SpaceError(f"no new point was found{with_fixed} in {MAX_RANDOM} draws; widen the space")
    all_of_it = "the one combination" if n_points == 1 else f"all {n_points} combinations"
    have = "has" if n_points == 1 else "have"
    fewer = "fix fewer parameters, " if fixed else ""
    return SpaceError(
        f"{all_of_it} of the space{with_fixed} {have} been tried or suggested; "
        f"{fewer}widen the space, or start a run with these parameters yourself"
    )

"""The next parameters to try, with the reasons, the runs they stand on, and a forecast.

Wires the parts of this package together: knowledge → points → forecast → sentence. Points come from what the user wants
tried first, from what is to be repeated, from the engine that learns from other experiments too (``engine``), or from a
sampler of Optuna's (``drawing``). Nothing is written; the caller keeps the suggestion in the journal.

Invariant: a suggestion lies in the space and repeats no run, no pending suggestion and no other one of the call, unless
repeats are asked for.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from advisor.errors import ConfigError, SpaceError
from advisor.suggest import drawing
from advisor.suggest.explain import SHORT_ID, Opened, nearest_runs, why
from advisor.suggest.others import Found, Past, find
from advisor.suggest.outcome import says_nothing
from advisor.suggest.question import Question
from advisor.suggest.samplers import Chosen, choose_sampler
from advisor.suggest.space import Space
from advisor.suggest.suggestion import Suggestion, Teacher
from advisor.suggest.surrogate import kept_params_model
from storage.records import Experiment, Run, RunState, new_id

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

    from advisor.suggest.elsewhere import Elsewhere
    from advisor.suggest.others import Vectors

LEAST_TOLD: Final = 0.005
"""Belief in another experiment below which it is not told among those that were learned from."""


def suggest(
    experiment: Experiment,
    runs: Sequence[Run],
    space: Space,
    *,
    seed: int,
    now: datetime,
    n: int = 1,
    sampler: str | BaseSampler | None = None,
    fixed: Mapping[str, Any] | None = None,
    pending: Sequence[Mapping[str, Any]] = (),
    others: Sequence[Past] = (),
    vectors: Vectors | None = None,
    retry: bool = False,
    space_notes: Sequence[str] = (),
    store_version: int | None = None,
) -> list[Suggestion]:
    """Propose the next parameters.

    Parameters
    ----------
    runs
        All runs of the experiment, in any state.
    seed
        Of the random numbers. Processes that ask at the same time should give different ones.
    now
        When the suggestion is made, UTC.
    n
        How many; later ones take the earlier ones into account.
    sampler
        An Optuna sampler by name or as an object; None takes the rule of ``samplers``.
    fixed
        Parameters that are not to be varied, with their values, beside those that the experiment keeps fixed.
    pending
        Parameters of earlier suggestions that nobody has started.
    others
        Other experiments, to learn from.
    vectors
        Encoder that tells how alike questions are; by default hashed n-grams.
    retry
        Whether parameters of runs whose process died are proposed again first.
    space_notes
        Where the space was inferred: how, to be said in the reasons.
    store_version
        Commit up to which all of this was read, to be kept with the suggestion.

    Raises
    ------
    ConfigError
        If the experiment has no objective, ``n`` is not positive, or the sampler cannot be had.
    SpaceError
        If the space is empty, ``fixed`` does not fit it, or every point of it has been tried.
    MissingExtraError
        If the sampler needs a package that is not installed.
    """
    _check_question(experiment, space, n)
    question, notes = Question.pose(experiment, runs, space, seed=seed, fixed=fixed, pending=pending)
    choose = functools.partial(_choose, sampler=sampler, others=others, vectors=vectors)
    points = list(_wanted(question, retry=retry))[:n]
    points += _completed(question, points, choose, n - len(points))
    chosen, past, elsewhere = choose(question)
    points += _sampled(question, points, chosen, elsewhere, n - len(points))
    model, forecast_note = kept_params_model(experiment, runs, space)
    said = _Said(chosen, past, elsewhere, model, forecast_note, tuple(space_notes) + notes + past.notes)
    return [
        _suggestion(question, said, point, place=place, now=now, store_version=store_version)
        for place, point in enumerate(points)
    ]


_Choice = tuple[Chosen, Found, "Elsewhere | None"]


@dataclass(frozen=True, slots=True)
class _Said:
    """What all suggestions of a call are explained with."""

    chosen: Chosen
    past: Found
    elsewhere: Elsewhere | None
    model: Any
    forecast_note: str
    notes: tuple[str, ...]


def _check_question(experiment: Experiment, space: Space, n: int) -> None:
    if n < 1:
        raise ConfigError(f"n = {n} suggestions cannot be made; ask for at least 1")
    if not experiment.objectives:
        raise ConfigError.no_objective(experiment.name)
    if not space:
        raise SpaceError(
            f"experiment {experiment.name!r} has no parameter to vary; "
            f"declare a space with 'advisor experiment {experiment.name} --space space.yaml'"
        )


def _wanted(question: Question, *, retry: bool) -> Iterator[drawing.Point]:
    """Yield points that somebody wants: crashed ones again, those to try first, those to repeat."""
    space, taken = question.space, question.taken
    if retry:
        for run in question.runs:
            key = space.key(run.params)
            if run.state is RunState.CRASHED and taken[key] == 1 and space.includes(run.params):
                taken[key] += 1
                params = question.complete({name: run.params[name] for name in space if name in run.params})
                yield drawing.Point(params, "retry", about=run.id)
    for first in question.problem.try_first:
        params = question.complete(first)
        if not space.missing(params) and not taken[space.key(params)]:
            taken[space.key(params)] += 1
            yield drawing.Point(params, "first")
    if question.problem.repeats > 1:
        again = Counter(
            space.key(run.params)
            for run in question.runs
            if says_nothing(run) or (retry and run.state is RunState.CRASHED)
        )
        for run in question.runs:
            key = space.key(run.params)
            if run.state is RunState.FINISHED and space.includes(run.params):
                for _ in range(question.problem.repeats - taken[key] + again[key]):
                    taken[key] += 1
                    yield drawing.Point(question.complete(space.active(run.params)), "repeat", about=run.id)


def _choose(
    question: Question, *, sampler: str | BaseSampler | None, others: Sequence[Past], vectors: Vectors | None
) -> _Choice:
    """Return the sampler, and the past where it learns from other experiments."""
    experiment, knowledge = question.experiment, question.knowledge
    chosen = choose_sampler(
        question.free,
        len(knowledge.places),
        seed=question.draw_seed,
        name_or_object=sampler,
        n_objectives=len(experiment.objectives),
    )
    if not chosen.is_own or not question.free:
        return chosen, Found((), notes=()), None
    past = find(experiment, question.free, others, renamed=question.problem.renamed, vectors=vectors)
    return chosen, past, drawing.elsewhere_of(question.free, past.tasks)


def _sampled(
    question: Question, points: Sequence[drawing.Point], chosen: Chosen, elsewhere: Elsewhere | None, n: int
) -> list[drawing.Point]:
    """Return ``n`` new points from the sampler, by chance where it has none left."""
    if n <= 0:
        return []
    waiting = [{name: point.params[name] for name in question.free if name in point.params} for point in points]
    found: list[drawing.Point] = []
    if elsewhere is not None:
        found += drawing.from_engine(question, elsewhere, waiting, n)
    elif not chosen.is_own:
        found += drawing.from_optuna(question, chosen, waiting, n)
    if len(found) < n:
        found += drawing.any_new(question, n - len(found))
    return found


def _completed(
    question: Question, points: Sequence[drawing.Point], choose: Callable[[Question], _Choice], n: int
) -> list[drawing.Point]:
    """Return up to ``n`` points to try first of which only a part was said, with the rest from the sampler."""
    found: list[drawing.Point] = []
    for partial in question.problem.try_first:
        if len(found) >= n or not question.space.missing(question.complete(partial)) or _was_tried(question, partial):
            continue
        rest = question.with_fixed(partial, pending=[point.params for point in (*points, *found)])
        chosen, _, elsewhere = choose(rest)
        try:
            (point,) = _sampled(rest, (), chosen, elsewhere, 1)
        except SpaceError:  # all of its completions have been tried
            continue
        question.taken[question.space.key(point.params)] += 1
        found.append(replace(point, source="first"))
    return found


def _was_tried(question: Question, partial: Mapping[str, Any]) -> bool:
    tried = (*(run.params for run in question.runs), *question.pending)
    return any(all(params.get(name) == value for name, value in partial.items()) for params in tried)


def _suggestion(
    question: Question, said: _Said, point: drawing.Point, *, place: int, now: datetime, store_version: int | None
) -> Suggestion:
    """Return a point with its forecast, its neighbours and the reasons in words."""
    knowledge, chosen, proposal = question.knowledge, said.chosen, point.proposal
    forecast = None if said.model is None else said.model.forecast(point.params)
    nearest = nearest_runs(question, point.params)
    teachers = _teachers(point.elsewhere, proposal)
    opening = None if proposal is None else proposal.opening
    own = tuple(run.id for run in knowledge.used)
    opened = () if opening is None else (opening.run_id,)
    made = Suggestion(
        new_id(),
        experiment=question.experiment.name,
        params=point.params,
        why="",
        source=point.source,
        sampler=chosen.name,
        seed=question.seed,
        learned_from=own + opened,
        teachers=teachers,
        slope=None if proposal is None else proposal.slope,
        forecast=forecast,
        forecast_note=said.forecast_note,
        expected_improvement=None if said.model is None else said.model.improvement_on_best(point.params),
        p_ok=None if proposal is None else proposal.p_ok,
        p_feasible=None if proposal is None else proposal.p_feasible,
        effects={} if said.model is None else said.model.effects(point.params),
        nearest=nearest,
        created=now,
        place=place,
        store_version=store_version,
    )
    return why(question, made, chosen, about=point.about, opened=_opened(point), notes=said.notes)


def _opened(point: drawing.Point) -> Opened | None:
    """Return what people call the run elsewhere that a point was taken from, and what it did not have."""
    opening = None if point.proposal is None else point.proposal.opening
    if opening is None or point.elsewhere is None:
        return None
    task = point.elsewhere.tasks[opening.task].name
    short = opening.run_id[:SHORT_ID]
    return Opened(f"{task}#{opening.number}" if opening.number is not None else f"{task}, run {short}", opening.drawn)


def _teachers(elsewhere: Elsewhere | None, proposal: Any) -> tuple[Teacher, ...]:
    """Return the experiments that a proposal believed, the most believed first."""
    if elsewhere is None or proposal is None or not len(proposal.weights):
        return ()
    found = [
        Teacher(
            task.name,
            n_runs=len(task.outcomes),
            similarity=task.similarity,
            overlap=task.overlap,
            weight=float(weight),
        )
        for task, weight in zip(elsewhere.tasks, proposal.weights, strict=True)
        if weight >= LEAST_TOLD
    ]
    return tuple(sorted(found, key=lambda teacher: -teacher.weight))

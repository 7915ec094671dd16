"""The next parameters to try, with the reasons, the runs they stand on, and a forecast.

Wires the parts of this package together: knowledge → study → sampler → forecast → sentence.
Nothing is written; the caller keeps the suggestion in the journal.

Invariant: a suggestion lies in the space and repeats no run, no pending suggestion and no other one of the call.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from advisor.errors import ConfigError, SpaceError
from advisor.suggest.explain import Neighbour, nearest_runs, why
from advisor.suggest.forecast import Forecast
from advisor.suggest.samplers import Chosen, choose_sampler
from advisor.suggest.space import Int, Space, plain
from advisor.suggest.study import Knowledge, build_study, gather
from advisor.suggest.surrogate import ParamsModel, fit_params_model
from storage.records import Experiment, Run, new_id

if TYPE_CHECKING:
    import optuna
    from optuna.samplers import BaseSampler

MAX_REDRAWS: Final = 20
"""How often the sampler is asked again for a point that was tried before, until chance takes over."""
MAX_RANDOM: Final = 1000
"""Random draws in search of a new point, until a small space is searched point by point."""
MAX_ENUMERATED: Final = 200_000
"""Points of a discrete space that are gone through one by one."""


@dataclass(frozen=True, slots=True)
class Suggestion:
    """Parameters proposed for the next run."""

    id: str
    _: KW_ONLY
    experiment: str
    params: Mapping[str, Any]
    """Plain Python values inside the space."""
    why: str
    """The reasons in plain words, figures included."""
    source: str
    """Where the parameters come from: ``random-startup``, ``tpe``, another sampler's short name,
    ``random-new`` where the sampler had no new point left, ``fixed`` where all were given."""
    sampler: str
    """Class name of the sampler."""
    seed: int
    """Seed of the call; the same runs and seed give the same parameters."""
    learned_from: tuple[str, ...]
    """Ids of all runs that the sampler saw."""
    forecast: Forecast | None
    """What to expect if the run finishes; None where the runs cannot tell."""
    forecast_note: str
    """What the forecast rests on, or why there is none."""
    nearest: tuple[Neighbour, ...]
    """The closest of the runs that were learned from, closest first."""
    created: datetime

    def as_json(self) -> dict[str, Any]:
        """Return the public JSON form."""
        forecast = self.forecast
        return {
            "suggestion_id": self.id,
            "params": dict(self.params),
            "why": self.why,
            "source": self.source,
            "learned_from": list(self.learned_from),
            "forecast": None
            if forecast is None
            else {"mean": forecast.mean, "low": forecast.low, "high": forecast.high},
        }


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
    space_notes: Sequence[str] = (),
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
        Parameters that are not to be varied, with their values.
    pending
        Parameters of earlier suggestions that nobody has started.
    space_notes
        Where the space was inferred: how, to be said in the reasons.

    Raises
    ------
    ConfigError
        If the experiment has no objective, ``n`` is not positive, or the sampler cannot be had.
    SpaceError
        If the space is empty, ``fixed`` does not fit it, or every point of it has been tried.
    MissingExtraError
        If the sampler needs a package that is not installed.
    """
    fixed = dict(fixed or {})
    _check_question(experiment, space, fixed, n)
    knowledge = gather(experiment, runs, space.without(fixed), pending=pending)
    question = _Question(experiment, space, fixed, knowledge, seed=seed, now=now, space_notes=space_notes)
    taken = {_key(space, params) for params in (*(run.params for run in runs), *pending)}
    # A caller that gives one seed for a whole loop must not get the same draws at each turn.
    draw_seed = int(np.random.SeedSequence([abs(seed), len(runs), len(pending)]).generate_state(1)[0])
    chosen = _choose(question, sampler, seed=draw_seed)
    drawn = _draw(question, taken, chosen=chosen, n=n, seed=draw_seed)
    model, note = fit_params_model(experiment, runs, space, seed=seed)
    return [_suggestion(question, chosen, params, source, model=model, note=note) for params, source in drawn]


@dataclass(frozen=True, slots=True)
class _Question:
    """What one call asks about, and what is known."""

    experiment: Experiment
    space: Space
    fixed: Mapping[str, Any]
    knowledge: Knowledge
    _: KW_ONLY
    seed: int
    now: datetime
    space_notes: Sequence[str]

    @property
    def free(self) -> Space:
        """The part of the space that is to be varied."""
        return self.space.without(self.fixed)


def _check_question(experiment: Experiment, space: Space, fixed: Mapping[str, Any], n: int) -> None:
    if n < 1:
        raise ConfigError(f"n = {n} suggestions cannot be made; ask for at least 1")
    if not space:
        raise SpaceError(
            f"experiment {experiment.name!r} has no parameter to vary; "
            f"declare a space with 'advisor experiment {experiment.name} --space space.yaml'"
        )
    space.check(fixed, partial=True)


def _choose(question: _Question, sampler: str | BaseSampler | None, *, seed: int) -> Chosen:
    n_objectives = len(question.experiment.objectives)
    n_used = len(question.knowledge.used)
    return choose_sampler(question.free, n_used, seed=seed, name_or_object=sampler, n_objectives=n_objectives)


def _suggestion(
    question: _Question, chosen: Chosen, params: Mapping[str, Any], source: str, *, model: ParamsModel | None, note: str
) -> Suggestion:
    """Return a drawn point with its forecast, its neighbours and the reasons in words."""
    forecast = None if model is None else model.forecast(params)
    nearest = nearest_runs(question.space, question.knowledge.used, params)
    return Suggestion(
        new_id(),
        experiment=question.experiment.name,
        params=params,
        why=why(
            question.experiment,
            question.knowledge,
            chosen,
            nearest,
            forecast,
            note,
            fixed=question.fixed,
            source=source,
            space_notes=question.space_notes,
        ),
        source=source,
        sampler=chosen.name,
        seed=question.seed,
        learned_from=tuple(run.id for run in question.knowledge.used),
        forecast=forecast,
        forecast_note=note,
        nearest=nearest,
        created=question.now,
    )


def _draw(
    question: _Question, taken: set[str], *, chosen: Chosen, n: int, seed: int
) -> list[tuple[dict[str, Any], str]]:
    """Return ``n`` points that are not taken, each with where it came from."""
    space, fixed = question.space, question.fixed
    study = build_study(question.experiment, question.knowledge, question.free, sampler=chosen.sampler)
    out: list[tuple[dict[str, Any], str]] = []
    rng = np.random.default_rng([seed, 1])
    for _ in range(n):
        for values, source in _candidates(study, question.free, rng, chosen=chosen):
            params = {name: values[name] if name in values else fixed[name] for name in space}
            if _key(space, params) not in taken:
                taken.add(_key(space, params))
                out.append((params, source))
                break
        else:
            raise _exhausted(space, fixed)
    return out


def _candidates(
    study: optuna.Study, free: Space, rng: np.random.Generator, *, chosen: Chosen
) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield points to try: the sampler's, then random ones, then, of a small space, every one."""
    from optuna.trial import TrialState

    if not free:
        yield {}, "fixed"
        return
    distributions = free.to_distributions()
    for _ in range(MAX_REDRAWS):
        trial = study.ask(fixed_distributions=distributions)
        yield {name: plain(dimension, trial.params[name]) for name, dimension in free.items()}, chosen.source
        study.tell(trial, state=TrialState.FAIL)  # reached only if it was not new: nobody will run it
    for _ in range(MAX_RANDOM):
        yield {name: dimension.at(float(rng.random())) for name, dimension in free.items()}, "random-new"
    if free.n_points is not None and free.n_points <= MAX_ENUMERATED:
        for point in rng.permutation(free.n_points):
            yield _point(free, int(point)), "random-new"


def _point(space: Space, number: int) -> dict[str, Any]:
    """Return one point of a discrete space by its number, in mixed-radix notation."""
    params: dict[str, Any] = {}
    for name, dimension in space.items():
        count = dimension.n_values
        assert count is not None  # only called for discrete spaces
        number, digit = divmod(number, count)
        if isinstance(dimension, Int):
            params[name] = dimension.low + digit * dimension.step
        else:
            params[name] = dimension.at((digit + 0.5) / count)
    return params


def _key(space: Space, params: Mapping[str, Any]) -> str:
    """Return what makes two points the same: equal values of all parameters of the space."""
    values = {}
    for name, dimension in space.items():
        value = params.get(name)
        values[name] = plain(dimension, value) if dimension.problem(value) is None else repr(value)
    return json.dumps(values)


def _exhausted(space: Space, fixed: Mapping[str, Any]) -> SpaceError:
    n_points = space.without(fixed).n_points
    with_fixed = f" with {', '.join(fixed)} fixed" if fixed else ""
    if n_points is None:
        return SpaceError(f"no new point was found{with_fixed} in {MAX_RANDOM} draws; widen the space")
    return SpaceError(
        f"all {n_points} combinations of the space{with_fixed} have been tried or suggested; "
        "widen the space, or start a run with these parameters yourself"
    )

"""What one call for suggestions asks about and what is known: an experiment, its runs in today's space, what is fixed.

Invariant: ``free`` is what of the space is left once everything fixed is fixed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Self

import numpy as np

from advisor.errors import SpaceError
from advisor.suggest.problem import Problem, checked_fixed
from advisor.suggest.remembered import remembered
from advisor.suggest.space import Space
from advisor.suggest.study import Knowledge, gather
from storage.records import Experiment, Run


@dataclass(frozen=True, slots=True)
class Question:
    """What one call asks about, and what is known."""

    experiment: Experiment
    runs: Sequence[Run]
    space: Space
    _: KW_ONLY
    problem: Problem
    fixed: Mapping[str, Any]
    free: Space
    """The part of the space that is to be varied."""
    knowledge: Knowledge
    pending: Sequence[Mapping[str, Any]]
    seed: int
    """Of the call."""
    draw_seed: int
    """Of its random numbers."""
    taken: Counter[str] = field(default_factory=Counter)
    """How often each point was run or suggested, by ``Space.key``."""

    def __post_init__(self) -> None:
        known = remembered(self.experiment, self.space)
        self.taken.update([place.key for place in known.places(self.experiment, self.runs)])
        self.taken.update(self.space.key(params) for params in self.pending)

    @classmethod
    def pose(
        cls,
        experiment: Experiment,
        runs: Sequence[Run],
        space: Space,
        *,
        seed: int,
        fixed: Mapping[str, Any] | None = None,
        pending: Sequence[Mapping[str, Any]] = (),
    ) -> tuple[Self, tuple[str, ...]]:
        """Return the question, and sentences on what of the problem does not fit the space any more.

        What is fixed here comes before what the experiment keeps fixed, of which only that counts which has a meaning
        beside it.

        Raises
        ------
        ConfigError, SpaceError
            If what is fixed is no parameters with values, or does not fit the space.
        """
        problem, notes = Problem.of(experiment.problem).fitting(space)
        fixed = _together(space, problem.fixed, checked_fixed(fixed, space))
        problem, waiting = problem.waiting_for(fixed)
        free = space.without(fixed)
        question = cls(
            experiment,
            runs,
            space,
            problem=problem,
            fixed=fixed,
            free=free,
            knowledge=gather(experiment, runs, free, pending=pending),
            pending=pending,
            seed=seed,
            # A caller that gives one seed for a whole loop must not get the same draws at each turn.
            draw_seed=int(np.random.SeedSequence([abs(seed), len(runs), len(pending)]).generate_state(1)[0]),
        )
        return question, notes + waiting

    def with_fixed(self, params: Mapping[str, Any], *, pending: Sequence[Mapping[str, Any]]) -> Question:
        """Return the same question with more parameters fixed, and more points that wait."""
        fixed, waiting = self.space.active({**self.fixed, **params}), [*self.pending, *pending]
        posed, _ = Question.pose(self.experiment, self.runs, self.space, seed=self.seed, fixed=fixed, pending=waiting)
        return posed

    def complete(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return parameters of the free space together with what is fixed."""
        return self.space.complete(params, self.fixed)


def _together(space: Space, kept: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is kept fixed with what was given on top, without what has no meaning beside that.

    Raises
    ------
    SpaceError
        If something that was given has no meaning with what is kept fixed.
    """
    both = {**kept, **given}
    fixed = space.active(both)
    for name in given:
        if name not in fixed:
            try:
                space.check(both, partial=True)
            except SpaceError as error:
                raise SpaceError(f"fixed: {error} (the experiment keeps {', '.join(kept)} fixed)") from error
    return fixed

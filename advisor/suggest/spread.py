"""Startup draws: random points that keep away from the runs there are.

Imports Optuna as it loads; only ``samplers`` loads it, and only when a sampler is needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from optuna.samplers import BaseSampler
from optuna.trial import TrialState

from advisor.suggest.geometry import N_LONELY, coordinates, loneliness
from advisor.suggest.space import Space, plain

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.study import Study
    from optuna.trial import FrozenTrial


class SpreadSampler(BaseSampler):
    """Best-candidate sampling: of 16 random points, the one farthest from all runs so far.

    It spreads better than independent draws, needs no memory of its own, counts runs that another tool or
    another process chose, and differs from process to process through its seed. Distances wrap around, so
    borders have no pull (D. P. Mitchell, "Spectrally optimal sampling for distribution ray tracing", 1991).

    Parameters
    ----------
    space
        What to draw from.
    seed
        Of the random numbers.
    """

    def __init__(self, space: Space, *, seed: int) -> None:
        self._space = space
        self._rng = np.random.default_rng(seed)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return the whole space: all parameters are drawn together."""
        return self._space.to_distributions()

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: Mapping[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return the parameters of one startup draw."""
        others = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING))
        known = coordinates(self._space, [other.params for other in others if other.params])
        rows = [self._space.draw(self._rng) for _ in range(N_LONELY if len(known) else 1)]
        return rows[int(np.argmax(loneliness(self._space, known, coordinates(self._space, rows))))]

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Return a plain random value."""
        dimension = Space.of({param_name: param_distribution})[param_name]
        return plain(dimension, dimension.at(float(self._rng.random())))

"""How likely a run is to come through: neither crash, nor fail, nor diverge.

A smoothed share of the runs nearby that did, as in a Beta-Bernoulli model whose counts are weighted by a kernel
(R. Goetschalckx et al., "Continuous correlated beta processes", IJCAI 2011): one crash lowers its neighbourhood to
about a half, five to a sixth, and far away nothing changes. Only the runs of the experiment itself count; what went
wrong elsewhere ranks last there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from advisor.suggest.kernel import LENGTH, Kernel

Array = NDArray[np.float64]

PRIOR_RUNS: Final = 1.0
"""Runs that the prior counts as."""
PRIOR_SHARE: Final = 0.95
"""Share of runs that come through where nothing is known."""
REACH: Final = 0.5
"""How far a crash is felt, as a share of the lengths over which the objective changes: borders are sharp."""


@dataclass(frozen=True, slots=True, eq=False)
class Survival:
    """Runs that are over, and which of them came through."""

    columns: Array
    """Shape (n, D)."""
    came_through: NDArray[np.bool_]
    """Shape (n,)."""
    kernel: Kernel

    def probability(self, columns: Array) -> Array:
        """Return the probability, shape (m,), that runs at points with columns (m, D) come through."""
        if self.came_through.all():
            return np.full(len(columns), PRIOR_SHARE)
        near = Kernel(np.minimum(self.kernel.lengths, LENGTH) * REACH).between(columns, self.columns)
        above = PRIOR_RUNS * PRIOR_SHARE + near @ self.came_through.astype(np.float64)
        return np.asarray(above / (PRIOR_RUNS + near.sum(axis=1)))

"""How likely a run is to come through: neither crash, nor fail, nor diverge.

A Gaussian process on labels (C. E. Rasmussen and C. Williams, "Gaussian Processes for Machine Learning", 2006, 6.5:
least-squares classification): it draws borders between what came through and what did not, where a share of the runs
nearby would blur them. One crash lowers its place to about a third, three to a tenth, and far away nothing changes.
Only the runs of the experiment itself count; what went wrong elsewhere ranks last there.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from advisor.suggest.kernel import LENGTH, Kernel, Posterior
from advisor.suggest.routines import special

Array = NDArray[np.float64]

PRIOR_SHARE: Final = 0.95
"""Share of runs that come through where nothing is known."""
LABEL: Final = 3.0
"""A run that came through counts as this probit, one that did not as its negative."""
SIGNAL: Final = 4.0
"""Variance of the probit over the space."""
ACCIDENT: Final = 2.0
"""Variance of the label of one run: it may have crashed for a reason of its own, a full disk or a colleague."""
REACH: Final = 0.8
"""How far a crash is felt, as a share of the lengths over which the objective changes: borders are sharp."""


class Survival:
    """The chance of coming through, from runs that are over.

    Parameters
    ----------
    columns
        Shape (n, D).
    came_through
        Shape (n,): whether each run did.
    kernel
        Covariance of the objective.
    """

    def __init__(self, columns: Array, came_through: NDArray[np.bool_], kernel: Kernel) -> None:
        self._posterior: Posterior | None = None
        if came_through.all():
            return
        # Far from all runs, averaging over the variance has to leave the prior share.
        self._prior = float(special().ndtri(PRIOR_SHARE)) * float(np.sqrt(1.0 + SIGNAL))
        labels = np.where(came_through, LABEL, -LABEL) - self._prior
        sharp = Kernel(np.minimum(kernel.lengths, LENGTH) * REACH, signal=SIGNAL, noise=ACCIDENT)
        self._posterior = Posterior(sharp, columns, labels)

    def probability(self, columns: Array) -> Array:
        """Return the probability, shape (m,), that runs at points with columns (m, D) come through."""
        if self._posterior is None or not len(columns):
            return np.full(len(columns), PRIOR_SHARE)
        mean, variance = self._posterior.predict(columns)
        return np.asarray(special().ndtr((self._prior + mean) / np.sqrt(1.0 + variance)))

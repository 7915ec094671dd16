"""From scores to promises: p-values among sound runs, and how many false discoveries a set of them allows.

Invariant: a p-value is in (0, 1], never 0: n sound runs cannot promise more than 1 in n + 1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


def conformal(scores: Floats, calibrates: Mask) -> Floats:
    """Return ``(1 + #{others that calibrate >= score}) / (n + 1)`` for each score, shape (m,), itself left out.

    Were a run sound and exchangeable with those that calibrate, this would be at most alpha in a share alpha of the
    cases (V. Vovk et al., "Algorithmic Learning in a Random World", 2005; S. Bates et al., "Testing for outliers with
    conformal p-values", Annals of Statistics 51, 2023).

    Parameters
    ----------
    scores
        Shape (m,), finite: higher is more anomalous; each from a detector that was not fitted to its run.
    calibrates
        Shape (m,): whether a run is one of those, taken for sound, that the others are ranked among.
    """
    levels = np.sort(scores[calibrates])
    at_least = levels.size - np.searchsorted(levels, scores, side="left") - calibrates
    return np.asarray((1.0 + at_least) / (levels.size + 1.0 - calibrates))


def benjamini_hochberg(p_values: Floats, alpha: float) -> Mask:
    """Return which hypotheses are rejected at false discovery rate ``alpha``; NaN never is.

    Source: Y. Benjamini, Y. Hochberg, JRSS B 57 (1995).
    """
    out = np.zeros(p_values.shape, dtype=bool)
    known = np.flatnonzero(np.isfinite(p_values))
    if not known.size:
        return out
    order = known[np.argsort(p_values[known], kind="stable")]
    passes = p_values[order] <= alpha * np.arange(1, order.size + 1) / order.size
    if passes.any():
        out[order[: int(np.flatnonzero(passes)[-1]) + 1]] = True
    return out

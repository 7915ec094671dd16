"""What verdicts on some runs say of the others beside them: a correction of scores, in log odds.

Who has called a kind of deviation a false alarm need not be told of the next one like it, and who has called one real
wants to see the next sooner. Two runs are alike where the same figures deviate the same way, whatever the size. The
score is taken as the log odds of trouble but for a constant; the correction is a Gaussian process over the kinds of
deviation, fitted to the verdicts by Laplace's approximation.

Pure. Leaves out who judged, and which findings count as a verdict on a run's curves (``check``). Invariant: a judged
run's own verdict has no part in its own correction, so that its score may stand beside those of runs that nobody
judged; without verdicts, and far from all of them, nothing is corrected.

Source: C. E. Rasmussen, C. K. I. Williams, "Gaussian Processes for Machine Learning", 2006, section 3.4.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SAY: Final = 3.0
"""How much verdicts are expected to be worth, in log odds: one of a run that deviates in the same way moves a score by
1 to 2, several by 3."""
LENGTH: Final = 0.5
"""Of the likeness of two kinds of deviation, in (1 - cosine): at a cosine of 0.5 it is 0.37."""
OFFSET: Final = 3.0
"""What is not known of the constant between scores and log odds (standard deviation): flagged runs are no sample."""
MAX_VERDICTS: Final = 200
"""The cost grows with the fourth power; verdicts beyond these teach nothing."""
N_STEPS: Final = 30
TOLERANCE: Final = 1e-6


def corrections(odds: Floats, z: Floats, verdicts: Floats) -> Floats:
    """Return what is to be added to each score, shape (n,), log odds.

    Parameters
    ----------
    odds
        Shape (n,): the scores without verdicts, as log odds but for a constant.
    z
        Shape (n, n_features): robust sigmas from what is usual.
    verdicts
        Shape (n,): 1 where somebody said that there was trouble, 0 where that there was none, NaN where nobody did.

    Examples
    --------
    >>> z = np.array([[6.0, 0.0], [7.0, 1.0], [0.0, 6.0], [0.0, 7.0]])
    >>> corrections(np.zeros(4), z, np.array([0.0, np.nan, 1.0, np.nan])).round() + 0.0
    array([ 0., -1.,  0.,  1.])
    """
    judged = np.flatnonzero(~np.isnan(verdicts))[-MAX_VERDICTS:]
    if not judged.size:
        return np.zeros(len(odds))
    like = likeness(z, z[judged])
    out = like @ _pull(like[judged], odds[judged], verdicts[judged])
    for place, row in enumerate(judged):
        others = np.delete(np.arange(judged.size), place)
        kept = judged[others]
        pull = _pull(like[np.ix_(kept, others)], odds[kept], verdicts[kept])
        out[row] = like[row, others] @ pull if kept.size else 0.0
    return np.asarray(SAY**2 * out)


def likeness(one: Floats, other: Floats) -> Floats:
    """Return how alike deviations are in kind, shape (n, m), in (0, 1]; what does not deviate at all is unlike all."""
    lengths = [np.sqrt((each**2).sum(axis=1)) for each in (one, other)]
    units = [each / np.maximum(length, 1e-9)[:, None] for each, length in zip((one, other), lengths, strict=True)]
    near: Floats = np.exp((np.clip(units[0] @ units[1].T, -1.0, 1.0) - 1.0) / LENGTH)
    return near * np.outer(lengths[0] > 0, lengths[1] > 0)


def _pull(like: Floats, odds: Floats, verdicts: Floats) -> Floats:
    """Return each verdict's surprise at the mode of the posterior, shape (m,): what ``SAY``² times likeness weighs."""
    covariance = SAY**2 * like + OFFSET**2
    latent = np.zeros(len(odds))
    surprise = np.zeros(len(odds))
    for _ in range(N_STEPS):
        probability = 1.0 / (1.0 + np.exp(-np.clip(odds + latent, -30.0, 30.0)))
        surprise = verdicts - probability
        root = np.sqrt(np.maximum(probability * (1.0 - probability), 1e-9))
        weighed = root**2 * latent + surprise
        inner = np.eye(len(odds)) + root[:, None] * covariance * root[None, :]
        step = weighed - root * np.linalg.solve(inner, root * (covariance @ weighed))
        new = covariance @ step
        moved = float(np.abs(new - latent).max(initial=0.0))
        latent = new
        if moved < TOLERANCE:
            break
    return surprise

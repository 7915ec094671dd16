"""How unlike its siblings a run is: isolation forests on what hyperparameters leave unexplained, and a learned head.

Sole importer of scikit-learn among the findings. Leaves out rules, the cutting of curves to a common length and the
wording of findings (``check``), and how deviations come about (``context``). Invariant: the forests' own score is
always given, with or without the head; a p-value treats all sound siblings alike.

There is one forest for all figures and one for each channel: a joint forest nearly ignores what shows in one figure
only, such as slow steps. They learn what is usual from the sound siblings, filled up from the shipped reference where
these are few. The head is a small supervised forest, trained on faults that were put into other trainings on purpose.

Source: F. T. Liu, K. M. Ting, Z.-H. Zhou, "Isolation forest", ICDM 2008; conformal p-values after
S. Bates et al., "Testing for outliers with conformal p-values", Annals of Statistics 51 (2023).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from advisor.findings.calibration import conformal
from advisor.findings.context import MIN_REGRESSION, MIN_SIBLINGS, Floats, Mask, beside_reference, deviations
from advisor.findings.features import CHANNEL_OF, CHANNELS, FEATURE_NAMES
from advisor.findings.learned import View
from advisor.findings.medians import median, robust_sigma
from advisor.findings.taught import corrections
from advisor.findings.trees import isolation, isolation_score

N_TREES: Final = 100
"""Of the joint forest; each channel's forest has half as many."""
SAMPLE: Final = 256
"""Rows of a tree at most, as in the paper."""
MIN_ROWS: Final = 256
"""Rows that a forest learns from, as many as a tree takes: the shipped reference fills up what siblings lack."""
USUAL: Final = 0.5
"""What is usual for the forests is defined by runs that improved by at least half of what the better half of their
siblings did: a crowd of runs that hardly learned must not become the norm beside which the others stand out."""
LEARNED: Final = 0.1
"""The head, which knows faults, loses more where runs that are merely slow are forgotten: it leaves out only those that
improved by less than a tenth of that."""
FOREST_WEIGHT: Final = 0.15
"""Of the forests beside the head, in log odds a robust sigma."""
FOREST_LIMIT: Final = 20.0
"""Robust sigmas of the forests beyond which they say nothing more."""
FENCE: Final = 1.5
"""Tukey's fence: scores beyond Q3 + 1.5 (Q3 - Q1) do not calibrate others: faults must not hide each other …"""
LEAST_FENCE: Final = 1.5
"""… but what the head says must lie 1.5 above Q3, in log odds: among runs that are all alike, odds that are not even
five times the usual ones are no outlier."""


@dataclass(frozen=True, slots=True)
class Population:
    """Runs to be compared with each other, row by row."""

    features: Floats
    """Shape (n, n_features), as ``features``; NaN where a figure does not exist."""
    _: KW_ONLY
    params: Sequence[Mapping[str, Any]]
    """Parameters of each run."""
    sound: Mask
    """Shape (n,): no rule found it broken; only these are learned from."""
    verdicts: Floats | None = None
    """Shape (n,): 1 where a person said that there was trouble, 0 where that there was none, NaN where nobody did."""


@dataclass(frozen=True, slots=True)
class Scores:
    """How unusual each run of a population is; higher is more anomalous."""

    score: Floats
    """Shape (n,), in (0, 1): forests and head together, and what verdicts on other runs add; without the head where it
    is off."""
    forest: Floats
    """Shape (n,), in (0, 1): the isolation forests alone."""
    head: Floats | None
    """Shape (n,), in [0, 1]: how much it looks like a harmful fault; None where the head is off."""
    p_value: Floats | None
    """Shape (n,), in (0, 1]: share of sound siblings with at least this score, see ``isolate``; None without them."""
    z: Floats
    """Shape (n, n_features): robust sigmas from what is usual."""
    n_siblings: NDArray[np.int64]
    """Shape (n,): sound siblings that calibrate each run's p-value."""
    regressed: bool
    """Whether the siblings' own hyperparameters could be regressed out."""
    usual: Mask
    """Shape (n,): the runs that define what is usual."""


def isolate(population: Population, view: View, *, head: bool = True, seed: int = 0) -> Scores:
    """Score each run by how far it is from what its siblings and its hyperparameters let expect.

    p-values are conformal ranks, ``(1 + #{siblings with a score >= s}) / (n + 1)``, over the scores of the sound
    siblings, the run itself left out. Runs that define what is usual have all the same part in it. They are
    approximate: scores beyond Tukey's fence calibrate nothing, which makes p-values smaller where a sound run lies
    there that nobody called sound, and unknown faults within the fence make them larger. None is below 1 / (n + 1).

    Where fewer than ``MIN_SIBLINGS`` + 1 siblings are sound, runs are compared with the shipped reference population
    alone, and there are no p-values.
    """
    usual = usual_runs(population, USUAL)
    cold = int(usual.sum()) <= MIN_SIBLINGS
    if cold:
        z = beside_reference(population.features, view.centre, view.wide)
    else:
        z = beside_siblings(population, view, USUAL, seed=seed)
    raw = _forests(z, z[usual & (not cold)], view.reference, seed=seed)
    probability = None
    if head:
        probability = view.head.mean(z if cold else beside_siblings(population, view, LEARNED, seed=seed))
    score = _together(raw, probability)
    said = np.full(len(z), np.nan) if population.verdicts is None else population.verdicts
    if not np.isnan(said).all():
        score = _score(_odds(score) + corrections(_odds(score), z, said))
    if cold:
        nobody = np.zeros(len(z), dtype=np.int64)
        return Scores(score, _squash(raw), probability, None, z, nobody, regressed=False, usual=usual)
    odds = _odds(score)  # as even to both sides as scores get
    low, high = np.percentile(odds[population.sound], [25, 75])
    fence = max(FENCE * (high - low), LEAST_FENCE if head else 0.0)
    calibrates = population.sound & ((said == 0) | (odds <= high + fence))
    n_siblings = int(calibrates.sum()) - calibrates.astype(np.int64)
    regressed = bool(usual.sum() >= MIN_REGRESSION)
    return Scores(
        score, _squash(raw), probability, conformal(score, calibrates), z, n_siblings, regressed=regressed, usual=usual
    )


def beside_siblings(population: Population, view: View, share: float, *, seed: int = 0) -> Floats:
    """Return robust sigmas from what ``usual_runs`` let expect, shape (n, n_features)."""
    usual = usual_runs(population, share)
    return deviations(population.features, population.params, usual, effects=view.effects, seed=seed)


def usual_runs(population: Population, share: float) -> Mask:
    """Return the sound runs whose objective improved by a share of what the better half of them did, shape (n,)."""
    of_all = {name: population.features[:, i] for i, name in enumerate(FEATURE_NAMES)}
    gained = np.where(np.isnan(of_all["validation_drop"]), of_all["loss_drop"], of_all["validation_drop"])
    known = population.sound & ~np.isnan(gained)
    better = np.sort(gained[known])[::-1][: max(5, int(known.sum()) // 2)]
    least = share * float(np.median(better)) if better.size else 0.0
    # Where even the better half gained nothing, gains tell nobody apart.
    return known & (gained > least) if least > 0 else population.sound.copy()


def _forests(z: Floats, siblings: Floats, reference: Floats, *, seed: int) -> Floats:
    """Return the robust sigmas by which the joint forest and the one channel that does so most set runs apart, (n,)."""
    n_lack = max(MIN_ROWS - len(siblings), 0)
    filling = np.random.default_rng(seed).permutation(len(reference))[:n_lack]
    rows = np.concatenate([siblings, reference[filling]])
    joint = _apart(rows, z, n_trees=N_TREES, seed=seed)
    most = np.zeros(len(z))
    channels = np.array(CHANNEL_OF)
    for channel in CHANNELS:
        columns = channels == channel
        if z[:, columns].any():
            alone = _apart(rows[:, columns], z[:, columns], n_trees=N_TREES // 2, seed=seed)
            most = np.maximum(most, alone)
    return joint + most


def _apart(learned: Floats, judged: Floats, *, n_trees: int, seed: int) -> Floats:
    from sklearn.ensemble import IsolationForest

    forest = IsolationForest(n_estimators=n_trees, max_samples=min(SAMPLE, len(learned)), random_state=seed, n_jobs=1)
    trees, path = isolation(forest.fit(learned))
    usual = isolation_score(trees, path, learned)
    return np.asarray((isolation_score(trees, path, judged) - median(usual)) / max(robust_sigma(usual), 1e-3))


def _odds(score: Floats) -> Floats:
    return np.asarray(np.log(score / (1.0 - score)))


def _score(odds: Floats) -> Floats:
    return np.asarray(1.0 / (1.0 + np.exp(-odds)))


def _together(raw: Floats, probability: Floats | None) -> Floats:
    if probability is None:
        return _squash(raw)
    odds = np.log((probability + 0.01) / (1.01 - probability))
    return np.asarray(1.0 / (1.0 + np.exp(-odds - FOREST_WEIGHT * np.clip(raw, -FOREST_LIMIT, FOREST_LIMIT))))


def _squash(raw: Floats) -> Floats:
    """Return sigmas as a score in (0, 1)."""
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(raw, -FOREST_LIMIT, FOREST_LIMIT) / 4.0)))

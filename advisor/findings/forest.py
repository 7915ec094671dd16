"""How unlike its siblings a run is: an isolation forest on curve features relative to sound siblings.

Sole importer of scikit-learn among the findings. Leaves out the rules, the cutting of curves to a common
length and the wording of findings (``check``). Invariant: the run that is judged is in no median, regression
or tree that judges it, and its own score is not among those that its p-value counts. It does have a part,
as one run of all, in two cuts: which siblings are the better half, and where Tukey's fence lies.

Two choices come from real runs with known causes. Raw features say little, features relative to siblings
much (ROC-AUC 0.91 against 0.945 on 851 runs). And a sweep may hold more broken runs than sound ones: then
the broken ones are the crowd and the sound ones stand out. So the forest learns what *sound* looks like
from the better half of the siblings that no rule complained about, and every run is compared with that.

Source: F. T. Liu, K. M. Ting, Z.-H. Zhou, "Isolation forest", ICDM 2008; conformal p-values after
S. Bates et al., "Testing for outliers with conformal p-values", Annals of Statistics 51 (2023).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from advisor.findings.calibration import conformal
from advisor.findings.trees import isolation, isolation_score

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

MIN_SIBLINGS = 8
"""Fewer sound siblings give no usable context (measured: 8 usable, 20 nearly full value)."""
MIN_FAMILY = 20
"""A group of the same categorical parameters stands alone from this size on."""
MIN_REGRESSION = 100
"""Runs from which on hyperparameters are regressed out; below, the regression is noisier than the gain."""
MAX_LEVELS = 10
"""A parameter with more values than this is no family."""
REFERENCE_SHARE = 0.5
"""Share of the sound siblings, best first, that define what sound looks like: it holds while half of them are."""
MAD_FLOOR = 0.3
"""A family's spread is at least this share of the spread pooled over families; without it one tiny MAD decides."""
SPREAD_FLOOR = 0.05
"""Smallest spread of any feature: differences of 5 % are never remarkable."""
Z_LIMIT = 12.0
"""Robust z beyond this says nothing more."""
N_TREES = 200
N_FOLDS = 5
"""Cross-fitting: each run is scored by a forest that has not seen it."""
MIN_REFERENCE = MIN_SIBLINGS * N_FOLDS // (N_FOLDS - 1)
"""Siblings learned from: one fold is missing whenever they are used, and 8 must be left then."""
FLOAT32_MAX = float(np.finfo(np.float32).max)
"""Trees compute in single precision and refuse larger numbers."""
FENCE = 1.5
"""Tukey's fence: scores beyond Q3 + 1.5 (Q3 - Q1) do not calibrate others: faults must not hide each other."""


@dataclass(frozen=True, slots=True)
class Population:
    """Runs to be compared with each other, row by row."""

    features: Floats
    """Shape (n, n_features); NaN where a figure does not exist."""
    _: KW_ONLY
    params: Sequence[Mapping[str, Any]]
    """Parameters of each run."""
    sound: Mask
    """Shape (n,): no rule found it broken; only these are learned from."""
    quality: Floats
    """Shape (n,): rank of the objective among sound runs, lower is better; NaN where unknown."""


@dataclass(frozen=True, slots=True)
class Scores:
    """How unusual each run of a population is."""

    score: Floats
    """Shape (n,), in (0, 1): higher is more anomalous."""
    p_value: Floats
    """Shape (n,), in (0, 1]: share of sound siblings at least as anomalous; approximate, see ``isolate``."""
    z: Floats
    """Shape (n, n_features): robust sigmas from the sound siblings."""
    n_siblings: NDArray[np.int64]
    """Shape (n,): sound siblings that calibrate each run's p-value."""
    regressed: bool
    """Whether the hyperparameters were regressed out first."""


def isolate(population: Population, *, seed: int = 0) -> Scores | None:
    """Score each run by how easily a forest of its sound siblings isolates it.

    p-values are conformal ranks, ``(1 + #{siblings with a score >= s}) / (n + 1)``, over the sound siblings'
    cross-fitted scores, the run itself left out. They are approximate: the scores of different folds come from
    different forests, and those beyond Tukey's fence calibrate nothing, which makes p-values smaller where a
    sound run lies there. Unknown faults within the fence make them larger. None is below 1 / (n + 1).

    Returns
    -------
    Scores, or None where there are fewer than ``MIN_SIBLINGS`` sound siblings for some run.
    """
    if int(population.sound.sum()) < MIN_SIBLINGS + 1:
        return None
    n = population.features.shape[0]
    families = family_of(population.params)
    reference = _reference(population, families)
    regressed = n >= MIN_REGRESSION
    design = _design(population.params) if regressed else None
    folds = _folds(reference, seed)
    z, score = np.zeros_like(population.features), np.zeros(n)
    for fold in range(N_FOLDS):
        judged = folds == fold
        learned = reference & ~judged
        z_all = _relative(population.features, learned, families, design, seed=seed)
        z[judged] = z_all[judged]
        score[judged] = _forest_scores(z_all[learned], z_all[judged], seed=seed + fold)
    return _calibrate(score, z, population.sound, regressed=regressed)


def family_of(params: Sequence[Mapping[str, Any]]) -> NDArray[np.int64]:
    """Return a family number a run: runs that share all categorical parameters; 0 for those in small groups.

    >>> family_of([{"opt": "sgd"}] * 20 + [{"opt": "adam"}] * 20).tolist() == [1] * 20 + [2] * 20
    True
    """
    names = [name for name in sorted({key for p in params for key in p}) if _is_category([p.get(name) for p in params])]
    keys = [tuple(str(p.get(name)) for name in names) for p in params]
    sizes = {key: keys.count(key) for key in dict.fromkeys(keys)}
    numbers: dict[tuple[str, ...], int] = {}
    for key in keys:
        if sizes[key] >= MIN_FAMILY:
            numbers.setdefault(key, len(numbers) + 1)
    return np.array([numbers.get(key, 0) for key in keys], dtype=np.int64)


def _is_category(values: Sequence[Any]) -> bool:
    known = [value for value in values if value is not None]
    words = any(isinstance(value, str | bool) for value in known)
    return words and 2 <= len({str(value) for value in values}) <= MAX_LEVELS


def _reference(population: Population, families: NDArray[np.int64]) -> Mask:
    """Return the better share of the sound runs of each family, all of them where too few can be ranked."""
    out = np.zeros(population.sound.shape, dtype=bool)
    for family in np.unique(families):
        rows = np.flatnonzero(population.sound & (families == family))
        known = rows[np.isfinite(population.quality[rows])]
        if known.size < min(rows.size, MIN_REFERENCE):
            out[rows] = True
            continue
        n = min(known.size, max(int(np.ceil(REFERENCE_SHARE * rows.size)), MIN_REFERENCE))
        out[known[np.argsort(population.quality[known], kind="stable")[:n]]] = True
    return out


def _folds(reference: Mask, seed: int) -> NDArray[np.int64]:
    """Return a fold number a run, by chance, but with the reference spread evenly: no fold may hold most of it."""
    order = np.random.default_rng(seed).permutation(reference.size)
    order = order[np.argsort(~reference[order], kind="stable")]
    folds = np.empty(reference.size, dtype=np.int64)
    folds[order] = np.arange(reference.size) % N_FOLDS
    return folds


def _relative(
    features: Floats, learned: Mask, families: NDArray[np.int64], design: Floats | None, *, seed: int
) -> Floats:
    """Return robust z against the learned rows, within the family, after the hyperparameters where given."""
    values = features if design is None else features - _expected(features, design, learned, seed=seed)
    wide_centre, wide_spread = _centre_and_spread(values[learned])
    spreads = {}
    for family in np.unique(families):
        rows = learned & (families == family)
        if rows.sum() >= MIN_SIBLINGS - 2:
            spreads[int(family)] = _centre_and_spread(values[rows])
    pooled = _nanmedian(np.array([spread for _, spread in spreads.values()])) if spreads else wide_spread
    out = np.zeros_like(features)
    for family in np.unique(families):
        rows = families == family
        centre, spread = spreads.get(int(family), (wide_centre, wide_spread))
        centre = np.where(np.isnan(centre), wide_centre, centre)
        scale = np.fmax(np.fmax(spread, MAD_FLOOR * pooled), SPREAD_FLOOR)
        out[rows] = np.clip((values[rows] - centre) / scale, -Z_LIMIT, Z_LIMIT)
    return np.nan_to_num(out, nan=0.0)


def _centre_and_spread(values: Floats) -> tuple[Floats, Floats]:
    centre = _nanmedian(values)
    return centre, 1.4826 * _nanmedian(np.abs(values - centre))


def _nanmedian(values: Floats) -> Floats:
    """Return medians by column, NaN (without a warning) where a column holds nothing."""
    out = np.full(values.shape[1], np.nan)
    some = ~np.isnan(values).all(axis=0)
    out[some] = np.nanmedian(values[:, some], axis=0)
    return out


def _design(params: Sequence[Mapping[str, Any]]) -> Floats:
    """Return the parameters as numbers: logarithms over wide ranges, one column a category."""
    columns: list[Floats] = []
    for name in sorted({key for p in params for key in p}):
        values = [p.get(name) for p in params]
        if all(value is None or (isinstance(value, int | float) and not isinstance(value, bool)) for value in values):
            columns.append(_numeric(values))
        elif _is_category(values):
            levels = sorted({str(value) for value in values})
            columns += [np.array([float(str(value) == level) for value in values]) for level in levels]
    return np.column_stack(columns) if columns else np.zeros((len(params), 1))


def _numeric(values: Sequence[float | None]) -> Floats:
    """Return a column without gaps: the median for what is missing, the nearest finite value for what is infinite."""
    column = np.array([np.nan if value is None else _as_float(value) for value in values])
    seen = column[np.isfinite(column)]
    if not seen.size:
        return np.zeros(len(values))
    column = np.where(np.isnan(column), np.median(seen), np.clip(column, seen.min(), seen.max()))
    column = np.log(column) if seen.min() > 0 and seen.max() / 10 > seen.min() else column
    out: Floats = np.clip(column, -FLOAT32_MAX, FLOAT32_MAX)
    return out


def _as_float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:  # an int beyond the largest float
        return math.inf if value > 0 else -math.inf


def _expected(features: Floats, design: Floats, learned: Mask, *, seed: int) -> Floats:
    """Return what the hyperparameters let expect of each feature; out of bag for the rows learned from."""
    from sklearn.ensemble import ExtraTreesRegressor

    out = np.zeros_like(features)
    targets = np.flatnonzero(~np.isnan(features[learned]).any(axis=0))
    if not targets.size:
        return out
    trees = ExtraTreesRegressor(
        n_estimators=100, min_samples_leaf=3, bootstrap=True, oob_score=True, random_state=seed, n_jobs=1
    )
    y = features[np.ix_(learned, targets)]
    trees.fit(design[learned], y if targets.size > 1 else y[:, 0])
    guess = np.asarray(trees.predict(design)).reshape(len(design), targets.size)
    guess[learned] = np.asarray(trees.oob_prediction_).reshape(-1, targets.size)
    out[:, targets] = guess
    return out


def _forest_scores(learned: Floats, judged: Floats, *, seed: int) -> Floats:
    from sklearn.ensemble import IsolationForest

    forest = IsolationForest(n_estimators=N_TREES, max_samples=min(256, len(learned)), random_state=seed, n_jobs=1)
    trees, usual = isolation(forest.fit(learned))
    return isolation_score(trees, usual, judged)


def _calibrate(score: Floats, z: Floats, sound: Mask, *, regressed: bool) -> Scores:
    low, high = np.percentile(score[sound], [25, 75])
    calibrates = sound & (score <= high + FENCE * (high - low))
    n_siblings = int(calibrates.sum()) - calibrates.astype(np.int64)
    return Scores(score, conformal(score, calibrates), z, n_siblings, regressed)

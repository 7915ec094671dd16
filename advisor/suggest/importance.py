"""Which parameters the objective depends on, by two methods, each with intervals.

*Total effects*: Sobol's decomposition of the variance, over the whole space, of extremely randomised trees on the
runs, where the model in ``surrogate`` shows that parameters foretell the objective at all. *PED-ANOVA*, a second
opinion: which parameters set the best tenth of the runs apart from the others (S. Watanabe et al., "PED-ANOVA:
efficiently quantifying hyperparameter importance in arbitrary subspaces", 2023). The first asks what moves the
objective, the second what it takes to be among the best, and they may differ.

Optuna's fANOVA is not used: on 135 real trainings (DeepOBS, Fashion-MNIST) whose loss spans four decades along
the learning rate and hardly differs between optimizers, it gave the optimizer 0.83 and the learning rate 0.17.
PED-ANOVA looks at the best tenth, which is two or three runs in most experiments; its intervals say so.

Invariant: where the runs cannot tell, there are no importances but a sentence that says so, since a ranking of noise
is worse than none; and an interval holds the share that it belongs to.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import KW_ONLY, dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from advisor.errors import ConfigError
from advisor.suggest.geometry import columns_of, design
from advisor.suggest.intervals import LEVEL
from advisor.suggest.outcome import measured
from advisor.suggest.space import Space, plain
from advisor.suggest.surrogate import fit_params_model
from storage.records import Direction, Experiment, Run

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial
    from sklearn.ensemble import ExtraTreesRegressor

MIN_RUNS: Final = 10
"""Finished runs below which nothing is said."""
MIN_RUNS_PED: Final = 20
"""The same for PED-ANOVA: the best tenth must be two runs at least."""
METHODS: Final = ("total-effects", "ped-anova")
N_RESAMPLES: Final = 50
"""Bootstrap resamples of the runs: enough for the ends of an interval to a few hundredths, in about two seconds."""
N_TREES: Final = 100
N_DRAWS: Final = 2000
"""Points of the space over which effects are averaged; repeats differ by about 0.02."""
RESAMPLED_TREES: Final = 20
"""Trees a resample: their mean varies less than the resampled runs do."""
RESAMPLED_DRAWS: Final = 200
"""Points of the space a resample, a tenth for the same reason."""
MAX_RUNS: Final = 300
"""The most recent runs that are resampled; more would only narrow intervals that are narrow already."""


@dataclass(frozen=True, slots=True)
class Importances:
    """What each parameter contributes to the differences between runs, largest first."""

    shares: Mapping[str, float]
    """Parameter → share in [0, 1]; they add up to 1."""
    _: KW_ONLY
    low: Mapping[str, float]
    high: Mapping[str, float]
    """Parameter → ends of its 95 % interval over resampled runs; ``low <= share <= high``."""
    method: str
    """How they were found, in words."""
    n_runs: int
    """Finished runs that it rests on."""

    @property
    def ties(self) -> tuple[tuple[str, str], ...]:
        """Neighbours in the order whose intervals overlap, so that it cannot be told which one matters more."""
        return tuple((one, other) for one, other in pairwise(self.shares) if self.high[other] >= self.low[one])

    @property
    def ends(self) -> dict[str, tuple[float, float]]:
        """Parameter → its interval."""
        return {name: (self.low[name], self.high[name]) for name in self.shares}

    @property
    def first_in_words(self) -> str:
        """Which parameter comes first, or that it cannot be told, as part of a sentence."""
        first = next(iter(self.shares))
        low, high = self.low[first], self.high[first]
        told = f"{self.method} puts {first} first ({self.shares[first]:.0%}, {low:.0%} to {high:.0%})"
        return f"{told}, not told apart from {self.ties[0][1]}" if self.ties and self.ties[0][0] == first else told

    def as_json(self) -> dict[str, Any]:
        """Return the public JSON form."""
        rows = [
            {"parameter": name, "share": share, "low": self.low[name], "high": self.high[name]}
            for name, share in self.shares.items()
        ]
        ties = [list(pair) for pair in self.ties]
        return {"method": self.method, "n_runs": self.n_runs, "importances": rows, "order_unknown": ties}

    def _repr_html_(self) -> str:
        from advisor import notebook

        return notebook.importances(self)


def importances(
    experiment: Experiment, runs: Sequence[Run], space: Space, *, seed: int = 0, method: str = "total-effects"
) -> tuple[Importances | None, str]:
    """Say which parameters mattered for the first objective.

    *total-effects*: the share of the variance over the space that each parameter has a part in, by Jansen's estimator:
    half the mean squared change when one parameter is drawn anew (A. Saltelli et al., "Variance based sensitivity
    analysis of model output", 2010); what parameters do together counts for each of them, and the shares are scaled
    to add up to 1. A parameter that had one value only in these runs is left out, which the note says: what it matters
    they cannot tell. An objective that spans a decade is taken by its logarithm. The intervals come from smaller
    forests on resampled runs; they are about the runs, not about whether trees are the right model.

    *ped-anova*: Optuna's ``PedAnovaImportanceEvaluator`` on the finished runs that have every parameter, scaled in
    the same way, and the same on resampled runs.

    Parameters
    ----------
    seed
        Of the model and of the resamples.
    method
        ``total-effects`` or ``ped-anova``.

    Returns
    -------
    tuple of (Importances or None, str)
        The importances, and what they rest on, with the order that cannot be told, or why there are none.

    Raises
    ------
    ConfigError
        If there is no such method.
    """
    if method not in METHODS:
        raise ConfigError(f"method {method!r} is unknown; allowed are {' and '.join(map(repr, METHODS))}")
    if len(space) < 2:
        return None, "with fewer than two parameters there is nothing to compare"
    fixed = _not_varied(measured(experiment, runs), space)
    if len(space) - len(fixed) < 2 and len(fixed) < len(space):
        return None, f"with fewer than two parameters that vary there is nothing to compare{_told(fixed)}"
    asked = _total_effects if method == "total-effects" else _ped_anova
    found, note = asked(experiment, runs, space, frozenset(fixed), seed)
    return found, note if found is None else f"{note}{_order(found)}{_told(fixed)}"


def _not_varied(runs: Sequence[Run], space: Space) -> list[str]:
    """Return the parameters that have one value, or none, in all runs that have them; empty for fewer than two runs."""
    if len(runs) < 2:
        return []
    known = [space.active(run.params, fill=True) for run in runs]
    return [name for name in space if len({_comparable(one[name]) for one in known if name in one}) < 2]


def _comparable(value: Any) -> Any:
    """Return a value so that 1 and 1.0 are one, and lists can be told apart."""
    return value if isinstance(value, int | float | str) else repr(value)


def _told(fixed: Sequence[str]) -> str:
    """Return which parameters were left out, as the end of a sentence."""
    return f"; not varied, so what they matter cannot be told: {', '.join(fixed)}" if fixed else ""


def _order(found: Importances) -> str:
    """Return what cannot be told of the order, as the end of a sentence."""
    if not found.ties:
        return ""
    if len(found.ties) == len(found.shares) - 1:
        return "; the order of the parameters cannot be told: each interval overlaps with the next"
    groups: list[list[str]] = []
    for one, other in found.ties:
        if groups and groups[-1][-1] == one:
            groups[-1].append(other)
        else:
            groups.append([one, other])
    listed = "; ".join(", ".join(group) for group in groups)
    return f"; the order cannot be told, since intervals overlap, among: {listed}"


# -- total effects


def _total_effects(
    experiment: Experiment, runs: Sequence[Run], space: Space, fixed: Set[str], seed: int
) -> tuple[Importances | None, str]:
    model, note = fit_params_model(experiment, runs, space, seed=seed)
    if model is None:
        return None, note
    if model.n_runs < MIN_RUNS:
        return None, f"not enough runs to tell: {model.n_runs} finished, {MIN_RUNS} are needed"
    known = [run for run in measured(experiment, runs) if any(name in run.params for name in space)][-MAX_RUNS:]
    values = np.array([run.values[0] for run in known])
    matrix = design(space, [run.params for run in known])
    target = np.log(values) if model.is_log else values
    rng = np.random.default_rng([seed, 51])
    forest = _forest(matrix, target, n_trees=N_TREES, bootstrap=True, seed=seed)
    shares = _shares(_effects(space, forest, _points(space, rng, N_DRAWS)), fixed)
    if shares is None:
        return None, "not enough runs to tell: the model is flat over the space"
    points = _points(space, rng, RESAMPLED_DRAWS)

    def again(chosen: NDArray[np.int64], number: int) -> dict[str, float]:
        resampled = _forest(matrix[chosen], target[chosen], n_trees=RESAMPLED_TREES, bootstrap=False, seed=number)
        return _effects(space, resampled, points)

    low, high = _ends(shares, len(known), again, fixed, seed)
    return Importances(shares, low=low, high=high, method="total effects", n_runs=len(known)), note


def _points(space: Space, rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    """Return random points of the space, then for each parameter the same ones with that parameter drawn anew.

    Shape (d + 1, n, columns of the design matrix). All resamples share them, so that they differ by their runs alone.
    """
    first, second = (
        design(
            space, [{name: dim.at(float(u)) for (name, dim), u in zip(space.items(), row, strict=True)} for row in each]
        )
        for each in rng.random((2, n, len(space)))
    )
    out = [first]
    for own in columns_of(space).values():
        changed = first.copy()
        changed[:, own] = second[:, own]
        out.append(changed)
    return np.stack(out)


def _forest(
    matrix: NDArray[np.float64], target: NDArray[np.float64], *, n_trees: int, bootstrap: bool, seed: int
) -> ExtraTreesRegressor:
    from sklearn.ensemble import ExtraTreesRegressor

    forest = ExtraTreesRegressor(n_estimators=n_trees, bootstrap=bootstrap, random_state=seed, n_jobs=1)
    return forest.fit(matrix, target)


def _effects(space: Space, forest: ExtraTreesRegressor, points: NDArray[np.float64]) -> dict[str, float]:
    """Return total effects, not scaled."""
    before, *after = forest.predict(points.reshape(-1, points.shape[-1])).reshape(points.shape[:2])
    return {name: float(((each - before) ** 2).mean()) for name, each in zip(space, after, strict=True)}


# -- PED-ANOVA


def _ped_anova(
    experiment: Experiment, runs: Sequence[Run], space: Space, fixed: Set[str], seed: int
) -> tuple[Importances | None, str]:
    objective = experiment.objective
    if objective is None:
        return None, f"experiment {experiment.name!r} has no objective"
    known = [run for run in measured(experiment, runs) if space.includes(run.params)][-MAX_RUNS:]
    if len(known) < MIN_RUNS_PED:
        return None, f"not enough runs to tell: {len(known)} finished inside the space, {MIN_RUNS_PED} are needed"
    values = [run.values[0] for run in known]
    if min(values) == max(values):
        return None, f"nothing to tell: all {len(known)} finished runs have the same {objective.metric}"
    trials = _trials(known, space)
    shares = _shares(_divergences(trials, objective.direction, space), fixed)
    if shares is None:
        return None, "not enough runs to tell: the best tenth lies as all runs do"

    def again(chosen: NDArray[np.int64], _number: int) -> dict[str, float]:
        return _divergences([trials[i] for i in chosen], objective.direction, space)

    low, high = _ends(shares, len(known), again, fixed, seed)
    note = f"PED-ANOVA of the best tenth of {len(known)} finished runs"
    return Importances(shares, low=low, high=high, method="ped-anova", n_runs=len(known)), note


def _trials(runs: Sequence[Run], space: Space) -> list[FrozenTrial]:
    from optuna.trial import create_trial

    distributions = space.to_distributions()
    out = []
    for run in runs:
        kept = space.active(run.params, fill=True)
        params = {name: plain(space[name], kept[name]) for name in space if name in kept}
        own = {name: distributions[name] for name in params}
        out.append(create_trial(params=params, distributions=own, value=run.values[0]))
    return out


def _divergences(trials: Sequence[FrozenTrial], direction: Direction, space: Space) -> dict[str, float]:
    import optuna
    from optuna.importance import PedAnovaImportanceEvaluator

    from advisor.suggest.study import no_study_announcement

    with no_study_announcement():
        study = optuna.create_study(direction=direction)
    study.add_trials(trials)
    with warnings.catch_warnings():
        # Few runs under a condition make a share inaccurate: the intervals say so.
        warnings.filterwarnings("ignore", message="Some regimes for parameter", category=UserWarning)
        found = PedAnovaImportanceEvaluator().evaluate(study)
    return {name: float(found.get(name, 0.0)) for name in space}


# -- what both share


def _shares(effects: Mapping[str, float], fixed: Set[str]) -> dict[str, float] | None:
    """Return effects scaled to add up to 1, largest first, but those of ``fixed``; None where there is no effect."""
    effects = {name: effect for name, effect in effects.items() if name not in fixed}
    total = math.fsum(effects.values())
    if not (total > 0 and math.isfinite(total)):
        return None
    return {name: effect / total for name, effect in sorted(effects.items(), key=lambda item: -item[1])}


def _ends(
    shares: Mapping[str, float],
    n: int,
    again: Callable[[NDArray[np.int64], int], Mapping[str, float]],
    fixed: Set[str],
    seed: int,
) -> tuple[dict[str, float], dict[str, float]]:
    """Return the ends of the percentile-bootstrap intervals of shares over ``n`` runs (B. Efron, 1993).

    Resampled runs repeat, which blurs effects, so an interval is widened where it would miss its own share.
    """
    rng = np.random.default_rng([seed, 50])
    drawn = [_shares(again(rng.integers(0, n, n), number), fixed) for number in range(N_RESAMPLES)]
    low, high = dict(shares), dict(shares)
    for name, share in shares.items():
        each = [resample[name] for resample in drawn if resample is not None]
        if each:
            ends = np.quantile(each, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
            low[name], high[name] = min(float(ends[0]), share), max(float(ends[1]), share)
    return low, high

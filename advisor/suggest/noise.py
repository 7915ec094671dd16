"""How much of a difference between runs is chance: what runs with equal parameters tell.

Runs whose parameters are equal in the space (``Space.key``) are repeats of one point; seeds, and whatever the space
does not have, make the difference between them.

Invariant: the estimate has as many degrees of freedom as there are runs beyond the first of their point.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from advisor.suggest.outcome import measured
from advisor.suggest.space import Space
from storage.records import Experiment, FindingState, Objective, Run, Severity

FAR: Final = 3.0
"""Of the distance from the best to the worse quartile."""
ROUNDING: Final = 1e-12
"""Of the larger value; repeats that differ by no more agree but for the rounding of sums."""
LEVEL: Final = 0.95
"""Confidence level of the interval around a standard deviation."""


@dataclass(frozen=True, slots=True)
class Noise:
    """The standard deviation of an objective among runs with equal parameters."""

    metric: str
    _: KW_ONLY
    sd: float | None
    """In the metric's unit, pooled over all points with repeats; None where nothing was run twice."""
    low: float | None
    high: float | None
    """95 % confidence interval of ``sd``, from the chi-square distribution: right where repeats are normally
    distributed about their point with one standard deviation everywhere."""
    df: int
    """Degrees of freedom: runs beyond the first of their point."""
    n_points: int
    """Points that were run more than once."""

    def __str__(self) -> str:
        if self.sd is None:
            return f"not enough repeats to tell how noisy {self.metric} is; run a point again with another seed"
        runs = f"{self.df + self.n_points} runs of {self.n_points} point{'' if self.n_points == 1 else 's'}"
        if self.sd == 0:
            return (
                f"runs with equal parameters have equal {self.metric} ({runs}), which does not tell how large chance is"
            )
        return (
            f"runs with equal parameters differ in {self.metric} by a standard deviation of {self.sd:.3g} "
            f"(95 % interval {self.low:.3g} to {self.high:.3g}, from {runs})"
        )


@dataclass(frozen=True, slots=True)
class Point:
    """All runs with the same parameters, as one observation."""

    params: Mapping[str, Any]
    """Of the space, without those that have no meaning; defaults counted in."""
    _: KW_ONLY
    values: tuple[float, ...]
    """Mean of each objective over the runs."""
    sems: tuple[float | None, ...]
    """Standard error of each mean: the pooled standard deviation over the root of ``n``; None without repeats."""
    run_ids: tuple[str, ...]
    """The runs, in their order."""

    @property
    def n(self) -> int:
        """How many runs."""
        return len(self.run_ids)

    @property
    def mean(self) -> float:
        """Mean of the first objective."""
        return self.values[0]

    @property
    def sem(self) -> float | None:
        """Standard error of ``mean``."""
        return self.sems[0]


def noise(experiment: Experiment, runs: Iterable[Run], space: Space, *, objective: int = 0) -> Noise:
    """Return how far repeats of a point lie apart.

    Only runs that may be ranked count (``Experiment.ranks``), and of these none in which an error was found: how far a
    broken run lies from its repeats is no noise. Nor do points count that are ``far_worse`` than the others.

    Parameters
    ----------
    objective
        Position of the objective.
    """
    sound = [run for run in runs if not _is_broken(run)]
    return _pooled(experiment.objectives[objective], _groups(experiment, sound, space), objective)


def averaged(experiment: Experiment, runs: Iterable[Run], space: Space) -> list[Point]:
    """Return one observation for each point that was run, in the order of their first runs.

    Only runs that may be ranked count (``Experiment.ranks``); a point whose runs all went wrong is not among them.
    """
    groups = _groups(experiment, runs, space)
    sds = [_pooled(o, groups, k).sd for k, o in enumerate(experiment.objectives)]
    out = []
    for group in groups:
        kept = space.active(group[0].params, fill=True)
        out.append(
            Point(
                {name: kept[name] for name in space if name in kept},
                values=tuple(_mean([run.values[k] for run in group]) for k in range(len(sds))),
                sems=tuple(None if sd is None else sd / math.sqrt(len(group)) for sd in sds),
                run_ids=tuple(run.id for run in group),
            )
        )
    return out


def _groups(experiment: Experiment, runs: Iterable[Run], space: Space) -> list[list[Run]]:
    groups: dict[str, list[Run]] = {}
    for run in measured(experiment, runs):
        groups.setdefault(space.key(run.params), []).append(run)
    return list(groups.values())


def _is_broken(run: Run) -> bool:
    return any(f.severity is Severity.ERROR and f.state is not FindingState.RESOLVED for f in run.findings)


def far_worse(losses: Sequence[float] | NDArray[np.float64]) -> float:
    """Return the loss beyond which repeats say nothing of the noise among the other runs; infinite where all are alike.

    The worse quartile, and three times as far beyond it as it is from the best: as J. W. Tukey's outer fence
    ("Exploratory data analysis", 1977), on the one side that counts, with the best in place of the better quartile.

    >>> far_worse([0.1, 0.2, 0.2, 0.3, 371.0]) < 371 < far_worse([0.2, 341.0, 371.0])
    True
    """
    ordered = np.asarray(losses, dtype=np.float64)
    worse = float(np.quantile(ordered, 0.75))
    apart = worse - float(ordered.min())
    return worse + FAR * apart if apart > 0 else math.inf


def agree(groups: Iterable[Sequence[float]]) -> bool:
    """Return whether the values of each group are equal but for rounding.

    Repeats that agree tell that the objective is deterministic, or that they ran with the same seed. How much of a
    difference between two configurations is chance they do not tell: as an estimate of it, 0 would call any lead real.

    >>> agree([[0.1 + 0.2, 0.3], [1.0]]), agree([[0.1, 0.2], [1.0, 1.0]])
    (True, False)
    """
    return all(max(group) - min(group) <= ROUNDING * max(map(abs, group)) for group in groups)


def pooled_sd(groups: Sequence[Sequence[float]]) -> float:
    """Return the standard deviation between repeats: the one definition that ledger, advice, reports and pages share.

    The root of the mean of the groups' variances, each weighted by its degrees of freedom; 0 where they ``agree``.

    Parameters
    ----------
    groups
        Values of runs with equal parameters; at least one group has two.

    >>> round(pooled_sd([[0.1, 0.3], [0.5, 0.5], [7.0]]), 6)
    0.1
    """
    if agree(groups):
        return 0.0
    # Divided by their size first: squares of huge values must not overflow.
    size = max(abs(value) for values in groups for value in values)
    scaled = [[value / size for value in values] for values in groups]
    means = [_mean(values) for values in scaled]
    squares = math.fsum((value - mean) ** 2 for mean, values in zip(means, scaled, strict=True) for value in values)
    return size * math.sqrt(squares / sum(len(values) - 1 for values in groups))


def _pooled(objective: Objective, groups: Sequence[list[Run]], place: int) -> Noise:
    metric, sign = objective.metric, 1.0 if objective.direction == "minimize" else -1.0
    values_of = [[run.values[place] for run in group] for group in groups]
    every = [sign * value for values in values_of for value in values]
    worst = far_worse(every) if every else math.inf
    repeated = [values for values in values_of if len(values) > 1 and sign * _mean(values) <= worst]
    df = sum(len(values) - 1 for values in repeated)
    if df == 0:
        return Noise(metric, sd=None, low=None, high=None, df=0, n_points=0)
    sd = pooled_sd(repeated)
    low, high = (sd * math.sqrt(df / quantile) for quantile in _chi_square(df))
    return Noise(metric, sd=sd, low=low, high=high, df=df, n_points=len(repeated))


def _chi_square(df: int) -> tuple[float, float]:
    """Return the upper and the lower quantile between which the sum of squares lies at ``LEVEL``."""
    from scipy.special import chdtri

    tail = (1 - LEVEL) / 2
    return float(chdtri(df, tail)), float(chdtri(df, 1 - tail))


def _mean(values: list[float]) -> float:
    return math.fsum(value / len(values) for value in values)

"""What random search or Optuna's TPE would have found in place of the suggestions, where that can honestly be had.

Two cases, and no other. *Grid*: nearly every point of a finite space was run, so another search can be replayed on the
recorded outcomes. *Random runs*: some runs of the experiment were random draws, so the best of k of them is known in
expectation. Anywhere else a counterfactual would be a guess, and a sentence says why there is none.

Invariant: nothing is trained or modelled here; every value that another search "finds" is the outcome of a real run.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from advisor.suggest.intervals import LEVEL, Estimate, mean_of
from advisor.suggest.space import Space, plain
from storage.records import Experiment, Objective, Run

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler
    from optuna.study import Study

EXPLORED: Final = 0.9
"""Share of a finite space that must have been run before other searches are replayed on it: what nobody ran cannot
be found, and with a tenth missing the best point is missing once in ten times."""
MAX_POINTS: Final = 5000
"""Points of the largest space that is replayed; nobody runs more of a grid, and its keys must fit in memory."""
CHECKPOINTS: Final = (5, 10, 20)
"""Suggested runs after which the searches are compared; on a grid only up to half of its points, since all searches
find the same in the end."""
N_RANDOM_SEEDS: Final = 200
N_RESAMPLES: Final = 1000
MIN_RANDOM: Final = 6
"""Random runs below which the best of some of them is not foretold."""
MIN_K: Final = 3
"""Suggestions of a model below which their best one is not compared."""
MAX_REDRAWS: Final = 20
"""How often TPE is asked again for a point that it has had; Optuna itself would pay for it once more."""
RANDOM_SOURCES: Final = frozenset({"random-startup", "random-new", "random"})
RANDOM_SAMPLER: Final = "RandomSampler"


@dataclass(frozen=True, slots=True)
class Versus:
    """The best value after k suggested runs, beside that of another search with as many."""

    rival: str
    """``random search`` or ``Optuna TPE``."""
    _: KW_ONLY
    basis: str
    """``grid`` or ``random runs``."""
    k: int
    ours: float
    """Best value of ours, in the objective's unit."""
    theirs: Estimate
    """Expected best value of the other search, with its 95 % interval."""
    as_good: float
    """Chance that the other search does at least as well as ours, in [0, 1]."""
    regret: float | None
    """How far ours was from the best of the grid, at least 0; None without a grid."""
    their_regret: float | None

    def as_json(self) -> dict[str, Any]:
        """Return the public JSON form."""
        names = ("rival", "basis", "k", "ours", "as_good", "regret", "their_regret")
        return {name: getattr(self, name) for name in names} | {"theirs": self.theirs.as_json()}


@dataclass(frozen=True, slots=True)
class Hindsight:
    """All comparisons that can be made, and why the others cannot."""

    versus: tuple[Versus, ...]
    notes: tuple[str, ...]
    """What they rest on, or ``cannot be told: …``."""

    def as_json(self) -> dict[str, Any]:
        """Return the public JSON form."""
        return {"versus": [each.as_json() for each in self.versus], "notes": list(self.notes)}


def in_hindsight(
    experiment: Experiment,
    ended: Sequence[Run],
    suggestions: Mapping[str, Mapping[str, Any]],
    space: Space | None,
    *,
    n_tpe_seeds: int,
) -> Hindsight:
    """Compare suggested runs with what other searches would have found.

    Parameters
    ----------
    ended
        Runs that are over, in the order in which they ended.
    suggestions
        Bodies of suggestions by their ids.
    n_tpe_seeds
        How often TPE is replayed on a grid; 0 leaves it out.
    """
    objective = experiment.objective
    if objective is None:
        return Hindsight((), ("cannot be told: the experiment has no objective",))
    suggested = [run for run in ended if run.suggestion_id is not None]
    if not suggested:
        return Hindsight((), ("cannot be told: no suggested run has ended",))
    grid, no_grid = _grid(experiment, objective, ended, space)
    if grid is not None:
        return _replayed(grid, n_tpe_seeds)
    versus, note = _against_random(experiment, objective, suggested, suggestions)
    if versus is None:
        return Hindsight((), (f"cannot be told: {no_grid}, and {note}",))
    return Hindsight((versus,), (note,))


# -- a space that was searched whole


@dataclass(frozen=True, slots=True)
class _Grid:
    """A finite space with the outcome of nearly every point."""

    space: Space
    objective: Objective
    points: tuple[Mapping[str, Any], ...]
    """The recorded ones."""
    losses: NDArray[np.float64]
    """Their outcome, smaller is better; +inf for those that went wrong."""
    steps: tuple[tuple[int, bool], ...]
    """Runs in the order in which they ended, as (point, whether it was suggested), up to the last suggested one."""
    n_points: int

    def value(self, loss: float) -> float:
        """Return an outcome in the objective's own direction."""
        return loss if self.objective.direction == "minimize" else -loss


def _grid(
    experiment: Experiment, objective: Objective, ended: Sequence[Run], space: Space | None
) -> tuple[_Grid | None, str]:
    n_points = None if space is None else space.n_points
    if space is None or n_points is None or n_points > MAX_POINTS:
        return None, "the space is no small grid of which every point could have been run"
    sign = 1.0 if objective.direction == "minimize" else -1.0
    places: dict[str, int] = {}
    outcomes: list[list[float]] = []
    points: list[Mapping[str, Any]] = []
    steps: list[tuple[int, bool]] = []
    for run in ended:
        key = _key(space, run.params)
        if key is None or not (experiment.ranks(run) or experiment.went_wrong(run)):
            continue
        if key not in places:
            places[key] = len(points)
            kept = space.active(run.params, fill=True)
            points.append({name: plain(space[name], kept[name]) for name in space if name in kept})
            outcomes.append([])
        outcomes[places[key]].append(sign * run.values[0] if experiment.ranks(run) else math.inf)
        steps.append((places[key], run.suggestion_id is not None))
    last = max((i for i, (_, is_ours) in enumerate(steps) if is_ours), default=-1)
    if len(points) < max(EXPLORED * n_points, 2) or last < 0:
        return None, f"{len(points)} of the {n_points} points of the space have been run"
    losses = np.array([_middle(each) for each in outcomes])
    if not np.isfinite(losses).any():
        return None, "no point of the space has an outcome"
    return _Grid(space, objective, tuple(points), losses, tuple(steps[: last + 1]), n_points), ""


def _middle(outcomes: Sequence[float]) -> float:
    """Return what a point gives: the mean of its repeats that ended well, +inf where none did."""
    finite = [value for value in outcomes if math.isfinite(value)]
    return statistics.fmean(finite) if finite else math.inf


def _key(space: Space, params: Mapping[str, Any]) -> str | None:
    """Return what makes two runs the same point, None for one that is none of the space."""
    return space.key(params) if space.includes(params) else None


def _replayed(grid: _Grid, n_tpe_seeds: int) -> Hindsight:
    n_ours = sum(is_ours for _, is_ours in grid.steps)
    ks = [k for k in CHECKPOINTS if k <= min(n_ours, len(grid.points) // 2)]
    if not ks:
        return Hindsight((), (f"cannot be told: the grid of {len(grid.points)} points leaves nothing to search",))
    steps = _until(grid.steps, ks[-1])
    ours = _best_after([grid.losses[point] for point, _ in steps], steps, ks)
    searches = {"random search": [_random(grid, steps, ks, seed) for seed in range(N_RANDOM_SEEDS)]}
    if n_tpe_seeds:
        searches["Optuna TPE"] = [_tpe(grid, steps, ks, seed) for seed in range(n_tpe_seeds)]
    versus = []
    for place, k in enumerate(ks):
        for rival, found in searches.items():
            compared = _compared(grid, rival, k, ours[place], [losses[place] for losses in found])
            if compared is not None:
                versus.append(compared)
    explored = f"{len(grid.points)} of the {grid.n_points} points of the space have been run"
    seeds = " and ".join(f"{rival} with {len(found)} seeds" for rival, found in searches.items())
    return Hindsight(tuple(versus), (f"{explored}; replayed on their outcomes: {seeds}",))


def _until(steps: Sequence[tuple[int, bool]], k: int) -> Sequence[tuple[int, bool]]:
    """Return the steps up to the k-th suggested one."""
    n_ours = np.cumsum([is_ours for _, is_ours in steps])
    return steps[: int(np.searchsorted(n_ours, k)) + 1]


def _best_after(losses: Sequence[float], steps: Sequence[tuple[int, bool]], ks: Sequence[int]) -> list[float]:
    """Return the best loss after the k-th suggested run, for each k; a run of somebody's own counts for all."""
    best = np.minimum.accumulate(losses)
    n_ours = np.cumsum([is_ours for _, is_ours in steps])
    return [float(best[int(np.searchsorted(n_ours, k))]) for k in ks]


def _compared(grid: _Grid, rival: str, k: int, ours: float, losses: Sequence[float]) -> Versus | None:
    """Return the comparison at one k; None where some search has found no outcome by then."""
    theirs = mean_of([grid.value(loss) for loss in losses]) if math.isfinite(ours) else None
    if theirs is None:
        return None
    best = float(grid.losses.min())
    return Versus(
        rival,
        basis="grid",
        k=k,
        ours=grid.value(ours),
        theirs=theirs,
        as_good=statistics.fmean(loss <= ours for loss in losses),
        regret=ours - best,
        their_regret=statistics.fmean(losses) - best,
    )


def _random(grid: _Grid, steps: Sequence[tuple[int, bool]], ks: Sequence[int], seed: int) -> list[float]:
    """Replay random search without repetition: where ours suggested, it draws; runs of somebody's own stay."""
    order = iter(np.random.default_rng([seed, 7]).permutation(len(grid.points)).tolist())
    had: set[int] = set()
    losses = []
    for point, is_ours in steps:
        chosen = next((p for p in order if p not in had), point) if is_ours else point
        had.add(chosen)
        losses.append(float(grid.losses[chosen]))
    return _best_after(losses, steps, ks)


def _tpe(grid: _Grid, steps: Sequence[tuple[int, bool]], ks: Sequence[int], seed: int) -> list[float]:
    """Replay Optuna's default sampler; it is spared points that it has had, which Optuna itself does not do."""
    import optuna
    from optuna.trial import TrialState, create_trial

    from advisor.suggest.study import no_study_announcement

    sampler: BaseSampler = optuna.samplers.TPESampler(seed=seed)
    with no_study_announcement():
        study = optuna.create_study(direction="minimize", sampler=sampler)
    places = {_key(grid.space, point): place for place, point in enumerate(grid.points)}
    distributions = grid.space.to_distributions()
    rng = np.random.default_rng([seed, 8])
    had: set[int] = set()
    losses = []
    for point, is_ours in steps:
        chosen = _asked(study, grid, places, had, rng) if is_ours else point
        had.add(chosen)
        loss = float(grid.losses[chosen])
        losses.append(loss)
        state = TrialState.COMPLETE if math.isfinite(loss) else TrialState.FAIL
        value = loss if math.isfinite(loss) else None
        params = dict(grid.points[chosen])
        own = {name: distributions[name] for name in params}
        study.add_trial(create_trial(state=state, value=value, params=params, distributions=own))
    return _best_after(losses, steps, ks)


def _asked(study: Study, grid: _Grid, places: Mapping[str | None, int], had: set[int], rng: np.random.Generator) -> int:
    """Return a recorded point that is new to the study: TPE's, or a random one where it has none."""
    from optuna.trial import TrialState

    for _ in range(MAX_REDRAWS):
        trial = study.ask()
        params = grid.space.suggest(trial)
        study.tell(trial, state=TrialState.FAIL)  # its outcome is added as a trial of its own
        place = places.get(_key(grid.space, params))
        if place is not None and place not in had:
            return place
    return int(rng.choice([place for place in range(len(grid.points)) if place not in had]))


# -- random runs in the same experiment


def _against_random(
    experiment: Experiment, objective: Objective, suggested: Sequence[Run], suggestions: Mapping[str, Mapping[str, Any]]
) -> tuple[Versus | None, str]:
    """Compare the first k suggestions of a model with the expected best of k of the random runs."""
    ranked = [run for run in suggested if experiment.ranks(run) and run.suggestion_id in suggestions]
    bodies = {run.id: suggestions[str(run.suggestion_id)] for run in ranked}
    random = [run for run in ranked if _is_random(bodies[run.id])]
    of_model = [run for run in ranked if not _is_random(bodies[run.id]) and bodies[run.id].get("source") != "fixed"]
    if len(random) < MIN_RANDOM or len(of_model) < MIN_K:
        return None, (
            f"{len(random)} random and {len(of_model)} other suggested runs have finished, "
            f"{MIN_RANDOM} and {MIN_K} are needed"
        )
    sign = 1.0 if objective.direction == "minimize" else -1.0
    k = min(len(random) // 2, len(of_model))  # beyond half, it is the single best draw that is compared with
    ours = min(sign * run.values[0] for run in of_model[:k])
    losses = np.array([sign * run.values[0] for run in random])
    theirs = best_of_k(losses, k)
    ends = sorted((sign * theirs.low, sign * theirs.high))
    versus = Versus(
        "random search",
        basis="random runs",
        k=k,
        ours=sign * ours,
        theirs=Estimate(sign * theirs.value, low=ends[0], high=ends[1], n=theirs.n),
        as_good=chance_of(losses, k, ours),
        regret=None,
        their_regret=None,
    )
    note = (
        f"the first {k} suggestions that learned from runs, beside the expected best of {k} of the {len(random)} "
        "random draws they had learned from"
    )
    return versus, note


def _is_random(body: Mapping[str, Any]) -> bool:
    return body.get("source") in RANDOM_SOURCES or body.get("sampler") == RANDOM_SAMPLER


def best_of_k(losses: NDArray[np.float64], k: int, *, seed: int = 0) -> Estimate:
    """Return the expected smallest of k of n values drawn without replacement, with a bootstrap interval.

    Exact over all subsets: the i-th smallest is the best of a subset with probability C(n - i, k - 1) / C(n, k).
    The interval draws the n values anew; it is good for k up to about n / 2, beyond that too narrow
    below, since no resample holds a value better than the best one seen.

    Raises
    ------
    ValueError
        If k is not between 1 and n.
    """
    n = losses.size
    if not 1 <= k <= n:
        raise ValueError(f"the best of k = {k} out of {n} values does not exist; k is between 1 and {n}")
    ratios = [
        (n - i - k + 1) / (n - i) for i in range(1, n)
    ]  # of one weight to the one before; 0 once too few are left
    weights = (k / n) * np.cumprod([1.0, *(max(ratio, 0.0) for ratio in ratios)])
    rng = np.random.default_rng(seed)
    drawn = [float(np.sort(rng.choice(losses, n)) @ weights) for _ in range(N_RESAMPLES)]
    value = float(np.sort(losses) @ weights)
    low, high = (float(end) for end in np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]))
    return Estimate(value, low=min(low, value), high=max(high, value), n=int(n))


def chance_of(losses: NDArray[np.float64], k: int, target: float) -> float:
    """Return the chance that the smallest of k of n values, drawn without replacement, is at most a target."""
    n_worse = int((losses > target).sum())
    return 1.0 - math.comb(n_worse, k) / math.comb(losses.size, k)

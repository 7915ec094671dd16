"""From searches to figures: means with intervals, paired differences, targets. Pure functions.

An interval is the 95 % bootstrap interval of the mean, by 10,000 resamples of whole tasks with all their seeds: tasks
differ far more than seeds do. A standard error is that of the mean over tasks of each task's mean over its seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from play import Result

CHECKPOINTS = (1, 3, 5, 10, 20, 30, 40, 50)
N_RESAMPLES = 10_000


@dataclass(frozen=True)
class Mean:
    """A mean over tasks and seeds."""

    mean: float
    low: float
    high: float
    """Ends of the 95 % interval."""
    error: float
    """Standard error over tasks; NaN with one task."""
    n_tasks: int


def chosen(results: Sequence[Result], benchmark: str, method: str, group: str | None = None) -> list[Result]:
    return [
        one for one in results if one.benchmark == benchmark and one.method == method and group in (None, one.group)
    ]


def groups(results: Sequence[Result], benchmark: str) -> list[str]:
    return sorted({one.group for one in results if one.benchmark == benchmark})


def checkpoints(results: Sequence[Result]) -> list[int]:
    """Return the checkpoints that all of these searches reached."""
    budget = min((len(one.regret) for one in results), default=0)
    return [at for at in CHECKPOINTS if at <= budget]


def regret(results: Sequence[Result], at: int) -> Mean:
    """Return the mean regret after so many runs."""
    return _mean([(one.task, one.regret[at - 1]) for one in results])


def difference(ours: Sequence[Result], other: Sequence[Result], at: int) -> Mean:
    """Return the mean of the paired differences, ours less the other; below 0, ours is better."""
    theirs = {(one.task, one.seed): one.regret[at - 1] for one in other}
    pairs = [(one.task, one.regret[at - 1] - theirs[key]) for one in ours if (key := (one.task, one.seed)) in theirs]
    return _mean(pairs)


def runs_needed(results: Sequence[Result], goal: float) -> int | None:
    """Return after how many runs the mean regret is at most the goal, None if never."""
    budget = min(len(one.regret) for one in results)
    means = np.mean([one.regret[:budget] for one in results], axis=0)
    reached = np.flatnonzero(means <= goal)
    return int(reached[0]) + 1 if reached.size else None


def ask_ms(results: Sequence[Result]) -> tuple[float, float, float]:
    """Return median, 95th percentile and maximum of an ask, in ms."""
    every = 1e3 * np.concatenate([one.ask_s for one in results])
    return float(np.median(every)), float(np.quantile(every, 0.95)), float(every.max())


def _mean(pairs: Sequence[tuple[str, float]]) -> Mean:
    by_task: dict[str, list[float]] = {}
    for task, value in pairs:
        by_task.setdefault(task, []).append(value)
    means = np.array([np.mean(values) for values in by_task.values()])
    low, high = _interval(means)
    n = means.size
    error = float(means.std(ddof=1) / np.sqrt(n)) if n > 1 else float("nan")
    return Mean(float(means.mean()), low, high, error, n)


def _interval(means: NDArray[np.float64]) -> tuple[float, float]:
    drawn = np.random.default_rng(0).choice(means, (N_RESAMPLES, means.size)).mean(axis=1)
    return float(np.quantile(drawn, 0.025)), float(np.quantile(drawn, 0.975))


# -- targets


@dataclass(frozen=True)
class Target:
    """Something that was aimed at before it was measured."""

    aim: str
    holds: bool
    found: str


def targets(results: Sequence[Result]) -> list[Target]:
    """Return all targets that can be judged with these searches; none of one task, which has no standard error."""
    return [*_lcbench(results), *_arlbench(results), *_no_worse_groups(results), *_least(results), *_cold(results)]


def _lcbench(results: Sequence[Result]) -> list[Target]:
    ours, tpe = chosen(results, "lcbench", "transfer"), chosen(results, "lcbench", "tpe")
    out = []
    for at, goal in ((10, 0.19), (20, 0.125), (30, 0.09)):
        if at in checkpoints(ours):
            mean = regret(ours, at).mean
            out.append(Target(f"lcbench: regret after {at} runs at most {goal}", mean <= goal, f"{mean:.3f}"))
    if ours and 50 in checkpoints(tpe):
        goal = regret(tpe, 50).mean
        needed = runs_needed(ours, goal)
        found = f"{needed or 'more than all'} runs to {goal:.3f}"
        out.append(Target("lcbench: at most 6 runs to TPE's mean after 50", needed is not None and needed <= 6, found))
    return out


def _arlbench(results: Sequence[Result]) -> list[Target]:
    ours, chance = chosen(results, "arlbench", "transfer"), chosen(results, "arlbench", "random")
    if 40 not in checkpoints(chance) or 5 not in checkpoints(ours):
        return []
    a, b = regret(ours, 5).mean, regret(chance, 40).mean
    return [Target("arlbench: 5 suggestions no worse than 40 random runs", a <= b, f"{a:.3f} against {b:.3f}")]


def _no_worse_groups(results: Sequence[Result]) -> list[Target]:
    out = []
    for benchmark in ("lcbench", "arlbench"):
        for group in groups(results, benchmark):
            ours, cold = (chosen(results, benchmark, method, group) for method in ("transfer", "cold"))
            if not ours or 30 not in checkpoints(cold):
                continue
            gap = difference(ours, cold, 30)
            if gap.n_tasks > 1:
                aim = f"{benchmark}, {group}: with the past no worse than cold by more than 1 SE after 30"
                out.append(Target(aim, _no_worse(gap), signed(gap)))
    return out


def _least(results: Sequence[Result]) -> list[Target]:
    out = []
    for benchmark in ("lcbench", "arlbench"):
        ours, cold = (chosen(results, benchmark, method) for method in ("least", "cold"))
        gaps = {at: difference(ours, cold, at) for at in checkpoints(ours) if at in checkpoints(cold)}
        if gaps and all(gap.n_tasks > 1 for gap in gaps.values()):
            worst = max(gaps, key=lambda at: gaps[at].mean)
            bad = [at for at, gap in gaps.items() if not _no_worse(gap)]
            found = f"worst after {worst}: {signed(gaps[worst])}" + (f"; missed after {bad}" if bad else "")
            aim = f"{benchmark}: the least similar past nowhere worse than cold by more than 1 SE"
            out.append(Target(aim, not bad, found))
    return out


def _cold(results: Sequence[Result]) -> list[Target]:
    out = []
    for benchmark in ("lcbench", "arlbench"):
        cold, tpe = (chosen(results, benchmark, method) for method in ("cold", "tpe"))
        both = [at for at in checkpoints(cold) if at in checkpoints(tpe)]
        for at in (at for at in both if at in (10, 20, 30, 50)):
            a, b = regret(cold, at).mean, regret(tpe, at).mean
            out.append(Target(f"{benchmark}: cold no worse than TPE after {at}", a <= b, f"{a:.3f} against {b:.3f}"))
        if benchmark == "lcbench" and 30 in both:
            a, b = regret(cold, 30).mean, regret(tpe, 30).mean
            aim = "lcbench: cold better than TPE by a third after 30"
            out.append(Target(aim, a <= b * 2 / 3, f"{a:.3f} against {b:.3f}"))
    return out


def _no_worse(gap: Mean) -> bool:
    """Whether a difference is not above 0 by more than its standard error."""
    return gap.mean <= gap.error


def signed(gap: Mean) -> str:
    return f"{gap.mean:+.3f} ± {gap.error:.3f}"

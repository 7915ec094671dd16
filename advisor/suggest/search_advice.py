"""Whether to go on searching: what further runs can be expected to gain, beside the noise and the cost.

The question is about the experiment; whether one run should stop is the business of ``pruning``. Pure. Leaves out what
the runs cannot say: a better region that nobody has looked at yet does not show in them.

Invariant: the advice at any moment uses the runs that had ended by then and no others.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from advisor.references import SEED_NAMES
from advisor.suggest.attainable import attainable
from advisor.suggest.ledger import ended_at
from advisor.suggest.noise import far_worse, pooled_sd
from advisor.suggest.outcome import measured
from advisor.suggest.problem import Problem
from advisor.suggest.space import Space
from storage.records import Experiment, Run

MIN_RUNS: Final = 20
"""Finished runs below which nothing is said: ten random ones at the start, and as many that learned from them."""
NEWEST: Final = 2_000
"""Runs that pages and agents have looked at; of 100,000 it would take half a minute. The same for all of them, so that
a figure that one told is the figure that another looks up."""
HORIZON: Final = 20
"""Further runs whose gain is foretold."""
EARLIEST: Final = 40
"""Finished runs from which on a search may look flat; before, samplers that learn are still on their way down."""
PATIENCE: Final = 10
"""Runs in a row after which the gain must have been within the noise: one lucky or unlucky run decides nothing.
Of the searches by TPE that were then advised to stop, 0.84 stayed flat for 20 more runs; counting from 20 runs on,
with 5 in a row, 0.70 (the functions of ``evals/stop_advice.py --dev``)."""
TAIL: Final = 5
"""Best recent runs whose distances make up the tail; with fewer one run decides, with more the tail is no tail."""
SPREAD_SHARE: Final = 0.02
"""Where nothing was repeated, or all repeats agree, this share of the distance from the median run to the best one
counts as noise: a gain that nobody would tell from a tie in a plot of all runs."""
BETWEEN_REPEATS: Final = "the standard deviation between repeats"
"""What the noise is taken from, where repeats tell it."""
EXPECTED_IMPROVEMENT: Final = "expected_improvement"
"""Key of a suggestion's body: the improvement over the best that its model expected, in the objective's unit."""


@dataclass(frozen=True, slots=True)
class SearchAdvice:
    """Advice on a search. It is true in a condition if the search had better stop."""

    stop: bool
    reason: str
    """One or two sentences with the figures."""
    _: KW_ONLY
    expected_gain: float | None
    """By how much the best is expected to improve in the next ``horizon`` runs, in the objective's unit: at least 0,
    and no more than is left to what it can be at all (``attainable``). None where the runs cannot tell."""
    from_runs: float | None
    """The part of it that the runs say: the larger one of the tail's and the last improvements'."""
    from_model: float | None
    """What the last suggestions' own expected improvements add up to; None where they carry none."""
    noise: float | None
    """Below this a gain means nothing, in the objective's unit."""
    noise_basis: str
    """What the noise is taken from, in words."""
    n_runs: int
    """Finished runs with a finite objective."""
    n_since_best: int | None
    """Finished runs since the best was improved."""
    horizon: int = HORIZON
    cost_s: float | None
    """What ``horizon`` further runs take one after the other, in seconds, by the median duration; None if unknown."""

    def __bool__(self) -> bool:
        return self.stop

    @property
    def gain_per_hour(self) -> float | None:
        """Expected gain an hour of training, in the objective's unit; None where one of the two is not known."""
        if self.expected_gain is None or not self.cost_s:
            return None
        return self.expected_gain / (self.cost_s / 3600)

    @property
    def noise_from_repeats(self) -> bool:
        """Whether repeats tell the noise; elsewhere a rule of thumb stands for it."""
        return self.noise_basis.startswith(BETWEEN_REPEATS)

    def as_json(self) -> dict[str, Any]:
        """Return the public JSON form."""
        gain = ("expected_gain", "from_runs", "from_model", "noise", "noise_basis")
        names = ("stop", "reason", *gain, "n_runs", "n_since_best", "horizon", "cost_s", "gain_per_hour")
        return {name: getattr(self, name) for name in names}

    def _repr_html_(self) -> str:
        from advisor import notebook

        return notebook.search_advice(self)


def advise_search(
    experiment: Experiment,
    runs: Sequence[Run],
    *,
    suggestions: Sequence[Mapping[str, Any]] = (),
    space: Space | None = None,
    worth: float | None = None,
) -> SearchAdvice:
    """Advise whether to stop looking for better parameters.

    Stop if the expected gain of the next 20 runs was no more than the noise after each of the last 10 runs, the first
    40 not counted.

    *Gain.* The recent half of the runs, at least 20, stands for what the next ones will be like. Beyond the best of
    them an exponential tail is assumed, whose scale is the mean distance of the 5 best to the next one; of m recent
    and k further runs the best is then expected to be ``scale · (1/(m+1) + … + 1/(m+k))`` better (A. Rényi, "On the
    theory of order statistics", 1953), less where the best of all is older than they are. The tail of an objective
    with an optimum ends somewhere, so this tends to promise too much and to stop late. What the last k runs did
    improve on the 20 or more before them counts where it is more, and so does what the last suggestions expected of
    themselves (``expected_improvement``), k times their mean. None of them is more than what is left: an accuracy does
    not exceed 1, a loss that was never negative stays so (``attainable``).

    *Noise.* The standard deviation between repeats of a configuration (pooled), or, where nothing was repeated, 2 % of
    the distance from the median run to the best one.

    Parameters
    ----------
    suggestions
        Bodies of the experiment's suggestions, in their order.
    space
        Its search space; a finite one that was tried whole is a reason to stop.
    worth
        Gain an hour of training that the search must promise, in the objective's unit; below it the advice is to
        stop as well. None leaves the cost to the reader.
    """
    objective = experiment.objective
    ended = sorted(runs, key=lambda run: (ended_at(run), run.number))
    problem = Problem.of(experiment.problem)  # of what breaks a constraint no better run comes
    known = [run for run in measured(experiment, ended) if objective and problem.feasible(run) is not False]
    if objective is None:
        return _cannot_tell(f"experiment {experiment.name!r} has no objective", 0)
    if len(known) < MIN_RUNS:
        return _cannot_tell(f"not enough runs to tell: {len(known)} finished, {MIN_RUNS} are needed", len(known))
    sign = 1.0 if objective.direction == "minimize" else -1.0
    losses = np.array([sign * run.values[0] for run in known])
    promised = [value for body in suggestions if (value := _promise(body)) is not None]
    moments = range(max(len(known) - PATIENCE + 1, EARLIEST), len(known) + 1)
    configurations = [_configuration(run) for run in known]
    low, high = attainable(objective.metric, [run.values[0] for run in known])
    end = low if sign > 0 else high
    steps = [(_gain(losses[:n], sign * end), _noise(configurations[:n], losses[:n])[0]) for n in moments]
    from_runs, (noise, basis) = _gain(losses, sign * end), _noise(configurations, losses)
    left = float(losses.min()) - sign * end
    from_model = min(HORIZON * statistics.fmean(promised[-PATIENCE:]), left) if len(promised) >= PATIENCE else None
    gain = max(from_runs, from_model or 0.0)
    durations = [run.duration_s for run in known if run.duration_s]  # 0 where a run was told: it is not known then
    cost = HORIZON * statistics.median(durations) if durations else None
    is_flat = len(steps) >= PATIENCE and all(each <= limit for each, limit in steps) and gain <= noise
    advice = SearchAdvice(
        is_flat,
        "",
        expected_gain=gain,
        from_runs=from_runs,
        from_model=from_model,
        noise=noise,
        noise_basis=basis,
        n_runs=len(known),
        n_since_best=len(known) - 1 - int(losses.argmin()),
        cost_s=cost,
    )
    is_all = gain >= left  # of what is left
    return _decided(
        advice, metric=objective.metric, end=end if is_all else None, tried=_tried(space, runs), worth=worth
    )


def _cannot_tell(reason: str, n_runs: int) -> SearchAdvice:
    return SearchAdvice(
        False,
        reason,
        expected_gain=None,
        from_runs=None,
        from_model=None,
        noise=None,
        noise_basis="",
        n_runs=n_runs,
        n_since_best=None,
        cost_s=None,
    )


def _decided(
    advice: SearchAdvice, *, metric: str, end: float | None, tried: int | None, worth: float | None
) -> SearchAdvice:
    """Return the advice with its reason in words, and with the two reasons to stop beside a flat search.

    Parameters
    ----------
    end
        The best value that the metric can take at all, where as much is expected.
    tried
        Points of a finite space that was tried whole.
    """
    gain, noise, rate = advice.expected_gain, advice.noise, advice.gain_per_hour
    assert gain is not None  # enough runs
    assert noise is not None
    to_its_end = "" if end is None else f" at most, to {end:g}, which it cannot better"
    figures = (
        f"the next {advice.horizon} runs are expected to improve {metric} by {gain:.3g}{to_its_end}, "
        f"where {advice.noise_basis} is {noise:.3g}; the best has stood for {advice.n_since_best} of {advice.n_runs} "
        "finished runs"
    )
    if advice.cost_s is not None:
        figures += f", and {advice.horizon} more take about {_hours(advice.cost_s)}"
    if tried is not None:
        reason = f"stop: all {tried} points of the space have been run; to go on, widen it"
        return replace(advice, stop=True, expected_gain=0.0, from_runs=0.0, from_model=None, reason=reason)
    if advice.stop:
        return replace(advice, reason=f"stop: {figures}")
    if worth is not None and rate is not None and rate < worth:
        cheap = f"stop: {rate:.3g} an hour is less than the {worth:.3g} that it is worth; {figures}"
        return replace(advice, stop=True, reason=cheap)
    flat_for = f"that has held for {PATIENCE} runs in a row after the first {EARLIEST}"
    why = "go on" if gain > noise else f"go on until {flat_for}"
    return replace(advice, reason=f"{why}: {figures}")


def _gain(losses: NDArray[np.float64], end: float) -> float:
    """Return the expected improvement of the best over the next ``HORIZON`` runs, in the order given, at least 0.

    No more than what is left to ``end``, the least loss that there can be.
    """
    recent = np.sort(losses[-max(len(losses) // 2, MIN_RUNS) :])
    scale = float((recent[TAIL] - recent[:TAIL]).mean())
    further = math.fsum(1 / (recent.size + i) for i in range(1, HORIZON + 1))
    behind = max(float(recent[0] - losses.min()), 0.0)  # where the best is older than the recent runs
    beyond = scale * further * math.exp(-behind / scale) if scale > 0 else 0.0
    # What the first runs gained on each other is no measure: from a poor start it is a hundred times what is left.
    before = losses[: max(losses.size - HORIZON, MIN_RUNS)]
    improved = float(before.min() - losses.min())
    return min(max(beyond, improved, 0.0), float(losses.min()) - end)


def _configuration(run: Run) -> str:
    """Return what makes two runs repetitions of each other: their parameters without the seeds."""
    params = {name: value for name, value in run.params.items() if name.lower() not in SEED_NAMES}
    return json.dumps(params, sort_keys=True, default=str)


def _noise(configurations: Sequence[str], losses: NDArray[np.float64]) -> tuple[float, str]:
    """Return the noise and what it is taken from; repeats far worse than the other runs say nothing of it.

    Nor do repeats that agree: a gain smaller than nothing there is not.
    """
    worst = far_worse(losses)
    groups: dict[str, list[float]] = {}
    for configuration, loss in zip(configurations, losses.tolist(), strict=True):
        groups.setdefault(configuration, []).append(loss)
    repeated = [group for group in groups.values() if len(group) > 1 and statistics.fmean(group) <= worst]
    n_free = sum(len(group) - 1 for group in repeated)
    if n_free and (deviation := pooled_sd(repeated)):
        return deviation, f"{BETWEEN_REPEATS} ({n_free + len(repeated)} runs)"
    spread = float(np.median(losses) - losses.min())
    basis = f"{SPREAD_SHARE:.0%} of the distance from the median run to the best"
    if n_free:
        basis += f" ({n_free + len(repeated)} repeated runs agree, which tells no noise)"
    return SPREAD_SHARE * spread, basis


def _promise(body: Mapping[str, Any]) -> float | None:
    value = body.get(EXPECTED_IMPROVEMENT)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return max(float(value), 0.0)


def _tried(space: Space | None, runs: Sequence[Run]) -> int | None:
    """Return how many points a finite space has if every one of them is a run that is over, otherwise None."""
    n_points = None if space is None else space.n_points
    if space is None or n_points is None or n_points > len(runs):
        return None
    tried = {space.key(run.params) for run in runs if run.state.is_over and space.includes(run.params)}
    return n_points if len(tried) >= n_points else None


def _hours(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.3g} min" if seconds < 7200 else f"{seconds / 3600:.3g} h"

"""How the runs of an experiment stand: who is best, by how much, and whether that can be told from chance.

Pure statistics on records; leaves out wording and formatting. Invariant: only a finished run with a
finite objective is ranked, so a failed, crashed, pruned or diverged run is never best.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from typing import Any

from advisor.references import SEED_NAMES
from advisor.suggest.noise import far_worse, pooled_sd
from advisor.suggest.pareto import front
from storage.records import Experiment, Objective, Run, RunState

NOISE_FACTOR = 2.0 * math.sqrt(2.0)
"""Two single runs differ beyond chance when their gap exceeds two standard deviations of a difference."""


@dataclass(frozen=True, slots=True)
class Repeats:
    """Ranked runs that share their configuration."""

    runs: tuple[Run, ...]
    _: KW_ONLY
    mean: float
    deviation: float
    """Sample standard deviation of the objective; 0 where they agree."""

    @property
    def agrees(self) -> bool:
        """Whether all of them have the same value."""
        return self.deviation == 0


@dataclass(frozen=True)
class Standing:
    """The order of an experiment's runs and what it rests on."""

    objective: Objective | None
    """The first one, by which the runs are ranked."""
    _: KW_ONLY
    experiment: Experiment
    runs: tuple[Run, ...]
    """By number."""
    ranked: tuple[Run, ...]
    """Runs that ``Experiment.ranks`` accepts, best first; of equals the earlier first."""
    repeats: tuple[Repeats, ...]
    """Configurations that were run more than once, best first."""

    @property
    def best(self) -> Run | None:
        """The best run, None where no run can be ranked."""
        return self.ranked[0] if self.ranked else None

    @property
    def has_several(self) -> bool:
        """Whether there are several objectives: then the order by the first one is not all."""
        return len(self.experiment.objectives) > 1

    @cached_property
    def front(self) -> tuple[Run, ...]:
        """The runs that no other one beats in every objective, the best by the first objective first."""
        return tuple(front(self.experiment, self.ranked))

    @property
    def baseline(self) -> Run | None:
        """The first run that can be ranked: what the others are compared with."""
        return min(self.ranked, key=lambda run: run.number) if self.ranked else None

    @cached_property
    def by_state(self) -> Mapping[RunState, int]:
        """Number of runs in each state that occurs."""
        return Counter(run.state for run in self.runs)

    @cached_property
    def unranked_finished(self) -> tuple[Run, ...]:
        """Finished runs whose objective is missing or that diverged."""
        finished = (run for run in self.runs if run.state is RunState.FINISHED)
        return tuple(run for run in finished if not self.experiment.came_out(run))

    @cached_property
    def breaking(self) -> tuple[Run, ...]:
        """Finished runs that are not ranked only because they break a constraint that they told Optuna of."""
        came_out = (run for run in self.runs if self.experiment.came_out(run))
        return tuple(run for run in came_out if not self.experiment.ranks(run))

    @cached_property
    def ended_badly(self) -> tuple[Run, ...]:
        """Failed and crashed runs, by number."""
        return tuple(run for run in self.runs if run.state in (RunState.FAILED, RunState.CRASHED))

    @cached_property
    def runner_up(self) -> Run | None:
        """The best run with another configuration than the best's."""
        if self.best is None:
            return None
        own = configuration(self.best)
        return next((run for run in self.ranked if configuration(run) != own), None)

    @cached_property
    def best_repeats(self) -> Repeats | None:
        """The repetitions of the best run's configuration, None where it was run once."""
        best = self.best
        return next((group for group in self.repeats if best in group.runs), None)

    @cached_property
    def noise(self) -> float | None:
        """Standard deviation of the objective between repetitions; None where nothing near the best was repeated.

        Pooled over ``near_repeats`` (``advisor.suggest.noise.pooled_sd``), as the ledger and the advice on the search
        tell it. None too where all of these agree, see ``advisor.suggest.noise.agree``.
        """
        if not self.near_repeats or self.repeats_agree:
            return None
        return pooled_sd([[value_of(run) for run in group.runs] for group in self.near_repeats])

    @cached_property
    def repeats_agree(self) -> bool:
        """Whether configurations near the best were repeated, and each gave one value only."""
        return bool(self.near_repeats) and all(group.agrees for group in self.near_repeats)

    @cached_property
    def near_repeats(self) -> tuple[Repeats, ...]:
        """The repeated configurations that are not far worse than the other runs: these tell how large noise is."""
        if not self.ranked:
            return ()
        sign = -1.0 if self.objective is not None and self.objective.direction == "maximize" else 1.0
        worst = far_worse([sign * value_of(run) for run in self.ranked])
        return tuple(group for group in self.repeats if sign * group.mean <= worst)

    @property
    def gap(self) -> float | None:
        """How far the best run is ahead of the best run of another configuration; never negative."""
        if self.best is None or self.runner_up is None:
            return None
        return abs(value_of(self.best) - value_of(self.runner_up))

    @property
    def beyond_noise(self) -> bool | None:
        """Whether that lead exceeds what repetitions differ by; None where it cannot be told."""
        return None if self.gap is None else self.is_beyond_noise(self.gap)

    def is_beyond_noise(self, difference: float) -> bool | None:
        """Return whether a difference of two single runs exceeds what repetitions differ by; None without any."""
        return None if self.noise is None else abs(difference) > NOISE_FACTOR * self.noise

    @cached_property
    def best_so_far(self) -> tuple[Run, ...]:
        """The runs that were each the best until then, by number."""
        records: list[Run] = []
        for run in sorted(self.ranked, key=lambda run: run.number):
            if self.objective and (not records or self.objective.better(value_of(run), value_of(records[-1]))):
                records.append(run)
        return tuple(records)

    @cached_property
    def places(self) -> Mapping[str, int]:
        """Place of each ranked run in the order, from 0, by its id."""
        return {run.id: place for place, run in enumerate(self.ranked)}

    def rank(self, run: Run) -> int | None:
        """Return the run's place among the ranked ones, from 1; equals share the better place."""
        if self.objective is None or run.id not in self.places:
            return None
        return 1 + sum(self.objective.better(value_of(other), value_of(run)) for other in self.ranked)


def standing(experiment: Experiment, runs: Sequence[Run]) -> Standing:
    """Return how the runs stand in the experiment's first objective."""
    ordered = tuple(sorted(runs, key=lambda run: run.number))
    objective = experiment.objective
    if objective is None:
        return Standing(None, experiment=experiment, runs=ordered, ranked=(), repeats=())
    sign = 1.0 if objective.direction == "minimize" else -1.0
    able = [run for run in ordered if experiment.ranks(run)]
    ranked = tuple(sorted(able, key=lambda run: (sign * value_of(run), run.number)))
    groups: dict[str, list[Run]] = {}
    for run in ranked:
        groups.setdefault(configuration(run), []).append(run)
    repeats = (_repeats(group) for group in groups.values() if len(group) > 1)
    return Standing(
        objective,
        experiment=experiment,
        runs=ordered,
        ranked=ranked,
        repeats=tuple(sorted(repeats, key=lambda group: sign * group.mean)),
    )


def value_of(run: Run) -> float:
    """Return a ranked run's objective."""
    return math.nan if run.objective is None else run.objective


def configuration(run: Run) -> str:
    """Return what makes two runs repetitions of each other: their parameters without the seeds."""
    params = {name: value for name, value in run.params.items() if name.lower() not in SEED_NAMES}
    return json.dumps(params, sort_keys=True, default=str)


def varied(runs: Sequence[Run]) -> tuple[str, ...]:
    """Return the parameters that differ between runs, in the order in which they occur."""
    names = dict.fromkeys(name for run in runs for name in run.params)
    return tuple(name for name in names if len({_key(run.params.get(name, _ABSENT)) for run in runs}) > 1)


def constant(runs: Sequence[Run]) -> dict[str, Any]:
    """Return the parameters that have the same value in all runs; empty for fewer than two runs."""
    if len(runs) < 2:
        return {}
    moving = set(varied(runs))
    return {name: value for name, value in runs[0].params.items() if name not in moving}


def cause(run: Run) -> str:
    """Return why a run did not end well: the last line of its traceback; empty where nothing was kept."""
    lines = [line.strip() for line in (run.error or "").splitlines() if line.strip()]
    return lines[-1] if lines else ""


_ABSENT = "\0absent"


def _key(value: Any) -> str:
    if isinstance(value, (str, int, float)):  # almost all; a bool is an int, and says so
        return f"{type(value).__name__}:{value!r}"
    return json.dumps(value, sort_keys=True, default=str)


def _repeats(group: Sequence[Run]) -> Repeats:
    values = [value_of(run) for run in group]
    mean = math.fsum(value / len(values) for value in values)
    return Repeats(tuple(group), mean=mean, deviation=pooled_sd([values]))

"""ARLBench: real results of reinforcement learning, 17 environments in four groups that share an algorithm.

Each group has the same 256 configurations, run with 10 seeds. A suggestion is run as the nearest of the 256 that has
not been tried; what a search is told is the mean over the seeds, while a past run is one seed, NaN where it diverged.
Regret is 0 at the best and 1 at the worst of the 256 means.

J. Becktepe et al., "ARLBench: Flexible and Efficient Benchmarking for Hyperparameter Optimization in RL", 2024.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from problems import BEGIN, Answer, finished

from advisor.suggest import Choice, Float, Int, Space
from advisor.suggest.geometry import coordinates, distances
from advisor.suggest.others import Past
from storage.records import Experiment, Objective

GROUPS = {
    "atari": ("battle_zone", "double_dunk", "phoenix", "qbert", "this_game"),
    "control": ("box2d_lunar_lander", "cc_acrobot", "cc_cartpole", "cc_mountain_car"),
    "brax": ("ant", "halfcheetah", "hopper", "humanoid"),
    "minigrid": ("door_key", "empty_random", "four_rooms", "unlock"),
}
ALGORITHM = {"atari": "dqn", "control": "dqn", "brax": "sac", "minigrid": "ppo"}
LOG = frozenset({"learning_rate", "buffer_epsilon"})
WHEN = {
    "buffer_alpha": "buffer_prio_sampling",
    "buffer_beta": "buffer_prio_sampling",
    "buffer_epsilon": "buffer_prio_sampling",
    "target_update_interval": "use_target_network",
    "tau": "use_target_network",
}
"""Parameter → the switch without which it has no meaning."""
NOT_PARAMETERS = frozenset({"config_id", "budget", "performance", "seed"})
FEW = 6
"""Different whole numbers below which they are a choice."""
ABSENT = 0.5


class ARLBench:
    name = "arlbench"

    def __init__(self, folder: Path) -> None:
        self._group = {
            f"{environment if group == 'control' else f'{group}_{environment}'}_{ALGORITHM[group]}": group
            for group, environments in GROUPS.items()
            for environment in environments
        }
        self.tasks = sorted(self._group)
        self._space: dict[str, Space] = {}
        self._rows: dict[str, list[dict[str, Any]]] = {}
        self._values: dict[str, NDArray[np.float64]] = {}
        for task in self.tasks:
            self._read(folder / f"{task}.parquet", task)

    def _read(self, path: Path, task: str) -> None:
        import pandas as pd

        table = pd.read_parquet(path)
        table = table[table["budget"] == table["budget"].max()]
        names = [name for name in table.columns if name not in NOT_PARAMETERS]
        configurations = table.drop_duplicates("config_id").set_index("config_id")[names].sort_index()
        group = self._group[task]
        if group not in self._space:
            columns = {name: configurations[name].dropna().tolist() for name in names}
            self._space[group] = Space.of({name: _dimension(name, values) for name, values in columns.items()})
        space = self._space[group]
        self._rows[task] = [
            {name: space[name].nearest(row[name]) for name in names if not _absent(row[name])}
            for row in configurations.to_dict("records")
        ]
        values = table.pivot_table(index="config_id", columns="seed", values="performance", dropna=False)
        self._values[task] = values.sort_index().to_numpy(dtype=float)

    def group(self, task: str) -> str:
        return self._group[task]

    def experiment(self, task: str) -> Experiment:
        *environment, algorithm = task.split("_")
        said = " ".join(environment).replace("cc ", "classic control ")
        return Experiment(
            task.replace("_", "-"),
            number=self.tasks.index(task),
            objectives=(Objective("mean_return", "maximize"),),
            space=self.space(task).to_json(),
            description=f"{algorithm.upper()} agent on the {said} environment",
            created=BEGIN,
        )

    def space(self, task: str) -> Space:
        return self._space[self._group[task]]

    @functools.lru_cache(maxsize=128)  # noqa: B019  # one object a process, see problems.benchmark
    def past(self, task: str, seed: int, n_runs: int) -> Past:
        rng = np.random.default_rng([seed, self.tasks.index(task), 5])
        experiment, values = self.experiment(task), self._values[task]
        chosen = rng.choice(len(values), n_runs, replace=False)
        seeds = rng.integers(values.shape[1], size=n_runs)
        runs = [
            finished(experiment.name, f"{n_runs}-{seed}", i, self._rows[task][k], float(values[k, seeds[i]]))
            for i, k in enumerate(chosen)
        ]
        return Past(experiment, runs)

    @functools.lru_cache(maxsize=32)  # noqa: B019  # as above
    def whole(self, task: str) -> Past:
        """Return all configurations of a task, each with the mean over its seeds: more than any past can tell."""
        experiment, rows = self.experiment(task), self._rows[task]
        means = self._means(task).tolist()
        return Past(experiment, [finished(experiment.name, "whole", i, rows[i], means[i]) for i in range(len(rows))])

    def answering(self, task: str) -> Answer:
        space, rows, means = self.space(task), self._rows[task], self._means(task)
        points = _filled(coordinates(space, rows))
        tried = np.zeros(len(rows), dtype=bool)

        def answer(params: Mapping[str, Any]) -> tuple[Mapping[str, Any], float]:
            gaps = distances(space, points, _filled(coordinates(space, [params]))[0])
            k = int(np.argmin(np.where(tried, np.inf, gaps)))
            tried[k] = True
            return rows[k], float(means[k])

        return answer

    def regret(self, task: str, value: float) -> float:
        means = self._means(task)
        worst, best = np.nanmin(means), np.nanmax(means)
        return 1.0 if math.isnan(value) else float((best - value) / (best - worst))

    def _means(self, task: str) -> NDArray[np.float64]:
        """Return the mean over the seeds that came through, shape (256,); NaN where none did."""
        values = self._values[task]
        came = np.isfinite(values)
        n = came.sum(axis=1)
        return np.where(n > 0, np.where(came, values, 0.0).sum(axis=1) / np.maximum(n, 1), np.nan)


def _dimension(name: str, values: Sequence[Any]) -> Choice | Float | Int:
    when = {WHEN[name]: True} if name in WHEN else None
    different = sorted(set(values))
    if set(different) <= {False, True}:
        return Choice(False, True, when=when)
    whole = all(float(value).is_integer() for value in different)
    if whole and len(different) < FEW:
        return Choice(*(int(value) for value in different), when=when)
    kind = Int if whole else Float
    return kind(different[0], different[-1], log=name in LOG, when=when)


def _absent(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _filled(points: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(np.isnan(points), ABSENT, points)

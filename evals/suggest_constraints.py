"""How good a run is found that keeps its constraints, and how many runs break them: ours beside Optuna's samplers.

    python evals/suggest_constraints.py [--seeds 20] [--first-seed 0] [--methods ours,tpe,gp,random] [--only forest]

Each search is a study of 25 trials without a past, and each trial tells its constraints by ``set_constraint``: two
problems with narrow feasible regions (J. R. Gardner et al., "Bayesian optimization with inequality constraints", 2014,
simulation 1; R. B. Gramacy et al., "Modeling an augmented Lagrangian for blackbox constrained optimization", 2016), and
random forests on scikit-learn's digits that may have 1,500 nodes at most, trained anew each time with another split.
Counted is the best run that keeps all; a search without one counts as the worst value of the problem that any had.

That a constraint's noise is fitted was chosen on the first two with seeds 0 to 7 and on one that is not here.
"""

from __future__ import annotations

import argparse
import json
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import optuna
from numpy.typing import NDArray

from advisor.optuna import TransferSampler

N_RUNS = 25
LOOKED_AT = (10, 15, 25)
NODES = 1500
RESAMPLED = 2_000
ROOT = Path(__file__).parents[1]

Answer = tuple[float, Sequence[float]]
"""What is to be minimised, and the constraints, kept up to 0."""
Problem = Callable[[optuna.Trial, int], Answer]


def waves(trial: optuna.Trial, seed: int) -> Answer:
    x, y = trial.suggest_float("x", 0, 6), trial.suggest_float("y", 0, 6)
    return math.cos(2 * x) * math.cos(y) + math.sin(x), [math.cos(x) * math.cos(y) - math.sin(x) * math.sin(y) - 0.5]


def corner(trial: optuna.Trial, seed: int) -> Answer:
    x, y = trial.suggest_float("x", 0, 1), trial.suggest_float("y", 0, 1)
    wave = 0.5 * math.sin(2 * math.pi * (x * x - 2 * y))
    return x + y, [1.5 - x - 2 * y - wave, x * x + y * y - 1.5]


def forest(trial: optuna.Trial, seed: int) -> Answer:
    from sklearn.datasets import load_digits
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.model_selection import train_test_split

    model = RandomForestClassifier(
        n_estimators=trial.suggest_int("n_estimators", 5, 60, log=True),
        max_depth=trial.suggest_int("max_depth", 2, 16),
        min_samples_leaf=trial.suggest_int("min_samples_leaf", 1, 20, log=True),
        max_features=trial.suggest_float("max_features", 0.05, 1.0),
        random_state=seed * 100 + trial.number,
    )
    features, target = load_digits(return_X_y=True)
    x, rest_x, y, rest_y = train_test_split(features, target, train_size=600, random_state=seed * 100 + trial.number)
    error = 1 - float(model.fit(x, y).score(rest_x, rest_y))
    return error, [sum(tree.tree_.node_count for tree in model.estimators_) / NODES - 1]


PROBLEMS: Mapping[str, Problem] = {"waves": waves, "corner": corner, "forest": forest}
METHODS: Mapping[str, Callable[[int], optuna.samplers.BaseSampler]] = {
    "ours": lambda seed: TransferSampler(seed=seed),
    "tpe": lambda seed: optuna.samplers.TPESampler(seed=seed),
    "gp": lambda seed: optuna.samplers.GPSampler(seed=seed),
    "random": lambda seed: optuna.samplers.RandomSampler(seed=seed),
}


def search(problem: Problem, method: str, seed: int) -> tuple[list[float], float]:
    """Return the best value after each run of those that keep all, infinite before one does, and the share broken."""
    study = optuna.create_study(sampler=METHODS[method](seed))
    best, found, n_broken = math.inf, [], 0
    for _ in range(N_RUNS):
        trial = study.ask()
        value, bounds = problem(trial, seed)
        for i, bound in enumerate(bounds):
            trial.set_constraint(str(i), bound)
        study.tell(trial, value)
        kept = all(bound <= 0 for bound in bounds)
        best, n_broken = min(best, value) if kept else best, n_broken + (not kept)
        found.append(best)
    return found, n_broken / N_RUNS


def interval(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of the mean over searches."""
    rng = np.random.default_rng(0)
    means = rng.choice(values, (RESAMPLED, values.size)).mean(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20, metavar="N")
    parser.add_argument("--first-seed", type=int, default=0, metavar="N")
    parser.add_argument("--methods", default="ours,tpe,gp,random", help=f"by comma: {', '.join(METHODS)}")
    parser.add_argument("--only", default=",".join(PROBLEMS), help=f"problems, by comma: {', '.join(PROBLEMS)}")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "evals" / "suggest_constraints.json")
    given = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    seeds = range(given.first_seed, given.first_seed + given.seeds)
    rows = []
    for name in given.only.split(","):
        results = {
            method: [search(PROBLEMS[name], method, seed) for seed in seeds] for method in given.methods.split(",")
        }
        every = [value for found in results.values() for best, _ in found for value in best if math.isfinite(value)]
        curves = {m: np.array([np.minimum(best, max(every)) for best, _ in found]) for m, found in results.items()}
        print(f"\n{name}: best run that keeps all constraints, mean of {given.seeds} searches [95 %]; less is better")
        for method, found in results.items():
            broken = np.array([share for _, share in found])
            row = {
                "problem": name,
                "method": method,
                "broken": float(broken.mean()),
                "broken_interval": interval(broken),
            }
            for n in LOOKED_AT:
                row[str(n)] = float(curves[method][:, n - 1].mean())
                row[f"{n}_interval"] = interval(curves[method][:, n - 1])
                if "tpe" in curves and method != "tpe":
                    row[f"{n}_less_tpe"] = interval(curves[method][:, n - 1] - curves["tpe"][:, n - 1])
            rows.append(row)
            cells = "  ".join(
                "{} {:.3f} [{:.3f}, {:.3f}]".format(n, row[str(n)], *row[f"{n}_interval"]) for n in LOOKED_AT
            )
            low, high = row.get(f"{N_RUNS}_less_tpe", (math.nan, math.nan))
            beside = "" if math.isnan(low) else f"  less TPE at {N_RUNS}: [{low:+.3f}, {high:+.3f}]"
            print(f"  {method:<7} {cells}  broken {row['broken']:.0%}{beside}")
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps({"seeds": list(seeds), "n_runs": N_RUNS, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()

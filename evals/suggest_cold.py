"""Cold suggestions on a real tuning problem: our rule against Optuna's default and random search.

The problem: a support vector classifier on 600 of the UCI digits with three parameters (C and gamma on log
scales, shrinking of the features by PCA), 3-fold cross-validated error. Every sampler gets the same budget and
the same seeds. What is reported is the best error found after 10, 20 and 30 runs, the paired difference to
each baseline, and a bootstrap interval over the seeds.

    python evals/suggest_cold.py [--seeds 5] [--budget 30] [--json PATH]
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVC

from advisor.suggest import Float, Int, Space, suggest
from storage.records import Experiment, Objective, Run, RunState

SPACE = Space.of({"C": Float(1e-3, 1e3, log=True), "gamma": Float(1e-7, 1e1, log=True), "components": Int(2, 64)})
CHECKPOINTS = (10, 20, 30)
Problem = Callable[[Mapping[str, Any]], float]


def problem() -> Problem:
    """Return the function from parameters to the cross-validated error, in [0, 1]."""
    images, labels = load_digits(return_X_y=True)
    chosen = np.random.default_rng(0).permutation(len(labels))[:600]
    images, labels = images[chosen], labels[chosen]

    def error(params: Mapping[str, Any]) -> float:
        reduce = PCA(params["components"], random_state=0)
        model = make_pipeline(reduce, SVC(C=params["C"], gamma=params["gamma"]))
        return 1.0 - float(cross_val_score(model, images, labels, cv=3).mean())

    return error


def ours(error: Problem, budget: int, seed: int) -> list[float]:
    """Return the errors of the runs that ``suggest`` proposed."""
    now = datetime.now(UTC)
    experiment = Experiment("digits", number=0, objectives=(Objective("error"),), created=now)
    runs: list[Run] = []
    for number in range(budget):
        params = suggest(experiment, runs, SPACE, seed=seed, now=now)[0].params
        runs.append(
            Run(
                f"run-{number}",
                number=number,
                experiment="digits",
                state=RunState.FINISHED,
                params=params,
                values=(error(params),),
                created=now,
            )
        )
    return [run.values[0] for run in runs]


def optunas(error: Problem, budget: int, sampler: optuna.samplers.BaseSampler) -> list[float]:
    """Return the errors of the trials that an Optuna study ran."""
    study = optuna.create_study(sampler=sampler)
    for _ in range(budget):
        trial = study.ask(fixed_distributions=SPACE.to_distributions())
        study.tell(trial, error(trial.params))
    return [float(trial.values[0]) for trial in study.trials]


def bootstrap(differences: NDArray[np.float64]) -> tuple[float, float]:
    """Return the 95 % interval of the mean over seeds, by 10,000 resamples of the paired differences."""
    rng = np.random.default_rng(0)
    means = rng.choice(differences, (10_000, differences.size)).mean(axis=1)
    return float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))


def main() -> None:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--budget", type=int, default=30)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    error = problem()
    methods: dict[str, Callable[[int], list[float]]] = {
        "ours": lambda seed: ours(error, args.budget, seed),
        "optuna TPE default": lambda seed: optunas(error, args.budget, optuna.samplers.TPESampler(seed=seed)),
        "random": lambda seed: optunas(error, args.budget, optuna.samplers.RandomSampler(seed=seed)),
    }
    best: dict[str, NDArray[np.float64]] = {}
    result: dict[str, Any] = {"seeds": args.seeds, "budget": args.budget, "unit": "cross-validated error", "rows": []}
    for name, run in methods.items():
        begun = time.perf_counter()
        best[name] = np.minimum.accumulate([run(seed) for seed in range(args.seeds)], axis=1)
        print(f"{name}: {time.perf_counter() - begun:.0f} s")
    print(f"\n{'best error after':<20}" + "".join(f"{n:>38}" for n in CHECKPOINTS if n <= args.budget))
    for name, curves in best.items():
        cells = []
        for n in (n for n in CHECKPOINTS if n <= args.budget):
            difference = best["ours"][:, n - 1] - curves[:, n - 1]
            low, high = bootstrap(difference)
            row = {"method": name, "after": n, "mean": float(curves[:, n - 1].mean())}
            cell = f"{row['mean']:.4f}"
            if name != "ours":
                row |= {"ours_minus_it": float(difference.mean()), "low": low, "high": high}
                cell += f"  ours {difference.mean():+.4f} [{low:+.4f}, {high:+.4f}]"
            result["rows"].append(row)
            cells.append(f"{cell:>38}")
        print(f"{name:<20}" + "".join(cells))
    print("\nNegative differences: ours is better. An interval that holds 0 shows no difference.")
    if args.json:
        args.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()

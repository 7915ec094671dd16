"""The same Optuna study on our store and on Optuna's own storages: what writing costs.

Random sampler, five parameters and twenty reported values a trial, one process; the objective costs nothing, so
that storage is all there is to wait for.

    python evals/optuna_storage.py [--trials 30] [--out PATH]
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import optuna
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend

from advisor.optuna import AdvisorStorage


def objective(trial: optuna.Trial) -> float:
    value = sum(trial.suggest_float(f"x{i}", -1, 1) ** 2 for i in range(5))
    for step in range(20):
        trial.report(value + 1 / (step + 1), step)
    return value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    rows: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        storages: dict[str, Callable[[], BaseStorage]] = {
            "Optuna sqlite": lambda: RDBStorage(f"sqlite:///{folder}/optuna.db"),
            "Optuna journal": lambda: JournalStorage(JournalFileBackend(str(folder / "journal.log"))),
            "AdvisorStorage": lambda: AdvisorStorage(folder / "store"),
        }
        for label, make in storages.items():
            study = optuna.create_study(storage=make(), sampler=optuna.samplers.RandomSampler(seed=0))
            study.optimize(objective, n_trials=1)  # tables are made, modules loaded
            began = time.perf_counter()
            study.optimize(objective, n_trials=given.trials)
            rows[label] = time.perf_counter() - began
    print(f"{given.trials} trials of 5 parameters and 20 reports")
    for label, seconds in rows.items():
        print(f"{label:16}{seconds:8.2f} s {seconds / rows['Optuna sqlite']:6.2f} × sqlite")
    if given.out:
        given.out.write_text(json.dumps({"n_trials": given.trials, "seconds": rows}, indent=1))


if __name__ == "__main__":
    main()

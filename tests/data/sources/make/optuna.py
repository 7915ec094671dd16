"""Write the fixtures of Optuna with Optuna itself, and what it then says of them.

In an environment of its own, once a release (``-P``, since this file has the name of the package)::

    python -m venv optuna-env && optuna-env/bin/pip install optuna==5.0.0
    optuna-env/bin/python -P tests/data/sources/make/optuna.py sqlite tests/data/sources
    optuna-env/bin/python -P tests/data/sources/make/optuna.py journal tests/data/sources

Folders: ``optuna-<release>-sqlite`` (5.0.0, 3.6.1, 2.10.1) and ``optuna-<release>-journal`` (5.0.0, 3.6.1).
"""

from __future__ import annotations

import json
import math
import shutil
import sqlite3
import sys
import warnings
from pathlib import Path
from typing import Any

import optuna

LONG = 2_000
NAN = math.nan if optuna.__version__ >= "3" else 0.5
"""Releases before 3 cannot keep NaN as an intermediate value."""


def main(kind: str, out: str) -> None:
    """Write one folder of fixtures."""
    warnings.simplefilter("ignore")
    folder = Path(out).resolve() / f"optuna-{optuna.__version__}-{kind}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    storage = storage_of(folder, kind)
    write(storage)
    runs = [trial(name, t) for name, study in studies(storage).items() for t in study.get_trials(deepcopy=False)]
    told = {"tool": f"optuna {optuna.__version__}", "runs": runs}
    (folder / "expected.json").write_text(json.dumps(told, ensure_ascii=False))
    if kind == "sqlite":
        database = sqlite3.connect(folder / "studies.db")
        database.execute("PRAGMA page_size = 1024")
        database.execute("VACUUM")
        database.close()


def storage_of(folder: Path, kind: str) -> Any:
    """Return a storage in a folder."""
    if kind == "sqlite":
        return optuna.storages.RDBStorage(f"sqlite:///{folder}/studies.db")
    try:
        from optuna.storages.journal import JournalFileBackend as Backend
    except ImportError:
        from optuna.storages import JournalFileStorage as Backend
    return optuna.storages.JournalStorage(Backend(str(folder / "journal.log")))


def studies(storage: Any) -> dict[str, Any]:
    """Return all studies by name."""
    names = [summary.study_name for summary in optuna.get_all_study_summaries(storage=storage)]
    return {name: optuna.load_study(study_name=name, storage=storage) for name in names}


def write(storage: Any) -> None:
    """Run studies with trials of all kinds."""
    study = optuna.create_study(
        storage=storage,
        study_name="Überraschung /1",
        direction="maximize",
        sampler=optuna.samplers.RandomSampler(seed=1),
    )
    study.set_user_attr("team", "vision")
    if hasattr(study, "set_metric_names"):
        study.set_metric_names(["val/acc"])
    study.enqueue_trial({"x": 0.5, "opt": "sgd"})
    study.optimize(objective, n_trials=6, catch=(ValueError,))
    odd(study)
    study.enqueue_trial({"x": 0.25})

    two = optuna.create_study(
        storage=storage,
        study_name="two",
        directions=["minimize", "maximize"],
        sampler=optuna.samplers.RandomSampler(seed=2),
    )
    two.optimize(lambda t: (t.suggest_float("x", 0, 1), float(t.suggest_int("n", 1, 9, step=2))), n_trials=2)

    long = optuna.create_study(storage=storage, study_name="long")
    t = long.ask()
    if optuna.__version__.startswith("5"):
        for i in range(100 if isinstance(storage, optuna.storages.JournalStorage) else LONG):
            t.report(round(1 / (1 + i), 4), i)
    long.tell(t, 0.25)
    gone = optuna.create_study(storage=storage, study_name="gone")
    gone.ask()
    optuna.delete_study(study_name="gone", storage=storage)
    optuna.create_study(storage=storage, study_name="empty")


def objective(t: Any) -> float:
    """Return what a trial of the first study yields."""
    x = t.suggest_float("x", 0.0, 1.0)
    t.suggest_float("lr", 1e-5, 1e-1, log=True)
    t.suggest_float("step", 0.0, 1.0, step=0.25)
    t.suggest_int("layers", 1, 8)
    t.suggest_int("width", 16, 1024, log=True)
    t.suggest_categorical("opt", ["adam", "sgd", None, True, 0.5])
    t.set_user_attr("hostile", "'; DROP TABLE trials; --\u202e")
    t.set_user_attr("nested", {"a": [1, 2], "b": {"c": None}})
    values = [0.1, NAN, math.inf, -math.inf, 5e-324, 0.2]
    for i, value in enumerate(values[: t.number + 2]):
        t.report(value, 10 * i)
    if t.number == 2:
        raise optuna.TrialPruned
    if t.number == 3:
        raise ValueError("boom")
    if t.number == 4:
        return math.nan
    return x


def odd(study: Any) -> None:
    """Leave trials that are infinite, running, or came from elsewhere."""
    infinite = study.ask()
    study.tell(infinite, math.inf)
    running = study.ask()
    running.suggest_float("x", 0.0, 1.0)
    running.report(0.75, 3)
    running.set_user_attr("seed", 7)
    told = optuna.trial.create_trial(
        params={"x": 0.125},
        distributions={"x": distribution()},
        value=-math.inf,
        intermediate_values={5: 1.0, 2: NAN},
        user_attrs={"from": "elsewhere"},
    )
    study.add_trial(told)


def distribution() -> Any:
    """Return the distribution of ``x`` in this release."""
    try:
        return optuna.distributions.FloatDistribution(0.0, 1.0)
    except AttributeError:
        return optuna.distributions.UniformDistribution(0.0, 1.0)


def trial(study: str, t: Any) -> dict[str, Any]:
    """Return one trial as JSON."""
    points = sorted(t.intermediate_values.items())
    return {
        "study": study,
        "number": t.number,
        "state": t.state.name,
        "values": t.values,
        "params": t.params,
        "user_attrs": t.user_attrs,
        "distributions": {n: optuna.distributions.distribution_to_json(d) for n, d in t.distributions.items()},
        "start": t.datetime_start.astimezone().isoformat() if t.datetime_start else None,
        "end": t.datetime_complete.astimezone().isoformat() if t.datetime_complete else None,
        "steps": [step for step, _ in points],
        "points": [value for _, value in points],
    }


if __name__ == "__main__":
    main(*sys.argv[1:])

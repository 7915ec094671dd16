"""The same Optuna study on our store and on Optuna's own storages: what keeping trials costs.

Random sampler, five parameters and twenty reported values a trial; the objective costs nothing, so that storage is all
there is to wait for. Once with one process, once with several that share one study, each storage in its default
settings. The storages take turns, and the figures are medians over the turns. Starting processes, importing and
making tables are not counted. A trial that a storage raised over is counted as lost, and another one is run for it.

Also how long ``get_all_trials(deepcopy=False)`` takes on a study of many finished trials.

    python evals/optuna_storage.py [--trials 100] [--processes 8] [--repeats 3] [--folder DIR] [--out PATH]
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState, create_trial

from advisor.optuna import AdvisorStorage

SQLITE, JOURNAL, OURS = "Optuna sqlite", "Optuna journal", "AdvisorStorage"
STUDY = "study"
LOST_AT_MOST = 1_000
READS = 20
MAKE: dict[str, Callable[[Path], BaseStorage]] = {
    SQLITE: lambda folder: RDBStorage(f"sqlite:///{folder}/optuna.db"),
    JOURNAL: lambda folder: JournalStorage(JournalFileBackend(str(folder / "journal.log"))),
    OURS: lambda folder: AdvisorStorage(folder / "store"),
}


def objective(trial: optuna.Trial) -> float:
    value = sum(trial.suggest_float(f"x{i}", -1, 1) ** 2 for i in range(5))
    for step in range(20):
        trial.report(value + 1 / (step + 1), step)
    return value


def work(label: str, folder: Path, n_trials: int, seed: int, barrier: Any, results: Any) -> None:
    """Run a share of a study, in a process of its own."""
    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    warnings.simplefilter("ignore")
    sampler = optuna.samplers.RandomSampler(seed=seed)
    study = optuna.load_study(study_name=STUDY, storage=MAKE[label](folder), sampler=sampler)
    barrier.wait()
    began, lost, done = time.monotonic(), 0, 0
    while done < n_trials and lost < LOST_AT_MOST:
        try:
            study.optimize(objective, n_trials=1)
            done += 1
        except Exception:  # noqa: BLE001  # whatever a storage raises over a trial, it costs the trial
            lost += 1
    results.put((began, time.monotonic(), lost))


def one_process(label: str, n_trials: int, root: Path | None) -> dict[str, float]:
    with tempfile.TemporaryDirectory(dir=root) as name:
        study = optuna.create_study(storage=MAKE[label](Path(name)), sampler=optuna.samplers.RandomSampler(seed=0))
        study.optimize(objective, n_trials=1)  # tables are made, modules loaded
        began = time.monotonic()
        study.optimize(objective, n_trials=n_trials)
        return {"seconds": time.monotonic() - began, "lost": 0}


def many_processes(label: str, n_trials: int, n_processes: int, root: Path | None) -> dict[str, float]:
    with tempfile.TemporaryDirectory(dir=root) as name:
        optuna.create_study(study_name=STUDY, storage=MAKE[label](Path(name))).optimize(objective, n_trials=1)
        context = multiprocessing.get_context("spawn")
        barrier, results = context.Barrier(n_processes), context.Queue()
        shares = [n_trials // n_processes + (i < n_trials % n_processes) for i in range(n_processes)]
        workers = [
            context.Process(target=work, args=(label, Path(name), share, seed, barrier, results))
            for seed, share in enumerate(shares)
        ]
        for worker in workers:
            worker.start()
        told = [results.get(timeout=1_200) for _ in workers]
        for worker in workers:
            worker.join()
        study = optuna.load_study(study_name=STUDY, storage=MAKE[label](Path(name)))
        done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        assert len(done) == n_trials + 1
        assert all(len(trial.params) == 5 and len(trial.intermediate_values) == 20 for trial in done)
        return {
            "seconds": max(end for _, end, _ in told) - min(began for began, _, _ in told),
            "lost": sum(lost for _, _, lost in told),
        }


def reading(n_trials: int, root: Path | None) -> dict[str, float]:
    """Return milliseconds of one ``get_all_trials``: the first, one with nothing new, one after another's append."""
    with tempfile.TemporaryDirectory(dir=root) as name:
        path = Path(name) / "store"
        writer = AdvisorStorage(path)
        study = optuna.create_study(study_name=STUDY, storage=writer)
        study_id = study._study_id
        given = optuna.distributions.FloatDistribution(-1, 1)
        template = create_trial(
            params={f"x{i}": 0.5 for i in range(5)},
            distributions={f"x{i}": given for i in range(5)},
            intermediate_values=dict.fromkeys(range(20), 1.0),
            value=1.0,
        )
        fill(writer, template, n_trials)
        reader = AdvisorStorage(path)

        def read() -> float:
            began = time.perf_counter()
            assert len(reader.get_all_trials(study_id, deepcopy=False)) >= n_trials
            return 1e3 * (time.perf_counter() - began)

        first = read()
        unchanged = statistics.median(read() for _ in range(READS))
        changed = []
        for _ in range(READS):
            writer.create_new_trial(study_id, template)
            changed.append(read())
        return {"first": first, "unchanged": unchanged, "after an append": statistics.median(changed)}


def fill(storage: AdvisorStorage, template: optuna.trial.FrozenTrial, n_trials: int) -> None:
    """Put many trials into a study, 500 in a commit."""
    from advisor.suggest.trials import trial_body
    from storage.records import Event, new_id

    body = trial_body(template)
    for start in range(0, n_trials, 500):
        storage._store.append(
            [Event.new("run.created", STUDY, new_id(), **body) for _ in range(min(500, n_trials - start))]
        )


def compare(run: Callable[[str], dict[str, float]], labels: list[str], repeats: int) -> dict[str, Any]:
    turns: dict[str, list[dict[str, float]]] = {label: [] for label in labels}
    for turn in range(repeats):
        for label in labels if turn % 2 == 0 else labels[::-1]:
            turns[label].append(run(label))
    base = statistics.median(turn["seconds"] for turn in turns[SQLITE])
    return {
        label: {
            "seconds": statistics.median(turn["seconds"] for turn in each),
            "times_sqlite": statistics.median(turn["seconds"] for turn in each) / base,
            "all_seconds": [turn["seconds"] for turn in each],
            "lost": sum(turn["lost"] for turn in each),
        }
        for label, each in turns.items()
    }


def show(title: str, rows: dict[str, Any]) -> None:
    print(title)
    for label, row in rows.items():
        spread = f"{min(row['all_seconds']):.2f}-{max(row['all_seconds']):.2f}"
        print(f"  {label:16}{row['seconds']:8.2f} s ({spread}) {row['times_sqlite']:6.2f} x sqlite, {row['lost']} lost")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--read", type=int, nargs="*", default=[1_000, 10_000], help="sizes of studies to be read")
    parser.add_argument("--only", choices=["one", "many", "read"], help="leave the other parts out")
    parser.add_argument("--without-journal", action="store_true", help="leave Optuna's journal storage out")
    parser.add_argument("--folder", type=Path, help="where the storages lie; the system's folder for temporary files")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    labels = [SQLITE, OURS] if given.without_journal else list(MAKE)
    out: dict[str, Any] = {"n_trials": given.trials, "n_processes": given.processes, "repeats": given.repeats}
    if given.only in (None, "one"):
        out["one"] = compare(lambda label: one_process(label, given.trials, given.folder), labels, given.repeats)
        show(f"{given.trials} trials of 5 parameters and 20 reports, one process", out["one"])
    if given.only in (None, "many"):
        out["many"] = compare(
            lambda label: many_processes(label, given.trials, given.processes, given.folder), labels, given.repeats
        )
        show(f"the same, {given.processes} processes on one study", out["many"])
    if given.only in (None, "read"):
        out["read_ms"] = {n: reading(n, given.folder) for n in given.read}
        print("get_all_trials(deepcopy=False), ms")
        for n, row in out["read_ms"].items():
            print(f"  {n:7,} trials: " + ", ".join(f"{what} {ms:.1f}" for what, ms in row.items()))
    if given.out:
        given.out.write_text(json.dumps(out, indent=1))


if __name__ == "__main__":
    main()

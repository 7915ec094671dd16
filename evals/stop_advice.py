"""Does a search that was advised to stop gain anything if it goes on? And does it stop in time at all?

    python evals/stop_advice.py [--seeds 10] [--budget 120] [--search tpe] [--tasks 3] [--dev] [--json PATH]

Searches are Optuna's TPE and random search on known functions with known noise, and on surrogates of real tuning
problems (YAHPO lcbench: validation accuracy after 52 epochs, 7 parameters), read from ``yahpo/lcbench`` under
$ADVISOR_EVAL_DATA or ../shared/data; skipped where that or onnxruntime is absent. Every search runs to its budget.
``advise_search`` is asked after each run with what had ended by then; at the first advice to stop, the next 20 runs
are looked at.

What is printed, with 95 % Wilson intervals over searches: how often there was advice to stop within the budget, and
after how many runs (median); how often the next 20 runs then improved the best observed value by no more than the
noise that the advice was based on (*flat*); the same for the noise-free value of the best run (*truly flat*, where
that is known); the same with the rule "no improvement in 20 runs" and, as a floor, at the median moment of the
advice in all searches of the problem whether advised or not. Below, for all problems together, how far the expected
gain is from the observed one at some numbers of runs, as shares of the distance from the median run to the best by
then, with 95 % bootstrap intervals over searches. The constants were chosen on the functions of
``--dev`` with other seeds; the functions and tasks reported are others.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import optuna

from advisor.suggest.intervals import Share, mean_of
from advisor.suggest.search_advice import EARLIEST, HORIZON, advise_search
from storage.records import Experiment, Objective, Run, RunState

NOW = datetime(2026, 1, 1, tzinfo=UTC)
EXPERIMENT = Experiment("stop", number=0, objectives=(Objective("loss"),), created=NOW)
N_REPEATS = 4
"""Runs among the first that repeat the one before, where a problem has noise: this is how a user learns of it."""
FORETOLD_AT = (20, 22, 25, 30, 40, 60)
"""Numbers of runs after which the expected gain is held against what came."""
Function = Callable[[Mapping[str, float]], float]


@dataclass(frozen=True)
class Problem:
    name: str
    space: Mapping[str, optuna.distributions.BaseDistribution]
    function: Function
    """Noise-free; smaller is better."""
    noise: float = 0.0
    """Standard deviation of a run's outcome."""


def cube(n: int) -> dict[str, optuna.distributions.BaseDistribution]:
    return {f"x{i}": optuna.distributions.FloatDistribution(0, 1) for i in range(n)}


def at(params: Mapping[str, float]) -> np.ndarray:
    return np.array([params[name] for name in sorted(params)])


def bowl(params: Mapping[str, float]) -> float:
    return float(((at(params) - 0.3) ** 2).sum())


def ackley(params: Mapping[str, float]) -> float:
    x = 4 * (at(params) - 0.4)
    return float(20 - 20 * np.exp(-0.2 * np.sqrt((x**2).mean())) + math.e - np.exp(np.cos(2 * np.pi * x).mean()))


def rosenbrock(params: Mapping[str, float]) -> float:
    x = 3 * at(params) - 1
    return float(np.log1p((100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()))


def hartmann(params: Mapping[str, float]) -> float:
    """Hartmann's function of three variables, as the benchmark collections have it; least value -3.86."""
    a = np.array([[3, 10, 30], [0.1, 10, 35], [3, 10, 30], [0.1, 10, 35]])
    p = 1e-4 * np.array([[3689, 1170, 2673], [4699, 4387, 7470], [1091, 8732, 5547], [381, 5743, 8828]])
    return float(-(np.array([1.0, 1.2, 3.0, 3.2]) * np.exp(-(a * (at(params) - p) ** 2).sum(axis=1))).sum())


def ridge(params: Mapping[str, float]) -> float:
    """One parameter matters over decades, the others hardly: what learning rates do."""
    x = at(params)
    return float(abs(3 * (x[0] - 0.6)) ** 1.5 + 0.1 * ((x[1:] - 0.5) ** 2).sum())


def rastrigin(params: Mapping[str, float]) -> float:
    x = 2 * (at(params) - 0.55)
    return float((x**2 + 0.3 * (1 - np.cos(4 * np.pi * x))).sum())


def dev_problems() -> list[Problem]:
    return [
        Problem("bowl 3, no noise", cube(3), bowl),
        Problem("bowl 3, noise .05", cube(3), bowl, 0.05),
        Problem("ackley 5, no noise", cube(5), ackley),
        Problem("ackley 5, noise .3", cube(5), ackley, 0.3),
    ]


def problems(folder: Path, n_tasks: int) -> list[Problem]:
    known = [
        Problem("hartmann 3, no noise", cube(3), hartmann),
        Problem("hartmann 3, noise .1", cube(3), hartmann, 0.1),
        Problem("rosenbrock 4, no noise", cube(4), rosenbrock),
        Problem("rosenbrock 4, noise .2", cube(4), rosenbrock, 0.2),
        Problem("ridge 6, noise .05", cube(6), ridge, 0.05),
        Problem("rastrigin 4, noise .1", cube(4), rastrigin, 0.1),
    ]
    return known + (lcbench(folder / "yahpo" / "lcbench", n_tasks) if n_tasks else [])


def lcbench(folder: Path, n_tasks: int) -> list[Problem]:
    try:
        import onnxruntime
    except ImportError:
        print("lcbench skipped: onnxruntime is not installed", file=sys.stderr)
        return []
    if not (folder / "model.onnx").is_file():
        print(f"lcbench skipped: there is no {folder}/model.onnx", file=sys.stderr)
        return []
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), options)
    tasks = json.loads((folder / "encoding.json").read_text())["OpenML_task_id"]
    usable = [task for task in tasks if not task.startswith("#")]
    chosen = np.random.default_rng(0).permutation(len(usable))[:n_tasks]
    real, whole = optuna.distributions.FloatDistribution, optuna.distributions.IntDistribution
    space: dict[str, optuna.distributions.BaseDistribution] = {
        "batch_size": whole(16, 512, log=True),
        "learning_rate": real(1e-4, 0.1, log=True),
        "momentum": real(0.1, 0.99),
        "weight_decay": real(1e-5, 0.1),
        "num_layers": whole(1, 5),
        "max_units": whole(64, 1024, log=True),
        "max_dropout": real(0, 1),
    }

    def of(task: str) -> Function:
        def loss(params: Mapping[str, float]) -> float:
            row = np.array([[52.0, *(params[name] for name in space)]], dtype=np.float32)
            return -float(
                session.run(None, {"x_cat": np.array([[tasks[task]]], dtype=np.int32), "x_cont": row})[0][0][1]
            )

        return loss

    return [Problem(f"lcbench {usable[i]}", space, of(usable[i])) for i in sorted(chosen.tolist())]


def search(problem: Problem, sampler: str, budget: int, seed: int) -> tuple[list[Run], list[float]]:
    """Return the runs of a search in their order, and their noise-free outcomes."""
    chosen: optuna.samplers.BaseSampler = (
        optuna.samplers.RandomSampler(seed=seed)
        if sampler == "random"
        else optuna.samplers.TPESampler(seed=seed, multivariate=True)
    )
    study = optuna.create_study(sampler=chosen)
    rng = np.random.default_rng([seed, 5])
    runs: list[Run] = []
    true: list[float] = []
    for number in range(budget):
        is_repeat = problem.noise > 0 and 3 <= number < 3 + N_REPEATS
        if is_repeat:
            params = dict(runs[2].params)
        else:
            trial = study.ask(fixed_distributions=dict(problem.space))
            params = trial.params
        value = problem.function(params)
        observed = value + problem.noise * float(rng.normal())
        if not is_repeat:
            study.tell(trial, observed)
        true.append(value)
        begun = NOW + timedelta(minutes=number)
        runs.append(
            Run(
                f"run-{number}",
                number=number,
                experiment="stop",
                state=RunState.FINISHED,
                params=params,
                values=(observed,),
                created=begun,
                started=begun,
                ended=begun + timedelta(seconds=50),
            )
        )
    return runs, true


def later_gains(runs: Sequence[Run], true: Sequence[float], n: int) -> tuple[float, float]:
    """Return by how much the next runs improved the best, as observed and noise-free."""
    observed = np.array([run.values[0] for run in runs])
    before, after = int(observed[:n].argmin()), int(observed[: n + HORIZON].argmin())
    return float(observed[before] - observed[after]), true[before] - true[after]


def gains(runs: Sequence[Run], n: int) -> tuple[float, float]:
    """Return what the next runs are expected to gain and what they did, in distances from the median to the best."""
    observed = np.array([run.values[0] for run in runs])
    unit = float(np.median(observed[:n]) - observed[:n].min()) or 1.0
    expected = advise_search(EXPERIMENT, runs[:n]).expected_gain or 0.0
    return expected / unit, later_gains(runs, observed.tolist(), n)[0] / unit


def patient(runs: Sequence[Run]) -> int | None:
    """Return after how many runs the rule "no improvement in 20 runs" stops."""
    best = np.minimum.accumulate([run.values[0] for run in runs])
    hits = [n for n in range(HORIZON + 1, len(runs) - HORIZON + 1) if best[n - 1] == best[n - 1 - HORIZON]]
    return hits[0] if hits else None


def measure(problem: Problem, sampler: str, seeds: Sequence[int], budget: int) -> dict[str, Any]:
    searches = [search(problem, sampler, budget, seed) for seed in seeds]
    advised: list[tuple[int, int, float]] = []
    for i, (runs, _) in enumerate(searches):
        for n in range(EARLIEST, budget - HORIZON + 1):
            advice = advise_search(EXPERIMENT, runs[:n])
            if advice.stop:
                advised.append((i, n, advice.noise or 0.0))
                break
    flat = [later_gains(*searches[i], n)[0] <= noise for i, n, noise in advised]
    truly = [later_gains(*searches[i], n)[1] <= (problem.noise or noise) for i, n, noise in advised]
    middle = int(np.median([n for _, n, _ in advised])) if advised else budget - HORIZON
    floor, rule = [], []
    for runs, true in searches:
        noise = advise_search(EXPERIMENT, runs[:middle]).noise or 0.0
        floor.append(later_gains(runs, true, middle)[0] <= noise)
        stop = patient(runs)
        if stop is not None:
            rule.append(later_gains(runs, true, stop)[0] <= (advise_search(EXPERIMENT, runs[:stop]).noise or 0.0))
    foretold = {n: [(i, *gains(runs, n)) for i, (runs, _) in enumerate(searches)] for n in FORETOLD_AT}
    n = len(searches)
    return {
        "problem": problem.name,
        "sampler": sampler,
        "stopped": Share(len(advised), n=n).as_json(),
        "after": middle if advised else None,
        "flat": Share(sum(flat), n=len(flat)).as_json(),
        "truly_flat": Share(sum(truly), n=len(truly)).as_json(),
        "rule_stopped": Share(len(rule), n=n).as_json(),
        "rule_flat": Share(sum(rule), n=len(rule)).as_json(),
        "floor": Share(sum(floor), n=n).as_json(),
        "foretold": {str(n): [{"search": i, "expected": e, "came": c} for i, e, c in foretold[n]] for n in foretold},
    }


def shown(share: Mapping[str, Any]) -> str:
    if not share["n"]:
        return f"{'-':>22s}"
    return f"{share['share']:8.2f} [{share['low']:.2f}, {share['high']:.2f}]"


def summed(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    out: dict[str, Any] = {"problem": "all", "sampler": rows[0]["sampler"], "after": None}
    for name in ("stopped", "flat", "truly_flat", "rule_stopped", "rule_flat", "floor"):
        hits, n = (sum(row[name][key] for row in rows) for key in ("n_hits", "n"))
        out[name] = Share(hits, n=n).as_json()
    return out


def show_foretold(rows: Sequence[Mapping[str, Any]], sampler: str) -> None:
    for n in FORETOLD_AT:
        pairs = [(each["expected"], each["came"]) for row in rows for each in row["foretold"][str(n)]]
        cells = ""
        for values in ([e for e, _ in pairs], [c for _, c in pairs], [abs(e - c) for e, c in pairs]):
            mean = mean_of(values)
            cells += f"{mean.value:8.2f} [{mean.low:.2f}, {mean.high:.2f}]" if mean is not None else f"{'-':>22s}"
        print(f"{'expected of 20 more':<24s}{sampler:<8s}{n:6d}{cells}")


def show(row: Mapping[str, Any]) -> None:
    after = "-" if row["after"] is None else str(row["after"])
    cells = "".join(shown(row[name]) for name in ("stopped", "flat", "truly_flat", "rule_flat", "floor"))
    print(f"{row['problem']:<24s}{row['sampler']:<8s}{after:>6s}{cells}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--budget", type=int, default=120)
    parser.add_argument("--search", choices=("tpe", "random"), action="append", help="by default both")
    parser.add_argument("--tasks", type=int, default=3, help="how many tasks of lcbench")
    parser.add_argument("--dev", action="store_true", help="the functions on which the constants were chosen")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    folder = Path(os.environ.get("ADVISOR_EVAL_DATA") or Path(__file__).parents[1] / ".." / "shared" / "data")
    seeds = range(1000, 1000 + args.seeds) if args.dev else range(args.seeds)
    names = ("stopped", "flat", "truly flat", "rule: flat", "floor: flat")
    print(f"{'problem':<24s}{'search':<8s}{'after':>6s}" + "".join(f"{name:>22s}" for name in names))
    rows = []
    by_sampler: dict[str, list[dict[str, Any]]] = {}
    for sampler in args.search or ("tpe", "random"):
        own = []
        for problem in dev_problems() if args.dev else problems(folder, args.tasks):
            own.append(measure(problem, sampler, seeds, args.budget))
            show(own[-1])
        show(summed(own))
        by_sampler[sampler] = own
        rows += [*own, summed(own)]
    names = ("expected", "came", "|difference|")
    print(f"\n{'':<24s}{'search':<8s}{'runs':>6s}" + "".join(f"{name:>22s}" for name in names))
    for sampler, own in by_sampler.items():
        show_foretold(own, sampler)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

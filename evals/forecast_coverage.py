"""How often the 80 % interval of a forecast holds the final value, on synthetic and on real runs.

    python evals/forecast_coverage.py [--repeats 20] [--out PATH]

From parameters: two synthetic functions of four parameters, and a support vector classifier on the UCI digits
(the problem of ``digits_svm``), each with runs drawn at random. From the first part of a curve: the training
runs of ``deepobs/`` under $ADVISOR_EVAL_DATA or ../shared/data; skipped where that is absent. In each repeat n
runs are known and others, drawn from the rest, are forecast. Nothing is fitted to the result.

What is printed: coverage with its 95 % binomial interval, which takes forecasts as independent (those of one
repeat share their known runs, so it is somewhat too narrow); the coverage that is aimed at, 0.8 from 9 runs on; the
median width of the interval as a share of that between the 10 % and 90 % quantiles of all final values
(floor 0; 1 or more is no narrower than what all runs together say); and how often there was a forecast at all,
which for pure noise should be near 0.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from digits_svm import SPACE as DIGITS_SPACE
from digits_svm import problem as digits
from findings_deepobs import OBJECTIVE, data_folder, load
from scipy.stats import binomtest

from advisor.suggest import Float, Forecast, Space, forecast_run
from advisor.suggest.surrogate import fit_params_model
from storage.records import Curve, Experiment, Objective, Run, RunState

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CUBE = Space.of({name: Float(0, 1) for name in "abcd"})
N_KNOWN = (10, 15, 30, 50)
N_FORECAST = 25
N_DIGITS = 200
"""Digits configurations that are trained, each once; repeats draw from them."""
AT = (0.1, 0.3, 0.5)
"""Fractions of the training from which curves are forecast."""


def experiment(objective: Objective) -> Experiment:
    return Experiment("coverage", number=0, objectives=(objective,), created=NOW)


def made(number: int, params: Mapping[str, Any], value: float) -> Run:
    return Run(
        f"run-{number}",
        number=number,
        experiment="coverage",
        state=RunState.FINISHED,
        params=params,
        values=(value,),
        created=NOW,
    )


def synthetic(function: Callable[[np.ndarray, np.random.Generator], np.ndarray], n: int, seed: int) -> list[Run]:
    rng = np.random.default_rng(seed)
    points = rng.random((n, len(CUBE)))
    rows = [dict(zip(CUBE, map(float, point), strict=True)) for point in points]
    return [made(i, row, float(value)) for i, (row, value) in enumerate(zip(rows, function(points, rng), strict=True))]


def additive(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.asarray(2 * x[:, 0] + x[:, 1] ** 2 + rng.normal(0, 0.3, len(x)))


def decades(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A bowl whose values span decades, as losses do along the learning rate."""
    return np.exp(12 * (x[:, 0] - 0.5) ** 2 + 0.5 * x[:, 1] + rng.normal(0, 0.3, len(x)))


def noise(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return rng.normal(0, 1, len(x))


def digits_runs() -> list[Run]:
    error, rng = digits(), np.random.default_rng(0)
    rows = [{name: dim.at(float(rng.random())) for name, dim in DIGITS_SPACE.items()} for _ in range(N_DIGITS)]
    return [made(i, row, error(row)) for i, row in enumerate(rows)]


def from_params(runs: Sequence[Run], space: Space, n: int, seed: int) -> tuple[list[tuple[Forecast, float]], int]:
    """Return forecasts with the true values, and how many were asked for."""
    order = np.random.default_rng([seed, 2]).permutation(len(runs))
    known, asked = [runs[i] for i in order[:n]], [runs[i] for i in order[n : n + N_FORECAST]]
    model, _ = fit_params_model(experiment(Objective("value")), known, space, seed=seed)
    return [] if model is None else [(model.forecast(run.params), run.values[0]) for run in asked], len(asked)


def from_curves(
    runs: Sequence[Run], curves: Mapping[str, Mapping[str, Curve]], n: int, seed: int, *, at: float
) -> tuple[list[tuple[Forecast, float]], int]:
    """Return forecasts from a part of the curve with the true values, and how many were asked for."""
    order = np.random.default_rng([seed, 3]).permutation(len(runs))
    known, asked = [runs[i] for i in order[:n]], [runs[i] for i in order[n : n + N_FORECAST]]
    got = [(forecast_run(experiment(OBJECTIVE), run, curves, known, at=at)[0], run.values[0]) for run in asked]
    return [(forecast, value) for forecast, value in got if forecast is not None], len(asked)


def summary(pairs: Sequence[tuple[Forecast, float]], n_asked: int, n: int, values: Sequence[float]) -> dict[str, Any]:
    """Return the figures of one line; coverage is None where nothing was forecast."""
    out: dict[str, Any] = {"n_known": n, "aim": min(0.8, (n - 1) / (n + 1)), "forecast_share": len(pairs) / n_asked}
    if not pairs:
        return out | {"coverage": None}
    hits = sum(forecast.low <= value <= forecast.high for forecast, value in pairs)
    ends = binomtest(hits, len(pairs)).proportion_ci(method="wilson")
    usual = float(np.quantile(values, 0.9) - np.quantile(values, 0.1))
    width = float(np.median([forecast.high - forecast.low for forecast, _ in pairs])) / usual
    return out | {
        "coverage": hits / len(pairs),
        "interval": [float(ends.low), float(ends.high)],
        "n": len(pairs),
        "width": width,
    }


def show(name: str, row: Mapping[str, Any]) -> None:
    start = f"{name:34s}{row['n_known']:8d}{row['forecast_share']:10.0%}{row['aim']:8.2f}"
    if row["coverage"] is None:
        print(f"{start}    no forecast")
        return
    low, high = row["interval"]
    print(f"{start}{row['coverage']:10.3f} [{low:.3f}, {high:.3f}]{row['n']:7d}{row['width']:8.2f}")


def measure_params(repeats: int) -> list[dict[str, Any]]:
    out = []
    for function in (additive, decades, noise):
        for n in N_KNOWN:
            drawn = [synthetic(function, n + N_FORECAST, seed) for seed in range(repeats)]
            got = [from_params(runs, CUBE, n, seed) for seed, runs in enumerate(drawn)]
            values = [run.values[0] for runs in drawn for run in runs]
            out.append(_line(f"parameters, {function.__name__}", got, n, values))
    runs = digits_runs()
    for n in N_KNOWN:
        got = [from_params(runs, DIGITS_SPACE, n, seed) for seed in range(repeats)]
        out.append(_line("parameters, digits", got, n, [run.values[0] for run in runs]))
    return out


def measure_curves(repeats: int) -> list[dict[str, Any]]:
    folder = data_folder()
    if not (folder / "runs.parquet").is_file():
        print(f"curves skipped: there is no {folder}/runs.parquet; set ADVISOR_EVAL_DATA to what holds deepobs/")
        return []
    everything, curves = load(folder)
    out = []
    for name, loaded in sorted(everything.items()):
        ends = {run.id: curves[run.id][OBJECTIVE.metric].last for run in loaded}
        runs = [made(i, run.params, ends[run.id]) for i, run in enumerate(loaded)]
        of_run = {mine.id: curves[run.id] for mine, run in zip(runs, loaded, strict=True)}
        runs = [run for run in runs if np.isfinite(run.values[0])]
        for at in AT:
            got = [from_curves(runs, of_run, 30, seed, at=at) for seed in range(repeats)]
            out.append(_line(f"curve at {at:.0%}, {name}", got, 30, [run.values[0] for run in runs]))
    return out


def _line(
    name: str, got: Sequence[tuple[list[tuple[Forecast, float]], int]], n: int, values: Sequence[float]
) -> dict[str, Any]:
    row = summary([pair for pairs, _ in got for pair in pairs], sum(asked for _, asked in got), n, values)
    show(name, row)
    return {"what": name} | row


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--out", type=Path, help="write the figures here as JSON")
    args = parser.parse_args()
    print(f"{'forecast from':34s}{'n known':>8s}{'made':>10s}{'aim':>8s}{'coverage [95 %]':>25s}{'n':>7s}{'width':>8s}")
    rows = measure_params(args.repeats) + measure_curves(args.repeats)
    if args.out:
        args.out.write_text(json.dumps(rows, indent=1), encoding="utf-8")
        print(f"written to {args.out}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""Experiments, runs and curves for the tests of suggestions; no store involved."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from advisor.suggest.space import Choice, Float, Int, Space
from storage.records import Curve, Direction, Experiment, Objective, Run, RunState

NOW = datetime(2024, 5, 1, tzinfo=UTC)
SPACE = Space({"lr": Float(1e-5, 1, log=True), "hidden": Int(16, 512, log=True), "optimizer": Choice("sgd", "adam")})


def experiment(*directions: Direction, reduce: str = "last") -> Experiment:
    names = ["loss", "seconds", "size"]
    objectives = tuple(Objective(names[i], direction) for i, direction in enumerate(directions or ("minimize",)))
    return Experiment("digits", number=0, objectives=objectives, reduce=reduce, created=NOW)


def run(
    number: int,
    params: Mapping[str, Any],
    *values: float,
    state: RunState = RunState.FINISHED,
    metrics: Mapping[str, float] | None = None,
) -> Run:
    return Run(
        f"run-{number}",
        number=number,
        ordinal=number,
        experiment="digits",
        state=state,
        params=params,
        values=values,
        metrics=metrics or {},
        created=NOW,
    )


def loss_of(params: Mapping[str, Any]) -> float:
    """A smooth bowl in log(lr), best at 10^-2.5, and a handicap for sgd."""
    return (math.log10(params["lr"]) + 2.5) ** 2 + (0.5 if params["optimizer"] == "sgd" else 0.0) + 0.1


def random_runs(n: int, *, seed: int = 0, space: Space = SPACE) -> list[Run]:
    rng = np.random.default_rng(seed)
    rows = [{name: dim.at(float(rng.random())) for name, dim in space.items()} for _ in range(n)]
    return [run(i, params, loss_of(params) if "hidden" in params else 1.0) for i, params in enumerate(rows)]


def curve(values: Sequence[float], steps: Sequence[int] | None = None) -> Curve:
    return Curve.of("loss", list(range(len(values))) if steps is None else steps, values)

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import advisor
from advisor.app import Advisor
from storage.records import Curve, CurveChunk, Event, utc_now

ODD = [1.0, math.nan, math.inf, -math.inf, 1e-300, 1e300, 0.1, -0.0]
NASTY = "=HYPERLINK(0)"


def add(adv: Advisor, experiment: str, run_id: str, curves: dict[str, Any], **body: Any) -> None:
    """Write one run, ended by default, with curves ``{metric: (steps, values)}`` or ``{metric: values}``."""
    began = utc_now() - timedelta(hours=1)
    told = {"state": "finished", "started": began.isoformat(), "ended": (began + timedelta(minutes=5)).isoformat()}
    made = {}
    for metric, given in curves.items():
        steps, values = given if isinstance(given, tuple) else (range(len(given)), given)
        made[metric] = Curve.of(metric, list(steps), list(values), [float(i) for i in range(len(values))])
    from storage.curves import summaries

    told["summary"] = summaries(made)
    adv.store.append([Event.new("run.created", experiment, run_id, time=began, **{**told, **body})])
    adv.store.append_curves(
        [
            CurveChunk(
                *[run_id],
                metric=metric,
                chunk=0,
                through=len(curve),
                steps=curve.steps,
                values=curve.values,
                times=curve.times,
            )
            for metric, curve in made.items()
        ]
    )


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Advisor]:
    """Return an empty store of the test's own."""
    with advisor.open(tmp_path / "own", capture=False) as opened:
        yield opened


@pytest.fixture(scope="module")
def adv(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Advisor]:
    """Return a store with everything that an export can meet: odd values, steps, names, states, and a suggestion.

    It serves all tests of a module: an export only reads.
    """
    opened = advisor.open(tmp_path_factory.mktemp("exported") / "store", capture=False)
    space = {"lr": advisor.Float(1e-4, 1, log=True), "opt": advisor.Choice("sgd", "adam")}
    exp = opened.experiment("digits/mlp", objective="loss", space=space, description="d")
    odd: dict[str, Any] = {
        "loss": ODD,
        "acc/val": ([5, 3, 3, 9], [0.25, 0.5, 0.75, 1.0]),
        "système": [3.0],
        "system/cpu_percent": [50.0],
    }
    params = {"lr": 0.1, "opt": "adam", "nested": {"a": [1, None]}, "nan": math.nan, "text": NASTY, "flag": True}
    said: dict[str, Any] = {
        "tags": ["baseline", "team=vision"],
        "notes": ["-a note", "x\ny"],
        "user_attrs": {"name": NASTY, "group": "g"},
    }
    add(opened, "digits/mlp", "a" * 32, odd, params=params, seed=7, **said)
    add(opened, "digits/mlp", "b/../../c", {"loss": [2.0, 1.5]}, params={"lr": 0.01, "opt": "sgd"}, state="pruned")
    add(opened, "digits/mlp", "failed-1", {}, params={"lr": 0.5, "opt": "sgd"}, state="failed", error="boom")
    diverged = {"loss": [1.0, math.nan]}
    add(opened, "digits/mlp", "nan-1", diverged, params={"lr": 1.0, "opt": "sgd"}, values=[math.nan])
    running = {"state": "running", "ended": None}
    add(opened, "digits/mlp", "running-1", {"loss": [1.0]}, params={"lr": 0.2, "opt": "sgd"}, **running)
    opened.experiment("bare")
    add(opened, "bare", "bare-1", {"x": ([-1, 0], [1.0, 2.0])}, params={})
    (suggestion,) = exp.suggest(n=1, sampler="random", seed=1)
    opened.suggested = suggestion  # type: ignore[attr-defined]
    yield opened
    opened.close()

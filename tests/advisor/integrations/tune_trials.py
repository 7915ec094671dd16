"""A program with Ray Tune, for test_ray.py: ``python tune_trials.py STORE RESULTS EXAMPLE``.

Prints what the example prints, which is run here because starting Ray takes long, and then what Tune recorded.
"""

from __future__ import annotations

import json
import math
import runpy
import sys
from typing import Any
from unittest import mock

import ray
from ray import tune
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from advisor.integrations.ray import AdvisorLoggerCallback


def train(config: dict[str, Any]) -> None:
    kind = config["case"]["kind"]
    for step in range(config["n"]):
        if kind == "raises" and step == 2:
            raise ValueError("no luck")
        loss = math.nan if kind == "nan" and step == 1 else config["case"]["lr"] / (step + 1)
        tune.report({"loss": loss, "inner": {"accuracy": step / 10, "text": "x"}})


class StopsTheSecond(FIFOScheduler):
    def on_trial_result(self, controller: Any, trial: Any, result: dict[str, Any]) -> str:
        is_it = trial.config["case"]["kind"] == "stopped" and result["training_iteration"] == 2
        return str(TrialScheduler.STOP if is_it else TrialScheduler.CONTINUE)


class Recorder(tune.Callback):
    def __init__(self) -> None:
        self.results: dict[str, list[dict[str, Any]]] = {}

    def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any) -> None:
        kept = {name: result[name] for name in ("loss", "training_iteration", "time_total_s")}
        kept |= {"accuracy": result["inner"]["accuracy"], "kind": trial.config["case"]["kind"]}
        self.results.setdefault(trial.trial_id, []).append(kept)


def main(store: str, folder: str, example: str) -> None:
    ray.init(
        num_cpus=1,
        include_dashboard=False,
        object_store_memory=80_000_000,
        log_to_driver=False,
        _node_ip_address="127.0.0.1",
    )
    told: list[str] = []
    recorder = Recorder()
    callback = AdvisorLoggerCallback(
        "tuned", store=store, objective="loss", on_finding=lambda finding: told.append(finding.code), capture=False
    )
    kinds = ["good", "stopped", "nan", "good", "good", "good", "good", "hopeless", "raises"]
    cases = [{"kind": kind, "lr": 1e6 if kind == "hopeless" else 0.1} for kind in kinds]
    tuner = tune.Tuner(
        train,
        param_space={"case": tune.grid_search(cases), "n": 8},
        tune_config=tune.TuneConfig(max_concurrent_trials=1, reuse_actors=True, scheduler=StopsTheSecond()),
        run_config=tune.RunConfig(
            callbacks=[recorder, callback],
            stop=callback,
            storage_path=folder,
            failure_config=tune.FailureConfig(max_failures=1),
            verbose=0,
        ),
    )
    tuner.fit()
    sys.argv = [example, store]
    with mock.patch("ray.init"):
        runpy.run_path(example, run_name="__main__")
    print(json.dumps({"results": recorder.results, "told": told, "findings": [f.code for f in callback.findings]}))


if __name__ == "__main__":
    main(*sys.argv[1:])

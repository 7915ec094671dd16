"""Ray needs processes of its own, so its trials run in a program beside the tests: once for all of them."""

from __future__ import annotations

import json
import os
import pickle
import re
import subprocess
import sys
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import advisor
from storage.records import Run, RunState

pytest.importorskip("ray")

PROGRAM = Path(__file__).with_name("tune_trials.py")
WITHIN_S = 180  # seconds; 15 on a machine that does nothing else
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "OMP_NUM_THREADS": "1",
}


@dataclass(frozen=True)
class Tuned:
    """What one program with Ray Tune left behind."""

    runs: dict[str, list[Run]]
    """By the kind of trial."""
    _: KW_ONLY
    results: dict[str, list[list[dict[str, Any]]]]
    """What Tune handed to its callbacks, by the kind of trial."""
    told: list[str]
    findings: list[str]
    said: str
    """What the example printed."""


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Tuned:
    store, folder = tmp_path_factory.mktemp("store"), tmp_path_factory.mktemp("tune")
    example = repository / "examples" / "integrations" / "with_ray.py"
    done = subprocess.run(
        [sys.executable, str(PROGRAM), str(store), str(folder), str(example)],
        cwd=repository,
        env=os.environ | ENVIRONMENT | {"PYTHONPATH": str(repository)},
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    *printed, last = done.stdout.splitlines()
    said = json.loads(last)
    runs: dict[str, list[Run]] = {}
    results: dict[str, list[list[dict[str, Any]]]] = {}
    with advisor.open(store) as adv:
        for run in adv.experiment("tuned", create=False).runs():
            kind = run.params["case.kind"]
            runs.setdefault(kind, []).append(run)
            results.setdefault(kind, []).append(said["results"][run.user_attrs["trial_id"]])
        return Tuned(runs, results=results, told=said["told"], findings=said["findings"], said="\n".join(printed))


def test_each_trial_is_a_run_with_every_number_of_every_result(tuned: Tuned) -> None:
    assert {kind: len(runs) for kind, runs in tuned.runs.items()} == {
        "good": 5,
        "stopped": 1,
        "raises": 1,
        "nan": 1,
        "hopeless": 1,
    }
    for kind, runs in tuned.runs.items():
        for run, results in zip(runs, tuned.results[kind], strict=True):
            assert run.curve("loss").steps.tolist() == [result["training_iteration"] for result in results]
            for metric, key in (("loss", "loss"), ("inner/accuracy", "accuracy"), ("time_total_s", "time_total_s")):
                recorded = [result[key] for result in results]
                assert np.array_equal(run.curve(metric).values, recorded, equal_nan=True), (kind, metric)
            assert "pid" not in run.curves
            assert "inner/text" not in run.curves


def test_the_configuration_is_the_parameters(tuned: Tuned) -> None:
    assert dict(tuned.runs["good"][0].params) == {"case.kind": "good", "case.lr": 0.1, "n": 8}


def test_trials_end_as_they_ended_in_tune(tuned: Tuned) -> None:
    assert {kind: {run.state for run in runs} for kind, runs in tuned.runs.items()} == {
        "good": {RunState.FINISHED},
        "stopped": {RunState.PRUNED},  # by the scheduler
        "raises": {RunState.FAILED},
        "nan": {RunState.PRUNED},  # by our advice
        "hopeless": {RunState.PRUNED},  # by our advice
    }


def test_a_failed_trial_says_why(tuned: Tuned) -> None:
    error = str(tuned.runs["raises"][0].error)
    assert "no luck" in error
    assert "\x1b" not in error


def test_a_trial_that_is_tried_again_goes_on_in_its_run_and_says_so(tuned: Tuned) -> None:
    (run,) = tuned.runs["raises"]
    assert len(run.curve("loss")) == 4
    assert any("is tried again" in note and "no luck" in note for note in run.notes)


def test_our_advice_stops_trials(tuned: Tuned) -> None:
    assert len(tuned.results["hopeless"][0]) < 8
    assert len(tuned.results["nan"][0]) < 8


def test_a_value_that_is_no_number_is_told(tuned: Tuned) -> None:
    assert tuned.told == ["ADV101"]
    assert "ADV101" in tuned.findings


def test_the_example_runs_and_says_what_it_promises(tuned: Tuned) -> None:
    assert re.search(r"#2 (finished|pruned): alpha 1\.0, accuracy 0\.\d+", tuned.said), tuned.said
    assert re.search(r"Tune's best: \{'alpha': ", tuned.said), tuned.said


@pytest.fixture
def trial() -> Any:
    from ray.tune.experiment import Trial

    return Trial("stub", stub=True, config={"lr": 0.1, "net": {"width": 4}}, trial_id="t1")


def runs_in(store: Path) -> list[Run]:
    with advisor.open(store) as adv:
        return adv.experiment("tuned", create=False).runs()


def test_a_program_that_restores_the_experiment_goes_on_in_a_run_that_names_the_former(
    trial: Any, tmp_path: Path
) -> None:
    from advisor.integrations.ray import AdvisorLoggerCallback

    first = AdvisorLoggerCallback("tuned", store=tmp_path)
    copy = pickle.dumps(first)
    first.log_trial_start(trial)
    first.log_trial_result(1, trial, {"loss": 1.0, "training_iteration": 1})
    state = pickle.loads(pickle.dumps(first.get_state()))
    first.on_experiment_end([trial])

    again = pickle.loads(copy)
    again.set_state(state)
    trial.run_metadata.last_result = {"training_iteration": 1}
    again.log_trial_start(trial)
    again.log_trial_result(2, trial, {"loss": 0.5, "training_iteration": 2})
    again.log_trial_end(trial)
    former, latter = runs_in(tmp_path)
    assert (former.state, latter.state) == (RunState.PRUNED, RunState.FINISHED)
    assert latter.user_attrs["resumed_from"] == former.id
    assert latter.curve("loss").steps.tolist() == [2]
    assert latter.params == {"lr": 0.1, "net.width": 4}


def test_a_trial_that_a_scheduler_stops_at_its_full_length_is_complete(trial: Any, tmp_path: Path) -> None:
    from advisor.integrations.ray import AdvisorLoggerCallback

    for max_t in (3, 4):
        callback = AdvisorLoggerCallback("tuned", store=tmp_path, max_t=max_t)
        callback.log_trial_start(trial)
        for step in (1, 2, 3):
            callback.log_trial_result(step, trial, {"loss": 1.0, "training_iteration": step, "done": step == 3})
        callback.log_trial_end(trial)
    assert [run.state for run in runs_in(tmp_path)] == [RunState.FINISHED, RunState.PRUNED]


def test_trials_that_the_experiment_leaves_unfinished_are_ended_with_it(trial: Any, tmp_path: Path) -> None:
    from advisor.integrations.ray import AdvisorLoggerCallback

    callback = AdvisorLoggerCallback("tuned", store=tmp_path)
    callback.log_trial_start(trial)
    callback.log_trial_result(1, trial, {"loss": 1.0, "training_iteration": 1})
    callback.on_experiment_end([trial])
    assert [run.state for run in runs_in(tmp_path)] == [RunState.PRUNED]

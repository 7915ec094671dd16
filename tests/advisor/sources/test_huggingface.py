from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from advisor.errors import SourceError
from advisor.findings.rules import non_finite
from advisor.sources.huggingface import HuggingFaceReader
from advisor.sources.port import Options, Piece, SourceRun
from storage.records import Curve, RunState
from tests.advisor.sources.recorded import DATA, assert_same_curves, assert_survives, expected, find, listing, read_all

NEW, OLD = FOLDERS = "huggingface-5.23.0", "huggingface-4.36.2"
READER = HuggingFaceReader()


def runs_of(path: Path) -> dict[str, tuple[SourceRun, Piece]]:
    return {run.name or "": (run, piece) for run, piece in read_all(READER, path)}


def curves_of(rows: list[Mapping[str, Any]]) -> dict[str, Any]:
    """Return a history as curves: the row that ends the training is no point, an epoch counts once a step."""
    out: dict[str, Any] = {}
    for row in rows:
        for name, value in row.items():
            if name == "step" or "train_runtime" in row:
                continue
            curve = out.setdefault(name, {"steps": [], "values": []})
            if name != "epoch" or curve["steps"][-1:] != [row["step"]]:
                curve["steps"].append(row["step"])
                curve["values"].append(value)
    return out


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(DATA / NEW / "killed", tmp_path / "out")
    return tmp_path / "out"


@pytest.mark.parametrize("release", FOLDERS)
def test_every_training_and_point_is_as_the_trainers_own_state_has_it(
    release: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("advisor.sources.huggingface.QUIET_S", math.inf)  # a killed training may still go on
    found = runs_of(DATA / release)
    wanted = {run["name"]: run for run in expected(DATA / release)}
    assert found.keys() == wanted.keys()
    for name, (run, piece) in found.items():
        assert_same_curves(piece, curves_of(wanted[name]["rows"]))
        assert run.attributes["global_step"] == wanted[name]["steps"]
        assert run.state is (None if name == "killed" else RunState.FINISHED)


@pytest.mark.parametrize("release", FOLDERS)
def test_arguments_and_settings_are_parameters(release: str) -> None:
    run, _ = runs_of(DATA / release)["whole"]
    wanted = {"learning_rate": 1e-3, "max_steps": 12, "num_train_epochs": 3, "model.hidden_size": 8}
    for name in wanted:
        assert run.params[name] == wanted[name]
    assert (run.seed, run.environment["hostname"], run.started is not None) == (7, "box", True)
    assert run.environment["transformers"] == release.partition("-")[2]
    assert run.about.objectives == [("eval_loss", "minimize")]
    assert run.attributes["train_runtime"] > 0
    assert run.attributes["best_metric"] == run.attributes["eval_loss"]


def test_hyperparameters_of_the_card_are_taken_where_no_event_file_tells_the_arguments(tmp_path: Path) -> None:
    shutil.copytree(DATA / NEW / "whole", tmp_path / "out", ignore=shutil.ignore_patterns("runs"))
    run, _ = runs_of(tmp_path / "out")["out"]
    assert (run.params["learning_rate"], run.params["train_batch_size"], run.seed) == (0.001, 4, 7)
    assert run.params["lr_scheduler_type"] == "linear"


def test_an_output_folder_is_one_run_with_its_checkpoints_and_event_files() -> None:
    (found,) = READER.find(listing(DATA / NEW / "whole"))
    assert {"trainer_state.json", "training_args.bin", "config.json", "runs", "checkpoint-12", "checkpoint-4"} <= (
        found.claims or set()
    )
    with READER.open(found, Options()) as source:
        assert len(list(source.entries())) == 1
        assert "was not opened" in source.notes[0]
        assert source.notes[1] == "2 event files of the same training were not read as runs of their own"


def test_what_a_killed_training_wrote_after_its_last_checkpoint_comes_from_its_event_files(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, after = runs_of(folder)["out"]
    assert after.curves["loss"].steps.tolist() == [1, 2, 3, 4, 5, 6]
    assert "points after the last checkpoint come from event files" in after.notes[0]
    monkeypatch.setattr("advisor.sources.huggingface.QUIET_S", math.inf)
    _, before = runs_of(folder)["out"]
    assert before.curves["loss"].steps.tolist() == [1, 2, 3, 4]
    np.testing.assert_array_equal(after.curves["loss"].values[:4], before.curves["loss"].values)


def test_the_latest_checkpoint_counts_and_a_broken_one_gives_way_to_the_one_before(folder: Path) -> None:
    later = folder / "checkpoint-12"
    shutil.copytree(DATA / NEW / "whole" / "checkpoint-12", later)
    assert runs_of(folder)["out"][0].attributes["global_step"] == 12
    (later / "trainer_state.json").write_text("{")
    assert runs_of(folder)["out"][0].attributes["global_step"] == 4
    shutil.rmtree(folder / "checkpoint-4")
    with pytest.raises(SourceError, match=r"checkpoint-12/trainer_state\.json is no JSON"):
        runs_of(folder)


def test_a_checkpoint_and_a_state_can_be_given_by_themselves(folder: Path) -> None:
    run, _ = runs_of(folder / "checkpoint-4")["checkpoint-4"]
    assert run.attributes["global_step"] == 4
    assert [run.name for run, _ in read_all(READER, folder / "checkpoint-4" / "trainer_state.json")] == ["checkpoint-4"]
    assert READER.find_file(folder / "checkpoint-4" / "config.json") is None


@pytest.mark.parametrize("release", FOLDERS)
def test_a_loss_of_zero_beside_a_gradient_that_is_nan_stays_and_is_found_out(release: str) -> None:
    _, piece = runs_of(DATA / release)["diverged"]
    loss = piece.curves["loss"]
    assert loss.values.tolist() == [0.0] * 12
    if "grad_norm" not in piece.curves:  # before Transformers 4.38
        return
    assert np.isnan(piece.curves["grad_norm"].values).all()
    curves = {
        name: Curve(metric=name, steps=points.steps, values=points.values, times=np.full(len(points), math.nan))
        for name, points in piece.curves.items()
    }
    symptom = non_finite(curves, "loss", None)
    assert symptom is not None
    assert symptom.evidence["masked_by"] == "grad_norm"


def test_a_trial_of_a_search_keeps_its_parameters(tmp_path: Path) -> None:
    state = {"log_history": [{"loss": 1.0, "step": 1}, "odd", {"loss": 2}], "global_step": 1, "max_steps": 5}
    state |= {"trial_params": {"learning_rate": 0.1}, "trial_name": "run-3", "best_metric": None}
    (tmp_path / "trainer_state.json").write_text(json.dumps(state))
    run, piece = runs_of(tmp_path)["run-3"]
    assert (run.params, run.state) == ({"learning_rate": 0.1, "max_steps": 5}, None)
    assert piece.notes == ("2 rows of the history have no step and were left out",)


def test_the_stamp_changes_with_a_new_checkpoint(folder: Path) -> None:
    (found,) = find(READER, folder)
    with READER.open(found, Options()) as source:
        (before,) = source.entries()
        assert [entry.stamp for entry in source.entries()] == [before.stamp]
        shutil.copytree(folder / "checkpoint-4", folder / "checkpoint-5")
        assert [entry.stamp for entry in source.entries()] != [before.stamp]


def test_damaged_files_end_in_a_run_or_a_refusal(folder: Path, tmp_path: Path) -> None:
    assert_survives(READER, folder, n=100, seed=3, scratch=tmp_path / "to")

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from advisor.sources.port import Options, Piece, SourceRun
from advisor.sources.ray import RayReader
from storage.records import RunState
from tests.advisor.sources.recorded import DATA, assert_survives, expected, find, listing, read_all

FOLDERS = ("ray-2.60.0", "ray-2.7.2")
READER = RayReader()


def trials_of(path: Path) -> dict[tuple[str, str], tuple[SourceRun, Piece]]:
    return {(run.experiment, str(run.name)): (run, piece) for run, piece in read_all(READER, path)}


def of_kind(path: Path, kind: str, experiment: str = "sweep") -> tuple[SourceRun, Piece]:
    return next(
        (run, piece)
        for run, piece in read_all(READER, path)
        if run.experiment == experiment and run.params.get("kind") == kind
    )


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    shutil.copytree(DATA / FOLDERS[0] / "sweep", tmp_path / "sweep")
    return tmp_path / "sweep"


@pytest.fixture
def plain(sweep: Path) -> Path:
    return next(sweep.glob("train_*plain*"))


def opened(path: Path) -> Any:
    (found,) = find(READER, path)
    return READER.open(found, Options())


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_trial_and_point_is_as_ray_itself_reads_it(folder: str) -> None:
    wanted = {(trial["experiment"], trial["folder"]): trial for trial in expected(DATA / folder)}
    found = trials_of(DATA / folder)
    replaced = found.keys() - wanted.keys()  # by a new trial, when the experiment was restored
    assert {found[key][0].state for key in replaced} <= {RunState.FAILED}
    assert found.keys() >= wanted.keys()
    for key, said in wanted.items():
        run, piece = found[key]
        for metric, values in said["curves"].items():
            assert piece.curves[metric].steps.tolist() == said["steps"]
            np.testing.assert_array_equal(piece.curves[metric].values, values)
        assert (run.state is RunState.FAILED) == (said["error"] is not None)


@pytest.mark.parametrize("folder", FOLDERS)
def test_configuration_state_error_and_times_are_kept(folder: str) -> None:
    run, piece = of_kind(DATA / folder, "plain")
    assert run.params == {
        "kind": "plain",
        "lr": 0.5,
        "seed": 7,
        "model.depth": 3,
        "model.opt": "adam",
        "model.dims": [1, 2],
        "hostile/'; --": "\u202e",
        "call": "<built-in function len>",
        "nothing": None,
        "flag": True,
    }
    assert (run.seed, run.state) == (7, RunState.FINISHED)
    assert run.environment == {"hostname": "host"}
    assert np.isnan(piece.curves["eval/odd"].values[[0, 3]]).all()
    assert piece.curves["eval/odd"].values[[1, 2]].tolist() == [math.inf, -math.inf]
    assert piece.curves["épreuve/x"].values.tolist() == [0.0, 1.0, 2.0, 3.0]
    assert run.started is not None
    assert run.ended is not None
    assert piece.curves["loss"].times.min() >= 0
    assert not {"pid", "timestamp", "done", "config/lr"} & piece.curves.keys()
    failed, _ = of_kind(DATA / folder, "fails")
    assert failed.error is not None
    assert failed.error.startswith("Failure # 1")
    assert failed.error.endswith("ValueError: boom \u202e")
    assert "\x1b" not in failed.error


@pytest.mark.parametrize("folder", FOLDERS)
def test_parameters_that_a_population_changed_are_curves(folder: str) -> None:
    trials = [(run, piece) for run, piece in read_all(READER, DATA / folder) if run.experiment == "population"]
    changed = [(run, piece) for run, piece in trials if "config/lr" in piece.curves]
    assert changed
    for run, piece in changed:
        assert run.meta["perturbed"] is True
        assert piece.cursor is None
        curve = piece.curves["config/lr"]
        assert len(curve) >= 2
        assert curve.values[-1] == run.params["lr"]


def test_a_trial_started_again_in_a_copied_folder_is_one_more_run() -> None:
    folder = DATA / FOLDERS[0]
    keys = {(run.experiment, run.key) for run, _ in read_all(READER, folder)}
    restored = {key for experiment, key in keys if experiment == "restored"}
    swept = {key for experiment, key in keys if experiment == "sweep"}
    assert len(restored) == 4
    assert len(restored & swept) == 3


def reading(folder: Path, name: str, cursor: Any = None) -> Piece:
    with opened(folder) as source:
        runs: Iterator[SourceRun] = (entry.load() for entry in source.entries())
        return next(run for run in runs if run.name == name).read(json.loads(json.dumps(cursor)))


def test_results_are_read_on_and_never_half_a_line(plain: Path) -> None:
    sweep, results = plain.parent, plain / "result.json"
    first = reading(sweep, plain.name)
    content = results.read_text()
    last = content.splitlines()[-1]
    more = last.replace('"training_iteration": 4', '"training_iteration": 5') + "\n"
    with results.open("a") as file:
        file.write(more + last[:50])
    second = reading(sweep, plain.name, first.cursor)
    assert (second.is_whole, second.curves["loss"].steps.tolist()) == (False, [5])
    assert reading(sweep, plain.name, second.cursor).curves == {}
    with results.open("a") as file:
        file.write(last[50:] + "\n" + more.replace('"lr": 0.5', '"lr": 0.25'))
    changed = reading(sweep, plain.name, second.cursor)
    assert (changed.is_whole, changed.cursor) == (True, None)
    assert changed.curves["config/lr"].values.tolist() == [0.5, 0.25]
    assert changed.curves["loss"].steps.tolist() == [1, 2, 3, 4, 5, 4, 5]
    results.write_text(content)
    assert reading(sweep, plain.name, second.cursor).is_whole
    results.unlink()
    results.write_text(content.replace('"loss": 0.5', '"loss": 0.75'))
    replaced = reading(sweep, plain.name, first.cursor)
    assert (replaced.is_whole, replaced.curves["loss"].values[0]) == (True, 0.75)


def test_a_long_curve_with_nan_in_its_configuration_is_read_on(plain: Path) -> None:
    result = json.loads((plain / "result.json").read_text().splitlines()[0])
    result["config"]["odd"] = math.nan
    lines = [json.dumps({**result, "loss": 1 / (1 + i), "training_iteration": i + 1}) for i in range(2_500)]
    (plain / "result.json").write_text("\n".join(lines[:1_000]) + "\n")
    first = reading(plain.parent, plain.name)
    with (plain / "result.json").open("a") as file:
        file.write("\n".join(lines[1_000:]) + "\n")
    second = reading(plain.parent, plain.name, first.cursor)
    assert not second.is_whole
    assert len(second.curves["loss"]) == 1_500
    np.testing.assert_array_equal(
        np.concatenate([first.curves["loss"].values, second.curves["loss"].values]), 1 / (1 + np.arange(2_500))
    )


def test_stamps_change_with_the_trial_only(plain: Path) -> None:
    with opened(plain.parent) as source:
        before = {entry.place: entry.stamp for entry in source.entries()}
        with (plain / "result.json").open("a") as file:
            file.write("{}\n")
        after = {entry.place: entry.stamp for entry in source.entries()}
        assert {place for place in after if after[place] != before[place]} == {plain.name}
        state = next(plain.parent.glob("experiment_state-*"))
        content = json.loads(state.read_text())
        trial = json.loads(content["trial_data"][0][0])
        content["trial_data"][0][0] = json.dumps({**trial, "status": "RUNNING"})
        state.write_text(json.dumps(content))
        running = {entry.place: entry.stamp for entry in source.entries()}
        assert {place for place in running if running[place] != after[place]} == {trial["relative_logdir"]}


@pytest.mark.parametrize(
    ("status", "done", "state"),
    [
        ("RUNNING", False, RunState.RUNNING),
        ("RUNNING", True, RunState.FINISHED),
        ("PAUSED", False, RunState.RUNNING),
        ("PENDING", False, RunState.RUNNING),
        ("ERROR", False, RunState.FAILED),
        ("TERMINATED", False, RunState.FINISHED),
        (None, False, None),
        (None, True, RunState.FINISHED),
    ],
)
def test_states_are_what_ray_says_or_what_the_results_say(
    plain: Path, status: str | None, done: bool, state: RunState | None
) -> None:
    results = plain / "result.json"
    results.write_text(results.read_text().replace('"done": false', f'"done": {str(done).lower()}'))
    file = next(plain.parent.glob("experiment_state-*"))
    content = json.loads(file.read_text())
    content["trial_data"] = [
        [json.dumps({**json.loads(told), "status": status}), run] for told, run in content["trial_data"] if status
    ]
    file.write_text(json.dumps(content))
    run, _ = trials_of(plain.parent)["sweep", plain.name]
    assert run.state is state
    assert (run.active is not None) == (state in (None, RunState.RUNNING))


def test_without_the_experiments_file_trials_tell_themselves(sweep: Path) -> None:
    for state in sweep.glob("*.json"):
        state.unlink()
    states = {run.params["kind"]: run.state for run, _ in read_all(READER, sweep)}
    assert states == {"plain": None, "fails": RunState.FAILED, "long": None}


def test_a_trial_without_results_has_its_table(plain: Path) -> None:
    (plain / "result.json").unlink()
    with (plain / "progress.csv").open("a") as file:
        file.write("0.125,half")
    piece = reading(plain.parent, plain.name)
    assert piece.curves["loss"].values.tolist() == [0.5, 0.25, 0.5 / 3, 0.125]
    assert piece.curves["loss"].steps.tolist() == [1, 2, 3, 4]
    assert piece.cursor is None


def test_pickles_are_not_opened_and_an_unreadable_state_is_said(sweep: Path) -> None:
    for pickle in sweep.rglob("*.pkl"):
        pickle.unlink()
        pickle.mkdir()  # cannot be opened as a file
    next(sweep.glob("experiment_state-*")).write_text("[")
    with opened(sweep) as source:
        assert len([entry.load() for entry in source.entries()]) == 3
        assert "is no JSON" in source.notes[0]


def test_where_functions_lie_in_memory_is_left_out(plain: Path) -> None:
    (plain / "result.json").write_text("")
    (plain / "params.json").write_text('{"f": "<function g at 0x7fe2d41b4400>", "s": "at 0x10"}')
    assert trials_of(plain.parent)["sweep", plain.name][0].params == {"f": "<function g>", "s": "at 0x10"}


@pytest.mark.parametrize("trial_id", ["../../outside", "\ud800", "a/b", {"x": 1}, "9" * 400])
def test_a_trials_id_is_never_taken_for_a_path(plain: Path, trial_id: Any) -> None:
    (plain.parent / "experiment_state-2.json").write_text('{"trial_data": []}')
    (plain.parent / "pbt_policy_a").mkdir()
    (plain.parent.parent / "outside.txt").write_text("")
    results = plain / "result.json"
    results.write_text(
        "\n".join(json.dumps({**json.loads(r), "trial_id": trial_id}) for r in results.read_text().splitlines()) + "\n"
    )
    assert "perturbed" not in trials_of(plain.parent)["sweep", plain.name][0].meta


def test_other_folders_are_not_rays(tmp_path: Path) -> None:
    (tmp_path / "params.json").write_text("{}")
    (tmp_path / "result.json").write_text('{"accuracy": 1}')
    assert READER.find(listing(tmp_path)) == []
    assert READER.find_file(tmp_path / "result.json") is None


def test_a_trial_can_be_given_by_itself(plain: Path) -> None:
    for given in (plain / "result.json", plain):
        ((run, _),) = read_all(READER, given)
        assert (run.name, run.experiment) == (plain.name, "sweep")


@pytest.mark.parametrize("folder", FOLDERS)
def test_whatever_is_damaged_reading_ends(folder: str, tmp_path: Path) -> None:
    assert_survives(READER, DATA / folder, n=120, seed=4, scratch=tmp_path)

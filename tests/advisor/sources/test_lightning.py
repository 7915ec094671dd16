from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from advisor.sources.lightning import LightningReader
from advisor.sources.port import Options, Piece, SourceRun
from tests.advisor.sources.recorded import DATA, assert_same_curves, assert_survives, expected, find, listing, read_all

FOLDERS = ("lightning-2.6.6", "lightning-1.9.5")
READER = LightningReader()


def runs_of(path: Path) -> dict[str, tuple[SourceRun, Piece]]:
    return {run.name or "": (run, piece) for run, piece in read_all(READER, path)}


@pytest.mark.parametrize("release", FOLDERS)
def test_every_version_and_point_is_as_the_table_has_it(release: str) -> None:
    wanted = {run["name"]: run["curves"] for run in expected(DATA / release)}
    found = runs_of(DATA / release)
    assert found.keys() == wanted.keys()
    for name, (run, piece) in found.items():
        assert_same_curves(piece, wanted[name])
        assert (run.state, run.active is not None) == (None, True)


@pytest.mark.parametrize("release", FOLDERS)
def test_parameters_come_from_the_file_beside_and_names_from_the_logger(release: str) -> None:
    runs = runs_of(DATA / release)
    run, piece = runs["lightning_logs/version_1"]
    assert (run.params, run.seed) == ({"is_odd": True, "lr": 0.1, "net.depth": 2, "seed": 7}, 7)
    assert "param_norm" in piece.curves
    assert [run.experiment for run, _ in runs.values()] == [release, release, "mine"]


def test_versions_of_a_folder_are_one_source_and_other_folders_none(tmp_path: Path) -> None:
    (found,) = READER.find(listing(DATA / FOLDERS[0] / "lightning_logs"))
    assert (found.n_runs, found.claims) == (2, {"version_0", "version_1"})
    (tmp_path / "metrics.csv").write_text("step,loss\n0,1\n")
    assert not READER.find(listing(tmp_path))
    (tmp_path / "hparams.yaml").write_text("{}\n")
    (alone,) = READER.find(listing(tmp_path))
    assert alone.claims == {"metrics.csv", "hparams.yaml"}


def test_a_table_given_by_itself_is_its_version() -> None:
    path = DATA / FOLDERS[0] / "mine" / "version_0" / "metrics.csv"
    ((run, _),) = read_all(READER, path)
    assert (run.name, run.params["lr"]) == ("version_0", 0.1)
    assert READER.find_file(DATA / "keras-3.15.1" / "a" / "training.log") is None


def read(folder: Path, cursor: Any = None) -> Piece:
    (found,) = find(READER, folder)
    with READER.open(found, Options()) as source:
        (entry,) = source.entries()
        return entry.load().read(json.loads(json.dumps(cursor)))


def test_a_version_is_read_on_and_whole_again_once_its_header_has_changed(tmp_path: Path) -> None:
    shutil.copytree(DATA / FOLDERS[0] / "mine", tmp_path / "mine")
    path = tmp_path / "mine" / "version_0" / "metrics.csv"
    first = read(tmp_path)
    with path.open("a") as file:
        file.write("3,,12,,0.25,\n")
    second = read(tmp_path, first.cursor)
    assert not second.is_whole
    assert second.curves["train/loss_step"].steps.tolist() == [12]
    path.write_text("a_new_one," + path.read_text().replace("\n", "\n,", path.read_text().count("\n") - 1))
    third = read(tmp_path, second.cursor)
    assert third.is_whole
    assert len(third.curves["train/loss_step"]) == 13


def test_damaged_files_end_in_a_run_or_a_refusal(tmp_path: Path) -> None:
    assert_survives(READER, DATA / FOLDERS[0], n=100, seed=4, scratch=tmp_path)

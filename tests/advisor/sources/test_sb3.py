from __future__ import annotations

import io
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from advisor.errors import SourceError
from advisor.sources.port import Options, Piece, SourceRun
from advisor.sources.sb3 import SB3Reader
from tests.advisor.sources.recorded import DATA, assert_survives, expected, find, listing, read_all

FOLDERS = ("sb3-2.9.2", "sb3-2.0.0")
READER = SB3Reader()
HEADER = '#{"t_start": 1000.0, "env_id": "CartPole-v1"}\n'


def runs_of(path: Path) -> dict[str, tuple[SourceRun, Piece]]:
    return {run.name or "": (run, piece) for run, piece in read_all(READER, path)}


@pytest.mark.parametrize("release", FOLDERS)
def test_every_point_is_as_the_packages_own_functions_read_it(release: str) -> None:
    wanted = {run["name"]: run["curves"] for run in expected(DATA / release)}
    found = runs_of(DATA / release)
    assert found.keys() == wanted.keys()
    for name, (run, piece) in found.items():
        curves = {metric: curve for metric, curve in piece.curves.items() if metric in wanted[name]}
        assert curves.keys() == wanted[name].keys()
        for metric, said in wanted[name].items():
            assert curves[metric].steps.tolist() == said["steps"], metric
            np.testing.assert_allclose(curves[metric].values, said["values"], rtol=1e-12, err_msg=metric)
            if "times" in said:
                np.testing.assert_allclose(curves[metric].times, said["times"], atol=1e-6)
        assert run.params["env_id"] == "CartPole-v1"
        assert (run.state, run.started is not None, run.active is not None) == (None, True, True)


@pytest.mark.parametrize("release", FOLDERS)
def test_settings_of_the_zoo_are_parameters_and_environments_side_by_side_one_run(release: str) -> None:
    run, _ = runs_of(DATA / release)["zoo"]
    assert run.params == {
        "algo": "ppo",
        "seed": 5,
        "env": "CartPole-v1",
        "batch_size": 32,
        "learning_rate": "lin_0.001",
        "n_steps": 64,
        "policy": "MlpPolicy",
        "env_id": "CartPole-v1",
    }
    assert (run.seed, run.meta) == (5, {"n_envs": 3})


def test_a_folder_is_one_run_and_a_file_stands_for_it(tmp_path: Path) -> None:
    shutil.copytree(DATA / FOLDERS[0] / "zoo", tmp_path / "zoo")
    (found,) = find(READER, tmp_path / "zoo")
    names = {"0.monitor.csv", "1.monitor.csv", "2.monitor.csv", "progress.csv", "evaluations.npz"}
    assert found.claims == names
    for name in names:
        given = READER.find_file(tmp_path / "zoo" / name)
        assert given is not None
        assert given.path == found.path
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "progress.csv").write_text("a,b\n1,2\n")
    (tmp_path / "other" / "monitor.csv").write_text("r,l,t\n1,2,3\n")
    assert not READER.find(listing(tmp_path / "other"))


def test_a_half_written_episode_waits_and_further_ones_follow(tmp_path: Path) -> None:
    path = tmp_path / "monitor.csv"
    path.write_text(HEADER + "r,l,t\n1.5,10,0.5\nnan,5,0.75\n2.0,1")
    _, piece = runs_of(tmp_path)[tmp_path.name]
    np.testing.assert_array_equal(piece.curves["episode/reward"].values, [1.5, np.nan])
    assert piece.curves["episode/length"].steps.tolist() == [10, 15]
    with path.open("a") as file:
        file.write("0,1.0\n")
    _, piece = runs_of(tmp_path)[tmp_path.name]
    assert piece.curves["episode/length"].steps.tolist() == [10, 15, 25]


def test_the_stamp_changes_when_any_file_does(tmp_path: Path) -> None:
    (tmp_path / "monitor.csv").write_text(HEADER + "r,l,t\n")
    (found,) = find(READER, tmp_path)
    with READER.open(found, Options()) as source:
        stamps = [entry.stamp for entry in source.entries()]
        for name in ("1.monitor.csv", "evaluations.npz", "config.yml"):
            (tmp_path / name).write_text("x")
            stamps += [entry.stamp for entry in source.entries()]
    assert len(set(stamps)) == 4


def npz(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return path


def array(values: object, **options: bool) -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.array(values, dtype=object if options.get("allow_pickle") else None), **options)
    return stream.getvalue()


def test_no_pickle_and_no_array_larger_than_its_bytes_is_opened(tmp_path: Path) -> None:
    huge = array([1, 2]).replace(b"(2,)", b"(2000000000000,)".ljust(4))
    for content in (array([{"a": 1}], allow_pickle=True), huge, b"nothing", b""):
        path = npz(tmp_path / "evaluations.npz", timesteps=content)
        with pytest.raises(SourceError):
            runs_of(path.parent)
    npz(
        tmp_path / "evaluations.npz",
        timesteps=array([1, 2]),
        results=array([[1.0, 3.0], [2.0, 2.0]]),
        ep_lengths=array([1]),
    )
    _, piece = runs_of(tmp_path)[tmp_path.name]
    assert piece.curves["eval/mean_reward"].values.tolist() == [2.0, 2.0]
    assert piece.curves["eval/std_reward"].values.tolist() == [1.0, 0.0]
    assert "ep_lengths has another shape" in piece.notes[0]


def test_damaged_files_end_in_a_run_or_a_refusal(tmp_path: Path) -> None:
    assert_survives(READER, DATA / FOLDERS[0], n=100, seed=6, scratch=tmp_path)

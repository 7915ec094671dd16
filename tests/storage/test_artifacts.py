from __future__ import annotations

import hashlib
import io
import os
import random
from pathlib import Path

import pytest

from storage.artifacts import IN_ONE_REQUEST, Artifact, Artifacts, artifacts_at
from storage.errors import RecordError, StoreUnavailableError
from tests.storage.s3 import LoopbackS3


@pytest.fixture(params=["folder", "bucket"])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "store") if request.param == "folder" else str(request.getfixturevalue("s3_uri"))


@pytest.fixture
def artifacts(uri: str) -> Artifacts:
    return artifacts_at(uri, None if "://" in uri else Path(uri))


def file_of(folder: Path, n_bytes: int, name: str = "model.bin") -> Path:
    path = folder / name
    path.write_bytes(random.Random(n_bytes).randbytes(n_bytes))
    return path


def hash_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("n_bytes", [0, 1, 70_000, IN_ONE_REQUEST, IN_ONE_REQUEST + 1, 2 * IN_ONE_REQUEST])
def test_a_file_comes_back_as_it_was(artifacts: Artifacts, tmp_path: Path, n_bytes: int) -> None:
    path = file_of(tmp_path, n_bytes)
    kept = artifacts.put(path)
    assert kept == Artifact(hash_of(path), n_bytes)
    with artifacts.open(kept.sha256) as file:
        assert file.read() == path.read_bytes()
    assert artifacts.verify(kept.sha256)
    assert list(artifacts.kept()) == [kept]


def test_a_kept_file_is_read_in_parts_in_any_order(artifacts: Artifacts, tmp_path: Path) -> None:
    path = file_of(tmp_path, 5_000_000)
    data = path.read_bytes()
    with artifacts.open(artifacts.put(path).sha256) as file:
        assert file.read(10) == data[:10]
        assert file.seek(-10, io.SEEK_END) == 4_999_990
        assert file.read() == data[-10:]
        assert file.seek(3_000_000) == 3_000_000
        assert file.read(2_000) == data[3_000_000:3_002_000]
        assert file.tell() == 3_002_000


def test_the_same_content_is_kept_once_under_any_name(artifacts: Artifacts, tmp_path: Path) -> None:
    one, two = file_of(tmp_path, 100, "a"), file_of(tmp_path, 100, "b")
    assert artifacts.put(one) == artifacts.put(two)
    assert len(list(artifacts.kept())) == 1


def test_a_deleted_file_is_gone_and_deleting_it_again_is_fine(artifacts: Artifacts, tmp_path: Path) -> None:
    kept = artifacts.put(file_of(tmp_path, 100))
    other = artifacts.put(file_of(tmp_path, 101))
    artifacts.delete(kept.sha256)
    artifacts.delete(kept.sha256)
    assert list(artifacts.kept()) == [other]
    with pytest.raises(RecordError, match="keeps no file"):
        artifacts.open(kept.sha256)


@pytest.mark.parametrize("name", ["0" * 64, "../../etc/passwd", "", "F" * 64])
def test_what_is_not_kept_is_named(artifacts: Artifacts, name: str) -> None:
    with pytest.raises(RecordError, match="the store keeps no file with the SHA-256"):
        artifacts.open(name)


def test_a_store_without_files_has_none_to_list(artifacts: Artifacts) -> None:
    assert list(artifacts.kept()) == []
    assert artifacts.sweep() == 0


def test_a_file_that_cannot_be_read_is_not_kept(artifacts: Artifacts, tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailableError, match=r"cannot keep .*model\.bin.*: No such file"):
        artifacts.put(tmp_path / "model.bin")
    assert list(artifacts.kept()) == []


def test_a_changed_byte_in_a_folder_is_noticed(tmp_path: Path) -> None:
    artifacts = artifacts_at(str(tmp_path / "store"), tmp_path / "store")
    kept = artifacts.put(file_of(tmp_path, 1000))
    [path] = (tmp_path / "store").rglob(kept.sha256)
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert not artifacts.verify(kept.sha256)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_no_link_and_no_pipe_in_the_folder_is_taken_for_a_kept_file(tmp_path: Path) -> None:
    secret = file_of(tmp_path, 100, "secret")
    artifacts = artifacts_at(str(tmp_path / "store"), tmp_path / "store")
    for letter in "abc":
        (tmp_path / "store" / "artifacts" / (2 * letter)).mkdir(parents=True)
    (tmp_path / "store" / "artifacts" / "aa" / ("a" * 64)).symlink_to(secret)
    os.mkfifo(tmp_path / "store" / "artifacts" / "bb" / ("b" * 64))
    (tmp_path / "store" / "artifacts" / "cc").rmdir()
    (tmp_path / "store" / "artifacts" / "cc").symlink_to(tmp_path, target_is_directory=True)
    secret.rename(tmp_path / ("c" * 64))
    for letter in "abc":
        with pytest.raises(RecordError, match=r"links are not followed|keeps no file"):
            artifacts.open(64 * letter)


def test_what_a_killed_process_left_in_a_folder_is_swept_after_two_days(tmp_path: Path) -> None:
    artifacts = artifacts_at(str(tmp_path), tmp_path)
    kept = artifacts.put(file_of(tmp_path, 1000))
    for name, days in ((".incoming-old", 3), (".incoming-new", 1)):
        path = tmp_path / "artifacts" / name
        path.write_bytes(b"half")
        os.utime(path, (path.stat().st_atime, path.stat().st_mtime - days * 86_400))
    assert artifacts.sweep() == 1
    assert (tmp_path / "artifacts" / ".incoming-new").exists()
    assert list(artifacts.kept()) == [kept]


def test_a_changed_byte_in_a_bucket_is_noticed(s3: LoopbackS3, s3_uri: str, tmp_path: Path) -> None:
    artifacts = artifacts_at(s3_uri, None)
    kept = artifacts.put(file_of(tmp_path, 1000))
    s3.put(f"{s3_uri.removeprefix('s3://')}/artifacts/{kept.sha256[:2]}/{kept.sha256}", b"another")
    assert not artifacts.verify(kept.sha256)


@pytest.mark.parametrize("n_bytes", [1000, IN_ONE_REQUEST + 1])
def test_files_are_kept_whole_while_one_request_in_ten_fails(
    s3: LoopbackS3, s3_uri: str, tmp_path: Path, n_bytes: int
) -> None:
    s3.faults(0.1, kinds=("500", "503", "reset", "lost"), seed=n_bytes)
    artifacts = artifacts_at(s3_uri, None)
    kept = [artifacts.put(file_of(tmp_path, n_bytes + n)) for n in range(2)]
    assert [each.n_bytes for each in kept] == [n_bytes + n for n in range(2)]
    assert all(artifacts.verify(each.sha256) for each in kept)
    assert sum(n for name, n in s3.counts().items() if name.startswith("fault")) > 0


def test_a_large_file_is_not_visible_before_all_of_it_is_there(s3: LoopbackS3, s3_uri: str, tmp_path: Path) -> None:
    artifacts = artifacts_at(s3_uri, None)
    path = file_of(tmp_path, 2 * IN_ONE_REQUEST)
    s3.faults(1.0, kinds=("403",), match="^PUT .*/artifacts/[0-9a-f]{2}/")  # the last step, the copy, is refused
    with pytest.raises(StoreUnavailableError, match=r"cannot keep 'model\.bin' in the store at"):
        artifacts.put(path)
    s3.faults(0.0)
    assert list(artifacts.kept()) == []
    assert not [key for key in s3.keys(s3_uri.removeprefix("s3://runs/")) if "/incoming/" in key and key[-1] != "/"]
    assert artifacts.put(path).n_bytes == 2 * IN_ONE_REQUEST


def test_a_service_that_keeps_no_files_says_so(tmp_path: Path) -> None:
    artifacts = artifacts_at("db://team", None)
    with pytest.raises(StoreUnavailableError, match="keeps tables and no files; keep the file elsewhere"):
        artifacts.put(file_of(tmp_path, 1))
    assert list(artifacts.kept()) == []

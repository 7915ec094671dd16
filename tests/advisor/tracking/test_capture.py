"""What is captured without being asked is true, bounded, free of secrets, and never in the way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from advisor.tracking import capture as capturing
from advisor.tracking.capture import capture, capture_quick, capture_slow

CANARY = "c4n4ry-Zx81Qq"
ROOT = Path(__file__).resolve().parents[3]


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=Somebody", "-c", "user.email=somebody@example.org", "-c", "commit.gpgsign=false"]
    command = ["git", *identity, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """Return a repository with one commit of ``train.py``."""
    folder = tmp_path / "code"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "trunk")
    (folder / "train.py").write_text("lr = 0.1\n")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "first")
    return folder


def test_the_process_describes_itself() -> None:
    found = capture_quick()
    assert found["pid"] == os.getpid()
    assert found["cwd"] == os.getcwd()
    assert found["python"]["version"] == ".".join(map(str, sys.version_info[:3]))
    assert found["libraries"]["numpy"] == np.__version__
    assert found["hardware"]["cpus"] >= 1
    assert found["hardware"]["memory_gib"] > 0
    assert found["host"]
    assert found["command"]


def test_everything_together_is_json() -> None:
    found = capture()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert {"command", "git", "gpus"} <= found.keys() | found["absent"].keys()


def test_describing_the_process_takes_little_time() -> None:
    capture_quick()
    start = time.perf_counter()
    capture_quick()
    assert time.perf_counter() - start < 1


def test_a_clean_repository_gives_commit_branch_and_no_diff(repo: Path) -> None:
    found = capture_slow(folder=repo)["git"]
    assert found["commit"] == git(repo, "rev-parse", "HEAD")
    assert found["branch"] == "trunk"
    assert found["root"] == str(repo)
    assert (found["dirty"], found["diff"], found["diff_truncated"]) == (False, "", False)
    assert found["remote"] is None


def test_an_uncommitted_change_is_kept_staged_or_not(repo: Path) -> None:
    (repo / "train.py").write_text("lr = 0.2\n")
    (repo / "new.py").write_text("staged = 1\n")
    git(repo, "add", "new.py")
    (repo / "é note.txt").write_text("untracked")
    found = capture_slow(folder=repo)["git"]
    assert found["dirty"] is True
    assert "-lr = 0.1\n+lr = 0.2\n" in found["diff"]
    assert "+staged = 1" in found["diff"]
    assert found["diff_truncated"] is False
    assert found["untracked"] == ["é note.txt"]
    assert found["n_untracked"] == 1


def test_the_kept_diff_applies_to_the_commit(repo: Path) -> None:
    (repo / "train.py").write_text("lr = 0.2\n")
    diff = capture_slow(folder=repo)["git"]["diff"]
    git(repo, "checkout", "-q", "train.py")
    subprocess.run(["git", "apply"], cwd=repo, input=diff, text=True, check=True)
    assert (repo / "train.py").read_text() == "lr = 0.2\n"


def test_a_large_diff_is_cut_at_a_line_and_says_so(repo: Path) -> None:
    (repo / "train.py").write_text("".join(f"x{i} = {i}\n" for i in range(100_000)))
    found = capture_slow(folder=repo, diff_limit_bytes=5_000)["git"]
    assert found["diff_truncated"] is True
    assert 4_000 < len(found["diff"].encode()) <= 5_000
    assert found["diff"].endswith("\n")


def test_no_diff_is_kept_where_none_is_wanted(repo: Path) -> None:
    (repo / "train.py").write_text("lr = 0.2\n")
    found = capture_slow(folder=repo, diff_limit_bytes=0)["git"]
    assert (found["dirty"], found["diff"], found["diff_truncated"]) == (True, "", True)


def test_a_subfolder_of_a_repository_is_enough(repo: Path) -> None:
    (repo / "sub").mkdir()
    (repo / "train.py").write_text("lr = 0.2\n")
    found = capture_slow(folder=repo / "sub")["git"]
    assert found["root"] == str(repo)
    assert "+lr = 0.2" in found["diff"]


def test_a_repository_without_commits_is_fine(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "-b", "trunk")
    (tmp_path / "a.py").write_text("x")
    git(tmp_path, "add", ".")
    found = capture_slow(folder=tmp_path)
    assert found["git"]["commit"] is None
    assert found["git"]["branch"] == "trunk"
    assert found["git"]["dirty"] is True
    assert "diff" not in found["git"]


def test_a_detached_head_has_no_branch(repo: Path) -> None:
    git(repo, "checkout", "-q", "--detach")
    assert capture_slow(folder=repo)["git"]["branch"] is None


def test_a_folder_without_repository_is_said(tmp_path: Path) -> None:
    found = capture_slow(folder=tmp_path)
    assert "git" not in found
    assert "not a git repository" in found["absent"]["git"]


def test_missing_programs_are_said(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(repo))
    absent = capture_slow(folder=repo)["absent"]
    assert absent["git"] == "git is not installed"
    assert "nvidia-smi is not installed" in absent["gpus"]


def test_a_program_that_fails_is_said_and_one_that_answers_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "nvidia-smi"
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    program.write_text("#!/bin/sh\necho 'NVIDIA H200, 143771, 580.1'\necho 'Other, [N/A], 580.1'\n")
    program.chmod(0o755)
    assert capture_slow(folder=tmp_path)["gpus"] == [
        {"name": "NVIDIA H200", "memory_mib": 143771, "driver": "580.1"},
        {"name": "Other", "memory_mib": None, "driver": "580.1"},
    ]
    assert capture()["hardware"]["gpus"] == "1 × NVIDIA H200, 1 × Other"
    program.write_text("#!/bin/sh\necho 'No devices were found' >&2\nexit 6\n")
    assert capture_slow(folder=tmp_path)["absent"]["gpus"] == "No devices were found"


def test_secrets_of_remote_diff_and_environment_do_not_get_in(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git(repo, "remote", "add", "origin", f"https://me:{CANARY}@example.org/me/code.git")
    (repo / "train.py").write_text(f"api_key = '{CANARY}'\n")
    monkeypatch.setenv("SLURM_API_TOKEN", CANARY)
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    found = capture_slow(folder=repo) | capture_quick()
    assert CANARY not in json.dumps(found)
    assert found["git"]["remote"] == "https://[redacted]@example.org/me/code.git"
    assert found["env"]["SLURM_JOB_ID"] == "77"


def test_a_deleted_working_directory_is_no_reason_to_fail(tmp_path: Path) -> None:
    code = f"""
import json, os, sys, tempfile
sys.path.insert(0, {str(ROOT)!r})
from advisor.tracking.capture import capture
folder = tempfile.mkdtemp(dir={str(tmp_path)!r})
os.chdir(folder)
os.rmdir(folder)
print(json.dumps(capture()))
"""
    command = [sys.executable, "-c", code, "--api-key", CANARY]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True, timeout=60)
    found = json.loads(done.stdout)
    assert "FileNotFoundError" in found["absent"]["cwd"]
    assert "no script" in found["absent"]["script"]
    assert found["command"][-2:] == ["--api-key", "[redacted]"]
    assert CANARY not in done.stdout


def test_the_repository_of_the_script_is_taken_not_that_of_the_working_directory(repo: Path, tmp_path: Path) -> None:
    (repo / "train.py").write_text(
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "from advisor.tracking.capture import capture\n"
        "import json; print(json.dumps(capture()))\n"
    )
    command = [sys.executable, str(repo / "train.py")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=True, timeout=60)
    found = json.loads(done.stdout)
    assert found["script"] == str(repo / "train.py")
    assert found["git"]["root"] == str(repo)
    assert found["git"]["dirty"] is True


def test_the_code_of_our_own_program_is_nobodys_training(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(capturing, "_script", lambda: str(Path(capturing.__file__).parents[1] / "__main__.py"))
    assert capturing._code_folder() == tmp_path

"""What a module says where its framework is not installed: Python sees all packages but the frameworks."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

FRAMEWORKS = ("xgboost", "lightgbm", "catboost", "ray")


@pytest.fixture(scope="module")
def without(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with all that is installed but the frameworks."""
    folder = tmp_path_factory.mktemp("packages")
    for entry in Path(sysconfig.get_paths()["purelib"]).iterdir():
        if not entry.name.startswith(FRAMEWORKS) and entry.suffix != ".pth":
            (folder / entry.name).symlink_to(entry)
    return folder


@pytest.mark.parametrize(
    ("code", "command"),
    [
        ("import advisor.integrations.xgboost", "pip install xgboost"),
        ("from advisor.integrations.lightgbm import advisor_callback; advisor_callback()", "pip install lightgbm"),
        ("import advisor.integrations.ray", "pip install 'ray[tune]'"),
    ],
)
def test_a_missing_framework_is_one_sentence_with_the_command(
    code: str, command: str, without: Path, repository: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(repository), str(without)])},
        cwd=without,
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("advisor.integrations.common.MissingFrameworkError: advisor.integrations.")
    assert last.endswith(command)


def test_what_needs_no_import_of_its_framework_can_be_imported_without_it(without: Path, repository: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-S", "-c", "import advisor.integrations.catboost, advisor.integrations.lightgbm"],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(repository), str(without)])},
        cwd=without,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr

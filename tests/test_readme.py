"""README is executed: its Python runs in order in one place, its ``advisor`` commands print what is shown.

What differs between two machines or two moments (ids, times, digits) is masked before the comparison.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

FENCE = re.compile(r"^```(python|console)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def fences(repository: Path, language: str) -> list[str]:
    text = (repository / "README.md").read_text(encoding="utf-8")
    return [body for kind, body in FENCE.findall(text) if kind == language]


def masked(text: str) -> str:
    """Return text without ids, figures, rules and the amount of blanks."""
    text = re.sub(r"-?\d+\.\d[\de+-]*", "N", text)
    text = re.sub(r"\b[0-9a-f]{8,}\b", "ID", text)
    text = re.sub(r"-?\d[\d.,:e+-]*", "N", text)
    return " ".join(re.sub(r"[─━]+", "", text).split())


@pytest.fixture(scope="module")
def folder(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run README's Python and return the folder that it ran in."""
    folder = tmp_path_factory.mktemp("readme")
    first = fences(repository, "python")[0]
    (folder / "quick.py").write_text(first, encoding="utf-8")
    done = subprocess.run([sys.executable, "quick.py"], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def test_the_commands_print_what_is_shown(repository: Path, folder: Path) -> None:
    bin_folder = Path(sys.executable).parent
    environment = {**os.environ, "ADVISOR_STORE": "experiments", "COLUMNS": "100", "NO_COLOR": "1"}
    environment["PATH"] = f"{bin_folder}{os.pathsep}{environment['PATH']}"
    checked = 0
    for fence in fences(repository, "console"):
        for part in re.split(r"^\$ ", fence, flags=re.MULTILINE)[1:]:
            command, _, shown = part.partition("\n")
            if not command.startswith("advisor "):
                continue
            done = subprocess.run(
                command, shell=True, cwd=folder, env=environment, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stderr
            assert masked(done.stdout) == masked(shown), command
            checked += 1
    assert checked >= 4


def test_the_other_snippets_run_too(repository: Path, tmp_path: Path) -> None:
    first, *rest = fences(repository, "python")
    (tmp_path / "quick.py").write_text("\n".join([first.replace("n_runs=16", "n_runs=1"), *rest]), encoding="utf-8")
    command = [sys.executable, "-W", "ignore", "quick.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_command_of_the_program_is_described(repository: Path) -> None:
    from advisor.cli.app import build

    text = (repository / "README.md").read_text(encoding="utf-8")
    app = build()
    names = [command.name for command in app.registered_commands] + [group.name for group in app.registered_groups]
    assert [name for name in names if name and f"{name} " not in text and f"`{name}`" not in text] == []


def test_files_that_the_page_links_to_exist(repository: Path) -> None:
    text = (repository / "README.md").read_text(encoding="utf-8")
    linked = re.findall(r"\]\((?!https?:)([^)#]+)\)", text)
    assert linked
    assert [path for path in linked if not (repository / path).exists()] == []

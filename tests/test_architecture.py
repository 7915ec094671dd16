"""The house stands as it is drawn: imports point one way, and every path that the drawing names exists."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

PACKAGES = ("advisor", "storage")
WRITTEN_BY_HAND = ("*.py", "*.md", "*.toml", "*.txt", "*.j2", "*.yaml", "Makefile", ".ci/run")

# Addresses of one machine, unfinished work, and a database embedding function that would trust remote code.
FORBIDDEN = {
    "unfinished": r"\b(TODO|FIXME|XXX)\b",
    "machine path": r"(?<![\w.])/(?:home|Users|work|root)/\w",
    "package index": r"(?:index-url|extra-index-url|trusted-host|find-links)\b",
    "remote code": r"trust_remote_code\s*=\s*True",
}


def written_files(repository: Path) -> list[Path]:
    """Return the files of this repository that people write, as git knows them or would."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *WRITTEN_BY_HAND],
        cwd=repository,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    return [repository / name for name in listed if (repository / name).is_file()]


def test_imports_keep_the_contracts(repository: Path) -> None:
    linter = Path(sys.executable).parent / "lint-imports"
    done = subprocess.run([str(linter), "--no-cache"], cwd=repository, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_path_that_the_architecture_page_names_exists(repository: Path) -> None:
    page = (repository / "ARCHITECTURE.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:advisor|storage|tests|examples|evals)/[\w./-]*)`", page))
    assert named, "ARCHITECTURE.md names no path in backquotes"
    assert sorted(path for path in named if not (repository / path).exists()) == []


def test_every_module_says_what_it_is_for(repository: Path) -> None:
    silent = [
        str(path.relative_to(repository))
        for package in PACKAGES
        for path in (repository / package).rglob("*.py")
        if not path.read_text(encoding="utf-8").lstrip().startswith(('"""', 'r"""'))
    ]
    assert silent == []


def test_no_file_holds_what_belongs_to_one_machine_or_is_unfinished(repository: Path) -> None:
    found = [
        f"{path.relative_to(repository)}:{number}: {what}"
        for path in written_files(repository)
        if "tests" not in path.relative_to(repository).parts  # tests make such things up
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        for what, pattern in FORBIDDEN.items()
        if re.search(pattern, line)
    ]
    assert found == []

"""An environment for each rival, made by pip on first use and again whenever its pinned version changes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = ROOT / "evals" / "requirements-rivals.txt"
OURS = ("bare", "advisor")
STAMP = ".installed"


@dataclass(frozen=True)
class Environment:
    """Where one tool runs."""

    tool: str
    interpreter: str
    version: str
    error: str = ""
    """Why it cannot run; empty where it can."""


def pinned() -> dict[str, str]:
    """Return name → requirement of every rival."""
    lines = (line.split("#")[0].strip() for line in REQUIREMENTS.read_text().splitlines())
    return {line.split("==")[0]: line for line in lines if line}


def prepare(tool: str, folder: Path) -> Environment:
    """Return the environment of a tool, installed; or the reason why it could not be."""
    if tool in OURS:
        return Environment(tool, sys.executable, _version(sys.executable, "experiment-advisor"))
    requirement, place = pinned()[tool], folder / tool
    interpreter, stamp = place / "bin" / "python", place / STAMP
    if not (stamp.is_file() and stamp.read_text() == requirement):
        print(f"installing {requirement} into {place}", file=sys.stderr)
        try:
            shutil.rmtree(place, ignore_errors=True)
            _run(sys.executable, "-m", "venv", str(place))
            _run(str(interpreter), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", requirement)
        except subprocess.CalledProcessError as error:
            lines = [line for line in error.stderr.splitlines() if line.startswith("ERROR")] or [str(error)]
            return Environment(tool, str(interpreter), requirement, f"not installed: {lines[-1]}")
        stamp.write_text(requirement)
    return Environment(tool, str(interpreter), _version(str(interpreter), tool))


def variables(tool: str, template: dict[str, str], folder: Path, mark: str) -> dict[str, str]:
    """Return the environment variables of a tool's process: no home, no settings and no keys of the user."""
    home = folder / "home"
    home.mkdir(exist_ok=True)
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR", "LD_LIBRARY_PATH") if name in os.environ}
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    own = {"PYTHONPATH": str(ROOT)} if tool in OURS else {}
    filled = {name: value.format(folder=folder) for name, value in template.items()}
    return {**kept, **threads, "HOME": str(home), "STORE_RIVALS": mark, **own, **filled}


def _version(interpreter: str, package: str) -> str:
    script = f"from importlib.metadata import version; print(version({package!r}))"
    return _run(interpreter, "-c", script).strip()


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout

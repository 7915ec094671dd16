"""Names of experiments and runs, made from folders where a format has none of its own."""

from __future__ import annotations

import os
from pathlib import Path

from advisor.sources.port import Options


def shown(name: str) -> str:
    """Return a name of a file as text; bytes that are no UTF-8 become ``�``."""
    return os.fsencode(name).decode(errors="replace")


def root_of(folder: Path, options: Options) -> Path:
    """Return the folder that was given, where a run's folder lies in it; else the run's own."""
    root = options.root
    return root if root is not None and root in (folder, *folder.parents) else folder


def experiment_of(root: Path) -> str:
    """Return the name of an experiment: that of the folder that was given."""
    return shown(root.name) or "imported"


def run_name(folder: Path, root: Path) -> str:
    """Return the name of a run: its path below the folder that was given, or its own folder's name."""
    below = os.path.relpath(folder, root)
    return shown(folder.name if below == "." else below)

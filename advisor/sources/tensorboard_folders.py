"""Which folders are runs of TensorBoard's: every folder with event files, as TensorBoard has it.

A folder of logs is claimed with all the runs right below it, so that ten thousand of them are one source. A run's
folder that also holds what other tools may have written (tables, databases) stands for itself, so that they are found.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from advisor.sources import sidecars
from advisor.sources.tensorboard_head import order_of

PARAMETERS: Final = (
    "hparams.yaml",
    "hparams.yml",
    "hparams.json",
    "args.yaml",
    "args.json",
    "config.yaml",
    "config.json",
)
"""Files with parameters beside event files: Lightning's logger writes the first."""
TWINS: Final = frozenset({"metrics.csv", "results.csv", "progress.csv", "measurements.csv", "eval_measurements.csv"})
"""Tables in which programs repeat what their event files say."""
OTHERS: Final = frozenset(
    ".csv .tsv .json .jsonl .ndjson .parquet .arrow .db .sqlite .sqlite3 .wandb .npz .aim .log".split()
)
"""Endings of files in which other tools may keep runs."""
OTHER_FOLDERS: Final = frozenset({"wandb", "mlruns", ".aim", ".git", ".neptune"})
DEPTH_AT_MOST: Final = 16
LOOKED_AT: Final = 5_000
"""Names below one run's folder; where there are more, the search for data goes there by itself."""
_ADDED: Final = re.compile(r"[0-9]{9,11}\.[0-9]{1,9}")
"""Folders that PyTorch's ``add_hparams`` makes: parameters, and the last figures, of the run above."""


@dataclass(frozen=True, slots=True)
class RunFolder:
    """A folder with event files."""

    path: Path
    files: tuple[str, ...]
    """Names of its event files, oldest first."""
    stamp: str
    added: Path | None = None
    """The folder below it that only holds its parameters."""
    above: tuple[Path, ...] = ()
    """Folders above it that are runs too, nearest last: their parameters hold for it as well."""

    @property
    def paths(self) -> list[Path]:
        """Its event files, oldest first."""
        return [self.path / name for name in self.files]


def is_events(name: str) -> bool:
    """Return whether a file of this name holds events; the empty ones that profiling leaves do not."""
    return "tfevents" in name and not name.endswith(".profile-empty")


def claimed(folder: Path, folders: frozenset[str], files: frozenset[str]) -> frozenset[str]:
    """Return the names in a folder that belong to TensorBoard's runs; none where there are no runs."""
    events = frozenset(name for name in files if is_events(name))
    below = frozenset(name for name in folders if _is_run_alone(folder / name))
    if not events and not below:
        return frozenset()
    beside = files & (TWINS | sidecars.names_in(files)) if events else frozenset()
    return events | below | beside


def run_folders(top: Path, *, with_below: bool = True) -> Iterator[RunFolder]:
    """Yield the folder itself where it is a run, and the runs below it that were claimed with it."""
    yield from _runs(top, (), 0, with_below=with_below)


def _runs(folder: Path, above: tuple[Path, ...], depth: int, *, with_below: bool) -> Iterator[RunFolder]:
    events, names, stamps = [], [], []
    for entry in _entries(folder):
        if entry.is_symlink():
            continue
        if entry.is_dir(follow_symlinks=False):
            names.append(entry.name)
        elif is_events(entry.name) or entry.name in PARAMETERS or entry.name in sidecars.META:
            stamps.append(_stamp(entry))
            if is_events(entry.name):
                events.append(entry.name)
    added = [name for name in names if _ADDED.fullmatch(name)] if events else []
    only = (
        folder / added[0] if len(added) == 1 and any(is_events(e.name) for e in _entries(folder / added[0])) else None
    )
    if events:
        stamps += [_stamp(entry) for entry in _entries(only)] if only else []
        yield RunFolder(folder, tuple(sorted(events, key=order_of)), " ".join(sorted(stamps)), only, above)
        above = (*above, folder)
    if with_below and depth < DEPTH_AT_MOST:
        for name in sorted(names):
            if folder / name != only and (depth or _is_run_alone(folder / name)):
                yield from _runs(folder / name, above, depth + 1, with_below=True)


def _is_run_alone(folder: Path) -> bool:
    """Return whether a folder has event files and nothing, at any depth, in which another tool may keep runs."""
    there = _entries(folder)
    return any(is_events(entry.name) and entry.is_file(follow_symlinks=False) for entry in there) and _is_alone(there)


def _is_alone(there: Sequence[os.DirEntry[str]]) -> bool:
    waiting, n = [(list(there), 0)], 0
    while waiting:
        entries, depth = waiting.pop()
        n += len(entries)
        if n > LOOKED_AT or depth > DEPTH_AT_MOST:
            return False
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                if entry.name in OTHER_FOLDERS:
                    return False
                waiting.append((_entries(Path(entry.path)), depth + 1))
            elif _may_be_of_others(entry.name):
                return False
    return True


def _may_be_of_others(name: str) -> bool:
    if is_events(name) or name in sidecars.NAMES or name in sidecars.META:
        return False
    return os.path.splitext(name)[1].lower() in OTHERS


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:
        return []


def _stamp(entry: os.DirEntry[str]) -> str:
    try:
        seen = entry.stat(follow_symlinks=False)
    except OSError:
        return f"{entry.name} -"
    return f"{entry.name} {seen.st_size}.{seen.st_mtime_ns}.{seen.st_ino}"

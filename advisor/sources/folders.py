"""Folders of other programs, listed with bounds and without following links.

Names of files that are no UTF-8 are shown with ``�`` in place of what is none.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

FILES_AT_MOST: Final = 20_000
"""Below one folder."""
DEPTH_AT_MOST: Final = 20
HEAD_BYTES: Final = 4096


def files_below(folder: Path, notes: list[str]) -> Iterator[tuple[str, str]]:
    """Yield plain files below a folder in the order of their names: the path in it and the whole path.

    Links are left out. Paths are plain text, since there may be a hundred thousand and objects cost more than reading.
    """
    n = 0
    waiting = [("", str(folder), 0)]
    while waiting:
        prefix, path, depth = waiting.pop()
        below = []
        for entry in scanned(path):
            name = f"{prefix}{entry.name}"
            if entry.is_file(follow_symlinks=False):
                n += 1
                if n > FILES_AT_MOST:
                    notes.append(f"{folder.name} beyond the first {FILES_AT_MOST:,} were left out")
                    return
                yield name, entry.path
            elif depth < DEPTH_AT_MOST and entry.is_dir(follow_symlinks=False):
                below.append((f"{name}/", entry.path, depth + 1))
        waiting += reversed(below)


def scanned(folder: Path | str) -> list[os.DirEntry[str]]:
    """Return what is in a folder, by name; nothing where there is none or a link stands in its place."""
    try:
        if os.path.islink(folder):
            return []
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError:
        return []


def folders_in(folder: Path) -> list[str]:
    """Return the names of the folders in a folder; nothing where there is none."""
    return [entry.name for entry in scanned(folder) if entry.is_dir(follow_symlinks=False)]


def look(path: str) -> tuple[bytes, os.stat_result] | None:
    """Return the beginning of a plain file and its size and times; None for anything else, a link among it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0))
    except (OSError, ValueError):
        return None
    try:
        seen = os.fstat(descriptor)
        return (os.read(descriptor, HEAD_BYTES), seen) if stat.S_ISREG(seen.st_mode) else None
    except OSError:
        return None
    finally:
        os.close(descriptor)


def is_plain(path: Path | str) -> bool:
    """Return whether there is a plain file, no link to one."""
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except (OSError, ValueError):
        return False


def shown(name: str) -> str:
    """Return a name of a file as text; bytes that are no UTF-8 become ``�``."""
    return os.fsencode(name).decode(errors="replace")

"""Was a commit written to its end? LanceDB does not notice when the last write to a data file fails.

Measured with 0.40: where a limit on file sizes lies within the last few hundred bytes of a data file, the error of the
last write is lost, and the commit names a file without its end. Every later read of the table fails over it. So the
files that a commit added are looked at: a data file ends with four letters.

Knows the layout of a table's folder, and nothing else of LanceDB.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ENDING: Final = b"LANC"
"""What every data file ends with (https://lance.org/format/file)."""
_NAME: Final = re.compile(rb"[01]{24}[0-9a-f]{26}")
_NAME_BYTES: Final = 50


def data_files(table: Path, version: int) -> frozenset[str]:
    """Return the names of the data files that a version of a table refers to; none where it is not there.

    Parameters
    ----------
    table
        The table's folder.
    version
        A manifest is named by what is left of 64 bits after it, so that the newest comes first in a listing.
    """
    return frozenset(_files_of(_endings(table, version)))


def cut_short(table: Path, *, since: int, version: int) -> frozenset[str]:
    """Return the names of data files that came with the versions after ``since`` and lack their end."""
    added = _endings(table, version) - _endings(table, since)
    return frozenset(name for name in _files_of(added) if not _has_its_end(table / "data" / name))


def _endings(table: Path, version: int) -> set[bytes]:
    """Return what stands before each ".lance" in a manifest: of hundreds, only what is new is then looked at."""
    try:
        manifest = (table / "_versions" / f"{2**64 - 1 - version:020d}.manifest").read_bytes()
    except OSError:
        return set()
    return {piece[-_NAME_BYTES:] for piece in manifest.split(b".lance")[:-1]}


def _files_of(endings: set[bytes]) -> Iterator[str]:
    return (f"{name.decode()}.lance" for name in endings if _NAME.fullmatch(name))


def _has_its_end(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            file.seek(-len(ENDING), os.SEEK_END)
            return file.read() == ENDING
    except OSError:  # it is not there, or shorter than the ending
        return False

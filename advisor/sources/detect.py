"""Finds out what a folder, a file or an address holds, by names and first bytes; nothing is read.

The folder given is shown to each reader, then those below it that nobody claimed whole. Links are not followed, so
nothing outside of the folder is found and no circle is walked.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from advisor.errors import ImportFormatError
from advisor.sources.port import Found, Listing, Reader

PASSED_OVER: Final = frozenset(
    {".git", ".hg", ".svn", ".venv", "venv", "node_modules", "__pycache__", ".tox", ".mypy_cache", "site-packages"}
)
"""Folders in which nobody keeps runs; trees of many thousand files otherwise."""
OWN: Final = frozenset({"migrations.lance", "events.lance"})
"""A store of ours, which is no other tool's data."""
FOLDERS_AT_MOST: Final = 200_000
CLOSED_SHOWN: Final = 20
"""Folders that could not be listed and are named."""
UNREADABLE: Final = {
    ".pkl": "a pickle, which can run any program when it is read",
    ".pickle": "a pickle, which can run any program when it is read",
    ".pt": "a PyTorch file, which may hold a pickle",
    ".ckpt": "a checkpoint, which may hold a pickle",
    ".keras": "a saved model, which holds no history",
    ".h5": "a saved model or data, which hold no history",
    ".joblib": "a joblib file, which is a pickle",
}
"""Endings of files that may hold runs and are never opened, and what they are."""


@dataclass(frozen=True, slots=True)
class Detected:
    """What was found."""

    found: Sequence[Found]
    refused: Sequence[str]
    """Files that look as if they held runs and are not read, with the reason, in plain sentences."""
    n_folders: int
    """Folders looked at."""


def detect(target: str, readers: Sequence[Reader]) -> Detected:
    """Return what there is.

    Parameters
    ----------
    target
        A folder, a file, or an address.
    readers
        Asked in this order.

    Raises
    ------
    ImportFormatError
        If there is nothing at that place, or nothing that any reader knows.
    """
    if "://" in target:
        return Detected([_at_address(target, readers)], (), 0)
    path = Path(target).expanduser().absolute()
    if not path.exists():
        raise ImportFormatError(f"there is nothing at {target!r}; give a folder, a file or an address")
    if not path.is_dir():
        return Detected([_at_file(path, readers)], (), 0)
    path = path.resolve()
    found: list[Found] = []
    refused: Counter[str] = Counter()
    closed: list[str] = []
    n_folders = 0
    for listing in _folders(path, readers, found, refused, closed):
        n_folders += 1
        if n_folders > FOLDERS_AT_MOST:
            raise ImportFormatError(f"more than {FOLDERS_AT_MOST:,} folders below {target!r}; give one further down")
        del listing
    reasons = [_refusal(ending, n) for ending, n in sorted(refused.items())]
    return Detected(found, closed[:CLOSED_SHOWN] + reasons, n_folders)


def nothing_found(target: str, detected: Detected, readers: Sequence[Reader]) -> ImportFormatError:
    """Return the error of a folder in which no reader found anything."""
    why = f" ({'; '.join(detected.refused)})" if detected.refused else ""
    titles = ", ".join(reader.title for reader in readers)
    return ImportFormatError(
        f"no runs were recognised in {target!r}{why}; known are {titles}. A table of your own: name the file itself"
    )


def _at_address(address: str, readers: Sequence[Reader]) -> Found:
    for reader in readers:
        found = reader.find_address(address)
        if found is not None:
            return found
    if address.startswith("sqlite:///") and not Path(address[10:]).exists():
        raise ImportFormatError(f"there is no file {address[10:]!r}, which the address {address!r} names")
    scheme = address.split("://", 1)[0]
    raise ImportFormatError(f"no reader knows addresses that begin with {scheme}://; give a folder or a file instead")


def _at_file(path: Path, readers: Sequence[Reader]) -> Found:
    reason = UNREADABLE.get(path.suffix.lower())
    if reason:
        raise ImportFormatError(f"{path.name!r} is {reason}; export it as CSV, JSON lines or Parquet")
    for reader in readers:
        found = reader.find_file(path)
        if found is not None:
            return found
    raise ImportFormatError(
        f"{path.name!r} is nothing that any reader knows; "
        "a table (CSV, JSON lines, Parquet) needs a column of steps or one row a run"
    )


def _folders(
    top: Path, readers: Sequence[Reader], found: list[Found], refused: Counter[str], closed: list[str]
) -> Iterator[Listing]:
    """Walk from a folder down, adding what readers claim, not into what they claim whole."""
    waiting = [top]
    while waiting:
        path = waiting.pop()
        listing = _listing(path, closed)
        if listing is None or (path != top and listing.folders & OWN):
            continue
        yield listing
        claimed, is_whole = _ask(listing, readers, found)
        if is_whole:
            continue
        left = listing.files - claimed
        refused.update(suffix for name in left if (suffix := Path(name).suffix.lower()) in UNREADABLE)
        below = sorted(listing.folders - claimed - PASSED_OVER, reverse=True)
        waiting += [path / name for name in below]


def _ask(listing: Listing, readers: Sequence[Reader], found: list[Found]) -> tuple[frozenset[str], bool]:
    """Show a folder to all readers; return the names in it that are claimed, and whether all of it is."""
    claimed: frozenset[str] = frozenset()
    for reader in readers:
        left = Listing(listing.path, listing.folders - claimed, listing.files - claimed)
        for each in reader.find(left):
            found.append(each)
            if each.claims is None:
                return claimed, True
            claimed |= each.claims
    return claimed, False


def _listing(path: Path, closed: list[str]) -> Listing | None:
    folders, files = set(), set()
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.add(entry.name)
                elif entry.is_file(follow_symlinks=False):
                    files.add(entry.name)
    except OSError as error:
        closed.append(f"folder {str(path)!r} cannot be listed and was left out: {error.strerror}")
        return None
    return Listing(path, frozenset(folders), frozenset(files))


def _refusal(ending: str, n: int) -> str:
    one = UNREADABLE[ending]
    return f"1 {ending} file is {one}" if n == 1 else f"{n} {ending} files were not opened: each is {one}"

"""What a tool's own reader said of its files, as JSON, and how ours is held against it.

``expected.json`` beside each fixture is written by the tool itself (``make/<tool>.py`` in the fixtures' folder), so the
tests need no tool installed. NaN and ±inf are written as Python writes them.
"""

from __future__ import annotations

import json
import random
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from advisor.errors import SourceError
from advisor.sources.port import Found, Listing, Options, Piece, Reader, SourceRun

DATA = Path(__file__).resolve().parents[2] / "data" / "sources"
"""Folders of fixtures, one a tool and release: ``mlflow-3.18.0-files``."""


def listing(folder: Path) -> Listing:
    """Return a folder as the search for data sees it."""
    there = [entry for entry in folder.iterdir() if not entry.is_symlink()]
    return Listing(
        folder, frozenset(e.name for e in there if e.is_dir()), frozenset(e.name for e in there if e.is_file())
    )


def find(reader: Reader, path: Path) -> list[Found]:
    """Return what a reader finds in a folder and below, each folder claimed once."""
    if path.is_file():
        found = reader.find_file(path)
        return [found] if found else []
    at = listing(path)
    here = list(reader.find(at))
    if any(found.claims is None for found in here):
        return here
    taken = frozenset().union(*(found.claims or () for found in here)) if here else frozenset()
    return here + [found for name in sorted(at.folders - taken) for found in find(reader, path / name)]


def read_all(reader: Reader, path: Path, options: Options | None = None) -> Iterator[tuple[SourceRun, Piece]]:
    """Yield every run that a reader finds, with its curves read whole."""
    options = options or Options(root=path.resolve())
    for found in find(reader, path):
        with reader.open(found, options) as source:
            for entry in source.entries():
                run = entry.load()
                yield run, run.read(None)


def expected(folder: Path) -> list[dict[str, Any]]:
    """Return what the tool's own reader said: runs with name, params, curves and what else it knows."""
    return list(json.loads((folder / "expected.json").read_text())["runs"])


def assert_same_curves(piece: Piece, curves: Mapping[str, Mapping[str, Sequence[float]]]) -> None:
    """Assert that every point is equal, bit for bit, and that no metric is missing or made up."""
    assert sorted(piece.curves) == sorted(curves)
    for metric, wanted in curves.items():
        points = piece.curves[metric]
        assert points.steps.tolist() == list(wanted["steps"]), metric
        np.testing.assert_array_equal(points.values, np.array(wanted["values"], dtype=np.float64), err_msg=metric)
        if "times" in wanted:
            np.testing.assert_allclose(points.times, np.array(wanted["times"]), atol=1e-6, err_msg=metric)


def damaged(content: bytes, rng: random.Random) -> bytes:
    """Return a file's content truncated, with bits flipped, bytes lost or doubled, or replaced by what is hostile."""
    if not content:
        return rng.randbytes(rng.randrange(64))
    at = rng.randrange(len(content))
    match rng.randrange(8):
        case 0:
            return content[:at]
        case 1:
            flipped = bytearray(content)
            for _ in range(rng.randrange(1, 16)):
                flipped[rng.randrange(len(flipped))] ^= 1 << rng.randrange(8)
            return bytes(flipped)
        case 2:
            return content[:at] + rng.randbytes(rng.randrange(1, 64)) + content[at:]
        case 3:
            return content[:at] + content[at + rng.randrange(1, 64) :]
        case 4:
            return content[:at] + content[max(at - 200, 0) :]
        case 5:
            return content[:at] + b"\x00" * rng.randrange(1, 4096) + content[at:]
        case 6:
            return content[:at] + rng.choice(HOSTILE) + content[at:]
        case _:
            return content.decode("latin-1").encode("utf-16")[: len(content)]


HOSTILE = (
    b"../../../../etc/passwd",
    b"\xff\xfe\x00\xd8",
    b"\x1b[2J\x1b]0;owned\x07",
    b"9" * 400,
    b"-1e999",
    b"[" * 3000,
    b'{"a":' * 2000,
    b"\r\n\r\n",
    "\u202e\u0000\U0001f4a5".encode(),
)


def assert_survives(reader: Reader, folder: Path, *, n: int, seed: int, scratch: Path) -> None:
    """Assert that whatever happens to a fixture's files, reading ends, in a run or in a ``SourceError``."""
    rng = random.Random(seed)
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != "expected.json"]
    for path in files:
        copy = scratch / path.relative_to(folder)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    for _ in range(n):
        path = rng.choice(files)
        copy = scratch / path.relative_to(folder)
        copy.write_bytes(damaged(path.read_bytes(), rng))
        read_through(reader, scratch)
        copy.write_bytes(path.read_bytes())


def stamps(reader: Reader, folder: Path) -> set[tuple[str, str, str]]:
    """Return source, place and stamp of every run, as an import remembers them."""
    out = set()
    for found in find(reader, folder):
        with reader.open(found, Options(root=folder)) as source:
            out |= {(found.path, entry.place, entry.stamp) for entry in source.entries()}
    return out


def read_through(
    reader: Reader, folder: Path, known: Collection[tuple[str, str, str]] = frozenset()
) -> tuple[int, int]:
    """Read all that can be read and is not known; return how many runs and how many refusals."""
    n_runs = n_refused = 0
    for found in find(reader, folder):
        try:
            with reader.open(found, Options(root=folder)) as source:
                for entry in source.entries():
                    if (found.path, entry.place, entry.stamp) in known:
                        continue
                    try:
                        entry.load().read(None)
                        n_runs += 1
                    except SourceError:
                        n_refused += 1
        except SourceError:
            n_refused += 1
    return n_runs, n_refused

"""A tool of the tests' own: one JSON file a run, ``<name>.toy``, that can be cut, changed, grown and replaced."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from advisor.errors import SourceError
from advisor.sources.port import (
    Cursor,
    Entry,
    Found,
    Listing,
    Options,
    Piece,
    Points,
    Reader,
    Source,
    SourceExperiment,
    SourceRun,
)
from advisor.sources.reading import read_json, stamp_of
from storage.records import RunState


class ToyReader(Reader):
    tool = "toy"
    title = "Toy"

    def __init__(self, *, with_cursor: bool = False) -> None:
        self.with_cursor = with_cursor
        self.n_loaded = self.n_read = 0

    def find(self, at: Listing) -> Sequence[Found]:
        mine = frozenset(name for name in at.files if name.endswith(".toy"))
        return [Found("toy", str(at.path), n_runs=len(mine), claims=mine)] if mine else []

    def find_file(self, path: Path) -> Found | None:
        return Found("toy", str(path.parent), claims=frozenset({path.name})) if path.suffix == ".toy" else None

    def open(self, found: Found, options: Options) -> Source:
        return ToySource(self, Path(found.path))


class ToySource(Source):
    def __init__(self, reader: ToyReader, folder: Path) -> None:
        super().__init__()
        self._reader, self._folder = reader, folder

    def entries(self) -> Iterator[Entry]:
        for path in sorted(self._folder.glob("*.toy")):
            yield Entry(path.name, stamp=stamp_of(path), load=lambda path=path: self._load(path))  # type: ignore[misc]

    def _load(self, path: Path) -> SourceRun:
        self._reader.n_loaded += 1
        said = read_json(path)
        if not isinstance(said, dict):
            raise SourceError("is no toy")
        state = said.get("state", "finished")
        return SourceRun(
            key=said.get("key", str(path)),
            experiment=said.get("experiment", "toys"),
            name=path.stem,
            state=None if state is None else RunState(state),
            active=datetime.fromtimestamp(path.stat().st_mtime, UTC),
            params=said.get("params", {}),
            tags=said.get("tags", []),
            notes=said.get("notes", []),
            attributes=said.get("attributes", {}),
            environment=said.get("environment", {}),
            artifacts=said.get("artifacts", []),
            about=SourceExperiment(objectives=[tuple(each) for each in said.get("objectives", [])]),
            read=lambda cursor: self._read(path, cursor),
        )

    def _read(self, path: Path, cursor: Cursor | None) -> Piece:
        self._reader.n_read += 1
        curves = read_json(path).get("curves", {})
        start = 0 if cursor is None or not self._reader.with_cursor else int(cursor["n"])
        n = max((len(values) for values in curves.values()), default=0)
        return Piece(
            {metric: points(values, start) for metric, values in curves.items()},
            is_whole=start == 0,
            cursor={"n": n} if self._reader.with_cursor else None,
        )


def points(values: Sequence[Any], start: int) -> Points:
    """Return points from one on; a value may be ``[step, value]``."""
    pairs = [value if isinstance(value, list) else [i, value] for i, value in enumerate(values)][start:]
    return Points(
        np.array([step for step, _ in pairs], dtype=np.int64), np.array([value for _, value in pairs], dtype=np.float64)
    )


def write_toy(folder: Path, name: str, **said: Any) -> Path:
    """Write one run."""
    folder.mkdir(exist_ok=True, parents=True)
    path = folder / f"{name}.toy"
    path.write_text(json.dumps(said))
    return path

"""Trainings of Keras: the table of ``CSVLogger``, and ``History.history`` written as JSON.

Saved models (``.keras``, ``.h5``) hold no history and are refused, as pickles are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from advisor.errors import SourceError
from advisor.sources import sidecars
from advisor.sources.points import METRICS_AT_MOST
from advisor.sources.port import Cursor, Entry, Found, Listing, Options, Piece, Points, Reader, Source, SourceRun
from advisor.sources.reading import flat, number, read_json, stamp_of, whole
from advisor.sources.table_columns import Roles
from advisor.sources.table_files import look
from advisor.sources.tables import experiment_of, name_of, run_of_table, written
from advisor.sources.values import seed_of
from storage.records import RunState

EPOCH: Final = "epoch"
TABLES: Final = frozenset({".csv", ".log", ".tsv", ".txt"})
MODELS: Final = frozenset({".keras", ".h5", ".hdf5"})
LOOKED_AT: Final = 20
"""Files of a folder whose beginning is read."""
HISTORY_MAX_BYTES: Final = 4 * 2**20
"""Of a file that is to be recognised; 200,000 values."""
VALUES_AT_MOST: Final = 10_000_000


class KerasReader(Reader):
    """Knows tables by their first column and the order of the others, and histories by what they hold."""

    tool = "keras"
    title = "Keras CSVLogger, History"

    def find(self, at: Listing) -> Sequence[Found]:
        """Claim tables of the logger, and files named after a history that are one."""
        tables = [at.path / name for name in sorted(at.files) if Path(name).suffix.lower() in TABLES]
        named = [name for name in sorted(at.files) if name.endswith(".json") and "history" in name.lower()]
        logs = [self._found(path, "CSVLogger", at) for path in tables[:LOOKED_AT] if _is_log(path)]
        histories = [at.path / name for name in named[:LOOKED_AT] if _is_history(at.path / name)]
        if logs:  # the same trainings, told again when they had ended
            twins = frozenset(path.name for path in histories)
            return [replace(found, claims=(found.claims or frozenset()) | twins) for found in logs]
        return [self._found(path, "History", at) for path in histories]

    def find_file(self, path: Path) -> Found | None:
        """Return what a file is to Keras, a saved model too: opening that says what to give instead."""
        ending = path.suffix.lower()
        if ending in MODELS:
            return Found(self.tool, str(path), what="saved model")
        if ending in TABLES and _is_log(path):
            return Found(self.tool, str(path), n_runs=1, what="CSVLogger")
        if ending == ".json" and _is_history(path):
            return Found(self.tool, str(path), n_runs=1, what="History")
        return None

    def open(self, found: Found, options: Options) -> Source:
        """Open a table or a history."""
        path = Path(found.path)
        if path.suffix.lower() in MODELS:
            raise SourceError("a saved model holds no history; give the table of CSVLogger, or History.history as JSON")
        return KerasSource(path, options)

    def _found(self, path: Path, what: str, at: Listing) -> Found:
        claims = frozenset({path.name}) | sidecars.names_in(at.files)
        return Found(self.tool, str(path), n_runs=1, what=what, claims=claims)


class KerasSource(Source):
    """One training."""

    def __init__(self, path: Path, options: Options) -> None:
        super().__init__()
        self._path, self._options = path, options

    def entries(self) -> Iterator[Entry]:
        """Yield the training."""
        self.notes.clear()
        told = [name for name in _histories(self._path.parent) if self._path.suffix.lower() != ".json"]
        if told:
            self.notes.append(f"{', '.join(told)} was not read beside the table of CSVLogger")
        stamp = f"{stamp_of(self._path)}/{sidecars.stamp_beside(self._path.parent)}"
        yield Entry(".", stamp=stamp, load=self._load)

    def _load(self) -> SourceRun:
        if self._path.suffix.lower() != ".json":
            _, head = look(self._path)
            return run_of_table(self._path, head, Roles(EPOCH, None, (), has_params=False), self._options)
        content = _history(self._path)
        beside = sidecars.read_beside(self._path.parent)
        params = {**beside.params, **content.params}
        return SourceRun(
            key=str(self._path.absolute()),
            experiment=experiment_of(self._path, self._options),
            read=partial(_read, self._path),
            name=name_of(self._path, self._options),
            state=RunState.FINISHED,  # a history is written when a training has ended
            ended=written(self._path),
            params=params,
            seed=seed_of(params),
            meta=beside.meta,
        )


class _History:
    """What a history holds: ``History.history``, or the object around it with ``epoch`` and ``params``."""

    def __init__(self, content: Mapping[str, Any]) -> None:
        inner = content.get("history")
        self.curves: Mapping[str, Any] = inner if isinstance(inner, dict) else content
        params = content.get("params") if isinstance(inner, dict) else None
        self.params = flat(params) if isinstance(params, dict) else {}
        epochs = content.get(EPOCH) if isinstance(inner, dict) else self.curves.get(EPOCH)
        steps = [whole(epoch) for epoch in epochs] if isinstance(epochs, list) else []
        self.epochs = [] if None in steps else [step for step in steps if step is not None]


def _history(path: Path) -> _History:
    content = read_json(path)
    if not isinstance(content, dict):
        raise SourceError("holds no history but a " + type(content).__name__)
    history = _History(content)
    if not any(_is_curve(values) for values in history.curves.values()):
        raise SourceError("holds no history: an object of lists, one a metric")
    return history


def _read(path: Path, cursor: Cursor | None) -> Piece:
    del cursor  # the file is written at once
    history = _history(path)
    curves: dict[str, Points] = {}
    left_out = 0
    for name, values in list(history.curves.items())[:METRICS_AT_MOST]:
        if name == EPOCH:
            continue
        if not _is_curve(values):
            left_out += 1
            continue
        known = history.epochs if len(history.epochs) == len(values) else range(len(values))
        curves[str(name)] = Points(np.array(known, np.int64), np.array([_value(v) for v in values], np.float64))
    notes = (f"{left_out} metrics hold no list of numbers and were left out",) if left_out else ()
    return Piece(curves, notes=notes)


def _value(value: Any) -> float:
    found = number(value)
    return float("nan") if found is None else found  # JSON made of NaN by other languages is null


def _is_curve(values: Any) -> bool:
    if not isinstance(values, list) or not 0 < len(values) <= VALUES_AT_MOST:
        return False
    return all(value is None or number(value) is not None for value in values)


# -- recognising


def _histories(folder: Path) -> list[str]:
    try:
        return sorted(path.name for path in folder.glob("*history*.json"))
    except OSError:
        return []


def _is_log(path: Path) -> bool:
    """Return whether a table is the logger's: the epoch first, then metrics in the order of the alphabet."""
    try:
        form, head = look(path)
    except SourceError:
        return False
    names = list(form.names)
    is_ordered = len(names) > 1 and names[0] == EPOCH and names[1:] == sorted(names[1:])
    return is_ordered and "loss" in names and "step" not in names and head.n_rows > 0  # Lightning's have steps


def _is_history(path: Path) -> bool:
    try:
        content = read_json(path, most=HISTORY_MAX_BYTES)
    except SourceError:
        return False
    if not isinstance(content, dict):
        return False
    curves = _History(content).curves
    return "loss" in curves and all(_is_curve(values) for values in curves.values())

"""Results of one trial of Ray Tune, ``result.json`` with one object a line, as curves.

Where that is missing, ``progress.csv`` is read. Nested results are named as Ray names them, ``eval/acc``. A trial whose
parameters changed while it trained (population based training) has each changed one as a curve, ``config/lr``.
"""

from __future__ import annotations

import csv
import io
import math
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from advisor.errors import SourceError
from advisor.sources.folders import is_plain
from advisor.sources.growing import GrowingFile
from advisor.sources.port import Cursor, Piece, Points
from advisor.sources.reading import number, parse_json, read_text, whole

RESULT: Final = "result.json"
PROGRESS: Final = "progress.csv"
ITERATION: Final = "training_iteration"
TIMESTAMP: Final = "timestamp"
NOT_METRICS: Final = frozenset(
    {
        *("config", "trial_id", "experiment_id", "experiment_tag", "trial_name", "date", TIMESTAMP, "pid", "hostname"),
        *("node_ip", "done", "should_checkpoint", "checkpoint_dir_name", ITERATION, "time_since_restore"),
        *("iterations_since_restore", "timesteps_since_restore", "warmup_time"),
    }
)
"""What Ray adds to a result, beside times that are worth a curve."""
NAN: Final = "null"
"""What Ray writes for a NaN that is no Python float."""
METRICS_AT_MOST: Final = 20_000
DEPTH_AT_MOST: Final = 10
PROGRESS_MAX_BYTES: Final = 256 * 2**20


def read_results(folder: Path, start: float | None, cursor: Cursor | None) -> Piece:
    """Return the curves of a trial's folder.

    Parameters
    ----------
    start
        Seconds since 1970; None where unknown, then times are left out.
    cursor
        Of an earlier reading. All is read again if the file is another one, or a parameter has changed since.
    """
    path = folder / RESULT
    if not is_plain(path):
        return _read_progress(folder / PROGRESS, start) if is_plain(folder / PROGRESS) else Piece({})
    try:
        with GrowingFile(path) as file:
            known = cursor if isinstance(cursor, Mapping) else {}
            if file.goes_on_from(known.get("file")) and isinstance(known.get("n"), int):
                collected = _Collected(known["n"], known.get("config"))
                collected.add_lines(file)
                if not collected.is_perturbed:
                    return collected.piece(start, file, is_whole=False)
        with GrowingFile(path) as file:
            collected = _Collected(0, None)
            collected.add_lines(file)
            return collected.piece(start, file, is_whole=True)
    except SourceError as error:
        raise SourceError(f"{RESULT} {error}") from error


class _Collected:
    """Points of all metrics, as lines come in."""

    def __init__(self, n: int, config_crc: Any) -> None:
        self._n = n
        """Results so far, which count the iterations of results that do not name theirs."""
        self._config_crc = config_crc
        self._config: Any = None
        self._configs: list[tuple[int, float, Mapping[str, Any]]] = []
        self._points: dict[str, tuple[list[int], list[float], list[float]]] = {}
        self._n_lost = 0
        self._n_left = 0
        self.is_perturbed = False

    def add_lines(self, file: GrowingFile) -> None:
        for block in file.blocks():
            for line in block.split(b"\n")[:-1]:
                if line.strip():
                    self.add(_object(line))

    def add(self, result: Mapping[str, Any] | None) -> None:
        """Take one result; None for a line that is none."""
        if result is None:
            self._n_lost += 1
            return
        self._n += 1
        step = whole(result.get(ITERATION))
        step = self._n if step is None else step
        time = number(result.get(TIMESTAMP))
        time = math.nan if time is None else time
        self._watch(step, time, result.get("config"))
        for metric, value in _metrics(result, "", 0):
            if metric not in self._points:
                if len(self._points) >= METRICS_AT_MOST:
                    self._n_left += 1
                    continue
                self._points[metric] = ([], [], [])
            steps, values, times = self._points[metric]
            steps.append(step)
            values.append(value)
            times.append(time)

    def _watch(self, step: int, time: float, config: Any) -> None:
        """See whether parameters changed; what changed is kept, to be a curve."""
        if not isinstance(config, dict) or config == self._config:
            return
        crc = zlib.crc32(repr(config).encode(errors="replace"))
        self._config = config
        if crc == self._config_crc and self._configs:
            return  # NaN among them, which is never equal
        self.is_perturbed |= self._config_crc is not None and crc != self._config_crc
        self._config_crc = crc
        if len(self._configs) < METRICS_AT_MOST:
            self._configs.append((step, time, config))

    def piece(self, start: float | None, file: GrowingFile | None, *, is_whole: bool) -> Piece:
        curves = {metric: _curve(*columns, start) for metric, columns in self._points.items()}
        notes = []
        if self.is_perturbed:
            curves |= {name: _curve(*columns, start) for name, columns in self._perturbed().items()}
        if self._n_lost:
            notes.append(f"{self._n_lost} lines of {RESULT if file else PROGRESS} are no results and were left out")
        if self._n_left:
            notes.append(f"metrics beyond the first {METRICS_AT_MOST:,} were left out")
        cursor = None
        if file is not None and not self.is_perturbed:
            cursor = {"file": file.mark(), "n": self._n, "config": self._config_crc}
        return Piece(curves, is_whole=is_whole, cursor=cursor, notes=tuple(notes))

    def _perturbed(self) -> dict[str, tuple[list[int], list[float], list[float]]]:
        """Return parameters that changed, each with its values from where it had them."""
        out: dict[str, tuple[list[int], list[float], list[float]]] = {}
        for step, time, config in self._configs:
            for name, value in _metrics(config, "config/", 0):
                if name not in out and len(out) >= METRICS_AT_MOST:
                    continue
                steps, values, times = out.setdefault(name, ([], [], []))
                if not values or values[-1] != value:
                    steps.append(step)
                    values.append(value)
                    times.append(time)
        return {name: columns for name, columns in out.items() if len(columns[0]) > 1}


def _metrics(nested: Mapping[str, Any], prefix: str, depth: int) -> Iterator[tuple[str, float]]:
    for key, value in nested.items():
        if not depth and not prefix and key in NOT_METRICS:
            continue
        if isinstance(value, dict):
            if depth < DEPTH_AT_MOST:
                yield from _metrics(value, f"{prefix}{key}/", depth + 1)
        elif isinstance(value, float):
            yield f"{prefix}{key}", value
        elif isinstance(value, int) or value == NAN:
            found = number(value) if value != NAN else math.nan
            if found is not None:
                yield f"{prefix}{key}", found


def _curve(steps: list[int], values: list[float], times: list[float], start: float | None) -> Points:
    at = np.array(times, dtype=np.float64)
    # Ray writes whole seconds, cut off: a first result may seem older than its trial.
    since = np.empty(0) if start is None else np.maximum(at - start, 0.0)
    if not np.isfinite(since).all():
        since = np.empty(0)
    return Points(np.array(steps, dtype=np.int64), np.array(values, dtype=np.float64), since)


def _object(line: bytes) -> Mapping[str, Any] | None:
    try:
        found = parse_json(line)
    except SourceError:
        return None
    return found if isinstance(found, dict) else None


def _read_progress(path: Path, start: float | None) -> Piece:
    """Return the curves of a table, whole; a last row without an end is left out."""
    text = read_text(path, most=PROGRESS_MAX_BYTES)
    text = text[: text.rfind("\n") + 1]
    collected = _Collected(0, None)
    try:
        for row in csv.DictReader(io.StringIO(text), strict=False):
            collected.add({name: _cell(value) for name, value in row.items() if isinstance(name, str)})
    except csv.Error as error:
        raise SourceError(f"{PROGRESS} is no table: {error}") from error
    return collected.piece(start, None, is_whole=True)


def _cell(text: Any) -> Any:
    if not isinstance(text, str) or not text:
        return None
    if text in ("True", "False"):
        return text == "True"
    found = number(text)
    return text if found is None else found

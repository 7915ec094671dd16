"""Neptune: the Parquet files that its exporter left, ``<project>-<digest>/<run>-<digest>_part_<n>.parquet``.

Neptune's servers are gone; these files are what people hold. Each row is one value of one attribute of a run, as the
exporter's README describes (https://github.com/neptune-ai/neptune-exporter#data-layout-on-disk, commit 8d3f44a). A run
is all there once its part 0 is. NaN was written as no value, so a point without one is NaN.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from advisor.errors import SourceError
from advisor.sources import reading
from advisor.sources.gathered import METRICS_AT_MOST
from advisor.sources.port import Cursor, Entry, Found, Listing, Options, Piece, Points, Reader, Source, SourceRun
from advisor.sources.values import counted, seed_of
from storage.errors import RecordError
from storage.interchange import ParquetBatch, read_parquet
from storage.records import RunState

PART: Final = re.compile(r"(.+-[0-9a-f]{16})_part_(\d{1,6})\.parquet")
SCALARS: Final = ("float", "int", "string", "bool", "datetime", "string_set")
COLUMN: Final = {kind: f"{kind}_value" for kind in SCALARS}
SERIES: Final = "float_series"
OTHER_SERIES: Final = ("string_series", "histogram_series", "file_series")
HEAD: Final = ("project_id", "run_id", "attribute_path", "attribute_type")
POINT: Final = ("attribute_path", "attribute_type", "step", "timestamp", "float_value")
MODELS: Final = frozenset({"models", "model_versions"})
"""Folders of the model registry, whose files have the same form and are no runs."""
PARAMETERS: Final = ("parameters/", "params/", "hyperparameters/", "hyperparams/", "hparams/", "config/", "configs/")
"""Where people log settings; ``parameters`` is Neptune's own advice. Other values become attributes."""
MONITORING: Final = "monitoring/"
SYSTEM: Final = "sys/"
ATTRIBUTES_AT_MOST: Final = 20_000
FILES_AT_MOST: Final = 1_000


class NeptuneReader(Reader):
    """Reads folders of a project, as the exporter writes them."""

    tool: ClassVar[str] = "neptune"
    title: ClassVar[str] = "Neptune"

    def find(self, at: Listing) -> Sequence[Found]:
        """Return the project that lies in a folder."""
        names = frozenset(name for name in at.files if PART.fullmatch(name))
        if not names or at.path.name in MODELS:
            return ()
        n_runs = len({match[1] for name in names if (match := PART.fullmatch(name))})
        return [Found(self.tool, str(at.path), n_runs=n_runs, what="export", claims=names)]

    def find_file(self, path: Path) -> Found | None:
        """Return a part of a run, which stands for its whole folder's run."""
        if not PART.fullmatch(path.name) or path.parent.name in MODELS:
            return None
        return Found(self.tool, str(path), n_runs=1, what="export")

    def open(self, found: Found, options: Options) -> Source:
        """Open a project's folder, or one run's part."""
        del options
        return ExportSource(Path(found.path))


class ExportSource(Source):
    """Runs of one project."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def entries(self) -> Iterator[Entry]:
        """Yield complete runs; others are left out and counted."""
        self.notes.clear()
        n_incomplete = 0
        for prefix, parts in sorted(_parts(self._path).items()):
            paths = [parts[number] for number in sorted(parts)]
            if 0 not in parts:
                n_incomplete += 1
                continue
            yield Entry(prefix, stamp=reading.stamp_of(*paths), load=partial(_load, paths))
        if n_incomplete:
            self.notes.append(f"{n_incomplete} runs were exported in part only and left out; export them again")


def _parts(path: Path) -> dict[str, dict[int, Path]]:
    """Return the files of runs, by run and number."""
    only = PART.fullmatch(path.name)
    folder = path.parent if only else path
    out: dict[str, dict[int, Path]] = {}
    try:
        with os.scandir(folder) as there:
            for entry in there:
                match = PART.fullmatch(entry.name)
                if match and (only is None or match[1] == only[1]) and entry.is_file(follow_symlinks=False):
                    out.setdefault(match[1], {})[int(match[2])] = folder / entry.name
    except OSError as error:
        raise SourceError(f"{str(folder)!r} cannot be listed: {error.strerror}") from error
    return out


def _load(paths: Sequence[Path]) -> SourceRun:
    with _understood():
        project, run_id, values = _scalars(paths)
        files = _files(paths)
    system = {path.removeprefix(SYSTEM): value for path, value in values.items() if path.startswith(SYSTEM)}
    params, attributes = _told_apart(values)
    started = _time(system.get("creation_time"))
    active = _time(system.get("ping_time")) or _time(system.get("modification_time"))
    state = _state(system)
    tags = [tag for name in ("tags", "group_tags") for tag in _list(system.get(name))]
    description = system.get("description")
    return SourceRun(
        key=f"{project}/{run_id}" if project else str(paths[0].absolute()),
        experiment=project or paths[0].parent.name,
        read=partial(_read, paths, 0.0 if started is None else started.timestamp()),
        name=_text(system.get("name")) or run_id or None,
        state=state,
        active=active if state is None else None,
        params=params,
        tags=tuple(dict.fromkeys(tags)),
        notes=(_text(description),) if description else (),
        seed=seed_of(params),
        started=started,
        ended=active if state is not None else None,
        environment={ours: _text(system[name]) for name, ours in ENVIRONMENT.items() if system.get(name)},
        meta={"run_id": run_id} | {ours: system[name] for name, ours in META.items() if system.get(name)},
        attributes=attributes,
        artifacts=files,
    )


ENVIRONMENT: Final = {"hostname": "hostname", "owner": "user"}
META: Final = {
    "id": "neptune_id",
    "forking/parent": "forked_from",
    "forking/step": "forked_at_step",
    "trashed": "trashed",
    "archived": "archived",
}
"""Names below ``sys/`` → ours."""


def _state(system: Mapping[str, Any]) -> RunState | None:
    """Return how a run ended; None where it went on when it was exported, or nothing says."""
    if system.get("failed") is True:
        return RunState.FAILED
    state = str(system.get("state", "")).lower()
    if state in ("active", "running"):
        return None
    return RunState.FINISHED if state or "failed" in system else None


def _scalars(paths: Sequence[Path]) -> tuple[str, str, dict[str, Any]]:
    """Return a run's project, its id, and its attributes that are no series."""
    project = run_id = ""
    out: dict[str, Any] = {}
    for path in paths:
        for batch in _batches(path, (*HEAD, *COLUMN.values()), SCALARS):
            columns = {kind: batch.values(name) for kind, name in COLUMN.items()}
            heads = zip(*(batch.values(name) for name in HEAD), strict=True)
            for i, (of_project, of_run, name, kind) in enumerate(heads):
                project, run_id = project or _text(of_project), run_id or _text(of_run)
                value = columns[kind][i]
                # Tables of several runs have a row for each attribute that any of them has.
                if value is not None and name and len(out) < ATTRIBUTES_AT_MOST:
                    out[_text(name)] = value
    if run_id:
        return project, run_id, out
    for path in paths:
        for batch in _batches(path, HEAD, (SERIES,)):
            return _text(batch.values("project_id")[0]), _text(batch.values("run_id")[0]), out
    raise SourceError(f"{paths[0].name!r} says nothing of a run")


def _files(paths: Sequence[Path]) -> list[dict[str, str]]:
    """Return files by their attribute's path, and where the exporter put them below its folder of files."""
    out: list[dict[str, str]] = []
    for path in paths:
        for batch in _batches(path, ("attribute_path", "attribute_type", "file_value"), ("file", "artifact")):
            for name, value in zip(batch.values("attribute_path"), batch.values("file_value"), strict=True):
                uri = value.get("path") if isinstance(value, dict) else None
                if name and uri and len(out) < FILES_AT_MOST:
                    out.append({"name": _text(name), "uri": _text(uri)})
    return out


def _batches(path: Path, columns: Sequence[str], kinds: Sequence[str]) -> Iterator[ParquetBatch]:
    return read_parquet(path, columns, keep=("attribute_type", kinds))


@contextmanager
def _understood() -> Iterator[None]:
    """Turn what is wrong with a Parquet file into a refusal."""
    try:
        yield
    except RecordError as error:
        raise SourceError(str(error)) from error


def _told_apart(values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return parameters, without the folder that they lie in, and all other attributes."""
    params: dict[str, Any] = {}
    attributes: dict[str, Any] = {}
    for path, value in values.items():
        plain = value.isoformat() if isinstance(value, datetime) else reading.plain(value)
        prefix = next((prefix for prefix in PARAMETERS if path.startswith(prefix) and path != prefix), None)
        if prefix is not None and path.removeprefix(prefix) not in params:
            params[path.removeprefix(prefix)] = plain
        elif not path.startswith((SYSTEM, MONITORING)):
            attributes[path] = plain
    limit = reading.PARAMS_AT_MOST
    return dict(list(params.items())[:limit]), dict(list(attributes.items())[:limit])


def _read(paths: Sequence[Path], started_s: float, cursor: Cursor | None) -> Piece:
    """Return all curves; an export is written once, so there is nothing to go on from."""
    del cursor
    with _understood():
        parts, notes = _series(paths), _left_out(paths)
    curves: dict[str, Points] = {}
    n_fractional = 0
    for name in list(parts)[:METRICS_AT_MOST]:
        steps, values, times = (np.concatenate(column) for column in zip(*parts[name], strict=True))
        curves[name], is_fractional = _points(steps, values, times, started_s)
        n_fractional += is_fractional
    if n_fractional:
        notes.append(
            counted(
                n_fractional,
                "metric has steps that are no whole numbers; its points are counted from 0",
                "metrics have steps that are no whole numbers; their points are counted from 0",
            )
        )
    if len(parts) > METRICS_AT_MOST:
        notes.append(f"{len(parts) - METRICS_AT_MOST:,} metrics beyond {METRICS_AT_MOST:,} were left out")
    return Piece(curves, notes=tuple(notes))


def _series(paths: Sequence[Path]) -> dict[str, list[tuple[NDArray[np.float64], ...]]]:
    """Return (steps, values, seconds since 1970) by metric, in pieces."""
    parts: dict[str, list[tuple[NDArray[np.float64], ...]]] = {}
    for path in paths:
        for batch in _batches(
            path, ("attribute_path", "attribute_type", "step", "timestamp", "float_value"), (SERIES,)
        ):
            codes, names = batch.codes("attribute_path")
            columns = [batch.numbers(name) for name in ("step", "float_value", "timestamp")]
            for code, order in _groups(codes):
                name = _text(names[code])
                if not name.startswith(MONITORING):
                    parts.setdefault(name, []).append(tuple(column[order] for column in columns))
    return parts


def _groups(codes: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Yield each code with the places where it stands, in their order."""
    order = np.argsort(codes, kind="stable")
    found, starts = np.unique(codes[order], return_index=True)
    for code, start, end in zip(found, starts, [*starts[1:], len(codes)], strict=True):
        if code >= 0:
            yield int(code), order[start:end]


def _points(
    steps: NDArray[np.float64], values: NDArray[np.float64], times: NDArray[np.float64], started_s: float
) -> tuple[Points, bool]:
    """Return points, and whether their steps are no whole numbers and were counted instead."""
    steps_are_whole = bool((np.isfinite(steps) & (steps == np.floor(steps)) & (np.abs(steps) < 2**53)).all())
    whole = steps.astype(np.int64) if steps_are_whole else np.arange(len(steps), dtype=np.int64)
    is_timed = started_s and not np.isnan(times).all()
    return Points(whole, values, times - started_s if is_timed else np.empty(0)), not steps_are_whole


def _left_out(paths: Sequence[Path]) -> list[str]:
    kinds = Counter[str]()
    for path in paths:
        for batch in _batches(path, ("attribute_type",), OTHER_SERIES):
            kinds.update(map(str, batch.values("attribute_type")))
    if not kinds:
        return []
    return ["left out: " + ", ".join(f"{n:,} values of type {kind}" for kind, n in sorted(kinds.items()))]


def _time(value: Any) -> datetime | None:
    if not isinstance(value, datetime):
        return None
    return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)


def _list(value: Any) -> list[str]:
    return [_text(one) for one in value if one] if isinstance(value, list) else []


def _text(value: Any) -> str:
    return "" if value is None else str(reading.plain(value))

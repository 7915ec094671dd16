"""MLflow's folders, ``mlruns/<experiment>/<run>/{meta.yaml,params,tags,metrics,inputs}``, as runs.

Metric files are lines ``milliseconds value step``; the first releases wrote no step, and those that know data sets add
two words. Files only grow, so a reading goes on where the last one ended.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Mapping
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from advisor.errors import SourceError
from advisor.sources.growing import GrowingFile
from advisor.sources.mlflow_run import ARTIFACTS_AT_MOST, Record, about_experiment, source_run
from advisor.sources.port import Cursor, Entry, Piece, Points, Source, SourceExperiment, SourceRun
from advisor.sources.reading import as_text, from_seconds, number, parse_yaml, plain, read_bytes, stamp_of, whole

META: Final = "meta.yaml"
META_MAX_BYTES: Final = 256 * 2**10
TRASH: Final = ".trash"
VALUE_MAX_BYTES: Final = 2**20
"""Of a parameter or a tag; MLflow allows 8,000 characters."""
FILES_AT_MOST: Final = 20_000
"""Metrics, parameters or tags of one run."""
DEPTH_AT_MOST: Final = 20
"""Folders within the name of a metric, which stand for the slashes in it."""

_PLAIN_LINE: Final = re.compile(
    rb"(?P<key>[a-z_]{1,40}): (?:(?P<whole>0|-?[1-9][0-9]{0,18})|(?P<hash>[0-9a-f]{32})|'(?P<quoted>[^'\\\r\n]*)'"
    rb"|(?P<empty>null|\[\]|\{\}|'')|(?P<text>[A-Za-z/][\w./:@%+-]*[\w/]))"
)
_YAML_WORDS: Final = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})
_DELETED: Final = re.compile(rb"^lifecycle_stage: *deleted\b", re.MULTILINE)
_STARTED: Final = re.compile(rb"^start_time: *([0-9]{1,15})\b", re.MULTILINE)
_REGULAR: Final = re.compile(rb"(?:[0-9]++ \S++ -?[0-9]++\n)*+")


class FilesSource(Source):
    """Runs of folders of experiments."""

    def __init__(self, folder: Path) -> None:
        """Open a folder of experiments, or one experiment, or one run: what its ``meta.yaml`` says decides."""
        super().__init__()
        self._folder = folder
        self._about: dict[Path, tuple[str, dict[str, Any], SourceExperiment]] = {}

    def entries(self) -> Iterator[Entry]:
        """Yield runs, oldest first within an experiment; what MLflow calls deleted is left out and counted."""
        self.notes.clear()
        n_deleted = 0
        top = f"{self._folder}{os.sep}"
        for experiment, runs in self._experiments():
            stamp = stamp_of(experiment / META)
            heads = [(run, _head(run / META)) for run in runs]
            there = [(_started(head), run) for run, head in heads if not _is_deleted(head)]
            n_deleted += len(runs) - len(there)
            for _, run in sorted(there):
                path = str(run)
                place = _shown(path[len(top) :] if path.startswith(top) else os.path.relpath(run, self._folder))
                yield Entry(place, stamp=f"{stamp}/{_stamp(run)}", load=partial(self._load, experiment, run))
        if n_deleted:
            self.notes.append(f"{n_deleted} runs that were deleted in MLflow were left out")

    def _experiments(self) -> Iterator[tuple[Path, list[Path]]]:
        """Yield experiments and their runs."""
        if is_run(self._folder):
            yield self._folder.parent, [self._folder]
        elif is_experiment(self._folder):
            yield self._folder, _runs(self._folder)
        else:
            for name in _folders(self._folder):
                path = self._folder / name
                if name == TRASH:
                    self._note_trash(path)
                elif not is_experiment(path):
                    continue
                elif _is_deleted(_head(path / META)):
                    self.notes.append(f"experiment {_shown(name)!r} was deleted in MLflow and left out")
                else:
                    yield path, _runs(path)

    def _note_trash(self, folder: Path) -> None:
        n = sum(is_experiment(folder / name) for name in _folders(folder))
        if n:
            self.notes.append(f"{n} experiments that were deleted in MLflow were left out")

    def _load(self, experiment: Path, folder: Path) -> SourceRun:
        meta = read_meta(folder / META)
        name, about = self._experiment(experiment, meta)
        uri = meta.get("artifact_uri")
        uri = uri if isinstance(uri, str) else None
        record = Record(
            run_id=_text(meta.get("run_id") or meta.get("run_uuid")) or folder.name,
            experiment=name,
            about=about,
            name=_text(meta.get("run_name") or meta.get("name")),
            status=meta.get("status"),
            start_ms=meta.get("start_time"),
            end_ms=meta.get("end_time"),
            active=from_seconds(_last_written(folder)),
            user=_text(meta.get("user_id")),
            source_version=_text(meta.get("source_version")),
            artifact_uri=uri,
            artifacts=_artifacts(folder / "artifacts", uri or ""),
            params=_values(folder / "params"),
            tags=_values(folder / "tags"),
            datasets=list(_datasets(folder / "inputs", experiment / "datasets")),
        )
        return source_run(record, partial(read_curves, folder / "metrics", whole(meta.get("start_time"))))

    def _experiment(self, folder: Path, run: Mapping[str, Any]) -> tuple[str, SourceExperiment]:
        """Return an experiment's name and what is said of it; without its file, the number that the run gives."""
        stamp = stamp_of(folder / META, folder / "tags")
        kept = self._about.get(folder)
        if kept is None or kept[0] != stamp:
            try:
                meta = read_meta(folder / META)
            except SourceError:
                meta = {}
            known = str(meta.get("experiment_id") or run.get("experiment_id") or folder.name)
            location = _text(meta.get("artifact_location"))
            kept = stamp, meta, about_experiment(known, _values(folder / "tags"), location)
            self._about[folder] = kept
        name = _text(kept[1].get("name")) or str(run.get("experiment_id") or _shown(folder.name))
        return name, kept[2]


def _runs(experiment: Path) -> list[Path]:
    return [experiment / name for name in _folders(experiment) if _is_plain(f"{experiment}/{name}/{META}")]


def is_experiment(folder: Path) -> bool:
    """Return whether a folder is an experiment of MLflow's, told by the beginning of its file."""
    head = _head(folder / META)
    return b"experiment_id:" in head and b"lifecycle_stage:" in head and b"run_id:" not in head


def is_run(folder: Path) -> bool:
    """Return whether a folder is a run of MLflow's, told by the beginning of its file."""
    head = _head(folder / META)
    return (b"run_id:" in head or b"run_uuid:" in head) and b"experiment_id:" in head


def read_meta(path: Path) -> dict[str, Any]:
    """Return what a ``meta.yaml`` says.

    Nearly all of them are plain lines, which are read a hundred times faster than YAML; any other is read as YAML.

    Raises
    ------
    SourceError
        If it cannot be read or says nothing.
    """
    if not _is_plain(path):
        raise SourceError(f"{META} is missing or no plain file")
    content = _named(META, read_bytes, path, most=META_MAX_BYTES)
    meta = _plain_lines(content)
    if meta is None:
        meta = _named(META, parse_yaml, as_text(content))
    if not isinstance(meta, dict) or not meta:
        raise SourceError(f"{META} is empty or no mapping")
    return meta


def _named(name: str, call: Any, *args: Any, **options: Any) -> Any:
    try:
        return call(*args, **options)
    except SourceError as error:
        raise SourceError(f"{name} {error}") from error


def _plain_lines(content: bytes) -> dict[str, Any] | None:
    """Return the values of plain lines ``key: value``, None where one is anything else."""
    out: dict[str, Any] = {}
    for line in content.rstrip(b"\n").split(b"\n"):
        found = _PLAIN_LINE.fullmatch(line)
        if found is None:
            return None
        key = found["key"].decode()
        if found["whole"] is not None:
            out[key] = int(found["whole"])
        elif found["hash"] is not None:
            out[key] = found["hash"].decode()
        elif found["empty"] is not None:
            out[key] = None if found["empty"] == b"null" else ""
        else:
            text = found["quoted"] if found["quoted"] is not None else found["text"]
            if found["text"] is not None and text.decode().lower() in _YAML_WORDS:
                return None
            try:
                out[key] = text.decode()
            except UnicodeDecodeError:
                return None
    return out


# -- curves


def read_curves(folder: Path, start_ms: int | None, cursor: Cursor | None) -> Piece:
    """Return the curves below a run's ``metrics``.

    Parameters
    ----------
    start_ms
        Of the run, milliseconds since 1970; None or 0 where unknown, then times are left out.
    cursor
        Of an earlier reading. If one of its files is not the one that was read then, everything is read again.
    """
    marks = _marks(cursor)
    if marks is not None:
        piece = _read_files(folder, start_ms, marks)
        if piece is not None:
            return piece
    whole_piece = _read_files(folder, start_ms, {})
    assert whole_piece is not None  # nothing to go on from, nothing to disagree with
    return whole_piece


def _marks(cursor: Cursor | None) -> dict[str, Any] | None:
    files = cursor.get("files") if isinstance(cursor, Mapping) else None
    return dict(files) if isinstance(files, Mapping) and files else None


def _read_files(folder: Path, start_ms: int | None, marks: dict[str, Any]) -> Piece | None:
    """Return what follows some marks; None where a file is missing or another one than when they were made."""
    curves: dict[str, Points] = {}
    notes: list[str] = []
    done: dict[str, Any] = {}
    paths = list(_files(folder, notes))
    if not marks.keys() <= {_shown(name) for name, _ in paths}:
        return None
    for name, path in paths:
        metric = _shown(name)
        try:
            with GrowingFile(path) as file:
                if metric in marks and not file.goes_on_from(marks[metric]):
                    return None
                points, n_lost = _points(file, start_ms)
                done[metric] = file.mark()
        except SourceError as error:
            notes.append(f"metric {metric!r} {error}")
            continue
        if n_lost:
            notes.append(f"{n_lost} lines of metric {metric!r} are no points and were left out")
        if len(points):
            curves[metric] = points
    return Piece(curves, is_whole=not marks, cursor={"files": done} if done else None, notes=tuple(notes))


def _points(file: GrowingFile, start_ms: int | None) -> tuple[Points, int]:
    """Return a file's points from where it stands, and how many lines were none."""
    parts: list[tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]] = []
    n_lost = 0
    for block in file.blocks():
        part = _regular(block)
        if part is None:
            part, lost = _irregular(block)
            n_lost += lost
        parts.append(part)
    steps = np.concatenate([np.empty(0, np.int64), *(part[0] for part in parts)])
    values = np.concatenate([np.empty(0), *(part[1] for part in parts)])
    times = np.concatenate([np.empty(0), *(part[2] for part in parts)])
    return Points(steps, values, (times - start_ms) / 1000 if start_ms else np.empty(0)), n_lost


def _regular(block: bytes) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]] | None:
    """Return steps, values and times where all lines have the form of today, None otherwise."""
    if not _REGULAR.fullmatch(block):
        return None
    words = block.split()
    try:
        steps = np.array([int(word) for word in words[2::3]], dtype=np.int64)
        values = np.array([float(word) for word in words[1::3]])
        times = np.array([int(word) for word in words[0::3]], dtype=np.float64)
    except (ValueError, OverflowError):
        return None
    return steps, values, times


def _irregular(block: bytes) -> tuple[tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]], int]:
    rows, n_lost = [], 0
    for line in block.decode(errors="replace").split("\n")[:-1]:
        words = line.split()
        if not words:
            continue
        step = whole(words[2]) if len(words) > 2 else 0
        value = number(words[1]) if len(words) > 1 else None
        time = whole(words[0])
        if step is None or value is None or time is None:
            n_lost += 1
        else:
            rows.append((step, value, time))
    steps = np.array([row[0] for row in rows], dtype=np.int64)
    values = np.array([row[1] for row in rows], dtype=np.float64)
    return (steps, values, np.array([row[2] for row in rows], dtype=np.float64)), n_lost


# -- the small files


def _values(folder: Path) -> dict[str, str]:
    """Return parameters or tags: a file each, its name the name."""
    out: dict[str, str] = {}
    for name, path in _files(folder, []):
        try:
            out[_shown(name)] = as_text(read_bytes(path, most=VALUE_MAX_BYTES))
        except SourceError:
            continue  # one that was removed meanwhile, or is no value
    return out


def _datasets(inputs: Path, datasets: Path) -> Iterator[dict[str, Any]]:
    for name in _folders(inputs)[:ARTIFACTS_AT_MOST]:
        try:
            link = read_meta(inputs / name / META)
            known = str(link.get("source_id", ""))
            if not re.fullmatch(r"[0-9A-Za-z_-]{1,64}", known):  # never a path
                continue
            found = read_meta(datasets / known / META)
        except SourceError:
            continue
        tags = link.get("tags")
        context = tags.get("mlflow.data.context") if isinstance(tags, dict) else None
        yield {
            "name": _text(found.get("name")),
            "digest": _text(found.get("digest")),
            "context": _text(context),
            "source_type": _text(found.get("source_type")),
        }


def _artifacts(folder: Path, uri: str) -> list[Mapping[str, Any]]:
    out: list[Mapping[str, Any]] = []
    for name, path in _files(folder, []):
        if len(out) == ARTIFACTS_AT_MOST:
            break
        try:
            size = path.lstat().st_size
        except OSError:
            continue
        out.append({"name": _shown(name), "uri": f"{uri.rstrip('/')}/{_shown(name)}", "size": size})
    return out


# -- folders


def _files(folder: Path, notes: list[str]) -> Iterator[tuple[str, Path]]:
    """Yield plain files below a folder in the order of their names, by their path in it; links are left out."""
    n = 0
    waiting = [("", folder, 0)]
    while waiting:
        prefix, path, depth = waiting.pop()
        below = []
        for entry in _scanned(path):
            name = f"{prefix}{entry.name}"
            if entry.is_file(follow_symlinks=False):
                n += 1
                if n > FILES_AT_MOST:
                    notes.append(f"{folder.name} beyond the first {FILES_AT_MOST:,} were left out")
                    return
                yield name, Path(entry.path)
            elif depth < DEPTH_AT_MOST and entry.is_dir(follow_symlinks=False):
                below.append((f"{name}/", Path(entry.path), depth + 1))
        waiting += reversed(below)


def _scanned(folder: Path | str) -> list[os.DirEntry[str]]:
    """Return what is in a folder, by name; nothing where there is none or a link stands in its place."""
    return sorted(_unsorted(folder), key=lambda entry: entry.name)


def _unsorted(folder: Path | str) -> list[os.DirEntry[str]]:
    try:
        if os.path.islink(folder):
            return []
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:
        return []


def _folders(folder: Path) -> list[str]:
    return [entry.name for entry in _scanned(folder) if entry.is_dir(follow_symlinks=False)]


def _stamp(run: Path) -> str:
    """Return a text that changes with the run.

    Parameters never change in MLflow, so their folder's time is enough; a tag or a metric file changes in place.
    """
    top = str(run)  # joining paths as objects costs more than asking the system for them
    lines = [stamp_of(*(f"{top}/{name}" for name in (META, "params", "inputs", "artifacts")))]
    waiting = [(f"{top}/tags", 0), (f"{top}/metrics", 0)]
    while waiting:
        folder, depth = waiting.pop()
        for entry in _unsorted(folder):
            if entry.is_dir(follow_symlinks=False):
                if depth < DEPTH_AT_MOST:
                    waiting.append((entry.path, depth + 1))
                continue
            try:
                seen = entry.stat(follow_symlinks=False)
            except OSError:
                continue
            lines.append(f"{entry.path[len(top) :]} {seen.st_size} {seen.st_mtime_ns} {seen.st_ino}")
    lines.sort()
    return blake2b(os.fsencode("\n".join(lines)), digest_size=12).hexdigest()


def _last_written(run: Path) -> float | None:
    """Return when something of a run was written last, seconds since 1970."""
    times = [entry.stat().st_mtime for entry in _scanned(run) if not entry.is_symlink()]
    for _, path in _files(run / "metrics", []):
        try:
            times.append(path.lstat().st_mtime)
        except OSError:
            continue
    return max(times, default=None)


def _is_deleted(head: bytes) -> bool:
    return b"deleted" in head and _DELETED.search(head) is not None


def _started(head: bytes) -> int:
    found = _STARTED.search(head)
    return int(found[1]) if found else 0


def _head(path: Path) -> bytes:
    """Return the beginning of a ``meta.yaml``; nothing where there is none."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0))
    except (OSError, ValueError):
        return b""
    try:
        return os.read(descriptor, 4096)
    except OSError:
        return b""
    finally:
        os.close(descriptor)


def _is_plain(path: Path | str) -> bool:
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except (OSError, ValueError):
        return False


def _shown(name: str) -> str:
    """Return a name of a file as text; bytes that are no UTF-8 become ``�``."""
    return os.fsencode(name).decode(errors="replace")


def _text(value: Any) -> str | None:
    return None if value is None or value == "" else str(plain(value))

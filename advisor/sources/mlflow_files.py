"""MLflow's folders, ``mlruns/<experiment>/<run>/{meta.yaml,params,tags,metrics,inputs}``, as runs.

What MLflow calls deleted is left out.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

from advisor.errors import SourceError
from advisor.sources.folders import DEPTH_AT_MOST, files_below, folders_in, is_plain, look, scanned, shown
from advisor.sources.mlflow_metrics import read_curves
from advisor.sources.mlflow_run import ARTIFACTS_AT_MOST, Record, about_experiment, may_go_on, source_run
from advisor.sources.port import Entry, Source, SourceExperiment, SourceRun
from advisor.sources.reading import as_text, from_seconds, parse_yaml, plain, read_bytes, stamp_of, whole
from advisor.sources.values import counted

META: Final = "meta.yaml"
META_MAX_BYTES: Final = 256 * 2**10
TRASH: Final = ".trash"
VALUE_MAX_BYTES: Final = 2**20
"""Of a parameter or a tag; MLflow allows 8,000 characters."""

_PLAIN_LINE: Final = re.compile(
    rb"(?P<key>[a-z_]{1,40}): (?:(?P<whole>0|-?[1-9][0-9]{0,18})|(?P<hash>[0-9a-f]{32})|'(?P<quoted>[^'\\\r\n]*)'"
    rb"|(?P<empty>null|\[\]|\{\}|'')|(?P<text>[A-Za-z/][\w./:@%+-]*[\w/]))"
)
_YAML_WORDS: Final = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})
_DELETED: Final = re.compile(rb"^lifecycle_stage: *deleted\b", re.MULTILINE)
_STARTED: Final = re.compile(rb"^start_time: *([0-9]{1,15})\b", re.MULTILINE)


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
        for experiment, runs in self._experiments():
            stamp = stamp_of(experiment / META)
            there = [run for run in runs if not run.is_deleted]
            n_deleted += len(runs) - len(there)
            for run in sorted(there, key=lambda run: (run.start_ms, run.name)):
                folder = experiment / run.name
                place = shown(run.name if experiment == self._folder else f"{experiment.name}/{run.name}")
                load = partial(self._load, experiment, folder)
                yield Entry(place, stamp=f"{stamp}/{_stamp(folder, run.seen)}", load=load)
        if n_deleted:
            self.notes.append(
                counted(
                    n_deleted,
                    "run that was deleted in MLflow was left out",
                    "runs that were deleted in MLflow were left out",
                )
            )

    def _experiments(self) -> Iterator[tuple[Path, list[_Run]]]:
        """Yield experiments and their runs."""
        if is_run(self._folder):
            run = _seen(self._folder.parent, self._folder.name)
            yield self._folder.parent, [run] if run else []
        elif is_experiment(self._folder):
            yield self._folder, _runs(self._folder)
        else:
            for name in folders_in(self._folder):
                path = self._folder / name
                if name == TRASH:
                    self._note_trash(path)
                elif not is_experiment(path):
                    continue
                elif _is_deleted(_head(path / META)):
                    self.notes.append(f"experiment {shown(name)!r} was deleted in MLflow and left out")
                else:
                    yield path, _runs(path)

    def _note_trash(self, folder: Path) -> None:
        n = sum(is_experiment(folder / name) for name in folders_in(folder))
        if n:
            self.notes.append(
                counted(
                    n,
                    "experiment that was deleted in MLflow was left out",
                    "experiments that were deleted in MLflow were left out",
                )
            )

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
            active=from_seconds(_last_written(folder)) if may_go_on(meta.get("status")) else None,
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
        name = _text(kept[1].get("name")) or str(run.get("experiment_id") or shown(folder.name))
        return name, kept[2]


@dataclass(frozen=True, slots=True)
class _Run:
    """What a first look at a run shows."""

    name: str
    """Of its folder."""
    seen: os.stat_result
    start_ms: int
    is_deleted: bool


def _runs(experiment: Path) -> list[_Run]:
    seen = (_seen(experiment, name) for name in folders_in(experiment))
    return [run for run in seen if run is not None]


def _seen(experiment: Path, name: str) -> _Run | None:
    looked_at = look(f"{experiment}/{name}/{META}")
    if looked_at is None:
        return None
    head, seen = looked_at
    return _Run(name, seen, _started(head), _is_deleted(head))


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
    if not is_plain(path):
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


# -- the small files


def _values(folder: Path) -> dict[str, str]:
    """Return parameters or tags: a file each, its name the name."""
    out: dict[str, str] = {}
    for name, path in files_below(folder, []):
        looked_at = look(path)
        if looked_at is None:
            continue  # it was removed meanwhile
        content, seen = looked_at
        if seen.st_size > len(content):
            try:
                content = read_bytes(path, most=VALUE_MAX_BYTES)
            except SourceError:
                continue  # no value of MLflow's is as long
        out[shown(name)] = as_text(content)
    return out


def _datasets(inputs: Path, datasets: Path) -> Iterator[dict[str, Any]]:
    for name in folders_in(inputs)[:ARTIFACTS_AT_MOST]:
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
    for name, path in files_below(folder, []):
        if len(out) == ARTIFACTS_AT_MOST:
            break
        try:
            size = os.lstat(path).st_size
        except OSError:
            continue
        out.append({"name": shown(name), "uri": f"{uri.rstrip('/')}/{shown(name)}", "size": size})
    return out


# -- stamps


def _stamp(run: Path, seen: os.stat_result) -> str:
    """Return a text that changes with the run, whose ``meta.yaml`` was just looked at.

    Parameters never change in MLflow, so their folder's time is enough; a tag or a metric file changes in place.
    Ten thousand runs are looked at each time, which is why this is written with plain names instead of paths.
    """
    folder = str(run)
    parts = [f"{seen.st_size} {seen.st_mtime_ns} {seen.st_ino}"]
    for name in ("params", "inputs", "artifacts"):
        try:
            parts.append(f"{os.lstat(f'{folder}/{name}').st_mtime_ns}")
        except OSError:
            parts.append("-")
    for name in ("tags", "metrics"):
        _add_stamps(f"{folder}/{name}", name, 0, parts)
    return blake2b("\n".join(parts).encode(errors="surrogateescape"), digest_size=12).hexdigest()


def _add_stamps(folder: str, shown: str, depth: int, parts: list[str]) -> None:
    below = []
    try:
        if not stat.S_ISDIR(os.lstat(folder).st_mode):
            return
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    below.append(entry.name)
                else:
                    seen = entry.stat(follow_symlinks=False)
                    below.append(f"{entry.name} {seen.st_size} {seen.st_mtime_ns} {seen.st_ino}/")
    except OSError:
        parts.append("-")
        return
    for name in sorted(below):
        if name.endswith("/"):  # a file: no name holds a slash
            parts.append(f"{shown}/{name}")
        elif depth < DEPTH_AT_MOST:
            _add_stamps(f"{folder}/{name}", f"{shown}/{name}", depth + 1, parts)


def _last_written(run: Path) -> float | None:
    """Return when something of a run was written last, seconds since 1970."""
    times = [entry.stat().st_mtime for entry in scanned(run) if not entry.is_symlink()]
    for _, path in files_below(run / "metrics", []):
        try:
            times.append(os.lstat(path).st_mtime)
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
    looked_at = look(str(path))
    return looked_at[0] if looked_at else b""


def _text(value: Any) -> str | None:
    return None if value is None or value == "" else str(plain(value))

"""W&B (Weights & Biases): its logs on this machine, and with the extra ``wandb`` a project on its server.

A folder ``wandb`` holds one folder a process, ``run-<time>-<id>`` or ``offline-run-<time>-<id>``, with a log
``run-<id>.wandb`` in it. A run that was resumed has several; they are one run here, and where the tool began to count
its steps at 0 again, as it does offline, they count on. Values that are no numbers (tables, images, histograms, text)
are left out and counted; console output and the machine's load (``system/…``) are not read.
"""

from __future__ import annotations

import math
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Final

from advisor.errors import SourceError
from advisor.sources import reading, wandb_log, wire
from advisor.sources.port import (
    Entry,
    Found,
    Listing,
    Options,
    Reader,
    Source,
    SourceExperiment,
    SourceRun,
)
from advisor.sources.values import seed_of
from advisor.sources.wandb_history import INTERNAL, is_below, media_in, opened, read_logs
from storage.records import RunState

RUN_FOLDER: Final = re.compile(r"(?:offline-)?run-(\d{8}_\d{6})-(.+)")
ADDRESS: Final = "wandb://"
SILENCE: Final = timedelta(hours=1)
"""After which a run without a record of its end is taken for dead; 32 KiB are written at once, which may take long."""
NO_PROJECT: Final = "uncategorized"
"""What W&B calls the project of runs that name none."""


class WandbReader(Reader):
    """Reads folders ``wandb``, single ``.wandb`` files, and ``wandb://entity/project``."""

    tool: ClassVar[str] = "wandb"
    title: ClassVar[str] = "W&B"

    def find(self, at: Listing) -> Sequence[Found]:
        """Return the runs that lie in a folder, each in a folder of its own or as a bare log."""
        names = frozenset(name for name in at.folders if RUN_FOLDER.fullmatch(name))
        names |= frozenset(name for name in at.files if _is_log_name(name))
        if not names:
            return ()
        ids = {_id_of_folder(name) or _id_of_log(name) for name in names}
        whole = at.path.name == "wandb" or RUN_FOLDER.fullmatch(at.path.name)
        return [
            Found(self.tool, str(at.path), n_runs=len(ids), what="local logs", claims=None if whole else names),
        ]

    def find_file(self, path: Path) -> Found | None:
        """Return a ``.wandb`` file as one run."""
        if path.suffix != ".wandb" or not _begins_as_log(path):
            return None
        return Found(self.tool, str(path), n_runs=1, what="local log")

    def find_address(self, address: str) -> Found | None:
        """Return ``wandb://entity/project`` as that project on W&B's server."""
        if not address.startswith(ADDRESS):
            return None
        return Found(self.tool, address, what="project on a server")

    def open(self, found: Found, options: Options) -> Source:
        """Open a folder, a file, or a project on the server."""
        if found.path.startswith(ADDRESS):
            from advisor.sources.wandb_api import ApiSource

            return ApiSource(found.path.removeprefix(ADDRESS), options)
        return LogSource(Path(found.path))


@dataclass(frozen=True, slots=True)
class Log:
    """One log file, before it is read."""

    path: Path
    order: str
    """Sorts logs by the time at which they were begun."""
    run_id: str


class LogSource(Source):
    """Logs below a folder, or one file."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._begun: dict[Path, float] = {}

    def entries(self) -> Iterator[Entry]:
        """Yield runs in the order in which they were begun first."""
        by_run: dict[str, list[Log]] = {}
        for log in self._in_order():
            by_run.setdefault(log.run_id, []).append(log)
        for run_id, logs in by_run.items():
            for place, of_one in _apart(run_id, logs):
                paths = [log.path for log in of_one]
                yield Entry(place, stamp=reading.stamp_of(*paths), load=partial(_load, paths))

    def _in_order(self) -> list[Log]:
        """Return logs, oldest first: a folder's name has seconds, so those of one second are looked into."""
        logs = list(_logs(self._path))
        of_second = Counter(log.order for log in logs)
        keyed = [(log.order, self._start(log.path) if of_second[log.order] > 1 else 0.0, log) for log in logs]
        return [log for *_, log in sorted(keyed, key=lambda each: (*each[:2], str(each[2].path)))]

    def _start(self, path: Path) -> float:
        """Return when a log says that its run began, in seconds since 1970; ``inf`` where it does not say so yet."""
        start = self._begun.get(path)
        if start is None:
            said = _beginning(path).get("start_time")
            if said is None:
                return math.inf
            start = self._begun[path] = float(said)
        return start


def _logs(path: Path) -> Iterator[Log]:
    if path.is_file():
        yield Log(path, "", _id_of_log(path.name) or path.stem)
        return
    try:
        with os.scandir(path) as there:
            entries = [entry for entry in there if not entry.is_symlink()]
    except OSError as error:
        raise SourceError(f"{str(path)!r} cannot be listed: {error.strerror}") from error
    for entry in entries:
        if _is_log_name(entry.name) and entry.is_file(follow_symlinks=False):
            yield Log(path / entry.name, path.name, _id_of_log(entry.name))
        elif match := RUN_FOLDER.fullmatch(entry.name):
            log = path / entry.name / f"run-{match[2]}.wandb"
            if not os.path.islink(log):  # unlike a path's own method, it says no where the folder may not be read
                yield Log(log, match[1], match[2])


def _apart(run_id: str, logs: list[Log]) -> Iterator[tuple[str, list[Log]]]:
    """Yield logs of one id, told apart by the projects that they name: an id is unique within a project only."""
    if len(logs) == 1:
        yield run_id, logs
        return
    by_project: dict[str, list[Log]] = {}
    for log in logs:
        by_project.setdefault(_project_of(log.path), []).append(log)
    for i, (project, of_one) in enumerate(by_project.items()):
        yield (run_id if i == 0 else f"{run_id}@{project}"), of_one


def _project_of(path: Path) -> str:
    return str(_beginning(path).get("project", ""))


def _beginning(path: Path) -> dict[str, Any]:
    """Return what a log says of its run among its first records, nothing where it cannot be read."""
    said = wandb_log.Said()
    try:
        with reading.open_file(path) as file:
            for i, (_, record) in enumerate(wandb_log.records(file, len(wandb_log.HEADER), wandb_log.Lost())):
                said.hear(record)
                if said.run or i > 20:
                    break
    except SourceError:
        return {}
    return said.run


def _is_log_name(name: str) -> bool:
    return name.endswith(".wandb") and len(name) > len(".wandb")


def _id_of_log(name: str) -> str:
    return name.removesuffix(".wandb").removeprefix("run-")


def _id_of_folder(name: str) -> str:
    match = RUN_FOLDER.fullmatch(name)
    return match[2] if match else ""


def _begins_as_log(path: Path) -> bool:
    try:
        with reading.open_file(path) as file:
            return file.read(len(wandb_log.HEADER)) == wandb_log.HEADER
    except (SourceError, OSError):
        return False


# -- what a run is


def _load(paths: Sequence[Path]) -> SourceRun:
    said, starts = wandb_log.Said(), list[float]()
    for path in paths:
        _hear(path, said)
        if (start := said.run.get("start_time")) is not None:
            starts.append(start)
    started = reading.from_seconds(min(starts)) if starts else None
    run_id = said.run.get("run_id") or _id_of_log(paths[-1].name)
    entity, project = said.run.get("entity", ""), said.run.get("project", "")
    params = reading.flat(_nested(said.config))
    written = _last_written(paths)
    state = _state(said.exit_code, written)
    return SourceRun(
        key="/".join(part for part in (entity, project, run_id) if part),
        experiment=project or NO_PROJECT,
        read=partial(read_logs, paths, 0.0 if started is None else started.timestamp()),
        about=SourceExperiment(objectives=tuple(said.objectives.items()) if len(said.objectives) == 1 else ()),
        name=said.run.get("name") or None,
        state=state,
        active=None if said.exit_code is not None else written,
        params=params,
        tags=tuple(said.run.get("tags", ())),
        notes=tuple(note for note in (said.run.get("notes"), *said.alerts) if note),
        seed=seed_of(params),
        started=started,
        ended=_ended(said, starts) if said.exit_code is not None else None,
        error=f"exit code {said.exit_code}" if said.exit_code else None,
        environment=_environment(said, paths[-1].parent / "files"),
        meta=_meta(said, run_id, len(paths)),
        attributes=_attributes(said.summary),
        artifacts=said.artifacts,
    )


def _hear(path: Path, said: wandb_log.Said) -> None:
    """Take in all of a log but its history; what is damaged is told when the history is read."""
    said.exit_code = None
    with opened(path) as file:
        for _, record in wandb_log.records(file, len(wandb_log.HEADER), wandb_log.Lost()):
            try:
                said.hear(record)
            except SourceError:
                continue


def _state(exit_code: int | None, written: datetime | None) -> RunState:
    """Return how a run ended; without a word of its end, it goes on as long as something is written."""
    if exit_code is not None:
        return RunState.FAILED if exit_code else RunState.FINISHED
    is_silent = written is None or datetime.now(UTC) - written > SILENCE
    return RunState.CRASHED if is_silent else RunState.RUNNING


def _last_written(paths: Sequence[Path]) -> datetime | None:
    try:
        return datetime.fromtimestamp(paths[-1].stat().st_mtime, UTC)
    except (OSError, ValueError, OverflowError):
        return None


def _ended(said: wandb_log.Said, starts: Sequence[float]) -> datetime | None:
    """Return when the run ended: its last log call, or its last start and how long it ran, whichever is later."""
    last = reading.number(said.summary.get(("_timestamp",), b"").decode("latin-1"))
    candidates = [at for at in (reading.from_seconds(last), reading.from_seconds(max(starts, default=None))) if at]
    if starts and candidates and 0 < said.runtime_s < 10**9 and (begun := reading.from_seconds(max(starts))):
        candidates.append(begun + timedelta(seconds=said.runtime_s))
    return max(candidates, default=None)


def _nested(items: Mapping[tuple[str, ...], bytes]) -> dict[str, Any]:
    """Return config as nested settings: what the tool adds is left out, ``{desc, value}`` is its value."""
    out: dict[str, Any] = {}
    for path, raw in items.items():
        name = ".".join(path)
        if not path or path[0] in INTERNAL or not name:
            continue
        try:
            value = reading.parse_json(raw)
        except SourceError:
            value = wire.text(raw)
        if isinstance(value, dict) and "value" in value and value.keys() <= {"desc", "value"}:
            value = value["value"]
        out[name] = value
    return out


def _attributes(summary: Mapping[tuple[str, ...], bytes]) -> dict[str, Any]:
    """Return the summary, flat, without media."""
    media = media_in(summary)
    values = _nested({path: raw for path, raw in summary.items() if not is_below(path, media)})
    return reading.flat({name: value for name, value in values.items() if not _is_media(value)})


def _is_media(value: Any) -> bool:
    return isinstance(value, dict) and "_type" in value


METADATA: Final = {
    "os": "os",
    "python": "python",
    "host": "hostname",
    "username": "user",
    "program": "program",
    "executable": "executable",
    "gpu": "gpu",
    "gpu_count": "gpu_count",
    "cpu_count": "cpu_count",
    "cudaVersion": "cuda",
    "cuda": "cuda",
    "docker": "docker",
}
"""Names in ``wandb-metadata.json`` → ours."""


def _environment(said: wandb_log.Said, files: Path) -> dict[str, Any]:
    """Return code and machine: as the log says it, and where it does not, as the file beside it does."""
    out: dict[str, Any] = {}
    try:
        beside = reading.read_json(files / "wandb-metadata.json", most=2**20) if not os.path.islink(files) else {}
    except SourceError:
        beside = {}
    if isinstance(beside, dict):
        out |= {ours: reading.plain(beside[name]) for name, ours in METADATA.items() if beside.get(name)}
        git = beside.get("git")
        if isinstance(git, dict):
            out |= {f"git_{name}": reading.plain(git[name]) for name in ("commit", "remote") if git.get(name)}
        if isinstance(beside.get("args"), list):
            out["args"] = [str(one) for one in beside["args"]]
    out |= {name: value for name, value in said.environment.items() if value}
    if host := said.run.get("host"):
        out.setdefault("hostname", host)
    arguments = out.pop("args", ())
    if program := out.pop("program", None):
        out["command"] = reading.plain(" ".join([str(program), *map(str, arguments)]))
    return out


def _meta(said: wandb_log.Said, run_id: str, n_logs: int) -> dict[str, Any]:
    names = ("entity", "project", "group", "job_type", "sweep_id", "forked_from", "resumed")
    meta: dict[str, Any] = {"run_id": run_id} | {name: said.run[name] for name in names if said.run.get(name)}
    if said.release:
        meta["wandb_version"] = said.release
    if n_logs > 1:
        meta["n_logs"] = n_logs
    return meta

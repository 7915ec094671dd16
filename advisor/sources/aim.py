"""Aim: a folder ``.aim`` with RocksDB databases, which only Aim's own package reads (extra ``aim``).

That package writes when it reads (locks, upgrades of the schema), and it finds nothing of a run that nobody has indexed
yet. Both are avoided by giving it a temporary copy of one run at a time, without the index: then it reads the run's own
databases, so ``aim storage reindex`` is not needed first. What runs there are, and what changed, is seen without it.
"""

from __future__ import annotations

import importlib
import os
import shutil
import sys
import tempfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np

from advisor.errors import MissingExtraError, SourceError
from advisor.sources import reading
from advisor.sources.databases import Database
from advisor.sources.gathered import METRICS_AT_MOST
from advisor.sources.port import Cursor, Entry, Found, Listing, Options, Piece, Points, Reader, Source, SourceRun
from advisor.sources.values import seed_of
from storage.records import RunState

FOLDER: Final = ".aim"
SILENCE: Final = timedelta(hours=1)
"""After which a run without an end is taken for dead."""
COPY_MAX_BYTES: Final = 4 * 2**30
"""Of one run."""
NO_EXPERIMENT: Final = "default"
"""What Aim calls the experiment of runs that name none."""
ERRORS: Final = (
    *(OSError, ValueError, RuntimeError, LookupError, TypeError, AttributeError, AssertionError, ArithmeticError),
    *(EOFError, MemoryError, ImportError),
)
"""What the package raises beside the errors of the databases under it."""
SYSTEM_PREFIX: Final = "__system__"
"""Names of metrics of the machine's load."""


class AimReader(Reader):
    """Reads repositories: folders that hold ``.aim``."""

    tool: ClassVar[str] = "aim"
    title: ClassVar[str] = "Aim"

    def find(self, at: Listing) -> Sequence[Found]:
        """Return the repository in a folder, or that which the folder is."""
        if FOLDER in at.folders:
            return [self._found(at.path, frozenset({FOLDER}))]
        if at.path.name == FOLDER and "meta" in at.folders:
            return [self._found(at.path.parent, None)]
        return ()

    def _found(self, path: Path, claims: frozenset[str] | None) -> Found:
        return Found(self.tool, str(path), n_runs=len(_hashes(path / FOLDER)), what="repository", claims=claims)

    def open(self, found: Found, options: Options) -> Source:
        """Open a repository.

        Raises
        ------
        MissingExtraError
            If Aim is not installed.
        """
        del options
        try:
            importlib.import_module("aim")
        except ImportError as error:
            raise MissingExtraError.of("Reading an Aim repository", "aim") from error
        return RepositorySource(Path(found.path))


class RepositorySource(Source):
    """Runs of a repository."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path / FOLDER

    def entries(self) -> Iterator[Entry]:
        """Yield runs, oldest first.

        A run's stamp is made of the sizes and times of its databases' files, and of its row in the repository's.
        """
        hashes, rows = _hashes(self._path), _rows(self._path / "run_metadata.sqlite")
        if not hashes and not self._path.is_dir():
            raise SourceError(f"{str(self._path)!r} is no folder")
        for known in sorted(hashes, key=lambda known: (str(rows.get(known, ("~",))[0]), known)):
            row = zlib.crc32(repr(rows.get(known)).encode(errors="replace"))
            yield Entry(
                known, stamp=f"{_files_of(self._path, known):x} {row:x}", load=partial(_load, self._path, known)
            )


def _hashes(path: Path) -> list[str]:
    """Return the runs of a repository; each has a folder of its own."""
    try:
        with os.scandir(path / "meta" / "chunks") as there:
            return [entry.name for entry in there if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []


def _files_of(path: Path, known: str) -> int:
    """Return a number that changes when a run is written to. Logs of readers, which are written anew, do not count."""
    crc = 0
    for part in ("meta", "seqs"):
        try:
            with os.scandir(path / part / "chunks" / known) as there:
                seen = sorted((e.name, e.stat(follow_symlinks=False)) for e in there if not e.name.startswith("LO"))
        except OSError:
            continue
        for name, stat in seen:
            crc = zlib.crc32(f"{name} {stat.st_size} {stat.st_mtime_ns}".encode(errors="replace"), crc)
    return crc


def _rows(path: Path) -> dict[str, tuple[Any, ...]]:
    """Return what the repository's own database says of runs, by hash: creation first, then what people may change."""
    try:
        with Database(path) as database:
            if not database.has("run", "hash", "id"):
                return {}
            wanted = database.columns("run", ("created_at", "name", "description", "is_archived", "experiment_id"))
            rows = list(database.rows(f"SELECT hash, id, {wanted} FROM run"))
            tags: dict[Any, list[Any]] = {}
            if database.has("run_tag", "run_id", "tag_id"):
                for run_id, tag_id in database.rows("SELECT run_id, tag_id FROM run_tag ORDER BY run_id, tag_id"):
                    tags.setdefault(run_id, []).append(tag_id)
    except SourceError:
        return {}
    return {str(known): (*rest, tags.get(i, [])) for known, i, *rest in rows}


@contextmanager
def _opened(path: Path, known: str, parts: Sequence[str]) -> Iterator[Any]:
    """Give one run, opened by Aim in a temporary copy.

    Raises
    ------
    SourceError
    """
    with tempfile.TemporaryDirectory(prefix="advisor-", ignore_cleanup_errors=True) as folder:
        copy = Path(folder) / FOLDER
        try:
            (copy / "locks").mkdir(parents=True)
            for part in parts:
                _copy(path / part / "chunks" / known, copy / part / "chunks" / known)
            for name in ("run_metadata.sqlite", "run_metadata.sqlite-wal", "VERSION"):
                if (path / name).is_file() and not (path / name).is_symlink():
                    shutil.copyfile(path / name, copy / name)
            run = importlib.import_module("aim").Repo(folder).get_run(known)
            if run is None:
                raise SourceError(f"run {known} is not readable by Aim")
            yield run
        except SourceError:
            raise
        except _errors() as error:
            said = " ".join(str(error).split())[:200] or type(error).__name__
            raise SourceError(f"Aim cannot read run {known}: {said}") from error


def _copy(source: Path, target: Path) -> None:
    """Copy the plain files of a run's database."""
    if not source.is_dir() or source.is_symlink():
        return
    with os.scandir(source) as there:
        files = [entry for entry in there if entry.is_file(follow_symlinks=False)]
    if sum(entry.stat(follow_symlinks=False).st_size for entry in files) > COPY_MAX_BYTES:
        raise SourceError(f"run {source.name} is larger than {COPY_MAX_BYTES:,} bytes")
    target.mkdir(parents=True)
    for entry in files:
        shutil.copyfile(entry.path, target / entry.name)


def _errors() -> tuple[type[Exception], ...]:
    """Return what Aim raises; the errors of the databases under it have no base of their own."""
    modules = (sys.modules.get("aimrocks.errors"), sys.modules.get("sqlalchemy.exc"))
    found = [error for module in modules if module is not None for error in vars(module).values()]
    return (*ERRORS, *(error for error in found if isinstance(error, type) and issubclass(error, Exception)))


def _load(path: Path, known: str) -> SourceRun:
    with _opened(path, known, ("meta",)) as run:
        given = run[...]
        params = reading.flat(given if isinstance(given, Mapping) else {})
        created, ended = run.creation_time, run.end_time
        name, experiment = run.name, run.experiment
        tags, description, is_archived = list(run.tags), run.description, bool(run.archived)
    system = {key: params.pop(key) for key in list(params) if key.startswith("__system_params")}
    started, over = reading.from_seconds(created), reading.from_seconds(ended)
    written = _last_written(path / "seqs" / "chunks" / known)
    return SourceRun(
        key=known,
        experiment=str(experiment) if experiment else NO_EXPERIMENT,
        read=partial(_read, path, known, 0.0 if started is None else started.timestamp()),
        name=None if not name or name == f"Run: {known}" else str(name),
        state=_state(over, written),
        active=None if over else written,
        params=params,
        tags=tuple(map(str, tags)),
        notes=(str(description),) if description else (),
        seed=seed_of(params),
        started=started,
        ended=over,
        environment=_environment(system),
        meta={"archived": True} if is_archived else {},
    )


def _state(ended: datetime | None, written: datetime | None) -> RunState:
    """Return how a run ended: Aim notes that it did, not how. Without an end, it goes on while it is written to."""
    if ended is not None:
        return RunState.FINISHED
    is_silent = written is None or datetime.now(UTC) - written > SILENCE
    return RunState.CRASHED if is_silent else RunState.RUNNING


def _last_written(folder: Path) -> datetime | None:
    try:
        with os.scandir(folder) as there:
            times = [entry.stat(follow_symlinks=False).st_mtime for entry in there]
    except OSError:
        return None
    return reading.from_seconds(max(times, default=None))


SYSTEM: Final = {
    "__system_params.git_info.commit.hash": "git_commit",
    "__system_params.git_info.branch": "git_branch",
    "__system_params.git_info.remote_origin_url": "git_remote",
    "__system_params.executable": "executable",
}


def _environment(system: Mapping[str, Any]) -> dict[str, Any]:
    """Return what Aim captured of code and machine."""
    out = {ours: system[theirs] for theirs, ours in SYSTEM.items() if system.get(theirs)}
    arguments = system.get("__system_params.arguments")
    if arguments:
        out["command"] = " ".join(map(str, arguments)) if isinstance(arguments, list) else str(arguments)
    return out


def _read(path: Path, known: str, started_s: float, cursor: Cursor | None) -> Piece:
    """Return all curves; Aim's databases are rewritten as they grow, so there is no place to go on from."""
    del cursor
    curves: dict[str, Points] = {}
    n_dropped = 0
    with _opened(path, known, ("meta", "seqs")) as run:
        for metric in run.metrics():
            if str(metric.name).startswith(SYSTEM_PREFIX):
                continue
            if len(curves) >= METRICS_AT_MOST:
                n_dropped += 1
                continue
            context = metric.context.to_dict()
            name = metric_name(str(metric.name), context)
            if name in curves:
                name = metric_name(str(metric.name), context, is_plain=True)
            points = _points(metric, started_s)
            if len(points):
                curves[name] = points
    notes = (f"{n_dropped:,} metrics beyond {METRICS_AT_MOST:,} were left out",) if n_dropped else ()
    return Piece(curves, notes=notes)


def metric_name(name: str, context: Mapping[str, Any], *, is_plain: bool = False) -> str:
    """Return a metric and its context as one name.

    A context of nothing but a subset comes first, as other tools write it; any other stands behind, in brackets.

    Examples
    --------
    >>> metric_name("loss", {"subset": "val"}), metric_name("acc", {"fold": 2, "subset": "val"}), metric_name("lr", {})
    ('val_loss', 'acc[fold=2,subset=val]', 'lr')
    """
    if not context:
        return name
    subset = context.get("subset")
    if len(context) == 1 and isinstance(subset, str) and subset and not is_plain:
        return name if name.startswith(f"{subset}_") else f"{subset}_{name}"
    pairs = sorted((str(key), str(value)) for key, value in context.items())
    return f"{name}[{','.join(f'{key}={value}' for key, value in pairs)}]"


def _points(metric: Any, started_s: float) -> Points:
    """Return a sequence as points by their steps.

    ``metric.values.sparse_numpy()``, which examples use, has hashes of steps in their place.
    """
    steps, (values, times) = metric.data.view(("val", "time")).numpy()
    steps, values, times = np.asarray(steps), np.asarray(values), np.asarray(times)
    if not steps.size or values.shape != steps.shape:
        return Points(np.empty(0, np.int64), np.empty(0))
    since = times.astype(np.float64) - started_s if started_s and times.shape == steps.shape else np.empty(0)
    return Points(steps.astype(np.int64), values.astype(np.float64), since)

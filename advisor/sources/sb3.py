"""Trainings of Stable-Baselines3: monitors of episodes, the logger's ``progress.csv``, ``evaluations.npz``.

A folder is one run. Monitors of several environments that ran side by side are one curve, as the package's own
``load_results`` has it: episodes in the order in which they ended, at the number of steps taken in all of them by then.
"""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from advisor.errors import SourceError
from advisor.sources.naming import experiment_of, root_of, run_name
from advisor.sources.points import METRICS_AT_MOST
from advisor.sources.port import Cursor, Entry, Found, Listing, Options, Piece, Points, Reader, Source, SourceRun
from advisor.sources.reading import flat, from_seconds, number, open_file, parse_json, plain, read_yaml, stamp_of
from advisor.sources.sidecars import NAMES as PARAMETERS
from advisor.sources.sidecars import read_beside
from advisor.sources.table_cells import numbers
from advisor.sources.table_columns import Roles
from advisor.sources.table_curves import Curves
from advisor.sources.table_files import Form, TableFile, look
from advisor.sources.tensorboard_folders import is_events
from advisor.sources.values import seed_of

MONITOR: Final = "monitor.csv"
PROGRESS: Final = "progress.csv"
EVALUATIONS: Final = "evaluations.npz"
ZOO: Final = ("args.yml", "config.yml")
"""What the package's zoo of trained agents writes, beside or one folder below."""
STEPS: Final = ("time/total_timesteps", "total_timesteps", "timesteps_total", "steps")
TIMES: Final = ("time/time_elapsed", "time_elapsed")
EPISODE: Final[Mapping[str, str]] = {"r": "episode/reward", "l": "episode/length"}
WORDS: Final = {"True": "1", "False": "0"}
"""What an environment tells of an episode, such as whether it succeeded."""
HEADER_MAX_BYTES: Final = 64 * 2**10
MONITORS_AT_MOST: Final = 1_024
ARRAY_MAX_BYTES: Final = 256 * 2**20


class SB3Reader(Reader):
    """Knows monitors and the logger's table by their first line."""

    tool = "sb3"
    title = "Stable-Baselines3"

    def find(self, at: Listing) -> Sequence[Found]:
        """Claim what tells of the folder's training."""
        monitors = {name for name in at.files if name.endswith(MONITOR)}
        monitors = {name for name in monitors if _monitor_header(at.path / name) is not None}
        progress = {PROGRESS} & at.files if _is_progress(at.path / PROGRESS) else set()
        evaluations = {EVALUATIONS} & at.files
        if not monitors and not progress and not evaluations:
            return ()
        beside = at.files & {*ZOO, *PARAMETERS}
        events = {name for name in at.files if is_events(name)} if progress else set()
        claims = frozenset(monitors | progress | evaluations | beside | events)
        return [Found(self.tool, str(at.path), n_runs=1, what="monitors and logs", claims=claims)]

    def find_file(self, path: Path) -> Found | None:
        """Return the training that a monitor, a progress table or an evaluation is of."""
        is_ours = (path.name.endswith(MONITOR) and _monitor_header(path) is not None) or path.name == EVALUATIONS
        if is_ours or (path.name == PROGRESS and _is_progress(path)):
            return Found(self.tool, str(path.parent), n_runs=1, what="monitors and logs")
        return None

    def open(self, found: Found, options: Options) -> Source:
        """Open a folder."""
        return SB3Source(Path(found.path), options)


class SB3Source(Source):
    """One training."""

    def __init__(self, folder: Path, options: Options) -> None:
        super().__init__()
        self._folder = folder
        self._root = root_of(folder, options)

    def entries(self) -> Iterator[Entry]:
        """Yield the training."""
        self.notes.clear()
        files = [*_monitors(self._folder), self._folder / PROGRESS, self._folder / EVALUATIONS]
        beside = [self._folder / name for name in (*ZOO, *PARAMETERS)]
        yield Entry(".", stamp=stamp_of(*files, *beside), load=self._load)

    def _load(self) -> SourceRun:
        headers = [header for path in _monitors(self._folder) if (header := _monitor_header(path)) is not None]
        starts = [start for header in headers if (start := number(header.get("t_start"))) is not None]
        started_s = min((start for start in starts if math.isfinite(start)), default=None)
        params = {**read_beside(self._folder).params, **_of_zoo(self._folder)}
        envs = {env for header in headers if isinstance(env := header.get("env_id"), str)}
        if len(envs) == 1 and envs != {"None"}:
            params.setdefault("env_id", envs.pop())
        return SourceRun(
            key=str(self._folder.absolute()),
            experiment=experiment_of(self._root),
            read=partial(_read, self._folder),
            name=run_name(self._folder, self._root),
            state=None,
            active=from_seconds(_written(self._folder)),
            params=params,
            seed=seed_of(params),
            started=None if started_s is None else from_seconds(started_s),
            meta={"n_envs": len(headers)} if headers else {},
        )


def _read(folder: Path, cursor: Cursor | None) -> Piece:
    """Return the curves, always whole: episodes of several files are merged."""
    del cursor
    notes: list[str] = []
    curves: dict[str, Points] = {}
    n_files = 0
    for what, read in ((PROGRESS, _progress), (EVALUATIONS, _evaluations), (MONITOR, _episodes)):
        if not (_monitors(folder) if what == MONITOR else _is_plain(folder / what)):
            continue
        try:
            curves = {**read(folder, notes), **curves}  # what the logger wrote comes first
        except SourceError as error:
            notes.append(f"{what} {error}")
        else:
            n_files += 1
    if not n_files:
        raise SourceError("; ".join(notes) or "holds nothing that can be read")
    return Piece(curves, notes=tuple(notes))


# -- monitors


def _monitors(folder: Path) -> list[Path]:
    try:
        found = sorted(path for path in folder.iterdir() if path.name.endswith(MONITOR) and _is_plain(path))
    except OSError:
        return []
    return found[:MONITORS_AT_MOST]


def _monitor_header(path: Path) -> dict[str, Any] | None:
    """Return what the first line of a monitor says; None for a file that is none."""
    if not _is_plain(path):
        return None
    try:
        with open_file(path) as file:
            line = file.readline(HEADER_MAX_BYTES)
        header = parse_json(line[1:]) if line.startswith(b"#{") else None
    except (SourceError, OSError):
        return None
    return header if isinstance(header, dict) and "t_start" in header else None


def _episodes(folder: Path, notes: list[str]) -> dict[str, Points]:
    """Return the episodes of all environments in the order in which they ended."""
    columns: dict[str, list[NDArray[np.float64]]] = {}
    starts: list[float] = []
    for path in _monitors(folder):
        header = _monitor_header(path)
        start = None if header is None else number(header.get("t_start"))
        if start is None or not math.isfinite(start):
            continue
        try:
            found = _monitor(path)
        except SourceError as error:
            notes.append(f"{path.name} {error}")
            continue
        if not {"r", "l", "t"} <= found.keys():
            notes.append(f"{path.name} has no columns r, l and t")
            continue
        starts.append(start)
        found["t"] = found["t"] + start
        n, before = len(found["t"]), sum(map(len, columns.get("t", [])))
        for name in dict.fromkeys([*columns, *found]):
            parts = columns.setdefault(name, [np.full(before, math.nan)] if before else [])
            parts.append(found.get(name, np.full(n, math.nan)))
    whole = {name: np.concatenate(parts) for name, parts in columns.items() if parts}
    if not whole or not whole["t"].size:
        return {}
    order = np.argsort(whole["t"], kind="stable")
    times = whole["t"][order] - min(starts)
    steps = np.cumsum(np.nan_to_num(whole["l"][order], posinf=0, neginf=0)).astype(np.int64)
    out = {}
    for name, values in list(whole.items())[:METRICS_AT_MOST]:
        if name != "t":
            mask = ~np.isnan(values[order]) | (name in EPISODE)
            out[EPISODE.get(name, f"episode/{name}")] = Points(steps[mask], values[order][mask], times[mask])
    return out


def _monitor(path: Path) -> dict[str, NDArray[np.float64]]:
    """Return a monitor's columns; words become NaN, and rows without reward, length or time are left out."""
    form, _ = look(path)
    columns: dict[str, list[NDArray[np.float64]]] = {}
    with TableFile(path, Form("csv", encoding=form.encoding, names=form.names)) as table:
        for chunk in table.chunks():
            if not {"r", "l", "t"} <= chunk.columns.keys():
                raise SourceError("has no columns r, l and t")
            cells = {name: numbers([WORDS.get(c, c) for c in column]) for name, column in chunk.columns.items()}
            there = cells["r"][1] & cells["l"][1] & cells["t"][1] & (np.abs(np.nan_to_num(cells["l"][0])) < 2**40)
            for name in form.names:
                values = cells[name][0] if name in cells else np.full(chunk.n_rows, math.nan)
                columns.setdefault(name, []).append(values[there])
    return {name: np.concatenate(parts) for name, parts in columns.items()}


# -- the logger's table


def _is_progress(path: Path) -> bool:
    return _is_plain(path) and _progress_form(path) is not None


def _progress_form(path: Path) -> tuple[Form, str] | None:
    try:
        form, _ = look(path)
    except SourceError:
        return None
    step = next((name for name in STEPS if name in form.names), None)
    return None if step is None or form.kind != "csv" else (form, step)


def _progress(folder: Path, notes: list[str]) -> dict[str, Points]:
    path = folder / PROGRESS
    found = _progress_form(path)
    if found is None:
        raise SourceError("has no column of steps")
    form, step = found
    time = next((name for name in TIMES if name in form.names), None)
    curves = Curves(Roles(step, time, (), has_params=False), started_s=None)
    with TableFile(path, form) as table:
        for chunk in table.chunks():
            curves.add(chunk)
    notes += [f"{PROGRESS}: {note}" for note in curves.notes()]
    return curves.curves()


# -- evaluations


def _evaluations(folder: Path, notes: list[str]) -> dict[str, Points]:
    """Return what ``EvalCallback`` kept: mean and spread over the episodes of each evaluation."""
    arrays = _arrays(folder / EVALUATIONS, ("timesteps", "results", "ep_lengths", "successes"), notes)
    steps = arrays.get("timesteps")
    if steps is None or steps.ndim != 1:
        raise SourceError("has no timesteps")
    whole = np.nan_to_num(steps.astype(np.float64), posinf=0, neginf=0).clip(-(2**62), 2**62).astype(np.int64)
    out = {}
    for name, mean, spread in (
        ("results", "eval/mean_reward", "eval/std_reward"),
        ("ep_lengths", "eval/mean_ep_length", ""),
        ("successes", "eval/success_rate", ""),
    ):
        values = arrays.get(name)
        if values is None:
            continue
        if values.ndim != 2 or len(values) != len(whole) or not values.shape[1]:
            notes.append(f"{EVALUATIONS}: {name} has another shape than (evaluations, episodes)")
            continue
        with np.errstate(all="ignore"):
            out[mean] = Points(whole, values.mean(axis=1, dtype=np.float64))
            if spread:
                out[spread] = Points(whole, values.std(axis=1, dtype=np.float64))
    return out


def _arrays(path: Path, names: Sequence[str], notes: list[str]) -> dict[str, NDArray[Any]]:
    """Return arrays of numbers out of an ``npz`` file: no pickle is opened, and no array is larger than its bytes."""
    out: dict[str, NDArray[Any]] = {}
    try:
        with open_file(path) as file, zipfile.ZipFile(file) as archive:
            for name in names:
                member = f"{name}.npy"
                if member not in archive.namelist():
                    continue
                if archive.getinfo(member).file_size > ARRAY_MAX_BYTES:
                    notes.append(f"{path.name}: {name} is larger than {ARRAY_MAX_BYTES:,} bytes and was left out")
                    continue
                with archive.open(member) as part:
                    out[name] = _array(part.read(ARRAY_MAX_BYTES))
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, KeyError, NotImplementedError) as error:
        raise SourceError(f"cannot be read: {str(error)[:200]}") from error
    except (RuntimeError, SyntaxError, TypeError, OverflowError, IndexError) as error:  # encrypted, or a broken header
        raise SourceError(f"cannot be read: {str(error)[:200]}") from error
    return out


def _array(content: bytes) -> NDArray[Any]:
    """Return an array, its shape held against the bytes that are there before anything is made.

    Raises
    ------
    SourceError
        If it holds objects, which would be a pickle, or other bytes than its shape says.
    """
    stream = io.BytesIO(content)
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, is_fortran, dtype = read(stream)
    if dtype.hasobject:
        raise SourceError("holds objects, which would be a pickle")
    if dtype.kind not in "biuf":
        raise SourceError("holds no numbers")
    rest = content[stream.tell() :]
    if math.prod(shape) * dtype.itemsize != len(rest):
        raise SourceError("holds other bytes than its shape says")
    return np.frombuffer(rest, dtype=dtype).reshape(shape, order="F" if is_fortran else "C")


# -- parameters


def _of_zoo(folder: Path) -> dict[str, Any]:
    """Return the arguments and hyperparameters of the zoo, which are lists of pairs; the latter count more."""
    out: dict[str, Any] = {}
    for name in ZOO:
        for path in (folder / name, *sorted(folder.glob(f"*/{name}"))[:1]):
            if not _is_plain(path) or path.parent.is_symlink():
                continue
            try:
                content = read_yaml(path)
            except SourceError:
                continue
            out |= flat(_pairs(content))
            break
    return out


def _pairs(content: Any, depth: int = 0) -> dict[str, Any]:
    """Return an ``OrderedDict`` as YAML holds it: a list, perhaps within another, of pairs."""
    if isinstance(content, dict):
        return {str(name): value for name, value in content.items()}
    if not isinstance(content, list) or not content or depth > 3:
        return {}
    if all(isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str) for pair in content):
        return {pair[0]: plain(pair[1]) for pair in content}
    return _pairs(content[0], depth + 1)


# -- files


def _is_plain(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _written(folder: Path) -> float | None:
    times = []
    for path in (*_monitors(folder), folder / PROGRESS, folder / EVALUATIONS):
        try:
            times.append(path.stat().st_mtime)
        except OSError:
            continue
    return max(times, default=None)

"""Trials of Ray Tune, folders with ``result.json``, ``params.json`` and ``error.txt``, as runs.

The experiment's own file, ``experiment_state-….json``, tells states and starts; it holds pickles as text, which stay
text. Without it a trial's own files tell whether it is done. Files that are pickles are never opened.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from advisor.errors import SourceError
from advisor.sources.folders import folders_in, is_plain, scanned, shown
from advisor.sources.port import Entry, Source, SourceExperiment, SourceRun
from advisor.sources.ray_results import PROGRESS, RESULT, TIMESTAMP, read_results
from advisor.sources.reading import (
    as_text,
    flat,
    from_seconds,
    number,
    open_file,
    parse_json,
    plain,
    read_bytes,
    read_json,
    stamp_of,
)
from advisor.sources.values import seed_of
from storage.records import RunState

STATE: Final = re.compile(r"experiment_state-.{1,80}\.json")
PARAMS: Final = "params.json"
ERROR: Final = "error.txt"
STATE_MAX_BYTES: Final = 256 * 2**20
"""Of an experiment's own file; some 10 kB a trial."""
ENDS_MAX_BYTES: Final = 256 * 2**10
"""Read at the beginning and at the end of a trial's results to learn of its first and last one."""
ERROR_MAX_CHARACTERS: Final = 8_000
CHECKPOINTS_AT_MOST: Final = 200
STATES: Final[Mapping[str, RunState]] = {
    "PENDING": RunState.WAITING,
    "RUNNING": RunState.RUNNING,
    "PAUSED": RunState.RUNNING,
    "TERMINATED": RunState.FINISHED,
    "ERROR": RunState.FAILED,
}
_UNIQUE: Final = re.compile(r".*_[0-9a-f]{5,8}(?:_[0-9]{5})?_.*_\d{4}-\d{2}-\d{2}_\d{2}-\d{2}-\d{2}[0-9a-z_]{0,20}")
"""Folder of a trial as Ray names it unless told otherwise: with the trial's id and the time."""
_ADDRESS: Final = re.compile(r" at 0x[0-9a-f]{6,16}")
_COLOUR: Final = re.compile(r"\x1b\[[0-9;]{0,20}m")


@dataclass(frozen=True, slots=True)
class _Known:
    """What the experiment's own file says of a trial."""

    trial_id: str | None
    status: str | None
    start: float | None
    tag: str | None


_NOTHING: Final = _Known(None, None, None, None)


class TrialsSource(Source):
    """Trials of one experiment's folder, or one trial by itself."""

    def __init__(self, folder: Path) -> None:
        """Remember the folder; what is in it decides whether it is an experiment's or a trial's."""
        super().__init__()
        self._folder = folder
        self._state_stamp = ""
        self._known: Mapping[str, _Known] = {}
        self._metric: str | None = None

    def entries(self) -> Iterator[Entry]:
        """Yield trials, oldest first as far as their starts are known.

        A trial's stamp is made of its files' sizes and times, and of its state.
        """
        self.notes.clear()
        is_one = is_trial(self._folder)
        experiment = self._folder.parent if is_one else self._folder
        self._read_state(experiment)
        names = [self._folder.name] if is_one else [n for n in folders_in(experiment) if is_trial(experiment / n)]
        known = {name: self._known.get(shown(name), _NOTHING) for name in names}
        for name in sorted(names, key=lambda name: (known[name].start or 0.0, name)):
            folder = experiment / name
            files = stamp_of(*(folder / file for file in (RESULT, PARAMS, ERROR, PROGRESS)))
            load = partial(self._load, folder, known[name])
            yield Entry(shown(name), stamp=f"{files} {known[name].status} {known[name].start}", load=load)

    def _read_state(self, experiment: Path) -> None:
        """Read the experiment's newest file, where it has changed."""
        names = [e.name for e in scanned(experiment) if STATE.fullmatch(e.name) and e.is_file(follow_symlinks=False)]
        if not names:
            self._known = {}
            return
        path = experiment / max(names)  # they are named by time
        stamp = f"{path} {stamp_of(path)}"
        if stamp == self._state_stamp:
            return
        try:
            self._known, self._metric = _states(read_bytes(path, most=STATE_MAX_BYTES))
            self._state_stamp = stamp
        except SourceError as error:
            self.notes.append(f"{shown(path.name)} {error}; states are told by the trials' own files")

    def _load(self, folder: Path, known: _Known) -> SourceRun:
        first, last = _ends(folder / RESULT)
        params = _params(folder, last or first)
        ended = number(last.get(TIMESTAMP)) if last else None
        begun = number(first.get(TIMESTAMP)) if first else None
        start = known.start if known.start is not None else _before(begun, first)
        state = _state(folder, known, last)
        trial_id = known.trial_id or _text(first.get("trial_id")) or _text(last.get("trial_id"))
        meta = {
            "trial_id": trial_id,
            "experiment_tag": known.tag or _text(first.get("experiment_tag")),
            "metric": self._metric,
            "perturbed": True if _is_perturbed(folder.parent, trial_id) else None,
        }
        name = shown(folder.name)
        return SourceRun(
            key=name if _UNIQUE.fullmatch(name) else str(folder.absolute()),
            experiment=shown(folder.parent.absolute().name) or "ray",
            about=SourceExperiment(),
            read=partial(read_results, folder, start),
            name=name,
            state=state,
            active=from_seconds(_last_written(folder)) if state in (None, RunState.RUNNING) else None,
            params=params,
            seed=seed_of(params),
            started=from_seconds(start),
            ended=from_seconds(ended) if state in (RunState.FINISHED, RunState.FAILED) else None,
            error=_error(folder / ERROR) if state is RunState.FAILED else None,
            environment={ours: value for ours in ("hostname",) if (value := _text(first.get(ours)))},
            meta={key: value for key, value in meta.items() if value is not None},
            artifacts=_checkpoints(folder),
        )


def is_trial(folder: Path) -> bool:
    """Return whether a folder is a trial's: it has results, or parameters and their pickle."""
    if is_plain(folder / RESULT):
        return is_plain(folder / PARAMS) or is_plain(folder / PROGRESS)
    return is_plain(folder / PARAMS) and (is_plain(folder / PROGRESS) or is_plain(folder / "params.pkl"))


def _states(content: bytes) -> tuple[dict[str, _Known], str | None]:
    """Return what an experiment's file says of its trials, by the names of their folders, and what was optimised."""
    state = parse_json(content)
    if not isinstance(state, dict):
        raise SourceError("is no state of an experiment")
    trials = state.get("trial_data", state.get("checkpoints"))  # the latter before release 2.4
    out = {}
    for trial in trials if isinstance(trials, list) else ():
        parts = [_state_part(part) for part in (trial if isinstance(trial, list) else [trial])[:2]]
        told = {**(parts[1] if len(parts) > 1 else {}), **(parts[0] if parts else {})}
        folder = told.get("relative_logdir") or told.get("logdir")
        if isinstance(folder, str):
            out[os.path.basename(folder.rstrip("/"))] = _Known(
                _text(told.get("trial_id")),
                _text(told.get("status")),
                number(told.get("start_time")),
                _text(told.get("experiment_tag")),
            )
    runner = state.get("runner_data")
    return out, _text(runner.get("_metric")) if isinstance(runner, dict) else None


def _state_part(part: Any) -> dict[str, Any]:
    if isinstance(part, str):
        try:
            part = parse_json(part)
        except SourceError:
            return {}
    return part if isinstance(part, dict) else {}


def _state(folder: Path, known: _Known, last: Mapping[str, Any]) -> RunState | None:
    """Return a trial's state: as the experiment says where that is an end, else by the trial's own files."""
    told = STATES.get(known.status or "")
    if told is not None and told.is_over:
        return told
    if last.get("done") is True:  # the experiment's file is written every few seconds only
        return RunState.FINISHED
    if is_plain(folder / ERROR) and told is None:
        return RunState.FAILED
    if told is RunState.WAITING and last:
        return RunState.RUNNING  # Ray writes running trials down as pending, to start them again
    return told


def _is_perturbed(experiment: Path, trial_id: str | None) -> bool:
    """Return whether a population changed a trial's parameters, told by a file of that name."""
    is_name = trial_id is not None and re.fullmatch(r"[\w-]{1,64}", trial_id, re.ASCII) is not None  # never a path
    return is_name and is_plain(experiment / f"pbt_policy_{trial_id}.txt")


def _params(folder: Path, result: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration of a trial's last result; before there is one, that of its file.

    In population based training the file is ahead of the results: the trial may have ended before it used it.
    """
    config = result.get("config")
    try:
        if not isinstance(config, dict) and is_plain(folder / PARAMS):
            config = read_json(folder / PARAMS)
    except SourceError:
        return {}
    if not isinstance(config, dict):
        return {}
    # Where a function lies in memory says nothing, and makes the same configuration look different.
    return {name: _ADDRESS.sub("", v) if isinstance(v, str) else v for name, v in flat(config).items()}


def _ends(path: Path) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Return a trial's first and last whole result; empty where there is none."""
    if not is_plain(path):
        return {}, {}
    try:
        with open_file(path) as file:
            head = file.read(ENDS_MAX_BYTES)
            size = os.fstat(file.fileno()).st_size
            file.seek(max(size - ENDS_MAX_BYTES, 0))
            tail = file.read(ENDS_MAX_BYTES)
    except (OSError, SourceError):
        return {}, {}
    last = tail[: tail.rfind(b"\n") + 1].rstrip(b"\n")
    return _result(head.partition(b"\n")[0]), _result(last[last.rfind(b"\n") + 1 :])


def _result(line: bytes) -> Mapping[str, Any]:
    return _state_part(as_text(line)) if line else {}


def _before(begun: float | None, first: Mapping[str, Any]) -> float | None:
    """Return when a trial started: before its first result, by the time that it took."""
    took = number(first.get("time_total_s")) or 0.0
    return begun - took if begun is not None and 0.0 <= took < 1e9 else begun


def _error(path: Path) -> str | None:
    """Return the last failure, in plain text."""
    try:
        text = _COLOUR.sub("", as_text(read_bytes(path))) if is_plain(path) else ""
    except SourceError:
        return None
    text = text[text.rfind("Failure #") :] if "Failure #" in text else text
    return text.strip()[-ERROR_MAX_CHARACTERS:] or None


def _checkpoints(folder: Path) -> Sequence[Mapping[str, Any]]:
    names = [shown(name) for name in folders_in(folder) if name.startswith("checkpoint")]
    return [{"name": name, "uri": str(folder.absolute() / name)} for name in names[-CHECKPOINTS_AT_MOST:]]


def _last_written(folder: Path) -> float | None:
    times = []
    for name in (RESULT, PARAMS, PROGRESS):
        try:
            times.append((folder / name).lstat().st_mtime)
        except OSError:
            continue
    return max(times, default=None)


def _text(value: Any) -> str | None:
    return None if value is None or value == "" else str(plain(value))[:500]

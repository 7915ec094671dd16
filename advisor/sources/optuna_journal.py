"""Optuna's journal, a file with one JSON object a line for everything that happened, replayed without Optuna.

Trials of all studies stand in it together, so listing them means reading it: once, and from then on what is new. A line
that has no end yet is not read.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from advisor.errors import SourceError
from advisor.sources.growing import GrowingFile
from advisor.sources.optuna_trial import STATES, Study, Trial, source_run
from advisor.sources.port import Cursor, Entry, Piece, Points, Source, SourceExperiment, SourceRun
from advisor.sources.reading import number, parse_json, whole
from storage.records import RunState

CREATE_STUDY: Final = 0
DELETE_STUDY: Final = 1
STUDY_USER_ATTR: Final = 2
STUDY_SYSTEM_ATTR: Final = 3
CREATE_TRIAL: Final = 4
PARAM: Final = 5
STATE: Final = 6
INTERMEDIATE: Final = 7
USER_ATTR: Final = 8
SYSTEM_ATTR: Final = 9
DISCARD: Final = 10
"""Numbers of what happened, ``op_code``."""


@dataclass(slots=True)
class _Study:
    id: int
    name: str
    directions: list[Any]
    user_attrs: dict[str, Any] = field(default_factory=dict)
    system_attrs: dict[str, Any] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)
    """By parameter: what distributions of it have in common, see ``_kind``."""
    n_trials: int = 0
    is_deleted: bool = False
    version: int = 0
    """Grows with every change."""


@dataclass(slots=True)
class _Trial:
    study: _Study
    id: int
    number: int
    state: Any
    values: list[float] | None
    started: datetime | None
    ended: datetime | None
    params: dict[str, tuple[Any, str]] = field(default_factory=dict)
    user_attrs: dict[str, Any] = field(default_factory=dict)
    system_attrs: dict[str, Any] = field(default_factory=dict)
    reports: dict[int, float] = field(default_factory=dict)
    line: int = 0
    """The last one that changed it."""

    @property
    def is_over(self) -> bool:
        state = STATES.get(self.state)
        return state is not None and state.is_over


class JournalSource(Source):
    """Trials of all studies of a journal."""

    def __init__(self, path: Path) -> None:
        """Remember where the journal is; it is read when entries are asked for."""
        super().__init__()
        self._path = path
        self._begin()

    def _begin(self) -> None:
        self._mark: Any = None
        self._n_lines = 0
        self._n_lost = 0
        self._studies: dict[int, _Study] = {}
        self._trials: list[_Trial] = []

    def entries(self) -> Iterator[Entry]:
        """Yield trials in the order in which they were created; those of deleted studies are gone.

        A trial's stamp is made of the last lines that changed it and its study.

        Raises
        ------
        SourceError
            If the file cannot be read.
        """
        self._follow()
        self.notes.clear()
        if self._n_lost:
            self.notes.append(f"{self._n_lost} lines of the journal could not be read and were left out")
        abouts: dict[int, tuple[Study, SourceExperiment]] = {}
        for trial in list(self._trials):
            study = trial.study
            if study.is_deleted:
                continue
            if study.id not in abouts:
                frozen = Study(
                    id=study.id,
                    name=study.name,
                    directions=study.directions,
                    user_attrs=study.user_attrs,
                    system_attrs=study.system_attrs,
                )
                abouts[study.id] = frozen, frozen.about()
            load = partial(self._load, trial, *abouts[study.id])
            yield Entry(f"{study.id}/{trial.number}", stamp=f"{trial.line} {study.version} {_crc(trial)}", load=load)

    def _load(self, trial: _Trial, study: Study, about: SourceExperiment) -> SourceRun:
        told = Trial(
            number=trial.number,
            id=trial.id,
            state=trial.state,
            values=trial.values if trial.values and len(trial.values) == len(study.directions) else None,
            params=trial.params,
            user_attrs=trial.user_attrs,
            system_attrs=trial.system_attrs,
            started=trial.started,
            ended=trial.ended,
        )
        return source_run(told, study, about, str(self._path.absolute()), partial(_read, trial, study.curve))

    # -- replaying

    def _follow(self) -> None:
        """Read what the journal has grown by; all of it where it is another file than before."""
        with GrowingFile(self._path) as file:
            if self._mark is not None and not file.goes_on_from(self._mark):
                self._begin()
            for block in file.blocks():
                for line in block.split(b"\n")[:-1]:
                    self._n_lines += 1
                    self._apply(line)
            self._mark = file.mark()

    def _apply(self, line: bytes) -> None:
        if not line.strip():
            return
        try:
            happened = parse_json(line)
        except SourceError:
            happened = None
        code = happened.get("op_code") if isinstance(happened, dict) else None
        if code in (CREATE_STUDY, DELETE_STUDY, STUDY_USER_ATTR, STUDY_SYSTEM_ATTR, CREATE_TRIAL):
            is_read = self._apply_to_study(code, happened)
        else:
            is_read = code == DISCARD or (isinstance(code, int) and self._apply_to_trial(code, happened))
        self._n_lost += not is_read

    def _apply_to_study(self, code: int, happened: Mapping[str, Any]) -> bool:
        """Change or make a study, or make a trial; return whether the line could be read."""
        if code == CREATE_STUDY:
            return self._create_study(happened)
        known = happened.get("study_id")
        if not isinstance(known, int):
            return False
        study = self._studies.get(known)
        if study is None or study.is_deleted:
            return True  # Optuna passes over them as well
        if code == CREATE_TRIAL:
            self._create_trial(study, happened)
            return True
        study.version = self._n_lines
        if code == DELETE_STUDY:
            study.is_deleted = True
            return True
        name = "user_attr" if code == STUDY_USER_ATTR else "system_attr"
        given = happened.get(name)
        if not isinstance(given, dict):
            return False
        (study.user_attrs if code == STUDY_USER_ATTR else study.system_attrs).update(given)
        return True

    def _create_study(self, happened: Mapping[str, Any]) -> bool:
        name, directions = happened.get("study_name"), happened.get("directions")
        if not isinstance(name, str) or not isinstance(directions, list):
            return False
        if any(study.name == name and not study.is_deleted for study in self._studies.values()):
            return True
        known = len(self._studies)
        self._studies[known] = _Study(known, name, directions, version=self._n_lines)
        return True

    def _create_trial(self, study: _Study, happened: Mapping[str, Any]) -> None:
        state = happened.get("state", 0)
        trial = _Trial(
            study,
            len(self._trials),
            study.n_trials,
            state if isinstance(state, int) else str(state)[:40],
            _values(happened.get("values")) or _values([happened.get("value")]),
            started=_time(happened.get("datetime_start")),
            ended=_time(happened.get("datetime_complete")),
            line=self._n_lines,
        )
        params, distributions = _object(happened.get("params")), _object(happened.get("distributions"))
        for name, value in params.items():
            trial.params[name] = (value, distributions.get(name, ""))
        trial.user_attrs.update(_object(happened.get("user_attrs")))
        trial.system_attrs.update(_object(happened.get("system_attrs")))
        for step, value in _object(happened.get("intermediate_values")).items():
            at, found = whole(step), number(value)
            if at is not None and found is not None:
                trial.reports[at] = found
        study.n_trials += 1
        self._trials.append(trial)

    def _apply_to_trial(self, code: int, happened: Mapping[str, Any]) -> bool:
        """Change a trial; return whether the line could be read. Of a trial that is over nothing changes any more."""
        known = happened.get("trial_id")
        if not isinstance(known, int) or not PARAM <= code <= SYSTEM_ATTR:
            return False
        if not 0 <= known < len(self._trials) or self._trials[known].is_over:
            return True
        trial = self._trials[known]
        trial.line = self._n_lines
        if code == INTERMEDIATE:
            step, value = whole(happened.get("step")), number(happened.get("intermediate_value"))
            if step is None or value is None:
                return False
            trial.reports[step] = value
            return True
        if code == STATE:
            return _set_state(trial, happened)
        if code == PARAM:
            return _set_param(trial, happened)
        given = happened.get("user_attr" if code == USER_ATTR else "system_attr")
        if not isinstance(given, dict):
            return False
        (trial.user_attrs if code == USER_ATTR else trial.system_attrs).update(given)
        return True


def _set_state(trial: _Trial, happened: Mapping[str, Any]) -> bool:
    state = happened.get("state")
    found = STATES.get(state) if isinstance(state, int) else None
    if found is None:
        return False
    if found is RunState.RUNNING:
        if trial.state == state:
            return True
        trial.started = _time(happened.get("datetime_start"))
    if found.is_over:
        trial.ended = _time(happened.get("datetime_complete"))
    trial.state = state
    trial.values = _values(happened.get("values")) or trial.values
    return True


def _set_param(trial: _Trial, happened: Mapping[str, Any]) -> bool:
    """Set a parameter, unless another trial has one of that name and another kind: Optuna refuses it then."""
    name, distribution = happened.get("param_name"), happened.get("distribution")
    if not isinstance(name, str) or not isinstance(distribution, str):
        return False
    kind = _kind(distribution)
    if trial.study.kinds.setdefault(name, kind) == kind:
        trial.params[name] = (happened.get("param_value_internal"), distribution)
    return True


def _kind(distribution: str) -> str:
    """Return what must be the same in all distributions of a parameter: type, scale and choices."""
    try:
        found = parse_json(distribution)
    except SourceError:
        return "unknown"
    about = _object(found.get("attributes")) if isinstance(found, dict) else {}
    name = found.get("name") if isinstance(found, dict) else None
    return repr((name, about.get("log"), about.get("choices")))


def _read(trial: _Trial, metric: str, cursor: Cursor | None) -> Piece:
    """Return intermediate values in the order of their first report, from a cursor where those before are the same."""
    reports = list(trial.reports.items())
    n = 0
    if isinstance(cursor, Mapping) and isinstance(cursor.get("n"), int) and 0 <= cursor["n"] <= len(reports):
        n = cursor["n"] if cursor.get("crc") == _checksum(reports[: cursor["n"]]) else 0
    steps = np.array([step for step, _ in reports[n:]], dtype=np.int64)
    values = np.array([value for _, value in reports[n:]], dtype=np.float64)
    curves = {metric: Points(steps, values)} if steps.size else {}
    return Piece(curves, is_whole=not n, cursor={"n": len(reports), "crc": _checksum(reports)})


def _checksum(reports: list[tuple[int, float]]) -> int:
    return zlib.crc32(repr(reports).encode())


def _crc(trial: _Trial) -> int:
    """Return a number that differs where the journal was replaced by another one of as many lines."""
    return zlib.crc32(repr((trial.study.name, trial.state, trial.started, trial.ended, len(trial.params))).encode())


def _values(given: Any) -> list[float] | None:
    values = [number(value) for value in given] if isinstance(given, list) else []
    found = [value for value in values if value is not None]
    return found if found and len(found) == len(values) else None


def _time(text: Any) -> datetime | None:
    """Return a time; one without a zone, as releases before 5 wrote it, is that of this machine's zone."""
    if not isinstance(text, str):
        return None
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}

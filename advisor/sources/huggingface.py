"""Trainings of Hugging Face's ``Trainer``: the folder that it writes to is one run, whatever checkpoints it holds.

The latest ``trainer_state.json`` has the history up to its checkpoint. Event files below ``runs`` tell the same curves:
of them only the arguments are taken, since ``training_args.bin`` is a pickle and never opened, and of a training that
was killed what came after the last checkpoint. A loss that is recorded as 0 where the norm of the gradient is NaN
stays 0: that is how the trainer writes it, and the rule for values that are not finite knows it.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from advisor.errors import SourceError
from advisor.sources.naming import experiment_of, root_of, run_name
from advisor.sources.port import (
    Cursor,
    Entry,
    Found,
    Listing,
    Options,
    Piece,
    Points,
    Reader,
    Source,
    SourceExperiment,
    SourceRun,
)
from advisor.sources.reading import flat, from_seconds, number, plain, read_json, read_text, stamp_of, whole
from advisor.sources.tensorboard import read_curves
from advisor.sources.tensorboard_folders import is_events, run_folders
from advisor.sources.tensorboard_head import Head, order_of, read_head, writer_of
from advisor.sources.values import counted, from_text, seed_of
from storage.records import RunState

STATE: Final = "trainer_state.json"
STATE_MAX_BYTES: Final = 256 * 2**20
"""A step logged takes 150 bytes."""
ARGUMENTS: Final = "training_args.bin"
EVENTS: Final = "runs"
CARD: Final = "README.md"
RESULTS: Final = (
    "all_results.json",
    "train_results.json",
    "eval_results.json",
    "test_results.json",
    "predict_results.json",
)
SETTINGS: Final = {"config.json": "model", "adapter_config.json": "adapter", "generation_config.json": "generation"}
"""Files of settings beside the state, and what comes before their names."""
OF_STATE: Final = ("max_steps", "num_train_epochs", "train_batch_size")
"""Of the state, what is a parameter."""
KEPT: Final = ("best_metric", "best_model_checkpoint", "best_global_step", "total_flos", "epoch", "global_step")
"""Of the state, what is a figure of the run."""
SUMMARY: Final = "train_runtime"
"""The row that has it ends a training."""
_CHECKPOINT: Final = re.compile(r"checkpoint-([0-9]{1,12})")
_CARD_LINE: Final = re.compile(r"^- ([A-Za-z_][\w ]{0,80}): (.{1,500})$", re.MULTILINE)
_CARD_BEGINNING: Final = "hyperparameters were used during training"
QUIET_S: Final = 600.0
"""Event files that nothing was written to for so long are of a training that was killed: no checkpoint follows."""
CHECKPOINTS_LOOKED_INTO: Final = 3
"""The latest ones, until one holds a state that can be read."""


class HuggingFaceReader(Reader):
    """Knows output folders by ``trainer_state.json``, there or in a checkpoint."""

    tool = "huggingface"
    title = "Hugging Face Trainer"

    def find(self, at: Listing) -> Sequence[Found]:
        """Claim the state, its checkpoints and what tells of the same training."""
        checkpoints = [name for name in at.folders if _CHECKPOINT.fullmatch(name)]
        with_state = [name for name in checkpoints if _is_plain(at.path / name / STATE)]
        if STATE not in at.files and not with_state:
            return ()
        beside = {ARGUMENTS, CARD, STATE, *RESULTS, *SETTINGS}
        events = {name for name in at.files if is_events(name)}
        claims = (at.files & beside) | events | (at.folders & {EVENTS}) | frozenset(checkpoints)
        return [Found(self.tool, str(at.path), n_runs=1, what="output folder", claims=frozenset(claims))]

    def find_file(self, path: Path) -> Found | None:
        """Return the training that a state is of."""
        return Found(self.tool, str(path), n_runs=1, what="trainer state") if path.name == STATE else None

    def open(self, found: Found, options: Options) -> Source:
        """Open an output folder, or the folder of a state."""
        return TrainerSource(Path(found.path), options)


class TrainerSource(Source):
    """One training."""

    def __init__(self, path: Path, options: Options) -> None:
        super().__init__()
        self._folder = path.parent if path.name == STATE else path
        self._root = root_of(self._folder, options)

    def entries(self) -> Iterator[Entry]:
        """Yield the training."""
        self.notes.clear()
        paths = _states(self._folder)
        beside = [self._folder / name for name in (ARGUMENTS, CARD, *RESULTS, *SETTINGS)]
        events = _event_files(self._folder)
        is_quiet = bool(events) and time.time() - (_written(events[-1]) or 0.0) > QUIET_S  # then more is read of them
        stamp = f"{stamp_of(*paths, *beside, *events[-1:])} {is_quiet}"
        yield Entry(".", stamp=stamp, load=self._load)
        if any(_is_plain(folder / ARGUMENTS) for folder in (self._folder, *(path.parent for path in paths))):
            self.notes.append(f"{ARGUMENTS} is a pickle, which can run any program when it is read; it was not opened")
        if events:
            self.notes.append(
                counted(
                    len(events),
                    "event file of the same training was not read as a run of its own",
                    "event files of the same training were not read as runs of their own",
                )
            )

    def _load(self) -> SourceRun:
        path, state = _latest(self._folder)
        head = _told_by_events(self._folder)
        params = {**_settings(path.parent), **_settings(self._folder), **_of_card(self._folder / CARD)}
        params |= head.params | {name: plain(state[name]) for name in OF_STATE if state.get(name)}
        trial = state.get("trial_params")
        params |= flat(trial) if isinstance(trial, dict) else {}
        versions = {name: params.pop(f"model.{name}", None) for name in ("transformers_version", "torch_dtype")}
        events = _event_files(self._folder)
        host = writer_of(events[-1].name)[0] if events else None
        ended = _state_of(state)
        return SourceRun(
            key=str(self._folder),
            experiment=experiment_of(self._root),
            read=partial(_read, path, events if ended is None and _is_quiet(head) else []),
            about=SourceExperiment(objectives=_objectives(params)),
            name=str(state.get("trial_name") or run_name(self._folder, self._root)),
            state=ended,
            active=from_seconds(max(_written(path) or 0.0, head.last_s or 0.0)),
            params=params,
            seed=seed_of(params),
            started=from_seconds(head.first_s),
            ended=from_seconds(_written(path)) if ended is not None else None,
            environment={
                name: value
                for name, value in (("hostname", host), ("transformers", versions["transformers_version"]))
                if value is not None
            },
            attributes=_attributes(self._folder, state),
        )


# -- the state


def _states(folder: Path) -> list[Path]:
    """Return the states of a training: its own, and those of the latest checkpoints, latest first."""
    numbered = [(int(found[1]), name) for name in _names(folder) if (found := _CHECKPOINT.fullmatch(name))]
    latest = [folder / name / STATE for _, name in sorted(numbered, reverse=True)[:CHECKPOINTS_LOOKED_INTO]]
    return [path for path in (folder / STATE, *latest) if _is_plain(path)]


def _latest(folder: Path) -> tuple[Path, Mapping[str, Any]]:
    """Return the state that has come furthest; the training's own before a checkpoint's.

    Raises
    ------
    SourceError
        If none can be read.
    """
    best: tuple[Path, Mapping[str, Any]] | None = None
    reason = "has no trainer_state.json any more"
    for path in _states(folder):
        try:
            state = _read_state(path)
        except SourceError as error:
            reason = f"{path.relative_to(folder)} {error}"
            continue
        if best is None or (whole(state.get("global_step")) or 0) > (whole(best[1].get("global_step")) or 0):
            best = path, state
        if path.parent != folder:
            break
    if best is None:
        raise SourceError(reason)
    return best


def _read_state(path: Path) -> Mapping[str, Any]:
    state = read_json(path, most=STATE_MAX_BYTES)
    if not isinstance(state, dict) or not isinstance(state.get("log_history"), list):
        raise SourceError("holds no log_history")
    return state


def _state_of(state: Mapping[str, Any]) -> RunState | None:
    """Return whether the training came to its end: all steps, or the row that the trainer writes last."""
    steps, most = whole(state.get("global_step")), whole(state.get("max_steps"))
    last = state["log_history"][-1] if state["log_history"] else None
    if (steps and most and most > 0 and steps >= most) or (isinstance(last, dict) and SUMMARY in last):
        return RunState.FINISHED
    return None


def _is_quiet(head: Head) -> bool:
    """Return whether nobody has written events for a while, by the time of the last one, which copying keeps."""
    return head.last_s is not None and abs(time.time() - head.last_s) > QUIET_S


def _attributes(folder: Path, state: Mapping[str, Any]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name in RESULTS:
        if _is_plain(folder / name):
            try:
                content = read_json(folder / name, most=2**20)
            except SourceError:
                continue
            out |= flat(content) if isinstance(content, dict) else {}
    for row in state["log_history"]:
        if isinstance(row, dict) and SUMMARY in row:
            out |= {key: plain(value) for key, value in row.items() if key not in ("step", "epoch")}
    return out | {name: plain(state[name]) for name in KEPT if state.get(name) is not None}


# -- curves


def _read(path: Path, events: Sequence[Path], cursor: Cursor | None) -> Piece:
    """Return the curves of a state's history, always whole: the file is written anew each time.

    Parameters
    ----------
    events
        Event files of a training that was killed; none otherwise.
    """
    del cursor
    state = _read_state(path)
    curves, n_bad = _history(state)
    notes = (
        [
            counted(
                n_bad,
                "row of the history has no step and was left out",
                "rows of the history have no step and were left out",
            )
        ]
        if n_bad
        else []
    )
    last = [path for path in events if path.parent == events[-1].parent]
    if last:
        n_added = _add_tail(curves, read_curves(last, 0.0, None).curves, whole(state.get("global_step")) or 0)
        if n_added:
            notes.append(
                counted(
                    n_added,
                    "point after the last checkpoint comes from event files",
                    "points after the last checkpoint come from event files",
                )
            )
    return Piece(curves, notes=tuple(notes))


def _add_tail(curves: dict[str, Points], told: Mapping[str, Points], after: int) -> int:
    """Add what event files tell of steps after the last checkpoint; return how many points that was."""
    n = 0
    for tag, points in told.items():
        split, _, name = tag.partition("/")
        metric = {"train": name, "eval": f"eval_{name}", "test": f"test_{name}"}.get(split, "")
        mask = points.steps > after
        if metric in curves and mask.any():
            known, n = curves[metric], n + int(mask.sum())
            curves[metric] = Points(
                np.concatenate([known.steps, points.steps[mask]]), np.concatenate([known.values, points.values[mask]])
            )
    return n


def _history(state: Mapping[str, Any]) -> tuple[dict[str, Points], int]:
    """Return the curves of a history, and how many rows have no step."""
    steps: dict[str, list[int]] = {}
    values: dict[str, list[float]] = {}
    n_bad = 0
    for row in state["log_history"]:
        step = whole(row.get("step")) if isinstance(row, dict) else None
        if step is None:
            n_bad += 1
            continue
        if SUMMARY in row:
            continue
        for name, value in row.items():
            found = number(value) if name != "step" else None
            if found is None or (name == "epoch" and steps.get(name, [None])[-1] == step):
                continue
            steps.setdefault(name, []).append(step)
            values.setdefault(name, []).append(found)
    curves = {name: Points(np.array(steps[name], np.int64), np.array(values[name], np.float64)) for name in steps}
    return curves, n_bad


# -- parameters


def _settings(folder: Path) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name, prefix in SETTINGS.items():
        if not _is_plain(folder / name):
            continue
        try:
            content = read_json(folder / name, most=2**20)
        except SourceError:
            continue
        if isinstance(content, dict):
            out |= {f"{prefix}.{key}": value for key, value in flat(content).items()}
    return out


def _of_card(path: Path) -> dict[str, Any]:
    """Return the hyperparameters that the trainer writes into a model's card."""
    if not _is_plain(path):
        return {}
    try:
        text = read_text(path, most=2**20)
    except SourceError:
        return {}
    _, begun, rest = text.partition(_CARD_BEGINNING)
    section = rest.split("\n#", 1)[0] if begun else ""
    return {name.strip(): from_text(value.strip()) for name, value in _CARD_LINE.findall(section)}


def _told_by_events(folder: Path) -> Head:
    """Return what the latest event files say of the training's arguments."""
    events = _event_files(folder)
    if not events:
        return Head()
    run = next(run_folders(events[-1].parent, with_below=False), None)
    if run is None:
        return Head()
    head = read_head(run.paths)
    if run.added is not None:
        added = next(run_folders(run.added, with_below=False), None)
        head.params = {**head.params, **(read_head(added.paths).params if added else {})}
    head.params = {name: value for name, value in head.params.items() if not name.startswith("model_config.")}
    return head


def _event_files(folder: Path) -> list[Path]:
    """Return the event files of a training, oldest first, without those that only hold parameters."""
    found = [folder / name for name in _names(folder) if is_events(name)]
    top = folder / EVENTS
    for path in (top, *(top / name for name in _names(top))):
        if not path.is_symlink():
            found += [path / name for name in _names(path) if is_events(name)]
    return sorted((path for path in found if _is_plain(path)), key=lambda path: order_of(path.name))


def _objectives(params: Mapping[str, Any]) -> list[tuple[str, str]]:
    metric, is_greater = params.get("metric_for_best_model"), params.get("greater_is_better")
    if not isinstance(metric, str) or metric == "None" or not isinstance(is_greater, bool):
        return []
    name = metric if metric.startswith("eval_") else f"eval_{metric}"
    return [(name, "maximize" if is_greater else "minimize")]


# -- files


def _names(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def _is_plain(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _written(path: Path) -> float | None:
    try:
        return path.stat().st_mtime
    except OSError:
        return None

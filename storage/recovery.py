"""Brings home what a dead process left in its write-ahead log, and marks its run ``crashed``.

Called whenever a store is opened. A spool whose owner still lives, or lives on a machine that
cannot be asked from here, is left alone. Nothing is deleted before the store has it; a spool with
unreadable parts is kept under ``damaged/``.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from storage.curves import chunks_of, summaries
from storage.errors import RunNotFoundError, SpoolError, StorageError
from storage.opening import append_each
from storage.records import Event, Experiment, Run, RunState
from storage.spool import (
    Damage,
    Point,
    SpoolContents,
    owner_is_gone,
    read_beginning,
    read_header,
    read_spool,
    salvage,
)

if TYPE_CHECKING:
    from storage.lance_store import LanceRunStore

log = logging.getLogger(__name__)

SUFFIX = ".spool"
WAIT_FOR_OTHERS_S = 10.0
"""How long opening a store waits, in all, for other processes that are recovering runs of it."""


@dataclass(frozen=True, slots=True)
class Recovered:
    """What was brought home of one run."""

    run_id: str
    _: KW_ONLY
    experiment: str
    n_calls: int
    """Log calls found in the spool."""
    n_delivered: int
    """Of these, those that the store did not have yet."""
    state: RunState
    """State of the run afterwards."""
    damage: Damage | None
    """The part of the spool that could not be read; the file is kept."""


def recover(store: LanceRunStore) -> tuple[Recovered, ...]:
    """Recover every spool whose owner is gone; trouble with one does not keep the others from it."""
    dead = []
    until = time.monotonic() + WAIT_FOR_OTHERS_S
    folder = store.spool_folder()
    for path in sorted(folder.glob(f"*{SUFFIX}")) if folder.is_dir() else ():
        try:
            if owner_is_gone(read_header(path)):
                dead.append(path)
        except SpoolError as error:
            if not path.exists():  # its run has ended, or another process has recovered it
                continue
            log.warning("%s", error)
            _guarded(store, path, _salvage, until=until)
    _bring_beginnings(store, dead)
    found = [_guarded(store, path, _recover_one, until=until) for path in dead]
    return tuple(one for one in found if one is not None)


def _guarded(
    store: LanceRunStore, path: Path, work: Callable[[LanceRunStore, Path], Recovered | None], *, until: float
) -> Recovered | None:
    """Work on one spool, if no other process does."""
    try:
        # Whoever opens a store while another process recovers it waits, so as not to read half a run.
        with store.lease(f"recover-{path.stem}", wait_s=max(0.0, until - time.monotonic())) as mine:
            if mine and path.exists():  # read only now: until its death the owner may have written
                return work(store, path)
    except (StorageError, OSError) as error:
        log.warning("run %s waits in %s for a later recovery: %s", path.stem, path, error)
    return None


def _bring_beginnings(store: LanceRunStore, paths: Sequence[Path]) -> None:
    """Bring home the experiments and the runs that the store may not know, in the order in which they began.

    The definition of an experiment may be in the log of its first run only, and run numbers follow from the order.
    """
    events: list[Event] = []
    for path in paths:
        try:
            events += read_beginning(path)
        except SpoolError as error:
            if path.exists():  # else another process has recovered it meanwhile
                log.warning("%s", error)
    events.sort(key=lambda event: event.time)
    try:
        for event in events:
            if event.kind.startswith("experiment."):
                _define(store, event)
        known = store.state()
        begun = [event for event in events if event.kind == "run.created" and event.run_id not in known.runs]
        # A run of an experiment that is not there would be refused for good.
        unknown = dict.fromkeys(e.experiment for e in begun if known.number_of(e.experiment) is None)
        missing = [Event.new("experiment.created", name, actor="recovery") for name in unknown]
        append_each(store, [*missing, *begun])
    except StorageError as error:
        log.warning("%s", error)  # each run tries again by itself


def _define(store: LanceRunStore, event: Event) -> None:
    """Make an experiment what a run said that it is, unless somebody has said otherwise since."""
    number = store.state().number_of(event.experiment)  # it may have been renamed since
    book = None if number is None else store.state().book(number)
    there = None if book is None or book.deleted is not None else book.record
    if there is None:
        if event.kind == "experiment.updated":
            event = replace(event, id=f"{event.id}-created", kind="experiment.created")
        append_each(store, [event])
        return
    body = dict(event.body)
    if all(_said(there, key) == value for key, value in body.items()):
        return
    others = store.events(experiment=event.experiment)
    later = [e for e in others if e.kind in ("experiment.created", "experiment.updated") and e.time > event.time]
    if event.id not in {e.id for e in others} and not later:
        append_each(store, [replace(event, id=f"{event.id}-updated", kind="experiment.updated")])


def _said(experiment: Experiment, key: str) -> Any:
    if key == "objectives":
        return [{"metric": o.metric, "direction": o.direction} for o in experiment.objectives]
    value = getattr(experiment, key, None)
    return {name: dict(item) for name, item in value.items()} if key == "space" and value is not None else value


def _salvage(store: LanceRunStore, path: Path) -> Recovered | None:
    """Bring home what can be read of a log whose beginning is lost, and put it aside, unless it is being written."""
    if _is_open(path):
        return None
    contents = salvage(path)
    run_id = path.stem
    experiment = next((event.experiment for event in contents.events if event.run_id == run_id), None)
    if experiment is None:
        try:
            experiment = store.run(run_id).experiment
        except RunNotFoundError:
            _put_aside(path)
            return None
    contents.header.update(run_id=run_id, experiment=experiment)
    return _bring_home(store, path, contents)


def _is_open(path: Path) -> bool:
    """Return whether a process that may be looked at has the file open."""
    import psutil

    def files(process: psutil.Process) -> list[str]:
        try:
            return [file.path for file in process.open_files()]
        except psutil.Error:
            return []

    return any(str(path) in files(process) for process in psutil.process_iter())


def _put_aside(path: Path) -> Path:
    kept = path.parent / "damaged" / path.name
    kept.parent.mkdir(exist_ok=True)
    os.replace(path, kept)
    return kept


def _recover_one(store: LanceRunStore, path: Path) -> Recovered:
    return _bring_home(store, path, read_spool(path))


def _bring_home(store: LanceRunStore, path: Path, contents: SpoolContents) -> Recovered:
    run_id = str(contents.header["run_id"])
    experiment = str(contents.header["experiment"])
    _make_sure(store, path, contents)
    done = store.delivered(run_id)
    # By number: what was written late may stand behind what was written after it.
    calls = sorted((dict(zip(contents.numbers, contents.points, strict=True))).items())
    missing = [(number, point) for number, point in calls if number >= done]
    store.append_curves(
        [chunk for first, points in _unbroken(missing) for chunk in chunks_of(run_id, points, first=first)]
    )
    files = path.parent / "files" / run_id
    _bring_files(store, files, contents.events)
    append_each(store, [event for event in contents.events if not event.kind.startswith("experiment.")])
    _note_not_kept(store, run_id, experiment, contents)
    run = _known_run(store, run_id)
    if not run.state.is_over:
        store.append([_ended_as_written(store, run, contents) or _crashed(store, run, contents)])
    state = _known_run(store, run_id).state
    if not contents.damages:
        path.unlink()
    else:
        kept = _put_aside(path)
        for damage in contents.damages:
            log.warning(
                "the write-ahead log of run %s is damaged at byte %d: %d bytes are lost (%s); it is kept as %s",
                run_id,
                damage.offset,
                damage.n_bytes_lost,
                damage.reason,
                kept,
            )
    return Recovered(
        run_id,
        experiment=experiment,
        n_calls=len(contents.points),
        n_delivered=len(missing),
        state=state,
        damage=contents.damage,
    )


def _known_run(store: LanceRunStore, run_id: str) -> Run:
    """Return a run that the store knows, also one that was deleted while it went on."""
    entry = store.state().entry(run_id)
    return store.run(run_id) if entry is None else entry.run


def _make_sure(store: LanceRunStore, path: Path, contents: SpoolContents) -> None:
    """Make sure that the store knows the run and its experiment, even where the log has lost what was said of them."""
    run_id, experiment = str(contents.header["run_id"]), str(contents.header["experiment"])
    for event in contents.events:
        if event.kind.startswith("experiment."):
            _define(store, event)
    state = store.state()
    began = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    events = []
    if state.number_of(experiment) is None:
        events.append(Event.new("experiment.created", experiment, time=began, actor="recovery"))
    if state.entry(run_id) is None:
        written = [event for event in contents.events if event.kind == "run.created" and event.run_id == run_id]
        nothing = Event.new(
            "run.created", experiment, run_id, time=began, actor="recovery", state=RunState.RUNNING, source="tracked"
        )
        events += written[:1] or [nothing]
    append_each(store, events)


def _unbroken(calls: Sequence[tuple[int, Point]]) -> list[tuple[int, list[Point]]]:
    """Return numbered calls in pieces in which no number is missing, each with its first number."""
    pieces: list[tuple[int, list[Point]]] = []
    for number, point in calls:
        if pieces and pieces[-1][0] + len(pieces[-1][1]) == number:
            pieces[-1][1].append(point)
        else:
            pieces.append((number, [point]))
    return pieces


def _bring_files(store: LanceRunStore, folder: Path, events: Sequence[Event]) -> None:
    """Give the store the files that a run saved while the store did not take them."""
    if not folder.is_dir():
        return
    for event in events:
        file = folder / str(event.body.get("sha256"))
        if event.kind == "run.artifact" and file.is_file():
            store.put_artifact(file)
            file.unlink()
    for rest in folder.iterdir():  # a copy that was not finished: save() had not returned
        rest.unlink()
    folder.rmdir()


def _note_not_kept(store: LanceRunStore, run_id: str, experiment: str, contents: SpoolContents) -> None:
    """Write into the store what the run could not keep, as it wrote down at its end."""
    not_kept = contents.reserve.get("not_kept")
    if not_kept:
        note = Event.new("run.noted", experiment, run_id, actor="recovery", text=not_kept_words(not_kept))
        append_each(store, [replace(note, id=f"{run_id}-not-kept")])  # once, should this be interrupted and begun anew


def not_kept_words(not_kept: Mapping[str, Any]) -> str:
    """Return in words what a run did not keep."""
    return (
        f"{not_kept['calls']:,} log calls, of steps {not_kept['first_step']} to {not_kept['last_step']}, were not "
        "kept: neither the write-ahead log nor the store took them"
    )


def _ended_as_written(store: LanceRunStore, run: Run, contents: SpoolContents) -> Event | None:
    """Return the event that ended the run, where a full disk had room for its gist only."""
    ending = contents.reserve.get("ending")
    if not ending:
        return None
    body = dict(ending["body"]) | {"summary": _figures(store, run)}
    if contents.reserve.get("not_kept"):
        body["not_kept"] = contents.reserve["not_kept"]
    event = Event.new(
        "run.state", run.experiment, run.id, time=datetime.fromisoformat(ending["time"]), actor="run", **body
    )
    return replace(event, id=ending["id"])


def _figures(store: LanceRunStore, run: Run) -> dict[str, Any]:
    """Return the figures of a run's curves, also of one that was deleted while it went on."""
    entry = store.state().entry(run.id)
    reduce = "last" if entry is None else store.state().book(entry.exp).record.reduce
    return summaries(run.curves or store.curve_table.read([run.id]).get(run.id, {}), reduce=reduce)


def _crashed(store: LanceRunStore, run: Run, contents: SpoolContents) -> Event:
    """Return the event that says how the run ended; its end is its last sign of life."""
    ended = run.started or run.created
    if contents.points:
        ended += timedelta(seconds=max(0.0, contents.points[-1][1]))
    error = (
        f"the process ended without a word (killed, out of memory or power cut) after {len(contents.points)} log calls"
    )
    if not contents.header.get("pid"):
        error += "; the beginning of its write-ahead log is damaged, and the log is kept"
    if contents.damage is not None:
        error += f"; {contents.damage.n_bytes_lost} bytes of its write-ahead log could not be read"
    return Event.new(
        "run.state",
        run.experiment,
        run.id,
        actor="recovery",
        state=RunState.CRASHED,
        ended=ended.isoformat(),
        error=error,
        summary=_figures(store, run),
    )

"""Brings home what a dead process left in its write-ahead log, and marks its run ``crashed``.

Called whenever a store is opened. A spool whose owner still lives, or lives on a machine that
cannot be asked from here, is left alone. Nothing is deleted before the store has it; a spool with
unreadable parts is kept under ``damaged/``.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from storage.curves import chunks_of, summaries
from storage.errors import RecordError, RunNotFoundError, SpoolError, StorageError
from storage.records import Event, Run, RunState
from storage.spool import Damage, SpoolContents, owner_is_gone, read_header, read_spool
from storage.store import RunStore

if TYPE_CHECKING:
    from storage.lance_store import LanceRunStore

log = logging.getLogger(__name__)

SUFFIX = ".spool"


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
    found = []
    folder = store.spool_folder()
    for path in sorted(folder.glob(f"*{SUFFIX}")) if folder.is_dir() else ():
        try:
            if not owner_is_gone(read_header(path)):
                continue
            with store.lease(f"recover-{path.stem}") as mine:
                if mine and path.exists():  # read only now: until its death the owner may have written
                    found.append(_recover_one(store, path, read_spool(path)))
        except SpoolError as error:
            log.warning("%s", error)
            _give_up(store, path)
        except (StorageError, OSError) as error:
            log.warning("run %s waits in %s for a later recovery: %s", path.stem, path, error)
    return tuple(found)


def _give_up(store: LanceRunStore, path: Path) -> None:
    """Put a log aside that does not say whose it is, and end its run, unless some process still writes it."""
    if _is_open(path):
        return
    kept = _put_aside(path)
    try:
        run = store.run(path.stem)
    except RunNotFoundError:
        return
    if not run.state.is_over:
        error = (
            f"the process ended without a word, and the beginning of its write-ahead log cannot be read; it is {kept}"
        )
        summary = summaries(run.curves, reduce=store.experiment(run.experiment).reduce)
        body: dict[str, Any] = {"state": RunState.CRASHED, "error": error, "summary": summary}
        store.append([Event.new("run.state", run.experiment, run.id, actor="recovery", **body)])


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


def _recover_one(store: LanceRunStore, path: Path, contents: SpoolContents) -> Recovered:
    run_id = str(contents.header["run_id"])
    experiment = str(contents.header["experiment"])
    done = store.delivered(run_id)
    store.append_curves(chunks_of(run_id, contents.points[done:], first=done))
    append_each(store, contents.events)
    run = store.run(run_id)
    if not run.state.is_over:
        store.append([_crashed(store, run, contents)])
    state = store.run(run_id).state
    if contents.damage is None:
        path.unlink()
    else:
        kept = _put_aside(path)
        log.warning(
            "the spool of run %s was damaged at byte %d: %d bytes could not be read (%s); it is kept as %s",
            run_id,
            contents.damage.offset,
            contents.damage.n_bytes_lost,
            contents.damage.reason,
            kept,
        )
    return Recovered(
        run_id,
        experiment=experiment,
        n_calls=len(contents.points),
        n_delivered=len(contents.points) - done,
        state=state,
        damage=contents.damage,
    )


def append_each(store: RunStore, events: Sequence[Event]) -> None:
    """Append events together; where the store refuses one of them, append the others and say which it was."""
    try:
        store.append(events)
    except RecordError:
        for event in events:
            try:
                store.append([event])
            except RecordError as error:
                log.error("an event of kind %r of run %s was left out: %s", event.kind, event.run_id, error)


def _crashed(store: LanceRunStore, run: Run, contents: SpoolContents) -> Event:
    """Return the event that says how the run ended; its end is its last sign of life."""
    record = store.experiment(run.experiment)
    ended = run.started or run.created
    if contents.points:
        ended += timedelta(seconds=max(0.0, contents.points[-1][1]))
    error = (
        f"the process ended without a word (killed, out of memory or power cut) after {len(contents.points)} log calls"
    )
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
        summary=summaries(run.curves, reduce=record.reduce),
    )

"""Makes sure that no command outlives its advisor: a watchdog for now, records for later.

While the advisor lives, ``advisor.running.watchdog`` waits for its death. Should that one be killed too, a file a run,
in the store's folder ``processes``, lets the next advisor on this machine find what is left. Leaves out how commands
are started.

Invariant: a process is ended only if its own environment says that it belongs to a run whose advisor is dead, or it
leads the recorded process group and was born when the record says.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import psutil

from advisor.running import watchdog
from advisor.tracking.attached import RUN_ID
from storage.spool import owner_header, owner_is_gone

log = logging.getLogger(__name__)

BIRTH_TOLERANCE_S: Final = 1.0
"""How far two readings of a process's birth may be apart."""
ORPHAN_GRACE_S: Final = 3.0
"""How long a process that was left over has to end by itself."""


class Guard:
    """The watchdog of one sweep, and the records of its runs; safe in any thread.

    Parameters
    ----------
    folder
        Where the records are.
    sockets
        Folder that the watchdog removes in the end.
    """

    def __init__(self, folder: Path, sockets: str) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._watchdog: subprocess.Popen[bytes] | None = None
        try:
            self._watchdog = subprocess.Popen(
                [sys.executable, "-I", "-S", watchdog.__file__, sockets],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            log.warning("commands will outlive this program should it be killed: no watchdog (%s)", error.strerror)

    def expect(self, run_id: str) -> None:
        """Write down that a command is about to run."""
        self._write(run_id, {})

    def watch(self, run_id: str, group: int) -> None:
        """Take care of a process group."""
        self._order(f"+{group}\n")
        try:
            self._write(run_id, {"group": group, "born": psutil.Process(group).create_time()})
        except psutil.Error:
            pass  # it is over already

    def forget(self, run_id: str, group: int | None) -> None:
        """The command and all of its processes are over."""
        if group is not None:
            self._order(f"-{group}\n")
        self._path(run_id).unlink(missing_ok=True)

    def close(self) -> None:
        """Let the watchdog go; it ends what it still takes care of."""
        if self._watchdog is not None:
            with self._lock:
                self._watchdog.communicate()

    def _order(self, line: str) -> None:
        if self._watchdog is None or self._watchdog.stdin is None:
            return
        try:
            with self._lock:
                self._watchdog.stdin.write(line.encode())
                self._watchdog.stdin.flush()
        except OSError as error:
            log.debug("the watchdog does not hear: %s", error)

    def _write(self, run_id: str, group: Mapping[str, Any]) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._path(run_id).write_text(json.dumps({"owner": owner_header(), **group}), encoding="utf-8")
        except OSError as error:
            log.warning("a command is not recorded in %s: %s", self._folder, error.strerror)

    def _path(self, run_id: str) -> Path:
        return self._folder / f"{run_id}.json"


def end_orphans(folder: Path) -> list[str]:
    """End the commands that dead advisors of this machine left behind; return the ids of their runs."""
    left: dict[str, Mapping[str, Any]] = {}
    for path in sorted(folder.glob("*.json")) if folder.is_dir() else ():
        record = _read(path)
        if record is not None and owner_is_gone(record["owner"]):
            left[path.stem] = record
    if not left:
        return []
    found: dict[str, list[psutil.Process]] = {}
    spared = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    for process in psutil.process_iter():
        run_id = None if process.pid in spared else _run_of(process, left)
        if run_id is not None:
            found.setdefault(run_id, []).append(process)
    processes = [process for group in found.values() for process in group]
    for process in processes:
        _tell(process, "terminate")
    for process in psutil.wait_procs(processes, timeout=ORPHAN_GRACE_S)[1]:
        _tell(process, "kill")
    for run_id in left:
        (folder / f"{run_id}.json").unlink(missing_ok=True)
    return sorted(found)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # another advisor writes or removes it just now
        return None
    return record if isinstance(record, dict) and isinstance(record.get("owner"), dict) else None


def _run_of(process: psutil.Process, left: Mapping[str, Mapping[str, Any]]) -> str | None:
    """Return the run, among those that were left, that a process belongs to."""
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        for run_id, record in left.items():
            born = record.get("born")
            if record.get("group") == process.pid and isinstance(born, int | float):
                return run_id if abs(process.create_time() - born) <= BIRTH_TOLERANCE_S else None
        run_id = process.environ().get(RUN_ID)
    except (psutil.Error, OSError):
        return None  # it is over, or somebody else's
    return run_id if run_id in left else None


def _tell(process: psutil.Process, what: str) -> None:
    try:
        getattr(process, what)()
    except psutil.Error:
        pass  # it is over

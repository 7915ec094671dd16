"""One command as a process group: started without a shell, signalled as a whole, and ended to its last descendant.

Leaves out what it says and when it has to end. Invariant: after ``close`` no process of its group is left, nor a
descendant that was still its child when it was told to end.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from typing import IO

import psutil


class Process:
    """A command that runs.

    Raises
    ------
    OSError, ValueError
        If it cannot be started.
    """

    def __init__(self, arguments: Sequence[str], environ: Mapping[str, str]) -> None:
        # A session of its own: what is typed at the terminal reaches the advisor, which passes on what is right.
        self._popen = subprocess.Popen(
            list(arguments),
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        assert self._popen.stdout is not None
        assert self._popen.stderr is not None
        self.stdout: IO[bytes] = self._popen.stdout
        self.stderr: IO[bytes] = self._popen.stderr
        self.group = self._popen.pid
        """Number of the process group, which is that of its first process."""
        self._escaped: list[psutil.Process] = []

    @property
    def exit_code(self) -> int | None:
        """What the command returned, negative for a signal; None while it runs."""
        return self._popen.poll()

    def send(self, number: int) -> bool:
        """Send a signal to the group, and to descendants that have left it; return whether anybody was there."""
        if self._popen.returncode is None:
            self._remember_descendants()
        for process in self._escaped:
            try:
                process.send_signal(number)  # psutil makes sure that it is still the same one
            except psutil.Error:
                pass  # it is gone, or somebody else's by now
        try:
            os.killpg(self.group, number)
        except (ProcessLookupError, PermissionError):  # macOS says the latter of zombies
            return False
        return True

    def _remember_descendants(self) -> None:
        try:
            known = {process.pid for process in self._escaped}
            for process in psutil.Process(self.group).children(recursive=True):
                if process.pid not in known and os.getpgid(process.pid) != self.group:
                    self._escaped.append(process)
        except (psutil.Error, OSError):
            pass  # it has ended meanwhile

    @property
    def group_lives(self) -> bool:
        """Whether a process of the group is left, once the command itself is over; dead ones do not count.

        Nobody may reap them: in many containers the first process does not.
        """
        try:
            os.killpg(self.group, 0)
        except (ProcessLookupError, PermissionError):
            return False
        return any(self._is_member(process) for process in psutil.process_iter())

    def _is_member(self, process: psutil.Process) -> bool:
        try:
            return os.getpgid(process.pid) == self.group and process.status() != psutil.STATUS_ZOMBIE
        except (psutil.Error, OSError):
            return False

    def close(self) -> None:
        """Kill what is left, and let go of the pipes."""
        self.send(signal.SIGKILL)
        self._popen.wait()
        self.stdout.close()
        self.stderr.close()


def signal_of(exit_code: int) -> str | None:
    """Return the signal that ended a command, None where none did; shells say 128 and its number.

    >>> signal_of(-9), signal_of(137), signal_of(1)
    ('SIGKILL', 'SIGKILL', None)
    """
    number = -exit_code if exit_code < 0 else exit_code - 128
    try:
        return signal.Signals(number).name if number > 0 else None
    except ValueError:
        return f"signal {number}" if exit_code < 0 else None

"""The write-ahead log of a live run: every log call is on file before it returns, and can be read back after a crash.

A spool is one local file that one process appends to. It knows nothing of the store: who delivers its content,
and when the file may go, is decided elsewhere. It does not compress, rotate or resume.

Invariant: the file is a magic line, a header record and then whole records, each with its length and checksum;
only the end can be torn, and what comes before the tear is always recovered.

Durability: SIGKILL loses nothing that ``log()`` returned from, because the record has been handed to the operating
system by then. A power cut may lose pages that the system had not written yet, unless ``sync()`` was called.

Layout: ``MAGIC``, then records of ``u32 length, u32 crc32, payload`` (little endian). The first byte of a payload is
its kind: ``h`` the header and ``e`` an event, both as JSON text (NaN and integers of any size survive in it), and
``p`` a point, ``[step, time_s, {metric: value}]`` as msgpack.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import socket
import struct
import threading
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from storage.errors import RecordError, SpoolError
from storage.records import Event

MAGIC = b"ADVSPL1\n"
"""First bytes of a spool; the digit is the version of the layout."""

_FRAME = struct.Struct("<II")
_MAX_RECORD = 2**31 - 1  # one write() takes no more than this on Linux, and no honest record comes near it
_BIRTH_TOLERANCE_S = 1.0  # the clock's resolution is 10 ms; a process id is not reused within a second

_STR_AND_FLOAT = {str, float}

Point = tuple[int, float, dict[str, float]]
"""One log call: step, seconds since the run's start, values by metric."""

_encode_point = msgspec.msgpack.Encoder().encode
_decode_point = msgspec.msgpack.Decoder(Point).decode


@dataclass(frozen=True, slots=True)
class Damage:
    """The part of a spool that could not be read."""

    offset: int
    """Position of the first unreadable byte."""
    n_bytes_lost: int
    """Bytes from there to the end of the file."""
    reason: str
    """What is wrong, in a few words."""


@dataclass(frozen=True, slots=True)
class SpoolContents:
    """Everything that could be read from a spool."""

    header: dict[str, Any]
    points: list[Point]
    """Log calls in their order."""
    events: list[Event]
    """Events in their order."""
    damage: Damage | None
    """What was lost at the end; None if nothing was. While it is written, a spool may end in half a record."""


class Spool:
    """A write-ahead log that is being written. Threads may share it; processes may not.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "run.spool"
    >>> with Spool.create(path, owner_header()) as spool:
    ...     spool.log(0, 0.5, {"loss": 2.25})
    >>> read_spool(path).points
    [(0, 0.5, {'loss': 2.25})]
    """

    __slots__ = ("_fd", "_lock", "_unsynced_folder", "path")

    def __init__(self, path: Path, fd: int) -> None:
        self.path = path
        self._fd = fd
        self._lock = threading.RLock()  # a signal handler may write while its thread is in the middle of log()
        self._unsynced_folder = True

    @classmethod
    def create(cls, path: Path, header: Mapping[str, Any]) -> Self:
        """Create a spool; its folder is made where it is missing.

        Parameters
        ----------
        path
            A file that does not exist yet.
        header
            JSON values that say whose log this is, see ``owner_header``.

        Raises
        ------
        SpoolError
            If the file exists or cannot be written.
        RecordError
            If the header is not JSON.
        """
        start = MAGIC + _framed(b"h" + _json(dict(header), "the header of a write-ahead log"))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # O_APPEND keeps records whole even if a forked child writes through the same descriptor.
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
        except FileExistsError as exc:
            raise SpoolError(f"there is a write-ahead log at {path} already; each run needs its own file") from exc
        except OSError as exc:
            raise SpoolError(f"cannot create the write-ahead log {path}: {exc.strerror}") from exc
        spool = cls(path, fd)
        try:
            spool._write(start)
        except SpoolError:
            spool.close()
            path.unlink(missing_ok=True)
            raise
        return spool

    def log(self, step: int, time_s: float, metrics: Mapping[str, float]) -> None:
        """Append one log call.

        Parameters
        ----------
        step
            Any 64-bit signed integer.
        time_s
            Seconds since the run's start; NaN where unknown.
        metrics
            Values by metric; NaN and ±inf are kept, and every number is read back as a float.

        Raises
        ------
        RecordError
            If the step does not fit 64 bits, or a value is not a number.
        SpoolError
            If the spool is closed or the disk does not take the record; the file ends in a whole record still.
        """
        if not -(2**63) <= step < 2**63:
            raise RecordError(f"step {step} does not fit a signed 64-bit integer")
        # msgpack would take text for a value without complaint, and the reader would stop there.
        if type(metrics) is not dict or {*map(type, metrics), *map(type, metrics.values())} != _STR_AND_FLOAT:
            metrics = _as_floats(metrics)
        try:
            body = _encode_point((int(step), float(time_s), metrics))
        except UnicodeEncodeError as exc:
            raise RecordError(f"a metric's name is not valid Unicode: {exc.object!r:.60}") from exc
        self._write(_framed(b"p" + body))

    def event(self, event: Event) -> None:
        """Append one event.

        Raises
        ------
        RecordError
            If its body is not JSON.
        SpoolError
            If the spool is closed or the disk does not take the record.
        """
        content = {
            "id": event.id,
            "kind": event.kind,
            "experiment": event.experiment,
            "run_id": event.run_id,
            "time": event.time.isoformat(),
            "actor": event.actor,
            "body": dict(event.body),
        }
        self._write(_framed(b"e" + _json(content, f"the event {event.kind!r}")))

    def sync(self) -> None:
        """Wait until everything logged so far would survive a power cut (as far as the system's fsync goes).

        Raises
        ------
        SpoolError
            If the spool is closed or the disk reports a failure.
        """
        with self._lock:
            self._check_open()
            try:
                os.fsync(self._fd)
                if self._unsynced_folder and os.name == "posix":
                    folder = os.open(self.path.parent, os.O_RDONLY)
                    try:
                        os.fsync(folder)
                    finally:
                        os.close(folder)
                    self._unsynced_folder = False
            except OSError as exc:
                raise SpoolError(f"cannot sync the write-ahead log {self.path}: {exc.strerror}") from exc

    def close(self) -> None:
        """Close the file; closing twice is fine."""
        with self._lock:
            fd, self._fd = self._fd, -1
            if fd >= 0:
                os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _check_open(self) -> None:
        if self._fd < 0:
            raise SpoolError(f"the write-ahead log {self.path} is closed; nothing more can be logged to it")

    def _write(self, record: bytes) -> None:
        with self._lock:
            self._check_open()
            written = 0
            try:
                written = os.write(self._fd, record)
                while written < len(record):
                    written += os.write(self._fd, record[written:])
            except OSError as exc:
                self._drop_torn_record(written)
                raise SpoolError(f"cannot append to the write-ahead log {self.path}: {exc.strerror}") from exc

    def _drop_torn_record(self, written: int) -> None:
        """Cut off the part of a record that got through, since whatever follows a tear could not be read."""
        if not written:
            return
        try:
            os.ftruncate(self._fd, os.fstat(self._fd).st_size - written)
        except OSError:
            os.close(self._fd)
            self._fd = -1


def _as_floats(metrics: Mapping[Any, Any]) -> dict[str, float]:
    plain: dict[str, float] = {}
    for name, value in metrics.items():
        if not isinstance(name, str):
            raise RecordError(f"a metric's name must be text; {name!r:.60} is {type(name).__name__}")
        try:
            if isinstance(value, str | bytes):
                raise TypeError("text")
            plain[str(name)] = float(value)
        except (TypeError, ValueError, OverflowError) as exc:
            raise RecordError(f"metric {name!r:.60} must be one number; {value!r:.60} is not ({exc})") from exc
    return plain


def _framed(payload: bytes) -> bytes:
    if len(payload) > _MAX_RECORD:
        raise RecordError(f"a record of {len(payload):,} bytes is too large; at most {_MAX_RECORD:,} are allowed")
    return _FRAME.pack(len(payload), zlib.crc32(payload)) + payload


def _json(content: Any, what: str) -> bytes:
    try:
        return json.dumps(content, default=_json_mapping, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as exc:
        raise RecordError(f"{what} cannot be kept: {exc}; only JSON values are allowed") from exc


def _json_mapping(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is not JSON")


def read_spool(path: Path) -> SpoolContents:
    """Read everything up to the last whole record; what follows is reported as damage.

    Raises
    ------
    SpoolError
        If the file is missing, is no spool, or its header is damaged.
    """
    data = _read(path, -1)
    header, end = _header_of(path, data)
    contents = SpoolContents(header, [], [], None)
    damage: Damage | None = None
    try:
        for payload, next_end in _records(data, end):
            _decode_into(contents, payload)
            end = next_end
    except _TornError as exc:
        damage = Damage(end, len(data) - end, str(exc))
    except (msgspec.MsgspecError, ValueError, KeyError, TypeError, RecursionError) as exc:
        damage = Damage(end, len(data) - end, f"a record that cannot be understood ({exc})")
    return SpoolContents(contents.header, contents.points, contents.events, damage)


def read_header(path: Path) -> dict[str, Any]:
    """Read the header alone, however long the log is.

    Raises
    ------
    SpoolError
        As ``read_spool`` does.
    """
    start = _read(path, len(MAGIC) + _FRAME.size)
    if len(start) < len(MAGIC) + _FRAME.size:
        return _header_of(path, start)[0]
    length, _ = _FRAME.unpack_from(start, len(MAGIC))
    return _header_of(path, _read(path, len(start) + length))[0]


def _read(path: Path, n_bytes: int) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(n_bytes)
    except OSError as exc:
        raise SpoolError(f"cannot read the write-ahead log {path}: {exc.strerror}") from exc


def _header_of(path: Path, data: bytes) -> tuple[dict[str, Any], int]:
    """Return the header and the position after it."""
    if not data.startswith(MAGIC):
        if data.startswith(MAGIC[:6]) and len(data) >= len(MAGIC):
            raise SpoolError(f"{path} was written by another version of this program; open it with that version")
        raise SpoolError(f"{path} is not a write-ahead log of a run, or its beginning is lost")
    try:
        first, end = next(_records(data, len(MAGIC)))
        return _header(first), end
    except (StopIteration, _TornError, ValueError) as exc:
        raise SpoolError(f"the header of the write-ahead log {path} is damaged; its run cannot be told") from exc


class _TornError(Exception):
    """The bytes at the current position are no whole record."""


def _records(data: bytes, position: int) -> Iterator[tuple[bytes, int]]:
    """Yield each payload and the position after it."""
    while position < len(data):
        start = position + _FRAME.size
        if start > len(data):
            raise _TornError("the last record is cut off")
        length, checksum = _FRAME.unpack_from(data, position)
        if length == 0:  # a file system may fill a torn page with zeros, whose checksum would be right
            raise _TornError("a record without content")
        if start + length > len(data):
            raise _TornError("the last record is cut off")
        payload = data[start : start + length]
        if zlib.crc32(payload) != checksum:
            raise _TornError("a checksum that does not fit")
        position = start + length
        yield payload, position


def _header(payload: bytes) -> dict[str, Any]:
    header = json.loads(payload[1:]) if payload[:1] == b"h" else None
    if not isinstance(header, dict):
        raise ValueError("the first record is no header")
    return header


def _decode_into(contents: SpoolContents, payload: bytes) -> None:
    kind, body = payload[:1], payload[1:]
    if kind == b"p":
        contents.points.append(_decode_point(body))
    elif kind == b"e":
        fields = json.loads(body)
        time = datetime.fromisoformat(fields.pop("time"))
        contents.events.append(Event(fields.pop("id"), time=time, **fields))
    else:
        raise ValueError(f"kind {kind!r}")


# -- whose spool it is


def owner_header() -> dict[str, Any]:
    """Return what tells this process from any other, now and later, as header fields.

    A process id alone is reused, and means nothing on another machine or in another container; so the machine,
    its boot, the pid namespace and the process's birth belong to it.
    """
    pid = os.getpid()
    return {
        "host": socket.gethostname(),
        "machine": _first_line("/etc/machine-id"),
        "boot": _first_line("/proc/sys/kernel/random/boot_id"),
        "pid_namespace": _pid_namespace(),
        "pid": pid,
        "birth_s": _birth_s(pid),
    }


def owner_is_gone(header: Mapping[str, Any]) -> bool:
    """Return whether the process that wrote a header is certainly dead.

    True on the same machine after a reboot; and in the same pid namespace where the process id is unused, is a
    zombie, or belongs to a process born at another time. False where that cannot be known from here: another
    host, another container, or a header without these fields.
    """
    here = owner_header()
    pid = header.get("pid")
    if not isinstance(pid, int) or header.get("host") != here["host"] or header.get("machine") != here["machine"]:
        return False
    if header.get("boot") != here["boot"]:
        return True
    if header.get("pid_namespace") != here["pid_namespace"]:
        return False
    born_s, then_s = _birth_s(pid), header.get("birth_s")
    if born_s is None:
        return True
    return isinstance(then_s, int | float) and abs(born_s - then_s) > _BIRTH_TOLERANCE_S


def _birth_s(pid: int) -> float | None:
    """Return when a process was born, None where there is no such living process.

    On Linux in seconds since boot, because the wall clock may be set while the process lives; elsewhere the
    wall-clock time that psutil knows.
    """
    import psutil

    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        with contextlib.suppress(OSError, IndexError, ValueError):
            # The second field is the command's name in parentheses, which may hold anything; field 22 is the birth.
            fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
            return int(fields[19]) / os.sysconf("SC_CLK_TCK")
        return float(process.create_time())
    except (psutil.NoSuchProcess, ValueError, OverflowError):
        return None
    except psutil.AccessDenied:
        return math.nan  # alive, birth unknown: compares with nothing


def _pid_namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _first_line(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""

"""The write-ahead log of a live run: every log call is on file before it returns, and can be read back after a crash.

A spool is one local file that one process appends to. It knows nothing of the store: who delivers its content,
and when the file may go, is decided elsewhere. It does not compress or rotate.

Invariant: the file is a magic line, a header record and then records, each with its length and checksum. A record
whose checksum does not fit is never read as data; every whole record before and after it is.

Durability: SIGKILL loses nothing that ``log()`` returned from, because the record has been handed to the operating
system by then. A power cut may lose pages that the system had not written yet, unless ``sync()`` was called.

Layout: ``MAGIC``, then records of ``u32 length, u32 crc32, payload`` (little endian). The first byte of a payload is
its kind: ``h`` the header and ``e`` an event, both as JSON text (NaN and integers of any size survive in it);
``n`` a log call, ``[number, step, time_s, {metric: value}]`` as msgpack, where the number counts the run's calls and
tells after damage which ones are missing; ``p`` the same without its number, as earlier versions wrote it; and ``r``
the reserve, JSON padded to a fixed size, which is overwritten in place: so the end of a run can be written down on a
disk that takes nothing more.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import socket
import struct
import threading
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
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
_CALL_FRAME = struct.Struct("<IIc")  # a frame and the first byte of its payload, the kind
_CRC_OF_N = zlib.crc32(b"n")
_MAX_RECORD = 2**31 - 1  # one write() takes no more than this on Linux, and no honest record comes near it
_RESERVE_BYTES = 2048  # holds how a run ended and a traceback's last lines; half a page, so that a kill never halves it
_BLOCK_BYTES = 4 * 2**20  # read at once where a long log is read bit by bit
_BUSY_S = 5.0  # a write takes microseconds
_STARTS = re.compile(rb"n\x94|p\x93|[er]\{")
"""What a payload can begin with; where a frame's length is lost, whole records are found again by it."""
_BIRTH_TOLERANCE_S = 1.0  # the clock's resolution is 10 ms; a process id is not reused within a second

_STR_AND_FLOAT = {str, float}

Point = tuple[int, float, dict[str, float]]
"""One log call: step, seconds since the run's start, values by metric."""

Call = tuple[int, int, float, dict[str, float]]
"""A log call with its number in front: number, step, seconds, values by metric."""

_encode_msgpack = msgspec.msgpack.Encoder().encode
_decode_point = msgspec.msgpack.Decoder(Point).decode
_decode_call = msgspec.msgpack.Decoder(Call).decode


@dataclass(frozen=True, slots=True)
class Damage:
    """The part of a spool that could not be read."""

    offset: int
    """Position of the first unreadable byte."""
    n_bytes_lost: int
    """Bytes from there to the next whole record, or to the end of the file."""
    reason: str
    """What is wrong, in a few words."""


@dataclass(frozen=True, slots=True)
class SpoolContents:
    """Everything that could be read from a spool."""

    header: dict[str, Any]
    numbers: list[int] = field(default_factory=list)
    """Number of each log call, in the order of ``points``; calls that are not in the file leave holes."""
    points: list[Point] = field(default_factory=list)
    """Log calls in the order in which they were written."""
    events: list[Event] = field(default_factory=list)
    """Events in their order."""
    damages: list[Damage] = field(default_factory=list)
    """Each part that could not be read. While it is written, a spool may end in half a record."""
    reserve: dict[str, Any] = field(default_factory=dict)
    """What was written into the reserve last; empty where nothing was."""

    @property
    def damage(self) -> Damage | None:
        """All that was lost as one: where it begins, the bytes in all, and the first reason; None if nothing was."""
        if not self.damages:
            return None
        n_bytes_lost = sum(damage.n_bytes_lost for damage in self.damages)
        return Damage(self.damages[0].offset, n_bytes_lost, self.damages[0].reason)


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

    __slots__ = ("_fd", "_lock", "_n_logged", "_reserve_at", "_unsynced_folder", "path")

    def __init__(
        self, path: Path, fd: int, reserve_at: int | None = None, *, lock: threading.RLock | None = None
    ) -> None:
        self.path = path
        self._fd = fd
        # Re-entrant: a signal handler may write while its thread is in the middle of log().
        self._lock = threading.RLock() if lock is None else lock
        self._n_logged = 0
        self._reserve_at = reserve_at
        self._unsynced_folder = True

    @classmethod
    def create(
        cls,
        path: Path,
        header: Mapping[str, Any],
        *,
        events: Sequence[Event] = (),
        reserve: bool = False,
        lock: threading.RLock | None = None,
    ) -> Self:
        """Create a spool; its folder is made where it is missing.

        Parameters
        ----------
        path
            A file that does not exist yet.
        header
            JSON values that say whose log this is, see ``owner_header``.
        events
            What is to be in it from the first moment on: with the header they are one write.
        reserve
            Whether room is kept for ``write_reserve``.
        lock
            A re-entrant lock of the caller's to guard it with, see ``write_held``; by default its own.

        Raises
        ------
        SpoolError
            If the file exists or cannot be written.
        RecordError
            If the header is not JSON.
        """
        start = MAGIC + _framed(b"h" + _json(dict(header), "the header of a write-ahead log"))
        reserve_at = len(start) if reserve else None
        if reserve:
            start += _framed(b"r{}".ljust(_RESERVE_BYTES))
        start += b"".join(map(encode_event, events))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
        except FileExistsError as exc:
            raise SpoolError(f"there is a write-ahead log at {path} already; each run needs its own file") from exc
        except OSError as exc:
            raise SpoolError(f"cannot create the write-ahead log {path}: {exc.strerror}") from exc
        spool = cls(path, fd, reserve_at, lock=lock)
        try:
            spool.write(start)
        except SpoolError:
            spool.close()
            path.unlink(missing_ok=True)
            raise
        return spool

    def log(self, step: int, time_s: float, metrics: Mapping[str, float]) -> None:
        """Append one log call under the next number.

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
            If the spool is closed or the disk does not take the record.
        """
        with self._lock:
            self.write(encode_call(self._n_logged, step, time_s, metrics))
            self._n_logged += 1

    def event(self, event: Event) -> None:
        """Append one event.

        Raises
        ------
        RecordError
            If its body is not JSON.
        SpoolError
            If the spool is closed or the disk does not take the record.
        """
        self.write(encode_event(event))

    def write(self, record: bytes) -> None:
        """Append a record that ``encode_call`` or ``encode_event`` made.

        Raises
        ------
        SpoolError
            If the spool is closed or the disk does not take the record. What got through of it is cut off again;
            where even that fails, readers find the next whole record behind it.
        """
        self._acquire()
        try:
            self.write_held(record)
        finally:
            self._lock.release()

    def write_held(self, record: bytes) -> None:
        """Do what ``write`` does for a caller that holds the lock; taking it twice costs each log call 0.3 µs."""
        written = 0
        try:
            if self._fd < 0:
                self._check_open()
            written = os.write(self._fd, record)
            while written != len(record):
                written += os.write(self._fd, record[written:])
        except OSError as exc:
            if written:
                with contextlib.suppress(OSError):
                    os.ftruncate(self._fd, os.fstat(self._fd).st_size - written)
            raise SpoolError(f"cannot append to the write-ahead log {self.path}: {exc.strerror}") from exc

    def write_reserve(self, content: Mapping[str, Any]) -> None:
        """Overwrite the reserve, which needs no new room on the disk.

        Raises
        ------
        RecordError
            If the content does not fit.
        SpoolError
            If there is no reserve, or the disk refuses.
        """
        payload = b"r" + _json(dict(content), "the reserve of a write-ahead log")
        if len(payload) > _RESERVE_BYTES:
            raise RecordError(f"{len(payload):,} bytes do not fit the reserve of {_RESERVE_BYTES:,}")
        if self._reserve_at is None:
            raise SpoolError(f"the write-ahead log {self.path} has no reserve")
        record = _framed(payload.ljust(_RESERVE_BYTES))
        try:
            fd = os.open(self.path, os.O_WRONLY)  # through the other descriptor, writes go to the end
            try:
                os.pwrite(fd, record, self._reserve_at)
            finally:
                os.close(fd)
        except OSError as exc:
            raise SpoolError(f"cannot write to the write-ahead log {self.path}: {exc.strerror}") from exc

    def sync(self) -> None:
        """Wait until everything logged so far would survive a power cut (as far as the system's fsync goes).

        Threads that log meanwhile are not kept waiting.

        Raises
        ------
        SpoolError
            If the spool is closed or the disk reports a failure.
        """
        self._check_open()
        try:
            fd = os.dup(self._fd)  # so that closing meanwhile does no harm
        except OSError as exc:
            raise SpoolError(f"cannot sync the write-ahead log {self.path}: {exc.strerror}") from exc
        try:
            os.fsync(fd)
            if self._unsynced_folder and os.name == "posix":
                folder = os.open(self.path.parent, os.O_RDONLY)
                try:
                    os.fsync(folder)
                finally:
                    os.close(folder)
                self._unsynced_folder = False
        except OSError as exc:
            raise SpoolError(f"cannot sync the write-ahead log {self.path}: {exc.strerror}") from exc
        finally:
            os.close(fd)

    def is_there(self) -> bool:
        """Return whether a later process would find the file: somebody may have deleted its folder."""
        try:
            return os.path.samestat(os.fstat(self._fd), os.stat(self.path))
        except OSError:
            return False

    def restore(self) -> None:
        """Write the file anew, with all that it held, where somebody deleted it.

        Raises
        ------
        SpoolError
            If that cannot be done; what is written from then on is still in the deleted file.
        """
        self._acquire()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o644)
            try:
                at = 0
                while block := os.pread(self._fd, _BLOCK_BYTES, at):
                    at += len(block)
                    while block:
                        block = block[os.write(fd, block) :]
            except OSError:
                os.close(fd)
                self.path.unlink(missing_ok=True)
                raise
            os.close(self._fd)
            self._fd = fd
            self._unsynced_folder = True
        except OSError as exc:
            raise SpoolError(f"cannot write the write-ahead log {self.path} anew: {exc.strerror}") from exc
        finally:
            self._lock.release()

    def size(self) -> int:
        """Return the number of bytes written so far; 0 where that cannot be told."""
        try:
            return os.fstat(self._fd).st_size
        except OSError:
            return 0

    def calls(self, offset: int) -> Iterator[Call]:
        """Read back the log calls behind an offset; the file may be long, or deleted. What is damaged is passed over.

        Raises
        ------
        SpoolError
            If the spool is closed.
        """
        while True:
            self._check_open()
            data = os.pread(self._fd, _BLOCK_BYTES, offset)
            position = len(MAGIC) if offset == 0 else 0
            end = position
            for _, payload, end in _whole_records(data, position):  # noqa: B007  # where the last one ends is needed
                if payload[:1] == b"n":
                    with contextlib.suppress(msgspec.MsgspecError, ValueError):
                        yield _decode_call(payload[1:])
            if end <= position:
                if len(data) < _BLOCK_BYTES:
                    return
                end = len(data)  # one record longer than a block: no log call is
            offset += end

    def close(self) -> None:
        """Close the file; closing twice is fine."""
        with self._lock:
            fd, self._fd = self._fd, -1
            if fd >= 0:
                os.close(fd)

    def _acquire(self) -> None:
        """Take the lock, but not wait for it forever.

        A signal handler may wait for another thread that wants to write, while the write that it interrupted holds
        the lock.
        """
        if not self._lock.acquire(timeout=_BUSY_S):
            raise SpoolError(f"the write-ahead log {self.path} is busy")

    def _check_open(self) -> None:
        if self._fd < 0:
            raise SpoolError(f"the write-ahead log {self.path} is closed; nothing more can be logged to it")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def encode_call(number: int, step: int, time_s: float, metrics: Mapping[str, float]) -> bytes:
    """Return a log call as a record.

    Raises
    ------
    RecordError
        If the step does not fit 64 bits, or a value is not a number.
    """
    if not -(2**63) <= step < 2**63:
        raise RecordError(f"step {step} does not fit a signed 64-bit integer")
    # msgpack would take text for a value without complaint, and the reader would stop there.
    if not are_floats(metrics):
        metrics = _as_floats(metrics)
    return encode_floats(number, int(step), float(time_s), metrics)


def are_floats(metrics: Mapping[Any, Any]) -> bool:
    """Return whether these are plain floats by plain text, which can be written as they are."""
    if type(metrics) is not dict:
        return False
    for value in metrics.values():  # for the few metrics of a call, faster than a set of their types, or one loop
        if value.__class__ is not float:
            return False
    for name in metrics:
        if name.__class__ is not str:
            return False
    return bool(metrics)


def encode_floats(number: int, step: int, time_s: float, metrics: Mapping[str, float]) -> bytes:
    """Return a log call as a record, where its metrics ``are_floats`` and its step fits 64 bits.

    Raises
    ------
    RecordError
        If a metric's name is not valid Unicode.
    """
    try:
        content = _encode_msgpack((number, step, time_s, metrics))
        if len(content) >= _MAX_RECORD:
            return _framed(b"n" + content)
        return _CALL_FRAME.pack(len(content) + 1, zlib.crc32(content, _CRC_OF_N), b"n") + content
    except UnicodeEncodeError as exc:
        raise RecordError(f"a metric's name is not valid Unicode: {exc.object!r:.60}") from exc


def encode_event(event: Event) -> bytes:
    """Return an event as a record.

    Raises
    ------
    RecordError
        If its body is not JSON.
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
    return _framed(b"e" + _json(content, f"the event {event.kind!r}"))


def decode_event(content: Mapping[str, Any]) -> Event:
    """Return the event whose fields ``encode_event`` wrote."""
    fields = dict(content)
    time = datetime.fromisoformat(fields.pop("time"))
    return Event(fields.pop("id"), time=time, **fields)


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
    """Read every whole record; what lies between them or behind the last is reported as damage.

    Raises
    ------
    SpoolError
        If the file is missing, is no spool, or its header is damaged; ``salvage`` reads the rest then.
    """
    data = _read(path, -1)
    header, end = _header_of(path, data)
    contents = SpoolContents(header)
    _read_into(contents, data, end)
    return contents


def salvage(path: Path) -> SpoolContents:
    """Read the whole records of a file whose beginning is damaged; its header is empty.

    Raises
    ------
    SpoolError
        If the file is missing, or was written by another version.
    """
    data = _read(path, -1)
    if data.startswith(MAGIC[:6]) and not data.startswith(MAGIC) and data[7:8] == MAGIC[7:8] and data[6:7].isdigit():
        _header_of(path, data)
    contents = SpoolContents({})
    _read_into(contents, data, 0)
    return contents


def read_beginning(path: Path) -> list[Event]:
    """Read the events that a spool begins with: what it was created with; the file may be long.

    Raises
    ------
    SpoolError
        As ``read_spool`` does.
    """
    data = _read(path, _BLOCK_BYTES)
    contents = SpoolContents(*_header_of(path, data)[:1])
    for _, payload, _ in _whole_records(data, _header_of(path, data)[1]):
        if payload[:1] not in b"er":
            break
        with contextlib.suppress(*_NOT_UNDERSTOOD):
            _decode_into(contents, payload)
    return contents.events


_NOT_UNDERSTOOD = (msgspec.MsgspecError, ValueError, KeyError, TypeError, RecursionError)


def _read_into(contents: SpoolContents, data: bytes, position: int) -> None:
    """Decode all whole records from a position on, and note what lies between them."""
    for start, payload, end in _whole_records(data, position):
        if start > position:
            contents.damages.append(Damage(position, start - position, _what_is_wrong(data, position)))
        position = end
        try:
            _decode_into(contents, payload)
        except _NOT_UNDERSTOOD as exc:
            reason = f"a record that cannot be understood ({exc})"
            contents.damages.append(Damage(start, end - start, reason))
    if position < len(data):
        contents.damages.append(Damage(position, len(data) - position, _what_is_wrong(data, position)))


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
        first, end = _record_at(data, len(MAGIC))
        return _header(first), end
    except (_TornError, ValueError) as exc:
        raise SpoolError(f"the header of the write-ahead log {path} is damaged; its run cannot be told") from exc


class _TornError(Exception):
    """The bytes at the current position are no whole record."""


def _record_at(data: bytes, position: int) -> tuple[bytes, int]:
    """Return the payload of the record at a position, and the position behind it."""
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
    return payload, start + length


def _whole_records(data: bytes, position: int) -> Iterator[tuple[int, bytes, int]]:
    """Yield where each whole record begins, its payload, and where it ends; damage between them is passed over."""
    while position < len(data):
        try:
            payload, end = _record_at(data, position)
        except _TornError:
            found = _next_record(data, position + 1)
            if found is None:
                return
            position, payload, end = found
        yield position, payload, end
        position = end


def _next_record(data: bytes, position: int) -> tuple[int, bytes, int] | None:
    """Return the first whole record from a position on, wherever it begins."""
    for match in _STARTS.finditer(data, position + _FRAME.size):
        start = match.start() - _FRAME.size
        try:
            return (start, *_record_at(data, start))
        except _TornError:
            continue
    return None


def _what_is_wrong(data: bytes, position: int) -> str:
    try:
        _record_at(data, position)
    except _TornError as exc:
        return str(exc)
    return "a record out of place"


def _header(payload: bytes) -> dict[str, Any]:
    header = json.loads(payload[1:]) if payload[:1] == b"h" else None
    if not isinstance(header, dict):
        raise ValueError("the first record is no header")
    return header


def _decode_into(contents: SpoolContents, payload: bytes) -> None:
    kind, body = payload[:1], payload[1:]
    if kind == b"n":
        number, *point = _decode_call(body)
        contents.points.append((point[0], point[1], point[2]))
        contents.numbers.append(number)
    elif kind == b"p":
        contents.points.append(_decode_point(body))
        contents.numbers.append(contents.numbers[-1] + 1 if contents.numbers else 0)
    elif kind == b"e":
        contents.events.append(decode_event(json.loads(body)))
    elif kind == b"r":
        contents.reserve.update(json.loads(body))
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

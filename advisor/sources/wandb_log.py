"""A W&B transaction log (``run-<id>.wandb``): blocks to records, records to what they say.

The frame is LevelDB's: after seven bytes that name the format, blocks of 32 KiB with fragments of records, each with a
length and a CRC-32 (zlib's, though comments in the tool's own source say CRC-32C). Within it lie protobuf messages,
``wandb_internal.proto``; numbers of fields below are those of releases 0.12 to 0.31.

Invariant: what is damaged costs the block that it is in and is counted; reading goes on with the next block.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Final

from advisor.errors import SourceError
from advisor.sources import wire
from advisor.sources.values import counted

HEADER: Final = b":W&B" + struct.pack("<HB", 0xBEE1, 0)
"""How a log begins: a name, a number that the tool made from its own name, the version of the frame."""
BLOCK: Final = 32 * 1024
FRAGMENT: Final = struct.Struct("<IHB")
BROKEN, FULL, FIRST, MIDDLE, LAST = 0, 1, 2, 3, 4
SEEDS: Final = {kind: zlib.crc32(bytes([kind])) for kind in (FULL, FIRST, MIDDLE, LAST)}
BLANK_AT_MOST: Final = 256
"""Blocks in a row without any fragment; a hole in a file may have any number of them."""
RECORD_MAX_BYTES: Final = 64 * 2**20
"""Of one record put together; the tool refuses log calls of more than 25 MB."""

# Fields of Record.
HISTORY, SUMMARY, CONFIG, ARTIFACT, ALERT, METRIC, RUN, EXIT, ENVIRONMENT = 2, 3, 5, 8, 10, 12, 17, 18, 26
HEADER_RECORD: Final = 21
GOALS: Final = {1: "minimize", 2: "maximize"}


@dataclass(slots=True)
class Lost:
    """What of a log could not be read."""

    n_bytes: int = 0
    """In damaged blocks, up to the next block."""
    n_places: int = 0
    n_records: int = 0
    """Whole in their frame, but not to be decoded, or too large."""
    n_tail: int = 0
    """Bytes of a record at the log's end that is not all there."""
    is_blank: bool = False
    """Whether so much in a row was no record that the rest was not looked at."""

    def notes(self, name: str) -> list[str]:
        """Return that in sentences."""
        out = []
        if self.n_places:
            out.append(
                f"{name} is damaged in {counted(self.n_places, 'place')}: {self.n_bytes:,} bytes were passed over, "
                "reading went on with the next block"
            )
        if self.n_records:
            out.append(
                f"{name}: "
                + counted(
                    self.n_records,
                    "record could not be decoded and was left out",
                    "records could not be decoded and were left out",
                )
            )
        if self.is_blank:
            out.append(
                f"{name} holds no record for more than {BLANK_AT_MOST * BLOCK // 2**20} MiB; the rest was not read"
            )
        if self.n_tail:
            out.append(f"{name} ends within a record; its intact head was read, {self.n_tail:,} bytes were not")
        return out


def records(file: BinaryIO, start: int, lost: Lost) -> Iterator[tuple[int, bytes]]:
    """Yield records from a position on: where each ends, and its content.

    Parameters
    ----------
    file
        A log.
    start
        ``len(HEADER)``, or where a record ended.
    lost
        Counts what is passed over.

    Raises
    ------
    SourceError
        If the file cannot be read.
    """
    parts, size = list[bytes](), 0
    for end, kind, content in _fragments(file, start, lost):
        if kind in (FULL, FIRST):
            parts, size = [], 0
        elif not parts:
            continue  # the rest of a record whose beginning is lost
        elif kind == BROKEN:
            parts = []
            continue
        size += len(content)
        if size <= RECORD_MAX_BYTES:
            parts.append(content)
        if kind in (FULL, LAST):
            if size <= RECORD_MAX_BYTES:
                yield end, parts[0] if len(parts) == 1 else b"".join(parts)
            else:
                lost.n_records += 1
            parts = []
    lost.n_tail += sum(map(len, parts))


def _fragments(file: BinaryIO, start: int, lost: Lost) -> Iterator[tuple[int, int, bytes]]:
    """Yield fragments: where each ends, its kind and content; ``BROKEN`` where something is missing between two."""
    at, n_blank = start, 0
    while n_blank <= BLANK_AT_MOST:
        base = at - at % BLOCK
        block = _block(file, base)
        end = len(block)
        at -= base
        while at + FRAGMENT.size <= end:
            checksum, length, kind = FRAGMENT.unpack_from(block, at)
            stop = at + FRAGMENT.size + length
            if kind == length == checksum == 0:
                at = end  # space that was set aside and never written
                yield 0, BROKEN, b""
                break
            if kind in SEEDS and end < stop <= BLOCK:
                break  # the file ends here, for now
            content = block[at + FRAGMENT.size : stop]
            if kind not in SEEDS or stop > BLOCK or zlib.crc32(content, SEEDS[kind]) != checksum:
                if end == BLOCK:
                    lost.n_places += 1
                    lost.n_bytes += end - at
                    at = end
                    yield 0, BROKEN, b""
                break
            at, n_blank = stop, 0
            yield base + stop, kind, content
        if end < BLOCK:
            lost.n_tail += end - at
            return
        at, n_blank = base + BLOCK, n_blank + 1
    lost.is_blank = True


def _block(file: BinaryIO, base: int) -> bytes:
    try:
        file.seek(base)
        return file.read(BLOCK)
    except (OSError, ValueError) as error:
        raise SourceError(f"cannot be read: {error}") from error


@dataclass(slots=True)
class Said:
    """What a log says of its run, history aside."""

    run: dict[str, Any] = field(default_factory=dict)
    """``run_id``, ``entity``, ``project``, ``name`` …"""
    config: dict[tuple[str, ...], bytes] = field(default_factory=dict)
    """Path of a key → its value as JSON."""
    summary: dict[tuple[str, ...], bytes] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    alerts: list[str] = field(default_factory=list)
    objectives: dict[str, str] = field(default_factory=dict)
    artifacts: list[dict[str, Any]] = field(default_factory=list)
    exit_code: int | None = None
    """None without a record of the run's end."""
    runtime_s: int = 0
    release: str = ""
    """Of the tool."""

    def hear(self, record: bytes) -> None:
        """Take in one record.

        Raises
        ------
        SourceError
            If it cannot be decoded.
        """
        for number, content in wire.fields(record):
            if isinstance(content, bytes) and number in HEARD:
                HEARD[number](self, content)

    def hear_run(self, message: bytes) -> None:
        """Take in a ``RunRecord``; a later one replaces what it says anew."""
        tags = []
        for number, content in wire.fields(message):
            if number in RUN_TEXTS:
                self.run[RUN_TEXTS[number]] = wire.text(content)
            elif number == 10:
                tags.append(wire.text(content))
            elif number == 17:
                self.run["start_time"] = wire.seconds(content)
            elif number == 14:
                self.run["starting_step"] = wire.signed(content)
            elif number == 18:
                self.run["resumed"] = bool(content)
            elif isinstance(content, bytes):
                self._hear_part_of_run(number, content)
        if tags:
            self.run["tags"] = tags

    def _hear_part_of_run(self, number: int, content: bytes) -> None:
        if number == 4:
            self.hear_config(content)
        elif number == 5:
            self.hear_summary(content)
        elif number == 21:
            self._hear_git(content)
        elif number == 23:
            parts = dict(wire.fields(content))
            self.run["forked_from"] = wire.text(parts.get(1, b""))

    def _hear_git(self, message: bytes) -> None:
        parts = dict(wire.fields(message))
        for number, name in ((1, "git_remote"), (2, "git_commit")):
            if found := wire.text(parts.get(number, b"")):
                self.environment[name] = found

    def hear_config(self, message: bytes) -> None:
        """Take in a ``ConfigRecord``."""
        _update(self.config, message)

    def hear_summary(self, message: bytes) -> None:
        """Take in a ``SummaryRecord``."""
        _update(self.summary, message)

    def hear_alert(self, message: bytes) -> None:
        """Take in an ``AlertRecord``."""
        title, body, level = (wire.text(dict(wire.fields(message)).get(number, b"")) for number in (1, 2, 3))
        if len(self.alerts) < 100:
            self.alerts.append(f"alert{f' ({level})' if level else ''}: {title}{f': {body}' if body else ''}"[:2_000])

    def hear_metric(self, message: bytes) -> None:
        """Take in a ``MetricRecord``: which way is better."""
        parts = dict(wire.fields(message))
        goal, name = parts.get(8, 0), wire.text(parts.get(1, b""))
        if name and isinstance(goal, int) and goal in GOALS:
            self.objectives[name] = GOALS[goal]

    def hear_exit(self, message: bytes) -> None:
        """Take in a ``RunExitRecord``: the run has ended."""
        parts = dict(wire.fields(message))
        self.exit_code, self.runtime_s = wire.signed(parts.get(1, 0)), wire.signed(parts.get(2, 0))

    def hear_environment(self, message: bytes) -> None:
        """Take in an ``EnvironmentRecord``; a later, emptier one replaces nothing."""
        command = []
        for number, content in wire.fields(message):
            if number in ENVIRONMENT_TEXTS:
                self.environment[ENVIRONMENT_TEXTS[number]] = wire.text(content)
            elif number == 5:
                command.append(wire.text(content))
            elif number in ENVIRONMENT_COUNTS and isinstance(content, int):
                self.environment[ENVIRONMENT_COUNTS[number]] = content
            elif number == 9 and isinstance(content, bytes):
                self._hear_git(content)
        if command:
            self.environment["args"] = command

    def hear_artifact(self, message: bytes) -> None:
        """Take in an ``ArtifactRecord``."""
        parts = dict(wire.fields(message))
        name = wire.text(parts.get(5, b""))
        if name and len(self.artifacts) < 1_000:
            found = {"name": name, "uri": wire.text(parts.get(6, b"")), "type": wire.text(parts.get(4, b""))}
            self.artifacts.append({key: value for key, value in found.items() if value})

    def hear_header(self, message: bytes) -> None:
        """Take in a ``HeaderRecord``: which release wrote this."""
        for number, content in wire.fields(message):
            if number == 1 and isinstance(content, bytes):
                self.release = wire.text(dict(wire.fields(content)).get(1, b"")).partition("+")[0]


HEARD: Final = {
    SUMMARY: Said.hear_summary,
    CONFIG: Said.hear_config,
    ARTIFACT: Said.hear_artifact,
    ALERT: Said.hear_alert,
    METRIC: Said.hear_metric,
    RUN: Said.hear_run,
    EXIT: Said.hear_exit,
    HEADER_RECORD: Said.hear_header,
    ENVIRONMENT: Said.hear_environment,
}
RUN_TEXTS: Final = {
    1: "run_id",
    2: "entity",
    3: "project",
    6: "group",
    7: "job_type",
    8: "name",
    9: "notes",
    12: "sweep_id",
    13: "host",
}
ENVIRONMENT_TEXTS: Final = {
    1: "os",
    2: "python",
    4: "docker",
    6: "program",
    12: "hostname",
    13: "user",
    14: "executable",
    18: "gpu",
    25: "cuda",
}
ENVIRONMENT_COUNTS: Final = {16: "cpu_count", 19: "gpu_count"}


def _update(there: dict[tuple[str, ...], bytes], message: bytes) -> None:
    """Apply a record of items that are set and of items that are removed."""
    for number, content in wire.fields(message):
        if not isinstance(content, bytes):
            continue
        if number == 1:
            path, value = item(content)
            there[path] = value
        elif number == 2:
            path, _ = item(content)
            for other in [one for one in there if one[: len(path)] == path]:
                del there[other]


def item(message: bytes) -> tuple[tuple[str, ...], bytes]:
    """Return the key and the value, as JSON, of an item of config, summary or history.

    History has values as JSON in field 16, or, in the schema since 0.31, as one of the typed fields 3 to 8.
    """
    path: list[str] = []
    value = b"null"
    for number, content in wire.fields(message):
        if number in (1, 2):
            if content:
                path.append(wire.text(content))
        elif number == 5:
            value = str(wire.zigzag(content)).encode()
        elif number == 4:
            value = b"true" if content else b"false"
        elif number == 6:
            value = repr(wire.double(content)).encode()
        elif number == 7:
            value = b'""'  # text is no point of a curve
        elif number in (8, 16) and isinstance(content, bytes):
            value = content
    return tuple(path), value

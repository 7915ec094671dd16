"""What event files say of a run beside its curves: parameters, how it ended, texts, who wrote them.

Looks at the beginning and the end of each file only, where writers put these; curves are not read.
"""

from __future__ import annotations

import json
import os
import re
import socket
import struct
import time
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psutil

from advisor.errors import SourceError
from advisor.sources.reading import flat, open_file
from advisor.sources.tensorboard_wire import (
    BYTES,
    FIXED64,
    VARINT,
    Value,
    read_struct_value,
    read_text,
    read_value,
    spans,
    text,
    varint,
)
from advisor.sources.tfrecord import RecordFile, find_start, is_intact, last_record
from advisor.sources.values import from_text
from storage.records import RunState

HEAD_BYTES: Final = 256 * 2**10
TAIL_BYTES: Final = 64 * 2**10
NOTE_AT_MOST: Final = 2_000
"""Characters of a text that is kept as a note."""
NOTES_AT_MOST: Final = 20
PARAMETER_TEXTS: Final = frozenset({"args", "config", "hparams", "hyperparameters", "parameters", "params"})
"""Tags of texts that hold the run's parameters; those of others get the tag before their names."""
AT_ONCE_S: Final = 0.1
"""Between beginning and end of a session, where PyTorch and Lightning write both as soon as parameters are logged: that
says nothing of how the run ended."""
ALIVE_S: Final = 3_600.0
"""A process that lives but wrote nothing for an hour, a notebook's for instance, has most likely ended its training."""
NAME: Final = re.compile(r"tfevents\.(?P<time>[0-9]{1,12})(?:\.[0-9]+)?\.(?P<rest>.+)")
_WRITER: Final = re.compile(r"(?P<host>.+?)\.(?P<pid>[0-9]{1,10})\.[0-9]{1,6}(?:\.|$)")
_STATES: Final = {1: RunState.FINISHED, 2: RunState.FAILED}
"""Of the plugin for parameters; 3 says that it runs, which nobody takes back when it is killed."""
_TABLE_ROW: Final = re.compile(r"\|([^|\n]+)\|([^\n]*?)\|?[ \t]*$", re.MULTILINE)
_WANTED: Final = (b"\x0a\x07hparams", b"\x0a\x04text")
"""How the names of the two plugins stand in a record."""


@dataclass(slots=True)
class Head:
    """What was found in a run's files."""

    params: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    state: RunState | None = None
    first_s: float | None = None
    """When the first record was written, seconds since 1970."""
    last_s: float | None = None
    """When the last whole one was."""
    ended_s: float | None = None
    group: str | None = None
    figures: dict[str, float] = field(default_factory=dict)
    """Last values of scalars that were logged with the parameters."""
    session: float | None = None
    """When the record with the parameters was written, seconds since 1970."""
    texts: dict[str, str] = field(default_factory=dict)


def order_of(name: str) -> tuple[int, str]:
    """Return what event files are sorted by: the time in the name, then the name."""
    found = NAME.search(name)
    return int(found["time"]) if found else 0, name


def read_head(paths: Sequence[Path]) -> Head:
    """Return what the files of a run say beside its curves; a file that cannot be read says nothing."""
    head = Head()
    for path in paths:
        try:
            for data, start, end in _told(path, head):
                _take(head, data, start, end)
        except SourceError:
            continue
    for tag, said in head.texts.items():
        name = tag.removesuffix("/text_summary")
        found = _parameters_of_text(said)
        prefix = "" if name.lower() in PARAMETER_TEXTS else f"{name}."
        head.params = {**{f"{prefix}{key}": value for key, value in found.items()}, **head.params}
        if said and not found and len(said) <= NOTE_AT_MOST and len(head.notes) < NOTES_AT_MOST:
            head.notes.append(f"{name}: {said}")
    return head


def _told(path: Path, head: Head) -> Iterator[tuple[bytes, int, int]]:
    """Yield records of the two plugins at the beginning and at the end of a file."""
    offset = 0
    with RecordFile(path) as file:
        for block in file.records(most=HEAD_BYTES):
            if block.starts and head.first_s is None:
                head.first_s = _time(block.data, block.starts[0], block.ends[0])
            if block.starts:
                head.last_s = _time(block.data, block.starts[-1], block.ends[-1])
            for i in _records_with(block.data, block.starts):
                if is_told_whole(block.data, block.starts[i], block.ends[i]):
                    yield block.data, block.starts[i], block.ends[i]
        offset = file.offset
    yield from _at_the_end(path, offset, head)


def _at_the_end(path: Path, after: int, head: Head) -> Iterator[tuple[bytes, int, int]]:
    with open_file(path) as file:
        size = os.fstat(file.fileno()).st_size
        if after >= size:
            return
        try:
            file.seek(max(after, size - TAIL_BYTES))
            data = file.read(TAIL_BYTES)
        except OSError:
            return
    last = last_record(data)
    head.last_s = (last and _time(data, *last)) or head.last_s
    done = 0
    for needle in _WANTED:
        at = data.find(needle)
        while at >= 0 and done < 50:
            done += 1
            start = find_start(data, at)
            if start is not None:
                end = start + struct.unpack_from("<Q", data, start - 12)[0]
                if is_told_whole(data, start, end):
                    yield data, start, end
            at = data.find(needle, at + 1)


def is_told_whole(data: bytes, start: int, end: int) -> bool:
    """Return whether a record is intact; beyond 64 kB nobody wrote parameters."""
    return end - start <= 65_536 and is_intact(data, start, end)


def _records_with(data: bytes, starts: Sequence[int]) -> list[int]:
    found: set[int] = set()
    for needle in _WANTED:
        at = data.find(needle)
        while at >= 0 and len(found) < 1_000:
            found.add(bisect_right(starts, at) - 1)
            at = data.find(needle, at + 1)
    return sorted(i for i in found if i >= 0)


def _time(data: bytes, start: int, end: int) -> float | None:
    """Return an event's time, which is its first field."""
    return float(struct.unpack_from("<d", data, start + 1)[0]) if start + 9 <= end and data[start] == 9 else None


def _take(head: Head, data: bytes, start: int, end: int) -> None:
    try:
        at_s = _time(data, start, end) or 0.0
        for number, kind, first, last in spans(data, start, end):
            if number != 5 or kind != BYTES:
                continue
            for inner, inner_kind, a, b in spans(data, first, last):
                if inner == 1 and inner_kind == BYTES:
                    _take_value(head, data, read_value(data, a, b), at_s)
    except SourceError:
        return


def _take_value(head: Head, data: bytes, value: Value, at_s: float) -> None:
    if value.plugin == "text" and value.kind == "tensor" and value.tag not in head.texts and len(head.texts) < 100:
        head.texts[value.tag] = read_text(data, *value.at) or ""
    elif value.plugin == "hparams":
        for number, kind, first, last in spans(value.content, 0, len(value.content)):
            if number == 3 and kind == BYTES:
                head.session = at_s
                _take_start(head, value.content[first:last])
            elif number == 4 and kind == BYTES:
                _take_end(head, value.content[first:last], at_s)


def _take_start(head: Head, message: bytes) -> None:
    given: dict[str, Any] = {}
    for number, kind, first, last in spans(message, 0, len(message)):
        if number == 1 and kind == BYTES:
            pair = {n: (a, b) for n, k, a, b in spans(message, first, last) if k == BYTES}
            if 1 in pair:
                given[text(message, *pair[1])] = read_struct_value(message[slice(*pair.get(2, (0, 0)))])
        elif number == 4 and kind == BYTES:
            head.group = text(message, first, last)
    head.params |= flat(given)


def _take_end(head: Head, message: bytes, at_s: float) -> None:
    for number, kind, first, last in spans(message, 0, len(message)):
        if number == 1 and kind == VARINT:
            state = _STATES.get(varint(message, first, last)[0])
            is_at_once = head.session is not None and abs(at_s - head.session) < AT_ONCE_S
            head.state = None if is_at_once and state is RunState.FINISHED else state
        elif number == 2 and kind == FIXED64:
            head.ended_s = struct.unpack_from("<d", message, first)[0]


def _parameters_of_text(said: str) -> dict[str, Any]:
    """Return the parameters that a text holds: a JSON object, or a Markdown table of names and values.

    The former is what the trainer of Transformers writes, the latter what CleanRL's scripts do.
    """
    body = said.strip().removeprefix("```json").strip("` \n")
    if body.startswith("{"):
        try:
            content = json.loads(body)
        except (ValueError, RecursionError):
            return {}
        return flat(content) if isinstance(content, dict) else {}
    rows = _TABLE_ROW.findall(said)
    if len(rows) < 3 or not re.fullmatch(r"[ :]*-+[ :]*", rows[1][0]) or "|" in rows[0][1]:
        return {}
    return {name.strip()[:500]: from_text(value.strip()) for name, value in rows[2:2_000]}


# -- who writes


def writer_of(name: str) -> tuple[str | None, int | None]:
    """Return the machine and the process that an event file's name holds."""
    found = NAME.search(name)
    if not found:
        return None, None
    said = _WRITER.match(found["rest"])
    return (said["host"], int(said["pid"])) if said else (found["rest"], None)


def is_written(name: str, written_s: float) -> bool | None:
    """Return whether the process that began a file still writes it; None where that cannot be known.

    Parameters
    ----------
    written_s
        When something was written to it last, seconds since 1970.
    """
    host, pid = writer_of(name)
    began = order_of(name)[0]
    if pid is None or not began or host != socket.gethostname():
        return None
    try:
        is_same = psutil.Process(pid).create_time() <= began + 1
    except psutil.NoSuchProcess:
        return False
    except (psutil.Error, OverflowError, ValueError):
        return None
    if not is_same:
        return False
    return True if time.time() - written_s < ALIVE_S else None

"""The history in W&B's logs: log calls to curves, from the beginning or from where the last reading ended.

A cursor says of each log how far it was read and what lay there, so that a log that was cut off or replaced is noticed.
"""

from __future__ import annotations

import os
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final

from advisor.errors import SourceError
from advisor.sources import reading, wandb_log, wire
from advisor.sources.gathered import NAN, Gathered
from advisor.sources.port import Cursor, Piece

INTERNAL: Final = frozenset({"_wandb", "_step", "_timestamp", "_runtime"})
"""Keys that the tool adds to what was logged."""
HEAD_BYTES: Final = 4_096
TAIL_BYTES: Final = 256
"""Of what was read, by which a log is known again."""
PATHS_AT_MOST: Final = 20_000
"""Remembered as bytes, see ``_row``."""
VALUE: Final = b"\x82\x01"
"""The tag of field 16, a value as JSON."""


def opened(path: Path) -> BinaryIO:
    """Open a log and check how it begins.

    Raises
    ------
    SourceError
        If it cannot be opened, or is no log.
    """
    try:
        file = reading.open_file(path)
    except SourceError as error:
        raise SourceError(f"{path.name!r} {error}") from error
    begin = file.read(len(wandb_log.HEADER))
    if begin != wandb_log.HEADER:
        file.close()
        what = "is empty" if not begin else f"does not begin as a W&B log, which is {wandb_log.HEADER!r}"
        raise SourceError(f"{path.name!r} {what}")
    return file


@dataclass(slots=True)
class At:
    """Where in a run's logs a reading is."""

    shift: int = 0
    """Added to the steps of the log."""
    last: int = -1
    """The largest step so far."""
    begun: bool = False
    """Whether the log has said a step."""
    offset: int = len(wandb_log.HEADER)


@dataclass(slots=True)
class Reading:
    """One reading of a run's history."""

    started_s: float
    gathered: Gathered = field(default_factory=Gathered)
    left_out: Counter[str] = field(default_factory=Counter)
    """Kind of value → how many were no numbers."""
    paths: dict[bytes, tuple[str, ...]] = field(default_factory=dict)
    """The bytes before an item's value → its key: every log call says the same ones."""


def read_logs(paths: Sequence[Path], started_s: float, cursor: Cursor | None) -> Piece:
    """Read the logs of a run one after the other, from a cursor where it still fits."""
    begin = _resume(paths, cursor)
    at = begin or [At()]
    this, notes, kept = Reading(started_s), list[str](), list[dict[str, Any]]()
    place = at[0]
    for i, path in enumerate(paths):
        if begin is not None and i < len(begin):
            last = place.last
            place = begin[i]
            place.last = max(place.last, last)
        elif i:
            place = At(last=place.last)
        lost = wandb_log.Lost()
        with opened(path) as file:
            _read_log(file, place, this, lost)
            mark = _mark(file, place.offset)
        notes += lost.notes(path.name)
        kept.append({"name": path.name, "offset": place.offset, "mark": mark} | _counts(place))
    notes += this.gathered.notes()
    if this.left_out:
        kinds = ", ".join(f"{n:,} of type {kind}" for kind, n in sorted(this.left_out.items())[:10])
        notes.append(f"values that are no numbers were left out: {kinds}")
    return Piece(this.gathered.curves(), is_whole=begin is None, cursor={"logs": kept}, notes=tuple(notes))


def _counts(at: At) -> dict[str, Any]:
    return {"shift": at.shift, "last": at.last, "begun": at.begun}


def _resume(paths: Sequence[Path], cursor: Cursor | None) -> list[At] | None:
    """Return where to go on, None where the logs do not begin as they did."""
    logs = (cursor or {}).get("logs")
    if not isinstance(logs, list) or not logs or len(logs) > len(paths):
        return None
    out = []
    for path, log in zip(paths, logs, strict=False):
        if not isinstance(log, dict) or log.get("name") != path.name:
            return None
        offset, shift, last = (log.get(name) for name in ("offset", "shift", "last"))
        if not (isinstance(offset, int) and isinstance(shift, int) and isinstance(last, int)):
            return None
        with opened(path) as file:
            if os.fstat(file.fileno()).st_size < offset or _mark(file, offset) != log.get("mark"):
                return None
        out.append(At(shift, last, bool(log.get("begun")), offset))
    return out


def _mark(file: BinaryIO, offset: int) -> int:
    """Return a number that tells whether a file still begins as it did up to ``offset``."""
    try:
        file.seek(0)
        head = file.read(min(HEAD_BYTES, offset))
        file.seek(max(offset - TAIL_BYTES, 0))
        return zlib.crc32(file.read(min(TAIL_BYTES, offset)), zlib.crc32(head))
    except OSError as error:
        raise SourceError(f"cannot be read: {error.strerror}") from error


def _read_log(file: BinaryIO, at: At, this: Reading, lost: wandb_log.Lost) -> None:
    follows = at.last >= 0 and not at.begun
    for end, record in wandb_log.records(file, at.offset, lost):
        at.offset = end
        try:
            for number, content in wire.fields(record):
                if number == wandb_log.HISTORY and isinstance(content, bytes):
                    follows = _hear_history(content, at, this, follows)
        except SourceError:
            lost.n_records += 1


def _hear_history(message: bytes, at: At, this: Reading, follows: bool) -> bool:
    """Take in one log call; return whether the log has still to say its first step."""
    row, step = _row(message, this.paths)
    said = reading.whole(wire.text(row.pop(("_step",), b"")))
    if said is None:
        said = step if step is not None else at.last + 1 - at.shift
    if follows:
        at.shift = at.last + 1 if said == 0 else 0
        follows = False
    at.begun = True
    step = said + at.shift
    if abs(step) >= 2**62:
        return follows
    at.last = max(at.last, step)
    stamp = _float(row.pop(("_timestamp",), b""))
    runtime = _float(row.pop(("_runtime",), b""))
    time = stamp - this.started_s if stamp is not None and this.started_s else runtime
    _keep(row, step, NAN if time is None else time, this)
    return follows


def _row(message: bytes, paths: dict[bytes, tuple[str, ...]]) -> tuple[dict[tuple[str, ...], bytes], int | None]:
    """Return the items of a log call as JSON by their paths, and its step where that is said apart."""
    row: dict[tuple[str, ...], bytes] = {}
    step = None
    for number, content in wire.fields(message):
        if not isinstance(content, bytes):
            continue
        if number == 1:
            # Each call names the same keys: one decoded before is looked up, where a length of one byte follows.
            head, _, rest = content.partition(VALUE)
            path = paths.get(head)
            if path is not None and rest and rest[0] < 128 and rest[0] == len(rest) - 1:
                row[path] = rest[1:]
                continue
            path, value = wandb_log.item(content)
            row[path] = value
            if rest and value == rest[1:] and len(paths) < PATHS_AT_MOST:
                paths[head] = path
        elif number == 2:
            step = wire.signed(dict(wire.fields(content)).get(1, 0))
    return row, step


def _float(raw: bytes) -> float | None:
    try:
        return float(raw)
    except ValueError:
        return None


def _keep(row: Mapping[tuple[str, ...], bytes], step: int, time: float, this: Reading) -> None:
    add = this.gathered.add
    media = media_in(row)
    this.left_out.update(media.values())
    for path, raw in row.items():
        name = path[0] if len(path) == 1 else ".".join(path)
        if (media and is_below(path, media)) or not name or name in INTERNAL:
            continue
        try:
            add(name, step, float(raw), time)
        except ValueError:
            _keep_other(name, raw, step, time, this)


def media_in(items: Mapping[tuple[str, ...], bytes]) -> dict[tuple[str, ...], str]:
    """Return which paths are media, and of what kind: the latest releases write each of its fields as an item."""
    return {
        path[:-1]: wire.text(raw).strip('"')[:40]
        for path, raw in items.items()
        if len(path) > 1 and path[-1] == "_type"
    }


def is_below(path: tuple[str, ...], media: Mapping[tuple[str, ...], str]) -> bool:
    """Return whether a path lies in one of those."""
    return any(path[:n] in media for n in range(1, len(path)))


def _keep_other(name: str, raw: bytes, step: int, time: float, this: Reading) -> None:
    """Take in a value that is no plain number: nested ones are kept by their path, others counted."""
    try:
        value = reading.parse_json(raw)
    except SourceError:
        this.left_out["unknown"] += 1
        return
    for path, one in leaves(name, value, 0):
        found = float(one) if isinstance(one, (bool, int, float)) else _written(one)
        if found is not None:
            this.gathered.add(path, step, found, time)
        elif one is not None:
            this.left_out[_kind(one)] += 1


def _written(value: Any) -> float | None:
    """Return NaN or infinity that is written as text."""
    return reading.NON_FINITE.get(value.lower()) if isinstance(value, str) else None


def leaves(name: str, value: Any, depth: int) -> Iterator[tuple[str, Any]]:
    """Yield a value, or what a nested one holds by paths; media stay whole."""
    if isinstance(value, dict) and "_type" not in value and depth < reading.DEPTH_AT_MOST:
        for key, one in value.items():
            yield from leaves(f"{name}.{key[:500]}", one, depth + 1)
    else:
        yield name, value


def _kind(value: Any) -> str:
    if isinstance(value, dict):
        return str(value.get("_type", "mapping"))[:40]
    return "text" if isinstance(value, str) else "list"

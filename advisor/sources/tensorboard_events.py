"""Scalars out of TensorBoard's event files, as fast as they can be told apart.

Nearly all records differ only in time, step and value. The first of each kind is read field by field; where its values
stand is remembered under all the other bytes, and further ones are looked up and read in numpy, a block at a time.

What a restart overwrites is dropped as TensorBoard's ``EventAccumulator`` does: a session that starts at step T ends
all curves before T; in files of TensorFlow before 0.10, which do not announce sessions, a step that goes back ends the
curves of its own tags. (TensorBoard's own page counts steps of the latter files in another way.)
"""

from __future__ import annotations

import struct
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from advisor.errors import SourceError
from advisor.sources.port import Points
from advisor.sources.tensorboard_wire import (
    BYTES,
    FIXED64,
    VARINT,
    WIDTH_OF,
    read_number,
    read_value,
    signed,
    spans,
    text,
    varint,
)
from advisor.sources.tfrecord import CHECKED_BYTES, Block, gathered, is_intact

TAGS_AT_MOST: Final = 10_000
"""Of one run; more are data, not curves."""
SHAPES_AT_MOST: Final = 50_000
"""Kinds of records that are remembered, of ``SHAPE_MAX_BYTES`` each."""
SHAPE_MAX_BYTES: Final = 4_096
SESSION_START: Final = 1
SCALAR_PLUGINS: Final = ("", "scalars")
NO_STEP: Final = -(2**63)


@dataclass(slots=True)
class _Shape:
    """Records that differ in time, step and values only."""

    values: list[tuple[str, int, str]]
    """Tag, where its value stands, and the type of that."""
    numbers: list[int] = field(default_factory=list)
    """Which records of the block they are."""
    starts: list[int] = field(default_factory=list)
    tails: list[int] = field(default_factory=list)
    """Where, behind time and step, the rest begins."""
    steps: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Part:
    """Points of one tag within a block."""

    numbers: NDArray[np.int64]
    steps: NDArray[np.int64]
    values: NDArray[np.float64]
    times: NDArray[np.float64]


class Scalars:
    """Takes blocks of records in their order, gives the curves."""

    def __init__(self, known: Any = None) -> None:
        """Begin, or go on with what ``memory`` returned."""
        self.left_out: Counter[str] = Counter()
        """Values of other kinds than scalars, by kind."""
        self.n_damaged = 0
        self.purged_step: int | None = None
        """The smallest step from which on points were dropped."""
        self.largest_step = NO_STEP
        known = known if isinstance(known, dict) else {}
        self._others: dict[str, str] = dict(known.get("others", {}))
        """Plugins of tags that are no scalars."""
        self._is_old = bool(known.get("old", True))
        self._recent = int(known.get("recent", NO_STEP))
        self._tags: dict[str, list[_Part]] = {}
        self._layouts: dict[int, list[tuple[tuple[int, int], ...]]] = {}
        self._shapes: dict[tuple[bytes, ...], _Shape] = {}
        self._single: dict[str, list[tuple[int, int, float, float]]] = {}
        self._ends: list[tuple[int, int]] = []
        """Of all curves in this block: the record that says so, and the step."""
        self._ends_of: dict[str, list[tuple[int, int]]] = {}

    def memory(self) -> dict[str, Any]:
        """Return what has to be known to go on, as JSON."""
        return {"others": self._others, "old": self._is_old, "recent": self._recent}

    def feed(self, block: Block) -> None:
        """Take some records."""
        data, layouts, shapes = block.data, self._layouts, self._shapes
        for i, (start, end) in enumerate(zip(block.starts, block.ends, strict=True)):
            at = start + 9
            if at + 2 > end or data[start] != 9:
                self._read(i, data, start, end)
                continue
            step = 0
            if data[at] == 16:
                step, at = _step(data, at + 1, end)
            shape = None
            for cuts in layouts.get(end - at, ()):
                shape = shapes.get(tuple([data[at + a : at + b] for a, b in cuts]))
                if shape is not None:
                    break
            if shape is None or self._is_old:
                self._read(i, data, start, end)
                continue
            shape.numbers.append(i)
            shape.starts.append(start)
            shape.tails.append(at)
            shape.steps.append(step)
        self._take(data)

    def curves(self, started: float) -> dict[str, Points]:
        """Return the curves, times counted from a moment in seconds since 1970."""
        out = {}
        for tag, parts in self._tags.items():
            if not parts:
                continue
            steps, values, times = (
                np.concatenate([getattr(part, name) for part in parts]) for name in ("steps", "values", "times")
            )
            if steps.size:
                out[tag] = Points(steps, values, times - started)
        return out

    # -- one record, field by field

    def _read(self, i: int, data: bytes, start: int, end: int) -> None:
        try:
            self._read_event(i, data, start, end)
        except SourceError:
            self.n_damaged += 1

    def _read_event(self, i: int, data: bytes, start: int, end: int) -> None:
        time, step, summary = 0.0, 0, None
        starts_session = False
        for number, kind, first, last in spans(data, start, end):
            if number == 1 and kind == FIXED64:
                time = struct.unpack_from("<d", data, first)[0]
            elif number == 2 and kind == VARINT:
                step = signed(varint(data, first, last)[0])
            elif number == 3 and kind == BYTES:
                self._is_old = _version(text(data, first, last)) < 2
            elif number == 5 and kind == BYTES:
                summary = first, last
            elif number == 7 and kind == BYTES:
                starts_session = any(
                    n == 1 and k == VARINT and varint(data, a, b)[0] == SESSION_START
                    for n, k, a, b in spans(data, first, last)
                )
            elif number in (4, 9):
                self.left_out["graphs"] += 1
        if starts_session and not self._is_old:
            self._ends.append((i, step))
        goes_back = self._is_old and summary is not None and step < self._recent
        if self._is_old and not goes_back:
            self._recent = step
        if summary is not None:
            self._read_summary(i, data, (start, end), summary, (time, step), goes_back=goes_back)

    def _read_summary(
        self,
        i: int,
        data: bytes,
        record: tuple[int, int],
        summary: tuple[int, int],
        at: tuple[float, int],
        *,
        goes_back: bool,
    ) -> None:
        time, step = at
        found: list[tuple[str, int, str]] = []
        is_plain, tags = True, []
        if record[1] - record[0] > CHECKED_BYTES and not is_intact_within(data, *record):
            self.n_damaged += 1
            return
        singles: list[tuple[str, float]] = []
        for number, kind, first, last in spans(data, *summary):
            if number != 1 or kind != BYTES:
                continue
            value = read_value(data, first, last)
            tags.append(value.tag)
            if value.plugin is not None and value.plugin not in SCALAR_PLUGINS:
                self._others.setdefault(value.tag, value.plugin)
            if value.kind == "scalar":
                found.append((value.tag, value.at[0], "<f4"))
                continue
            plugin = self._others.get(value.tag, "")
            one = read_number(data, *value.at) if value.kind == "tensor" and plugin in SCALAR_PLUGINS else None
            if one is not None and one.at >= 0:
                found.append((value.tag, one.at, one.dtype))
                continue
            is_plain = False
            if one is None:
                self._leave_out(value.kind, plugin)
            else:
                singles.append((value.tag, one.value))
        if goes_back:
            for tag in tags:
                self._ends_of.setdefault(tag, []).append((i, step))
        found = [each for each in found if self._is_taken(each[0])]
        singles += [(tag, _number(data, at, dtype)) for tag, at, dtype in found]
        for tag, one_value in singles:
            if self._is_taken(tag):
                self._single.setdefault(tag, []).append((i, step, one_value, time))
        if is_plain and found:
            self._remember(data, *record, found)

    def _leave_out(self, kind: str, plugin: str) -> None:
        if kind and plugin not in ("hparams", "text"):
            named = plugin if plugin not in SCALAR_PLUGINS else kind
            self.left_out[named if named.endswith("s") or named == "audio" else f"{named}s"] += 1

    def _is_taken(self, tag: str) -> bool:
        if tag in self._tags:
            return True
        if len(self._tags) >= TAGS_AT_MOST:
            self.left_out[f"points of tags beyond {TAGS_AT_MOST:,}"] += 1
            return False
        self._tags[tag] = []
        return True

    def _remember(self, data: bytes, start: int, end: int, found: list[tuple[str, int, str]]) -> None:
        """Remember where the values of such a record stand."""
        at = start + 9
        if data[start] != 9 or len(self._shapes) >= SHAPES_AT_MOST:
            return
        if data[at] == 16:
            at = _step(data, at + 1, end)[1]
        if end - at > SHAPE_MAX_BYTES or data[at] != 0x2A:  # the summary comes next, and nothing behind time and step
            return
        edges = [0]
        for _, first, dtype in sorted(found, key=lambda each: each[1]):
            edges += [first - at, first - at + WIDTH_OF[dtype]]
        edges.append(end - at)
        if any(a > b for a, b in pairwise(edges)):
            return
        cuts = tuple(zip(edges[::2], edges[1::2], strict=True))
        layouts = self._layouts.setdefault(end - at, [])
        if cuts not in layouts:
            if len(layouts) >= 8:
                return
            layouts.append(cuts)
        key = tuple([data[at + a : at + b] for a, b in cuts])
        self._shapes[key] = _Shape([(tag, first - at, dtype) for tag, first, dtype in found])

    # -- a block at once

    def _take(self, data: bytes) -> None:
        """Read the values of all records that have a known shape, and put them behind what there is."""
        parts: dict[str, list[_Part]] = {}
        for shape in self._shapes.values():
            if shape.numbers:
                _add_shape(parts, shape, data)
        for tag, points in self._single.items():
            numbers, steps, values, times = zip(*points, strict=True)
            whole = np.array(numbers, np.int64), np.array(steps, np.int64)
            parts.setdefault(tag, []).append(_Part(*whole, np.array(values), np.array(times)))
        self._single.clear()
        self._purge_before()
        for tag, some in parts.items():
            part = self._purged(tag, _joined(some))
            if part.steps.size:
                self.largest_step = max(self.largest_step, int(part.steps.max()))
            self._tags[tag].append(part)
        self._ends.clear()
        self._ends_of.clear()

    def _purge_before(self) -> None:
        """Drop what earlier blocks brought."""
        for purges in (self._ends, *self._ends_of.values()):
            for _, step in purges:
                self.purged_step = step if self.purged_step is None else min(self.purged_step, step)
        for tag in self._tags if self._ends else self._ends_of:
            first = min((step for _, step in self._purges_of(tag)), default=None)
            if first is not None and tag in self._tags:
                self._tags[tag] = [_kept(part, part.steps < first) for part in self._tags[tag]]

    def _purges_of(self, tag: str) -> list[tuple[int, int]]:
        return sorted(self._ends + self._ends_of.get(tag, []))

    def _purged(self, tag: str, part: _Part) -> _Part:
        """Drop points that a later record of the block ends: those from the smallest step on that follows."""
        purges = self._purges_of(tag)
        if not purges:
            return part
        numbers, steps = np.array(purges, dtype=np.int64).T
        smallest = np.minimum.accumulate(steps[::-1])[::-1]
        next_one = np.searchsorted(numbers, part.numbers, side="right")
        is_last = next_one == len(numbers)
        return _kept(part, is_last | (part.steps < smallest[np.minimum(next_one, len(numbers) - 1)]))


def is_intact_within(data: bytes, start: int, end: int) -> bool:
    """Return whether a long record is intact; beyond 64 kB, where that takes too long, it is believed."""
    return end - start > 65_536 or is_intact(data, start, end)


def _add_shape(parts: dict[str, list[_Part]], shape: _Shape, data: bytes) -> None:
    numbers, steps = np.array(shape.numbers, np.int64), np.array(shape.steps, np.int64)
    times = gathered(data, np.array(shape.starts) + 1, 8).view("<f8")[:, 0]
    tails = np.array(shape.tails)
    for tag, offset, dtype in shape.values:
        values = _values(gathered(data, tails + offset, WIDTH_OF[dtype]), dtype)
        parts.setdefault(tag, []).append(_Part(numbers, steps, values, times))
    for some in (shape.numbers, shape.steps, shape.starts, shape.tails):
        some.clear()


def _values(raw: NDArray[np.uint8], dtype: str) -> NDArray[np.float64]:
    """Return numbers of a type as float64; raw has the shape (n, width)."""
    if dtype == "bfloat16":
        return (raw.view("<u2")[:, 0].astype("<u4") << np.uint32(16)).view("<f4").astype(np.float64)
    return raw.view(dtype)[:, 0].astype(np.float64)


def _number(data: bytes, at: int, dtype: str) -> float:
    return float(_values(gathered(data, np.array([at]), WIDTH_OF[dtype]), dtype)[0])


def _joined(parts: list[_Part]) -> _Part:
    """Return points of several kinds of records in the order of the records."""
    if len(parts) == 1:
        return parts[0]
    numbers = np.concatenate([part.numbers for part in parts])
    order = np.argsort(numbers, kind="stable")
    steps, values, times = (
        np.concatenate([getattr(part, name) for part in parts])[order] for name in ("steps", "values", "times")
    )
    return _Part(numbers[order], steps, values, times)


def _kept(part: _Part, mask: NDArray[np.bool_]) -> _Part:
    if mask.all():
        return part
    return _Part(part.numbers[mask], part.steps[mask], part.values[mask], part.times[mask])


def _step(data: bytes, at: int, end: int) -> tuple[int, int]:
    """Return a step and where it ends; one that does not end counts as 0 and is refused field by field."""
    value = shift = 0
    for i in range(at, min(at + 10, end)):
        byte = data[i]
        value |= (byte & 127) << shift
        if byte < 128:
            return signed(value) if shift > 55 else value, i + 1
        shift += 7
    return 0, end


def _version(said: str) -> float:
    prefix, _, number = said.partition(":")
    try:
        return float(number) if prefix == "brain.Event" else 0.0
    except ValueError:
        return 0.0

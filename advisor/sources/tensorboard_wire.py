"""TensorBoard's messages (``Event``, ``Summary``, ``TensorProto``) in protobuf's wire format: where each field stands.

Positions rather than contents, since the same position holds the same value in thousands of records, which are then
read at once. Nothing is executed and nothing outside of a message is looked at.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from advisor.errors import SourceError

Span: TypeAlias = "tuple[int, int, int, int]"
"""Number of the field, its kind, and where its content begins and ends; a varint's content is its bytes."""

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_WIDTHS: Final = {FIXED64: 8, FIXED32: 4}


def spans(data: bytes, at: int, end: int) -> Iterator[Span]:
    """Yield the fields of the message between two places.

    Raises
    ------
    SourceError
        If it is no such message.
    """
    while at < end:
        key, at = varint(data, at, end)
        number, kind = key >> 3, key & 7
        if kind == BYTES:
            size, at = varint(data, at, end)
        elif kind == VARINT:
            size = varint(data, at, end)[1] - at
        elif kind in _WIDTHS:
            size = _WIDTHS[kind]
        else:
            raise SourceError(f"holds a field of the unknown kind {kind}")
        if at + size > end:
            raise SourceError("holds a field that is longer than the record around it")
        yield number, kind, at, at + size
        at += size


def varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    """Return a number of seven bits a byte, and where it ends."""
    value = shift = 0
    for i in range(at, min(at + 10, end)):
        byte = data[i]
        value |= (byte & 127) << shift
        if byte < 128:
            return value, i + 1
        shift += 7
    raise SourceError("holds a number that does not end")


def signed(value: int) -> int:
    """Return a varint as ``int64``, which is written as if it had no sign."""
    value &= 2**64 - 1
    return value - 2**64 if value >= 2**63 else value


@dataclass(slots=True)
class Value:
    """One value of a summary, not read yet."""

    tag: str = ""
    kind: str = ""
    """Which of a value's kinds it is: ``scalar``, ``tensor``, ``image``, ``histogram``, ``audio``; empty for none."""
    at: tuple[int, int] = (0, 0)
    """Where the content stands."""
    plugin: str | None = None
    """None where the value does not say: then what was said first of its tag holds."""
    content: bytes = b""
    """What the plugin keeps beside the value."""


_KINDS: Final = {2: "scalar", 3: "histogram", 4: "image", 5: "histogram", 6: "audio", 8: "tensor"}
DATA_CLASS_SCALAR: Final = 1


def read_value(data: bytes, at: int, end: int) -> Value:
    """Return one ``Summary.Value``."""
    value = Value()
    node = ""
    for number, kind, start, stop in spans(data, at, end):
        if number in _KINDS and (kind == FIXED32 if number == 2 else kind == BYTES):
            value.kind, value.at = _KINDS[number], (start, stop)
        elif number == 1 and kind == BYTES:
            value.tag = text(data, start, stop)
        elif number == 7 and kind == BYTES:
            node = text(data, start, stop)
        elif number == 9 and kind == BYTES:
            _read_metadata(value, data, start, stop)
    value.tag = value.tag or node
    return value


def _read_metadata(value: Value, data: bytes, at: int, end: int) -> None:
    value.plugin = ""
    for number, kind, start, stop in spans(data, at, end):
        if number == 1 and kind == BYTES:
            for inner, inner_kind, first, last in spans(data, start, stop):
                if inner == 1 and inner_kind == BYTES:
                    value.plugin = text(data, first, last)
                elif inner == 2 and inner_kind == BYTES:
                    value.content = data[first:last]
        elif number == 4 and kind == VARINT and not value.plugin:
            value.plugin = "scalars" if varint(data, start, stop)[0] == DATA_CLASS_SCALAR else ""


def text(data: bytes, at: int, end: int) -> str:
    """Return a field as text; bytes that are none become ``�``."""
    return data[at:end].decode(errors="replace")


# -- tensors of one number

DTYPES: Final[Mapping[int, str]] = {
    1: "<f4",
    2: "<f8",
    3: "<i4",
    4: "u1",
    5: "<i2",
    6: "i1",
    9: "<i8",
    10: "?",
    14: "bfloat16",
    17: "<u2",
    19: "<f2",
    22: "<u4",
    23: "<u8",
}
"""Of TensorFlow's numbers of types, as numpy writes them; the sixteen-bit float that numpy lacks by its name."""
STRING: Final = 7
WIDTH_OF: Final = {"<f4": 4, "<f8": 8, "<i4": 4, "u1": 1, "<i2": 2, "i1": 1, "<i8": 8, "?": 1} | {
    "bfloat16": 2,
    "<u2": 2,
    "<f2": 2,
    "<u4": 4,
    "<u8": 8,
}
_FIXED: Final = {5: "<f4", 6: "<f8"}
"""Fields ``float_val`` and ``double_val``."""
_VARIED: Final = frozenset({7, 10, 11, 13, 16, 17})
"""Fields of whole numbers, truth values and half floats, as varints."""


_CONTENT: Final[Mapping[int, tuple[int, ...]]] = {
    4: (BYTES,),
    **dict.fromkeys(_FIXED, (BYTES, FIXED32, FIXED64)),
    **dict.fromkeys(_VARIED, (BYTES, VARINT)),
}
"""Fields of a tensor in which its numbers may stand, and the kinds that these have."""


@dataclass(frozen=True, slots=True)
class Number:
    """A tensor of one number: where it stands, or, where its width varies, what it is."""

    at: int = -1
    dtype: str = ""
    value: float = 0.0


def read_number(data: bytes, at: int, end: int) -> Number | None:
    """Return the number that a tensor holds; None where it holds none or several.

    Source: ``tensor.proto`` and ``tensor_util.py`` of TensorFlow; a tensor without content is zero.
    """
    dtype, n, found = 0, 1, None
    for number, kind, start, stop in spans(data, at, end):
        if number == 1 and kind == VARINT:
            dtype = varint(data, start, stop)[0]
        elif number == 2 and kind == BYTES:
            n = _size(data, start, stop)
        elif kind in _CONTENT.get(number, ()) and stop > start:
            found = number, start, stop
    name = DTYPES.get(dtype)
    if n != 1 or name is None:
        return None
    if found is None:
        return Number()
    field, start, stop = found
    if field in _VARIED:
        bits, after = varint(data, start, stop)
        return Number(value=_from_bits(bits, name)) if after == stop else None
    name = _FIXED.get(field, name)
    return Number(start, name) if stop - start == WIDTH_OF[name] else None


def _size(data: bytes, at: int, end: int) -> int:
    """Return how many numbers a tensor of a shape has."""
    n = 1
    for number, kind, start, stop in spans(data, at, end):
        if number == 2 and kind == BYTES:
            sizes = [varint(data, first, last)[0] for inner, _, first, last in spans(data, start, stop) if inner == 1]
            n *= sizes[-1] if sizes else 0
    return n


def _from_bits(bits: int, dtype: str) -> float:
    if dtype == "<f2":
        return float(struct.unpack("<e", struct.pack("<H", bits & 0xFFFF))[0])
    if dtype == "bfloat16":
        return float(struct.unpack("<f", struct.pack("<I", (bits & 0xFFFF) << 16))[0])
    return float(signed(bits)) if dtype in ("<i4", "<i8", "<i2", "i1") else float(bits & (2**64 - 1))


def read_text(data: bytes, at: int, end: int) -> str | None:
    """Return the first text that a tensor of texts holds."""
    for number, kind, start, stop in spans(data, at, end):
        if number == 8 and kind == BYTES:
            return text(data, start, stop)
    return None


# -- values of google.protobuf.Struct, as the plugin for parameters keeps them


def read_struct_value(data: bytes, depth: int = 0) -> object:
    """Return a ``google.protobuf.Value``: a number, text, a truth value, None, or a list of these."""
    for number, kind, start, stop in spans(data, 0, len(data)):
        if number == 2 and kind == FIXED64:
            found = float(struct.unpack_from("<d", data, start)[0])
            return int(found) if math.isfinite(found) and found.is_integer() and abs(found) < 2**53 else found
        if number == 3 and kind == BYTES:
            return text(data, start, stop)
        if number == 4 and kind == VARINT:
            return varint(data, start, stop)[0] != 0
        if number == 6 and kind == BYTES and depth < 4:
            items = spans(data, start, stop)
            return [read_struct_value(data[a:b], depth + 1) for n, k, a, b in items if n == 1 and k == BYTES]
    return None

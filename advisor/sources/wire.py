"""Messages in protobuf's wire format, field by field, without their schema.

Knows lengths and kinds only; what a field means is the business of whoever asks. Nothing is copied beyond the message
given, and a length that points outside of it is refused.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final, TypeAlias

from advisor.errors import SourceError

Field: TypeAlias = "tuple[int, int | bytes]"
"""Number and content: an int for a varint, else the bytes as they stand, 4 or 8 of them for fixed-width numbers."""

WIDTHS: Final = {1: 8, 5: 4}
"""Bytes of the kinds of fields that have no length of their own."""


def fields(message: bytes) -> Iterator[Field]:
    """Yield the fields of a message in their order.

    Raises
    ------
    SourceError
        If it is no such message; fields before the damage have been yielded by then.
    """
    at, end = 0, len(message)
    while at < end:
        tag = message[at]
        at += 1
        if tag >= 128:
            tag, at = _varint(message, at - 1)
        kind = tag & 7
        if kind == 0:
            value, at = _varint(message, at)
            yield tag >> 3, value
            continue
        if kind == 2:
            size, at = _varint(message, at)
        elif kind in WIDTHS:
            size = WIDTHS[kind]
        else:
            raise SourceError(f"holds a field of the unknown kind {kind}")
        if at + size > end:
            raise SourceError("holds a field that is longer than the message around it")
        yield tag >> 3, message[at : at + size]
        at += size


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """Return a number of seven bits a byte, and where it ends."""
    value = shift = 0
    for i in range(at, min(at + 10, len(message))):
        byte = message[i]
        value |= (byte & 127) << shift
        if byte < 128:
            return value, i + 1
        shift += 7
    raise SourceError("holds a number that does not end")


def text(content: int | bytes) -> str:
    """Return a field as text; what is no text becomes empty."""
    return content.decode("utf-8", errors="replace") if isinstance(content, bytes) else ""


def signed(content: int | bytes) -> int:
    """Return a field as ``int32`` or ``int64``, which are written as if they had no sign."""
    if isinstance(content, bytes):
        return 0
    content &= 2**64 - 1
    return content - 2**64 if content >= 2**63 else content


def zigzag(content: int | bytes) -> int:
    """Return a field as ``sint64``, whose lowest bit is the sign."""
    if isinstance(content, bytes):
        return 0
    content &= 2**64 - 1
    return (content >> 1) ^ -(content & 1)


def double(content: int | bytes) -> float | None:
    """Return a field as ``double``; None for what is none."""
    if not isinstance(content, bytes) or len(content) != 8:
        return None
    return float(struct.unpack("<d", content)[0])


def seconds(content: int | bytes) -> float | None:
    """Return a ``Timestamp`` as seconds since 1970; None for what is none."""
    if not isinstance(content, bytes):
        return None
    found = dict(fields(content))
    return signed(found.get(1, 0)) + signed(found.get(2, 0)) / 1e9

"""Protocol buffers, as much as event files need: fields written in their order. Pure.

https://protobuf.dev/programming-guides/encoding. Writing two dozen fields takes less than the generated code of any
library, whose version would have to fit every other package of a training.
"""

from __future__ import annotations

import struct


def varint(number: int) -> bytes:
    """Return an integer of 64 bits, negative ones as two's complement."""
    number &= 2**64 - 1
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def integer(field: int, number: int) -> bytes:
    """Return a field that is a whole number, a flag or an enumeration."""
    return varint(field << 3) + varint(number)


def double(field: int, number: float) -> bytes:
    """Return a field that is a 64-bit float."""
    return varint(field << 3 | 1) + struct.pack("<d", number)


def single(field: int, number: float) -> bytes:
    """Return a field that is a 32-bit float."""
    return varint(field << 3 | 5) + struct.pack("<f", number)


def data(field: int, content: bytes) -> bytes:
    """Return a field that is a message or bytes."""
    return varint(field << 3 | 2) + varint(len(content)) + content


def text(field: int, content: str) -> bytes:
    """Return a field that is a text; lone surrogates, which are no Unicode, become ``?``."""
    return data(field, content.encode(errors="replace"))

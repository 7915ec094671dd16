"""TensorFlow's record files: a length and its checksum, the record and its checksum, again and again.

Reads blocks of whole records; half a record at the end is left for the next reading. Lengths are always checked, since
nothing can be found behind a wrong one. Records are checked up to ``CHECKED_BYTES``, in numpy for all of a block at
once (0.5 µs each); a longer one with ``is_intact`` by whoever needs its content.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from advisor.sources.growing import BLOCK_BYTES, GrowingFile

RECORD_MAX_BYTES: Final = 64 * 2**20
"""A longer record, an image or a graph for sure, is passed over."""
CHECKED_BYTES: Final = 512
"""Of a record with a scalar, which has about 60."""
AROUND_BYTES: Final = 16
"""Of a record: its length and two checksums."""


def _table() -> NDArray[np.uint32]:
    """Return the remainders of CRC-32C (Castagnoli), shape (256,)."""
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, (table >> 1) ^ np.uint32(0x82F63B78), table >> 1)
    return table.astype(np.uint32)


_BYTE: Final = _table()
_PAIR: Final = (_BYTE[(_BYTE[np.arange(65536) & 255] ^ (np.arange(65536) >> 8)) & 255]) ^ (
    _BYTE[np.arange(65536) & 255] >> 8
)
"""Remainders of two bytes at once."""
_BYTE_LIST: Final = [int(remainder) for remainder in _BYTE]


@dataclass(frozen=True, slots=True)
class Block:
    """Some records of a file."""

    data: bytes
    starts: list[int]
    """Where in ``data`` each record begins."""
    ends: list[int]


class RecordFile(GrowingFile):
    """An open file of records. A context manager; ``goes_on_from`` and ``mark`` as of files of lines."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.n_damaged = 0
        """Records that were left out since their checksum is wrong."""
        self.n_long = 0
        """Records that were passed over for their length."""
        self.is_broken = False
        """Whether a length is wrong, so that nothing behind it can be read."""

    def records(self, *, most: int | None = None) -> Iterator[Block]:
        """Yield what follows.

        Parameters
        ----------
        most
            Ends after a block that reaches this offset; None for all.

        Raises
        ------
        SourceError
            If the file cannot be read.
        """
        want = BLOCK_BYTES if most is None else min(most, BLOCK_BYTES)
        while most is None or self.offset < most:
            data = self._read(self.offset, want)
            starts, ends, at = _scan(data)
            heads = np.array(starts, dtype=np.int64) - 12
            good = _heads_are_right(data, heads)
            if good < len(starts):
                at, starts, ends = starts[good] - 12, starts[:good], ends[:good]
            if not starts:
                step = self._step_over(data, want)
                if step is None:
                    return
                want = step
                continue
            self.offset += at
            want = BLOCK_BYTES
            yield self._checked(Block(data, starts, ends))

    def _step_over(self, data: bytes, want: int) -> int | None:
        """Return how many bytes are needed for the record that follows; None where no whole one follows."""
        if len(data) < 12:
            return None
        if _heads_are_right(data, np.zeros(1, dtype=np.int64)) == 0:
            self.is_broken = True
            return None
        size = int(struct.unpack_from("<Q", data)[0]) + AROUND_BYTES
        if self.offset + size > os.fstat(self._file.fileno()).st_size:
            return None
        if size > RECORD_MAX_BYTES:
            self.n_long += 1
            self.offset += size
            return BLOCK_BYTES
        return size if size > want else None  # None: it was cut off while it was being read

    def _checked(self, block: Block) -> Block:
        """Return a block without the records whose checksum is wrong."""
        starts, ends = np.array(block.starts), np.array(block.ends)
        short = np.flatnonzero(ends - starts <= CHECKED_BYTES)
        sums = _checksums(block.data, starts[short], ends[short])
        wrong = short[sums != _uint32(block.data, ends[short])]
        if not wrong.size:
            return block
        self.n_damaged += wrong.size
        right = np.delete(np.arange(len(starts)), wrong)
        return Block(block.data, starts[right].tolist(), ends[right].tolist())


def is_intact(data: bytes, start: int, end: int) -> bool:
    """Return whether a record's checksum is right, byte by byte: 0.1 ms for a kilobyte."""
    return end + 4 <= len(data) and checksum(data[start:end]) == struct.unpack_from("<I", data, end)[0]


def checksum(content: bytes) -> int:
    """Return the masked CRC-32C of some bytes."""
    crc = 0xFFFFFFFF
    for byte in content:
        crc = _BYTE_LIST[(crc ^ byte) & 255] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def find_start(data: bytes, inside: int, *, most: int = 1_000) -> int | None:
    """Return where the record around a place begins, found by the checksum of its length; None where none is."""
    for head in range(inside - 12, max(inside - most, -1), -1):
        if checksum(data[head : head + 8]) == struct.unpack_from("<I", data, head + 8)[0]:
            return head + 12
    return None


def last_record(data: bytes, *, most: int = 4_096) -> tuple[int, int] | None:
    """Return where the last whole record at the end of some bytes begins and ends; None where none is in ``most``."""
    heads = np.arange(max(len(data) - most, 0), max(len(data) - AROUND_BYTES, 0) + 1)
    if len(data) < AROUND_BYTES:
        return None
    right = heads[_checksums(data, heads, heads + 8) == _uint32(data, heads + 8)]
    for head in right[::-1].tolist():
        end = head + 12 + struct.unpack_from("<Q", data, head)[0]
        if end + 4 <= len(data):
            return head + 12, end
    return None


def _scan(data: bytes) -> tuple[list[int], list[int], int]:
    """Return where records begin and end, and where the first one that is not whole begins."""
    starts, ends = [], []
    at, length, unpack = 0, len(data), struct.Struct("<Q").unpack_from
    while at + AROUND_BYTES <= length:
        end = at + 12 + unpack(data, at)[0]
        if end + 4 > length:
            break
        starts.append(at + 12)
        ends.append(end)
        at = end + 4
    return starts, ends, at


def _heads_are_right(data: bytes, heads: NDArray[np.int64]) -> int:
    """Return how many lengths, from the first on, have the right checksum."""
    wrong = np.flatnonzero(_checksums(data, heads, heads + 8) != _uint32(data, heads + 8))
    return int(wrong[0]) if wrong.size else len(heads)


def _checksums(data: bytes, starts: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.uint32]:
    """Return the masked CRC-32C of each of some stretches, shape (n,): two bytes of all of them at a time."""
    order = np.argsort(starts - ends, kind="stable")  # longest first, so that those still going on are the first ones
    at, sizes = starts[order], (ends - starts)[order]
    raw = np.frombuffer(data, dtype=np.uint8)
    crc = np.full(len(order), 0xFFFFFFFF, dtype=np.uint32)
    for done in range(0, int(sizes[0]) - 1 if len(sizes) else 0, 2):
        n = int(np.searchsorted(-sizes, -(done + 2), side="right"))
        here = at[:n] + done
        pair = raw[here].astype(np.uint32) | raw[here + 1].astype(np.uint32) << np.uint32(8)
        crc[:n] = _PAIR[(crc[:n] ^ pair) & np.uint32(0xFFFF)] ^ (crc[:n] >> np.uint32(16))
    odd = np.flatnonzero(sizes % 2)
    last = raw[at[odd] + sizes[odd] - 1]
    crc[odd] = _BYTE[(crc[odd] ^ last) & np.uint32(255)] ^ (crc[odd] >> np.uint32(8))
    crc ^= np.uint32(0xFFFFFFFF)
    masked = (crc >> np.uint32(15) | crc << np.uint32(17)) + np.uint32(0xA282EAD8)
    out = np.empty_like(masked)
    out[order] = masked
    return out


def _uint32(data: bytes, at: NDArray[np.int64]) -> NDArray[np.uint32]:
    return gathered(data, at, 4).view("<u4")[:, 0].astype(np.uint32)


def gathered(data: bytes, at: NDArray[np.int64], width: int) -> NDArray[np.uint8]:
    """Return the bytes at some places, shape (n, width)."""
    raw = np.frombuffer(data, dtype=np.uint8)
    return np.ascontiguousarray(raw[at[:, None] + np.arange(width)])

"""Curves as bytes: steps, times and values packed without loss, checked when they are read.

Pure but for zstd, which comes with pyarrow. Knows nothing of runs, metrics or tables. What is decoded
is what was encoded, bit for bit: NaN payloads, ±inf and -0.0 included; anything else is an error.

A blob is ``version u8 · CRC-32 u32 · number of points u32`` and then one section an array: its kind,
its length, its bytes. Whole numbers (steps; floats that are a whole number over a power of ten, which
most logged values and rounded times are) are kept as differences or offsets in as few bytes as the
widest needs; other floats are kept as they are. Either way bytes of equal rank stand together
before zstd sees them.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Final, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from storage.errors import CurveDamagedError, RecordError

if TYPE_CHECKING:
    import pyarrow as pa

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bytes = NDArray[np.uint8]
Section = tuple[int, bytes]
"""Kind and bytes."""
Read = TypeVar("Read")

VERSION: Final = 1
"""First byte of every blob. A change of the format takes the next number and keeps reading this one."""
HEADER: Final = struct.Struct("<BII")
SECTION: Final = struct.Struct("<BI")
NUMBERS: Final = struct.Struct("<BBqq")  # differences?, bytes a number, first, lowest
SCALE: Final = struct.Struct("<BI")  # power of ten, number of exceptions

ABSENT, WHOLE, SCALED, PLAIN = range(4)
"""Kinds of sections: no array; integers; floats as integers over a power of ten; floats."""

MAX_POINTS: Final = 2**31 - 1
"""Of one blob."""
ZSTD_LEVEL: Final = 3
"""On real curves level 9 saves one byte in a hundred and takes four times as long."""
ZSTD_FROM: Final = 64
"""Fewer bytes than this are not worth a call to zstd: its frame alone takes about ten."""
POWERS: Final = np.array([float(f"1e{k}") for k in range(18)])
"""A double holds at most 17 significant digits; up to 1e22 powers of ten are exact."""
UNKNOWN: Final = np.float64(np.nan).view(np.uint64)
"""The bits of the NaN that stands for a time that is unknown."""
EXACT: Final = 2.0**53
"""Whole numbers below this are exact as doubles."""
N_SAMPLED: Final = 24
"""Values on which the powers of ten are tried before one of them is on all."""
MAX_EXCEPTIONS: Final = 0.1
"""Share of values that may stand apart: each costs twelve bytes, where the others save about three."""
SURELY_SHORT: Final = 4.5
"""Bytes a decimal below which nobody asks whether the floats themselves would be shorter."""


def pack_axis(steps: ArrayLike, times: ArrayLike = ()) -> bytes:
    """Return steps and times as one blob.

    Parameters
    ----------
    steps
        (T,) integers.
    times
        (T,) seconds; empty, or all of them the usual NaN, where they are unknown.

    Raises
    ------
    RecordError
        If there are times, but not one for each step.
    """
    step, time = np.ascontiguousarray(steps, dtype=np.int64), np.ascontiguousarray(times, dtype=np.float64)
    if time.size not in (0, step.size):
        raise RecordError(f"there are {step.size} steps and {time.size} times; they must be equally many")
    unknown = bool((time.view(np.uint64) == UNKNOWN).all())
    return _blob(step.size, (WHOLE, _pack_whole(step)), (ABSENT, b"") if unknown else _pack_floats(time))


def unpack_axis(blob: bytes) -> tuple[Ints, Floats]:
    """Return ``(steps (T,), times (T,))``; times that are unknown are NaN.

    Raises
    ------
    CurveDamagedError
        If the blob is not what ``pack_axis`` returned.
    """

    def read(n: int, steps: Section, times: Section) -> tuple[Ints, Floats]:
        return _read_whole(steps[1], n), np.full(n, np.nan) if times[0] == ABSENT else _read_floats(*times, n)

    return _unpacked(blob, read, n_sections=2)


def pack_values(values: ArrayLike) -> bytes:
    """Return (T,) floats as one blob.

    >>> len(pack_values([0.25, 0.5, 0.75] * 1000)) < 200
    True
    """
    value = np.ascontiguousarray(values, dtype=np.float64)
    return _blob(value.size, _pack_floats(value))


def unpack_values(blob: bytes) -> Floats:
    """Return the floats of ``pack_values``.

    Raises
    ------
    CurveDamagedError
        If the blob is not what ``pack_values`` returned.
    """
    return _unpacked(blob, lambda n, values: _read_floats(values[0], values[1], n), n_sections=1)


# -- blobs and their sections


def _blob(n: int, *sections: Section) -> bytes:
    if n > MAX_POINTS:
        raise RecordError(f"a piece of a curve has {n} points; give at most {MAX_POINTS} at once")
    rest = b"".join(SECTION.pack(kind, len(body)) + body for kind, body in sections)
    return HEADER.pack(VERSION, _checksum(VERSION, n, rest), n) + rest


def _checksum(version: int, n: int, rest: bytes) -> int:
    return zlib.crc32(rest, zlib.crc32(struct.pack("<BI", version, n)))


def _unpacked(blob: bytes, read: Callable[..., Read], *, n_sections: int) -> Read:
    """Check a blob and have its number of points and its sections read."""
    if len(blob) < HEADER.size:
        raise CurveDamagedError(f"{len(blob)} bytes are too few for a packed curve")
    version, checksum, n = HEADER.unpack_from(blob)
    if version != VERSION:
        raise CurveDamagedError(f"a curve is packed in format {version}, this program reads format {VERSION}")
    if _checksum(version, n, blob[HEADER.size :]) != checksum:
        raise CurveDamagedError(f"the checksum of a packed curve of {n} points does not hold")
    try:
        sections, at = [], HEADER.size
        for _ in range(n_sections):
            kind, length = SECTION.unpack_from(blob, at)
            at += SECTION.size + length
            sections.append((kind, blob[at - length : at]))
        if at != len(blob):
            raise ValueError(f"it is {len(blob)} bytes long, and its parts are {at}")
        return read(n, *sections)
    except (ValueError, IndexError, OverflowError, OSError, MemoryError, struct.error) as error:
        # Bytes whose checksum holds and that pack_… never wrote: made by other means.
        raise CurveDamagedError(f"a packed curve cannot be read: {error}") from error


# -- floats


def _pack_floats(values: Floats) -> Section:
    """Return kind and bytes of a section, the shorter of what can be had."""
    scaled = _pack_scaled(values)
    if scaled is not None and len(scaled) < SURELY_SHORT * values.size:
        return SCALED, scaled
    plain = _squeezed(_ranked(values.view("<u8"), 8))
    return (SCALED, scaled) if scaled is not None and len(scaled) < len(plain) else (PLAIN, plain)


def _read_floats(kind: int, body: bytes, n: int) -> Floats:
    if kind == PLAIN:
        return _unranked(_unsqueezed(body, 8 * n), 8, n).view("<f8")
    if kind == SCALED:
        return _read_scaled(body, n)
    raise ValueError(f"there is no kind {kind} of floats")


def _pack_scaled(values: Floats) -> bytes | None:
    """Return floats as whole numbers over a power of ten, None where too few of them are such decimals.

    That most doubles in data are short decimals, and that multiplying, rounding and dividing finds and
    restores them exactly, is the idea of ALP (Afroozeh, Kuffo and Boncz 2023, "ALP: Adaptive Lossless
    floating-Point Compression", https://doi.org/10.1145/3626717).
    """
    power = _power_of(values)
    if power is None:
        return None
    with np.errstate(all="ignore"):  # what overflows or is NaN becomes 0, which is then not the value
        scaled = np.rint(values * POWERS[power])
        numbers = np.where(np.abs(scaled) < EXACT, scaled, 0.0).astype(np.int64)
    apart = np.flatnonzero((numbers / POWERS[power]).view(np.uint64) != values.view(np.uint64))
    if apart.size > MAX_EXCEPTIONS * values.size:
        return None
    if apart.size:
        numbers[apart] = numbers[np.setdiff1d(np.arange(apart.size + 1), apart)[0]]  # any that fits among the others
    exceptions = apart.astype("<u4").tobytes() + values[apart].astype("<f8").tobytes()
    return SCALE.pack(power, apart.size) + exceptions + _pack_whole(numbers)


def _read_scaled(body: bytes, n: int) -> Floats:
    power, n_apart = SCALE.unpack_from(body)
    at = SCALE.size + 12 * n_apart
    values: Floats = _read_whole(body[at:], n) / POWERS[power]
    apart = np.frombuffer(body, "<u4", n_apart, SCALE.size)
    values[apart] = np.frombuffer(body, "<f8", n_apart, SCALE.size + 4 * n_apart)
    return values


def _power_of(values: Floats) -> int | None:
    """Return the lowest power of ten that makes whole numbers of a sample of the values."""
    sample = values[:: max(1, values.size // N_SAMPLED)]
    sample = sample[np.isfinite(sample), np.newaxis]
    if not sample.size:
        return None
    with np.errstate(over="ignore"):  # to infinity, which is no whole number below EXACT
        scaled = np.rint(sample * POWERS)
        fits = (np.abs(scaled) < EXACT) & (scaled / POWERS == sample)
    enough = np.flatnonzero(fits.sum(axis=0) >= (1 - 1.5 * MAX_EXCEPTIONS) * len(sample))
    return int(enough[0]) if enough.size else None


# -- whole numbers


def _pack_whole(numbers: Ints) -> bytes:
    """Return integers as offsets from the lowest, or as differences where these need fewer bytes."""
    first = int(numbers[0]) if numbers.size else 0
    offsets = _offsets(numbers)
    differences = _offsets(numbers[1:] - numbers[:-1])  # wraps around, and back when they are added up
    use_differences = differences[2] < offsets[2]
    rest, lowest, width = differences if use_differences else offsets
    return NUMBERS.pack(use_differences, width, first, lowest) + _squeezed(_ranked(rest, width))


def _read_whole(body: bytes, n: int) -> Ints:
    are_differences, width, first, lowest = NUMBERS.unpack_from(body)
    if width > 8:
        raise ValueError(f"a whole number of {width} bytes")
    count = max(n - 1, 0) if are_differences else n
    rest = _unranked(_unsqueezed(body[NUMBERS.size :], width * count), width, count).view("<i8") + np.int64(lowest)
    if not are_differences:
        return rest
    numbers = np.full(n, first, dtype=np.int64)
    numbers[1:] += np.cumsum(rest)
    return numbers


def _offsets(numbers: Ints) -> tuple[NDArray[np.uint64], int, int]:
    """Return offsets from the lowest, the lowest, and how many bytes the largest offset needs."""
    if not numbers.size:
        return numbers.view(np.uint64), 0, 0
    lowest, highest = int(numbers.min()), int(numbers.max())
    return (numbers - np.int64(lowest)).view(np.uint64), lowest, ((highest - lowest).bit_length() + 7) // 8


# -- bytes


def _ranked(numbers: NDArray[np.uint64], width: int) -> bytes:
    """Return the lower ``width`` bytes of numbers, all lowest bytes first: equal ranks look alike."""
    return numbers.astype("<u8", copy=False).view(np.uint8).reshape(-1, 8)[:, :width].T.tobytes()


def _unranked(ranked: bytes, width: int, n: int) -> Bytes:
    out = np.zeros((n, 8), dtype=np.uint8)
    out[:, :width] = np.frombuffer(ranked, np.uint8).reshape(width, n).T
    return out.reshape(-1)


def _squeezed(raw: bytes) -> bytes:
    """Return ``1`` and zstd's bytes, or ``0`` and the bytes as they are where that is not longer."""
    if len(raw) >= ZSTD_FROM:
        short: bytes = _zstd().compress(raw, asbytes=True)
        if len(short) < len(raw):
            return b"\x01" + short
    return b"\x00" + raw


def _unsqueezed(body: bytes, size: int) -> bytes:
    raw: bytes = _zstd().decompress(body[1:], size, asbytes=True) if body[:1] == b"\x01" else body[1:]
    if len(raw) != size:
        raise ValueError(f"{len(raw)} bytes where {size} were packed")
    return raw


@cache
def _zstd() -> pa.Codec:
    import pyarrow as pa

    return pa.Codec("zstd", compression_level=ZSTD_LEVEL)

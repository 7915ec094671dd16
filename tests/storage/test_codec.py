from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from storage import codec
from storage.codec import pack_axis, pack_values, unpack_axis, unpack_values
from storage.errors import CurveDamagedError, RecordError

Floats = NDArray[np.float64]

ANY_BITS = arrays.arrays(np.uint64, st.integers(0, 300)).map(lambda bits: bits.view(np.float64))
"""Every double that there is: payloads of NaN, both zeros, subnormals."""
DECIMALS = st.integers(0, 20).flatmap(
    lambda digits: st.lists(st.floats(-1e9, 1e9).map(lambda x: round(x, digits)), max_size=300).map(np.array)
)
MOSTLY_DECIMALS = st.lists(
    st.one_of(*[st.integers(-(10**6), 10**6).map(lambda i: i / 1000)] * 12, st.sampled_from([np.nan, -0.0, np.inf])),
    max_size=200,
).map(lambda values: np.array(values, dtype=np.float64))
STEPS = arrays.arrays(np.int64, st.integers(0, 300))


def bits(values: Floats) -> list[int]:
    found: list[int] = values.view(np.uint64).tolist()
    return found


def whole(blob: bytes, body: bytes) -> bytes:
    """Return a blob with another body, whose checksum holds."""
    version, _, n = codec.HEADER.unpack_from(blob)
    checksum = zlib.crc32(body, zlib.crc32(struct.pack("<BI", version, n)))
    return codec.HEADER.pack(version, checksum, n) + body


# -- round trips


@given(st.one_of(ANY_BITS, DECIMALS, MOSTLY_DECIMALS))
def test_values_come_back_bit_for_bit(values: Floats) -> None:
    assert bits(unpack_values(pack_values(values))) == bits(np.asarray(values, dtype=np.float64))


@given(STEPS, st.data())
def test_steps_and_times_come_back_bit_for_bit(steps: NDArray[np.int64], data: st.DataObject) -> None:
    times = data.draw(arrays.arrays(np.uint64, steps.size)).view(np.float64)
    found_steps, found_times = unpack_axis(pack_axis(steps, times))
    np.testing.assert_array_equal(found_steps, steps)
    assert bits(found_times) == bits(times)


@pytest.mark.parametrize("steps", [[], [7], [-(2**63), 2**63 - 1], [2**63 - 1, -(2**63), 0], [5, 5, 5], [3, 2, 1]])
def test_extreme_steps_come_back(steps: list[int]) -> None:
    assert unpack_axis(pack_axis(steps))[0].tolist() == steps


def test_values_that_are_not_finite_or_are_minus_zero_stand_apart_among_decimals() -> None:
    values = np.round(np.linspace(-1, 1, 400), 3)
    values[[3, 50, 200, 399]] = [np.nan, np.inf, -np.inf, -0.0]
    values.view(np.uint64)[100] = 0x7FF8_0000_DEAD_BEEF  # a NaN with something to say
    packed = pack_values(values)
    assert bits(unpack_values(packed)) == bits(values)
    assert len(packed) < 2.5 * values.size


def test_arrays_that_are_views_with_strides_are_packed_as_what_they_show() -> None:
    values = np.arange(100, dtype=np.float64)[::-3]
    np.testing.assert_array_equal(unpack_values(pack_values(values)), values)


# -- sizes


def test_steps_at_equal_distances_cost_the_same_however_many_they_are() -> None:
    assert len(pack_axis(np.arange(0, 10_000_000, 100))) == len(pack_axis([0, 100])) < 64


def test_times_that_nobody_knows_cost_nothing() -> None:
    steps = np.arange(1000)
    assert pack_axis(steps, np.full(1000, np.nan)) == pack_axis(steps)
    assert np.isnan(unpack_axis(pack_axis(steps))[1]).all()


@pytest.mark.parametrize(
    ("values", "at_most"),
    [
        pytest.param(lambda rng: np.round(rng.normal(size=5000), 4), 2.2, id="four decimals"),
        pytest.param(lambda rng: rng.normal(size=5000).astype(np.float32).astype(np.float64), 4.0, id="float32"),
        pytest.param(lambda rng: rng.normal(size=5000), 7.7, id="all bits random"),
        pytest.param(lambda rng: np.full(5000, np.nan), 0.1, id="nothing but NaN"),
    ],
)
def test_a_value_takes_few_bytes(values: object, at_most: float) -> None:
    assert callable(values)
    assert len(pack_values(values(np.random.default_rng(0)))) / 5000 < at_most


# -- damage


def test_a_flipped_bit_anywhere_is_noticed() -> None:
    blob = pack_values(np.round(np.linspace(0, 1, 200), 5))
    for at in range(len(blob)):
        damaged = bytearray(blob)
        damaged[at] ^= 1 << at % 8
        with pytest.raises(CurveDamagedError):
            unpack_values(bytes(damaged))


def test_a_blob_cut_short_or_grown_is_noticed() -> None:
    blob = pack_axis(np.arange(50) ** 2, np.arange(50) / 10)
    for damaged in [blob[:n] for n in range(len(blob))] + [blob + b"\0"]:
        with pytest.raises(CurveDamagedError):
            unpack_axis(damaged)


@given(st.data())
def test_bytes_that_nobody_packed_are_refused_or_give_as_many_values_as_they_announce(data: st.DataObject) -> None:
    blob = pack_values(data.draw(MOSTLY_DECIMALS))
    body = bytearray(blob[codec.HEADER.size :])
    for at, byte in data.draw(st.dictionaries(st.integers(0, len(body) - 1), st.integers(0, 255), max_size=4)).items():
        body[at] = byte
    try:
        found = unpack_values(whole(blob, bytes(body)))
    except CurveDamagedError:
        return
    assert found.size == codec.HEADER.unpack_from(blob)[2]


def test_a_later_format_is_named() -> None:
    with pytest.raises(CurveDamagedError, match="packed in format 9, this program reads format 1"):
        unpack_values(b"\x09" + pack_values([1.0])[1:])


def test_an_axis_is_not_taken_for_values() -> None:
    with pytest.raises(CurveDamagedError):
        unpack_values(pack_axis([1, 2, 3]))


def test_steps_and_times_must_be_equally_many() -> None:
    with pytest.raises(RecordError, match="3 steps and 2 times"):
        pack_axis([1, 2, 3], [0.1, 0.2])

"""The same data has the same fingerprint however it lies in memory, and other data another."""

from __future__ import annotations

import hashlib
import json
import os
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from advisor.tracking.fingerprint import fingerprint
from storage.errors import RecordError


def sha(data: Any) -> str:
    found = fingerprint("train", data)
    assert json.loads(json.dumps(found)) == found
    return str(found["sha256"])


# -- files


def test_a_file_has_the_hash_that_sha256sum_prints(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"hello")
    assert fingerprint("train", path) == {
        "name": "train",
        "type": "file",
        "path": str(path),
        "sha256": hashlib.sha256(b"hello").hexdigest(),
        "n_bytes": 5,
    }
    assert fingerprint("train", str(path)) == fingerprint("train", path)


def test_a_folder_is_its_names_and_contents_in_whatever_order_they_were_written(tmp_path: Path) -> None:
    def folder(name: str, files: dict[str, str]) -> Path:
        for relative, content in files.items():
            path = tmp_path / name / relative
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        return tmp_path / name

    one = fingerprint("d", folder("one", {"a.txt": "1", "sub/b.txt": "2"}))
    assert (one["type"], one["n_files"], one["n_bytes"]) == ("folder", 2, 2)
    assert sha(folder("two", {"sub/b.txt": "2", "a.txt": "1"})) == one["sha256"]
    assert sha(folder("renamed", {"a.txt": "1", "sub/c.txt": "2"})) != one["sha256"]
    assert sha(folder("moved", {"a.txt": "1", "b.txt": "2"})) != one["sha256"]
    assert sha(folder("swapped", {"a.txt": "2", "sub/b.txt": "1"})) != one["sha256"]
    assert sha(folder("joined", {"a.txt": "12", "sub/b.txt": ""})) != one["sha256"]


def test_a_path_that_is_not_there_or_is_no_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="data 'train': there is no file or folder"):
        fingerprint("train", tmp_path / "none.csv")
    with pytest.raises(RecordError, match="cannot read"):
        fingerprint("train", "a\0b")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(RecordError, match="neither a file nor a folder"):
        fingerprint("train", tmp_path / "pipe")
    with pytest.raises(RecordError, match="neither a file nor a folder"):
        fingerprint("train", tmp_path)


# -- arrays


numbers = npst.arrays(
    dtype=st.sampled_from(["f8", "f4", "i8", "u1", "?", "c16", "M8[s]", "U3"]),
    shape=npst.array_shapes(max_dims=3, max_side=4),
)


@settings(max_examples=80, deadline=None)
@given(numbers)
def test_memory_layout_and_byte_order_do_not_matter(array: np.ndarray[Any, Any]) -> None:
    wide = np.repeat(array, 2, axis=-1)[..., ::2]
    layouts = [
        array.copy("C"),
        array.copy("F"),
        wide,
        array[::-1].copy()[::-1],
        array.astype(array.dtype.newbyteorder(">")),
    ]
    assert len({sha(layout) for layout in layouts}) == 1


def test_content_shape_and_dtype_matter() -> None:
    array = np.arange(6.0)
    others = [
        array,
        array.reshape(2, 3),
        array.reshape(3, 2),
        array.astype("f4"),
        array + 1,
        np.where(array == 0, -0.0, array),
        np.where(array == 0, np.nan, array),
        np.array(["0"] * 6),
        np.zeros((0, 3)),
        np.zeros((0, 4)),
        np.array(5.0),
    ]
    assert len({sha(other) for other in others}) == len(others)


def test_an_array_tells_shape_dtype_and_size() -> None:
    found = fingerprint("x", np.zeros((2, 3), dtype=">f4"))
    assert (found["type"], found["shape"], found["dtype"], found["n_bytes"]) == ("array", [2, 3], "float32", 24)


def test_a_large_strided_array_is_hashed_in_pieces_to_the_same_result() -> None:
    array = np.arange(6_000_000, dtype="f8").reshape(3_000, 2_000)
    assert sha(array.T) == sha(np.ascontiguousarray(array.T))


def test_padding_and_masked_values_are_not_content() -> None:
    aligned = np.dtype([("a", "i1"), ("b", "f8")], align=True)
    one, two = np.zeros(3, aligned), np.frombuffer(b"\xff" * 3 * aligned.itemsize, aligned).copy()
    two["a"], two["b"] = 0, 0
    assert sha(one) == sha(two)
    mask = [False, True]
    assert sha(np.ma.array([1, 2], mask=mask)) == sha(np.ma.array([1, 3], mask=mask))
    assert sha(np.ma.array([1, 2], mask=mask)) != sha(np.ma.array([1, 2], mask=[True, False]))


def test_object_arrays_of_plain_values_are_hashed_by_value() -> None:
    assert sha(np.array(["a", None, 1], dtype=object)) == sha(np.array(["a", None, 1], dtype=object))
    assert sha(np.array(["a", None, 1], dtype=object)) != sha(np.array(["a", None, "1"], dtype=object))


def test_tensors_count_as_the_arrays_they_convert_to() -> None:
    torch = pytest.importorskip("torch")
    array = np.arange(6, dtype="f4").reshape(2, 3)
    assert sha(torch.from_numpy(array)) == sha(array)
    assert sha(torch.from_numpy(array).requires_grad_()) == sha(array)
    with pytest.raises(RecordError, match=r"bfloat16.*convert it first"):
        fingerprint("x", torch.zeros(2, dtype=torch.bfloat16))


# -- tables


def test_a_data_frame_tells_its_schema_and_is_hashed_by_content() -> None:
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"x": [1.0, float("nan")], "y": ["a", None], "z": pd.Categorical(["u", "v"])})
    found = fingerprint("train", frame)
    assert found["type"] == "table"
    assert found["shape"] == [2, 3]
    assert [column["name"] for column in found["columns"]] == ["x", "y", "z"]
    assert found["columns"][0]["dtype"] == "float64"
    assert sha(frame.copy()) == found["sha256"]
    others = [
        frame[["y", "x", "z"]],
        frame.rename(columns={"x": "w"}),
        frame.iloc[::-1],
        frame.astype({"x": "float32"}),
        frame.set_index("x"),
        frame.assign(y=["a", "b"]),
        frame.set_axis([1, 2]),
        frame.iloc[:0],
    ]
    assert len({sha(other) for other in [frame, *others]}) == len(others) + 1


def test_blocks_of_a_frame_do_not_matter() -> None:
    pd = pytest.importorskip("pandas")
    whole = pd.DataFrame(np.arange(6.0).reshape(3, 2), columns=["a", "b"])
    grown = pd.DataFrame({"a": whole["a"].copy()})
    grown["b"] = whole["b"].copy()
    assert sha(whole) == sha(grown)


def test_frames_of_every_kind_of_column_can_be_hashed() -> None:
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(
        {
            "when": pd.to_datetime(["2026-01-01", None]),
            "zoned": pd.to_datetime(["2026-01-01", "2026-01-02"], utc=True),
            "nullable": pd.array([1, None], dtype="Int64"),
            "flag": pd.array([True, None], dtype="boolean"),
            "period": pd.period_range("2026-01", periods=2, freq="M"),
            "list": [[1, 2], None],
            "day": [date(2026, 1, 1), None],
            "money": [Decimal("1.10"), None],
            "bytes": [b"a", b"b"],
            "array": [np.arange(2), np.arange(3)],
        },
        index=pd.MultiIndex.from_tuples([("a", 1), ("b", 2)]),
    )
    assert sha(frame) == sha(frame.copy(deep=True))
    assert sha(frame) != sha(frame.assign(bytes=[b"a", b"c"]))
    twice = pd.concat([frame["bytes"], frame["money"].rename("bytes")], axis=1)
    assert fingerprint("x", twice)["shape"] == [2, 2]


def test_a_series_is_hashed_with_its_index_and_name() -> None:
    pd = pytest.importorskip("pandas")
    series = pd.Series([1.0, 2.0], name="y")
    assert fingerprint("y", series)["type"] == "series"
    assert fingerprint("y", series)["shape"] == [2]
    assert len({sha(s) for s in (series, series.rename("z"), series.set_axis([5, 6]), series + 1)}) == 4
    assert sha(series.copy()) == sha(series)


# -- other values


def test_mappings_do_not_depend_on_the_order_of_keys_and_may_hold_arrays() -> None:
    data = {"x": np.arange(3), "y": [1, 2.5, None, float("nan")], "split": {"seed": np.int64(3)}}
    assert sha(data) == sha(dict(reversed(data.items())))
    assert sha(data) != sha(data | {"x": np.arange(4)})
    assert fingerprint("d", data)["shape"] == [3]
    assert sha([1, 2]) == sha((1, 2))


class Opaque:
    """Something that nobody can look into."""


@pytest.mark.parametrize(
    "data", [Opaque(), 3, None, {1, 2}, [Opaque()], {"a": {1}}, {("a", 1): 2}, np.array(Opaque()), len]
)
def test_anything_else_is_one_clear_sentence(data: Any) -> None:
    with pytest.raises(RecordError, match="data 'train': ") as caught:
        fingerprint("train", data)
    assert "give a path, an array" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["", " ", None, 3])
def test_data_needs_a_name(name: Any) -> None:
    with pytest.raises(RecordError, match="needs a name"):
        fingerprint(name, [1])

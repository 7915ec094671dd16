"""The write-ahead log gives back what was logged, to the last whole record."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import struct
import subprocess
import sys
import threading
import zlib
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.errors import RecordError, SpoolError
from storage.records import Event
from storage.spool import MAGIC, Spool, owner_header, owner_is_gone, read_beginning, read_spool, salvage

ROOT = Path(__file__).resolve().parents[2]
TIME = datetime(2026, 3, 1, 2, 3, 4, 567891, tzinfo=UTC)

names = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
floats = st.floats(allow_nan=True, allow_infinity=True)
points = st.tuples(st.integers(-(2**63), 2**63 - 1), floats, st.dictionaries(names, floats, max_size=5))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**40), 10**40) | floats | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)


def written(path: Path, points: list[Any], events: list[Event] | None = None) -> bytes:
    path.unlink(missing_ok=True)
    with Spool.create(path, {"run_id": "r1"}) as spool:
        for step, time_s, metrics in points:
            spool.log(step, time_s, metrics)
        for event in events or []:
            spool.event(event)
    return path.read_bytes()


def same(a: Any, b: Any) -> bool:
    """Equal, with NaN equal to NaN and -0.0 different from 0.0."""
    return repr(a) == repr(b)


@settings(max_examples=80, deadline=None)
@given(logged=st.lists(points, max_size=6))
def test_every_point_comes_back_as_it_was_logged(
    tmp_path_factory: pytest.TempPathFactory, logged: list[tuple[int, float, dict[str, float]]]
) -> None:
    path = tmp_path_factory.mktemp("spool") / "a.spool"
    written(path, logged)
    contents = read_spool(path)
    assert same(contents.points, logged)
    assert contents.damage is None
    assert contents.header == {"run_id": "r1"}


@settings(max_examples=80, deadline=None)
@given(body=st.dictionaries(st.text(min_size=1, max_size=6).filter(lambda key: key != "time"), json_values, max_size=4))
def test_every_event_comes_back_with_nan_and_huge_integers(
    tmp_path_factory: pytest.TempPathFactory, body: dict[str, Any]
) -> None:
    path = tmp_path_factory.mktemp("spool") / "a.spool"
    event = Event("e1", kind="run.created", experiment="é", run_id="r1", time=TIME, actor="me@host", body=body)
    written(path, [], [event])
    [back] = read_spool(path).events
    assert same(dict(back.body), body)
    assert (back.id, back.kind, back.experiment, back.run_id, back.time, back.actor) == (
        "e1",
        "run.created",
        "é",
        "r1",
        TIME,
        "me@host",
    )


def test_integers_and_numpy_scalars_are_read_back_as_floats(tmp_path: Path) -> None:
    metrics: dict[str, Any] = {
        "int": 3,
        "huge": 10**30,
        "np64": np.float64(1.5),
        "np32": np.float32(0.5),
        "npint": np.int64(7),
        "true": True,
        "zero_d": np.array(2.0),
    }
    written(tmp_path / "a.spool", [(np.int64(4), 0, metrics)])
    [(step, time_s, back)] = read_spool(tmp_path / "a.spool").points
    assert type(step) is int
    assert (step, time_s) == (4, 0.0)
    assert back == {"int": 3.0, "huge": 1e30, "np64": 1.5, "np32": 0.5, "npint": 7.0, "true": 1.0, "zero_d": 2.0}
    assert {type(value) for value in back.values()} == {float}


@pytest.mark.parametrize(
    ("step", "metrics", "said"),
    [
        (0, {"loss": "low"}, "'loss' must be one number; 'low'"),
        (0, {"loss": "1.5"}, "must be one number"),
        (0, {"loss": None}, "must be one number"),
        (0, {"loss": [1.0, 2.0]}, "must be one number"),
        (0, {"loss": 10**400}, "must be one number"),
        (0, {1: 2.0}, "name must be text"),
        (0, {"\ud800": 2.0}, "not valid Unicode"),
        (2**63, {"loss": 1.0}, "64-bit"),
        (-(2**63) - 1, {"loss": 1.0}, "64-bit"),
    ],
)
def test_what_cannot_be_kept_is_refused_and_leaves_the_log_whole(
    tmp_path: Path, step: int, metrics: dict[Any, Any], said: str
) -> None:
    path = tmp_path / "a.spool"
    with Spool.create(path, {}) as spool:
        with pytest.raises(RecordError, match=said):
            spool.log(step, 0.0, metrics)
        spool.log(1, 0.0, {"loss": 1.0})
    assert read_spool(path).points == [(1, 0.0, {"loss": 1.0})]
    assert read_spool(path).damage is None


def test_an_event_that_is_no_json_is_refused(tmp_path: Path) -> None:
    with Spool.create(tmp_path / "a.spool", {}) as spool, pytest.raises(RecordError, match="only JSON values"):
        spool.event(Event.new("run.noted", "e", "r", text=object()))


def test_a_log_cut_at_any_byte_gives_all_whole_records_before_the_cut(tmp_path: Path) -> None:
    path = tmp_path / "a.spool"
    logged = [(step, step / 2, {"loss": 1.0 / (step + 1), "é": math.inf}) for step in range(4)]
    ends = [len(written(path, logged[:n])) for n in range(5)]
    data = path.read_bytes()
    for cut in range(len(data) + 1):
        path.write_bytes(data[:cut])
        if cut < ends[0]:
            with pytest.raises(SpoolError):
                read_spool(path)
            continue
        contents = read_spool(path)
        n_whole = sum(end <= cut for end in ends) - 1
        assert contents.points == logged[:n_whole]
        if cut in ends:
            assert contents.damage is None
        else:
            assert contents.damage is not None
            assert (contents.damage.offset, contents.damage.n_bytes_lost) == (ends[n_whole], cut - ends[n_whole])


def records_of(n_points: int) -> tuple[list[Any], list[Event]]:
    logged = [(step, 0.5, {"loss": float(step), "é": math.nan}) for step in range(n_points)]
    noted = Event("e1", kind="run.noted", experiment="x", run_id="r", time=TIME, body={"text": "n\x94 p\x93 e{ r{"})
    return logged, [noted, replace(noted, id="e2")]


def test_any_flipped_bit_costs_the_record_that_it_is_in_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "a.spool"
    logged, events = records_of(3)
    ends = [len(written(path, logged[:n])) for n in range(4)] + [len(written(path, logged, events[:1]))]
    data = written(path, logged, events)
    ends.append(len(data))
    for bit in range(ends[0] * 8, len(data) * 8):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        contents = read_spool(path)
        hit = sum(end <= bit // 8 for end in ends) - 1
        assert same(contents.points, [point for i, point in enumerate(logged) if i != hit])
        assert contents.numbers == [i for i in range(3) if i != hit]
        assert [event.id for event in contents.events] == [e.id for i, e in enumerate(events, start=3) if i != hit]
        assert [(d.offset, d.n_bytes_lost) for d in contents.damages] == [(ends[hit], ends[hit + 1] - ends[hit])]


@settings(max_examples=60, deadline=None)
@given(
    n_points=st.integers(0, 30),
    flips=st.lists(st.floats(0, 1, exclude_max=True), max_size=4),
    cut=st.none() | st.floats(0, 1),
    seed=st.integers(0, 7),
)
def test_whatever_is_flipped_or_cut_nothing_false_is_read_and_every_lost_byte_is_named(
    tmp_path_factory: pytest.TempPathFactory, n_points: int, flips: list[float], cut: float | None, seed: int
) -> None:
    path = tmp_path_factory.mktemp("spool") / "a.spool"
    logged, events = records_of(n_points)
    start = len(written(path, []))
    data = bytearray(written(path, logged, events))
    whole = [len(written(path, logged[:n])) for n in range(n_points + 1)] + [len(written(path, logged, events[:1]))]
    bounds = list(pairwise([*whole, len(data)]))
    touched = set()
    for share in flips:
        at = start + int(share * (len(data) - start))
        data[at] ^= 1 << seed
        touched.symmetric_difference_update({at})  # the same bit flipped twice is whole again
    length = len(data) if cut is None else start + int(cut * (len(data) - start))
    path.write_bytes(data[:length])
    contents = read_spool(path)
    kept = [i for i, (a, b) in enumerate(bounds) if b <= length and not any(a <= at < b for at in touched)]
    assert contents.numbers == [i for i in kept if i < n_points]
    assert same(contents.points, [logged[i] for i in kept if i < n_points])
    assert [event.id for event in contents.events] == [events[i - n_points].id for i in kept if i >= n_points]
    lost = sum(damage.n_bytes_lost for damage in contents.damages)
    assert lost == length - start - sum(bounds[i][1] - bounds[i][0] for i in kept)


def test_a_log_whose_beginning_is_lost_still_gives_its_whole_records(tmp_path: Path) -> None:
    path = tmp_path / "a.spool"
    logged, events = records_of(5)
    data = bytearray(written(path, logged, events))
    data[3] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(SpoolError):
        read_spool(path)
    contents = salvage(path)
    assert same(contents.points, logged)
    assert [event.id for event in contents.events] == ["e1", "e2"]
    assert contents.damages[0].offset == 0


def test_points_that_an_earlier_version_wrote_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.spool"
    start = written(path, [])
    payload = b"p" + msgspec.msgpack.encode((7, 0.5, {"loss": 1.0}))
    record = struct.pack("<II", len(payload), zlib.crc32(payload)) + payload
    path.write_bytes(start + record + record)
    assert read_spool(path).points == [(7, 0.5, {"loss": 1.0})] * 2
    assert read_spool(path).numbers == [0, 1]


def test_what_a_log_was_created_with_is_read_without_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "a.spool"
    _, events = records_of(0)
    with Spool.create(path, {"run_id": "r1"}, events=events, reserve=True) as spool:
        spool.log(0, 0.0, {"loss": 1.0})
        spool.event(replace(events[0], id="later"))
    assert [event.id for event in read_beginning(path)] == ["e1", "e2"]


def test_the_reserve_is_overwritten_in_place(tmp_path: Path) -> None:
    path = tmp_path / "a.spool"
    with Spool.create(path, {}, reserve=True) as spool:
        spool.log(0, 0.0, {"loss": 1.0})
        size = spool.size()
        spool.write_reserve({"not_kept": 3})
        spool.write_reserve({"not_kept": 4})
        assert spool.size() == size
        with pytest.raises(RecordError, match="do not fit the reserve"):
            spool.write_reserve({"error": "x" * 3000})
    assert read_spool(path).reserve == {"not_kept": 4}
    assert read_spool(path).damage is None
    with Spool.create(tmp_path / "b.spool", {}) as spool, pytest.raises(SpoolError, match="has no reserve"):
        spool.write_reserve({})


def test_a_log_whose_folder_was_deleted_is_written_anew_with_all_that_it_held(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.spool"
    spool = Spool.create(path, {"run_id": "r1"})
    spool.log(0, 0.0, {"loss": 1.0})
    assert spool.is_there()
    shutil.rmtree(path.parent)
    assert not spool.is_there()
    spool.log(1, 0.0, {"loss": 2.0})
    spool.restore()
    spool.log(2, 0.0, {"loss": 3.0})
    spool.close()
    assert [step for step, _, _ in read_spool(path).points] == [0, 1, 2]


def test_calls_are_read_back_from_where_one_wants_while_the_log_is_written(tmp_path: Path) -> None:
    with Spool.create(tmp_path / "a.spool", {}, events=records_of(0)[1]) as spool:
        for step in range(100):
            spool.log(step, 0.0, {"loss": float(step)})
        at = spool.size()
        spool.log(100, 0.0, {"loss": 100.0})
        assert [call[0] for call in spool.calls(0)] == list(range(101))
        assert list(spool.calls(at)) == [(100, 100, 0.0, {"loss": 100.0})]
    with pytest.raises(SpoolError, match="closed"):
        list(spool.calls(0))


@pytest.mark.parametrize("tail", [b"\0" * 8, b"\0" * 4096, b"\xff" * 64, b"\x05"])
def test_a_tail_of_rubbish_is_reported_as_damage(tmp_path: Path, tail: bytes) -> None:
    path = tmp_path / "a.spool"
    whole = written(path, [(0, 0.0, {"loss": 1.0})])
    path.write_bytes(whole + tail)
    contents = read_spool(path)
    assert len(contents.points) == 1
    assert contents.damage is not None
    assert contents.damage.offset == len(whole)
    assert contents.damage.n_bytes_lost == len(tail)


@pytest.mark.parametrize("content", [b"", b"ADV", MAGIC, b"hello world, this is no spool", b"ADVSPL9\n" + b"x" * 40])
def test_a_file_without_a_readable_header_is_an_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.spool"
    path.write_bytes(content)
    with pytest.raises(SpoolError):
        read_spool(path)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SpoolError, match="cannot read"):
        read_spool(tmp_path / "none.spool")


def test_a_second_spool_at_the_same_path_is_refused(tmp_path: Path) -> None:
    before = written(tmp_path / "a.spool", [(0, 0.0, {"loss": 1.0})])
    with pytest.raises(SpoolError, match="already"):
        Spool.create(tmp_path / "a.spool", {})
    assert (tmp_path / "a.spool").read_bytes() == before


def test_logging_after_close_is_refused_and_closing_twice_is_fine(tmp_path: Path) -> None:
    spool = Spool.create(tmp_path / "deep" / "a.spool", {})
    spool.sync()
    spool.close()
    spool.close()
    with pytest.raises(SpoolError, match="closed"):
        spool.log(0, 0.0, {"loss": 1.0})
    with pytest.raises(SpoolError, match="closed"):
        spool.event(Event.new("run.noted", "e"))
    with pytest.raises(SpoolError, match="closed"):
        spool.sync()


def test_threads_may_share_a_spool(tmp_path: Path) -> None:
    path = tmp_path / "a.spool"
    with Spool.create(path, {}) as spool:

        def work(worker: int) -> None:
            for step in range(200):
                spool.log(step, 0.0, {f"m{worker}": float(step)})

        threads = [threading.Thread(target=work, args=(worker,)) for worker in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    contents = read_spool(path)
    assert contents.damage is None
    for worker in range(6):
        assert [step for step, _, metrics in contents.points if f"m{worker}" in metrics] == list(range(200))


def run_python(code: str, *args: object, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, args)],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False, **options,
    )  # fmt: skip


def test_sigkill_loses_nothing_that_log_returned_from(tmp_path: Path) -> None:
    path = tmp_path / "a.spool"
    done = run_python(
        """
import os, signal, sys
from pathlib import Path
from storage.spool import Spool, owner_header
spool = Spool.create(Path(sys.argv[1]), owner_header())
for step in range(500):
    spool.log(step, step * 0.1, {"loss": 1.0 / (step + 1)})
os.kill(os.getpid(), signal.SIGKILL)
""",
        path,
    )
    assert done.returncode == -signal.SIGKILL
    contents = read_spool(path)
    assert [step for step, _, _ in contents.points] == list(range(500))
    assert contents.damage is None
    assert owner_is_gone(contents.header)


def test_a_full_disk_is_an_error_and_leaves_no_torn_record(tmp_path: Path) -> None:
    pytest.importorskip("resource")
    path = tmp_path / "a.spool"
    done = run_python(
        """
import resource, sys
from pathlib import Path
from storage.errors import SpoolError
from storage.spool import Spool
spool = Spool.create(Path(sys.argv[1]), {})
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
n = 0
try:
    while True:
        spool.log(n, 0.0, {"loss": float(n)})
        n += 1
except SpoolError as error:
    print(error, file=sys.stderr)
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
spool.log(10**6, 0.0, {"loss": 0.0})
print(n)
""",
        path,
    )
    assert "cannot append" in done.stderr
    contents = read_spool(path)
    assert contents.damage is None
    assert [step for step, _, _ in contents.points] == [*range(int(done.stdout)), 10**6]


# -- whose spool it is


def test_a_living_process_is_not_gone() -> None:
    header = json.loads(json.dumps(owner_header()))
    assert header["pid"] == os.getpid()
    assert not owner_is_gone(header)


def other_process_header() -> dict[str, Any]:
    """Return the header of a process that has ended."""
    done = run_python("import json; from storage.spool import owner_header; print(json.dumps(owner_header()))")
    header: dict[str, Any] = json.loads(done.stdout)
    return header


def test_a_process_that_ended_is_gone() -> None:
    assert owner_is_gone(other_process_header())


def test_a_reused_process_id_does_not_pass_for_the_owner() -> None:
    born_s = owner_header()["birth_s"]
    assert owner_is_gone(owner_header() | {"birth_s": born_s - 3600})


def test_a_zombie_is_gone() -> None:
    child = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import json; from storage.spool import owner_header; print(json.dumps(owner_header()))",
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
    )
    assert child.stdout is not None
    header = json.loads(child.stdout.read())
    child.stdout.close()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and nobody has collected it
    assert owner_is_gone(header)
    child.wait()


@pytest.mark.parametrize("field", ["host", "machine"])
def test_a_process_elsewhere_is_never_called_gone(field: str) -> None:
    assert not owner_is_gone(other_process_header() | {field: "another"})


def test_a_process_in_another_container_is_not_called_gone() -> None:
    assert not owner_is_gone(other_process_header() | {"pid_namespace": "pid:[1]"})


def test_a_reboot_ends_every_process_of_the_machine() -> None:
    assert owner_is_gone(owner_header() | {"boot": "the one before", "pid_namespace": "pid:[1]"})


@pytest.mark.parametrize("header", [{}, {"pid": "12"}, {"run_id": "r"}])
def test_a_header_that_names_no_process_tells_nothing(header: dict[str, Any]) -> None:
    assert not owner_is_gone(header)

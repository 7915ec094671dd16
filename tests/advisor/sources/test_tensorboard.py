from __future__ import annotations

import json
import os
import random
import shutil
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from advisor.errors import SourceError
from advisor.sources.port import Options, Piece, SourceRun
from advisor.sources.tensorboard import TensorBoardReader
from advisor.sources.tfrecord import RecordFile, checksum
from storage.records import RunState
from tests.advisor.sources.recorded import (
    DATA,
    assert_same_curves,
    assert_survives,
    expected,
    find,
    listing,
    read_all,
)

TORCH, OLD, X, TENSORFLOW = FOLDERS = (
    "tensorboard-torch-2.13.0",
    "tensorboard-tensorboardx-2.1",
    "tensorboard-tensorboardx-2.6.5",
    "tensorboard-tensorflow-2.21.0",
)
READER = TensorBoardReader()


def runs_of(path: Path) -> dict[str, tuple[SourceRun, Piece]]:
    return {run.name or "": (run, piece) for run, piece in read_all(READER, path)}


def record(payload: bytes) -> bytes:
    length = struct.pack("<Q", len(payload))
    return length + struct.pack("<I", checksum(length)) + payload + struct.pack("<I", checksum(payload))


def scalar(tag: str, value: float, step: int, time_s: float = 100.0) -> bytes:
    """Return a record as PyTorch writes it."""
    name = tag.encode()
    one = b"\x0a" + bytes([len(name)]) + name + b"\x15" + struct.pack("<f", value)
    summary = b"\x0a" + bytes([len(one)]) + one
    return record(
        b"\x09" + struct.pack("<d", time_s) + b"\x10" + varint(step) + b"\x2a" + varint(len(summary)) + summary
    )


def varint(value: int) -> bytes:
    out = []
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


BEGINNING = record(b"\x09" + struct.pack("<d", 100.0) + b"\x1a\x0dbrain.Event:2")


def session(step: int) -> bytes:
    return record(b"\x09" + struct.pack("<d", 100.0) + b"\x10" + varint(step) + b"\x3a\x02\x08\x01")


def write(folder: Path, *parts: bytes, name: str = "events.out.tfevents.100.box.1.0") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(b"".join(parts))
    return folder / name


def read(folder: Path, cursor: Any = None) -> Piece:
    (found,) = find(READER, folder)
    with READER.open(found, Options(root=folder)) as source:
        (entry,) = source.entries()
        return entry.load().read(json.loads(json.dumps(cursor)))


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_run_and_point_is_as_tensorboard_itself_reads_it(folder: str) -> None:
    wanted = {run["name"]: run["curves"] for run in expected(DATA / folder)}
    added = next((name for name in wanted if name.startswith("long/1")), None)  # what add_hparams puts below its run
    wanted.pop(added or "", None)
    found = runs_of(DATA / folder / "logs")
    assert found.keys() == wanted.keys()
    for name, (run, piece) in found.items():
        assert_same_curves(piece, wanted[name])
        assert run.experiment == "logs"


def test_points_before_a_restart_are_dropped_as_tensorboard_does_and_others_stay() -> None:
    runs = runs_of(DATA / TORCH / "logs")
    loss = runs["restarted"][1].curves["loss"]
    assert loss.steps.tolist() == list(range(10))
    assert loss.values.tolist() == [0, 1, 2, 3, 4, 5, 106, 107, 108, 109]
    assert runs["continued"][1].curves["loss"].steps.tolist() == [*range(8), *range(5, 13)]


@pytest.mark.parametrize("folder", [TORCH, OLD, X])
def test_parameters_of_pytorchs_writer_belong_to_the_run_that_they_were_logged_for(folder: str) -> None:
    run, _ = runs_of(DATA / folder / "logs")["long"]
    wanted = {"batch": 32, "opt": "adam", "nesterov": True, "wd": 1e-4, "lr": 0.1, "seed": 7, "env": "CartPole-v1"}
    assert (run.params, run.seed) == (wanted, 7)
    assert run.notes == ["remark: first try \x1b[2J <b>"]
    assert run.attributes == {"hparam/accuracy": 0.5}


def test_parameters_of_tensorflows_plugin_hold_for_the_run_and_those_below_it() -> None:
    runs = runs_of(DATA / TENSORFLOW / "logs")
    long, _ = runs["long"]
    assert long.params == {"lr": 0.1, "opt": "adam", "layers": 3, "nesterov": False}
    for name in ("keras", "keras/train", "keras/validation"):
        assert runs[name][0].params == {"units": 1, "rate": 0.01}
    assert runs["keras"][0].state is RunState.FINISHED
    assert runs["keras"][0].ended is not None


def test_what_is_no_scalar_is_left_out_and_counted() -> None:
    assert runs_of(DATA / TORCH / "logs")["long"][1].notes == ("left out: 1 histogram",)
    assert runs_of(DATA / TENSORFLOW / "logs")["long"][1].notes == ("left out: 1 histogram, 1 image",)


def test_a_run_written_elsewhere_has_no_state_but_a_time_of_its_last_record() -> None:
    run, piece = runs_of(DATA / TORCH / "logs")["killed"]
    assert (run.state, run.environment) == (None, {"hostname": "box"})
    assert run.active is not None
    assert run.started is not None
    assert 0 <= (run.active - run.started).total_seconds() < 5
    assert piece.curves["loss"].steps.tolist() == list(range(19))


def test_a_process_of_this_machine_tells_whether_the_run_goes_on(tmp_path: Path) -> None:
    now = int(time.time())
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    for name, pid in (("alive", os.getpid()), ("dead", ended.pid)):
        file = f"events.out.tfevents.{now}.{socket.gethostname()}.{pid}.0"
        write(tmp_path / name, BEGINNING, scalar("loss", 1, 0), name=file)
    elder = f"events.out.tfevents.{now - 10**8}.{socket.gethostname()}.{os.getpid()}.0"  # before the process began
    write(tmp_path / "elder", BEGINNING, scalar("loss", 1, 0), name=elder)
    states = {name: run.state for name, (run, _) in runs_of(tmp_path).items()}
    assert states == {"alive": RunState.RUNNING, "dead": RunState.FINISHED, "elder": RunState.FINISHED}


def test_a_folder_of_runs_is_one_source_unless_others_may_have_written_there(tmp_path: Path) -> None:
    for name in ("a", "b/deep", "c", "d"):
        write(tmp_path / name, BEGINNING, scalar("loss", 1, 0))
    (tmp_path / "c" / "trainer_state.json").write_text("{}")
    (tmp_path / "d" / "model.pt").write_bytes(b"")
    top, *others = find(READER, tmp_path)
    assert (top.path, top.claims) == (str(tmp_path), {"a", "d"})
    assert [(Path(found.path).name, found.claims) for found in others] == [
        ("b", {"deep"}),
        ("c", {"events.out.tfevents.100.box.1.0"}),
    ]
    assert sorted(runs_of(tmp_path)) == ["a", "b/deep", "c", "d"]


def test_a_file_stands_for_its_run_and_links_are_not_followed(tmp_path: Path) -> None:
    file = write(tmp_path / "run", BEGINNING, scalar("loss", 1, 0))
    write(tmp_path / "run" / "below", BEGINNING, scalar("loss", 1, 0))
    (tmp_path / "run" / "link").symlink_to(tmp_path / "run" / "below")
    assert sorted(runs_of(tmp_path)) == ["run", "run/below"]
    found = READER.find_file(file)
    assert found is not None
    with READER.open(found, Options(root=file)) as source:
        assert [(entry.place, entry.load().name) for entry in source.entries()] == [(".", "run")]
    assert READER.find_file(tmp_path / "other.txt") is None
    assert READER.find(listing(tmp_path / "run" / "below"))[0].claims == {file.name}


def test_lightnings_parameters_beside_the_events_are_taken(tmp_path: Path) -> None:
    write(tmp_path / "version_0", BEGINNING, scalar("loss", 1, 0))
    (tmp_path / "version_0" / "hparams.yaml").write_text("lr: 0.1\nseed: 3\nnet:\n  depth: 2\n")
    run, _ = runs_of(tmp_path)["version_0"]
    assert (run.params, run.seed) == ({"lr": 0.1, "seed": 3, "net.depth": 2}, 3)


# -- going on


def test_a_run_is_read_on_from_where_reading_ended_and_never_half_a_record(tmp_path: Path) -> None:
    whole = scalar("loss", 3.0, 3)
    file = write(tmp_path, BEGINNING, scalar("loss", 1.0, 1), scalar("loss", float("nan"), 2), whole[:-3])
    first = read(tmp_path)
    np.testing.assert_array_equal(first.curves["loss"].values, [1.0, np.nan])
    with file.open("ab") as more:
        more.write(whole[-3:] + scalar("new", 5.0, 1))
    write(tmp_path, BEGINNING, scalar("loss", 4.0, 4), name="events.out.tfevents.200.box.2.0")
    second = read(tmp_path, first.cursor)
    assert not second.is_whole
    assert second.curves["loss"].steps.tolist() == [3, 4]
    assert second.curves["new"].values.tolist() == [5.0]
    third = read(tmp_path, second.cursor)
    assert (third.curves, third.is_whole) == ({}, False)


def test_files_that_shrank_or_were_replaced_are_read_whole_again(tmp_path: Path) -> None:
    file = write(tmp_path, BEGINNING, scalar("loss", 1.0, 1), scalar("loss", 2.0, 2))
    first = read(tmp_path)
    write(tmp_path, BEGINNING, scalar("loss", 1.0, 1))
    shrunk = read(tmp_path, first.cursor)
    assert (shrunk.is_whole, len(shrunk.curves["loss"])) == (True, 1)
    file.unlink()
    write(tmp_path, BEGINNING, scalar("loss", 9.0, 1), scalar("loss", 2.0, 2), scalar("loss", 3.0, 3))
    replaced = read(tmp_path, first.cursor)
    assert (replaced.is_whole, replaced.curves["loss"].values.tolist()) == (True, [9.0, 2.0, 3.0])


def test_a_restart_that_overwrites_what_was_read_makes_the_reading_whole(tmp_path: Path) -> None:
    write(tmp_path, BEGINNING, *(scalar("loss", step, step) for step in range(5)))
    first = read(tmp_path)
    write(tmp_path, BEGINNING, session(5), scalar("loss", 50, 5), name="events.out.tfevents.200.box.2.0")
    after = read(tmp_path, first.cursor)
    assert (after.is_whole, after.curves["loss"].values.tolist()) == (False, [50.0])
    write(tmp_path, BEGINNING, session(2), scalar("loss", 20, 2), name="events.out.tfevents.300.box.3.0")
    before = read(tmp_path, after.cursor)
    assert (before.is_whole, before.curves["loss"].values.tolist()) == (True, [0.0, 1.0, 20.0])


def test_files_of_the_first_tensorflows_restart_where_a_step_goes_back(tmp_path: Path) -> None:
    write(tmp_path, *(scalar("loss", step, step) for step in range(5)), scalar("acc", 1, 9), scalar("loss", 30, 3))
    curves = read(tmp_path).curves
    assert curves["loss"].values.tolist() == [0, 1, 2, 30]
    assert curves["acc"].values.tolist() == [1]


@pytest.mark.filterwarnings("ignore")
def test_restarts_of_all_kinds_are_as_tensorboard_itself_reads_them(tmp_path: Path) -> None:
    module = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    for seed in range(40):
        rng, folder = random.Random(seed), tmp_path / str(seed)
        parts = [BEGINNING] if seed % 2 else []
        for i in range(60):
            step = rng.randrange(30) if rng.random() < 0.2 else i // 2
            parts.append(session(step) if rng.random() < 0.08 else scalar(rng.choice("abc"), i, step))
        cut = rng.randrange(1, len(parts))
        write(folder, *parts[:cut])
        write(folder, *parts[cut:], name="events.out.tfevents.200.box.1.0")
        told = module.EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
        wanted = {tag: [(p.step, p.value) for p in told.Scalars(tag)] for tag in told.Tags()["scalars"]}
        curves = read(folder).curves
        found = {tag: list(zip(c.steps.tolist(), c.values.tolist(), strict=True)) for tag, c in curves.items()}
        assert found == {tag: points for tag, points in wanted.items() if points}


def test_stamps_change_with_their_run_only(tmp_path: Path) -> None:
    for name in "ab":
        write(tmp_path / name, BEGINNING, scalar("loss", 1, 0))
    (found,) = find(READER, tmp_path)
    with READER.open(found, Options(root=tmp_path)) as source:
        before = {entry.place: entry.stamp for entry in source.entries()}
        (tmp_path / "a" / "hparams.yaml").write_text("lr: 1\n")
        write(tmp_path / "c", BEGINNING, scalar("loss", 1, 0))
        after = {entry.place: entry.stamp for entry in source.entries()}
    assert before["b"] == after["b"]
    assert before["a"] != after["a"]
    assert sorted(after) == ["a", "b", "c"]


# -- damage


def test_a_damaged_record_is_left_out_and_a_damaged_length_ends_the_file(tmp_path: Path) -> None:
    bad = bytearray(scalar("loss", 2.0, 2))
    bad[-6] ^= 1
    file = write(tmp_path, BEGINNING, scalar("loss", 1.0, 1), bytes(bad), scalar("loss", 3.0, 3))
    piece = read(tmp_path)
    assert piece.curves["loss"].values.tolist() == [1.0, 3.0]
    assert piece.notes == ("1 damaged record was left out",)
    content = file.read_bytes()
    with file.open("ab") as more:
        more.write(b"\x07" * 40 + scalar("loss", 4.0, 4))
    broken = read(tmp_path)
    assert broken.curves["loss"].values.tolist() == [1.0, 3.0]
    assert f"is damaged at byte {len(content):,}" in broken.notes[0]


def test_a_length_beyond_the_file_and_a_file_without_records_are_survived(tmp_path: Path) -> None:
    huge = struct.pack("<Q", 2**62)
    write(tmp_path / "huge", BEGINNING, scalar("loss", 1, 1), huge + struct.pack("<I", checksum(huge)) + b"x" * 20)
    write(tmp_path / "empty")
    (found,) = find(READER, tmp_path)
    with READER.open(found, Options(root=tmp_path)) as source:
        huge_run, empty = sorted(source.entries(), key=lambda entry: entry.place, reverse=True)
        assert huge_run.load().read(None).curves["loss"].values.tolist() == [1.0]
        with pytest.raises(SourceError, match="no event file with a whole record"):
            empty.load()


def test_records_longer_than_a_block_are_read_and_very_long_ones_are_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("advisor.sources.tfrecord.BLOCK_BYTES", 64)
    monkeypatch.setattr("advisor.sources.tfrecord.RECORD_MAX_BYTES", 3_000)
    graph = record(b"\x09" + bytes(8) + b"\x22" + varint(900) + bytes(900))
    image = record(b"\x09" + bytes(8) + b"\x22" + varint(4_000) + bytes(4_000))
    path = write(tmp_path, BEGINNING, scalar("loss", 1, 1), graph, image, scalar("loss", 2, 2))
    with RecordFile(path) as file:
        assert sum(len(block.starts) for block in file.records()) == 4
        assert (file.n_long, file.offset) == (1, path.stat().st_size)


@pytest.mark.parametrize("folder", [TORCH, TENSORFLOW])
def test_damaged_files_end_in_a_run_or_a_refusal(folder: str, tmp_path: Path) -> None:
    for name in ("keras", "restarted", "killed", "group", "many"):
        if (DATA / folder / "logs" / name).exists():
            shutil.copytree(DATA / folder / "logs" / name, tmp_path / "from" / name)
    assert_survives(READER, tmp_path / "from", n=100, seed=1, scratch=tmp_path / "to")

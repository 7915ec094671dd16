from __future__ import annotations

import json
import math
import os
import shutil
import struct
import zlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import advisor
from advisor.errors import SourceError
from advisor.sources.importing import import_runs
from advisor.sources.port import Options, Piece, SourceRun
from advisor.sources.wandb import WandbReader
from advisor.sources.wandb_log import BLOCK, HEADER
from storage.records import RunState
from tests.advisor.sources.recorded import DATA, assert_same_curves, assert_survives, expected, find, read_all

READER = WandbReader()
RELEASES = ["wandb-0.12.21", "wandb-0.17.9", "wandb-0.31.0"]
releases = pytest.mark.parametrize("release", RELEASES)


def read(folder: Path) -> dict[str, tuple[SourceRun, Piece]]:
    return {run.meta["run_id"]: (run, piece) for run, piece in read_all(READER, folder)}


# -- logs made by hand: what no release writes by itself on demand


def varint(value: int) -> bytes:
    out = bytearray()
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def part(number: int, content: bytes | str | int | float) -> bytes:
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    if isinstance(content, float):
        return varint(number << 3 | 1) + struct.pack("<d", content)
    content = content.encode() if isinstance(content, str) else content
    return varint(number << 3 | 2) + varint(len(content)) + content


def framed(records: list[bytes]) -> bytes:
    out = bytearray(HEADER)
    for record in records:
        kind = 1
        while True:
            room = BLOCK - len(out) % BLOCK
            if room < 7:
                out += bytes(room)
                room = BLOCK
            some, record = record[: room - 7], record[room - 7 :]
            kind = (1 if kind == 1 else 4) if not record else (2 if kind in (1,) else 3)
            out += struct.pack("<IHB", zlib.crc32(some, zlib.crc32(bytes([kind]))), len(some), kind) + some
            if not record:
                break
            kind = 2
    return bytes(out)


def run_record(project: str = "toy", run_id: str = "r1", *, start: int = 1_700_000_000, nanos: int = 0) -> bytes:
    begun = part(1, start) + part(2, nanos)
    return part(17, part(1, run_id) + part(3, project) + part(17, begun))


def history(step: int, *items: bytes) -> bytes:
    return part(1, step + 10) + part(2, b"".join(part(1, item) for item in items) + part(2, part(1, step)))


def value(name: str, text: str) -> bytes:
    return part(2, name) + part(16, text)


def write(folder: Path, records: list[bytes], name: str = "run-20240101_000000-r1") -> Path:
    log = folder / "wandb" / name / f"run-{name.split('-')[-1]}.wandb"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_bytes(framed(records))
    return log


def only(folder: Path) -> tuple[SourceRun, Piece]:
    (found,) = read_all(READER, folder)
    return found


# -- what the tool wrote


@releases
def test_every_point_that_was_logged_is_read(release: str) -> None:
    runs = read(DATA / release)
    scenarios = {run["scenario"]: run for run in expected(DATA / release)}
    assert_same_curves(runs["fin1shed"][1], scenarios["finished"]["curves"])
    assert_same_curves(runs["fa1led"][1], scenarios["failed"]["curves"])
    assert_same_curves(runs["res0med"][1], scenarios["resumed"]["curves"])
    assert math.isnan(runs["fin1shed"][1].curves["loss"].values[-2])


@releases
def test_of_a_killed_run_the_intact_head_is_read(release: str) -> None:
    run, piece = read(DATA / release)["k1lled"]
    (wanted,) = (run for run in expected(DATA / release) if run["scenario"] == "killed")
    n = len(piece.curves["loss"])
    assert 60 < n <= 180
    assert piece.curves["loss"].steps.tolist() == wanted["curves"]["loss"]["steps"][:n]
    assert piece.curves["loss"].values.tolist() == wanted["curves"]["loss"]["values"][:n]
    assert run.state in (RunState.RUNNING, RunState.CRASHED)  # by how long ago the fixture was checked out
    assert (run.active is not None, run.ended) == (True, None)


@releases
def test_what_is_known_of_a_run_is_kept(release: str) -> None:
    run, piece = read(DATA / release)["fin1shed"]
    assert (run.key, run.experiment, run.name) == ("toy/fin1shed", "toy", "first one")
    assert (run.state, run.error, run.seed) == (RunState.FINISHED, None, 7)
    assert run.params["optimizer.name"] == "adamw"
    assert run.params["optimizer.betas"] == [0.9, 0.999]
    assert (run.params["optimizer.nested.deep"], run.params["lr"], run.params["late"]) == (True, 1e-3, "yes")
    assert (run.params["note"], run.params["nothing"]) == ("größe \u202e\x1b[31m", None)
    assert not [name for name in run.params if name.startswith("_wandb")]
    assert sorted(run.tags) == ["base", "größe"]
    assert list(run.notes) == ["what was tried", "alert (WARN): Loss is low: below 0.01"]
    assert (run.meta["group"], run.meta["job_type"]) == ("sweep-a", "train")
    assert (run.attributes["best"], run.attributes["who.name"]) == (0.75, "ann")
    assert "hist" not in " ".join(run.attributes)
    assert run.environment["git_remote"] == "https://github.com/example/train.git"
    assert len(run.environment["git_commit"]) == 40
    assert run.environment["command"] == "/srv/train/train.py --scenario finished"
    assert run.environment["hostname"] == "node-7"
    assert run.started is not None
    assert run.ended is not None
    assert 0 <= (run.ended - run.started).total_seconds() < 60
    times = piece.curves["loss"].times
    assert (np.diff(times) >= 0).all()
    assert -1.5 < times[0] < 10  # the oldest release writes whole seconds
    assert "values that are no numbers were left out: 1 of type histogram" in piece.notes[-1]
    assert "1 of type text" in piece.notes[-1]


@releases
def test_an_exit_code_is_a_failure_and_a_resumed_run_is_one(release: str) -> None:
    runs = read(DATA / release)
    assert (runs["fa1led"][0].state, runs["fa1led"][0].error) == (RunState.FAILED, "exit code 3")
    resumed, piece = runs["res0med"]
    assert (resumed.state, resumed.params["part"], resumed.meta["n_logs"]) == (RunState.FINISHED, 1, 2)
    assert piece.curves["loss"].steps.tolist() == list(range(80))
    assert len(runs) == 4


@pytest.mark.parametrize("release", RELEASES[:2])
def test_times_are_those_that_the_tools_own_reader_says(release: str) -> None:
    run, piece = read(DATA / release)["fa1led"]
    (wanted,) = (run for run in expected(DATA / release) if run["scenario"] == "failed")
    assert run.started is not None
    stamps = piece.curves["loss"].times + run.started.timestamp()
    np.testing.assert_allclose(stamps, wanted["curves"]["loss"]["stamps"], atol=1e-5)


def test_a_declared_goal_becomes_the_objective() -> None:
    assert list(read(DATA / "wandb-0.17.9")["fin1shed"][0].about.objectives) == [("loss", "minimize")]


# -- what lies there


def test_a_folder_of_runs_is_found_with_their_number_and_from_above(tmp_path: Path) -> None:
    shutil.copytree(DATA / "wandb-0.31.0", tmp_path / "project")
    (found,) = find(READER, tmp_path)
    assert (found.path, found.n_runs, found.claims) == (str(tmp_path / "project" / "wandb"), 4, None)
    (tmp_path / "project" / "wandb" / "latest-run").symlink_to(tmp_path)
    assert len(read(tmp_path)) == 4


def test_one_log_and_one_run_folder_can_be_given() -> None:
    (log,) = (DATA / "wandb-0.31.0").glob("wandb/*fa1led/*.wandb")
    found = READER.find_file(log)
    assert found is not None
    with READER.open(found, Options(root=log)) as source:
        assert [entry.load().key for entry in source.entries()] == ["toy/fa1led"]
    assert [run.key for run, _ in read_all(READER, log.parent)] == ["toy/fa1led"]
    assert READER.find_file(log.parent.parent.parent / "expected.json") is None


def test_beside_other_things_only_what_is_of_wandb_is_claimed(tmp_path: Path) -> None:
    (tmp_path / "run-abc.wandb").write_bytes(framed([run_record(run_id="abc")]))
    (tmp_path / "run-20240101_000000-r1").mkdir()
    (tmp_path / "mlruns").mkdir()
    (found,) = find(READER, tmp_path)
    assert found.claims == {"run-abc.wandb", "run-20240101_000000-r1"}


def test_the_same_id_in_two_projects_is_two_runs(tmp_path: Path) -> None:
    for project, day in (("a", 1), ("b", 2)):
        write(tmp_path, [run_record(project), history(0, value("x", "1"))], f"run-2024010{day}_000000-r1")
    with READER.open(find(READER, tmp_path)[0], Options()) as source:
        assert [(entry.place, entry.load().key) for entry in source.entries()] == [("r1", "a/r1"), ("r1@b", "b/r1")]


def test_a_run_folder_without_a_log_is_refused_and_the_others_go_on(tmp_path: Path) -> None:
    write(tmp_path, [run_record(), history(0, value("x", "1"))])
    (tmp_path / "wandb" / "run-20230101_000000-old").mkdir()
    with READER.open(find(READER, tmp_path)[0], Options()) as source:
        old, good = source.entries()
    with pytest.raises(SourceError, match="cannot be opened"):
        old.load()
    assert good.load().key == "toy/r1"


# -- encodings


def test_typed_values_of_the_new_schema_are_read(tmp_path: Path) -> None:
    items = [
        part(2, "int") + part(5, 5),  # zigzag: -3
        part(2, "float") + part(6, 0.25),
        part(2, "nan") + part(6, math.nan),
        part(2, "flag") + part(4, 1),
        part(2, "none") + part(3, 1),
        part(2, "words") + part(7, "1.5"),
        part(2, "a") + part(2, "b") + part(8, '{"c": 2}'),
    ]
    write(tmp_path, [run_record(), history(3, *items)])
    _, piece = only(tmp_path)
    values = {name: (points.steps.tolist(), points.values.tolist()) for name, points in piece.curves.items()}
    assert math.isnan(values.pop("nan")[1][0])
    assert values == {"int": ([3], [-3.0]), "float": ([3], [0.25]), "flag": ([3], [1.0]), "a.b.c": ([3], [2.0])}
    assert any("text" in note for note in piece.notes)


def test_non_finite_values_written_as_text_are_numbers(tmp_path: Path) -> None:
    write(tmp_path, [run_record(), *(history(i, value("x", t)) for i, t in enumerate(['"NaN"', '"-Infinity"', "NaN"]))])
    values = only(tmp_path)[1].curves["x"].values
    assert math.isnan(values[0])
    assert values[1] == -math.inf
    assert math.isnan(values[2])


# -- reading on


def grown(n: int, *, first: int = 0) -> list[bytes]:
    return [run_record(), *(history(i, value("loss", str(i / 4))) for i in range(first, n))]


def test_a_reading_goes_on_where_the_last_one_ended(tmp_path: Path) -> None:
    log = write(tmp_path, grown(3_000))
    content = log.read_bytes()
    log.write_bytes(content[: len(content) // 2])  # in the middle of a record
    (found,) = find(READER, tmp_path)
    with READER.open(found, Options()) as source:
        (entry,) = source.entries()
        run = entry.load()
        head = run.read(None)
        again = run.read(head.cursor)
        assert (again.is_whole, dict(again.curves)) == (False, {})
        log.write_bytes(content)
        assert next(iter(source.entries())).stamp != entry.stamp
        rest = run.read(json.loads(json.dumps(again.cursor)))
    steps = [*head.curves["loss"].steps, *rest.curves["loss"].steps]
    assert (rest.is_whole, steps) == (False, list(range(3_000)))
    assert any("ends within a record" in note for note in head.notes)


def test_a_log_that_shrank_or_was_replaced_is_read_whole(tmp_path: Path) -> None:
    log = write(tmp_path, grown(400))
    run, piece = only(tmp_path)
    log.write_bytes(framed(grown(200)))
    assert (run.read(piece.cursor).is_whole, len(run.read(piece.cursor).curves["loss"])) == (True, 200)
    log.write_bytes(framed(grown(900, first=300)))
    again = run.read(piece.cursor)
    assert (again.is_whole, again.curves["loss"].steps[0]) == (True, 300)
    assert run.read({"logs": [{"name": log.name, "offset": "x"}]}).is_whole


def test_a_run_resumed_after_it_was_read_goes_on(tmp_path: Path) -> None:
    write(tmp_path, grown(10))
    _, piece = only(tmp_path)
    write(tmp_path, grown(5), "run-20240102_000000-r1")
    run, whole = only(tmp_path)
    rest = run.read(piece.cursor)
    assert (rest.is_whole, rest.curves["loss"].steps.tolist()) == (False, list(range(10, 15)))
    assert whole.curves["loss"].steps.tolist() == list(range(15))


def test_steps_that_a_resumed_run_counts_itself_stay(tmp_path: Path) -> None:
    write(tmp_path, grown(10))
    write(tmp_path, grown(14, first=8), "run-20240102_000000-r1")
    assert only(tmp_path)[1].curves["loss"].steps.tolist() == [*range(10), *range(8, 14)]


# -- damage


def test_after_damage_reading_goes_on_with_the_next_block(tmp_path: Path) -> None:
    log = write(tmp_path, grown(6_000))
    content = bytearray(log.read_bytes())
    content[BLOCK + 100] ^= 255
    log.write_bytes(content)
    _, piece = only(tmp_path)
    steps = piece.curves["loss"].steps
    assert 4_000 < len(steps) < 6_000
    assert (steps[0], steps[-1]) == (0, 5_999)
    assert any("is damaged in 1 place:" in note for note in piece.notes)


def test_of_a_log_with_a_hole_the_beginning_is_read_at_once(tmp_path: Path) -> None:
    log = write(tmp_path, grown(100))
    with log.open("r+b") as file:
        file.truncate(2 * 2**30)
    _, piece = only(tmp_path)
    assert len(piece.curves["loss"]) == 100
    assert "holds no record for more than 8 MiB" in piece.notes[0]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 something else", HEADER[:-1] + b"\x07"])
def test_what_is_no_log_is_refused_in_a_sentence(tmp_path: Path, content: bytes) -> None:
    log = write(tmp_path, grown(1))
    log.write_bytes(content)
    with pytest.raises(SourceError, match=r"run-r1\.wandb"):
        only(tmp_path)


def test_hostile_logs_end_in_a_run(tmp_path: Path) -> None:
    deep = '{"a":' * 5_000 + "1" + "}" * 5_000
    records = [
        run_record(),
        b"\xff" * 40,
        part(2, b"\x0a\xff\xff\xff\xff\x7f"),
        history(0, value("deep", deep), value("\udcff".encode("utf-8", "surrogatepass").decode("latin-1"), "1")),
        history(2**63 - 1, value("far", "1")),
        history(1, *(value(f"m{i}", "1") for i in range(10_050))),
        part(18, part(1, 2**64 - 1)),
    ]
    write(tmp_path, records)
    run, piece = only(tmp_path)
    assert (run.state, run.error) == (RunState.FAILED, "exit code -1")
    assert len(piece.curves) == 10_000
    assert any("beyond the first 10,000" in note for note in piece.notes)
    assert any("could not be decoded" in note for note in piece.notes)


@releases
def test_whatever_happens_to_a_log_reading_ends(release: str, tmp_path: Path) -> None:
    assert_survives(READER, DATA / release, n=60, seed=5, scratch=tmp_path)


def test_without_a_word_of_its_end_a_run_goes_on_for_an_hour_and_is_then_crashed(tmp_path: Path) -> None:
    log = write(tmp_path, grown(1))
    assert only(tmp_path)[0].state is RunState.RUNNING
    os.utime(log, (1_700_000_100, 1_700_000_100))
    run, _ = only(tmp_path)
    assert (run.state, run.active) == (RunState.CRASHED, datetime.fromtimestamp(1_700_000_100, UTC))


def test_a_folder_that_may_not_be_read_is_left_out_and_the_rest_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abc":
        folder = tmp_path / "wandb" / f"offline-run-20260101_00000{ord(name) - 97}-{name}"
        folder.mkdir(parents=True)
        (folder / f"run-{name}.wandb").write_bytes(framed([run_record(run_id=name), history(0, value("loss", "1"))]))

    def guarded(of: Any) -> Any:
        def asked(path: Any, *args: Any, **more: Any) -> Any:
            if f"-b{os.sep}" in str(path):
                raise PermissionError(13, "Permission denied", str(path))
            return of(path, *args, **more)

        return asked

    for call in ("open", "stat", "lstat"):  # the tests may run as root, to whom everything is allowed
        monkeypatch.setattr(os, call, guarded(getattr(os, call)))
    with advisor.open(tmp_path / "store", capture=False) as adv:
        synced = import_runs(adv, tmp_path / "wandb")
        assert synced.n_added == 2
        assert {run.meta["run_id"] for run in adv.runs()} == {"a", "c"}
    (left_out,) = [tally.left_out for tally in synced.tallies]
    assert left_out == {"b": "'run-b.wandb' cannot be opened: Permission denied"}


def test_runs_of_one_second_come_in_the_order_in_which_they_began(tmp_path: Path) -> None:
    for i, name in enumerate("cab"):
        folder = tmp_path / "wandb" / f"offline-run-20260101_000000-{name}"
        folder.mkdir(parents=True)
        (folder / f"run-{name}.wandb").write_bytes(framed([run_record(run_id=name, nanos=1_000 * (i + 1))]))
    (tmp_path / "wandb" / "offline-run-20250101_000000-z").mkdir()
    (tmp_path / "wandb" / "offline-run-20250101_000000-z" / "run-z.wandb").write_bytes(HEADER)
    source = READER.open(find(READER, tmp_path / "wandb")[0], Options())
    assert [entry.place for entry in source.entries()] == ["z", "c", "a", "b"]

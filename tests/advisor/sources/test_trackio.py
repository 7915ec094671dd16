from __future__ import annotations

import json
import math
import os
import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from advisor.errors import SourceError
from advisor.sources.port import Found, Options, Piece, SourceRun
from advisor.sources.trackio import TrackioReader
from tests.advisor.sources.recorded import DATA, assert_same_curves, assert_survives, expected, find, read_all

READER = TrackioReader()
RELEASES = ["trackio-0.43.0", "trackio-0.5.0"]
releases = pytest.mark.parametrize("release", RELEASES)


def first(release: str) -> tuple[SourceRun, Piece]:
    return next(found for found in read_all(READER, DATA / release) if found[0].name == "first <one>")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A database of the latest release."""
    path = tmp_path / "with ?#% in its name" / "toy.db"
    path.parent.mkdir()
    shutil.copy(DATA / "trackio-0.43.0" / "trackio" / "toy.db", path)
    return path


def change(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


def run_in(path: Path, name: str) -> tuple[SourceRun, Piece]:
    return next(found for found in read_all(READER, path.parent) if found[0].name == name)


@releases
def test_every_point_is_that_which_the_tool_itself_returns(release: str) -> None:
    wanted = expected(DATA / release)
    there = {(run.experiment, run.name, run.key): piece for run, piece in read_all(READER, DATA / release)}
    assert len(there) == len(wanted) == 5
    for run in wanted:
        (piece,) = (
            piece
            for (project, name, key), piece in there.items()
            if (project, name) == (run["project"], run["name"]) and run["id"] in (None, key)
        )
        assert_same_curves(piece, run["curves"])


@releases
def test_what_is_known_of_a_run_is_kept(release: str) -> None:
    run, piece = first(release)
    assert run.params == {"lr": 3e-4, "seed": 7, "opt.name": "adamw", "opt.betas": [0.9, 0.99]}
    assert (run.seed, run.meta["group"], run.state) == (7, "sweep-a", None)
    assert run.started is not None
    assert run.active is not None
    assert run.started < run.active
    assert math.isnan(piece.curves["loss"].values[-2])
    assert piece.curves["loss"].values[-1] == -math.inf
    assert (piece.curves["loss"].times >= 0).all()
    assert "values that are no numbers were left out: 1 of type text, 1 of type trackio.table" in piece.notes


def test_an_alert_becomes_a_note() -> None:
    assert list(first("trackio-0.43.0")[0].notes) == ["alert (warn, step 2103): Loss is low: below 0.01"]


@releases
def test_times_are_those_that_the_tool_returns(release: str) -> None:
    run, piece = first(release)
    (wanted,) = (one for one in expected(DATA / release) if one["name"] == "first <one>")
    stamps = [datetime.fromisoformat(stamp).astimezone(UTC) for stamp in wanted["curves"]["eval.f1"]["stamps"]]
    assert run.started is not None
    times = [(stamp - run.started).total_seconds() for stamp in stamps]
    np.testing.assert_allclose(piece.curves["eval.f1"].times, times, atol=1e-5)


def test_two_runs_of_one_name_are_two_and_a_resumed_one_is_one() -> None:
    runs = [run for run, _ in read_all(READER, DATA / "trackio-0.43.0")]
    assert [run.params["i"] for run in runs if run.name == "twin"] == [0, 1]
    ((run, piece),) = [found for found in read_all(READER, DATA / "trackio-0.43.0") if found[0].name == "goes-on"]
    assert run.params["part"] in (0, 1)
    assert piece.curves["loss"].steps.tolist() == list(range(40))


# -- reading on


def row(run_id: str, step: int, metrics: dict[str, Any]) -> str:
    return (
        "INSERT INTO metrics (run_id, timestamp, run_name, step, metrics) VALUES "
        f"('{run_id}', '2030-01-01T00:00:00+00:00', 'goes-on', {step}, '{json.dumps(metrics)}')"
    )


def test_a_reading_goes_on_where_the_last_one_ended(copy: Path) -> None:
    found = READER.find_file(copy)
    assert found is not None
    with READER.open(found, Options()) as source:
        before = {entry.place: entry for entry in source.entries()}
        run = next(run for entry in before.values() if (run := entry.load()).name == "goes-on")
        piece = run.read(None)
        change(copy, row(run.key, 40, {"loss": 9.0}))
        after = {entry.place: entry for entry in source.entries()}
        assert [place for place in before if before[place].stamp != after[place].stamp] == [run.key]
        rest = after[run.key].load().read(json.loads(json.dumps(piece.cursor)))
        assert (rest.is_whole, rest.curves["loss"].steps.tolist()) == (False, [40])
        change(copy, f"DELETE FROM metrics WHERE run_id = '{run.key}' AND step > 30")
        fewer = next(entry for entry in source.entries() if entry.place == run.key).load().read(rest.cursor)
        assert (fewer.is_whole, len(fewer.curves["loss"])) == (True, 31)
        assert run.read({"row": "x"}).is_whole


def test_another_database_in_its_place_is_read_whole(copy: Path) -> None:
    run, piece = run_in(copy, "goes-on")
    change(copy, f"UPDATE metrics SET metrics = '{{\"loss\": 5}}' WHERE run_id = '{run.key}'")
    again = run_in(copy, "goes-on")[0].read(piece.cursor)
    assert (again.is_whole, set(again.curves["loss"].values)) == (True, {5.0})


# -- what lies there


def test_only_databases_of_trackio_are_found(copy: Path) -> None:
    change(copy.parent / "other.db", "CREATE TABLE metrics (key, value, timestamp, run_uuid, step)")
    (copy.parent / "no.db").write_bytes(b"text")
    assert [Path(found.path).name for found in find(READER, copy.parent)] == ["toy.db"]
    with pytest.raises(SourceError, match="table of metrics is missing"):
        READER.open(Found("trackio", str(copy.parent / "other.db")), Options())


def test_nothing_is_written_beside_a_database(copy: Path) -> None:
    list(read_all(READER, copy.parent))
    assert os.listdir(copy.parent) == ["toy.db"]


def test_what_a_killed_process_left_in_the_log_is_read(copy: Path, tmp_path: Path) -> None:
    run, _ = run_in(copy, "goes-on")
    with closing(sqlite3.connect(copy)) as connection:
        connection.execute("PRAGMA wal_autocheckpoint=0")
        with connection:
            connection.execute(row(run.key, 77, {"loss": 1.0}))
        torn = tmp_path / "torn"
        torn.mkdir()
        for name in ("toy.db", "toy.db-wal"):
            shutil.copy(copy.parent / name, torn)
        assert run_in(copy, "goes-on")[1].curves["loss"].steps[-1] == 77
    assert run_in(torn / "toy.db", "goes-on")[1].curves["loss"].steps[-1] == 77
    assert sorted(os.listdir(torn)) == ["toy.db", "toy.db-wal"]


def test_a_schema_with_less_and_rows_that_are_hostile_are_read(tmp_path: Path) -> None:
    deep = '{"a":' * 900 + "1" + "}" * 900
    change(
        tmp_path / "p.db",
        "CREATE TABLE metrics (timestamp, run_name, step, metrics)",
        "INSERT INTO metrics VALUES ('no time', 'r', 0, '{\"x\": 1, \"big\": 1e999}')",
        "INSERT INTO metrics VALUES (NULL, 'r', 'three', '{\"x\": 2}')",
        "INSERT INTO metrics VALUES (7, 'r', 9e30, '{\"x\": 3}')",
        "INSERT INTO metrics VALUES ('', 'r', 1, '[1]')",
        "INSERT INTO metrics VALUES ('', 'r', 2, x'7b2278223a20347d')",
        f"INSERT INTO metrics VALUES ('', 'r', 3, '{deep}')",
        "INSERT INTO metrics VALUES ('', NULL, 3, '{\"y\": 1}')",
    )
    ((_, unnamed), (run, piece)) = sorted(read_all(READER, tmp_path), key=lambda found: found[0].name or "")
    assert dict(unnamed.curves) == {}
    assert (run.started, run.params, list(run.notes)) == (None, {}, [])
    assert piece.curves["x"].steps.tolist() == [0, 2]
    assert piece.curves["big"].values.tolist() == [math.inf]
    assert piece.curves["x"].times.size == 0
    assert any("3 of type unreadable row" in note for note in piece.notes)


@releases
def test_whatever_happens_to_a_database_reading_ends(release: str, tmp_path: Path) -> None:
    assert_survives(READER, DATA / release, n=60, seed=5, scratch=tmp_path)

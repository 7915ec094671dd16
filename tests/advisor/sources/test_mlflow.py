from __future__ import annotations

import json
import math
import shutil
import sqlite3
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from advisor.errors import SourceError
from advisor.sources.mlflow import MLflowReader
from advisor.sources.mlflow_files import read_meta
from advisor.sources.port import Options, Piece, SourceRun
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

FOLDERS = ("mlflow-3.18.0-files", "mlflow-1.30.1-files", "mlflow-3.18.0-sqlite", "mlflow-2.3.2-sqlite")
LARGEST = 1.7976931348623157e308
READER = MLflowReader()


def runs_of(path: Path) -> dict[str, tuple[SourceRun, Piece]]:
    return {run.key: (run, piece) for run, piece in read_all(READER, path)}


def named(path: Path, name: str) -> tuple[SourceRun, Piece]:
    return next((run, piece) for run, piece in read_all(READER, path) if run.name == name)


def as_mlflow_says(curves: Mapping[str, Any]) -> dict[str, Any]:
    """Return curves as MLflow's client gives them, but for two faults of its own.

    Its databases have the largest number for infinity, and its folders lose the step of a point about a data set.
    """
    out = {name: dict(curve) for name, curve in curves.items()}
    for curve in out.values():
        curve["values"] = [math.copysign(math.inf, v) if abs(v) == LARGEST else v for v in curve["values"]]
    if out.get("acc", {}).get("steps") == [0, 0, 0]:
        out["acc"]["steps"] = [0, 1, 2]
    return out


@pytest.fixture
def files(tmp_path: Path) -> Path:
    shutil.copytree(DATA / FOLDERS[0] / "mlruns", tmp_path / "mlruns")
    return tmp_path / "mlruns"


@pytest.fixture
def database(tmp_path: Path) -> Path:
    shutil.copy(DATA / FOLDERS[2] / "mlflow.db", tmp_path / "mlflow.db")
    return tmp_path / "mlflow.db"


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_run_and_point_is_as_mlflow_itself_reads_it(folder: str) -> None:
    wanted = {run["id"]: run for run in expected(DATA / folder)}
    found = runs_of(DATA / folder)
    assert found.keys() == wanted.keys()
    for key, (run, piece) in found.items():
        said = wanted[key]
        assert_same_curves(piece, as_mlflow_says(said["curves"]))
        assert (run.experiment, run.name) == (said["experiment"], said["name"])
        assert sorted(run.params) == sorted(said["params"])
        assert [f"{name}@{digest}" for name, digest in said["datasets"]] == run.meta.get("datasets", [])
        assert run.ended == (datetime.fromtimestamp(said["end_ms"] / 1000, UTC) if said["end_ms"] else None)
        assert run.started == datetime(2025, 10, 9, 8, 53, 20, tzinfo=UTC)


@pytest.mark.parametrize("folder", FOLDERS)
def test_parameters_tags_notes_and_code_keep_their_meaning(folder: str) -> None:
    run, _ = named(DATA / folder, "long run")
    params = dict(run.params)
    assert math.isnan(params.pop("nan"))
    assert params == {
        "lr": 0.1,
        "batch_size": 32,
        "nesterov": True,
        "schedule": None,
        "opt": "adam",
        "eps": 1e-8,
        "wd": 0.001,
        "version": "3.10",
        "leading": "007",
        "model.depth": 3,
        "model.seed": 7,
        "unicode ü": "日本語 \u202e",
        "list": "[1, 2, 3]",
        "hostile": "'; DROP TABLE runs; --",
        "big": "1180591620717411303424",
    }
    assert run.seed == 7
    assert sorted(run.tags) == ["api_key=[redacted]", "baseline", "empty", "team=vision"]
    assert run.attributes == {"long": "x" * 300}
    assert run.notes == ["first try\nof many"]
    assert run.environment == {"user": "ann", "script": "train.py", "git_commit": "a" * 40}
    assert run.meta["parent_run"] == named(DATA / folder, "parent")[0].key
    assert run.artifacts[0]["uri"].startswith("file:///data/mlruns/")
    assert run.about.objectives == [("val/loss", "minimize")]
    assert (run.about.description, run.about.attributes["team"]) == ("what for", "vision")


@pytest.mark.parametrize("folder", FOLDERS)
def test_states_are_kept_and_a_running_run_says_when_it_was_active(folder: str) -> None:
    runs = [run for run, _ in read_all(READER, DATA / folder)]
    states = {run.name: run.state for run in runs}
    assert states["run FAILED"] is RunState.FAILED
    assert states["run KILLED"] is RunState.CRASHED
    assert {run.name for run in runs if run.error == "MLflow recorded that it was killed"} == {"run KILLED"}
    assert states["run None"] is RunState.RUNNING
    assert states["long run"] is RunState.FINISHED
    assert named(DATA / folder, "run None")[0].active is not None


@pytest.mark.parametrize("folder", FOLDERS)
def test_deleted_runs_and_experiments_are_left_out_and_counted(folder: str) -> None:
    (found,) = find(READER, DATA / folder)
    with READER.open(found, Options()) as source:
        names = [entry.load().name for entry in source.entries()]
        list(source.entries())
        assert "deleted" not in names
        assert "in a deleted experiment" not in names
        assert "deleted in MLflow" in source.notes[0]
        assert len(source.notes) <= 2


def test_an_experiment_a_run_and_its_file_can_be_given_by_themselves(files: Path) -> None:
    run, _ = named(files, "long run")
    folder = next(files.glob(f"*/{run.key}"))
    assert [r.name for r, _ in read_all(READER, folder)] == ["long run"]
    assert [r.name for r, _ in read_all(READER, folder / "meta.yaml")] == ["long run"]
    alone = [r for r, _ in read_all(READER, folder.parent)]
    assert sorted(str(r.name) for r in alone) == ["long run", "parent", "resumed"]
    assert {r.experiment for r in alone} == {"Überraschung: 1 #x"}


def test_other_folders_and_databases_are_not_mlflows(tmp_path: Path) -> None:
    (tmp_path / "0").mkdir()
    (tmp_path / "0" / "meta.yaml").write_text("name: a pipeline\n")
    with sqlite3.connect(tmp_path / "other.db") as other:
        other.execute("CREATE TABLE runs (id)")
    other.close()
    (tmp_path / "text.db").write_text("no database")
    assert READER.find(listing(tmp_path)) == []
    assert READER.find_file(tmp_path / "other.db") is None
    assert READER.find_file(tmp_path / "text.db") is None


def test_the_address_of_a_database_means_its_file(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(database.parent)
    for address in (f"sqlite:///{database}", "sqlite:///mlflow.db", "sqlite+pysqlite:///mlflow.db?timeout=5"):
        found = READER.find_address(address)
        assert found is not None
        assert found.path == str(database)
    assert READER.find_address("sqlite:///other.db") is None
    assert READER.find_address("sqlite://") is None


# -- going on


def read_from(path: Path, name: str, cursor: Any) -> Piece:
    (found,) = find(READER, path)
    with READER.open(found, Options()) as source:
        run = next(run for run in (entry.load() for entry in source.entries()) if run.name == name)
        return run.read(json.loads(json.dumps(cursor)))


def test_a_folder_is_read_on_from_where_reading_ended_and_never_half_a_line(files: Path) -> None:
    first = read_from(files, "resumed", None)
    assert first.is_whole
    metric = next(path for path in files.glob("*/*/metrics/loss") if len(path.read_text().splitlines()) == 10)
    with metric.open("a") as file:
        file.write("1760000000200 nan 8\n1760000000300 inf 9\n17600000")
    (metric.parent / "new").write_text("1760000000200 1.5 0\n")
    second = read_from(files, "resumed", first.cursor)
    assert not second.is_whole
    np.testing.assert_array_equal(second.curves["loss"].values, [math.nan, math.inf])
    assert second.curves["loss"].times.tolist() == pytest.approx([0.2, 0.3])
    assert second.curves["new"].values.tolist() == [1.5]
    assert read_from(files, "resumed", second.cursor).curves == {}
    with metric.open("a") as file:
        file.write("00400 0.5 10\n")
    third = read_from(files, "resumed", second.cursor)
    assert (third.curves["loss"].steps.tolist(), third.curves["loss"].times.tolist()) == ([10], [0.4])


def test_a_metric_file_that_shrank_changed_or_was_replaced_is_read_whole_again(files: Path) -> None:
    first = read_from(files, "resumed", None)
    metric = next(path for path in files.glob("*/*/metrics/loss") if len(path.read_text().splitlines()) == 10)
    content = metric.read_text()
    metric.write_text("".join(content.splitlines(keepends=True)[:4]))
    shrunk = read_from(files, "resumed", first.cursor)
    assert (shrunk.is_whole, len(shrunk.curves["loss"])) == (True, 4)
    metric.write_text(content.replace(" 3.0 ", " 4.0 ") + "1760000000200 7 8\n")
    changed = read_from(files, "resumed", first.cursor)
    assert (changed.is_whole, changed.curves["loss"].values[0], len(changed.curves["loss"])) == (True, 4.0, 11)
    metric.unlink()
    assert read_from(files, "resumed", first.cursor).is_whole


def test_a_database_is_read_on_by_its_rows_and_whole_where_they_are_gone(database: Path) -> None:
    first = read_from(database, "resumed", None)
    key = named(database, "resumed")[0].key
    row = "INSERT INTO metrics (key, value, timestamp, run_uuid, step, is_nan) VALUES (?, ?, ?, ?, ?, ?)"
    with sqlite3.connect(database) as writer:
        writer.execute(row, ("loss", 0, 1_760_000_000_900, key, 20, 1))
        writer.execute(row, ("new", -LARGEST, 1_760_000_000_900, key, 1, 0))
    second = read_from(database, "resumed", first.cursor)
    assert not second.is_whole
    assert np.isnan(second.curves["loss"].values).tolist() == [True]
    assert second.curves["new"].values.tolist() == [-math.inf]
    unchanged = read_from(database, "resumed", second.cursor)
    assert (unchanged.curves, unchanged.is_whole, unchanged.cursor) == ({}, False, second.cursor)
    with writer:
        writer.execute("DELETE FROM metrics WHERE run_uuid = ? AND step = 0", (key,))
    writer.close()
    third = read_from(database, "resumed", second.cursor)
    assert third.is_whole
    assert (len(third.curves["loss"]), len(third.curves["new"])) == (10, 1)


def stamps(path: Path) -> dict[str, str]:
    (found,) = find(READER, path)
    with READER.open(found, Options()) as source:
        return {entry.load().name or "": entry.stamp for entry in source.entries()}


def test_the_stamp_of_a_run_in_a_folder_changes_with_that_run_only(files: Path) -> None:
    before = stamps(files)
    run = next(files.glob("*/*/metrics/train/loss")).parents[2]
    for change in (run / "metrics/train/loss", run / "metrics/val/loss", run / "tags/team", run / "meta.yaml"):
        with change.open("a") as file:
            file.write("\n")
        after = stamps(files)
        assert {name for name in after if after[name] != before[name]} == {"long run"}
        before = after
    assert stamps(files) == before


def test_the_stamp_of_a_run_in_a_database_changes_with_that_run_only(database: Path) -> None:
    before = stamps(database)
    key = named(database, "long run")[0].key
    writer = sqlite3.connect(database)
    for change in (
        "UPDATE tags SET value = 'sound' WHERE key = 'team' AND run_uuid = ?",
        "UPDATE runs SET status = 'FAILED' WHERE run_uuid = ?",
        "INSERT INTO metrics (key, value, timestamp, run_uuid, step, is_nan) VALUES ('m', 1, 2, ?, 3, 0)",
        "INSERT INTO params (key, value, run_uuid) VALUES ('p', '1', ?)",
    ):
        with writer:
            writer.execute(change, (key,))
        after = stamps(database)
        assert {name for name in after if after[name] != before[name]} == {"long run"}, change
        before = after
    writer.close()


# -- what is odd


def test_old_lines_and_lines_about_data_sets_and_broken_ones(files: Path) -> None:
    metric = next(path for path in files.glob("*/*/metrics/loss") if len(path.read_text().splitlines()) == 10)
    metric.write_text(
        "1760000000100 0.5\n1760000000200 0.4 7 iris 8d0f\nnonsense\n1 2 x\n\n1760000000300 -Infinity 9\n"
    )
    piece = read_from(files, "resumed", None)
    assert piece.curves["loss"].steps.tolist() == [0, 7, 9]
    assert piece.curves["loss"].values.tolist() == [0.5, 0.4, -math.inf]
    assert piece.notes == ("2 lines of metric 'loss' are no points and were left out",)


def test_a_file_of_settings_is_read_the_same_fast_or_as_yaml(tmp_path: Path) -> None:
    path = tmp_path / "meta.yaml"
    plain = "experiment_id: '0'\nname: long run\nend_time: null\nstatus: 3\ntags: []\nlifecycle_stage: active\n"
    path.write_text(plain.replace("long run", "train"))
    fast = read_meta(path)
    path.write_text("# a comment makes it YAML\n" + path.read_text())
    assert read_meta(path) == {**fast, "tags": []}
    path.write_text('name: "\\xDCber: raschung"\nflag: yes\nuser: no one\n')
    assert read_meta(path) == {"name": "Über: raschung", "flag": True, "user": "no one"}
    for damage in ("", "- a\n", "a: [", "a: &x [*x]\n", "\x00"):
        path.write_text(damage)
        with pytest.raises(SourceError, match=r"meta\.yaml"):
            read_meta(path)


def test_links_are_not_followed(files: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "passwd").write_text("root")
    run = next(files.glob("*/*/metrics/train/loss")).parents[2]
    (run / "params" / "stolen").symlink_to(secret / "passwd")
    shutil.rmtree(run / "artifacts", ignore_errors=True)
    (run / "artifacts").symlink_to(secret)
    loaded, _ = named(files, "long run")
    assert "stolen" not in loaded.params
    assert [each["name"] for each in loaded.artifacts] == ["artifacts"]
    meta = run / "meta.yaml"
    meta.rename(secret / "meta.yaml")
    meta.symlink_to(secret / "meta.yaml")
    assert "long run" not in stamps(files)


def test_values_of_wrong_types_in_a_database_are_left_out_and_said(database: Path) -> None:
    key = named(database, "resumed")[0].key
    row = "INSERT INTO metrics (key, value, timestamp, run_uuid, step, is_nan) VALUES (?, ?, ?, ?, ?, 0)"
    with sqlite3.connect(database) as writer:
        writer.execute(row, ("loss", "high", 1_760_000_000_900, key, 20))
        writer.execute(row, ("loss", 0.25, 1_760_000_000_901, key, "late"))
        writer.execute(row, ("loss", "0.125", 1_760_000_000_902, key, 21))
        writer.execute("UPDATE params SET value = x'ff00' WHERE key = 'lr'")
        writer.execute("UPDATE runs SET start_time = 'noon', end_time = 1e300 WHERE run_uuid = ?", (key,))
    writer.close()
    run, piece = named(database, "resumed")
    assert piece.curves["loss"].values[-1] == 0.125
    assert piece.notes == ("2 rows of the table of metrics are no points and were left out",)
    assert (run.started, run.ended, piece.curves["loss"].times.size) == (None, None, 0)


def test_an_older_schema_and_one_without_data_sets_are_read(database: Path) -> None:
    with sqlite3.connect(database) as writer:
        for table in ("inputs", "datasets", "input_tags", "experiment_tags", "latest_metrics"):
            writer.execute(f"DROP TABLE {table}")
    writer.close()
    assert len(runs_of(database)) == 7


def test_views_in_place_of_tables_are_not_run(database: Path) -> None:
    with sqlite3.connect(database) as writer:
        writer.execute("ALTER TABLE metrics RENAME TO hidden")
        endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT 'k' key, x run_uuid FROM n"
        writer.execute(f"CREATE VIEW metrics AS {endless}")
    writer.close()
    assert READER.find_file(database) is None


@pytest.mark.parametrize("closed", [True, False])
def test_a_database_with_a_write_ahead_log_is_read_and_nothing_is_left_beside_it(database: Path, closed: bool) -> None:
    writer = sqlite3.connect(database)
    writer.execute("PRAGMA journal_mode=WAL")
    with writer:
        writer.execute("UPDATE runs SET name = 'in the log'")
        writer.execute("UPDATE tags SET value = 'in the log' WHERE key = 'mlflow.runName'")
    if closed:
        writer.close()
    before = sorted(path.name for path in database.parent.iterdir())
    assert {run.name for run, _ in read_all(READER, database)} == {"in the log"}
    assert sorted(path.name for path in database.parent.iterdir()) == before
    writer.close()


def test_a_log_that_a_killed_writer_left_is_read_from_a_copy(database: Path, tmp_path: Path) -> None:
    writer = sqlite3.connect(database)
    writer.execute("PRAGMA journal_mode=WAL")
    with writer:
        writer.execute("UPDATE tags SET value = 'in the log' WHERE key = 'mlflow.runName'")
    killed = tmp_path / "killed"
    killed.mkdir()
    for ending in ("", "-wal"):
        shutil.copy(f"{database}{ending}", killed)
    writer.close()
    assert {run.name for run, _ in read_all(READER, killed)} == {"in the log"}
    assert sorted(path.name for path in killed.iterdir()) == ["mlflow.db", "mlflow.db-wal"]


def test_what_a_writer_that_died_in_the_middle_left_is_rolled_back_in_a_copy(database: Path, tmp_path: Path) -> None:
    before = {run.name for run, _ in read_all(READER, database)}
    writer = sqlite3.connect(database, isolation_level=None)
    writer.execute("PRAGMA cache_size = 1")
    writer.execute("BEGIN")
    writer.execute("UPDATE metrics SET value = value + 1")
    writer.execute("UPDATE tags SET value = 'half' WHERE key = 'mlflow.runName'")
    writer.execute("CREATE TABLE filler AS SELECT * FROM metrics, tags LIMIT 20000")
    killed = tmp_path / "killed"
    killed.mkdir()
    for ending in ("", "-journal"):
        shutil.copy(f"{database}{ending}", killed)
    writer.close()
    content = (killed / "mlflow.db").read_bytes()
    assert {run.name for run, _ in read_all(READER, killed / "mlflow.db")} == before
    assert sorted(path.name for path in killed.iterdir()) == ["mlflow.db", "mlflow.db-journal"]
    assert (killed / "mlflow.db").read_bytes() == content


def test_reading_does_not_keep_a_training_from_writing(database: Path) -> None:
    (found,) = find(READER, database)
    writer = sqlite3.connect(database, timeout=0)
    with READER.open(found, Options()) as source:
        for entry in source.entries():
            with writer:
                writer.execute("UPDATE runs SET end_time = end_time + 1")
            entry.load().read(None)
    writer.close()


def test_a_database_that_stays_locked_is_named_so(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("advisor.sources.databases.WAIT_S", 0.05)
    found = READER.find_file(database)
    assert found is not None
    writer = sqlite3.connect(database, isolation_level=None)
    writer.execute("BEGIN EXCLUSIVE")
    writer.execute("UPDATE runs SET end_time = 1")  # makes a journal, which is not the one of a dead writer
    with pytest.raises(SourceError, match="is locked by another program"):
        READER.open(found, Options())
    writer.close()


@pytest.mark.parametrize("folder", FOLDERS)
def test_whatever_is_damaged_reading_ends(folder: str, tmp_path: Path) -> None:
    assert_survives(READER, DATA / folder, n=120, seed=5, scratch=tmp_path)

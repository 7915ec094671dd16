from __future__ import annotations

import math
import shutil
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from advisor.errors import SourceError
from advisor.sources.neptune import NeptuneReader
from advisor.sources.port import Found, Options, Piece, SourceRun
from storage.records import RunState
from tests.advisor.sources.recorded import DATA, assert_same_curves, assert_survives, expected, find, read_all

FIXTURE = DATA / "neptune-exporter-8d3f44a"
READER = NeptuneReader()
UTC_MS = pa.timestamp("ms", tz="UTC")
SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("project_id", "run_id", "attribute_path", "attribute_type")),
        ("step", pa.decimal128(18, 6)),
        ("timestamp", UTC_MS),
        ("int_value", pa.int64()),
        ("float_value", pa.float64()),
        ("string_value", pa.string()),
        ("bool_value", pa.bool_()),
        ("datetime_value", UTC_MS),
        ("string_set_value", pa.list_(pa.string())),
        ("file_value", pa.struct([("path", pa.string())])),
    ]
)
DIGEST = "0123456789abcdef"


def read(folder: Path) -> dict[str, tuple[SourceRun, Piece]]:
    return {run.meta["run_id"]: (run, piece) for run, piece in read_all(READER, folder)}


def scalar(path: str, kind: str, value: Any) -> dict[str, Any]:
    return {"attribute_path": path, "attribute_type": kind, f"{kind}_value": value}


def point(path: str, step: float, value: float | None) -> dict[str, Any]:
    at = datetime(2025, 1, 1, tzinfo=UTC)
    row = {"attribute_path": path, "attribute_type": "float_series", "step": Decimal(str(step)), "timestamp": at}
    return row | {"float_value": value}


def write(folder: Path, *rows: dict[str, Any], run: str = "r", part: int = 0) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / f"{run}-{DIGEST}_part_{part}.parquet"
    rows_of_run = [{"project_id": "lab/toy", "run_id": run} | row for row in rows]
    pq.write_table(pa.Table.from_pylist(rows_of_run, schema=SCHEMA), path)
    return path


def test_every_point_is_that_which_the_exporters_own_reader_says() -> None:
    runs = read(FIXTURE)
    assert len(runs) == 2
    for wanted in expected(FIXTURE):
        curves = {name: curve for name, curve in wanted["curves"].items() if not name.startswith("monitoring/")}
        if "fractional" in curves:
            curves["fractional"]["steps"] = [0, 1, 2]
        assert_same_curves(runs[wanted["id"]][1], curves)
    assert math.isnan(runs["good-run/1"][1].curves["val/loss"].values[1])


def test_what_is_known_of_a_run_is_kept() -> None:
    run, piece = read(FIXTURE)["good-run/1"]
    assert (run.key, run.experiment, run.name) == ("größe-lab/toy/good-run/1", "größe-lab/toy", "baseline")
    assert run.params == {"lr": 3e-4, "batch_size": 128, "seed": 7, "optimizer/name": "adamw <b>", "amp": True}
    assert (run.seed, sorted(run.tags), list(run.notes)) == (7, ["base", "größe"], ["tried"])
    assert run.attributes == {"best/accuracy": 0.75, "evaluated": "2025-03-01T12:07:30+00:00"}
    assert (run.state, run.environment["user"]) == (RunState.FINISHED, "ann")
    assert run.started == datetime(2025, 3, 1, 12, tzinfo=UTC)
    assert run.ended == datetime(2025, 3, 1, 12, 6, 40, tzinfo=UTC)
    np.testing.assert_allclose(piece.curves["train/loss"].times[:3], [1.0, 1.1, 1.2], atol=0.0011)
    assert piece.notes[0] == "left out: 2 values of type string_series"
    assert "1 metric has steps that are no whole numbers" in piece.notes[1]


def test_a_failed_run_has_none_of_the_others_parameters() -> None:
    run, _ = read(FIXTURE)["failed"]
    assert (run.state, run.params, run.name) == (RunState.FAILED, {"lr": 10.0}, "fails")


@pytest.mark.parametrize(
    ("rows", "state"),
    [
        ([scalar("sys/state", "string", "Active")], None),
        ([scalar("sys/state", "string", "Inactive")], RunState.FINISHED),
        ([scalar("sys/state", "string", "Inactive"), scalar("sys/failed", "bool", True)], RunState.FAILED),
        ([], None),
    ],
)
def test_states_are_those_of_the_export(tmp_path: Path, rows: list[dict[str, Any]], state: RunState | None) -> None:
    write(tmp_path, scalar("sys/ping_time", "datetime", datetime(2025, 1, 1, tzinfo=UTC)), *rows)
    run, _ = read(tmp_path)["r"]
    assert (run.state, run.active is None) == (state, state is not None)


def test_a_run_of_several_parts_is_one_in_their_order(tmp_path: Path) -> None:
    for part in (10, 2, 0):
        write(tmp_path, *(point("loss", part * 100 + i, float(part)) for i in range(3)), part=part)
    _, piece = read(tmp_path)["r"]
    assert piece.curves["loss"].steps.tolist() == [0, 1, 2, 200, 201, 202, 1000, 1001, 1002]
    assert piece.curves["loss"].times.size == 0


def test_files_are_links_and_settings_of_other_folders_are_parameters(tmp_path: Path) -> None:
    file = {"attribute_path": "model", "attribute_type": "file", "file_value": {"path": "../../etc/passwd"}}
    write(tmp_path, file, scalar("config/lr", "float", 0.1), scalar("other/lr", "float", 0.2))
    run, _ = read(tmp_path)["r"]
    assert list(run.artifacts) == [{"name": "model", "uri": "../../etc/passwd"}]
    assert (run.params, run.attributes) == ({"lr": 0.1}, {"other/lr": 0.2})


def test_what_is_incomplete_or_of_the_model_registry_is_no_run(tmp_path: Path) -> None:
    write(tmp_path / "project", point("loss", 0, 1.0), run="whole")
    write(tmp_path / "project", point("loss", 0, 1.0), run="torn", part=1)
    (tmp_path / "project" / f"new-{DIGEST}_part_0.parquet.tmp").write_bytes(b"PAR1")
    write(tmp_path / "project" / "models", point("loss", 0, 1.0), run="model")
    (found,) = find(READER, tmp_path)
    assert (found.path, found.n_runs) == (str(tmp_path / "project"), 2)
    with READER.open(found, Options()) as source:
        assert [entry.place for entry in source.entries()] == [f"whole-{DIGEST}"]
        assert source.notes == ["1 runs were exported in part only and left out; export them again"]


def test_one_part_stands_for_its_run(tmp_path: Path) -> None:
    shutil.copytree(FIXTURE, tmp_path / "copy")
    path = next((tmp_path / "copy").rglob("failed-*.parquet"))
    found = READER.find_file(path)
    assert found is not None
    with READER.open(found, Options()) as source:
        (entry,) = source.entries()
        assert entry.load().name == "fails"
    assert READER.find_file(path.parent / "other.parquet") is None


def test_what_is_no_export_is_refused_in_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / f"r-{DIGEST}_part_0.parquet"
    path.write_bytes(b"PAR1 no table")
    with READER.open(Found("neptune", str(tmp_path)), Options()) as source:
        with pytest.raises(SourceError, match="cannot be read as Parquet"):
            next(iter(source.entries())).load()
        pq.write_table(pa.table({"run_id": ["r"]}), path)
        with pytest.raises(SourceError, match="lacks the column 'project_id'"):
            next(iter(source.entries())).load()
        write(tmp_path)
        with pytest.raises(SourceError, match="says nothing of a run"):
            next(iter(source.entries())).load()


def test_text_that_is_no_utf8_is_read(tmp_path: Path) -> None:
    path = write(tmp_path, scalar("parameters/name", "string", "caf__"), point("lo__ss", 0, 1.0))
    table = pq.read_table(path)
    raw = {name: table[name].cast(pa.binary()) for name in ("attribute_path", "string_value")}
    broken = {name: [v and v.replace(b"__", b"\xe9") for v in column.to_pylist()] for name, column in raw.items()}
    columns = [
        pa.array(broken[name], pa.binary()).view(pa.string()) if name in broken else table[name]
        for name in SCHEMA.names
    ]
    pq.write_table(pa.table(columns, schema=SCHEMA), path)
    run, piece = read(tmp_path)["r"]
    assert (run.params, list(piece.curves)) == ({"name": "caf\ufffd"}, ["lo\ufffdss"])


def test_whatever_happens_to_an_export_reading_ends(tmp_path: Path) -> None:
    assert_survives(READER, FIXTURE, n=100, seed=5, scratch=tmp_path)

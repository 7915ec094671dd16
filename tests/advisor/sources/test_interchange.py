from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import advisor
from advisor.app import Advisor
from advisor.errors import ImportFormatError
from advisor.sources import export_folder, import_path
from storage.errors import RecordError
from storage.records import RunState


def write(folder: Path, runs: list[dict[str, Any]], curves: list[dict[str, Any]]) -> Path:
    folder.mkdir(exist_ok=True)
    defaults = {"experiment": "exp", "state": "finished", "params": "{}", "seed": -1, "meta": "{}"}
    pd.DataFrame([{**defaults, **run} for run in runs]).to_parquet(folder / "runs.parquet")
    pd.DataFrame(curves, columns=["run_id", "metric", "steps", "values"]).to_parquet(folder / "curves.parquet")
    return folder


def curve(run_id: str, values: list[float], metric: str = "loss") -> dict[str, Any]:
    return {"run_id": run_id, "metric": metric, "steps": list(range(len(values))), "values": values}


@pytest.fixture
def make(tmp_path: Path) -> Callable[[str], Advisor]:
    return lambda name: advisor.open(tmp_path / name, capture=False)


def test_what_is_exported_and_imported_again_is_the_same(make: Callable[[str], Advisor], tmp_path: Path) -> None:
    adv = make("a")
    exp = adv.experiment("toy", objective="loss")
    odd = {"lr": 1e-300, "big": 2**80, "nan": math.nan, "inf": -math.inf, "nested": {"a": [1, None]}, "ü\n": "😀"}
    with exp.start(params=odd, seed=5, tags=["t"], notes=["n\n2"]) as run:
        for value in (1.0, math.nan, math.inf, -math.inf, 5e-324):
            run.log({"loss": value})
    with pytest.raises(ValueError, match="boom"), exp.start(params={"lr": 1}) as failed:
        failed.log({"x/y": 1.0}, step=7)
        raise ValueError("boom")
    exp.tell({"lr": 2}, math.nan)
    export_folder(adv, tmp_path / "out")
    again = make("b")
    import_path(again, tmp_path / "out")
    assert again.store.curves() == adv.store.curves()
    for before, after in zip(adv.runs(), again.runs(), strict=True):
        for field in ("id", "number", "state", "seed", "tags", "notes", "started", "ended", "error"):
            assert getattr(after, field) == getattr(before, field), field
        assert json.dumps(dict(after.params)) == json.dumps(dict(before.params))
    assert math.isnan(again.experiment("toy").run(2).values[0])
    assert again.experiment("toy").record.objectives == exp.record.objectives


def test_columns_that_the_store_has_no_field_for_are_kept_and_written_again(
    make: Callable[[str], Advisor], tmp_path: Path
) -> None:
    folder = write(tmp_path / "in", [{"run_id": "r", "meta": '{"gpu": "x"}', "owner": "ann", "seed": 3}], [])
    adv = make("s")
    import_path(adv, folder)
    assert (adv.run("r").meta, adv.run("r").user_attrs, adv.run("r").seed) == ({"gpu": "x"}, {"owner": "ann"}, 3)
    assert len(adv.runs(where="meta.owner = 'ann' and meta.gpu = 'x'")) == 1
    export_folder(adv, tmp_path / "out")
    frame = pd.read_parquet(tmp_path / "out" / "runs.parquet")
    assert (frame["owner"][0], frame["meta"][0]) == ("ann", '{"gpu": "x"}')


def test_importing_twice_adds_only_what_is_new(make: Callable[[str], Advisor], tmp_path: Path) -> None:
    adv = make("s")
    runs = [{"run_id": f"r{i}"} for i in range(3)]
    first = import_path(adv, write(tmp_path / "in", runs[:2], [curve("r0", [1.0, 2.0])]))
    second = import_path(adv, write(tmp_path / "in", runs, [curve("r0", [1.0, 2.0]), curve("r2", [3.0])]))
    assert (first.n_runs, first.n_curves, second.n_runs, second.n_known, second.n_curves) == (2, 1, 1, 2, 1)
    np.testing.assert_array_equal(adv.run("r0").curve("loss").values, [1.0, 2.0])


def test_run_ids_that_occur_twice_become_two_runs_and_are_reported(
    make: Callable[[str], Advisor], tmp_path: Path
) -> None:
    runs = [{"run_id": "r", "params": '{"a": 1}'}, {"run_id": "r", "params": '{"a": 2}'}]
    adv = make("s")
    imported = import_path(adv, write(tmp_path / "in", runs, [curve("r", [1.0]), curve("r", [2.0])]))
    assert "1 run ids occur more than once" in imported.notes[0]
    assert [(run.id, run.params["a"], run.curve("loss").last) for run in adv.runs()] == [("r", 1, 1.0), ("r~2", 2, 2.0)]


def test_the_objective_is_the_last_finite_value_of_its_curve(make: Callable[[str], Advisor], tmp_path: Path) -> None:
    adv = make("s")
    import_path(adv, write(tmp_path / "in", [{"run_id": "r"}], [curve("r", [4.0, 1.0, 2.0, math.nan])]))
    assert adv.experiment("exp", objective="loss").run(0).objective == 2.0
    assert adv.experiment("exp", reduce="best").run(0).objective == 1.0
    assert adv.experiment("exp", reduce="mean-last-2").run(0).objective == 1.5
    assert adv.experiment("exp", reduce="mean-last-3").run(0).objective == pytest.approx(7 / 3)


def test_curves_of_unknown_runs_are_left_out_and_counted(make: Callable[[str], Advisor], tmp_path: Path) -> None:
    imported = import_path(make("s"), write(tmp_path / "in", [{"run_id": "r"}], [curve("ghost", [1.0])]))
    assert imported.n_curves == 0
    assert "1 curves belong to runs" in imported.notes[0]


def test_secrets_in_foreign_parameters_are_redacted(make: Callable[[str], Advisor], tmp_path: Path) -> None:
    adv = make("s")
    import_path(adv, write(tmp_path / "in", [{"run_id": "r", "params": '{"api_key": "abc123"}'}], []))
    assert adv.run("r").params == {"api_key": "[redacted]"}


def test_a_killed_state_of_another_tracker_is_understood(make: Callable[[str], Advisor], tmp_path: Path) -> None:
    adv = make("s")
    import_path(adv, write(tmp_path / "in", [{"run_id": "r", "state": "KILLED"}], []))
    assert adv.run("r").state is RunState.CRASHED


@pytest.mark.parametrize(
    ("run", "message"),
    [
        ({"run_id": "r", "params": "{oops"}, "params of run 'r' is not JSON"),
        ({"run_id": "r", "params": "[1]"}, "params of run 'r' is a list"),
        ({"run_id": "r", "state": "odd"}, "state 'odd'; allowed are waiting"),
        ({"run_id": ""}, "row 0 of runs.parquet has no run_id"),
    ],
)
def test_a_bad_row_is_named_and_nothing_is_imported(
    make: Callable[[str], Advisor], tmp_path: Path, run: dict[str, Any], message: str
) -> None:
    adv = make("s")
    with pytest.raises(ImportFormatError, match=message):
        import_path(adv, write(tmp_path / "in", [run], []))
    assert adv.runs() == []
    assert adv.experiments() == []


def test_folders_that_cannot_be_read_are_named(make: Callable[[str], Advisor], tmp_path: Path) -> None:
    adv = make("s")
    with pytest.raises(ImportFormatError, match="there is nothing at"):
        import_path(adv, tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(RecordError, match=r"runs\.parquet' is missing"):
        import_path(adv, tmp_path / "empty")
    (tmp_path / "empty" / "runs.parquet").write_bytes(b"no parquet at all")
    with pytest.raises(RecordError, match="cannot be read as Parquet"):
        import_path(adv, tmp_path / "empty")
    pd.DataFrame({"run_id": ["r"]}).to_parquet(tmp_path / "empty" / "runs.parquet")
    with pytest.raises(RecordError, match="lacks the column 'experiment'"):
        import_path(adv, tmp_path / "empty")

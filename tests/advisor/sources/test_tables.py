from __future__ import annotations

import json
import math
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from advisor.errors import SourceError
from advisor.sources.port import Options, Piece, SourceRun
from advisor.sources.tables import TablesReader
from advisor.sources.tensorboard import TensorBoardReader
from storage.records import RunState
from tests.advisor.sources.recorded import DATA, assert_survives, listing, read_all

READER = TablesReader()
EVAL_DATA = Path(os.environ.get("ADVISOR_EVAL_DATA", Path(__file__).resolve().parents[4] / "shared" / "data"))
ALGOPERF = EVAL_DATA / "raw" / "algoperf"


def old(path: Path) -> Path:
    """Make a file one that nobody writes any more."""
    os.utime(path, (time.time() - 100,) * 2)
    return path


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))
    return old(path)


def runs_of(path: Path, **columns: str) -> dict[str, tuple[SourceRun, Piece]]:
    options = Options(root=path, columns=columns)
    return {run.name or "": (run, piece) for run, piece in read_all(READER, path, options)}


def one(path: Path, **columns: str) -> tuple[SourceRun, Piece]:
    (found,) = runs_of(path, **columns).values()
    return found


def points(piece: Piece, metric: str) -> list[tuple[int, float]]:
    curve = piece.curves[metric]
    return list(zip(curve.steps.tolist(), curve.values.tolist(), strict=True))


# -- one row a step


def test_a_table_of_steps_is_one_run(tmp_path: Path) -> None:
    text = (
        "step,epoch,train/loss,val/loss,split,config/lr\n0,0,1.5,,a,0.1\n10,0,nan,2,a,0.1\n20,1,inf,-Infinity,a,0.1\n"
    )
    run, piece = one(write(tmp_path / "mine.csv", text))
    assert sorted(piece.curves) == ["epoch", "train/loss", "val/loss"]
    np.testing.assert_equal(points(piece, "train/loss"), [(0, 1.5), (10, math.nan), (20, math.inf)])
    assert points(piece, "val/loss") == [(10, 2.0), (20, -math.inf)]
    assert run.params == {"split": "a", "lr": 0.1}
    assert (run.name, run.experiment, run.state, run.active is not None) == ("mine", "mine", None, True)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("t.csv", "epoch;loss;acc\n1;0,5;0,25\n2;1e-3;1\n"),
        ("t.tsv", "epoch\tloss\tacc\n1\t0.5\t0.25\n2\t1e-3\t1\n"),
        ("t.txt", "epoch|loss|acc\n1|0.5|.25\n2|1e-3|1\n"),
        ("t.csv", '"epoch", "loss", "acc"\n"1", "0.5", "0.25"\n2, 1e-3, 1\n'),
        ("t.csv", "# by hand\nepoch,loss,acc\r\n1,0.5,0.25\r\n2,1e-3,1\r\n"),
        ("t.csv", "epoch,loss,acc\n1,0.5,0.25\n2,1e-3,1"),
        ("t.jsonl", '{"epoch": 1, "loss": 0.5, "acc": "0.25"}\n{"epoch": 2, "loss": 1e-3, "acc": true}\n'),
        ("t.json", '{"epoch": 1, "loss": 0.5, "acc": 0.25}\n\n{"epoch": 2, "loss": 1e-3, "acc": 1}\n'),
    ],
)
def test_what_separates_cells_and_decimals_is_told_by_the_beginning(tmp_path: Path, name: str, text: str) -> None:
    _, piece = one(write(tmp_path / name, text))
    assert points(piece, "loss") == [(1, 0.5), (2, 1e-3)]
    assert points(piece, "acc") == [(1, 0.25), (2, 1.0)]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_encodings_are_told_by_the_beginning(tmp_path: Path, encoding: str) -> None:
    _, piece = one(write(tmp_path / "t.csv", "Step,Verlust für Ü\n1,0.5\n2,0.25\n", encoding))
    assert points(piece, "Verlust für Ü") == [(1, 0.5), (2, 0.25)]


def test_parquet_is_read_with_missing_cells_apart_from_nan(tmp_path: Path) -> None:
    frame = pd.DataFrame({"step": [0, 1, 2], "loss": pd.array([1.0, None, 3.0], dtype="Float64"), "tag": ["a"] * 3})
    frame["nan"] = np.array([1.0, math.nan, 2.0])
    frame["when"] = pd.to_datetime(["2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z", "2026-01-01T00:00:03Z"])
    frame = frame.rename(columns={"when": "timestamp"})
    frame.to_parquet(tmp_path / "t.parquet")
    run, piece = one(tmp_path / "t.parquet")
    assert points(piece, "loss") == [(0, 1.0), (2, 3.0)]
    assert (run.params, piece.curves["loss"].times.tolist()) == ({"tag": "a"}, [0.0, 3.0])
    assert run.started is not None
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(SourceError, match="cannot be read as Parquet"):
        one(tmp_path / "broken.parquet")


@pytest.mark.parametrize(
    ("cells", "times"),
    [
        (("1700000000", "1700000002.5"), [0.0, 2.5]),
        (("1700000000000", "1700000002500"), [0.0, 2.5]),
        (("2026-01-01 00:00:00", "2026-01-01T00:00:02.5"), [0.0, 2.5]),
        (("10", "12.5"), [10.0, 12.5]),
    ],
)
def test_times_are_moments_or_seconds_since_the_start(
    tmp_path: Path, cells: tuple[str, str], times: list[float]
) -> None:
    run, piece = one(write(tmp_path / "t.csv", f"step,time,loss\n0,{cells[0]},1\n1,{cells[1]},2\n"))
    assert piece.curves["loss"].times.tolist() == times
    assert (run.started is None) == (times[0] == 10.0)


def test_ragged_rows_and_words_are_left_out_and_counted(tmp_path: Path) -> None:
    text = "step,loss,acc\n0,1,2\n1,3\n2,oops,4\n3,5,6,7\n,8,9\nx,8,9\n\n4,NA,10\n"
    _, piece = one(write(tmp_path / "t.csv", text))
    assert points(piece, "loss") == [(0, 1.0), (1, 3.0), (3, 5.0)]
    assert points(piece, "acc") == [(0, 2.0), (2, 4.0), (3, 6.0), (4, 10.0)]
    assert piece.notes == (
        "2 rows have no step; they were left out",
        "1 row is longer than the header; what goes beyond it was left out",
        "1 cell holds no number; it was left out",
    )


def test_what_rows_are_left_out_of_is_said_of_many_runs_and_of_lines_too(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "run,step,loss\na,0,1,9\na,1,2,9\n,2,3\n")
    found = READER.find_file(path)
    assert found is not None
    with READER.open(found, Options(root=path)) as source:
        list(source.entries())
        assert source.notes == [
            "2 rows are longer than the header; what goes beyond it was left out",
            "1 row names no run and was left out",
        ]
    _, piece = one(write(tmp_path / "t.jsonl", '{"step": 0, "loss": 1}\nnothing\n'))
    assert piece.notes == ("1 line is no row; it was left out",)


@pytest.mark.parametrize(
    ("name", "text", "what"),
    [
        ("t.csv", "step,loss\n0,1\n", "CSV"),
        ("t.txt", "step;loss\n0;1\n", "CSV"),
        ("t.tsv", "step\tloss\n0\t1\n", "TSV"),
        ("t.json", '{"step": 0, "loss": 1}\n', "JSON lines"),
        ("t.parquet", "PAR1 nothing", "Parquet"),
    ],
)
def test_what_is_found_is_called_by_its_form(tmp_path: Path, name: str, text: str, what: str) -> None:
    found = READER.find_file(write(tmp_path / name, text))
    assert found is not None
    assert (READER.title, found.what) == ("table", what)


def test_a_header_within_and_steps_that_go_back_are_kept_in_order(tmp_path: Path) -> None:
    _, piece = one(write(tmp_path / "t.csv", "step,loss\n0,1\n1,2\nstep,loss\n0,3\nstep,loss,acc\n1,4,5\n"))
    assert points(piece, "loss") == [(0, 1.0), (1, 2.0), (0, 3.0), (1, 4.0)]
    assert points(piece, "acc") == [(1, 5.0)]


def test_quoted_cells_may_hold_anything(tmp_path: Path) -> None:
    text = 'step,loss,"a, ""b""\nc"\n0,1,"x,\ny"\n1,2,"x,\ny"\n'
    run, piece = one(write(tmp_path / "t.csv", text))
    assert points(piece, "loss") == [(0, 1.0), (1, 2.0)]
    assert run.params == {'a, "b"\nc': "x,\ny"}


def test_a_step_that_is_a_fraction_gives_way_to_a_better_column(tmp_path: Path) -> None:
    _, piece = one(write(tmp_path / "t.csv", "epoch,iter,loss\n0.5,10,1\n1.0,20,2\n"))
    assert points(piece, "loss") == [(10, 1.0), (20, 2.0)]


def test_parameters_beside_the_table_are_taken_and_settings_nest(tmp_path: Path) -> None:
    write(tmp_path / "a" / "metrics.csv", "step,loss\n0,1\n")
    write(tmp_path / "a" / "config.yaml", "lr: 0.5\nnet: {depth: 2}\n")
    write(tmp_path / "a" / "hparams.json", '{"lr": 0.1, "seed": 3}')
    write(tmp_path / "b" / "metrics.csv", "step,loss\n0,1\n")
    write(tmp_path / "b" / "params.json", "[1]")
    write(tmp_path / "b" / "data.csv", "x,y\n0,1\n")
    runs = runs_of(tmp_path)
    assert sorted(runs) == ["a", "b"]
    run, _ = runs["a"]
    assert (run.params, run.seed, run.experiment) == ({"lr": 0.1, "seed": 3, "net.depth": 2}, 3, tmp_path.name)
    assert runs["b"][1].notes == ("params.json holds no parameters but a list",)


def test_logs_of_detectron_and_mmengine_are_read(tmp_path: Path) -> None:
    lines = [{"iteration": 19, "total_loss": 1.0, "lr": 0.1}, {"iteration": 39, "total_loss": math.nan, "lr": 0.2}]
    write(tmp_path / "d" / "metrics.json", "".join(json.dumps(line) + "\n" for line in lines))
    line = {"loss": 0.5, "epoch": 1, "iter": 50, "step": 50}
    write(tmp_path / "m" / "vis_data" / "scalars.json", json.dumps(line) + "\n")
    runs = runs_of(tmp_path)
    np.testing.assert_equal(points(runs["d"][1], "total_loss"), [(19, 1.0), (39, math.nan)])
    assert points(runs["m/vis_data"][1], "loss") == [(50, 0.5)]


def test_iterations_that_count_anew_each_epoch_are_counted_on(tmp_path: Path) -> None:
    lines: list[dict[str, Any]] = [{"env_info": "Linux", "seed": None, "config": "model = dict()"}]
    for epoch in (1, 2, 3):
        lines += [{"mode": "train", "epoch": epoch, "iter": i, "loss": epoch + i / 1e3, "lr": 0.1} for i in (50, 100)]
        lines.append({"mode": "val", "epoch": epoch, "iter": 12, "lr": 0.1, "bbox_mAP": epoch / 10})
    path = write(tmp_path / "20260101_000000.log.json", "".join(json.dumps(line) + "\n" for line in lines))
    run, piece = one(path)
    assert piece.curves["train/loss"].steps.tolist() == [50, 100, 150, 200, 250, 300]
    assert points(piece, "val/bbox_mAP") == [(100, 0.1), (200, 0.2), (300, 0.3)]
    assert run.params == {"env_info": "Linux", "config": "model = dict()"}
    assert [found.path for found in READER.find(listing(tmp_path))] == [str(path)]


def test_rows_about_train_and_validation_are_metrics_of_their_own(tmp_path: Path) -> None:
    text = "epoch,phase,loss,param_norm\n0,train,1,5\n0,val,2,6\n1,train,3,7\n1,val,4,8\n"
    run, piece = one(write(tmp_path / "t.csv", text))
    assert sorted(piece.curves) == ["train/loss", "train/param_norm", "val/loss", "val/param_norm"]
    assert points(piece, "val/loss") == [(0, 2.0), (1, 4.0)]
    assert run.params == {}


def test_a_table_with_one_value_a_row_has_its_metrics_names_in_a_column(tmp_path: Path) -> None:
    text = "step,name,value,run\n0,loss,1,a\n0,acc,0.5,a\n1,loss,nan,a\n0,loss,7,b\n"
    runs = runs_of(write(tmp_path / "t.csv", text))
    np.testing.assert_equal(points(runs["a"][1], "loss"), [(0, 1.0), (1, math.nan)])
    assert points(runs["a"][1], "acc") == [(0, 0.5)]
    assert points(runs["b"][1], "loss") == [(0, 7.0)]
    _, piece = one(write(tmp_path / "v.csv", "Wall time,Step,Value\n1700000000.5,3,0.25\n1700000001.5,4,0.5\n"))
    assert (points(piece, "Value"), piece.curves["Value"].times.tolist()) == ([(3, 0.25), (4, 0.5)], [0.0, 1.0])


def test_a_table_with_one_value_a_row_has_a_curve_a_metric_also_without_steps(tmp_path: Path) -> None:
    runs = runs_of(write(tmp_path / "t.csv", "metric,value,run\nloss,1,a\nacc,5,a\nloss,3,a\nloss,2,b\n"))
    assert (points(runs["a"][1], "loss"), points(runs["a"][1], "acc")) == ([(0, 1.0), (1, 3.0)], [(0, 5.0)])
    assert points(runs["b"][1], "loss") == [(0, 2.0)]
    runs = runs_of(write(tmp_path / "u.csv", "metric,value,step,run,time_s\nloss,1,0,a,2\nacc,5,0,b,3\n"))
    assert [list(piece.curves) for _, piece in runs.values()] == [["loss"], ["acc"]]
    with pytest.raises(SourceError, match=r"one value a row .* --column NAME=ROLE"):
        runs_of(write(tmp_path / "v.csv", "metric,value,place\nloss,1,a\nacc,5,a\n"))


RUNS_CSV = (
    "run_id,experiment,number,state,objective,seed,started,ended,duration_s,params.lr,params.opt,metrics.loss,meta.name,"
    "tags,notes,error\n"
    "01A,exp,1,pruned,0.5,7,2026-01-01T00:00:00+00:00,2026-01-01T00:01:00+00:00,60.0,0.1,none,0.5,mine,a; b,n1,\n"
    "01B,'-exp,2,failed,,,,,,0.2,'=x,,,,,why\n"
)
CURVES_CSV = (
    "run_id,experiment,metric,step,value,time_s\n01A,exp,loss,0,1.5,0.25\n01A,exp,'-acc,3,NaN,\n"
    "01A,exp,loss,1,-inf,0.5\n01C,exp,loss,1,1,\n"
)


def test_an_export_as_csv_is_read_back(tmp_path: Path) -> None:
    write(tmp_path / "runs.csv", RUNS_CSV)
    write(tmp_path / "curves.csv", CURVES_CSV)
    (found,) = READER.find(listing(tmp_path))
    assert found.claims == {"runs.csv", "curves.csv"}
    with READER.open(found, Options(root=tmp_path)) as source:
        first, second = [entry.load() for entry in source.entries()]
        assert source.notes == ["the curves of 1 run that runs.csv does not name were left out"]
    assert (first.key, first.name, first.experiment, first.state) == ("01A", "mine", "exp", RunState.PRUNED)
    assert (first.params, first.seed, first.tags) == ({"lr": 0.1, "opt": "none"}, 7, ["a", "b"])
    assert (first.notes, str(first.ended)) == (["n1"], "2026-01-01 00:01:00+00:00")
    piece = first.read(None)
    np.testing.assert_equal(
        {metric: points(piece, metric) for metric in piece.curves},
        {"loss": [(0, 1.5), (1, -math.inf)], "-acc": [(3, math.nan)]},
    )
    assert piece.curves["loss"].times.tolist() == [0.25, 0.5]
    assert (second.params, second.experiment, second.error) == ({"lr": 0.2, "opt": "=x"}, "-exp", "why")
    assert (second.state, second.read(None).curves) == (RunState.FAILED, {})


def test_curves_of_an_export_are_read_without_its_runs(tmp_path: Path) -> None:
    runs = runs_of(write(tmp_path / "curves.csv", CURVES_CSV))
    assert {name: (run.experiment, sorted(piece.curves)) for name, (run, piece) in runs.items()} == {
        "01A": ("exp", ["-acc", "loss"]),
        "01C": ("exp", ["loss"]),
    }
    assert runs["01A"][0].params == {}


def test_the_index_of_a_data_frame_is_steps_where_nothing_else_is_and_no_metric(tmp_path: Path) -> None:
    _, piece = one(write(tmp_path / "a.csv", ",loss,val_loss\n0,1,2\n1,3,4\n2,5,6\n"))
    assert points(piece, "loss") == [(0, 1.0), (1, 3.0), (2, 5.0)]
    _, piece = one(write(tmp_path / "b.csv", ",step,loss\n0,10,2\n1,20,4\n2,30,6\n"))
    assert {metric: points(piece, metric) for metric in piece.curves} == {"loss": [(10, 2.0), (20, 4.0), (30, 6.0)]}
    runs = runs_of(write(tmp_path / "c.csv", ",name,lr,acc\n0,x,1,2\n1,y,3,4\n2,z,5,6\n"))
    assert list(runs) == ["x", "y", "z"]
    assert list(runs["x"][1].curves) == ["acc"]


# -- many runs


def test_runs_of_one_table_are_told_apart_by_a_column(tmp_path: Path) -> None:
    text = "run,step,loss,opt,seed\nb,0,1,adam,1\na,0,2,sgd,2\nb,1,3,adam,1\n,5,9,sgd,2\n"
    path = write(tmp_path / "t.csv", text)
    runs = runs_of(path)
    assert list(runs) == ["b", "a"]
    assert points(runs["b"][1], "loss") == [(0, 1.0), (1, 3.0)]
    assert [(run.params, run.seed) for run, _ in runs.values()] == [
        ({"opt": "adam", "seed": 1}, 1),
        ({"opt": "sgd", "seed": 2}, 2),
    ]


def test_seeds_tell_runs_apart_where_nothing_else_does(tmp_path: Path) -> None:
    runs = runs_of(write(tmp_path / "t.csv", "seed,step,loss\n1,0,1\n1,1,2\n2,0,3\n"))
    assert list(runs) == ["seed=1", "seed=2"]
    assert points(runs["seed=2"][1], "loss") == [(0, 3.0)]


def test_a_table_of_results_has_a_run_in_each_row(tmp_path: Path) -> None:
    text = (
        "commit\tval_bpb\tmemory_gb\tstatus\tdescription\n"
        "a1b2c3d\t0.9979\t44.0\tkeep\tbaseline\n"
        "b2c3d4e\t0.9932\t44.2\tdiscard\tincrease LR to 0.04\n"
        "c3d4e5f\t0.0\t0.0\tcrash\tdouble width, OOM\n"
    )
    runs = runs_of(write(tmp_path / "results.tsv", text))
    assert list(runs) == ["a1b2c3d", "b2c3d4e", "c3d4e5f"]
    run, piece = runs["b2c3d4e"]
    assert points(piece, "val_bpb") == [(0, 0.9932)]
    assert (run.state, run.tags, run.notes) == (RunState.FINISHED, ["status=discard"], ["increase LR to 0.04"])
    assert run.environment == {"git_commit": "b2c3d4e"}
    assert runs["c3d4e5f"][0].state is RunState.CRASHED


def test_names_that_never_repeat_and_hyperparameters_make_a_table_of_results(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "name,lr,epochs,acc\nx,0.1,10,0.5\ny,0.2,10,0.75\nx,0.1,10,0.6\n")
    runs = runs_of(path)
    assert [run.key.partition("#")[2] for run, _ in read_all(READER, path)] == ["x", "y", "x~2"]
    run, piece = runs["y"]
    assert (run.params, list(piece.curves)) == ({"lr": 0.2, "epochs": 10}, ["acc"])


def test_numbers_are_parameters_however_they_are_written(tmp_path: Path) -> None:
    text = 'name,lr,config/wd,config/python,config/betas,acc\na,.1,1e-3,3.10,"[0.9, 1]",1\nb,0.10,1.E-4,3.9,[],2\n'
    runs = runs_of(write(tmp_path / "t.csv", text))
    assert runs["a"][0].params == {"lr": 0.1, "wd": 0.001, "python": "3.10", "betas": [0.9, 1]}
    assert (runs["b"][0].params["lr"], runs["b"][0].params["wd"]) == (0.1, 1e-4)


def test_an_export_of_the_page_of_wandb_says_what_its_columns_are(tmp_path: Path) -> None:
    text = (
        '"Name","State","Notes","User","Tags","Created","Runtime","Sweep","lr","optimizer","val/loss","epoch"\n'
        '"fog-1","finished","first","ann","a, b","2026-01-01T00:00:00.000Z","90","s1","0.1","adam","0.5","3"\n'
        '"fog-1","crashed","-","ann","","2026-01-01T01:00:00.000Z","1h 2m 3s","","0.2","sgd","NaN","4"\n'
    )
    path = write(tmp_path / "wandb_export_2026.csv", text)
    first, second = (run for run, _ in read_all(READER, path, Options(root=path)))
    assert (first.name, first.state, first.notes, first.tags) == ("fog-1", RunState.FINISHED, ["first"], ["a", "b"])
    assert (str(first.started), str(first.ended)) == ("2026-01-01 00:00:00+00:00", "2026-01-01 00:01:30+00:00")
    assert (first.params, first.meta) == ({"lr": 0.1, "optimizer": "adam"}, {"User": "ann", "Sweep": "s1"})
    assert (second.name, second.state, second.meta) == ("fog-1", RunState.CRASHED, {"User": "ann"})
    assert (str(second.ended), second.notes) == ("2026-01-01 02:02:03+00:00", [])
    assert {metric: points(first.read(None), metric) for metric in first.read(None).curves} == {
        "val/loss": [(0, 0.5)],
        "epoch": [(0, 3.0)],
    }
    told, _ = read_all(READER, path, Options(root=path, columns={"epoch": "param"}))
    assert told[0].params["epoch"] == 3


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("loss,acc\n1,2\n3,4\n", "no column of steps that is known .it has loss, acc."),
        ("1,2\n3,4\n", "no line of column names"),
        ("", "holds no row"),
        ("run,loss\n" + "a,1\n" * 9, "nothing says that each row is a run"),
    ],
)
def test_a_table_that_may_mean_anything_is_refused_with_what_to_state(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(SourceError, match=reason):
        one(write(tmp_path / "t.csv", text))


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("a.log", "".join(f"2026-11-01 10:00:00 INFO step {i} loss 1.0\n" for i in range(50)), "one column only"),
        ("a.log", "".join(f"2026-11-01 10:00:00,{i:03} INFO step loss\n" for i in range(50)), "no column of numbers"),
        ("poem.txt", "The fog comes\non little cat feet.\n\nIt sits looking\n" * 10, "one column only"),
        ("poem.txt", "The fog, it comes\non little, cat feet.\nIt sits, looking\n" * 10, "no column of numbers"),
        ("p.csv", "name,street,city\n" + "".join(f"n{i},{i} Road,c{i}\n" for i in range(25)), "no column of numbers"),
        ("t.txt", "step loss\n" + "".join(f"{i} {i / 2}\n" for i in range(20)), "separated by something else"),
        ("r.csv", "name,lr,acc\na,0.1,\nb,0.2,\n", "runs without any metric"),
        ("s.csv", "step,said\n0,hello\n1,world\n", "no column of numbers"),
    ],
)
def test_what_would_become_runs_without_values_is_refused(tmp_path: Path, name: str, text: str, reason: str) -> None:
    with pytest.raises(SourceError, match=reason) as refused:
        runs_of(write(tmp_path / name, text))
    assert "--column NAME=ROLE" in str(refused.value)


def test_what_is_stated_decides(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "k,loss,g,time,step\n0,1,a,7,1.5\n5,2,a,8,2.5\n0,3,b,9,3.5\n")
    runs = runs_of(path, k="step", g="run", time="metric", step="ignore")
    assert list(runs) == ["a", "b"]
    assert sorted(runs["a"][1].curves) == ["loss", "time"]
    assert points(runs["a"][1], "loss") == [(0, 1.0), (5, 2.0)]
    with pytest.raises(SourceError, match="no column 'nope'; it has k, loss"):
        runs_of(path, nope="step")
    with pytest.raises(SourceError, match="role 'axis'; allowed are step"):
        runs_of(path, k="axis")


# -- going on


def read(path: Path, cursor: Any = None) -> Piece:
    found = READER.find_file(path)
    assert found is not None
    with READER.open(found, Options(root=path)) as source:
        (entry,) = source.entries()
        return entry.load().read(json.loads(json.dumps(cursor)))


@pytest.mark.parametrize("is_json", [False, True])
def test_a_table_is_read_on_and_never_half_a_line(tmp_path: Path, is_json: bool) -> None:
    def line(step: int) -> str:
        return json.dumps({"step": step, "loss": step / 2}) + "\n" if is_json else f"{step},{step / 2}\n"

    path = tmp_path / ("t.jsonl" if is_json else "t.csv")
    path.write_text(("" if is_json else "step,loss\n") + line(0) + line(1) + line(2)[:-2])
    first = read(path)
    assert points(first, "loss") == [(0, 0.0), (1, 0.5)]
    with path.open("a") as file:
        file.write(line(2)[-2:] + line(3))
    second = read(path, first.cursor)
    assert (second.is_whole, points(second, "loss")) == (False, [(2, 1.0), (3, 1.5)])
    assert read(path, second.cursor).curves == {}
    path.write_text(("" if is_json else "step,loss\n") + line(7))
    replaced = read(path, second.cursor)
    assert (replaced.is_whole, points(replaced, "loss")) == (True, [(7, 3.5)])


def test_rows_are_counted_on_and_a_later_header_still_holds(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("step,loss\n0,1\nstep,loss,acc\n1,2,3\n")
    first = read(path)
    with path.open("a") as file:
        file.write("2,4,5\n")
    assert points(read(path, first.cursor), "acc") == [(2, 5.0)]


def test_stamps_of_a_table_of_runs_change_with_their_run_only(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "run,step,loss\na,0,1\nb,0,2\n")
    found = READER.find_file(path)
    assert found is not None
    with READER.open(found, Options(root=path)) as source:
        before = {entry.place: entry.stamp for entry in source.entries()}
        write(path, "run,step,loss\na,0,1\nb,0,2\nb,1,3\nc,0,4\n")
        after = {entry.place: entry.stamp for entry in source.entries()}
    assert before["a"] == after["a"]
    assert before["b"] != after["b"]
    assert list(after) == ["a", "b", "c"]


def test_other_files_are_not_tables(tmp_path: Path) -> None:
    write(tmp_path / "a.json", '{\n "a": 1\n}\n')
    write(tmp_path / "metrics.json", '{"final": 1.0}')
    write(tmp_path / "results.csv", "x,y\n1,2\n")
    assert READER.find_file(tmp_path / "a.json") is None
    assert READER.find_file(tmp_path / "a.py") is None
    assert READER.find(listing(tmp_path)) == []


# -- the same training, told twice


def assert_same_training(folder: Path) -> None:
    told = {run.name: (run, piece) for run, piece in read_all(TensorBoardReader(), folder, Options(root=folder))}
    tables = {run.name: (run, piece) for run, piece in read_all(READER, folder, Options(root=folder))}
    assert told.keys() == tables.keys()
    for name, (run, piece) in told.items():
        other, rows = tables[name]
        assert (run.params, run.meta, run.experiment) == (other.params, other.meta, other.experiment)
        curves = {metric: curve for metric, curve in piece.curves.items() if metric != "global_step"}
        assert curves.keys() == rows.curves.keys()
        for metric, curve in curves.items():
            np.testing.assert_array_equal(curve.steps, rows.curves[metric].steps, err_msg=metric)
            # Event files hold 32 bits, tables what Python wrote of 64.
            np.testing.assert_allclose(curve.values, rows.curves[metric].values, rtol=1.2e-7, err_msg=metric)


@pytest.mark.skipif(not ALGOPERF.is_dir(), reason="there are no real trainings in $ADVISOR_EVAL_DATA")
def test_a_real_training_is_the_same_from_its_table_and_from_its_event_files() -> None:
    assert_same_training(ALGOPERF)


def test_a_training_is_the_same_from_its_table_and_from_its_event_files() -> None:
    assert_same_training(DATA / "tables-algoperf-pair")


def test_damaged_tables_end_in_a_run_or_a_refusal(tmp_path: Path) -> None:
    source = tmp_path / "from"
    write(source / "metrics.csv", "step,time,loss,name\n" + "".join(f"{i},{i}.5,0.{i},x\n" for i in range(99)))
    write(source / "a" / "log.jsonl", "".join(f'{{"step": {i}, "loss": {i}.5, "x": [1, {{}}]}}\n' for i in range(99)))
    write(source / "b" / "results.tsv", "run\tstep\tloss\n" + "".join(f"r{i % 3}\t{i}\t0.{i}\n" for i in range(99)))
    write(source / "b" / "config.yaml", "a: [1, 2]\nb: {c: d}\n")
    pd.DataFrame({"step": range(9), "loss": range(9)}).to_parquet(source / "metrics.parquet")
    assert_survives(READER, source, n=60, seed=2, scratch=tmp_path / "to")


def test_what_columns_were_taken_for_is_said_once(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    path.write_text("lr,hidden,val_loss\n0.1,3,0.5\n0.2,4,0.4\n")
    reader = TablesReader()
    found = reader.find_file(path)
    assert found is not None
    with reader.open(found, Options(root=path)) as source:
        for entry in source.entries():
            entry.load()
        (said,) = source.notes
    assert said == (
        "results.csv: each row is a run; parameters are 'lr', 'hidden'; metrics are 'val_loss'; "
        "--column NAME=ROLE says otherwise"
    )


def test_columns_that_are_called_like_parameters_and_stay_the_same_in_each_run_are_parameters(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    rows = [f"{run},{step},{lr},{64 - step},{opt},0.{step}" for run, lr, opt in RUNS_OF_STEPS for step in (1, 2, 3)]
    path.write_text("\n".join(["run,step,lr,width,optimizer,val_loss", *rows]))
    reader = TablesReader()
    found = reader.find_file(path)
    assert found is not None
    with reader.open(found, Options(root=path)) as source:
        runs = [entry.load() for entry in source.entries()]
        (said,) = source.notes
    assert [run.params for run in runs] == [{"lr": 0.1, "optimizer": "sgd"}, {"lr": 0.01, "optimizer": "adam"}]
    assert [set(run.read(None).curves) for run in runs] == [{"width", "val_loss"}] * 2  # a width that changes is none
    assert "parameters are 'lr', 'optimizer'; metrics are 'width', 'val_loss'; --column" in said


RUNS_OF_STEPS = (("a", 0.1, "sgd"), ("b", 0.01, "adam"))

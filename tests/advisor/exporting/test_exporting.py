"""Each export is read by the other program's own reader where that is installed, else held against what it wrote."""

from __future__ import annotations

import json
import math
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest
import yaml

import advisor
from advisor.app import Advisor
from advisor.cli import main
from advisor.errors import ConfigError
from advisor.exporting import FORMATS, export
from advisor.exporting.csv_tables import cell
from advisor.exporting.protobuf import varint
from advisor.exporting.tensorboard_events import crc32c
from advisor.sources.importing import import_runs
from storage.errors import ExperimentNotFoundError
from tests.advisor.exporting.conftest import NASTY, ODD, add

A = "a" * 32


def same(one: Any, other: Any) -> None:
    np.testing.assert_array_equal(np.asarray(one, float), np.asarray(other, float))  # NaN equals NaN
    assert np.signbit(np.asarray(one, float)).tolist() == np.signbit(np.asarray(other, float)).tolist()


# -- the front door


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_is_written_twice_into_the_same_place(adv: Advisor, tmp_path: Path, format: str) -> None:
    def content() -> dict[str, bytes]:
        return {str(p.relative_to(tmp_path)): p.read_bytes() for p in (tmp_path / "out").rglob("*") if p.is_file()}

    first = export(adv, tmp_path / "out", format=format)
    before = content()
    again = export(adv, tmp_path / "out", format=format)
    assert (first.n_runs, again.n_runs, first.n_curves) == (6, 6, 8)
    assert content().keys() == before.keys()
    if format != "optuna":  # its journal is one of what was done
        assert content() == before


def test_one_experiment_alone(adv: Advisor, tmp_path: Path) -> None:
    assert export(adv, tmp_path / "out", format="csv", experiment="bare").n_runs == 1
    with pytest.raises(ExperimentNotFoundError):
        export(adv, tmp_path / "out", format="csv", experiment="digit")


def test_what_is_not_understood_is_said(adv: Advisor, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown format 'parqet'; did you mean 'parquet'"):
        export(adv, tmp_path, format="parqet")
    with pytest.raises(ConfigError, match="is an address; csv is written to a folder"):
        export(adv, "s3://bucket/x", format="csv")
    with pytest.raises(ConfigError, match="cannot be opened as a storage of Optuna's"):
        export(adv, "nonsense://x", format="optuna")


def test_the_command_says_what_was_left_out(adv: Advisor, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = ["--store", adv.store.uri]
    assert main([*store, "export", str(tmp_path / "w"), "--format", "wandb"]) == 0
    done = capsys.readouterr()
    assert done.out == f"{tmp_path / 'w'}\n"
    assert "1 values share metric and step with a later one" in done.err
    assert "1 open suggestions have no place in W&B" in done.err
    assert main([*store, "export", str(tmp_path / "o"), "--format", "optuna", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["n_suggestions"] == 1
    assert main([*store, "export", str(tmp_path / "w"), "--format", "x"]) == 2


# -- CSV, by pandas


def test_csv_reads_back_as_the_same_numbers(adv: Advisor, tmp_path: Path) -> None:
    export(adv, tmp_path / "out", format="csv")
    curves = pd.read_csv(tmp_path / "out" / "curves.csv")
    loss = curves[(curves["run_id"] == A) & (curves["metric"] == "loss")]
    same(loss["value"], ODD)
    assert loss["step"].tolist() == list(range(len(ODD)))
    acc = curves[curves["metric"] == "acc/val"]
    assert (acc["step"].tolist(), acc["value"].tolist()) == ([5, 3, 3, 9], [0.25, 0.5, 0.75, 1.0])
    runs = pd.read_csv(tmp_path / "out" / "runs.csv").set_index("run_id")
    assert runs.loc[A, ["params.lr", "seed", "state", "meta.group"]].tolist() == [0.1, 7, "finished", "g"]
    assert runs.loc["nan-1", "state"] == "finished"
    assert math.isnan(runs.loc["nan-1", "objective"])
    assert runs.loc[A, "params.nested.a"] == "[1, null]"


def test_no_cell_is_a_formula(adv: Advisor, tmp_path: Path) -> None:
    export(adv, tmp_path / "out", format="csv")
    raw = pd.read_csv(tmp_path / "out" / "runs.csv", dtype=str, keep_default_na=False).set_index("run_id")
    assert (raw.loc[A, "params.text"], raw.loc[A, "meta.name"]) == (f"'{NASTY}", f"'{NASTY}")
    assert raw.loc[A, "notes"].startswith("'-a note")
    for name in ("=1", "+x", "@x", "\t=1", " =1", "-x", "\r\n=1", "|x"):
        assert cell(name) == f"'{name}"
    assert [cell(value) for value in (-1.5, -3, "-1.5", -math.inf, "a=1")] == ["-1.5", "-3", "-1.5", "-inf", "a=1"]


# -- MLflow: what mlflow 3.17 wrote for such runs


def test_the_mlflow_folder_is_as_mlflow_writes_it(adv: Advisor, tmp_path: Path) -> None:
    export(adv, tmp_path / "out", format="mlflow", experiment="digits/mlp")
    (home,) = (tmp_path / "out").iterdir()
    about = yaml.safe_load((home / "meta.yaml").read_text())
    assert (about["name"], about["experiment_id"], len(home.name)) == ("digits/mlp", home.name, 18)
    assert about["experiment_id"].isdigit()
    run = home / A
    told = yaml.safe_load((run / "meta.yaml").read_text())
    assert (told["run_id"], told["run_name"], told["status"], told["source_type"]) == (A, NASTY, 3, 4)
    assert told["artifact_uri"].startswith("file://")
    lines = [line.split(" ") for line in (run / "metrics" / "loss").read_text().splitlines()]
    assert [value for _, value, _ in lines] == ["1.0", "nan", "inf", "-inf", "1e-300", "1e+300", "0.1", "-0.0"]
    assert [int(stamp) - told["start_time"] for stamp, _, _ in lines] == [1000 * i for i in range(len(lines))]
    assert (run / "metrics" / "acc" / "val").is_file()
    assert (run / "params" / "lr").read_bytes() == b"0.1"
    assert (run / "tags" / "team").read_text() == "vision"
    assert (run / "tags" / "mlflow.note.content").read_text() == "-a note\n\nx\ny"
    status = {yaml.safe_load(p.read_text())["status"] for p in home.glob("*/meta.yaml")}
    assert status == {1, 3, 4}
    assert (
        len(list(home.iterdir())) == 7
    )  # five runs, the experiment's file and tags: no run's id led out of the folder


def test_what_an_export_to_mlflow_says_comes_back(adv: Advisor, own: Advisor, tmp_path: Path) -> None:
    export(adv, tmp_path / "out", format="mlflow", experiment="digits/mlp")
    import_runs(own, tmp_path / "out")
    (record,) = own.store.experiments()
    assert [(each.metric, each.direction) for each in record.objectives] == [("loss", "minimize")]
    assert record.description == "d"
    assert own.store.run(A).seed == 7


def test_runs_come_back_from_wandbs_logs_in_their_order(own: Advisor, tmp_path: Path) -> None:
    own.experiment("sweep", objective="loss")
    for i in range(6):
        add(own, "sweep", f"{9 - i}" * 8, {"loss": [1.0]}, params={"i": i})
    export(own, tmp_path / "out", format="wandb")
    with advisor.open(tmp_path / "again", capture=False) as again:
        import_runs(again, tmp_path / "out")
        assert [run.params["i"] for run in sorted(again.runs(), key=lambda run: run.number)] == list(range(6))


def test_names_that_would_be_a_file_and_a_folder_both_stay(own: Advisor, tmp_path: Path) -> None:
    own.experiment("names")
    add(own, "names", "n" * 32, {"a": [1.0], "a/b": [2.0], "../../up": [3.0], "x?": [4.0]}, params={"p/q": 1, "p": 2})
    done = export(own, tmp_path / "out", format="mlflow", experiment="names")
    run = next((tmp_path / "out").glob("*/nnnn*"))
    found = sorted(str(p.relative_to(run / "metrics")) for p in (run / "metrics").rglob("*") if p.is_file())
    assert len(found) == 4
    assert "a" in found
    assert not (tmp_path / "up").exists()
    assert any("MLflow does not take" in note for note in done.notes)


# -- W&B: read back by a reader of its own, which also read what wandb 0.31 wrote


def records(path: Path) -> Iterator[bytes]:
    data = path.read_bytes()
    assert data[:7] == b":W&B\xe1\xbe\x00"
    at, whole = 7, b""
    while at + 7 <= len(data):
        room = 32_768 - at % 32_768
        if room < 7:
            assert not any(data[at : at + room])
            at += room
            continue
        crc, size, kind = struct.unpack_from("<IHB", data, at)
        part = data[at + 7 : at + 7 + size]
        assert crc == zlib.crc32(bytes([kind]) + part)
        whole += part
        at += 7 + size
        if kind in (1, 4):
            yield whole
            whole = b""
    assert at == len(data)


def fields(message: bytes) -> dict[int, list[Any]]:
    """Return the fields of a protocol buffer by number."""

    def number(at: int) -> tuple[int, int]:
        value = shift = 0
        while True:
            byte = message[at]
            value |= (byte & 0x7F) << shift
            at, shift = at + 1, shift + 7
            if byte < 0x80:
                return value, at

    out: dict[int, list[Any]] = {}
    at = 0
    while at < len(message):
        key, at = number(at)
        if key & 7 == 0:
            value, at = number(at)
        elif key & 7 == 1:
            (value,) = struct.unpack_from("<d", message, at)
            at += 8
        else:
            size, at = number(at)
            value = message[at : at + size]
            at += size
        out.setdefault(key >> 3, []).append(value)
    return out


def items(message: bytes) -> dict[str, Any]:
    return {(f.get(2) or f[1])[0].decode(): json.loads(f[16][0]) for f in (fields(item) for item in fields(message)[1])}


def test_the_wandb_log_holds_rows_by_step(adv: Advisor, tmp_path: Path) -> None:
    export(adv, tmp_path / "out", format="wandb")
    (path,) = (tmp_path / "out" / "wandb").glob(f"offline-run-*-{A}/run-{A}.wandb")
    content = [fields(record) for record in records(path)]
    assert [each[1][0] for each in content] == list(range(1, len(content) + 1))
    assert set(content[0]) == {1, 21}
    run = fields(content[1][17][0])
    assert (run[1][0].decode(), run[3][0].decode(), run[8][0].decode()) == (A, "digits-mlp", NASTY)
    assert [tag.decode() for tag in run[10]] == ["baseline", "team=vision"]
    config = items(run[4][0])
    assert (config["lr"], config["nested"], config["seed"]) == (0.1, {"a": [1, None]}, 7)
    assert math.isnan(config["nan"])
    rows = [items(each[2][0]) for each in content if 2 in each]
    assert [row["_step"] for row in rows] == [*range(8), 9]
    same([row["loss"] for row in rows if "loss" in row], ODD)
    assert [(row["_step"], row["acc/val"]) for row in rows if "acc/val" in row] == [(3, 0.75), (5, 0.25), (9, 1.0)]
    (machine,) = [fields(each[7][0]) for each in content if 7 in each]
    assert [fields(item) for item in machine[3]] == [{1: [b"cpu"], 16: [b"50.0"]}]
    assert set(content[-1]) == {1, 18}
    ends = {}
    for other in (tmp_path / "out" / "wandb").glob("*/*.wandb"):
        last = fields(list(records(other))[-1])
        name = fields(fields(list(records(other))[1])[17][0])[1][0].decode()
        ends[name] = fields(last[18][0]).get(1, [0])[0] if 18 in last else None
    assert ends[A] == 0
    assert ends["failed-1"] == 1
    assert ends["running-1"] is None


def test_records_longer_than_a_block_are_cut_and_put_together(own: Advisor, tmp_path: Path) -> None:
    own.experiment("long")
    for size in (32_700, 32_768, 70_000, *range(32_480, 32_520, 3)):
        add(own, "long", f"long-{size}", {"x": [1.0]}, params={"text": "x" * size})
    export(own, tmp_path / "out", format="wandb", experiment="long")
    for path in (tmp_path / "out" / "wandb").glob("*/*.wandb"):
        config = items(fields(fields(list(records(path))[1])[17][0])[4][0])
        assert len(config["text"]) == int(path.stem.rsplit("-", 1)[1])


# -- TensorBoard, by its own reader


def test_tensorboard_reads_curves_and_parameters(adv: Advisor, tmp_path: Path) -> None:
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    from tensorboard.plugins.hparams import plugin_data_pb2

    done = export(adv, tmp_path / "out", format="tensorboard")
    assert "1 values are beyond 32-bit floats; the largest one stands for them" in done.notes
    homes = sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").glob("*/*"))
    assert homes == ["bare/run-00000", *(f"digits_mlp/run-0000{i}" for i in range(5))]
    whole = {"scalars": 0, "tensors": 0}
    read = accumulators.EventAccumulator(str(tmp_path / "out" / "digits_mlp" / "run-00000"), whole)
    read.Reload()
    for metric, curve in adv.run(A).curves.items():
        events = read.Scalars(metric)
        assert [event.step for event in events] == curve.steps.tolist()
        largest = np.finfo(np.float32).max
        inside = np.where(np.isfinite(curve.values), np.clip(curve.values, -largest, largest), curve.values)
        same([event.value for event in events], inside.astype(np.float32))
        started = adv.run(A).started
        assert started is not None
        assert [event.wall_time - started.timestamp() for event in events] == pytest.approx(curve.times.tolist())
    told = read.SummaryMetadata("_hparams_/session_start_info").plugin_data
    start = plugin_data_pb2.HParamsPluginData.FromString(told.content).session_start_info
    assert told.plugin_name == "hparams"
    assert (start.hparams["lr"].number_value, start.hparams["opt"].string_value) == (0.1, "adam")
    assert start.hparams["flag"].bool_value is True
    ended = read.SummaryMetadata("_hparams_/session_end_info").plugin_data.content
    assert plugin_data_pb2.HParamsPluginData.FromString(ended).session_end_info.status == 1
    bare = accumulators.EventAccumulator(str(tmp_path / "out" / "bare" / "run-00000"), whole)
    bare.Reload()
    assert [event.step for event in bare.Scalars("x")] == [-1, 0]


def test_the_hparams_page_of_tensorboard_shows_every_run(adv: Advisor, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing import data_provider, plugin_event_multiplexer
    from tensorboard.context import RequestContext
    from tensorboard.plugins.base_plugin import TBContext
    from tensorboard.plugins.hparams import api_pb2, backend_context, list_session_groups

    export(adv, tmp_path / "out", format="tensorboard")
    multiplexer = plugin_event_multiplexer.EventMultiplexer()
    multiplexer.AddRunsFromDirectory(str(tmp_path / "out"))
    multiplexer.Reload()
    provider = data_provider.MultiplexerDataProvider(multiplexer, str(tmp_path / "out"))
    context = backend_context.Context(TBContext(data_provider=provider))
    request = RequestContext()
    metadata = context.hparams_metadata(request, "")
    experiment = context.experiment_from_metadata(
        request, "", True, metadata, context.hparams_from_data_provider(request, "", limit=100)
    )
    assert {"lr", "opt", "flag", "seed"} <= {info.name for info in experiment.hparam_infos}
    asked = api_pb2.ListSessionGroupsRequest(start_index=0, slice_size=100, include_metrics=True)
    asked.allowed_statuses.extend([0, 1, 2, 3])
    for metric in experiment.metric_infos:
        asked.col_params.add().metric.CopyFrom(metric.name)
    groups = list_session_groups.Handler(request, context, "", asked).run().session_groups
    assert len(groups) == 5  # the run of 'bare' has no parameters
    lrs = sorted(group.hparams["lr"].number_value for group in groups)
    assert lrs == [0.01, 0.1, 0.2, 0.5, 1.0]


# -- Optuna, by Optuna


@pytest.mark.parametrize("place", ["folder", "journal", "sqlite"])
@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_optuna_reads_trials_and_what_is_enqueued(adv: Advisor, tmp_path: Path, place: str) -> None:
    to = {"folder": str(tmp_path), "journal": str(tmp_path / "j.log"), "sqlite": f"sqlite:///{tmp_path}/s.db"}[place]
    done = export(adv, to, format="optuna")
    storage: Any = done.path
    if place != "sqlite":
        backend = optuna.storages.journal.JournalFileBackend(done.path)
        storage = optuna.storages.JournalStorage(backend)
    study = optuna.load_study(storage=storage, study_name="digits/mlp")
    trials = {trial.user_attrs.get("advisor:run_id"): trial for trial in study.trials}
    first = trials[A]
    assert (first.state.name, first.params, first.user_attrs["name"]) == ("COMPLETE", {"lr": 0.1, "opt": "adam"}, NASTY)
    run = adv.run(A)
    assert first.value == run.objective
    reported = list(first.intermediate_values.values())
    np.testing.assert_array_equal(reported, ODD)
    if place != "sqlite":  # which has no negative zero
        same(reported, ODD)
    assert math.isnan(first.user_attrs["advisor:params"]["nan"])
    states = {key: trial.state.name for key, trial in trials.items() if key}
    assert states == {A: "COMPLETE", "b/../../c": "PRUNED", "failed-1": "FAIL", "nan-1": "FAIL"}
    assert trials["nan-1"].user_attrs["advisor:values"] == ["nan"]
    (waiting,) = [trial for trial in study.trials if trial.state.name == "WAITING"]
    asked = study.ask()
    assert (asked.number, waiting.state.name) == (waiting.number, "WAITING")
    suggested = adv.suggested.params  # type: ignore[attr-defined]
    assert asked.suggest_float("lr", 1e-4, 1, log=True) == suggested["lr"]
    notes = " ".join(done.notes)
    for said in ("1 runs with a NaN objective are failed trials", "1 runs still go on", "need" + "s a direction: 1"):
        assert said in notes
    assert study.best_trial.user_attrs["advisor:run_id"] == A
    if place == "sqlite":
        study._storage._backend.engine.dispose()  # type: ignore[attr-defined]


def test_a_study_with_other_directions_is_refused(own: Advisor, tmp_path: Path) -> None:
    own.experiment("e", objective="loss").tell({"lr": 1}, 2.0)
    export(own, tmp_path / "j.log", format="optuna")
    own.experiment("e", direction="maximize")
    with pytest.raises(ConfigError, match="with other directions; export to another place"):
        export(own, tmp_path / "j.log", format="optuna")


# -- small parts


def test_numbers_of_protocol_buffers_and_checksums() -> None:
    assert varint(300) == b"\xac\x02"
    assert varint(-1) == b"\xff" * 9 + b"\x01"
    assert crc32c(bytes(32)) == 0x8A9136AA  # RFC 3720, B.4
    assert crc32c(b"\xff" * 32) == 0x62A8AB43

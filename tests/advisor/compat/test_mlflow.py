from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
import pytest

from advisor.compat import mlflow
from advisor.compat.mlflow_active import State
from advisor.compat.mlflow_runs import condition
from storage.records import Run, RunState
from tests.advisor.compat.helpers import Play, points, recorded

Runs = Callable[[], list[Run]]
STATES = {"FINISHED": "finished", "FAILED": "failed", "KILLED": "crashed"}


@pytest.fixture(autouse=True)
def no_run(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(mlflow, "_now", State())
    yield
    while mlflow.active_run() is not None:
        mlflow.end_run()


def test_a_script_prints_what_it_prints_with_mlflow(play: Play) -> None:
    assert play("mlflow_fluent") == recorded("mlflow_fluent")["printed"]


def test_a_script_leaves_what_mlflow_records(play: Play, runs: Runs) -> None:
    play("mlflow_fluent")
    kept = {run.user_attrs["name"]: run for run in runs()}
    theirs = recorded("mlflow_fluent")["runs"]
    assert list(kept) == [each["name"] for each in theirs]
    for each in theirs:
        run = kept[each["name"]]
        assert (run.experiment, str(run.state)) == (each["experiment"], STATES[each["status"]])
        assert {name: str(value) for name, value in run.params.items()} == each["params"]
        assert points(run) == each["curves"]
        assert sorted(file["name"] for file in run.artifacts) == each["files"]
        tags = mlflow.get_run(run.id).data.tags
        if "mlflow.parentRunId" in tags:
            tags = {**tags, "mlflow.parentRunId": kept["parent"].user_attrs["name"]}
        assert tags == each["tags"]
    assert kept["parent"].params["lr"] == 0.1  # the store has numbers, MLflow shows text
    assert kept["child"].user_attrs["parent_run"] == kept["parent"].id
    assert "ZeroDivisionError" in (kept["raised"].error or "")


def test_values_without_a_step_are_counted_instead_of_lying_on_top_of_each_other(runs: Runs) -> None:
    with mlflow.start_run():
        for value in (3, 2, 1):
            mlflow.log_metric("loss", value)
            mlflow.log_metrics({"loss2": np.float32(value), "late": value}, step=value)
    assert points(runs()[0])["loss"] == [[0, 3.0], [1, 2.0], [2, 1.0]]


def test_runs_are_searched_with_mlflows_filters() -> None:
    mlflow.set_experiment("search")
    for i, name in enumerate(("a", "b", "c")):
        with mlflow.start_run(run_name=name, tags={"owner": "ann" if i else "bob"}):
            mlflow.log_param("lr", 0.1 * (i + 1))
            mlflow.log_metric("acc", math.nan if i == 2 else i)
    frame = mlflow.search_runs(order_by=["metrics.acc DESC"], max_results=2)
    assert isinstance(frame, pd.DataFrame)
    assert list(frame["params.lr"]) == ["0.2", "0.1"]
    assert frame["status"].tolist() == ["FINISHED"] * 2

    def names(text: str) -> list[str]:
        found = mlflow.search_runs(filter_string=text, output_format="list")
        return [run.info.run_name for run in found]

    assert names("params.lr = '0.1'") == ["a"]
    assert names("metrics.acc > 0.5 and tags.owner = 'ann'") == ["b"]
    assert names("attributes.status = 'FINISHED' and tags.mlflow.runName LIKE '%c'") == ["c"]
    assert names("run_name = 'a'") == ["a"]
    with pytest.raises(mlflow.exceptions.MlflowException, match="is not understood"):
        names("metrics.acc >> 3")
    assert condition("status != 'FINISHED'") == "state not in ('finished', 'pruned')"
    assert mlflow.search_runs(experiment_names=["search"], filter_string="params.lr = '9'").empty


def test_what_is_not_supported_says_so_once(caplog: pytest.LogCaptureFixture, runs: Runs) -> None:
    mlflow.set_tracking_uri("http://localhost:5000")
    assert mlflow.get_tracking_uri() == "http://localhost:5000"
    for _ in range(2):
        mlflow.autolog()
        mlflow.sklearn.autolog()
        with mlflow.start_run(run_id="old"):
            assert mlflow.sklearn.log_model(object(), "model").model_uri is not None
            mlflow.MlflowClient().search_model_versions("x")

    @mlflow.trace
    def traced() -> int:
        return 3

    assert traced() == 3
    told = [line.split(";")[0] for line in caplog.messages]
    assert told == [
        "runs go to the advisor's store, not to 'http://localhost:5000'",
        "autolog() does nothing here: log what matters with log_params and log_metric",
        "mlflow.sklearn.autolog is not supported and does nothing",
        "a run that has ended is not opened again: this is a new one that names it",
        "mlflow.sklearn.log_model is not supported and does nothing",
        "mlflow.MlflowClient is not supported and does nothing",
        "mlflow.trace is not supported and does nothing",
    ]
    assert runs()[0].user_attrs["continues"] == "old"
    with pytest.raises(AttributeError, match="no attribute 'log_metrc'"):
        mlflow.log_metrc  # noqa: B018


def test_data_figures_and_tables_are_kept(runs: Runs, caplog: pytest.LogCaptureFixture) -> None:
    from matplotlib.figure import Figure

    caplog.set_level(logging.WARNING)
    frame = pd.DataFrame({"x": [1, 2]})
    with mlflow.start_run() as run:
        mlflow.log_input(mlflow.data.from_pandas(frame, name="d"), context="train")
        mlflow.log_input(object(), context="odd")
        figure = Figure()
        figure.add_subplot().plot([1, 2])
        mlflow.log_figure(figure, "plots/line.png")
        mlflow.log_table(frame, "t.json")
        mlflow.log_image(np.zeros((2, 2)), key="k")
        assert run.data.params == {}
        run.live.note("ours too")
    (kept,) = runs()
    assert [each["name"] for each in kept.artifacts] == ["plots/line.png", "t.json"]
    assert [each["name"] for each in kept.data] == ["train"]
    assert kept.notes == ("ours too",)
    assert [line.split(":")[0] for line in caplog.messages] == [
        "log_input",
        "log_image keeps images of Pillow under an artifact_file; this one is not kept",
    ]


def test_a_run_is_named_by_its_id(runs: Runs) -> None:
    with mlflow.start_run() as parent, mlflow.start_run(nested=True):
        mlflow.log_metric("above", 1, step=3, run_id=parent.info.run_id)
        mlflow.log_param("p", 1, run_id=parent.info.run_id)
        with pytest.raises(mlflow.exceptions.MlflowException, match="'other' does not go on in this process"):
            mlflow.log_metric("x", 1, run_id="other")
    assert points(runs()[0]) == {"above": [[3, 1.0]]}
    assert dict(runs()[0].params) == {"p": 1}
    assert points(runs()[1]) == {}


def test_children_that_nobody_ended_end_with_their_parent(runs: Runs) -> None:
    with mlflow.start_run(run_name="parent"):
        mlflow.start_run(run_name="child", nested=True)
    assert mlflow.active_run() is None
    assert [run.state for run in runs()] == [RunState.FINISHED] * 2
    assert mlflow.get_experiment_by_name("Default").experiment_id == "Default"
    assert mlflow.get_experiment_by_name("nothing") is None
    with pytest.raises(mlflow.exceptions.MlflowException, match="no run"):
        mlflow.get_run("nothing")

"""Runs, parameters, metrics, tags and files by the fluent functions."""

import importlib
import math
import os
from pathlib import Path

mlflow = importlib.import_module(os.environ["TRACKER"])

mlflow.set_experiment("fluent")
with mlflow.start_run(run_name="parent", tags={"team": "vision"}, description="why") as run:
    mlflow.log_param("lr", 0.1)
    mlflow.log_param("lr", 0.1)  # the same again is no change
    mlflow.log_params({"none": None, "nested": {"a": 1}, "list": [1, 2], "flag": True, "name": "adam"})
    try:
        mlflow.log_param("lr", 0.2)
        refused = ""
    except Exception as error:  # noqa: BLE001  # each has its own
        refused = type(error).__name__ + str(error).split(" was already")[0].split(".")[0]
    for step, value in enumerate((1.0, math.nan, math.inf, -math.inf, 1e-300, 0.1)):
        mlflow.log_metric("loss", value, step=step)
    mlflow.log_metrics({"val/acc": 0.5, "val/f1": 1}, step=7)
    mlflow.log_metric("once", 3)
    try:
        mlflow.log_metric("wrong", "abc")
        wrong = ""
    except Exception as error:  # noqa: BLE001
        wrong = type(error).__name__
    mlflow.set_tag("stage", 1)
    mlflow.set_tags({"stage": "two", "owner": "ann"})
    mlflow.log_text("hello", "texts/hello.txt")
    mlflow.log_dict({"a": 1}, "config.json")
    mlflow.log_dict({"a": 1}, "config.yaml")
    Path("out/sub").mkdir(parents=True)
    Path("out/one.txt").write_text("1")
    Path("out/sub/two.txt").write_text("22")
    mlflow.log_artifact("out/one.txt", "copies")
    mlflow.log_artifacts("out", "all")
    try:
        mlflow.start_run()
        twice = ""
    except Exception as error:  # noqa: BLE001
        twice = str(error).rsplit(". ", 1)[-1]
    with mlflow.start_run(run_name="child", nested=True) as child:
        mlflow.log_metric("inner", 1, step=1)
        mlflow.log_param("lr", 0.5)
        inside = mlflow.active_run().info.run_name
    outside = mlflow.active_run().info.run_name
    print(refused, wrong, inside, outside)
    print(twice)
print(mlflow.active_run(), mlflow.last_active_run().info.status, run.info.run_name)
try:
    with mlflow.start_run(run_name="raised"):
        raise ZeroDivisionError
except ZeroDivisionError:
    print(mlflow.last_active_run().info.status)
mlflow.start_run(run_name="killed")
mlflow.end_run("KILLED")
mlflow.set_experiment("other")
mlflow.log_metric("auto", 1)  # starts a run by itself
mlflow.set_tag("mlflow.runName", "auto")
mlflow.end_run()
mlflow.end_run()

finished = mlflow.get_run(run.info.run_id)
print(finished.info.status, finished.data.params["lr"], finished.data.metrics["loss"], finished.data.tags["stage"])
found = mlflow.search_runs(experiment_names=["fluent"], output_format="list")
print([each.info.run_name for each in found], found[-1].data.params["nested"])

from __future__ import annotations

import argparse
import importlib
import logging
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import advisor
import advisor as wandb
from advisor.compat import wandb as names
from advisor.errors import AdvisorError, ConfigError
from advisor.tracking.run import LiveRun
from storage.errors import RecordError
from storage.records import Run, RunState
from tests.advisor.compat.helpers import Play, points, recorded

Runs = Callable[[], list[Run]]


# -- what W&B itself recorded for the same scripts


@pytest.mark.parametrize("script", ["wandb_config", "wandb_steps", "wandb_ends", "wandb_summary"])
def test_a_script_prints_what_it_prints_with_wandb(play: Play, script: str) -> None:
    assert play(script) == recorded(script)["printed"]


def test_config_reaches_the_store_as_wandb_records_it(play: Play, runs: Runs) -> None:
    play("wandb_config")
    theirs = recorded("wandb_config")["runs"][0]
    (run,) = runs()
    assert dict(run.params) == theirs["config"]
    assert (run.experiment, list(run.tags), list(run.notes)) == (theirs["project"], theirs["tags"], [theirs["notes"]])
    assert {key: run.user_attrs[key] for key in ("name", "group", "job_type")} == {
        key: theirs[key] for key in ("name", "group", "job_type")
    }


def test_values_stand_at_the_steps_at_which_wandb_records_them(play: Play, runs: Runs) -> None:
    play("wandb_steps")
    theirs = recorded("wandb_steps")["runs"][0]["curves"]
    assert theirs.pop("none") == [[11, None]]  # nothing is no point of a curve
    assert points(runs()[0]) == theirs


def test_runs_end_as_those_of_wandb(play: Play, runs: Runs) -> None:
    play("wandb_ends")
    theirs = recorded("wandb_ends")["runs"]
    assert [run.user_attrs["name"] for run in runs()] == [run["name"] for run in theirs]
    ended = [run.state is RunState.FINISHED for run in runs()]
    assert ended == [run["exit_code"] == 0 for run in theirs]


def test_what_is_said_in_the_summary_is_kept(play: Play, runs: Runs) -> None:
    play("wandb_summary")
    theirs = recorded("wandb_summary")["runs"][0]["summary"]
    (run,) = runs()
    said = {name: theirs[name] for name in ("best", "best_epoch", "bar.x", "words")}
    assert {name: run.user_attrs[name] for name in said} == said
    # A number under a new name is a metric too, so runs can be ordered by it; the curves hold what was logged.
    assert {name: run.metrics[name] for name in ("best", "best_epoch", "loss", "val")} == {
        "best": 1.5,
        "best_epoch": 2,
        "loss": 2,
        "val": 2,
    }


# -- where we differ, and say so


def test_a_step_backwards_is_kept_and_said_once(runs: Runs, caplog: pytest.LogCaptureFixture) -> None:
    with wandb.init(project="p") as run:
        for step in (5, 3, 4):
            run.log({"x": step}, step=step)
    assert points(runs()[0]) == {"x": [[5, 5.0], [3, 3.0], [4, 4.0]]}
    assert sum("would drop it" in line for line in caplog.messages) == 1


def test_a_name_that_is_logged_twice_in_one_row_keeps_both_values(runs: Runs) -> None:
    with wandb.init(project="p") as run:
        run.log({"x": 1}, commit=False)
        run.log({"x": 2})
    assert points(runs()[0]) == {"x": [[0, 1.0], [0, 2.0]]}


def test_what_is_not_supported_says_so_once_and_swallows_the_rest(runs: Runs, caplog: pytest.LogCaptureFixture) -> None:
    run = wandb.init(project="p")
    for i in range(2):
        table = wandb.Table(columns=["a"], data=[[i]])
        table.add_data(1)
        image = wandb.Image(np.zeros((2, 2)), caption="x")
        wandb.log({"x": i, "table": table, "images": [image, image], "hist": wandb.Histogram([1, 2]), "words": "w"})
        wandb.watch(object(), log="all")
        wandb.use_artifact("data:latest").download()
        wandb.plot.line(table, "a", "b")
        wandb.sweep({"method": "bayes"})
        wandb.agent("id", function=lambda: None, count=3)
    assert wandb.login(key="abc") is True
    assert wandb.Settings(init_timeout=3)._anything is not None
    wandb.log_artifact("nowhere", name="m")
    run.finish()
    told = [line.split(" is not")[0] for line in caplog.messages if "not supported" in line]
    assert told == [
        *("wandb.Table", "wandb.Image", "wandb.Histogram", "wandb.watch", "wandb.use_artifact", "wandb.plot.line"),
        *("wandb.sweep", "wandb.agent"),
    ]
    assert dict(runs()[0].metrics) == {"x": 1.0}
    assert runs()[0].user_attrs["words"] == "w"


def test_what_is_not_supported_serves_as_a_class_too() -> None:
    assert isinstance(wandb.Image(1), wandb.Image)
    assert not isinstance(wandb.Table(), wandb.Image)
    assert not isinstance(3, wandb.Image)

    class Callback(wandb.keras.WandbCallback):  # type: ignore[misc, name-defined]
        def on_epoch_end(self) -> int:
            return 3

    callback = Callback(monitor="loss")
    assert callback.on_epoch_end() == 3
    callback.set_model(None)


# -- the rest of the surface


def test_config_takes_what_wandb_takes(tmp_path: Path, runs: Runs) -> None:
    (tmp_path / "c.yaml").write_text("wandb_version: 1\nlr: {value: 0.1, desc: rate}\nplain: 3\n")
    for config in (argparse.Namespace(a=1), {"a": 1, 2: "b"}, "c.yaml", None):
        wandb.init(project="p", config=config, reinit="finish_previous")
    wandb.finish()
    assert [dict(run.params) for run in runs()] == [{"a": 1}, {"a": 1, "2": "b"}, {"lr": 0.1, "plain": 3}, {}]
    wandb.init(project="p", config={"a": 1, "b": 2}, config_exclude_keys=["b"]).finish()
    assert dict(runs()[-1].params) == {"a": 1}
    with pytest.raises(ConfigError, match="config is a int; give a dictionary"):
        wandb.init(project="p", config=3)
    with pytest.raises(ConfigError, match=r"'none\.yaml' cannot be read as YAML"):
        wandb.init(project="p", config="none.yaml")


def test_secrets_in_config_and_summary_do_not_reach_the_store(runs: Runs) -> None:
    with wandb.init(project="p", config={"wandb_api_key": "abc"}) as run:
        run.config.hf_token = "hf_abcdefgh"
        run.summary["password"] = "x"
    kept = {**runs()[0].params, **runs()[0].user_attrs}
    assert set(kept.values()) == {"[redacted]"}


def test_the_name_config_is_the_parameters_and_the_settings_module(runs: Runs) -> None:
    from advisor import config

    assert config.resolve(environ={"ADVISOR_STORE": "x"}).store == "x"
    assert advisor.config.Settings.__module__ == "advisor.config"
    with pytest.raises(AdvisorError, match="config belongs to a run, and there is none"):
        wandb.config["lr"] = 1
    wandb.init(project="p")
    setattr(advisor, "config", importlib.import_module("advisor.config"))  # noqa: B010  # as its first import does

    wandb.config.lr = 0.5
    wandb.config = {"lr": 0.25, "store": "mine"}  # old scripts assign
    assert (wandb.config.lr, wandb.config["store"], len(wandb.config)) == (0.25, "mine", 2)
    wandb.finish()
    assert dict(runs()[0].params) == {"lr": 0.25, "store": "mine"}


def test_our_own_shape_is_as_it_was(runs: Runs) -> None:
    run = advisor.init("digits", params={"lr": 0.1}, tags=["t"], notes="n", objective="loss")
    assert type(run) is LiveRun
    advisor.log({"loss": 1.0}, step=3)
    advisor.log(loss=0.5)
    with pytest.raises(RecordError, match="log\\(\\) takes numbers"):
        advisor.log({"loss": "text"})
    assert advisor.run is run
    assert wandb.config.lr == 0.1
    wandb.config.more = 1
    wandb.summary["best"] = 0.5
    again = advisor.init(params={"lr": 0.2})
    assert (run.state, again.experiment) == (RunState.FINISHED, "default")
    advisor.finish()
    assert points(runs()[0]) == {"loss": [[3, 1.0], [4, 0.5]]}
    assert dict(runs()[0].params) == {"lr": 0.1, "more": 1}


def test_a_run_in_wandbs_shape_is_a_live_run_too(runs: Runs) -> None:
    run = wandb.init()
    assert isinstance(run, LiveRun)
    assert run.name == f"run-{run.id[:8]}"  # files are named after it
    assert not run.settings
    run.log(loss=1)
    run.log({"loss": 2}, step=7)
    run.note("seen")
    run.finish(value=3.0)
    assert (runs()[0].experiment, runs()[0].objective, runs()[0].notes) == ("default", 3.0, ("seen",))
    with pytest.raises(AttributeError, match="no attribute 'lgo'"):
        run.lgo  # noqa: B018


def test_an_exception_that_ends_a_run_is_kept(runs: Runs) -> None:
    with pytest.raises(ValueError, match="boom"), wandb.init(project="p") as run:
        run.summary["best"] = 1
        raise ValueError("boom")
    assert (runs()[0].state, runs()[0].metrics["best"]) == (RunState.FAILED, 1.0)
    assert "boom" in (runs()[0].error or "")


def test_a_summary_that_changes_at_every_step_does_not_fill_the_journal(runs: Runs) -> None:
    with wandb.init(project="p") as run:
        for step in range(200):
            run.summary["best"] = step
    (kept,) = runs()
    assert (kept.user_attrs["best"], kept.metrics["best"]) == (199, 199.0)
    said = [line for line in advisor.open().history(kept.id) if "best" in line.text]
    assert len(said) <= 3


def test_what_was_said_outlives_a_kill(tmp_path: Path, repository: Path, runs: Runs) -> None:
    program = (
        "import os, signal, advisor as wandb\n"
        "wandb.init(project='p', config={'lr': 1})\n"
        "wandb.config.late = 5\n"
        "wandb.log({'x': 1}, commit=False)\n"
        "wandb.summary['best'] = 2\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    environ = {**os.environ, "PYTHONPATH": str(repository)}
    subprocess.run([sys.executable, "-c", program], env=environ, check=False)
    (kept,) = runs()
    assert (kept.state, dict(kept.params)) == (RunState.CRASHED, {"lr": 1, "late": 5})
    assert (points(kept), kept.user_attrs["best"]) == ({"x": [[0, 1.0]]}, 2)


def test_tags_notes_and_name_may_be_set_later(runs: Runs) -> None:
    with wandb.init(project="p", name="a", tags="one") as run:
        run.tags += ("two",)
        run.name = "b"
        run.notes = "later"
        run.alert("diverged", "loss is NaN", level=wandb.AlertLevel.ERROR)
    (kept,) = runs()
    assert (kept.tags, kept.user_attrs["name"]) == (("one", "two"), "b")
    assert kept.notes == ("later", "alert (ERROR): diverged: loss is NaN")


def test_files_are_kept_when_they_are_saved_and_when_they_changed(tmp_path: Path, runs: Runs) -> None:
    run = wandb.init(project="p")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "model.txt").write_text("1")
    assert wandb.save("out/*.txt") == ["out/model.txt"]
    (tmp_path / "out" / "model.txt").write_text("12")
    (tmp_path / "out" / "late.txt").write_text("x")
    Path(run.dir, "sub").mkdir()
    Path(run.dir, "sub", "weights.bin").write_bytes(b"w")
    artifact = wandb.Artifact("net", type="model", metadata={"a": 1})
    artifact.add_file(str(tmp_path / "out" / "late.txt"), name="f.txt")
    with artifact.new_file("made.txt") as file:
        file.write("made")
    run.log_artifact(artifact).wait()
    folder = run.dir
    wandb.finish()
    names = [(each["name"], each["size"]) for each in runs()[0].artifacts]
    assert names == [
        *[("out/model.txt", 1), ("net/f.txt", 1), ("net/made.txt", 4), ("out/late.txt", 1), ("out/model.txt", 2)],
        ("sub/weights.bin", 1),
    ]
    assert not Path(folder).exists()


def test_the_environment_is_read_in_wandbs_shape_only(monkeypatch: pytest.MonkeyPatch, runs: Runs) -> None:
    variables = {
        "PROJECT": "theirs",
        "NAME": "n",
        "NOTES": "words",
        "TAGS": "a, b",
        "RUN_GROUP": "g",
        "API_KEY": "k" * 40,
    }
    for name, value in variables.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    wandb.init(config={}).finish()
    wandb.init(project="mine", name="own").finish()
    advisor.init("ours", params={}).finish()
    first, second, third = runs()
    about = (first.experiment, first.user_attrs["name"], first.user_attrs["group"], first.tags, first.notes)
    assert about == ("theirs", "n", "g", ("a", "b"), ("words",))
    assert (second.experiment, second.user_attrs["name"]) == ("mine", "own")
    assert (third.experiment, third.tags, dict(third.user_attrs)) == ("ours", (), {})


def test_a_disabled_run_keeps_nothing_and_takes_everything(
    monkeypatch: pytest.MonkeyPatch, runs: Runs, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    with wandb.init(project="p", config={"lr": 1}, tags=["t"]) as run:
        run.log({"x": math.nan, "text": "t"}, step=3)
        run.summary["best"] = 1
        run.config.update({"lr": 2}, allow_val_change=True)
        run.note("n")
        run.save(__file__)
        run.use_data("d", [1, 2])
        run.should_stop()
        assert "p" in repr(run)
    assert (run.state, run.number, run.findings) == (RunState.FINISHED, 0, [])
    assert not (tmp_path / "store").exists()
    assert any("nothing of this run is kept" in line for line in caplog.messages)


def test_resuming_is_a_new_run_that_names_the_old_one(runs: Runs, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        wandb.init(project="p", id="abc", resume="allow").finish()
    assert [run.user_attrs["wandb_id"] for run in runs()] == ["abc", "abc"]
    assert sum("is not resumed" in line for line in caplog.messages) == 1


def test_under_optimize_the_suggested_values_win_as_in_a_sweep(
    tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(repository))
    exp = advisor.open().experiment("digits", objective="loss", space={"lr": advisor.Float(0.1, 1)})
    script = tmp_path / "train.py"
    script.write_text(
        "import advisor as wandb\n"
        "with wandb.init(project='mine', name='n', config={'lr': 5, 'epochs': 3}, mode='disabled') as run:\n"
        "    assert wandb.config.lr <= 1\n"
        "    wandb.config.lr = 7\n"
        "    wandb.log({'loss': wandb.config.lr, 'words': 'w'}, commit=False)\n"
        "    wandb.log({'acc': 1})\n"
        "    wandb.summary['best'] = 2\n"
    )
    command = [sys.executable, str(script)]
    run = exp.optimize_command(command, n_runs=1, sampler="random", grace_s=5.0).attempts[0].run
    assert run.state is RunState.FINISHED, run.error
    assert run.params["epochs"] == 3
    assert run.objective == run.params["lr"] <= 1
    assert (run.user_attrs["name"], run.user_attrs["words"], run.metrics["best"]) == ("n", "w", 2.0)
    assert run.curve("acc").steps.tolist() == [0]


def test_names_are_found_lazily_and_the_list_is_the_modules_own() -> None:
    assert {"config", "run", "watch", "Table"}.isdisjoint(advisor.__all__)
    assert set(names.NAMES) - {"Run"} == advisor._WANDB
    for name in names.NAMES:
        if name not in (*names.METHODS, "summary"):
            getattr(advisor, name)
    for name in ("summary", "watch"):
        with pytest.raises(AdvisorError, match=r"there is none; call init"):
            getattr(advisor, name)


def test_logging_without_a_run_says_what_to_do(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    for call in (lambda: wandb.log({"a": 1}), lambda: wandb.finish()):
        with pytest.raises(AdvisorError, match=r"call advisor.init"):
            call()


def test_a_defined_metric_with_a_star_stands_for_all_that_begin_so(runs: Runs) -> None:
    with wandb.init(project="globs") as run:
        run.define_metric("val/*", summary="min")
        run.define_metric("val/acc*", summary="max")
        run.define_metric("val/exact", summary="max")
        for value in (2.0, 1.0, 3.0):
            run.log({"val/loss": value, "val/accuracy": value, "val/exact": value, "train/loss": value})
        assert run.summary["val/loss"] == {"min": 1.0}
        assert run.summary["val/accuracy"] == run.summary["val/exact"] == {"max": 3.0}
        assert run.summary["train/loss"] == 3.0

"""The importer: what is new comes once, whatever happened in between."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import advisor
from advisor.app import Advisor
from advisor.errors import ConfigError, ImportFormatError
from advisor.references import find_run
from advisor.sources import registry
from advisor.sources.heads import head_of
from advisor.sources.importing import Importer, Synced
from advisor.sources.port import Piece, SourceRun
from storage.errors import RunNotFoundError
from storage.records import Run, RunState
from tests.advisor.sources.toy import ToyReader, write_toy


@pytest.fixture
def adv(tmp_path: Path) -> Iterator[Advisor]:
    with advisor.open(tmp_path / "store", notify=()) as adv:
        yield adv


@pytest.fixture(params=[False, True], ids=["whole", "cursor"])
def toy(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ToyReader:
    reader = ToyReader(with_cursor=request.param)
    monkeypatch.setattr(registry, "readers", lambda: (reader,))
    return reader


def sync(adv: Advisor, path: Path, **options: Any) -> Synced:
    with Importer(adv, path, **options) as importer:
        return importer.sync()


def only(adv: Advisor, experiment: str = "toys") -> Run:
    (run,) = adv.store.runs(experiment)
    return run


def test_what_a_tool_knows_is_kept(adv: Advisor, toy: ToyReader, tmp_path: Path) -> None:
    write_toy(
        tmp_path / "toys",
        "first",
        params={"lr": 0.1, "layers": 2},
        tags=["baseline"],
        notes=["worked well"],
        attributes={"best": 0.5},
        environment={"git_commit": "abc", "hostname": "gpu1", "python": "3.11.2"},
        artifacts=[{"name": "model", "uri": "s3://bucket/model"}],
        curves={"loss": [2.0, math.nan, math.inf, 0.5], "acc": [[10, 0.1], [20, 0.9]]},
    )
    done = sync(adv, tmp_path / "toys")
    assert (done.n_added, done.n_points, dict(done.experiments)) == (1, 6, {"toys": 1})
    run = only(adv)
    assert (run.state, dict(run.params), run.tags, run.notes) == (
        RunState.FINISHED,
        {"lr": 0.1, "layers": 2},
        ("baseline",),
        ("worked well",),
    )
    assert run.meta["name"] == "first"
    assert run.meta["tool"] == "toy"
    assert run.meta["artifacts"][0]["uri"] == "s3://bucket/model"
    assert run.user_attrs["best"] == 0.5
    assert run.environment["git"]["commit"] == "abc"
    assert run.environment["host"] == "gpu1"
    np.testing.assert_array_equal(run.curve("loss").values, [2.0, math.nan, math.inf, 0.5])
    assert run.curve("acc").steps.tolist() == [10, 20]
    assert run.metrics["acc"] == 0.9
    assert run.summary["loss"]["n_nonfinite"] == 2


def test_a_run_is_found_by_the_name_that_its_tool_gave_it(adv: Advisor, toy: ToyReader, tmp_path: Path) -> None:
    for name in ("run-17", "it's"):
        write_toy(tmp_path / "toys", name, curves={"loss": [1.0]})
    write_toy(tmp_path / "toys" / "below", "twin", curves={"loss": [1.0]})
    write_toy(tmp_path / "toys", "twin", curves={"loss": [1.0]})
    with pytest.raises(RunNotFoundError, match="no run"):
        find_run(adv.store, "run-17")
    sync(adv, tmp_path / "toys")
    assert [find_run(adv.store, name).name for name in ("run-17", "it's")] == ["run-17", "it's"]
    assert adv.search("run-17")[0].run.name == "run-17"
    with pytest.raises(RunNotFoundError, match="'twin' is the name of more than one run: toys#"):
        find_run(adv.store, "twin")


def test_no_run_ends_before_it_started() -> None:
    started = datetime(2026, 1, 1, 0, 0, 0, 708_010, tzinfo=UTC)
    run = SourceRun(
        key="a", experiment="e", read=lambda cursor: Piece({}), started=started, ended=started.replace(microsecond=0)
    )
    head = head_of(run, tool="toy", run_id="a", experiment=None, state=RunState.FINISHED, path="p", secrets=())
    assert head.ended == started.isoformat()


def test_a_second_import_reads_nothing(adv: Advisor, toy: ToyReader, tmp_path: Path) -> None:
    for i in range(3):
        write_toy(tmp_path / "toys", f"run{i}", curves={"loss": [3.0, 2.0, 1.0]})
    sync(adv, tmp_path / "toys")
    before = toy.n_loaded
    done = sync(adv, tmp_path / "toys")
    assert toy.n_loaded == before
    assert (done.n_added, done.n_points, done.n_known) == (0, 0, 3)
    assert len(adv.store.runs("toys")) == 3


def test_without_the_marks_nothing_comes_twice_either(adv: Advisor, toy: ToyReader, tmp_path: Path) -> None:
    path = write_toy(tmp_path / "toys", "run", curves={"loss": [3.0, 2.0]}, state="running")
    sync(adv, tmp_path / "toys")
    shutil.rmtree(tmp_path / "store" / "cache")
    write_toy(path.parent, "run", curves={"loss": [3.0, 2.0, math.nan]}, state="running")
    done = sync(adv, tmp_path / "toys")
    assert (done.n_added, done.n_points) == (0, 1)
    np.testing.assert_array_equal(only(adv).curve("loss").values, [3.0, 2.0, math.nan])


def test_a_run_that_goes_on_is_continued(adv: Advisor, toy: ToyReader, tmp_path: Path) -> None:
    folder = tmp_path / "toys"
    write_toy(folder, "run", params={"lr": 0.1}, curves={"loss": [3.0]}, state="running")
    sync(adv, folder)
    assert only(adv).state is RunState.RUNNING
    write_toy(folder, "run", params={"lr": 0.1, "late": 1}, curves={"loss": [3.0, 2.0], "acc": [0.5]}, state="running")
    sync(adv, folder)
    run = only(adv)
    assert run.curve("loss").values.tolist() == [3.0, 2.0]
    assert run.params["late"] == 1
    assert run.metrics == {"loss": 2.0} | ({} if toy.with_cursor else {"acc": 0.5})
    write_toy(
        folder,
        "run",
        params={"lr": 0.1},
        curves={"loss": [3.0, 2.0, 1.0], "acc": [0.5]},
        tags=["done"],
        state="finished",
    )
    done = sync(adv, folder)
    run = only(adv)
    assert (run.state, run.metrics["loss"], run.tags) == (RunState.FINISHED, 1.0, ("done",))
    assert [tally.n_grown for tally in done.tallies] == [1]


def test_a_file_that_another_training_replaced_is_another_run(adv: Advisor, toy: ToyReader, tmp_path: Path) -> None:
    if toy.with_cursor:
        pytest.skip("a reader with cursors tells a replaced file by itself")
    folder = tmp_path / "toys"
    write_toy(folder, "run", curves={"loss": [3.0, 2.0]}, state="running")
    sync(adv, folder)
    write_toy(folder, "run", curves={"loss": [9.0, 8.0, 7.0]}, state="running")
    assert sync(adv, folder).n_added == 1
    first, second = adv.store.runs("toys")
    assert (first.state, second.state) == (RunState.CRASHED, RunState.RUNNING)
    assert "replaced" in (first.error or "")
    assert first.curve("loss").values.tolist() == [3.0, 2.0]
    assert second.curve("loss").values.tolist() == [9.0, 8.0, 7.0]
    shutil.rmtree(tmp_path / "store" / "cache")
    assert sync(adv, folder).n_points == 0


def test_a_file_begun_anew_by_the_same_training_goes_on(adv: Advisor, toy: ToyReader, tmp_path: Path) -> None:
    if toy.with_cursor:
        pytest.skip("as above")
    folder = tmp_path / "toys"
    write_toy(folder, "run", curves={"loss": [[0, 3.0], [1, 2.0]]}, state="running")
    sync(adv, folder)
    write_toy(folder, "run", curves={"loss": [[2, 1.5]]}, state="running")
    sync(adv, folder)
    write_toy(folder, "run", curves={"loss": [[2, 1.5], [3, 1.0]]}, state="running")
    sync(adv, folder)
    assert only(adv).curve("loss").steps.tolist() == [0, 1, 2, 3]


def test_an_interrupted_import_is_completed_by_repeating_it(
    adv: Advisor, toy: ToyReader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_toy(tmp_path / "toys", "run", curves={"loss": [3.0, 2.0]})
    with monkeypatch.context() as broken, pytest.raises(KeyboardInterrupt):
        broken.setattr(adv.store, "append_curves", lambda chunks: (_ for _ in ()).throw(KeyboardInterrupt))
        sync(adv, tmp_path / "toys")
    sync(adv, tmp_path / "toys")
    assert only(adv).curve("loss").values.tolist() == [3.0, 2.0]


def test_what_cannot_be_read_is_named_and_the_rest_comes(adv: Advisor, toy: ToyReader, tmp_path: Path) -> None:
    folder = tmp_path / "toys"
    write_toy(folder, "good", curves={"loss": [1.0]})
    (folder / "bad.toy").write_text("{")
    for _ in range(2):
        (tally,) = sync(adv, folder).tallies
        assert "is no JSON" in tally.left_out["bad.toy"]
    assert toy.n_loaded == 2
    write_toy(folder, "bad", curves={"loss": [1.0]})
    assert sync(adv, folder).n_added == 1


def test_a_run_without_a_recorded_end_is_finished_once_it_is_quiet(
    adv: Advisor, toy: ToyReader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_toy(tmp_path / "toys", "run", curves={"loss": [1.0]}, state=None)
    sync(adv, path.parent)
    assert only(adv).state is RunState.RUNNING
    now = adv.clock()
    monkeypatch.setattr(adv, "clock", lambda: now + timedelta(minutes=5))
    sync(adv, path.parent)
    assert only(adv).state is RunState.FINISHED


def test_secrets_and_escapes_do_not_reach_the_store(adv: Advisor, toy: ToyReader, tmp_path: Path) -> None:
    write_toy(
        tmp_path / "toys",
        "run",
        params={"api_key": "sk-verysecret", "lr": 1},
        notes=["token=hf_abcdefghijklmnopqrstuvwxyz0123"],
        attributes={"password": "hunter2"},
    )
    sync(adv, tmp_path / "toys")
    text = repr(only(adv)) + repr(only(adv).notes) + repr(dict(only(adv).user_attrs))
    assert "verysecret" not in text
    assert "hf_abc" not in text
    assert "hunter2" not in text


def test_the_same_run_at_two_places_comes_once(adv: Advisor, toy: ToyReader, tmp_path: Path) -> None:
    write_toy(tmp_path / "all" / "a", "run", key="uuid-1", curves={"loss": [1.0, 0.5]})
    write_toy(tmp_path / "all" / "b", "run", key="uuid-1", curves={"loss": [1.0, 0.5]})
    done = sync(adv, tmp_path / "all")
    assert (done.n_added, done.n_points) == (1, 2)


def test_two_questions_of_one_name_are_two_experiments(adv: Advisor, toy: ToyReader, tmp_path: Path) -> None:
    for name, direction in (("a", "minimize"), ("b", "maximize")):
        write_toy(tmp_path / "all" / name, "run", objectives=[("loss", direction)], curves={"loss": [1.0]})
    sync(adv, tmp_path / "all")
    found = {record.name: record.objectives[0].direction for record in adv.store.experiments()}
    assert found == {"toys": "minimize", "toys (b)": "maximize"}
    adv.experiment("toys", objective="acc", direction="maximize")
    write_toy(tmp_path / "all" / "a", "later", objectives=[("loss", "minimize")], curves={"loss": [1.0]})
    sync(adv, tmp_path / "all")
    assert adv.store.count("toys") == 2


def test_a_run_whose_file_is_deleted_ends(
    adv: Advisor, toy: ToyReader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_toy(tmp_path / "toys", "run", curves={"loss": [1.0]}, state=None)
    write_toy(tmp_path / "toys", "other", curves={"loss": [1.0]})
    with Importer(adv, path.parent) as importer:
        importer.sync()
        path.unlink()
        importer.sync()
        assert {run.state for run in adv.store.runs("toys")} == {RunState.RUNNING, RunState.FINISHED}
        now = adv.clock()
        monkeypatch.setattr(adv, "clock", lambda: now + timedelta(minutes=5))
        importer.sync()
    assert {run.state for run in adv.store.runs("toys")} == {RunState.FINISHED}


def test_a_dry_run_writes_nothing(adv: Advisor, toy: ToyReader, tmp_path: Path) -> None:
    write_toy(tmp_path / "toys", "run", curves={"loss": [1.0]})
    with Importer(adv, tmp_path / "toys") as importer:
        plan = importer.plan()
    assert (plan.n_added, toy.n_read) == (1, 0)
    assert adv.store.experiments() == []


def test_links_out_of_the_folder_are_not_followed(adv: Advisor, toy: ToyReader, tmp_path: Path) -> None:
    write_toy(tmp_path / "elsewhere", "secret", curves={"loss": [1.0]})
    write_toy(tmp_path / "toys", "run", curves={"loss": [1.0]})
    (tmp_path / "toys" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "toys" / "circle").symlink_to(tmp_path / "toys")
    assert sync(adv, tmp_path / "toys").n_added == 1


def test_mistakes_are_told_in_a_sentence(adv: Advisor, toy: ToyReader, tmp_path: Path) -> None:
    with pytest.raises(ImportFormatError, match="there is nothing at"):
        Importer(adv, tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="there is no reader of 'tyo'; did you mean 'toy'"):
        Importer(adv, tmp_path, tools=["tyo"])
    (tmp_path / "model.pkl").write_bytes(os.urandom(8))
    with pytest.raises(ImportFormatError, match="pickle"):
        Importer(adv, tmp_path / "model.pkl")
    with pytest.raises(ImportFormatError, match="no reader knows addresses that begin with gopher"):
        Importer(adv, "gopher://runs")

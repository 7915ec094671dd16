from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import advisor
from advisor import lifecycle
from advisor.app import Advisor
from advisor.errors import ConfigError
from storage.embed import HashingEmbedder
from storage.errors import ExperimentExistsError, ExperimentNotFoundError, RecordError, RunNotFoundError
from storage.records import Event
from storage.store import RunStore, open_store
from storage.testing import add_experiment, add_finished, add_run, chunk

NOW = datetime(2026, 6, 1, tzinfo=UTC)


@pytest.fixture
def adv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Advisor]:
    monkeypatch.setenv("ADVISOR_EMBEDDER", "hashing")
    monkeypatch.setenv("ADVISOR_CAPTURE", "no")
    with advisor.open(tmp_path / "store") as opened:
        for name in ("digits", "cnn"):
            add_experiment(opened.store, name)
        yield opened


class Raced:
    """A store to which another process writes first, each time that something is appended."""

    def __init__(self, store: RunStore, rival: Callable[[], list[Event]]) -> None:
        self._store, self._rival = store, rival

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def append(self, events: list[Event]) -> None:
        other = open_store(self._store.uri, embedder=HashingEmbedder())
        other.append(self._rival())
        self._store.append(events)


# -- delete and restore


def test_what_is_deleted_can_be_restored_by_what_it_was_called(adv: Advisor) -> None:
    runs = [add_finished(adv.store, loss=float(i)) for i in range(3)]
    assert [one.run_id for one in adv.delete([runs[0].id[:12], "digits#1", runs[0].id])] == [runs[0].id, runs[1].id]
    (gone,) = adv.delete("digits")
    assert (gone.run_id, gone.number, gone.n_runs) == (None, 0, 1)
    assert [(one.experiment, one.run_id, one.n_runs) for one in adv.deleted()] == [
        ("digits", runs[0].id, 1),
        ("digits", runs[1].id, 1),
        ("digits", None, 1),
    ]
    assert [one.run_id for one in adv.restore(["digits", "digits#0", runs[1].id[:12]])] == [
        None,
        runs[0].id,
        runs[1].id,
    ]
    assert [run.id for run in adv.runs()] == [run.id for run in runs]
    assert adv.deleted() == []


@pytest.mark.parametrize(
    ("reference", "message"),
    [("digit", "did you mean 'digits'"), ("digits#7", "no run number 7; it has 1 runs"), ("zzz", "no run 'zzz'")],
)
def test_deleting_what_is_not_there_names_what_is_close_and_deletes_nothing(
    adv: Advisor, reference: str, message: str
) -> None:
    add_finished(adv.store, loss=1.0)
    with pytest.raises(RunNotFoundError, match=message):
        adv.delete(["digits#0", reference])
    assert adv.deleted() == []


def test_restoring_what_is_not_deleted_is_refused(adv: Advisor) -> None:
    run = add_finished(adv.store, loss=1.0)
    with pytest.raises(ExperimentNotFoundError, match="'digits' is not deleted"):
        adv.restore("digits")
    with pytest.raises(RunNotFoundError, match="is not deleted"):
        adv.restore(run.id)
    adv.delete(run.id)
    with pytest.raises(RunNotFoundError, match=f"nothing that is deleted is called 'dgits'; there is '{run.id}'"):
        adv.restore("dgits")


def test_deleting_twice_says_that_it_is_deleted(adv: Advisor) -> None:
    run = add_finished(adv.store, loss=1.0)
    adv.delete(run.id)
    with pytest.raises(RunNotFoundError, match=f"'advisor restore {run.id}' brings it back"):
        adv.delete(run.id)
    with pytest.raises(RunNotFoundError, match="'advisor restore digits#0' brings it back"):
        adv.delete("digits#0")
    adv.delete("cnn")
    with pytest.raises(ExperimentNotFoundError, match="'advisor restore cnn' brings it back"):
        adv.delete("cnn")


def test_restoring_an_experiment_whose_name_was_taken_is_refused(adv: Advisor) -> None:
    old = add_finished(adv.store, loss=1.0)
    adv.delete("digits")
    adv.experiment("digits", objective="loss")
    with pytest.raises(ExperimentExistsError, match="'advisor rename digits NEW'"):
        adv.restore("digits")
    adv.experiment("digits").rename("digits-2")
    adv.restore("digits")
    assert adv.run(old.id).experiment == "digits"


def test_a_run_whose_experiment_is_deleted_too_is_not_restored_into_nothing(adv: Advisor) -> None:
    first, second = (add_finished(adv.store, loss=loss) for loss in (1.0, 2.0))
    adv.delete(first.id)
    adv.delete("digits")
    with pytest.raises(RecordError, match=f"'advisor restore digits {first.id}'"):
        adv.restore(first.id)
    with pytest.raises(RunNotFoundError, match="went with its experiment; restore that: 'digits'"):
        adv.restore(second.id)


def test_a_run_of_a_living_process_is_deleted_only_by_force(adv: Advisor, caplog: pytest.LogCaptureFixture) -> None:
    exp = adv.experiment("digits")
    with exp.start(params={"lr": 0.1}) as live:
        live.log({"val_loss": 1.0})
        with pytest.raises(RecordError, match=f"is running in process {os.getpid()} on .*force"):
            adv.delete(live.id)
        with pytest.raises(RecordError, match="is running in process"):
            adv.delete("digits")
        adv.delete(live.id, force=True)
        live.log({"val_loss": 0.5})
        assert not live.should_stop()
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []
    adv.restore(live.id)
    assert (adv.run(live.id).state, adv.run(live.id).objective) == ("finished", 0.5)


def test_a_run_whose_process_is_gone_is_deleted_without_force(adv: Advisor, tmp_path: Path) -> None:
    code = (
        f"import advisor, os; run = advisor.open({str(tmp_path / 'store')!r}).experiment('digits').start(params={{}}); "
        "run.log({'val_loss': 1.0}); run.number; print(run.id, flush=True); os._exit(1)"
    )
    env = {**os.environ, "PYTHONPATH": os.getcwd()}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, check=False)
    run_id = done.stdout.strip()
    assert adv.run(run_id).state == "running"
    adv.delete(run_id)
    assert adv.runs() == []


def test_a_run_that_may_run_elsewhere_is_deleted_only_by_force(adv: Advisor) -> None:
    run = add_run(adv.store)
    with pytest.raises(RecordError, match="as far as this machine can tell"):
        adv.delete(run.id)
    assert adv.delete(run.id, force=True)[0].run_id == run.id


# -- rename


def test_a_renamed_experiment_is_written_to_by_who_knows_its_old_name(adv: Advisor) -> None:
    exp, other = adv.experiment("digits"), adv.experiment("digits")
    with exp.start(params={"lr": 0.1}) as live:
        exp.rename("mlp")
        live.log({"val_loss": 1.0})
        assert live.should_stop() is False
    assert [(run.experiment, run.number, run.objective) for run in exp.runs()] == [("mlp", 0, 1.0)]
    assert (exp.name, other.record.name, other.name) == ("mlp", "mlp", "mlp")


@pytest.mark.parametrize(
    ("new", "error", "message"),
    [
        ("cnn", ExperimentExistsError, "'cnn' exists already"),
        ("digits", ConfigError, "called so already"),
        (" ", ConfigError, "needs a name"),
    ],
)
def test_a_rename_to_a_name_that_cannot_be_is_refused(
    adv: Advisor, new: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        adv.experiment("digits").rename(new)
    assert [exp.name for exp in adv.experiments()] == ["digits", "cnn"]


def test_a_secret_in_a_new_name_is_redacted(adv: Advisor) -> None:
    exp = adv.experiment("digits")
    exp.rename("run with api_key=sk-abcdefghijklmnopqrstuvwx")
    assert exp.name == "run with api_key=[redacted]"


# -- move


def test_moved_runs_are_numbered_and_valued_anew(adv: Advisor) -> None:
    add_finished(adv.store, "cnn", loss=9.0)
    runs = [add_finished(adv.store, loss=float(i)) for i in range(2)]
    moved = adv.move(["digits#1", runs[0].id, runs[1].id], "cnn")
    assert [(run.id, run.experiment, run.number) for run in moved] == [(runs[1].id, "cnn", 1), (runs[0].id, "cnn", 2)]
    assert adv.experiment("digits").runs() == []
    assert adv.experiment("cnn").best() == adv.run(runs[0].id)


def test_a_moved_run_is_valued_by_the_average_that_its_new_experiment_asks_for(adv: Advisor) -> None:
    adv.experiment("average", objective="val_loss", reduce="mean-last-2")
    run = add_finished(adv.store, loss=1.0)
    adv.store.append_curves([chunk(run.id, 5.0, 2.0, 1.0)])
    assert [run.objective for run in adv.move(run.id, "average")] == [1.5]


def test_a_move_that_makes_no_sense_is_refused_and_moves_nothing(adv: Advisor) -> None:
    runs = [add_finished(adv.store, name, loss=1.0) for name in ("digits", "cnn")]
    with pytest.raises(ConfigError, match="is in experiment 'cnn' already"):
        adv.move([run.id for run in runs], "cnn")
    with pytest.raises(ExperimentNotFoundError, match="did you mean 'cnn'"):
        adv.move(runs[0].id, "cn")
    with pytest.raises(RunNotFoundError):
        adv.move("zzz", "cnn")
    assert [run.experiment for run in adv.runs()] == ["digits", "cnn"]


# -- another process was faster


def test_whoever_comes_too_late_is_told(adv: Advisor) -> None:
    run = add_finished(adv.store, loss=1.0)

    def raced(*events: Event) -> Any:
        return Raced(adv.store, lambda: list(events))

    with pytest.raises(RecordError, match=f"another process was faster: run #0 of digits \\({run.id}\\)"):
        lifecycle.delete(raced(Event.new("run.deleted", "digits", run.id)), [run.id], force=False, now=NOW)
    with pytest.raises(RecordError, match="another process was faster"):
        lifecycle.restore(raced(Event.new("run.restored", "digits", run.id)), [run.id], now=NOW)
    with pytest.raises(ExperimentExistsError, match="another process was faster: there is an experiment 'mlp'"):
        lifecycle.rename(raced(Event.new("experiment.created", "mlp")), "digits", "mlp", now=NOW)
    with pytest.raises(RecordError, match="renamed or deleted just now"):
        lifecycle.rename(raced(Event.new("experiment.deleted", "digits")), "digits", "other", now=NOW)
    adv.restore("digits")
    with pytest.raises(RecordError, match="another process was faster: run #0 of digits"):
        lifecycle.move(raced(Event.new("run.moved", "digits", run.id, to="cnn")), [run.id], "cnn", now=NOW)


# -- history


def test_the_history_of_a_run_goes_with_it_when_it_is_moved_or_its_experiment_renamed(adv: Advisor) -> None:
    run = add_finished(adv.store, loss=0.25, params={"lr": 0.1})
    other = add_finished(adv.store, loss=0.5)
    adv.experiment("cnn").rename("conv")
    adv.move(run.id, "conv")
    adv.delete(run.id)
    texts = [line.text for line in adv.history(run.id)]
    assert texts == [
        "run #0 recorded as finished: val_loss 0.25 after 1 step with lr=0.1",
        "run #0 moved to conv as #0",
        "run #0 deleted",
    ]
    assert [line.text for line in adv.history("conv")] == [
        "experiment cnn created: minimize val_loss",
        texts[0],
        "cnn renamed to conv",
        *texts[1:],
    ]
    assert adv.history("cnn") == adv.history("conv")
    assert [line.event.kind for line in adv.history("digits")] == ["experiment.created", "run.created", "run.moved"]
    assert {line.event.run_id for line in adv.history("digits")} == {"", other.id, run.id}
    assert len(adv.history()) == 7


def test_the_history_of_a_name_is_that_of_the_experiment_that_has_it(adv: Advisor) -> None:
    adv.delete("digits")
    assert [line.text for line in adv.history("digits")][-1] == "experiment digits deleted"
    adv.experiment("digits", objective="loss")
    assert [line.text for line in adv.history("digits")] == ["experiment digits created: minimize loss"]


def test_a_limited_history_is_the_end_of_the_whole(adv: Advisor) -> None:
    run = add_finished(adv.store, loss=1.0)
    for i in range(300):
        adv.store.append([Event.new("run.noted", "digits", run.id, text=str(i))])
    whole = adv.history(run.id)
    assert len(whole) == 301
    assert [adv.history(run.id, limit=n) for n in (1, 7, 290, 999)] == [whole[-n:] for n in (1, 7, 290, 301)]
    assert adv.history("digits", limit=3) == whole[-3:]


def test_each_line_says_who_wrote_it_and_when(adv: Advisor) -> None:
    run = add_finished(adv.store, loss=1.0)
    (line,) = adv.history(run.id)
    assert "@" in line.who
    assert line.writer["pid"] == os.getpid()
    found = line.as_json()
    assert (found["id"], found["kind"], found["run_id"]) == (line.event.id, "run.created", run.id)
    assert len(found["hash"]) == 64
    assert found["seq"] == line.event.seq > 0

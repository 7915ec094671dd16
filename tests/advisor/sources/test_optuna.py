from __future__ import annotations

import json
import math
import shutil
import sqlite3
import warnings
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import distribution_to_json, json_to_distribution

import advisor
from advisor.errors import SourceError
from advisor.sources.importing import Importer
from advisor.sources.optuna import OptunaReader
from advisor.sources.port import Options, Piece, SourceRun
from storage.records import RunState
from tests.advisor.sources.recorded import DATA, assert_survives, expected, find, listing, read_all

FOLDERS = (
    "optuna-5.0.0-sqlite",
    "optuna-3.6.1-sqlite",
    "optuna-2.10.1-sqlite",
    "optuna-5.0.0-journal",
    "optuna-3.6.1-journal",
)
READER = OptunaReader()
STATES = {
    "COMPLETE": RunState.FINISHED,
    "PRUNED": RunState.PRUNED,
    "FAIL": RunState.FAILED,
    "RUNNING": RunState.RUNNING,
    "WAITING": RunState.WAITING,
}


def trials_of(path: Path) -> dict[tuple[str, int], tuple[SourceRun, Piece]]:
    return {(run.experiment, run.meta["trial"]): (run, piece) for run, piece in read_all(READER, path)}


@pytest.fixture
def database(tmp_path: Path) -> Path:
    shutil.copy(DATA / FOLDERS[0] / "studies.db", tmp_path / "studies.db")
    return tmp_path / "studies.db"


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    shutil.copy(DATA / FOLDERS[3] / "journal.log", tmp_path / "journal.log")
    return tmp_path / "journal.log"


def same_time(found: datetime | None, said: str | None) -> bool:
    return (found is None and said is None) or (
        found is not None and said is not None and found == datetime.fromisoformat(said)
    )


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_trial_is_as_optuna_itself_reads_it(folder: str) -> None:
    wanted = {(trial["study"], trial["number"]): trial for trial in expected(DATA / folder)}
    found = trials_of(DATA / folder)
    assert found.keys() == wanted.keys()
    for key, (run, piece) in found.items():
        said = wanted[key]
        assert run.state is STATES[said["state"]]
        if said["state"] != "WAITING":
            assert run.params == said["params"]
            assert {n: type(v) for n, v in run.params.items()} == {n: type(v) for n, v in said["params"].items()}
        assert run.values == said["values"]
        assert same_time(run.started, said["start"])
        assert same_time(run.ended, said["end"])
        points = next(iter(piece.curves.values())) if piece.curves else None
        order = np.argsort(points.steps, kind="stable") if points else np.empty(0, int)
        assert (points.steps[order].tolist() if points else []) == said["steps"]
        np.testing.assert_array_equal(points.values[order] if points else [], said["points"])


@pytest.mark.parametrize("folder", FOLDERS)
def test_distributions_are_those_that_optuna_understands_today(folder: str) -> None:
    wanted = {(trial["study"], trial["number"]): trial["distributions"] for trial in expected(DATA / folder)}
    for key, (run, _) in trials_of(DATA / folder).items():
        assert run.distributions.keys() == wanted[key].keys()
        for name, text in run.distributions.items():
            if not folder.startswith("optuna-2"):
                assert json_to_distribution(text) == json_to_distribution(wanted[key][name])
            assert json.loads(distribution_to_json(json_to_distribution(text))) == json.loads(text)
    first = trials_of(DATA / folder)["Überraschung /1", 0][0]
    assert json.loads(first.distributions["lr"])["attributes"] == {"low": 1e-5, "high": 0.1, "log": True, "step": None}
    assert json.loads(first.distributions["step"])["attributes"]["step"] == 0.25


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_study_says_what_is_optimised_and_its_curve_is_the_objectives(folder: str) -> None:
    trials = trials_of(DATA / folder)
    run, piece = trials["Überraschung /1", 1]
    metric = "value" if folder.startswith("optuna-2") else "val/acc"
    assert run.about.objectives == [(metric, "maximize")]
    assert list(piece.curves) == [metric]
    assert run.about.attributes == {"team": "vision"}
    assert run.attributes["nested.a"] == [1, 2]
    assert run.attributes["hostile"] == "'; DROP TABLE trials; --\u202e"
    two, none = trials["two", 0]
    assert two.about.objectives == [("value_0", "minimize"), ("value_1", "maximize")]
    assert none.curves == {}
    running, _ = trials["Überraschung /1", 8 if ("Überraschung /1", 8) in trials else 7]
    assert running.name == f"trial {running.meta['trial']}"
    waiting, _ = trials["Überraschung /1", 9]
    assert (waiting.state, waiting.params, waiting.values) == (RunState.WAITING, {"x": 0.25}, None)
    assert trials["Überraschung /1", 7][0].seed == 7


@pytest.mark.parametrize("named", [True, False])
def test_constraints_of_imported_trials_count(tmp_path: Path, named: bool) -> None:
    def objective(trial: optuna.Trial) -> float:
        x = trial.suggest_float("x", 0, 1)
        if named:
            trial.set_constraint("enough", 0.5 - x)
        return x

    told = None if named else lambda trial: (0.5 - trial.params["x"],)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sampler = optuna.samplers.TPESampler(seed=1, constraints_func=told)
        study = optuna.create_study(storage=f"sqlite:///{tmp_path / 'study.db'}", study_name="s", sampler=sampler)
        study.optimize(objective, n_trials=12)
    with advisor.open(tmp_path / "store", capture=False) as adv:
        with Importer(adv, tmp_path / "study.db") as importer:
            importer.sync()
        best = adv.experiment("s").best()
        assert best is not None
        assert best.meta["trial"] == study.best_trial.number
        assert study.best_value > min(trial.value or 0 for trial in study.trials)


def source_of(path: Path) -> Any:
    found = READER.find_file(path)
    assert found is not None
    return READER.open(found, Options())


def stamps(source: Any) -> dict[str, str]:
    return {f"{(run := entry.load()).experiment} {run.name}": entry.stamp for entry in source.entries()}


def reading(source: Any, study: str, number: int, cursor: Any = None) -> Piece:
    runs: Iterator[SourceRun] = (entry.load() for entry in source.entries())
    run = next(run for run in runs if (run.experiment, run.meta["trial"]) == (study, number))
    return run.read(json.loads(json.dumps(cursor)))


def line(**content: Any) -> str:
    return json.dumps({**content, "worker_id": "w"}) + "\n"


def test_a_journal_is_followed_and_never_half_a_line(journal: Path) -> None:
    with source_of(journal) as source:
        before = stamps(source)
        first = reading(source, "Überraschung /1", 7)
        assert (first.is_whole, first.curves["val/acc"].steps.tolist()) == (True, [3])
        half = line(op_code=7, trial_id=7, step=5, intermediate_value=math.inf)
        with journal.open("a") as file:
            file.write(line(op_code=7, trial_id=7, step=4, intermediate_value=math.nan) + half[:30])
        second = reading(source, "Überraschung /1", 7, first.cursor)
        assert (second.is_whole, second.curves["val/acc"].steps.tolist()) == (False, [4])
        assert np.isnan(second.curves["val/acc"].values).all()
        with journal.open("a") as file:
            file.write(half[30:] + line(op_code=4, study_id=0, datetime_start=None))
        third = reading(source, "Überraschung /1", 7, second.cursor)
        assert third.curves["val/acc"].values.tolist() == [math.inf]
        after = stamps(source)
        assert {name for name in after if after[name] != before.get(name)} == {
            "Überraschung /1 trial 7",
            "Überraschung /1 trial 10",
        }
        assert source.notes == []
        content = journal.read_text().splitlines(keepends=True)
        journal.write_text("".join(content[:40]))
        assert len(stamps(source)) < len(after)
        journal.unlink()
        journal.write_text(line(op_code=0, study_name="new", directions=[1]) + line(op_code=4, study_id=0, state=0))
        assert list(stamps(source)) == ["new trial 0"]


def test_broken_lines_of_a_journal_are_counted_and_the_rest_is_read(journal: Path) -> None:
    with journal.open("a") as file:
        file.write('{"op_code":\n[1]\n{"op_code": 99}\n{"op_code": 7, "trial_id": 7, "step": "x"}\n\n')
        file.write(line(op_code=10, study_id=0) + line(op_code=8, trial_id=7, user_attr={"later": 1}))
        file.write(line(op_code=7, trial_id=0, step=99, intermediate_value=1.0))  # of a trial that is over
    with source_of(journal) as source:
        run = next(r for r in (entry.load() for entry in source.entries()) if (r.experiment, r.meta["trial"])[1] == 7)
        assert source.notes == ["4 lines of the journal could not be read and were left out"]
        assert run.attributes["later"] == 1
        assert 99 not in reading(source, "Überraschung /1", 0).curves["val/acc"].steps.tolist()


def test_a_journal_of_wrong_types_is_read_as_far_as_it_can_be(journal: Path) -> None:
    with journal.open("a") as file:
        file.write(line(op_code=0, study_name="odd", directions=[[], {}, "up"]))
        file.write(line(op_code=4, study_id=5, datetime_start=5, params={"x": {}}, distributions=[], state=1))
        file.write(line(op_code=4, study_id=5, datetime_start=None, state=[], intermediate_values={"x": "y"}))
    with source_of(journal) as source:
        *_, good, bad = source.entries()
        run = good.load()
        assert (run.experiment, run.about.objectives, run.params) == ("odd", (), {"x": "{}"})
        with pytest.raises(SourceError, match="none of Optuna's"):
            bad.load()


def test_a_parameter_of_another_kind_is_not_taken_as_optuna_refuses_it(journal: Path) -> None:
    other = '{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 1, "high": 8}}'
    with journal.open("a") as file:
        file.write(line(op_code=5, trial_id=7, param_name="x", param_value_internal=3.0, distribution=other))
    assert trials_of(journal)["Überraschung /1", 7][0].params["x"] != 3


def test_a_database_is_read_on_and_whole_where_rows_are_gone(database: Path) -> None:
    with source_of(database) as source:
        before = stamps(source)
        first = reading(source, "Überraschung /1", 7)
        writer = sqlite3.connect(database)
        add = (
            "INSERT INTO trial_intermediate_values (trial_id, step, intermediate_value, intermediate_value_type) "
            "SELECT trial_id, ?, ?, ? FROM trials WHERE number = 7"
        )
        with writer:
            writer.execute(add, (9, None, "NAN"))
            writer.execute(add, (10, 0.5, "FINITE"))
        second = reading(source, "Überraschung /1", 7, first.cursor)
        assert (second.is_whole, second.curves["val/acc"].steps.tolist()) == (False, [9, 10])
        after = stamps(source)
        assert {name for name in after if after[name] != before[name]} == {"Überraschung /1 trial 7"}
        with writer:
            writer.execute("UPDATE trial_user_attributes SET value_json = '8' WHERE key = 'seed'")
        assert {name for name in after if after[name] != stamps(source)[name]} == {"Überraschung /1 trial 7"}
        with writer:
            writer.execute("DELETE FROM trial_intermediate_values WHERE step = 3")
        writer.close()
        assert reading(source, "Überraschung /1", 7, second.cursor).is_whole


def test_times_of_databases_before_release_5_are_those_of_this_machines_zone(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import time

    (now,) = {trials_of(database)["two", 0][0].started}
    with sqlite3.connect(database) as writer:
        writer.execute("UPDATE version_info SET library_version = '4.9.0'")
    writer.close()
    with monkeypatch.context() as zone:
        zone.setenv("TZ", "UTC+3")
        time.tzset()
        (before,) = {trials_of(database)["two", 0][0].started}
    time.tzset()
    assert now is not None
    assert before is not None
    assert (before - now).total_seconds() == 3 * 3600


def test_wrong_values_in_a_database_are_left_out_or_kept_as_they_are(database: Path) -> None:
    with sqlite3.connect(database) as writer:
        writer.execute("UPDATE trials SET state = 'ODD' WHERE number = 1 AND study_id = 2")
        writer.execute("UPDATE trials SET datetime_start = 'noon' WHERE number = 7")
        writer.execute("UPDATE trial_params SET param_value = 77 WHERE param_name = 'opt'")
        writer.execute("UPDATE trial_params SET distribution_json = '{' WHERE param_name = 'lr'")
        writer.execute("UPDATE trial_user_attributes SET value_json = '{' WHERE key = 'nested'")
        writer.execute("UPDATE trial_intermediate_values SET step = 'late' WHERE step = 10")
    writer.close()
    with source_of(database) as source:
        entries = list(source.entries())
        refused = []
        for entry in entries:
            try:
                run = entry.load()
            except SourceError as error:
                refused.append(str(error))
                continue
            if (run.experiment, run.meta["trial"]) == ("Überraschung /1", 1):
                assert (run.params["opt"], run.attributes["nested"]) == (77.0, "{")
                assert not {"opt", "lr"} & run.distributions.keys()
                assert run.read(None).notes == ("1 intermediate values are no points and were left out",)
        assert refused == ["trial 1 has the state 'ODD', which is none of Optuna's"]


def test_notes_of_the_dashboard_are_notes(database: Path) -> None:
    with sqlite3.connect(database) as writer:
        add = "INSERT INTO study_system_attributes (study_id, key, value_json) VALUES (?, ?, ?)"
        first = writer.execute("SELECT trial_id FROM trials WHERE study_id = 2 AND number = 0").fetchone()[0]
        writer.execute(add, (2, "dashboard:note_str:0", '"why "'))
        writer.execute(add, (2, "dashboard:note_str:1", '"it is"'))
        writer.execute(add, (2, f"dashboard:{first}:note_str:0", '"good"'))
    writer.close()
    run, _ = trials_of(database)["two", 0]
    assert (run.about.description, run.notes) == ("why it is", ["good"])


def test_addresses_of_storages_mean_files_or_are_refused_with_a_way_out(database: Path) -> None:
    found = READER.find_address(f"sqlite:///{database}")
    assert found is not None
    assert found.path == str(database)
    assert READER.find_address("sqlite:////nowhere/x.db") is None
    assert READER.find_address("http://localhost:1") is None
    with pytest.raises(SourceError, match=r"optuna\.copy_study") as refused:
        READER.find_address("postgresql+psycopg2://ann:hunter2@host/db")
    assert "hunter2" not in str(refused.value)


def test_other_files_are_not_optunas(tmp_path: Path) -> None:
    (tmp_path / "train.log").write_text("epoch 1\n")
    (tmp_path / "empty.db").write_bytes(b"")
    shutil.copy(DATA / "mlflow-3.18.0-sqlite" / "mlflow.db", tmp_path)
    assert READER.find(listing(tmp_path)) == []
    assert find(READER, DATA / FOLDERS[3])[0].claims == frozenset({"journal.log"})


@pytest.mark.parametrize("folder", FOLDERS)
def test_whatever_is_damaged_reading_ends(folder: str, tmp_path: Path) -> None:
    assert_survives(READER, DATA / folder, n=120, seed=3, scratch=tmp_path)

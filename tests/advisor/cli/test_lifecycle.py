"""``delete``, ``restore``, ``rename``, ``move`` and ``log``."""

from __future__ import annotations

from pathlib import Path

import pytest

RUN0 = "00ab" + "0" * 28


def test_a_run_is_deleted_shown_as_such_and_restored(program, store: Path) -> None:
    done = program("--store", store, "delete", "00ab")
    assert done.out == f"deleted run #0 of digits ({RUN0})\n"
    assert f"advisor restore {RUN0}" in done.err
    for reference in ("00ab", "digits#0"):
        assert "is deleted; 'advisor restore" in program("--store", store, "show", reference).error
    assert RUN0 in program("--store", store, "restore").out
    assert program("--store", store, "restore", "00ab").out == f"restored run #0 of digits ({RUN0})\n"
    assert program("--store", store, "show", "00ab", "--json").data["number"] == 0
    assert program("--store", store, "restore").err == "nothing is deleted\n"


def test_deletions_keep_to_the_contract(program, store: Path) -> None:
    fields = ["experiment", "run_id", "number", "n_runs", "deleted"]
    (gone,) = program("--store", store, "delete", "digits", "--json").data
    assert list(gone) == fields
    assert (gone["experiment"], gone["run_id"], gone["n_runs"]) == ("digits", None, 16)
    assert program("--store", store, "restore", "--json").data == [gone]
    assert "all of it, 16 runs" in program("--store", store, "restore").out
    assert "'advisor restore digits' brings it back" in program("--store", store, "runs", "digits").error
    assert program("--store", store, "restore", "digits", "--json").data == [gone]
    assert len(program("--store", store, "runs", "digits", "--json").data) == 16


def test_a_mistake_is_one_line(program, store: Path) -> None:
    assert "did you mean 'digits'" in program("--store", store, "delete", "digts").error
    assert "did you mean 'digits'" in program("--store", store, "rename", "digts", "x").error
    assert "exists already" in program("--store", store, "rename", "digits", "bare").error
    assert "already" in program("--store", store, "move", "00ab", "--to", "digits").error
    assert "is not deleted" in program("--store", store, "restore", "digits").error


def test_an_experiment_is_renamed(program, store: Path) -> None:
    assert program("--store", store, "rename", "digits", "mlp").out == "experiment digits is now mlp\n"
    assert program("--store", store, "rename", "mlp", "cnn", "--json").data == {"experiment": "cnn", "was": "mlp"}
    assert len(program("--store", store, "runs", "cnn", "--json").data) == 16


def test_runs_are_moved(program, store: Path) -> None:
    done = program("--store", store, "move", "00ab", "digits#1", "--to", "bare")
    assert done.out.startswith(f"moved {RUN0} to bare as #1, 01ab")
    moved = program("--store", store, "move", "02ab", "--to", "empty", "--json").data
    assert [(run["experiment"], run["number"]) for run in moved] == [("empty", 0)]


def test_the_log_of_a_run_says_what_happened_and_who_did_it(program, store: Path) -> None:
    program("--store", store, "move", "00ab", "--to", "bare")
    lines = program("--store", store, "log", "00ab").out.splitlines()
    assert lines[0].split() == ["time", "(UTC)", "who", "what"]
    assert "run #1 recorded as finished: val_loss" in lines[1]
    assert lines[2].rstrip().endswith("run #1 moved to bare as #1")
    assert "@" in lines[2]
    verbose = program("--store", store, "log", "00ab", "--verbose").out
    assert "experiment-advisor" in verbose
    assert "process" in verbose


def test_the_log_keeps_to_the_contract(program, store: Path) -> None:
    entries = program("--store", store, "log", "digits", "--json").data
    fields = ["id", "time", "kind", "experiment", "run_id", "actor", "who", "text", "seq", "hash"]
    assert [list(entry) for entry in entries] == [fields] * 17
    assert set(entries[0]["who"]) == {"user", "host", "program"}
    assert program("--store", store, "log", "digits", "--json", "--limit", 2).data == entries[-2:]


def test_a_long_log_shows_its_end_and_says_so(program, store: Path) -> None:
    done = program("--store", store, "log", "--limit", 3)
    assert len(done.out.splitlines()) == 4
    assert "the newest 3 lines; --limit 12 shows more" in done.err
    assert "bare" in done.out.splitlines()[-1]


def test_a_log_of_nothing_that_there_is_names_what_is_close(program, store: Path) -> None:
    assert "did you mean 'digits'" in program("--store", store, "log", "digts").error


@pytest.mark.parametrize("command", ["delete", "move"])
def test_what_is_meant_must_be_said(program, store: Path, command: str) -> None:
    assert "missing" in program("--store", store, command).error

"""``advisor triage``: what needs a person, for people and for programs."""

from __future__ import annotations

import json
from pathlib import Path

import advisor


def test_what_needs_a_person_is_listed_and_taken_back(program, tmp_path: Path) -> None:
    with advisor.open(tmp_path / "store", capture=False) as adv:
        run = adv.experiment("sweep", objective="loss").start(params={"lr": 0.1})
        run.fail("boom")
    at = ("--store", str(tmp_path / "store"))
    shown = program(*at, "triage")
    assert "#0: it failed: boom" in " ".join(shown.out.split())
    assert json.loads(program(*at, "triage", "--json").out)["findings"][0]["code"] == "ADV111"
    program(*at, "ack", run.id)
    assert program(*at, "triage", "--all").err.splitlines()[0] == "no trouble is open"
    program(*at, "ack", run.id, "--undo")
    assert "it failed: boom" in program(*at, "triage").out


def test_a_suggestion_that_waits_is_told_beside_no_open_trouble(program, tmp_path: Path) -> None:
    with advisor.open(tmp_path / "store", capture=False) as adv:
        adv.experiment("sweep", objective="loss", space={"lr": advisor.Float(0, 1)}).suggest()
    shown = program("--store", str(tmp_path / "store"), "triage")
    assert shown.err.splitlines() == ["no trouble is open; a suggestion waits"]
    assert shown.out.startswith("suggestion ")


def test_of_many_runs_with_the_same_trouble_some_are_named(program, tmp_path: Path) -> None:
    with advisor.open(tmp_path / "store", capture=False) as adv:
        exp = adv.experiment("sweep", objective="loss")
        for i in range(5):
            exp.start(params={"lr": 0.1 * i}).fail("boom")
    shown = program("--store", str(tmp_path / "store"), "triage").out
    assert "5 of 5 runs: failed (#" in " ".join(shown.split())
    assert ", …)" in shown


def test_of_runs_with_the_same_trouble_those_that_a_person_ended_are_counted(program, tmp_path: Path) -> None:
    with advisor.open(tmp_path / "store", capture=False) as adv:
        exp = adv.experiment("sweep", objective="loss")
        for error in ("boom", "KeyboardInterrupt", "KeyboardInterrupt"):
            exp.start(params={"lr": 0.1}).fail(error)
    at = ("--store", str(tmp_path / "store"), "triage")
    assert "3 of 3 runs: failed (2 of them mild) (#2, #1, #0)" in " ".join(program(*at).out.split())
    (group,) = json.loads(program(*at, "--json").out)["findings"]
    assert (group["n_runs"], group["n_mild"], group["urgent"]) == (3, 2, True)

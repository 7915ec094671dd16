"""``verdict``: whether a finding was right, and what shows it afterwards."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import advisor
from storage.records import Finding
from tests.advisor.cli.conftest import Program


@pytest.fixture(scope="module")
def checked(made_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the store after a check."""
    path = Path(shutil.copytree(made_store, tmp_path_factory.mktemp("checked") / "store"))
    with advisor.open(path, embedder="hashing") as adv:
        adv.experiment("digits", create=False).check()
    return path


@pytest.fixture
def store(checked: Path, tmp_path: Path) -> Path:
    """Return a copy of it that a test may change."""
    return Path(shutil.copytree(checked, tmp_path / "store"))


@pytest.fixture
def found(store: Path) -> Finding:
    """Return the gravest finding of ``digits``: run 3 becomes NaN."""
    with advisor.open(store) as adv:
        return adv.experiment("digits", create=False).findings()[0]


def test_a_check_shows_the_beginning_of_each_id_and_says_what_it_is_for(program: Program, store: Path) -> None:
    done = program("--store", store, "check", "digits")
    shown = [line.split()[0] for line in done.out.splitlines() if "ADV101" in line]
    ids = [each["finding_id"] for each in program("--store", store, "check", "digits", "--json").data]
    assert shown
    assert all(len(beginning) >= 8 and any(i.startswith(beginning) for i in ids) for beginning in shown)
    assert "'advisor verdict ID ok' for a false alarm" in done.err
    judged = program("--store", store, "verdict", shown[0], "real")
    assert (judged.code, judged.out) == (0, "finding ADV101 on run #3 of digits: real trouble\n")


def test_a_false_alarm_is_resolved_and_no_check_opens_it_again(program: Program, store: Path, found: Finding) -> None:
    judged = program("--store", store, "verdict", found.id, "ok", "--note", "token=hunter22 a test")
    assert judged.out == "finding ADV101 on run #3 of digits: a false alarm, resolved for good\n"
    again = program("--store", store, "check", "digits", "--json").data
    assert found.id not in [each["finding_id"] for each in again]
    assert "1 finding judged to be no trouble is not listed" in program("--store", store, "check", "digits").out
    shown = program("--store", store, "show", "digits#3")
    assert "(resolved, judged ok)" in shown.out
    (same,) = [
        each
        for each in program("--store", store, "show", "digits#3", "--json").data["findings"]
        if each["finding_id"] == found.id
    ]
    assert (same["state"], same["verdict"]) == ("resolved", "ok")
    history = program("--store", store, "log", "digits#3").out
    assert "judged ok, a false alarm: token=" in history
    assert "hunter22" not in history


def test_real_trouble_stays_open_and_the_last_word_counts(program: Program, store: Path, found: Finding) -> None:
    call = ("--store", store, "verdict", found.id)
    assert program(*call, "ok", "--json").data["verdict"] == "ok"
    judged = program(*call, "real", "--json").data
    assert (judged["verdict"], judged["state"]) == ("real", "open")
    shown = program("--store", store, "check", "digits", "--fail-on", "error")
    assert shown.code == 1
    (line,) = [line for line in shown.out.splitlines() if line.startswith(found.id[:8])]
    assert line.split()[-1] == "real"


def test_a_finding_is_named_by_its_run_and_code(program: Program, store: Path, found: Finding) -> None:
    several = program("--store", store, "verdict", "digits#3:ADV101", "ok").error  # one a curve
    assert "2 findings fit 'digits#3:ADV101'; give the beginning of one's id: " in several
    assert f"{found.id[:8]} (ADV101, {found.metric})" in several
    assert program("--store", store, "verdict", "failed-one:adv111", "real").code == 0


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("failed-one:ADV11", "run digits#15 has no finding 'ADV11'; did you mean 'ADV111'?"),
        ("digits#1:ADV101", "run digits#1 has no finding"),
        ("digits#99:ADV101", "experiment 'digits' has no run number 99; it has 16 runs"),
        ("failed-one", "'failed-one' is a run; say which of its findings is meant, for instance digits#15:ADV111"),
        ("zzzz", "no finding 'zzzz'; "),
        ("", "no finding ''; "),
    ],
)
def test_what_names_no_finding_is_said_in_one_line(
    program: Program, store: Path, found: Finding, reference: str, said: str
) -> None:
    assert said in program("--store", store, "verdict", reference, "ok").error


def test_a_slip_in_an_id_names_the_nearest(program: Program, store: Path, found: Finding) -> None:
    beginning = found.id[:8]
    wrong = ("0" if beginning[3] != "0" else "1").join((beginning[:3], beginning[4:]))
    assert f"did you mean {beginning!r}" in program("--store", store, "verdict", wrong, "ok").error


def test_an_unknown_verdict_is_refused(program: Program, store: Path, found: Finding) -> None:
    error = program("--store", store, "verdict", found.id, "okay").error
    assert "'okay' is not one of" in error


def test_nothing_was_found_yet(program: Program, tmp_path: Path) -> None:
    with advisor.open(tmp_path / "fresh") as adv:
        adv.experiment("digits", objective="loss").tell({"lr": 0.1}, 0.5)
    said = "no finding 'zzzz', no run has any; 'advisor check' looks"
    assert said in program("--store", tmp_path / "fresh", "verdict", "zzzz", "ok").error

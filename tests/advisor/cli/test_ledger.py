"""``advisor ledger``: a table, sentences, JSON; nothing to tell is told kindly."""

from __future__ import annotations

from pathlib import Path

import pytest

import advisor
from storage.records import Event
from tests.advisor.cli.conftest import NASTY, Program


@pytest.fixture
def advised(store: Path) -> Path:
    """Return the store with suggestions of which some were followed, a forecast and a stop."""
    with advisor.open(store) as adv:
        exp = adv.experiment("digits", create=False)
        for i, suggestion in enumerate(exp.suggest(3, seed=1)):
            if i < 2:
                exp.tell(suggestion.params, 0.05 - 0.01 * i, suggestion_id=suggestion.id)
        run_id = exp.runs()[0].id
        figures = {"mean": 0.2, "low": 0.1, "high": 0.3, "p_best": 0.1, "method": "curve", "at": 0.5, "n_runs": 9}
        adv.store.append(
            [
                Event.new("forecast.made", "digits", run_id, **figures),
                Event.new("stop.advised", "digits", run_id, reason=NASTY, step=3, value=1.0),
                Event.new("suggestion.made", "digits", suggestion_id="x", source=NASTY, params={}),
            ]
        )
    return store


def test_the_ledger_is_a_table_and_sentences(program: Program, advised: Path) -> None:
    done = program("--store", advised, "ledger", "digits")
    assert (done.code, done.err) == (0, "")
    assert "suggestions, by where their parameters came from" in done.out
    assert "4 suggestions made: 2 finished, 2 waiting to be started." in done.out
    assert "Suggested runs became the best so far in 100% of 2" in done.out
    assert "What other searches would have found cannot be told" in done.out
    assert "1 run was advised to stop: 0 stopped; 1 went on" in done.out
    assert "Search: not enough runs to tell: " in done.out
    assert "\x1b" not in done.out
    assert "[red]" in done.out


def test_verdicts_on_findings_are_counted(program: Program, store: Path) -> None:
    with advisor.open(store) as adv:
        exp = adv.experiment("digits", create=False)
        evidence = {"threshold_p": 0.05}
        said = {
            "code": "ADV109",
            "title": "t",
            "severity": "info",
            "detector": "isolation-forest",
            "evidence": evidence,
        }
        runs = exp.runs()
        adv.store.append(
            [Event.new("finding.opened", "digits", runs[i].id, finding_id=f"f{i}", **said) for i in range(3)]
        )
        unjudged = program("--store", store, "ledger", "digits").out
        assert "none of the 3 findings is judged ('advisor verdict' does that)" in unjudged
        exp.verdict("f0", "ok")
        exp.verdict("f1", "real")
    done = program("--store", store, "ledger", "digits")
    assert "findings, and the verdicts on them" in done.out
    (row,) = [line.split() for line in done.out.splitlines() if line.startswith("ADV109 ")]
    assert row == ["ADV109", "isolation-forest", "3", "2", "1", "1", "50%", "9%", "to", "91%"]
    assert "Not enough verdicts to tell how often isolation-forest (ADV109) flags sound runs" in done.out
    data = program("--store", store, "ledger", "digits", "--json").data
    assert (data["false_alarms"]["n_hits"], data["verdicts"][0]["n_judged"]) == (1, 2)
    assert data["verdicts"][0]["rate"]["can_tell"] is False


def test_the_ledger_as_json(program: Program, advised: Path) -> None:
    data = program("ledger", "digits", "--json", "--store", advised).data
    assert data["suggestions"]["n_made"] == 4
    assert data["suggestions"]["improved"]["share"] == 1.0
    assert {each["about"] for each in data["forecasts"]} == {"suggestions", "runs by curve"}
    assert data["stop_advice"]["stop"] is False
    assert data["stop_advice"]["n_runs"] == 15
    assert data["hindsight"]["versus"] == []


def test_an_experiment_without_advice_says_so_and_is_no_error(program: Program, store: Path) -> None:
    done = program("--store", store, "ledger", "empty")
    assert done.code == 0
    assert done.out.startswith("Nothing has been suggested, forecast, stopped or found here yet")
    for name in ("empty", "bare"):
        assert program("--store", store, "ledger", name, "--json").data["suggestions"]["n_made"] == 0


def test_mistakes_are_one_line(program: Program, store: Path) -> None:
    assert "digitss" in program("--store", store, "ledger", "digitss").error
    assert "--tpe-seeds" in program("--store", store, "ledger", "digits", "--tpe-seeds", "-1").error


def test_the_experiment_follows_its_name(advised: Path) -> None:
    with advisor.open(advised) as adv:
        exp = adv.experiment("digits", create=False)
        other = adv.experiment("digits", create=False)
        other.rename("numbers")
        assert exp.ledger().suggested.n_made == 4
        assert exp.stop_advice().n_runs == 15

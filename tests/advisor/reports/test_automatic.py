"""Documents that write themselves: once, anew when something changed, and told where that is wanted."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import advisor
from advisor.errors import ConfigError
from advisor.reports import beside as beside_module
from advisor.reports.beside import Beside


def test_a_run_that_ends_is_summarized_and_its_findings_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ADVISOR_EMBEDDER", "hashing")
    policies = {"on_finish": "run-summary", "on_finding": "incident", "reports": tmp_path / "reports"}
    with advisor.open(tmp_path / "store", capture=False, **policies) as adv:
        exp = adv.experiment("digits", objective="loss")
        for diverges in (False, True):
            with exp.start(params={"lr": 0.1 + diverges}) as run:
                for step in range(5):
                    run.log({"loss": math.nan if diverges and step > 2 else 1 / (step + 1)}, step=step)
    with advisor.open(tmp_path / "store", capture=False, notify="console", **policies) as adv:
        kept = adv.documents()
        assert sorted(each.kind for each in kept) == ["incident", "run-summary", "run-summary"]
        assert all(Path(str(each.path)).is_file() for each in kept)
        assert "run-summary" in str(adv.history("digits")[-1]) or "incident" in str(adv.history("digits")[-1])
        assert adv.write_due() == []
        exp = adv.experiment("digits", create=False)
        finding = exp.run(1).findings[0]
        exp.verdict(finding.id, "ok")
        capsys.readouterr()
        again = adv.write_due()
        assert sorted((each.kind, each.version) for each in again) == [("incident", 2), ("run-summary", 2)]
        assert "Judged a false alarm" in next(each.text for each in again if each.kind == "incident")
        assert all(adv.verify(Path(str(each.path))).ok for each in again)
        exp.tell({"lr": 0.7}, state="failed")
        assert [each.kind for each in adv.write_due()] == ["run-summary"]
        assert "run-summary written: Run #2 of digits" in "".join(capsys.readouterr())


def test_without_a_policy_nothing_is_written(adv: advisor.Advisor) -> None:
    assert adv.write_due() == []
    assert adv.documents() == []


def test_a_policy_that_there_is_not_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="names 'summary'; it may name run-summary"):
        advisor.open(tmp_path / "store", on_finish="summary")


def test_what_is_asked_for_beside_is_done_before_the_end(caplog: pytest.LogCaptureFixture) -> None:
    done: list[str] = []
    gate = threading.Event()

    def do(name: str, go_on: Callable[[], bool]) -> None:
        gate.wait(10)
        done.append(name)
        if name == "b":
            raise ValueError("broken")

    beside = Beside(do)
    for name in ("a", "b", "b", "c", "a"):
        beside.ask(name)
    gate.set()
    beside.close()
    assert sorted(set(done)) == ["a", "b", "c"]
    assert len(done) <= 5
    assert "documents of b are not written" in caplog.text


def test_the_end_of_a_program_begins_no_further_document_once_time_is_up(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beside_module, "WITHIN_S", 0.1)
    done: list[str] = []

    def do(name: str, go_on: Callable[[], bool]) -> None:
        while go_on():
            time.sleep(0.01)
        done.append(name)

    beside = Beside(do)
    beside.ask("a")
    beside.ask("b")
    beside.close()
    assert done == ["a"]
    assert "documents of b are left for the next look" in caplog.text

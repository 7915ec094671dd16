"""``advisor report --llm``: settings to server to document, the second time for nothing, and over budget not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import advisor
from advisor.cli import main

SENTENCE = "After {{n_runs}} runs, the best {{metric}} is {{best}}."

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture
def store(tmp_path: Path, loopback: Any, litellm_loaded: float, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, value in (
        ("LLM", "openai/tiny"),
        ("LLM_API_BASE", loopback.url),
        ("LLM_TIMEOUT_S", "30"),
        ("CAPTURE", "no"),
        ("EMBEDDER", "hashing"),
    ):
        monkeypatch.setenv(f"ADVISOR_{name}", value)
    rows = [{"text": SENTENCE, "claims": []}]
    loopback.say = lambda request: json.dumps({"sentences": rows, "interpretation": []})
    exp = advisor.open(tmp_path / "store").experiment("digits", objective="val_loss", direction="minimize")
    for value in (0.5, 0.25):
        exp.tell({"lr": value}, value)
    return tmp_path / "store"


def report(store: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    capsys.readouterr()
    code = main(["--store", str(store), "report", "digits", "-o", "-"])
    out, err = capsys.readouterr()
    return code, out, err


def test_a_model_of_the_settings_writes_and_the_second_time_costs_nothing(
    store: Path, loopback: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = report(store, capsys), report(store, capsys)
    assert "After 2 runs, the best `val_loss` is 0.25." in first[1]
    assert len(loopback.requests) == 1
    assert "1 call, 18 tokens, price unknown; today 1 call" in first[2]
    assert "was not asked again" in second[2]
    assert "written by openai/tiny" in second[1]
    assert (store / "calls" / "language-model.sqlite").exists()
    assert main(["--store", str(store), "doctor"]) == 0
    assert "language model: openai/tiny; today 1 call, 18 tokens" in capsys.readouterr().out


def test_what_the_program_named_for_a_model_verifies_and_no_digit_of_it_may_change(
    store: Path, loopback: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    claim = {"id": "c1", "op": "lt", "a": "best", "b": "baseline"}
    compared = {"text": "{{the best}} came from run {{best_run}} and is {{c1}} {{the baseline}}.", "claims": [claim]}
    missing = {"text": "Not recorded are {{absent_test_metric}} and {{absent_commit}}.", "claims": []}
    loopback.say = lambda request: json.dumps({"sentences": [compared, missing], "interpretation": []})
    for name in ("report.md", "report.html"):
        path = tmp_path / name
        assert main(["--store", str(store), "report", "digits", "-o", str(path)]) == 0
        text = path.read_text()
        capsys.readouterr()
        assert main(["--store", str(store), "verify", str(path)]) == 0, capsys.readouterr()
        for right, wrong in (("0.25", "0.26"), ("0.5", "0.6"), ("#1", "#0")):
            place = text.find("lower (better) than")
            at = text.rfind(right, 0, place) if right != "0.5" else text.find(right, place)
            assert place - 300 < at < place + 300
            path.write_text(text[:at] + wrong + text[at + len(right) :])
            assert main(["--store", str(store), "verify", str(path)]) == 1, (name, wrong)
            path.write_text(text)


def test_a_budget_that_is_spent_gives_a_report_all_the_same(
    store: Path, loopback: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADVISOR_LLM_TOKENS_PER_DAY", "100")
    code, out, err = report(store, capsys)
    assert code == 0
    assert loopback.requests == []
    assert "written by template" in out
    assert "the budget is 100 tokens a day (UTC)" in err

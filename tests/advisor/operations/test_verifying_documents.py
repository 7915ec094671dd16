"""Documents of ours whose text an operation gave: recognised, derived again, and held character by character."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

Ask = Callable[..., dict[str, Any]]

SUBJECTS = [
    {"kind": "run-summary", "run": "digits#6"},
    {"kind": "comparison", "a": "digits#0", "b": "digits#6"},
]


def with_another_digit(text: str, at: int) -> str:
    return f"{text[:at]}{(int(text[at]) + 3) % 10}{text[at + 1 :]}"


def places(text: str) -> list[int]:
    """Return where some of the digits of decimal figures stand."""
    return [match.end() - 1 for match in re.finditer(r"\d\.\d+", text)][:30:20]


@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject["kind"])
def test_the_text_of_a_report_that_is_not_kept_verifies_and_no_digit_of_it_may_change(
    look: Ask, subject: dict[str, str]
) -> None:
    text = look("get_report", **subject)["text"]
    found = look("verify_text", text=text)
    assert found["ok"], found["failures"]
    assert found["kind"] != "text"
    for at in places(text):
        wrong = look("verify_text", text=with_another_digit(text, at))
        assert not wrong["ok"]
        assert any(each["written"] and each["written"] != each["expected"] for each in wrong["failures"])


@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject["kind"])
def test_the_text_of_a_kept_document_is_recognised_and_the_changed_digit_is_named(
    ask: Ask, subject: dict[str, str]
) -> None:
    kept = ask("write_report", **subject)
    text = ask("get_document", document=kept["document_id"])["text"]
    for same in (text, f"\n{text.strip()}\n\n".replace("\n", "\r\n")):
        found = ask("verify_text", text=same)
        assert found["ok"], found["failures"]
        assert found["kind"] != "text"
        assert kept["document_id"] in found["notes"][0]
    for at in places(text):
        wrong = ask("verify_text", text=with_another_digit(text, at))
        assert not wrong["ok"]
        assert wrong["failures"][0]["line"] == text.count("\n", 0, at) + 1
        assert "the figure is not what the store says" in wrong["failures"][0]["why"]


def test_another_text_is_not_taken_for_a_kept_document(ask: Ask) -> None:
    kept = ask("write_report", kind="run-summary", run="digits#6")
    text = "\n".join(kept["text"].split("\n")[:3]) + "\n\nIn digits 11 runs finished.\n\nThat\nis\nall\nthere\nis.\n"
    assert ask("verify_text", text=text)["kind"] == "text"

"""Messages say what, where and on what evidence; they are bounded and harmless."""

from __future__ import annotations

import json
import unicodedata
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from advisor.findings import CODES
from advisor.findings.alerting import Alert, AlertState, Decision
from advisor.findings.alerts import key_of
from advisor.findings.configuration import BLAME
from advisor.notify.render import TEXT_LIMIT, TITLE_LIMIT, Message, clean, render_decision
from storage.records import Finding, Run, RunState, Severity

RUN = Run(
    "abcdef0123456789",
    number=12,
    experiment="digits-mlp",
    state=RunState.RUNNING,
    params={"lr": 0.30000000000000004, "optimizer": "sgd"},
    created=datetime(2026, 1, 1, tzinfo=UTC),
)


def finding(**changes: Any) -> Finding:
    base = Finding(
        "f1",
        run_id=RUN.id,
        experiment="digits-mlp",
        code="ADV101",
        title="val_loss became NaN at step 40",
        severity=Severity.ERROR,
        detector="rules",
        metric="val_loss",
        step=40,
        evidence={"last_finite": 2.3456789, "n_nonfinite": 3},
    )
    return replace(base, **changes)


def said(*findings: Finding, run: Run = RUN) -> Message:
    """Return the message about some alerts of one run, or of several where the findings name others."""
    alerts = tuple(
        Alert(
            key_of(each),
            run=replace(run, id=each.run_id),
            lead=each,
            episode=1,
            state=AlertState.FIRING,
            fires_at=RUN.created,
        )
        for each in findings
    )
    return render_decision(Decision("c", kind="firing", alerts=alerts), n_runs=40)


def test_a_message_says_what_where_on_what_evidence_and_how_to_look() -> None:
    message = said(finding())
    assert message == Message(
        "✖ digits-mlp run 12: val_loss became NaN at step 40",
        text=(
            "ADV101, error, metric val_loss, from step 40\n"
            "at step 40, confidence: a rule, no chance in it\n"
            "last finite value: 2.346\n"
            "values that are not finite: 3\n"
            "parameters: lr=0.3, optimizer=sgd\n"
            "what to do: " + CODES["ADV101"].what_to_do + "\n"
            "\n"
            "advisor show abcdef0123456789  |  " + message.fields["acknowledge"]
        ),
        severity=Severity.ERROR,
        fields=message.fields,
    )


def test_fields_are_strict_json_with_non_finite_numbers_as_words() -> None:
    evidence = {"nan": float("nan"), "high": [float("inf"), -float("inf")], "deep": {"x": 1}}
    again = json.loads(json.dumps(said(finding(evidence=evidence)).fields, allow_nan=False))
    assert again["experiment"] == "digits-mlp"
    assert again["run_number"] == 12
    assert again["params"]["optimizer"] == "sgd"
    [told] = again["findings"]
    assert told["code"] == "ADV101"
    assert told["evidence"] == {"nan": "NaN", "high": ["Infinity", "-Infinity"], "deep": {"x": 1}}


@pytest.mark.parametrize(
    ("is_configuration", "words"),
    [(True, "a bad configuration"), (False, "something else than its parameters is to blame")],
)
def test_what_the_neighbours_say_is_a_sentence(is_configuration: bool, words: str) -> None:
    evidence = dict(zip(BLAME, (is_configuration, 2, 5), strict=True))
    text = said(finding(evidence=evidence)).text
    assert "2 of the 5 runs with the nearest parameters failed like it: " in text
    assert words in text
    assert "neighbours" not in text


def test_long_lists_are_cut_and_counted() -> None:
    group = said(*(finding(id=str(i), run_id=f"r{i}") for i in range(14)))
    assert group.title == "✖ digits-mlp: 14 of 40 runs: non-finite"
    assert "… and 2 more runs" in group.text
    many = said(
        finding(evidence={f"e{i}": i for i in range(20)}), run=replace(RUN, params={f"p{i}": i for i in range(20)})
    )
    assert "… and 12 more figures" in many.text
    assert "(20 in all)" in many.text


hostile = st.text(
    st.sampled_from("ab @<!\x1b[31m\n\r\u202e\u2066\u200b\ufeff\x9b\x07\u2028\ud800é漢👍") | st.characters(),
    max_size=300,
)


@settings(max_examples=40, deadline=None)
@given(title=hostile, name=hostile, value=hostile, n=st.integers(1, 14))
def test_whatever_a_run_says_the_message_is_bounded_and_plain(title: str, name: str, value: str, n: int) -> None:
    run = replace(RUN, experiment=name, params={f"{name}{i}": value for i in range(n)})
    found = finding(title=title, metric=name, experiment=name, evidence={f"{name}{i}": [value] * n for i in range(n)})
    for message in (said(found, run=run), said(*(replace(found, run_id=f"r{i}") for i in range(n)), run=run)):
        assert len(message.title) <= TITLE_LIMIT
        assert len(message.text) <= TEXT_LIMIT
        assert "\n" not in message.title
        assert "\nadvisor show " in message.text
        assert message.text.endswith(message.fields["acknowledge"])
        for char in (message.title + message.text).replace("\n", ""):
            assert unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Zl", "Zp")
        json.dumps(message.fields, allow_nan=False).encode()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]8;;http://evil\x07link\x1b]8;;\x07", "link"),
        ("a\u202egnp.exe", "agnp.exe"),
        ("two\nlines\tand\u2028more", "two lines and more"),
        ("ping @everyone and <!channel>", "ping ＠everyone and ‹!channel>"),
        ("me@example.org", "me@example.org"),
        ("x" * 50, "x" * 39 + "…"),
        ("loss < 0.1 & acc > 0.9", "loss < 0.1 & acc > 0.9"),
    ],
)
def test_text_from_runs_is_made_harmless(text: str, shown: str) -> None:
    assert clean(text, 40) == shown

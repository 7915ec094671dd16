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

from advisor.notify.render import TEXT_LIMIT, TITLE_LIMIT, Message, clean, render, render_group
from storage.records import Finding, FindingState, Run, RunState, Severity

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


def test_a_message_says_what_where_on_what_evidence_and_how_to_look() -> None:
    message = render(finding(), RUN)
    assert message == Message(
        "✖ digits-mlp run 12: val_loss became NaN at step 40",
        text=(
            "ADV101, error, metric val_loss, from step 40\n"
            "last_finite: 2.346\n"
            "n_nonfinite: 3\n"
            "parameters: lr=0.3, optimizer=sgd\n"
            "\n"
            "advisor show abcdef0123456789"
        ),
        severity=Severity.ERROR,
        fields=message.fields,
    )


def test_fields_are_strict_json_with_non_finite_numbers_as_words() -> None:
    evidence = {"nan": float("nan"), "high": [float("inf"), -float("inf")], "deep": {"x": 1}}
    fields = render(finding(evidence=evidence), RUN).fields
    again = json.loads(json.dumps(fields, allow_nan=False))
    assert again["experiment"] == "digits-mlp"
    assert again["run_number"] == 12
    assert again["params"]["optimizer"] == "sgd"
    [said] = again["findings"]
    assert said["code"] == "ADV101"
    assert said["evidence"] == {"nan": "NaN", "high": ["Infinity", "-Infinity"], "deep": {"x": 1}}


def test_without_the_run_its_id_names_it() -> None:
    assert render(finding(), None).title.startswith("✖ digits-mlp run abcdef01: ")


def test_a_resolved_finding_says_so() -> None:
    assert ": resolved: val_loss" in render(finding(state=FindingState.RESOLVED), RUN).title


def test_several_findings_share_a_message_the_gravest_first() -> None:
    mild = finding(id="f2", code="ADV104", title="plateau", severity=Severity.WARNING)
    message = render_group([mild, finding()], RUN)
    assert message.severity is Severity.ERROR
    assert message.title == "✖ digits-mlp run 12: 2 findings, first val_loss became NaN at step 40"
    assert message.text.splitlines()[:2] == ["✖ ADV101 val_loss became NaN at step 40", "⚠ ADV104 plateau"]
    assert [said["finding_id"] for said in message.fields["findings"]] == ["f1", "f2"]


def test_a_group_of_one_is_that_one() -> None:
    assert render_group([finding()], RUN) == render(finding(), RUN)


def test_a_group_is_of_one_run() -> None:
    with pytest.raises(ValueError, match="one run"):
        render_group([finding(), finding(run_id="other")])
    with pytest.raises(ValueError, match="one run"):
        render_group([])


def test_long_lists_are_cut_and_counted() -> None:
    group = render_group([finding(id=str(i), metric=f"m{i}") for i in range(14)], RUN)
    assert "… and 4 more" in group.text
    many = render(
        finding(evidence={f"e{i}": i for i in range(20)}), replace(RUN, params={f"p{i}": i for i in range(20)})
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
    for message in (render(found, run), render_group([replace(found, metric=str(i)) for i in range(n)], run)):
        assert len(message.title) <= TITLE_LIMIT
        assert len(message.text) <= TEXT_LIMIT
        assert "\n" not in message.title
        assert message.text.endswith("advisor show abcdef0123456789")
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

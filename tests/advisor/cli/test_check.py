"""``check``: findings, scores, and what could not be judged."""

from __future__ import annotations

from pathlib import Path

import pytest

FIELDS = {
    "run_id", "code", "title", "severity", "state", "metric", "step", "p_value", "score", "evidence", "detector",
}  # fmt: skip


def test_findings_keep_to_the_contract(program, store: Path) -> None:
    done = program("--store", store, "check", "digits", "--json")
    assert done.code == 0
    assert all(set(finding) >= FIELDS for finding in done.data)
    first = done.data[0]
    assert (first["code"], first["severity"], first["state"]) == ("ADV101", "error", "open")
    assert first["run_id"].startswith("03ab")
    assert "told-nan" not in done.out
    assert "2 runs: no curves; not checked for" in done.err


def test_findings_are_kept_once(program, store: Path) -> None:
    first = program("--store", store, "check", "digits", "--json").data
    assert program("--store", store, "check", "digits", "--json").data == first
    assert program("--store", store, "show", "digits#3", "--json").data["findings"] != []


def test_every_run_has_a_score(program, store: Path) -> None:
    scores = program("--store", store, "check", "digits", "--scores", "--json").data
    assert [list(score) for score in scores] == [["run_id", "score", "p_value", "forest", "head"]] * 16
    by_id = {score["run_id"][:4]: score["score"] for score in scores}
    assert max((value, key) for key, value in by_id.items() if value is not None)[1] == "03ab"
    assert by_id["told"] is None


def test_findings_are_grouped_by_severity_and_the_rest_is_said(program, store: Path) -> None:
    out = program("--store", store, "check", "digits").out
    assert out.startswith("error: ")
    assert "ADV101" in out
    assert "not everything could be judged" in out
    assert "not checked for" in out


def test_too_little_to_judge_is_never_healthy(program, store: Path) -> None:
    done = program("--store", store, "check", "bare-run")
    assert "not everything could be judged in 1 run:" in done.out
    assert "too short" in done.out
    assert "every check was applied" not in done.out


def test_one_run_can_be_checked(program, store: Path) -> None:
    for target in ("digits#3", "03ab"):
        found = program("--store", store, "check", target, "--json").data
        assert {finding["run_id"][:4] for finding in found} == {"03ab"}
    scores = program("--store", store, "check", "03ab", "--scores", "--json").data
    assert len(scores) == 1
    assert program("--store", store, "check", "02ab", "--json", "--fail-on", "warning").code == 0


def test_without_a_name_all_experiments_are_checked(program, store: Path) -> None:
    scores = program("--store", store, "check", "--scores", "--json").data
    assert len(scores) == 17
    out = program("--store", store, "check", "--scores").out
    assert "anomaly scores, most anomalous first" in out
    assert "bare" in out


@pytest.mark.parametrize(
    ("target", "severity", "code"), [("digits", "error", 1), ("digits", "info", 1), ("empty", "info", 0)]
)
def test_open_findings_can_fail_the_check(program, store: Path, target: str, severity: str, code: int) -> None:
    assert program("--store", store, "check", target, "--fail-on", severity).code == code
    assert program("--store", store, "check", target, "--fail-on", severity, "--json").code == code


def test_what_was_acknowledged_does_not_fail_the_check(program, store: Path) -> None:
    from storage.embed import HashingEmbedder
    from storage.records import Event
    from storage.store import open_store

    found = program("--store", store, "check", "digits", "--json").data
    opened = open_store(store, embedder=HashingEmbedder())
    opened.append(
        [
            Event.new("finding.state", "digits", each["run_id"], finding_id=each["finding_id"], state="acknowledged")
            for each in found
        ]
    )
    assert program("--store", store, "check", "digits", "--fail-on", "info").code == 0


def test_nothing_to_check_is_said(program, store: Path) -> None:
    done = program("--store", store, "check", "empty")
    assert (done.code, done.out, done.err) == (0, "", "there are no runs to check\n")


def test_channels_of_a_call_are_told_once(program, store: Path) -> None:
    first = program("--store", store, "check", "digits", "--notify", "console")
    assert "digest of digits: " in first.err  # these runs ended long ago
    assert "digest" not in program("--store", store, "check", "digits", "--notify", "console").err
    assert "an address of a channel must be" in program("--store", store, "check", "--notify", "slack").error

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from advisor.findings import codes
from advisor.findings.keeping import reconcile
from storage.records import Event, Finding, FindingState, Severity

NOW = datetime(2026, 1, 1, tzinfo=UTC)
RESOLVED, OPEN = FindingState.RESOLVED, FindingState.OPEN


def a_finding(run_id: str, *, title: str = "words", severity: Severity = Severity.WARNING) -> Finding:
    return Finding(
        codes.finding_id(run_id, "ADV103", "loss"),
        run_id=run_id,
        experiment="e",
        code="ADV103",
        title=title,
        severity=severity,
        detector="rules",
        metric="loss",
        time=NOW,
    )


def told(events: list[Event]) -> list[tuple[str, str, str]]:
    return [(event.run_id, event.kind, str(event.body.get("state", event.body.get("title")))) for event in events]


def never(_: Finding) -> bool:
    return False


def test_what_is_new_is_opened_what_is_back_open_again_and_what_is_gone_resolved() -> None:
    known = [a_finding("stays"), replace(a_finding("back"), state=RESOLVED), a_finding("gone")]
    found = [a_finding("new"), a_finding("stays"), a_finding("back")]
    events, n_new = reconcile(known, found, actor="check", may_hold=never)
    assert told(events) == [
        ("new", "finding.opened", "words"),
        ("back", "finding.state", "open"),
        ("gone", "finding.state", "resolved"),
    ]
    assert n_new == 2
    assert {event.actor for event in events if event.kind == "finding.state"} == {"check"}


def test_other_words_are_written_down_where_they_say_more() -> None:
    known = [a_finding("r")]
    reworded, graver = a_finding("r", title="others"), a_finding("r", severity=Severity.ERROR)
    assert told(reconcile(known, [reworded], actor="a", may_hold=never)[0]) == [("r", "finding.opened", "others")]

    def graver_only(now: Finding, was: Finding) -> bool:
        return now.severity is not was.severity

    assert reconcile(known, [reworded], actor="a", may_hold=never, says_more=graver_only) == ([], 0)
    assert len(reconcile(known, [graver], actor="a", may_hold=never, says_more=graver_only)[0]) == 1


def test_what_could_not_be_seen_is_not_taken_back() -> None:
    known = [a_finding("r")]
    assert reconcile(known, [], actor="a", may_hold=lambda finding: finding.detector == "rules") == ([], 0)


def test_a_false_alarm_stays_as_it_is() -> None:
    known = [replace(a_finding("r"), state=RESOLVED, verdict="ok")]
    found = [a_finding("r", title="worse", severity=Severity.ERROR)]
    assert reconcile(known, found, actor="a", may_hold=never) == ([], 0)

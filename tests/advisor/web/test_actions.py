"""What people say to findings by the page: what is written, what is answered, what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING

from advisor.app import Advisor
from advisor.silencing import mutes, read_book
from storage.records import Finding, FindingState

if TYPE_CHECKING:
    from starlette.testclient import TestClient

HTMX = {"hx-request": "true"}
PARAMS = {"lr": 0.1, "hidden": 16, "optimizer": "sgd"}


def failed(adv: Advisor) -> Finding:
    """Return the finding that a run failed."""
    return next(each for each in adv.experiment("digits").findings() if each.code == "ADV111")


def state(adv: Advisor, finding: Finding) -> FindingState:
    """Return how a finding stands now."""
    return next(each for each in adv.store.run(finding.run_id).findings if each.id == finding.id).state


def test_a_finding_is_acknowledged_and_opened_again(adv: Advisor, client: TestClient) -> None:
    finding = failed(adv)
    answer = client.post(f"/findings/{finding.id}/acknowledge", headers=HTMX)
    assert answer.status_code == 200
    told = json.loads(answer.headers["hx-trigger"])
    assert told["advisor:tell"]["undo"] == {"url": f"/findings/{finding.id}/reopen", "values": {}}
    assert "Acknowledged" in answer.text
    assert "data-acknowledge" not in answer.text
    assert state(adv, finding) is FindingState.ACKNOWLEDGED
    assert client.post(f"/findings/{finding.id}/reopen", headers=HTMX).status_code == 200
    assert state(adv, finding) is FindingState.OPEN


def test_without_a_script_the_way_back_is_the_page_where_the_form_was(adv: Advisor, client: TestClient) -> None:
    came = {"referer": "http://127.0.0.1:8517/experiments/a?page=2"}
    answer = client.post(f"/findings/{failed(adv).id}/acknowledge", headers=came, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/experiments/a?page=2")


def test_nobody_is_led_to_another_site(adv: Advisor, client: TestClient) -> None:
    places = (
        "http://evil.example/x",
        "http://127.0.0.1:8517//evil.example/",
        "http://127.0.0.1:8517/\\evil.example",
        "",
    )
    for came in places:
        path = f"/findings/{failed(adv).id}/acknowledge"
        answer = client.post(path, headers={"referer": came}, follow_redirects=False)
        assert answer.headers["location"] == "/"


def test_for_a_time_is_a_mute_that_ends(adv: Advisor, client: TestClient) -> None:
    finding = failed(adv)
    client.post(f"/findings/{finding.id}/acknowledge", data={"for": "1d"}, headers=HTMX)
    (mute,) = mutes(adv.store, now=adv.clock())
    assert (mute.scope, mute.target) == ("finding", finding.id)
    assert mute.until is not None
    assert mute.until - adv.clock() < timedelta(days=1)
    assert "ADV111 failed" not in client.get("/", headers=HTMX | {"hx-target": "attention"}).text
    assert "it failed: RuntimeError" in client.get("/", headers=HTMX | {"hx-target": "quiet"}).text
    client.post("/unmute", data={"what": f"finding:{finding.id}"}, headers=HTMX)
    assert "ADV111 failed" in client.get("/", headers=HTMX | {"hx-target": "attention"}).text


def test_what_is_muted_goes_and_comes_back(adv: Advisor, client: TestClient) -> None:
    finding = failed(adv)
    for what in ("code:ADV111", f"run:{finding.run_id}", "experiment:digits"):
        answer = client.post("/mute", data={"what": what, "for": "", "finding": finding.id}, headers=HTMX)
        undo = json.loads(answer.headers["hx-trigger"])["advisor:tell"]["undo"]
        assert undo == {"url": "/unmute", "values": {"what": what}}
        assert "ADV111 failed" not in client.get("/", headers=HTMX | {"hx-target": "attention"}).text
        assert "for good" in client.get("/", headers=HTMX | {"hx-target": "quiet"}).text
        client.post(undo["url"], data=undo["values"], headers=HTMX)
        assert "ADV111 failed" in client.get("/", headers=HTMX | {"hx-target": "attention"}).text


def test_a_verdict_is_kept_with_its_note(adv: Advisor, client: TestClient) -> None:
    finding = failed(adv)
    client.post(f"/findings/{finding.id}/verdict", data={"verdict": "ok", "note": "meant to fail"}, headers=HTMX)
    assert state(adv, finding) is FindingState.RESOLVED
    (event,) = adv.store.journal(kinds=("finding.judged",))
    assert (event.body["verdict"], event.body["note"], event.actor) == ("ok", "meant to fail", "person")


def test_a_group_is_acknowledged_as_far_as_it_was_seen(adv: Advisor, client: TestClient) -> None:
    exp = adv.experiment("digits")
    for _ in range(2):
        exp.start(params=PARAMS).fail("boom")
    through = max(seen.open_since for seen in read_book(adv.store).findings.values())
    late = exp.start(params=PARAMS)
    late.fail("boom")
    fields = {"experiment": "digits", "code": "ADV111", "through": through.isoformat()}
    answer = client.post("/groups/acknowledge", data=fields, headers=HTMX)
    assert answer.status_code == 200
    still = {each.run_id for each in exp.findings() if each.code == "ADV111" and each.state is FindingState.OPEN}
    assert still == {late.id}
    undo = json.loads(answer.headers["hx-trigger"])["advisor:tell"]["undo"]
    client.post(undo["url"], data=undo["values"], headers=HTMX)
    again = {each.run_id for each in exp.findings() if each.code == "ADV111" and each.state is FindingState.OPEN}
    assert len(again) == 4


def test_a_group_is_judged_in_one_commit(adv: Advisor, client: TestClient) -> None:
    exp = adv.experiment("digits")
    exp.start(params=PARAMS).fail("boom")
    through = max(seen.open_since for seen in read_book(adv.store).findings.values())
    fields = {"experiment": "digits", "code": "ADV111", "through": through.isoformat(), "verdict": "real"}
    client.post("/groups/verdict", data=fields, headers=HTMX)
    judged = adv.store.journal(kinds=("finding.judged",))
    assert len(judged) == 2
    assert len({event.version for event in judged}) == 1


NONSENSE: list[tuple[str, dict[str, str], int]] = [
    ("/findings/nobody/acknowledge", {}, 404),
    ("/mute", {"what": "code:ADV999"}, 400),
    ("/mute", {"what": "digits"}, 400),
    ("/mute", {}, 400),
    ("/mute", {"what": "code:ADV111", "for": "100y"}, 400),
    ("/unmute", {"what": "planet:earth"}, 400),
    ("/groups/acknowledge", {"experiment": "digits", "code": "ADV111"}, 400),
    ("/groups/acknowledge", {"experiment": "digits", "code": "ADV111", "through": "2026-01-01"}, 400),
    ("/groups/acknowledge", {"experiment": "none", "code": "x", "through": "2026-01-01T00:00:00+00:00"}, 404),
]


def test_what_makes_no_sense_is_refused_and_writes_nothing(adv: Advisor, client: TestClient) -> None:
    before = adv.store.state().version
    for path, fields, status in NONSENSE:
        assert client.post(path, data=fields, headers=HTMX).status_code == status, (path, fields)
    assert adv.store.state().version == before


def test_nothing_is_said_where_the_page_is_read_only(adv: Advisor, client_of: Callable[..., TestClient]) -> None:
    finding, before = failed(adv), adv.store.state().version
    assert client_of(read_only=True).post(f"/findings/{finding.id}/acknowledge").status_code == 403
    assert adv.store.state().version == before

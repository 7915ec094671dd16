"""What people say to findings: acknowledge, mute, judge, one or a whole group, and take it back.

With htmx the answer is what stands in place of the buttons now, and a message that offers to undo; without, the way
back to the page.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from advisor import silencing
from advisor.documents.untrusted import one_line
from advisor.findings.alerts import SCOPES, Scope, Seen
from advisor.silencing import (
    acknowledge_seen,
    mute_exactly,
    reopen_seen,
    unmute_exactly,
)
from advisor.web.forms import Fields, back, posted, until
from advisor.web.web import Web
from storage.records import VERDICTS, Verdict

UNTIL_GONE: Final = "gone"
"""What a form says that acknowledges until the trouble is gone."""
JUDGED: Final[Mapping[str, str]] = {"ok": "a false alarm", "real": "real"}


def acknowledge(request: Request, fields: Fields) -> Response:
    """Acknowledge a finding, until it is gone or for a time."""
    web = Web.of(request)
    seen = _finding(web, request.path_params["id"])
    return _acknowledged(request, fields, [seen], seen.finding.title)


def reopen(request: Request, fields: Fields) -> Response:
    """Take back that a finding was acknowledged."""
    web = Web.of(request)
    seen = _finding(web, request.path_params["id"])
    reopen_seen(web.adv.store, [seen], now=web.adv.clock())
    return _answer(request, f"Open again: {_short(seen.finding.title)}", finding_id=seen.finding.id)


def judge(request: Request, fields: Fields) -> Response:
    """Say whether a finding was right."""
    web = Web.of(request)
    seen = _finding(web, request.path_params["id"])
    return _judged(request, fields, [seen], seen.finding.title)


def acknowledge_group(request: Request, fields: Fields) -> Response:
    """Acknowledge the findings of a group that were there when the page was made."""
    several, called = _group(request, fields)
    return _acknowledged(request, fields, several, called)


def judge_group(request: Request, fields: Fields) -> Response:
    """Say of the findings of a group whether they were right."""
    several, called = _group(request, fields)
    return _judged(request, fields, several, called)


def mute(request: Request, fields: Fields) -> Response:
    """Mute a code, a run, an experiment or a finding."""
    web = Web.of(request)
    now = web.adv.clock()
    target = _target(fields)
    done = mute_exactly(
        web.adv.store, [target], now=now, until=until(fields, now), reason=fields.get("reason", "")[:500]
    )
    undo = ("/unmute", {"what": fields["what"]})
    return _answer(request, f"Muted: {_short(done[0].words)}", undo=undo, finding_id=fields.get("finding", ""))


def unmute(request: Request, fields: Fields) -> Response:
    """End a mute."""
    web = Web.of(request)
    scope, target = _target(fields)
    unmute_exactly(web.adv.store, [(scope, target)], now=web.adv.clock())
    return _answer(request, f"No longer muted: {_short(f'{scope} {target}')}")


# -- what the forms name


def _finding(web: Web, finding_id: str) -> Seen:
    with web.book.reading() as book:
        seen = book.findings.get(finding_id)
    if seen is None:
        raise HTTPException(404, f"There is no finding {finding_id[:40]!r}; it may be gone meanwhile.")
    return seen


def _group(request: Request, fields: Fields) -> tuple[list[Seen], str]:
    """Return the findings of a group that were there when its page was made."""
    experiment, code = fields.get("experiment", ""), fields.get("code", "")
    try:
        through = datetime.fromisoformat(fields.get("through", ""))
        found = Web.of(request).triage().findings_of(experiment, code, through=through)
    except (ValueError, TypeError) as error:
        raise HTTPException(400, "the form does not say up to when; load the page anew") from error
    if not found:
        raise HTTPException(404, f"Nothing is open any more of {code[:20]} in {_short(experiment)}.")
    n_runs = len({seen.finding.run_id for seen in found})
    return found, f"{code} in {n_runs:,} {'run' if n_runs == 1 else 'runs'} of {experiment}"


def _target(fields: Fields) -> tuple[Scope, str]:
    scope, colon, target = fields.get("what", "").partition(":")
    for known in SCOPES:
        if scope == known and colon and target:
            return known, target
    raise HTTPException(400, f"what = {fields.get('what', '')[:80]!r} is nothing to mute; write one of "
                             f"{', '.join(f'{each}:…' for each in SCOPES)}")  # fmt: skip


# -- what is done and answered


def _acknowledged(request: Request, fields: Fields, found: Sequence[Seen], called: str) -> Response:
    web = Web.of(request)
    now = web.adv.clock()
    end = None if fields.get("for", UNTIL_GONE) == UNTIL_GONE else until(fields, now)
    acknowledge_seen(web.adv.store, found, now=now, until=end)
    finding_id = found[0].finding.id if len(found) == 1 else ""
    undo: tuple[str, dict[str, str]] | None = None
    if end is None and finding_id:
        undo = (f"/findings/{finding_id}/reopen", {})
    elif finding_id:
        undo = ("/unmute", {"what": f"finding:{finding_id}"})
    elif end is None:
        undo = ("/groups/reopen", {"ids": " ".join(seen.finding.id for seen in found[:MOST_UNDONE])})
    return _answer(request, f"Acknowledged: {_short(called)}", undo=undo, finding_id=finding_id)


MOST_UNDONE: Final = 100
"""Findings that one undo opens again: their ids travel in a header."""


def reopen_group(request: Request, fields: Fields) -> Response:
    """Take back that some findings were acknowledged."""
    web = Web.of(request)
    ids = fields.get("ids", "").split()[:MOST_UNDONE]
    with web.book.reading() as book:
        found = [book.findings[each] for each in ids if each in book.findings]
    reopen_seen(web.adv.store, found, now=web.adv.clock())
    return _answer(request, f"Open again: {len(found):,} findings")


def _judged(request: Request, fields: Fields, found: Sequence[Seen], called: str) -> Response:
    web = Web.of(request)
    verdict = _verdict(fields)
    silencing.judge(
        web.adv.store,
        [seen.finding for seen in found],
        verdict,
        note=fields.get("note", "")[:10_000],
        now=web.adv.clock(),
    )
    finding_id = found[0].finding.id if len(found) == 1 else ""
    return _answer(request, f"Judged {JUDGED[verdict]}: {_short(called)}", finding_id=finding_id)


def _verdict(fields: Fields) -> Verdict:
    for known in VERDICTS:
        if fields.get("verdict") == known:
            return known
    raise HTTPException(400, f"verdict = {fields.get('verdict', '')[:40]!r} is none; write ok or real")


def _answer(
    request: Request, said: str, *, undo: tuple[str, dict[str, str]] | None = None, finding_id: str = ""
) -> Response:
    """Return what replaces the buttons, with a message beside it; without htmx the way back."""
    if not request.headers.get("hx-request"):
        return back(request)
    web = Web.of(request)
    told: dict[str, Any] = {"text": said}
    if undo is not None:
        told["undo"] = {"url": undo[0], "values": undo[1]}
    # ASCII, so that no text from a run can end the header.
    headers = {"hx-trigger": json.dumps({"advisor:tell": told, "advisor:acted": {}})}
    finding = web.finding(finding_id) if finding_id else None
    if finding is None:
        return HTMLResponse("", headers=headers)
    actions = web.templates.get_template("_macros.html.j2").module.finding_actions  # type: ignore[attr-defined]
    return HTMLResponse(str(actions(finding, said=one_line(said.partition(":")[0], limit=40))), headers=headers)


def _short(text: str) -> str:
    return one_line(text, limit=120)


def _post(path: str, view: Any) -> Route:
    return Route(path, posted(view), methods=["POST"])


ROUTES: Final = (
    _post("/findings/{id}/acknowledge", acknowledge),
    _post("/findings/{id}/reopen", reopen),
    _post("/findings/{id}/verdict", judge),
    _post("/groups/acknowledge", acknowledge_group),
    _post("/groups/verdict", judge_group),
    _post("/groups/reopen", reopen_group),
    _post("/mute", mute),
    _post("/unmute", unmute),
)

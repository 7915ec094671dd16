"""What a form posts, and where its sender goes next; without multipart bodies, so that nothing more is needed.

Invariant: after a form people land on a page of ours, whatever the request claims to come from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

Fields = Mapping[str, str]
"""What was filled in, by name; of several of a name the last one."""

MAX_FIELDS: Final = 200
LENGTHS: Final[Mapping[str, timedelta | None]] = {
    "": None,
    "1h": timedelta(hours=1),
    "1d": timedelta(days=1),
    "7d": timedelta(days=7),
}
"""Lengths of time that forms offer; None is for good."""


def posted(view: Callable[[Request, Fields], Response]) -> Callable[[Request], object]:
    """Make a view of a function of a request and what was filled in; it runs in a thread, so it may wait."""

    async def answer(request: Request) -> Response:
        try:
            text = (await request.body()).decode()
            fields = dict(parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_FIELDS))
        except ValueError as error:
            raise HTTPException(400, "what was sent is no form of this page") from error
        return await run_in_threadpool(view, request, fields)

    return answer


def until(fields: Fields, now: datetime, *, default: str = "") -> datetime | None:
    """Return the end of the length of time that a form asks for; None for good."""
    chosen = fields.get("for", default)
    if chosen not in LENGTHS:
        known = ", ".join(repr(each) for each in LENGTHS)
        raise HTTPException(400, f"for = {chosen[:40]!r} is no length of time that is offered here: {known}")
    length = LENGTHS[chosen]
    return None if length is None else now + length


def back(request: Request) -> Response:
    """Return the way back to the page on which the form was."""
    came = urlsplit(request.headers.get("referer", ""))
    ours = came.netloc == request.headers.get("host") and came.path.startswith("/")
    # To a browser "//name" and "/\\name" are other hosts.
    if not ours or came.path.startswith("//") or "\\" in came.path:
        return RedirectResponse("/", 303)
    return RedirectResponse(came.path + (f"?{came.query}" if came.query else ""), 303)

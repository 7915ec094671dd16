"""Who may ask, and what browsers may do with the answers. One ASGI layer around everything else.

The page is served on a person's own machine, where any web site that the person visits can send requests to it. So a
request must be addressed to a name that is ours (a site that points its own name at 127.0.0.1 is refused: DNS
rebinding), must not come from another site, and must bring the token where there is one. What writes is refused in
read-only mode. Bodies and requests have limits. What is answered is locked in by a content security policy: no script
but ours runs, whatever text a run holds.

Sources: OWASP's cheat sheets on cross-site request forgery (checking Origin and Sec-Fetch-Site) and on content security
policies; RFC 6750 for bearer tokens.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from advisor.web.options import Options

log = logging.getLogger(__name__)

SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing."""
MAX_BODY: Final = 1 << 20
"""Bytes that a request may bring: a note of a million letters."""
MAX_TARGET: Final = 16_384
"""Bytes of path and query: a comparison of 100 runs names them in 3,300."""
ANSWER_WITHIN_S: Final = 60.0
"""Then a request is given up; what listens for changes is not bound by it."""
COOKIE: Final = "advisor_token"
API: Final = "/api/"
UNBOUND: Final = frozenset({"/live", "/mcp"})
"""Paths that answer for as long as somebody listens."""

POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "frame-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS: Final[Mapping[str, str]] = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cache-control": "no-store",
}
"""What every answer carries unless it sets its own."""


class Refusal(Exception):
    """A request that is not answered, and why."""

    def __init__(self, status: int, why: str, **headers: str) -> None:
        super().__init__(why)
        self.status, self.why, self.headers = status, why, headers


class Guard:
    """Refuse what must not be answered, bound the rest, and lock in the answer."""

    def __init__(self, app: ASGIApp, *, options: Options) -> None:
        self.app = app
        self.options = options

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return  # a web socket is closed by not being accepted
        path, began = scope["path"], False

        async def locked(message: Message) -> None:
            nonlocal began
            if message["type"] == "http.response.start":
                began = True
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            answer = self._let_in(scope)
            if answer is None:
                work = self.app(scope, _bounded(receive, scope), locked)
                if path in UNBOUND:
                    await work
                else:
                    await asyncio.wait_for(work, ANSWER_WITHIN_S)
                return
        except Refusal as refusal:
            if began:
                raise
            answer = refused(path, refusal)
        except TimeoutError:
            if began:
                raise
            log.warning("%s %s took longer than %.0f s and was given up", scope["method"], path, ANSWER_WITHIN_S)
            answer = refused(path, Refusal(503, f"no answer within {ANSWER_WITHIN_S:.0f} s; ask for less"))
        await answer(scope, receive, locked)

    def _let_in(self, scope: Scope) -> Response | None:
        """Return what is answered instead; None lets the request in.

        Raises
        ------
        Refusal
            If it must not be answered.
        """
        headers = Headers(scope=scope)
        target = len(scope.get("raw_path") or scope["path"]) + len(scope["query_string"])
        if target > MAX_TARGET:
            raise Refusal(414, f"the address has {target} bytes; at most {MAX_TARGET} are read")
        host = headers.get("host", "")
        if _name_of(host) not in self.options.hosts:
            raise Refusal(
                421,
                f"this page is not called {host[:100]!r}; open it under its own address, or name the host with "
                "'advisor serve --allow-host NAME'",
            )
        self._refuse_strangers(scope, headers, host)
        entered = self._ask_token(scope, headers)
        if scope["method"] not in SAFE and self.options.read_only:
            raise Refusal(403, "this page is read-only; start 'advisor serve' without --read-only to change things")
        return entered

    def _refuse_strangers(self, scope: Scope, headers: Headers, host: str) -> None:
        """Refuse what another site's page sends; following a link from there is fine."""
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            raise Refusal(403, f"requests from {origin[:100]!r} are not answered; only this page's own are")
        site = headers.get("sec-fetch-site", "none")
        follows_link = scope["method"] == "GET" and headers.get("sec-fetch-mode") == "navigate"
        if site not in ("same-origin", "none") and not follows_link:
            raise Refusal(403, "requests from other sites are not answered; only this page's own are")

    def _ask_token(self, scope: Scope, headers: Headers) -> Response | None:
        token = self.options.token
        if token is None:
            return None
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        given = dict(query).get("token")
        if given is not None and scope["method"] == "GET" and _same(given, token):
            rest = urlencode([(name, value) for name, value in query if name != "token"])
            entered = RedirectResponse(scope["path"] + ("?" + rest if rest else ""), 303)
            entered.set_cookie(COOKIE, token, httponly=True, samesite="strict", max_age=30 * 86_400)
            return entered
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        cookies = [part.strip().partition("=") for part in headers.get("cookie", "").split(";")]
        brought = [value for name, _, value in cookies if name == COOKIE]
        brought += [bearer.strip()] if scheme.lower() == "bearer" else []
        if not any(_same(each, token) for each in brought):
            why = "a token is needed: open the address that 'advisor serve' printed, or send 'Authorization: Bearer …'"
            raise Refusal(401, why, **{"WWW-Authenticate": 'Bearer realm="advisor"'})
        return None


def refused(path: str, refusal: Refusal) -> Response:
    """Return the answer to a request that is refused: a problem (RFC 9457) to programs, a sentence to people."""
    if path.startswith(API):
        body = {"title": HTTPStatus(refusal.status).phrase, "status": refusal.status, "detail": refusal.why}
        return JSONResponse(body, refusal.status, refusal.headers, media_type="application/problem+json")
    return PlainTextResponse(refusal.why + "\n", refusal.status, refusal.headers)


def _bounded(receive: Receive, scope: Scope) -> Receive:
    """Return a ``receive`` that refuses a body beyond the limit, announced or not."""
    announced = Headers(scope=scope).get("content-length", "0")
    if announced.isdigit() and int(announced) > MAX_BODY:
        raise Refusal(413, f"the request has {int(announced):,} bytes; at most {MAX_BODY:,} are read")
    n = 0

    async def read() -> Message:
        nonlocal n
        message = await receive()
        n += len(message.get("body", b""))
        if n > MAX_BODY:
            raise Refusal(413, f"the request has more than {MAX_BODY:,} bytes, which is all that is read")
        return message

    return read


def _name_of(host: str) -> str:
    """Return a Host header without its port."""
    name, colon, port = host.rpartition(":")
    return (name if colon and port.isdigit() and (name.endswith("]") or ":" not in name) else host).lower()


def _same(given: str, token: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), token.encode())

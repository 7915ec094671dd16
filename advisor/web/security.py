"""Who may ask, and what browsers may do with the answers. One ASGI layer around everything else.

The page is served on a person's own machine, where any web site that the person visits can send requests to it. So a
request must be addressed to a name that is ours (a site that points its own name at 127.0.0.1 is refused: DNS
rebinding), must not come from another site, and must bring the token where there is one. What writes is refused in
read-only mode. Bodies and requests have limits. What is answered is locked in by a content security policy: no script
but ours runs, whatever text a run holds.

Leaves out the token (``token``) and the limits (``limits``). Invariant: nothing is answered without the headers below,
not even a defect of ours.

Sources: OWASP's cheat sheets on cross-site request forgery (checking Origin and Sec-Fetch-Site) and on content security
policies.
"""

from __future__ import annotations

import ipaddress
import logging
import re
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from advisor.web import token
from advisor.web.limits import MAX_HEADERS, MAX_TARGET, Deadline, Exchange, Limits
from advisor.web.options import Options
from advisor.web.problems import API, Refusal, refused

log = logging.getLogger(__name__)

SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing."""
UNBOUND: Final = frozenset({"/live", "/mcp"})
"""Paths that answer for as long as somebody listens."""
EVERYWHERE: Final = frozenset({"0.0.0.0", "::", ""})
"""Addresses to listen on that mean all of the machine's."""
HOST: Final = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?", re.IGNORECASE | re.ASCII)
"""What a Host header may look like (RFC 9110, 7.2), without what no host of ours has: user, percent, comma."""
DEFAULT_PORTS: Final = {"http": 80, "https": 443}
READ_ONLY: Final = "this page is read-only; start 'advisor serve' without --read-only to change things"
DEFECT: Final = "Something is broken in the advisor itself; its log has the details."

POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS: Final[dict[str, str]] = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cache-control": "no-store",
}
"""What every answer carries unless it sets its own."""

Broken = Callable[[Scope, str], Response]
"""Given a request and what to say of it, returns the page about a defect of ours."""


class Guard:
    """Refuse what must not be answered, bound the rest, and lock in the answer.

    Parameters
    ----------
    broken
        Makes the answer where the application fails; a plain sentence without it.
    limits
        How long requests may take.
    """

    def __init__(
        self, app: ASGIApp, *, options: Options, broken: Broken | None = None, limits: Limits | None = None
    ) -> None:
        self.app, self.options, self._broken = app, options, broken
        self._limits = limits or Limits()
        self._deadline = Deadline(self._limits.answer_within_s)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return  # a web socket is closed by not being accepted
        exchange = Exchange(receive, send, headers=HEADERS, limits=self._limits)
        try:
            answer = self._let_in(scope, exchange)
            if answer is None:
                await self._ask(scope, exchange)
                return
        except Refusal as refusal:
            answer = _refused(scope, refusal)
        except ClientDisconnect:
            return
        except Exception as error:  # the edge of the process: whatever it is, the answer must be locked in too
            log.error("%s %.200r failed", scope["method"], scope["path"], exc_info=error)
            answer = self._defect(scope)
        if not exchange.began:
            await answer(scope, receive, exchange.reply)

    async def _ask(self, scope: Scope, exchange: Exchange) -> None:
        if scope["path"] in UNBOUND:
            await self.app(scope, exchange.receive, exchange.send)
        else:
            await self._deadline.keep(self.app, scope, exchange)

    def _let_in(self, scope: Scope, exchange: Exchange) -> Response | None:
        """Return what is answered instead; None lets the request in.

        Raises
        ------
        Refusal
            If it must not be answered.
        """
        headers = Headers(scope=scope)
        target = len(scope.get("raw_path") or scope["path"]) + len(scope["query_string"])
        if target > MAX_TARGET:
            raise Refusal(414, f"the address has {target:,} bytes; at most {MAX_TARGET:,} are read")
        if sum(len(name) + len(value) for name, value in scope["headers"]) > MAX_HEADERS:
            raise Refusal(431, f"the headers are too large; at most {MAX_HEADERS:,} bytes are read")
        port = self._addressed(headers)
        _refuse_strangers(scope, headers)
        exchange.expect(headers)
        entered = None
        if self.options.token is not None:
            entered = token.enter(
                scope, headers, self.options.token, port=port or self.options.port, program=self.options.program
            )
        if self.options.read_only and scope["method"] not in SAFE and not scope["path"].startswith(API):
            # Below API there is then nothing that writes, and what is long to ask is a POST that only reads.
            raise Refusal(403, READ_ONLY)
        return entered

    def _addressed(self, headers: Headers) -> int | None:
        """Return the port that a request is addressed to, None where it names none.

        Raises
        ------
        Refusal
            If it is not addressed to us.
        """
        hosts = headers.getlist("host")
        if len(hosts) != 1:
            raise Refusal(400, f"a request needs one Host header; this one has {len(hosts)}")
        found = HOST.fullmatch(hosts[0])
        if found is None or int(found["port"] or 0) > 65_535 or not self._is_ours(found["name"].lower()):
            raise Refusal(
                421,
                f"this page is not called {hosts[0][:100]!r}; open it under its own address, or name the host with "
                f"'{self.options.program} --allow-host NAME'",
            )
        return int(found["port"]) if found["port"] else None

    def _is_ours(self, name: str) -> bool:
        """Whether it is a name of ours; where all addresses are listened on, any of them is: no site owns a number."""
        return name in self.options.hosts or (self.options.host in EVERYWHERE and _is_number(name))

    def _defect(self, scope: Scope) -> Response:
        if self._broken is None or scope["path"].startswith(API):
            return refused(scope["path"], Refusal(500, DEFECT))
        return self._broken(scope, DEFECT)


def _refused(scope: Scope, refusal: Refusal) -> Response:
    """Return the answer to a request that is refused: to people who lack the token a page that asks for it."""
    is_page = scope["method"] in ("GET", "HEAD") and not scope["path"].startswith(API)
    if refusal.status == 401 and is_page and token.asks_people(Headers(scope=scope)):
        return token.page(scope, refusal)
    return refused(scope["path"], refusal)


def _refuse_strangers(scope: Scope, headers: Headers) -> None:
    """Refuse what another site's page sends; following a link from there is fine.

    Raises
    ------
    Refusal
    """
    for origin in headers.getlist("origin"):
        if not _same_place(origin, headers["host"]):
            raise Refusal(403, f"requests from {origin[:100]!r} are not answered; only this page's own are")
    sites = headers.getlist("sec-fetch-site")
    follows_link = (
        scope["method"] == "GET"
        and headers.get("sec-fetch-mode") == "navigate"
        and headers.get("sec-fetch-dest", "document") == "document"  # not into a frame
    )
    if not follows_link and any(site not in ("same-origin", "none") for site in sites):
        raise Refusal(403, "requests from other sites are not answered; only this page's own are")


def _same_place(origin: str, host: str) -> bool:
    """Whether an origin is the host that was asked; its scheme may be a proxy's."""
    try:
        parts = urlsplit(origin)
        port = parts.port
    except ValueError:
        return False
    default = DEFAULT_PORTS.get(parts.scheme)
    if default is None or parts.hostname is None or parts.username is not None or parts.path or parts.query:
        return False
    found = HOST.fullmatch(host)
    if found is None or found["name"].strip("[]").lower() != parts.hostname:
        return False
    return (port or default) == int(found["port"] or default)


def _is_number(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True

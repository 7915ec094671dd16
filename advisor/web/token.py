"""The token: brought by programs as a header, by browsers once in an address and from then on as a cookie.

The cookie holds what only the token's owner can compute, not the token. Its name has the port under which the browser
knows the page, because cookies are shared by all ports of a host: two pages on one machine keep a cookie each. It is
``SameSite=Lax``: a link from a chat to a run works, and what writes is protected by ``security`` in any case; a
``Strict`` one would not even be sent after the redirect that sets it, where another site's link led there.

Invariant: the token is in no answer, no address after the first, no log.
Sources: RFC 6750 (bearer tokens), RFC 6265bis (cookies).
"""

from __future__ import annotations

import hmac
from typing import Final
from urllib.parse import parse_qsl, quote, urlencode

from starlette.datastructures import Headers
from starlette.responses import RedirectResponse, Response
from starlette.types import Scope

from advisor.web.options import PAGE
from advisor.web.problems import Refusal

COOKIE: Final = "advisor_token_"
"""Beginning of the cookie's name; a port follows."""
KEEP_FOR_S: Final = 30 * 86_400
SCHEME: Final = "bearer"


def enter(scope: Scope, headers: Headers, token: str, *, port: int, program: str) -> Response | None:
    """Return what a browser is answered that brings the token in its address; None where it may go on.

    Raises
    ------
    Refusal
        If the token is not brought.
    """
    if scope["method"] == "GET" and any(_same(each, token) for each in _in_address(scope)):
        return _redirect(scope, token, port=port)
    scheme, _, given = headers.get("authorization", "").strip().partition(" ")
    if scheme.lower() == SCHEME and _same(given.strip(), token):
        return None
    if any(_same(each, _sealed(token)) for each in _in_cookies(headers, port=port)):
        return None
    way = f"open the address that '{program}' printed, or " if program == PAGE else ""
    why = f"a token is needed: {way}send 'Authorization: Bearer …' with the token of '{program}'"
    raise Refusal(401, why, **{"WWW-Authenticate": 'Bearer realm="advisor"'})


def _redirect(scope: Scope, token: str, *, port: int) -> Response:
    """Return the way to the same page without the token in its address."""
    path = "/" + (scope.get("raw_path") or quote(scope["path"]).encode()).decode("latin-1").lstrip("/\\")
    rest = urlencode([(name, value) for name, value in _query(scope) if name != "token"])
    answer = RedirectResponse(path + ("?" + rest if rest else ""), 303)
    secure = scope.get("scheme") == "https"
    answer.set_cookie(
        f"{COOKIE}{port}", _sealed(token), max_age=KEEP_FOR_S, path="/", httponly=True, samesite="lax", secure=secure
    )
    return answer


def _in_address(scope: Scope) -> list[str]:
    return [value for name, value in _query(scope) if name == "token"]


def _query(scope: Scope) -> list[tuple[str, str]]:
    return parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)


def _in_cookies(headers: Headers, *, port: int) -> list[str]:
    parts = [part.strip().partition("=") for cookies in headers.getlist("cookie") for part in cookies.split(";")]
    return [value for name, _, value in parts if name == f"{COOKIE}{port}"]


def _sealed(token: str) -> str:
    """Return what the cookie holds: who reads it there can use it on this page, but does not know the token."""
    return hmac.digest(token.encode(), b"the cookie of advisor serve", "sha256").hex()


def _same(given: str, expected: str) -> bool:
    """Compare in a time that does not tell how much is right."""
    return hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode())

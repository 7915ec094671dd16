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
from html import escape
from typing import Final
from urllib.parse import parse_qsl, quote, urlencode

from starlette.datastructures import Headers
from starlette.responses import HTMLResponse, RedirectResponse, Response
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
        # An old token in an address would stay in the history and in what is passed on.
        return _without_token(scope) if scope["method"] == "GET" and _in_address(scope) else None
    way = f"open the address that '{program}' printed, or " if program == PAGE else ""
    why = f"a token is needed: {way}send 'Authorization: Bearer …' with the token of '{program}'"
    raise Refusal(401, why, **{"WWW-Authenticate": 'Bearer realm="advisor"'})


def _redirect(scope: Scope, token: str, *, port: int) -> Response:
    """Return the way to the same page without the token in its address, and the cookie for it."""
    answer = _without_token(scope)
    secure = scope.get("scheme") == "https"
    answer.set_cookie(
        f"{COOKIE}{port}", _sealed(token), max_age=KEEP_FOR_S, path="/", httponly=True, samesite="lax", secure=secure
    )
    return answer


def _without_token(scope: Scope) -> Response:
    rest = urlencode(_rest(scope))
    return RedirectResponse(_path(scope) + ("?" + rest if rest else ""), 303)


def asks_people(headers: Headers) -> bool:
    """Return whether who asks shows pages, as browsers do when an address is opened."""
    return any(each.partition(";")[0].strip() == "text/html" for each in headers.get("accept", "").split(","))


def page(scope: Scope, refusal: Refusal) -> Response:
    """Return the page that asks for the token; it needs no file and no script of ours, which are not given without."""
    # With another encoding than UTF-8 in an address nothing is lost but the letter.
    kept = "".join(f'<input type="hidden" name="{escape(n)}" value="{escape(v)}">' for n, v in _rest(scope))
    wrong = "<p role=alert><strong>That was not the token.</strong></p>" if _in_address(scope) else ""
    text = _PAGE.format(action=escape(_path(scope)), kept=kept, wrong=wrong)
    return HTMLResponse(text.encode("utf-8", "replace"), refusal.status, refusal.headers)


_PAGE: Final = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Token · advisor</title>
<main>
<h1>This page needs its token</h1>
{wrong}
<p id="where">It is in the address that <code>advisor serve</code> printed, after <code>token=</code>.</p>
<form method="get" action="{action}">
{kept}<label>Token <input type="password" name="token" required autofocus autocomplete="current-password"
  maxlength="1000" aria-describedby="where"></label>
<button>Open</button>
</form>
<p>Programs send <code>Authorization: Bearer …</code> instead.</p>
</main>
</html>
"""


def _path(scope: Scope) -> str:
    """Return the path that was asked for, as one of this host: to browsers two slashes begin the name of another."""
    return "/" + (scope.get("raw_path") or quote(scope["path"]).encode()).decode("latin-1").lstrip("/\\")


def _rest(scope: Scope) -> list[tuple[str, str]]:
    return [(name, value) for name, value in _query(scope) if name != "token"]


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

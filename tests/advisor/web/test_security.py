"""What must not be answered is refused, says one sentence, tells nothing and writes nothing."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import psutil
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

import advisor
from advisor.app import Advisor
from advisor.errors import ConfigError
from advisor.web import Options, create_app
from advisor.web.connection import Connection
from advisor.web.limits import MAX_BODY, MAX_TARGET, Bulkhead, Limits, Places
from advisor.web.security import HEADERS, POLICY, Guard
from advisor.web.serving import NICENESS, bind
from tests.advisor.web.conftest import WITHIN_MS
from tests.advisor.web.wire import listening, said, status_of, wired

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page
    from starlette.testclient import TestClient

TOKEN = "a-token-that-nobody-guesses-42"
HERE = "127.0.0.1:8517"
API = "/api/v1/experiments"
TELLTALE = re.compile(rb"Traceback|File \"|root:x|import annotations|site-packages|\.py\b")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a small store: nothing here depends on what is in it."""
    path = tmp_path_factory.mktemp("security") / "store"
    with advisor.open(path, capture=False, system_metrics="off") as made:
        run = made.experiment("digits", objective="val_loss").start(params={"lr": 0.1})
        run.log({"val_loss": 1.0})
        run.finish()
    return path


@pytest.fixture(scope="module")
def adv(place: Path) -> Iterator[Advisor]:
    """Open it once: no test may write to it."""
    with advisor.open(place, capture=False) as opened:
        yield opened


@pytest.fixture(autouse=True)
def nothing_is_written(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test after which the store is another one."""
    if "adv" not in request.fixturenames:
        yield
        return
    adv: Advisor = request.getfixturevalue("adv")
    before = adv.store.stamp()
    yield
    assert adv.store.stamp() == before


def refused(answer: httpx.Response, *statuses: int) -> bool:
    """Return whether an answer refuses, locked in, in one short sentence."""
    assert answer.status_code in statuses, (answer.status_code, answer.text[:300])
    assert not TELLTALE.search(answer.content)
    for name in ("content-security-policy", "x-content-type-options", "cross-origin-resource-policy"):
        assert answer.headers[name] == HEADERS[name]
    return len(answer.content) < 1_500


@pytest.fixture(scope="module")
def client(adv: Advisor) -> TestClient:
    """Return a client without a browser, without a token."""
    from starlette.testclient import TestClient

    return TestClient(create_app(adv), base_url=f"http://{HERE}", raise_server_exceptions=False)


@pytest.fixture
def new_page(browser: Browser) -> Iterator[Callable[[], Page]]:
    """Return what opens an empty page with cookies of its own."""
    contexts = []

    def make() -> Page:
        contexts.append(browser.new_context())
        contexts[-1].set_default_timeout(WITHIN_MS)
        return contexts[-1].new_page()

    yield make
    for context in contexts:
        context.close()


@pytest.fixture(scope="module")
def wire(adv: Advisor) -> Iterator[int]:
    """Serve it on a real socket; returns the port."""
    with wired(adv) as port:
        yield port


@pytest.fixture
def port_of() -> Iterator[Callable[..., int]]:
    """Return what serves an application."""
    with ExitStack() as stack:

        def serve(app: Starlette, **given: Any) -> int:
            sock, options = bind(Options(port=0))
            stack.enter_context(listening(app, sock, **given))
            return options.port

        yield serve


# -- addressed to us?


@pytest.mark.parametrize("host", [HERE, "localhost", "LOCALHOST:1", "[::1]:8517", "127.0.0.1"])
def test_names_of_this_machine_are_ours(client: TestClient, host: str) -> None:
    assert client.get(API, headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8517", "localhost.evil.example", "127.0.0.1.evil.example", "localhost.",
     "localhost:", "localhost:80:80", "localhost:99999", "localhost:-1", "evil@localhost:8517", "[::1", "::1",
     "localhost@evil.example", "[::2]:8517", "[::1]evil", "127.1", "2130706433", "0x7f000001", "0.0.0.0:8517",
     "192.168.1.5:8517", "", "localhost,evil.example", "localhost evil.example", "localhost/evil.example",
     "localhost%00", "localhost\t"],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/", API])
def test_another_name_is_refused_whoever_resolves_it_to_this_machine(client: TestClient, host: str, path: str) -> None:
    assert refused(client.get(path, headers={"host": host}), 421)


def test_a_request_with_two_names_or_none_is_refused(client: TestClient, adv: Advisor) -> None:
    for other in (HERE, "evil.example"):
        assert refused(client.get("/", headers=[("host", HERE), ("host", other)]), 400)  # type: ignore[arg-type]
    with wired(adv) as port:
        host = f"Host: 127.0.0.1:{port}\r\n".encode()
        assert status_of(said(port, b"GET / HTTP/1.0\r\n\r\n")) == 400
        assert status_of(said(port, b"GET / HTTP/1.1\r\n\r\n")) == 400
        assert status_of(said(port, b"GET / HTTP/1.1\r\n" + 2 * host + b"\r\n")) == 400
        assert status_of(said(port, b"GET http://evil.example/ HTTP/1.1\r\n" + host + b"\r\n")) == 404
        assert status_of(said(port, b"GET / HTTP/1.1\r\n" + host + b"\r\n")) == 200


def test_where_all_addresses_are_listened_on_numbers_are_ours_and_names_are_not(
    client_of: Callable[..., TestClient],
) -> None:
    client = client_of(host="0.0.0.0", token=TOKEN)
    bearer = {"authorization": f"Bearer {TOKEN}"}
    for host in ("192.168.1.5:8517", "[fe80::1]:8517"):
        assert client.get(API, headers={"host": host} | bearer).status_code == 200
    assert refused(client.get(API, headers={"host": "evil.example"} | bearer), 421)


# -- from our own page?


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "null", "http://127.0.0.1:3000", "http://127.0.0.1", "http://localhost:8517", "file://",
     "http://[", "http://[::1]:8517", f"http://{HERE}@evil.example", f"http://evil@{HERE}", f"http://{HERE}/", HERE, "",
     f"http://{HERE}:80", "http://127.0.0.1:99999", f"ftp://{HERE}", f"http://{HERE} https://evil.example"],
)  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_what_another_origin_sends_is_refused(client: TestClient, origin: str, method: str) -> None:
    for path in ("/", API):
        assert refused(client.request(method, path, headers={"origin": origin}, json={}), 403)


def test_of_two_origins_one_that_is_ours_does_not_help(client: TestClient) -> None:
    ours = f"http://{HERE}"
    assert client.get("/", headers={"origin": ours}).status_code == 200
    both = [("origin", ours), ("origin", "https://evil.example")]
    assert refused(client.get("/", headers=both), 403)  # type: ignore[arg-type]


def test_behind_a_proxy_that_speaks_tls_the_page_is_its_own_origin(client_of: Callable[..., TestClient]) -> None:
    client = client_of(names=("advisor.example",), token=TOKEN)
    headers = {"host": "advisor.example", "authorization": f"Bearer {TOKEN}"}
    assert client.get("/", headers=headers | {"origin": "https://advisor.example"}).status_code == 200
    assert client.get("/", headers=headers | {"origin": "https://advisor.example:443"}).status_code == 200
    assert refused(client.get("/", headers=headers | {"origin": "https://advisor.example:444"}), 403)


@pytest.mark.parametrize("site", ["cross-site", "same-site", "elsewhere"])
@pytest.mark.parametrize(
    ("method", "mode", "dest"),
    [("GET", "no-cors", "image"), ("GET", "cors", "empty"), ("GET", "navigate", "iframe"),
     ("GET", "navigate", "object"), ("POST", "navigate", "document"), ("HEAD", "no-cors", "empty"),
     ("GET", "no-cors", "script")],
)  # fmt: skip
def test_what_another_site_makes_a_browser_send_is_refused(
    client: TestClient, site: str, method: str, mode: str, dest: str
) -> None:
    headers = {"sec-fetch-site": site, "sec-fetch-mode": mode, "sec-fetch-dest": dest}
    assert refused(client.request(method, "/", headers=headers), 403)


def test_a_link_from_another_site_may_be_followed(client: TestClient) -> None:
    headers = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    assert client.get("/", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "", "text/json"]
)
def test_a_form_of_another_site_cannot_write_even_from_a_browser_that_says_nothing_of_it(
    client: TestClient, kind: str
) -> None:
    from advisor.operations import OPERATIONS

    for operation in OPERATIONS:
        if operation.method == "POST":
            path = "/api/v1" + re.sub(r"\{\w+\}", "digits", operation.path)
            answer = client.post(path, content=b'{"experiment": "digits"}', headers={"content-type": kind})
            assert refused(answer, 415)


# -- with the token?


@pytest.mark.parametrize("path", ["/", API, "/api", "/api/openapi.json", "/static/advisor.css", "/nothing"])
def test_without_the_token_nothing_is_answered(client_of: Callable[..., TestClient], path: str) -> None:
    client = client_of(token=TOKEN)
    brought: list[dict[str, str]] = [
        {},
        {"authorization": f"Bearer {TOKEN}x"},
        {"authorization": f"Bearer {TOKEN[:-1]}"},
        {"authorization": f"Basic {TOKEN}"},
        {"authorization": TOKEN},
        {"authorization": "Bearer"},
        {"cookie": f"advisor_token_8517={TOKEN}"},  # the cookie holds another thing
        {"cookie": "advisor_token_8517="},
        {"cookie": f"token={TOKEN}; advisor_token={TOKEN}"},
        {"x-token": TOKEN, "referer": f"http://{HERE}/?token={TOKEN}"},
    ]
    for headers in brought:
        answer = client.get(path, headers=headers)
        assert refused(answer, 401)
        assert answer.headers["www-authenticate"].startswith("Bearer")
    for query in ("token=", "token=wrong", f"Token={TOKEN}", f"token={TOKEN}x", f"token[]={TOKEN}"):
        assert refused(client.get(f"{path}?{query}"), 401)
    for method in ("POST", "PUT", "DELETE", "HEAD", "OPTIONS"):
        assert client.request(method, f"{path}?token={TOKEN}").status_code == 401


def test_the_token_in_an_address_becomes_a_cookie_and_leaves_the_address(client_of: Callable[..., TestClient]) -> None:
    client = client_of(token=TOKEN)
    entered = client.get(f"{API}?limit=1&token={TOKEN}&offset=0", follow_redirects=False)
    assert (entered.status_code, entered.headers["location"]) == (303, f"{API}?limit=1&offset=0")
    cookie = entered.headers["set-cookie"]
    assert TOKEN not in cookie
    assert {"HttpOnly", "SameSite=lax", "Path=/"} <= set(cookie.split("; "))
    assert client.get(API).status_code == 200
    assert client.get(API, headers={"host": "127.0.0.1:9000"}).status_code == 401, "a cookie of another port counted"


def test_a_wrong_token_in_an_address_is_taken_out_of_it_where_the_cookie_is_right(
    client_of: Callable[..., TestClient],
) -> None:
    client = client_of(token=TOKEN)
    client.get(f"/?token={TOKEN}")
    answer = client.get("/search?token=old&q=a+b", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/search?q=a+b")
    assert "set-cookie" not in answer.headers


def test_a_browser_without_the_token_is_asked_for_it_on_a_page_that_needs_no_script(
    client_of: Callable[..., TestClient],
) -> None:
    client, browsing = client_of(token=TOKEN), {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    answer = client.get("/search?q=%22%3E%3Cscript%3E", headers=browsing)
    assert answer.status_code == 401
    assert answer.headers["content-security-policy"] == POLICY
    assert answer.headers["content-type"].startswith("text/html")
    assert '<form method="get" action="/search">' in answer.text
    assert '<input type="hidden" name="q" value="&quot;&gt;&lt;script&gt;">' in answer.text
    assert "<script" not in answer.text
    assert "not the token" not in answer.text
    assert "not the token" in client.get("/?token=wrong", headers=browsing).text
    assert 'action="/evil.example/"' in client.get(f"http://{HERE}//evil.example/", headers=browsing).text
    assert client.get(API, headers=browsing).headers["content-type"] == "application/problem+json"
    assert client.get("/", params={"token": TOKEN}, headers=browsing).status_code == 200


@pytest.mark.parametrize("path", ["//evil.example/", "/\\evil.example", "/%2F%2Fevil.example", "/%5Cevil.example"])
def test_the_address_with_a_token_leads_to_no_other_host(client_of: Callable[..., TestClient], path: str) -> None:
    scope_path = f"http://{HERE}{path}?token={TOKEN}"
    location = client_of(token=TOKEN).get(scope_path, follow_redirects=False).headers["location"]
    assert re.match(r"/(?![/\\])", location)


def test_two_pages_on_one_machine_keep_a_cookie_each(client_of: Callable[..., TestClient]) -> None:
    jar: dict[str, str] = {}
    for port in (8517, 8518):
        client = client_of(token=f"{TOKEN}{port}", port=port)
        answer = client.get(f"/?token={TOKEN}{port}", headers={"host": f"localhost:{port}"}, follow_redirects=False)
        jar |= dict(answer.cookies)
    assert len(jar) == 2
    for port in (8517, 8518):
        client = client_of(token=f"{TOKEN}{port}", port=port)
        cookie = "; ".join(f"{name}={value}" for name, value in jar.items())
        assert client.get(API, headers={"host": f"localhost:{port}", "cookie": cookie}).status_code == 200


def linking(text: str) -> Starlette:
    """Return another site: a page with a text."""
    return Starlette(routes=[Route("/", lambda request: HTMLResponse(f"<!doctype html><title>other</title>{text}"))])


def test_a_browser_gets_in_by_the_address_from_a_terminal_and_by_a_link_of_another_site(
    adv: Advisor, new_page: Callable[[], Page], port_of: Callable[..., int]
) -> None:
    with wired(adv, token=TOKEN) as port:
        asked: list[dict[str, str]] = []
        page = new_page()
        page.goto(f"http://localhost:{port}/api?token={TOKEN}")
        assert page.url == f"http://localhost:{port}/api"
        page.on("request", lambda request: asked.append(request.headers))
        page.get_by_role("link", name="OpenAPI").click()
        page.wait_for_url("**/openapi.json")
        assert asked
        assert all(TOKEN not in str(headers) for headers in asked)
        assert page.evaluate("document.cookie") == ""
        elsewhere = port_of(linking(f"<a href='http://localhost:{port}/api'>here</a>"))
        page.goto(f"http://127.0.0.1:{elsewhere}/")
        page.get_by_role("link", name="here").click()
        page.get_by_role("heading", name="JSON API", exact=True).wait_for()  # the cookie came along
        elsewhere = port_of(linking(f"<a href='http://localhost:{port}/api?token={TOKEN}'>here</a>"))
        other = new_page()
        other.goto(f"http://127.0.0.1:{elsewhere}/")
        other.get_by_role("link", name="here").click()
        other.get_by_role("heading", name="JSON API", exact=True).wait_for()  # as did the one set on the way
        assert TOKEN not in other.url


def test_a_page_of_another_site_in_a_browser_reads_nothing_and_writes_nothing(
    adv: Advisor, new_page: Callable[[], Page], port_of: Callable[..., int]
) -> None:
    with wired(adv) as port:
        ours = f"http://localhost:{port}"
        form = f"<form method=post action={ours}/mute><input name=what value=digits><button>go</button></form>"
        page = new_page()
        page.goto(f"http://127.0.0.1:{port_of(linking(form))}/")
        tried = page.evaluate(
            """async (address) => {
              const found = [];
              const forms = {method: "POST", mode: "no-cors", body: new URLSearchParams({what: "digits"})};
              for (const given of [{}, {mode: "no-cors"}, {method: "POST", body: "{}"}, forms]) {
                try { found.push(await (await fetch(address, given)).text()); } catch (error) { found.push(""); }
              }
              return found;
            }""",
            ours + API,
        )
        assert tried == [""] * 4
        page.get_by_role("button").click()
        page.wait_for_url(f"{ours}/mute")
        assert "are not answered" in page.content()


# -- read-only


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "TRACE", "FROB"])
def test_in_read_only_mode_only_reading_is_answered(client_of: Callable[..., TestClient], method: str) -> None:
    from advisor.operations import OPERATIONS

    client = client_of(read_only=True)
    for path in ("/", "/experiments/digits", "/mute", "/nothing"):
        assert refused(client.request(method, path, json={}), 403)
    for operation in OPERATIONS:
        if operation.writes:
            path = "/api/v1" + re.sub(r"\{\w+\}", "digits", operation.path)
            assert refused(client.request(method, path, json={}), *((403,) if method == "POST" else (404, 405)))


# -- not too much of anything


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT", "FROB"])
def test_other_methods_are_refused_with_those_that_are_possible(client: TestClient, method: str) -> None:
    for path in ("/", "/api/v1/runs", "/static/advisor.css"):
        answer = client.request(method, path)
        assert refused(answer, 405) or answer.status_code == 405  # a page says it at length
        assert "GET" in answer.headers["allow"]


def test_what_is_too_large_is_refused_before_it_is_read(adv: Advisor) -> None:
    with wired(adv) as port:
        head = f"POST {API} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n".encode()
        assert status_of(said(port, head + b"Content-Length: %d\r\n\r\n" % (MAX_BODY + 1))) == 413
        assert status_of(said(port, head + b"Content-Length: 99999999999999999999\r\n\r\n")) in (400, 413)
        assert status_of(said(port, head + b"Content-Length: -1\r\n\r\n")) == 400
        get = f"Host: 127.0.0.1:{port}\r\n\r\n".encode()
        assert status_of(said(port, b"GET /?%s HTTP/1.1\r\n" % (b"x" * MAX_TARGET) + get)) == 414
        assert status_of(said(port, b"GET / HTTP/1.1\r\nX: %s\r\n" % (b"x" * 100_000) + get)) in (400, 431)
        assert status_of(said(port, b"GET / HTTP/1.1\r\n" + b"X: x\r\n" * 20_000 + get)) in (400, 431)
        assert status_of(said(port, b"GET / HTTP/1.1\r\n" + get)) == 200


def guarded(*routes: Route, **limits: Any) -> Starlette:
    """Return a guarded application."""
    return Starlette(routes=list(routes), middleware=[Middleware(Guard, options=Options(), limits=Limits(**limits))])


async def echo(request: Request) -> Response:
    return PlainTextResponse(str(len(await request.body())))


def test_a_body_that_is_sent_in_pieces_is_bounded_too(port_of: Callable[..., int]) -> None:
    port = port_of(guarded(Route("/", echo, methods=["POST"])))
    head = b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    piece = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    assert said(port, head + 2 * piece + b"0\r\n\r\n").endswith(b"131072")
    assert status_of(said(port, head + 17 * piece + b"0\r\n\r\n")) == 413


def test_a_body_that_comes_too_slowly_is_not_waited_for(port_of: Callable[..., int]) -> None:
    port = port_of(guarded(Route("/", echo, methods=["POST"]), body_within_s=0.2))
    head = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nabc"
    assert status_of(said(port, head)) == 408


class Hasty(Connection):
    """A connection that does not wait long."""

    head_within_s = 0.3
    taken_within_s = 0.3


def test_headers_that_come_too_slowly_are_not_waited_for(port_of: Callable[..., int]) -> None:
    port = port_of(guarded(Route("/", echo, methods=["POST"])), http=Hasty)
    for begun in (b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: localhost\r\nX: "):
        began = time.monotonic()
        assert said(port, begun) == b""
        assert time.monotonic() - began < 5


def test_an_answer_that_nobody_reads_does_not_hold_the_connection(port_of: Callable[..., int]) -> None:
    import socket

    ended = threading.Event()

    async def much(request: Request) -> Response:
        async def parts() -> Any:
            try:
                for _ in range(2_000):
                    yield b"x" * 65_536
            finally:
                ended.set()

        return StreamingResponse(parts())

    port = port_of(guarded(Route("/", much)), http=Hasty)
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert ended.wait(10)


def test_an_answer_that_takes_too_long_is_given_up_and_its_place_stays_taken_until_it_is_done(
    port_of: Callable[..., int],
) -> None:
    go_on = threading.Event()

    def slow(request: Request) -> Response:
        go_on.wait(20)
        return PlainTextResponse("late")

    route = Route("/slow", slow)
    route.app = Bulkhead(route.app, Places(1, wait_s=0.2))
    port = port_of(guarded(route, Route("/", lambda request: PlainTextResponse("quick")), answer_within_s=0.5))
    ask = b"GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n"
    first, second = said(port, ask), said(port, ask)
    assert b"no answer within 0.5 s" in first
    assert b"too much of this is asked for at once" in second
    for answer in (first, second):
        assert status_of(answer) == 503
        assert b"retry-after: 5" in answer.lower()
    assert status_of(said(port, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")) == 200
    go_on.set()
    assert said(port, ask).endswith(b"late")


def test_fifty_expensive_requests_do_not_keep_others_from_an_answer(port_of: Callable[..., int]) -> None:
    go_on = threading.Event()

    def slow(request: Request) -> Response:
        go_on.wait(20)
        return PlainTextResponse("late")

    route = Route("/slow", slow)
    route.app = Bulkhead(route.app, Places())
    port = port_of(guarded(route, Route("/", lambda request: PlainTextResponse("quick"))))
    ask = b"GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n"
    answers: list[bytes] = []
    threads = [threading.Thread(target=lambda: answers.append(said(port, ask))) for _ in range(50)]
    for thread in threads:
        thread.start()
    time.sleep(0.3)
    began = time.monotonic()
    assert said(port, b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").endswith(b"quick")
    assert time.monotonic() - began < 2
    go_on.set()
    for thread in threads:
        thread.join()
    assert [answer.endswith(b"late") for answer in answers] == [True] * 50


# -- nothing leaks


@pytest.mark.parametrize(
    "path",
    ["/static/../../app.py", "/static/%2e%2e/app.py", "/static/..%2f..%2fapp.py", "/static//etc/passwd", "/%00",
     "/../../etc/passwd", "/static/%2fetc%2fpasswd", "/static/..%5c..%5capp.py", "/static/vendor/..%2f..%2fapp.py",
     "/static/%00", "/api/v1/..%2f..%2fetc%2fpasswd", "/api/v1/experiments/..", "/api/v1//", "/api/v1/%ff%fe",
     "/api/../static/advisor.css", "/api/v1/experiments?limit=%ff", "/api/v1/experiments?" + "a=1&" * 600,
     "/static/" + "a" * 300, "/static/a%0d%0ab"],
)  # fmt: skip
def test_no_path_leads_anywhere_else(wire: int, path: str) -> None:
    answer = said(wire, f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    assert 400 <= status_of(answer) < 500
    assert not TELLTALE.search(answer.partition(b"\r\n\r\n")[2])


def test_a_defect_of_ours_is_locked_in_and_says_nothing_of_itself(caplog: pytest.LogCaptureFixture) -> None:
    from starlette.testclient import TestClient

    def broken(request: Request) -> Response:
        raise RuntimeError("password=hunter2")

    app = guarded(Route("/", broken), Route("/api/v1/broken", broken))
    for path in ("/", "/api/v1/broken"):
        answer = TestClient(app, base_url="http://localhost", raise_server_exceptions=False).get(path)
        assert refused(answer, 500)
        assert "hunter2" not in answer.text
    assert "hunter2" in caplog.text


def test_the_token_is_in_the_lines_with_addresses_and_nowhere_else(place: Path, repository: Path) -> None:
    command = [sys.executable, "-m", "advisor", "--store", str(place), "serve", "--host", "0.0.0.0", "--port", "0"]
    environment = os.environ | {"PYTHONUNBUFFERED": "1", "PYTHONPATH": str(repository), "ADVISOR_TOKEN": TOKEN}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        assert address.endswith(f"?token={TOKEN}")
        port = int(address.split(":")[2].split("/")[0])
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers={"authorization": f"Bearer {TOKEN}"}) as client:
            client.get("/")  # what is loaded with the first page
            answers = [client.get(path) for path in ("/", "/api", "/api/openapi.json", "/nothing", API, f"{API}?x={1}")]
            answers += [client.get(f"/?token={TOKEN}"), client.get("/", headers={"authorization": "Bearer no"})]
            answers += [client.get(f"{API}?token={TOKEN}"), client.get("/", headers={"host": "evil.example"})]
            answers.append(client.post(f"{API}?token={TOKEN}"))
        said(port, f"GET /?token={TOKEN} HTTP/9.9\r\n\r\n".encode())
        for answer in answers:
            assert TOKEN not in answer.text
            assert TOKEN not in str(answer.headers)
    finally:
        process.terminate()
        assert process.stdout is not None
        assert process.stderr is not None
        # communicate() would leave out what readline() has taken from the pipe already.
        with process.stdout, process.stderr:
            out, err = process.stdout.read(), process.stderr.read()
        process.wait(20)
    # Each address by which this machine can be reached has a line, and 0.0.0.0 is none of them.
    lines = [address, *out.splitlines()]
    assert all(re.fullmatch(rf"http://[\w.:\[\]-]+:{port}/\?token={TOKEN}", line) for line in lines)
    assert f"http://localhost:{port}/?token={TOKEN}" in lines
    assert "0.0.0.0" not in "".join(lines)
    assert TOKEN not in err


def test_a_port_in_use_is_told_in_a_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(ConfigError) as told:
        bind(Options(port=taken.getsockname()[1]))
    assert "is in use, perhaps by another 'advisor serve'" in str(told.value)
    assert "rrno" not in str(told.value)


def test_a_store_that_serving_makes_is_told_of(tmp_path: Path, repository: Path) -> None:
    command = [sys.executable, "-m", "advisor", "--store", "nowhere", "serve", "--port", "0"]
    environment = os.environ | {"PYTHONPATH": str(repository)}
    told = []
    for _ in range(2):
        with subprocess.Popen(
            command, env=environment, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline().startswith("http://127.0.0.1:")
            assert psutil.Process(process.pid).nice() == min(
                psutil.Process().nice() + NICENESS, 19
            )  # trainings go first
            process.terminate()
            told.append(process.communicate(timeout=20)[1])
    assert "a new, empty store is at" in told[0]
    assert "nowhere" in told[0]
    assert "store is at" not in told[1]

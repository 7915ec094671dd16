"""The routes of the JSON API: its operations, the document that describes them, the page that lists them.

Each operation has places of its own, so that whoever asks for suggestions fifty times at once does not keep others
from listing experiments. Invariant: in read-only mode there is no way to an operation that writes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Match, Route
from starlette.types import Receive, Scope, Send

from advisor.operations import OPERATIONS, Operation, call
from advisor.web.api import answers, arguments
from advisor.web.api.addresses import ROOT, Addresses
from advisor.web.api.examples import of_store
from advisor.web.api.openapi import document_of
from advisor.web.api.reference import listed
from advisor.web.limits import Places
from advisor.web.problems import Refusal

if TYPE_CHECKING:
    from advisor.web.web import Web


def routes_of(web: Web) -> list[Route]:
    """Return the routes of the API."""
    operations = [each for each in OPERATIONS if not (each.writes and web.options.read_only)]
    document = document_of(operations, needs_token=web.options.token is not None)
    body = answers.encoded(document)
    tag = answers.tag_after(body)

    def described(request: Request) -> Response:
        if answers.is_known(tag, request.headers.get("if-none-match")):
            return answers.unchanged(tag)
        return answers.answered(body, tag=tag)

    def reference(request: Request) -> Response:
        address = f"{request.url.scheme}://{request.url.netloc}"
        shown = listed(document, address=address, examples=of_store(web.adv))
        return web.page(request, "api.html.j2", groups=shown, token=web.options.token is not None)

    def onwards(request: Request) -> Response:
        if "text/html" not in request.headers.get("accept", ""):
            raise Refusal(404, f"there is no operation at {request.url.path}; /api lists what there is")
        return RedirectResponse("/api", 303)  # a person with a browser

    return [
        Route("/api", reference),
        Route("/api/openapi.json", described),
        Route(ROOT, onwards),
        Route(f"{ROOT}/", onwards),
        Below(f"{ROOT}/", Door(web, operations)),
    ]


class Below(Route):
    """A route to everything below an address; a pattern would leave out names with line breaks."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Return whether an address is below."""
        below = scope["type"] == "http" and scope["path"].startswith(self.path)
        return (Match.FULL, {"endpoint": self.endpoint, "path_params": {}}) if below else (Match.NONE, {})


class Door:
    """Answers what is asked below the root of the API."""

    def __init__(self, web: Web, operations: list[Operation]) -> None:
        self._adv = web.adv
        self._addresses = Addresses(operations, withheld=[each for each in OPERATIONS if each not in operations])
        self._places = {operation.name: Places() for operation in operations}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive)
        operation, named = self._addresses.find(_raw_path(scope), request.method)
        answer = await (self._done if operation.method == "POST" else self._told)(operation, named, request)
        await answer(scope, receive, send)

    async def _told(self, operation: Operation, named: Mapping[str, str], request: Request) -> Response:
        """Return the answer of what is asked with an address alone."""
        query = request.scope["query_string"]
        asked = arguments.of_query(operation, named, query)
        known = request.headers.get("if-none-match")
        tag = None
        if operation.name in answers.OF_STORE_ALONE:
            stamp = await run_in_threadpool(lambda: self._adv.store.stamp())
            tag = answers.tag_before(operation, stamp, asked)
            if answers.is_known(tag, known):
                return answers.unchanged(tag)
        found, body = await self._call(operation, asked, request, strict=False)
        taken = msgspec.convert(asked, operation.asks, strict=False)
        links = answers.links_of(operation, taken, _raw_path(request.scope).decode("ascii"), query, found)
        tag = tag or answers.tag_of(found)
        return answers.unchanged(tag) if answers.is_known(tag, known) else answers.answered(body, tag=tag, links=links)

    async def _done(self, operation: Operation, named: Mapping[str, str], request: Request) -> Response:
        """Return the answer of what is asked with a body."""
        kind, query = request.headers.get("content-type", ""), request.scope["query_string"]
        asked = arguments.of_body(operation, named, query, kind, await request.body())
        _, body = await self._call(operation, asked, request, strict=True)
        return answers.answered(body, tag=None)

    async def _call(
        self, operation: Operation, asked: Mapping[str, Any], request: Request, *, strict: bool
    ) -> tuple[dict[str, Any], bytes]:
        def work() -> tuple[dict[str, Any], bytes]:
            found = call(operation, self._adv, asked, strict=strict)
            return found, answers.encoded(found)

        await request.body()  # of a GET nobody reads it, and it stands before the end of the connection
        async with self._places[operation.name]:
            if await request.is_disconnected():  # whoever waited for a turn may have gone
                raise ClientDisconnect
            return await run_in_threadpool(work)


def _raw_path(scope: Scope) -> bytes:
    return scope.get("raw_path") or quote(scope["path"]).encode()

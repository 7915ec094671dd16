"""Any text held against the store: ``/documents/verify``; each figure is marked where it stands.

A page that is read-only verifies too: then the text is part of the address. Invariant: a figure's verdict is said in
words, not by colour alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from advisor.documents.untrusted import block
from advisor.errors import AdvisorError
from advisor.web.forms import Fields, posted
from advisor.web.web import Web
from storage.errors import StorageError

if TYPE_CHECKING:
    from advisor.documents.citations import Cited
    from advisor.documents.prose import Told

    Judged = Told | Cited

MOST_LINES: Final = 2_000
"""Lines of the text that are shown again."""
MAX_PIECE: Final = 4_000


def verify_given(request: Request) -> Response:
    """Verify the text that a query holds, or ask for one; a page that is read-only posts nothing."""
    return _verified(request, request.query_params.get("text", ""))


def verify_posted(request: Request, fields: Fields) -> Response:
    """Verify the text that a form holds."""
    return _verified(request, fields.get("text", ""))


def _verified(request: Request, text: str) -> Response:
    web = Web.of(request)
    text = text.replace("\r\n", "\n")
    verified, trouble = None, ""
    if text.strip():
        try:
            verified = web.adv.verify(text)
        except (AdvisorError, StorageError) as error:
            trouble = str(error)
    lines = (
        marked(verified.filled or text, verified.told)[:MOST_LINES] if verified is not None and verified.told else []
    )
    return web.page(request, "verify.html.j2", text=text, verified=verified, lines=lines, trouble=trouble)


def marked(text: str, told: Sequence[Judged]) -> list[list[tuple[str, Judged | None]]]:
    """Return the lines of a text in pieces, each figure that was judged with its verdict.

    >>> from advisor.documents.prose import Told
    >>> [piece for piece, _ in marked("a 1 of 2", (Told(1, written="2", verdict="unknown"),))[0]]
    ['a 1 of ', '2']
    """
    by_line: dict[int, list[Judged]] = {}
    for one in told:
        by_line.setdefault(one.line, []).append(one)
    return [list(_pieces(line, by_line.get(number, ()))) for number, line in enumerate(text.split("\n"), start=1)]


def _pieces(line: str, told: Sequence[Judged]) -> Iterator[tuple[str, Judged | None]]:
    places: list[tuple[int, int, Judged]] = []
    for one in told:
        at = _free(line, one.written, places)
        if at is not None:
            places.append((at, at + len(one.written), one))
    end = 0
    for start, stop, judged in sorted(places, key=lambda place: place[0]):
        if start > end:
            yield block(line[end:start], limit=MAX_PIECE), None
        yield line[start:stop], judged
        end = stop
    if line[end:]:
        yield block(line[end:], limit=MAX_PIECE), None


def _free(line: str, written: str, places: Sequence[tuple[int, int, Judged]]) -> int | None:
    """Return where a figure stands first that is not marked yet."""
    at = line.find(written) if written else -1
    while at >= 0 and any(start < at + len(written) and at < stop for start, stop, _ in places):
        at = line.find(written, at + 1)
    return None if at < 0 else at


ROUTES: Final = (
    Route("/documents/verify", verify_given),
    Route("/documents/verify", posted(verify_posted), methods=["POST"]),
)

"""What a request is answered: JSON, a tag by which a client asks again cheaply, links to the pages beside.

Of some operations the answer follows from the store alone. Their tag is made from the store's stamp and from what was
asked, before anything is worked out: who has the answer already gets 304 for the price of two look-ups. Answers of the
others also follow from the time, or from what is worked out on the way, so their tag is of the answer itself.

Tags are weak: the same answer may be sent compressed. They are of this process; what was written by another version of
the program is asked for anew.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

from starlette.responses import Response

from advisor.operations import Answer, Asked, Operation
from advisor.web.api.arguments import JSON

OF_PROCESS: Final = secrets.token_hex(8)
OF_STORE_ALONE: Final = frozenset(
    {
        "list_experiments",
        "get_experiment",
        "list_runs",
        "get_run",
        "get_curves",
        "compare_runs",
        "stop_advice",
        "list_documents",
        "get_document",
    }
)
"""Operations of which the same store always gives the same answer. Findings are not among them, whose mutes run out,
nor what computes vectors on the way or says how long ago something was."""
MOMENTS: Final = frozenset({"asked", "generated"})
"""Fields of answers that say when it was."""
FRESH: Final = "private, no-cache"
"""A client may keep the answer, and asks each time whether it still holds."""
KEPT: Final = "no-store"
"""What was done cannot be asked for again."""


def tag_before(operation: Operation, stamp: str, arguments: Mapping[str, Any]) -> str:
    """Return the tag of an answer that follows from the store alone."""
    asked = json.dumps(arguments, sort_keys=True)
    return _tag(f"{OF_PROCESS} {operation.name} {stamp} {asked}".encode())


def tag_after(body: bytes) -> str:
    """Return the tag of a text that is there."""
    return _tag(body)


def tag_of(found: Mapping[str, Any]) -> str:
    """Return the tag of an answer that is there; when it was asked for makes it no other one."""
    return _tag(encoded({name: value for name, value in found.items() if name not in MOMENTS}))


def is_known(tag: str, if_none_match: str | None) -> bool:
    """Return whether a client says that it has the answer (RFC 9110, 13.1.2; weak comparison)."""
    if if_none_match is None:
        return False
    return tag.removeprefix("W/") in [each.strip().removeprefix("W/") for each in if_none_match.split(",")]


def unchanged(tag: str) -> Response:
    """Return what says that the answer which a client has still holds."""
    return Response(status_code=304, headers={"etag": tag, "cache-control": FRESH, "vary": "Accept-Encoding"})


def encoded(found: Mapping[str, Any]) -> bytes:
    """Return an answer as JSON; as ASCII, which any text has a form in, halves of surrogate pairs too."""
    return json.dumps(found, allow_nan=False, separators=(",", ":")).encode("ascii")


def answered(body: bytes, *, tag: str | None, links: str | None = None) -> Response:
    """Return an answer.

    Parameters
    ----------
    tag
        By which it can be asked for again; None where that makes no sense.
    links
        The pages beside it.
    """
    headers = {"cache-control": KEPT} if tag is None else {"etag": tag, "cache-control": FRESH}
    if links:
        headers["link"] = links
    return Response(body, headers=headers, media_type=JSON)


def links_of(operation: Operation, asked: Asked, path: str, query: bytes, found: Mapping[str, Any]) -> str | None:
    """Return the addresses of the pages after and before one (RFC 8288), None where there are none."""
    limit, offset = getattr(asked, "limit", None), getattr(asked, "offset", None)
    place = _page_of(operation, found)
    if limit is None or offset is None or place is None:
        return None
    n_here, n_all = place
    has_more = found.get("has_more", offset + n_here < n_all)
    steps = {"next": offset + n_here} if n_here and has_more else {}
    end = offset if n_here else min(offset, n_all)  # whoever is past the end gets back to the last page
    steps |= {"prev": max(0, end - limit)} if offset else {}
    pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True)
    kept = [(name, value) for name, value in pairs if name not in ("limit", "offset")]
    links = []
    for relation, start in steps.items():
        target = urlencode([*kept, ("limit", str(limit)), ("offset", str(start))])
        links.append(f'<{path}?{target}>; rel="{relation}"')
    return ", ".join(links) or None


def _page_of(operation: Operation, found: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return how many an answer lists and how many there are; None where it lists nothing.

    What it lists comes first of its own fields, ``runs``; how many there are is ``n_runs``, or ``n_fitting``.
    """
    own = [name for name in operation.answers.__struct_encode_fields__ if name not in Answer.__struct_encode_fields__]
    listed = next((name for name in own if isinstance(found[name], list)), None)
    n_all = next((found[name] for name in (f"n_{listed}", "n_fitting") if name in found), None)
    return None if listed is None or n_all is None else (len(found[listed]), n_all)


def _tag(content: bytes) -> str:
    return f'W/"{hashlib.sha256(content).hexdigest()[:32]}"'

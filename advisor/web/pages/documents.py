"""Documents: found, read in place, verified, taken away as files, asked for.

A document is not shown from a file: it is written anew from the store at its commit, which takes seconds the first
time and is remembered. Invariant: no text of a document reaches a browser but through a template that escapes it, and
what is sent as a file is sent as a download.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlencode

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from advisor.documents import FORMATS
from advisor.documents.untrusted import block
from advisor.errors import AdvisorError, ConfigError
from advisor.reports.commission import commission
from advisor.reports.keep import file_name
from advisor.reports.shelf import Kept, find_kept, shelf
from advisor.reports.verify import CANNOT_DERIVE, verify_kept, written_again
from advisor.web.forms import Fields, posted
from advisor.web.problems import words_of
from advisor.web.waiting import Waiting
from advisor.web.web import Web
from storage.errors import StorageError
from storage.records import Document, new_id

if TYPE_CHECKING:
    from advisor.documents import Written
    from advisor.documents.content import Picture
    from advisor.reports import Verified

PAGE: Final = 30
KINDS_IN_WORDS: Final[Mapping[str, str]] = {
    "report": "report",
    "run-summary": "summary of a run",
    "incident": "incident note",
    "model-card": "model card",
    "checklist": "reproducibility checklist",
    "run-comparison": "comparison of two runs",
    "experiment-comparison": "comparison of two experiments",
    "digest": "digest",
}
OF_EXPERIMENTS: Final = ("report", "checklist", "model-card", "digest")
"""Kinds that the form on this page writes; the others are written from where their subject is shown."""
MOST_NAMES: Final = 500
AT_FIRST_S: Final = 1.5
"""How long a page waits for a document to be derived, before it shows that it is under way …"""
THEN_S: Final = 20.0
"""… and how long each further question waits."""
FILE_S: Final = 50.0
REMEMBERED: Final = 12
"""Documents in memory that were derived; each a few hundred kilobytes."""
MEDIA: Final = {"md": "text/markdown", "html": "text/html", "json": "application/json"}


def documents(request: Request) -> Response:
    """List the documents that are kept."""
    return _listed(request, {}, "")


def _listed(request: Request, form: Fields, trouble: str) -> Response:
    """Return the list; where the form below it could not be followed, with what was filled in and why not."""
    web = Web.of(request)
    asked = request.query_params
    chosen = {"kind": asked.get("kind", ""), "experiment": asked.get("experiment", "")}
    everything = shelf(web.adv.store)
    groups = [
        group
        for group in everything
        if chosen["kind"] in ("", group[0].document.kind) and chosen["experiment"] in ("", group[0].document.experiment)
    ]
    pages = max(1, math.ceil(len(groups) / PAGE))
    page = min(max(int(asked["page"]) if asked.get("page", "").isdecimal() else 1, 1), pages)
    kept = {name: text for name, text in chosen.items() if text}
    return web.page(
        request,
        "documents.html.j2",
        groups=groups[(page - 1) * PAGE : page * PAGE],
        n_groups=len(groups),
        page=page,
        pages=pages,
        page_address=lambda n: f"/documents?{urlencode({**kept, 'page': n})}",
        chosen=chosen,
        kinds=KINDS_IN_WORDS,
        of_experiments=OF_EXPERIMENTS,
        written_of=sorted({group[0].document.experiment for group in everything} - {""}),
        experiments=[record.name for record in web.adv.store.experiments()[: -MOST_NAMES - 1 : -1]],
        model=web.adv.settings.llm,
        form=form,
        trouble=trouble,
        status=400 if trouble else 200,
    )


def document(request: Request) -> Response:
    """Show one document in place."""
    return _shown(request, lambda kept, within_s: (None, False))


def verify(request: Request) -> Response:
    """Derive a document again, and say whether it is what the store says."""
    adv = Web.of(request).adv
    verifications: Waiting[Verified] = Waiting.of(request, "verified_documents", keeps=REMEMBERED)

    def judged(kept: Kept, within_s: float) -> tuple[Verified | None, bool]:
        try:
            verified = verifications.ask(kept.document.id, lambda _: verify_kept(adv, kept)).result(within_s)
        except TimeoutError:
            return None, True
        verifications.forget(kept.document.id)  # who asks again wants it derived again
        return verified, False

    return _shown(request, judged)


def _shown(request: Request, judged: Callable[[Kept, float], tuple[Verified | None, bool]]) -> Response:
    web = Web.of(request)
    kept, versions = find_kept(web.adv.store, request.path_params["document_id"])
    patience = THEN_S if request.headers.get("hx-request") else AT_FIRST_S
    reading, trouble = _reading(request, kept, patience)
    verified, verifying = judged(kept, patience)
    return web.page(
        request,
        "document.html.j2",
        kept=kept,
        versions=versions,
        kinds=KINDS_IN_WORDS,
        reading=reading,
        trouble=trouble,
        verified=verified,
        verifying=verifying,
        **_blocks(),
    )


def file(request: Request) -> Response:
    """Answer with a document as a file: the very one that was written, or the same in another format."""
    web = Web.of(request)
    kept, _ = find_kept(web.adv.store, request.path_params["document_id"])
    format = request.query_params.get("format", kept.document.format)
    if format not in FORMATS:
        raise ConfigError(f"format {format!r:.40} is unknown; allowed are {', '.join(FORMATS)}")
    written = _derived(request, kept, format).result(FILE_S)
    name = quote(f"{file_name(kept.origin_or_refuse())}.{format}")
    headers = {
        "content-disposition": f"attachment; filename*=UTF-8''{name}",
        "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox",
    }
    return Response(written.text.encode("utf-8", "replace"), media_type=MEDIA[format], headers=headers)


def write(request: Request, fields: Fields) -> Response:
    """Write a document that a form asks for, and go to it; where it takes long, to a page that waits for it."""
    web = Web.of(request)
    kind, model = fields.get("kind", ""), bool(fields.get("model"))
    key = new_id()
    commissions = _commissions(request)
    work = commissions.ask(key, lambda _: commission(web.adv, kind, fields, model=model))
    try:
        return _go_to(request, work.result(THEN_S))
    except TimeoutError:
        return RedirectResponse(f"/documents/writing/{key}", 303)
    except (AdvisorError, StorageError) as error:
        if kind not in OF_EXPERIMENTS or "form" not in fields:  # asked for on another page, or by a program
            raise
        return _listed(request, fields, words_of(error))


def writing(request: Request) -> Response:
    """Wait for a document that is being written."""
    key = request.path_params["key"]
    work = _commissions(request).get(key)
    if work is None:
        return RedirectResponse("/documents", 303)
    try:
        return _go_to(request, work.result(THEN_S if request.headers.get("hx-request") else AT_FIRST_S))
    except TimeoutError:
        return Web.of(request).page(request, "writing.html.j2", key=key)


def _reading(request: Request, kept: Kept, within_s: float) -> tuple[Written | None, str]:
    """Return a document as it is derived, or why it cannot be; neither where it takes longer than that."""
    try:
        return _derived(request, kept, None).result(within_s), ""
    except TimeoutError:
        return None, ""
    except CANNOT_DERIVE as error:
        return None, str(error)


def _derived(request: Request, kept: Kept, format: str | None) -> Any:
    """Return the work of deriving a document; it is the same whenever it is done, so it is remembered."""
    adv = Web.of(request).adv
    key = (kept.document.id, format if format != kept.document.format else None)

    def derive(_: object) -> Written:
        origin = kept.origin_or_refuse()
        if key[1] is not None:  # not the file that the journal has the hash of, so not its id either
            origin = replace(origin, format=key[1], id="")
        return written_again(adv, origin)

    known: Waiting[Written] = Waiting.of(request, "derived_documents", keeps=REMEMBERED)
    return known.ask(key, derive)


def _commissions(request: Request) -> Waiting[Document]:
    return Waiting.of(request, "commissioned_documents", keeps=20)


def _go_to(request: Request, document: Document) -> Response:
    address = f"/documents/{quote(document.id, safe='')}"
    if request.headers.get("hx-request"):
        return Response(status_code=200, headers={"hx-redirect": address})
    return RedirectResponse(address, 303)


def _blocks() -> dict[str, Any]:
    """Return what the template of a document's blocks needs."""
    from advisor.documents import html

    return {"shown": html.shown, "fact_of": html.origin, "block_of": block, "drawn": drawn}


def drawn(picture: Picture) -> Markup:
    """Return a picture as markup for a page without inline style; its description where it cannot be drawn."""
    from xml.etree.ElementTree import ParseError

    from advisor.documents import svg

    try:
        return Markup(svg.attributed(picture))  # every text in it is escaped there
    except ParseError:
        return Markup("<p>{}</p>").format(picture.alt)


ROUTES: Final = (
    Route("/documents", documents),
    Route("/documents", posted(write), methods=["POST"]),
    Route("/documents/writing/{key}", writing),
    Route("/documents/{document_id}", document),
    Route("/documents/{document_id}/verify", verify),
    Route("/documents/{document_id}/file", file),
)

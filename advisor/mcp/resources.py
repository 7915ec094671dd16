"""Resources: what a person attaches to a conversation by its address, ``advisor://…``.

Addresses are made from names by percent-encoding, so that any name can be addressed. Reads only. Invariant: what is
read is an answer of an operation, or a text that the store or the registry of findings holds; documents are shown as
they were written, and nothing is kept.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any, Final

from mcp.shared.uri_template import UriTemplate
from mcp_types import ReadResourceResult, Resource, ResourceTemplate, TextResourceContents

from advisor.documents import Origin
from advisor.errors import ConfigError
from advisor.findings.codes import CODES
from advisor.mcp.text import cut
from advisor.mcp.tools import bounded
from advisor.operations import OPERATIONS, call
from advisor.references import find_run
from advisor.reports import kept_documents
from advisor.reports.write import written_now
from storage.errors import RecordError, did_you_mean

if TYPE_CHECKING:
    from advisor.app import Advisor

JSON: Final = "application/json"
MARKDOWN: Final = "text/markdown"
MAX_CHARS: Final = 400_000
"""Of a document that is read."""
N_LISTED: Final = 50
"""Experiments, and documents, that are listed by themselves; the templates address all."""
N_COMPLETED: Final = 100
"""Values that are offered where a part of an address is typed; the protocol allows no more."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of resource."""

    template: str
    _: KW_ONLY
    name: str
    title: str
    about: str
    mime: str
    read: Callable[[Advisor, Mapping[str, str]], str]
    complete: Callable[[Advisor], list[str]] | None = None
    """What the part in braces may be, the likeliest first."""

    def listed(self) -> ResourceTemplate:
        """Return it as an agent's program lists it."""
        return ResourceTemplate(
            name=self.name, title=self.title, uri_template=self.template, description=self.about, mime_type=self.mime
        )


def listed(adv: Advisor) -> list[Resource]:
    """Return what is offered by itself: the list of experiments, the newest experiments, the newest documents."""
    found = [
        Resource(
            name="experiments",
            title="Experiments",
            uri="advisor://experiments",
            description="All experiments of the store with their objectives and best values.",
            mime_type=JSON,
        )
    ]
    for name in experiments_of(adv)[:N_LISTED]:
        uri = UriTemplate.parse("advisor://experiment/{name}").expand({"name": name})
        found.append(Resource(name=name, uri=uri, description="An experiment.", mime_type=JSON))
    return found + [
        Resource(
            name=document.title or document.kind,
            uri=f"advisor://document/{document.id}",
            description=f"A {document.kind}, version {document.version}.",
            mime_type=MARKDOWN,
        )
        for document in kept_documents(adv.store)[: -N_LISTED - 1 : -1]
    ]


def read(adv: Advisor, uri: str) -> ReadResourceResult:
    """Return what is at an address.

    Raises
    ------
    ConfigError
        If nothing can be at such an address.
    AdvisorError, StorageError
        If there is no such experiment, run or document.
    """
    for kind in KINDS:
        found = UriTemplate.parse(kind.template).match(uri)
        if found is not None:
            given = {name: str(value) for name, value in found.items()}
            text = kind.read(adv, given)
            return ReadResourceResult(contents=[TextResourceContents(uri=uri, mime_type=kind.mime, text=text)])
    known = ", ".join(kind.template for kind in KINDS)
    raise ConfigError(f"nothing is at {uri[:200]!r}; there are {known}")


def complete(adv: Advisor, template: str, begun: str) -> tuple[list[str], int]:
    """Return what the part in braces of an address may be, and how many fit; also without letters between."""
    kind = next((each for each in KINDS if each.template == template), None)
    if kind is None or kind.complete is None:
        return [], 0
    return fitting(kind.complete(adv), begun)


def fitting(values: list[str], begun: str) -> tuple[list[str], int]:
    """Return the values that begin so, then those that hold it, and how many there are."""
    low = begun.lower()
    first = [value for value in values if value.lower().startswith(low)]
    then = [value for value in values if low in value.lower() and not value.lower().startswith(low)]
    found = first + then
    return found[:N_COMPLETED], len(found)


def experiments_of(adv: Advisor) -> list[str]:
    """Return names of experiments, the newest first."""
    return [record.name for record in adv.store.experiments()[::-1]]


def runs_of(adv: Advisor) -> list[str]:
    """Return ids of the newest runs."""
    found, _ = adv.store.page(order_by="started", descending=True, limit=N_COMPLETED)
    return [run.id for run in found]


def _documents(adv: Advisor) -> list[str]:
    return [document.id for document in kept_documents(adv.store)[::-1]]


def _answer(name: str, adv: Advisor, **arguments: Any) -> str:
    """Return an operation's answer as JSON."""
    operation = next(each for each in OPERATIONS if each.name == name)
    return json.dumps(bounded(call(operation, adv, arguments)), ensure_ascii=False, indent=1)


def _summary(adv: Advisor, given: Mapping[str, str]) -> str:
    run = find_run(adv.store, given["id"])
    subject = Origin("run-summary", experiment=run.experiment, run_id=run.id)
    return cut(written_now(adv, subject, model=None, kept=False).text, MAX_CHARS)


def _document(adv: Advisor, given: Mapping[str, str]) -> str:
    documents = {document.id: document for document in kept_documents(adv.store)}
    found = documents.get(given["id"])
    if found is None:
        raise RecordError(f"there is no document {given['id'][:100]!r}; {did_you_mean(given['id'], documents)}")
    return cut(found.text, MAX_CHARS)


def _code(adv: Advisor, given: Mapping[str, str]) -> str:
    del adv  # the registry is part of the program
    wanted = given["code"]
    code = next((each for each in CODES.values() if wanted.upper() == each.code or wanted.lower() == each.slug), None)
    if code is None:
        raise ConfigError(f"there is no finding code {wanted[:100]!r}; {did_you_mean(wanted.upper(), CODES)}")
    parts = (
        f"# {code.code}: {code.slug}",
        f"Usual severity: {code.severity}.",
        f"## How it is detected\n\n{code.how_detected}",
        f"## Why it matters\n\n{code.why_it_matters}",
        f"## What to do\n\n{code.what_to_do}",
    )
    return "\n\n".join(parts) + "\n"


KINDS: Final[tuple[Kind, ...]] = (
    Kind(
        "advisor://experiments",
        name="experiments",
        title="Experiments",
        about="All experiments of the store with their objectives and best values.",
        mime=JSON,
        read=lambda adv, given: _answer("list_experiments", adv, limit=500),
    ),
    Kind(
        "advisor://experiment/{name}",
        name="experiment",
        title="An experiment",
        about="One experiment: its question, space, objectives, and what came out so far.",
        mime=JSON,
        read=lambda adv, given: _answer("get_experiment", adv, experiment=given["name"]),
        complete=experiments_of,
    ),
    Kind(
        "advisor://run/{id}",
        name="run",
        title="A run",
        about="One run: parameters, state, last values, findings, notes.",
        mime=JSON,
        read=lambda adv, given: _answer("get_run", adv, run=given["id"]),
        complete=runs_of,
    ),
    Kind(
        "advisor://run/{id}/summary",
        name="run-summary",
        title="Summary of a run",
        about="One run in words, every figure a fact of the store; written for this reading, not kept.",
        mime=MARKDOWN,
        read=_summary,
        complete=runs_of,
    ),
    Kind(
        "advisor://document/{id}",
        name="document",
        title="A document",
        about="A report, summary, incident note or the like, as it was written and kept.",
        mime=MARKDOWN,
        read=_document,
        complete=_documents,
    ),
    Kind(
        "advisor://finding-code/{code}",
        name="finding-code",
        title="A finding code",
        about="What a code such as ADV103 means: how it is detected, why it matters, what to do.",
        mime=MARKDOWN,
        read=_code,
        complete=lambda adv: list(CODES),
    ),
)
"""All of them, in the order in which addresses are tried."""
TEMPLATES: Final = tuple(kind for kind in KINDS if "{" in kind.template)

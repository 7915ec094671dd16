"""Operations on documents: write one from the program's own sentences, keep it, list and read those that were kept."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from msgspec import Meta

from advisor.asking import PENDING_FOR_S
from advisor.errors import ConfigError, NotEnoughRunsError
from advisor.operations import bounds, find
from advisor.operations.operation import Answer, Asked, Operation, Told, untrusted
from advisor.operations.told import ExperimentName, RunName, facts_told
from storage.errors import NothingCalledSoError, RecordError, did_you_mean
from storage.records import Run, RunState

if TYPE_CHECKING:
    from advisor.app import Advisor
    from advisor.documents import Origin, Written
    from storage.records import Document

MOST: Final = 100
MOST_CHARS: Final = 400_000
Kind = Literal["report", "run-summary", "model-card", "checklist", "incident", "comparison", "digest"]
KeptKind = Literal[
    "report", "run-summary", "model-card", "checklist", "incident", "run-comparison", "experiment-comparison", "digest"
]


ABOUT: Final[Mapping[str, tuple[str, ...]]] = {
    "report": ("experiment",),
    "run-summary": ("run",),
    "model-card": ("experiment", "run"),
    "checklist": ("experiment",),
    "incident": ("finding",),
    "comparison": ("a", "b"),
    "digest": ("experiment",),
}
"""What each kind of document is about."""


class ReportAsked(Asked, frozen=True, kw_only=True):
    """Which document."""

    kind: Annotated[
        Kind,
        Meta(
            description="report and checklist are of an experiment; run-summary of a run; model-card of a run, or of "
            "an experiment's best; incident of a finding; comparison of two runs or two experiments, what b has "
            "against a; digest of a span of time, of one experiment or all."
        ),
    ] = "report"
    experiment: Annotated[ExperimentName | None, Meta(description="For report, checklist, model-card and digest.")] = (
        None
    )
    run: Annotated[RunName | None, Meta(description="For run-summary and model-card.")] = None
    finding: Annotated[
        Annotated[str, Meta(max_length=2_000)] | None,
        Meta(description="For incident: a finding's id, its beginning, or RUN:CODE."),
    ] = None
    a: Annotated[
        Annotated[str, Meta(max_length=2_000_000)] | None, Meta(description="For comparison: a run or an experiment.")
    ] = None
    b: Annotated[
        Annotated[str, Meta(max_length=2_000_000)] | None, Meta(description="For comparison: the other one.")
    ] = None
    since: Annotated[str, Meta(max_length=40, description="For digest: 24h, 7d, 2w, or a day like 2026-03-01.")] = "7d"
    offset: Annotated[int, Meta(ge=0, le=10**9, description="First character of the text that is wanted.")] = 0
    max_chars: Annotated[int, Meta(ge=1_000, le=MOST_CHARS, description="Most characters of the text.")] = 60_000


class ReportTold(Answer, frozen=True, kw_only=True):
    """A document as Markdown."""

    kind: str
    title: Annotated[str, untrusted("Its title.")]
    experiment: Annotated[str, untrusted("Name of the experiment that it is about; empty where it is about all.")]
    run_id: str
    text: Annotated[str, untrusted("The document in Markdown; names and quotations in it come from runs.")]
    n_chars: Annotated[int, Meta(description="Characters of the whole text.")]
    next_offset: Annotated[int | None, Meta(description="Where the rest begins; null where there is none.")]
    document_id: Annotated[str | None, Meta(description="Of a document that was kept; null where it was not.")]
    version: Annotated[int, Meta(description="How many documents about the same thing were kept, this one included.")]
    path: Annotated[str | None, Meta(description="File that it was written to; null where it was not.")]
    notes: list[str]
    generated: datetime


def get_report(adv: Advisor, asked: ReportAsked) -> ReportTold:
    """Write a document from the store as it is now; nothing is kept."""
    from advisor.reports.write import written_now

    written = written_now(adv, _subject(adv, asked), model=None, kept=False)
    return _told(adv, written, asked.offset, asked.max_chars, kept=None)


def write_report(adv: Advisor, asked: ReportAsked) -> ReportTold:
    """Write a document, keep it in the store as the next version, and write the file into the folder for reports."""
    from advisor.reports.keep import keep
    from advisor.reports.write import written_now

    written = written_now(adv, _subject(adv, asked), model=None)
    document = keep(adv, written, path=None, write=True)
    return _told(adv, written, asked.offset, asked.max_chars, kept=document)


def _subject(adv: Advisor, asked: ReportAsked) -> Origin:
    """Return what a document is about.

    Raises
    ------
    ConfigError
        If what this kind needs is not given.
    """
    from advisor.documents import Origin

    _refuse_others(asked)
    if asked.kind == "incident":
        return _incident(adv, asked)
    if asked.kind == "comparison":
        return _comparison(adv, asked)
    if asked.kind == "digest":
        return _digest(adv, asked)
    if asked.kind == "run-summary" or (asked.kind == "model-card" and asked.run is not None):
        run = find.run(adv, _needed(asked, "run"))
        return Origin(asked.kind, experiment=run.experiment, run_id=run.id)
    experiment = find.experiment(adv, _needed(asked, "experiment"))
    if asked.kind != "model-card":
        return Origin(asked.kind, experiment=experiment.name)
    best = experiment.best()
    if best is None:
        raise NotEnoughRunsError(
            f"no run of {bounds.name(experiment.name)!r} can be called the best; name one with run"
        )
    return Origin("model-card", experiment=experiment.name, run_id=best.id)


def _refuse_others(asked: ReportAsked) -> None:
    """Refuse what a document of this kind is not about: it would be passed over."""
    takes = ABOUT[asked.kind]
    if asked.kind == "model-card" and asked.run and asked.experiment:
        raise ConfigError("a model-card is of a run, or of an experiment's best: give run or experiment, not both")
    given = [name for name in ("experiment", "run", "finding", "a", "b") if getattr(asked, name) is not None]
    other = next((name for name in given if name not in takes), None)
    if other is not None:
        hint = "; for a run give kind='run-summary'" if (asked.kind, other) == ("report", "run") else ""
        raise ConfigError(f"a {asked.kind} is not about {other!r}: it takes {' and '.join(takes)}{hint}")


def _needed(asked: ReportAsked, name: str) -> str:
    given = getattr(asked, name)
    if not given:
        raise ConfigError(f"a {asked.kind} needs {name!r}; give it")
    return str(given)


def _incident(adv: Advisor, asked: ReportAsked) -> Origin:
    from advisor.documents import Origin

    finding = find.finding(adv, _needed(asked, "finding"))
    run = adv.store.run(finding.run_id)
    return Origin("incident", experiment=run.experiment, run_id=run.id, about={"finding": finding.id})


def _comparison(adv: Advisor, asked: ReportAsked) -> Origin:
    from advisor.documents import Origin
    from advisor.references import find as found

    a, b = (found(adv.store, _needed(asked, name)) for name in ("a", "b"))
    if isinstance(a, Run) != isinstance(b, Run):
        raise ConfigError("a and b are a run and an experiment; compare two runs or two experiments")
    keys = [each.id if isinstance(each, Run) else each.name for each in (a, b)]
    if keys[0] == keys[1]:
        raise ConfigError("a and b are the same; give two that differ")
    kind = "run-comparison" if isinstance(a, Run) else "experiment-comparison"
    name = a.experiment if isinstance(a, Run) else a.name
    return Origin(kind, experiment=name, about={"a": keys[0], "b": keys[1]})


def _digest(adv: Advisor, asked: ReportAsked) -> Origin:
    from advisor.documents import Origin
    from advisor.reports import span

    end = adv.clock()
    name = "" if asked.experiment is None else find.experiment(adv, asked.experiment).name
    about = {"since": span(asked.since, end).isoformat(), "until": end.isoformat()}
    return Origin("digest", experiment=name, about=about)


def _told(adv: Advisor, written: Written, offset: int, most: int, *, kept: Document | None) -> ReportTold:
    from advisor.reports.addressed import document_facts

    # what is not kept says itself where it comes from, so that verify_text can derive it again
    origin, text = written.origin, written.text if kept is None else written.plain
    return ReportTold(
        kind=written.kind,
        title=bounds.value(written.title),
        experiment=bounds.name(origin.experiment),
        run_id=bounds.name(origin.run_id),
        text=text[offset : offset + most],
        n_chars=len(text),
        next_offset=offset + most if offset + most < len(text) else None,
        document_id=None if kept is None else kept.id,
        version=1 if kept is None else kept.version,
        path=None if kept is None else kept.path,
        notes=list(written.notes),
        generated=adv.clock(),
        facts=facts_told(
            document_facts(
                origin, written.facts, at_rest=bool(origin.experiment) and _is_at_rest(adv, origin.experiment)
            )
        ),
    )


def _is_at_rest(adv: Advisor, experiment: str) -> bool:
    """Return whether no run of an experiment goes on and no suggestion waits to be started."""
    if adv.store.count(experiment, where=f"state = '{RunState.RUNNING}'"):
        return False
    since = adv.clock() - timedelta(seconds=PENDING_FOR_S)
    made = adv.store.state().suggestions.values()
    return not any(body["experiment"] == experiment and body["time"] >= since for body in made)


GET_REPORT: Final = Operation(
    "get_report",
    title="Write a document",
    about="Write a document about an experiment, a run, a finding, two of them or a span of time, from the program's "
    "own sentences; every figure in it is a fact with an id. Nothing is kept: write_report does that.",
    asks=ReportAsked,
    answers=ReportTold,
    does=get_report,
    path="/report",
)

WRITE_REPORT: Final = Operation(
    "write_report",
    title="Write and keep a document",
    about="Like get_report, and keep the document: in the store as the next version, and as a file.",
    asks=ReportAsked,
    answers=ReportTold,
    does=write_report,
    method="POST",
    writes=True,
    repeatable=False,
    path="/documents",
)


# -- those that were kept


class DocumentsAsked(Asked, frozen=True, kw_only=True):
    """Which documents."""

    experiment: Annotated[ExperimentName | None, Meta(description="Only about it or its runs; all where null.")] = None
    run: Annotated[RunName | None, Meta(description="Only about this run.")] = None
    kind: KeptKind | None = None
    limit: Annotated[int, Meta(ge=1, le=MOST, description="How many at most, the newest first.")] = 20
    offset: Annotated[int, Meta(ge=0, le=10**9, description="How many are left out before the first.")] = 0


class DocumentTold(Told, frozen=True, kw_only=True):
    """One document that was kept."""

    document_id: str
    kind: str
    title: Annotated[str, untrusted("Its title.")]
    experiment: Annotated[str, untrusted("Name of the experiment that it is about; empty where it is about all.")]
    run_id: str
    version: int
    writer: Annotated[str, untrusted("template, or the name of the language model that wrote sentences.")]
    path: Annotated[str | None, untrusted("File that it was written to.")]
    time: datetime
    n_chars: int


class DocumentsTold(Answer, frozen=True, kw_only=True):
    """Documents, and how many there are in all."""

    documents: list[DocumentTold]
    n_fitting: int
    offset: int


def list_documents(adv: Advisor, asked: DocumentsAsked) -> DocumentsTold:
    """List documents that were kept, the newest first."""
    from advisor.reports import kept_documents

    only = None if asked.experiment is None else find.experiment(adv, asked.experiment).name
    run = None if asked.run is None else find.run(adv, asked.run).id
    fitting = [
        each
        for each in kept_documents(adv.store)[::-1]
        if only in (None, each.experiment) and run in (None, each.run_id) and asked.kind in (None, each.kind)
    ]
    page = fitting[asked.offset : asked.offset + asked.limit]
    return DocumentsTold(documents=[_kept(each) for each in page], n_fitting=len(fitting), offset=asked.offset)


def _kept(document: Document) -> DocumentTold:
    return DocumentTold(
        document_id=document.id,
        kind=document.kind,
        title=bounds.value(document.title),
        experiment=bounds.name(document.experiment),
        run_id=bounds.name(document.run_id),
        version=document.version,
        writer=bounds.name(document.writer),
        path=None if document.path is None else bounds.value(document.path),
        time=document.time,
        n_chars=len(document.text),
    )


LIST_DOCUMENTS: Final = Operation(
    "list_documents",
    title="List documents",
    about="List the documents that were written about experiments and runs, the newest first.",
    asks=DocumentsAsked,
    answers=DocumentsTold,
    does=list_documents,
    path="/documents",
)


class DocumentAsked(Asked, frozen=True, kw_only=True):
    """Which document."""

    document: Annotated[
        str, Meta(min_length=4, max_length=200, description="Its id, or an unmistakable beginning of it.")
    ]
    offset: Annotated[int, Meta(ge=0, le=10**9, description="First character of the text that is wanted.")] = 0
    max_chars: Annotated[int, Meta(ge=1_000, le=MOST_CHARS, description="Most characters of the text.")] = 60_000


class OneDocumentTold(Answer, frozen=True, kw_only=True):
    """One document that was kept."""

    document: DocumentTold
    text: Annotated[str, untrusted("The document in Markdown; names and quotations in it come from runs.")]
    next_offset: Annotated[int | None, Meta(description="Where the rest begins; null where there is none.")]


def get_document(adv: Advisor, asked: DocumentAsked) -> OneDocumentTold:
    """Return a document that was kept, as Markdown."""
    from advisor.reports import kept_documents

    everything = kept_documents(adv.store)
    fitting = [each for each in everything if each.id.startswith(asked.document)]
    if len(fitting) != 1:
        known = did_you_mean(asked.document, (each.id for each in everything), show=3)
        n = "no document is" if not fitting else f"{len(fitting)} documents are"
        error = RecordError if fitting else NothingCalledSoError
        raise error(f"{n} called {asked.document!r:.80}; {known}")
    text, end = fitting[0].text, asked.offset + asked.max_chars
    return OneDocumentTold(
        document=_kept(fitting[0]),
        text=text[asked.offset : end],
        next_offset=end if end < len(text) else None,
        facts=facts_told(_facts(adv, fitting[0])),
    )


def _facts(adv: Advisor, document: Document) -> list[Any]:
    """Return the document's facts, derived again; none where that cannot be done."""
    from advisor.reports.addressed import kept_facts

    return kept_facts(adv, document.id)


GET_DOCUMENT: Final = Operation(
    "get_document",
    title="Read a document",
    about="Return a document that was kept, as Markdown, with its facts.",
    asks=DocumentAsked,
    answers=OneDocumentTold,
    does=get_document,
    path="/documents/{document}",
)

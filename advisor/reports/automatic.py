"""Documents that are written by themselves: summaries of runs that ended, incident notes of findings.

The settings ``on_finish`` and ``on_finding`` say which. One look writes what is due and hands it to the configured
channels; whoever looks first writes it, a lease keeps a second one away. A document is written anew, as its next
version, where the facts about its subject have changed. Leaves out when to look: after a run ended, after a check,
and in each round of a watcher. Invariant: a look without news writes nothing and sends nothing.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from advisor.documents import RUN_KINDS, Origin
from advisor.errors import AdvisorError, NotificationError
from advisor.reports.keep import keep, kept_events
from advisor.reports.write import model_of, written_now
from storage.errors import StorageError
from storage.records import Document, Finding, FindingState, Run, RunState, Severity

if TYPE_CHECKING:
    from datetime import datetime

    from advisor.app import Advisor
    from advisor.notify import Message

log = logging.getLogger(__name__)

ACTOR: Final = "automatic"
LOOK_BACK: Final = timedelta(days=1)
"""Runs that ended longer ago, and have no document of their own, are left alone."""
AT_MOST: Final = 50
"""Documents that one look writes; what is left is due at the next one."""
LEASE: Final = "documents"


def write_due(
    adv: Advisor,
    experiment: str | None = None,
    *,
    since: datetime | None = None,
    go_on: Callable[[], bool] = lambda: True,
) -> list[Document]:
    """Write the documents that the settings ask for and that are due, and send word of them.

    Returns nothing where another process is at it. Trouble with one document is logged, the others are written.

    Parameters
    ----------
    since
        What ended before is left to others; ``LOOK_BACK`` ago when None.
    go_on
        Asked before each document; what is left is due at the next look, anybody's.
    """
    settings = adv.settings
    if not settings.on_finish and not settings.on_finding:
        return []
    with adv.store.lease(LEASE) as mine:
        if not mine:
            return []
        wanted = list(due(adv, experiment, since=since))[:AT_MOST]
        return [made for subject, runs in wanted if go_on() and (made := _one(adv, subject, runs))]


def due(
    adv: Advisor, experiment: str | None = None, *, since: datetime | None = None
) -> Iterator[tuple[Origin, Sequence[Run]]]:
    """Yield what should be written, with the runs that it is about."""
    kept = _latest(adv)
    since = adv.clock() - LOOK_BACK if since is None else since
    for record in adv.store.experiments():
        if experiment not in (None, record.name):
            continue
        runs = [run for run in adv.store.runs(record.name) if run.source != "import"]
        for subject, about in _wanted(adv, record.name, runs):
            known = kept.get(_key(subject))
            if known is not None:
                is_due = known.get("subject") != subject.about["subject"]
            else:
                is_due = any((run.ended or run.created) > since for run in about)
            if is_due:
                yield subject, about


def _wanted(adv: Advisor, name: str, runs: Sequence[Run]) -> Iterator[tuple[Origin, Sequence[Run]]]:
    ended = [run for run in runs if run.state.is_over]
    for kind in adv.settings.on_finish:
        if kind in RUN_KINDS:
            for run in ended:
                yield Origin(kind, experiment=name, run_id=run.id, about={"subject": _hash(_of_run(run))}), [run]
        elif ended:
            content = [_of_run(run) for run in ended]
            yield Origin(kind, experiment=name, about={"subject": _hash(content)}), ended
    for kind in adv.settings.on_finding:
        for run in runs:
            for finding in run.findings:
                if Severity(finding.severity).rank >= Severity(adv.settings.notify_severity).rank:
                    about = {"finding": finding.id, "subject": _hash([_of_finding(finding), str(run.state)])}
                    yield Origin(kind, experiment=name, run_id=run.id, about=about), [run]


def _one(adv: Advisor, subject: Origin, runs: Sequence[Run]) -> Document | None:
    """Write one document; None where its facts are those of its last version, or it cannot be written."""
    fingerprint = str(subject.about["subject"])
    about = {key: value for key, value in subject.about.items() if key != "subject"}
    plain = replace(subject, about=about)
    known = _latest(adv).get(_key(subject))
    try:
        written = written_now(adv, plain, model=model_of(adv, None))
        document = keep(adv, written, path=None, write=True, actor=ACTOR, subject=fingerprint)
    except (AdvisorError, StorageError) as error:
        log.warning("the %s of %s is not written: %s", subject.kind, subject.run_id or subject.experiment, error)
        return None
    if known is None or known.get("facts_hash") != document.facts_hash:
        _send(adv, document, runs)
    return document


def _latest(adv: Advisor) -> dict[tuple[str, str, str, str], Mapping[str, Any]]:
    """Return the body of the last document of each subject that was written by itself."""
    found: dict[tuple[str, str, str, str], Mapping[str, Any]] = {}
    for event in kept_events(adv.store):
        if event.actor == ACTOR:
            origin = event.body.get("origin")
            about = origin.get("about", {}) if isinstance(origin, Mapping) else {}
            key = (str(event.body.get("kind")), event.experiment, event.run_id, str(about.get("finding", "")))
            found[key] = event.body
    return found


def _key(subject: Origin) -> tuple[str, str, str, str]:
    return (subject.kind, subject.experiment, subject.run_id, str(subject.about.get("finding", "")))


def _of_run(run: Run) -> list[Any]:
    findings = [_of_finding(one) for one in run.findings]
    return [run.id, str(run.state), list(run.values), dict(run.metrics), list(run.notes), list(run.tags), findings]


def _of_finding(finding: Finding) -> list[Any]:
    return [finding.id, finding.title, str(finding.severity), str(finding.state), finding.verdict]


def _hash(content: Any) -> str:
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:32]


# -- telling


def _send(adv: Advisor, document: Document, runs: Sequence[Run]) -> None:
    """Tell each channel of a document, where it is grave enough; trouble with that is logged."""
    message = _message(document, runs)
    if not adv.settings.notify or message.severity.rank < Severity(adv.settings.notify_severity).rank:
        return
    from advisor.notify import open_channel

    for address in adv.settings.notify:
        try:
            open_channel(address).send(message)
        except NotificationError as error:
            log.warning("word of %s was not sent: %s", document.path, error)


def _message(document: Document, runs: Sequence[Run]) -> Message:
    from advisor.documents.untrusted import one_line
    from advisor.notify import Message

    lines = [line for line in document.text.split("\n") if line and not line.startswith(("#", "*", "---", "<"))]
    lead = one_line(lines[0], limit=600) if lines else ""
    keys = ("kind", "experiment", "run_id", "path", "version")
    return Message(
        one_line(f"{document.kind} written: {document.title}", limit=150),
        text=f"{lead}\n{document.path}",
        severity=_severity(runs),
        fields={"document": {"document_id": document.id} | {key: getattr(document, key) for key in keys}},
        id=document.id,
    )


def _severity(runs: Sequence[Run]) -> Severity:
    """Return how grave the news is: the gravest open finding of the runs, an error where one failed or crashed."""
    if any(run.state in (RunState.FAILED, RunState.CRASHED) for run in runs):
        return Severity.ERROR
    found = [one.severity for run in runs for one in run.findings if one.state is not FindingState.RESOLVED]
    return max(found, key=lambda severity: severity.rank, default=Severity.INFO)

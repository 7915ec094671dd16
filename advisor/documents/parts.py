"""Sections that reports and summaries share: findings, reproduction, suggestions, gaps, opinion.

Pure: records in, content out. Leaves out the order of a document (see ``pages``). Invariant: every list that is cut
says how much of it is not shown.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from advisor.documents import numbers
from advisor.documents.absences import Absence
from advisor.documents.content import (
    Block,
    Bullets,
    Cell,
    Code,
    Column,
    Line,
    Paragraph,
    Quote,
    Row,
    Section,
    Span,
    Table,
    name,
    plain,
)
from advisor.documents.fact import metric_of, run_name
from advisor.documents.provenance import provenance
from advisor.documents.standing import cause
from advisor.documents.untrusted import middle_cut, one_line
from storage.records import Finding, FindingState, Objective, Run, Severity

Named = Callable[[Run], str]
"""How a run is called: by its number where its experiment is clear."""

MAX_CODES = 12
MAX_RUNS_NAMED = 8
MAX_CAUSES = 12
MAX_SUGGESTIONS = 3
MAX_NOTES = 10

_OWN_ID = re.compile("[0-9a-f]{32}")
_SEVERITY_TONE: Mapping[Severity, Any] = {Severity.ERROR: "bad", Severity.WARNING: "warn", Severity.INFO: "quiet"}


def findings_section(
    findings: Sequence[Finding],
    runs: Mapping[str, Run],
    advice: Mapping[str, str],
    *,
    of_one_run: bool = False,
    named: Named = run_name,
) -> Section | None:
    """Return the findings by code, the gravest first, with what to do about each; None where there are none."""
    active = [finding for finding in findings if finding.state is not FindingState.RESOLVED]
    if not active:
        return None
    groups: dict[str, list[Finding]] = {}
    for finding in active:
        groups.setdefault(finding.code, []).append(finding)
    ordered = sorted(
        groups.values(), key=lambda group: (-max(one.severity.rank for one in group), -len(group), group[0].code)
    )
    rows = [_finding_row(group, runs, advice, of_one_run=of_one_run, named=named) for group in ordered[:MAX_CODES]]
    second = "Where" if of_one_run else "Runs"
    hidden = len(ordered) - len(rows)
    table = Table(
        "Findings by kind" if not of_one_run else "Findings",
        columns=(Column("Finding"), Column(second), Column("What was seen"), Column("What to do")),
        rows=tuple(rows),
        note=f"{hidden} more kinds of finding are not shown; advisor check lists all." if hidden else "",
        stacks=True,
    )
    return Section("Findings", anchor="findings", blocks=(table,))


def ended_badly_section(runs: Sequence[Run], *, named: Named = run_name) -> Section | None:
    """Return the failed and crashed runs by their cause; None where there are none."""
    if not runs:
        return None
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        groups.setdefault((str(run.state), one_line(cause(run), limit=300)), []).append(run)
    ordered = sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))
    rows = tuple(
        Row(
            (
                _cell(f"{state} ×{len(group)}" if len(group) > 1 else state),
                _names(group, named),
                _cell(why or "not recorded"),
            )
        )
        for (state, why), group in ordered[:MAX_CAUSES]
    )
    hidden = len(ordered) - len(rows)
    table = Table(
        "Runs that failed or crashed, by cause",
        columns=(Column("How it ended"), Column("Runs"), Column("Last line of the error")),
        rows=rows,
        note=f"{hidden} more causes are not shown." if hidden else "",
        stacks=True,
    )
    return Section("Runs that did not end well", anchor="failures", blocks=(table,))


def reproduce_blocks(run: Run, store_uri: str) -> tuple[Block, ...]:
    """Return what is needed to run it again: parameters, seed, code, data, commands."""
    known = provenance(run)
    items: list[Line] = [(Span("Run "), Span(run_name(run), kind="strong"), Span(", id "), *name(run.id))]
    items.append(plain("Seed: " + ("not recorded" if run.seed is None else str(run.seed))))
    items.append(_code_line(known.commit, known.branch, known.has_changes))
    items.append(plain("Data: " + ("; ".join(known.data) if known.data else "not recorded")))
    machine = [*([f"Python {known.python}"] if known.python else []), *known.packages[:6], *known.hardware]
    items.append(plain("Ran with: " + (", ".join(machine) if machine else "not recorded")))
    blocks: list[Block] = [Bullets(tuple(items))]
    if run.params:
        body = json.dumps(dict(run.params), indent=2, default=str, ensure_ascii=False)
        blocks.append(Code(body, caption="Parameters", language="json"))
    if known.command:
        checkout = f"git checkout {shlex.quote(known.commit)}\n" if known.commit else ""
        blocks.append(Code(checkout + known.command, caption="How it was started", language="sh"))
    show = f"advisor --store {shlex.quote(one_line(store_uri, limit=300))} show {shlex.quote(run.id)}"
    blocks.append(Code(show, caption="All that is recorded of it", language="sh"))
    return tuple(blocks)


def suggestions_section(
    suggestions: Sequence[Mapping[str, Any]], runs: Mapping[str, Run], objective: Objective | None, *, note: str = ""
) -> Section | None:
    """Return what to try next and why; None where nothing is suggested."""
    blocks: list[Block] = []
    for place, suggestion in enumerate(suggestions[:MAX_SUGGESTIONS], start=1):
        params = suggestion.get("params", {})
        shown = ", ".join(
            f"{one_line(str(key), limit=60)} = {numbers.parameter(value)}" for key, value in params.items()
        )
        head: list[Span] = [
            Span(f"{place}. " if len(suggestions) > 1 else ""),
            Span(shown or "no parameters", kind="strong"),
        ]
        blocks.append(Paragraph(tuple(span for span in head if span.text)))
        items: list[Line] = []
        if suggestion.get("why"):
            items.append(plain(one_line(_without(str(suggestion["why"]), note), limit=1200)))
        if objective is not None and suggestion.get("forecast"):
            items.append(plain(_forecast(suggestion["forecast"], objective)))
        learned = [runs[run_id] for run_id in suggestion.get("learned_from") or () if run_id in runs]
        if learned:
            items.append((Span("Learned from "), *_names(learned).line))
        if items:
            blocks.append(Bullets(tuple(items)))
    if not blocks:
        return None
    if note:
        blocks.append(Paragraph(plain(note), role="quiet"))
    return Section("What to try next", anchor="next", blocks=tuple(blocks))


def _without(why: str, note: str) -> str:
    """Return reasons without what is said below all suggestions anyway."""
    at = why.lower().find(note[:40].lower()) if note else -1
    return why if at < 0 else why[:at]


def absences_section(missing: Sequence[Absence]) -> Section:
    """Return what was not recorded, and what cannot be told because of it."""
    if not missing:
        text = "Everything that this program looks for was recorded."
        return Section("What was not recorded", anchor="gaps", blocks=(Paragraph(plain(text)),))
    items = tuple(
        (Span(item.text[:1].upper() + item.text[1:] + ".", kind="strong"), Span(f" {item.so}" if item.so else ""))
        for item in missing
    )
    return Section("What was not recorded", anchor="gaps", blocks=(Bullets(items),))


def notes_section(runs: Sequence[Run], *, named: Named = run_name) -> Section | None:
    """Return what people noted about the runs, word for word."""
    written = [(run, note) for run in runs for note in run.notes]
    if not written:
        return None
    blocks: list[Block] = [Quote(note, by=f"note on run {named(run)}") for run, note in written[:MAX_NOTES]]
    if len(written) > MAX_NOTES:
        blocks.append(Paragraph(plain(f"{len(written) - MAX_NOTES} more notes are not shown."), role="quiet"))
    return Section("Notes", anchor="notes", blocks=tuple(blocks))


def interpretation_section(opinions: Sequence[str], writer: str) -> Section | None:
    """Return a model's opinion, marked as such; None where it gave none."""
    if not opinions:
        return None
    warning = f"Opinion of {one_line(writer, limit=80)}. It holds no figures, and nobody has checked it."
    items = Bullets(tuple(plain(text) for text in opinions))
    blocks: tuple[Block, ...] = (Paragraph(plain(warning), role="quiet"), items)
    return Section("Interpretation (unverified)", anchor="interpretation", blocks=blocks, unverified=True)


def run_link(run: Run) -> Line:
    """Return a run's name and as much of its id as tells it apart."""
    short = run.id[:8] if _OWN_ID.fullmatch(run.id) else middle_cut(run.id, limit=18)
    return (Span(run_name(run), kind="strong"), Span(" "), Span(short, tone="quiet"))


def _cell(text: str) -> Cell:
    return Cell(plain(text))


def _names(runs: Sequence[Run], named: Named = run_name) -> Cell:
    shown = ", ".join(named(run) for run in runs[:MAX_RUNS_NAMED])
    hidden = len(runs) - MAX_RUNS_NAMED
    return _cell(shown + (f" and {hidden} more" if hidden > 0 else ""))


def _finding_row(
    group: Sequence[Finding], runs: Mapping[str, Run], advice: Mapping[str, str], *, of_one_run: bool, named: Named
) -> Row:
    worst = max(group, key=lambda finding: finding.severity.rank)
    tone = _SEVERITY_TONE[worst.severity]
    head = (Span(str(worst.severity), kind="strong", tone=tone), Span(" "), Span(worst.code))
    if of_one_run:
        steps = [one_line(finding.metric or "the run", limit=40) + _at(finding.step) for finding in group]
        where = _cell(", ".join(dict.fromkeys(steps)))
    else:
        known = {finding.run_id: runs[finding.run_id] for finding in group if finding.run_id in runs}
        where = _names(sorted(known.values(), key=lambda run: (run.experiment, run.number)), named)
    seen = list(dict.fromkeys(one_line(finding.title, limit=160) for finding in group))
    text = seen[0] + (f" (and {len(seen) - 1} alike)" if len(seen) > 1 else "")
    return Row((Cell(head), where, _cell(text), _cell(one_line(advice.get(worst.code, ""), limit=300) or "—")))


def _at(step: int | None) -> str:
    return "" if step is None else f" from step {step:,}"


def _code_line(commit: str | None, branch: str | None, has_changes: bool | None) -> Line:
    if commit is None:
        return plain("Code: not recorded")
    words = {
        True: "with uncommitted changes: the commit alone does not reproduce it",
        False: "without uncommitted changes",
        None: "whether it had uncommitted changes was not recorded",
    }[has_changes]
    on = (Span(" on "), *name(branch)) if branch else ()
    return (Span("Code: commit "), *name(commit[:12]), *on, Span(f", {words}"))


def _forecast(forecast: Mapping[str, Any], objective: Objective) -> str:
    figures = {
        key: numbers.figure(float(forecast[key])) for key in ("mean", "low", "high") if forecast.get(key) is not None
    }
    text = f"Forecast of {metric_of(objective)}: {figures.get('mean', 'unknown')}"
    return text + (f", between {figures['low']} and {figures['high']}" if {"low", "high"} <= figures.keys() else "")

"""Put a digest of a day, a week or any span of time together: what ended how, what got better, what needs a look.

Leaves out rendering and the store. Invariant: failures and open findings are told as early as improvements, and a span
in which nothing happened is said to be one.
"""

from __future__ import annotations

from collections.abc import Sequence

from advisor.documents import cells, frame, numbers, parts
from advisor.documents.content import (
    Bullets,
    Column,
    Line,
    Page,
    Section,
    Span,
    Tile,
    fill,
    plain,
)
from advisor.documents.fact import FactSheet
from advisor.documents.facts_of_digest import MAX_EXPERIMENTS, Happened, happened
from advisor.documents.material import DigestMaterial
from advisor.documents.untrusted import one_line
from advisor.documents.writer import Narrative
from storage.records import FindingState, Run, RunState, Severity

MAX_LINES = 15


def digest_page(material: DigestMaterial, sheet: FactSheet, text: Narrative) -> Page:
    """Return the content of a digest."""
    told = happened(material)
    everything = {run.id: run for each in material.activities for run in each.runs}
    found = [finding for each in told for finding in each.found]
    badly = [run for each in told for run in each.ended if run.state in (RunState.FAILED, RunState.CRASHED)]
    sections = (
        _improvements(told, sheet),
        _experiments(told, sheet),
        _attention(told),
        parts.findings_section(found, everything, material.advice, named=_full_name),
        parts.ended_badly_section(badly, named=_full_name),
        _running(material),
        _notes(told),
        _unclear(material),
        parts.interpretation_section(text.interpretation, text.writer),
    )
    subject = one_line(material.subject, limit=100)
    return Page(
        f"{_span_words(material)} of {subject}" if subject else _span_words(material),
        kicker="Digest",
        subtitle=f"{numbers.moment(material.since)} to {numbers.moment(material.until)}",
        opening=frame.opening(lead(sheet), caution(sheet), _tiles(sheet), "", sheet, text, ()),
        sections=tuple(section for section in sections if section is not None),
        footer=frame.footer(material, sheet, text),
    )


# -- what the program says


def lead(sheet: FactSheet) -> str:
    """Return the outcome of a span of time in one sentence."""
    if not sheet["n_experiments"].value:
        return "Nothing happened: no run was started, none ended, and nothing was found."
    runs = "{{n_ended}} run ended" if sheet["n_ended"].value == 1 else "{{n_ended}} runs ended"
    where = " in {{n_experiments}} experiments" if sheet["n_experiments"].value != 1 else " in {{exp_1}}"
    if not sheet["n_ended"].value:
        return "No run ended; {{n_started}} were started" + where + "."
    if sheet["n_improved"].value:
        one = sheet["n_improved"].value == 1
        tail = "{{n_improved}} of these has a better best." if one else "{{n_improved}} of these have a better best."
        single = "Its best got better." if sheet["n_experiments"].value == 1 else tail
        return f"{runs}{where}. {single}"
    return f"{runs}{where}, and no best got better."


def caution(sheet: FactSheet) -> str:
    """Return what needs a look, empty where nothing does."""
    parts_ = []
    if "bad_share" in sheet and sheet["bad_share"].value:
        parts_.append("{{bad_share}} of the ended runs failed or crashed")
    if "n_found_error" in sheet:
        word = "finding is an error" if sheet["n_found_error"].value == 1 else "findings are errors"
        parts_.append("{{n_found_error}} " + word)
    joined = ", and ".join(parts_)
    return joined[:1].upper() + joined[1:] + "." if joined else ""


def summary(sheet: FactSheet) -> tuple[str, ...]:
    """Return the paragraph below the lead."""
    said = []
    if sheet["n_ended"].value:
        words = [
            f"{{{{n_{state}}}}} {state}"
            for state in ("finished", "pruned", "failed", "crashed")
            if f"n_{state}" in sheet
        ]
        said.append("Of {{n_ended}} ended runs, " + ", ".join(words) + ".")
    if "duration_total" in sheet:
        said.append("Together they took {{duration_total}}.")
    if sheet["n_running"].value:
        said.append("Still running: {{n_running}}.")
    if sheet["n_found"].value:
        said.append("{{n_found}} findings were raised, {{n_open}} of these are open.")
    return tuple(said)


# -- parts


def _span_words(material: DigestMaterial) -> str:
    days = (material.until - material.since).total_seconds() / 86_400
    if abs(days - 1) < 0.01:
        return "Digest of a day"
    if abs(days - 7) < 0.05:
        return "Digest of a week"
    return f"Digest of {days:.0f} days" if days >= 1.5 else f"Digest of {max(days * 24, 1):.0f} hours"


def _full_name(run: Run) -> str:
    return one_line(f"{run.experiment}#{run.number}", limit=60)


def _tiles(sheet: FactSheet) -> list[Tile]:
    ended = f"{sheet['n_finished'].text} finished"
    failed = sheet["n_failed"].text
    tiles = [Tile("runs ended", value=sheet["n_ended"].text, detail=f"{ended}, {failed} failed")]
    improved = sheet["n_improved"]
    detail = f"of {sheet['n_experiments'].text} experiments"
    tiles.append(Tile("better best", value=improved.text, detail=detail, tone="good" if improved.value else "plain"))
    tone = "bad" if "n_found_error" in sheet else "warn" if "n_found_warning" in sheet else "plain"
    tiles.append(Tile("findings raised", value=sheet["n_found"].text, detail=f"{sheet['n_open'].text} open", tone=tone))  # type: ignore[arg-type]  # one of three literals
    tiles.append(Tile("still running", value=sheet["n_running"].text, detail=f"{sheet['n_started'].text} started"))
    return tiles


def _improvements(told: Sequence[Happened], sheet: FactSheet) -> Section | None:
    items: list[Line] = []
    for place, each in enumerate(told[:MAX_EXPERIMENTS], start=1):
        if not each.improved or f"exp_{place}_best" not in sheet:
            continue
        text = f"{{{{exp_{place}}}}}: {{{{exp_{place}_best}}}} by run {{{{exp_{place}_best_run}}}}"
        if f"exp_{place}_delta" in sheet:
            share = f", {{{{exp_{place}_delta_share}}}}" if f"exp_{place}_delta_share" in sheet else ""
            text += f", before {{{{exp_{place}_before}}}} ({{{{exp_{place}_delta}}}}{share})"
        else:
            text += ", where nothing could be ranked before"
        items.append(fill(text + ".", sheet))
    return Section("What got better", anchor="improved", blocks=(Bullets(tuple(items)),)) if items else None


def _experiments(told: Sequence[Happened], sheet: FactSheet) -> Section | None:
    if not told:
        return None
    rows = []
    for place, _ in enumerate(told[:MAX_EXPERIMENTS], start=1):
        keys = ("", "_ended", "_bad", "_found", "_before", "_best")
        rows.append(tuple(cells.of_fact(sheet, f"exp_{place}{key}") for key in keys))
    columns = (
        Column("Experiment"),
        Column("Runs ended", align="right"),
        Column("Failed or crashed", align="right"),
        Column("Findings", align="right"),
        Column("Best before", align="right"),
        Column("Best now", align="right"),
    )
    hidden = len(told) - len(rows)
    note = f"{hidden} more experiments are not shown; advisor digest EXP tells of one." if hidden > 0 else ""
    table = cells.table("Experiments in which something happened", columns, rows, note=note)
    return Section("By experiment", anchor="experiments", blocks=(table,))


def _attention(told: Sequence[Happened]) -> Section | None:
    """Return the open errors, which somebody should look at first."""
    runs = {run.id: run for each in told for run in each.activity.runs}
    urgent = [
        finding
        for each in told
        for finding in each.found
        if finding.state is FindingState.OPEN and finding.severity is Severity.ERROR
    ]
    items = [
        plain(f"{_full_name(runs[one.run_id])}: {one_line(one.title, limit=200)} ({one.code})")
        for one in urgent[:MAX_LINES]
    ]
    if len(urgent) > MAX_LINES:
        items.append(plain(f"and {len(urgent) - MAX_LINES} more; advisor check lists all"))
    return Section("Needs a look", anchor="attention", blocks=(Bullets(tuple(items)),)) if items else None


def _running(material: DigestMaterial) -> Section | None:
    going_on = [run for each in material.activities for run in each.runs if run.state is RunState.RUNNING]
    if not going_on:
        return None
    rows = []
    for run in sorted(going_on, key=lambda run: run.started or run.created)[:MAX_LINES]:
        steps = [figures["last_step"] for figures in run.summary.values() if figures.get("last_step") is not None]
        since = numbers.moment(run.started or run.created)
        last = numbers.count(int(max(steps))) if steps else cells.NOTHING
        rows.append((cells.of_text(_full_name(run)), cells.of_text(since), cells.of_text(last)))
    columns = (Column("Run"), Column("Started"), Column("Last step", align="right"))
    hidden = len(going_on) - len(rows)
    note = f"{hidden} more are not shown." if hidden else ""
    table = cells.table("Runs that go on", columns, rows, note=note)
    return Section("Still running", anchor="running", blocks=(table,))


def _notes(told: Sequence[Happened]) -> Section | None:
    runs = sorted((run for each in told for run in each.ended if run.notes), key=lambda run: run.ordinal)
    return parts.notes_section(runs, named=_full_name)


def _unclear(material: DigestMaterial) -> Section | None:
    """Return what cannot be told of the span because it was not recorded."""
    items: list[Line] = []
    unset = [each.experiment.name for each in material.activities if each.experiment.objective is None]
    if unset:
        names = ", ".join(one_line(name, limit=40) for name in unset[:8]) + (" …" if len(unset) > 8 else "")
        items.append((Span("An objective of " + names + ".", kind="strong"), Span(" No best can be named there.")))
    undated = sum(run.ended is None and run.state.is_over for each in material.activities for run in each.runs)
    if undated:
        text = f"When {numbers.count(undated)} runs ended."
        items.append((Span(text, kind="strong"), Span(" They count when they came into the store.")))
    return Section("What was not recorded", anchor="gaps", blocks=(Bullets(tuple(items)),)) if items else None

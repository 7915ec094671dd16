"""Put a summary of one run together: which sections, in which order.

Leaves out rendering and the store. Invariant: how the run ended, its findings and what was not recorded are
written by the program whatever a model wrote.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from advisor.documents import absences, cells, charts, frame, narrative, numbers, parts
from advisor.documents.content import (
    Block,
    Cell,
    Code,
    Column,
    Gallery,
    Line,
    Page,
    Paragraph,
    Row,
    Section,
    Span,
    Table,
    Tile,
    fill,
    name,
    plain,
)
from advisor.documents.fact import FactSheet, metric_of, run_name
from advisor.documents.facts_beside import changed, parent_of
from advisor.documents.material import RunMaterial
from advisor.documents.standing import Standing, standing
from advisor.documents.untrusted import one_line
from advisor.documents.writer import Narrative
from storage.records import Run, RunState

_STATE_TONE = {RunState.FINISHED: "plain", RunState.FAILED: "bad", RunState.CRASHED: "bad", RunState.PRUNED: "warn"}


def run_page(material: RunMaterial, sheet: FactSheet, text: Narrative) -> Page:
    """Return the content of a summary of one run."""
    run = material.run
    others = [other for other in material.siblings if other.id != run.id]
    where = standing(material.experiment, [*others, run])
    by_id = {one.id: one for one in where.runs}
    drawn = charts.run_curves(material, where)
    best = next((other for other in where.ranked if other.id != run.id), None)
    sections = (
        Section("More curves", anchor="curves", blocks=(Gallery(drawn[2:]),)) if len(drawn) > 2 else None,
        parts.findings_section(material.findings, by_id, material.advice, of_one_run=True),
        _error(run),
        _against(sheet),
        _parent(run, others, best),
        _metrics(run),
        _changes(run, best),
        _similar(material),
        Section("How to run it again", anchor="reproduce", blocks=parts.reproduce_blocks(run, material.store_uri)),
        parts.suggestions_section(material.suggestions, by_id, where.objective),
        parts.notes_section([run]),
        parts.absences_section(absences.of_run(run, material.experiment)),
        parts.interpretation_section(text.interpretation, text.writer),
    )
    return Page(
        f"Run {run_name(run)} of {one_line(material.experiment.name, limit=120)}",
        kicker="Run summary",
        subtitle=" · ".join([one_line(run.id, limit=80), *(one_line(tag, limit=40) for tag in run.tags[:6])]),
        opening=frame.opening(
            narrative.run_lead(sheet, where, run),
            narrative.run_caution(sheet, where, material.run),
            _run_tiles(run, where, sheet),
            "",
            sheet,
            text,
            drawn[:2],
        ),
        sections=tuple(section for section in sections if section is not None),
        footer=frame.footer(material, sheet, text),
    )


def _run_tiles(run: Run, where: Standing, sheet: FactSheet) -> list[Tile]:
    tone: Any = _STATE_TONE.get(run.state, "plain")
    tiles = []
    if where.objective is not None and "objective" in sheet:
        rank = f"rank {sheet['rank'].text} of {sheet['n_ranked'].text}" if "rank" in sheet else "not ranked"
        good = "good" if sheet.get("rank") and sheet["rank"].value == 1 else "plain"
        tiles.append(Tile(metric_of(where.objective), value=sheet["objective"].text, detail=rank, tone=good))  # type: ignore[arg-type]  # one of two literals
    if "best_other" in sheet:
        detail = f"run {sheet['best_other_run'].text}"
        tiles.append(Tile("best other run", value=sheet["best_other"].text, detail=detail))
    tiles.append(
        Tile(
            "state",
            value=str(run.state),
            detail=f"last step {sheet['last_step'].text}" if "last_step" in sheet else "",
            tone=tone,
        )
    )
    if "duration" in sheet:
        detail = f"median of others {sheet['duration_median'].text}" if "duration_median" in sheet else ""
        tiles.append(Tile("duration", value=sheet["duration"].text, detail=detail))
    tiles.append(frame.findings_tile(sheet))
    return tiles


def _error(run: Run) -> Section | None:
    if not run.error:
        return None
    lines = run.error.strip().splitlines()
    shown = "\n".join(lines[-25:])
    caption = f"The last 25 of {len(lines)} lines" if len(lines) > 25 else "What was kept of the error"
    return Section("Why it ended", anchor="error", blocks=(Code(shown, caption=caption),))


def _metrics(run: Run) -> Section | None:
    if not run.summary:
        return None
    keys = (("first", "First"), ("last", "Last"), ("min", "Lowest"), ("max", "Highest"))
    rows = []
    for metric in sorted(run.summary)[:40]:
        figures = run.summary[metric]
        cells = [Cell(name(one_line(metric, limit=60)))]
        for key, _ in keys:
            value = figures.get(key)
            at = figures.get(f"{key}_step")
            text = "—" if value is None else numbers.figure(float(value))
            cells.append(
                Cell((Span(text, kind="figure"), *((Span(f" at {at:,}", tone="quiet"),) if at is not None else ())))
            )
        cells.append(Cell(plain(numbers.count(int(figures.get("n") or 0)))))
        lost = int(figures.get("n_nonfinite") or 0)
        cells.append(Cell((Span(numbers.count(lost), tone="bad" if lost else "quiet"),)))
        rows.append(Row(tuple(cells)))
    columns = (Column("Metric"), *(Column(title, align="right") for _, title in keys), Column("Points", align="right"))
    hidden = len(run.summary) - len(rows)
    table = Table(
        "Metrics of this run",
        columns=(*columns, Column("Not finite", align="right")),
        rows=tuple(rows),
        note=f"{hidden} more metrics are not shown." if hidden else "",
    )
    return Section("Metrics", anchor="metrics", blocks=(table,))


def _against(sheet: FactSheet) -> Section | None:
    """Return how the run's objective compares with that of others."""
    known = (
        ("baseline", "The first run", "baseline"),
        (
            "parent",
            f"The {sheet['parent_run'].label} ({sheet['parent_run'].text})" if "parent_run" in sheet else "",
            "",
        ),
        ("best_other", "The best other run", "best_other"),
        ("median_other", "The median of the others", "median_other"),
    )
    rows = [
        (
            cells.of_text(words),
            cells.of_fact(sheet, value or "parent_value"),
            cells.of_fact(sheet, f"delta_{key}"),
            cells.of_fact(sheet, f"delta_{key}_share"),
        )
        for key, words, value in known
        if f"delta_{key}" in sheet
    ]
    if not rows:
        return None
    columns = (Column("Against"), *(Column(title, align="right") for title in ("Its value", "Difference", "in %")))
    blocks: list[Block] = [cells.table("The objective against that of other runs", columns, rows)]
    if "beaten_share" in sheet:
        blocks.append(Paragraph(fill("It beats {{beaten_share}} of the other ranked runs.", sheet), role="quiet"))
    return Section("Against the other runs", anchor="against", blocks=tuple(blocks))


def _parent(run: Run, others: Sequence[Run], best: Run | None) -> Section | None:
    """Return what was changed from the run that it came from, or the earlier run that it is closest to."""
    parent, called = parent_of(run, others)
    if parent is None or (best is not None and parent.id == best.id):
        return None  # told below, as the difference to the best other run
    names = changed(run, parent)
    title = f"What changed from the {called}, {run_name(parent)}"
    if not names:
        text = "No parameter: it is a repeat."
        return Section(title, anchor="parent", blocks=(Paragraph(plain(text)),))
    rows = tuple(
        Row((Cell(name(one_line(key, limit=60))), Cell(_value(parent, key)), Cell(_value(run, key))))
        for key in names[:30]
    )
    columns = (Column("Parameter"), Column(f"Run {run_name(parent)}", align="right"), Column("This run", align="right"))
    note = f"{len(names) - 30} more are not shown." if len(names) > 30 else ""
    table = Table("Parameters that were changed", columns=columns, rows=rows, note=note)
    return Section(title, anchor="parent", blocks=(table,))


def _changes(run: Run, best: Run | None) -> Section | None:
    if best is None:
        return None
    names = [key for key in dict.fromkeys([*run.params, *best.params]) if run.params.get(key) != best.params.get(key)]
    title = "What differs from the best other run"
    if not names:
        text = (
            f"Nothing: run {run_name(best)} has the same parameters; as far as is recorded, the two differ by chance."
        )
        return Section(title, anchor="changes", blocks=(Paragraph(plain(text)),))
    rows = tuple(
        Row((Cell(name(one_line(key, limit=60))), Cell(_value(run, key)), Cell(_value(best, key))))
        for key in names[:30]
    )
    columns = (Column("Parameter"), Column("This run", align="right"), Column(f"Run {run_name(best)}", align="right"))
    note = f"{len(names) - 30} more are not shown." if len(names) > 30 else ""
    return Section(
        title, anchor="changes", blocks=(Table("Parameters that differ", columns=columns, rows=rows, note=note),)
    )


def _value(run: Run, key: str) -> Line:
    return plain(numbers.parameter(run.params[key]) if key in run.params else "—")


def _similar(material: RunMaterial) -> Section | None:
    if not material.similar:
        return None
    rows = tuple(
        Row(
            (
                Cell(parts.run_link(run)),
                Cell(plain(str(run.state))),
                Cell(plain("—" if run.objective is None else numbers.figure(run.objective))),
                Cell(plain(one_line(why, limit=200))),
            )
        )
        for run, why in material.similar[:8]
    )
    columns = (Column("Run", nowrap=True), Column("State"), Column("Objective", align="right"), Column("Why"))
    return Section("Similar runs", anchor="similar", blocks=(Table("Runs like this one", columns=columns, rows=rows),))

"""Put a report on an experiment together: which sections, in which order.

Leaves out rendering and the store. Invariant: the outcome, the failures and what was not recorded are
written by the program whatever a model wrote.
"""

from __future__ import annotations

from collections.abc import Sequence

from advisor.documents import absences, charts, frame, narrative, numbers, parts
from advisor.documents.advice import advice_section
from advisor.documents.content import (
    Block,
    Cell,
    Column,
    Gallery,
    Page,
    Paragraph,
    Row,
    Section,
    Span,
    Table,
    Tile,
    name,
    plain,
)
from advisor.documents.fact import FactSheet, metric_of, run_name
from advisor.documents.material import ExperimentMaterial
from advisor.documents.narrative import ENOUGH_RUNS
from advisor.documents.standing import Standing, constant, standing, varied
from advisor.documents.untrusted import one_line
from advisor.documents.writer import Narrative
from storage.records import Run

MAX_ROWS = 12
"""Runs in the table of results."""
MAX_FRONT = 10
"""Runs in the table of the front."""
MAX_NOTE = 500
"""Characters of how a space was inferred."""
MAX_COLUMNS = 6
"""Parameters in the table of results."""


def experiment_page(material: ExperimentMaterial, sheet: FactSheet, text: Narrative) -> Page:
    """Return the content of a report on an experiment."""
    where = standing(material.experiment, material.runs)
    by_id = {run.id: run for run in material.runs}
    hero = [
        picture
        for picture in (charts.experiment_curves(material, where), charts.experiment_progress(material, where))
        if picture
    ]
    missing = absences.of_experiment(material)
    note = " ".join(_shortened(item) for item in material.inferred_notes)
    sections = (
        _front(material, where),
        _results(material, where),
        _parameters(material, where),
        _best(where, material.store_uri),
        parts.findings_section(material.findings, by_id, material.advice),
        parts.ended_badly_section(where.ended_badly),
        parts.suggestions_section(material.suggestions, by_id, where.objective, note=note),
        advice_section(material, sheet),
        parts.notes_section(where.runs),
        parts.absences_section(missing),
        parts.interpretation_section(text.interpretation, text.writer),
    )
    return Page(
        one_line(material.experiment.name, limit=120) or "(no name)",
        kicker="Experiment report",
        subtitle=_subtitle(material, where),
        opening=frame.opening(
            narrative.experiment_lead(sheet),
            narrative.experiment_caution(sheet, where),
            _experiment_tiles(where, sheet),
            material.experiment.description,
            sheet,
            text,
            hero,
        ),
        sections=tuple(section for section in sections if section is not None),
        footer=frame.footer(material, sheet, text),
    )


def _shortened(note: str) -> str:
    """Return how a space was inferred, cut between two parameters where it is long."""
    whole = one_line(note, limit=20_000)
    if len(whole) <= MAX_NOTE:
        return whole
    return f"{whole[: whole.rfind(';', 0, MAX_NOTE)]}; and so on, advisor experiment says all of it)"


def _subtitle(material: ExperimentMaterial, where: Standing) -> str:
    objectives = where.experiment.objectives
    aim = ", ".join(f"{each.direction} {metric_of(each)}" for each in objectives) or "no objective is set"
    return f"{aim} · {numbers.count(len(material.runs))} {'run' if len(material.runs) == 1 else 'runs'}"


def _experiment_tiles(where: Standing, sheet: FactSheet) -> list[Tile]:
    tiles = []
    if where.objective is not None and "best" in sheet:
        metric = metric_of(where.objective)
        detail = f"run {sheet['best_run'].text}"
        tiles.append(Tile(f"best {metric}", value=sheet["best"].text, detail=detail, tone="good"))
        if "n_front" in sheet:
            front = sheet["n_front"]
            detail = "no other run beats them in every objective" if front.number != 1 else "no other run beats it"
            tiles.insert(0, Tile("on the front", value=front.text, detail=detail))
        elif "gain" in sheet and sheet["gain"].value:
            word = "below" if where.objective.direction == "minimize" else "above"
            value = sheet["gain_share"].text if "gain_share" in sheet else sheet["gain"].text
            tiles.append(Tile(f"{word} the first run", value=value, detail=f"which had {sheet['baseline'].text}"))
    failed = len(where.ended_badly)
    finished = sheet["n_finished"].text
    detail = f"{finished} finished" + (f", {numbers.count(failed)} failed or crashed" if failed else "")
    tiles.append(Tile("runs", value=sheet["n_runs"].text, detail=detail))
    tiles.append(frame.findings_tile(sheet))
    if len(tiles) < 4 and "median" in sheet:
        tiles.append(Tile("median", value=sheet["median"].text, detail="of the ranked runs"))
    return tiles


def _front(material: ExperimentMaterial, where: Standing) -> Section | None:
    """Return the runs that no other one beats, with the value of each objective; None where there is one objective."""
    if not where.has_several or not where.front:
        return None
    shown = where.front[:MAX_FRONT]
    names = _moving(material, where)[:MAX_COLUMNS]
    columns = [Column("Run", nowrap=True)]
    columns += [Column(f"{metric_of(each)} ({each.direction})", align="right") for each in where.experiment.objectives]
    columns += [Column(one_line(key, limit=24), align="right" if _numeric(shown, key) else "left") for key in names]
    rows = tuple(
        Row(
            (
                Cell(parts.run_link(run)),
                *(Cell((Span(numbers.figure(value), kind="figure"),)) for value in run.values),
                *(_parameter_cell(run, key) for key in names),
            )
        )
        for run in shown
    )
    more = len(where.front) - len(shown)
    note = f"{numbers.count(more)} more are not shown; advisor runs EXP --front lists all." if more else ""
    table = Table("Runs that no other run beats in every objective", columns=tuple(columns), rows=rows, note=note)
    return Section("The front", anchor="front", blocks=(table,))


def _moving(material: ExperimentMaterial, where: Standing) -> list[str]:
    """Return the parameters that differ between runs, the most important first."""
    return sorted(varied(where.runs), key=lambda key: -(material.importances or {}).get(key, 0.0))


def _parameter_cell(run: Run, key: str) -> Cell:
    return Cell(plain(numbers.parameter(run.params[key], limit=24) if key in run.params else "—"))


def _results(material: ExperimentMaterial, where: Standing) -> Section | None:
    shown = list(where.ranked[:MAX_ROWS]) or list(where.runs[:MAX_ROWS])
    if not shown:
        return None
    ranked = bool(where.ranked)
    moving = _moving(material, where)
    names = moving[:MAX_COLUMNS]
    metric = metric_of(where.objective) if where.objective else ""
    columns = [Column("Rank" if ranked else "Run", align="left")]
    columns += [Column("Run", nowrap=True), Column(metric, align="right")] if ranked else [Column("State")]
    further = where.experiment.objectives[1:] if ranked else ()
    columns += [Column(metric_of(each), align="right") for each in further]
    columns += [Column(one_line(key, limit=24), align="right" if _numeric(shown, key) else "left") for key in names]
    columns += [Column("Seed", align="right")] if any(run.seed is not None for run in shown) else []
    columns += [Column("Duration", align="right")] if any(run.duration_s is not None for run in shown) else []
    rows = tuple(_result_row(run, place, where, names, columns) for place, run in enumerate(shown, start=1))
    total = len(where.ranked) if ranked else len(where.runs)
    note = (
        f"{numbers.count(total - len(shown))} more are not shown; advisor runs lists all." if total > len(shown) else ""
    )
    best = f"Best runs by {metric}" if where.has_several else "Best runs"
    caption = best if ranked else "Runs by number"
    blocks: list[Block] = [Table(caption, columns=tuple(columns), rows=rows, note=note)]
    fixed = constant(where.runs)
    if fixed:
        listed = ", ".join(
            f"{one_line(key, limit=40)} = {numbers.parameter(value)}" for key, value in list(fixed.items())[:12]
        )
        blocks.append(Paragraph(plain(f"The same in all runs: {listed}."), role="quiet"))
    if len(moving) > MAX_COLUMNS:
        hidden = ", ".join(one_line(key, limit=40) for key in moving[MAX_COLUMNS : MAX_COLUMNS + 12])
        blocks.append(Paragraph(plain(f"Parameters without a column: {hidden}."), role="quiet"))
    return Section("Results", anchor="results", blocks=tuple(blocks))


def _result_row(run: Run, place: int, where: Standing, names: Sequence[str], columns: Sequence[Column]) -> Row:
    ranked = bool(where.ranked)
    cells = [Cell(plain(str(where.rank(run) if ranked else run_name(run))))]
    if ranked:
        cells.append(Cell(parts.run_link(run)))
        cells += [Cell((Span(numbers.figure(value), kind="figure"),)) for value in run.values]
    else:
        cells.append(Cell(plain(str(run.state))))
    cells += [_parameter_cell(run, key) for key in names]
    titles = {column.title for column in columns}
    if "Seed" in titles:
        cells.append(Cell(plain("—" if run.seed is None else str(run.seed))))
    if "Duration" in titles:
        cells.append(Cell(plain("—" if run.duration_s is None else numbers.duration(run.duration_s))))
    return Row(tuple(cells), highlight=ranked and place == 1)


def _numeric(runs: Sequence[Run], key: str) -> bool:
    values = [run.params.get(key) for run in runs]
    return all(value is None or (isinstance(value, (int, float)) and not isinstance(value, bool)) for value in values)


def _parameters(material: ExperimentMaterial, where: Standing) -> Section | None:
    if not where.ranked:
        return None
    blocks: list[Block] = []
    if len(where.ranked) < ENOUGH_RUNS:
        n = numbers.count(len(where.ranked))
        blocks.append(Paragraph(plain(f"Not enough runs to tell which parameter matters: {n} can be ranked.")))
    elif material.importances:
        blocks.append(_importance_table(material, where))
    else:
        why = one_line(material.importances_note, limit=300) or "It was not estimated which parameter matters."
        blocks.append(Paragraph(plain(why), role="quiet"))
    drawn = charts.parameter_pictures(material, where)
    if drawn:
        blocks.append(Gallery(drawn))
    title = "Parameters that mattered" if material.importances else "Parameters"
    return Section(title, anchor="parameters", blocks=tuple(blocks))


def _importance_table(material: ExperimentMaterial, where: Standing) -> Table:
    metric = _metric_of_several(where)
    ordered = sorted((material.importances or {}).items(), key=lambda item: (-item[1], item[0]))
    ends = material.importance_ends
    rows = tuple(
        Row(
            (
                Cell(name(one_line(key, limit=60))),
                Cell((Span(numbers.percent(share), kind="figure"),), share=_clamped(share)),
                *((Cell(plain(_interval(ends.get(key)))),) if ends else ()),
            )
        )
        for key, share in ordered[:MAX_ROWS]
    )
    return Table(
        f"Share of the variation in {metric}, by parameter"
        if metric
        else "Share of the objective's variation, by parameter",
        columns=(Column("Parameter"), Column("Share", bar=True), *((Column("95% interval"),) if ends else ())),
        rows=rows,
        note=one_line(material.importances_note, limit=500),
    )


def _interval(ends: tuple[float, float] | None) -> str:
    return "—" if ends is None else f"{numbers.percent(ends[0])} to {numbers.percent(ends[1])}"


def _clamped(share: float) -> float:
    return min(max(share, 0.0), 1.0) if share == share else 0.0


def _metric_of_several(where: Standing) -> str:
    """Return what the runs are ranked by, where there are several objectives and it must be said."""
    return metric_of(where.objective) if where.objective is not None and where.has_several else ""


def _best(where: Standing, store_uri: str) -> Section | None:
    if where.best is None:
        return None
    metric = _metric_of_several(where)
    which = f"The run with the best {metric}" if metric else "The best run"
    blocks = parts.reproduce_blocks(where.best, store_uri)
    return Section(f"{which}, and how to run it again", anchor="best", blocks=blocks)

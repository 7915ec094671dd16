"""Put a comparison of two runs, or of two experiments, together: the difference first, then what it may come from.

Leaves out rendering and the store. Invariant: which of the two is better, and whether chance may explain it, is said by
the program whatever a model wrote.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from advisor.documents import absences, cells, frame, numbers, parts, pictures
from advisor.documents.content import (
    Block,
    Bullets,
    Cell,
    Column,
    Gallery,
    Line,
    Page,
    Paragraph,
    Picture,
    Section,
    Tile,
    Tone,
    plain,
)
from advisor.documents.fact import FactSheet, metric_of
from advisor.documents.facts_of_comparison import (
    MAX_CHANGES,
    comparable,
    differing_parameters,
    metrics_of,
    name_in,
)
from advisor.documents.material import ExperimentComparison, RunComparison
from advisor.documents.narrative import REPEATS_AGREE
from advisor.documents.pictures import CurveLine, Role
from advisor.documents.provenance import provenance
from advisor.documents.standing import Standing, constant, standing, value_of, varied
from advisor.documents.untrusted import one_line
from advisor.documents.writer import Narrative
from storage.records import Finding, FindingState, Objective, Run

MAX_PICTURES = 4
ACROSS = (
    "The two are of different experiments, so their values may not be comparable, and whether chance explains the "
    "difference cannot be told."
)


def run_comparison_page(material: RunComparison, sheet: FactSheet, text: Narrative) -> Page:
    """Return the content of a comparison of two runs."""
    where = standing(material.experiment, material.siblings)
    drawn = _curves(material, where.objective)
    sections = (
        Section("More curves", anchor="curves", blocks=(Gallery(drawn[2:]),)) if len(drawn) > 2 else None,
        _changes(material, sheet),
        _metrics(material, sheet, where.objective),
        _surroundings(material),
        _findings(material),
        parts.absences_section(absences.of_run_pair(material, where)),
        parts.interpretation_section(text.interpretation, text.writer),
    )
    a, b = sheet["a_run"].text, sheet["b_run"].text
    place = f" in {one_line(material.experiment.name, limit=80)}" if a.startswith("#") else ""
    return Page(
        f"Run {b} against run {a}",
        kicker="Comparison of two runs",
        subtitle=f"what changed from run {a} to run {b}{place}",
        opening=frame.opening(
            run_lead(sheet, where.objective),
            run_caution(sheet, material, where),
            _run_tiles(sheet, material, where.objective),
            "",
            sheet,
            text,
            drawn[:2],
        ),
        sections=tuple(section for section in sections if section is not None),
        footer=frame.footer(material, sheet, text),
    )


# -- what the program says


def run_lead(sheet: FactSheet, objective: Objective | None) -> str:
    """Return the outcome of a comparison of two runs in one sentence."""
    if objective is None or "delta" not in sheet:
        return "Runs {{a_run}} ({{a_state}}) and {{b_run}} ({{b_state}}) cannot be ranked against each other."
    before, after = sheet["a_value"].number, sheet["b_value"].number
    assert before is not None  # the difference is on the sheet
    assert after is not None
    if not np.isfinite(before) or not np.isfinite(after):
        return "Run {{b_run}} has {{metric}} {{b_value}}, run {{a_run}} {{a_value}}: they cannot be ranked."
    if before == after:
        return "Runs {{a_run}} and {{b_run}} have the same {{metric}}, {{b_value}}."
    share = ", {{delta_share}}" if "delta_share" in sheet else ""
    word = "better" if objective.better(after, before) else "worse"
    return (
        "Run {{b_run}} has {{metric}} {{b_value}}, " + word + " than run {{a_run}} with {{a_value}} ({{delta}}"
        f"{share})."
    )


def run_caution(sheet: FactSheet, material: RunComparison, where: Standing) -> str:
    """Return how far the difference can be trusted."""
    unranked = [
        f"run {{{{{side}_run}}}} is {run.state}"
        for side, run, record in (("a", material.a, material.experiment), ("b", material.b, material.other))
        if not record.ranks(run)
    ]
    apart = ACROSS if material.is_across and "delta" in sheet else ""
    if unranked:
        return f"Take the difference with care: {' and '.join(unranked)}, and is not ranked. {apart}".strip()
    if "delta" not in sheet:
        return ""
    if apart:
        return apart
    if where.repeats_agree:
        return REPEATS_AGREE + "."
    if where.noise is None:
        return "No configuration near the best was run twice: the difference may be noise."
    change = sheet["delta"].number
    assert change is not None  # a difference is a number
    if where.is_beyond_noise(abs(change)):
        return (
            "The difference is more than chance between repeats would explain (their standard deviation is {{noise}})."
        )
    return "The difference may be chance: repeats of a configuration have a standard deviation of {{noise}}."


def run_summary(sheet: FactSheet, *, is_across: bool = False) -> tuple[str, ...]:
    """Return the paragraph below the lead of a comparison of two runs."""
    said = []
    if "a_rank" in sheet and "b_rank" in sheet and not is_across:
        said.append("Of {{n_ranked}} ranked runs they have ranks {{a_rank}} and {{b_rank}}.")
    changed = sheet["n_changed"].value
    if changed == 1:
        said.append("{{n_changed}} parameter differs, {{n_same}} are the same.")
    elif changed == 0 and is_across:
        said.append("All {{n_same}} parameters are the same.")
    elif changed == 0:
        said.append("All {{n_same}} parameters are the same: as far as is recorded, chance made the difference.")
    else:
        said.append("{{n_changed}} parameters differ, {{n_same}} are the same.")
    if "duration_share" in sheet:
        said.append("Run {{b_run}} took {{b_duration}}, where run {{a_run}} took {{a_duration}}.")
    if sheet["a_n_findings"].value or sheet["b_n_findings"].value:
        said.append("Findings: {{a_n_findings}} in run {{a_run}}, {{b_n_findings}} in run {{b_run}}.")
    return tuple(said)


# -- parts


def _run_tiles(sheet: FactSheet, material: RunComparison, objective: Objective | None) -> list[Tile]:
    tiles = []
    within = " in its experiment" if material.is_across else ""
    if objective is not None:
        for side in ("b", "a"):
            if f"{side}_value" in sheet:
                rank = f", rank {sheet[f'{side}_rank'].text}{within}" if f"{side}_rank" in sheet else ", not ranked"
                detail = f"{sheet[f'{side}_state'].text}{rank}"
                label = f"{metric_of(objective)} of run {sheet[f'{side}_run'].text}"
                tiles.append(Tile(label, value=sheet[f"{side}_value"].text, detail=detail))
    if objective is not None and "delta" in sheet:
        change = sheet["delta"].number or 0.0
        better = change != 0 and objective.better(change, 0.0)
        word = "no difference" if change == 0 or change != change else "better" if better else "worse"
        detail = f"{sheet['delta_share'].text}, {word}" if "delta_share" in sheet else word
        tones: dict[str, Tone] = {"better": "good", "worse": "warn"}
        tiles.append(Tile("difference", value=sheet["delta"].text, detail=detail, tone=tones.get(word, "plain")))
    tiles.append(
        Tile("parameters that differ", value=sheet["n_changed"].text, detail=f"{sheet['n_same'].text} the same")
    )
    return tiles


def _curves(material: RunComparison, objective: Objective | None) -> tuple[Picture, ...]:
    alone = not material.is_across
    own_a, own_b = (material.curves.get(run.id, {}) for run in (material.a, material.b))
    drawn: list[Picture] = []
    roles: tuple[Role, Role] = ("second", "best")
    for metric in metrics_of(material.a, material.b, objective):
        lines = [
            CurveLine(f"run {name_in(run, alone=alone)}", steps=own[metric].steps, values=own[metric].values, role=role)
            for run, own, role in zip((material.a, material.b), (own_a, own_b), roles, strict=True)
            if len(own.get(metric, ()))
        ]
        if not lines or max(len(line.steps) for line in lines) < 2:
            continue
        shown = one_line(metric, limit=60)
        names = " and ".join(line.label for line in lines)
        alt = f"{shown} over the steps of {names}."
        drawn.append(pictures.draw_curves(f"pair-{len(drawn) + 1}", lines, metric=shown, alt=alt, title=shown))
        if len(drawn) == MAX_PICTURES:
            break
    return tuple(drawn)


def _changes(material: RunComparison, sheet: FactSheet) -> Section:
    names = differing_parameters(material.a, material.b)
    title = "What changed"
    if not names:
        text = "No parameter differs."
        return Section(title, anchor="changes", blocks=(Paragraph(plain(text)),))
    rows = [
        (cells.of_name(key), cells.of_fact(sheet, f"a_set_{place}"), cells.of_fact(sheet, f"b_set_{place}"))
        for place, key in enumerate(names[:MAX_CHANGES], start=1)
    ]
    hidden = len(names) - len(rows)
    table = cells.table(
        "Parameters that differ",
        (Column("Parameter"), *_side_columns(sheet)),
        rows,
        note=f"{hidden} more are not shown; advisor show lists all." if hidden else "",
    )
    return Section(title, anchor="changes", blocks=(table,))


def _metrics(material: RunComparison, sheet: FactSheet, objective: Objective | None) -> Section | None:
    names = metrics_of(material.a, material.b, objective)
    if not names:
        return None
    rows = []
    for place, metric in enumerate(names, start=1):
        keys = (f"a_last_{place}", f"b_last_{place}", f"delta_last_{place}", f"delta_last_{place}_share")
        rows.append((cells.of_name(metric), *(cells.of_fact(sheet, key) for key in keys)))
    total = len({*material.a.summary, *material.b.summary})
    columns = (Column("Metric"), *_side_columns(sheet), Column("Change", align="right"), Column("in %", align="right"))
    note = f"{total - len(names)} more metrics are not shown." if total > len(names) else ""
    return Section("Last values", anchor="metrics", blocks=(cells.table("Metrics", columns, rows, note=note),))


def _side_columns(sheet: FactSheet) -> tuple[Column, Column]:
    a, b = (Column(f"Run {sheet[key].text}", align="right") for key in ("a_run", "b_run"))
    return a, b


def _surroundings(material: RunComparison) -> Section:
    """Return what else differs between two runs: code, data, seed, machine, versions."""
    known = [provenance(run) for run in (material.a, material.b)]
    items: list[Line] = []
    seeds = [run.seed for run in (material.a, material.b)]
    pairs = (
        ("Seed", [None if seed is None else str(seed) for seed in seeds]),
        ("Code", [one.commit and one.commit[:12] for one in known]),
        ("Data", ["; ".join(one.data) or None for one in known]),
        ("Python", [one.python for one in known]),
        ("Packages", [", ".join(one.packages) or None for one in known]),
        ("Hardware", [", ".join(one.hardware) or None for one in known]),
        ("Command", [one.command for one in known]),
    )
    for what, (first, second) in pairs:
        items.append(plain(_told_apart(what, first, second)))
    if any(one.has_changes for one in known):
        items.append(plain("Code with uncommitted changes took part: the commits alone do not tell what differs."))
    return Section("What else may differ", anchor="surroundings", blocks=(Bullets(tuple(items)),))


def _told_apart(what: str, first: str | None, second: str | None) -> str:
    if first is None and second is None:
        return f"{what}: not recorded"
    if first == second:
        return f"{what}: the same, {first}"
    return f"{what}: {first or 'not recorded'} → {second or 'not recorded'}"


def _findings(material: RunComparison) -> Section | None:
    sides = [
        {finding.code: finding for finding in run.findings if finding.state is not FindingState.RESOLVED}
        for run in (material.a, material.b)
    ]
    codes = sorted({*sides[0], *sides[1]})
    if not codes:
        return None
    rows = [(cells.of_text(code), *(_finding_cell(side.get(code)) for side in sides)) for code in codes]
    alone = material.a.experiment == material.b.experiment
    names = [f"Run {name_in(run, alone=alone)}" for run in (material.a, material.b)]
    columns = (Column("Finding"), *(Column(name) for name in names))
    return Section("Findings", anchor="findings", blocks=(cells.table("Findings of the two", columns, rows),))


def _finding_cell(finding: Finding | None) -> Cell:
    return cells.of_text("none" if finding is None else finding.title, limit=160)


# -- two experiments


def experiment_comparison_page(material: ExperimentComparison, sheet: FactSheet, text: Narrative) -> Page:
    """Return the content of a comparison of two experiments."""
    sides = [standing(material.a, material.runs_a), standing(material.b, material.runs_b)]
    drawn = _progress(material, sides)
    sections = (
        _outcomes(sheet),
        _ranges(material, sides),
        _best_configurations(sides, sheet),
        parts.absences_section(absences.of_experiment_pair(material)),
        parts.interpretation_section(text.interpretation, text.writer),
    )
    a, b = sheet["a_name"].text, sheet["b_name"].text
    return Page(
        f"{b} against {a}",
        kicker="Comparison of two experiments",
        subtitle=f"what {b} found, held against {a}",
        opening=frame.opening(
            experiment_lead(sheet, sides),
            experiment_caution(sheet, sides),
            _experiment_tiles(sheet, sides),
            "",
            sheet,
            text,
            drawn,
        ),
        sections=tuple(section for section in sections if section is not None),
        footer=frame.footer(material, sheet, text),
    )


def experiment_lead(sheet: FactSheet, sides: Sequence[Standing]) -> str:
    """Return the outcome of a comparison of two experiments in one sentence."""
    objective = sides[0].objective
    if "delta_best" not in sheet or objective is None:
        return "{{a_name}} and {{b_name}} cannot be ranked against each other: they share no objective with results."
    before, after = sheet["a_best"].number or 0.0, sheet["b_best"].number or 0.0
    if before == after:
        return "The best {{metric}} of both is the same, {{b_best}}."
    word = "better" if objective.better(after, before) else "worse"
    share = ", {{delta_best_share}}" if "delta_best_share" in sheet else ""
    return (
        "The best {{metric}} of {{b_name}} is {{b_best}}, " + word + " than the {{a_best}} of {{a_name}} "
        "({{delta_best}}" + share + ")."
    )


def experiment_caution(sheet: FactSheet, sides: Sequence[Standing]) -> str:
    """Return how far the order of two experiments can be trusted."""
    if "delta_best" not in sheet:
        return ""
    noises = [where.noise for where in sides]
    change = abs(sheet["delta_best"].number or 0.0)
    if any(noise is None for noise in noises):
        return "In at least one of them no repeats tell how large chance is: the difference may be noise."
    if all(where.is_beyond_noise(change) for where in sides):
        return "The difference is more than chance between repeats would explain, in both."
    return "The difference may be chance: repeats have standard deviations of {{a_noise}} and {{b_noise}}."


def experiment_summary(sheet: FactSheet) -> tuple[str, ...]:
    """Return the paragraph below the lead of a comparison of two experiments."""
    said = []
    if "delta_median" in sheet:
        said.append("The medians are {{a_median}} in {{a_name}} and {{b_median}} in {{b_name}} ({{delta_median}}).")
    if "superiority" in sheet:
        said.append("Of all pairs of ranked runs, that of {{b_name}} is the better one in {{superiority}}.")
    if "n_equal" in sheet:
        said.append(
            "After {{n_equal}} ranked runs each, the best of {{a_name}} was {{a_best_early}}, "
            "that of {{b_name}} {{b_best_early}}."
        )
    said.append("{{a_name}} has {{a_n_runs}} runs, {{b_name}} {{b_n_runs}}.")
    said.append("Failed, crashed or diverged: {{a_n_bad}} in {{a_name}}, {{b_n_bad}} in {{b_name}}.")
    return tuple(said)


def _experiment_tiles(sheet: FactSheet, sides: Sequence[Standing]) -> list[Tile]:
    tiles = []
    for side, where in zip(("b", "a"), reversed(sides), strict=True):
        if f"{side}_best" in sheet and where.objective is not None:
            detail = f"{metric_of(where.objective)}, run {sheet[f'{side}_best_run'].text}"
            tiles.append(Tile(f"best of {sheet[f'{side}_name'].text}", value=sheet[f"{side}_best"].text, detail=detail))
    if "superiority" in sheet:
        value = sheet["superiority"].text
        tiles.append(Tile("pairs won", value=value, detail=f"by runs of {sheet['b_name'].text}"))
    counts = f"{sheet['a_n_runs'].text} and {sheet['b_n_runs'].text}"
    tiles.append(Tile("runs", value=counts, detail=f"{sheet['a_name'].text}, {sheet['b_name'].text}"))
    return tiles


def _progress(material: ExperimentComparison, sides: Sequence[Standing]) -> tuple[Picture, ...]:
    objective = sides[0].objective
    if not comparable(sides) or objective is None or not all(where.ranked for where in sides):
        return ()
    lines = []
    for record, where, role in ((material.a, sides[0], "second"), (material.b, sides[1], "best")):
        ordered = sorted(where.ranked, key=lambda run: run.number)
        best = np.array([value_of(run) for run in ordered])
        best = np.minimum.accumulate(best) if objective.direction == "minimize" else np.maximum.accumulate(best)
        steps = np.arange(1, len(ordered) + 1, dtype=np.int64)
        shown = one_line(record.name, limit=28)
        lines.append(CurveLine(shown, steps=steps, values=best, role=role))  # type: ignore[arg-type]  # one of two literals
    metric = metric_of(objective)
    names = " and ".join(line.label for line in lines)
    return (
        pictures.draw_curves(
            "progress",
            lines,
            metric=metric,
            alt=f"Best {metric} so far of {names}, by the number of ranked runs.",
            title=f"Best {metric} so far",
            x="ranked runs",
        ),
    )


def _outcomes(sheet: FactSheet) -> Section:
    rows = [
        (cells.of_text(what), *(cells.of_fact(sheet, f"{side}_{key}") for side in ("a", "b")), delta)
        for what, key, delta in (
            ("Best", "best", cells.of_fact(sheet, "delta_best")),
            ("Median", "median", cells.of_fact(sheet, "delta_median")),
            ("Noise between repeats", "noise", cells.of_text("")),
            ("Runs", "n_runs", cells.of_text("")),
            ("Finished", "n_finished", cells.of_text("")),
            ("Failed, crashed or diverged", "n_bad", cells.of_text("")),
            ("Share of these", "bad_share", cells.of_text("")),
            ("Findings opened so far", "n_findings", cells.of_text("")),
            ("Duration of all runs", "duration", cells.of_text("")),
        )
        if f"a_{key}" in sheet or f"b_{key}" in sheet
    ]
    columns = (Column(""), *(Column(sheet[key].text, align="right") for key in ("a_name", "b_name")))
    table = cells.table("Outcomes side by side", (*columns, Column("Change", align="right")), rows)
    return Section("Results", anchor="results", blocks=(table,))


def _ranges(material: ExperimentComparison, sides: Sequence[Standing]) -> Section | None:
    moving = [set(varied(where.runs)) for where in sides]
    fixed = [constant(where.runs) for where in sides]
    names = sorted({*moving[0], *moving[1], *fixed[0], *fixed[1]})
    rows = []
    for key in names:
        told = [_tried(where.runs, key) for where in sides]
        if told[0] != told[1]:
            rows.append((cells.of_name(key), *(cells.of_text(text, limit=80) for text in told)))
    columns = (Column("Parameter"), *(Column(one_line(each.name, limit=40)) for each in (material.a, material.b)))
    if not names:
        return None
    blocks: tuple[Block, ...]
    if rows:
        note = f"{len(rows) - MAX_CHANGES} more are not shown." if len(rows) > MAX_CHANGES else ""
        blocks = (cells.table("Values that were tried, where they differ", columns, rows[:MAX_CHANGES], note=note),)
    else:
        blocks = (Paragraph(plain("Both tried the same values of all parameters.")),)
    return Section("What was tried", anchor="space", blocks=blocks)


def _tried(runs: Sequence[Run], key: str) -> str:
    values = [run.params[key] for run in runs if key in run.params]
    if not values:
        return "not a parameter"
    if all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values):
        low, high = min(values), max(values)
        return numbers.parameter(low) if low == high else f"{numbers.parameter(low)} to {numbers.parameter(high)}"
    return ", ".join(sorted({numbers.parameter(value, limit=24) for value in values}))


def _best_configurations(sides: Sequence[Standing], sheet: FactSheet) -> Section | None:
    bests = [where.best for where in sides]
    if bests[0] is None or bests[1] is None:
        return None
    names = list(dict.fromkeys([*bests[0].params, *bests[1].params]))[:MAX_CHANGES]
    rows = []
    for key in names:
        shown = [numbers.parameter(run.params[key]) if key in run.params else cells.NOTHING for run in bests if run]
        rows.append((cells.of_name(key), *(cells.of_text(text, limit=60) for text in shown)))
    columns = (Column("Parameter"), *(Column(sheet[f"{side}_best_run"].text, align="right") for side in ("a", "b")))
    table = cells.table("Parameters of the best runs", columns, rows)
    return Section("The two best configurations", anchor="best", blocks=(table,))

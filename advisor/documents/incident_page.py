"""Put an incident note on one finding together: what was seen, on what evidence, what it means, what to do.

Leaves out rendering and the store. Invariant: what was seen, the evidence and what became of it are the program's words
whatever a model wrote; a finding that somebody judged a false alarm is called one in the first sentence.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from advisor.documents import absences, cells, charts, frame, numbers, parts, pictures
from advisor.documents.content import Bullets, Code, Column, Line, Page, Paragraph, Picture, Section, Span, Tile, plain
from advisor.documents.fact import FactSheet, run_name
from advisor.documents.facts_of_incident import (
    MAX_CHANGES,
    changes_against,
    evidence_of,
    reference_run,
)
from advisor.documents.material import IncidentMaterial, RunMaterial
from advisor.documents.pictures import CurveLine
from advisor.documents.standing import Standing, standing
from advisor.documents.untrusted import one_line
from advisor.documents.writer import Narrative
from storage.records import Curve, Event, FindingState, RunState, Severity

MAX_LINES: Final = 25
"""Lines of the error that are shown, the last ones."""
NEAR: Final = 0.12
"""Share of the run on either side of the place that the close-up shows."""


def incident_page(material: IncidentMaterial, sheet: FactSheet, text: Narrative) -> Page:
    """Return the content of an incident note."""
    siblings = [run for run in material.siblings if run.id != material.run.id]
    where = standing(material.experiment, [*siblings, material.run])
    sections = (
        _evidence(material, sheet),
        _meaning(material),
        _error(material),
        _changes(material, where, sheet),
        _timeline(material),
        Section(
            "How to look at it again",
            anchor="reproduce",
            blocks=parts.reproduce_blocks(material.run, material.store_uri),
        ),
        parts.notes_section([material.run]),
        parts.absences_section(absences.of_run(material.run, material.experiment)),
        parts.interpretation_section(text.interpretation, text.writer),
    )
    one = material.finding
    return Page(
        _title(material),
        kicker="Incident note",
        subtitle=one_line(one.title, limit=200),
        opening=frame.opening(
            lead(material, sheet),
            caution(material, sheet),
            _tiles(material, sheet),
            "",
            sheet,
            text,
            _pictures(material, where),
        ),
        sections=tuple(section for section in sections if section is not None),
        footer=frame.footer(material, sheet, text),
    )


# -- what the program says


def lead(material: IncidentMaterial, sheet: FactSheet) -> str:
    """Return what was found, and whether it still holds, in one sentence."""
    one = material.finding
    if one.verdict == "ok":
        return "Judged a false alarm: run {{run}}, {{title}}."
    opening = {
        FindingState.OPEN: "Run {{run}}: {{title}}.",
        FindingState.ACKNOWLEDGED: "Run {{run}}: {{title}} (somebody has seen it).",
        FindingState.RESOLVED: "Resolved: run {{run}}, {{title}}.",
    }[one.state]
    return opening if one.verdict is None else f"{opening[:-1]} (judged real)."


def summary(material: IncidentMaterial, sheet: FactSheet) -> tuple[str, ...]:
    """Return the paragraph below the lead."""
    said = []
    if "step_share" in sheet:
        said.append("It begins at step {{step}} of {{last_step}}, after {{step_share}} of the run.")
    elif "step" in sheet:
        said.append("It begins at step {{step}}.")
    ending = {
        RunState.RUNNING: "The run goes on",
        RunState.FINISHED: "The run went on to its end",
        RunState.PRUNED: "The run was stopped early",
        RunState.FAILED: "The run failed with an error",
        RunState.CRASHED: "The run crashed: its process vanished",
        RunState.WAITING: "The run has not been started",
    }[material.run.state]
    if "rank" in sheet:
        said.append(ending + " and has {{metric}} {{objective}}, rank {{rank}} of {{n_ranked}}.")
    elif "objective" in sheet:
        said.append(ending + "; its {{metric}} is {{objective}}, and it is not ranked.")
    else:
        said.append(ending + ".")
    if sheet["n_alike"].value == 1 and material.finding.state is not FindingState.RESOLVED:
        said.append("Of {{n_runs}} runs it is the only one with a finding of this kind.")
    elif sheet["n_alike"].value:
        said.append("{{n_alike}} of {{n_runs}} runs ({{alike_share}}) have a finding of this kind.")
    if "other_run" in sheet:
        said.append("The best run without one is {{other_run}}, with {{metric}} {{other_value}}.")
    return tuple(said)


def caution(material: IncidentMaterial, sheet: FactSheet) -> str:
    """Return how far the finding can be trusted."""
    one = material.finding
    if one.verdict is not None:
        return ""
    if one.detector == "isolation-forest" and "p_value" in sheet:
        return (
            "A statistical detector says that the run is unusual among its siblings (p {{p_value}}); unusual is not "
            "wrong. Say with advisor verdict whether it was right."
        )
    return (
        "" if one.severity is Severity.ERROR else "This is a hint, not a proof: look at the curve before acting on it."
    )


# -- parts


def _title(material: IncidentMaterial) -> str:
    words, code = material.guide.get("slug", "").replace("-", " "), material.finding.code
    kind = f"{words[:1].upper()}{words[1:]} ({code})" if words else code
    return f"{kind} in run {run_name(material.run)} of {one_line(material.experiment.name, limit=100)}"


def _tiles(material: IncidentMaterial, sheet: FactSheet) -> list[Tile]:
    one = material.finding
    tones = {Severity.ERROR: "bad", Severity.WARNING: "warn"}
    judged = {"ok": "judged a false alarm", "real": "judged real"}.get(one.verdict or "", one.detector)
    tiles = [Tile("severity", value=str(one.severity), detail=judged, tone=tones.get(one.severity, "plain"))]  # type: ignore[arg-type]  # one of three literals
    tiles.append(Tile("finding", value=str(one.state), detail=one.code))
    if "step" in sheet:
        detail = f"of {sheet['last_step'].text}" if "last_step" in sheet else ""
        tiles.append(Tile("begins at step", value=sheet["step"].text, detail=detail))
    tiles.append(Tile("runs with this finding", value=sheet["n_alike"].text, detail=f"of {sheet['n_runs'].text}"))
    tiles.append(Tile("run", value=sheet["state"].text, detail=sheet["run"].text))
    return tiles[:4]


def _pictures(material: IncidentMaterial, where: Standing) -> tuple[Picture, ...]:
    one, run = material.finding, material.run
    curve = material.curves.get(run.id, {}).get(one.metric or "")
    if curve is None or not len(curve):
        own = RunMaterial(
            run,
            experiment=material.experiment,
            siblings=material.siblings,
            curves=material.curves,
            findings=[one],
            generated=material.generated,
            version=material.version,
            store_uri=material.store_uri,
        )
        return charts.run_curves(own, where)[:1]
    shown = one_line(one.metric or "", limit=60)
    drawn = [charts.before_siblings(material.curves, where, [one], run, one.metric or "", curve)]
    near = _near(curve, one.step)
    if near is not None and one.step is not None:
        line = CurveLine(
            f"this run {run_name(run)}", steps=near.steps, values=near.values, role="best", marks=(one.step,)
        )
        alt = f"{shown} of run {run_name(run)} close to step {one.step}."
        title = f"{shown} close to step {one.step:,}"
        drawn.append(pictures.draw_curves("near", [line], metric=shown, alt=alt, title=title))
    return tuple(drawn)


def _near(curve: Curve, step: int | None) -> Curve | None:
    """Return the stretch of a curve around a step; None where that is most of the curve, or too little."""
    if step is None or len(curve) < 40:
        return None
    at = int(np.searchsorted(curve.steps, step))
    room = max(int(NEAR * len(curve)), 8)
    low, high = max(at - room, 0), min(at + room + 1, len(curve))
    piece = slice(low, high)
    return None if high - low < 8 else Curve.of(curve.metric, curve.steps[piece], curve.values[piece])


def _evidence(material: IncidentMaterial, sheet: FactSheet) -> Section:
    rows = [
        (cells.of_text(name, limit=60), cells.of_fact(sheet, f"seen_{place}"))
        for place, (name, _) in enumerate(evidence_of(material.finding.evidence), start=1)
    ]
    for key, what in (("p_value", "p-value among sibling runs"), ("score", "anomaly score, higher is more anomalous")):
        if key in sheet:
            rows.append((cells.of_text(what), cells.of_fact(sheet, key)))
    if not rows:
        text = "The detector wrote down no figures."
        return Section("Evidence", anchor="evidence", blocks=(Paragraph(plain(text)),))
    table = cells.table("What the detector saw", (Column("Figure"), Column("Value")), rows)
    return Section("Evidence", anchor="evidence", blocks=(table,))


def _meaning(material: IncidentMaterial) -> Section | None:
    known = (
        ("How it is detected", "how_detected"),
        ("Why it matters", "why_it_matters"),
        ("What to do", "what_to_do"),
    )
    items: list[Line] = [
        (Span(f"{title}: ", kind="strong"), Span(one_line(material.guide[key], limit=600)))
        for title, key in known
        if material.guide.get(key)
    ]
    if not items:
        return None
    return Section("What it means, and what to do", anchor="meaning", blocks=(Bullets(tuple(items)),))


def _error(material: IncidentMaterial) -> Section | None:
    if not material.run.error:
        return None
    lines = material.run.error.strip().splitlines()
    caption = f"The last {MAX_LINES} of {len(lines)} lines" if len(lines) > MAX_LINES else "What was kept of the error"
    return Section("The error", anchor="error", blocks=(Code("\n".join(lines[-MAX_LINES:]), caption=caption),))


def _changes(material: IncidentMaterial, where: Standing, sheet: FactSheet) -> Section | None:
    other = reference_run(material, where)
    if other is None:
        return None
    names = changes_against(material.run, other)
    title = f"What differs from run {run_name(other)}"
    if not names:
        text = "Nothing that is recorded: the parameters are the same."
        return Section(title, anchor="changes", blocks=(Paragraph(plain(text)),))
    rows = [
        (cells.of_name(key), cells.of_fact(sheet, f"own_set_{place}"), cells.of_fact(sheet, f"other_set_{place}"))
        for place, key in enumerate(names[:MAX_CHANGES], start=1)
    ]
    columns = (
        Column("Parameter"),
        Column("This run", align="right"),
        Column(f"Run {run_name(other)}", align="right"),
    )
    note = f"{len(names) - MAX_CHANGES} more are not shown." if len(names) > MAX_CHANGES else ""
    table = cells.table("Parameters that differ from the best run without this finding", columns, rows, note=note)
    return Section(title, anchor="changes", blocks=(table,))


def _timeline(material: IncidentMaterial) -> Section | None:
    items = [plain(line) for line in (_happened(event) for event in material.history) if line]
    if not items:
        return None
    return Section("What happened to it", anchor="timeline", blocks=(Bullets(tuple(items)),))


def _happened(event: Event) -> str:
    at, body = numbers.moment(event.time), event.body
    words = {
        "finding.opened": f"found by {one_line(event.actor or 'a check', limit=40)}",
        "finding.state": f"now {one_line(str(body.get('state', '')), limit=20)}",
        "finding.judged": "judged " + ("a false alarm" if body.get("verdict") == "ok" else "real")
        + (f": {one_line(str(body['note']), limit=200)}" if body.get("note") else ""),
        "finding.notified": "told through a channel",
    }  # fmt: skip
    return f"{at}: {words[event.kind]}" if event.kind in words else ""

"""Put a model card together, in the layout of the Hugging Face Hub: metadata first, then what the model is.

Nothing is left as "more information needed": what the store does not know is said to be not recorded, with what would
record it. Leaves out rendering, the store, and any upload. Invariant: each value of the metadata is that of a fact.

The metadata's ``model-index`` follows https://huggingface.co/docs/hub/model-cards#evaluation-results.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from advisor.documents import absences, cells, charts, frame, numbers, parts
from advisor.documents.content import (
    Block,
    Bullets,
    Code,
    Column,
    Gallery,
    Line,
    Page,
    Paragraph,
    Picture,
    Section,
    Span,
    Tile,
    fill,
    plain,
)
from advisor.documents.fact import FactSheet, metric_of, run_name
from advisor.documents.facts_of_run import run_facts
from advisor.documents.material import ModelCardMaterial
from advisor.documents.narrative import too_good
from advisor.documents.provenance import provenance
from advisor.documents.standing import standing
from advisor.documents.untrusted import one_line
from advisor.documents.writer import Narrative
from storage.records import Curve, Run

MAX_RESULT_ROWS: Final = 12
MAX_RESULT_METRICS: Final = 5
MAX_INDEX: Final = 8
NOT_RECORDED: Final = "not recorded"
_LIBRARIES: Final = (
    ("transformers", "transformers"),
    ("sentence-transformers", "sentence-transformers"),
    ("keras", "keras"),
    ("torch", "pytorch"),
    ("scikit-learn", "sklearn"),
)
"""Installed packages and the library names of the Hub."""
_TRAINING: Final = re.compile(r"(^|[_/. -])(train|training)([_/. -]|$)", re.IGNORECASE)


def model_card_facts(material: ModelCardMaterial) -> FactSheet:
    """Return the facts of a model card: those of the run that trained the model."""
    return run_facts(material.of)


def model_card_page(material: ModelCardMaterial, sheet: FactSheet, text: Narrative) -> Page:
    """Return the content of a model card."""
    of = material.of
    run = of.run
    where = standing(of.experiment, [*(other for other in of.siblings if other.id != run.id), run])
    sections = (
        _description(material),
        _limits(material, sheet),
        _data(run),
        _procedure(material, sheet),
        _results(material),
        _versions(run),
        Section("How to train it again", anchor="reproduce", blocks=parts.reproduce_blocks(run, of.store_uri)),
        _files(run),
        parts.absences_section(absences.of_run(run, of.experiment)),
        parts.interpretation_section(text.interpretation, text.writer),
    )
    return Page(
        one_line(f"{of.experiment.name}, run {run_name(run)}", limit=140),
        kicker="Model card",
        subtitle=" · ".join(["written from the records of its training", *(one_line(tag) for tag in run.tags[:6])]),
        opening=frame.opening(
            lead(sheet), caution(sheet, run), _tiles(material, sheet), of.experiment.description, sheet, text, ()
        ),
        sections=_with_pictures(sections, charts.run_curves(of, where)),
        footer=frame.footer(of, sheet, text),
        front_matter=front_matter(material, sheet),
    )


def lead(sheet: FactSheet) -> str:
    """Return what the model reached, in one sentence."""
    if "objective" not in sheet:
        return "The run that trained this model has no value of an objective: how good the model is, is not recorded."
    rank = ", rank {{rank}} of {{n_ranked}} runs" if "rank" in sheet else ", and its run is not ranked"
    return "This model achieves {{metric}} {{objective}}" + rank + "."


def caution(sheet: FactSheet, run: Run) -> str:
    """Return how far that figure can be trusted."""
    said = [warning] if (warning := too_good(run, "{{run}}").strip()) else []
    if "rank" in sheet and sheet["n_ranked"].number and sheet["n_ranked"].number > 1:
        said.append("It was chosen among {{n_ranked}} runs by the same figure, which is therefore likely too good.")
    if sheet["n_findings"].value:
        said.append("Findings in its training: {{n_findings}}, listed below.")
    if "noise" in sheet:
        said.append("Repeats of a configuration have a standard deviation of {{noise}}.")
    return " ".join(said)


def summary(sheet: FactSheet) -> tuple[str, ...]:
    """Return the paragraph below the lead."""
    said = []
    if "duration" in sheet:
        said.append("Its training took {{duration}}.")
    if "last_step" in sheet:
        said.append("The last step was {{last_step}}.")
    return tuple(said)


def front_matter(material: ModelCardMaterial, sheet: FactSheet) -> str:
    """Return the metadata as YAML, without its fences."""
    import yaml

    of = material.of
    run, known = of.run, provenance(of.run)
    content: dict[str, Any] = {}
    library = _library(run)
    if library is not None:  # several that are installed do not say which of them trained the model
        content["library_name"] = library
    tags = list(dict.fromkeys(one_line(tag, limit=60) for tag in run.tags))[:12]
    if tags:
        content["tags"] = tags
    datasets = [one_line(str(item["name"]), limit=80) for item in run.data if item.get("name")]
    if datasets:
        content["datasets"] = list(dict.fromkeys(datasets))
    metrics = _index_metrics(sheet)
    if metrics:
        content["metrics"] = list(dict.fromkeys(row["type"] for row in metrics))
        dataset = datasets[0] if datasets else NOT_RECORDED
        task = one_line(str(of.experiment.user_attrs.get("task") or run.meta.get("task") or NOT_RECORDED), limit=60)
        result = {
            "task": {"type": _slug(task), "name": task},
            "dataset": {"type": _slug(dataset), "name": dataset},
            "metrics": metrics,
        }
        name = one_line(f"{of.experiment.name}-{run.number}", limit=80)
        content["model-index"] = [{"name": name, "results": [result]}]
    if known.commit:
        content["source_commit"] = known.commit[:40]
    return str(yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=110))


# -- parts


def _with_pictures(sections: tuple[Section | None, ...], drawn: Sequence[Picture]) -> tuple[Section, ...]:
    """Return the sections with the curves in that of the results."""
    out = []
    for section in sections:
        if section is None:
            continue
        is_place = section.anchor == "results" and drawn
        out.append(replace(section, blocks=(*section.blocks, Gallery(tuple(drawn[:4])))) if is_place else section)
    return tuple(out)


def _index_metrics(sheet: FactSheet) -> list[dict[str, Any]]:
    """Return the finite last values, and the objective's, as rows of the index."""
    rows: list[dict[str, Any]] = []
    objective = sheet.get("objective")
    if objective is not None and objective.number is not None and math.isfinite(objective.number):
        rows.append(
            {"type": _slug(objective.about), "name": f"{objective.about} (objective)", "value": objective.value}
        )
    for place in range(1, MAX_INDEX + 1):
        fact = sheet.get(f"last_{place}")
        if fact is None or fact.number is None or not math.isfinite(fact.number):
            continue
        if objective is not None and fact.about == objective.about and fact.value == objective.value:
            continue
        rows.append({"type": _slug(fact.about), "name": f"{fact.about} (last)", "value": fact.value})
    return rows


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:60] or "unknown"


def _library(run: Run) -> str | None:
    libraries = run.environment.get("libraries")
    installed = {str(key).lower() for key in libraries} if isinstance(libraries, Mapping) else set()
    found = [hub for package, hub in _LIBRARIES if package in installed]
    return found[0] if len(found) == 1 else None


def _tiles(material: ModelCardMaterial, sheet: FactSheet) -> list[Tile]:
    tiles = []
    objective = material.of.experiment.objective
    if objective is not None and "objective" in sheet:
        rank = f"rank {sheet['rank'].text} of {sheet['n_ranked'].text}" if "rank" in sheet else "not ranked"
        tiles.append(Tile(metric_of(objective), value=sheet["objective"].text, detail=rank, tone="good"))
    own = metric_of(objective) if objective else ""
    lasts = [fact for place in range(1, MAX_INDEX + 1) if (fact := sheet.get(f"last_{place}")) and fact.about != own]
    lasts.sort(key=lambda fact: bool(_TRAINING.search(fact.about)))
    tiles.extend(Tile(f"last {fact.about}", value=fact.text) for fact in lasts[: 3 - len(tiles)])
    tiles.append(Tile("training run", value=sheet["state"].text, detail=run_name(material.of.run)))
    return tiles


def _description(material: ModelCardMaterial) -> Section:
    of = material.of
    items: list[Line] = []
    for key, value in of.run.params.items():
        if re.search(r"(^|_)(model|arch|architecture|network|backbone|base_model)(_|$|name)", key, re.IGNORECASE):
            items.append((Span(f"{one_line(key, limit=60)}: ", kind="strong"), Span(numbers.parameter(value))))
    size = _n_parameters(of.run)
    items.append((Span("Parameters of the model: ", kind="strong"), Span(size or NOT_RECORDED)))
    text = one_line(of.experiment.description, limit=600)
    if text:
        items.append((Span("The experiment: ", kind="strong"), Span(text)))
    if len(items) == 1:
        items.append(plain("What the model is was not recorded; the experiment's description would say it."))
    return Section("Model description", anchor="description", blocks=(Bullets(tuple(items)),))


def _n_parameters(run: Run) -> str | None:
    """Return the number of the model's parameters, where a parameter, attribute or note of an import says it."""
    for known in (run.params, run.user_attrs, run.meta):
        for key, value in known.items():
            is_count = isinstance(value, int) and not isinstance(value, bool)
            if is_count and re.fullmatch(r"(n|num)_?(params|parameters|weights)", str(key), re.IGNORECASE):
                return numbers.count(value)
    return None


def _limits(material: ModelCardMaterial, sheet: FactSheet) -> Section:
    of = material.of
    blocks: list[Block] = [
        Paragraph(plain("What the model is meant for was not recorded; write it here before publishing the card."))
    ]
    by_id = {of.run.id: of.run}
    found = parts.findings_section(of.findings, by_id, of.advice, of_one_run=True)
    if found is not None:
        blocks.extend(found.blocks)
    else:
        blocks.append(Paragraph(plain("The checks that ran on its training found nothing open.")))
    return Section("Intended uses & limitations", anchor="limits", blocks=tuple(blocks))


def _data(run: Run) -> Section:
    known = provenance(run)
    if known.data:
        block: Block = Bullets(tuple(plain(line) for line in known.data))
    else:
        block = Paragraph(plain("Not recorded; run.use_data(name, data) keeps a fingerprint of what is trained on."))
    return Section("Training and evaluation data", anchor="data", blocks=(block,))


def _procedure(material: ModelCardMaterial, sheet: FactSheet) -> Section:
    run = material.of.run
    rows = [(cells.of_name(key), cells.of_text(numbers.parameter(value))) for key, value in run.params.items()][:60]
    if run.seed is not None:
        rows.append((cells.of_name("seed"), cells.of_text(str(run.seed))))
    if not rows:
        text = "No hyperparameters were recorded."
        return Section("Training hyperparameters", anchor="procedure", blocks=(Paragraph(plain(text)),))
    columns = (Column("Hyperparameter"), Column("Value", align="right"))
    blocks: list[Block] = [cells.table("Hyperparameters of this training", columns, rows)]
    if "rank" in sheet:
        text = "Chosen by {{metric}} among {{n_ranked}} runs that could be ranked."
        blocks.append(Paragraph(fill(text, sheet), role="quiet"))
    return Section("Training hyperparameters", anchor="procedure", blocks=tuple(blocks))


def _results(material: ModelCardMaterial) -> Section | None:
    of = material.of
    own = {metric: curve for metric, curve in of.curves.get(of.run.id, {}).items() if len(curve)}
    if not own:
        return None
    objective = of.experiment.objective
    first = objective.metric if objective else ""
    names = sorted(own, key=lambda metric: (metric != first, bool(_TRAINING.search(metric)), metric))
    names = names[:MAX_RESULT_METRICS]
    steps = own[names[0]].steps
    places = np.unique(np.linspace(0, len(steps) - 1, min(MAX_RESULT_ROWS, len(steps))).round().astype(int))
    rows = [
        (
            cells.of_text(numbers.count(int(steps[at]))),
            *(cells.of_text(_at(own[name], int(steps[at]))) for name in names),
        )
        for at in places
    ]
    columns = (Column("Step", align="right"), *(Column(one_line(name, limit=40), align="right") for name in names))
    hidden = len(own) - len(names)
    parts_ = [f"{len(places)} of {numbers.count(len(steps))} steps" if len(places) < len(steps) else ""]
    parts_.append(f"{hidden} more metrics are not shown" if hidden else "")
    note = "; ".join(part for part in parts_ if part)
    return Section(
        "Training results", anchor="results", blocks=(cells.table("Metrics by step", columns, rows, note=note),)
    )


def _at(curve: Curve, step: int) -> str:
    """Return the last value logged for a step; a dash where there is none."""
    found = np.flatnonzero(curve.steps == step)
    return numbers.figure(float(curve.values[found[-1]])) if found.size else cells.NOTHING


def _versions(run: Run) -> Section:
    known = provenance(run)
    items = [plain(f"Python {known.python}")] if known.python else []
    items.extend(plain(package) for package in known.packages)
    block: Block = Bullets(tuple(items)) if items else Paragraph(plain("Not recorded."))
    return Section("Framework versions", anchor="versions", blocks=(block,))


def _files(run: Run) -> Section | None:
    if not run.artifacts:
        return None
    lines = [
        f"{one_line(str(item.get('name', '')), limit=80)}  {str(item.get('sha256', ''))[:64]}"
        for item in run.artifacts[:40]
    ]
    code = Code("\n".join(lines), caption="Files that the run saved, and their SHA-256")
    return Section("Files", anchor="files", blocks=(code,))

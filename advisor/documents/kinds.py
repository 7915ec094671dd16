"""The kinds of documents: what each one's facts are, what the program says of them, and how its page is laid out.

One entry a kind; everything else treats them alike. Leaves out rendering. Invariant: a kind works with no model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, Final

from advisor.documents import (
    checklist_page,
    comparison_page,
    digest_page,
    experiment_page,
    incident_page,
    model_card,
    narrative,
    run_page,
)
from advisor.documents.content import Page
from advisor.documents.fact import FactSheet
from advisor.documents.facts import experiment_facts
from advisor.documents.facts_of_comparison import experiment_comparison_facts, run_comparison_facts
from advisor.documents.facts_of_digest import digest_facts
from advisor.documents.facts_of_incident import incident_facts
from advisor.documents.facts_of_run import run_facts
from advisor.documents.frame import Dated
from advisor.documents.material import (
    ChecklistMaterial,
    DigestMaterial,
    ExperimentComparison,
    ExperimentMaterial,
    IncidentMaterial,
    Material,
    ModelCardMaterial,
    RunComparison,
    RunMaterial,
)
from advisor.documents.standing import standing
from advisor.documents.writer import Narrative
from storage.records import Run


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of document."""

    name: str
    """As the command line and the journal call it."""
    _: KW_ONLY
    facts: Callable[[Any], FactSheet]
    sentences: Callable[[Any, FactSheet], Sequence[str]]
    """The program's own running text, with placeholders."""
    page: Callable[[Any, FactSheet, Narrative], Page]
    notes: Callable[[Any], Sequence[str]]
    """What people wrote that a model may be shown, as data."""
    dated: Callable[[Any], Dated]
    """When and from where the material is."""


def kind_of(material: Material) -> Kind:
    """Return the kind of document that a material is for."""
    return _KINDS[type(material)]


def _same(material: Any) -> Dated:
    return material  # type: ignore[no-any-return]  # every material of this kind is dated itself


def _inner(material: Any) -> Dated:
    return material.of  # type: ignore[no-any-return]  # as above, one level down


def _experiment_sentences(material: ExperimentMaterial, sheet: FactSheet) -> Sequence[str]:
    return narrative.experiment_summary(sheet, standing(material.experiment, material.runs))


def _run_sentences(material: RunMaterial, sheet: FactSheet) -> Sequence[str]:
    others = [run for run in material.siblings if run.id != material.run.id]
    return narrative.run_summary(sheet, standing(material.experiment, [*others, material.run]))


def _written(description: str, runs: Sequence[Run]) -> list[str]:
    return [text for text in (description, *(note for run in runs for note in run.notes)) if text]


_KINDS: Final[Mapping[type, Kind]] = {
    ExperimentMaterial: Kind(
        "report",
        facts=experiment_facts,
        sentences=_experiment_sentences,
        page=experiment_page.experiment_page,
        notes=lambda m: _written(m.experiment.description, sorted(m.runs, key=lambda run: run.number)),
        dated=_same,
    ),
    RunMaterial: Kind(
        "run-summary",
        facts=run_facts,
        sentences=_run_sentences,
        page=run_page.run_page,
        notes=lambda m: _written(m.experiment.description, [m.run]),
        dated=_same,
    ),
    IncidentMaterial: Kind(
        "incident",
        facts=incident_facts,
        sentences=incident_page.summary,
        page=incident_page.incident_page,
        notes=lambda m: _written(m.experiment.description, [m.run]),
        dated=_same,
    ),
    RunComparison: Kind(
        "run-comparison",
        facts=run_comparison_facts,
        sentences=lambda m, sheet: comparison_page.run_summary(sheet, is_across=m.is_across),
        page=comparison_page.run_comparison_page,
        notes=lambda m: _written(m.experiment.description, [m.a, m.b]),
        dated=_same,
    ),
    ExperimentComparison: Kind(
        "experiment-comparison",
        facts=experiment_comparison_facts,
        sentences=lambda _, sheet: comparison_page.experiment_summary(sheet),
        page=comparison_page.experiment_comparison_page,
        notes=lambda m: [text for text in (m.a.description, m.b.description) if text],
        dated=_same,
    ),
    DigestMaterial: Kind(
        "digest",
        facts=digest_facts,
        sentences=lambda _, sheet: digest_page.summary(sheet),
        page=digest_page.digest_page,
        notes=lambda m: _written("", [run for each in m.activities for run in each.runs]),
        dated=_same,
    ),
    ModelCardMaterial: Kind(
        "model-card",
        facts=model_card.model_card_facts,
        sentences=lambda _, sheet: model_card.summary(sheet),
        page=model_card.model_card_page,
        notes=lambda m: _written(m.of.experiment.description, [m.of.run]),
        dated=_inner,
    ),
    ChecklistMaterial: Kind(
        "checklist",
        facts=checklist_page.checklist_facts,
        sentences=lambda _, sheet: checklist_page.summary(sheet),
        page=checklist_page.checklist_page,
        notes=lambda m: _written(m.of.experiment.description, m.of.runs),
        dated=_inner,
    ),
}

KINDS: Final = tuple(kind.name for kind in _KINDS.values())
"""Names of all kinds."""
EXPERIMENT_KINDS: Final = ("report", "model-card", "checklist")
"""Those that are written of an experiment."""
RUN_KINDS: Final = ("run-summary", "model-card")
"""Those that are written of one run."""

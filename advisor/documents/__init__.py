"""Documents: facts computed from the store, sentences around them, pictures, Markdown and HTML.

Leaves out reading the store and sending. Invariant: every figure of a document is a fact of its sheet.
The names are looked up when they are asked for: a command that prints a table needs one small module of this package.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from advisor.documents.fact import Fact, FactSheet
    from advisor.documents.facts import experiment_facts
    from advisor.documents.facts_of_run import run_facts
    from advisor.documents.kinds import EXPERIMENT_KINDS, KINDS, RUN_KINDS
    from advisor.documents.material import (
        Activity,
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
    from advisor.documents.metered import MeteredModel
    from advisor.documents.model import LanguageModel, LiteLLMModel
    from advisor.documents.origin import Origin, OriginError
    from advisor.documents.report import (
        FORMATS,
        Written,
        write_document,
        write_experiment_report,
        write_run_summary,
    )
    from advisor.documents.scripted import ScriptedModel

__all__ = [
    "Activity",
    "ChecklistMaterial",
    "DigestMaterial",
    "ExperimentComparison",
    "ExperimentMaterial",
    "IncidentMaterial",
    "Material",
    "ModelCardMaterial",
    "RunComparison",
    "RunMaterial",
    "EXPERIMENT_KINDS",
    "FORMATS",
    "KINDS",
    "RUN_KINDS",
    "Origin",
    "OriginError",
    "write_document",
    "write_experiment_report",
    "write_run_summary",
    "Written",
    "Fact",
    "FactSheet",
    "experiment_facts",
    "run_facts",
    "LanguageModel",
    "LiteLLMModel",
    "MeteredModel",
    "ScriptedModel",
]

_HOMES = {
    "fact": ("Fact", "FactSheet"),
    "facts": ("experiment_facts",),
    "kinds": ("EXPERIMENT_KINDS", "KINDS", "RUN_KINDS"),
    "material": (
        "Activity",
        "ChecklistMaterial",
        "DigestMaterial",
        "ExperimentComparison",
        "ExperimentMaterial",
        "IncidentMaterial",
        "Material",
        "ModelCardMaterial",
        "RunComparison",
        "RunMaterial",
    ),
    "origin": ("Origin", "OriginError"),
    "model": ("LanguageModel", "LiteLLMModel"),
    "metered": ("MeteredModel",),
    "scripted": ("ScriptedModel",),
    "report": ("FORMATS", "Written", "write_document", "write_experiment_report", "write_run_summary"),
    "facts_of_run": ("run_facts",),
}


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

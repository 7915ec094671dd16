"""Documents: facts computed from the store, sentences around them, pictures, Markdown and HTML.

Leaves out reading the store and sending. Invariant: every figure of a document is a fact of its sheet.
"""

from __future__ import annotations

from advisor.documents.fact import Fact, FactSheet
from advisor.documents.facts import experiment_facts
from advisor.documents.material import ExperimentMaterial, RunMaterial
from advisor.documents.model import LanguageModel, LiteLLMModel, ScriptedModel
from advisor.documents.report import Written, write_experiment_report, write_run_summary
from advisor.documents.run_facts import run_facts

__all__ = [
    "ExperimentMaterial",
    "RunMaterial",
    "write_experiment_report",
    "write_run_summary",
    "Written",
    "Fact",
    "FactSheet",
    "experiment_facts",
    "run_facts",
    "LanguageModel",
    "LiteLLMModel",
    "ScriptedModel",
]

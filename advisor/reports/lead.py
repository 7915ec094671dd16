"""The first sentences of a run's summary, for a page: what the program would write, without writing a document.

Leaves out suggestions, forecasts and language models, which take seconds. Invariant: ranks and differences are only
told where all runs of the experiment were read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import advisor as package
from advisor.documents import RunMaterial, narrative
from advisor.documents.content import fill
from advisor.documents.facts_of_run import run_facts
from advisor.documents.standing import standing

if TYPE_CHECKING:
    from advisor.app import Advisor
    from storage.records import Run

MANY: Final = 2_000
"""Runs from which on the others are left out: reading them takes longer than people wait for a page."""


def lead(adv: Advisor, run: Run) -> tuple[str, ...]:
    """Return sentences about a run: how it ended, how it stands, how far that can be trusted; all text is untrusted."""
    record = adv.store.experiment(run.experiment)
    few = adv.store.count(record.name) <= MANY
    siblings = [one for one in adv.store.runs(record.name) if one.id != run.id] if few else []
    material = RunMaterial(
        run,
        experiment=record,
        siblings=siblings,
        curves={run.id: run.curves},
        findings=run.findings,
        generated=adv.clock(),
        version=package.__version__,
        store_uri=adv.store.uri,
    )
    sheet, where = run_facts(material), standing(record, [*siblings, run])
    told = (
        narrative.run_lead(sheet, where, run),
        *narrative.run_summary(sheet, where),
        narrative.run_caution(sheet, where, run),
    )
    return tuple("".join(span.text for span in fill(sentence, sheet)) for sentence in told if sentence)

"""What a document is written from: frozen inputs that the caller read from the store.

No I/O and no judgement happens here. Invariant: a document is a pure function of its material,
so the same material gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from storage.records import EMPTY, Curve, Experiment, Finding, Run

if TYPE_CHECKING:
    from advisor.suggest import Ledger, SearchAdvice

Curves = Mapping[str, Mapping[str, Curve]]
"""``{run_id: {metric: curve}}``; runs without curves may be left out."""


def _nothing() -> Mapping[Any, Any]:
    return EMPTY


@dataclass(frozen=True, slots=True)
class ExperimentMaterial:
    """All that a report on an experiment is written from."""

    experiment: Experiment
    _: KW_ONLY
    runs: Sequence[Run]
    """All runs of the experiment, in any order."""
    curves: Curves = field(default_factory=_nothing)
    findings: Sequence[Finding] = ()
    """Findings of these runs, resolved ones included."""
    suggestions: Sequence[Mapping[str, Any]] = ()
    """What to try next, best first: ``params``, ``why``, ``source``, ``learned_from`` (run ids), ``forecast``
    (``mean``, ``low``, ``high``, or None)."""
    importances: Mapping[str, float] | None = None
    """Share of the objective's variation that each parameter explains, in [0, 1]; None where it cannot be told."""
    importance_ends: Mapping[str, tuple[float, float]] = field(default_factory=_nothing)
    """Ends of the 95 % interval of each of these shares; empty where they are not known."""
    importances_note: str = ""
    """How the shares were estimated, or why they were not."""
    space: Mapping[str, Mapping[str, Any]] | None = None
    """Search space as JSON, declared or inferred; None where there is none."""
    inferred_notes: Sequence[str] = ()
    """What was assumed where no space was declared; empty for a declared one."""
    advice: Mapping[str, str] = field(default_factory=_nothing)
    """What to do about a finding, by its code."""
    ledger: Ledger | None = None
    """What became of earlier advice; None leaves it out."""
    search_advice: SearchAdvice | None = None
    """Whether to go on searching; None leaves it out."""
    generated: datetime
    """When the document is written, with its zone."""
    version: str
    """Version of this program."""
    store_uri: str


@dataclass(frozen=True, slots=True)
class RunMaterial:
    """All that a summary of one run is written from."""

    run: Run
    _: KW_ONLY
    experiment: Experiment
    siblings: Sequence[Run] = ()
    """The experiment's other runs; the run itself among them does no harm."""
    curves: Curves = field(default_factory=_nothing)
    """Curves of the run, and of its siblings as far as they are to be drawn behind it."""
    findings: Sequence[Finding] = ()
    """Findings of this run."""
    similar: Sequence[tuple[Run, str]] = ()
    """Runs like this one, most alike first, each with the reason in a few words."""
    suggestions: Sequence[Mapping[str, Any]] = ()
    """As in ``ExperimentMaterial``."""
    advice: Mapping[str, str] = field(default_factory=_nothing)
    """What to do about a finding, by its code."""
    generated: datetime
    version: str
    store_uri: str

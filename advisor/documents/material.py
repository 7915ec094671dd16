"""What a document is written from: frozen inputs that the caller read from the store.

No I/O and no judgement happens here. Invariant: a document is a pure function of its material,
so the same material gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from storage.records import EMPTY, Curve, Event, Experiment, Finding, Run

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
    forecast: Mapping[str, Any] | None = None
    """Of a run that goes on: ``mean``, ``low``, ``high``, ``p_best`` (or None); None where nobody can tell."""
    suggestions: Sequence[Mapping[str, Any]] = ()
    """As in ``ExperimentMaterial``."""
    advice: Mapping[str, str] = field(default_factory=_nothing)
    """What to do about a finding, by its code."""
    generated: datetime
    version: str
    store_uri: str


@dataclass(frozen=True, slots=True)
class IncidentMaterial:
    """All that an incident note, on one finding, is written from."""

    finding: Finding
    _: KW_ONLY
    run: Run
    experiment: Experiment
    siblings: Sequence[Run] = ()
    """The experiment's other runs; the run itself among them does no harm."""
    curves: Curves = field(default_factory=_nothing)
    """Curves of the run, and of its siblings as far as they are to be drawn behind it."""
    others: Sequence[Finding] = ()
    """All findings of the experiment, the one in question and resolved ones included."""
    history: Sequence[Event] = ()
    """Events of this finding, in their order."""
    guide: Mapping[str, str] = field(default_factory=_nothing)
    """What is known of the code: ``slug``, ``how_detected``, ``why_it_matters``, ``what_to_do``."""
    generated: datetime
    version: str
    store_uri: str


@dataclass(frozen=True, slots=True)
class RunComparison:
    """All that a comparison of two runs is written from; what changed is said of the second against the first."""

    a: Run
    b: Run
    _: KW_ONLY
    experiment: Experiment
    """Of the first."""
    other: Experiment
    """Of the second; the same where both are of one."""
    siblings: Sequence[Run] = ()
    """All runs of the first one's experiment, for ranks and noise."""
    other_siblings: Sequence[Run] = ()
    """All runs of the second one's experiment where that is another, for its rank."""
    curves: Curves = field(default_factory=_nothing)
    """Of the two."""
    generated: datetime
    version: str
    store_uri: str

    @property
    def is_across(self) -> bool:
        """Whether the two are of different experiments, so that their values may not be comparable."""
        return self.a.experiment != self.b.experiment


@dataclass(frozen=True, slots=True)
class ExperimentComparison:
    """All that a comparison of two experiments is written from; the second is held against the first."""

    a: Experiment
    b: Experiment
    _: KW_ONLY
    runs_a: Sequence[Run]
    runs_b: Sequence[Run]
    generated: datetime
    version: str
    store_uri: str


@dataclass(frozen=True, slots=True)
class Activity:
    """One experiment in a span of time."""

    experiment: Experiment
    _: KW_ONLY
    runs: Sequence[Run]
    """All of its runs, those of before and after too."""


@dataclass(frozen=True, slots=True)
class DigestMaterial:
    """All that a digest of a span of time is written from."""

    since: datetime
    until: datetime
    _: KW_ONLY
    activities: Sequence[Activity]
    """Every experiment that is told of, also where nothing happened in it."""
    subject: str = ""
    """The only experiment; empty for the store."""
    advice: Mapping[str, str] = field(default_factory=_nothing)
    """What to do about a finding, by its code."""
    generated: datetime
    version: str
    store_uri: str


@dataclass(frozen=True, slots=True)
class ModelCardMaterial:
    """All that a model card, of what one run trained, is written from."""

    of: RunMaterial


@dataclass(frozen=True, slots=True)
class ChecklistMaterial:
    """All that a reproducibility checklist, of an experiment, is written from."""

    of: ExperimentMaterial


Material = (
    ExperimentMaterial
    | RunMaterial
    | IncidentMaterial
    | RunComparison
    | ExperimentComparison
    | DigestMaterial
    | ModelCardMaterial
    | ChecklistMaterial
)

"""What the store keeps, as frozen values: experiments, runs, curves, events, findings, documents.

No I/O happens here, and nothing that a read returns changes behind the reader's back.
A run being written is another type (``advisor.tracking.LiveRun``).
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final, Literal, Self

import numpy as np
from numpy.typing import NDArray

from storage.errors import RecordError, StorageError, did_you_mean
from storage.listed import Listed

Direction = Literal["minimize", "maximize"]
DIRECTIONS: tuple[Direction, ...] = ("minimize", "maximize")

Verdict = Literal["ok", "real"]
"""What a person says of a finding: ``ok``, the run was sound and this a false alarm; ``real``, there was trouble."""
VERDICTS: tuple[Verdict, ...] = ("ok", "real")

EMPTY: Mapping[str, Any] = MappingProxyType({})


def _nothing() -> Mapping[Any, Any]:
    return EMPTY


class RunState(StrEnum):
    """Where a run is in its life. Only the first two can change."""

    WAITING = "waiting"
    """Queued: its parameters may be set, nobody has started it."""
    RUNNING = "running"
    """Some process trains it now, or died without a word and has not been noticed yet."""
    FINISHED = "finished"
    """Ended by itself. Its objective may still be NaN."""
    PRUNED = "pruned"
    """Stopped early on purpose, because others were better."""
    FAILED = "failed"
    """Ended by an exception; the traceback is kept."""
    CRASHED = "crashed"
    """Its process vanished (killed, out of memory, power cut); what it had logged was recovered."""

    @property
    def is_over(self) -> bool:
        """Whether the run has ended."""
        return self not in (RunState.WAITING, RunState.RUNNING)


class Severity(StrEnum):
    """How much a finding matters, least first."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"

    @property
    def rank(self) -> int:
        """0 for info, 1 for warning, 2 for error."""
        return list(Severity).index(self)


class FindingState(StrEnum):
    """What became of a finding."""

    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True)
class Objective:
    """One metric that an experiment is about."""

    metric: str
    """Name of the curve."""
    direction: Direction = "minimize"
    """Which way is better."""

    def better(self, a: float, b: float) -> bool:
        """Return whether ``a`` is strictly better than ``b``; a NaN is never better."""
        if math.isnan(a):
            return False
        if math.isnan(b):
            return True
        return a < b if self.direction == "minimize" else a > b


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """One metric of one run, in the order in which it was logged.

    NaN and infinite values are data: they are kept as they came. A step may occur
    twice (a resumed training); both are kept.
    """

    metric: str
    steps: NDArray[np.int64]
    """Shape (T,)."""
    values: NDArray[np.float64]
    """Shape (T,); NaN and ±inf are kept."""
    times: NDArray[np.float64]
    """Shape (T,); seconds since the run's start, NaN where it is unknown."""

    @classmethod
    def of(
        cls,
        metric: str,
        steps: Sequence[int] | NDArray[Any],
        values: Sequence[float] | NDArray[Any],
        times: Sequence[float] | NDArray[Any] | None = None,
    ) -> Self:
        """Build a curve from anything array-like; the arrays become read-only.

        Raises
        ------
        RecordError
            If the lengths differ.
        """
        step = np.array(steps, dtype=np.int64)
        value = np.array(values, dtype=np.float64)
        time = np.full(step.shape, np.nan) if times is None or not len(times) else np.array(times, dtype=np.float64)
        if not (step.shape == value.shape == time.shape and step.ndim == 1):
            raise RecordError(
                f"curve {metric!r} has {step.size} steps, {value.size} values and {time.size} times; "
                "they must be equally many"
            )
        for array in (step, value, time):
            array.flags.writeable = False
        return cls(metric, step, value, time)

    def __len__(self) -> int:
        return int(self.steps.size)

    def __eq__(self, other: object) -> bool:
        """Equal in every bit that matters: NaN equals NaN."""
        if not isinstance(other, Curve):
            return NotImplemented
        return (
            self.metric == other.metric
            and np.array_equal(self.steps, other.steps)
            and np.array_equal(self.values, other.values, equal_nan=True)
            and np.array_equal(self.times, other.times, equal_nan=True)
        )

    __hash__ = None  # type: ignore[assignment]  # arrays are compared by content, so a hash would be a promise too much

    def _repr_html_(self) -> str:
        from storage import notebook

        return notebook.curve(self)

    def _repr_pretty_(self, printer: Any, _cycle: bool) -> None:
        from storage import notebook

        printer.text(f"<Curve {self.metric}: {', '.join(notebook.plain_figures(self))}>")

    @property
    def last(self) -> float:
        """The last value, NaN for an empty curve."""
        return float(self.values[-1]) if len(self) else math.nan

    @property
    def last_finite(self) -> float | None:
        """The last finite value, None where there is none."""
        finite = self.values[np.isfinite(self.values)]
        return float(finite[-1]) if finite.size else None

    def summary(self) -> dict[str, Any]:
        """Return the figures that stand for this curve in the journal.

        Keys: ``n``, ``n_nonfinite``, ``first``, ``last`` (as logged, may be NaN), ``last_finite``,
        ``min``, ``max`` (finite values only), ``min_step``, ``max_step``, ``last_step``.
        Figures that do not exist are None.
        """
        finite = np.isfinite(self.values)
        out: dict[str, Any] = {
            "n": len(self),
            "n_nonfinite": int((~finite).sum()),
            "first": float(self.values[0]) if len(self) else None,
            "last": self.last if len(self) else None,
            "last_finite": self.last_finite,
            "min": None,
            "max": None,
            "min_step": None,
            "max_step": None,
            "last_step": int(self.steps[-1]) if len(self) else None,
        }
        if finite.any():
            low = int(np.nanargmin(np.where(finite, self.values, np.nan)))
            high = int(np.nanargmax(np.where(finite, self.values, np.nan)))
            out |= {
                "min": float(self.values[low]),
                "max": float(self.values[high]),
                "min_step": int(self.steps[low]),
                "max_step": int(self.steps[high]),
            }
        return out


class Curves(dict[str, Curve]):
    """Curves by metric; a notebook shows each as a line."""

    def _repr_html_(self) -> str:
        from storage import notebook

        return notebook.curves(self)

    def _repr_pretty_(self, printer: Any, _cycle: bool) -> None:
        printer.text(f"<{len(self)} curves: {', '.join(list(self)[:20])}{', …' if len(self) > 20 else ''}>")


@dataclass(frozen=True, slots=True)
class CurveChunk:
    """A piece of one curve, as it is appended to the store.

    ``(run_id, metric, chunk)`` names it: a chunk that lands twice counts once.
    """

    run_id: str
    _: KW_ONLY
    metric: str
    chunk: int
    """Position of the piece's first log call in the run; pieces are put together in this order."""
    through: int
    """Number of the run's log calls that are kept once this piece is."""
    steps: Sequence[int] | NDArray[np.int64]
    values: Sequence[float] | NDArray[np.float64]
    times: Sequence[float] | NDArray[np.float64] = ()
    """Seconds since the run's start; empty where they are unknown."""


@dataclass(frozen=True, slots=True)
class Event:
    """One fact, appended to the journal and never changed."""

    id: str
    """Unique; an event that lands twice counts once."""
    _: KW_ONLY
    kind: str
    """One of ``storage.events.KINDS``."""
    experiment: str
    """Name of the experiment that it belongs to; empty for the store itself."""
    run_id: str = ""
    """Id of the run that it belongs to; empty for an experiment's own."""
    time: datetime
    """When it happened, UTC."""
    actor: str = ""
    """Who wrote it: ``user@host``, or the name of a program part."""
    body: Mapping[str, Any] = field(default_factory=_nothing)
    """What happened, as JSON values; NaN and ±inf are allowed."""
    writer: str = field(default="", compare=False)
    """The chain that it is a link of, see ``storage.provenance``; empty before it is in the journal."""
    seq: int = field(default=-1, compare=False)
    """Position in its chain, from 0."""
    hash: bytes = field(default=b"", compare=False)
    """SHA-256 of the event and of what came before it in its chain."""
    version: int = field(default=0, compare=False)
    """Commit that brought it into the journal; 0 before."""

    @classmethod
    def new(
        cls,
        kind: str,
        experiment: str,
        run_id: str = "",
        /,
        *,
        time: datetime | None = None,
        actor: str = "",
        **body: Any,
    ) -> Self:
        """Return an event with a fresh id, now unless ``time`` is given."""
        return cls(
            new_id(), kind=kind, experiment=experiment, run_id=run_id, time=time or utc_now(), actor=actor, body=body
        )


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong or notable in a run."""

    id: str
    _: KW_ONLY
    run_id: str
    experiment: str
    code: str
    """Stable code, ``ADV…``; documented in docs/findings.md."""
    title: str
    """The finding in one line, figures included."""
    severity: Severity
    state: FindingState = FindingState.OPEN
    detector: str
    """``rules``, ``isolation-forest`` or ``state``."""
    metric: str | None = None
    """The curve in which it shows."""
    step: int | None = None
    """Where it begins."""
    p_value: float | None = None
    """Conformal p-value among sibling runs, in (0, 1]; small is unusual. None for rules."""
    score: float | None = None
    """Anomaly score; higher is more anomalous. None for rules."""
    evidence: Mapping[str, Any] = field(default_factory=_nothing)
    """The figures it rests on: observed values, threshold, steps."""
    time: datetime | None = None
    """When it was raised, UTC."""
    verdict: Verdict | None = None
    """What a person said of it last; None where nobody has. While it is ``ok`` the finding stays resolved."""

    @property
    def key(self) -> tuple[str, str, str]:
        """What makes two findings the same trouble: run, code, metric."""
        return (self.run_id, self.code, self.metric or "")

    def as_json(self) -> dict[str, Any]:
        """Return the public JSON form (see README, "JSON output")."""
        return {
            "finding_id": self.id,
            "run_id": self.run_id,
            "experiment": self.experiment,
            "code": self.code,
            "title": self.title,
            "severity": str(self.severity),
            "state": str(self.state),
            "metric": self.metric,
            "step": self.step,
            "p_value": self.p_value,
            "score": self.score,
            "evidence": dict(self.evidence),
            "detector": self.detector,
            "verdict": self.verdict,
        }

    def _repr_html_(self) -> str:
        from storage import notebook

        return notebook.finding(self)

    def _repr_pretty_(self, printer: Any, _cycle: bool) -> None:
        printer.text(f"<Finding {self.id} {self.code} {self.severity} {self.state} of run {self.run_id}: {self.title}>")


class FindingList(Listed[Finding]):
    """Findings; a notebook shows them as a table."""

    numbers: Mapping[str, int] = _nothing()
    """Run id → its number in its experiment, where whoever made the list knows it."""

    def _repr_html_(self) -> str:
        from storage import notebook

        return notebook.findings(self, numbers=self.numbers)


@dataclass(frozen=True, slots=True)
class Document:
    """A text that was written from the store: its content, and what it rests on."""

    id: str
    _: KW_ONLY
    experiment: str
    run_id: str = ""
    kind: str
    """``report``, ``run-summary``, ``incident``, ``model-card``, ``checklist``, ``run-comparison``,
    ``experiment-comparison`` or ``digest``."""
    title: str
    format: str
    """``md``, ``html`` or ``json``."""
    text: str
    """The document; of one that was read back from the journal, its Markdown."""
    facts_hash: str
    """SHA-256 of the fact sheet that the figures come from."""
    writer: str
    """``template``, or the name of the language model that wrote the sentences."""
    notes: tuple[str, ...] = ()
    """What went differently than asked for, for instance a model that did not answer."""
    path: str | None = None
    """File that it was written to."""
    time: datetime
    version: int = 1
    """How many documents of this kind about the same thing were kept, this one included."""

    def __str__(self) -> str:
        return self.text

    def _repr_pretty_(self, printer: Any, _cycle: bool) -> None:
        about = f"run {self.run_id}" if self.run_id else f"experiment {self.experiment}"
        printer.text(f"<Document {self.id} {self.kind} {self.title!r:.120} of {about}: {len(self.text):,} letters>")

    def _repr_markdown_(self) -> str | None:
        from storage import notebook

        return notebook.markdown(self) if self.format == "md" else None

    def _repr_html_(self) -> str | None:
        from storage import notebook

        return None if self.format == "md" else notebook.document(self)


@dataclass(frozen=True, slots=True)
class Experiment:
    """One named question: objectives, a search space, a description. It is an Optuna study."""

    name: str
    _: KW_ONLY
    number: int
    """Position among all experiments ever created in the store, from 0; Optuna's study id."""
    objectives: tuple[Objective, ...] = ()
    """Empty where nobody has said yet what is to be optimised."""
    reduce: str = "last"
    """How a run's curve becomes one value: ``last`` (last finite), ``best`` or ``mean-last-K``."""
    space: Mapping[str, Mapping[str, Any]] | None = None
    """Declared search space as JSON (see ``advisor.suggest.space``); None where none was declared."""
    description: str = ""
    problem: Mapping[str, Any] = field(default_factory=_nothing)
    """What else is said of the question, as JSON (see ``advisor.suggest.problem``): constraints, first points, …"""
    created: datetime
    user_attrs: Mapping[str, Any] = field(default_factory=_nothing)
    system_attrs: Mapping[str, Any] = field(default_factory=_nothing)
    """Attributes that Optuna programs keep with a study."""

    @property
    def objective(self) -> Objective | None:
        """The first objective, None where none is set."""
        return self.objectives[0] if self.objectives else None

    def went_wrong(self, run: Run) -> bool:
        """Return whether a run that is over failed, crashed, or diverged.

        It diverged when an objective is NaN or infinite, or when the last value logged of an objective's
        curve is, even where an earlier finite value stands for the run.
        """
        if run.state in (RunState.FAILED, RunState.CRASHED):
            return True
        if not run.state.is_over:
            return False
        last = [run.metrics[objective.metric] for objective in self.objectives if objective.metric in run.metrics]
        return any(not math.isfinite(value) for value in (*run.values, *last))

    def ranks(self, run: Run) -> bool:
        """Return whether a run may be called better or worse than others.

        It may if it finished by itself, did not diverge, has a value for every objective, and breaks no constraint
        that it told Optuna of.
        """
        return self.came_out(run) and not run.breaks_its_constraints

    def came_out(self, run: Run) -> bool:
        """Return whether a run finished by itself with a finite value for every objective, allowed or not."""
        n_values = max(len(self.objectives), 1)
        return run.state is RunState.FINISHED and len(run.values) == n_values and not self.went_wrong(run)


UNRECORDED_END: Final = "end_not_recorded"
"""Key in a run's ``meta``: its tool does not say when a run ends, so silence is no sign of trouble."""
ENDED_BY_HAND: Final = "interrupted: "
"""What the error of a run begins with that ended with the program that had started it, as a person told that one."""
CONSTRAINTS: Final = "constraints"
"""Key in the attributes of a trial under which Optuna keeps a list of them; ``constraints:NAME`` has one each."""
_CONSTRAINT: Final = f"{CONSTRAINTS}:"
CurveLoader = Callable[[str], Mapping[str, Curve]]


def no_curves(_run_id: str) -> Mapping[str, Curve]:
    """Load nothing: for a run that no store gave."""
    return {}


@dataclass(frozen=True, slots=True)
class Run:
    """One training as it was when it was read. It is an Optuna trial."""

    id: str
    _: KW_ONLY
    number: int
    """Position in its experiment, from 0, without gaps."""
    ordinal: int = -1
    """Position among all runs of the store, from 0; Optuna's trial id."""
    experiment: str
    state: RunState
    params: Mapping[str, Any] = field(default_factory=_nothing)
    metrics: Mapping[str, float] = field(default_factory=_nothing)
    """Last value of each curve, as logged (may be NaN or infinite); of an objective that has no curve what was told."""
    summary: Mapping[str, Mapping[str, Any]] = field(default_factory=_nothing)
    """Figures of each curve, see ``Curve.summary``."""
    values: tuple[float, ...] = ()
    """One value an objective; empty where there is none yet. NaN is kept."""
    tags: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    seed: int | None = None
    created: datetime
    started: datetime | None = None
    ended: datetime | None = None
    environment: Mapping[str, Any] = field(default_factory=_nothing)
    """What was captured without being asked: code, versions, hardware, command line."""
    meta: Mapping[str, Any] = field(default_factory=_nothing)
    """What another tracker or an import said about the run."""
    data: tuple[Mapping[str, Any], ...] = ()
    """Fingerprints of the data it used."""
    artifacts: tuple[Mapping[str, Any], ...] = ()
    """Files it saved: name, sha256, size."""
    error: str | None = None
    """Why it ended, where it did not end well: a traceback or a sentence."""
    source: str = "tracked"
    """``tracked``, ``optuna``, ``told``, ``queued`` by a person and then tracked, ``import`` or ``followed``, another
    tool's that somebody watched."""
    suggestion_id: str | None = None
    """The suggestion that it follows."""
    findings: tuple[Finding, ...] = ()
    distributions: Mapping[str, str] = field(default_factory=_nothing)
    """Optuna's distribution of each parameter as its JSON, where it was asked for through Optuna."""
    user_attrs: Mapping[str, Any] = field(default_factory=_nothing)
    system_attrs: Mapping[str, Any] = field(default_factory=_nothing)
    reports: Mapping[int, float] = field(default_factory=_nothing)
    """Intermediate values reported through Optuna, by step."""
    _load_curves: CurveLoader = field(default=no_curves, repr=False, compare=False)

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self.params.items())
        return f"<Run {self.experiment}#{self.number} {self.id} {self.state} objective={self.objective} {{{shown}}}>"

    def _repr_html_(self) -> str:
        from storage import notebook

        try:
            curves = self.curves if notebook.worth_drawing(self) else {}
        except StorageError:  # the run is shown all the same: its figures are at hand
            curves = {}
        return notebook.run(self, curves)

    @property
    def objective(self) -> float | None:
        """The first objective's value; None where there is none yet, NaN where it is not a number."""
        return self.values[0] if self.values else None

    @property
    def constraints(self) -> Mapping[str, float]:
        """What the run told Optuna of its constraints, by name: above 0 where it breaks one.

        Those of ``constraints_func`` have no names but their places, "0" and on.
        """
        if not self.meta and not self.system_attrs:  # asked of thousands of runs, few of which have either
            return EMPTY
        out: dict[str, float] = {}
        # Those of an imported trial are in ``meta``; in other tools' meta such a key means something else.
        for attrs in (self.meta if self.meta.get("tool") == "optuna" else EMPTY, self.system_attrs):
            unnamed = attrs.get(CONSTRAINTS)
            if isinstance(unnamed, (list, tuple)):
                out |= {str(i): value for i, value in enumerate(unnamed) if isinstance(value, (int, float))}
            for key, value in attrs.items():
                if key.startswith(_CONSTRAINT) and isinstance(value, (int, float)):
                    out[key.removeprefix(_CONSTRAINT)] = value
        return out

    @property
    def breaks_its_constraints(self) -> bool:
        """Whether one of ``constraints`` is above 0 or NaN; one that was not told of is kept, as Optuna has it."""
        return any(not value <= 0 for value in self.constraints.values())

    @property
    def name(self) -> str | None:
        """What people call it, where another tool or a script in its shape gave it a name."""
        name = self.meta.get("name") or self.user_attrs.get("name")
        return name if isinstance(name, str) else None

    @property
    def was_over_when_imported(self) -> bool:
        """Whether another tool's run was over when it came here, so that its troubles are no news."""
        return self.source == "import" and self.state.is_over and (self.ended is None or self.ended <= self.created)

    @property
    def duration_s(self) -> float | None:
        """Seconds from start to end, None while it runs or where it is unknown."""
        if self.started is None or self.ended is None:
            return None
        return (self.ended - self.started).total_seconds()

    @property
    def curves(self) -> Mapping[str, Curve]:
        """All curves by metric name, read from the store at each call."""
        return Curves(self._load_curves(self.id))

    def curve(self, metric: str) -> Curve:
        """Return one curve.

        Raises
        ------
        RecordError
            If the run has no curve of that name; the message names those it has.
        """
        curves = self.curves
        if metric not in curves:
            raise RecordError(f"run {self.id!r} has no curve {metric!r}; {did_you_mean(metric, curves)}")
        return curves[metric]


class RunList(Listed[Run]):
    """Runs; a notebook shows them as a table."""

    def _repr_html_(self) -> str:
        from storage import notebook

        return notebook.runs(self)


def valid_text(text: str) -> str:
    """Return text that any file and table can hold: lone surrogates, which are no Unicode, become ``?``."""
    return text.encode(errors="replace").decode()


def new_id() -> str:
    """Return a fresh id: 32 hexadecimal digits, unique across machines."""
    return uuid.uuid4().hex


def utc_now() -> datetime:
    """Return the time now, with its zone."""
    return datetime.now(UTC)

"""The journal: how events fold into records.

Folding is pure: the same events in the same order give the same state, whoever folds them, and an
event that occurs twice counts once. What events there are is in ``storage.events``, tables are in ``storage.lance``.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import KW_ONLY, dataclass, field, replace
from types import MappingProxyType
from typing import Any, Final

from storage.events import read_objectives, read_time
from storage.records import (
    EMPTY,
    Curve,
    CurveLoader,
    Event,
    Experiment,
    Finding,
    FindingState,
    Run,
    RunState,
    Severity,
    no_curves,
)

log = logging.getLogger(__name__)


# -- the fold


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The runs of a state at one moment."""

    runs: Mapping[str, Run]
    _: KW_ONLY
    touched: Mapping[str, int]
    """Run id → number of the last folded event that changed it."""
    experiments: Mapping[str, Experiment]


@dataclass
class State:
    """What all events up to a point add up to.

    Owned by one store object, which guards it with its lock. The records inside are frozen:
    handing them out is safe.
    """

    load_curves: CurveLoader = no_curves
    """Given to each run, so that a reader can ask it for its curves."""
    experiments: dict[str, Experiment] = field(default_factory=dict)
    """Experiments that exist, by name, in the order of their creation."""
    runs: dict[str, Run] = field(default_factory=dict)
    """Runs that exist, by id, in the order of their creation."""
    by_experiment: dict[str, list[str]] = field(default_factory=dict)
    """Ids of an experiment's runs; the position is the run's number."""
    by_ordinal: list[str] = field(default_factory=list)
    """Ids of all runs ever created; the position is the run's ordinal."""
    findings: dict[str, Finding] = field(default_factory=dict)
    notified: set[tuple[str, str]] = field(default_factory=set)
    """``(finding id, channel id)`` of what was sent."""
    suggestions: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    """Bodies of ``suggestion.made`` by suggestion id, with ``experiment`` and ``time``."""
    documents: list[Event] = field(default_factory=list)
    touched: dict[str, int] = field(default_factory=dict)
    """Run id → number of the last folded event that changed it; tells an index what is stale."""
    n_events: int = 0
    """Events folded, repetitions not counted."""
    refused: set[str] = field(default_factory=set)
    """Ids of events that had no effect, because the run was over or was taken by somebody else."""
    _seen: set[str] = field(default_factory=set)
    _told: dict[str, tuple[float, ...]] = field(default_factory=dict)
    """Objective values that were told, not read off a curve."""
    _n_experiments: int = 0

    def fold(self, events: Iterable[Event]) -> None:
        """Apply events in their order."""
        for event in events:
            self.apply(event)

    def apply(self, event: Event) -> None:
        """Apply one event; one that is known already, or of an unknown kind, changes nothing."""
        if event.id in self._seen:
            return
        self._seen.add(event.id)
        self.n_events += 1
        handler = _HANDLERS.get(event.kind)
        if handler is None:
            return
        try:
            effective = handler(self, event)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            # Events are checked before they are appended; one written by other means must not stop every reader.
            log.warning("event %s of kind %r cannot be understood and has no effect: %r", event.id, event.kind, error)
            effective = False
        if not effective:
            self.refused.add(event.id)

    def snapshot(self) -> Snapshot:
        """Return what an index needs, as it is now; later events do not change it."""
        return Snapshot(dict(self.runs), touched=dict(self.touched), experiments=dict(self.experiments))

    def runs_of(self, experiment: str) -> Iterator[Run]:
        """Yield an experiment's runs in the order of their numbers."""
        return (self.runs[run_id] for run_id in self.by_experiment.get(experiment, ()))

    # Each handler returns whether the event had an effect.

    def _experiment_created(self, event: Event) -> bool:
        if event.experiment in self.experiments:
            return False
        body = event.body
        self.experiments[event.experiment] = Experiment(
            event.experiment,
            number=self._n_experiments,
            objectives=read_objectives(body.get("objectives") or ()),
            reduce=str(body.get("reduce") or "last"),
            space=body.get("space"),
            description=str(body.get("description") or ""),
            created=event.time,
            user_attrs=_frozen(body.get("user_attrs")),
            system_attrs=_frozen(body.get("system_attrs")),
        )
        self._n_experiments += 1
        self.by_experiment[event.experiment] = []
        return True

    def _experiment_updated(self, event: Event) -> bool:
        experiment = self.experiments.get(event.experiment)
        if experiment is None:
            return False
        changes: dict[str, Any] = {
            name: event.body[name] for name in ("reduce", "space", "description") if name in event.body
        }
        if "objectives" in event.body:
            changes["objectives"] = read_objectives(event.body["objectives"] or ())
        self.experiments[event.experiment] = replace(experiment, **changes)
        for run in list(self.runs_of(event.experiment)):
            self._put(run, event)  # objective values follow from the objectives
        return True

    def _experiment_deleted(self, event: Event) -> bool:
        if event.experiment not in self.experiments:
            return False
        del self.experiments[event.experiment]
        for run_id in self.by_experiment.pop(event.experiment):
            run = self.runs.pop(run_id)
            self.touched.pop(run_id, None)
            self._told.pop(run_id, None)
            for finding in run.findings:
                self.findings.pop(finding.id, None)
        gone = [key for key, made in self.suggestions.items() if made["experiment"] == event.experiment]
        for key in gone:
            del self.suggestions[key]
        self.documents = [document for document in self.documents if document.experiment != event.experiment]
        return True

    def _experiment_attr(self, event: Event) -> bool:
        experiment = self.experiments.get(event.experiment)
        if experiment is None:
            return False
        name = "system_attrs" if event.body.get("scope") == "system" else "user_attrs"
        attrs = {**getattr(experiment, name), str(event.body["key"]): event.body.get("value")}
        changes: dict[str, Any] = {name: MappingProxyType(attrs)}
        self.experiments[event.experiment] = replace(experiment, **changes)
        return True

    def _run_created(self, event: Event) -> bool:
        if event.experiment not in self.experiments or event.run_id in self.runs:
            return False
        body = event.body
        siblings = self.by_experiment[event.experiment]
        state = RunState(body.get("state", RunState.RUNNING))
        started = read_time(body.get("started"))
        if started is None and state is not RunState.WAITING and "started" not in body:
            started = event.time
        ended = read_time(body.get("ended"))
        if ended is None and state.is_over and "ended" not in body:
            ended = event.time
        run = Run(
            event.run_id,
            number=len(siblings),
            ordinal=len(self.by_ordinal),
            experiment=event.experiment,
            state=state,
            params=_frozen(body.get("params")),
            tags=tuple(body.get("tags") or ()),
            notes=tuple(body.get("notes") or ()),
            seed=body.get("seed"),
            created=event.time,
            started=started,
            ended=ended,
            meta=_frozen(body.get("meta")),
            error=body.get("error"),
            source=str(body.get("source") or "tracked"),
            suggestion_id=body.get("suggestion_id"),
            distributions=_frozen(body.get("distributions")),
            user_attrs=_frozen(body.get("user_attrs")),
            system_attrs=_frozen(body.get("system_attrs")),
            reports=MappingProxyType({int(k): float(v) for k, v in (body.get("reports") or {}).items()}),
            summary=_frozen(body.get("summary")),
            _load_curves=self.load_curves,
        )
        told = _told(body)
        siblings.append(event.run_id)
        self.by_ordinal.append(event.run_id)
        if told is not None:
            self._told[run.id] = told
        self._put(run, event)
        return True

    def _run_param(self, event: Event) -> bool:
        run = self._live(event)
        if run is None:
            return False
        name = str(event.body["name"])
        distributions = run.distributions
        if event.body.get("distribution") is not None:
            distributions = MappingProxyType({**distributions, name: event.body["distribution"]})
        params = MappingProxyType({**run.params, name: event.body.get("value")})
        self._put(replace(run, params=params, distributions=distributions), event)
        return True

    def _run_reported(self, event: Event) -> bool:
        run = self._live(event)
        if run is None:
            return False
        reports = {**run.reports, int(event.body["step"]): float(event.body["value"])}
        self._put(replace(run, reports=MappingProxyType(reports)), event)
        return True

    def _run_attr(self, event: Event) -> bool:
        run = self._live(event)
        if run is None:
            return False
        name = "system_attrs" if event.body.get("scope") == "system" else "user_attrs"
        attrs = {**getattr(run, name), str(event.body["key"]): event.body.get("value")}
        changes: dict[str, Any] = {name: MappingProxyType(attrs)}
        self._put(replace(run, **changes), event)
        return True

    def _run_state(self, event: Event) -> bool:
        run = self._live(event)
        if run is None:
            return False
        state = RunState(event.body["state"])
        if state is RunState.WAITING or (state is RunState.RUNNING and run.state is not RunState.WAITING):
            return False
        changes: dict[str, Any] = {"state": state}
        if run.started is None and state is RunState.RUNNING:
            changes["started"] = event.time
        if state.is_over:
            changes["ended"] = read_time(event.body.get("ended")) or event.time
            changes["error"] = event.body.get("error")
            if event.body.get("summary"):
                changes["summary"] = _frozen({**run.summary, **event.body["summary"]})
            told = _told(event.body)
            if told is not None:
                self._told[run.id] = told
        self._put(replace(run, **changes), event)
        return True

    def _run_captured(self, event: Event) -> bool:
        return self._grow(event, environment=lambda run: MappingProxyType({**run.environment, **event.body}))

    def _run_summarized(self, event: Event) -> bool:
        return self._grow(event, summary=lambda run: MappingProxyType({**run.summary, **event.body["summary"]}))

    def _run_noted(self, event: Event) -> bool:
        return self._grow(event, notes=lambda run: (*run.notes, str(event.body["text"])))

    def _run_tagged(self, event: Event) -> bool:
        new = [str(tag) for tag in event.body["tags"]]
        return self._grow(event, tags=lambda run: tuple(dict.fromkeys((*run.tags, *new))))

    def _run_data(self, event: Event) -> bool:
        return self._grow(event, data=lambda run: (*run.data, MappingProxyType(dict(event.body))))

    def _run_artifact(self, event: Event) -> bool:
        return self._grow(event, artifacts=lambda run: (*run.artifacts, MappingProxyType(dict(event.body))))

    def _finding_opened(self, event: Event) -> bool:
        body = event.body
        finding_id = str(body["finding_id"])
        if event.run_id not in self.runs:
            return False
        before = self.findings.get(finding_id)
        self.findings[finding_id] = Finding(
            finding_id,
            run_id=event.run_id,
            experiment=event.experiment,
            code=str(body["code"]),
            title=str(body["title"]),
            severity=Severity(body["severity"]),
            detector=str(body.get("detector", "rules")),
            metric=body.get("metric"),
            step=body.get("step"),
            p_value=body.get("p_value"),
            score=body.get("score"),
            evidence=_frozen(body.get("evidence")),
            state=FindingState.OPEN if before is None else before.state,
            time=event.time if before is None else before.time,
        )
        return self._show_finding(event, self.findings[finding_id])

    def _finding_state(self, event: Event) -> bool:
        finding = self.findings.get(str(event.body["finding_id"]))
        if finding is None:
            return False
        changed = replace(finding, state=FindingState(event.body["state"]))
        self.findings[finding.id] = changed
        return self._show_finding(replace(event, run_id=finding.run_id), changed)

    def _show_finding(self, event: Event, finding: Finding) -> bool:
        """Put a finding among its run's, in the place of what was said before under its id."""
        return self._grow(
            event,
            findings=lambda run: (
                tuple(finding if known.id == finding.id else known for known in run.findings)
                if any(known.id == finding.id for known in run.findings)
                else (*run.findings, finding)
            ),
        )

    def _finding_notified(self, event: Event) -> bool:
        self.notified.add((str(event.body["finding_id"]), str(event.body["channel"])))
        return True

    def _suggestion_made(self, event: Event) -> bool:
        body = {**event.body, "experiment": event.experiment, "time": event.time}
        self.suggestions[str(event.body["suggestion_id"])] = MappingProxyType(body)
        return True

    def _document_written(self, event: Event) -> bool:
        self.documents.append(event)
        return True

    # helpers

    def _live(self, event: Event) -> Run | None:
        run = self.runs.get(event.run_id)
        return None if run is None or run.state.is_over else run

    def _grow(self, event: Event, **changes: Callable[[Run], Any]) -> bool:
        """Change a run in a way that is allowed after its end too."""
        run = self.runs.get(event.run_id)
        if run is None:
            return False
        self._put(replace(run, **{name: change(run) for name, change in changes.items()}), event)
        return True

    def _put(self, run: Run, event: Event) -> None:
        experiment = self.experiments[run.experiment]
        summary = run.summary
        objective = experiment.objective
        if run.reports and objective is not None and run.state.is_over and objective.metric not in summary:
            steps = list(run.reports)
            curve = Curve.of(objective.metric, steps, [run.reports[step] for step in steps])
            summary = MappingProxyType({**summary, objective.metric: curve.summary()})
        metrics = {name: _number(figures.get("last")) for name, figures in summary.items() if figures.get("n")}
        told = self._told.get(run.id)
        self.runs[run.id] = replace(
            run,
            summary=summary,
            metrics=MappingProxyType(metrics),
            values=told if told is not None else objective_values(experiment, summary, run.state),
        )
        self.touched[run.id] = self.n_events


def objective_values(
    experiment: Experiment, summary: Mapping[str, Mapping[str, Any]], state: RunState
) -> tuple[float, ...]:
    """Return one value an objective, read off the figures of a run's curves.

    Empty while the run goes on, and where a figure that is needed is missing. NaN where a curve has
    no finite value at all.
    """
    if not experiment.objectives or not state.is_over:
        return ()
    values: list[float] = []
    for objective in experiment.objectives:
        figures = summary.get(objective.metric)
        if not figures or not figures.get("n"):
            return ()
        key = {"last": "last_finite", "best": "min" if objective.direction == "minimize" else "max"}
        name = key.get(experiment.reduce, experiment.reduce)
        if name not in figures:
            return ()
        values.append(_number(figures[name]))
    return tuple(values)


_HANDLERS: Final[Mapping[str, Callable[[State, Event], bool]]] = {
    "experiment.created": State._experiment_created,
    "experiment.updated": State._experiment_updated,
    "experiment.deleted": State._experiment_deleted,
    "experiment.attr": State._experiment_attr,
    "run.created": State._run_created,
    "run.param": State._run_param,
    "run.reported": State._run_reported,
    "run.attr": State._run_attr,
    "run.state": State._run_state,
    "run.captured": State._run_captured,
    "run.summarized": State._run_summarized,
    "run.noted": State._run_noted,
    "run.tagged": State._run_tagged,
    "run.data": State._run_data,
    "run.artifact": State._run_artifact,
    "finding.opened": State._finding_opened,
    "finding.state": State._finding_state,
    "finding.notified": State._finding_notified,
    "suggestion.made": State._suggestion_made,
    "document.written": State._document_written,
}


def _told(body: Mapping[str, Any]) -> tuple[float, ...] | None:
    values = body.get("values")
    return None if values is None else tuple(float(value) for value in values)


def _frozen(mapping: Mapping[str, Any] | None) -> Mapping[str, Any]:
    return MappingProxyType(dict(mapping)) if mapping else EMPTY


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def handled_kinds() -> frozenset[str]:
    """Return the kinds of events that change a state."""
    return frozenset(_HANDLERS)

"""Read what a document is written from: one function a kind, each from a store as it is or as it was.

Leaves out writing and keeping. Invariant: the same subject at the same commit and moment gives the same material, so a
document can be derived again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import advisor as package
from advisor.documents import (
    Activity,
    ChecklistMaterial,
    DigestMaterial,
    ExperimentComparison,
    ExperimentMaterial,
    IncidentMaterial,
    Material,
    ModelCardMaterial,
    Origin,
    RunComparison,
    RunMaterial,
)
from advisor.documents.standing import standing
from advisor.errors import AdvisorError, ConfigError, NotEnoughRunsError
from advisor.references import find_finding
from storage import likeness
from storage.curves import of_training
from storage.events import read_time
from storage.records import Finding, Run, RunState

if TYPE_CHECKING:
    from advisor.app import Advisor
    from advisor.experiment import Experiment
    from advisor.suggest import Importances

N_SUGGESTIONS: Final = 2
N_SIBLING_CURVES: Final = 40
"""Runs whose curves are drawn behind a single run's."""
N_SIMILAR: Final = 5
"""Runs with similar parameters that a summary names …"""
LEAST_LIKE: Final = 0.7
"""… where their likeness, 1 minus Gower's distance, is at least this."""
N_DIFFER: Final = 3
"""Parameters that are named of those in which two runs differ."""
MAX_SECOND: Final = 150
"""Runs up to which a second estimate of importances is asked for; on 300 it takes longer than all the rest."""
CURVE_POINTS: Final = 2_000
"""Points of a curve that is drawn among many: its spikes and what is not finite stay visible."""


def gather(adv: Advisor, origin: Origin) -> Material:
    """Return what the document of an origin is written from.

    Raises
    ------
    StorageError
        If what it is about is not in the store.
    ConfigError
        If there is nothing of that kind to write.
    """
    if origin.kind == "digest":
        return _digest(adv, origin)
    if origin.kind == "run-comparison":
        return _run_comparison(adv, origin)
    if origin.kind == "experiment-comparison":
        return _experiment_comparison(adv, origin)
    experiment = adv.experiment(origin.experiment, create=False)
    if origin.kind == "report":
        return _experiment(adv, experiment)
    if origin.kind == "checklist":
        return ChecklistMaterial(_records_only(adv, experiment))
    if origin.kind == "run-summary":
        return _run(adv, experiment, adv.store.run(origin.run_id))
    if origin.kind == "model-card":
        return ModelCardMaterial(_run(adv, experiment, adv.store.run(origin.run_id)))
    if origin.kind == "incident":
        return _incident(adv, experiment, origin)
    raise ConfigError(f"there is no kind of document {origin.kind!r}; 'advisor report --help' lists them")


def _dated(adv: Advisor) -> dict[str, Any]:
    return {"generated": adv.clock(), "version": package.__version__, "store_uri": adv.store.uri}


def _experiment(adv: Advisor, experiment: Experiment) -> ExperimentMaterial:
    runs = experiment.runs()
    space, notes = _space_of(experiment)
    importances, importances_note = _importances_of(experiment)
    is_asked = importances is not None and len(runs) <= MAX_SECOND
    second = _importances_of(experiment, method="ped-anova")[0] if is_asked else None
    return ExperimentMaterial(
        experiment.record,
        runs=runs,
        curves=adv.store.curves([run.id for run in runs], metrics=_drawn(experiment, runs), max_points=CURVE_POINTS),
        findings=experiment.findings(include_resolved=True),
        suggestions=_suggestions_of(experiment),
        importances=None if importances is None else _rounded(importances.shares),
        importance_ends={} if importances is None else {name: _pair(ends) for name, ends in importances.ends.items()},
        importances_note=importances_note + ("" if second is None else f"; {second.first_in_words}"),
        space=space,
        inferred_notes=notes,
        advice=_advice(),
        ledger=experiment.ledger(),
        search_advice=experiment.stop_advice(),
        **_dated(adv),
    )


def _rounded(shares: Mapping[str, float]) -> dict[str, float]:
    """Return shares to a hundredth of a percent: they are estimates from resampled runs."""
    return {name: round(share, 4) for name, share in shares.items()}


def _pair(ends: tuple[float, float]) -> tuple[float, float]:
    return round(ends[0], 4), round(ends[1], 4)


def _records_only(adv: Advisor, experiment: Experiment) -> ExperimentMaterial:
    """Return what can be told without curves, suggestions and models."""
    space, notes = _space_of(experiment)
    return ExperimentMaterial(
        experiment.record,
        runs=experiment.runs(),
        findings=experiment.findings(include_resolved=True),
        space=space,
        inferred_notes=notes,
        advice=_advice(),
        **_dated(adv),
    )


def _drawn(experiment: Experiment, runs: Sequence[Run]) -> list[str] | None:
    """Return the metric whose curves are drawn; None where that is not the objective's."""
    objective = experiment.record.objective
    if objective is None or not any(objective.metric in run.summary for run in runs):
        return None
    return [objective.metric]


def _run(adv: Advisor, experiment: Experiment, run: Run) -> RunMaterial:
    siblings = [other for other in experiment.runs() if other.id != run.id]
    return RunMaterial(
        run,
        experiment=experiment.record,
        siblings=siblings,
        curves=_curves_beside(adv, experiment, run, siblings),
        findings=run.findings,
        suggestions=_suggestions_of(experiment),
        forecast=_forecast_of(experiment, run),
        similar=_similar(run, siblings),
        advice=_advice(),
        **_dated(adv),
    )


def _similar(run: Run, siblings: Sequence[Run]) -> list[tuple[Run, str]]:
    """Return the runs that ended with the most similar parameters, and what they differ in; the most similar first."""
    if not run.params:
        return []
    ended = [other for other in siblings if other.state.is_over and other.params]
    ranges = likeness.scales([run.params, *(other.params for other in ended)])
    ranked = sorted(
        ((likeness.of_parameters(run.params, other.params, scales=ranges), other) for other in ended),
        key=lambda pair: (-pair[0], pair[1].number),
    )
    return [(other, _difference(run, other)) for like, other in ranked[:N_SIMILAR] if like >= LEAST_LIKE]


def _difference(run: Run, other: Run) -> str:
    names = sorted(run.params.keys() | other.params.keys())
    differ = [name for name in names if run.params.get(name) != other.params.get(name)]
    if not differ:
        return "the same parameters"
    more = f" and {len(differ) - N_DIFFER} more" if len(differ) > N_DIFFER else ""
    return f"differs in {', '.join(differ[:N_DIFFER])}{more}"


def _curves_beside(adv: Advisor, experiment: Experiment, run: Run, siblings: Sequence[Run]) -> Mapping[str, Any]:
    """Return the run's own curves, and the objective's curves of its latest siblings, the best and the most similar."""
    named = {finding.evidence.get("nearest_sibling") for finding in run.findings}
    drawn = [*siblings[-N_SIBLING_CURVES:], *(other for other in siblings if other.id in named)]
    objective = experiment.record.objective
    best = standing(experiment.record, siblings).best
    wanted = list(dict.fromkeys([*([best.id] if best else []), *(other.id for other in drawn)]))
    metrics = None if objective is None else [objective.metric]
    others = adv.store.curves(wanted, metrics=metrics, max_points=CURVE_POINTS) if wanted else {}
    return {**others, **_of_trainings(adv.store.curves([run.id]))}


def _of_trainings(curves: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Leave out what the machines did: documents are about trainings."""
    return {run_id: of_training(own) for run_id, own in curves.items()}


def _incident(adv: Advisor, experiment: Experiment, origin: Origin) -> IncidentMaterial:
    from advisor.findings import CODES

    finding = find_finding(adv.store, str(origin.about.get("finding", "")), within=experiment.record.name)
    run = adv.store.run(finding.run_id)
    siblings = [other for other in experiment.runs() if other.id != run.id]
    code = CODES.get(finding.code)
    keys = ("slug", "how_detected", "why_it_matters", "what_to_do")
    curves = _curves_beside(adv, experiment, run, siblings)
    if finding.metric is not None:
        wanted = [other.id for other in siblings[-N_SIBLING_CURVES:]]
        beside = adv.store.curves(wanted, metrics=[finding.metric], max_points=CURVE_POINTS) if wanted else {}
        curves = {key: {**beside.get(key, {}), **curves.get(key, {})} for key in {**beside, **curves}}
    return IncidentMaterial(
        finding,
        run=run,
        experiment=experiment.record,
        siblings=siblings,
        curves=curves,
        others=experiment.findings(include_resolved=True),
        history=_history_of(adv, run, finding.id),
        guide={} if code is None else {key: getattr(code, key) for key in keys} | _first_step(finding),
        **_dated(adv),
    )


def _first_step(finding: Finding) -> dict[str, str]:
    """Return what to do where the finding knows what to look at first: a sentence of ours, not one from the store."""
    from advisor.findings import CODES
    from advisor.findings.hints import SENTENCES

    hint = finding.evidence.get("hint")
    if not isinstance(hint, str) or hint not in SENTENCES:
        return {}
    return {"what_to_do": f"{hint[0].upper()}{hint[1:]}. {CODES[finding.code].what_to_do}"}


def _history_of(adv: Advisor, run: Run, finding_id: str) -> list[Any]:
    kinds = ["finding.opened", "finding.state", "finding.judged", "finding.notified"]
    told = adv.store.journal(run_ids=[run.id], kinds=kinds)
    own = {event.id: event for event in told if event.body.get("finding_id") == finding_id}
    return list(own.values())


def _run_comparison(adv: Advisor, origin: Origin) -> RunComparison:
    a, b = adv.store.run(str(origin.about["a"])), adv.store.run(str(origin.about["b"]))
    return RunComparison(
        a,
        b,
        experiment=adv.store.experiment(a.experiment),
        other=adv.store.experiment(b.experiment),
        siblings=adv.store.runs(a.experiment),
        other_siblings=() if a.experiment == b.experiment else adv.store.runs(b.experiment),
        curves=_of_trainings(adv.store.curves([a.id, b.id])),
        **_dated(adv),
    )


def _experiment_comparison(adv: Advisor, origin: Origin) -> ExperimentComparison:
    a, b = (adv.store.experiment(str(origin.about[key])) for key in ("a", "b"))
    runs_a, runs_b = (adv.store.runs(record.name) for record in (a, b))
    return ExperimentComparison(a, b, runs_a=runs_a, runs_b=runs_b, **_dated(adv))


def _digest(adv: Advisor, origin: Origin) -> DigestMaterial:
    since, until = read_time(str(origin.about["since"])), read_time(str(origin.about["until"]))
    assert since is not None  # written by ``span`` below
    assert until is not None
    known = [record for record in adv.store.experiments() if origin.experiment in ("", record.name)]
    if origin.experiment and not known:
        known = [adv.store.experiment(origin.experiment)]
    return DigestMaterial(
        since,
        until,
        activities=[Activity(record, runs=adv.store.runs(record.name)) for record in known],
        subject=origin.experiment,
        advice=_advice(),
        **_dated(adv),
    )


def span(since: str | datetime | timedelta, now: datetime) -> datetime:
    """Return when a span begins: ``7d``, ``24h``, ``2w``, ``30min``, an ISO time, or a length of time.

    Raises
    ------
    ConfigError
        If it is none of these, or lies in the future.
    """
    if isinstance(since, timedelta):
        begin = now - since
    elif isinstance(since, datetime):
        begin = since if since.tzinfo else since.replace(tzinfo=now.tzinfo)
    else:
        begin = _read_span(since.strip(), now)
    if begin >= now:
        raise ConfigError(f"since = {since!s:.40} lies in the future; give a length of time like 7d, or an earlier day")
    return begin


_UNITS: Final = {"min": 60.0, "h": 3_600.0, "d": 86_400.0, "w": 604_800.0}


def _read_span(text: str, now: datetime) -> datetime:
    for unit, seconds in _UNITS.items():
        number = text.removesuffix(unit)
        if number != text and number.replace(".", "", 1).isdecimal():
            return now - timedelta(seconds=min(float(number), 1e5) * seconds)
    try:
        found = read_time(text)
    except ValueError:
        found = None
    if found is None:
        raise ConfigError(f"since = {text!r:.40} is not understood; give 7d, 24h, 30min, 2w, or a day like 2026-03-01")
    return found


# -- what several kinds are written from


def _space_of(experiment: Experiment) -> tuple[Mapping[str, Mapping[str, Any]] | None, Sequence[str]]:
    try:
        space, notes = experiment.space()
    except NotEnoughRunsError:
        return None, ()
    return space.to_json(), notes


def _importances_of(experiment: Experiment, *, method: str = "total-effects") -> tuple[Importances | None, str]:
    try:
        return experiment.importances(method=method)
    except AdvisorError as error:
        return None, str(error)


def _suggestions_of(experiment: Experiment) -> list[dict[str, Any]]:
    """Ask what to try next, without keeping the answer: reading a report must not change the experiment."""
    try:
        made = experiment.suggest(N_SUGGESTIONS, seed=len(experiment.runs()), keep=False)
    except AdvisorError:
        return []  # no objective or no space: the report says what is missing
    return [suggestion.as_json() for suggestion in made]


def _forecast_of(experiment: Experiment, run: Run) -> dict[str, Any] | None:
    if run.state is not RunState.RUNNING:
        return None
    try:
        found, _ = experiment.explain_forecast(run)
    except AdvisorError:
        return None
    return None if found is None else found.as_json()


def _advice() -> dict[str, str]:
    from advisor.findings import CODES

    return {code: entry.what_to_do for code, entry in CODES.items()}

"""The operation that says what is wrong with a run: findings in words, what to do, the nearest healthy run, a forecast.

It tells what checks and watchers have found and kept, and looks itself, by the rules that need no siblings. It keeps
nothing. Invariant: a run that could not be judged is never called sound; what was not judged is said.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from msgspec import Meta

from advisor.documents import numbers
from advisor.documents.fact_paths import difference_fact, finding_facts, run_facts
from advisor.errors import AdvisorError
from advisor.findings.healthy import healthy, median_of
from advisor.operations import bounds, find
from advisor.operations.operation import Answer, Asked, Operation, Told, untrusted
from advisor.operations.suggesting import ForecastTold, forecast_told
from advisor.operations.told import FindingTold, RunName, RunTold, facts_told, finding_told, run_told
from storage import likeness
from storage.curves import of_training
from storage.evidence import worded
from storage.records import Finding, FindingState, Run, RunState

if TYPE_CHECKING:
    from advisor.app import Advisor
    from advisor.findings.rules import Judgement
    from storage.records import Curve, Experiment

MOST_POINTS: Final = 300_000
"""Points of a run's curves that are followed while somebody waits; of more only what was kept is told."""
CANDIDATES: Final = 200
"""Sound runs that are compared: so many of the best, and so many of the latest."""
N_DIFFER: Final = 12
FORECAST_UP_TO: Final = 5_000
"""Runs of an experiment up to which a forecast is worked out unasked; get_forecast does it for any."""
MAX_FINDINGS: Final = 50
NOT_KEPT: Final = "seen now, not kept: check_experiment keeps them"


class DiagnoseAsked(Asked, frozen=True, kw_only=True):
    """Which run."""

    run: RunName


class DiagnosisTold(Told, frozen=True, kw_only=True):
    """One finding, and what to make of it."""

    finding: FindingTold
    is_kept: Annotated[
        bool, Meta(description="Whether it is in the store; else it was seen just now, and check_experiment keeps it.")
    ]
    kind: Annotated[str, Meta(description="The kind of trouble in a word or two.", examples=["spike"])]
    evidence_in_words: Annotated[list[str], untrusted("The figures it rests on, one a line.")]
    hint: Annotated[str | None, Meta(description="What to look at first; null where nothing is known.")]
    how_detected: str
    why_it_matters: str
    what_to_do: str
    docs: Annotated[str, Meta(description="Where the code is documented.")]


class SiblingTold(Told, frozen=True, kw_only=True):
    """The sound run with the most similar parameters."""

    run: RunTold
    differs_in: Annotated[dict[str, list[Any]], untrusted("Parameter → its value in this run and in that one.")]
    n_compared: Annotated[int, Meta(description="Sound runs among which it is the nearest.")]


class DiagnosedTold(Answer, frozen=True, kw_only=True):
    """What is wrong with a run."""

    run: RunTold
    outcome: Annotated[
        Literal["trouble", "nothing found", "could not be judged"],
        Meta(description="'nothing found' means that every rule could be applied; it is no proof of soundness."),
    ]
    error: Annotated[
        str | None,
        untrusted("Why it ended, where it did not end well: the end of the traceback, or else what was told of it."),
    ]
    findings: Annotated[list[DiagnosisTold], Meta(description="Not resolved ones, the gravest first.")]
    note: Annotated[str, Meta(description="What to do about findings that are not kept; empty where all are.")]
    not_judged: Annotated[list[str], untrusted("What could not be judged, and why.")]
    healthy_sibling: SiblingTold | None
    forecast: Annotated[ForecastTold | None, Meta(description="Of a run that goes on; null where nobody can tell.")]
    forecast_note: Annotated[str, untrusted("What the forecast rests on, or why there is none.")]


def diagnose_run(adv: Advisor, asked: DiagnoseAsked) -> DiagnosedTold:
    """Say what is wrong with a run."""
    from advisor.findings.rules import said_of

    run = find.run(adv, asked.run)
    record = adv.store.experiment(run.experiment)
    kept = [finding for finding in run.findings if finding.state is not FindingState.RESOLVED]
    judgement, reasons = _looked_at(adv, record, run)
    new = _new(run, judgement)
    found = sorted([*kept, *new], key=lambda finding: -finding.severity.rank)[:MAX_FINDINGS]
    sibling, n_compared = _sibling(adv, record, run, found)
    foretold, why = _forecast(adv, run)
    error = said_of(run)
    outcome: Any = "trouble" if found else "could not be judged" if reasons else "nothing found"
    return DiagnosedTold(
        run=run_told(run),
        outcome=outcome,
        error=None if error is None else bounds.end_of(error),
        findings=[_told(finding, is_kept=finding in kept) for finding in found],
        note=f"{len(new)} {NOT_KEPT}" if new else "",
        not_judged=[bounds.prose(reason) for reason in reasons],
        healthy_sibling=None if sibling is None else _sibling_told(run, sibling, n_compared),
        forecast=foretold,
        forecast_note=bounds.prose(why),
        facts=facts_told(_facts(adv, record, run, kept, sibling)),
    )


def seen_now(adv: Advisor, run: Run) -> list[Finding]:
    """Return what a run shows by itself and nobody has kept."""
    return _new(run, _looked_at(adv, adv.store.experiment(run.experiment), run)[0])


def _new(run: Run, judgement: Judgement | None) -> list[Finding]:
    known = {finding.key for finding in run.findings}
    return [] if judgement is None else [finding for finding in judgement.findings if finding.key not in known]


def _looked_at(adv: Advisor, record: Experiment, run: Run) -> tuple[Judgement | None, list[str]]:
    """Apply the rules to the run as it is now; return what they say, and what could not be judged."""
    from advisor.findings import CODES
    from advisor.findings.rules import judge

    n_points = sum(int(figures.get("n") or 0) for figures in run.summary.values())
    if n_points > MOST_POINTS:
        return None, [f"its curves have {n_points:,} points: only what checks and watchers kept is told"]
    curves: Mapping[str, Curve] = of_training(adv.store.curves([run.id]).get(run.id, {}))
    judgement = judge(run, curves, objective=record.objective, siblings=None, now=adv.clock())
    reasons: dict[str, list[str]] = {}
    for each in judgement.not_judged:
        reasons.setdefault(each.reason, []).append(CODES[each.check].slug if each.check in CODES else each.check)
    return judgement, [f"{reason}: not checked for {', '.join(dict.fromkeys(s))}" for reason, s in reasons.items()]


def _told(finding: Finding, *, is_kept: bool) -> DiagnosisTold:
    from advisor.findings import CODES

    code = CODES.get(finding.code)
    return DiagnosisTold(
        finding=finding_told(finding),
        is_kept=is_kept,
        kind="" if code is None else code.slug,
        evidence_in_words=in_words(finding),
        hint=hint_of(finding),
        how_detected="" if code is None else code.how_detected,
        why_it_matters="" if code is None else code.why_it_matters,
        what_to_do="" if code is None else code.what_to_do,
        docs="docs/findings.md" if code is None else code.anchor,
    )


def in_words(finding: Finding) -> list[str]:
    """Return what a finding rests on, one figure a line."""
    told = worded(finding.evidence)[: bounds.ENTRIES]
    return [f"{bounds.name(name)}: {numbers.parameter(value, limit=bounds.NAME)}" for name, value in told]


def hint_of(finding: Finding) -> str | None:
    """Return what to look at first: a sentence of ours; whatever else stands there is not passed on as advice."""
    from advisor.findings.hints import SENTENCES

    hint = finding.evidence.get("hint")
    return hint if isinstance(hint, str) and hint in SENTENCES else None


# -- the nearest sound run


def _sibling(adv: Advisor, record: Experiment, run: Run, found: Sequence[Finding]) -> tuple[Run | None, int]:
    """Return the sound run with the most similar parameters, of the best and the latest ones."""
    objective = record.objective
    where = "state = 'finished'"
    latest = adv.store.runs(record.name, where=where, order_by="number", descending=True, limit=CANDIDATES)
    descending = objective is not None and objective.direction == "maximize"
    best = adv.store.runs(record.name, where=where, order_by="objective", descending=descending, limit=CANDIDATES)
    candidates = {each.id: each for each in (*best, *latest)}
    sound = healthy(record, [each for each in candidates.values() if each.id != run.id], median=median_of(latest))
    others = {each.id: each for each in sound}
    if not others:
        return None, 0
    for finding in found:  # a check compared with all of them
        named = others.get(str(finding.evidence.get("nearest_sibling")))
        if named is not None:
            return named, len(others)
    ranges = likeness.scales([run.params, *(each.params for each in others.values())])
    nearest = max(
        others.values(),
        key=lambda each: (likeness.of_parameters(run.params, each.params, scales=ranges), -each.number),
    )
    return nearest, len(others)


def _sibling_told(run: Run, other: Run, n_compared: int) -> SiblingTold:
    names = list(dict.fromkeys([*run.params, *other.params]))
    differ = [name for name in names if run.params.get(name) != other.params.get(name)]
    shown = {
        bounds.name(name): [bounds.value(run.params.get(name)), bounds.value(other.params.get(name))]
        for name in differ[:N_DIFFER]
    }
    return SiblingTold(run=run_told(other), differs_in=shown, n_compared=n_compared)


# -- the forecast, and the facts


def _forecast(adv: Advisor, run: Run) -> tuple[ForecastTold | None, str]:
    if run.state is not RunState.RUNNING:
        return None, f"the run is {run.state}: nothing remains to be foretold"
    if adv.store.count(run.experiment) > FORECAST_UP_TO:
        return None, "the experiment has many runs: ask get_forecast, which takes longer"
    try:
        found, why = adv.experiment(run.experiment, create=False).explain_forecast(run)
    except AdvisorError as error:
        return None, str(error)
    return (None if found is None else forecast_told(found)), why


def _facts(adv: Advisor, record: Experiment, run: Run, kept: Sequence[Finding], sibling: Run | None) -> Iterator[Any]:
    for finding in kept:
        yield from finding_facts(run, finding)
    yield from run_facts(record, run)
    if sibling is not None:
        difference = difference_fact(adv.store, sibling, run, "objective")
        yield from run_facts(record, sibling, curves=False)
        if difference is not None:
            yield difference


DIAGNOSE_RUN: Final = Operation(
    "diagnose_run",
    title="What is wrong with a run",
    about="Say what is wrong with a run: findings with their evidence in words, what to do, the nearest healthy run "
    "and what it does otherwise, a forecast where the run goes on. Keeps nothing.",
    asks=DiagnoseAsked,
    answers=DiagnosedTold,
    does=diagnose_run,
    path="/runs/{run}/diagnosis",
)

"""Check all runs of an experiment: rules for each run, the forest for each among its siblings.

Reads no store and writes none. Invariant: every run with a curve gets a score, and every check that could
not be applied to it is named with the reason; the same runs give the same result, ids included.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from advisor.findings import codes
from advisor.findings.calibration import benjamini_hochberg
from advisor.findings.configuration import explained
from advisor.findings.design import nearest
from advisor.findings.features import FEATURE_NAMES, feature_words, features
from advisor.findings.healthy import at_least_usual, usual, without_trouble
from advisor.findings.hints import hint
from advisor.findings.learned import VIEWS, Learned, shipped
from advisor.findings.pace import MIN_SIBLINGS_TIME, Siblings, step_times
from advisor.findings.roles import primary
from advisor.findings.rules import NotJudged, end_value, judge
from storage.curves import of_training
from storage.records import Curve, Experiment, Finding, Objective, Run, RunState, Severity

if TYPE_CHECKING:
    from advisor.findings.forest import Scores

Floats = NDArray[np.float64]
Curves = Mapping[str, Curve]

ALPHA = 0.1
"""False discovery rate over the experiment (Benjamini-Hochberg) at which an unusual curve is a warning."""
ALPHA_SINGLE = 0.05
"""A conformal p-value is a rank, so a lone strange run cannot pass a false discovery rate over all its siblings;
at this level by itself it is information: 1 in 20 sound runs reaches it."""
MIN_SIGMAS = 5.0
"""And one feature must lie this many robust sigmas off: the strangest of a calm sweep is still calm."""
FULL_SHARE = 0.9
"""A run this long counts as whole. Lengths count from a run's own first step, so that a resumed run whose steps go on
from 900 is not taken for a long one."""
MIN_SHAPE_POINTS = 10
"""A curve must have this many points to be compared with its siblings."""
N_TOP = 3
"""Features named in a finding."""
NON_FINITE_BONUS = 1.0
"""Added to the score of a run that ends in values that are not finite: that ranks before everything unusual. Not for
other rules: 1 to 2 in 100 healthy runs with an odd configuration end above their start or never learn."""


@dataclass(frozen=True, slots=True)
class RunScore:
    """How unusual a run's curves are among its siblings."""

    run_id: str
    _: KW_ONLY
    score: float
    """Higher is more anomalous: what the forests and the learned head say together, in (0, 1), and 1 more where it
    ends in values that are not finite. Without the first part where the run could not be compared;
    ``Checked.not_judged`` says why."""
    p_value: float | None
    """Conformal p-value among sound siblings, in (0, 1]; None where there are none to speak of."""
    forest: float | None = None
    """What the isolation forests say alone, in (0, 1); None where the run could not be compared."""
    head: float | None = None
    """What the learned head says alone, in [0, 1]; None where it is off or the run could not be compared."""


@dataclass(frozen=True, slots=True)
class Checked:
    """The result of a check."""

    findings: tuple[Finding, ...]
    """Gravest first."""
    scores: tuple[RunScore, ...]
    """One for every run with a curve, in the order of the runs."""
    not_judged: tuple[NotJudged, ...]
    """What could not be applied, and why."""
    _: KW_ONLY
    numbers: Mapping[str, int] = field(default_factory=dict)
    """Run id → its number in its experiment, for every run that was looked at."""

    def _repr_html_(self) -> str:
        from advisor import notebook
        from advisor.findings.unjudged import reasons

        return notebook.checked(self, reasons(self.not_judged))

    def _repr_pretty_(self, printer: Any, _cycle: bool) -> None:
        printer.text(f"<Checked {len(self.numbers):,} runs: {len(self.findings):,} findings, ")
        printer.text(f"{len({each.run_id for each in self.not_judged}):,} runs could not be judged in everything>")


def check_experiment(
    experiment: Experiment,
    runs: Sequence[Run],
    curves: Mapping[str, Mapping[str, Curve]],
    *,
    now: datetime,
    seed: int = 0,
    head: bool = True,
    learned: Learned | None = None,
) -> Checked:
    """Check every run of an experiment by rules and against its siblings.

    Parameters
    ----------
    curves
        ``{run_id: {metric: curve}}``; runs may be missing.
    now
        UTC; the time of the findings, and what a running run's silence is measured against.
    seed
        Of the forests; the same seed gives the same scores.
    head
        Whether the learned head has a say; the isolation forests stand alone without it.
    learned
        What was learned of other experiments; what came with the package when None.
    """
    objective = experiment.objective
    curves = {run_id: of_training(own) for run_id, own in curves.items()}
    paces = {run.id: _pace(curves.get(run.id, {})) for run in runs}
    ends = {run.id: _end(curves.get(run.id, {}), objective) for run in runs if run.state is RunState.FINISHED}
    findings: list[Finding] = []
    not_judged: list[NotJudged] = []
    for run in runs:
        siblings = _siblings(run.id, paces, ends)
        judgement = judge(run, curves.get(run.id, {}), objective=objective, siblings=siblings, now=now)
        findings += judgement.findings
        not_judged += judgement.not_judged
    findings = explained(findings, runs)
    ruled = {finding.run_id for finding in findings if _is_broken(finding)}
    exemplary = _exemplary(experiment, runs, ends, findings)
    how = _How(learned, head=head, seed=seed, now=now, exemplary=exemplary)
    lost = {f.run_id for f in findings if f.code == codes.NON_FINITE.code and f.severity is Severity.ERROR}
    scores, unusual, skipped = _compare(runs, curves, objective, ruled, how)
    scores = [replace(one, score=one.score + NON_FINITE_BONUS * (one.run_id in lost)) for one in scores]
    findings = sorted(findings + unusual, key=lambda f: (-f.severity.rank, f.code, f.run_id, f.metric or ""))
    numbers = {run.id: run.number for run in runs}
    return Checked(tuple(findings), tuple(scores), tuple(not_judged + skipped), numbers=numbers)


def _said_to_be_faulty(run: Run) -> bool:
    """Return whether a person judged a finding of the run real: nobody learns from it what is usual."""
    return any(finding.verdict == "real" for finding in run.findings)


def _verdict(run: Run) -> float:
    """Return what was said of findings in the run's curves: 1 where one was real, 0 where all were false alarms."""
    said = {f.verdict for f in run.findings if f.detector == "isolation-forest" or f.metric is not None} - {None}
    return float("nan") if not said else float("real" in said)


@dataclass(frozen=True, slots=True)
class _How:
    """How runs are compared."""

    learned: Learned | None
    _: KW_ONLY
    head: bool
    seed: int
    now: datetime
    exemplary: frozenset[str]
    """Runs that may be named as healthy beside an unusual one."""


def _is_broken(finding: Finding) -> bool:
    """Return whether a run with this finding shows nothing of what sound curves look like."""
    if finding.code == codes.NEVER_LEARNED.code:
        return True
    return finding.code in (codes.NON_FINITE.code, codes.DIVERGED.code) and finding.severity is Severity.ERROR


def _pace(curves: Curves) -> float | None:
    seconds = step_times(curves)
    return float(np.median(seconds)) if seconds.size else None


def _end(curves: Curves, objective: Objective | None) -> float | None:
    """Return the objective at the end of a run's curve, None where there is none or it is not finite."""
    if objective is None or objective.metric not in curves:
        return None
    return end_value(curves[objective.metric])


def _exemplary(
    experiment: Experiment, runs: Sequence[Run], ends: Mapping[str, float | None], findings: Sequence[Finding]
) -> frozenset[str]:
    """Return the finished runs that no rule found anything in, and that came out at least as well as half of them."""
    values = {
        run.id: ends.get(run.id) if run.objective is None else run.objective
        for run in runs
        if run.state is RunState.FINISHED
    }
    median = usual(values.values())
    good = [run_id for run_id, value in values.items() if at_least_usual(experiment.objective, value, median)]
    found: dict[str, list[Finding]] = {}
    for finding in findings:
        found.setdefault(finding.run_id, []).append(finding)
    return frozenset(without_trouble(good, found))


def _siblings(run_id: str, paces: Mapping[str, float | None], ends: Mapping[str, float | None]) -> Siblings:
    others = [pace for other, pace in paces.items() if other != run_id and pace is not None]
    usual = float(np.median(others)) if len(others) >= MIN_SIBLINGS_TIME else None
    values = tuple(end for other, end in ends.items() if other != run_id and end is not None)
    return Siblings(len(paces) - 1, step_time_s=usual, values=values)


def _compare(
    runs: Sequence[Run],
    curves: Mapping[str, Curves],
    objective: Objective | None,
    broken: set[str],
    how: _How,
) -> tuple[list[RunScore], list[Finding], list[NotJudged]]:
    """Return scores for all runs with a curve, findings for the unusual, and reasons for the rest."""
    present = [run for run in runs if any(len(curve) for curve in curves.get(run.id, {}).values())]
    extents = {run.id: _extent(curves[run.id], objective) for run in present}
    view_of, skipped = _views(present, curves, extents, objective, broken)
    found: dict[str, RunScore] = {}
    unusual: list[Finding] = []
    for view in VIEWS:
        members = [run for run in present if view_of.get(run.id, (0, 0))[0] == view]
        if not members:
            continue
        cut = view_of[members[0].id][1]
        longer = [run for run in present if view_of.get(run.id, (0, 0))[0] > view and run.id not in broken]
        cast = members + longer
        scored = _score_view(cast, curves, objective, broken, view, cut, how)
        found |= {run.id: _run_score(run.id, scored, row) for row, run in enumerate(members)}
        skipped += [
            NotJudged(run.id, check=codes.UNUSUAL.code, reason=why)
            for row, run in enumerate(members)
            if run.id not in broken and (why := _too_few(scored, row)) is not None
        ]
        unusual += _unusual(members, cast, scored, broken, how)
    nothing = {run.id: RunScore(run.id, score=0.0, p_value=None) for run in present}
    scores = list((nothing | found).values())
    return scores, unusual, skipped


def _run_score(run_id: str, scored: Scores, row: int) -> RunScore:
    return RunScore(
        run_id,
        score=float(scored.score[row]),
        p_value=None if scored.p_value is None else float(scored.p_value[row]),
        forest=float(scored.forest[row]),
        head=None if scored.head is None else float(scored.head[row]),
    )


def _too_few(scored: Scores, row: int) -> str | None:
    """Return why no p-value says that this run is unusual, None where one could."""
    if scored.p_value is None:
        n = int(scored.usual.sum() - scored.usual[row])
        return f"too few siblings: {n} sound runs to compare with; its score compares it with trainings of other people"
    if 1 / (scored.n_siblings[row] + 1) > ALPHA_SINGLE:
        return f"{scored.n_siblings[row]} siblings: no p-value can be {ALPHA_SINGLE} or less; the score stands"
    return None


def _extent(curves: Curves, objective: Objective | None) -> float:
    """Return the steps from the first to the last of the primary curve, both included; NaN without one."""
    metric = primary(curves, objective)
    if metric is None or not len(curves[metric]):
        return float("nan")
    steps = curves[metric].steps
    return float(steps.max()) - float(steps.min()) + 1.0


def _views(
    runs: Sequence[Run],
    curves: Mapping[str, Curves],
    extents: Mapping[str, float],
    objective: Objective | None,
    broken: set[str],
) -> tuple[dict[str, tuple[float, float]], list[NotJudged]]:
    """Return (view, its length in steps) of each run that can be compared, and reasons for the others."""
    ended = [
        extents[r.id]
        for r in runs
        if r.state is RunState.FINISHED and r.id not in broken and np.isfinite(extents[r.id])
    ]
    usual = float(np.median(ended or [e for e in extents.values() if np.isfinite(e)] or [np.nan]))
    view_of: dict[str, tuple[float, float]] = {}
    skipped: list[NotJudged] = []
    for run in runs:
        share = extents[run.id] / usual if usual > 0 else 1.0
        reached = [view for view in VIEWS if share >= (FULL_SHARE if view == 1 else view)]
        metric = primary(curves[run.id], objective)
        if metric is None:
            why = "no curve whose better direction is known; set the experiment's objective"
        elif len(curves[run.id][metric]) < MIN_SHAPE_POINTS:
            why = (
                f"too short: {metric} has {len(curves[run.id][metric])} values, at least {MIN_SHAPE_POINTS} are needed"
            )
        elif not reached:
            why = f"too short: {share:.0%} of its siblings' length, at least {VIEWS[0]:.0%} are needed"
        else:
            view_of[run.id] = (reached[-1], reached[-1] * usual)
            continue
        skipped.append(NotJudged(run.id, check=codes.UNUSUAL.code, reason=why))
    return view_of, skipped


def _score_view(
    cast: Sequence[Run],
    curves: Mapping[str, Curves],
    objective: Objective | None,
    broken: set[str],
    view: float,
    cut: float,
    how: _How,
) -> Scores:
    from advisor.findings.forest import Population, isolate

    whole = view == VIEWS[-1]
    seen = [curves[run.id] if whole else beginning(curves[run.id], cut, objective) for run in cast]
    population = Population(
        np.array([features(one, objective=objective) for one in seen]),
        params=[run.params for run in cast],
        sound=np.array([run.id not in broken and not _said_to_be_faulty(run) for run in cast]),
        verdicts=np.array([_verdict(run) for run in cast]),
    )
    known = (how.learned or shipped()).views[view]
    return isolate(population, known, head=how.head, seed=how.seed)


def beginning(curves: Curves, length: float, objective: Objective | None) -> dict[str, Curve]:
    """Return the beginnings of the curves: all metrics up to the step that is ``length`` into the primary curve."""
    metric = primary(curves, objective)
    assert metric is not None  # a run without one is in no view
    end = float(curves[metric].steps.min()) + length
    out = {}
    for name, curve in curves.items():
        keep = curve.steps < end
        out[name] = Curve.of(name, curve.steps[keep], curve.values[keep], curve.times[keep])
    return out


def _unusual(members: Sequence[Run], cast: Sequence[Run], scored: Scores, broken: set[str], how: _How) -> list[Finding]:
    """Return findings for the unusual among the runs that the rules left."""
    if scored.p_value is None:
        return []
    n = len(members)
    p_values = np.where([run.id in broken for run in members], np.nan, scored.p_value[:n])
    strong = np.abs(scored.z[:n]).max(axis=1) >= MIN_SIGMAS
    surprising = strong & benjamini_hochberg(p_values, ALPHA)
    alone = strong & (p_values <= ALPHA_SINGLE)
    flagged = surprising | alone
    healthy = scored.usual & np.array([run.id in how.exemplary for run in cast])
    healthy[:n] &= ~flagged
    return [
        _finding(cast, scored, row, healthy, how.now, Severity.WARNING if surprising[row] else Severity.INFO)
        for row in np.flatnonzero(flagged).tolist()
    ]


def _finding(
    cast: Sequence[Run],
    scored: Scores,
    row: int,
    healthy: NDArray[np.bool_],
    now: datetime,
    severity: Severity,
) -> Finding:
    assert scored.p_value is not None  # no finding without siblings
    run, z, p = cast[row], scored.z[row], float(scored.p_value[row])
    top = [int(i) for i in np.argsort(-np.abs(z), kind="stable")[:N_TOP] if z[i] != 0]
    words = [f"{feature_words(FEATURE_NAMES[i])} {z[i]:+.1f} σ" for i in top]
    evidence = {
        "n_siblings": int(scored.n_siblings[row]),
        "p": p,
        "top": "; ".join(words) or "many small deviations",
        "sigmas": {FEATURE_NAMES[i]: round(float(z[i]), 2) for i in top},
        "forest": round(float(scored.forest[row]), 4),
        "head": None if scored.head is None else round(float(scored.head[row]), 4),
        "hyperparameters_regressed_out": scored.regressed,
        "threshold_p": ALPHA_SINGLE,
        "threshold_false_discovery_rate": ALPHA,
    }
    advice = hint(FEATURE_NAMES, z.tolist())
    if advice is not None:
        evidence["hint"] = advice
    sibling = nearest([other.params for other in cast], row, among=healthy)
    if sibling is not None:
        evidence |= {"nearest_sibling": cast[sibling].id, "nearest_sibling_number": cast[sibling].number}
    return codes.finding(
        codes.UNUSUAL,
        run_id=run.id,
        experiment=run.experiment,
        time=now,
        evidence=evidence,
        severity=severity,
        detector="isolation-forest",
        p_value=p,
        score=float(scored.score[row]),
    )

"""The ledger: what was suggested, forecast, advised and found, and what then happened. Our own track record.

Pure: the caller reads the journal. Leaves out words (see ``ledger_words``) and what other searches would have found
(see ``hindsight``).

Invariant: whatever is said of a moment uses only runs that had ended by then. A run that ended later, or was
imported later, does not count; where two ended at the same moment, the one with the lower number ended first.
"""

from __future__ import annotations

import math
import statistics
from bisect import bisect_right
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from datetime import datetime
from typing import Any, Final

import numpy as np

from advisor.suggest.hindsight import Hindsight, in_hindsight
from advisor.suggest.intervals import Estimate, Share, mean_of
from advisor.suggest.judged import Judged, by_code
from advisor.suggest.outcome import measured, says_nothing
from advisor.suggest.problem import Problem
from advisor.suggest.space import Space
from storage.records import Event, Experiment, Finding, FindingState, Run, RunState, Severity

EXPIRES_AFTER_S: Final = 3600.0
"""A suggestion that nobody started after an hour counts as expired: it no longer keeps its place then."""
MIN_FORECASTS: Final = 10
"""Forecasts below which nothing is said of their coverage: of 9 the 95 % interval spans half of all shares."""
UNKNOWN_SOURCE: Final = "not kept"
"""Source of a run that follows a suggestion which the journal does not hold."""


@dataclass(frozen=True, slots=True)
class Gains:
    """How often some runs became the best, and by how much."""

    improved: Share
    """Runs that were better than every run that had ended before; the very first one is not counted."""
    _: KW_ONLY
    by_chance: float | None
    """The share to expect if the same runs had come in random order: the mean of 1 / (1 + runs before). Early runs
    become the best easily, late ones hardly ever. None where nothing is counted."""
    total: float
    """All these improvements together, at least 0, in the objective's unit."""
    of_spread: float | None
    """``total`` as a share of the distance between the quartiles of all ranked runs; None where that is 0."""

    def as_json(self) -> dict[str, Any]:
        """Return the public JSON form."""
        own = {"by_chance": self.by_chance, "total_gain": self.total, "gain_of_spread": self.of_spread}
        return {"improved": self.improved.as_json()} | own


@dataclass(frozen=True, slots=True)
class Suggested:
    """What became of suggestions. Each is counted once, by the first run that follows it."""

    source: str
    """Where their parameters came from; empty for all of them."""
    _: KW_ONLY
    n_made: int
    n_started: int
    n_finished: int
    """Ended by themselves with a finite objective."""
    n_stopped: int
    """Stopped early on purpose."""
    n_failed: int
    """Failed, crashed, diverged, or ended without an objective."""
    n_interrupted: int
    """Ended by hand, with the program that had started them."""
    n_expired: int
    """Never started within an hour."""
    n_taken_back: int
    """Withdrawn before anybody started them."""
    gains: Gains

    @property
    def n_waiting(self) -> int:
        """Neither started nor expired nor taken back."""
        return self.n_made - self.n_started - self.n_expired - self.n_taken_back

    @property
    def n_running(self) -> int:
        """Started and not over."""
        return self.n_started - self.n_finished - self.n_stopped - self.n_failed - self.n_interrupted

    def as_json(self) -> dict[str, Any]:
        """Return the public JSON form."""
        over = ("n_finished", "n_stopped", "n_failed", "n_interrupted")
        names = ("n_made", "n_started", "n_running", *over, "n_expired", "n_taken_back", "n_waiting")
        return {"source": self.source} | {name: getattr(self, name) for name in names} | self.gains.as_json()


@dataclass(frozen=True, slots=True)
class ForecastRecord:
    """How forecasts of one kind came true. A run counts once a kind: by its first forecast, the hardest."""

    about: str
    """``suggestions``, or ``runs by …`` with the method of a forecast of a run that went on."""
    _: KW_ONLY
    n_made: int
    covered: Share
    """Final values inside the 80 % interval, of the runs that finished with a finite objective."""
    error: float | None
    """Mean absolute error, in the objective's unit; None where nothing came true yet."""
    bias: Estimate | None
    """Mean of forecast minus final value."""
    error_of_median: float | None
    """Mean absolute error of the plain baseline on the same runs: the median of what had finished by then."""
    difference: Estimate | None
    """Absolute error minus the baseline's, paired; below 0 the forecasts are better."""
    closer: Share
    """How often the forecast was strictly closer than the baseline."""

    @property
    def can_tell(self) -> bool:
        """Whether there are enough of them to judge by."""
        return self.covered.n >= MIN_FORECASTS

    def as_json(self) -> dict[str, Any]:
        """Return the public JSON form."""
        return {
            "about": self.about,
            "n_made": self.n_made,
            "covered": self.covered.as_json(),
            "can_tell": self.can_tell,
            "mean_absolute_error": self.error,
            "bias": None if self.bias is None else self.bias.as_json(),
            "error_of_median": self.error_of_median,
            "difference": None if self.difference is None else self.difference.as_json(),
            "closer_than_median": self.closer.as_json(),
        }


@dataclass(frozen=True, slots=True)
class Stops:
    """What became of advice to stop a run; a run counts once."""

    n_advised: int
    _: KW_ONLY
    n_followed: int
    """Runs that were stopped."""
    n_ignored: int
    """Runs that went on to their end; the others are still running."""
    became_best: Share
    """Of the ignored ones that finished: those that then became the best. Each would have been a mistake."""
    saved_share: float | None
    """Share of the usual length that the followed ones did not train; None where it is unknown."""
    saved_s: float | None
    """Seconds not trained, at each run's own speed; None where it is unknown."""

    def as_json(self) -> dict[str, Any]:
        """Return the public JSON form."""
        names = ("n_advised", "n_followed", "n_ignored", "saved_share", "saved_s")
        return {name: getattr(self, name) for name in names} | {"became_best": self.became_best.as_json()}


@dataclass(frozen=True, slots=True)
class Found:
    """What became of findings of one severity."""

    severity: Severity
    _: KW_ONLY
    n_opened: int
    n_acknowledged: int
    n_resolved: int

    @property
    def n_open(self) -> int:
        """Nobody has seen them, and the trouble is still there."""
        return self.n_opened - self.n_acknowledged - self.n_resolved

    def as_json(self) -> dict[str, Any]:
        """Return the public JSON form."""
        names = ("n_opened", "n_open", "n_acknowledged", "n_resolved")
        return {"severity": str(self.severity)} | {name: getattr(self, name) for name in names}


@dataclass(frozen=True, slots=True)
class Ledger:
    """The track record of one experiment, by its first objective."""

    experiment: str
    _: KW_ONLY
    metric: str | None
    """Name of the first objective; None where there is none, and then nothing is said of gains and forecasts."""
    n_runs: int
    n_ranked: int
    """Finished with a finite objective: what everything is measured by."""
    suggested: Suggested
    by_source: tuple[Suggested, ...]
    """The same by where the parameters came from, the most frequent first."""
    own: Gains
    """The same for runs that follow no suggestion."""
    forecasts: tuple[ForecastRecord, ...]
    hindsight: Hindsight
    stops: Stops
    findings: tuple[Found, ...]
    """By severity, the gravest first; only those that occur."""
    verdicts: tuple[Judged, ...] = ()
    """What people said of them by code and detector, the most frequent first; also where nobody said anything."""

    @property
    def n_raised(self) -> int:
        """Findings that were ever raised."""
        return sum(each.n_raised for each in self.verdicts)

    @property
    def false_alarms(self) -> Share:
        """Findings of all codes that were judged to be false alarms, of those that were judged."""
        shares = [each.false_alarms for each in self.verdicts]
        return Share(sum(share.n_hits for share in shares), n=sum(share.n for share in shares))

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to account for."""
        counts = (self.suggested.n_made, self.suggested.n_started, self.stops.n_advised, len(self.findings))
        return not any(counts) and not self.forecasts

    def as_json(self) -> dict[str, Any]:
        """Return the public JSON form."""
        return {
            "experiment": self.experiment,
            "metric": self.metric,
            "n_runs": self.n_runs,
            "n_ranked": self.n_ranked,
            "suggestions": self.suggested.as_json(),
            "by_source": [each.as_json() for each in self.by_source],
            "own_runs": self.own.as_json(),
            "forecasts": [each.as_json() for each in self.forecasts],
            "hindsight": self.hindsight.as_json(),
            "stops": self.stops.as_json(),
            "findings": [each.as_json() for each in self.findings],
            "false_alarms": self.false_alarms.as_json(),
            "verdicts": [each.as_json() for each in self.verdicts],
        }

    def _repr_html_(self) -> str:
        from advisor import notebook
        from advisor.suggest.ledger_words import in_words

        return notebook.ledger(self, in_words(self))


def account_for(
    experiment: Experiment,
    runs: Sequence[Run],
    *,
    suggestions: Sequence[Mapping[str, Any]] = (),
    closed: Collection[str] = (),
    forecasts: Sequence[Event] = (),
    stops: Sequence[Event] = (),
    compared: Collection[str] = (),
    space: Space | None = None,
    now: datetime,
    n_tpe_seeds: int = 0,
) -> Ledger:
    """Account for an experiment's advice.

    Parameters
    ----------
    runs
        All runs of the experiment.
    suggestions
        Bodies of its ``suggestion.made``, with ``time``, in their order.
    closed
        Ids of suggestions that were taken back.
    forecasts, stops
        Events ``forecast.made`` and ``stop.advised`` of its runs, in their order.
    compared
        Ids of the runs that detectors can compare with their siblings, for how often they flag sound ones.
    space
        Its search space, for what other searches would have found; None where there is none.
    now
        UTC; what nobody started for an hour has expired.
    n_tpe_seeds
        How often Optuna's TPE is replayed on a space that was searched whole; 0 leaves it out, 40 take seconds.
    """
    past = _Past(experiment, runs)
    queued = {run.suggestion_id for run in runs if run.state is RunState.WAITING}  # accepted: they do not expire
    first = _first_runs([run for run in runs if run.state is not RunState.WAITING])
    bodies = {str(body["suggestion_id"]): body for body in suggestions}
    unknown = [run for key, run in first.items() if key not in bodies]
    sources: dict[str, list[_Fate]] = {}
    for key, body in bodies.items():
        expired = (now - body["time"]).total_seconds() >= EXPIRES_AFTER_S and key not in queued
        fate = _Fate(first.get(key), taken_back=key in closed, expired=expired)
        sources.setdefault(str(body.get("source") or UNKNOWN_SOURCE), []).append(fate)
    sources.setdefault(UNKNOWN_SOURCE, []).extend(_Fate(run, taken_back=False, expired=False) for run in unknown)
    everything = [fate for fates in sources.values() for fate in fates]
    by_source = [past.suggested(source, fates) for source, fates in sources.items() if fates]
    own = [run for run in runs if run.suggestion_id is None]
    return Ledger(
        experiment.name,
        metric=None if experiment.objective is None else experiment.objective.metric,
        n_runs=len(runs),
        n_ranked=len(past.runs),
        suggested=past.suggested("", everything),
        by_source=tuple(sorted(by_source, key=lambda each: (-each.n_made, each.source))),
        own=past.gains(own),
        forecasts=tuple(_forecasts(past, bodies, first, forecasts, {run.id: run for run in runs})),
        hindsight=in_hindsight(experiment, past.ended, bodies, space, n_tpe_seeds=n_tpe_seeds),
        stops=_stops(past, stops, {run.id: run for run in runs}),
        findings=tuple(_found([finding for run in runs for finding in run.findings])),
        verdicts=by_code(runs, {run.id: ended_at(run) for run in past.ended if run.id in compared}),
    )


def ended_at(run: Run) -> datetime:
    """Return when a run that is over was known to be: when it ended, or reached the store if that was later."""
    return run.created if run.ended is None else max(run.created, run.ended)


# -- what was known when


class _Past:
    """The runs in the order in which they became known, and who was the best then."""

    def __init__(self, experiment: Experiment, runs: Sequence[Run]) -> None:
        self.experiment = experiment
        self.ended = sorted((run for run in runs if run.state.is_over), key=lambda run: (ended_at(run), run.number))
        self.runs = measured(experiment, self.ended) if experiment.objectives else []
        self.values = np.array([run.values[0] for run in self.runs])
        self.times = [ended_at(run) for run in self.runs]
        self._place = {run.id: place for place, run in enumerate(self.runs)}
        lower = np.quantile(self.values, [0.25, 0.75]) if self.runs else np.zeros(2)
        self._spread = float(lower[1] - lower[0])
        problem = Problem.of(experiment.problem)
        self._kept = [bool(problem.feasible(run)) for run in self.runs]
        self._gain = self._gains()

    def _gains(self) -> list[float]:
        """Return by how much each run was better than the best before it, NaN for the first, 0 where it was not.

        A run that breaks a constraint betters nothing, whatever its value.
        """
        objective, out = self.experiment.objective, []
        best = math.nan
        for value, kept in zip(self.values.tolist(), self._kept, strict=True):
            if not kept:
                out.append(0.0)
            elif objective is None or math.isnan(best):
                out.append(math.nan)
                best = value
            elif objective.better(value, best):
                out.append(abs(value - best))
                best = value
            else:
                out.append(0.0)
        return out

    def gain(self, run: Run) -> float | None:
        """Return by how much a run was better than all before it; None where that is not known."""
        place = self._place.get(run.id)
        gain = math.nan if place is None else self._gain[place]
        return None if math.isnan(gain) else gain

    def place(self, run: Run) -> int | None:
        """Return a run's place among the ranked ones by when they ended, None for one that is not ranked."""
        return self._place.get(run.id)

    def median_at(self, time: datetime, *, without: int) -> float | None:
        """Return the median of what had finished by a moment, without the run at a place; None of nothing."""
        n = bisect_right(self.times, time)
        known = np.delete(self.values[:n], without) if without < n else self.values[:n]
        return float(np.median(known)) if known.size else None

    def gains(self, runs: Iterable[Run]) -> Gains:
        """Return how often some runs became the best."""
        counted = [(self._place[run.id], gain) for run in runs if (gain := self.gain(run)) is not None]
        total = math.fsum(gain for _, gain in counted)
        return Gains(
            Share(sum(gain > 0 for _, gain in counted), n=len(counted)),
            by_chance=statistics.fmean(1 / (place + 1) for place, _ in counted) if counted else None,
            total=total,
            of_spread=total / self._spread if counted and self._spread > 0 else None,
        )

    def suggested(self, source: str, fates: Sequence[_Fate]) -> Suggested:
        """Return what became of some suggestions."""
        started = [fate.run for fate in fates if fate.run is not None]
        over = [run for run in started if run.state.is_over]
        finished = [run for run in over if run.id in self._place]
        stopped = [run for run in over if run.state is RunState.PRUNED]
        interrupted = [run for run in over if run.state in (RunState.FAILED, RunState.CRASHED) and says_nothing(run)]
        idle = [fate for fate in fates if fate.run is None]
        return Suggested(
            source,
            n_made=len(fates),
            n_started=len(started),
            n_finished=len(finished),
            n_stopped=len(stopped),
            n_failed=len(over) - len(finished) - len(stopped) - len(interrupted),
            n_interrupted=len(interrupted),
            n_expired=sum(fate.expired and not fate.taken_back for fate in idle),
            n_taken_back=sum(fate.taken_back for fate in idle),
            gains=self.gains(finished),
        )


@dataclass(frozen=True, slots=True)
class _Fate:
    """What became of one suggestion."""

    run: Run | None
    _: KW_ONLY
    taken_back: bool
    expired: bool


def _first_runs(runs: Sequence[Run]) -> dict[str, Run]:
    """Return the first run that follows each suggestion; a suggestion may be repeated with other seeds."""
    out: dict[str, Run] = {}
    for run in sorted(runs, key=lambda run: run.number):
        if run.suggestion_id is not None:
            out.setdefault(run.suggestion_id, run)
    return out


# -- forecasts


def _forecasts(
    past: _Past,
    bodies: Mapping[str, Mapping[str, Any]],
    first: Mapping[str, Run],
    made: Sequence[Event],
    runs: Mapping[str, Run],
) -> list[ForecastRecord]:
    kinds: dict[str, list[tuple[Mapping[str, Any], datetime, Run | None]]] = {}
    for key, body in bodies.items():
        if body.get("forecast"):
            kinds.setdefault("suggestions", []).append((body["forecast"], body["time"], first.get(key)))
    seen: set[tuple[str, str]] = set()
    for event in made:
        about = f"runs by {event.body.get('method') or 'curve'}"
        if event.run_id in runs and (about, event.run_id) not in seen:
            seen.add((about, event.run_id))
            kinds.setdefault(about, []).append((event.body, event.time, runs[event.run_id]))
    return [_record(past, about, each) for about, each in kinds.items()]


def _record(past: _Past, about: str, made: Sequence[tuple[Mapping[str, Any], datetime, Run | None]]) -> ForecastRecord:
    inside, errors, paired = [], [], []
    for forecast, time, run in made:
        figures = [_finite(forecast.get(name)) for name in ("mean", "low", "high")]
        place = None if run is None else past.place(run)
        if place is None or run is None or past.times[place] < time or any(map(math.isnan, figures)):
            continue
        final, (mean, low, high) = float(past.values[place]), figures
        inside.append(low <= final <= high)
        errors.append(mean - final)
        median = past.median_at(time, without=place)
        if median is not None:
            paired.append((abs(mean - final), abs(median - final)))
    return ForecastRecord(
        about,
        n_made=len(made),
        covered=Share(sum(inside), n=len(inside)),
        error=statistics.fmean(map(abs, errors)) if errors else None,
        bias=mean_of(errors),
        error_of_median=statistics.fmean(theirs for _, theirs in paired) if paired else None,
        difference=mean_of([ours - theirs for ours, theirs in paired]),
        closer=Share(sum(ours < theirs for ours, theirs in paired), n=len(paired)),
    )


def _finite(value: Any) -> float:
    """Return a figure of a body as a finite number, NaN for everything else."""
    number = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    return number if math.isfinite(number) else math.nan


# -- stops and findings


def _stops(past: _Past, advised: Sequence[Event], runs: Mapping[str, Run]) -> Stops:
    stopped = [runs[run_id] for run_id in dict.fromkeys(event.run_id for event in advised) if run_id in runs]
    followed = [run for run in stopped if run.state is RunState.PRUNED]
    ignored = [run for run in stopped if run.state.is_over and run.state is not RunState.PRUNED]
    gains = [gain for run in ignored if (gain := past.gain(run)) is not None]
    lengths = [length for run in past.runs if (length := _length(past.experiment, run)) is not None]
    usual = statistics.median(lengths) if lengths else None
    known = [(length, run.duration_s) for run in followed if (length := _length(past.experiment, run)) is not None]
    saved = [] if usual is None else [(max(usual - length, 0.0), length, seconds) for length, seconds in known]
    timed = [(left, length, seconds) for left, length, seconds in saved if seconds is not None]
    return Stops(
        len(stopped),
        n_followed=len(followed),
        n_ignored=len(ignored),
        became_best=Share(sum(gain > 0 for gain in gains), n=len(gains)),
        saved_share=math.fsum(left for left, _, _ in saved) / (usual * len(saved)) if saved and usual else None,
        saved_s=math.fsum(seconds * left / length for left, length, seconds in timed) if timed else None,
    )


def _length(experiment: Experiment, run: Run) -> float | None:
    """Return how many steps a run trained by its objective's curve, at least 1; None where it has none."""
    objective = experiment.objective
    last = None if objective is None else run.summary.get(objective.metric, {}).get("last_step")
    return None if last is None else max(float(last) + 1.0, 1.0)


def _found(findings: Sequence[Finding]) -> Iterable[Found]:
    for severity in reversed(Severity):
        own = [finding for finding in findings if finding.severity is severity]
        if own:
            yield Found(
                severity,
                n_opened=len(own),
                n_acknowledged=sum(finding.state is FindingState.ACKNOWLEDGED for finding in own),
                n_resolved=sum(finding.state is FindingState.RESOLVED for finding in own),
            )

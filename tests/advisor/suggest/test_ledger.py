"""The ledger counts what was advised and what then happened, from what was known at each moment."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from advisor.suggest import Ledger, account_for
from advisor.suggest.intervals import Share, mean_of
from advisor.suggest.ledger_words import in_words, percent
from storage.records import Direction, Event, Finding, FindingState, Run, RunState, Severity, Verdict
from tests.advisor.suggest.helpers import NOW, experiment, run

MINUTE = timedelta(minutes=1)


def ended(number: int, value: float | None, *, at: float | None = None, **fields: Any) -> Run:
    """Return a run that ended ``at`` minutes after the start, by default ``number``."""
    end = NOW + (number if at is None else at) * MINUTE
    given: dict[str, Any] = {"created": end - MINUTE, "started": end - MINUTE, "ended": end}
    made = run(number, {"lr": 0.1}, *(() if value is None else (value,)))
    return replace(made, **(given | fields))


def made(
    key: str, *, at: float, source: str = "tpe", forecast: tuple[float, float, float] | None = None
) -> dict[str, Any]:
    body: dict[str, Any] = {"suggestion_id": key, "source": source, "params": {"lr": 0.1}, "time": NOW + at * MINUTE}
    figures = None if forecast is None else dict(zip(("mean", "low", "high"), forecast, strict=True))
    return body | {"forecast": figures}


def ledger(runs: Sequence[Run], *suggestions: Mapping[str, Any], way: Direction = "minimize", **more: Any) -> Ledger:
    now: datetime = more.pop("now", NOW + 600 * MINUTE)
    return account_for(experiment(way), runs, suggestions=suggestions, now=now, **more)


def event(kind: str, run_id: str, at: float, **body: Any) -> Event:
    return Event.new(kind, "digits", run_id, time=NOW + at * MINUTE, **body)


def test_each_suggestion_has_one_fate() -> None:
    runs = [
        ended(0, 1.0, suggestion_id="finished"),
        ended(1, math.nan, suggestion_id="diverged"),
        ended(2, None, suggestion_id="failed", state=RunState.FAILED),
        ended(3, 0.5, suggestion_id="stopped", state=RunState.PRUNED),
        ended(4, None, suggestion_id="running", state=RunState.RUNNING, ended=None),
        ended(5, 2.0, suggestion_id="finished"),  # repeated with another seed
        ended(6, None, suggestion_id="by hand", state=RunState.FAILED, tags=("interrupted",)),
    ]
    keys = ("finished", "diverged", "failed", "stopped", "running", "by hand", "late", "back")
    bodies = [made(key, at=0) for key in keys]
    kept = ledger(runs, *bodies, made("new", at=599), closed={"back", "running"})
    all_of_them = kept.suggested
    assert (all_of_them.n_made, all_of_them.n_started, all_of_them.n_finished) == (9, 6, 1)
    assert (all_of_them.n_failed, all_of_them.n_stopped, all_of_them.n_running) == (2, 1, 1)
    assert all_of_them.n_interrupted == 1
    assert (all_of_them.n_expired, all_of_them.n_taken_back, all_of_them.n_waiting) == (1, 1, 1)


def test_what_died_with_its_sweep_was_interrupted_and_what_breaks_a_constraint_betters_nothing() -> None:
    broken = {"system_attrs": {"constraints": [0.5]}}
    runs = [
        ended(0, 1.0, suggestion_id="a"),
        ended(1, 0.5, suggestion_id="b", **broken),
        ended(2, 0.9, suggestion_id="c"),
        ended(3, None, suggestion_id="d", state=RunState.CRASHED, tags=("sweep:0",)),
    ]
    kept = ledger(runs, *(made(key, at=0) for key in "abcd")).suggested
    assert (kept.n_finished, kept.n_failed, kept.n_interrupted) == (3, 0, 1)
    assert (kept.gains.improved.n_hits, kept.gains.improved.n) == (1, 2)


def test_a_suggestion_expires_after_an_hour() -> None:
    assert ledger([], made("a", at=0), now=NOW + 59 * MINUTE).suggested.n_waiting == 1
    assert ledger([], made("a", at=0), now=NOW + 60 * MINUTE).suggested.n_expired == 1


@pytest.mark.parametrize(("way", "sign"), [("minimize", 1.0), ("maximize", -1.0)])
def test_a_run_improves_on_what_had_ended_before_it(way: Direction, sign: float) -> None:
    runs = [
        ended(0, 5.0 * sign),
        ended(1, 4.0 * sign, suggestion_id="a"),
        ended(2, 3.0 * sign, suggestion_id="b", at=9),  # ended last, and the next one was better by then
        ended(3, 2.0 * sign, suggestion_id="c"),
        ended(4, 1.0 * sign, at=5),
    ]
    kept = ledger(runs, *(made(key, at=0) for key in "abc"), way=way)
    gains = kept.suggested.gains
    assert (gains.improved.n_hits, gains.improved.n) == (2, 3)
    assert gains.total == pytest.approx(1.0 + 2.0)
    assert gains.by_chance == pytest.approx((1 / 2 + 1 / 5 + 1 / 3) / 3)
    assert (kept.own.improved.n_hits, kept.own.improved.n) == (1, 1)
    assert kept.own.total == pytest.approx(1.0)


def test_a_run_that_was_imported_later_was_not_known_before() -> None:
    early = ended(0, 3.0)
    imported = ended(2, 1.0, at=0.5, created=NOW + 5 * MINUTE)  # ended first, but reached the store last
    kept = ledger([early, ended(1, 2.0, suggestion_id="a"), imported], made("a", at=0))
    assert kept.suggested.gains.improved.n_hits == 1


def test_nan_and_infinity_are_never_best_and_break_nothing() -> None:
    values = (1.0, math.nan, -math.inf, math.inf, 0.5)
    runs = [ended(i, value, suggestion_id=f"s{i}") for i, value in enumerate(values)]
    bodies = [made(f"s{i}", at=0, forecast=(math.nan, -math.inf, math.inf)) for i in range(len(values))]
    kept = ledger(runs, *bodies)
    assert (kept.suggested.n_finished, kept.suggested.n_failed) == (2, 3)
    assert (kept.suggested.gains.improved.n_hits, kept.suggested.gains.total) == (1, 0.5)
    assert kept.forecasts[0].covered.n == 0
    json.dumps(kept.as_json(), allow_nan=False)


def test_sources_are_told_apart_and_what_the_journal_lacks_is_said() -> None:
    runs = [ended(0, 1.0), ended(1, 0.5, suggestion_id="a"), ended(2, 0.4, suggestion_id="lost")]
    kept = ledger(runs, made("a", at=0, source="gp"), made("b", at=0, source="portfolio"))
    assert {each.source: each.n_started for each in kept.by_source} == {"gp": 1, "portfolio": 0, "not kept": 1}


def test_coverage_and_error_are_those_of_runs_that_finished_after_the_forecast() -> None:
    runs = [ended(0, 4.0, at=0), ended(1, 8.0, at=0)]
    runs += [ended(i, 1.0, at=i, suggestion_id=f"s{i}") for i in range(2, 14)]
    bodies = [made(f"s{i}", at=0.5, forecast=(2.0, 0.0, 3.0) if i < 11 else (2.0, 1.5, 3.0)) for i in range(2, 14)]
    record = ledger(runs, *bodies).forecasts[0]
    assert (record.about, record.n_made, record.can_tell) == ("suggestions", 12, True)
    assert (record.covered.n_hits, record.covered.n) == (9, 12)
    assert record.error == pytest.approx(1.0)
    assert record.bias is not None
    assert record.bias.value == pytest.approx(1.0)
    assert record.error_of_median == pytest.approx(5.0)  # the median of 4 and 8, which alone had ended by then
    assert record.difference is not None
    assert (record.difference.value, record.difference.sign) == (pytest.approx(-4.0), -1)
    assert record.closer.n_hits == 12


def test_of_a_run_the_first_forecast_of_each_method_counts() -> None:
    runs = [ended(0, 4.0, at=0), ended(1, 1.0, at=10)]
    figures = {"low": 0.5, "high": 1.5, "p_best": 0.1, "n_runs": 8}
    events = [
        event("forecast.made", "run-1", 3, mean=1.2, method="curve", **figures),
        event("forecast.made", "run-1", 5, mean=1.0, method="curve", **figures),
        event("forecast.made", "run-1", 5, mean=1.1, method="model", **figures),
        event("forecast.made", "run-0", 3, mean=9.0, method="curve", **figures),  # it had ended before
        event("forecast.made", "elsewhere", 3, mean=9.0, method="curve", **figures),
    ]
    found = {each.about: each for each in ledger(runs, forecasts=events).forecasts}
    assert {about: each.covered.n for about, each in found.items()} == {"runs by curve": 1, "runs by model": 1}
    assert found["runs by curve"].error == pytest.approx(0.2)
    assert not found["runs by curve"].can_tell


def length(steps: int) -> Mapping[str, Any]:
    return {"loss": {"n": steps, "last": 1.0, "last_step": steps - 1}}


def test_stops_are_followed_or_not_and_what_they_saved_is_measured() -> None:
    runs = [
        ended(0, 3.0, summary=length(100)),
        ended(1, 4.0, summary=length(100)),
        ended(2, None, state=RunState.PRUNED, summary=length(25)),
        ended(3, 2.0, summary=length(100)),  # went on, and became the best
        ended(4, 5.0, summary=length(100)),
        ended(5, None, state=RunState.RUNNING, ended=None),
    ]
    events = [event("stop.advised", f"run-{i}", 1, reason="worse") for i in (2, 3, 3, 4, 5)]
    stops = ledger(runs, stops=events).stops
    assert (stops.n_advised, stops.n_followed, stops.n_ignored) == (4, 1, 2)
    assert (stops.became_best.n_hits, stops.became_best.n) == (1, 2)
    assert stops.saved_share == pytest.approx(0.75)
    assert stops.saved_s == pytest.approx(180.0)  # 25 steps took a minute


def finding(number: int, severity: Severity, state: FindingState) -> Finding:
    given = {"run_id": "run-0", "experiment": "digits", "code": "ADV102", "title": "t", "detector": "rules"}
    return Finding(f"f{number}", severity=severity, state=state, **given)


def test_findings_are_counted_by_severity() -> None:
    found = (
        finding(0, Severity.ERROR, FindingState.RESOLVED),
        finding(1, Severity.ERROR, FindingState.OPEN),
        finding(2, Severity.INFO, FindingState.ACKNOWLEDGED),
    )
    error, info = ledger([ended(0, 1.0, findings=found)]).findings
    assert (error.severity, error.n_opened, error.n_open, error.n_resolved) == (Severity.ERROR, 2, 1, 1)
    assert (info.severity, info.n_acknowledged, info.n_open) == (Severity.INFO, 1, 0)


def flagged(number: int, verdict: Verdict | None = None, **fields: Any) -> Finding:
    """Return an unusual curve on a run, raised with the last one."""
    evidence = {"threshold_p": 0.05, "threshold_false_discovery_rate": 0.1}
    given: dict[str, Any] = {"code": "ADV109", "title": "t", "detector": "isolation-forest", "evidence": evidence}
    given |= {"severity": Severity.INFO, "time": NOW + 100 * MINUTE, "verdict": verdict}
    given["state"] = FindingState.RESOLVED if verdict == "ok" else FindingState.OPEN
    return Finding(f"u{number}", run_id=f"run-{number}", experiment="digits", **given | fields)


def ruled(number: int, verdict: Verdict | None = None, **fields: Any) -> Finding:
    given: dict[str, Any] = {"code": "ADV103", "title": "t", "detector": "rules", "severity": Severity.WARNING}
    return Finding(f"r{number}", run_id=f"run-{number}", experiment="digits", verdict=verdict, **given | fields)


def judged_ledger(findings: Mapping[int, Sequence[Finding]], n: int = 40, **more: Any) -> Ledger:
    runs = [ended(i, 1.0, findings=tuple(findings.get(i, ()))) for i in range(n)]
    return ledger(runs, compared={one.id for one in runs}, **more)


def test_verdicts_are_counted_by_code_and_detector() -> None:
    verdicts: list[Verdict | None] = ["ok", "ok", "real", None]
    kept = judged_ledger({i: [ruled(i, verdict)] for i, verdict in enumerate(verdicts)})
    (spikes,) = kept.verdicts
    assert (spikes.code, spikes.detector, spikes.n_raised) == ("ADV103", "rules", 4)
    assert spikes.false_alarms == Share(2, n=3) == kept.false_alarms
    assert (spikes.rate, spikes.discoveries, spikes.can_tell) == (None, None, False)
    said = kept.as_json()["verdicts"][0]
    assert (said["n_judged"], said["n_ok"], said["n_real"], said["rate"]) == (3, 2, 1, None)
    assert (
        "Not enough verdicts to tell how often findings are right: 10 of a code are needed, judged are "
        "ADV103 3 of 4." in in_words(kept)
    )


def test_what_was_judged_often_enough_has_a_share_with_its_interval() -> None:
    kept = judged_ledger({i: [ruled(i, "ok" if i < 2 else "real")] for i in range(12)})
    assert (
        "Of 12 findings ADV103 by rules 12 were judged; false alarms were 17% of 12 (95% interval 5% to 45%)."
        in in_words(kept)
    )


def test_the_rate_at_which_sound_runs_are_flagged_stands_beside_the_level() -> None:
    kept = judged_ledger({i: [flagged(i, "ok")] for i in range(3)})
    (unusual,) = kept.verdicts
    assert unusual.rate is not None
    assert (unusual.rate.judged, unusual.rate.n_assumed, unusual.rate.level) == (Share(3, n=40), 37, 0.05)
    assert (unusual.rate.sign, unusual.rate.can_tell) == (0, True)
    assert (
        "By your verdicts isolation-forest (ADV109) flagged 3 of 40 sound runs: 7.5% (95% interval 2.6% to 19.9%), not "
        "told apart from the 5% that it works at. The 37 that it did not flag are sound by assumption: nobody judged "
        "them." in in_words(kept)
    )
    json.dumps(kept.as_json(), allow_nan=False)


def test_what_is_not_judged_widens_the_interval_and_is_never_counted_as_sound() -> None:
    kept = judged_ledger({0: [flagged(0, "ok")], 1: [flagged(1, "real")], 2: [flagged(2)]})
    rate = kept.verdicts[0].rate
    assert rate is not None
    assert (rate.judged, rate.at_most, rate.n_real, rate.n_not_judged) == (Share(1, n=38), Share(2, n=39), 1, 1)
    assert rate.interval == (rate.judged.interval[0], rate.at_most.interval[1])
    assert any("; 1 more, flagged and not judged, could make it 5.1%." in line for line in in_words(kept))


def test_runs_with_other_trouble_or_that_nobody_compared_are_no_sound_ones() -> None:
    found = {
        0: [flagged(0, "ok")],
        1: [ruled(1)],  # stands, and may be real
        2: [ruled(2, "real", state=FindingState.RESOLVED)],
        3: [ruled(3, severity=Severity.INFO)],  # worth knowing, no trouble
        4: [ruled(4, "ok", state=FindingState.RESOLVED)],
        5: [ruled(5, state=FindingState.RESOLVED)],  # gone at a later check
        6: [flagged(6, state=FindingState.RESOLVED)],  # taken back
        7: [flagged(7, "ok"), ruled(7, "real")],
    }
    rate = next(each.rate for each in judged_ledger(found).verdicts if each.code == "ADV109")
    assert rate is not None
    assert rate.judged == Share(1, n=40 - 3)
    late = judged_ledger({0: [flagged(0, "ok", time=NOW + 20 * MINUTE)]}).verdicts[0].rate
    assert late is not None
    assert late.judged == Share(1, n=21)  # those that ended later may not have been checked
    nobody = ledger([ended(0, 1.0, findings=(flagged(0, "ok"),))]).verdicts[0].rate
    assert nobody is not None
    assert (nobody.judged.n, nobody.can_tell) == (0, False)


def test_a_rate_is_called_high_only_where_all_of_its_interval_is() -> None:
    high = judged_ledger({i: [flagged(i, "ok")] for i in range(12)}).verdicts[0].rate
    assert high is not None
    assert high.sign == 1
    low = judged_ledger({0: [flagged(0, "real", time=NOW + 600 * MINUTE)]}, n=200).verdicts[0].rate
    assert low is not None
    assert low.sign == -1
    mixed = judged_ledger({0: [flagged(0, "ok")], 1: [flagged(1, evidence={"threshold_p": 0.1})]})
    assert mixed.verdicts[0].rate is None  # which level they were held to is not one figure


def test_verdicts_on_warnings_stand_beside_the_false_discovery_rate() -> None:
    found = {i: [flagged(i, "ok" if i < 3 else "real", severity=Severity.WARNING)] for i in range(10)}
    kept = judged_ledger(found | {11: [flagged(11, "ok")]})
    discoveries = kept.verdicts[0].discoveries
    assert discoveries is not None
    assert (discoveries.level, discoveries.false_alarms) == (0.1, Share(3, n=10))
    assert any("Of the warnings among ADV109 false alarms were 30% of 10" in line for line in in_words(kept))


def test_without_verdicts_nothing_is_said_of_how_right_findings_are() -> None:
    words = in_words(judged_ledger({i: [ruled(i)] for i in range(3)}))
    assert (
        "Not enough verdicts to tell how often findings are right: none of the 3 findings is judged ('advisor verdict' "
        "does that)." in words
    )
    (line,) = [line for line in in_words(judged_ledger({0: [flagged(0)]})) if "verdict" in line]
    assert "the one finding is not judged" in line
    few = in_words(judged_ledger({0: [flagged(0, "ok")], 1: [flagged(1)], 2: [flagged(2)]}))
    assert any("Not enough verdicts to tell how often isolation-forest (ADV109) flags sound runs" in one for one in few)


def test_an_empty_experiment_has_a_friendly_sentence() -> None:
    kept = ledger([])
    assert kept.is_empty
    assert in_words(kept) == [
        "Nothing has been suggested, forecast, stopped or found here yet, so there is nothing to account for."
    ]
    json.dumps(kept.as_json(), allow_nan=False)


def test_without_an_objective_counts_remain() -> None:
    nothing = replace(experiment(), objectives=())
    kept = account_for(nothing, [ended(0, None, suggestion_id="a")], suggestions=[made("a", at=0)], now=NOW)
    assert (kept.metric, kept.suggested.n_started, kept.suggested.gains.improved.n) == (None, 1, 0)
    assert kept.hindsight.notes == ("cannot be told: the experiment has no objective",)


def test_words_hold_back_where_there_is_too_little() -> None:
    runs = [ended(0, 4.0), ended(1, 1.0, suggestion_id="a")]
    words = " ".join(in_words(ledger(runs, made("a", at=0, forecast=(2.0, 0.0, 3.0)))))
    assert "Not enough to tell how good forecasts of suggestions are: 1 of 1 came to an end, 10 are needed." in words
    assert "Suggested runs became the best so far in 100% of 1 (95% interval 21% to 100%)" in words
    assert "What other searches would have found cannot be told" in words


def test_a_gain_is_a_sentence_of_its_own_and_never_that_of_the_random_order() -> None:
    runs = [ended(0, 4.0), ended(1, 1.0, suggestion_id="a"), ended(2, 2.0), ended(3, 3.0)]
    words = in_words(ledger(runs, made("a", at=0)))
    (improved,) = (line for line in words if line.startswith("Suggested runs became the best"))
    assert improved.endswith("; in random order it would be 50%.")
    gained = words[words.index(improved) + 1]
    assert gained.startswith("Together they bettered the best so far by 3, ")
    assert gained.endswith(" times the distance between the quartiles.")


def test_a_share_that_is_nearly_all_or_nothing_is_not_said_to_be_it() -> None:
    assert percent(Share(199, n=200)).startswith("99.5% of 200")
    assert percent(Share(1, n=1000)).startswith("0.1% of 1000")
    assert percent(Share(10, n=10)).startswith("100% of 10")


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"), [(8, 10, 0.490, 0.943), (0, 10, 0.0, 0.278), (10, 10, 0.722, 1.0), (0, 0, 0.0, 1.0)]
)
def test_shares_have_wilson_intervals(hits: int, n: int, low: float, high: float) -> None:
    assert Share(hits, n=n).interval == pytest.approx((low, high), abs=5e-4)


def test_a_mean_has_an_interval_around_it_and_needs_two_finite_values() -> None:
    found = mean_of([1.0, 2.0, 3.0, 4.0])
    assert found is not None
    assert found.low < found.value == 2.5 < found.high
    assert found == mean_of([1.0, 2.0, 3.0, 4.0])
    assert mean_of([1.0]) is None
    assert mean_of([1.0, math.nan]) is None
    huge = mean_of([1e308, 1e308])
    assert huge is not None
    assert huge.value == 1e308

"""The ledger in plain words, one sentence a subject; what cannot be told says so.

Pure; leaves out tables and terminals. Invariant: no sentence gives a share without how many it is of, and none calls
an advice good or bad where the interval allows both.
"""

from __future__ import annotations

from collections.abc import Iterator

from advisor.suggest.forecast import COVERAGE
from advisor.suggest.hindsight import Versus
from advisor.suggest.intervals import Share
from advisor.suggest.judged import MIN_VERDICTS, FlagRate, Judged
from advisor.suggest.ledger import MIN_FORECASTS, ForecastRecord, Gains, Ledger, Stops, Suggested


def in_words(ledger: Ledger) -> list[str]:
    """Return the ledger as sentences; a single one where there is nothing to account for."""
    if ledger.is_empty:
        return ["Nothing has been suggested, forecast, stopped or found here yet, so there is nothing to account for."]
    return [
        *_suggestions(ledger.suggested),
        *_gains(ledger),
        *(line for record in ledger.forecasts for line in _forecasts(record)),
        *_hindsight(ledger),
        *_stops(ledger.stops),
        *_findings(ledger),
        *_verdicts(ledger),
    ]


def percent(share: Share) -> str:
    """Return a share with its interval and what it is of.

    >>> percent(Share(8, n=10)), percent(Share(0, n=0))
    ('80% of 10 (95% interval 49% to 94%)', 'none of 0')
    """
    if share.value is None:
        return "none of 0"
    low, high = share.interval
    return f"{_whole(share.value)} of {share.n} (95% interval {_whole(low)} to {_whole(high)})"


def _whole(share: float) -> str:
    """Return a share as a whole percentage, finer where only none of it is 0% and only all of it is 100%.

    >>> _whole(0.274), _whole(1.0), _whole(0.998), _whole(0.0004)
    ('27%', '100%', '99.8%', '0.04%')
    """
    exact = min(share, 1.0 - share) < 1e-9
    texts = (f"{share:.{digits}%}" for digits in range(10))
    return next(text for text in texts if exact or float(text[:-1]) not in (0.0, 100.0))


def _suggestions(made: Suggested) -> Iterator[str]:
    if not made.n_made:
        return
    parts = [
        f"{n} {what}"
        for n, what in (
            (made.n_finished, "finished"),
            (made.n_stopped, "stopped early"),
            (made.n_failed, "failed, crashed or diverged"),
            (made.n_interrupted, "interrupted"),
            (made.n_running, "still running"),
            (made.n_expired, "never started within an hour"),
            (made.n_taken_back, "taken back"),
            (made.n_waiting, "waiting to be started"),
        )
        if n
    ]
    yield f"{made.n_made} suggestion{'s' if made.n_made != 1 else ''} made: {', '.join(parts)}."


def _gains(ledger: Ledger) -> Iterator[str]:
    ours, own = ledger.suggested.gains, ledger.own
    if ours.improved.n:
        yield f"Suggested runs became the best so far in {_improved(ours)}."
        yield from _gained(ours)
    if own.improved.n and ours.improved.n:
        yield f"Runs that were not suggested became the best so far in {_improved(own)}."
        yield from _gained(own)


def _improved(gains: Gains) -> str:
    chance = "" if gains.by_chance is None else f"; in random order it would be {_whole(gains.by_chance)}"
    return f"{percent(gains.improved)}{chance}"


def _gained(gains: Gains) -> Iterator[str]:
    """Yield by how much they bettered the best: a sentence of its own, else it reads as the random order's."""
    if gains.total > 0:
        spread = "" if gains.of_spread is None else f", {gains.of_spread:.2g} times the distance between the quartiles"
        yield f"Together they bettered the best so far by {gains.total:.4g}{spread}."


def _forecasts(record: ForecastRecord) -> Iterator[str]:
    about = f"forecasts of {record.about}"
    if not record.can_tell:
        yield (
            f"Not enough to tell how good {about} are: {record.covered.n} of {record.n_made} came to an end, "
            f"{MIN_FORECASTS} are needed."
        )
        return
    yield f"The {COVERAGE:.0%} intervals of {about} held {percent(record.covered)}."
    if record.error is not None and record.error_of_median is not None and record.difference is not None:
        verdict = {-1: "closer than", 1: "farther off than", 0: "not told apart from"}[record.difference.sign]
        yield (
            f"Their mean absolute error is {record.error:.4g}, {verdict} {record.error_of_median:.4g} with the plain "
            "median of what had finished by then (difference "
            f"{record.difference.value:+.3g}, 95% interval {record.difference.low:+.3g} to "
            f"{record.difference.high:+.3g})."
        )


def _hindsight(ledger: Ledger) -> Iterator[str]:
    for each in ledger.hindsight.versus:
        yield _versus(each)
    if not ledger.hindsight.versus:
        yield from (f"What other searches would have found {note}." for note in ledger.hindsight.notes)


def _versus(each: Versus) -> str:
    ends = f"95% interval {each.theirs.low:.4g} to {each.theirs.high:.4g}"
    regret, runs = "", "run" if each.k == 1 else "runs"
    if each.regret is not None and each.their_regret is not None:
        regret = f"; regret {each.regret:.3g} against {each.their_regret:.3g}"
    return (
        f"After {each.k} suggested {runs} the best is {each.ours:.4g}; {each.rival} would have "
        f"{each.theirs.value:.4g} on average ({ends}{regret}) and "
        f"do at least as well with probability {each.as_good:.2g}."
    )


def _stops(stops: Stops) -> Iterator[str]:
    if not stops.n_advised:
        return
    saved = "" if stops.saved_share is None else f", which saved {stops.saved_share:.0%} of their usual length"
    runs = "run was" if stops.n_advised == 1 else "runs were"
    yield (
        f"{stops.n_advised} {runs} advised to stop: {stops.n_followed} stopped{saved}; "
        f"{stops.n_ignored} went on, of which {stops.became_best.n_hits} of {stops.became_best.n} that finished "
        "then became the best."
    )


def _findings(ledger: Ledger) -> Iterator[str]:
    if ledger.findings:
        each = "; ".join(
            f"{one.severity}: {one.n_opened} opened, {one.n_resolved} resolved, {one.n_acknowledged} acknowledged"
            for one in ledger.findings
        )
        yield f"Findings of runs, by severity: {each}."


def _verdicts(ledger: Ledger) -> Iterator[str]:
    if not ledger.verdicts:
        return
    if not ledger.false_alarms.n:
        which = "the one finding is not" if ledger.n_raised == 1 else f"none of the {ledger.n_raised} findings is"
        yield f"Not enough verdicts to tell how often findings are right: {which} judged ('advisor verdict' does that)."
        return
    for each in ledger.verdicts:
        if each.can_tell:
            yield (
                f"Of {each.n_raised} findings {each.code} by {each.detector} {each.false_alarms.n} were judged; false "
                f"alarms were {percent(each.false_alarms)}."
            )
    few = [f"{each.code} {each.false_alarms.n} of {each.n_raised}" for each in ledger.verdicts if not each.can_tell]
    if few:
        other = "other findings" if len(few) < len(ledger.verdicts) else "findings"
        yield (
            f"Not enough verdicts to tell how often {other} are right: {MIN_VERDICTS} of a code are needed, "
            f"judged are {', '.join(few)}."
        )
    for each in ledger.verdicts:
        if each.rate is not None:
            yield _rate(each, each.rate)
        if each.discoveries is not None and each.discoveries.false_alarms.n >= MIN_VERDICTS:
            yield (
                f"Of the warnings among {each.code} false alarms were {percent(each.discoveries.false_alarms)}, where "
                f"{each.discoveries.level:.0%} is the false discovery rate that it works at."
            )


def _rate(judged: Judged, rate: FlagRate) -> str:
    who = f"{judged.detector} ({judged.code})"
    share = rate.judged
    if not rate.can_tell or share.value is None or rate.at_most.value is None:
        return (
            f"Not enough verdicts to tell how often {who} flags sound runs: of the runs that it could compare "
            f"{share.n_hits} were flagged and judged ok, {rate.n_not_judged} not judged, {rate.n_assumed} not flagged."
        )
    low, high = rate.interval
    beside = {-1: "below", 1: "above", 0: "not told apart from"}[rate.sign]
    more = f"; {rate.n_not_judged} more, flagged and not judged, could make it {rate.at_most.value:.1%}"
    return (
        f"By your verdicts {who} flagged {share.n_hits} of {share.n} sound runs: {share.value:.1%} (95% interval "
        f"{low:.1%} to {high:.1%}), {beside} the {rate.level:.0%} that it works at{more * bool(rate.n_not_judged)}. "
        f"The {rate.n_assumed} that it did not flag are sound by assumption: nobody judged them."
    )

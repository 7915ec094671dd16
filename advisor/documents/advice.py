"""How good the advice was, and whether to go on searching: its facts, and the section that states them.

Leaves out how that is worked out (see ``advisor.suggest.ledger`` and ``search_advice``). Invariant: a sentence stands
only if the sheet holds all of its figures; too few forecasts or runs are said to be too few.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from advisor.documents import numbers
from advisor.documents.content import Line, Paragraph, Section, fill, text_of
from advisor.documents.fact import Fact, FactSheet, metric_of
from advisor.documents.material import ExperimentMaterial
from advisor.documents.untrusted import one_line
from advisor.documents.verifier import verify_rendered

if TYPE_CHECKING:
    from advisor.suggest.intervals import Share
    from advisor.suggest.ledger import Ledger
    from advisor.suggest.search_advice import SearchAdvice


def advice_facts(material: ExperimentMaterial) -> Iterator[Fact]:
    """Return the facts of the ledger and of the advice on the search."""
    ledger, advice, objective = material.ledger, material.search_advice, material.experiment.objective
    metric = "" if objective is None else metric_of(objective)
    if ledger is not None and ledger.suggested.n_made:
        yield from _of_suggestions(ledger)
        yield from _of_forecasts(ledger)
        yield from _of_hindsight(ledger, metric)
    if ledger is not None and ledger.stops.n_advised:
        yield from _of_stops(ledger)
    if ledger is not None and ledger.false_alarms.n:
        yield from _of_verdicts(ledger)
    if advice is not None and advice.expected_gain is not None:
        yield from _of_search(advice, metric)


def advice_section(material: ExperimentMaterial, sheet: FactSheet) -> Section | None:
    """Return how good the advice was and whether to go on; None where there is nothing to say."""
    sentences = [*_ledger_sentences(material.ledger, sheet), *_search_sentences(material.search_advice, sheet)]
    if sentences and "n_front" in sheet:
        sentences.insert(0, "Best means the best {{metric}} here; the other objectives are left aside.")
    lines: list[Line] = [fill(sentence, sheet) for sentence in sentences]
    kept = tuple(Paragraph(line) for line in lines if not verify_rendered(text_of(line), sheet))
    return Section("How good was the advice", anchor="advice", blocks=kept) if kept else None


# -- facts


def _number(fact_id: str, value: int, label: str, source: str) -> Fact:
    return Fact(fact_id, value=value, label=label, text=numbers.count(value), kind="account", source=source)


def _measure(fact_id: str, value: float, label: str, source: str) -> Fact:
    return Fact(fact_id, value=value, label=label, text=numbers.figure(value), kind="account", source=source)


def _percent(fact_id: str, value: float, label: str, source: str) -> Fact:
    whole = round(value, 2)
    is_said_whole = whole not in (0.0, 1.0) or abs(value - whole) < 1e-9  # 99.7% is not all of it
    text = numbers.percent(whole if is_said_whole else value)
    return Fact(fact_id, value=value, unit="share", label=label, text=text, kind="account", source=source)


def _share(fact_id: str, share: Share, label: str, source: str) -> Iterator[Fact]:
    """Return a share, what it is of, and the ends of its interval; nothing for a share of nothing."""
    yield _number(f"{fact_id}_n", share.n, f"{label}, of how many", source)
    if share.value is None:
        return
    low, high = share.interval
    yield _number(f"{fact_id}_hits", share.n_hits, f"{label}, how many", source)
    yield _percent(fact_id, share.value, label, source)
    yield _percent(f"{fact_id}_low", low, f"{label}, lower end of the interval", source)
    yield _percent(f"{fact_id}_high", high, f"{label}, upper end of the interval", source)


def _of_suggestions(ledger: Ledger) -> Iterator[Fact]:
    from advisor.suggest.intervals import LEVEL

    made, source = ledger.suggested, "ledger.suggestions"
    yield _percent("interval_level", LEVEL, "level of the intervals of the ledger", source)
    yield _number("ledger_made", made.n_made, "suggestions made", source)
    yield _number("ledger_finished", made.n_finished, "suggestions whose run finished", source)
    yield from _share("ledger_best", made.gains.improved, "suggested runs that became the best so far", source)
    if made.gains.by_chance is not None:
        label = "the same in random order of the runs"
        yield _percent("ledger_best_by_chance", made.gains.by_chance, label, source)
    yield from _share("ledger_own", ledger.own.improved, "runs not suggested that became the best so far", source)


def _of_forecasts(ledger: Ledger) -> Iterator[Fact]:
    from advisor.suggest.forecast import COVERAGE

    record = next((each for each in ledger.forecasts if each.about == "suggestions"), None)
    if record is None:
        return
    source = "ledger.forecasts"
    yield _percent("forecast_level", COVERAGE, "level of the intervals of forecasts", source)
    yield from _share("ledger_covered", record.covered, "final values inside the forecast interval", source)
    if record.error is not None and record.error_of_median is not None:
        yield _measure("ledger_error", record.error, "mean absolute error of the forecasts", source)
        label = "mean absolute error of the median of what had finished"
        yield _measure("ledger_error_of_median", record.error_of_median, label, source)


def _of_hindsight(ledger: Ledger, metric: str) -> Iterator[Fact]:
    for place, each in enumerate(ledger.hindsight.versus, start=1):
        source = f"ledger.hindsight, {each.rival}, {each.basis}"
        yield _number(f"versus_{place}_k", each.k, "suggested runs that are compared", source)
        yield _measure(f"versus_{place}_ours", each.ours, f"best {metric} after these suggested runs", source)
        label = f"expected best {metric} of {each.rival} with as many runs"
        yield _measure(f"versus_{place}_theirs", each.theirs.value, label, source)
        yield _measure(f"versus_{place}_low", each.theirs.low, f"{label}, lower end", source)
        yield _measure(f"versus_{place}_high", each.theirs.high, f"{label}, upper end", source)


def _of_stops(ledger: Ledger) -> Iterator[Fact]:
    stops, source = ledger.stops, "ledger.stops"
    yield _number("ledger_stops", stops.n_advised, "runs advised to stop", source)
    yield _number("ledger_stopped", stops.n_followed, "runs that were stopped then", source)
    yield _number("ledger_not_stopped", stops.n_ignored, "runs that went on to their end", source)
    yield _number("ledger_missed", stops.became_best.n_hits, "of these, runs that became the best", source)
    if stops.saved_share is not None:
        label = "share of the usual length that the stopped runs did not train"
        yield _percent("ledger_saved", stops.saved_share, label, source)


def _of_verdicts(ledger: Ledger) -> Iterator[Fact]:
    from advisor.suggest.intervals import LEVEL

    source = "ledger.false_alarms"
    yield _percent("verdict_level", LEVEL, "level of the interval of false alarms", source)
    yield _number("ledger_raised", ledger.n_raised, "findings raised", source)
    yield from _share("ledger_false_alarms", ledger.false_alarms, "findings judged to be false alarms", source)


def _of_search(advice: SearchAdvice, metric: str) -> Iterator[Fact]:
    source = "stop_advice"
    assert advice.expected_gain is not None
    yield _number("search_horizon", advice.horizon, "further runs that are looked ahead", source)
    yield _measure("search_gain", advice.expected_gain, f"improvement of {metric} expected of them", source)
    if advice.noise is not None:
        label = f"differences in {metric} that mean nothing: {one_line(advice.noise_basis, limit=120)}"
        yield _measure("search_noise", advice.noise, label, source)
    if advice.cost_s is not None:
        text = numbers.duration(advice.cost_s)
        label = "duration of them one after the other"
        yield Fact("search_cost", value=advice.cost_s, unit="s", label=label, text=text, kind="account", source=source)


# -- sentences


def _ledger_sentences(ledger: Ledger | None, sheet: FactSheet) -> Iterator[str]:
    if ledger is None:
        return
    made = "suggestion" if ledger.suggested.n_made == 1 else "suggestions"
    own = "run that was not suggested" if ledger.own.improved.n == 1 else "runs that were not suggested"
    if "ledger_best" in sheet:
        yield (
            f"Of {{{{ledger_made}}}} {made} {{{{ledger_finished}}}} finished. "
            "{{ledger_best_hits}} of {{ledger_best_n}} "
            "became the best so far: {{ledger_best}}, {{interval_level}} interval {{ledger_best_low}} to "
            "{{ledger_best_high}}; in random order it would be {{ledger_best_by_chance}}."
            + (f" Of {{{{ledger_own_n}}}} {own} {{{{ledger_own_hits}}}} did." * ("ledger_own" in sheet))
        )
    elif "ledger_made" in sheet:
        yield f"Of {{{{ledger_made}}}} {made} {{{{ledger_finished}}}} finished."
    yield from _forecast_sentences(ledger, sheet)
    for place, each in enumerate(ledger.hindsight.versus, start=1):
        if each is ledger.hindsight.versus[-1] or each.rival != ledger.hindsight.versus[place].rival:
            runs = "run" if each.k == 1 else "runs"
            interval = f"{{{{interval_level}}}} interval {{{{versus_{place}_low}}}} to {{{{versus_{place}_high}}}}"
            yield (
                f"After {{{{versus_{place}_k}}}} suggested {runs} the best was {{{{versus_{place}_ours}}}}, where "
                f"{each.rival} would have had {{{{versus_{place}_theirs}}}} on average ({interval})."
            )
    if "ledger_stops" in sheet:
        saved = ", which saved {{ledger_saved}} of their usual length" if "ledger_saved" in sheet else ""
        yield (
            "Runs advised to stop: {{ledger_stops}}. Of these {{ledger_stopped}} stopped" + saved + "; of "
            "{{ledger_not_stopped}} that went on {{ledger_missed}} became the best."
        )
    if "ledger_false_alarms" in sheet:
        yield (
            f"Of {{{{ledger_raised}}}} {'finding' if ledger.n_raised == 1 else 'findings'} "
            "{{ledger_false_alarms_n}} were judged; false alarms among these: "
            "{{ledger_false_alarms_hits}}, or {{ledger_false_alarms}}, {{verdict_level}} interval "
            "{{ledger_false_alarms_low}} to {{ledger_false_alarms_high}}."
        )


def _forecast_sentences(ledger: Ledger, sheet: FactSheet) -> Iterator[str]:
    record = next((each for each in ledger.forecasts if each.about == "suggestions"), None)
    if record is None or "ledger_covered_n" not in sheet:
        return
    if not record.can_tell:
        yield "Not enough forecasts of suggestions came to an end to tell how good they are: {{ledger_covered_n}} did."
        return
    against = (
        " Their mean absolute error is {{ledger_error}}, that of the median of what had finished by then "
        "{{ledger_error_of_median}}."
    )
    yield (
        "The {{forecast_level}} intervals of forecasts held {{ledger_covered}} of {{ledger_covered_n}} final values "
        "({{interval_level}} interval {{ledger_covered_low}} to {{ledger_covered_high}})."
        + against
        * ("ledger_error" in sheet)
    )


def _search_sentences(advice: SearchAdvice | None, sheet: FactSheet) -> Iterator[str]:
    if advice is None or "search_gain" not in sheet:
        return
    rests = "" if advice.noise_from_repeats else " by a rule of thumb, since no repeats tell"
    cost = ", and take about {{search_cost}} one after the other" if "search_cost" in sheet else ""
    verdict = "Stop searching" if advice.stop else "Go on searching"
    yield (
        verdict + ": the next {{search_horizon}} runs are expected to improve the best by {{search_gain}}, where "
        "differences of {{search_noise}} mean nothing" + rests + cost + "."
    )

"""The program's own sentences: what a document says with no language model at all.

Each function returns sentences with ``{{fact}}`` placeholders, chosen by what the sheet holds.
Leaves out figures: they are filled in later. Invariant: no sentence holds a figure of its own,
and none claims more than the facts say: a lead that repetitions do not confirm is called a lead only.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from advisor.documents.fact import FactSheet
from advisor.documents.standing import Standing
from storage.records import FindingState, Run, RunState

REPEATS_AGREE = (
    "Repeats of a configuration agree to the last digit: the objective is deterministic, or they ran with the same "
    "seed. How large chance is they do not tell"
)
ENOUGH_RUNS = 5
"""Below this many ranked runs nothing is said about which parameter mattered."""


def experiment_lead(sheet: FactSheet) -> str:
    """Return the outcome of an experiment in one sentence."""
    if "n_front" in sheet:
        return _front_lead(sheet)
    if "best" in sheet:
        lead = "Run {{best_run}} has the best {{metric}} so far, {{best}}"
        if "gain_share" in sheet and sheet["gain_share"].value:
            return lead + ": {{gain_share}} " + _better_word(sheet) + " than the first run."
        return lead + "."
    if "absent_objective" in sheet:
        if sheet["n_runs"].number == 1:
            return "{{n_runs}} run is recorded, and it cannot be called the best: no objective is set."
        return "{{n_runs}} runs are recorded, and none can be called the best: no objective is set."
    return "No run has finished with a finite objective yet, so there is no best run."


def _front_lead(sheet: FactSheet) -> str:
    """Return the outcome where there are several objectives: nothing is the best in all of them but by luck."""
    one = sheet["n_front"].number == 1
    are = "run is on the front: no other run beats it" if one else "runs are on the front: no other run beats them"
    lead = "{{n_front}} " + are + " in every objective. The best {{metric}} is {{best}} (run {{best_run}})"
    further = [
        f"the best {{{{metric_{place}}}}} {{{{best_{place}}}}} (run {{{{best_{place}_run}}}})"
        for place in range(2, 10)
        if f"best_{place}" in sheet
    ]
    return lead + "".join(f", {each}" for each in further) + "."


def experiment_summary(sheet: FactSheet, where: Standing) -> tuple[str, ...]:
    """Return the paragraph below the lead."""
    return (*_against_baseline(sheet), *_spread(sheet), *_since(sheet), *_states(sheet, where), *_findings(sheet))


def experiment_caution(sheet: FactSheet, where: Standing) -> str:
    """Return how far the best run and the order of the runs can be trusted, empty where nothing is ranked."""
    if "best" not in sheet:
        return ""
    return too_good(where.best) + _order_caution(sheet, where)


def _order_caution(sheet: FactSheet, where: Standing) -> str:
    if len(where.ranked) < 2:
        return "There is a single run to judge by: nothing can be compared yet."
    if "n_front" in sheet:
        return _front_caution(sheet, where)
    if where.repeats_agree:
        return REPEATS_AGREE + "."
    if "noise" not in sheet:
        return (
            "No configuration near the best was run twice: differences may be noise. Repeat the leading "
            "configurations with other seeds before relying on their order."
        )
    own = (
        " Over its {{n_best_repeats}} repeats the best configuration has a mean of {{best_mean}}: "
        "expect that, not its best run."
        if "n_best_repeats" in sheet
        else " The best configuration itself was run once."
    )
    if where.beyond_noise is None:
        return "Repeats of a configuration have a standard deviation of {{noise}}." + own
    if where.beyond_noise:
        return (
            "The lead of {{gap}} over the next configuration is more than chance between repeats would explain "
            "(their standard deviation is {{noise}})." + own
        )
    return (
        "The lead of {{gap}} over the next configuration ({{runner_up}}, run {{runner_up_run}}) may be chance: "
        "repeats of a configuration have a standard deviation of {{noise}}." + own
    )


def _front_caution(sheet: FactSheet, where: Standing) -> str:
    if where.repeats_agree:
        return REPEATS_AGREE.replace("the objective is", "{{metric}} is") + "."
    if "noise" not in sheet:
        return (
            "No configuration near the best {{metric}} was run twice: which runs are on the front may be noise. "
            "Repeat those that matter with other seeds before relying on them."
        )
    return "Repeats of a configuration have a standard deviation of {{noise}} in {{metric}}."


def too_good(run: Run | None, name: str = "{{best_run}}") -> str:
    """Return a warning where a check says that a run is too good to be true, and nobody judged that a false alarm."""
    from advisor.findings.codes import TOO_GOOD

    found = [one for one in run.findings if one.code == TOO_GOOD.code and one.verdict != "ok"] if run else []
    if any(one.verdict == "real" for one in found):
        return f"Somebody judged run {name} too good to be true: its figures are no result. "
    if any(one.state is not FindingState.RESOLVED for one in found):
        return f"A check says that run {name} is too good to be true: look for a leak before relying on it. "
    return ""


def run_lead(sheet: FactSheet, where: Standing, run: Run) -> str:
    """Return the outcome of a run in one sentence."""
    if run.state is RunState.FINISHED and "rank" in sheet:
        return "Run {{run}} finished with {{metric}} {{objective}}, rank {{rank}} of {{n_ranked}}."
    ending = {
        RunState.WAITING: "is waiting to be started",
        RunState.RUNNING: "is still running, or ended without a word",
        RunState.FINISHED: "finished",
        RunState.PRUNED: "was stopped early because other runs were ahead",
        RunState.FAILED: "failed with an error",
        RunState.CRASHED: "crashed: its process vanished",
    }[run.state]
    last = None if where.objective is None else run.metrics.get(where.objective.metric)
    if last is not None and not math.isfinite(last) and _is_finite(sheet, "objective"):
        word = "NaN" if math.isnan(last) else "an infinite value"
        told = ", and its {{metric}} ended in " + word + "; the last finite one, {{objective}}, is not ranked."
        return "Run {{run}} " + ending + told
    if "objective" in sheet:
        return "Run {{run}} " + ending + "; its {{metric}} is {{objective}}, and it is not ranked."
    if "last_step" in sheet:
        return "Run {{run}} " + ending + "; its last step is {{last_step}}."
    return "Run {{run}} " + ending + "."


def _is_finite(sheet: FactSheet, fact_id: str) -> bool:
    found = sheet.get(fact_id)
    return found is not None and found.number is not None and math.isfinite(found.number)


def run_summary(sheet: FactSheet, where: Standing) -> tuple[str, ...]:
    """Return the paragraph below the lead."""
    return (
        *_beside_others(sheet, where),
        *_end_of_curve(sheet),
        *_own_forecast(sheet),
        *_duration(sheet),
        *_findings_of_run(sheet),
    )


def run_caution(sheet: FactSheet, where: Standing, run: Run) -> str:
    """Return how far the run's figures and rank can be trusted, empty where nothing is to be said."""
    return (too_good(run, "{{run}}") + _rank_caution(sheet, where)).strip()


def _rank_caution(sheet: FactSheet, where: Standing) -> str:
    if "rank" not in sheet or "best_other" not in sheet:
        return ""
    if where.repeats_agree:
        return REPEATS_AGREE + "."
    if "noise" not in sheet:
        return "No configuration near the best was run twice: differences may be noise."
    return "Repeats of a configuration have a standard deviation of {{noise}}: differences of that order may be chance."


def _of_first(sheet: FactSheet, value: str) -> str:
    """Say which objective a value is of, where there are several."""
    return f"{value} in {{{{metric}}}}" if "n_front" in sheet else value


def _better_word(sheet: FactSheet) -> str:
    return "lower" if sheet["best"].direction == "minimize" else "higher"


def _against_baseline(sheet: FactSheet) -> Iterator[str]:
    if "gain" not in sheet:
        if "runner_up" in sheet:
            yield "It is the first run that can be ranked; no later one has improved on it."
    elif sheet["gain"].value == 0:
        yield "That is the same as the first run, {{baseline_run}}, reached."
    else:
        yield "The first run that can be ranked, {{baseline_run}}, had " + _of_first(sheet, "{{baseline}}") + "."


def _spread(sheet: FactSheet) -> Iterator[str]:
    if "quartile_low" in sheet:
        yield (
            "The median of {{n_ranked}} ranked runs is " + _of_first(sheet, "{{median}}") + "; "
            "the middle half lies between {{quartile_low}} and {{quartile_high}}."
        )


def _since(sheet: FactSheet) -> Iterator[str]:
    if "n_since_best" in sheet and sheet["n_since_best"].number:
        one = sheet["n_since_best"].number == 1
        best = "best {{metric}}" if "n_front" in sheet else "best"
        yield f"The {best} has stood for {{{{n_since_best}}}} {'run' if one else 'runs'}."


def _states(sheet: FactSheet, where: Standing) -> Iterator[str]:
    words = {
        RunState.PRUNED: "pruned",
        RunState.FAILED: "failed",
        RunState.CRASHED: "crashed",
        RunState.RUNNING: "still running",
        RunState.WAITING: "waiting",
    }
    parts = [f"{{{{n_{state}}}}} {word}" for state, word in words.items() if where.by_state.get(state)]
    finished = "{{n_finished}} finished"
    odd = {"n_unranked": "diverged or without an objective", "n_breaking": "beyond a constraint and not ranked"}
    told = [f"{{{{{name}}}}} of them {words}" for name, words in odd.items() if name in sheet]
    if told:
        finished += f", {_joined(told)}"
    if parts or told:
        runs = "run" if len(where.runs) == 1 else "runs"
        yield f"Of {{{{n_runs}}}} {runs}, " + "; ".join([finished, *([_joined(parts)] if parts else [])]) + "."
    elif where.runs:
        yield "All {{n_runs}} runs finished." if len(where.runs) > 1 else "The run finished."


def _findings(sheet: FactSheet) -> Iterator[str]:
    if "n_flagged" in sheet:
        n_findings, n_flagged = sheet["n_findings"].number, sheet["n_flagged"].number
        yield (
            f"{{{{n_findings}}}} {'finding concerns' if n_findings == 1 else 'findings concern'} "
            f"{{{{n_flagged}}}} run{'' if n_flagged == 1 else 's'}."
        )


def _beside_others(sheet: FactSheet, where: Standing) -> Iterator[str]:
    if "best_other" not in sheet or where.objective is None:
        return
    own, other = sheet["objective"].number, sheet["best_other"].number
    if own is None or other is None:
        return
    if where.objective.better(own, other):
        yield "It is ahead of all others; the next best is run {{best_other_run}} with {{best_other}}."
    elif own == other:
        yield "Run {{best_other_run}} reached the same."
    else:
        yield "The best other run is {{best_other_run}} with {{best_other}}."
    yield "The median of the other ranked runs is {{median_other}}."


def _end_of_curve(sheet: FactSheet) -> Iterator[str]:
    if "steps_after_best" in sheet and sheet["steps_after_best"].number:
        yield "Its own best {{metric}} was at step {{best_step}}, {{steps_after_best}} steps before the end."
    if "slope" in sheet:
        yield "Over the last tenth of the run it changed by {{slope}}."


def _own_forecast(sheet: FactSheet) -> Iterator[str]:
    if {"own_forecast_low", "own_forecast_high"} <= {fact.id for fact in sheet}:
        yield (
            "It is expected to end at {{own_forecast_mean}}, between {{own_forecast_low}} and {{own_forecast_high}}."
        )


def _duration(sheet: FactSheet) -> Iterator[str]:
    if "duration" in sheet:
        beside = ", where the median of the others is {{duration_median}}" if "duration_median" in sheet else ""
        yield "It took {{duration}}" + beside + "."


def _findings_of_run(sheet: FactSheet) -> Iterator[str]:
    if sheet["n_findings"].number:
        one = sheet["n_findings"].number == 1
        yield "There is {{n_findings}} finding." if one else "There are {{n_findings}} findings."


def _joined(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]

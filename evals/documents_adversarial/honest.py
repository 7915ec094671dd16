"""Honest drafts: what a model writes that keeps to the rules that it is told, in two sets.

The rules were mended on the first set alone; what is reported is the second. A draft has three sentences,
drawn from those that the sheet has facts for. Claims are made true by looking at the figures, as a model would.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from functools import lru_cache

from advisor.documents import FactSheet
from advisor.documents.prompt import INSTRUCTIONS
from advisor.documents.verifier import Claim, Sentence

EXPERIMENT = """
The best {{metric}} of the experiment is {{best}}, from run {{best_run}}.
Among {{n_runs}} runs, run {{best_run}} reached the best {{metric}} at {{best}}.
Run {{best_run}} stands as the best run, with a {{metric}} of {{best}}.
The best value so far is {{best}}, and it was reached by run {{best_run}}.
The best {{metric}}, {{best}}, was recorded for run {{best_run}}.
With {{best}}, run {{best_run}} holds the best {{metric}}.
The best {{metric}} was {{best}}, {{c:best:median}} the median of {{median}}.
The best is {{best}}, {{c:best:baseline}} the baseline of {{baseline}}.
At {{best}}, the best {{metric}} is {{c:best:worst}} the worst, {{worst}}.
The median {{metric}} of {{median}} is {{c:median:worst}} the worst of {{worst}}.
The median {{median}} is {{c:median:baseline}} the baseline {{baseline}}.
The runner-up configuration reached {{runner_up}}, {{c:runner_up:best}} the best of {{best}}.
The baseline, the first run {{baseline_run}}, reached a {{metric}} of {{baseline}}.
The first run, {{baseline_run}}, is the baseline with {{baseline}}.
The baseline {{metric}} was {{baseline}}.
The baseline of {{baseline}} was set by run {{baseline_run}}.
The gain of the best over the baseline is {{gain}}.
The gain in {{metric}} over the baseline is {{gain}}, which is {{gain_share}} relative to the baseline.
The gain over the baseline came to {{gain_share}}.
The gap between best and runner-up stands at {{gap}}.
Run {{runner_up_run}} is the runner-up configuration with {{runner_up}}.
The runner-up configuration has a {{metric}} of {{runner_up}}.
Of the {{n_runs}} runs, {{n_finished}} finished and {{n_failed}} failed.
The experiment has {{n_runs}} runs, of which {{n_finished}} have finished.
{{n_failed}} runs failed.
{{n_pruned}} runs were pruned and {{n_failed}} runs failed.
The number of runs is {{n_runs}}.
The number of runs finished is {{n_finished}}, and the number of runs failed is {{n_failed}}.
There were {{n_finished}} finished runs and {{n_failed}} failed runs.
There are {{n_runs}} runs in this experiment.
The finished runs have a median {{metric}} of {{median}} and a worst {{metric}} of {{worst}}.
The median of the finished runs stands at {{median}}.
The worst {{metric}} of the finished runs is {{worst}}.
The lower quartile is {{quartile_low}}, and the upper quartile is {{quartile_high}}.
The quartiles of {{metric}} lie at {{quartile_low}} and {{quartile_high}}.
The noise of {{metric}} is {{noise}}, the standard deviation between repeats.
Between repeats, the standard deviation is {{noise}}.
The noise between repeats is {{noise}}.
There are {{n_repeated}} repeated configurations.
The best {{metric}} was improved {{n_records}} times.
The number of runs since the last improvement of the best is {{n_since_best}}.
There have been {{n_since_best}} runs since the last improvement of the best.
There are {{n_findings}} findings, and {{n_flagged}} runs have findings.
The experiment has {{n_findings}} findings in {{n_flagged}} runs.
{{n_flagged}} runs have findings.
{{n_error}} findings have the severity error.
The number of findings with severity warning is {{n_warning}}.
The parameter {{parameter_1}} has an importance of {{importance_1}}.
The importance of the parameter {{parameter_2}} is {{importance_2}}.
By importance, {{parameter_1}} has {{importance_1}} and {{parameter_2}} has {{importance_2}}.
The importance of {{parameter_1}} is {{importance_1}}, {{c:importance_1:importance_2}} the importance of {{importance_2}} for {{parameter_2}}.
The suggestion has a forecast {{metric}} with a mean of {{forecast_mean}}.
The forecast lies between {{forecast_low}} and {{forecast_high}}.
The mean of the forecast is {{forecast_mean}}.
The suggestion was learned from {{n_learned_from}} runs.
The suggestion is based on {{n_learned_from}} runs.
The duration of the runs together is {{duration_total}}.
The runs had a median duration of {{duration_median}}.
The median duration of the runs was {{duration_median}}.
The runs took {{duration_total}} together.
The {{n_finished}} finished runs include a best of {{best}}.
So far the best {{metric}} is {{best}} and the median is {{median}}.
Run {{best_run}} reached {{best}}, while the baseline run {{baseline_run}} reached {{baseline}}.
Over {{n_runs}} runs the best {{metric}} was {{best}} and the worst was {{worst}}.
The best {{metric}} is {{best}}; the median is {{median}}; the worst is {{worst}}.
The experiment reached a best {{metric}} of {{best}} after {{n_runs}} runs.
The baseline {{baseline}} is {{c:baseline:best}} the best {{best}}.
{{n_finished}} of {{n_runs}} runs have finished.
The run with the best {{metric}} is {{best_run}}.
The objective metric is {{metric}}, and its best value is {{best}}.
"""
RUN = """
Run {{run}} reached a {{metric}} of {{objective}}.
The {{metric}} of this run is {{objective}}.
This run has the state {{state}}.
The state of the run is {{state}}.
Run {{run}} has rank {{rank}}.
The rank of this run is {{rank}} among {{n_ranked}} ranked runs.
Its rank is {{rank}} of {{n_ranked}} finished runs with a finite objective.
The best {{metric}} of the other runs is {{best_other}}.
Run {{best_other_run}} is the other run with the best {{metric}}, {{best_other}}.
The median {{metric}} of the other runs is {{median_other}}.
The {{metric}} of {{objective}} is {{c:objective:best_other}} the best of the other runs, {{best_other}}.
The {{metric}} of this run, {{objective}}, is {{c:objective:median_other}} the median of the other runs, {{median_other}}.
The {{metric}} of this run is {{objective}}, {{c:objective:baseline}} the baseline of {{baseline}}.
The baseline, the first run, has a {{metric}} of {{baseline}}.
The noise of {{metric}} is {{noise}}.
The last step of the run is {{last_step}}.
The duration of the run was {{duration}}.
This run took {{duration}}.
The run took {{duration}}, and the median duration of the runs is {{duration_median}}.
The run has {{n_findings}} findings.
There are {{n_findings}} findings.
The seed is {{seed}}.
The run was set to a seed of {{seed}}.
Run {{run}} ended with the state {{state}} and a {{metric}} of {{objective}}.
Its {{metric}} is {{objective}}.
"""
HELD_OUT = """
The best {{metric}} was recorded in run {{best_run}} and is {{best}}.
Run {{best_run}} reached a best {{metric}} of {{best}}.
The best value of {{metric}} is {{best}}, in run {{best_run}}.
The best run, {{best_run}}, has a {{metric}} of {{best}}.
After {{n_runs}} runs, run {{best_run}} holds the best {{metric}}, {{best}}.
The best {{metric}} is {{best}} and the baseline {{metric}} is {{baseline}}.
The best {{metric}} of {{best}} is {{c:best:median}} the median {{metric}} of {{median}}.
The median {{metric}} of the finished runs, {{median}}, is {{c:median:worst}} the worst {{metric}}, {{worst}}.
The baseline {{metric}} of {{baseline}} is {{c:baseline:worst}} the worst {{metric}} of {{worst}}.
The {{metric}} of the runner-up configuration is {{runner_up}}, {{c:runner_up:best}} the best {{metric}} of {{best}}.
The lower quartile is {{quartile_low}}, {{c:quartile_low:quartile_high}} the upper quartile of {{quartile_high}}.
The number of runs failed is {{n_failed}}, {{c:n_failed:n_finished}} the number of runs finished, {{n_finished}}.
The parameter {{parameter_1}} has an importance of {{importance_1}}, {{c:importance_1:importance_3}} the importance of {{importance_3}} for the parameter {{parameter_3}}.
The baseline is run {{baseline_run}} with a {{metric}} of {{baseline}}.
The baseline {{metric}} is {{baseline}}, from the first run, {{baseline_run}}.
The {{metric}} at the baseline is {{baseline}}.
Over the baseline, the best has a gain in {{metric}} of {{gain}}.
The gain over the baseline is {{gain_share}} relative to the baseline.
The gain in {{metric}} is {{gain}}.
The gap in {{metric}} is {{gap}} between best and runner-up.
The runner-up configuration was recorded at {{runner_up}} in run {{runner_up_run}}.
The runner-up is run {{runner_up_run}}, at a {{metric}} of {{runner_up}}.
There are {{n_runs}} runs, {{n_finished}} finished and {{n_failed}} failed.
There are {{n_runs}} recorded runs in the experiment.
{{n_failed}} of {{n_runs}} runs have failed.
{{n_pruned}} of {{n_runs}} runs were pruned.
The experiment has {{n_failed}} failed runs.
The number of finished runs is {{n_finished}}.
{{n_finished}} runs finished.
The worst {{metric}} is {{worst}}.
The worst {{metric}} of {{worst}} was recorded among the finished runs.
The median {{metric}} is at {{median}}.
The upper quartile is {{quartile_high}} and the lower quartile is {{quartile_low}}.
The lower quartile of {{metric}} stands at {{quartile_low}}.
The standard deviation between repeats, the noise, is {{noise}}.
The noise of {{metric}} between repeats is {{noise}}.
There are {{n_repeated}} configurations with repeats.
The best {{metric}} was improved {{n_records}} times so far.
There are {{n_since_best}} runs since the last improvement of the best.
There are {{n_findings}} findings in this experiment.
There are {{n_flagged}} runs with findings.
The experiment has {{n_error}} findings with severity error.
The parameter {{parameter_2}} has an importance of {{importance_2}}.
The importance of {{parameter_3}} is {{importance_3}}.
By importance, the parameter {{parameter_1}} has {{importance_1}}.
The suggestion sets {{parameter_3}} to {{next_3}}.
For the suggestion, the parameter {{parameter_1}} is {{next_1}}.
The suggestion has a forecast with a mean of {{forecast_mean}}.
The forecast of the {{metric}} lies between {{forecast_low}} and {{forecast_high}}.
The suggestion was learned from {{n_learned_from}} runs of the experiment.
The duration of all runs together is {{duration_total}}.
The runs have a median duration of {{duration_median}}.
The median duration is {{duration_median}}.
Run {{run}} has rank {{rank}} and a {{metric}} of {{objective}}.
The {{metric}} of run {{run}} was {{objective}}.
This run, {{run}}, has the state {{state}}.
The rank of run {{run}} is {{rank}} of {{n_ranked}} runs.
The best {{metric}} of the other runs is {{best_other}}, in run {{best_other_run}}.
The median {{metric}} of the other runs is at {{median_other}}.
The {{metric}} of this run, {{objective}}, is {{c:objective:best_other}} the best {{metric}} of the other runs, {{best_other}}.
The {{metric}} of this run is {{objective}}, {{c:objective:median_other}} the median {{metric}} of the other runs, {{median_other}}.
The duration of this run is {{duration}}.
The run has a duration of {{duration}}, and the median duration of a run is {{duration_median}}.
The last step of this run was {{last_step}}.
This run has {{n_findings}} findings.
This run was set to a seed of {{seed}}.
"""
"""Written when the rules were done; none of them was mended on these."""
HELD_OUT_SECOND = """
In run {{best_run}} the best {{metric}} was reached: {{best}}.
The best {{metric}} was set by run {{best_run}} and is {{best}}.
So far the best run is {{best_run}}, at {{best}}.
Run {{best_run}}, with a best {{metric}} of {{best}}, stands among {{n_runs}} runs.
The best {{metric}} is {{best}}; it came from run {{best_run}}.
The experiment has reached a best {{metric}} of {{best}}.
The best {{metric}} of this experiment is {{best}}.
The best {{metric}} of {{best}} is {{c:best:worst}} the worst {{metric}} of {{worst}}.
The median {{metric}} is {{median}}, {{c:median:best}} the best {{metric}} of {{best}}.
The best {{metric}}, {{best}}, is {{c:best:median}} the median {{metric}}, {{median}}.
The runner-up configuration is at {{runner_up}}, {{c:runner_up:baseline}} the baseline at {{baseline}}.
The upper quartile {{quartile_high}} is {{c:quartile_high:median}} the median {{median}}.
The number of runs finished, {{n_finished}}, is {{c:n_finished:n_failed}} the number of runs failed, {{n_failed}}.
The importance of {{parameter_2}}, {{importance_2}}, is {{c:importance_2:importance_1}} the importance of {{parameter_1}}, {{importance_1}}.
The baseline is the first run, {{baseline_run}}, and its {{metric}} is {{baseline}}.
The baseline, run {{baseline_run}}, stands at {{baseline}}.
For the baseline, the {{metric}} was {{baseline}}.
The baseline has a {{metric}} of {{baseline}}.
There is a gain of {{gain}} in {{metric}} over the baseline.
The best has a gain in {{metric}} of {{gain}} over the baseline, the first run.
A gain of {{gain_share}} relative to the baseline was reached.
The gap between the best and the runner-up configuration is {{gap}}.
The run of the runner-up configuration is {{runner_up_run}}.
The runner-up configuration, from run {{runner_up_run}}, has a {{metric}} of {{runner_up}}.
This experiment has {{n_runs}} runs.
The number of runs in the experiment is {{n_runs}}.
Of {{n_runs}} runs in the experiment, {{n_failed}} failed.
{{n_finished}} runs are finished and {{n_failed}} runs are failed.
The experiment contains {{n_finished}} finished runs.
There were {{n_failed}} failed runs and {{n_pruned}} pruned runs.
There are {{n_ranked}} runs finished with a finite objective.
Of the runs, {{n_finished}} finished.
The finished runs have a worst {{metric}} of {{worst}}.
The worst value of {{metric}} among the finished runs is {{worst}}.
The median of {{metric}} over the finished runs is {{median}}.
The {{metric}} has a lower quartile of {{quartile_low}} and an upper quartile of {{quartile_high}}.
The upper quartile of {{metric}} was {{quartile_high}}.
The noise of {{metric}} is a standard deviation of {{noise}} between repeats.
There is noise of {{noise}} between repeats.
{{n_repeated}} repeated configurations are in the experiment.
The best {{metric}} has been improved {{n_records}} times.
The last improvement of the best was {{n_since_best}} runs ago.
{{n_findings}} findings are recorded.
The experiment has {{n_findings}} findings, and {{n_flagged}} runs with findings.
The number of runs with findings is {{n_flagged}}.
There are {{n_warning}} findings with severity warning.
{{n_error}} findings with severity error were recorded.
The importance of the parameter {{parameter_1}} came to {{importance_1}}.
The parameter {{parameter_1}} has an importance of {{importance_1}}, and the parameter {{parameter_2}} has an importance of {{importance_2}}.
{{parameter_3}} has an importance of {{importance_3}}.
The suggestion has {{parameter_2}} set to {{next_2}}.
The suggestion sets the parameter {{parameter_1}} to {{next_1}}.
The mean of the forecast {{metric}} is {{forecast_mean}}.
The forecast of the suggestion has a mean of {{forecast_mean}}, between {{forecast_low}} and {{forecast_high}}.
The forecast for the suggestion lies between {{forecast_low}} and {{forecast_high}}.
{{n_learned_from}} runs are what the suggestion was learned from.
The runs together had a duration of {{duration_total}}.
A run has a median duration of {{duration_median}}.
The median duration of a run was {{duration_median}}, and the runs took {{duration_total}} together.
The state of this run is {{state}}, and its {{metric}} is {{objective}}.
Run {{run}} ended in state {{state}}.
Run {{run}} has a {{metric}} of {{objective}} and rank {{rank}}.
The {{metric}} of this run was {{objective}}, at rank {{rank}} of {{n_ranked}}.
Of {{n_ranked}} runs finished with a finite objective, this run has rank {{rank}}.
Run {{best_other_run}} has the best {{metric}} of the other runs, {{best_other}}.
The best {{metric}} among the other runs was {{best_other}}, from run {{best_other_run}}.
The {{metric}} of {{objective}} for this run is {{c:objective:best_other}} the best {{metric}} of the other runs, {{best_other}}.
The median {{metric}} of the other runs was {{median_other}}, and the {{metric}} of this run is {{objective}}.
At the baseline, the first run, the {{metric}} was {{baseline}}.
This run took a duration of {{duration}}.
The duration of run {{run}} was {{duration}}.
The last step of run {{run}} is {{last_step}}.
There were {{n_findings}} findings in this run.
The run has {{n_warning}} findings with severity warning.
The seed of this run was {{seed}}.
"""
"""The second set that was held out; the rules were mended on it as well."""
HELD_OUT_FIRST = """
The best {{metric}} stands at {{best}}, from run {{best_run}}.
The experiment gave a best {{metric}} of {{best}} in run {{best_run}}.
Run {{best_run}} is the run with the best {{metric}}.
Run {{best_run}} is the best run so far, at a {{metric}} of {{best}}.
A {{metric}} of {{best}} is the best so far, and it belongs to run {{best_run}}.
The best recorded value of {{metric}} is {{best}}.
Over all that was recorded, the best {{metric}} is {{best}}.
The best {{metric}} is now {{best}}, {{c:best:median}} the median {{median}}.
The best {{metric}} {{best}} is {{c:best:baseline}} the baseline {{baseline}}.
The best {{metric}} is {{best}}, which is {{c:best:baseline}} the baseline at {{baseline}}.
The baseline, {{baseline}}, is {{c:baseline:median}} the median, {{median}}.
The runner-up configuration, {{runner_up}}, is {{c:runner_up:median}} the median of the finished runs, {{median}}.
The lower quartile of {{quartile_low}} is {{c:quartile_low:median}} the median of {{median}}.
The worst {{metric}} is {{worst}}, {{c:worst:baseline}} the baseline {{baseline}}.
The first run was {{baseline_run}}, with a {{metric}} of {{baseline}} as the baseline.
The baseline is {{baseline}}, reached in the first run, {{baseline_run}}.
Run {{baseline_run}} is the baseline and had a {{metric}} of {{baseline}}.
The baseline value of {{metric}} is {{baseline}}.
The gain in {{metric}} of the best over the baseline is {{gain}}.
The best has a gain of {{gain}} over the baseline.
Relative to the baseline the gain in {{metric}} is {{gain_share}}.
Between best and runner-up there is a gap in {{metric}} of {{gap}}.
The gap in {{metric}} between best and runner-up was {{gap}}.
The configuration that is the runner-up has a {{metric}} of {{runner_up}} in run {{runner_up_run}}.
The experiment includes {{n_runs}} runs.
{{n_runs}} runs have been recorded so far.
{{n_finished}} runs have finished, and {{n_failed}} have failed.
Out of {{n_runs}} runs, {{n_finished}} finished.
From {{n_runs}} runs, {{n_finished}} have finished and {{n_failed}} have failed.
The number of failed runs is {{n_failed}} and the number of finished runs is {{n_finished}}.
{{n_finished}} finished runs are recorded.
The number of runs pruned is {{n_pruned}}.
The number of runs finished with a finite objective is {{n_ranked}}.
{{n_ranked}} runs finished with a finite objective.
The median {{metric}} of the finished runs is {{median}} and the worst is {{worst}}.
The median lies at {{median}}.
For the finished runs the median {{metric}} is {{median}}.
Across the finished runs, the worst {{metric}} is {{worst}}.
The upper quartile of {{metric}} lies at {{quartile_high}}.
The lower quartile of {{metric}} is {{quartile_low}} while the upper quartile is {{quartile_high}}.
The noise of {{metric}} stands at {{noise}}.
The standard deviation of {{metric}} between repeats is {{noise}}.
The number of repeated configurations is {{n_repeated}}.
The number of times the best {{metric}} was improved is {{n_records}}.
The last improvement of the best was {{n_since_best}} runs ago.
The number of findings is {{n_findings}}, in {{n_flagged}} runs.
There are {{n_error}} findings with severity error and {{n_warning}} findings with severity warning.
The runs have {{n_findings}} findings.
The importance of {{parameter_1}} is {{importance_1}} and the importance of {{parameter_2}} is {{importance_2}}.
With an importance of {{importance_1}}, {{parameter_1}} is the first parameter by importance.
The parameter {{parameter_3}} has an importance of {{importance_3}}.
The parameter {{parameter_1}}, with an importance of {{importance_1}}, is the first by importance.
In the suggestion, the parameter {{parameter_2}} is set to {{next_2}}.
The suggestion sets {{parameter_1}} to {{next_1}} and {{parameter_2}} to {{next_2}}.
The forecast for the {{metric}} of the suggestion has a mean of {{forecast_mean}}.
The forecast has a mean of {{forecast_mean}} and lies between {{forecast_low}} and {{forecast_high}}.
The suggestion is learned from {{n_learned_from}} runs.
The median duration of a run is {{duration_median}}.
Together the runs had a duration of {{duration_total}}.
The runs had a duration of {{duration_total}} together, with a median of {{duration_median}} for a run.
Run {{run}} has a {{metric}} of {{objective}}.
Run {{run}} is {{state}} with a {{metric}} of {{objective}}.
The {{metric}} for this run came to {{objective}}.
With a {{metric}} of {{objective}}, this run has rank {{rank}}.
This run has a rank of {{rank}} among {{n_ranked}} runs.
The other run with the best {{metric}} is {{best_other_run}}.
The other runs have a best {{metric}} of {{best_other}} and a median {{metric}} of {{median_other}}.
Among the other runs, the best {{metric}} is {{best_other}}.
This run reached {{objective}}, {{c:objective:median_other}} the median of {{median_other}} of the other runs.
The baseline, the first run, reached {{baseline}}.
The run reached {{objective}}, {{c:objective:baseline}} the baseline {{baseline}}.
The run took {{duration}}.
The run ended at step {{last_step}}.
The run has a last step of {{last_step}}.
The run has {{n_findings}} findings, of which {{n_error}} are of severity error.
The state of run {{run}} is {{state}}.
The seed of the run is {{seed}}.
The run had a seed of {{seed}}.
"""
"""The first set that was held out; the rules were mended on what it showed, so that it is reported no more."""
MENDED_ON = """
The best run of the experiment is {{best_run}} with a {{metric}} of {{best}}.
Run {{best_run}} gave the best {{metric}}: {{best}}.
As of now, the best {{metric}} is {{best}}.
The best configuration, run {{best_run}}, achieved a {{metric}} of {{best}}.
The best {{metric}} of {{best}} was achieved in run {{best_run}}.
The best {{metric}} obtained so far is {{best}} (run {{best_run}}).
In this experiment, run {{best_run}} achieved the best {{metric}}, which is {{best}}.
The baseline is run {{baseline_run}}, which has a {{metric}} of {{baseline}}.
The baseline run {{baseline_run}} had a {{metric}} of {{baseline}}, {{c:baseline:best}} the best of {{best}}.
The worst run reached {{worst}}, {{c:worst:median}} the median of {{median}}.
The best {{metric}}, {{best}}, is {{c:best:runner_up}} that of the runner-up, {{runner_up}}.
The runner-up, run {{runner_up_run}}, reached {{runner_up}}.
The gap of {{gap}} is between the best and the runner-up.
The best over the baseline has a gain of {{gain}}, or {{gain_share}} relative to the baseline.
{{n_runs}} runs are recorded for the experiment.
The experiment has a number of runs of {{n_runs}}.
The runs include {{n_finished}} finished and {{n_failed}} failed runs.
{{n_finished}} runs finished, while {{n_failed}} runs failed.
Of these, {{n_finished}} runs have finished.
The median {{metric}} is {{median}}, and the quartiles are {{quartile_low}} and {{quartile_high}}.
The {{metric}} of the finished runs has a median of {{median}}.
Between the lower quartile {{quartile_low}} and the upper quartile {{quartile_high}} lies the median {{median}}.
The noise, the standard deviation between repeats, is {{noise}}.
The noise in {{metric}} between repeats stands at {{noise}}.
{{n_repeated}} configurations have repeats.
The best configuration has {{n_best_repeats}} repeats with a mean of {{best_mean}}.
The mean {{metric}} over the repeats of the best configuration is {{best_mean}}.
Since the last improvement of the best, there were {{n_since_best}} runs.
The best was improved {{n_records}} times.
Findings: {{n_findings}} in {{n_flagged}} runs.
There are {{n_findings}} findings, of which {{n_error}} have the severity error.
The parameter with an importance of {{importance_1}} is {{parameter_1}}.
The parameters {{parameter_1}} and {{parameter_2}} have an importance of {{importance_1}} and {{importance_2}}.
{{parameter_1}} has an importance of {{importance_1}}, {{c:importance_1:importance_2}} the importance of {{parameter_2}}, {{importance_2}}.
The suggestion for the next run has {{parameter_1}} at {{next_1}}.
For the next run, the suggestion sets {{parameter_1}} to {{next_1}}.
The forecast for the suggestion has a mean {{metric}} of {{forecast_mean}}.
The forecast of the suggestion is between {{forecast_low}} and {{forecast_high}}.
The suggestion has been learned from {{n_learned_from}} runs.
Together, the runs took {{duration_total}}.
The total duration of the runs together is {{duration_total}}.
A run had a median duration of {{duration_median}}.
Run {{run}} stands at rank {{rank}} of {{n_ranked}} runs.
Run {{run}} has the rank {{rank}} among {{n_ranked}} finished runs.
This run reached {{objective}}, {{c:objective:best_other}} the best {{metric}} of the other runs, {{best_other}}.
The best other run is {{best_other_run}} with a {{metric}} of {{best_other}}.
The run ended in the state {{state}}.
The run is {{state}}.
The {{metric}} of run {{run}} is {{objective}}.
The run has a duration of {{duration}}.
The run reached a last step of {{last_step}}.
The run had {{n_findings}} findings.
The median of the other runs stands at {{median_other}}.
"""
"""More sentences that the rules were mended on; none of them is reported."""
_CLAIM = re.compile(r"\{\{c:(\w+):(\w+)\}\}")
_LISTED = INSTRUCTIONS.partition("and these:")[2].partition("- No judgement")[0]
_SLOT = re.compile(r"\{\{(\w+)\}\}")


def patterns(half: int) -> list[str]:
    """Return the sentences that the rules were mended on (0), or those that they were not (1)."""
    mended_on = EXPERIMENT + RUN + MENDED_ON + HELD_OUT_FIRST + HELD_OUT_SECOND
    return [line for line in (HELD_OUT if half else mended_on).splitlines() if line]


@lru_cache(maxsize=200)
def possible(sheet: FactSheet, half: int) -> list[Sentence]:
    """Return the sentences that can be said of a sheet, with true claims."""
    made = (filled(pattern, sheet) for pattern in patterns(half))
    return [sentence for sentence in made if sentence is not None]


def keeps_to_the_words(sentence: Sentence, sheet: FactSheet) -> bool:
    """Return whether it has no words but those that the model is told to use: of its facts' labels, and the list."""
    facts = [sheet[slot] for slot in _SLOT.findall(sentence.text) if slot in sheet]
    told = {word for fact in facts for word in re.findall("[a-z]+", f"{fact.label} {fact.about}".lower())}
    listed = set(re.findall("[a-z]+", _LISTED))
    return set(re.findall("[a-z]+", _SLOT.sub(" ", sentence.text).lower())) <= told | listed


def filled(pattern: str, sheet: FactSheet) -> Sentence | None:
    """Return a pattern with true claims; None where the sheet lacks a fact, or a single thing is called many."""
    pairs = _CLAIM.findall(pattern)
    ids = {*_SLOT.findall(pattern), *(fact for pair in pairs for fact in pair)}
    if "run" not in sheet and re.search(r"\b(?:[Tt]his|[Tt]he) run\b(?! with| of)", pattern):
        return None  # a sheet of many runs does not say which
    if any(one not in sheet for one in ids) or any(sheet[one].text == "1" for one in ids if one.startswith("n_")):
        return None
    claims = []
    for place, (a, b) in enumerate(pairs, start=1):
        one, other = sheet[a].number, sheet[b].number
        if one is None or other is None:
            return None
        op = "eq" if one == other else "lt" if one < other else "gt"
        claims.append(Claim(f"c{place}", op=op, a=a, b=b))
    text = pattern
    for claim in claims:
        text = _CLAIM.sub(f"{{{{{claim.id}}}}}", text, count=1)
    return Sentence(text, claims=tuple(claims))


def draft(rng: random.Random, choices: Sequence[Sentence], n: int = 3) -> list[Sentence]:
    """Return some of the sentences."""
    return rng.sample(list(choices), min(n, len(choices)))

"""Every word of a sentence that a model wrote is neutral or belongs to the fact beside it.

Of the 80 honest sentences below 6 are refused (8 %): they leave out the word that tells a figure from others, or
use words of judgement ("most", "highest", "should", "in total"). The first 60 were written before the rules were
tried on them (12 refused), the last 20 once the first 60 had been (5 refused); then the rules were widened.
All of the lies are refused: 108 of them at the first try, 71 of the last 80.
"""

from __future__ import annotations

from typing import Any

import pytest

from advisor.documents import FactSheet, experiment_facts
from advisor.documents.content import PLACEHOLDER
from advisor.documents.facts_of_run import run_facts
from advisor.documents.verifier import Claim, Sentence, problems
from storage.records import RunState

C = Claim

HONEST: list[tuple[str, tuple[Claim, ...]]] = [
    ("The best {{metric}} so far is {{best}}.", ()),
    ("Run {{best_run}} has the best {{metric}} so far, {{best}}.", ()),
    ("So far, run {{best_run}} holds the best val_loss at {{best}}.", ()),
    ("The lowest validation loss, {{best}}, was reached by run {{best_run}}.", ()),
    ("The experiment reached a best {{metric}} of {{best}} in run {{best_run}}.", ()),
    ("The best run, {{best_run}}, ended with a {{metric}} of {{best}}.", ()),
    ("The best run is {{best_run}}, and its {{metric}} is {{best}}.", ()),
    ("Run {{best_run}} reached {{best}}.", ()),
    ("The baseline, run {{baseline_run}}, had a {{metric}} of {{baseline}}.", ()),
    ("The baseline run {{baseline_run}} reached {{baseline}}.", ()),
    ("The first run, {{baseline_run}}, had a val_loss of {{baseline}}.", ()),
    ("The gain over the baseline is {{gain}}.", ()),
    ("The gain of the best over the baseline is {{gain}}, or {{gain_share}}.", ()),
    ("Relative to the baseline, the gain is {{gain_share}}.", ()),
    ("The improvement over the baseline was {{gain}}.", ()),
    (
        "The best {{metric}} was {{best}}, {{c1}} the baseline {{baseline}}.",
        (C("c1", op="lt", a="best", b="baseline"),),
    ),
    ("The best value {{best}} is {{c1}} than the median {{median}}.", (C("c1", op="lt", a="best", b="median"),)),
    ("The runner-up configuration, run {{runner_up_run}}, reached {{runner_up}}.", ()),
    ("The runner-up was run {{runner_up_run}} with {{runner_up}}.", ()),
    ("The gap between the best and the runner-up is {{gap}}.", ()),
    ("The experiment contains {{n_runs}} runs.", ()),
    ("There are {{n_runs}} runs in the experiment, of which {{n_finished}} finished.", ()),
    ("In total, {{n_runs}} runs were recorded.", ()),
    ("{{n_finished}} of the {{n_runs}} runs finished, {{n_failed}} failed, and {{n_pruned}} were pruned.", ()),
    ("{{n_failed}} run failed and {{n_pruned}} run was pruned.", ()),
    ("The number of failed runs is {{n_failed}}.", ()),
    ("Of {{n_runs}} runs, {{n_ranked}} finished with a finite objective.", ()),
    ("{{n_ranked}} runs are ranked.", ()),
    ("The median val_loss of the finished runs is {{median}}.", ()),
    ("The median {{metric}} was {{median}} while the worst was {{worst}}.", ()),
    ("Among the finished runs, the worst {{metric}} was {{worst}}.", ()),
    ("The highest validation loss of the finished runs was {{worst}}.", ()),
    ("The lower quartile of {{metric}} is {{quartile_low}}.", ()),
    ("The quartiles of val_loss are {{quartile_low}} and {{quartile_high}}.", ()),
    ("The standard deviation between repeats is {{noise}}.", ()),
    ("The noise of {{metric}} between repeats is {{noise}}.", ()),
    ("{{n_repeated}} configurations were repeated.", ()),
    ("Over {{n_best_repeats}} repeats, the best configuration has a mean of {{best_mean}}.", ()),
    ("The best {{metric}} was improved {{n_records}} times.", ()),
    ("The best has stood for {{n_since_best}} runs.", ()),
    ("The last improvement of the best was {{n_since_best}} runs ago.", ()),
    ("There are {{n_findings}} findings in {{n_flagged}} runs.", ()),
    ("The number of runs with findings is {{n_flagged}}.", ()),
    ("{{n_error}} finding has severity error.", ()),
    ("The parameter {{parameter_1}} has the highest importance, {{importance_1}}.", ()),
    ("The importance of {{parameter_1}} is {{importance_1}}, and that of {{parameter_2}} is {{importance_2}}.", ()),
    ("{{parameter_1}} has an importance of {{importance_1}}.", ()),
    ("The learning rate has an importance of {{importance_1}}.", ()),
    ("The suggestion for the next run is {{parameter_1}} at {{next_1}}.", ()),
    ("The next run should set {{parameter_1}} to {{next_1}}.", ()),
    ("The suggested lr for the next run is {{next_1}}.", ()),
    ("The suggested learning rate is {{next_1}}.", ()),
    ("The suggestion was learned from {{n_learned_from}} runs.", ()),
    ("The forecast {{metric}} of the suggestion has a mean of {{forecast_mean}}.", ()),
    ("The forecast lies between {{forecast_low}} and {{forecast_high}}.", ()),
    ("The mean forecast for the suggestion is {{forecast_mean}}.", ()),
    ("The runs took {{duration_total}} together.", ()),
    ("The median duration of a run was {{duration_median}}.", ()),
    ("A run took a median of {{duration_median}}.", ()),
    ("After {{n_runs}} runs, the best {{metric}} is {{best}}.", ()),
    ("The {{metric}} of the baseline was {{baseline}}.", ()),
    ("Run {{best_run}} finished with the best val_loss of {{best}}.", ()),
    ("{{n_finished}} runs have finished so far.", ()),
    ("The experiment has {{n_findings}} findings.", ()),
    ("The worst finished run had a val_loss of {{worst}}.", ()),
    ("The median of the finished runs is {{median}}, and the worst is {{worst}}.", ()),
    ("{{n_failed}} of {{n_runs}} runs failed.", ()),
    ("The best run is {{best_run}}, with a val_loss of {{best}}.", ()),
    ("The best validation loss of {{best}} came from run {{best_run}}.", ()),
    ("The gain relative to the baseline was {{gain_share}}.", ()),
    ("Run {{runner_up_run}} is the runner-up at {{runner_up}}.", ()),
    ("The upper quartile of val_loss is {{quartile_high}}.", ()),
    ("The forecast for the suggestion has an upper end of {{forecast_high}}.", ()),
    ("The noise between repeats has a standard deviation of {{noise}}.", ()),
    ("The most important parameter is {{parameter_1}} with {{importance_1}}.", ()),
    ("The suggestion sets lr to {{next_1}}.", ()),
    ("The median run duration was {{duration_median}}.", ()),
    ("In all, the {{n_runs}} runs took {{duration_total}}.", ()),
    ("The experiment has {{n_runs}} runs, and the best {{metric}} is {{best}}.", ()),
    ("The baseline had a val_loss of {{baseline}}.", ()),
]

LIES: list[tuple[str, tuple[Claim, ...]]] = [
    (text, ())
    for text in """\
The learning rate was {{gain_share}}.
The learning rate was {{best_run}}.
The learning rate was {{parameter_1}}.
The learning rate was {{importance_1}}.
The learning rate was {{next_1}}.
GPU memory was {{n_findings}}.
GPU memory was {{parameter_1}}.
GPU memory was {{metric}}.
The number of epochs was {{n_runs}}.
The number of runs was {{n_findings}}.
The number of findings was {{n_runs}}.
The number of parameters is {{n_records}}.
The champion reached {{best}}.
The champion was run {{best_run}}.
The winner was {{duration_total}}.
The winner was run {{best_run}}.
The winner reached {{best}}.
The network has {{best}} layers.
The network has {{n_runs}} layers.
The dropout rate was {{best}}.
The dropout rate was {{next_1}}.
The shuffled labels gave {{best}}.
The momentum of the top run was {{best}}.
The sampler was {{parameter_2}}.
The seed was {{n_runs}}.
The batch size was {{n_finished}}.
The final accuracy was {{best}}.
The test error came to {{best}}.
The val_loss was {{gain}}.
The val_loss was {{noise}}.
The val_loss was {{gap}}.
The val_loss was {{best_run}}.
The best val_loss was {{best_run}}.
The best val_loss was {{metric}}.
The best val_loss was run {{best_run}}.
The best val_loss of the run was {{best_run}}.
The value was {{metric}}.
The value was {{parameter_1}}.
The experiment reached {{metric}}.
The experiment reached {{best_run}}.
The importance was {{parameter_1}}.
The parameter {{parameter_1}} was {{importance_1}}.
The parameter {{parameter_1}} was {{next_1}}.
The best was {{worst}}.
The experiment reached {{worst}}.
The experiment reached {{median}}.
It had {{median}}.
The median val_loss was {{worst}}.
The lower quartile is {{quartile_high}}.
The mean of the runs is {{median}}.
The runs took {{duration_median}}.
The runs took {{duration_median}} together.
The runs took {{n_runs}} together.
The median duration was {{duration_total}}.
The runs took {{best}}.
The experiment took {{gain}} hours.
The runs took {{duration_total}} hours.
The best val_loss was {{duration_total}}.
The gain was {{duration_median}}.
The best val_loss is {{best}} seconds.
The best val_loss is {{best}} runs.
There are {{best}} runs.
There are {{n_findings}} runs.
There are {{n_runs}} findings.
There are {{n_finished}} runs.
There are {{n_failed}} findings.
{{n_flagged}} findings were recorded.
{{n_error}} runs failed.
{{n_failed}} runs were pruned.
{{n_since_best}} runs finished.
{{n_finished}} runs reached the best val_loss, {{best}}.
{{n_runs}} runs reached {{best}}.
{{gain_share}} of the runs finished.
The gain was in {{gain_share}} of the runs.
{{best_run}} runs finished.
Run {{best_run}} had {{n_findings}} findings.
Run {{best_run}}, which had {{n_findings}} findings, reached {{best}}.
Run {{best_run}} had a median val_loss of {{median}}.
Run {{best_run}}, with a median of {{median}}, is the best.
Run {{best_run}} took a median of {{duration_median}}.
It took a median of {{duration_median}}.
The runs reached {{best}}.
The gain of the baseline over the best is {{gain}}.
The improvement over the best was {{gain}}.
The baseline had a gain of {{gain}}.
The noise is {{gap}}.
The gap is {{gain}}.
The suggested lr is {{importance_1}}.
The suggested optimizer is {{next_1}}.
The suggestion was learned from {{n_runs}} runs.
The suggestion reached {{forecast_mean}}.
The forecast is {{best}}.
The optimizer has an importance of {{importance_1}}.
The learning rate has an importance of {{importance_2}}.
The best optimizer is {{best_run}}.
The loss of the teacher model was {{best}}.
The training data had {{n_runs}} runs.
The budget was {{duration_total}} together.
The best ensemble reached {{best}}.
The best val_loss, the temperature, is {{best}}.
The best val_loss is {{best}}, and the learning rate {{n_runs}}.
The best val_loss is {{best}}, the temperature of the room {{median}}.
The best val_loss is {{best}} and was recorded on the cluster.
Overfitting occurred in {{n_failed}} failed runs.
The bug was fixed in run {{best_run}}.
The mean val_loss of the best configuration is {{best}}.
The number of repeats is {{n_repeated}}.
{{n_repeated}} repeats were recorded.
The value of the experiment is {{n_runs}}.
The experiment gave {{n_findings}} runs.
The figure is {{duration_total}}.
The best figure is {{duration_median}}.
The values were set to {{best}}.
The parameter is set to {{importance_1}}.
The parameter {{parameter_2}} is set to {{next_1}}.
The next run is {{best_run}}.
The next run reached {{forecast_mean}}.
The best run ended after {{duration_total}}.
The best run contains {{n_findings}} findings.
The baseline run has {{n_error}} findings.
The baseline has {{n_findings}} findings.
The best has {{n_runs}} runs.
The runner-up has {{n_flagged}} findings.
The metric is {{best_run}}.
The metric {{metric}} is {{n_runs}} runs.
The objective is {{parameter_1}}.
The objective is {{gain}}.
The objective was {{median}}.
The run is {{metric}}.
The first run is {{best_run}}.
The first run reached {{best}}.
The baseline is {{best_run}}.
The best configuration is {{parameter_1}}.
The configuration was {{best}}.
Run {{best_run}} is the baseline.
Run {{baseline_run}} is the runner-up.
Run {{best_run}} has an importance of {{importance_1}}.
The suggested run is {{best_run}}.
The suggestion is {{best_run}}.
The suggestion is {{best}}.
The suggestion is {{n_learned_from}} runs.
The forecast duration is {{forecast_mean}}.
The forecast was reached by run {{best_run}}.
The gain took {{duration_total}} together.
The improvement of the worst over the baseline is {{gain}}.
The median gain is {{gain}}.
The worst gain over the baseline was {{gain}}.
The gap of the baseline and the best is {{gap}}.
The gap between the best and the baseline is {{gap}}.
The gap between the best and worst is {{gap}}.
The noise of the baseline is {{noise}}.
The standard deviation of the runs is {{noise}}.
The deviation was {{gain}}.
The importance of the experiment is {{importance_1}}.
The experiment failed with {{n_failed}} findings.
The experiment failed in {{n_failed}} runs.
The last run was {{n_since_best}} runs ago.
The last improvement was {{n_records}} runs ago.
The best was improved {{n_since_best}} times.
The runs were improved {{n_records}} times.
{{n_ranked}} runs failed.
{{n_flagged}} runs failed.
{{n_flagged}} failed runs were flagged.
{{n_failed}} of {{n_finished}} finished runs failed.
{{n_finished}} of {{n_failed}} failed runs finished.
{{n_runs}} of {{n_findings}} findings.
The validation rate was {{best}}.
The val_loss rate is {{best}}.
The learning loss was {{best}}.
The number is {{best}}.
The end was {{forecast_high}}.
The run had a seed of {{n_runs}}.
There were {{n_repeated}} runs.
The repeats took {{duration_total}} together.
The suggestion took {{duration_median}}.
The best run of run {{baseline_run}} reached {{best}}.
The best val_loss was set by {{parameter_1}}.
{{parameter_1}} reached {{best}}.
{{metric}} reached run {{best_run}}.
{{parameter_1}} was reached by run {{best_run}}.
{{parameter_1}} has {{n_findings}} findings.
{{metric}} has an importance of {{importance_1}}.
{{best_run}} is the best {{parameter_1}}.
{{best_run}} is {{best}}.
{{n_findings}} is the best run.
{{absent_seed}} is the best.
The best val_loss is {{absent_commit}}.
The number of runs was {{absent_commit}}.
""".splitlines()
]


def values() -> list[tuple[float, float]]:
    return [(0.1, 0.9), (0.05, 0.5), (0.02, 0.31), (0.02, 0.33), (0.01, 0.62), (0.005, 0.4), (0.003, 0.45), (0.3, 1.4)]


@pytest.fixture
def sheet(make: Any) -> FactSheet:
    """A sheet with every family of facts: repeats, failures, findings, importances, a suggestion and a forecast."""
    runs = [make.run(n, value, params={"lr": lr, "optimizer": "adam"}) for n, (lr, value) in enumerate(values())]
    runs += [make.run(8, None, state=RunState.FAILED), make.run(9, None, state=RunState.PRUNED)]
    findings = [make.finding(runs[1]), make.finding(runs[4])]
    forecast = {"mean": 0.3, "low": 0.25, "high": 0.36}
    learned = [run.id for run in runs[:7]]
    suggestion: dict[str, Any] = {"params": {"lr": 0.015}, "learned_from": learned, "forecast": forecast}
    return experiment_facts(
        make.material(runs, importances={"lr": 0.8, "optimizer": 0.2}, findings=findings, suggestions=[suggestion])
    )


REFUSED = frozenset(
    {
        "The gain of the best over the baseline is {{gain}}, or {{gain_share}}.",
        "In total, {{n_runs}} runs were recorded.",
        "The parameter {{parameter_1}} has the highest importance, {{importance_1}}.",
        "The next run should set {{parameter_1}} to {{next_1}}.",
        "The most important parameter is {{parameter_1}} with {{importance_1}}.",
        "In all, the {{n_runs}} runs took {{duration_total}}.",
    }
)
"""Honest, and refused all the same: the price of a strict check."""

TRUE_SWAPS = {
    ("The gain over the baseline is {{gain}}.", "gain", "gain_share"),
    ("The improvement over the baseline was {{gain}}.", "gain", "gain_share"),
    ("The best {{metric}} was improved {{n_records}} times.", "metric", "best"),
}
"""Another fact in the place of one, and the sentence still says nothing false."""


def test_nine_of_ten_honest_sentences_pass(sheet: FactSheet) -> None:
    refused = {text for text, claims in HONEST if problems(Sentence(text, claims=claims), sheet)}
    assert refused == REFUSED
    assert len(refused) <= 0.1 * len(HONEST)


@pytest.mark.parametrize(("text", "claims"), LIES)
def test_a_fact_called_what_it_is_not_is_refused(sheet: FactSheet, text: str, claims: tuple[Claim, ...]) -> None:
    assert problems(Sentence(text, claims=claims), sheet)


def test_no_other_fact_fits_in_the_place_of_one(sheet: FactSheet) -> None:
    passed = set()
    for text, claims in HONEST:
        if claims or text in REFUSED:
            continue
        for own in set(PLACEHOLDER.findall(text)):
            for fact in sheet:
                swapped = text.replace(f"{{{{{own}}}}}", f"{{{{{fact.id}}}}}")
                if fact.id != own and not problems(Sentence(swapped), sheet):
                    passed.add((text, own, fact.id))
    assert passed == TRUE_SWAPS


@pytest.mark.parametrize(
    "noun",
    ["dropout rate", "batch size", "GPU memory", "temperature", "number of layers", "winner", "champion", "epoch"],
)
def test_an_invented_quantity_takes_no_fact_at_all(sheet: FactSheet, noun: str) -> None:
    for fact in sheet:
        for text in (f"The {noun} was {{{{{fact.id}}}}}.", f"It has {{{{{fact.id}}}}} {noun}s."):
            assert problems(Sentence(text), sheet), text


@pytest.mark.parametrize(
    "text",
    [
        "The {{n_runs}} finished runs include a best of {{best}}.",
        "The number of findings is {{n_findings}}, in {{n_runs}} runs.",
        "The runs had a duration of {{duration_total}} together, with a median of {{median}} for a run.",
        "There is a gain of {{gain}} in {{baseline}} over the baseline.",
        "The forecast lies between {{metric}} and {{forecast_high}}.",
        "The best {{metric}} is {{c1}} the baseline, {{best}}.",
    ],
)
def test_what_drafts_of_others_once_passed_with_is_refused(sheet: FactSheet, text: str) -> None:
    assert problems(Sentence(text), sheet)


@pytest.mark.parametrize(
    ("text", "claims"),
    [
        ("The best {{metric}}, {{best}}, was recorded for run {{best_run}}.", ()),
        ("The best {{metric}} of the experiment is {{best}}.", ()),
        ("There are {{n_runs}} runs in this experiment.", ()),
        ("{{n_flagged}} runs have findings.", ()),
        ("The suggestion sets the parameter {{parameter_1}} to {{next_1}}.", ()),
        ("The gain over the baseline is {{gain}}, which is {{gain_share}} relative to the baseline.", ()),
        ("By importance, {{parameter_1}} has {{importance_1}} and {{parameter_2}} has {{importance_2}}.", ()),
        ("There have been {{n_since_best}} runs since the last improvement of the best.", ()),
        (
            "The best {{metric}}, {{best}}, is {{c1}} the median {{metric}}, {{median}}.",
            (C("c1", op="lt", a="best", b="median"),),
        ),
    ],
)
def test_what_honest_drafts_say_otherwise_passes(sheet: FactSheet, text: str, claims: tuple[Claim, ...]) -> None:
    assert problems(Sentence(text, claims=claims), sheet) == ()


OF_A_RUN = [
    "Run {{run}} ended with {{metric}} {{objective}}.",
    "The rank of run {{run}} is {{rank}}.",
    "The best other run is {{best_other_run}} with {{best_other}}.",
    "The median val_loss of the other runs is {{median_other}}.",
    "The lowest val_loss of run {{run}} was {{min_1}}.",
    "The parameter lr was {{set_1}}.",
    "The learning rate was {{set_1}}.",
    "The seed was {{seed}}.",
    "It took {{duration}}.",
    "The state of the run is {{state}}.",
    "The last step of the run is {{last_step}}.",
    "Run {{run}} has rank {{rank}} among {{n_ranked}} ranked runs.",
    "Run {{best_other_run}} is the other run with the best {{metric}}, {{best_other}}.",
]


@pytest.fixture
def run_sheet(make: Any) -> FactSheet:
    runs = [make.run(n, value) for n, (_, value) in enumerate(values())]
    return run_facts(make.run_material(runs[3], [*runs[:3], *runs[4:]]))


@pytest.mark.parametrize("text", OF_A_RUN)
def test_what_is_honest_of_one_run_passes(run_sheet: FactSheet, text: str) -> None:
    assert problems(Sentence(text), run_sheet) == ()


@pytest.mark.parametrize(
    "text",
    [
        "The learning rate was {{seed}}.",
        "The learning rate was {{set_2}}.",
        "The optimizer was {{set_1}}.",
        "The seed was {{rank}}.",
        "The rank was {{n_ranked}}.",
        "The val_loss was {{state}}.",
        "The val_loss was {{run}}.",
        "It took {{last_step}}.",
        "The learning rate was {{run}}.",
        "The last val_loss was {{max_1}}.",
        "Run {{best_other_run}} has rank {{rank}}.",
        "Run {{run}} has rank {{n_ranked}}.",
        "The run is {{best_other_run}}.",
        "The {{objective}} at the baseline is {{best_other}}.",
        "The best other run is {{state}} with a {{metric}} of {{best_other}}.",
        "Run {{best_other_run}} has the best {{objective}} of the other runs, {{best_other}}.",
        "Run {{best_other_run}} has a last val_loss of {{last_1}}.",
    ],
)
def test_what_is_not_true_of_one_run_is_refused(run_sheet: FactSheet, text: str) -> None:
    assert problems(Sentence(text), run_sheet)

"""Facts that the program names itself: what may be said beside them, and how they read."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisor.documents import FactSheet, ScriptedModel
from advisor.documents.content import fill, text_of
from advisor.documents.verifier import Claim, Sentence, problems, verify_rendered
from advisor.documents.writer import narrate

TEMPLATE = ("The program wrote this.",)
LOWER = Claim("c1", op="lt", a="best", b="baseline")
LOWEST = Claim("c2", op="lt", a="best", b="worst")


@pytest.fixture(scope="session")
def sheets(adversarial: SimpleNamespace) -> tuple[FactSheet, FactSheet]:
    """Return an experiment's sheet and a run's, of val_loss, which is minimised."""
    made: list[FactSheet] = adversarial.sheets.sheets(range(1_400, 1_401))
    assert made[0]["metric"].text == "val_loss"
    return made[0], made[1]


OF_AN_EXPERIMENT = [
    "{{the best}} came from run {{best_run}}.",
    "{{the best}} came from run {{best_run}}, while {{the median}} was recorded over {{the n_finished}}.",
    "Recorded are {{the best}}, {{the median}} and {{the worst}}.",
    "Over {{the n_runs}} there were {{the n_finished}} and {{the n_failed}}, with {{the bad_share}}.",
    "There have been {{the n_records}}, with {{the n_since_best}}.",
    "The experiment has {{the n_findings}} across {{the n_flagged}}.",
    "{{the n_failed}} among {{the n_runs}} were recorded.",
    "{{the late_gain}} was found, and {{the noise}} is recorded with {{the n_repeated}}.",
    "For the next run there are {{the next_1}}, {{the next_2}} and {{the next_3}}.",
    "The suggestion has {{the forecast_mean}}, with {{the forecast_low}} and {{the forecast_high}}.",
    "The runs took {{the duration_total}}, with {{the duration_median}}.",
    "The finished runs have {{the median}}.",
    "{{the gain}} ({{the gain_share}}) was reached by run {{best_run}}.",
]
OF_A_RUN = [
    "Run {{run}} ended with {{the objective}}, and {{the delta_parent}} was recorded with {{the n_changed}}.",
    "This run has {{the rank}} among {{the n_ranked}}, with {{the beaten_share}}.",
    "It reached {{the min_1}} at {{the best_step}} and ended with {{the last_1}} at {{the last_step}}.",
    "The settings used for this run are {{the set_1}}, {{the set_2}} and {{the set_3}}.",
    "{{the best_other}} belongs to run {{best_other_run}}, and {{the delta_best_other}} is recorded for this run.",
]


@pytest.mark.parametrize("text", OF_AN_EXPERIMENT)
def test_an_honest_sentence_of_an_experiment_passes(sheets: tuple[FactSheet, FactSheet], text: str) -> None:
    assert problems(Sentence(text), sheets[0]) == ()


@pytest.mark.parametrize("text", OF_A_RUN)
def test_an_honest_sentence_of_a_run_passes(sheets: tuple[FactSheet, FactSheet], text: str) -> None:
    assert problems(Sentence(text), sheets[1]) == ()


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Run {{best_run}} reached {{the median}}.", "whose:median"),
        ("{{the median}}, which came from run {{best_run}}, was recorded.", "whose:median"),
        ("{{the worst}}: run {{best_run}} reached it.", "whose:worst"),
        ("With {{the worst}}, run {{best_run}} ended.", "whose:worst"),
        ("It has {{the best}}.", "whose:best"),
        ("{{the best}} is {{the baseline}}.", "beside:baseline"),
        ("{{the best}} stands over {{the baseline}}.", "beside:baseline"),
        ("{{the best}}: {{the baseline}}.", "beside:baseline"),
        ("{{the best}}, {{the median}}, came from run {{best_run}}.", "apposition:median"),
        ("{{the n_runs}} among {{the n_failed}} were recorded.", "beside:n_failed"),
        ("The runs reached {{the best}}.", "kind:best"),
        ("Run {{the best}} ended.", "kind:best"),
        ("{{best_run}} and the experiment is {{the best}}.", "kind:best"),
        ("The median {{the best}} was recorded.", "label:median"),
        ("The best {{the best}} was recorded.", "label:best"),
        ("The {{parameter_1}} of {{the best}} was recorded.", "name:parameter_1"),
        ("{{the absent_commit}} was recorded.", "absence:absent_commit"),
        ("{{the nothing}} was recorded.", "unknown-id:nothing"),
        ("{{the best}} rose.", "judgement-word:rose"),
        ("{{the best}} runs finished.", "unit:best"),
        ("There are {{the n_error}} recorded runs.", "unit:n_error"),
        ("A {{metric}} of {{the n_failed}} was recorded.", "kind:n_failed"),
        ("The forecast lies between {{the forecast_low}} and {{the median}}.", "kind:forecast_low"),
    ],
)
def test_what_would_be_false_is_refused(sheets: tuple[FactSheet, FactSheet], text: str, code: str) -> None:
    assert code in problems(Sentence(text), sheets[0])


@pytest.mark.parametrize(
    "text",
    [
        "This run reached {{the median_other}}.",
        "This run reached {{the best_other}}.",
        "It reached {{the max_1}} at {{the best_step}}.",
        "The {{metric}} of this run is {{parent_value}}.",  # by words of its own
        "Run {{run}} is {{state}} with a {{metric}} of {{parent_value}}.",
        "The {{metric}} of this run was {{objective}}, at rank {{rank}} of {{parent_value}}.",
    ],
)
def test_another_runs_value_is_not_said_of_this_one(sheets: tuple[FactSheet, FactSheet], text: str) -> None:
    assert problems(Sentence(text), sheets[1])


def test_a_figure_is_compared_with_several(sheets: tuple[FactSheet, FactSheet]) -> None:
    texts = ("{{the best}} is {{c1}} {{the baseline}} and {{c2}} {{the worst}}.",
             "{{the best}} is {{c1}} {{the baseline}}, and it is {{c2}} {{the worst}}.")  # fmt: skip
    for text in texts:
        assert problems(Sentence(text, claims=(LOWER, LOWEST)), sheets[0]) == ()
        other = Claim("c2", op="lt", a="median", b="worst")
        assert "claim-order:c2" in problems(Sentence(text, claims=(LOWER, other)), sheets[0])


def test_a_loss_is_not_called_lower_than_the_noise(sheets: tuple[FactSheet, FactSheet]) -> None:
    of_run = sheets[1]
    deltas = [fact.id for fact in of_run if fact.kind == "delta" and fact.id.startswith("delta_")]
    for name in deltas:
        number = of_run[name].number or 0.0
        claim = Claim("c1", op="lt" if number < (of_run["noise"].number or 0.0) else "gt", a=name, b="noise")
        found = problems(Sentence(f"{{{{the {name}}}}} is {{{{c1}}}} {{{{the noise}}}}.", claims=(claim,)), of_run)
        assert found == (("claim-not-comparable:c1",) if number < 0 else ())
    assert deltas


def test_names_and_figures_are_put_in_place(sheets: tuple[FactSheet, FactSheet]) -> None:
    sheet = sheets[0]
    text = text_of(fill("the {{the best}} came from {{the best_run}} and {{the parameter_1}}.", sheet))
    name = sheet["parameter_1"].text
    assert text == (
        f"The best val_loss ({sheet['best'].text}) came from the run with the best val_loss "
        f"({sheet['best_run'].text}) and the parameter {name}."
    )
    told = text_of(fill("{{the n_runs}} and the {{the n_failed}}.", sheet))
    assert told == f"{sheet['n_runs'].text} runs and {sheet['n_failed'].text} run failed."
    assert sheet["n_failed"].value == 1
    assert text_of(fill("Its {{the best}}.", sheet)) == f"Its best val_loss ({sheet['best'].text})."
    assert verify_rendered(text_of(fill("{{the duration_total}}", sheet)), sheet) == ()  # its label has a figure
    assert verify_rendered("the duration of 99 runs together", sheet) == ("99",)


@pytest.mark.parametrize(
    "text",
    [
        "Not recorded are {{absent_commit}} and {{absent_data}}.",
        "{{absent_commit}} and {{absent_data}} were not recorded.",
    ],
)
def test_what_is_missing_is_said_in_one_way(sheets: tuple[FactSheet, FactSheet], text: str) -> None:
    sheet = sheets[0]
    told = narrate(sheet, template=TEMPLATE, model=ScriptedModel([draft(text)]))
    assert text_of(told.paragraph) == f"Not recorded: {sheet['absent_commit'].text} and {sheet['absent_data'].text}."
    for lie in ("Not recorded are {{best}} and {{absent_data}}.", "{{absent_data}} was not recorded because of a bug.",
                "Not recorded are {{absent_data}} and {{absent_data}}."):  # fmt: skip
        assert problems(Sentence(lie), sheet)


def test_a_complaint_says_what_its_codes_mean(sheets: tuple[FactSheet, FactSheet]) -> None:
    model = ScriptedModel([draft("{{the best}} is {{the baseline}}."), draft("Recorded is {{the best}}.")])
    told = narrate(sheets[0], template=TEMPLATE, model=model)
    assert text_of(told.paragraph) == f"Recorded is the best val_loss ({sheets[0]['best'].text})."
    complaint = model.asked[1][-1]["content"]
    assert '"sentence": 1' in complaint
    assert "two facts in one part of the sentence" in complaint


PIECES = (
    "{{the best}}", "{{the median}}", "{{best}}", "{{best_run}}", "{{the best_run}}", "{{the n_runs}}", "{{the}}",
    "{{absent_data}}", "{{parameter_1}}", "{{the metric}}", "{{the next_1}}", "{{c1}}", "{{the c1}}", "the", "run",
    "runs", "is", "with", "at", "of", "it", "and", ",", ":", "(", ".", "not recorded", "between", "have", "this",
)  # fmt: skip


@given(pieces=st.lists(st.sampled_from(PIECES), max_size=12), glue=st.sampled_from(["", " "]))
def test_the_verifier_bears_any_sentence(sheets: tuple[FactSheet, FactSheet], pieces: list[str], glue: str) -> None:
    for sheet in sheets:
        for claims in ((), (LOWER,)):
            sentence = Sentence(glue.join(pieces), claims=claims)
            if not problems(sentence, sheet):
                assert verify_rendered(text_of(fill(sentence.text.replace("{{c1}}", "lower than"), sheet)), sheet) == ()


def draft(*texts: str) -> str:
    return json.dumps({"sentences": [{"text": text, "claims": []} for text in texts], "interpretation": []})

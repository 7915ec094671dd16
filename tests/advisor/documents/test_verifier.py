"""A sentence that a model wrote is shipped only if every word of it can be stood by."""

from __future__ import annotations

from typing import Any

import pytest

from advisor.documents import FactSheet, experiment_facts
from advisor.documents.verifier import (
    Claim,
    Sentence,
    comparison,
    interpretation_problems,
    problems,
    verify_rendered,
)
from storage.records import RunState

HONEST: list[tuple[str, tuple[Claim, ...]]] = [
    ("The best {{metric}} is {{best}}, reached by run {{best_run}}.", ()),
    ("Of {{n_runs}} runs, {{n_finished}} finished and {{n_failed}} failed.", ()),
    ("{{n_finished}} of {{n_runs}} runs finished.", ()),
    ("The median val_loss is {{median}}, and the worst is {{worst}}.", ()),
    (
        "The best run reached {{best}}, {{c1}} the baseline {{baseline}}.",
        (Claim("c1", op="lt", a="best", b="baseline"),),
    ),
    ("The validation loss of the baseline was {{baseline}}.", ()),
    ("The parameter {{parameter_1}} has an importance of {{importance_1}}.", ()),
    ("There are {{n_findings}} findings.", ()),
    ("The next suggestion sets {{parameter_1}} to {{next_1}}.", ()),
    ("The runs took {{duration_total}} together.", ()),
    ("The lower quartile is {{quartile_low}} and the upper quartile is {{quartile_high}}.", ()),
    ("The gap between best and runner-up is {{gap}}.", ()),
]

LIES: list[tuple[str, tuple[Claim, ...], str]] = [
    ("The best val_loss is 0.31, see {{best_run}}.", (), "digit"),
    ("The best val_loss is ３, see {{best_run}}.", (), "digit"),
    ("The best val_loss is ½ of {{baseline}}.", (), "digit"),
    ("The best val_loss is 三, see {{best_run}}.", (), "digit"),
    ("The best val_loss is twice {{best}}.", (), "number-word"),
    ("Ninety-five runs finished, of {{n_runs}}.", (), "number-word"),
    ("A tenfold gain of {{gain}}.", (), "number-word"),
    ("The best val_loss is {{best_accuracy}}.", (), "unknown-id"),
    ("The best val_loss is {{__class__}}, {{best}}.", (), "unknown-id"),
    ("Training went well.", (), "no-fact"),
    ("The accuracy is {{best}}.", (), "label:acc"),
    ("The train loss is {{best}}.", (), "label:train"),
    ("The median val_loss is {{best}}.", (), "unsupported-word:median"),
    ("The worst is {{best}} and the best is {{worst}}.", (), "label"),
    ("Run {{best_run}} is the best model ever trained.", (), "judgement-word:ever"),
    ("Run {{best_run}} is the best model.", (), "superlative:model"),
    ("The best of the field is {{best}}.", (), "superlative:of"),
    ("Run {{baseline_run}} reached the best val_loss of {{best}}.", (), "name:baseline_run"),
    ("The best is {{best}}, reached by run {{baseline_run}}.", (), "name:baseline_run"),
    ("The parameter {{parameter_2}} has an importance of {{importance_1}}.", (), "name:parameter_2"),
    ("{{n_failed}} runs finished, of {{n_runs}}.", (), "unsupported-word:finished"),
    ("{{median}} is the best val_loss.", (), "unsupported-word:best"),
    ("The val_loss improved to {{best}}.", (), "unsupported-word:improved"),
    ("The val_loss of {{best}} is significantly lower.", (), "judgement-word"),
    ("All {{n_runs}} runs converged.", (), "judgement-word"),
    ("The best val_loss {{best}} is due to the optimizer.", (), "judgement-word:due"),
    ("The best val_loss is not {{best}}.", (), "judgement-word:not"),
    ("See http://evil.example for {{best}}.", (), "link"),
    ("See [this](evil) for {{best}}.", (), "markup"),
    ("<b>{{best}}</b> is the best.", (), "markup"),
    ("The best val_loss\nis {{best}}.", (), "markup"),
    ("Лучший {{best}}.", (), "character"),
    ("The best val_loss is {{best}} " + "again " * 80, (), "too-long"),
    (
        "The best {{best}} is {{c1}} the baseline {{baseline}}.",
        (Claim("c1", op="gt", a="best", b="baseline"),),
        "claim-false",
    ),
    ("The best {{best}} is {{c1}} {{n_runs}}.", (Claim("c1", op="lt", a="best", b="n_runs"),), "claim-not-comparable"),
    (
        "The baseline {{baseline}} is {{c1}} the best {{best}}.",
        (Claim("c1", op="lt", a="best", b="baseline"),),
        "claim-order",
    ),
    ("The best is {{best}}.", (Claim("c1", op="lt", a="best", b="baseline"),), "claim-unused"),
    ("{{best}} {{c1}} {{x}}.", (Claim("c1", op="lt", a="best", b="x"),), "unknown-id"),
    ("{{best}} {{c1}} {{baseline}}.", (Claim("c1", op="is", a="best", b="baseline"),), "claim-form"),
    ("The best is {{best}}.", (Claim("best", op="lt", a="best", b="baseline"),), "claim-id"),
]


@pytest.fixture
def sheet(make: Any) -> FactSheet:
    values = (0.9, 0.5, 0.31, 0.62, 0.4)
    runs = [*(make.run(n, value) for n, value in enumerate(values)), make.run(5, None, state=RunState.FAILED)]
    suggestion: dict[str, Any] = {"params": {"lr": 0.01}, "learned_from": [], "forecast": None}
    return experiment_facts(make.material(runs, importances={"lr": 0.8, "optimizer": 0.2}, suggestions=[suggestion]))


@pytest.mark.parametrize(("text", "claims"), HONEST)
def test_an_honest_sentence_passes(sheet: FactSheet, text: str, claims: tuple[Claim, ...]) -> None:
    assert problems(Sentence(text, claims=claims), sheet) == ()


@pytest.mark.parametrize(("text", "claims", "code"), LIES)
def test_a_lie_is_refused_with_its_reason(sheet: FactSheet, text: str, claims: tuple[Claim, ...], code: str) -> None:
    found = problems(Sentence(text, claims=claims), sheet)
    assert any(problem.startswith(code) for problem in found), found


def test_the_program_chooses_the_words_that_compare(sheet: FactSheet, make: Any) -> None:
    assert comparison(Claim("c", op="lt", a="best", b="baseline"), sheet) == "lower (better) than"
    assert comparison(Claim("c", op="gt", a="baseline", b="best"), sheet) == "higher (worse) than"
    assert comparison(Claim("c", op="lt", a="n_failed", b="n_finished"), sheet) == "fewer than"
    assert comparison(Claim("c", op="le", a="best", b="median"), sheet) == "no higher than"


def test_opinion_may_judge_but_holds_no_figure_and_no_link() -> None:
    assert interpretation_problems("The learning rate looks too high, and lower ones deserve a try.") == ()
    assert "digit" in interpretation_problems("It is 95 percent sure.")
    assert "number-word:twice" in interpretation_problems("It is twice as good.")
    assert "link" in interpretation_problems("See www.evil.example for more.")
    assert "placeholder" in interpretation_problems("It reached {{best}}.")


def test_a_figure_that_is_no_fact_is_found_in_a_finished_text(sheet: FactSheet) -> None:
    assert verify_rendered("Run #2 has the best val_loss so far, 0.31: 65.6% lower.", sheet) == ()
    assert verify_rendered("Run #2 has the best val_loss so far, 0.32.", sheet) == ("0.32",)
    assert verify_rendered("It took 0.3101 and 10.31 and 0.31e5.", sheet) == ("0.3101", "10.31", "0.31e5")
    assert verify_rendered("Run #22 is ahead by 65.61%.", sheet) == ("#22", "65.61%")


def test_any_changed_digit_of_a_narrative_is_found(sheet: FactSheet) -> None:
    text = "The best is 0.31, the first run had 0.9, the median is 0.5, the worst 0.9."
    assert verify_rendered(text, sheet) == ()
    known = {fact.text for fact in sheet}
    for place, char in enumerate(text):
        if not char.isdigit():
            continue
        for other in "0123456789":
            changed = text[:place] + other + text[place + 1 :]
            figures = {word.strip(".,") for word in changed.split() if any(map(str.isdigit, word))}
            assert bool(verify_rendered(changed, sheet)) == (not figures <= known)

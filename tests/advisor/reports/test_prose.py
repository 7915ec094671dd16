"""Any text that names runs: which of its figures the store supports, which it contradicts, which it cannot tell."""

from __future__ import annotations

import pytest

from advisor.app import Advisor
from advisor.documents.prose_values import Value, fits, read_figure


def verdicts(adv: Advisor, text: str) -> list[tuple[str, str]]:
    return [(one.written, one.verdict) for one in adv.verify(text).told]


@pytest.fixture
def values(adv: Advisor) -> dict[str, float]:
    runs = adv.experiment("digits", create=False).runs()
    return {"best": runs[0].metrics["val_loss"], "one": runs[1].metrics["val_loss"]}


def test_figures_of_runs_are_looked_up_by_what_they_are_called(adv: Advisor, values: dict[str, float]) -> None:
    best, one = f"{values['best']:.4f}", f"{values['one']:.3f}"
    text = f"digits#0 reached val_loss {best} with lr 0.1, while digits#1 had val_loss = {one} at lr=0.0316."
    assert verdicts(adv, text) == [
        (best, "supported"), ("0.1", "supported"), (one, "supported"), ("0.0316", "supported"),
    ]  # fmt: skip
    wrong = text.replace(best, "0.0999").replace("lr 0.1", "lr 0.3")
    assert verdicts(adv, wrong)[:2] == [("0.0999", "contradicted"), ("0.3", "contradicted")]
    found = adv.verify(wrong)
    assert not found.ok
    assert found.failures[1].expected == "0.1"
    assert "lr of digits#0" in found.failures[1].why


def test_figures_of_experiments_are_looked_up_too(adv: Advisor, values: dict[str, float]) -> None:
    best = f"{values['best']:.3f}"
    text = (
        f"In digits the best val_loss is {best}. It has 6 runs, of which 1 failed and 5 finished.\n\nwines has 3 runs."
    )
    assert [verdict for _, verdict in verdicts(adv, text)] == ["supported"] * 5
    assert verdicts(adv, "digits has 7 runs and 2 failed.") == [("7", "contradicted"), ("2", "contradicted")]


def test_a_number_of_a_run_belongs_to_the_experiment_before_it_or_right_after_it(
    adv: Advisor, values: dict[str, float]
) -> None:
    best, one = f"{values['best']:.4f}", f"{values['one']:.4f}"
    wines = adv.experiment("wines", create=False).runs()[0]
    text = f"In digits, val_loss of run #0 was {best}; the val_loss of wines#{wines.number} is 77.25."
    assert verdicts(adv, text)[0] == (best, "supported")
    assert verdicts(adv, f"wines is next. Run #1 of digits has val_loss {one}.") == [(one, "supported")]
    assert verdicts(adv, f"wines#0 is done. Run #1 of digits has val_loss {one}.") == [(one, "supported")]


def test_what_is_said_of_a_run_that_there_is_not_is_said_of_nobody_else(adv: Advisor) -> None:
    assert verdicts(adv, "digits is fine. Run #99 of digits has val_loss 0.5.") == [("0.5", "unknown")]


def test_tables_are_read_by_their_headers(adv: Advisor, values: dict[str, float]) -> None:
    text = (
        "Results of digits:\n| run | val_loss | lr |\n| --- | ---: | ---: |\n"
        f"| #0 | {values['best']:.3f} | 0.1 |\n| #1 | {values['one']:.3f} | 0.5 |\n"
    )
    assert [verdict for _, verdict in verdicts(adv, text)] == ["supported", "supported", "supported", "contradicted"]


def test_what_the_text_does_not_say_is_unknown_and_never_wrong(adv: Advisor) -> None:
    text = "We spent 3 weeks on digits and drank 40 coffees; see https://example.org/17, Python 3.11, 2026-03-01."
    assert verdicts(adv, text) == [("3", "unknown"), ("40", "unknown")]
    assert adv.verify(text).ok
    assert adv.verify("no figure here").notes[0] == "the text holds no figure"


def test_a_run_that_does_not_exist_is_a_contradiction(adv: Advisor) -> None:
    found = adv.verify("digits#77 had val_loss 0.1")
    assert found.failures[0].written == "digits#77"
    assert "no such run" in found.failures[0].why


@pytest.mark.parametrize(
    ("written", "value", "is_so"),
    [
        ("0.23", 0.2295, True),
        ("0.229", 0.2295001, False),
        ("23%", 0.2295, True),
        ("1,234", 1234.4, True),
        ("0.93 %", 0.93, False),
        ("93 %", 0.93, True),
        ("2.46 %", 2.46, False),
        ("2.0×10^-4", 0.0002, True),
        ("2·10⁻⁴", 0.0002, True),
        ("-1.5 x 10^{3}", -1500.0, True),
        ("2e−4", 0.0002, True),
        ("10^-4", 0.0001, True),
        ("2.0×10^-4", 0.0003, False),
        ("NaN", float("nan"), True),
        ("NaN", 0.1, False),
        ("-inf", float("inf"), False),
        ("1e-3", 0.0011, True),
        ("-0.5", 0.5, False),
        ("0.1", float("nan"), False),
    ],
)
def test_a_figure_fits_at_the_precision_at_which_it_is_written(written: str, value: float, is_so: bool) -> None:
    figure = read_figure(written)
    assert figure is not None
    assert fits(figure, Value(value, about="", text="")) is is_so


def test_any_changed_digit_of_a_colleagues_sentence_is_contradicted(adv: Advisor, values: dict[str, float]) -> None:
    best = f"{values['best']:.4f}"
    text = f"Run digits#0 ended with val_loss {best}, seed 0, and ranked 1."
    assert adv.verify(text).ok
    start = text.index(best)
    for at in range(start, start + len(best)):
        if text[at].isdigit():
            wrong = f"{text[:at]}{(int(text[at]) + 3) % 10}{text[at + 1 :]}"
            assert not adv.verify(wrong).ok, wrong

"""Sentences of people and agents about an experiment: no false one is supported, and no true one is contradicted."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest

import advisor
from advisor.app import Advisor
from advisor.documents.prose_words import as_exponent

VALUES = [2.997, 13.36, 2.521, 5.5, 3.1, 7.7, 2.46, math.nan, 0.001]
RIVAL = [0.5096, 0.7, 0.85, 0.96]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Advisor]:
    """An experiment whose best run is #8, one without it, and one that is maximised and has curves."""
    with advisor.open(tmp_path_factory.mktemp("claims") / "store", capture=False) as adv:
        for name, values in (("cancer", VALUES), ("lungs", VALUES[:7])):
            exp = adv.experiment(name, objective="val_loss")
            for i, value in enumerate(values):
                params = {"lr": [0.0002, 0.1][i % 2]}
                if math.isnan(value):
                    exp.tell(params, None, state="failed")
                else:
                    exp.tell(params, value, seed=i, metrics={"recall": 0.9 + i / 1000})
        rivals = adv.experiment("rivals", objective="acc", direction="maximize")
        for i in range(3):
            last = round(RIVAL[-1] - 0.01 * (2 - i), 2)
            rivals.tell({"lr": 0.1}, last, curves={"acc": [*RIVAL[:-1], last]})
        yield adv


def verdicts(adv: Advisor, text: str) -> list[tuple[str, str]]:
    """Return each figure and its verdict; ``<6>`` stands for the id of run #6 of cancer."""
    for run in adv.experiment("cancer", create=False).runs():
        text = text.replace(f"<{run.number}>", run.id[:12])
    return [(one.written, one.verdict) for one in adv.verify(text).told]


FALSE = [
    "Run cancer#6 reached val_loss 2.521 [run/<2>/objective].",
    "Run cancer#6 reached val_loss\n2.521 [run/<2>/objective].",
    "Run #6 reached val_loss 2.521 [run/<2>/objective].",
    "Run cancer#6 reached val_loss {{run/<2>/objective}}.",
    "cancer#6 reached 0.001 [experiment/cancer/best.objective].",
    "lungs has 9 [experiment/cancer/n_runs] runs.",
    "The recall of cancer#6 was 2.46 [run/<6>/objective].",
    "The best val_loss of cancer is 2.46 (cancer#6).",
    "The best val_loss of cancer is 2.46 [run/<6>/objective] (cancer#6).",
    "Among all runs, cancer#2 is the best with val_loss 2.521.",
    "The best run of cancer is #6 with val_loss 2.46",
    "The best run of cancer is #6.",
    "The worst run of cancer is #6 with val_loss 2.46.",
    "Best run: cancer#6 (val_loss 2.46)",
    "cancer#6 has the lowest val_loss, 2.46, of all runs.",
    "No run beats cancer#6 with val_loss 2.46.",
    "cancer#2 outperforms every other run with val_loss 2.521.",
    "The lowest val_loss was reached by cancer#6: 2.46.",
    "The lowest val_loss is that of cancer#6, 2.46.",
    "cancer#6 had val_loss 2.521 while cancer#2 had val_loss 2.46.",
    "val_loss of cancer#6 was 2.46 % [run/<6>/objective].",
    "recall of cancer#6 was 0.906 %.",
    "val_loss of cancer#6 was NaN.",
    "val_loss of cancer#6 was inf.",
    "Runs cancer#6 and cancer#2 reached val_loss 2.521 and 2.46 respectively.",
    "val_loss of lungs ranged from 2.47 to 13.36.",
    "val_loss of lungs ranged from 2.46 to 13.36; median 13.36.",
    "cancer#6 improved val_loss by 0.2 over cancer#2.",
    "cancer#6 had lr 3.0×10^-4.",
    "cancer#6 had lr 3e-4.",
]
NOT_SUPPORTED = [
    "The accuracy of cancer#6 was 2.46 [run/<6>/objective].",
    "val_loss of cancer#6 was 2.46 %.",
    "acc of rivals#2 was 0.5096.",
    "acc of rivals#2 ended at 0.5096.",
    "the lowest acc of rivals#2 was 0.96.",
    "cancer#6 is not the best with val_loss 2.46.",
    "cancer#6 is the best of the sgd runs of cancer with val_loss 2.46.",
    "cancer#6 is the second best with val_loss 2.46.",
    "val_loss of cancer#6 was two point four six.",
    "cancer has nine runs.",
    "Twelve runs of cancer failed.",
    "cancer#6 reached the lowest val_loss 2.46.",
    "Half of the runs of cancer failed.",
    "cancer#6 had val_loss below 2.46.",
    "cancer#6 reached 2.521 [run/<2>/objective] and cancer#2 reached 2.46 [run/<6>/objective].",
]
TRUE = [
    "Run cancer#6 reached val_loss 2.46 [run/<6>/objective] with lr 2e-4 [run/<6>/params.lr].",
    "Run cancer#6 reached val_loss {{run/<6>/objective}}.",
    "The best val_loss of cancer is 0.001 (cancer#8).",
    "The best run of cancer is #8 with val_loss 0.001.",
    "cancer#8 has the lowest val_loss, 0.001, of all runs.",
    "The highest val_loss was reached by cancer#1: 13.36.",
    "The lowest val_loss of cancer#6 was 2.46.",
    "cancer's best run, cancer#8, has val_loss 0.001; the second best, cancer#6, 2.46.",
    "The val_loss dropped from 2.997 (cancer#0) to 2.46 (cancer#6).",
    "The recall of cancer#6 is 0.906, best val_loss of cancer 0.001.",
    "cancer#6's val_loss of 2.46 is 2.4 % lower than cancer#2's 2.521.",
    "cancer#6 improved on cancer#2, whose val_loss was 2.521 [run/<2>/objective].",
    "The mean val_loss of cancer is 4.705, the median 3.048.",
    "The worst run of cancer is cancer#1, val_loss 13.36.",
    "cancer#6 is behind the best, 0.001 [experiment/cancer/best.objective].",
    "The best val_loss of lungs is 2.46 (lungs#6), and cancer has 9 runs.",
    "recall of cancer#6 was 90.6 %.",
    "acc of rivals#2 was 0.96.",
    "the lowest acc of rivals#2 was 0.5096.",
    "acc of rivals#2 rose from 0.5096 to 0.96.",
    "Runs cancer#6 and cancer#2 reached val_loss 2.46 and 2.521 respectively.",
    "cancer#6 reached val_loss and lr 2.46 and 0.0002 respectively.",
    "val_loss of lungs ranged from 2.46 to 13.36; median 3.1.",
    "lungs#6 improved val_loss by 0.061 from 2.521 to 2.46.",
    "cancer#6 improved val_loss by 0.061 over cancer#2.",
    "cancer#6 had lr 2.0×10^-4 and cancer#2 had lr 2e-4 and cancer#4 2·10⁻⁴.",
    "Run #6 of cancer had val_loss 2.46. The best val_loss is 0.001.",
]
UNTOLD = [
    "cancer#6 improved on the earlier 2.521 [run/<2>/objective].",
    "With lr 0.0002, cancer#6 beat cancer#2 (2.46 vs 2.521 val_loss).",
    "cancer#2 had a lower val_loss than cancer#1: 2.521 against 13.36.",
    "In cancer, lr 0.0002 gave val_loss 2.46 (run 6) and 0.1 gave 13.36 (run 1).",
    "best val_loss: 0.001 (cancer#8), next best 2.46 (cancer#6)",
    "cancer#6 had val_loss 2.46 after 25 steps.",
    "cancer#6 had val_loss 2.46 after 25 epochs in 30 s.",
    "cancer#6 had val_loss below 3, about 2.4, and never NaN.",
    "cancer#6 had val_loss 2.46 ± 0.1 on 3 seeds.",
    "cancer#6 was at val_loss 4.2 after 3 epochs.",
    "cancer#6 improved val_loss by 0.5379 to 2.46.",
]


@pytest.mark.parametrize("text", FALSE)
def test_a_false_statement_is_contradicted(told: Advisor, text: str) -> None:
    assert "contradicted" in [verdict for _, verdict in verdicts(told, text)]


@pytest.mark.parametrize("text", NOT_SUPPORTED)
def test_a_statement_that_cannot_be_held_is_not_all_supported(told: Advisor, text: str) -> None:
    found = verdicts(told, text)
    assert "unknown" in [verdict for _, verdict in found], found
    assert "supported" not in [verdict for _, verdict in found], found


@pytest.mark.parametrize("text", TRUE)
def test_a_true_statement_is_supported(told: Advisor, text: str) -> None:
    found = verdicts(told, text)
    assert {verdict for _, verdict in found} == {"supported"}, found


@pytest.mark.parametrize("text", UNTOLD)
def test_what_a_sentence_leaves_open_is_never_contradicted(told: Advisor, text: str) -> None:
    found = verdicts(told, text)
    assert "contradicted" not in [verdict for _, verdict in found], found
    assert "unknown" in [verdict for _, verdict in found], found


def test_what_is_wrong_is_said_in_words(told: Advisor) -> None:
    run = told.experiment("cancer", create=False).run(2)
    cited = told.verify(f"Run cancer#6 reached val_loss 2.521 [run/{run.id}/objective].").failures[0]
    assert cited.why == "cites cancer#2, the text says cancer#6"
    best = told.verify("The best val_loss of cancer is 2.46 (cancer#6).").failures[0]
    assert best.why == "the best of cancer is cancer#8 with 0.001"
    lowest = told.verify("acc of rivals#2 was 0.5096.").told[0]
    assert "lowest acc of rivals#2" in lowest.why


def test_that_words_are_not_checked_is_always_said(told: Advisor) -> None:
    for text in ("nothing here", "cancer has 9 runs", "Twelve runs of cancer failed"):
        assert any("numbers in words are not checked" in note for note in told.verify(text).notes)


@pytest.mark.parametrize(
    ("written", "plain"), [("2.0×10^-4", "2.0e-4"), ("3 · 10⁻⁵", "3e-5"), ("-10^{3}", "-1e3"), ("1.5", "1.5")]
)
def test_powers_of_ten_are_read_in_any_usual_form(written: str, plain: str) -> None:
    assert as_exponent(written) == plain


def test_a_file_of_an_agent_is_read_to_its_end(told: Advisor, tmp_path: Path) -> None:
    path = tmp_path / "answer.md"
    path.write_text("\n\n".join(TRUE[-4:]), encoding="utf-8")
    assert told.verify(path).ok

from __future__ import annotations

from advisor.findings import hints
from advisor.findings.features import FEATURE_NAMES


def test_every_entry_is_about_a_figure_that_exists() -> None:
    assert {name for name, _ in hints.HINTS} <= set(FEATURE_NAMES)


def test_better_than_expected_and_worse_than_expected_lead_elsewhere() -> None:
    assert hints.hint(["validation_end"], [-6.0]) == hints.LEAK
    assert hints.hint(["validation_end"], [6.0]) == hints.LEARNS_LESS


def test_small_deviations_and_figures_without_an_entry_give_no_hint() -> None:
    assert hints.hint(["validation_end"], [1.9]) is None
    assert hints.hint(["validation_best_position"], [9.0]) is None

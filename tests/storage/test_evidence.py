"""What a detector wrote down is read by people: in words, with units, nothing hidden."""

from __future__ import annotations

import re
from pathlib import Path

from storage.evidence import INNER, LIMIT, WORDS, worded


def test_figures_are_named_in_words_with_their_units() -> None:
    seen = worded({"reference_s": 0.5, "threshold_ratio": 1.5, "n_nonfinite": 3})
    assert seen == [
        ("usual time a step, in seconds", 0.5),
        ("threshold: ratio", 1.5),
        ("values that are not finite", 3),
    ]


def test_an_unknown_figure_is_shown_and_inner_ones_are_not() -> None:
    assert worded({"new_figure": 1, "verb": "take", "nearest_sibling": "abc"}) == [("new figure", 1)]


def test_names_of_figures_in_the_rules_have_words(repository: Path) -> None:
    source = (repository / "advisor" / "findings" / "rules.py").read_text(encoding="utf-8")
    names = set(re.findall(r'"([a-z]+(?:_[a-z]+)+)":', source))
    assert {name for name in names if not name.startswith(LIMIT)} <= set(WORDS) | INNER

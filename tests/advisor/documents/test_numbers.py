"""Figures, names and untrusted text as they are written."""

from __future__ import annotations

import doctest
import importlib
import math
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisor.documents import numbers
from advisor.documents.untrusted import block, middle_cut, one_line


@pytest.mark.parametrize("name", ["numbers", "untrusted", "markdown", "lexicon"])
def test_the_examples_in_docstrings_are_true(name: str) -> None:
    result = doctest.testmod(importlib.import_module(f"advisor.documents.{name}"))
    assert result.attempted
    assert result.failed == 0


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (-0.0, "0"),
        (1000.0, "1,000"),
        (9999.6, "10,000"),
        (0.99996, "1"),
        (1e-300, "1e-300"),
        (math.nan, "NaN"),
        (math.inf, "∞"),
        (-math.inf, "-∞"),
        (123456789.0, "1.235e8"),
    ],
)
def test_a_figure_is_written_in_one_way(value: float, text: str) -> None:
    assert numbers.figure(value) == text


@given(st.floats(-1e300, 1e300))
def test_a_figure_reads_back_within_its_digits(value: float) -> None:
    back = float(numbers.figure(value).replace(",", ""))
    assert math.isclose(back, value, rel_tol=5.1e-4, abs_tol=1e-300)


@given(st.floats())
def test_every_float_can_be_written_in_every_way(value: float) -> None:
    for write in (numbers.figure, numbers.signed, numbers.percent, numbers.duration, numbers.parameter):
        assert write(value)


@given(st.text())
def test_untrusted_text_keeps_no_character_that_hides_or_turns(text: str) -> None:
    for shown in (one_line(text), block(text), middle_cut(text)):
        kinds = {unicodedata.category(char) for char in shown if char != "\n"}
        assert not kinds & {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def test_a_long_text_is_cut_and_says_so() -> None:
    assert one_line("x" * 100_000, limit=50) == "x" * 49 + "…"
    assert len(block("line\n" * 100_000, limit=200)) <= 200


@given(st.floats(-1e6, 1e6))
def test_only_all_of_it_is_100_percent_and_only_none_of_it_0(share: float) -> None:
    text = numbers.percent(share)
    assert (text.lstrip("-") == "100%") == math.isclose(abs(share), 1.0, rel_tol=1e-12)
    assert (text == "0%") == (share == 0)


def test_a_fall_by_nearly_all_is_not_a_fall_by_all() -> None:
    assert numbers.signed_percent(0.001 / 3.402 - 1) == "-99.97%"

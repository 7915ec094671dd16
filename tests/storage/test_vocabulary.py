"""Words as search compares them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.vocabulary import Speller, asked, cut, distance, stem, terms


@pytest.mark.parametrize(
    "forms",
    [
        "diverged diverges diverging divergence",
        "overfit overfits overfitting",
        "explode exploded exploding",
        "memorised memorises memorize memorizing",
        "blew blow blows blown",
        "regularisation regularised regularized",
        "spike spikes spiked",
    ],
)
def test_forms_of_a_word_share_a_stem(forms: str) -> None:
    assert len({stem(form) for form in forms.split()}) == 1


def test_short_words_numbers_and_other_scripts_stay_as_they_are() -> None:
    assert [stem(word) for word in ("lr", "loss", "1e-3", "größe", "adam")] == ["lr", "loss", "1e-3", "größe", "adam"]


def test_a_question_keeps_its_common_words_only_where_there_are_no_others() -> None:
    assert asked("which runs blew up") == ["blow"]
    assert asked("the run") == ["the", "run"]


@pytest.mark.parametrize(
    ("typo", "right"),
    [("divreged", "diverged"), ("overfiting", "overfitting"), ("explded", "exploded"), ("gradeint", "gradient")],
)
def test_a_misspelt_word_finds_the_right_one(typo: str, right: str) -> None:
    speller = Speller(
        [stem(word) for word in "diverged overfitting exploded gradient validation adam sgd rate".split()]
    )
    guesses = speller.guesses(stem(typo))
    assert max(guesses, key=guesses.__getitem__) == stem(right)
    assert all(0 < like <= 1 for like in guesses.values())


def test_short_words_and_numbers_are_not_guessed() -> None:
    speller = Speller(["adam", "sgd", "1e-3"])
    assert speller.guesses("sgf") == speller.guesses("1e-4") == speller.guesses("") == {}


@given(st.text(max_size=8), st.text(max_size=8))
def test_the_distance_is_symmetric_and_cut_off(one: str, other: str) -> None:
    apart = distance(one, other, most=2)
    assert apart == distance(other, one, most=2)
    assert (apart == 0) == (one == other)
    assert 0 <= apart <= 3


@given(st.text())
def test_any_text_can_be_cut(text: str) -> None:
    assert all(word and not word.isspace() for word in cut(text))
    assert len(terms(text)) == len(cut(text))

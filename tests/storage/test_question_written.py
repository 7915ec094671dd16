"""Conditions of a search line, written by a program instead of a person."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from storage.query import Names, text_literal
from storage.question import condition, conditions, read_line, without

NAMES = Names(params=frozenset({"lr"}))


@given(st.text(min_size=1, max_size=40).filter(lambda text: "*" not in text))
def test_a_condition_that_is_written_is_read_as_what_it_says(value: str) -> None:
    line = read_line(condition("experiment", value), names=NAMES)
    assert line.where == f"experiment = {text_literal(value)}"
    assert line.words == ""


@given(st.text(min_size=1, max_size=20))
def test_a_condition_can_be_taken_out_again(value: str) -> None:
    written = condition("experiment", value)
    line = f"blew up {written}"
    assert conditions(line) == [written]
    assert without(line, written) == "blew up"


def test_what_is_not_there_is_not_taken_out() -> None:
    assert without('a "b c" state:failed', "state:finished") == 'a "b c" state:failed'

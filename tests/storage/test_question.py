"""One line of a search: what is words, and what is a condition."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.errors import FilterError
from storage.query import Names, compile_filter
from storage.question import read_line

NAMES = Names(params=frozenset({"lr", "optimizer", "a b", "flag"}), metrics=frozenset({"val/loss"}))


@pytest.mark.parametrize(
    ("text", "words", "where"),
    [
        ("overfits", "overfits", None),
        ('"overfits on small data" params.lr<1e-3 state:failed', "overfits on small data",
         "params.lr < 1e-3 and state = 'failed'"),
        ("lr = 0.1 is too high", "is too high", "lr = 0.1"),
        ("-state:failed blew up", "blew up", "not (state = 'failed')"),
        ("not tag:baseline", "", "not (tag = 'baseline')"),
        ("state:failed,crashed", "", "state in ('failed', 'crashed')"),
        ("optimizer:ada* val/loss<=0.3", "", "optimizer like 'ada%' and val/loss <= 0.3"),
        ("optimizer:'Adam W'", "", "optimizer = 'Adam W'"),
        ("params.`a b`:3", "", "params.`a b` = 3"),
        ("flag:true lr!=nan", "", "flag = true and lr != nan"),
        ('note:"shuffled data"', "", "note like '%shuffled data%'"),
        ("finding:diverged", "", "finding = 'ADV102'"),
        ("finding:not-finite finding:adv106", "", "finding = 'ADV101' and finding = 'ADV106'"),
        ("started>=2026-01-31", "", "started >= '2026-01-31'"),
        ("experiment:42", "", "experiment = '42'"),
        ("note: it broke", "note: it broke", None),
        ("RuntimeError: x=y", "RuntimeError: x=y", None),
        ("it's 5 o'clock", "it's 5 o'clock", None),
        ('an open " quote', 'an open " quote', None),
        ("", "", None),
    ],
)  # fmt: skip
def test_a_line_is_words_and_conditions(text: str, words: str, where: str | None) -> None:
    line = read_line(text, names=NAMES)
    assert (line.words, line.where) == (words, where)
    if where is not None:
        compile_filter(where, names=NAMES)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("loss<0.1", "no column, metric or parameter 'loss'; did you mean 'val/loss'"),
        ("params.nope:3", "no run has params.nope"),
        ("state:faild", "did you mean 'failed'"),
        ("finding:divergde", "no finding is called 'divergde'; did you mean 'diverged'"),
        ("started>yesterday", "time"),
    ],
)
def test_a_condition_that_cannot_hold_is_refused_rather_than_searched(text: str, said: str) -> None:
    with pytest.raises(FilterError, match=said):
        read_line(text, names=NAMES)


@given(st.text(alphabet="ab lr:<>=!'\"`.,-*()\\%5e\n"))
def test_any_line_is_read_or_refused_and_gives_a_valid_filter(text: str) -> None:
    try:
        line = read_line(text, names=NAMES)
    except FilterError:
        return
    if line.where is not None:
        assert compile_filter(line.where, names=NAMES)

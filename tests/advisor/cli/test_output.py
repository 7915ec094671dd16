"""What is printed is safe, and JSON is strict."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisor.cli.output import Column, plain, print_json, print_pairs, print_table, say, shown
from advisor.cli.shapes import short_ids
from storage.records import RunState

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(VALUES)
def test_whatever_a_run_holds_becomes_strict_json(value: Any) -> None:
    text = json.dumps(plain(value), allow_nan=False)
    assert text.isascii()
    json.loads(text)


def test_json_keeps_what_it_can_and_names_what_it_cannot() -> None:
    when = datetime(2026, 1, 31, 18, tzinfo=UTC)
    value = {"a": np.float64("nan"), "b": np.array([1, 2]), "c": RunState.FAILED, "d": when, "e": Path("x"), 1: {2}}
    assert plain(value) == {
        "a": "NaN",
        "b": [1, 2],
        "c": "failed",
        "d": "2026-01-31T18:00:00+00:00",
        "e": "x",
        "1": [2],
    }
    assert type(plain(RunState.FAILED)) is str
    with pytest.raises(TypeError, match="object"):
        plain(object())


@given(st.text())
def test_shown_text_holds_nothing_that_steers_a_terminal(text: str) -> None:
    seen = shown(text)
    assert seen.isprintable()
    assert "\u202e" not in seen


def test_nothing_in_a_table_is_taken_as_markup(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([Column("[b]x[/b]")], [["[red]y[/red] :smile: \x1b[31m"]], title="[i]z[/i]")
    say("[red]y")
    print_pairs("t", {"[b]": "\x07\u2028v"})
    out = capsys.readouterr().out
    for kept in ("[b]x[/b]", "[red]y[/red] :smile: [31m", "[i]z[/i]", "[red]y"):
        assert kept in out
    assert "\x1b" not in out
    assert "\x07" not in out


def test_a_table_without_a_terminal_is_as_wide_as_its_content(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([Column("a"), Column("b", optional=True)], [["x" * 150, "y" * 150]])
    captured = capsys.readouterr()
    assert "y" * 150 in captured.out
    assert captured.err == ""


def test_a_narrow_terminal_leaves_out_the_last_optional_columns_and_says_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("NO_COLOR", "1")
    print_table(
        [Column("id"), Column("lr", optional=True), Column("momentum", optional=True)], [["i" * 20, 1, "m" * 20]]
    )
    captured = capsys.readouterr()
    assert "lr" in captured.out
    assert "mmm" not in captured.out
    assert "too narrow for momentum" in captured.err


def test_json_is_one_line_where_a_program_reads_it(capsys: pytest.CaptureFixture[str]) -> None:
    print_json([{"x": math.inf}])
    assert capsys.readouterr().out == '[{"x": "Infinity"}]\n'


@given(st.sets(st.text(alphabet="ab", min_size=1, max_size=30), max_size=20))
def test_a_short_id_is_the_id_or_the_beginning_of_no_other(ids: set[str]) -> None:
    for one, short in short_ids(ids).items():
        assert one.startswith(short)
        assert short == one or [other for other in ids if other.startswith(short)] == [one]

"""The text form of an answer."""

from __future__ import annotations

import json
import math

from hypothesis import given
from hypothesis import strategies as st

from advisor.mcp.text import cut, fitted, quoted, written

TEXT = {"type": "string", "x-untrusted": True}


def test_figures_keep_all_their_digits_and_what_is_not_finite_is_a_word() -> None:
    assert written({"a": 0.1 + 0.2, "b": "NaN", "c": None, "d": True}, {}) == (
        "a: 0.30000000000000004\nb: NaN\nc: null\nd: true"
    )


def test_members_that_are_alike_become_a_table() -> None:
    runs = [{"run": i, "params": {"lr": 0.1 * i, "act": "a|b"}} for i in range(2)]
    assert written({"runs": runs}, {}).splitlines() == [
        "runs: 2",
        "  | run | params |",
        "  | --- | --- |",
        "  | 0 | {lr=0.0, act=a\\|b} |",
        "  | 1 | {lr=0.1, act=a\\|b} |",
    ]


def test_members_that_differ_stand_one_after_another() -> None:
    found = written({"hits": [{"run": {"id": "a"}, "why": ["x"]}, {"run": {"id": "b"}}, 3]}, {})
    assert found.splitlines() == [
        "hits: 3",
        "  - run:",
        "      id: a",
        "    why: [x]",
        "  - run:",
        "      id: b",
        "  - 3",
    ]


def test_text_from_runs_is_marked_wherever_the_schema_says_that_it_is() -> None:
    schema = {
        "properties": {
            "notes": {"type": "array", "items": TEXT},
            "params": {"type": "object", "x-untrusted": True},
            "best": {"anyOf": [{"type": "object", "properties": {"name": TEXT, "n": {}}}, {"type": "null"}]},
            "by": {"type": "object", "additionalProperties": {"properties": {"what": TEXT}}},
        }
    }
    answer = {
        "notes": ["one", "two\nlines"],
        "params": {"opt": "adam", "do this now": 1},
        "best": {"name": "x", "n": "y"},
        "by": {"k": {"what": "z"}},
    }
    assert written(answer, schema).splitlines() == [
        "notes: 2", "  - «one»", "  - > two", "    > lines",
        "params:", "  opt: «adam»", "  «do this now»: 1",
        "best:", "  name: «x»", "  n: y",
        "by:", "  k:", "    what: «z»",
    ]  # fmt: skip


@given(st.text(max_size=300))
def test_no_text_leaves_its_marks(text: str) -> None:
    line = quoted(text)
    assert line.startswith("«")
    assert line.endswith("»")
    assert not set("«»\n\r\x1b\u2028\u202e") & set(line[1:-1])
    for shown in written({"note": text, "long": text + "\n" + "x" * 500}, {"additionalProperties": TEXT}).split("\n"):
        assert shown.startswith(("note: «", "note:", "long:", "  > "))


@given(st.recursive(st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=20),
                    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
                    max_leaves=20))  # fmt: skip
def test_every_figure_of_an_answer_is_in_its_text(value: object) -> None:
    text = written({"answer": value}, {})

    def figures(part: object) -> list[float]:
        if isinstance(part, dict):
            return [each for inner in part.values() for each in figures(inner)]
        if isinstance(part, list):
            return [each for inner in part for each in figures(inner)]
        return [part] if isinstance(part, float) and math.isfinite(part) else []

    assert all(json.dumps(figure) in text for figure in figures(value))


def test_of_a_long_list_whole_members_are_shown_and_where_to_go_on() -> None:
    runs = [{"run": i, "loss": 0.123456789012 + i} for i in range(40)]
    found = fitted({"n_fitting": 40, "offset": 5, "runs": runs}, {}, goes_on=True, most=500)
    assert len(found) <= 500
    first, *_, last = found.splitlines()
    n = int(last.split("|")[1]) + 1
    assert first == f"runs: {n} of 40 shown; go on with offset={5 + n}"
    assert last == f"  | {n - 1} | {json.dumps(runs[n - 1]['loss'])} |"
    assert found.index("n_fitting: 40") < found.index("| run |")
    assert fitted({"runs": runs[:2]}, {}, goes_on=True) == written({"runs": runs[:2]}, {})
    assert cut("whole line\n" * 100, 500).splitlines()[-2] == "whole line"


def test_a_text_that_is_too_long_is_cut_and_says_so() -> None:
    found = cut("x" * 1_000, 500)
    assert len(found) <= 500
    assert "620 more characters are left out" in found
    assert cut("short", 500) == "short"

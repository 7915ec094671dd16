"""Lines that are metrics, and lines that are not."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from advisor.running.metrics import LINE_MAX_BYTES, Lines, looks_meant, read_line


def metrics(line: str, objective: str | None = "loss") -> dict[str, float] | None:
    said = read_line(line, objective)
    return None if said is None else said.metrics


def test_numbers_of_a_json_object_are_metrics() -> None:
    line = '  {"step": 3, "loss": 0.4, "epoch": 2, "best": true, "opt": "sgd", "x": [1], "y": null}\r\n'
    said = read_line(line, "loss")
    assert said is not None
    assert (said.step, said.metrics) == (3, {"loss": 0.4, "epoch": 2.0})


@pytest.mark.parametrize("word", ["NaN", '"NaN"', '"nan"', "Infinity", '"-Infinity"', '"inf"'])
def test_what_is_not_finite_is_a_value(word: str) -> None:
    found = metrics(f'{{"loss": {word}}}')
    assert found is not None
    assert not math.isfinite(found["loss"])


def test_value_stands_for_the_objective() -> None:
    assert metrics('{"value": 1}') == {"loss": 1.0}
    assert metrics('{"value": 1, "loss": 2}') == {"value": 1.0, "loss": 2.0}
    assert metrics('{"value": 1}', None) == {"value": 1.0}


@pytest.mark.parametrize("step", ["3", "3.0"])
def test_a_step_is_a_whole_number(step: str) -> None:
    said = read_line(f'{{"step": {step}, "loss": 1}}', "loss")
    assert said is not None
    assert said.step == 3


@pytest.mark.parametrize(
    "line",
    [
        "", "epoch 3", "{}", '{"step": 1}', "[1]", "{'loss': 1}", '{"loss": }', '{"step": 1.5, "loss": 1}',
        '{"step": true, "loss": 1}', '{"step": 1e30, "loss": 1}', '{"loss": "low"}', '{"": 1}', "{" * 5000 + "}",
        '{"a":' * 100_000 + "1" + "}" * 100_000, '{"loss": 1' + "0" * 400 + "}",
    ],
)  # fmt: skip
def test_anything_else_is_none(line: str) -> None:
    assert metrics(line) is None


def test_a_python_dict_was_probably_meant() -> None:
    assert looks_meant(str({"loss": 1}))
    assert not looks_meant('{"loss": 1}')


@given(st.text(max_size=50))
@settings(max_examples=50)
def test_no_line_raises(line: str) -> None:
    said = read_line("{" + line + "}", "loss")
    assert said is None or all(isinstance(value, float) for value in said.metrics.values())


@given(st.dictionaries(st.text(min_size=1).filter(lambda name: name not in ("step", "value")), st.floats(), min_size=1))
@settings(max_examples=50)
def test_every_number_comes_through(values: dict[str, float]) -> None:
    found = metrics(json.dumps(values), None)
    assert found is not None
    assert repr(found) == repr(values)


@given(st.binary(max_size=200), st.lists(st.integers(1, 20), max_size=20))
def test_lines_are_whole_however_they_arrive(data: bytes, sizes: list[int]) -> None:
    lines, pieces, rest = Lines(), [], data
    for size in [*sizes, len(data)]:
        pieces += list(lines.feed(rest[:size]))
        rest = rest[size:]
    pieces += list(lines.close())
    assert [piece for piece, _ in pieces] == [line for line in data.split(b"\n")[:-1] for line in [line + b"\n"]] + (
        [data.split(b"\n")[-1]] if data.split(b"\n")[-1] else []
    )


def test_progress_bars_are_passed_on_before_their_line_ends() -> None:
    lines = Lines(returns=True)
    assert list(lines.feed(b"a\n 5%\r10%\r15")) == [(b"a\n 5%\r10%\r", False)]
    assert list(lines.feed(b"%")) == []
    assert list(lines.close()) == [(b"15%", True)]


def test_a_line_without_an_end_is_passed_on_in_pieces() -> None:
    lines = Lines()
    assert list(lines.feed(b"x" * (LINE_MAX_BYTES + 1))) == [(b"x" * (LINE_MAX_BYTES + 1), False)]
    assert list(lines.close()) == []

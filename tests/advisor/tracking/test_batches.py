"""Columns of log calls give the same chunks as the calls themselves."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from advisor.tracking.batches import batches_of, merged
from advisor.tracking.values import Tally
from storage.curves import chunks_of

floats = st.floats(allow_nan=True, allow_infinity=True)
metrics = st.dictionaries(st.sampled_from("abc"), floats, min_size=1)
call = st.tuples(st.integers(-(2**63), 2**63 - 1), st.floats(0, 1e6), metrics)
calls = st.lists(call, min_size=1, max_size=12)


def as_lists(chunks: Any) -> str:
    rows = [(c.metric, c.chunk, c.through, list(map(int, c.steps)), list(map(float, c.values))) for c in chunks]
    return repr(sorted(rows, key=lambda row: row[0]))


@given(calls, st.integers(0, 1000))
def test_a_batch_makes_the_chunks_that_its_calls_make(logged: list[Any], first: int) -> None:
    numbered = [(first + i, *call) for i, call in enumerate(logged)]
    (batch,) = batches_of(numbered)
    assert as_lists(batch.chunks("r")) == as_lists(chunks_of("r", logged, first=first))
    cut = len(numbered) // 2
    parts = batches_of(numbered[:cut]) + batches_of(numbered[cut:])
    assert as_lists(merged(parts).chunks("r")) == as_lists(batch.chunks("r"))


def test_a_missing_number_breaks_a_batch_and_order_is_restored() -> None:
    numbered = [(number, number, 0.0, {"a": float(number)}) for number in (2, 0, 1, 5, 6)]
    found = batches_of(numbered)
    assert [(batch.first, batch.end) for batch in found] == [(0, 3), (5, 7)]
    assert found[0].steps.tolist() == [0, 1, 2]


@given(st.lists(st.lists(floats, max_size=6), max_size=5))
def test_figures_of_pieces_are_those_of_single_points(pieces: list[list[float]]) -> None:
    one_by_one, in_pieces = Tally("mean-last-3"), Tally("mean-last-3")
    step = 0
    for piece in pieces:
        in_pieces.extend(np.arange(step, step + len(piece)), np.array(piece, np.float64))
        for value in piece:
            one_by_one.add(step, value)
            step += 1
    assert repr(in_pieces.summary("mean-last-3")) == repr(one_by_one.summary("mean-last-3"))

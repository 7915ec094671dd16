from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from advisor.findings.hyperparameters import COLUMNS, known_columns

A_VALUE = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=True), st.text(max_size=8))


def column(params: list[dict[str, object]], name: str) -> list[float]:
    return known_columns(params)[:, COLUMNS.index(name)].round(3).tolist()


@pytest.mark.parametrize("name", ["lr", "learning_rate", "optimizer.lr", "train/base_lr", "learningRate"])
def test_a_learning_rate_is_known_by_any_of_its_spellings(name: str) -> None:
    assert column([{name: 0.1}, {name: 0.1}, {name: 0.2}], "lr") == [0.0, 0.0, pytest.approx(np.log(2), abs=1e-3)]


def test_learning_rates_are_compared_within_an_optimizer() -> None:
    runs = [{"lr": 0.1, "optimizer": "sgd"}] * 3 + [{"lr": 0.001, "optimizer": "adam"}] * 3
    assert column(runs, "lr") == [0.0] * 6
    assert column(runs, "adaptive") == [0.0] * 3 + [1.0] * 3


def test_what_no_name_tells_and_what_never_varies_says_nothing() -> None:
    assert not known_columns([{"zeta": 3.0, "width": 8}, {"zeta": 9.0, "width": 8}]).any()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.dictionaries(st.sampled_from(["lr", "bs", "depth", "clip", "opt", "bn"]), A_VALUE), max_size=6))
def test_any_values_at_all_give_finite_numbers(runs: list[dict[str, object]]) -> None:
    got = known_columns(runs)
    assert got.shape == (len(runs), len(COLUMNS))
    assert np.isfinite(got).all()

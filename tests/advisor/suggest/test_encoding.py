from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from advisor.suggest.encoding import ABSENT, Encoder
from advisor.suggest.space import Choice, Float, Int, Space

SPACES: dict[str, dict[str, Any]] = {
    "float": {"x": Float(-2, 3)},
    "log": {"lr": Float(1e-6, 10, log=True)},
    "step": {"x": Float(0, 1, step=0.1)},
    "uneven step": {"x": Float(0.5, 2.0, step=0.7)},
    "int": {"n": Int(-3, 4)},
    "int step": {"n": Int(8, 64, step=8)},
    "int log": {"n": Int(1, 4096, log=True)},
    "two": {"on": Choice(False, True)},
    "many": {"act": Choice("relu", "tanh", 3, 0.5)},
    "one value": {"x": Float(2, 2), "n": Int(3, 3), "c": Choice("a")},
    "conditional": {
        "opt": Choice("sgd", "adam", "rmsprop"),
        "momentum": Float(0, 1, when={"opt": "sgd"}),
        "layers": Int(1, 3),
        "width": Int(16, 256, log=True, when={"layers": ">= 2"}),
        "nesterov": Choice(False, True, when={"momentum": "> 0.5"}),
    },
}
SPACES["mixed"] = {
    f"{kind} {name}": one for kind, space in SPACES.items() if kind != "conditional" for name, one in space.items()
}


@pytest.mark.parametrize("kind", SPACES)
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=15)
def test_drawn_varied_and_snapped_points_are_allowed_and_survive_the_round_trip(kind: str, seed: int) -> None:
    space = Space.of(SPACES[kind])
    encoder = Encoder(space)
    rng = np.random.default_rng(seed)
    drawn = encoder.draw(rng, 6)
    varied = encoder.vary(rng, drawn, 6)
    for points in (drawn, varied, encoder.snap(varied)):
        rows = [encoder.params(point) for point in points]
        for params in rows:
            space.check(params)
        back = encoder.coordinates(rows)
        np.testing.assert_allclose(back, points, atol=1e-9)
        for point, params in zip(back, rows, strict=True):
            again = encoder.params(point)
            assert list(again) == list(params)
            assert [type(value) for value in again.values()] == [type(value) for value in params.values()]
            for name, value in params.items():
                exact = isinstance(space[name], Choice) or isinstance(value, int)
                assert again[name] == (value if exact else pytest.approx(value, rel=1e-9, abs=1e-12))
        assert np.isfinite(encoder.columns(points)).all()


@given(low=st.floats(1e-9, 1e9), ratio=st.floats(1.001, 1e9), at=st.floats(0, 1))
def test_a_value_on_a_log_scale_is_never_outside_its_range(low: float, ratio: float, at: float) -> None:
    dimension = Float(low, low * ratio, log=True)
    value = Encoder(Space.of({"x": dimension})).params(np.array([at]))["x"]
    assert dimension.problem(value) is None


@pytest.mark.parametrize("dimension", [Int(1, 5), Int(10, 50, step=10), Choice(*"abcde"), Float(0, 1, step=0.25)])
def test_every_value_of_a_linear_scale_has_an_equal_share(dimension: Any) -> None:
    encoder = Encoder(Space.of({"n": dimension}))
    points = encoder.draw(np.random.default_rng(0), 5000)
    _, counts = np.unique(points, return_counts=True)
    assert counts.size == 5
    assert counts.min() > 900


def test_a_log_scale_is_drawn_uniformly_in_logarithms() -> None:
    encoder = Encoder(Space.of({"lr": Float(1e-4, 1, log=True)}))
    values = [encoder.params(point)["lr"] for point in encoder.draw(np.random.default_rng(0), 2000)]
    assert np.mean(np.array(values) < 1e-2) == pytest.approx(0.5, abs=0.04)


def test_columns_put_values_of_a_choice_equally_far_apart_and_absence_in_the_middle() -> None:
    space = Space.of({"act": Choice("a", "b", "c"), "on": Choice(False, True), "x": Float(0, 2, when={"on": True})})
    encoder = Encoder(space)
    rows = [{"act": act, "on": True, "x": 1.0} for act in "abc"]
    columns = encoder.columns(encoder.coordinates(rows))
    gaps = [float(np.linalg.norm(columns[i] - columns[j])) for i, j in ((0, 1), (0, 2), (1, 2))]
    assert gaps == pytest.approx([1.0] * 3)
    off = encoder.columns(encoder.coordinates([{"act": "a", "on": False}]))[0]
    assert off[encoder.columns_of["x"]] == ABSENT
    assert {name: where.stop - where.start for name, where in encoder.columns_of.items()} == {"act": 3, "on": 1, "x": 1}


def test_local_moves_change_some_parameters_a_little_and_reach_every_choice() -> None:
    space = Space.of({"x": Float(0, 1), "y": Float(0, 1), "act": Choice("a", "b", "c")})
    encoder = Encoder(space)
    center = encoder.coordinates([{"x": 0.5, "y": 0.5, "act": "b"}])
    points = encoder.vary(np.random.default_rng(0), center, 400)
    moved = points != center
    assert 0.3 < moved[:, :2].mean() < 0.7
    assert np.median(np.abs(points[:, 0] - 0.5)[moved[:, 0]]) < 0.2
    assert set(points[:, 2]) == {0.0, 1.0, 2.0}


def test_a_parameter_that_a_center_lacks_is_drawn_over_all_of_its_values() -> None:
    encoder = Encoder(Space.of({"x": Float(0, 1), "act": Choice("a", "b", "c", "d")}))
    points = encoder.vary(np.random.default_rng(0), encoder.coordinates([{"x": 0.5}]), 400)
    shares = np.bincount(points[:, 1].astype(int), minlength=4) / 400
    assert shares.min() > 0.15


def test_values_outside_the_range_keep_their_place_and_are_snapped_to_the_border() -> None:
    encoder = Encoder(Space.of({"x": Float(0, 1), "n": Int(0, 10)}))
    outside = encoder.coordinates([{"x": 1.2, "n": -5}])
    assert outside.tolist() == [[1.2, -0.5]]
    assert encoder.params(encoder.snap(outside)[0]) == {"x": 1.0, "n": 0}


@pytest.mark.parametrize("kind", ["mixed", "conditional"])
def test_what_is_absent_gets_a_value_where_it_has_a_meaning_and_the_rest_stays(kind: str) -> None:
    space = Space.of(SPACES[kind])
    encoder = Encoder(space)
    rng = np.random.default_rng(0)
    partial = encoder.draw(rng, 40)
    partial[rng.random(partial.shape) < 0.4] = np.nan
    whole = encoder.complete(rng, partial)
    for point in whole:
        space.check(encoder.params(point))
    kept = ~np.isnan(partial) & ~np.isnan(whole)
    np.testing.assert_array_equal(whole[kept], partial[kept])

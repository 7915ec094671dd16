"""A metric's range is known from its name and from what was seen, or not at all."""

from __future__ import annotations

import math

import pytest

from advisor.suggest.attainable import UNKNOWN, attainable

INF = math.inf


@pytest.mark.parametrize(
    ("metric", "seen", "expected"),
    [
        ("val_loss", [0.3, 0.1, math.nan, INF], (0.0, INF)),
        ("val_loss", [0.3, -0.1], UNKNOWN),
        ("log_loss", [0.3], (0.0, INF)),
        ("log_mse", [0.3], UNKNOWN),
        ("neg_mean_squared_error", [-3.0, -2.0], (-INF, 0.0)),
        ("neg_log_loss", [-3.0, -2.0], (-INF, 0.0)),
        ("neg_mean_squared_error", [3.0], UNKNOWN),
        ("valAcc", [0.5, 0.7], (0.0, 1.0)),
        ("eval/top1", [55.0, 0.5], (0.0, 100.0)),
        ("accuracy", [155.0], UNKNOWN),
        ("accuracy_gain", [0.1], UNKNOWN),
        ("r2_score", [-3.0, 0.4], (-INF, 1.0)),
        ("reward", [0.4], UNKNOWN),
        ("val_loss", [], UNKNOWN),
        ("val_loss", [math.nan], UNKNOWN),
    ],
)
def test_the_range_of_a_metric(metric: str, seen: list[float], expected: tuple[float, float]) -> None:
    assert attainable(metric, seen) == expected

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import minimize

from advisor.suggest.descent import Loss, minimise
from advisor.suggest.kernel import Gaps, negative_log_likelihood

Array = NDArray[np.float64]


def valley(point: Array) -> tuple[float, Array]:
    """Rosenbrock's function in any number of dimensions, a bent valley with its floor at 1, 1, …"""
    a, b = point[:-1], point[1:]
    gradient = np.zeros(point.size)
    gradient[:-1] = -400.0 * a * (b - a * a) - 2.0 * (1.0 - a)
    gradient[1:] += 200.0 * (b - a * a)
    return float((100.0 * (b - a * a) ** 2 + (1.0 - a) ** 2).sum()), gradient


def scipys(loss: Loss, start: Array, low: Array, high: Array) -> float:
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=list(zip(low, high, strict=True)))
    return float(found.fun)


@pytest.mark.parametrize("high", [5.0, 0.8], ids=["inside", "at the border"])
def test_the_smallest_value_within_bounds_is_the_one_that_scipy_finds(high: float) -> None:
    start, low, ends = np.full(4, -1.0), np.full(4, -2.0), np.full(4, high)
    found = minimise(valley, start, low=low, high=ends, max_evaluations=400)
    assert valley(found)[0] == pytest.approx(scipys(valley, start, low, ends), abs=1e-4)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n_evaluations=st.integers(1, 30))
def test_what_is_found_is_within_bounds_and_no_worse_than_the_start_after_few_evaluations(
    seed: int, n_evaluations: int
) -> None:
    rng = np.random.default_rng(seed)
    low = rng.uniform(-3, 0, 5)
    high = low + rng.uniform(0.1, 3, 5)
    start = rng.uniform(low, high)
    asked = []

    def loss(point: Array) -> tuple[float, Array]:
        asked.append(point)
        return valley(point)

    found = minimise(loss, start, low=low, high=high, max_evaluations=n_evaluations)
    assert ((low <= found) & (found <= high)).all()
    assert valley(found)[0] <= valley(start)[0]
    assert len(asked) <= n_evaluations


def test_a_start_at_the_optimum_is_kept() -> None:
    start = np.array([1.0, 1.0])
    assert minimise(valley, start, low=-start, high=2 * start, max_evaluations=30).tolist() == [1.0, 1.0]


def test_a_value_that_is_not_finite_shortens_the_step() -> None:
    def cliff(point: Array) -> tuple[float, Array]:
        return (np.inf, np.zeros(1)) if point[0] > 0.5 else (-float(point[0]), np.array([-1.0]))

    found = minimise(cliff, np.zeros(1), low=np.zeros(1), high=np.array([4.0]), max_evaluations=30)
    assert 0.4 < found[0] <= 0.5


def test_the_gradient_of_the_likelihood_is_what_finite_differences_give() -> None:
    rng = np.random.default_rng(0)
    columns = [rng.random((n, 3)) for n in (5, 9)]
    outcomes = [rng.standard_normal(n) for n in (5, 9)]
    gaps = [Gaps.of(each) for each in columns]
    theta = np.log(np.array([0.5, 0.8, 1.5, 0.1, 1.2]))
    _, gradient = negative_log_likelihood(theta, gaps, outcomes)
    steps = 1e-5 * np.eye(theta.size)
    differences = [
        (
            negative_log_likelihood(theta + step, gaps, outcomes)[0]
            - negative_log_likelihood(theta - step, gaps, outcomes)[0]
        )
        / 2e-5
        for step in steps
    ]
    np.testing.assert_allclose(gradient, differences, rtol=1e-6, atol=1e-7)

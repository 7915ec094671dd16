from __future__ import annotations

import numpy as np
import pytest
from sklearn.gaussian_process.kernels import Matern

from advisor.suggest.kernel import (
    LENGTH,
    LENGTH_BOUNDS,
    Array,
    Gaps,
    Kernel,
    Prior,
    learn,
    negative_log_likelihood,
)


def wide(n_columns: int) -> Prior:
    return Prior(Kernel.default(n_columns), lengths_sd=1.0, noise_sd=1.0, signal_sd=1.0)


def task(seed: int, n: int = 30) -> tuple[Array, Array]:
    """Return points of two columns, of which the first matters."""
    rng = np.random.default_rng(seed)
    columns = rng.random((n, 2))
    values = np.sin(8 * columns[:, 0]) + 0.05 * rng.standard_normal(n)
    return columns, (values - values.mean()) / values.std()


def test_the_correlation_is_scikit_learns_matern() -> None:
    rng = np.random.default_rng(0)
    lengths = np.array([0.3, 1.0, 4.0])
    a, b = rng.random((12, 3)), rng.random((7, 3))
    np.testing.assert_allclose(Kernel(lengths).between(a, b), Matern(lengths, nu=2.5)(a, b), atol=1e-7)
    np.testing.assert_allclose(np.diag(Kernel(lengths).between(a, a)), 1.0, atol=1e-6)


def test_a_parameter_that_matters_gets_a_shorter_length_than_one_that_does_not() -> None:
    found = learn([task(0), task(1)], wide(2))
    assert found.lengths[0] < LENGTH < found.lengths[1]
    assert found.lengths[1] > 3 * found.lengths[0]
    assert ((found.lengths >= LENGTH_BOUNDS[0]) & (found.lengths <= LENGTH_BOUNDS[1])).all()
    assert found.noise < 0.1


def test_outcomes_of_mere_noise_are_told_as_noise() -> None:
    rng = np.random.default_rng(0)
    values = rng.standard_normal(40)
    found = learn([(rng.random((40, 2)), values - values.mean())], wide(2))
    assert found.noise > 0.4


def test_without_any_run_the_covariance_is_the_priors_own() -> None:
    prior = wide(2)
    assert learn([], prior) is prior.center
    assert learn([(np.zeros((0, 2)), np.zeros(0))], prior) is prior.center


def test_the_narrower_the_belief_the_closer_the_lengths_stay() -> None:
    center = Kernel.default(2)
    gaps = [
        np.abs(
            np.log(learn([task(0)], Prior(center, lengths_sd=sd, noise_sd=1.0, signal_sd=1.0)).lengths / LENGTH)
        ).max()
        for sd in (0.05, 0.5, 2.0)
    ]
    assert gaps == sorted(gaps)
    assert gaps[0] < 0.1


def test_what_is_found_is_more_probable_than_its_neighbourhood() -> None:
    """The gradient is right: scikit-learn's likelihood plus the prior has its maximum there."""
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, WhiteKernel

    columns, values = task(3)
    prior = wide(2)
    found = learn([(columns, values)], prior)

    def log_posterior(lengths: Array, noise: float, signal: float) -> float:
        covariance = ConstantKernel(signal) * Matern(lengths, nu=2.5) + WhiteKernel(noise)
        process = GaussianProcessRegressor(covariance, alpha=1e-12, optimizer=None).fit(columns, values)
        middle = np.log([*prior.center.lengths, prior.center.noise, prior.center.signal])
        gap = np.log([*lengths, noise, signal]) - middle
        return float(process.log_marginal_likelihood_value_) - 0.5 * float(gap @ gap)

    best = log_posterior(found.lengths, found.noise, found.signal)
    for factor in (0.8, 1.25):
        for k in range(2):
            lengths = found.lengths.copy()
            lengths[k] *= factor
            assert log_posterior(lengths, found.noise, found.signal) < best + 1e-3
        assert log_posterior(found.lengths, found.noise * factor, found.signal) < best + 1e-3
        assert log_posterior(found.lengths, found.noise, found.signal * factor) < best + 1e-3


@pytest.mark.parametrize("n", [1, 2])
def test_one_or_two_runs_are_enough_to_learn_from(n: int) -> None:
    found = learn([(np.linspace(0, 1, n)[:, None], np.linspace(-1, 1, n) if n > 1 else np.zeros(1))], wide(1))
    assert np.isfinite(found.lengths).all()


def test_the_gradient_of_the_likelihood_is_what_finite_differences_give() -> None:
    rng = np.random.default_rng(0)
    columns = [rng.random((n, 3)) for n in (5, 9)]
    outcomes = [rng.standard_normal(n) for n in (5, 9)]
    gaps = [Gaps.of(each) for each in columns]
    theta = np.log(np.array([0.5, 0.8, 1.5, 0.1, 1.2]))

    def loss(at: Array) -> float:
        return negative_log_likelihood(at, gaps, outcomes)[0]

    _, gradient = negative_log_likelihood(theta, gaps, outcomes)
    differences = [(loss(theta + step) - loss(theta - step)) / 2e-5 for step in 1e-5 * np.eye(theta.size)]
    np.testing.assert_allclose(gradient, differences, rtol=1e-6, atol=1e-7)

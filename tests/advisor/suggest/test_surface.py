from __future__ import annotations

import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern

from advisor.suggest.kernel import Array, Kernel
from advisor.suggest.surface import SLOPE_MAX, fit, milestone, slope_of


def runs(n: int = 12, seed: int = 0) -> tuple[Array, Array]:
    columns = np.random.default_rng(seed).random((n, 2))
    scores = -((columns[:, 0] - 0.3) ** 2) * 8
    return columns, (scores - scores.mean()) / scores.std()


def test_a_past_that_agrees_is_followed_and_one_that_contradicts_is_not() -> None:
    _, scores = runs(30)
    assert slope_of(scores, scores) == pytest.approx(1.0)
    assert slope_of(-scores, scores) == 0.0
    assert slope_of(scores / 3, scores) == SLOPE_MAX
    assert slope_of(np.zeros(30), scores) == 1.0  # nothing said, nothing learned


def test_the_slope_falls_as_contradictions_come_in() -> None:
    _, scores = runs(30)
    slopes = [slope_of(-scores[:n], scores[:n]) for n in (1, 2, 3, 5, 10)]
    assert slopes[0] == 1.0  # one run has nothing to compare with
    assert slopes == sorted(slopes, reverse=True)
    assert slopes[-1] == 0.0


def test_milestones_never_fall_and_are_at_most_a_tenth_behind() -> None:
    found = [milestone(n) for n in range(3000)]
    assert found[:33] == list(range(33))
    assert found == sorted(found)
    assert all(at <= n and milestone(at) == at for n, at in enumerate(found))
    assert all(n - at <= max(1, 0.1 * at) for n, at in enumerate(found))


def test_the_model_is_scikit_learns_with_the_past_as_prior_mean() -> None:
    columns, scores = runs()
    said = 0.8 * scores
    grid = np.random.default_rng(1).random((20, 2))
    told = np.linspace(-1, 1, 20)
    model = fit(columns, scores, said, Kernel.default(2), cold=False)
    residual = scores - model.slope * (said - said.mean())
    kernel = ConstantKernel(model.kernel.signal) * Matern(model.kernel.lengths, nu=2.5)
    exact = GaussianProcessRegressor(kernel, alpha=model.kernel.noise, optimizer=None)
    exact.fit(columns, residual - residual.mean())
    mean, deviation = exact.predict(grid, return_std=True)
    found, spread = model.predict(grid, told)
    np.testing.assert_allclose(found, mean + residual.mean() + model.slope * (told - said.mean()), atol=1e-9)
    np.testing.assert_allclose(spread, deviation, atol=1e-9)


def test_equal_runs_give_an_equal_model_whatever_was_asked_before() -> None:
    grid = np.random.default_rng(1).random((20, 2))
    answers = []
    for order in ((8, 20, 12), (12, 8, 20)):
        models = {n: fit(*runs(n), np.zeros(n), Kernel.default(2), cold=True) for n in order}
        answers.append([models[n].predict(grid, np.zeros(20)) for n in (8, 12, 20)])
    np.testing.assert_array_equal(answers[0], answers[1])


def test_a_model_knows_its_runs_and_is_less_sure_elsewhere() -> None:
    columns, scores = runs(20)
    model = fit(columns, scores, np.zeros(20), Kernel.default(2), cold=True)
    mean, deviation = model.predict(columns, np.zeros(20))
    assert np.corrcoef(mean, scores)[0, 1] > 0.95
    assert model.predict(np.array([[3.0, 3.0]]), np.zeros(1))[1][0] > 2 * deviation.max()


def test_what_foretold_the_runs_has_the_better_evidence() -> None:
    columns, scores = runs(15)
    warm = fit(columns, scores, scores, Kernel.default(2), cold=False)
    cold = fit(columns, scores, np.zeros(15), Kernel.default(2), cold=True)
    misled = fit(columns, scores, scores, Kernel.default(2), cold=False, foretold=-scores)
    assert warm.evidence > cold.evidence > misled.evidence


@pytest.mark.parametrize("scores", [np.zeros(4), np.array([1.0, -1.0])])
def test_constant_outcomes_and_two_runs_are_modelled(scores: Array) -> None:
    model = fit(runs(scores.size)[0], scores, np.zeros(scores.size), Kernel.default(2), cold=True)
    mean, deviation = model.predict(np.random.default_rng(0).random((5, 2)), np.zeros(5))
    assert np.isfinite(mean).all()
    assert (deviation > 0).all()

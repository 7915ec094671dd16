from __future__ import annotations

import numpy as np
import pytest

from advisor.findings.context import Effects, deviations

RNG = np.random.default_rng(0)
EVERYBODY = np.ones(60, dtype=bool)


def sweep(n: int, rng: np.random.Generator, *, slope: float = 1.0, bend: float = 0.0) -> tuple[np.ndarray, list[dict]]:
    """Return one figure that follows from the learning rate, and the parameters."""
    log_lr = rng.uniform(-2, 2, n)
    figure = slope * log_lr + bend * log_lr**2 + 0.1 * rng.standard_normal(n)
    return figure[:, None], [{"lr": float(np.exp(x))} for x in log_lr]


def test_what_siblings_show_of_their_parameters_is_taken_out() -> None:
    figures, params = sweep(60, np.random.default_rng(1), bend=0.5)
    figures[5] += 1.0  # ten times the noise, a quarter of the range
    z = deviations(figures, params, EVERYBODY, effects=None)[:, 0]
    assert int(np.argmax(np.abs(z))) == 5
    assert z[5] > 5
    plain = deviations(figures, params, EVERYBODY, effects=None, regress=False)[:, 0]
    assert abs(plain[5]) < 2


def test_a_fault_does_not_explain_itself() -> None:
    figures, params = sweep(60, np.random.default_rng(2))
    params[9] = {"lr": 1e4}  # nobody else is near: a regression that had seen it would follow it
    figures[9] = 20.0
    assert deviations(figures, params, EVERYBODY, effects=None)[9, 0] > 5


def test_effects_of_other_experiments_serve_where_siblings_are_few() -> None:
    rng = np.random.default_rng(3)
    effects = Effects.learn([sweep(60, rng, slope=1.0) for _ in range(6)])
    figures, params = sweep(12, rng)
    figures[4] += 1.0
    few = np.ones(12, dtype=bool)
    assert int(np.argmax(np.abs(deviations(figures, params, few, effects=effects)))) == 4
    assert abs(deviations(figures, params, few, effects=effects)[4, 0]) > abs(
        deviations(figures, params, few, effects=None)[4, 0]
    )


def test_a_figure_that_nobody_has_says_nothing() -> None:
    figures, params = sweep(20, np.random.default_rng(4))
    figures = np.column_stack([figures, np.full(20, np.nan)])
    figures[3, 0] = np.nan
    z = deviations(figures, params, np.ones(20, dtype=bool), effects=None)
    assert not z[:, 1].any()
    assert z[3, 0] == 0
    assert np.isfinite(z).all()


def test_runs_that_define_nothing_move_nothing() -> None:
    figures, params = sweep(60, np.random.default_rng(5))
    learned = np.arange(60) < 40
    moved = figures.copy()
    moved[50] = 99.0
    one, other = (deviations(values, params, learned, effects=None) for values in (figures, moved))
    np.testing.assert_allclose(np.delete(one, 50, axis=0), np.delete(other, 50, axis=0))


@pytest.mark.parametrize(
    "params", [[{}] * 20, [{"opt": "sgd"}] * 10 + [{"opt": "adam"}] * 10, [{"x": "a" * i} for i in range(20)]]
)
def test_any_parameters_at_all_give_finite_sigmas(params: list[dict[str, object]]) -> None:
    figures = RNG.standard_normal((20, 3))
    assert np.isfinite(deviations(figures, params, np.ones(20, dtype=bool), effects=None)).all()

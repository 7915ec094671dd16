from __future__ import annotations

import numpy as np
import pytest

from advisor.findings.context import MIN_SIBLINGS
from advisor.findings.features import FEATURE_NAMES
from advisor.findings.forest import LEARNED, USUAL, Population, isolate, usual_runs
from advisor.findings.learned import shipped

WHOLE = shipped().views[1.0]
DROP = FEATURE_NAMES.index("validation_drop")


def a_population(n: int, *, n_sound: int | None = None, seed: int = 0) -> Population:
    features = 0.2 * np.random.default_rng(seed).standard_normal((n, len(FEATURE_NAMES)))
    features[:, DROP] += 3.0
    return Population(features, params=[{}] * n, sound=np.arange(n) < (n if n_sound is None else n_sound))


@pytest.mark.parametrize("head", [True, False])
def test_one_run_in_sixty_that_is_unlike_the_rest_comes_first(head: bool) -> None:
    population = a_population(60)
    for name in ("loss_end", "validation_end", "validation_gap_end", "validation_step_up"):
        population.features[7, FEATURE_NAMES.index(name)] += 3.0
    scores = isolate(population, WHOLE, head=head)
    assert int(np.argmax(scores.score)) == int(np.argmax(scores.forest)) == 7
    assert scores.p_value is not None
    assert scores.p_value[7] == pytest.approx(1 / 60, rel=0.05)
    assert (scores.head is None) is not head


def test_the_forests_say_the_same_with_and_without_the_head() -> None:
    population = a_population(30)
    np.testing.assert_array_equal(isolate(population, WHOLE).forest, isolate(population, WHOLE, head=False).forest)


def test_slow_steps_alone_set_a_run_apart() -> None:
    population = a_population(60)
    for name in ("time_level", "time_trend", "time_step_up"):
        population.features[3, FEATURE_NAMES.index(name)] = 3.0
    assert int(np.argmax(isolate(population, WHOLE, head=False).forest)) == 3


def test_nine_sound_runs_among_many_broken_ones_are_enough() -> None:
    for seed in range(2):
        scores = isolate(a_population(60, n_sound=MIN_SIBLINGS + 1), WHOLE, seed=seed)
        assert scores.p_value is not None
        assert ((scores.p_value > 0) & (scores.p_value <= 1)).all()
        assert scores.n_siblings.max() <= MIN_SIBLINGS + 1


def test_with_hardly_a_sibling_runs_are_compared_with_the_reference_and_get_no_p_value() -> None:
    scores = isolate(a_population(60, n_sound=MIN_SIBLINGS), WHOLE)
    assert scores.p_value is None
    assert not scores.n_siblings.any()
    sound = WHOLE.centre + np.zeros((2, 1))
    strange = sound.copy()
    strange[1, [FEATURE_NAMES.index(name) for name in ("loss_step_up", "loss_draw_up", "validation_end")]] += 5.0
    alone = isolate(Population(strange, params=[{}] * 2, sound=np.ones(2, dtype=bool)), WHOLE)
    assert alone.forest[1] > alone.forest[0]


def test_a_crowd_that_learned_nothing_does_not_define_what_is_usual() -> None:
    population = a_population(40)
    population.features[:15, DROP] = 0.05
    assert not usual_runs(population, USUAL)[:15].any()
    assert usual_runs(population, USUAL)[15:].all()
    population.features[:15, DROP] = 1.0  # slow, but learning
    assert usual_runs(population, LEARNED).all()
    population.features[:, DROP] = 0.0  # nobody gained anything
    assert usual_runs(population, USUAL).all()


def test_p_values_of_exchangeable_runs_are_uniform() -> None:
    p_values = np.concatenate([isolate(a_population(40, seed=seed), WHOLE).p_value for seed in range(5)])
    for level in (0.05, 0.1, 0.25):  # of 200 runs
        assert level / 2 <= (p_values <= level).mean() <= 2 * level

from __future__ import annotations

import numpy as np
import pytest

from advisor.findings.forest import MIN_SIBLINGS, Population, isolate


def a_population(n: int, *, n_ranked: int | None = None, n_sound: int | None = None) -> Population:
    features = np.random.default_rng(0).standard_normal((n, 4))
    quality = np.arange(n, dtype=float)
    if n_ranked is not None:
        quality[n_ranked:] = np.nan
    sound = np.arange(n) < (n if n_sound is None else n_sound)
    return Population(features, params=[{}] * n, sound=sound, quality=quality)


@pytest.mark.parametrize("n_ranked", [0, 1, 5])
def test_where_few_siblings_can_be_ranked_all_sound_ones_are_learned_from(n_ranked: int) -> None:
    for seed in range(2):
        scores = isolate(a_population(12, n_ranked=n_ranked), seed=seed)
        assert scores is not None
        assert np.isfinite(scores.score).all()


def test_nine_sound_runs_among_many_broken_ones_are_enough_whatever_the_seed() -> None:
    for seed in range(2):
        scores = isolate(a_population(60, n_sound=MIN_SIBLINGS + 1), seed=seed)
        assert scores is not None
        assert ((scores.p_value > 0) & (scores.p_value <= 1)).all()
        assert scores.n_siblings.max() <= MIN_SIBLINGS + 1
    assert isolate(a_population(60, n_sound=MIN_SIBLINGS)) is None

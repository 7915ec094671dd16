from __future__ import annotations

import numpy as np
import pytest
from sklearn.ensemble import IsolationForest, RandomForestClassifier

from advisor.findings.trees import Trees, isolation, isolation_score


@pytest.mark.parametrize(("n", "max_samples"), [(9, 9), (300, 256)])
def test_scores_are_scikit_learns(n: int, max_samples: int) -> None:
    rng = np.random.default_rng(0)
    learned, judged = rng.standard_normal((n, 6)), 3 * rng.standard_normal((700, 6))
    learned[:, 5] = 1.0  # a feature that says nothing
    forest = IsolationForest(n_estimators=40, max_samples=max_samples, random_state=0).fit(learned)
    trees, usual = isolation(forest)
    np.testing.assert_allclose(isolation_score(trees, usual, judged), -forest.score_samples(judged), atol=1e-12)
    assert isolation_score(trees, usual, judged[:0]).shape == (0,)


def test_probabilities_are_scikit_learns_and_stay_so_when_kept() -> None:
    rng = np.random.default_rng(1)
    rows = rng.standard_normal((200, 5))
    labels = rows[:, 0] + rows[:, 1] > 0.5
    model = RandomForestClassifier(n_estimators=30, max_depth=6, random_state=0).fit(rows, labels)
    values = [tree.tree_.value[:, 0, 1] / tree.tree_.value[:, 0].sum(axis=1) for tree in model.estimators_]
    trees = Trees.of(model.estimators_, values)
    judged = rng.standard_normal((50, 5))
    np.testing.assert_allclose(trees.mean(judged), model.predict_proba(judged)[:, 1], atol=1e-12)
    np.testing.assert_array_equal(Trees.load(trees.as_arrays()).mean(judged), trees.mean(judged))


def test_a_value_between_two_single_precision_numbers_goes_the_way_it_goes_in_scikit_learn() -> None:
    rows = np.linspace(0, 1, 64)[:, None]
    forest = IsolationForest(n_estimators=20, random_state=0).fit(rows)
    trees, usual = isolation(forest)
    splits = np.unique(trees.threshold[np.isfinite(trees.threshold)])
    close = np.concatenate([splits, np.nextafter(splits, 2), np.nextafter(splits, -1)])[:, None]
    np.testing.assert_allclose(isolation_score(trees, usual, close), -forest.score_samples(close), atol=1e-12)

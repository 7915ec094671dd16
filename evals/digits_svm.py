"""A real tuning problem that needs no data: a support vector classifier on 600 of the UCI digits.

Three parameters (C and gamma on log scales, features shrunk by PCA); the objective is the 3-fold cross-validated error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVC

from advisor.suggest import Float, Int, Space

SPACE = Space.of({"C": Float(1e-3, 1e3, log=True), "gamma": Float(1e-7, 1e1, log=True), "components": Int(2, 64)})
Problem = Callable[[Mapping[str, Any]], float]


def problem() -> Problem:
    """Return the function from parameters to the cross-validated error, in [0, 1]."""
    images, labels = load_digits(return_X_y=True)
    chosen = np.random.default_rng(0).permutation(len(labels))[:600]
    images, labels = images[chosen], labels[chosen]

    def error(params: Mapping[str, Any]) -> float:
        reduce = PCA(params["components"], random_state=0)
        model = make_pipeline(reduce, SVC(C=params["C"], gamma=params["gamma"]))
        return 1.0 - float(cross_val_score(model, images, labels, cv=3).mean())

    return error

"""scikit-learn: a grid and a search by halving become runs, and a training goes step by step.

python examples/integrations/with_sklearn.py [STORE]
"""

from __future__ import annotations

import sys
import tempfile

from sklearn.datasets import load_digits
from sklearn.experimental import enable_halving_search_cv  # noqa: F401 - scikit-learn wants it before the next import
from sklearn.linear_model import SGDClassifier
from sklearn.model_selection import GridSearchCV, HalvingGridSearchCV, train_test_split
from sklearn.tree import DecisionTreeClassifier

import advisor
from advisor.integrations.sklearn import fit_steps, log_search

store = sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp()
x, y = load_digits(return_X_y=True)
x_train, x_valid, y_train, y_valid = train_test_split(x, y, random_state=0)

grid = {"max_depth": [4, 8, 16], "min_samples_leaf": [1, 5]}
search = GridSearchCV(DecisionTreeClassifier(random_state=0), grid, cv=3).fit(x, y)
runs = log_search(search, "digits-trees", store=store)
print(f"{len(runs)} candidates; scikit-learn's best: {search.best_params_}")

halving = HalvingGridSearchCV(DecisionTreeClassifier(random_state=0), grid, cv=3, random_state=0).fit(x, y)
states = [str(run.state) for run in log_search(halving, "digits-halving", store=store)]
print(f"halving: {states.count('pruned')} candidates were dropped, {states.count('finished')} went all the way")

run = fit_steps(
    SGDClassifier(random_state=0),
    x_train,
    y_train,
    n_steps=10,
    validation=(x_valid, y_valid),
    experiment="digits-sgd",
    store=store,
    objective="validation/score",
    direction="maximize",
)
adv = advisor.open(store)
print(f"advisor's best:  {dict(adv.experiment('digits-trees').best().params)}")
curve = adv.run(run.id).curve("validation/score")
print(f"step by step: from {curve.values[0]:.2f} to {curve.last:.2f} in {len(curve)} steps")

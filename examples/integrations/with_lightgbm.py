"""LightGBM: trainings beside its own early stopping, and a cross-validation.

python examples/integrations/with_lightgbm.py [STORE]
"""

from __future__ import annotations

import sys
import tempfile

import lightgbm
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split

import advisor
from advisor.integrations.lightgbm import advisor_callback

store = sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp()

x, y = load_breast_cancer(return_X_y=True)
x_train, x_valid, y_train, y_valid = train_test_split(x, y, random_state=0)

for num_leaves in (4, 16):
    params = {"objective": "binary", "num_leaves": num_leaves, "num_threads": 1, "verbosity": -1}
    train = lightgbm.Dataset(x_train, y_train)
    valid = lightgbm.Dataset(x_valid, y_valid, reference=train)
    with advisor_callback("tumours", store=store, objective="valid_0/binary_logloss") as callback:
        stop = lightgbm.early_stopping(5, verbose=False)
        lightgbm.train(params, train, 100, valid_sets=[valid], callbacks=[callback, stop])

with advisor_callback("tumours-cv", store=store, objective="valid/binary_logloss") as callback:
    lightgbm.cv(params, lightgbm.Dataset(x, y), 20, nfold=3, seed=0, callbacks=[callback])

adv = advisor.open(store)
for run in adv.runs():
    print(f"{run.experiment} #{run.number} {run.state}: {run.params['num_leaves']} leaves", end=", ")
    print(f"best iteration {run.user_attrs['best_iteration']} of {run.params['num_iterations']}")
print("curves of the last one:", ", ".join(sorted(run.curves)))

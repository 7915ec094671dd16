"""XGBoost: each training becomes a run; the last one is advised to stop, and does.

python examples/integrations/with_xgboost.py [STORE]
"""

from __future__ import annotations

import sys
import tempfile

import xgboost
from sklearn.datasets import load_diabetes
from sklearn.model_selection import train_test_split

import advisor
from advisor.integrations.xgboost import AdvisorCallback

store = sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp()

x, y = load_diabetes(return_X_y=True)
x_train, x_valid, y_train, y_valid = train_test_split(x, y, random_state=0)
train, valid = xgboost.DMatrix(x_train, y_train), xgboost.DMatrix(x_valid, y_valid)

for eta in (0.3, 0.25, 0.2, 0.15, 0.1, 0.001):
    params = {"eta": eta, "max_depth": 2, "nthread": 1}
    callback = AdvisorCallback("diabetes", params=params, store=store, objective="validation/rmse", prune=True)
    xgboost.train(params, train, 60, evals=[(valid, "validation")], callbacks=[callback], verbose_eval=False)

experiment = advisor.open(store).experiment("diabetes")
for run in experiment.runs():
    print(f"#{run.number} {run.state}: eta {run.params['eta']}, {len(run.curve('validation/rmse'))} iterations")
best = experiment.best()
print(f"best: #{best.number}, validation/rmse {best.objective:.1f}")
print("why the last one stopped:", callback.why_stopped)

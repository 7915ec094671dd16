"""CatBoost: it tells a callback only the metrics, so the model is given for the parameters, and ``with`` ends the run.

python examples/integrations/with_catboost.py [STORE]
"""

from __future__ import annotations

import sys
import tempfile

from catboost import CatBoostClassifier
from sklearn.datasets import load_wine
from sklearn.model_selection import train_test_split

import advisor
from advisor.integrations.catboost import AdvisorCallback

store = sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp()

x, y = load_wine(return_X_y=True)
x_train, x_valid, y_train, y_valid = train_test_split(x, y, random_state=0)

for depth in (1, 3):
    model = CatBoostClassifier(
        iterations=30, depth=depth, custom_metric=["Accuracy"], thread_count=1, verbose=False, allow_writing_files=False
    )
    with AdvisorCallback("wine", params=model, store=store, objective="validation/MultiClass") as callback:
        model.fit(x_train, y_train, eval_set=(x_valid, y_valid), callbacks=[callback])

experiment = advisor.open(store).experiment("wine")
for run in experiment.runs():
    print(
        f"#{run.number} {run.state}: depth {run.params['depth']}, validation/MultiClass {run.objective:.3f}", end=", "
    )
    print(f"accuracy {run.metrics['validation/Accuracy']:.2f}")
